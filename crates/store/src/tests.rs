//! The store on a real directory.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use model::{
    CaptureId, CaptureKind, Confidence, Diagnosis, Finding, FindingKind, Interval, Observation,
    Target, TargetId, TargetSpec, Timestamp,
};

use crate::{
    EventFilter, NewCapture, NewTrigger, Options, Store, StoreError, StoredEvent, TriggerRetention,
};

fn target(pid: u32) -> Target {
    let labels = BTreeMap::from([("exe".to_owned(), "/bin/shop".to_owned())]);
    Target { name: "shop".to_owned(), spec: TargetSpec::Pid(pid), pid: Some(pid), labels }
}

fn open(dir: &Path) -> Store {
    Store::open(dir, Options::default()).unwrap()
}

fn put(store: &Store, target: TargetId, time: i64, bytes: &[u8]) -> model::Capture {
    let (kind, time, reason) = (CaptureKind::Heap, Timestamp(time), "schedule");
    store.put_capture(&NewCapture { target, kind, time, reason, cost_micros: 7, bytes }).unwrap()
}

#[test]
fn everything_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(1000)).unwrap();
    let capture = put(&store, id, 2000, b"profile");
    let mut observation = Observation { time: Timestamp(2000), ..Observation::default() };
    observation.process.rss_bytes = Some(5 << 20);
    observation.runtime.gogc_percent = Some(-1);
    store.put_observations(id, std::slice::from_ref(&observation)).unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.put_target(&target(7), Timestamp(3000)).unwrap(), id);
    assert_ne!(store.put_target(&target(8), Timestamp(3000)).unwrap(), id);
    assert_eq!(
        store.captures(id, Some(CaptureKind::Heap), 10).unwrap(),
        std::slice::from_ref(&capture)
    );
    assert_eq!(store.read_capture(capture.id).unwrap(), b"profile");
    assert_eq!(store.latest(id).unwrap(), Some(observation));
    assert_eq!(store.stats().unwrap().captures, 1);
    assert!(store.warnings().is_empty());
}

/// Two rules that fire together may store what was read once, at the same time.
#[test]
fn what_was_read_once_is_one_capture() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(1)).unwrap();
    let stored: Vec<_> = std::thread::scope(|scope| {
        let put = || scope.spawn(|| put(&store, id, 5, &[7; 100_000]).id);
        let all: Vec<_> = (0..8).map(|_| put()).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(stored.iter().all(|other| *other == stored[0]), "{stored:?}");
    assert_ne!(put(&store, id, 5, b"other").id, stored[0]);
    assert_eq!(store.captures(id, None, 9).unwrap().len(), 2);
    assert_eq!(store.read_capture(stored[0]).unwrap(), [7; 100_000]);
}

#[test]
fn diagnoses_keep_infinite_ends() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(1000)).unwrap();
    let endless = Interval { estimate: 10.0, low: 5.0, high: f64::INFINITY };
    let mut diagnosis = Diagnosis {
        target: target(7),
        time: Timestamp(9),
        span_seconds: 60.0,
        findings: vec![Finding {
            kind: FindingKind::HeapLeak,
            confidence: Confidence(0.9),
            summary: "leaks".to_owned(),
            rate: None,
            time_to_limit_seconds: Some(endless),
            sites: Vec::new(),
            retainers: Vec::new(),
            captures: vec![CaptureId(3)],
            evidence: vec!["grew".to_owned()],
            next: "look".to_owned(),
        }],
        warnings: Vec::new(),
    };
    store.put_diagnosis(id, &diagnosis).unwrap();
    assert_eq!(store.diagnosis(id).unwrap().as_ref(), Some(&diagnosis));
    // As versions wrote it that knew of no captures.
    let sql = "UPDATE diagnoses SET document = json_remove(document, '$.findings[0].captures')";
    store.catalog().execute(sql, []).unwrap();
    diagnosis.findings[0].captures.clear();
    assert_eq!(store.diagnosis(id).unwrap(), Some(diagnosis));
}

#[test]
fn a_second_owner_is_told_who_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path());
    let error = Store::open(dir.path(), Options::default()).unwrap_err();
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    assert!(error.next_step().is_some());
}

