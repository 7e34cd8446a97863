//! The engine: one step for each thing that is learned of a target, decisions out. It opens
//! nothing and reads no clock, so that `rules test` and `rules replay` run the very same code.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Finding, Observation, Pressure, TargetId, Timestamp};

use super::evaluate::{Known, Mark, Outcome, Sense, Truth, evaluate};
use super::limits::{Ledger, Refusal, Spent};
use super::rule::{Action, Condition, EventKind, Rule, TargetInfo};
use super::signals::Signal;
use super::state::{Phase, RuleState, RuleView, Saved, SavedState};
use super::window::Window;

/// Observations further apart than this, and than four usual steps, are a gap: nothing is known
/// to have held in between.
const GAP: i64 = 120_000;

/// What is new about a target. What is `None` or empty is as before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input<'a> {
    /// Level signals.
    pub observation: Option<&'a Observation>,
    /// Memory pressure of its cgroup.
    pub cgroup_pressure: Option<Pressure>,
    /// The findings of a new diagnosis.
    pub findings: Option<&'a [Finding]>,
    /// What happened.
    pub events: &'a [Event],
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The kernel killed something in the target's cgroup, so many times.
    OomKill(u64),
    /// The cgroup's limit was hit, so many times.
    LimitHit(u64),
    /// The agent was sent its signal.
    Signal,
    /// Somebody called this rule.
    Call(String),
}

/// What the engine decides.
#[derive(Clone, Debug)]
pub struct Decision {
    /// For [`Engine::ran`].
    pub id: u64,
    /// When.
    pub time: Timestamp,
    /// By which rule.
    pub rule: Arc<Rule>,
    /// For whom.
    pub target: TargetId,
    /// What.
    pub kind: DecisionKind,
    /// The figure behind it.
    pub value: Option<f64>,
    /// Why, as a sentence.
    pub reason: String,
    /// What to do now, in order.
    pub actions: Vec<Action>,
    /// Since when the rule fires for this target.
    pub firing_since: Timestamp,
}

impl Decision {
    /// It may take captures or run programs, and counts for limits.
    pub fn takes(&self) -> bool {
        self.actions.iter().any(|action| !action.is_notice())
    }
}

/// Kinds of decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecisionKind {
    /// The rule acts.
    Fire,
    /// It would, but a limit forbids captures; who is to be told still is.
    Refuse(Refusal),
    /// It no longer fires.
    Resolve,
}

impl DecisionKind {
    /// The word in histories.
    pub fn as_str(&self) -> &'static str {
        match self {
            DecisionKind::Fire => "fired",
            DecisionKind::Refuse(_) => "refused",
            DecisionKind::Resolve => "resolved",
        }
    }
}

/// What the actions of a decision came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// CPU time.
    pub cpu_micros: u64,
    /// Bytes stored.
    pub bytes: u64,
}

/// Rules, and what they remember.
#[derive(Debug)]
pub struct Engine {
    rules: Vec<Arc<Rule>>,
    /// What windows hold: signal and span.
    windows: Vec<(&'static Signal, i64)>,
    targets: BTreeMap<TargetId, Watched>,
    ledger: Ledger,
    /// States of an earlier run, until their targets are seen.
    restored: Vec<SavedState>,
    next_decision: u64,
    longest: i64,
}

/// What is remembered of a target.
#[derive(Debug)]
struct Watched {
    info: TargetInfo,
    identity: Arc<str>,
    windows: Vec<Window>,
    /// One for each rule; `None` where the filter does not match.
    states: Vec<Option<RuleState>>,
    last: Option<Observation>,
    seen: Option<Timestamp>,
    /// The usual time between observations.
    step: f64,
    cgroup_pressure: Option<Pressure>,
    findings: Option<Vec<Known>>,
    kills: TwoWays,
    hits: TwoWays,
}

/// What reaches us two ways: the kernel tells of it, and an observation shows that its counter has
/// grown. Whatever comes first is news.
#[derive(Debug, Default)]
struct TwoWays {
    /// Told of, and not counted yet.
    told: u64,
    /// Counted, and not told of yet.
    counted: u64,
    counted_at: Option<Timestamp>,
}

impl TwoWays {
    /// The kernel told of so many; whether that is news.
    fn tell(&mut self, now: Timestamp, count: u64) -> bool {
        self.forget_late(now);
        let known = count.min(self.counted);
        self.counted -= known;
        self.told = self.told.saturating_add(count - known);
        count > known
    }

