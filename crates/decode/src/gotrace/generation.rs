//! A generation: about a second of trace that can be understood by itself, but for the state
//! of goroutines and Ps. Its tables are read at once, its events stay where they are.
//!
//! Before Go 1.26 nothing says that a generation ends; the first batch of the next one does.

use ahash::AHashMap;
use model::trace::{
    Clock, Duplicate, GoId, ProcId, StackFrame, StackId, StringId, Tables, ThreadId, Time,
};

use super::batch::{self, Batch};
use super::error::GoTraceError;
use super::spec;
use super::wire::{Place, Unread};
use super::{Experimental, MARKED_ENDS, objects};

/// The runtime's limits.
const STRING_BYTES_MAX: u64 = 1 << 10;
const STACK_FRAMES_MAX: u64 = 128;

/// What a generation consists of.
#[derive(Debug, Default)]
pub(super) struct Generation<'a> {
    pub(super) number: u64,
    pub(super) tables: Tables<'a>,
    /// The batches of each thread in the order of the file.
    pub(super) threads: Vec<(ThreadId, Vec<Batch<'a>>)>,
    thread_at: AHashMap<ThreadId, usize>,
    /// In the order of time.
    pub(super) samples: Vec<Sample>,
    pub(super) experiments: Vec<Experimental<'a>>,
    pub(super) clock: Option<Clock>,
    /// Of the earliest batch, in units.
    pub(super) units_min: u64,
    pub(super) units: Units,
    has_frequency: bool,
}

/// What the units of the clock are worth.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Units {
    nanos: f64,
}

impl Units {
    /// Nanoseconds, rounded exactly as Go does.
    #[inline]
    pub(super) fn time(self, units: u64) -> i64 {
        (units as f64 * self.nanos) as i64
    }
}

/// A stack that the CPU profiler took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) time: i64,
    units: u64,
    pub(super) thread: ThreadId,
    pub(super) proc: ProcId,
    pub(super) goroutine: GoId,
    pub(super) stack: StackId,
}

/// A generation, and what is known of what follows it.
pub(super) struct Read<'a> {
    pub(super) generation: Generation<'a>,
    /// The first batch of the next generation.
    pub(super) next: Option<Batch<'a>>,
    /// What comes then cannot be read; the generation may lack its end, and with it names.
    pub(super) error: Option<GoTraceError>,
}

/// Reads a generation of Go 1.26 and later, which says where it ends; `None` when there is
/// none. One that is cut off takes the clock's speed from the last one.
pub(super) fn read<'a>(
    place: &mut Place<'a>,
    last: Option<Units>,
) -> Result<Option<Read<'a>>, GoTraceError> {
    let start = place.offset();
    let mut generation = Generation::default();
    let mut error = None;
    loop {
        let at = place.offset();
        let batch = match batch::read(place) {
            Ok(Some(batch)) => batch,
            Ok(None) if generation.threads.is_empty() => return Ok(None),
            Ok(None) => {
                let what = "incomplete generation found";
                error = Some(GoTraceError::Truncated { offset: at, what });
                break;
            }
            Err(cause) if !generation.threads.is_empty() => {
                error = Some(cause);
                break;
            }
            Err(cause) => return Err(cause),
        };
        if generation.number == 0 {
            generation.number = batch.generation;
        }
        if batch.is(spec::END_OF_GENERATION) {
            break;
        }
        if batch.generation == 0 {
            return Err(GoTraceError::damaged(at, "invalid generation number 0"));
        }
        if batch.generation != generation.number {
            let what = "missing end-of-generation event, or generations are interleaved";
            return Err(GoTraceError::damaged(at, what));
        }
        generation.add(batch, MARKED_ENDS)?;
    }
    generation.finish_or(start, MARKED_ENDS, last, error)
}

/// Reads a generation of Go 1.22 to 1.25; `first` is its first batch, if that was read
/// while looking for the end of the last one.
pub(super) fn read_until_next<'a>(
    place: &mut Place<'a>,
    first: Option<Batch<'a>>,
    version: u32,
) -> Result<Option<Read<'a>>, GoTraceError> {
    let start = first.map_or(place.offset(), |batch| batch.data.offset());
    let mut generation = Generation::default();
    if let Some(batch) = first {
        generation.number = batch.generation;
        generation.add(batch, version)?;
    }
    let mut error = None;
    let mut next = None;
    loop {
        let at = place.offset();
        let batch = match batch::read(place) {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            // It may be the next generation that is damaged.
            Err(cause) if generation.number != 0 => {
                error = Some(cause);
                break;
            }
            Err(cause) => return Err(cause),
        };
        if batch.generation == 0 {
            return Err(GoTraceError::damaged(at, "invalid generation number 0"));
        }
        if generation.number == 0 {
            generation.number = batch.generation;
        }
        if batch.generation == generation.number.wrapping_add(1) {
            next = Some(batch);
            break;
        }
        if batch.generation != generation.number {
            return Err(GoTraceError::damaged(at, "generations out of order"));
        }
        generation.add(batch, version)?;
    }
    let read = generation.finish_or(start, version, None, error)?;
    Ok(read.map(|read| Read { next, ..read }))
}

