//! The spans of the heap and which of their slots hold objects.
//!
//! A slot is in use when it lies below `freeindex` or its bit in `allocBits` is set. In
//! a span that the sweeper has not visited since the last collection those are one cycle
//! old, and the mark bits tell. Source: runtime/mheap.go, mbitmap.go, mgcsweep.go,
//! mgcmark_greenteagc.go.

use std::borrow::Cow;

use model::Addr;
use model::heap::{ObjectId, Spans};

use super::layout::{ARENA, ARENA_INLINE_BITS, BITMAP_MAX, INLINE_MARKS, Layout, PAGE, X86_64};
use crate::bytes::Bytes;
use crate::goruntime::{Memory, MemoryError, MemoryImage};

/// A span that holds objects.
#[derive(Clone, Debug)]
pub(super) struct Span<'a> {
    pub(super) base: u64,
    pub(super) pages: u64,
    pub(super) elem: u64,
    pub(super) slots: u32,
    pub(super) is_noscan: bool,
    pub(super) is_large: bool,
    /// Address of `largeType`.
    pub(super) large_type: u64,
    /// Address of the first special.
    pub(super) specials: u64,
    /// The span's memory.
    pub(super) bytes: Cow<'a, [u8]>,
    /// A processor allocates from it.
    pub(super) is_cached: bool,
    /// The last 128 bytes of the page hold mark bits.
    pub(super) has_inline_marks: bool,
}

/// All of them, in address order, with the slots in use.
pub(super) struct SpanTable<'a> {
    pub(super) spans: Vec<Span<'a>>,
    /// The same as columns of the graph.
    pub(super) columns: Spans<'static>,
    index: PageIndex,
    /// Bytes of all spans: HeapInuse.
    pub(super) in_use_bytes: u64,
    /// Spans that could not be read.
    pub(super) unreadable: u64,
    pub(super) arenas: Arenas,
}

/// An object and where an address lies in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) object: ObjectId,
    /// Index of its span.
    pub(super) span: usize,
    pub(super) slot: u64,
    /// From the start of the slot.
    pub(super) offset: u64,
}

/// `mheap_.arenas`: metadata of each 64 MiB of heap.
#[derive(Clone, Copy)]
pub(super) struct Arenas {
    table: u64,
    bias: u64,
}

impl Arenas {
    /// Address of the `heapArena` of an address.
    pub(super) fn of(&self, memory: &MemoryImage<'_>, addr: u64) -> Option<u64> {
        let index = addr.wrapping_add(self.bias) / ARENA;
        let slot = self.table.checked_add(index.checked_mul(8)?)?;
        memory.read_u64(Addr(slot)).ok().filter(|arena| *arena != 0)
    }
}

/// A heap with more spans is damage: 2^26 pages are 512 GiB.
const SPANS_MAX: u64 = 1 << 26;
/// `gc.MaxObjsPerSpan`: a page of the smallest.
const SLOTS_MAX: u64 = 1024;
/// `arenaBaseOffset` on amd64, negated.
const AMD64_BIAS: u64 = 0x8000_0000_0000;
/// `mSpanInUse`.
const IN_USE: u8 = 1;

impl<'a> SpanTable<'a> {
    /// Reads `mheap_.allspans`.
    pub(super) fn read(
        memory: &MemoryImage<'a>,
        mheap: Addr,
        layout: &Layout,
        machine: u16,
    ) -> Result<SpanTable<'a>, MemoryError> {
        let field = |offset: u64| {
            let addr = mheap.checked_add(offset).ok_or(MemoryError::Unmapped(mheap))?;
            memory.read_u64(addr)
        };
        let sweepgen = field(65856)? as u32;
        let (list, count) = (field(65864)?, field(65872)?.min(SPANS_MAX));
        let bias = if machine == X86_64 { AMD64_BIAS } else { 0 };
        let arenas = Arenas { table: field(layout.arenas)?, bias };
        let mut reader = Reader { memory, layout, sweepgen, arenas, found: Vec::new(), failed: 0 };
        for index in 0..count {
            let slot = list.checked_add(index * 8).ok_or(MemoryError::Unmapped(Addr(list)))?;
            reader.add(memory.read_u64(Addr(slot))?);
        }
        Ok(reader.table())
    }

    /// The span of an address, by index.
    #[inline]
    pub(super) fn span_of(&self, addr: u64) -> Option<usize> {
        self.index.get(addr)
    }

    /// From the first address of the first span to the end of the last.
    pub(super) fn bounds(&self) -> std::ops::Range<u64> {
        let end = |span: &Span<'_>| span.base + span.pages * PAGE;
        match (self.spans.first(), self.spans.last()) {
            (Some(first), Some(last)) => first.base..end(last),
            _ => 0..0,
        }
    }

    /// How many objects there are.
    pub(super) fn objects(&self) -> usize {
        self.columns.first.last().copied().unwrap_or(0) as usize
    }

    /// The object that an address points into.
    #[inline]
    pub(super) fn find(&self, addr: u64) -> Option<Found> {
        let index = self.span_of(addr)?;
        let span = self.spans.get(index)?;
        let offset = addr - span.base;
        let slot = if span.is_large { 0 } else { offset / span.elem };
        let object = self.columns.object_at(index, slot)?;
        Some(Found { object, span: index, slot, offset: offset - slot * span.elem })
    }

    /// The slots in use of a span, ascending.
    pub(super) fn slots(&self, span: usize) -> impl Iterator<Item = u64> + '_ {
        let word = |at: usize| self.columns.word.get(at).copied().unwrap_or(0) as usize;
        let words = self.columns.allocated.get(word(span)..word(span + 1)).unwrap_or(&[]);
        words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros())?;
                left &= left - 1;
                Some(index as u64 * 64 + u64::from(bit))
            })
        })
    }
}

