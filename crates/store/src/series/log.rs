//! Files of records that are only ever appended: length, CRC-32, bytes.
//!
//! A record that a crash cut off, or that is damaged, ends what can be read of a file.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::StoreError;

const HEAD: usize = 8;

/// A file that records are appended to.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: Arc<File>,
    length: u64,
}

impl Log {
    /// Opens a file whose first `length` bytes are records; what follows them goes.
    pub(super) fn open(path: &Path, length: u64) -> Result<Log, StoreError> {
        let io = |source| StoreError::io(path, source);
        let options = OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let mut file = options.map_err(io)?;
        file.set_len(length).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Log { path: path.to_owned(), file: Arc::new(file), length })
    }

    /// Appends a record. It survives the end of the process at once, and that of the machine
    /// when the file is synced. One that fails leaves nothing.
    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), StoreError> {
        let mut bytes = Vec::with_capacity(HEAD + record.len());
        bytes.extend(u32::try_from(record.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(crc32fast::hash(record).to_le_bytes());
        bytes.extend(record);
        let written = (&*self.file).write_all(&bytes);
        if let Err(source) = written {
            // Half a record would hide those that follow.
            let _ = self.file.set_len(self.length);
            let _ = (&*self.file).seek(SeekFrom::Start(self.length));
            return Err(StoreError::io(&self.path, source));
        }
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Bytes of the file.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The file, to sync it without holding what holds the log.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }
}

/// The records of a file, and how many bytes they take.
pub(super) fn records(bytes: &[u8]) -> (Vec<&[u8]>, u64) {
    let (mut records, mut rest) = (Vec::new(), bytes);
    while let Some((head, after)) = rest.split_at_checked(HEAD) {
        let number = |at: usize| {
            let bytes = head.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes)
        };
        let Some((record, after)) = after.split_at_checked(number(0) as usize) else { break };
        if crc32fast::hash(record) != number(4) {
            break;
        }
        records.push(record);
        rest = after;
    }
    (records, (bytes.len() - rest.len()) as u64)
}

#[cfg(test)]
mod tests {
    use super::{Log, records};

    #[test]
    fn records_end_where_the_damage_begins() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::open(&path, 0).unwrap();
        for record in [&b"one"[..], b"", b"three"] {
            log.append(record).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(log.length(), bytes.len() as u64);
        assert_eq!(records(&bytes).0, [&b"one"[..], b"", b"three"]);
        for end in 0..bytes.len() {
            let (read, length) = records(&bytes[..end]);
            assert!(read.len() < 3 && length <= end as u64);
        }
        let mut damaged = bytes.clone();
        damaged[9] ^= 1;
        assert_eq!(records(&damaged), (Vec::new(), 0));
        // What is cut off is written over.
        let mut log = Log::open(&path, 11).unwrap();
        log.append(b"two").unwrap();
        assert_eq!(records(&std::fs::read(&path).unwrap()).0, [&b"one"[..], b"two"]);
    }
}
