//! The events of recorded traces are those of Go's reader, one by one.

use std::path::Path;

use crate::go;
use crate::lines;

/// Generations every 60 ms instead of every second.
const SHORT_GENERATIONS: &str = "traceadvanceperiod=60000000";

/// Compares all events of a trace, and returns their lines.
fn check(trace: &Path, oracle: &Path) -> Vec<String> {
    let bytes = std::fs::read(trace).unwrap();
    let (ours, theirs) = (lines::all(&bytes), go::oracle_lines(oracle, trace));
    for (at, (our, their)) in ours.iter().zip(&theirs).enumerate() {
        assert_eq!(our, their, "event {at} of {}", trace.display());
    }
    assert_eq!(ours.len(), theirs.len(), "{}", trace.display());
    assert!(!theirs.iter().any(|line| line.starts_with("ERROR")), "{}", trace.display());
    ours
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
        let has_experiment = !name.starts_with("1.22");
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
