//! Paths from roots: lengths against a search of its own, texts on drawn graphs.

use model::heap::{HeapGraph, HolderKind, ObjectId, TypeId, TypeKind};

use super::{Chance, Drawing, random_graph};
use crate::heap::paths::{Paths, Referrers, Step, weak_referrers};
use crate::heap::{Node, Retained};

/// Pointers from any root, by rounds over everything.
fn depths(graph: &HeapGraph<'_>) -> Vec<Option<u64>> {
    let mut depths = vec![None; graph.len()];
    for pointer in &graph.root_pointers {
        depths[pointer.target.index()] = Some(1);
    }
    for round in 1..=graph.len() as u64 {
        for id in 0..graph.len() {
            if depths[id] == Some(round) {
                for target in graph.edges.targets(ObjectId(id as u32)) {
                    depths[*target as usize].get_or_insert(round + 1);
                }
            }
        }
    }
    depths
}

fn length(path: &[Step]) -> u64 {
    path.iter().map(|step| step.repeats).sum::<u64>() - 1
}

#[test]
fn random_paths_are_shortest() {
    let mut chance = Chance(424_242);
    for _ in 0..1000 {
        let graph = random_graph(&mut chance, 30);
        // Holders around holders make paths longer that have as many pointers.
        if graph.holders.iter().any(|holder| holder.parent.is_some()) {
            continue;
        }
        let (paths, referrers) = (Paths::of(&graph), Referrers::of(&graph));
        let depths = depths(&graph);
        let mut live = Retained::default();
        for (id, depth) in depths.iter().enumerate() {
            let object = ObjectId(id as u32);
            assert_eq!(paths.depth(object), *depth);
            let path = paths.shortest(object);
            let ways = referrers.paths_to(object, 3);
            assert_eq!(path.is_empty(), depth.is_none());
            assert_eq!(ways.is_empty(), depth.is_none());
            let Some(depth) = depth else { continue };
            live += Retained { bytes: graph.objects.bytes(object), objects: 1 };
            assert_eq!(length(&path), *depth);
            assert!(matches!(path[0].node, Node::Holder(_)));
            assert_eq!(path.last().unwrap().node, Node::Object(object));
            assert_eq!(length(&ways[0]), *depth);
            assert!(ways.is_sorted_by_key(|way| length(way)));
            for way in &ways {
                assert_eq!(way.last().unwrap().node, Node::Object(object));
            }
            let mut expected: Vec<Node> = (0..graph.len() as u32)
                .map(ObjectId)
                .filter(|from| graph.edges.targets(*from).contains(&object.0))
                .map(Node::Object)
                .collect();
            let from = graph.root_pointers.iter().filter(|p| p.target == object);
            expected.extend(from.map(|pointer| Node::Holder(pointer.holder)));
            expected.dedup();
            assert_eq!(referrers.to(object), expected);
        }
        let merged = paths.merged((0..graph.len() as u32).map(ObjectId), 2);
        let mut sum = merged.other_objects;
        merged.paths.iter().for_each(|path| sum += path.objects);
        assert_eq!(sum, live);
        assert_eq!(merged.unreachable.objects + live.objects, graph.len() as u64);
    }
}

/// `main.cache.byID` holds a table whose entries hold orders; orders form a list, hold
/// items in an array, and a goroutine holds the last order too.
fn shop() -> HeapGraph<'static> {
    let mut drawing = Drawing::new();
    let item = drawing.type_of("main.Item", 16, &[(0, "name", None), (8, "order", None)]);
    let items = drawing.array_of("[]main.Item", item, 16);
    let dates = drawing.type_of("main.Dates", 16, &[(0, "from", None), (8, "to", None)]);
    let order = drawing.type_of(
        "main.Order",
        48,
        &[(0, "next", None), (8, "Items", None), (16, "dates", Some(dates)), (32, "note", None)],
    );
    let entry = drawing.type_of("main.entry", 16, &[(0, "key", None), (8, "value", None)]);
    let cache = drawing.type_of("main.Cache", 16, &[(0, "name", None), (8, "byID", None)]);
    drawing.object(entry, 160);
    for _ in 1..=4 {
        drawing.object(order, 48);
    }
    drawing.object(items, 64);
    drawing.object(items, 64);
    // Ten entries of which the fourth and the sixth are used.
    drawing.point_at(0, 7, 1).point_at(0, 11, 4);
    drawing.point_at(1, 0, 2).point_at(2, 0, 3).point_at(3, 1, 5).point_at(4, 1, 6);
    let text = drawing.type_of("unknown 16 B", 16, &[]);
    drawing.graph.types.last_mut().unwrap().kind = TypeKind::Unknown;
    drawing.object(text, 16);
    drawing.object(text, 16);
    drawing.point_at(5, 4, 7).point_at(7, 1, 8);
    let global = drawing.holder(HolderKind::Global, "main.cache", &[]);
    drawing.graph.holders[global.0 as usize].of = Some(cache);
    let target = ObjectId(0);
    drawing.graph.root_pointers.push(model::heap::RootPointer { holder: global, slot: 1, target });
    for number in [17, 18] {
        let goroutine = drawing.holder(HolderKind::Goroutine, &format!("goroutine {number}"), &[]);
        let local = drawing.holder_in(Some(goroutine), HolderKind::Local, "orders", &[3]);
        let place = drawing.graph.strings.intern("main.serve (server.go:42)");
        drawing.graph.holders[local.0 as usize].place = place;
    }
    drawing.graph.weak.push((ObjectId(2), 4, ObjectId(6)));
    drawing.done()
}

