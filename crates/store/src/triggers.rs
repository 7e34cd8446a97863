//! Captures that rules had taken, and which of them are kept.
//!
//! As CockroachDB keeps its heap profiles: the best few of each ramp-up (a rising sequence of
//! triggers), and a cap on the bytes of all. Older ones go only once a good capture is stored.
//! What shows a program before the kernel killed it stays as long as there is room for it.

use std::collections::BTreeSet;

use model::{CaptureId, TargetId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use crate::catalog::Store;
use crate::error::StoreError;
use crate::retention::Swept;

/// A rule that fired for a target, with what was captured.
#[derive(Clone, Copy, Debug)]
pub struct NewTrigger<'a> {
    /// The target.
    pub target: TargetId,
    /// The rule.
    pub rule: &'a str,
    /// When it fired.
    pub time: Timestamp,
    /// The value that made it fire; the higher, the more its captures are worth.
    pub score: f64,
    /// What was captured. Without any nothing is entered, and nothing goes.
    pub captures: &'a [CaptureId],
}

/// How much of what rules had taken is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TriggerRetention {
    /// Triggers of one ramp-up: those with the highest values.
    pub per_ramp: usize,
    /// Bytes of all of them together.
    pub bytes_max: u64,
}

/// After this time without a trigger, the next one begins a ramp whatever its value.
const RAMP_PAUSE_MILLIS: i64 = 3_600_000;
/// What stands in a rule's place for what was captured in the moment of a kill.
/// No rule has such a name.
const KILL: &str = "(oom kill)";
/// A kill belongs to a trigger that came at most so long before it.
const KILL_MILLIS: i64 = 600_000;

/// Tables, beside those a store has had from the beginning.
pub(crate) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS triggers (
        id INTEGER PRIMARY KEY AUTOINCREMENT, target INTEGER NOT NULL REFERENCES targets,
        rule TEXT NOT NULL, time INTEGER NOT NULL, score REAL NOT NULL, ramp INTEGER NOT NULL,
        killed INTEGER NOT NULL DEFAULT 0);
    CREATE INDEX IF NOT EXISTS triggers_by_ramp ON triggers (target, rule, ramp);
    CREATE TABLE IF NOT EXISTS trigger_captures (
        capture INTEGER PRIMARY KEY REFERENCES captures ON DELETE CASCADE,
        trigger INTEGER NOT NULL REFERENCES triggers ON DELETE CASCADE);
    CREATE INDEX IF NOT EXISTS trigger_captures_by_trigger ON trigger_captures (trigger);";

