//! Pages as programs print them, and damaged ones.

use model::RuntimeMetrics;
use model::metrics::{METRICS, MetricValue, MetricsSource};

use super::read;

const EXPVAR: &str = r#"{
"cmdline": ["./app"],
"memstats": {"Alloc":7,"TotalAlloc":100,"Sys":90,"Mallocs":12,"Frees":5,"HeapAlloc":40,"HeapSys":70,
"HeapIdle":20,"HeapInuse":50,"HeapReleased":8,"HeapObjects":7,"StackInuse":6,"StackSys":6,"NextGC":80,
"LastGC":1795703600265612348,"PauseTotalNs":9,"NumGC":3,"NumForcedGC":1,"GCCPUFraction":0.5},
"mine": {"depth": [[[]]]}
}"#;

const HEAP_TEXT: &str = "heap profile: 1: 2 [3: 4] @ heap/1048576\n1: 2 [3: 4] @ 0x1\n\n# runtime.MemStats\n\
    # Alloc = 40\n# TotalAlloc = 100\n# Sys = 90\n# Mallocs = 12\n# Frees = 5\n# HeapAlloc = 40\n\
    # HeapIdle = 20\n# HeapInuse = 50\n# HeapReleased = 8\n# Stack = 6 / 6\n# MSpan = 1 / 3\n\
    # NextGC = 80\n# NumGC = 3\n# NumForcedGC = 1\n# GCCPUFraction = 0.5\n# MaxRSS = 4096\n";

const PROMETHEUS: &str = "# HELP go_goroutines Number of goroutines.\n# TYPE go_goroutines gauge\n\
    go_goroutines 8\ngo_info{version=\"go1.25.5\"} 1\ngo_gc_gomemlimit_bytes 9.223372036854776e+18\n\
    go_gc_duration_seconds{quantile=\"0\"} 1e-05\ngo_gc_duration_seconds_count 3\n\
    go_memstats_heap_alloc_bytes 40\ngo_memstats_heap_inuse_bytes 50\n\
    go_memstats_alloc_bytes_total 100 1795703600\n\
    go_sched_latencies_seconds_bucket{le=\"6.399999999999999e-08\"} 2\n\
    go_sched_latencies_seconds_bucket{le=\"6.399999999999999e-07\"} 5\n\
    go_sched_latencies_seconds_bucket{le=\"+Inf\"} 6\ngo_sched_latencies_seconds_sum 0.1\n\
    app_requests_total 7\n";

const CLIENT_GOLANG: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/metricpage/client_golang.prom"
));

fn unsigned(metrics: &RuntimeMetrics, names: &[(&str, u64)]) {
    for (name, value) in names {
        assert_eq!(metrics.unsigned(name), Some(*value), "{name}");
    }
}

#[test]
fn memstats_go_by_the_names_of_the_metrics() {
    let shared = [
        ("/gc/heap/allocs:bytes", 100),
        ("/gc/heap/frees:bytes", 60),
        ("/gc/heap/objects:objects", 7),
        ("/gc/heap/goal:bytes", 80),
        ("/memory/classes/heap/free:bytes", 12),
        ("/memory/classes/heap/unused:bytes", 10),
        ("/memory/classes/os-stacks:bytes", 0),
        ("/gc/cycles/automatic:gc-cycles", 2),
    ];
    let expvar = read(EXPVAR.as_bytes()).unwrap();
    assert_eq!(expvar.source, MetricsSource::Expvar);
    unsigned(&expvar, &shared);
    assert_eq!(expvar.collector.last_gc_nanos, Some(1_795_703_600_265_612_348));
    let text = read(HEAP_TEXT.as_bytes()).unwrap();
    assert_eq!(text.source, MetricsSource::HeapText);
    unsigned(&text, &shared);
    unsigned(&text, &[("/memory/classes/metadata/mspan/free:bytes", 2)]);
    // With tiny objects in both, neither has a name.
    assert_eq!(text.get("/gc/heap/allocs:objects"), None);
}

#[test]
fn a_page_for_prometheus() {
    let page = read(PROMETHEUS.as_bytes()).unwrap();
    assert_eq!(page.source, MetricsSource::Prometheus);
    assert_eq!(page.go_version.as_deref(), Some("go1.25.5"));
    unsigned(
        &page,
        &[
            ("/gc/gomemlimit:bytes", i64::MAX as u64),
            ("/gc/cycles/total:gc-cycles", 3),
            ("/gc/heap/frees:bytes", 60),
            ("/memory/classes/heap/unused:bytes", 10),
            ("/sched/goroutines:goroutines", 8),
        ],
    );
    let Some(MetricValue::Histogram(latencies)) = page.get("/sched/latencies:seconds") else {
        panic!("no histogram")
    };
    assert_eq!(latencies.counts, [2, 3, 1]);
    assert_eq!(latencies.bounds[..], [0.0, 6.4e-8, 6.4e-7, f64::INFINITY]);
    assert_eq!(page.warnings, [""; 0]);
    let newer = PROMETHEUS.replace("go1.25.5", "go1.26.0");
    let newer = read(newer.as_bytes()).unwrap();
    assert_eq!(newer.get("/sched/goroutines:goroutines"), None);
    assert_eq!(newer.collector.goroutines, Some(8));
    let twice = format!("{PROMETHEUS}{PROMETHEUS}");
    assert_eq!(read(twice.as_bytes()).unwrap().warnings.len(), 1);
}

#[test]
fn what_client_golang_shows_is_read_whole() {
    let page = read(CLIENT_GOLANG.as_bytes()).unwrap();
    assert_eq!(page.samples.len(), METRICS.len());
    assert_eq!(page.warnings, [""; 0]);
    assert_eq!(page.go_version.as_deref(), Some("go1.26.8"));
    assert_eq!(page.collector.goroutines, Some(6));
    assert!(page.collector.pause_quantiles_nanos.is_some_and(|pauses| pauses.is_sorted()));
    // The base metrics say the same.
    let base: String = CLIENT_GOLANG
        .lines()
        .filter(|line| line.starts_with("go_memstats_") || line.starts_with("go_gc_duration"))
        .fold(String::new(), |text, line| text + line + "\n");
    let base = read(base.as_bytes()).unwrap();
    // All but those that need NumForcedGC.
    assert_eq!(base.samples.len(), 19);
    for sample in &base.samples {
        assert_eq!(page.get(sample.metric.name), Some(&sample.value), "{}", sample.metric.name);
    }
}

#[test]
fn damaged_pages_give_what_is_left() {
    for page in [EXPVAR, HEAP_TEXT, PROMETHEUS] {
        for end in 0..page.len() {
            let mut cut = page.as_bytes()[..end].to_vec();
            let _ = read(&cut);
            cut.extend_from_slice(b"\xff{,}\"= -1 / 99999999999999999999\nNaN");
            let _ = read(&cut);
        }
    }
    assert_eq!(read(b""), None);
    assert_eq!(read(b"{}"), None);
    assert_eq!(read(b"<html>404</html>"), None);
    let page = b"go_gc_heap_live_bytes -5\ngo_gc_heap_goal_bytes NaN\ngo_gc_gogc_percent 1e99\n";
    let read = read(page).unwrap();
    unsigned(&read, &[("/gc/gogc:percent", u64::MAX)]);
    assert_eq!(read.samples.len(), 1);
}
