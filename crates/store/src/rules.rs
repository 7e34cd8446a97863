//! What capture rules did, and what of their state outlives the agent. Plain rows: what they
//! mean is the engine's business.

use model::{CaptureId, TargetId, Timestamp};
use rusqlite::{OptionalExtension, params};

use crate::catalog::Store;
use crate::error::StoreError;

/// Something a rule did, or was kept from doing.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleEvent {
    /// Key; 0 for a new one.
    pub id: i64,
    /// The engine's number of the decision.
    pub decision: u64,
    /// When.
    pub time: Timestamp,
    /// Which rule.
    pub rule: String,
    /// For whom.
    pub target: TargetId,
    /// For whom over restarts of the process: limits count by it.
    pub identity: String,
    /// `fired`, `refused`, `resolved`.
    pub kind: String,
    /// It may have taken captures, and counts for limits.
    pub is_spent: bool,
    /// The figure behind it.
    pub value: Option<f64>,
    /// Why.
    pub reason: String,
    /// What was taken; the captures may be gone meanwhile.
    pub captures: Vec<CaptureId>,
    /// CPU time it cost, microseconds.
    pub cpu_micros: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// What went wrong with its actions; empty when nothing did.
    pub error: String,
}

/// What came of an event's actions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleOutcome<'a> {
    /// What was taken.
    pub captures: &'a [CaptureId],
    /// CPU time it cost, microseconds.
    pub cpu_micros: u64,
    /// Bytes stored.
    pub bytes: u64,
    /// What went wrong; empty when nothing did.
    pub error: &'a str,
}

/// The state of a rule for a target, as the engine wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleStateRow {
    /// Which rule.
    pub rule: String,
    /// For whom.
    pub target: TargetId,
    /// The engine's own document.
    pub document: String,
}

/// Which events are asked for; newest first.
#[derive(Clone, Copy, Debug, Default)]
pub struct RuleEventQuery<'a> {
    /// Of this rule.
    pub rule: Option<&'a str>,
    /// For this target.
    pub target: Option<TargetId>,
    /// Older than this one: the next page.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS rule_events (
        id INTEGER PRIMARY KEY AUTOINCREMENT, decision INTEGER NOT NULL, time INTEGER NOT NULL,
        rule TEXT NOT NULL, target INTEGER NOT NULL, identity TEXT NOT NULL, kind TEXT NOT NULL,
        spent INTEGER NOT NULL, value REAL, reason TEXT NOT NULL, captures TEXT NOT NULL,
        cpu INTEGER NOT NULL, bytes INTEGER NOT NULL, error TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS rule_events_by_rule ON rule_events (rule, target);
    CREATE INDEX IF NOT EXISTS rule_events_by_target ON rule_events (target);
    CREATE INDEX IF NOT EXISTS rule_events_by_time ON rule_events (time);
    CREATE TABLE IF NOT EXISTS rule_states (
        rule TEXT NOT NULL, target INTEGER NOT NULL, document TEXT NOT NULL,
        PRIMARY KEY (rule, target)) WITHOUT ROWID;";

const COLUMNS: &str = "id, decision, time, rule, target, identity, kind, spent, value, reason, \
                       captures, cpu, bytes, error";

/// More events than this are not kept, whatever their age.
const EVENTS_MAX: i64 = 100_000;

