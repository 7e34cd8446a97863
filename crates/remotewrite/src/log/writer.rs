//! Appends to the log, and deletes what nobody needs or what is too much.
//!
//! Appending writes to files, never to the network. Nothing is held back in memory, so a process
//! that is killed loses nothing; `sync` is for machines that lose power. When the disk is full,
//! some megabytes are kept for later, then values are dropped and counted.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use ahash::AHashMap;
use model::series::{Exemplar, NativeHistogram, STALE, Value};
use model::{Family, Labels, Point, Timestamp};

use super::record::{Batch, Kind, MAGIC};
use super::segments::{self, Segment};
use crate::Limits;
use crate::item::{Meta, Position};

/// Kept for later while nothing can be written.
const UNWRITTEN_BYTES_MAX: usize = 16 << 20;

/// Where the log ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tip {
    /// The segment that is written, or will be next.
    pub(crate) segment: u32,
    /// Bytes in it.
    pub(crate) written: u64,
    /// Latest time of a value, in milliseconds.
    pub(crate) highest_time: i64,
    /// Values since the start of the process.
    pub(crate) appended: u64,
}

/// The log.
pub(crate) struct Log {
    folder: PathBuf,
    limits: Limits,
    /// What `limits` says of bytes, until it is changed.
    bytes_max: AtomicU64,
    writer: Mutex<Writer>,
    tip: Mutex<Tip>,
    grown: Condvar,
    /// Segments that are closed.
    closed: Mutex<BTreeMap<u32, Segment>>,
}

/// What an append could not do.
#[derive(Debug, Default)]
pub(crate) struct Appended {
    /// Values that were dropped, as nothing can be written.
    pub(crate) dropped: u64,
    /// Writing failed, for the first time since it last worked.
    pub(crate) failure: Option<io::Error>,
    /// Writing works again.
    pub(crate) is_recovered: bool,
}

struct Writer {
    file: Option<File>,
    segment: u32,
    written: u64,
    opened: Instant,
    /// Records that are not in the file yet.
    unwritten: Vec<u8>,
    is_failing: bool,
    is_dirty: bool,
    tables: Tables,
}

/// What the segment that is written knows.
#[derive(Default)]
struct Tables {
    numbers: AHashMap<Labels, u32>,
    series: Vec<Known>,
    free: Vec<u32>,
    /// Number, the segment that defines it last, and what it says.
    families: AHashMap<String, (u32, u32, Meta)>,
    last_family: u32,
    sources: AHashMap<String, Vec<u32>>,
    generation: u64,
}

/// A series with a number.
#[derive(Clone)]
struct Known {
    labels: Labels,
    /// The segment that defines it last.
    segment: u32,
    family: u32,
    start: i64,
    seen: u64,
    is_histogram: bool,
    /// Of the exemplars that were last exposed: they are sent once.
    exemplars: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    /// Opens the log in `folder`; what was written last time stays as it is.
    pub(crate) fn open(folder: &Path, limits: Limits) -> io::Result<Log> {
        fs::create_dir_all(folder)?;
        let closed = segments::list(folder)?;
        let segment = closed.keys().next_back().map_or(1, |last| last + 1);
        let writer = Writer {
            file: None,
            segment,
            written: 0,
            opened: Instant::now(),
            unwritten: Vec::new(),
            is_failing: false,
            is_dirty: false,
            tables: Tables::default(),
        };
        let tip = Tip { segment, ..Tip::default() };
        Ok(Log {
            folder: folder.to_owned(),
            limits,
            bytes_max: AtomicU64::new(limits.bytes),
            writer: Mutex::new(writer),
            tip: Mutex::new(tip),
            grown: Condvar::new(),
            closed: Mutex::new(closed),
        })
    }

