//! Waste on drawn heaps.

use model::heap::{
    Extents, Fill, FillKind, HeapGraph, HolderKind, ObjectId, Objects, Spans, Texts, TypeKind,
};

use super::Drawing;
use crate::heap::Dominators;
use crate::heap::waste::{Waste, WasteKind, waste};

fn find(graph: &HeapGraph<'_>) -> Vec<Waste> {
    waste(graph, &Dominators::of(graph), 10)
}

fn rows(waste: &Waste) -> Vec<(&str, u64)> {
    waste.fields.iter().map(|row| (row.name.as_str(), row.wasted.bytes)).collect()
}

#[test]
fn equal_strings_count_but_the_first() {
    let mut drawing = Drawing::new();
    let user = drawing.type_of("main.User", 16, &[(0, "name", None), (8, "city", None)]);
    let text = drawing.type_of("string", 1, &[]);
    drawing.object(user, 16);
    drawing.object(user, 16);
    for _ in 2..7 {
        drawing.object(text, 32);
    }
    drawing.point(0, 2).point(0, 3).point(1, 4).point(1, 5);
    drawing.holder(HolderKind::Global, "users", &[0, 1]);
    // 2, 3, 5 and 6 are equal, but nothing reaches 6; 4 has their hash and another length.
    drawing.graph.texts = Texts {
        object: vec![2, 3, 4, 5, 6].into(),
        bytes: vec![20, 20, 21, 20, 20].into(),
        hash: vec![7; 5].into(),
    };
    let graph = drawing.done();
    let found = find(&graph);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].total.bytes), (WasteKind::DuplicateStrings, 64));
    let worst = found[0].offenders[0];
    assert_eq!((worst.object, worst.wasted_bytes, worst.of), (ObjectId(2), 64, 3));
    assert_eq!(rows(&found[0]), [("main.User.city", 64)]);
    assert_eq!(found[0].types[0].name, "string");
}

#[test]
fn arrays_that_are_used_in_part() {
    let mut drawing = Drawing::new();
    let line = drawing.type_of("main.Line", 8, &[(0, "text", None)]);
    let bytes = drawing.type_of("[]byte", 1, &[]);
    for _ in 0..3 {
        drawing.object(line, 8);
    }
    for _ in 0..3 {
        drawing.object(bytes, 4096);
    }
    drawing.point(0, 3).point(1, 4).point(2, 5);
    drawing.holder(HolderKind::Global, "lines", &[0, 1, 2]);
    drawing.graph.extents = Extents {
        object: vec![3, 4, 5].into(),
        low: vec![1000, 0, 0].into(),
        used: vec![1016, 100, 4000].into(),
        capacity: vec![1016, 4096, 4000].into(),
    };
    let graph = drawing.done();
    let found = find(&graph);
    let totals: Vec<_> = found.iter().map(|waste| (waste.kind, waste.total.bytes)).collect();
    // The third's 96 bytes are rounding; not told here, as only spans round.
    assert_eq!(
        totals,
        [(WasteKind::PinnedArrays, 4096 - 16), (WasteKind::SpareCapacity, 4096 - 100)]
    );
    let pinned = found[0].offenders[0];
    assert_eq!((pinned.object, pinned.used, pinned.of), (ObjectId(3), 16, 4096));
    let spare = found[1].offenders[0];
    assert_eq!((spare.object, spare.used, spare.wasted_bytes), (ObjectId(4), 100, 3996));
    assert_eq!(rows(&found[0]), [("main.Line.text", 4080)]);
}

#[test]
fn sparse_maps_channels_and_lists() {
    let mut drawing = Drawing::new();
    drawing.objects(6);
    drawing.holder(HolderKind::Global, "all", &[0, 1, 2, 3, 4]);
    let fill = |object, kind, used, capacity| Fill {
        object: ObjectId(object),
        kind,
        used,
        capacity,
        element_bytes: 16,
    };
    drawing.graph.fills = vec![
        fill(0, FillKind::Map, 10, 1024),
        fill(1, FillKind::Map, 440, 1024),
        fill(2, FillKind::Map, 1, 8),
        fill(3, FillKind::Channel, 1, 100),
        fill(4, FillKind::List, 4, 10),
        fill(5, FillKind::List, 0, 1000),
    ];
    let graph = drawing.done();
    let found = find(&graph);
    let totals: Vec<_> =
        found.iter().map(|waste| (waste.kind, waste.total.bytes, waste.total.objects)).collect();
    assert_eq!(
        totals,
        [
            (WasteKind::SparseMaps, 1014 * 16, 1),
            (WasteKind::EmptyChannels, 99 * 16, 1),
            (WasteKind::SparseLists, 6 * 16, 1)
        ]
    );
    assert_eq!(rows(&found[0]), [("all (global)", 1014 * 16)]);
}

#[test]
fn slots_are_larger_than_values() {
    let mut drawing = Drawing::new();
    let order = drawing.type_of("main.Order", 40, &[]);
    let pair = drawing.type_of("main.Pair", 16, &[]);
    let unknown = drawing.type_of("unknown 48 B", 48, &[]);
    drawing.graph.types.last_mut().unwrap().kind = TypeKind::Unknown;
    let bytes = drawing.type_of("[]byte", 1, &[]);
    drawing.graph.types.last_mut().unwrap().kind = TypeKind::Text;
    for of in [order, pair, unknown, order, bytes] {
        drawing.object(of, 48);
    }
    drawing.holder(HolderKind::Global, "all", &[0, 1, 2, 4]);
    drawing.graph.extents = Extents {
        object: vec![4].into(),
        low: vec![0].into(),
        used: vec![45].into(),
        capacity: vec![45].into(),
    };
    let mut graph = drawing.done();
    graph.objects = Objects::Spans(Spans {
        base: vec![0x1000].into(),
        slot_bytes: vec![48].into(),
        is_noscan: vec![0].into(),
        first: vec![0, 5].into(),
        word: vec![0, 1].into(),
        allocated: vec![0b11111].into(),
        ..Spans::default()
    });
    assert_eq!(graph.check(), Ok(()));
    let found = find(&graph);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].kind, found[0].total.bytes), (WasteKind::Rounding, 8 + 3));
    let types: Vec<_> =
        found[0].types.iter().map(|row| (row.name.as_str(), row.wasted.bytes)).collect();
    assert_eq!(types, [("main.Order", 8), ("[]byte", 3)]);
}
