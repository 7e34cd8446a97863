//! A store of series on a real directory.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::series::{NAME, NativeHistogram, STALE, Sample, Value, is_stale};
use model::{Labels, Timestamp};

use super::{Appended, MatchOp, Matcher, Selected, SeriesOptions, SeriesStore};
use crate::error::StoreError;

fn open(dir: &Path) -> SeriesStore {
    SeriesStore::open(dir, SeriesOptions::default()).unwrap()
}

fn labels(name: &str, pid: u32) -> Labels {
    Labels::new([(NAME, name), ("pid", &pid.to_string()), ("service", "shop")])
}

fn at(name: &str, pid: u32, time: i64, value: f64) -> (Labels, Sample) {
    (labels(name, pid), Sample { time: Timestamp(time), value: Value::Float(value) })
}

fn matcher(name: &str, op: MatchOp, value: &str) -> Matcher {
    Matcher::new(name, op, value).unwrap()
}

fn select(store: &SeriesStore, matchers: &[Matcher]) -> Selected {
    store.select(matchers, Timestamp(i64::MIN), Timestamp(i64::MAX)).unwrap()
}

fn times_of(selected: &Selected) -> Vec<Vec<(i64, f64)>> {
    let number = |sample: &Sample| (sample.time.0, sample.value.float().unwrap());
    selected.series.iter().map(|(_, samples)| samples.iter().map(number).collect()).collect()
}

fn all(store: &SeriesStore) -> Vec<Vec<(i64, f64)>> {
    let selected = select(store, &[]);
    assert_eq!(selected.warnings, [""; 0]);
    times_of(&selected)
}

/// What a killed process leaves: the files as they are, without any farewell.
fn killed(store: SeriesStore) {
    std::mem::forget(store);
}

#[test]
fn what_was_appended_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut expected = vec![Vec::new(), Vec::new()];
    let mut append = |store: &SeriesStore, from: i64| {
        for time in (from..from + 500).map(|step| step * 1000) {
            let samples = [at("a", 7, time, (time / 5000) as f64), at("b", 7, time, time as f64)];
            assert_eq!(store.append(&samples).unwrap().added, 2);
            expected[0].push((time, (time / 5000) as f64));
            expected[1].push((time, time as f64));
        }
        expected.clone()
    };
    let expected = append(&store, 0);
    assert_eq!(all(&store), expected);
    killed(store);
    let store = open(dir.path());
    assert_eq!(all(&store), expected, "from the log");
    store.flush(Timestamp(0)).unwrap();
    assert_eq!(all(&store), expected, "from a block");
    let expected = append(&store, 500);
    assert_eq!(all(&store), expected, "from both");
    killed(store);
    let store = open(dir.path());
    assert_eq!(all(&store), expected, "again");
    assert_eq!(store.take_warnings(), [""; 0]);
    let stats = store.stats();
    assert_eq!(
        (stats.series, stats.blocks, stats.block_samples, stats.head_samples),
        (2, 1, 1000, 1000)
    );
    let part = store.select(&[], Timestamp(499_000), Timestamp(501_000)).unwrap();
    assert_eq!(times_of(&part)[1], [499_000, 500_000, 501_000].map(|t| (t, t as f64)));
}

#[test]
fn a_block_that_was_written_hides_the_log_it_came_from() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(&[at("a", 7, 1, 1.0)]).unwrap();
    let log = dir.path().join("series/log");
    let segment = log.join(format!("{:016}", 0));
    let bytes = std::fs::read(&segment).unwrap();
    store.flush(Timestamp(0)).unwrap();
    assert!(!segment.exists());
    killed(store);
    // The machine stopped before the segment was removed.
    std::fs::write(&segment, bytes).unwrap();
    let store = open(dir.path());
    assert_eq!(all(&store), [[(1, 1.0)]]);
    assert_eq!(store.stats().head_samples, 0);
    assert!(!segment.exists());
}

#[test]
fn times_may_repeat_and_go_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for time in [10, 20, 30, 40] {
        store.append(&[at("a", 7, time, time as f64)]).unwrap();
    }
    let again = store.append(&[at("a", 7, 40, 40.0), at("a", 7, 40, 41.0)]).unwrap();
    assert_eq!(again, Appended { same: 1, conflicting: 1, ..Appended::default() });
    // The clock was set back by 20: what is measured from then on counts.
    for time in [20, 28] {
        assert_eq!(store.append(&[at("a", 7, time, 0.5)]).unwrap().added, 1);
    }
    let expected = [[(10, 10.0), (20, 0.5), (28, 0.5), (30, 30.0), (40, 40.0)]];
    assert_eq!(all(&store), expected);
    store.append(&[at("a", 7, 35, 0.5)]).unwrap();
    let expected = [[(10, 10.0), (20, 0.5), (28, 0.5), (35, 0.5), (40, 40.0)]];
    assert_eq!(all(&store), expected);
    killed(store);
    let store = open(dir.path());
    assert_eq!(all(&store), expected);
    store.flush(Timestamp(0)).unwrap();
    assert_eq!(all(&store), expected);
    // Forever back and forth is refused.
    let swinging = (0..200).map(|step| at("a", 7, 1000 - step, 0.0)).collect::<Vec<_>>();
    let appended = store.append(&swinging).unwrap();
    assert!(appended.refused > 100 && appended.added > 50, "{appended:?}");
    assert_eq!(store.take_warnings().len(), 1);
}

