//! A page that the agent reads and forwards to real receivers, side by side: what they have is what
//! the page said, to the last sample, whatever happens to the agent and to them meanwhile.
//!
//! `MEMSIGHT_FORWARD_DOWN` says for how many seconds the receivers are down; 12 without it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use crate::agent::{Agent, wait_for, wait_within};
use crate::receivers::{PEERS, Running};
use crate::support::server;

const LEVELS: u64 = 2000;
const EVENTS: u64 = 1000;
const ROUTES: u64 = 20;
const BOUNDS: [&str; 8] = ["0.005", "0.05", "0.25", "0.5", "1.5", "2.5", "10.5", "+Inf"];
/// What none but VictoriaMetrics takes: hours old. (Hours ahead would be worse: Prometheus 2.42 takes
/// that, and then takes nothing any more that is as old as now.)
const BAD: &str = "page_old";

/// Series of one time, as text without what names their source.
type Round = BTreeMap<String, f64>;

fn millis() -> i64 {
    i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// What the page says when it is asked for the nth time, but for what is bad about it.
fn round(n: u64) -> Round {
    let mut round = Round::new();
    let mut add = |name: String, value: f64| assert!(round.insert(name, value).is_none());
    add("page_serial".to_owned(), n as f64);
    for index in 0..LEVELS {
        add(format!("page_level{{series=\"{index}\"}}"), (n * 1000 + index) as f64 / 8.0);
    }
    for index in 0..EVENTS {
        add(format!("page_events_total{{series=\"{index}\"}}"), (n * (index + 1)) as f64);
    }
    for route in 0..ROUTES {
        for (bucket, bound) in (1..).zip(BOUNDS) {
            let labels = format!("le=\"{bound}\",route=\"/{route}\"");
            add(format!("page_seconds_bucket{{{labels}}}"), (n * bucket) as f64);
        }
        add(format!("page_seconds_sum{{route=\"/{route}\"}}"), n as f64 / 2.0);
        add(format!("page_seconds_count{{route=\"/{route}\"}}"), (n * 8) as f64);
    }
    add("page_odd{kind=\"größer, \\\"a\\\\b\\\"\"}".to_owned(), -(n as f64) - 0.5);
    add("page_odd{kind=\"inf\"}".to_owned(), f64::INFINITY);
    // It comes and goes.
    if n.is_multiple_of(2) {
        add("page_even".to_owned(), n as f64);
    }
    round
}

fn page(n: u64) -> String {
    let mut text = String::new();
    let types = [
        ("page_serial", "gauge"),
        ("page_level", "gauge"),
        ("page_events_total", "counter"),
        ("page_seconds", "histogram"),
    ];
    for (name, kind) in types {
        writeln!(text, "# HELP {name} What is known.\n# TYPE {name} {kind}").unwrap();
    }
    for (name, value) in round(n) {
        writeln!(text, "{name} {}", value.to_string().replace("inf", "+Inf")).unwrap();
    }
    writeln!(text, "{BAD} 1 {}", millis() - 3 * 3_600_000).unwrap();
    text
}

/// When each round was asked for, the first at 0; those of the agent and those of Prometheus itself.
#[derive(Default)]
struct Served {
    agent: Vec<i64>,
    direct: Vec<i64>,
}

/// What a receiver has of a job, by time.
fn rounds(receiver: &Running, job: &str, way: &str) -> BTreeMap<i64, Round> {
    let mut rounds: BTreeMap<i64, Round> = BTreeMap::new();
    let names = "page_serial|page_level|page_events_total|page_seconds.*|page_odd|page_even";
    for name in names.split('|') {
        let selector = format!("{{__name__=~\"{name}\",job=\"{job}\",way=\"{way}\"}}");
        for (labels, samples) in receiver.samples(&escaped(&selector)) {
            let labels = labels.as_object().unwrap();
            let name = labels["__name__"].as_str().unwrap();
            let own: Vec<String> = labels
                .iter()
                .filter(|(name, _)| {
                    !["__name__", "job", "instance", "way"].contains(&name.as_str())
                })
                .map(|(name, value)| {
                    let value = value.as_str().unwrap().replace('\\', "\\\\").replace('"', "\\\"");
                    format!("{name}=\"{value}\"")
                })
                .collect();
            let name = match own.is_empty() {
                true => name.to_owned(),
                false => format!("{name}{{{}}}", own.join(",")),
            };
            for (time, value) in samples {
                let before = rounds.entry(time).or_default().insert(name.clone(), value);
                // VictoriaMetrics keeps what comes twice.
                let is_same = before.is_none_or(|it| it.to_bits() == value.to_bits());
                assert!(is_same, "{}: {name} has two values at {time}", receiver.peer.name);
            }
        }
    }
    rounds
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// The number of a round.
fn number(round: &Round) -> usize {
    round["page_serial"] as usize
}

/// When the round before was asked for, and when this one was.
fn asked_at(asked: &[i64], n: usize) -> (i64, i64) {
    (n.checked_sub(1).map_or(0, |before| asked[before]), asked[n])
}

/// When the agent, by what it forwarded, asked and was not answered in time: on a busy machine that is
/// possible, and only then is a round not there.
fn failed(receiver: &Running, way: &str) -> BTreeSet<i64> {
    let selector = format!("up{{job=\"page\",way=\"{way}\"}}");
    let samples =
        receiver.samples(&escaped(&selector)).into_iter().flat_map(|(_, samples)| samples);
    samples.filter(|(_, value)| *value == 0.0).map(|(time, _)| time).collect()
}

/// All of each round is there, as the page said it; the rounds, by number.
fn check(who: &str, found: &BTreeMap<i64, Round>, asked: &[i64]) -> BTreeMap<usize, i64> {
    let mut numbers = BTreeMap::new();
    for (time, round) in found {
        let n = number(round);
        let expected = self::round(n as u64);
        let differs = |(name, value): &(&String, &f64)| {
            // VictoriaMetrics has its own idea of infinity.
            let is_told = value.is_finite() || !who.starts_with("victoria");
            is_told && round.get(*name).is_none_or(|found| found.to_bits() != value.to_bits())
        };
        let wrong: Vec<_> = expected.iter().filter(differs).take(5).collect();
        let have: Vec<_> = wrong.iter().map(|(name, _)| round.get(*name)).collect();
        assert!(wrong.is_empty(), "{who}: round {n} should have {wrong:?}, and has {have:?}");
        let more: Vec<_> = round.keys().filter(|name| !expected.contains_key(*name)).collect();
        assert!(more.is_empty(), "{who}: round {n} has {more:?}, too");
        // The time is that of the request.
        let (before, at) = asked_at(asked, n);
        assert!(*time > before && *time <= at, "{who}: round {n} at {time}, asked for at {at}");
        assert!(numbers.insert(n, *time).is_none(), "{who}: round {n} is there twice");
    }
    numbers
}

/// Answers Prometheus and the agent, each its own rounds.
fn pages() -> (String, Arc<Mutex<Served>>) {
    let served = Arc::new(Mutex::new(Served::default()));
    let noted = Arc::clone(&served);
    let (address, _) = server(Box::new(move |path, _| {
        let mut served = noted.lock().unwrap();
        let asked = if path == "/direct" { &mut served.direct } else { &mut served.agent };
        asked.push(millis());
        Ok(page(asked.len() as u64 - 1).into_bytes())
    }));
    (address, served)
}

const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";

/// The agent's configuration: Prometheus 2.42 twice, as it says of itself and as what it is not.
fn config(address: &str, receivers: &[Running]) -> String {
    let queue = "queue_config: {batch_send_deadline: 200ms, max_samples_per_send: 1000, \
                 max_backoff: 1s}";
    let mut text = format!(
        "web: {{listen: '127.0.0.1:0'}}\nglobal: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: \
         page\n  metrics_path: /agent\n  static_configs: [{{targets: ['{address}']}}]\nremote_write:\n"
    );
    for receiver in receivers {
        let (name, url) = (receiver.peer.name, receiver.write_url());
        let ways: &[(&str, &str)] = match name {
            "prometheus 3" => &[("2.0", V2)],
            "prometheus 2.42" => &[("1.0", "send_exemplars: true"), ("fallback", V2)],
            _ => &[("1.0", "send_exemplars: true")],
        };
        for (way, message) in ways {
            let label =
                format!("write_relabel_configs: [{{target_label: way, replacement: '{way}'}}]");
            let entry = format!("url: '{url}', name: '{name} {way}', {message}, {label}, {queue}");
            writeln!(text, "- {{{entry}}}").unwrap();
        }
    }
    text
}

fn ways(receiver: &Running) -> &'static [&'static str] {
    match receiver.peer.name {
        "prometheus 3" => &["2.0"],
        "prometheus 2.42" => &["1.0", "fallback"],
        _ => &["1.0"],
    }
}

/// A count on the page of a Prometheus.
fn count(receiver: &Running, metric: &str) -> f64 {
    let (_, page) = receiver.get("metrics").unwrap();
    let page = String::from_utf8(page).unwrap();
    let lines = page.lines().filter(|line| line.starts_with(metric));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn real_receivers_have_what_the_page_said_whatever_dies() {
    let (address, served) = pages();
    let direct = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: direct\n  metrics_path: /direct\n  \
         fallback_scrape_protocol: PrometheusText0.0.4\n  static_configs: [{{targets: ['{address}']}}]\n"
    );
    let start = |peer| Running::start(peer, if peer.name == "prometheus 3" { &direct } else { "" });
    let mut receivers: Vec<Running> = PEERS.iter().filter_map(start).collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memsight.yaml");
    std::fs::write(&path, config(&address, &receivers)).unwrap();
    let mut agent = Agent::start(&path, &[]);

    let asked = || served.lock().unwrap().agent.len();
    let wait = |more: usize| {
        let until = asked() + more;
        wait_for("rounds", || (asked() >= until).then_some(()));
    };
    if receivers.iter().any(|receiver| receiver.peer.name == "prometheus 3") {
        wait_for("Prometheus", || (served.lock().unwrap().direct.len() > 5).then_some(()));
    }
    // The last round before a kill may be lost: its answer was on its way.
    let mut cut = BTreeSet::new();
    let mut kill = |agent: Agent| {
        drop(agent);
        cut.insert(asked() - 1);
        Agent::start(&path, &[])
    };
    wait(5);
    receivers.iter_mut().for_each(Running::pause);
    let down = std::env::var("MEMSIGHT_FORWARD_DOWN").ok().and_then(|text| text.parse().ok());
    let down = Duration::from_secs(down.unwrap_or(12));
    for _ in 0..2 {
        std::thread::sleep(down / 3);
        agent = kill(agent);
    }
    std::thread::sleep(down / 3);
    receivers.iter_mut().for_each(Running::resume);
    wait(5);
    let last = asked() as f64;
    wait_within(Duration::from_secs(120) + down, "the last round everywhere", || {
        receivers.iter().all(|receiver| has(receiver, last)).then_some(())
    });
    check_figures(&agent, &receivers, &asked);
    agent.end();

    check_rounds(&receivers, &served.lock().unwrap(), &cut);
}

/// Every round is everywhere, but those that were cut and those that were not answered in time.
fn check_rounds(receivers: &[Running], served: &Served, cut: &BTreeSet<usize>) {
    let mut all = BTreeSet::new();
    for receiver in receivers {
        for way in ways(receiver) {
            let who = format!("{} {way}", receiver.peer.name);
            let found = check(&who, &rounds(receiver, "page", way), &served.agent);
            println!("{who}: {} of {} rounds", found.len(), served.agent.len());
            let failed = failed(receiver, way);
            let is_missing = |n: &usize| {
                let (before, at) = asked_at(&served.agent, *n);
                let was_read = failed.range(before + 1..=at).next().is_none();
                was_read && !found.contains_key(n) && !cut.contains(n)
            };
            let missing: Vec<usize> = (0..served.agent.len()).filter(is_missing).collect();
            assert!(missing.is_empty(), "{who}: {missing:?} are missing");
            assert!(failed.len() * 20 <= served.agent.len(), "{who}: {failed:?} were not read");
            all.insert(found.into_iter().collect::<Vec<_>>());
        }
    }
    assert!(all.len() <= 1, "receivers have the same rounds at different times");
    if let Some(three) = receivers.iter().find(|receiver| receiver.peer.name == "prometheus 3") {
        let found = check("prometheus itself", &rounds(three, "direct", ""), &served.direct);
        assert!(found.len() > 4, "{found:?}");
    }
}

/// A receiver has a round, or a later one, in all ways.
fn has(receiver: &Running, round: f64) -> bool {
    ways(receiver).iter().all(|way| {
        let found = receiver.samples(&escaped(&format!("page_serial{{way=\"{way}\"}}")));
        found.iter().flat_map(|(_, samples)| samples).any(|(_, value)| *value >= round)
    })
}

/// What the agent and the receivers count: nothing was refused but the one bad value of each round,
/// and that was told once.
fn check_figures(agent: &Agent, receivers: &[Running], asked: &dyn Fn() -> usize) {
    let of = |metric: &str, name: &str| {
        agent.metric(&format!("prometheus_remote_storage_{metric}"), &format!("\"{name}\""))
    };
    assert_eq!(agent.metric("prometheus_remote_storage_log_samples_dropped_total", ""), 0.0);
    for receiver in receivers {
        for way in ways(receiver) {
            let name = format!("{} {way}", receiver.peer.name);
            let (failed, told) = (of("samples_failed_total", &name), agent.logged(&name));
            let told = told.iter().filter(|line| line.contains(BAD)).count();
            if receiver.peer.is_victoria {
                assert_eq!((failed, told), (0.0, 0));
            } else {
                // Rounds go on meanwhile.
                let rounds = asked() as f64;
                assert!(failed > 0.0 && failed <= rounds, "{name}: {failed} of {rounds}");
                assert_eq!(told, 1, "{name}: {:#?}", agent.logged(""));
            }
            let fallbacks = if *way == "fallback" { 1.0 } else { 0.0 };
            assert_eq!(of("protocol_fallbacks_total", &name), fallbacks, "{name}");
        }
        if !receiver.peer.is_victoria {
            let disordered = count(receiver, "prometheus_tsdb_out_of_order_samples_total");
            assert_eq!(disordered, 0.0, "{}: {}", receiver.peer.name, receiver.log());
        }
    }
}
