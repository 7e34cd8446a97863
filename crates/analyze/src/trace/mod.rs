//! What a Go execution trace says: how much happened, what the collector did, and what
//! goroutines spent their time on.
//!
//! Each analysis takes the events one after the other and keeps what lives and what it
//! counts, never the events. Times at the edges of the trace are cut there.

pub mod collections;
pub mod drawing;
pub mod goroutines;
mod intern;
pub mod lifetimes;
pub mod profile;
pub mod summary;
pub mod tasks;
#[cfg(test)]
mod tests;
pub mod timeline;
pub mod utilization;

use model::trace::{Event, Tables};

/// Takes the events of a trace in their order.
pub trait Analysis {
    /// Takes one event; its ids are those of these tables.
    fn event(&mut self, event: &Event, tables: &Tables<'_>);
}

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How often.
    pub count: u64,
    /// In all.
    pub total_nanos: u64,
    /// The longest.
    pub max_nanos: u64,
}

impl Durations {
    fn add(&mut self, nanos: u64) {
        self.count += 1;
        self.total_nanos = self.total_nanos.saturating_add(nanos);
        self.max_nanos = self.max_nanos.max(nanos);
    }
}
