//! The call graph of a report: nodes with their values, weighted edges, trimming and
//! order (internal/graph).
//!
//! Values of nodes do not depend on which others are kept, so they are summed once;
//! edges are drawn again when nodes go, because they then lead over the gap.

mod nodes;
mod order;
mod tags;
mod tree;
mod trim;

use std::cell::OnceCell;

use ahash::AHashMap;
use model::{Profile, StackId, StrId, StringTable};

pub use nodes::{Naming, Nodes, name_parts, printable_name};
pub use order::go_int;
pub use tags::{NODELETS_MAX, NodeTags, Tag, sort_tags};
pub(super) use trim::Style;
pub use trim::{Limits, Trimmed};

/// Index into [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u32);

/// Index into [`Graph::edges`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EdgeId(pub u32);

/// What a node stands for; what the granularity leaves out is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeInfo {
    /// Function.
    pub name: StrId,
    /// Address.
    pub address: u64,
    /// Cleaned source file.
    pub file: StrId,
    /// First line of the function.
    pub start_line: i64,
    /// Line.
    pub line: i64,
    /// Column.
    pub column: i64,
    /// Mapped binary.
    pub objfile: StrId,
}

impl NodeInfo {
    /// The whole function that this is a place in.
    pub fn function(self) -> NodeInfo {
        match self.address == 0 && self.line == 0 {
            true => self,
            false => NodeInfo { address: 0, line: 0, column: 0, ..self },
        }
    }
}

/// A node.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// What it stands for.
    pub info: NodeInfo,
    /// In a call tree, who called it.
    pub parent: Option<NodeId>,
    /// Own value.
    pub flat: i64,
    /// What divides it when means are shown.
    pub flat_div: i64,
    /// Value with all it calls.
    pub cum: i64,
    /// What divides it when means are shown.
    pub cum_div: i64,
}

impl Node {
    fn new(info: NodeInfo, parent: Option<NodeId>) -> Node {
        Node { info, parent, flat: 0, flat_div: 0, cum: 0, cum_div: 0 }
    }

    /// Own value, the mean where there is a divisor.
    pub fn flat_value(&self) -> i64 {
        mean(self.flat, self.flat_div)
    }

    /// Value with all it calls, the mean where there is a divisor.
    pub fn cum_value(&self) -> i64 {
        mean(self.cum, self.cum_div)
    }
}

/// `value / divisor`, or the value where the divisor is zero.
pub fn mean(value: i64, divisor: i64) -> i64 {
    if divisor == 0 { value } else { value.wrapping_div(divisor) }
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// Caller.
    pub src: NodeId,
    /// Callee.
    pub dest: NodeId,
    /// Value of the stacks with this call.
    pub weight: i64,
    /// What divides it when means are shown.
    pub weight_div: i64,
    /// It leads over nodes that are not shown.
    pub is_residual: bool,
    /// The call was inlined wherever it was seen.
    pub is_inline: bool,
    is_removed: bool,
    /// Stack that was added last, plus one: a call counts once a stack.
    last_stack: u32,
}

impl Edge {
    /// The weight, the mean where there is a divisor.
    pub fn weight_value(&self) -> i64 {
        mean(self.weight, self.weight_div)
    }
}

/// What a stack weighs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weight {
    /// Sum of the values.
    pub value: i64,
    /// Sum of the divisors.
    pub div: i64,
    /// Some sample is not zero; sums may be although none is.
    pub is_active: bool,
}

impl Weight {
    /// Adds a sample.
    pub fn add(&mut self, value: i64, div: i64) {
        self.value = self.value.wrapping_add(value);
        self.div = self.div.wrapping_add(div);
        self.is_active |= value != 0 || div != 0;
    }
}

/// A call graph, or a call tree.
#[derive(Debug, Default)]
pub struct Graph {
    /// All nodes.
    pub nodes: Vec<Node>,
    /// The nodes that are shown, in order.
    pub order: Vec<NodeId>,
    /// All edges; ask [`Graph::ins`] and [`Graph::outs`] for those still there.
    pub edges: Vec<Edge>,
    ins: Vec<Vec<EdgeId>>,
    outs: Vec<Vec<EdgeId>>,
    names: Vec<OnceCell<String>>,
    /// In a call tree, nodes by caller and place.
    children: AHashMap<(u32, u32), NodeId>,
}

