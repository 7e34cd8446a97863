//! The next event of every thread, the earliest first.
//!
//! A binary heap by hand: of events at the same time, and when the earliest cannot come
//! next, the order must be Go's, which the shape of its heap decides.

use model::trace::ThreadId;

use super::batch::Batch;
use super::error::GoTraceError;
use super::generation::Units;
use super::spec;
use super::wire::{Place, Unread};

/// An event as the format has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    pub(super) kind: u8,
    /// Nanoseconds.
    pub(super) time: i64,
    /// As many as its kind has; what is left of an earlier event behind.
    pub(super) arguments: [u64; 4],
    /// Where it is in the file.
    pub(super) offset: u64,
}

/// What is left of a thread's batches.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    pub(super) thread: ThreadId,
    /// Its number among the threads of the whole trace; `None` when it is no thread.
    pub(super) number: Option<u32>,
    batches: std::vec::IntoIter<Batch<'a>>,
    data: Place<'a>,
    time: i64,
    pub(super) event: Raw,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(thread: ThreadId, number: Option<u32>, batches: Vec<Batch<'a>>) -> Self {
        let event = Raw { kind: 0, time: 0, arguments: [0; 4], offset: 0 };
        let (data, batches) = (Place::new(&[], 0), batches.into_iter());
        Cursor { thread, number, batches, data, time: 0, event }
    }

    /// Reads the next event; false when there is none.
    fn advance(&mut self, units: Units) -> Result<bool, GoTraceError> {
        while self.data.is_empty() {
            let Some(batch) = self.batches.next() else { return Ok(false) };
            self.data = batch.data;
            self.time = units.time(batch.time);
        }
        let offset = self.data.offset();
        let kind = self.data.byte().unwrap_or_default();
        let Some(spec) = spec::timed(kind) else {
            let what = format!("found event without a timestamp: kind {kind}");
            return Err(GoTraceError::damaged(offset, what));
        };
        let damaged = |unread| {
            let what = match unread {
                Unread::Ended => "a batch ends within an event",
                Unread::TooLarge => "an event has a number of more than 64 bits",
            };
            GoTraceError::damaged(offset, what)
        };
        let delta = self.data.number().map_err(damaged)?;
        self.time = self.time.wrapping_add(units.time(delta));
        for argument in self.event.arguments.iter_mut().take(usize::from(spec.arguments)) {
            *argument = self.data.number().map_err(damaged)?;
        }
        self.event.kind = kind;
        self.event.time = self.time;
        self.event.offset = offset;
        Ok(true)
    }
}

/// The threads of a generation that have events left.
#[derive(Debug, Default)]
pub(super) struct Frontier<'a> {
    /// Times beside the cursors: most comparisons need nothing else.
    heap: Vec<(i64, u32)>,
    cursors: Vec<Cursor<'a>>,
    units: Units,
}

impl<'a> Frontier<'a> {
    /// Starts with the first event of each.
    pub(super) fn new(
        cursors: impl Iterator<Item = Cursor<'a>>,
        units: Units,
    ) -> Result<Self, GoTraceError> {
        let mut frontier = Frontier { heap: Vec::new(), cursors: Vec::new(), units };
        for mut cursor in cursors {
            if cursor.advance(units)? {
                frontier.heap.push((cursor.event.time, frontier.cursors.len() as u32));
                frontier.cursors.push(cursor);
                frontier.sift_up(frontier.heap.len() - 1);
            }
        }
        Ok(frontier)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The time of the earliest event.
    pub(super) fn time(&self) -> Option<i64> {
        self.heap.first().map(|entry| entry.0)
    }

    /// How many threads are left.
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The cursor at a place; 0 is the earliest.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Cursor<'a>> {
        let (_, cursor) = self.heap.get(at)?;
        self.cursors.get(*cursor as usize)
    }

    /// Puts all in order of time, which keeps the heap one.
    pub(super) fn sort(&mut self) {
        self.heap.sort_by_key(|entry| entry.0);
    }

    /// Moves the cursor at a place to its next event.
    #[inline]
    pub(super) fn advance(&mut self, at: usize) -> Result<(), GoTraceError> {
        let Some(entry) = self.heap.get_mut(at) else { return Ok(()) };
        let Some(cursor) = self.cursors.get_mut(entry.1 as usize) else { return Ok(()) };
        if cursor.advance(self.units)? {
            entry.0 = cursor.event.time;
            if self.sift_up(at) == at {
                self.sift_down(at);
            }
        } else {
            self.remove(at);
        }
        Ok(())
    }

    fn remove(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            self.heap.swap(parent, at);
            at = parent;
        }
        self.heap.swap_remove(0);
        self.sift_down(0);
    }

    fn time_at(&self, at: usize) -> Option<i64> {
        self.heap.get(at).map(|entry| entry.0)
    }

    fn sift_up(&mut self, mut at: usize) -> usize {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.time_at(parent) <= self.time_at(at) {
                break;
            }
            self.heap.swap(parent, at);
            at = parent;
        }
        at
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let left = 2 * at + 1;
            let Some(mut time) = self.time_at(left) else { return };
            let mut least = left;
            if let Some(right) = self.time_at(left + 1)
                && right < time
            {
                (time, least) = (right, left + 1);
            }
            if self.time_at(at).is_none_or(|own| own <= time) {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}
