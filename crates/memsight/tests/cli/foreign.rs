//! Programs that are not all Go's: calls to C and back, and a plugin with variables of its
//! own. What each root retains is what was planted, and it has a name.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test beside
//! the system's.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::planted::{
    Planted, RUNS, all_roots, json, number, paths_are_named, snapshot, start, totals, wrong_roots,
};
use crate::support::stdout;
use crate::toolchains::toolchains;

fn has_c_compiler() -> bool {
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let version = Command::new(&cc).arg("--version").stdout(Stdio::null()).status();
    let is_there = version.is_ok_and(|status| status.success());
    if !is_there {
        println!("skipped: no C compiler ({cc}), which cgo and plugins need");
    }
    is_there
}

fn go_build(go: &Path, out: &Path, arguments: &[&str]) {
    let mut command = Command::new(go);
    command.args(["build", "-o"]).arg(out).args(arguments);
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign"));
    command.env("CGO_ENABLED", "1").env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
    assert!(command.status().expect("go is installed").success(), "go build {arguments:?}");
}

/// The program and its plugin.
fn build(go: &Path, dir: &Path, plugin_flags: &[&str]) -> (PathBuf, String) {
    let (program, plugin) = (dir.join("foreign"), dir.join("plug.so"));
    go_build(go, &program, &["."]);
    let mut arguments = vec!["-buildmode=plugin"];
    arguments.extend(plugin_flags);
    arguments.push("./plug");
    go_build(go, &plugin, &arguments);
    (program, plugin.display().to_string())
}

/// Runs the program a few times; what `check` finds wrong must not be the same in all runs.
/// Now and then the runtime itself allocates while it counts. `false` when this machine does
/// not let us trace.
fn in_some_run(
    program: &Path,
    plugin: &str,
    dir: &Path,
    check: impl Fn(&Planted, &str) -> BTreeSet<String>,
) -> bool {
    let mut left: Option<BTreeSet<String>> = None;
    for _ in 0..RUNS {
        let planted = start(program, &[plugin]);
        let Some(file) = snapshot(&planted, dir) else { return false };
        let mut wrong = check(&planted, &file);
        let (live, own) = totals(&planted, &file);
        // The runtime counted before the program printed what it counted.
        if live.abs_diff(own) > 1024 {
            println!("{live} live, {own} by the runtime's count");
            wrong.insert("all".to_owned());
        }
        wrong.retain(|name| left.as_ref().is_none_or(|left| left.contains(name)));
        if wrong.is_empty() {
            return true;
        }
        left = Some(wrong);
    }
    panic!("not right in any of {RUNS} runs: {left:?}");
}

#[test]
fn what_c_and_plugins_hold_is_named_and_retained() {
    if !has_c_compiler() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (_, go) in toolchains() {
        let (program, plugin) = build(&go, dir.path(), &[]);
        let is_traced = in_some_run(&program, &plugin, dir.path(), |planted, file| {
            let roots = json(&["heap", "roots", file, "--json", "-n", "0"]);
            let wrong = wrong_roots(&all_roots(planted), planted, roots.as_array().unwrap());
            paths_are_named(planted, file);
            // A type of both is one.
            let types = stdout(&["heap", "histogram", file, "--csv", "-n", "0"]);
            let buffers = types.lines().filter(|line| line.contains("[][]uint8")).count();
            assert_eq!(buffers, 1, "{types}");
            // C's memory is not Go's.
            assert!(!roots.to_string().contains("main.ofC"), "{roots}");
            wrong
        });
        if !is_traced {
            return;
        }
    }
}

/// What is held by the plugin's variables, as it is listed where they have no names.
fn unnamed(roots: &Value) -> Vec<(String, u64)> {
    let rows = roots.as_array().unwrap().iter();
    let rows = rows.map(|row| (row["root"].as_str().unwrap(), number(&row["retained_bytes"])));
    let rows = rows.filter(|(root, _)| root.starts_with("global 0x"));
    rows.map(|(root, bytes)| (root.to_owned(), bytes)).collect()
}