    /// Writes the values of families. What `source` had last time and has no more gets an end.
    pub(crate) fn append(&self, source: &str, time: Timestamp, families: &[Family]) -> Appended {
        let writer = &mut *lock(&self.writer);
        let mut appended = Appended::default();
        let had_room = writer.unwritten.len() < UNWRITTEN_BYTES_MAX;
        let mut highest = i64::MIN;
        if had_room {
            let segment = writer.segment;
            let mut round = Round::new(&mut writer.tables, segment, time.0);
            families.iter().for_each(|family| round.family(family));
            round.ends(source);
            highest = round.highest;
            let values = round.values;
            round.close(&mut writer.unwritten);
            lock(&self.tip).appended += values;
        } else {
            appended.dropped = families.iter().map(|family| family.points.len() as u64).sum();
        }
        match self.write(writer) {
            Ok(()) if writer.is_failing => {
                writer.is_failing = false;
                appended.is_recovered = true;
            }
            Ok(()) => {}
            Err(error) if !writer.is_failing => {
                writer.is_failing = true;
                appended.failure = Some(error);
            }
            Err(_) => {}
        }
        let mut tip = lock(&self.tip);
        (tip.segment, tip.written) = (writer.segment, writer.written);
        tip.highest_time = tip.highest_time.max(highest);
        self.grown.notify_all();
        appended
    }

    fn write(&self, writer: &mut Writer) -> io::Result<()> {
        if writer.unwritten.is_empty() {
            return Ok(());
        }
        if writer.file.is_none() {
            self.begin(writer)?;
        }
        let Some(file) = &mut writer.file else { return Ok(()) };
        let mut done = 0;
        let outcome = loop {
            match file.write(writer.unwritten.get(done..).unwrap_or_default()) {
                Ok(0) => break Ok(()),
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        // What is in the file stays there, even half a record: the rest follows.
        writer.unwritten.drain(..done);
        writer.written += done as u64;
        writer.is_dirty |= done > 0;
        outcome?;
        writer.unwritten.shrink_to(1 << 20);
        let is_old = writer.opened.elapsed() >= self.limits.segment_age;
        if writer.written >= self.limits.segment_bytes || is_old {
            self.end_segment(writer);
        }
        Ok(())
    }

    fn begin(&self, writer: &mut Writer) -> io::Result<()> {
        let path = self.segment_path(writer.segment);
        let mut file = File::create(&path)?;
        if let Err(error) = file.write_all(MAGIC) {
            drop(file);
            // It would be taken for damage; created again next time anyway.
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        (writer.file, writer.written) = (Some(file), MAGIC.len() as u64);
        writer.opened = Instant::now();
        Ok(())
    }

    fn end_segment(&self, writer: &mut Writer) {
        if let Some(file) = writer.file.take() {
            // A failure shows again when the machine loses power, and only then.
            let _ = file.sync_data();
        }
        let segment = Segment { bytes: writer.written, closed: SystemTime::now() };
        lock(&self.closed).insert(writer.segment, segment);
        writer.segment += 1;
        writer.written = 0;
        writer.tables.forget(writer.segment);
    }

    /// Asks the disk to keep what was written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = {
            let mut writer = lock(&self.writer);
            let is_dirty = std::mem::take(&mut writer.is_dirty);
            writer.file.as_ref().filter(|_| is_dirty).map(File::try_clone).transpose()?
        };
        // Not under the lock: it may take long.
        file.map_or(Ok(()), |file| file.sync_data())
    }

    /// Where the log ends.
    pub(crate) fn tip(&self) -> Tip {
        *lock(&self.tip)
    }

    /// Waits until there is something after `place`, for at most `wait`.
    pub(crate) fn wait_beyond(&self, place: Position, wait: Duration) {
        let tip = lock(&self.tip);
        let is_end = |tip: &mut Tip| {
            tip.segment < place.segment
                || (tip.segment == place.segment && tip.written <= u64::from(place.offset))
        };
        drop(self.grown.wait_timeout_while(tip, wait, is_end));
    }

    /// Ends all waiting, for those who have to look at something else.
    pub(crate) fn wake(&self) {
        let _tip = lock(&self.tip);
        self.grown.notify_all();
    }

    /// The first segment from `number` on that has a file.
    pub(crate) fn segment_from(&self, number: u32) -> Option<u32> {
        let closed = lock(&self.closed).range(number..).next().map(|(number, _)| *number);
        let tip = self.tip();
        closed.or((tip.segment >= number && tip.written > 0).then_some(tip.segment))
    }

    pub(crate) fn segment_path(&self, number: u32) -> PathBuf {
        segments::path(&self.folder, number)
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.closed).values().map(|segment| segment.bytes).sum::<u64>() + self.tip().written
    }

