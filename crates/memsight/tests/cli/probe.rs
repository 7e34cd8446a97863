//! `memsight probe` as its users run it: output, privileges, and that nothing of a probe stays.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Process, memsight};
use crate::trace::{run, scratch};

const BINARY: &str = env!("CARGO_BIN_EXE_memsight");

/// Whether probes may be used here; says so when not.
pub(crate) fn permitted() -> bool {
    let output = memsight(&["probe", "exec", "--for", "1ms"]);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(3) {
        println!("skipped: {error}");
        return false;
    }
    assert!(output.status.success(), "{error}");
    true
}

/// A program that keeps what it allocates, and ends or becomes another when a line says so.
pub(crate) fn keeper(name: &str) -> PathBuf {
    let (source, program) = (scratch(&format!("{name}.go")), scratch(name));
    let text = "package main
import (\"bufio\"; \"os\"; \"runtime/pprof\"; \"syscall\"; \"time\")
type Box struct { next *Box; data [64<<10]byte }
var kept []*Box
//go:noinline
func hold() { kept = append(kept, new(Box)) }
func main() {
    if len(os.Args) > 1 { pprof.Lookup(\"heap\").WriteTo(os.Stdout, 0) }
    go func() { for { hold(); time.Sleep(time.Millisecond) } }()
    lines := bufio.NewScanner(os.Stdin)
    for lines.Scan() {
        if lines.Text() == \"exec\" { syscall.Exec(\"/bin/sleep\", []string{\"sleep\", \"60\"}, nil) }
        os.Stdout.WriteString(\"here\\n\")
    }
}
";
    std::fs::write(&source, text).unwrap();
    run(Command::new("go").args(["build", "-o"]).arg(&program).arg(&source));
    program
}

fn start(program: &PathBuf) -> Process {
    let mut command = Command::new(program);
    Process(command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap())
}

/// The probe on a process, once it is attached: what it prints comes at its end.
fn attach(pid: u32, more: &[&str]) -> Child {
    let before = programs();
    let mut command = Command::new(BINARY);
    command.args(["probe", "alloc", &pid.to_string(), "--json"]).args(more);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for("the probe", || programs().is_none_or(|now| Some(now) > before));
    child
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// How many programs of ours the kernel holds; `None` without bpftool.
fn programs() -> Option<usize> {
    let output = Command::new("bpftool").args(["prog", "show", "--json"]).output().ok()?;
    let programs: Value = serde_json::from_slice(&output.stdout).ok()?;
    let names = programs.as_array()?.iter().filter_map(|program| program["name"].as_str());
    Some(names.filter(|name| ["go_alloc", "go_free"].contains(name)).count())
}

fn is_clean() -> bool {
    programs().is_none_or(|count| count == 0)
}

fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"))
}

#[test]
fn processes_are_lines_of_json() {
    if !permitted() {
        return;
    }
    let mut command = Command::new(BINARY);
    command.args(["probe", "exec", "--json", "--name", "a special name"]);
    let mut probe = Process(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(probe.0.stdout.take().unwrap()).lines();
    // Until it looks, nothing comes.
    let (done, stop) =
        (std::sync::atomic::AtomicBool::new(false), &std::sync::atomic::Ordering::SeqCst);
    let found = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(*stop) {
                let _ = Command::new("sh").args(["-c", "exit 5", "a special name"]).status();
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let mut found = Vec::new();
        while found.last().is_none_or(|last: &Value| last["event"] != "exit") {
            found.push(serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap());
        }
        done.store(true, *stop);
        found
    });
    let [executed, exited] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(executed["event"], "exec");
    assert_eq!(executed["arguments"], serde_json::json!(["sh", "-c", "exit 5", "a special name"]));
    assert_eq!(executed["parent"], std::process::id());
    assert_eq!((&exited["pid"], &exited["exit_code"]), (&executed["pid"], &Value::from(5)));
    assert!(exited["peak_rss_bytes"].as_u64() > Some(100_000), "{exited}");
}

#[test]
fn what_a_program_keeps_is_named_and_nothing_stays() {
    if !permitted() {
        return;
    }
    let program = keeper("keeper");
    // To its end, in a profile that pprof reads, too.
    let subject = start(&program);
    let file = scratch("keeper.pb.gz");
    let more = ["--for", "2s", "--types", "-o", file.to_str().unwrap()];
    let found = report(&attach(subject.0.id(), &more).wait_with_output().unwrap());
    let first = &found["sites"][0];
    assert_eq!(first["site"]["function"], "main.hold", "{found:#}");
    assert!(
        first["live"]["bytes"].as_f64() > Some(4e6) && first["lifetime_median_seconds"].is_null()
    );
    let of_type = &first["types"][0];
    assert_eq!(of_type["type"], "main.Box", "{first:#}");
    // What was allocated behind the snapshot has none.
    let share =
        of_type["live"]["bytes"].as_f64().unwrap() / first["live"]["bytes"].as_f64().unwrap();
    assert!(share > 0.5 && share <= 1.0, "{first:#}");
    let mut pprof = Command::new("go");
    pprof.args(["tool", "pprof", "-top", "-sample_index=inuse_space"]).arg(&file);
    let top = String::from_utf8(run(&mut pprof).stdout).unwrap();
    assert!(top.lines().any(|line| line.ends_with("main.hold")), "{top}");
    wait_for("all is taken out", is_clean);

    // Ctrl-C shows what was seen.
    let probe = attach(subject.0.id(), &[]);
    std::thread::sleep(Duration::from_millis(500));
    run(Command::new("kill").args(["-INT", &probe.id().to_string()]));
    assert_eq!(
        report(&probe.wait_with_output().unwrap())["sites"][0]["site"]["function"],
        "main.hold"
    );
    wait_for("all is taken out", is_clean);

    // Killed.
    let mut probe = attach(subject.0.id(), &[]);
    probe.kill().unwrap();
    assert_eq!(probe.wait().unwrap().signal(), Some(9));
    wait_for("all is taken out", is_clean);

    // The program becomes another, or ends.
    let mut subject = start(&program);
    let probe = attach(subject.0.id(), &[]);
    std::thread::sleep(Duration::from_millis(300));
    writeln!(subject.0.stdin.as_ref().unwrap(), "exec").unwrap();
    let output = probe.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("became another program"));
    assert_eq!(report(&output)["sites"][0]["site"]["function"], "main.hold");
    assert!(subject.0.try_wait().unwrap().is_none(), "the new program is unharmed");

    let mut subject = start(&program);
    let probe = attach(subject.0.id(), &[]);
    std::thread::sleep(Duration::from_millis(300));
    drop(subject.0.stdin.take());
    // Nobody has asked how it ended yet.
    let output = probe.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains(" ended"));
    assert!(subject.0.wait().unwrap().success());
    assert_eq!(report(&output)["sites"][0]["site"]["function"], "main.hold");
    wait_for("all is taken out", is_clean);
}

/// Each probe with the least that it needs, and what is missing by name without.
#[test]
fn privileges_are_the_least_and_named() {
    if !permitted() {
        return;
    }
    // Nobody may enter the folder of the build. Not copied by this process: a child that another
    // test starts meanwhile would have it open for writing.
    let copy = std::env::temp_dir().join(format!("memsight-probe-{}", std::process::id()));
    run(Command::new("cp").arg(BINARY).arg(&copy));
    let run_with = |capabilities: &str, command: &[&str]| {
        let set = |more: &str| format!("-all{}{more}", if more.is_empty() { "" } else { "," });
        let mut nobody = Command::new("setpriv");
        nobody.args(["--reuid", "65534", "--clear-groups", "--inh-caps", &set(capabilities)]);
        nobody.args(["--ambient-caps", &set(capabilities)]);
        let output = nobody.arg(&copy).args(command).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let doctor = |capabilities: &str| -> Vec<String> {
        let (_, text) = run_with(capabilities, &["doctor"]);
        text.lines().filter(|line| line.contains("probe ")).map(str::to_owned).collect()
    };
    for line in doctor("") {
        assert!(line.starts_with("missing") && line.contains("CAP_BPF, CAP_PERFMON"), "{line}");
    }
    // Before Linux 6.13 code of processes takes CAP_SYS_ADMIN.
    for line in doctor("+bpf,+perfmon") {
        let is_user = line.contains("probe alloc") || line.contains("probe native");
        assert!(line.starts_with("ok") || is_user && line.contains("CAP_SYS_ADMIN"), "{line}");
    }
    assert!(doctor("+sys_admin").iter().all(|line| line.starts_with("ok")));
    let (code, text) = run_with("", &["probe", "oom"]);
    assert!(code == Some(3) && text.contains("missing CAP_BPF, CAP_PERFMON"), "{code:?} {text}");
    std::fs::remove_file(copy).unwrap();
}
