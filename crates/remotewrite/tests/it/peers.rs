//! Real receivers, where they are installed: what was collected must be there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use model::series::{NAME, NativeHistogram, Value};
use model::{Family, Labels, Point, Timestamp};
use serde_json::Value as Json;

use crate::receivers::{PEERS, Running};
use crate::{gauge, names, open, texts};

const DRAIN: Duration = Duration::from_secs(60);
const CONFIG: &str = "global: {}\n";

impl Running {
    /// Values of the series once there are as many as expected: VictoriaMetrics shows what it
    /// took only after a while. In the end, what there is.
    fn values_of(&self, names: &[String], count: usize) -> BTreeMap<String, Vec<f64>> {
        for _ in 0..100 {
            let values = self.values();
            let has_all = |name| values.get(name).is_some_and(|found| found.len() >= count);
            if names.iter().all(has_all) {
                return values;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.values()
    }

    /// Values of the `probe` series in order of time.
    fn values(&self) -> BTreeMap<String, Vec<f64>> {
        let series = self.samples("probe").into_iter().map(|(labels, samples)| {
            let name = labels["series"].as_str().unwrap().to_owned();
            (name, samples.into_iter().map(|(_, value)| value).collect())
        });
        series.collect()
    }
}

fn start() -> Vec<Running> {
    PEERS.iter().filter_map(|peer| Running::start(peer, CONFIG)).collect()
}

fn config(peers: &[Running], options: &str) -> String {
    let blocks = peers.iter().map(|peer| {
        format!("- {{url: '{}', name: {}, {options}}}\n", peer.write_url(), peer.peer.name)
    });
    blocks.collect()
}

fn now() -> Timestamp {
    Timestamp(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64)
}

const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";

#[test]
fn real_receivers_get_every_sample() {
    let peers = start();
    let queue = "queue_config: {batch_send_deadline: 100ms, max_samples_per_send: 300}";
    for (turn, message) in ["", V2].into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let (writes, notices) = open(
            folder.path(),
            &config(&peers, format!("{message}, {queue}").trim_start_matches(", ")),
        );
        let names: Vec<String> = (0..500).map(|index| format!("{turn}-{index}")).collect();
        for round in 0..20 {
            writes.append("a", now(), &[gauge(&names, f64::from(round))]);
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(writes.drain(DRAIN), "{:?}", texts(&notices));
        let expected: Vec<f64> = (0..20).map(f64::from).collect();
        for peer in &peers {
            let values = peer.values_of(&names, 20);
            for name in &names {
                assert_eq!(values.get(name), Some(&expected), "{} {name}", peer.peer.name);
            }
        }
    }
}

#[test]
fn real_receivers_lose_only_what_they_refuse() {
    let peers = start();
    let options = "send_native_histograms: true, queue_config: {max_backoff: 50ms}";
    let folder = tempfile::tempdir().unwrap();
    let (writes, notices) = open(folder.path(), &config(&peers, options));
    // An hour ahead is out of bounds for Prometheus; a native histogram is an internal error of
    // 2.42, where they are off.
    let ahead = Labels::new([(NAME, "probe"), ("series", "ahead")]);
    let ahead = Point { time: Some(Timestamp(now().0 + 3_600_000)), ..Point::new(ahead, 1.0) };
    let sizes =
        NativeHistogram { count: 1.0, positive: vec![(0, 1.0)], ..NativeHistogram::default() };
    let sizes = Point {
        value: Value::Histogram(sizes.into()),
        ..Point::new(Labels::new([(NAME, "sizes")]), 0.0)
    };
    let bad = Family { name: "bad".to_owned(), points: vec![ahead, sizes], ..Family::default() };
    for round in 0..3 {
        writes.append("a", now(), &[gauge(&names(100), f64::from(round)), bad.clone()]);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(writes.drain(DRAIN), "{:?}", texts(&notices));
    for (peer, status) in peers.iter().zip(writes.status()) {
        let values = peer.values_of(&names(100), 3);
        for name in names(100) {
            assert_eq!(values.get(&name), Some(&vec![0.0, 1.0, 2.0]), "{} {name}", peer.peer.name);
        }
        let has = |reason: &str| status.dropped.iter().any(|(known, _)| *known == reason);
        match peer.peer.name {
            "prometheus 3" => assert!(has("out_of_order") && !has("rejected"), "{status:?}"),
            "prometheus 2.42" => assert!(has("rejected"), "{status:?}"),
            _ => assert!(status.dropped.is_empty(), "{status:?}"),
        }
    }
}

/// A histogram under a name.
fn histogram(name: &str, value: NativeHistogram) -> Family {
    let value = Value::Histogram(value.into());
    let point = Point { value, ..Point::new(Labels::new([(NAME, name)]), 0.0) };
    Family { name: name.to_owned(), points: vec![point], ..Family::default() }
}

impl Running {
    /// What an instant query gives, as texts.
    fn query(&self, query: &str) -> Vec<String> {
        let (_, body) = self.get(&format!("api/v1/query?query={query}")).unwrap();
        let body: Json = serde_json::from_slice(&body).unwrap();
        let results = body["data"]["result"].as_array().unwrap().iter();
        results.map(|result| result["value"][1].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_real_receiver_understands_native_histograms() {
    let Some(peer) = Running::start(&PEERS[0], CONFIG) else { return };
    let peers = [peer];
    let whole = NativeHistogram {
        schema: 0,
        zero_threshold: 0.001,
        zero_count: 2.0,
        count: 12.0,
        sum: 18.5,
        positive: vec![(-1, 1.0), (0, 3.0), (4, 2.0)],
        negative: vec![(2, 4.0)],
        ..NativeHistogram::default()
    };
    let parts = NativeHistogram {
        count: 6.5,
        positive: vec![(1, 4.5)],
        negative: Vec::new(),
        is_gauge: true,
        ..whole.clone()
    };
    let custom = NativeHistogram {
        schema: -53,
        count: 3.0,
        sum: 2.0,
        positive: vec![(0, 1.0), (2, 2.0)],
        bounds: vec![0.5, 1.0].into(),
        ..NativeHistogram::default()
    };
    for (turn, message) in ["send_exemplars: true", V2].into_iter().enumerate() {
        let options = format!("{message}, send_native_histograms: true");
        let folder = tempfile::tempdir().unwrap();
        let (writes, notices) = open(folder.path(), &config(&peers, &options));
        let name = |kind: &str| format!("{kind}{turn}");
        let families = [
            histogram(&name("whole"), whole.clone()),
            histogram(&name("parts"), parts.clone()),
            histogram(&name("custom"), custom.clone()),
        ];
        writes.append("a", now(), &families);
        assert!(writes.drain(DRAIN), "{:?}", texts(&notices));
        let query = |what: &str| peers[0].query(what);
        let number = |function: &str, kind: &str| query(&format!("{function}({})", name(kind)));
        assert_eq!(number("histogram_count", "whole"), ["12"]);
        assert_eq!(number("histogram_sum", "whole"), ["18.5"]);
        // Below zero 4, around it 2, up to 0.5 one, up to 1 three, from 8 to 16 two.
        let below = |bound: &str, kind: &str| {
            query(&format!("histogram_count({0})*histogram_fraction(-Inf,{bound},{0})", name(kind)))
        };
        assert_eq!(below("0.5", "whole"), ["7"]);
        assert_eq!(below("1", "whole"), ["10"]);
        assert_eq!(below("8", "whole"), ["10"]);
        assert_eq!(number("histogram_count", "parts"), ["6.5"]);
        let has_custom: &[&str] = if turn == 0 { &[] } else { &["3"] };
        assert_eq!(number("histogram_count", "custom"), has_custom);
        if turn == 1 {
            assert_eq!(below("0.5", "custom"), ["1"]);
            assert_eq!(below("1", "custom"), ["1"]);
        }
        // The end of them.
        std::thread::sleep(Duration::from_millis(10));
        writes.append("a", now(), &[]);
        assert!(writes.drain(DRAIN), "{:?}", texts(&notices));
        for kind in ["whole", "parts", "custom"] {
            assert_eq!(number("histogram_count", kind), [""; 0], "{kind}");
        }
        assert!(texts(&notices).is_empty(), "{:?}", texts(&notices));
    }
}

/// Starts feeding from `first` on.
fn feed(folder: &Path, first: u64, rounds: u64) -> Option<Child> {
    let mut program = std::env::current_exe().ok()?;
    program.pop();
    program.pop();
    program.push("examples/feed");
    let mut command = Command::new(program);
    command.arg(folder.join("config.yml")).arg(folder.join("queue"));
    command.args(["--series", "300", "--interval", "50", "--first", &first.to_string()]);
    command.args(["--rounds", &rounds.to_string()]);
    let log =
        |name: &str| File::options().create(true).append(true).open(folder.join(name)).unwrap();
    command.stdout(log("rounds")).stderr(log("told")).stdin(Stdio::null());
    command.spawn().ok()
}

/// The last round that is in the queue for sure.
fn rounds(folder: &Path) -> u64 {
    let text = fs::read_to_string(folder.join("rounds")).unwrap();
    text.lines().last().map_or(0, |line| line.parse::<u64>().unwrap() + 1)
}

fn wait_for_round(folder: &Path, round: u64) {
    while rounds(folder) < round {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn real_receivers_and_sender_may_die_at_any_time() {
    let mut peers = start();
    let folder = tempfile::tempdir().unwrap();
    let queue = "queue_config: {batch_send_deadline: 100ms, max_samples_per_send: 200, \
                 max_backoff: 300ms, min_shards: 2}";
    let options = format!("{V2}, {queue}");
    fs::write(folder.path().join("config.yml"), config(&peers, &options)).unwrap();
    let Some(mut child) = feed(folder.path(), 0, 10_000) else {
        eprintln!("skipped: a sender that dies: the example `feed` is not built");
        return;
    };
    let mut kill = |round: u64| {
        wait_for_round(folder.path(), round);
        child.kill().unwrap();
        child.wait().unwrap();
        let next = rounds(folder.path());
        child = feed(folder.path(), next, 10_000).unwrap();
    };
    kill(15);
    peers.iter_mut().for_each(Running::pause);
    kill(40);
    kill(60);
    peers.iter_mut().for_each(Running::resume);
    kill(90);
    wait_for_round(folder.path(), 100);
    child.kill().unwrap();
    child.wait().unwrap();
    let end = rounds(folder.path());
    let last = feed(folder.path(), end, 1).unwrap().wait_with_output().unwrap();
    let told = fs::read_to_string(folder.path().join("told")).unwrap();
    assert!(last.status.success() && told.contains("drained: true"), "{told}");
    for peer in &peers {
        let values = peer.values_of(&names(300), end as usize + 1);
        for name in names(300) {
            let mut found: Vec<u64> = values[&name].iter().map(|value| *value as u64).collect();
            found.dedup();
            let expected: Vec<u64> = (0..=end).collect();
            assert_eq!(found, expected, "{} {name}\n{told}", peer.peer.name);
        }
    }
    eprintln!("{told}");
}
