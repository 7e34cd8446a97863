//! `memsight trace` against what the runtime prints of its collections, Go's summarizer of
//! goroutines, and `go tool trace -pprof`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use crate::support::{fails, memsight, stdout};
use crate::toolchains::toolchains;
use crate::trace_export::cut_in_last_generation;

/// A recorded trace, and what the runtime said meanwhile.
struct Recorded {
    file: PathBuf,
    gctrace: String,
}

pub(crate) fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn go_tests() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../decode/tests/gotrace"))
}

pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.env("GOFLAGS", "").env("GOTOOLCHAIN", "local").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Several generations of 10 ms: a quick machine is done in less than 50 ms.
const SHORT_GENERATIONS: &str = "traceadvanceperiod=10000000";

/// A trace of decode's generator, recorded once; `None` without Go.
fn recorded() -> Option<&'static Recorded> {
    static RECORDED: OnceLock<Option<Recorded>> = OnceLock::new();
    let recorded = RECORDED.get_or_init(|| {
        if Command::new("go").arg("version").output().is_err() {
            println!("skipped: there is no Go toolchain in PATH");
            return None;
        }
        let (program, file) = (scratch("cli-tracegen"), scratch("cli.trace"));
        let mut build = Command::new("go");
        build.current_dir(go_tests().join("generator")).args(["build", "-o"]).arg(&program);
        run(build.arg("."));
        let debug = format!("gctrace=1,{SHORT_GENERATIONS}");
        let mut generator = Command::new(&program);
        let output = run(generator.arg(&file).arg("16000").env("GODEBUG", debug));
        Some(Recorded { file, gctrace: String::from_utf8(output.stderr).unwrap() })
    });
    recorded.as_ref()
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

/// What gctrace says of a collection: milliseconds of the two stops and of marking, and MiB
/// of heap before, at the end of marking, marked, and the goal.
#[derive(Debug)]
struct Line {
    millis: [f64; 3],
    mib: [u64; 4],
}

fn gctrace_lines(text: &str) -> Vec<Line> {
    let lines = text.lines().filter(|line| line.starts_with("gc ") && line.contains("->"));
    lines
        .map(|line| {
            let parts: Vec<&str> = line.split(", ").collect();
            let (_, clock) = parts[0].split_once(": ").unwrap();
            let clock = clock.split(' ').next().unwrap();
            let millis: Vec<f64> = clock.split('+').map(|it| it.parse().unwrap()).collect();
            let heap = parts.iter().find(|part| part.contains("->")).unwrap();
            let heap = heap.strip_suffix(" MB").unwrap().split("->");
            let mut mib: Vec<u64> = heap.map(|it| it.parse().unwrap()).collect();
            let goal = parts.iter().find_map(|part| part.strip_suffix(" MB goal")).unwrap();
            mib.push(goal.parse().unwrap());
            Line { millis: millis.try_into().unwrap(), mib: mib.try_into().unwrap() }
        })
        .collect()
}

