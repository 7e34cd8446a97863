//! The events of recorded traces are those of Go's reader, one by one.

use std::path::Path;

use decode::gotrace::Reader;

use crate::go;
use crate::lines;

/// Generations every 60 ms instead of every second.
const SHORT_GENERATIONS: &str = "traceadvanceperiod=60000000";

/// Compares all events of a trace, and returns their lines.
pub(crate) fn check(trace: &Path, oracle: &Path) -> Vec<String> {
    let bytes = std::fs::read(trace).unwrap();
    let (ours, theirs) = (lines::all(&bytes), go::oracle_lines(oracle, trace));
    assert!(!theirs.iter().any(|line| line.starts_with("ERROR")), "{}", trace.display());
    if Reader::new(&bytes).unwrap().version() < 22 {
        same_but_for_ties(&ours, &theirs, &trace.display().to_string());
        return ours;
    }
    for (at, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "event {at} of {}", trace.display());
    }
    assert_eq!(ours.len(), theirs.len(), "{}", trace.display());
    ours
}

/// In format 1, Go's reader gives events of different Ps at the same time in another order
/// each time it runs, and moves them a nanosecond apart. All times must be the same, and of
/// each run of such times the events.
fn same_but_for_ties(ours: &[String], theirs: &[String], name: &str) {
    let split = |line: &String| -> (i64, String) {
        let mut words = line.splitn(3, ' ');
        let (kind, time, rest) = (words.next(), words.next().unwrap(), words.next());
        (time.parse().unwrap(), format!("{} {}", kind.unwrap(), rest.unwrap()))
    };
    let ours: Vec<(i64, String)> = ours.iter().map(split).collect();
    let theirs: Vec<(i64, String)> = theirs.iter().map(split).collect();
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let mut start = 0;
    for end in 1..=ours.len() {
        if end < ours.len() && ours[end].0 == ours[end - 1].0 + 1 {
            continue;
        }
        let (mut our, mut their) = (ours[start..end].to_vec(), theirs[start..end].to_vec());
        let times = |events: &[(i64, String)]| events.iter().map(|it| it.0).collect::<Vec<_>>();
        assert_eq!(times(&our), times(&their), "events {start} to {end} of {name}");
        our.sort_by(|a, b| a.1.cmp(&b.1));
        their.sort_by(|a, b| a.1.cmp(&b.1));
        for (our, their) in our.iter().zip(&their) {
            assert_eq!(our.1, their.1, "events {start} to {end} of {name}");
        }
        start = end;
    }
}

#[test]
fn recorded_events_are_those_of_gos_reader() {
    let Some(oracle) = go::oracle() else { return };
    for (name, toolchain) in go::toolchains() {
        let trace = go::record(&name, &toolchain, 16_000, SHORT_GENERATIONS);
        let count = check(&trace, oracle).len();
        println!("Go {name}: {count} events are the same");
        assert!(count > 50_000, "Go {name}: only {count} events");
    }
}

#[test]
fn allocations_and_frees_are_those_of_gos_reader() {
    let Some(oracle) = go::oracle() else { return };
    for (name, toolchain) in go::toolchains() {
        let debug = format!("{SHORT_GENERATIONS},traceallocfree=1");
        let trace = go::record(&name, &toolchain, 3_000, &debug);
        let lines = check(&trace, oracle);
        let allocations = lines.iter().filter(|line| line.contains("HeapObjectAlloc")).count();
        println!("Go {name}: {} events are the same, {allocations} allocations", lines.len());
        let has_experiment = !name.starts_with("1.21") && !name.starts_with("1.22");
        assert_eq!(allocations > 1000, has_experiment, "Go {name}: {allocations}");
    }
}

#[test]
#[ignore = "records and compares millions of events, which takes a minute"]
fn many_events_are_those_of_gos_reader() {
    let Some(oracle) = go::oracle() else { return };
    for (name, toolchain) in go::toolchains() {
        for (items, debug) in [(170_000, ""), (40_000, "traceallocfree=1")] {
            let trace = go::record(&name, &toolchain, items, debug);
            println!("Go {name} {debug}: {} events are the same", check(&trace, oracle).len());
        }
    }
}
