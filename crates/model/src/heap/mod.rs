//! The object graph of one heap: which objects exist, of which types, what points to
//! what, and what the program's roots hold.
//!
//! Everything that has one value an object or a pointer is a [`Column`], owned or
//! borrowed from a mapped file, so that a graph of a hundred million objects costs only
//! the pages that are looked at. Objects are numbered in address order.

mod edges;
mod facts;
mod objects;
mod roots;
mod types;

use std::borrow::Cow;

pub use edges::Edges;
pub use facts::{AllocatedAt, Contents, Extents, Fill, FillKind, Texts};
pub use objects::{Listed, Objects, SpanSizes, Spans};
pub use roots::{HeapGoroutine, Holder, HolderId, HolderKind, RootPointer};
pub use types::{Field, HeapType, TypeId, TypeKind};

use crate::go::Frame;
use crate::strings::StringTable;
use crate::units::Timestamp;

/// One value an object (or a pointer), owned or borrowed.
pub type Column<'a, T> = Cow<'a, [T]>;

/// An object: its place in address order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId(pub u32);

impl ObjectId {
    /// The id as an index into columns.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a graph is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapSource {
    /// What made the heap: `go1.26.8`, `JAVA PROFILE 1.0.2`.
    pub runtime: String,
    /// The target's name.
    pub target: String,
    /// The executable.
    pub executable: String,
    /// When it was taken.
    pub time: Option<Timestamp>,
    /// How: `fork`, `stop`, `core`, `heapdump`, `hprof`.
    pub method: String,
    /// How long the target stood still.
    pub pause_nanos: Option<u64>,
    /// How many times the collector had run.
    pub gc_count: Option<u64>,
    /// Bytes of memory the heap's spans occupy (Go's HeapInuse).
    pub heap_in_use_bytes: Option<u64>,
    /// A collection was under way.
    pub is_marking: bool,
}

/// The object graph of one heap.
#[derive(Clone, Debug, Default)]
pub struct HeapGraph<'a> {
    /// Where it is from.
    pub source: HeapSource,
    /// Names of types, fields, roots.
    pub strings: StringTable,
    /// Types; an object's is in `type_of`.
    pub types: Vec<HeapType>,
    /// Fields of all types.
    pub fields: Vec<Field>,
    /// Addresses and sizes.
    pub objects: Objects<'a>,
    /// The type of each object.
    pub type_of: Column<'a, u32>,
    /// What each object points to and thereby keeps alive.
    pub edges: Edges<'a>,
    /// References that keep nothing alive: from, slot, to.
    pub weak: Vec<(ObjectId, u32, ObjectId)>,
    /// Bytes that one step of a pointer's slot stands for: 8 in Go, whose slots are words
    /// of the object; 1 where slots count fields.
    pub slot_bytes: u32,
    /// Variables and the like that hold objects.
    pub holders: Vec<Holder>,
    /// What they hold, in the order of their holders.
    pub root_pointers: Vec<RootPointer>,
    /// Goroutines (or threads), which holders name.
    pub goroutines: Vec<HeapGoroutine>,
    /// Which part of an array the slices and strings that were found use.
    pub extents: Extents<'a>,
    /// How full maps and channels are.
    pub fills: Vec<Fill>,
    /// Fingerprints of texts.
    pub texts: Texts<'a>,
    /// Allocation stacks of the objects the heap profiler sampled.
    pub allocated_at: Vec<AllocatedAt>,
    /// Those stacks, innermost frame first.
    pub stacks: Vec<Vec<Frame>>,
    /// Bytes of objects, where they were asked for.
    pub contents: Contents<'a>,
    /// What could not be read, and why.
    pub warnings: Vec<String>,
}

/// Why a graph is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inconsistent(pub &'static str);

