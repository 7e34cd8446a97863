//! The Go runtime's metrics under the names of client_golang's Go collector: all of
//! runtime/metrics by its rule, and the base metrics it always has.
//!
//! Source: client_golang 1.23, prometheus/go_collector_latest.go, go_collector.go and
//! internal/go_runtime_metrics.go.
//!
//! Distributions come in two forms. The classic one has client_golang's buckets, which are few.
//! The native one has all of Go's buckets, as custom bounds (schema -53), and is exact: counts
//! and bounds are Go's own. Exponential buckets would not be: Go's durations lie on a grid of
//! four steps to each power of two of a nanosecond, and 2^k ns is no power of 2^(1/8) seconds;
//! its sizes are the allocator's size classes. Spread over the buckets of schema 3 a value would
//! move by up to a quarter. What custom bounds cost: receivers older than Prometheus 3 and
//! remote write 1.0 do not take them; those get the classic form.

use std::sync::Arc;

use model::FamilyKind::{self, Counter, Gauge, Summary};
use model::metrics::{Histogram, MetricKind, MetricValue};
use model::series::{NAME, NativeHistogram, Value};
use model::{Point, RuntimeMemory, RuntimeMetrics};

use super::{Families, Subject, float};

/// The form of distributions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Histograms {
    /// A series for each of client_golang's buckets.
    Classic,
    /// One series, with Go's own buckets.
    Native,
}

/// Base metrics that are sums of the runtime's, under `go_memstats_`: what they are and of what.
const MEMSTATS: [(&str, FamilyKind, &[&str]); 21] = [
    ("alloc_bytes", Gauge, &["/memory/classes/heap/objects:bytes"]),
    ("alloc_bytes_total", Counter, &["/gc/heap/allocs:bytes"]),
    ("buck_hash_sys_bytes", Gauge, &["/memory/classes/profiling/buckets:bytes"]),
    ("frees_total", Counter, &["/gc/heap/frees:objects", "/gc/heap/tiny/allocs:objects"]),
    ("gc_sys_bytes", Gauge, &["/memory/classes/metadata/other:bytes"]),
    ("heap_alloc_bytes", Gauge, &["/memory/classes/heap/objects:bytes"]),
    (
        "heap_idle_bytes",
        Gauge,
        &["/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"],
    ),
    (
        "heap_inuse_bytes",
        Gauge,
        &["/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes"],
    ),
    ("heap_objects", Gauge, &["/gc/heap/objects:objects"]),
    ("heap_released_bytes", Gauge, &["/memory/classes/heap/released:bytes"]),
    (
        "heap_sys_bytes",
        Gauge,
        &[
            "/memory/classes/heap/objects:bytes",
            "/memory/classes/heap/unused:bytes",
            "/memory/classes/heap/released:bytes",
            "/memory/classes/heap/free:bytes",
        ],
    ),
    ("mallocs_total", Counter, &["/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects"]),
    ("mcache_inuse_bytes", Gauge, &["/memory/classes/metadata/mcache/inuse:bytes"]),
    (
        "mcache_sys_bytes",
        Gauge,
        &[
            "/memory/classes/metadata/mcache/inuse:bytes",
            "/memory/classes/metadata/mcache/free:bytes",
        ],
    ),
    ("mspan_inuse_bytes", Gauge, &["/memory/classes/metadata/mspan/inuse:bytes"]),
    (
        "mspan_sys_bytes",
        Gauge,
        &[
            "/memory/classes/metadata/mspan/inuse:bytes",
            "/memory/classes/metadata/mspan/free:bytes",
        ],
    ),
    ("next_gc_bytes", Gauge, &["/gc/heap/goal:bytes"]),
    ("other_sys_bytes", Gauge, &["/memory/classes/other:bytes"]),
    ("stack_inuse_bytes", Gauge, &["/memory/classes/heap/stacks:bytes"]),
    (
        "stack_sys_bytes",
        Gauge,
        &["/memory/classes/heap/stacks:bytes", "/memory/classes/os-stacks:bytes"],
    ),
    ("sys_bytes", Gauge, &["/memory/classes/total:bytes"]),
];

