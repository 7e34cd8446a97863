//! Where a rule stands for a target, why, and what of that outlives a restart.

use model::{TargetId, Timestamp};

use super::evaluate::{Mark, Truth};
use super::limits::{Refusal, Spent};
use super::rule::{Condition, Rule, TargetInfo};
use super::units::show_millis;

/// Where a rule stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Its condition does not hold, or is not known.
    #[default]
    Inactive,
    /// Its condition holds, not long enough yet.
    Pending,
    /// It fires.
    Firing,
    /// It fires, and a limit keeps it from taking captures.
    Throttled,
    /// It is not for this target.
    Excluded,
    /// It is switched off.
    Disabled,
}

impl Phase {
    /// All phases.
    pub const ALL: [Phase; 6] = [
        Phase::Inactive,
        Phase::Pending,
        Phase::Firing,
        Phase::Throttled,
        Phase::Excluded,
        Phase::Disabled,
    ];

    /// The word in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Inactive => "inactive",
            Phase::Pending => "pending",
            Phase::Firing => "firing",
            Phase::Throttled => "throttled",
            Phase::Excluded => "excluded",
            Phase::Disabled => "disabled",
        }
    }

    /// Parses the word.
    pub fn parse(word: &str) -> Option<Phase> {
        Phase::ALL.into_iter().find(|phase| phase.as_str() == word)
    }

    /// It fires, whether it may take captures or not.
    pub fn is_firing(self) -> bool {
        matches!(self, Phase::Firing | Phase::Throttled)
    }
}

/// The state of one rule for one target.
#[derive(Clone, Debug)]
pub(super) struct RuleState {
    pub(super) phase: Phase,
    /// Since when in this phase; throttled is part of firing.
    pub(super) since: Timestamp,
    /// Since when the condition holds without interruption.
    pub(super) held_from: Option<Timestamp>,
    /// When it last held.
    pub(super) last_true: Timestamp,
    /// Since when the end of a firing holds.
    pub(super) cleared_from: Option<Timestamp>,
    /// When it last acted, or was kept from it.
    pub(super) last_acted: Option<Timestamp>,
    pub(super) marks: Vec<Mark>,
    pub(super) truth: Truth,
    pub(super) value: Option<f64>,
    pub(super) text: String,
}

impl Default for RuleState {
    fn default() -> RuleState {
        RuleState {
            phase: Phase::Inactive,
            since: Timestamp(0),
            held_from: None,
            last_true: Timestamp(0),
            cleared_from: None,
            last_acted: None,
            marks: Vec::new(),
            truth: Truth::Unknown,
            value: None,
            text: String::new(),
        }
    }
}

/// What is kept of one rule's state for one target.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedState {
    /// The rule.
    pub rule: String,
    /// The target.
    pub target: TargetId,
    /// Since when it fires; `None` when it does not, and only its marks are kept.
    pub firing_since: Option<Timestamp>,
    /// It fires and could not take captures.
    pub is_throttled: bool,
    /// When it last acted.
    pub last_acted: Option<Timestamp>,
    /// High-water marks, in the order of its condition.
    pub marks: Vec<Mark>,
}

/// What is kept of an engine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Saved {
    /// Rules that fire, and high-water marks.
    pub states: Vec<SavedState>,
    /// What limits count.
    pub spent: Vec<Spent>,
    /// The number of the last decision.
    pub last_decision: u64,
}

impl RuleState {
    /// A new state, where the rule is for this target.
    pub(super) fn for_target(rule: &Rule, info: &TargetInfo) -> Option<RuleState> {
        if !rule.is_enabled || mismatch(rule, info).is_some() {
            return None;
        }
        let marks = count_marks(&rule.when) + rule.clear.as_ref().map_or(0, count_marks);
        Some(RuleState { marks: vec![Mark::default(); marks], ..RuleState::default() })
    }

    /// Moves to a phase; what fires goes on firing since it began.
    pub(super) fn enter(&mut self, phase: Phase, now: Timestamp) {
        if self.phase != phase && !(self.phase.is_firing() && phase.is_firing()) {
            self.since = now;
        }
        self.phase = phase;
    }

    pub(super) fn saved(&self, rule: &str, target: TargetId) -> Option<SavedState> {
        let is_firing = self.phase.is_firing();
        let has_marks = self.marks.iter().any(|mark| mark.height.is_some());
        (is_firing || has_marks).then(|| SavedState {
            rule: rule.to_owned(),
            target,
            firing_since: is_firing.then_some(self.since),
            is_throttled: self.phase == Phase::Throttled,
            last_acted: self.last_acted,
            marks: self.marks.clone(),
        })
    }

