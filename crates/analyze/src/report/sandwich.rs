//! One function in the middle: who calls it, and what it calls.

use super::stacks::{FrameName, Stacks};
use super::tree::CallTree;

/// Callers above, callees below; both trees have the function as their root.
#[derive(Clone, Debug)]
pub struct Sandwich {
    /// From the function outward to the roots.
    pub callers: CallTree,
    /// From the function inward to the leaves.
    pub callees: CallTree,
}

/// Cuts every stack at the outermost frame of `function`, so that recursion counts
/// once; `None` when no stack has it.
pub fn sandwich(stacks: &mut Stacks, function: &str, limit: usize) -> Option<Sandwich> {
    let wanted = stacks.strings.lookup(function)?;
    let other = stacks.strings.intern("(other)");
    let stacks = &*stacks;
    let cut: Vec<(usize, &super::Row)> = stacks
        .rows
        .iter()
        .filter_map(|row| {
            let is_wanted = |id: &super::FrameId| stacks.frame(*id).function == wanted;
            stacks.path(row).iter().position(is_wanted).map(|at| (at, row))
        })
        .collect();
    if cut.is_empty() {
        return None;
    }
    let part = |row: &super::Row, range: std::ops::Range<usize>| -> Vec<FrameName> {
        let path = stacks.path(row).get(range).unwrap_or(&[]);
        path.iter().map(|id| stacks.frame(*id)).collect()
    };
    let callers = cut.iter().map(|(at, row)| (part(row, 0..*at).into_iter().rev(), row.cell));
    let callees = cut
        .iter()
        .map(|(at, row)| (part(row, at + 1..stacks.path(row).len()).into_iter(), row.cell));
    Some(Sandwich {
        callers: CallTree::from_paths(stacks, callers, wanted, other, limit),
        callees: CallTree::from_paths(stacks, callees, wanted, other, limit),
    })
}
