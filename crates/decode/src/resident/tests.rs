//! A process made by hand: its memory word by word, its mappings as /proc shows them.
//! Offsets are those of Go 1.26 on 64-bit Linux.

use std::collections::BTreeMap;

use model::rss::{Rss, RssKind};
use model::{Addr, GoVersion};

use super::space::{Places, Reader};
use super::{GoTables, Input, PageReader, Pages, ResidentMap, attribute};
use crate::goruntime::{Memory, MemoryImage};
use crate::procfs::{PageEntry, smaps};

const X86_64: u16 = 62;
const MHEAP: u64 = 0x10_0000;
/// Holds the runtime's structures.
const TABLES: u64 = 0x7f00_0000_0000;
const HEAP: u64 = 0xc0_0000_0000;
const PAGE: u64 = 8192;

struct Written(BTreeMap<u64, Vec<u8>>);

impl Written {
    fn new() -> Written {
        let sizes = [(MHEAP, 0x1_8000), (TABLES, 0x10_0000), (HEAP, 0x40_0000)];
        Written(sizes.map(|(start, size)| (start, vec![0; size])).into())
    }

    fn bytes(&mut self, address: u64, bytes: &[u8]) {
        let (start, memory) = self.0.range_mut(..=address).next_back().unwrap();
        let at = (address - start) as usize;
        memory[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn words(&mut self, address: u64, words: &[u64]) {
        for (index, word) in words.iter().enumerate() {
            self.bytes(address + index as u64 * 8, &word.to_le_bytes());
        }
    }

    fn image(&self) -> MemoryImage<'_> {
        MemoryImage::new(self.0.iter().map(|(start, bytes)| (Addr(*start), &bytes[..])).collect())
    }
}

/// A `runtime.mspan`.
struct Mspan {
    page: u64,
    pages: u64,
    free_index: u16,
    slots: u16,
    alloc: u64,
    marks: u64,
    sweepgen: u32,
    class: u8,
    state: u8,
    elem: u64,
}

/// One page of 63 slots of 128 bytes, swept, empty.
const SPAN: Mspan = Mspan {
    page: 0,
    pages: 1,
    free_index: 0,
    slots: 63,
    alloc: 0,
    marks: 0,
    sweepgen: 6,
    class: 10 << 1 | 1,
    state: 1,
    elem: 128,
};

/// The runtime's tables with these spans; the heap is one chunk of 4 MiB.
fn program(spans: &[Mspan]) -> (Written, Places) {
    let mut memory = Written::new();
    let list = TABLES + 0x1000;
    memory.words(MHEAP + 8 + 65680, &[TABLES + 0x100, 1, 1]); // pages.inUse
    memory.words(TABLES + 0x100, &[HEAP, HEAP + 0x40_0000]);
    memory.words(MHEAP + 65856, &[6]); // sweepgen
    memory.words(MHEAP + 65864, &[list, spans.len() as u64, 64]); // allspans
    memory.words(MHEAP + 66008, &[0]); // arenas
    // pages.chunks: of the first level an entry covers 32 GiB; the bias is 2^47.
    let chunk = (HEAP + (1 << 47)) >> 22;
    memory.words(MHEAP + 8 + 120 + (chunk >> 13) * 8, &[TABLES + 0x4_0000]);
    let bits = TABLES + 0x4_0000 + (chunk & 8191) * 128;
    for (index, span) in spans.iter().enumerate() {
        // Structures lie in permanent memory.
        let at = TABLES + 0x8010 + index as u64 * 160;
        memory.words(list + index as u64 * 8, &[at]);
        memory.words(at + 24, &[HEAP + span.page * PAGE, span.pages]);
        memory.bytes(at + 48, &span.free_index.to_le_bytes());
        memory.bytes(at + 50, &span.slots.to_le_bytes());
        let bitmaps = TABLES + 0x2000 + index as u64 * 16;
        memory.words(bitmaps, &[span.alloc, span.marks]);
        memory.words(at + 64, &[bitmaps, bitmaps + 8]);
        memory.bytes(at + 88, &span.sweepgen.to_le_bytes());
        memory.bytes(at + 98, &[span.class, span.state]);
        memory.words(at + 104, &[span.elem]);
        for page in span.page..span.page + span.pages {
            let (word, bit) = (page / 64, page % 64);
            let old = memory.image().read_u64(Addr(bits + word * 8)).unwrap_or(0);
            memory.words(bits + word * 8, &[old | 1 << bit]);
        }
    }
    memory.words(TABLES + 0x200, &[TABLES + 0x8000]); // persistentChunks
    memory.words(TABLES + 0x210, &[0, 0, 0, 0, 0]); // gcBitsArenas
    let places = Places {
        mheap: MHEAP,
        persistent_chunks: Some(TABLES + 0x200),
        gc_bits_arenas: Some(TABLES + 0x210),
        goroutines: Some(TABLES + 0x300),
        ..Places::default()
    };
    (memory, places)
}

fn tables(memory: &MemoryImage<'_>, places: Places) -> Option<GoTables> {
    let version = GoVersion { major: 1, minor: 26, patch: 0 };
    let mut reader = Reader::new(memory, places, version, X86_64);
    reader.read().ok()?;
    let table = reader.spans().ok()?;
    reader.add_parts(table.structures.clone(), RssKind::Spans);
    let (metadata_bytes, runtime) = (Some(0), model::RuntimeMemory::default());
    Some(GoTables { space: reader.space, table, metadata_bytes, runtime })
}

/// The mappings of [`Written`], all of it resident but for these pages of the heap.
fn maps(missing: &[u64]) -> Vec<ResidentMap> {
    let text = format!(
        "c000000000-c000400000 rw-p 00000000 00:00 0\nRss: {} kB\n\
         7f0000000000-7f0000100000 rw-p 00000000 00:00 0\nRss: 1024 kB\n",
        4096 - missing.len() * 4
    );
    let mut maps = smaps(&text).into_iter();
    let (heap, tables) = (maps.next().unwrap(), maps.next().unwrap());
    let mut reader = PageReader::default();
    for page in 0..1024 {
        let is_there = !missing.contains(&page);
        reader.push(PageEntry(if is_there { 1 << 63 | 1 << 56 } else { 0 }));
    }
    let pages = Pages::Some(reader.finish(&heap));
    vec![ResidentMap { map: heap, pages }, ResidentMap { map: tables, pages: Pages::Uniform }]
}

fn picture(spans: &[Mspan], missing: &[u64]) -> Rss {
    let (memory, places) = program(spans);
    let image = memory.image();
    let tables = tables(&image, places).unwrap();
    let maps = maps(missing);
    let rss = attribute(&input(&maps), Some(&tables), Some(&image));
    let total: u64 = maps.iter().map(|map| map.map.rss_bytes).sum();
    assert_eq!(rss.tally.total().bytes, total);
    rss
}

fn input(maps: &[ResidentMap]) -> Input<'_> {
    Input {
        maps,
        exe_inode: 0,
        exe_path: "",
        stack_pointers: &[],
        threads: 1,
        stack_limit: None,
        is_go: true,
    }
}

