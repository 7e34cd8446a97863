//! Sums of sizes over ranges of nodes, in little more than four bytes a node.

use model::heap::Objects;

use super::NONE;

/// Nodes in a block, as a power of two.
const BLOCK_BITS: usize = 8;

/// An object of this size is kept apart: what is left of a block then stays below 2^32.
const HUGE_BYTES: u64 = 1 << (32 - BLOCK_BITS);

/// Sizes of nodes in the order of their numbers, as sums.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    /// Bytes in the node's block before the node, huge objects left out.
    before: Vec<u32>,
    /// Bytes before each block.
    block: Vec<u64>,
    /// Huge objects: number, and the bytes of all up to and with it.
    huge: Vec<(u32, u64)>,
    /// All bytes but those of huge objects.
    total: u64,
}

impl Sizes {
    /// Takes the sizes of objects to where `number` says; objects without a number are
    /// left out, `nodes` is how many numbers there are.
    pub(super) fn of(objects: &Objects<'_>, number: &[u32], nodes: usize) -> Sizes {
        let mut sizes = Sizes { before: vec![0; nodes], ..Sizes::default() };
        objects.each_size(|object, bytes| {
            let at = number.get(object.index()).copied().unwrap_or(NONE);
            if bytes >= HUGE_BYTES && at != NONE {
                sizes.huge.push((at, bytes));
            } else if let Some(slot) = sizes.before.get_mut(at as usize) {
                *slot = bytes as u32;
            }
        });
        sizes.huge.sort_unstable();
        let mut sum = 0;
        for (_, bytes) in &mut sizes.huge {
            sum = bytes.wrapping_add(sum);
            *bytes = sum;
        }
        for block in sizes.before.chunks_mut(1 << BLOCK_BITS) {
            sizes.block.push(sizes.total);
            let mut sum = 0;
            for slot in block {
                sum += std::mem::replace(slot, sum);
            }
            sizes.total = sizes.total.wrapping_add(u64::from(sum));
        }
        sizes
    }

    /// Bytes of the nodes from one number up to another. Sums wrap where a file has absurd
    /// sizes; their differences are right all the same while they are below 2^64.
    #[inline]
    pub(super) fn between(&self, start: u32, end: u32) -> u64 {
        self.before(end).wrapping_sub(self.before(start))
    }

    /// Bytes of all nodes with a lower number.
    #[inline]
    fn before(&self, number: u32) -> u64 {
        let Some(in_block) = self.before.get(number as usize) else {
            return self.total.wrapping_add(self.huge.last().map_or(0, |huge| huge.1));
        };
        let block = self.block.get(number as usize >> BLOCK_BITS).copied().unwrap_or(0);
        block.wrapping_add(u64::from(*in_block)).wrapping_add(self.huge_before(number))
    }

    #[inline]
    fn huge_before(&self, number: u32) -> u64 {
        let count = self.huge.partition_point(|huge| huge.0 < number);
        count.checked_sub(1).and_then(|last| self.huge.get(last)).map_or(0, |huge| huge.1)
    }
}

#[cfg(test)]
mod tests {
    use model::heap::{Listed, Objects};

    use super::{HUGE_BYTES, Sizes};

    #[test]
    fn sums_are_exact_beyond_32_bits() {
        let bytes: Vec<u64> = (0..2000_u64)
            .map(|index| match index % 7 {
                0 => HUGE_BYTES * (index + 1),
                1 => HUGE_BYTES,
                _ => HUGE_BYTES - 1,
            })
            .collect();
        let listed = Listed {
            address: (0..2000).map(|index| index << 40).collect::<Vec<_>>().into(),
            bytes: bytes.clone().into(),
        };
        // In reverse, with a hole for a node that is no object.
        let number: Vec<u32> = (0..2000).rev().map(|n| if n < 1000 { n } else { n + 1 }).collect();
        let sizes = Sizes::of(&Objects::Listed(listed), &number, 2001);
        let mut by_number = vec![0; 2001];
        number.iter().zip(&bytes).for_each(|(at, bytes)| by_number[*at as usize] = *bytes);
        let mut sum = 0_u64;
        for (at, bytes) in by_number.iter().enumerate() {
            assert_eq!(sizes.before(at as u32), sum, "{at}");
            sum += bytes;
        }
        assert_eq!(sizes.before(2001), sum);
    }
}
