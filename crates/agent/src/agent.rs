//! The whole agent: the watch with its rules, what it feeds, and whom it tells; started from a
//! configuration, and changed to another while it runs.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use analyze::families::{Families, Histograms, SelfFigures, SeriesFigures};
use model::FamilyKind;
use notify::{Notifier, Settings};
use promql::rules::RuleGroup;
use remotewrite::RemoteWrites;
use store::{SeriesOptions, SeriesStats, SeriesStore, Store};

use crate::alerts::{self, PagesUrl, RuleAlerts};
use crate::bus::Bus;
use crate::captures::Captures;
use crate::config::{Config, Distributions, Global};
use crate::evaluation::{Evaluator, OnAlerts, Surroundings};
use crate::events::{Event, Publish};
use crate::failures::{self, Part};
use crate::processes::Processes;
use crate::registry::Registry;
use crate::runner::Runner;
use crate::scrape::{self, Scrapes};
use crate::sink::Sink;
use crate::watch::{self, Watch};

/// Shares of a cgroup's limit at which the kernel tells that they are passed.
const PERCENTS: [u8; 8] = [50, 60, 70, 75, 80, 85, 90, 95];
/// Alerts that go on are told again so often.
const REPEAT: Duration = Duration::from_secs(60);
/// What is due is handed over within this time when the agent ends.
const DRAIN: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(200);

/// Adds what is measured now.
pub type Figures = Arc<dyn Fn(&mut Families, Histograms) + Send + Sync>;

/// A running agent.
pub struct Agent {
    bus: Bus,
    registry: Arc<Registry>,
    runner: Arc<Runner>,
    series: Arc<SeriesStore>,
    remote: Arc<RemoteWrites>,
    notifier: Arc<Notifier>,
    evaluator: Arc<Evaluator>,
    sink: Arc<Sink>,
    scrapes: Mutex<Scrapes>,
    watch: JoinHandle<()>,
    watched: Arc<watch::Settings>,
    /// Where the pages are, unless the configuration says.
    url: String,
    external_url: PagesUrl,
    captures: Arc<Captures>,
    processes: Arc<Processes>,
    collector: JoinHandle<()>,
    stop: Arc<AtomicBool>,
    settings: Arc<Mutex<Config>>,
}

/// What people may look at of a running agent.
#[derive(Clone)]
pub struct View {
    /// The rules at work.
    pub runner: Arc<Runner>,
    /// The targets under watch.
    pub registry: Arc<Registry>,
    /// Prometheus's rules.
    pub evaluator: Arc<Evaluator>,
    /// Who tells people.
    pub notifier: Arc<Notifier>,
    /// Where series are sent.
    pub remote: Arc<RemoteWrites>,
    /// The machine's processes.
    pub processes: Arc<Processes>,
}

/// Counts what happens and what fails.
#[derive(Clone)]
pub struct Tally {
    bus: Bus,
    series: Arc<SeriesStore>,
    remote: Arc<RemoteWrites>,
    notifier: Arc<Notifier>,
}

impl Tally {
    /// Fills in events, errors and what the store of series counts.
    pub fn fill(&self, own: &mut SelfFigures) {
        own.events = self.bus.published();
        own.events_lost = self.bus.lost();
        own.errors = failures::counts();
        own.errors.push(("remote_write", self.remote.failures()));
        own.errors.push(("notify", self.notifier.failures()));
        own.series = series_figures(&self.series.stats());
    }
}

