//! Opening a store: lock, schema, integrity, what a crash left behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use crate::blobs::{self, BlobName};
use crate::error::StoreError;
use crate::fields;
use crate::lock::Lock;
use crate::rules;
use crate::triggers;

/// How a store is opened and how long it keeps things.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rebuilds a damaged catalog from the captures.
    pub repair: bool,
    /// Captures and observations older than this go.
    pub keep: Duration,
    /// Captures above this size together go, oldest first.
    pub keep_bytes: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options { repair: false, keep: Duration::from_secs(7 * 86_400), keep_bytes: 2 << 30 }
    }
}

/// Figures about a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Targets.
    pub targets: u64,
    /// Captures.
    pub captures: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An open store; it may be shared between threads.
#[derive(Debug)]
pub struct Store {
    pub(crate) dir: PathBuf,
    /// How long captures are kept, and how many bytes of them.
    keep: Mutex<(Duration, u64)>,
    connection: Mutex<Connection>,
    warnings: Vec<String>,
    _lock: Lock,
}

const SCHEMA_VERSION: i64 = 1;

impl Store {
    /// Opens or creates the store in `dir`.
    ///
    /// # Errors
    /// When another process has it, it is damaged, or the directory cannot be used.
    pub fn open(dir: &Path, options: Options) -> Result<Store, StoreError> {
        for part in ["blobs", "targets"] {
            let part = dir.join(part);
            fs::create_dir_all(&part).map_err(|source| StoreError::io(&part, source))?;
        }
        let lock = Lock::take(dir)?;
        let mut warnings = Vec::new();
        let connection = match open_catalog(dir) {
            Err(StoreError::Damaged { why, .. }) if options.repair => {
                warnings.push(format!("the catalog was damaged ({why}) and is rebuilt"));
                set_aside(dir)?;
                open_catalog(dir)?
            }
            result => result?,
        };
        let connection = Mutex::new(connection);
        let keep = Mutex::new((options.keep, options.keep_bytes));
        let mut store = Store { dir: dir.to_owned(), keep, connection, warnings, _lock: lock };
        if store.warnings.is_empty() {
            store.tidy_after_crash()?;
        } else {
            let captures = store.rebuild()?;
            store.warnings.push(format!("{captures} captures were recovered"));
        }
        Ok(store)
    }

    /// What was noticed while opening.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Changes how long captures are kept, and how many bytes of them.
    pub fn set_keep(&self, keep: Duration, keep_bytes: u64) {
        *self.keep.lock().unwrap_or_else(PoisonError::into_inner) = (keep, keep_bytes);
    }

    /// How long captures are kept.
    pub(crate) fn keep(&self) -> Duration {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    /// Bytes of captures that are kept.
    pub(crate) fn keep_bytes(&self) -> u64 {
        self.keep.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// Counts.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let sql = "SELECT (SELECT count(*) FROM targets), count(*), coalesce(sum(bytes), 0) \
                   FROM captures";
        let row = |row: &rusqlite::Row<'_>| {
            let number = |at| row.get::<_, i64>(at).map(i64::cast_unsigned);
            Ok(Stats { targets: number(0)?, captures: number(1)?, bytes: number(2)? })
        };
        Ok(self.catalog().query_row(sql, [], row)?)
    }

