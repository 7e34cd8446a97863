//! Every probe of a process, and every way in which it can end: nothing of it stays in the kernel, and
//! the target goes on. Also targets in namespaces of their own whose file is deleted.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::agent::{wait_for, wait_within};
use crate::probe::{keeper, permitted};
use crate::support::Process;
use crate::trace::{run, scratch};

const BINARY: &str = env!("CARGO_BIN_EXE_memsight");
/// The probes that look at one process, and the function of the target that each must name.
const KINDS: [(&str, &str); 4] =
    [("alloc", "main.hold"), ("native", "hold"), ("faults", "hold"), ("mmap", "hold")];

/// The target of a probe, built once; `None`, and says so, without its compiler.
fn program(kind: &str) -> Option<&'static Path> {
    static GO: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    static C: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
    let build = |compiler: &str, build: &dyn Fn() -> std::path::PathBuf| {
        if Command::new(compiler).arg("version").output().is_err() {
            println!("skipped: there is no {compiler}");
            return None;
        }
        Some(build())
    };
    let found = match kind {
        "alloc" => GO.get_or_init(|| build("go", &|| keeper("kept"))),
        _ => C.get_or_init(|| build("gcc", &of_c)),
    };
    found.as_deref()
}

fn of_c() -> std::path::PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/keeper.c");
    let program = scratch("keeper-c");
    let mut gcc = Command::new("gcc");
    run(gcc.args(["-O2", "-pthread", "-o"]).arg(&program).arg(source));
    program
}

