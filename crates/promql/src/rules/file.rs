//! Rule files: YAML to checked rules, with every complaint at its place.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use model::series::NAME;
use model::units::parse_duration;
use serde::{Deserialize, Deserializer};
use serde_saphyr::Spanned;

use crate::error::Place;
use crate::eval::Query;
use crate::template::{Dialect, Template, Templates};

/// Longest file.
const MAX_BYTES: usize = 8 << 20;

/// What a rule file holds.
#[derive(Clone, Debug)]
pub struct RuleFile {
    /// In the order of the file.
    pub groups: Vec<RuleGroup>,
}

/// Rules that are evaluated one after the other.
#[derive(Clone, Debug)]
pub struct RuleGroup {
    /// Its name; unique in its file.
    pub name: String,
    /// How often; `None`: as the configuration says.
    pub interval: Option<Duration>,
    /// How far back it looks; `None`: as the configuration says.
    pub query_offset: Option<Duration>,
    /// Most series or alerts of a rule; 0 is any number.
    pub limit: usize,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// Where it stands.
    pub place: Place,
}

/// What a rule makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleKind {
    /// A series.
    Record,
    /// Alerts.
    Alert,
}

/// A recording or alerting rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which of both.
    pub kind: RuleKind,
    /// The name of the series or of the alerts.
    pub name: String,
    /// What is evaluated.
    pub query: Query,
    /// `for`: how long an alert is pending.
    pub hold: Duration,
    /// How long an alert keeps firing without its condition.
    pub keep_firing_for: Duration,
    /// Labels to add, those of the group among them; of alerts, templates.
    pub labels: BTreeMap<String, String>,
    /// Templates for people.
    pub annotations: BTreeMap<String, String>,
    /// Labels and annotations, read.
    pub(super) templates: BTreeMap<(bool, String), Template>,
    /// Where it stands.
    pub place: Place,
}

/// A complaint about a rule file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {}{message}", context(group, *rule, name))]
pub struct RuleError {
    /// Where.
    pub place: Place,
    /// Name of the group; empty outside of any.
    pub group: String,
    /// Which rule of the group, from 1; 0 is the group itself.
    pub rule: usize,
    /// Its name.
    pub name: String,
    /// What.
    pub message: String,
}

fn context(group: &str, rule: usize, name: &str) -> String {
    match (group, rule) {
        ("", 0) => String::new(),
        (_, 0) => format!("group {group:?}: "),
        _ => format!("group {group:?}, rule {rule}, {name:?}: "),
    }
}

/// A duration as Prometheus writes it.
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Span).map_err(serde::de::Error::custom)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    groups: Option<Vec<Spanned<RawGroup>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGroup {
    name: Option<String>,
    interval: Option<Span>,
    query_offset: Option<Span>,
    limit: Option<i64>,
    labels: Option<BTreeMap<String, Spanned<String>>>,
    rules: Option<Vec<Spanned<RawRule>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    record: Option<Spanned<String>>,
    alert: Option<Spanned<String>>,
    expr: Option<Spanned<String>>,
    #[serde(rename = "for")]
    hold: Option<Spanned<Span>>,
    keep_firing_for: Option<Spanned<Span>>,
    labels: Option<BTreeMap<String, Spanned<String>>>,
    annotations: Option<BTreeMap<String, Spanned<String>>>,
}

impl RuleFile {
    /// Reads a rule file.
    ///
    /// # Errors
    /// All that is wrong with it, in order.
    pub fn parse(text: &str) -> Result<RuleFile, Vec<RuleError>> {
        let whole = |place: Place, message: String| {
            vec![RuleError { place, group: String::new(), rule: 0, name: String::new(), message }]
        };
        if text.len() > MAX_BYTES {
            let message = format!("a rule file has at most {MAX_BYTES} bytes");
            return Err(whole(Place { line: 1, column: 1 }, message));
        }
        if is_blank(text) {
            return Ok(RuleFile { groups: Vec::new() });
        }
        let options = serde_saphyr::options! { with_snippet: false };
        let raw: RawFile = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let place = error.location().map(place_of).unwrap_or_default();
            whole(place, error.to_string())
        })?;
        let mut errors = Vec::new();
        let mut names = HashSet::new();
        let mut groups = Vec::new();
        for raw in raw.groups.unwrap_or_default() {
            groups.push(group(raw, &mut names, &mut errors));
        }
        if errors.is_empty() {
            return Ok(RuleFile { groups });
        }
        errors.sort_by_key(|error: &RuleError| error.place);
        Err(errors)
    }
}