/// Why an agent cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The store.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// Remote write.
    #[error("remote write: {0}")]
    RemoteWrite(#[from] remotewrite::RemoteWriteError),
    /// Notifications.
    #[error("notifications: {0}")]
    Notify(#[from] notify::NotifyError),
    /// Anything else, with its place if it has one.
    #[error("{0}")]
    Other(String),
}

/// An agent that is made but does not watch yet.
pub struct Prepared {
    watch: Watch,
    runner: Arc<Runner>,
    series: Arc<SeriesStore>,
    remote: Arc<RemoteWrites>,
    notifier: Arc<Notifier>,
    rule_alerts: Arc<RuleAlerts>,
    sink: Arc<Sink>,
    bus: Bus,
    store: Arc<Store>,
    config: Config,
    url: String,
    external_url: PagesUrl,
    stop: Arc<AtomicBool>,
}

impl Prepared {
    /// Opens what an agent needs beside the store. `url` is where its pages are.
    ///
    /// # Errors
    /// When a folder cannot be used, or the configuration cannot be fulfilled.
    pub fn new(
        config: &Config,
        store: &Arc<Store>,
        bus: &Bus,
        url: &str,
    ) -> Result<Prepared, AgentError> {
        let (dir, publish) = (store.dir(), bus.publisher());
        let external_url = PagesUrl::new(external_url(config, url));
        let series = Arc::new(SeriesStore::open(dir, series_options(config))?);
        for warning in series.take_warnings() {
            publish(Event::Warning { target: None, text: warning });
        }
        let remote = Arc::new(open_remote(config, dir, &publish)?);
        let notifier = Arc::new(open_notifier(config, dir, url, &publish)?);
        let rule_alerts = Arc::new(RuleAlerts::new(Arc::clone(&notifier), external_url.clone()));
        let sink = Sink::new(Arc::clone(&series), Arc::clone(&remote), Arc::clone(&publish));
        let stop = Arc::new(AtomicBool::new(false));
        let watch = Watch::new(Arc::clone(store), watch_config(config), publish, Arc::clone(&stop));
        let rules =
            config.rules().map_err(|faults| AgentError::Other(crate::rules::list(&faults)))?;
        let telling = Arc::clone(&rule_alerts);
        let runner = Runner::new(
            rules,
            watch.captures(),
            watch.registry(),
            bus.publisher(),
            Arc::new(move |notice| telling.tell(&notice)),
            Arc::clone(&stop),
        )?;
        let runner = Arc::new(runner);
        let on_kernel = Arc::clone(&runner);
        let watch = watch
            .on_kernel(
                PERCENTS.to_vec(),
                Arc::new(move |event, targets| {
                    on_kernel.kernel(event, targets);
                }),
            )
            .with_rules(Arc::clone(&runner));
        Ok(Prepared {
            watch,
            runner,
            series,
            remote,
            notifier,
            rule_alerts,
            sink: Arc::new(sink),
            bus: bus.clone(),
            store: Arc::clone(store),
            config: config.clone(),
            url: url.to_owned(),
            external_url,
            stop,
        })
    }

    /// The watch.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// The series that are kept.
    pub fn series(&self) -> Arc<SeriesStore> {
        Arc::clone(&self.series)
    }

    /// What remote write and notifications count of themselves.
    pub fn own_families(&self) -> Box<dyn Fn() -> Vec<model::Family> + Send + Sync> {
        own(&self.remote, &self.notifier)
    }

    /// What happened so far, and what failed.
    pub fn tally(&self) -> Tally {
        let (remote, notifier) = (Arc::clone(&self.remote), Arc::clone(&self.notifier));
        let (bus, series) = (self.bus.clone(), Arc::clone(&self.series));
        Tally { bus, series, remote, notifier }
    }

    /// Starts to watch. `figures` adds all that is measured, to be kept and sent.
    ///
    /// # Errors
    /// When a thread cannot be started, or a file of rules is wrong.
    pub fn start(self, figures: Figures) -> Result<Agent, AgentError> {
        let Prepared { watch, runner, series, remote, notifier, sink, bus, store, .. } = self;
        let (config, stop) = (self.config, self.stop);
        let io =
            |error: std::io::Error| AgentError::Other(format!("cannot start a thread: {error}"));
        let surroundings = Surroundings {
            series: Arc::clone(&series),
            sink: Arc::clone(&sink),
            store,
            on_alerts: on_alerts(&notifier, self.external_url.clone()),
            publish: bus.publisher(),
        };
        let files = rule_files(&config)?;
        let external = (config.global.external_labels.clone(), self.external_url.get());
        let interval = config.global.evaluation_interval;
        let evaluator = Evaluator::start(surroundings, files, interval, external).map_err(io)?;
        let evaluator = Arc::new(evaluator);
        let (registry, watched, captures) = (watch.registry(), watch.settings(), watch.captures());
        let processes = watch.processes();
        captures.set_memory(config.budget.memory);
        let settings = Arc::new(Mutex::new(config.clone()));
        let collector = Collector {
            figures,
            own: own(&remote, &notifier),
            sink: Arc::clone(&sink),
            series: Arc::clone(&series),
            settings: Arc::clone(&settings),
            rule_alerts: self.rule_alerts,
            bus: bus.clone(),
            stop: Arc::clone(&stop),
        };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let collector = thread("collect").spawn(move || collector.run()).map_err(io)?;
        let watch = thread("watch").spawn(move || watch.run()).map_err(io)?;
        let agent = Agent {
            bus,
            registry,
            runner,
            series,
            remote,
            notifier,
            evaluator,
            sink,
            scrapes: Mutex::default(),
            watch,
            watched,
            url: self.url,
            external_url: self.external_url,
            captures,
            processes,
            collector,
            stop,
            settings,
        };
        agent.scrape(&config).map_err(AgentError::Other)?;
        Ok(agent)
    }
}

impl Agent {
    /// What people may look at.
    pub fn view(&self) -> View {
        View {
            runner: Arc::clone(&self.runner),
            registry: Arc::clone(&self.registry),
            evaluator: Arc::clone(&self.evaluator),
            notifier: Arc::clone(&self.notifier),
            remote: Arc::clone(&self.remote),
            processes: Arc::clone(&self.processes),
        }
    }

    /// Goes on with another configuration. What cannot be changed before the next start is told
    /// among the faults, and stays.
    ///
    /// # Errors
    /// All that could not be taken over.
    pub fn reload(&self, config: &Config) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        let mut note = |result: Result<(), String>| faults.extend(result.err());
        match config.rules() {
            Ok(rules) => self.runner.replace_rules(rules),
            Err(wrong) => note(Err(crate::rules::list(&wrong))),
        }
        let external = &config.global.external_labels;
        let remote = self.remote.reload(external, &config.remote_write);
        note(remote.map_err(|error| error.to_string()));
        self.remote.set_bytes_max(config.budget.remote_write_bytes);
        let settings = notify_settings(config, &self.url);
        self.external_url.set(settings.external_url.clone());
        let notifier = self.notifier.reload(&config.notifications(), settings);
        note(notifier.map_err(|error| error.to_string()));
        note(self.scrape(config));
        match rule_files(config) {
            Ok(files) => {
                let interval = config.global.evaluation_interval;
                let external = (external.clone(), self.external_url.get());
                self.evaluator.reload(files, interval, external);
            }
            Err(error) => note(Err(error.to_string())),
        }
        self.watched.set(watch_config(config));
        self.captures.cpu.set_share(config.budget.cpu);
        self.captures.set_memory(config.budget.memory);
        let kept = &config.store;
        self.captures.store.set_keep(kept.keep, kept.keep_bytes);
        self.series.set_keep(kept.keep_series, kept.keep_series_bytes);
        Part::Config.failed_times(faults.len());
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        faults.extend(config.later(&settings).map(str::to_owned));
        let before = std::mem::replace(&mut *settings, config.clone());
        // What is in force counts, also at the reload after this one.
        (settings.web, settings.store.path) = (before.web, before.store.path);
        drop(settings);
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    fn scrape(&self, config: &Config) -> Result<(), String> {
        let mut scrapes = self.scrapes.lock().unwrap_or_else(PoisonError::into_inner);
        let sink = Arc::clone(&self.sink);
        let publish = self.bus.publisher();
        let into: scrape::Sink = Arc::new(move |source: &str, time, families: &[model::Family]| {
            sink.append(source, time, families);
        });
        let report: scrape::Report = Arc::new(move |source: &str, why: Option<&str>| {
            let text = match why {
                Some(why) => format!("{source}: {why}"),
                None => format!("{source}: can be read again"),
            };
            publish(Event::Warning { target: None, text });
        });
        let interval = config.global.scrape_interval;
        scrapes.change(&config.scrape_configs, interval, &into, &report)
    }

    /// Ends: first the watch, then what it feeds; what is queued is handed over as far as that is
    /// quick, and stays on disk otherwise.
    pub fn stop(self) -> Result<(), String> {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.scrapes);
        let ended = |thread: JoinHandle<()>, name: &str| {
            thread.join().map_err(|_| format!("the {name} ended with a panic; please report this"))
        };
        let watch = ended(self.watch, "watch");
        let collector = ended(self.collector, "collector");
        self.runner.drain(DRAIN);
        self.runner.keep(true);
        self.evaluator.end();
        let until = Instant::now() + DRAIN;
        self.remote.drain(DRAIN);
        let left = until.saturating_duration_since(Instant::now());
        self.notifier.drain(left);
        let flushed = self.series.flush(capture::now()).map_err(|error| error.to_string());
        watch.and(collector).and(flushed)
    }
}

