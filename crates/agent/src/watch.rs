//! Discovery: which targets there are now, one watcher for each.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use capture::events::{EventKind, PsiTrigger, Signals};
use capture::find::GoPids;
use model::TargetSpec;
use regex::Regex;
use store::Store;

use crate::captures::Captures;
use crate::config::ProbeUse;
use crate::events::{Event, Publish};
use crate::failures::Part;
use crate::kills::Kills;
use crate::pool::Pool;
use crate::processes::{Processes, Telling};
use crate::registry::{OnKernel, Registry};
use crate::runner::Runner;
use crate::seeds::{self, Seeds};
use crate::watcher::Watcher;

/// What to watch and how often.
#[derive(Clone, Debug)]
pub struct Config {
    /// Targets by name.
    pub targets: Vec<TargetSpec>,
    /// Every Go process that can be read, also ones that start later.
    pub all_go: bool,
    /// Of these not those whose name or command line matches.
    pub exclude: Vec<Regex>,
    /// Time between observations of a target.
    pub observe: Duration,
    /// Time between profiles of a target.
    pub every: Duration,
    /// Takes two object graphs of a target whose heap seems to leak: each stops it for
    /// milliseconds and clones it.
    pub graphs: bool,
    /// Keeps the heap profile that a target has in the moment of its OOM kill.
    pub oom_probe: ProbeUse,
    /// Keeps the lives of the machine's processes.
    pub exec_probe: ProbeUse,
    /// Share of one core that all targets together may take.
    pub cpu_share: f64,
}

const DISCOVERY: Duration = Duration::from_secs(3);
/// However many programs begin that are named.
const DISCOVERY_AGAIN: Duration = Duration::from_millis(300);
const SWEEP: Duration = Duration::from_secs(60);
const TRIM: Duration = Duration::from_secs(9);
const TICK: Duration = Duration::from_millis(200);

/// What to watch, which may change while the watch runs.
#[derive(Debug)]
pub struct Settings(Mutex<(u64, Arc<Config>)>);

impl Settings {
    fn new(config: Config) -> Settings {
        Settings(Mutex::new((0, Arc::new(config))))
    }

    /// How often they changed, and what they are.
    pub(crate) fn now(&self) -> (u64, Arc<Config>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What they are.
    pub(crate) fn get(&self) -> Arc<Config> {
        self.now().1
    }

    /// Goes on with others: what is no longer wanted is left, what is new is found.
    pub fn set(&self, config: Config) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = (state.0 + 1, Arc::new(config));
    }
}

/// By target what tells its watcher that it is no longer wanted. Once the watcher is gone, also
/// by a panic, nobody else has it.
type Running = HashMap<TargetSpec, Arc<AtomicBool>>;

/// The watch loop.
pub struct Watch {
    captures: Arc<Captures>,
    registry: Arc<Registry>,
    settings: Arc<Settings>,
    publish: Publish,
    stop: Arc<AtomicBool>,
    ready: Arc<AtomicBool>,
    kernel: Option<(Vec<u8>, OnKernel)>,
    rules: Option<Arc<Runner>>,
    processes: Arc<Processes>,
    /// Discovery is not to wait for its turn.
    wake: Arc<AtomicBool>,
}

impl Watch {
    /// Prepares a watch; set `stop` to end it.
    pub fn new(
        store: Arc<Store>,
        config: Config,
        publish: Publish,
        stop: Arc<AtomicBool>,
    ) -> Watch {
        let captures = Captures::new(store, Arc::clone(&publish), config.cpu_share);
        let (captures, registry) = (Arc::new(captures), Arc::default());
        let (ready, kernel, rules) = (Arc::default(), None, None);
        let (settings, processes) = (Arc::new(Settings::new(config)), Arc::default());
        let wake = Arc::default();
        Watch { captures, registry, settings, publish, stop, ready, kernel, rules, processes, wake }
    }

    /// Has `handler` called with what the kernel tells of the targets' cgroups, and of the
    /// machine: usage that passes shares of a limit (`percents`), kills, pressure.
    #[must_use]
    pub fn on_kernel(mut self, percents: Vec<u8>, handler: OnKernel) -> Watch {
        self.kernel = Some((percents, handler));
        self
    }

    /// Has rules told what is learned.
    #[must_use]
    pub fn with_rules(mut self, rules: Arc<Runner>) -> Watch {
        self.rules = Some(rules);
        self
    }

