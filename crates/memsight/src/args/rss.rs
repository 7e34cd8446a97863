//! The command line of `memsight rss`.

use clap::Args;

/// The first steps.
pub(crate) const EXAMPLES: &str = "\
Examples:
  memsight rss 4242                    what the resident memory of pid 4242 consists of, and why
  memsight rss name:checkout --sizes   with the spans of every size class
  memsight rss 4242 --maps             with every mapping
  memsight rss 4242 --json | jq '.causes[0]'

Any process of this machine can be named by its pid; of programs that are not Go the mappings
and what malloc keeps are told apart.";

/// Arguments of `rss`.
#[derive(Debug, Args)]
pub(crate) struct RssArgs {
    /// PID, or name:REGEX of a Go program.
    pub target: String,
    /// Shows all size classes of the heap.
    #[arg(long)]
    pub sizes: bool,
    /// Shows every mapping with what it is.
    #[arg(long)]
    pub maps: bool,
    /// Prints JSON, size classes and mappings included.
    #[arg(long)]
    pub json: bool,
}