fn texts(path: &[Step]) -> Vec<String> {
    path.iter().map(Step::text).collect()
}

#[test]
fn steps_name_fields() {
    let graph = shop();
    let paths = Paths::of(&graph);
    let check = |object, expected: &[&str]| {
        assert_eq!(texts(&paths.shortest(ObjectId(object))), expected);
    };
    check(4, &["main.cache.byID (global)", "main.entry[5].value", "main.Order"]);
    check(2, &["main.cache.byID (global)", "main.entry[3].value", "main.Order.next", "main.Order"]);
    check(
        8,
        &[
            "goroutine 17 main.serve orders (server.go:42)",
            "main.Order.Items",
            "[]main.Item[2].name",
            "unknown 16 B+8",
            "unknown 16 B",
        ],
    );
    let ways = Referrers::of(&graph).paths_to(ObjectId(3), 10);
    let firsts: Vec<String> = ways.iter().map(|way| way[0].text()).collect();
    assert_eq!(
        firsts,
        [
            "goroutine 17 main.serve orders (server.go:42)",
            "goroutine 18 main.serve orders (server.go:42)",
            "main.cache.byID (global)"
        ]
    );
    assert_eq!(
        texts(&ways[2])[1..],
        ["main.entry[3].value", "main.Order.next (2 times)", "main.Order"]
    );
    let weak = weak_referrers(&graph, ObjectId(6));
    assert_eq!(texts(&weak), ["main.Order.note"]);
}

#[test]
fn paths_of_many_are_merged() {
    let graph = shop();
    let paths = Paths::of(&graph);
    let merged = paths.merged([1, 2, 4, 5, 6].map(ObjectId), 10);
    let rows: Vec<(u64, String)> = merged
        .paths
        .iter()
        .map(|path| (path.objects.objects, texts(&path.steps).join(" > ")))
        .collect();
    let cache = "main.cache.byID (global) > main.entry[...].value";
    assert_eq!(
        rows,
        [
            (2, format!("{cache} > main.Order")),
            (1, format!("{cache} > main.Order.Items > []main.Item")),
            (
                1,
                "goroutine 17 main.serve orders (server.go:42) > main.Order.Items > []main.Item"
                    .to_owned()
            ),
            (1, format!("{cache} > main.Order.next > main.Order")),
        ]
    );
    let first = paths.merged([1, 2, 4, 5, 6].map(ObjectId), 1);
    assert_eq!((first.paths.len(), first.other_paths), (1, 3));
    assert_eq!(first.other_objects.objects, 3);
}

#[test]
fn goroutines_of_one_kind_are_one_way() {
    let mut drawing = Drawing::new();
    // One value an object: several would be elements, and told as such.
    for _ in 0..30 {
        drawing.object(TypeId(0), 16);
    }
    let place = drawing.graph.strings.intern("main.work (work.go:7)");
    for number in 0..10 {
        let goroutine = drawing.holder(HolderKind::Goroutine, &format!("goroutine {number}"), &[]);
        let local = drawing.holder_in(Some(goroutine), HolderKind::Local, "job", &[number]);
        drawing.graph.holders[local.0 as usize].place = place;
        drawing.point(number, 10 + number);
        drawing.point(10 + number, 20 + number);
    }
    let graph = drawing.done();
    let merged = Paths::of(&graph).merged((20..30).map(ObjectId), 5);
    assert_eq!(merged.paths.len(), 1);
    assert_eq!(merged.paths[0].objects.objects, 10);
    assert_eq!(
        texts(&merged.paths[0].steps),
        ["main.work job (work.go:7) in 10 frames", "node (repeated)"]
    );
}

/// A list of a million nodes is two steps, and takes no recursion.
#[test]
fn long_lists_fold() {
    let count = 1_000_000;
    let mut drawing = Drawing::new();
    let node = drawing.type_of("main.node", 8, &[(0, "next", None)]);
    for index in 0..count {
        drawing.object(node, 8);
        if index + 1 < count {
            drawing.point_at(index, 0, index + 1);
        }
    }
    drawing.holder(HolderKind::Global, "main.list", &[0]);
    let graph = drawing.done();
    let paths = Paths::of(&graph);
    let last = ObjectId(count - 1);
    assert_eq!(paths.depth(last), Some(1_000_000));
    assert_eq!(
        texts(&paths.shortest(last)),
        ["main.list (global)", "main.node.next (999999 times)", "main.node"]
    );
    let merged = paths.merged((0..count).map(ObjectId), 5);
    assert_eq!(merged.paths.len(), 2);
    assert_eq!(merged.paths[0].objects.objects, u64::from(count) - 1);
    assert_eq!(
        texts(&merged.paths[0].steps),
        ["main.list (global)", "main.node.next", "main.node (repeated)"]
    );
}
