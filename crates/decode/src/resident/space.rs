//! Where the Go runtime keeps what: ranges of the heap, its own tables, stacks.
//!
//! Everything is found by the runtime's own pointers: `mheap_` with the page allocator, the
//! list of permanent memory, the lists of bit chunks, `allgs`. The program runs meanwhile: a
//! table that moves while it is read is missing, and what it held stays unattributed.
//! Source: runtime/mheap.go, mpagealloc.go, malloc.go (persistentalloc), mprof.go.

use std::ops::Range;

use ahash::AHashSet;
use model::rss::{RssKind, RssStacks};
use model::{Addr, GoVersion};

use super::window::{Piece, read_pieces, read_words};
use crate::goheap::layout::{ARENA, Layout, PAGE, X86_64};
use crate::goruntime::{BlockCache, Memory, Process, RuntimeError, is_alive};

/// Memory of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) range: Range<u64>,
    pub(super) kind: RssKind,
    /// It is in the runtime's own sum of what it has from the system.
    pub(super) is_counted: bool,
}

/// What the runtime's tables say of the address space.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Space {
    /// What the page allocator hands out, ascending.
    pub(super) heap: Vec<Range<u64>>,
    /// Free pages of the heap that were given back, ascending.
    pub(super) returned: Vec<Range<u64>>,
    /// The runtime's own memory.
    pub(super) areas: Vec<Area>,
    /// Parts of these that are of another kind, ascending.
    pub(super) parts: Vec<Area>,
    /// Stacks of goroutines, ascending.
    pub(super) stacks: Vec<Range<u64>>,
    pub(super) goroutines: RssStacks,
    pub(super) warnings: Vec<String>,
}

/// Offsets of `mheap`, alike in Go 1.21 to 1.27 (`fixtures/layout`).
mod mheap {
    pub(super) const SUMMARY: u64 = 8;
    pub(super) const CHUNKS: u64 = 8 + 120;
    pub(super) const IN_USE: u64 = 8 + 65680;
    pub(super) const SCAVENGE_INDEX: u64 = 8 + 65720;
    pub(super) const ALL_SPANS: u64 = 65864;
}

/// `summaryLevels`.
const LEVELS: u64 = 5;
/// `pallocChunkBytes`: what one bitmap is about.
const CHUNK: u64 = 4 << 20;
/// Chunks of an entry of the first level, and the size of their bitmaps.
const CHUNKS_L2: u64 = 8192;
const CHUNK_DATA: u64 = 128;
/// `persistentChunkSize`.
const PERSISTENT: u64 = 256 << 10;
/// `gcBitsChunkBytes`.
const BITS_CHUNK: u64 = 64 << 10;
/// `1 << arenaL2Bits` pointers.
const ARENA_INDEX: u64 = 8 << 22;
/// `buckHashSize` pointers.
const BUCKET_TABLE: u64 = 179_999 * 8;
/// Longer lists, and heaps of more chunks (1 TiB), are damage.
const LIST_MAX: usize = 1 << 18;
/// So many ranges of pages that were given back are kept.
const RETURNED_MAX: usize = 1 << 23;
/// As `goruntime` has it.
const GOROUTINES_MAX: u64 = 4_000_000;
const BUCKETS_MAX: usize = 1 << 20;
const DEPTH_MAX: u64 = 1024;

/// Where the runtime's variables are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub(super) mheap: u64,
    pub(super) persistent_chunks: Option<u64>,
    pub(super) gc_bits_arenas: Option<u64>,
    pub(super) bucket_table: Option<u64>,
    pub(super) buckets: Option<u64>,
    pub(super) goroutines: Option<u64>,
}

impl Places {
    pub(super) fn of<M: Memory>(process: &Process<'_, M>) -> Result<Places, RuntimeError> {
        let variables = &process.variables;
        let at = |addr: Option<Addr>| Some(process.bias.apply(addr?)?.0);
        Ok(Places {
            mheap: process.variable(variables.mheap, "runtime.mheap_")?.0,
            persistent_chunks: at(variables.persistent_chunks),
            gc_bits_arenas: at(variables.gc_bits_arenas),
            bucket_table: at(variables.bucket_table),
            buckets: at(variables.mbuckets),
            goroutines: at(variables.allgs),
        })
    }
}

pub(super) struct Reader<'m, M: Memory> {
    pub(super) memory: &'m M,
    pub(super) places: Places,
    pub(super) layout: Layout,
    /// `-arenaBaseOffset`.
    pub(super) bias: u64,
    pub(super) space: Space,
}

impl<'m, M: Memory> Reader<'m, M> {
    pub(super) fn new(memory: &'m M, places: Places, version: GoVersion, machine: u16) -> Self {
        Reader {
            memory,
            places,
            layout: Layout::of(version, machine),
            bias: if machine == X86_64 { 1 << 47 } else { 0 },
            space: Space::default(),
        }
    }

    pub(super) fn word(&self, addr: u64) -> u64 {
        self.memory.read_u64(Addr(addr)).unwrap_or(0)
    }

