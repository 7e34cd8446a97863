//! Leak suspects and differences of two heaps.

use model::go::Frame;
use model::heap::{HeapGoroutine, HeapGraph, HolderKind, ObjectId};

use super::{Chance, Drawing, random_graph};
use crate::heap::diff::{Diff, Side, diff, path_changes};
use crate::heap::leaks::{LeakOptions, Suspect, SuspectKind, leaks};
use crate::heap::paths::{Paths, Step};
use crate::heap::{Dominators, Node};

fn suspects(graph: &HeapGraph<'_>) -> Vec<Suspect> {
    leaks(graph, &Dominators::of(graph), &Paths::of(graph), &LeakOptions::default())
}

/// A cache whose table holds `orders` orders; many goroutines hold a buffer each; the rest
/// is shared or small.
fn service(orders: u32, workers: u32) -> HeapGraph<'static> {
    let mut drawing = Drawing::new();
    drawing.graph.source.runtime = "go1.26.0".to_owned();
    let cache = drawing.type_of("main.Cache", 16, &[(8, "table", None)]);
    let order = drawing.type_of("main.Order", 64, &[]);
    let table = drawing.array_of("[]*main.Order", order, 8);
    drawing.graph.types[table.0 as usize].element = None;
    let buffer = drawing.type_of("[]byte", 1, &[]);
    drawing.object(cache, 16);
    drawing.object(table, 8 * 1024);
    drawing.point_at(0, 1, 1);
    for index in 0..orders {
        let id = drawing.object(order, 64);
        drawing.point_at(1, index, id.0);
    }
    drawing.holder(HolderKind::Global, "main.cache", &[0]);
    let functions = ["runtime.gopark", "main.worker", "main.main.func1"];
    let frame = |function: &str| Frame { function: function.to_owned(), ..Frame::default() };
    drawing.graph.stacks.push(functions.map(frame).to_vec());
    for number in 0..workers {
        let id = drawing.object(buffer, 512);
        let name = format!("goroutine {}", number + 20);
        let goroutine = drawing.holder(HolderKind::Goroutine, &name, &[]);
        let own = drawing.graph.goroutines.len() as u32;
        let (id_, stack_bytes, stack) = (u64::from(number), 2048, Some(0));
        drawing.graph.goroutines.push(HeapGoroutine {
            id: id_,
            stack_bytes,
            stack,
            ..HeapGoroutine::default()
        });
        drawing.graph.holders[goroutine.0 as usize].goroutine = Some(own);
        drawing.holder_in(Some(goroutine), HolderKind::Local, "buf", &[id.0]);
    }
    drawing.done()
}

#[test]
fn a_cache_and_workers_are_suspects() {
    let graph = service(1000, 100);
    let found = suspects(&graph);
    assert_eq!(found.len(), 2);
    let workers = &found[0];
    assert_eq!(workers.name, "100 goroutines in main.worker");
    assert!(matches!(workers.kind, SuspectKind::Goroutines { stack_bytes: 204_800, .. }));
    assert_eq!(workers.retained.bytes, 51_200);
    let held: Vec<_> = workers.held.iter().map(|group| group.label.name(&graph)).collect();
    assert_eq!(held, ["[]byte"]);
    let cache = &found[1];
    assert_eq!(cache.name, "main.cache (global)");
    assert_eq!(cache.accumulation, Node::Object(ObjectId(1)));
    assert_eq!(cache.accumulated.bytes, 8192 + 64_000);
    let path: Vec<String> = cache.path.iter().map(Step::text).collect();
    assert_eq!(path, ["main.cache (global)", "main.Cache.table", "[]*main.Order"]);
    assert_eq!(cache.held[0].label.name(&graph), "main.Order");
    assert_eq!(cache.held[0].nodes, 1000);
}

#[test]
fn small_nodes_that_two_hold_are_a_group() {
    let mut drawing = Drawing::new();
    drawing.objects(100);
    let all: Vec<u32> = (0..100).collect();
    drawing.holder(HolderKind::Global, "a", &all);
    drawing.holder(HolderKind::Global, "b", &all);
    let graph = drawing.done();
    let found = suspects(&graph);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].nodes), ("100 node", 100));
    assert_eq!(suspects(&Drawing::new().done()), []);
}

fn compare(before: &HeapGraph<'_>, after: &HeapGraph<'_>) -> Diff {
    let dominators = [before, after].map(Dominators::of);
    let [first, second] = &dominators;
    let before = Side { graph: before, dominators: first };
    diff(before, Side { graph: after, dominators: second }, 10)
}

#[test]
fn growth_has_a_type_a_root_and_a_path() {
    let (before, after) = (service(10, 3), service(500, 3));
    let found = compare(&before, &after);
    assert!(found.is_matched);
    assert_eq!(found.types[0].name, "main.Order");
    assert_eq!(found.types[0].bytes_delta(), 490 * 64);
    // The buffers moved up behind the orders: to addresses that were other objects'.
    let orders = &found.types[0];
    assert_eq!(orders.new.unwrap().objects, 490);
    assert_eq!(orders.freed.unwrap().objects, 0);
    assert_eq!(found.roots[0].name, "main.cache");
    assert_eq!(found.roots.last().unwrap().name, "goroutines of main.main.func1");
    assert_eq!(found.roots.last().unwrap().holders, (3, 3));
    assert_eq!(found.grown.len(), 1);
    assert_eq!(found.grown[0].object, ObjectId(1));
    let paths = path_changes(&before, &after, &found, 3, 10);
    assert_eq!(paths[0].name, "main.Order");
    assert_eq!((paths[0].objects.0.objects, paths[0].objects.1.objects), (10, 500));
    let texts: Vec<String> = paths[0].steps.iter().map(Step::text).collect();
    assert_eq!(
        texts,
        ["main.cache (global)", "main.Cache.table", "[]*main.Order[...]", "main.Order"]
    );
}

#[test]
fn random_differences_add_up() {
    let mut chance = Chance(99);
    for _ in 0..500 {
        let mut graphs = [random_graph(&mut chance, 40), random_graph(&mut chance, 40)];
        let same = compare(&graphs[0], &graphs[0]);
        assert!(same.types.iter().all(|t| t.live.0 == t.live.1 && t.retained.0 == t.retained.1));
        for graph in &mut graphs {
            graph.source.runtime = "go1.21.13".to_owned();
        }
        let found = compare(&graphs[0], &graphs[1]);
        for change in &found.types {
            let (new, freed) = (change.new.unwrap(), change.freed.unwrap());
            let (before, after) = change.live;
            assert_eq!(before.objects + new.objects, after.objects + freed.objects);
            assert_eq!(before.bytes + new.bytes, after.bytes + freed.bytes);
        }
        let sum = |side: fn(&Diff) -> u64| side(&found);
        assert_eq!(
            sum(|found| found.types.iter().map(|change| change.live.1.bytes).sum()),
            found.live.1.bytes
        );
        let same = compare(&graphs[1], &graphs[1]);
        assert!(same.grown.is_empty());
        assert!(same.types.iter().all(|t| t.new == t.freed && t.new.unwrap().objects == 0));
    }
}
