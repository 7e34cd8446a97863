//! Metrics that are read again and again: what changed, how fast, and how that went.

use std::collections::{BTreeMap, VecDeque};

use analyze::metrics::{added, count, quantile};
use model::metrics::{Histogram, Metric, MetricSample, MetricValue};
use model::{Bytes, RuntimeMetrics, Target};

use super::{headline, levels, shown, upper};
use crate::paint::Paint;
use crate::quantity;

/// Readings that a row's drawing goes back.
const HISTORY: usize = 30;
const NAME_WIDTH: usize = 44;
const VALUE_WIDTH: usize = 14;
const CHANGE_WIDTH: usize = 26;
/// What is shown first where not all fits.
const FIRST: [&str; 16] = [
    "/cpu/classes/gc/total:cpu-seconds",
    "/gc/cycles/total:gc-cycles",
    "/gc/heap/allocs:bytes",
    "/gc/heap/allocs:objects",
    "/gc/heap/goal:bytes",
    "/gc/heap/live:bytes",
    "/gc/heap/objects:objects",
    "/memory/classes/heap/objects:bytes",
    "/memory/classes/heap/released:bytes",
    "/memory/classes/heap/stacks:bytes",
    "/memory/classes/total:bytes",
    "/sched/goroutines/runnable:goroutines",
    "/sched/goroutines:goroutines",
    "/sched/latencies:seconds",
    "/sched/pauses/total/gc:seconds",
    "/sync/mutex/wait/total:seconds",
];
const CPU_CLASSES: &str = "/cpu/classes/";
const CPU_TOTAL: &str = "/cpu/classes/total:cpu-seconds";

/// Lines of a screen that are no rows: three above, one below.
const OTHER_LINES: usize = 4;

/// The size of a terminal.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Lines.
    pub rows: usize,
    /// Cells of a line.
    pub columns: usize,
}

/// What was read so far.
#[derive(Debug, Default)]
pub struct Live {
    metrics: RuntimeMetrics,
    /// When it was read, in seconds of any clock that only goes forward.
    at: f64,
    changes: BTreeMap<&'static str, String>,
    history: BTreeMap<&'static str, VecDeque<f64>>,
}

