//! `memsight probe` as its users run it: output, privileges, and that nothing of a probe stays.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Process, memsight};
use crate::toolchains::toolchains;
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

/// A program of which goroutines say who they are and how much they allocate.
fn workers(go: &Path, name: &str) -> PathBuf {
    let (source, program) =
        (scratch(&format!("workers-{name}.go")), scratch(&format!("workers-{name}")));
    let text = "package main
import (\"bytes\"; \"fmt\"; \"os\"; \"runtime\"; \"runtime/pprof\"; \"sync\"; \"time\")
var sink []byte
func work(pieces int) {
    stack := make([]byte, 100)
    id := bytes.Fields(stack[:runtime.Stack(stack, false)])[1]
    fmt.Printf(\"%s %d\\n\", id, pieces)
    for { for i := 0; i < pieces; i++ { sink = make([]byte, 16<<10) }; time.Sleep(time.Millisecond) }
}
func brief(done *sync.WaitGroup) { defer done.Done(); for i := 0; i < 40; i++ { sink = make([]byte, 16<<10) } }
func main() {
    if len(os.Args) > 1 { pprof.Lookup(\"heap\").WriteTo(os.Stdout, 0) }
    for i := 1; i <= 3; i++ { go work(20 * i); time.Sleep(10 * time.Millisecond) }
    var done sync.WaitGroup
    for { done.Add(1); go brief(&done); done.Wait(); time.Sleep(2 * time.Millisecond) }
}
";
    std::fs::write(&source, text).unwrap();
    run(Command::new(go).args(["build", "-o"]).arg(&program).arg(&source));
    program
}

#[test]
fn who_allocates_is_told_by_goroutine() {
    if !permitted() {
        return;
    }
    for (name, go) in toolchains() {
        let mut command = Command::new(workers(&go, &name));
        let mut subject = Process(command.stdout(Stdio::piped()).spawn().unwrap());
        let lines = BufReader::new(subject.0.stdout.take().unwrap()).lines();
        let told = lines.take(3).map(|line| {
            let line = line.unwrap();
            let (id, pieces) = line.split_once(' ').unwrap();
            (id.parse::<i64>().unwrap(), pieces.parse::<f64>().unwrap())
        });
        let told: Vec<(i64, f64)> = told.collect();
        let probe = attach(subject.0.id(), &["--for", "3s"]);
        let found = report(&probe.wait_with_output().unwrap());
        let list = |key: &str| found[key].as_array().unwrap().clone();
        let bytes = |of: &Value| of["allocated"]["bytes"].as_f64().unwrap();
        // Go 1.21 has names of closures for what it makes of `go f(x)`.
        let [work, brief] = match name.starts_with("1.21.") {
            true => ["main.main.func1", "main.main.func2"],
            false => ["main.work", "main.brief"],
        };
        let of_function = |of: &Value, name: &str| of["begins_in"]["function"] == name;
        let all = list("goroutines");
        // Each sleeps as long, so that who does twice as much allocates about twice as much: those
        // that take longer for it come round a little less often.
        let rates = told.iter().map(|(id, pieces)| {
            let of = all.iter().find(|of| of["id"] == *id);
            let of = of.unwrap_or_else(|| panic!("{name}: {id} of {told:?}: {all:#?}"));
            assert!(of_function(of, work), "{name}: {of:#}");
            bytes(of) / pieces
        });
        let rates: Vec<f64> = rates.collect();
        assert!(
            rates.iter().all(|rate| rate / rates[0] > 0.6 && rate / rates[0] < 1.6),
            "{rates:?}"
        );
        let entries = list("entries");
        let entry = |function: &str| {
            let found = entries.iter().find(|entry| entry["begins_in"] == function);
            found.unwrap_or_else(|| panic!("{name}: {function}: {entries:#?}"))
        };
        assert_eq!(entry(work)["goroutines"], 3, "{name}");
        let several = all.iter().filter(|of| of_function(of, brief)).count() as u64;
        assert!(several > 50 && entry(brief)["goroutines"].as_u64() >= Some(several), "{name}");
        // Each sample is of one goroutine.
        let sum: f64 = entries.iter().map(bytes).sum();
        assert!((sum / bytes(&found) - 1.0).abs() < 1e-9, "{name}: {found:#}");
        let of_three: f64 = all.iter().filter(|of| of_function(of, work)).map(bytes).sum();
        assert!((of_three / bytes(entry(work)) - 1.0).abs() < 1e-9, "{name}");
    }
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
