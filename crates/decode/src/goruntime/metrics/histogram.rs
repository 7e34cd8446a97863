//! The bucket boundaries of the runtime's histograms: runtime/histogram.go and metrics.go.

use std::sync::{Arc, LazyLock};

use model::go::CLASS_SIZES;
use model::metrics::Histogram;

use super::heap::Sized;
use crate::bytes::Bytes;

/// Values are sorted by their highest bit and the two bits that follow it.
const MIN_BITS: u32 = 9;
const MAX_BITS: u32 = 48;
const SUB_BITS: u32 = 2;
const SUB_BUCKETS: u32 = 1 << SUB_BITS;
const COUNTS: usize = ((MAX_BITS - MIN_BITS + 1) * SUB_BUCKETS) as usize;

/// Bytes of a runtime.timeHistogram: its counts, underflow and overflow.
pub(super) const TIME_HISTOGRAM_BYTES: usize = (COUNTS + 2) * 8;

/// Boundaries in seconds: made once for all programs.
static TIME_BOUNDS: LazyLock<Arc<[f64]>> = LazyLock::new(|| time_bounds().into());

/// Boundaries of sizes.
static SIZE_BOUNDS: LazyLock<Arc<[f64]>> = LazyLock::new(|| {
    let classes = CLASS_SIZES.iter().skip(1).map(|size| (size + 1) as f64);
    std::iter::once(1.0).chain(classes).chain([f64::INFINITY]).collect()
});

fn time_bounds() -> Vec<f64> {
    let seconds = |nanos: u64| nanos as f64 / 1e9;
    let mut bounds = vec![f64::NEG_INFINITY];
    bounds.extend((0..SUB_BUCKETS).map(|sub| seconds(u64::from(sub) << (MIN_BITS - 1 - SUB_BITS))));
    for bit in MIN_BITS..MAX_BITS {
        let buckets = (0..SUB_BUCKETS)
            .map(|sub| seconds(1 << (bit - 1) | u64::from(sub) << (bit - 1 - SUB_BITS)));
        bounds.extend(buckets);
    }
    bounds.push(seconds(1 << (MAX_BITS - 1)));
    bounds.push(f64::INFINITY);
    bounds
}

/// A runtime.timeHistogram.
pub(super) fn time_histogram(bytes: Bytes<'_>) -> Option<Histogram> {
    let count = |index: usize| bytes.u64(index * 8);
    let mut counts = Vec::with_capacity(COUNTS + 2);
    counts.push(count(COUNTS)?);
    for index in 0..COUNTS {
        counts.push(count(index)?);
    }
    counts.push(count(COUNTS + 1)?);
    Some(Histogram { bounds: Arc::clone(&TIME_BOUNDS), counts })
}

/// Objects by the sizes that were asked for: a class holds what is above the class below it.
pub(super) fn size_histogram(sized: &Sized) -> Histogram {
    let classes = sized.class_counts.iter().skip(1).copied();
    let counts = classes.chain([sized.large_count]).collect();
    Histogram { bounds: Arc::clone(&SIZE_BOUNDS), counts }
}

#[cfg(test)]
mod tests {
    use super::{COUNTS, TIME_HISTOGRAM_BYTES, time_bounds, time_histogram};
    use crate::bytes::Bytes;

    #[test]
    fn bounds_rise_and_underflow_comes_first() {
        let bounds = time_bounds();
        assert_eq!(bounds.len(), COUNTS + 3);
        assert!(bounds.windows(2).all(|pair| pair[0] < pair[1]), "{bounds:?}");
        assert_eq!(bounds[1..7], [0.0, 6.4e-8, 1.28e-7, 1.92e-7, 2.56e-7, 3.2e-7]);
        let words: Vec<u8> = (0..COUNTS as u64 + 2).flat_map(u64::to_le_bytes).collect();
        let read = time_histogram(Bytes(&words)).unwrap();
        assert_eq!((read.counts[0], read.counts[1], read.counts[161]), (160, 0, 161));
        assert_eq!(time_histogram(Bytes(&words[..TIME_HISTOGRAM_BYTES - 1])), None);
    }
}
