//! Rules over what was observed earlier: when would they have acted, what would have been
//! taken, and what would that have cost. The same engine as in the watch.
//!
//! Verdicts are not kept over time, nor is pressure: conditions on them are unknown here.

use std::collections::BTreeMap;
use std::time::Duration;

use model::{CaptureKind, Observation, TargetId, Timestamp};
use store::{Store, StoreError, StoredTarget};

use super::engine::{Cost, Decision, DecisionKind, Engine, Input};
use super::rule::{Action, Rule, TargetInfo};
use super::state::Saved;

/// More decisions than this are only counted.
const DECISIONS_MAX: usize = 10_000;

/// What a capture costs on average, by kind: measured, as far as the kind was ever taken.
#[derive(Clone, Debug, Default)]
pub struct Prices(BTreeMap<CaptureKind, (u64, Cost)>);

impl Prices {
    /// Takes a capture in that was really taken.
    pub fn add(&mut self, kind: CaptureKind, cost: Cost) {
        let (count, sum) = self.0.entry(kind).or_default();
        *count += 1;
        sum.cpu_micros = sum.cpu_micros.saturating_add(cost.cpu_micros);
        sum.bytes = sum.bytes.saturating_add(cost.bytes);
    }

    /// The mean of a kind; `None` when none was ever taken.
    pub fn of(&self, kind: CaptureKind) -> Option<Cost> {
        let (count, sum) = self.0.get(&kind)?;
        Some(Cost { cpu_micros: sum.cpu_micros / count, bytes: sum.bytes / count })
    }
}

/// One decision of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// When.
    pub time: Timestamp,
    /// Which rule.
    pub rule: String,
    /// For whom.
    pub target: TargetId,
    /// Its name.
    pub target_name: String,
    /// `fired`, `refused`, `resolved`.
    pub kind: &'static str,
    /// Why.
    pub reason: String,
    /// What would have been taken.
    pub captures: Vec<CaptureKind>,
    /// What that would have cost, as far as prices are known.
    pub cost: Cost,
}

/// What a rule did in a replay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Total {
    /// How often it acted.
    pub fired: u64,
    /// How often a limit kept it from that.
    pub refused: u64,
    /// How often it ended.
    pub resolved: u64,
    /// Captures that would have been taken.
    pub captures: u64,
    /// Of these without a price.
    pub unpriced: u64,
    /// What the others would have cost.
    pub cost: Cost,
}

/// A replay under way.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    prices: Prices,
    rows: Vec<Row>,
    totals: BTreeMap<String, Total>,
    observations: u64,
    last: BTreeMap<TargetId, TargetInfo>,
    now: Timestamp,
}

/// What came of a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Decisions, in order; of very many the first.
    pub rows: Vec<Row>,
    /// Each rule.
    pub totals: BTreeMap<String, Total>,
    /// Observations that were replayed.
    pub observations: u64,
    /// Where each rule stands for each target at the end, and why.
    pub states: Vec<super::RuleView>,
}

impl Replay {
    /// Begins with these rules; nothing was spent before.
    pub fn new(rules: Vec<Rule>, prices: Prices) -> Replay {
        let totals = rules.iter().map(|rule| (rule.name.clone(), Total::default())).collect();
        Replay {
            engine: Engine::new(rules, Saved::default()),
            prices,
            rows: Vec::new(),
            totals,
            observations: 0,
            last: BTreeMap::new(),
            now: Timestamp(0),
        }
    }

    /// The next observation, of any target, in time order.
    pub fn step(&mut self, info: &TargetInfo, observation: &Observation) {
        self.observations += 1;
        self.now = observation.time;
        self.last.entry(info.id).or_insert_with(|| info.clone());
        let input = Input { observation: Some(observation), ..Input::default() };
        for decision in self.engine.step(observation.time, info, &input) {
            self.note(info, &decision);
        }
    }

    fn note(&mut self, info: &TargetInfo, decision: &Decision) {
        let captures: Vec<CaptureKind> = decision.actions.iter().flat_map(kinds).collect();
        let mut cost = Cost::default();
        let total = self.totals.entry(decision.rule.name.clone()).or_default();
        for kind in &captures {
            match self.prices.of(*kind) {
                Some(price) => {
                    cost.cpu_micros += price.cpu_micros;
                    cost.bytes += price.bytes;
                }
                None => total.unpriced += 1,
            }
        }
        match decision.kind {
            DecisionKind::Fire => total.fired += 1,
            DecisionKind::Refuse(_) => total.refused += 1,
            DecisionKind::Resolve => total.resolved += 1,
        }
        total.captures += captures.len() as u64;
        total.cost.cpu_micros += cost.cpu_micros;
        total.cost.bytes += cost.bytes;
        self.engine.ran(decision.id, cost);
        if self.rows.len() < DECISIONS_MAX {
            self.rows.push(Row {
                time: decision.time,
                rule: decision.rule.name.clone(),
                target: info.id,
                target_name: info.target.name.clone(),
                kind: decision.kind.as_str(),
                reason: decision.reason.clone(),
                captures,
                cost,
            });
        }
    }

