//! What the watch may spend on all targets together: CPU time, and one heavy capture at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// CPU time as a bucket that fills at a constant rate. What is urgent spends without asking,
/// and what is scheduled waits until that is made up for.
#[derive(Debug)]
pub struct CpuBudget {
    level: Mutex<Level>,
}

#[derive(Debug)]
struct Level {
    /// Of one core.
    share: f64,
    /// Seconds of CPU time; negative after something urgent.
    seconds: f64,
    at: Instant,
    spent: Duration,
}

/// What can be saved up lasts this long at the full rate.
const BURST: Duration = Duration::from_secs(60);

impl CpuBudget {
    /// A share of one core: 0.03 is three percent. Nothing is saved up yet: what the first captures
    /// of all targets cost, which wait for nothing, is made up for.
    pub fn new(share: f64, now: Instant) -> CpuBudget {
        let (share, seconds, spent) = (share.clamp(1e-6, 1024.0), 0.0, Duration::ZERO);
        CpuBudget { level: Mutex::new(Level { share, seconds, at: now, spent }) }
    }

    /// Fills at another rate from now on.
    pub fn set_share(&self, share: f64) {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).share = share.clamp(1e-6, 1024.0);
    }

    /// Takes what something has cost.
    pub fn spend(&self, cost: Duration, now: Instant) {
        let mut level = self.filled(now);
        level.seconds -= cost.as_secs_f64();
        level.spent += cost;
    }

    /// How long something that is not urgent has to wait.
    pub fn wait(&self, now: Instant) -> Duration {
        let level = self.filled(now);
        Duration::try_from_secs_f64((-level.seconds).max(0.0) / level.share)
            .unwrap_or(Duration::MAX)
    }

    /// Spent so far.
    pub fn spent(&self) -> Duration {
        self.level.lock().unwrap_or_else(PoisonError::into_inner).spent
    }

    fn filled(&self, now: Instant) -> MutexGuard<'_, Level> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(level.at).as_secs_f64();
        let burst = level.share * BURST.as_secs_f64();
        level.seconds = (level.seconds + passed * level.share).min(burst);
        level.at = level.at.max(now);
        level
    }
}

/// Captures that take much memory, disk or time take turns.
#[derive(Debug, Default)]
pub struct Turns(Mutex<()>);

impl Turns {
    /// Waits for a turn, at most so long, and not once `stop` is set.
    pub fn take(&self, at_most: Duration, stop: &AtomicBool) -> Option<MutexGuard<'_, ()>> {
        let started = Instant::now();
        loop {
            match self.0.try_lock() {
                Ok(turn) => return Some(turn),
                Err(TryLockError::Poisoned(turn)) => return Some(turn.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
            if started.elapsed() >= at_most || stop.load(Ordering::Relaxed) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_overspent_is_made_up_for() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let budget = CpuBudget::new(0.1, start);
        assert_eq!(budget.wait(start), Duration::ZERO);
        budget.spend(Duration::from_secs(2), start);
        let wait = budget.wait(start).as_secs_f64();
        assert!((wait - 20.0).abs() < 0.001, "{wait}");
        budget.spend(Duration::from_secs(6), after(200));
        assert_eq!(budget.wait(after(200)), Duration::ZERO, "a minute's worth is saved up");
        // No more is saved up than the burst, and a clock that seems to go back gives nothing.
        budget.spend(Duration::from_secs(6), after(10_000));
        let wait = budget.wait(after(9_000));
        assert!(wait < Duration::from_millis(1), "{wait:?}");
        assert_eq!(budget.spent(), Duration::from_secs(14));
    }

    #[test]
    fn there_is_one_turn() {
        let (turns, stop) = (Turns::default(), AtomicBool::new(false));
        let turn = turns.take(Duration::ZERO, &stop).unwrap();
        assert!(turns.take(Duration::from_millis(60), &stop).is_none());
        drop(turn);
        assert!(turns.take(Duration::ZERO, &stop).is_some());
    }
}
