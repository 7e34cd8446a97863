//! Pieces of evidence and what is recorded about them.

use crate::target::TargetId;
use crate::units::Timestamp;

/// What a capture holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CaptureKind {
    /// A heap profile (profile.proto, gzip).
    Heap,
    /// A goroutine profile (profile.proto, gzip).
    Goroutine,
    /// A profile of the goroutines that can never go on (profile.proto, gzip).
    GoroutineLeak,
    /// An object graph (memsight's snapshot file).
    Graph,
    /// Runtime metrics (JSON, gzip).
    Runtime,
    /// Where the resident bytes are (JSON, gzip).
    Rss,
    /// An execution trace, as the Go runtime wrote it.
    Trace,
    /// Sampled objects of some seconds, from birth to death (profile.proto, gzip).
    Alloc,
    /// What malloc gave in some seconds and nobody freed (profile.proto, gzip).
    Native,
    /// Page faults of some seconds, by stack and memory (profile.proto, gzip).
    Faults,
    /// What was mapped in some seconds, by stack, and what stays (profile.proto, gzip).
    Mmap,
}

impl CaptureKind {
    /// All kinds.
    pub const ALL: [CaptureKind; 11] = [
        CaptureKind::Heap,
        CaptureKind::Goroutine,
        CaptureKind::GoroutineLeak,
        CaptureKind::Graph,
        CaptureKind::Runtime,
        CaptureKind::Rss,
        CaptureKind::Trace,
        CaptureKind::Alloc,
        CaptureKind::Native,
        CaptureKind::Faults,
        CaptureKind::Mmap,
    ];

    /// The word used on the command line, in the store and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            CaptureKind::Heap => "heap",
            CaptureKind::Goroutine => "goroutine",
            CaptureKind::GoroutineLeak => "goroutineleak",
            CaptureKind::Graph => "graph",
            CaptureKind::Runtime => "runtime",
            CaptureKind::Rss => "rss",
            CaptureKind::Trace => "trace",
            CaptureKind::Alloc => "alloc",
            CaptureKind::Native => "native",
            CaptureKind::Faults => "faults",
            CaptureKind::Mmap => "mmap",
        }
    }

    /// It is a profile, which the pages of profiles show.
    pub fn is_profile(self) -> bool {
        use CaptureKind::{Goroutine, GoroutineLeak, Heap};
        matches!(self, Heap | Goroutine | GoroutineLeak) || self.is_probe()
    }

    /// It shows what happens in a time that somebody says, not a moment.
    pub fn is_lasting(self) -> bool {
        self == CaptureKind::Trace || self.is_probe()
    }

    /// It is what a probe in the kernel saw.
    pub fn is_probe(self) -> bool {
        use CaptureKind::{Alloc, Faults, Mmap, Native};
        matches!(self, Alloc | Native | Faults | Mmap)
    }

    /// It may be larger than memory: it is written as it comes and read where it lies.
    pub fn is_large(self) -> bool {
        matches!(self, CaptureKind::Graph | CaptureKind::Trace)
    }

    /// Parses the word.
    pub fn parse(word: &str) -> Option<CaptureKind> {
        CaptureKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Key of a capture in the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaptureId(pub i64);

/// What is known about a capture without opening it.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    /// Key in the store.
    pub id: CaptureId,
    /// Whose it is.
    pub target: TargetId,
    /// What it holds.
    pub kind: CaptureKind,
    /// When it was taken.
    pub time: Timestamp,
    /// Why: `schedule`, `manual`, a rule's name.
    pub reason: String,
    /// Size as stored.
    pub bytes: u64,
    /// CPU time it cost us, microseconds.
    pub cost_micros: u64,
    /// CRC-32 of the stored bytes.
    pub checksum: u32,
}
