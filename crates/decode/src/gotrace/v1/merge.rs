//! The events of all Ps in one order: of those whose goroutine is ready for them, the
//! earliest comes next. Source: internal/trace/internal/tracev1/order.go.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ahash::AHashMap;

use super::Status;
use super::kinds;
use super::parse::{Event1, Events, Index};
use crate::gotrace::error::GoTraceError;

/// Where a goroutine, or the collector, is in the order of its events.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    number: u64,
    status: Status,
}

/// What an event needs and leads to. Without a number any will do; `None` for the next one
/// keeps it.
#[derive(Clone, Copy, Debug)]
struct Transition {
    of: u64,
    from: Status,
    number: Option<u64>,
    to: Status,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    Keep,
    Add,
    Is(u64),
}

/// Where the collector is among the goroutines.
const COLLECTOR: u64 = u64::MAX - 1;

fn transition(event: &Event1) -> Option<Transition> {
    let [first, second, _] = event.arguments;
    let own = event.goroutine;
    let change = |of, number, from, to, next| Some(Transition { of, from, number, to, next });
    use Status::{Dead, Runnable, Running, Waiting};
    let after = Next::Is(second.wrapping_add(1));
    match event.kind {
        kinds::GO_CREATE => change(first, Some(0), Dead, Runnable, Next::Is(1)),
        kinds::GO_WAITING | kinds::GO_IN_SYSCALL => {
            change(own, Some(1), Runnable, Waiting, Next::Is(2))
        }
        kinds::GO_START | kinds::GO_START_LABEL => {
            change(own, Some(second), Runnable, Running, after)
        }
        // On the P of the event before it, which therefore was merged already.
        kinds::GO_START_LOCAL => change(own, None, Runnable, Running, Next::Add),
        kinds::GO_BLOCK
        | kinds::GO_BLOCK_SEND..=kinds::GO_BLOCK_NET
        | kinds::GO_SLEEP
        | kinds::GO_SYS_BLOCK
        | kinds::GO_BLOCK_GC => change(own, None, Running, Waiting, Next::Keep),
        kinds::GO_SCHED | kinds::GO_PREEMPT => change(own, None, Running, Runnable, Next::Keep),
        kinds::GO_UNBLOCK | kinds::GO_SYS_EXIT => {
            change(first, Some(second), Waiting, Runnable, after)
        }
        kinds::GO_UNBLOCK_LOCAL | kinds::GO_SYS_EXIT_LOCAL => {
            change(first, None, Waiting, Runnable, Next::Add)
        }
        kinds::GC_START => {
            change(COLLECTOR, Some(first), Dead, Dead, Next::Is(first.wrapping_add(1)))
        }
        _ => None,
    }
}

#[derive(Debug, Default)]
struct States(AHashMap<u64, State>);

impl States {
    fn is_ready(&self, event: &Event1) -> bool {
        transition(event).is_none_or(|change| {
            let state = self.0.get(&change.of).copied().unwrap_or_default();
            change.from == state.status && change.number.is_none_or(|it| it == state.number)
        })
    }

    fn apply(&mut self, event: &Event1) {
        let Some(change) = transition(event) else { return };
        let state = self.0.entry(change.of).or_default();
        state.status = change.to;
        state.number = match change.next {
            Next::Keep => state.number,
            Next::Add => state.number.wrapping_add(1),
            Next::Is(number) => number,
        };
    }
}

/// A P, or the samples, with the event that is its next.
struct Source<'a> {
    events: Option<Events<'a>>,
    samples: std::vec::IntoIter<Event1>,
    next: Option<Event1>,
}

impl<'a> Source<'a> {
    fn advance(&mut self, index: &Index<'a>, version: u32) -> Result<(), GoTraceError> {
        self.next = match &mut self.events {
            Some(events) => events.next(index, version)?,
            None => self.samples.next(),
        };
        Ok(())
    }
}

/// All events, in order. Takes batches and samples out of the index.
pub(super) fn merge(index: &mut Index<'_>, version: u32) -> Result<Vec<Event1>, GoTraceError> {
    let mut sources = Vec::new();
    for (proc, batches) in std::mem::take(&mut index.procs) {
        let (events, samples) = (Some(Events::new(proc, batches)), Vec::new().into_iter());
        sources.push(Source { events, samples, next: None });
    }
    let samples = std::mem::take(&mut index.samples).into_iter();
    sources.push(Source { events: None, samples, next: None });
    for source in &mut sources {
        source.advance(index, version)?;
    }
    let mut states = States::default();
    // Of events at the same time, what was ready first comes first.
    let mut ready: BinaryHeap<Reverse<(i64, u64, usize)>> = BinaryHeap::new();
    let mut readied = 0_u64;
    let mut waiting: Vec<usize> = (0..sources.len()).collect();
    let mut merged: Vec<Event1> = Vec::new();
    loop {
        waiting.retain(|&at| match sources.get(at).and_then(|source| source.next.as_ref()) {
            Some(event) if states.is_ready(event) => {
                ready.push(Reverse((event.time, readied, at)));
                readied += 1;
                false
            }
            Some(_) => true,
            None => false,
        });
        let Some(Reverse((.., at))) = ready.pop() else { break };
        let Some(source) = sources.get_mut(at) else { break };
        let Some(mut event) = source.next.take() else { break };
        if !states.is_ready(&event) {
            let what = "encountered impossible goroutine state transition";
            return Err(broken(&event, what));
        }
        states.apply(&event);
        event.kind = match event.kind {
            kinds::GO_START_LOCAL => kinds::GO_START,
            kinds::GO_UNBLOCK_LOCAL => kinds::GO_UNBLOCK,
            kinds::GO_SYS_EXIT_LOCAL => {
                // It has no number, and its time is not used.
                event.arguments = [event.arguments[0], 0, 0];
                kinds::GO_SYS_EXIT
            }
            kind => kind,
        };
        merged.push(event);
        source.advance(index, version)?;
        waiting.push(at);
    }
    let stuck = waiting.first().and_then(|at| sources.get(*at)?.next);
    if let Some(event) = stuck {
        return Err(broken(&event, "no consistent ordering of events possible"));
    }
    let mut pairs = merged.iter().zip(merged.iter().skip(1));
    if let Some((_, event)) = pairs.find(|(earlier, later)| earlier.time > later.time) {
        return Err(broken(event, OUT_OF_ORDER));
    }
    fix_syscall_exits(&mut merged)?;
    Ok(merged)
}

/// Goroutines come back from system calls earlier than they can say so.
fn fix_syscall_exits(events: &mut [Event1]) -> Result<(), GoTraceError> {
    let mut blocked = AHashMap::new();
    for event in events.iter_mut() {
        match event.kind {
            kinds::GO_SYS_BLOCK | kinds::GO_IN_SYSCALL => {
                blocked.insert(event.goroutine, event.time);
            }
            kinds::GO_SYS_EXIT if event.arguments[2] != 0 => {
                let time = event.arguments[2] as i64;
                match blocked.get(&event.goroutine).copied().unwrap_or_default() {
                    0 => return Err(broken(event, "stray syscall exit")),
                    since if time < since => return Err(broken(event, OUT_OF_ORDER)),
                    _ => event.time = time,
                }
            }
            _ => {}
        }
    }
    events.sort_by_key(|event| event.time);
    Ok(())
}

fn broken(event: &Event1, what: &str) -> GoTraceError {
    GoTraceError::Order { offset: event.offset, generation: 1, what: what.to_owned() }
}

/// Clocks of CPUs that differ.
const OUT_OF_ORDER: &str = "time stamps out of order";
