//! The classes of a dump, and their ids.

use std::collections::BTreeMap;

use ahash::AHashMap;
use model::heap::{HeapGraph, ObjectId, TypeId};

use super::names::{array_class_name, class_name};
use super::{INSTANCE_BYTES_MAX, is_text};

/// How an object is written.
pub(super) enum Shape {
    /// An instance of this class.
    Instance(usize),
    /// An array of references of the class with this id.
    Array(u64),
    /// An array of bytes.
    Text,
}

/// A class for the objects of one type and size.
pub(super) struct InstanceClass {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) of: TypeId,
    pub(super) bytes: u64,
    /// A bit a slot: some object holds a pointer there.
    used: Vec<u64>,
}

impl InstanceClass {
    /// The slots that are fields, ascending.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.used).flat_map(|(at, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit)
        })
    }

    /// Bytes of an instance's data: its size less the header, or more where pointers need it.
    pub(super) fn data_bytes(&self) -> u64 {
        (8 * self.slots().count() as u64).max(self.bytes.saturating_sub(16))
    }
}

/// All classes of the objects of a graph.
pub(super) struct Classes {
    pub(super) instances: Vec<InstanceClass>,
    by_key: AHashMap<(u32, u64), usize>,
    /// Classes of arrays by type: their ids and names.
    pub(super) arrays: BTreeMap<u32, (u64, String)>,
    /// The class of arrays that hold what others have no room for.
    pub(super) companion_class: u64,
    next_id: u64,
}

impl Classes {
    pub(super) fn of(graph: &HeapGraph<'_>) -> Classes {
        let mut classes = Classes {
            instances: Vec::new(),
            by_key: AHashMap::new(),
            arrays: BTreeMap::new(),
            companion_class: 0,
            next_id: first_id(graph),
        };
        graph.objects.each_size(|object, bytes| classes.note(graph, object, bytes));
        classes.number(graph);
        classes
    }

    /// An id of something that is not in the graph, with room for an array of so many
    /// elements: some readers look whether arrays overlap.
    pub(super) fn new_id(&mut self, elements: usize) -> u64 {
        let id = self.next_id;
        self.next_id += 64 + 8 * elements as u64;
        id
    }

    pub(super) fn companion(&mut self, elements: usize) -> u64 {
        self.new_id(elements)
    }

    fn note(&mut self, graph: &HeapGraph<'_>, object: ObjectId, bytes: u64) {
        let type_of = graph.type_of(object);
        if bytes > INSTANCE_BYTES_MAX {
            let kind = graph.heap_type(type_of).map(|found| found.kind);
            if !kind.is_some_and(is_text) {
                self.arrays.entry(type_of.0).or_default();
            }
            return;
        }
        let instances = &mut self.instances;
        let class = *self.by_key.entry((type_of.0, bytes)).or_insert_with(|| {
            let (name, used) = (String::new(), Vec::new());
            instances.push(InstanceClass { id: 0, name, of: type_of, bytes, used });
            instances.len() - 1
        });
        let Some(class) = self.instances.get_mut(class) else { return };
        for (slot, _) in graph.edges.of(object) {
            // A field for each slot must fit into the format; only damaged graphs have more.
            let word = slot as usize / 64;
            if word >= 512 {
                continue;
            }
            if word >= class.used.len() {
                class.used.resize(word + 1, 0);
            }
            if let Some(word) = class.used.get_mut(word) {
                *word |= 1 << (slot % 64);
            }
        }
    }

    /// Gives classes ids and names. The smallest objects of a type have its name alone.
    fn number(&mut self, graph: &HeapGraph<'_>) {
        self.instances.sort_by_key(|class| (class.of, class.bytes));
        let mut before = None;
        for at in 0..self.instances.len() {
            let id = self.new_id(0);
            let Some(class) = self.instances.get_mut(at) else { break };
            let name = class_name(graph.type_name(class.of));
            let bytes = class.bytes;
            let is_first = before != Some(class.of);
            class.name = if is_first { name } else { format!("{name} ({bytes} B)") };
            class.id = id;
            before = Some(class.of);
            self.by_key.insert((class.of.0, bytes), at);
        }
        let types: Vec<u32> = self.arrays.keys().copied().collect();
        for of in types {
            let name = array_class_name(graph.type_name(TypeId(of)));
            let id = self.new_id(0);
            self.arrays.insert(of, (id, name));
        }
        self.companion_class = self.new_id(0);
    }

    pub(super) fn shape(&self, graph: &HeapGraph<'_>, of: TypeId, bytes: u64) -> Shape {
        if bytes <= INSTANCE_BYTES_MAX {
            return Shape::Instance(self.by_key.get(&(of.0, bytes)).copied().unwrap_or(0));
        }
        match self.arrays.get(&of.0) {
            Some(_) if graph.heap_type(of).is_some_and(|found| is_text(found.kind)) => Shape::Text,
            Some((id, _)) => Shape::Array(*id),
            None => Shape::Text,
        }
    }
}

/// Ids that no object has: above all, or below all where objects lie too high. Readers
/// take ids for signed numbers.
fn first_id(graph: &HeapGraph<'_>) -> u64 {
    let last = (graph.len() as u32).checked_sub(1).and_then(|last| {
        let last = ObjectId(last);
        let address = graph.objects.address(last)?.0;
        Some(address.saturating_add(graph.objects.bytes(last)))
    });
    let last = last.unwrap_or(0);
    if last < 1 << 61 { ((last >> 32) + 2) << 32 } else { 0x1000 }
}
