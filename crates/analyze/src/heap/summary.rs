//! A heap in a few figures.

use model::heap::{HeapGraph, HolderKind, TypeKind};

use super::{Dominators, Node, Retained};

/// Roots of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindRow {
    /// What they are.
    pub kind: HolderKind,
    /// How many there are, parts of goroutines included.
    pub holders: u64,
    /// How many pointers into the heap they have.
    pub pointers: u64,
    /// What each of them alone retains, added up.
    pub retained: Retained,
}

/// A heap in a few figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What the roots reach.
    pub live: Retained,
    /// What they do not reach and the collector has not taken.
    pub unreachable: Retained,
    /// Bytes of memory the heap's spans occupy, where known.
    pub heap_in_use_bytes: Option<u64>,
    /// Pointers between objects.
    pub pointers: u64,
    /// Pointers from outside.
    pub root_pointers: u64,
    /// References that keep nothing alive.
    pub weak_references: u64,
    /// Live objects whose type is known.
    pub typed: Retained,
    /// Types that live objects have.
    pub types: u64,
    /// Goroutines or threads.
    pub goroutines: u64,
    /// What several roots hold together.
    pub shared: Retained,
    /// The roots by kind.
    pub roots: Vec<KindRow>,
}

/// Sums a graph up.
pub fn summary(graph: &HeapGraph<'_>, dominators: &Dominators) -> Summary {
    let mut summary = Summary {
        live: dominators.reachable(),
        unreachable: dominators.unreachable(),
        heap_in_use_bytes: graph.source.heap_in_use_bytes,
        pointers: graph.edges.len() as u64,
        root_pointers: graph.root_pointers.len() as u64,
        weak_references: graph.weak.len() as u64,
        goroutines: graph.goroutines.len() as u64,
        ..Summary::default()
    };
    let mut is_used = vec![false; graph.types.len()];
    for number in 0..dominators.len() {
        let Some(object) = dominators.object_at(number) else { continue };
        let of = graph.type_of(object);
        if let Some(used) = is_used.get_mut(of.0 as usize) {
            *used = true;
        }
        if graph.heap_type(of).is_some_and(|found| found.kind != TypeKind::Unknown) {
            summary.typed += Retained { bytes: dominators.bytes_at(number), objects: 1 };
        }
    }
    summary.types = is_used.iter().filter(|used| **used).count() as u64;
    sum_roots(graph, dominators, &mut summary);
    summary
}

fn sum_roots(graph: &HeapGraph<'_>, dominators: &Dominators, summary: &mut Summary) {
    let mut rows = HolderKind::ALL.map(|kind| KindRow {
        kind,
        holders: 0,
        pointers: 0,
        retained: Retained::default(),
    });
    let mut of_kind = |kind: HolderKind, change: &dyn Fn(&mut KindRow)| {
        rows.iter_mut().filter(|row| row.kind == kind).for_each(change);
    };
    for holder in &graph.holders {
        of_kind(holder.kind, &|row| row.holders += 1);
    }
    for pointer in &graph.root_pointers {
        if let Some(holder) = graph.holders.get(pointer.holder.0 as usize) {
            of_kind(holder.kind, &|row| row.pointers += 1);
        }
    }
    for child in dominators.children(Node::Root) {
        let retained = dominators.retained(child);
        match child {
            Node::Holder(id) => {
                if let Some(holder) = graph.holders.get(id.0 as usize) {
                    of_kind(holder.kind, &|row| row.retained += retained);
                }
            }
            _ => summary.shared += retained,
        }
    }
    summary.roots = rows.into_iter().filter(|row| row.holders > 0).collect();
}
