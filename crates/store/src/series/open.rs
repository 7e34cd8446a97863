//! Opening: names, blocks, and what the log has that no block has.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use model::series::{Sample, Value};
use model::{Labels, Timestamp};

use super::bits::{Cursor, put_varint};
use super::block::Block;
use super::head::{FLOAT, HISTOGRAM, Head, Outcome, Record, SAME};
use super::log::{Log, records};
use super::{Appended, SeriesOptions, SeriesStore, State, chunk};
use crate::error::StoreError;

impl SeriesStore {
    /// Opens or creates the series below `dir`, which belongs to one process (an open
    /// [`crate::Store`] sees to that).
    ///
    /// # Errors
    /// When the directory cannot be used. What is damaged in it is left out, with a warning.
    pub fn open(dir: &Path, options: SeriesOptions) -> Result<SeriesStore, StoreError> {
        let dir = dir.join("series");
        for part in ["log", "blocks"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).map_err(|source| StoreError::io(&part, source))?;
        }
        let mut warnings = Vec::new();
        let mut head = Head::default();
        let names = open_names(&dir, &mut head, &mut warnings)?;
        let (blocks, last_block) = open_blocks(&dir.join("blocks"), &mut head, &mut warnings)?;
        let covered = blocks.iter().map(|block| block.covers).max();
        let segments = numbered(&dir.join("log"))?;
        let mut first_segment = None;
        for (segment, path) in &segments {
            if covered.is_some_and(|covered| *segment <= covered) {
                let _ = fs::remove_file(path);
                continue;
            }
            first_segment.get_or_insert(*segment);
            let bytes = fs::read(path).map_err(|source| StoreError::io(path, source))?;
            if let Some(warning) = replay(&bytes, &mut head) {
                warnings.push(format!("series: {}: {warning}", path.display()));
            }
        }
        let last = segments.last().map(|(segment, _)| *segment).max(covered);
        let segment = last.map_or(0, |last| last + 1);
        let log = Log::open(&dir.join("log").join(format!("{segment:016}")), 0)?;
        let state = State {
            head,
            names,
            dead_names: 0,
            names_missing: false,
            unsynced: Vec::new(),
            log,
            segment,
            first_segment: first_segment.unwrap_or(segment),
            blocks,
            next_block: last_block.map_or(0, |last| last + 1),
            head_since: None,
            warnings,
            lost: 0,
            keep: (options.keep, options.keep_bytes),
            appended: Appended::default(),
            blocks_written: 0,
            blocks_removed: 0,
        };
        let (state, writing) = (Mutex::new(state), Mutex::new(()));
        Ok(SeriesStore { dir, options, state, writing })
    }
}

/// Files whose names are numbers, in their order.
fn numbered(dir: &Path) -> Result<Vec<(u64, PathBuf)>, StoreError> {
    let io = |source| StoreError::io(dir, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Ok(number) = name.parse() {
            found.push((number, path));
        } else if name.ends_with(".tmp") {
            let _ = fs::remove_file(path);
        }
    }
    found.sort();
    Ok(found)
}

fn open_blocks(
    dir: &Path,
    head: &mut Head,
    warnings: &mut Vec<String>,
) -> Result<(Vec<Block>, Option<u64>), StoreError> {
    let files = numbered(dir)?;
    let last = files.last().map(|(number, _)| *number);
    let mut blocks = Vec::new();
    for (_, path) in files {
        let io = |source| StoreError::io(&path, source);
        let entries = match Block::open(&path).map_err(io)? {
            Some(block) => block.entries().map_err(io)?.map(|(_, entries)| (block, entries)),
            None => None,
        };
        let Some((block, entries)) = entries else {
            warnings.push(format!("series: {} is damaged and left out", path.display()));
            continue;
        };
        for entry in entries {
            head.reserve(entry.series);
            if let Some(series) = head.series_mut(entry.series) {
                series.widen(entry.min, entry.max);
            }
        }
        blocks.push(block);
    }
    Ok((blocks, last))
}

