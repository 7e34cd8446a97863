//! Call trees: what flame graphs draw.
//!
//! Paths are sorted, so a tree is two walks with a stack of open nodes: the first
//! finds how wide a node must be to stay, the second builds only those. Memory is that
//! of the paths and of the wanted nodes, not of all nodes. The result is in preorder with
//! siblings sorted, so that it can be written, sent and drawn without pointers. Trees
//! above the wanted size keep their widest nodes; the rest of each is one `(other)`,
//! and [`CallTree::below`] builds what one of them holds.
//!
//! A node's width is what it takes in a picture: the larger of value and base, without
//! sign, of the stacks that end in it, plus the widths of its children. Values may be
//! negative and may cancel; widths do neither, so children always fill at most their
//! parent. Without a base and without negative values, width is value.

use std::cmp::Reverse;
use std::collections::HashSet;

use model::StrId;

use super::path_id::{PathId, frame_hashes};
use super::stacks::{Cell, FrameId, FrameName, Stacks};

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

/// Frames from the tree's root outward, and what the stack weighs.
pub(super) type Path<'a> = (&'a [FrameId], Cell);

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
        let root = no_file(stacks.strings.intern("root"));
        let other = stacks.strings.intern("(other)");
        let stacks = &*stacks;
        let paths: Vec<Path<'_>> =
            stacks.rows.iter().map(|row| (stacks.path(row), row.cell)).collect();
        match direction {
            Direction::Callees => CallTree::from_paths(stacks, paths, root, other, limit),
            Direction::Callers => CallTree::from_reversed(stacks, &paths, root, other, limit),
        }
    }

    /// Builds the tree of what lies below one node of the whole tree, that node being the
    /// root, without its `skip` widest children: what `(other)` stands for in a tree that
    /// shows those. `None` when no stack passes the node.
    pub fn below(stacks: &mut Stacks, node: PathId, skip: usize, limit: usize) -> Option<CallTree> {
        let root = stacks.strings.intern("root");
        let other = stacks.strings.intern("(other)");
        let stacks = &*stacks;
        let hashes = frame_hashes(stacks);
        let depth = |path: &[FrameId]| -> Option<usize> {
            let mut at = PathId::ROOT;
            for (depth, id) in path.iter().enumerate() {
                if at == node {
                    return Some(depth);
                }
                at = at.child(*hashes.get(id.0 as usize)?);
            }
            (at == node).then_some(path.len())
        };
        let mut frame = no_file(root);
        let mut paths = Vec::new();
        for row in &stacks.rows {
            let path = stacks.path(row);
            let Some((above, below)) = depth(path).and_then(|depth| path.split_at_checked(depth))
            else {
                continue;
            };
            if let Some(last) = above.last() {
                frame = stacks.frame(*last);
            }
            paths.push((below, row.cell));
        }
        if paths.is_empty() {
            return None;
        }
        skip_widest(&mut paths, skip);
        Some(CallTree::from_paths(stacks, paths, frame, other, limit))
    }

    /// Builds a tree of paths that are walked from their ends.
    pub(super) fn from_reversed(
        stacks: &Stacks,
        paths: &[Path<'_>],
        root: FrameName,
        other: StrId,
        limit: usize,
    ) -> CallTree {
        let reversed: Vec<Vec<FrameId>> =
            paths.iter().map(|(path, _)| path.iter().rev().copied().collect()).collect();
        let paths = reversed.iter().zip(paths).map(|(path, (_, cell))| (&path[..], *cell));
        CallTree::from_paths(stacks, paths.collect(), root, other, limit)
    }

    /// Builds a tree of paths.
    pub(super) fn from_paths(
        stacks: &Stacks,
        mut paths: Vec<Path<'_>>,
        root: FrameName,
        other: StrId,
        limit: usize,
    ) -> CallTree {
        sort(&mut paths);
        let mut ranks = Ranks::default();
        walk(&paths, &mut ranks);
        let cut = ranks.cut(limit.max(1));
        let stays = |node: &Open| cut.is_none_or(|cut| rank(node) < cut);
        let other = no_file(other);
        let mut builder = Builder { stacks, root, other, stays, drafts: Vec::new() };
        walk(&paths, &mut builder);
        let nodes = preorder(&builder.drafts);
        let kept = nodes.iter().filter(|node| node.frame != other).count();
        CallTree { merged: ranks.nodes.saturating_sub(kept), nodes }
    }
}

