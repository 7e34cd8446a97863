//! The spans of a running program's heap, and which of their slots hold objects.
//!
//! As `goheap::spans` has it, but through reads of a process that runs: structures and bits
//! are fetched in address order, a window at a time, and no object is looked at. A slot's
//! object was marked by the last collection, or allocated since, or, in a span that is not
//! swept yet, found dead. Cost: 160 bytes a span and its bits, some 50 ms of CPU for 2 GiB of
//! small objects. Source: runtime/mheap.go, mbitmap.go, mgcsweep.go.

use std::ops::Range;

use ahash::AHashMap;

use super::space::{Reader, distinct};
use super::window::{Piece, read_pieces, read_words};
use crate::bytes::Bytes;
use crate::goheap::layout::{ARENA, ARENA_INLINE_BITS, BITMAP_MAX, INLINE_MARKS, Layout, PAGE};
use crate::goruntime::{Memory, RuntimeError};

/// A span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) range: Range<u64>,
    pub(super) holds: Holds,
}

/// What a span is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// Objects.
    Objects(Slots),
    /// Stacks.
    Stacks,
    /// The collector's work.
    WorkBufs,
}

/// Slots of a span that holds objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    pub(super) bytes: u64,
    pub(super) count: u32,
    pub(super) is_large: bool,
    pub(super) is_noscan: bool,
    /// A processor allocates from it.
    pub(super) is_cached: bool,
    /// No collection has been swept here since it ended.
    is_unswept: bool,
    free_index: u64,
    /// Where the bits are in the process: allocated, marked, and those in the page itself.
    alloc_bits: u64,
    mark_bits: u64,
    inline_marks: Option<u64>,
    /// Where they are in the table, in words.
    at: usize,
}

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// An object that the last collection marked.
    Marked,
    /// An object allocated since.
    New,
    /// A dead object.
    Dead,
    /// Nothing.
    Free,
}

/// All spans in address order, and their bits.
#[derive(Clone, Debug, Default)]
pub(super) struct SpanTable {
    pub(super) spans: Vec<Span>,
    /// Pieces of `mspan` structures.
    pub(super) structures: Vec<Range<u64>>,
    pub(super) warnings: Vec<String>,
    /// A collection ended meanwhile.
    pub(super) is_torn: bool,
    alloc: Vec<u64>,
    /// Of spans that are not swept.
    marks: Vec<u64>,
}

/// As in `goheap::spans`: more are damage.
const SPANS_MAX: u64 = 1 << 26;
const SLOTS_MAX: u64 = 1024;
const SWEEPGEN: u64 = 65856;
const ALL_SPANS: u64 = 65864;
/// `mSpanInUse` and `mSpanManual`.
const IN_USE: u8 = 1;
const MANUAL: u8 = 2;

impl<M: Memory> Reader<'_, M> {
    /// Reads `mheap_.allspans`.
    pub(super) fn spans(&self) -> Result<SpanTable, RuntimeError> {
        let sweepgen = self.field(SWEEPGEN)? as u32;
        let (list, count) = (self.field(ALL_SPANS)?, self.field(ALL_SPANS + 8)?.min(SPANS_MAX));
        let listed = read_words(self.memory, list, count);
        let mut unsound = count - listed.len() as u64;
        let addresses = distinct(listed);
        let len = self.layout.span_size as u64;
        let piece = |(id, addr): (usize, &u64)| Piece { addr: *addr, len, id };
        let pieces: Vec<Piece> = addresses.iter().enumerate().map(piece).collect();
        let mut table = SpanTable::default();
        unsound += read_pieces(self.memory, pieces, |piece, bytes| {
            table.structures.push(piece.addr..piece.addr.saturating_add(len));
            if !matches!(bytes.u8(self.layout.state), Some(IN_USE | MANUAL)) {
                return;
            }
            match span(bytes, &self.layout, sweepgen) {
                Some(span) => table.spans.push(span),
                None => unsound += 1,
            }
        });
        table.spans.sort_by_key(|span| span.range.start);
        let mut end = 0;
        // Two spans on one page: one was freed while the list was read.
        table.spans.retain(|span| {
            let is_apart = span.range.start >= end;
            end = if is_apart { span.range.end } else { end };
            is_apart
        });
        if unsound > 0 {
            table.warnings.push(format!("{unsound} spans of the heap could not be read"));
        }
        self.inline_marks(&mut table);
        self.bits(&mut table);
        table.is_torn = self.field(SWEEPGEN)? as u32 != sweepgen;
        Ok(table)
    }

    /// Finds out which unswept spans have their marks in their page: a bit a page since 1.25.
    fn inline_marks(&self, table: &mut SpanTable) {
        if self.layout.minor < 25 {
            return;
        }
        let index = self.field(self.layout.arenas).unwrap_or(0);
        let mut arenas: AHashMap<u64, Vec<u64>> = AHashMap::new();
        for span in &mut table.spans {
            let base = span.range.start;
            let Holds::Objects(slots) = &mut span.holds else { continue };
            if !slots.is_unswept || !(16..=BITMAP_MAX).contains(&slots.bytes) {
                continue;
            }
            let number = base.wrapping_add(self.bias) / ARENA;
            let pages = arenas.entry(number).or_insert_with(|| {
                let arena = self.word(index.saturating_add(number.saturating_mul(8)));
                read_words(self.memory, arena.saturating_add(ARENA_INLINE_BITS), ARENA / PAGE / 64)
            });
            let page = base % ARENA / PAGE;
            let bits = pages.get((page / 64) as usize).copied().unwrap_or(0);
            if bits >> (page % 64) & 1 != 0 {
                slots.inline_marks = Some(base + PAGE - INLINE_MARKS.1 + INLINE_MARKS.0);
            }
        }
    }

    /// Reads the bits of all spans.
    fn bits(&self, table: &mut SpanTable) {
        let (mut alloc, mut marks) = (Vec::new(), Vec::new());
        let mut words = 0;
        for span in &mut table.spans {
            let Holds::Objects(slots) = &mut span.holds else { continue };
            slots.at = words;
            // The runtime allocates bits in whole words of 64.
            let len = u64::from(slots.count.div_ceil(64)) * 8;
            alloc.push(Piece { addr: slots.alloc_bits, len, id: words });
            if slots.is_unswept {
                let places = [Some(slots.mark_bits), slots.inline_marks];
                let pieces = places.into_iter().flatten();
                marks.extend(pieces.map(|addr| Piece { addr, len, id: words }));
            }
            words += (len / 8) as usize;
        }
        table.alloc = vec![0; words];
        table.marks = vec![0; if marks.is_empty() { 0 } else { words }];
        let mut failed = 0;
        for (pieces, column) in [(alloc, &mut table.alloc), (marks, &mut table.marks)] {
            failed += read_pieces(self.memory, pieces, |piece, bytes| {
                let places = column.iter_mut().skip(piece.id);
                for (word, place) in places.take((piece.len / 8) as usize).enumerate() {
                    *place |= bytes.u64(word * 8).unwrap_or(0);
                }
            });
        }
        if failed > 0 {
            let what = format!("the bits of {failed} spans could not be read; they count as free");
            table.warnings.push(what);
        }
    }
}

