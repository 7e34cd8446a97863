//! What is known of single objects beside their pointers. It is noted while memory is
//! at hand, so that questions about waste need no contents afterwards.

use super::{Column, ObjectId};

/// Which part of each array the slices and strings that point into it use.
///
/// One entry an array that any typed slice or string was seen to point to, by object.
/// Offsets are bytes from the start of the object, at most 2^32 - 1.
#[derive(Clone, Debug, Default)]
pub struct Extents<'a> {
    /// The arrays, ascending.
    pub object: Column<'a, u32>,
    /// The lowest byte any of them starts at.
    pub low: Column<'a, u32>,
    /// The end of the furthest length.
    pub used: Column<'a, u32>,
    /// The end of the furthest capacity.
    pub capacity: Column<'a, u32>,
}

impl Extents<'_> {
    pub(super) fn check(&self, objects: usize) -> bool {
        let count = self.object.len();
        self.low.len() == count
            && self.used.len() == count
            && self.capacity.len() == count
            && self.object.is_sorted_by(|a, b| a < b)
            && self.object.last().is_none_or(|last| (*last as usize) < objects)
    }
}

/// What can be more or less full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FillKind {
    /// A map: entries and slots.
    Map,
    /// A channel: elements in its buffer and its size.
    Channel,
    /// A list: elements and the size of its array.
    List,
}

/// How full a map, a channel or a list is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The map or channel.
    pub object: ObjectId,
    /// What it is.
    pub kind: FillKind,
    /// Elements in it.
    pub used: u64,
    /// Elements it has room for.
    pub capacity: u64,
    /// Bytes an element takes.
    pub element_bytes: u64,
}

/// Fingerprints of the bytes that strings use, to find equal ones. The hash is seeded anew
/// for each snapshot: it tells equal texts, not which texts.
#[derive(Clone, Debug, Default)]
pub struct Texts<'a> {
    /// The objects, ascending.
    pub object: Column<'a, u32>,
    /// Length of the text.
    pub bytes: Column<'a, u32>,
    /// Its fingerprint.
    pub hash: Column<'a, u64>,
}

impl Texts<'_> {
    pub(super) fn check(&self, objects: usize) -> bool {
        let count = self.object.len();
        self.bytes.len() == count
            && self.hash.len() == count
            && self.object.is_sorted_by(|a, b| a < b)
            && self.object.last().is_none_or(|last| (*last as usize) < objects)
    }
}

/// Where a sampled object was allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllocatedAt {
    /// The object.
    pub object: ObjectId,
    /// Index into the graph's stacks.
    pub stack: u32,
}

/// Bytes of objects, where the snapshot keeps them.
#[derive(Clone, Debug, Default)]
pub struct Contents<'a> {
    /// The objects, ascending.
    pub object: Column<'a, u32>,
    /// Where the bytes of each begin, and their number at the end.
    pub start: Column<'a, u64>,
    /// The bytes.
    pub bytes: Column<'a, u8>,
}

impl Contents<'_> {
    /// The bytes of an object, if they were kept.
    pub fn of(&self, object: ObjectId) -> Option<&[u8]> {
        let index = self.object.binary_search(&object.0).ok()?;
        let (start, end) = (*self.start.get(index)?, *self.start.get(index + 1)?);
        self.bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    pub(super) fn check(&self, objects: usize) -> bool {
        let count = self.object.len();
        (count == 0 && self.start.len() <= 1 && self.bytes.is_empty())
            || (self.start.len() == count + 1
                && self.start.is_sorted()
                && self.start.last() == Some(&(self.bytes.len() as u64))
                && self.object.is_sorted_by(|a, b| a < b)
                && self.object.last().is_none_or(|last| (*last as usize) < objects))
    }
}
