//! Which type each object has.
//!
//! Headers and large spans name their object's type; the first word of an interface names
//! its value's. From there and from variables types spread along pointers: a pointer to a
//! `T` types the object it points to when a `T` fills the object's size class, a slice of
//! `T` when its capacity does. What only a pointer into its middle or to its first field
//! was seen of stays unknown, but its known part is followed. Only what is reachable takes
//! part: the pointers of garbage may lead to memory that was used anew.

use ahash::AHashMap;
use model::go::class_size;
use model::heap::{Edges, Fill, FillKind, ObjectId, RootPointer, TypeId};

use super::bounds::Room;
use super::cells::{Cells, ExtentCells, Lent};
use super::layout::{BITMAP_MAX, PAGE};
use super::pointers::{Pointers, each_masked};
use super::spans::{Found, Span, SpanTable};
use super::typetable::{MapPart, Part, Shape, Source, TypeTable, What};
use crate::bytes::Bytes;

/// Spreads types.
pub(super) struct Typing<'a, 'm, 'p, 't, 's> {
    table: &'m SpanTable<'a>,
    pointers: &'p Pointers<'a, 'm>,
    pub(super) types: &'t mut TypeTable<'a, 'm>,
    chan_elem: usize,
    is_live: Vec<u64>,
    /// 0 is "not known".
    pub(super) type_of: Cells<'s, u32>,
    /// Spans and slots of objects whose type was just found.
    queue: Vec<(u32, u32)>,
    candidates: AHashMap<u32, (Place, u64, What)>,
    /// What slices and strings use of an array.
    pub(super) extents: ExtentCells<'s>,
    pub(super) fills: Vec<Fill>,
    /// Parts that may still be looked at in the object or variable at hand.
    room: Room,
    /// Arrays in arrays, up to the one at hand.
    depth: u32,
    /// Entries of maps' directories that may still be read: each belongs to one map.
    directory_room: Room,
}

/// Parts of a value that has no more than its words; types may nest.
const PARTS_PER_WORD: u64 = 2;
const PARTS_FREE: u64 = 1 << 12;
const DEPTH_MAX: u32 = 64;

/// An object's place.
#[derive(Clone, Copy, Debug)]
struct Place {
    object: ObjectId,
    span: u32,
    slot: u32,
}

impl From<&Found> for Place {
    fn from(found: &Found) -> Place {
        Place { object: found.object, span: found.span as u32, slot: found.slot as u32 }
    }
}

impl<'a, 'm, 'p, 't, 's> Typing<'a, 'm, 'p, 't, 's> {
    pub(super) fn new(
        table: &'m SpanTable<'a>,
        pointers: &'p Pointers<'a, 'm>,
        types: &'t mut TypeTable<'a, 'm>,
        chan_elem: usize,
        lender: Lent<'_, 's>,
    ) -> Self {
        let objects = table.objects();
        Typing {
            table,
            pointers,
            types,
            chan_elem,
            is_live: Vec::new(),
            type_of: Cells::zeros(objects, lender),
            queue: Vec::new(),
            candidates: AHashMap::new(),
            extents: ExtentCells::new(objects, lender),
            fills: Vec::new(),
            room: Room::of(0),
            depth: 0,
            directory_room: Room::of(table.in_use_bytes / 8),
        }
    }

    /// Gives room for the parts of a value of so many bytes. Values of damaged types overlap
    /// without end.
    fn make_room(&mut self, bytes: usize) {
        self.room = Room::of(PARTS_FREE + PARTS_PER_WORD * bytes as u64 / 8);
    }

    /// Marks what the roots reach.
    pub(super) fn mark(&mut self, edges: &Edges<'_>, roots: &[RootPointer]) {
        let mut live = vec![0_u64; self.type_of.len().div_ceil(64)];
        let mut is_new = |object: u32| match live.get_mut(object as usize / 64) {
            Some(word) if *word >> (object % 64) & 1 == 0 => {
                *word |= 1 << (object % 64);
                true
            }
            _ => false,
        };
        let targets = roots.iter().map(|pointer| pointer.target.0);
        let mut stack: Vec<u32> = targets.filter(|object| is_new(*object)).collect();
        while let Some(object) = stack.pop() {
            let targets = edges.targets(ObjectId(object)).iter();
            stack.extend(targets.copied().filter(|target| is_new(*target)));
        }
        self.is_live = live;
    }

    pub(super) fn is_live(&self, object: ObjectId) -> bool {
        let word = self.is_live.get(object.index() / 64).copied().unwrap_or(0);
        word >> (object.0 % 64) & 1 != 0
    }

