//! Which event can come next: the states of goroutines, Ps and threads, as the events so far
//! leave them.
//!
//! Clocks of different threads disagree, so time alone does not order a trace. Events that
//! concern another thread carry sequence numbers; one whose number is not the next has to
//! wait, and others go first. What can neither happen nor wait is a contradiction.
//! Source: internal/trace/order.go of Go 1.26.

mod procs;
mod ranges;
mod routines;
mod user;

use std::collections::VecDeque;

use ahash::AHashMap;
use model::trace::{
    Event, GoId, GoState, Metric, ProcId, ProcState, StackId, StringId, Tables, TaskId, ThreadId,
    Time, What,
};

use super::frontier::Raw;
use super::spec;

/// A contradiction between events, in words.
pub(super) type Disorder = String;

/// Who a thread executes for after an event; `None` when the event has to wait.
type Outcome = Result<Option<Context>, Disorder>;

/// The states that the events so far lead to.
#[derive(Debug, Default)]
pub(super) struct Scheduler<'a> {
    /// The last event. It is made in place: passed on by value it would be copied in other
    /// pieces than it was written, which processors are slow at.
    pub(super) event: Event,
    goroutines: AHashMap<GoId, Goroutine<'a>>,
    procs: AHashMap<ProcId, Proc>,
    threads: Vec<Thread>,
    thread_numbers: AHashMap<ThreadId, u32>,
    /// Parents of the tasks that have not ended.
    tasks: AHashMap<TaskId, TaskId>,
    collections: u64,
    marking: Marking,
    first_generation: u64,
    /// Events that follow from the last one.
    pub(super) follow: VecDeque<Event>,
}

#[derive(Debug)]
struct Goroutine<'a> {
    status: GoStatus,
    last: Sequence,
    ranges: Ranges,
    regions: Vec<Region<'a>>,
}

/// Names are compared as texts: their ids change with the generation.
#[derive(Debug, PartialEq, Eq)]
struct Region<'a> {
    task: u64,
    name: &'a [u8],
}

#[derive(Debug)]
struct Proc {
    status: ProcStatus,
    last: Sequence,
    ranges: Ranges,
}

#[derive(Clone, Copy, Debug)]
struct Thread {
    id: ThreadId,
    goroutine: GoId,
    proc: ProcId,
    /// Whether it had an event, or one spoke of it.
    is_known: bool,
}

/// The ranges of time that something is within: kind of the event that begins it, and a
/// string that tells it from others.
type Ranges = Vec<(u8, StringId)>;

/// A number that orders the events of one thing within a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sequence {
    generation: u64,
    number: u64,
}

impl Sequence {
    fn follows(self, last: Sequence) -> bool {
        self.generation == last.generation && self.number == last.number.wrapping_add(1)
    }
}

/// How the format has the state of a goroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GoStatus {
    Bad,
    Runnable,
    Running,
    Syscall,
    Waiting,
}

impl GoStatus {
    fn from_wire(value: u64) -> Option<GoStatus> {
        Some(match value {
            0 => GoStatus::Bad,
            1 => GoStatus::Runnable,
            2 => GoStatus::Running,
            3 => GoStatus::Syscall,
            4 => GoStatus::Waiting,
            _ => return None,
        })
    }

    fn state(self) -> GoState {
        match self {
            GoStatus::Bad => GoState::Undetermined,
            GoStatus::Runnable => GoState::Runnable,
            GoStatus::Running => GoState::Running,
            GoStatus::Syscall => GoState::Syscall,
            GoStatus::Waiting => GoState::Waiting,
        }
    }
}

/// How the format has the state of a P.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProcStatus {
    Bad,
    Running,
    Idle,
    /// Its thread is in a system call, and others may take it.
    Syscall,
    /// As `Syscall`, but its thread cannot be told any more.
    SyscallAbandoned,
}

impl ProcStatus {
    fn from_wire(value: u64) -> Option<ProcStatus> {
        Some(match value {
            0 => ProcStatus::Bad,
            1 => ProcStatus::Running,
            2 => ProcStatus::Idle,
            3 => ProcStatus::Syscall,
            4 => ProcStatus::SyscallAbandoned,
            _ => return None,
        })
    }

    fn state(self) -> ProcState {
        match self {
            ProcStatus::Bad => ProcState::Undetermined,
            ProcStatus::Running | ProcStatus::Syscall => ProcState::Running,
            ProcStatus::Idle | ProcStatus::SyscallAbandoned => ProcState::Idle,
        }
    }
}

/// Whether a collection marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Marking {
    #[default]
    Undetermined,
    No,
    Yes,
}

/// Who executes an event.
#[derive(Clone, Copy, Debug)]
struct Context {
    thread: ThreadId,
    proc: ProcId,
    goroutine: GoId,
}

impl Context {
    const NONE: Context =
        Context { thread: ThreadId::NONE, proc: ProcId::NONE, goroutine: GoId::NONE };

