//! Prometheus's own test scripts: `promql/promqltest/testdata/*.test`.
//!
//! Every case that we can parse has to give what the script says. What cannot be parsed is
//! counted by reason, and the counts are those of `scripts.txt`: coverage does not fall unseen.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use model::series::{Labels, NativeHistogram, Sample, Value};
use model::units::{Timestamp, parse_duration};
use promql::{Answer, Error, MemoryStorage, Options, Query, SeriesData, notation};
use regex::Regex;

/// What a script expects of one query.
#[derive(Default)]
struct Case {
    line: usize,
    expr: String,
    start: i64,
    end: i64,
    step: i64,
    is_range: bool,
    /// A range is the answer to an instant query.
    gives_range: bool,
    is_ordered: bool,
    fails: bool,
    failure: Option<Expected>,
    text: Option<String>,
    scalar: Option<f64>,
    series: Vec<(Labels, Vec<Option<Value>>)>,
}

enum Expected {
    Text(String),
    Pattern(Regex),
}

#[derive(Default)]
struct Script {
    storage: MemoryStorage,
    /// Why the loaded series are not those of the script.
    spoiled: Option<String>,
    run: usize,
    skipped: BTreeMap<String, usize>,
    failures: Vec<String>,
}

#[test]
fn scripts_of_prometheus_pass() {
    let Some(folder) = super::modules::sources(super::modules::PROMETHEUS) else { return };
    let folder = folder.join("promql/promqltest/testdata");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let (mut summary, mut failures) = (String::new(), Vec::new());
    for file in files.iter().filter(|file| file.extension().is_some_and(|e| e == "test")) {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut script = Script::default();
        script.all(&std::fs::read_to_string(file).unwrap());
        writeln!(summary, "{name}: {} run", script.run).unwrap();
        for (reason, count) in &script.skipped {
            writeln!(summary, "  {count} skipped: {reason}").unwrap();
        }
        failures.extend(script.failures.iter().map(|failure| format!("{name}:{failure}")));
    }
    println!("{summary}");
    assert!(failures.is_empty(), "{} fail:\n{}", failures.len(), failures.join("\n"));
    assert_eq!(summary, include_str!("scripts.txt"), "what is covered has changed");
}

fn millis(text: &str) -> i64 {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |text| (-1, text));
    sign * i64::try_from(parse_duration(text).unwrap().as_millis()).unwrap()
}

impl Script {
    fn all(&mut self, text: &str) {
        let trimmed = text.lines().map(|line| {
            let line = line.trim();
            if line.starts_with('#') { "" } else { line }
        });
        let lines: Vec<&str> = trimmed.collect();
        let instant =
            Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$");
        let range = Regex::new(
            r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$",
        );
        let (instant, range) = (instant.unwrap(), range.unwrap());
        let mut index = 0;
        while index < lines.len() {
            let line = lines[index];
            index += 1;
            let body: Vec<&str> =
                lines[index..].iter().take_while(|line| !line.is_empty()).copied().collect();
            if line.is_empty() {
                continue;
            }
            if line.starts_with("clear") {
                (self.storage, self.spoiled) = (MemoryStorage::default(), None);
                continue;
            }
            if line.starts_with("load") {
                self.load(line, &body);
                index += body.len();
                continue;
            }
            let mut case = if let Some(parts) = instant.captures(line) {
                let start = parts.get(2).map_or(0, |at| millis(at.as_str()));
                Case { start, end: start, expr: parts[3].to_owned(), ..Case::default() }
            } else {
                let parts = range.captures(line).unwrap();
                let [start, end, step] = [2, 3, 4].map(|part| millis(&parts[part]));
                Case {
                    start,
                    end,
                    step,
                    is_range: true,
                    expr: parts[5].to_owned(),
                    ..Case::default()
                }
            };
            case.line = index;
            case.is_ordered = line.starts_with("eval_ordered");
            case.fails = line.starts_with("eval_fail");
            index += case.expectations(&body);
            self.evaluate(&case);
        }
    }