/// The trace begins after the program and ends before it, so that the collections in it are
/// some of those that gctrace has, one after the other.
#[test]
fn collections_are_those_of_gctrace() {
    let Some(recorded) = recorded() else { return };
    let all = json(&["trace", "gc", recorded.file.to_str().unwrap(), "--json"]);
    assert_eq!(all["warning"], Value::Null);
    let found: Vec<&Value> = all["collections"].as_array().unwrap().iter().collect();
    let whole: Vec<&Value> = found
        .into_iter()
        .filter(|it| it["is_cut_at_start"] == false && it["is_cut_at_end"] == false)
        .collect();
    let lines = gctrace_lines(&recorded.gctrace);
    assert!(whole.len() >= 3, "{} collections", whole.len());
    let mib = |it: &Value| -> Option<[u64; 4]> {
        let names = ["heap_before_bytes", "heap_peak_bytes", "heap_live_bytes", "goal_bytes"];
        let bytes = names.map(|name| it[name].as_u64());
        bytes.iter().all(Option::is_some).then(|| bytes.map(|bytes| bytes.unwrap() >> 20))
    };
    // The first ones may lack what was said before the trace.
    let known: Vec<([u64; 4], &Value)> =
        whole.iter().filter_map(|it| Some((mib(it)?, *it))).collect();
    assert!(known.len() >= whole.len() - 1, "{whole:?}");
    let is_match = |start: usize| {
        let mut pairs = known.iter().zip(&lines[start..]);
        pairs.all(|((mib, _), line)| mib[1..] == line.mib[1..])
    };
    let starts = 0..=lines.len().saturating_sub(known.len());
    let start = starts.into_iter().find(|start| is_match(*start));
    let start = start.unwrap_or_else(|| panic!("{known:#?} is not in {lines:#?}"));
    let (mut stopped, mut marking, mut said) = (0.0, 0.0, 0.0);
    for ((mib, it), line) in known.iter().zip(&lines[start..]) {
        // The runtime reads the heap a moment after the collection begins.
        assert!(mib[0].abs_diff(line.mib[0]) <= 1, "{it}, {line:?}");
        let millis = |name: &str| it[name].as_u64().unwrap() as f64 / 1e6;
        stopped += millis("sweep_termination_nanos") + millis("mark_termination_nanos");
        marking += millis("mark_nanos");
        said += line.millis.iter().sum::<f64>();
    }
    // The two measure between different points, and on a busy machine much can be between.
    assert!(marking > said * 0.5 && marking < said * 2.0 + 50.0, "{marking}, gctrace: {said}");
    assert!(stopped < said * 2.0 + 50.0, "{stopped}, gctrace: {said}");
}

/// Traces of decode's generator by each toolchain, with its name; recorded once.
pub(crate) fn recordings() -> &'static [(String, PathBuf)] {
    static RECORDINGS: OnceLock<Vec<(String, PathBuf)>> = OnceLock::new();
    RECORDINGS.get_or_init(|| {
        let mut found = Vec::new();
        for (name, go) in toolchains() {
            if Command::new(&go).arg("version").output().is_err() {
                println!("skipped: there is no Go toolchain in PATH");
                continue;
            }
            let (program, file) =
                (scratch(&format!("generator-{name}")), scratch(&format!("{name}.trace")));
            let mut build = Command::new(&go);
            build.current_dir(go_tests().join("generator")).args(["build", "-o"]).arg(&program);
            run(build.arg("."));
            let mut generator = Command::new(&program);
            run(generator.arg(&file).arg("8000").env("GODEBUG", SHORT_GENERATIONS));
            found.push((name, file));
        }
        found
    })
}

/// Go's own reader of traces, with three faults of its curve of mutator utilization mended; see
/// decode's tests, and analyze's `trace::utilization`.
pub(crate) fn oracle() -> Option<&'static Path> {
    static ORACLE: OnceLock<Option<PathBuf>> = OnceLock::new();
    ORACLE.get_or_init(build_oracle).as_deref()
}

fn build_oracle() -> Option<PathBuf> {
    let root = run(Command::new("go").args(["env", "GOROOT"])).stdout;
    let sources = Path::new(String::from_utf8(root).unwrap().trim()).join("src");
    if !sources.join("internal/trace/tracev1.go").exists() {
        println!("skipped: the Go in PATH has no reader of all traces");
        return None;
    }
    let curve = sources.join("internal/trace/gc.go");
    let mut text = std::fs::read_to_string(&curve).unwrap();
    // A worker that stops no longer works, stops before the number of Ps count, and the
    // distribution is not left out.
    let stopped = "// Stopped running while doing GC things.\n";
    let beforehand = "// something else being emitted beforehand.\n";
    let stops = "if ev.Kind() == EventRangeBegin && handleSTW(ev.Range()) { stw++ }
        if ev.Kind() == EventRangeEnd && handleSTW(ev.Range()) { stw-- }\n";
    for (old, new) in [
        (stopped, format!("{stopped}delete(bgMark, g)\n")),
        (beforehand, format!("{beforehand}{stops}")),
        ("mud: new(mud)}", "mud: new(mud), nWorst: 1}".to_owned()),
    ] {
        assert_eq!(text.matches(old).count(), 1, "{old:?} in {}", curve.display());
        text = text.replace(old, &new);
    }
    let (overlay, program) = (scratch("cli-oracle.json"), scratch("cli-oracle"));
    let mended = scratch("cli-oracle-gc.go");
    std::fs::write(&mended, text).unwrap();
    let files = [
        (sources.join("cmd/traceoracle/main.go"), go_tests().join("oracle/main.go")),
        (curve, mended),
    ];
    let pairs = files.map(|(place, source)| {
        let (place, source) = (place.display().to_string(), source.display().to_string());
        format!("{place:?}: {source:?}")
    });
    std::fs::write(&overlay, format!("{{\"Replace\": {{{}}}}}", pairs.join(", "))).unwrap();
    let mut go = Command::new("go");
    go.args(["build", "-overlay"]).arg(&overlay).arg("-o").arg(&program);
    run(go.arg("cmd/traceoracle"));
    Some(program)
}

