//! The bytes of format 1: batches of each P, with tables in between. One pass finds batches
//! and reads tables; events are read when the merge asks for them.

use std::collections::BTreeMap;

use ahash::{AHashMap, AHashSet};
use model::trace::{StackFrame, StackId, StringId, Tables};

use super::kinds::{self, Kind};
use crate::gotrace::error::GoTraceError;
use crate::gotrace::wire::Place;

/// Limits of Go's reader.
const STRING_BYTES_MAX: u64 = 1_000_000;
const STACK_FRAMES_MAX: u64 = 1000;

/// As many as the largest stack has.
const EVENT_BYTES_MAX: u64 = 10 * (2 + 4 * STACK_FRAMES_MAX);

/// An event, as the passes after reading need it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Event1 {
    /// Ticks, later nanoseconds since the first event.
    pub(super) time: i64,
    pub(super) goroutine: u64,
    pub(super) arguments: [u64; 3],
    pub(super) stack: u32,
    pub(super) proc: i32,
    pub(super) kind: u8,
    /// Where it is in the file.
    pub(super) offset: u64,
}

/// What the first pass finds.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    pub(super) procs: BTreeMap<i32, Vec<Place<'a>>>,
    /// In the order of time.
    pub(super) samples: Vec<Event1>,
    pub(super) tables: Tables<'a>,
    pub(super) stacks: AHashSet<u32>,
    pub(super) timers: AHashSet<u64>,
    pub(super) ticks_per_second: i64,
    pub(super) string_max: u64,
    messages: AHashMap<&'a [u8], StringId>,
}

/// An event with its numbers.
struct Raw<'a> {
    kind: u8,
    numbers: Vec<u64>,
    /// What it is followed by: a string of the table, or a message.
    text: &'a [u8],
}

