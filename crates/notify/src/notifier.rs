//! Ties the parts together: one thread that asks the state machine what is due, writes it to
//! disk and starts what is to be sent; each attempt has a thread of its own.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use model::clock::ClockWatch;
use model::series::{Family, Labels};
use model::units::Timestamp;

use crate::alert::Alert;
use crate::config::{Config, ConfigError};
use crate::disk::{self, Disk};
use crate::dispatch::{Dispatcher, Key, Notice, Outcome};
use crate::report::{Delivery, DeliveryStatus, Event, Journal};
use crate::send::{Batch, Failure, Outbox, Sender, senders};
use crate::template::Templates;

/// Words of alerts change with each evaluation; without more the state is written this often.
const STATE_EVERY: Duration = Duration::from_secs(1);
/// After a failed write.
const DISK_RETRY: Duration = Duration::from_secs(5);

/// Delivers alerts. Nothing that is called here waits for a receiver.
pub struct Notifier {
    shared: Arc<Shared>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    inner: Mutex<Inner>,
    wake: Condvar,
    disk: Disk,
    on_event: Box<dyn Fn(Event) + Send + Sync>,
}

struct Inner {
    dispatcher: Dispatcher,
    clock: ClockWatch,
    senders: BTreeMap<String, Arc<Sender>>,
    outboxes: Vec<Outbox>,
    journal: Journal,
    /// Attempts to Alertmanagers that run.
    batches: usize,
    /// When the outboxes were made; outcomes of older ones are for nobody.
    generation: u64,
    disk_fails: bool,
    stops: bool,
    has_news: bool,
    external_labels: Labels,
}

/// What is the same for all notifications.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where our pages are, for links.
    pub external_url: String,
    /// Added to alerts that lack them, as Prometheus does.
    pub external_labels: Labels,
}

/// Why notifications cannot be delivered at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A receiver or template cannot be used.
    #[error("{0}")]
    Receiver(String),
    /// The folder cannot be used.
    #[error("{}: {source}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Config {
    /// Checks everything, also what files it names, without delivering anything.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn validate(&self) -> Result<(), NotifyError> {
        ways_of(self, "").map(|_| ())
    }
}

/// All that a configuration asks for.
fn ways_of(config: &Config, external_url: &str) -> Result<(Vec<Sender>, Vec<Outbox>), NotifyError> {
    config.check()?;
    let templates = Templates::read(&config.templates).map_err(NotifyError::Receiver)?;
    let senders = senders(config, &Arc::new(templates), external_url);
    let senders = senders.map_err(NotifyError::Receiver)?;
    let outboxes = Outbox::all(&config.alerting)
        .map_err(|message| NotifyError::Receiver(format!("alertmanagers: {message}")))?;
    Ok((senders, outboxes))
}

