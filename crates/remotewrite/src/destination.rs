//! One destination: a thread that reads the log, threads that send, and one that watches them.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use model::Labels;

use crate::config::{Config, Protocol};
use crate::cursor::{Cursor, CursorFile};
use crate::deliver::{Delivery, now_millis};
use crate::item::{Counts, Item, Meta, Position};
use crate::log::{Log, Next, Reader, Record};
use crate::numbers::{Numbers, Reason};
use crate::quarantine::Quarantine;
use crate::reshard::{INTERVAL_SECONDS, Resharding, Totals};
use crate::shards::Shards;
use crate::tables::{Families, Tables};
use crate::{RemoteWriteError, Report, request};

/// How often those who wait look whether they are still wanted.
const LOOK: Duration = Duration::from_millis(500);
/// Metadata is sent again soon, so it is not tried for long.
const METADATA_ATTEMPTS: u32 = 3;

/// A destination at work.
pub(crate) struct Destination {
    pub(crate) config: Config,
    pub(crate) shared: Arc<Shared>,
}

/// What the threads of a destination share.
pub(crate) struct Shared {
    pub(crate) delivery: Delivery,
    pub(crate) log: Arc<Log>,
    config: Config,
    shards: RwLock<Arc<Shards>>,
    progress: Mutex<Progress>,
    /// A number of shards that the reader is to change to.
    wanted: Mutex<Option<usize>>,
    running: Mutex<usize>,
    ended: Condvar,
}

/// How far the reader is, and where that is kept.
struct Progress {
    /// Nothing when others have taken over.
    file: Option<CursorFile>,
    reader: Position,
    reached: Position,
    is_failing: bool,
}

impl Destination {
    pub(crate) fn requests_failed(&self) -> u64 {
        self.shared.delivery.count(|numbers| numbers.requests_failed)
    }

    /// Starts from where the destination ended last time; a new one starts with what comes.
    pub(crate) fn start(
        folder: &Path,
        log: &Arc<Log>,
        external: &Labels,
        config: &Config,
        report: &Report,
    ) -> Result<Destination, RemoteWriteError> {
        let key = config.key();
        let path = folder.join(format!("{key}.cursor"));
        let opened = CursorFile::open(&path);
        let (file, cursor) =
            opened.map_err(|source| RemoteWriteError::File { path: path.clone(), source })?;
        let quarantine = Quarantine::new(folder.join(format!("{key}.quarantine.tsv")));
        let delivery = Delivery::new(config, quarantine, Arc::clone(report))?;
        let tip = log.tip();
        let offset = u32::try_from(tip.written).unwrap_or(u32::MAX);
        let end = Position { segment: tip.segment, offset, index: 0 };
        // A cursor beyond the log belongs to a log that is gone.
        let cursor = cursor.filter(|cursor| cursor.reached <= end);
        let cursor = cursor.unwrap_or_else(|| Cursor { reached: end, shards: Vec::new() });
        let queue = &config.queue_config;
        let is_same = (queue.min_shards..=queue.max_shards).contains(&cursor.shards.len());
        let floors = match is_same {
            true => cursor.shards.clone(),
            false => vec![cursor.reached; queue.min_shards],
        };
        let mut file = file;
        let stored = file.store(&Cursor { reached: cursor.reached, shards: floors.clone() });
        stored.map_err(|source| RemoteWriteError::File { path, source })?;
        let progress = Progress {
            file: Some(file),
            reader: cursor.reached,
            reached: cursor.reached,
            is_failing: false,
        };
        let shared = Arc::new(Shared {
            delivery,
            log: Arc::clone(log),
            config: config.clone(),
            shards: RwLock::new(Arc::new(Shards::new(queue, &floors))),
            progress: Mutex::new(progress),
            wanted: Mutex::new(None),
            running: Mutex::new(0),
            ended: Condvar::new(),
        });
        let tables = Tables::new(Arc::clone(log), external.clone(), config);
        let families = Arc::clone(&tables.families);
        shared.spawn(move |shared| shared.read(tables, cursor.reached));
        shared.spawn(move |shared| shared.watch(&families));
        Ok(Destination { config: config.clone(), shared })
    }

    /// Ends the threads after what they are sending. One that takes longer than `timeout` ends by
    /// itself, and what it sent is sent again.
    pub(crate) fn stop(&self, timeout: Duration) {
        let shared = &self.shared;
        shared.stop();
        let running = shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        drop(shared.ended.wait_timeout_while(running, timeout, |running| *running > 0));
        shared.progress.lock().unwrap_or_else(PoisonError::into_inner).file = None;
    }
}

