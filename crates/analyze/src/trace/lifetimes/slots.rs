//! Objects that live, by where they lie: spans have slots, and slots have a record of 16 bytes
//! while an object is in them.
//!
//! Records lie in blocks of neighbouring slots, because the runtime allocates and sweeps them
//! one after the other. A block exists from the first object in it until its span is freed, so
//! that memory follows the heap, and each event of a damaged trace costs little.

use ahash::AHashMap;
use model::go::CLASS_SIZES;
use model::trace::{HeapInfo, SpanClass};

/// Pages whose spans are noted together.
const CHUNK_PAGES: u64 = 128;

/// More than any span of small objects has.
const SMALL_PAGES_MAX: u64 = 16;

/// Slots whose records are stored together.
const BLOCK_SLOTS: u32 = 32;

/// What is remembered of an object.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    born_nanos_low: u32,
    born_nanos_high: u16,
    /// A set of the constants below; 0 when the slot is free.
    flags: u16,
    /// Who allocated it, and its type.
    pub(super) subject: u32,
    /// Collections that had begun before.
    pub(super) born_collections: u32,
}

/// An object is in the slot.
const LIVES: u16 = 1;
/// It was there when the trace began.
const EXISTED: u16 = 2;
/// The free of the object before it is still to come.
const OWES_FREE: u16 = 4;

impl Record {
    pub(super) fn existed(subject: u32) -> Record {
        Record { flags: LIVES | EXISTED, subject, ..Record::default() }
    }

    /// Times beyond three days are the same.
    pub(super) fn born(nanos: u64, collections: u32, subject: u32) -> Record {
        let nanos = nanos.min((1 << 48) - 1);
        Record {
            born_nanos_low: nanos as u32,
            born_nanos_high: (nanos >> 32) as u16,
            flags: LIVES,
            subject,
            born_collections: collections,
        }
    }

    pub(super) fn lives(self) -> bool {
        self.flags & LIVES != 0
    }

    pub(super) fn has_existed(self) -> bool {
        self.flags & EXISTED != 0
    }

    pub(super) fn owes_free(self) -> bool {
        self.flags & OWES_FREE != 0
    }

    pub(super) fn set_owes_free(&mut self, owes: bool) {
        self.flags = if owes { self.flags | OWES_FREE } else { self.flags & !OWES_FREE };
    }

    pub(super) fn born_nanos(self) -> u64 {
        u64::from(self.born_nanos_high) << 32 | u64::from(self.born_nanos_low)
    }
}

/// A slot of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    span: u32,
    index: u32,
}

#[derive(Debug)]
struct Span {
    page: u64,
    /// Pages that are noted as its own.
    pages: u64,
    slot_bytes: u64,
    /// None in spans that are not for objects.
    slots: u32,
    is_noscan: bool,
    is_tiny: bool,
    /// Allocated although the free of the span before it is still to come.
    owes_free: bool,
    /// Where the records of its slots are, plus one; 0 is nowhere.
    blocks: Box<[u32]>,
}

/// The heap.
#[derive(Debug)]
pub(super) struct Slots {
    info: HeapInfo,
    page_shift: u32,
    chunks: AHashMap<u64, u32>,
    /// Spans of the pages of each chunk, plus one; 0 is none.
    pages: Vec<[u32; CHUNK_PAGES as usize]>,
    /// The chunk that was looked at last, and where it is.
    last_chunk: (u64, u32),
    spans: Vec<Option<Span>>,
    free_spans: Vec<u32>,
    blocks: Vec<[Record; BLOCK_SLOTS as usize]>,
    free_blocks: Vec<u32>,
}

impl Slots {
    pub(super) fn new(info: HeapInfo) -> Slots {
        Slots {
            info,
            page_shift: info.page_bytes.trailing_zeros(),
            chunks: AHashMap::new(),
            pages: Vec::new(),
            last_chunk: (u64::MAX, 0),
            spans: Vec::new(),
            free_spans: Vec::new(),
            blocks: Vec::new(),
            free_blocks: Vec::new(),
        }
    }

    /// A span begins at a page; what was there is gone, and its objects are returned.
    pub(super) fn add(&mut self, page: u64, pages: u64, class: SpanClass) -> Vec<(Record, u64)> {
        let owes_free = self.span_at(page).is_some();
        let lost = self.remove(page);
        let (size_class, is_noscan) = match class {
            SpanClass::Objects { size_class, is_noscan } => (Some(size_class), is_noscan),
            SpanClass::Manual => (None, true),
        };
        let slot_bytes = size_class.and_then(|class| CLASS_SIZES.get(usize::from(class)).copied());
        // Only the start of a large object is ever named.
        let (slot_bytes, slots, pages) = match slot_bytes {
            None => (self.info.page_bytes, 0, 1),
            Some(0) => (pages.saturating_mul(self.info.page_bytes), 1, 1),
            Some(slot_bytes) => {
                let pages = pages.min(SMALL_PAGES_MAX);
                (slot_bytes, (pages * self.info.page_bytes / slot_bytes) as u32, pages)
            }
        };
        let is_tiny = class == SpanClass::TINY;
        let blocks = vec![0; slots.div_ceil(BLOCK_SLOTS) as usize].into_boxed_slice();
        let span = Span { page, pages, slot_bytes, slots, is_noscan, is_tiny, owes_free, blocks };
        let number = match self.free_spans.pop() {
            Some(number) => number,
            None => {
                self.spans.push(None);
                (self.spans.len() - 1) as u32
            }
        };
        if let Some(place) = self.spans.get_mut(number as usize) {
            *place = Some(span);
        }
        for page in page..page.saturating_add(pages) {
            *self.page_mut(page) = number + 1;
        }
        lost
    }