impl<'a> Index<'a> {
    /// Goes through all bytes.
    pub(super) fn of(mut place: Place<'a>, version: u32) -> Result<Index<'a>, GoTraceError> {
        let mut index = Index::default();
        let mut strings = AHashSet::new();
        // Where the batch begins that we are in, and of which P it is.
        let mut open: Option<(i32, Place<'a>)> = None;
        let mut raw = Raw { kind: 0, numbers: Vec::new(), text: &[] };
        while !place.is_empty() {
            let start = place;
            let damaged = |what: String| GoTraceError::damaged(start.offset(), what);
            let kind = read(&mut place, version, &mut raw)?;
            if raw.kind == kinds::STRING {
                index.add_string(&raw, &mut strings).map_err(damaged)?;
                continue;
            }
            if raw.kind == kinds::BATCH {
                index.close(open.take(), start.offset());
                open = Some((proc_of(&raw).map_err(damaged)?, start));
            }
            if open.is_none() {
                return Err(damaged(format!("event {} before any batch", kind.name)));
            }
            match raw.kind {
                kinds::FREQUENCY | kinds::TIMER_GOROUTINE | kinds::STACK | kinds::CPU_SAMPLE => {
                    index.add_entry(&raw, kind, start.offset()).map_err(damaged)?;
                }
                // A message gets its number before the tables are sealed.
                kinds::LOG => {
                    let next = StringId(index.messages.len() as u64);
                    index.messages.entry(raw.text).or_insert(next);
                }
                _ => {}
            }
        }
        index.close(open, place.offset());
        index.number_messages();
        if index.ticks_per_second == 0 {
            let what = "no frequency event, which stands at the end";
            return Err(GoTraceError::Truncated { offset: place.offset(), what });
        }
        index.samples.sort_by_key(|sample| sample.time);
        Ok(index)
    }

    fn close(&mut self, open: Option<(i32, Place<'a>)>, end: u64) {
        let Some((proc, mut start)) = open else { return };
        let offset = start.offset();
        let bytes = start.take((end - offset) as usize).unwrap_or_default();
        self.procs.entry(proc).or_default().push(Place::new(bytes, offset));
    }

    fn add_string(&mut self, raw: &Raw<'a>, seen: &mut AHashSet<u64>) -> Result<(), String> {
        let id = raw.numbers.first().copied().unwrap_or_default();
        if id == 0 {
            return Err("string has invalid id 0".to_owned());
        }
        if raw.text.is_empty() {
            return Err("string has invalid length 0".to_owned());
        }
        if !seen.insert(id) {
            return Err(format!("string has duplicate id {id}"));
        }
        self.string_max = self.string_max.max(id);
        self.tables.add_string(StringId(id), raw.text);
        Ok(())
    }

    fn add_entry(&mut self, raw: &Raw<'_>, kind: &Kind, offset: u64) -> Result<(), String> {
        let number = |at: usize| raw.numbers.get(at).copied().unwrap_or_default();
        if raw.kind == kinds::STACK {
            return self.add_stack(&raw.numbers);
        }
        check_count(raw, kind)?;
        match raw.kind {
            kinds::FREQUENCY => {
                self.ticks_per_second = number(0) as i64;
                // Clocks of CPUs that differ widely do that.
                if self.ticks_per_second <= 0 {
                    return Err("time stamps out of order".to_owned());
                }
            }
            kinds::TIMER_GOROUTINE => {
                self.timers.insert(number(0));
            }
            // Written late, by another goroutine; the second number is when it was taken.
            _ => self.samples.push(Event1 {
                time: number(1) as i64,
                goroutine: number(3),
                arguments: [0; 3],
                stack: number(4) as u32,
                proc: number(2) as i32,
                kind: raw.kind,
                offset,
            }),
        }
        Ok(())
    }

    fn add_stack(&mut self, numbers: &[u64]) -> Result<(), String> {
        let [id, size, frames @ ..] = numbers else {
            return Err("a stack without a size".to_owned());
        };
        if *size > STACK_FRAMES_MAX {
            return Err(format!("a stack with a bad number of frames: {size}"));
        }
        if frames.len() as u64 != 4 * size {
            return Err(format!("a stack of {size} frames has {} numbers", frames.len()));
        }
        let (id, frames) = (*id as u32, frames.chunks_exact(4));
        let frames: Vec<StackFrame> = frames
            .filter_map(|frame| match frame {
                [pc, function, file, line] => {
                    let (function, file) = (StringId(*function), StringId(*file));
                    Some(StackFrame { pc: *pc, function, file, line: *line })
                }
                _ => None,
            })
            .collect();
        if id != 0 && !frames.is_empty() {
            self.stacks.insert(id);
            if !self.tables.add_stack(StackId(u64::from(id)), &frames) {
                return Err("too many stacks".to_owned());
            }
        }
        Ok(())
    }

    /// Messages of logs have no numbers in the file; theirs follow the last one there.
    fn number_messages(&mut self) {
        let mut messages: Vec<(&'a [u8], StringId)> = self.messages.drain().collect();
        messages.sort_by_key(|message| message.1);
        for (text, _) in messages {
            let id = self.new_string(text);
            self.messages.insert(text, id);
        }
    }

    /// Adds a string that the file does not number.
    pub(super) fn new_string(&mut self, text: &'a [u8]) -> StringId {
        self.string_max = self.string_max.wrapping_add(1);
        let id = StringId(self.string_max);
        self.tables.add_string(id, text);
        id
    }
}

fn check_count(raw: &Raw<'_>, kind: &Kind) -> Result<(), String> {
    let (want, got) = (kind.numbers(raw.kind), raw.numbers.len());
    if want == got {
        return Ok(());
    }
    Err(format!("{} has wrong number of arguments: want {want}, got {got}", kind.name))
}

fn proc_of(raw: &Raw<'_>) -> Result<i32, String> {
    match raw.numbers.first().copied().unwrap_or_default() {
        u64::MAX => Ok(-1),
        id => i32::try_from(id).map_err(|_| format!("processor ID {id} is too large")),
    }
}

/// Reads any event.
fn read<'a>(
    place: &mut Place<'a>,
    version: u32,
    raw: &mut Raw<'a>,
) -> Result<&'static Kind, GoTraceError> {
    let start = place.offset();
    let byte = place.byte().unwrap_or_default();
    // The high bits count arguments behind the time; 3 says that a length comes first.
    let (number, count) = (byte & 0x3f, usize::from(byte >> 6) + 1);
    let damaged = |what: String| GoTraceError::damaged(start, what);
    let Some(kind) = kinds::kind(number, version) else {
        return Err(damaged(format!("unknown event type {number}")));
    };
    raw.kind = number;
    raw.numbers.clear();
    raw.text = &[];
    let mut next = |place: &mut Place<'a>| {
        place.number().map_err(|_| damaged(format!("{} has a malformed number", kind.name)))
    };
    let cut = |place: &Place<'a>| GoTraceError::Truncated {
        offset: place.offset() + place.len() as u64,
        what: "an event is longer than what is left",
    };
    match number {
        kinds::STRING => {
            raw.numbers.push(next(place)?);
            raw.text = text(place, &mut next, &cut)?;
        }
        kinds::BATCH if count != 2 => return Err(damaged(format!("a batch of {count} numbers"))),
        _ if count <= 3 => {
            for _ in 0..count {
                raw.numbers.push(next(place)?);
            }
        }
        _ => {
            let len = next(place)?;
            if len > EVENT_BYTES_MAX {
                return Err(damaged(format!("{} has {len} bytes of arguments", kind.name)));
            }
            let offset = place.offset();
            let bytes = place.take(len as usize).ok_or_else(|| cut(place))?;
            let mut inner = Place::new(bytes, offset);
            while !inner.is_empty() {
                raw.numbers.push(next(&mut inner)?);
            }
            if number == kinds::LOG {
                raw.text = text(place, &mut next, &cut)?;
            }
        }
    }
    Ok(kind)
}

