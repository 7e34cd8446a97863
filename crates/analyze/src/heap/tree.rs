//! What of a dominator tree is worth showing: the largest branches, some levels deep. Looks at
//! the children of what is shown only, and keeps no more of them than are asked for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ahash::AHashMap;
use model::heap::{HeapGraph, HolderKind, TypeId};

use super::{Dominators, Node, Retained};

/// Deeper trees are cut.
const DEPTH_MAX: usize = 200;

/// How much of a tree is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels below the one at the top.
    pub depth: usize,
    /// Branches on each level; 0 for all.
    pub rows: usize,
    /// Branches that retain less are left out.
    pub bytes_min: u64,
}

/// What a branch stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stem {
    /// One node.
    Node(Node),
    /// All objects of a type under the same parent.
    Type(TypeId),
    /// All roots of a kind.
    Kind(HolderKind),
}

/// A branch of the tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// What it stands for.
    pub stem: Stem,
    /// How many nodes that is.
    pub count: u64,
    /// Bytes of these nodes themselves.
    pub bytes: u64,
    /// What they retain.
    pub retained: Retained,
    /// The largest below, in descending retained size.
    pub below: Vec<Branch>,
    /// How many more branches there are below.
    pub rest_count: u64,
    /// What those retain.
    pub rest: Retained,
}

/// The largest branches under a node, each a node.
pub fn by_node(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    under: Node,
    limits: Limits,
) -> Branch {
    let view = View { graph, dominators, limits };
    view.node(under, limits.depth.min(DEPTH_MAX))
}

/// The largest branches under a node, all objects of a type as one.
pub fn by_type(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    under: Node,
    limits: Limits,
) -> Branch {
    let view = View { graph, dominators, limits };
    view.group(Stem::Node(under), &[under], limits.depth.min(DEPTH_MAX))
}

struct View<'v> {
    graph: &'v HeapGraph<'v>,
    dominators: &'v Dominators,
    limits: Limits,
}

