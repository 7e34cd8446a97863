//! Arithmetic of native histograms.

use std::collections::BTreeMap;

use model::series::NativeHistogram;

use super::math::Kahan;

/// The schema of custom bounds.
const CUSTOM: i8 = -53;

/// One bucket; its lower bound is exclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bucket {
    pub lower: f64,
    pub upper: f64,
    pub count: f64,
}

/// Exponential and custom buckets cannot be joined.
#[derive(Debug)]
pub(super) struct Incompatible;

/// Reports whether buckets have bounds of their own.
pub(super) fn is_custom(h: &NativeHistogram) -> bool {
    h.schema == CUSTOM
}

/// Upper bound of the bucket of an index.
fn bound(h: &NativeHistogram, index: i32) -> f64 {
    if is_custom(h) {
        let custom = usize::try_from(index).ok().map(|index| h.bounds.get(index).copied());
        return match custom {
            None => f64::NEG_INFINITY,
            Some(bound) => bound.unwrap_or(f64::INFINITY),
        };
    }
    exponential_bound(h.schema, index)
}

fn exponential_bound(schema: i8, index: i32) -> f64 {
    let exponent = f64::from(index) * (-f64::from(schema)).exp2();
    // What is above the last bound is the bucket of infinity alone.
    if exponent == 1024.0 { f64::MAX } else { exponent.exp2() }
}

/// Buckets from the lowest to the highest, the one around zero between them.
pub(super) fn buckets(h: &NativeHistogram) -> Vec<Bucket> {
    let mut all = Vec::with_capacity(h.negative.len() + h.positive.len() + 1);
    for (index, count) in h.negative.iter().rev() {
        let (lower, upper) = (-bound(h, *index), -bound(h, index.saturating_sub(1)));
        all.push(Bucket { lower, upper, count: *count });
    }
    if h.zero_count > 0.0 {
        let (lower, upper) = (-h.zero_threshold, h.zero_threshold);
        all.push(Bucket { lower, upper, count: h.zero_count });
    }
    for (index, count) in &h.positive {
        let (lower, upper) = (bound(h, index.saturating_sub(1)), bound(h, *index));
        all.push(Bucket { lower, upper, count: *count });
    }
    all
}

/// Times a number.
pub(super) fn multiplied(h: &NativeHistogram, factor: f64) -> NativeHistogram {
    let mut h = mapped(h, |x| x * factor);
    h.is_gauge |= factor < 0.0;
    h
}

/// Divided by a number; by zero nothing is left in buckets.
pub(super) fn divided(h: &NativeHistogram, by: f64) -> NativeHistogram {
    let mut h = mapped(h, |x| x / by);
    if by == 0.0 {
        h.positive.clear();
        h.negative.clear();
    }
    h.is_gauge |= by < 0.0;
    h
}

fn mapped(h: &NativeHistogram, f: impl Fn(f64) -> f64) -> NativeHistogram {
    let mut h = h.clone();
    for x in [&mut h.zero_count, &mut h.count, &mut h.sum] {
        *x = f(*x);
    }
    for (_, x) in h.positive.iter_mut().chain(&mut h.negative) {
        *x = f(*x);
    }
    compacted(h)
}

/// Without empty buckets.
pub(super) fn compacted(mut h: NativeHistogram) -> NativeHistogram {
    h.positive.retain(|bucket| bucket.1 != 0.0);
    h.negative.retain(|bucket| bucket.1 != 0.0);
    h
}

/// `a + b`.
pub(super) fn added(
    a: &NativeHistogram,
    b: &NativeHistogram,
) -> Result<NativeHistogram, Incompatible> {
    joined(a, b, 1.0)
}

/// `a - b`.
pub(super) fn subtracted(
    a: &NativeHistogram,
    b: &NativeHistogram,
) -> Result<NativeHistogram, Incompatible> {
    joined(a, b, -1.0)
}

fn joined(
    a: &NativeHistogram,
    b: &NativeHistogram,
    sign: f64,
) -> Result<NativeHistogram, Incompatible> {
    if is_custom(a) != is_custom(b) {
        return Err(Incompatible);
    }
    let (a, b) = aligned(a, b);
    let mut sum = a.clone();
    sum.zero_count += sign * b.zero_count;
    sum.count += sign * b.count;
    sum.sum += sign * b.sum;
    sum.is_gauge |= b.is_gauge;
    sum.positive = merged(&a.positive, &b.positive, sign);
    sum.negative = merged(&a.negative, &b.negative, sign);
    Ok(compacted(sum))
}

