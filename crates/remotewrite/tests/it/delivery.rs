//! What is done about answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::receiver::{Receiver, Reply, Request, reply, written};
use crate::{gauge, names, open, texts, time};

const DRAIN: Duration = Duration::from_secs(60);

/// Values that a receiver took, by series.
type Stored = Arc<Mutex<BTreeMap<String, Vec<(i64, f64)>>>>;

fn store(stored: &Stored, request: &Request) {
    let mut stored = stored.lock().unwrap();
    for series in &request.series {
        let values = series.samples.iter().map(|(time, value, _)| (*time, f64::from_bits(*value)));
        stored.entry(series.label("series").to_owned()).or_default().extend(values);
    }
}

/// A receiver that refuses whole requests by `refuse`, and stores the others.
fn storing(
    refuse: impl Fn(usize, &Request) -> Option<Reply> + Send + Sync + 'static,
) -> (Receiver, Stored) {
    let stored = Stored::default();
    let kept = Arc::clone(&stored);
    let receiver = Receiver::start(move |turn, request| {
        if let Some(refused) = refuse(turn, request) {
            return refused;
        }
        store(&kept, request);
        match request.is_v2() {
            true => written(204, request.values(), ""),
            false => reply(204, ""),
        }
    });
    (receiver, stored)
}

/// All of `count` series have the values of `rounds`, in order, but those of `missing`.
fn assert_stored(stored: &Stored, count: usize, rounds: u64, missing: &[&str]) {
    let stored = stored.lock().unwrap();
    let expected: Vec<(i64, f64)> =
        (0..rounds).map(|round| (time(round).0, round as f64)).collect();
    for name in names(count) {
        let values = stored.get(&name).cloned().unwrap_or_default();
        match missing.contains(&name.as_str()) {
            true => assert_eq!(values, [], "{name}"),
            false => assert_eq!(values, expected, "{name}"),
        }
    }
}

fn has_series(request: &Request, name: &str) -> bool {
    request.series.iter().any(|series| series.label("series") == name)
}

fn quarantine(folder: &std::path::Path) -> String {
    let files = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
    let mut files = files.filter(|path| path.to_string_lossy().ends_with(".quarantine.tsv"));
    files.next().map_or(String::new(), |path| std::fs::read_to_string(path).unwrap())
}

const V2: &str = "protobuf_message: io.prometheus.write.v2.Request";
const QUICK: &str = "queue_config: {min_backoff: 1ms, max_backoff: 20ms}";

#[test]
fn receivers_that_drop_version_2_get_version_1() {
    let answers = [reply(204, ""), reply(415, "what is that"), reply(400, "snappy: garbage")];
    for answer in answers {
        let (receiver, stored) = storing(move |_, request| request.is_v2().then(|| answer.clone()));
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!("- {{url: '{}', {V2}}}", receiver.url);
        let (writes, notices) = open(folder.path(), &yaml);
        for round in 0..3 {
            writes.append("a", time(round), &[gauge(&names(5), round as f64)]);
        }
        assert!(writes.drain(DRAIN));
        assert_stored(&stored, 5, 3, &[]);
        let v2 = receiver.requests().iter().filter(|request| request.is_v2()).count();
        assert_eq!(v2, 1);
        let texts = texts(&notices);
        assert_eq!(texts.len(), 1, "{texts:?}");
        assert!(texts[0].contains("does not know remote write 2.0"), "{texts:?}");
        assert_eq!(writes.status()[0].protocol, remotewrite::Protocol::V1);
    }
}

#[test]
fn a_refused_series_is_found_and_the_others_get_through() {
    let (receiver, stored) = storing(|_, request| {
        has_series(request, "137").then(|| reply(400, "label value too long\nmore"))
    });
    let folder = tempfile::tempdir().unwrap();
    let (writes, notices) = open(folder.path(), &format!("- url: {}", receiver.url));
    writes.append("a", time(0), &[gauge(&names(500), 0.0)]);
    assert!(writes.drain(DRAIN));
    assert!(receiver.requests().len() < 25, "{}", receiver.requests().len());
    // For some time it is not tried again.
    writes.append("a", time(1), &[gauge(&names(500), 1.0)]);
    assert!(writes.drain(DRAIN));
    assert_stored(&stored, 500, 2, &["137"]);
    let told = texts(&notices);
    assert_eq!(told.len(), 1, "{told:?}");
    let words = r#"refuses probe{series="137"}: 400 label value too long"#;
    assert!(told[0].contains(words), "{told:?}");
    assert_eq!(writes.status()[0].dropped, [("rejected", 1), ("quarantined", 1)]);
    let line = quarantine(folder.path());
    assert!(line.contains("\t400\tprobe{series=\"137\"}\t"), "{line}");
    assert!(line.ends_with("\"400 label value too long\"\n"), "{line}");
}

