//! Arguments of `rules`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::parse_duration;

pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight rules check rules.yaml               what is wrong with capture rules, by line and column
  memsight rules test rules.test.yaml           unit tests of rules, on series that stand in the file
  memsight rules replay --store DIR --rules rules.yaml --from 24h
                                                when would they have fired, what would that have cost
  memsight rules show > rules.yaml              the rules that come with memsight
  memsight rules generate -o monitoring         rules, their unit tests and dashboards, into a folder
  memsight rules generate --horizon 12h --near-limit 0.8 --label team=payments -o monitoring
  promtool test rules monitoring/memsight.tests.yaml";

/// What to do with rules.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Checks files of capture rules; says line and column of each fault. Exits with 2 when there is one.
    Check(CheckArgs),
    /// Runs unit tests of capture rules. Exits with 1 when one fails.
    #[command(after_help = TEST_EXAMPLE)]
    Test(TestArgs),
    /// Runs capture rules over what was stored: when they would have acted, and at what cost.
    Replay(ReplayArgs),
    /// Prints the rules that come with memsight: a start for one's own.
    Show,
    /// Lists the signals that rules can ask about.
    Signals(SignalsArgs),
    /// Writes recording and alerting rules for Prometheus, unit tests for them, and dashboards for
    /// Grafana.
    Generate(GenerateArgs),
}

const TEST_EXAMPLE: &str = "\
A file of tests:
  rule_files: [rules.yaml]
  tests:
    - name: climbs to its limit
      interval: 10s
      series:
        limit_bytes: 1GiB
        cgroup_working_set_bytes: 500MiB+20MiBx30
      expect:
        - {at: 1m, rule: near-limit, state: inactive, reason: did not fire}
      firings: {near-limit: [2m50s]}";

/// Arguments of `rules check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Files of rules.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `rules test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Files of tests.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
    /// Writes JUnit's XML, for build servers.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
}

/// Arguments of `rules replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The store; no agent may have it open.
    #[arg(long, value_name = "DIR", required_unless_present = "csv")]
    pub store: Option<PathBuf>,
    /// A table instead: columns time, target if there are several, and names of signals.
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub csv: Option<PathBuf>,
    /// Files of rules (repeatable); those that come with memsight without it.
    #[arg(long, value_name = "FILE")]
    pub rules: Vec<PathBuf>,
    /// Only this rule (repeatable).
    #[arg(long = "rule", value_name = "NAME")]
    pub names: Vec<String>,
    /// Only targets whose name matches as a whole.
    #[arg(long, value_name = "REGEX")]
    pub target: Option<String>,
    /// Begins here: a time such as 2026-11-26T08:00:00Z, or how long ago, such as 6h.
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Ends here.
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `rules signals`.
#[derive(Debug, Args)]
pub(crate) struct SignalsArgs {
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `rules generate`.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// The folder to write to; it is created.
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// From this share of its limit on a process is near it.
    #[arg(long, value_name = "SHARE", default_value_t = 0.9, value_parser = share)]
    pub near_limit: f64,
    /// How far ahead the forecast looks.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "4h")]
    pub horizon: Duration,
    /// A label of all alerts (repeatable).
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|share| (0.01..1.0).contains(share));
    share.ok_or_else(|| "expected a share below 1, such as 0.9".to_owned())
}

fn label(text: &str) -> Result<(String, String), String> {
    let is_name = |name: &str| {
        let first = name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        first && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let pair = text.split_once('=').filter(|(name, _)| is_name(name));
    let (name, value) = pair.ok_or("expected NAME=VALUE, such as team=payments")?;
    Ok((name.to_owned(), value.to_owned()))
}
