//! What can be said of deliveries: the last ones, counters, and events.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use model::series::{Family, FamilyKind, Labels, NAME, Point};
use model::units::Timestamp;

use crate::dispatch::{Dispatcher, Notice};
use crate::send::Failure;

/// So many deliveries are remembered.
const RECENT_MAX: usize = 200;
/// So many alerts of one are named.
const NAMES_MAX: usize = 20;

/// A delivery, or an attempt at one.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// When it was last attempted.
    pub time: Timestamp,
    /// Who was to be told.
    pub receiver: String,
    /// By which way, such as `team/slack[0]`.
    pub integration: String,
    /// The group of alerts, as Alertmanager names it.
    pub group_key: String,
    /// Why it was sent, in Alertmanager's words.
    pub reason: &'static str,
    /// How many alerts fire in it.
    pub firing: usize,
    /// How many are resolved.
    pub resolved: usize,
    /// The first alerts, by name and summary.
    pub alerts: Vec<String>,
    /// What became of it.
    pub status: DeliveryStatus,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it failed the last time.
    pub error: Option<String>,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// The receiver took it.
    Delivered,
    /// It is tried again.
    Retrying,
    /// The receiver will not take it.
    Refused,
}

impl DeliveryStatus {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Retrying => "retrying",
            DeliveryStatus::Refused => "refused",
        }
    }
}

impl Delivery {
    pub(crate) fn new(
        time: Timestamp,
        notice: &Notice,
        status: DeliveryStatus,
        attempts: u32,
        failure: Option<&Failure>,
    ) -> Delivery {
        let (firing, resolved) = (notice.firing().len(), notice.resolved().len());
        let named = notice.alerts.iter().take(NAMES_MAX).map(|alert| {
            let summary = alert.annotations.get("summary").map(|text| format!(": {text}"));
            format!("{}{}", alert.name(), summary.unwrap_or_default())
        });
        Delivery {
            time,
            receiver: notice.receiver.clone(),
            integration: notice.integration.clone(),
            group_key: notice.group_key.clone(),
            reason: notice.reason.as_str(),
            firing,
            resolved,
            alerts: named.collect(),
            status,
            attempts,
            error: failure.map(|failure| failure.message.clone()),
        }
    }
}

/// Something that people should hear of; each is reported once until it changes.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A notification was delivered.
    Delivered(Delivery),
    /// A way fails, or an Alertmanager; it is tried on.
    Fails {
        /// Which.
        integration: String,
        /// Why.
        error: String,
    },
    /// It works again.
    Works {
        /// Which.
        integration: String,
    },
    /// A receiver will not take a notification; it is not tried again.
    Refused(Delivery),
    /// What waits cannot be written to disk; delivery goes on from memory.
    DiskFails {
        /// Why.
        error: String,
    },
    /// It can be written again.
    DiskWorks,
    /// A file of ours was damaged, and put aside.
    Damaged {
        /// Where it is now.
        path: PathBuf,
    },
}

/// Memory of deliveries.
#[derive(Default)]
pub(crate) struct Journal {
    recent: VecDeque<Delivery>,
    failing: BTreeSet<String>,
    sent: BTreeMap<String, u64>,
    failed: BTreeMap<(String, &'static str), u64>,
    seconds: BTreeMap<String, (u64, f64)>,
    batches_sent: BTreeMap<String, u64>,
    batches_failed: BTreeMap<String, u64>,
    /// Attempts that failed, and writes.
    pub(crate) failures: u64,
}

impl Journal {
    /// Notes an attempt, and gives what is to be reported.
    pub(crate) fn note(
        &mut self,
        delivery: Delivery,
        reason: Option<&'static str>,
        seconds: f64,
    ) -> Vec<Event> {
        let integration = delivery.integration.clone();
        let latency = self.seconds.entry(integration.clone()).or_default();
        *latency = (latency.0 + 1, latency.1 + seconds);
        if let Some(reason) = reason {
            *self.failed.entry((integration.clone(), reason)).or_default() += 1;
            self.failures += 1;
        }
        let events = match delivery.status {
            DeliveryStatus::Delivered => {
                *self.sent.entry(integration.clone()).or_default() += 1;
                let works = self.failing.remove(&integration);
                let works = works.then_some(Event::Works { integration });
                works.into_iter().chain([Event::Delivered(delivery.clone())]).collect()
            }
            DeliveryStatus::Refused => vec![Event::Refused(delivery.clone())],
            DeliveryStatus::Retrying => {
                let error = delivery.error.clone().unwrap_or_default();
                let is_new = self.failing.insert(integration.clone());
                is_new.then_some(Event::Fails { integration, error }).into_iter().collect()
            }
        };
        // Attempts at the same are one line.
        let is_same = |known: &Delivery| {
            known.status == DeliveryStatus::Retrying
                && known.integration == delivery.integration
                && known.group_key == delivery.group_key
        };
        if let Some(place) = self.recent.iter().position(is_same) {
            self.recent.remove(place);
        }
        self.recent.push_front(delivery);
        self.recent.truncate(RECENT_MAX);
        events
    }

    /// Notes a request to an Alertmanager.
    pub(crate) fn note_batch(
        &mut self,
        name: &str,
        count: usize,
        failure: Option<&Failure>,
    ) -> Option<Event> {
        let integration = name.to_owned();
        let counted =
            if failure.is_some() { &mut self.batches_failed } else { &mut self.batches_sent };
        *counted.entry(integration.clone()).or_default() += count as u64;
        match failure {
            Some(failure) => {
                self.failures += 1;
                let is_new = self.failing.insert(integration.clone());
                is_new.then(|| Event::Fails { integration, error: failure.message.clone() })
            }
            None => self.failing.remove(name).then_some(Event::Works { integration }),
        }
    }

