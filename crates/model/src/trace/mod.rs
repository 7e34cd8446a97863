//! Events of a Go execution trace, in an order that could have happened.
//!
//! Events name strings and stacks by ids that hold until the next [`What::Sync`]; [`Tables`]
//! has what they mean. Words are those of Go's trace package: an M is a thread, a P the right
//! to run Go code, a G a goroutine.

mod objects;
mod tables;

pub use objects::{HeapInfo, ObjectEvent, ObjectType, ObjectTypeId, SpanClass};
pub use tables::{Duplicate, FrameId, StackFrame, Tables};

/// Nanoseconds of the clock of the trace. Only differences mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

impl Time {
    /// Nanoseconds from `earlier` to this; 0 when damaged clocks say it came first.
    pub fn nanos_since(self, earlier: Time) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// A goroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GoId(pub i64);

/// A P.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcId(pub i64);

/// An M, which is an operating system thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ThreadId(pub i64);

impl GoId {
    /// No goroutine.
    pub const NONE: GoId = GoId(-1);
}

impl ProcId {
    /// No P.
    pub const NONE: ProcId = ProcId(-1);
}

impl ThreadId {
    /// No M.
    pub const NONE: ThreadId = ThreadId(-1);
}

/// A user task; [`TaskId::NONE`] has no events of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

impl TaskId {
    /// No task.
    pub const NONE: TaskId = TaskId(u64::MAX);
}

/// A string of [`Tables`]; 0 is the empty one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StringId(pub u64);

/// A stack of [`Tables`]; 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StackId(pub u64);

/// One event. Thread, P and goroutine are those it happened on, as they were before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Time,
    /// On which M.
    pub thread: ThreadId,
    /// On which P.
    pub proc: ProcId,
    /// On which goroutine.
    pub goroutine: GoId,
    /// Where in the program.
    pub stack: StackId,
    /// What happened.
    pub what: What,
}

impl Default for Event {
    /// A synchronisation at time 0 on nothing, before the first event.
    fn default() -> Event {
        Event {
            time: Time(0),
            thread: ThreadId::NONE,
            proc: ProcId::NONE,
            goroutine: GoId::NONE,
            stack: StackId(0),
            what: What::Sync { number: 0 },
        }
    }
}

/// What happens in an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A part of the trace begins, with tables of its own; the last one ends the trace.
    Sync {
        /// 1 for the first.
        number: u64,
    },
    /// A metric has a value from now on.
    Metric(Metric, u64),
    /// The goroutine has a label: what the runtime uses it for.
    Label(StringId),
    /// The CPU profiler took a stack.
    Sample,
    /// A range of time begins.
    RangeBegin(Range),
    /// A range began before the trace, or goes on into this part of it.
    RangeActive(Range),
    /// A range of time ends.
    RangeEnd(Range),
    /// A task begins.
    TaskBegin {
        /// Which.
        task: TaskId,
        /// Within which.
        parent: TaskId,
        /// Its type.
        name: StringId,
    },
    /// A task ends.
    TaskEnd {
        /// Which.
        task: TaskId,
        /// Within which.
        parent: TaskId,
    },
    /// A region of a goroutine begins.
    RegionBegin {
        /// Within which task.
        task: TaskId,
        /// Its type.
        name: StringId,
    },
    /// A region of a goroutine ends.
    RegionEnd {
        /// Within which task.
        task: TaskId,
        /// Its type.
        name: StringId,
    },
    /// The program logged something.
    Log {
        /// Within which task.
        task: TaskId,
        /// The category.
        category: StringId,
        /// The message.
        message: StringId,
    },
    /// A goroutine changes its state.
    Goroutine(GoTransition),
    /// A P changes its state.
    Proc {
        /// Which.
        proc: ProcId,
        /// From.
        from: ProcState,
        /// To.
        to: ProcState,
    },
    /// An event of an experiment, as it stands: the number of its kind and its arguments.
    Experiment {
        /// Kind: 128 and up.
        code: u8,
        /// Its arguments.
        arguments: [u64; 3],
    },
}

impl What {
    /// Names of the kinds, as Go's trace package has them, by [`What::kind`].
    pub const KIND_NAMES: [&'static str; 15] = [
        "Bad",
        "Sync",
        "Metric",
        "Label",
        "StackSample",
        "RangeBegin",
        "RangeActive",
        "RangeEnd",
        "TaskBegin",
        "TaskEnd",
        "RegionBegin",
        "RegionEnd",
        "Log",
        "StateTransition",
        "Experimental",
    ];

    /// The number that Go's trace package gives this kind.
    pub fn kind(&self) -> usize {
        match self {
            What::Sync { .. } => 1,
            What::Metric(..) => 2,
            What::Label(_) => 3,
            What::Sample => 4,
            What::RangeBegin(_) => 5,
            What::RangeActive(_) => 6,
            What::RangeEnd(_) => 7,
            What::TaskBegin { .. } => 8,
            What::TaskEnd { .. } => 9,
            What::RegionBegin { .. } => 10,
            What::RegionEnd { .. } => 11,
            What::Log { .. } => 12,
            What::Goroutine(_) | What::Proc { .. } => 13,
            What::Experiment { .. } => 14,
        }
    }
}

/// What a goroutine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoTransition {
    /// Which goroutine.
    pub goroutine: GoId,
    /// From.
    pub from: GoState,
    /// To.
    pub to: GoState,
    /// Why, of what blocks or yields.
    pub reason: StringId,
    /// The stack of the goroutine that changes; of one that is created, where it starts.
    pub stack: StackId,
}

/// Figures that a trace follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// How many Ps there are.
    Procs,
    /// Bytes of heap objects: live ones, and dead ones not yet swept.
    HeapBytes,
    /// Bytes of heap at which the collector wants to be done.
    HeapGoalBytes,
}

/// Ranges of time of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// The world is stopped, by this goroutine.
    StopTheWorld {
        /// What for.
        reason: StringId,
    },
    /// The collector marks.
    Mark,
    /// A P sweeps.
    Sweep {
        /// Which.
        proc: ProcId,
        /// Bytes swept; 0 until it ends.
        swept_bytes: u64,
        /// Bytes of them that became free; 0 until it ends.
        reclaimed_bytes: u64,
    },
    /// A goroutine has to help marking before it may allocate.
    Assist {
        /// Which.
        goroutine: GoId,
    },
}

/// States of a goroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GoState {
    /// Nothing is known yet.
    Undetermined,
    /// Not created yet, or ended.
    NotExist,
    /// Ready to run.
    Runnable,
    /// Running.
    Running,
    /// Blocked.
    Waiting,
    /// In a system call.
    Syscall,
}

/// States of a P.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProcState {
    /// Nothing is known yet.
    Undetermined,
    /// Not created yet.
    NotExist,
    /// Held by an M.
    Running,
    /// Free.
    Idle,
}

/// One moment on three clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The trace's.
    pub trace: Time,
    /// CLOCK_MONOTONIC of Linux, in nanoseconds.
    pub monotonic_nanos: u64,
    /// Seconds since the Unix epoch.
    pub wall_seconds: u64,
    /// And nanoseconds.
    pub wall_nanos: u64,
}
