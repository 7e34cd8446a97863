//! Counts over a series of profiles, kept only where they change: most sites of a
//! program are quiet, and a series may be long.

/// Sampled objects of one (site, size) at one profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Raw {
    pub(super) allocs: u32,
    pub(super) in_use: u32,
}

/// Profile number and the counts from it on; zero before the first.
#[derive(Debug, Default)]
pub(super) struct Points(Vec<(u32, Raw)>);

impl Points {
    /// Sets the counts from profile `at` on, which is not before the last one set;
    /// false when they have not changed.
    pub(super) fn set(&mut self, at: usize, raw: Raw) -> bool {
        let is_new = self.0.last().map(|(_, last)| *last).unwrap_or_default() != raw;
        if is_new {
            self.0.push((at as u32, raw));
        }
        is_new
    }

    /// The counts at a profile.
    pub(super) fn at(&self, profile: usize) -> Raw {
        let after = self.0.partition_point(|(from, _)| *from as usize <= profile);
        let before = after.checked_sub(1).and_then(|index| self.0.get(index));
        before.map(|(_, raw)| *raw).unwrap_or_default()
    }

    /// Renumbers the profiles; `new` must not decrease. Of counts that fall on the
    /// same number the last stay.
    pub(super) fn renumber(&mut self, new: impl Fn(usize) -> usize) {
        for (at, _) in &mut self.0 {
            *at = new(*at as usize) as u32;
        }
        self.0.reverse();
        self.0.dedup_by_key(|(at, _)| *at);
        self.0.reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::{Points, Raw};

    #[test]
    fn counts_hold_until_they_change() {
        let raw = |allocs| Raw { allocs, in_use: 1 };
        let mut points = Points::default();
        assert!(!points.set(0, Raw::default()));
        assert!(points.set(2, raw(5)));
        assert!(!points.set(3, raw(5)));
        assert!(points.set(5, raw(7)));
        assert!(points.set(6, raw(9)));
        let all: Vec<u32> = (0..8).map(|at| points.at(at).allocs).collect();
        assert_eq!(all, [0, 0, 5, 5, 5, 7, 9, 9]);
        // Profiles 1, 3, 5 and 7 are forgotten: each falls on the next kept one.
        points.renumber(|at| at.div_ceil(2));
        let all: Vec<u32> = (0..4).map(|at| points.at(at).allocs).collect();
        assert_eq!(all, [0, 5, 5, 9]);
    }
}