#[test]
fn what_a_crash_leaves_is_tidied() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(1000)).unwrap();
    let (kept, lost) = (put(&store, id, 1, b"kept"), put(&store, id, 2, b"lost"));
    drop(store);
    let blobs = dir.path().join("blobs").join(id.0.to_string());
    std::fs::write(blobs.join("5-heap-00000000.pb.gz"), "never acknowledged").unwrap();
    std::fs::write(blobs.join("6-heap-00000000.pb.tmp"), "half").unwrap();
    std::fs::write(blobs.join("notes.txt"), "not ours").unwrap();
    std::fs::remove_file(blobs.join(format!("2-heap-{:08x}.pb.gz", lost.checksum))).unwrap();
    let store = open(dir.path());
    assert_eq!(store.captures(id, None, 10).unwrap(), [kept]);
    assert_eq!(store.warnings(), ["the files of 1 captures are gone"]);
    let mut names: Vec<_> = std::fs::read_dir(&blobs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names.contains(&"notes.txt".to_owned()));
}

#[test]
fn a_damaged_capture_is_refused_and_the_rest_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(1000)).unwrap();
    let (bad, good) = (put(&store, id, 1, b"bad"), put(&store, id, 2, b"good"));
    let blobs = dir.path().join("blobs").join(id.0.to_string());
    std::fs::write(blobs.join(format!("1-heap-{:08x}.pb.gz", bad.checksum)), "bit").unwrap();
    let error = store.read_capture(bad.id).unwrap_err();
    assert!(matches!(error, StoreError::DamagedCapture { .. }), "{error}");
    assert_eq!(store.read_capture(good.id).unwrap(), b"good");
}

#[test]
fn a_damaged_catalog_is_rebuilt_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(1000)).unwrap();
    put(&store, id, 1, b"one");
    put(&store, id, 2, b"two");
    drop(store);
    std::fs::write(dir.path().join("catalog.db"), vec![0x5a; 8192]).unwrap();
    let _ = std::fs::remove_file(dir.path().join("catalog.db-wal"));
    let error = Store::open(dir.path(), Options::default()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let options = Options { repair: true, ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    assert_eq!(store.warnings().len(), 2);
    assert_eq!(store.target(id).unwrap().target, target(7));
    let captures = store.captures(id, None, 10).unwrap();
    assert_eq!(captures.len(), 2);
    assert_eq!(store.read_capture(captures[0].id).unwrap(), b"two");
}

#[test]
fn old_captures_thin_out_and_the_size_stays_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { keep: Duration::from_secs(3600), keep_bytes: 500, repair: false };
    let store = Store::open(dir.path(), options).unwrap();
    let id = store.put_target(&target(7), Timestamp(0)).unwrap();
    // Two hours, one capture every ten seconds, ten bytes each.
    for step in 0..720 {
        put(&store, id, step * 10_000, format!("{step:010}").as_bytes());
    }
    let now = Timestamp(7_200_000);
    let swept = store.sweep(now).unwrap();
    let left = store.captures(id, None, 1000).unwrap();
    assert_eq!(swept.captures + left.len(), 720);
    assert!(left.iter().map(|capture| capture.bytes).sum::<u64>() <= 500);
    assert_eq!(left[0].time, Timestamp(7_190_000), "the newest stays");
    assert_eq!(store.sweep(now).unwrap(), crate::Swept::default(), "a second sweep finds nothing");
}

