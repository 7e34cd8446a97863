//! Labelled series, kept: a small time series database of one machine.
//!
//! ```text
//! series/names            labels of all series, each with its number
//! series/log/SEGMENT      samples that are in no block yet
//! series/blocks/NUMBER    chunks of about half an hour, never written again
//! ```
//!
//! A sample that [`SeriesStore::append`] took is in the log: it survives the end of the process.
//! It survives the end of the machine once [`SeriesStore::tick`] has synced it, so the
//! time between two ticks is what a power cut can cost.
//!
//! Blocks are files of our own and not rows of the catalog: two days of 16,000 series are two
//! million chunks, of which each half hour as many go as come. A file goes at once and gives its
//! space back; rows would leave a catalog as large as it ever was, and rewrite it all the time.
//!
//! A chunk that was written later hides what earlier ones have of its time: when the clock was
//! set back, the second run of the same hour counts.

mod bits;
mod block;
mod chunk;
mod head;
mod log;
mod matcher;
mod open;
mod read;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::series::{Sample, Value};
use model::{Labels, Timestamp};

use block::Block;
use head::{Head, Outcome, Record};
use log::Log;

use crate::error::StoreError;

pub use matcher::{MatchOp, Matcher};
pub use read::Selected;

/// How long samples stay in memory before they are written to a block.
const BLOCK_MILLIS: i64 = 30 * 60_000;
/// Samples in memory above which they are written earlier.
const HEAD_SAMPLES_MAX: u64 = 8_000_000;
/// Bytes of a segment of the log.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Warnings that are kept until they are taken.
const WARNINGS_MAX: usize = 50;

/// How series are kept.
#[derive(Clone, Debug)]
pub struct SeriesOptions {
    /// Samples older than this go.
    pub keep: Duration,
    /// Blocks above this size together go, oldest first.
    pub keep_bytes: u64,
    /// Series there may be at a time; samples of more are refused.
    pub series_max: usize,
    /// Samples that one selection may read.
    pub samples_max: usize,
}

impl Default for SeriesOptions {
    fn default() -> SeriesOptions {
        SeriesOptions {
            keep: Duration::from_secs(7 * 86_400),
            keep_bytes: 2 << 30,
            series_max: 500_000,
            samples_max: 10_000_000,
        }
    }
}

/// What became of samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// New.
    pub added: u64,
    /// There already, with the same value.
    pub same: u64,
    /// Of a time for which there is another value; not kept.
    pub conflicting: u64,
    /// Of too many series, or too often out of order; not kept.
    pub refused: u64,
}

impl Appended {
    fn add(&mut self, more: Appended) {
        self.added += more.added;
        self.same += more.same;
        self.conflicting += more.conflicting;
        self.refused += more.refused;
    }
}

/// Figures about the series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SeriesStats {
    /// Series of which anything is kept.
    pub series: u64,
    /// Samples in memory, and the bytes of their chunks.
    pub head_samples: u64,
    /// Bytes of chunks in memory.
    pub head_bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// Samples in blocks.
    pub block_samples: u64,
    /// Bytes of the blocks.
    pub block_bytes: u64,
    /// Samples that were lost because the disk did not take them.
    pub lost: u64,
    /// What became of samples since the start.
    pub appended: Appended,
    /// Blocks written since the start.
    pub blocks_written: u64,
    /// Blocks removed since the start, as they were too old or too many.
    pub blocks_removed: u64,
}

/// Labelled series on disk; it may be shared between threads.
#[derive(Debug)]
pub struct SeriesStore {
    dir: PathBuf,
    options: SeriesOptions,
    state: Mutex<State>,
    /// One block is written at a time.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct State {
    head: Head,
    names: Log,
    /// Names of series that are gone, which the file still has.
    dead_names: usize,
    /// Names that the disk did not take.
    names_missing: bool,
    log: Log,
    /// Segments that were written since the last sync.
    unsynced: Vec<Arc<File>>,
    segment: u64,
    /// The first segment that is in no block.
    first_segment: u64,
    blocks: Vec<Block>,
    next_block: u64,
    /// When the head began to fill.
    head_since: Option<Timestamp>,
    warnings: Vec<String>,
    lost: u64,
    /// How long samples are kept, and how many bytes of blocks.
    keep: (Duration, u64),
    /// Since the start.
    appended: Appended,
    blocks_written: u64,
    blocks_removed: u64,
}

