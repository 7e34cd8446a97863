//! The metrics of the Go runtime (package `runtime/metrics`) at one time.

use std::sync::Arc;

mod table;

pub use table::{METRICS, metric};

/// One of the runtime's metrics.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Go's name, with its unit after the colon: `/gc/heap/live:bytes`.
    pub name: &'static str,
    /// The first minor release that has it; 21 also for older ones.
    pub since: u16,
    /// What its values are.
    pub kind: MetricKind,
    /// It only grows, as Go's own table says.
    pub is_cumulative: bool,
    /// One line for people.
    pub meaning: &'static str,
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    /// Whole numbers.
    Unsigned,
    /// Fractions.
    Float,
    /// Distributions.
    Histogram,
}

impl Metric {
    /// The name that client_golang gives it (`RuntimeMetricsToProm`): `go_gc_heap_live_bytes`.
    pub fn prometheus_name(&self) -> String {
        let path = self.path().replace(['/', '-'], "_");
        let unit = self.unit().replace(['-', '*'], "_").replace('/', "_per_");
        let is_total = self.is_cumulative && self.kind != MetricKind::Histogram;
        format!("go{path}_{unit}{}", if is_total { "_total" } else { "" })
    }

    /// The name without its unit.
    pub fn path(&self) -> &'static str {
        self.name.split_once(':').map_or(self.name, |(path, _)| path)
    }

    /// What is after the colon: `bytes`, `seconds`, `gc-cycles` ...
    pub fn unit(&self) -> &'static str {
        self.name.split_once(':').map_or("", |(_, unit)| unit)
    }
}

/// The value of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricValue {
    /// A whole number.
    Unsigned(u64),
    /// A fraction.
    Float(f64),
    /// A distribution.
    Histogram(Histogram),
}

impl MetricValue {
    /// A number; distributions are none.
    pub fn number(&self) -> Option<f64> {
        match self {
            MetricValue::Unsigned(value) => Some(*value as f64),
            MetricValue::Float(value) => Some(*value),
            MetricValue::Histogram(_) => None,
        }
    }
}

/// A distribution over buckets, as Go's `metrics.Float64Histogram`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// Boundaries, one more than counts: bucket `i` holds `bounds[i] <= value < bounds[i + 1]`.
    /// The first may be minus infinity, the last plus infinity. Those of hundreds of programs are
    /// the same.
    pub bounds: Arc<[f64]>,
    /// How many values are in each bucket.
    pub counts: Vec<u64>,
}

/// A metric with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricSample {
    /// Which.
    pub metric: &'static Metric,
    /// Its value.
    pub value: MetricValue,
}

/// What was read of a program's metrics; what is unknown is not there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeMetrics {
    /// Metrics by name.
    pub samples: Vec<MetricSample>,
    /// What exporters show beside them.
    pub collector: CollectorFigures,
    /// Where they were read.
    pub source: MetricsSource,
    /// The program's release as it names it: `go1.26.3`.
    pub go_version: Option<String>,
    /// Metrics that changed while they were read: the program runs meanwhile.
    pub moved: Vec<&'static str>,
    /// What is missing, and why.
    pub warnings: Vec<String>,
}

/// Where metrics were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsSource {
    /// The process's memory.
    #[default]
    Memory,
    /// `/debug/vars`: MemStats as JSON.
    Expvar,
    /// `/debug/pprof/heap?debug=1`: MemStats after the profile.
    HeapText,
    /// A page for Prometheus.
    Prometheus,
}

/// Figures that the Go collector of Prometheus shows and `runtime/metrics` does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CollectorFigures {
    /// `runtime.NumGoroutine`: without those of the runtime.
    pub goroutines: Option<u64>,
    /// Threads that the runtime has made and not freed.
    pub threads: Option<u64>,
    /// When the last collection ended, nanoseconds of Unix time; 0 before the first.
    pub last_gc_nanos: Option<u64>,
    /// All pauses for collection together, nanoseconds.
    pub pause_total_nanos: Option<u64>,
    /// Of the last 256 cycles' pauses the shortest, quartiles and longest, nanoseconds.
    pub pause_quantiles_nanos: Option<[u64; 5]>,
}

/// Of pauses the shortest, the quartiles and the longest, chosen as `debug.ReadGCStats` chooses.
pub fn pause_quantiles(pauses: &mut [u64]) -> [u64; 5] {
    pauses.sort_unstable();
    let at = |index: usize| pauses.get(index).copied().unwrap_or(0);
    let count = pauses.len();
    [at(0), at(count / 4), at(count * 2 / 4), at(count * 3 / 4), at(count.saturating_sub(1))]
}

impl RuntimeMetrics {
    /// Adds a value; a name that is not in [`METRICS`] is left out.
    pub fn push(&mut self, name: &str, value: MetricValue) {
        if let Some(metric) = metric(name) {
            self.samples.push(MetricSample { metric, value });
        }
    }

    /// Adds a whole number.
    pub fn push_unsigned(&mut self, name: &str, value: u64) {
        self.push(name, MetricValue::Unsigned(value));
    }

    /// Adds a fraction.
    pub fn push_float(&mut self, name: &str, value: f64) {
        self.push(name, MetricValue::Float(value));
    }

    /// Puts the metrics in the order of their names; of two with one name the first stays.
    pub fn sort(&mut self) {
        self.samples.sort_by_key(|sample| sample.metric.name);
        self.samples.dedup_by_key(|sample| sample.metric.name);
    }

    /// The value of a metric.
    pub fn get(&self, name: &str) -> Option<&MetricValue> {
        let found = self.samples.iter().find(|sample| sample.metric.name == name);
        found.map(|sample| &sample.value)
    }

    /// The value of a metric that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.number()
    }

    /// The value of a metric that is a distribution.
    pub fn histogram(&self, name: &str) -> Option<&Histogram> {
        match self.get(name)? {
            MetricValue::Histogram(histogram) => Some(histogram),
            _ => None,
        }
    }

    /// The value of a metric of whole numbers.
    pub fn unsigned(&self, name: &str) -> Option<u64> {
        match self.get(name)? {
            MetricValue::Unsigned(value) => Some(*value),
            _ => None,
        }
    }
}
