//! Object graphs and traces: captures too large to be held in memory, so they are written
//! as they come and read where they lie.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Bytes, Capture, CaptureKind, TargetId, Timestamp};

use crate::blobs::{self, BlobName};
use crate::catalog::Store;
use crate::error::StoreError;

/// A large capture that is being written. Dropped before [`Store::put_file`] it leaves nothing.
#[derive(Debug)]
pub struct BegunFile {
    out: BufWriter<File>,
    temporary: PathBuf,
    target: TargetId,
    kind: CaptureKind,
    time: Timestamp,
    checksum: crc32fast::Hasher,
    bytes: u64,
    bytes_max: u64,
}

impl Write for BegunFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes + bytes.len() as u64 > self.bytes_max {
            let message = format!(
                "the {} takes more than {}, half of what this store keeps",
                self.kind.as_str(),
                Bytes(self.bytes_max)
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, message));
        }
        let count = self.out.write(bytes)?;
        self.checksum.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for BegunFile {
    fn drop(&mut self) {
        // Once it is a capture there is no file of this name.
        let _ = fs::remove_file(&self.temporary);
    }
}

impl Store {
    /// A path that nothing has, for bytes on their way into the store. What is left there
    /// by a crash goes when the store is opened.
    ///
    /// # Errors
    /// When the folder cannot be created.
    pub fn scratch_path(&self) -> Result<PathBuf, StoreError> {
        static TURN: AtomicU64 = AtomicU64::new(0);
        let folder = self.dir.join("blobs").join("scratch");
        fs::create_dir_all(&folder).map_err(|source| StoreError::io(&folder, source))?;
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        Ok(folder.join(format!("{}-{turn}.tmp", std::process::id())))
    }

    /// Begins a large capture of `target`, which is written with [`Write`]. Only the user
    /// may read it: memory holds secrets.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn begin_file(
        &self,
        target: TargetId,
        kind: CaptureKind,
        time: Timestamp,
    ) -> Result<BegunFile, StoreError> {
        // Two of the same moment must not share a file.
        static TURN: AtomicU64 = AtomicU64::new(0);
        let folder = self.dir.join("blobs").join(target.0.to_string());
        let turn = TURN.fetch_add(1, Ordering::Relaxed);
        let temporary = folder.join(format!("{}-{}-{turn}.tmp", time.0, kind.as_str()));
        let create = || {
            fs::create_dir_all(&folder)?;
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)
        };
        let file = create().map_err(|source| StoreError::io(&temporary, source))?;
        Ok(BegunFile {
            out: BufWriter::with_capacity(1 << 20, file),
            temporary,
            target,
            kind,
            time,
            checksum: crc32fast::Hasher::new(),
            bytes: 0,
            bytes_max: self.file_bytes_max(),
        })
    }

    /// Enters a file that lies elsewhere and stays there: a link, for a store that
    /// lives as long as somebody looks at the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn link_file(
        &self,
        target: TargetId,
        kind: CaptureKind,
        time: Timestamp,
        reason: &str,
        file: &Path,
    ) -> Result<Capture, StoreError> {
        let io = |source| StoreError::io(file, source);
        let (checksum, bytes) = blobs::checksum(file).map_err(io)?;
        let blob = BlobName { target, time, kind, checksum };
        let path = self.blob_path(&blob);
        let link = || -> io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
            std::os::unix::fs::symlink(file, &path)
        };
        link().map_err(io)?;
        self.insert(&blob, reason, bytes, 0)
    }

    /// Stores a large capture that has been written. When this returns, it is on disk.
    ///
    /// # Errors
    /// When the disk is full or fails; then nothing is stored.
    pub fn put_file(
        &self,
        mut begun: BegunFile,
        reason: &str,
        cost_micros: u64,
    ) -> Result<Capture, StoreError> {
        let checksum = begun.checksum.clone().finalize();
        let BegunFile { target, kind, time, bytes, .. } = begun;
        let blob = BlobName { target, time, kind, checksum };
        let path = self.blob_path(&blob);
        let mut finish = || -> io::Result<()> {
            begun.out.flush()?;
            begun.out.get_ref().sync_all()?;
            fs::rename(&begun.temporary, &path)?;
            File::open(path.parent().unwrap_or(&self.dir))?.sync_all()
        };
        finish().map_err(|source| StoreError::io(&path, source))?;
        self.insert(&blob, reason, bytes, cost_micros).inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })
    }
}
