//! Why is this alive: the paths from roots to objects.
//!
//! [`Paths`] is one breadth-first search from the root, so that a shortest path to any
//! object, or to all objects of a type at once, is there without another search. It costs
//! 12 bytes a node; [`Referrers`], which finds more than one path to an object, 4 bytes an
//! object and 4 a pointer.
//!
//! Weak references are in no path: they keep nothing alive.

mod fields;
mod merge;
mod referrers;

use model::heap::{HeapGraph, HolderId, ObjectId};

use super::dominators::NONE;
use super::names::holder_part_name;
use super::{Links, Node};

pub use fields::{Style, field, field_of_object};
pub use merge::{MergedPath, MergedPaths};
pub use referrers::Referrers;

/// One step of a path: a node, and where in it the pointer to the next step lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The node; the first one where the step stands for several.
    pub node: Node,
    /// The type's name; for a holder its whole text, with the part that points on.
    pub name: String,
    /// The field that points to the next step: `.Items`, `[3].key`; empty at the end.
    pub via: String,
    /// How many nodes in a row the step stands for: all of one type, each pointing to the
    /// next by the same field, as in a list; 0 where paths of different lengths are merged.
    pub repeats: u64,
}

impl Step {
    /// The step as it is printed: `main.cache (global)`, `main.Order.Items`.
    pub fn text(&self) -> String {
        match self.repeats {
            0 => format!("{}{} (repeated)", self.name, self.via),
            1 => format!("{}{}", self.name, self.via),
            count => format!("{}{} ({count} times)", self.name, self.via),
        }
    }
}

/// Shortest paths from the root to everything.
pub struct Paths<'g> {
    graph: &'g HeapGraph<'g>,
    links: Links<'g>,
    /// Nodes in the order they were found.
    order: Vec<u32>,
    /// Where in `order` the node lies that each was found from; ascending.
    parent: Vec<u32>,
    /// Where in `order` each node lies.
    position: Vec<u32>,
}

impl<'g> Paths<'g> {
    /// Searches the whole graph, which must have passed [`HeapGraph::check`].
    pub fn of(graph: &'g HeapGraph<'g>) -> Paths<'g> {
        let links = Links::new(graph);
        let mut position = vec![NONE; links.len()];
        let mut order = Vec::with_capacity(links.len());
        let mut parent = Vec::with_capacity(links.len());
        order.push(links.root());
        parent.push(0);
        set_position(&mut position, links.root(), 0);
        let mut at = 0;
        while let Some(node) = order.get(at).copied() {
            for target in links.of(node) {
                if position.get(*target as usize) == Some(&NONE) {
                    set_position(&mut position, *target, order.len());
                    order.push(*target);
                    parent.push(at as u32);
                }
            }
            at += 1;
        }
        Paths { graph, links, order, parent, position }
    }

    /// Pointers on a shortest path from a root to the object; `None` where there is none.
    pub fn depth(&self, object: ObjectId) -> Option<u64> {
        Some(self.nodes_to(object)?.len() as u64 - 1)
    }

    /// For every object how many pointers a shortest path to it has, 0 where there is none,
    /// and the number of the holder it begins at.
    pub(super) fn depths_and_roots(&self) -> (Vec<u32>, Vec<u32>) {
        let objects = self.graph.len();
        let (mut depths, mut roots) = (vec![0_u32; objects], vec![NONE; objects]);
        for (node, parent) in self.order.iter().zip(&self.parent) {
            let above = self.order.get(*parent as usize).copied().unwrap_or(0);
            let (depth, root) = match above.checked_sub(objects as u32) {
                Some(holder) => (1, holder),
                None => {
                    let of = |table: &[u32]| table.get(above as usize).copied().unwrap_or(0);
                    (of(&depths) + 1, of(&roots))
                }
            };
            if let (Some(d), Some(r)) =
                (depths.get_mut(*node as usize), roots.get_mut(*node as usize))
            {
                (*d, *r) = (depth, root);
            }
        }
        (depths, roots)
    }

    /// A shortest path from a root to the object, ending with the object; empty where
    /// nothing keeps it alive.
    pub fn shortest(&self, object: ObjectId) -> Vec<Step> {
        self.nodes_to(object).map(|nodes| steps(self.graph, &nodes)).unwrap_or_default()
    }

    /// The nodes of a path, from the innermost holder to the object.
    fn nodes_to(&self, object: ObjectId) -> Option<Vec<Node>> {
        let mut nodes = vec![Node::Object(object)];
        let mut at = self.position.get(object.index()).copied().filter(|at| *at != NONE)?;
        while let Some(Node::Object(_)) = nodes.last() {
            at = self.parent.get(at as usize).copied()?;
            nodes.push(self.node(at));
        }
        nodes.reverse();
        Some(nodes)
    }

    fn node(&self, position: u32) -> Node {
        let id = self.order.get(position as usize).copied().unwrap_or(0);
        let objects = self.graph.len() as u32;
        if id < objects {
            Node::Object(ObjectId(id))
        } else if ((id - objects) as usize) < self.graph.holders.len() {
            Node::Holder(HolderId(id - objects))
        } else {
            Node::Root
        }
    }
}

fn set_position(position: &mut [u32], node: u32, at: usize) {
    if let Some(slot) = position.get_mut(node as usize) {
        *slot = at as u32;
    }
}

/// The weak references to an object: they are shown beside its paths.
pub fn weak_referrers(graph: &HeapGraph<'_>, object: ObjectId) -> Vec<Step> {
    let of_object = graph.weak.iter().filter(|(_, _, target)| *target == object);
    of_object
        .map(|(from, slot, _)| Step {
            node: Node::Object(*from),
            name: graph.type_name(graph.type_of(*from)).to_owned(),
            via: field_of_object(graph, *from, *slot, Style::Exact),
            repeats: 1,
        })
        .collect()
}

/// Puts a chain of nodes into words; runs of equal steps become one.
fn steps(graph: &HeapGraph<'_>, nodes: &[Node]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let step = step(graph, *node, nodes.get(index + 1).copied());
        let is_last = index + 1 == nodes.len();
        match steps.last_mut() {
            Some(last) if !is_last && last.name == step.name && last.via == step.via => {
                last.repeats += 1;
            }
            _ => steps.push(step),
        }
    }
    steps
}

fn step(graph: &HeapGraph<'_>, node: Node, next: Option<Node>) -> Step {
    let target = if let Some(Node::Object(target)) = next { Some(target) } else { None };
    let (name, via) = match node {
        Node::Object(object) => {
            let name = graph.type_name(graph.type_of(object)).to_owned();
            let slot = target.and_then(|target| {
                graph.edges.of(object).find_map(|(slot, to)| (to == target).then_some(slot))
            });
            let via = slot.map(|slot| field_of_object(graph, object, slot, Style::Exact));
            (name, via.unwrap_or_default())
        }
        Node::Holder(holder) => {
            let pointer = graph.pointers_of(holder).iter().find(|p| Some(p.target) == target);
            let part = pointer.map(|p| holder_part(graph, holder, p.slot, Style::Exact));
            (holder_part_name(graph, holder, &part.unwrap_or_default()), String::new())
        }
        Node::Root => (super::names::Label::Root.name(graph).to_owned(), String::new()),
    };
    Step { node, name, via, repeats: 1 }
}

/// The part of a variable that a slot lies in.
fn holder_part(graph: &HeapGraph<'_>, holder: HolderId, slot: u32, style: Style) -> String {
    let of = graph.holders.get(holder.0 as usize).and_then(|holder| holder.of);
    of.map(|of| field(graph, of, slot, style)).unwrap_or_default()
}