    /// The counter has grown by so much; whether that is news.
    fn count(&mut self, now: Timestamp, grown: u64) -> bool {
        self.forget_late(now);
        let news = grown.saturating_sub(self.told);
        self.told = self.told.saturating_sub(grown);
        if news > 0 {
            (self.counted, self.counted_at) = (self.counted.saturating_add(news), Some(now));
        }
        news > 0
    }

    /// Where nobody tells, what was counted long ago must not hide what is told now.
    fn forget_late(&mut self, now: Timestamp) {
        const LATE_MILLIS: i64 = 5000;
        let is_recent = |at: Timestamp| (0..=LATE_MILLIS).contains(&now.0.saturating_sub(at.0));
        if !self.counted_at.is_some_and(is_recent) {
            (self.counted, self.counted_at) = (0, None);
        }
    }
}

impl Engine {
    /// With what an earlier run has left.
    pub fn new(rules: Vec<Rule>, saved: Saved) -> Engine {
        let ledger = Ledger::new(saved.spent);
        // Ids of this run are above those of earlier ones.
        let last = ledger.entries().map(|spent| spent.decision).max().unwrap_or(0);
        let last = last.max(saved.last_decision);
        let mut engine = Engine {
            rules: Vec::new(),
            windows: Vec::new(),
            targets: BTreeMap::new(),
            ledger,
            restored: saved.states,
            next_decision: last + 1,
            longest: 0,
        };
        engine.set_rules(rules);
        engine
    }

    fn set_rules(&mut self, mut rules: Vec<Rule>) {
        let windows = &mut self.windows;
        windows.clear();
        let mut place = |condition: &mut Condition| {
            let Some(past) = condition.past_mut() else { return };
            let same = |(signal, span): &(&Signal, i64)| {
                signal.name == past.signal.name && *span == past.span
            };
            past.window = windows.iter().position(same).unwrap_or_else(|| {
                windows.push((past.signal, past.span));
                windows.len() - 1
            });
        };
        for rule in &mut rules {
            rule.when.walk_mut(&mut place);
            if let Some(clear) = &mut rule.clear {
                clear.walk_mut(&mut place);
            }
        }
        self.longest = rules.iter().map(|rule| rule.limits.longest()).max().unwrap_or(0);
        self.rules = rules.into_iter().map(Arc::new).collect();
    }

    /// Takes other rules. What fires under a name that is still there goes on firing; windows
    /// that are still asked for stay; limits stay.
    pub fn replace_rules(&mut self, rules: Vec<Rule>) {
        let before = std::mem::take(&mut self.rules);
        let windows_before = std::mem::take(&mut self.windows);
        self.set_rules(rules);
        for watched in self.targets.values_mut() {
            let mut states: BTreeMap<&str, RuleState> = BTreeMap::new();
            for (rule, state) in before.iter().zip(watched.states.drain(..)) {
                states.extend(state.map(|state| (rule.name.as_str(), state)));
            }
            watched.states = self
                .rules
                .iter()
                .map(|rule| {
                    let fresh = RuleState::for_target(rule, &watched.info)?;
                    match states.remove(rule.name.as_str()) {
                        Some(old) if old.marks.len() == fresh.marks.len() => Some(old),
                        _ => Some(fresh),
                    }
                })
                .collect();
            let mut kept: Vec<Option<Window>> = watched.windows.drain(..).map(Some).collect();
            watched.windows = self
                .windows
                .iter()
                .map(|(signal, span)| {
                    let same = |(other, length): &(&Signal, i64)| {
                        other.name == signal.name && length == span
                    };
                    let old = windows_before.iter().position(same);
                    old.and_then(|old| kept.get_mut(old)?.take())
                        .unwrap_or_else(|| Window::new(*span))
                })
                .collect();
        }
    }

    /// The rules.
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Learns what was observed earlier, without deciding anything: windows and high-water marks
    /// are filled from the store when the agent starts.
    pub fn learn(&mut self, now: Timestamp, info: &TargetInfo, observations: &[Observation]) {
        self.watch(now, info);
        let Some(watched) = self.targets.get_mut(&info.id) else { return };
        for observation in observations {
            watched.arrive(observation.time, observation, &self.rules);
            watched.remember(observation.time, observation, &self.windows);
        }
    }

