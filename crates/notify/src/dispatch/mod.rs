//! Who has to be told what, when: groups of alerts, what each receiver was told, and what waits
//! to be delivered. A state machine: time comes from the caller, nothing is read or sent here.
//!
//! For each way of a receiver ("integration") and each group at most one notification waits. It
//! says how things are now; what it said before it was delivered is superseded. A resolved alert
//! is told only where its firing was, or may have been.

mod evaluate;
mod pending;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use model::series::Labels;
use model::units::Timestamp;

use crate::alert::{Alert, Fingerprint, set_text};
use crate::config::{Queue, RateLimit, Span};
use crate::route::Routes;

pub(crate) use pending::{Key, Notice, Outcome, Pending};
use state::{Group, Source, Told};
pub(crate) use state::{Known, State};

/// Resolved alerts are known for this long, as in Prometheus.
const RESOLVED_KEPT: Span = Span::seconds(15 * 60);
/// The first wait after a failure.
const BACKOFF_FIRST_MILLIS: i64 = 1000;
/// The longest wait after failures.
const BACKOFF_MAX_MILLIS: i64 = 60_000;
/// The longest wait that a receiver may ask for.
const RETRY_AFTER_MAX_MILLIS: i64 = 3_600_000;

/// One way to reach a receiver, as far as it matters here.
#[derive(Clone, Debug)]
pub(crate) struct Integration {
    /// Such as `team/webhook[0]`.
    pub(crate) id: String,
    pub(crate) receiver: String,
    pub(crate) send_resolved: bool,
    pub(crate) rate: RateLimit,
}

/// What was not delivered for good, by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dropped {
    /// It no longer held before it could be delivered.
    Superseded,
    /// Too many waited.
    QueueFull,
    /// It waited too long.
    TooOld,
    /// The receiver refused it.
    Refused,
    /// Its receiver is no longer configured.
    NoReceiver,
}

impl Dropped {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Dropped::Superseded => "superseded",
            Dropped::QueueFull => "queue_full",
            Dropped::TooOld => "too_old",
            Dropped::Refused => "refused",
            Dropped::NoReceiver => "no_receiver",
        }
    }
}

/// The state machine.
pub(crate) struct Dispatcher {
    routes: Routes,
    integrations: Vec<Integration>,
    limits: Queue,
    resolve_timeout: Span,
    state: State,
    pending: BTreeMap<Key, Pending>,
    /// What differs from what is on disk.
    changed: BTreeSet<Key>,
    /// What is being delivered, by integration.
    in_flight: BTreeMap<String, Key>,
    tokens: BTreeMap<String, Tokens>,
    /// Integrations whose last attempt failed.
    cooling: BTreeMap<String, Cooling>,
    dropped: BTreeMap<(String, Dropped), u64>,
    alerts_dropped: u64,
    opened_at: Timestamp,
    random: u64,
    is_dirty: bool,
}

/// A receiver that fails is asked with one message after a wait, not with each that it misses.
#[derive(Clone, Copy)]
struct Cooling {
    failures: u32,
    until: Timestamp,
}

/// What is left of a rate limit.
struct Tokens {
    left: f64,
    at: Timestamp,
}

impl Dispatcher {
    /// With what was known and waiting before. The state is written first: what waits and is
    /// unknown to it was delivered.
    pub(crate) fn new(
        now: Timestamp,
        state: State,
        waiting: Vec<Pending>,
        seed: u64,
    ) -> Dispatcher {
        let waiting = waiting.into_iter().map(|pending| (pending.notice.key(), pending));
        let (pending, over): (BTreeMap<Key, Pending>, BTreeMap<Key, Pending>) =
            waiting.partition(|(key, _)| key.is_summary() || state.groups.contains_key(&key.group));
        Dispatcher {
            routes: Routes::new(&crate::Config::default()),
            integrations: Vec::new(),
            limits: Queue::default(),
            resolve_timeout: Span::seconds(300),
            state,
            pending,
            changed: over.into_keys().collect(),
            in_flight: BTreeMap::new(),
            tokens: BTreeMap::new(),
            cooling: BTreeMap::new(),
            dropped: BTreeMap::new(),
            alerts_dropped: 0,
            opened_at: now,
            random: seed | 1,
            is_dirty: true,
        }
    }

