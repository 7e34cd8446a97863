//! Unit tests of rules: series written as in promtool's tests, what is expected at which time.
//!
//! ```yaml
//! rule_files: [rules.yaml]
//! tests:
//!   - name: climbs to its limit
//!     interval: 10s
//!     series:
//!       limit_bytes: 1GiB
//!       cgroup_working_set_bytes: 500MiB+20MiBx30
//!     expect:
//!       - {at: 1m, rule: near-limit, state: inactive, reason: "did not fire"}
//!     firings: {near-limit: [2m50s]}
//! ```

use std::collections::BTreeMap;

use model::{
    Finding, FindingKind, Observation, PressureLine, Target, TargetId, TargetSpec, Timestamp,
};
use serde::Deserialize;

use super::config::{Fault, Placed, RuleConfig, Text, read};
use super::engine::{Decision, DecisionKind, Engine, Event, Input};
use super::rule::{Rule, TargetInfo};
use super::signals::nearest;
use super::state::{Phase, Saved};
use super::units::{Amount, parse_amount, parse_millis, show_millis};

/// Samples of all series of a test.
const SAMPLES_MAX: usize = 1_000_000;
/// Tests begin here: a time that is not 0, as no real one is.
const START: i64 = 1_000_000_000_000;

/// A file of tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Files of rules, as seen from this file.
    #[serde(default)]
    pub rule_files: Vec<Text>,
    /// Rules that stand here.
    #[serde(default)]
    pub rules: Vec<Placed<RuleConfig>>,
    /// Test the rules that come with memsight.
    #[serde(default)]
    pub defaults: bool,
    /// The tests.
    pub tests: Vec<Placed<CaseConfig>>,
}