    /// Takes in what is new about a target.
    pub fn step(&mut self, now: Timestamp, info: &TargetInfo, input: &Input<'_>) -> Vec<Decision> {
        self.ledger.tidy(now, self.longest);
        self.watch(now, info);
        let Some(watched) = self.targets.get_mut(&info.id) else { return Vec::new() };
        let mut decisions = Vec::new();
        let mut is_restart = false;
        let mut events = watched.told(now, input.events);
        if let Some(observation) = input.observation {
            is_restart = watched.arrive(now, observation, &self.rules);
            events.extend(watched.counted(now, observation));
            watched.seen = Some(now);
        }
        if let Some(findings) = input.findings {
            let known =
                |finding: &Finding| Known { kind: finding.kind, confidence: finding.confidence.0 };
            watched.findings = Some(findings.iter().map(known).collect());
        }
        watched.cgroup_pressure = input.cgroup_pressure.or(watched.cgroup_pressure);
        for (index, rule) in self.rules.iter().enumerate() {
            let mut states = std::mem::take(&mut watched.states);
            if let Some(state) = states.get_mut(index).and_then(Option::as_mut) {
                let mut turn = Turn {
                    now,
                    rule,
                    watched,
                    ledger: &mut self.ledger,
                    next_decision: &mut self.next_decision,
                    decisions: &mut decisions,
                };
                if is_restart {
                    turn.restart(state);
                }
                let current = input.observation;
                turn.take(state, current, &with_calls(&events, input.events, &rule.name));
            }
            watched.states = states;
        }
        if let Some(observation) = input.observation {
            watched.remember(now, observation, &self.windows);
        }
        decisions
    }

    /// The target has ended: what fires for it resolves, and it is forgotten.
    pub fn forget(&mut self, now: Timestamp, target: TargetId) -> Vec<Decision> {
        let mut decisions = Vec::new();
        let Some(mut watched) = self.targets.remove(&target) else { return decisions };
        let states = std::mem::take(&mut watched.states);
        for (rule, state) in self.rules.iter().zip(states) {
            let Some(mut state) = state.filter(|state| state.phase.is_firing()) else { continue };
            let mut turn = Turn {
                now,
                rule,
                watched: &mut watched,
                ledger: &mut self.ledger,
                next_decision: &mut self.next_decision,
                decisions: &mut decisions,
            };
            turn.resolve(&mut state, "the target has ended");
        }
        decisions
    }

    /// Notes what the actions of a decision cost, for the limits `cpu` and `bytes`.
    pub fn ran(&mut self, decision: u64, cost: Cost) {
        self.ledger.add_cost(decision, cost.cpu_micros, cost.bytes);
    }

    /// State and reason of every rule for a target; empty when it was never seen.
    pub fn view(&self, now: Timestamp, target: TargetId) -> Vec<RuleView> {
        let Some(watched) = self.targets.get(&target) else { return Vec::new() };
        let both = self.rules.iter().zip(&watched.states);
        both.map(|(rule, state)| {
            let refusal = self.ledger.refusal(&rule.limits, &rule.name, &watched.identity, now);
            RuleView::new(now, rule, &watched.info, state.as_ref(), refusal)
        })
        .collect()
    }

    /// The targets it knows.
    pub fn targets(&self) -> impl Iterator<Item = &TargetInfo> {
        self.targets.values().map(|watched| &watched.info)
    }

    /// What it holds in memory, about: windows, states and their sentences.
    pub fn memory_bytes(&self) -> usize {
        let of_state = |state: &RuleState| {
            size_of::<RuleState>()
                + state.text.capacity()
                + state.marks.capacity() * size_of::<Mark>()
        };
        let of_target = |watched: &Watched| {
            let windows: usize = watched.windows.iter().map(Window::memory_bytes).sum();
            let states: usize = watched.states.iter().flatten().map(of_state).sum();
            windows + states + size_of::<Watched>() + size_of::<Observation>()
        };
        let targets: usize = self.targets.values().map(of_target).sum();
        targets + self.ledger.entries().count() * size_of::<Spent>()
    }

    /// What is to be kept over a restart.
    pub fn saved(&self) -> Saved {
        let mut states: Vec<SavedState> = self.restored.clone();
        for (target, watched) in &self.targets {
            let both = self.rules.iter().zip(&watched.states);
            let kept = both.filter_map(|(rule, state)| state.as_ref()?.saved(&rule.name, *target));
            states.extend(kept);
        }
        Saved {
            states,
            spent: self.ledger.entries().cloned().collect(),
            last_decision: self.next_decision - 1,
        }
    }