    /// Takes another configuration; what is known is routed anew.
    pub(crate) fn configure(
        &mut self,
        now: Timestamp,
        config: &crate::Config,
        integrations: Vec<Integration>,
    ) {
        self.routes = Routes::new(config);
        self.integrations = integrations;
        self.limits = config.queue;
        self.resolve_timeout = config.global.resolve_timeout.unwrap_or(Span::seconds(300));
        let known: BTreeSet<&str> = self.integrations.iter().map(|i| i.id.as_str()).collect();
        let gone: Vec<Key> = self
            .pending
            .keys()
            .filter(|key| !known.contains(key.integration.as_str()))
            .cloned()
            .collect();
        self.state.told.retain(|key, _| known.contains(key.integration.as_str()));
        self.tokens.clear();
        self.cooling.clear();
        for key in gone {
            self.give_up(&key, Dropped::NoReceiver);
        }
        // A refused message may be right for the new receiver.
        self.state.told.values_mut().for_each(|told| told.parked = None);
        let routes = &self.routes;
        self.state.groups.retain(|_, group| routes.get(&group.route).is_some());
        let alerts: Vec<Alert> =
            self.state.alerts.values().map(|known| known.alert.clone()).collect();
        for alert in alerts {
            let was_told_of = self.is_member(alert.fingerprint());
            if !alert.is_resolved(now) || was_told_of {
                self.join_groups(now, &alert);
            }
        }
        self.look_again(now);
        self.is_dirty = true;
    }

    /// Decides anew what waits, and soon what does not: something may have been cut off, or
    /// somebody else has to be told.
    fn look_again(&mut self, now: Timestamp) {
        let inhibited = self.inhibited(now);
        let waiting: Vec<Key> =
            self.pending.keys().filter(|key| !key.is_summary()).cloned().collect();
        for key in waiting {
            if self.state.groups.contains_key(&key.group) {
                self.evaluate(now, &key, &inhibited);
            }
        }
        for group in self.state.groups.values_mut().filter(|group| group.has_flushed) {
            let wait = self.routes.get(&group.route).map_or(0, |node| node.wait.millis());
            group.next_flush = group.next_flush.min(Timestamp(now.0 + wait));
        }
    }

    /// Takes the whole set of a source's alerts: what fires, and what was just resolved. What
    /// fired before and is missing is resolved.
    pub(crate) fn update(&mut self, now: Timestamp, source: &str, alerts: Vec<Alert>) {
        let heard =
            self.state.sources.entry(source.to_owned()).or_insert(Source { heard: now, every: 0 });
        heard.every = (now.0 - heard.heard.0).max(0);
        heard.heard = now;
        let mut seen = BTreeSet::new();
        for alert in alerts {
            let fingerprint = alert.fingerprint();
            seen.insert(fingerprint);
            self.take(now, source, fingerprint, &alert);
        }
        for (fingerprint, known) in &mut self.state.alerts {
            if known.source == source
                && !seen.contains(fingerprint)
                && !known.alert.is_resolved(now)
            {
                known.alert.ends_at = Some(now);
                self.is_dirty = true;
            }
        }
    }

    fn take(&mut self, now: Timestamp, source: &str, fingerprint: Fingerprint, alert: &Alert) {
        let is_resolved = alert.is_resolved(now);
        let count = self.state.alerts.len();
        let known = self.state.alerts.get_mut(&fingerprint);
        let was_firing = known.as_ref().is_some_and(|known| !known.alert.is_resolved(now));
        match known {
            // Nobody heard of it, or it ended before: there is nothing to tell.
            _ if is_resolved && !was_firing => return,
            Some(known) => {
                self.is_dirty |= was_firing == is_resolved || known.alert != *alert;
                *known = Known { alert: alert.clone(), source: source.to_owned() };
            }
            None if count >= self.limits.alerts_max => {
                self.alerts_dropped += 1;
                return;
            }
            None => {
                let known = Known { alert: alert.clone(), source: source.to_owned() };
                self.state.alerts.insert(fingerprint, known);
                self.is_dirty = true;
            }
        }
        if !was_firing {
            self.join_groups(now, alert);
        }
    }

    fn is_member(&self, fingerprint: Fingerprint) -> bool {
        self.state.groups.values().any(|group| group.members.contains(&fingerprint))
    }

    fn join_groups(&mut self, now: Timestamp, alert: &Alert) {
        for node in self.routes.of(&alert.labels) {
            let labels = node.group_labels(&alert.labels);
            let id = format!("{}:{}", node.id, set_text(&labels));
            let group = self.state.groups.entry(id).or_insert_with(|| Group {
                route: node.id.clone(),
                key: format!("{}:{}", node.key, set_text(&labels)),
                labels,
                members: BTreeSet::new(),
                next_flush: Timestamp(now.0 + node.wait.millis()),
                has_flushed: false,
            });
            group.members.insert(alert.fingerprint());
            // It waited long enough already.
            if !group.has_flushed && alert.starts_at.0.saturating_add(node.wait.millis()) < now.0 {
                group.next_flush = group.next_flush.min(now);
            }
        }
    }

