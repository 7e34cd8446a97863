//! What can go wrong with a store.

use std::io;
use std::path::{Path, PathBuf};

/// A store operation that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{path} is in use by process {pid}")]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The owner.
        pid: String,
    },
    /// The catalog is damaged.
    #[error("the catalog of {path} is damaged: {why}")]
    Damaged {
        /// The directory.
        path: PathBuf,
        /// What SQLite says.
        why: String,
    },
    /// The catalog was written by a newer memsight.
    #[error("{path} was written by a newer memsight (schema {found}, this one knows {known})")]
    Newer {
        /// The directory.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A capture's bytes are not what was stored.
    #[error("capture {id} is damaged: {why}")]
    DamagedCapture {
        /// The capture.
        id: i64,
        /// What is wrong.
        why: String,
    },
    /// No such thing in the store.
    #[error("there is no {what} {id}")]
    Missing {
        /// `target` or `capture`.
        what: &'static str,
        /// Its key.
        id: i64,
    },
    /// More than may be read at once.
    #[error("more than {max} {what} were selected")]
    TooMuch {
        /// `samples`.
        what: &'static str,
        /// The limit.
        max: u64,
    },
    /// The disk is full.
    #[error("no space left for {path}")]
    Full {
        /// Where.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// SQLite failed.
    #[error("catalog: {0}")]
    Catalog(rusqlite::Error),
}

impl StoreError {
    pub(crate) fn io(path: &Path, source: io::Error) -> StoreError {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                StoreError::Full { path: path.to_owned() }
            }
            _ => StoreError::Io { path: path.to_owned(), source },
        }
    }

    /// What the person at the terminal can do.
    pub fn next_step(&self) -> Option<&'static str> {
        match self {
            StoreError::Locked { .. } => Some("stop that process, or name another --store"),
            StoreError::Damaged { .. } => {
                Some("--repair sets the catalog aside and rebuilds it from the captures")
            }
            StoreError::Newer { .. } => Some("use that version, or name another --store"),
            StoreError::Full { .. } => {
                Some("free some space, or lower --keep-bytes; nothing stored is lost")
            }
            StoreError::TooMuch { .. } => Some("ask for fewer series, or a shorter time"),
            _ => None,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full { path: "catalog.db".into() },
            _ => StoreError::Catalog(error),
        }
    }
}
