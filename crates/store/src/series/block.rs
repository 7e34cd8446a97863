//! Files of chunks that are never written again.
//!
//! ```text
//! chunks    kind u8, bytes, one after the other, by series
//! index     for each chunk: series u32, samples u32, place u64, length u32, CRC-32, min i64, max i64
//! footer    place of the index u64, its CRC-32, chunks u32, min i64, max i64, samples u64,
//!           last segment of the log that is in here u64, CRC-32 of the footer, magic
//! ```

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::bits::Cursor;
use super::chunk::{Chunk, Kind};
use crate::error::StoreError;

const MAGIC: &[u8; 8] = b"MSSERIE1";
const ENTRY: usize = 40;
const FOOTER: usize = 8 + 4 + 4 + 8 + 8 + 8 + 8 + 4 + 8;

/// What is known of a block without opening it.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) samples: u64,
    /// Segments of the log up to this one are in it.
    pub(super) covers: u64,
    index: u64,
    index_crc: u32,
    chunks: u32,
}

/// Where a chunk lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) series: u32,
    pub(super) count: u32,
    place: u64,
    length: u32,
    crc: u32,
    pub(super) min: i64,
    pub(super) max: i64,
}

/// Writes a block; `chunks` are in the order of their series. When this returns, it is on disk.
pub(super) fn write(
    path: &Path,
    chunks: &[(u32, Vec<Chunk>)],
    covers: u64,
) -> Result<Block, StoreError> {
    let temporary = path.with_extension("tmp");
    let io = |source| StoreError::io(path, source);
    let result = write_file(&temporary, path, chunks, covers).map_err(io);
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
        return result;
    }
    fs::rename(&temporary, path).map_err(io)?;
    let folder = path.parent().unwrap_or(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    result
}

fn write_file(
    temporary: &Path,
    path: &Path,
    chunks: &[(u32, Vec<Chunk>)],
    covers: u64,
) -> std::io::Result<Block> {
    let file = File::create(temporary)?;
    let mut out = BufWriter::with_capacity(1 << 18, &file);
    let (mut place, mut index, mut samples, mut count) = (0_u64, Vec::new(), 0_u64, 0_u32);
    let (mut min, mut max) = (i64::MAX, i64::MIN);
    for (series, chunk) in chunks.iter().flat_map(|(id, all)| all.iter().map(move |c| (*id, c))) {
        let kind = [u8::from(chunk.kind == Kind::Histograms)];
        let mut crc = crc32fast::Hasher::new();
        for part in [&kind[..], &chunk.bytes] {
            crc.update(part);
            out.write_all(part)?;
        }
        let length = chunk.bytes.len() as u32 + 1;
        index.extend(series.to_le_bytes());
        index.extend(chunk.count.to_le_bytes());
        index.extend(place.to_le_bytes());
        index.extend(length.to_le_bytes());
        index.extend(crc.finalize().to_le_bytes());
        index.extend(chunk.min.to_le_bytes());
        index.extend(chunk.max.to_le_bytes());
        place += u64::from(length);
        samples += u64::from(chunk.count);
        (min, max, count) = (min.min(chunk.min), max.max(chunk.max), count + 1);
    }
    let index_crc = crc32fast::hash(&index);
    out.write_all(&index)?;
    let mut footer = Vec::with_capacity(FOOTER);
    footer.extend(place.to_le_bytes());
    footer.extend(index_crc.to_le_bytes());
    footer.extend(count.to_le_bytes());
    footer.extend(min.to_le_bytes());
    footer.extend(max.to_le_bytes());
    footer.extend(samples.to_le_bytes());
    footer.extend(covers.to_le_bytes());
    footer.extend(crc32fast::hash(&footer).to_le_bytes());
    footer.extend(MAGIC);
    out.write_all(&footer)?;
    out.flush()?;
    drop(out);
    file.sync_all()?;
    let bytes = place + (index.len() + FOOTER) as u64;
    let path = path.to_owned();
    Ok(Block { path, bytes, min, max, samples, covers, index: place, index_crc, chunks: count })
}

impl Block {
    /// Opens a block; `None` when it is damaged.
    pub(super) fn open(path: &Path) -> std::io::Result<Option<Block>> {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        let Some(at) = bytes.checked_sub(FOOTER as u64) else { return Ok(None) };
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, at)?;
        Ok(Block::parse(path, bytes, at, &footer))
    }

    fn parse(path: &Path, bytes: u64, at: u64, footer: &[u8]) -> Option<Block> {
        let (content, end) = footer.split_at_checked(FOOTER - 12)?;
        let (crc, magic) = end.split_at_checked(4)?;
        if magic != MAGIC || crc32fast::hash(content).to_le_bytes() != crc {
            return None;
        }
        let mut cursor = Cursor(content);
        let block = Block {
            path: path.to_owned(),
            bytes,
            index: u64::from_le_bytes(cursor.array()?),
            index_crc: u32::from_le_bytes(cursor.array()?),
            chunks: u32::from_le_bytes(cursor.array()?),
            min: i64::from_le_bytes(cursor.array()?),
            max: i64::from_le_bytes(cursor.array()?),
            samples: u64::from_le_bytes(cursor.array()?),
            covers: u64::from_le_bytes(cursor.array()?),
        };
        let end = block.index.checked_add(u64::from(block.chunks) * ENTRY as u64)?;
        (end == at).then_some(block)
    }

    /// Where its chunks lie, by series; `None` when the index is damaged.
    pub(super) fn entries(&self) -> std::io::Result<Option<(File, Vec<Entry>)>> {
        let file = File::open(&self.path)?;
        let mut bytes = vec![0; self.chunks as usize * ENTRY];
        file.read_exact_at(&mut bytes, self.index)?;
        if crc32fast::hash(&bytes) != self.index_crc {
            return Ok(None);
        }
        let entries = bytes.chunks_exact(ENTRY).map(entry).collect::<Option<Vec<Entry>>>();
        Ok(entries.map(|entries| (file, entries)))
    }
}

fn entry(bytes: &[u8]) -> Option<Entry> {
    let mut cursor = Cursor(bytes);
    Some(Entry {
        series: u32::from_le_bytes(cursor.array()?),
        count: u32::from_le_bytes(cursor.array()?),
        place: u64::from_le_bytes(cursor.array()?),
        length: u32::from_le_bytes(cursor.array()?),
        crc: u32::from_le_bytes(cursor.array()?),
        min: i64::from_le_bytes(cursor.array()?),
        max: i64::from_le_bytes(cursor.array()?),
    })
}

impl Entry {
    /// The chunk; `None` when it is damaged.
    pub(super) fn read(&self, file: &File, block: &Block) -> Option<Chunk> {
        let end = self.place.checked_add(u64::from(self.length))?;
        if self.length == 0 || end > block.index {
            return None;
        }
        let mut bytes = vec![0; self.length as usize];
        file.read_exact_at(&mut bytes, self.place).ok()?;
        if crc32fast::hash(&bytes) != self.crc {
            return None;
        }
        let (kind, bytes) = bytes.split_first()?;
        let kind = if *kind == 0 { Kind::Floats } else { Kind::Histograms };
        let Entry { count, min, max, .. } = *self;
        Some(Chunk { kind, count, min, max, bytes: bytes.into() })
    }
}
