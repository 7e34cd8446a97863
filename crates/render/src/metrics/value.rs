//! Metrics as JSON.

use model::metrics::{MetricSample, MetricValue, MetricsSource};
use model::{RuntimeMetrics, Target, Timestamp};
use serde_json::{Value, json};

use crate::json::{number, target as target_value, unsigned};
use analyze::families::float;

/// Everything as one value; the ends of buckets that are infinite are `"-Inf"` and `"+Inf"`.
pub fn value(metrics: &RuntimeMetrics, target: &Target, time: Timestamp) -> Value {
    let samples: Vec<Value> = metrics.samples.iter().map(sample).collect();
    let collector = &metrics.collector;
    let whole = |number: Option<u64>| number.map_or(Value::Null, unsigned);
    json!({
        "target": target_value(target),
        "time_ms": time.0,
        "source": match metrics.source {
            MetricsSource::Memory => "memory",
            MetricsSource::Expvar => "expvar",
            MetricsSource::HeapText => "heap-text",
            MetricsSource::Prometheus => "prometheus",
        },
        "go_version": metrics.go_version,
        "metrics": samples,
        "collector": {
            "goroutines": whole(collector.goroutines),
            "threads": whole(collector.threads),
            "last_gc_ns": whole(collector.last_gc_nanos),
            "pause_total_ns": whole(collector.pause_total_nanos),
            "pause_quantiles_ns": collector.pause_quantiles_nanos.map(|all| all.map(unsigned)),
        },
        "moved": metrics.moved,
        "warnings": metrics.warnings,
    })
}

fn sample(sample: &MetricSample) -> Value {
    let (kind, value) = match &sample.value {
        MetricValue::Unsigned(value) => ("unsigned", unsigned(*value)),
        MetricValue::Float(value) => ("float", number(*value)),
        MetricValue::Histogram(histogram) => {
            let end = |end: &f64| if end.is_finite() { number(*end) } else { float(*end).into() };
            let bounds: Vec<Value> = histogram.bounds.iter().map(end).collect();
            let counts: Vec<Value> = histogram.counts.iter().copied().map(unsigned).collect();
            ("histogram", json!({ "bounds": bounds, "counts": counts }))
        }
    };
    json!({
        "name": sample.metric.name,
        "kind": kind,
        "cumulative": sample.metric.is_cumulative,
        "unit": sample.metric.unit(),
        "value": value,
    })
}
