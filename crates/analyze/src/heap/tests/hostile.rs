//! Graphs that pass the check and are absurd all the same: nothing panics on them.

use model::heap::{Extents, Fill, FillKind, HeapGraph, Listed, ObjectId, Objects, Texts, TypeKind};

use super::{Chance, random_graph};
use crate::heap::diff::{Side, diff, path_changes};
use crate::heap::histogram::{Grouping, histogram};
use crate::heap::leaks::{LeakOptions, leaks};
use crate::heap::paths::{Paths, Referrers};
use crate::heap::query::{QueryOptions, query};
use crate::heap::retained::{children_by_label, largest_children};
use crate::heap::roots::roots;
use crate::heap::summary::summary;
use crate::heap::verify::verify;
use crate::heap::waste::waste;
use crate::heap::{Dominators, Node};

/// Small numbers and the largest.
fn any(chance: &mut Chance) -> u64 {
    match chance.below(4) {
        0 => u64::MAX - chance.below(3),
        1 => chance.below(3),
        2 => u64::from(u32::MAX) - 1 + chance.below(3),
        _ => chance.below(1000),
    }
}

fn some(chance: &mut Chance, count: usize) -> Vec<u32> {
    (0..count as u32).filter(|_| chance.below(2) == 0).collect()
}

fn absurd(chance: &mut Chance) -> HeapGraph<'static> {
    let mut graph = random_graph(chance, 20);
    let count = graph.len();
    let bytes: Vec<u64> = (0..count).map(|_| any(chance)).collect();
    let address: Vec<u64> = (0..count as u64).map(|index| u64::MAX - 40 + index).collect();
    graph.objects = Objects::Listed(Listed { address: address.into(), bytes: bytes.into() });
    graph.slot_bytes = any(chance) as u32;
    graph.edges.slot.to_mut().iter_mut().for_each(|slot| *slot = any(chance) as u32);
    let kinds = [TypeKind::Array, TypeKind::Struct, TypeKind::Unknown, TypeKind::Text];
    // Parts of pools in any order, pointing anywhere.
    let sync = graph.strings.intern("sync");
    let parts = ["sync.poolLocal", "sync.poolChainElt", "sync.eface", "sync.Pool"];
    let parts = parts.map(|name| graph.strings.intern(name));
    for index in 0..graph.types.len() {
        if chance.below(3) == 0 {
            graph.types[index].package = sync;
            graph.types[index].name = parts[chance.below(4) as usize];
        }
        let element = (chance.below(2) == 0).then_some(model::heap::TypeId(0));
        let found = &mut graph.types[index];
        found.bytes = any(chance);
        found.kind = kinds[chance.below(4) as usize];
        // An array of itself, for one.
        found.element = element;
    }
    let column = |chance: &mut Chance, count: usize| -> Vec<u32> {
        (0..count).map(|_| any(chance) as u32).collect()
    };
    let object = some(chance, count);
    let [low, used, capacity] = [(); 3].map(|()| column(chance, object.len()).into());
    graph.extents = Extents { object: object.into(), low, used, capacity };
    let object = some(chance, count);
    let bytes = column(chance, object.len());
    let hash = vec![0; object.len()];
    graph.texts = Texts { object: object.into(), bytes: bytes.into(), hash: hash.into() };
    let kinds = [FillKind::Map, FillKind::Channel, FillKind::List];
    graph.fills = some(chance, count)
        .into_iter()
        .map(|object| Fill {
            object: ObjectId(object),
            kind: kinds[chance.below(3) as usize],
            used: any(chance),
            capacity: any(chance),
            element_bytes: any(chance),
        })
        .collect();
    graph.source.runtime = "go1.26.0".to_owned();
    assert_eq!(graph.check(), Ok(()));
    graph
}

#[test]
fn nothing_panics_on_absurd_graphs() {
    let mut chance = Chance(161_803);
    let mut before = absurd(&mut chance);
    let mut rows = 0;
    for _ in 0..400 {
        let graph = absurd(&mut chance);
        let dominators = Dominators::of(&graph);
        assert_eq!(verify(&graph, &dominators), Ok(()));
        for by in [Grouping::Type, Grouping::Package, Grouping::Size] {
            rows += histogram(&graph, &dominators, by).len();
        }
        let (paths, referrers) = (Paths::of(&graph), Referrers::of(&graph));
        rows += leaks(&graph, &dominators, &paths, &LeakOptions::default()).len();
        rows += waste(&graph, &dominators, 3).len() + roots(&graph, &dominators).rows.len();
        rows += summary(&graph, &dominators).roots.len();
        for object in (0..graph.len() as u32).map(ObjectId) {
            rows += paths.shortest(object).len() + referrers.paths_to(object, 4).len();
        }
        rows += paths.merged((0..graph.len() as u32).map(ObjectId), 3).paths.len();
        rows += children_by_label(&graph, &dominators, &[Node::Root]).len();
        rows += largest_children(&dominators, Node::Root, 1).0.len();
        let sides = Dominators::of(&before);
        let side = Side { graph: &before, dominators: &sides };
        let found = diff(side, Side { graph: &graph, dominators: &dominators }, 5);
        rows += path_changes(&before, &graph, &found, 2, 2).len();
        let text = "select type, sum(bytes), sum(retained), retained(*), max(bytes + 1), \
                    avg(bytes * bytes), min(depth) from objects group by type order by 2 desc";
        let options = QueryOptions::default();
        rows += query(&graph, &dominators, text, &options).unwrap().rows.len();
        before = graph;
    }
    assert!(rows > 10_000, "{rows}");
}
