//! The neighbourhood of an object: what points to it and what it points to, some steps far.
//! Each step towards roots costs one pass over all pointers.

use ahash::AHashMap;
use model::heap::{HeapGraph, HolderId, ObjectId};

use super::Node;

/// Objects and holders near one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Around {
    /// They, the one in the middle first.
    pub nodes: Vec<Node>,
    /// The pointers between them.
    pub links: Vec<Link>,
    /// Whether some were left out because there are too many.
    pub is_cut: bool,
}

/// A pointer between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Link {
    /// Index of the node that points.
    pub from: usize,
    /// Index of the node that is pointed to.
    pub to: usize,
    /// The slot of the pointer, as in the graph.
    pub slot: u32,
}

/// Collects what lies within `depth` steps of `center`, at most `nodes_max` nodes.
pub fn around(graph: &HeapGraph<'_>, center: ObjectId, depth: usize, nodes_max: usize) -> Around {
    let mut found = Found { nodes: vec![Node::Object(center)], ..Found::default() };
    found.index.insert(Node::Object(center), 0);
    found.nodes_max = nodes_max.max(1);
    let (mut inward, mut outward) = (vec![center], vec![center]);
    for _ in 0..depth {
        inward = found.referrers(graph, &inward);
        outward = found.targets(graph, &outward);
    }
    let links = found.links(graph);
    Around { nodes: found.nodes, links, is_cut: found.is_cut }
}

#[derive(Default)]
struct Found {
    nodes: Vec<Node>,
    index: AHashMap<Node, usize>,
    nodes_max: usize,
    is_cut: bool,
}

impl Found {
    /// Adds a node; whether it is new.
    fn add(&mut self, node: Node) -> bool {
        if self.index.contains_key(&node) {
            return false;
        }
        if self.nodes.len() >= self.nodes_max {
            self.is_cut = true;
            return false;
        }
        self.index.insert(node, self.nodes.len());
        self.nodes.push(node);
        true
    }

    fn targets(&mut self, graph: &HeapGraph<'_>, from: &[ObjectId]) -> Vec<ObjectId> {
        let mut new = Vec::new();
        for target in from.iter().flat_map(|object| graph.edges.targets(*object)) {
            let target = ObjectId(*target);
            if self.add(Node::Object(target)) {
                new.push(target);
            }
        }
        new
    }

    fn referrers(&mut self, graph: &HeapGraph<'_>, to: &[ObjectId]) -> Vec<ObjectId> {
        let mut is_wanted = vec![false; graph.len()];
        for object in to {
            if let Some(flag) = is_wanted.get_mut(object.index()) {
                *flag = true;
            }
        }
        let is_wanted = |target: u32| is_wanted.get(target as usize) == Some(&true);
        let mut new = Vec::new();
        for id in (0..graph.len() as u32).map(ObjectId) {
            let points = graph.edges.targets(id).iter().any(|target| is_wanted(*target));
            if points && self.add(Node::Object(id)) {
                new.push(id);
            }
        }
        for pointer in &graph.root_pointers {
            if is_wanted(pointer.target.0) {
                self.add(Node::Holder(pointer.holder));
            }
        }
        new
    }

    /// All pointers between the nodes, in their order.
    fn links(&self, graph: &HeapGraph<'_>) -> Vec<Link> {
        let mut links = Vec::new();
        for (from, node) in self.nodes.iter().enumerate() {
            let pointers: Vec<(u32, ObjectId)> = match node {
                Node::Object(object) => graph.edges.of(*object).collect(),
                Node::Holder(holder) => held(graph, *holder),
                Node::Root => Vec::new(),
            };
            for (slot, target) in pointers {
                if let Some(to) = self.index.get(&Node::Object(target)) {
                    links.push(Link { from, to: *to, slot });
                }
            }
        }
        links.sort_unstable();
        links.dedup();
        links
    }
}

fn held(graph: &HeapGraph<'_>, holder: HolderId) -> Vec<(u32, ObjectId)> {
    graph.pointers_of(holder).iter().map(|pointer| (pointer.slot, pointer.target)).collect()
}

#[cfg(test)]
mod tests {
    use model::heap::{HolderKind, ObjectId};

    use super::{Link, around};
    use crate::heap::Node;
    use crate::heap::tests::Drawing;

    #[test]
    fn steps_go_both_ways() {
        let mut drawing = Drawing::new();
        drawing.objects(6);
        // 0 -> 1 -> 2 -> 3, 4 -> 2, 5 alone; a global holds 1.
        drawing.point(0, 1).point(1, 2).point(2, 3).point(4, 2);
        let global = drawing.holder(HolderKind::Global, "main.x", &[1]);
        let graph = drawing.done();
        let object = |id| Node::Object(ObjectId(id));
        let one = around(&graph, ObjectId(2), 1, 100);
        assert_eq!(one.nodes, [2, 1, 4, 3].map(object));
        let link = |from, to| Link { from, to, slot: 0 };
        assert_eq!(one.links, [link(0, 3), link(1, 0), link(2, 0)]);
        let two = around(&graph, ObjectId(2), 2, 100);
        let more = [object(0), Node::Holder(global)];
        assert_eq!(two.nodes, [2, 1, 4, 3].map(object).into_iter().chain(more).collect::<Vec<_>>());
        assert!(!two.is_cut);
        let cut = around(&graph, ObjectId(2), 2, 3);
        assert_eq!((cut.nodes.len(), cut.is_cut), (3, true));
    }
}
