//! The events of recorded traces are those of Go's reader, one by one.

use std::path::Path;

use decode::gotrace::{GoTraceError, Reader, Whole};

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

/// How many events there are, and how many parts; to the end, without an error.
fn count(bytes: &[u8]) -> (u64, u64) {
    let mut reader = Reader::new(bytes).unwrap();
    let (mut events, mut parts) = (0, 0);
    while let Some(event) = reader.next().unwrap() {
        events += 1;
        parts += u64::from(matches!(event.what, model::trace::What::Sync { .. }));
    }
    // The last synchronisation begins nothing.
    (events, parts - 1)
}

#[test]
fn what_is_whole_can_be_read_to_its_end() {
    for (name, toolchain) in go::toolchains() {
        let trace = go::record(&name, &toolchain, 16_000, SHORT_GENERATIONS);
        let bytes = std::fs::read(&trace).unwrap();
        let (mut whole, mut seen) = (Whole::default(), 0);
        for piece in bytes.chunks(10_007) {
            whole.push(piece);
            if whole.generations() == seen {
                continue;
            }
            seen = whole.generations();
            let part = &bytes[..usize::try_from(whole.len()).unwrap()];
            assert_eq!(count(part).1, seen, "Go {name}");
        }
        let (version, parts) = (Reader::new(&bytes).unwrap().version(), count(&bytes).1);
        let expected = match version {
            ..22 => 0,
            // What ends the last part is the end of the file.
            22..26 => parts - 1,
            _ => parts,
        };
        assert_eq!(whole.generations(), expected, "Go {name}");
        assert_eq!(whole.is_empty(), version < 22, "Go {name}");
        println!("Go {name}: {expected} of {parts} parts are whole");
    }
    let mut whole = Whole::default();
    whole.push(b"no trace at all, but long enough");
    assert!(whole.is_empty() && whole.damage().is_none());
    let mut whole = Whole::default();
    whole.push(b"go 1.26 trace\0\0\0\x34\x99");
    assert_eq!(whole.len(), 17);
    assert_eq!(whole.damage().map(GoTraceError::offset), Some(17));
}
