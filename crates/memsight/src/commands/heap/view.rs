//! `memsight heap view`: memsight's own pages on a heap, from a store that lives as long as
//! the server. A snapshot file stays where it is; heaps of other kinds are written into the
//! store, so they take its space meanwhile.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use decode::heapfile;
use model::{Capture, CaptureKind, TargetId};

use super::source::Heap;
use crate::args::heap::{SourceArgs, ViewArgs};
use crate::failure::Failure;
use crate::service::Service;
use crate::viewer::{Viewer, file_name};

/// Serves until Ctrl-C.
pub(crate) fn run(args: &ViewArgs) -> Result<ExitCode, Failure> {
    // First of all: a file that cannot be read needs no server.
    let shown = Heap::open(&args.heap)?;
    let base = args.base.as_ref().map(|source| {
        let source = SourceArgs { source: source.clone(), taking: args.heap.taking.clone() };
        Ok::<_, Failure>((Heap::open(&source)?, source.source))
    });
    let base = base.transpose()?;
    let viewer = Viewer::start(&args.listen)?;
    let target = viewer.target(&file_name(&args.heap.source))?;
    let service = &viewer.service;
    let base = base.map(|(heap, source)| put(service, target, &heap, &source, "base"));
    let base = base.transpose()?;
    let id = put(service, target, &shown, &args.heap.source, "view")?.id.0;
    drop(shown);
    let query = base.map(|base| format!("?base={}", base.id.0)).unwrap_or_default();
    // While the browser starts.
    let (heaps, store) = (Arc::clone(&service.heaps), Arc::clone(&service.store));
    std::thread::spawn(move || heaps.warm(&store, id));
    viewer.serve(&format!("/heap/{id}{query}"), args.no_browser)
}

fn put(
    service: &Service,
    target: TargetId,
    heap: &Heap,
    source: &str,
    reason: &str,
) -> Result<Capture, Failure> {
    let store = &service.store;
    if let Heap::Mapped { .. } = heap {
        let file = std::fs::canonicalize(source).with_context(|| source.to_owned())?;
        return Ok(store.link_file(target, CaptureKind::Graph, capture::now(), reason, &file)?);
    }
    heap.with(|graph| {
        let mut begun = store.begin_file(target, CaptureKind::Graph, capture::now())?;
        heapfile::write(graph, &mut begun).context("cannot write the heap for the server")?;
        Ok(store.put_file(begun, reason, 0)?)
    })
}
