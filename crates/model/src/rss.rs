//! What the resident memory of a process consists of.
//!
//! Every resident byte has exactly one kind, so that the kinds of a picture add up to what
//! was resident. What could not be told is a kind of its own, [`RssKind::Unattributed`].

use std::ops::Range;

use crate::RuntimeMemory;
use crate::memory::{CgroupMemory, ProcessMemory};
use crate::units::Timestamp;

/// What resident memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RssKind {
    /// Heap objects that the last collection marked.
    HeapMarked,
    /// Heap objects allocated since; how many are alive nobody knows yet.
    HeapNew,
    /// Heap objects that the last collection found dead and that are not swept yet.
    HeapDead,
    /// Free slots of spans in use.
    HeapFree,
    /// What is no slot: behind the last one, or the runtime's own bits.
    HeapTail,
    /// Pages of the heap that no span has.
    HeapIdle,
    /// Idle pages that the runtime gave back and that are resident all the same.
    HeapReturned,
    /// Stacks of goroutines.
    StackInUse,
    /// Stacks kept for later, and those of the scheduler on each thread.
    StackOther,
    /// `mspan` structures and their list.
    Spans,
    /// Mark and allocation bits.
    GcBits,
    /// The collector's work buffers.
    WorkBufs,
    /// The index of the heap's arenas.
    Arenas,
    /// The page allocator's summaries and bitmaps.
    PageAlloc,
    /// Buckets of the heap, block and mutex profiles.
    Buckets,
    /// The rest of the runtime's permanent memory: caches, finalizers, itabs.
    RuntimeOther,
    /// Code of the executable.
    ExeText,
    /// Constants of the executable, its function table among them.
    ExeRodata,
    /// Variables of the executable.
    ExeData,
    /// Shared objects: code, constants and variables.
    Library,
    /// `[heap]`, which malloc grows by brk.
    MallocHeap,
    /// Arenas of glibc's malloc for threads.
    MallocArena,
    /// Blocks that glibc's malloc mapped one by one.
    MallocLarge,
    /// Stacks of the kernel's threads.
    ThreadStack,
    /// Anonymous memory that neither the Go runtime nor malloc has in its tables.
    Anonymous,
    /// Files that are mapped.
    File,
    /// Shared memory.
    Shared,
    /// Pages that the kernel maps into every process.
    Vdso,
    /// What could not be told.
    Unattributed,
}

/// Kinds that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RssGroup {
    /// The Go heap.
    Heap,
    /// Goroutine stacks.
    Stacks,
    /// The Go runtime's own structures.
    Runtime,
    /// Executable and shared objects.
    Code,
    /// malloc of C and its threads.
    Native,
    /// Other mappings.
    Mapped,
    /// What could not be told.
    Unattributed,
}

impl RssGroup {
    /// All groups, in the order they are shown.
    pub const ALL: [RssGroup; 7] = [
        RssGroup::Heap,
        RssGroup::Stacks,
        RssGroup::Runtime,
        RssGroup::Code,
        RssGroup::Native,
        RssGroup::Mapped,
        RssGroup::Unattributed,
    ];

    /// The word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            RssGroup::Heap => "Go heap",
            RssGroup::Stacks => "Go stacks",
            RssGroup::Runtime => "Go runtime",
            RssGroup::Code => "code and variables",
            RssGroup::Native => "C (malloc, threads)",
            RssGroup::Mapped => "other mappings",
            RssGroup::Unattributed => "unattributed",
        }
    }
}

/// Kind, its word in JSON, its name for people.
type Row = (RssKind, &'static str, &'static str);

/// In the order of the enumeration.
const NAMES: [Row; RssKind::COUNT] = [
    (RssKind::HeapMarked, "heap-marked", "objects the last collection marked"),
    (RssKind::HeapNew, "heap-new", "objects allocated since"),
    (RssKind::HeapDead, "heap-dead", "dead objects, not swept yet"),
    (RssKind::HeapFree, "heap-free", "free slots"),
    (RssKind::HeapTail, "heap-tail", "behind the last slot"),
    (RssKind::HeapIdle, "heap-idle", "idle spans"),
    (RssKind::HeapReturned, "heap-returned", "given back, resident again"),
    (RssKind::StackInUse, "stack-goroutines", "of goroutines"),
    (RssKind::StackOther, "stack-other", "cached, and of the scheduler"),
    (RssKind::Spans, "runtime-spans", "span structures"),
    (RssKind::GcBits, "runtime-gc-bits", "mark and allocation bits"),
    (RssKind::WorkBufs, "runtime-workbufs", "the collector's work buffers"),
    (RssKind::Arenas, "runtime-arenas", "index of the heap's arenas"),
    (RssKind::PageAlloc, "runtime-page-alloc", "page allocator"),
    (RssKind::Buckets, "runtime-profile", "profiling buckets"),
    (RssKind::RuntimeOther, "runtime-other", "other permanent memory"),
    (RssKind::ExeText, "exe-text", "code of the executable"),
    (RssKind::ExeRodata, "exe-rodata", "constants and function table"),
    (RssKind::ExeData, "exe-data", "variables of the executable"),
    (RssKind::Library, "library", "shared objects"),
    (RssKind::MallocHeap, "malloc-heap", "malloc, main arena ([heap])"),
    (RssKind::MallocArena, "malloc-arena", "malloc, arenas of threads"),
    (RssKind::MallocLarge, "malloc-large", "malloc, large blocks"),
    (RssKind::ThreadStack, "thread-stack", "stacks of threads"),
    (RssKind::Anonymous, "anonymous", "anonymous maps"),
    (RssKind::File, "file", "mapped files"),
    (RssKind::Shared, "shared", "shared memory"),
    (RssKind::Vdso, "vdso", "the kernel's pages"),
    (RssKind::Unattributed, "unattributed", "what could not be told"),
];

