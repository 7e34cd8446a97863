//! Heaps with a planted truth: what each root retains is what the runtime's own count
//! grew by when it was built, and the path from the root is named.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::Value;

use crate::support::{memsight, stdout};

/// The program of planted structures; it ends when its standard input closes.
struct Planted {
    child: Child,
    _stdin: ChildStdin,
    plantings: Vec<Value>,
    stats: Value,
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build(dir: &Path, flags: &[&str]) -> PathBuf {
    let program = dir.join("planted");
    let mut go = Command::new("go");
    go.args(["build", "-o"]).arg(&program).args(flags).arg(".");
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/planted"));
    assert!(go.status().expect("go is installed").success(), "tests/planted does not build");
    program
}

fn start(program: &Path) -> Planted {
    let mut command = Command::new(program);
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
fn snapshot(planted: &Planted, dir: &Path) -> Option<String> {
    let file = dir.join("planted.heap").display().to_string();
    let pid = planted.child.id().to_string();
    let output = memsight(&["heap", "snapshot", &pid, "-o", &file]);
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(3) {
        println!("skipped: {errors}");
        return None;
    }
    assert!(output.status.success(), "{errors}");
    Some(file)
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

/// Sizes beyond 2^53 are texts.
fn number(value: &Value) -> u64 {
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

#[test]
fn roots_retain_what_was_planted_and_the_path_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let planted = start(&build(dir.path(), &[]));
    let Some(file) = snapshot(&planted, dir.path()) else { return };
    let summary = json(&["heap", "summary", &file, "--json"]);
    let (live, own) = (number(&summary["live_bytes"]), number(&planted.stats["heap_alloc"]));
    assert!(live.abs_diff(own) * 1000 < own, "{live} live, {own} by the runtime's count");
    let roots = json(&["heap", "roots", &file, "--json", "-n", "0"]);
    let roots = roots.as_array().unwrap();
    assert!(planted.plantings.len() >= 45, "{}", planted.plantings.len());
    let (mut wrong, mut near) = (Vec::new(), Vec::new());
    for planting in &planted.plantings {
        let (root, bytes) = (planting["root"].as_str().unwrap(), number(&planting["bytes"]));
        let Some(row) = roots.iter().find(|row| is_root(row, root)) else {
            wrong.push(format!("{root}: no such root"));
            continue;
        };
        let retained = number(&row["retained_bytes"]);
        // These are held by what holds other things too.
        let is_shared = matches!(root, "(several roots)" | "finalizers" | "cleanups");
        // Now and then the runtime itself allocates while it counts: what a goroutine waits
        // with (sudog) is 112 bytes.
        let is_right = if is_shared { retained + 512 >= bytes } else { retained == bytes };
        let is_near = retained < bytes && bytes - retained <= 512;
        match (is_right, is_near) {
            (true, _) => {}
            (_, true) => near.push(format!("{root}: {retained} retained, {bytes} counted")),
            _ => wrong.push(format!("{root}: {retained} retained, {bytes} planted")),
        }
    }
    println!("not the same: {near:#?}");
    assert!(wrong.is_empty() && near.len() <= 8, "{wrong:#?} {near:#?}");
    for planting in &planted.plantings {
        why(&file, planting["type"].as_str().unwrap(), planting["root"].as_str().unwrap());
    }
    assert!(stdout(&["heap", "verify", &file]).contains("dominators"));
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
    let planted = start(&build(dir.path(), &["-ldflags=-s -w"]));
    let Some(file) = snapshot(&planted, dir.path()) else { return };
    // Roots have no names; what each retains is there all the same.
    let roots = json(&["heap", "roots", &file, "--json", "-n", "0"]);
    let mut missing = Vec::new();
    let mut retained: Vec<u64> =
        roots.as_array().unwrap().iter().map(|row| number(&row["retained_bytes"])).collect();
    for planting in &planted.plantings {
        let (root, bytes) = (planting["root"].as_str().unwrap(), number(&planting["bytes"]));
        if matches!(root, "(several roots)" | "finalizers" | "cleanups") {
            continue;
        }
        let found = retained.iter().position(|size| *size == bytes);
        // A variable of two words is two roots to a program that does not know it.
        let is_split = matches!(root, "main.syncMap" | "main.atomicValue");
        match found {
            Some(index) => drop(retained.swap_remove(index)),
            None if is_split => {}
            None => missing.push(format!("{root}: nothing retains {bytes}")),
        }
    }
    // As above, the runtime's count is not always of the structure alone.
    assert!(missing.len() <= 8, "{missing:#?} in {roots:#}");
}