    fn load(&mut self, line: &str, body: &[&str]) {
        let mut parts = Parts::default();
        let (command, step) = line.split_once(char::is_whitespace).unwrap();
        let step = millis(step.trim());
        for line in body {
            if line.split_whitespace().next().is_some_and(|metric| metric.ends_with("@st")) {
                self.spoiled = Some("start timestamps".to_owned());
                continue;
            }
            if line.contains("counter_reset_hint:reset")
                || line.contains("counter_reset_hint:not_reset")
            {
                self.spoiled = Some("hints about resets of histograms".to_owned());
            }
            let (labels, values) = parse_series(line).unwrap();
            for (index, value) in (0_i64..).zip(values) {
                let Some(value) = value else { continue };
                let time = Timestamp(index * step);
                if let (true, Value::Float(number)) = (command == "load_with_nhcb", &value) {
                    parts.add(&labels, time, *number);
                }
                self.storage.add(&labels, Sample { time, value });
            }
        }
        for (labels, sample) in parts.histograms() {
            self.storage.add(&labels, sample);
        }
    }

    fn evaluate(&mut self, case: &Case) {
        let mut skip = |reason: &str| *self.skipped.entry(reason.to_owned()).or_default() += 1;
        let query = match Query::parse(&case.expr) {
            Err(Error::Unsupported { what, .. }) => return skip(&what),
            Err(error) => {
                if let Err(failure) = case.check_failure(&error.to_string()) {
                    self.failures.push(format!("{}: {}: {failure}", case.line, case.expr));
                }
                self.run += 1;
                return;
            }
            Ok(query) => query,
        };
        if let Some(reason) = &self.spoiled {
            return skip(reason);
        }
        self.run += 1;
        let mut checked = case.check(&query, &self.storage);
        // What these give is not the same in a range query.
        let asks_for_range = ["start()", "end()", "step()", "range()"];
        let asks_for_range = asks_for_range.iter().any(|call| case.expr.contains(call));
        let again = !case.is_range && !case.fails && !case.is_ordered && !asks_for_range;
        if checked.is_ok() && again && query.is_instant() {
            checked = case.check_in_range(&query, &self.storage);
        }
        if let Err(failure) = checked {
            self.failures.push(format!("{}: {}: {failure}", case.line, case.expr));
        }
    }
}

/// Series of classic histograms, of which native ones with custom buckets are made.
#[derive(Default)]
struct Parts {
    /// Buckets by bound, count and sum of each histogram at each time.
    found: BTreeMap<(Labels, Timestamp), Part>,
}

#[derive(Default)]
struct Part {
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Parts {
    fn add(&mut self, labels: &Labels, time: Timestamp, number: f64) {
        let name = labels.name().to_owned();
        for suffix in ["_bucket", "_count", "_sum"] {
            let Some(base) = name.strip_suffix(suffix) else { continue };
            let bound =
                labels.get("le").and_then(|le| le.replace("+Inf", "inf").parse::<f64>().ok());
            let key = labels.with([("__name__", base), ("le", "")]);
            let part = self.found.entry((key, time)).or_default();
            match (suffix, bound) {
                ("_bucket", Some(bound)) => part.buckets.push((bound, number)),
                ("_count", _) => part.count = Some(number),
                ("_sum", _) => part.sum = number,
                _ => {}
            }
        }
    }

    fn histograms(self) -> impl Iterator<Item = (Labels, Sample)> {
        self.found.into_iter().filter(|(_, part)| !part.buckets.is_empty()).map(
            |((labels, time), part)| {
                let mut buckets = part.buckets;
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                let last = buckets.last().map_or(0.0, |bucket| bucket.1);
                let count = part.count.unwrap_or(last);
                if buckets.last().is_some_and(|bucket| bucket.0 != f64::INFINITY) {
                    buckets.push((f64::INFINITY, count));
                }
                let mut before = 0.0;
                let mut positive = Vec::new();
                for (index, (_, total)) in (0_i32..).zip(&buckets) {
                    if *total != before {
                        positive.push((index, total - before));
                    }
                    before = *total;
                }
                buckets.pop();
                let bounds = buckets.iter().map(|bucket| bucket.0).collect();
                let (schema, sum) = (-53, part.sum);
                let h = NativeHistogram {
                    schema,
                    sum,
                    count,
                    positive,
                    bounds,
                    ..NativeHistogram::default()
                };
                (labels, Sample { time, value: Value::Histogram(h.into()) })
            },
        )
    }
}

fn options() -> Options<'static> {
    Options { delayed_name_removal: true, ..Options::default() }
}