impl<'a> Generation<'a> {
    fn add(&mut self, batch: Batch<'a>, version: u32) -> Result<(), GoTraceError> {
        if self.units_min == 0 || batch.time < self.units_min {
            self.units_min = batch.time;
        }
        let sync = if version >= 25 { spec::SYNC } else { spec::FREQUENCY };
        if batch.is(spec::STRINGS) {
            self.add_strings(batch.data)
        } else if batch.is(spec::STACKS) {
            self.add_stacks(batch.data)
        } else if batch.is(spec::CPU_SAMPLES) {
            self.add_samples(batch.data)
        } else if batch.is(sync) {
            self.add_sync(batch, version)
        } else if batch.experiment != 0 {
            let mut data = batch.data;
            let bytes = data.take(data.len()).unwrap_or_default();
            let (experiment, thread) = (batch.experiment, batch.thread);
            self.experiments.push(Experimental { experiment, thread, bytes });
            match experiment {
                objects::EXPERIMENT => objects::read(batch.data, &mut self.tables),
                _ => Ok(()),
            }
        } else if batch.is(spec::END_OF_GENERATION) {
            let what = "a batch of events ends a generation";
            Err(GoTraceError::damaged(batch.data.offset(), what))
        } else {
            let next = self.threads.len();
            let at = *self.thread_at.entry(batch.thread).or_insert(next);
            if at == next {
                self.threads.push((batch.thread, Vec::new()));
            }
            if let Some((_, batches)) = self.threads.get_mut(at) {
                batches.push(batch);
            }
            Ok(())
        }
    }

    fn add_strings(&mut self, mut data: Place<'a>) -> Result<(), GoTraceError> {
        data.byte();
        while !data.is_empty() {
            let offset = data.offset();
            expect(&mut data, spec::STRING, "a string")?;
            let id = number(&mut data)?;
            let len = number(&mut data)?;
            if len > STRING_BYTES_MAX {
                let what = format!("invalid string size {len}, maximum is {STRING_BYTES_MAX}");
                return Err(GoTraceError::damaged(offset, what));
            }
            let Some(text) = data.take(len as usize) else {
                return Err(GoTraceError::damaged(offset, "a string is longer than its batch"));
            };
            self.tables.add_string(StringId(id), text);
        }
        Ok(())
    }

    fn add_stacks(&mut self, mut data: Place<'a>) -> Result<(), GoTraceError> {
        data.byte();
        let mut frames = Vec::new();
        while !data.is_empty() {
            let offset = data.offset();
            expect(&mut data, spec::STACK, "a stack")?;
            let id = number(&mut data)?;
            let count = number(&mut data)?;
            if count > STACK_FRAMES_MAX {
                let what = format!("invalid stack size {count}, maximum is {STACK_FRAMES_MAX}");
                return Err(GoTraceError::damaged(offset, what));
            }
            frames.clear();
            for _ in 0..count {
                let pc = number(&mut data)?;
                let function = StringId(number(&mut data)?);
                let file = StringId(number(&mut data)?);
                frames.push(StackFrame { pc, function, file, line: number(&mut data)? });
            }
            if !self.tables.add_stack(StackId(id), &frames) {
                return Err(GoTraceError::damaged(offset, "too many stacks in a generation"));
            }
        }
        Ok(())
    }

    fn add_samples(&mut self, mut data: Place<'a>) -> Result<(), GoTraceError> {
        data.byte();
        while !data.is_empty() {
            expect(&mut data, spec::CPU_SAMPLE, "a CPU sample")?;
            let units = number(&mut data)?;
            let thread = ThreadId(number(&mut data)? as i64);
            let proc = ProcId(number(&mut data)? as i64);
            let goroutine = match number(&mut data)? {
                0 => GoId::NONE,
                id => GoId(id as i64),
            };
            let stack = StackId(number(&mut data)?);
            self.samples.push(Sample { time: 0, units, thread, proc, goroutine, stack });
        }
        Ok(())
    }