    /// Does what is due, and gives what is to be sent now: at most one for each integration.
    pub(crate) fn step(&mut self, now: Timestamp) -> Vec<Notice> {
        self.resolve_unheard(now);
        let due = self.state.groups.iter().filter(|(_, group)| group.next_flush <= now);
        let due: Vec<String> = due.map(|(id, _)| id.clone()).collect();
        if !due.is_empty() {
            let inhibited = self.inhibited(now);
            due.iter().for_each(|id| self.flush(now, id, &inhibited));
        }
        self.forget(now);
        self.bound(now);
        self.choose(now)
    }

    /// When [`Dispatcher::step`] has something to do, at the latest.
    pub(crate) fn next_wake(&self, now: Timestamp) -> Timestamp {
        let flushes = self.state.groups.values().map(|group| group.next_flush);
        let idle =
            self.pending.iter().filter(|(key, _)| !self.in_flight.contains_key(&key.integration));
        let attempts = idle.map(|(key, pending)| {
            let cooling = self.cooling.get(&key.integration).map(|cooling| cooling.until);
            cooling.map_or(pending.next_attempt, |until| until.max(pending.next_attempt))
        });
        let latest = Timestamp(now.0 + 15_000);
        // What is held back by a rate limit is looked at again after a moment.
        flushes.chain(attempts.map(|at| at.max(Timestamp(now.0 + 250)))).fold(latest, Ord::min)
    }

    /// Alerts of sources that are silent since a restart no longer fire.
    fn resolve_unheard(&mut self, now: Timestamp) {
        if now.0 < self.opened_at.0 + self.resolve_timeout.millis() {
            return;
        }
        let (sources, opened_at) = (&self.state.sources, self.opened_at);
        for known in self.state.alerts.values_mut() {
            let is_heard =
                sources.get(&known.source).is_some_and(|source| source.heard >= opened_at);
            if !is_heard && !known.alert.is_resolved(now) {
                known.alert.ends_at = Some(now);
                self.is_dirty = true;
            }
        }
    }

    fn flush(&mut self, now: Timestamp, id: &str, inhibited: &BTreeSet<Fingerprint>) {
        let Some(group) = self.state.groups.get(id) else { return };
        let Some(node) = self.routes.get(&group.route) else { return };
        let (interval, receiver) = (node.interval, node.receiver.clone());
        let is_muted = self.routes.is_muted(node, now);
        if !is_muted {
            let ids = self.integrations.iter().filter(|i| i.receiver == receiver);
            let ids: Vec<String> = ids.map(|integration| integration.id.clone()).collect();
            for integration in ids {
                self.evaluate(now, &Key { integration, group: id.to_owned() }, inhibited);
            }
        }
        if let Some(group) = self.state.groups.get_mut(id) {
            group.has_flushed |= !is_muted;
            group.next_flush = Timestamp(now.0 + interval.millis());
        }
        self.prune(now, id);
        self.is_dirty = true;
    }

    /// Which alerts are silenced by others.
    fn inhibited(&self, now: Timestamp) -> BTreeSet<Fingerprint> {
        let firing = self.state.alerts.iter().filter(|(_, known)| !known.alert.is_resolved(now));
        self.routes
            .inhibited(&firing.map(|(fingerprint, known)| (*fingerprint, &known.alert.labels)))
    }

    /// Takes resolved alerts out of a group when nobody has to be told of them any more.
    fn prune(&mut self, now: Timestamp, id: &str) {
        let Some(group) = self.state.groups.get(id) else { return };
        let is_owed = |fingerprint: &Fingerprint| {
            self.integrations.iter().any(|integration| {
                let key = Key { integration: integration.id.clone(), group: id.to_owned() };
                let is_told =
                    self.state.told.get(&key).is_some_and(|told| told.firing.contains(fingerprint));
                let may_be = self
                    .pending
                    .get(&key)
                    .is_some_and(|pending| pending.maybe.contains(fingerprint));
                is_told || may_be
            })
        };
        let is_over = |fingerprint: &&Fingerprint| {
            let known = self.state.alerts.get(fingerprint);
            known.is_none_or(|known| known.alert.is_resolved(now)) && !is_owed(fingerprint)
        };
        let over: Vec<Fingerprint> = group.members.iter().filter(is_over).copied().collect();
        let Some(group) = self.state.groups.get_mut(id) else { return };
        // Before the first message it may still fire again; that is one message then.
        if group.has_flushed || over.len() == group.members.len() {
            over.iter().for_each(|fingerprint| {
                group.members.remove(fingerprint);
            });
        }
        if group.members.is_empty() {
            self.state.groups.remove(id);
            self.is_dirty = true;
        }
    }

