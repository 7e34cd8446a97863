//! `memsight metrics` on real programs: each source against the others, and the live view.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{Process, fails, memsight, stdout};

const RECORDED: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../fixtures/metricpage/client_golang.prom"
));

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pages");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages_of_metrics");
        let mut go = Command::new("go");
        go.env("GOFLAGS", "").current_dir(source).args(["build", "-o"]).arg(&program).arg(".");
        assert!(go.status().expect("go is installed").success());
        program
    })
}

/// The program and its address.
fn pages(arguments: &[&str]) -> (Process, String) {
    let mut command = Command::new(program());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Process(child), format!("http://{}", line.trim()))
}

fn json(arguments: &[&str]) -> Value {
    let arguments = [&["metrics", "--json"], arguments].concat();
    serde_json::from_str(&stdout(&arguments)).unwrap()
}

/// A whole number of the metrics; those beyond 2^53 are texts.
fn number(value: &Value, name: &str) -> Option<u64> {
    let metrics = value["metrics"].as_array().unwrap();
    let metric = metrics.iter().find(|metric| metric["name"] == name)?;
    let value = &metric["value"];
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn names(value: &Value) -> Vec<String> {
    let metrics = value["metrics"].as_array().unwrap();
    metrics.iter().map(|metric| metric["name"].as_str().unwrap().to_owned()).collect()
}

/// What a page says lies between what memory said before and after; what does not only grow
/// may have moved by what the request took.
fn check_page(pid: &str, url: &str, source: &str, count: usize) {
    const SLACK: u64 = 2 << 20;
    let before = json(&[pid]);
    let page = json(&[url]);
    let after = json(&[pid]);
    assert_eq!(page["source"], source);
    assert_eq!(before["source"], "memory");
    let found = names(&page);
    assert_eq!(found.len(), count, "{url}: {found:?}");
    for name in found {
        let [low, value, high] =
            [&before, &page, &after].map(|value| number(value, &name).unwrap());
        let metric = page["metrics"].as_array().unwrap().iter().find(|m| m["name"] == name);
        let slack = if metric.unwrap()["cumulative"] == true { 0 } else { SLACK };
        let (low, high) = (low.min(high), high.max(low));
        assert!(
            low.saturating_sub(slack) <= value && value <= high + slack,
            "{url} {name}: {low} {value} {high}"
        );
    }
}

#[test]
fn pages_say_what_memory_says() {
    let (process, url) = pages(&["prometheus"]);
    let pid = process.pid();
    check_page(&pid, &format!("{url}/debug/vars"), "expvar", 21);
    check_page(&pid, &format!("{url}/debug/pprof/heap?debug=1"), "heap-text", 21);
    check_page(&pid, &url, "prometheus", 6);
    // Without a page for Prometheus the next one is asked.
    let (process, url) = pages(&[]);
    check_page(&process.pid(), &url, "expvar", 21);
    let text = stdout(&["metrics", &url]);
    assert!(text.contains("from /debug/vars, which stops the world"), "{text}");
}

#[test]
fn every_form_has_every_metric() {
    let (process, _) = pages(&[]);
    let pid = process.pid();
    let value = json(&[&pid]);
    assert_eq!(value["metrics"].as_array().unwrap().len(), 66);
    assert_eq!(value["warnings"], Value::Array(Vec::new()));
    let text = stdout(&["metrics", &pid]);
    assert!(names(&value).iter().all(|name| text.contains(&format!("\n{name} "))), "{text}");
    assert!(text.contains("/gc/gomemlimit:bytes") && text.contains(" none  GOMEMLIMIT"), "{text}");
    let csv = stdout(&["metrics", &pid, "--csv", "^/sched/gomaxprocs", "/gc/heap/live:bytes"]);
    assert_eq!(csv.lines().count(), 3, "{csv}");
    let few = json(&[&pid, "/gc/heap/live:bytes", "cycles"]);
    assert_eq!(names(&few).len(), 4);
}

/// The series of client_golang 1.23 and ours have the same names and bounds.
#[test]
fn series_are_those_of_client_golang() {
    let (process, _) = pages(&[]);
    let page = stdout(&["metrics", &process.pid(), "--openmetrics"]);
    let series = |text: &str| -> BTreeSet<String> {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.contains("_godebug_"))
            .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
            // Bounds of quantiles have a point in OpenMetrics, the release is the program's.
            .map(|series| series.replace("\"0\"", "\"0.0\"").replace("\"1\"", "\"1.0\""))
            .map(|series| series.split("{version").next().unwrap_or_default().to_owned())
            .collect()
    };
    assert_eq!(series(&page), series(RECORDED));
    assert!(page.ends_with("# EOF\n"));
}

