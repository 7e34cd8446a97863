//! The command line of `memsight trace lifetimes`, as clap types.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::parse_duration;
use super::trace::TraceArgs;

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight trace record name:shop --allocfree --snapshot -o shop.trace
  memsight trace lifetimes shop.trace --snapshot shop.trace.heap
  memsight trace lifetimes shop.trace --sort young        what makes most short-lived garbage
  memsight trace lifetimes shop.trace --sort survival --gcs 5
  memsight trace lifetimes shop.trace --type 'session\\.'  all that is known of these types

The trace has to be taken with GODEBUG=traceallocfree=1 (Go 1.23 and later), which `memsight
trace record --allocfree` switches on in a running program for as long as it records.";

/// Arguments of `trace lifetimes`.
#[derive(Debug, Args)]
pub(crate) struct LifetimesArgs {
    /// The trace.
    #[command(flatten)]
    pub trace: TraceArgs,
    /// A snapshot of the same program from just before: tells the types of objects that
    /// existed when the trace began.
    #[arg(long, value_name = "FILE")]
    pub snapshot: Option<String>,
    /// How many types and functions; 0 for all.
    #[arg(short, long, default_value_t = 20)]
    pub n: usize,
    /// What comes first.
    #[arg(long, value_enum, default_value_t = LifetimesSort::Bytes)]
    pub sort: LifetimesSort,
    /// Shows all that is known of the types that match: histograms and survival.
    #[arg(long = "type", value_name = "REGEX")]
    pub types: Option<String>,
    /// Shows the share that survives this many collections, 1 to 63.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..64))]
    pub gcs: u8,
    /// Counts what is freed within this time.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "1s")]
    pub within: Duration,
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LifetimesSort {
    /// Bytes allocated.
    Bytes,
    /// Objects allocated.
    Objects,
    /// Bytes freed by the first collection: short-lived garbage.
    Young,
    /// Bytes freed within the time of --within.
    Within,
    /// The share that survives the collections of --gcs.
    Survival,
    /// Objects known to survive those.
    Survivors,
    /// Bytes that live at the end.
    Living,
    /// Name of the type.
    Name,
}
