//! What is known of the page before: its series, by their text.
//!
//! A page is mostly the one before with other numbers. The text of a series is compared with
//! that of the series that followed last time; only where the order is another one it is looked
//! up, and only what is new is parsed. Texts lie where they were read, so what is known takes
//! one page and some fifty bytes a series, and nothing of the pages before it.

use hashbrown::HashTable;
use model::Labels;

use super::line;

/// No entry.
const NONE: u32 = u32::MAX;
/// So many entries are kept whatever the page has.
const SPARE: usize = 1024;

/// The series of a page.
#[derive(Debug)]
pub(super) struct Known {
    /// The page.
    page: Vec<u8>,
    entries: Vec<Entry>,
    /// Places of entries that are gone.
    free: Vec<u32>,
    by_text: HashTable<u32>,
    hasher: ahash::RandomState,
    round: u32,
    /// What the page began with.
    first: u32,
    /// The entry before, and the one that is likely to be next.
    last: u32,
    next: u32,
    /// Entries of this round.
    seen: usize,
}

impl Default for Known {
    fn default() -> Known {
        Known {
            page: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            by_text: HashTable::new(),
            hasher: ahash::RandomState::new(),
            round: 0,
            first: NONE,
            last: NONE,
            next: NONE,
            seen: 0,
        }
    }
}

/// A series; one without text is gone.
#[derive(Debug)]
struct Entry {
    /// Where its text is: in the page that is being read when it is of this round, else in the
    /// one before.
    start: u32,
    length: u32,
    hash: u64,
    round: u32,
    /// What followed it.
    next: u32,
    series: Series,
}

/// What a text came to.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// As the owner of the pages wants them; nothing when it does not want the series.
    pub(super) labels: Option<Labels>,
    /// A number for its labels without those that a family's series of one kind differ by.
    pub(super) identity: u64,
}

impl Known {
    /// Begins a page.
    pub(super) fn begin(&mut self) {
        self.round = self.round.wrapping_add(1);
        (self.next, self.last, self.seen) = (self.first, NONE, 0);
    }

    fn text<'a>(&'a self, page: &'a [u8], entry: &Entry) -> &'a [u8] {
        let page = if entry.round == self.round { page } else { &self.page };
        let start = entry.start as usize;
        page.get(start..start + entry.length as usize).unwrap_or_default()
    }

    /// The series that the line begins with, and the length of its text. The line is what
    /// `page` has at `start`.
    pub(super) fn find(
        &mut self,
        page: &[u8],
        start: usize,
        line: &str,
    ) -> Option<(&Series, usize)> {
        let guess = self.entries.get(self.next as usize);
        let text = guess.map_or(&[][..], |guess| self.text(page, guess));
        let (found, length) = match line::begins_with(line, text) {
            true => (self.next, text.len()),
            false => self.look_up(page, line)?,
        };
        let entry = self.entries.get_mut(found as usize)?;
        self.seen += usize::from(entry.round != self.round);
        (entry.start, entry.round, self.next) =
            (u32::try_from(start).ok()?, self.round, entry.next);
        self.follow(found);
        self.entries.get(found as usize).map(|entry| (&entry.series, length))
    }

    fn look_up(&self, page: &[u8], line: &str) -> Option<(u32, usize)> {
        let length = line::series_length(line)?;
        let text = line.as_bytes().get(..length)?;
        let is_it = |index: &u32| {
            let entry = self.entries.get(*index as usize);
            entry.is_some_and(|entry| self.text(page, entry) == text)
        };
        let found = self.by_text.find(self.hasher.hash_one(text), is_it)?;
        Some((*found, length))
    }

    /// Notes that the entry followed the one before.
    fn follow(&mut self, index: u32) {
        match self.entries.get_mut(self.last as usize) {
            Some(last) => last.next = index,
            None => self.first = index,
        }
        self.last = index;
    }

    /// Enters a series that is new.
    pub(super) fn enter(&mut self, start: usize, text: &str, series: Series) {
        // A page of more than 4 GB is read, but not known.
        let (Ok(start), Ok(length)) = (u32::try_from(start), u32::try_from(text.len())) else {
            return;
        };
        let hash = self.hasher.hash_one(text.as_bytes());
        // What was to come next comes after it.
        let entry = Entry { start, length, hash, round: self.round, next: self.next, series };
        let index = self.free.pop().unwrap_or(self.entries.len() as u32);
        match self.entries.get_mut(index as usize) {
            Some(slot) => *slot = entry,
            None => self.entries.push(entry),
        }
        let hash_of = |index: &u32| self.entries.get(*index as usize).map_or(0, |entry| entry.hash);
        self.by_text.insert_unique(hash, index, hash_of);
        self.seen += 1;
        self.follow(index);
    }

    /// Entries that there is memory for.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.entries.len()
    }

    /// Ends the page: what it did not have is forgotten.
    pub(super) fn end(&mut self, mut page: Vec<u8>) {
        if self.seen < self.by_text.len() {
            for (index, entry) in self.entries.iter_mut().enumerate() {
                if entry.round == self.round || entry.length == 0 {
                    continue;
                }
                let index = index as u32;
                if let Ok(found) = self.by_text.find_entry(entry.hash, |known| *known == index) {
                    found.remove();
                }
                (entry.length, entry.series.labels) = (0, None);
                self.free.push(index);
            }
        }
        if self.entries.len() > SPARE && self.entries.len() / 4 > self.by_text.len() {
            *self = Known::default();
            return;
        }
        page.shrink_to_fit();
        self.page = page;
    }
}
