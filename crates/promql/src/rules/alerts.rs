//! Alerts of a rule: pending, firing, resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::series::Labels;
use model::units::Timestamp;

/// How long a resolved alert is kept, so that whoever has to hear of it can.
const RESOLVED_KEPT: i64 = 15 * 60 * 1000;
/// After a longer outage alerts start anew.
const OUTAGE_TOLERANCE: i64 = 60 * 60 * 1000;
/// A restored alert is pending for at least this long before it fires.
const GRACE: i64 = 10 * 60 * 1000;

/// How an alert stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AlertState {
    /// It fired, and does no longer.
    Inactive,
    /// Its condition holds, but not for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl AlertState {
    /// The word of Prometheus.
    pub fn as_str(self) -> &'static str {
        match self {
            AlertState::Inactive => "inactive",
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
        }
    }
}

/// An alert.
#[derive(Clone, Debug, PartialEq)]
pub struct Alert {
    /// Name of its rule.
    pub rule: String,
    /// What it is about; tells it from others.
    pub labels: Labels,
    /// For people.
    pub annotations: BTreeMap<String, String>,
    /// How it stands.
    pub state: AlertState,
    /// Since when its condition holds.
    pub active_at: Timestamp,
    /// Since when it fires.
    pub fired_at: Option<Timestamp>,
    /// When it stopped.
    pub resolved_at: Option<Timestamp>,
    /// Since when it fires without its condition.
    pub keep_firing_since: Option<Timestamp>,
    /// The value of its query.
    pub value: f64,
}

/// An alert as it is kept over a restart.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedAlert {
    /// Name of the group.
    pub group: String,
    /// The evaluation that saw it last.
    pub seen_at: Timestamp,
    /// The alert.
    pub alert: Alert,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Alerts of a rule, by what they are about.
#[derive(Clone, Debug, Default)]
pub(super) struct Alerts {
    pub active: BTreeMap<Labels, Alert>,
}

impl Alerts {
    /// Takes in what an evaluation found, with the rule's `for` and `keep_firing_for`. Returns
    /// how many are pending or firing.
    pub(super) fn update(
        &mut self,
        found: BTreeMap<Labels, Alert>,
        now: Timestamp,
        hold: Duration,
        keep_firing_for: Duration,
    ) -> usize {
        let present: BTreeSet<Labels> = found.keys().cloned().collect();
        for (labels, alert) in found {
            match self.active.get_mut(&labels) {
                Some(known) if known.state != AlertState::Inactive => {
                    known.value = alert.value;
                    known.annotations = alert.annotations;
                }
                _ => {
                    self.active.insert(labels, alert);
                }
            }
        }
        let mut count = 0;
        let since = |time: Timestamp| now.0.saturating_sub(time.0);
        self.active.retain(|labels, alert| {
            if present.contains(labels) {
                alert.keep_firing_since = None;
            } else {
                let keeps = alert.state == AlertState::Firing && !keep_firing_for.is_zero() && {
                    let start = *alert.keep_firing_since.get_or_insert(now);
                    since(start) < millis(keep_firing_for)
                };
                if !keeps {
                    let forgotten = alert.state == AlertState::Pending
                        || alert.resolved_at.is_some_and(|at| since(at) > RESOLVED_KEPT);
                    if alert.state != AlertState::Inactive {
                        alert.state = AlertState::Inactive;
                        alert.resolved_at = Some(now);
                    }
                    return !forgotten;
                }
            }
            count += 1;
            let waited = since(alert.active_at) >= millis(hold);
            match alert.state {
                AlertState::Pending if waited => {
                    alert.state = AlertState::Firing;
                    alert.fired_at = Some(now);
                }
                // `for` became longer since.
                AlertState::Firing if !waited => {
                    alert.state = AlertState::Pending;
                    (alert.fired_at, alert.keep_firing_since) = (None, None);
                }
                _ => {}
            }
            true
        });
        count
    }

    /// Takes an alert from before a restart. One that fired goes on as if nothing had been. One
    /// that was pending does not count the outage, and waits for at least the grace time; where
    /// `for` is shorter than that, it starts anew.
    pub(super) fn restore(&mut self, saved: &SavedAlert, hold: Duration, now: Timestamp) {
        let outage = now.0.saturating_sub(saved.seen_at.0);
        if !(0..=OUTAGE_TOLERANCE).contains(&outage) {
            return;
        }
        let mut alert = saved.alert.clone();
        if alert.state == AlertState::Pending {
            let hold = millis(hold);
            if hold < GRACE {
                return;
            }
            let spent = saved.seen_at.0.saturating_sub(alert.active_at.0);
            let left = hold.saturating_sub(spent);
            if left > 0 && left < GRACE {
                alert.active_at = Timestamp(now.0.saturating_add(GRACE).saturating_sub(hold));
            } else if left > 0 {
                alert.active_at = Timestamp(alert.active_at.0.saturating_add(outage));
            }
        }
        self.active.insert(alert.labels.clone(), alert);
    }
}