/// Gathers all that is measured, keeps and sends it.
struct Collector {
    figures: Figures,
    own: Box<dyn Fn() -> Vec<model::Family> + Send + Sync>,
    sink: Arc<Sink>,
    series: Arc<SeriesStore>,
    settings: Arc<Mutex<Config>>,
    rule_alerts: Arc<RuleAlerts>,
    bus: Bus,
    stop: Arc<AtomicBool>,
}

impl Collector {
    fn run(&self) {
        let (mut next, mut repeated) = (Instant::now(), Instant::now());
        let mut has_failed = false;
        while !self.stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now >= next {
                next = (next + self.global().scrape_interval).max(now);
                self.collect();
                let ticked = self.series.tick(capture::now());
                if ticked.is_err() {
                    Part::Series.failed();
                }
                // Half-written hours are worth less than the next ones.
                match ticked {
                    Ok(()) => has_failed = false,
                    Err(error) if !has_failed => {
                        has_failed = true;
                        self.warn(&format!("series are not kept: {error}"));
                    }
                    Err(_) => {}
                }
                for text in self.series.take_warnings() {
                    Part::Series.failed();
                    self.warn(&text);
                }
            }
            if repeated.elapsed() >= REPEAT {
                repeated = now;
                self.rule_alerts.repeat(capture::now());
            }
            std::thread::sleep(TICK);
        }
        self.sink.append("memsight", capture::now(), &[]);
    }

    fn collect(&self) {
        let gathered = |form| {
            let mut families = Families::default();
            (self.figures)(&mut families, form);
            families.into_vec()
        };
        let mut all = match self.global().histograms {
            Distributions::Native => gathered(Histograms::Native),
            Distributions::Classic => gathered(Histograms::Classic),
            Distributions::Both => {
                let mut all = gathered(Histograms::Classic);
                let native = gathered(Histograms::Native).into_iter();
                all.extend(native.filter(|family| family.kind == FamilyKind::Histogram));
                all
            }
        };
        all.extend((self.own)());
        self.sink.append("memsight", capture::now(), &all);
    }

    fn global(&self) -> Global {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).global.clone()
    }

    fn warn(&self, text: &str) {
        self.bus.publish(Event::Warning { target: None, text: text.to_owned() });
    }
}

