//! The routes over a store on a real directory, beside a real Prometheus where there is one.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use analyze::families::{Families, Histograms, Subject};
use axum::Router;
use axum::routing::get;
use model::FamilyKind::{Counter, Gauge};
use model::series::{Exposition, NAME, STALE, Sample, Value as Number};
use model::{Family, FamilyKind, Labels, Point, Timestamp};
use render::exposition::{Style, page};
use serde_json::{Value, json};
use store::{SeriesOptions, SeriesStore};

use super::{
    Metrics, exposition, federate, instant, label_values, labels, list_series, metadata, now, range,
};

/// A server that ends with the test.
struct Served {
    url: String,
    _runtime: tokio::runtime::Runtime,
}

fn serve(metrics: Metrics) -> Served {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/metrics", get(exposition))
        .route("/federate", get(federate))
        .route("/api/v1/query", get(instant).post(instant))
        .route("/api/v1/query_range", get(range).post(range))
        .route("/api/v1/labels", get(labels))
        .route("/api/v1/label/{name}/values", get(label_values))
        .route("/api/v1/series", get(list_series))
        .route("/api/v1/metadata", get(metadata))
        .with_state(Arc::new(metrics));
    runtime.spawn(async move { axum::serve(listener, router).await });
    Served { url, _runtime: runtime }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).build().into()
}

/// Status and body.
fn answer(url: &str, path: &str, pairs: &[(&str, &str)]) -> (u16, Value) {
    let request = agent().get(format!("{url}{path}")).query_pairs(pairs.iter().copied());
    let mut response = request.call().unwrap();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(1 << 28).read_to_string().unwrap();
    (status, serde_json::from_str(&body).unwrap())
}

fn text(url: &str, accept: &str) -> (String, String) {
    let mut response = agent().get(url).header("Accept", accept).call().unwrap();
    let kind = response.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, response.body_mut().read_to_string().unwrap())
}

fn figures() -> Metrics {
    Metrics::new(Box::new(|families: &mut Families, _: Histograms| {
        let labels = Labels::new([("service", "it's \"ours\"\\\n"), ("pid", "7")]);
        let subject = Subject::new(labels, Some(Timestamp(1_700_000_000_000)));
        let mut metrics =
            model::RuntimeMetrics { go_version: Some("go1.26.8".to_owned()), ..Default::default() };
        let bounds = [f64::NEG_INFINITY, 0.0, 1e-6, 5e-6, 1e-5, 2.0, f64::INFINITY].into();
        let latencies = model::metrics::Histogram { bounds, counts: vec![0, 90, 5, 4, 0, 1] };
        metrics.push("/sched/latencies:seconds", model::metrics::MetricValue::Histogram(latencies));
        metrics.push_unsigned("/gc/heap/allocs:bytes", 4096);
        metrics.push_unsigned("/gc/gomemlimit:bytes", i64::MAX as u64);
        metrics.sort();
        families.runtime(&metrics, &subject, Histograms::Classic);
        families.add(("a_ratio", Gauge, "one \\ line\n\"two\""), &subject, f64::NAN);
        families.add(("container_memory_failcnt", Counter, "no suffix"), &subject, 3.0);
        families.add(("memsight_growth_high_bytes_per_second", Gauge, ""), &subject, f64::INFINITY);
    }))
}

