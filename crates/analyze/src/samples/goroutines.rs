//! The samples of one process by the goroutine that allocated them.

use std::collections::HashMap;

use model::trace::GoId;

use super::Estimate;

/// Goroutines that are known at once: some 10 MB. Beyond, those that allocated least are forgotten.
const KNOWN_MAX: usize = 1 << 16;

/// What each goroutine allocated.
#[derive(Debug)]
pub(super) struct Goroutines {
    known: HashMap<GoId, Account>,
    known_max: usize,
}

/// What one allocated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    /// The site of its first sample.
    pub(super) site: usize,
    pub(super) allocated: Estimate,
    pub(super) dead: Estimate,
}

impl Default for Goroutines {
    fn default() -> Goroutines {
        Goroutines { known: HashMap::new(), known_max: KNOWN_MAX }
    }
}

impl Goroutines {
    /// It allocated this; whether it is a new one.
    pub(super) fn born(&mut self, id: GoId, site: usize, sample: &Estimate) -> bool {
        if id == GoId::NONE {
            return false;
        }
        if self.known.len() >= self.known_max && !self.known.contains_key(&id) {
            self.forget_half();
        }
        let mut is_new = false;
        let account = self.known.entry(id).or_insert_with(|| {
            is_new = true;
            Account { site, allocated: Estimate::default(), dead: Estimate::default() }
        });
        account.allocated.join(sample);
        is_new
    }

    /// What it allocated has died.
    pub(super) fn died(&mut self, id: GoId, sample: &Estimate) {
        if let Some(account) = self.known.get_mut(&id) {
            account.dead.join(sample);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (GoId, &Account)> {
        self.known.iter().map(|(id, account)| (*id, account))
    }

    /// Of those that are forgotten only their site's count remains.
    fn forget_half(&mut self) {
        let mut sizes: Vec<f64> = self.known.values().map(|of| of.allocated.bytes).collect();
        let middle = sizes.len() / 2;
        let (.., middle, _) = sizes.select_nth_unstable_by(middle, f64::total_cmp);
        let middle = *middle;
        let larger = self.known.values().filter(|of| of.allocated.bytes > middle).count();
        let mut room = (self.known_max / 2).saturating_sub(larger);
        // Of those that are in the middle some are as good as others.
        self.known.retain(|_, of| {
            let is_among_them = of.allocated.bytes == middle && room > 0;
            room -= usize::from(is_among_them);
            is_among_them || of.allocated.bytes > middle
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Estimate, GoId, Goroutines};

    fn sample(bytes: f64) -> Estimate {
        Estimate { samples: 1, objects: 1.0, bytes, bytes_error: 0.0 }
    }

    #[test]
    fn however_many_there_are_few_are_kept() {
        let mut all = Goroutines { known_max: 100, ..Goroutines::default() };
        for id in 10..10_000 {
            assert!(all.born(GoId(id), 0, &sample(8.0)));
            // One of them lasts, and allocates more.
            all.born(GoId(3), 0, &sample(100.0));
            assert!(all.iter().count() <= 100);
        }
        let lasting = all.iter().find(|(id, _)| *id == GoId(3)).unwrap().1;
        assert!(lasting.allocated.bytes > 998_900.0, "{lasting:?}");
    }
}
