//! Columns of equal time, through which one goes from left to right.

use model::trace::Time;

#[derive(Clone, Debug)]
pub(super) struct Grid {
    from: Time,
    to: Time,
    count: usize,
    /// Where one is, and the end of that column.
    at: usize,
    right: Time,
}

impl Grid {
    pub(super) fn new(from: Time, to: Time, count: usize) -> Grid {
        let mut grid = Grid { from, to, count, at: 0, right: from };
        grid.right = grid.edge(1);
        grid
    }

    /// Begin and end of a column.
    pub(super) fn column(&self, at: usize) -> (Time, Time) {
        (self.edge(at), self.edge(at + 1))
    }

    fn edge(&self, at: usize) -> Time {
        let whole = u128::from(self.to.nanos_since(self.from));
        let nanos = whole * at as u128 / self.count.max(1) as u128;
        Time(self.from.0.saturating_add_unsigned(nanos as u64))
    }

    /// The columns that a span touches, with nanoseconds of it in each. Spans must not begin
    /// before the last one did.
    pub(super) fn split(&mut self, start: Time, end: Time, mut add: impl FnMut(usize, u64)) {
        let (mut start, end) = (start.max(self.from), end.min(self.to));
        while start < end && self.at < self.count {
            if self.right > start {
                add(self.at, self.right.min(end).nanos_since(start));
                if end <= self.right {
                    return;
                }
                start = self.right;
            }
            self.at += 1;
            self.right = self.edge(self.at + 1);
        }
    }
}