#[test]
fn a_page_comes_in_the_format_that_is_preferred() {
    let served = serve(figures());
    let url = format!("{}/metrics", served.url);
    let (kind, open) = text(&url, "application/openmetrics-text;version=1.0.0,text/plain;q=0.1");
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"), "{kind}");
    let read = decode::exposition::read(open.as_bytes(), Exposition::OpenMetrics);
    assert_eq!(read.warnings, [""; 0]);
    let (kind, plain) = text(&url, "*/*");
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let again = decode::exposition::read(plain.as_bytes(), Exposition::Text);
    assert_eq!(again.warnings, [""; 0]);
    let series = |families: &[Family]| -> Vec<String> {
        let points = families.iter().flat_map(|family| &family.points);
        points.map(|point| format!("{} {:?}", point.labels, point.value)).collect()
    };
    assert_eq!(series(&read.families), series(&again.families));
    let (status, known) =
        answer(&served.url, "/api/v1/metadata", &[("metric", "go_gc_heap_allocs_bytes_total")]);
    assert_eq!(
        (status, &known["data"]["go_gc_heap_allocs_bytes_total"][0]["type"]),
        (200, &json!("counter"))
    );
    let (status, refused) = answer(&served.url, "/api/v1/query", &[("query", "up")]);
    assert_eq!((status, &refused["errorType"]), (422, &json!("execution")));
}

fn at(name: &str, more: &[(&str, &str)], time: i64, value: f64) -> (Labels, Sample) {
    let labels = Labels::new(more.iter().copied().chain([(NAME, name)]));
    (labels, Sample { time: Timestamp(time), value: Number::Float(value) })
}

fn kept(dir: &Path) -> (Metrics, Arc<SeriesStore>) {
    let store = Arc::new(SeriesStore::open(dir, SeriesOptions::default()).unwrap());
    (Metrics { series: Some(Arc::clone(&store)), ..figures() }, store)
}

#[test]
fn the_last_samples_are_federated() {
    let dir = tempfile::tempdir().unwrap();
    let (metrics, store) = kept(dir.path());
    let time = now().0;
    store
        .append(&[
            at("a", &[("pid", "7")], time - 2000, 1.0),
            at("a", &[("pid", "8")], time - 400_000, 2.0),
            at("b", &[], time - 3000, 3.0),
            at("c", &[], time - 3000, 4.0),
        ])
        .unwrap();
    store
        .append(&[at("a", &[("pid", "7")], time - 1000, 1.5), at("b", &[], time - 1000, STALE)])
        .unwrap();
    let served = serve(metrics);
    let url = format!("{}/federate?match[]=%7B__name__%3D~%22a%7Cb%22%7D&match[]=a", served.url);
    let expected = format!("# TYPE a untyped\na{{pid=\"7\"}} 1.5 {}\n", time - 1000);
    assert_eq!(text(&url, "text/plain").1, expected);
    let (status, refused) = answer(&served.url, "/federate", &[("match[]", "{")]);
    assert_eq!((status, &refused["errorType"]), (400, &json!("bad_data")));
}

