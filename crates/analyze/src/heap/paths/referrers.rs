//! Who points to an object, and the different ways it is held.

use std::collections::VecDeque;

use ahash::AHashMap;
use model::heap::{HeapGraph, HolderId, ObjectId};

use super::{Step, steps};
use crate::heap::Node;

/// A search that has seen this many objects without an answer ends: it costs memory.
const SEEN_MAX: usize = 8_000_000;

/// Everything that points to each object.
pub struct Referrers<'g> {
    graph: &'g HeapGraph<'g>,
    /// Where the referrers of each object begin, counted within 2^32 pointers: beyond, the
    /// referrers of the last objects are left out.
    first: Vec<u32>,
    /// Objects below the number of objects, holders above.
    source: Vec<u32>,
}

impl<'g> Referrers<'g> {
    /// Turns all pointers round.
    pub fn of(graph: &'g HeapGraph<'g>) -> Referrers<'g> {
        let mut first = vec![0_u32; graph.len() + 1];
        each_pointer(graph, |_, target| {
            if let Some(count) = first.get_mut(target as usize) {
                *count = count.saturating_add(1);
            }
        });
        let mut sum = 0_u32;
        for start in &mut first {
            sum = sum.saturating_add(*start);
            *start = sum;
        }
        // Filled from the back, each start moves to where it belongs.
        let mut source = vec![0_u32; sum as usize];
        each_pointer(graph, |from, target| {
            let Some(start) = first.get_mut(target as usize) else { return };
            *start = start.saturating_sub(1);
            if let Some(slot) = source.get_mut(*start as usize) {
                *slot = from;
            }
        });
        Referrers { graph, first, source }
    }

    /// What points to an object, each once, objects first.
    pub fn to(&self, object: ObjectId) -> Vec<Node> {
        let mut sources = self.sources(object).to_vec();
        sources.sort_unstable();
        sources.dedup();
        sources.into_iter().map(|source| self.node(source)).collect()
    }

    /// At most `limit` paths from different roots, or by different ways from the same root,
    /// shortest first. No object is on two ways: what is reached a second time was reached
    /// by a shorter way. What takes a search of more than eight million objects to find is
    /// left out; [`super::Paths::shortest`] finds it still.
    pub fn paths_to(&self, object: ObjectId, limit: usize) -> Vec<Vec<Step>> {
        let mut next: AHashMap<u32, ObjectId> = AHashMap::new();
        let mut open = VecDeque::from([object]);
        let mut paths = Vec::new();
        next.insert(object.0, object);
        while let Some(at) = open.pop_front() {
            let mut sources = self.sources(at).to_vec();
            sources.sort_unstable();
            sources.dedup();
            for source in sources {
                match self.node(source) {
                    Node::Holder(_) if paths.len() < limit => {
                        paths.push(self.path(source, at, object, &next));
                    }
                    Node::Object(from) if !next.contains_key(&from.0) => {
                        next.insert(from.0, at);
                        open.push_back(from);
                    }
                    _ => {}
                }
            }
            if paths.len() >= limit || next.len() > SEEN_MAX {
                break;
            }
        }
        paths
    }

    fn path(
        &self,
        holder: u32,
        first: ObjectId,
        object: ObjectId,
        next: &AHashMap<u32, ObjectId>,
    ) -> Vec<Step> {
        let mut nodes = vec![self.node(holder), Node::Object(first)];
        let mut at = first;
        while at != object {
            let Some(after) = next.get(&at.0) else { break };
            at = *after;
            nodes.push(Node::Object(at));
        }
        steps(self.graph, &nodes)
    }

    fn sources(&self, object: ObjectId) -> &[u32] {
        let start = |index: usize| self.first.get(index).copied().unwrap_or(0) as usize;
        self.source.get(start(object.index())..start(object.index() + 1)).unwrap_or(&[])
    }

    fn node(&self, source: u32) -> Node {
        match source.checked_sub(self.graph.len() as u32) {
            None => Node::Object(ObjectId(source)),
            Some(holder) => Node::Holder(HolderId(holder)),
        }
    }
}

fn each_pointer(graph: &HeapGraph<'_>, mut visit: impl FnMut(u32, u32)) {
    for object in 0..graph.len() as u32 {
        graph.edges.targets(ObjectId(object)).iter().for_each(|target| visit(object, *target));
    }
    let objects = graph.len() as u32;
    graph.root_pointers.iter().for_each(|p| visit(objects + p.holder.0, p.target.0));
}
