//! What is kept of the windows that were looked at.

use model::trace::Time;

use super::distribution::Distribution;

/// A window of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Its begin.
    pub start: Time,
    /// The share of the Ps that was the program's.
    pub share: f64,
}

/// What was seen, and how low a share must be to still matter.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) minimum: f64,
    pub(super) bound: f64,
    wanted: usize,
    /// Worst first; none overlap.
    worst: Vec<Window>,
    pub(super) distribution: Option<Distribution>,
    /// The window before, in the same band.
    last: Option<(Time, f64)>,
}

impl Seen {
    /// Of which nothing but the minimum matters.
    pub(super) fn minimum() -> Seen {
        Seen::worst(0)
    }

    /// Of which so many of the worst matter.
    pub(super) fn worst(wanted: usize) -> Seen {
        Seen { minimum: 1.0, bound: 1.0, wanted, worst: Vec::new(), distribution: None, last: None }
    }

    /// Of which all matter, up to some part.
    pub(super) fn distribution(distribution: Distribution) -> Seen {
        Seen { distribution: Some(distribution), ..Seen::minimum() }
    }

    /// What comes next does not go on from what was last.
    pub(super) fn begin_band(&mut self) {
        self.last = None;
    }

    /// Takes a window; their begins must increase within a band. True when no more need be
    /// looked at.
    pub(super) fn add(&mut self, start: Time, share: f64, window_nanos: i64) -> bool {
        self.minimum = self.minimum.min(share);
        self.bound = self.minimum;
        if let Some(distribution) = &mut self.distribution {
            if let Some((time, last)) = self.last.replace((start, share)) {
                distribution.add(last, share, start.nanos_since(time) as f64);
            }
            if distribution.is_settled() {
                self.bound = 0.0;
                return true;
            }
            self.bound = distribution.bound().map_or(1.0, |bound| bound.max(self.bound));
            return false;
        }
        if self.wanted == 0 {
            return share == 0.0;
        }
        self.keep(Window { start, share }, window_nanos);
        let best = self.worst.last().filter(|_| self.worst.len() >= self.wanted);
        self.bound = best.map_or(1.0, |best| best.share.max(self.bound));
        best.is_some_and(|best| best.share == 0.0)
    }

    /// Keeps a window if it is among the worst; of those that overlap the worst one.
    fn keep(&mut self, window: Window, nanos: i64) {
        let is_full = self.worst.len() >= self.wanted;
        if is_full && self.worst.last().is_some_and(|best| window.share >= best.share) {
            return;
        }
        let overlaps = |other: &Window| {
            let ends = (other.start.0.saturating_add(nanos), window.start.0.saturating_add(nanos));
            window.start.0 < ends.0 && other.start.0 < ends.1
        };
        if self.worst.iter().any(|other| other.share <= window.share && overlaps(other)) {
            return;
        }
        self.worst.retain(|other| !overlaps(other));
        let at = self.worst.partition_point(|other| other.share <= window.share);
        self.worst.insert(at, window);
        self.worst.truncate(self.wanted);
    }

    /// The worst ones, worst first.
    pub(super) fn into_worst(self) -> Vec<Window> {
        self.worst
    }
}
