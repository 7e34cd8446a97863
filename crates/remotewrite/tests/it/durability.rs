//! What outlives the process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use model::Labels;
use remotewrite::{Limits, RemoteWriteError, RemoteWrites, segment_contents};

use crate::receiver::{Receiver, Request, reply};
use crate::{configs, gauge, names, open, open_with, texts, time};

const DRAIN: Duration = Duration::from_secs(60);
const QUICK: &str = "queue_config: {min_backoff: 1ms, max_backoff: 20ms, max_samples_per_send: 50}";

/// How often each value of each series arrived.
fn arrived(requests: &[Request]) -> BTreeMap<(String, i64), usize> {
    let mut counts = BTreeMap::new();
    for series in requests.iter().flat_map(|request| &request.series) {
        for (time, ..) in &series.samples {
            *counts.entry((series.label("series").to_owned(), *time)).or_default() += 1;
        }
    }
    counts
}

fn segments(folder: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(folder.join("log")).unwrap();
    let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// One that takes nothing until it is well.
fn ill_receiver() -> (Receiver, Arc<AtomicBool>) {
    let is_ill = Arc::new(AtomicBool::new(true));
    let ill = Arc::clone(&is_ill);
    let receiver = Receiver::start(move |_, _| match ill.load(Ordering::Relaxed) {
        true => reply(503, "ill"),
        false => reply(204, ""),
    });
    (receiver, is_ill)
}

#[test]
fn what_was_not_sent_is_sent_after_a_restart() {
    let (receiver, is_ill) = ill_receiver();
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("- {{url: '{}', {QUICK}}}", receiver.url);
    for start in [0, 3, 6] {
        let (writes, _) = open(folder.path(), &yaml);
        for round in start..start + 3 {
            writes.append("a", time(round), &[gauge(&names(200), round as f64)]);
        }
        assert!(!writes.drain(Duration::from_millis(50)));
    }
    is_ill.store(false, Ordering::Relaxed);
    receiver.requests.lock().unwrap().clear();
    let (writes, _) = open(folder.path(), &yaml);
    assert!(writes.drain(DRAIN));
    let arrived = arrived(&receiver.requests());
    assert_eq!(arrived.len(), 200 * 9);
    assert!(arrived.values().all(|count| *count == 1));
}

/// A process numbers series as they come. What waits from before and what comes after a restart are one
/// series all the same.
#[test]
fn series_stay_in_order_over_a_restart() {
    let (receiver, is_ill) = ill_receiver();
    let folder = tempfile::tempdir().unwrap();
    let queue = "{min_shards: 4, max_samples_per_send: 500, min_backoff: 1ms, max_backoff: 20ms}";
    let yaml = format!("- {{url: '{}', queue_config: {queue}}}", receiver.url);
    let mut names = names(200);
    for start in [0, 5, 10] {
        names.rotate_left(61);
        let (writes, _) = open(folder.path(), &yaml);
        for round in start..start + 5 {
            writes.append("a", time(round), &[gauge(&names, round as f64)]);
        }
        assert!(!writes.drain(Duration::from_millis(50)));
    }
    is_ill.store(false, Ordering::Relaxed);
    receiver.requests.lock().unwrap().clear();
    let (writes, _) = open(folder.path(), &yaml);
    assert!(writes.drain(DRAIN));
    let mut latest: BTreeMap<String, i64> = BTreeMap::new();
    for series in receiver.requests().iter().flat_map(|request| &request.series) {
        let name = series.label("series");
        for (time, ..) in &series.samples {
            let before = latest.insert(name.to_owned(), *time);
            assert!(before.is_none_or(|it| it < *time), "{name}: {time} comes after {before:?}");
        }
    }
    assert_eq!(arrived(&receiver.requests()).len(), 200 * 15);
}

#[test]
fn what_was_sent_is_not_sent_again() {
    let receiver = Receiver::start(|_, _| reply(204, ""));
    let folder = tempfile::tempdir().unwrap();
    let queue = "queue_config: {min_shards: 3, max_samples_per_send: 7, capacity: 7}";
    let yaml = format!("- {{url: '{}', {queue}}}", receiver.url);
    for round in 0..5 {
        let (writes, _) = open(folder.path(), &yaml);
        writes.append("a", time(round), &[gauge(&names(100), round as f64)]);
        if round % 2 == 0 {
            assert!(writes.drain(DRAIN));
        }
    }
    let (writes, _) = open(folder.path(), &yaml);
    assert!(writes.drain(DRAIN));
    let arrived = arrived(&receiver.requests());
    assert_eq!(arrived.len(), 500);
    assert!(arrived.values().all(|count| *count == 1));
}

#[test]
fn a_torn_end_costs_what_is_torn() {
    let receiver = Receiver::start(|_, _| reply(503, "ill"));
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("- {{url: '{}', {QUICK}}}", receiver.url);
    let (writes, _) = open(folder.path(), &yaml);
    let mut lengths = Vec::new();
    for round in 0..3 {
        writes.append("a", time(round), &[gauge(&names(20), round as f64)]);
        lengths.push(fs::metadata(&segments(folder.path())[0]).unwrap().len());
    }
    drop(writes);
    let path = segments(folder.path())[0].clone();
    let whole = fs::read(&path).unwrap();
    assert_eq!(segment_contents(&whole).values, 60);
    assert_eq!(segment_contents(&whole).bytes, whole.len() as u64);
    let good = Receiver::start(|_, _| reply(204, ""));
    let mut cut = whole.clone();
    cut.truncate(lengths[1] as usize + 5);
    let mut damaged = whole.clone();
    damaged[lengths[1] as usize + 20] ^= 0x55;
    for bytes in [cut, damaged] {
        assert_eq!(segment_contents(&bytes).values, 40);
        fs::write(&path, &bytes).unwrap();
        // The name keeps the place; the address changes.
        let yaml = format!("- {{url: '{}', name: new}}", good.url);
        let named = tempfile::tempdir().unwrap();
        fs::create_dir_all(named.path().join("log")).unwrap();
        fs::copy(&path, named.path().join("log/00000001.log")).unwrap();
        let cursor = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.path());
        let cursor =
            cursor.into_iter().find(|path| path.extension().is_some_and(|e| e == "cursor"));
        let key = key_of(&yaml);
        fs::copy(cursor.unwrap(), named.path().join(key)).unwrap();
        good.requests.lock().unwrap().clear();
        let (writes, notices) = open(named.path(), &yaml);
        writes.append("a", time(9), &[gauge(&names(20), 9.0)]);
        assert!(writes.drain(DRAIN));
        assert_eq!(arrived(&good.requests()).len(), 60);
        let told = texts(&notices);
        assert!(told[0].contains("segment 1 of the queue ends in the middle"), "{told:?}");
    }
}