fn open_remote(config: &Config, dir: &Path, publish: &Publish) -> Result<RemoteWrites, AgentError> {
    let bytes = config.budget.remote_write_bytes;
    let limits = remotewrite::Limits { bytes, ..remotewrite::Limits::default() };
    let told = Arc::clone(publish);
    let report: remotewrite::Report = Arc::new(move |notice| {
        told(Event::Warning { target: None, text: notice.to_string() });
    });
    let (folder, labels) = (dir.join("remote-write"), &config.global.external_labels);
    Ok(RemoteWrites::open(&folder, labels, &config.remote_write, limits, report)?)
}

fn open_notifier(
    config: &Config,
    dir: &Path,
    url: &str,
    publish: &Publish,
) -> Result<Notifier, AgentError> {
    let settings = notify_settings(config, url);
    let told = Arc::clone(publish);
    let on_event = move |event| told(told_of(event));
    Ok(Notifier::open(&dir.join("notify"), &config.notifications(), settings, on_event)?)
}

/// Where people reach the pages; `url` is where they are.
fn external_url(config: &Config, url: &str) -> String {
    config.global.external_url.clone().unwrap_or_else(|| url.to_owned())
}

fn notify_settings(config: &Config, url: &str) -> Settings {
    let external_labels = config.global.external_labels.clone();
    Settings { external_url: external_url(config, url), external_labels }
}

