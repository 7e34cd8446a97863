//! Samples of one series, compressed: times as the difference of differences, numbers as the
//! bits that changed (Facebook's Gorilla), histograms as differences of their counts.
//!
//! What Gorilla's paper says of times is made for whole seconds. Ours are milliseconds that
//! waver by a few, so that the first steps are smaller.

use std::sync::Arc;

use model::Timestamp;
use model::series::{NativeHistogram, Sample, Value};

use super::bits::{BitReader, BitWriter, Cursor, put_varint, signed, unzigzag, zigzag};

/// Samples of one chunk: what a damaged one can cost.
const SAMPLES_MAX: u32 = 240;

/// A chunk that is complete. Its times ascend.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chunk {
    pub(super) kind: Kind,
    pub(super) count: u32,
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) bytes: Arc<[u8]>,
}

/// What a chunk holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Floats,
    Histograms,
}

impl Chunk {
    /// Its samples; `None` when it is damaged.
    pub(super) fn samples(&self) -> Option<Vec<Sample>> {
        match self.kind {
            Kind::Floats => floats(&self.bytes, self.count),
            Kind::Histograms => histograms(&self.bytes, self.count),
        }
    }
}

/// A chunk that grows.
#[derive(Clone, Debug)]
pub(super) enum Open {
    Floats(Floats),
    Histograms(Box<Histograms>),
}

impl Open {
    /// Begins a chunk.
    pub(super) fn new(time: i64, value: &Value) -> Open {
        match value {
            Value::Float(value) => Open::Floats(Floats::new(time, *value)),
            Value::Histogram(value) => Open::Histograms(Box::new(Histograms::new(time, value))),
        }
    }

    /// Appends a later sample, if it goes in here.
    pub(super) fn push(&mut self, time: i64, value: &Value) -> bool {
        match (self, value) {
            (Open::Floats(floats), Value::Float(value)) => floats.push(time, *value),
            (Open::Histograms(histograms), Value::Histogram(value)) => histograms.push(time, value),
            _ => false,
        }
    }

    /// The chunk as it is now.
    pub(super) fn chunk(&self) -> Chunk {
        match self {
            Open::Floats(f) => {
                let Floats { min, max, count, .. } = *f;
                Chunk { kind: Kind::Floats, count, min, max, bytes: f.bits.bytes.as_slice().into() }
            }
            Open::Histograms(h) => {
                let Histograms { min, max, count, .. } = **h;
                Chunk { kind: Kind::Histograms, count, min, max, bytes: h.bytes.as_slice().into() }
            }
        }
    }

    /// Bytes of memory beside the structure itself.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Open::Floats(floats) => floats.bits.bytes.capacity(),
            Open::Histograms(histograms) => histograms.bytes.capacity() + size_of::<Histograms>(),
        }
    }
}

/// Numbers.
#[derive(Clone, Debug)]
pub(super) struct Floats {
    bits: BitWriter,
    count: u32,
    min: i64,
    max: i64,
    delta: i64,
    value: u64,
    /// Zero bits before those that changed last, and how many those are; 0 for none yet.
    leading: u8,
    length: u8,
}

/// Prefix, its bits, and the bits of the number after it.
const STEPS: [(u64, u32, u32); 4] =
    [(0b10, 2, 5), (0b110, 3, 9), (0b1110, 4, 14), (0b11110, 5, 20)];

impl Floats {
    fn new(time: i64, value: f64) -> Floats {
        let mut bits = BitWriter::default();
        bits.push(time.cast_unsigned(), 64);
        bits.push(value.to_bits(), 64);
        let (min, max, value) = (time, time, value.to_bits());
        Floats { bits, count: 1, min, max, delta: 0, value, leading: 0, length: 0 }
    }

    fn push(&mut self, time: i64, value: f64) -> bool {
        let Some(delta) = time.checked_sub(self.max).filter(|delta| *delta > 0) else {
            return false;
        };
        if self.count >= SAMPLES_MAX {
            return false;
        }
        self.push_change(delta - self.delta);
        self.push_value(value.to_bits());
        (self.max, self.delta) = (time, delta);
        self.count += 1;
        true
    }

    fn push_change(&mut self, change: i64) {
        if change == 0 {
            return self.bits.push(0, 1);
        }
        let step = STEPS.iter().find(|(_, _, bits)| {
            let half = 1_i64 << (bits - 1);
            (-half..half).contains(&change)
        });
        match step {
            Some((prefix, width, bits)) => {
                self.bits.push(*prefix, *width);
                self.bits.push(change.cast_unsigned(), *bits);
            }
            None => {
                self.bits.push(0b11111, 5);
                self.bits.push(change.cast_unsigned(), 64);
            }
        }
    }