#[test]
fn faults_are_worded_as_prometheus_does() {
    let dir = tempfile::tempdir().unwrap();
    let (metrics, store) = kept(dir.path());
    store.append(&[at("a", &[], 1000, 1.0)]).unwrap();
    let served = serve(Metrics { query_samples: 100, ..metrics });
    let check = |path: &str, pairs: &[(&str, &str)], status: u16, kind: &str| {
        let (got, body) = answer(&served.url, path, pairs);
        assert_eq!((got, &body["errorType"]), (status, &json!(kind)), "{path} {pairs:?}: {body}");
        assert_eq!(body["status"], "error");
    };
    let (query, range) = ("/api/v1/query", "/api/v1/query_range");
    check(query, &[], 400, "bad_data");
    check(query, &[("query", "sum(")], 400, "bad_data");
    check(query, &[("query", "a"), ("time", "soon")], 400, "bad_data");
    check(query, &[("query", "a"), ("timeout", "x")], 400, "bad_data");
    check(query, &[("query", "sum_over_time(vector(1)[1h:1s])")], 422, "execution");
    check(query, &[("query", "a"), ("timeout", "0")], 503, "timeout");
    check(range, &[("query", "a"), ("start", "0"), ("end", "1")], 400, "bad_data");
    check(range, &[("query", "a"), ("start", "1"), ("end", "0"), ("step", "1")], 400, "bad_data");
    check(range, &[("query", "a"), ("start", "0"), ("end", "9"), ("step", "0")], 400, "bad_data");
    check(range, &[("query", "a"), ("start", "0"), ("end", "1e9"), ("step", "1")], 400, "bad_data");
    check(
        range,
        &[("query", "a[1m]"), ("start", "0"), ("end", "9"), ("step", "1")],
        400,
        "bad_data",
    );
    check("/api/v1/series", &[], 400, "bad_data");
    check("/api/v1/labels", &[("match[]", "{}")], 400, "bad_data");
    check("/api/v1/labels", &[("limit", "x")], 400, "bad_data");
    // A form is the same.
    let form = [("query", "a"), ("time", "1970-01-01T00:00:02Z")];
    let mut response = agent().post(format!("{}{query}", served.url)).send_form(form).unwrap();
    let body: Value = serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap();
    assert_eq!(body["data"]["result"][0], json!({ "metric": { NAME: "a" }, "value": [2, "1"] }));
    let (_, listed) = answer(&served.url, "/api/v1/label/__name__/values", &[("limit", "1")]);
    assert_eq!(listed, json!({ "status": "success", "data": ["a"] }));
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn peer(path: &str) -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let root = std::env::var("MEMSIGHT_PEERS").unwrap_or(format!("{home}/.cache/memsight/peers"));
    let path = Path::new(&root).join(path);
    if !path.exists() {
        println!("skipped: {} is not there; scripts/monitoring-peers brings it", path.display());
        return None;
    }
    Some(path)
}

const PROMETHEUS: [&str; 2] = ["bin/prometheus", "debian/prometheus/usr/bin/prometheus"];

/// Starts a Prometheus on data and a configuration; gives its address once it answers.
fn prometheus(program: &Path, dir: &Path, config: &str) -> (Running, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = dir.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let child = Command::new(program)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(dir.join("log")).unwrap())
        .spawn()
        .unwrap();
    let (running, url) = (Running(child), format!("http://127.0.0.1:{port}"));
    let begun = Instant::now();
    while agent().get(format!("{url}/-/ready")).call().map_or(0, |r| r.status().as_u16()) != 200 {
        let log = || std::fs::read_to_string(dir.join("log")).unwrap_or_default();
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", log());
        std::thread::sleep(Duration::from_millis(100));
    }
    (running, url)
}

/// An hour of series as they are: counters that start anew, gaps, ends, odd numbers.
fn an_hour(start: i64) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut add = |name: &str,
                   kind: FamilyKind,
                   more: &[(&str, &str)],
                   value: &dyn Fn(i64) -> Option<f64>| {
        let points = (0..240).filter_map(|step| {
            let (labels, sample) = at(name, more, start + step * 15_000 + step % 3, value(step)?);
            Some(Point { time: Some(sample.time), ..Point::new(labels, sample.value.float()?) })
        });
        let family = match kind {
            FamilyKind::Counter => name.trim_end_matches("_total"),
            FamilyKind::Histogram => name.trim_end_matches("_bucket"),
            _ => name,
        };
        match families.iter_mut().find(|known| known.name == family) {
            Some(known) => known.points.extend(points),
            None => families.push(Family {
                name: family.to_owned(),
                kind,
                points: points.collect(),
                ..Family::default()
            }),
        }
    };
    for (pid, each) in [("7", 3.0), ("8", 0.25)] {
        let labels = [("pid", pid), ("service", "shop \"é\"")];
        add("requests_total", Counter, &labels, &|step| Some((step % 100) as f64 * each));
        let level = |step: i64| Some(1e6 * each + ((step * 7919) % 1000) as f64 * each);
        add("level_bytes", Gauge, &labels, &|step| {
            level(step).filter(|_| !(60..100).contains(&step))
        });
        for (le, share) in [("0.5", 0.25), ("1.0", 0.5), ("+Inf", 1.0)] {
            let labels = [&labels[..], &[("le", le)]].concat();
            add("wait_seconds_bucket", FamilyKind::Histogram, &labels, &|step| {
                Some((step as f64 * share * 4.0).floor())
            });
        }
    }
    add("odd", Gauge, &[], &|step| {
        Some([f64::NAN, f64::INFINITY, -0.0, 1e-7, 1e300, -3.5][step as usize % 6])
    });
    add("ended", Gauge, &[], &|step| (step < 100).then_some(step as f64 * 0.1));
    families
}

