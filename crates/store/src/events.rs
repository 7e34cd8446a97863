//! What happened, the last so many events.

use model::{TargetId, Timestamp};
use rusqlite::params;

use crate::catalog::Store;
use crate::error::StoreError;

/// Events that are kept; the oldest go.
const EVENTS_MAX: i64 = 20_000;

/// An event as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Key, ascending; 0 before it is stored.
    pub id: i64,
    /// When.
    pub time: Timestamp,
    /// Its kind.
    pub kind: String,
    /// How much it matters.
    pub level: String,
    /// Whom it is about.
    pub target: Option<TargetId>,
    /// One sentence.
    pub message: String,
    /// JSON object.
    pub fields: String,
}

/// Which events are wanted; the default is all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// After this key.
    pub after: Option<i64>,
    /// Before this key.
    pub before: Option<i64>,
    /// Of one of these kinds; empty is any.
    pub kinds: Vec<String>,
    /// About this target.
    pub target: Option<TargetId>,
}

impl Store {
    /// Adds events, all or none, gives them their keys, and forgets the oldest.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_events(&self, events: &mut [StoredEvent]) -> Result<(), StoreError> {
        let catalog = self.catalog();
        let transaction = catalog.unchecked_transaction()?;
        let sql = "INSERT INTO events (time, kind, level, target, message, fields) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        for event in &mut *events {
            let target = event.target.map(|target| target.0);
            let StoredEvent { time, kind, level, message, fields, .. } = &*event;
            transaction
                .prepare_cached(sql)?
                .execute(params![time.0, kind, level, target, message, fields])?;
            event.id = transaction.last_insert_rowid();
        }
        let oldest = transaction.last_insert_rowid() - EVENTS_MAX;
        transaction.execute("DELETE FROM events WHERE id <= ?1", [oldest])?;
        transaction.commit()?;
        Ok(())
    }

    /// The newest events that pass, newest first, at most `limit`; those after a key are the
    /// oldest of them, oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn events(
        &self,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        let order = if filter.after.is_some() { "ASC" } else { "DESC" };
        let kinds = filter.kinds.join("\n");
        let sql = format!(
            "SELECT id, time, kind, level, target, message, fields FROM events \
             WHERE (?1 IS NULL OR id > ?1) AND (?2 IS NULL OR id < ?2) AND \
             (?3 IS NULL OR target = ?3) AND \
             (?4 = '' OR instr(char(10) || ?4 || char(10), char(10) || kind || char(10)) > 0) \
             ORDER BY id {order} LIMIT ?5"
        );
        let catalog = self.catalog();
        let mut statement = catalog.prepare_cached(&sql)?;
        let target = filter.target.map(|target| target.0);
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let values = params![filter.after, filter.before, target, kinds, limit];
        let rows = statement.query_map(values, |row| {
            Ok(StoredEvent {
                id: row.get(0)?,
                time: Timestamp(row.get(1)?),
                kind: row.get(2)?,
                level: row.get(3)?,
                target: row.get::<_, Option<i64>>(4)?.map(TargetId),
                message: row.get(5)?,
                fields: row.get(6)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}