impl Notifier {
    /// Opens the folder, takes up what waits in it, and starts delivering. `on_event` is called
    /// from our threads; it should not take long.
    ///
    /// # Errors
    /// When the configuration is wrong, or the folder cannot be used.
    pub fn open(
        folder: &Path,
        config: &Config,
        settings: Settings,
        on_event: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Notifier, NotifyError> {
        let (senders, outboxes) = ways_of(config, &settings.external_url)?;
        let bad_folder = |source| NotifyError::Folder { folder: folder.to_owned(), source };
        let disk = Disk::open(folder).map_err(bad_folder)?;
        let found = disk.read().map_err(bad_folder)?;
        let now = now();
        let seed = now.0.unsigned_abs() ^ (u64::from(std::process::id()) << 32);
        let mut inner = Inner {
            dispatcher: Dispatcher::new(now, found.state, found.waiting, seed),
            clock: ClockWatch::new(Instant::now(), now),
            senders: BTreeMap::new(),
            outboxes: Vec::new(),
            journal: Journal::default(),
            batches: 0,
            generation: 0,
            disk_fails: false,
            stops: false,
            has_news: true,
            external_labels: settings.external_labels,
        };
        inner.configure(now, config, senders, outboxes);
        for path in found.damaged {
            on_event(Event::Damaged { path });
        }
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            wake: Condvar::new(),
            disk,
            on_event: Box::new(on_event),
        });
        let for_worker = Arc::clone(&shared);
        let worker = std::thread::Builder::new().name("notify".to_owned());
        let worker = worker.spawn(move || for_worker.work()).map_err(bad_folder)?;
        Ok(Notifier { shared, worker: Mutex::new(Some(worker)) })
    }

    /// Takes the whole set of alerts of a source: what fires, and, if it likes, what was just
    /// resolved. What fired before and is missing is resolved. To be called at each evaluation,
    /// at least every few minutes.
    pub fn update(&self, now: Timestamp, source: &str, alerts: Vec<Alert>) {
        let mut inner = self.shared.lock();
        let outer = &inner.external_labels;
        let labelled = |alert: Alert| {
            let missing = outer.iter().filter(|(name, _)| alert.labels.get(name).is_none());
            let labels = alert.labels.with(missing.collect::<Vec<_>>());
            Alert { labels, ..alert }
        };
        let alerts = alerts.into_iter().map(labelled).collect();
        inner.look_at_the_clock();
        inner.dispatcher.update(now, source, alerts);
        self.shared.nudge(&mut inner);
    }

    /// Takes another configuration. Delivery goes on; what receivers were told is not forgotten.
    ///
    /// # Errors
    /// When it is wrong; then the old one stays.
    pub fn reload(&self, config: &Config, settings: Settings) -> Result<(), NotifyError> {
        let (senders, outboxes) = ways_of(config, &settings.external_url)?;
        let mut inner = self.shared.lock();
        inner.external_labels = settings.external_labels;
        inner.configure(now(), config, senders, outboxes);
        self.shared.nudge(&mut inner);
        Ok(())
    }

    /// The last deliveries, newest first.
    pub fn recent(&self) -> Vec<Delivery> {
        self.shared.lock().journal.recent()
    }

    /// What there is to count, for `/metrics`.
    pub fn families(&self) -> Vec<Family> {
        let inner = self.shared.lock();
        inner.journal.families(now(), &inner.dispatcher)
    }

    /// Attempts so far that failed, and writes to disk.
    pub fn failures(&self) -> u64 {
        self.shared.lock().journal.failures
    }

    /// Stops: waits until what is due is delivered, but no longer than `timeout`; the rest stays
    /// on disk. Gives whether nothing is left.
    pub fn drain(&self, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        loop {
            let mut inner = self.shared.lock();
            let is_done = inner.batches == 0 && inner.dispatcher.is_idle(now());
            let left = until.saturating_duration_since(Instant::now());
            if is_done || left.is_zero() {
                break;
            }
            self.shared.nudge(&mut inner);
            let step = left.min(Duration::from_millis(50));
            drop(self.shared.wake.wait_timeout(inner, step));
        }
        self.stop();
        self.shared.lock().dispatcher.is_empty()
    }

    fn stop(&self) {
        let mut inner = self.shared.lock();
        inner.stops = true;
        self.shared.nudge(&mut inner);
        drop(inner);
        let worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(worker) = worker {
            // A panic of the worker was reported when it happened.
            let _ = worker.join();
        }
    }
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Something to be done outside the lock.
enum Job {
    Send(Notice, Arc<Sender>),
    Batch(usize, u64, Batch, Arc<crate::send::Peer>),
}

/// What is to be written.
#[derive(Default)]
struct Writes {
    state: Option<Vec<u8>>,
    saved: Vec<(Key, Vec<u8>)>,
    removed: Vec<Key>,
}

impl Inner {
    fn configure(
        &mut self,
        now: Timestamp,
        config: &Config,
        senders: Vec<Sender>,
        outboxes: Vec<Outbox>,
    ) {
        let integrations = senders.iter().map(|sender| sender.integration.clone()).collect();
        self.senders = senders
            .into_iter()
            .map(|sender| (sender.integration.id.clone(), Arc::new(sender)))
            .collect();
        self.outboxes = outboxes;
        self.generation += 1;
        self.batches = 0;
        self.dispatcher.configure(now, config, integrations);
    }

    fn look_at_the_clock(&mut self) {
        if let Some(millis) = self.clock.moved(Instant::now(), now()) {
            self.dispatcher.clock_moved(millis);
        }
    }

    /// What is due, unless it stops.
    fn jobs(&mut self, now: Timestamp) -> Vec<Job> {
        if self.stops {
            return Vec::new();
        }
        let mut jobs = Vec::new();
        for notice in self.dispatcher.step(now) {
            match self.senders.get(&notice.integration) {
                Some(sender) => jobs.push(Job::Send(notice, Arc::clone(sender))),
                None => self.dispatcher.outcome(now, &notice, &Outcome::Refused),
            }
        }
        for (index, outbox) in self.outboxes.iter_mut().enumerate() {
            if let Some(batch) = outbox.due(now, &self.dispatcher) {
                outbox.in_flight = true;
                self.batches += 1;
                jobs.push(Job::Batch(index, self.generation, batch, Arc::clone(&outbox.peer)));
            }
        }
        jobs
    }

    fn finish_batch(
        &mut self,
        index: usize,
        batch: &Batch,
        result: Result<(), &Failure>,
    ) -> Option<Event> {
        self.batches = self.batches.saturating_sub(1);
        let outbox = self.outboxes.get_mut(index)?;
        outbox.outcome(now(), batch, result);
        self.journal.note_batch(&outbox.name, batch.len(), result.err())
    }

