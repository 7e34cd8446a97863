//! What is in memory: the labels of all series, which have which label, and the chunks that
//! are in no block yet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use model::series::{Sample, Value};
use model::{Labels, Timestamp};

use super::Matcher;
use super::bits::{put_varint, zigzag};
use super::chunk::{Chunk, Open, put_histogram};

/// Chunks of one series that wait for a block. A clock that jumps begins one each time.
const CHUNKS_MAX: usize = 64;

/// A series.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) labels: Labels,
    /// Complete chunks, in the order in which they were written.
    sealed: Vec<Chunk>,
    open: Option<Open>,
    last: Option<Sample>,
    /// The last sample has the value of the one before it.
    repeats: bool,
    /// The segment of the log that has `last`: in it a value need not be written twice.
    segment: u64,
    /// The first and the last time of all that is kept.
    pub(super) min: i64,
    pub(super) max: i64,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Added,
    Same,
    Conflicting,
    Refused,
}

/// Chunks on their way to a block, by series.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) chunks: Vec<(u32, Vec<Chunk>)>,
    /// The last segment of the log they are in.
    pub(super) covers: u64,
}

impl Frozen {
    pub(super) fn of(&self, id: u32) -> &[Chunk] {
        let found = self.chunks.binary_search_by_key(&id, |(id, _)| *id);
        found.ok().and_then(|at| self.chunks.get(at)).map_or(&[], |(_, chunks)| chunks)
    }
}

/// All series, by number. A number is never used again.
#[derive(Debug, Default)]
pub(super) struct Head {
    slots: BTreeMap<u32, Box<Series>>,
    /// The number that the next series gets.
    next: u32,
    by_labels: HashMap<Labels, u32>,
    /// Label, value, the series that have it: ascending.
    index: BTreeMap<Box<str>, BTreeMap<Box<str>, Vec<u32>>>,
    pub(super) frozen: Option<Arc<Frozen>>,
    /// Samples of the chunks that are not frozen.
    pub(super) samples: u64,
}

impl Head {
    /// How many series there are.
    pub(super) fn len(&self) -> usize {
        self.by_labels.len()
    }

    pub(super) fn id(&self, labels: &Labels) -> Option<u32> {
        self.by_labels.get(labels).copied()
    }

    pub(super) fn series(&self, id: u32) -> Option<&Series> {
        self.slots.get(&id).map(Box::as_ref)
    }

    pub(super) fn series_mut(&mut self, id: u32) -> Option<&mut Series> {
        self.slots.get_mut(&id).map(Box::as_mut)
    }

    /// All series with their numbers, ascending.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Series)> {
        self.slots.iter().map(|(id, series)| (*id, series.as_ref()))
    }

    /// The number that the next series gets.
    pub(super) fn next_id(&self) -> u32 {
        self.next
    }

    /// Notes that a number was given, also when nobody knows any more to whom: what lies
    /// under it must not become another series'.
    pub(super) fn reserve(&mut self, id: u32) {
        self.next = self.next.max(id.saturating_add(1));
    }

    /// Enters a series under a number that is above all others.
    pub(super) fn enter(&mut self, id: u32, labels: &Labels) {
        self.reserve(id);
        let series = Series {
            labels: labels.clone(),
            sealed: Vec::new(),
            open: None,
            last: None,
            repeats: false,
            segment: 0,
            min: i64::MAX,
            max: i64::MIN,
        };
        self.slots.insert(id, Box::new(series));
        self.by_labels.insert(labels.clone(), id);
        put_index(&mut self.index, id, labels);
    }

    /// Appends a sample, and writes it to the record for the log.
    pub(super) fn push(
        &mut self,
        id: u32,
        time: Timestamp,
        value: &Value,
        record: &mut Record,
    ) -> Outcome {
        let Some(series) = self.slots.get_mut(&id) else {
            return Outcome::Refused;
        };
        let outcome = series.push(time, value);
        if outcome == Outcome::Added {
            record.put(id, time, value, series);
            self.samples += 1;
        }
        outcome
    }

    /// Takes all chunks out, to be written to a block.
    pub(super) fn freeze(&mut self, covers: u64) -> Arc<Frozen> {
        let mut chunks = Vec::new();
        for (id, series) in &mut self.slots {
            series.seal();
            if !series.sealed.is_empty() {
                chunks.push((*id, std::mem::take(&mut series.sealed)));
            }
        }
        self.samples = 0;
        let frozen = Arc::new(Frozen { chunks, covers });
        self.frozen = Some(Arc::clone(&frozen));
        frozen
    }

    /// The series that pass all matchers, ascending.
    pub(super) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let exact = matchers.iter().filter_map(|matcher| Some((matcher.name(), matcher.exact()?)));
        let lists = exact.map(|(name, value)| {
            self.index.get(name).and_then(|values| values.get(value)).map_or(&[][..], Vec::as_slice)
        });
        let passes = |id: &u32| {
            let labels = self.series(*id).map(|series| &series.labels);
            labels.is_some_and(|labels| matchers.iter().all(|matcher| matcher.matches(labels)))
        };
        match lists.min_by_key(|list| list.len()) {
            Some(list) => list.iter().copied().filter(passes).collect(),
            None => self.all().map(|(id, _)| id).filter(passes).collect(),
        }
    }

    /// Bytes of the chunks here.
    pub(super) fn bytes(&self) -> usize {
        let of_chunks = |chunks: &[Chunk]| chunks.iter().map(|c| c.bytes.len()).sum::<usize>();
        let frozen = self.frozen.iter().flat_map(|frozen| &frozen.chunks);
        let frozen: usize = frozen.map(|(_, chunks)| of_chunks(chunks)).sum();
        let open = |series: &Series| series.open.as_ref().map_or(0, Open::bytes);
        let here = self.all().map(|(_, series)| open(series) + of_chunks(&series.sealed));
        frozen + here.sum::<usize>()
    }

    /// All values of a label.
    pub(super) fn values(&self, name: &str) -> Option<&BTreeMap<Box<str>, Vec<u32>>> {
        self.index.get(name)
    }

    /// All names of labels.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &BTreeMap<Box<str>, Vec<u32>>)> {
        self.index.iter().map(|(name, values)| (name.as_ref(), values))
    }

    /// Forgets series of which nothing is kept: their last sample is older than `horizon`.
    /// Says how many those were.
    pub(super) fn forget(&mut self, horizon: i64) -> usize {
        let frozen = self.frozen.clone();
        let frozen: BTreeSet<u32> =
            frozen.iter().flat_map(|frozen| frozen.chunks.iter().map(|(id, _)| *id)).collect();
        let before = self.slots.len();
        let by_labels = &mut self.by_labels;
        self.slots.retain(|id, series| {
            let is_kept = series.max >= horizon
                || series.open.is_some()
                || !series.sealed.is_empty()
                || frozen.contains(id);
            if !is_kept {
                by_labels.remove(&series.labels);
            }
            is_kept
        });
        let gone = before - self.slots.len();
        if gone > 0 {
            let mut index = BTreeMap::new();
            for (id, series) in self.all() {
                put_index(&mut index, id, &series.labels);
            }
            self.index = index;
        }
        gone
    }
}