impl Shared {
    fn spawn(self: &Arc<Self>, work: impl FnOnce(&Arc<Shared>) + Send + 'static) {
        let shared = Arc::clone(self);
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        std::thread::spawn(move || {
            work(&shared);
            *shared.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            shared.ended.notify_all();
        });
    }

    /// The shards of now.
    pub(crate) fn shards(&self) -> Arc<Shards> {
        Arc::clone(&self.shards.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn stop(&self) {
        self.delivery.stop.set();
        self.shards().close();
        self.log.wake();
    }

    /// Everything before it was sent.
    pub(crate) fn reached(&self) -> Position {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).reached
    }

    /// Up to there the log was read.
    pub(crate) fn reader(&self) -> Position {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).reader
    }

    /// All that the log had at `end` was sent.
    pub(crate) fn has_sent(&self, segment: u32, written: u64) -> bool {
        let reader = self.reader();
        let is_read = reader.segment > segment
            || (reader.segment == segment && u64::from(reader.offset) >= written);
        is_read && self.shards().is_idle()
    }

    /// The reader's work.
    fn read(self: &Arc<Self>, mut tables: Tables, from: Position) {
        let mut reader = Reader::new(Arc::clone(&self.log), from.segment);
        let mut segment = from.segment;
        self.start_shards();
        while !self.delivery.stop.is_set() {
            let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(count) = wanted
                && !self.reshard(count)
            {
                return;
            }
            match reader.next(LOOK) {
                Next::Record(record) => {
                    if record.position.segment != segment {
                        segment = record.position.segment;
                        tables.forget(segment);
                    }
                    if !self.dispatch(&mut tables, &record, from) {
                        return;
                    }
                }
                Next::Idle => {}
                Next::End { segment, is_clean } => self.end_segment(segment, is_clean),
            }
        }
    }

    /// Queues what a record has; false when it is over.
    fn dispatch(&self, tables: &mut Tables, record: &Record, from: Position) -> bool {
        let here = record.position;
        let is_wanted = (here.segment, here.offset) >= (from.segment, from.offset);
        let taken = tables.take(record, is_wanted, now_millis());
        let shards = self.shards();
        let floors: Vec<Position> = (0..shards.len()).map(|index| shards.floor(index)).collect();
        let mut queues: Vec<Vec<Item>> = vec![Vec::new(); shards.len()];
        for item in taken.items {
            let shard = shards.of(item.series.key);
            let is_new = floors.get(shard).is_none_or(|floor| item.position >= *floor);
            if let Some(queue) = queues.get_mut(shard).filter(|_| is_new) {
                queue.push(item);
            }
        }
        self.delivery.count(|numbers| {
            for (reason, counts) in taken.dropped {
                numbers.drop(reason, counts);
            }
            numbers.highest_read = numbers.highest_read.max(taken.highest_time);
        });
        for (index, queue) in queues.iter_mut().enumerate().filter(|(_, queue)| !queue.is_empty()) {
            let counts = Counts::of(queue);
            self.delivery.count(|numbers| numbers.add_pending(counts));
            let (is_queued, waits) = shards.push(index, queue);
            self.delivery.count(|numbers| numbers.enqueue_retries += waits);
            if !is_queued {
                return false;
            }
        }
        if is_wanted {
            let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            progress.reader = record.end;
            drop(progress);
            if record.kind.has_values() && shards.is_idle() {
                // Nothing of it was for this destination.
                self.keep_cursor();
            }
        }
        true
    }

    fn end_segment(&self, segment: u32, is_clean: bool) {
        if !is_clean {
            self.delivery.count(|numbers| numbers.drop(Reason::Damaged, Counts::default()));
            let text = format!("segment {segment} of the queue ends in the middle of a record");
            self.delivery.tell(false, format!("{text}: reading on behind it"));
        }
        let next = Position { segment: segment + 1, offset: 0, index: 0 };
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.reader = progress.reader.max(next);
        drop(progress);
        if self.shards().is_idle() {
            self.keep_cursor();
        }
    }

    fn start_shards(self: &Arc<Self>) {
        let shards = self.shards();
        for index in 0..shards.len() {
            let shards = Arc::clone(&shards);
            self.spawn(move |shared| shared.send(&shards, index));
        }
    }

    /// A shard's work.
    fn send(&self, shards: &Shards, index: usize) {
        while let Some(items) = shards.take(index) {
            if self.delivery.deliver(items, || shards.take_more(index)).is_err() {
                return;
            }
            shards.done(index);
            self.keep_cursor();
        }
    }

