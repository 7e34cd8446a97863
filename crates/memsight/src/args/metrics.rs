//! The command line of `memsight metrics`.

use std::time::Duration;

use clap::Args;

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight metrics 4242                              all of runtime/metrics, read from the process's memory
  memsight metrics 4242 /gc/heap/live:bytes pauses   those of these names, or that match
  memsight metrics name:checkout --watch             what changes and how fast, redrawn every second
  memsight metrics 4242 --watch=10s '^/sched' | tee  one list after the other, every ten seconds
  memsight metrics 4242 --openmetrics                under the names of client_golang
  memsight metrics http://localhost:6060             from /metrics, /debug/vars or the heap profile's text";

/// Arguments of `metrics`.
#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    /// PID, name:REGEX, http://HOST:PORT, or the URL of a page with metrics.
    pub target: String,
    /// Names of metrics, or regular expressions on them; all when missing.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Reads again and again, every second or as often as said, until Ctrl-C. On a terminal
    /// the view is redrawn; elsewhere one list follows the other.
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1s",
        value_parser = super::parse_duration,
        conflicts_with_all = ["csv", "openmetrics"]
    )]
    pub watch: Option<Duration>,
    /// Prints JSON; with --watch one line each time.
    #[arg(long, conflicts_with_all = ["csv", "openmetrics"])]
    pub json: bool,
    /// Prints CSV, of distributions a row for each bucket.
    #[arg(long, conflicts_with = "openmetrics")]
    pub csv: bool,
    /// Prints OpenMetrics, under the names of client_golang.
    #[arg(long)]
    pub openmetrics: bool,
}
