//! Which shapes of a trace are written: those of some time, with or without arrows.

use analyze::trace::drawing::Shape;
use model::trace::Time;

/// What is wanted. Nanoseconds count from the begin of the trace.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// From when on.
    pub from_nanos: u64,
    /// Until when.
    pub to_nanos: u64,
    /// Whether arrows are.
    pub arrows: bool,
    start: Option<Time>,
}

impl Shown {
    /// Everything of some time.
    pub fn new(from_nanos: u64, to_nanos: u64, arrows: bool) -> Shown {
        Shown { from_nanos, to_nanos, arrows, start: None }
    }

    /// The trace begins.
    pub(super) fn begin(&mut self, start: Time) {
        self.start = Some(start);
    }

    /// Nanoseconds since then.
    pub(super) fn since_start(&self, time: Time) -> u64 {
        time.nanos_since(self.start.unwrap_or(time))
    }

    /// Whether a shape is wanted; slices are when some of them is.
    pub(super) fn shows(&self, shape: &Shape<'_>) -> bool {
        let within = |start: Time, end: Time| {
            self.since_start(end) >= self.from_nanos && self.since_start(start) <= self.to_nanos
        };
        match *shape {
            Shape::Slice { start, end, .. } => within(start, end),
            Shape::Instant { at, .. } | Shape::Counter { at, .. } => within(at, at),
            Shape::Arrow { from, to, .. } => self.arrows && within(from.1, to.1),
            Shape::Name { .. } => true,
        }
    }
}