/// Appends a series to a record of names.
pub(super) fn put_name(out: &mut Vec<u8>, id: u32, labels: &Labels) {
    put_varint(out, u64::from(id));
    put_varint(out, labels.len() as u64);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        put_varint(out, text.len() as u64);
        out.extend(text.as_bytes());
    }
}

fn name(cursor: &mut Cursor<'_>) -> Option<(u32, Labels)> {
    let id = u32::try_from(cursor.varint()?).ok()?;
    let count = cursor.count(2)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        pairs.push((cursor.text()?, cursor.text()?));
    }
    Some((id, Labels::new(pairs)))
}

fn open_names(dir: &Path, head: &mut Head, warnings: &mut Vec<String>) -> Result<Log, StoreError> {
    let path = dir.join("names");
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        result => result.map_err(|source| StoreError::io(&path, source))?,
    };
    let (records, length) = records(&bytes);
    for record in records {
        let mut cursor = Cursor(record);
        while !cursor.0.is_empty() {
            match name(&mut cursor) {
                Some((id, labels)) if id >= head.next_id() => {
                    head.enter(id, &labels);
                }
                Some(_) => {}
                None => break,
            }
        }
    }
    if length < bytes.len() as u64 {
        warnings.push(format!("series: the end of {} is damaged", path.display()));
    }
    Log::open(&path, length)
}

/// Writes the names of the series that are left.
pub(super) fn rewrite_names(dir: &Path, head: &Head) -> Result<Log, StoreError> {
    let (path, temporary) = (dir.join("names"), dir.join("names.tmp"));
    let io = |source| StoreError::io(&path, source);
    let mut log = Log::open(&temporary, 0)?;
    let mut record = Vec::new();
    for (id, series) in head.all() {
        put_name(&mut record, id, &series.labels);
        if record.len() > 1 << 20 {
            log.append(&std::mem::take(&mut record))?;
        }
    }
    log.append(&record)?;
    log.file().sync_all().map_err(io)?;
    fs::rename(&temporary, &path).map_err(io)?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io)?;
    Ok(log)
}

/// Enters the samples of a segment; says what was wrong with it.
fn replay(bytes: &[u8], head: &mut Head) -> Option<String> {
    let (records, length) = records(bytes);
    let (mut unknown, mut damaged) = (0_u64, length < bytes.len() as u64);
    let mut state = Replay::default();
    // It is in the log already; of no segment that is written to.
    let mut record = Record::new(u64::MAX);
    for bytes in records {
        let mut cursor = Cursor(bytes);
        (state.id, state.time) = (0, 0);
        while !cursor.0.is_empty() {
            let Some(found) = state.sample(&mut cursor) else {
                damaged = true;
                break;
            };
            record.bytes.clear();
            head.reserve(state.id);
            if head.push(state.id, found.time, &found.value, &mut record) == Outcome::Refused {
                unknown += 1;
            }
        }
    }
    match (damaged, unknown) {
        (false, 0) => None,
        (true, 0) => Some("the end is damaged: samples of the last moment are lost".to_owned()),
        (_, unknown) => Some(format!("{unknown} samples have no series and are lost")),
    }
}

#[derive(Default)]
struct Replay {
    id: u32,
    time: i64,
    /// Values by series: those that are the same are not written again.
    values: std::collections::HashMap<u32, Value>,
}

impl Replay {
    fn sample(&mut self, cursor: &mut Cursor<'_>) -> Option<Sample> {
        let code = cursor.varint()?;
        let step = super::bits::unzigzag(code >> 2);
        self.id = u32::try_from(i64::from(self.id).checked_add(step)?).ok()?;
        self.time = self.time.wrapping_add(cursor.zigzag()?);
        let value = match code & 3 {
            FLOAT => Value::Float(f64::from_le_bytes(cursor.array()?)),
            SAME => self.values.get(&self.id)?.clone(),
            HISTOGRAM => Value::Histogram(Arc::new(chunk::histogram(cursor)?)),
            _ => return None,
        };
        self.values.insert(self.id, value.clone());
        Some(Sample { time: Timestamp(self.time), value })
    }
}