#[test]
fn matchers_are_those_of_prometheus() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let none = Labels::new([(NAME, "up")]);
    let up = (none, Sample { time: Timestamp(1), value: Value::Float(1.0) });
    store.append(&[at("a", 7, 1, 0.0), at("a", 8, 1, 0.0), at("ab", 7, 5, 0.0), up]).unwrap();
    let check = |matchers: &[(&str, MatchOp, &str)], expected: &[&str]| {
        let matchers: Vec<Matcher> =
            matchers.iter().map(|(name, op, value)| matcher(name, *op, value)).collect();
        let found = select(&store, &matchers);
        let found: Vec<String> = found
            .series
            .iter()
            .map(|(labels, _)| format!("{}/{}", labels.name(), labels.get("pid").unwrap_or("-")))
            .collect();
        assert_eq!(found, expected, "{matchers:?}");
    };
    use MatchOp::{Equal, Matches, NotEqual, NotMatches};
    check(&[(NAME, Equal, "a")], &["a/7", "a/8"]);
    check(&[(NAME, Matches, "a")], &["a/7", "a/8"]);
    check(&[(NAME, Matches, "a.*"), ("pid", NotEqual, "8")], &["a/7", "ab/7"]);
    check(&[("pid", Equal, "")], &["up/-"]);
    check(&[("pid", Matches, "")], &["up/-"]);
    check(&[("pid", NotEqual, "")], &["a/7", "a/8", "ab/7"]);
    check(&[("pid", NotMatches, "7|8")], &["up/-"]);
    check(&[(NAME, Equal, "a"), ("pid", Equal, "9")], &[]);
    assert!(Matcher::new("a", Matches, "(").unwrap_err().contains("no pattern"));
    let (from, to) = (Timestamp(0), Timestamp(4));
    assert_eq!(store.label_values(NAME, &[], from, to), ["a", "up"]);
    assert_eq!(store.label_names(&[], from, to), [NAME, "pid", "service"]);
    let sets = [vec![matcher(NAME, Equal, "up")], vec![matcher("pid", Equal, "8")]];
    assert_eq!(store.series(&sets, from, to), [labels("a", 8), Labels::new([(NAME, "up")])]);
    assert_eq!(store.label_values("pid", &sets, from, to), ["8"]);
    assert_eq!(store.label_names(&sets[..1], from, to), [NAME]);
}

#[test]
fn histograms_and_ends_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let histogram = |count: f64| {
        let positive = vec![(3, count)];
        let histogram =
            NativeHistogram { schema: 3, count, positive, ..NativeHistogram::default() };
        Value::Histogram(Arc::new(histogram))
    };
    let series = labels("h", 7);
    let steps = [histogram(1.0), histogram(1.0), histogram(9.0), Value::Float(STALE)];
    let samples: Vec<(Labels, Sample)> = (0..)
        .zip(steps)
        .map(|(time, value)| (series.clone(), Sample { time: Timestamp(time), value }))
        .collect();
    for sample in &samples {
        store.append(std::slice::from_ref(sample)).unwrap();
    }
    for round in 0..3 {
        let selected = select(&store, &[]);
        let [(_, read)] = &selected.series[..] else { panic!("{selected:?}") };
        let expected: Vec<&Sample> = samples.iter().map(|(_, sample)| sample).collect();
        assert_eq!(read[..3].iter().collect::<Vec<_>>(), expected[..3], "{round}");
        assert!(read[3].value.float().is_some_and(is_stale));
        if round == 1 {
            store.flush(Timestamp(0)).unwrap();
        }
    }
    killed(store);
    assert_eq!(select(&open(dir.path()), &[]).series[0].1.len(), 4);
}

