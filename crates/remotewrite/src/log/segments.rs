//! The files of the log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::record::{HEADER_BYTES, Head, MAGIC};

/// A closed segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) bytes: u64,
    pub(crate) closed: SystemTime,
}

pub(crate) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number:08}.log"))
}

/// The segments that are there.
pub(crate) fn list(folder: &Path) -> io::Result<BTreeMap<u32, Segment>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".log"));
        let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
        let metadata = entry.metadata()?;
        let closed = metadata.modified().unwrap_or_else(|_| SystemTime::now());
        found.insert(number, Segment { bytes: metadata.len(), closed });
    }
    Ok(found)
}

/// How many values a segment holds, by the heads of its records.
pub(crate) fn count_values(path: &Path) -> u64 {
    let mut values = 0;
    let Ok(mut file) = File::open(path) else { return 0 };
    if file.seek(SeekFrom::Start(MAGIC.len() as u64)).is_err() {
        return 0;
    }
    let mut bytes = [0; HEADER_BYTES];
    while file.read_exact(&mut bytes).is_ok() {
        let Some(head) = Head::parse(&bytes) else { break };
        values += head.values();
        if file.seek(SeekFrom::Current(head.length as i64)).is_err() {
            break;
        }
    }
    values
}