fn no_file(function: StrId) -> FrameName {
    FrameName { function, file: StrId(0), line: 0 }
}

fn weight(cell: Cell) -> u64 {
    cell.value.unsigned_abs().max(cell.base.unsigned_abs())
}

/// Drops the paths that begin with one of the widest first frames, in the order in
/// which trees keep children.
fn skip_widest(paths: &mut Vec<Path<'_>>, skip: usize) {
    if skip == 0 {
        return;
    }
    sort(paths);
    let mut children = Children::default();
    walk(paths, &mut children);
    children.0.sort_unstable();
    let skipped: HashSet<FrameId> = children.0.into_iter().take(skip).map(|(_, id)| id).collect();
    // Stacks that end at the node itself are no child's.
    paths.retain(|(path, _)| path.first().is_some_and(|first| !skipped.contains(first)));
}

fn sort(paths: &mut [Path<'_>]) {
    paths.sort_unstable_by(|a, b| a.0.cmp(b.0));
}

/// The children of the root.
#[derive(Default)]
struct Children(Vec<(Rank, FrameId)>);

impl Visit for Children {
    fn close(&mut self, node: Open, parent: Option<&mut Open>) {
        if let Some(frame) = node.frame
            && parent.is_some_and(|parent| parent.frame.is_none())
        {
            self.0.push((rank(&node), frame));
        }
    }
}

/// A node whose subtree is being walked.
#[derive(Default)]
struct Open {
    /// Index of the first path that passes it.
    first: u32,
    /// `None` for the root.
    frame: Option<FrameId>,
    own: Cell,
    total: Cell,
    /// Of the children so far; of all and of the node itself once it is closed.
    width: u64,
    /// Children that stay, as indices of drafts.
    children: Vec<u32>,
    /// Sum and widths of the children that do not.
    rest: Option<(Cell, u64)>,
}

/// What a walk over sorted paths does with each node once its subtree is done.
trait Visit {
    fn close(&mut self, node: Open, parent: Option<&mut Open>);
}

fn walk(paths: &[Path<'_>], visit: &mut impl Visit) {
    let mut open = vec![Open::default()];
    let mut before: &[FrameId] = &[];
    for (index, (path, cell)) in paths.iter().enumerate() {
        let shared = before.iter().zip(*path).take_while(|(a, b)| a == b).count();
        close_down_to(&mut open, shared + 1, visit);
        let more = path.get(shared..).unwrap_or(&[]);
        open.extend(more.iter().map(|id| Open {
            first: index as u32,
            frame: Some(*id),
            ..Open::default()
        }));
        if let Some(leaf) = open.last_mut() {
            leaf.own.add(*cell);
            leaf.total.add(*cell);
        }
        before = path;
    }
    close_down_to(&mut open, 0, visit);
}

fn close_down_to(open: &mut Vec<Open>, length: usize, visit: &mut impl Visit) {
    while open.len() > length {
        let Some(mut node) = open.pop() else { return };
        node.width = node.width.saturating_add(weight(node.own));
        let mut parent = open.last_mut();
        if let Some(parent) = &mut parent {
            parent.total.add(node.total);
            parent.width = parent.width.saturating_add(node.width);
        }
        visit.close(node, parent);
    }
}

/// Wider nodes come first, then those that the first paths pass: a parent comes before
/// its children, and what is kept of a node's children are its first in this order.
type Rank = (Reverse<u64>, u32);

fn rank(node: &Open) -> Rank {
    (Reverse(node.width), node.first)
}

/// The ranks of all nodes, in runs: most nodes have one child and share its rank.
#[derive(Default)]
struct Ranks {
    runs: Vec<(Rank, usize)>,
    nodes: usize,
}

impl Visit for Ranks {
    fn close(&mut self, node: Open, _parent: Option<&mut Open>) {
        self.nodes += 1;
        let rank = rank(&node);
        match self.runs.last_mut().filter(|run| run.0 == rank) {
            Some(run) => run.1 += 1,
            None => self.runs.push((rank, 1)),
        }
    }
}

impl Ranks {
    /// The first rank that has no place among `limit` nodes; `None` when all have.
    fn cut(&mut self, limit: usize) -> Option<Rank> {
        if self.nodes <= limit {
            return None;
        }
        self.runs.sort_unstable();
        let mut room = limit;
        self.runs.iter().find_map(|(rank, count)| match room.checked_sub(*count) {
            Some(left) => {
                room = left;
                None
            }
            None => Some(*rank),
        })
    }
}

/// A finished node.
struct Draft {
    frame: FrameName,
    own: Cell,
    total: Cell,
    width: u64,
    children: Vec<u32>,
}

struct Builder<'a, F> {
    stacks: &'a Stacks,
    root: FrameName,
    other: FrameName,
    stays: F,
    /// Children before their parents; the root is the last.
    drafts: Vec<Draft>,
}

impl<F: Fn(&Open) -> bool> Visit for Builder<'_, F> {
    fn close(&mut self, mut node: Open, parent: Option<&mut Open>) {
        let frame = node.frame.map_or(self.root, |id| self.stacks.frame(id));
        match parent {
            Some(parent) if !(self.stays)(&node) => {
                let (rest, width) = parent.rest.get_or_insert_default();
                rest.add(node.total);
                *width = width.saturating_add(node.width);
            }
            parent => {
                if let Some((rest, width)) = node.rest {
                    let (frame, children) = (self.other, Vec::new());
                    let other = Draft { frame, own: rest, total: rest, width, children };
                    node.children.push(self.push(other));
                }
                self.sort(&mut node.children);
                let Open { own, total, width, children, .. } = node;
                let at = self.push(Draft { frame, own, total, width, children });
                if let Some(parent) = parent {
                    parent.children.push(at);
                }
            }
        }
    }
}

