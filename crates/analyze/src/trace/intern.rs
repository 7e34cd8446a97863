//! Strings by numbers of our own, which outlive the tables that they come from.

use ahash::AHashMap;
use model::trace::{StringId, Tables};

/// Index of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(pub(super) u32);

#[derive(Debug, Default)]
pub(super) struct Names {
    texts: Vec<String>,
    numbers: AHashMap<String, Name>,
    /// Of the tables that hold now.
    known: AHashMap<StringId, Name>,
}

impl Names {
    /// Ids mean something else from here on.
    pub(super) fn forget_ids(&mut self) {
        self.known.clear();
    }

    pub(super) fn of(&mut self, id: StringId, tables: &Tables<'_>) -> Name {
        if let Some(name) = self.known.get(&id) {
            return *name;
        }
        let name = self.add(&tables.text(id));
        self.known.insert(id, name);
        name
    }

    pub(super) fn add(&mut self, text: &str) -> Name {
        if let Some(name) = self.numbers.get(text) {
            return *name;
        }
        let name = Name(self.texts.len() as u32);
        self.texts.push(text.to_owned());
        self.numbers.insert(text.to_owned(), name);
        name
    }

    pub(super) fn text(&self, name: Name) -> &str {
        self.texts.get(name.0 as usize).map_or("", String::as_str)
    }
}