fn put_index(
    index: &mut BTreeMap<Box<str>, BTreeMap<Box<str>, Vec<u32>>>,
    id: u32,
    labels: &Labels,
) {
    for (name, value) in labels.iter() {
        // Most labels are known: nothing is allocated for those.
        if !index.contains_key(name) {
            index.insert(name.into(), BTreeMap::new());
        }
        let Some(values) = index.get_mut(name) else { continue };
        match values.get_mut(value) {
            Some(ids) => ids.push(id),
            None => _ = values.insert(value.into(), vec![id]),
        }
    }
}

impl Series {
    fn push(&mut self, time: Timestamp, value: &Value) -> Outcome {
        let last = self.last.as_ref();
        let is_known = last.is_some_and(|last| is_same(&last.value, value));
        if last.is_some_and(|last| last.time == time) {
            return if is_known { Outcome::Same } else { Outcome::Conflicting };
        }
        if !self.open.as_mut().is_some_and(|open| open.push(time.0, value)) {
            if self.sealed.len() >= CHUNKS_MAX {
                return Outcome::Refused;
            }
            self.seal();
            self.open = Some(Open::new(time.0, value));
        }
        self.widen(time.0, time.0);
        self.repeats = is_known;
        self.last = Some(Sample { time, value: value.clone() });
        Outcome::Added
    }

    fn seal(&mut self) {
        self.sealed.extend(self.open.take().map(|open| open.chunk()));
    }

    /// Notes that samples of these times are kept.
    pub(super) fn widen(&mut self, min: i64, max: i64) {
        (self.min, self.max) = (self.min.min(min), self.max.max(max));
    }

    /// Its chunks here, in the order in which they were written.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Chunk> {
        self.sealed.iter().cloned().chain(self.open.iter().map(Open::chunk))
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

/// Samples as the log has them.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) bytes: Vec<u8>,
    /// The segment that it goes to.
    segment: u64,
    last_id: u32,
    last_time: i64,
}

/// What follows the time of a sample.
pub(super) const FLOAT: u64 = 0;
pub(super) const SAME: u64 = 1;
pub(super) const HISTOGRAM: u64 = 2;

impl Record {
    pub(super) fn new(segment: u64) -> Record {
        Record { bytes: Vec::new(), segment, last_id: 0, last_time: 0 }
    }

    fn put(&mut self, id: u32, time: Timestamp, value: &Value, series: &mut Series) {
        // The same as the sample before, which the same segment has.
        let known = series.segment == self.segment && series.repeats;
        let kind = match value {
            _ if known => SAME,
            Value::Float(_) => FLOAT,
            Value::Histogram(_) => HISTOGRAM,
        };
        series.segment = self.segment;
        let step = i64::from(id) - i64::from(std::mem::replace(&mut self.last_id, id));
        put_varint(&mut self.bytes, zigzag(step) << 2 | kind);
        let last = std::mem::replace(&mut self.last_time, time.0);
        put_varint(&mut self.bytes, zigzag(time.0.wrapping_sub(last)));
        match value {
            _ if kind == SAME => {}
            Value::Float(value) => self.bytes.extend(value.to_le_bytes()),
            Value::Histogram(histogram) => put_histogram(&mut self.bytes, histogram),
        }
    }
}