struct Reader<'a, 'm> {
    memory: &'m MemoryImage<'a>,
    layout: &'m Layout,
    sweepgen: u32,
    arenas: Arenas,
    found: Vec<Candidate>,
    failed: u64,
}

/// A span that says it is in use: where its memory is, and its `mspan`.
struct Candidate {
    base: u64,
    end: u64,
    addr: u64,
}

impl<'a> Reader<'a, '_> {
    fn mspan(&self, addr: u64) -> Option<Bytes<'a>> {
        self.memory.slice(Addr(addr), self.layout.span_size as u64).map(Bytes)
    }

    fn add(&mut self, addr: u64) {
        let Some(bytes) = self.mspan(addr) else {
            self.failed += 1;
            return;
        };
        if bytes.u8(self.layout.state) != Some(IN_USE) {
            return;
        }
        let place = || {
            let (base, pages) = (bytes.u64(24)?, bytes.u64(32)?);
            let end = base.checked_add(pages.checked_mul(PAGE)?)?;
            let is_sound = base < end && base % PAGE == 0 && end <= 1 << 57;
            is_sound.then_some(Candidate { base, end, addr })
        };
        match place() {
            Some(found) => self.found.push(found),
            None => self.failed += 1,
        }
    }

    fn span(&self, bytes: Bytes<'_>, place: &Candidate) -> Option<Span<'a>> {
        let layout = self.layout;
        let (base, size) = (place.base, place.end - place.base);
        let elem = bytes.u64(layout.elemsize)?;
        let slots = if layout.minor == 21 {
            bytes.u64(layout.nelems)?
        } else {
            bytes.u16(layout.nelems)?.into()
        };
        let class = bytes.u8(layout.spanclass)?;
        let is_large = class >> 1 == 0;
        let slots_max = if is_large { 1 } else { SLOTS_MAX };
        let fits = elem > 0 && elem % 8 == 0 && slots.checked_mul(elem)? <= size;
        if !fits || !(1..=slots_max).contains(&slots) {
            return None;
        }
        let has_large_type = layout.large_type != 0 && is_large;
        Some(Span {
            base,
            pages: size / PAGE,
            elem,
            slots: u32::try_from(slots).ok()?,
            is_noscan: class & 1 != 0,
            is_large,
            large_type: if has_large_type { bytes.u64(layout.large_type)? } else { 0 },
            specials: bytes.u64(layout.specials)?,
            is_cached: self.is_cached(bytes),
            // What is not there cannot be asked for; it also bounds the index of pages.
            bytes: self.memory.joined(Addr(base), size)?,
            has_inline_marks: self.has_inline_marks(base, elem),
        })
    }

    /// Whether a processor's cache holds the span: since before the sweep, or swept.
    fn is_cached(&self, bytes: Bytes<'_>) -> bool {
        let ahead = bytes.u32(self.layout.sweepgen).unwrap_or(0).wrapping_sub(self.sweepgen);
        matches!(ahead, 1 | 3)
    }

    /// Whether the span's mark bits lie in its page: a bit a page since 1.25.
    fn has_inline_marks(&self, base: u64, elem: u64) -> bool {
        if self.layout.minor < 25 || !(16..=BITMAP_MAX).contains(&elem) {
            return false;
        }
        let page = base % ARENA / PAGE;
        let byte = self.arenas.of(self.memory, base).and_then(|arena| {
            self.memory.slice(Addr(arena.checked_add(ARENA_INLINE_BITS + page / 8)?), 1)
        });
        byte.and_then(|byte| byte.first()).is_some_and(|byte| byte >> (page % 8) & 1 != 0)
    }

    /// A bit for each slot that holds an object.
    fn allocated(&self, bytes: Bytes<'_>, span: &Span<'_>) -> Vec<u64> {
        let layout = self.layout;
        let sweepgen = bytes.u32(layout.sweepgen).unwrap_or(0);
        let free_index = match layout.minor {
            21 => bytes.u64(48).unwrap_or(0),
            _ => bytes.u16(48).unwrap_or(0).into(),
        };
        let alloc = self.bits(bytes.u64(layout.alloc_bits).unwrap_or(0), span.slots);
        // Unswept, or cached before the sweep began: the marks are what lives.
        let is_unswept =
            sweepgen == self.sweepgen.wrapping_sub(2) || sweepgen == self.sweepgen.wrapping_add(1);
        // Being swept at this moment: marks are moved away at the end.
        let is_in_sweep = sweepgen == self.sweepgen.wrapping_sub(1);
        if is_unswept || is_in_sweep {
            let marks = self.marks(bytes, span);
            if is_unswept || marks.iter().any(|word| *word != 0) {
                return marks;
            }
        }
        let below = |word: usize| match free_index.saturating_sub(word as u64 * 64) {
            count @ 0..64 => (1_u64 << count) - 1,
            _ => u64::MAX,
        };
        let used = alloc.iter().enumerate().map(|(word, bits)| bits | below(word)).collect();
        clip(used, span.slots)
    }

    fn marks(&self, bytes: Bytes<'_>, span: &Span<'_>) -> Vec<u64> {
        let mut marks = self.bits(bytes.u64(self.layout.gcmark_bits).unwrap_or(0), span.slots);
        if span.has_inline_marks {
            let (offset, size) = INLINE_MARKS;
            let inline = self.bits(span.base + PAGE - size + offset, span.slots);
            marks.iter_mut().zip(inline).for_each(|(word, inline)| *word |= inline);
        }
        clip(marks, span.slots)
    }

    /// A bitmap in memory; what cannot be read counts as clear.
    fn bits(&self, addr: u64, slots: u32) -> Vec<u64> {
        let words = slots.div_ceil(64) as usize;
        // The runtime allocates bits in whole words of 64.
        let bytes = self.memory.slice(Addr(addr), words as u64 * 8).unwrap_or(&[]);
        (0..words).map(|word| Bytes(bytes).u64(word * 8).unwrap_or(0)).collect()
    }

    /// The table of what was added. Only now is anything read or copied for a span: there may
    /// be any number of them for the same memory.
    fn table(mut self) -> SpanTable<'a> {
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_key(|span| span.base);
        let mut table = SpanTable {
            spans: Vec::new(),
            columns: Spans::default(),
            index: PageIndex::default(),
            in_use_bytes: 0,
            unreadable: 0,
            arenas: self.arenas,
        };
        let columns = &mut table.columns;
        let (mut first, mut word) = (0_u32, 0_u32);
        columns.first.to_mut().push(first);
        columns.word.to_mut().push(word);
        let mut end = 0;
        for place in found {
            // Two spans on one page are damage; the first counts.
            if place.base < end {
                continue;
            }
            let mspan = self.mspan(place.addr);
            let Some((mspan, span)) = mspan.and_then(|at| Some((at, self.span(at, &place)?)))
            else {
                self.failed += 1;
                continue;
            };
            end = place.end;
            let bits = self.allocated(mspan, &span);
            first = first.saturating_add(bits.iter().map(|bits| bits.count_ones()).sum());
            word += bits.len() as u32;
            columns.base.to_mut().push(span.base);
            columns.slot_bytes.to_mut().push(span.elem);
            columns.is_noscan.to_mut().push(u8::from(span.is_noscan));
            columns.first.to_mut().push(first);
            columns.word.to_mut().push(word);
            columns.allocated.to_mut().extend(bits);
            columns.sizes.span_bytes.to_mut().push(span.pages * PAGE);
            columns.sizes.slots.to_mut().push(span.slots);
            columns.sizes.is_cached.to_mut().push(u8::from(span.is_cached));
            table.in_use_bytes += span.pages * PAGE;
            table.spans.push(span);
        }
        table.index = PageIndex::of(&table.spans);
        table.unreadable = self.failed;
        table
    }
}