    fn push_value(&mut self, value: u64) {
        let changed = value ^ std::mem::replace(&mut self.value, value);
        if changed == 0 {
            return self.bits.push(0, 1);
        }
        let leading = changed.leading_zeros().min(31) as u8;
        let trailing = changed.trailing_zeros() as u8;
        let window_end = 64 - self.leading - self.length;
        if self.length > 0 && leading >= self.leading && trailing >= window_end {
            self.bits.push(0b10, 2);
            return self.bits.push(changed >> window_end, u32::from(self.length));
        }
        (self.leading, self.length) = (leading, 64 - leading - trailing);
        self.bits.push(0b11, 2);
        self.bits.push(u64::from(leading), 5);
        self.bits.push(u64::from(self.length - 1), 6);
        self.bits.push(changed >> trailing, u32::from(self.length));
    }
}

fn floats(bytes: &[u8], count: u32) -> Option<Vec<Sample>> {
    let mut bits = BitReader::new(bytes);
    // A sample takes two bits at least.
    let mut samples = Vec::with_capacity((count as usize).min(bytes.len() * 4));
    let mut time = bits.take(64)?.cast_signed();
    let mut value = bits.take(64)?;
    let (mut delta, mut leading, mut length) = (0_i64, 0, 0);
    let sample =
        |time, value| Sample { time: Timestamp(time), value: Value::Float(f64::from_bits(value)) };
    samples.push(sample(time, value));
    for _ in 1..count {
        delta = delta.checked_add(change(&mut bits)?)?;
        time = time.checked_add(delta)?;
        if bits.bit()? {
            if bits.bit()? {
                leading = bits.take(5)? as u32;
                length = bits.take(6)? as u32 + 1;
            }
            let shift = 64_u32.checked_sub(leading + length)?;
            value ^= bits.take(length)?.checked_shl(shift)?;
        }
        samples.push(sample(time, value));
    }
    Some(samples)
}

fn change(bits: &mut BitReader<'_>) -> Option<i64> {
    if !bits.bit()? {
        return Some(0);
    }
    for (_, _, width) in STEPS {
        if !bits.bit()? {
            return bits.take(width).map(|value| signed(value, width));
        }
    }
    bits.take(64).map(u64::cast_signed)
}

/// Native histograms that have the same buckets.
#[derive(Clone, Debug)]
pub(super) struct Histograms {
    bytes: Vec<u8>,
    count: u32,
    min: i64,
    max: i64,
    delta: i64,
    last: Arc<NativeHistogram>,
}

impl Histograms {
    fn new(time: i64, value: &Arc<NativeHistogram>) -> Histograms {
        let mut bytes = Vec::new();
        bytes.extend(time.to_le_bytes());
        put_histogram(&mut bytes, value);
        let (min, max, last) = (time, time, Arc::clone(value));
        Histograms { bytes, count: 1, min, max, delta: 0, last }
    }

    fn push(&mut self, time: i64, value: &Arc<NativeHistogram>) -> bool {
        let Some(delta) = time.checked_sub(self.max).filter(|delta| *delta > 0) else {
            return false;
        };
        if self.count >= SAMPLES_MAX || !has_same_buckets(&self.last, value) {
            return false;
        }
        put_varint(&mut self.bytes, zigzag(delta - self.delta));
        for (value, last) in numbers(value).zip(numbers(&self.last)) {
            put_number(&mut self.bytes, value, last);
        }
        (self.max, self.delta, self.last) = (time, delta, Arc::clone(value));
        self.count += 1;
        true
    }
}

fn histograms(bytes: &[u8], count: u32) -> Option<Vec<Sample>> {
    let mut cursor = Cursor(bytes);
    let mut time = i64::from_le_bytes(cursor.array()?);
    let mut value = Arc::new(histogram(&mut cursor)?);
    let mut delta = 0_i64;
    let sample = |time, value: &Arc<NativeHistogram>| Sample {
        time: Timestamp(time),
        value: Value::Histogram(Arc::clone(value)),
    };
    let mut samples = vec![sample(time, &value)];
    for _ in 1..count {
        delta = delta.checked_add(cursor.zigzag()?)?;
        time = time.checked_add(delta)?;
        let mut next = NativeHistogram::clone(&value);
        for number in numbers_mut(&mut next) {
            *number = take_number(&mut cursor, *number)?;
        }
        value = Arc::new(next);
        samples.push(sample(time, &value));
    }
    Some(samples)
}

