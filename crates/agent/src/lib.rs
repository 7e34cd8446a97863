//! The watch: finds targets, observes them, takes captures on a schedule, keeps the
//! verdict up to date, and tells subscribers what happened.
//!
//! One thread a target, so that one that stops answering holds up nobody. Each
//! spends at most about one percent of a core: what a round cost decides how soon
//! the next one comes.

mod events;
mod graphs;
mod watch;
mod watcher;
mod window;

pub use events::{Event, Publish};
pub use watch::{Config, Watch};
pub use window::Window;