    /// Takes captures, for whoever acts beside the schedule.
    pub fn captures(&self) -> Arc<Captures> {
        Arc::clone(&self.captures)
    }

    /// The targets under watch.
    pub fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// The machine's processes.
    pub fn processes(&self) -> Arc<Processes> {
        Arc::clone(&self.processes)
    }

    /// What is watched; for changing it.
    pub fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings)
    }

    /// A flag that is set once targets were looked for.
    pub fn ready(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ready)
    }

    /// Watches until told to stop.
    pub fn run(&self) {
        if let Err(error) = self.captures.store.mark_all_ended() {
            self.warn(Part::Store, &error.to_string());
        }
        capture::allocator::keep_little();
        let (kernel, probes) = (self.start_kernel(), [self.start_kills(), self.start_processes()]);
        let (mut pool, mut running) = (Pool::new(), Running::new());
        let (mut version, mut config) = self.settings.now();
        let (mut go_pids, mut patterns) = (GoPids::default(), self.patterns(&config));
        let (mut discovered, mut swept, mut trimmed) =
            (None::<Instant>, Instant::now(), Instant::now());
        while !self.stop.load(Ordering::Relaxed) {
            let wait = match self.wake.load(Ordering::Relaxed) {
                true => DISCOVERY_AGAIN,
                false => DISCOVERY,
            };
            if discovered.is_none_or(|at| at.elapsed() >= wait) {
                self.wake.store(false, Ordering::Relaxed);
                discovered = Some(Instant::now());
                let now = self.settings.now();
                if now.0 != version {
                    (version, config) = now;
                    patterns = self.patterns(&config);
                }
                let wanted = wanted(&config, &mut go_pids, &patterns);
                self.keep_to(&wanted, &mut running, &mut pool);
                self.ready.store(true, Ordering::Relaxed);
                // What a round or a collection of series has freed lies between what is kept, and
                // little of it is used again: with hundreds of targets it adds up within seconds.
                if trimmed.elapsed() >= TRIM {
                    trimmed = Instant::now();
                    capture::allocator::trim();
                }
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                if let Err(error) = self.captures.store.sweep(capture::now()) {
                    self.warn(Part::Store, &error.to_string());
                }
            }
            if let Err(error) = pool.keep_up() {
                self.warn(Part::Watch, &format!("cannot start a thread: {error}"));
            }
            std::thread::sleep(TICK);
        }
        pool.end();
        // Its channel ends with the signals.
        self.registry.forget_cgroups();
        let _ = kernel.map(JoinHandle::join);
        for probe in probes {
            let _ = probe.map(JoinHandle::join);
        }
    }

    /// Starts the thread that keeps what programs were like when they were killed.
    fn start_kills(&self) -> Option<JoinHandle<()>> {
        let kills = Kills {
            captures: Arc::clone(&self.captures),
            registry: Arc::clone(&self.registry),
            settings: Arc::clone(&self.settings),
            processes: Arc::clone(&self.processes),
            publish: Arc::clone(&self.publish),
            stop: Arc::clone(&self.stop),
        };
        self.spawn("oom probe", move || kills.run())
    }

    /// Starts the thread that keeps lives of processes.
    fn start_processes(&self) -> Option<JoinHandle<()>> {
        let mut telling = Telling {
            processes: Arc::clone(&self.processes),
            registry: Arc::clone(&self.registry),
            settings: Arc::clone(&self.settings),
            publish: Arc::clone(&self.publish),
            stop: Arc::clone(&self.stop),
            seeds: Seeds::new(Arc::clone(&self.settings), Arc::clone(&self.wake)),
        };
        self.spawn("exec probe", move || telling.run())
    }

    fn spawn(&self, name: &str, run: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
        let thread = std::thread::Builder::new().name(name.to_owned());
        let failed = |error: std::io::Error| {
            self.warn(Part::Watch, &format!("cannot start a thread: {error}"));
        };
        thread.spawn(run).map_err(failed).ok()
    }

    /// Starts the thread that hands on what the kernel tells.
    fn start_kernel(&self) -> Option<JoinHandle<()>> {
        let (percents, handler) = self.kernel.clone()?;
        let failed = |error: std::io::Error| {
            self.warn(Part::Watch, &format!("kernel signals are not watched: {error}"));
        };
        let (signals, events) = Signals::start().map_err(failed).ok()?;
        if let Err(why) = signals.watch_pressure(&PsiTrigger::default()) {
            self.warn(Part::Watch, &format!("memory pressure is only polled: {why}"));
        }
        self.registry.watch_cgroups(signals, percents);
        let (registry, store) = (Arc::clone(&self.registry), Arc::clone(&self.captures.store));
        let warn = Arc::clone(&self.publish);
        let hand_on = move || {
            for event in events {
                let about = registry.about(event.cgroup.as_deref());
                if let EventKind::OomKill { .. } = event.kind {
                    // What rules had taken of them shows what it was like just before.
                    let marked =
                        about.iter().try_for_each(|it| store.mark_killed(it.id, event.time));
                    let text = |error| format!("evidence of a kill may be removed: {error}");
                    if let Err(text) = marked.map_err(text) {
                        Part::Store.failed();
                        warn(Event::Warning { target: None, text });
                    }
                }
                handler(&event, &about);
            }
        };
        let thread = std::thread::Builder::new().name("kernel events".to_owned());
        thread.spawn(hand_on).map_err(failed).ok()
    }

    fn warn(&self, part: Part, text: &str) {
        part.failed();
        (self.publish)(Event::Warning { target: None, text: text.to_owned() });
    }

    /// Starts a watcher for each target that has none, and has those end that are not wanted.
    fn keep_to(&self, wanted: &[TargetSpec], running: &mut Running, pool: &mut Pool) {
        running.retain(|_, is_unwanted| Arc::strong_count(is_unwanted) > 1);
        let mut is_changed = false;
        for (spec, is_unwanted) in &*running {
            if wanted.binary_search(spec).is_err() {
                is_changed |= !is_unwanted.swap(true, Ordering::Relaxed);
            }
        }
        if is_changed {
            pool.hurry();
        }
        for spec in wanted {
            if !running.contains_key(spec)
                && let Some(is_unwanted) = self.start(spec, pool)
            {
                running.insert(spec.clone(), is_unwanted);
            }
        }
    }

    /// The patterns of all names; one that is none is told once.
    fn patterns(&self, config: &Config) -> Vec<Regex> {
        let told = |error: &_| self.warn(Part::Watch, &format!("{error}"));
        seeds::names(config).filter_map(|name| name.inspect_err(told).ok()).collect()
    }

    /// `None` when there can be no more threads: the next discovery tries again.
    fn start(&self, spec: &TargetSpec, pool: &mut Pool) -> Option<Arc<AtomicBool>> {
        let is_unwanted = Arc::new(AtomicBool::new(false));
        let mut watcher = Watcher {
            spec: spec.clone(),
            captures: Arc::clone(&self.captures),
            registry: Arc::clone(&self.registry),
            settings: Arc::clone(&self.settings),
            is_unwanted: Arc::clone(&is_unwanted),
            publish: Arc::clone(&self.publish),
            stop: Arc::clone(&self.stop),
            rules: self.rules.clone(),
            watched: None,
        };
        let task = Box::new(move |lane| watcher.step(lane));
        if let TargetSpec::Url(_) = spec {
            // It waits for an answer most of the time.
            let started = pool.add_apart(task);
            let failed =
                |error: &_| self.warn(Part::Watch, &format!("cannot start a thread: {error}"));
            started.inspect_err(failed).ok()?;
        } else {
            pool.add(task);
        }
        Some(is_unwanted)
    }
}

/// The targets that are there now, in order; names become the pids they match.
fn wanted(config: &Config, go_pids: &mut GoPids, patterns: &[Regex]) -> Vec<TargetSpec> {
    let mut wanted = Vec::new();
    if config.all_go || !patterns.is_empty() {
        let all = go_pids.scan();
        wanted.extend(all.into_iter().filter(|_| config.all_go).map(TargetSpec::Pid));
    }
    for pattern in &config.exclude {
        let excluded = go_pids.matching(pattern);
        wanted.retain(|spec| !matches!(spec, TargetSpec::Pid(pid) if excluded.contains(pid)));
    }
    for pattern in patterns {
        wanted.extend(go_pids.matching(pattern).into_iter().map(TargetSpec::Pid));
    }
    for spec in &config.targets {
        match spec {
            TargetSpec::Name(_) => {}
            TargetSpec::Pid(pid) if !go_pids.is_go(*pid) => {}
            spec => wanted.push(spec.clone()),
        }
    }
    wanted.sort();
    wanted.dedup();
    wanted
}
