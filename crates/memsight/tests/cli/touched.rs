//! `memsight probe faults` and `memsight probe mmap` on programs that say themselves what they
//! touch and map.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::support::Process;

/// A program of the capture crate's tests, which does one thing for each line; `None`, and says so,
/// where there is no compiler.
fn build(name: &str, dir: &Path) -> Option<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../capture/tests/probes");
    let program = dir.join(name);
    let mut command = Command::new("gcc");
    command.args(["-O1", "-g", "-fomit-frame-pointer", "-pthread", "-o"]).arg(&program);
    let Ok(status) = command.arg(sources.join(format!("{name}.c"))).status() else {
        println!("skipped: there is no gcc");
        return None;
    };
    assert!(status.success(), "{name}.c does not build");
    Some(program)
}

struct Subject {
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Subject {
    fn start(program: &Path) -> Subject {
        let mut command = Command::new(program);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Subject { process: Process(child), stdin, stdout }
    }

    fn ask(&mut self, line: &str) -> String {
        // In one piece, which the program reads at once.
        self.stdin.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        self.stdout.read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }
}

/// A probe that looks at a process; `None`, and says so, where that is not possible.
struct Probe {
    process: Process,
    stderr: BufReader<ChildStderr>,
}

impl Probe {
    fn start(kind: &str, pid: &str, more: &[&str]) -> Option<Probe> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_memsight"));
        command.args(["probe", kind, pid, "--for", "1h", "--json"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        if line.starts_with("memsight: looking at") {
            return Some(Probe { process: Process(child), stderr });
        }
        stderr.read_to_string(&mut line).unwrap();
        let _ = child.wait();
        // A program that the kernel finds fault with is an error everywhere.
        assert!(!line.contains("processed"), "{line}");
        println!("skipped: {line}");
        None
    }

    /// Ends it; what it saw.
    fn finish(mut self) -> Value {
        let pid = self.process.pid();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut text = String::new();
        self.process.0.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let mut errors = String::new();
        self.stderr.read_to_string(&mut errors).unwrap();
        assert!(self.process.0.wait().unwrap().success(), "{errors}");
        serde_json::from_str(&text).unwrap()
    }
}

fn has_call(site: &Value, function: &str) -> bool {
    site["stack"].as_array().unwrap().iter().any(|frame| frame["function"] == function)
}

#[test]
fn faults_are_told_by_memory_and_by_function() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = build("faults", dir.path()) else { return };
    let mut subject = Subject::start(&program);
    for what in ["fresh", "read", "shared", "brk", "kernel"] {
        subject.ask(&format!("{what} 16"));
    }
    let output = dir.path().join("faults.pb.gz");
    let pid = subject.process.pid();
    let Some(probe) = Probe::start("faults", &pid, &["-o", output.to_str().unwrap()]) else {
        return;
    };
    for line in ["fresh 1000", "read 300", "shared 200", "brk 100", "kernel 250"] {
        subject.ask(line);
    }
    let seen = probe.finish();
    assert_eq!(seen["faults"]["user"], 1600, "{seen:#}");
    assert_eq!(seen["faults"]["kernel"], 250);
    let memory = seen["memory"].as_array().unwrap();
    let of = |used: &str| memory.iter().find(|of| of["memory"] == used).unwrap();
    assert_eq!(of("other anonymous")["by_access"], serde_json::json!({"write": 1250, "read": 300}));
    assert_eq!(of("malloc")["faults"], 100);
    assert_eq!(
        (&of("shared memory")["faults"], &of("shared memory")["file"]),
        (&200.into(), &"memfd:planted".into())
    );
    let sites = seen["sites"].as_array().unwrap();
    let at = |function: &str| -> u64 {
        let found = sites.iter().filter(|site| site["site"]["function"] == function);
        found.map(|site| site["faults"].as_u64().unwrap()).sum()
    };
    assert_eq!((at("touch_pages"), at("look_at_pages"), at("main")), (1300, 300, 250));
    assert!(seen["resident"]["points"].as_array().is_some_and(|points| !points.is_empty()));
    check_profile(&output);
}

/// The profile has the same, with the memory as a label.
fn check_profile(path: &Path) {
    let profile = decode::profile::read(std::fs::File::open(path).unwrap()).unwrap().profile;
    let column = profile.column("faults").unwrap();
    let mut by_region: BTreeMap<String, i64> = BTreeMap::new();
    for id in profile.samples.ids() {
        let key = profile.strings.lookup("region").unwrap();
        let labels = profile.samples.labels(id);
        let region = labels.iter().find(|label| label.key == key).unwrap().value;
        let model::LabelValue::Str(region) = region else { panic!("{region:?}") };
        *by_region.entry(profile.str(region).to_owned()).or_default() +=
            profile.samples.values[column][id.0 as usize];
    }
    let expected =
        [("malloc", 100), ("other anonymous", 1550), ("shared memory: memfd:planted", 200)];
    let expected = expected.map(|(region, faults)| (region.to_owned(), faults));
    assert_eq!(by_region.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn mapped_bytes_are_told_by_function() {
    const SITES: [&str; 6] =
        ["map_first", "map_second", "reserve", "map_over", "make_larger", "grow_break"];
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = build("mmap", dir.path()) else { return };
    let mut subject = Subject::start(&program);
    subject.ask("nothing");
    let Some(probe) = Probe::start("mmap", &subject.process.pid(), &[]) else { return };
    subject.ask("change");
    let truth = subject.ask("change");
    let seen = probe.finish();
    let sites = seen["sites"].as_array().unwrap();
    let net = SITES.map(|function| {
        let found = sites.iter().filter(|site| has_call(site, function));
        found.map(|site| site["net_bytes"].as_u64().unwrap()).sum::<u64>().to_string()
    });
    assert_eq!(net.join(" "), truth, "{seen:#}");
    let reserve = sites.iter().find(|site| has_call(site, "reserve")).unwrap();
    // Ten pages each time may be read.
    let bytes = |key: &str| reserve[key].as_u64().unwrap();
    assert_eq!(bytes("reserved_bytes"), bytes("net_bytes") - 2 * 10 * 4096);
    let over = sites.iter().find(|site| has_call(site, "map_over")).unwrap();
    assert_eq!(over["given_back_bytes"], 2 * 20 * 4096);
    // Nothing of what was there before has gone.
    assert_eq!(seen["before"]["unmapped_bytes"], 0);
}
