//! The least share of any window, for every length of windows.
//!
//! The share of a window is a continuous function of where it begins, and linear between the
//! moments at which one of its edges meets a change: only those need to be looked at. The
//! series are cut into bands; of each the least that a window beginning there could have is
//! known at once, so that only the bands are looked into that may have the worst ones.

use model::trace::Time;

use super::distribution::Distribution;
use super::worst::{Seen, Window};
use super::{Change, Utilization};

/// As many as Go has, and more where many changes would be in each.
const BANDS_MIN: usize = 1000;
const BANDS_MAX: usize = 1 << 14;
const CHANGES_OF_BAND: usize = 64;

/// Answers questions on windows. Sums up each change once.
#[derive(Debug)]
pub struct Curve {
    series: Vec<Series>,
}

#[derive(Debug)]
struct Series {
    changes: Vec<Change>,
    /// The integral of the share up to each change, in nanoseconds.
    sums: Vec<f64>,
    /// One more than there are, for the sum at the end.
    bands: Vec<Band>,
    band_nanos: i64,
}

#[derive(Clone, Copy, Debug)]
struct Band {
    /// The least share at any moment of it.
    share_min: f64,
    /// The integral up to its begin.
    sum: f64,
    /// The last change at or before its begin.
    at: usize,
}

/// The least that a window beginning in a band could have.
#[derive(Clone, Copy, Debug)]
struct Bound {
    series: usize,
    band: usize,
    share: f64,
}

impl Curve {
    /// Prepares for questions.
    pub fn new(utilization: Utilization) -> Curve {
        let changes = utilization.series.iter().map(Vec::len).max().unwrap_or(0);
        let bands = (changes / CHANGES_OF_BAND).clamp(BANDS_MIN, BANDS_MAX);
        Curve::with_bands(utilization, bands)
    }

    /// The number of bands changes the cost and nothing else.
    pub(super) fn with_bands(utilization: Utilization, bands: usize) -> Curve {
        let series = utilization.series.into_iter().filter(|changes| !changes.is_empty());
        Curve { series: series.map(|changes| Series::new(changes, bands)).collect() }
    }

    /// The length of the longest series.
    pub fn duration_nanos(&self) -> u64 {
        let lengths = self.series.iter().map(|series| series.nanos().unsigned_abs());
        lengths.max().unwrap_or(0)
    }

    /// The least share of the Ps that any window of this length had.
    pub fn minimum(&self, window_nanos: u64) -> f64 {
        let mut seen = Seen::minimum();
        self.look(window_nanos, &mut seen);
        seen.minimum
    }

    /// The worst windows of this length that do not overlap, worst first; no more than
    /// `count`.
    pub fn worst(&self, window_nanos: u64, count: usize) -> Vec<Window> {
        let mut seen = Seen::worst(count);
        if count > 0 {
            self.look(window_nanos, &mut seen);
        }
        seen.into_worst()
    }

    /// For each of these parts of all windows of this length, from 0 to 1, the share that no
    /// more of them fall short of; and the least of all.
    pub fn quantiles(&self, window_nanos: u64, parts: &[f64]) -> (Vec<f64>, f64) {
        let window = i64::try_from(window_nanos).unwrap_or(i64::MAX);
        let spans = self.series.iter().map(|series| series.nanos().saturating_sub(window).max(0));
        let mass = spans.fold(0_i64, i64::saturating_add) as f64;
        let part_max = parts.iter().copied().fold(0.0, f64::max);
        let mut seen = Seen::distribution(Distribution::up_to(mass * part_max));
        self.look(window_nanos, &mut seen);
        let (minimum, distribution) = (seen.minimum, seen.distribution.map(Distribution::sorted));
        // There is none when a window is as long as the trace: it can begin nowhere else.
        let quantile = |part: &f64| distribution.as_ref()?.at(mass * part);
        (parts.iter().map(|part| quantile(part).unwrap_or(minimum)).collect(), minimum)
    }

    fn look(&self, window_nanos: u64, seen: &mut Seen) {
        let window_nanos = i64::try_from(window_nanos).unwrap_or(i64::MAX);
        if window_nanos == 0 {
            seen.minimum = 0.0;
            return;
        }
        let mut bounds = Vec::new();
        for (at, series) in self.series.iter().enumerate().filter(|(_, it)| it.nanos() > 0) {
            series.bounds(at, window_nanos.min(series.nanos()), &mut bounds);
        }
        bounds.sort_by(|a, b| a.share.total_cmp(&b.share));
        for bound in bounds {
            if bound.share >= seen.bound {
                return;
            }
            if let Some(series) = self.series.get(bound.series) {
                series.look_into(bound.band, window_nanos.min(series.nanos()), seen);
            }
        }
    }
}