/// Marked, new, dead, free, tail.
fn objects(rss: &Rss) -> [u64; 5] {
    let kinds = [
        RssKind::HeapMarked,
        RssKind::HeapNew,
        RssKind::HeapDead,
        RssKind::HeapFree,
        RssKind::HeapTail,
    ];
    kinds.map(|kind| rss.tally.of(kind).bytes)
}

#[test]
fn slots_are_told_by_bits_and_the_sweep() {
    let check = |span: Mspan, expected: [u64; 4]| {
        let rss = picture(&[span], &[]);
        let [marked, new, dead, free] = expected.map(|slots| slots * 128);
        assert_eq!(objects(&rss), [marked, new, dead, free, 8192 - 63 * 128]);
        assert_eq!(rss.tally.of(RssKind::HeapIdle).bytes, 0x40_0000 - PAGE);
    };
    check(SPAN, [0, 0, 0, 63]);
    // Swept: bits are what was marked, below the index lies what was allocated since.
    check(Mspan { alloc: 0b1011, free_index: 3, ..SPAN }, [3, 1, 0, 59]);
    // Not swept: bits and index are of before the collection, marks say what lives.
    let unswept = Mspan { alloc: 0b1011, free_index: 3, marks: 0b1001, sweepgen: 4, ..SPAN };
    check(unswept, [2, 0, 2, 59]);
    check(Mspan { alloc: 0b11, marks: 0b10, sweepgen: 5, ..SPAN }, [1, 0, 1, 61]);
    // In a cache since before the collection ended, and since after.
    check(Mspan { alloc: 0b11, marks: 0b10, sweepgen: 7, ..SPAN }, [1, 0, 1, 61]);
    check(Mspan { alloc: 0b11, marks: 0b10, sweepgen: 9, ..SPAN }, [2, 0, 0, 61]);
    // Bits behind the last slot mean nothing.
    check(Mspan { alloc: u64::MAX, ..SPAN }, [63, 0, 0, 0]);
}

