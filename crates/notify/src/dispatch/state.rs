//! What outlives a restart: alerts, groups, and what each receiver was told.

use std::collections::{BTreeMap, BTreeSet};

use model::series::Labels;
use model::units::Timestamp;
use serde::{Deserialize, Serialize};

use super::pending::Key;
use crate::alert::{Alert, Fingerprint, label_map, millis};

/// All of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) sources: BTreeMap<String, Source>,
    pub(crate) alerts: BTreeMap<Fingerprint, Known>,
    /// By id: that of the route, with the group's labels.
    pub(crate) groups: BTreeMap<String, Group>,
    #[serde(with = "as_list")]
    pub(crate) told: BTreeMap<Key, Told>,
}

/// Where alerts come from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Source {
    /// When it last said what fires.
    #[serde(with = "millis")]
    pub(crate) heard: Timestamp,
    /// How often it does, in milliseconds.
    pub(crate) every: i64,
}

/// An alert that fires, or did so a moment ago.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) alert: Alert,
    pub(crate) source: String,
}

/// Alerts that are told together.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Id of its route.
    pub(crate) route: String,
    /// Its name in messages, as Alertmanager writes it.
    pub(crate) key: String,
    #[serde(with = "label_map")]
    pub(crate) labels: Labels,
    pub(crate) members: BTreeSet<Fingerprint>,
    #[serde(with = "millis")]
    pub(crate) next_flush: Timestamp,
    pub(crate) has_flushed: bool,
}

/// What one integration was told of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// What it believes to fire.
    pub(crate) firing: BTreeSet<Fingerprint>,
    /// Since when.
    #[serde(with = "millis")]
    pub(crate) at: Timestamp,
    /// What it refused to hear.
    pub(crate) parked: Option<Parked>,
}

/// A message that was refused for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Parked {
    pub(crate) firing: BTreeSet<Fingerprint>,
    #[serde(with = "millis")]
    pub(crate) at: Timestamp,
}

/// Maps whose keys are no texts.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Key, Told};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<Key, Told>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<Key, Told>, D::Error> {
        Ok(Vec::<(Key, Told)>::deserialize(from)?.into_iter().collect())
    }
}