    /// The types that headers and large spans name.
    pub(super) fn exact(&mut self) {
        for (index, span) in self.table.spans.iter().enumerate() {
            if span.is_noscan || !(span.is_large || span.elem > BITMAP_MAX) {
                continue;
            }
            for slot in self.table.slots(index) {
                let described = self.pointers.describe(span, slot);
                let object = self.table.columns.object_at(index, slot);
                let (Some(exact), Some(object)) = (described.exact, object) else { continue };
                // Types the runtime makes up have no name.
                let Some(id) = self.types.of_go(exact.of.addr) else { continue };
                let is_single = fills(span, exact.of.size + described.start);
                let id = if is_single { id } else { self.types.id(Source::ArrayOf(id)) };
                let place = Place { object, span: index as u32, slot: slot as u32 };
                self.set(place, id);
            }
        }
    }

    /// Follows typed objects until nothing new is found.
    pub(super) fn spread(&mut self) {
        loop {
            while let Some((span, slot)) = self.queue.pop() {
                let object = self.table.columns.object_at(span as usize, slot.into());
                if let Some(object) = object {
                    self.visit(Place { object, span, slot });
                }
            }
            // Partly known objects come last: something may have told their type.
            let mut left: Vec<(u32, (Place, u64, What))> = self.candidates.drain().collect();
            left.sort_by_key(|(object, _)| *object);
            for (object, (place, offset, what)) in left {
                if self.type_of.get(object as usize) != Some(&0) {
                    continue;
                }
                match self.buffer(place, what) {
                    Some(id) => self.set(place, id),
                    None => self.visit_part(place, offset, what),
                }
            }
            if self.queue.is_empty() {
                return;
            }
        }
    }

    /// The type of a large block without pointers of which only a part is still used, by a
    /// slice of numbers: it was made as an array of them.
    fn buffer(&mut self, place: Place, what: What) -> Option<TypeId> {
        const LARGE: u64 = 1024;
        let What::Repeat(2.., elem) = what else { return None };
        let span = self.span(place)?;
        let is_buffer = span.is_noscan && span.elem > LARGE && self.types.bytes(elem) <= 8;
        is_buffer.then(|| self.types.id(Source::ArrayOf(elem)))
    }

    /// Follows the parts of a variable, of which only some words may be live.
    pub(super) fn seed(
        &mut self,
        bytes: &[u8],
        live: Option<&[u64]>,
        of: TypeId,
        is_pointer: bool,
    ) {
        self.make_room(bytes.len());
        if is_pointer {
            return self.part(bytes, Part { offset: 0, what: What::Pointer(of) });
        }
        let shape = self.types.shape(of);
        let Some(live) = live else {
            self.value(bytes, 0, &shape);
            return;
        };
        for part in &shape.parts {
            if matches!(part.what, What::Repeat(..)) || live.contains(&part.offset) {
                self.part(bytes, *part);
            }
        }
    }

    /// Looks for interfaces in variables that have no known type.
    pub(super) fn guess_all(&mut self, bytes: &[u8], mask: &[u8]) {
        let mut pairs = Vec::new();
        each_masked(bytes, mask, |offset, value| {
            pairs.extend(self.pair(bytes, offset, value));
        });
        self.make_room(bytes.len());
        for (first, second) in pairs {
            self.guess(first, second);
        }
    }

    /// The same in an object.
    pub(super) fn guess_object(&mut self, pointers: &Pointers<'a, '_>, span: &Span<'a>, slot: u64) {
        let from = usize::try_from(slot * span.elem).unwrap_or(usize::MAX);
        let bytes = span.bytes.get(from..).unwrap_or(&[]);
        let mut pairs = Vec::new();
        pointers.each(span, slot, |offset, value| {
            pairs.extend(self.pair(bytes, offset, value));
        });
        self.make_room(bytes.len().min(span.elem as usize));
        for (first, second) in pairs {
            self.guess(first, second);
        }
    }

    /// A pointer with the word before it, where that may be the type of an interface: the
    /// collector's masks have no bit for it, since it never points to the heap.
    fn pair(&self, bytes: &[u8], offset: u64, value: u64) -> Option<(u64, u64)> {
        let first = Bytes(bytes).u64(usize::try_from(offset.checked_sub(8)?).ok()?)?;
        (first != 0 && self.table.span_of(first).is_none()).then_some((first, value))
    }

    /// Reports whether an object is reachable and its type unknown.
    pub(super) fn is_open(&self, object: ObjectId) -> bool {
        self.type_of.get(object.index()) == Some(&0) && self.is_live(object)
    }