    fn add_sync(&mut self, batch: Batch<'a>, version: u32) -> Result<(), GoTraceError> {
        let mut data = batch.data;
        if version >= 25 {
            data.byte();
        }
        let mut units = batch.time;
        while !data.is_empty() {
            let offset = data.offset();
            match data.byte() {
                Some(spec::FREQUENCY) => {
                    if self.has_frequency {
                        let what = "found multiple frequency events";
                        return Err(GoTraceError::damaged(offset, what));
                    }
                    self.has_frequency = true;
                    self.units.nanos = 1.0 / (number(&mut data)? as f64 / 1e9);
                }
                Some(spec::CLOCK_SNAPSHOT) if version >= 25 => {
                    if self.clock.is_some() {
                        let what = "found multiple clock snapshot events";
                        return Err(GoTraceError::damaged(offset, what));
                    }
                    units = units.wrapping_add(number(&mut data)?);
                    let monotonic_nanos = number(&mut data)?;
                    let wall_seconds = number(&mut data)?;
                    let wall_nanos = number(&mut data)?;
                    // Units for now: the frequency may come later.
                    let trace = Time(units as i64);
                    self.clock = Some(Clock { trace, monotonic_nanos, wall_seconds, wall_nanos });
                }
                kind => {
                    let kind = kind.unwrap_or_default();
                    let what = format!("expected frequency or clock snapshot event, got {kind}");
                    return Err(GoTraceError::damaged(offset, what));
                }
            }
        }
        Ok(())
    }

    /// Ends a generation; `error` is why it may be cut off. That is told instead of what may
    /// only follow from it.
    fn finish_or(
        mut self,
        start: u64,
        version: u32,
        last: Option<Units>,
        error: Option<GoTraceError>,
    ) -> Result<Option<Read<'a>>, GoTraceError> {
        if error.is_none() || version < MARKED_ENDS {
            // Before 1.26 it may well be whole, and has to be.
            self.finish(start, version).map_err(|found| error.clone().unwrap_or(found))?;
            return Ok(Some(Read { generation: self, next: None, error }));
        }
        let Some(error) = error else { return Ok(None) };
        if !self.has_frequency
            && let Some(last) = last
        {
            self.units = last;
            self.has_frequency = true;
        }
        if !self.has_frequency || self.seal(start).is_err() {
            return Err(error);
        }
        Ok(Some(Read { generation: self, next: None, error: Some(error) }))
    }

    /// Checks what is known only when all batches are there; `start` is where it begins.
    fn finish(&mut self, start: u64, version: u32) -> Result<(), GoTraceError> {
        if !self.has_frequency {
            return Err(GoTraceError::damaged(start, "no frequency event found"));
        }
        if version >= 25 && self.clock.is_none() {
            return Err(GoTraceError::damaged(start, "no clock snapshot event found"));
        }
        self.seal(start)?;
        for frame in self.tables.all_frames() {
            for id in [frame.function, frame.file] {
                if self.tables.string(id).is_none() {
                    let what = format!("found invalid string ID {} at pc {:#x}", id.0, frame.pc);
                    return Err(GoTraceError::damaged(start, what));
                }
            }
        }
        Ok(())
    }

    /// Makes names findable, and units times.
    fn seal(&mut self, start: u64) -> Result<(), GoTraceError> {
        self.thread_at = AHashMap::new();
        self.tables.seal().map_err(|twice| {
            let what = match twice {
                Duplicate::String(id) => format!("multiple strings with the same ID {}", id.0),
                Duplicate::Stack(id) => format!("multiple stacks with the same ID {}", id.0),
            };
            GoTraceError::damaged(start, what)
        })?;
        for sample in &mut self.samples {
            sample.time = self.units.time(sample.units);
        }
        self.samples.sort_by_key(|sample| sample.time);
        if let Some(clock) = &mut self.clock {
            clock.trace = Time(self.units.time(clock.trace.0 as u64));
        }
        Ok(())
    }
}

fn expect(data: &mut Place<'_>, kind: u8, what: &str) -> Result<(), GoTraceError> {
    let offset = data.offset();
    match data.byte() {
        Some(found) if found == kind => Ok(()),
        found => {
            let found = found.unwrap_or_default();
            Err(GoTraceError::damaged(offset, format!("expected {what}, found kind {found}")))
        }
    }
}

pub(super) fn number(data: &mut Place<'_>) -> Result<u64, GoTraceError> {
    let offset = data.offset();
    data.number().map_err(|unread| {
        let what = match unread {
            Unread::Ended => "a table ends within a number",
            Unread::TooLarge => "a number of more than 64 bits",
        };
        GoTraceError::damaged(offset, what)
    })
}