#[test]
fn of_a_span_that_is_resident_in_part_slots_count_by_bytes() {
    // Two pages of the kernel; slots 0 to 31 are in the first.
    let span = Mspan { alloc: 0xff00_0000_00ff, ..SPAN };
    let rss = picture(&[span], &[1]);
    assert_eq!(objects(&rss), [8 * 128, 0, 0, 24 * 128, 0]);
    let large = Mspan { pages: 3, slots: 1, alloc: 1, class: 0, elem: 20480, ..SPAN };
    let rss = picture(&[large], &[2, 5]);
    assert_eq!(objects(&rss), [20480 - 4096, 0, 0, 0, 0]);
    let [class] = &rss.classes[..] else { panic!("{:?}", rss.classes) };
    assert_eq!((class.slot_bytes, class.span_bytes, class.objects), (None, 16384, 1));
}

#[test]
fn stacks_work_and_pages_that_were_given_back() {
    let manual = |page: u64, elem: u64| Mspan { page, pages: 4, state: 2, elem, ..SPAN };
    let (mut memory, mut places) = program(&[manual(0, 2048), manual(4, 0), manual(8, 32768)]);
    let chunk = (HEAP + (1 << 47)) >> 22;
    // Behind them: pages 16 to 31 are scavenged, and so, by a leftover bit, is page 0.
    memory.words(TABLES + 0x4_0000 + (chunk & 8191) * 128 + 64, &[0xffff_0001]);
    // One goroutine waits on the second stack of the first span, another one is dead.
    for (index, status) in [(0, 4_u32), (1, 0x1006)] {
        let g = HEAP + 0x10_0000 + index * 512;
        memory.words(TABLES + 0x400 + index * 8, &[g]);
        memory.words(g, &[HEAP + 2048 + index * 2048, HEAP + 4096 + index * 2048]);
        memory.bytes(g + 144, &status.to_le_bytes());
    }
    memory.words(TABLES + 0x300, &[TABLES + 0x400, 2]);
    places.goroutines = Some(TABLES + 0x300);
    let image = memory.image();
    let tables = tables(&image, places).unwrap();
    let maps = maps(&[40, 41, 42]);
    let rss = attribute(&input(&maps), Some(&tables), Some(&image));
    let of = |kind: RssKind| rss.tally.of(kind).bytes;
    assert_eq!((of(RssKind::StackInUse), of(RssKind::StackOther)), (2048, 65536 - 2048));
    assert_eq!(of(RssKind::WorkBufs), 32768);
    assert_eq!((of(RssKind::HeapReturned), rss.released_bytes), (16 * PAGE - 3 * 4096, 3 * 4096));
    assert_eq!(rss.stacks.unwrap().goroutines, 1);
    // Structures are parts of permanent memory.
    assert_eq!(of(RssKind::Spans), 3 * 160 + 4096);
}

#[test]
fn memory_beside_the_runtimes_is_open_as_far_as_the_runtime_has_more() {
    let (memory, places) = program(&[SPAN]);
    let image = memory.image();
    let maps = maps(&[]);
    let check = |metadata: Option<u64>, open: u64| {
        let mut tables = tables(&image, places).unwrap();
        tables.metadata_bytes = metadata;
        let rss = attribute(&input(&maps), Some(&tables), Some(&image));
        let of = |kind: RssKind| rss.tally.of(kind).bytes;
        let beside = of(RssKind::Anonymous) + of(RssKind::Unattributed);
        assert_eq!(of(RssKind::Unattributed), open.min(beside), "{metadata:?}");
        assert!(beside > 0);
    };
    let known = 4096 + (256 << 10) + (1 << 20) - 0x4_0000;
    check(Some(0), 0);
    check(None, u64::MAX);
    check(Some(known), 0);
    check(Some(known + 100_000), 100_000);
}

#[test]
fn damaged_tables_end() {
    let (mut memory, places) = program(&[SPAN, Mspan { page: 4, alloc: 7, ..SPAN }]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let maps = maps(&[3]);
    let total: u64 = maps.iter().map(|map| map.map.rss_bytes).sum();
    let mut read = 0;
    for _ in 0..300 {
        let at = match next() % 4 {
            0 => MHEAP + 65600 + next() % 64 * 8,
            1 => TABLES + next() % 0x90 * 8,
            2 => TABLES + 0x1000 + next() % 8 * 8,
            _ => TABLES + 0x8000 + next() % 48 * 8,
        };
        let before = memory.image().read_u64(Addr(at)).unwrap();
        let word = match next() % 4 {
            0 => next(),
            1 => TABLES + next() % 0x1_0000 * 8,
            2 => HEAP + next() % 0x8_0000 * 8,
            _ => before ^ 1 << (next() % 64),
        };
        memory.words(at, &[word]);
        let image = memory.image();
        if let Some(tables) = tables(&image, places) {
            let rss = attribute(&input(&maps), Some(&tables), Some(&image));
            assert_eq!(rss.tally.total().bytes, total);
            read += 1;
        }
        if next() % 8 != 0 {
            memory.words(at, &[before]);
        }
    }
    assert!(read > 100, "{read}");
}