/// A test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseConfig {
    /// What it shows.
    pub name: String,
    /// The target.
    #[serde(default)]
    target: TargetConfig,
    /// Time between samples; 10 s without it.
    interval: Option<Text>,
    /// Values of columns of the observation.
    #[serde(default)]
    series: BTreeMap<String, Text>,
    /// What happens.
    #[serde(default)]
    events: Vec<EventConfig>,
    /// What the diagnosis finds; it stays until the next ones.
    #[serde(default)]
    findings: Vec<FindingAt>,
    /// States at times.
    #[serde(default)]
    expect: Vec<Placed<Expectation>>,
    /// All times at which these rules act; `{}` when none may act at all.
    firings: Option<BTreeMap<String, Vec<Text>>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetConfig {
    #[serde(default)]
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    command: String,
    #[serde(default)]
    cgroup: String,
    #[serde(default)]
    unit: String,
    #[serde(default)]
    container: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventConfig {
    at: Text,
    event: Text,
    rule: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FindingAt {
    at: Text,
    kind: Text,
    confidence: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expectation {
    at: Text,
    rule: Text,
    state: Option<Text>,
    reason: Option<Text>,
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The test's name.
    pub name: String,
    /// Its line.
    pub line: u32,
    /// What was not as expected, with places.
    pub failures: Vec<Fault>,
}

/// Reads a file of tests.
///
/// # Errors
/// What is wrong with its form.
pub fn parse_cases(text: &str) -> Result<CaseFile, Fault> {
    read(text)
}

/// Runs a test with these rules.
pub fn run_case(case: &Placed<CaseConfig>, rules: &[Rule]) -> CaseResult {
    let failures = match Case::new(&case.value) {
        Ok(ready) => ready.run(rules),
        Err(faults) => faults,
    };
    CaseResult { name: case.value.name.clone(), line: case.line, failures }
}

/// A test with its texts read.
struct Case<'a> {
    config: &'a CaseConfig,
    info: TargetInfo,
    interval: i64,
    steps: usize,
    series: Vec<(Setter, Vec<Option<f64>>)>,
    events: Vec<(i64, Event)>,
    findings: Vec<(i64, Finding)>,
}

impl<'a> Case<'a> {
    fn new(config: &'a CaseConfig) -> Result<Case<'a>, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut millis = |text: &Text| {
            parse_millis(&text.value).unwrap_or_else(|why| {
                faults.push(Fault::at(text, why));
                0
            })
        };
        let interval = config.interval.as_ref().map_or(10_000, &mut millis).max(1);
        let times: Vec<i64> = config.events.iter().map(|event| millis(&event.at)).collect();
        let finding_times: Vec<i64> = config.findings.iter().map(|f| millis(&f.at)).collect();
        let last = config.expect.iter().map(|expectation| millis(&expectation.value.at)).max();
        let last = times.iter().chain(&finding_times).copied().chain(last).max().unwrap_or(0);
        let mut series = Vec::new();
        let mut constants = Vec::new();
        let mut left = SAMPLES_MAX;
        for (name, text) in &config.series {
            let setter = setter(name);
            match setter.and_then(|setter| Ok((setter, values(&text.value, left)?))) {
                Ok((setter, Values::Constant(value))) => constants.push((setter, value)),
                Ok((setter, Values::Listed(values))) => {
                    left -= values.len();
                    series.push((setter, values));
                }
                Err(why) => faults.push(Fault::at(text, why)),
            }
        }
        let longest = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
        let steps = longest.max(usize::try_from(last / interval).unwrap_or(0) + 1);
        if steps.saturating_mul(config.series.len().max(1)) > SAMPLES_MAX {
            faults.push(Fault {
                line: 0,
                column: 0,
                text: format!("{steps} steps are more than a test may have"),
            });
        }
        let mut events = Vec::new();
        for (event, at) in config.events.iter().zip(times) {
            match event_of(event) {
                Ok(event) => events.push((at, event)),
                Err(why) => faults.push(Fault::at(&event.event, why)),
            }
        }
        let mut findings = Vec::new();
        for (found, at) in config.findings.iter().zip(finding_times) {
            match FindingKind::parse(&found.kind.value) {
                Some(kind) => {
                    findings.push((at, Finding::new(kind, found.confidence, String::new(), "")));
                }
                None => faults.push(Fault::at(&found.kind, "there is no such finding")),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let constants = constants.into_iter().map(|(setter, value)| (setter, vec![value; steps]));
        series.extend(constants);
        let info = config.target.info();
        Ok(Case { config, info, interval, steps, series, events, findings })
    }

    fn run(&self, rules: &[Rule]) -> Vec<Fault> {
        let mut engine = Engine::new(rules.to_vec(), Saved::default());
        let mut decisions = Vec::new();
        let mut failures = Vec::new();
        for step in 0..self.steps {
            let at = self.interval.saturating_mul(i64::try_from(step).unwrap_or(i64::MAX));
            let now = Timestamp(START + at);
            decisions.extend(self.step(&mut engine, step, at));
            // What is expected between two steps is looked at after the first of them.
            for expectation in &self.config.expect {
                let asked = parse_millis(&expectation.value.at.value).unwrap_or(0);
                if (at..at + self.interval).contains(&asked) {
                    failures.extend(self.compare(&engine, now, expectation));
                }
            }
        }
        failures.extend(self.compare_firings(&decisions, rules));
        failures
    }

    fn step(&self, engine: &mut Engine, step: usize, at: i64) -> Vec<Decision> {
        let now = Timestamp(START + at);
        let mut observation = Observation { time: now, ..Observation::default() };
        let mut cgroup_pressure = None;
        for (setter, values) in &self.series {
            if let Some(value) = values.get(step).copied().flatten() {
                match setter {
                    Setter::Column(set) => set(&mut observation, value as i64),
                    Setter::Pressure { is_cgroup: true, set } => {
                        set(cgroup_pressure.get_or_insert_default(), value);
                    }
                    Setter::Pressure { set, .. } => set(&mut observation.pressure, value),
                }
            }
        }
        let is_now = |time: i64| (at..at + self.interval).contains(&time);
        let events = self.events.iter().filter(|(time, _)| is_now(*time));
        let events: Vec<Event> = events.map(|(_, event)| event.clone()).collect();
        let findings = self.findings.iter().filter(|(time, _)| is_now(*time));
        let findings: Vec<Finding> = findings.map(|(_, finding)| finding.clone()).collect();
        let input = Input {
            observation: Some(&observation),
            cgroup_pressure,
            findings: (!findings.is_empty()).then_some(findings.as_slice()),
            events: &events,
        };
        engine.step(now, &self.info, &input)
    }

    fn compare(
        &self,
        engine: &Engine,
        now: Timestamp,
        place: &Placed<Expectation>,
    ) -> Option<Fault> {
        let expected = &place.value;
        let views = engine.view(now, self.info.id);
        let Some(view) = views.iter().find(|view| view.rule == expected.rule.value) else {
            let names = views.iter().map(|view| view.rule.as_str());
            let meant =
                nearest(&expected.rule.value, names).map(|name| format!("; did you mean {name}?"));
            let why =
                format!("there is no rule {:?}{}", expected.rule.value, meant.unwrap_or_default());
            return Some(Fault::at(&expected.rule, why));
        };
        if let Some(state) = &expected.state {
            let Some(phase) = Phase::parse(&state.value) else {
                let words = Phase::ALL.map(Phase::as_str).join(", ");
                return Some(Fault::at(state, format!("{:?} is none of {words}", state.value)));
            };
            if phase != view.phase {
                let why = format!(
                    "at {} {} is {}, {} was expected: {}",
                    expected.at.value,
                    view.rule,
                    view.phase.as_str(),
                    state.value,
                    view.reason
                );
                return Some(Fault::at(place, why));
            }
        }
        let reason = expected.reason.as_ref()?;
        (!view.reason.contains(&reason.value)).then(|| {
            let why = format!(
                "at {} {}: {:?} does not say {:?}",
                expected.at.value, view.rule, view.reason, reason.value
            );
            Fault::at(place, why)
        })
    }

    fn compare_firings(&self, decisions: &[Decision], rules: &[Rule]) -> Vec<Fault> {
        let Some(expected) = &self.config.firings else { return Vec::new() };
        let mut failures = Vec::new();
        let is_asked = |rule: &&Rule| expected.is_empty() || expected.contains_key(&rule.name);
        for rule in rules.iter().filter(is_asked) {
            let fired = decisions.iter().filter(|decision| {
                decision.kind == DecisionKind::Fire && decision.rule.name == rule.name
            });
            let fired: Vec<i64> = fired.map(|decision| decision.time.0 - START).collect();
            let texts = expected.get(&rule.name).map_or(&[][..], Vec::as_slice);
            let times: Result<Vec<i64>, Fault> = texts
                .iter()
                .map(|text| parse_millis(&text.value).map_err(|why| Fault::at(text, why)))
                .collect();
            match times {
                Ok(times) if times == fired => {}
                Ok(_) => {
                    let list: Vec<String> = fired.iter().map(|at| show_millis(*at)).collect();
                    let words: Vec<&str> = texts.iter().map(|text| text.value.as_str()).collect();
                    let text = format!(
                        "{} acted at [{}], [{}] was expected",
                        rule.name,
                        list.join(", "),
                        words.join(", ")
                    );
                    let place = texts.first().map(|text| (text.line, text.column));
                    let (line, column) = place.unwrap_or_default();
                    failures.push(Fault { line, column, text });
                }
                Err(fault) => failures.push(fault),
            }
        }
        for name in expected.keys().filter(|name| !rules.iter().any(|rule| rule.name == **name)) {
            failures.push(Fault { line: 0, column: 0, text: format!("there is no rule {name:?}") });
        }
        failures
    }
}

impl TargetConfig {
    fn info(&self) -> TargetInfo {
        let name = if self.name.is_empty() { "target" } else { self.name.as_str() };
        let target = Target {
            name: name.to_owned(),
            spec: TargetSpec::Pid(1),
            pid: Some(1),
            labels: self.labels.clone(),
        };
        TargetInfo {
            command: self.command.clone(),
            cgroup: self.cgroup.clone(),
            unit: self.unit.clone(),
            container: self.container.clone(),
            ..TargetInfo::new(TargetId(1), target)
        }
    }
}

fn event_of(config: &EventConfig) -> Result<Event, String> {
    match (config.event.value.as_str(), &config.rule) {
        ("oom-kill", None) => Ok(Event::OomKill(1)),
        ("limit-hit", None) => Ok(Event::LimitHit(1)),
        ("signal", None) => Ok(Event::Signal),
        ("call", Some(rule)) => Ok(Event::Call(rule.clone())),
        _ => Err("an event is oom-kill, limit-hit, signal, or call with a rule".to_owned()),
    }
}

/// How a value gets into an observation.
enum Setter {
    Column(fn(&mut Observation, i64)),
    Pressure { is_cgroup: bool, set: SetPressure },
}

type SetPressure = Box<dyn Fn(&mut model::Pressure, f64)>;

/// The setter of a series' name: a column, or `[cgroup_]pressure_some_avg10`.
fn setter(name: &str) -> Result<Setter, String> {
    if let Some(field) = store::fields().iter().find(|field| field.name == name) {
        return Ok(Setter::Column(field.set));
    }
    let (rest, is_cgroup) = match name.strip_prefix("cgroup_") {
        Some(rest) => (rest, true),
        None => (name, false),
    };
    let parts: Vec<&str> = rest.split('_').collect();
    let (is_full, window) = match parts.as_slice() {
        ["pressure", "some", window] => (false, (*window).to_owned()),
        ["pressure", "full", window] => (true, (*window).to_owned()),
        _ => (false, String::new()),
    };
    if !["avg10", "avg60", "avg300"].contains(&window.as_str()) {
        let meant = nearest(name, store::fields().iter().map(|field| field.name));
        let meant = meant.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
        return Err(format!("there is no column {name:?}{meant}"));
    }
    let set = move |pressure: &mut model::Pressure, value: f64| {
        let line = if is_full { &mut pressure.full } else { &mut pressure.some };
        let line = line.get_or_insert_with(PressureLine::default);
        match window.as_str() {
            "avg10" => line.avg10 = value,
            "avg60" => line.avg60 = value,
            _ => line.avg300 = value,
        }
    };
    Ok(Setter::Pressure { is_cgroup, set: Box::new(set) })
}

/// The values of a series.
#[derive(Debug, PartialEq)]
enum Values {
    /// One for the whole test.
    Constant(Option<f64>),
    /// One a step; nothing after the last.
    Listed(Vec<Option<f64>>),
}

/// `100MiB+10MiBx30 _x3 5 7`: as in promtool's tests, with units; at most so many.
fn values(text: &str, at_most: usize) -> Result<Values, String> {
    let mut all = Vec::new();
    let mut has_count = false;
    for item in text.split_whitespace() {
        let (body, more) = match item.rsplit_once('x') {
            Some((body, count)) => {
                has_count = true;
                (body, count.parse::<usize>().ok().filter(|count| *count < SAMPLES_MAX))
            }
            None => (item, Some(0)),
        };
        let expected = || format!("{item:?}: write values as 5, _, 1GiBx30 or 100MiB+10MiBx30");
        let more = more.ok_or_else(expected)?;
        if all.len() + more >= at_most {
            return Err(format!("more than {SAMPLES_MAX} samples in all series together"));
        }
        if body == "_" {
            all.extend(std::iter::repeat_n(None, more + 1));
            continue;
        }
        let sign = body.bytes().skip(1).position(|byte| byte == b'+' || byte == b'-');
        let (start, step) = match sign {
            Some(at) => body.split_at(at + 1),
            None => (body, "+0"),
        };
        let step = match step.strip_prefix('-') {
            Some(step) => -number(step).ok_or_else(expected)?,
            None => number(step.trim_start_matches('+')).ok_or_else(expected)?,
        };
        let start = match start.strip_prefix('-') {
            Some(start) => -number(start).ok_or_else(expected)?,
            None => number(start).ok_or_else(expected)?,
        };
        all.extend((0..=more).map(|index| Some(start + step * index as f64)));
    }
    match all.as_slice() {
        [] => Err("there are no values in it".to_owned()),
        [only] if !has_count => Ok(Values::Constant(*only)),
        _ => Ok(Values::Listed(all)),
    }
}

fn number(text: &str) -> Option<f64> {
    match parse_amount(text).ok()? {
        Amount::Bytes(value) | Amount::Percent(value) | Amount::Plain(value) => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_as_for_promtool() {
        let check = |text: &str, expected: &[f64]| {
            let expected = expected.iter().map(|value| Some(*value)).collect();
            assert_eq!(values(text, 100), Ok(Values::Listed(expected)), "{text}");
        };
        check("0+10x3", &[0.0, 10.0, 20.0, 30.0]);
        check("5-2x2 7", &[5.0, 3.0, 1.0, 7.0]);
        check("-1x1", &[-1.0, -1.0]);
        check("1KiB+1KiBx1", &[1024.0, 2048.0]);
        assert_eq!(values("7", 100), Ok(Values::Constant(Some(7.0))));
        assert_eq!(values("_x1 4", 100), Ok(Values::Listed(vec![None, None, Some(4.0)])));
        for bad in ["", "x", "5x", "5xy", "a+1x2", "1x99999999", "1x100", "+", "1+x2"] {
            assert!(values(bad, 100).is_err(), "{bad}");
        }
    }
}