/// The variables of the plugin that have been planted, by what each retains.
fn of_plugin(planted: &Planted) -> Vec<(String, u64)> {
    let roots = planted.plantings.iter().map(|planting| {
        (planting["root"].as_str().unwrap().to_owned(), number(&planting["bytes"]))
    });
    roots.filter(|(root, _)| root.starts_with("foreign/plug.")).collect()
}

#[test]
fn variables_of_a_stripped_plugin_are_those_of_its_file() {
    if !has_c_compiler() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (program, plugin) = build(Path::new("go"), dir.path(), &["-ldflags=-s -w"]);
    in_some_run(&program, &plugin, dir.path(), |planted, file| {
        let found = unnamed(&json(&["heap", "roots", file, "--json", "-n", "0"]));
        let of_plugin = of_plugin(planted).into_iter();
        let is_lost = |bytes: &u64| !found.iter().any(|(_, retained)| retained == bytes);
        let wrong = of_plugin.filter(|(_, bytes)| is_lost(bytes)).map(|(root, _)| root).collect();
        // The file's name says whose they are.
        let paths = json(&["heap", "why", file, "main.entry", "--json", "-n", "0"]).to_string();
        assert!(paths.contains("(global, plug.so)"), "{paths}");
        let summary = stdout(&["heap", "summary", file]);
        assert!(summary.contains("plug.so has no debug information"), "{summary}");
        wrong
    });
}

/// Reports whether any mapped file of a process may be opened: only the privileged may.
fn may_open_mapped_files(pid: u32) -> bool {
    let files = std::fs::read_dir(format!("/proc/{pid}/map_files"));
    let mut files = files.into_iter().flatten().flatten();
    files.any(|file| std::fs::File::open(file.path()).is_ok())
}

#[test]
fn a_plugin_whose_file_was_replaced_is_not_taken_for_the_new_one() {
    if !has_c_compiler() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (program, plugin) = build(Path::new("go"), dir.path(), &[]);
    let planted = start(&program, &[&plugin]);
    // The same variables at other places.
    let another = dir.path().join("another.so");
    let arguments = ["-buildmode=plugin", "-ldflags=-X main.version=2", "-gcflags=-l", "./plug"];
    go_build(Path::new("go"), &another, &arguments);
    std::fs::rename(&another, &plugin).unwrap();
    let Some(file) = snapshot(&planted, dir.path()) else { return };
    let roots = json(&["heap", "roots", &file, "--json", "-n", "0"]);
    let is_named = roots.to_string().contains("foreign/plug.cache");
    assert_eq!(is_named, may_open_mapped_files(planted.child.id()));
    let summary = stdout(&["heap", "summary", &file]);
    assert_eq!(
        summary.contains("plug.so was not found, or is not the one"),
        !is_named,
        "{summary}"
    );
}

#[test]
fn plugins_are_named_in_cores_while_their_files_are_there() {
    if !has_c_compiler() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (program, plugin) = build(Path::new("go"), dir.path(), &[]);
    let planted = start(&program, &[&plugin]);
    let mut gcore = Command::new("gcore");
    gcore.arg("-o").arg(dir.path().join("core")).arg(planted.child.id().to_string());
    let status = gcore.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        println!("skipped: gcore (Debian: gdb) is not there or cannot trace");
        return;
    }
    let core = dir.path().join(format!("core.{}", planted.child.id())).display().to_string();
    let (live, own) = totals(&planted, &core);
    assert!(live.abs_diff(own) < 24 << 10, "{live} live, {own} by the runtime's count");
    paths_are_named(&planted, &core);
    // Without its file the core has neither names nor what says where its pointers are.
    std::fs::write(&plugin, "something else").unwrap();
    let after = stdout(&["heap", "roots", &core, "-n", "0"]);
    assert!(!after.contains("foreign/plug.cache"), "{after}");
    let summary = stdout(&["heap", "summary", &core]);
    assert!(summary.contains("plug.so was not found"), "{summary}");
}
