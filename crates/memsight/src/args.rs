//! The command line, as clap types. Nothing here does work.

pub(crate) mod agent;
pub(crate) mod gctrace;
pub(crate) mod heap;
pub(crate) mod lifetimes;
pub(crate) mod metrics;
pub(crate) mod probe;
pub(crate) mod record;
pub(crate) mod rss;
pub(crate) mod rules;
pub(crate) mod trace;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use model::units::parse_bytes;

/// Finds out why a running Go program's memory grows, from outside.
#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
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
  memsight top name:checkout               who allocated what is in use, right now
  memsight rss 4242                        what every resident page is used for, and what would help
  memsight heap why shop.heap main.Order   what keeps the orders in a heap snapshot alive
  memsight serve --all-go                  watch every Go process; pages on http://127.0.0.1:7171

Exit codes: 0 done, 1 the check found a problem, 2 bad usage or input, 3 not permitted,
4 the target went away.";

/// When output is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Lists the Go processes on this machine and what can be read of each.
    Ps(PsArgs),
    /// Says what grows, which code allocates it and when memory runs out.
    Diagnose(DiagnoseArgs),
    /// Lists the functions that hold the most, from a profile or a live process.
    Top(TopArgs),
    /// Shows each function with its callers and callees.
    Tree(TopArgs),
    /// Shows the functions that match, each with all its callers and callees.
    Peek(PeekArgs),
    /// Draws a flame graph (SVG or one self-contained HTML file).
    Flame(FlameArgs),
    /// Compares two profiles.
    Diff(DiffArgs),
    /// Everything `go tool pprof` does, with its flags (memsight pprof -help).
    #[command(disable_help_flag = true)]
    Pprof {
        /// Flags, a program, and sources, as `go tool pprof` takes them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Converts a profile to another format.
    Convert(ConvertArgs),
    /// Which objects a heap holds, and what keeps them alive.
    #[command(after_help = heap::EXAMPLES)]
    Heap {
        /// What to ask.
        #[command(subcommand)]
        command: heap::HeapCommand,
    },
    /// What a Go execution trace says: collections, goroutines, waits.
    #[command(after_help = trace::EXAMPLES)]
    Trace {
        /// What to ask.
        #[command(subcommand)]
        command: trace::TraceCommand,
    },
    /// Lists goroutines of a live process, grouped by stack.
    Goroutines(GoroutinesArgs),
    /// Shows the Go runtime's own memory figures of a live process.
    Runtime(RuntimeArgs),
    /// Shows the metrics of Go's runtime/metrics of a live process, without its help.
    #[command(after_help = metrics::EXAMPLES)]
    Metrics(metrics::MetricsArgs),
    /// Says what every resident page of a process is used for, why, and what would help.
    #[command(after_help = rss::EXAMPLES)]
    Rss(rss::RssArgs),
    /// Sums up garbage collection from GODEBUG=gctrace=1 lines, of a log or a program it runs.
    #[command(after_help = gctrace::EXAMPLES)]
    Gctrace(gctrace::GctraceArgs),
    /// What only the kernel sees: objects and processes as they come and go, OOM kills.
    #[command(after_help = probe::EXAMPLES)]
    Probe {
        /// Which probe.
        #[command(subcommand)]
        command: probe::ProbeCommand,
    },
    /// Watches as a configuration file says: captures, rules, alerts, Prometheus.
    #[command(after_help = agent::EXAMPLES)]
    Agent(agent::AgentArgs),
    /// Rules of the watch, and what Prometheus and Grafana need to know.
    #[command(after_help = rules::EXAMPLES)]
    Rules {
        /// What to do.
        #[command(subcommand)]
        command: rules::RulesCommand,
    },
    /// Watches targets, keeps what it captures, and serves the pages.
    Serve(ServeArgs),
    /// Says what works on this machine and what is missing for the rest.
    Doctor(DoctorArgs),
    /// Runs the demonstration: a leaking shop, its healthy twin, and their verdicts.
    Demo(DemoArgs),
    /// Restores a word of a target when standard input ends; --enable-profiling and trace record
    /// --allocfree start it.
    #[command(hide = true)]
    RestoreWord(RestoreArgs),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints the manual page (troff), or writes one for every command into a folder.
    Man {
        /// The folder; it is created.
        #[arg(short, long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
}

/// Arguments of `ps`.
#[derive(Debug, Args)]
pub(crate) struct PsArgs {
    /// Prints JSON.
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,
    /// Prints CSV.
    #[arg(long)]
    pub csv: bool,
}

/// Arguments of `diagnose`.
#[derive(Debug, Args)]
pub(crate) struct DiagnoseArgs {
    /// PID, name:REGEX, or http://HOST:PORT of a pprof endpoint.
    pub target: String,
    /// How long to sample.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "60s")]
    pub duration: Duration,
    /// Reads what this store already holds instead of sampling; TARGET is then the
    /// name or pid of a target in it.
    #[arg(long, value_name = "DIR", conflicts_with = "duration")]
    pub store: Option<PathBuf>,
    /// Switches heap profiling on in a target whose linker left it out: writes
    /// runtime.MemProfileRate, and restores it on exit.
    #[arg(long)]
    pub enable_profiling: bool,
    /// Takes two snapshots of the heap when it seems to leak, and names what keeps alive
    /// what is added: each stops the target for milliseconds and clones it.
    #[arg(long, conflicts_with = "store")]
    pub graph: bool,
    /// Looks at malloc with a probe in the kernel, half as long again, when memory outside the Go
    /// runtime grows, and names who does not free it.
    #[arg(long, conflicts_with = "store")]
    pub native: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
    /// Exits with 1 when a leak is found.
    #[arg(long)]
    pub check: bool,
}

/// Which profile, and how to look at it.
#[derive(Debug, Args)]
pub(crate) struct ProfileArgs {
    /// The column: inuse_space, inuse_objects, alloc_space, alloc_objects ...
    #[arg(long, short, value_name = "TYPE")]
    pub sample: Option<String>,
    /// Which profile to take from a live target.
    #[arg(long, value_enum, default_value_t = ProfileKind::Heap)]
    pub kind: ProfileKind,
    /// Keeps only stacks with a function or file that matches.
    #[arg(long, value_name = "REGEX")]
    pub focus: Option<String>,
    /// Drops stacks with a function or file that matches.
    #[arg(long, value_name = "REGEX")]
    pub ignore: Option<String>,
    /// Keeps the type arguments of generic functions, one line for each instantiation.
    #[arg(long)]
    pub full_names: bool,
    /// Keeps the allocator's frames at the end of heap stacks.
    #[arg(long)]
    pub runtime_frames: bool,
    /// How many frames the runtime recorded at most (GODEBUG=profstackdepth), to
    /// tell which stacks were cut off; 0 leaves all as they are. Guessed when missing.
    #[arg(long, value_name = "FRAMES")]
    pub stack_depth: Option<usize>,
}

/// Profiles a live target can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProfileKind {
    /// Heap profile.
    Heap,
    /// Goroutine profile.
    Goroutine,
}