impl Case {
    /// Takes the lines below a command; returns how many those were.
    fn expectations(&mut self, body: &[&str]) -> usize {
        let within =
            Regex::new(r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$").unwrap();
        for (index, line) in body.iter().enumerate() {
            if let Some(message) = line.strip_prefix("expected_fail_message") {
                self.failure = Some(Expected::Text(message.trim().to_owned()));
                return index + 1;
            }
            if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
                self.failure = Some(Expected::Pattern(Regex::new(pattern.trim()).unwrap()));
                return index + 1;
            }
            if let Some(parts) = within.captures(line) {
                [self.start, self.end, self.step] = [1, 2, 3].map(|part| millis(&parts[part]));
                self.gives_range = true;
            } else if let Some(text) = line.strip_prefix("expect string ") {
                let quoted: String = serde_json::from_str(text)
                    .unwrap_or_else(|_| text.trim_matches(['`', '\'']).to_owned());
                self.text = Some(quoted);
            } else if let Some(rest) = line.strip_prefix("expect ") {
                let (what, detail) = rest.split_once(' ').unwrap_or((rest, ""));
                match what {
                    "ordered" => self.is_ordered = true,
                    "fail" => {
                        self.fails = true;
                        let detail = detail.trim();
                        if let Some(message) = detail.strip_prefix("msg:") {
                            self.failure = Some(Expected::Text(message.trim().to_owned()));
                        } else if let Some(pattern) = detail.strip_prefix("regex:") {
                            self.failure =
                                Some(Expected::Pattern(Regex::new(pattern.trim()).unwrap()));
                        }
                    }
                    // Warnings have no say in the result, and we give none.
                    _ => {}
                }
            } else if let Ok(values) = notation::parse_values(line)
                && let [Some(Value::Float(number))] = values.as_slice()
            {
                self.scalar = Some(*number);
                return index + 1;
            } else {
                self.series.push(parse_series(line).unwrap());
            }
        }
        body.len()
    }

    fn check_failure(&self, error: &str) -> Result<(), String> {
        let matches = match &self.failure {
            None => true,
            Some(Expected::Text(text)) => error == text,
            Some(Expected::Pattern(pattern)) => pattern.is_match(error),
        };
        match &self.failure {
            _ if !self.fails => Err(format!("fails: {error}")),
            Some(Expected::Text(text)) if !matches => {
                Err(format!("fails with {error}, expected {text}"))
            }
            Some(Expected::Pattern(text)) if !matches => {
                Err(format!("fails with {error}, expected {text}"))
            }
            _ => Ok(()),
        }
    }

    fn check(&self, query: &Query, storage: &MemoryStorage) -> Result<(), String> {
        let answer = if self.is_range {
            let step = Duration::from_millis(self.step.unsigned_abs());
            let (start, end) = (Timestamp(self.start), Timestamp(self.end));
            query.range(storage, start, end, step, &options()).map(Answer::Matrix)
        } else {
            query.instant(storage, Timestamp(self.end), &options())
        };
        let answer = match answer {
            Err(error) => return self.check_failure(&error.to_string()),
            Ok(_) if self.fails => return Err("does not fail".to_owned()),
            Ok(answer) => answer,
        };
        match answer {
            Answer::Matrix(series) => self.check_series(&series),
            Answer::Text(text) if self.text.as_ref() == Some(&text) => Ok(()),
            Answer::Text(text) => Err(format!("gives {text:?}")),
            Answer::Scalar(number) => match self.scalar {
                Some(expected) if near(expected, number) => Ok(()),
                _ => Err(format!("gives {number}, expected {:?}", self.scalar)),
            },
            Answer::Vector(values) => {
                let values: Vec<(Labels, Value)> =
                    values.into_iter().map(|v| (v.labels, v.value)).collect();
                self.check_vector(&values)
            }
        }
    }