impl Live {
    /// Takes a reading in; `at` is its time in seconds of one clock.
    pub fn add(&mut self, at: f64, metrics: RuntimeMetrics) {
        let seconds = at - self.at;
        let earlier = std::mem::replace(&mut self.metrics, metrics);
        self.at = at;
        let cpu_seconds = cpu_total(&self.metrics) - cpu_total(&earlier);
        for sample in &self.metrics.samples {
            let name = sample.metric.name;
            let Some(before) = earlier.get(name) else { continue };
            let (text, drawn) = if name.starts_with(CPU_CLASSES) {
                // The runtime adds these up at the end of a collection: until the next one
                // the shares stay.
                match share(sample, before, cpu_seconds) {
                    Some(share) => share,
                    None => continue,
                }
            } else {
                change(sample, before, seconds)
            };
            self.changes.insert(name, text);
            let history = self.history.entry(name).or_default();
            if let (true, MetricValue::Unsigned(before)) = (history.is_empty(), before)
                && !sample.metric.is_cumulative
            {
                history.push_back(*before as f64);
            }
            history.push_back(drawn);
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
    }

    /// The screen's lines without their ends. Metrics that change come first where not all
    /// fit; `hint` is the second line.
    pub fn frame(&self, target: &Target, hint: &str, screen: Screen, paint: Paint) -> Vec<String> {
        let fit = screen.rows.saturating_sub(OTHER_LINES).max(1);
        let samples = &self.metrics.samples;
        let mut chosen: Vec<usize> = (0..samples.len()).collect();
        chosen.sort_by_key(|index| {
            let metric = samples[*index].metric;
            let is_lively = self.is_lively(metric);
            (!(is_lively && FIRST.contains(&metric.name)), !is_lively)
        });
        chosen.truncate(fit);
        chosen.sort_unstable();
        let plain = headline(&self.metrics, target, Paint(false));
        let mut lines = vec![paint.bold(&cut(plain.lines().next().unwrap_or(""), screen))];
        lines.push(paint.dim(&cut(hint, screen)));
        lines.push(String::new());
        for index in chosen {
            let sample = &samples[index];
            let line = cut(&self.row(sample), screen);
            let is_moving = self.changes.get(sample.metric.name).is_some_and(|c| !c.is_empty());
            lines.push(if is_moving { line } else { paint.dim(&line) });
        }
        if samples.len() > fit {
            let hidden = format!("{} more; name some to see those", samples.len() - fit);
            lines.push(paint.dim(&cut(&hidden, screen)));
        }
        lines
    }

    /// All metrics, one a line, for output that goes on.
    pub fn lines(&self) -> String {
        let rows = self
            .metrics
            .samples
            .iter()
            .map(|sample| self.columns(sample).trim_end().to_owned() + "\n");
        rows.collect()
    }

    fn is_lively(&self, metric: &Metric) -> bool {
        let history = self.history.get(metric.name);
        history.is_some_and(|history| {
            let is_still = |value: &f64| {
                if metric.is_cumulative { *value == 0.0 } else { *value == history[0] }
            };
            !history.iter().all(is_still)
        })
    }

    fn columns(&self, sample: &MetricSample) -> String {
        let change = self.changes.get(sample.metric.name).map_or("", String::as_str);
        let value = shown(sample.metric, &sample.value);
        format!("{:NAME_WIDTH$} {value:>VALUE_WIDTH$}  {change:<CHANGE_WIDTH$}", sample.metric.name)
    }

    fn row(&self, sample: &MetricSample) -> String {
        let drawn: Vec<f64> = match self.history.get(sample.metric.name) {
            Some(history) if sample.metric.is_cumulative => history.iter().copied().collect(),
            Some(history) => from_least(history),
            None => Vec::new(),
        };
        format!("{} {}", self.columns(sample), levels(&drawn))
    }
}

/// Values that go up and down from a little below the least of them; nothing when all are equal.
fn from_least(values: &VecDeque<f64>) -> Vec<f64> {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if least >= greatest {
        return Vec::new();
    }
    values.iter().map(|value| value - least + (greatest - least) / 8.0).collect()
}

/// What changed, in words, and the value to draw: of what only grows its rate.
fn change(sample: &MetricSample, before: &MetricValue, seconds: f64) -> (String, f64) {
    let metric = sample.metric;
    let rate = |grown: f64| if seconds > 0.0 { grown / seconds } else { 0.0 };
    match (&sample.value, before) {
        (MetricValue::Histogram(now), MetricValue::Histogram(before)) => {
            let Some(added) = added(now, before) else { return (String::new(), 0.0) };
            let per_second = rate(count(&added) as f64);
            (of_interval(&added, per_second, metric.unit()), per_second)
        }
        (MetricValue::Unsigned(now), MetricValue::Unsigned(before)) => {
            let grown = *now as f64 - *before as f64;
            match metric.is_cumulative {
                true => (per_second(rate(grown), metric.unit()), rate(grown).max(0.0)),
                false => (difference(*now, *before, metric.unit()), *now as f64),
            }
        }
        (MetricValue::Float(now), MetricValue::Float(before)) => {
            let rate = rate(now - before);
            (if rate > 0.0 { format!("{rate:.3} s/s") } else { String::new() }, rate.max(0.0))
        }
        _ => (String::new(), 0.0),
    }
}

fn cpu_total(metrics: &RuntimeMetrics) -> f64 {
    match metrics.get(CPU_TOTAL) {
        Some(MetricValue::Float(seconds)) => *seconds,
        _ => 0.0,
    }
}

/// The share of a class in the CPU time that was added; `None` where none was.
fn share(sample: &MetricSample, before: &MetricValue, added: f64) -> Option<(String, f64)> {
    match (&sample.value, before) {
        (MetricValue::Float(now), MetricValue::Float(before)) if added > 0.0 => {
            let share = (now - before).max(0.0) / added;
            Some((format!("{:.1} % of CPU", share * 100.0), share))
        }
        _ => None,
    }
}

fn of_interval(added: &Histogram, per_second: f64, unit: &str) -> String {
    let greatest = quantile(added, 0.99).map(|bucket| upper(bucket, unit));
    greatest.map_or_else(String::new, |p99| format!("{}/s p99 {p99}", short(per_second)))
}

fn per_second(rate: f64, unit: &str) -> String {
    match unit {
        _ if rate <= 0.0 => String::new(),
        "bytes" => format!("{}/s", Bytes(rate as u64)),
        _ => format!("{}/s", short(rate)),
    }
}

/// A rate of things.
fn short(rate: f64) -> String {
    if rate < 10.0 { format!("{rate:.1}") } else { quantity::count(rate.round() as u64) }
}

fn difference(now: u64, before: u64, unit: &str) -> String {
    let sign = if now > before { "+" } else { "-" };
    match (now.abs_diff(before), unit) {
        (0, _) => String::new(),
        (change, "bytes") => format!("{sign}{}", Bytes(change)),
        (change, _) => format!("{sign}{}", quantity::count(change)),
    }
}

/// What of a line fits on the screen.
fn cut(line: &str, screen: Screen) -> String {
    line.chars().take(screen.columns).collect::<String>().trim_end().to_owned()
}
