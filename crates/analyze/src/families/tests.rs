//! Families of hand-made figures.

use std::collections::BTreeMap;

use model::metrics::{Histogram, MetricValue};
use model::series::{Value, is_stale};
use model::{
    CaptureKind, CgroupMemory, CgroupVersion, Confidence, Diagnosis, Family, Finding, FindingKind,
    Interval, Labels, Observation, RuntimeMetrics, Site, Target, TargetSpec, Timestamp,
};

use super::figures::{cgroup_id, names};
use super::{Exposed, Families, Histograms, SelfFigures, Subject, float, target_labels};

fn target() -> Target {
    let pairs = [("exe", "/bin/shop"), ("start_ticks", "77"), ("pod", "shop-1")];
    let labels: BTreeMap<String, String> =
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Target { name: "shop".to_owned(), spec: TargetSpec::Pid(7), pid: Some(7), labels }
}

fn values(families: &[Family]) -> BTreeMap<String, f64> {
    let points = families.iter().flat_map(|family| &family.points);
    points.filter_map(|p| Some((p.labels.to_string(), p.value.float()?))).collect()
}

#[test]
fn a_target_is_told_by_few_labels() {
    assert_eq!(target_labels(&target()).to_string(), r#"{pid="7", pod="shop-1", service="shop"}"#);
    let mut families = Families::default();
    families.target(&target(), "/shop");
    let info = r#"memsight_target_info{cgroup="/shop", exe="/bin/shop", pid="7", pod="shop-1", service="shop"}"#;
    assert_eq!(values(&families.into_vec()), [(info.to_owned(), 1.0)].into());
}

#[test]
fn cgroups_and_the_machine_are_there_once() {
    let mut observation = Observation::default();
    observation.process.rss_bytes = Some(100);
    observation.host.total_bytes = Some(1000);
    observation.cgroup = CgroupMemory {
        version: Some(CgroupVersion::V1),
        path: "/a/b".to_owned(),
        limit_path: "/sys/fs/cgroup/memory/a".to_owned(),
        limit_bytes: Some(500),
        limit_hits: Some(3),
        ..CgroupMemory::default()
    };
    let mut families = Families::default();
    for pid in ["7", "8"] {
        let labels = Labels::new([("pid", pid)]);
        let subject = Subject::new(labels, Some(Timestamp(1500)));
        families.process(&observation, &subject);
        families.cgroup(&observation.cgroup);
        families.host(&observation);
    }
    let families = families.into_vec();
    let expected = [
        (r#"container_memory_failcnt{id="/a"}"#, 3.0),
        (r#"container_spec_memory_limit_bytes{id="/a"}"#, 500.0),
        (r#"memsight_process_limit_bytes{pid="7"}"#, 500.0),
        (r#"memsight_process_limit_bytes{pid="8"}"#, 500.0),
        ("node_memory_MemTotal_bytes", 1000.0),
        (r#"process_resident_memory_bytes{pid="7"}"#, 100.0),
        (r#"process_resident_memory_bytes{pid="8"}"#, 100.0),
        (r#"process_start_time_seconds{pid="7"}"#, 1.5),
        (r#"process_start_time_seconds{pid="8"}"#, 1.5),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(name, value)| (name.to_owned(), value)).into();
    assert_eq!(values(&families), expected);
    let points: usize = families.iter().map(|family| family.points.len()).sum();
    assert_eq!(points, expected.len());
}

#[test]
fn the_cgroup_with_the_limit_is_named_as_in_its_hierarchy() {
    let check = |path: &str, limit: &str, expected: &str| {
        let cgroup = CgroupMemory {
            path: path.to_owned(),
            limit_path: limit.to_owned(),
            ..CgroupMemory::default()
        };
        assert_eq!(cgroup_id(&cgroup), expected, "{path} {limit}");
    };
    check("/a/b", "", "/a/b");
    check("/a/b", "/sys/fs/cgroup/memory/a/b", "/a/b");
    check("/a/b", "/sys/fs/cgroup/memory/a", "/a");
    check("/a/b", "/sys/fs/cgroup/memory", "/");
    check("/", "/sys/fs/cgroup", "/");
}

/// Bounds as the runtime has them, fewer of them.
fn metrics() -> RuntimeMetrics {
    let mut metrics = RuntimeMetrics::default();
    let bounds = [f64::NEG_INFINITY, 0.0, 1e-6, 5e-6, 1e-5, 2.0, f64::INFINITY].into();
    let latencies = Histogram { bounds, counts: vec![0, 90, 5, 4, 0, 1] };
    metrics.push("/sched/latencies:seconds", MetricValue::Histogram(latencies));
    metrics.push_unsigned("/gc/heap/allocs:bytes", 4096);
    metrics
}

#[test]
fn native_histograms_have_all_buckets_of_the_runtime() {
    let mut families = Families::default();
    let subject = Subject::new(Labels::empty(), Some(Timestamp(5)));
    families.runtime(&metrics(), &subject, Histograms::Native);
    let families = families.into_vec();
    let family = families.iter().find(|f| f.name == "go_sched_latencies_seconds").unwrap();
    let [point] = &family.points[..] else { panic!("{family:?}") };
    let Value::Histogram(histogram) = &point.value else { panic!("{point:?}") };
    assert_eq!((histogram.schema, histogram.count), (-53, 100.0));
    let bounds = [1e-6, 5e-6, 1e-5, 2.0].map(f64::next_down);
    assert_eq!(histogram.bounds[..], bounds);
    assert_eq!(histogram.positive, [(0, 90.0), (1, 5.0), (2, 4.0), (4, 1.0)]);
    assert!(histogram.sum.is_nan());
    assert_eq!(point.start, Some(Timestamp(5)));
    assert_eq!(family.unit, "seconds");
}

#[test]
fn levels_come_first_and_stay() {
    let mut families = Families::default();
    let subject = Subject::default();
    let levels = model::RuntimeMemory { total_alloc_bytes: Some(5000), ..Default::default() };
    families.runtime_levels(&levels, &subject);
    families.runtime(&metrics(), &subject, Histograms::Classic);
    let values = values(&families.into_vec());
    assert_eq!(values["go_gc_heap_allocs_bytes_total"], 5000.0);
    assert_eq!(values[r#"go_sched_latencies_seconds_bucket{le="+Inf"}"#], 100.0);
}

/// docs/prometheus.md names every series but those that go by client_golang's rule.
#[test]
fn the_documentation_has_all_series() {
    const TEXT: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/prometheus.md"));
    let mut families = Families::default();
    families.target(&target(), "");
    families.captures(&[(CaptureKind::Heap, 1, 1, 1)]);
    families.own(&SelfFigures {
        cpu_seconds: Some(1.0),
        rss_bytes: Some(1),
        events: vec![("found", 1)],
        errors: vec![("capture", 1)],
        ..SelfFigures::default()
    });
    families.diagnosis(&verdict(), &Subject::default());
    let families = families.into_vec();
    let points = families.iter().flat_map(|family| &family.points);
    for name in points.map(|point| point.labels.name()).chain(names()) {
        assert!(TEXT.contains(&format!("`{name}`")), "{name} is not documented");
    }
}

#[test]
fn a_verdict_has_its_bounds_and_few_sites() {
    let mut families = Families::default();
    families.diagnosis(&verdict(), &Subject::default());
    let values = values(&families.into_vec());
    assert_eq!(values.len(), 1 + 3 + 3 + 3);
    assert_eq!(values[r#"memsight_finding{kind="heap-leak"}"#], 0.9);
    assert_eq!(values[r#"memsight_time_to_limit_high_seconds{kind="heap-leak"}"#], f64::INFINITY);
    assert_eq!(values[r#"memsight_growth_site_share{kind="heap-leak", site="c"}"#], 0.5);
}

fn verdict() -> Diagnosis {
    let interval = Interval { estimate: 2.0, low: 1.0, high: f64::INFINITY };
    let site = |function: &str| {
        let mut site = Site { share: 0.5, ..Site::default() };
        site.frame.function = function.to_owned();
        site
    };
    let sites = ["a", "a", "b", "c", "d"].map(site).to_vec();
    let finding = Finding {
        kind: FindingKind::HeapLeak,
        confidence: Confidence(0.9),
        summary: String::new(),
        rate: Some(interval),
        time_to_limit_seconds: Some(interval),
        sites,
        retainers: Vec::new(),
        captures: Vec::new(),
        evidence: Vec::new(),
        next: String::new(),
    };
    Diagnosis {
        target: target(),
        time: Timestamp(0),
        span_seconds: 1.0,
        findings: vec![finding],
        warnings: Vec::new(),
    }
}

#[test]
fn series_that_are_gone_end_once() {
    let mut exposed = Exposed::default();
    let mut step = |names: &[&str], time: i64| {
        let mut families = Families::default();
        for name in names {
            families.add((name, model::FamilyKind::Gauge, ""), &Subject::default(), 1.0);
        }
        let families = families.into_vec();
        let samples = exposed.samples(&families, Timestamp(time));
        let shown = |(labels, at, value): (&Labels, Timestamp, &Value)| {
            let is_end = value.float().is_some_and(is_stale);
            format!("{labels} {}{}", at.0, if is_end { " ends" } else { "" })
        };
        samples.map(shown).collect::<Vec<String>>()
    };
    assert_eq!(step(&["a", "b"], 1), ["a 1", "b 1"]);
    assert_eq!(step(&["a", "c"], 2), ["a 2", "c 2", "b 2 ends"]);
    assert_eq!(step(&["c"], 3), ["c 3", "a 3 ends"]);
    assert_eq!(step(&["c", "a"], 4), ["c 4", "a 4"]);
    assert_eq!(step(&[], 5), ["a 5 ends", "c 5 ends"]);
    assert_eq!(step(&[], 6), [""; 0]);
}

#[test]
fn fractions_are_written_as_go_writes_them() {
    let all = [0.0, 1.0, 0.5, 1e-4, 1e-5, 1.25e-7, 1e20, 1e21, f64::NEG_INFINITY];
    let expected =
        ["0", "1", "0.5", "0.0001", "1e-05", "1.25e-07", "100000000000000000000", "1e+21", "-Inf"];
    assert_eq!(all.map(float), expected);
}
