//! Rules: files of them as Prometheus reads them, their evaluation, and tests of them.

mod alerts;
mod file;
mod group;
mod unittest;

pub use alerts::{Alert, AlertState, SavedAlert};
pub use file::{Rule, RuleError, RuleFile, RuleGroup, RuleKind};
pub use group::{Environment, GroupState, Outcome, RuleHealth};
pub use unittest::{UnitTests, run_unit_tests};
