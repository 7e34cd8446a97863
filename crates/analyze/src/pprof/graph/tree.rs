//! Call trees: a node for every path, not for every function.

use ahash::AHashMap;
use model::{Profile, StackId};

use super::{EdgeId, Graph, Node, NodeId, Nodes, Weight, active};

/// Stands for "no caller" in keys.
const ROOT: u32 = u32::MAX;

impl Graph {
    /// Builds the tree with its edges.
    pub(super) fn tree_of(
        profile: &Profile,
        nodes: &Nodes,
        weights: &[Weight],
        drop_negative: bool,
    ) -> Graph {
        let mut graph = Graph::default();
        let mut edge_to: AHashMap<u32, u32> = AHashMap::new();
        for (stack, weight) in active(weights) {
            let mut parent: Option<NodeId> = None;
            for location in profile.stacks.get(stack).iter().rev() {
                let places = nodes.of_location(*location);
                for (line, &place) in places.iter().enumerate().rev() {
                    let Some(info) = nodes.infos.get(place as usize) else { continue };
                    let id = graph.child(parent, place, Node::new(*info, parent));
                    if let Some(node) = graph.nodes.get_mut(id.0 as usize) {
                        node.cum = node.cum.wrapping_add(weight.value);
                        node.cum_div = node.cum_div.wrapping_add(weight.div);
                    }
                    if let Some(caller) = parent {
                        let is_inline = line + 1 != places.len();
                        let edge = *edge_to
                            .entry(id.0)
                            .or_insert_with(|| graph.new_edge(caller, id, false, is_inline));
                        graph.add_call(edge, stack, weight, false, is_inline);
                    }
                    parent = Some(id);
                }
            }
            if let Some(node) = parent.and_then(|id| graph.nodes.get_mut(id.0 as usize)) {
                node.flat = node.flat.wrapping_add(weight.value);
                node.flat_div = node.flat_div.wrapping_add(weight.div);
            }
        }
        graph.finish_nodes(drop_negative);
        graph
    }

    fn child(&mut self, parent: Option<NodeId>, place: u32, new: Node) -> NodeId {
        let key = (parent.map_or(ROOT, |id| id.0), place);
        if let Some(id) = self.children.get(&key) {
            return *id;
        }
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(new);
        self.ins.push(Vec::new());
        self.outs.push(Vec::new());
        self.children.insert(key, id);
        id
    }

    /// The nodes of a stack, root first: of the tree, or those of the graph.
    pub(super) fn path(
        &self,
        profile: &Profile,
        nodes: &Nodes,
        stack: StackId,
        into: &mut Vec<NodeId>,
    ) {
        into.clear();
        let is_tree = !self.children.is_empty();
        for location in profile.stacks.get(stack).iter().rev() {
            for &place in nodes.of_location(*location).iter().rev() {
                let id = match is_tree {
                    false => Some(NodeId(place)),
                    true => {
                        let parent = into.last().map_or(ROOT, |id| id.0);
                        self.children.get(&(parent, place)).copied()
                    }
                };
                into.extend(id);
            }
        }
    }

    /// Takes nodes out of the tree; their callees go to their callers.
    pub(super) fn trim_tree(&mut self, kept: &[bool]) {
        let order = std::mem::take(&mut self.order);
        for id in order {
            if kept.get(id.0 as usize) == Some(&true) {
                self.order.push(id);
                continue;
            }
            let outs = self.outs.get(id.0 as usize).cloned().unwrap_or_default();
            let up = self.ins.get(id.0 as usize).into_iter().flatten().copied();
            let is_alive = |edge: &EdgeId| {
                self.edges.get(edge.0 as usize).is_some_and(|edge| !edge.is_removed)
            };
            let up = up.into_iter().find(is_alive);
            let caller =
                up.and_then(|up| self.edges.get(up.0 as usize)).map(|e| (e.src, e.is_inline));
            if let Some(edge) = up.and_then(|up| self.edges.get_mut(up.0 as usize)) {
                edge.is_removed = true;
            }
            for out in outs {
                let Some(edge) = self.edges.get_mut(out.0 as usize) else { continue };
                let Some((caller, is_inline)) = caller else {
                    edge.is_removed = true;
                    continue;
                };
                if edge.is_removed || edge.src != id {
                    continue;
                }
                edge.src = caller;
                edge.is_residual = true;
                edge.is_inline &= is_inline;
                if let Some(outs) = self.outs.get_mut(caller.0 as usize) {
                    outs.push(out);
                }
            }
        }
    }
}