/// Reports whether a text has nothing but comments.
fn is_blank(text: &str) -> bool {
    let lines = text.lines().map(str::trim_start);
    lines.into_iter().all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

fn place_of(location: serde_saphyr::Location) -> Place {
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: small(location.line()), column: small(location.column()) }
}

fn spanned<T>(value: &Spanned<T>) -> Place {
    place_of(value.referenced)
}

fn group(
    raw: Spanned<RawGroup>,
    names: &mut HashSet<String>,
    errors: &mut Vec<RuleError>,
) -> RuleGroup {
    let place = spanned(&raw);
    let raw = raw.value;
    let name = raw.name.unwrap_or_default();
    let mut complain = |place: Place, message: String| {
        let group = name.clone();
        errors.push(RuleError { place, group, rule: 0, name: String::new(), message });
    };
    if name.is_empty() {
        complain(place, "group name must not be empty".to_owned());
    }
    if !names.insert(name.clone()) {
        complain(place, format!("group name {name:?} is repeated in the same file"));
    }
    let labels = raw.labels.unwrap_or_default();
    for (label, value) in &labels {
        if label.is_empty() || label == NAME {
            complain(spanned(value), format!("invalid label name: {label}"));
        }
    }
    let labels = labels.into_iter().map(|(label, value)| (label, value.value)).collect();
    let mut rules = Vec::new();
    for (index, raw) in raw.rules.unwrap_or_default().into_iter().enumerate() {
        let mut checker = Checker { group: &name, rule: index + 1, name: String::new(), errors };
        rules.extend(checker.rule(raw, &labels));
    }
    RuleGroup {
        name,
        interval: raw.interval.map(|span| span.0).filter(|span| !span.is_zero()),
        query_offset: raw.query_offset.map(|span| span.0),
        limit: usize::try_from(raw.limit.unwrap_or(0)).unwrap_or(0),
        rules,
        place,
    }
}

/// Checks one rule and collects what is wrong with it.
struct Checker<'a> {
    group: &'a str,
    rule: usize,
    name: String,
    errors: &'a mut Vec<RuleError>,
}

