//! Dominators, retained sizes and their certificate, against the definition.

use model::heap::{HeapGraph, HolderId, HolderKind, ObjectId, TypeId};

use super::{Chance, Drawing, random_graph};
use crate::heap::dominators::{NONE, Part, Search, search};
use crate::heap::verify::{Violation, verify};
use crate::heap::{Dominators, Links, Node, Retained};

fn node(graph: &HeapGraph<'_>, id: usize) -> Node {
    let (objects, holders) = (graph.len(), graph.holders.len());
    match id {
        _ if id < objects => Node::Object(ObjectId(id as u32)),
        _ if id < objects + holders => Node::Holder(HolderId((id - objects) as u32)),
        _ => Node::Root,
    }
}

/// What the root reaches without going through `without`.
fn reached(graph: &HeapGraph<'_>, without: usize) -> Vec<bool> {
    let (objects, holders) = (graph.len(), graph.holders.len());
    let root = objects + holders;
    let mut seen = vec![false; root + 1];
    let mut open = vec![root];
    while let Some(at) = open.pop() {
        if at == without || std::mem::replace(&mut seen[at], true) {
            continue;
        }
        if at < objects {
            open.extend(graph.edges.targets(ObjectId(at as u32)).iter().map(|to| *to as usize));
            continue;
        }
        let own = (at < root).then(|| HolderId((at - objects) as u32));
        let children = (0..holders).filter(|index| graph.holders[*index].parent == own);
        open.extend(children.map(|index| objects + index));
        let pointers = own.map_or(&[][..], |own| graph.pointers_of(own));
        open.extend(pointers.iter().map(|pointer| pointer.target.index()));
    }
    seen
}

/// Compares everything with the definition: a node dominates what is out of reach without
/// it. Takes quadratic time.
fn check(graph: &HeapGraph<'_>) {
    let dominators = Dominators::of(graph);
    let nodes = graph.len() + graph.holders.len() + 1;
    let all = reached(graph, usize::MAX);
    let mut unreachable = Retained::default();
    for (id, reached) in all.iter().enumerate().take(graph.len()) {
        if !reached {
            let bytes = graph.objects.bytes(ObjectId(id as u32));
            unreachable += Retained { bytes, objects: 1 };
        }
    }
    assert_eq!(dominators.unreachable(), unreachable);
    for above in 0..nodes {
        let without = reached(graph, above);
        let mut retained = Retained::default();
        for below in 0..nodes {
            let dominates = all[below] && all[above] && !without[below];
            let (a, b) = (node(graph, above), node(graph, below));
            assert_eq!(dominators.dominates(a, b), dominates, "{a:?} over {b:?}");
            if dominates && below < graph.len() {
                let bytes = graph.objects.bytes(ObjectId(below as u32));
                retained += Retained { bytes, objects: 1 };
            }
        }
        assert_eq!(dominators.retained(node(graph, above)), retained, "{above}");
        let own = node(graph, above);
        let children = dominators.children(own).filter(|c| dominators.immediate(*c) != Some(own));
        assert_eq!(children.count(), 0);
    }
    let in_tree = |id: &usize| dominators.immediate(node(graph, *id)).is_some();
    let children: usize = (0..nodes).map(|id| dominators.children(node(graph, id)).count()).sum();
    assert_eq!(children, (0..nodes).filter(in_tree).count());
    assert_eq!(verify(graph, &dominators), Ok(()));
}

