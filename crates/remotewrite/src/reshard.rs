//! How many shards a destination needs: Prometheus's formula, and its patience.

/// Time between two looks, in seconds.
pub(crate) const INTERVAL_SECONDS: u64 = 10;
const WEIGHT: f64 = 0.2;
/// Changes within it are not made.
const TOLERANCE: f64 = 0.3;
/// Share of a backlog that is to be worked off each second.
const CATCH_UP: f64 = 0.05;
/// So far behind, shards are not taken away.
const DELAY_SECONDS_MAX: f64 = 10.0;

/// A rate that forgets slowly.
#[derive(Clone, Copy, Debug, Default)]
struct Rate {
    total: f64,
    each_second: Option<f64>,
}

impl Rate {
    /// Takes the total up to now.
    fn tick(&mut self, total: f64) -> f64 {
        let now = (total - self.total) / INTERVAL_SECONDS as f64;
        self.total = total;
        let rate = self.each_second.map_or(now, |before| before + WEIGHT * (now - before));
        self.each_second = Some(rate);
        rate
    }
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Values that were collected.
    pub(crate) appended: f64,
    /// Values that were sent.
    pub(crate) out: f64,
    /// Values that were dropped before.
    pub(crate) dropped: f64,
    /// Time that sending took, of all shards.
    pub(crate) out_seconds: f64,
    /// From the latest value that was collected to the latest that was sent.
    pub(crate) delay_seconds: f64,
}

/// What it takes to choose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Resharding {
    appended: Rate,
    out: Rate,
    dropped: Rate,
    out_seconds: Rate,
}

impl Resharding {
    /// What the formula gives, and how many shards are to run; to be called every
    /// [`INTERVAL_SECONDS`].
    pub(crate) fn look(
        &mut self,
        totals: Totals,
        shards: usize,
        least: usize,
        most: usize,
    ) -> (f64, usize) {
        let input = self.appended.tick(totals.appended);
        let out = self.out.tick(totals.out);
        let dropped = self.dropped.tick(totals.dropped);
        let busy = self.out_seconds.tick(totals.out_seconds);
        if out <= 0.0 {
            return (0.0, shards);
        }
        let kept = input * (out / (dropped + out));
        let pending = totals.delay_seconds.max(0.0) * kept;
        let desired = busy / out * (kept + CATCH_UP * pending);
        let whole = desired.ceil();
        let now = shards as f64;
        if (now * (1.0 - TOLERANCE)..=now * (1.0 + TOLERANCE)).contains(&whole) {
            return (desired, shards);
        }
        let wanted = whole as usize;
        if wanted < shards && totals.delay_seconds > DELAY_SECONDS_MAX {
            return (desired, shards);
        }
        (desired, wanted.clamp(least, most))
    }
}

#[cfg(test)]
mod tests {
    use super::{Resharding, Totals};

    /// Shards after one look at a steady second, times ten.
    fn look(appended: f64, out: f64, busy: f64, delay_seconds: f64, shards: usize) -> usize {
        let totals = Totals {
            appended: appended * 10.0,
            out: out * 10.0,
            dropped: 0.0,
            out_seconds: busy * 10.0,
            delay_seconds,
        };
        Resharding::default().look(totals, shards, 1, 50).1
    }

    #[test]
    fn shards_follow_the_load() {
        // A sample takes a millisecond.
        assert_eq!(look(1000.0, 1000.0, 1.0, 0.0, 1), 1);
        assert_eq!(look(4000.0, 1000.0, 1.0, 0.0, 1), 4);
        // Within 30 % nothing changes.
        assert_eq!(look(12_000.0, 10_000.0, 10.0, 0.0, 10), 10);
        // A backlog of 20 seconds doubles what is needed.
        assert_eq!(look(4000.0, 4000.0, 4.0, 20.0, 4), 8);
        assert_eq!(look(1e6, 1000.0, 1.0, 0.0, 1), 50);
        assert_eq!(look(1000.0, 1000.0, 1.0, 0.0, 20), 1);
        assert_eq!(look(1000.0, 1000.0, 1.0, 11.0, 20), 20);
        assert_eq!(look(1000.0, 0.0, 0.0, 100.0, 3), 3);
    }
}
