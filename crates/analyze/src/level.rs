//! Where the resident memory is, and which part of it grows.
//!
//! RSS = Go heap in use + idle but not returned + stacks + runtime metadata + the
//! rest (binary, cgo, mmap). Parts that were mapped but never touched are not
//! resident, so the rest can come out small or negative; its trend still tells.

use model::{Observation, Timestamp};

use crate::stats::{Trend, median, theil_sen};

/// Series of the parts of memory: seconds since the first observation, bytes.
#[derive(Clone, Debug, Default)]
pub struct Levels {
    /// Resident set.
    pub rss: Vec<(f64, f64)>,
    /// Live heap after each GC: one point a cycle, the floor of the saw-tooth.
    pub live: Vec<(f64, f64)>,
    /// What the Go runtime has mapped and not given back.
    pub go: Vec<(f64, f64)>,
    /// Resident set less `go`.
    pub rest: Vec<(f64, f64)>,
    /// Goroutine stacks.
    pub stacks: Vec<(f64, f64)>,
    /// Heap in use.
    pub in_use: Vec<(f64, f64)>,
    /// Idle heap that was not given back.
    pub unreturned: Vec<(f64, f64)>,
    /// Free space inside spans in use.
    pub fragmented: Vec<(f64, f64)>,
    /// The cgroup's page cache.
    pub page_cache: Vec<(f64, f64)>,
    /// GC cycles in the window.
    pub gc_cycles: u64,
}

impl Levels {
    /// Takes the series out of observations in time order.
    pub fn of(observations: &[Observation]) -> Levels {
        let mut levels = Levels::default();
        let Some(first) = observations.first().map(|observation| observation.time) else {
            return levels;
        };
        let mut cycle = None;
        for observation in observations {
            let at = observation.time.seconds_since(first);
            levels.push(at, observation);
            let runtime = &observation.runtime;
            if runtime.gc_cycles.is_some() && runtime.gc_cycles != cycle {
                cycle = runtime.gc_cycles;
                push(&mut levels.live, at, runtime.heap_live_bytes);
            }
        }
        let cycles = |at: Option<&Observation>| at.and_then(|at| at.runtime.gc_cycles).unwrap_or(0);
        levels.gc_cycles = cycles(observations.last()).saturating_sub(cycles(observations.first()));
        levels
    }

    fn push(&mut self, at: f64, observation: &Observation) {
        let (process, runtime) = (&observation.process, &observation.runtime);
        let go =
            runtime.sys_bytes.zip(runtime.heap_released_bytes).map(|(s, r)| s.saturating_sub(r));
        push(&mut self.rss, at, process.rss_bytes);
        push(&mut self.go, at, go);
        if let (Some(rss), Some(go)) = (process.rss_bytes, go) {
            self.rest.push((at, rss as f64 - go as f64));
        }
        push(&mut self.stacks, at, runtime.stacks_bytes);
        push(&mut self.in_use, at, runtime.heap_in_use_bytes);
        let unreturned = runtime.heap_idle_bytes.zip(runtime.heap_released_bytes);
        push(&mut self.unreturned, at, unreturned.map(|(idle, back)| idle.saturating_sub(back)));
        let fragmented = runtime.heap_in_use_bytes.zip(runtime.heap_alloc_bytes);
        push(&mut self.fragmented, at, fragmented.map(|(used, alloc)| used.saturating_sub(alloc)));
        push(&mut self.page_cache, at, observation.cgroup.file_bytes);
    }
}

fn push(series: &mut Vec<(f64, f64)>, at: f64, value: Option<u64>) {
    if let Some(value) = value {
        series.push((at, value as f64));
    }
}

/// Shape of a series' growth.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Robust trend over the window.
    pub trend: Trend,
    /// Growth over the window along the trend.
    pub growth: f64,
    /// Slope of the last third against the whole window's.
    pub late_pace: f64,
}

/// A series of thousands of points says no more than one of a few hundred.
const POINTS_MAX: usize = 240;

/// Describes how a series grows; `None` with too few points.
pub fn shape(series: &[(f64, f64)]) -> Option<Shape> {
    let thinned = thin(series);
    let trend = theil_sen(&thinned)?;
    let (first, last) = (thinned.first()?.0, thinned.last()?.0);
    let late: Vec<(f64, f64)> = thinned
        .iter()
        .copied()
        .filter(|(at, _)| at - first >= (last - first) * 2.0 / 3.0)
        .collect();
    let late_slope = theil_sen(&late).map_or(trend.slope.estimate, |late| late.slope.estimate);
    let growth = trend.slope.estimate * (last - first);
    let late_pace =
        if trend.slope.estimate > 0.0 { late_slope / trend.slope.estimate } else { 0.0 };
    Some(Shape { trend, growth, late_pace })
}

/// Joins neighbours by their median until at most [`POINTS_MAX`] are left.
fn thin(series: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = series.len().div_ceil(POINTS_MAX).max(1);
    series
        .chunks(step)
        .filter_map(|chunk| {
            let values: Vec<f64> = chunk.iter().map(|(_, value)| *value).collect();
            Some((chunk.get(chunk.len() / 2)?.0, median(&values)?))
        })
        .collect()
}

/// The last value of a series.
pub fn last(series: &[(f64, f64)]) -> Option<f64> {
    series.last().map(|(_, value)| *value)
}

/// Least value of the last half of a series: what persists.
pub fn persistent(series: &[(f64, f64)]) -> Option<f64> {
    let half = series.get(series.len() / 2..)?;
    half.iter().map(|(_, value)| *value).min_by(f64::total_cmp)
}

/// Seconds the observations span.
pub fn span_seconds(first: Option<Timestamp>, last: Option<Timestamp>) -> f64 {
    first.zip(last).map_or(0.0, |(first, last)| last.seconds_since(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_pace_and_a_full_cache_does_not() {
        let line: Vec<_> = (0..60).map(|t| (f64::from(t), f64::from(t) * 1e6)).collect();
        let straight = shape(&line).unwrap();
        assert!((straight.late_pace - 1.0).abs() < 1e-9);
        assert!((straight.growth - 59e6).abs() < 1.0);
        let full: Vec<_> = (0..60).map(|t| (f64::from(t), f64::from(t.min(30)) * 1e6)).collect();
        assert!(shape(&full).unwrap().late_pace < 0.1);
    }

    #[test]
    fn live_heap_is_taken_once_a_cycle() {
        let observation = |seconds: i64, cycle: u64, live: u64| {
            let mut observation =
                Observation { time: Timestamp(seconds * 1000), ..Default::default() };
            observation.runtime.gc_cycles = Some(cycle);
            observation.runtime.heap_live_bytes = Some(live);
            observation
        };
        let levels =
            Levels::of(&[observation(0, 1, 10), observation(1, 1, 10), observation(2, 2, 20)]);
        assert_eq!(levels.live, [(0.0, 10.0), (2.0, 20.0)]);
        assert_eq!(levels.gc_cycles, 1);
    }
}
