//! What the watch tells its subscribers.

use std::sync::Arc;

use model::probe::OomVictim;
use model::{CaptureId, CaptureKind, FindingKind, TargetId};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A target was found.
    TargetFound {
        /// Which.
        target: TargetId,
        /// Its name.
        name: String,
        /// Its process.
        pid: Option<u32>,
    },
    /// A target ended.
    TargetEnded {
        /// Which.
        target: TargetId,
    },
    /// New level signals are in the store.
    Observed {
        /// Whose.
        target: TargetId,
    },
    /// A capture is in the store.
    Captured {
        /// Whose.
        target: TargetId,
        /// The capture.
        capture: CaptureId,
    },
    /// The verdict was renewed.
    Diagnosed {
        /// About whom.
        target: TargetId,
        /// The verdict.
        verdict: FindingKind,
        /// How sure.
        confidence: f64,
        /// It is not the verdict of last time.
        is_new: bool,
        /// One line for people.
        summary: String,
    },
    /// A rule fired, would have if a limit did not forbid it, or no longer fires.
    Rule {
        /// For whom.
        target: TargetId,
        /// Which.
        rule: String,
        /// `fired`, `refused`, `resolved`.
        what: &'static str,
        /// How much it matters to the rule's author.
        severity: String,
        /// The figure behind it.
        value: Option<f64>,
        /// Why.
        reason: String,
    },
    /// What a rule asked for is done.
    Acted {
        /// For whom.
        target: TargetId,
        /// Which rule.
        rule: String,
        /// What was captured.
        captures: Vec<CaptureId>,
        /// What went wrong; empty when nothing did.
        fault: String,
    },
    /// Somebody was told of alerts, or would not be.
    Notified {
        /// Who.
        receiver: String,
        /// Names of the alerts.
        alerts: Vec<String>,
        /// Why not; empty when it was taken.
        error: String,
    },
    /// A probe began to look at a target, or is done.
    Probe {
        /// At whom.
        target: TargetId,
        /// Which probe.
        probe: CaptureKind,
        /// It has begun.
        is_at_work: bool,
        /// Why: a rule's name, or `manual`.
        reason: String,
    },
    /// The kernel killed a process for want of memory.
    Killed {
        /// Which target, if it was under watch.
        target: Option<TargetId>,
        /// The process, and why.
        victim: OomVictim,
    },
    /// Something did not work.
    Warning {
        /// About whom, if about one.
        target: Option<TargetId>,
        /// What, and what to do.
        text: String,
    },
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something works worse than it should, or somebody should look.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// What happens all the time.
    Debug,
}

impl Level {
    /// All levels.
    const ALL: [Level; 4] = [Level::Error, Level::Warn, Level::Info, Level::Debug];

    /// Parses the word.
    pub fn parse(word: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.as_str() == word)
    }

    /// The word in logs and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }
}

