//! Where a heap looks as if it leaks.
//!
//! As Eclipse MAT does: a node that retains a large share of the heap is followed down the
//! dominator tree for as long as one child holds most of it. Where that ends memory
//! accumulates: in a map, a list, a buffer. What no single node retains may still be many
//! small nodes of one type, or many goroutines that stand at one place.

use ahash::AHashMap;
use model::heap::{HeapGraph, HolderId, HolderKind};

use super::names::{Label, node_name};
use super::paths::{Paths, Step};
use super::retained::{Group, children_by_label, members};
use super::{Dominators, Node, Retained};

/// What counts as a suspect.
#[derive(Clone, Copy, Debug)]
pub struct LeakOptions {
    /// The share of the heap a suspect retains at least.
    pub share_min: f64,
    /// A child with less than this share of its parent's retained size is a drop: memory
    /// accumulates in the parent.
    pub drop_ratio: f64,
    /// How many groups of what is held are told for each suspect.
    pub groups_max: usize,
}

impl Default for LeakOptions {
    fn default() -> LeakOptions {
        LeakOptions { share_min: 0.1, drop_ratio: 0.7, groups_max: 5 }
    }
}

/// What kind of suspect it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SuspectKind {
    /// One node.
    Node(Node),
    /// Nodes of one label, none of which retains much.
    Many(Label),
    /// Goroutines with one stack.
    Goroutines {
        /// Their stack: index into the graph's stacks.
        stack: Option<u32>,
        /// Bytes of their stacks.
        stack_bytes: u64,
    },
}

/// Something that retains a large share of the heap.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspect {
    /// What it is.
    pub kind: SuspectKind,
    /// Its name.
    pub name: String,
    /// How many nodes it is.
    pub nodes: u64,
    /// What it retains.
    pub retained: Retained,
    /// Its share of the live heap, stacks of goroutines included.
    pub share: f64,
    /// Where the memory accumulates.
    pub accumulation: Node,
    /// What the accumulation point itself retains.
    pub accumulated: Retained,
    /// A shortest path to the accumulation point; empty where that is a root.
    pub path: Vec<Step>,
    /// What it holds, by type, largest first.
    pub held: Vec<Group>,
}

/// Finds suspects, largest first. `paths` is only asked for paths to them.
pub fn leaks(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    paths: &Paths<'_>,
    options: &LeakOptions,
) -> Vec<Suspect> {
    let finder = Finder { graph, dominators, paths, options };
    let mut suspects = finder.single();
    suspects.extend(finder.many());
    suspects.extend(finder.goroutines());
    suspects.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.name.cmp(&b.name)));
    suspects
}

struct Finder<'a> {
    graph: &'a HeapGraph<'a>,
    dominators: &'a Dominators,
    paths: &'a Paths<'a>,
    options: &'a LeakOptions,
}

