//! SEMI-NCA: semidominators by path compression, then immediate dominators as nearest
//! common ancestors (Georgiadis, Tarjan, Werneck: Finding Dominators in Practice, 2006).
//!
//! All in numbers of the depth-first search. A node is linked to its parent exactly when
//! its number is above the one at hand, so the array of parents serves as the forest of
//! path compression, and the tree itself is kept as two bits a node until it is needed.
//!
//! Climbing to the common ancestor takes a few steps in most heaps and as many as there are
//! nodes in some: a long list whose values something else holds too. Where it does, nodes
//! get a second pointer that jumps, and a climb takes a logarithm of steps.
#![expect(clippy::indexing_slicing, reason = "parents and arcs are numbers of the same search")]

use super::NONE;
use super::arcs::Arcs;

/// Immediate dominators, all by search number; the root's is 0.
///
/// Takes the parents and the other arcs of a depth-first search. Needs 12.4 bytes a node
/// and 4.1 an arc.
pub(super) fn immediate_dominators(parent: Vec<u32>, mut arcs: Arcs) -> Vec<u32> {
    let shape = Shape::of(&parent);
    let mut semi = parent.clone();
    let mut forest = Forest { ancestor: parent, label: semi.clone() };
    for node in (1..semi.len() as u32).rev() {
        let mut best = semi[node as usize];
        while let Some(source) = arcs.next_source() {
            best = best.min(forest.least(source, node));
        }
        semi[node as usize] = best;
        forest.label[node as usize] = best;
    }
    drop(forest);
    drop(arcs);
    // From here on `semi` holds immediate dominators up to the node at hand.
    let mut climb = Climb::new(semi.len());
    shape.each_parent(|node, parent| {
        let dominator = climb.find(&semi[..node as usize], parent, semi[node as usize]);
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

/// Finds common ancestors in the dominator tree while that grows.
struct Climb {
    /// Steps that may still be taken one by one.
    steps_left: usize,
    /// Made once they are used up.
    jumps: Option<Jumps>,
}

/// Steps a node to spend on plain climbing: about what making the jumps costs.
const STEPS: usize = 8;

impl Climb {
    fn new(nodes: usize) -> Climb {
        Climb { steps_left: nodes.saturating_mul(STEPS), jumps: None }
    }

    /// The first number up to `bound` on the way up from `from`; `above` holds immediate
    /// dominators, of every node before the one that is asked for.
    #[inline]
    fn find(&mut self, above: &[u32], from: u32, bound: u32) -> u32 {
        if let Some(jumps) = &mut self.jumps {
            return jumps.find(above, from, bound);
        }
        let mut at = from;
        while at > bound {
            if self.steps_left == 0 {
                let mut jumps = Jumps::default();
                at = jumps.find(above, at, bound);
                self.jumps = Some(jumps);
                return at;
            }
            self.steps_left -= 1;
            at = above[at as usize];
        }
        at
    }
}

/// Jump pointers (Myers: An applicative random-access stack, 1983): each node points to
/// its parent or to where two jumps of equal length lead.
#[derive(Default)]
struct Jumps {
    jump: Vec<u32>,
    depth: Vec<u32>,
}

impl Jumps {
    fn find(&mut self, above: &[u32], from: u32, bound: u32) -> u32 {
        while self.jump.len() < above.len() {
            self.push(above);
        }
        let mut at = from;
        while at > bound {
            let jump = self.jump[at as usize];
            at = if jump >= bound { jump } else { above[at as usize] };
        }
        at
    }

    /// Adds the next node.
    fn push(&mut self, above: &[u32]) {
        let node = self.jump.len();
        if node == 0 {
            self.jump.push(0);
            self.depth.push(0);
            return;
        }
        let parent = above[node];
        let jump = self.jump[parent as usize];
        let far = self.jump[jump as usize];
        let depth = |node: u32| self.depth[node as usize];
        let is_even = depth(parent) - depth(jump) == depth(jump) - depth(far);
        let own_depth = depth(parent) + 1;
        self.jump.push(if is_even { far } else { parent });
        self.depth.push(own_depth);
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
    use super::{Climb, Jumps, Shape};
    use crate::heap::tests::Chance;

    /// With steps to spare, without, and when they run out on the way.
    #[test]
    fn climbs_end_where_single_steps_do() {
        let mut chance = Chance(5);
        for round in 0..200_u64 {
            let count = 2 + chance.below(300) as usize;
            let reach = 1 + chance.below(if round % 2 == 0 { 2 } else { 300 });
            let mut above = vec![0_u32];
            for node in 1..count as u64 {
                above.push((node - 1 - chance.below(reach.min(node))) as u32);
            }
            for steps_left in [0, 1, 40, usize::MAX] {
                let mut climb = Climb { steps_left, jumps: None };
                for end in 1..=count {
                    let from = chance.below(end as u64) as u32;
                    let bound = chance.below(u64::from(from) + 1) as u32;
                    let mut expected = from;
                    while expected > bound {
                        expected = above[expected as usize];
                    }
                    assert_eq!(climb.find(&above[..end], from, bound), expected);
                }
            }
        }
    }

    /// On a path of a million nodes no climb takes more than some logarithms of steps.
    #[test]
    fn jumps_are_long() {
        let above: Vec<u32> = (0..1_000_000_u32).map(|node| node.saturating_sub(1)).collect();
        let mut jumps = Jumps::default();
        assert_eq!(jumps.find(&above, 999_999, 5), 5);
        let mut chance = Chance(6);
        for _ in 0..1000 {
            let from = chance.below(1_000_000) as u32;
            let bound = chance.below(u64::from(from) + 1) as u32;
            let (mut at, mut steps) = (from, 0);
            while at > bound {
                let jump = jumps.jump[at as usize];
                at = if jump >= bound { jump } else { at - 1 };
                steps += 1;
            }
            assert_eq!(at, bound);
            assert!(steps <= 60, "{steps} from {from} to {bound}");
        }
    }

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