impl Event {
    /// The kind, as subscribers see it.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::TargetFound { .. } | Event::TargetEnded { .. } => "target",
            Event::Observed { .. } => "observation",
            Event::Captured { .. } => "capture",
            Event::Diagnosed { .. } => "finding",
            Event::Rule { .. } => "rule",
            Event::Acted { .. } => "action",
            Event::Notified { .. } => "notification",
            Event::Probe { .. } => "probe",
            Event::Killed { .. } => "oom-kill",
            Event::Warning { .. } => "warning",
        }
    }

    /// Whom it is about.
    pub fn target(&self) -> Option<TargetId> {
        match self {
            Event::TargetFound { target, .. }
            | Event::TargetEnded { target }
            | Event::Observed { target }
            | Event::Captured { target, .. }
            | Event::Rule { target, .. }
            | Event::Acted { target, .. }
            | Event::Probe { target, .. }
            | Event::Diagnosed { target, .. } => Some(*target),
            Event::Notified { .. } => None,
            Event::Killed { target, .. } | Event::Warning { target, .. } => *target,
        }
    }

    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Event::Diagnosed { is_new: true, verdict, .. } if verdict.is_leak() => Level::Warn,
            Event::TargetFound { .. } | Event::TargetEnded { .. } => Level::Info,
            Event::Diagnosed { is_new: true, .. } => Level::Info,
            Event::Observed { .. }
            | Event::Captured { .. }
            | Event::Probe { .. }
            | Event::Diagnosed { .. } => Level::Debug,
            Event::Rule { what: "fired", .. } | Event::Killed { .. } | Event::Warning { .. } => {
                Level::Warn
            }
            Event::Rule { .. } => Level::Info,
            Event::Acted { fault, .. } if !fault.is_empty() => Level::Warn,
            Event::Notified { error, .. } if !error.is_empty() => Level::Error,
            Event::Acted { .. } | Event::Notified { .. } => Level::Info,
        }
    }

    /// One sentence, without the target's name.
    pub fn message(&self) -> String {
        match self {
            Event::TargetFound { name, pid: Some(pid), .. } => {
                format!("watching {name} (pid {pid})")
            }
            Event::TargetFound { name, .. } => format!("watching {name}"),
            Event::TargetEnded { .. } => "has ended".to_owned(),
            Event::Observed { .. } => "observed".to_owned(),
            Event::Captured { capture, .. } => format!("capture {} is stored", capture.0),
            Event::Diagnosed { verdict, summary, .. } => format!("{}: {summary}", verdict.as_str()),
            Event::Rule { rule, what, reason, .. } => format!("rule {rule} {what}: {reason}"),
            Event::Acted { rule, captures, fault, .. } => {
                let took = match captures.len() {
                    1 => "took 1 capture".to_owned(),
                    count => format!("took {count} captures"),
                };
                let fault = if fault.is_empty() { "" } else { &format!("; {fault}") };
                format!("rule {rule} {took}{fault}")
            }
            Event::Notified { receiver, alerts, error } => {
                let what = alerts.join(", ");
                match error.as_str() {
                    "" => format!("{receiver} was told of {what}"),
                    error => format!("{receiver} would not be told of {what}: {error}"),
                }
            }
            Event::Probe { probe, is_at_work, reason, .. } => {
                let what = if *is_at_work { "looks" } else { "is done" };
                format!("probe {} {what} ({reason})", probe.as_str())
            }
            Event::Killed { victim, .. } => killed(victim),
            Event::Warning { text, .. } => text.clone(),
        }
    }

    /// What it says, for programs. The fields are part of the API.
    pub fn fields(&self) -> Map<String, Value> {
        let value = match self {
            Event::TargetFound { name, pid, .. } => {
                json!({ "name": name, "pid": pid, "alive": true })
            }
            Event::TargetEnded { .. } => json!({ "alive": false }),
            Event::Observed { .. } => json!({}),
            Event::Captured { capture, .. } => json!({ "capture": capture.0 }),
            Event::Diagnosed { verdict, confidence, is_new, summary, .. } => json!({
                "verdict": verdict.as_str(), "confidence": confidence, "new": is_new, "summary": summary,
            }),
            Event::Rule { rule, what, severity, value, reason, .. } => json!({
                "rule": rule, "what": what, "severity": severity, "value": value, "reason": reason,
            }),
            Event::Acted { rule, captures, fault, .. } => json!({
                "rule": rule, "fault": fault,
                "captures": captures.iter().map(|capture| capture.0).collect::<Vec<_>>(),
            }),
            Event::Notified { receiver, alerts, error } => {
                json!({ "receiver": receiver, "alerts": alerts, "error": error })
            }
            Event::Probe { probe, is_at_work, reason, .. } => json!({
                "probe": probe.as_str(), "at_work": is_at_work, "reason": reason,
            }),
            Event::Killed { victim, .. } => json!({
                "pid": victim.pid, "name": victim.name, "text": killed(victim),
                "cause": if victim.limit.is_some() { "cgroup" } else { "machine" },
                "cgroup": victim.limit.as_ref().map_or(&victim.cgroup, |limit| &limit.cgroup),
                "limit_bytes": victim.limit.as_ref().map(|limit| limit.limit.0),
                "resident_bytes": victim.resident().0,
            }),
            Event::Warning { text, .. } => json!({ "text": text }),
        };
        let Value::Object(mut fields) = value else { return Map::new() };
        fields.insert("target".to_owned(), self.target().map(|target| target.0).into());
        fields
    }
}

fn killed(victim: &OomVictim) -> String {
    let (name, pid, resident) = (&victim.name, victim.pid, victim.resident());
    let why = match &victim.limit {
        Some(limit) => format!("cgroup {} was at its limit of {}", limit.cgroup, limit.limit),
        None => "the machine was out of memory".to_owned(),
    };
    format!("{name} (pid {pid}) was killed with {resident} resident: {why}")
}

/// Takes events; called from the watch's threads, so it must be quick.
pub type Publish = Arc<dyn Fn(Event) + Send + Sync>;
