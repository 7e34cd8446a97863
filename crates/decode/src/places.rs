//! From an object's address to its number, for dumps that list objects in any order.
//!
//! An id of a Java dump is an address. So objects are sorted by them and found through a directory of
//! evenly spaced addresses: two bytes an object, and two cache misses a look-up where a
//! plain binary search has twenty.

use model::heap::ObjectId;

/// An object: its id and where its record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) at: u64,
}

/// All objects, ascending by id.
pub(crate) struct Index {
    pub(crate) places: Vec<Place>,
    /// How many ids there were twice; the first object was kept.
    pub(crate) duplicates: usize,
    base: u64,
    shift: u32,
    /// First object of each bucket, and the number of objects at the end.
    starts: Vec<u32>,
}

impl Index {
    /// The caller has made sure that there are fewer than 2^32.
    pub(crate) fn new(mut places: Vec<Place>) -> Index {
        if !places.is_sorted() {
            places.sort_unstable();
        }
        let before = places.len();
        places.dedup_by_key(|place| place.id);
        let duplicates = before - places.len();
        let base = places.first().map_or(0, |place| place.id);
        let span = places.last().map_or(0, |place| place.id - base);
        // Two at least: the widest span of ids, shifted as far as can be, is still 1.
        let buckets = (places.len() / 2).max(2) as u64;
        let mut shift = 0;
        while span >> shift >= buckets {
            shift += 1;
        }
        let mut starts = Vec::with_capacity((span >> shift) as usize + 2);
        for (number, place) in places.iter().enumerate() {
            let bucket = ((place.id - base) >> shift) as usize;
            while starts.len() <= bucket {
                starts.push(number as u32);
            }
        }
        starts.push(places.len() as u32);
        Index { places, duplicates, base, shift, starts }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// The object with an id.
    #[inline]
    pub(crate) fn find(&self, id: u64) -> Option<ObjectId> {
        let bucket = (id.checked_sub(self.base)? >> self.shift) as usize;
        let start = *self.starts.get(bucket)? as usize;
        let end = *self.starts.get(bucket + 1)? as usize;
        let within = self.places.get(start..end)?;
        let found = within.binary_search_by_key(&id, |place| place.id).ok()?;
        Some(ObjectId((start + found) as u32))
    }

    /// The last object that begins at an address or before it.
    #[inline]
    pub(crate) fn find_before(&self, address: u64) -> Option<ObjectId> {
        let bucket = (address.checked_sub(self.base)? >> self.shift) as usize;
        let last = self.starts.len().checked_sub(2)?;
        if bucket > last {
            return self.places.len().checked_sub(1).map(|found| ObjectId(found as u32));
        }
        let start = *self.starts.get(bucket)? as usize;
        let end = *self.starts.get(bucket + 1)? as usize;
        let within = self.places.get(start..end)?;
        let after = start + within.partition_point(|place| place.id <= address);
        after.checked_sub(1).map(|found| ObjectId(found as u32))
    }

    /// Where an object's record begins.
    pub(crate) fn at(&self, object: ObjectId) -> usize {
        self.places.get(object.index()).map_or(usize::MAX, |place| place.at as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::{Index, ObjectId, Place};

    #[test]
    fn ids_are_found_wherever_they_lie() {
        let ids: Vec<u64> =
            (0..1000).map(|i| 1 + i * i * 7).chain([u64::MAX, 5, 1 << 40]).collect();
        let places = ids.iter().enumerate().map(|(at, id)| Place { id: *id, at: at as u64 });
        let index = Index::new(places.collect());
        let mut sorted = ids;
        sorted.sort_unstable();
        for (number, id) in sorted.iter().enumerate() {
            assert_eq!(index.find(*id), Some(ObjectId(number as u32)));
            let next = id.saturating_add(1);
            assert_eq!(index.find(next).is_some(), sorted.contains(&next));
            assert_eq!(index.find_before(*id), Some(ObjectId(number as u32)));
            if number > 0 {
                let before = if sorted[number - 1] < id - 1 { id - 1 } else { sorted[number - 1] };
                assert_eq!(index.find_before(before), Some(ObjectId(number as u32 - 1)));
            }
        }
        assert_eq!(index.find(0), None);
        assert_eq!(index.find_before(0), None);
    }

    #[test]
    fn the_first_of_two_is_kept() {
        let place = |id, at| Place { id, at };
        let index = Index::new(vec![place(8, 30), place(4, 20), place(8, 10)]);
        assert_eq!((index.len(), index.duplicates), (2, 1));
        assert_eq!(index.find(8).map(|found| index.at(found)), Some(10));
    }
}
