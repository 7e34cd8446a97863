//! Capture rules: which targets, which condition, how long, what to do, how often.
//!
//! [`config`] is what stands in a file, `compile` checks it, [`Engine`] runs it: it is given what
//! is learned of each target and returns decisions. It opens nothing and reads no clock.
//! Whoever runs the engine carries out the actions, and tells it what they cost ([`Engine::ran`]).

mod cases;
mod compile;
pub mod config;
mod defaults;
mod engine;
mod evaluate;
mod limits;
mod references;
pub mod replay;
mod rule;
pub mod saved;
mod signals;
mod state;
mod units;
mod window;

#[cfg(test)]
mod tests;

pub use cases::{CaseConfig, CaseFile, CaseResult, parse_cases, run_case};
pub use compile::compile;
pub use config::{Fault, RuleConfig, RuleFile};
pub use defaults::{DEFAULTS, defaults};
pub use engine::{Cost, Decision, DecisionKind, Engine, Event, Input};
pub use evaluate::{Mark, Truth};
pub use limits::{Refusal, Spent};
pub use references::expand;
pub use rule::{Action, EventKind, Rule, Take, TargetInfo};
pub use signals::{Signal, SignalKind, signals};
pub use state::{Phase, RuleView, Saved, SavedState};
pub use units::Unit;

/// Reads and checks a file of rules.
///
/// # Errors
/// All that is wrong with it; of its form only the first.
///
/// ```
/// let rules = agent::rules::parse("
/// rules:
///   - name: near-limit
///     when: {signal: limit_share, above: 90%}
///     do: [{capture: heap}]
/// ").unwrap();
/// assert_eq!(rules[0].name, "near-limit");
/// let faults = agent::rules::parse("rules: [{name: x, when: {signal: rss}}]").unwrap_err();
/// assert_eq!(faults[0].to_string(), "1:34: there is no signal \"rss\"; did you mean rss_bytes?");
/// ```
pub fn parse(text: &str) -> Result<Vec<Rule>, Vec<Fault>> {
    let file = config::parse(text).map_err(|fault| vec![fault])?;
    compile(&file.rules)
}

/// Faults as one text, a line each.
pub fn list(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}
