//! What dominates what, and how much each object retains.
//!
//! A node dominates another when every path from the root to the other goes through it;
//! what a node dominates is what would be freed with it: its retained set.
//!
//! The result is kept in the preorder of the dominator tree. A retained set is then a
//! range of numbers, retained sizes are differences of sums, and whether one node
//! dominates another is two comparisons. It costs 20 bytes a reachable node, and not more
//! than that while it is made (20.4 and 4.1 for each pointer beside the search tree), next
//! to the graph. Time is that of one depth-first search and little more.

mod arcs;
mod search;
mod semi;
mod sizes;

use model::heap::{HeapGraph, HolderId, ObjectId};

use super::{Links, Node};
use arcs::Arcs;
use sizes::Sizes;

pub(super) use search::{Search, search};

/// No number: the root does not reach the node.
pub(super) const NONE: u32 = u32::MAX;

/// What a set of objects comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Retained {
    /// Their bytes.
    pub bytes: u64,
    /// How many they are.
    pub objects: u64,
}

impl std::ops::AddAssign for Retained {
    fn add_assign(&mut self, other: Retained) {
        // Sizes in a file may be anything.
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.objects = self.objects.saturating_add(other.objects);
    }
}

/// The dominator tree of a heap, with retained sizes.
#[derive(Clone, Debug)]
pub struct Dominators {
    objects: u32,
    /// The number of each node in the preorder of the tree.
    number: Vec<u32>,
    /// The node with each number.
    node: Vec<u32>,
    /// The number of each number's immediate dominator; the root's own is 0.
    parent: Vec<u32>,
    /// The number after the last that each number dominates.
    end: Vec<u32>,
    sizes: Sizes,
    /// Numbers that are holders or the root, ascending: they are no objects.
    holder_numbers: Vec<u32>,
    unreachable: Retained,
}

impl Dominators {
    /// Computes the dominator tree of a graph that passed [`HeapGraph::check`].
    pub fn of(graph: &HeapGraph<'_>) -> Dominators {
        Dominators::of_mapped(graph, || {})
    }

    /// The same for a graph that lies in a mapped file. Calls `release` once all pointers
    /// have been followed, so that their pages need not stay while the tree is made.
    pub fn of_mapped(graph: &HeapGraph<'_>, release: impl FnOnce()) -> Dominators {
        let Search { number, parent, arcs } = search(&Links::new(graph));
        release();
        let arcs = Arcs::of(arcs, parent.len());
        let immediate = semi::immediate_dominators(parent, arcs);
        Dominators::from_tree(graph, number, immediate)
    }

    /// Builds the result from node numbers in any order in which dominators come first,
    /// and the immediate dominator of each number.
    pub(super) fn from_tree(
        graph: &HeapGraph<'_>,
        mut number: Vec<u32>,
        immediate: Vec<u32>,
    ) -> Dominators {
        let place = preorder(&immediate);
        let mut parent = vec![0; immediate.len()];
        for (at, dominator) in place.iter().zip(&immediate) {
            set(&mut parent, *at, get(&place, *dominator));
        }
        drop(immediate);
        for number in number.iter_mut().filter(|number| **number != NONE) {
            *number = get(&place, *number);
        }
        drop(place);
        let end = ends(&parent);
        let mut node = vec![0; parent.len()];
        for (id, number) in number.iter().enumerate().filter(|(_, number)| **number != NONE) {
            set(&mut node, *number, id as u32);
        }
        let sizes = Sizes::of(&graph.objects, &number, parent.len());
        let objects = graph.len() as u32;
        let mut holder_numbers: Vec<u32> = number.iter().copied().skip(graph.len()).collect();
        holder_numbers.sort_unstable();
        let mut dominators = Dominators {
            objects,
            number,
            node,
            parent,
            end,
            sizes,
            holder_numbers,
            unreachable: Retained::default(),
        };
        dominators.unreachable = dominators.sum_unreachable(graph);
        dominators
    }

    fn sum_unreachable(&self, graph: &HeapGraph<'_>) -> Retained {
        let mut sum = Retained::default();
        graph.objects.each_size(|object, bytes| {
            if get(&self.number, object.0) == NONE {
                sum += Retained { bytes, objects: 1 };
            }
        });
        sum
    }

    /// What the roots reach.
    pub fn reachable(&self) -> Retained {
        self.retained(Node::Root)
    }

    /// What the roots do not reach, and the collector has not taken yet.
    pub fn unreachable(&self) -> Retained {
        self.unreachable
    }

    /// Whether a root reaches the node.
    pub fn is_reachable(&self, node: Node) -> bool {
        self.number_of(node).is_some()
    }

    /// The node's immediate dominator: the last node without which it would be free.
    /// `None` for the root and for what is unreachable.
    pub fn immediate(&self, node: Node) -> Option<Node> {
        let number = self.number_of(node).filter(|number| *number != 0)?;
        Some(self.node_at(get(&self.parent, number)))
    }

    /// Whether `above` dominates `below`; every reachable node dominates itself.
    pub fn dominates(&self, above: Node, below: Node) -> bool {
        let range = self.number_of(above).map(|number| self.range(number));
        range.zip(self.number_of(below)).is_some_and(|(range, number)| range.contains(&number))
    }

    /// What would be free without the node, itself included; nothing for what is
    /// unreachable.
    pub fn retained(&self, node: Node) -> Retained {
        self.number_of(node).map(|number| self.retained_at(number)).unwrap_or_default()
    }

    /// The nodes a node immediately dominates, in no useful order.
    pub fn children(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        let number = self.number_of(node);
        number.into_iter().flat_map(|number| self.children_at(number)).map(|at| self.node_at(at))
    }

