//! Evaluation of a group: rules in order, each seeing what those before it wrote.

use std::collections::{BTreeMap, BTreeSet};

use model::series::{Labels, NAME, STALE, Sample, Value};
use model::units::Timestamp;

use super::alerts::{Alert, AlertState, Alerts, SavedAlert};
use super::file::{Rule, RuleGroup, RuleKind};
use crate::error::Error;
use crate::eval::{Answer, InstantValue, Options, Query, SeriesData, Storage};
use crate::lang::Matcher;
use crate::memory::MemoryStorage;
use crate::template::{self, Context, Dialect, Template, Templates};

/// The label with the alert's name.
const ALERTNAME: &str = "alertname";

/// Longest text of a label or an annotation.
const MAX_TEXT: usize = 64 << 10;

/// What rules are evaluated with.
#[derive(Clone, Copy)]
pub struct Environment<'a> {
    /// Where series come from.
    pub storage: &'a dyn Storage,
    /// How queries are evaluated.
    pub options: &'a Options<'a>,
    /// `$externalLabels`.
    pub external_labels: &'a Labels,
    /// Where this server is reached.
    pub external_url: &'a str,
}

/// How the last evaluation of a rule went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleHealth {
    /// When it was; `None` before the first.
    pub evaluated_at: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<String>,
    /// Series or alerts it found.
    pub found: usize,
}

/// What is known of a group between evaluations.
#[derive(Clone, Debug, Default)]
pub struct GroupState {
    rules: Vec<RuleState>,
    /// Series of rules that are gone, to be ended.
    ended: Vec<Labels>,
}

#[derive(Clone, Debug, Default)]
struct RuleState {
    alerts: Alerts,
    /// Series the last evaluation wrote.
    written: BTreeSet<Labels>,
    /// The last evaluation, before a restart if there was none since.
    seen_at: Timestamp,
    health: RuleHealth,
}

/// What an evaluation of a group gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Samples to write: recorded series, `ALERTS`, `ALERTS_FOR_STATE`, and staleness markers of
    /// series that are no more.
    pub samples: Vec<(Labels, Sample)>,
    /// Alerts that are pending, firing or were resolved lately, with the number of their rule.
    pub alerts: Vec<(usize, Alert)>,
    /// Rules that could not be evaluated, by their number; they write nothing, and their alerts
    /// stay as they are.
    pub errors: Vec<(usize, String)>,
}

impl RuleGroup {
    /// Evaluates all rules for a time.
    pub fn eval(
        &self,
        now: Timestamp,
        environment: &Environment<'_>,
        state: &mut GroupState,
    ) -> Outcome {
        state.rules.resize_with(self.rules.len(), RuleState::default);
        let offset = self.query_offset.unwrap_or_default().as_millis();
        let at = Timestamp(now.0.saturating_sub(i64::try_from(offset).unwrap_or(i64::MAX)));
        let mut outcome = Outcome::default();
        let mut written = MemoryStorage::default();
        for (index, (rule, state)) in self.rules.iter().zip(&mut state.rules).enumerate() {
            let evaluation =
                Evaluation { rule, group: self, environment, written: &written, now, at };
            let result = evaluation.run(state);
            (state.health.evaluated_at, state.seen_at) = (Some(now), now);
            match result {
                Err(error) => {
                    state.health.error = Some(error.clone());
                    outcome.errors.push((index, error));
                }
                Ok(samples) => {
                    state.health.error = None;
                    state.health.found = samples.len();
                    for (labels, sample) in state.ending(samples, at) {
                        written.add(&labels, sample.clone());
                        outcome.samples.push((labels, sample));
                    }
                }
            }
            let alerts = state.alerts.active.values();
            outcome.alerts.extend(alerts.map(|alert| (index, alert.clone())));
        }
        let stale = || Sample { time: at, value: Value::Float(STALE) };
        outcome.samples.extend(state.ended.drain(..).map(|labels| (labels, stale())));
        outcome
    }
}

impl RuleState {
    /// Samples, with markers for the series that were there last time and are no more.
    fn ending(
        &mut self,
        mut samples: Vec<(Labels, Sample)>,
        at: Timestamp,
    ) -> Vec<(Labels, Sample)> {
        let now: BTreeSet<Labels> = samples.iter().map(|(labels, _)| labels.clone()).collect();
        for gone in self.written.difference(&now) {
            samples.push((gone.clone(), Sample { time: at, value: Value::Float(STALE) }));
        }
        self.written = now;
        samples
    }
}

