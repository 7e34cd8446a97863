//! What a cgroup's files say, and what has happened since they were read last.

use std::time::{Duration, Instant};

use super::{EventKind, QUIET};

/// The figures of a cgroup at one moment; `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) usage: Option<u64>,
    pub(super) limit: Option<u64>,
    pub(super) oom_kills: Option<u64>,
    pub(super) limit_hits: Option<u64>,
    pub(super) highs: Option<u64>,
}

/// What is remembered of a cgroup between two readings.
#[derive(Debug)]
pub(super) struct Level {
    /// Shares of the limit, ascending.
    percents: Vec<u8>,
    /// The highest of them that was passed and not left again.
    passed: Option<u8>,
    oom_kills: Counter,
    limit_hits: Counter,
    highs: Counter,
}

/// A counter of the kernel, as far as it was told on.
#[derive(Debug, Default)]
struct Counter {
    told: Option<u64>,
    at: Option<Instant>,
}

impl Counter {
    /// What was added, at most once in `quiet`; the first value is where counting begins.
    fn step(&mut self, value: Option<u64>, quiet: Duration, now: Instant) -> Option<u64> {
        let value = value?;
        let told = *self.told.get_or_insert(value);
        if value < told {
            // The cgroup was made anew, or somebody wrote 0 to the counter.
            self.told = Some(value);
            return None;
        }
        if value == told || self.at.is_some_and(|at| now.duration_since(at) < quiet) {
            return None;
        }
        (self.told, self.at) = (Some(value), Some(now));
        Some(value - told)
    }
}

/// A share that was passed counts as left below this much less of the limit, so that a usage
/// that hovers there is told once.
const SLACK_PERCENT: u8 = 2;

/// The fastest a usage is taken to grow: programs touch new pages at one to three GiB/s.
const CLIMB_BYTES_PER_SECOND: u64 = 4 << 30;
const POLL_MIN: Duration = Duration::from_millis(20);
const POLL_MAX: Duration = Duration::from_secs(1);

impl Level {
    pub(super) fn new(percents: &[u8]) -> Level {
        let mut percents: Vec<u8> =
            percents.iter().copied().filter(|percent| (1..=100).contains(percent)).collect();
        percents.sort_unstable();
        percents.dedup();
        let [oom_kills, limit_hits, highs] = [(); 3].map(|()| Counter::default());
        Level { percents, passed: None, oom_kills, limit_hits, highs }
    }

    /// The thresholds in bytes, ascending.
    pub(super) fn thresholds(&self, limit: u64) -> impl Iterator<Item = u64> {
        self.percents.iter().map(move |&percent| share(limit, percent))
    }

    /// What has happened since the last reading, the most urgent first.
    pub(super) fn step(&mut self, reading: &Reading, now: Instant) -> Vec<EventKind> {
        let mut events = Vec::new();
        events.extend(self.threshold(reading));
        let kills = self.oom_kills.step(reading.oom_kills, Duration::ZERO, now);
        events.extend(kills.map(|count| EventKind::OomKill { count }));
        let hits = self.limit_hits.step(reading.limit_hits, QUIET, now);
        events.extend(hits.map(|count| EventKind::LimitHit { count }));
        let highs = self.highs.step(reading.highs, QUIET, now);
        events.extend(highs.map(|count| EventKind::High { count }));
        events
    }

    fn threshold(&mut self, reading: &Reading) -> Option<EventKind> {
        let (usage, limit) = (reading.usage?, reading.limit.filter(|limit| *limit > 0)?);
        let is_left = |percent: u8| usage < share(limit, percent.saturating_sub(SLACK_PERCENT));
        if self.passed.is_some_and(is_left) {
            // Lower ones stay passed while the usage is above their slack.
            self.passed = self.percents.iter().rev().copied().find(|percent| !is_left(*percent));
        }
        let top = self.percents.iter().rev().copied();
        let percent = top.into_iter().find(|percent| usage >= share(limit, *percent))?;
        if self.passed.is_some_and(|passed| passed >= percent) {
            return None;
        }
        self.passed = Some(percent);
        let bytes = share(limit, percent);
        Some(EventKind::Threshold { percent, bytes, usage_bytes: usage, limit_bytes: limit })
    }

