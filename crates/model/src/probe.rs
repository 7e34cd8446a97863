//! What probes in the kernel tell: processes that come and go, sampled objects of Go's heap as
//! they are allocated and freed, and whom the OOM killer took; page faults and mappings are in
//! `touched`.

mod touched;

use std::collections::HashMap;
use std::time::Duration;

use crate::trace::GoId;
use crate::units::{Addr, Bytes, Timestamp};

pub use touched::{
    FaultAccess, FaultCount, FaultRegion, MappingCall, MappingChange, MappingKind, MemoryUse,
    ResidentSample,
};

/// A time on the clock that does not jump, in nanoseconds since the machine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MonotonicNanos(pub u64);

impl MonotonicNanos {
    /// Seconds from `earlier` to `self`; 0 when `self` came first.
    pub fn seconds_since(self, earlier: MonotonicNanos) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / 1e9
    }
}

/// What was not told, and why. All numbers are of the probe's whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeCounts {
    /// What happened, told or not.
    pub seen: u64,
    /// Not told: nobody read fast enough.
    pub dropped: u64,
    /// Not told: the kernel's table of what lives was full.
    pub table_full: u64,
    /// Told without its stack, which could not be read.
    pub without_stack: u64,
}

/// A process that began, became another program, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEvent {
    /// When.
    pub time: Timestamp,
    /// The process.
    pub pid: u32,
    /// Its name in the kernel, at most 15 bytes.
    pub name: String,
    /// What happened.
    pub change: ProcessChange,
}

/// What happened to a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessChange {
    /// It began as a copy of its parent.
    Forked {
        /// Whose copy it is.
        parent: u32,
    },
    /// It became another program.
    Executed {
        /// Its parent.
        parent: u32,
        /// The program.
        path: String,
        /// Its arguments, the name it was called by first; cut off after 256 bytes.
        arguments: Vec<String>,
    },
    /// Its last thread ended.
    Exited {
        /// How long it lived.
        lived: Duration,
        /// The most memory that was resident at once in its last program. Before Linux 6.16 in any of
        /// them, and in its parent when it was a copy of that.
        peak_rss: Bytes,
        /// How it ended.
        end: ProcessEnd,
    },
}

/// A process that is there already when somebody begins to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentProcess {
    /// Its process id.
    pub pid: u32,
    /// That of its parent.
    pub parent: u32,
    /// Its name in the kernel, at most 15 bytes.
    pub name: String,
    /// Its arguments.
    pub command: String,
    /// When it began.
    pub started: Timestamp,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEnd {
    /// By itself, with this code.
    Code(u8),
    /// By a signal.
    Signal(u8),
}

impl ProcessEnd {
    /// From a status as `wait` has it.
    pub fn of_status(status: u32) -> ProcessEnd {
        match status & 0x7f {
            0 => ProcessEnd::Code((status >> 8) as u8),
            signal => ProcessEnd::Signal(signal as u8),
        }
    }
}

/// An object that Go's heap sampler took, or its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeapSample {
    /// It was allocated.
    Allocated(SampledObject),
    /// It was freed: the sweeper found it dead.
    Freed {
        /// When.
        time: MonotonicNanos,
        /// Whose.
        pid: u32,
        /// Where it was.
        address: Addr,
        /// Its size.
        size: Bytes,
        /// When it was allocated.
        born: MonotonicNanos,
    },
}

/// An object that Go's heap sampler took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampledObject {
    /// When it was allocated.
    pub time: MonotonicNanos,
    /// Whose it is.
    pub pid: u32,
    /// The thread that allocated it.
    pub thread: u32,
    /// The goroutine that did.
    pub goroutine: GoId,
    /// Where it lies.
    pub address: Addr,
    /// Its size.
    pub size: Bytes,
    /// Return addresses, innermost first; empty when it could not be read.
    pub stack: Vec<Addr>,
}

/// Names a stack of a [`NativeHeap`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallStackId(pub u64);

/// Why a stack has no more calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackEnd {
    /// The outermost was reached.
    Outermost,
    /// Nothing told where the next one is.
    Lost,
    /// It has more than are kept.
    Deep,
}

/// The calls of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallStack {
    /// Return addresses, innermost first.
    pub calls: Vec<Addr>,
    /// Why there are no more.
    pub end: StackEnd,
}

/// A block of memory that an allocator gave out and that was not freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeBlock {
    /// Where it lies.
    pub address: Addr,
    /// What was asked for.
    pub size: Bytes,
    /// When.
    pub born: MonotonicNanos,
    /// By which calls.
    pub stack: CallStackId,
    /// How many bytes it stands for, where the process itself took the sample.
    pub weight: Option<Bytes>,
}

/// Blocks of about one size that a stack asked for; or, of those, what was freed after about one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NativeTurnover {
    /// Who asked for them.
    pub stack: CallStackId,
    /// How long they lived; nothing for all that were asked for.
    pub lived: Option<Duration>,
    /// How many are in the sample.
    pub blocks: u64,
    /// What was asked for with them.
    pub size: Bytes,
    /// How many bytes they stand for, where the process itself took the sample.
    pub weight: Option<Bytes>,
}

/// What a process has from an allocator of C: a sample of what it asked for since somebody looks
/// and has not freed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NativeHeap {
    /// Mean number of bytes between two samples; 1 when all blocks are there. Nothing where the
    /// process itself took the samples.
    pub every: Option<u64>,
    /// As of when.
    pub time: MonotonicNanos,
    /// The blocks, by address.
    pub blocks: Vec<NativeBlock>,
    /// What else was asked for, and freed.
    pub turnover: Vec<NativeTurnover>,
    /// Their stacks.
    pub stacks: HashMap<CallStackId, CallStack>,
}

/// A process that the OOM killer chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OomVictim {
    /// When.
    pub time: Timestamp,
    /// The process.
    pub pid: u32,
    /// Its name in the kernel, at most 15 bytes.
    pub name: String,
    /// Its address space.
    pub address_space: Bytes,
    /// Resident pages of files.
    pub file: Bytes,
    /// Resident pages of no file.
    pub anonymous: Bytes,
    /// Pages that were swapped out.
    pub swap: Bytes,
    /// Resident pages of shared memory.
    pub shared: Bytes,
    /// Path of its memory cgroup; its upper part is missing when it is very deep.
    pub cgroup: String,
    /// The limit that was reached; `None` when the machine was out of memory.
    pub limit: Option<OomLimit>,
}

/// The limit of a cgroup that was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OomLimit {
    /// Path of the cgroup: the victim's or one above.
    pub cgroup: String,
    /// What it used.
    pub usage: Bytes,
    /// What it may use.
    pub limit: Bytes,
}

impl OomVictim {
    /// What was resident.
    pub fn resident(&self) -> Bytes {
        Bytes(self.file.0.saturating_add(self.anonymous.0).saturating_add(self.shared.0))
    }
}