/// Clears the bits past the last slot.
fn clip(mut words: Vec<u64>, slots: u32) -> Vec<u64> {
    if let Some(last) = words.last_mut()
        && !slots.is_multiple_of(64)
    {
        *last &= (1 << (slots % 64)) - 1;
    }
    words
}

/// The span of each page, for runs of arenas that lie side by side.
#[derive(Default)]
struct PageIndex {
    /// First page of each run, and the spans of its pages by index plus one.
    runs: Vec<(u64, Vec<u32>)>,
}

impl PageIndex {
    fn of(spans: &[Span<'_>]) -> PageIndex {
        const PAGES: u64 = ARENA / PAGE;
        let mut runs: Vec<(u64, Vec<u32>)> = Vec::new();
        for (index, span) in spans.iter().enumerate() {
            let (from, to) = (span.base / PAGE, span.base / PAGE + span.pages);
            let is_near =
                |(start, pages): &(u64, Vec<u32>)| from < start + pages.len() as u64 + PAGES;
            if !runs.last().is_some_and(is_near) {
                runs.push((from, Vec::new()));
            }
            let Some((start, pages)) = runs.last_mut() else { continue };
            pages.resize((from - *start) as usize, 0);
            pages.resize((to - *start) as usize, index as u32 + 1);
        }
        PageIndex { runs }
    }

    #[inline]
    fn get(&self, addr: u64) -> Option<usize> {
        let page = addr / PAGE;
        let run = self.runs.partition_point(|(start, _)| *start <= page).checked_sub(1)?;
        let (start, pages) = self.runs.get(run)?;
        let found = pages.get((page - start) as usize)?;
        found.checked_sub(1).map(|index| index as usize)
    }
}