/// The name of the cursor of a configuration with one destination.
fn key_of(yaml: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path(), yaml));
    let mut names = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name());
    let name = names.find(|name| name.to_string_lossy().ends_with(".cursor")).unwrap();
    name.to_string_lossy().into_owned()
}

#[test]
fn rubbish_in_the_folder_is_no_obstacle() {
    let receiver = Receiver::start(|_, _| reply(204, ""));
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("- url: {}", receiver.url);
    let key = key_of(&yaml);
    fs::create_dir_all(folder.path().join("log")).unwrap();
    for (name, bytes) in [("00000001.log", &b"rubbish"[..]), ("00000002.log", b""), ("x.log", b"y")]
    {
        fs::write(folder.path().join("log").join(name), bytes).unwrap();
    }
    fs::write(folder.path().join(key), vec![0xff; 9000]).unwrap();
    let (writes, _) = open(folder.path(), &yaml);
    writes.append("a", time(0), &[gauge(&names(5), 0.0)]);
    assert!(writes.drain(DRAIN));
    assert_eq!(arrived(&receiver.requests()).len(), 5);
}

#[test]
fn segments_are_deleted_when_all_have_passed() {
    let receiver = Receiver::start(|_, _| reply(204, ""));
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("- url: {}", receiver.url);
    let limits = Limits { segment_bytes: 2000, ..Limits::default() };
    let (writes, notices) = open_with(folder.path(), &yaml, limits);
    for round in 0..20 {
        writes.append("a", time(round), &[gauge(&names(100), round as f64)]);
    }
    assert!(writes.drain(DRAIN));
    while segments(folder.path()).len() > 2 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let arrived = arrived(&receiver.requests());
    assert_eq!(arrived.len(), 2000);
    assert!(texts(&notices).is_empty(), "{:?}", texts(&notices));
}

