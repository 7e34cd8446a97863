//! The whole trace at a coarse grain: what each P did, and how many goroutines there were, in
//! buckets of equal time. When the trace outgrows them, two become one.

use ahash::AHashMap;
use model::trace::Time;

use super::{Activity, Point};

/// Buckets of each P, of all Ps together, and what each has at least.
const BUCKETS_MAX: usize = 1 << 15;
const BUCKETS_OF_ALL: usize = 1 << 21;
const BUCKETS_MIN: usize = 1 << 9;

/// A bucket of a P, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Bucket {
    /// Running, running for the collector, in system calls.
    pub(super) busy: [f32; 3],
    /// The goroutine that had the P for longest, and how long at least.
    pub(super) slot: u32,
    pub(super) slot_nanos: f32,
}

/// How many goroutines do what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted {
    /// Nanoseconds times goroutines.
    pub(super) sums: [f32; 3],
    pub(super) min: [u32; 3],
    pub(super) max: [u32; 3],
}

impl Default for Counted {
    fn default() -> Counted {
        Counted { sums: [0.0; 3], min: [u32::MAX; 3], max: [0; 3] }
    }
}

#[derive(Debug)]
pub(super) struct Buckets {
    start: Time,
    /// The width is a power of two of nanoseconds.
    shift: u32,
    count_max: usize,
    procs: Vec<Vec<Bucket>>,
    /// What goroutines had of the last bucket of each P.
    last: Vec<AHashMap<u32, f32>>,
    counted: Vec<Counted>,
}

impl Buckets {
    pub(super) fn new(start: Time) -> Buckets {
        Buckets {
            start,
            shift: 10,
            count_max: BUCKETS_MAX,
            procs: Vec::new(),
            last: Vec::new(),
            counted: Vec::new(),
        }
    }

    pub(super) fn width_nanos(&self) -> u64 {
        1 << self.shift
    }

    pub(super) fn of_proc(&self, proc: usize) -> &[Bucket] {
        self.procs.get(proc).map_or(&[], Vec::as_slice)
    }

    /// Bytes that they take.
    pub(super) fn size(&self) -> usize {
        let procs: usize = self.procs.iter().map(|of| of.capacity() * size_of::<Bucket>()).sum();
        procs + self.counted.capacity() * size_of::<Counted>()
    }

    pub(super) fn finish(&mut self) {
        self.last = Vec::new();
        self.procs.iter_mut().for_each(Vec::shrink_to_fit);
    }

    /// A P did this from one time to another.
    pub(super) fn busy(&mut self, proc: usize, span: (Time, Time), slot: u32, of: Activity) {
        let Some(kind) = of.busy_kind() else { return };
        if self.procs.len() <= proc {
            self.procs.resize(proc + 1, Vec::new());
            self.last.resize(proc + 1, AHashMap::new());
            let share = BUCKETS_OF_ALL / self.procs.len().next_power_of_two();
            self.count_max = share.clamp(BUCKETS_MIN, BUCKETS_MAX);
        }
        self.make_room(span.1);
        for (at, nanos) in parts(self.start, self.shift, span) {
            let (Some(buckets), Some(last)) = (self.procs.get_mut(proc), self.last.get_mut(proc))
            else {
                return;
            };
            if buckets.len() <= at {
                buckets.resize(at + 1, Bucket::default());
                last.clear();
            }
            let Some(bucket) = buckets.get_mut(at) else { return };
            if let Some(busy) = bucket.busy.get_mut(kind) {
                *busy += nanos;
            }
            let own = last.entry(slot).or_default();
            *own += nanos;
            if *own > bucket.slot_nanos {
                (bucket.slot, bucket.slot_nanos) = (slot, *own);
            }
        }
    }

    /// There were so many goroutines from one time to another.
    pub(super) fn counts(&mut self, span: (Time, Time), counts: [u32; 3]) {
        self.make_room(span.1);
        for (at, nanos) in parts(self.start, self.shift, span) {
            if self.counted.len() <= at {
                self.counted.resize(at + 1, Counted::default());
            }
            if let Some(of) = self.counted.get_mut(at) {
                of.add(counts.map(|count| count as f32 * nanos), counts, counts);
            }
        }
    }

    fn make_room(&mut self, end: Time) {
        while (end.nanos_since(self.start) >> self.shift) as usize >= self.count_max {
            self.shift += 1;
            for (buckets, last) in self.procs.iter_mut().zip(&mut self.last) {
                last.clear();
                merge(buckets, |a, b| {
                    for (sum, more) in a.busy.iter_mut().zip(b.busy) {
                        *sum += more;
                    }
                    if a.slot == b.slot {
                        a.slot_nanos += b.slot_nanos;
                    } else if b.slot_nanos > a.slot_nanos {
                        (a.slot, a.slot_nanos) = (b.slot, b.slot_nanos);
                    }
                });
                if let Some(bucket) = buckets.last() {
                    last.insert(bucket.slot, bucket.slot_nanos);
                }
            }
            merge(&mut self.counted, |a, b| a.add(b.sums, b.min, b.max));
        }
    }

    /// How many goroutines there were in a span, of one kind; `None` beyond the trace.
    pub(super) fn point(&self, kind: usize, span: (Time, Time)) -> Option<Point> {
        let (mut sum, mut nanos, mut all) = (0.0, 0.0, Counted::default());
        for (at, part) in parts(self.start, self.shift, span) {
            let Some(of) = self.counted.get(at).filter(|of| of.min[0] != u32::MAX) else { break };
            let share = f64::from(part) / self.width_nanos() as f64;
            sum += of.sums.get(kind).map_or(0.0, |sum| f64::from(*sum)) * share;
            nanos += f64::from(part);
            all.add([0.0; 3], of.min, of.max);
        }
        let (min, max) = (u64::from(*all.min.get(kind)?), u64::from(*all.max.get(kind)?));
        let mean = (sum / nanos).clamp(min as f64, max as f64);
        (nanos > 0.0).then_some(Point { min, max, mean })
    }

    /// The buckets in a span with the part of it that is in each.
    pub(super) fn parts(&self, span: (Time, Time)) -> impl Iterator<Item = (usize, f32)> + use<> {
        parts(self.start, self.shift, span)
    }
}

impl Counted {
    fn add(&mut self, sums: [f32; 3], min: [u32; 3], max: [u32; 3]) {
        for (at, sum) in self.sums.iter_mut().enumerate() {
            *sum += sums.get(at).copied().unwrap_or(0.0);
        }
        for (own, other) in self.min.iter_mut().zip(min) {
            *own = (*own).min(other);
        }
        for (own, other) in self.max.iter_mut().zip(max) {
            *own = (*own).max(other);
        }
    }
}

/// Makes one of each two.
fn merge<T: Copy>(all: &mut Vec<T>, add: impl Fn(&mut T, &T)) {
    let merged = all.chunks(2).filter_map(|pair| {
        let mut first = *pair.first()?;
        if let Some(second) = pair.get(1) {
            add(&mut first, second);
        }
        Some(first)
    });
    *all = merged.collect();
}

/// The buckets that a span touches, and how many nanoseconds of it are in each.
fn parts(
    start: Time,
    shift: u32,
    (from, to): (Time, Time),
) -> impl Iterator<Item = (usize, f32)> + use<> {
    let (from, to) = (from.nanos_since(start), to.nanos_since(start));
    let mut at = from;
    std::iter::from_fn(move || {
        if at >= to {
            return None;
        }
        let bucket = at >> shift;
        let end = ((bucket + 1) << shift).min(to);
        let nanos = end - at;
        at = end;
        Some((bucket as usize, nanos as f32))
    })
}