    fn writes(&mut self, is_state_due: bool) -> Writes {
        let mut writes = Writes::default();
        for key in self.dispatcher.take_changed() {
            match self.dispatcher.pending(&key) {
                Some(pending) => writes.saved.push((key, disk::encode(pending))),
                None => writes.removed.push(key),
            }
        }
        // What waits refers to the state, and its removal says that the state knows better.
        if is_state_due || !writes.removed.is_empty() || !writes.saved.is_empty() {
            writes.state = self.dispatcher.take_state().map(disk::encode);
        }
        writes
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn nudge(&self, inner: &mut Inner) {
        inner.has_news = true;
        self.wake.notify_all();
    }

    /// The worker's loop.
    fn work(self: Arc<Self>) {
        let mut state_due = Instant::now();
        let mut write_due = Instant::now();
        loop {
            let mut inner = self.lock();
            inner.look_at_the_clock();
            let now = now();
            let stops = inner.stops;
            inner.has_news = false;
            let jobs = inner.jobs(now);
            let mut writes = Writes::default();
            if Instant::now() >= write_due || stops {
                writes = inner.writes(stops || Instant::now() >= state_due);
            }
            drop(inner);
            if writes.state.is_some() {
                state_due = Instant::now() + STATE_EVERY;
            }
            if !self.write(writes) {
                write_due = Instant::now() + DISK_RETRY;
            }
            jobs.into_iter().for_each(|job| self.start(job));
            if stops {
                self.disk.release();
                return;
            }
            self.sleep();
        }
    }

    fn sleep(&self) {
        let inner = self.lock();
        if inner.has_news {
            return;
        }
        let now = now();
        // Alertmanagers have their own times.
        let longest = if inner.outboxes.is_empty() { 15_000 } else { 1000 };
        let wait = (inner.dispatcher.next_wake(now).0 - now.0).clamp(10, longest);
        let wait = Duration::from_millis(wait.unsigned_abs());
        drop(self.wake.wait_timeout_while(inner, wait, |inner| !inner.has_news));
    }

    /// First the state, then what waits, then what no longer waits. Where that is cut off, the
    /// state has what is missing; and what waits without it was delivered.
    fn write(&self, writes: Writes) -> bool {
        let mut failed = None;
        if let Some(text) = writes.state
            && let Err(error) = self.disk.write_state(&text)
        {
            failed = Some(error);
            self.lock().dispatcher.mark_dirty();
        }
        for (key, text) in writes.saved {
            if let Err(error) = self.disk.write_pending(&key, &text) {
                failed = Some(error);
                self.lock().dispatcher.mark_changed(key);
            }
        }
        for key in writes.removed {
            if failed.is_some() {
                self.lock().dispatcher.mark_changed(key);
                continue;
            }
            if let Err(error) = self.disk.remove_pending(&key) {
                failed = Some(error);
                self.lock().dispatcher.mark_changed(key);
            }
        }
        let mut inner = self.lock();
        let fails = failed.is_some();
        let event = match failed {
            Some(error) if !inner.disk_fails => Some(Event::DiskFails { error: error.to_string() }),
            None if inner.disk_fails => Some(Event::DiskWorks),
            _ => None,
        };
        inner.disk_fails = fails;
        inner.journal.failures += u64::from(fails);
        drop(inner);
        event.into_iter().for_each(|event| (self.on_event)(event));
        !fails
    }

    fn start(self: &Arc<Self>, job: Job) {
        let shared = Arc::clone(self);
        let thread = std::thread::Builder::new().name("notify-send".to_owned());
        let retry = match &job {
            Job::Send(notice, _) => Some(notice.clone()),
            Job::Batch(..) => None,
        };
        let started = thread.spawn(move || shared.run(job));
        if let (Err(error), Some(notice)) = (started, retry) {
            let failure = Failure::retry("thread", format!("no thread: {error}"));
            self.finish(&notice, Instant::now(), Err(&failure));
        }
    }

    fn run(&self, job: Job) {
        let started = Instant::now();
        match job {
            Job::Send(notice, sender) => {
                let result = sender.send(&notice);
                self.finish(&notice, started, result.as_ref().map(|_| ()));
            }
            Job::Batch(index, generation, batch, peer) => {
                let result = peer.send(&batch.body);
                let mut inner = self.lock();
                if inner.generation != generation {
                    return;
                }
                let event = inner.finish_batch(index, &batch, result.as_ref().map(|_| ()));
                self.nudge(&mut inner);
                drop(inner);
                event.into_iter().for_each(|event| (self.on_event)(event));
            }
        }
    }

    fn finish(&self, notice: &Notice, started: Instant, result: Result<(), &Failure>) {
        let mut inner = self.lock();
        let now = now();
        let attempts =
            inner.dispatcher.pending(&notice.key()).map_or(0, |pending| pending.attempts);
        let outcome = result.err().map_or(Outcome::Delivered, |failure| failure.outcome.clone());
        inner.dispatcher.outcome(now, notice, &outcome);
        let status = match outcome {
            Outcome::Delivered => DeliveryStatus::Delivered,
            Outcome::Retry { .. } => DeliveryStatus::Retrying,
            Outcome::Refused => DeliveryStatus::Refused,
        };
        let delivery = Delivery::new(now, notice, status, attempts + 1, result.err());
        let seconds = started.elapsed().as_secs_f64();
        let events =
            inner.journal.note(delivery, result.err().map(|failure| failure.reason), seconds);
        self.nudge(&mut inner);
        drop(inner);
        events.into_iter().for_each(|event| (self.on_event)(event));
    }
}

/// The machine's clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
