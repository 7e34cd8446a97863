//! Growth of allocation sites over a series of heap profiles.
//!
//! A Go heap profile is a Poisson sample, so levels are noisy, but objects that
//! stay in the sample cancel out between two profiles: the noise of a change comes
//! from turnover alone. With `n_new` newly sampled and `n_gone` freed samples of
//! size S and sampling probability p = 1 - exp(-S / rate):
//!
//! * growth = S (n_new - n_gone) / p
//! * variance = (S / p)^2 (1 - p) (n_new + n_gone)
//! * "no growth" means n_new ~ Bin(n_new + n_gone, 1/2), tested exactly.
//!
//! Many sites are tested at once, so p-values are adjusted (Benjamini-Hochberg).
//! A leak keeps its pace to the end of the window; a cache that fills slows down;
//! a batch gives back what it took. [`SiteGrowth`] carries the figures that tell
//! these apart.

mod points;

use std::collections::HashMap;

use model::{Frame, Interval, Line, Profile, Timestamp};

use self::points::{Points, Raw};
use crate::stats::{benjamini_hochberg, binomial_tail_half};

/// One site's growth over the window.
#[derive(Clone, Debug)]
pub struct SiteGrowth {
    /// The allocation stack, innermost call first.
    pub stack: Vec<Frame>,
    /// Bytes in use at the end.
    pub in_use_bytes: f64,
    /// Growth over the window in bytes, with its 95 % interval.
    pub growth_bytes: Interval,
    /// Newly sampled objects.
    pub new_samples: u64,
    /// Sampled objects that were freed.
    pub gone_samples: u64,
    /// Adjusted p-value of "does not grow".
    pub p_adjusted: f64,
    /// Share of what was allocated in the window that is still in use at its end.
    pub survival: f64,
    /// Pace of the last third of the window against the whole window's: near 1 for
    /// a leak, near 0 for a cache that is full.
    pub late_pace: Interval,
    /// Largest fall from a peak, as a share of the growth: near 0 for a leak,
    /// near 1 or more for batches.
    pub drawdown: f64,
    /// Bytes in use at each profile.
    pub curve: Vec<(f64, f64)>,
}

#[derive(Debug, Default)]
struct SiteSeries {
    /// Indexes into [`Series::frames`]: most stacks share most frames.
    stack: Box<[u32]>,
    /// Raw counts by object size; most sites allocate one size.
    sizes: Vec<(i64, Points)>,
}

impl SiteSeries {
    fn points(&mut self, size: i64) -> Option<&mut Points> {
        if !self.sizes.iter().any(|(known, _)| *known == size) {
            self.sizes.push((size, Points::default()));
        }
        self.sizes.iter_mut().find(|(known, _)| *known == size).map(|(_, points)| points)
    }
}

/// The profiles of one process in time order, as the growth analysis needs them.
/// Adding a profile keeps counts only, not the profile.
#[derive(Debug, Default)]
pub struct Series {
    times: Vec<Timestamp>,
    rate: f64,
    sites: Vec<SiteSeries>,
    index: HashMap<Box<[u32]>, usize>,
    frames: Vec<Frame>,
    frame_index: HashMap<Frame, u32>,
}

/// Sampling probability of an object.
fn probability(size: f64, rate: f64) -> f64 {
    if rate <= 1.0 { 1.0 } else { 1.0 - (-size / rate).exp() }
}