#[test]
fn a_graph_is_stored_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { keep_bytes: 200, ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let id = store.put_target(&target(7), Timestamp(1000)).unwrap();
    let mut begun = store.begin_file(id, CaptureKind::Graph, Timestamp(2000)).unwrap();
    begun.write_all(b"a graph").unwrap();
    let capture = store.put_file(begun, "manual", 5).unwrap();
    let expected = (CaptureKind::Graph, 7, crc32fast::hash(b"a graph"));
    assert_eq!((capture.kind, capture.bytes, capture.checksum), expected);
    let path = store.capture_path(capture.id).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"a graph");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    // One that is given up leaves nothing.
    let mut begun = store.begin_file(id, CaptureKind::Graph, Timestamp(2001)).unwrap();
    begun.write_all(b"half").unwrap();
    drop(begun);
    let mut begun = store.begin_file(id, CaptureKind::Graph, Timestamp(2001)).unwrap();
    let error = begun.write_all(&[0; 101]).unwrap_err();
    assert!(error.to_string().contains("half of what this store keeps"), "{error}");
    drop(begun);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    drop(store);
    // It survives a new start, and the loss of the catalog.
    let store = Store::open(dir.path(), options).unwrap();
    assert_eq!(store.captures(id, Some(CaptureKind::Graph), 10).unwrap(), [capture]);
    drop(store);
    std::fs::write(dir.path().join("catalog.db"), vec![0x5a; 8192]).unwrap();
    let _ = std::fs::remove_file(dir.path().join("catalog.db-wal"));
    let store = Store::open(dir.path(), Options { repair: true, ..options }).unwrap();
    assert_eq!(store.captures(id, Some(CaptureKind::Graph), 10).unwrap().len(), 1);
}

#[test]
fn graphs_do_not_push_out_profiles() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { keep_bytes: 100, ..Options::default() };
    let store = Store::open(dir.path(), options).unwrap();
    let id = store.put_target(&target(7), Timestamp(0)).unwrap();
    put(&store, id, 1, b"a profile");
    for time in [2, 3, 4] {
        let mut begun = store.begin_file(id, CaptureKind::Graph, Timestamp(time)).unwrap();
        begun.write_all(&[7; 25]).unwrap();
        store.put_file(begun, "manual", 0).unwrap();
    }
    store.sweep(Timestamp(5)).unwrap();
    let left: Vec<i64> =
        store.captures(id, None, 10).unwrap().iter().map(|capture| capture.time.0).collect();
    assert_eq!(left, [4, 3, 1], "the oldest graph goes");
}

#[test]
fn events_are_kept_and_filtered() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let event = |time: i64, kind: &str, target: Option<i64>| StoredEvent {
        id: 0,
        time: Timestamp(time),
        kind: kind.to_owned(),
        level: "info".to_owned(),
        target: target.map(TargetId),
        message: "so it is".to_owned(),
        fields: "{}".to_owned(),
    };
    let mut two = [event(1, "target", Some(1)), event(2, "capture", Some(2))];
    store.put_events(&mut two).unwrap();
    assert_eq!(two.map(|event| event.id), [1, 2]);
    store.put_events(&mut [event(3, "rule", None)]).unwrap();
    let times = |filter: EventFilter, limit| -> Vec<i64> {
        store.events(&filter, limit).unwrap().iter().map(|event| event.time.0).collect()
    };
    assert_eq!(times(EventFilter::default(), 10), [3, 2, 1]);
    assert_eq!(times(EventFilter::default(), 2), [3, 2]);
    assert_eq!(times(EventFilter { after: Some(1), ..EventFilter::default() }, 10), [2, 3]);
    assert_eq!(times(EventFilter { before: Some(3), ..EventFilter::default() }, 10), [2, 1]);
    let kinds = ["target", "rule"].map(str::to_owned).to_vec();
    assert_eq!(times(EventFilter { kinds, ..EventFilter::default() }, 10), [3, 1]);
    let target = Some(TargetId(2));
    assert_eq!(times(EventFilter { target, ..EventFilter::default() }, 10), [2]);
    drop(store);
    assert_eq!(open(dir.path()).events(&EventFilter::default(), 10).unwrap().len(), 3);
}

/// Triggers of one rule with these values, a second apart from `start`, ten bytes each.
fn trigger(store: &Store, target: TargetId, start: i64, scores: &[f64], keep: &TriggerRetention) {
    for (index, &score) in scores.iter().enumerate() {
        let time = Timestamp(start + index as i64 * 1000);
        let capture = put(store, target, time.0, format!("{:010}", time.0).as_bytes());
        let captures = &[capture.id];
        let new = NewTrigger { target, rule: "near-limit", time, score, captures };
        store.put_trigger(&new, keep).unwrap();
    }
}

/// Seconds of the captures that are left, ascending.
fn left(store: &Store, target: TargetId) -> Vec<i64> {
    let left = store.captures(target, None, usize::MAX).unwrap();
    left.iter().rev().map(|capture| capture.time.0 / 1000).collect()
}

