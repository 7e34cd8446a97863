//! `memsight heap`: which objects a heap holds, and what keeps them alive.

mod dominators;
mod export;
mod findings;
mod query;
mod snapshot;
pub(crate) mod source;
mod tables;
mod verify;
mod view;
mod why;

use std::process::ExitCode;

use analyze::heap::Dominators;
use analyze::heap::select::SelectError;
use render::paint::Paint;
use render::quantity::count;
use source::Opened;

use crate::args::heap::HeapCommand;
use crate::failure::Failure;
use crate::terminal::Progress;

/// Runs one of the commands.
pub(crate) fn run(command: &HeapCommand, paint: Paint) -> Result<ExitCode, Failure> {
    match command {
        HeapCommand::Snapshot(args) => snapshot::run(args),
        HeapCommand::Summary(args) => tables::summary(args, paint),
        HeapCommand::Histogram(args) => tables::histogram(args),
        HeapCommand::Roots(args) => tables::roots(args),
        HeapCommand::Dominators(args) => dominators::run(args, paint),
        HeapCommand::Export(args) => export::run(args),
        HeapCommand::Verify(args) => verify::run(args),
        HeapCommand::Why(args) => why::run(args, paint),
        HeapCommand::View(args) => view::run(args),
        HeapCommand::Leaks(args) => findings::leaks_of(args, paint),
        HeapCommand::Waste(args) => findings::waste_of(args, paint),
        HeapCommand::Diff(args) => findings::diff_of(args),
        HeapCommand::Query(args) => query::run(args),
    }
}

/// Computes the dominators; says so on a terminal, because it can take seconds.
fn dominators(heap: &Opened<'_>) -> Dominators {
    let mut progress = Progress::new();
    progress.show(&format!("what {} objects retain", count(heap.len() as u64)));
    Dominators::of_mapped(heap, || heap.release())
}

/// What was not found, with names like it.
fn not_found(error: &SelectError) -> Failure {
    let failure = Failure::usage(error);
    match error {
        SelectError::Unknown { near, .. } | SelectError::UnknownRoot { near, .. }
            if !near.is_empty() =>
        {
            failure.next(format!("similar names: {}", near.join(", ")))
        }
        SelectError::Unknown { .. } => failure.next("`memsight heap histogram` lists the types"),
        SelectError::UnknownRoot { .. } => failure.next("`memsight heap roots -n 0` lists them"),
        _ => failure,
    }
}
