//! All destinations with the log that they share.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use model::{Family, Labels, Timestamp};
use rustix::fs::{FlockOperation, flock};

use crate::config::{self, Config, Protocol};
use crate::deliver::Stop;
use crate::destination::Destination;
use crate::families::families;
use crate::item::Counts;
use crate::log::Log;
use crate::numbers::{Numbers, Reason};
use crate::{Limits, Notice, RemoteWriteError, Report};

/// How often the log is looked after.
const KEEP: Duration = Duration::from_secs(1);
/// After so long, what was collected is safe from a loss of power, too.
const SYNC: Duration = Duration::from_secs(5);

/// A process that ends does not wait longer for requests.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// Sends what is collected to all destinations.
pub struct RemoteWrites {
    inner: Arc<Inner>,
    keeper: Option<JoinHandle<()>>,
    /// Held as long as the folder is ours.
    _lock: File,
}

struct Inner {
    folder: PathBuf,
    log: Arc<Log>,
    destinations: Mutex<(Labels, Vec<Destination>)>,
    /// Told without the lock, which is held while destinations end.
    has_destinations: AtomicBool,
    report: Report,
    stop: Stop,
    /// Values that could not be written to the disk.
    dropped: AtomicU64,
    /// Appends that could not be written, and failed requests to destinations that are gone.
    failures: AtomicU64,
}

/// How a destination is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DestinationStatus {
    /// Its name, or its address.
    pub name: String,
    /// Its address, without password.
    pub url: String,
    /// The message that is used now; 1.0 also where 2.0 is wanted and the receiver does not
    /// know it.
    pub protocol: Protocol,
    /// Connections.
    pub shards: usize,
    /// Samples and histograms that were sent.
    pub sent: u64,
    /// Samples and histograms in memory, waiting or on their way.
    pub pending: u64,
    /// Samples and histograms that were not sent, by reason.
    pub dropped: Vec<(&'static str, u64)>,
    /// From the latest value that was collected to the latest that was sent, in seconds; nothing
    /// before the first was sent.
    pub delay_seconds: Option<f64>,
    /// The receiver does not take anything at the moment.
    pub is_failing: bool,
    /// The last thing that went wrong.
    pub last_error: Option<(SystemTime, String)>,
    /// The last time that something was stored.
    pub last_sent: Option<SystemTime>,
}

impl RemoteWrites {
    /// Opens the queue in `folder` and starts sending what is in it.
    ///
    /// # Errors
    /// When the folder cannot be used, or the configuration contradicts itself.
    pub fn open(
        folder: &Path,
        external_labels: &Labels,
        configs: &[Config],
        limits: Limits,
        report: Report,
    ) -> Result<RemoteWrites, RemoteWriteError> {
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| RemoteWriteError::File { path, source }
        };
        config::check(configs).map_err(RemoteWriteError::Config)?;
        fs::create_dir_all(folder).map_err(file_error(folder))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(file_error(&path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| RemoteWriteError::Locked(folder.to_owned()))?;
        let path = folder.join("log");
        let log = Log::open(&path, limits).map_err(file_error(&path))?;
        let inner = Arc::new(Inner {
            folder: folder.to_owned(),
            log: Arc::new(log),
            destinations: Mutex::new((external_labels.clone(), Vec::new())),
            has_destinations: AtomicBool::new(false),
            report,
            stop: Stop::default(),
            dropped: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        });
        inner.change(external_labels, configs)?;
        let keeping = Arc::clone(&inner);
        let keeper = std::thread::spawn(move || keeping.keep());
        Ok(RemoteWrites { inner, keeper: Some(keeper), _lock: lock })
    }

