//! SEMI-NCA: semidominators by path compression, then immediate dominators as nearest
//! common ancestors (Georgiadis, Tarjan, Werneck: Finding Dominators in Practice, 2006).
//!
//! All in numbers of the depth-first search. A node is linked to its parent exactly when
//! its number is above the one at hand, so the array of parents serves as the forest of
//! path compression, and the tree itself is kept as two bits a node until it is needed.
#![expect(clippy::indexing_slicing, reason = "parents and arcs are numbers of the same search")]

use super::NONE;

/// Immediate dominators, all by search number; the root's is 0.
///
/// Takes the parents and the other arcs of a depth-first search. Needs 12.25 bytes a node
/// and the arcs.
pub(super) fn immediate_dominators(parent: Vec<u32>, mut arcs: Vec<u64>) -> Vec<u32> {
    arcs.sort_unstable();
    let shape = Shape::of(&parent);
    let mut semi = parent.clone();
    let mut forest = Forest { ancestor: parent, label: semi.clone() };
    for node in (1..semi.len() as u32).rev() {
        let mut best = semi[node as usize];
        while let Some(source) = arcs.pop_if(|arc| (*arc >> 32) as u32 == node) {
            best = best.min(forest.least(source as u32, node));
        }
        semi[node as usize] = best;
        forest.label[node as usize] = best;
    }
    drop(forest);
    drop(arcs);
    // From here on `semi` holds immediate dominators up to the node at hand.
    shape.each_parent(|node, parent| {
        let bound = semi[node as usize];
        let mut dominator = parent;
        while dominator > bound {
            dominator = semi[dominator as usize];
        }
        semi[node as usize] = dominator;
    });
    semi
}

/// The part of the search tree that is linked so far, compressed.
struct Forest {
    ancestor: Vec<u32>,
    /// The least semidominator between the ancestor, exclusive, and the node.
    label: Vec<u32>,
}

impl Forest {
    /// What an arc from `source` adds to the semidominator of `node`: the source itself
    /// where it comes first, else the least semidominator on its linked path.
    ///
    /// Climbs by turning the path around, so that paths of millions need no stack.
    #[inline]
    fn least(&mut self, source: u32, node: u32) -> u32 {
        if source < node {
            return source;
        }
        let (mut at, mut below) = (source, NONE);
        while self.ancestor[at as usize] > node {
            let up = std::mem::replace(&mut self.ancestor[at as usize], below);
            (at, below) = (up, at);
        }
        let top = self.ancestor[at as usize];
        let mut best = self.label[at as usize];
        while below != NONE {
            at = below;
            below = std::mem::replace(&mut self.ancestor[at as usize], top);
            best = best.min(self.label[at as usize]);
            self.label[at as usize] = best;
        }
        best
    }
}

/// A tree whose nodes are numbered in preorder, as bits: a 0 for each step up, a 1 for a
/// node.
struct Shape {
    words: Vec<u64>,
}

impl Shape {
    fn of(parent: &[u32]) -> Shape {
        let mut words = vec![0_u64; (parent.len() * 2).div_ceil(64)];
        let mut path = vec![0_u32];
        let mut bit = 0_usize;
        for (node, parent) in parent.iter().enumerate().skip(1) {
            while path.last().is_some_and(|last| last != parent) {
                path.pop();
                bit += 1;
            }
            words[bit / 64] |= 1 << (bit % 64);
            bit += 1;
            path.push(node as u32);
        }
        Shape { words }
    }

    /// Calls `visit` with every node but the root and its parent, in order.
    fn each_parent(&self, mut visit: impl FnMut(u32, u32)) {
        let mut path = vec![0_u32];
        let mut node = 0;
        for word in &self.words {
            let mut rest = *word;
            let mut left = 64;
            while rest != 0 {
                let ups = rest.trailing_zeros();
                path.truncate(path.len().saturating_sub(ups as usize));
                node += 1;
                visit(node, path.last().copied().unwrap_or(0));
                path.push(node);
                // Two shifts, as one by 64 is not defined.
                rest = rest >> ups >> 1;
                left -= ups + 1;
            }
            path.truncate(path.len().saturating_sub(left as usize));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;

    #[test]
    fn a_tree_comes_back_from_its_bits() {
        let check = |parent: &[u32]| {
            let mut seen = vec![0];
            Shape::of(parent).each_parent(|node, parent| {
                assert_eq!(node as usize, seen.len());
                seen.push(parent);
            });
            assert_eq!(seen, parent);
        };
        check(&[0]);
        check(&[0, 0]);
        check(&[0, 0, 1, 2, 3, 1, 0, 6]);
        // A path, then a step from its end to the root, across words.
        for depth in 1..300 {
            let mut parent: Vec<u32> = (0..depth).map(|node: u32| node.saturating_sub(1)).collect();
            parent.extend([0, 0, depth + 1, 0]);
            check(&parent);
        }
    }
}