fn has_same_buckets(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    let same = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.iter().map(|(index, _)| index).eq(b.iter().map(|(index, _)| index))
    };
    a.schema == b.schema
        && a.is_gauge == b.is_gauge
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && same(&a.positive, &b.positive)
        && same(&a.negative, &b.negative)
        && (Arc::ptr_eq(&a.bounds, &b.bounds) || a.bounds == b.bounds)
}

/// What changes from one histogram to the next.
fn numbers(histogram: &NativeHistogram) -> impl Iterator<Item = f64> {
    let NativeHistogram { zero_count, count, sum, positive, negative, .. } = histogram;
    let buckets = positive.iter().chain(negative).map(|(_, count)| *count);
    [*zero_count, *count, *sum].into_iter().chain(buckets)
}

fn numbers_mut(histogram: &mut NativeHistogram) -> impl Iterator<Item = &mut f64> {
    let NativeHistogram { zero_count, count, sum, positive, negative, .. } = histogram;
    let buckets = positive.iter_mut().chain(negative).map(|(_, count)| count);
    [zero_count, count, sum].into_iter().chain(buckets)
}

/// A difference of whole numbers, or all bits.
fn put_number(out: &mut Vec<u8>, value: f64, last: f64) {
    if value.to_bits() == last.to_bits() {
        return out.push(0);
    }
    let is_whole = |value: f64| value.fract() == 0.0 && value.abs() < (1_u64 << 53) as f64;
    let difference = (value as i64).wrapping_sub(last as i64);
    // Minus zero is a whole number that a difference would lose.
    if is_whole(value) && is_whole(last) && difference != 0 && value != 0.0 {
        put_varint(out, zigzag(difference) << 1);
    } else {
        put_varint(out, 1);
        out.extend(value.to_le_bytes());
    }
}

fn take_number(cursor: &mut Cursor<'_>, last: f64) -> Option<f64> {
    match cursor.varint()? {
        0 => Some(last),
        1 => cursor.array().map(f64::from_le_bytes),
        code => Some((last as i64).wrapping_add(unzigzag(code >> 1)) as f64),
    }
}

/// A histogram with its buckets.
pub(super) fn put_histogram(out: &mut Vec<u8>, histogram: &NativeHistogram) {
    out.push(histogram.schema.cast_unsigned());
    out.push(u8::from(histogram.is_gauge));
    out.extend(histogram.zero_threshold.to_le_bytes());
    for buckets in [&histogram.positive, &histogram.negative] {
        put_varint(out, buckets.len() as u64);
        for (index, _) in buckets {
            put_varint(out, zigzag(i64::from(*index)));
        }
    }
    put_varint(out, histogram.bounds.len() as u64);
    out.reserve_exact(8 * histogram.bounds.len() + 32);
    out.extend(histogram.bounds.iter().flat_map(|bound| bound.to_le_bytes()));
    for number in numbers(histogram) {
        put_number(out, number, 0.0);
    }
}

