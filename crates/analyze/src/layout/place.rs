//! Horizontal places: each item near its neighbours, in order, without overlap.

use super::{Item, NODE_GAP};

/// Sweeps over all ranks.
const SWEEPS: usize = 40;

/// The centre of each item.
pub(super) fn place(items: &[Item], layers: &mut [Vec<usize>]) -> Vec<f64> {
    let mut xs = vec![0.0; items.len()];
    for layer in layers.iter() {
        let wanted = vec![0.0; layer.len()];
        set(&mut xs, layer, &spread(items, layer, &wanted, &vec![1.0; layer.len()]));
    }
    for sweep in 0..SWEEPS {
        let walk: Vec<usize> = match sweep % 2 {
            0 => (0..layers.len()).collect(),
            _ => (0..layers.len()).rev().collect(),
        };
        // The last sweeps look at both sides, so that nothing is left askew.
        let looks_both = sweep + 6 > SWEEPS;
        for rank in walk {
            let Some(layer) = layers.get(rank) else { continue };
            let (wanted, pulls) = wishes(items, layer, &xs, sweep % 2 == 0, looks_both);
            set(&mut xs, layer, &spread(items, layer, &wanted, &pulls));
        }
    }
    let lefts = items.iter().zip(&xs).map(|(item, x)| x - item.size.width / 2.0);
    let left = lefts.fold(f64::MAX, f64::min);
    xs.iter_mut().for_each(|x| *x -= left);
    xs
}

fn set(xs: &mut [f64], layer: &[usize], places: &[f64]) {
    for (index, place) in layer.iter().zip(places) {
        xs.iter_mut().skip(*index).take(1).for_each(|x| *x = *place);
    }
}

/// Where each item wants to be and how strongly.
fn wishes(
    items: &[Item],
    layer: &[usize],
    xs: &[f64],
    looks_up: bool,
    looks_both: bool,
) -> (Vec<f64>, Vec<f64>) {
    let mut wanted = Vec::with_capacity(layer.len());
    let mut pulls = Vec::with_capacity(layer.len());
    for index in layer {
        let own = xs.get(*index).copied().unwrap_or(0.0);
        let Some(item) = items.get(*index) else { continue };
        let up = item.up.iter().filter(|_| looks_up || looks_both);
        let down = item.down.iter().filter(|_| !looks_up || looks_both);
        let (mut sum, mut pull) = (0.0, 0.0);
        for (other, weight) in up.chain(down) {
            sum += xs.get(*other).copied().unwrap_or(0.0) * weight;
            pull += weight;
        }
        wanted.push(if pull > 0.0 { sum / pull } else { own });
        pulls.push(if pull > 0.0 { pull } else { 0.01 });
    }
    (wanted, pulls)
}

/// The places closest to the wanted ones, in squares, that keep order and distance.
fn spread(items: &[Item], layer: &[usize], wanted: &[f64], pulls: &[f64]) -> Vec<f64> {
    let width = |index: usize| items.get(index).map_or(0.0, |item| item.size.width);
    let mut offsets = Vec::with_capacity(layer.len());
    let mut offset = 0.0;
    let mut last: Option<usize> = None;
    for &index in layer {
        if let Some(last) = last {
            offset += f64::midpoint(width(last), width(index)) + NODE_GAP;
        }
        offsets.push(offset);
        last = Some(index);
    }
    // Blocks of items that stand as close as they may: mean, weight, count.
    let mut blocks: Vec<(f64, f64, usize)> = Vec::new();
    for ((wanted, pull), offset) in wanted.iter().zip(pulls).zip(&offsets) {
        let mut block = (wanted - offset, *pull, 1);
        while let Some(&(mean, weight, count)) = blocks.last() {
            if mean <= block.0 {
                break;
            }
            blocks.pop();
            let total = weight + block.1;
            block = ((mean * weight + block.0 * block.1) / total, total, count + block.2);
        }
        blocks.push(block);
    }
    let means = blocks.iter().flat_map(|(mean, _, count)| std::iter::repeat_n(*mean, *count));
    means.zip(&offsets).map(|(mean, offset)| mean + offset).collect()
}