    /// A span is freed; objects that are still in it are returned, with their sizes.
    pub(super) fn free(&mut self, page: u64) -> Vec<(Record, u64)> {
        let number = self.number_at(page);
        if let Some(Some(span)) = number.and_then(|number| self.spans.get_mut(number as usize))
            && span.owes_free
        {
            span.owes_free = false;
            return Vec::new();
        }
        self.remove(page)
    }

    fn remove(&mut self, page: u64) -> Vec<(Record, u64)> {
        let mut lost = Vec::new();
        let Some(number) = self.number_at(page) else { return lost };
        let place = self.spans.get_mut(number as usize);
        let Some(span) = place.and_then(|place| place.take_if(|span| span.page == page)) else {
            return lost;
        };
        self.free_spans.push(number);
        for page in span.page..span.page.saturating_add(span.pages) {
            let owner = self.page_mut(page);
            if *owner == number + 1 {
                *owner = 0;
            }
        }
        for block in span.blocks.iter().filter(|block| **block != 0) {
            if let Some(records) = self.blocks.get_mut((block - 1) as usize) {
                let lives = records.iter().filter(|record| record.lives());
                lost.extend(lives.map(|record| (*record, span.slot_bytes)));
                *records = [Record::default(); BLOCK_SLOTS as usize];
            }
            self.free_blocks.push(block - 1);
        }
        lost
    }

    /// The slot that contains an object, given in units of alignment from the base.
    #[inline]
    pub(super) fn find(&mut self, object: u64) -> Option<Slot> {
        let offset = object.checked_mul(self.info.align_bytes)?;
        let span = self.number_at(offset >> self.page_shift)?;
        let found = self.spans.get(span as usize)?.as_ref()?;
        let within = offset.checked_sub(found.page << self.page_shift)?;
        let index = if found.slots == 1 { 0 } else { (within / found.slot_bytes) as u32 };
        (index < found.slots).then_some(Slot { span, index })
    }

    /// Bytes of a slot.
    pub(super) fn bytes(&self, slot: Slot) -> u64 {
        self.span(slot).map_or(0, |span| span.slot_bytes)
    }

    /// Objects in slots like it hold no pointers.
    pub(super) fn is_noscan(&self, slot: Slot) -> bool {
        self.span(slot).is_some_and(|span| span.is_noscan)
    }

    /// Several tiny objects may share it.
    pub(super) fn is_tiny(&self, slot: Slot) -> bool {
        self.span(slot).is_some_and(|span| span.is_tiny)
    }

    fn span(&self, slot: Slot) -> Option<&Span> {
        self.spans.get(slot.span as usize)?.as_ref()
    }

    /// What is in a slot.
    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Record {
        let block = self.span(slot).and_then(|span| {
            span.blocks.get((slot.index / BLOCK_SLOTS) as usize).copied()?.checked_sub(1)
        });
        let records = block.and_then(|block| self.blocks.get(block as usize));
        let record = records.and_then(|of| of.get((slot.index % BLOCK_SLOTS) as usize));
        record.copied().unwrap_or_default()
    }

    /// Puts something into a slot.
    #[inline]
    pub(super) fn set(&mut self, slot: Slot, record: Record) {
        let span = self.spans.get_mut(slot.span as usize).and_then(Option::as_mut);
        let Some(block) =
            span.and_then(|span| span.blocks.get_mut((slot.index / BLOCK_SLOTS) as usize))
        else {
            return;
        };
        if *block == 0 {
            *block = 1 + match self.free_blocks.pop() {
                Some(free) => free,
                None => {
                    self.blocks.push([Record::default(); BLOCK_SLOTS as usize]);
                    (self.blocks.len() - 1) as u32
                }
            };
        }
        let records = self.blocks.get_mut((*block - 1) as usize);
        let place = records.and_then(|of| of.get_mut((slot.index % BLOCK_SLOTS) as usize));
        if let Some(place) = place {
            *place = record;
        }
    }

    /// All objects that live, with the sizes of their slots.
    pub(super) fn living(&self) -> impl Iterator<Item = (Record, u64)> {
        self.spans.iter().flatten().flat_map(|span| {
            let blocks = span.blocks.iter().filter_map(|block| block.checked_sub(1));
            let records = blocks.filter_map(|block| self.blocks.get(block as usize)).flatten();
            records.filter(|record| record.lives()).map(|record| (*record, span.slot_bytes))
        })
    }

    fn span_at(&mut self, page: u64) -> Option<&Span> {
        let number = self.number_at(page)?;
        self.spans.get(number as usize)?.as_ref().filter(|span| span.page == page)
    }

    #[inline]
    fn number_at(&mut self, page: u64) -> Option<u32> {
        let chunk = page / CHUNK_PAGES;
        if self.last_chunk.0 != chunk {
            self.last_chunk = (chunk, *self.chunks.get(&chunk)?);
        }
        let pages = self.pages.get(self.last_chunk.1 as usize)?;
        pages.get((page % CHUNK_PAGES) as usize)?.checked_sub(1)
    }

    fn page_mut(&mut self, page: u64) -> &mut u32 {
        let chunk = page / CHUNK_PAGES;
        let next = self.pages.len() as u32;
        let at = *self.chunks.entry(chunk).or_insert(next);
        if at == next {
            self.pages.push([0; CHUNK_PAGES as usize]);
        }
        #[expect(clippy::indexing_slicing, reason = "the chunk was put there just now or before")]
        &mut self.pages[at as usize][(page % CHUNK_PAGES) as usize]
    }
}
