//! Pointers beside a search tree, in the order in which dominators ask for them.
#![expect(clippy::indexing_slicing, reason = "places are counted from the same arcs")]

/// The sources of all arcs, from those of the last target to those of the first.
///
/// Four bytes an arc, a bit more for each of them and each node.
pub(super) struct Arcs {
    /// Two sources a word, by target: packed where the arcs were.
    sources: Vec<u64>,
    left: usize,
    /// A 0 for each node, and after it a 1 for each of its arcs.
    shape: Vec<u64>,
    bit: usize,
}

impl Arcs {
    /// Takes arcs as number of the target in the upper and of the source in the lower half.
    pub(super) fn of(mut arcs: Vec<u64>, nodes: usize) -> Arcs {
        arcs.sort_unstable();
        let left = arcs.len();
        let bit = nodes + left;
        let mut shape = vec![0_u64; bit.div_ceil(64)];
        for (index, arc) in arcs.iter().enumerate() {
            let place = (arc >> 32) as usize + 1 + index;
            shape[place / 64] |= 1 << (place % 64);
        }
        for index in 0..left {
            let source = arcs[index] & u64::from(u32::MAX);
            arcs[index / 2] = match index % 2 {
                0 => source,
                _ => arcs[index / 2] | source << 32,
            };
        }
        arcs.truncate(left.div_ceil(2));
        arcs.shrink_to_fit();
        Arcs { sources: arcs, left, shape, bit }
    }

    /// The next source of the node at hand, the last node at first; `None` once there are no
    /// more, and then the node before it is at hand.
    #[inline]
    pub(super) fn next_source(&mut self) -> Option<u32> {
        self.bit = self.bit.checked_sub(1)?;
        if self.shape[self.bit / 64] >> (self.bit % 64) & 1 == 0 {
            return None;
        }
        self.left -= 1;
        Some((self.sources[self.left / 2] >> (self.left % 2 * 32)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::Arcs;
    use crate::heap::tests::Chance;

    #[test]
    fn arcs_come_back_by_target() {
        let mut chance = Chance(7);
        for round in 0..200_u64 {
            let nodes = 1 + chance.below(100);
            let arc = |chance: &mut Chance| chance.below(nodes) << 32 | chance.below(nodes);
            let arcs: Vec<u64> =
                (0..chance.below(2 * round + 1)).map(|_| arc(&mut chance)).collect();
            let mut packed = Arcs::of(arcs.clone(), nodes as usize);
            let mut found = Vec::new();
            for node in (0..nodes).rev() {
                while let Some(source) = packed.next_source() {
                    found.push(node << 32 | u64::from(source));
                }
            }
            let mut expected = arcs;
            expected.sort_unstable_by(|a, b| b.cmp(a));
            assert_eq!(found, expected);
            assert_eq!(packed.next_source(), None);
        }
    }
}