fn merged(a: &[(i32, f64)], b: &[(i32, f64)], sign: f64) -> Vec<(i32, f64)> {
    let mut sums: BTreeMap<i32, f64> = a.iter().copied().collect();
    for (index, count) in b {
        *sums.entry(*index).or_default() += sign * count;
    }
    sums.into_iter().collect()
}

/// Both with the same buckets: the coarser schema, the wider bucket around zero, the custom
/// bounds that both have.
pub(super) fn aligned(
    a: &NativeHistogram,
    b: &NativeHistogram,
) -> (NativeHistogram, NativeHistogram) {
    if is_custom(a) || is_custom(b) {
        let same = a.bounds == b.bounds;
        let both = |bound: &&f64| b.bounds.contains(bound);
        let bounds: Vec<f64> = a.bounds.iter().filter(both).copied().collect();
        return if same {
            (a.clone(), b.clone())
        } else {
            (with_bounds(a, &bounds), with_bounds(b, &bounds))
        };
    }
    let (mut a, mut b) = (a.clone(), b.clone());
    // Widening one may reach into a filled bucket of the other, which then has to widen, too.
    while a.zero_threshold != b.zero_threshold {
        if a.zero_threshold < b.zero_threshold {
            a = widened(&a, b.zero_threshold);
        } else {
            b = widened(&b, a.zero_threshold);
        }
    }
    let schema = a.schema.min(b.schema);
    (coarsened(&a, schema), coarsened(&b, schema))
}

/// With fewer custom bounds, all of which it has.
fn with_bounds(h: &NativeHistogram, bounds: &[f64]) -> NativeHistogram {
    let mut positive: BTreeMap<i32, f64> = BTreeMap::new();
    for (index, count) in &h.positive {
        let upper = bound(h, *index);
        let place = bounds.partition_point(|bound| *bound < upper);
        *positive.entry(i32::try_from(place).unwrap_or(i32::MAX)).or_default() += count;
    }
    NativeHistogram { bounds: bounds.into(), positive: positive.into_iter().collect(), ..h.clone() }
}

/// With a wider bucket around zero; it ends at the bound of a filled bucket, so it may become
/// wider than asked.
fn widened(h: &NativeHistogram, threshold: f64) -> NativeHistogram {
    let mut limit = threshold;
    // Bounds of filled buckets that hold the limit; each round takes at least one bucket more.
    loop {
        let holds = |(index, count): &&(i32, f64)| {
            *count != 0.0 && bound(h, index - 1) < limit && bound(h, *index) > limit
        };
        match h.positive.iter().chain(&h.negative).find(holds) {
            Some((index, _)) => limit = bound(h, *index),
            None => break,
        }
    }
    with_zero_bucket(h, limit)
}

/// With a bucket around zero that ends where another one does.
fn with_zero_bucket(h: &NativeHistogram, limit: f64) -> NativeHistogram {
    let mut wide = h.clone();
    wide.zero_threshold = limit;
    for side in [&mut wide.positive, &mut wide.negative] {
        side.retain(|(index, count)| {
            let inside = bound(h, index - 1) < limit;
            if inside {
                wide.zero_count += count;
            }
            !inside
        });
    }
    wide
}

/// In a coarser schema.
pub(super) fn coarsened(h: &NativeHistogram, schema: i8) -> NativeHistogram {
    if schema >= h.schema || is_custom(h) {
        return h.clone();
    }
    let shift = u32::from(h.schema.abs_diff(schema)).min(31);
    let fold = |side: &[(i32, f64)]| {
        let mut sums: BTreeMap<i32, f64> = BTreeMap::new();
        for (index, count) in side {
            *sums.entry((index.saturating_sub(1) >> shift) + 1).or_default() += count;
        }
        sums.into_iter().collect()
    };
    let (positive, negative) = (fold(&h.positive), fold(&h.negative));
    NativeHistogram { schema, positive, negative, ..h.clone() }
}

/// A sum of histograms with the part that rounding lost.
#[derive(Clone)]
pub(super) struct Summed {
    sum: NativeHistogram,
    /// Of the same buckets.
    lost: NativeHistogram,
}

impl Summed {
    /// Of one histogram.
    pub(super) fn new(first: &NativeHistogram) -> Summed {
        let zero = NativeHistogram {
            schema: first.schema,
            bounds: first.bounds.clone(),
            zero_threshold: first.zero_threshold,
            ..NativeHistogram::default()
        };
        Summed { sum: first.clone(), lost: zero }
    }

