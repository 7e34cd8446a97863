//! What keeps damaged memory from making the reader run for ever or fill the machine: every
//! list ends, and everything that is made is bounded by the bytes there are.

use model::{StrId, StringTable};

/// Notices that a list runs in a circle: a walk of it ends after at most four times as many
/// steps as it has entries. Brent's algorithm, which needs no memory.
#[derive(Debug, Default)]
pub(super) struct Circle {
    known: u64,
    steps: u64,
    until: u64,
}

impl Circle {
    /// Reports whether the walk has been at this entry before.
    pub(super) fn is_closed_by(&mut self, entry: u64) -> bool {
        if self.steps > 0 && entry == self.known {
            return true;
        }
        if self.steps == self.until {
            (self.known, self.until) = (entry, 2 * self.until + 1);
        }
        self.steps += 1;
        false
    }
}

/// What may still be made or done.
#[derive(Debug)]
pub(super) struct Room(u64);

impl Room {
    pub(super) fn of(amount: u64) -> Room {
        Room(amount)
    }

    /// Takes so much; false, and nothing is left, when there is less.
    pub(super) fn take(&mut self, amount: u64) -> bool {
        let left = self.0.checked_sub(amount);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// Names, up to a size: damaged tables can name each of many things by the same long text,
/// a byte later each time.
#[derive(Debug)]
pub(super) struct Strings {
    table: StringTable,
    room: Room,
}

/// Names of programs take some megabytes.
const NAME_BYTES_FREE: u64 = 16 << 20;
/// Below the 4 GiB that a table can hold.
const NAME_BYTES_MAX: u64 = 3 << 30;

impl Strings {
    /// An empty table for a program with this much memory.
    pub(super) fn for_memory(bytes: u64) -> Strings {
        let room = Room::of((NAME_BYTES_FREE + bytes / 4).min(NAME_BYTES_MAX));
        Strings { table: StringTable::default(), room }
    }

    /// The id of a text; of the empty one when there is no room left.
    pub(super) fn intern(&mut self, text: &str) -> StrId {
        // What an entry costs beside its text.
        const ENTRY_BYTES: u64 = 64;
        if let Some(known) = self.table.lookup(text) {
            return known;
        }
        match self.room.take(text.len() as u64 + ENTRY_BYTES) {
            true => self.table.intern(text),
            false => StrId::default(),
        }
    }

    pub(super) fn get(&self, id: StrId) -> &str {
        self.table.get(id)
    }

    pub(super) fn into_table(self) -> StringTable {
        self.table
    }
}

#[cfg(test)]
mod tests {
    use super::{Circle, Room, Strings};

    /// Steps until a walk stops that enters a circle of `len` entries after `tail` others.
    fn walk(tail: u64, len: u64) -> u64 {
        let mut circle = Circle::default();
        let mut at = 1;
        let mut steps = 0;
        while !circle.is_closed_by(at) {
            steps += 1;
            assert!(steps <= 4 * (tail + len), "tail of {tail}, circle of {len}");
            at = if at == tail + len { tail + 1 } else { at + 1 };
        }
        steps
    }

    #[test]
    fn circles_are_noticed_and_lists_are_not() {
        for tail in 0..20 {
            for len in 1..20 {
                assert!(walk(tail, len) >= tail + len, "nothing is left out");
            }
        }
        let mut circle = Circle::default();
        assert!((0..100_000).all(|entry| !circle.is_closed_by(entry)));
    }

    #[test]
    fn names_end_where_their_room_does() {
        let mut strings = Strings::for_memory(0);
        strings.room = Room::of(1000);
        let first = strings.intern("main.first");
        let long = "x".repeat(2000);
        let refused = strings.intern(&long);
        assert_eq!(strings.get(refused), "");
        assert_eq!(strings.intern("main.first"), first);
        let after = strings.intern("main.second");
        assert_eq!(strings.get(after), "", "nothing after that");
    }
}
