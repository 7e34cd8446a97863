//! Text, CSV, OpenMetrics and the live view of hand-made metrics.

use std::collections::BTreeMap;

use model::metrics::{Histogram, MetricValue};
use model::{RuntimeMetrics, Target, TargetSpec, Timestamp};

use super::{Live, Screen, csv, openmetrics, text, value};
use crate::paint::Paint;

fn target() -> Target {
    let labels = BTreeMap::new();
    Target { name: "shop".to_owned(), spec: TargetSpec::Pid(7), pid: Some(7), labels }
}

/// Bounds as the runtime has them, fewer of them.
fn latencies(counts: [u64; 6]) -> MetricValue {
    let bounds = [f64::NEG_INFINITY, 0.0, 1e-6, 5e-6, 1e-5, 2.0, f64::INFINITY].into();
    MetricValue::Histogram(Histogram { bounds, counts: counts.to_vec() })
}

fn metrics() -> RuntimeMetrics {
    let mut metrics = RuntimeMetrics {
        go_version: Some("go1.26.8".to_owned()),
        moved: vec!["/gc/heap/allocs:bytes"],
        ..RuntimeMetrics::default()
    };
    metrics.push("/sched/latencies:seconds", latencies([0, 90, 5, 4, 0, 1]));
    let sizes = vec![1.0, 9.0, 17.0, 25.0, 33.0, f64::INFINITY];
    let sizes = Histogram { bounds: sizes.into(), counts: vec![1, 2, 3, 4, 5] };
    metrics.push("/gc/heap/allocs-by-size:bytes", MetricValue::Histogram(sizes));
    metrics.push_unsigned("/gc/heap/allocs:bytes", 4096);
    metrics.push_unsigned("/gc/gogc:percent", u64::MAX);
    metrics.push_unsigned("/gc/gomemlimit:bytes", i64::MAX as u64);
    metrics.push_unsigned("/memory/classes/heap/objects:bytes", 3 << 20);
    metrics.push_unsigned("/memory/classes/heap/unused:bytes", 1 << 20);
    metrics.push_float("/cpu/classes/user:cpu-seconds", 1.5);
    metrics.push_float("/cpu/classes/total:cpu-seconds", 2.0);
    metrics.sort();
    metrics
}

#[test]
fn text_is_for_people() {
    let text = text(&metrics(), &target(), Paint(false));
    for part in [
        "shop (pid 7), go1.26.8: 9 metrics, read from its memory, without stopping it\n",
        "1 of them changed while they were read\n",
        "/gc/gogc:percent                           off  GOGC\n",
        "/gc/gomemlimit:bytes                      none  GOMEMLIMIT\n",
        "/cpu/classes/user:cpu-seconds           1.50 s  everything",
        "100 values  p50 1.00 us  p90 1.00 us  p99 10.00 us  max >2.00 s  █▁▁ ▁\n",
        "15 values  p50 32 B  p90 >32 B",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn json_keeps_large_numbers_and_infinite_ends() {
    let value = value(&metrics(), &target(), Timestamp(5));
    assert_eq!(value["source"], "memory");
    let find = |name: &str| {
        let metrics = value["metrics"].as_array().unwrap();
        metrics.iter().find(|metric| metric["name"] == name).unwrap().clone()
    };
    assert_eq!(find("/gc/gogc:percent")["value"], u64::MAX.to_string());
    let latencies = find("/sched/latencies:seconds");
    assert_eq!(latencies["value"]["bounds"][0], "-Inf");
    assert_eq!(latencies["value"]["bounds"][6], "+Inf");
    assert_eq!(latencies["value"]["counts"][1], 90);
    assert_eq!((&latencies["kind"], &latencies["cumulative"]), (&"histogram".into(), &true.into()));
}

#[test]
fn csv_has_a_row_for_each_bucket() {
    let csv = csv(&metrics());
    assert!(csv.starts_with("metric,from,below,value\n/cpu/classes/total:cpu-seconds,,,2\n"));
    assert!(
        csv.contains("/sched/latencies:seconds,-Inf,0,0\n/sched/latencies:seconds,0,1e-06,90\n")
    );
    assert_eq!(csv.lines().count(), 1 + 7 + 5 + 6);
}

#[test]
fn exporters_have_the_same_names_and_buckets() {
    let page = openmetrics(&metrics());
    for part in [
        "# TYPE go_gc_heap_allocs_bytes counter\ngo_gc_heap_allocs_bytes_total 4096\n",
        "# TYPE go_gc_gogc_percent gauge\ngo_gc_gogc_percent 18446744073709552000\n",
        // 5e-06 lies less than ten times above 1e-06, and all above a second is one.
        "go_sched_latencies_seconds_bucket{le=\"9.999999999999997e-07\"} 90\n\
         go_sched_latencies_seconds_bucket{le=\"9.999999999999999e-06\"} 99\n\
         go_sched_latencies_seconds_bucket{le=\"+Inf\"} 100\n",
        "go_gc_heap_allocs_by_size_bytes_bucket{le=\"8.999999999999998\"} 1\n\
         go_gc_heap_allocs_by_size_bytes_bucket{le=\"24.999999999999996\"} 6\n\
         go_gc_heap_allocs_by_size_bytes_bucket{le=\"+Inf\"} 15\n\
         go_gc_heap_allocs_by_size_bytes_sum 4096\n",
        "# TYPE go_memstats_heap_inuse_bytes gauge\ngo_memstats_heap_inuse_bytes 4194304\n",
        "# TYPE go_info gauge\ngo_info{version=\"go1.26.8\"} 1\n# EOF\n",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    // Parts of it are not there.
    assert!(!page.contains("go_memstats_heap_sys_bytes"));
}

#[test]
fn a_live_view_shows_rates_and_fits() {
    let mut live = Live::default();
    live.add(10.0, metrics());
    let mut later = metrics();
    for sample in &mut later.samples {
        match sample.metric.name {
            "/gc/heap/allocs:bytes" => sample.value = MetricValue::Unsigned(4096 + (4 << 20)),
            "/memory/classes/heap/objects:bytes" => sample.value = MetricValue::Unsigned(1 << 20),
            "/cpu/classes/total:cpu-seconds" => sample.value = MetricValue::Float(6.0),
            "/cpu/classes/user:cpu-seconds" => sample.value = MetricValue::Float(2.5),
            "/sched/latencies:seconds" => sample.value = latencies([0, 90, 105, 4, 0, 1]),
            _ => {}
        }
    }
    live.add(12.0, later);
    let lines = live.lines();
    for part in
        ["4.00 MiB  2.00 MiB/s\n", "1.00 MiB  -2.00 MiB\n", "200 values  50/s p99 5.00 us\n"]
    {
        assert!(lines.contains(part), "{part}\n{lines}");
    }
    let small = Screen { rows: 7, columns: 60 };
    let frame = live.frame(&target(), "every 2 s", small, Paint(false));
    assert_eq!(frame.len(), 7);
    assert!(frame.iter().all(|line| line.chars().count() <= 60), "{frame:?}");
    // What moves goes before what does not.
    assert!(frame[3].starts_with("/gc/heap/allocs:bytes"), "{frame:?}");
    assert!(frame[5].starts_with("/sched/latencies"), "{frame:?}");
    assert!(frame[6].starts_with("6 more"), "{frame:?}");
}
