//! Unit tests of rules in the format of `promtool test rules`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use model::series::{Labels, Sample, Value};
use model::units::{Timestamp, format_duration, parse_duration};
use serde::{Deserialize, Deserializer};

use super::alerts::AlertState;
use super::file::{RuleFile, RuleGroup};
use super::group::{Environment, GroupState};
use crate::eval::{
    Answer, Options, Query, SeriesData, Storage, days_since_1970, is_same_histogram,
};
use crate::lang::{Matcher, parse_metric};
use crate::memory::MemoryStorage;
use crate::notation;

/// Most samples of a test's input.
const MAX_SAMPLES: usize = 5_000_000;
/// Most evaluations of a test.
const MAX_STEPS: i64 = 200_000;

/// A file of unit tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitTests {
    /// Rule files, perhaps with `*`, relative to this file.
    #[serde(default)]
    pub rule_files: Vec<String>,
    evaluation_interval: Option<Span>,
    #[serde(default)]
    group_eval_order: Vec<String>,
    #[serde(default)]
    tests: Vec<TestGroup>,
    #[serde(default)]
    fuzzy_compare: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Span).map_err(serde::de::Error::custom)
    }
}

impl Span {
    fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestGroup {
    interval: Option<Span>,
    #[serde(default)]
    input_series: Vec<InputSeries>,
    #[serde(default)]
    alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    promql_expr_test: Vec<QueryTest>,
    #[serde(default)]
    external_labels: BTreeMap<String, String>,
    #[serde(default)]
    external_url: String,
    #[serde(default)]
    name: String,
    start_timestamp: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InputSeries {
    series: String,
    #[serde(default)]
    values: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertTest {
    eval_time: Option<Span>,
    #[serde(default)]
    alertname: String,
    #[serde(default)]
    exp_alerts: Vec<ExpectedAlert>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedAlert {
    #[serde(default)]
    exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    exp_annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryTest {
    expr: String,
    eval_time: Option<Span>,
    #[serde(default)]
    exp_samples: Vec<ExpectedSample>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedSample {
    #[serde(default)]
    labels: String,
    #[serde(default)]
    value: f64,
    #[serde(default)]
    histogram: String,
}

impl UnitTests {
    /// Reads a file of tests.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<UnitTests, String> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| error.to_string())
    }

    fn interval(&self) -> Span {
        let given = self.evaluation_interval.filter(|span| !span.0.is_zero());
        given.unwrap_or(Span(Duration::from_secs(60)))
    }
}

/// Runs tests with rules that were read already. Returns what failed; empty if all passed.
pub fn run_unit_tests(tests: &UnitTests, rules: &[RuleFile]) -> Vec<String> {
    let mut failures = Vec::new();
    let mut order: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, name) in tests.group_eval_order.iter().enumerate() {
        if order.insert(name, index).is_some() {
            failures.push(format!("group name repeated in evaluation order: {name}"));
            return failures;
        }
    }
    let mut groups: Vec<&RuleGroup> = rules.iter().flat_map(|file| &file.groups).collect();
    groups.sort_by_key(|group| order.get(group.name.as_str()).copied().unwrap_or(0));
    for (index, test) in tests.tests.iter().enumerate() {
        let name = match test.name.as_str() {
            "" => format!("unnamed#{index}"),
            name => name.to_owned(),
        };
        let mut run = Run { tests, test, groups: &groups, failures: Vec::new() };
        if let Err(failure) = run.all() {
            run.failures.push(failure);
        }
        failures.extend(run.failures.into_iter().map(|failure| format!("{name}: {failure}")));
    }
    failures
}

/// A storage that rules write to while they read from it.
#[derive(Default)]
struct Shared(RefCell<MemoryStorage>);

impl Storage for Shared {
    fn select(
        &self,
        matchers: &[Matcher],
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<SeriesData>, String> {
        self.0.borrow().select(matchers, from, to)
    }
}

struct Run<'a> {
    tests: &'a UnitTests,
    test: &'a TestGroup,
    groups: &'a [&'a RuleGroup],
    failures: Vec<String>,
}

impl Run<'_> {
    fn all(&mut self) -> Result<(), String> {
        let start = match self.test.start_timestamp.as_deref() {
            None => Timestamp(0),
            Some(text) => time(text).ok_or_else(|| format!("{text:?} is no time"))?,
        };
        if let Some(test) = self.test.alert_rule_test.iter().find(|test| test.alertname.is_empty())
        {
            let time = written(test.eval_time);
            return Err(format!(
                "an item under alert_rule_test misses required attribute alertname at eval_time {time}"
            ));
        }
        let storage = Shared::default();
        let input = self.input(start)?;
        let interval = self.tests.interval();
        let options = Options { default_step: interval.0, ..Options::default() };
        let external_labels = Labels::new(&self.test.external_labels);
        let environment = Environment {
            storage: &storage,
            options: &options,
            external_labels: &external_labels,
            external_url: &self.test.external_url,
        };
        self.evaluate(start, interval.millis().max(1), &environment, (&storage, input))?;
        for test in &self.test.promql_expr_test {
            if let Err(failure) = self.query(test, start, &environment) {
                let time = written(test.eval_time);
                self.failures.push(format!("expr: {:?}, time: {time}, {failure}", test.expr));
            }
        }
        Ok(())
    }

    /// Samples of the input, in order of time.
    fn input(&self, start: Timestamp) -> Result<Vec<(Labels, Sample)>, String> {
        let given = self.test.interval.filter(|span| !span.0.is_zero());
        let step = given.unwrap_or(self.tests.interval()).millis();
        let mut samples = Vec::new();
        for input in &self.test.input_series {
            let named = |error| format!("series {:?}: {error}", input.series);
            let labels = parse_metric(&input.series).map_err(|error| named(error.to_string()))?;
            let values = notation::parse_values(&input.values).map_err(named)?;
            if samples.len() + values.len() > MAX_SAMPLES {
                return Err(format!("the input has more than {MAX_SAMPLES} samples"));
            }
            for (index, value) in (0_i64..).zip(values) {
                let time = Timestamp(start.0.saturating_add(index.saturating_mul(step)));
                if let Some(value) = value {
                    samples.push((labels.clone(), Sample { time, value }));
                }
            }
        }
        samples.sort_by_key(|(_, sample)| sample.time);
        Ok(samples)
    }

    /// Evaluates all groups step by step, and compares alerts where tests ask for them. As in
    /// promtool, samples come in only as their time comes; those after the last step never.
    fn evaluate(
        &mut self,
        start: Timestamp,
        interval: i64,
        environment: &Environment<'_>,
        (storage, input): (&Shared, Vec<(Labels, Sample)>),
    ) -> Result<(), String> {
        let test = self.test;
        let mut input = input.into_iter().peekable();
        let queries = test.promql_expr_test.iter().map(|test| millis(test.eval_time));
        let times = test.alert_rule_test.iter().map(|test| millis(test.eval_time));
        let last = times.chain(queries).max().unwrap_or(0);
        if last / interval > MAX_STEPS {
            return Err(format!("the test has more than {MAX_STEPS} evaluations"));
        }
        let mut states: Vec<GroupState> =
            self.groups.iter().map(|_| GroupState::default()).collect();
        let mut time = 0;
        while time <= last {
            let now = Timestamp(start.0.saturating_add(time));
            while let Some((labels, sample)) = input.next_if(|(_, sample)| sample.time <= now) {
                storage.0.borrow_mut().add(&labels, sample);
            }
            let mut errors = Vec::new();
            for (group, state) in self.groups.iter().zip(&mut states) {
                let outcome = group.eval(now, environment, state);
                for (rule, error) in outcome.errors {
                    let name = group.rules.get(rule).map_or("", |rule| rule.name.as_str());
                    let time = format_duration(Duration::from_millis(time.unsigned_abs()));
                    errors.push(format!("rule: {name}, time: {time}, err: {error}"));
                }
                for (labels, sample) in outcome.samples {
                    storage.0.borrow_mut().add(&labels, sample);
                }
            }
            if let Some(last) = errors.pop() {
                self.failures.append(&mut errors);
                return Err(last);
            }
            for test in &test.alert_rule_test {
                if (time..time + interval).contains(&millis(test.eval_time)) {
                    self.compare_alerts(test, &states);
                }
            }
            time += interval;
        }
        Ok(())
    }

    fn compare_alerts(&mut self, test: &AlertTest, states: &[GroupState]) {
        let mut got = Vec::new();
        for (group, state) in self.groups.iter().zip(states) {
            for (index, rule) in group.rules.iter().enumerate() {
                let is_asked = rule.name == test.alertname && rule.kind == super::RuleKind::Alert;
                let firing = state.alerts(index).filter(|alert| alert.state == AlertState::Firing);
                let firing = firing.filter(|_| is_asked);
                got.extend(firing.map(|alert| (alert.labels.clone(), alert.annotations.clone())));
            }
        }
        let name = ("alertname".to_owned(), test.alertname.clone());
        let mut expected: Vec<(Labels, BTreeMap<String, String>)> = Vec::new();
        for alert in &test.exp_alerts {
            let labels = alert.exp_labels.clone().into_iter().chain([name.clone()]);
            expected.push((Labels::new(labels), alert.exp_annotations.clone()));
        }
        got.sort();
        expected.sort();
        if got != expected {
            let time = written(test.eval_time);
            self.failures.push(format!(
                "alertname: {}, time: {time}\n  exp: {}\n  got: {}",
                test.alertname,
                list(&expected),
                list(&got)
            ));
        }
    }

    fn query(
        &self,
        test: &QueryTest,
        start: Timestamp,
        environment: &Environment<'_>,
    ) -> Result<(), String> {
        let query = Query::parse(&test.expr).map_err(|error| format!("err: {error}"))?;
        let time = Timestamp(start.0.saturating_add(millis(test.eval_time)));
        let answer = query.instant(environment.storage, time, environment.options);
        let mut got = match answer.map_err(|error| format!("err: {error}"))? {
            Answer::Vector(values) => {
                values.into_iter().map(|value| (value.labels, value.value)).collect()
            }
            Answer::Scalar(number) => vec![(Labels::empty(), Value::Float(number))],
            _ => return Err("err: rule result is not a vector or scalar".to_owned()),
        };
        let mut expected = Vec::new();
        for sample in &test.exp_samples {
            let labels = match sample.labels.trim() {
                "" => Labels::empty(),
                text => parse_metric(text)
                    .map_err(|error| format!("labels {:?}: {error}", sample.labels))?,
            };
            let value = match sample.histogram.as_str() {
                "" => Value::Float(sample.value),
                text => Value::Histogram(notation::parse_histogram(text.trim())?.into()),
            };
            expected.push((labels, value));
        }
        got.sort_by(|a, b| a.0.cmp(&b.0));
        expected.sort_by(|a, b| a.0.cmp(&b.0));
        let same =
            |(a, b): (&(Labels, Value), &(Labels, Value))| a.0 == b.0 && self.is_same(&a.1, &b.1);
        if got.len() == expected.len() && got.iter().zip(&expected).all(same) {
            return Ok(());
        }
        Err(format!("\n  exp: {}\n  got: {}", samples(&expected), samples(&got)))
    }

    fn is_same(&self, a: &Value, b: &Value) -> bool {
        match (a, b) {
            (Value::Float(a), Value::Float(b)) => {
                a == b || self.tests.fuzzy_compare && (a.next_up() == *b || a.next_down() == *b)
            }
            (Value::Histogram(a), Value::Histogram(b)) => is_same_histogram(a, b),
            _ => false,
        }
    }
}

fn millis(span: Option<Span>) -> i64 {
    span.map_or(0, Span::millis)
}

fn written(span: Option<Span>) -> String {
    format_duration(span.map_or(Duration::ZERO, |span| span.0))
}

fn list(alerts: &[(Labels, BTreeMap<String, String>)]) -> String {
    let one = |(labels, annotations): &(Labels, BTreeMap<String, String>)| {
        format!("{labels} {annotations:?}")
    };
    format!("[{}]", alerts.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn samples(samples: &[(Labels, Value)]) -> String {
    let one = |(labels, value): &(Labels, Value)| match value {
        Value::Float(number) => format!("{labels} {number}"),
        Value::Histogram(h) => format!("{labels} {}", crate::eval::histogram_text(h)),
    };
    format!("[{}]", samples.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// A time: seconds since 1970, or `2026-01-02T03:04:05Z`.
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.abs() < 1e12).then_some(Timestamp((seconds * 1000.0) as i64));
    }
    let (date, clock) = text.split_once(['T', 't'])?;
    let numbers = |text: &str, sign: char| -> Option<Vec<i64>> {
        text.split(sign).map(|part| part.parse::<i64>().ok()).collect()
    };
    let zone = clock.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = clock.split_at(zone);
    let [year, month, day] = numbers(date, '-')?.try_into().ok()?;
    let (whole, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(whole, ':')?.try_into().ok()?;
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    let shift = match zone {
        "Z" | "z" => 0,
        _ => {
            let [hours, minutes] = numbers(zone.get(1..)?, ':')?.try_into().ok()?;
            let shift = hours.checked_mul(60)?.checked_add(minutes)?;
            if zone.starts_with('-') { -shift } else { shift }
        }
    };
    let in_range =
        (0..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    let in_range = in_range && (0..24).contains(&hour) && (0..60).contains(&minute);
    if !in_range || !(0..=60).contains(&second) || shift.abs() > 24 * 60 {
        return None;
    }
    let minutes = days_since_1970(year, month, day) * 1440 + hour * 60 + minute - shift;
    Some(Timestamp((minutes * 60 + second) * 1000 + (fraction * 1000.0) as i64))
}

#[cfg(test)]
mod tests {
    use model::units::Timestamp;

    use super::{UnitTests, run_unit_tests, time};
    use crate::rules::RuleFile;

    const RULES: &str = "
groups:
  - name: up
    rules:
      - record: job:up:sum
        expr: sum by (job) (up)
      - alert: Down
        expr: job:up:sum == 0
        for: 2m
        keep_firing_for: 2m
        labels: {severity: page}
        annotations: {summary: '{{ $labels.job }} is {{ $value }}'}
";

    #[test]
    fn rules_are_tested() {
        let tests = "
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'up{job=\"a\"}', values: '1 0x3 1x9'}
    alert_rule_test:
      - {eval_time: 2m, alertname: Down}
      - eval_time: 3m
        alertname: Down
        exp_alerts:
          - exp_labels: {severity: page, job: a}
            exp_annotations: {summary: a is 0}
      - eval_time: 6m
        alertname: Down
        exp_alerts:
          - exp_labels: {severity: page, job: a}
            exp_annotations: {summary: a is 0}
      - {eval_time: 7m, alertname: Down}
    promql_expr_test:
      - expr: count(ALERTS{alertstate=\"firing\"})
        eval_time: 4m
        exp_samples: [{labels: '{}', value: 1}]
      - {expr: ALERTS, eval_time: 9m}
";
        let rules = [RuleFile::parse(RULES).unwrap()];
        let tests = UnitTests::parse(tests).unwrap();
        assert_eq!(run_unit_tests(&tests, &rules), Vec::<String>::new());
    }

    #[test]
    fn failures_say_what_there_was() {
        let tests = "
tests:
  - name: wrong
    promql_expr_test:
      - {expr: 1 + 1, eval_time: 1m, exp_samples: [{labels: '{}', value: 3}]}
";
        let tests = UnitTests::parse(tests).unwrap();
        let expected = "wrong: expr: \"1 + 1\", time: 1m, \n  exp: [{} 3]\n  got: [{} 2]";
        assert_eq!(run_unit_tests(&tests, &[]), [expected]);
        assert!(UnitTests::parse("tests: [{x: 1}]").is_err());
    }

    #[test]
    fn times_are_read() {
        assert_eq!(time("1600000000"), Some(Timestamp(1_600_000_000_000)));
        assert_eq!(time("1970-01-02T01:00:00.5+01:00"), Some(Timestamp(86_400_500)));
        assert_eq!(time("1970-13-02T01:00:00Z"), None);
        assert_eq!(time("soon"), None);
    }
}
