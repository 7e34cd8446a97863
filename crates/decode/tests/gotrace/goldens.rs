//! Go's own test files of traces: what it reads we read, what it refuses we refuse, for the
//! same reason.

use std::path::{Path, PathBuf};

use decode::gotrace::Reader;
use model::trace::What;

use crate::encode::{encode, unquote};
use crate::streams::check;
use crate::{go, lines};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.is_file());
    files.sort();
    files
}

/// The sections of a txtar file of a test: what is expected, and the trace. cmd/trace's file
/// has no sections, and is a trace that can be read.
fn sections(file: &Path) -> (String, Vec<u8>) {
    let text = std::fs::read_to_string(file).unwrap();
    if text.starts_with("Trace ") {
        return ("SUCCESS".to_owned(), encode(&text));
    }
    let (_, rest) = text.split_once("-- expect --\n").unwrap();
    let (expected, trace) = rest.split_once("-- trace --\n").unwrap();
    (expected.trim().to_owned(), encode(trace))
}

/// Reads all events; the text of the error when there is one.
fn read(bytes: &[u8]) -> Result<usize, String> {
    let mut reader = Reader::new(bytes).map_err(|error| error.to_string())?;
    let mut count = 0;
    while reader.next().map_err(|error| error.to_string())?.is_some() {
        count += 1;
    }
    Ok(count)
}

#[test]
fn goldens_agree() {
    let Some(sources) = go::sources() else { return };
    let mut all = files(&sources.join("internal/trace/testdata/tests"));
    all.push(sources.join("cmd/trace/testdata/go122.test"));
    assert!(all.len() > 20, "{} files", all.len());
    for file in all {
        let (expected, bytes) = sections(&file);
        let (result, name) = (read(&bytes), file.display());
        match expected.strip_prefix("FAILURE ") {
            None => assert!(result.is_ok(), "{name}: {result:?}"),
            Some(pattern) => {
                let pattern = String::from_utf8(unquote(pattern)).unwrap();
                let reason = pattern.trim_start_matches(".*").trim_end_matches(".*");
                let error = result.expect_err(&name.to_string());
                assert!(error.contains(reason), "{name}: {error}, expected {reason}");
            }
        }
    }
}

#[test]
fn goldens_have_the_events_of_gos_reader() {
    let (Some(sources), Some(oracle)) = (go::sources(), go::oracle()) else { return };
    let mut all = files(&sources.join("internal/trace/testdata/tests"));
    all.push(sources.join("cmd/trace/testdata/go122.test"));
    for file in all {
        let (_, bytes) = sections(&file);
        let trace = Path::new(env!("CARGO_TARGET_TMPDIR")).join("golden.trace");
        std::fs::write(&trace, &bytes).unwrap();
        let (ours, theirs) = (lines::all(&bytes), go::oracle_lines(oracle, &trace));
        assert_eq!(ours.len(), theirs.len(), "{}", file.display());
        for (our, their) in ours.iter().zip(&theirs) {
            let are_errors = our.starts_with("ERROR") && their.starts_with("ERROR");
            assert!(our == their || are_errors, "{}: {our}, Go: {their}", file.display());
        }
    }
}

/// Times of synchronisations, which Go's TestTraceGenSync expects.
#[test]
fn generations_begin_where_go_says() {
    let Some(sources) = go::sources() else { return };
    let check = |name: &str, expected: &[(i64, Option<(i64, u64)>)]| {
        let (_, bytes) = sections(&sources.join("internal/trace/testdata/tests").join(name));
        let mut reader = Reader::new(&bytes).unwrap();
        let mut found = Vec::new();
        while let Some(event) = reader.next().unwrap() {
            if matches!(event.what, What::Sync { .. }) {
                let clock = reader.clock().map(|clock| (clock.trace.0, clock.monotonic_nanos));
                found.push((event.time.0, clock));
            }
        }
        assert_eq!(found, expected, "{name}");
    };
    check("go123-sync.test", &[(10, None), (40, None), (60, None), (63, None)]);
    let clocks = [(9, Some((10, 99))), (38, Some((40, 199))), (58, Some((60, 299))), (83, None)];
    check("go125-sync.test", &clocks);
}

/// Inputs that Go's fuzzer found: whatever comes of them, it ends, and where Go refuses.
#[test]
fn fuzz_seeds_of_go_end_as_in_go() {
    let (Some(sources), Some(oracle)) = (go::sources(), go::oracle()) else { return };
    let seeds = files(&sources.join("internal/trace/testdata/fuzz/FuzzReader"));
    assert!(seeds.len() > 10);
    for seed in seeds {
        let text = std::fs::read_to_string(&seed).unwrap();
        let literal = text.lines().nth(1).unwrap();
        let literal = literal.strip_prefix("[]byte(").unwrap().strip_suffix(')').unwrap();
        let bytes = unquote(literal);
        let trace = Path::new(env!("CARGO_TARGET_TMPDIR")).join("seed.trace");
        std::fs::write(&trace, &bytes).unwrap();
        let theirs = std::process::Command::new(oracle).arg(&trace).output().unwrap();
        let refused = String::from_utf8_lossy(&theirs.stdout).contains("ERROR");
        // Go's accessors may panic on what its reader lets pass.
        if theirs.status.success() {
            assert_eq!(read(&bytes).is_err(), refused, "{}", seed.display());
        } else {
            let _ = read(&bytes);
        }
    }
}

/// Traces of Go 1.11, 1.19 and 1.21 that Go keeps.
#[test]
fn old_traces_have_the_events_of_gos_reader() {
    let (Some(sources), Some(oracle)) = (go::sources(), go::oracle()) else { return };
    let all = files(&sources.join("internal/trace/internal/tracev1/testdata"));
    assert!(all.len() >= 12, "{} files", all.len());
    for file in all {
        let count = check(&file, oracle).len();
        println!("{}: {count} events are the same", file.display());
        assert!(count > 20, "{}", file.display());
    }
}
