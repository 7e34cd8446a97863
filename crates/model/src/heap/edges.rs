//! Pointers between objects, as compressed rows of 32-bit numbers.

use super::{Column, ObjectId};

/// What every object points to: rows of one array.
///
/// Where a row starts is a 32-bit number counted from the start of the object's block of
/// 65,536 objects, so that more than 2^32 pointers cost no more than few.
#[derive(Clone, Debug, Default)]
pub struct Edges<'a> {
    /// First pointer of each object within its block, and one more at the end.
    pub first: Column<'a, u32>,
    /// First pointer of each block.
    pub block: Column<'a, u64>,
    /// The objects that are pointed to.
    pub target: Column<'a, u32>,
    /// Where in the pointing object the pointer lies, in units of `slot_bytes`.
    pub slot: Column<'a, u32>,
}

/// Objects in a block, as a power of two.
pub(super) const BLOCK_BITS: u32 = 16;

impl Edges<'_> {
    /// Where the pointers of the object with this index lie in `target` and `slot`.
    #[inline]
    pub fn range(&self, index: usize) -> std::ops::Range<usize> {
        self.start(index)..self.start(index + 1)
    }

    #[inline]
    fn start(&self, index: usize) -> usize {
        let first = self.first.get(index).copied().unwrap_or(0) as u64;
        let block = self.block.get(index >> BLOCK_BITS).copied().unwrap_or(0);
        (block + first) as usize
    }

    /// What an object points to.
    #[inline]
    pub fn targets(&self, object: ObjectId) -> &[u32] {
        self.target.get(self.range(object.index())).unwrap_or(&[])
    }

    /// What an object points to, with the slot of each pointer.
    pub fn of(&self, object: ObjectId) -> impl Iterator<Item = (u32, ObjectId)> + '_ {
        let range = self.range(object.index());
        let slots = self.slot.get(range.clone()).unwrap_or(&[]);
        let targets = self.target.get(range).unwrap_or(&[]);
        slots.iter().copied().zip(targets.iter().map(|target| ObjectId(*target)))
    }

    /// How many pointers there are.
    pub fn len(&self) -> usize {
        self.target.len()
    }

    /// Reports whether nothing points to anything.
    pub fn is_empty(&self) -> bool {
        self.target.is_empty()
    }

    pub(super) fn check(&self, objects: usize) -> bool {
        let blocks = (objects >> BLOCK_BITS) + 1;
        self.first.len() == objects + 1
            && self.block.len() == blocks
            && self.block.iter().all(|start| *start <= self.target.len() as u64)
            && self.slot.len() == self.target.len()
            && self.start(0) == 0
            && (0..objects).all(|index| self.start(index) <= self.start(index + 1))
            && self.start(objects) == self.target.len()
            && self.target.iter().all(|target| (*target as usize) < objects)
    }
}

impl Edges<'static> {
    /// No object yet.
    pub fn empty() -> Edges<'static> {
        Edges { first: vec![0].into(), block: vec![0].into(), ..Edges::default() }
    }

    /// Appends a pointer of the object that [`Edges::end_object`] will end.
    pub fn push(&mut self, slot: u32, target: ObjectId) {
        self.slot.to_mut().push(slot);
        self.target.to_mut().push(target.0);
    }

    /// Ends the row of the next object in id order.
    pub fn end_object(&mut self) {
        let (ended, end) = (self.first.len(), self.target.len() as u64);
        let first = Edges::end_row(self.block.to_mut(), ended, end);
        self.first.to_mut().push(first);
    }

    /// For whoever fills the columns himself: what stands in `first` at index `ended`, the
    /// number of rows that have ended, when the last ended at `end`. Call it for one row
    /// after the other; `block` begins with a zero.
    pub fn end_row(block: &mut Vec<u64>, ended: usize, end: u64) -> u32 {
        if ended & ((1 << BLOCK_BITS) - 1) == 0 {
            block.push(end);
        }
        let start = block.last().copied().unwrap_or(0);
        // 65,536 objects with 2^32 pointers are 34 GB of nothing but pointers.
        u32::try_from(end - start).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_BITS, Edges};
    use crate::heap::ObjectId;

    #[test]
    fn rows_end_where_the_next_begins() {
        let objects = (2 << BLOCK_BITS) + 3;
        let mut edges = Edges::empty();
        for index in 0..objects {
            for slot in 0..index % 3 {
                edges.push(slot, ObjectId(index / 2));
            }
            edges.end_object();
        }
        assert!(edges.check(objects as usize));
        for index in 0..objects {
            let expected = vec![index / 2; (index % 3) as usize];
            assert_eq!(edges.targets(ObjectId(index)), expected, "{index}");
            assert!(edges.of(ObjectId(index)).map(|(slot, _)| slot).eq(0..index % 3));
        }
    }

    #[test]
    fn what_points_outside_is_refused() {
        let mut edges = Edges::empty();
        edges.push(0, ObjectId(1));
        edges.end_object();
        assert!(!edges.check(1));
        edges.end_object();
        assert!(edges.check(2));
    }
}