    /// Writes down how far everything was sent.
    fn keep_cursor(&self) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        // The reader's place first: what it queues from now on lies behind it.
        let cursor = self.shards().cursor(progress.reader);
        progress.reached = cursor.reached;
        let outcome = progress.file.as_mut().map_or(Ok(()), |file| file.store(&cursor));
        let was_failing = std::mem::replace(&mut progress.is_failing, outcome.is_err());
        drop(progress);
        if let (Err(error), false) = (outcome, was_failing) {
            let text = "cannot write down what was sent: after a restart it is sent again";
            self.delivery.tell(true, format!("{text}: {error}"));
        }
    }

    /// Empties the shards and starts others, so that series stay in order; false when it is over.
    fn reshard(self: &Arc<Self>, count: usize) -> bool {
        let old = self.shards();
        old.flush();
        while !old.is_idle() {
            if self.delivery.stop.wait(Duration::from_millis(20)) {
                return false;
            }
        }
        let reader = self.reader();
        let floors = vec![reader; count];
        let new = Arc::new(Shards::new(&self.config.queue_config, &floors));
        *self.shards.write().unwrap_or_else(PoisonError::into_inner) = new;
        old.close();
        if self.delivery.stop.is_set() {
            self.shards().close();
            return false;
        }
        self.start_shards();
        self.keep_cursor();
        true
    }

    /// The watcher's work: how many shards it takes, and metadata.
    fn watch(&self, families: &Families) {
        let mut resharding = Resharding::default();
        let mut metadata_at = Instant::now() + self.config.metadata_config.send_interval;
        let mut look_at = Instant::now() + Duration::from_secs(INTERVAL_SECONDS);
        loop {
            let next = look_at.min(metadata_at).saturating_duration_since(Instant::now());
            if self.delivery.stop.wait(next) {
                return;
            }
            let now = Instant::now();
            if now >= look_at {
                look_at = now + Duration::from_secs(INTERVAL_SECONDS);
                self.look(&mut resharding);
            }
            if now >= metadata_at {
                metadata_at = now + self.config.metadata_config.send_interval;
                self.send_metadata(families);
            }
        }
    }

    fn look(&self, resharding: &mut Resharding) {
        let tip = self.log.tip();
        let numbers = self.delivery.count(|numbers| numbers.clone());
        let values = |counts: &Counts| (counts.samples + counts.histograms) as f64;
        let highest_sent =
            if numbers.highest_sent == 0 { tip.highest_time } else { numbers.highest_sent };
        let totals = Totals {
            appended: tip.appended as f64,
            out: numbers.out as f64,
            dropped: numbers.dropped.get(&Reason::DroppedSeries).map_or(0.0, values),
            out_seconds: numbers.out_seconds,
            delay_seconds: (tip.highest_time - highest_sent) as f64 / 1000.0,
        };
        let shards = self.shards().len();
        let queue = &self.config.queue_config;
        let (desired, count) = resharding.look(totals, shards, queue.min_shards, queue.max_shards);
        self.delivery.count(|numbers| numbers.desired_shards = desired);
        // A receiver that does not answer is not helped by more connections.
        if count != shards && can_reshard(&numbers) {
            *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(count);
            self.log.wake();
        }
    }

    /// Types and help texts, which 1.0 has in messages of their own.
    fn send_metadata(&self, families: &Families) {
        let config = &self.config.metadata_config;
        if !config.send || self.delivery.exchange.protocol() != Protocol::V1 {
            return;
        }
        let families: Vec<Arc<Meta>> = {
            let families = families.lock().unwrap_or_else(PoisonError::into_inner);
            families.values().cloned().collect()
        };
        for part in families.chunks(config.max_samples_per_send) {
            let part: Vec<&Meta> = part.iter().map(|meta| &**meta).collect();
            let message = request::v1_metadata(&part);
            let Ok(packed) = snap::raw::Encoder::new().compress_vec(&message) else { return };
            let count = part.len() as u64;
            let mut is_sent = false;
            for attempt in 0..METADATA_ATTEMPTS {
                let answer = self.delivery.exchange.send(Protocol::V1, &packed, attempt);
                let status = answer.map_or(503, |answer| answer.status);
                is_sent = (200..300).contains(&status);
                if status < 500 {
                    break;
                }
                self.delivery.count(|numbers| numbers.metadata_retried += count);
                if self.delivery.stop.wait(self.config.queue_config.max_backoff) {
                    return;
                }
            }
            self.delivery.count(|numbers| {
                numbers.metadata_bytes += packed.len() as u64;
                match is_sent {
                    true => numbers.metadata_sent += count,
                    false => numbers.metadata_failed += count,
                }
            });
        }
    }
}

fn can_reshard(numbers: &Numbers) -> bool {
    let limit = Duration::from_secs(INTERVAL_SECONDS);
    let age = numbers.last_sent.map(|sent| SystemTime::now().duration_since(sent));
    let is_recent = age.is_some_and(|age| age.is_ok_and(|age| age <= limit));
    is_recent && !numbers.is_failing
}