fn own(
    remote: &Arc<RemoteWrites>,
    notifier: &Arc<Notifier>,
) -> Box<dyn Fn() -> Vec<model::Family> + Send + Sync> {
    let (remote, notifier) = (Arc::clone(remote), Arc::clone(notifier));
    Box::new(move || [remote.families(), notifier.families()].concat())
}

fn on_alerts(notifier: &Arc<Notifier>, external_url: PagesUrl) -> OnAlerts {
    let notifier = Arc::clone(notifier);
    Arc::new(move |now, firing| {
        notifier.update(now, "queries", alerts::of_queries(now, firing, &external_url.get()));
    })
}

fn watch_config(config: &Config) -> watch::Config {
    watch::Config {
        targets: config.targets.watch.clone(),
        all_go: config.targets.all_go,
        exclude: config.targets.exclude.clone(),
        observe: config.global.scrape_interval,
        every: config.global.profile_interval,
        graphs: config.targets.graphs,
        oom_probe: config.probes.oom,
        exec_probe: config.probes.exec,
        cpu_share: config.budget.cpu,
    }
}

fn series_figures(stats: &SeriesStats) -> SeriesFigures {
    SeriesFigures {
        series: stats.series,
        head_samples: stats.head_samples,
        head_bytes: stats.head_bytes,
        blocks: stats.blocks,
        block_samples: stats.block_samples,
        block_bytes: stats.block_bytes,
        appended: stats.appended.added,
        same: stats.appended.same,
        conflicting: stats.appended.conflicting,
        refused: stats.appended.refused,
        lost: stats.lost,
        blocks_written: stats.blocks_written,
        blocks_removed: stats.blocks_removed,
    }
}

fn series_options(config: &Config) -> SeriesOptions {
    SeriesOptions {
        keep: config.store.keep_series,
        keep_bytes: config.store.keep_series_bytes,
        ..SeriesOptions::default()
    }
}

fn rule_files(config: &Config) -> Result<Vec<(String, Vec<RuleGroup>)>, AgentError> {
    config.rule_groups().map_err(|error| AgentError::Other(error.to_string()))
}

fn told_of(event: notify::Event) -> Event {
    let warning = |text: String| Event::Warning { target: None, text };
    match event {
        notify::Event::Delivered(delivery) => Event::Notified {
            receiver: delivery.receiver,
            alerts: delivery.alerts,
            error: String::new(),
        },
        notify::Event::Refused(delivery) => Event::Notified {
            receiver: delivery.receiver,
            alerts: delivery.alerts,
            error: delivery.error.unwrap_or_default(),
        },
        notify::Event::Fails { integration, error } => {
            warning(format!("notifications by {integration} fail: {error}"))
        }
        notify::Event::Works { integration } => {
            warning(format!("notifications by {integration} work again"))
        }
        notify::Event::DiskFails { error } => {
            warning(format!("notifications are not kept on disk: {error}"))
        }
        notify::Event::DiskWorks => warning("notifications are kept on disk again".to_owned()),
        notify::Event::Damaged { path } => {
            warning(format!("a file of notifications was damaged and is now {}", path.display()))
        }
    }
}
