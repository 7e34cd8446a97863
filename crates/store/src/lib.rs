//! What was captured, in one directory that survives `kill -9`.
//!
//! ```text
//! LOCK              flock and pid of the owner
//! catalog.db        SQLite (WAL): targets, captures, observations, diagnoses, what rules did
//! catalog.db        SQLite (WAL): targets, captures, observations, diagnoses, events
//! targets/ID.json   a target's identity, so that captures outlive a lost catalog
//! blobs/TARGET/TIME-KIND-CRC.pb.gz   profiles
//! blobs/TARGET/TIME-graph-CRC.heap    object graphs
//! blobs/TARGET/TIME-trace-CRC.trace   execution traces, as Go wrote them
//! blobs/TARGET/TIME-KIND-CRC.json.gz  runtime metrics, and where the resident bytes are
//! series/            labelled series; see [`SeriesStore`]
//! ```
//!
//! A capture is written to a temporary file, synced, renamed, and only then entered
//! in the catalog with a synchronous commit: what [`Store::put_capture`] returned
//! stays. Whatever else a crash leaves is removed when the store is opened.

mod blobs;
mod captures;
mod catalog;
mod diagnoses;
mod documents;
mod error;
mod events;
mod fields;
mod files;
mod lock;
mod observations;
mod retention;
mod rules;
mod series;
mod targets;
mod triggers;

pub use captures::NewCapture;
pub use catalog::{Options, Stats, Store};
pub use error::StoreError;
pub use events::{EventFilter, StoredEvent};
pub use fields::{Field, fields, series_names};
pub use files::BegunFile;
pub use observations::SeriesPoints;
pub use retention::Swept;
pub use rules::{RuleEvent, RuleEventQuery, RuleOutcome, RuleStateRow};
pub use series::{Appended, MatchOp, Matcher, Selected, SeriesOptions, SeriesStats, SeriesStore};
pub use targets::StoredTarget;
pub use triggers::{NewTrigger, TriggerRetention};

#[cfg(test)]
mod tests;
