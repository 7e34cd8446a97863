//! Captures: bytes in a file, a row in the catalog.

use std::fs;
use std::path::PathBuf;

use model::{Capture, CaptureId, CaptureKind, TargetId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::blobs::{self, BlobName, write_durably};
use crate::catalog::Store;
use crate::error::StoreError;
use crate::targets::Identity;

/// A capture to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewCapture<'a> {
    /// Whose it is.
    pub target: TargetId,
    /// What it holds.
    pub kind: CaptureKind,
    /// When it was taken.
    pub time: Timestamp,
    /// Why it was taken.
    pub reason: &'a str,
    /// CPU time it cost.
    pub cost_micros: u64,
    /// Its bytes, as its kind has them.
    pub bytes: &'a [u8],
}

const COLUMNS: &str = "id, target, kind, time, reason, bytes, cost, checksum";

impl Store {
    /// Stores a capture. When this returns, the capture is on disk. What was read once and is
    /// stored for several rules is one capture, under the reason of the first.
    ///
    /// # Errors
    /// When the disk is full or fails; then nothing is stored.
    pub fn put_capture(&self, new: &NewCapture<'_>) -> Result<Capture, StoreError> {
        let NewCapture { target, kind, time, .. } = *new;
        let checksum = crc32fast::hash(new.bytes);
        let blob = BlobName { target, time, kind, checksum };
        if let Some(known) = same(&self.catalog(), &blob)? {
            return Ok(known);
        }
        let path = self.blob_path(&blob);
        write_durably(&path, new.bytes)?;
        let inserted = self.insert(&blob, new.reason, new.bytes.len() as u64, new.cost_micros);
        inserted.inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })
    }

    pub(crate) fn insert(
        &self,
        blob: &BlobName,
        reason: &str,
        bytes: u64,
        cost_micros: u64,
    ) -> Result<Capture, StoreError> {
        let sql = "INSERT INTO captures (target, kind, time, reason, bytes, cost, checksum) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let BlobName { target, time, kind, checksum } = *blob;
        let catalog = self.catalog();
        if let Some(known) = same(&catalog, blob)? {
            return Ok(known);
        }
        let (size, cost) = (bytes.cast_signed(), cost_micros.cast_signed());
        let values = params![target.0, kind.as_str(), time.0, reason, size, cost, checksum];
        catalog.execute(sql, values)?;
        let id = CaptureId(catalog.last_insert_rowid());
        let reason = reason.to_owned();
        Ok(Capture { id, target, kind, time, reason, bytes, cost_micros, checksum })
    }

    /// Captures of a target, newest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn captures(
        &self,
        target: TargetId,
        kind: Option<CaptureKind>,
        limit: usize,
    ) -> Result<Vec<Capture>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM captures WHERE target = ?1 AND (?2 IS NULL OR kind = ?2) \
             ORDER BY time DESC, id DESC LIMIT ?3"
        );
        let catalog = self.catalog();
        let mut statement = catalog.prepare_cached(&sql)?;
        let kind = kind.map(CaptureKind::as_str);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![target.0, kind, limit], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What is known about one capture.
    ///
    /// # Errors
    /// When there is no such capture.
    pub fn capture(&self, id: CaptureId) -> Result<Capture, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM captures WHERE id = ?1");
        let found = self.catalog().query_row(&sql, [id.0], row).optional()?;
        found.ok_or(StoreError::Missing { what: "capture", id: id.0 })
    }

    /// Where the bytes of a capture lie, for readers that map files. Nothing is verified:
    /// snapshot files have checksums of their own. The file is never written again; it may
    /// be removed at any time.
    ///
    /// # Errors
    /// When there is no such capture.
    pub fn capture_path(&self, id: CaptureId) -> Result<PathBuf, StoreError> {
        Ok(self.blob_path(&blob_name(&self.capture(id)?)))
    }

    /// The bytes of a capture, verified.
    ///
    /// # Errors
    /// When there is no such capture, or its file is not what was stored.
    pub fn read_capture(&self, id: CaptureId) -> Result<Vec<u8>, StoreError> {
        let capture = self.capture(id)?;
        let path = self.blob_path(&blob_name(&capture));
        let damaged = |why: String| StoreError::DamagedCapture { id: id.0, why };
        let bytes = fs::read(&path).map_err(|error| damaged(error.to_string()))?;
        if crc32fast::hash(&bytes) != capture.checksum {
            return Err(damaged("its checksum differs from what was stored".to_owned()));
        }
        Ok(bytes)
    }

    /// Removes a capture.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn delete_capture(&self, capture: &Capture) -> Result<(), StoreError> {
        // The row first: a file without a row is removed at the next start.
        self.catalog().execute("DELETE FROM captures WHERE id = ?1", [capture.id.0])?;
        let _ = fs::remove_file(self.blob_path(&blob_name(capture)));
        Ok(())
    }

    pub(crate) fn capture_blobs(&self) -> Result<Vec<(i64, BlobName)>, StoreError> {
        let catalog = self.catalog();
        let mut statement = catalog.prepare(&format!("SELECT {COLUMNS} FROM captures"))?;
        let rows = statement.query_map([], row)?;
        let rows = rows.map(|row| row.map(|capture| (capture.id.0, blob_name(&capture))));
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Enters every blob of a store whose catalog was lost; returns how many.
    pub(crate) fn rebuild(&self) -> Result<usize, StoreError> {
        let (blobs, _) = blobs::list(&self.dir.join("blobs"))?;
        let mut entered = 0;
        for blob in blobs {
            let path = self.blob_path(&blob);
            let Ok((checksum, bytes)) = blobs::checksum(&path) else { continue };
            if checksum != blob.checksum {
                continue;
            }
            if self.target(blob.target).is_err() {
                let path = self.dir.join("targets").join(format!("{}.json", blob.target.0));
                let json = fs::read(&path).map_err(|source| StoreError::io(&path, source))?;
                let Ok(identity) = serde_json::from_slice::<Identity>(&json) else { continue };
                self.enter(&identity, Some(blob.target), blob.time)?;
                self.mark_ended(blob.target)?;
            }
            self.insert(&blob, "recovered", bytes, 0)?;
            entered += 1;
        }
        Ok(entered)
    }
}

fn blob_name(capture: &Capture) -> BlobName {
    let Capture { target, time, kind, checksum, .. } = *capture;
    BlobName { target, time, kind, checksum }
}

fn same(catalog: &Connection, blob: &BlobName) -> Result<Option<Capture>, StoreError> {
    let BlobName { target, time, kind, checksum } = *blob;
    let sql = format!(
        "SELECT {COLUMNS} FROM captures \
         WHERE target = ?1 AND kind = ?2 AND time = ?3 AND checksum = ?4"
    );
    let mut statement = catalog.prepare_cached(&sql)?;
    let values = params![target.0, kind.as_str(), time.0, checksum];
    Ok(statement.query_row(values, row).optional()?)
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Capture> {
    let kind: String = row.get(2)?;
    Ok(Capture {
        id: CaptureId(row.get(0)?),
        target: TargetId(row.get(1)?),
        kind: CaptureKind::parse(&kind).unwrap_or(CaptureKind::Heap),
        time: Timestamp(row.get(3)?),
        reason: row.get(4)?,
        bytes: row.get::<_, i64>(5)?.cast_unsigned(),
        cost_micros: row.get::<_, i64>(6)?.cast_unsigned(),
        checksum: row.get(7)?,
    })
}