impl<F> Builder<'_, F> {
    fn push(&mut self, draft: Draft) -> u32 {
        self.drafts.push(draft);
        self.drafts.len() as u32 - 1
    }

    /// Widest first; equal ones by name and line.
    fn sort(&self, children: &mut [u32]) {
        children.sort_by_cached_key(|index| {
            let draft = self.drafts.get(*index as usize);
            let size = draft.map_or(0, |draft| draft.width);
            let frame = draft.map(|draft| draft.frame);
            let text = |id: Option<StrId>| id.map_or("", |id| self.stacks.strings.get(id));
            let (name, file) = (text(frame.map(|f| f.function)), text(frame.map(|f| f.file)));
            (Reverse(size), name, frame.map_or(0, |frame| frame.line), file)
        });
    }
}

fn preorder(drafts: &[Draft]) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::with_capacity(drafts.len());
    let last = (drafts.len() as u32).saturating_sub(1);
    let mut stack = vec![(last, None, 0_u32)];
    while let Some((index, parent, depth)) = stack.pop() {
        let Some(draft) = drafts.get(index as usize) else { continue };
        let at = nodes.len() as u32;
        let Draft { frame, own, total, width, .. } = *draft;
        nodes.push(Node { parent, frame, own, total, width, depth });
        stack.extend(draft.children.iter().rev().map(|child| (*child, Some(at), depth + 1)));
    }
    nodes
}
