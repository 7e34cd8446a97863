//! Quantiles and fractions of histograms, classic and native.

use model::series::NativeHistogram;

use super::math::{Kahan, almost_equal};
use super::native::{self, Bucket};

/// Differences between buckets below this share come from rounding.
const SMALL_DIFFERENCE: f64 = 1e-12;

/// A cumulative bucket of a classic histogram: its upper bound and its count.
pub(super) type Classic = (f64, f64);

/// Buckets in order, those of the same bound joined; `None` without one of infinity.
fn prepared(buckets: &mut Vec<Classic>) -> Option<&mut Vec<Classic>> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last()?.0 != f64::INFINITY {
        return None;
    }
    buckets.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1 += later.1;
        }
        same
    });
    Some(buckets)
}

/// The quantile of a classic histogram.
pub(super) fn classic_quantile(q: f64, buckets: &mut Vec<Classic>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let Some(buckets) = prepared(buckets) else { return f64::NAN };
    let mut previous = buckets.first().map_or(0.0, |bucket| bucket.1);
    for bucket in buckets.iter_mut().skip(1) {
        // Counts may fall a little by rounding, or because they were read at different times.
        if bucket.1 < previous || almost_equal(previous, bucket.1, SMALL_DIFFERENCE) {
            bucket.1 = previous;
        } else {
            previous = bucket.1;
        }
    }
    let [.., (highest, _), (_, observations)] = *buckets.as_slice() else { return f64::NAN };
    if observations == 0.0 {
        return f64::NAN;
    }
    let rank = q * observations;
    let finite = buckets.len() - 1;
    let place = buckets.iter().take(finite).position(|bucket| bucket.1 >= rank);
    let Some(place) = place else { return highest };
    let (end, count) = buckets.get(place).copied().unwrap_or_default();
    if place == 0 {
        return if end <= 0.0 { end } else { end * (rank / count) };
    }
    let (start, below) = buckets.get(place - 1).copied().unwrap_or_default();
    start + (end - start) * ((rank - below) / (count - below))
}

/// The share of a classic histogram between two values.
pub(super) fn classic_fraction(lower: f64, upper: f64, buckets: &mut Vec<Classic>) -> f64 {
    let Some(buckets) = prepared(buckets) else { return f64::NAN };
    let count = buckets.last().map_or(0.0, |bucket| bucket.1);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let first = buckets.first().map_or(0.0, |bucket| bucket.0);
    let mut start = if first <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    let (mut rank, mut ranks) = (0.0, [None, None]);
    for (end, total) in buckets.iter().copied() {
        for (value, found) in [lower, upper].iter().zip(&mut ranks) {
            if found.is_none() && start >= *value {
                *found = Some(rank);
            } else if found.is_none() && end > *value {
                *found = Some(if start == f64::NEG_INFINITY {
                    total
                } else {
                    rank + (total - rank) * (value - start) / (end - start)
                });
            }
        }
        (rank, start) = (total, end);
    }
    let [low, high] = ranks.map(|rank| rank.unwrap_or(count).min(count));
    (high - low) / count
}

/// The quantile of a native histogram.
pub(super) fn native_quantile(q: f64, h: &NativeHistogram) -> f64 {
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    if h.count == 0.0 || q.is_nan() {
        return f64::NAN;
    }
    // From above for high quantiles: less is lost by rounding. Observations that are NaN are in
    // no bucket, then only from below is right.
    let from_below = h.sum.is_nan() || q < 0.5;
    let mut all = native::buckets(h);
    if !from_below {
        all.reverse();
    }
    let mut rank = if from_below { q * h.count } else { (1.0 - q) * h.count };
    let mut bucket = Bucket { lower: 0.0, upper: 0.0, count: 0.0 };
    let mut count = 0.0;
    for next in all.iter().filter(|bucket| bucket.count != 0.0) {
        bucket = *next;
        count += bucket.count;
        if count >= rank {
            break;
        }
    }
    if let Some(end) = limit_bucket(h, &mut bucket) {
        return end;
    }
    count = count.min(h.count);
    if count < rank {
        return if h.sum.is_nan() { f64::NAN } else { bucket.upper };
    }
    rank = if from_below { rank - (count - bucket.count) } else { count - rank };
    interpolated(h, bucket, rank / bucket.count)
}

