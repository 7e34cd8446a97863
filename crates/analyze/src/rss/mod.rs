//! Why resident memory is as large as it is, and what would make it smaller.
//!
//! Every resident byte counts for one cause. Room that the collector needs until it runs
//! again is told apart from room that is left over: until the heap's goal is reached,
//! allocations fill free slots and idle spans, so that these are no waste as far as that.

mod advice;
#[cfg(test)]
mod tests;

use model::rss::{Rss, RssClass, RssKind};

use crate::heap::waste::spans::spans_for;

pub use advice::{Advice, advice};

/// Why memory is resident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CauseKind {
    /// Objects that the last collection marked.
    LiveHeap,
    /// Garbage and room until the next collection, as GOGC allows.
    GcHeadroom,
    /// Free slots beyond that, in spans that other objects pin, and what is no slot.
    Fragmentation,
    /// Idle spans beyond that.
    IdleHeap,
    /// Heap that was given back and is resident all the same.
    ReturnedHeap,
    /// Stacks of goroutines, cached ones included.
    Stacks,
    /// malloc of C.
    Native,
    /// Stacks of threads.
    ThreadStacks,
    /// Anonymous maps of the program or of C.
    Anonymous,
    /// Mapped files.
    Files,
    /// Shared memory.
    Shared,
    /// The Go runtime's own structures.
    Runtime,
    /// Executable and shared objects.
    Code,
    /// What could not be told.
    Unattributed,
}

impl CauseKind {
    /// The word used in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            CauseKind::LiveHeap => "live-heap",
            CauseKind::GcHeadroom => "gc-headroom",
            CauseKind::Fragmentation => "fragmentation",
            CauseKind::IdleHeap => "idle-heap",
            CauseKind::ReturnedHeap => "returned-heap",
            CauseKind::Stacks => "stacks",
            CauseKind::Native => "native",
            CauseKind::ThreadStacks => "thread-stacks",
            CauseKind::Anonymous => "anonymous",
            CauseKind::Files => "files",
            CauseKind::Shared => "shared",
            CauseKind::Runtime => "runtime",
            CauseKind::Code => "code",
            CauseKind::Unattributed => "unattributed",
        }
    }

    /// What that means.
    pub fn meaning(self) -> &'static str {
        match self {
            CauseKind::LiveHeap => "objects that were alive at the last collection",
            CauseKind::GcHeadroom => "garbage, and room until the next collection",
            CauseKind::Fragmentation => "free slots in spans that other objects pin",
            CauseKind::IdleHeap => "idle heap that is not given back",
            CauseKind::ReturnedHeap => "heap that was given back and is resident again",
            CauseKind::Stacks => "stacks of goroutines",
            CauseKind::Native => "malloc of C code",
            CauseKind::ThreadStacks => "stacks of threads",
            CauseKind::Anonymous => "anonymous maps of the program or of C code",
            CauseKind::Files => "mapped files",
            CauseKind::Shared => "shared memory",
            CauseKind::Runtime => "the Go runtime's own structures",
            CauseKind::Code => "code, constants and variables",
            CauseKind::Unattributed => "what could not be told",
        }
    }

    /// Where to look next.
    pub fn next(self) -> Option<&'static str> {
        match self {
            CauseKind::LiveHeap => Some("`memsight heap dominators TARGET` says what keeps it"),
            CauseKind::GcHeadroom => {
                Some("`memsight top TARGET -s alloc_space` says who allocates")
            }
            CauseKind::Fragmentation => {
                Some("`memsight heap waste TARGET` says which types pin it")
            }
            CauseKind::Stacks => Some("`memsight goroutines TARGET` says what they do"),
            CauseKind::Native | CauseKind::Anonymous | CauseKind::Files | CauseKind::Shared => {
                Some("`memsight rss TARGET --maps` says which mappings these are")
            }
            _ => None,
        }
    }
}

/// A cause and its resident bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Which.
    pub kind: CauseKind,
    /// How much.
    pub bytes: u64,
    /// The largest part of it, where one stands out: a size class, a file.
    pub detail: Option<String>,
}

/// Where the heap is between two collections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Room {
    /// The heap's size at which the next collection begins; `None` when nothing sets one.
    pub(crate) goal: Option<u64>,
    /// Of free slots and of idle spans what is filled until then.
    pub(crate) free: u64,
    pub(crate) idle: u64,
}

