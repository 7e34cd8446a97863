//! Reads the log from a place on, and waits at its end.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use super::record::{Entries, HEADER_BYTES, Head, Kind, MAGIC};
use super::writer::Log;
use crate::item::Position;

const CHUNK_BYTES: usize = 256 << 10;
const TORN_WAIT: Duration = Duration::from_millis(50);

/// What came.
pub(crate) enum Next {
    /// A record.
    Record(Record),
    /// Nothing for now.
    Idle,
    /// The segment ended, and reading goes on in the next.
    End {
        /// Which.
        segment: u32,
        /// It ended with a whole record.
        is_clean: bool,
    },
}

/// A record with its place.
pub(crate) struct Record {
    pub(crate) position: Position,
    /// The place after it.
    pub(crate) end: Position,
    pub(crate) kind: Kind,
    bytes: Vec<u8>,
}

impl Record {
    pub(crate) fn entries(&self) -> Entries<'_> {
        Entries::new(self.kind, &self.bytes)
    }
}

/// One destination's way through the log.
pub(crate) struct Reader {
    log: Arc<Log>,
    segment: u32,
    file: Option<File>,
    /// Where `buffer` begins in the file.
    offset: u64,
    buffer: Vec<u8>,
}

impl Reader {
    /// Begins with the first record of `segment`, so that what it defines is known.
    pub(crate) fn new(log: Arc<Log>, segment: u32) -> Reader {
        Reader { log, segment, file: None, offset: 0, buffer: Vec::new() }
    }

    /// The next record, waiting for at most `wait`.
    pub(crate) fn next(&mut self, wait: Duration) -> Next {
        if self.file.is_none() && !self.open() {
            self.log.wait_beyond(Position { segment: self.segment, offset: 0, index: 0 }, wait);
            return Next::Idle;
        }
        // Asked before reading: what is written until the segment is closed comes first.
        let is_closed = self.log.tip().segment > self.segment;
        match self.record() {
            Found::Record(record) => Next::Record(record),
            Found::End { is_clean } if is_closed => {
                let segment = self.segment;
                self.segment += 1;
                (self.file, self.offset) = (None, 0);
                self.buffer.clear();
                Next::End { segment, is_clean }
            }
            Found::End { is_clean } => {
                if !is_clean {
                    // A record on its way, or damage in the segment that is written: more bytes
                    // alone do not help.
                    std::thread::sleep(TORN_WAIT);
                }
                let offset = u32::try_from(self.offset + self.buffer.len() as u64);
                let offset = offset.unwrap_or(u32::MAX);
                let here = Position { segment: self.segment, offset, index: 0 };
                self.log.wait_beyond(here, wait);
                Next::Idle
            }
        }
    }

    /// Opens the segment, or the next one that is there.
    fn open(&mut self) -> bool {
        let Some(segment) = self.log.segment_from(self.segment) else { return false };
        self.segment = segment;
        self.file = File::open(self.log.segment_path(segment)).ok();
        self.offset = MAGIC.len() as u64;
        self.buffer.clear();
        self.file.is_some()
    }

    fn record(&mut self) -> Found {
        let head = match self.fill(HEADER_BYTES).map(|bytes| bytes.first_chunk()) {
            Some(Some(head)) => Head::parse(head),
            _ => return Found::End { is_clean: self.buffer.is_empty() },
        };
        let Some(head) = head else { return Found::End { is_clean: false } };
        let length = HEADER_BYTES + head.length;
        let Some(bytes) = self.fill(length) else { return Found::End { is_clean: false } };
        let body = bytes.get(HEADER_BYTES..).and_then(|body| head.open(body));
        let Some(bytes) = body else { return Found::End { is_clean: false } };
        let place = |offset: u64| {
            let offset = u32::try_from(offset).unwrap_or(u32::MAX);
            Position { segment: self.segment, offset, index: 0 }
        };
        let [position, end] = [place(self.offset), place(self.offset + length as u64)];
        self.buffer.drain(..length);
        self.offset += length as u64;
        Found::Record(Record { position, end, kind: head.kind, bytes })
    }

    /// The next `length` bytes, when they are there.
    fn fill(&mut self, length: usize) -> Option<&[u8]> {
        let file = self.file.as_ref()?;
        while self.buffer.len() < length {
            let start = self.buffer.len();
            self.buffer.resize(length.max(CHUNK_BYTES), 0);
            let read = file.read_at(&mut self.buffer[start..], self.offset + start as u64);
            let read = read.unwrap_or(0);
            self.buffer.truncate(start + read);
            if read == 0 {
                return None;
            }
        }
        self.buffer.get(..length)
    }
}

enum Found {
    Record(Record),
    End { is_clean: bool },
}
