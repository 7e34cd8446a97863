//! Tables of damaged memory, made by hand: offsets are those of Go 1.26 on 64-bit Linux.

use std::collections::BTreeMap;

use model::heap::HolderKind;
use model::{Addr, GoVersion};

use super::bounds::{Room, Strings};
use super::gotype::Types;
use super::layout::Layout;
use super::pointers::Pointers;
use super::roots::Roots;
use super::routines::Claimed;
use super::spans::SpanTable;
use super::specials::Specials;
use super::typetable::{Source, TypeTable};
use super::typing::Typing;
use crate::goruntime::MemoryImage;

const MHEAP: u64 = 0x10_0000;
const HEAP: u64 = 0xc0_0000_0000;
const X86_64: u16 = 62;

/// Memory that is written word by word; 64 KiB from each of these addresses.
struct Written(BTreeMap<u64, Vec<u8>>);

impl Written {
    fn new(starts: &[u64]) -> Written {
        Written(starts.iter().map(|start| (*start, vec![0; 0x1_0000])).collect())
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

    /// runtime.mspan
    fn span(&mut self, at: u64, base: u64, pages: u64, class: u8, elem: u64, slots: u16) {
        self.words(at + 24, &[base, pages]); // startAddr, npages
        self.bytes(at + 48, &slots.to_le_bytes()); // freeindex: all are in use
        self.bytes(at + 50, &slots.to_le_bytes()); // nelems
        self.bytes(at + 98, &[class, 1]); // spanclass, state
        self.words(at + 104, &[elem]); // elemsize
    }

    /// mheap_.allspans
    fn all_spans(&mut self, spans: &[u64]) {
        self.words(MHEAP + 65864, &[0x30_0000, spans.len() as u64]);
        self.words(0x30_0000, spans);
    }

    /// abi.Type: size, ptrdata, tflag, kind, gcdata; and what follows it.
    fn descriptor(&mut self, at: u64, size: u64, tflag: u8, kind: u8, rest: &[u64]) {
        self.words(at, &[size, size]);
        self.bytes(at + 20, &[tflag]);
        self.bytes(at + 23, &[kind]);
        self.words(at + 48, rest);
    }

    fn image(&self) -> MemoryImage<'_> {
        MemoryImage::new(self.0.iter().map(|(start, bytes)| (Addr(*start), &bytes[..])).collect())
    }
}

fn memory() -> Written {
    // mheap_ is larger than 64 KiB; then mspans, their list, types, and the heap.
    Written::new(&[MHEAP, MHEAP + 0x1_0000, 0x20_0000, 0x30_0000, 0x40_0000, HEAP])
}

fn layout() -> Layout {
    Layout::of(GoVersion { major: 1, minor: 26, patch: 0 }, X86_64)
}

fn table<'a>(image: &MemoryImage<'a>) -> SpanTable<'a> {
    SpanTable::read(image, Addr(MHEAP), &layout(), X86_64).unwrap()
}

#[test]
fn memory_belongs_to_one_span() {
    let mut memory = memory();
    let [good, within, odd, many, double] = [0, 1, 2, 3, 4].map(|at| 0x20_0000 + at * 0x100);
    memory.span(good, HEAP, 2, 10, 64, 256);
    memory.span(within, HEAP + 0x2000, 1, 10, 64, 128);
    // What no size class has: words are cut, more slots than the smallest objects take.
    memory.span(odd, HEAP + 0x4000, 1, 10, 12, 100);
    memory.span(many, HEAP + 0x4000, 2, 10, 8, 2048);
    memory.span(double, HEAP + 0x8000, 2, 0, 8192, 2);
    memory.all_spans(&[&[good; 1000][..], &[within, odd, many, double, 0x99_0000]].concat());
    let image = memory.image();
    let table = table(&image);
    assert_eq!((table.spans.len(), table.columns.first.last()), (1, Some(&256)));
    assert_eq!((table.in_use_bytes, table.unreadable), (0x4000, 4));
}

#[test]
fn a_circle_of_specials_ends() {
    let mut memory = memory();
    let (span, special) = (0x20_0000, 0x20_1000);
    // Objects of 64 bytes with a pointer to themselves as their second word.
    memory.span(span, HEAP, 1, 10, 64, 126);
    memory.words(HEAP + 64 + 8, &[HEAP + 64]);
    memory.words(HEAP + 8192 - 128, &[1 << 9]); // the bitmap at the end of the span
    memory.words(span + 128, &[special]); // specials
    // runtime.special: next, offset, kind (a finalizer); then what it calls.
    for (at, next) in [(special, special + 0x40), (special + 0x40, special)] {
        memory.words(at, &[next, 64, 2, HEAP]);
    }
    memory.all_spans(&[span]);
    let image = memory.image();
    let (table, layout) = (table(&image), layout());
    let types = Types::new(&image, &[], &layout);
    let pointers = Pointers::new(types, &layout, table.arenas);
    let mut roots = Roots::new(&table, image.bytes());
    let mut specials = Specials::new(&image, &layout, &pointers);
    specials.span(0, &table.spans[0], &mut roots, &mut Strings::for_memory(0));
    // The function of each, seen twice at most, and once what the object points to.
    assert!((3..=8).contains(&roots.pointers.len()), "{}", roots.pointers.len());
    let own = roots.pointers.iter().filter(|pointer| pointer.target.0 == 1).count();
    assert_eq!((own, roots.holders.len()), (1, 1));
}