#[test]
fn goroutines_spend_what_gos_summarizer_says() {
    let Some(recorded) = recorded() else { return };
    let Some(oracle) = oracle() else { return };
    let output = run(Command::new(oracle).arg("-summary").arg(&recorded.file));
    let theirs: BTreeMap<String, Value> = serde_json::from_slice(&output.stdout).unwrap();
    let file = recorded.file.to_str().unwrap();
    let ours = json(&["trace", "goroutines", file, "--json", "-n", "0"]);
    let ours = ours["functions"].as_array().unwrap();
    assert_eq!(ours.len(), theirs.len());
    assert!(ours.iter().any(|it| it["function"] == "main.main.func2"), "{ours:?}");
    for our in ours {
        let function = our["function"].as_str().unwrap();
        let their = &theirs[function];
        let same = |ours: u64, name: &str| {
            assert_eq!(Some(ours), their[name].as_u64(), "{name} of {function}");
        };
        let number = |name: &str| our[name].as_u64().unwrap();
        same(number("goroutines"), "Goroutines");
        same(number("total_nanos"), "Total");
        same(number("running_nanos"), "Running");
        // Go also counts a system call without a P, which goes on at the end, as that.
        let twice = their["Runnable"].as_u64().unwrap() - number("runnable_nanos");
        assert!(twice <= number("syscall_blocked_nanos"), "{our}, Go: {their}");
        same(number("syscall_nanos") + number("syscall_blocked_nanos"), "Syscall");
        same(number("assist_nanos"), "Assist");
        for (reason, nanos) in our["blocked_nanos"].as_object().unwrap() {
            assert_eq!(*nanos, their["Blocked"][reason], "{reason} of {function}");
        }
    }
}

/// Stacks with how often and how long, innermost function first.
fn stacks(file: &Path) -> BTreeMap<Vec<String>, (i64, i64)> {
    let bytes = std::fs::read(file).unwrap();
    let profile = decode::pprof::read(&bytes).unwrap().profile;
    let mut stacks: BTreeMap<Vec<String>, (i64, i64)> = BTreeMap::new();
    for id in profile.samples.ids() {
        let stack = profile.stacks.get(profile.samples.stacks[id.0 as usize]);
        let frame = |location: &model::LocationId| {
            let location = &profile.locations[location.0 as usize];
            let line = location.lines[0];
            let function = &profile.functions[line.function.0 as usize];
            let name = profile.strings.get(function.name);
            format!("{:x} {name} {}", location.address.0, line.line)
        };
        let values: Vec<i64> = profile.samples.row(id).collect();
        // Go has a frame at 0 for what has no stack, or none, as it happens.
        let frames = stack.iter().map(frame).filter(|frame| frame != "0  0");
        let sum = stacks.entry(frames.collect()).or_default();
        *sum = (sum.0 + values[0], sum.1 + values[1]);
    }
    stacks
}

