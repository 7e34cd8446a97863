//! Discovery: which targets there are now, one watcher for each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

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

struct Running {
    thread: JoinHandle<()>,
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
        let mut running: HashMap<TargetSpec, Running> = HashMap::new();
        let (mut discovered, mut swept) = (None::<Instant>, Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            if discovered.is_none_or(|at| at.elapsed() >= DISCOVERY) {
                discovered = Some(Instant::now());
                running.retain(|_, watcher| !watcher.thread.is_finished());
                for spec in self.wanted() {
                    running.entry(spec.clone()).or_insert_with(|| self.start(spec));
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
        for (_, watcher) in running {
            // A watcher that panicked has nothing more to say.
            let _ = watcher.thread.join();
        }
    }

    fn warn(&self, text: &str) {
        (self.publish)(Event::Warning { target: None, text: text.to_owned() });
    }

    /// The targets that are there now; names become the pids they match.
    fn wanted(&self) -> Vec<TargetSpec> {
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
            let pids = capture::find::pids().into_iter().filter(|pid| capture::find::is_go(*pid));
            wanted.extend(pids.map(TargetSpec::Pid));
        }
        wanted.sort();
        wanted.dedup();
        wanted
    }

    fn start(&self, spec: TargetSpec) -> Running {
        let watcher = Watcher {
            store: Arc::clone(&self.store),
            every: self.config.every,
            publish: Arc::clone(&self.publish),
            stop: Arc::clone(&self.stop),
        };
        let thread = std::thread::Builder::new()
            .name(format!("watch {spec}"))
            .stack_size(1 << 20)
            .spawn(move || watcher.run(&spec));
        // The limit of threads is reached: try again with the next discovery.
        let thread = thread.unwrap_or_else(|error| {
            self.warn(&format!("cannot start a thread: {error}"));
            std::thread::spawn(|| {})
        });
        Running { thread }
    }
}
