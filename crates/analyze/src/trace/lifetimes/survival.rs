//! How long things live, of some that died and some that were only seen for a while.
//!
//! The share that survives is Kaplan and Meier's estimate: of those that were watched for so
//! long, who did not die then, multiplied up. Who still lives at the end counts for as long
//! as it was watched, neither as dead nor as immortal.

/// Classes of lifetimes: class k is from 2^k ns to below twice that; the last is open. 2^47 ns
/// are 39 hours.
pub const TIME_CLASSES: usize = 48;

/// Numbers of collections that are told apart; the last is "or more".
pub const COLLECTION_CLASSES: usize = 64;

/// The class of a lifetime.
pub fn time_class(nanos: u64) -> usize {
    (nanos.max(1).ilog2() as usize).min(TIME_CLASSES - 1)
}

/// How many ended, and how many were still there, in each class of some measure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ends<const N: usize> {
    /// Ended.
    pub ended: [u64; N],
    /// Were there when nobody looked any more.
    pub left: [u64; N],
}

impl<const N: usize> Default for Ends<N> {
    fn default() -> Self {
        Ends { ended: [0; N], left: [0; N] }
    }
}

impl<const N: usize> Ends<N> {
    pub(super) fn ends(&mut self, class: usize, count: u64) {
        if let Some(place) = self.ended.get_mut(class.min(N - 1)) {
            *place += count;
        }
    }

    pub(super) fn is_left(&mut self, class: usize, count: u64) {
        if let Some(place) = self.left.get_mut(class.min(N - 1)) {
            *place += count;
        }
    }

    /// The share that gets beyond class `class`; `None` when nobody was watched for so long.
    /// Whoever left in a class was watched up to its begin.
    pub fn survive(&self, class: usize) -> Option<f64> {
        let mut watched: u64 = self.ended.iter().chain(&self.left).sum();
        let mut share = 1.0;
        for (ended, left) in self.ended.iter().zip(&self.left).take(class + 1) {
            watched = watched.saturating_sub(*left);
            if watched == 0 {
                return None;
            }
            share *= (watched.saturating_sub(*ended)) as f64 / watched as f64;
            watched -= ended;
            if share == 0.0 {
                return Some(0.0);
            }
        }
        Some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::{Ends, time_class};

    /// Ten things: four die in class 0, one leaves in class 1, two die there, three are left
    /// in class 2.
    #[test]
    fn who_leaves_counts_as_long_as_it_was_watched() {
        let mut ends = Ends::<4>::default();
        ends.ends(0, 4);
        ends.is_left(1, 1);
        ends.ends(1, 2);
        ends.is_left(2, 3);
        assert_eq!(ends.survive(0), Some(0.6));
        // Of the six, one is not watched to the end of class 1; two of five die.
        let share = ends.survive(1).unwrap();
        assert!((share - 0.6 * 0.6).abs() < 1e-12, "{share}");
        assert_eq!(ends.survive(2), None);
        assert_eq!(Ends::<4>::default().survive(0), None);
        let mut all_die = Ends::<4>::default();
        all_die.ends(1, 3);
        assert_eq!(
            [0, 1, 3].map(|class| all_die.survive(class)),
            [Some(1.0), Some(0.0), Some(0.0)]
        );
    }

    #[test]
    fn classes_are_powers_of_two() {
        assert_eq!([0, 1, 2, 3, 4, 1023, 1024].map(time_class), [0, 0, 1, 1, 2, 9, 10]);
        assert_eq!(time_class(u64::MAX), 47);
    }
}
