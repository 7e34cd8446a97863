//! The order within ranks: near the median of the neighbours, as long as it removes
//! crossings.

use super::Item;

/// Sweeps over all ranks.
const SWEEPS: usize = 24;

/// Items of each rank from left to right.
pub(super) fn order(items: &[Item]) -> Vec<Vec<usize>> {
    let ranks = items.iter().map(|item| item.rank + 1).max().unwrap_or(0);
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); ranks];
    for index in depth_first(items) {
        let rank = items.get(index).map_or(0, |item| item.rank);
        if let Some(layer) = layers.get_mut(rank) {
            layer.push(index);
        }
    }
    let mut positions = vec![0.0; items.len()];
    remember(&layers, &mut positions);
    let mut best = layers.clone();
    let mut fewest = crossings(items, &layers, &positions);
    for sweep in 0..SWEEPS {
        let goes_down = sweep % 2 == 0;
        let walk: Vec<usize> =
            if goes_down { (0..ranks).collect() } else { (0..ranks).rev().collect() };
        for rank in walk {
            let Some(layer) = layers.get_mut(rank) else { continue };
            sort_by_neighbours(items, layer, &positions, goes_down);
            place_layer(layer, &mut positions);
        }
        exchange(items, &mut layers, &mut positions);
        let count = crossings(items, &layers, &positions);
        if count < fewest {
            (fewest, best) = (count, layers.clone());
        }
        if fewest == 0 {
            break;
        }
    }
    best
}

/// Items in the order of a walk from the top, so that trees start without crossings.
fn depth_first(items: &[Item]) -> Vec<usize> {
    let mut seen = vec![false; items.len()];
    let mut order = Vec::with_capacity(items.len());
    let mut roots: Vec<usize> = (0..items.len()).collect();
    roots.sort_by_key(|index| items.get(*index).map_or(0, |item| item.rank));
    for root in roots {
        let mut walk = vec![root];
        while let Some(index) = walk.pop() {
            match seen.get_mut(index) {
                Some(flag) if !*flag => *flag = true,
                _ => continue,
            }
            order.push(index);
            if let Some(item) = items.get(index) {
                walk.extend(item.down.iter().rev().map(|(below, _)| *below));
            }
        }
    }
    order
}

fn place_layer(layer: &[usize], positions: &mut [f64]) {
    for (place, index) in layer.iter().enumerate() {
        positions.iter_mut().skip(*index).take(1).for_each(|slot| *slot = place as f64);
    }
}

fn remember(layers: &[Vec<usize>], positions: &mut [f64]) {
    layers.iter().for_each(|layer| place_layer(layer, positions));
}

fn sort_by_neighbours(items: &[Item], layer: &mut [usize], positions: &[f64], looks_up: bool) {
    let wanted = |index: usize| {
        let item = items.get(index)?;
        let neighbours = if looks_up { &item.up } else { &item.down };
        let (mut sum, mut pull) = (0.0, 0.0);
        for (other, weight) in neighbours {
            sum += positions.get(*other).copied().unwrap_or(0.0) * weight;
            pull += weight;
        }
        (pull > 0.0).then_some(sum / pull)
    };
    let mut keyed: Vec<(f64, usize)> = layer
        .iter()
        .map(|index| {
            let own = positions.get(*index).copied().unwrap_or(0.0);
            (wanted(*index).unwrap_or(own), *index)
        })
        .collect();
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (slot, (_, index)) in layer.iter_mut().zip(keyed) {
        *slot = index;
    }
}

/// Swaps neighbours where that removes crossings.
fn exchange(items: &[Item], layers: &mut [Vec<usize>], positions: &mut [f64]) {
    for layer in layers {
        for left in 0..layer.len().saturating_sub(1) {
            let Some(&[a, b]) = layer.get(left..left + 2) else { continue };
            if crossings_of(items, positions, b, a) < crossings_of(items, positions, a, b) {
                layer.swap(left, left + 1);
            }
        }
        place_layer(layer, positions);
    }
}

/// Crossings between the edges of two items when the first is on the left.
fn crossings_of(items: &[Item], positions: &[f64], left: usize, right: usize) -> usize {
    let (Some(left), Some(right)) = (items.get(left), items.get(right)) else { return 0 };
    let at = |(other, _): &(usize, f64)| positions.get(*other).copied().unwrap_or(0.0);
    let count = |left: &[(usize, f64)], right: &[(usize, f64)]| {
        left.iter().map(|l| right.iter().filter(|r| at(r) < at(l)).count()).sum::<usize>()
    };
    count(&left.up, &right.up) + count(&left.down, &right.down)
}

/// All crossings: inversions among the edges between neighbouring ranks.
fn crossings(items: &[Item], layers: &[Vec<usize>], positions: &[f64]) -> usize {
    let at = |index: usize| positions.get(index).copied().unwrap_or(0.0) as usize;
    let mut count = 0;
    for layer in layers {
        let mut ends: Vec<(usize, usize)> = Vec::new();
        for index in layer {
            let item = items.get(*index);
            let below = item.into_iter().flat_map(|item| &item.down);
            ends.extend(below.map(|(other, _)| (at(*index), at(*other))));
        }
        ends.sort_unstable();
        let size = ends.iter().map(|(_, to)| to + 1).max().unwrap_or(0);
        // A Fenwick tree of the ends seen so far.
        let mut tree = vec![0_usize; size + 1];
        for (seen, (_, to)) in ends.iter().enumerate() {
            let mut not_right = 0;
            let mut node = to + 1;
            while node > 0 {
                not_right += tree.get(node).copied().unwrap_or(0);
                node &= node - 1;
            }
            count += seen - not_right;
            let mut node = to + 1;
            while let Some(slot) = tree.get_mut(node) {
                *slot += 1;
                node += node & node.wrapping_neg();
            }
        }
    }
    count
}
