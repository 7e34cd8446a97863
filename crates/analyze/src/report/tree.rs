//! Call trees: what flame graphs draw.
//!
//! Building is one hash lookup a frame. The result is in preorder with siblings
//! sorted, so that it can be written, sent and drawn without pointers. Trees above
//! the wanted size keep their widest nodes; the rest of each is one `(other)`.
//!
//! A node's width is what it takes in a picture: the larger of value and base, without
//! sign, of the stacks that end in it, plus the widths of its children. Values may be
//! negative and may cancel; widths do neither, so children always fill at most their
//! parent. Without a base and without negative values, width is value.

use std::collections::HashMap;

use model::StrId;

use super::stacks::{Cell, FrameName, Stacks};

/// A node; its parent lies before it.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Index of the parent; `None` for the root.
    pub parent: Option<u32>,
    /// What is called.
    pub frame: FrameName,
    /// Value of stacks that end here.
    pub own: Cell,
    /// Value of stacks that pass here.
    pub total: Cell,
    /// Width in a picture: its own share and its children's widths.
    pub width: u64,
    /// Distance from the root.
    pub depth: u32,
}

/// A call tree in preorder; the first node is the root of all.
#[derive(Clone, Debug, Default)]
pub struct CallTree {
    /// Nodes in preorder, siblings widest first.
    pub nodes: Vec<Node>,
    /// Nodes that were merged into `(other)`.
    pub merged: usize,
}

/// A node while the tree is built.
struct Draft {
    parent: u32,
    frame: FrameName,
    own: Cell,
    total: Cell,
    width: u64,
    children: Vec<u32>,
}

/// Which way a tree is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From what is called first to what is called last.
    Callees,
    /// From what is called last to what called it: equal leaves become one.
    Callers,
}

impl CallTree {
    /// Builds the tree of whole stacks with at most about `limit` nodes.
    pub fn build(stacks: &mut Stacks, limit: usize) -> CallTree {
        CallTree::directed(stacks, Direction::Callees, limit)
    }

    /// As [`CallTree::build`], in either direction.
    pub fn directed(stacks: &mut Stacks, direction: Direction, limit: usize) -> CallTree {
        let root = stacks.strings.intern("root");
        let other = stacks.strings.intern("(other)");
        let stacks = &*stacks;
        let path = |row| stacks.path(row).iter().map(|id| stacks.frame(*id));
        let rows = stacks.rows.iter();
        match direction {
            Direction::Callees => {
                let paths = rows.map(|row| (path(row), row.cell));
                CallTree::from_paths(stacks, paths, root, other, limit)
            }
            Direction::Callers => {
                let paths = rows.map(|row| (path(row).rev(), row.cell));
                CallTree::from_paths(stacks, paths, root, other, limit)
            }
        }
    }

    /// Builds a tree of paths, root first.
    pub(super) fn from_paths<P: Iterator<Item = FrameName>>(
        stacks: &Stacks,
        paths: impl Iterator<Item = (P, Cell)>,
        root: StrId,
        other: StrId,
        limit: usize,
    ) -> CallTree {
        let no_file = |function| FrameName { function, file: StrId(0), line: 0 };
        let mut drafts = vec![draft(0, no_file(root))];
        let mut index: HashMap<(u32, FrameName), u32> = HashMap::new();
        for (path, cell) in paths {
            let mut at = 0;
            if let Some(root) = drafts.first_mut() {
                root.total.add(cell);
            }
            for frame in path {
                let next = *index.entry((at, frame)).or_insert_with(|| {
                    drafts.push(draft(at, frame));
                    drafts.len() as u32 - 1
                });
                let Some(node) = drafts.get_mut(next as usize) else { break };
                node.total.add(cell);
                at = next;
            }
            if let Some(leaf) = drafts.get_mut(at as usize) {
                leaf.own.add(cell);
            }
        }
        measure(&mut drafts);
        let merged = merge_small(&mut drafts, no_file(other), limit);
        link_children(&mut drafts, stacks);
        CallTree { nodes: preorder(&drafts), merged }
    }
}

