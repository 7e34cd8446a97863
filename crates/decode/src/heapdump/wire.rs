//! Records: a number that tells the kind, then numbers, texts and lists of fields.

use crate::bytes::Bytes;

/// What every dump begins with.
pub(super) const MAGIC: &[u8] = b"go1.7 heap dump\n";

/// A position in the dump.
#[derive(Clone, Copy)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Cursor<'a> {
        Cursor { bytes, at }
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let (value, len) = Bytes(self.bytes).uvarint(self.at)?;
        self.at += len;
        Some(value)
    }

    pub(super) fn numbers(&mut self, count: u64) -> Option<()> {
        for _ in 0..count {
            self.number()?;
        }
        Some(())
    }

    /// Bytes with their length before them.
    pub(super) fn memory(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let end = self.at.checked_add(len)?;
        let memory = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(memory)
    }

    pub(super) fn text(&mut self) -> Option<String> {
        /// No symbol is longer.
        const BYTES_MAX: usize = 64 << 10;
        let text = self.memory()?;
        Some(String::from_utf8_lossy(text.get(..BYTES_MAX).unwrap_or(text)).into_owned())
    }

    /// Calls `visit` with the offsets of the pointers that a list of fields names.
    pub(super) fn fields(&mut self, mut visit: impl FnMut(u64)) -> Option<()> {
        loop {
            match self.number()? {
                0 => return Some(()),
                // Pointers; interfaces are no longer told from them.
                1..=3 => visit(self.number()?),
                _ => return None,
            }
        }
    }
}

/// How pointers lie in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pointers {
    pub(super) bytes: u64,
    pub(super) is_big_endian: bool,
}

impl Pointers {
    /// The pointer at an offset of some memory.
    pub(super) fn at(self, memory: &[u8], offset: u64) -> Option<u64> {
        let offset = usize::try_from(offset).ok()?;
        let memory = memory.get(offset..)?;
        if self.bytes == 4 {
            let word = memory.get(..4)?.try_into().ok()?;
            let read = if self.is_big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
            return Some(u64::from(read(word)));
        }
        let word = memory.get(..8)?.try_into().ok()?;
        let read = if self.is_big_endian { u64::from_be_bytes } else { u64::from_le_bytes };
        Some(read(word))
    }
}

pub(super) mod tag {
    pub(in crate::heapdump) const END: u64 = 0;
    pub(in crate::heapdump) const OBJECT: u64 = 1;
    pub(in crate::heapdump) const OTHER_ROOT: u64 = 2;
    pub(in crate::heapdump) const TYPE: u64 = 3;
    pub(in crate::heapdump) const GOROUTINE: u64 = 4;
    pub(in crate::heapdump) const FRAME: u64 = 5;
    pub(in crate::heapdump) const PARAMETERS: u64 = 6;
    pub(in crate::heapdump) const FINALIZER: u64 = 7;
    pub(in crate::heapdump) const ITAB: u64 = 8;
    pub(in crate::heapdump) const THREAD: u64 = 9;
    pub(in crate::heapdump) const MEM_STATS: u64 = 10;
    pub(in crate::heapdump) const QUEUED_FINALIZER: u64 = 11;
    pub(in crate::heapdump) const DATA: u64 = 12;
    pub(in crate::heapdump) const BSS: u64 = 13;
    pub(in crate::heapdump) const DEFER: u64 = 14;
    pub(in crate::heapdump) const PANIC: u64 = 15;
    pub(in crate::heapdump) const PROFILE_BUCKET: u64 = 16;
    pub(in crate::heapdump) const SAMPLE: u64 = 17;
}

/// Skips the body of a record; `None` when it ends early or its kind is unknown.
pub(super) fn skip(cursor: &mut Cursor<'_>, kind: u64) -> Option<()> {
    match kind {
        tag::OBJECT | tag::DATA | tag::BSS => {
            cursor.number()?;
            cursor.memory()?;
            cursor.fields(|_| {})
        }
        tag::OTHER_ROOT => {
            cursor.memory()?;
            cursor.numbers(1)
        }
        tag::TYPE => {
            cursor.numbers(2)?;
            cursor.memory()?;
            cursor.numbers(1)
        }
        tag::GOROUTINE => {
            cursor.numbers(8)?;
            cursor.memory()?;
            cursor.numbers(4)
        }
        tag::FRAME => {
            cursor.numbers(3)?;
            cursor.memory()?;
            cursor.numbers(3)?;
            cursor.memory()?;
            cursor.fields(|_| {})
        }
        tag::PARAMETERS => {
            cursor.numbers(4)?;
            cursor.memory()?;
            cursor.memory()?;
            cursor.numbers(1)
        }
        tag::FINALIZER | tag::QUEUED_FINALIZER => cursor.numbers(5),
        tag::ITAB | tag::SAMPLE => cursor.numbers(2),
        tag::THREAD => cursor.numbers(3),
        tag::MEM_STATS => cursor.numbers(24 + 256 + 1),
        tag::DEFER => cursor.numbers(7),
        tag::PANIC => cursor.numbers(6),
        tag::PROFILE_BUCKET => {
            cursor.numbers(2)?;
            for _ in 0..cursor.number()? {
                cursor.memory()?;
                cursor.memory()?;
                cursor.number()?;
            }
            cursor.numbers(2)
        }
        _ => None,
    }
}
