//! `memsight heap view`: memsight's own pages on a heap, from a store that lives as long as
//! the server. A snapshot file stays where it is; heaps of other kinds are written into the
//! store, so they take its space meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use decode::heapfile;
use model::{Capture, Target, TargetId, TargetSpec};

use super::source::Heap;
use crate::args::heap::{SourceArgs, ViewArgs};
use crate::failure::Failure;
use crate::pprof::browser;
use crate::service::{Options, Service};
use crate::temporary::TemporaryStore;

/// Longer than anybody looks at a heap.
const KEEP: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves until Ctrl-C.
pub(crate) fn run(args: &ViewArgs) -> Result<ExitCode, Failure> {
    // First of all: a file that cannot be read needs no server.
    let shown = Heap::open(&args.heap)?;
    let base = args.base.as_ref().map(|source| {
        let source = SourceArgs { source: source.clone(), taking: args.heap.taking.clone() };
        Ok::<_, Failure>((Heap::open(&source)?, source.source))
    });
    let base = base.transpose()?;
    let dir = TemporaryStore::create().context("cannot create a folder for the server")?;
    let service = Service::start(&Options {
        store: &dir.0,
        store_options: store::Options { repair: false, keep: KEEP, keep_bytes: u64::MAX >> 1 },
        listen: &args.listen,
        token: None,
        watch: agent::Config { targets: Vec::new(), all_go: false, every: KEEP, graphs: false },
        may_take_heaps: false,
    })?;
    let target = target(&service, &args.heap.source)?;
    let base = base.map(|(heap, source)| put(&service, target, &heap, &source, "base"));
    let base = base.transpose()?;
    let id = put(&service, target, &shown, &args.heap.source, "view")?.id.0;
    drop(shown);
    let query = base.map(|base| format!("?base={}", base.id.0)).unwrap_or_default();
    let url = format!("{}/heap/{id}{query}", service.url);
    // While the browser starts.
    let (heaps, store) = (Arc::clone(&service.heaps), Arc::clone(&service.store));
    std::thread::spawn(move || heaps.warm(&store, id));
    eprintln!("Serving web UI on {url}");
    let is_wanted = !args.no_browser
        && ["BROWSER", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    // It runs on by itself; without a screen nothing is started.
    let _ = is_wanted.then(|| browser::start(&browser::names(), url.as_ref()));
    let signalled = service.signalled();
    while !signalled.load(Ordering::Relaxed) {
        let _ = service.events.recv_timeout(Duration::from_millis(250));
    }
    service.stop()?;
    Ok(ExitCode::SUCCESS)
}

fn target(service: &Service, source: &str) -> Result<TargetId, Failure> {
    let name = Path::new(source).file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| source.to_owned());
    let spec = TargetSpec::Name(name.clone());
    let target = Target { spec, name, pid: None, labels: BTreeMap::new() };
    Ok(service.store.put_target(&target, capture::now())?)
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
        return Ok(store.link_graph(target, capture::now(), reason, &file)?);
    }
    heap.with(|graph| {
        let mut begun = store.begin_graph(target, capture::now())?;
        heapfile::write(graph, &mut begun).context("cannot write the heap for the server")?;
        Ok(store.put_graph(begun, reason, 0)?)
    })
}