impl HeapGraph<'_> {
    /// How many objects there are, unreachable ones included.
    pub fn len(&self) -> usize {
        self.type_of.len()
    }

    /// Reports whether the heap holds nothing.
    pub fn is_empty(&self) -> bool {
        self.type_of.is_empty()
    }

    /// The type of an object.
    pub fn type_of(&self, object: ObjectId) -> TypeId {
        TypeId(self.type_of.get(object.index()).copied().unwrap_or(0))
    }

    /// The record of a type.
    pub fn heap_type(&self, id: TypeId) -> Option<&HeapType> {
        self.types.get(id.0 as usize)
    }

    /// The fields of a type in the order of their offsets.
    pub fn fields_of(&self, heap_type: &HeapType) -> &[Field] {
        let range = heap_type.fields.start as usize..heap_type.fields.end as usize;
        self.fields.get(range).unwrap_or(&[])
    }

    /// The name of a type, or the empty text.
    pub fn type_name(&self, id: TypeId) -> &str {
        self.heap_type(id).map_or("", |found| self.strings.get(found.name))
    }

    /// What a holder points to.
    pub fn pointers_of(&self, holder: HolderId) -> &[RootPointer] {
        let from = self.root_pointers.partition_point(|pointer| pointer.holder < holder);
        let tail = self.root_pointers.get(from..).unwrap_or(&[]);
        let count = tail.partition_point(|pointer| pointer.holder == holder);
        tail.get(..count).unwrap_or(&[])
    }

    /// Checks that every number that is an index is one. Readers of files call this once;
    /// whoever works on a graph may then rely on it.
    ///
    /// # Errors
    /// Names the first part that does not fit.
    pub fn check(&self) -> Result<(), Inconsistent> {
        let objects = self.type_of.len();
        let ensure = |holds: bool, what| if holds { Ok(()) } else { Err(Inconsistent(what)) };
        ensure(u32::try_from(objects).is_ok_and(|count| count < u32::MAX), "object count")?;
        ensure(self.objects.check(objects), "objects")?;
        ensure(self.edges.check(objects), "pointers")?;
        let is_object = |id: ObjectId| id.index() < objects;
        let types = self.types.len();
        ensure(self.type_of.iter().all(|id| (*id as usize) < types), "types of objects")?;
        let is_type = |id: Option<TypeId>| id.is_none_or(|id| (id.0 as usize) < types);
        let fields = self.fields.len();
        let has_fields = |found: &HeapType| {
            found.fields.start <= found.fields.end && found.fields.end as usize <= fields
        };
        ensure(self.types.iter().all(|t| has_fields(t) && is_type(t.element)), "types")?;
        ensure(self.fields.iter().all(|field| is_type(field.of)), "fields")?;
        ensure(self.weak.iter().all(|w| is_object(w.0) && is_object(w.2)), "weak references")?;
        ensure(self.check_roots(&is_object), "roots")?;
        ensure(self.extents.check(objects) && self.texts.check(objects), "facts of objects")?;
        ensure(self.fills.iter().all(|fill| is_object(fill.object)), "fills")?;
        let stacks = self.stacks.len();
        let is_sample = |at: &AllocatedAt| is_object(at.object) && (at.stack as usize) < stacks;
        ensure(self.allocated_at.iter().all(is_sample), "allocation stacks")?;
        let has_stack = |found: &HeapGoroutine| found.stack.is_none_or(|at| (at as usize) < stacks);
        ensure(self.goroutines.iter().all(has_stack), "stacks of goroutines")?;
        ensure(self.contents.check(objects), "contents")
    }

    fn check_roots(&self, is_object: &impl Fn(ObjectId) -> bool) -> bool {
        let holders = self.holders.len();
        let is_sound = |(index, holder): (usize, &Holder)| {
            // A parent comes before its children: no cycles.
            holder.parent.is_none_or(|parent| (parent.0 as usize) < index)
                && holder.goroutine.is_none_or(|index| (index as usize) < self.goroutines.len())
                && holder.of.is_none_or(|of| (of.0 as usize) < self.types.len())
        };
        u32::try_from(holders + self.type_of.len() + 1).is_ok()
            && self.holders.iter().enumerate().all(is_sound)
            && self.root_pointers.is_sorted_by_key(|pointer| pointer.holder)
            && self
                .root_pointers
                .iter()
                .all(|pointer| (pointer.holder.0 as usize) < holders && is_object(pointer.target))
    }
}
