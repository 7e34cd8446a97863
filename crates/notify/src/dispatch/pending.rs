//! Notifications that wait: what they say, when they are tried, what became of the attempt.

use std::collections::BTreeSet;
use std::time::Duration;

use model::series::Labels;
use model::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    BACKOFF_FIRST_MILLIS, BACKOFF_MAX_MILLIS, Cooling, Dispatcher, Dropped, RETRY_AFTER_MAX_MILLIS,
    Tokens,
};
use crate::alert::{ALERT_NAME, Alert, Fingerprint, label_map, millis};
use crate::config::RateLimit;
use crate::dispatch::state::Parked;

/// The group of summaries on what a rate limit holds back.
const SUMMARY_GROUP: &str = "held-back";
/// How long such a summary waits for more.
const SUMMARY_WAIT_MILLIS: i64 = 10_000;
/// So many groups are named in it.
const SUMMARY_NAMES_MAX: usize = 10;

/// An integration and a group: at most one notification waits for both.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) integration: String,
    pub(crate) group: String,
}

impl Key {
    /// It is about notifications that are held back, not about a group of alerts.
    pub(crate) fn is_summary(&self) -> bool {
        self.group == SUMMARY_GROUP
    }
}

/// Why a notification is sent; the words are Alertmanager's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Reason {
    First,
    NewAlerts,
    SomeResolved,
    AllResolved,
    Repeat,
}

impl Reason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Reason::First => "first notification",
            Reason::NewAlerts => "new alerts added",
            Reason::SomeResolved => "some alerts resolved",
            Reason::AllResolved => "all alerts resolved",
            Reason::Repeat => "repeat interval elapsed",
        }
    }
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub(crate) integration: String,
    pub(crate) receiver: String,
    /// The group's id here.
    pub(crate) group: String,
    /// The group's name for others.
    pub(crate) group_key: String,
    #[serde(with = "label_map")]
    pub(crate) group_labels: Labels,
    pub(crate) reason: Reason,
    /// In the order of the message. Those that fire have no end.
    pub(crate) alerts: Vec<Alert>,
}

impl Notice {
    pub(crate) fn key(&self) -> Key {
        Key { integration: self.integration.clone(), group: self.group.clone() }
    }

    pub(crate) fn firing(&self) -> BTreeSet<Fingerprint> {
        let firing = self.alerts.iter().filter(|alert| alert.ends_at.is_none());
        firing.map(Alert::fingerprint).collect()
    }

    pub(crate) fn resolved(&self) -> BTreeSet<Fingerprint> {
        let resolved = self.alerts.iter().filter(|alert| alert.ends_at.is_some());
        resolved.map(Alert::fingerprint).collect()
    }
}

/// A notification that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) notice: Notice,
    /// Since when it says this.
    #[serde(with = "millis")]
    pub(crate) created: Timestamp,
    /// Failed attempts.
    pub(crate) attempts: u32,
    #[serde(with = "millis")]
    pub(crate) next_attempt: Timestamp,
    /// What the receiver may have been told to fire, though no answer came.
    pub(crate) maybe: BTreeSet<Fingerprint>,
    /// Of these, what it may know from earlier attempts.
    pub(crate) maybe_before: BTreeSet<Fingerprint>,
    /// What it may have been told to be over, likewise.
    #[serde(default)]
    pub(crate) over: BTreeSet<Fingerprint>,
    /// Of these, what it may know from earlier attempts.
    #[serde(default)]
    pub(crate) over_before: BTreeSet<Fingerprint>,
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    Delivered,
    /// To be tried again; the receiver may ask for a wait, and may have got it all the same.
    Retry {
        after: Option<Duration>,
        maybe_delivered: bool,
    },
    /// It will never be taken.
    Refused,
}