impl RssKind {
    /// How many kinds there are.
    pub const COUNT: usize = 29;

    /// All kinds, in the order they are shown.
    pub fn all() -> impl Iterator<Item = RssKind> {
        NAMES.iter().map(|row| row.0)
    }

    /// Its place among all kinds.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The word used in JSON.
    pub fn as_str(self) -> &'static str {
        NAMES[self.index()].1
    }

    /// The name for people.
    pub fn label(self) -> &'static str {
        NAMES[self.index()].2
    }

    /// What it belongs to.
    pub fn group(self) -> RssGroup {
        match self {
            RssKind::HeapMarked
            | RssKind::HeapNew
            | RssKind::HeapDead
            | RssKind::HeapFree
            | RssKind::HeapTail
            | RssKind::HeapIdle
            | RssKind::HeapReturned => RssGroup::Heap,
            RssKind::StackInUse | RssKind::StackOther => RssGroup::Stacks,
            RssKind::Spans
            | RssKind::GcBits
            | RssKind::WorkBufs
            | RssKind::Arenas
            | RssKind::PageAlloc
            | RssKind::Buckets
            | RssKind::RuntimeOther => RssGroup::Runtime,
            RssKind::ExeText | RssKind::ExeRodata | RssKind::ExeData | RssKind::Library => {
                RssGroup::Code
            }
            RssKind::MallocHeap
            | RssKind::MallocArena
            | RssKind::MallocLarge
            | RssKind::ThreadStack => RssGroup::Native,
            RssKind::Anonymous | RssKind::File | RssKind::Shared | RssKind::Vdso => {
                RssGroup::Mapped
            }
            RssKind::Unattributed => RssGroup::Unattributed,
        }
    }
}

/// Resident bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RssBytes {
    /// All of them.
    pub bytes: u64,
    /// Of these in transparent huge pages. Where a mapping has both sizes of pages this is
    /// a share of what may be huge.
    pub huge_bytes: u64,
}

impl std::ops::AddAssign for RssBytes {
    fn add_assign(&mut self, other: RssBytes) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.huge_bytes = self.huge_bytes.saturating_add(other.huge_bytes);
    }
}

/// Resident bytes of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RssTally([RssBytes; RssKind::COUNT]);

impl Default for RssTally {
    fn default() -> RssTally {
        RssTally([RssBytes::default(); RssKind::COUNT])
    }
}

impl RssTally {
    /// What a kind has.
    pub fn of(&self, kind: RssKind) -> RssBytes {
        self.0[kind.index()]
    }

    /// Adds to a kind.
    pub fn add(&mut self, kind: RssKind, bytes: RssBytes) {
        self.0[kind.index()] += bytes;
    }

    /// Takes from a kind, as much as it has, and gives it to another.
    pub fn move_to(&mut self, from: RssKind, to: RssKind, bytes: RssBytes) {
        let source = &mut self.0[from.index()];
        let taken = RssBytes {
            bytes: bytes.bytes.min(source.bytes),
            huge_bytes: bytes.huge_bytes.min(source.huge_bytes),
        };
        source.bytes -= taken.bytes;
        source.huge_bytes -= taken.huge_bytes;
        self.add(to, taken);
    }

    /// Adds what another has.
    pub fn merge(&mut self, other: &RssTally) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum += more;
        }
    }

    /// What a group has.
    pub fn group(&self, group: RssGroup) -> RssBytes {
        let mut sum = RssBytes::default();
        for kind in RssKind::all().filter(|kind| kind.group() == group) {
            sum += self.of(kind);
        }
        sum
    }

    /// All of it.
    pub fn total(&self) -> RssBytes {
        let mut sum = RssBytes::default();
        self.0.iter().for_each(|more| sum += *more);
        sum
    }

    /// Makes the huge bytes smaller in this proportion.
    pub fn scale_huge(&mut self, part: u64, whole: u64) {
        for bytes in &mut self.0 {
            let huge = u128::from(bytes.huge_bytes) * u128::from(part) / u128::from(whole.max(1));
            bytes.huge_bytes = u64::try_from(huge).unwrap_or(bytes.huge_bytes);
        }
    }
}

