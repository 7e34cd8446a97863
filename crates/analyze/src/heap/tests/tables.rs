//! Histograms, groups, roots and sums, against the definition and drawn by hand.

use std::collections::BTreeSet;

use model::heap::{HeapGraph, HolderKind, ObjectId};

use super::{Chance, Drawing, random_graph};
use crate::heap::histogram::{Grouping, histogram};
use crate::heap::names::{Label, node_name};
use crate::heap::retained::{
    children_by_label, dominators_by_label, largest_children, members, retained_by_all,
};
use crate::heap::roots::{parts, roots};
use crate::heap::summary::summary;
use crate::heap::{Dominators, Node, Retained};

fn objects(graph: &HeapGraph<'_>) -> impl Iterator<Item = ObjectId> + use<> {
    (0..graph.len() as u32).map(ObjectId)
}

fn sum(graph: &HeapGraph<'_>, chosen: impl Iterator<Item = ObjectId>) -> Retained {
    chosen.fold(Retained::default(), |mut sum, object| {
        sum += Retained { bytes: graph.objects.bytes(object), objects: 1 };
        sum
    })
}

/// Groups by `key` the slow way.
fn check_histogram(graph: &HeapGraph<'_>, by: Grouping, key: &dyn Fn(ObjectId) -> String) {
    let dominators = Dominators::of(graph);
    let rows = histogram(graph, &dominators, by);
    let keys: BTreeSet<String> = objects(graph).map(key).collect();
    assert_eq!(rows.len(), keys.len());
    for row in rows {
        let of_group = |object: &ObjectId| key(*object) == row.name;
        let is_live = |object: &ObjectId| dominators.is_reachable(Node::Object(*object));
        let own: Vec<ObjectId> = objects(graph).filter(of_group).collect();
        let live: Vec<ObjectId> = own.iter().copied().filter(is_live).collect();
        let mut retained = Retained::default();
        for object in &live {
            let is_top = !dominators
                .ancestors(Node::Object(*object))
                .any(|above| matches!(above, Node::Object(above) if key(above) == row.name));
            if is_top {
                retained += dominators.retained(Node::Object(*object));
            }
        }
        assert_eq!(row.retained, retained, "{}", row.name);
        assert_eq!(row.live, sum(graph, live.iter().copied()));
        let lost = own.iter().copied().filter(|object| !is_live(object));
        assert_eq!(row.unreachable, sum(graph, lost));
    }
}

#[test]
fn random_histograms_against_the_definition() {
    let mut chance = Chance(7_777_777);
    for _ in 0..500 {
        let graph = random_graph(&mut chance, 40);
        let of_type = |object| graph.type_name(graph.type_of(object)).to_owned();
        check_histogram(&graph, Grouping::Type, &of_type);
        let package = |object| {
            let found = graph.heap_type(graph.type_of(object)).unwrap();
            graph.strings.get(found.package).to_owned()
        };
        check_histogram(&graph, Grouping::Package, &package);
        check_histogram(&graph, Grouping::Size, &|object| graph.objects.bytes(object).to_string());
    }
}

#[test]
fn random_groups_add_up() {
    let mut chance = Chance(31_337);
    for _ in 0..500 {
        let graph = random_graph(&mut chance, 40);
        let dominators = Dominators::of(&graph);
        let parents: Vec<Node> = dominators.children(Node::Root).collect();
        let mut nodes = 0;
        for group in children_by_label(&graph, &dominators, &parents) {
            let found = members(&graph, &dominators, &parents, group.label);
            assert_eq!(found.len() as u64, group.nodes);
            assert_eq!(retained_by_all(&dominators, &found), group.retained);
            nodes += group.nodes;
        }
        let children = parents.iter().map(|parent| dominators.children(*parent).count()).sum();
        assert_eq!(nodes as usize, children);

        // Sums over any set: what is out of reach without one of them.
        let some: Vec<Node> =
            objects(&graph).filter(|_| chance.below(4) == 0).map(Node::Object).collect();
        let is_below = |object: &ObjectId| {
            some.iter().any(|above| dominators.dominates(*above, Node::Object(*object)))
        };
        let expected = sum(&graph, objects(&graph).filter(is_below));
        assert_eq!(retained_by_all(&dominators, &some), expected);

        let (all, _, _) = largest_children(&dominators, Node::Root, usize::MAX);
        assert!(all.is_sorted_by_key(|(_, retained)| std::cmp::Reverse(retained.bytes)));
        let (first, left, rest) = largest_children(&dominators, Node::Root, 2);
        assert_eq!(first, all[..all.len().min(2)]);
        assert_eq!(left as usize, all.len() - first.len());
        let mut expected = Retained::default();
        all[first.len()..].iter().for_each(|(_, retained)| expected += *retained);
        assert_eq!(rest, expected);
    }
}

