//! A process's memory as bytes at hand: a core file, or a copy of a frozen process.

use std::borrow::Cow;

use model::Addr;

use super::memory::{Memory, MemoryError};

/// Ranges of memory in address order. Reading costs a binary search and no copy.
#[derive(Clone, Debug, Default)]
pub struct MemoryImage<'a> {
    ranges: Vec<(Addr, &'a [u8])>,
}

impl<'a> MemoryImage<'a> {
    /// An image of these ranges; where two overlap, the one that starts first counts.
    pub fn new(mut ranges: Vec<(Addr, &'a [u8])>) -> MemoryImage<'a> {
        ranges.retain(|(_, bytes)| !bytes.is_empty());
        ranges.sort_by_key(|(start, _)| *start);
        MemoryImage { ranges }
    }

    /// The bytes from `addr` to the end of their range.
    #[inline]
    pub fn tail(&self, addr: Addr) -> Option<&'a [u8]> {
        let index = self.ranges.partition_point(|(start, _)| *start <= addr).checked_sub(1)?;
        let (start, bytes) = self.ranges.get(index)?;
        bytes.get(usize::try_from(addr.0 - start.0).ok()?..).filter(|tail| !tail.is_empty())
    }

    /// An image of parts of one file, each as its first address and its place in the file.
    /// Neighbours in both become one range, so that what spans them needs no copy: the
    /// kernel splits a heap's mappings wherever their advice differs.
    pub fn of_file(file: &'a [u8], mut parts: Vec<(Addr, std::ops::Range<usize>)>) -> Self {
        parts.sort_by_key(|(start, _)| *start);
        let mut merged: Vec<(Addr, std::ops::Range<usize>)> = Vec::new();
        for (start, place) in parts {
            match merged.last_mut() {
                Some((first, last))
                    if last.end == place.start
                        && first.checked_add(last.len() as u64) == Some(start) =>
                {
                    last.end = place.end;
                }
                _ => merged.push((start, place)),
            }
        }
        let bytes = |(start, place)| Some((start, file.get(place)?));
        MemoryImage::new(merged.into_iter().filter_map(bytes).collect())
    }

    /// `len` bytes at `addr`, if one range holds them all.
    #[inline]
    pub fn slice(&self, addr: Addr, len: u64) -> Option<&'a [u8]> {
        self.tail(addr)?.get(..usize::try_from(len).ok()?)
    }

    /// The same where several ranges lie end to end; those are copied.
    pub fn joined(&self, addr: Addr, len: u64) -> Option<Cow<'a, [u8]>> {
        if let Some(bytes) = self.slice(addr, len) {
            return Some(Cow::Borrowed(bytes));
        }
        // Nothing is allocated for what is not there.
        let end = addr.checked_add(len)?;
        let mut at = addr;
        while at < end {
            at = at.checked_add(self.tail(at)?.len() as u64)?;
        }
        self.read_vec(addr, usize::try_from(len).ok()?).ok().map(Cow::Owned)
    }

    /// How many bytes of memory there are.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// The ranges.
    pub fn ranges(&self) -> &[(Addr, &'a [u8])] {
        &self.ranges
    }
}

impl Memory for MemoryImage<'_> {
    fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError> {
        let (mut at, mut rest) = (addr, buffer);
        // What lies in two neighbouring ranges is joined.
        while !rest.is_empty() {
            let tail = self.tail(at).ok_or(MemoryError::Unmapped(at))?;
            let count = tail.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(tail.get(..count).unwrap_or(&[]));
            at = at.checked_add(count as u64).ok_or(MemoryError::Unmapped(at))?;
            rest = later;
        }
        Ok(())
    }
}

/// A thread's registers when its process was frozen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThreadRegisters {
    /// The kernel's thread id, which the runtime notes in `m.procid`.
    pub thread: u32,
    /// Instruction pointer.
    pub pc: Addr,
    /// Stack pointer.
    pub sp: Addr,
    /// All general registers, in no order that matters: each may hold a pointer.
    pub general: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::{Memory, MemoryImage};
    use model::Addr;

    #[test]
    fn ranges_are_joined_and_gaps_are_errors() {
        let (first, second, third) = ([1; 16], [2; 8], [3; 8]);
        let ranges = vec![(Addr(48), &third[..]), (Addr(16), &first[..]), (Addr(32), &second[..])];
        let image = MemoryImage::new(ranges);
        let mut buffer = [0; 4];
        image.read(Addr(30), &mut buffer).unwrap();
        assert_eq!(buffer, [1, 1, 2, 2]);
        assert!(image.read(Addr(38), &mut buffer).is_err());
        assert!(image.read(Addr(15), &mut buffer).is_err());
        assert!(image.read(Addr(u64::MAX), &mut buffer).is_err());
        assert_eq!(image.slice(Addr(48), 8), Some(&third[..]));
        assert_eq!(image.slice(Addr(30), 4), None);
        assert_eq!(image.joined(Addr(30), 4).as_deref(), Some(&[1, 1, 2, 2][..]));
        assert_eq!(image.joined(Addr(30), 1 << 50), None);
    }

    #[test]
    fn neighbours_in_a_file_are_one_range() {
        let file: Vec<u8> = (0..64).collect();
        let parts = vec![(Addr(24), 16..32), (Addr(8), 0..16), (Addr(40), 40..48)];
        let image = MemoryImage::of_file(&file, parts);
        assert_eq!(image.ranges().len(), 2);
        assert_eq!(image.slice(Addr(20), 8), Some(&file[12..20]));
        assert_eq!(image.joined(Addr(38), 4).as_deref(), Some(&[30, 31, 40, 41][..]));
    }
}
