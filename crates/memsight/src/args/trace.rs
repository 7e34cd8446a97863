//! The command line of `memsight trace`, as clap types.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  curl -o shop.trace 'http://localhost:6060/debug/pprof/trace?seconds=5'
  memsight trace summary shop.trace              how much of what
  memsight trace gc shop.trace                   collections: pauses, assists, heap and goal
  memsight trace goroutines shop.trace           running, ready, blocked, by function
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
