//! Rules as the engine works with them: checked, with everything in base units.

use std::collections::BTreeMap;

use model::{CaptureKind, FindingKind, Target, TargetId};
use regex::Regex;

use super::signals::{LimitOf, Signal};

/// A checked rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique.
    pub name: String,
    /// Off: known, but asks nothing.
    pub is_enabled: bool,
    /// Which targets.
    pub targets: Filter,
    /// Which of these not.
    pub exclude: Option<Filter>,
    /// The condition.
    pub when: Condition,
    /// How long it must hold, milliseconds.
    pub hold: i64,
    /// What ends a firing, where that is not the end of `when`.
    pub clear: Option<Condition>,
    /// How long a firing stays after its end.
    pub keep_firing: i64,
    /// While it fires, act again so often.
    pub repeat: Option<i64>,
    /// In order.
    pub actions: Vec<Action>,
    /// How often.
    pub limits: Limits,
    /// For notifications.
    pub severity: String,
    /// For notifications.
    pub labels: BTreeMap<String, String>,
    /// For notifications.
    pub annotations: BTreeMap<String, String>,
}

/// Which targets a rule is for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// What is looked at, as written, and the anchored expression.
    pub(super) patterns: Vec<(Field, String, Regex)>,
}

/// What of a target is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    Command,
    Cgroup,
    Unit,
    Container,
    Label(String),
}

/// What rules know of a target.
#[derive(Clone, Debug, PartialEq)]
pub struct TargetInfo {
    /// Its key in the store: one process.
    pub id: TargetId,
    /// What it is.
    pub target: Target,
    /// Its command line.
    pub command: String,
    /// The path of its cgroup.
    pub cgroup: String,
    /// Its systemd unit, or empty.
    pub unit: String,
    /// Its container's id, or empty.
    pub container: String,
}

impl TargetInfo {
    /// With no more than the target itself.
    pub fn new(id: TargetId, target: Target) -> TargetInfo {
        let empty = String::new;
        TargetInfo {
            id,
            target,
            command: empty(),
            cgroup: empty(),
            unit: empty(),
            container: empty(),
        }
    }

    /// What stays over restarts of the process: limits count by it, so that a service that is
    /// started again and again gets no more captures than one that is not.
    pub fn identity(&self) -> String {
        let label = |name: &str| self.target.labels.get(name).map_or("", String::as_str);
        let service =
            if label("service").is_empty() { &self.target.name } else { label("service") };
        [service, label("instance"), &self.unit].join("|")
    }
}

impl Filter {
    /// Why the target is none of these; `None` when it is one.
    pub(super) fn mismatch(&self, info: &TargetInfo) -> Option<String> {
        let (field, pattern, value) =
            self.patterns.iter().find_map(|(field, pattern, regex)| {
                let value = field.of(info);
                (!regex.is_match(value)).then_some((field, pattern, value))
            })?;
        Some(format!("{} {value:?} does not match {pattern:?}", field.words()))
    }
}

impl Field {
    fn of<'a>(&self, info: &'a TargetInfo) -> &'a str {
        match self {
            Field::Name => &info.target.name,
            Field::Command => &info.command,
            Field::Cgroup => &info.cgroup,
            Field::Unit => &info.unit,
            Field::Container => &info.container,
            Field::Label(name) => info.target.labels.get(name).map_or("", String::as_str),
        }
    }

    fn words(&self) -> String {
        match self {
            Field::Name => "its name".to_owned(),
            Field::Command => "its command line".to_owned(),
            Field::Cgroup => "its cgroup".to_owned(),
            Field::Unit => "its unit".to_owned(),
            Field::Container => "its container".to_owned(),
            Field::Label(name) => format!("its label {name}"),
        }
    }
}

/// A checked condition.
#[derive(Clone, Debug)]
pub enum Condition {
    /// One of these at least.
    Any(Vec<Condition>),
    /// Each of these.
    All(Vec<Condition>),
    /// The contrary.
    Not(Box<Condition>),
    /// A signal compared with a bound.
    Level {
        /// The signal.
        signal: &'static Signal,
        /// More or less than the bound.
        side: Side,
        /// The bound.
        bound: Bound,
    },
    /// A signal compared with its own past, this sample left out.
    Deviation {
        /// The signal, and the past.
        past: Past,
        /// The quantile; the mean without one.
        quantile: Option<f64>,
        /// How much more.
        by: By,
    },
    /// How fast a signal changes.
    Rate {
        /// The signal, and the past.
        past: Past,
        /// More or less than the bound.
        side: Side,
        /// Units a second.
        bound: f64,
    },
    /// A new high-water mark.
    HighWater {
        /// Of what.
        signal: &'static Signal,
        /// Nothing below is a mark.
        floor: f64,
        /// How much above the last mark, as a factor.
        factor: f64,
        /// How soon the mark falls to what was reached meanwhile.
        resets: i64,
        /// Which of the rule's marks.
        mark: usize,
    },
    /// The limit is reached soon.
    Forecast {
        /// Whose pace.
        past: Past,
        /// Seconds.
        within: f64,
        /// Which end of the estimate.
        end: End,
        /// Which limit, and whether it is the one that kills.
        of: LimitOf,
    },
    /// Steady growth: also its lower bound is that much.
    Growth {
        /// Of what.
        past: Past,
        /// How much over the window.
        by: By,
    },
    /// Stalls for want of memory.
    Pressure {
        /// All tasks, not one at least.
        is_full: bool,
        /// Percent.
        above: f64,
        /// 10, 60 or 300 seconds.
        window: u16,
        /// Of the cgroup, not of the machine.
        is_cgroup: bool,
    },
    /// A verdict.
    Finding {
        /// Which; any leak without one.
        kind: Option<FindingKind>,
        /// The least confidence.
        confidence: f64,
    },
    /// Something happened.
    Event(EventKind),
}