    /// A target was not seen any more.
    pub fn end(&mut self, target: TargetId, now: Timestamp) {
        if let Some(info) = self.last.get(&target).cloned() {
            for decision in self.engine.forget(now, target) {
                self.note(&info, &decision);
            }
        }
    }

    /// What came of it.
    pub fn report(self) -> Report {
        let views = self.last.keys().flat_map(|target| self.engine.view(self.now, *target));
        let states = views.collect();
        let Replay { rows, totals, observations, .. } = self;
        Report { rows, totals, observations, states }
    }
}

/// The captures an action takes.
fn kinds(action: &Action) -> Vec<CaptureKind> {
    match action {
        Action::Capture { kinds, .. } => kinds.iter().map(|kind| kind.stored_as()).collect(),
        Action::Pair { kind, .. } => vec![kind.stored_as(); 2],
        Action::Notify { .. } | Action::Exec { .. } => Vec::new(),
    }
}

/// So much of the store is held at a time, milliseconds.
const SLICE: i64 = 300_000;
/// Prices are those of the last captures of a target.
const PRICED_MAX: usize = 1000;

/// Replays rules over what a store has of targets, both ends of the span included. `left` is told
/// from time to time how much of it is left.
///
/// # Errors
/// When the store cannot be read.
pub fn stored(
    store: &Store,
    targets: &[StoredTarget],
    rules: Vec<Rule>,
    (from, to): (Timestamp, Timestamp),
    left: &mut dyn FnMut(Duration),
) -> Result<Report, StoreError> {
    let mut replay = Replay::new(rules, prices(store, targets)?);
    let infos: BTreeMap<TargetId, TargetInfo> = targets
        .iter()
        .map(|target| (target.id, TargetInfo::new(target.id, target.target.clone())))
        .collect();
    let mut at = targets.iter().map(|target| target.first_seen).min().unwrap_or(from).max(from);
    let end = targets.iter().map(|target| target.last_seen).max().unwrap_or(at).min(to);
    while at <= end {
        let until = Timestamp(at.0.saturating_add(SLICE - 1));
        for (id, observation) in slice(store, targets, at, until.min(end))? {
            if let Some(info) = infos.get(&id) {
                replay.step(info, &observation);
            }
        }
        let is_over =
            |target: &&StoredTarget| (at..=until).contains(&target.last_seen) && !target.is_alive;
        for target in targets.iter().filter(is_over) {
            replay.end(target.id, target.last_seen);
        }
        let begun =
            targets.iter().filter(|target| target.first_seen <= until && target.last_seen > until);
        let next = Timestamp(until.0.saturating_add(1));
        // Where nobody was watched there is nothing to read.
        at = match begun.count() {
            0 => targets
                .iter()
                .map(|target| target.first_seen)
                .filter(|seen| *seen > until)
                .min()
                .unwrap_or(Timestamp(i64::MAX)),
            _ => next,
        };
        left(Duration::from_millis(end.0.saturating_sub(until.0).max(0).unsigned_abs()));
    }
    Ok(replay.report())
}

fn prices(store: &Store, targets: &[StoredTarget]) -> Result<Prices, StoreError> {
    let mut prices = Prices::default();
    for target in targets {
        for capture in store.captures(target.id, None, PRICED_MAX)? {
            let cost = Cost { cpu_micros: capture.cost_micros, bytes: capture.bytes };
            prices.add(capture.kind, cost);
        }
    }
    Ok(prices)
}

/// What was observed of all targets in a short time, in time order.
fn slice(
    store: &Store,
    targets: &[StoredTarget],
    from: Timestamp,
    to: Timestamp,
) -> Result<Vec<(TargetId, Observation)>, StoreError> {
    let mut all = Vec::new();
    for target in targets.iter().filter(|t| t.first_seen <= to && t.last_seen >= from) {
        let observations = store.observations(target.id, from, to)?;
        all.extend(observations.into_iter().map(|observation| (target.id, observation)));
    }
    all.sort_by_key(|(id, observation)| (observation.time, *id));
    Ok(all)
}