#[test]
fn a_series_that_makes_the_receiver_stumble_is_left_out() {
    let (receiver, stored) =
        storing(|_, request| has_series(request, "7").then(|| reply(500, "duplicate label")));
    let folder = tempfile::tempdir().unwrap();
    let (writes, notices) = open(folder.path(), &format!("- {{url: '{}', {QUICK}}}", receiver.url));
    for round in 0..2 {
        writes.append("a", time(round), &[gauge(&names(40), round as f64)]);
    }
    assert!(writes.drain(DRAIN), "{:?}", texts(&notices));
    assert_stored(&stored, 40, 2, &["7"]);
    assert!(quarantine(folder.path()).contains("duplicate label"));
}

#[test]
fn an_ill_receiver_costs_nothing() {
    let is_ill = Arc::new(AtomicBool::new(true));
    for status in [500, 503, 401, 404, 410, 415, 302] {
        is_ill.store(true, Ordering::Relaxed);
        let ill = Arc::clone(&is_ill);
        let (receiver, stored) =
            storing(move |_, _| ill.load(Ordering::Relaxed).then(|| reply(status, "ill")));
        let folder = tempfile::tempdir().unwrap();
        let yaml = format!("- {{url: '{}', {QUICK}}}", receiver.url);
        let (writes, notices) = open(folder.path(), &yaml);
        for round in 0..3 {
            writes.append("a", time(round), &[gauge(&names(20), round as f64)]);
        }
        assert!(!writes.drain(Duration::from_millis(700)));
        assert!(writes.status()[0].is_failing);
        is_ill.store(false, Ordering::Relaxed);
        assert!(writes.drain(DRAIN));
        assert_stored(&stored, 20, 3, &[]);
        let told = texts(&notices);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("trying again") && told[1].contains("again"), "{told:?}");
    }
}

#[test]
fn retries_say_so_and_wait_as_asked() {
    let (receiver, stored) = storing(|turn, _| {
        let asked = "Retry-After: 1\r\n".to_owned();
        (turn == 0).then(|| (503, asked, String::new()))
    });
    let folder = tempfile::tempdir().unwrap();
    let (writes, _) = open(folder.path(), &format!("- url: {}", receiver.url));
    writes.append("a", time(0), &[gauge(&names(1), 0.0)]);
    let began = std::time::Instant::now();
    assert!(writes.drain(DRAIN));
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_stored(&stored, 1, 1, &[]);
    let attempts = receiver.requests();
    let attempts = attempts.iter().map(|request| request.headers.get("retry-attempt").cloned());
    assert_eq!(attempts.collect::<Vec<_>>(), [None, Some("1".to_owned())]);
}

#[test]
fn too_many_requests_are_waited_for_when_wanted() {
    for (option, expected) in [("true", 1), ("false", 0)] {
        let (receiver, stored) = storing(|turn, _| (turn == 0).then(|| reply(429, "slower")));
        let folder = tempfile::tempdir().unwrap();
        let yaml =
            format!("- {{url: '{}', queue_config: {{retry_on_http_429: {option}}}}}", receiver.url);
        let (writes, _) = open(folder.path(), &yaml);
        writes.append("a", time(0), &[gauge(&names(1), 0.0)]);
        assert!(writes.drain(DRAIN));
        assert_eq!(stored.lock().unwrap().len(), expected);
        let dropped = writes.status()[0].dropped.clone();
        assert_eq!(dropped.len(), 1 - expected, "{dropped:?}");
    }
}

#[test]
fn what_is_too_large_is_sent_in_parts() {
    let (receiver, stored) =
        storing(|_, request| (request.values() > 10).then(|| reply(413, "too large")));
    let folder = tempfile::tempdir().unwrap();
    let (writes, notices) = open(folder.path(), &format!("- url: {}", receiver.url));
    for round in 0..3 {
        writes.append("a", time(round), &[gauge(&names(33), round as f64)]);
    }
    assert!(writes.drain(DRAIN));
    assert_stored(&stored, 33, 3, &[]);
    assert!(texts(&notices).is_empty(), "{:?}", texts(&notices));
}