impl Checker<'_> {
    fn complain(&mut self, place: Place, message: impl Into<String>) {
        let (group, name) = (self.group.to_owned(), self.name.clone());
        self.errors.push(RuleError {
            place,
            group,
            rule: self.rule,
            name,
            message: message.into(),
        });
    }

    fn rule(&mut self, raw: Spanned<RawRule>, group: &BTreeMap<String, String>) -> Option<Rule> {
        let place = spanned(&raw);
        let raw = raw.value;
        let given = |name: Option<Spanned<String>>| name.filter(|name| !name.value.is_empty());
        let (record, alert) = (given(raw.record), given(raw.alert));
        let named = alert.as_ref().or(record.as_ref());
        self.name = named.map(|name| name.value.clone()).unwrap_or_default();
        let at = named.map_or(place, spanned);
        let kind = match (&record, &alert) {
            (Some(_), Some(_)) => {
                self.complain(at, "only one of 'record' and 'alert' must be set");
                RuleKind::Alert
            }
            (None, None) => {
                self.complain(place, "one of 'record' or 'alert' must be set");
                RuleKind::Record
            }
            (_, Some(_)) => RuleKind::Alert,
            (Some(_), None) => RuleKind::Record,
        };
        let query = self.query(raw.expr, place);
        let zero =
            |span: &Option<Spanned<Span>>| span.as_ref().map_or(Duration::ZERO, |s| s.value.0);
        let (hold, keep_firing_for) = (zero(&raw.hold), zero(&raw.keep_firing_for));
        let (labels, annotations) =
            (raw.labels.unwrap_or_default(), raw.annotations.unwrap_or_default());
        if let Some(record) = &record {
            self.recording(record, !annotations.is_empty(), &raw.hold, &raw.keep_firing_for);
        }
        let mut templates = BTreeMap::new();
        for (is_label, texts) in [(true, &labels), (false, &annotations)] {
            for (name, text) in texts {
                let what = if is_label { "label" } else { "annotation" };
                if name.is_empty() || is_label && name == NAME {
                    self.complain(spanned(text), format!("invalid {what} name: {name}"));
                }
                // Only of alerts are they templates.
                if alert.is_some() {
                    match Templates::new(Dialect::Prometheus).parse(&text.value) {
                        Ok(template) => {
                            templates.insert((is_label, name.clone()), template);
                        }
                        Err(error) => {
                            self.complain(spanned(text), format!("{what} {name:?}: {error}"));
                        }
                    }
                }
            }
        }
        let plain = |texts: BTreeMap<String, Spanned<String>>| {
            texts.into_iter().map(|(name, text)| (name, text.value)).collect::<BTreeMap<_, _>>()
        };
        let mut all_labels = group.clone();
        all_labels.extend(plain(labels));
        if kind == RuleKind::Alert {
            Checker::group_templates(group, &mut templates);
        }
        Some(Rule {
            kind,
            name: self.name.clone(),
            query: query?,
            hold,
            keep_firing_for,
            labels: all_labels,
            annotations: plain(annotations),
            templates,
            place,
        })
    }

    /// Labels of the group are templates as well, in alerting rules.
    fn group_templates(
        group: &BTreeMap<String, String>,
        templates: &mut BTreeMap<(bool, String), Template>,
    ) {
        for (name, text) in group {
            let key = (true, name.clone());
            if templates.contains_key(&key) {
                continue;
            }
            // Prometheus does not check these; one that is none stays as it is written.
            if let Ok(template) = Templates::new(Dialect::Prometheus).parse(text) {
                templates.insert(key, template);
            }
        }
    }

    fn query(&mut self, expr: Option<Spanned<String>>, place: Place) -> Option<Query> {
        let Some(expr) = expr.filter(|expr| !expr.value.is_empty()) else {
            self.complain(place, "field 'expr' must be set in rule");
            return None;
        };
        match Query::parse(&expr.value) {
            Ok(query) => Some(query),
            Err(error) => {
                self.complain(spanned(&expr), format!("could not parse expression: {error}"));
                None
            }
        }
    }

    fn recording(
        &mut self,
        record: &Spanned<String>,
        has_annotations: bool,
        hold: &Option<Spanned<Span>>,
        keep_firing_for: &Option<Spanned<Span>>,
    ) {
        if has_annotations {
            self.complain(spanned(record), "invalid field 'annotations' in recording rule");
        }
        for (field, span) in [("for", hold), ("keep_firing_for", keep_firing_for)] {
            if let Some(span) = span.as_ref().filter(|span| !span.value.0.is_zero()) {
                self.complain(spanned(span), format!("invalid field '{field}' in recording rule"));
            }
        }
        if record.value.contains(['{', '}']) {
            let message = format!(
                "braces present in the recording rule name; should it be in expr?: {}",
                record.value
            );
            self.complain(spanned(record), message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RuleFile;

    fn complaints(text: &str) -> Vec<String> {
        match RuleFile::parse(text) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn complaints_have_their_places() {
        let text = "\
groups:
  - name: a
    interval: 30s
    limit: 5
    labels: {team: x}
    rules:
      - record: job:up:sum
        expr: sum by (job) (up
      - record: b{c}
        alert: d
        expr: up
        for: 5m
  - name: a
    rules:
      - alert: e
        expr: up == 0
        annotations:
          summary: '{{ $label.x }}'
";
        assert_eq!(
            complaints(text),
            [
                "8:15: group \"a\", rule 1, \"job:up:sum\": could not parse expression: 1:17: \
                 unexpected end of input in function call, expected \",\"",
                "9:17: group \"a\", rule 2, \"d\": braces present in the recording rule name; \
                 should it be in expr?: b{c}",
                "10:16: group \"a\", rule 2, \"d\": only one of 'record' and 'alert' must be set",
                "12:14: group \"a\", rule 2, \"d\": invalid field 'for' in recording rule",
                "13:5: group \"a\": group name \"a\" is repeated in the same file",
                "18:20: group \"a\", rule 1, \"e\": annotation \"summary\": 1:4: undefined variable \
                 \"$label\"",
            ]
        );
    }

    #[test]
    fn files_without_groups_are_fine() {
        assert_eq!(complaints(""), Vec::<String>::new());
        assert_eq!(complaints("# nothing\n"), Vec::<String>::new());
        assert_eq!(complaints("groups:\n"), Vec::<String>::new());
        assert_eq!(complaints("groups: []\n"), Vec::<String>::new());
        assert_eq!(complaints("groups:\n- name: a\n  rules:\n"), Vec::<String>::new());
    }

    #[test]
    fn unknown_fields_are_refused() {
        let [error] = complaints("groups:\n- name: a\n  rule: []\n").try_into().unwrap();
        assert!(error.starts_with("3:3: ") && error.contains("rule"), "{error}");
        let [error] = complaints("groups:\n- name: a\n  interval: 5x\n").try_into().unwrap();
        assert!(error.contains("no duration"), "{error}");
    }
}
