//! Events of format 1 in the words of format 2. Some become two, some nothing, and what
//! exists when the trace begins becomes a state. Source: internal/trace/tracev1.go.

use std::collections::{BTreeSet, VecDeque};

use ahash::{AHashMap, AHashSet};
use model::trace::{
    Event, GoId, GoState, GoTransition, Metric, ProcId, ProcState, Range, StackId, StringId,
    TaskId, ThreadId, Time, What,
};

use super::kinds;
use super::parse::{Event1, Index};

/// Why goroutines block; the names are those of format 2.
const BLOCK_REASONS: [(u8, &str); 12] = [
    (kinds::GO_STOP, "forever"),
    (kinds::GO_SCHED, "runtime.Gosched"),
    (kinds::GO_PREEMPT, "preempted"),
    (kinds::GO_SLEEP, "sleep"),
    (kinds::GO_BLOCK, ""),
    (kinds::GO_BLOCK_SEND, "chan send"),
    (kinds::GO_BLOCK_RECV, "chan receive"),
    (kinds::GO_BLOCK_SELECT, "select"),
    (kinds::GO_BLOCK_SYNC, "sync"),
    (kinds::GO_BLOCK_COND, "sync.(*Cond).Wait"),
    (kinds::GO_BLOCK_NET, "network"),
    (kinds::GO_BLOCK_GC, "GC mark assist wait for work"),
];

/// Why the world was stopped, as Go 1.21 numbers it.
const STOP_REASONS: [&str; 17] = [
    "",
    "GC mark termination",
    "GC sweep termination",
    "write heap dump",
    "goroutine profile",
    "goroutine profile cleanup",
    "all goroutine stack trace",
    "read mem stats",
    "AllThreadsSyscall",
    "GOMAXPROCS",
    "start trace",
    "stop trace",
    "CountPagesInUse (test)",
    "ReadMetricsSlow (test)",
    "ReadMemStatsSlow (test)",
    "PageCachePagesLeaked (test)",
    "ResetDebugLog (test)",
];

/// Turns one event after the other into those of format 2.
#[derive(Debug)]
pub(super) struct Converter {
    version: u32,
    /// Goroutines that were there when the trace began, of which nothing more is known;
    /// `None` when it has begun.
    before: Option<BTreeSet<u64>>,
    seen_procs: AHashSet<i32>,
    threads: AHashMap<i32, ThreadId>,
    tasks: AHashMap<u64, TaskId>,
    stop_reason: StringId,
    block_reasons: [StringId; BLOCK_REASONS.len()],
    stop_reasons: [StringId; STOP_REASONS.len()],
    /// Events that come before anything new.
    pub(super) extra: VecDeque<Event>,
}

impl Converter {
    pub(super) fn new(index: &mut Index<'_>, version: u32) -> Converter {
        Converter {
            version,
            before: Some(BTreeSet::new()),
            seen_procs: AHashSet::new(),
            threads: AHashMap::new(),
            tasks: AHashMap::new(),
            stop_reason: StringId(0),
            block_reasons: BLOCK_REASONS.map(|(_, text)| index.new_string(text.as_bytes())),
            stop_reasons: STOP_REASONS.map(|text| index.new_string(text.as_bytes())),
            extra: VecDeque::new(),
        }
    }