#[test]
fn drawn_graphs() {
    // A diamond: 0 -> 1, 2 -> 3 -> 4, and 5 that nothing holds.
    let mut drawing = Drawing::new();
    drawing.objects(6).point(0, 1).point(0, 2).point(1, 3).point(2, 3).point(3, 4).point(5, 4);
    drawing.holder(HolderKind::Global, "main.cache", &[0]);
    let graph = drawing.done();
    check(&graph);
    let dominators = Dominators::of(&graph);
    let object = |id| Node::Object(ObjectId(id));
    assert_eq!(dominators.immediate(object(3)), Some(object(0)));
    assert_eq!(dominators.immediate(object(4)), Some(object(3)));
    assert_eq!(dominators.immediate(object(0)), Some(Node::Holder(HolderId(0))));
    assert_eq!(dominators.immediate(object(5)), None);
    assert_eq!(dominators.retained(object(3)), Retained { bytes: 32 + 40, objects: 2 });
    assert_eq!(dominators.unreachable(), Retained { bytes: 48, objects: 1 });

    // The graph of Lengauer and Tarjan's paper: R A B C D E F G H I J K L.
    let mut drawing = Drawing::new();
    drawing.objects(13);
    for (from, to) in [
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 4),
        (2, 1),
        (2, 4),
        (2, 5),
        (3, 6),
        (3, 7),
        (4, 12),
        (5, 8),
        (6, 9),
        (7, 9),
        (7, 10),
        (8, 5),
        (8, 11),
        (9, 11),
        (10, 9),
        (11, 9),
        (11, 0),
        (12, 8),
    ] {
        drawing.point(from, to);
    }
    drawing.holder(HolderKind::Global, "r", &[0]);
    let graph = drawing.done();
    check(&graph);
    let dominators = Dominators::of(&graph);
    let expected = [0, 0, 0, 0, 0, 3, 3, 0, 0, 7, 0, 4];
    for (index, above) in expected.into_iter().enumerate() {
        assert_eq!(dominators.immediate(object(index as u32 + 1)), Some(object(above)), "{index}");
    }
}

#[test]
fn nothing_and_nobody() {
    check(&Drawing::new().done());
    let mut drawing = Drawing::new();
    drawing.objects(3).point(0, 1);
    check(&drawing.done());
    let mut drawing = Drawing::new();
    let goroutine = drawing.holder(HolderKind::Goroutine, "goroutine 1", &[]);
    drawing.holder_in(Some(goroutine), HolderKind::Local, "x", &[]);
    check(&drawing.done());
}

#[test]
fn random_graphs_against_the_definition() {
    let mut chance = Chance(88_172_645_463_325_252);
    for _ in 0..4000 {
        check(&random_graph(&mut chance, 24));
    }
    for _ in 0..40 {
        check(&random_graph(&mut chance, 300));
    }
}