impl State {
    fn warn(&mut self, text: String) {
        if self.warnings.len() < WARNINGS_MAX && !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }
}

impl SeriesStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how long samples are kept, and how many bytes of blocks.
    pub fn set_keep(&self, keep: Duration, keep_bytes: u64) {
        self.state().keep = (keep, keep_bytes);
    }

    /// What was noticed since this was asked last.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.state().warnings)
    }

    /// Counts.
    pub fn stats(&self) -> SeriesStats {
        let state = self.state();
        SeriesStats {
            series: state.head.len() as u64,
            head_samples: state.head.samples,
            head_bytes: state.head.bytes() as u64,
            blocks: state.blocks.len() as u64,
            block_samples: state.blocks.iter().map(|block| block.samples).sum(),
            block_bytes: state.blocks.iter().map(|block| block.bytes).sum(),
            lost: state.lost,
            appended: state.appended,
            blocks_written: state.blocks_written,
            blocks_removed: state.blocks_removed,
        }
    }

    /// Adds samples. A sample of the time of the last one of its series is not added, whatever
    /// its value. One of an earlier time is, and hides nothing but what has its time.
    ///
    /// # Errors
    /// When the log cannot be written: then the samples are in memory, and they are kept unless
    /// the process ends before the next block.
    pub fn append(&self, samples: &[(Labels, Sample)]) -> Result<Appended, StoreError> {
        let samples = samples.iter();
        self.append_all(samples.map(|(labels, sample)| (labels, sample.time, &sample.value)))
    }

    /// The same, of samples that lie elsewhere.
    ///
    /// # Errors
    /// As [`SeriesStore::append`].
    pub fn append_all<'a>(
        &self,
        samples: impl Iterator<Item = (&'a Labels, Timestamp, &'a Value)>,
    ) -> Result<Appended, StoreError> {
        let mut state = self.state();
        let state = &mut *state;
        let mut appended = Appended::default();
        let mut record = Record::new(state.segment);
        let mut names = Vec::new();
        for (labels, time, value) in samples {
            let id = match state.head.id(labels) {
                Some(id) => id,
                None if state.head.len() < self.options.series_max => {
                    let id = state.head.next_id();
                    open::put_name(&mut names, id, labels);
                    state.head.enter(id, labels);
                    id
                }
                None => {
                    appended.refused += 1;
                    continue;
                }
            };
            match state.head.push(id, time, value, &mut record) {
                Outcome::Added => appended.added += 1,
                Outcome::Same => appended.same += 1,
                Outcome::Conflicting => appended.conflicting += 1,
                Outcome::Refused => appended.refused += 1,
            }
        }
        state.appended.add(appended);
        if appended.refused > 0 {
            state.warn("series: samples were refused: too many series, or out of order".to_owned());
        }
        // The names first: samples of a number that has none are lost.
        let mut result = self.write_names(state, &names);
        if result.is_ok() && appended.added > 0 {
            result = state.log.append(&record.bytes);
        }
        if result.is_err() {
            // Nothing may refer to what is not there.
            let _ = self.next_segment(state);
        } else if state.log.length() > SEGMENT_BYTES {
            result = self.next_segment(state);
        }
        result.map(|()| appended)
    }

    fn write_names(&self, state: &mut State, names: &[u8]) -> Result<(), StoreError> {
        if state.names_missing {
            state.names = open::rewrite_names(&self.dir, &state.head)?;
            state.names_missing = false;
        } else if !names.is_empty() {
            let written = state.names.append(names);
            state.names_missing = written.is_err();
            return written;
        }
        Ok(())
    }

    fn segment_path(&self, segment: u64) -> PathBuf {
        self.dir.join("log").join(format!("{segment:016}"))
    }

    /// Continues the log in a new file.
    fn next_segment(&self, state: &mut State) -> Result<(), StoreError> {
        state.segment += 1;
        state.unsynced.push(state.log.file());
        state.log = Log::open(&self.segment_path(state.segment), 0)?;
        Ok(())
    }

    /// Writes what is due: the log to the disk, what is old enough to a block; removes what is
    /// no longer to be kept. To be called every few seconds.
    ///
    /// # Errors
    /// When the disk does not take it; nothing is lost by that, and the next call tries again.
    pub fn tick(&self, now: Timestamp) -> Result<(), StoreError> {
        let (files, is_due) = {
            let mut state = self.state();
            let since = *state.head_since.get_or_insert(now);
            let age = now.0.saturating_sub(since.0);
            // A clock that was set back must not put it off.
            let is_due = !(0..BLOCK_MILLIS).contains(&age)
                || state.head.samples > HEAD_SAMPLES_MAX
                || state.head.frozen.is_some();
            let mut files = std::mem::take(&mut state.unsynced);
            files.extend([state.names.file(), state.log.file()]);
            (files, is_due)
        };
        let log = self.dir.join("log");
        for file in files {
            file.sync_data().map_err(|source| StoreError::io(&log, source))?;
        }
        if is_due {
            self.flush(now)?;
        }
        self.expire(now)
    }

    /// Writes all samples in memory to a block.
    ///
    /// # Errors
    /// When the disk does not take it: then they stay in memory, and in the log.
    pub fn flush(&self, now: Timestamp) -> Result<(), StoreError> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (frozen, number, covered) = {
            let mut state = self.state();
            let state = &mut *state;
            let frozen = match state.head.frozen.clone() {
                // A block that failed comes first; when there is no memory for more, it goes.
                Some(frozen) if state.head.samples <= HEAD_SAMPLES_MAX => frozen,
                older => {
                    let covers = state.segment;
                    self.next_segment(state)?;
                    let chunks = older.iter().flat_map(|frozen| &frozen.chunks);
                    let lost = chunks.flat_map(|(_, chunks)| chunks);
                    state.lost += lost.map(|chunk| u64::from(chunk.count)).sum::<u64>();
                    state.head_since = Some(now);
                    state.head.freeze(covers)
                }
            };
            (frozen, state.next_block, state.first_segment..=state.segment)
        };
        let covered = *covered.start()..=frozen.covers;
        let block = match frozen.chunks.is_empty() {
            true => None,
            false => {
                let path = self.dir.join("blocks").join(format!("{number:016}"));
                Some(block::write(&path, &frozen.chunks, frozen.covers)?)
            }
        };
        let mut state = self.state();
        state.next_block += u64::from(block.is_some());
        state.blocks_written += u64::from(block.is_some());
        state.blocks.extend(block);
        state.head.frozen = None;
        state.first_segment = frozen.covers + 1;
        drop(state);
        for segment in covered {
            let _ = std::fs::remove_file(self.segment_path(segment));
        }
        Ok(())
    }

    fn expire(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut state = self.state();
        let state = &mut *state;
        let (keep, keep_bytes) = state.keep;
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let oldest = now.0.saturating_sub(keep);
        let mut total: u64 = state.blocks.iter().map(|block| block.bytes).sum();
        let mut removed = Vec::new();
        state.blocks.retain(|block| {
            let is_over = block.max < oldest || total > keep_bytes;
            if is_over {
                total -= block.bytes;
                removed.push(block.path.clone());
            }
            !is_over
        });
        state.blocks_removed += removed.len() as u64;
        for path in &removed {
            let _ = std::fs::remove_file(path);
        }
        if removed.is_empty() {
            return Ok(());
        }
        let horizon = state.blocks.iter().map(|block| block.min).min().unwrap_or(i64::MAX);
        state.dead_names += state.head.forget(horizon);
        if state.dead_names > state.head.len().max(4096) {
            state.names = open::rewrite_names(&self.dir, &state.head)?;
            state.dead_names = 0;
        }
        Ok(())
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

#[cfg(test)]
mod tests;