    /// How soon the files must be read again where the kernel does not wake us: before the
    /// fastest climb can have gone half the way from the next threshold's distance.
    pub(super) fn poll_interval(&self, reading: &Reading) -> Duration {
        let (Some(usage), Some(limit)) = (reading.usage, reading.limit) else { return POLL_MAX };
        let Some(next) = self.thresholds(limit).find(|bytes| *bytes > usage) else {
            return POLL_MAX;
        };
        let seconds = (next - usage) as f64 / CLIMB_BYTES_PER_SECOND as f64;
        Duration::from_secs_f64(seconds).clamp(POLL_MIN, POLL_MAX)
    }
}

fn share(limit: u64, percent: u8) -> u64 {
    (u128::from(limit) * u128::from(percent) / 100) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(usage: u64) -> Reading {
        Reading { usage: Some(usage), limit: Some(1000), ..Reading::default() }
    }

    fn percents(level: &mut Level, usages: &[u64]) -> Vec<u8> {
        let now = Instant::now();
        let mut found = Vec::new();
        for usage in usages {
            for event in level.step(&reading(*usage), now) {
                match event {
                    EventKind::Threshold { percent, .. } => found.push(percent),
                    other => panic!("{other:?}"),
                }
            }
        }
        found
    }

    #[test]
    fn a_share_is_told_once_a_climb() {
        let mut level = Level::new(&[90, 50, 75, 0, 200, 75]);
        assert_eq!(percents(&mut level, &[100, 499, 500, 749, 750, 760]), [50, 75]);
        // Hovering around a share is one event, leaving it and coming back is another.
        assert_eq!(percents(&mut level, &[745, 755, 740, 750]), [0; 0]);
        assert_eq!(percents(&mut level, &[700, 750]), [75]);
        // In one step only the highest is told; so are shares that were passed before.
        assert_eq!(percents(&mut level, &[10, 1000]), [90]);
        assert_eq!(percents(&mut Level::new(&[50, 90]), &[950]), [90]);
    }

    #[test]
    fn counters_begin_where_they_are_and_are_told_in_lumps() {
        let mut level = Level::new(&[]);
        let start = Instant::now();
        let mut step = |oom_kills, limit_hits, millis| {
            let (oom_kills, limit_hits) = (Some(oom_kills), Some(limit_hits));
            let reading = Reading { oom_kills, limit_hits, ..Reading::default() };
            level.step(&reading, start + Duration::from_millis(millis))
        };
        assert_eq!(step(7, 100, 0), []);
        assert_eq!(
            step(8, 150, 10),
            [EventKind::OomKill { count: 1 }, EventKind::LimitHit { count: 50 }]
        );
        assert_eq!(step(9, 300, 20), [EventKind::OomKill { count: 1 }]);
        assert_eq!(step(9, 301, 1100), [EventKind::LimitHit { count: 151 }]);
        // Made anew: counting begins again.
        assert_eq!(step(0, 0, 3000), []);
        assert_eq!(step(1, 0, 3001), [EventKind::OomKill { count: 1 }]);
    }

    #[test]
    fn polling_is_the_faster_the_nearer_a_threshold_is() {
        let level = Level::new(&[80]);
        let limit = Some(10 << 30);
        let at = |usage| level.poll_interval(&Reading { usage, limit, ..Reading::default() });
        assert_eq!(at(Some(0)), POLL_MAX);
        assert_eq!(at(Some(7 << 30)), Duration::from_millis(250));
        assert_eq!(at(Some((8 << 30) - 1)), POLL_MIN);
        assert_eq!(at(Some(9 << 30)), POLL_MAX, "nothing more to pass");
        assert_eq!(at(None), POLL_MAX);
    }
}
