//! What is notified: an alert, as Prometheus and Alertmanager have it.

use std::cmp::Ordering;
use std::fmt;

use model::series::Labels;
use model::units::Timestamp;
use promql::template::quoted;
use serde::{Deserialize, Serialize};

/// The label that names an alert.
pub const ALERT_NAME: &str = "alertname";

/// One alert: its labels say which, its annotations what to say of it.
///
/// Annotations that our own messages use: `summary` (one line), `verdict` (what was found, one
/// line), `next` (the next step), `link` (the page of the target or capture), `description`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What it is the same alert by, `alertname` among them.
    #[serde(with = "label_map")]
    pub labels: Labels,
    /// What is said of it.
    #[serde(with = "label_map")]
    pub annotations: Labels,
    /// Since when it fires.
    #[serde(with = "millis")]
    pub starts_at: Timestamp,
    /// When it was resolved, or, when that lies ahead, until when it fires if nothing more is
    /// heard of it.
    #[serde(with = "optional_millis", default)]
    pub ends_at: Option<Timestamp>,
    /// Where it came from: a link to the query or rule.
    #[serde(default)]
    pub generator_url: String,
}

impl Alert {
    /// Which alert it is.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.labels)
    }

    /// Reports whether it is over.
    pub fn is_resolved(&self, now: Timestamp) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }

    /// The value of `alertname`.
    pub fn name(&self) -> &str {
        self.labels.get(ALERT_NAME).unwrap_or_default()
    }
}

/// Hash of labels, as Prometheus's client libraries and Alertmanager compute it (FNV-1a).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fingerprint(pub u64);

impl Fingerprint {
    /// Of labels.
    pub fn of(labels: &Labels) -> Fingerprint {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes.iter().chain(&[0xff]) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
            }
        };
        for (name, value) in labels.iter() {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        Fingerprint(hash)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The order of alerts in a message: by job, instance, then the other labels, as Alertmanager.
pub(crate) fn message_order(a: &Alert, b: &Alert) -> Ordering {
    for name in ["job", "instance"] {
        match (a.labels.get(name), b.labels.get(name)) {
            (Some(a), Some(b)) if a != b => return a.cmp(b),
            (Some(_), None) => return Ordering::Less,
            (None, Some(_)) => return Ordering::Greater,
            _ => {}
        }
    }
    // Pairs differ first where one has a name that the other lacks: the one without comes first.
    let by_count = a.labels.len().cmp(&b.labels.len());
    by_count.then_with(|| {
        let differing = a.labels.iter().zip(b.labels.iter()).find(|(a, b)| a != b);
        differing.map_or(Ordering::Equal, |(a, b)| b.0.cmp(a.0).then(a.1.cmp(b.1)))
    })
}

/// `{a="b", c="d"}`, as Go prints a label set; unlike series, a name is a label as others.
pub(crate) fn set_text(labels: &Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// RFC 3339 in UTC, as Go writes a time to JSON.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0)
        .map_or_else(|_| ZERO_TIME.to_owned(), |t| t.to_string())
}

/// What Go writes for no time.
pub(crate) const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

/// Labels as a map in saved state.
pub(crate) mod label_map {
    use std::collections::BTreeMap;

    use model::series::Labels;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(labels: &Labels, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(labels.iter())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Labels, D::Error> {
        Ok(Labels::new(BTreeMap::<String, String>::deserialize(from)?))
    }
}

/// Times as milliseconds in saved state.
pub(crate) mod millis {
    use model::units::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(time.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(from).map(Timestamp)
    }
}

/// Times that may be missing.
pub(crate) mod optional_millis {
    use model::units::Timestamp;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        time.map(|time| time.0).serialize(to)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(Timestamp))
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use model::series::Labels;
    use model::units::Timestamp;

    use super::{Alert, Fingerprint, message_order, rfc3339, set_text};

    fn alert(pairs: &[(&str, &str)]) -> Alert {
        Alert {
            labels: Labels::new(pairs.iter().copied()),
            annotations: Labels::empty(),
            starts_at: Timestamp(0),
            ends_at: None,
            generator_url: String::new(),
        }
    }

    #[test]
    fn fingerprints_are_those_of_prometheus() {
        // The empty set's is FNV's offset; the others were printed by model.LabelSet.Fingerprint.
        assert_eq!(Fingerprint::of(&Labels::empty()).to_string(), "cbf29ce484222325");
        let labels = Labels::new([("alertname", "HeapLeak"), ("service", "shop")]);
        assert_eq!(Fingerprint::of(&labels).to_string(), "2cb40b654cfc539c");
    }

    #[test]
    fn messages_list_by_job_and_instance_first() {
        let check = |a: &[(&str, &str)], b: &[(&str, &str)]| {
            assert_eq!(message_order(&alert(a), &alert(b)), Ordering::Less, "{a:?} {b:?}");
            assert_eq!(message_order(&alert(b), &alert(a)), Ordering::Greater, "{a:?} {b:?}");
        };
        check(&[("job", "a"), ("z", "9")], &[("job", "b")]);
        check(&[("job", "b"), ("z", "9")], &[("a", "b")]);
        check(&[("instance", "1"), ("b", "1")], &[("instance", "1"), ("a", "1"), ("c", "0")]);
        check(&[("a", "1"), ("c", "1")], &[("a", "1"), ("b", "1")]);
        check(&[("a", "1"), ("b", "1")], &[("a", "1"), ("b", "2")]);
    }

    #[test]
    fn sets_and_times_read_as_go_writes_them() {
        let labels = Labels::new([("b", "say \"hi\"\n"), ("a", "é")]);
        assert_eq!(set_text(&labels), r#"{a="é", b="say \"hi\"\n"}"#);
        assert_eq!(set_text(&Labels::empty()), "{}");
        assert_eq!(rfc3339(Timestamp(1_700_000_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(Timestamp(1_700_000_000_120)), "2023-11-14T22:13:20.12Z");
    }
}
