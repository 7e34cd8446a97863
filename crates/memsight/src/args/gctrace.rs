//! The command line of `memsight gctrace`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight gctrace app.log                         a log with GODEBUG=gctrace=1 lines among others
  kubectl logs POD | memsight gctrace -            the same from a pipe
  memsight gctrace -- ./app -port 8080             runs a program with gctrace=1, sums up at its end
  memsight gctrace --godebug schedtrace=1000 -- ./app  with the scheduler's lines, too
  memsight gctrace app.log --csv > cycles.csv      one row a cycle";

/// Arguments of `gctrace`.
#[derive(Debug, Args)]
pub(crate) struct GctraceArgs {
    /// A log, also compressed; `-` is standard input.
    #[arg(conflicts_with = "command")]
    pub file: Option<PathBuf>,
    /// Prints one row a cycle.
    #[arg(long, conflicts_with_all = ["json", "csv", "openmetrics"])]
    pub table: bool,
    /// Prints JSON.
    #[arg(long, conflicts_with_all = ["csv", "openmetrics"])]
    pub json: bool,
    /// Prints one row a cycle as CSV.
    #[arg(long, conflicts_with = "openmetrics")]
    pub csv: bool,
    /// Prints OpenMetrics, under the names of client_golang.
    #[arg(long)]
    pub openmetrics: bool,
    /// Writes to a file; without it the report on a command goes to standard error.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Sets more of GODEBUG for the command: schedtrace=1000, gcpacertrace=1, scavtrace=1 (may hang Go 1.24).
    #[arg(long, value_name = "SETTING", requires = "command")]
    pub godebug: Vec<String>,
    /// A Go program and its arguments.
    #[arg(last = true)]
    pub command: Vec<OsString>,
}
