//! Capture bytes as files: written whole or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use model::{CaptureKind, TargetId, Timestamp};

use crate::error::StoreError;

/// A blob's name tells what is in it, so that a lost catalog can be rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlobName {
    pub(crate) target: TargetId,
    pub(crate) time: Timestamp,
    pub(crate) kind: CaptureKind,
    pub(crate) checksum: u32,
}

impl BlobName {
    /// Path below `blobs/`.
    pub(crate) fn path(&self) -> PathBuf {
        let BlobName { target, time, kind, checksum } = self;
        let file = format!("{}-{}-{checksum:08x}{}", time.0, kind.as_str(), suffix(*kind));
        Path::new(&target.0.to_string()).join(file)
    }

    pub(crate) fn parse(dir: &str, file: &str) -> Option<BlobName> {
        let (name, _) = file.split_once('.')?;
        let mut parts = name.split('-');
        let blob = BlobName {
            target: TargetId(dir.parse().ok()?),
            time: Timestamp(parts.next()?.parse().ok()?),
            kind: CaptureKind::parse(parts.next()?)?,
            checksum: u32::from_str_radix(parts.next()?, 16).ok()?,
        };
        (name.len() + suffix(blob.kind).len() == file.len() && file.ends_with(suffix(blob.kind)))
            .then_some(blob)
    }
}

/// How files of a kind end, so that other tools know them.
fn suffix(kind: CaptureKind) -> &'static str {
    match kind {
        CaptureKind::Heap
        | CaptureKind::Goroutine
        | CaptureKind::GoroutineLeak
        | CaptureKind::Alloc
        | CaptureKind::Native
        | CaptureKind::Faults
        | CaptureKind::Mmap => ".pb.gz",
        CaptureKind::Graph => ".heap",
        CaptureKind::Trace => ".trace",
        CaptureKind::Runtime | CaptureKind::Rss => ".json.gz",
    }
}

/// Writes `bytes` so that the file is there with all of them, or not at all, whatever
/// happens to the machine.
pub(crate) fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    /// Two that are equal may be written at once.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let parent = path.parent().unwrap_or(Path::new("."));
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let temporary = path.with_extension(format!("{number}.tmp"));
    let write = || -> io::Result<()> {
        fs::create_dir_all(parent)?;
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(parent)?.sync_all()
    };
    write().map_err(|source| {
        // A half-written file takes the space that is missing.
        let _ = fs::remove_file(&temporary);
        StoreError::io(path, source)
    })
}

/// The CRC-32 and the length of a file, which may be larger than memory.
pub(crate) fn checksum(path: &Path) -> io::Result<(u32, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let count = file.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok((hasher.finalize(), length));
        };
        hasher.update(bytes);
        length += count as u64;
    }
}

/// Every blob, and the temporary files a crash left.
pub(crate) fn list(root: &Path) -> Result<(Vec<BlobName>, Vec<PathBuf>), StoreError> {
    let (mut blobs, mut temporary) = (Vec::new(), Vec::new());
    let read = |dir: &Path| -> Result<Vec<fs::DirEntry>, StoreError> {
        let entries = fs::read_dir(dir).map_err(|source| StoreError::io(dir, source))?;
        Ok(entries.filter_map(Result::ok).collect())
    };
    for dir in read(root)?.into_iter().filter(|entry| entry.path().is_dir()) {
        for file in read(&dir.path())? {
            let (dir, name) = (dir.file_name(), file.file_name());
            match BlobName::parse(&dir.to_string_lossy(), &name.to_string_lossy()) {
                Some(blob) => blobs.push(blob),
                None if file.path().extension().is_some_and(|e| e == "tmp") => {
                    temporary.push(file.path());
                }
                // Not ours: leave it alone.
                None => {}
            }
        }
    }
    Ok((blobs, temporary))
}