    fn check_vector(&self, values: &[(Labels, Value)]) -> Result<(), String> {
        let shown = || {
            values
                .iter()
                .map(|(labels, value)| format!("\n    {labels} {value:?}"))
                .collect::<String>()
        };
        if self.scalar.is_some() || values.len() != self.series.len() {
            return Err(format!("gives{}", shown()));
        }
        for (position, (labels, value)) in values.iter().enumerate() {
            let found = self.series.iter().position(|(known, _)| known == labels);
            let same = found.is_some_and(|found| {
                (!self.is_ordered || found == position)
                    && self.series[found].1.first().is_some_and(|expected| {
                        expected.as_ref().is_some_and(|expected| is_same(expected, value))
                    })
            });
            if !same {
                return Err(format!("has {labels} {value:?} at {position}; gives{}", shown()));
            }
        }
        Ok(())
    }

    fn check_series(&self, series: &[SeriesData]) -> Result<(), String> {
        for SeriesData { labels, samples } in series {
            let Some((_, expected)) = self.series.iter().find(|(known, _)| known == labels) else {
                return Err(format!("has {labels} {samples:?}"));
            };
            let expected = (0_i64..).zip(expected).filter_map(|(index, value)| {
                value.as_ref().map(|value| (self.start + index * self.step, value))
            });
            let expected: Vec<_> = expected.collect();
            let same = expected.len() == samples.len()
                && expected.iter().zip(samples).all(|((time, expected), sample)| {
                    *time == sample.time.0 && is_same(expected, &sample.value)
                });
            if !same {
                return Err(format!("{labels} is {samples:?}\n    expected {expected:?}"));
            }
        }
        if series.len() != self.series.len() {
            return Err(format!("gives {} series, expected {}", series.len(), self.series.len()));
        }
        Ok(())
    }

    /// The same in the middle of a range query.
    fn check_in_range(&self, query: &Query, storage: &MemoryStorage) -> Result<(), String> {
        let (start, end) = (Timestamp(self.end - 60_000), Timestamp(self.end + 60_000));
        let all = query.range(storage, start, end, Duration::from_secs(60), &options());
        let Ok(all) = all else {
            // Other steps may fail where this one does not.
            return Ok(());
        };
        let here = all.into_iter().filter_map(|series| {
            let sample = series.samples.into_iter().find(|sample| sample.time.0 == self.end);
            sample.map(|sample| (series.labels, sample.value))
        });
        let here: Vec<(Labels, Value)> = here.collect();
        match (self.scalar, here.as_slice()) {
            (Some(expected), [(_, Value::Float(number))]) if near(expected, *number) => Ok(()),
            (Some(_), _) => Err(format!("in a range: {here:?}")),
            (None, _) => self.check_vector(&here).map_err(|error| format!("in a range: {error}")),
        }
    }
}

/// Equal but for rounding, as the scripts are compared.
fn near(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() || a == b {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < 1e-6 * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < 1e-6
}

fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => near(*a, *b),
        (Value::Histogram(a), Value::Histogram(b)) => is_same_histogram(a, b),
        _ => false,
    }
}

fn is_same_histogram(a: &NativeHistogram, b: &NativeHistogram) -> bool {
    let side = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
    };
    a.schema == b.schema
        && near(a.count, b.count)
        && near(a.sum, b.sum)
        && a.bounds == b.bounds
        && a.zero_threshold == b.zero_threshold
        && near(a.zero_count, b.zero_count)
        && side(&a.positive, &b.positive)
        && side(&a.negative, &b.negative)
}

/// Reads a series with its values; `None` is a gap.
fn parse_series(text: &str) -> Result<(Labels, Vec<Option<Value>>), String> {
    let (metric, values) = split_metric(text)?;
    let labels = promql::parse_metric(metric).map_err(|error| error.to_string())?;
    Ok((labels, notation::parse_values(values)?))
}

/// The name with its labels, and what follows.
fn split_metric(text: &str) -> Result<(&str, &str), String> {
    let text = text.trim();
    let name = text.find(|c: char| c == '{' || c.is_whitespace()).unwrap_or(text.len());
    let rest = text.get(name..).unwrap_or_default();
    if !rest.starts_with('{') || rest.starts_with("{{") {
        return Ok(text.split_at(name));
    }
    let mut quote = None;
    let mut escaped = false;
    for (index, c) in rest.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '}') => return Ok(text.split_at(name + index + 1)),
            _ => {}
        }
    }
    Err(format!("the labels of {text:?} do not end"))
}
