//! Layered drawing of directed graphs: callers above callees, few crossings, edges as
//! straight as possible, labels with room of their own.
//!
//! The steps of Sugiyama, Tagawa and Toda (1981): break cycles, assign ranks, order each
//! rank by its neighbours' positions, then place. Placing a rank near its neighbours
//! without overlap is an isotonic regression (pool adjacent violators).

mod order;
mod place;
mod rank;

/// Room around things.
const NODE_GAP: f64 = 18.0;
const RANK_GAP: f64 = 16.0;

/// Width and height.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Size {
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// An edge to draw.
#[derive(Clone, Copy, Debug)]
pub struct EdgeSpec {
    /// Index of the upper node.
    pub from: usize,
    /// Index of the lower node.
    pub to: usize,
    /// How much it wants to be short and straight.
    pub weight: f64,
    /// Ranks it spans at least.
    pub min_ranks: usize,
    /// Room for its label.
    pub label: Size,
}

/// A place.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Down.
    pub y: f64,
}

/// Where everything goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Centres of the nodes.
    pub nodes: Vec<Point>,
    /// For each edge, where it passes, from its first node to its second.
    pub routes: Vec<Vec<Point>>,
    /// For each edge, the centre of its label.
    pub labels: Vec<Point>,
    /// Size of the whole.
    pub size: Size,
}

/// A thing on a rank: a node, or a bend of an edge.
#[derive(Clone, Debug)]
struct Item {
    size: Size,
    is_bend: bool,
    rank: usize,
    /// Items above and below, and how much each pulls.
    up: Vec<(usize, f64)>,
    down: Vec<(usize, f64)>,
}

/// Draws a graph.
pub fn layout(nodes: &[Size], edges: &[EdgeSpec]) -> Layout {
    if nodes.is_empty() {
        return Layout::default();
    }
    // Every edge has a rank for its label, so ranks count double.
    let (ranks, is_reversed) = rank::assign(nodes.len(), edges);
    let mut items: Vec<Item> = nodes
        .iter()
        .zip(&ranks)
        .map(|(size, rank)| Item {
            size: *size,
            is_bend: false,
            rank: *rank,
            up: Vec::new(),
            down: Vec::new(),
        })
        .collect();
    let chains: Vec<Vec<usize>> = edges
        .iter()
        .zip(&is_reversed)
        .map(|(edge, reversed)| chain(&mut items, edge, *reversed))
        .collect();
    let mut layers = order::order(&items);
    let xs = place::place(&items, &mut layers);
    let (ys, height) = heights(&items, &layers);
    finish(nodes.len(), &is_reversed, &items, &chains, &xs, &ys, height)
}

/// The items of an edge from top to bottom, its ends included.
fn chain(items: &mut Vec<Item>, edge: &EdgeSpec, is_reversed: bool) -> Vec<usize> {
    let (top, bottom) = if is_reversed { (edge.to, edge.from) } else { (edge.from, edge.to) };
    let rank = |items: &[Item], index: usize| items.get(index).map_or(0, |item| item.rank);
    let (first, last) = (rank(items, top), rank(items, bottom));
    let middle = usize::midpoint(first, last);
    let mut chain = vec![top];
    for rank in first + 1..last {
        let size = if rank == middle { edge.label } else { Size { width: 2.0, height: 0.0 } };
        items.push(Item { size, is_bend: true, rank, up: Vec::new(), down: Vec::new() });
        chain.push(items.len() - 1);
    }
    chain.push(bottom);
    for pair in chain.windows(2) {
        let &[above, below] = pair else { continue };
        let ends = [above, below];
        let bends = ends.iter().filter(|i| items.get(**i).is_some_and(|item| item.is_bend));
        // Long edges should run straight between their bends.
        let pull = edge.weight * [1.0, 2.0, 8.0].get(bends.count()).copied().unwrap_or(1.0);
        if let Some(item) = items.get_mut(above) {
            item.down.push((below, pull));
        }
        if let Some(item) = items.get_mut(below) {
            item.up.push((above, pull));
        }
    }
    chain
}