    fn needs_thread(self) -> Result<(), Disorder> {
        needs(self.thread != ThreadId::NONE, "expected a thread but didn't have one")
    }

    fn needs_proc(self) -> Result<(), Disorder> {
        self.needs_thread()?;
        needs(self.proc != ProcId::NONE, "expected a proc but didn't have one")
    }

    /// What most code of the program needs: all three.
    fn needs_all(self) -> Result<(), Disorder> {
        self.needs_proc()?;
        self.needs_goroutine()
    }

    fn needs_goroutine(self) -> Result<(), Disorder> {
        needs(self.goroutine != GoId::NONE, "expected a goroutine but didn't have one")
    }

    fn needs_no_goroutine(self) -> Result<(), Disorder> {
        needs(self.goroutine == GoId::NONE, "expected no goroutine but had one")
    }
}

fn needs(holds: bool, what: &str) -> Result<(), Disorder> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

/// An event on its way through the scheduler.
#[derive(Clone, Copy)]
struct Step<'r> {
    raw: &'r Raw,
    now: Context,
    generation: u64,
    is_first_generation: bool,
}

impl Step<'_> {
    fn argument(&self, at: usize) -> u64 {
        self.raw.arguments.get(at).copied().unwrap_or_default()
    }

    fn stack(&self, at: usize) -> StackId {
        StackId(self.argument(at))
    }

    fn sequence(&self, number: u64) -> Sequence {
        Sequence { generation: self.generation, number }
    }

    fn name(&self) -> &'static str {
        spec::name(self.raw.kind)
    }

    fn event(&self, at: Context, stack: StackId, what: What) -> Event {
        let Context { thread, proc, goroutine } = at;
        Event { time: Time(self.raw.time), thread, proc, goroutine, stack, what }
    }
}

/// The part of the trace that an event is in.
pub(super) struct Part<'p, 'a> {
    pub(super) tables: &'p Tables<'a>,
    pub(super) generation: u64,
    /// Its end is missing, and perhaps names are.
    pub(super) is_cut: bool,
}

impl<'a> Scheduler<'a> {
    /// The number of a thread, by which events refer to it.
    pub(super) fn thread_number(&mut self, id: ThreadId) -> Option<u32> {
        if id == ThreadId::NONE {
            return None;
        }
        let next = self.threads.len() as u32;
        let number = *self.thread_numbers.entry(id).or_insert(next);
        if number == next {
            let (goroutine, proc) = (GoId::NONE, ProcId::NONE);
            self.threads.push(Thread { id, goroutine, proc, is_known: false });
        }
        Some(number)
    }

    fn known_thread(&mut self, id: ThreadId) -> Option<&mut Thread> {
        let number = *self.thread_numbers.get(&id)?;
        self.threads.get_mut(number as usize).filter(|thread| thread.is_known)
    }

    /// Lets a thread's event happen; false when others have to come first. It is in `event`
    /// afterwards, and those that follow from it in `follow`.
    ///
    /// # Errors
    /// When the event contradicts those before it.
    pub(super) fn advance(
        &mut self,
        raw: &Raw,
        thread: Option<u32>,
        part: &Part<'_, 'a>,
    ) -> Result<bool, Disorder> {
        let generation = part.generation;
        if self.first_generation == 0 {
            self.first_generation = generation;
        }
        let known = thread.and_then(|number| self.threads.get_mut(number as usize));
        let now = known.map_or(Context::NONE, |thread| {
            thread.is_known = true;
            Context { thread: thread.id, proc: thread.proc, goroutine: thread.goroutine }
        });
        let is_first_generation = generation == self.first_generation;
        let step = Step { raw, now, generation, is_first_generation };
        let Some(next) = self.dispatch(step, part)? else { return Ok(false) };
        if !part.is_cut {
            check_ids(raw, part.tables)?;
        }
        if let Some(thread) = thread.and_then(|number| self.threads.get_mut(number as usize)) {
            thread.proc = next.proc;
            thread.goroutine = next.goroutine;
        }
        Ok(true)
    }

