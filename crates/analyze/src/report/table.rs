//! Functions with their flat and cumulative values, and who calls whom.

use std::collections::HashMap;

use model::StrId;

use super::noise::Noise;
use super::stacks::{Cell, FrameId, Stacks};

/// A function's row.
#[derive(Clone, Copy, Debug)]
pub struct FunctionRow {
    /// Name.
    pub function: StrId,
    /// File of its first frame seen.
    pub file: StrId,
    /// Line of its first frame seen.
    pub line: u32,
    /// Allocated by the function itself.
    pub flat: Cell,
    /// Allocated by it and what it calls; recursion counts once.
    pub cum: Cell,
    /// How certain `flat` is.
    pub flat_noise: Noise,
    /// How certain `cum` is.
    pub cum_noise: Noise,
}

/// Value along a call from one function to another.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// The other function.
    pub function: StrId,
    /// Value of the stacks that contain the call, each once.
    pub cell: Cell,
}

/// All functions, largest flat value (largest change in a diff) first.
pub fn functions(stacks: &Stacks) -> Vec<FunctionRow> {
    let mut index: HashMap<StrId, usize> = HashMap::new();
    let mut rows: Vec<(FunctionRow, usize)> = Vec::new();
    for (number, row) in stacks.rows.iter().enumerate() {
        let path = stacks.path(row);
        for (depth, id) in path.iter().enumerate() {
            let frame = stacks.frame(*id);
            let at = *index.entry(frame.function).or_insert_with(|| {
                let (function, file, line) = (frame.function, frame.file, frame.line);
                let (flat, cum) = (Cell::default(), Cell::default());
                let (flat_noise, cum_noise) = (Noise::default(), Noise::default());
                let new = FunctionRow { function, file, line, flat, cum, flat_noise, cum_noise };
                rows.push((new, usize::MAX));
                rows.len() - 1
            });
            let Some((function, seen_in)) = rows.get_mut(at) else { continue };
            if depth + 1 == path.len() {
                function.flat.add(row.cell);
                function.flat_noise.add(row.noise);
            }
            if *seen_in != number {
                *seen_in = number;
                function.cum.add(row.cell);
                function.cum_noise.add(row.noise);
            }
        }
    }
    let mut rows: Vec<FunctionRow> = rows.into_iter().map(|(row, _)| row).collect();
    let name = |row: &FunctionRow| stacks.strings.get(row.function);
    rows.sort_by(|a, b| {
        let size = |cell: Cell| cell.delta().unsigned_abs();
        let by_flat = size(b.flat).cmp(&size(a.flat));
        by_flat.then(size(b.cum).cmp(&size(a.cum))).then_with(|| name(a).cmp(name(b)))
    });
    rows
}

/// Callers and callees of every function, largest first.
pub fn neighbours(stacks: &Stacks) -> HashMap<StrId, (Vec<Edge>, Vec<Edge>)> {
    let mut edges: HashMap<(StrId, StrId), (Cell, usize)> = HashMap::new();
    for (number, row) in stacks.rows.iter().enumerate() {
        for pair in stacks.path(row).windows(2) {
            let &[caller, callee] = pair else { continue };
            let function = |id: FrameId| stacks.frame(id).function;
            let edge = edges.entry((function(caller), function(callee)));
            let (cell, seen_in) = edge.or_insert((Cell::default(), usize::MAX));
            if *seen_in != number {
                *seen_in = number;
                cell.add(row.cell);
            }
        }
    }
    let mut all: HashMap<StrId, (Vec<Edge>, Vec<Edge>)> = HashMap::new();
    for ((caller, callee), (cell, _)) in edges {
        all.entry(callee).or_default().0.push(Edge { function: caller, cell });
        all.entry(caller).or_default().1.push(Edge { function: callee, cell });
    }
    for (callers, callees) in all.values_mut() {
        for edges in [callers, callees] {
            edges.sort_by(|a, b| {
                let by_size = b.cell.delta().unsigned_abs().cmp(&a.cell.delta().unsigned_abs());
                let name = |edge: &Edge| stacks.strings.get(edge.function);
                by_size.then_with(|| name(a).cmp(name(b)))
            });
        }
    }
    all
}