impl Series {
    fn new(changes: Vec<Change>, bands: usize) -> Series {
        let mut sums = Vec::with_capacity(changes.len());
        let (mut last, mut sum) = (Change { time: Time(0), share: 0.0 }, 0.0);
        for change in &changes {
            sum += last.share * change.time.0.saturating_sub(last.time.0) as f64;
            sums.push(sum);
            last = *change;
        }
        let count = bands.min(changes.len()).max(1);
        let mut series = Series { changes, sums, bands: Vec::new(), band_nanos: 1 };
        series.band_nanos = (series.nanos().saturating_add(count as i64 - 1) / count as i64).max(1);
        let mut at = 0;
        for band in 0..=count {
            let (start, end) = series.band_times(band);
            let sum = series.sum_until(start, &mut at);
            let inside = series.changes.get(at..).unwrap_or_default().iter();
            let inside = inside.take_while(|change| change.time.0 < end);
            let share_min = inside.map(|change| change.share).fold(1.0, f64::min);
            series.bands.push(Band { share_min, sum, at });
        }
        series
    }

    fn start(&self) -> i64 {
        self.changes.first().map_or(0, |change| change.time.0)
    }

    fn end(&self) -> i64 {
        self.changes.last().map_or(0, |change| change.time.0)
    }

    fn nanos(&self) -> i64 {
        self.end().saturating_sub(self.start())
    }

    fn band_times(&self, band: usize) -> (i64, i64) {
        let start = (band as i64).saturating_mul(self.band_nanos).saturating_add(self.start());
        (start, start.saturating_add(self.band_nanos))
    }

    /// The integral up to a time, and in `at` the last change at or before it. Times must not
    /// decrease from one call with the same `at` to the next.
    fn sum_until(&self, time: i64, at: &mut usize) -> f64 {
        // Mostly near; else anywhere.
        const NEAR: usize = 8;
        let is_after = |change: &Change| change.time.0 > time;
        let rest = self.changes.get(*at..).unwrap_or_default();
        let passed = match rest.get(NEAR).is_some_and(is_after) {
            true => rest.iter().position(is_after).unwrap_or(rest.len()),
            false => rest.partition_point(|change| !is_after(change)),
        };
        *at += passed.saturating_sub(1);
        let (Some(change), Some(sum)) = (self.changes.get(*at), self.sums.get(*at)) else {
            return 0.0;
        };
        sum + change.share * time.saturating_sub(change.time.0) as f64
    }

    /// The first change after a time, looked for from `at` on.
    fn next_change(&self, time: i64, at: usize) -> i64 {
        let rest = self.changes.get(at..).unwrap_or_default();
        let next = rest.iter().find(|change| change.time.0 > time);
        next.map_or(i64::MAX, |change| change.time.0)
    }

    /// What windows could have at least, for each band in which they may begin.
    fn bounds(&self, series: usize, window: i64, bounds: &mut Vec<Bound>) {
        // A window touches so many bands at least and at most, however it lies.
        let least = (window.saturating_add(self.band_nanos - 1) / self.band_nanos).max(1);
        let most = window.saturating_add(2 * (self.band_nanos - 1)) / self.band_nanos;
        let (least, most) = (least as usize, most.max(1) as usize);
        let tail = (window % self.band_nanos) as f64;
        let band = |at: usize| self.bands.get(at);
        for first in 0..(self.bands.len() + 1).saturating_sub(most) {
            let ends = (band(first), band(first + least - 1), band(first + most - 1));
            let (Some(left), Some(right), Some(far)) = ends else { return };
            // Bands that are touched in part count with their least share, the worst of
            // them for as long as it can, and those that are covered with their mean.
            let mut shares = [left.share_min, right.share_min, far.share_min];
            shares.sort_by(f64::total_cmp);
            let [lowest, second, _] = shares;
            let mut sum = match least {
                1 => lowest * window as f64,
                _ => lowest * self.band_nanos as f64 + second * tail,
            };
            if least > 2
                && let Some(inner) = band(first + 1)
            {
                sum += right.sum - inner.sum;
            }
            bounds.push(Bound { series, band: first, share: sum / window as f64 });
        }
    }

    /// Looks at the windows that begin in a band.
    fn look_into(&self, band: usize, window: i64, seen: &mut Seen) {
        let Some(mut left) = self.bands.get(band).map(|band| band.at) else { return };
        let mut right = left;
        let (mut time, end) = self.band_times(band);
        let end = end.min(self.end().saturating_sub(window));
        if time > end {
            return;
        }
        seen.begin_band();
        loop {
            let sum = self.sum_until(time.saturating_add(window), &mut right)
                - self.sum_until(time, &mut left);
            let share = sum / window as f64;
            if seen.add(Time(time), share, window) || time >= end {
                return;
            }
            // The share can fall no faster than by one whole window in its length.
            let reach = ((share - seen.bound) * window as f64) as i64;
            let least = time.saturating_add(reach);
            let next_left = self.next_change(time, left);
            let next_right = self.next_change(time.saturating_add(window), right);
            time = next_left.min(next_right.saturating_sub(window)).max(least).min(end);
        }
    }
}