    /// The next event of format 2, when there is one; others may be in `extra`.
    ///
    /// # Errors
    /// When the event is of a kind that no program writes.
    pub(super) fn convert(&mut self, event: &Event1) -> Result<Option<Event>, String> {
        let [first, second, third] = event.arguments;
        let what = match event.kind {
            kinds::GOMAXPROCS => {
                if self.before.is_some() {
                    self.begin(event);
                    return Ok(None);
                }
                What::Metric(Metric::Procs, first)
            }
            kinds::PROC_START => {
                self.threads.insert(event.proc, ThreadId(first as i64));
                self.proc(event, ProcState::Idle, ProcState::Running)
            }
            kinds::PROC_STOP => self.proc(event, ProcState::Running, ProcState::Idle),
            kinds::GC_START..=kinds::SWEEP_DONE | kinds::ASSIST_START | kinds::ASSIST_DONE => {
                self.range(event)
            }
            kinds::HEAP_ALLOC => What::Metric(Metric::HeapBytes, first),
            kinds::HEAP_GOAL => What::Metric(Metric::HeapGoalBytes, first),
            kinds::CPU_SAMPLE => What::Sample,
            kinds::TASK_CREATE => {
                let parent = if second == 0 { TaskId::NONE } else { TaskId(second) };
                self.tasks.insert(first, parent);
                What::TaskBegin { task: TaskId(first), parent, name: StringId(third) }
            }
            kinds::TASK_END => {
                let parent = self.tasks.remove(&first).unwrap_or(TaskId::NONE);
                What::TaskEnd { task: TaskId(first), parent }
            }
            kinds::REGION => {
                let (task, name) = (TaskId(first), StringId(third));
                match second {
                    0 => What::RegionBegin { task, name },
                    _ => What::RegionEnd { task, name },
                }
            }
            kinds::LOG => {
                let (category, message) = (StringId(second), StringId(third));
                What::Log { task: TaskId(first), category, message }
            }
            _ => return self.goroutine(event),
        };
        let made = self.event(event, StackId(u64::from(event.stack)), what);
        if event.kind == kinds::PROC_STOP {
            self.threads.remove(&event.proc);
        }
        Ok(Some(made))
    }

    /// The trace has begun: who was there without a sign of life waits to run.
    fn begin(&mut self, event: &Event1) {
        for goroutine in self.before.take().into_iter().flatten() {
            let what = status(goroutine, GoState::Runnable);
            self.extra.push_back(Event {
                time: Time(event.time),
                thread: ThreadId::NONE,
                proc: ProcId::NONE,
                goroutine: GoId::NONE,
                stack: StackId(0),
                what,
            });
        }
    }

    /// A P starts or stops; the first time, that says what state it is in.
    fn proc(&mut self, event: &Event1, from: ProcState, to: ProcState) -> What {
        let is_new = self.seen_procs.insert(event.proc);
        let from = if is_new { ProcState::Undetermined } else { from };
        What::Proc { proc: ProcId(i64::from(event.proc)), from, to }
    }

    fn range(&mut self, event: &Event1) -> What {
        let proc = ProcId(i64::from(event.proc));
        let goroutine = go_id(event.goroutine);
        let [first, second, _] = event.arguments;
        match event.kind {
            kinds::GC_START => What::RangeBegin(Range::Mark),
            kinds::GC_DONE => What::RangeEnd(Range::Mark),
            kinds::STW_START => {
                self.stop_reason = self.stop_reason_of(first);
                What::RangeBegin(Range::StopTheWorld { reason: self.stop_reason })
            }
            kinds::STW_DONE => What::RangeEnd(Range::StopTheWorld { reason: self.stop_reason }),
            kinds::SWEEP_START => {
                What::RangeBegin(Range::Sweep { proc, swept_bytes: 0, reclaimed_bytes: 0 })
            }
            kinds::SWEEP_DONE => {
                let (swept_bytes, reclaimed_bytes) = (first, second);
                What::RangeEnd(Range::Sweep { proc, swept_bytes, reclaimed_bytes })
            }
            kinds::ASSIST_START => What::RangeBegin(Range::Assist { goroutine }),
            _ => What::RangeEnd(Range::Assist { goroutine }),
        }
    }

    /// Before Go 1.21 there were two reasons, with other numbers.
    fn stop_reason_of(&self, number: u64) -> StringId {
        let number = match number {
            0 | 1 if self.version < 21 => number + 1,
            _ if self.version < 21 => 0,
            number => number,
        };
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let unknown = self.stop_reasons.first().copied().unwrap_or_default();
        self.stop_reasons.get(at).copied().unwrap_or(unknown)
    }

