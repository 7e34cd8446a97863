//! Rules as they stand in a file. Every value keeps its place, so that what is wrong with it
//! can be said with line and column.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

/// A value with its place. Smaller than [`Spanned`]: conditions lie in conditions, and what reads
/// them holds several of each level on the stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Its line, from 1; 0 when unknown.
    pub line: u32,
    /// Its column, from 1.
    pub column: u32,
}

/// A value as written, and where.
pub type Text = Placed<String>;

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Placed<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Placed<T>, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<T>::deserialize(deserializer)?;
        let place = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let (line, column) = (place(referenced.line()), place(referenced.column()));
        Ok(Placed { value, line, column })
    }
}

/// Something wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Line, from 1; 0 when unknown.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
    /// What, and what to do.
    pub text: String,
}

impl Fault {
    pub(super) fn at<T>(place: &Placed<T>, text: impl Into<String>) -> Fault {
        Fault { line: place.line, column: place.column, text: text.into() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.text),
            line => write!(f, "{line}:{}: {}", self.column, self.text),
        }
    }
}

/// A file of rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Its rules.
    pub rules: Vec<Placed<RuleConfig>>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleConfig {
    /// Unique.
    pub name: Text,
    /// Off keeps it known, but asks nothing.
    #[serde(default)]
    pub enabled: Option<bool>,
    /// Which targets; all without it.
    pub targets: Option<FilterConfig>,
    /// Which not.
    pub exclude: Option<FilterConfig>,
    /// The condition.
    pub when: Box<Placed<ConditionConfig>>,
    /// How long the condition must hold without interruption.
    #[serde(rename = "for")]
    pub hold: Option<Text>,
    /// The condition that ends a firing; without it, that `when` no longer holds.
    pub clear: Option<Box<Placed<ConditionConfig>>>,
    /// How long a firing stays after its end.
    pub keep_firing_for: Option<Text>,
    /// While it fires, act again so often.
    pub repeat: Option<Text>,
    /// What to do, in order.
    #[serde(rename = "do", default)]
    pub actions: Vec<Placed<ActionConfig>>,
    /// How often.
    pub limits: Option<LimitsConfig>,
    /// For notifications.
    pub severity: Option<Text>,
    /// For notifications.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// For notifications; templates.
    #[serde(default)]
    pub annotations: BTreeMap<String, Text>,
}

/// Regular expressions, each for the whole of what it is compared with; all must match.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilterConfig {
    /// The target's name.
    pub name: Option<Text>,
    /// The command line.
    pub command: Option<Text>,
    /// The path of its cgroup.
    pub cgroup: Option<Text>,
    /// Its systemd unit.
    pub unit: Option<Text>,
    /// Its container's id.
    pub container: Option<Text>,
    /// Labels; one that is missing is empty.
    #[serde(default)]
    pub labels: BTreeMap<String, Text>,
}

/// A condition: exactly one of its forms.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionConfig {
    /// One of these at least.
    pub any: Option<Vec<Placed<ConditionConfig>>>,
    /// Each of these.
    pub all: Option<Vec<Placed<ConditionConfig>>>,
    /// The contrary.
    pub not: Option<Box<Placed<ConditionConfig>>>,
    /// A signal, with what is asked about it.
    pub signal: Option<Text>,
    /// More than this.
    pub above: Option<Text>,
    /// Less than this.
    pub below: Option<Text>,
    /// Which limit shares are of.
    pub of: Option<Text>,
    /// Ends a firing of `above`.
    pub clear_below: Option<Text>,
    /// Ends a firing of `below`.
    pub clear_above: Option<Text>,
    /// More than the mean of what came before.
    pub above_mean: Option<Box<Placed<DeviationConfig>>>,
    /// More than a quantile of what came before.
    pub above_quantile: Option<Box<Placed<DeviationConfig>>>,
    /// Grows faster than this.
    pub rate_above: Option<Text>,
    /// Grows slower than this.
    pub rate_below: Option<Text>,
    /// The window of a rate.
    pub over: Option<Text>,
    /// A new high-water mark.
    pub high_water: Option<Box<Placed<HighWaterConfig>>>,
    /// The limit is reached soon.
    pub forecast: Option<Box<Placed<ForecastConfig>>>,
    /// Steady growth.
    pub growth: Option<Box<Placed<GrowthConfig>>>,
    /// Stalls for want of memory.
    pub pressure: Option<Box<Placed<PressureConfig>>>,
    /// A verdict.
    pub finding: Option<Box<Placed<FindingConfig>>>,
    /// Something happened.
    pub event: Option<Text>,
}

/// `{by: 50%, over: 10m}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviationConfig {
    /// Which quantile.
    pub q: Option<Text>,
    /// How much more: a share, or an amount.
    pub by: Text,
    /// The trailing window.
    pub over: Text,
}