/// Lines of a view that goes on, until three readings are there.
#[test]
fn a_pipe_gets_one_list_after_the_other() {
    let (process, _) = pages(&[]);
    let start = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memsight"));
        command.args(["metrics", &process.pid(), "--watch=100ms"]).args(arguments);
        Process(command.stdout(Stdio::piped()).spawn().unwrap())
    };
    let mut watching = start(&["--json"]);
    let mut lines = BufReader::new(watching.0.stdout.take().unwrap()).lines();
    let times: Vec<i64> = (0..3)
        .map(|_| {
            let line = lines.next().unwrap().unwrap();
            serde_json::from_str::<Value>(&line).unwrap()["time_ms"].as_i64().unwrap()
        })
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    // Nobody reads any more: it ends by itself.
    drop(lines);
    assert!(watching.0.wait().unwrap().success());

    let mut watching = start(&["heap/live", "allocs:bytes"]);
    let mut out = watching.0.stdout.take().unwrap();
    let mut text = String::new();
    while text.matches("/gc/heap/live:bytes").count() < 2 {
        let mut part = [0; 512];
        let len = out.read(&mut part).unwrap();
        assert!(len > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&part[..len]));
    }
    assert!(!text.contains('\x1b') && text.starts_with("# "), "{text}");
    interrupt(watching.0.id());
    assert!(watching.0.wait().unwrap().success());
}

fn interrupt(pid: u32) {
    let status = Command::new("kill").args(["-INT", &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// What a terminal of 12 lines gets, which `script` plays, until `end` ends it by its pid or
/// otherwise; and the exit code.
fn on_a_terminal(target: &str, end: impl FnOnce(u32)) -> (String, Option<i32>) {
    let dir = tempfile::tempdir().unwrap();
    let pid_file = dir.path().join("pid");
    let inner = format!(
        "stty rows 12 cols 60; echo $$ > {}; exec {} metrics {target} --watch=100ms",
        pid_file.display(),
        env!("CARGO_BIN_EXE_memsight"),
    );
    let mut command = Command::new("script");
    command.args(["-qec", &inner, "/dev/null"]).stdin(Stdio::piped());
    let mut child = Process(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut out = child.0.stdout.take().unwrap();
    let mut seen = Vec::new();
    // A second frame, which overwrites the first.
    while seen.windows(3).filter(|bytes| bytes == b"\x1b[H").count() < 2 {
        let mut part = [0; 4096];
        let len = out.read(&mut part).unwrap();
        assert!(len > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&part[..len]);
    }
    end(std::fs::read_to_string(pid_file).unwrap().trim().parse().unwrap());
    out.read_to_end(&mut seen).unwrap();
    let code = child.0.wait().unwrap().code();
    (String::from_utf8_lossy(&seen).into_owned(), code)
}

#[test]
fn a_terminal_is_left_as_it_was() {
    if Command::new("script").arg("--version").output().is_err() {
        println!("skipped: no script(1)");
        return;
    }
    const RESTORED: &str = "\x1b[?25h\x1b[?1049l";
    let (mut process, _) = pages(&[]);
    let pid = process.pid();
    let (text, code) = on_a_terminal(&pid, interrupt);
    assert!(text.contains("\x1b[?1049h\x1b[?25l"), "{text:?}");
    assert!(text.ends_with(RESTORED), "{text:?}");
    assert_eq!(code, Some(0));
    let frame = text.split("\x1b[H").nth(1).unwrap();
    assert!(frame.lines().count() <= 12, "{frame:?}");
    // The error comes after the screen is back; nobody has waited for the process yet.
    let (text, code) = on_a_terminal(&pid, |_| process.0.kill().unwrap());
    let after = text.split(RESTORED).nth(1).unwrap_or_default();
    assert!(after.contains("has ended"), "{text:?}");
    assert_eq!(code, Some(4));
}

#[test]
fn a_target_that_ends_is_said_so() {
    let (mut process, url) = pages(&[]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_memsight"));
    command.args(["metrics", &process.pid(), "--watch=100ms"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut watching = command.spawn().unwrap();
    let mut line = [0; 1];
    watching.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    process.0.kill().unwrap();
    process.0.wait().unwrap();
    let output = watching.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has ended"));
    fails(&["metrics", &url], 4);
}

#[test]
fn what_is_wrong_is_said() {
    let (process, url) = pages(&[]);
    let pid = process.pid();
    assert!(fails(&["metrics", &pid, "nonsense"], 2).contains("none of the 66 metrics"));
    assert!(fails(&["metrics", &pid, "("], 2).contains("regex"));
    let nowhere = format!("{url}/nowhere");
    assert!(fails(&["metrics", &nowhere], 2).contains("404"));
    let page = format!("{url}/debug/pprof/cmdline");
    assert!(fails(&["metrics", &page], 2).contains("no metrics of the Go runtime"));
    assert!(fails(&["metrics", "core:x"], 2).contains("core"));
    let both = memsight(&["metrics", &pid, "--json", "--csv"]);
    assert_eq!(both.status.code(), Some(2));
}