    pub(crate) fn recent(&self) -> Vec<Delivery> {
        self.recent.iter().cloned().collect()
    }

    pub(crate) fn families(&self, now: Timestamp, dispatcher: &Dispatcher) -> Vec<Family> {
        let mut families = self.counted(dispatcher);
        families.extend(waiting(now, dispatcher));
        let failing = self.failing.iter().map(|name| labelled([("integration", name)], 1.0));
        let help = "Ways whose last attempt failed.";
        families.push(gauge("memsight_notification_failing", help, failing));
        families.push(self.latency());
        families.retain(|family| !family.points.is_empty());
        families
    }

    fn counted(&self, dispatcher: &Dispatcher) -> Vec<Family> {
        let by = |label: &'static str| {
            move |(name, count): (&String, &u64)| labelled([(label, name)], *count as f64)
        };
        let failed = self.failed.iter().map(|((integration, reason), count)| {
            labelled([("integration", integration.as_str()), ("reason", reason)], *count as f64)
        });
        let dropped = dispatcher.dropped().iter().map(|((integration, reason), count)| {
            let labels = [("integration", integration.as_str()), ("reason", reason.as_str())];
            labelled(labels, *count as f64)
        });
        let too_many = labelled::<&str>([], dispatcher.alerts_dropped() as f64);
        let counter =
            |name, help, points: Vec<Row>| family(name, FamilyKind::Counter, help, points);
        vec![
            counter(
                "memsight_notifications",
                "Notifications that receivers took.",
                self.sent.iter().map(by("integration")).collect(),
            ),
            counter("memsight_notification_failures", "Attempts that failed.", failed.collect()),
            counter(
                "memsight_notifications_dropped",
                "Notifications that were given up or superseded.",
                dropped.collect(),
            ),
            counter(
                "memsight_notification_alerts_dropped",
                "Alerts that were too many.",
                vec![too_many],
            ),
            counter(
                "memsight_alertmanager_alerts_sent",
                "Alerts that Alertmanagers took.",
                self.batches_sent.iter().map(by("alertmanager")).collect(),
            ),
            counter(
                "memsight_alertmanager_alerts_failed",
                "Alerts in requests to Alertmanagers that failed.",
                self.batches_failed.iter().map(by("alertmanager")).collect(),
            ),
        ]
    }

    fn latency(&self) -> Family {
        let name = "memsight_notification_latency_seconds";
        let points = self.seconds.iter().flat_map(|(integration, (count, sum))| {
            [("_count", *count as f64), ("_sum", *sum)].map(|(suffix, value)| {
                let name = format!("{name}{suffix}");
                Point::new(
                    Labels::new([(NAME, name.as_str()), ("integration", integration)]),
                    value,
                )
            })
        });
        Family {
            name: name.to_owned(),
            kind: FamilyKind::Summary,
            help: "How long attempts take.".to_owned(),
            unit: "seconds".to_owned(),
            points: points.collect(),
        }
    }
}

/// What waits, and what fires.
fn waiting(now: Timestamp, dispatcher: &Dispatcher) -> [Family; 3] {
    let waiting = dispatcher.waiting();
    let waits = waiting
        .iter()
        .map(|(integration, (count, _))| labelled([("integration", integration)], *count as f64));
    let oldest = waiting.iter().map(|(integration, (_, since))| {
        labelled([("integration", integration)], now.seconds_since(*since).max(0.0))
    });
    let known = dispatcher.alerts().values();
    let firing = known.filter(|known| !known.alert.is_resolved(now)).count();
    let firing = labelled::<&str>([], firing as f64);
    let queue = "memsight_notification_queue";
    [
        gauge(&format!("{queue}_length"), "Notifications that wait.", waits),
        gauge(&format!("{queue}_oldest_seconds"), "How long the oldest waits.", oldest),
        gauge("memsight_notification_alerts", "Alerts that fire.", [firing]),
    ]
}

/// Labels and a value.
type Row = (Vec<(&'static str, String)>, f64);

fn labelled<T: AsRef<str>>(labels: impl IntoIterator<Item = (&'static str, T)>, value: f64) -> Row {
    let labels = labels.into_iter().map(|(name, value)| (name, value.as_ref().to_owned()));
    (labels.collect(), value)
}

fn gauge(name: &str, help: &str, points: impl IntoIterator<Item = Row>) -> Family {
    family(name, FamilyKind::Gauge, help, points)
}

fn family(
    name: &str,
    kind: FamilyKind,
    help: &str,
    points: impl IntoIterator<Item = Row>,
) -> Family {
    let suffix = if kind == FamilyKind::Counter { "_total" } else { "" };
    let full = format!("{name}{suffix}");
    let points = points.into_iter().map(|(labels, value)| {
        let labels = labels.iter().map(|(name, value)| (*name, value.as_str()));
        Point::new(Labels::new(labels.chain([(NAME, full.as_str())])), value)
    });
    let unit = if name.ends_with("_seconds") { "seconds" } else { "" };
    Family {
        name: name.to_owned(),
        kind,
        help: help.to_owned(),
        unit: unit.to_owned(),
        points: points.collect(),
    }
}