/// A mapping of the process and what is resident of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RssMap {
    /// First address, and the first past it.
    pub range: Range<u64>,
    /// `r-xp`.
    pub permissions: String,
    /// File, `[heap]`, or empty.
    pub path: String,
    /// Resident by kind.
    pub tally: RssTally,
    /// Swapped out.
    pub swap_bytes: u64,
}

/// Spans of one size class, with or without pointers. Bytes are resident ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RssClass {
    /// Bytes of a slot; `None` for objects of more than 32 KiB, which have spans of their own.
    pub slot_bytes: Option<u64>,
    /// Its objects hold no pointers.
    pub is_noscan: bool,
    /// How many spans.
    pub spans: u64,
    /// Their resident memory; the sum of the next five.
    pub span_bytes: u64,
    /// Objects that the last collection marked.
    pub marked_bytes: u64,
    /// Objects allocated since.
    pub new_bytes: u64,
    /// Dead objects that are not swept yet.
    pub dead_bytes: u64,
    /// Free slots.
    pub free_bytes: u64,
    /// What is no slot.
    pub tail_bytes: u64,
    /// Slots, resident or not.
    pub slots: u64,
    /// Slots with an object, marked or new.
    pub objects: u64,
    /// Spans of which at most a quarter of the slots has an object, but at least one; not
    /// those that a processor allocates from.
    pub sparse_spans: u64,
    /// Their resident memory.
    pub sparse_bytes: u64,
    /// Their objects.
    pub sparse_objects: u64,
    /// Free slots of spans that are not sparse.
    pub room: u64,
}

/// Goroutines and their stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RssStacks {
    /// Goroutines that have a stack.
    pub goroutines: u64,
    /// Size of their stacks, resident or not.
    pub bytes: u64,
    /// The largest.
    pub largest_bytes: u64,
}

/// What the resident memory of a process consists of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rss {
    /// When it was read.
    pub time: Timestamp,
    /// Resident by kind.
    pub tally: RssTally,
    /// Each mapping that has resident or swapped memory, in address order.
    pub maps: Vec<RssMap>,
    /// Spans of the Go heap by size class; empty without a Go heap.
    pub classes: Vec<RssClass>,
    /// Heap pages that are given back: not resident.
    pub released_bytes: u64,
    /// Goroutines; `None` when they were not read.
    pub stacks: Option<RssStacks>,
    /// Arenas of malloc beside the main one.
    pub malloc_arenas: u64,
    /// Threads.
    pub threads: u64,
    /// Resident by /proc/PID/smaps, read before the rest.
    pub smaps_bytes: u64,
    /// Freed by MADV_FREE and still resident.
    pub lazy_free_bytes: u64,
    /// What the kernel counts for the process, read after the rest.
    pub process: ProcessMemory,
    /// Its cgroup.
    pub cgroup: CgroupMemory,
    /// The Go runtime's own figures; all `None` for other programs.
    pub runtime: RuntimeMemory,
    /// How the kernel makes huge pages.
    pub huge_pages: HugePages,
    /// The Go runtime's structures were read.
    pub has_runtime: bool,
    /// CPU time it cost us, microseconds.
    pub cost_micros: u64,
    /// What was left out, and why.
    pub warnings: Vec<String>,
}

/// Settings of transparent huge pages, in the kernel's words; empty when unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HugePages {
    /// `always`, `madvise`, or `never`.
    pub enabled: String,
    /// `khugepaged/max_ptes_none`: of 512 pages, how many may be missing when the kernel
    /// makes a huge page of the rest.
    pub max_ptes_none: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::{NAMES, RssBytes, RssGroup, RssKind, RssTally};

    #[test]
    fn names_are_in_order_and_groups_are_whole() {
        for (index, row) in NAMES.iter().enumerate() {
            assert_eq!(row.0.index(), index);
        }
        let mut tally = RssTally::default();
        for kind in RssKind::all() {
            tally.add(kind, RssBytes { bytes: 1, huge_bytes: 0 });
        }
        let groups: u64 = RssGroup::ALL.iter().map(|group| tally.group(*group).bytes).sum();
        assert_eq!((groups, tally.total().bytes), (29, 29));
    }

    #[test]
    fn no_more_is_moved_than_there_is() {
        let mut tally = RssTally::default();
        tally.add(RssKind::Anonymous, RssBytes { bytes: 10, huge_bytes: 4 });
        let more = RssBytes { bytes: 12, huge_bytes: 2 };
        tally.move_to(RssKind::Anonymous, RssKind::Spans, more);
        assert_eq!(tally.of(RssKind::Spans), RssBytes { bytes: 10, huge_bytes: 2 });
        assert_eq!(tally.of(RssKind::Anonymous), RssBytes { bytes: 0, huge_bytes: 2 });
        tally.scale_huge(1, 2);
        assert_eq!(tally.total(), RssBytes { bytes: 10, huge_bytes: 2 });
    }
}
