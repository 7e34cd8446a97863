//! Graphs for tests: drawn by hand, at random, and large ones.

mod dominators;
mod findings;
mod hostile;
mod paths;
mod pools;
mod query;
mod spans;
mod tables;
mod waste;

use model::heap::{
    Edges, Field, HeapGraph, HeapType, Holder, HolderId, HolderKind, Listed, ObjectId, Objects,
    RootPointer, TypeId, TypeKind,
};

/// A graph that is being drawn.
#[derive(Default)]
pub(super) struct Drawing {
    pub(super) graph: HeapGraph<'static>,
    bytes: Vec<u64>,
    types: Vec<u32>,
    edges: Vec<(u32, u32, u32)>,
}

impl Drawing {
    pub(super) fn new() -> Drawing {
        let mut drawing = Drawing::default();
        drawing.graph.slot_bytes = 8;
        drawing.type_of("node", 16, &[]);
        drawing
    }

    /// Adds a struct type with fields (offset, name, type with parts).
    pub(super) fn type_of(
        &mut self,
        name: &str,
        bytes: u64,
        fields: &[(u64, &str, Option<TypeId>)],
    ) -> TypeId {
        let start = self.graph.fields.len() as u32;
        for (offset, name, of) in fields {
            let name = self.graph.strings.intern(name);
            self.graph.fields.push(Field { offset: *offset, name, of: *of });
        }
        let package = name.trim_start_matches(['*', '[', ']']).rsplit_once('.');
        let package = self.graph.strings.intern(package.map_or("", |(package, _)| package));
        self.graph.types.push(HeapType {
            name: self.graph.strings.intern(name),
            package,
            kind: TypeKind::Struct,
            bytes,
            fields: start..self.graph.fields.len() as u32,
            element: None,
        });
        TypeId(self.graph.types.len() as u32 - 1)
    }

    pub(super) fn array_of(&mut self, name: &str, element: TypeId, bytes: u64) -> TypeId {
        let array = self.type_of(name, bytes, &[]);
        let found = self.graph.types.last_mut().unwrap();
        (found.kind, found.element) = (TypeKind::Array, Some(element));
        array
    }

    pub(super) fn object(&mut self, of: TypeId, bytes: u64) -> ObjectId {
        self.bytes.push(bytes);
        self.types.push(of.0);
        ObjectId(self.bytes.len() as u32 - 1)
    }

    /// Adds objects of the first type, with a size that tells them apart.
    pub(super) fn objects(&mut self, count: u32) -> &mut Drawing {
        for index in 0..count {
            self.object(TypeId(0), 8 + u64::from(index % 50) * 8);
        }
        self
    }

    pub(super) fn point(&mut self, from: u32, to: u32) -> &mut Drawing {
        let slot = self.edges.iter().filter(|edge| edge.0 == from).count() as u32;
        self.point_at(from, slot, to)
    }

    pub(super) fn point_at(&mut self, from: u32, slot: u32, to: u32) -> &mut Drawing {
        self.edges.push((from, slot, to));
        self
    }

    pub(super) fn holder(&mut self, kind: HolderKind, name: &str, targets: &[u32]) -> HolderId {
        self.holder_in(None, kind, name, targets)
    }

    pub(super) fn holder_in(
        &mut self,
        parent: Option<HolderId>,
        kind: HolderKind,
        name: &str,
        targets: &[u32],
    ) -> HolderId {
        let holder = HolderId(self.graph.holders.len() as u32);
        let name = self.graph.strings.intern(name);
        let goroutine = parent.and_then(|id| self.graph.holders[id.0 as usize].goroutine);
        self.graph.holders.push(Holder {
            kind,
            name,
            place: self.graph.strings.intern(""),
            parent,
            goroutine,
            of: None,
            is_conservative: false,
        });
        for (slot, target) in targets.iter().enumerate() {
            let target = ObjectId(*target);
            self.graph.root_pointers.push(RootPointer { holder, slot: slot as u32, target });
        }
        holder
    }

    pub(super) fn done(mut self) -> HeapGraph<'static> {
        self.edges.sort_by_key(|edge| edge.0);
        let mut edges = Edges::empty();
        let mut rest = self.edges.iter().peekable();
        for object in 0..self.bytes.len() as u32 {
            while let Some((_, slot, to)) = rest.next_if(|edge| edge.0 == object) {
                edges.push(*slot, ObjectId(*to));
            }
            edges.end_object();
        }
        let address: Vec<u64> = self
            .bytes
            .iter()
            .scan(0x1000, |next, bytes| {
                let own = *next;
                *next += bytes;
                Some(own)
            })
            .collect();
        self.graph.edges = edges;
        self.graph.type_of = self.types.into();
        let listed = Listed { address: address.into(), bytes: self.bytes.into() };
        self.graph.objects = Objects::Listed(listed);
        assert_eq!(self.graph.check(), Ok(()));
        self.graph
    }
}

/// Numbers that look random and are the same in every run.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A graph of up to `objects` objects with holders, cycles, loops to itself, double
/// pointers, and parts that nothing reaches.
pub(super) fn random_graph(chance: &mut Chance, objects: u64) -> HeapGraph<'static> {
    let mut drawing = Drawing::new();
    let count = chance.below(objects) as u32 + 1;
    let types: Vec<TypeId> =
        (0..3).map(|index| drawing.type_of(&format!("main.T{index}"), 8, &[])).collect();
    for _ in 0..count {
        let of = types[chance.below(3) as usize];
        let bytes = if chance.below(40) == 0 { 1 << 33 } else { chance.below(100) + 1 };
        drawing.object(of, bytes);
    }
    let pointers = chance.below(u64::from(count) * 3 + 1);
    // Some graphs point mostly to neighbours: long paths and many ways around.
    let reach = if chance.below(2) == 0 { count } else { count.min(4) };
    for _ in 0..pointers {
        let from = chance.below(u64::from(count)) as u32;
        let to = (from + count - reach / 2 + chance.below(u64::from(reach)) as u32) % count;
        drawing.point(from, to);
    }
    for index in 0..chance.below(5) as u32 {
        let targets: Vec<u32> =
            (0..chance.below(3)).map(|_| chance.below(u64::from(count)) as u32).collect();
        let parent = (index > 0 && chance.below(2) == 0)
            .then(|| HolderId(chance.below(u64::from(index)) as u32));
        drawing.holder_in(parent, HolderKind::Global, &format!("g{index}"), &targets);
    }
    drawing.done()
}