impl Finder<'_> {
    fn share(&self, bytes: u64) -> f64 {
        bytes as f64 / self.dominators.reachable().bytes.max(1) as f64
    }

    fn is_large(&self, bytes: u64) -> bool {
        bytes > 0 && self.share(bytes) >= self.options.share_min
    }

    fn single(&self) -> Vec<Suspect> {
        let nodes = self.dominators.children(Node::Root);
        let large = nodes.filter(|node| self.is_large(self.dominators.retained(*node).bytes));
        large.map(|node| self.suspect(SuspectKind::Node(node), &[node])).collect()
    }

    /// Top nodes of one type that are not suspects by themselves.
    fn many(&self) -> Vec<Suspect> {
        let groups = children_by_label(self.graph, self.dominators, &[Node::Root]);
        let mut suspects = Vec::new();
        for group in groups.iter().filter(|group| self.is_large(group.retained.bytes)) {
            // Goroutines are told apart by their stacks.
            if group.label == Label::Holder(HolderKind::Goroutine) {
                continue;
            }
            let mut nodes = members(self.graph, self.dominators, &[Node::Root], group.label);
            nodes.retain(|node| !self.is_large(self.dominators.retained(*node).bytes));
            let bytes = self.retained_by(&nodes).bytes;
            if nodes.len() > 1 && self.is_large(bytes) {
                suspects.push(self.suspect(SuspectKind::Many(group.label), &nodes));
            }
        }
        suspects
    }

    fn goroutines(&self) -> Vec<Suspect> {
        let mut of_stack: AHashMap<Option<u32>, (Vec<Node>, u64)> = AHashMap::new();
        for (index, holder) in self.graph.holders.iter().enumerate() {
            let goroutine = holder
                .goroutine
                .filter(|_| holder.kind == HolderKind::Goroutine)
                .and_then(|goroutine| self.graph.goroutines.get(goroutine as usize));
            if let Some(goroutine) = goroutine {
                let group = of_stack.entry(goroutine.stack).or_default();
                group.0.push(Node::Holder(HolderId(index as u32)));
                group.1 = group.1.saturating_add(goroutine.stack_bytes);
            }
        }
        let mut groups: Vec<_> = of_stack.into_iter().collect();
        groups.sort_unstable_by_key(|(stack, _)| *stack);
        let mut suspects = Vec::new();
        for (stack, (nodes, stack_bytes)) in groups {
            let bytes = self.retained_by(&nodes).bytes.saturating_add(stack_bytes);
            if nodes.len() > 1 && self.is_large(bytes) {
                let kind = SuspectKind::Goroutines { stack, stack_bytes };
                let mut suspect = self.suspect(kind, &nodes);
                suspect.share = self.share(bytes);
                suspects.push(suspect);
            }
        }
        suspects
    }

    /// What siblings retain.
    fn retained_by(&self, nodes: &[Node]) -> Retained {
        let mut retained = Retained::default();
        nodes.iter().for_each(|node| retained += self.dominators.retained(*node));
        retained
    }

    fn suspect(&self, kind: SuspectKind, nodes: &[Node]) -> Suspect {
        let retained = self.retained_by(nodes);
        let largest = nodes.iter().copied().max_by_key(|node| self.dominators.retained(*node));
        let accumulation = match kind {
            SuspectKind::Node(node) => self.accumulation(node),
            _ => largest.unwrap_or(Node::Root),
        };
        let points = if let SuspectKind::Node(_) = kind { &[accumulation][..] } else { nodes };
        // Locals are seen through: it is the objects that tell.
        let mut held = children_by_label(self.graph, self.dominators, &self.below_holders(points));
        held.retain(|group| matches!(group.label, Label::Type(_)));
        held.truncate(self.options.groups_max);
        let path = match accumulation {
            Node::Object(object) => self.paths.shortest(object),
            _ => Vec::new(),
        };
        Suspect {
            kind,
            name: self.name(kind, nodes),
            nodes: nodes.len() as u64,
            retained,
            share: self.share(retained.bytes),
            accumulation,
            accumulated: self.dominators.retained(accumulation),
            path,
            held,
        }
    }

    /// Goes down for as long as one child retains most of what its parent does.
    fn accumulation(&self, top: Node) -> Node {
        let mut at = top;
        loop {
            let retained = self.dominators.retained(at).bytes as f64;
            let children = self.dominators.children(at);
            let largest = children
                .map(|child| (self.dominators.retained(child).bytes, child))
                .max_by_key(|(bytes, child)| (*bytes, std::cmp::Reverse(*child)));
            match largest {
                Some((bytes, child)) if bytes as f64 >= retained * self.options.drop_ratio => {
                    at = child;
                }
                _ => return at,
            }
        }
    }

    /// The nodes, and for goroutines their locals beside them.
    fn below_holders(&self, nodes: &[Node]) -> Vec<Node> {
        let mut points = nodes.to_vec();
        for node in nodes.iter().filter(|node| matches!(node, Node::Holder(_))) {
            let children = self.dominators.children(*node);
            points.extend(children.filter(|child| matches!(child, Node::Holder(_))));
        }
        points
    }

    fn name(&self, kind: SuspectKind, nodes: &[Node]) -> String {
        match kind {
            SuspectKind::Node(node) => node_name(self.graph, node),
            SuspectKind::Many(label) => format!("{} {}", nodes.len(), label.name(self.graph)),
            SuspectKind::Goroutines { stack, .. } => {
                let stack = stack.and_then(|stack| self.graph.stacks.get(stack as usize));
                let frame = stack.and_then(|stack| {
                    let own = stack.iter().find(|frame| !frame.function.starts_with("runtime."));
                    own.or(stack.first())
                });
                let at = frame.map_or("", |frame| frame.function.as_str());
                format!("{} goroutines in {at}", nodes.len())
            }
        }
    }
}
