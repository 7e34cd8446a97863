//! What sync.Pools hold, on drawn heaps.

use model::heap::{HeapGraph, HolderKind, ObjectId, TypeId};

use super::Drawing;
use crate::heap::Dominators;
use crate::heap::waste::{Waste, WasteKind, waste};

fn pools(graph: &HeapGraph<'_>) -> Option<Waste> {
    let found = waste(graph, &Dominators::of(graph), 10);
    found.into_iter().find(|waste| waste.kind == WasteKind::Pools)
}

fn rows(waste: &Waste) -> Vec<(&str, u64, u64)> {
    let row = |row: &crate::heap::waste::WasteRow| (row.wasted.bytes, row.wasted.objects);
    waste.fields.iter().map(|r| (r.name.as_str(), row(r).0, row(r).1)).collect()
}

/// The types of a pool's parts.
struct Parts {
    pool: TypeId,
    locals: TypeId,
    ring: TypeId,
    slots: TypeId,
    buffer: TypeId,
    bytes: TypeId,
}

impl Parts {
    fn of(drawing: &mut Drawing, package: &str) -> Parts {
        let pool = drawing.type_of("sync.Pool", 64, &[(0, "local", None), (16, "victim", None)]);
        let mut part = |name: &str, bytes, fields: &[_]| {
            drawing.type_of(&format!("{package}.{name}"), bytes, fields)
        };
        let local = part("poolLocal", 128, &[(0, "private", None), (16, "shared", None)]);
        let ring = part("poolChainElt", 48, &[]);
        let slot = part("eface", 16, &[]);
        Parts {
            pool,
            locals: drawing.array_of("[]poolLocal", local, 128),
            ring,
            slots: drawing.array_of("[]eface", slot, 16),
            buffer: drawing.type_of("main.Buffer", 24, &[(0, "bytes", None)]),
            bytes: drawing.type_of("[]byte", 1, &[]),
        }
    }

    /// A buffer with so many bytes.
    fn buffer(&self, drawing: &mut Drawing, bytes: u64) -> u32 {
        let buffer = drawing.object(self.buffer, 24).0;
        let array = drawing.object(self.bytes, bytes).0;
        drawing.point(buffer, array);
        buffer
    }
}

/// A pool with three buffers in a ring, one of them huge, and one for a processor alone;
/// what it had before holds another one.
fn drawn(package: &str) -> (HeapGraph<'static>, u32) {
    let mut drawing = Drawing::new();
    let parts = Parts::of(&mut drawing, package);
    let local = drawing.object(parts.locals, 256).0;
    let victim = drawing.object(parts.locals, 256).0;
    let ring = drawing.object(parts.ring, 48).0;
    let slots = drawing.object(parts.slots, 128).0;
    // Both ends of the chain are this ring.
    drawing.point_at(local, 2, ring).point_at(local, 3, ring).point(ring, slots);
    let huge = parts.buffer(&mut drawing, 1 << 20);
    for (slot, bytes) in [(1, 1000), (5, 1000)] {
        let buffer = parts.buffer(&mut drawing, bytes);
        drawing.point_at(slots, slot, buffer);
    }
    drawing.point_at(slots, 3, huge);
    let private = parts.buffer(&mut drawing, 2000);
    drawing.point_at(local, 17, private);
    let old = parts.buffer(&mut drawing, 500);
    drawing.point_at(victim, 1, old);
    // It was put back, but somebody still uses it.
    let used = parts.buffer(&mut drawing, 9000);
    drawing.point_at(slots, 7, used);
    let holder = drawing.holder(HolderKind::Global, "main.buffers", &[]);
    drawing.graph.holders[0].of = Some(parts.pool);
    for (slot, array) in [(0, local), (2, victim)] {
        let target = ObjectId(array);
        drawing.graph.root_pointers.push(model::heap::RootPointer { holder, slot, target });
    }
    drawing.holder(HolderKind::Local, "b", &[used, local]);
    (drawing.done(), huge)
}

#[test]
fn what_only_a_pool_holds_is_its_own() {
    let (graph, huge) = drawn("sync");
    let found = pools(&graph).unwrap();
    let all = (24 + (1 << 20)) + 2 * 1024 + 2024 + 524;
    assert_eq!(rows(&found), [("main.buffers (global)", all, 5)]);
    assert_eq!((found.total.bytes, found.total.objects), (all, 5));
    let worst = found.offenders[0];
    assert_eq!((worst.object, worst.wasted_bytes), (ObjectId(huge), 24 + (1 << 20)));
    // The middle one of five, by size.
    assert_eq!((worst.used, worst.of), (1024, 5));
    assert_eq!(found.types[0].name, "main.Buffer");
}

#[test]
fn types_of_other_packages_are_no_parts() {
    let (graph, _) = drawn("mine");
    assert_eq!(pools(&graph), None);
}

#[test]
fn pools_are_called_what_holds_them() {
    let mut drawing = Drawing::new();
    let parts = Parts::of(&mut drawing, "sync");
    let server = drawing.type_of("main.Server", 80, &[(16, "pages", Some(parts.pool))]);
    let list = drawing.type_of("[]*sync.Pool", 8, &[]);
    let one = |drawing: &mut Drawing| {
        let locals = drawing.object(parts.locals, 128).0;
        let buffer = parts.buffer(drawing, 100);
        drawing.point(locals, buffer);
        locals
    };
    let servers: Vec<u32> = (0..2).map(|_| drawing.object(server, 80).0).collect();
    for server in &servers {
        let locals = one(&mut drawing);
        drawing.point_at(*server, 2, locals);
    }
    // A pool by itself, in the package's list and in a variable.
    let alone = drawing.object(parts.pool, 64).0;
    let locals = one(&mut drawing);
    drawing.point_at(alone, 2, locals);
    let all = drawing.object(list, 8).0;
    drawing.point(all, alone);
    // Nothing reaches this one.
    let garbage = drawing.object(server, 80).0;
    let locals = one(&mut drawing);
    drawing.point_at(garbage, 2, locals);
    drawing.holder(HolderKind::Global, "sync.allPools", &[all]);
    drawing.holder(HolderKind::Global, "main.servers", &servers);
    drawing.holder(HolderKind::Global, "main.alone", &[alone]);
    let graph = drawing.done();
    let found = pools(&graph).unwrap();
    let expected = [("main.Server.pages", 248, 2), ("main.alone (global)", 124, 1)];
    assert_eq!(rows(&found), expected);
}