/// Distributions whose sum the runtime knows.
const SUMS: [(&str, &str); 2] = [
    ("/gc/heap/allocs-by-size:bytes", "/gc/heap/allocs:bytes"),
    ("/gc/heap/frees-by-size:bytes", "/gc/heap/frees:bytes"),
];

/// Counts allocated bytes; see [`Families::add_memstats`].
const ALLOC_TOTAL: &str = "go_memstats_alloc_bytes_total";

type Level = (&'static str, FamilyKind, &'static str, fn(&RuntimeMemory) -> Option<f64>);

fn number(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

/// Level signals under the names of the same figures.
#[rustfmt::skip]
const LEVELS: [Level; 14] = [
    ("go_gc_heap_live_bytes", Gauge, "what the last cycle marked. Sourced from /gc/heap/live:bytes.", |r| number(r.heap_live_bytes)),
    ("go_gc_heap_goal_bytes", Gauge, "heap size that the running or next cycle aims at. Sourced from /gc/heap/goal:bytes.", |r| number(r.heap_goal_bytes)),
    ("go_gc_cycles_total_gc_cycles_total", Counter, "completed cycles. Sourced from /gc/cycles/total:gc-cycles.", |r| number(r.gc_cycles)),
    ("go_gc_cycles_forced_gc_cycles_total", Counter, "completed cycles that the program asked for. Sourced from /gc/cycles/forced:gc-cycles.", |r| number(r.gc_forced_cycles)),
    ("go_gc_heap_allocs_bytes_total", Counter, "allocated since the start. Sourced from /gc/heap/allocs:bytes.", |r| number(r.total_alloc_bytes)),
    ("go_memstats_heap_inuse_bytes", Gauge, "Equals /memory/classes/heap/objects:bytes + /memory/classes/heap/unused:bytes.", |r| number(r.heap_in_use_bytes)),
    ("go_memstats_heap_idle_bytes", Gauge, "Equals /memory/classes/heap/released:bytes + /memory/classes/heap/free:bytes.", |r| number(r.heap_idle_bytes)),
    ("go_memstats_heap_released_bytes", Gauge, "Equals /memory/classes/heap/released:bytes.", |r| number(r.heap_released_bytes)),
    ("go_memstats_heap_alloc_bytes", Gauge, "Equals /memory/classes/heap/objects:bytes.", |r| number(r.heap_alloc_bytes)),
    ("go_memstats_heap_objects", Gauge, "Equals /gc/heap/objects:objects.", |r| number(r.heap_objects)),
    ("go_memstats_stack_inuse_bytes", Gauge, "Equals /memory/classes/heap/stacks:bytes.", |r| number(r.stacks_bytes)),
    ("go_memstats_sys_bytes", Gauge, "Equals /memory/classes/total:bytes.", |r| number(r.sys_bytes)),
    ("go_memstats_next_gc_bytes", Gauge, "Equals /gc/heap/goal:bytes.", |r| number(r.heap_goal_bytes)),
    ("go_gc_gomemlimit_bytes", Gauge, "GOMEMLIMIT. Sourced from /gc/gomemlimit:bytes.", |r| r.gomemlimit_bytes.map(|limit| limit as f64)),
];

impl Families {
    /// The runtime's metrics.
    pub fn runtime(&mut self, metrics: &RuntimeMetrics, subject: &Subject, form: Histograms) {
        for sample in &metrics.samples {
            let metric = sample.metric;
            let texts = self.texts(metric.name, || {
                let help = format!("{}. Sourced from {}.", metric.meaning, metric.name);
                (metric.prometheus_name(), help)
            });
            let (name, help) = &*texts;
            let kind = match metric.kind {
                MetricKind::Histogram => FamilyKind::Histogram,
                _ if metric.is_cumulative => Counter,
                _ => Gauge,
            };
            match &sample.value {
                MetricValue::Unsigned(value) => {
                    self.add_always(metric.name, (name, kind, help), subject, *value as f64);
                }
                MetricValue::Float(value) => {
                    self.add_always(metric.name, (name, kind, help), subject, *value);
                }
                MetricValue::Histogram(histogram) => {
                    let sum = SUMS.iter().find(|(known, _)| *known == metric.name);
                    let sum = sum.and_then(|(_, sum)| metrics.number(sum));
                    match form {
                        Histograms::Classic => {
                            let histogram = joined(histogram, metric.unit());
                            self.buckets(name, help, &histogram, sum, subject);
                        }
                        Histograms::Native => {
                            let labels = subject.named(metric.name, name);
                            let value = Value::Histogram(Arc::new(self.native(histogram, sum)));
                            let start = subject.start;
                            let point = Point { value, start, ..Point::new(labels, 0.0) };
                            self.family(name, kind, help).push(point);
                        }
                    }
                }
            }
        }
        self.base(metrics, subject);
    }

    /// The same of level signals, which are read more often: what of them has a name there.
    pub fn runtime_levels(&mut self, runtime: &RuntimeMemory, subject: &Subject) {
        for (name, kind, help, value) in LEVELS {
            if let Some(value) = value(runtime) {
                self.add_always(name, (name, kind, help), subject, value);
            }
        }
    }

    /// The metrics that the collector has without being asked for runtime/metrics.
    fn base(&mut self, metrics: &RuntimeMetrics, subject: &Subject) {
        for (name, kind, parts) in MEMSTATS {
            let values = parts.iter().map(|part| metrics.unsigned(part));
            let Some(value) = values.collect::<Option<Vec<u64>>>() else { continue };
            let value = value.iter().fold(0_u64, |sum, part| sum.wrapping_add(*part));
            let texts = self.texts(name, || {
                (format!("go_memstats_{name}"), format!("Equals {}.", parts.join(" + ")))
            });
            self.add_memstats(name, (&texts.0, kind, &texts.1), subject, value as f64);
        }
        let collector = &metrics.collector;
        let gauges = [
            (
                "go_memstats_last_gc_time_seconds",
                "Unix time at which the last collection ended.",
                collector.last_gc_nanos.map(|nanos| nanos as f64 / 1e9),
            ),
            (
                "go_goroutines",
                "Goroutines without those of the runtime.",
                collector.goroutines.map(|count| count as f64),
            ),
            (
                "go_threads",
                "Threads that the runtime made.",
                collector.threads.map(|count| count as f64),
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                self.add_always(name, (name, Gauge, help), subject, value);
            }
        }
        if let Some(version) = &metrics.go_version {
            let labels = subject.labels.with([("version", version.as_str())]);
            let help = "The release that the program was built with.";
            self.add(("go_info", Gauge, help), &Subject::new(labels, None), 1.0);
        }
        self.pauses(metrics, subject);
    }

    fn add_memstats(
        &mut self,
        key: &'static str,
        (name, kind, help): (&str, FamilyKind, &str),
        subject: &Subject,
        value: f64,
    ) {
        if name != ALLOC_TOTAL {
            return self.add_always(key, (name, kind, help), subject, value);
        }
        // Without its suffix it would be the namesake of a gauge.
        let labels = subject.named(key, name);
        let point = Point { start: subject.start, ..Point::new(labels, value) };
        self.family(name, kind, help).push(point);
    }

    fn pauses(&mut self, metrics: &RuntimeMetrics, subject: &Subject) {
        const FAMILY: &str = "go_gc_duration_seconds";
        let collector = &metrics.collector;
        let (Some(quantiles), Some(total), Some(cycles)) = (
            collector.pause_quantiles_nanos,
            collector.pause_total_nanos,
            metrics.unsigned("/gc/cycles/total:gc-cycles"),
        ) else {
            return;
        };
        let start = subject.start;
        let help = "Pauses of collections, quantiles of the last 256.";
        let mut points = self.family(FAMILY, Summary, help);
        let mut push = |name: &str, quantile: &str, value: f64| {
            let labels = subject.labels.with([(NAME, name), ("quantile", quantile)]);
            points.push(Point { start, ..Point::new(labels, value) });
        };
        for (quantile, nanos) in ["0.0", "0.25", "0.5", "0.75", "1.0"].iter().zip(quantiles) {
            push(FAMILY, quantile, nanos as f64 / 1e9);
        }
        push("go_gc_duration_seconds_sum", "", total as f64 / 1e9);
        push("go_gc_duration_seconds_count", "", cycles as f64);
    }

    /// All buckets of a distribution, with custom bounds. The sum is unknown where the runtime
    /// does not have it.
    fn native(&mut self, histogram: &Histogram, sum: Option<f64>) -> NativeHistogram {
        let (mut bounds, mut positive) = (Vec::with_capacity(histogram.counts.len()), Vec::new());
        let mut total = 0.0;
        for (pair, count) in histogram.bounds.windows(2).zip(&histogram.counts) {
            let [low, high] = pair else { continue };
            // Nothing lasts less than no time.
            if low.is_infinite() && *high <= 0.0 && *count == 0 {
                continue;
            }
            if *count > 0 {
                let index = i32::try_from(bounds.len()).unwrap_or(i32::MAX);
                positive.push((index, *count as f64));
                total += *count as f64;
            }
            // The last bucket has no bound.
            if high.is_finite() {
                bounds.push(upper(*high));
            }
        }
        positive.shrink_to_fit();
        NativeHistogram {
            schema: -53,
            count: total,
            sum: sum.unwrap_or(f64::NAN),
            positive,
            bounds: self.shared(&bounds),
            ..NativeHistogram::default()
        }
    }

    /// The same bounds, as others have them.
    fn shared(&mut self, bounds: &[f64]) -> Arc<[f64]> {
        if let Some(known) = self.bounds.iter().find(|known| ***known == *bounds) {
            return Arc::clone(known);
        }
        let new: Arc<[f64]> = bounds.into();
        self.bounds.push(Arc::clone(&new));
        new
    }

    fn buckets(
        &mut self,
        name: &str,
        help: &str,
        histogram: &Histogram,
        sum: Option<f64>,
        subject: &Subject,
    ) {
        let mut points = self.family(name, FamilyKind::Histogram, help);
        let mut push = |suffix: &str, bound: &str, value: f64| {
            let name = format!("{name}{suffix}");
            let labels = subject.labels.with([(NAME, name.as_str()), ("le", bound)]);
            points.push(Point { start: subject.start, ..Point::new(labels, value) });
        };
        let (mut total, mut least) = (0_u64, 0.0);
        for (pair, count) in histogram.bounds.windows(2).zip(&histogram.counts) {
            let [low, high] = pair else { continue };
            total = total.saturating_add(*count);
            if *count > 0 {
                least += low * *count as f64;
            }
            push("_bucket", &float(upper(*high)), total as f64);
        }
        push("_sum", "", sum.unwrap_or(least));
        push("_count", "", total as f64);
    }
}

/// Where the next bucket begins is no longer in this one.
fn upper(bound: f64) -> f64 {
    if bound.is_finite() { bound.next_down() } else { bound }
}

/// The buckets joined as client_golang joins them: sizes to powers of two, times to powers of
/// ten up to a second.
fn joined(histogram: &Histogram, unit: &str) -> Histogram {
    // There, nothing lies below the first finite end.
    let is_finite = |bound: &&f64| bound.is_finite() || **bound > 0.0;
    let ends: Vec<f64> = histogram.bounds.iter().filter(is_finite).copied().collect();
    let ends = match unit {
        "bytes" => powers(&ends, 2.0),
        "seconds" => {
            let mut ends = powers(&ends, 10.0);
            if let Some(index) = ends.iter().position(|end| *end > 1.0) {
                ends.truncate(index);
                ends.push(f64::INFINITY);
            }
            ends
        }
        _ => ends,
    };
    let mut counts = vec![0_u64; ends.len().saturating_sub(1)];
    let mut at = 0;
    for (pair, count) in histogram.bounds.windows(2).zip(&histogram.counts) {
        let Some(slot) = counts.get_mut(at) else { break };
        *slot = slot.saturating_add(*count);
        if ends.get(at + 1) == pair.get(1) {
            at += 1;
        }
    }
    Histogram { bounds: ends.into(), counts }
}

/// Of ends that rise the first, and each that is at least `base` times the one kept before.
fn powers(ends: &[f64], base: f64) -> Vec<f64> {
    let Some((first, rest)) = ends.split_first() else { return Vec::new() };
    let mut last = *first;
    let mut kept = Vec::new();
    for end in rest {
        if *end < last * base {
            continue;
        }
        kept.push(last);
        last = *end;
    }
    kept.push(last);
    kept
}