    /// Makes room for a target, or notes that what is known of it has changed.
    fn watch(&mut self, now: Timestamp, info: &TargetInfo) {
        if let Some(watched) = self.targets.get_mut(&info.id) {
            if watched.info != *info {
                watched.info = info.clone();
                watched.identity = info.identity().into();
                for (rule, state) in self.rules.iter().zip(&mut watched.states) {
                    let fresh = RuleState::for_target(rule, info);
                    *state = fresh.map(|fresh| state.take().unwrap_or(fresh));
                }
            }
            return;
        }
        let restored = &mut self.restored;
        let states = self.rules.iter().map(|rule| {
            let mut state = RuleState::for_target(rule, info)?;
            let is_its = |saved: &SavedState| saved.target == info.id && saved.rule == rule.name;
            if let Some(index) = restored.iter().position(is_its) {
                state.restore(now, restored.swap_remove(index));
            }
            Some(state)
        });
        let states = states.collect();
        restored.retain(|saved| saved.target != info.id);
        let watched = Watched {
            info: info.clone(),
            identity: info.identity().into(),
            windows: self.windows.iter().map(|(_, span)| Window::new(*span)).collect(),
            states,
            last: None,
            seen: None,
            step: 0.0,
            cgroup_pressure: None,
            findings: None,
            kills: TwoWays::default(),
            hits: TwoWays::default(),
        };
        self.targets.insert(info.id, watched);
    }
}

/// Events that a rule sees: calls are for one rule.
fn with_calls(events: &[EventKind], told: &[Event], rule: &str) -> Vec<EventKind> {
    let is_called = told.iter().any(|event| matches!(event, Event::Call(name) if name == rule));
    let mut all = events.to_vec();
    all.extend(is_called.then_some(EventKind::Call));
    all
}

impl Watched {
    /// Events that were told, but for calls.
    fn told(&mut self, now: Timestamp, events: &[Event]) -> Vec<EventKind> {
        let kinds = events.iter().filter_map(|event| match event {
            Event::OomKill(count) => self.kills.tell(now, *count).then_some(EventKind::OomKill),
            Event::LimitHit(count) => self.hits.tell(now, *count).then_some(EventKind::LimitHit),
            Event::Signal => Some(EventKind::Signal),
            Event::Call(_) => None,
        });
        kinds.collect()
    }

    /// Events that only counters tell: polled, or in a replay.
    fn counted(&mut self, now: Timestamp, observation: &Observation) -> Vec<EventKind> {
        let Some(last) = &self.last else { return Vec::new() };
        let grown = |before: Option<u64>, after: Option<u64>| {
            before.zip(after).map_or(0, |(before, after)| after.saturating_sub(before))
        };
        let kills = grown(last.cgroup.oom_kills, observation.cgroup.oom_kills);
        let hits = grown(last.cgroup.limit_hits, observation.cgroup.limit_hits);
        let kills = self.kills.count(now, kills).then_some(EventKind::OomKill);
        let hits = self.hits.count(now, hits).then_some(EventKind::LimitHit);
        kills.into_iter().chain(hits).collect()
    }

    /// Before an observation is judged: is it of the same process, after how long, and what are
    /// the high-water marks. Returns whether the process is another one.
    fn arrive(&mut self, now: Timestamp, observation: &Observation, rules: &[Arc<Rule>]) -> bool {
        let is_restart = self.last.as_ref().is_some_and(|last| is_other_process(last, observation));
        if is_restart {
            self.windows.iter_mut().for_each(Window::clear);
            self.findings = None;
        }
        if let Some(seen) = self.seen {
            let passed = (now.0 - seen.0) as f64;
            if (0.0..=self.gap() as f64).contains(&passed) {
                self.step = if self.step == 0.0 { passed } else { 0.8 * self.step + 0.2 * passed };
            } else {
                // What held before a gap, or under another clock, says nothing of the time since.
                for state in self.states.iter_mut().flatten() {
                    state.held_from = None;
                }
            }
        }
        for (rule, state) in rules.iter().zip(&mut self.states) {
            let Some(state) = state else { continue };
            if is_restart {
                state.marks.fill(Mark::default());
            }
            each_mark(&rule.when, &mut |signal, floor, resets, mark| {
                if let (Some(value), Some(mark)) =
                    (signal.value(observation), state.marks.get_mut(mark))
                {
                    mark.see(now, value, floor, resets);
                }
            });
        }
        is_restart
    }

