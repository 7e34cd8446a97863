//! Values as people write them; what is wrong is said while YAML is read, so that it has a place.

use std::collections::BTreeMap;
use std::time::Duration;

use model::units::{parse_bytes, parse_duration};
use model::{Labels, TargetSpec};
use regex::Regex;
use serde::de::{Deserialize, Deserializer, Error};

/// `30s`, `1h30m`; not zero.
pub(crate) fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration = parse_duration(&String::deserialize(from)?).map_err(D::Error::custom)?;
    if duration.is_zero() {
        return Err(D::Error::custom("must be longer than 0"));
    }
    Ok(duration)
}

/// `500MiB`, `2GiB`, a number.
pub(crate) fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    parse_bytes(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// The same where nothing stands for no bound.
pub(crate) fn some_bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    bytes(from).map(Some)
}

/// `3%`, `0.03`: a share of one core, which may be more than all of it.
pub(crate) fn share<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    model::units::parse_share(&String::deserialize(from)?).map_err(D::Error::custom)
}

/// Names with values.
pub(crate) fn labels<'de, D: Deserializer<'de>>(from: D) -> Result<Labels, D::Error> {
    let pairs = BTreeMap::<String, String>::deserialize(from)?;
    for name in pairs.keys() {
        let first = name.bytes().next().unwrap_or(b'0');
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if first.is_ascii_digit() || !is_name {
            return Err(D::Error::custom(format!("{name:?} is no label name")));
        }
    }
    Ok(Labels::new(pairs))
}

/// Targets, each a text or a number.
pub(crate) fn specs<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<TargetSpec>, D::Error> {
    Ok(Vec::<Spec>::deserialize(from)?.into_iter().map(|spec| spec.0).collect())
}

struct Spec(TargetSpec);

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Spec, D::Error> {
        let spec = TargetSpec::parse(&String::deserialize(from)?).map_err(D::Error::custom)?;
        match &spec {
            TargetSpec::Core { .. } => Err(D::Error::custom("a core file cannot be watched")),
            TargetSpec::Name(pattern) => {
                Regex::new(pattern).map_err(D::Error::custom)?;
                Ok(Spec(spec))
            }
            TargetSpec::Pid(_) | TargetSpec::Url(_) => Ok(Spec(spec)),
        }
    }
}

/// Regular expressions.
pub(crate) fn patterns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Regex>, D::Error> {
    Ok(Vec::<Pattern>::deserialize(from)?.into_iter().map(|pattern| pattern.0).collect())
}

struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pattern, D::Error> {
        let text = String::deserialize(from)?;
        // Of what the regex crate draws the last line says what is wrong.
        let wrong = |error: regex::Error| {
            let text = error.to_string();
            D::Error::custom(text.lines().last().unwrap_or_default().trim_start_matches("error: "))
        };
        Regex::new(&text).map(Pattern).map_err(wrong)
    }
}