impl View<'_> {
    fn node(&self, node: Node, depth: usize) -> Branch {
        let mut branch = self.leaf(Stem::Node(node), &[node]);
        if depth == 0 {
            return branch;
        }
        let children = self.dominators.children(node);
        let sized = children.map(|child| (self.dominators.retained(child), child));
        let kept = self.largest(sized, &mut branch);
        branch.below = kept.into_iter().map(|child| self.node(child, depth - 1)).collect();
        branch
    }

    fn group(&self, stem: Stem, nodes: &[Node], depth: usize) -> Branch {
        let mut branch = self.leaf(stem, nodes);
        if depth == 0 {
            return branch;
        }
        let mut groups: AHashMap<Stem, (Retained, Vec<Node>)> = AHashMap::new();
        for child in nodes.iter().flat_map(|node| self.dominators.children(*node)) {
            let group = groups.entry(self.stem_of(child)).or_default();
            group.0 += self.dominators.retained(child);
            group.1.push(child);
        }
        let sized = groups.iter().map(|(stem, group)| (group.0, *stem));
        let kept = self.largest(sized, &mut branch);
        branch.below = kept
            .into_iter()
            .filter_map(|stem| Some((stem, groups.get(&stem)?)))
            .map(|(stem, group)| self.group(stem, &group.1, depth - 1))
            .collect();
        branch
    }

    fn stem_of(&self, node: Node) -> Stem {
        match node {
            Node::Object(object) => Stem::Type(self.graph.type_of(object)),
            Node::Root => Stem::Node(node),
            Node::Holder(id) => {
                let holder = self.graph.holders.get(id.0 as usize);
                holder.map_or(Stem::Node(node), |holder| Stem::Kind(holder.kind))
            }
        }
    }

    fn leaf(&self, stem: Stem, nodes: &[Node]) -> Branch {
        let mut leaf = Branch {
            stem,
            count: nodes.len() as u64,
            bytes: 0,
            retained: Retained::default(),
            below: Vec::new(),
            rest_count: 0,
            rest: Retained::default(),
        };
        for node in nodes {
            leaf.retained += self.dominators.retained(*node);
            if let Node::Object(object) = node {
                leaf.bytes += self.graph.objects.bytes(*object);
            }
        }
        leaf
    }

    /// The largest of these that are large enough; what is left out is noted in `branch`.
    fn largest<T: Ord>(
        &self,
        all: impl Iterator<Item = (Retained, T)>,
        branch: &mut Branch,
    ) -> Vec<T> {
        let rows = if self.limits.rows == 0 { usize::MAX } else { self.limits.rows };
        // The smallest on top; of equals the first stays.
        let mut kept: BinaryHeap<Reverse<(Retained, Reverse<T>)>> = BinaryHeap::new();
        for (retained, item) in all {
            let left_out = match retained.bytes < self.limits.bytes_min {
                true => Some(retained),
                false => {
                    kept.push(Reverse((retained, Reverse(item))));
                    let is_full = kept.len() > rows;
                    is_full.then(|| kept.pop().map(|least| least.0.0)).flatten()
                }
            };
            if let Some(retained) = left_out {
                branch.rest_count += 1;
                branch.rest += retained;
            }
        }
        // Ascending by what is on top first: descending sizes.
        kept.into_sorted_vec().into_iter().map(|Reverse((_, Reverse(item)))| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use model::heap::{HeapGraph, HolderId, HolderKind, ObjectId, TypeId};

    use super::{Branch, Limits, Stem, by_node, by_type};
    use crate::heap::tests::Drawing;
    use crate::heap::{Dominators, Node, Retained};

    /// Two globals: one holds three orders with a text each, the other a text.
    fn graph() -> HeapGraph<'static> {
        let mut drawing = Drawing::new();
        let order = drawing.type_of("main.Order", 32, &[]);
        let text = drawing.type_of("string", 1, &[]);
        for size in [100, 300, 200] {
            let from = drawing.object(order, 32);
            let to = drawing.object(text, size);
            drawing.point(from.0, to.0);
        }
        drawing.object(text, 50);
        drawing.holder(HolderKind::Global, "main.orders", &[0, 2, 4]);
        drawing.holder(HolderKind::Global, "main.name", &[6]);
        drawing.done()
    }

    fn line(branch: &Branch) -> (Stem, u64, u64, u64) {
        (branch.stem, branch.count, branch.bytes, branch.retained.bytes)
    }

    fn lines(branches: &[Branch]) -> Vec<(Stem, u64, u64, u64)> {
        branches.iter().map(line).collect()
    }

    #[test]
    fn the_largest_come_first_and_the_rest_is_counted() {
        let graph = graph();
        let dominators = Dominators::of(&graph);
        let limits = Limits { depth: 2, rows: 2, bytes_min: 0 };
        let tree = by_node(&graph, &dominators, Node::Root, limits);
        assert_eq!(line(&tree), (Stem::Node(Node::Root), 1, 0, 746));
        let holder = |id| Stem::Node(Node::Holder(HolderId(id)));
        assert_eq!(lines(&tree.below), [(holder(0), 1, 0, 696), (holder(1), 1, 0, 50)]);
        let orders = &tree.below[0];
        let object = |id| Stem::Node(Node::Object(ObjectId(id)));
        assert_eq!(lines(&orders.below), [(object(2), 1, 32, 332), (object(4), 1, 32, 232)]);
        assert_eq!((orders.rest_count, orders.rest), (1, Retained { bytes: 132, objects: 2 }));
        assert!(orders.below[0].below.is_empty());
        let limits = Limits { depth: 1, rows: 0, bytes_min: 100 };
        let tree = by_node(&graph, &dominators, Node::Root, limits);
        assert_eq!((tree.below.len(), tree.rest_count, tree.rest.bytes), (1, 1, 50));
    }

    #[test]
    fn types_are_one_branch() {
        let graph = graph();
        let dominators = Dominators::of(&graph);
        let limits = Limits { depth: 3, rows: 0, bytes_min: 0 };
        let tree = by_type(&graph, &dominators, Node::Root, limits);
        let globals = &tree.below[0];
        assert_eq!(line(globals), (Stem::Kind(HolderKind::Global), 2, 0, 746));
        let (order, text) = (Stem::Type(TypeId(1)), Stem::Type(TypeId(2)));
        assert_eq!(lines(&globals.below), [(order, 3, 96, 696), (text, 1, 50, 50)]);
        assert_eq!(lines(&globals.below[0].below), [(text, 3, 600, 600)]);
    }
}