    /// Bytes there may be.
    pub(crate) fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// Allows so many bytes from now on.
    pub(crate) fn set_bytes_max(&self, bytes: u64) {
        self.bytes_max.store(bytes, Ordering::Relaxed);
    }

    /// Deletes closed segments before `needed`, and the oldest ones beyond the limits. Answers
    /// which of those were needed, with the values in them.
    pub(crate) fn trim(&self, needed: u32) -> Vec<(u32, u64)> {
        let mut cut = Vec::new();
        loop {
            let first =
                lock(&self.closed).first_key_value().map(|(number, first)| (*number, *first));
            let Some((number, segment)) = first else { return cut };
            let is_old = segment.closed.elapsed().is_ok_and(|age| age > self.limits.age);
            let is_needed = number >= needed;
            if is_needed && !is_old && self.bytes() <= self.bytes_max() {
                return cut;
            }
            let path = self.segment_path(number);
            if is_needed {
                cut.push((number, segments::count_values(&path)));
            }
            // One that cannot be deleted is tried again by the next process.
            let _ = fs::remove_file(&path);
            lock(&self.closed).remove(&number);
        }
    }

    /// The same labels, in the memory of the log where it has them.
    pub(crate) fn shared(&self, labels: &Labels) -> Labels {
        let writer = lock(&self.writer);
        let known = writer.tables.numbers.get_key_value(labels);
        known.map_or(labels, |(known, _)| known).clone()
    }

    /// Series that are known.
    pub(crate) fn series(&self) -> usize {
        lock(&self.writer).tables.numbers.len()
    }
}

impl Tables {
    /// Gives up series that nothing has used for a segment.
    fn forget(&mut self, segment: u32) {
        let mut is_kept = vec![false; self.series.len()];
        for number in self.sources.values().flatten() {
            if let Some(kept) = is_kept.get_mut(*number as usize) {
                *kept = true;
            }
        }
        let series = &self.series;
        let free = &mut self.free;
        self.numbers.retain(|_, number| {
            let index = *number as usize;
            let is_used = series.get(index).is_some_and(|known| known.segment + 2 >= segment);
            let keep = is_used || is_kept.get(index).copied().unwrap_or(false);
            if !keep {
                free.push(*number);
            }
            keep
        });
        self.families.retain(|_, (_, used, _)| *used + 2 >= segment);
    }

    fn number(&mut self, labels: &Labels) -> u32 {
        if let Some(number) = self.numbers.get(labels) {
            return *number;
        }
        let known = Known {
            labels: labels.clone(),
            segment: 0,
            family: 0,
            start: 0,
            seen: 0,
            is_histogram: false,
            exemplars: 0,
        };
        let number = match self.free.pop() {
            Some(number) => {
                if let Some(slot) = self.series.get_mut(number as usize) {
                    *slot = known;
                }
                number
            }
            None => {
                self.series.push(known);
                u32::try_from(self.series.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(labels.clone(), number);
        number
    }
}

/// One append on its way into records.
struct Round<'a> {
    tables: &'a mut Tables,
    segment: u32,
    time: i64,
    families: Batch,
    series: Batch,
    starts: Batch,
    exemplars: Batch,
    samples: Batch,
    histograms: Batch,
    /// Series of the source, for its next round.
    present: Vec<u32>,
    highest: i64,
    values: u64,
}

impl Round<'_> {
    fn new(tables: &mut Tables, segment: u32, time: i64) -> Round<'_> {
        tables.generation += 1;
        Round {
            tables,
            segment,
            time,
            families: Batch::new(Kind::Families),
            series: Batch::new(Kind::Series),
            starts: Batch::new(Kind::Starts),
            exemplars: Batch::new(Kind::Exemplars),
            samples: Batch::new(Kind::Samples),
            histograms: Batch::new(Kind::Histograms),
            present: Vec::new(),
            highest: i64::MIN,
            values: 0,
        }
    }

