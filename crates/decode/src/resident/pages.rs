//! Which pages of each mapping are resident.

use std::ops::Range;

use model::rss::RssBytes;

use crate::procfs::{MemoryMap, PAGE_BYTES, PageEntry};

/// Size of a transparent huge page on amd64, and on arm64 with pages of 4 KiB.
const HUGE_BYTES: u64 = 2 << 20;

/// A mapping and its resident pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResidentMap {
    /// The mapping.
    pub map: MemoryMap,
    /// Its pages.
    pub pages: Pages,
}

/// Resident pages of a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pages {
    /// None or all, by the mapping's own figure.
    Uniform,
    /// These.
    Some(PageBits),
    /// Nobody knows which.
    Unknown,
}

/// A bit a page. Counting the pages of a range costs the same for any range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageBits {
    words: Vec<u64>,
    /// How many pages are resident before each word.
    ranks: Vec<u32>,
    /// Aligned blocks of the size of a huge page of which all pages are resident.
    full_blocks: Vec<u64>,
}

/// Takes the entries of a pagemap, in order.
#[derive(Debug, Default)]
pub struct PageReader {
    pages: usize,
    present: Vec<u64>,
    zero: Vec<u64>,
    found: u64,
}

impl PageReader {
    /// Takes the next entry.
    pub fn push(&mut self, entry: PageEntry) {
        if self.pages.is_multiple_of(64) {
            self.present.push(0);
            self.zero.push(0);
        }
        let bit = self.pages % 64;
        if let (Some(present), Some(zero)) = (self.present.last_mut(), self.zero.last_mut()) {
            *present |= u64::from(entry.is_present()) << bit;
            *zero |= u64::from(entry.may_be_zero_page()) << bit;
        }
        self.found += u64::from(entry.is_present());
        self.pages += 1;
    }

    /// The pages of `map`, of which all entries were taken.
    ///
    /// A page that was read but never written shows in a pagemap and is no resident memory:
    /// it is the kernel's page of zeros. As many pages that may be it are left out as there
    /// are more pages than the mapping has resident.
    pub fn finish(mut self, map: &MemoryMap) -> PageBits {
        let mut extra = self.found.saturating_sub(map.rss_bytes / PAGE_BYTES);
        for (present, zero) in self.present.iter_mut().zip(&mut self.zero) {
            while extra > 0 && *zero != 0 {
                let bit = *zero & zero.wrapping_neg();
                *zero ^= bit;
                *present ^= bit;
                extra -= 1;
            }
        }
        PageBits::new(self.present, map)
    }
}

impl PageBits {
    fn new(words: Vec<u64>, map: &MemoryMap) -> PageBits {
        let mut sum = 0_u32;
        let ranks = words.iter().map(|word| {
            let before = sum;
            sum = sum.saturating_add(word.count_ones());
            before
        });
        let mut bits = PageBits { ranks: ranks.collect(), words, full_blocks: Vec::new() };
        if map.huge_bytes > 0 {
            let start = map.mapping.start;
            let first = start.checked_next_multiple_of(HUGE_BYTES).unwrap_or(start);
            let blocks = (first..map.mapping.end).step_by(HUGE_BYTES as usize);
            let per_block = HUGE_BYTES / PAGE_BYTES;
            let is_full = |at: &u64| {
                let page = (at - start) / PAGE_BYTES;
                bits.count(page, page + per_block) == per_block
            };
            bits.full_blocks = blocks.filter(is_full).collect();
        }
        bits
    }

    /// How many of the pages `from..to` are resident.
    fn count(&self, from: u64, to: u64) -> u64 {
        self.rank(to).saturating_sub(self.rank(from))
    }

    fn rank(&self, page: u64) -> u64 {
        let index = (page / 64) as usize;
        let Some((word, rank)) = self.words.get(index).zip(self.ranks.get(index)) else {
            let last = self.words.last().zip(self.ranks.last());
            return last.map_or(0, |(word, rank)| u64::from(rank + word.count_ones()));
        };
        let below = word & ((1 << (page % 64)) - 1);
        u64::from(rank + below.count_ones())
    }

    /// Resident bytes of `range`, whose addresses are counted from the mapping's start.
    fn bytes(&self, range: Range<u64>) -> u64 {
        let (first, last) = (range.start / PAGE_BYTES, range.end / PAGE_BYTES);
        let has = |page: u64| self.count(page, page + 1);
        if first == last {
            return has(first) * (range.end - range.start);
        }
        let head = range.start % PAGE_BYTES;
        let whole = self.count(first, last) * PAGE_BYTES;
        whole - has(first) * head + has(last) * (range.end % PAGE_BYTES)
    }
}