impl GroupState {
    /// How each rule's last evaluation went.
    pub fn health(&self) -> impl Iterator<Item = &RuleHealth> {
        self.rules.iter().map(|rule| &rule.health)
    }

    /// Alerts of a rule by its number.
    pub fn alerts(&self, rule: usize) -> impl Iterator<Item = &Alert> {
        self.rules.get(rule).into_iter().flat_map(|rule| rule.alerts.active.values())
    }

    /// The clock was set by so many milliseconds: what holds goes on as if nothing had been.
    pub fn clock_moved(&mut self, millis: i64) {
        let shift = |time: &mut Timestamp| time.0 = time.0.saturating_add(millis);
        for rule in &mut self.rules {
            shift(&mut rule.seen_at);
            for alert in rule.alerts.active.values_mut() {
                let times =
                    [&mut alert.fired_at, &mut alert.resolved_at, &mut alert.keep_firing_since];
                times.into_iter().flatten().for_each(shift);
                shift(&mut alert.active_at);
            }
        }
    }

    /// What to keep over a restart.
    pub fn save(&self, group: &RuleGroup) -> Vec<SavedAlert> {
        let saved = |rule: &RuleState, alert: &Alert| SavedAlert {
            group: group.name.clone(),
            seen_at: rule.seen_at,
            alert: alert.clone(),
        };
        let all = self
            .rules
            .iter()
            .flat_map(|rule| rule.alerts.active.values().map(move |alert| saved(rule, alert)));
        all.collect()
    }

    /// The state of a group after a restart, before its first evaluation.
    pub fn restored(group: &RuleGroup, saved: &[SavedAlert], now: Timestamp) -> GroupState {
        let mut state = GroupState::default();
        state.rules.resize_with(group.rules.len(), RuleState::default);
        for saved in saved.iter().filter(|saved| saved.group == group.name) {
            let mut rules = group.rules.iter().zip(&mut state.rules);
            if let Some((rule, state)) = rules.find(|(rule, _)| made(rule, &saved.alert)) {
                state.alerts.restore(saved, rule.hold, now);
                state.seen_at = state.seen_at.max(saved.seen_at);
                // Their series end once the alerts do.
                if saved.alert.state != AlertState::Inactive {
                    state.written.extend(series_of(rule, &saved.alert));
                }
            }
        }
        state
    }

    /// The state after a reload: rules of the same kind, name and labels go on.
    pub fn reloaded(mut self, old: &RuleGroup, new: &RuleGroup) -> GroupState {
        let mut state = GroupState::default();
        let mut taken = BTreeSet::new();
        for rule in &new.rules {
            let same = |(index, known): &(usize, &Rule)| {
                !taken.contains(index)
                    && (known.kind, &known.name, &known.labels)
                        == (rule.kind, &rule.name, &rule.labels)
            };
            let found = old.rules.iter().enumerate().find(same).map(|(index, _)| index);
            taken.extend(found);
            let kept = found.and_then(|index| self.rules.get_mut(index)).map(std::mem::take);
            state.rules.push(kept.unwrap_or_default());
        }
        state.ended = self.end();
        state
    }

    /// All series it has written; each has to be ended when the group goes away.
    pub fn end(self) -> Vec<Labels> {
        let written = self.rules.into_iter().flat_map(|rule| rule.written);
        self.ended.into_iter().chain(written).collect()
    }
}

/// Reports whether a rule makes such alerts.
fn made(rule: &Rule, alert: &Alert) -> bool {
    let matches = |(name, value): (&String, &String)| {
        value.contains("{{") || value.is_empty() || alert.labels.get(name) == Some(value)
    };
    rule.kind == RuleKind::Alert && rule.name == alert.rule && rule.labels.iter().all(matches)
}

/// `ALERTS` and `ALERTS_FOR_STATE` of an alert.
fn series_of(rule: &Rule, alert: &Alert) -> [Labels; 2] {
    let state = alert.state.as_str();
    let name = rule.name.as_str();
    [
        alert.labels.with([(NAME, "ALERTS"), (ALERTNAME, name), ("alertstate", state)]),
        alert.labels.with([(NAME, "ALERTS_FOR_STATE"), (ALERTNAME, name)]),
    ]
}

/// One rule at one time.
struct Evaluation<'a> {
    rule: &'a Rule,
    group: &'a RuleGroup,
    environment: &'a Environment<'a>,
    written: &'a MemoryStorage,
    now: Timestamp,
    /// `now` without the query's offset.
    at: Timestamp,
}