    /// A field of `mheap_`.
    pub(super) fn field(&self, offset: u64) -> Result<u64, RuntimeError> {
        Ok(self.memory.read_u64(Addr(self.places.mheap.wrapping_add(offset)))?)
    }

    /// Reads everything but the spans.
    pub(super) fn read(&mut self) -> Result<(), RuntimeError> {
        self.heap()?;
        self.arenas()?;
        self.page_allocator()?;
        let (list, capacity) = (self.field(mheap::ALL_SPANS)?, self.field(mheap::ALL_SPANS + 16)?);
        self.area(list, capacity.saturating_mul(8), RssKind::Spans);
        self.lists();
        self.buckets();
        self.goroutines();
        self.space.areas.sort_by_key(|area| area.range.start);
        Ok(())
    }

    fn area(&mut self, start: u64, bytes: u64, kind: RssKind) {
        // The system gives whole pages.
        let end = start.checked_add(bytes).filter(|end| *end <= 1 << 57);
        let end = end.map(|end| end.next_multiple_of(4096));
        if let Some(end) = end.filter(|_| start != 0 && bytes != 0) {
            self.space.areas.push(Area { range: start..end, kind, is_counted: true });
        }
    }

    /// `mheap_.pages.inUse`, whose addresses are what they are on Linux.
    fn heap(&mut self) -> Result<(), RuntimeError> {
        let (list, count) = (self.field(mheap::IN_USE)?, self.field(mheap::IN_USE + 8)?);
        let words = read_words(self.memory, list, count.min(LIST_MAX as u64) * 2);
        let (pairs, _) = words.as_chunks::<2>();
        let mut end = 0;
        for &[base, limit] in pairs {
            if base >= end && base < limit && limit <= 1 << 57 {
                self.space.heap.push(base..limit);
                end = limit;
            }
        }
        Ok(())
    }

    /// The `heapArena`s and the table of them.
    fn arenas(&mut self) -> Result<(), RuntimeError> {
        let table = self.field(self.layout.arenas)?;
        if let Some(end) = table.checked_add(ARENA_INDEX).filter(|_| table != 0) {
            // The runtime does not count it: nearly all of it is never touched.
            let range = table..end;
            self.space.areas.push(Area { range, kind: RssKind::Arenas, is_counted: false });
        }
        let size = match self.layout.minor {
            21 => 1_133_584,
            22..=24 => 68_624,
            _ => 69_648,
        };
        let mut found = Vec::new();
        for range in &self.space.heap {
            let index = |addr: u64| addr.wrapping_add(self.bias) / ARENA;
            let (first, last) = (index(range.start), index(range.end - 1));
            let count = last.saturating_sub(first).min(LIST_MAX as u64) + 1;
            let at = table.saturating_add(first.saturating_mul(8));
            found.extend(read_words(self.memory, at, count));
        }
        found.into_iter().for_each(|arena| self.area(arena, size, RssKind::Arenas));
        Ok(())
    }

    /// Summaries, the index of what can be scavenged, and the bitmaps.
    fn page_allocator(&mut self) -> Result<(), RuntimeError> {
        let summaries = (0..LEVELS).map(|level| mheap::SUMMARY + level * 24);
        for slice in summaries.chain([mheap::SCAVENGE_INDEX]) {
            // The capacity is what is reserved; pages that are not there do not count.
            let (start, capacity) = (self.field(slice)?, self.field(slice + 16)?);
            self.area(start, capacity.saturating_mul(8), RssKind::PageAlloc);
        }
        let mut left = LIST_MAX as u64;
        let mut tables = AHashSet::new();
        for range in self.space.heap.clone() {
            let chunk = |addr: u64| addr.wrapping_add(self.bias) / CHUNK;
            let (mut at, end) = (chunk(range.start), chunk(range.end - 1) + 1);
            while at < end && left > 0 {
                let count = (end - at).min(CHUNKS_L2 - at % CHUNKS_L2).min(left);
                let table = self.field(mheap::CHUNKS + at / CHUNKS_L2 % CHUNKS_L2 * 8)?;
                if table != 0 {
                    if tables.insert(table) {
                        self.area(table, CHUNKS_L2 * CHUNK_DATA, RssKind::PageAlloc);
                    }
                    let data = table.saturating_add(at % CHUNKS_L2 * CHUNK_DATA);
                    let words = read_words(self.memory, data, count * CHUNK_DATA / 8);
                    self.returned(at, &words, &range);
                }
                (at, left) = (at + count, left - count);
            }
        }
        Ok(())
    }

    /// Pages that are free and scavenged, by the bitmaps of the chunks from `first` on.
    fn returned(&mut self, first: u64, words: &[u64], heap: &Range<u64>) {
        let (chunks, _) = words.as_chunks::<16>();
        for (index, chunk) in (first..).zip(chunks) {
            let start = (index * CHUNK).wrapping_sub(self.bias);
            let (used, scavenged) = chunk.split_at(8);
            for (word, (used, scavenged)) in (0..).zip(used.iter().zip(scavenged)) {
                let mut bits = scavenged & !used;
                while bits != 0 {
                    let from = bits.trailing_zeros();
                    let len = (!(bits >> from)).trailing_zeros().min(64 - from);
                    let page = start + (word * 64 + u64::from(from)) * PAGE;
                    let end = page + u64::from(len) * PAGE;
                    self.push_returned(page.max(heap.start)..end.min(heap.end));
                    bits &= u64::MAX.checked_shl(from + len).unwrap_or(0);
                }
            }
        }
    }

