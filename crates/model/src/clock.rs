//! Tells when the machine's clock was set, or the machine slept. Reads no clock: both are given.

use std::time::Instant;

use crate::units::Timestamp;

/// Corrections of a clock that keeps time are smaller.
const JUMP_MILLIS: i64 = 60_000;

/// What the two clocks said last.
#[derive(Clone, Copy, Debug)]
pub struct ClockWatch {
    steady: Instant,
    wall: Timestamp,
}

impl ClockWatch {
    /// Begins with what they say now.
    pub fn new(steady: Instant, wall: Timestamp) -> ClockWatch {
        ClockWatch { steady, wall }
    }

    /// By how many milliseconds the clock was moved since it was last asked; nothing when it only
    /// went on.
    pub fn moved(&mut self, steady: Instant, wall: Timestamp) -> Option<i64> {
        let passed = steady.saturating_duration_since(self.steady).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let moved = wall.0.saturating_sub(self.wall.0).saturating_sub(passed);
        *self = ClockWatch { steady, wall };
        (moved.saturating_abs() > JUMP_MILLIS).then_some(moved)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::ClockWatch;
    use crate::units::Timestamp;

    #[test]
    fn a_jump_is_told_once_and_passing_time_is_none() {
        let start = Instant::now();
        let mut watch = ClockWatch::new(start, Timestamp(0));
        let hour = start + Duration::from_secs(3600);
        assert_eq!(watch.moved(hour, Timestamp(3_600_500)), None);
        assert_eq!(watch.moved(hour, Timestamp(10_800_500)), Some(7_200_000));
        assert_eq!(watch.moved(hour, Timestamp(10_800_500)), None);
        assert_eq!(watch.moved(hour + Duration::from_secs(1), Timestamp(500)), Some(-10_801_000));
        assert_eq!(watch.moved(hour, Timestamp(i64::MIN)), Some(i64::MIN));
    }
}
