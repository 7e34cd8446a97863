//! The running service: store, watch and server together, for `agent`, `serve` and `demo`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use agent::config::Config;
use agent::{Agent, Bus, Prepared, Record};
use analyze::families::{Families, SelfFigures};
use anyhow::Context;
use server::Server;
use store::{Store, StoredEvent};
use tokio::sync::broadcast;

use crate::failure::Failure;
use crate::heaps::HeapAccess;
use crate::interrupt;
use crate::pprof;
use crate::probes::ProbeAccess;
use crate::traces::TraceAccess;

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
    pub events: mpsc::Receiver<Arc<Record>>,
    agent: Agent,
    journal: JoinHandle<()>,
    stop_journal: Arc<AtomicBool>,
    runtime: tokio::runtime::Runtime,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    stop_server: tokio::sync::oneshot::Sender<()>,
}

/// Events that whoever started the service may lag behind.
const EVENTS: usize = 4096;
/// Stored events that a client's stream may lag behind.
const NOTICES: usize = 256;

impl Service {
    /// Opens the store, binds the port, and starts to watch.
    pub(crate) fn start(config: &Config, repair: bool) -> Result<Service, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4)
            .enable_all()
            .build()
            .context("cannot start the server's threads")?;
        // The port first: whoever starts a second server should learn of that one,
        // not of the lock.
        let web = &config.web;
        let bound = runtime
            .block_on(server::bind(&web.listen, web.token.is_some()))
            .map_err(|error| Failure::usage(&error).next(error.next_step()))?;
        let url = format!("http://{}", bound.address);
        let store = Arc::new(open(config, repair)?);
        let bus = Bus::default();
        let (notices, _) = broadcast::channel(NOTICES);
        let recent: Arc<server::Recent<model::Profile>> = Arc::default();
        let heaps = Arc::new(server::Heaps::new(Arc::new(HeapAccess), web.allow_snapshots));
        let traces = Arc::new(server::Traces::new(Arc::new(TraceAccess), web.allow_traces));
        let prepared = Prepared::new(config, &store, &bus, &url).map_err(Failure::usage)?;
        let runs = Arc::clone(&prepared.watch().captures().runs);
        let probes = Arc::new(server::Probes::new(Arc::new(ProbeAccess), runs, web.allow_probes));
        let figures = figures(&prepared, &store);
        let mut metrics = server::Metrics::new(page(&figures, prepared.own_families()));
        metrics.series = Some(prepared.series());
        let metrics = Arc::new(metrics);
        let watch = Arc::new(OnceLock::new());
        let server = Server {
            ready: prepared.watch().ready(),
            store: Arc::clone(&store),
            bus: bus.clone(),
            notices: notices.clone(),
            token: web.token.as_deref().map(Arc::from),
            started: capture::now(),
            usage: own_usage,
            sources: || Box::new(pprof::SourceSearch::served()),
            code: || Box::new(pprof::Binaries::served()),
            recent: Arc::clone(&recent),
            heaps: Arc::clone(&heaps),
            traces: Arc::clone(&traces),
            probes,
            metrics,
            watch: Arc::clone(&watch),
        };
        let (stop_server, stopped) = tokio::sync::oneshot::channel();
        let server = runtime.spawn(server.run(bound, async {
            let _ = stopped.await;
        }));
        let events = bus.subscribe(EVENTS);
        let stop_journal = Arc::default();
        let journal = journal(&bus, &store, &stop_journal, notices)?;
        let agent = prepared.start(figures).map_err(Failure::usage)?;
        // Nobody else sets it.
        let _ = watch.set(agent.view());
        Ok(Service {
            url,
            store,
            recent,
            heaps,
            traces,
            events,
            agent,
            journal,
            stop_journal,
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

    /// A flag that each SIGHUP sets.
    pub(crate) fn hung_up(&self) -> Arc<AtomicBool> {
        interrupt::hangup(&self.runtime).unwrap_or_default()
    }

    /// A flag that each SIGUSR1 sets.
    pub(crate) fn called(&self) -> Arc<AtomicBool> {
        interrupt::user(&self.runtime).unwrap_or_default()
    }

    /// Has rules that wait for the signal fire, for all targets.
    pub(crate) fn call(&self) {
        // Without a rule's name nothing can be missing.
        let _ = self.agent.view().runner.call(None, None);
    }

    /// Goes on with another configuration, as far as that needs no restart.
    ///
    /// # Errors
    /// What could not be taken over.
    pub(crate) fn reload(&self, config: &Config) -> Result<(), Vec<String>> {
        self.agent.reload(config)
    }

    /// Ends the watch, then the server.
    pub(crate) fn stop(self) -> Result<(), Failure> {
        let _ = self.stop_server.send(());
        let served = self.runtime.block_on(self.server);
        self.agent.stop().map_err(Failure::usage)?;
        // What was published until here is kept.
        self.stop_journal.store(true, Ordering::Release);
        ended(self.journal, "journal")?;
        served.context("server")?.context("server")?;
        Ok(())
    }
}

fn ended(thread: JoinHandle<()>, name: &str) -> Result<(), Failure> {
    let message = |_| Failure::usage(format!("the {name} ended with a panic; please report this"));
    thread.join().map_err(message)
}

fn open(config: &Config, repair: bool) -> Result<Store, Failure> {
    let (keep, keep_bytes) = (config.store.keep, config.store.keep_bytes);
    let path: &Path = &config.store.path;
    Store::open(path, store::Options { repair, keep, keep_bytes }).map_err(|error| {
        let failure = Failure::usage(&error);
        error.next_step().map(|next| Failure::usage(&error).next(next)).unwrap_or(failure)
    })
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Failure> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    Ok(thread.spawn(run).with_context(|| format!("cannot start the {name}"))?)
}

/// Keeps what happens; clients hear of it then.
fn journal(
    bus: &Bus,
    store: &Arc<Store>,
    stop: &Arc<AtomicBool>,
    notices: broadcast::Sender<Arc<StoredEvent>>,
) -> Result<JoinHandle<()>, Failure> {
    let (events, store, stop) = (bus.subscribe(EVENTS), Arc::clone(store), Arc::clone(stop));
    spawn("journal", move || {
        agent::journal::run(&events, &store, &stop, &|event| {
            // Nobody may be listening.
            let _ = notices.send(Arc::new(event));
        });
    })
}

/// All that is measured now.
fn figures(prepared: &Prepared, store: &Arc<Store>) -> agent::Figures {
    let (watch, tally) = (prepared.watch(), prepared.tally());
    let (registry, captures, store) = (watch.registry(), watch.captures(), Arc::clone(store));
    let started = capture::now();
    Arc::new(move |families: &mut Families, form| {
        registry.families(families, form);
        captures.families(families);
        // What cannot be read is not told.
        let stats = store.stats().unwrap_or_default();
        let (rss_bytes, cpu_seconds) = own_usage();
        let mut own = SelfFigures {
            version: env!("CARGO_PKG_VERSION"),
            started,
            cpu_seconds,
            rss_bytes,
            targets: registry.all().len() as u64,
            captures: stats.captures,
            capture_bytes: stats.bytes,
            ..SelfFigures::default()
        };
        tally.fill(&mut own);
        families.own(&own);
    })
}

/// The same for a page, with what remote write and notifications count.
fn page(
    figures: &agent::Figures,
    own: Box<dyn Fn() -> Vec<model::Family> + Send + Sync>,
) -> server::Figures {
    let figures = Arc::clone(figures);
    Box::new(move |families, form| {
        figures(families, form);
        families.extend(own());
    })
}

fn own_usage() -> (Option<u64>, Option<f64>) {
    let own = capture::signals::process(std::process::id(), false);
    (own.rss_bytes, own.cpu_seconds)
}