#[test]
fn roots_are_no_more_than_memory_can_hold() {
    let mut memory = memory();
    memory.span(0x20_0000, HEAP, 1, 10, 64, 126);
    memory.all_spans(&[0x20_0000]);
    let image = memory.image();
    let table = table(&image);
    let mut roots = Roots::new(&table, 800);
    let mut holder = roots.holder(HolderKind::Global, model::StrId(0));
    for _ in 0..10_000 {
        roots.point(holder, 0, HEAP);
        holder = roots.holder(HolderKind::Global, model::StrId(0));
    }
    assert!(roots.is_full());
    assert_eq!((roots.pointers.len(), roots.holders.len()), (100, 1024 + 25));
    assert!(roots.pointers.iter().all(|pointer| (pointer.holder.0 as usize) < 1049));
}

/// A header that names a type of a gibibyte whose mask the runtime makes on demand.
#[test]
fn masks_are_made_of_types_that_fit() {
    let mut memory = memory();
    let (span, small, large) = (0x20_0000, 0x40_0000, 0x40_1000);
    // 8 objects of 1,024 bytes, which begin with the address of their type.
    memory.span(span, HEAP, 1, 60, 1024, 8);
    memory.words(HEAP, &[small]);
    memory.words(HEAP + 1024, &[large]);
    memory.all_spans(&[span]);
    // Arrays of pointers (tflag 16: the mask is made on demand): element, slice, length.
    let pointer = 0x40_2000;
    memory.descriptor(pointer, 8, 0, 22, &[pointer]);
    memory.descriptor(small, 1016, 16, 17, &[pointer, 0, 127]);
    memory.descriptor(large, 1 << 30, 16, 17, &[pointer, 0, 1 << 27]);
    let image = memory.image();
    let (table, layout) = (table(&image), layout());
    let pointers = Pointers::new(Types::new(&image, &[], &layout), &layout, table.arenas);
    let size = |slot| pointers.describe(&table.spans[0], slot).exact.map(|found| found.of.size);
    assert_eq!((size(0), size(1), size(2)), (Some(1016), None, None));
}

/// An array of 20 of itself, and a struct with two fields that are itself.
#[test]
fn types_that_hold_themselves_end() {
    let mut memory = memory();
    let (span, array, twice) = (0x20_0000, 0x40_0000, 0x40_1000);
    memory.span(span, HEAP, 1, 60, 1024, 8);
    memory.all_spans(&[span]);
    memory.descriptor(array, 8, 0, 17, &[array, 0, 20]);
    // The package, then the list of fields: name, type, offset.
    memory.descriptor(twice, 8, 0, 25, &[0, 0x40_2000, 2, 2]);
    memory.words(0x40_2000, &[0, twice, 0, 0, twice, 0]);
    let image = memory.image();
    let (table, layout) = (table(&image), layout());
    let go = Types::new(&image, &[], &layout);
    let pointers = Pointers::new(go, &layout, table.arenas);
    let mut types = TypeTable::new(go, &[]);
    for descriptor in [array, twice] {
        let id = types.id(Source::Go(descriptor));
        let mut typing = Typing::new(&table, &pointers, &mut types, 40, None);
        typing.seed(&[1; 4096], None, id, false);
        typing.spread();
    }
    let fields = types.finish([model::heap::TypeId(1)].into_iter());
    assert!(fields.is_empty(), "an array has no fields");
}

#[test]
fn a_long_chain_of_array_types_is_cut() {
    let mut memory = memory();
    let first = 0x40_0000;
    for index in 0..600 {
        let at = first + index * 0x60;
        memory.descriptor(at, 8, 0, 17, &[at + 0x60, 0, 1]);
    }
    let image = memory.image();
    let mut types = TypeTable::new(Types::new(&image, &[], &layout()), &[]);
    types.id(Source::Go(first));
    assert!(types.types.len() < 100, "{}", types.types.len());
}

#[test]
fn stacks_are_of_one_goroutine() {
    let mut claimed = Claimed::default();
    assert!(claimed.claim(0x1000, 0x2000) && claimed.claim(0x2000, 0x3000));
    assert!(!claimed.claim(0x1000, 0x2000) && !claimed.claim(0x1800, 0x1900));
    assert!(!claimed.claim(0x800, 0x1001) && claimed.claim(0x800, 0x1000));
    // A single address.
    assert!(claimed.claim(0x9000, 0) && !claimed.claim(0x9000, 0) && claimed.claim(0x9001, 0));
    let mut room = Room::of(10);
    assert!(room.take(4) && room.take(6) && !room.take(1) && room.take(0));
}
