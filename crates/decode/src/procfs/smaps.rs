//! /proc/PID/smaps and /proc/PID/pagemap: which mappings and which pages are resident.
//!
//! Source: Documentation/filesystems/proc.rst, Documentation/admin-guide/mm/pagemap.rst.

use super::Mapping;

/// A mapping of /proc/PID/smaps. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryMap {
    /// What is mapped.
    pub mapping: Mapping,
    /// Resident.
    pub rss_bytes: u64,
    /// Of that its share, where others have the same pages.
    pub pss_bytes: u64,
    /// Of that in transparent huge pages.
    pub huge_bytes: u64,
    /// Of that freed by MADV_FREE.
    pub lazy_free_bytes: u64,
    /// Swapped out.
    pub swap_bytes: u64,
}

/// Parses /proc/PID/smaps; unknown lines are skipped.
pub fn smaps(text: &str) -> Vec<MemoryMap> {
    let mut maps: Vec<MemoryMap> = Vec::new();
    for line in text.lines() {
        // Fields begin with a capital letter, mappings with a hexadecimal digit in lower case.
        if !line.starts_with(|first: char| first.is_ascii_uppercase()) {
            maps.extend(super::mapping(line).map(MemoryMap::new));
            continue;
        }
        let Some((map, (key, value))) = maps.last_mut().zip(line.split_once(':')) else { continue };
        let field = match key {
            "Rss" => &mut map.rss_bytes,
            "Pss" => &mut map.pss_bytes,
            "AnonHugePages" => &mut map.huge_bytes,
            "LazyFree" => &mut map.lazy_free_bytes,
            "Swap" => &mut map.swap_bytes,
            _ => continue,
        };
        let number = value.trim().strip_suffix(" kB").and_then(|number| number.parse().ok());
        *field = number.and_then(|kib: u64| kib.checked_mul(1024)).unwrap_or(0);
    }
    maps.retain(|map| map.mapping.start < map.mapping.end);
    maps
}

impl MemoryMap {
    fn new(mapping: Mapping) -> MemoryMap {
        MemoryMap {
            mapping,
            rss_bytes: 0,
            pss_bytes: 0,
            huge_bytes: 0,
            lazy_free_bytes: 0,
            swap_bytes: 0,
        }
    }
}

/// An entry of /proc/PID/pagemap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageEntry(pub u64);

impl PageEntry {
    /// The page is in memory.
    pub fn is_present(self) -> bool {
        self.0 >> 63 != 0
    }

    /// The page may be the one page of zeros that all processes share and that counts as
    /// nobody's resident memory: neither of a file nor mapped by this process alone.
    pub fn may_be_zero_page(self) -> bool {
        self.is_present() && self.0 >> 61 & 1 == 0 && self.0 >> 56 & 1 == 0
    }
}

/// Pages of a pagemap are of this size.
pub const PAGE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::{PageEntry, smaps};

    #[test]
    fn maps_have_their_own_fields() {
        let text = "c000000000-c000400000 rw-p 00000000 00:00 0 \n\
                    Rss:                2048 kB\nAnonHugePages:      2048 kB\nSwap: 4 kB\n\
                    VmFlags: rd wr mr mw me ac \n\
                    7f00-7f10 r--p 00001000 fe:00 77   /a b (deleted)\nRss: 4 kB\nPss: x kB\n\
                    20-10 rw-p 00000000 00:00 0\nRss: 4 kB\n";
        let maps = smaps(text);
        assert_eq!(maps.len(), 2);
        assert_eq!(maps[0].mapping.start, 0xc0_0000_0000);
        let found = (maps[0].rss_bytes, maps[0].huge_bytes, maps[0].swap_bytes);
        assert_eq!(found, (2 << 20, 2 << 20, 4096));
        assert_eq!((maps[1].mapping.path.as_str(), maps[1].rss_bytes), ("/a b (deleted)", 4096));
        assert_eq!(maps[1].pss_bytes, 0);
        assert_eq!(smaps("Rss: 4 kB\n"), []);
    }

    #[test]
    fn zero_pages_are_present_and_nobodys() {
        assert!(PageEntry(1 << 63).may_be_zero_page());
        assert!(!PageEntry(1 << 63 | 1 << 56).may_be_zero_page());
        assert!(!PageEntry(1 << 63 | 1 << 61).may_be_zero_page());
        assert!(!PageEntry(1 << 62).is_present());
    }
}
