//! OpenMetrics under the names of client_golang's Go collector: all of runtime/metrics by its
//! rule, and the base metrics it always has.
//!
//! Source: client_golang 1.23, prometheus/go_collector_latest.go, go_collector.go and
//! internal/go_runtime_metrics.go.

use std::fmt::Write;

use model::RuntimeMetrics;
use model::metrics::{Histogram, MetricKind, MetricValue};

/// Base metrics that are sums of the runtime's, under `go_memstats_`: what they are and of what.
const MEMSTATS: [(&str, &str, &[&str]); 21] = [
    ("alloc_bytes", "gauge", &["/memory/classes/heap/objects:bytes"]),
    // A counter of that name would be the gauge's namesake.
    ("alloc_bytes_total", "unknown", &["/gc/heap/allocs:bytes"]),
    ("buck_hash_sys_bytes", "gauge", &["/memory/classes/profiling/buckets:bytes"]),
    ("frees", "counter", &["/gc/heap/frees:objects", "/gc/heap/tiny/allocs:objects"]),
    ("gc_sys_bytes", "gauge", &["/memory/classes/metadata/other:bytes"]),
    ("heap_alloc_bytes", "gauge", &["/memory/classes/heap/objects:bytes"]),
    (
        "heap_idle_bytes",
        "gauge",
        &["/memory/classes/heap/released:bytes", "/memory/classes/heap/free:bytes"],
    ),
    (
        "heap_inuse_bytes",
        "gauge",
        &["/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes"],
    ),
    ("heap_objects", "gauge", &["/gc/heap/objects:objects"]),
    ("heap_released_bytes", "gauge", &["/memory/classes/heap/released:bytes"]),
    (
        "heap_sys_bytes",
        "gauge",
        &[
            "/memory/classes/heap/objects:bytes",
            "/memory/classes/heap/unused:bytes",
            "/memory/classes/heap/released:bytes",
            "/memory/classes/heap/free:bytes",
        ],
    ),
    ("mallocs", "counter", &["/gc/heap/allocs:objects", "/gc/heap/tiny/allocs:objects"]),
    ("mcache_inuse_bytes", "gauge", &["/memory/classes/metadata/mcache/inuse:bytes"]),
    (
        "mcache_sys_bytes",
        "gauge",
        &[
            "/memory/classes/metadata/mcache/inuse:bytes",
            "/memory/classes/metadata/mcache/free:bytes",
        ],
    ),
    ("mspan_inuse_bytes", "gauge", &["/memory/classes/metadata/mspan/inuse:bytes"]),
    (
        "mspan_sys_bytes",
        "gauge",
        &[
            "/memory/classes/metadata/mspan/inuse:bytes",
            "/memory/classes/metadata/mspan/free:bytes",
        ],
    ),
    ("next_gc_bytes", "gauge", &["/gc/heap/goal:bytes"]),
    ("other_sys_bytes", "gauge", &["/memory/classes/other:bytes"]),
    ("stack_inuse_bytes", "gauge", &["/memory/classes/heap/stacks:bytes"]),
    (
        "stack_sys_bytes",
        "gauge",
        &["/memory/classes/heap/stacks:bytes", "/memory/classes/os-stacks:bytes"],
    ),
    ("sys_bytes", "gauge", &["/memory/classes/total:bytes"]),
];

/// Distributions whose sum the runtime knows.
const SUMS: [(&str, &str); 2] = [
    ("/gc/heap/allocs-by-size:bytes", "/gc/heap/allocs:bytes"),
    ("/gc/heap/frees-by-size:bytes", "/gc/heap/frees:bytes"),
];

/// What can be said of the metrics.
pub fn openmetrics(metrics: &RuntimeMetrics) -> String {
    let mut out = String::new();
    for sample in &metrics.samples {
        let metric = sample.metric;
        let name = metric.prometheus_name();
        let family = match metric.kind {
            MetricKind::Histogram => name.as_str(),
            _ if metric.is_cumulative => name.trim_end_matches("_total"),
            _ => name.as_str(),
        };
        let kind = match metric.kind {
            MetricKind::Histogram => "histogram",
            _ if metric.is_cumulative => "counter",
            _ => "gauge",
        };
        let help = format!("{}. Sourced from {}.", metric.meaning, metric.name);
        head(&mut out, family, kind, &help);
        match &sample.value {
            MetricValue::Unsigned(value) => _ = writeln!(out, "{name} {value}"),
            MetricValue::Float(value) => _ = writeln!(out, "{name} {}", float(*value)),
            MetricValue::Histogram(histogram) => {
                let sum = SUMS.iter().find(|(known, _)| *known == metric.name);
                let sum = sum.and_then(|(_, sum)| metrics.unsigned(sum));
                buckets(&mut out, &name, &joined(histogram, metric.unit()), sum);
            }
        }
    }
    base(&mut out, metrics);
    out.push_str("# EOF\n");
    out
}