    /// The connection. A panic elsewhere cannot leave it inside a transaction: those
    /// roll back when dropped.
    pub(crate) fn catalog(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn blob_path(&self, name: &BlobName) -> PathBuf {
        self.dir.join("blobs").join(name.path())
    }

    /// Removes files without a row (never acknowledged) and rows without a file.
    fn tidy_after_crash(&mut self) -> Result<(), StoreError> {
        let (blobs, temporary) = blobs::list(&self.dir.join("blobs"))?;
        for path in temporary {
            let _ = fs::remove_file(path);
        }
        let known = self.capture_blobs()?;
        let on_disk: std::collections::HashSet<PathBuf> =
            blobs.iter().map(BlobName::path).collect();
        let in_catalog: std::collections::HashSet<PathBuf> =
            known.iter().map(|(_, blob)| blob.path()).collect();
        for blob in blobs.iter().filter(|blob| !in_catalog.contains(&blob.path())) {
            let _ = fs::remove_file(self.blob_path(blob));
        }
        let lost: Vec<i64> = known
            .iter()
            .filter(|(_, blob)| !on_disk.contains(&blob.path()))
            .map(|(id, _)| *id)
            .collect();
        for id in &lost {
            self.catalog().execute("DELETE FROM captures WHERE id = ?1", [id])?;
        }
        if !lost.is_empty() {
            self.warnings.push(format!("the files of {} captures are gone", lost.len()));
        }
        Ok(())
    }
}

fn open_catalog(dir: &Path) -> Result<Connection, StoreError> {
    let damaged = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Damaged { path: dir.to_owned(), why: error.to_string() }
        }
        _ => StoreError::from(error),
    };
    let connection = Connection::open(dir.join("catalog.db")).map_err(damaged)?;
    connection.busy_timeout(Duration::from_secs(5)).map_err(damaged)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(damaged)?;
    // FULL: a commit is on disk when it returns, also over a power cut.
    connection.pragma_update(None, "synchronous", "FULL").map_err(damaged)?;
    connection.pragma_update(None, "cache_size", -2048).map_err(damaged)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(damaged)?;
    let check: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(damaged)?;
    if check != "ok" {
        return Err(StoreError::Damaged { path: dir.to_owned(), why: check });
    }
    let found: i64 =
        connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(damaged)?;
    if found > SCHEMA_VERSION {
        return Err(StoreError::Newer { path: dir.to_owned(), found, known: SCHEMA_VERSION });
    }
    connection.execute_batch(&schema()).map_err(damaged)?;
    // Tables that came later are made where they are missing: older stores stay as they are.
    connection.execute_batch(triggers::SCHEMA).map_err(damaged)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(damaged)?;
    Ok(connection)
}

fn schema() -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS targets (
            id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
            spec TEXT NOT NULL, pid INTEGER, labels TEXT NOT NULL, alive INTEGER NOT NULL,
            first_seen INTEGER NOT NULL, last_seen INTEGER NOT NULL);
         CREATE TABLE IF NOT EXISTS captures (
            id INTEGER PRIMARY KEY AUTOINCREMENT, target INTEGER NOT NULL REFERENCES targets,
            kind TEXT NOT NULL, time INTEGER NOT NULL, reason TEXT NOT NULL,
            bytes INTEGER NOT NULL, cost INTEGER NOT NULL, checksum INTEGER NOT NULL);
         CREATE INDEX IF NOT EXISTS captures_by_target ON captures (target, kind, time);
         CREATE INDEX IF NOT EXISTS captures_by_time ON captures (time);
         CREATE TABLE IF NOT EXISTS observations (
            target INTEGER NOT NULL REFERENCES targets, time INTEGER NOT NULL, {},
            PRIMARY KEY (target, time)) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS diagnoses (
            target INTEGER PRIMARY KEY REFERENCES targets, time INTEGER NOT NULL,
            document TEXT NOT NULL);
         CREATE TABLE IF NOT EXISTS documents (
            name TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS events (
            id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL, kind TEXT NOT NULL,
            level TEXT NOT NULL, target INTEGER, message TEXT NOT NULL, fields TEXT NOT NULL);
         {}",
        fields::columns(" INTEGER"),
        rules::SCHEMA
    )
}

fn set_aside(dir: &Path) -> Result<(), StoreError> {
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let stamp = time.map_or(0, |time| time.as_secs());
    for name in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let path = dir.join(name);
        if path.exists() {
            let aside = dir.join(format!("{name}.damaged-{stamp}"));
            fs::rename(&path, &aside).map_err(|source| StoreError::io(&path, source))?;
        }
    }
    Ok(())
}