    /// After it was judged: it is part of the past now.
    fn remember(
        &mut self,
        now: Timestamp,
        observation: &Observation,
        windows: &[(&'static Signal, i64)],
    ) {
        for (window, (signal, _)) in self.windows.iter_mut().zip(windows) {
            if let Some(value) = signal.value(observation) {
                window.push(now, value);
            }
        }
        self.last = Some(observation.clone());
        self.seen = Some(now);
    }

    fn gap(&self) -> i64 {
        GAP.max((4.0 * self.step) as i64)
    }
}

/// A pid used again, or another process behind a URL: what only grows has fallen.
fn is_other_process(before: &Observation, after: &Observation) -> bool {
    let fell = |before: Option<u64>, after: Option<u64>| {
        before.zip(after).is_some_and(|(before, after)| after < before)
    };
    let starts = before.process.start_ticks.zip(after.process.start_ticks);
    starts.is_some_and(|(before, after)| before != after)
        || fell(before.runtime.gc_cycles, after.runtime.gc_cycles)
        || fell(before.runtime.total_alloc_bytes, after.runtime.total_alloc_bytes)
}

/// Calls `each` with every high-water mark of a condition.
fn each_mark(condition: &Condition, each: &mut impl FnMut(&'static Signal, f64, i64, usize)) {
    match condition {
        Condition::Any(inner) | Condition::All(inner) => {
            inner.iter().for_each(|condition| each_mark(condition, each));
        }
        Condition::Not(inner) => each_mark(inner, each),
        Condition::HighWater { signal, floor, resets, mark, .. } => {
            each(signal, *floor, *resets, *mark);
        }
        _ => {}
    }
}

/// One rule's turn in a step.
struct Turn<'a> {
    now: Timestamp,
    rule: &'a Arc<Rule>,
    watched: &'a mut Watched,
    ledger: &'a mut Ledger,
    next_decision: &'a mut u64,
    decisions: &'a mut Vec<Decision>,
}

impl Turn<'_> {
    fn restart(&mut self, state: &mut RuleState) {
        if state.phase.is_firing() {
            self.resolve(state, "the process was started anew");
        }
        *state = RuleState { marks: std::mem::take(&mut state.marks), ..RuleState::default() };
    }

    fn take(&mut self, state: &mut RuleState, current: Option<&Observation>, events: &[EventKind]) {
        // An event alone is judged with the last observation, unless that is old.
        let is_fresh = |seen: Timestamp| self.now.0 - seen.0 <= self.watched.gap();
        let recent = self.watched.last.as_ref().filter(|_| self.watched.seen.is_some_and(is_fresh));
        let sense = Sense {
            now: self.now,
            observation: current.or(recent),
            cgroup_pressure: self.watched.cgroup_pressure,
            findings: self.watched.findings.as_deref(),
            events,
            windows: &self.watched.windows,
            marks: &state.marks,
        };
        let outcome = evaluate(&self.rule.when, &sense);
        let cleared = match &self.rule.clear {
            Some(clear) if state.phase.is_firing() => evaluate(clear, &sense),
            _ => outcome.ended(),
        };
        let mut heights = Vec::new();
        if let Some(observation) = sense.observation {
            each_mark(&self.rule.when, &mut |signal, _, _, mark| {
                heights.extend(signal.value(observation).map(|value| (mark, value)));
            });
        }
        state.truth = outcome.truth;
        state.value = outcome.value;
        state.text.clone_from(&outcome.text);
        let acted = match state.phase.is_firing() {
            true => self.firing(state, &outcome, &cleared),
            false => self.waiting(state, &outcome),
        };
        // A mark rises with what was taken at it, not with what a limit kept from being taken.
        for (mark, value) in heights.into_iter().filter(|_| acted) {
            if let Some(mark) = state.marks.get_mut(mark) {
                mark.raise(value);
            }
        }
    }

    /// It does not fire yet. Returns whether it acted.
    fn waiting(&mut self, state: &mut RuleState, outcome: &Outcome) -> bool {
        match outcome.truth {
            Truth::True => {
                let from = *state.held_from.get_or_insert(self.now);
                state.last_true = self.now;
                if self.now.0 - from.0 < self.rule.hold {
                    state.enter(Phase::Pending, self.now);
                    return false;
                }
                state.enter(Phase::Firing, self.now);
                return self.act(state, outcome, &self.rule.actions.clone());
            }
            // A single reading that failed does not end a hold; a gap does.
            Truth::Unknown
                if state.held_from.is_some()
                    && self.now.0 - state.last_true.0 <= self.watched.gap() => {}
            _ => {
                state.held_from = None;
                state.enter(Phase::Inactive, self.now);
            }
        }
        false
    }

    /// It fires: does it still, and is there more to do? Returns whether it acted.
    fn firing(&mut self, state: &mut RuleState, outcome: &Outcome, cleared: &Outcome) -> bool {
        if cleared.truth == Truth::True {
            let from = *state.cleared_from.get_or_insert(self.now);
            let passed = self.now.0 - from.0;
            // A clock that was set back starts the wait anew rather than ending it.
            if passed < 0 {
                state.cleared_from = Some(self.now);
            }
            if passed.max(0) >= self.rule.keep_firing {
                self.resolve(state, &cleared.text);
                return false;
            }
        } else {
            state.cleared_from = None;
        }
        if outcome.truth != Truth::True {
            return false;
        }
        state.last_true = self.now;
        if state.phase == Phase::Throttled {
            if self.refusal().is_some() {
                return false;
            }
            // Who is to be told was told when it was refused.
            let actions: Vec<Action> =
                self.rule.actions.iter().filter(|action| !action.is_notice()).cloned().collect();
            state.enter(Phase::Firing, self.now);
            return self.act(state, outcome, &actions);
        }
        let due = self.rule.repeat.is_some_and(|repeat| {
            state.last_acted.is_none_or(|acted| !(0..repeat).contains(&(self.now.0 - acted.0)))
        });
        // A new mark is a reason to act again, also while the last one keeps firing.
        if !due && !self.rule.when.is_momentary() {
            return false;
        }
        self.act(state, outcome, &self.rule.actions.clone())
    }

    /// Fires, or notes that a limit forbids it. Returns whether it acted.
    fn act(&mut self, state: &mut RuleState, outcome: &Outcome, actions: &[Action]) -> bool {
        state.last_acted = Some(self.now);
        // Whoever only tells spends nothing.
        let takes = actions.iter().any(|action| !action.is_notice());
        if takes && let Some(refusal) = self.refusal() {
            state.enter(Phase::Throttled, self.now);
            let reason = format!("{}; takes nothing: {}", outcome.text, refusal.words(self.now));
            let notices = actions.iter().filter(|action| action.is_notice()).cloned().collect();
            self.decide(state, DecisionKind::Refuse(refusal), reason, notices);
            return false;
        }
        let id = self.decide(state, DecisionKind::Fire, outcome.text.clone(), actions.to_vec());
        if takes {
            self.ledger.push(Spent {
                decision: id,
                time: self.now,
                rule: self.rule.name.as_str().into(),
                identity: Arc::clone(&self.watched.identity),
                cpu_micros: 0,
                bytes: 0,
            });
        }
        true
    }

    fn refusal(&self) -> Option<Refusal> {
        let Rule { limits, name, .. } = &**self.rule;
        self.ledger.refusal(limits, name, &self.watched.identity, self.now)
    }

    fn resolve(&mut self, state: &mut RuleState, why: &str) {
        self.decide(state, DecisionKind::Resolve, why.to_owned(), Vec::new());
        state.held_from = None;
        state.cleared_from = None;
        state.enter(Phase::Inactive, self.now);
    }

    fn decide(
        &mut self,
        state: &RuleState,
        kind: DecisionKind,
        reason: String,
        actions: Vec<Action>,
    ) -> u64 {
        let id = *self.next_decision;
        *self.next_decision += 1;
        self.decisions.push(Decision {
            id,
            time: self.now,
            rule: Arc::clone(self.rule),
            target: self.watched.info.id,
            kind,
            value: state.value,
            reason,
            actions,
            firing_since: state.since,
        });
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_two_ways_is_news_once() {
        let at = |seconds: i64| Timestamp(seconds * 1000);
        let mut kills = TwoWays::default();
        // Told first: the counter may show it much later.
        assert!(kills.tell(at(0), 2));
        assert!(!kills.count(at(9), 2));
        // Counted first, as one observation was made for another event.
        assert!(kills.count(at(10), 1));
        assert!(!kills.tell(at(10), 1));
        // One of two is news still.
        assert!(kills.count(at(20), 1));
        assert!(kills.tell(at(20), 2));
        assert!(!kills.count(at(30), 1));
        // Where nobody told of it in time, nobody will.
        assert!(kills.count(at(40), 1));
        assert!(kills.tell(at(50), 1));
    }
}
