//! An engine's memory in the store: limits, firings and high-water marks survive the agent.
//!
//! The order is what makes it safe: [`record`] before the actions run, [`finish`] after. An agent
//! that is killed in between has counted what it may have taken.

use model::{CaptureId, TargetId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{RuleEvent, RuleOutcome, RuleStateRow, Store, StoreError};

use super::engine::{Decision, DecisionKind, Engine};
use super::evaluate::Mark;
use super::limits::Spent;
use super::rule::{Rule, TargetInfo};
use super::state::{Saved, SavedState};

/// One state as the store has it.
#[derive(Serialize, Deserialize)]
struct Document {
    firing_since: Option<i64>,
    is_throttled: bool,
    last_acted: Option<i64>,
    /// Height, since when it is watched, what was reached since.
    marks: Vec<(Option<f64>, i64, f64)>,
}

/// What an engine with these rules goes on from.
///
/// # Errors
/// When the store cannot be read.
pub fn load(store: &Store, rules: &[Rule], now: Timestamp) -> Result<Saved, StoreError> {
    let longest = rules.iter().map(|rule| rule.limits.longest()).max().unwrap_or(0);
    let spent = store.rules_spent(Timestamp(now.0.saturating_sub(longest)))?;
    let spent = spent.into_iter().map(|event| Spent {
        decision: event.decision,
        time: event.time,
        rule: event.rule.into(),
        identity: event.identity.into(),
        cpu_micros: event.cpu_micros,
        bytes: event.bytes,
    });
    let states = store.rule_states()?;
    // A state that cannot be read is of another version: the rule starts from nothing.
    let states = states.into_iter().filter_map(state);
    Ok(Saved {
        states: states.collect(),
        spent: spent.collect(),
        last_decision: store.last_rule_decision()?,
    })
}

fn state(row: RuleStateRow) -> Option<SavedState> {
    let document: Document = serde_json::from_str(&row.document).ok()?;
    let mark = |(height, since, reached): (Option<f64>, i64, f64)| Mark { height, since, reached };
    Some(SavedState {
        rule: row.rule,
        target: row.target,
        firing_since: document.firing_since.map(Timestamp),
        is_throttled: document.is_throttled,
        last_acted: document.last_acted.map(Timestamp),
        marks: document.marks.into_iter().map(mark).collect(),
    })
}

/// Writes what is to be kept of an engine's states; now and then, and when the agent stops.
///
/// # Errors
/// When the store cannot be written.
pub fn keep_states(store: &Store, engine: &Engine) -> Result<(), StoreError> {
    let rows = engine.saved().states.into_iter().map(|state| {
        let document = Document {
            firing_since: state.firing_since.map(|time| time.0),
            is_throttled: state.is_throttled,
            last_acted: state.last_acted.map(|time| time.0),
            marks: state.marks.iter().map(|mark| (mark.height, mark.since, mark.reached)).collect(),
        };
        let document = serde_json::to_string(&document).unwrap_or_default();
        RuleStateRow { rule: state.rule, target: state.target, document }
    });
    store.put_rule_states(&rows.collect::<Vec<_>>())
}

/// Enters decisions in the history, before their actions run; returns their keys there.
///
/// # Errors
/// When the store cannot be written.
pub fn record(
    store: &Store,
    info: &TargetInfo,
    decisions: &[Decision],
) -> Result<Vec<i64>, StoreError> {
    let event = |decision: &Decision| RuleEvent {
        id: 0,
        decision: decision.id,
        time: decision.time,
        rule: decision.rule.name.clone(),
        target: decision.target,
        identity: info.identity(),
        kind: decision.kind.as_str().to_owned(),
        is_spent: decision.kind == DecisionKind::Fire && decision.takes(),
        value: decision.value.filter(|value| value.is_finite()),
        reason: decision.reason.clone(),
        captures: Vec::new(),
        cpu_micros: 0,
        bytes: 0,
        error: String::new(),
    };
    store.put_rule_events(&decisions.iter().map(event).collect::<Vec<_>>())
}

/// Notes what the actions of a decision came to: what was taken and went wrong, for the history
/// and for the limits.
///
/// # Errors
/// When the store cannot be written; the engine knows it all the same.
pub fn finish(
    store: &Store,
    engine: &mut Engine,
    event: i64,
    decision: u64,
    captures: &[CaptureId],
    error: &str,
) -> Result<(), StoreError> {
    // A capture that retention has removed already cost nothing that lasts.
    let taken: Vec<_> = captures.iter().filter_map(|id| store.capture(*id).ok()).collect();
    let cpu_micros = taken.iter().map(|capture| capture.cost_micros).sum();
    let bytes = taken.iter().map(|capture| capture.bytes).sum();
    engine.ran(decision, super::Cost { cpu_micros, bytes });
    store.finish_rule_event(event, &RuleOutcome { captures, cpu_micros, bytes, error })
}

/// The history of a rule, or of all, for a target, or for all: newest first.
///
/// # Errors
/// When the store cannot be read.
pub fn history(
    store: &Store,
    rule: Option<&str>,
    target: Option<TargetId>,
    limit: usize,
) -> Result<Vec<RuleEvent>, StoreError> {
    store.rule_events(&store::RuleEventQuery { rule, target, before: None, limit })
}

#[cfg(test)]
mod tests {
    use model::{Observation, Target, TargetSpec};

    use super::*;
    use crate::rules::{Input, Phase, parse};

    const RULES: &str = "
rules:
  - name: above
    when: {high_water: {signal: rss_bytes, floor: 10}}
    keep_firing_for: 1h
    do: [{capture: heap}]
    limits: {per_target: 1 in 1h}
";

    #[test]
    fn an_engine_goes_on_from_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let target = Target {
            name: "shop".to_owned(),
            spec: TargetSpec::Pid(7),
            pid: Some(7),
            labels: [("service".to_owned(), "shop".to_owned())].into(),
        };
        let rss = |seconds: i64, rss: u64| {
            let mut observation =
                Observation { time: Timestamp(seconds * 1000), ..Observation::default() };
            observation.process.rss_bytes = Some(rss);
            observation
        };
        let step = |engine: &mut Engine, info: &TargetInfo, observation: &Observation| {
            let input = Input { observation: Some(observation), ..Input::default() };
            engine.step(observation.time, info, &input)
        };
        {
            let store = Store::open(dir.path(), store::Options::default()).unwrap();
            let id = store.put_target(&target, Timestamp(0)).unwrap();
            let info = TargetInfo::new(id, target.clone());
            let rules = parse(RULES).unwrap();
            let saved = load(&store, &rules, Timestamp(1000)).unwrap();
            assert_eq!(saved, Saved::default());
            let mut engine = Engine::new(rules, saved);
            step(&mut engine, &info, &rss(1, 5));
            let decisions = step(&mut engine, &info, &rss(2, 50));
            let keys = record(&store, &info, &decisions).unwrap();
            let capture = store
                .put_capture(&store::NewCapture {
                    target: id,
                    kind: model::CaptureKind::Heap,
                    time: Timestamp(2000),
                    reason: "above",
                    cost_micros: 70,
                    bytes: b"profile",
                })
                .unwrap();
            finish(&store, &mut engine, keys[0], decisions[0].id, &[capture.id], "").unwrap();
            keep_states(&store, &engine).unwrap();
        }
        let store = Store::open(dir.path(), store::Options::default()).unwrap();
        let id = store.put_target(&target, Timestamp(0)).unwrap();
        let info = TargetInfo::new(id, target);
        let rules = parse(RULES).unwrap();
        let saved = load(&store, &rules, Timestamp(3000)).unwrap();
        assert_eq!((saved.spent[0].cpu_micros, saved.spent[0].bytes), (70, 7));
        assert_eq!(saved.last_decision, 1);
        let mut engine = Engine::new(rules, saved);
        // The mark is still 50; a new one is refused: one an hour.
        assert!(step(&mut engine, &info, &rss(3, 52)).is_empty());
        assert_eq!(engine.view(Timestamp(3000), id)[0].phase, Phase::Firing);
        let refused = step(&mut engine, &info, &rss(4, 60));
        assert!(matches!(refused[0].kind, DecisionKind::Refuse(_)), "{refused:?}");
        assert_eq!(refused[0].id, 2);
        let history = history(&store, Some("above"), None, 10).unwrap();
        assert_eq!(history[0].reason, "rss 50 B, high-water mark 10 B, bound: above 10 B");
        assert_eq!(history[0].captures.len(), 1);
    }
}
