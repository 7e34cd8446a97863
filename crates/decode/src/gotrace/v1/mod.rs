//! Format 1, of Go 1.11 to 1.21: a batch for each P's events of some time, tables and the
//! speed of the clock at the end. All events are held, 64 bytes each, because exits from
//! system calls are moved to when they happened.
//!
//! Formats before 1.11 are not read; neither does Go.

mod check;
mod convert;
mod kinds;
mod merge;
mod parse;

use model::trace::{Event, GoId, ProcId, StackId, Tables, ThreadId, Time, What};

use super::HEADER_LEN;
use super::error::GoTraceError;
use super::wire::Place;
use convert::Converter;
use parse::{Event1, Index};

/// What a goroutine does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Status {
    #[default]
    Dead,
    Runnable,
    Running,
    Waiting,
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    tables: Tables<'a>,
    events: std::vec::IntoIter<Event1>,
    converter: Converter,
    time_last: i64,
    syncs: u64,
    is_ended: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], version: u32) -> Result<Reader<'a>, GoTraceError> {
        let rest = bytes.get(HEADER_LEN..).unwrap_or_default();
        let mut index = Index::of(Place::new(rest, HEADER_LEN as u64), version)?;
        let mut events = merge::merge(&mut index, version)?;
        rescale(&mut events, &index);
        check::check(&mut events, &index.stacks)?;
        let converter = Converter::new(&mut index, version);
        let mut tables = index.tables;
        tables.keep_last();
        let sealed = tables.seal();
        sealed.map_err(|_| GoTraceError::damaged(0, "two strings or stacks with one number"))?;
        let events = events.into_iter();
        Ok(Reader { tables, events, converter, time_last: -1, syncs: 0, is_ended: false })
    }

    pub(super) fn tables(&self) -> &Tables<'a> {
        &self.tables
    }

    pub(super) fn next(&mut self) -> Result<Option<Event>, GoTraceError> {
        if self.is_ended {
            return Ok(None);
        }
        // All is one part, with a synchronisation at either end.
        if self.syncs == 0
            && let Some(first) = self.events.as_slice().first()
        {
            self.syncs = 1;
            return Ok(Some(sync(first.time.saturating_sub(1), 1)));
        }
        loop {
            if let Some(event) = self.converter.extra.pop_front() {
                return Ok(Some(self.clocked(event)));
            }
            let Some(event) = self.events.next() else {
                self.is_ended = true;
                return Ok(Some(sync(self.time_last.saturating_add(1), self.syncs + 1)));
            };
            match self.converter.convert(&event) {
                Ok(None) => {}
                Ok(Some(made)) => return Ok(Some(self.clocked(made))),
                Err(what) => {
                    self.is_ended = true;
                    return Err(GoTraceError::damaged(event.offset, what));
                }
            }
        }
    }

    /// No two events are at the same time.
    fn clocked(&mut self, mut event: Event) -> Event {
        self.time_last = event.time.0.max(self.time_last.saturating_add(1));
        event.time = Time(self.time_last);
        event
    }
}

/// Ticks to nanoseconds, and events that happened on no P to places of their own.
fn rescale(events: &mut [Event1], index: &Index<'_>) {
    let start = events.first().map_or(0, |event| event.time);
    let nanos = 1e9 / index.ticks_per_second as f64;
    for event in events {
        event.time = (event.time.wrapping_sub(start) as f64 * nanos) as i64;
        if event.kind == kinds::GO_UNBLOCK && index.timers.contains(&event.goroutine) {
            event.proc = kinds::TIMER_PROC;
        }
        if event.kind == kinds::GO_SYS_EXIT {
            event.proc = kinds::SYSCALL_PROC;
        }
    }
}

fn sync(time: i64, number: u64) -> Event {
    let (thread, proc, goroutine) = (ThreadId::NONE, ProcId::NONE, GoId::NONE);
    let what = What::Sync { number };
    Event { time: Time(time), thread, proc, goroutine, stack: StackId(0), what }
}