    /// Forgets alerts that are long over, and what was told of groups that are gone.
    fn forget(&mut self, now: Timestamp) {
        let groups = &self.state.groups;
        let mut members: BTreeSet<Fingerprint> = BTreeSet::new();
        groups.values().for_each(|group| members.extend(&group.members));
        self.state.alerts.retain(|fingerprint, known| {
            let kept_until =
                known.alert.ends_at.map(|end| end.0.saturating_add(RESOLVED_KEPT.millis()));
            members.contains(fingerprint) || kept_until.is_none_or(|until| until > now.0)
        });
        self.state.told.retain(|key, told| {
            groups.contains_key(&key.group)
                || self.pending.contains_key(key)
                || (key.is_summary() && !told.firing.is_empty())
        });
    }

    /// The clock was set: what was noted of it moves along, so that nothing ends, is repeated or waits
    /// because of that.
    pub(crate) fn clock_moved(&mut self, millis: i64) {
        let shift = |time: &mut Timestamp| time.0 = time.0.saturating_add(millis);
        for known in self.state.alerts.values_mut() {
            known.alert.ends_at.iter_mut().for_each(shift);
        }
        self.state.sources.values_mut().for_each(|source| shift(&mut source.heard));
        self.state.groups.values_mut().for_each(|group| shift(&mut group.next_flush));
        for told in self.state.told.values_mut() {
            shift(&mut told.at);
            told.parked.iter_mut().for_each(|parked| shift(&mut parked.at));
        }
        for (key, pending) in &mut self.pending {
            shift(&mut pending.next_attempt);
            shift(&mut pending.created);
            self.changed.insert(key.clone());
        }
        self.tokens.values_mut().for_each(|tokens| shift(&mut tokens.at));
        self.cooling.values_mut().for_each(|cooling| shift(&mut cooling.until));
        shift(&mut self.opened_at);
        self.is_dirty = true;
    }

    /// All alerts that are known.
    pub(crate) fn alerts(&self) -> &BTreeMap<Fingerprint, Known> {
        &self.state.alerts
    }

    /// How often a source is heard of, in milliseconds.
    pub(crate) fn every(&self, source: &str) -> i64 {
        self.state.sources.get(source).map_or(0, |source| source.every)
    }

    /// What waits, by integration: how many, and since when the oldest.
    pub(crate) fn waiting(&self) -> BTreeMap<&str, (usize, Timestamp)> {
        let mut all: BTreeMap<&str, (usize, Timestamp)> = BTreeMap::new();
        for (key, pending) in &self.pending {
            let entry = all.entry(&key.integration).or_insert((0, pending.created));
            *entry = (entry.0 + 1, entry.1.min(pending.created));
        }
        all
    }

    /// Nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Nothing is being delivered, or should be by now.
    pub(crate) fn is_idle(&self, now: Timestamp) -> bool {
        let is_due = |pending: &Pending| pending.next_attempt <= now;
        self.in_flight.is_empty() && !self.pending.values().any(is_due)
    }

    /// What is to be sent, by the key of a notification that waits.
    pub(crate) fn pending(&self, key: &Key) -> Option<&Pending> {
        self.pending.get(key)
    }

    /// Drops by integration and reason.
    pub(crate) fn dropped(&self) -> &BTreeMap<(String, Dropped), u64> {
        &self.dropped
    }

    /// Alerts that were too many to be known.
    pub(crate) fn alerts_dropped(&self) -> u64 {
        self.alerts_dropped
    }

    /// The state, when it changed since it was last asked for.
    pub(crate) fn take_state(&mut self) -> Option<&State> {
        std::mem::take(&mut self.is_dirty).then_some(&self.state)
    }

    /// The state was not written; it is to be asked for again.
    pub(crate) fn mark_dirty(&mut self) {
        self.is_dirty = true;
    }

    /// Which notifications changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.changed)
    }

    /// A change that could not be written.
    pub(crate) fn mark_changed(&mut self, key: Key) {
        self.changed.insert(key);
    }

    fn group_labels(&self, id: &str) -> Labels {
        self.state.groups.get(id).map_or_else(Labels::empty, |group| group.labels.clone())
    }

    fn told(&mut self, key: &Key) -> &mut Told {
        self.is_dirty = true;
        self.state.told.entry(key.clone()).or_default()
    }
}

#[cfg(test)]
mod tests;
