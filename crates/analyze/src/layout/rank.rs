//! Which rank each node goes to.

use super::EdgeSpec;

/// Ranks of the nodes, and which edges were turned to break cycles.
pub(super) fn assign(nodes: usize, edges: &[EdgeSpec]) -> (Vec<usize>, Vec<bool>) {
    let is_reversed = break_cycles(nodes, edges);
    let directed: Vec<(usize, usize, usize, f64)> = edges
        .iter()
        .zip(&is_reversed)
        .map(|(edge, reversed)| {
            let ranks = edge.min_ranks.max(1) * 2;
            match reversed {
                true => (edge.to, edge.from, ranks, edge.weight),
                false => (edge.from, edge.to, ranks, edge.weight),
            }
        })
        .collect();
    let order = topological(nodes, &directed);
    let mut outs: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    let mut ins: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for (index, (from, to, ..)) in directed.iter().enumerate() {
        if let Some(list) = outs.get_mut(*from) {
            list.push(index);
        }
        if let Some(list) = ins.get_mut(*to) {
            list.push(index);
        }
    }
    let mut ranks = vec![0_usize; nodes];
    let rank = |ranks: &[usize], node: usize| ranks.get(node).copied().unwrap_or(0);
    for &node in &order {
        for index in outs.get(node).into_iter().flatten() {
            let Some(&(_, to, length, _)) = directed.get(*index) else { continue };
            let least = rank(&ranks, node) + length;
            if let Some(slot) = ranks.get_mut(to) {
                *slot = (*slot).max(least);
            }
        }
    }
    // Longest paths put every node as high as it goes; pull nodes to where their edges
    // are short.
    for round in 0..8 {
        let forward: Vec<usize> = order.clone();
        let walk: Box<dyn Iterator<Item = usize>> = match round % 2 {
            0 => Box::new(forward.into_iter().rev()),
            _ => Box::new(forward.into_iter()),
        };
        for node in walk {
            let above = ins.get(node).into_iter().flatten().filter_map(|i| directed.get(*i));
            let below = outs.get(node).into_iter().flatten().filter_map(|i| directed.get(*i));
            let low = above.clone().map(|(from, _, len, _)| rank(&ranks, *from) + len).max();
            let high =
                below.clone().map(|(_, to, len, _)| rank(&ranks, *to).saturating_sub(*len)).min();
            let pull =
                below.map(|edge| edge.3).sum::<f64>() - above.map(|edge| edge.3).sum::<f64>();
            let current = rank(&ranks, node);
            let wanted = match (low, high) {
                (None, Some(high)) => high,
                (Some(low), None) => low,
                (Some(low), Some(high)) if pull > 0.0 => high.max(low),
                (Some(low), Some(_)) if pull < 0.0 => low,
                _ => current,
            };
            if let Some(slot) = ranks.get_mut(node) {
                *slot = wanted;
            }
        }
    }
    let top = ranks.iter().min().copied().unwrap_or(0);
    ranks.iter_mut().for_each(|rank| *rank -= top);
    (ranks, is_reversed)
}

/// Marks the edges that close a cycle in a depth-first walk.
fn break_cycles(nodes: usize, edges: &[EdgeSpec]) -> Vec<bool> {
    let mut outs: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    let mut has_caller = vec![false; nodes];
    for (index, edge) in edges.iter().enumerate() {
        if let Some(list) = outs.get_mut(edge.from) {
            list.push(index);
        }
        if let Some(flag) = has_caller.get_mut(edge.to) {
            *flag = true;
        }
    }
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut states = vec![State::New; nodes];
    let mut is_reversed = vec![false; edges.len()];
    let roots = (0..nodes).filter(|node| has_caller.get(*node) == Some(&false));
    for root in roots.chain(0..nodes) {
        if states.get(root) != Some(&State::New) {
            continue;
        }
        let mut walk = vec![(root, 0)];
        while let Some((node, next)) = walk.pop() {
            if let Some(state) = states.get_mut(node) {
                *state = State::Open;
            }
            let Some(&index) = outs.get(node).and_then(|outs| outs.get(next)) else {
                if let Some(state) = states.get_mut(node) {
                    *state = State::Done;
                }
                continue;
            };
            walk.push((node, next + 1));
            let to = edges.get(index).map_or(node, |edge| edge.to);
            match states.get(to) {
                Some(State::New) => walk.push((to, 0)),
                Some(State::Open) => {
                    is_reversed.iter_mut().skip(index).take(1).for_each(|flag| *flag = true);
                }
                _ => {}
            }
        }
    }
    is_reversed
}

fn topological(nodes: usize, edges: &[(usize, usize, usize, f64)]) -> Vec<usize> {
    let mut callers = vec![0_usize; nodes];
    let mut outs: Vec<Vec<usize>> = vec![Vec::new(); nodes];
    for (from, to, ..) in edges {
        callers.iter_mut().skip(*to).take(1).for_each(|count| *count += 1);
        if let Some(list) = outs.get_mut(*from) {
            list.push(*to);
        }
    }
    let mut ready: std::collections::VecDeque<usize> =
        (0..nodes).filter(|node| callers.get(*node) == Some(&0)).collect();
    let mut order = Vec::with_capacity(nodes);
    while let Some(node) = ready.pop_front() {
        order.push(node);
        for to in outs.get(node).into_iter().flatten() {
            if let Some(count) = callers.get_mut(*to) {
                *count -= 1;
                if *count == 0 {
                    ready.push_back(*to);
                }
            }
        }
    }
    order
}