impl Dispatcher {
    /// Notes what became of an attempt to send `notice`.
    pub(crate) fn outcome(&mut self, now: Timestamp, notice: &Notice, outcome: &Outcome) {
        let key = notice.key();
        if self.in_flight.get(&key.integration) == Some(&key) {
            self.in_flight.remove(&key.integration);
        }
        let is_same = self.pending.get(&key).is_some_and(|waits| {
            waits.notice.firing() == notice.firing() && waits.notice.resolved() == notice.resolved()
        });
        if !matches!(outcome, Outcome::Retry { .. }) {
            self.cooling.remove(&key.integration);
        }
        match outcome {
            Outcome::Delivered => self.note_delivered(now, notice),
            Outcome::Refused => self.note_refused(now, notice),
            Outcome::Retry { after, maybe_delivered } => {
                self.note_failed(now, &key, *after, *maybe_delivered);
            }
        }
        if is_same && !matches!(outcome, Outcome::Retry { .. }) {
            self.remove(&key);
        } else if self.state.groups.contains_key(&key.group) {
            // What waits was decided without knowing this.
            let inhibited = self.inhibited(now);
            self.evaluate_if_waiting(now, &key, &inhibited);
        }
        self.prune(now, &key.group);
    }

    fn note_delivered(&mut self, now: Timestamp, notice: &Notice) {
        let told = self.told(&notice.key());
        let resolved = notice.resolved();
        told.firing.retain(|fingerprint| !resolved.contains(fingerprint));
        told.firing.extend(notice.firing());
        told.at = now;
        told.parked = None;
    }

    fn note_refused(&mut self, now: Timestamp, notice: &Notice) {
        let told = self.told(&notice.key());
        let resolved = notice.resolved();
        told.firing.retain(|fingerprint| !resolved.contains(fingerprint));
        told.parked = Some(Parked { firing: notice.firing(), at: now });
        self.count_drop(&notice.integration, Dropped::Refused);
    }

    fn note_failed(&mut self, now: Timestamp, key: &Key, after: Option<Duration>, maybe: bool) {
        // What did not arrive does not count.
        if let Some(tokens) = self.tokens.get_mut(&key.integration) {
            tokens.left += 1.0;
        }
        let asked = after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
        let asked = asked.min(RETRY_AFTER_MAX_MILLIS);
        let failures = self.cooling.get(&key.integration).map_or(0, |cooling| cooling.failures) + 1;
        let until = Timestamp(now.0 + self.backoff(failures).max(asked));
        self.cooling.insert(key.integration.clone(), Cooling { failures, until });
        let attempts = self.pending.get(key).map_or(0, |pending| pending.attempts) + 1;
        let next_attempt = Timestamp(now.0 + self.backoff(attempts).max(asked));
        let Some(pending) = self.pending.get_mut(key) else { return };
        (pending.attempts, pending.next_attempt) = (attempts, next_attempt);
        if maybe {
            pending.maybe_before.clone_from(&pending.maybe);
            pending.over_before.clone_from(&pending.over);
        } else {
            pending.maybe.clone_from(&pending.maybe_before);
            pending.over.clone_from(&pending.over_before);
        }
        self.changed.insert(key.clone());
    }

    /// Doubles with each failure; with jitter, so that not all come back at once.
    fn backoff(&mut self, failures: u32) -> i64 {
        let doubled = BACKOFF_FIRST_MILLIS << failures.saturating_sub(1).min(10);
        (doubled.min(BACKOFF_MAX_MILLIS) as f64 * self.jitter()) as i64
    }

    /// Between a half and one.
    fn jitter(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        0.5 + (self.random >> 11) as f64 / (1_u64 << 54) as f64
    }

    /// Puts a notification in place of what waits, or takes away what waits.
    pub(super) fn replace(&mut self, now: Timestamp, key: &Key, notice: Option<Notice>) {
        let Some(notice) = notice else {
            if self.pending.contains_key(key) {
                self.give_up(key, Dropped::Superseded);
            }
            return;
        };
        if let Some(waits) = self.pending.get_mut(key) {
            let is_same = waits.notice.firing() == notice.firing()
                && waits.notice.resolved() == notice.resolved();
            // Only its words may differ: the reason stays, and the file is not written again.
            let reason = if is_same { waits.notice.reason } else { notice.reason };
            waits.notice = Notice { reason, ..notice };
            if is_same {
                return;
            }
            waits.created = now;
            self.changed.insert(key.clone());
            self.count_drop(&key.integration, Dropped::Superseded);
            return;
        }
        let pending = Pending {
            notice,
            created: now,
            attempts: 0,
            next_attempt: now,
            maybe: BTreeSet::new(),
            maybe_before: BTreeSet::new(),
            over: BTreeSet::new(),
            over_before: BTreeSet::new(),
        };
        self.pending.insert(key.clone(), pending);
        self.changed.insert(key.clone());
    }