    /// Adds the values of families at a time. What `source` had last time and has no more gets
    /// an end (a staleness marker); no families at all end everything of it. Never waits for the
    /// network.
    pub fn append(&self, source: &str, time: Timestamp, families: &[Family]) {
        let inner = &self.inner;
        if !inner.has_destinations.load(Ordering::Relaxed) {
            return;
        }
        let appended = inner.log.append(source, time, families);
        if appended.dropped > 0 {
            inner.dropped.fetch_add(appended.dropped, Ordering::Relaxed);
            inner.failures.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(error) = appended.failure {
            let text = format!("cannot write to {}: {error}", inner.folder.display());
            inner.tell(true, format!("{text}; collecting goes on, make room"));
        }
        if appended.is_recovered {
            let dropped = inner.dropped.load(Ordering::Relaxed);
            inner.tell(false, format!("writes to disk again, {dropped} samples were dropped"));
        }
    }

    /// Changes to other destinations. Those that stay the same are not disturbed; those that
    /// change keep their place; the place of those that are gone is given up.
    ///
    /// # Errors
    /// When the configuration contradicts itself, or a file cannot be used.
    pub fn reload(
        &self,
        external_labels: &Labels,
        configs: &[Config],
    ) -> Result<(), RemoteWriteError> {
        config::check(configs).map_err(RemoteWriteError::Config)?;
        self.inner.change(external_labels, configs)
    }

    /// Allows the log so many bytes from now on.
    pub fn set_bytes_max(&self, bytes: u64) {
        self.inner.log.set_bytes_max(bytes);
    }

    /// Sends what is queued without waiting for full batches. Answers whether all was sent
    /// within `timeout`; what was not is sent after the next start.
    pub fn drain(&self, timeout: Duration) -> bool {
        let tip = self.inner.log.tip();
        let end = Instant::now() + timeout;
        loop {
            let destinations = self.inner.destinations();
            let shared = || destinations.1.iter().map(|destination| &destination.shared);
            shared().for_each(|shared| shared.shards().flush());
            let is_done = shared().all(|shared| shared.has_sent(tip.segment, tip.written));
            drop(destinations);
            if is_done || Instant::now() >= end {
                return is_done;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How the destinations are doing.
    pub fn status(&self) -> Vec<DestinationStatus> {
        let tip = self.inner.log.tip();
        let destinations = self.inner.destinations();
        let status = destinations.1.iter().map(|destination| {
            let shared = &destination.shared;
            let numbers = shared.delivery.count(|numbers| numbers.clone());
            let values = |counts: &Counts| counts.samples + counts.histograms;
            let dropped = numbers.dropped.iter();
            let behind = (tip.highest_time - numbers.highest_sent) as f64 / 1000.0;
            DestinationStatus {
                name: destination.config.title(),
                url: destination.config.url.to_string(),
                protocol: shared.delivery.exchange.protocol(),
                shards: shared.shards().len(),
                sent: values(&numbers.sent),
                pending: values(&numbers.pending),
                dropped: dropped.map(|(reason, n)| (reason.as_str(), values(n))).collect(),
                delay_seconds: (numbers.highest_sent > 0).then_some(behind.max(0.0)),
                is_failing: numbers.is_failing,
                last_error: numbers.last_error,
                last_sent: numbers.last_sent,
            }
        });
        status.collect()
    }

    /// Requests so far of which not all was stored, and appends that the disk did not take.
    pub fn failures(&self) -> u64 {
        let destinations = self.inner.destinations();
        let failed = destinations.1.iter().map(Destination::requests_failed);
        failed.sum::<u64>() + self.inner.failures.load(Ordering::Relaxed)
    }

    /// The same as metrics, under the names that Prometheus has for its own.
    pub fn families(&self) -> Vec<Family> {
        let destinations = self.inner.destinations();
        let all: Vec<(&Config, usize, Numbers)> = destinations
            .1
            .iter()
            .map(|destination| {
                let shared = &destination.shared;
                let numbers = shared.delivery.count(|numbers| numbers.clone());
                (&destination.config, shared.shards().len(), numbers)
            })
            .collect();
        let log = &self.inner.log;
        let dropped = self.inner.dropped.load(Ordering::Relaxed);
        families(&all, log.tip(), (log.bytes(), log.bytes_max()), log.series(), dropped)
    }
}

impl Drop for RemoteWrites {
    /// What was not sent stays on disk.
    fn drop(&mut self) {
        self.inner.stop.set();
        end(&std::mem::take(&mut self.inner.destinations().1), Some(DROP_WAIT));
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
        let _ = self.inner.log.sync();
    }
}

/// Ends destinations, all at once; without a limit for each as long as a request may take.
fn end(destinations: &[Destination], limit: Option<Duration>) {
    destinations.iter().for_each(|destination| destination.shared.stop());
    for destination in destinations {
        destination.stop(limit.unwrap_or(destination.config.remote_timeout + KEEP));
    }
}

impl Inner {
    fn destinations(&self) -> MutexGuard<'_, (Labels, Vec<Destination>)> {
        self.destinations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, external: &Labels, configs: &[Config]) -> Result<(), RemoteWriteError> {
        let mut destinations = self.destinations();
        let is_other = destinations.0 != *external;
        let (mut kept, ended): (Vec<Destination>, Vec<Destination>) =
            std::mem::take(&mut destinations.1)
                .into_iter()
                .partition(|known| !is_other && configs.contains(&known.config));
        end(&ended, None);
        let failed = ended.iter().map(Destination::requests_failed).sum();
        self.failures.fetch_add(failed, Ordering::Relaxed);
        let mut failure = None;
        for config in configs {
            if kept.iter().any(|known| known.config == *config) {
                continue;
            }
            match Destination::start(&self.folder, &self.log, external, config, &self.report) {
                Ok(destination) => kept.push(destination),
                Err(error) => failure = Some(error),
            }
        }
        let keys: Vec<String> = configs.iter().map(Config::key).collect();
        self.give_up(&keys);
        self.has_destinations.store(!kept.is_empty(), Ordering::Relaxed);
        *destinations = (external.clone(), kept);
        failure.map_or(Ok(()), Err)
    }

    /// Deletes the cursors of destinations that are gone, as they would keep the log.
    fn give_up(&self, keys: &[String]) {
        let Ok(folder) = fs::read_dir(&self.folder) else { return };
        for entry in folder.flatten() {
            let name = entry.file_name();
            let key = name.to_str().and_then(|name| name.strip_suffix(".cursor"));
            if key.is_some_and(|key| !keys.iter().any(|known| known == key)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// The keeper's work: the disk has what was written, and not too much.
    fn keep(&self) {
        let mut sync_at = Instant::now() + SYNC;
        while !self.stop.wait(KEEP) {
            if Instant::now() >= sync_at {
                sync_at = Instant::now() + SYNC;
                // Failing shows when the next append fails.
                let _ = self.log.sync();
            }
            self.trim();
        }
    }

    fn trim(&self) {
        let destinations = self.destinations();
        let reached = destinations.1.iter().map(|known| known.shared.reached().segment);
        let needed = reached.min().unwrap_or(u32::MAX);
        for (segment, values) in self.log.trim(needed) {
            for destination in &destinations.1 {
                // A segment that is open can be read to its end.
                if destination.shared.reader().segment >= segment {
                    continue;
                }
                let counts = Counts { samples: values, ..Counts::default() };
                let delivery = &destination.shared.delivery;
                let is_first = delivery.count(|numbers| {
                    let is_first = !numbers.dropped.contains_key(&Reason::Overflow);
                    numbers.drop(Reason::Overflow, counts);
                    is_first
                });
                if is_first {
                    let text = "the queue is larger or older than it may be: the oldest samples \
                                are dropped before they were sent";
                    delivery.tell(true, format!("{text}; counted from now on, not reported"));
                }
            }
        }
    }

    fn tell(&self, is_problem: bool, text: String) {
        (self.report)(Notice { destination: None, is_problem, text });
    }
}
