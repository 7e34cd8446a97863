//! What memory a process touches and maps: page faults, resident memory as it changes, calls that
//! change mappings.

use std::ops::Range;

use super::MonotonicNanos;
use crate::units::{Addr, Bytes};

/// Page faults of a process, as many as are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultCount {
    /// Addresses of the code, innermost first; empty when they could not be read. The first is the
    /// instruction that faulted, all others are return addresses.
    pub stack: Vec<Addr>,
    /// What memory it was.
    pub region: FaultRegion,
    /// What was done to it.
    pub access: FaultAccess,
    /// How many.
    pub faults: u64,
    /// The pages: the lowest address, and the first one above the highest.
    pub pages: Range<Addr>,
}

/// What was done to memory that faulted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultAccess {
    /// Nothing was mapped there yet, and it was written to.
    Write,
    /// Nothing was mapped there yet, and it was read.
    Read,
    /// Nothing was mapped there yet, and it was executed.
    Execute,
    /// A page was mapped there that must not be written to: it is copied, or marked as written.
    Copy,
    /// It was mapped and could be read; the access was not allowed, or is now.
    Protected,
}

/// The mapping that memory belongs to, as the kernel had it when the fault came.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FaultRegion {
    /// What it is.
    pub kind: MappingKind,
    /// Its addresses, as of the last fault.
    pub mapping: Range<Addr>,
    /// Name of its file, without folder; empty when it has none.
    pub file: String,
    /// It was given to the kernel as memory for huge pages (`MADV_HUGEPAGE`).
    pub is_huge: bool,
}

/// What the kernel knows of a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MappingKind {
    /// Nothing: the fault came while mappings were changed, or there is none.
    Unknown,
    /// Of no file.
    Anonymous,
    /// What brk grows.
    Brk,
    /// The stack of the first thread.
    Stack,
    /// Of a file.
    File,
    /// Of memory that processes share, or of a file that lies in memory.
    Shared,
}

/// What a part of an address space is used for; more is in [`RssKind`](crate::RssKind).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MemoryUse {
    /// The Go heap: objects, and the stacks of goroutines among them.
    GoHeap,
    /// The Go runtime's own structures.
    GoRuntime,
    /// malloc of C: what brk grows, arenas, large blocks.
    Malloc,
    /// Stacks of threads.
    ThreadStack,
    /// Code, constants and variables of the executable and of shared objects.
    Code,
    /// Files that are mapped.
    File,
    /// Shared memory, and files that lie in memory.
    Shared,
    /// Other memory of no file.
    Anonymous,
    /// Nobody knows.
    Unknown,
}

impl MemoryUse {
    /// The word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            MemoryUse::GoHeap => "Go heap",
            MemoryUse::GoRuntime => "Go runtime",
            MemoryUse::Malloc => "malloc",
            MemoryUse::ThreadStack => "thread stacks",
            MemoryUse::Code => "code and variables",
            MemoryUse::File => "files",
            MemoryUse::Shared => "shared memory",
            MemoryUse::Anonymous => "other anonymous",
            MemoryUse::Unknown => "unknown",
        }
    }
}

impl FaultAccess {
    /// The word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            FaultAccess::Write => "write",
            FaultAccess::Read => "read",
            FaultAccess::Execute => "execute",
            FaultAccess::Copy => "copy",
            FaultAccess::Protected => "protected",
        }
    }
}

/// How much of a process was resident at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResidentSample {
    /// When.
    pub time: MonotonicNanos,
    /// Whose.
    pub pid: u32,
    /// Pages of files.
    pub file: Bytes,
    /// Pages of no file.
    pub anonymous: Bytes,
    /// Pages that are swapped out.
    pub swap: Bytes,
    /// Pages of shared memory.
    pub shared: Bytes,
}

impl ResidentSample {
    /// All that was resident.
    pub fn resident(&self) -> Bytes {
        Bytes(self.file.0.saturating_add(self.anonymous.0).saturating_add(self.shared.0))
    }
}

/// A call that changed the mappings of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingCall {
    /// When it returned.
    pub time: MonotonicNanos,
    /// Whose.
    pub pid: u32,
    /// The thread that called.
    pub thread: u32,
    /// What it did.
    pub change: MappingChange,
    /// As of [`FaultCount`]; the first is the instruction behind the system call.
    pub stack: Vec<Addr>,
}

/// What a call did to mappings. Ranges are whole pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MappingChange {
    /// mmap: replaces what was there.
    Mapped {
        /// Where.
        range: Range<Addr>,
        /// Nothing may access it (`PROT_NONE`): address space that is kept free.
        is_reserved: bool,
    },
    /// munmap.
    Unmapped {
        /// What; parts of it may not have been mapped.
        range: Range<Addr>,
    },
    /// brk: the end of its heap.
    BreakMoved {
        /// Where it was.
        from: Addr,
        /// Where it is.
        to: Addr,
    },
    /// mremap.
    Moved {
        /// What was there before.
        from: Range<Addr>,
        /// Where it is now; larger, smaller, or at the same place.
        to: Range<Addr>,
        /// What was there before is there still.
        is_kept: bool,
    },
    /// mprotect.
    Protected {
        /// What.
        range: Range<Addr>,
        /// Nothing may access it any more; otherwise something may.
        is_reserved: bool,
    },
    /// madvise: the memory of these addresses may go, they stay mapped.
    GivenBack {
        /// What.
        range: Range<Addr>,
    },
    /// exec: another program begins, with mappings of its own.
    Replaced,
}