/// All causes that have memory, the largest first: that one is the main cause.
pub fn causes(rss: &Rss) -> Vec<Cause> {
    let of = |kind: RssKind| rss.tally.of(kind).bytes;
    let sum = |kinds: &[RssKind]| kinds.iter().map(|kind| of(*kind)).sum::<u64>();
    let room = room(rss);
    let group = |kind: RssKind| rss.tally.group(kind.group()).bytes;
    let rows = [
        (CauseKind::LiveHeap, of(RssKind::HeapMarked)),
        (
            CauseKind::GcHeadroom,
            sum(&[RssKind::HeapNew, RssKind::HeapDead]) + room.free + room.idle,
        ),
        (
            CauseKind::Fragmentation,
            sum(&[RssKind::HeapFree, RssKind::HeapTail]).saturating_sub(room.free),
        ),
        (CauseKind::IdleHeap, of(RssKind::HeapIdle).saturating_sub(room.idle)),
        (CauseKind::ReturnedHeap, of(RssKind::HeapReturned)),
        (CauseKind::Stacks, group(RssKind::StackInUse)),
        (
            CauseKind::Native,
            sum(&[RssKind::MallocHeap, RssKind::MallocArena, RssKind::MallocLarge]),
        ),
        (CauseKind::ThreadStacks, of(RssKind::ThreadStack)),
        (CauseKind::Anonymous, of(RssKind::Anonymous)),
        (CauseKind::Files, of(RssKind::File)),
        (CauseKind::Shared, of(RssKind::Shared)),
        (CauseKind::Runtime, group(RssKind::Spans)),
        (CauseKind::Code, sum(&[RssKind::Vdso]) + group(RssKind::ExeText)),
        (CauseKind::Unattributed, of(RssKind::Unattributed)),
    ];
    let cause = |(kind, bytes)| Cause { kind, bytes, detail: detail(rss, kind) };
    let mut causes: Vec<Cause> = rows.into_iter().filter(|row| row.1 > 0).map(cause).collect();
    causes.sort_by_key(|cause| (std::cmp::Reverse(cause.bytes), cause.kind));
    causes
}

/// What of the free memory of the heap is filled before the next collection begins.
pub(crate) fn room(rss: &Rss) -> Room {
    let of = |kind: RssKind| rss.tally.of(kind).bytes;
    let goal = goal(rss);
    let used = of(RssKind::HeapMarked) + of(RssKind::HeapNew) + of(RssKind::HeapDead);
    let left = goal.unwrap_or(0).saturating_sub(used);
    let free = of(RssKind::HeapFree).min(left);
    let idle = of(RssKind::HeapIdle).min(left - free);
    Room { goal, free, idle }
}

/// The heap goal: GOGC's, or that of GOMEMLIMIT where it is lower. The latter is not stored
/// in the runtime and computed as runtime/mgcpacer.go does, less 3 % for what cannot be known.
fn goal(rss: &Rss) -> Option<u64> {
    let runtime = &rss.runtime;
    let by_limit = || {
        let limit = runtime.gomemlimit_bytes.filter(|limit| *limit != i64::MAX)?;
        let mapped = runtime.sys_bytes?.checked_sub(runtime.heap_released_bytes?)?;
        let free = runtime.heap_idle_bytes?.checked_sub(runtime.heap_released_bytes?)?;
        let beside = mapped.saturating_sub(free).saturating_sub(runtime.heap_alloc_bytes?);
        let goal = u64::try_from(limit).ok()?.saturating_sub(beside);
        // Below what lives there is no goal: the collector runs all the time.
        Some((goal / 100 * 97).max(runtime.heap_live_bytes.unwrap_or(0)))
    };
    [runtime.heap_goal_bytes, by_limit()].into_iter().flatten().min()
}

/// What would go back if the objects in sparse spans of a class moved together, as
/// [`crate::heap::waste`] has it, of what is resident.
pub fn returnable_bytes(class: &RssClass) -> u64 {
    let left = class.sparse_objects.saturating_sub(class.room);
    let needed = spans_for(left, class.slots, class.spans).min(class.sparse_spans);
    let bytes = class.sparse_bytes / class.sparse_spans.max(1);
    class.sparse_bytes.saturating_sub(needed.saturating_mul(bytes))
}

/// The part of a cause that has more than half of it.
fn detail(rss: &Rss, kind: CauseKind) -> Option<String> {
    let named = match kind {
        CauseKind::Fragmentation => {
            let class = rss.classes.iter().max_by_key(|class| class.free_bytes)?;
            let slots = class.slot_bytes?;
            (format!("slots of {slots} bytes"), class.free_bytes, RssKind::HeapFree)
        }
        CauseKind::Files => {
            let (path, bytes) = largest_file(rss)?;
            (path.to_owned(), bytes, RssKind::File)
        }
        CauseKind::Native => {
            let parts = [RssKind::MallocHeap, RssKind::MallocArena, RssKind::MallocLarge];
            let part = parts.into_iter().max_by_key(|kind| rss.tally.of(*kind).bytes)?;
            (part.label().to_owned(), rss.tally.of(part).bytes, part)
        }
        _ => return None,
    };
    let (name, bytes, whole) = named;
    (bytes > rss.tally.of(whole).bytes / 2).then(|| format!("{} in {name}", model::Bytes(bytes)))
}

/// The file of which most is resident in mappings.
pub(crate) fn largest_file(rss: &Rss) -> Option<(&str, u64)> {
    let mut files: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for map in &rss.maps {
        let bytes = map.tally.of(RssKind::File).bytes;
        if bytes > 0 {
            *files.entry(map.path.as_str()).or_default() += bytes;
        }
    }
    files.into_iter().max_by_key(|(_, bytes)| *bytes)
}