impl Evaluation<'_> {
    fn run(&self, state: &mut RuleState) -> Result<Vec<(Labels, Sample)>, String> {
        let found = self.query(&self.rule.query, self.at).map_err(|error| error.to_string())?;
        match self.rule.kind {
            RuleKind::Record => self.record(found),
            RuleKind::Alert => self.alert(found, &mut state.alerts),
        }
    }

    fn query(&self, query: &Query, at: Timestamp) -> Result<Vec<InstantValue>, Error> {
        let overlay = Overlay { below: self.environment.storage, above: self.written };
        match query.instant(&overlay, at, self.environment.options)? {
            Answer::Vector(values) => Ok(values),
            Answer::Scalar(number) => {
                Ok(vec![InstantValue { labels: Labels::empty(), value: Value::Float(number) }])
            }
            _ => Err(Error::Evaluation("rule result is not a vector or scalar".to_owned())),
        }
    }

    fn limited(&self, count: usize, what: &str) -> Result<(), String> {
        let limit = self.group.limit;
        if limit > 0 && count > limit {
            return Err(format!("exceeded limit of {limit} with {count} {what}"));
        }
        Ok(())
    }

    fn record(&self, found: Vec<InstantValue>) -> Result<Vec<(Labels, Sample)>, String> {
        let mut known = BTreeSet::new();
        let mut samples = Vec::with_capacity(found.len());
        for InstantValue { labels, value } in found {
            let name = std::iter::once((NAME, self.rule.name.as_str()));
            let own = self.rule.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let labels = labels.with(name.chain(own));
            if !known.insert(labels.clone()) {
                let message = "vector contains metrics with the same labelset after applying rule \
                               labels";
                return Err(message.to_owned());
            }
            samples.push((labels, Sample { time: self.at, value }));
        }
        self.limited(samples.len(), "series")?;
        Ok(samples)
    }

    fn alert(
        &self,
        found: Vec<InstantValue>,
        alerts: &mut Alerts,
    ) -> Result<Vec<(Labels, Sample)>, String> {
        let mut new = BTreeMap::new();
        for value in found {
            let alert = self.new_alert(&value);
            if new.insert(alert.labels.clone(), alert).is_some() {
                let message = "vector contains metrics with the same labelset after applying alert \
                               labels";
                return Err(message.to_owned());
            }
        }
        let count = alerts.update(new, self.now, self.rule.hold, self.rule.keep_firing_for);
        if let Err(error) = self.limited(count, "alerts") {
            alerts.active.clear();
            return Err(error);
        }
        let mut samples = Vec::new();
        for alert in alerts.active.values().filter(|alert| alert.state != AlertState::Inactive) {
            let since = alert.active_at.0.div_euclid(1000) as f64;
            for (labels, number) in series_of(self.rule, alert).into_iter().zip([1.0, since]) {
                samples.push((labels, Sample { time: self.at, value: Value::Float(number) }));
            }
        }
        Ok(samples)
    }

    fn new_alert(&self, value: &InstantValue) -> Alert {
        let number = value.value.float();
        let shown = match &value.value {
            Value::Float(number) => template::Value::Float(*number),
            Value::Histogram(h) => template::Value::Str(crate::eval::histogram_text(h)),
        };
        let data = template::Value::object([
            ("Labels", template::Value::labels(&value.labels)),
            ("ExternalLabels", template::Value::labels(self.environment.external_labels)),
            ("ExternalURL", template::Value::from(self.environment.external_url)),
            ("Value", shown),
        ]);
        let expanded = |is_label: bool, name: &String, text: &String| match self
            .rule
            .templates
            .get(&(is_label, name.clone()))
        {
            Some(template) => self.expand(template, &data),
            None => text.clone(),
        };
        let labels: Vec<(&str, String)> = (self.rule.labels.iter())
            .map(|(name, text)| (name.as_str(), expanded(true, name, text)))
            .collect();
        let labels = labels.iter().map(|(name, text)| (*name, text.as_str()));
        let fixed = [(NAME, ""), (ALERTNAME, self.rule.name.as_str())];
        let annotations = self.rule.annotations.iter();
        Alert {
            rule: self.rule.name.clone(),
            labels: value.labels.with(labels.chain(fixed)),
            annotations: annotations
                .map(|(name, text)| (name.clone(), expanded(false, name, text)))
                .collect(),
            state: AlertState::Pending,
            active_at: self.now,
            fired_at: None,
            resolved_at: None,
            keep_firing_since: None,
            value: number.unwrap_or(0.0),
        }
    }

    /// A text that says what went wrong is better than no alert.
    fn expand(&self, template: &Template, data: &template::Value) -> String {
        let query = |text: &str| self.template_query(text);
        let context = Context {
            now: self.now,
            external_url: self.environment.external_url,
            max_bytes: MAX_TEXT,
            escapes_html: false,
            query: &query,
        };
        let rendered = template.render(&Templates::new(Dialect::Prometheus), data, &context);
        rendered.unwrap_or_else(|error| {
            format!(
                "<error expanding template: error executing template __alert_{}: {error}>",
                self.rule.name
            )
        })
    }

    fn template_query(&self, text: &str) -> Result<template::Value, String> {
        let query = Query::parse(text).map_err(|error| error.to_string())?;
        let found = self.query(&query, self.now).map_err(|error| error.to_string())?;
        let object = |value: InstantValue| {
            let number = match &value.value {
                Value::Float(number) => template::Value::Float(*number),
                Value::Histogram(h) => template::Value::Str(crate::eval::histogram_text(h)),
            };
            template::Value::object([
                ("Labels", template::Value::labels(&value.labels)),
                ("Value", number),
            ])
        };
        Ok(template::Value::list(found.into_iter().map(object)))
    }
}

