//! Level signals over time.

use model::{Observation, TargetId, Timestamp};
use rusqlite::{Connection, ToSql, params, params_from_iter};

use crate::catalog::Store;
use crate::error::StoreError;
use crate::fields::{self, FIELDS};

/// Series of one target in columns; `None` is unknown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SeriesPoints {
    /// Times, ascending.
    pub times: Vec<Timestamp>,
    /// Name and one value a time.
    pub series: Vec<(&'static str, Vec<Option<i64>>)>,
}

impl Store {
    /// Adds observations of a target, all or none.
    ///
    /// # Errors
    /// When the catalog cannot be written.
    pub fn put_observations(
        &self,
        target: TargetId,
        observations: &[Observation],
    ) -> Result<(), StoreError> {
        let places = vec!["?"; FIELDS.len() + 2].join(", ");
        let names = fields::columns("");
        let sql = format!(
            "INSERT OR REPLACE INTO observations (target, time, {names}) VALUES ({places})"
        );
        let catalog = self.catalog();
        // A power cut may take the last minute of them, and each would have to wait for the disk.
        // Of what others put, it takes nothing.
        catalog.pragma_update(None, "synchronous", "NORMAL")?;
        let put = insert(&catalog, &sql, target, observations);
        catalog.pragma_update(None, "synchronous", "FULL")?;
        Ok(put?)
    }

    /// Observations from `from` to `to`, both included, in time order.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn observations(
        &self,
        target: TargetId,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<Observation>, StoreError> {
        let sql = format!(
            "SELECT time, {} FROM observations WHERE target = ?1 AND time BETWEEN ?2 AND ?3 \
             ORDER BY time",
            fields::columns("")
        );
        let catalog = self.catalog();
        let mut statement = catalog.prepare_cached(&sql)?;
        let rows = statement.query_map(params![target.0, from.0, to.0], |row| {
            let mut observation =
                Observation { time: Timestamp(row.get(0)?), ..Observation::default() };
            for (index, field) in FIELDS.iter().enumerate() {
                if let Some(value) = row.get(index + 1)? {
                    (field.set)(&mut observation, value);
                }
            }
            Ok(observation)
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// The last observation.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn latest(&self, target: TargetId) -> Result<Option<Observation>, StoreError> {
        let sql = "SELECT max(time) FROM observations WHERE target = ?1";
        let time: Option<i64> = self.catalog().query_row(sql, [target.0], |row| row.get(0))?;
        let Some(time) = time.map(Timestamp) else { return Ok(None) };
        Ok(self.observations(target, time, time)?.pop())
    }

    /// All series with at most `points` times: of each stretch the instant with the
    /// largest resident set, so that peaks stay and every point did exist.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn series(
        &self,
        target: TargetId,
        from: Timestamp,
        to: Timestamp,
        points: usize,
    ) -> Result<SeriesPoints, StoreError> {
        let all = self.observations(target, from, to)?;
        let stride = all.len().div_ceil(points.max(1)).max(1);
        let kept: Vec<&Observation> = all
            .chunks(stride)
            .filter_map(|part| part.iter().max_by_key(|o| (o.process.rss_bytes, o.time)))
            .collect();
        let column = |field: &fields::Field| {
            (field.name, kept.iter().map(|observation| (field.get)(observation)).collect())
        };
        Ok(SeriesPoints {
            times: kept.iter().map(|observation| observation.time).collect(),
            series: FIELDS.iter().map(column).collect(),
        })
    }
}

fn insert(
    catalog: &Connection,
    sql: &str,
    target: TargetId,
    observations: &[Observation],
) -> rusqlite::Result<()> {
    let transaction = catalog.unchecked_transaction()?;
    for observation in observations {
        let mut values: Vec<Box<dyn ToSql>> =
            vec![Box::new(target.0), Box::new(observation.time.0)];
        values.extend(FIELDS.iter().map(|f| Box::new((f.get)(observation)) as Box<dyn ToSql>));
        transaction.prepare_cached(sql)?.execute(params_from_iter(values))?;
    }
    if let Some(last) = observations.last() {
        let seen = "UPDATE targets SET last_seen = max(last_seen, ?2) WHERE id = ?1";
        transaction.prepare_cached(seen)?.execute(params![target.0, last.time.0])?;
    }
    transaction.commit()
}