fn draft(parent: u32, frame: FrameName) -> Draft {
    let (own, total) = (Cell::default(), Cell::default());
    Draft { parent, frame, own, total, width: 0, children: Vec::new() }
}

/// Gives every node its width. Parents lie before their children.
fn measure(drafts: &mut [Draft]) {
    for index in (0..drafts.len()).rev() {
        let Some(node) = drafts.get_mut(index) else { continue };
        let own = node.own.value.unsigned_abs().max(node.own.base.unsigned_abs());
        node.width = node.width.saturating_add(own);
        let (parent, width) = (node.parent as usize, node.width);
        if index > 0
            && let Some(parent) = drafts.get_mut(parent)
        {
            parent.width = parent.width.saturating_add(width);
        }
    }
}

/// Marks a node that was merged away.
const GONE: u32 = u32::MAX;

/// Merges the narrowest nodes until about `limit` are left; returns how many went.
fn merge_small(drafts: &mut Vec<Draft>, other: FrameName, limit: usize) -> usize {
    if drafts.len() <= limit.max(1) {
        return 0;
    }
    let mut widths: Vec<u64> = drafts.iter().map(|node| node.width).collect();
    let at = widths.len() - limit.max(1);
    let (_, threshold, _) = widths.select_nth_unstable(at);
    let threshold = *threshold;
    // Parents lie before children, so one pass sees a parent's fate first. A narrow
    // child of a kept parent is the top of a merged subtree.
    let mut is_kept = Vec::with_capacity(drafts.len());
    let mut others: HashMap<u32, (Cell, u64)> = HashMap::new();
    for (index, node) in drafts.iter().enumerate() {
        let has_parent = is_kept.get(node.parent as usize).copied().unwrap_or(false);
        let keep = index == 0 || (has_parent && node.width > threshold);
        is_kept.push(keep);
        if !keep && has_parent {
            let (total, width) = others.entry(node.parent).or_default();
            total.add(node.total);
            *width = width.saturating_add(node.width);
        }
    }
    let merged = is_kept.iter().filter(|keep| !**keep).count();
    for (node, keep) in drafts.iter_mut().zip(&is_kept) {
        if !keep {
            node.parent = GONE;
        }
    }
    let mut others: Vec<(u32, (Cell, u64))> = others.into_iter().collect();
    others.sort_by_key(|(parent, _)| *parent);
    for (parent, (total, width)) in others {
        drafts.push(Draft { own: total, total, width, ..draft(parent, other) });
    }
    merged
}

fn link_children(drafts: &mut [Draft], stacks: &Stacks) {
    let mut children: Vec<(u32, u32)> = drafts
        .iter()
        .enumerate()
        .skip(1)
        .filter(|(_, node)| node.parent != GONE)
        .map(|(index, node)| (node.parent, index as u32))
        .collect();
    let key = |index: u32| {
        let node = drafts.get(index as usize);
        let size = node.map_or(0, |node| node.width);
        let name = node.map_or("", |node| stacks.strings.get(node.frame.function));
        let line = node.map_or(0, |node| node.frame.line);
        (std::cmp::Reverse(size), name, line)
    };
    children.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| key(a.1).cmp(&key(b.1))));
    for (parent, child) in children {
        if let Some(parent) = drafts.get_mut(parent as usize) {
            parent.children.push(child);
        }
    }
}

fn preorder(drafts: &[Draft]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::with_capacity(drafts.len());
    let mut stack = vec![(0_u32, None, 0_u32)];
    while let Some((index, parent, depth)) = stack.pop() {
        let Some(draft) = drafts.get(index as usize) else { continue };
        let at = nodes.len() as u32;
        let Draft { frame, own, total, width, .. } = *draft;
        nodes.push(Node { parent, frame, own, total, width, depth });
        stack.extend(draft.children.iter().rev().map(|child| (*child, Some(at), depth + 1)));
    }
    nodes
}
