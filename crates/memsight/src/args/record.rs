//! The command line of `memsight trace record`, as clap types.

use std::path::PathBuf;

use clap::Args;

use super::parse_bytes;

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight trace record name:shop -o shop.trace
  memsight trace record http://localhost:6060 --seconds 30 -o shop.trace
  memsight trace record 4242 --allocfree --may-crash --snapshot -o shop.trace
  memsight trace lifetimes shop.trace --snapshot shop.trace.heap

The program has to serve net/http/pprof; of a PID its ports are asked. Ctrl-C ends early and
keeps what is whole.";

/// Arguments of `trace record`.
#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// PID, name:REGEX, or http://HOST:PORT of a pprof endpoint.
    pub target: String,
    /// How long to record, in seconds.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// The file to write; named after the target when missing.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Records every allocation and free of an object, too: writes 1 into
    /// runtime.debug.traceallocfree of the program (Go 1.23 and later), restored when memsight
    /// ends, in whatever way. Traces become several times larger, and the program slower.
    #[arg(long)]
    pub allocfree: bool,
    /// With --allocfree: a bug of Go 1.24 to 1.27 can crash the program meanwhile, when stacks
    /// of its goroutines grow (docs/lifetimes.md). Without this such programs are left alone.
    #[arg(long, requires = "allocfree")]
    pub may_crash: bool,
    /// Takes the object graph just before, which tells types of objects that are there already:
    /// stops the program for milliseconds and clones it. Written to FILE.heap.
    #[arg(long)]
    pub snapshot: bool,
    /// Ends before the trace is larger than this.
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes, default_value = "1GiB")]
    pub max_size: u64,
    /// Where the program serves net/http/pprof, when that is not found.
    #[arg(long, value_name = "URL")]
    pub pprof: Option<String>,
    /// Prints JSON.
    #[arg(long)]
    pub json: bool,
}
