//! Robust statistics: Theil-Sen trend with an interval, exact binomial tails,
//! Benjamini-Hochberg.
//!
//! Everything is deterministic and takes plain slices. Sizes are bounded by the
//! callers (a few hundred points); Theil-Sen is quadratic in them.

use model::Interval;

/// A robust linear trend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Slope per unit of x, with its 95 % interval.
    pub slope: Interval,
    /// Value of the line at x = 0.
    pub intercept: f64,
    /// Kendall's S: pairs that rise less pairs that fall.
    pub kendall_s: i64,
    /// One-sided p-value of "no rise" (Mann-Kendall with ties).
    pub p_rise: f64,
    /// Number of points.
    pub points: usize,
}

/// Fits a line through the median of all pairwise slopes (Theil 1950, Sen 1968);
/// the interval is Sen's, by the variance of Kendall's S. `None` with fewer than
/// three points or without spread in x.
pub fn theil_sen(points: &[(f64, f64)]) -> Option<Trend> {
    if points.len() < 3 {
        return None;
    }
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    let mut kendall_s = 0;
    for (index, (x1, y1)) in points.iter().enumerate() {
        for (x2, y2) in points.iter().skip(index + 1) {
            if x1 == x2 {
                continue;
            }
            let slope = (y2 - y1) / (x2 - x1);
            kendall_s += if slope > 0.0 { 1 } else { -i64::from(slope < 0.0) };
            slopes.push(slope);
        }
    }
    if slopes.is_empty() {
        return None;
    }
    slopes.sort_by(f64::total_cmp);
    let variance = kendall_variance(points);
    let half_width = 1.959_964 * variance.sqrt() / 2.0;
    let middle = slopes.len() as f64 / 2.0;
    let at = |rank: f64| {
        let index = rank.round().clamp(0.0, (slopes.len() - 1) as f64) as usize;
        slopes.get(index).copied().unwrap_or(0.0)
    };
    let estimate = median_of_sorted(&slopes);
    let low = at(middle - half_width - 1.0).min(estimate);
    let high = at(middle + half_width).max(estimate);
    let mut offsets: Vec<f64> = points.iter().map(|(x, y)| y - estimate * x).collect();
    offsets.sort_by(f64::total_cmp);
    let z = match kendall_s {
        0 => 0.0,
        s => (s as f64 - s.signum() as f64) / variance.sqrt().max(f64::MIN_POSITIVE),
    };
    Some(Trend {
        slope: Interval { estimate, low, high },
        intercept: median_of_sorted(&offsets),
        kendall_s,
        p_rise: normal_tail(z),
        points: points.len(),
    })
}

/// Variance of Kendall's S under "no trend", corrected for ties in y.
fn kendall_variance(points: &[(f64, f64)]) -> f64 {
    let term = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0);
    let mut values: Vec<f64> = points.iter().map(|(_, y)| *y).collect();
    values.sort_by(f64::total_cmp);
    let ties: f64 = values.chunk_by(|a, b| a == b).map(|tie| term(tie.len() as f64)).sum();
    (term(points.len() as f64) - ties) / 18.0
}

/// Median; `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (!sorted.is_empty()).then(|| median_of_sorted(&sorted))
}

fn median_of_sorted(sorted: &[f64]) -> f64 {
    let at = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => at(len / 2),
        len => f64::midpoint(at(len / 2 - 1), at(len / 2)),
    }
}

/// P(Z >= z) of the standard normal distribution (Abramowitz and Stegun 7.1.26,
/// error below 1.5e-7).
pub fn normal_tail(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let poly = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let tail = 0.5 * poly * (-x * x).exp();
    if z >= 0.0 { tail } else { 1.0 - tail }
}

/// P(X >= k) for X ~ Bin(n, 1/2): how likely at least `k` of `n` coin flips are
/// heads. Exact to n = 1000, normal with continuity correction beyond.
pub fn binomial_tail_half(k: u64, n: u64) -> f64 {
    if k == 0 {
        return 1.0;
    }
    if k > n {
        return 0.0;
    }
    if n > 1000 {
        let sd = (n as f64).sqrt() / 2.0;
        return normal_tail((k as f64 - 0.5 - n as f64 / 2.0) / sd);
    }
    // Terms from i = n down to k: C(n, i) / 2^n, in logarithms against underflow.
    let mut log_term = -(n as f64) * std::f64::consts::LN_2;
    let mut sum = log_term.exp();
    for i in (k..n).rev() {
        log_term += ((i + 1) as f64).ln() - ((n - i) as f64).ln();
        sum += log_term.exp();
    }
    sum.min(1.0)
}

/// Adjusts p-values for many tests (Benjamini and Hochberg 1995): a value below q
/// keeps the share of false discoveries below q.
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    let value = |index: usize| p_values.get(index).copied().unwrap_or(1.0);
    order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
    let mut adjusted = vec![1.0; p_values.len()];
    let mut least = 1.0_f64;
    for (rank, &index) in order.iter().enumerate().rev() {
        least = least.min(value(index) * p_values.len() as f64 / (rank + 1) as f64);
        if let Some(slot) = adjusted.get_mut(index) {
            *slot = least;
        }
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binomial_tails_match_brute_force() {
        for n in 0_u64..=16 {
            for k in 0..=n {
                let heads = (0_u64..1 << n).filter(|flips| flips.count_ones() as u64 >= k).count();
                let expected = heads as f64 / (1_u64 << n) as f64;
                let found = binomial_tail_half(k, n);
                assert!((found - expected).abs() < 1e-9, "{k} of {n}: {found} {expected}");
            }
        }
        // Exact and normal agree where they meet.
        let (exact, normal) = (binomial_tail_half(530, 1000), binomial_tail_half(531, 1001));
        assert!((exact - normal).abs() < 0.003, "{exact} {normal}");
    }

    #[test]
    fn trend_of_a_line_is_the_line() {
        let points: Vec<_> = (0..20).map(|x| (f64::from(x), 3.0 * f64::from(x) + 7.0)).collect();
        let trend = theil_sen(&points).unwrap();
        assert_eq!(trend.slope, Interval { estimate: 3.0, low: 3.0, high: 3.0 });
        assert_eq!(trend.intercept, 7.0);
        assert_eq!(trend.kendall_s, 190);
        assert!(trend.p_rise < 1e-8);
    }

    #[test]
    fn trend_ignores_outliers_and_knows_flatness() {
        let mut points: Vec<_> = (0..21).map(|x| (f64::from(x), f64::from(x))).collect();
        points[3].1 = 1e9;
        points[15].1 = -1e9;
        let trend = theil_sen(&points).unwrap();
        assert!((trend.slope.estimate - 1.0).abs() < 1e-9);
        let flat: Vec<_> = (0..20).map(|x| (f64::from(x), f64::from(x % 2))).collect();
        let trend = theil_sen(&flat).unwrap();
        assert!(trend.slope.low <= 0.0 && trend.slope.high >= 0.0 && trend.p_rise > 0.05);
        assert!(theil_sen(&[(0.0, 1.0), (1.0, 2.0)]).is_none());
        assert!(theil_sen(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]).is_none());
    }

    #[test]
    fn adjusted_p_values_match_the_published_example() {
        // R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "BH")
        let adjusted = benjamini_hochberg(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.02, 0.04, 0.04, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
    }

    #[test]
    fn normal_tail_has_its_landmarks() {
        for (z, tail) in [(0.0, 0.5), (1.644_854, 0.05), (3.0, 0.001_349_9), (-1.0, 0.841_344_7)] {
            assert!((normal_tail(z) - tail).abs() < 2e-7, "{z}");
        }
    }
}
