//! What templates and webhooks get of a notification: Alertmanager's data, under its names.

use std::collections::BTreeMap;

use model::series::Labels;
use model::units::Timestamp;
use serde::{Serialize, Serializer};

use crate::alert::{Alert, ZERO_TIME, label_map, rfc3339};
use crate::dispatch::Notice;

/// The webhook's payload, version 4; templates see the same.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Message {
    /// With regular expressions' signs escaped, as it is for links with filters.
    pub(crate) receiver: String,
    pub(crate) status: &'static str,
    pub(crate) alerts: Vec<MessageAlert>,
    #[serde(rename = "notification_reason")]
    pub(crate) notification_reason: &'static str,
    #[serde(with = "label_map")]
    pub(crate) group_labels: Labels,
    #[serde(with = "label_map")]
    pub(crate) common_labels: Labels,
    #[serde(with = "label_map")]
    pub(crate) common_annotations: Labels,
    /// Labels of routes are not there.
    pub(crate) route_labels: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    pub(crate) external_url: String,
    pub(crate) version: &'static str,
    pub(crate) group_key: String,
    pub(crate) truncated_alerts: usize,
}

/// An alert in it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageAlert {
    pub(crate) status: &'static str,
    #[serde(with = "label_map")]
    pub(crate) labels: Labels,
    #[serde(with = "label_map")]
    pub(crate) annotations: Labels,
    #[serde(serialize_with = "write_time")]
    pub(crate) starts_at: Option<Timestamp>,
    #[serde(serialize_with = "write_time")]
    pub(crate) ends_at: Option<Timestamp>,
    #[serde(rename = "generatorURL")]
    pub(crate) generator_url: String,
    pub(crate) fingerprint: String,
}

pub(crate) const FIRING: &str = "firing";
pub(crate) const RESOLVED: &str = "resolved";

impl Message {
    /// With at most so many alerts; 0 is any number.
    pub(crate) fn new(notice: &Notice, external_url: &str, alerts_max: usize) -> Message {
        let count = notice.alerts.len();
        let kept = if alerts_max == 0 { count } else { alerts_max.min(count) };
        let alerts: Vec<MessageAlert> =
            notice.alerts.iter().take(kept).map(MessageAlert::new).collect();
        let is_firing = alerts.iter().any(|alert| alert.status == FIRING);
        Message {
            receiver: quoted_for_regex(&notice.receiver),
            status: if is_firing { FIRING } else { RESOLVED },
            notification_reason: notice.reason.as_str(),
            group_labels: notice.group_labels.clone(),
            common_labels: common(alerts.iter().map(|alert| &alert.labels)),
            common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
            route_labels: BTreeMap::new(),
            external_url: external_url.to_owned(),
            version: "4",
            group_key: notice.group_key.clone(),
            truncated_alerts: count - kept,
            alerts,
        }
    }

    /// The payload.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl MessageAlert {
    fn new(alert: &Alert) -> MessageAlert {
        MessageAlert {
            status: if alert.ends_at.is_some() { RESOLVED } else { FIRING },
            labels: alert.labels.clone(),
            annotations: alert.annotations.clone(),
            starts_at: Some(alert.starts_at),
            ends_at: alert.ends_at,
            generator_url: alert.generator_url.clone(),
            fingerprint: alert.fingerprint().to_string(),
        }
    }
}

fn write_time<S: Serializer>(time: &Option<Timestamp>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&time.map_or_else(|| ZERO_TIME.to_owned(), rfc3339))
}

/// What all have.
fn common<'a>(mut sets: impl Iterator<Item = &'a Labels>) -> Labels {
    let Some(first) = sets.next() else { return Labels::empty() };
    sets.fold(first.clone(), |common, other| {
        let agreed = common.iter().filter(|(name, value)| other.get(name) == Some(value));
        Labels::new(agreed)
    })
}

/// As Go's `regexp.QuoteMeta`.
fn quoted_for_regex(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for letter in text.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted
}
