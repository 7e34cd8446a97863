//! The command line, as clap types. Nothing here does work.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Finds out why a running Go program's memory grows, from outside.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// When to colour the output.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub color: Color,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  memsight ps                              which Go processes run here, and what can be read
  memsight diagnose 4242                   watch pid 4242 for a minute, then the verdict
  memsight diagnose http://localhost:6060  the same through its pprof endpoint

Exit codes: 0 done, 1 the check found a problem, 2 bad usage or input, 3 not permitted,
4 the target went away.";

/// When output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Lists the Go processes on this machine and what can be read of each.
    Ps(PsArgs),
    /// Says what grows, which code allocates it and when memory runs out.
    Diagnose(DiagnoseArgs),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page (troff).
    Man,
}

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Prints JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Prints CSV.
    #[arg(long)]
    pub csv: bool,
}

/// Arguments of `diagnose`.
#[derive(Debug, Args)]
pub struct DiagnoseArgs {
    /// PID, name:REGEX, or http://HOST:PORT of a pprof endpoint.
    pub target: String,
    /// How long to sample.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    pub duration: Duration,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
    /// Exits with 1 when a leak is found.
    #[arg(long)]
    pub check: bool,
}

/// Parses `90s`, `1m30s`, `500ms`, `2h`, `7d`; a bare number is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as 60s, 1m30s, 2h or 7d";
    if let Ok(seconds) = text.parse::<u32>() {
        return Ok(Duration::from_secs(seconds.into()));
    }
    let mut rest = text;
    let mut millis = 0_f64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "ms" => 1.0,
            "s" => 1e3,
            "m" => 60e3,
            "h" => 3600e3,
            "d" => 86_400e3,
            _ => return Err(EXPECTED.to_owned()),
        };
        millis += number.parse::<f64>().map_err(|_| EXPECTED.to_owned())? * scale;
        rest = tail;
    }
    if millis < 1.0 || millis > 1e14 {
        return Err(EXPECTED.to_owned());
    }
    Ok(Duration::from_millis(millis as u64))
}

#[cfg(test)]
mod tests {
    use super::{Cli, parse_duration};
    use clap::CommandFactory;

    #[test]
    fn clap_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_and_sizes_parse() {
        let seconds = |text: &str| parse_duration(text).map(|d| d.as_secs_f64()).ok();
        assert_eq!(seconds("60s"), Some(60.0));
        assert_eq!(seconds("1m30s"), Some(90.0));
        assert_eq!(seconds("250ms"), Some(0.25));
        assert_eq!(seconds("7d"), Some(604_800.0));
        assert_eq!(seconds("5"), Some(5.0));
        for bad in ["", "s", "5x", "-1s", "1.2.3s", "0s"] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }
}
