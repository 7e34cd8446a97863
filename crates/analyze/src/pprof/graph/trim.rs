//! Taking what is small out of a graph.

use std::collections::HashMap;

use super::{EdgeId, Graph, NODELETS_MAX, NodeId, NodeTags, Nodes, Weight, go_int};
use crate::pprof::report::Report;

/// What may stay.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes at most; 0 for all.
    pub nodes: i64,
    /// Least share of the total a node must have.
    pub node_fraction: f64,
    /// Least share of the total an edge must have.
    pub edge_fraction: f64,
}

/// A trimmed graph and what is no longer in it.
#[derive(Debug)]
pub struct Trimmed {
    /// The graph.
    pub graph: Graph,
    /// Tags of its nodes; only pictures have them.
    pub tags: HashMap<NodeId, NodeTags>,
    /// Nodes that were heavy enough.
    pub heavy_nodes: usize,
    /// Nodes that were not.
    pub dropped_nodes: usize,
    /// Edges that were not.
    pub dropped_edges: usize,
}

/// How the graph is to be drawn.
#[derive(Clone, Copy, Debug)]
pub(in crate::pprof) struct Style {
    pub(in crate::pprof) is_tree: bool,
    pub(in crate::pprof) for_picture: bool,
    pub(in crate::pprof) by_cum: bool,
    pub(in crate::pprof) drop_negative: bool,
    /// The report asks for nothing that needs edges.
    pub(in crate::pprof) without_edges: bool,
}

impl Trimmed {
    /// Builds the graph of a report within limits.
    pub(in crate::pprof) fn of(
        report: &Report,
        nodes: &Nodes,
        weights: &[Weight],
        limits: Limits,
        style: Style,
    ) -> Trimmed {
        let profile = &report.profile;
        let strings = &profile.strings;
        let mut graph = match style.is_tree {
            true => Graph::tree_of(profile, nodes, weights, style.drop_negative),
            false => Graph::of(profile, nodes, weights, style.drop_negative),
        };
        let flats = graph.order.iter().map(|id| graph.node(*id).flat);
        let total = flats.fold(0_i64, i64::wrapping_add);
        let cutoff = |share: f64| go_int(total as f64 * share).wrapping_abs();
        let (node_cutoff, edge_cutoff) =
            (cutoff(limits.node_fraction), cutoff(limits.edge_fraction));

        let redraw = |graph: &mut Graph, kept: Option<Vec<NodeId>>| {
            graph.redraw(profile, nodes, weights, style, kept);
        };
        let all_nodes = graph.order.len();
        let mut heavy = graph.order.clone();
        if node_cutoff > 0 {
            heavy.retain(|id| graph.node(*id).cum.wrapping_abs() >= node_cutoff);
        }
        let dropped_nodes = all_nodes - heavy.len();
        redraw(&mut graph, (dropped_nodes > 0).then_some(heavy));
        let heavy_nodes = graph.order.len();

        graph.sort(strings, style.by_cum, style.for_picture);
        let mut tags = HashMap::new();
        if let Some(count) = usize::try_from(limits.nodes).ok().filter(|count| *count > 0) {
            graph.trim_edges(edge_cutoff);
            if style.for_picture {
                let first = graph.order.get(..count.min(graph.order.len())).unwrap_or(&[]);
                tags = graph.tags(report, nodes, first);
                tags.values_mut().for_each(|tags| tags.trim(node_cutoff));
            }
            let shown = graph.top(count, style.for_picture.then_some(&tags));
            if shown.len() != graph.order.len() {
                redraw(&mut graph, Some(shown));
                graph.sort(strings, style.by_cum, style.for_picture);
            }
        } else if style.for_picture {
            tags = graph.tags(report, nodes, &graph.order);
            tags.values_mut().for_each(|tags| tags.trim(node_cutoff));
        }
        let dropped_edges = graph.trim_edges(edge_cutoff);
        if style.for_picture {
            graph.remove_redundant_edges(strings);
        }
        Trimmed { graph, tags, heavy_nodes, dropped_nodes, dropped_edges }
    }
}