#[test]
fn damage_costs_what_it_is_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for time in 0..3 {
        store.append(&[at("a", 7, time, 1.0), at("b", 7, time, 2.0)]).unwrap();
    }
    store.flush(Timestamp(0)).unwrap();
    store.append(&[at("a", 7, 10, 1.0)]).unwrap();
    store.append(&[at("a", 7, 11, 1.0)]).unwrap();
    killed(store);
    let block = dir.path().join("series/blocks").join(format!("{:016}", 0));
    let mut bytes = std::fs::read(&block).unwrap();
    bytes[5] ^= 1;
    std::fs::write(&block, &bytes).unwrap();
    let segment = dir.path().join("series/log").join(format!("{:016}", 1));
    let log = std::fs::read(&segment).unwrap();
    std::fs::write(&segment, &log[..log.len() - 1]).unwrap();
    let store = open(dir.path());
    assert_eq!(store.take_warnings().len(), 1, "the log was cut off");
    let selected = select(&store, &[]);
    assert_eq!(times_of(&selected), [vec![(10, 1.0)], vec![(0, 2.0), (1, 2.0), (2, 2.0)]]);
    assert_eq!(selected.warnings.len(), 1, "a chunk is damaged");
    killed(store);
    // Any other damage: no panic, and the store opens.
    for place in (0..bytes.len()).rev() {
        bytes[place] ^= 0x55;
        std::fs::write(&block, &bytes).unwrap();
        let store = open(dir.path());
        let _ = select(&store, &[]);
    }
    let names = dir.path().join("series/names");
    let bytes = std::fs::read(&names).unwrap();
    std::fs::write(&names, &bytes[..bytes.len() - 1]).unwrap();
    let store = open(dir.path());
    assert!(store.take_warnings().iter().any(|warning| warning.contains("names")));
    // What is there without a name does not become another's.
    assert_eq!(select(&store, &[]), Selected::default());
    store.append(&[at("c", 7, 20, 1.0)]).unwrap();
    assert_eq!(times_of(&select(&store, &[])), [[(20, 1.0)]]);
}

#[test]
fn old_blocks_go_and_their_series_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let options = SeriesOptions { keep: Duration::from_secs(100), ..SeriesOptions::default() };
    let store = SeriesStore::open(dir.path(), options.clone()).unwrap();
    store.append(&[at("old", 1, 1000, 1.0), at("kept", 1, 1000, 1.0)]).unwrap();
    store.flush(Timestamp(1000)).unwrap();
    store.append(&[at("kept", 1, 100_000, 2.0)]).unwrap();
    store.flush(Timestamp(100_000)).unwrap();
    store.tick(Timestamp(100_500)).unwrap();
    assert_eq!(store.stats().blocks, 2);
    store.tick(Timestamp(150_000)).unwrap();
    assert_eq!((store.stats().blocks, store.stats().series), (1, 1));
    assert_eq!(store.label_values(NAME, &[], Timestamp(0), Timestamp(i64::MAX)), ["kept"]);
    // Its number is not given to another.
    store.append(&[at("new", 1, 150_000, 3.0)]).unwrap();
    killed(store);
    let store = SeriesStore::open(dir.path(), options.clone()).unwrap();
    assert_eq!(all(&store), [[(100_000, 2.0)], [(150_000, 3.0)]]);
    assert_eq!((store.stats().blocks_removed, store.stats().blocks_written), (0, 0));
    store.set_keep(options.keep, 10);
    store.tick(Timestamp(150_000)).unwrap();
    assert_eq!((store.stats().blocks, store.stats().blocks_removed), (0, 1));
    assert_eq!(all(&store), [[(150_000, 3.0)]]);
}

#[test]
fn limits_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let options = SeriesOptions { series_max: 2, samples_max: 3, ..SeriesOptions::default() };
    let store = SeriesStore::open(dir.path(), options).unwrap();
    let three = [at("a", 1, 1, 1.0), at("a", 2, 1, 1.0), at("a", 3, 1, 1.0)];
    assert_eq!(
        store.append(&three).unwrap(),
        Appended { added: 2, refused: 1, ..Appended::default() }
    );
    assert_eq!((store.stats().appended.added, store.stats().appended.refused), (2, 1));
    store.append(&[at("a", 1, 2, 1.0), at("a", 2, 2, 1.0)]).unwrap();
    let one = [matcher("pid", MatchOp::Equal, "1")];
    // From memory, then from a block.
    for _ in 0..2 {
        let error = store.select(&[], Timestamp(0), Timestamp(9)).unwrap_err();
        assert!(matches!(error, StoreError::TooMuch { max: 3, .. }) && error.next_step().is_some());
        assert!(store.select(&one, Timestamp(0), Timestamp(9)).is_ok());
        store.flush(Timestamp(0)).unwrap();
    }
}

#[test]
fn a_disk_that_takes_nothing_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    store.append(&[at("a", 1, 1, 1.0)]).unwrap();
    // Where a block should go there is no folder.
    let blocks = dir.path().join("series/blocks");
    std::fs::remove_dir(&blocks).unwrap();
    assert!(store.flush(Timestamp(0)).is_err());
    store.append(&[at("a", 1, 2, 1.0)]).unwrap();
    assert_eq!(all(&store), [[(1, 1.0), (2, 1.0)]]);
    std::fs::create_dir(&blocks).unwrap();
    store.tick(Timestamp(0)).unwrap();
    assert_eq!((store.stats().blocks, store.stats().block_samples), (1, 1));
    assert_eq!(all(&store), [[(1, 1.0), (2, 1.0)]]);
    killed(store);
    assert_eq!(all(&open(dir.path())), [[(1, 1.0), (2, 1.0)]]);
}