    fn family(&mut self, family: &Family) {
        let number = self.family_number(family);
        for point in &family.points {
            self.point(number, point);
        }
    }

    /// The number of the family, written when it is new or has changed. 0 is none.
    fn family_number(&mut self, family: &Family) -> u32 {
        if family.name.is_empty() {
            return 0;
        }
        let number = match self.tables.families.get(&family.name) {
            Some((number, segment, meta)) => {
                let is_same = meta.kind == family.kind
                    && meta.help == family.help
                    && meta.unit == family.unit;
                if *segment == self.segment && is_same {
                    return *number;
                }
                *number
            }
            None => {
                self.tables.last_family = self.tables.last_family.wrapping_add(1).max(1);
                self.tables.last_family
            }
        };
        let meta = Meta {
            name: family.name.clone(),
            kind: family.kind,
            help: family.help.clone(),
            unit: family.unit.clone(),
        };
        self.families.family(number, &meta);
        self.tables.families.insert(family.name.clone(), (number, self.segment, meta));
        number
    }

    fn point(&mut self, family: u32, point: &Point) {
        let number = self.tables.number(&point.labels);
        let generation = self.tables.generation;
        let Some(known) = self.tables.series.get_mut(number as usize) else { return };
        if known.segment != self.segment || known.family != family {
            (known.segment, known.family, known.start) = (self.segment, family, 0);
            self.series.series(number, family, &known.labels);
        }
        let start = point.start.map_or(0, |start| start.0);
        if start != known.start {
            known.start = start;
            self.starts.start(number, start);
        }
        known.is_histogram = matches!(point.value, Value::Histogram(_));
        // What has times of its own may be old, or come seldom: its absence says nothing.
        if point.time.is_none() && known.seen != generation {
            known.seen = generation;
            self.present.push(number);
        }
        let time = point.time.map_or(self.time, |time| time.0);
        if point.exemplars.is_empty() {
            self.value(number, time, &point.value);
            return;
        }
        let digest = digest(&point.exemplars);
        if digest != known.exemplars {
            known.exemplars = digest;
            for exemplar in &point.exemplars {
                self.exemplars.exemplar(number, time, exemplar);
            }
        }
        self.value(number, time, &point.value);
    }

    fn value(&mut self, number: u32, time: i64, value: &Value) {
        match value {
            Value::Float(value) => {
                self.samples.sample(number, time, *value);
            }
            Value::Histogram(value) => {
                self.histograms.histogram(number, time, value);
            }
        }
        self.values += 1;
        self.highest = self.highest.max(time);
    }

    /// Ends what the source had last time and has no more.
    fn ends(&mut self, source: &str) {
        let present = std::mem::take(&mut self.present);
        let before = match present.is_empty() {
            true => self.tables.sources.remove(source),
            false => self.tables.sources.insert(source.to_owned(), present),
        };
        let generation = self.tables.generation;
        for number in before.into_iter().flatten() {
            let Some(known) = self.tables.series.get_mut(number as usize) else { continue };
            if known.seen == generation {
                continue;
            }
            if known.segment != self.segment {
                (known.segment, known.start) = (self.segment, 0);
                self.series.series(number, 0, &known.labels);
                known.family = 0;
            }
            let value = match known.is_histogram {
                true => Value::Histogram(
                    NativeHistogram { sum: STALE, ..NativeHistogram::default() }.into(),
                ),
                false => Value::Float(STALE),
            };
            self.value(number, self.time, &value);
        }
    }

    /// What is defined comes before what uses it.
    fn close(self, out: &mut Vec<u8>) {
        let definitions = [self.families, self.series, self.starts];
        let values = [self.exemplars, self.samples, self.histograms];
        definitions.into_iter().chain(values).for_each(|batch| batch.finish(out));
    }
}

/// Tells exemplars apart from those of last time.
fn digest(exemplars: &[Exemplar]) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = ahash::AHasher::default();
    for exemplar in exemplars {
        exemplar.labels.hash(&mut hasher);
        exemplar.value.to_bits().hash(&mut hasher);
        exemplar.time.hash(&mut hasher);
    }
    hasher.finish() | 1
}
