//! The watch: finds targets, observes them, takes captures on a schedule, keeps the
//! verdict up to date, and tells subscribers what happened.
//!
//! A few threads share all targets, and one that stops answering holds up nobody (`pool`).
//! Each target costs at most about one percent of a core: what a round cost decides how
//! soon the next one comes.

pub mod actions;
mod agent;
mod alerts;
pub mod budget;
mod bus;
pub mod captures;
pub mod config;
pub mod evaluation;
mod events;
mod failures;
mod figures;
mod graphs;
pub mod journal;
mod kills;
mod levels;
mod pool;
pub mod probes;
pub mod processes;
pub mod query;
mod registry;
pub mod rules;
mod runner;
pub mod safety;
pub mod scrape;
mod seeds;
pub mod sink;
mod standing;
mod watch;
mod watcher;
mod window;

pub use agent::{Agent, AgentError, Figures, Prepared, Tally, View};
pub use bus::{Bus, Record};
pub use events::{Event, Level, Publish};
pub use failures::Part;
pub use figures::Latest;
pub use kills::OOM_KILL;
pub use registry::{OnKernel, Registry, Watched};
pub use runner::{Notice, Runner, Tell};
pub use watch::{Config, Watch};
pub use window::Window;
