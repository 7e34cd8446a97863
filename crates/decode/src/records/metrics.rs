//! Runtime metrics.

use std::sync::Arc;

use model::Timestamp;
use model::metrics::{Histogram, MetricValue, RuntimeMetrics};
use serde_json::{Map, Value, json};

use super::{RecordError, pack, unpack};

/// `{"time_ms", "go_version", "metrics": {NAME: number | {"bounds": [...], "counts": [...]}}}`;
/// infinite bounds are null.
pub fn write_metrics(time: Timestamp, metrics: &RuntimeMetrics) -> Vec<u8> {
    let values = metrics.samples.iter().map(|sample| {
        let value = match &sample.value {
            MetricValue::Unsigned(value) => json!(value),
            MetricValue::Float(value) => json!(value),
            MetricValue::Histogram(Histogram { bounds, counts }) => {
                json!({ "bounds": &bounds[..], "counts": counts })
            }
        };
        (sample.metric.name.to_owned(), value)
    });
    pack(&json!({
        "time_ms": time.0,
        "go_version": metrics.go_version,
        "metrics": values.collect::<Map<String, Value>>(),
    }))
}

/// Reads what [`write_metrics`] wrote.
///
/// # Errors
/// When the bytes are something else. Metrics that are unknown here are left out.
pub fn read_metrics(bytes: &[u8]) -> Result<(Timestamp, RuntimeMetrics), RecordError> {
    let record = unpack(bytes)?;
    let time =
        record.get("time_ms").and_then(Value::as_i64).ok_or(RecordError::Lacks("time_ms"))?;
    let values =
        record.get("metrics").and_then(Value::as_object).ok_or(RecordError::Lacks("metrics"))?;
    let mut metrics = RuntimeMetrics {
        go_version: record.get("go_version").and_then(Value::as_str).map(str::to_owned),
        ..RuntimeMetrics::default()
    };
    for (name, value) in values {
        let value = match (value.as_u64(), value.as_f64()) {
            (Some(value), _) => MetricValue::Unsigned(value),
            (None, Some(value)) => MetricValue::Float(value),
            (None, None) => match histogram(value) {
                Some(histogram) => MetricValue::Histogram(histogram),
                None => continue,
            },
        };
        metrics.push(name, value);
    }
    Ok((Timestamp(time), metrics))
}

fn histogram(value: &Value) -> Option<Histogram> {
    let counts: Vec<u64> =
        value.get("counts")?.as_array()?.iter().filter_map(Value::as_u64).collect();
    let bounds = value.get("bounds")?.as_array()?;
    let bounds = bounds.iter().enumerate().map(|(index, bound)| {
        let infinite = if index == 0 { f64::NEG_INFINITY } else { f64::INFINITY };
        bound.as_f64().unwrap_or(infinite)
    });
    let bounds: Arc<[f64]> = bounds.collect();
    (bounds.len() == counts.len() + 1).then_some(Histogram { bounds, counts })
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use model::metrics::{Histogram, MetricValue, RuntimeMetrics};

    use super::{read_metrics, write_metrics};

    #[test]
    fn what_is_written_is_read() {
        let mut metrics =
            RuntimeMetrics { go_version: Some("go1.26.3".to_owned()), ..RuntimeMetrics::default() };
        metrics.push_unsigned("/gc/gogc:percent", u64::MAX);
        metrics.push_float("/cpu/classes/idle:cpu-seconds", 3.0);
        let bounds = [f64::NEG_INFINITY, 0.0, 6.4e-8, f64::INFINITY].into();
        let histogram = Histogram { bounds, counts: vec![0, 7, 1] };
        metrics.push("/sched/latencies:seconds", MetricValue::Histogram(histogram));
        metrics.sort();
        let (time, mut read) = read_metrics(&write_metrics(Timestamp(5), &metrics)).unwrap();
        read.sort();
        assert_eq!((time, read), (Timestamp(5), metrics));
    }

    #[test]
    fn other_bytes_are_errors() {
        for bytes in [&b""[..], b"{}", &super::pack(&serde_json::json!({ "time_ms": 1 }))] {
            assert!(read_metrics(bytes).is_err());
        }
        let odd = serde_json::json!({ "time_ms": 1, "metrics": {
            "/no/such:metric": 1, "/gc/gogc:percent": "x",
            "/sched/latencies:seconds": { "bounds": [1], "counts": [1, 2] },
        }});
        assert_eq!(read_metrics(&super::pack(&odd)).unwrap().1.samples, []);
    }
}