fn head(out: &mut String, family: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {family} {help}\n# TYPE {family} {kind}");
}

/// The metrics that the collector has without being asked for runtime/metrics.
fn base(out: &mut String, metrics: &RuntimeMetrics) {
    for (name, kind, parts) in MEMSTATS {
        let values = parts.iter().map(|part| metrics.unsigned(part));
        let Some(value) = values.collect::<Option<Vec<u64>>>() else { continue };
        let value = value.iter().fold(0_u64, |sum, part| sum.wrapping_add(*part));
        let family = format!("go_memstats_{name}");
        head(out, &family, kind, &format!("Equals {}.", parts.join(" + ")));
        let suffix = if kind == "counter" { "_total" } else { "" };
        let _ = writeln!(out, "{family}{suffix} {value}");
    }
    let collector = &metrics.collector;
    let seconds = |nanos: u64| float(nanos as f64 / 1e9);
    let mut gauge = |name: &str, help: &str, value: Option<String>| {
        if let Some(value) = value {
            head(out, name, "gauge", help);
            let _ = writeln!(out, "{name} {value}");
        }
    };
    gauge(
        "go_memstats_last_gc_time_seconds",
        "Unix time at which the last collection ended.",
        collector.last_gc_nanos.map(seconds),
    );
    gauge(
        "go_goroutines",
        "Goroutines without those of the runtime.",
        collector.goroutines.map(|count| count.to_string()),
    );
    gauge(
        "go_threads",
        "Threads that the runtime made.",
        collector.threads.map(|count| count.to_string()),
    );
    if let Some(version) = &metrics.go_version {
        head(out, "go_info", "gauge", "The release that the program was built with.");
        let version = version.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = writeln!(out, "go_info{{version=\"{version}\"}} 1");
    }
    pauses(out, metrics);
}

fn pauses(out: &mut String, metrics: &RuntimeMetrics) {
    const NAME: &str = "go_gc_duration_seconds";
    let collector = &metrics.collector;
    let (Some(quantiles), Some(total), Some(cycles)) = (
        collector.pause_quantiles_nanos,
        collector.pause_total_nanos,
        metrics.unsigned("/gc/cycles/total:gc-cycles"),
    ) else {
        return;
    };
    head(out, NAME, "summary", "Pauses of collections, quantiles of the last 256.");
    for (quantile, nanos) in ["0.0", "0.25", "0.5", "0.75", "1.0"].iter().zip(quantiles) {
        let _ = writeln!(out, "{NAME}{{quantile=\"{quantile}\"}} {}", float(nanos as f64 / 1e9));
    }
    let _ = writeln!(out, "{NAME}_sum {}\n{NAME}_count {cycles}", float(total as f64 / 1e9));
}

fn buckets(out: &mut String, name: &str, histogram: &Histogram, sum: Option<u64>) {
    let mut total = 0_u64;
    let mut least = 0.0;
    for (pair, count) in histogram.bounds.windows(2).zip(&histogram.counts) {
        let [low, high] = [pair[0], pair[1]];
        total = total.saturating_add(*count);
        if *count > 0 {
            least += low * *count as f64;
        }
        // Where the next bucket begins is no longer in this one.
        let bound = if high.is_finite() { high.next_down() } else { high };
        let _ = writeln!(out, "{name}_bucket{{le=\"{}\"}} {total}", float(bound));
    }
    let sum = sum.map_or_else(|| float(least), |sum| sum.to_string());
    let _ = writeln!(out, "{name}_sum {sum}\n{name}_count {total}");
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
        if ends.get(at + 1) == Some(&pair[1]) {
            at += 1;
        }
    }
    Histogram { bounds: ends, counts }
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

/// A number as Go's `%g` writes it, so that labels are those of other exporters: `1e-05`.
pub(super) fn float(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    match exponent {
        -4..21 => value.to_string(),
        _ => format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs()),
    }
}