#[test]
fn what_was_stored_in_part_is_not_sent_again() {
    let receiver = Receiver::start(|_, request| {
        written(400, request.values() - 2, "out of order sample for series a\nand another")
    });
    let folder = tempfile::tempdir().unwrap();
    let (writes, _) = open(folder.path(), &format!("- {{url: '{}', {V2}}}", receiver.url));
    writes.append("a", time(0), &[gauge(&names(20), 0.0)]);
    assert!(writes.drain(DRAIN));
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(writes.status()[0].dropped, [("out_of_order", 2)]);
    assert_eq!(writes.status()[0].sent, 18);
}

#[test]
fn duplicates_lose_nothing_new() {
    // The receiver has the first two rounds, and takes all of a request or nothing, as
    // Prometheus 2.42 does.
    let (receiver, stored) = storing(|_, request| {
        let samples = request.series.iter().flat_map(|series| &series.samples);
        let is_old = samples.into_iter().any(|(at, ..)| *at < time(2).0);
        is_old.then(|| reply(400, "out of order sample"))
    });
    let folder = tempfile::tempdir().unwrap();
    let (writes, notices) = open(folder.path(), &format!("- url: {}", receiver.url));
    for round in 0..4 {
        writes.append("a", time(round), &[gauge(&names(10), round as f64)]);
    }
    assert!(writes.drain(DRAIN));
    for values in stored.lock().unwrap().values() {
        assert_eq!(values.as_slice(), [(time(2).0, 2.0), (time(3).0, 3.0)]);
    }
    assert_eq!(stored.lock().unwrap().len(), 10);
    assert_eq!(writes.status()[0].dropped, [("out_of_order", 20)]);
    assert_eq!(texts(&notices).len(), 1, "{:?}", texts(&notices));
}

#[test]
fn old_samples_are_not_sent_when_they_are_not_wanted() {
    let (receiver, stored) = storing(|_, _| None);
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("- {{url: '{}', queue_config: {{sample_age_limit: 1h}}}}", receiver.url);
    let (writes, _) = open(folder.path(), &yaml);
    writes.append("a", model::Timestamp(time(0).0 - 4_000_000), &[gauge(&names(3), 9.0)]);
    writes.append("a", time(0), &[gauge(&names(3), 0.0)]);
    assert!(writes.drain(DRAIN));
    assert_stored(&stored, 3, 1, &[]);
    assert_eq!(writes.status()[0].dropped, [("too_old", 3)]);
}

#[test]
fn many_shards_keep_series_in_order() {
    let (receiver, stored) = storing(|_, _| None);
    let folder = tempfile::tempdir().unwrap();
    let queue = "{min_shards: 7, max_samples_per_send: 11, capacity: 20}";
    let yaml = format!("- {{url: '{}', queue_config: {queue}}}", receiver.url);
    let (writes, _) = open(folder.path(), &yaml);
    for round in 0..30 {
        writes.append("a", time(round), &[gauge(&names(100), round as f64)]);
    }
    assert!(writes.drain(DRAIN));
    assert_stored(&stored, 100, 30, &[]);
    assert!(receiver.requests().iter().all(|request| request.values() <= 11));
    let families = writes.families();
    let sent = families.iter().find(|family| family.name.ends_with("_samples")).unwrap();
    assert_eq!(sent.points[0].value.float(), Some(3000.0));
    assert_eq!(sent.points[0].labels.name(), "prometheus_remote_storage_samples_total");
}

#[test]
fn destinations_do_not_wait_for_each_other() {
    let (ill, _) = storing(|_, _| Some(reply(503, "ill")));
    let (receiver, stored) = storing(|_, _| None);
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("- {{url: '{}', {QUICK}}}\n- {{url: '{}'}}", ill.url, receiver.url);
    let (writes, _) = open(folder.path(), &yaml);
    writes.append("a", time(0), &[gauge(&names(10), 0.0)]);
    assert!(!writes.drain(Duration::from_millis(500)));
    assert_stored(&stored, 10, 1, &[]);
}