/// How a table is printed.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct TableArgs {
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
    /// Prints CSV.
    #[arg(long)]
    pub csv: bool,
    /// Prints a Markdown table.
    #[arg(long)]
    pub markdown: bool,
}

/// Arguments of `top` and `tree`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Profile files, URLs, PIDs, name:REGEX, or - for standard input; several are
    /// added up.
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// How to look at it.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// How many rows; 0 for all.
    #[arg(short, long, default_value_t = 20)]
    pub n: usize,
    /// Sorts by cumulative value.
    #[arg(long)]
    pub cum: bool,
    /// How to print it.
    #[command(flatten)]
    pub table: TableArgs,
}

/// Arguments of `peek`.
#[derive(Debug, Args)]
pub(crate) struct PeekArgs {
    /// Which functions.
    #[arg(value_name = "REGEX")]
    pub pattern: String,
    /// Profile files, URLs, or live targets; several are added up.
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// How to look at it.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `flame`.
#[derive(Debug, Args)]
pub(crate) struct FlameArgs {
    /// Profile files, URLs, or live targets; several are added up.
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// How to look at it.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// The file to write; its ending (.svg or .html) chooses the format.
    #[arg(short, long, value_name = "FILE", default_value = "flame.html")]
    pub output: PathBuf,
    /// Compares with this earlier profile (several are added up).
    #[arg(long, value_name = "SOURCE")]
    pub base: Vec<String>,
    /// Puts the root at the bottom (a flame); without it the root is on top (an icicle).
    #[arg(long)]
    pub inverted: bool,
    /// Begins with the functions that allocate, then who called them.
    #[arg(long)]
    pub reverse: bool,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The earlier profile.
    pub base: String,
    /// The later profile.
    pub new: String,
    /// How to look at it.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// How many rows; 0 for all.
    #[arg(short, long, default_value_t = 20)]
    pub n: usize,
    /// How to print it.
    #[command(flatten)]
    pub table: TableArgs,
}

/// Arguments of `convert`.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// Profile files, URLs, or live targets; several are added up.
    #[arg(required = true, value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// How to look at it; pprof and json take everything as it is.
    #[command(flatten)]
    pub profile: ProfileArgs,
    /// The format to write.
    #[arg(long, value_enum)]
    pub to: ConvertTo,
    /// The file to write; standard output when missing.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Formats `convert` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConvertTo {
    /// profile.proto, gzip.
    Pprof,
    /// Folded stacks, one line each.
    Folded,
    /// speedscope's JSON, a profile for every sample type.
    Speedscope,
    /// The Firefox Profiler's JSON, a thread for every sample type.
    Firefox,
    /// All functions as CSV.
    Csv,
    /// All functions as a Markdown table.
    Markdown,
    /// memsight's JSON.
    Json,
}

