//! `memsight trace record` on running programs: what it writes into them, what it puts back
//! whatever happens, and what is kept of a trace that ends early.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lifetimes::{Built, programs};
use crate::support::{Process, fails, memsight, stdout};

/// Stacks that shrink at collections and grow again break traces of objects now and then: the
/// runtime writes of it in the middle of another event (docs/lifetimes.md).
const STEADY_STACKS: &str = "gcshrinkstackoff=1";

/// A running program that serves pprof.
struct Serving {
    process: Process,
    url: String,
    /// Where the variable behind traceallocfree is, as the program itself says.
    address: u64,
}

impl Serving {
    fn start(built: &Built, debug: &str) -> Serving {
        let mut command = Command::new(&built.program);
        command.arg("serve").env("GODEBUG", debug).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, address, variable] = words.as_slice() else { panic!("{line}") };
        let url = format!("http://{address}");
        Serving { process: Process(child), url, address: variable.parse().unwrap() }
    }

    fn pid(&self) -> String {
        self.process.pid()
    }

    /// What the variable holds.
    fn value(&self) -> i32 {
        let mut word = [0; 4];
        let memory = File::open(format!("/proc/{}/mem", self.pid())).unwrap();
        memory.read_exact_at(&mut word, self.address).unwrap();
        i32::from_le_bytes(word)
    }

    /// Waits until the variable holds this.
    fn becomes(&self, value: i32) {
        let started = Instant::now();
        while self.value() != value {
            assert!(started.elapsed() < Duration::from_secs(20), "it stays {}", self.value());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn scratch(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_file(&path);
    path
}

fn built(name: &str) -> Option<&'static Built> {
    programs().iter().find(|built| built.name == name)
}

/// Starts to record for long.
fn recording(serving: &Serving, output: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_memsight"));
    let record = ["trace", "record", &serving.pid(), "--allocfree", "--may-crash"];
    command.args(record).args(["--seconds", "60", "-o"]);
    command.arg(output).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

fn share(of: &Value, part: &str, whole: &str) -> f64 {
    of[part].as_f64().unwrap() / of[whole].as_f64().unwrap()
}

#[test]
fn objects_are_recorded_with_a_snapshot_and_the_switch_is_put_back() {
    for built in programs().iter().filter(|built| !built.is_old) {
        let (name, serving) = (&built.name, Serving::start(built, STEADY_STACKS));
        assert_eq!(serving.value(), 0, "Go {name}");
        let trace = scratch(&format!("recorded-{name}.trace"));
        let file = trace.to_str().unwrap();
        let pid = serving.pid();
        let record = ["trace", "record", &pid, "--allocfree", "--may-crash", "--snapshot"];
        let record = [&record[..], &["--seconds", "1"]].concat();
        let snapshot = format!("{file}.heap");
        let lifetimes = ["trace", "lifetimes", file, "--snapshot", &snapshot, "--json", "-n", "0"];
        let number = |of: &Value| of.as_u64().unwrap();
        // Some recordings lack events of a few objects in ten thousand (docs/lifetimes.md): one must
        // be whole.
        let mut attempts = 0..12;
        let (recorded, all) = loop {
            assert!(attempts.next().is_some(), "Go {name}: no recording is whole");
            let output = memsight(&[&record[..], &["--json", "-o", file]].concat());
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "Go {name}: {errors}");
            let wrote = "wrote runtime.debug.traceallocfree = 1 into process";
            assert!(errors.contains(wrote), "{errors}");
            assert_eq!(serving.value(), 0, "Go {name}: restored at the end");
            let recorded: Value = serde_json::from_slice(&output.stdout).unwrap();
            if recorded["damage"] != Value::Null {
                println!("Go {name}: {errors}");
                continue;
            }
            let all = json(&lifetimes);
            let unmatched = &all["unmatched"];
            let missing = number(&unmatched["frees"]) + number(&unmatched["without_span"]);
            let objects = number(&all["allocated"]["objects"]);
            assert!(missing * 200 <= objects, "Go {name}: {unmatched} of {objects}");
            if missing == 0 {
                break (recorded, all);
            }
            println!("Go {name}: {unmatched} of {objects}");
        };
        assert!(recorded["snapshot"]["objects"].as_u64() > Some(25_000), "{recorded}");
        assert_eq!(all["warning"], Value::Null);
        if name == "stripped" {
            // Nothing says of which types its variables are, and with them what they hold.
            assert!(number(&all["named"]["allocated"]) > 10_000, "{}", all["named"]);
            continue;
        }
        let types = all["types"].as_array().unwrap();
        for (of, count) in [("main.kept2", 1000), ("main.keptForever", 21_000)] {
            let kept = types.iter().find(|it| it["type"] == of).unwrap();
            assert_eq!(kept["existed"]["objects"], count, "Go {name}: {kept}");
            assert_eq!(kept["living"]["objects"], count, "Go {name}: {kept}");
        }
        let named = &all["named"];
        let (compared, differing) = (number(&named["compared"]), number(&named["differing"]));
        assert!(differing * 100 <= compared, "Go {name}: {named}");
        let living = share(named, "existed_living_named", "existed_living");
        // What was garbage by the time of the snapshot has no type that anything tells.
        let allocated = &all["allocated"]["objects"];
        let known = number(&named["allocated"]) + number(&named["allocated_plain_bytes"]);
        let known = known as f64 / allocated.as_f64().unwrap();
        println!(
            "Go {name}: types of {known:.4} of {allocated}, {living:.4} of what lives: {named}"
        );
        assert!(living >= 0.99 && known >= 0.99, "Go {name}: {living} {known} {named}");
    }
}

#[test]
fn ctrl_c_keeps_what_is_whole_and_puts_the_switch_back() {
    let Some(built) = built("system") else { return };
    let serving = Serving::start(built, STEADY_STACKS);
    let trace = scratch("interrupted.trace");
    let mut child = recording(&serving, &trace);
    serving.becomes(1);
    // Generations are about a second long.
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(serving.value(), 1);
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(child.wait().unwrap().success(), "{errors}");
    assert!(errors.contains("interrupted; the parts that are whole are kept"), "{errors}");
    assert_eq!(serving.value(), 0, "restored after Ctrl-C");
    let all = json(&["trace", "lifetimes", trace.to_str().unwrap(), "--json"]);
    assert_eq!(all["warning"], Value::Null, "whole parts only");
    assert!(all["allocated"]["objects"].as_u64() > Some(10_000), "{all}");
}

#[test]
fn kill_puts_the_switch_back_and_leaves_no_trace() {
    let Some(built) = built("system") else { return };
    let serving = Serving::start(built, STEADY_STACKS);
    let trace = scratch("killed.trace");
    let mut child = recording(&serving, &trace);
    serving.becomes(1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(serving.value(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    serving.becomes(0);
    assert!(!trace.exists());
    // The connection is closed: the program traces no more, and another may.
    let again = ["trace", "record", &serving.url, "--seconds", "1", "--json", "-o"];
    let trace = trace.to_str().unwrap();
    let started = Instant::now();
    let recorded = loop {
        let output = memsight(&[&again[..], &[trace]].concat());
        if output.status.success() {
            break String::from_utf8(output.stdout).unwrap();
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(errors.contains("already enabled"), "{errors}");
        assert!(started.elapsed() < Duration::from_secs(20), "{errors}");
        std::thread::sleep(Duration::from_millis(50));
    };
    let recorded: Value = serde_json::from_str(&recorded).unwrap();
    assert_eq!(recorded["cut"], Value::Null, "{recorded}");
    assert_eq!(recorded["bytes"], std::fs::metadata(trace).unwrap().len(), "{recorded}");
    let summary = json(&["trace", "summary", trace, "--json"]);
    assert_eq!((&summary["objects"], &summary["warning"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_switch_that_is_on_stays_on() {
    let Some(built) = built("system") else { return };
    let serving = Serving::start(built, "traceallocfree=1,gcshrinkstackoff=1");
    let trace = scratch("on.trace");
    let pid = serving.pid();
    let record = ["trace", "record", &pid, "--allocfree", "--seconds", "1", "-o"];
    let output = memsight(&[&record[..], &[trace.to_str().unwrap()]].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("its traces have objects already"), "{errors}");
    assert_eq!(serving.value(), 1);
}

#[test]
fn a_trace_ends_before_it_is_too_large() {
    let Some(built) = built("system") else { return };
    let serving = Serving::start(built, "");
    let trace = scratch("large.trace");
    let file = trace.to_str().unwrap();
    let size = ["--seconds", "60", "--max-size", "4MiB", "-o", file];
    let output = memsight(&[&["trace", "record", &serving.pid()], &size[..]].concat());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("--max-size 4.00 MiB is reached"), "{errors}");
    assert!(std::fs::metadata(file).unwrap().len() <= 4 << 20);
    assert_eq!(json(&["trace", "summary", file, "--json"])["warning"], Value::Null);
    let tiny = ["--max-size", "1k", "-o", file];
    let errors = fails(&[&["trace", "record", &serving.pid()], &tiny[..]].concat(), 2);
    assert!(errors.contains("no part of the trace is whole yet"), "{errors}");
}

#[test]
fn what_cannot_be_recorded_says_why() {
    let file = scratch("never.trace");
    let file = file.to_str().unwrap();
    if let Some(old) = programs().iter().find(|built| built.is_old) {
        let serving = Serving::start(old, "");
        let errors = fails(&["trace", "record", &serving.pid(), "--allocfree", "-o", file], 2);
        assert!(errors.contains("go1.21.13 has no events about heap objects"), "{errors}");
        let trace = scratch("old.trace");
        let trace = trace.to_str().unwrap();
        stdout(&["trace", "record", &serving.pid(), "--seconds", "1", "-o", trace]);
        assert_eq!(json(&["trace", "summary", trace, "--json"])["format"], "1.21");
    }
    let Some(built) = built("system") else { return };
    // Unless one says that it may crash, a program that can is left alone.
    let serving = Serving::start(built, STEADY_STACKS);
    let errors = fails(&["trace", "record", &serving.pid(), "--allocfree", "-o", file], 2);
    assert!(errors.contains("can crash a program") && errors.contains("--may-crash"), "{errors}");
    assert_eq!(serving.value(), 0);
    let mut idle = Command::new(&built.program);
    let idle = Process(idle.arg("idle").stdout(Stdio::null()).spawn().unwrap());
    let errors = fails(&["trace", "record", &idle.pid(), "-o", file], 2);
    assert!(errors.contains("it listens on no TCP port"), "{errors}");
    assert!(errors.contains("import net/http/pprof"), "{errors}");
    let url = "http://127.0.0.1:9";
    let errors = fails(&["trace", "record", url, "--allocfree", "-o", file], 2);
    assert!(errors.contains("need a process on this machine"), "{errors}");
    fails(&["trace", "record", url, "-o", file], 4);
    assert!(!Path::new(file).exists());
}
