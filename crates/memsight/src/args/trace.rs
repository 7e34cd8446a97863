//! The command line of `memsight trace`, as clap types.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use regex::Regex;

use super::{lifetimes, record};

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight trace record name:shop -o shop.trace  records 5 seconds
  memsight trace summary shop.trace              how much of what
  memsight trace gc shop.trace                   collections: pauses, assists, heap and goal
  memsight trace goroutines shop.trace           running, ready, blocked, by function
  memsight trace mmu shop.trace                  what the collector leaves to the program
  memsight trace tasks shop.trace --type order   user tasks: durations, and each one's regions and logs
  memsight trace export shop.trace -o shop.json  a timeline for ui.perfetto.dev
  memsight trace profile shop.trace --kind sync -o sync.pb.gz
  memsight trace view shop.trace                 a timeline in the browser

Traces of Go 1.11 to 1.27 are read, also of its flight recorder; - is standard input.";

/// Subcommands of `trace`.
#[derive(Debug, Subcommand)]
pub(crate) enum TraceCommand {
    /// Events, goroutines, collections, pauses and the heap in a few figures.
    Summary(TraceArgs),
    /// Garbage collections: their phases, pauses, assists, heap and goal.
    Gc(TraceArgs),
    /// What goroutines spent their time on, by the function they start with.
    Goroutines(TraceGoroutinesArgs),
    /// Which share of the Ps the collector leaves to the program, in windows of any length.
    Mmu(TraceMmuArgs),
    /// The program's tasks, regions and messages: how many, and how long they took.
    Tasks(TraceTasksArgs),
    /// How long objects live, by type: short-lived garbage, and what survives collections.
    #[command(after_help = lifetimes::EXAMPLES)]
    Lifetimes(lifetimes::LifetimesArgs),
    /// Writes a timeline for ui.perfetto.dev or chrome://tracing.
    Export(TraceExportArgs),
    /// Records a trace of a running program, with --allocfree one of its objects.
    #[command(after_help = record::EXAMPLES)]
    Record(record::RecordArgs),
    /// Writes where goroutines wait as a profile for pprof.
    Profile(TraceProfileArgs),
    /// Opens the trace in memsight's own pages: a timeline to zoom, and all of the above.
    View(TraceViewArgs),
}

/// A trace, and how to print what it says.
#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// The trace.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `trace goroutines`.
#[derive(Debug, Args)]
pub(crate) struct TraceGoroutinesArgs {
    /// The trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// How many functions; 0 for all.
    #[arg(short, long, default_value_t = 20)]
    pub n: usize,
}

/// Arguments of `trace mmu`.
#[derive(Debug, Args)]
pub(crate) struct TraceMmuArgs {
    /// The trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// Prints the curve as CSV.
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// What takes Ps from the program.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "stw,background,assist,sweep")]
    pub flags: Vec<UtilizationFlag>,
    /// Looks at each P by itself.
    #[arg(long)]
    pub per_proc: bool,
    /// The length of the worst windows to show.
    #[arg(long, value_name = "DURATION", value_parser = parse_nanos, default_value = "10ms")]
    pub window: u64,
    /// How many of them.
    #[arg(short, long, default_value_t = 5)]
    pub n: usize,
}

/// What the collector does, named as on the page of `go tool trace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum UtilizationFlag {
    /// Stops of the world.
    Stw,
    /// Workers, but for those on Ps with nothing else to do.
    Background,
    /// Goroutines that help marking.
    Assist,
    /// Goroutines that sweep.
    Sweep,
}

/// Arguments of `trace tasks`.
#[derive(Debug, Args)]
pub(crate) struct TraceTasksArgs {
    /// The trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// Shows one task: its tasks, regions and messages.
    #[arg(long, value_name = "ID", conflicts_with = "types")]
    pub task: Option<u64>,
    /// Shows the tasks whose type matches.
    #[arg(long = "type", value_name = "REGEX", id = "types")]
    pub types: Option<Regex>,
    /// How many of them; 0 for all.
    #[arg(short, long, default_value_t = 20)]
    pub n: usize,
}

/// Arguments of `trace export`.
#[derive(Debug, Args)]
pub(crate) struct TraceExportArgs {
    /// The trace.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What is written.
    #[arg(long, value_enum, default_value = "chrome")]
    pub format: ExportFormat,
    /// What the rows are.
    #[arg(long, value_enum, default_value = "procs")]
    pub view: ExportView,
    /// Adds what lets each goroutine run; doubles the size.
    #[arg(long)]
    pub arrows: bool,
    /// Leaves out what ends before; from the begin of the trace.
    #[arg(long, value_name = "DURATION", value_parser = parse_nanos, default_value = "0")]
    pub from: u64,
    /// Leaves out what begins after.
    #[arg(long, value_name = "DURATION", value_parser = parse_nanos)]
    pub to: Option<u64>,
    /// The file to write; standard output when missing.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Formats of timelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// JSON, the Trace Event Format of Chrome.
    Chrome,
    /// Protobuf of Perfetto.
    Perfetto,
}

/// Rows of timelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportView {
    /// Ps, with the goroutines that run on them.
    Procs,
    /// Goroutines.
    Goroutines,
}

/// Arguments of `trace profile`.
#[derive(Debug, Args)]
pub(crate) struct TraceProfileArgs {
    /// The trace.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What is waited for.
    #[arg(long, value_enum)]
    pub kind: WaitKind,
    /// The file to write; standard output when missing.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Arguments of `trace view`.
#[derive(Debug, Args)]
pub(crate) struct TraceViewArgs {
    /// The trace.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    pub listen: String,
    /// Starts no browser.
    #[arg(long)]
    pub no_browser: bool,
}

/// What goroutines wait for, named as `go tool trace -pprof` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitKind {
    /// Channels, mutexes and the like.
    Sync,
    /// The network.
    Net,
    /// System calls.
    Syscall,
    /// A P, when ready to run.
    Sched,
}

/// Nanoseconds of `1.5s`, `10ms`, `250us` or `40ns`; a bare number is seconds.
fn parse_nanos(text: &str) -> Result<u64, String> {
    let duration = model::units::parse_typed_duration(text)?;
    u64::try_from(duration.as_nanos()).map_err(|_| format!("{text:?} is too long"))
}

#[cfg(test)]
mod tests {
    use super::parse_nanos;

    #[test]
    fn short_durations_parse() {
        let all = ["0", "1.5s", "10ms", "0.5us", "40ns", "2"].map(parse_nanos);
        let nanos = [0, 1_500_000_000, 10_000_000, 500, 40, 2_000_000_000];
        assert_eq!(all, nanos.map(Ok));
        for bad in ["", "s", "5x", "-1s", "1.2.3s", "99999999999999s"] {
            assert!(parse_nanos(bad).is_err(), "{bad}");
        }
    }
}
