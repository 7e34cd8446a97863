//! Sums, quantiles and regressions, rounded as Prometheus rounds them.

/// A sum with the part that rounding lost (Kahan, as Neumaier improved it).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kahan {
    pub sum: f64,
    pub lost: f64,
}

impl Kahan {
    /// Adds a number.
    pub(super) fn add(self, x: f64) -> Kahan {
        let sum = self.sum + x;
        let lost = if sum.is_infinite() {
            0.0
        } else if self.sum.abs() >= x.abs() {
            self.lost + ((self.sum - sum) + x)
        } else {
            self.lost + ((x - sum) + self.sum)
        };
        Kahan { sum, lost }
    }

    /// What was added up.
    pub(super) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

/// A mean that adds up as long as that does not overflow, and moves the mean from then on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    value: Kahan,
    count: f64,
    is_moving: bool,
}

impl Mean {
    /// Of one number.
    pub(super) fn new(first: f64) -> Mean {
        Mean { value: Kahan { sum: first, lost: 0.0 }, count: 1.0, is_moving: false }
    }

    /// Takes another number in.
    pub(super) fn add(&mut self, x: f64) {
        self.count += 1.0;
        if !self.is_moving {
            let next = self.value.add(x);
            if !next.sum.is_infinite() {
                self.value = next;
                return;
            }
            self.is_moving = true;
            let before = self.count - 1.0;
            self.value = Kahan { sum: self.value.sum / before, lost: self.value.lost / before };
        }
        let share = (self.count - 1.0) / self.count;
        let shrunk = Kahan { sum: share * self.value.sum, lost: share * self.value.lost };
        self.value = shrunk.add(x / self.count);
    }

    /// The mean.
    pub(super) fn get(self) -> f64 {
        let Kahan { sum, lost } = self.value;
        if self.is_moving { sum + lost } else { sum / self.count + lost / self.count }
    }
}

/// The quantile of values, between neighbours where it falls between them.
pub(super) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(|a, b| compare(*a, *b));
    let last = values.len() - 1;
    let rank = q * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let weight = rank - rank.floor();
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    at(lower) * (1.0 - weight) + at((lower + 1).min(last)) * weight
}

/// Numbers in order, NaN below all.
pub(super) fn compare(a: f64, b: f64) -> std::cmp::Ordering {
    b.is_nan().cmp(&a.is_nan()).then(a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal))
}

/// Slope and value at `origin` of the line through points, by least squares. There are points.
pub(super) fn regression(points: &[(i64, f64)], origin: i64) -> (f64, f64) {
    let [mut sum_x, mut sum_y, mut sum_xy, mut sum_xx] = [Kahan::default(); 4];
    let first = points.first().map_or(f64::NAN, |point| point.1);
    // As Prometheus compares: a NaN differs from itself, unless it is the only one.
    if points.iter().skip(1).all(|point| point.1 == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    for (time, y) in points {
        let x = time.saturating_sub(origin) as f64 / 1e3;
        sum_x = sum_x.add(x);
        sum_y = sum_y.add(*y);
        sum_xy = sum_xy.add(x * y);
        sum_xx = sum_xx.add(x * x);
    }
    let n = points.len() as f64;
    let [sum_x, sum_y, sum_xy, sum_xx] = [sum_x, sum_y, sum_xy, sum_xx].map(|k| k.sum + k.lost);
    let covariance = sum_xy - sum_x * sum_y / n;
    let variance = sum_xx - sum_x * sum_x / n;
    let slope = covariance / variance;
    (slope, sum_y / n - slope * sum_x / n)
}

/// Reports whether numbers differ by no more than a share of their size.
pub(super) fn almost_equal(a: f64, b: f64, tolerance: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < tolerance * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < tolerance
}

#[cfg(test)]
mod tests {
    use super::{Kahan, Mean, quantile, regression};

    #[test]
    fn sums_and_means_keep_what_rounding_loses() {
        let sum = [1.0, 1e100, 1.0, -1e100].iter().fold(Kahan::default(), |sum, x| sum.add(*x));
        assert_eq!(sum.total(), 2.0);
        let mut mean = Mean::new(1.7e308);
        mean.add(1.7e308);
        mean.add(1.7e308);
        assert!((mean.get() - 1.7e308).abs() < 1e294);
    }

    #[test]
    fn quantiles_lie_between_neighbours() {
        assert_eq!(quantile(0.5, &mut [4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(1.0, &mut [4.0, f64::NAN]), 4.0);
        assert_eq!(quantile(-1.0, &mut [4.0]), f64::NEG_INFINITY);
        assert!(quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn lines_are_found() {
        let points = [(0, 1.0), (1000, 3.0), (2000, 5.0)];
        assert_eq!(regression(&points, 2000), (2.0, 5.0));
        assert_eq!(regression(&[(0, 4.0), (1000, 4.0)], 9), (0.0, 4.0));
        assert!(regression(&[(0, f64::INFINITY), (1, f64::INFINITY)], 9).0.is_nan());
    }
}