impl Store {
    /// Enters events, all or none; returns their keys. Enter what fires before its actions run:
    /// then no crash gives a rule a fresh allowance.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_rule_events(&self, events: &[RuleEvent]) -> Result<Vec<i64>, StoreError> {
        let catalog = self.catalog();
        let transaction = catalog.unchecked_transaction()?;
        let sql = "INSERT INTO rule_events (decision, time, rule, target, identity, kind, spent, \
                   value, reason, captures, cpu, bytes, error) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
        let mut keys = Vec::with_capacity(events.len());
        for event in events {
            transaction.prepare_cached(sql)?.execute(params![
                event.decision.cast_signed(),
                event.time.0,
                event.rule,
                event.target.0,
                event.identity,
                event.kind,
                event.is_spent,
                event.value,
                event.reason,
                join(&event.captures),
                event.cpu_micros.cast_signed(),
                event.bytes.cast_signed(),
                event.error,
            ])?;
            keys.push(transaction.last_insert_rowid());
        }
        let sql = "DELETE FROM rule_events WHERE id <= \
                   (SELECT coalesce(max(id), 0) FROM rule_events) - ?1";
        transaction.execute(sql, [EVENTS_MAX])?;
        transaction.commit()?;
        Ok(keys)
    }

    /// Notes what came of an event's actions.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn finish_rule_event(&self, id: i64, outcome: &RuleOutcome<'_>) -> Result<(), StoreError> {
        let sql = "UPDATE rule_events SET captures = ?2, cpu = ?3, bytes = ?4, error = ?5 \
                   WHERE id = ?1";
        let RuleOutcome { captures, cpu_micros, bytes, error } = outcome;
        let (cpu, bytes) = (cpu_micros.cast_signed(), bytes.cast_signed());
        self.catalog().execute(sql, params![id, join(captures), cpu, bytes, error])?;
        Ok(())
    }

    /// What rules did, newest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn rule_events(&self, query: &RuleEventQuery<'_>) -> Result<Vec<RuleEvent>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM rule_events WHERE (?1 IS NULL OR rule = ?1) \
             AND (?2 IS NULL OR target = ?2) AND (?3 IS NULL OR id < ?3) \
             ORDER BY id DESC LIMIT ?4"
        );
        let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
        let target = query.target.map(|target| target.0);
        let catalog = self.catalog();
        let mut statement = catalog.prepare_cached(&sql)?;
        let rows = statement.query_map(params![query.rule, target, query.before, limit], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// What counts for limits since then, oldest first.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn rules_spent(&self, since: Timestamp) -> Result<Vec<RuleEvent>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM rule_events WHERE spent AND time > ?1 ORDER BY id");
        let catalog = self.catalog();
        let mut statement = catalog.prepare_cached(&sql)?;
        let rows = statement.query_map([since.0], row)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The highest number of a decision so far; 0 when there was none.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn last_rule_decision(&self) -> Result<u64, StoreError> {
        let sql = "SELECT max(decision) FROM rule_events";
        let last: Option<i64> =
            self.catalog().query_row(sql, [], |row| row.get(0)).optional()?.flatten();
        Ok(last.unwrap_or(0).cast_unsigned())
    }

    /// Replaces all states.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_rule_states(&self, states: &[RuleStateRow]) -> Result<(), StoreError> {
        let catalog = self.catalog();
        let transaction = catalog.unchecked_transaction()?;
        transaction.execute("DELETE FROM rule_states", [])?;
        let sql = "INSERT OR REPLACE INTO rule_states (rule, target, document) VALUES (?1, ?2, ?3)";
        for state in states {
            let row = params![state.rule, state.target.0, state.document];
            transaction.prepare_cached(sql)?.execute(row)?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// All states.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn rule_states(&self) -> Result<Vec<RuleStateRow>, StoreError> {
        let catalog = self.catalog();
        let sql = "SELECT rule, target, document FROM rule_states ORDER BY rule, target";
        let mut statement = catalog.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| {
            let (rule, document) = (row.get(0)?, row.get(2)?);
            Ok(RuleStateRow { rule, target: TargetId(row.get(1)?), document })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets events older than this; what counts for limits a month longer.
    pub(crate) fn thin_rule_events(&self, oldest: i64) -> Result<usize, StoreError> {
        const MONTH: i64 = 31 * 86_400_000;
        let sql = "DELETE FROM rule_events WHERE time < ?1 AND NOT (spent AND time >= ?2)";
        Ok(self.catalog().execute(sql, [oldest, oldest.saturating_sub(MONTH)])?)
    }
}

fn join(captures: &[CaptureId]) -> String {
    let ids: Vec<String> = captures.iter().map(|capture| capture.0.to_string()).collect();
    ids.join(" ")
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<RuleEvent> {
    let number = |at: usize| row.get::<_, i64>(at).map(i64::cast_unsigned);
    let captures: String = row.get(10)?;
    Ok(RuleEvent {
        id: row.get(0)?,
        decision: number(1)?,
        time: Timestamp(row.get(2)?),
        rule: row.get(3)?,
        target: TargetId(row.get(4)?),
        identity: row.get(5)?,
        kind: row.get(6)?,
        is_spent: row.get(7)?,
        value: row.get(8)?,
        reason: row.get(9)?,
        captures: captures.split(' ').filter_map(|id| id.parse().ok().map(CaptureId)).collect(),
        cpu_micros: number(11)?,
        bytes: number(12)?,
        error: row.get(13)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    fn event(decision: u64, seconds: i64, rule: &str, target: i64, kind: &str) -> RuleEvent {
        RuleEvent {
            id: 0,
            decision,
            time: Timestamp(seconds * 1000),
            rule: rule.to_owned(),
            target: TargetId(target),
            identity: "shop||".to_owned(),
            kind: kind.to_owned(),
            is_spent: kind == "fired",
            value: Some(0.5),
            reason: "rss 2 of 1".to_owned(),
            captures: Vec::new(),
            cpu_micros: 0,
            bytes: 0,
            error: String::new(),
        }
    }

    #[test]
    fn events_are_there_after_reopening_and_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let events = [
            event(1, 10, "a", 1, "fired"),
            event(2, 20, "b", 1, "refused"),
            event(3, 30, "a", 2, "fired"),
            event(4, 40, "a", 1, "resolved"),
        ];
        let keys = store.put_rule_events(&events).unwrap();
        let captures = [CaptureId(5), CaptureId(9)];
        let outcome = RuleOutcome {
            captures: &captures,
            cpu_micros: 7,
            bytes: 8,
            error: "half of it failed",
        };
        store.finish_rule_event(keys[0], &outcome).unwrap();
        drop(store);
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let find = |query: RuleEventQuery<'_>| {
            let found = store.rule_events(&query).unwrap();
            found.iter().map(|event| event.decision).collect::<Vec<u64>>()
        };
        let all = RuleEventQuery { limit: 10, ..RuleEventQuery::default() };
        assert_eq!(find(all), [4, 3, 2, 1]);
        assert_eq!(find(RuleEventQuery { limit: 2, ..all }), [4, 3]);
        assert_eq!(find(RuleEventQuery { before: Some(keys[2]), ..all }), [2, 1]);
        assert_eq!(
            find(RuleEventQuery { rule: Some("a"), target: Some(TargetId(1)), ..all }),
            [4, 1]
        );
        let spent = store.rules_spent(Timestamp(9_999)).unwrap();
        assert_eq!(spent.iter().map(|event| event.decision).collect::<Vec<u64>>(), [1, 3]);
        let first = &spent[0];
        assert_eq!(
            (first.cpu_micros, first.bytes, first.captures.as_slice()),
            (7, 8, &captures[..])
        );
        assert_eq!(first.error, "half of it failed");
        assert_eq!(store.last_rule_decision().unwrap(), 4);
        // Old events go; what limits may count stays a month longer.
        assert_eq!(store.thin_rule_events(50_000).unwrap(), 2);
        assert_eq!(store.thin_rule_events(50_000 + 32 * 86_400_000).unwrap(), 2);
    }

    #[test]
    fn states_are_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), Options::default()).unwrap();
        let state = |rule: &str, document: &str| RuleStateRow {
            rule: rule.to_owned(),
            target: TargetId(1),
            document: document.to_owned(),
        };
        store.put_rule_states(&[state("b", "{}"), state("a", "1")]).unwrap();
        assert_eq!(store.rule_states().unwrap(), [state("a", "1"), state("b", "{}")]);
        store.put_rule_states(&[state("a", "2")]).unwrap();
        assert_eq!(store.rule_states().unwrap(), [state("a", "2")]);
    }

    #[test]
    fn a_store_of_before_opens_and_gets_the_tables() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path(), Options::default()).unwrap());
        let path = dir.path().join("catalog.db");
        let catalog = rusqlite::Connection::open(&path).unwrap();
        catalog.execute_batch("DROP TABLE rule_events; DROP TABLE rule_states;").unwrap();
        drop(catalog);
        let store = Store::open(dir.path(), Options::default()).unwrap();
        assert_eq!(store.put_rule_events(&[event(1, 1, "a", 1, "fired")]).unwrap().len(), 1);
    }
}
