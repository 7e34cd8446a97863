//! Pages for Prometheus, in its own text format or as OpenMetrics: the Go collector's metrics.
//!
//! Histograms there have fewer buckets than in the program: client_golang joins them to powers
//! of two and ten. Numbers are written as fractions, so that beyond 2^53 they are rounded.

use std::borrow::Cow;
use std::collections::HashMap;

use model::metrics::{Histogram, METRICS, MetricKind, MetricValue, MetricsSource};
use model::{GoVersion, RuntimeMetrics};

use super::memstats;
use crate::exposition::Line;

/// Fields of MemStats by what comes after `go_memstats_`.
const MEMSTATS: [(&str, &str); 19] = [
    ("alloc_bytes_total", "TotalAlloc"),
    ("buck_hash_sys_bytes", "BuckHashSys"),
    ("frees_total", "Frees"),
    ("gc_sys_bytes", "GCSys"),
    ("heap_alloc_bytes", "HeapAlloc"),
    ("heap_idle_bytes", "HeapIdle"),
    ("heap_inuse_bytes", "HeapInuse"),
    ("heap_released_bytes", "HeapReleased"),
    ("mallocs_total", "Mallocs"),
    ("mcache_inuse_bytes", "MCacheInuse"),
    ("mcache_sys_bytes", "MCacheSys"),
    ("mspan_inuse_bytes", "MSpanInuse"),
    ("mspan_sys_bytes", "MSpanSys"),
    ("next_gc_bytes", "NextGC"),
    ("other_sys_bytes", "OtherSys"),
    ("stack_inuse_bytes", "StackInuse"),
    ("stack_sys_bytes", "StackSys"),
    ("sys_bytes", "Sys"),
    ("alloc_bytes", "HeapAlloc"),
];

/// The quantiles of go_gc_duration_seconds.
const QUANTILES: [&str; 5] = ["0", "0.25", "0.5", "0.75", "1"];

/// What of a page may be the runtime's.
#[derive(Default)]
struct Page<'t> {
    values: HashMap<&'t str, f64>,
    /// Cumulative counts by upper bound, in the page's order.
    buckets: HashMap<&'t str, Vec<(f64, u64)>>,
    pauses: HashMap<String, f64>,
    go_version: Option<String>,
    /// A series came twice, with other labels.
    has_others: bool,
}

/// Reads a page.
pub(super) fn read(text: &str) -> RuntimeMetrics {
    let mut page = Page::default();
    for line in text.lines().filter(|line| line.starts_with("go_")) {
        page.add(line);
    }
    let mut metrics = RuntimeMetrics {
        source: MetricsSource::Prometheus,
        go_version: page.go_version.take(),
        ..RuntimeMetrics::default()
    };
    if page.has_others {
        metrics.warnings.push("the page shows several programs; this is the first".to_owned());
    }
    for metric in &METRICS {
        let name = metric.prometheus_name();
        let value = match metric.kind {
            MetricKind::Histogram => page
                .buckets
                .get(name.as_str())
                .and_then(|buckets| histogram(buckets, metric.unit())),
            MetricKind::Float => page.values.get(name.as_str()).copied().map(MetricValue::Float),
            MetricKind::Unsigned => page.unsigned(&name).map(MetricValue::Unsigned),
        };
        if let Some(value) = value {
            metrics.push(metric.name, at_most_the_limit(metric.name, value));
        }
    }
    page.add_collector(&mut metrics);
    metrics
}

/// The largest limit, which stands for none, is no fraction: it is written one too high.
fn at_most_the_limit(name: &str, value: MetricValue) -> MetricValue {
    match value {
        MetricValue::Unsigned(bytes) if name == "/gc/gomemlimit:bytes" => {
            MetricValue::Unsigned(bytes.min(i64::MAX as u64))
        }
        value => value,
    }
}

impl<'t> Page<'t> {
    fn add(&mut self, line: &'t str) {
        let Ok(line) = Line::parse(line) else { return };
        // Names that begin with go_ are not in quotes.
        let Cow::Borrowed(series) = line.name else { return };
        let value = line.value;
        let label = |name: &str| line.label(name);
        if let Some(bound) = label("le").and_then(|bound| bound.parse().ok()) {
            let Some(name) = series.strip_suffix("_bucket") else { return };
            let buckets = self.buckets.entry(name).or_default();
            // A second series begins below the end of the first.
            match buckets.last() {
                Some((last, _)) if *last >= bound => self.has_others = true,
                _ => buckets.push((bound, value as u64)),
            }
        } else if let Some(quantile) = label("quantile") {
            if series == "go_gc_duration_seconds" {
                self.pauses.entry(quantile.to_owned()).or_insert(value);
            }
        } else {
            if series == "go_info" {
                let version = label("version").map(str::to_owned);
                self.go_version = self.go_version.take().or(version);
            }
            match self.values.entry(series) {
                std::collections::hash_map::Entry::Vacant(slot) => _ = slot.insert(value),
                std::collections::hash_map::Entry::Occupied(_) => self.has_others = true,
            }
        }
    }

    fn unsigned(&self, name: &str) -> Option<u64> {
        self.values.get(name).filter(|value| **value >= 0.0).map(|value| *value as u64)
    }

    /// What the collector shows without being asked for runtime/metrics.
    fn add_collector(&self, metrics: &mut RuntimeMetrics) {
        let nanos =
            |name: &str| self.values.get(name).map(|seconds| (seconds * 1e9).round() as u64);
        let cycles = self.unsigned("go_gc_duration_seconds_count");
        memstats::add(metrics, |field| {
            if field == "NumGC" {
                return cycles;
            }
            let mut names = MEMSTATS.iter().filter(|(_, known)| *known == field);
            names.find_map(|(name, _)| self.unsigned(&format!("go_memstats_{name}")))
        });
        let goroutines = self.unsigned("go_goroutines");
        metrics.collector.goroutines = goroutines;
        metrics.collector.threads = self.unsigned("go_threads");
        metrics.collector.last_gc_nanos = nanos("go_memstats_last_gc_time_seconds");
        metrics.collector.pause_total_nanos = nanos("go_gc_duration_seconds_sum");
        let quantiles = QUANTILES.map(|quantile| self.pauses.get(quantile));
        if let [Some(a), Some(b), Some(c), Some(d), Some(e)] = quantiles {
            let nanos = [a, b, c, d, e].map(|seconds| (seconds * 1e9).round() as u64);
            metrics.collector.pause_quantiles_nanos = Some(nanos);
        }
        // Since 1.26 the runtime's metric counts its own goroutines, and this one does not.
        let version = metrics.go_version.as_deref().and_then(GoVersion::parse);
        if version.is_some_and(|version| version.minor < 26)
            && let Some(goroutines) = goroutines
        {
            metrics.push_unsigned("/sched/goroutines:goroutines", goroutines);
        }
    }
}

/// Buckets as the runtime has them: boundaries are the lowest values of the next bucket, where
/// client_golang gives the highest of the one before.
fn histogram(buckets: &[(f64, u64)], unit: &str) -> Option<MetricValue> {
    let mut bounds = vec![if unit == "bytes" { 1.0 } else { 0.0 }];
    let mut counts = Vec::with_capacity(buckets.len());
    let mut before = 0;
    for (bound, total) in buckets {
        bounds.push(bound.next_up());
        counts.push(total.checked_sub(before)?);
        before = *total;
    }
    if buckets.last()?.0 != f64::INFINITY {
        return None;
    }
    Some(MetricValue::Histogram(Histogram { bounds: bounds.into(), counts }))
}