/// Bounds a bucket that reaches further than there can be observations; returns the answer where
/// there is nothing to interpolate.
fn limit_bucket(h: &NativeHistogram, bucket: &mut Bucket) -> Option<f64> {
    if native::is_custom(h) {
        if bucket.lower == f64::NEG_INFINITY {
            if bucket.upper <= 0.0 {
                return Some(bucket.upper);
            }
            bucket.lower = 0.0;
        } else if bucket.upper == f64::INFINITY {
            return Some(bucket.lower);
        }
    } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
        limit_zero_bucket(h, bucket);
    }
    None
}

fn limit_zero_bucket(h: &NativeHistogram, bucket: &mut Bucket) {
    if h.negative.is_empty() && !h.positive.is_empty() {
        bucket.lower = 0.0;
    } else if h.positive.is_empty() && !h.negative.is_empty() {
        bucket.upper = 0.0;
    }
}

/// A place in a bucket: linear around zero and between custom bounds, else on a log scale.
fn interpolated(h: &NativeHistogram, bucket: Bucket, fraction: f64) -> f64 {
    let Bucket { lower, upper, .. } = bucket;
    if native::is_custom(h) || lower <= 0.0 && upper >= 0.0 {
        return lower + (upper - lower) * fraction;
    }
    let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
    if lower > 0.0 {
        return (log_lower + (log_upper - log_lower) * fraction).exp2();
    }
    -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
}

/// The share of a native histogram between two values.
pub(super) fn native_fraction(lower: f64, upper: f64, h: &NativeHistogram) -> f64 {
    if h.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut rank, mut ranks) = (0.0, [None, None]);
    let mut in_buckets = 0.0;
    for mut bucket in native::buckets(h) {
        in_buckets += bucket.count;
        let is_zero = bucket.lower <= 0.0 && bucket.upper >= 0.0;
        if is_zero {
            limit_zero_bucket(h, &mut bucket);
        }
        for (value, found) in [lower, upper].iter().zip(&mut ranks) {
            if found.is_some() {
                continue;
            }
            if bucket.lower >= *value {
                *found = Some(rank);
            } else if bucket.upper > *value {
                *found = Some(if bucket.lower == f64::NEG_INFINITY {
                    bucket.count
                } else {
                    let linear = is_zero || native::is_custom(h);
                    rank + bucket.count * share_below(bucket, *value, linear)
                });
            }
        }
        rank += bucket.count;
    }
    let count = if h.sum.is_nan() { in_buckets } else { h.count };
    let [low, high] = ranks.map(|rank| rank.unwrap_or(count).min(count));
    (high - low) / h.count
}

/// Which share of a bucket lies below a value in it.
fn share_below(bucket: Bucket, value: f64, linear: bool) -> f64 {
    let Bucket { lower, upper, .. } = bucket;
    if linear {
        return (value - lower) / (upper - lower);
    }
    let [log_lower, log_upper, log_value] = [lower, upper, value].map(|x| x.abs().log2());
    if value > 0.0 {
        return (log_value - log_lower) / (log_upper - log_lower);
    }
    1.0 - (log_value - log_upper) / (log_lower - log_upper)
}

/// The variance of what a native histogram holds, each bucket at its middle.
pub(super) fn native_variance(h: &NativeHistogram) -> f64 {
    let mean = h.sum / h.count;
    let mut variance = Kahan::default();
    for Bucket { lower, upper, count } in native::buckets(h) {
        if count == 0.0 {
            continue;
        }
        let middle = if native::is_custom(h) {
            (upper + lower) / 2.0
        } else if lower <= 0.0 && upper >= 0.0 {
            0.0
        } else {
            let middle = (upper * lower).sqrt();
            if upper < 0.0 { -middle } else { middle }
        };
        let delta = middle - mean;
        variance = variance.add(count * delta * delta);
    }
    (variance.sum + variance.lost) / h.count
}

#[cfg(test)]
mod tests {
    use super::{classic_fraction, classic_quantile};

    #[test]
    fn classic_histograms_are_interpolated() {
        let buckets = || vec![(1.0, 10.0), (f64::INFINITY, 20.0), (2.0, 20.0)];
        assert_eq!(classic_quantile(0.75, &mut buckets()), 1.5);
        assert_eq!(classic_quantile(0.25, &mut buckets()), 0.5);
        assert!(classic_quantile(0.5, &mut vec![(1.0, 10.0)]).is_nan());
        assert!(classic_quantile(0.5, &mut Vec::new()).is_nan());
        assert_eq!(classic_fraction(0.0, 1.5, &mut buckets()), 0.75);
    }
}