/// The middle of each rank, and the height of all.
fn heights(items: &[Item], layers: &[Vec<usize>]) -> (Vec<f64>, f64) {
    let mut y = 0.0;
    let mut middles = Vec::new();
    for layer in layers {
        let heights = layer.iter().filter_map(|index| items.get(*index)).map(|i| i.size.height);
        let height = heights.fold(0.0, f64::max);
        middles.push(y + height / 2.0);
        y += height + RANK_GAP;
    }
    (middles, (y - RANK_GAP).max(0.0))
}

fn finish(
    nodes: usize,
    is_reversed: &[bool],
    items: &[Item],
    chains: &[Vec<usize>],
    xs: &[f64],
    ys: &[f64],
    height: f64,
) -> Layout {
    let center = |index: usize| Point {
        x: xs.get(index).copied().unwrap_or(0.0),
        y: items.get(index).and_then(|item| ys.get(item.rank)).copied().unwrap_or(0.0),
    };
    let size = |index: usize| items.get(index).map_or(Size::default(), |item| item.size);
    let ports = ports(nodes, chains, xs, &size);
    let mut layout = Layout {
        nodes: (0..nodes).map(center).collect(),
        size: Size { width: 0.0, height },
        ..Layout::default()
    };
    let rights = (0..items.len()).map(|index| center(index).x + size(index).width / 2.0);
    layout.size.width = rights.fold(0.0, f64::max);
    for (index, (chain, reversed)) in chains.iter().zip(is_reversed).enumerate() {
        let mut route: Vec<Point> = chain.iter().map(|item| center(*item)).collect();
        let (start, end) = ports.get(index).copied().unwrap_or_default();
        if let (Some(first), Some(&top)) = (route.first_mut(), chain.first()) {
            *first = Point { x: start, y: first.y + size(top).height / 2.0 };
        }
        if let (Some(last), Some(&bottom)) = (route.last_mut(), chain.last()) {
            *last = Point { x: end, y: last.y - size(bottom).height / 2.0 };
        }
        let first = items.get(chain.first().copied().unwrap_or(0)).map_or(0, |item| item.rank);
        let last = items.get(chain.last().copied().unwrap_or(0)).map_or(0, |item| item.rank);
        let middle = usize::midpoint(first, last) - first;
        layout.labels.push(route.get(middle).copied().unwrap_or_default());
        // An edge that was turned to break a cycle points up again.
        if *reversed {
            route.reverse();
        }
        layout.routes.push(route);
    }
    layout
}

/// Where edges leave and reach their nodes: side by side, in the order of their other
/// ends.
fn ports(
    nodes: usize,
    chains: &[Vec<usize>],
    xs: &[f64],
    size: &impl Fn(usize) -> Size,
) -> Vec<(f64, f64)> {
    let x = |index: usize| xs.get(index).copied().unwrap_or(0.0);
    let mut ports = vec![(0.0, 0.0); chains.len()];
    let mut at_bottom: Vec<Vec<(f64, usize)>> = vec![Vec::new(); nodes];
    let mut at_top: Vec<Vec<(f64, usize)>> = vec![Vec::new(); nodes];
    for (edge, chain) in chains.iter().enumerate() {
        let &[first, second, ..] = chain.as_slice() else { continue };
        let &[.., before, last] = chain.as_slice() else { continue };
        if let Some(list) = at_bottom.get_mut(first) {
            list.push((x(second), edge));
        }
        if let Some(list) = at_top.get_mut(last) {
            list.push((x(before), edge));
        }
    }
    for (lists, is_bottom) in [(&mut at_bottom, true), (&mut at_top, false)] {
        for (node, list) in lists.iter_mut().enumerate() {
            list.sort_by(|a, b| a.0.total_cmp(&b.0));
            let count = list.len() as f64;
            let room = size(node).width * 0.7;
            for (place, (_, edge)) in list.iter().enumerate() {
                let offset = ((place as f64 + 0.5) / count - 0.5) * room;
                if let Some(port) = ports.get_mut(*edge) {
                    let end = if is_bottom { &mut port.0 } else { &mut port.1 };
                    *end = x(node) + offset;
                }
            }
        }
    }
    ports
}

#[cfg(test)]
mod tests;