#[test]
fn the_oldest_are_given_up_when_it_is_too_much() {
    let receiver = Receiver::start(|_, _| reply(503, "ill"));
    let folder = tempfile::tempdir().unwrap();
    let queue = "queue_config: {capacity: 10, max_samples_per_send: 10}";
    let yaml = format!("- {{url: '{}', {queue}}}", receiver.url);
    let limits = Limits { segment_bytes: 3000, bytes: 9000, ..Limits::default() };
    let (writes, notices) = open_with(folder.path(), &yaml, limits);
    for round in 0..100 {
        let names: Vec<String> = (0..50).map(|index| format!("{round}x{index}")).collect();
        writes.append("a", time(round), &[gauge(&names, round as f64)]);
    }
    let size = || {
        let files = segments(folder.path());
        files.iter().map(|path| fs::metadata(path).map_or(0, |file| file.len())).sum::<u64>()
    };
    while size() > 9000 + 3000 {
        std::thread::sleep(Duration::from_millis(50));
    }
    let dropped = || writes.status()[0].dropped.clone();
    assert!(dropped().iter().any(|(reason, count)| *reason == "queue_full" && *count > 1000));
    let told = texts(&notices);
    let limit = told.iter().filter(|text| text.contains("larger or older than it may be"));
    assert_eq!(limit.count(), 1, "{told:?}");
}

#[test]
fn a_new_destination_starts_with_what_comes() {
    let [old, new] = [(); 2].map(|()| Receiver::start(|_, _| reply(204, "")));
    let folder = tempfile::tempdir().unwrap();
    let one = format!("- url: {}", old.url);
    let two = format!("{one}\n- url: {}", new.url);
    let (writes, _) = open(folder.path(), &one);
    writes.append("a", time(0), &[gauge(&names(10), 0.0)]);
    writes.reload(&Labels::empty(), &configs(&two)).unwrap();
    writes.append("a", time(1), &[gauge(&names(10), 1.0)]);
    assert!(writes.drain(DRAIN));
    assert_eq!(arrived(&old.requests()).len(), 20);
    assert_eq!(arrived(&new.requests()).len(), 10);
    // The other way round: what is gone keeps nothing.
    writes.reload(&Labels::empty(), &configs(&format!("- url: {}", new.url))).unwrap();
    writes.append("a", time(2), &[gauge(&names(10), 2.0)]);
    assert!(writes.drain(DRAIN));
    assert_eq!(arrived(&old.requests()).len(), 20);
    assert_eq!(arrived(&new.requests()).len(), 20);
    assert_eq!(writes.status().len(), 1);
}

#[test]
fn a_changed_destination_keeps_its_place() {
    let receiver = Receiver::start(|_, _| reply(204, ""));
    let folder = tempfile::tempdir().unwrap();
    let yaml = |timeout: &str| format!("- {{url: '{}', remote_timeout: {timeout}}}", receiver.url);
    let (writes, _) = open(folder.path(), &yaml("10s"));
    for round in 0..20 {
        writes.append("a", time(round), &[gauge(&names(50), round as f64)]);
        let timeout = format!("{}s", 11 + round);
        writes.reload(&Labels::empty(), &configs(&yaml(&timeout))).unwrap();
    }
    assert!(writes.drain(DRAIN));
    let arrived = arrived(&receiver.requests());
    assert_eq!(arrived.len(), 1000);
    assert!(arrived.values().all(|count| *count == 1));
}