    fn goroutine(&mut self, event: &Event1) -> Result<Option<Event>, String> {
        let [first, second, third] = event.arguments;
        let stack = StackId(u64::from(event.stack));
        let what = match event.kind {
            kinds::GO_CREATE => {
                if let Some(before) = &mut self.before {
                    before.insert(first);
                    return Ok(None);
                }
                What::Goroutine(GoTransition {
                    goroutine: GoId(first as i64),
                    from: GoState::NotExist,
                    to: GoState::Runnable,
                    reason: StringId(0),
                    stack: StackId(second),
                })
            }
            kinds::GO_START => match &mut self.before {
                Some(before) => {
                    before.remove(&first);
                    status(first, GoState::Running)
                }
                None => change(first, GoState::Runnable, GoState::Running),
            },
            kinds::GO_START_LABEL => {
                let label = self.bound(event, StackId(0), What::Label(StringId(third)));
                self.extra.push_back(label);
                let what = change(first, GoState::Runnable, GoState::Running);
                return Ok(Some(self.bound(event, StackId(0), what)));
            }
            kinds::GO_END => change(event.goroutine, GoState::Running, GoState::NotExist),
            kinds::GO_UNBLOCK => change(first, GoState::Waiting, GoState::Runnable),
            kinds::GO_SYS_CALL => return Ok(Some(self.syscall(event, stack))),
            kinds::GO_SYS_EXIT => change(event.goroutine, GoState::Syscall, GoState::Runnable),
            kinds::GO_SYS_BLOCK => return Ok(None),
            kinds::GO_WAITING | kinds::GO_IN_SYSCALL => {
                if let Some(before) = &mut self.before {
                    before.remove(&first);
                }
                let is_waiting = event.kind == kinds::GO_WAITING;
                status(first, if is_waiting { GoState::Waiting } else { GoState::Syscall })
            }
            kind => self.pause(event, stack).ok_or_else(|| format!("unexpected event {kind}"))?,
        };
        // Only these say where they happened.
        let stack = match event.kind {
            kinds::GO_START
            | kinds::GO_END
            | kinds::GO_SYS_EXIT
            | kinds::GO_WAITING
            | kinds::GO_IN_SYSCALL => StackId(0),
            _ => stack,
        };
        Ok(Some(self.event(event, stack, what)))
    }

    fn pause(&self, event: &Event1, stack: StackId) -> Option<What> {
        let at = BLOCK_REASONS.iter().position(|(kind, _)| *kind == event.kind)?;
        let yields = matches!(event.kind, kinds::GO_SCHED | kinds::GO_PREEMPT);
        Some(What::Goroutine(GoTransition {
            goroutine: GoId(event.goroutine as i64),
            from: GoState::Running,
            to: if yields { GoState::Runnable } else { GoState::Waiting },
            reason: self.block_reasons.get(at).copied().unwrap_or_default(),
            stack,
        }))
    }

    /// Only system calls that blocked have an end. The others get one, a nanosecond later.
    fn syscall(&mut self, event: &Event1, stack: StackId) -> Event {
        let goroutine = GoId(event.goroutine as i64);
        let (from, to, reason) = (GoState::Running, GoState::Syscall, StringId(0));
        let what = What::Goroutine(GoTransition { goroutine, from, to, reason, stack });
        let is_blocked = event.arguments[0] != 0;
        if is_blocked {
            return self.event(event, stack, what);
        }
        let back = change(event.goroutine, GoState::Syscall, GoState::Running);
        let mut end = self.bound(event, StackId(0), back);
        end.time = Time(event.time.saturating_add(1));
        self.extra.push_back(end);
        self.bound(event, stack, what)
    }

    fn event(&self, event: &Event1, stack: StackId, what: What) -> Event {
        let thread = match event.kind {
            kinds::CPU_SAMPLE => None,
            _ => self.threads.get(&event.proc).copied(),
        };
        Event {
            time: Time(event.time),
            thread: thread.unwrap_or(ThreadId::NONE),
            proc: ProcId(i64::from(event.proc)),
            goroutine: go_id(event.goroutine),
            stack,
            what,
        }
    }

    /// As [`Converter::event`], where Go takes thread 0 for one that is not known.
    fn bound(&self, event: &Event1, stack: StackId, what: What) -> Event {
        let thread = self.threads.get(&event.proc).copied().unwrap_or(ThreadId(0));
        let goroutine = GoId(event.goroutine as i64);
        Event { thread, goroutine, ..self.event(event, stack, what) }
    }
}

fn go_id(id: u64) -> GoId {
    if id == 0 { GoId::NONE } else { GoId(id as i64) }
}

fn status(goroutine: u64, to: GoState) -> What {
    change(goroutine, GoState::Undetermined, to)
}

fn change(goroutine: u64, from: GoState, to: GoState) -> What {
    let goroutine = GoId(goroutine as i64);
    let (reason, stack) = (StringId(0), StackId(0));
    What::Goroutine(GoTransition { goroutine, from, to, reason, stack })
}