impl Store {
    /// Enters a trigger whose captures are stored, then removes what is no longer to be kept.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_trigger(
        &self,
        new: &NewTrigger<'_>,
        keep: &TriggerRetention,
    ) -> Result<Swept, StoreError> {
        if new.captures.is_empty() {
            return Ok(Swept::default());
        }
        let (id, ramp) = self.enter_trigger(new)?;
        let mut spare = self.worse_of_ramp(new, ramp, keep.per_ramp)?;
        let protected = self.evidence_of_kills()?;
        spare.retain(|trigger| *trigger != id && !protected.contains(trigger));
        let mut swept = self.remove_triggers(&spare)?;
        let excess = self.trigger_bytes()?.saturating_sub(keep.bytes_max);
        swept.add(self.remove_bytes(excess, id, &protected)?);
        Ok(swept)
    }

    /// Notes that the kernel killed a target for want of memory: its last trigger shows what it
    /// was like, and stays when others go.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn mark_killed(&self, target: TargetId, time: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE triggers SET killed = 1 WHERE id = (SELECT id FROM triggers WHERE \
                   target = ?1 AND time >= ?2 AND rule <> ?3 ORDER BY id DESC LIMIT 1)";
        self.catalog().execute(sql, params![target.0, time.0 - KILL_MILLIS, KILL])?;
        Ok(())
    }

    /// Enters what was captured of a target in the moment when the kernel killed it: that stays
    /// beside its last trigger, by the same rules.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_kill(
        &self,
        target: TargetId,
        time: Timestamp,
        capture: CaptureId,
    ) -> Result<(), StoreError> {
        let captures = &[capture];
        let (id, _) =
            self.enter_trigger(&NewTrigger { target, rule: KILL, time, score: 0.0, captures })?;
        self.catalog().execute("UPDATE triggers SET killed = 1 WHERE id = ?1", [id])?;
        Ok(())
    }

    /// What rules may have stored together, where nothing else is said.
    pub fn trigger_retention(&self) -> TriggerRetention {
        TriggerRetention { per_ramp: 5, bytes_max: self.keep_bytes() / 4 }
    }

    /// Bytes of all captures that rules had taken.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn trigger_bytes(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(sum(bytes), 0) FROM captures JOIN trigger_captures \
                   ON captures.id = trigger_captures.capture";
        Ok(self.catalog().query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// Captures that rules had taken.
    pub(crate) fn trigger_captures(&self) -> Result<BTreeSet<CaptureId>, StoreError> {
        let catalog = self.catalog();
        let mut statement = catalog.prepare_cached("SELECT capture FROM trigger_captures")?;
        let rows = statement.query_map([], |row| row.get(0).map(CaptureId))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Forgets triggers of which no capture is left.
    pub(crate) fn forget_empty_triggers(&self) -> Result<(), StoreError> {
        let sql = "DELETE FROM triggers WHERE id NOT IN (SELECT trigger FROM trigger_captures)";
        self.catalog().execute(sql, [])?;
        Ok(())
    }

    fn enter_trigger(&self, new: &NewTrigger<'_>) -> Result<(i64, i64), StoreError> {
        let NewTrigger { target, rule, time, score, captures } = *new;
        // Where nothing says how high it was, all are worth the same.
        let score = if score.is_finite() { score } else { 0.0 };
        let catalog = self.catalog();
        let transaction = catalog.unchecked_transaction()?;
        let ramp = ramp_of(&transaction, target, rule, time, score)?;
        let sql =
            "INSERT INTO triggers (target, rule, time, score, ramp) VALUES (?1, ?2, ?3, ?4, ?5)";
        transaction.execute(sql, params![target.0, rule, time.0, score, ramp])?;
        let id = transaction.last_insert_rowid();
        for capture in captures {
            let sql = "INSERT OR IGNORE INTO trigger_captures (capture, trigger) VALUES (?1, ?2)";
            transaction.execute(sql, params![capture.0, id])?;
        }
        transaction.commit()?;
        Ok((id, ramp))
    }

    /// The triggers of a ramp beyond its best.
    fn worse_of_ramp(
        &self,
        new: &NewTrigger<'_>,
        ramp: i64,
        best: usize,
    ) -> Result<Vec<i64>, StoreError> {
        let sql = "SELECT id FROM triggers WHERE target = ?1 AND rule = ?2 AND ramp = ?3 \
                   ORDER BY score DESC, id DESC LIMIT -1 OFFSET ?4";
        let best = i64::try_from(best).unwrap_or(i64::MAX);
        self.ids(sql, params![new.target.0, new.rule, ramp, best])
    }

    /// The last trigger before a kill of each program, and what was captured in its moment.
    fn evidence_of_kills(&self) -> Result<BTreeSet<i64>, StoreError> {
        let sql = "SELECT max(triggers.id) FROM triggers JOIN targets ON targets.id = target \
                   WHERE killed = 1 GROUP BY targets.name, rule = ?1";
        Ok(self.ids(sql, [KILL])?.into_iter().collect())
    }

    /// Removes triggers of so many bytes: of the ramp that ended first those of the least
    /// value, and only when nothing else is left the evidence of kills.
    fn remove_bytes(
        &self,
        mut excess: u64,
        newest: i64,
        protected: &BTreeSet<i64>,
    ) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        if excess == 0 {
            return Ok(swept);
        }
        let sql = "SELECT id FROM triggers JOIN (SELECT target, rule, ramp, max(time) AS ended \
                   FROM triggers GROUP BY target, rule, ramp) USING (target, rule, ramp) \
                   ORDER BY ended, score, id";
        let all = self.ids(sql, [])?;
        let (last, first): (Vec<i64>, Vec<i64>) =
            all.into_iter().filter(|id| *id != newest).partition(|id| protected.contains(id));
        for id in first.into_iter().chain(last) {
            if excess == 0 {
                break;
            }
            let removed = self.remove_triggers(&[id])?;
            excess = excess.saturating_sub(removed.bytes);
            swept.add(removed);
        }
        Ok(swept)
    }

    fn remove_triggers(&self, triggers: &[i64]) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        for trigger in triggers {
            let sql = "SELECT capture FROM trigger_captures WHERE trigger = ?1";
            for id in self.ids(sql, [trigger])? {
                let capture = self.capture(CaptureId(id))?;
                self.delete_capture(&capture)?;
                swept.captures += 1;
                swept.bytes += capture.bytes;
            }
            self.catalog().execute("DELETE FROM triggers WHERE id = ?1", [trigger])?;
        }
        Ok(swept)
    }

    fn ids(&self, sql: &str, values: impl rusqlite::Params) -> Result<Vec<i64>, StoreError> {
        let catalog = self.catalog();
        let mut statement = catalog.prepare_cached(sql)?;
        let rows = statement.query_map(values, |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// The ramp a trigger belongs to: that of the one before it while values rise.
fn ramp_of(
    catalog: &Connection,
    target: TargetId,
    rule: &str,
    time: Timestamp,
    score: f64,
) -> Result<i64, StoreError> {
    let sql = "SELECT ramp, score, time FROM triggers WHERE target = ?1 AND rule = ?2 \
               ORDER BY id DESC LIMIT 1";
    let last = catalog.query_row(sql, params![target.0, rule], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, f64>(1)?, row.get::<_, i64>(2)?))
    });
    Ok(match last.optional()? {
        None => 0,
        Some((ramp, before, at)) if score >= before && time.0 - at < RAMP_PAUSE_MILLIS => ramp,
        Some((ramp, ..)) => ramp + 1,
    })
}