#[test]
fn waits_are_those_of_go_tool_trace() {
    let Some(recorded) = recorded() else { return };
    for kind in ["sync", "net", "syscall", "sched"] {
        let (ours, theirs) = (scratch(&format!("{kind}.ours")), scratch(&format!("{kind}.theirs")));
        let file = recorded.file.to_str().unwrap();
        stdout(&["trace", "profile", file, "--kind", kind, "-o", ours.to_str().unwrap()]);
        let mut tool = Command::new("go");
        tool.args(["tool", "trace", &format!("-pprof={kind}")]).arg(&recorded.file);
        std::fs::write(&theirs, run(&mut tool).stdout).unwrap();
        let (ours, theirs) = (stacks(&ours), stacks(&theirs));
        assert!(!theirs.is_empty(), "{kind}");
        assert_eq!(ours, theirs, "{kind}");
    }
}

#[test]
fn summaries_count_what_happened() {
    let Some(recorded) = recorded() else { return };
    let file = recorded.file.to_str().unwrap();
    let summary = json(&["trace", "summary", file, "--json"]);
    assert_eq!(summary["warning"], Value::Null);
    let number = |name: &str| summary[name].as_u64().unwrap_or_else(|| panic!("{name}: {summary}"));
    let kinds = summary["events_by_kind"].as_object().unwrap();
    let events: u64 = kinds.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(number("events"), events);
    assert!(events > 50_000, "{events}");
    assert_eq!(kinds["Sync"].as_u64(), Some(number("generations") + 1));
    assert!(number("goroutines_created") > 10);
    let heap = &summary["heap_bytes"];
    assert!(heap["min"].as_u64() > Some(1 << 20) && heap["max"].as_u64() > heap["min"].as_u64());
    assert!(summary["stops"]["GC mark termination"]["count"].as_u64() > Some(2), "{summary}");
    let text = stdout(&["trace", "summary", file]);
    assert!(text.contains("GC mark termination") && text.contains("StateTransition"), "{text}");
    let text = stdout(&["trace", "goroutines", file, "-n", "2"]);
    assert!(text.contains("more functions; -n 0 shows all"), "{text}");
}

#[test]
fn objects_of_the_experiment_are_counted() {
    if recorded().is_none() {
        return;
    }
    let Some(oracle) = oracle() else { return };
    let file = scratch("objects.trace");
    let mut generator = Command::new(scratch("cli-tracegen"));
    run(generator.arg(&file).arg("1000").env("GODEBUG", "traceallocfree=1"));
    let lines = String::from_utf8(run(Command::new(oracle).arg(&file)).stdout).unwrap();
    let count = |name: &str| {
        let name = format!(" {name} ");
        lines.lines().filter(|line| line.starts_with("14 ") && line.contains(&name)).count()
    };
    let summary = json(&["trace", "summary", file.to_str().unwrap(), "--json"]);
    let objects = &summary["objects"];
    assert_eq!(objects["before"], count("HeapObject"));
    assert_eq!(objects["allocated"], count("HeapObjectAlloc"));
    assert_eq!(objects["freed"], count("HeapObjectFree"));
    assert!(objects["allocated"].as_u64() > Some(1000), "{summary}");
}

#[test]
fn cut_traces_say_so_and_others_are_refused() {
    let Some(recorded) = recorded() else { return };
    let bytes = std::fs::read(&recorded.file).unwrap();
    let cut = scratch("cut.trace");
    let [_, part] = cut_in_last_generation(&bytes);
    std::fs::write(&cut, part).unwrap();
    let text = stdout(&["trace", "gc", cut.to_str().unwrap()]);
    assert!(text.contains("warning: the trace is cut off at offset "), "{text}");
    assert!(text.contains(&format!("the file has {} bytes", part.len())), "{text}");
    let summary = json(&["trace", "summary", cut.to_str().unwrap(), "--json"]);
    assert!(summary["warning"].as_str().unwrap().contains("cut off at offset"), "{summary}");
    assert!(summary["events"].as_u64() > Some(1000), "{summary}");
    let other = scratch("other.trace");
    std::fs::write(&other, "no trace at all, but long enough").unwrap();
    let error = fails(&["trace", "summary", other.to_str().unwrap()], 2);
    assert!(error.contains("not a Go execution trace"), "{error}");
    assert!(!memsight(&["trace", "gc", "/nonexistent"]).status.success());
}