    fn push_returned(&mut self, range: Range<u64>) {
        let is_full = self.space.returned.len() >= RETURNED_MAX;
        match self.space.returned.last_mut() {
            _ if range.start >= range.end => {}
            Some(last) if last.end == range.start => last.end = range.end,
            _ if is_full => {}
            _ => self.space.returned.push(range),
        }
    }

    /// The chunks of permanent memory and those of bits, each linked to the next.
    fn lists(&mut self) {
        match self.places.persistent_chunks {
            Some(head) => self.list(self.word(head), 0, PERSISTENT, RssKind::RuntimeOther),
            None => self.missing("the list of the runtime's permanent memory"),
        }
        match self.places.gc_bits_arenas {
            // free, next, current, previous, behind a lock of one word.
            Some(lists) => (1..5).for_each(|index| {
                let first = self.word(lists.saturating_add(index * 8));
                self.list(first, 8, BITS_CHUNK, RssKind::GcBits);
            }),
            None => self.missing("the list of mark and allocation bits"),
        }
        if let Some(table) = self.places.bucket_table {
            self.area(self.word(table), BUCKET_TABLE, RssKind::Buckets);
        }
    }

    fn missing(&mut self, what: &str) {
        let what = format!("{what} was not found; what is in it stays unattributed");
        self.space.warnings.push(what);
    }

    fn list(&mut self, first: u64, link: u64, bytes: u64, kind: RssKind) {
        let mut at = first;
        for _ in 0..LIST_MAX {
            if at == 0 {
                return;
            }
            self.area(at, bytes, kind);
            at = self.word(at.saturating_add(link));
        }
    }

    /// Buckets of the heap profile, which lie in permanent memory.
    fn buckets(&mut self) {
        let record = bucket_record(self.layout.minor);
        let cache = BlockCache::new(self.memory);
        let mut at = self.places.buckets.map_or(0, |head| self.word(head));
        let mut found = Vec::new();
        while at != 0 && found.len() < BUCKETS_MAX {
            let field = |offset: u64| cache.read_u64(Addr(at.saturating_add(offset))).ok();
            let (Some(next), Some(depth)) = (field(8), field(40)) else { break };
            if depth > DEPTH_MAX {
                break;
            }
            found.push(at..at.saturating_add(48 + depth * 8 + record));
            at = next;
        }
        self.add_parts(found, RssKind::Buckets);
    }

    /// Adds parts of areas; neighbours become one.
    pub(super) fn add_parts(&mut self, ranges: Vec<Range<u64>>, kind: RssKind) {
        let part = |range| Area { range, kind, is_counted: false };
        self.space.parts.extend(joined(ranges).into_iter().map(part));
        self.space.parts.sort_by_key(|part| part.range.start);
    }

    fn goroutines(&mut self) {
        let Some(allgs) = self.places.goroutines else {
            return self.missing("the list of goroutines");
        };
        let (list, count) = (self.word(allgs), self.word(allgs.saturating_add(8)));
        let all = distinct(read_words(self.memory, list, count.min(GOROUTINES_MAX)));
        let status = self.layout.status as usize;
        let len = (status + 4) as u64;
        let pieces = all.iter().enumerate().map(|(id, addr)| Piece { addr: *addr, len, id });
        let (mut stacks, mut totals) = (Vec::new(), RssStacks::default());
        let failed = read_pieces(self.memory, pieces.collect(), |_, g| {
            let (low, high) = (g.u64(0).unwrap_or(0), g.u64(8).unwrap_or(0));
            let size = high.saturating_sub(low);
            let is_alive = g.u32(status).is_some_and(is_alive);
            // The largest stack there can be is 1 GiB; what is larger is no `g`.
            if is_alive && low != 0 && size != 0 && size <= 1 << 30 {
                totals.goroutines += 1;
                totals.bytes += size;
                totals.largest_bytes = totals.largest_bytes.max(size);
                stacks.push(low..high);
            }
        });
        if failed > 0 {
            self.space.warnings.push(format!("{failed} goroutines could not be read"));
        }
        self.space.goroutines = totals;
        self.space.stacks = joined(stacks);
    }
}

/// `memRecord` behind a bucket of the heap profile: the published counters and three cycles
/// of future ones, without bytes since Go 1.27.
fn bucket_record(minor: u16) -> u64 {
    if minor >= 27 { 4 * 16 } else { 4 * 32 }
}

/// Each address once: a damaged list may name one any number of times.
pub(super) fn distinct(mut addresses: Vec<u64>) -> Vec<u64> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Sorted, without overlaps, and neighbours as one.
fn joined(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::joined;

    #[test]
    fn neighbours_are_one_range() {
        assert_eq!(joined(vec![8..9, 1..4, 4..6, 2..3]), [1..6, 8..9]);
    }
}
