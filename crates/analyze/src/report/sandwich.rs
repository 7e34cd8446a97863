//! One function in the middle: who calls it, and what it calls.

use super::stacks::{FrameId, FrameName, Stacks};
use super::tree::{CallTree, Path};

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
    let is_wanted = |id: &FrameId| stacks.frame(*id).function == wanted;
    let mut callers: Vec<Path<'_>> = Vec::new();
    let mut callees: Vec<Path<'_>> = Vec::new();
    for row in &stacks.rows {
        let path = stacks.path(row);
        let at = path.iter().position(is_wanted);
        let Some((before, rest)) = at.and_then(|at| path.split_at_checked(at)) else { continue };
        callers.push((before, row.cell));
        callees.push((rest.get(1..).unwrap_or(&[]), row.cell));
    }
    if callees.is_empty() {
        return None;
    }
    let root = FrameName { function: wanted, file: model::StrId(0), line: 0 };
    Some(Sandwich {
        callers: CallTree::from_reversed(stacks, &callers, root, other, limit),
        callees: CallTree::from_paths(stacks, callees, root, other, limit),
    })
}