impl ResidentMap {
    /// All resident bytes.
    pub(super) fn total(&self) -> RssBytes {
        self.resident(&(self.map.mapping.start..self.map.mapping.end))
    }

    /// Resident bytes of a range, as far as it lies in the mapping. Of unknown pages none
    /// are known to be.
    pub(super) fn resident(&self, range: &Range<u64>) -> RssBytes {
        let (start, end) = (self.map.mapping.start, self.map.mapping.end);
        let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
        if from >= to {
            return RssBytes::default();
        }
        match &self.pages {
            Pages::Uniform if self.map.rss_bytes == 0 => RssBytes::default(),
            Pages::Uniform => {
                let huge_bytes = if self.map.huge_bytes > 0 { to - from } else { 0 };
                RssBytes { bytes: to - from, huge_bytes }
            }
            Pages::Unknown => RssBytes::default(),
            Pages::Some(bits) => RssBytes {
                bytes: bits.bytes(from - start..to - start),
                huge_bytes: bits.huge(from, to),
            },
        }
    }
}

impl PageBits {
    /// Bytes of `from..to` that lie in blocks that may be huge pages.
    fn huge(&self, from: u64, to: u64) -> u64 {
        let first = self.full_blocks.partition_point(|at| at + HUGE_BYTES <= from);
        let blocks = self.full_blocks.iter().skip(first).take_while(|at| **at < to);
        blocks.map(|at| to.min(at + HUGE_BYTES) - from.max(*at)).sum()
    }
}

#[cfg(test)]
mod tests {
    use model::rss::RssBytes;

    use super::{HUGE_BYTES, PageReader, Pages, ResidentMap};
    use crate::procfs::{MemoryMap, PageEntry, smaps};

    fn map(text: &str) -> MemoryMap {
        smaps(text).remove(0)
    }

    fn resident(map: MemoryMap, entries: impl IntoIterator<Item = u64>) -> ResidentMap {
        let mut reader = PageReader::default();
        entries.into_iter().for_each(|entry| reader.push(PageEntry(entry)));
        let pages = Pages::Some(reader.finish(&map));
        ResidentMap { map, pages }
    }

    const PRESENT: u64 = 1 << 63 | 1 << 56;

    #[test]
    fn parts_of_pages_count_by_bytes() {
        let entries = (0..100).map(|page| if page % 3 == 0 { PRESENT } else { 0 });
        let map = resident(map("10000-74000 rw-p 00000000 00:00 0\nRss: 136 kB\n"), entries);
        let check = |start: u64, end: u64| {
            let slow = (start..end).filter(|at| (at - 0x10000) / 4096 % 3 == 0).count() as u64;
            assert_eq!(map.resident(&(start..end)).bytes, slow, "{start:#x} {end:#x}");
        };
        let points = [0x10000, 0x10001, 0x10fff, 0x11000, 0x13800, 0x4ffff, 0x50000, 0x74000];
        for start in points {
            points.iter().filter(|end| **end > start).for_each(|end| check(start, *end));
        }
        assert_eq!(map.total(), RssBytes { bytes: 34 * 4096, huge_bytes: 0 });
        assert_eq!(map.resident(&(0..0x10010)).bytes, 0x10);
        assert_eq!(map.resident(&(0x74000..0x80000)).bytes, 0);
    }

    #[test]
    fn pages_of_zeros_are_left_out_as_far_as_the_mapping_says() {
        let zero = 1 << 63;
        let text = "10000-14000 rw-p 00000000 00:00 0\nRss: 8 kB\n";
        let found = resident(map(text), [PRESENT, zero, zero, PRESENT]);
        assert_eq!(found.resident(&(0x11000..0x13000)).bytes, 0);
        assert_eq!(found.total().bytes, 8192);
        // Pages that processes share look the same, and are resident.
        let text = text.replace("8 kB", "16 kB");
        assert_eq!(resident(map(&text), [PRESENT, zero, zero, PRESENT]).total().bytes, 16384);
    }

    #[test]
    fn full_blocks_may_be_huge() {
        let text = "400000-a00000 rw-p 00000000 00:00 0\nRss: 4100 kB\nAnonHugePages: 4096 kB\n";
        let entries = (0..1536).map(|page| if page < 1025 { PRESENT } else { 0 });
        let found = resident(map(text), entries);
        assert_eq!(found.total().huge_bytes, 2 * HUGE_BYTES);
        assert_eq!(found.resident(&(0x500000..0x900000)).huge_bytes, 3 << 20);
    }
}