impl Series {
    /// Number of profiles.
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Reports whether no profile was added.
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Adds a profile. One that published nothing since the last one (no GC between
    /// them) is skipped: it would only repeat it.
    pub fn push(&mut self, time: Timestamp, profile: &Profile) {
        let (Some(allocs), Some(in_use)) =
            (profile.column("alloc_objects"), profile.column("inuse_objects"))
        else {
            return;
        };
        self.rate = profile.period.max(1) as f64;
        // Two samples of one stack and size differ in labels or inlining only.
        let mut sums: HashMap<(usize, i64), (f64, f64)> = HashMap::new();
        let frames = self.frame_ids(profile);
        let mut stack: Vec<u32> = Vec::new();
        for sample in profile.samples.ids() {
            let value = |column: usize| {
                let column = profile.samples.values.get(column);
                column.and_then(|column| column.get(sample.0 as usize)).copied().unwrap_or(0) as f64
            };
            let size = profile.num_label(sample, "bytes").unwrap_or(0).max(1);
            stack.clear();
            let id = profile.samples.stacks.get(sample.0 as usize).copied();
            for location in id.map_or(&[][..], |id| profile.stacks.get(id)) {
                stack.extend(frames.get(location.0 as usize).into_iter().flatten());
            }
            let sum = sums.entry((self.site(&stack), size)).or_default();
            sum.0 += value(allocs);
            sum.1 += value(in_use);
        }
        let position = self.times.len();
        let mut has_changed = position == 0;
        for ((site, size), (allocs, in_use)) in sums {
            let p = probability(size as f64, self.rate);
            let raw = |scaled: f64| (scaled * p).round() as u32;
            let points = self.sites.get_mut(site).and_then(|site| site.points(size));
            let raw = Raw { allocs: raw(allocs), in_use: raw(in_use) };
            has_changed |= points.is_some_and(|points| points.set(position, raw));
        }
        if has_changed {
            self.times.push(shown(time, profile));
        }
    }

    /// Keeps the series at about `points_max` profiles by forgetting every other one
    /// of the older half. What a forgotten profile showed stays in the later ones.
    pub fn bound(&mut self, points_max: usize) {
        if self.times.len() <= points_max.max(8) {
            return;
        }
        // Kept are 0, 2, 4 ... of the older half and all after it.
        let half = self.times.len() / 4 * 2;
        let renumbered = |at: usize| if at < half { at.div_ceil(2) } else { at - half / 2 };
        for (_, points) in self.sites.iter_mut().flat_map(|site| site.sizes.iter_mut()) {
            points.renumber(renumbered);
        }
        let mut at = 0;
        self.times.retain(|_| {
            at += 1;
            at > half || at % 2 == 1
        });
    }

    fn site(&mut self, stack: &[u32]) -> usize {
        if let Some(&index) = self.index.get(stack) {
            return index;
        }
        let index = self.sites.len();
        self.sites.push(SiteSeries { stack: stack.into(), ..SiteSeries::default() });
        self.index.insert(stack.into(), index);
        index
    }

    /// The frames of every location, innermost first.
    fn frame_ids(&mut self, profile: &Profile) -> Vec<Vec<u32>> {
        let lines = |location: &model::profile::Location| {
            location.lines.iter().map(|line| self.frame_id(frame(profile, *line))).collect()
        };
        profile.locations.iter().map(lines).collect()
    }

    fn frame_id(&mut self, frame: Frame) -> u32 {
        if let Some(id) = self.frame_index.get(&frame) {
            return *id;
        }
        let id = self.frames.len() as u32;
        self.frames.push(frame.clone());
        self.frame_index.insert(frame, id);
        id
    }

    fn stack(&self, site: &SiteSeries) -> Vec<Frame> {
        site.stack.iter().filter_map(|id| self.frames.get(*id as usize)).cloned().collect()
    }

    /// Seconds from the first to the last profile.
    pub fn span_seconds(&self) -> f64 {
        match (self.times.first(), self.times.last()) {
            (Some(first), Some(last)) => last.seconds_since(*first),
            _ => 0.0,
        }
    }

    /// Growth of every site that changed, fastest first.
    pub fn growth(&self) -> Vec<SiteGrowth> {
        if self.times.len() < 2 {
            return Vec::new();
        }
        let mut all: Vec<SiteGrowth> =
            self.sites.iter().filter_map(|site| self.site_growth(site)).collect();
        let p_values: Vec<f64> = all.iter().map(|site| site.p_adjusted).collect();
        for (site, adjusted) in all.iter_mut().zip(benjamini_hochberg(&p_values)) {
            site.p_adjusted = adjusted;
        }
        all.sort_by(|a, b| {
            let by_growth = b.growth_bytes.estimate.total_cmp(&a.growth_bytes.estimate);
            by_growth.then_with(|| a.stack.cmp(&b.stack))
        });
        all
    }

    fn site_growth(&self, site: &SiteSeries) -> Option<SiteGrowth> {
        let last = self.times.len() - 1;
        let whole = self.change(site, 0, last);
        if whole.new + whole.gone == 0.0 {
            return None;
        }
        let curve: Vec<(f64, f64)> = (0..=last)
            .map(|at| (self.seconds(at), self.change(site, 0, at).growth + self.level(site, 0)))
            .collect();
        let sd = whole.variance.sqrt();
        let growth_bytes = interval(whole.growth, sd);
        let (new_samples, gone_samples) = (whole.new.round() as u64, whole.gone.round() as u64);
        Some(SiteGrowth {
            stack: self.stack(site),
            in_use_bytes: curve.last().map_or(0.0, |(_, level)| *level),
            growth_bytes,
            new_samples,
            gone_samples,
            p_adjusted: binomial_tail_half(new_samples, new_samples + gone_samples),
            survival: if whole.allocated > 0.0 {
                (whole.growth / whole.allocated).clamp(0.0, 1.0)
            } else {
                0.0
            },
            late_pace: self.late_pace(site, &whole),
            drawdown: drawdown(&curve, whole.growth),
            curve,
        })
    }

    fn seconds(&self, at: usize) -> f64 {
        match (self.times.first(), self.times.get(at)) {
            (Some(first), Some(time)) => time.seconds_since(*first),
            _ => 0.0,
        }
    }

    fn level(&self, site: &SiteSeries, at: usize) -> f64 {
        site.sizes
            .iter()
            .map(|(size, points)| {
                let size = *size as f64;
                f64::from(points.at(at).in_use) * size / probability(size, self.rate)
            })
            .sum()
    }

    fn late_pace(&self, site: &SiteSeries, whole: &Change) -> Interval {
        let last = self.times.len() - 1;
        let span = self.seconds(last);
        // The last profile boundary that leaves at least a third of the time.
        let start = (0..last).rfind(|at| self.seconds(*at) <= span * 2.0 / 3.0).unwrap_or(0);
        let late = self.change(site, start, last);
        let late_seconds = span - self.seconds(start);
        let pace = whole.growth / span.max(1e-9);
        if pace <= 0.0 || late_seconds <= 0.0 {
            return Interval::default();
        }
        // A few samples more or less: the discreteness counts as noise too.
        let one_sample = whole.sample_bytes;
        let sd = (late.variance + one_sample * one_sample).sqrt();
        let scale = 1.0 / (late_seconds * pace);
        let around = interval(late.growth, sd);
        Interval {
            estimate: around.estimate * scale,
            low: around.low * scale,
            high: around.high * scale,
        }
    }

    fn change(&self, site: &SiteSeries, from: usize, to: usize) -> Change {
        let mut change = Change::default();
        let mut samples = 0.0;
        for (size, points) in &site.sizes {
            let (first, last) = (points.at(from), points.at(to));
            let (allocs, in_use) = (
                f64::from(last.allocs) - f64::from(first.allocs),
                f64::from(last.in_use) - f64::from(first.in_use),
            );
            let size = *size as f64;
            let p = probability(size, self.rate);
            let new = allocs.max(0.0);
            let gone = (new - in_use).max(0.0);
            let weight = size / p;
            change.growth += weight * in_use;
            change.allocated += weight * new;
            change.variance += weight * weight * (1.0 - p) * (new + gone);
            change.new += new;
            change.gone += gone;
            change.sample_bytes += weight * (new + gone);
            samples += new + gone;
        }
        change.sample_bytes /= f64::max(samples, 1.0);
        change
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Change {
    growth: f64,
    allocated: f64,
    variance: f64,
    new: f64,
    gone: f64,
    /// Bytes that one sample stands for, on average.
    sample_bytes: f64,
}

fn interval(estimate: f64, sd: f64) -> Interval {
    Interval { estimate, low: estimate - 1.96 * sd, high: estimate + 1.96 * sd }
}

/// Largest fall from a peak as a share of `growth`.
fn drawdown(curve: &[(f64, f64)], growth: f64) -> f64 {
    let (mut peak, mut fall) = (f64::MIN, 0.0_f64);
    for (_, level) in curve {
        peak = peak.max(*level);
        fall = fall.max(peak - level);
    }
    if growth <= 0.0 { f64::INFINITY } else { fall / growth }
}

/// When the figures of a profile were true. A Go heap profile shows the heap of the
/// last but one GC, which capture notes in it.
fn shown(taken: Timestamp, profile: &Profile) -> Timestamp {
    match profile.time_nanos {
        0 => taken,
        nanos => Timestamp(nanos / 1_000_000),
    }
}

fn frame(profile: &Profile, line: Line) -> Frame {
    let function = profile.functions.get(line.function.0 as usize);
    let text = |id: Option<model::StrId>| id.map_or("", |id| profile.str(id)).to_owned();
    Frame {
        function: text(function.map(|function| function.name)),
        file: text(function.map(|function| function.filename)),
        line: u32::try_from(line.line).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use model::profile::Location;
    use model::{Function, FunctionId, Label, LabelValue, Line, LocationId, Profile, Timestamp};

    use super::Series;

    /// One site with objects of eight bytes; with rate 1 every object is sampled.
    fn profile(allocs: i64, in_use: i64) -> Profile {
        let mut profile = Profile::new(&[("alloc_objects", "count"), ("inuse_objects", "count")]);
        profile.period = 1;
        let name = profile.strings.intern("main.f");
        profile.functions.push(Function { name, ..Function::default() });
        let line = Line { function: FunctionId(0), line: 1, column: 0 };
        profile.locations.push(Location { lines: vec![line], ..Location::default() });
        let key = profile.strings.intern("bytes");
        let label = Label { key, value: LabelValue::Num(8, key) };
        profile.push_sample(&[LocationId(0)], &[allocs, in_use], &[label]);
        profile
    }

    #[test]
    fn a_bounded_series_shows_the_same_growth() {
        let (mut whole, mut bounded) = (Series::default(), Series::default());
        for step in 0..200 {
            let profile = profile(step * 10, step * 7);
            let time = Timestamp(step * 10_000);
            whole.push(time, &profile);
            bounded.push(time, &profile);
            bounded.bound(16);
        }
        assert_eq!(whole.len(), 200);
        assert!(bounded.len() <= 16, "{}", bounded.len());
        assert_eq!(bounded.span_seconds(), whole.span_seconds());
        let (whole, bounded) = (&whole.growth()[0], &bounded.growth()[0]);
        assert_eq!(bounded.growth_bytes, whole.growth_bytes);
        assert_eq!(bounded.new_samples, 1990);
        assert_eq!(bounded.gone_samples, whole.gone_samples);
        assert!((bounded.late_pace.estimate - 1.0).abs() < 0.02);
        // Every point that is left lies on the line.
        for (seconds, bytes) in &bounded.curve {
            assert_eq!(*bytes, seconds / 10.0 * 56.0);
        }
    }

    #[test]
    fn a_profile_without_news_is_skipped() {
        let mut series = Series::default();
        for time in 0..5 {
            series.push(Timestamp(time), &profile(3, 2));
        }
        assert_eq!(series.len(), 1);
    }
}
