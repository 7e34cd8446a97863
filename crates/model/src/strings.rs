//! An append-only table of distinct strings in one allocation.

use ahash::{AHashMap, RandomState};

/// Index of a string in a [`StringTable`]. Id 0 is always the empty string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StrId(pub u32);

/// Distinct strings, stored end to end; costs four bytes and a hash entry a
/// string beside the text.
#[derive(Clone, Debug)]
pub struct StringTable {
    text: String,
    ends: Vec<u32>,
    ids_by_hash: AHashMap<u64, Vec<StrId>>,
    hasher: RandomState,
}

impl Default for StringTable {
    fn default() -> Self {
        let mut table = StringTable {
            text: String::new(),
            ends: Vec::new(),
            ids_by_hash: AHashMap::new(),
            hasher: RandomState::new(),
        };
        table.intern("");
        table
    }
}

impl StringTable {
    /// Returns the id of `text`, adding it when it is new.
    ///
    /// # Panics
    /// When the table would exceed 4 GiB; decoders bound their input far below.
    pub fn intern(&mut self, text: &str) -> StrId {
        let hash = self.hasher.hash_one(text);
        if let Some(id) = self.find(hash, text) {
            return id;
        }
        let id = StrId(u32::try_from(self.ends.len()).expect("fewer than 2^32 strings"));
        self.text.push_str(text);
        self.ends.push(u32::try_from(self.text.len()).expect("string table below 4 GiB"));
        self.ids_by_hash.entry(hash).or_default().push(id);
        id
    }

    /// Returns the id of `text` if it is in the table.
    pub fn lookup(&self, text: &str) -> Option<StrId> {
        self.find(self.hasher.hash_one(text), text)
    }

    /// Returns the string with this id, or the empty string for a foreign id.
    pub fn get(&self, id: StrId) -> &str {
        let index = id.0 as usize;
        let start = if index == 0 { 0 } else { self.ends.get(index - 1).copied().unwrap_or(0) };
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.text.get(start as usize..end as usize).unwrap_or("")
    }

    /// Number of distinct strings, the empty one included.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Reports whether the table holds only the empty string.
    pub fn is_empty(&self) -> bool {
        self.ends.len() <= 1
    }

    /// All strings in id order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|index| self.get(StrId(index as u32)))
    }

    fn find(&self, hash: u64, text: &str) -> Option<StrId> {
        let ids = self.ids_by_hash.get(&hash)?;
        ids.iter().copied().find(|&id| self.get(id) == text)
    }
}

#[cfg(test)]
mod tests {
    use super::{StrId, StringTable};

    #[test]
    fn interning_is_stable() {
        let mut table = StringTable::default();
        let main = table.intern("main.main");
        let other = table.intern("main.other");
        assert_eq!(table.intern("main.main"), main);
        assert_ne!(main, other);
        assert_eq!(table.get(other), "main.other");
        assert_eq!(table.get(StrId(0)), "");
        assert_eq!(table.get(StrId(99)), "");
        assert_eq!(table.lookup("nothing"), None);
        assert_eq!(table.len(), 3);
    }
}