/// Two orders in a cache share an item; a goroutine's local holds a third order, and both
/// hold a table.
fn shop() -> HeapGraph<'static> {
    let mut drawing = Drawing::new();
    let order = drawing.type_of("main.Order", 100, &[]);
    let item = drawing.type_of("stock.Item", 10, &[]);
    for _ in 0..3 {
        drawing.object(order, 100);
    }
    for _ in 3..7 {
        drawing.object(item, 10);
    }
    drawing.object(item, 10);
    drawing.point(0, 3).point(0, 4).point(1, 4).point(1, 5).point(2, 6);
    drawing.holder(HolderKind::Global, "main.cache", &[0, 1, 3]);
    let goroutine = drawing.holder(HolderKind::Goroutine, "goroutine 17", &[]);
    let local = drawing.holder_in(Some(goroutine), HolderKind::Local, "orders", &[2, 6]);
    let place = drawing.graph.strings.intern("main.serve (server.go:42)");
    drawing.graph.holders[local.0 as usize].place = place;
    drawing.done()
}

#[test]
fn a_shop_in_tables() {
    let graph = shop();
    let dominators = Dominators::of(&graph);
    let found = roots(&graph, &dominators);
    let rows: Vec<_> =
        found.rows.iter().map(|row| (row.name.as_str(), row.kind, row.retained.bytes)).collect();
    assert_eq!(
        rows,
        [("main.cache", HolderKind::Global, 230), ("goroutine 17", HolderKind::Goroutine, 110)]
    );
    assert_eq!(found.shared, Retained::default());
    let locals = parts(&graph, &dominators, found.rows[1].holder);
    assert_eq!(locals[0].name, "goroutine 17 main.serve orders (server.go:42)");
    assert_eq!(locals[0].retained, Retained { bytes: 110, objects: 2 });
    let name = |node| node_name(&graph, node);
    assert_eq!(name(Node::Holder(found.rows[0].holder)), "main.cache (global)");
    assert_eq!(name(Node::Object(ObjectId(1))), "main.Order 0x1064");

    let figures = summary(&graph, &dominators);
    assert_eq!(figures.live, Retained { bytes: 340, objects: 7 });
    assert_eq!(figures.unreachable, Retained { bytes: 10, objects: 1 });
    assert_eq!(figures.typed, figures.live);
    assert_eq!((figures.pointers, figures.root_pointers, figures.types), (5, 5, 2));
    let kinds: Vec<_> = figures.roots.iter().map(|row| (row.kind, row.holders)).collect();
    let (global, goroutine, local) = (HolderKind::Global, HolderKind::Goroutine, HolderKind::Local);
    assert_eq!(kinds, [(global, 1), (goroutine, 1), (local, 1)]);
    assert_eq!(figures.roots[0].retained.bytes + figures.roots[1].retained.bytes, 340);

    let item = |object| graph.type_name(graph.type_of(object)) == "stock.Item";
    let holding = |skipped: &[Label]| -> Vec<_> {
        dominators_by_label(&graph, &dominators, skipped, item)
            .iter()
            .map(|group| (group.label.name(&graph), group.dominators, group.dominated.objects))
            .collect()
    };
    assert_eq!(holding(&[]), [("global", 1, 2), ("main.Order", 1, 1), ("local", 1, 1)]);
    let orders = Label::of(&graph, Node::Object(ObjectId(0)));
    assert_eq!(holding(&[orders]), [("global", 1, 3), ("local", 1, 1)]);
}
