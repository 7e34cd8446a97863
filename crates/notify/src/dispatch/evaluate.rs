//! What an integration has to be told of a group now, given what it was told.

use std::collections::BTreeSet;

use model::units::Timestamp;

use super::pending::{Key, Notice, Reason};
use super::{Dispatcher, Told};
use crate::alert::{Alert, Fingerprint, message_order};

impl Dispatcher {
    /// Decides what waits for an integration about a group.
    pub(super) fn evaluate(
        &mut self,
        now: Timestamp,
        key: &Key,
        inhibited: &BTreeSet<Fingerprint>,
    ) {
        let Some(integration) = self.integrations.iter().find(|i| i.id == key.integration) else {
            return;
        };
        let (send_resolved, receiver) = (integration.send_resolved, integration.receiver.clone());
        let (firing, mut resolved) = self.members(now, key, inhibited);
        if !send_resolved && !resolved.is_empty() {
            // It counts as told, so that nobody owes it any more.
            let over: BTreeSet<Fingerprint> = resolved.iter().map(Alert::fingerprint).collect();
            self.told(key).firing.retain(|fingerprint| !over.contains(fingerprint));
            if let Some(pending) = self.pending.get_mut(key) {
                pending.maybe.retain(|fingerprint| !over.contains(fingerprint));
                pending.maybe_before.retain(|fingerprint| !over.contains(fingerprint));
            }
            resolved.clear();
        }
        let reason = self.reason(now, key, &firing, &resolved);
        let notice = reason.map(|reason| {
            let mut alerts = firing;
            alerts.append(&mut resolved);
            alerts.sort_by(message_order);
            let group = self.state.groups.get(&key.group);
            Notice {
                integration: key.integration.clone(),
                receiver,
                group: key.group.clone(),
                group_key: group.map(|group| group.key.clone()).unwrap_or_default(),
                group_labels: self.group_labels(&key.group),
                reason,
                alerts,
            }
        });
        self.replace(now, key, notice);
    }

    /// The same, when something waits.
    pub(super) fn evaluate_if_waiting(
        &mut self,
        now: Timestamp,
        key: &Key,
        inhibited: &BTreeSet<Fingerprint>,
    ) {
        if self.pending.contains_key(key) {
            self.evaluate(now, key, inhibited);
        }
    }

    /// The group's alerts that fire, and those that are over and were told of. Alerts that others
    /// silence are left out, but not their end.
    fn members(
        &self,
        now: Timestamp,
        key: &Key,
        inhibited: &BTreeSet<Fingerprint>,
    ) -> (Vec<Alert>, Vec<Alert>) {
        let (mut firing, mut resolved) = (Vec::new(), Vec::new());
        let told = self.state.told.get(key);
        let pending = self.pending.get(key);
        let may_know = |fingerprint: &Fingerprint| {
            told.is_some_and(|told| told.firing.contains(fingerprint))
                || pending.is_some_and(|pending| pending.maybe.contains(fingerprint))
        };
        let members = self.state.groups.get(&key.group).map(|group| &group.members);
        for fingerprint in members.into_iter().flatten() {
            let Some(known) = self.state.alerts.get(fingerprint) else { continue };
            if known.alert.is_resolved(now) {
                if may_know(fingerprint) {
                    resolved.push(known.alert.clone());
                }
            } else if !inhibited.contains(fingerprint) {
                firing.push(Alert { ends_at: None, ..known.alert.clone() });
            }
        }
        (firing, resolved)
    }

    /// Why it is to be told, if it is; Alertmanager decides alike.
    fn reason(
        &self,
        now: Timestamp,
        key: &Key,
        firing: &[Alert],
        resolved: &[Alert],
    ) -> Option<Reason> {
        let never = Told::default();
        let told = self.state.told.get(key).unwrap_or(&never);
        if !resolved.is_empty() {
            let is_new = firing.iter().any(|alert| !told.firing.contains(&alert.fingerprint()));
            return Some(match (firing.is_empty(), is_new) {
                (true, _) => Reason::AllResolved,
                (false, true) => Reason::NewAlerts,
                (false, false) => Reason::SomeResolved,
            });
        }
        if firing.is_empty() {
            return None;
        }
        let group = self.state.groups.get(&key.group);
        let repeat = group.and_then(|group| self.routes.get(&group.route)).map(|node| node.repeat);
        let repeat = repeat.map_or(0, |repeat| repeat.millis());
        let set: BTreeSet<Fingerprint> = firing.iter().map(Alert::fingerprint).collect();
        if let Some(parked) = &told.parked
            && set.is_subset(&parked.firing)
        {
            return (parked.at.0 + repeat <= now.0).then_some(Reason::Repeat);
        }
        // What may have been told to be over has to be told again.
        let over = self.pending.get(key).map(|pending| &pending.over);
        let is_known = |fingerprint: &Fingerprint| {
            told.firing.contains(fingerprint) && over.is_none_or(|over| !over.contains(fingerprint))
        };
        if !set.iter().all(is_known) {
            return Some(if told.firing.is_empty() { Reason::First } else { Reason::NewAlerts });
        }
        (told.at.0 + repeat <= now.0).then_some(Reason::Repeat)
    }
}