/// `{signal: rss_bytes, floor: 200MiB, by: 5%, resets: 1h}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HighWaterConfig {
    /// Of what.
    pub signal: Text,
    /// Nothing below is a mark.
    pub floor: Option<Text>,
    /// How much above the last mark; 5 % without it.
    pub by: Option<Text>,
    /// How soon the mark falls to what was reached meanwhile; an hour without it.
    pub resets: Option<Text>,
}

/// `{signal: heap_live_bytes, reaches_limit_within: 30m, bound: high, over: 10m}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForecastConfig {
    /// Whose pace; `used_bytes` without it.
    pub signal: Option<Text>,
    /// How soon.
    pub reaches_limit_within: Text,
    /// Which end of the estimate must lie within.
    pub bound: Option<Text>,
    /// From how much of the past.
    pub over: Text,
    /// Which limit.
    pub of: Option<Text>,
}

/// `{signal: goroutines, by: 500, over: 10m}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrowthConfig {
    /// Of what.
    pub signal: Text,
    /// How much over the window, as a share or an amount.
    pub by: Text,
    /// The window.
    pub over: Text,
}

/// `{some: 20, window: avg10}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PressureConfig {
    /// Percent of the time at least one task waited.
    pub some: Option<Text>,
    /// Percent of the time all tasks waited.
    pub full: Option<Text>,
    /// avg10, avg60 or avg300.
    pub window: Option<Text>,
    /// `host` or `cgroup`.
    pub of: Option<Text>,
}

/// `{kind: heap-leak, confidence: 0.9}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FindingConfig {
    /// A kind, or `leak` for all that are leaks.
    pub kind: Text,
    /// The least confidence.
    pub confidence: Option<Text>,
}

/// An action: one of `capture`, `notify` or `exec`, with what belongs to it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActionConfig {
    /// What to take: a kind, several, or `pair`.
    pub capture: Option<OneOrMore>,
    /// The kind of a pair.
    pub kind: Option<Text>,
    /// How many collections lie between the two of a pair.
    pub gcs_apart: Option<Text>,
    /// How long a trace runs.
    #[serde(rename = "for")]
    pub length: Option<Text>,
    /// Its name for later actions.
    #[serde(rename = "as")]
    pub name: Option<Text>,
    /// Whom to tell.
    pub notify: Option<Text>,
    /// One line for people.
    pub summary: Option<Text>,
    /// More for people.
    pub description: Option<Text>,
    /// A program with its arguments; no shell.
    pub exec: Option<Vec<Text>>,
    /// How long it may take.
    pub timeout: Option<Text>,
}

/// A word, or a list of them.
#[derive(Clone, Debug)]
pub struct OneOrMore(pub Vec<Text>);

impl<'de> Deserialize<'de> for OneOrMore {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<OneOrMore, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = OneOrMore;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a kind of capture, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<OneOrMore, E> {
                // Its place is that of the action.
                Ok(OneOrMore(vec![Placed { value: text.to_owned(), line: 0, column: 0 }]))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<OneOrMore, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    all.push(item);
                }
                Ok(OneOrMore(all))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// `{per_target: 3 in 1h, cooldown: 4m, bytes: 200MiB in 1d}`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Firings of this rule for a target.
    pub per_target: Option<Text>,
    /// Firings of this rule.
    pub per_rule: Option<Text>,
    /// Firings of all rules here.
    pub per_node: Option<Text>,
    /// Between two firings of this rule for a target.
    pub cooldown: Option<Text>,
    /// CPU time that captures of this rule cost us.
    pub cpu: Option<Text>,
    /// Bytes that captures of this rule took.
    pub bytes: Option<Text>,
}

/// Reads a file of rules; says the first fault of its form.
///
/// # Errors
/// The place, and what was expected.
pub fn parse(text: &str) -> Result<RuleFile, Fault> {
    read(text)
}

/// How files with rules are read: conditions lie in conditions, and each level takes some of the
/// stack.
pub fn options() -> serde_saphyr::Options {
    const DEPTH_MAX: usize = 32;
    serde_saphyr::options! { budget: serde_saphyr::budget! { max_depth: DEPTH_MAX } }
}

/// Reads any document of ours, with the place of what is wrong.
///
/// # Errors
/// The place, and what was expected.
pub(crate) fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Fault> {
    serde_saphyr::from_str_with_options(text, options()).map_err(|error| {
        let place = error.location();
        let number = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let line = place.map_or(0, |place| number(place.line()));
        let column = place.map_or(0, |place| number(place.column()));
        // The place stands before, and the excerpt is for terminals.
        let bare = error.without_snippet().to_string();
        let tail = format!(" at line {line}, column {column}");
        let text = bare.replace(&tail, "");
        Fault { line, column, text: text.trim_end_matches(['.', '\n']).to_owned() }
    })
}
