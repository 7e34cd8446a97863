//! The command line of `memsight probe`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use model::units::{parse_share, parse_typed_duration};

use super::parse_duration;

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight probe exec                     processes that come and go, with their peak memory
  memsight probe alloc 4242 --for 1m      what pid 4242 allocates, what of it lives and for how long
  memsight probe alloc name:shop -o shop.pb.gz && memsight flame shop.pb.gz
  memsight probe alloc name:shop --types  and the types of what lives, from a snapshot at the end
  memsight probe native 4242 --for 1m     what pid 4242, in any language, asked malloc for and keeps
  memsight probe oom -o kills/            waits for OOM kills; keeps the victims' heap profiles
  memsight probe faults 4242              who touches memory for the first time, and what memory
  memsight probe mmap 4242                who maps memory, and what of it stays mapped

Probes run in the kernel (eBPF). They need Linux 5.8 or newer and capabilities, which memsight
doctor lists; nothing of them stays when memsight ends, whatever way it does.";

/// The probes.
#[derive(Debug, Subcommand)]
pub(crate) enum ProbeCommand {
    /// Shows processes as they begin and end, with the most memory that each held.
    Exec(ExecArgs),
    /// Follows the sampled objects of a Go program from birth to death.
    Alloc(AllocArgs),
    /// Shows what any program has from malloc and has not freed, by the calls that asked for it.
    Native(NativeArgs),
    /// Waits for OOM kills, and keeps the heap profile that a Go program had when it was killed.
    Oom(OomArgs),
    /// Counts the page faults of any program, by stack and by what memory it was.
    Faults(StacksArgs),
    /// Follows what any program maps and unmaps, by the stack that mapped it.
    Mmap(StacksArgs),
}

/// Arguments of probes of any program that count by stack.
#[derive(Debug, Args)]
pub(crate) struct StacksArgs {
    /// PID, or name:REGEX.
    pub target: String,
    /// How long to look; Ctrl-C ends it early, with what was seen.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub duration: Duration,
    /// Also writes it as a profile, as of pprof.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// How many stacks to list.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Prints JSON, all stacks included.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `probe exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// Ends after this long; otherwise Ctrl-C ends it.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Only processes whose name or command line matches.
    #[arg(long, value_name = "REGEX")]
    pub name: Option<String>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `probe alloc`.
#[derive(Debug, Args)]
pub(crate) struct AllocArgs {
    /// PID, or name:REGEX of a Go program.
    pub target: String,
    /// How long to look; Ctrl-C ends it early, with what was seen.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub duration: Duration,
    /// Also writes a profile, as of pprof: all that was allocated meanwhile, and what of it lives.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Ends early when the probe takes more than this of the process's time, as a share of a core.
    #[arg(long, value_name = "SHARE", value_parser = parse_share, default_value = "10%")]
    pub max_cost: f64,
    /// Also takes a snapshot of the object graph at the end, for the types of what lives. That stops
    /// the program for some milliseconds.
    #[arg(long)]
    pub types: bool,
    /// How many stacks to list.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Prints JSON, all stacks included.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `probe native`.
#[derive(Debug, Args)]
pub(crate) struct NativeArgs {
    /// PID, or name:REGEX of any program.
    pub target: String,
    /// How long to look; Ctrl-C ends it early, with what was seen.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    pub duration: Duration,
    /// Mean number of bytes between two samples; 1 counts all, at a higher cost.
    #[arg(long, value_name = "BYTES", value_parser = parse_every, default_value = "512KiB")]
    pub every: u64,
    /// Takes the samples of the process itself, which tells them by static probes (USDT): those of
    /// OpenTelemetry, otel_memory:alloc and otel_memory:free.
    #[arg(long, conflicts_with = "every")]
    pub usdt: bool,
    /// Ends early when the probe takes more than this of the process's time, as a share of a core.
    #[arg(long, value_name = "SHARE", value_parser = parse_share, default_value = "50%")]
    pub max_cost: f64,
    /// Leaves out what is younger; 0 leaves out nothing.
    #[arg(long, value_name = "DURATION", value_parser = parse_typed_duration, default_value = "5s")]
    pub older: Duration,
    /// How many stacks to list.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// Prints JSON, all stacks included.
    #[arg(long)]
    pub json: bool,
    /// Also writes a profile, as of pprof.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A sampling interval.
fn parse_every(text: &str) -> Result<u64, String> {
    /// Beyond, a sample stands for more than anybody wants to know.
    const EVERY_MAX: u64 = 1 << 36;
    match model::units::parse_bytes(text)? {
        0 => Err("write 1 to count every block".to_owned()),
        every if every > EVERY_MAX => Err("64 GiB at most".to_owned()),
        every => Ok(every),
    }
}

/// Arguments of `probe oom`.
#[derive(Debug, Args)]
pub(crate) struct OomArgs {
    /// Ends after this long; otherwise Ctrl-C ends it.
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<Duration>,
    /// Folder for the heap profiles; it is created.
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Ends after so many kills.
    #[arg(long, value_name = "N")]
    pub kills: Option<u64>,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}