    fn remove(&mut self, key: &Key) {
        if self.pending.remove(key).is_some() {
            self.changed.insert(key.clone());
        }
    }

    pub(super) fn give_up(&mut self, key: &Key, reason: Dropped) {
        self.remove(key);
        self.count_drop(&key.integration, reason);
    }

    fn count_drop(&mut self, integration: &str, reason: Dropped) {
        *self.dropped.entry((integration.to_owned(), reason)).or_default() += 1;
    }

    /// Keeps what waits within its bounds: the oldest goes first.
    pub(super) fn bound(&mut self, now: Timestamp) {
        let oldest_allowed = now.0 - self.limits.age_max.millis();
        let is_old = |pending: &Pending| pending.created.0 < oldest_allowed;
        let old: Vec<Key> =
            self.pending.iter().filter(|(_, p)| is_old(p)).map(|(key, _)| key.clone()).collect();
        for key in old {
            if let Some(notice) = self.pending.get(&key).map(|pending| pending.notice.clone()) {
                self.note_parked(now, &notice);
            }
            self.give_up(&key, Dropped::TooOld);
        }
        let sizes = self.pending.values().map(|pending| approximate_bytes(&pending.notice));
        let (mut bytes, mut count) = (sizes.sum::<u64>(), self.pending.len());
        while count > self.limits.messages_max || bytes > self.limits.bytes_max {
            let oldest = self.pending.iter().min_by_key(|(_, pending)| pending.created);
            let Some((key, pending)) = oldest else { return };
            let (key, notice) = (key.clone(), pending.notice.clone());
            bytes -= approximate_bytes(&notice).min(bytes);
            count -= 1;
            self.note_parked(now, &notice);
            self.give_up(&key, Dropped::QueueFull);
        }
    }

    /// The same is not tried again at once.
    fn note_parked(&mut self, now: Timestamp, notice: &Notice) {
        let told = self.told(&notice.key());
        let resolved = notice.resolved();
        told.firing.retain(|fingerprint| !resolved.contains(fingerprint));
        told.parked = Some(Parked { firing: notice.firing(), at: now });
    }

    /// Picks what is sent now: for each integration that is idle, what waits longest, within its
    /// rate.
    pub(super) fn choose(&mut self, now: Timestamp) -> Vec<Notice> {
        let mut chosen = Vec::new();
        for integration in self.integrations.clone() {
            if self.cooling.get(&integration.id).is_some_and(|cooling| now < cooling.until) {
                continue;
            }
            let of_it = |key: &Key| key.integration == integration.id;
            let is_due =
                |(key, pending): &(&Key, &Pending)| of_it(key) && pending.next_attempt <= now;
            let mut due: Vec<Key> =
                self.pending.iter().filter(is_due).map(|(key, _)| key.clone()).collect();
            let by_age = |key: &Key| {
                let pending = self.pending.get(key);
                (!key.is_summary(), pending.map(|p| (p.next_attempt, p.created)))
            };
            due.sort_by_key(by_age);
            let allowed = self.allowed(now, &integration.id, integration.rate);
            let held: Vec<Key> = due.iter().filter(|key| !key.is_summary()).cloned().collect();
            if allowed == 0 {
                due.retain(Key::is_summary);
            }
            self.summarize(now, &integration, if held.len() > allowed { &held } else { &[] });
            if self.in_flight.contains_key(&integration.id) {
                continue;
            }
            for key in due {
                if let Some(notice) = self.start(now, &key) {
                    chosen.push(notice);
                    break;
                }
            }
        }
        chosen
    }

    /// Starts an attempt; `None` when there is nothing to say any more.
    fn start(&mut self, now: Timestamp, key: &Key) -> Option<Notice> {
        // It may have waited for long: it says how things are now.
        if self.pending.get(key)?.attempts > 0 && self.state.groups.contains_key(&key.group) {
            let inhibited = self.inhibited(now);
            self.evaluate(now, key, &inhibited);
        }
        let pending = self.pending.get_mut(key)?;
        pending.maybe_before.clone_from(&pending.maybe);
        pending.maybe.extend(pending.notice.firing());
        pending.over_before.clone_from(&pending.over);
        pending.over.extend(pending.notice.resolved());
        let notice = pending.notice.clone();
        self.changed.insert(key.clone());
        self.in_flight.insert(key.integration.clone(), key.clone());
        if !key.is_summary()
            && let Some(tokens) = self.tokens.get_mut(&key.integration)
        {
            tokens.left -= 1.0;
        }
        Some(notice)
    }