#[test]
fn a_folder_is_used_once() {
    let folder = tempfile::tempdir().unwrap();
    let (writes, _) = open(folder.path(), "- url: http://localhost:1");
    let report = Arc::new(|_| ());
    let limits = Limits::default();
    let second = RemoteWrites::open(folder.path(), &Labels::empty(), &[], limits, report.clone());
    assert!(matches!(second, Err(RemoteWriteError::Locked(_))));
    drop(writes);
    assert!(RemoteWrites::open(folder.path(), &Labels::empty(), &[], limits, report).is_ok());
}

#[test]
fn what_is_written_while_others_append_is_whole() {
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    let receiver = Receiver::start(move |_, _| {
        // Some of them fail.
        match counted.fetch_add(1, Ordering::Relaxed) % 7 {
            3 => reply(503, ""),
            _ => reply(204, ""),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("- {{url: '{}', {QUICK}}}", receiver.url);
    let limits = Limits { segment_bytes: 20_000, ..Limits::default() };
    let (writes, _) = open_with(folder.path(), &yaml, limits);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let writes = &writes;
            scope.spawn(move || {
                let names: Vec<String> = (0..30).map(|n| format!("{thread}-{n}")).collect();
                for round in 0..50 {
                    let family = gauge(&names, round as f64);
                    writes.append(&thread.to_string(), time(round), &[family]);
                }
            });
        }
    });
    assert!(writes.drain(DRAIN));
    let requests = receiver.requests();
    assert_eq!(arrived(&requests).len(), 4 * 30 * 50);
}

/// The example that feeds remote write; nothing when it is not built.
fn feed() -> Option<std::path::PathBuf> {
    let mut path = std::env::current_exe().ok()?;
    path.pop();
    path.pop();
    path.push("examples/feed");
    path.exists().then_some(path)
}

#[test]
fn a_full_disk_is_told_once_and_collecting_goes_on() {
    let Some(feed) = feed() else {
        eprintln!("skipped: a full disk: the example `feed` is not built");
        return;
    };
    let receiver = Receiver::start(|_, _| reply(204, ""));
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.yml");
    let queue = "queue_config: {batch_send_deadline: 50ms}";
    fs::write(&config, format!("- {{url: '{}', {queue}}}", receiver.url)).unwrap();
    // No file may grow beyond 20 blocks of 512 or 1024 bytes: what a full disk does.
    let script = "trap '' XFSZ; ulimit -S -f 20; exec \"$0\" \"$@\"";
    let mut child = std::process::Command::new("sh");
    let folder_arg = folder.path().join("queue");
    child.args(["-c", script]).arg(feed).arg(&config).arg(folder_arg);
    child.args(["--series", "2000", "--interval", "20", "--rounds", "400"]);
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    child.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&err).unwrap());
    let mut child = child.spawn().unwrap();
    let told = || fs::read_to_string(&err).unwrap();
    while !told().contains("cannot write to") {
        assert!(child.try_wait().unwrap().is_none(), "{}", told());
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(500));
    let pid = child.id().to_string();
    let prlimit =
        std::process::Command::new("prlimit").args(["--pid", &pid, "--fsize=-1"]).status();
    if !prlimit.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a full disk that gets room again: no prlimit");
        child.kill().unwrap();
        child.wait().unwrap();
        return;
    }
    assert!(child.wait().unwrap().success(), "{}", told());
    assert_eq!(told().matches("cannot write to").count(), 1, "{}", told());
    assert!(told().contains("writes to disk again, 0 samples were dropped"), "{}", told());
    assert_eq!(fs::read_to_string(&out).unwrap().lines().count(), 400);
    let arrived: usize = receiver.requests().iter().map(Request::values).sum();
    assert_eq!(arrived, 2000 * 400);
}