/// Arguments of `goroutines`.
#[derive(Debug, Args)]
pub(crate) struct GoroutinesArgs {
    /// PID, name:REGEX, or http://HOST:PORT of a pprof endpoint.
    pub target: String,
    /// How many groups; 0 for all.
    #[arg(short, long, default_value_t = 10)]
    pub n: usize,
    /// Shows the runtime's own goroutines too.
    #[arg(long)]
    pub system: bool,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `runtime`.
#[derive(Debug, Args)]
pub(crate) struct RuntimeArgs {
    /// PID, name:REGEX, or http://HOST:PORT of a pprof endpoint.
    pub target: String,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Takes targets and settings from this file (memsight agent --help); flags come on top.
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Watches this process (repeatable).
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,
    /// Watches processes whose binary or command line matches (repeatable).
    #[arg(long, value_name = "REGEX")]
    pub name: Vec<String>,
    /// Watches a pprof endpoint (repeatable).
    #[arg(long, value_name = "URL")]
    pub url: Vec<String>,
    /// Watches every Go process that can be read, also ones that start later.
    #[arg(long)]
    pub all_go: bool,
    /// Where captures are kept [default: memsight-store].
    #[arg(long, value_name = "DIR")]
    pub store: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1:7171].
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Token that clients must present; required when not bound to loopback.
    #[arg(long, value_name = "TOKEN", env = "MEMSIGHT_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// How often profiles are taken of each target [default: 10s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub every: Option<Duration>,
    /// Drops captures older than this [default: 7d].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub keep: Option<Duration>,
    /// Keeps the store below this size [default: 2GiB].
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub keep_bytes: Option<u64>,
    /// Opens a damaged catalog by setting it aside and rebuilding it from the captures.
    #[arg(long)]
    pub repair: bool,
    /// Lets clients have snapshots of targets' heaps taken: each stops its target for
    /// milliseconds and clones it.
    #[arg(long)]
    pub allow_snapshots: bool,
    /// Lets clients have targets traced, through their /debug/pprof/trace: that costs a target
    /// a little of its speed meanwhile.
    #[arg(long)]
    pub allow_traces: bool,
    /// Lets clients have a target looked at for some seconds by a probe in the kernel, which takes
    /// some of its speed.
    #[arg(long)]
    pub allow_probes: bool,
    /// Takes two snapshots of a target whose heap seems to leak, and names what keeps alive
    /// what is added.
    #[arg(long)]
    pub graph: bool,
}

/// Arguments of `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of the watchdog.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The process.
    pub(crate) pid: u32,
    /// Its start in clock ticks after boot.
    pub(crate) start_ticks: u64,
    /// Address of the word.
    pub(crate) address: u64,
    /// How many bytes it has.
    pub(crate) bytes: u8,
    /// What it held before.
    #[arg(allow_negative_numbers = true)]
    pub(crate) original: i64,
    /// What was written.
    #[arg(allow_negative_numbers = true)]
    pub(crate) written: i64,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The example shop, built by `make demo`.
    #[arg(long, value_name = "FILE", default_value = "target/demo/shop")]
    pub shop: PathBuf,
    /// Ends after the verdicts; exit 0 only when both are right.
    #[arg(long)]
    pub once: bool,
    /// Address to listen on.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7171")]
    pub listen: String,
    /// Gives up after this long without the expected verdicts.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "3m")]
    pub timeout: Duration,
}

/// Parses `90s`, `1m30s`, `500ms`, `2h`, `7d`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = model::units::parse_typed_duration(text)?;
    if duration < Duration::from_millis(1) {
        return Err("must be at least 1ms".to_owned());
    }
    Ok(duration)
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
    fn durations_parse() {
        let seconds = |text: &str| parse_duration(text).map(|d| d.as_secs_f64()).ok();
        assert_eq!(seconds("60s"), Some(60.0));
        assert_eq!(seconds("1m30s"), Some(90.0));
        assert_eq!(seconds("250ms"), Some(0.25));
        assert_eq!(seconds("7d"), Some(604_800.0));
        assert_eq!(seconds("5"), Some(5.0));
        assert_eq!(seconds("1.5h"), Some(5400.0));
        assert_eq!(seconds("30s1m"), Some(90.0));
        for bad in ["", "s", "5x", "-1s", "1.2.3s", "0s", "0", "1m 5", "1m5"] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }
}