const QUERIES: [&str; 24] = [
    "requests_total",
    r#"{__name__=~"level.*|odd",pid!="8"}"#,
    "sum by (service) (level_bytes)",
    "rate(requests_total[5m])",
    "increase(requests_total[10m])",
    "irate(requests_total[2m])",
    "histogram_quantile(0.9, sum by (le) (rate(wait_seconds_bucket[5m])))",
    "level_bytes offset 10m",
    "predict_linear(level_bytes[20m], 3600)",
    "deriv(level_bytes[10m])",
    "max_over_time(rate(requests_total[1m])[10m:1m])",
    "absent(nothing)",
    "topk(1, level_bytes)",
    "ended",
    "odd",
    "odd > 1",
    "level_bytes / on (pid) group_left () requests_total",
    "quantile_over_time(0.5, level_bytes[10m])",
    "count_values(\"v\", requests_total)",
    "label_replace(level_bytes, \"x\", \"$1\", \"pid\", \"(.*)\")",
    "stddev(level_bytes) or vector(1)",
    "time() - timestamp(level_bytes)",
    "1 + 2 * 3",
    "avg_over_time(level_bytes[5m]) unless ended",
];

/// Results have no order of their own.
fn sorted(mut body: Value) -> Value {
    if let Some(Value::Array(result)) = body.pointer_mut("/data/result") {
        result.sort_by_key(|series| series["metric"].to_string());
    }
    body["data"].take()
}

