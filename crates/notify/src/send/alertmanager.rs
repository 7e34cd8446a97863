//! Alertmanagers: each gets every alert, again and again while it fires, as from Prometheus.

use std::collections::BTreeMap;

use httpclient::Client;
use model::units::Timestamp;
use serde_json::{Value, json};

use super::{Failure, LATER, client, post_json};
use crate::alert::{Alert, Fingerprint, rfc3339};
use crate::config::{Alerting, Span};
use crate::dispatch::{Dispatcher, Outcome};

/// So many alerts in one request, as Prometheus.
const BATCH_MAX: usize = 256;
/// What still fires is said again after this.
const RESEND_DELAY: Span = Span::seconds(60);
/// Without news an Alertmanager takes an alert for over after so many intervals.
const INTERVALS_VALID: i64 = 4;
const BACKOFF_FIRST_MILLIS: i64 = 1000;
const BACKOFF_MAX_MILLIS: i64 = 30_000;

/// One Alertmanager.
pub(crate) struct Peer {
    client: Client,
    url: String,
}

impl Peer {
    /// Sends a batch.
    pub(crate) fn send(&self, body: &str) -> Result<(), Failure> {
        post_json(&self.client, &self.url, body, &LATER).map(|_| ())
    }
}

/// What one Alertmanager was told, and when it is told again. It is not kept over restarts: it
/// is told all again then.
pub(crate) struct Outbox {
    pub(crate) name: String,
    pub(crate) peer: std::sync::Arc<Peer>,
    resend: Span,
    sent: BTreeMap<Fingerprint, Sent>,
    failures: u32,
    next_attempt: Timestamp,
    pub(crate) in_flight: bool,
}

#[derive(Clone, Copy)]
struct Sent {
    at: Timestamp,
    is_resolved: bool,
}

/// A request, and what it tells.
pub(crate) struct Batch {
    pub(crate) body: String,
    alerts: Vec<(Fingerprint, bool)>,
}

impl Batch {
    /// How many alerts.
    pub(crate) fn len(&self) -> usize {
        self.alerts.len()
    }
}

impl Outbox {
    /// One for each Alertmanager.
    ///
    /// # Errors
    /// When HTTP options cannot be used.
    pub(crate) fn all(alerting: &Alerting) -> Result<Vec<Outbox>, String> {
        let resend = alerting.resend_delay.filter(|delay| !delay.0.is_zero());
        let mut all = Vec::new();
        for alertmanagers in &alerting.alertmanagers {
            for target in alertmanagers.static_configs.iter().flat_map(|config| &config.targets) {
                let options = alertmanagers.http_options();
                let client = client(Some(&options), None, alertmanagers.timeout)?;
                let prefix = alertmanagers.path_prefix.trim_matches('/');
                let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
                let name = format!("{}://{}{prefix}", alertmanagers.scheme, target.value);
                let url = format!("{name}/api/v2/alerts");
                all.push(Outbox {
                    name: format!("{name}/api/v2/alerts"),
                    peer: std::sync::Arc::new(Peer { client, url }),
                    resend: resend.unwrap_or(RESEND_DELAY),
                    sent: BTreeMap::new(),
                    failures: 0,
                    next_attempt: Timestamp(i64::MIN),
                    in_flight: false,
                });
            }
        }
        Ok(all)
    }

    /// What is to be told now.
    pub(crate) fn due(&mut self, now: Timestamp, dispatcher: &Dispatcher) -> Option<Batch> {
        let known = dispatcher.alerts();
        self.sent.retain(|fingerprint, _| known.contains_key(fingerprint));
        // A clock that was set back must not make anything wait.
        let longest = Timestamp(now.0.saturating_add(BACKOFF_MAX_MILLIS));
        self.next_attempt = self.next_attempt.min(longest);
        if self.in_flight || now < self.next_attempt {
            return None;
        }
        let (resend, sent) = (self.resend.millis(), &self.sent);
        let is_due = |fingerprint: &Fingerprint, alert: &Alert| {
            let is_resolved = alert.is_resolved(now);
            sent.get(fingerprint).is_none_or(|sent| {
                sent.is_resolved != is_resolved || (now.0 - sent.at.0).abs() >= resend
            })
        };
        let due = known.iter().filter(|(fingerprint, known)| is_due(fingerprint, &known.alert));
        let (mut bodies, mut alerts) = (Vec::new(), Vec::new());
        for (fingerprint, known) in due.take(BATCH_MAX) {
            let interval = dispatcher.every(&known.source).max(resend);
            let until = Timestamp(now.0 + INTERVALS_VALID * interval);
            bodies.push(body(&known.alert, until));
            alerts.push((*fingerprint, known.alert.is_resolved(now)));
        }
        (!alerts.is_empty()).then(|| Batch { body: Value::Array(bodies).to_string(), alerts })
    }

    /// Notes what became of a batch.
    pub(crate) fn outcome(&mut self, now: Timestamp, batch: &Batch, result: Result<(), &Failure>) {
        self.in_flight = false;
        let outcome = result.map_err(|failure| &failure.outcome);
        match outcome {
            // What is refused is said again with the next round, not at once.
            Ok(()) | Err(Outcome::Refused | Outcome::Delivered) => {
                for (fingerprint, is_resolved) in &batch.alerts {
                    let sent = Sent { at: now, is_resolved: *is_resolved };
                    self.sent.insert(*fingerprint, sent);
                }
                self.failures = 0;
            }
            Err(Outcome::Retry { after, .. }) => {
                self.failures = self.failures.saturating_add(1);
                let doubled = BACKOFF_FIRST_MILLIS << (self.failures - 1).min(10);
                let asked = after.map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(0));
                let wait = doubled.max(asked).min(BACKOFF_MAX_MILLIS);
                self.next_attempt = Timestamp(now.0 + wait);
            }
        }
    }
}

/// An alert as the API takes it.
fn body(alert: &Alert, until: Timestamp) -> Value {
    let pairs = |labels: &model::series::Labels| -> Value {
        labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
    };
    json!({
        "labels": pairs(&alert.labels),
        "annotations": pairs(&alert.annotations),
        "startsAt": rfc3339(alert.starts_at),
        "endsAt": rfc3339(alert.ends_at.unwrap_or(until)),
        "generatorURL": alert.generator_url,
    })
}
