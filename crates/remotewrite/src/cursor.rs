//! How far a destination has taken the log, kept in a file.
//!
//! Two places are written in turn, each with a checksum, so that one of them is whole whatever
//! happens. What a cursor says is late at worst: then values are sent twice.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::item::Position;

const PLACE_BYTES: usize = 4096;
const HEAD_BYTES: usize = 16;
const POSITION_BYTES: usize = 12;
/// Shards beyond this are not told apart: the earliest place of all stands for them.
const SHARDS_MAX: usize = (PLACE_BYTES - HEAD_BYTES) / POSITION_BYTES - 1;

/// How far a destination is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Cursor {
    /// Everything before it was sent.
    pub(crate) reached: Position,
    /// Everything before it was sent, of the series of each shard; empty is `reached` for all.
    pub(crate) shards: Vec<Position>,
}

/// The file of a cursor.
#[derive(Debug)]
pub(crate) struct CursorFile {
    file: File,
    turn: u64,
}

impl CursorFile {
    /// Opens the file, and reads what it says.
    pub(crate) fn open(path: &Path) -> io::Result<(CursorFile, Option<Cursor>)> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        let mut best: Option<(u64, Cursor)> = None;
        for place in 0..2 {
            let mut bytes = [0; PLACE_BYTES];
            if file.read_exact_at(&mut bytes, place * PLACE_BYTES as u64).is_err() {
                continue;
            }
            let found = parse(&bytes);
            let is_newer =
                |(turn, _): &(u64, Cursor)| best.as_ref().is_none_or(|(known, _)| known < turn);
            best = found.filter(is_newer).or(best);
        }
        let turn = best.as_ref().map_or(0, |(turn, _)| *turn);
        Ok((CursorFile { file, turn }, best.map(|(_, cursor)| cursor)))
    }

    /// Writes over the older place.
    pub(crate) fn store(&mut self, cursor: &Cursor) -> io::Result<()> {
        let turn = self.turn + 1;
        let mut bytes = Vec::with_capacity(PLACE_BYTES);
        bytes.extend([0; 4]);
        bytes.extend(turn.to_le_bytes());
        let shards = if cursor.shards.len() > SHARDS_MAX { &[] } else { cursor.shards.as_slice() };
        bytes.extend((shards.len() as u32).to_le_bytes());
        for position in std::iter::once(&cursor.reached).chain(shards) {
            for part in [position.segment, position.offset, position.index] {
                bytes.extend(part.to_le_bytes());
            }
        }
        bytes.resize(PLACE_BYTES, 0);
        let checksum = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&checksum.to_le_bytes());
        self.file.write_all_at(&bytes, (turn % 2) * PLACE_BYTES as u64)?;
        self.turn = turn;
        Ok(())
    }
}

fn parse(bytes: &[u8; PLACE_BYTES]) -> Option<(u64, Cursor)> {
    let (checksum, rest) = bytes.split_first_chunk()?;
    if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
        return None;
    }
    let (turn, rest) = rest.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let count = u32::from_le_bytes(*count) as usize;
    let mut words = rest
        .chunks_exact(4)
        .map(|word| word.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)));
    let mut position =
        || Some(Position { segment: words.next()?, offset: words.next()?, index: words.next()? });
    let reached = position()?;
    let shards = (0..count.min(SHARDS_MAX)).map(|_| position()).collect::<Option<Vec<_>>>()?;
    Some((u64::from_le_bytes(*turn), Cursor { reached, shards }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::{Cursor, CursorFile};
    use crate::item::Position;

    #[test]
    fn a_cursor_survives_damage_of_its_last_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cursor");
        let place = |offset: u32| Position { segment: 7, offset, index: 3 };
        let cursor =
            |offset: u32| Cursor { reached: place(offset), shards: vec![place(offset); 5] };
        let (mut file, found) = CursorFile::open(&path).unwrap();
        assert_eq!(found, None);
        for offset in 1..=4 {
            file.store(&cursor(offset)).unwrap();
            assert_eq!(CursorFile::open(&path).unwrap().1, Some(cursor(offset)));
        }
        // The fourth turn is in the first place.
        file.file.write_all_at(b"torn", 100).unwrap();
        assert_eq!(CursorFile::open(&path).unwrap().1, Some(cursor(3)));
    }
}
