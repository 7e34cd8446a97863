//! What is scraped here and sent to a real Prometheus is what that Prometheus scrapes itself.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use agent::scrape::{ScrapeConfig, Scrapes, Sink};
use httpclient::{Client, Options};
use model::Labels;
use remotewrite::{Config, Limits, RemoteWrites};
use serde_json::Value;

/// A page of client_golang with every kind of series.
const PAGE: &[u8] = include_bytes!("../../../fixtures/metricpage/client_golang.pb");

/// Shows the page on a port, for as long as the process lives.
fn shown() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = |stream: TcpStream| -> std::io::Result<()> {
        let lines = BufReader::new(&stream).lines();
        let request: Vec<String> =
            lines.map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
        let is_asked = request.iter().any(|line| {
            line.to_lowercase().starts_with("accept:") && line.contains("vnd.google.protobuf")
        });
        let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                    encoding=delimited";
        let (status, length) = if is_asked { ("200 OK", PAGE.len()) } else { ("406 No", 0) };
        let close = "Connection: close";
        let mut stream = &stream;
        write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{close}\r\n")?;
        write!(stream, "Content-Length: {length}\r\n\r\n")?;
        stream.write_all(&PAGE[..length])
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = answer(stream);
        }
    });
    port
}

/// A Prometheus that ends with the test.
struct Prometheus {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Prometheus {
    fn start(config: &str) -> Option<Prometheus> {
        let root = std::env::var_os("MEMSIGHT_PEERS").map(PathBuf::from).or_else(|| {
            Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache/memsight/peers"))
        })?;
        let program = root.join("bin/prometheus");
        if !program.exists() {
            eprintln!("skipped: no {} (scripts/monitoring-peers)", program.display());
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("config.yml"), config).unwrap();
        let child = Command::new(program)
            .arg(format!("--config.file={}", path("config.yml").display()))
            .arg(format!("--storage.tsdb.path={}", path("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--web.enable-remote-write-receiver")
            .arg("--enable-feature=exemplar-storage")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log")).unwrap())
            .spawn()
            .unwrap();
        Some(Prometheus { child, port, folder })
    }

    fn get(&self, path: &str) -> Option<Value> {
        TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let client = Client::new(&Options::default(), Duration::from_secs(10)).unwrap();
        let url = format!("http://127.0.0.1:{}{path}", self.port);
        let answer = client.send("GET", &url, &[], b"").ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// What it has of a job: series with value and exemplars, as it shows them.
    fn of_job(&self, job: &str) -> BTreeMap<String, String> {
        let selector = format!("%7Bjob%3D%22{job}%22%2C__name__%21~%22up%7Cscrape_.%2A%22%7D");
        let named = |labels: &Value| {
            let mut labels = labels.as_object().unwrap().clone();
            labels.retain(|name, _| name != "job" && name != "instance");
            Value::Object(labels).to_string()
        };
        let mut all = BTreeMap::new();
        let found = self.get(&format!("/api/v1/query?query={selector}")).unwrap_or_default();
        for series in found["data"]["result"].as_array().into_iter().flatten() {
            let value = format!("{} {}", series["value"][1], series["histogram"][1]);
            all.insert(named(&series["metric"]), value);
        }
        let path = format!("/api/v1/query_exemplars?query={selector}&start=0&end=4000000000");
        let found = self.get(&path).unwrap_or_default();
        for series in found["data"].as_array().into_iter().flatten() {
            let exemplars = series["exemplars"].to_string();
            all.insert(format!("exemplars of {}", named(&series["seriesLabels"])), exemplars);
        }
        all
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check(options: &str, message: &str, expected: &[&str]) {
    let target = shown();
    let job = |name: &str| {
        format!(
            "{{job_name: {name}, scrape_interval: 1s, scrape_native_histograms: true, {options}\
             static_configs: [{{targets: ['127.0.0.1:{target}']}}]}}"
        )
    };
    let config = format!("scrape_configs: [{}]\n", job("direct"));
    let Some(prometheus) = Prometheus::start(&config) else { return };
    let folder = tempfile::tempdir().unwrap();
    let write = format!(
        "[{{url: 'http://127.0.0.1:{}/api/v1/write', send_exemplars: true, \
         send_native_histograms: true, protobuf_message: {message}}}]",
        prometheus.port
    );
    let write: Vec<Config> = serde_saphyr::from_str(&write).unwrap();
    let report = Arc::new(|notice| eprintln!("{notice}"));
    let limits = Limits::default();
    let writes =
        RemoteWrites::open(folder.path(), &Labels::empty(), &write, limits, report).unwrap();
    let writes = Arc::new(writes);
    let scraped: Vec<ScrapeConfig> = serde_saphyr::from_str(&format!("[{}]", job("sent"))).unwrap();
    let into = Arc::clone(&writes);
    let sink: Sink = Arc::new(move |source: &str, time, families: &[model::Family]| {
        into.append(source, time, families);
        into.drain(Duration::ZERO);
    });
    let report: agent::scrape::Report = Arc::new(|source: &str, why: Option<&str>| {
        panic!("{source}: {why:?}");
    });
    let mut scrapes = Scrapes::default();
    scrapes.change(&scraped, Duration::from_secs(1), &sink, &report).unwrap();
    let mut both = [BTreeMap::new(), BTreeMap::new()];
    for _ in 0..300 {
        both = ["direct", "sent"].map(|job| prometheus.of_job(job));
        if !both[0].is_empty() && both[0] == both[1] {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    drop(scrapes);
    let log = fs::read_to_string(prometheus.folder.path().join("log")).unwrap_or_default();
    let [direct, sent] = both;
    assert_eq!(direct, sent, "{log}");
    for part in expected {
        assert!(sent.keys().any(|series| series.contains(part)), "no {part} in {sent:#?}");
    }
}

#[test]
fn native_histograms_are_those_that_prometheus_keeps() {
    let expected = ["{\"__name__\":\"native_seconds\"", "summary_seconds", "exemplars of"];
    check("", "io.prometheus.write.v2.Request", &expected);
    let expected =
        ["{\"__name__\":\"both_seconds\"", "\"both_seconds_bucket\"", "\"le\":\"1e+06\""];
    check("always_scrape_classic_histograms: true, ", "prometheus.WriteRequest", &expected);
}
