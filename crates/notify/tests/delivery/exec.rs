//! Programs: their input and arguments, and what happens to those that hang, fork or talk much.

use std::path::Path;

use notify::DeliveryStatus;
use serde_json::Value;

use crate::help::{Watched, alert, quick, until};

fn script(folder: &Path, text: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("program");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.display().to_string()
}

/// Starts a program for an alert; gives what became of the first attempt.
fn run(text: &str, more: &str) -> (tempfile::TempDir, notify::Delivery) {
    let folder = tempfile::tempdir().unwrap();
    let program = script(folder.path(), text);
    let out = folder.path().join("out").display().to_string();
    let arguments = "'{{ .CommonLabels.service }}; $(rm x)', '{{ .CommonAnnotations.verdict }}'";
    let yaml = format!("exec_configs: [{{command: ['{program}', '{out}', {arguments}], {more}}}]");
    let watched = Watched::open(&folder.path().join("queue"), &quick(&yaml));
    watched.fire(vec![alert("Leak", "a")]);
    let delivery = until("an attempt", || watched.notifier.recent().into_iter().next());
    (folder, delivery)
}

#[test]
fn a_program_gets_the_payload_and_plain_arguments() {
    let text = "cat > $1.stdin; printf '%s|%s|%s' \"$2\" \"$3\" \"$SECRET\" > $1; env > $1.env";
    let (folder, delivery) = run(text, "env: {SECRET: s3cret}");
    assert_eq!(delivery.status, DeliveryStatus::Delivered, "{delivery:?}");
    let out = std::fs::read_to_string(folder.path().join("out")).unwrap();
    assert_eq!(out, "shop; $(rm x)|heap-leak: main.(*Cache).Put, 12 MiB/min|s3cret");
    let stdin = std::fs::read_to_string(folder.path().join("out.stdin")).unwrap();
    let payload: Value = serde_json::from_str(&stdin).unwrap();
    assert_eq!(payload["version"], "4");
    let env = std::fs::read_to_string(folder.path().join("out.env")).unwrap();
    assert!(!env.contains("CARGO_"), "{env}");
}

#[test]
fn failures_keep_the_end_of_the_output() {
    let (_folder, delivery) =
        run("head -c 5000000 /dev/zero | tr '\\0' x; echo the end >&2; exit 3", "");
    assert_eq!(delivery.status, DeliveryStatus::Retrying);
    let error = delivery.error.unwrap();
    assert!(error.contains("exit status: 3") && error.ends_with("the end"), "{error}");
    let (_folder, delivery) = run("exec /nowhere/at/all", "");
    assert_eq!(delivery.status, DeliveryStatus::Retrying);
}

#[test]
fn a_program_that_hangs_is_killed_with_its_children() {
    let text = "sleep 1000 & echo $! > $1; echo waiting; wait";
    let (folder, delivery) = run(text, "timeout: 500ms");
    let error = delivery.error.unwrap();
    assert!(error.contains("killed after 500ms") && error.contains("waiting"), "{error}");
    assert_gone(&folder.path().join("out"));
}

#[test]
fn children_of_a_program_that_ended_are_ended_too() {
    let (folder, delivery) = run("sleep 1000 & echo $! > $1; exit 0", "");
    assert_eq!(delivery.status, DeliveryStatus::Delivered, "{delivery:?}");
    assert_gone(&folder.path().join("out"));
}

fn assert_gone(pid_file: &Path) {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    until("the child's end", || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).ok();
        // A zombie that nobody reaps in a container is gone enough.
        stat.is_none_or(|stat| stat.contains(") Z ")).then_some(())
    });
}
