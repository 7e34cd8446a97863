//! Growth of goroutine groups over a series of snapshots.

use std::collections::HashMap;

use model::{Frame, GoroutineSnapshot, Interval, Timestamp};

use crate::stats::theil_sen;

/// A group of goroutines whose number grows.
#[derive(Clone, Debug)]
pub struct GroupGrowth {
    /// Their stack, innermost call first.
    pub stack: Vec<Frame>,
    /// Where they are started.
    pub created_by: Option<Frame>,
    /// `waiting`, `runnable` ...
    pub state: &'static str,
    /// Why they wait.
    pub wait_reason: String,
    /// How many now.
    pub count: u64,
    /// Goroutines per second.
    pub rate: Interval,
    /// One-sided p-value of "does not grow".
    pub p_rise: f64,
    /// Stack bytes of one goroutine, on average.
    pub stack_bytes_each: f64,
    /// The longest wait now.
    pub wait_seconds_max: Option<f64>,
    /// Pace of the last third against the whole: near 1 for a leak.
    pub late_pace: f64,
    /// Largest fall from a peak as a share of the growth.
    pub drawdown: f64,
}

/// Fewer new goroutines than this in a window are no evidence.
const GROWTH_MIN: f64 = 10.0;
const SNAPSHOTS_MIN: usize = 4;

/// Groups that grow over the snapshots, fastest first. Groups are joined by where
/// their goroutines wait and were started, whatever line they wait at inside.
pub fn growth(snapshots: &[(Timestamp, &GoroutineSnapshot)]) -> Vec<GroupGrowth> {
    let (Some((first, _)), true) = (snapshots.first(), snapshots.len() >= SNAPSHOTS_MIN) else {
        return Vec::new();
    };
    let mut groups: HashMap<Key<'_>, Vec<u64>> = HashMap::new();
    for (at, (_, snapshot)) in snapshots.iter().enumerate() {
        for group in snapshot.groups.iter().filter(|group| !group.is_system) {
            let stack = snapshot.stacks.get(group.stack).map_or(&[][..], Vec::as_slice);
            let key = Key {
                stack,
                created_by: group.created_by.as_ref(),
                state: group.state,
                wait_reason: &group.wait_reason,
            };
            let counts = groups.entry(key).or_insert_with(|| vec![0; snapshots.len()]);
            if let Some(count) = counts.get_mut(at) {
                *count += group.count;
            }
        }
    }
    let times: Vec<f64> = snapshots.iter().map(|(time, _)| time.seconds_since(*first)).collect();
    let latest = snapshots.last().map(|(_, snapshot)| *snapshot);
    let mut grown: Vec<GroupGrowth> = groups
        .into_iter()
        .filter_map(|(key, counts)| key.growth(&times, &counts, latest?))
        .collect();
    grown.sort_by(|a, b| {
        b.rate.estimate.total_cmp(&a.rate.estimate).then_with(|| a.stack.cmp(&b.stack))
    });
    grown
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Key<'a> {
    stack: &'a [Frame],
    created_by: Option<&'a Frame>,
    state: &'static str,
    wait_reason: &'a str,
}

impl Key<'_> {
    fn growth(
        &self,
        times: &[f64],
        counts: &[u64],
        latest: &GoroutineSnapshot,
    ) -> Option<GroupGrowth> {
        let points: Vec<(f64, f64)> =
            times.iter().copied().zip(counts.iter().map(|count| *count as f64)).collect();
        let (first, last) = (points.first()?, points.last()?);
        let growth = last.1 - first.1;
        if growth < GROWTH_MIN {
            return None;
        }
        let trend = theil_sen(&points)?;
        let (stack_bytes, wait_seconds_max) = self.latest(latest);
        let span = last.0 - first.0;
        let late_start = points.iter().rfind(|(time, _)| time - first.0 <= span * 2.0 / 3.0)?;
        let late = (last.1 - late_start.1) / (last.0 - late_start.0).max(1e-9);
        let mut peak = 0.0_f64;
        let fall = points.iter().fold(0.0_f64, |fall, (_, count)| {
            peak = peak.max(*count);
            fall.max(peak - count)
        });
        Some(GroupGrowth {
            stack: self.stack.to_vec(),
            created_by: self.created_by.cloned(),
            state: self.state,
            wait_reason: self.wait_reason.to_owned(),
            count: last.1 as u64,
            rate: trend.slope,
            p_rise: trend.p_rise,
            stack_bytes_each: stack_bytes / last.1.max(1.0),
            wait_seconds_max,
            late_pace: late / (growth / span.max(1e-9)),
            drawdown: fall / growth,
        })
    }

    fn latest(&self, snapshot: &GoroutineSnapshot) -> (f64, Option<f64>) {
        let same = |group: &&model::GoroutineGroup| {
            snapshot.stacks.get(group.stack).is_some_and(|stack| stack == self.stack)
                && group.state == self.state
                && group.wait_reason == self.wait_reason
        };
        let groups = snapshot.groups.iter().filter(same);
        groups.fold((0.0, None), |(bytes, wait), group| {
            let longest = match (wait, group.wait_seconds_max) {
                (Some(a), Some(b)) => Some(f64::max(a, b)),
                (a, b) => a.or(b),
            };
            (bytes + group.stack_bytes as f64, longest)
        })
    }
}