impl Graph {
    /// Keeps these nodes (all without a list) and draws the edges between them.
    fn redraw(
        &mut self,
        profile: &model::Profile,
        nodes: &Nodes,
        weights: &[Weight],
        style: Style,
        kept: Option<Vec<NodeId>>,
    ) {
        let flags = kept.map(|kept| self.flags(kept));
        if style.is_tree {
            if let Some(flags) = &flags {
                self.trim_tree(flags);
                self.remove_redundant_edges(&profile.strings);
            }
            return;
        }
        if !style.without_edges {
            self.draw_edges(profile, nodes, weights, flags.as_deref());
        }
        if let Some(flags) = &flags {
            self.order.retain(|id| flags.get(id.0 as usize) == Some(&true));
        }
    }

    fn flags(&self, ids: Vec<NodeId>) -> Vec<bool> {
        let mut flags = vec![false; self.nodes.len()];
        for id in ids {
            if let Some(flag) = flags.get_mut(id.0 as usize) {
                *flag = true;
            }
        }
        flags
    }

    /// Removes calls to shown nodes that weigh less than `cutoff`; tells how many.
    fn trim_edges(&mut self, cutoff: i64) -> usize {
        let mut dropped = 0;
        for id in &self.order {
            for edge in self.ins.get(id.0 as usize).into_iter().flatten() {
                let Some(edge) = self.edges.get_mut(edge.0 as usize) else { continue };
                if !edge.is_removed && edge.weight.wrapping_abs() < cutoff {
                    edge.is_removed = true;
                    dropped += 1;
                }
            }
        }
        dropped
    }

    /// The first `count` nodes; in a picture their tags count too.
    fn top(&self, count: usize, tags: Option<&HashMap<NodeId, NodeTags>>) -> Vec<NodeId> {
        let mut limit = count;
        let mut boxes = 0;
        for (index, id) in self.order.iter().enumerate() {
            let Some(tags) = tags else { break };
            boxes += tags.get(id).map_or(0, NodeTags::count).min(NODELETS_MAX) + 1;
            if boxes >= count {
                limit = index + 1;
                break;
            }
        }
        self.order.iter().take(limit).copied().collect()
    }

    /// Removes edges over gaps where another way leads from caller to callee, the
    /// lightest first.
    fn remove_redundant_edges(&mut self, strings: &model::StringTable) {
        for index in (0..self.order.len()).rev() {
            let Some(&id) = self.order.get(index) else { continue };
            let ins = self.sorted_edges(strings, self.ins(id));
            let sources: Vec<(NodeId, bool)> =
                ins.iter().rev().map(|edge| (edge.src, edge.is_residual)).collect();
            for (src, _) in sources.into_iter().take_while(|(_, is_residual)| *is_residual) {
                if self.is_redundant(src, id) {
                    self.remove_edge(src, id);
                }
            }
        }
    }

    fn remove_edge(&mut self, src: NodeId, dest: NodeId) {
        let ids: Vec<EdgeId> = self.ins.get(dest.0 as usize).cloned().unwrap_or_default();
        for edge in ids {
            if let Some(edge) = self.edges.get_mut(edge.0 as usize)
                && edge.src == src
            {
                edge.is_removed = true;
            }
        }
    }

    /// Another way than the direct one leads from `src` to `dest`.
    fn is_redundant(&self, src: NodeId, dest: NodeId) -> bool {
        let mut seen = std::collections::HashSet::from([dest]);
        let mut queue = std::collections::VecDeque::from([dest]);
        while let Some(id) = queue.pop_front() {
            for edge in self.ins(id) {
                let is_the_edge = edge.src == src && edge.dest == dest;
                if is_the_edge || seen.contains(&edge.src) {
                    continue;
                }
                if edge.src == src {
                    return true;
                }
                seen.insert(edge.src);
                queue.push_back(edge.src);
            }
        }
        false
    }
}
