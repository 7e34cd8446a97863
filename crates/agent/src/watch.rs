//! Discovery: which targets there are now, one watcher for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use capture::find::GoPids;
use model::TargetSpec;
use store::Store;

use crate::events::{Event, Publish};
use crate::watcher::Watcher;

/// What to watch and how often.
#[derive(Clone, Debug)]
pub struct Config {
    /// Targets by name.
    pub targets: Vec<TargetSpec>,
    /// Every Go process that can be read, also ones that start later.
    pub all_go: bool,
    /// Time between profiles of a target.
    pub every: Duration,
    /// Takes two object graphs of a target whose heap seems to leak: each stops it for
    /// milliseconds and clones it.
    pub graphs: bool,
}

const DISCOVERY: Duration = Duration::from_secs(3);
const SWEEP: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(200);

/// The watch loop.
pub struct Watch {
    store: Arc<Store>,
    config: Config,
    publish: Publish,
    stop: Arc<AtomicBool>,
}

impl Watch {
    /// Prepares a watch; set `stop` to end it.
    pub fn new(
        store: Arc<Store>,
        config: Config,
        publish: Publish,
        stop: Arc<AtomicBool>,
    ) -> Watch {
        Watch { store, config, publish, stop }
    }

    /// Watches until told to stop.
    pub fn run(&self) {
        if let Err(error) = self.store.mark_all_ended() {
            self.warn(&error.to_string());
        }
        let mut running: HashMap<TargetSpec, JoinHandle<()>> = HashMap::new();
        let mut go_pids = GoPids::default();
        let (mut discovered, mut swept) = (None::<Instant>, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            if discovered.is_none_or(|at| at.elapsed() >= DISCOVERY) {
                discovered = Some(Instant::now());
                running.retain(|_, thread| !thread.is_finished());
                for spec in self.wanted(&mut go_pids) {
                    if !running.contains_key(&spec)
                        && let Some(thread) = self.start(&spec)
                    {
                        running.insert(spec, thread);
                    }
                }
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                if let Err(error) = self.store.sweep(capture::now()) {
                    self.warn(&error.to_string());
                }
            }
            std::thread::sleep(TICK);
        }
        for (_, thread) in running {
            // A watcher that panicked has nothing more to say.
            let _ = thread.join();
        }
    }

    fn warn(&self, text: &str) {
        (self.publish)(Event::Warning { target: None, text: text.to_owned() });
    }

    /// The targets that are there now; names become the pids they match.
    fn wanted(&self, go_pids: &mut GoPids) -> Vec<TargetSpec> {
        let mut wanted = Vec::new();
        for spec in &self.config.targets {
            match spec {
                TargetSpec::Name(pattern) => match capture::find::all_by_name(pattern) {
                    Ok(pids) => wanted.extend(pids.into_iter().map(TargetSpec::Pid)),
                    Err(error) => self.warn(&error.to_string()),
                },
                TargetSpec::Pid(pid) if !capture::find::is_go(*pid) => {}
                spec => wanted.push(spec.clone()),
            }
        }
        if self.config.all_go {
            wanted.extend(go_pids.scan().into_iter().map(TargetSpec::Pid));
        }
        wanted.sort();
        wanted.dedup();
        wanted
    }

    /// `None` when there can be no more threads: the next discovery tries again.
    fn start(&self, spec: &TargetSpec) -> Option<JoinHandle<()>> {
        let watcher = Watcher {
            store: Arc::clone(&self.store),
            every: self.config.every,
            graphs: self.config.graphs,
            publish: Arc::clone(&self.publish),
            stop: Arc::clone(&self.stop),
        };
        let watched = spec.clone();
        std::thread::Builder::new()
            .name(format!("watch {spec}"))
            .stack_size(1 << 20)
            .spawn(move || watcher.run(&watched))
            .inspect_err(|error| self.warn(&format!("cannot start a thread: {error}")))
            .ok()
    }
}