fn text<'a>(
    place: &mut Place<'a>,
    next: &mut impl FnMut(&mut Place<'a>) -> Result<u64, GoTraceError>,
    cut: &impl Fn(&Place<'a>) -> GoTraceError,
) -> Result<&'a [u8], GoTraceError> {
    let offset = place.offset();
    let len = next(place)?;
    if len > STRING_BYTES_MAX {
        let what = format!("string has too large length {len}");
        return Err(GoTraceError::damaged(offset, what));
    }
    place.take(len as usize).ok_or_else(|| cut(place))
}

/// The events of one P, one after the other.
#[derive(Debug)]
pub(super) struct Events<'a> {
    batches: std::vec::IntoIter<Place<'a>>,
    place: Place<'a>,
    proc: i32,
    time: i64,
    goroutine: u64,
    numbers: Vec<u64>,
}

impl<'a> Events<'a> {
    pub(super) fn new(proc: i32, batches: Vec<Place<'a>>) -> Events<'a> {
        let (batches, place) = (batches.into_iter(), Place::new(&[], 0));
        Events { batches, place, proc, time: 0, goroutine: 0, numbers: Vec::new() }
    }

    /// The next event; `None` at the end. Entries of tables are passed over.
    pub(super) fn next(
        &mut self,
        index: &Index<'a>,
        version: u32,
    ) -> Result<Option<Event1>, GoTraceError> {
        loop {
            if self.place.is_empty() {
                let Some(batch) = self.batches.next() else { return Ok(None) };
                self.place = batch;
            }
            let start = self.place.offset();
            let numbers = std::mem::take(&mut self.numbers);
            let mut raw = Raw { kind: 0, numbers, text: &[] };
            let kind = read(&mut self.place, version, &mut raw)?;
            let event = self.event(&raw, kind, index, start);
            self.numbers = raw.numbers;
            match event {
                Ok(None) => {}
                Ok(event) => return Ok(event),
                Err(what) => return Err(GoTraceError::damaged(start, what)),
            }
        }
    }

    fn event(
        &mut self,
        raw: &Raw<'a>,
        kind: &Kind,
        index: &Index<'a>,
        offset: u64,
    ) -> Result<Option<Event1>, String> {
        if matches!(raw.kind, kinds::STRING | kinds::STACK | kinds::CPU_SAMPLE) {
            return Ok(None);
        }
        check_count(raw, kind)?;
        let number = |at: usize| raw.numbers.get(at).copied().unwrap_or_default();
        match raw.kind {
            kinds::BATCH => {
                self.time = number(1) as i64;
                return Ok(None);
            }
            kinds::FREQUENCY | kinds::TIMER_GOROUTINE => return Ok(None),
            _ => {}
        }
        self.time = self.time.wrapping_add(number(0) as i64);
        let mut numbers = raw.numbers.iter().skip(1).copied();
        let mut event = Event1 {
            time: self.time,
            goroutine: self.goroutine,
            proc: self.proc,
            kind: raw.kind,
            offset,
            ..Event1::default()
        };
        if kind.has_stack {
            event.stack = numbers.next_back().unwrap_or_default() as u32;
        }
        for (to, from) in event.arguments.iter_mut().zip(numbers) {
            *to = from;
        }
        match raw.kind {
            kinds::GO_START | kinds::GO_START_LOCAL | kinds::GO_START_LABEL => {
                self.goroutine = event.arguments[0];
                event.goroutine = self.goroutine;
            }
            kinds::GO_END..=kinds::GO_BLOCK
            | kinds::GO_BLOCK_SEND..=kinds::GO_BLOCK_NET
            | kinds::GO_SYS_BLOCK
            | kinds::GO_BLOCK_GC => self.goroutine = 0,
            kinds::GO_SYS_EXIT | kinds::GO_WAITING | kinds::GO_IN_SYSCALL => {
                event.goroutine = event.arguments[0];
            }
            kinds::LOG => {
                let message = index.messages.get(raw.text).copied();
                event.arguments[2] = message.unwrap_or_default().0;
            }
            _ => {}
        }
        Ok(Some(event))
    }
}
