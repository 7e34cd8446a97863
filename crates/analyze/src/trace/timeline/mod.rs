//! What a page needs to show a trace at any zoom without its events: what each P and each
//! goroutine did from when to when, collections, stops, the heap and how many goroutines there
//! were.
//!
//! One pass packs every change of what a goroutine does into a log, about four bytes each, and
//! sums it up in at most 32,768 buckets of equal time. A question on a wide span is answered from the
//! buckets, one on a narrower span by reading the blocks of the log that it touches, at
//! some 100 million changes a second. Beside that there are 32 bytes for each goroutine, and what lives
//! while it is built.

mod answer;
mod buckets;
mod build;
mod canvas;
mod grid;
mod log;
mod steps;
#[cfg(test)]
mod tests;

use ahash::AHashMap;
use buckets::Buckets;
pub use build::Builder;
pub use canvas::{Column, View};
use log::Log;
use model::trace::{GoId, ProcId, Time};
use steps::Steps;

use super::intern::{Name, Names};

/// What a goroutine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Activity {
    /// It is not there: not yet, or no longer.
    Ended = 0,
    /// Ready, without a P.
    Ready = 1,
    /// Running.
    Running = 2,
    /// Running for the collector: as a worker, in an assist, or sweeping.
    Collecting = 3,
    /// In a system call, with a P.
    Syscall = 4,
    /// In a system call, without a P.
    SyscallBlocked = 5,
    /// Blocked.
    Waiting = 6,
}

impl Activity {
    /// How many there are.
    pub const COUNT: usize = 7;
    /// All of them, in the order of their numbers.
    pub const ALL: [Activity; Activity::COUNT] = [
        Activity::Ended,
        Activity::Ready,
        Activity::Running,
        Activity::Collecting,
        Activity::Syscall,
        Activity::SyscallBlocked,
        Activity::Waiting,
    ];

    /// The word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            Activity::Ended => "ended",
            Activity::Ready => "runnable",
            Activity::Running => "running",
            Activity::Collecting => "collecting garbage",
            Activity::Syscall => "system call",
            Activity::SyscallBlocked => "blocked in a system call",
            Activity::Waiting => "waiting",
        }
    }

    fn from_bits(bits: u64) -> Activity {
        match bits {
            1 => Activity::Ready,
            2 => Activity::Running,
            3 => Activity::Collecting,
            4 => Activity::Syscall,
            5 => Activity::SyscallBlocked,
            6 => Activity::Waiting,
            _ => Activity::Ended,
        }
    }

    /// Whether it has a P.
    pub fn has_proc(self) -> bool {
        matches!(self, Activity::Running | Activity::Collecting | Activity::Syscall)
    }

    fn has_detail(self) -> bool {
        self.has_proc() || self == Activity::Waiting
    }

    fn busy_kind(self) -> Option<usize> {
        self.has_proc().then(|| self as usize - Activity::Running as usize)
    }

    fn count_kind(self) -> Option<usize> {
        match self {
            Activity::Ended => None,
            Activity::Ready => Some(1),
            Activity::SyscallBlocked | Activity::Waiting => Some(2),
            _ => Some(0),
        }
    }
}

/// The place of a goroutine among all of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

/// A string of the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(pub u32);

/// What is drawn in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Track {
    /// What a P does, by its place in [`Timeline::procs`].
    Proc(u32),
    /// What a goroutine does.
    Goroutine(Slot),
    /// When the collector marks.
    Marking,
    /// When the world is stopped.
    Stops,
}

/// Something from one time to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// When it begins.
    pub start: Time,
    /// When it ends.
    pub end: Time,
    /// What is done; [`Activity::Collecting`] for marking and stops.
    pub activity: Activity,
    /// Who does it; for marking and stops nobody.
    pub slot: Option<Slot>,
    /// Why it waits, or what the world is stopped for.
    pub reason: Option<Text>,
}

/// A figure over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Figure {
    /// Bytes of the heap.
    HeapBytes,
    /// Bytes at which the collector wants to be done.
    HeapGoalBytes,
    /// Goroutines that have a P.
    Running,
    /// Goroutines that are ready.
    Ready,
    /// Goroutines that wait, also in system calls without a P.
    Blocked,
}

/// A figure in a span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The least value.
    pub min: u64,
    /// The largest.
    pub max: u64,
    /// The mean over time.
    pub mean: f64,
}

/// What is known of a goroutine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goroutine {
    /// Its number in the program.
    pub id: GoId,
    /// Creation, or the begin of the trace.
    pub created: Time,
    /// Its end, or that of the trace.
    pub ended: Time,
    /// The function it starts with; empty when the trace does not tell.
    pub function: Text,
}

/// A trace, ready to be drawn.
#[derive(Debug)]
pub struct Timeline {
    start: Time,
    end: Time,
    procs: Vec<ProcId>,
    goroutines: Vec<Goroutine>,
    /// Where each number was last given to a goroutine.
    slots: AHashMap<GoId, Slot>,
    names: Names,
    log: Log,
    buckets: Buckets,
    heap: Steps,
    goal: Steps,
    marking: Vec<Slice>,
    stops: Vec<Slice>,
    /// So few changes are read rather than taken from the buckets.
    changes_few: u64,
}

const CHANGES_FEW: u64 = 1 << 20;

impl Timeline {
    /// When the trace begins and ends.
    pub fn span(&self) -> (Time, Time) {
        (self.start, self.end)
    }

    /// All rows but those of goroutines.
    pub fn tracks(&self) -> Vec<Track> {
        let procs = (0..self.procs.len()).map(|at| Track::Proc(at as u32));
        [Track::Marking, Track::Stops].into_iter().chain(procs).collect()
    }

    /// The Ps, by their numbers.
    pub fn procs(&self) -> &[ProcId] {
        &self.procs
    }

    /// All goroutines, by [`Slot`].
    pub fn goroutines(&self) -> &[Goroutine] {
        &self.goroutines
    }

    /// A goroutine by its number in the program.
    pub fn goroutine(&self, id: GoId) -> Option<(Slot, Goroutine)> {
        let slot = *self.slots.get(&id)?;
        Some((slot, *self.goroutines.get(slot.0 as usize)?))
    }

    /// A string.
    pub fn text(&self, text: Text) -> &str {
        self.names.text(Name(text.0))
    }

    /// How many changes there are.
    pub fn changes(&self) -> u64 {
        self.log.records()
    }

    /// Bytes that the timeline holds, but for names.
    pub fn size_bytes(&self) -> usize {
        let lists = size_of_val(self.marking.as_slice()) + size_of_val(self.stops.as_slice());
        let goroutines = self.goroutines.capacity() * size_of::<Goroutine>()
            + self.slots.capacity() * size_of::<(GoId, Slot)>();
        let steps = self.heap.size() + self.goal.size();
        self.log.size() + self.buckets.size() + steps + lists + goroutines
    }
}
