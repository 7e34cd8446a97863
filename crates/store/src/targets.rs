//! Targets in the store.

use std::collections::BTreeMap;

use model::{Target, TargetId, TargetSpec, Timestamp};
use rusqlite::{OptionalExtension, params};
use serde::{Deserialize, Serialize};

use crate::blobs::write_durably;
use crate::catalog::Store;
use crate::error::StoreError;

/// A target and when it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredTarget {
    /// Key in the store.
    pub id: TargetId,
    /// What it is.
    pub target: Target,
    /// It ran when it was last looked at.
    pub is_alive: bool,
    /// First seen.
    pub first_seen: Timestamp,
    /// Last seen alive.
    pub last_seen: Timestamp,
}

/// `targets/ID.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    key: String,
    name: String,
    spec: String,
    pid: Option<u32>,
    labels: BTreeMap<String, String>,
}

/// One process is one target: a pid alone is not enough, it may be used again.
fn key(target: &Target) -> String {
    let label = |name: &str| target.labels.get(name).map_or("", String::as_str);
    format!("{}|{}|{}|{}", target.spec, label("exe"), label("instance"), label("start_ticks"))
}

impl Store {
    /// Enters a target or finds it again, and marks it alive.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_target(&self, target: &Target, now: Timestamp) -> Result<TargetId, StoreError> {
        let identity = Identity {
            key: key(target),
            name: target.name.clone(),
            spec: target.spec.to_string(),
            pid: target.pid,
            labels: target.labels.clone(),
        };
        let (id, is_new) = self.enter(&identity, None, now)?;
        if is_new {
            let json = serde_json::to_vec(&identity).unwrap_or_default();
            write_durably(&self.dir.join("targets").join(format!("{}.json", id.0)), &json)?;
        }
        Ok(id)
    }

    pub(crate) fn enter(
        &self,
        identity: &Identity,
        wanted: Option<TargetId>,
        now: Timestamp,
    ) -> Result<(TargetId, bool), StoreError> {
        let catalog = self.catalog();
        let find = "UPDATE targets SET last_seen = max(last_seen, ?2), alive = 1 WHERE key = ?1 \
                    RETURNING id";
        let found: Option<i64> =
            catalog.query_row(find, params![identity.key, now.0], |row| row.get(0)).optional()?;
        if let Some(id) = found {
            return Ok((TargetId(id), false));
        }
        let labels = serde_json::to_string(&identity.labels).unwrap_or_default();
        let insert = "INSERT INTO targets (id, key, name, spec, pid, labels, alive, first_seen, \
                      last_seen) VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?7)";
        let Identity { key, name, spec, pid, .. } = identity;
        let wanted = wanted.map(|id| id.0);
        catalog.execute(insert, params![wanted, key, name, spec, pid, labels, now.0])?;
        Ok((TargetId(catalog.last_insert_rowid()), true))
    }

    /// Notes that a target has ended.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn mark_ended(&self, id: TargetId) -> Result<(), StoreError> {
        self.catalog().execute("UPDATE targets SET alive = 0 WHERE id = ?1", [id.0])?;
        Ok(())
    }

    /// Notes that no target is known to be alive: the watcher starts anew.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn mark_all_ended(&self) -> Result<(), StoreError> {
        self.catalog().execute("UPDATE targets SET alive = 0", [])?;
        Ok(())
    }

    /// All targets, living ones first, then by name.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn targets(&self) -> Result<Vec<StoredTarget>, StoreError> {
        let catalog = self.catalog();
        let sql = "SELECT id, name, spec, pid, labels, alive, first_seen, last_seen FROM targets \
                   ORDER BY alive DESC, name, id";
        let mut statement = catalog.prepare_cached(sql)?;
        let rows = statement.query_map([], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// One target.
    ///
    /// # Errors
    /// When there is no such target.
    pub fn target(&self, id: TargetId) -> Result<StoredTarget, StoreError> {
        let sql = "SELECT id, name, spec, pid, labels, alive, first_seen, last_seen FROM targets \
                   WHERE id = ?1";
        let found = self.catalog().query_row(sql, [id.0], row).optional()?;
        found.ok_or(StoreError::Missing { what: "target", id: id.0 })
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<StoredTarget> {
    let spec: String = row.get(2)?;
    let labels: String = row.get(4)?;
    Ok(StoredTarget {
        id: TargetId(row.get(0)?),
        target: Target {
            name: row.get(1)?,
            spec: TargetSpec::parse(&spec).unwrap_or(TargetSpec::Name(spec)),
            pid: row.get(3)?,
            labels: serde_json::from_str(&labels).unwrap_or_default(),
        },
        is_alive: row.get(5)?,
        first_seen: Timestamp(row.get(6)?),
        last_seen: Timestamp(row.get(7)?),
    })
}