fn span(bytes: Bytes<'_>, layout: &Layout, sweepgen: u32) -> Option<Span> {
    let (base, pages) = (bytes.u64(24)?, bytes.u64(32)?);
    let end = base.checked_add(pages.checked_mul(PAGE)?)?;
    if base >= end || base % PAGE != 0 || end > 1 << 57 {
        return None;
    }
    let range = base..end;
    let elem = bytes.u64(layout.elemsize)?;
    if bytes.u8(layout.state)? == MANUAL {
        // Stack spans note how large their stacks are, others nothing.
        let holds = if elem == 0 { Holds::WorkBufs } else { Holds::Stacks };
        return Some(Span { range, holds });
    }
    let (count, free_index) = match layout.minor {
        21 => (bytes.u64(layout.nelems)?, bytes.u64(48)?),
        _ => (bytes.u16(layout.nelems)?.into(), bytes.u16(48)?.into()),
    };
    let class = bytes.u8(layout.spanclass)?;
    let is_large = class >> 1 == 0;
    let slots_max = if is_large { 1 } else { SLOTS_MAX };
    let fits = elem > 0 && elem % 8 == 0 && count.checked_mul(elem)? <= end - base;
    if !fits || !(1..=slots_max).contains(&count) {
        return None;
    }
    // -2 and -1: not swept, being swept. 1 and 3: in a processor's cache since before the
    // collection ended, and swept.
    let ahead = bytes.u32(layout.sweepgen)?.wrapping_sub(sweepgen).cast_signed();
    let slots = Slots {
        bytes: elem,
        count: u32::try_from(count).ok()?,
        is_large,
        is_noscan: class & 1 != 0,
        is_cached: matches!(ahead, 1 | 3),
        is_unswept: matches!(ahead, -2 | -1 | 1),
        free_index,
        alloc_bits: bytes.u64(layout.alloc_bits)?,
        mark_bits: bytes.u64(layout.gcmark_bits)?,
        inline_marks: None,
        at: 0,
    };
    Some(Span { range, holds: Holds::Objects(slots) })
}

impl SpanTable {
    /// The slots of a span, 64 at a time: which are marked, new, dead. Others are free.
    pub(super) fn words<'t>(&'t self, slots: &'t Slots) -> impl Iterator<Item = [u64; 3]> + 't {
        let words = u64::from(slots.count.div_ceil(64));
        (0..words).map(move |word| {
            let get = |column: &[u64]| column.get(slots.at + word as usize).copied().unwrap_or(0);
            let first = word * 64;
            let in_use = get(&self.alloc) | low_bits(slots.free_index.saturating_sub(first));
            let all = low_bits(u64::from(slots.count) - first);
            let (old, in_use) = (get(&self.alloc) & all, in_use & all);
            if slots.is_unswept {
                let marked = get(&self.marks) & all;
                return [marked, 0, in_use & !marked];
            }
            // Allocation advances the index and leaves the bits of the last sweep.
            [old, in_use & !old, 0]
        })
    }
}

impl Slots {
    /// What a slot of one of [`SpanTable::words`] holds.
    pub(super) fn slot([marked, new, dead]: [u64; 3], bit: u32) -> Slot {
        let has = |bits: u64| bits >> bit & 1 != 0;
        match () {
            () if has(marked) => Slot::Marked,
            () if has(new) => Slot::New,
            () if has(dead) => Slot::Dead,
            () => Slot::Free,
        }
    }
}

/// The lowest `count` bits.
fn low_bits(count: u64) -> u64 {
    match count {
        0..64 => (1 << count) - 1,
        _ => u64::MAX,
    }
}
