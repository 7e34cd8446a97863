//! How the server opens heap files and takes the heaps of running programs.

use std::path::Path;

use capture::snapshot::Options;
use capture::{LiveTarget, ScratchColumns, cpu_time};
use decode::goheap::Keep;
use model::{HeapGraph, TargetSpec};
use server::{FilesError, HeapFiles};

use crate::commands::heap::source::Heap;
use crate::failure::Failure;

/// The files and programs of this machine.
pub(crate) struct HeapAccess;

impl HeapFiles for HeapAccess {
    fn with_file(
        &self,
        path: &Path,
        work: &mut dyn FnMut(&HeapGraph<'_>),
    ) -> Result<(), FilesError> {
        let heap = Heap::sent(&path.to_string_lossy());
        let done = heap.and_then(|heap| {
            heap.with(|graph| {
                work(graph);
                Ok(())
            })
        });
        // Where the file lies in the store is no client's business.
        done.map_err(|failure| told(&failure, &format!("{}: ", path.display())))
    }

    fn with_target(
        &self,
        target: &TargetSpec,
        work: &mut dyn FnMut(&HeapGraph<'_>, &dyn Fn() -> u64),
    ) -> Result<(), FilesError> {
        let started = cpu_time();
        let columns = ScratchColumns::new(std::env::temp_dir());
        let graph = take(target, &columns).map_err(|failure| told(&failure, ""))?;
        let micros = || {
            let cost = cpu_time().saturating_sub(started);
            u64::try_from(cost.as_micros()).unwrap_or(u64::MAX)
        };
        work(&graph, &micros);
        Ok(())
    }
}

/// Takes the heap of a program, without contents: whoever reads the pages need not read
/// the program's memory.
pub(crate) fn take<'s>(
    target: &TargetSpec,
    columns: &'s ScratchColumns,
) -> Result<HeapGraph<'s>, Failure> {
    let LiveTarget::Process(process) = LiveTarget::attach(target)? else {
        let failure = Failure::usage("no heap can be taken through HTTP");
        return Err(failure.next("watch the process itself, with --pid or --name"));
    };
    Ok(process.object_graph(&Options::default(), Keep::Nothing, columns, &mut |_, _| {})?)
}

fn told(failure: &Failure, left_out: &str) -> FilesError {
    FilesError {
        message: format!("{:#}", failure.error).replace(left_out, ""),
        next: failure.next.clone().unwrap_or_default(),
    }
}
