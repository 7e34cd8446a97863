//! Algorithms on the object graph of a heap: what dominates what, what each object
//! retains, what keeps an object alive, what leaks, what is wasted.
//!
//! All of them rely on [`HeapGraph::check`] having passed: a graph that fails it may make
//! them panic. Graphs of tens of millions of objects are normal, so whatever costs bytes
//! an object says so.

pub mod around;
pub mod diff;
pub mod dominators;
pub mod growth;
pub mod histogram;
pub mod leaks;
pub mod names;
pub mod paths;
pub mod profile;
pub mod query;
pub mod retained;
pub mod roots;
pub mod select;
pub mod summary;
pub mod threads;
pub mod tree;
pub mod verify;
pub mod waste;

use model::heap::{HeapGraph, HolderId, ObjectId};

pub use dominators::{Dominators, Retained};

/// What can hold or be held: an object, a holder, or the root above all holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Node {
    /// An object of the heap.
    Object(ObjectId),
    /// A variable, a goroutine, ...
    Holder(HolderId),
    /// What holds the holders.
    Root,
}

/// The object graph as one graph of numbered nodes: the objects, then the holders, then
/// the root. Costs four bytes a root pointer beside the graph.
pub(crate) struct Links<'g> {
    graph: &'g HeapGraph<'g>,
    objects: u32,
    /// Where what a holder points to begins in `outer_target`, the root's row last.
    outer_first: Vec<u32>,
    outer_target: Vec<u32>,
}

impl<'g> Links<'g> {
    pub(crate) fn new(graph: &'g HeapGraph<'g>) -> Links<'g> {
        let objects = graph.len() as u32;
        let holders = graph.holders.len();
        let parents = || graph.holders.iter().map(|holder| holder.parent);
        let row = |parent: Option<HolderId>| parent.map_or(holders, |parent| parent.0 as usize);
        let mut first = vec![0_u32; holders + 2];
        let rows =
            parents().map(row).chain(graph.root_pointers.iter().map(|p| p.holder.0 as usize));
        for row in rows {
            bump(&mut first, row + 1);
        }
        let mut sum = 0;
        for start in &mut first {
            sum += *start;
            *start = sum;
        }
        let mut target = vec![0_u32; sum as usize];
        let mut next = first.clone();
        let mut put = |row: usize, node: u32| {
            let at = bump(&mut next, row);
            if let Some(slot) = target.get_mut(at as usize) {
                *slot = node;
            }
        };
        for (index, parent) in parents().enumerate() {
            put(row(parent), objects + index as u32);
        }
        graph.root_pointers.iter().for_each(|p| put(p.holder.0 as usize, p.target.0));
        Links { graph, objects, outer_first: first, outer_target: target }
    }

    /// How many nodes there are; the root is the last.
    pub(crate) fn len(&self) -> usize {
        self.objects as usize + self.outer_first.len() - 1
    }

    /// The node above all holders.
    pub(crate) fn root(&self) -> u32 {
        self.len() as u32 - 1
    }

    /// Where an object's row begins, to have read it early; any number for other nodes.
    #[inline]
    pub(crate) fn first_of(&self, node: u32) -> u32 {
        self.graph.edges.first.get(node as usize).copied().unwrap_or(0)
    }

    /// What a node points to.
    #[inline]
    pub(crate) fn of(&self, node: u32) -> &[u32] {
        if node < self.objects {
            return self.graph.edges.targets(ObjectId(node));
        }
        let row = (node - self.objects) as usize;
        let start = |row: usize| self.outer_first.get(row).copied().unwrap_or(0) as usize;
        self.outer_target.get(start(row)..start(row + 1)).unwrap_or(&[])
    }
}

/// Counts one more and returns what was there before.
fn bump(counts: &mut [u32], index: usize) -> u32 {
    let Some(count) = counts.get_mut(index) else { return 0 };
    *count += 1;
    *count - 1
}

#[cfg(test)]
pub(crate) mod tests;