#[test]
fn the_best_of_each_ramp_stay() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(0)).unwrap();
    let keep = TriggerRetention { per_ramp: 2, bytes_max: 1000 };
    trigger(&store, id, 0, &[80.0, 82.0, 85.0, 90.0], &keep);
    assert_eq!(left(&store, id), [2, 3]);
    // Falling begins another ramp; so does an hour without a trigger.
    trigger(&store, id, 10_000, &[81.0, 83.0, 84.0], &keep);
    assert_eq!(left(&store, id), [2, 3, 11, 12]);
    trigger(&store, id, 4_000_000, &[99.0], &keep);
    assert_eq!(left(&store, id), [2, 3, 11, 12, 4000]);
    // Nothing was captured: nothing goes.
    let captures = &[];
    let new = NewTrigger {
        target: id,
        rule: "near-limit",
        time: Timestamp(4_001_000),
        score: 100.0,
        captures,
    };
    assert_eq!(store.put_trigger(&new, &keep).unwrap(), crate::Swept::default());
    // Schedules and rules do not count together, and what rules took is not thinned out.
    put(&store, id, 4_002_000, b"scheduled");
    store.sweep(Timestamp(40_000_000)).unwrap();
    assert_eq!(left(&store, id), [2, 3, 11, 12, 4000, 4002]);
    assert_eq!(store.trigger_bytes().unwrap(), 50);
}

#[test]
fn a_thousand_triggers_stay_below_the_cap_and_kills_keep_their_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(0)).unwrap();
    let keep = TriggerRetention { per_ramp: 3, bytes_max: 200 };
    trigger(&store, id, 0, &[95.0, 96.0], &keep);
    store.mark_killed(id, Timestamp(1500)).unwrap();
    // A saw-tooth of the same program, restarted: 1,000 triggers in 250 ramps.
    let again = store.put_target(&target(8), Timestamp(2000)).unwrap();
    for tooth in 0..250 {
        trigger(&store, again, 10_000 + tooth * 10_000, &[80.0, 85.0, 90.0, 92.0], &keep);
        assert!(store.trigger_bytes().unwrap() <= 200);
    }
    let after = left(&store, again);
    assert_eq!((after.len(), after.last()), (19, Some(&2503)), "{after:?}");
    assert_eq!(left(&store, id), [1], "the only evidence of the kill");
    // A kill of the same program with evidence of its own makes the old one an ordinary one.
    store.mark_killed(again, Timestamp(2_504_000)).unwrap();
    trigger(&store, again, 2_600_000, &[80.0, 85.0], &keep);
    assert_eq!(left(&store, id), [0; 0]);
    assert!(left(&store, again).contains(&2503));
}

#[test]
fn the_moment_of_a_kill_stays_beside_the_last_trigger() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(0)).unwrap();
    let keep = TriggerRetention { per_ramp: 3, bytes_max: 200 };
    trigger(&store, id, 0, &[95.0, 96.0], &keep);
    let moment = put(&store, id, 1200, b"0123456789");
    store.put_kill(id, moment.time, moment.id).unwrap();
    // Told later: it means the trigger, not what was captured in the moment.
    store.mark_killed(id, Timestamp(1500)).unwrap();
    let again = store.put_target(&target(8), Timestamp(2000)).unwrap();
    for tooth in 0..50 {
        trigger(&store, again, 10_000 + tooth * 10_000, &[80.0, 85.0, 90.0, 92.0], &keep);
        assert!(store.trigger_bytes().unwrap() <= 200);
    }
    assert_eq!(left(&store, id), [1, 1], "the trigger before the kill, and its moment");
    assert_eq!(store.read_capture(moment.id).unwrap(), b"0123456789");
}

#[test]
fn a_store_from_before_triggers_opens() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let id = store.put_target(&target(7), Timestamp(1000)).unwrap();
    let capture = put(&store, id, 2000, b"profile");
    store.catalog().execute_batch("DROP TABLE trigger_captures; DROP TABLE triggers;").unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.read_capture(capture.id).unwrap(), b"profile");
    assert_eq!(store.trigger_bytes().unwrap(), 0);
}
