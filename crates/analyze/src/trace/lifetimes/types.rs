//! What objects are called, and what is counted of each type.

use ahash::AHashMap;
use model::HeapGraph;
use model::go::class_size;
use model::heap::{TypeId, TypeKind};
use model::trace::{HeapInfo, ObjectType, ObjectTypeId, Tables};

use super::survival::{COLLECTION_CLASSES, Ends, TIME_CLASSES, time_class};
use super::{Count, Lifetimes, Naming, TypeLifetimes};

/// More types than this are counted as one: each costs a kilobyte.
const TYPES_MAX: usize = 1 << 16;

/// Objects without a type that hold no pointers: the runtime gives none when it copies
/// strings and bytes or grows slices.
pub const BYTES_NAME: &str = "(bytes)";

/// Objects that nothing tells the type of.
pub const UNKNOWN_NAME: &str = "(unknown)";

const OTHER_NAME: &str = "(other types)";

/// Bytes above which objects with pointers have a header of 8 bytes in front of them.
const HEADER_ABOVE_BYTES: u64 = 512;
const HEADER_BYTES: u64 = 8;

/// Slots that tiny objects share.
const TINY_BYTES: u64 = 16;

/// Index of a type's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TypeNumber(pub(super) u32);

#[derive(Debug, Default)]
pub(super) struct Types {
    numbers: AHashMap<String, TypeNumber>,
    figures: Vec<Figures>,
    /// By ids of the tables that hold now.
    known: AHashMap<ObjectTypeId, Known>,
    last: Option<(ObjectTypeId, Known)>,
    of_snapshot: AHashMap<TypeId, (TypeNumber, Naming)>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    /// Of the slot that one value needs.
    single_bytes: u64,
    single: TypeNumber,
    array: TypeNumber,
}

/// What is counted of a type.
#[derive(Debug, Default)]
pub(super) struct Figures {
    name: String,
    pub(super) existed: Count,
    pub(super) existed_freed: Count,
    pub(super) allocated: Count,
    pub(super) packed: u64,
    pub(super) freed: Count,
    pub(super) young: Count,
    pub(super) within: Count,
    times: Option<Box<Ends<TIME_CLASSES>>>,
    collections: Option<Box<Ends<COLLECTION_CLASSES>>>,
    /// Collections survived by what the latest collection killed.
    latest: Vec<(usize, u64)>,
    latest_collection: u32,
}

impl Types {
    /// Ids mean something else from here on.
    pub(super) fn forget_ids(&mut self) {
        self.known.clear();
        self.last = None;
    }

    pub(super) fn named(&mut self, name: &str) -> TypeNumber {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let name = if self.figures.len() < TYPES_MAX { name } else { OTHER_NAME };
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let number = TypeNumber(self.figures.len() as u32);
        self.figures.push(Figures { name: name.to_owned(), ..Figures::default() });
        self.numbers.insert(name.to_owned(), number);
        number
    }

    /// The type of an object in a slot of so many bytes.
    #[inline]
    pub(super) fn of(
        &mut self,
        id: ObjectTypeId,
        slot_bytes: u64,
        page_bytes: u64,
        tables: &Tables<'_>,
    ) -> Option<TypeNumber> {
        let known = match self.last {
            Some((last, known)) if last == id => known,
            _ => {
                let known = self.know(id, page_bytes, tables)?;
                self.last = Some((id, known));
                known
            }
        };
        Some(if slot_bytes <= known.single_bytes { known.single } else { known.array })
    }

    fn know(&mut self, id: ObjectTypeId, page_bytes: u64, tables: &Tables<'_>) -> Option<Known> {
        if let Some(known) = self.known.get(&id) {
            return Some(*known);
        }
        let of = tables.object_type(id)?;
        let name = String::from_utf8_lossy(of.name);
        let single_bytes = single_bytes(&of, page_bytes);
        let (single, array) = (self.named(&name), self.named(&format!("[]{name}")));
        let known = Known { single_bytes, single, array };
        self.known.insert(id, known);
        Some(known)
    }

    /// The type of what lay in the heap when it was taken, where the trace says none.
    pub(super) fn of_snapshot(
        &mut self,
        object: u64,
        slot_bytes: u64,
        info: &HeapInfo,
        graph: &HeapGraph<'_>,
    ) -> Option<(TypeNumber, Naming)> {
        let offset = object.checked_mul(info.align_bytes)?;
        let (found, within) = graph.objects.find(info.base.checked_add(offset)?)?;
        // In a slot of another size lies something that came later.
        if within != 0 || graph.objects.bytes(found) != slot_bytes {
            return None;
        }
        let id = graph.type_of(found);
        if let Some(known) = self.of_snapshot.get(&id) {
            return Some(*known);
        }
        let is_unknown = graph.heap_type(id).is_none_or(|of| of.kind == TypeKind::Unknown);
        let known = match is_unknown {
            true => (self.named(UNKNOWN_NAME), Naming::Unknown),
            false => (self.named(graph.type_name(id)), Naming::Named),
        };
        self.of_snapshot.insert(id, known);
        Some(known)
    }