    /// The chain of dominators from a node up to the root.
    pub fn ancestors(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        std::iter::successors(self.immediate(node), |above| self.immediate(*above))
    }

    /// How many numbers there are: reachable nodes, holders and the root included.
    pub(super) fn len(&self) -> u32 {
        self.parent.len() as u32
    }

    /// How many nodes there are, unreachable ones included.
    pub(super) fn nodes(&self) -> usize {
        self.number.len()
    }

    /// A node's place in the preorder of the tree.
    pub(super) fn number_of(&self, node: Node) -> Option<u32> {
        let id = match node {
            Node::Object(object) => object.0,
            Node::Holder(holder) => self.objects.checked_add(holder.0)?,
            Node::Root => self.number.len() as u32 - 1,
        };
        self.number_of_id(id)
    }

    #[inline]
    pub(super) fn number_of_id(&self, id: u32) -> Option<u32> {
        self.number.get(id as usize).copied().filter(|number| *number != NONE)
    }

    pub(super) fn node_at(&self, number: u32) -> Node {
        self.node_of_id(self.id_at(number))
    }

    #[inline]
    pub(super) fn id_at(&self, number: u32) -> u32 {
        get(&self.node, number)
    }

    pub(super) fn node_of_id(&self, id: u32) -> Node {
        if id < self.objects {
            Node::Object(ObjectId(id))
        } else if id as usize + 1 == self.number.len() {
            Node::Root
        } else {
            Node::Holder(HolderId(id - self.objects))
        }
    }

    /// The object with this number, if it is one.
    #[inline]
    pub(super) fn object_at(&self, number: u32) -> Option<ObjectId> {
        let id = get(&self.node, number);
        (id < self.objects).then_some(ObjectId(id))
    }

    /// The numbers a number dominates, itself the first.
    #[inline]
    pub(super) fn range(&self, number: u32) -> std::ops::Range<u32> {
        number..get(&self.end, number)
    }

    #[inline]
    pub(super) fn parent_at(&self, number: u32) -> u32 {
        get(&self.parent, number)
    }

    pub(super) fn retained_at(&self, number: u32) -> Retained {
        let range = self.range(number);
        let mut objects = u64::from(range.end - range.start);
        // Objects dominate no holder, so for them there is nothing to take off.
        if self.object_at(number).is_none() {
            let below = |number: u32| self.holder_numbers.partition_point(|at| *at < number);
            objects -= (below(range.end) - below(range.start)) as u64;
        }
        Retained { bytes: self.retained_bytes_at(number), objects }
    }

    #[inline]
    pub(super) fn retained_bytes_at(&self, number: u32) -> u64 {
        self.sizes.between(number, get(&self.end, number))
    }

    /// Bytes of the node itself.
    #[inline]
    pub(super) fn bytes_at(&self, number: u32) -> u64 {
        self.sizes.between(number, number + 1)
    }

    pub(super) fn children_at(&self, number: u32) -> impl Iterator<Item = u32> + '_ {
        let mut range = self.range(number);
        range.start += 1;
        std::iter::from_fn(move || {
            let child = Some(range.start).filter(|child| *child < range.end)?;
            range.start = get(&self.end, child);
            Some(child)
        })
    }
}

/// A part of the result, for tests that break one.
#[cfg(test)]
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Parent,
    End,
    Node,
    Number,
}

#[cfg(test)]
impl Dominators {
    /// The result with one value changed; `None` where it was that value.
    pub(super) fn broken(&self, part: Part, index: usize, value: u32) -> Option<Dominators> {
        let mut broken = self.clone();
        let values = match part {
            Part::Parent => &mut broken.parent,
            Part::End => &mut broken.end,
            Part::Node => &mut broken.node,
            Part::Number => &mut broken.number,
        };
        (std::mem::replace(&mut values[index], value) != value).then_some(broken)
    }
}

/// Numbers in the preorder of a tree whose nodes come after their parents.
fn preorder(parent: &[u32]) -> Vec<u32> {
    let mut size = vec![1_u32; parent.len()];
    for (node, parent) in parent.iter().enumerate().skip(1).rev() {
        let sum = get(&size, *parent) + get(&size, node as u32);
        set(&mut size, *parent, sum);
    }
    // Where the next child goes; once all have gone, where the node's range ends.
    let mut place = vec![1_u32; parent.len()];
    for (node, parent) in parent.iter().enumerate().skip(1) {
        let node = node as u32;
        let at = get(&place, *parent);
        set(&mut place, *parent, at + get(&size, node));
        set(&mut place, node, at + 1);
    }
    for (place, size) in place.iter_mut().zip(&size) {
        *place -= size;
    }
    place
}

/// The end of each node's range in the preorder of a tree.
fn ends(parent: &[u32]) -> Vec<u32> {
    let mut end: Vec<u32> = (1..=parent.len() as u32).collect();
    for (node, parent) in parent.iter().enumerate().skip(1).rev() {
        let last = get(&end, *parent).max(get(&end, node as u32));
        set(&mut end, *parent, last);
    }
    end
}

/// Numbers and nodes are made here and always lie inside.
#[inline]
#[expect(clippy::indexing_slicing, reason = "numbers are below the length by construction")]
fn get(values: &[u32], index: u32) -> u32 {
    values[index as usize]
}

#[inline]
#[expect(clippy::indexing_slicing, reason = "numbers are below the length by construction")]
fn set(values: &mut [u32], index: u32, value: u32) {
    values[index as usize] = value;
}