#[test]
fn answers_are_those_of_a_real_prometheus() {
    let Some(promtool) = peer("bin/promtool") else { return };
    let start = (now().0 - 2 * 3_600_000) / 1000 * 1000;
    let families = an_hour(start);
    let dir = tempfile::tempdir().unwrap();
    let (metrics, store) = kept(dir.path());
    let mut samples: Vec<(Labels, Sample)> = families
        .iter()
        .flat_map(|family| &family.points)
        .map(|p| (p.labels.clone(), Sample { time: p.time.unwrap(), value: p.value.clone() }))
        .collect();
    samples.sort_by_key(|(_, sample)| sample.time);
    for (index, part) in samples.chunks(500).enumerate() {
        store.append(part).unwrap();
        if index == 2 {
            store.flush(now()).unwrap();
        }
    }
    let served = serve(metrics);
    let style = Style { format: Exposition::OpenMetrics, with_created: false };
    let file = dir.path().join("page");
    std::fs::write(&file, page(&families, style)).unwrap();
    // Prometheus 2 closes ranges at both ends, and rounds averages otherwise.
    for program in PROMETHEUS[..1].iter().filter_map(|path| peer(path)) {
        let own = tempfile::tempdir().unwrap();
        let made = Command::new(&promtool)
            .args(["tsdb", "create-blocks-from", "openmetrics"])
            .args([&file, &own.path().join("data")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let (_running, url) = prometheus(&program, own.path(), "global: {}\n");
        let mut compared = 0;
        let mut same = |path: &str, pairs: &[(&str, &str)]| {
            let (status, expected) = answer(&url, path, pairs);
            let (own, body) = answer(&served.url, path, pairs);
            assert_eq!(own, status, "{path} {pairs:?}: {body} {expected}");
            assert_eq!(
                body["errorType"], expected["errorType"],
                "{path} {pairs:?}: {body} {expected}"
            );
            assert_eq!(sorted(body), sorted(expected), "{} {path} {pairs:?}", program.display());
            compared += 1;
        };
        let seconds = |offset: i64| format!("{}.5", start / 1000 + offset);
        let (begin, end) = (seconds(0), seconds(3700));
        for query in QUERIES {
            for time in [seconds(1), seconds(1600), seconds(3590), seconds(4000)] {
                same("/api/v1/query", &[("query", query), ("time", &time)]);
            }
            let pairs = [("query", query), ("start", &begin), ("end", &end), ("step", "37s")];
            same("/api/v1/query_range", &pairs);
        }
        same("/api/v1/query", &[("query", "level_bytes[2m]"), ("time", &seconds(1200))]);
        same("/api/v1/query", &[("query", "\"text\""), ("time", &seconds(1200))]);
        same("/api/v1/query", &[("query", "sum("), ("time", &seconds(1200))]);
        let span = [("start", begin.as_str()), ("end", end.as_str())];
        same("/api/v1/labels", &span);
        same("/api/v1/label/__name__/values", &span);
        same("/api/v1/label/pid/values", &[("match[]", "level_bytes"), span[0], span[1]]);
        same("/api/v1/label/none/values", &span);
        same(
            "/api/v1/series",
            &[("match[]", r#"{pid="8"}"#), ("match[]", "odd"), span[0], span[1]],
        );
        assert_eq!(compared, QUERIES.len() * 5 + 8);
    }
}

#[test]
fn a_real_prometheus_scrapes_the_page() {
    let served = serve(figures());
    let page = text(&format!("{}/metrics", served.url), "text/plain").1;
    if let Some(promtool) = peer("bin/promtool") {
        let mut check = Command::new(promtool)
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut check.stdin.take().unwrap(), page.as_bytes()).unwrap();
        let said = check.wait_with_output().unwrap();
        // It may find names that others chose to be odd (3), but it reads the page.
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(matches!(said.status.code(), Some(0 | 3)), "{text}");
        println!("{text}");
    }
    let own = decode::exposition::read(page.as_bytes(), Exposition::Text);
    for program in PROMETHEUS.iter().filter_map(|path| peer(path)) {
        let dir = tempfile::tempdir().unwrap();
        let target = served.url.trim_start_matches("http://");
        let config = format!(
            "global: {{ scrape_interval: 1s }}\nscrape_configs:\n  - job_name: m\n    static_configs: [{{ targets: ['{target}'] }}]\n"
        );
        let (_running, url) = prometheus(&program, dir.path(), &config);
        let begun = Instant::now();
        let scraped = loop {
            let (_, body) = answer(&url, "/api/v1/query", &[("query", r#"{job="m"}"#)]);
            let result = body["data"]["result"].as_array().cloned().unwrap_or_default();
            let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            if result
                .iter()
                .any(|series| series["metric"][NAME] == "up" && series["value"][1] == "1")
            {
                break result;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", log());
            std::thread::sleep(Duration::from_millis(200));
        };
        let mut found = 0;
        for series in &scraped {
            let pairs = series["metric"].as_object().unwrap().iter();
            let pairs = pairs.filter(|(name, _)| !matches!(name.as_str(), "job" | "instance"));
            let labels = Labels::new(pairs.map(|(name, value)| (name, value.as_str().unwrap())));
            if labels.name() == "up" || labels.name().starts_with("scrape_") {
                continue;
            }
            let points = own.families.iter().flat_map(|family| &family.points);
            let mut points = points.filter(|point| point.labels == labels);
            let value = points.next().unwrap_or_else(|| panic!("{labels}")).value.float().unwrap();
            let scraped: f64 = series["value"][1].as_str().unwrap().parse().unwrap();
            assert!(scraped == value || (scraped.is_nan() && value.is_nan()), "{labels}");
            found += 1;
        }
        assert_eq!(found, own.samples, "{}", program.display());
    }
}
