//! `memsight trace mmu` against Go's own curve.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{fails, stdout};
use crate::trace::{oracle, recordings, run, scratch};

/// Flags of ours, and Go's number for them.
const FLAGS: [(&str, u32); 5] = [
    ("stw,background,assist,sweep", 15),
    ("stw", 1),
    ("background", 2),
    ("assist", 4),
    ("sweep", 8),
];
const PER_PROC: u32 = 16;

fn close(ours: &Value, theirs: &Value, slack: f64, what: &str) {
    let (ours, theirs) = (ours.as_f64().unwrap(), theirs.as_f64().unwrap());
    assert!((ours - theirs).abs() < slack, "{what}: {ours}, Go: {theirs}");
}

/// Events of format 1 that are at one time come in any order, a nanosecond after each other: there
/// shares may differ by so many nanoseconds in a window.
const TIES_NANOS: f64 = 100.0;

/// Compares our curve with Go's, which may differ by `nanos` in a window.
fn check(oracle: &Path, file: &Path, flags: (&str, u32), per_proc: bool, nanos: f64) {
    let what = format!("{} of {}, by P: {per_proc}", flags.0, file.display());
    let mut arguments =
        vec!["trace", "mmu", file.to_str().unwrap(), "--json", "-n", "1", "--flags", flags.0];
    if per_proc {
        arguments.push("--per-proc");
    }
    let ours: Value = serde_json::from_str(&stdout(&arguments)).unwrap();
    let curve = ours["curve"].as_array().unwrap();
    assert!(!curve.is_empty(), "{what}");
    let mut windows: Vec<String> =
        curve.iter().map(|point| point["window_nanos"].to_string()).collect();
    windows.push(ours["window_nanos"].to_string());
    let number = flags.1 + if per_proc { PER_PROC } else { 0 };
    let mut go = Command::new(oracle);
    go.arg("-mmu").arg(number.to_string()).arg(windows.join(",")).arg(file);
    let theirs: Value = serde_json::from_slice(&run(&mut go).stdout).unwrap();
    let mut apart = Vec::new();
    for point in curve {
        let their = &theirs["Windows"][point["window_nanos"].to_string()];
        let slack = 1e-9 + nanos / point["window_nanos"].as_f64().unwrap();
        close(&point["minimum"], &their["Minimum"], slack, &what);
        for (at, name) in ["low_0_1_percent", "low_1_percent", "low_5_percent"].iter().enumerate() {
            // Go looks at windows beyond the edges of bands, and of the trace.
            let (ours, theirs) = (point[name].as_f64().unwrap(), &their["Quantiles"][at]);
            if (ours - theirs.as_f64().unwrap()).abs() >= 1e-5 {
                apart.push(format!("{name} of {point}, Go: {theirs}"));
            }
        }
    }
    // Where utilization jumps at a percentile, it is one side or the other by a trifle.
    assert!(apart.len() * 50 <= curve.len() * 3, "{what}: {apart:#?}");
    let their = &theirs["Windows"][ours["window_nanos"].to_string()]["Worst"][0];
    let slack = 1e-9 + nanos / ours["window_nanos"].as_f64().unwrap();
    close(&ours["worst"][0]["utilization"], &their["MutatorUtil"], slack, &what);
}

#[test]
fn curves_are_gos() {
    let Some(oracle) = oracle() else { return };
    for (name, file) in recordings() {
        let nanos = if name.starts_with("1.21.") { TIES_NANOS } else { 0.0 };
        for flags in FLAGS {
            check(oracle, file, flags, false, nanos);
        }
        check(oracle, file, FLAGS[0], true, nanos);
    }
}

/// Traces of Go's own tests, as old as can be read.
#[test]
fn curves_of_old_traces_are_gos() {
    let Some(oracle) = oracle() else { return };
    let root = run(Command::new("go").args(["env", "GOROOT"])).stdout;
    let root = Path::new(String::from_utf8(root).unwrap().trim()).to_owned();
    let folder = root.join("src/internal/trace/internal/tracev1/testdata");
    for name in ["stress_1_11_good", "stress_1_19_good", "stress_1_21_good", "http_1_21_good"] {
        let file = folder.join(name);
        assert!(file.exists(), "{}", file.display());
        check(oracle, &file, FLAGS[0], false, TIES_NANOS);
    }
    check(oracle, &folder.join("stress_1_11_good"), FLAGS[0], true, TIES_NANOS);
}

/// Go 1.21 counted background workers while they run, which later ones do not; here it is
/// its own function that tells, unchanged.
#[test]
fn workers_count_as_in_go_1_21() {
    let Some((name, file)) = recordings().iter().find(|(name, _)| name.starts_with("1.21.")) else {
        println!("skipped: there is no Go 1.21");
        return;
    };
    let home = std::env::var("HOME").unwrap();
    let root = Path::new(&home).join(".cache/memsight/go").join(name).join("go");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/utilization21/main.go");
    let place = root.join("src/cmd/utilization21/main.go").display().to_string();
    let (overlay, program) = (scratch("utilization21.json"), scratch("utilization21"));
    std::fs::write(&overlay, format!("{{\"Replace\": {{{place:?}: {source:?}}}}}")).unwrap();
    let mut go = Command::new(root.join("bin/go"));
    go.args(["build", "-overlay"]).arg(&overlay).arg("-o").arg(&program);
    run(go.arg("cmd/utilization21").env("GOROOT", &root));
    for (flags, number) in FLAGS {
        let arguments = ["trace", "mmu", file.to_str().unwrap(), "--csv", "--flags", flags];
        let ours = stdout(&arguments);
        let rows: Vec<Vec<&str>> =
            ours.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let windows: Vec<&str> = rows.iter().map(|row| row[0]).collect();
        let mut theirs = Command::new(&program);
        theirs.arg(number.to_string()).arg(windows.join(",")).arg(file);
        let theirs = String::from_utf8(run(&mut theirs).stdout).unwrap();
        let mut theirs = theirs.lines();
        // For later readers a worker says what it is a nanosecond after its start.
        let starts: f64 = theirs.next().unwrap().parse().unwrap();
        let theirs: Vec<f64> = theirs.map(|line| line.parse().unwrap()).collect();
        assert_eq!(theirs.len(), rows.len());
        for (row, their) in rows.iter().zip(theirs) {
            let (our, window): (f64, f64) = (row[1].parse().unwrap(), row[0].parse().unwrap());
            let slack = 1e-9 + (starts + TIES_NANOS) / window;
            assert!((our - their).abs() < slack, "{flags} of {row:?}: {our}, Go 1.21: {their}");
        }
    }
}

#[test]
fn worst_windows_and_bars_are_shown() {
    let Some((_, file)) = recordings().first() else { return };
    let file = file.to_str().unwrap();
    let text = stdout(&["trace", "mmu", file, "--window", "1ms", "-n", "2"]);
    assert!(text.contains("WINDOW") && text.contains("99.9%"), "{text}");
    assert!(text.contains("worst windows of 1.00 ms"), "{text}");
    let last = text.lines().rfind(|line| line.contains('#')).unwrap();
    assert!(last.contains("ms") || last.contains(" s"), "{text}");
    let error = fails(&["trace", "mmu", file, "--window", "never"], 2);
    assert!(error.contains("is no duration"), "{error}");
}