    #[inline]
    fn dispatch(&mut self, step: Step<'_>, part: &Part<'_, 'a>) -> Outcome {
        match step.raw.kind {
            spec::PROCS_CHANGE => self.metric(step, Metric::Procs),
            spec::PROC_START => self.proc_start(step),
            spec::PROC_STOP => self.proc_stop(step),
            spec::PROC_STEAL => self.proc_steal(step),
            spec::PROC_STATUS => self.proc_status(step),
            spec::GO_CREATE | spec::GO_CREATE_BLOCKED => self.go_create(step),
            spec::GO_CREATE_SYSCALL => self.go_create_syscall(step),
            spec::GO_START => self.go_start(step),
            spec::GO_DESTROY | spec::GO_STOP | spec::GO_BLOCK => self.go_pause(step),
            spec::GO_DESTROY_SYSCALL => self.go_destroy_syscall(step),
            spec::GO_UNBLOCK => self.go_unblock(step),
            spec::GO_SWITCH | spec::GO_SWITCH_DESTROY => self.go_switch(step),
            spec::GO_SYSCALL_BEGIN => self.syscall_begin(step),
            spec::GO_SYSCALL_END => self.syscall_end(step),
            spec::GO_SYSCALL_END_BLOCKED => self.syscall_end_blocked(step),
            spec::GO_STATUS | spec::GO_STATUS_STACK => self.go_status(step),
            spec::STW_BEGIN | spec::GC_ASSIST_BEGIN => self.go_range_begin(step),
            spec::STW_END | spec::GC_ASSIST_END => self.go_range_end(step),
            spec::GC_ASSIST_ACTIVE => self.assist_active(step),
            spec::GC_ACTIVE => self.gc_active(step),
            spec::GC_BEGIN => self.gc_begin(step),
            spec::GC_END => self.gc_end(step),
            spec::GC_SWEEP_ACTIVE => self.sweep_active(step),
            spec::GC_SWEEP_BEGIN => self.sweep_begin(step),
            spec::GC_SWEEP_END => self.sweep_end(step),
            spec::HEAP_ALLOC => self.metric(step, Metric::HeapBytes),
            spec::HEAP_GOAL => self.metric(step, Metric::HeapGoalBytes),
            spec::GO_LABEL | spec::USER_LOG => self.note(step),
            spec::TASK_BEGIN => self.task_begin(step, part),
            spec::TASK_END => self.task_end(step),
            spec::REGION_BEGIN => self.region_begin(step, part),
            spec::REGION_END => self.region_end(step, part),
            spec::SPAN..=spec::GOROUTINE_STACK_FREE => self.experiment(step),
            kind => Err(format!("bad event type found while ordering: {kind}")),
        }
    }

    fn current(&mut self, step: Step<'_>) -> Result<&mut Goroutine<'a>, Disorder> {
        let id = step.now.goroutine;
        self.goroutines.get_mut(&id).ok_or_else(|| {
            format!("event {} for goroutine {} that doesn't exist", step.name(), id.0)
        })
    }

    /// The goroutine we are on, which must have this status.
    fn current_in(
        &mut self,
        step: Step<'_>,
        status: GoStatus,
    ) -> Result<&mut Goroutine<'a>, Disorder> {
        let goroutine = self.current(step)?;
        if goroutine.status != status {
            let is = goroutine.status;
            return Err(format!(
                "{} event for goroutine that's not {status:?} but {is:?}",
                step.name()
            ));
        }
        Ok(goroutine)
    }

    fn current_proc(&mut self, step: Step<'_>) -> Result<&mut Proc, Disorder> {
        let id = step.now.proc;
        let unknown = || format!("uninitialized proc {} found during {}", id.0, step.name());
        self.procs.get_mut(&id).ok_or_else(unknown)
    }

    /// The event happens where we are.
    #[inline(always)]
    fn done(&mut self, step: Step<'_>, next: Context, stack: StackId, what: What) -> Outcome {
        self.done_at(step, step.now, next, stack, what)
    }

    #[inline(always)]
    fn done_at(
        &mut self,
        step: Step<'_>,
        at: Context,
        next: Context,
        stack: StackId,
        what: What,
    ) -> Outcome {
        self.event = step.event(at, stack, what);
        Ok(Some(next))
    }

    /// Figures belong to a P, but the number of Ps is set by a goroutine.
    fn metric(&mut self, step: Step<'_>, metric: Metric) -> Outcome {
        step.now.needs_proc()?;
        let stack = match metric {
            Metric::Procs => {
                step.now.needs_goroutine()?;
                step.stack(1)
            }
            Metric::HeapBytes | Metric::HeapGoalBytes => StackId(0),
        };
        self.done(step, step.now, stack, What::Metric(metric, step.argument(0)))
    }

    fn experiment(&mut self, step: Step<'_>) -> Outcome {
        step.now.needs_thread()?;
        let mut arguments = [0; 3];
        let count = spec::timed(step.raw.kind).map_or(0, |spec| usize::from(spec.arguments));
        for (to, from) in arguments.iter_mut().zip(step.raw.arguments.iter().take(count)) {
            *to = *from;
        }
        self.done(step, step.now, StackId(0), What::Experiment { code: step.raw.kind, arguments })
    }
}

/// What an event names must be in the tables.
fn check_ids(raw: &Raw, tables: &Tables<'_>) -> Result<(), Disorder> {
    let Some(spec) = spec::timed(raw.kind) else { return Ok(()) };
    let argument = |at: u8| raw.arguments.get(usize::from(at).wrapping_sub(1)).copied();
    for id in spec.stacks.iter().filter_map(|at| argument(*at)) {
        if !tables.has_stack(StackId(id)) {
            return Err(format!("found invalid stack ID {id} for event {}", spec.name));
        }
    }
    for id in spec.strings.iter().filter_map(|at| argument(*at)) {
        if tables.string(StringId(id)).is_none() {
            return Err(format!("found invalid string ID {id} for event {}", spec.name));
        }
    }
    Ok(())
}
