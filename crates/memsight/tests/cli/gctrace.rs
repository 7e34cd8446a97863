//! `memsight gctrace` on what real programs print, against the runtime's own counts.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::memsight;
use crate::toolchains::toolchains;

fn build(go: &Path, dir: &Path) -> PathBuf {
    let program = dir.join("collecting");
    let mut command = Command::new(go);
    command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
    command.args(["build", "-o"]).arg(&program).arg(".");
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/collecting"));
    assert!(command.status().expect("go is installed").success());
    program
}

fn value(text: &[u8]) -> Value {
    serde_json::from_slice(text).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(text)))
}

/// What the program printed of itself and what the runtime did. The runtime's own locks can
/// deadlock when it prints several traces at once (Go 1.24, one run in sixty): such a run
/// is ended and another one taken.
fn log_of(program: &Path, settings: &str) -> (Vec<u8>, Vec<u8>) {
    let (out, log) = (program.with_extension("out"), program.with_extension("log"));
    for _ in 0..5 {
        let mut command = Command::new(program);
        command.arg("40").env("GODEBUG", settings);
        command.stdout(fs::File::create(&out).unwrap()).stderr(fs::File::create(&log).unwrap());
        let mut child = command.spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        if child.try_wait().unwrap().is_some() {
            return (fs::read(out).unwrap(), fs::read(log).unwrap());
        }
        println!("{settings}: the program hangs");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    panic!("{settings}: the program hangs each time");
}

#[test]
fn cycles_and_pauses_are_those_the_runtime_counts() {
    for (_, go) in toolchains() {
        let dir = tempfile::tempdir().unwrap();
        let program = build(&go, dir.path());
        let (counts, lines) = log_of(&program, "gctrace=2,scavtrace=1,gcpacertrace=1");
        let counts = value(&counts);
        let log = dir.path().join("lines");
        fs::write(&log, lines).unwrap();
        let found = memsight(&["gctrace", log.to_str().unwrap(), "--json"]);
        let errors = String::from_utf8_lossy(&found.stderr).into_owned();
        assert_eq!(errors, "", "{}", go.display());
        let found = value(&found.stdout);
        let summary = &found["summary"];
        assert_eq!(summary["last"], counts["cycles"], "{}", go.display());
        assert_eq!(summary["cycles"], counts["cycles"]);
        assert_eq!(summary["forced"], counts["forced"]);
        // Times are printed with two digits.
        let ours = summary["pauses_ms"]["sum"].as_f64().unwrap();
        let theirs = counts["pause_ns"].as_f64().unwrap() / 1e6;
        assert!((ours - theirs).abs() < 0.1 * theirs + 0.1, "{ours} {theirs}");
        let live = summary["live_mib"]["last"].as_u64().unwrap();
        assert!((40..60).contains(&live), "{live}");
        // The runtime prints these in pieces, so that other lines may fall between.
        fs::write(&log, log_of(&program, "schedtrace=10").1).unwrap();
        let found = memsight(&["gctrace", log.to_str().unwrap(), "--json"]);
        assert!(value(&found.stdout)["scheduler"]["lines"].as_u64().unwrap() > 3);
    }
}

#[test]
fn a_program_that_is_run_keeps_its_output_and_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let program = build(Path::new("go"), dir.path());
    let report = dir.path().join("report.json");
    let arguments = ["gctrace", "--json", "-o", report.to_str().unwrap(), "--godebug", "gctrace=2"];
    let output =
        memsight(&[&arguments[..], &["--", program.to_str().unwrap(), "20", "loud"]].concat());
    assert_eq!(output.status.code(), Some(7));
    assert!(value(&output.stdout)["cycles"].as_u64().unwrap() > 2);
    let own = String::from_utf8_lossy(&output.stderr);
    let is_own = |line: &&str| *line == "half a line, " || *line == "and its end";
    assert!(own.lines().filter(is_own).count() > 2, "{own}");
    // What was torn is passed on, and memsight says so.
    assert!(own.lines().filter(|line| !is_own(line)).count() <= 3, "{own}");
    let found = value(&fs::read(report).unwrap());
    assert_eq!(found["summary"]["last"], value(&output.stdout)["cycles"]);
}

#[test]
fn reports_of_a_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("app.log");
    let cycle = |number: u64| {
        let live = 90 + 10 * number;
        format!(
            "2026-01-02 app: gc {number} @{number}.000s 30%: 0.1+10+0.2 ms clock, \
             0.2+9/18/3+0.4 ms cpu, {0}->{0}->{live} MB, {0} MB goal, 0 MB stacks, 0 MB globals, 2 P\n",
            2 * (live - 10)
        )
    };
    let mut text: String = (1..=30).map(cycle).collect();
    text.insert_str(0, "gc 29 @9.000s 1%: 0.1+10+0.2 ms clock, 0.2+9/18\n");
    fs::write(&log, &text).unwrap();
    let file = log.to_str().unwrap();
    let output = memsight(&["gctrace", file]);
    let (out, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(errors.contains("1 lines could not be read, the first: line 1, byte 47"), "{errors}");
    for part in [
        "30 cycles (1 to 30) in 29.0 s on 2 P",
        "limit      GOGC, about 100",
        "grows by 600.0 MiB a minute",
        "# lives",
        "memsight heap leaks",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let csv = memsight(&["gctrace", file, "--csv"]);
    assert_eq!(String::from_utf8_lossy(&csv.stdout).lines().count(), 31);
    let metrics = memsight(&["gctrace", file, "--openmetrics"]);
    let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
    assert!(metrics.contains("\ngo_gc_cycles_total_gc_cycles_total 30\n"), "{metrics}");
    assert!(metrics.contains("\ngo_gc_heap_live_bytes 408944640\n"), "{metrics}");
    assert!(metrics.contains("_bucket{le=\"+Inf\"} 60\n") && metrics.ends_with("# EOF\n"));
}

#[test]
fn what_is_wrong_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("app.log");
    fs::write(&log, b"gc is fine\n\xff\xfe\n").unwrap();
    let output = memsight(&["gctrace", log.to_str().unwrap()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(errors.contains("no line of the Go runtime in 2 lines") && errors.contains("GODEBUG"));
    let output = memsight(&["gctrace"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("-- COMMAND"));
    assert_eq!(output.status.code(), Some(2));
    let output = memsight(&["gctrace", "--", "/nonexistent/program"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/program"));
    assert_eq!(output.status.code(), Some(2));
}
