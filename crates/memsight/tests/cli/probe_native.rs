//! `memsight probe native` on a program that says itself what it did not free, and that ends while
//! it is looked at.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::Process;

/// Bytes and blocks by the function that asked.
type Sites = BTreeMap<String, (u64, u64)>;

#[test]
fn what_a_program_did_not_free_is_told_when_it_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("leaks");
    let source = "../capture/tests/probes/native/leaks.c";
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-g", "-pthread", "-Wno-unused-result", "-o"]).arg(&program).arg(source);
    assert!(compiler.status().expect("a compiler").success());
    let mut command = Command::new(&program);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut running = Process(child);
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("ready"));

    let profile = folder.path().join("leaks.pb.gz");
    let mut memsight = Command::new(env!("CARGO_BIN_EXE_memsight"));
    memsight.args(["probe", "native", &running.pid(), "--for", "1m", "--json", "-o"]).arg(&profile);
    memsight.args(["--every", "1", "--older", "0"]);
    let probe = memsight.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut probe = Process(probe);
    let mut errors = BufReader::new(probe.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let first = errors.next().unwrap_or_default();
    if first.contains("is not permitted") {
        println!("skipped: {first}");
        return;
    }
    assert!(first.contains("functions of ") && first.contains("/libc.so.6"), "{first}");

    running.0.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    let mut truth = Sites::new();
    for line in lines.take_while(|line| line != "done") {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse().unwrap();
        truth.insert(words[0].to_owned(), (number(1), number(2)));
    }
    // It reads that nothing more comes, and ends.
    drop(running.0.stdin.take());
    let mut text = String::new();
    probe.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(probe.0.wait().unwrap().success(), "{:?}", errors.collect::<Vec<_>>());
    check(&serde_json::from_str(&text).unwrap(), &truth);
    check_profile(&profile, truth["leak_calloc"].0);
}

fn check(report: &Value, truth: &Sites) {
    assert_eq!(report["losses"]["table_full"], 0);
    assert_eq!(report["cut_stacks"]["samples"], 0);
    let mut found = Sites::new();
    for site in report["sites"].as_array().unwrap() {
        let stack = site["stack"].as_array().unwrap();
        let names = stack.iter().map(|frame| frame["function"].as_str().unwrap());
        let Some(name) = names.into_iter().find(|name| name.starts_with("leak_")) else { continue };
        let of = found.entry(name.to_owned()).or_default();
        of.0 += site["live"]["bytes"].as_f64().unwrap() as u64;
        of.1 += site["live"]["samples"].as_u64().unwrap();
        assert_eq!(site["live"]["bytes_error"], 0.0);
    }
    assert_eq!(&found, truth);
}

/// Go's own tool reads the profile.
fn check_profile(profile: &Path, bytes: u64) {
    let mut pprof = Command::new("go");
    pprof.args(["tool", "pprof", "-top", "-unit=B", "-focus=leak_calloc"]).arg(profile);
    let output = match pprof.output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(error) => return println!("skipped: there is no go: {error}"),
    };
    let head = format!("Showing nodes accounting for {bytes}B");
    assert!(output.contains(&head) && output.contains("File: leaks"), "{output}");
}