    /// Looks for interfaces where nothing says what is there: a word that is a type's
    /// descriptor, or a table with one, and the value behind it.
    fn guess(&mut self, first: u64, second: u64) {
        if let Some(found) = self.types.go.get_listed(first) {
            self.dynamic(found.addr, second);
        } else if let Some(found) = self.types.go.of_itab(first) {
            self.dynamic(found.addr, second);
        }
    }

    fn span(&self, place: Place) -> Option<&'m Span<'a>> {
        self.table.spans.get(place.span as usize)
    }

    fn bytes(&self, place: Place) -> Option<&'m [u8]> {
        let span = self.span(place)?;
        let start = u64::from(place.slot) * span.elem;
        let (from, to) = (start + self.pointers.start(span), start + span.elem);
        span.bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
    }

    fn set(&mut self, place: Place, id: TypeId) {
        if !self.is_live(place.object) {
            return;
        }
        if let Some(known @ 0) = self.type_of.get_mut(place.object.index()) {
            *known = id.0;
            self.queue.push((place.span, place.slot));
        }
    }

    fn visit(&mut self, place: Place) {
        let id = TypeId(self.type_of.get(place.object.index()).copied().unwrap_or(0));
        let Some(bytes) = self.bytes(place) else { return };
        self.make_room(bytes.len());
        match self.types.source(id) {
            Source::Map(MapPart::Groups, _) => {
                let shape = self.types.shape(id);
                self.repeat(bytes, 0, u64::MAX, &shape);
            }
            Source::Map(part, addr) => self.map(place, part, addr, bytes),
            Source::Channel(addr) => self.channel(place, addr, bytes),
            Source::ArrayOf(elem) => {
                let shape = self.types.shape(elem);
                self.repeat(bytes, 0, u64::MAX, &shape);
            }
            _ => {
                let shape = self.types.shape(id);
                self.value(bytes, 0, &shape);
            }
        }
    }

    /// Values of one shape, one after the other.
    fn repeat(&mut self, bytes: &[u8], from: u64, count: u64, shape: &Shape) {
        if shape.parts.is_empty() || shape.size == 0 {
            return;
        }
        let room = (bytes.len() as u64).saturating_sub(from) / shape.size;
        if self.depth >= DEPTH_MAX {
            return;
        }
        self.depth += 1;
        for index in 0..count.min(room) {
            if !self.value(bytes, from + index * shape.size, shape) {
                break;
            }
        }
        self.depth -= 1;
    }

    /// Reports whether there was room for all parts.
    fn value(&mut self, bytes: &[u8], at: u64, shape: &Shape) -> bool {
        for part in &shape.parts {
            if !self.room.take(1) {
                return false;
            }
            self.part(bytes, Part { offset: at.saturating_add(part.offset), what: part.what });
        }
        true
    }

    fn part(&mut self, bytes: &[u8], part: Part) {
        let word = |index: u64| -> u64 {
            let at = usize::try_from(part.offset.saturating_add(index * 8)).unwrap_or(usize::MAX);
            Bytes(bytes).u64(at).unwrap_or(0)
        };
        let pointer = word(0);
        match part.what {
            What::Repeat(count, of) => {
                let shape = self.types.shape(of);
                self.repeat(bytes, part.offset, count, &shape);
            }
            _ if pointer == 0 => {}
            What::Pointer(to) => self.point(pointer, to),
            What::Slice(elem) => self.slice(pointer, word(1), word(2), elem),
            What::Counted(elem) => self.slice(pointer, word(1), word(1), elem),
            What::TrieNode { inner, entry } => self.trie_node(pointer, inner, entry),
            What::Text => self.text(pointer, word(1)),
            What::Empty => self.dynamic(pointer, word(1)),
            What::Interface => {
                if let Some(found) = self.types.go.of_itab(pointer) {
                    self.dynamic(found.addr, word(1));
                }
            }
            What::Map(header) | What::Channel(header) => {
                self.start_of(pointer, |found, typing| typing.set(Place::from(found), header));
            }
            What::Func => {
                self.start_of(pointer, |found, typing| {
                    let place = Place::from(found);
                    let code = typing.bytes(place).and_then(|bytes| Bytes(bytes).u64(0));
                    if let Some(code) = code.filter(|code| typing.is_code(*code)) {
                        let id = typing.types.id(Source::Closure(code));
                        typing.set(place, id);
                    }
                });
            }
        }
    }

    /// A node of a trie. Its first byte says whether it is an entry; entries may be of a
    /// size that is not known.
    fn trie_node(&mut self, pointer: u64, inner: TypeId, entry: TypeId) {
        self.start_of(pointer, |found, typing| {
            let place = Place::from(found);
            let first = typing.bytes(place).and_then(<[u8]>::first);
            let id = if first == Some(&0) { inner } else { entry };
            let bytes = typing.types.bytes(id);
            if bytes == 0 || typing.span(place).is_some_and(|span| fills(span, bytes)) {
                typing.set(place, id);
            }
        });
    }

    fn is_code(&self, pc: u64) -> bool {
        self.types.go.modules.iter().any(|module| module.has_code(pc))
    }

    /// Calls `then` when a pointer leads to the start of an object's value.
    fn start_of(&mut self, pointer: u64, then: impl FnOnce(&Found, &mut Self)) {
        let Some(found) = self.table.find(pointer) else { return };
        let Some(span) = self.span(Place::from(&found)) else { return };
        if found.offset == self.pointers.start(span) {
            then(&found, self);
        }
    }

    /// A pointer to a value of a type.
    fn point(&mut self, pointer: u64, to: TypeId) {
        let Some(found) = self.table.find(pointer) else { return };
        let place = Place::from(&found);
        if !self.is_open(place.object) {
            return;
        }
        let Some(span) = self.span(place) else { return };
        let (start, size) = (self.pointers.start(span), self.types.bytes(to));
        let is_tiny = span.is_noscan && span.elem == 16 && size < 16;
        if is_tiny {
            let tiny = self.types.id(Source::Tiny);
            self.set(place, tiny);
        } else if found.offset == start && fills(span, size + start) {
            self.set(place, to);
        } else if found.offset >= start && size > 0 {
            let what = What::Repeat(1, to);
            let offset = found.offset - start;
            // The lowest and largest part tells most.
            self.candidate(place, offset, what, size);
        }
    }

    fn candidate(&mut self, place: Place, offset: u64, what: What, size: u64) {
        let known = self.candidates.get(&place.object.0).map(|(_, offset, what)| {
            let (What::Repeat(count, of), offset) = (what, offset) else { return (*offset, 0) };
            (*offset, count.saturating_mul(self.types.bytes(*of)))
        });
        let is_better = known.is_none_or(|(known, bytes)| {
            (offset, std::cmp::Reverse(size)) < (known, std::cmp::Reverse(bytes))
        });
        if is_better {
            self.candidates.insert(place.object.0, (place, offset, what));
        }
    }

    fn visit_part(&mut self, place: Place, offset: u64, what: What) {
        if let Some(bytes) = self.bytes(place) {
            self.make_room(bytes.len());
            self.part(bytes, Part { offset, what });
        }
    }

    fn slice(&mut self, pointer: u64, len: u64, capacity: u64, elem: TypeId) {
        let Some(found) = self.table.find(pointer) else { return };
        let place = Place::from(&found);
        let Some(span) = self.span(place) else { return };
        let (start, size) = (self.pointers.start(span), self.types.bytes(elem));
        let bytes = |count: u64| count.checked_mul(size);
        let (Some(used), Some(room)) = (bytes(len), bytes(capacity)) else { return };
        let end = found.offset.saturating_add(room);
        if size == 0 || len > capacity || end > span.elem || found.offset < start {
            return;
        }
        let offset = found.offset - start;
        self.extent(found.object, [offset, offset + used, offset + room]);
        if !self.is_open(place.object) {
            return;
        }
        if offset % size == 0 && fills(span, end) {
            let id = self.types.id(Source::ArrayOf(elem));
            self.set(place, id);
        } else {
            self.candidate(place, offset, What::Repeat(capacity, elem), room);
        }
    }

    fn text(&mut self, pointer: u64, len: u64) {
        let Some(found) = self.table.find(pointer) else { return };
        let place = Place::from(&found);
        let Some(span) = self.span(place) else { return };
        let end = found.offset.saturating_add(len);
        if len == 0 || end > span.elem {
            return;
        }
        self.extent(found.object, [found.offset, end, end]);
        if span.is_noscan && self.is_open(place.object) {
            let text = self.types.id(Source::Text);
            self.set(place, text);
        }
    }

    fn extent(&mut self, object: ObjectId, [low, used, capacity]: [u64; 3]) {
        let short = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        self.extents.add(object, [short(low), short(used), short(capacity)]);
    }

    /// The value of an interface.
    fn dynamic(&mut self, descriptor: u64, data: u64) {
        let Some(of) = self.types.go.get(descriptor) else { return };
        let Some(id) = self.types.of_go(descriptor) else { return };
        if of.is_direct {
            let shape = self.types.shape(id);
            self.value(&data.to_le_bytes(), 0, &shape);
        } else {
            self.point(data, id);
        }
    }

    fn map(&mut self, place: Place, part: MapPart, addr: u64, bytes: &'m [u8]) {
        let word = |at: usize| Bytes(bytes).u64(at).unwrap_or(0);
        let groups = self.types.id(Source::Map(MapPart::Groups, addr));
        match part {
            MapPart::Header if self.types.go.minor < 24 => {
                for pointer in [word(16), word(24)] {
                    self.start_of(pointer, |found, typing| typing.set(found.into(), groups));
                }
                let slots = 8_u64.checked_shl(u32::from(Bytes(bytes).u8(9).unwrap_or(0)));
                self.fill(place, addr, word(0), slots.unwrap_or(0));
            }
            MapPart::Header if word(24) == 0 => {
                self.start_of(word(16), |found, typing| typing.set(found.into(), groups));
                self.fill(place, addr, word(0), if word(16) == 0 { 0 } else { 8 });
            }
            MapPart::Header => {
                let directory = self.types.id(Source::Map(MapPart::Directory, addr));
                self.start_of(word(16), |found, typing| typing.set(found.into(), directory));
                let slots = self.table_slots(word(16), word(24));
                self.fill(place, addr, word(0), slots);
            }
            MapPart::Directory => {
                let table = self.types.id(Source::Map(MapPart::Table, addr));
                for entry in bytes.chunks_exact(8) {
                    let pointer = Bytes(entry).u64(0).unwrap_or(0);
                    self.start_of(pointer, |found, typing| typing.set(found.into(), table));
                }
            }
            MapPart::Table => {
                self.start_of(word(16), |found, typing| typing.set(found.into(), groups));
            }
            MapPart::Groups => {}
        }
    }

    /// Slots of all tables of a directory; several entries may share a table.
    fn table_slots(&mut self, directory: u64, entries: u64) -> u64 {
        let Some(found) = self.table.find(directory) else { return 0 };
        let Some(bytes) = self.bytes(Place::from(&found)) else { return 0 };
        if !self.directory_room.take(entries.min(bytes.len() as u64 / 8)) {
            return 0;
        }
        let tables = bytes.chunks_exact(8).take(usize::try_from(entries).unwrap_or(0));
        let mut last = 0;
        let mut slots = 0_u64;
        for entry in tables {
            let table = Bytes(entry).u64(0).unwrap_or(0);
            let found = self.table.find(table).filter(|_| table != last);
            last = table;
            let Some(table) = found.and_then(|found| self.bytes(Place::from(&found))) else {
                continue;
            };
            slots = slots.saturating_add(Bytes(table).u16(2).unwrap_or(0).into());
        }
        slots
    }

    fn fill(&mut self, place: Place, map: u64, used: u64, capacity: u64) {
        let go = self.types.go;
        let slot = go.get(map).and_then(|map| {
            let size = go.elem(&map)?.size.saturating_add(go.map_value(&map)?.size);
            Some(size)
        });
        let (object, kind) = (place.object, FillKind::Map);
        let element_bytes = slot.unwrap_or(0);
        if capacity > 0 && used <= capacity {
            self.fills.push(Fill { object, kind, used, capacity, element_bytes });
        }
    }

    fn channel(&mut self, place: Place, addr: u64, bytes: &'m [u8]) {
        let word = |at: usize| Bytes(bytes).u64(at).unwrap_or(0);
        let elem = self.types.go.get(addr).and_then(|chan| self.types.go.elem(&chan));
        let Some(elem) = elem.filter(|elem| elem.addr == word(self.chan_elem)) else { return };
        let (used, capacity) = (word(0), word(8));
        if capacity > 0 && used <= capacity {
            let (object, kind) = (place.object, FillKind::Channel);
            self.fills.push(Fill { object, kind, used, capacity, element_bytes: elem.size });
        }
        if elem.ptr_bytes == 0 {
            return;
        }
        let elem = self.types.id(Source::Go(elem.addr));
        let array = self.types.id(Source::ArrayOf(elem));
        self.start_of(word(16), |found, typing| typing.set(found.into(), array));
    }
}

/// Reports whether this many bytes, header included, are what a slot of the span is for.
fn fills(span: &Span<'_>, bytes: u64) -> bool {
    if span.is_large {
        return bytes.div_ceil(PAGE) * PAGE == span.elem;
    }
    class_size(bytes) == Some(span.elem)
}
