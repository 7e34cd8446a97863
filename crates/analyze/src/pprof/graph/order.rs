//! The order of nodes and edges.

use std::cmp::Ordering;

use model::StringTable;

use super::{Edge, Graph, NodeId, NodeInfo};

/// A float as Go on x86-64 makes an integer of it: what does not fit is the least one.
pub fn go_int(value: f64) -> i64 {
    match value > -9.3e18 && value < 9.223_372_036_854_775e18 {
        true => value as i64,
        false => i64::MIN,
    }
}

impl Graph {
    /// Sorts the shown nodes: by importance in a picture, else by cum or flat.
    pub(super) fn sort(&mut self, strings: &StringTable, by_cum: bool, for_picture: bool) {
        let mut order = std::mem::take(&mut self.order);
        let score = |id: &NodeId| match (for_picture, by_cum) {
            (true, _) => self.importance(*id),
            (false, true) => self.node(*id).cum,
            (false, false) => self.node(*id).flat,
        };
        let by_flat = !for_picture && !by_cum;
        let mut scored: Vec<(i64, NodeId)> =
            order.iter().map(|id| (score(id).wrapping_abs(), *id)).collect();
        scored.sort_by(|(a_score, a), (b_score, b)| {
            let second = |id: NodeId| {
                let node = self.node(id);
                if by_flat { node.cum } else { node.flat }.wrapping_abs()
            };
            b_score
                .cmp(a_score)
                .then_with(|| self.compare_names(strings, *a, *b))
                .then_with(|| second(*b).cmp(&second(*a)))
                .then_with(|| self.compare_infos(strings, *a, *b))
        });
        order.clear();
        order.extend(scored.into_iter().map(|(_, id)| id));
        self.order = order;
    }

    fn compare_names(&self, strings: &StringTable, a: NodeId, b: NodeId) -> Ordering {
        let (left, right) = (self.node(a).info, self.node(b).info);
        match () {
            () if left == right => Ordering::Equal,
            () if left.address != 0 && right.address != 0 && left.address != right.address => {
                left.address.cmp(&right.address)
            }
            () => self.name(strings, a).cmp(self.name(strings, b)),
        }
    }

    fn compare_infos(&self, strings: &StringTable, a: NodeId, b: NodeId) -> Ordering {
        let text = |id| info_text(&self.node(id).info, strings);
        text(a).cmp(&text(b)).then(a.cmp(&b))
    }

    /// Sorts by name, the order of source listings.
    pub fn sort_by_name(&self, strings: &StringTable, ids: &mut [NodeId]) {
        let name = |id: NodeId| strings.get(self.node(id).info.name);
        ids.sort_by(|a, b| {
            name(*a).cmp(name(*b)).then_with(|| self.compare_infos(strings, *a, *b))
        });
    }

    /// Sorts by file and first line, the order within a function's listing.
    pub fn sort_by_file(&self, strings: &StringTable, ids: &mut [NodeId]) {
        let key = |id: NodeId| {
            let info = self.node(id).info;
            (strings.get(info.file), info.start_line)
        };
        ids.sort_by(|a, b| key(*a).cmp(&key(*b)).then_with(|| self.compare_infos(strings, *a, *b)));
    }

    /// How much a node adds to a picture: its weight, more where calls come from and go
    /// to several places, less where it only passes them on.
    fn importance(&self, id: NodeId) -> i64 {
        let node = self.node(id);
        let mut score = 0.0;
        let (ins, outs) = (self.ins(id), self.outs(id));
        score += entropy(ins, 0).unwrap_or(1.0);
        score += entropy(outs, node.flat).unwrap_or(1.0);
        go_int(score * node.cum as f64).wrapping_add(node.flat)
    }

    /// Edges, heaviest first, then by the names of their ends.
    pub fn sorted_edges<'a>(
        &'a self,
        strings: &StringTable,
        edges: impl Iterator<Item = &'a Edge>,
    ) -> Vec<&'a Edge> {
        let mut edges: Vec<&Edge> = edges.collect();
        edges.sort_by(|a, b| {
            if a.weight != b.weight {
                return b.weight.wrapping_abs().cmp(&a.weight.wrapping_abs());
            }
            let name = |id| self.name(strings, id);
            name(a.src).cmp(name(b.src)).then_with(|| name(a.dest).cmp(name(b.dest)))
        });
        edges
    }
}

/// Information in how a node's value spreads over edges; `None` without edges.
fn entropy<'a>(edges: impl Iterator<Item = &'a Edge>, own: i64) -> Option<f64> {
    let weights: Vec<i64> = edges.map(|edge| edge.weight).collect();
    if weights.is_empty() {
        return None;
    }
    let positive = weights.iter().filter(|weight| **weight > 0);
    let total = positive.fold(own, |sum, weight| sum.wrapping_add(*weight));
    if total == 0 {
        return Some(0.0);
    }
    let own = (own > 0).then_some(own);
    let part = |weight: i64| {
        let share = weight.wrapping_abs() as f64 / total as f64;
        -share * share.log2()
    };
    Some(weights.into_iter().chain(own).map(part).fold(0.0, |sum, part| sum + part))
}

/// A node as Go prints the struct; its last resort to order two.
fn info_text(info: &NodeInfo, strings: &StringTable) -> String {
    let NodeInfo { name, address, file, start_line, line, column, objfile } = *info;
    let text = |id| strings.get(id);
    format!(
        "{{{}  {address} {} {start_line} {line} {column} {}}}",
        text(name),
        text(file),
        text(objfile)
    )
}
