//! Format 2: one generation after the other, and in each the threads' events in an order
//! that could have happened.

use model::trace::{Clock, Event, GoId, ProcId, StackId, Tables, ThreadId, Time, What};

use super::batch::Batch;
use super::error::GoTraceError;
use super::frontier::{Cursor, Frontier};
use super::generation::{self, Generation, Read, Sample, Units};
use super::order::{Part, Scheduler};
use super::wire::Place;
use super::{Experimental, HEADER_LEN, MARKED_ENDS, spec};

/// Threads that an error names.
const NAMED_MAX: usize = 4;

#[derive(Debug)]
pub(super) struct Reader<'a> {
    version: u32,
    place: Place<'a>,
    scheduler: Scheduler<'a>,
    number: u64,
    tables: Tables<'a>,
    clock: Option<Clock>,
    experiments: Vec<Experimental<'a>>,
    frontier: Frontier<'a>,
    samples: std::iter::Peekable<std::vec::IntoIter<Sample>>,
    next_batch: Option<Batch<'a>>,
    /// Told after a last synchronisation.
    error: Option<GoTraceError>,
    units: Option<Units>,
    time_last: i64,
    syncs: u64,
    progress: Progress,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// More generations may come.
    Reading,
    /// Nothing comes any more but perhaps an error.
    Ended,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], version: u32) -> Reader<'a> {
        let rest = bytes.get(HEADER_LEN..).unwrap_or_default();
        Reader {
            version,
            place: Place::new(rest, HEADER_LEN as u64),
            scheduler: Scheduler::default(),
            number: 0,
            tables: Tables::default(),
            clock: None,
            experiments: Vec::new(),
            frontier: Frontier::default(),
            samples: Vec::new().into_iter().peekable(),
            next_batch: None,
            error: None,
            units: None,
            time_last: 0,
            syncs: 0,
            progress: Progress::Reading,
        }
    }

    pub(super) fn tables(&self) -> &Tables<'a> {
        &self.tables
    }

    pub(super) fn clock(&self) -> Option<Clock> {
        self.clock
    }

    pub(super) fn experiments(&self) -> &[Experimental<'a>] {
        &self.experiments
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<Event>, GoTraceError> {
        let result = self.next_unclocked();
        match result {
            Ok(true) => {
                // No two events are at the same time.
                let event = &mut self.scheduler.event;
                let time = event.time.0.max(self.time_last.saturating_add(1));
                event.time = Time(time);
                self.time_last = time;
                Ok(Some(*event))
            }
            Ok(false) => Ok(None),
            Err(error) => {
                // In a generation that is cut off, what is missing leads to contradictions.
                let cut = self.error.take().filter(|_| self.version >= MARKED_ENDS);
                let error = cut.unwrap_or(error);
                self.progress = Progress::Ended;
                self.frontier = Frontier::default();
                self.samples = Vec::new().into_iter().peekable();
                self.scheduler.follow.clear();
                Err(error)
            }
        }
    }

    /// Puts the next event where the scheduler has its own; false at the end.
    #[inline]
    fn next_unclocked(&mut self) -> Result<bool, GoTraceError> {
        if let Some(event) = self.scheduler.follow.pop_front() {
            self.scheduler.event = event;
            return Ok(true);
        }
        if self.frontier.is_empty() && self.samples.peek().is_none() {
            if self.progress == Progress::Ended {
                return self.error.take().map_or(Ok(false), Err);
            }
            self.scheduler.event = self.next_generation()?;
            return Ok(true);
        }
        if let Some(sample) = self.samples.peek()
            && self.frontier.time().is_none_or(|time| sample.time < time)
        {
            self.scheduler.event = sampled(sample);
            self.samples.next();
            return Ok(true);
        }
        if self.try_advance(0)? {
            return Ok(true);
        }
        self.frontier.sort();
        for at in 1..self.frontier.len() {
            if self.try_advance(at)? {
                return Ok(true);
            }
        }
        // What is cut off is missed by those that wait for it.
        let cut = self.error.take();
        Err(cut.unwrap_or_else(|| self.stuck()))
    }

    /// Lets the next event of a thread happen, if it can.
    #[inline]
    fn try_advance(&mut self, at: usize) -> Result<bool, GoTraceError> {
        let Some(cursor) = self.frontier.get(at) else { return Ok(false) };
        let (raw, generation) = (&cursor.event, self.number);
        let is_cut = self.error.is_some() && self.version >= MARKED_ENDS;
        let part = Part { tables: &self.tables, generation, is_cut };
        let happens = self.scheduler.advance(raw, cursor.number, &part);
        let happens = happens.map_err(|what| {
            let offset = raw.offset;
            GoTraceError::Order { offset, generation, what }
        })?;
        if happens {
            self.frontier.advance(at)?;
        }
        Ok(happens)
    }

    /// Every thread waits for another.
    fn stuck(&self) -> GoTraceError {
        let cursors = (0..self.frontier.len()).filter_map(|at| self.frontier.get(at));
        let named = cursors.take(NAMED_MAX).map(|cursor| {
            let (thread, name) = (cursor.thread.0, spec::name(cursor.event.kind));
            let [first, second, ..] = cursor.event.arguments;
            format!("thread {thread} with {name} {first} {second}")
        });
        let named: Vec<String> = named.collect();
        let rest = self.frontier.len().saturating_sub(NAMED_MAX);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        let what = format!("failed to advance: none can come next of {}{more}", named.join(", "));
        let offset = self.frontier.get(0).map_or(0, |cursor| cursor.event.offset);
        GoTraceError::Order { offset, generation: self.number, what }
    }

    /// Opens the next generation, or ends; either way with a synchronisation.
    fn next_generation(&mut self) -> Result<Event, GoTraceError> {
        let read = match self.read_generation() {
            Ok(read) => read,
            Err(error) => {
                self.error = Some(error);
                None
            }
        };
        self.syncs += 1;
        let Some(Read { generation, next, error }) = read else {
            self.progress = Progress::Ended;
            self.tables = Tables::default();
            self.clock = None;
            self.experiments = Vec::new();
            return Ok(sync(self.time_last, self.syncs));
        };
        (self.next_batch, self.error) = (next, error);
        let Generation { number, tables, threads, samples, experiments, clock, .. } = generation;
        let (units, units_min) = (generation.units, generation.units_min);
        (self.number, self.tables, self.clock) = (number, tables, clock);
        self.experiments = experiments;
        self.units = Some(units);
        self.samples = samples.into_iter().peekable();
        let cursors = threads.into_iter().map(|(thread, batches)| {
            Cursor::new(thread, self.scheduler.thread_number(thread), batches)
        });
        self.frontier = Frontier::new(cursors, units)?;
        Ok(sync(units.time(units_min), self.syncs))
    }

    fn read_generation(&mut self) -> Result<Option<Read<'a>>, GoTraceError> {
        if self.error.is_some() {
            return Ok(None);
        }
        if self.version >= MARKED_ENDS {
            return generation::read(&mut self.place, self.units);
        }
        let is_first = self.syncs == 0;
        if !is_first && self.next_batch.is_none() {
            return Ok(None);
        }
        let first = self.next_batch.take();
        generation::read_until_next(&mut self.place, first, self.version)
    }
}

fn sync(time: i64, number: u64) -> Event {
    let (thread, proc, goroutine) = (ThreadId::NONE, ProcId::NONE, GoId::NONE);
    let what = What::Sync { number };
    Event { time: Time(time), thread, proc, goroutine, stack: StackId(0), what }
}

fn sampled(sample: &Sample) -> Event {
    Event {
        time: Time(sample.time),
        thread: sample.thread,
        proc: sample.proc,
        goroutine: sample.goroutine,
        stack: sample.stack,
        what: What::Sample,
    }
}
