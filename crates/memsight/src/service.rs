//! The running service: store, watch and server together, for `serve` and `demo`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use agent::{Config, Event, Publish, Watch};
use anyhow::Context;
use serde_json::json;
use server::{Notice, Server};
use store::Store;
use tokio::sync::broadcast;

use crate::failure::Failure;
use crate::heaps::HeapAccess;
use crate::interrupt;
use crate::pprof;
use crate::traces::TraceAccess;

/// How to start the service.
pub(crate) struct Options<'a> {
    pub store: &'a Path,
    pub store_options: store::Options,
    pub listen: &'a str,
    pub token: Option<&'a str>,
    pub watch: Config,
    /// Whether clients may have heaps of targets taken.
    pub may_take_heaps: bool,
    /// Whether clients may have targets traced.
    pub may_take_traces: bool,
}

/// A service that runs until it is stopped.
pub(crate) struct Service {
    /// Where the pages are.
    pub url: String,
    /// The store.
    pub store: Arc<Store>,
    /// Profiles that are decoded.
    pub recent: Arc<server::Recent<model::Profile>>,
    /// Object graphs that are open.
    pub heaps: Arc<server::Heaps>,
    /// Traces that are open.
    pub traces: Arc<server::Traces>,
    /// What happens.
    pub events: mpsc::Receiver<Event>,
    stop: Arc<AtomicBool>,
    watch: JoinHandle<()>,
    runtime: tokio::runtime::Runtime,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    stop_server: tokio::sync::oneshot::Sender<()>,
}

/// Notices that a slow reader may lag behind.
const NOTICES: usize = 256;

impl Service {
    /// Opens the store, binds the port, and starts to watch.
    pub(crate) fn start(options: &Options<'_>) -> Result<Service, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .enable_all()
            .build()
            .context("cannot start the server's threads")?;
        // The port first: whoever starts a second server should learn of that one,
        // not of the lock.
        let bound = runtime
            .block_on(server::bind(options.listen, options.token.is_some()))
            .map_err(|error| Failure::usage(&error).next(error.next_step()))?;
        let store = Store::open(options.store, options.store_options.clone()).map_err(|error| {
            let failure = Failure::usage(&error);
            error.next_step().map(|next| Failure::usage(&error).next(next)).unwrap_or(failure)
        })?;
        let store = Arc::new(store);
        let url = format!("http://{}", bound.address);
        let (notices, _) = broadcast::channel(NOTICES);
        let recent: Arc<server::Recent<model::Profile>> = Arc::default();
        let heaps = Arc::new(server::Heaps::new(Arc::new(HeapAccess), options.may_take_heaps));
        let traces = Arc::new(server::Traces::new(Arc::new(TraceAccess), options.may_take_traces));
        let server = Server {
            store: Arc::clone(&store),
            notices: notices.clone(),
            token: options.token.map(Arc::from),
            started: capture::now(),
            usage: own_usage,
            sources: || Box::new(pprof::SourceSearch::served()),
            code: || Box::new(pprof::Binaries::served()),
            recent: Arc::clone(&recent),
            heaps: Arc::clone(&heaps),
            traces: Arc::clone(&traces),
        };
        let (stop_server, stopped) = tokio::sync::oneshot::channel();
        let server = runtime.spawn(server.run(bound, async {
            let _ = stopped.await;
        }));
        let (sender, events) = mpsc::channel();
        let publish: Publish = Arc::new(move |event| {
            // Nobody may be listening, on either side.
            let _ = notices.send(notice(&event));
            let _ = sender.send(event);
        });
        let stop = Arc::new(AtomicBool::new(false));
        let watch =
            Watch::new(Arc::clone(&store), options.watch.clone(), publish, Arc::clone(&stop));
        let watch = std::thread::Builder::new()
            .name("watch".to_owned())
            .spawn(move || watch.run())
            .context("cannot start the watch")?;
        Ok(Service {
            url,
            store,
            recent,
            heaps,
            traces,
            events,
            stop,
            watch,
            runtime,
            server,
            stop_server,
        })
    }

    /// A flag that Ctrl-C or SIGTERM sets.
    pub(crate) fn signalled(&self) -> Arc<AtomicBool> {
        // Without handlers, signals end the process as ever.
        interrupt::flag(&self.runtime).unwrap_or_default()
    }

    /// Ends the watch, then the server.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.stop_server.send(());
        let served = self.runtime.block_on(self.server);
        if self.watch.join().is_err() {
            return Err(Failure::usage("the watch ended with a panic; please report this"));
        }
        served.context("server")?.context("server")?;
        Ok(())
    }
}

fn own_usage() -> (Option<u64>, Option<f64>) {
    let own = capture::signals::process(std::process::id(), false);
    (own.rss_bytes, own.cpu_seconds)
}

fn notice(event: &Event) -> Notice {
    let (kind, data) = match event {
        Event::TargetFound { target, name, pid } => {
            ("target", json!({ "target": target.0, "name": name, "pid": pid, "alive": true }))
        }
        Event::TargetEnded { target } => ("target", json!({ "target": target.0, "alive": false })),
        Event::Observed { target } => ("observation", json!({ "target": target.0 })),
        Event::Captured { target, capture } => {
            ("capture", json!({ "target": target.0, "capture": capture.0 }))
        }
        Event::Diagnosed { target, verdict, confidence, is_new, summary } => (
            "finding",
            json!({ "target": target.0, "verdict": verdict.as_str(), "confidence": confidence,
                    "new": is_new, "summary": summary }),
        ),
        Event::Warning { target, text } => {
            ("warning", json!({ "target": target.map(|target| target.0), "text": text }))
        }
        _ => ("other", json!({})),
    };
    Notice { kind, data }
}