    #[inline]
    pub(super) fn figures(&mut self, number: TypeNumber) -> &mut Figures {
        #[expect(clippy::indexing_slicing, reason = "numbers are made by `named` only")]
        &mut self.figures[number.0 as usize]
    }

    /// Whether it is a part of a map, which snapshots name in another way.
    pub(super) fn is_of_map(&self, number: TypeNumber) -> bool {
        let name = self.figures.get(number.0 as usize).map_or("", |figures| &figures.name);
        name.trim_start_matches("[]").starts_with("map.")
    }

    /// Ends: figures of all types that had objects, and of all together.
    pub(super) fn finish(self, collections: u32, gcs: usize, into: &mut Lifetimes) {
        for figures in self.figures {
            if figures.existed.objects + figures.allocated.objects + figures.packed == 0 {
                continue;
            }
            into.types.push(figures.finish(collections, gcs));
        }
        let weight = |of: &TypeLifetimes| of.allocated.bytes;
        into.types.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.name.cmp(&b.name)));
    }
}

impl Figures {
    /// An object that was allocated in the trace dies, after so long and so many collections.
    pub(super) fn dies(&mut self, nanos: u64, survived: u32, collection: u32, bytes: u64) {
        self.freed.add(bytes);
        if survived == 0 {
            self.young.add(bytes);
        }
        self.times.get_or_insert_default().ends(time_class(nanos), 1);
        if self.latest_collection != collection {
            self.fold_latest();
            self.latest_collection = collection;
        }
        match self.latest.iter_mut().find(|entry| entry.0 == survived as usize) {
            Some(entry) => entry.1 += 1,
            None => self.latest.push((survived as usize, 1)),
        }
    }

    /// An object lives at the end, at an age and after so many finished collections.
    pub(super) fn is_left(&mut self, nanos: u64, survived: u32) {
        self.times.get_or_insert_default().is_left(time_class(nanos), 1);
        self.collections.get_or_insert_default().is_left(survived as usize, 1);
    }

    fn fold_latest(&mut self) {
        let ends = self.collections.get_or_insert_default();
        for (survived, count) in self.latest.drain(..) {
            ends.ends(survived, count);
        }
    }

    /// The last collection may not have swept all when the trace ended: whom it killed is
    /// only known to have lived until then.
    fn finish(mut self, collections: u32, gcs: usize) -> TypeLifetimes {
        if self.latest_collection == collections {
            let ends = self.collections.get_or_insert_default();
            for (survived, count) in self.latest.drain(..) {
                ends.is_left(survived, count);
            }
        }
        self.fold_latest();
        let by_collections = self.collections.map(|ends| *ends).unwrap_or_default();
        let survivors = by_collections.ended.iter().chain(&by_collections.left);
        let classes = COLLECTION_CLASSES;
        let survivors = survivors.enumerate().filter(|(at, _)| at % classes >= gcs);
        TypeLifetimes {
            name: self.name,
            existed: self.existed,
            existed_freed: self.existed_freed,
            allocated: self.allocated,
            packed: self.packed,
            freed: self.freed,
            young: self.young,
            within: self.within,
            survivors: survivors.map(|(_, count)| count).sum(),
            survival: gcs.checked_sub(1).map_or(Some(1.0), |gcs| by_collections.survive(gcs)),
            by_time: self.times.map(|ends| *ends).unwrap_or_default(),
            by_collections,
        }
    }
}

/// The slot that one value of a type needs.
fn single_bytes(of: &ObjectType<'_>, page_bytes: u64) -> u64 {
    let has_header = of.pointer_bytes > 0 && of.bytes > HEADER_ABOVE_BYTES;
    let needed = of.bytes.saturating_add(if has_header { HEADER_BYTES } else { 0 });
    let large = || of.bytes.checked_next_multiple_of(page_bytes).unwrap_or(u64::MAX);
    // Tiny objects without pointers lie in slots of 16 bytes.
    let least = if of.pointer_bytes == 0 { TINY_BYTES } else { 0 };
    class_size(needed).unwrap_or_else(large).max(least)
}
