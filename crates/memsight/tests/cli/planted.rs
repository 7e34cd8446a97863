//! Heaps with a planted truth: what each root retains is what the runtime's own count
//! grew by when it was built, and the path from the root is named.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::support::{memsight, stdout};

/// The program of planted structures; it ends when its standard input closes.
pub(crate) struct Planted {
    pub(crate) child: Child,
    _stdin: ChildStdin,
    pub(crate) plantings: Vec<Value>,
    pub(crate) stats: Value,
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn build(dir: &Path, flags: &[&str]) -> PathBuf {
    build_with(Path::new("go"), dir, flags)
}

pub(crate) fn build_with(go: &Path, dir: &Path, flags: &[&str]) -> PathBuf {
    let program = dir.join("planted");
    let mut go = Command::new(go);
    go.env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
    go.args(["build", "-o"]).arg(&program).args(flags).arg(".");
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planted"));
    assert!(go.status().expect("go is installed").success(), "tests/planted does not build");
    program
}

pub(crate) fn start(program: &Path, arguments: &[&str]) -> Planted {
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut line = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let plantings = line().as_array().unwrap().clone();
    let stats = line();
    Planted { child, _stdin: stdin, plantings, stats }
}

/// Takes a snapshot; `None` when this machine does not let us trace.
pub(crate) fn snapshot(planted: &Planted, dir: &Path) -> Option<String> {
    let file = dir.join("planted.heap").display().to_string();
    let pid = planted.child.id().to_string();
    let output = memsight(&["heap", "snapshot", &pid, "-o", &file]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) || errors.contains("seccomp") {
        println!("skipped: {errors}");
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(file)
}

pub(crate) fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

/// Sizes beyond 2^53 are texts.
pub(crate) fn number(value: &Value) -> u64 {
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap_or_else(|| panic!("{value}"))
}

/// `goroutine main.work` stands for the goroutine that started in that function.
fn is_root(row: &Value, root: &str) -> bool {
    let name = row["root"].as_str().unwrap();
    match root.strip_prefix("goroutine ") {
        Some(function) => name.starts_with("goroutine ") && name.ends_with(function),
        None => name == root,
    }
}

/// Held by what holds other things too.
fn is_shared(root: &str) -> bool {
    matches!(root, "(several roots)" | "finalizers" | "cleanups")
}

/// The roots that retain something else than was planted, of those in `left`.
///
/// Now and then the runtime itself allocates while it counts, a thread or what a goroutine
/// waits with. That is never the same root twice: what is wrong is wrong in every run.
pub(crate) fn wrong_roots(
    left: &BTreeSet<String>,
    planted: &Planted,
    rows: &[Value],
) -> BTreeSet<String> {
    let mut wrong = BTreeSet::new();
    for planting in &planted.plantings {
        let (root, bytes) = (planting["root"].as_str().unwrap(), number(&planting["bytes"]));
        let row = rows.iter().find(|row| is_root(row, root));
        let retained = row.map(|row| number(&row["retained_bytes"]));
        let is_right = match retained {
            Some(retained) if is_shared(root) => retained >= bytes,
            retained => retained == Some(bytes),
        };
        if !is_right && left.contains(root) {
            println!("{root}: {bytes} planted, {retained:?} retained");
            wrong.insert(root.to_owned());
        }
    }
    wrong
}

pub(crate) const RUNS: usize = 4;

pub(crate) fn all_roots(planted: &Planted) -> BTreeSet<String> {
    let roots = planted.plantings.iter().map(|planting| planting["root"].as_str().unwrap());
    roots.map(str::to_owned).collect()
}

#[test]
fn roots_retain_what_was_planted_and_the_path_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), &[]);
    let mut left = None;
    for _ in 0..RUNS {
        let planted = start(&program, &[]);
        let Some(file) = snapshot(&planted, dir.path()) else { return };
        let roots = json(&["heap", "roots", &file, "--json", "-n", "0"]);
        let before = left.unwrap_or_else(|| all_roots(&planted));
        let wrong = wrong_roots(&before, &planted, roots.as_array().unwrap());
        if !wrong.is_empty() {
            left = Some(wrong);
            continue;
        }
        let (live, own) = totals(&planted, &file);
        assert!(live.abs_diff(own) * 1000 < own, "{live} live, {own} by the runtime's count");
        assert!(planted.plantings.len() >= 45, "{}", planted.plantings.len());
        paths_are_named(&planted, &file);
        assert!(stdout(&["heap", "verify", &file]).contains("dominators"));
        return;
    }
    panic!("not right in any of {RUNS} runs: {left:?}");
}

/// Live bytes as we find them, and by the runtime's count.
pub(crate) fn totals(planted: &Planted, file: &str) -> (u64, u64) {
    let summary = json(&["heap", "summary", file, "--json"]);
    (number(&summary["live_bytes"]), number(&planted.stats["heap_alloc"]))
}

pub(crate) fn paths_are_named(planted: &Planted, file: &str) {
    // Before Go 1.23 debug information tells nothing of what closures captured, and less of
    // locals: what only they hold has no type there.
    let version = planted.stats["version"].as_str().unwrap();
    let is_early = version.starts_with("go1.21.") || version.starts_with("go1.22.");
    let is_typed = |planting: &&Value| {
        let root = planting["root"].as_str().unwrap();
        !is_early || !["goroutine", "closures", "bound"].iter().any(|part| root.contains(part))
    };
    for planting in planted.plantings.iter().filter(is_typed) {
        let root = planting["frame"].as_str().or_else(|| planting["root"].as_str());
        why(file, planting["type"].as_str().unwrap(), root.unwrap());
    }
}

/// The paths of a type begin at the root that was planted.
fn why(file: &str, of: &str, root: &str) {
    if of.is_empty() {
        return;
    }
    let answer = json(&["heap", "why", file, of, "--json", "-n", "0"]);
    let paths = answer["paths"].as_array().unwrap();
    let begins = |path: &Value| {
        let first = path[0].as_str().unwrap();
        if root == "(several roots)" {
            return path.to_string().contains("timers.heap");
        }
        first.contains(root.strip_prefix("goroutine ").unwrap_or(root))
    };
    assert!(paths.iter().any(begins), "{of} of {root}: {answer:#}");
}

#[test]
fn a_stripped_program_retains_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let program = build(dir.path(), &["-ldflags=-s -w"]);
    let mut left = None;
    for _ in 0..RUNS {
        let planted = start(&program, &[]);
        let Some(file) = snapshot(&planted, dir.path()) else { return };
        // Roots have no names; what each retains is there all the same.
        let roots = json(&["heap", "roots", &file, "--json", "-n", "0"]);
        let rows = roots.as_array().unwrap();
        let mut retained: Vec<u64> =
            rows.iter().map(|row| number(&row["retained_bytes"])).collect();
        let before = left.unwrap_or_else(|| all_roots(&planted));
        let mut wrong = BTreeSet::new();
        for planting in &planted.plantings {
            let (root, bytes) = (planting["root"].as_str().unwrap(), number(&planting["bytes"]));
            // A variable of two words is two roots to who does not know it.
            let is_split = matches!(root, "main.syncMap" | "main.atomicValue");
            match retained.iter().position(|size| *size == bytes) {
                Some(index) => drop(retained.swap_remove(index)),
                None if is_shared(root) || is_split || !before.contains(root) => {}
                None => drop(wrong.insert(root.to_owned())),
            }
        }
        if wrong.is_empty() {
            return;
        }
        left = Some(wrong);
    }
    panic!("not right in any of {RUNS} runs: {left:?}");
}
