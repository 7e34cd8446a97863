//! What the runtime's distributions say, and what was added to them between two readings.

use std::sync::Arc;

use model::metrics::Histogram;

/// How many values a distribution has.
pub fn count(histogram: &Histogram) -> u64 {
    histogram.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
}

/// The bucket in which the value of this rank lies, 0 the least and 1 the greatest: at least
/// the first, and below the second. `None` of an empty distribution.
pub fn quantile(histogram: &Histogram, rank: f64) -> Option<(f64, f64)> {
    let count = count(histogram);
    let wanted = ((rank * count as f64).ceil() as u64).clamp(1, count.max(1));
    let mut seen = 0_u64;
    for (pair, count) in histogram.bounds.windows(2).zip(&histogram.counts) {
        seen = seen.saturating_add(*count);
        if let [low, high] = pair
            && seen >= wanted
        {
            return Some((*low, *high));
        }
    }
    None
}

/// What came to a distribution since an earlier reading; `None` where they do not belong
/// together, because the program started anew.
pub fn added(later: &Histogram, earlier: &Histogram) -> Option<Histogram> {
    if later.bounds != earlier.bounds || later.counts.len() != earlier.counts.len() {
        return None;
    }
    let pairs = later.counts.iter().zip(&earlier.counts);
    let counts =
        pairs.map(|(later, earlier)| later.checked_sub(*earlier)).collect::<Option<_>>()?;
    Some(Histogram { bounds: Arc::clone(&later.bounds), counts })
}

#[cfg(test)]
mod tests {
    use super::{added, count, quantile};
    use model::metrics::Histogram;

    fn histogram(counts: &[u64]) -> Histogram {
        let bounds = [f64::NEG_INFINITY, 1.0, 2.0, 4.0, f64::INFINITY].into();
        Histogram { bounds, counts: counts.to_vec() }
    }

    #[test]
    fn ranks_lie_in_buckets() {
        let hundred = histogram(&[0, 50, 49, 1]);
        assert_eq!(count(&hundred), 100);
        let at = |rank| quantile(&hundred, rank).unwrap();
        assert_eq!([at(0.0), at(0.5)], [(1.0, 2.0); 2]);
        assert_eq!([at(0.51), at(0.99)], [(2.0, 4.0); 2]);
        assert_eq!(at(1.0), (4.0, f64::INFINITY));
        assert_eq!(quantile(&histogram(&[0; 4]), 0.5), None);
        assert_eq!(quantile(&Histogram::default(), 0.5), None);
    }

    #[test]
    fn only_what_grew_is_a_difference() {
        let (earlier, later) = (histogram(&[0, 1, 2, 3]), histogram(&[0, 1, 5, 3]));
        assert_eq!(added(&later, &earlier).unwrap().counts, [0, 0, 3, 0]);
        assert_eq!(added(&earlier, &later), None);
        assert_eq!(added(&later, &Histogram::default()), None);
    }
}