/// A storage with what the rules before wrote on top.
struct Overlay<'a> {
    below: &'a dyn Storage,
    above: &'a MemoryStorage,
}

impl Storage for Overlay<'_> {
    fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SeriesData>, String> {
        let mut found = self.below.select(matchers, from, to)?;
        let new = self.above.select(matchers, from, to)?;
        if new.is_empty() {
            return Ok(found);
        }
        let places = found.iter().enumerate().map(|(index, series)| (series.labels.clone(), index));
        let places: BTreeMap<Labels, usize> = places.collect();
        for series in new {
            match places.get(&series.labels).and_then(|place| found.get_mut(*place)) {
                Some(known) => {
                    for sample in series.samples {
                        let place = known.samples.partition_point(|old| old.time < sample.time);
                        match known.samples.get_mut(place) {
                            Some(old) if old.time == sample.time => *old = sample,
                            _ => known.samples.insert(place, sample),
                        }
                    }
                }
                None => found.push(series),
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use model::series::{Labels, NAME, Sample, Value, is_stale};
    use model::units::Timestamp;

    use super::{Environment, GroupState, Outcome};
    use crate::eval::Options;
    use crate::memory::MemoryStorage;
    use crate::rules::{AlertState, RuleFile, RuleGroup};

    const MINUTE: i64 = 60_000;

    fn group(rule: &str) -> RuleGroup {
        let text = format!("groups: [{{name: g, rules: [{rule}]}}]");
        RuleFile::parse(&text).unwrap().groups.remove(0)
    }

    /// Evaluates at a minute, with a series that says how many `down` there are.
    fn at(group: &RuleGroup, minute: i64, down: &[&str], state: &mut GroupState) -> Outcome {
        let mut storage = MemoryStorage::default();
        let time = Timestamp(minute * MINUTE);
        for name in down {
            let labels = Labels::new([(NAME, "down"), ("job", name)]);
            storage.add(&labels, Sample { time, value: Value::Float(1.0) });
        }
        let options = Options::default();
        let labels = Labels::empty();
        let environment = Environment {
            storage: &storage,
            options: &options,
            external_labels: &labels,
            external_url: "http://here/base",
        };
        group.eval(time, &environment, state)
    }

    fn states(outcome: &Outcome) -> Vec<AlertState> {
        outcome.alerts.iter().map(|(_, alert)| alert.state).collect()
    }

    #[test]
    fn alerts_wait_fire_and_are_resolved() {
        use AlertState::{Firing, Inactive, Pending};
        let group =
            group("{alert: Down, expr: down > 0, for: 2m, annotations: {at: '{{ pathPrefix }}'}}");
        let mut state = GroupState::default();
        assert_eq!(states(&at(&group, 0, &["a"], &mut state)), [Pending]);
        assert_eq!(states(&at(&group, 1, &["a"], &mut state)), [Pending]);
        let fires = at(&group, 2, &["a"], &mut state);
        assert_eq!(states(&fires), [Firing]);
        assert_eq!(fires.alerts[0].1.annotations["at"], "/base");
        let names: Vec<String> =
            fires.samples.iter().map(|(labels, _)| labels.to_string()).collect();
        assert_eq!(
            names,
            [
                r#"ALERTS{alertname="Down", alertstate="firing", job="a"}"#,
                r#"ALERTS_FOR_STATE{alertname="Down", job="a"}"#,
                r#"ALERTS{alertname="Down", alertstate="pending", job="a"}"#,
            ]
        );
        assert!(fires.samples[2].1.value.float().is_some_and(is_stale));
        let resolved = at(&group, 3, &[], &mut state);
        assert_eq!(states(&resolved), [Inactive]);
        assert_eq!(resolved.alerts[0].1.resolved_at, Some(Timestamp(3 * MINUTE)));
        assert_eq!(
            resolved.samples.iter().filter(|(_, s)| s.value.float().is_some_and(is_stale)).count(),
            2
        );
        assert_eq!(states(&at(&group, 18, &[], &mut state)), [Inactive]);
        assert_eq!(states(&at(&group, 19, &[], &mut state)), []);
        // One that is pending is forgotten at once.
        assert_eq!(states(&at(&group, 20, &["a"], &mut state)), [Pending]);
        assert_eq!(states(&at(&group, 21, &[], &mut state)), []);
    }

    #[test]
    fn limits_clear_the_alerts_of_a_rule() {
        let mut group = group("{alert: Down, expr: down}");
        group.limit = 1;
        let mut state = GroupState::default();
        let outcome = at(&group, 0, &["a", "b"], &mut state);
        assert_eq!(outcome.errors, [(0, "exceeded limit of 1 with 2 alerts".to_owned())]);
        assert_eq!((outcome.alerts, outcome.samples), (Vec::new(), Vec::new()));
        assert_eq!(states(&at(&group, 1, &["a"], &mut state)), [AlertState::Firing]);
    }

    #[test]
    fn state_survives_a_restart() {
        use AlertState::{Firing, Inactive, Pending};
        let group = group("{alert: Down, expr: down, for: 30m}");
        let mut state = GroupState::default();
        at(&group, 0, &["a"], &mut state);
        at(&group, 5, &["a", "b"], &mut state);
        at(&group, 30, &["a", "b"], &mut state);
        let saved = state.save(&group);
        let restart =
            |minute: i64| GroupState::restored(&group, &saved, Timestamp(minute * MINUTE));
        // `a` fires on; `b`, with five minutes to go, waits for the grace time.
        let mut state = restart(40);
        assert_eq!(states(&at(&group, 40, &["a", "b"], &mut state)), [Firing, Pending]);
        assert_eq!(states(&at(&group, 49, &["a", "b"], &mut state)), [Firing, Pending]);
        assert_eq!(states(&at(&group, 50, &["a", "b"], &mut state)), [Firing, Firing]);
        // What fired and does no longer is resolved, what was pending is forgotten.
        let mut state = restart(40);
        let outcome = at(&group, 40, &[], &mut state);
        assert_eq!(states(&outcome), [Inactive]);
        assert_eq!(outcome.samples.len(), 4, "series from before the restart end");
        // After too long all is new.
        let mut state = restart(91);
        assert_eq!(states(&at(&group, 91, &["a", "b"], &mut state)), [Pending, Pending]);
        // Saved again before any evaluation, nothing is lost.
        let again = restart(40).save(&group);
        let mut state = GroupState::restored(&group, &again, Timestamp(41 * MINUTE));
        assert_eq!(states(&at(&group, 41, &["a"], &mut state)), [Firing]);
    }

    #[test]
    fn a_reload_keeps_what_is_the_same() {
        let old = group("{alert: Down, expr: down, for: 5m}, {record: r, expr: down}");
        let mut state = GroupState::default();
        at(&old, 0, &["a"], &mut state);
        let new = group("{alert: Other, expr: down}, {alert: Down, expr: down > 0, for: 1m}");
        let mut state = state.reloaded(&old, &new);
        let outcome = at(&new, 1, &["a"], &mut state);
        assert_eq!(states(&outcome), [AlertState::Firing, AlertState::Firing]);
        assert_eq!(outcome.alerts[1].1.active_at, Timestamp(0));
        let ended = outcome.samples.iter().filter(|(_, s)| s.value.float().is_some_and(is_stale));
        let ended: Vec<&str> = ended.map(|(labels, _)| labels.name()).collect();
        assert_eq!(ended, ["ALERTS", "r"]);
    }

    #[test]
    fn a_query_offset_moves_queries_and_samples() {
        let mut group = group("{record: r, expr: timestamp(down)}");
        group.query_offset = Some(Duration::from_secs(30));
        let mut state = GroupState::default();
        assert_eq!(at(&group, 1, &["a"], &mut state).samples, []);
        group.query_offset = None;
        let [(labels, sample)] = at(&group, 2, &["a"], &mut state).samples.try_into().unwrap();
        assert_eq!(
            (labels.to_string().as_str(), sample.value.float()),
            (r#"r{job="a"}"#, Some(120.0))
        );
    }
}
