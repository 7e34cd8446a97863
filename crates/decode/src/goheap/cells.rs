//! Columns that have a value an object or a pointer, while they are filled. How long they
//! will be is known before, so that none grows: a vector that grows holds everything twice.

use std::ops::{Deref, DerefMut};

use bytemuck::Pod;
use model::heap::{Column, Extents, ObjectId};

/// Lends memory for large columns, such as parts of a file that is mapped: what the graph of
/// a large heap takes then needs no memory that only swap could relieve.
pub trait Lender<'s> {
    /// So many words, all zero; `None` when there is no room for them.
    fn lend(&self, words: usize) -> Option<&'s mut [u64]>;
}

/// Who lends, if anybody does.
pub(super) type Lent<'l, 's> = Option<&'l dyn Lender<'s>>;

/// Smaller columns are not worth a file.
const LENT_BYTES_MIN: usize = 1 << 20;

/// A column that is being filled.
pub(super) enum Cells<'s, T> {
    Own(Vec<T>),
    Lent(&'s mut [T]),
}

impl<'s, T: Pod> Cells<'s, T> {
    /// So many zeros.
    pub(super) fn zeros(count: usize, lender: Lent<'_, 's>) -> Cells<'s, T> {
        let bytes = count.saturating_mul(size_of::<T>());
        let lend = || {
            let words = lender.filter(|_| bytes >= LENT_BYTES_MIN)?.lend(bytes.div_ceil(8))?;
            bytemuck::try_cast_slice_mut(words).ok()?.get_mut(..count)
        };
        match lend() {
            Some(lent) => Cells::Lent(lent),
            None => Cells::Own(vec![T::zeroed(); count]),
        }
    }

    /// Sets a value; what lies outside is left out.
    #[inline]
    pub(super) fn set(&mut self, index: usize, value: T) {
        if let Some(cell) = self.get_mut(index) {
            *cell = value;
        }
    }

    /// The first `count` values as a column.
    pub(super) fn into_column(self, count: usize) -> Column<'s, T> {
        match self {
            Cells::Own(mut values) => {
                values.truncate(count);
                values.into()
            }
            Cells::Lent(values) => values.get(..count).unwrap_or_default().into(),
        }
    }
}

impl<T> Deref for Cells<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Cells::Own(values) => values,
            Cells::Lent(values) => values,
        }
    }
}

impl<T> DerefMut for Cells<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Cells::Own(values) => values,
            Cells::Lent(values) => values,
        }
    }
}

/// What slices and strings use of arrays, for any object: three numbers each.
pub(super) struct ExtentCells<'s> {
    is_known: Vec<u64>,
    /// Low, used and capacity end of each object.
    ends: Cells<'s, u32>,
}

impl<'s> ExtentCells<'s> {
    /// Nothing is known of so many objects.
    pub(super) fn new(objects: usize, lender: Lent<'_, 's>) -> ExtentCells<'s> {
        let is_known = vec![0; objects.div_ceil(64)];
        ExtentCells { is_known, ends: Cells::zeros(objects * 3, lender) }
    }

    /// Widens what is known of an array.
    #[inline]
    pub(super) fn add(&mut self, object: ObjectId, [low, used, capacity]: [u32; 3]) {
        let index = object.index();
        let known = self.is_known.get_mut(index / 64);
        let ends = self.ends.get_mut(index * 3..).and_then(|ends| ends.first_chunk_mut());
        let (Some(known), Some(ends)) = (known, ends) else { return };
        let bit = 1 << (index % 64);
        *ends = match (*known & bit != 0, *ends) {
            (true, [l, u, c]) => [low.min(l), used.max(u), capacity.max(c)],
            (false, _) => [low, used, capacity],
        };
        *known |= bit;
    }

    /// Those of the arrays alone.
    pub(super) fn into_columns(self, lender: Lent<'_, 's>) -> Extents<'s> {
        let count = self.is_known.iter().map(|word| word.count_ones() as usize).sum();
        let [mut objects, mut lows, mut useds, mut capacities] =
            std::array::from_fn(|_| Cells::zeros(count, lender));
        let mut at = 0;
        for (index, word) in self.is_known.iter().enumerate() {
            let mut left = *word;
            while left != 0 {
                let object = index * 64 + left.trailing_zeros() as usize;
                left &= left - 1;
                let ends = self.ends.get(object * 3..).and_then(|ends| ends.first_chunk());
                let [low, used, capacity] = ends.copied().unwrap_or_default();
                objects.set(at, object as u32);
                lows.set(at, low);
                useds.set(at, used);
                capacities.set(at, capacity);
                at += 1;
            }
        }
        Extents {
            object: objects.into_column(count),
            low: lows.into_column(count),
            used: useds.into_column(count),
            capacity: capacities.into_column(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::{Cells, ExtentCells, Lender};
    use model::heap::ObjectId;

    /// Lends what it was given, once.
    struct One<'s>(RefCell<Option<&'s mut [u64]>>);

    impl<'s> Lender<'s> for One<'s> {
        fn lend(&self, words: usize) -> Option<&'s mut [u64]> {
            self.0.take()?.get_mut(..words)
        }
    }

    #[test]
    fn large_columns_are_lent_as_long_as_there_is_room() {
        let mut room = vec![0; 200_001];
        let one = One(RefCell::new(Some(&mut room)));
        let mut first = Cells::<u32>::zeros(400_001, Some(&one));
        let second = Cells::<u32>::zeros(400_001, Some(&one));
        assert!(matches!((&first, &second), (Cells::Lent(_), Cells::Own(_))));
        assert_eq!((first.len(), second.len()), (400_001, 400_001));
        first.set(2, 7);
        first.set(400_001, 7);
        let column = first.into_column(3);
        assert_eq!((&*column, &*second.into_column(1)), (&[0, 0, 7][..], &[0][..]));
    }

    #[test]
    fn extents_are_widened_and_in_order() {
        let mut extents = ExtentCells::new(200, None);
        extents.add(ObjectId(130), [8, 16, 32]);
        extents.add(ObjectId(3), [0, 0, 0]);
        extents.add(ObjectId(130), [4, 12, 40]);
        extents.add(ObjectId(200), [1, 2, 3]);
        let columns = extents.into_columns(None);
        assert_eq!(&*columns.object, [3, 130]);
        assert_eq!((&*columns.low, &*columns.used), (&[0, 4][..], &[0, 16][..]));
        assert_eq!(&*columns.capacity, [0, 40]);
    }
}
