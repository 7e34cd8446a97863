//! A histogram of a page: classic buckets, native ones, or both.

use model::Timestamp;
use model::series::{Exemplar, NativeHistogram};

use super::wire::{Field, fields};
use super::{exemplar, timestamp};
use crate::exposition::line::Fault;

/// Schemas whose bounds are powers of two.
const SCHEMAS: std::ops::RangeInclusive<i64> = -4..=8;

/// As it is written.
#[derive(Default)]
pub(super) struct Histogram {
    count: u64,
    count_float: f64,
    pub(super) sum: f64,
    /// In the page's order.
    pub(super) buckets: Vec<Bucket>,
    pub(super) start: Option<Timestamp>,
    schema: i64,
    zero_threshold: f64,
    zero_count: u64,
    zero_count_float: f64,
    negative: Side,
    positive: Side,
    exemplars: Vec<Exemplar>,
}

/// A classic bucket.
#[derive(Default)]
pub(super) struct Bucket {
    pub(super) bound: f64,
    /// Of this and all lower ones.
    pub(super) count: f64,
    pub(super) exemplar: Option<Exemplar>,
}

/// Native buckets above or below zero.
#[derive(Default)]
struct Side {
    /// Buckets left out, and buckets that follow.
    spans: Vec<(i64, u64)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

impl Histogram {
    pub(super) fn read(bytes: &[u8]) -> Result<Histogram, Fault> {
        let mut read = Histogram::default();
        fields(bytes, |number, field| read.field(number, field))?;
        Ok(read)
    }

    fn field(&mut self, number: u64, field: Field<'_>) -> Result<(), Fault> {
        match number {
            1 => self.count = field.number()?,
            2 => self.sum = field.double()?,
            3 => self.buckets.push(bucket(field.bytes()?)?),
            4 => self.count_float = field.double()?,
            5 => self.schema = field.signed()?,
            6 => self.zero_threshold = field.double()?,
            7 => self.zero_count = field.number()?,
            8 => self.zero_count_float = field.double()?,
            9 => self.negative.spans.push(span(field.bytes()?)?),
            10 => field.signed_each(|delta| self.negative.deltas.push(delta))?,
            11 => field.double_each(|count| self.negative.counts.push(count))?,
            12 => self.positive.spans.push(span(field.bytes()?)?),
            13 => field.signed_each(|delta| self.positive.deltas.push(delta))?,
            14 => field.double_each(|count| self.positive.counts.push(count))?,
            15 => self.start = timestamp(field.bytes()?)?,
            16 => self.exemplars.push(exemplar(field.bytes()?)?),
            _ => {}
        }
        Ok(())
    }

    /// Observations in all.
    pub(super) fn count(&self) -> f64 {
        if self.count_float == 0.0 { self.count as f64 } else { self.count_float }
    }

    /// The native histogram, if it is one. It is when it has spans or a bucket around zero,
    /// which is what client libraries write where there is nothing to count yet.
    pub(super) fn native(&self, is_gauge: bool) -> Result<Option<NativeHistogram>, Fault> {
        let is_native = !self.positive.spans.is_empty()
            || !self.negative.spans.is_empty()
            || self.zero_threshold > 0.0
            || self.zero_count > 0;
        if !is_native {
            return Ok(None);
        }
        let schema = Some(self.schema).filter(|schema| SCHEMAS.contains(schema));
        let schema = schema.and_then(|schema| i8::try_from(schema).ok());
        let is_float = self.count_float > 0.0 || self.zero_count_float > 0.0;
        let (positive, negative) = match is_float {
            true => (self.positive.counts.clone(), self.negative.counts.clone()),
            false => (whole(&self.positive.deltas)?, whole(&self.negative.deltas)?),
        };
        let histogram = NativeHistogram {
            schema: schema.ok_or("a histogram of a schema that is not known")?,
            zero_threshold: self.zero_threshold,
            zero_count: if is_float { self.zero_count_float } else { self.zero_count as f64 },
            count: if is_float { self.count_float } else { self.count as f64 },
            sum: self.sum,
            positive: placed(&self.positive.spans, &positive)?,
            negative: placed(&self.negative.spans, &negative)?,
            bounds: Vec::new().into(),
            is_gauge,
        };
        // What is not a number is counted, and in no bucket.
        let sides = histogram.positive.iter().chain(&histogram.negative);
        let in_buckets = sides.map(|(_, count)| count).sum::<f64>() + histogram.zero_count;
        let is_sound = match self.sum.is_nan() {
            true => in_buckets <= histogram.count,
            false => in_buckets == histogram.count,
        };
        if !is_float && !is_sound {
            return Err("a histogram whose buckets do not add up to its count");
        }
        Ok(Some(histogram))
    }

    /// Examples that have a time: those of a native histogram need one.
    pub(super) fn timed_exemplars(&self) -> Vec<Exemplar> {
        let own = self.exemplars.iter();
        let others = self.buckets.iter().filter_map(|bucket| bucket.exemplar.as_ref());
        let others = others.filter(|_| self.exemplars.is_empty());
        own.chain(others).filter(|exemplar| exemplar.time.is_some()).cloned().collect()
    }
}

fn bucket(bytes: &[u8]) -> Result<Bucket, Fault> {
    let (mut bucket, mut count) = (Bucket::default(), 0);
    fields(bytes, |number, field| {
        match number {
            1 => count = field.number()?,
            2 => bucket.bound = field.double()?,
            3 => bucket.exemplar = Some(exemplar(field.bytes()?)?),
            4 => bucket.count = field.double()?,
            _ => {}
        }
        Ok(())
    })?;
    if bucket.count == 0.0 {
        bucket.count = count as f64;
    }
    Ok(bucket)
}

fn span(bytes: &[u8]) -> Result<(i64, u64), Fault> {
    let (mut offset, mut length) = (0, 0);
    fields(bytes, |number, field| {
        match number {
            1 => offset = field.signed()?,
            2 => length = field.number()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((offset, length))
}

/// Counts that are each written as the difference to the one before.
fn whole(deltas: &[i64]) -> Result<Vec<f64>, Fault> {
    let mut count = 0_i64;
    let counts = deltas.iter().map(|delta| {
        count = count.checked_add(*delta).filter(|count| *count >= 0)?;
        Some(count as f64)
    });
    counts.collect::<Option<Vec<f64>>>().ok_or("a bucket that counts less than nothing")
}

/// Counts with the indices of their buckets; those that are empty are left out.
fn placed(spans: &[(i64, u64)], counts: &[f64]) -> Result<Vec<(i32, f64)>, Fault> {
    const UNEVEN: Fault = "a histogram whose spans are not those of its buckets";
    let (mut buckets, mut left, mut index) = (Vec::new(), counts, 0_i64);
    for (nth, (offset, length)) in spans.iter().enumerate() {
        if nth > 0 && *offset < 0 {
            return Err("a histogram whose spans go backwards");
        }
        index = index.saturating_add(*offset);
        let length = usize::try_from(*length).map_err(|_| UNEVEN)?;
        let (these, rest) = left.split_at_checked(length).ok_or(UNEVEN)?;
        left = rest;
        for count in these {
            if *count != 0.0 {
                let index = i32::try_from(index).map_err(|_| "a bucket beyond all numbers")?;
                buckets.push((index, *count));
            }
            index = index.saturating_add(1);
        }
    }
    if left.is_empty() { Ok(buckets) } else { Err(UNEVEN) }
}