    /// Adds a histogram.
    pub(super) fn add(&self, h: &NativeHistogram) -> Result<Summed, Incompatible> {
        if is_custom(&self.sum) != is_custom(h) {
            return Err(Incompatible);
        }
        let (mut sum, h) = aligned(&self.sum, h);
        let mut lost = if is_custom(&sum) {
            with_bounds(&self.lost, &sum.bounds)
        } else {
            coarsened(&with_zero_bucket(&self.lost, sum.zero_threshold), sum.schema)
        };
        let add = |sum: &mut f64, lost: &mut f64, x: f64| {
            let next = Kahan { sum: *sum, lost: *lost }.add(x);
            (*sum, *lost) = (next.sum, next.lost);
        };
        add(&mut sum.zero_count, &mut lost.zero_count, h.zero_count);
        add(&mut sum.count, &mut lost.count, h.count);
        add(&mut sum.sum, &mut lost.sum, h.sum);
        sum.is_gauge |= h.is_gauge;
        let sides = [
            (&mut sum.positive, &mut lost.positive, &h.positive),
            (&mut sum.negative, &mut lost.negative, &h.negative),
        ];
        for (sums, losts, counts) in sides {
            let mut all: BTreeMap<i32, f64> = sums.iter().copied().collect();
            let mut rests: BTreeMap<i32, f64> = losts.iter().copied().collect();
            for (index, count) in counts {
                add(all.entry(*index).or_default(), rests.entry(*index).or_default(), *count);
            }
            *sums = all.into_iter().collect();
            *losts = rests.into_iter().collect();
        }
        Ok(Summed { sum, lost })
    }

    /// All of it times a number.
    pub(super) fn scaled(&self, factor: f64) -> Summed {
        Summed { sum: multiplied(&self.sum, factor), lost: multiplied(&self.lost, factor) }
    }

    /// Reports whether a number is too large.
    pub(super) fn overflows(&self) -> bool {
        let sides = self.sum.positive.iter().chain(&self.sum.negative).map(|bucket| bucket.1);
        let h = &self.sum;
        sides.chain([h.count, h.sum, h.zero_count]).any(f64::is_infinite)
    }

    /// What was added up.
    pub(super) fn total(&self) -> NativeHistogram {
        added(&self.sum, &self.lost).unwrap_or_else(|_| self.sum.clone())
    }
}

/// Reports whether a counter must have been reset between two readings.
pub(super) fn is_reset(now: &NativeHistogram, before: &NativeHistogram) -> bool {
    if now.count < before.count || is_custom(now) != is_custom(before) {
        return true;
    }
    if is_custom(now) {
        let (now, before) = aligned(now, before);
        return any_fell(&now.positive, &before.positive);
    }
    if now.schema > before.schema || now.zero_threshold < before.zero_threshold {
        return true;
    }
    let before = widened(before, now.zero_threshold);
    if before.zero_threshold != now.zero_threshold || now.zero_count < before.zero_count {
        return true;
    }
    let before = coarsened(&before, now.schema);
    any_fell(&now.positive, &before.positive) || any_fell(&now.negative, &before.negative)
}

fn any_fell(now: &[(i32, f64)], before: &[(i32, f64)]) -> bool {
    before.iter().any(|(index, count)| {
        let place = now.binary_search_by_key(index, |bucket| bucket.0);
        let current = place.ok().and_then(|place| now.get(place)).map_or(0.0, |bucket| bucket.1);
        current < *count
    })
}

/// Same to the bit, but for whether it is a gauge.
pub(super) fn is_same(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    let bits = |x: f64, y: f64| x.to_bits() == y.to_bits();
    let side = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && bits(a.1, b.1))
    };
    a.schema == b.schema
        && bits(a.count, b.count)
        && bits(a.sum, b.sum)
        && a.bounds == b.bounds
        && a.zero_threshold == b.zero_threshold
        && bits(a.zero_count, b.zero_count)
        && side(&a.positive, &b.positive)
        && side(&a.negative, &b.negative)
}

/// `{count:3, sum:9, (1,2]:3}`, as Prometheus prints one.
pub(crate) fn text(h: &NativeHistogram) -> String {
    let mut text = format!("{{count:{}, sum:{}", h.count, h.sum);
    for bucket in buckets(h).iter().filter(|bucket| bucket.count != 0.0) {
        let is_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0 && !is_custom(h);
        let open = if is_zero || bucket.upper <= 0.0 && !is_custom(h) { '[' } else { '(' };
        let close = if bucket.upper <= 0.0 && !is_custom(h) && !is_zero { ')' } else { ']' };
        let Bucket { lower, upper, count } = bucket;
        text.push_str(&format!(", {open}{lower},{upper}{close}:{count}"));
    }
    text.push('}');
    text
}