impl Graph {
    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        static NONE: Node = Node {
            info: NodeInfo {
                name: StrId(0),
                address: 0,
                file: StrId(0),
                start_line: 0,
                line: 0,
                column: 0,
                objfile: StrId(0),
            },
            parent: None,
            flat: 0,
            flat_div: 0,
            cum: 0,
            cum_div: 0,
        };
        self.nodes.get(id.0 as usize).unwrap_or(&NONE)
    }

    /// How reports call a node.
    pub fn name(&self, strings: &StringTable, id: NodeId) -> &str {
        let compute = || printable_name(&self.node(id).info, strings);
        self.names.get(id.0 as usize).map_or("", |cell| cell.get_or_init(compute))
    }

    /// Calls to a node.
    pub fn ins(&self, id: NodeId) -> impl Iterator<Item = &Edge> {
        self.alive(self.ins.get(id.0 as usize))
    }

    /// Calls by a node.
    pub fn outs(&self, id: NodeId) -> impl Iterator<Item = &Edge> {
        self.alive(self.outs.get(id.0 as usize))
    }

    fn alive<'a>(&'a self, list: Option<&'a Vec<EdgeId>>) -> impl Iterator<Item = &'a Edge> {
        let edges = list.map_or(&[][..], Vec::as_slice).iter();
        edges.filter_map(|id| self.edges.get(id.0 as usize)).filter(|edge| !edge.is_removed)
    }

    /// Sums the values of all nodes.
    pub fn of(profile: &Profile, nodes: &Nodes, weights: &[Weight], drop_negative: bool) -> Graph {
        let infos = nodes.infos.iter();
        let mut graph =
            Graph { nodes: infos.map(|info| Node::new(*info, None)).collect(), ..Graph::default() };
        let mut seen = vec![0_u32; graph.nodes.len()];
        for (stack, weight) in active(weights) {
            let mut leaf = None;
            for location in profile.stacks.get(stack).iter().rev() {
                for &place in nodes.of_location(*location).iter().rev() {
                    leaf = Some(place);
                    let Some(mark) = seen.get_mut(place as usize) else { continue };
                    if *mark == stack.0 + 1 {
                        continue;
                    }
                    *mark = stack.0 + 1;
                    if let Some(node) = graph.nodes.get_mut(place as usize) {
                        node.cum = node.cum.wrapping_add(weight.value);
                        node.cum_div = node.cum_div.wrapping_add(weight.div);
                    }
                }
            }
            if let Some(node) = leaf.and_then(|place| graph.nodes.get_mut(place as usize)) {
                node.flat = node.flat.wrapping_add(weight.value);
                node.flat_div = node.flat_div.wrapping_add(weight.div);
            }
        }
        graph.finish_nodes(drop_negative);
        graph
    }

    fn finish_nodes(&mut self, drop_negative: bool) {
        let is_negative = |node: &Node| node.flat < 0 || node.flat == 0 && node.cum < 0;
        self.names = std::iter::repeat_with(OnceCell::new).take(self.nodes.len()).collect();
        self.order = (0..self.nodes.len() as u32).map(NodeId).collect();
        let nodes = &self.nodes;
        self.order.retain(|id| {
            nodes.get(id.0 as usize).is_some_and(|node| {
                (node.cum != 0 || node.flat != 0) && !(drop_negative && is_negative(node))
            })
        });
    }

    /// Draws the edges between the nodes that `kept` allows.
    fn draw_edges(
        &mut self,
        profile: &Profile,
        nodes: &Nodes,
        weights: &[Weight],
        kept: Option<&[bool]>,
    ) {
        self.edges.clear();
        self.ins = vec![Vec::new(); self.nodes.len()];
        self.outs = vec![Vec::new(); self.nodes.len()];
        let mut index: AHashMap<u64, u32> = AHashMap::new();
        let is_kept = |place: u32| kept.is_none_or(|kept| kept.get(place as usize) == Some(&true));
        for (stack, weight) in active(weights) {
            let mut parent: Option<u32> = None;
            let mut is_residual = false;
            for location in profile.stacks.get(stack).iter().rev() {
                let places = nodes.of_location(*location);
                for (line, &place) in places.iter().enumerate().rev() {
                    if !is_kept(place) {
                        is_residual = true;
                        continue;
                    }
                    if let Some(caller) = parent.filter(|caller| *caller != place) {
                        let is_inline = line + 1 != places.len();
                        let key = u64::from(caller) << 32 | u64::from(place);
                        let id = *index.entry(key).or_insert_with(|| {
                            self.new_edge(NodeId(caller), NodeId(place), is_residual, is_inline)
                        });
                        self.add_call(id, stack, weight, is_residual, is_inline);
                    }
                    parent = Some(place);
                    is_residual = false;
                }
            }
        }
    }

    fn new_edge(&mut self, src: NodeId, dest: NodeId, is_residual: bool, is_inline: bool) -> u32 {
        let id = self.edges.len() as u32;
        self.edges.push(Edge {
            src,
            dest,
            weight: 0,
            weight_div: 0,
            is_residual,
            is_inline,
            is_removed: false,
            last_stack: 0,
        });
        for (list, end) in [(&mut self.outs, src), (&mut self.ins, dest)] {
            if let Some(edges) = list.get_mut(end.0 as usize) {
                edges.push(EdgeId(id));
            }
        }
        id
    }

    fn add_call(
        &mut self,
        id: u32,
        stack: StackId,
        weight: Weight,
        is_residual: bool,
        is_inline: bool,
    ) {
        let Some(edge) = self.edges.get_mut(id as usize) else { return };
        if edge.last_stack == stack.0 + 1 {
            return;
        }
        edge.last_stack = stack.0 + 1;
        edge.weight = edge.weight.wrapping_add(weight.value);
        edge.weight_div = edge.weight_div.wrapping_add(weight.div);
        edge.is_residual |= is_residual;
        edge.is_inline &= is_inline;
    }
}

/// The stacks that count.
fn active(weights: &[Weight]) -> impl Iterator<Item = (StackId, Weight)> {
    let stacks = weights.iter().enumerate().map(|(id, weight)| (StackId(id as u32), *weight));
    stacks.filter(|(_, weight)| weight.is_active)
}