fn start(command: &mut Command) -> Process {
    Process(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
}

/// It works as it did.
fn check_unharmed(target: &mut Process) {
    let mut answer = String::new();
    writeln!(target.0.stdin.as_ref().unwrap(), "hello").unwrap();
    BufReader::new(target.0.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
    assert_eq!(answer, "here\n");
}

/// What a process has in the kernel: kind and number of each program, table and attachment.
fn held(pid: u32) -> BTreeSet<(&'static str, String)> {
    let mut held = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
        let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
        for kind in ["prog", "map", "link"] {
            let id = text.lines().find_map(|line| line.strip_prefix(&format!("{kind}_id:")));
            // A link names its program, too.
            held.extend(id.map(|id| (kind, id.trim().to_owned())));
        }
    }
    held
}

/// Whether the kernel still has any of it.
fn exists(held: &BTreeSet<(&'static str, String)>) -> bool {
    let mut all = held.iter();
    all.any(|(kind, id)| {
        let shown = Command::new("bpftool").args([kind, "show", "id", id]).output();
        shown.is_ok_and(|output| output.status.success())
    })
}

/// A probe that looks at a process; what it prints comes at its end.
fn attach(kind: &str, pid: u32) -> (Child, BTreeSet<(&'static str, String)>) {
    let mut command = Command::new(BINARY);
    command.args(["probe", kind, &pid.to_string(), "--for", "1h", "--json"]);
    // Nothing is too young to count.
    command.args(if kind == "native" { &["--older", "0", "--every", "1"][..] } else { &[] });
    let mut probe = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Those that say that they begin do so when all is attached.
    if kind != "alloc" {
        let mut first = String::new();
        BufReader::with_capacity(1, probe.stderr.as_mut().unwrap()).read_line(&mut first).unwrap();
        assert!(first.contains("follows") || first.contains("looking at"), "{kind}: {first}");
    }
    let held = wait_for(&format!("probe {kind} is attached"), || {
        assert!(probe.try_wait().unwrap().is_none(), "probe {kind} has ended");
        let held = held(probe.id());
        held.iter().any(|(kind, _)| *kind == "link").then_some(held)
    });
    assert!(held.iter().any(|(kind, _)| *kind == "prog"), "{kind}: {held:?}");
    assert!(held.iter().any(|(kind, _)| *kind == "map"), "{kind}: {held:?}");
    (probe, held)
}

/// What it printed, once it has ended by itself.
fn report(mut probe: Child) -> Value {
    let (mut text, mut errors) = (String::new(), String::new());
    probe.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    probe.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(probe.wait().unwrap().success(), "{errors}");
    serde_json::from_str(&text).unwrap()
}

fn check_named(kind: &str, function: &str, report: &Value) {
    let sites = report["sites"].as_array().unwrap_or_else(|| panic!("{kind}: {report}"));
    let calls = sites.iter().flat_map(|site| site["stack"].as_array().unwrap());
    let names: BTreeSet<&str> = calls.filter_map(|frame| frame["function"].as_str()).collect();
    assert!(names.contains(function), "{kind}: no {function} in {names:?}");
}

#[test]
fn nothing_of_a_probe_stays_however_it_ends() {
    if !permitted() {
        return;
    }
    if Command::new("bpftool").arg("version").output().is_err() {
        println!("skipped: there is no bpftool");
        return;
    }
    for (kind, function) in KINDS {
        let Some(program) = program(kind) else { continue };
        let gone = |held: &BTreeSet<_>, way: &str| {
            wait_for(&format!("{kind}, {way}: all is gone"), || (!exists(held)).then_some(()));
        };
        let wait = || std::thread::sleep(Duration::from_millis(500));

        let mut target = start(&mut Command::new(program));
        let (probe, held) = attach(kind, target.0.id());
        assert!(exists(&held), "{kind}: {held:?}");
        wait();
        run(Command::new("kill").args(["-INT", &probe.id().to_string()]));
        check_named(kind, function, &report(probe));
        gone(&held, "Ctrl-C");
        check_unharmed(&mut target);

        let (mut probe, held) = attach(kind, target.0.id());
        wait();
        probe.kill().unwrap();
        probe.wait().unwrap();
        gone(&held, "kill -9");
        check_unharmed(&mut target);

        let (probe, held) = attach(kind, target.0.id());
        wait();
        writeln!(target.0.stdin.as_ref().unwrap(), "exec").unwrap();
        if kind != "faults" && kind != "mmap" {
            check_named(kind, function, &report(probe));
        } else {
            // They go on with the new program, as its memory is that of the process.
            let pid = probe.id().to_string();
            wait();
            run(Command::new("kill").args(["-INT", &pid]));
            report(probe);
        }
        gone(&held, "exec");
        assert!(target.0.try_wait().unwrap().is_none(), "{kind}: the new program lives");

        let mut target = start(&mut Command::new(program));
        let (probe, held) = attach(kind, target.0.id());
        wait();
        drop(target.0.stdin.take());
        assert!(target.0.wait().unwrap().success());
        check_named(kind, function, &report(probe));
        gone(&held, "the end of its target");
    }
}

/// As in a container: its own mounts, process ids and users, and a file that nobody finds by its path.
#[test]
fn a_boxed_program_without_its_file_has_names() {
    if !permitted() {
        return;
    }
    const BOX: [&str; 6] =
        ["--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child"];
    let tried = Command::new("unshare").args(BOX).arg("true").status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("skipped: no unshare(1), or no permission to make namespaces");
        return;
    }
    for (kind, function) in KINDS {
        let Some(program) = program(kind) else { continue };
        let script = "mount -t tmpfs none /mnt && cp \"$0\" /mnt/boxed && \
                      { sleep 1; rm /mnt/boxed; } & sleep 0.3; exec /mnt/boxed";
        let mut unshare = Command::new("unshare");
        let boxed = start(unshare.args(BOX).args(["sh", "-c", script]).arg(program));
        let children = format!("/proc/{0}/task/{0}/children", boxed.pid());
        let pid = wait_within(Duration::from_secs(60), "the boxed program", || {
            let pid: u32 = std::fs::read_to_string(&children).ok()?.trim().parse().ok()?;
            let file = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
            file.to_str()?.ends_with("/mnt/boxed (deleted)").then_some(pid)
        });
        let (probe, _) = attach(kind, pid);
        std::thread::sleep(Duration::from_secs(1));
        run(Command::new("kill").args(["-INT", &probe.id().to_string()]));
        check_named(kind, function, &report(probe));
    }
}