/// A tree that differs from the right one in one node's dominator is refused, whatever
/// the difference.
#[test]
fn wrong_trees_are_refused() {
    let mut chance = Chance(2_463_534_242);
    let mut refused = [0; 2];
    for _ in 0..3000 {
        let graph = random_graph(&mut chance, 24);
        let Search { number, parent, .. } = search(&Links::new(&graph));
        let dominators = Dominators::of(&graph);
        if parent.len() < 3 {
            continue;
        }
        // Immediate dominators by search number, one of them changed.
        let mut immediate = vec![0; parent.len()];
        let of_id = |id: u32| number[id as usize];
        for id in (0..number.len() as u32).filter(|id| of_id(*id) != NONE && of_id(*id) != 0) {
            let known = dominators.number_of_id(id).unwrap();
            immediate[of_id(id) as usize] = of_id(dominators.id_at(dominators.parent_at(known)));
        }
        let at = chance.below(parent.len() as u64 - 1) as usize + 1;
        let wrong = chance.below(at as u64) as u32;
        if wrong == immediate[at] {
            continue;
        }
        immediate[at] = wrong;
        let mutant = Dominators::from_tree(&graph, number, immediate);
        match verify(&graph, &mutant) {
            Err(Violation::NotDominated(_)) => refused[0] += 1,
            Err(Violation::NotImmediate(_)) => refused[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused.iter().all(|count| *count > 200), "{refused:?}");
}

/// Numbers that are no tree, and sizes that are not the objects', are refused.
#[test]
fn broken_results_are_refused() {
    let mut drawing = Drawing::new();
    drawing.objects(4).point(0, 1).point(1, 2).point(0, 3);
    drawing.holder(HolderKind::Global, "g", &[0]);
    let graph = drawing.done();
    let right = Dominators::of(&graph);
    assert_eq!(verify(&graph, &right), Ok(()));
    for number in 1..right.len() as usize {
        for wrong in 0..right.len() + 2 {
            for part in [Part::Parent, Part::End, Part::Node, Part::Number] {
                let mutant = right.broken(part, number, wrong);
                let is_right = mutant.is_none();
                let mutant = mutant.unwrap_or_else(|| right.clone());
                assert_eq!(verify(&graph, &mutant).is_ok(), is_right, "{part:?} {number} {wrong}");
            }
        }
    }
    let mut drawing = Drawing::new();
    drawing.objects(1);
    drawing.object(TypeId(0), 17);
    drawing.objects(2).point(0, 1).point(1, 2).point(0, 3);
    drawing.holder(HolderKind::Global, "g", &[0]);
    let other = drawing.done();
    assert_eq!(verify(&other, &right), Err(Violation::Size(Node::Object(ObjectId(1)))));
}

#[test]
fn a_tree_of_another_graph_is_refused() {
    let draw = |edges: &[(u32, u32)]| {
        let mut drawing = Drawing::new();
        drawing.objects(4);
        for (from, to) in edges {
            drawing.point(*from, *to);
        }
        drawing.holder(HolderKind::Global, "g", &[0]);
        drawing.done()
    };
    let line = Dominators::of(&draw(&[(0, 1), (1, 2), (2, 3)]));
    let reaches_less = draw(&[(0, 1), (1, 2)]);
    assert_eq!(
        verify(&reaches_less, &line),
        Err(Violation::NotATree),
        "the tree has a node too many"
    );
    let other = draw(&[(0, 1), (1, 2), (0, 3)]);
    assert_eq!(verify(&other, &line), Err(Violation::NotDominated(Node::Object(ObjectId(3)))));
}

/// A list of a million nodes, forwards and backwards, each with a value: no recursion, and
/// no quadratic climbing.
#[test]
fn long_lists_and_wide_stars() {
    let count = 1_000_000;
    let mut drawing = Drawing::new();
    drawing.objects(2 * count);
    let graph = drawing_of_list(drawing, count);
    let dominators = Dominators::of(&graph);
    assert_eq!(verify(&graph, &dominators), Ok(()));
    let first = dominators.retained(Node::Object(ObjectId(0)));
    assert_eq!(first.objects, u64::from(2 * count));
    let middle = dominators.retained(Node::Object(ObjectId(count)));
    assert_eq!(middle.objects, u64::from(count));
    assert_eq!(dominators.ancestors(Node::Object(ObjectId(2 * count - 1))).count(), 1_000_002);

    let mut drawing = Drawing::new();
    for _ in 0..count {
        drawing.object(TypeId(0), 16);
    }
    let targets: Vec<u32> = (0..count).collect();
    drawing.holder(HolderKind::Global, "star", &targets);
    drawing.holder(HolderKind::Global, "half", &targets[..count as usize / 2]);
    let graph = drawing.done();
    let dominators = Dominators::of(&graph);
    assert_eq!(verify(&graph, &dominators), Ok(()));
    let star = dominators.retained(Node::Holder(HolderId(0)));
    assert_eq!(star, Retained { bytes: 8_000_000, objects: 500_000 });
    assert_eq!(dominators.children(Node::Root).count(), 500_002);
}

/// A plain list whose values a table holds too: each value's dominator is the root, far
/// above its parent in the search. Climbing there step by step would take this test hours.
#[test]
fn a_list_that_shares_its_values() {
    let count = 500_000;
    let mut drawing = Drawing::new();
    for _ in 0..2 * count {
        drawing.object(TypeId(0), 16);
    }
    for index in 0..count {
        drawing.point_at(index * 2, 0, index * 2 + 1);
        if index + 1 < count {
            drawing.point_at(index * 2, 1, index * 2 + 2);
        }
    }
    drawing.holder(HolderKind::Global, "list", &[0]);
    let values: Vec<u32> = (0..count).map(|index| index * 2 + 1).collect();
    drawing.holder(HolderKind::Global, "table", &values);
    let graph = drawing.done();
    let dominators = Dominators::of(&graph);
    assert_eq!(verify(&graph, &dominators), Ok(()));
    let list = dominators.retained(Node::Holder(HolderId(0)));
    assert_eq!(list.objects, u64::from(count));
    assert_eq!(dominators.immediate(Node::Object(ObjectId(2 * count - 1))), Some(Node::Root));
}

/// Even objects form the list, each odd one is the value of the one before it.
fn drawing_of_list(mut drawing: Drawing, count: u32) -> HeapGraph<'static> {
    for index in 0..count {
        let own = index * 2;
        if index + 1 < count {
            drawing.point_at(own, 0, own + 2);
        }
        if index > 0 {
            drawing.point_at(own, 1, own - 2);
        }
        drawing.point_at(own, 2, own + 1);
    }
    drawing.holder(HolderKind::Global, "list", &[0]);
    drawing.done()
}