/// Reads what [`put_histogram`] wrote.
pub(super) fn histogram(cursor: &mut Cursor<'_>) -> Option<NativeHistogram> {
    let [schema, is_gauge] = cursor.array()?;
    let mut histogram = NativeHistogram {
        schema: schema.cast_signed(),
        is_gauge: is_gauge != 0,
        zero_threshold: f64::from_le_bytes(cursor.array()?),
        ..NativeHistogram::default()
    };
    for side in 0..2 {
        let count = cursor.count(1)?;
        let mut buckets = Vec::with_capacity(count);
        for _ in 0..count {
            buckets.push((i32::try_from(cursor.zigzag()?).ok()?, 0.0));
        }
        match side {
            0 => histogram.positive = buckets,
            _ => histogram.negative = buckets,
        }
    }
    let count = cursor.count(8)?;
    let bounds = (0..count).map(|_| cursor.array().map(f64::from_le_bytes));
    histogram.bounds = bounds.collect::<Option<_>>()?;
    for number in numbers_mut(&mut histogram) {
        *number = take_number(cursor, 0.0)?;
    }
    Some(histogram)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::series::{NativeHistogram, STALE, Sample, Value};

    use super::{Chunk, Open};

    /// Times and bits, so that every NaN is itself.
    fn written(samples: &[(i64, Value)]) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut open: Option<Open> = None;
        for (time, value) in samples {
            if !open.as_mut().is_some_and(|open| open.push(*time, value)) {
                chunks.extend(open.replace(Open::new(*time, value)).map(|open| open.chunk()));
            }
        }
        chunks.extend(open.map(|open| open.chunk()));
        chunks
    }

    fn check(samples: &[(i64, Value)]) -> usize {
        let chunks = written(samples);
        let read: Vec<Sample> = chunks.iter().flat_map(|chunk| chunk.samples().unwrap()).collect();
        assert_eq!(read.len(), samples.len());
        for (read, (time, value)) in read.iter().zip(samples) {
            assert_eq!(read.time.0, *time);
            match (&read.value, value) {
                (Value::Float(read), Value::Float(value)) => {
                    assert_eq!(read.to_bits(), value.to_bits());
                }
                (Value::Histogram(read), Value::Histogram(value)) => {
                    assert_eq!(format!("{read:?}"), format!("{value:?}"));
                }
                pair => panic!("{pair:?}"),
            }
        }
        for chunk in &chunks {
            for end in 0..chunk.bytes.len() {
                let cut = Chunk { bytes: chunk.bytes[..end].into(), ..chunk.clone() };
                assert_eq!(cut.samples(), None, "{end}");
            }
        }
        chunks.iter().map(|chunk| chunk.bytes.len()).sum()
    }

    /// Numbers that look random, the same each time.
    fn noise(seed: &mut u64) -> u64 {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed
    }

    #[test]
    fn numbers_come_back_to_the_bit() {
        let odd = [
            0.0,
            -0.0,
            f64::NAN,
            STALE,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            1e308,
        ];
        let floats = |values: &[f64]| -> Vec<(i64, Value)> {
            let steps = values.iter().enumerate();
            steps.map(|(step, value)| (step as i64 * 10_000, Value::Float(*value))).collect()
        };
        check(&floats(&odd));
        check(&floats(&[1.0; 1000]));
        let mut seed = 7;
        let bits: Vec<f64> = (0..500).map(|_| f64::from_bits(noise(&mut seed))).collect();
        check(&floats(&bits));
        let mut time = -5_000_000_000_i64;
        let wild: Vec<(i64, Value)> = (0..2000)
            .map(|_| {
                let shift = noise(&mut seed) % 45;
                time += 1 + (noise(&mut seed) >> (63 - shift)) as i64;
                (time, Value::Float((noise(&mut seed) % 100) as f64))
            })
            .collect();
        check(&wild);
        check(&[(i64::MIN, Value::Float(1.0)), (i64::MAX, Value::Float(2.0))]);
        assert_eq!(written(&[(5, Value::Float(1.0)), (5, Value::Float(2.0))]).len(), 2);
    }

    #[test]
    fn what_rests_takes_two_bits() {
        let steps: Vec<(i64, Value)> =
            (0..240).map(|step| (step * 10_000, Value::Float(64.0))).collect();
        assert!(check(&steps) < 16 + 240 / 4 + 8);
    }

    #[test]
    fn histograms_come_back() {
        let histogram = |counts: [u64; 3], sum: f64| {
            let positive = (1..).step_by(3).zip(counts.map(|count| count as f64)).collect();
            let count = counts.iter().sum::<u64>() as f64;
            let bounds = [0.5, f64::MIN_POSITIVE].into();
            let negative = vec![(-4, 0.5)];
            let it = NativeHistogram {
                schema: -53,
                count,
                sum,
                positive,
                negative,
                bounds,
                ..NativeHistogram::default()
            };
            Value::Histogram(Arc::new(it))
        };
        let mut samples = vec![
            (1, histogram([1, 2, 3], 1.5)),
            (1001, histogram([1, 2, 3], 1.5)),
            (2001, histogram([2, 5, 3], f64::NAN)),
            (3002, histogram([0, 0, 0], -0.0)),
            (4000, Value::Float(STALE)),
            (4001, histogram([1 << 60, 1, 0], 1e300)),
        ];
        assert_eq!(written(&samples).len(), 3);
        check(&samples);
        let Value::Histogram(last) = &samples[5].1 else { panic!() };
        let other = NativeHistogram { schema: 3, is_gauge: true, ..NativeHistogram::clone(last) };
        samples.push((5000, Value::Histogram(Arc::new(other))));
        assert_eq!(written(&samples).len(), 4);
        check(&samples);
    }
}