    /// Goes on where an earlier run ended: what fired does not fire again. A hold is not
    /// restored, as nobody watched whether it went on.
    pub(super) fn restore(&mut self, now: Timestamp, saved: SavedState) {
        if let Some(since) = saved.firing_since {
            self.phase = if saved.is_throttled { Phase::Throttled } else { Phase::Firing };
            self.since = since.min(now);
            self.last_true = now;
            "it fired before the agent was started; not asked since".clone_into(&mut self.text);
        }
        self.last_acted = saved.last_acted.map(|acted| acted.min(now));
        if saved.marks.len() == self.marks.len() {
            self.marks = saved.marks;
        }
    }
}

/// Why a rule is not for a target.
fn mismatch(rule: &Rule, info: &TargetInfo) -> Option<String> {
    if let Some(why) = rule.targets.mismatch(info) {
        return Some(format!("not for this target: {why}"));
    }
    let excluded = rule.exclude.as_ref()?;
    // All that is said under `exclude` must match for a target to be left out.
    excluded.mismatch(info).is_none().then(|| "not for this target: it is under exclude".to_owned())
}

fn count_marks(condition: &Condition) -> usize {
    match condition {
        Condition::Any(inner) | Condition::All(inner) => inner.iter().map(count_marks).sum(),
        Condition::Not(inner) => count_marks(inner),
        Condition::HighWater { .. } => 1,
        _ => 0,
    }
}

/// Where a rule stands for a target, for people and pages.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleView {
    /// The rule.
    pub rule: String,
    /// The target.
    pub target: TargetId,
    /// Where it stands.
    pub phase: Phase,
    /// Since when.
    pub since: Option<Timestamp>,
    /// A sentence: why it is there, and what is next.
    pub reason: String,
    /// The figure behind it.
    pub value: Option<f64>,
    /// Until when a limit keeps it from taking captures.
    pub blocked_until: Option<Timestamp>,
}

impl RuleView {
    pub(super) fn new(
        now: Timestamp,
        rule: &Rule,
        info: &TargetInfo,
        state: Option<&RuleState>,
        refusal: Option<Refusal>,
    ) -> RuleView {
        let (name, target) = (rule.name.clone(), info.id);
        let blocked_until = refusal.as_ref().map(|refusal| refusal.until);
        let absent = |phase: Phase, reason: String| RuleView {
            rule: name.clone(),
            target,
            phase,
            since: None,
            reason,
            value: None,
            blocked_until: None,
        };
        if !rule.is_enabled {
            return absent(Phase::Disabled, "switched off (enabled: false)".to_owned());
        }
        let Some(state) = state else {
            return absent(Phase::Excluded, mismatch(rule, info).unwrap_or_default());
        };
        let mut reason = sentence(now, rule, state);
        if let Some(refusal) = refusal {
            reason = format!("{reason}; {}", refusal.words(now));
        }
        let since = (state.since.0 != 0).then_some(state.since);
        let (phase, value) = (state.phase, state.value);
        RuleView { rule: name, target, phase, since, reason, value, blocked_until }
    }
}

fn sentence(now: Timestamp, rule: &Rule, state: &RuleState) -> String {
    let text = &state.text;
    let passed = |since: Timestamp| show_millis(now.0 - since.0);
    match (state.phase, state.truth) {
        _ if text.is_empty() => "did not fire: nothing is known of the target yet".to_owned(),
        (Phase::Pending, _) => {
            let held = passed(state.held_from.unwrap_or(now));
            format!("holds for {held} of {}: {text}", show_millis(rule.hold))
        }
        (Phase::Firing | Phase::Throttled, truth) => {
            let what = match state.phase {
                Phase::Throttled => "fires and may take nothing",
                _ => "fires",
            };
            let left = state.cleared_from.map(|from| rule.keep_firing - (now.0 - from.0));
            match (left, truth) {
                (Some(left), _) => {
                    format!("{what} for another {}: {text}", show_millis(left.max(0)))
                }
                (None, Truth::False) => format!("{what} until it clears: {text}"),
                _ => format!("{what} for {}: {text}", passed(state.since)),
            }
        }
        (_, Truth::Unknown) => format!("cannot tell: {text}"),
        (_, _) if rule.hold > 0 => {
            format!("did not fire: {text}; held 0s of {}", show_millis(rule.hold))
        }
        _ => format!("did not fire: {text}"),
    }
}