/// Which side of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// More.
    Above,
    /// Less.
    Below,
}

/// What a level is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// An amount in the signal's unit.
    Amount(f64),
    /// Percent of a limit.
    Share(f64, LimitOf),
}

/// How much more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum By {
    /// Percent.
    Percent(f64),
    /// An amount in the signal's unit.
    Amount(f64),
}

/// A signal with a trailing window, shared among the rules that ask the same.
#[derive(Clone, Copy, Debug)]
pub struct Past {
    /// The signal.
    pub signal: &'static Signal,
    /// Milliseconds.
    pub span: i64,
    /// Index of the window in the engine.
    pub window: usize,
}

/// Which end of an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The earliest time.
    Low,
    /// The best guess.
    Estimate,
    /// The latest: even the slowest pace that fits gets there.
    High,
}

impl End {
    /// The words in rules.
    pub const WORDS: [(&'static str, End); 3] =
        [("low", End::Low), ("estimate", End::Estimate), ("high", End::High)];
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The kernel killed something in the target's cgroup.
    OomKill,
    /// The cgroup's limit was hit.
    LimitHit,
    /// The agent was sent its signal.
    Signal,
    /// This rule was called by HTTP.
    Call,
}

impl EventKind {
    /// The words in rules.
    pub const WORDS: [(&'static str, EventKind); 4] = [
        ("oom-kill", EventKind::OomKill),
        ("limit-hit", EventKind::LimitHit),
        ("signal", EventKind::Signal),
        ("call", EventKind::Call),
    ];
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Take captures, one after the other.
    Capture {
        /// Which.
        kinds: Vec<Take>,
        /// Their name for later actions: of the first, and with `.KIND` of each.
        name: Option<String>,
    },
    /// Take two captures, so many collections apart.
    Pair {
        /// Of this kind.
        kind: Take,
        /// How many.
        gcs_apart: u32,
        /// Name of the later one for later actions; the earlier one's has `.base`.
        name: Option<String>,
    },
    /// Tell somebody.
    Notify {
        /// The receiver.
        receiver: String,
        /// One line; a template.
        summary: String,
        /// More; a template.
        description: String,
    },
    /// Run a program, without a shell.
    Exec {
        /// The program and its arguments; templates.
        argv: Vec<String>,
        /// Milliseconds.
        timeout: i64,
    },
}

impl Action {
    /// It tells somebody and takes nothing: limits of captures do not hold it back.
    pub fn is_notice(&self) -> bool {
        matches!(self, Action::Notify { .. })
    }

    /// What its captures are called in later actions.
    pub fn names(&self) -> Vec<String> {
        let under = |name: &Option<String>, word: &str| match name {
            Some(name) => format!("{name}.{word}"),
            None => word.to_owned(),
        };
        match self {
            Action::Capture { kinds, name } => {
                let words = kinds.iter().map(|kind| under(name, kind.as_str()));
                words.chain(name.clone()).collect()
            }
            Action::Pair { kind, name, .. } => {
                let later = name.clone().unwrap_or_else(|| kind.as_str().to_owned());
                vec![format!("{later}.base"), later]
            }
            Action::Notify { .. } | Action::Exec { .. } => Vec::new(),
        }
    }
}

/// A piece of evidence to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take {
    /// A capture as the store has them.
    Kind(CaptureKind),
    /// What happens in so many milliseconds.
    Lasting(CaptureKind, i64),
}

impl Take {
    /// The word in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Take::Kind(kind) | Take::Lasting(kind, _) => kind.as_str(),
        }
    }

    /// What the store keeps it as.
    pub fn stored_as(self) -> CaptureKind {
        match self {
            Take::Kind(kind) | Take::Lasting(kind, _) => kind,
        }
    }
}

/// How often a rule may act.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Firings for a target: how many in how many milliseconds.
    pub per_target: Option<(u32, i64)>,
    /// Firings of the rule.
    pub per_rule: Option<(u32, i64)>,
    /// Firings of all rules on this machine.
    pub per_node: Option<(u32, i64)>,
    /// Between two firings for a target.
    pub cooldown: Option<i64>,
    /// Microseconds of CPU time.
    pub cpu: Option<(u64, i64)>,
    /// Bytes stored.
    pub bytes: Option<(u64, i64)>,
}

impl Condition {
    /// Calls `each` with this condition and all inside it.
    pub(super) fn walk_mut(&mut self, each: &mut impl FnMut(&mut Condition)) {
        each(self);
        match self {
            Condition::Any(inner) | Condition::All(inner) => {
                inner.iter_mut().for_each(|condition| condition.walk_mut(each));
            }
            Condition::Not(inner) => inner.walk_mut(each),
            _ => {}
        }
    }

    /// The window it looks at, if it does.
    pub(super) fn past_mut(&mut self) -> Option<&mut Past> {
        match self {
            Condition::Deviation { past, .. }
            | Condition::Rate { past, .. }
            | Condition::Forecast { past, .. }
            | Condition::Growth { past, .. } => Some(past),
            _ => None,
        }
    }

    /// It holds for an instant only: a hold time would never pass.
    pub(super) fn is_momentary(&self) -> bool {
        match self {
            Condition::Event(_) | Condition::HighWater { .. } => true,
            Condition::All(inner) => inner.iter().any(Condition::is_momentary),
            Condition::Any(inner) => !inner.is_empty() && inner.iter().all(Condition::is_momentary),
            _ => false,
        }
    }
}