    /// How many messages an integration may get now.
    fn allowed(&mut self, now: Timestamp, integration: &str, rate: RateLimit) -> usize {
        let most = f64::from(rate.messages);
        let tokens =
            self.tokens.entry(integration.to_owned()).or_insert(Tokens { left: most, at: now });
        let per = (rate.per.millis() as f64).max(1.0);
        let gained = (now.0 - tokens.at.0).max(0) as f64 * most / per;
        *tokens = Tokens { left: (tokens.left + gained).min(most), at: now };
        if rate.messages == 0 { usize::MAX } else { tokens.left as usize }
    }

    /// Says that notifications are held back, and when they no longer are.
    fn summarize(&mut self, now: Timestamp, to: &super::Integration, held: &[Key]) {
        let key = Key { integration: to.id.clone(), group: SUMMARY_GROUP.to_owned() };
        let is_told = self.state.told.get(&key).is_some_and(|told| !told.firing.is_empty());
        let waits = self.pending.get(&key);
        let says_firing = waits.is_some_and(|pending| !pending.notice.firing().is_empty());
        if self.in_flight.get(&to.id) == Some(&key)
            || (held.is_empty() && waits.is_none() && !is_told)
        {
            return;
        }
        if !held.is_empty() && !is_told {
            let names: Vec<&str> = held.iter().map(|key| self.group_name(key)).collect();
            let alert = summary_alert(to, &names, now);
            let notice = self.summary(&key, to, Reason::First, alert);
            self.replace(now, &key, Some(notice));
            if let Some(pending) = self.pending.get_mut(&key).filter(|_| !says_firing) {
                pending.next_attempt = Timestamp(now.0 + SUMMARY_WAIT_MILLIS);
            }
        } else if held.is_empty() && !is_told && says_firing {
            self.replace(now, &key, None);
        } else if held.is_empty() && is_told && waits.is_none() {
            let mut alert = summary_alert(to, &[], now);
            alert.ends_at = Some(now);
            let notice =
                to.send_resolved.then(|| self.summary(&key, to, Reason::AllResolved, alert));
            if notice.is_none() {
                self.told(&key).firing.clear();
            }
            self.replace(now, &key, notice);
        }
    }

    fn group_name(&self, key: &Key) -> &str {
        self.pending.get(key).map_or("", |pending| pending.notice.group_key.as_str())
    }

    fn summary(&self, key: &Key, to: &super::Integration, reason: Reason, alert: Alert) -> Notice {
        Notice {
            integration: to.id.clone(),
            receiver: to.receiver.clone(),
            group: key.group.clone(),
            group_key: format!("{}:{}", SUMMARY_GROUP, to.id),
            group_labels: alert.labels.filtered(|name| name == ALERT_NAME),
            reason,
            alerts: vec![alert],
        }
    }
}

fn summary_alert(to: &super::Integration, names: &[&str], now: Timestamp) -> Alert {
    let per = model::units::format_duration(to.rate.per.0);
    let shown: Vec<&str> = names.iter().copied().take(SUMMARY_NAMES_MAX).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let summary = format!(
        "{} notifications are held back: more than {} in {per}",
        names.len(),
        to.rate.messages
    );
    let description = format!("Groups: {}{more}", shown.join(", "));
    Alert {
        labels: Labels::new([
            (ALERT_NAME, "NotificationsHeldBack"),
            ("severity", "warning"),
            ("integration", &to.id),
        ]),
        annotations: Labels::new([
            ("summary", summary.as_str()),
            ("description", &description),
            ("next", "see which rule fires so often; what is held back follows, as it is then"),
        ]),
        starts_at: now,
        ends_at: None,
        generator_url: String::new(),
    }
}

/// What a notification takes on disk, about.
fn approximate_bytes(notice: &Notice) -> u64 {
    let of_labels =
        |labels: &Labels| labels.iter().map(|(n, v)| n.len() + v.len() + 6).sum::<usize>();
    let of_alert = |alert: &Alert| {
        of_labels(&alert.labels) + of_labels(&alert.annotations) + alert.generator_url.len() + 96
    };
    let alerts: usize = notice.alerts.iter().map(of_alert).sum();
    (alerts + 256) as u64
}
