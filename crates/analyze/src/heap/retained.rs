//! The dominator tree as people read it: by size, and grouped by type.

use ahash::AHashMap;
use model::heap::{HeapGraph, ObjectId};

use super::names::Label;
use super::{Dominators, Node, Retained};

/// Nodes of one label below the same parents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// What they have in common.
    pub label: Label,
    /// How many nodes.
    pub nodes: u64,
    /// Their own bytes.
    pub bytes: u64,
    /// What they retain together; as siblings they share nothing.
    pub retained: Retained,
}

/// Who immediately dominates the objects that were asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DominatorGroup {
    /// What the dominators have in common.
    pub label: Label,
    /// How many dominators.
    pub dominators: u64,
    /// The objects they dominate, without what those retain.
    pub dominated: Retained,
}

/// At most `limit` children of a node in the dominator tree, largest retained size first,
/// and what is left over: how many nodes, and what they retain.
pub fn largest_children(
    dominators: &Dominators,
    node: Node,
    limit: usize,
) -> (Vec<(Node, Retained)>, u64, Retained) {
    let mut children: Vec<(u64, u32)> = dominators
        .number_of(node)
        .into_iter()
        .flat_map(|number| dominators.children_at(number))
        .map(|child| (dominators.retained_bytes_at(child), child))
        .collect();
    let by_size = |a: &(u64, u32), b: &(u64, u32)| b.0.cmp(&a.0).then(a.1.cmp(&b.1));
    if limit < children.len() && limit > 0 {
        children.select_nth_unstable_by(limit - 1, by_size);
    }
    let mut rest = Retained::default();
    let left = children.split_off(limit.min(children.len()));
    left.iter().for_each(|(_, child)| rest += dominators.retained_at(*child));
    children.sort_unstable_by(by_size);
    let shown = children
        .iter()
        .map(|(_, child)| (dominators.node_at(*child), dominators.retained_at(*child)))
        .collect();
    (shown, left.len() as u64, rest)
}

/// The children of nodes in the dominator tree by type, largest retained size first.
pub fn children_by_label(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    parents: &[Node],
) -> Vec<Group> {
    let mut groups: AHashMap<Label, Group> = AHashMap::new();
    for child in child_numbers(dominators, parents) {
        let label = Label::of(graph, dominators.node_at(child));
        let empty = Group { label, nodes: 0, bytes: 0, retained: Retained::default() };
        let group = groups.entry(label).or_insert(empty);
        group.nodes += 1;
        group.bytes = group.bytes.saturating_add(dominators.bytes_at(child));
        group.retained += dominators.retained_at(child);
    }
    let mut groups: Vec<Group> = groups.into_values().collect();
    groups.sort_unstable_by(|a, b| b.retained.cmp(&a.retained).then(a.label.cmp(&b.label)));
    groups
}

/// The nodes of one group of [`children_by_label`].
pub fn members(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    parents: &[Node],
    label: Label,
) -> Vec<Node> {
    let nodes = child_numbers(dominators, parents).map(|child| dominators.node_at(child));
    nodes.filter(|node| Label::of(graph, *node) == label).collect()
}

fn child_numbers<'d>(
    dominators: &'d Dominators,
    parents: &'d [Node],
) -> impl Iterator<Item = u32> + 'd {
    let numbers = parents.iter().filter_map(|parent| dominators.number_of(*parent));
    numbers.flat_map(|number| dominators.children_at(number))
}

/// What immediately dominates the objects `is_asked` selects, by type, most bytes first.
///
/// Where a dominator's label is among `skipped` its own dominator is asked instead, so that
/// maps and slices can be looked through. Costs a bit an object.
pub fn dominators_by_label(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    skipped: &[Label],
    is_asked: impl Fn(ObjectId) -> bool,
) -> Vec<DominatorGroup> {
    let mut groups: AHashMap<Label, DominatorGroup> = AHashMap::new();
    let mut seen = Bits::new(dominators.len());
    for number in 0..dominators.len() {
        if !dominators.object_at(number).is_some_and(&is_asked) {
            continue;
        }
        let label = |number| Label::of(graph, dominators.node_at(number));
        let mut above = dominators.parent_at(number);
        while above != 0 && skipped.contains(&label(above)) {
            above = dominators.parent_at(above);
        }
        let label = label(above);
        let empty = DominatorGroup { label, dominators: 0, dominated: Retained::default() };
        let group = groups.entry(label).or_insert(empty);
        group.dominators += u64::from(seen.insert(above));
        group.dominated += Retained { bytes: dominators.bytes_at(number), objects: 1 };
    }
    let mut groups: Vec<DominatorGroup> = groups.into_values().collect();
    groups.sort_unstable_by(|a, b| b.dominated.cmp(&a.dominated).then(a.label.cmp(&b.label)));
    groups
}

/// What would be free without all of `nodes`: their retained sets, each counted once. An
/// object that only several of them together hold is not in it.
pub fn retained_by_all(dominators: &Dominators, nodes: &[Node]) -> Retained {
    let mut numbers: Vec<u32> =
        nodes.iter().filter_map(|node| dominators.number_of(*node)).collect();
    numbers.sort_unstable();
    let mut sum = Retained::default();
    let mut until = 0;
    for number in numbers {
        if number >= until {
            sum += dominators.retained_at(number);
            until = dominators.range(number).end;
        }
    }
    sum
}

/// A set of numbers, one bit each.
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn new(count: u32) -> Bits {
        Bits(vec![0; (count as usize).div_ceil(64)])
    }

    /// Adds a number; true where it is new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        let bit = 1_u64 << (number % 64);
        let Some(word) = self.0.get_mut(number as usize / 64) else { return false };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.0.get(number as usize / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
    }
}
