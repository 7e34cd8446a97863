//! Goroutine stacks read from outside against the program's own goroutine profile,
//! and heap walks of a program that allocates flat out.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test
//! beside the system's.

#[path = "../../../fixtures/toolchains.rs"]
mod toolchains;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use capture::{LiveTarget, ProcessMemoryReader};
use decode::goruntime::{Bias, Binary, Process};
use model::TargetSpec;
use toolchains::toolchains;

/// A running test subject; it ends when its standard input closes.
struct Subject {
    child: Child,
    _stdin: ChildStdin,
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn build(go: &Path, source: &str, dir: &Path, flags: &[&str]) -> PathBuf {
    let out = dir.join(source);
    let status = Command::new(go)
        .args(["build", "-o"])
        .arg(&out)
        .args(flags)
        .arg(".")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source))
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "")
        .status()
        .expect("the Go toolchain runs");
    assert!(status.success(), "go build {flags:?}");
    out
}

fn start(exe: &Path, args: &[&Path]) -> Subject {
    let mut child =
        Command::new(exe).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let stdin = child.stdin.take().unwrap();
    Subject { child, _stdin: stdin }
}

/// How many goroutines have each stack, as the program itself counts them.
fn own_stacks(path: &Path) -> BTreeMap<String, u64> {
    let profile = decode::pprof::read(&std::fs::read(path).unwrap()).unwrap().profile;
    let mut stacks = BTreeMap::new();
    for sample in profile.samples.ids() {
        let mut key = String::new();
        for line in profile.lines(sample) {
            let function = &profile.functions[line.function.0 as usize];
            key += &format!("{} {}\n", profile.str(function.name), line.line);
        }
        let count = profile.samples.values[0][sample.0 as usize];
        *stacks.entry(key).or_default() += count.unsigned_abs();
    }
    stacks
}

/// Stacks as read from outside, cut to `depth` frames.
fn outside_stacks(live: &LiveTarget, depth: usize) -> BTreeMap<String, u64> {
    let snapshot = live.goroutines().unwrap();
    let mut stacks = BTreeMap::new();
    for goroutine in &snapshot.goroutines {
        let frames = &snapshot.stacks[goroutine.stack];
        let lines = frames.iter().take(depth).map(|f| format!("{} {}\n", f.function, f.line));
        let key = lines.collect();
        *stacks.entry(key).or_default() += 1;
    }
    stacks
}

#[test]
fn waiting_stacks_equal_the_programs_own() {
    let dir = tempfile::tempdir().unwrap();
    for (_, go) in toolchains() {
        for flags in [&[][..], &["-buildmode=pie", "-ldflags=-s -w"]] {
            let exe = build(&go, "goroutines", dir.path(), flags);
            let profile = dir.path().join("own.pb.gz");
            let subject = start(&exe, &[&profile]);
            let live = LiveTarget::attach(&TargetSpec::Pid(subject.child.id())).unwrap();
            let own = own_stacks(&profile);
            // Before Go 1.23 the program's own profile ends after 32 frames.
            let deepest = own.keys().map(|stack| stack.lines().count()).max();
            let depth = if deepest == Some(32) { 32 } else { usize::MAX };
            let outside = outside_stacks(&live, depth);
            let mut compared = 0;
            for (stack, count) in &own {
                // The main goroutine wrote the profile then and reads its input now.
                if stack.contains("main.main ") {
                    continue;
                }
                let what = format!("{} {flags:?}", go.display());
                assert_eq!(outside.get(stack), Some(count), "{what}:\n{stack}\nof {outside:#?}");
                compared += count;
            }
            assert_eq!(compared, 45, "{own:#?}");
            println!("{} {flags:?}: {compared} goroutines equal", go.display());
        }
    }
}

#[test]
fn interrupted_goroutines_have_whole_stacks() {
    let dir = tempfile::tempdir().unwrap();
    let exe = build(Path::new("go"), "goroutines", dir.path(), &[]);
    let subject = start(&exe, &[Path::new("-"), Path::new("spin")]);
    let live = LiveTarget::attach(&TargetSpec::Pid(subject.child.id())).unwrap();
    let mut whole = 0;
    for _ in 0..50 {
        let snapshot = live.goroutines().unwrap();
        for goroutine in snapshot.goroutines.iter().filter(|g| g.state == "runnable") {
            let names: Vec<&str> =
                snapshot.stacks[goroutine.stack].iter().map(|f| f.function.as_str()).collect();
            // One that was put on a CPU meanwhile may be partial.
            if names.contains(&"runtime.asyncPreempt") && !goroutine.is_partial {
                assert_eq!(names.last(), Some(&"main.spin"), "{names:?}");
                whole += 1;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(whole > 50, "{whole} interrupted goroutines seen");
}

/// The counters of every bucket, by stack and size.
type Counters = BTreeMap<(Vec<u64>, u64), [u64; 4]>;

#[test]
fn walks_under_load_are_consistent() {
    const WALKS: usize = 1000;
    let dir = tempfile::tempdir().unwrap();
    let exe = build(Path::new("go"), "load", dir.path(), &[]);
    let subject = start(&exe, &[]);
    let pid = subject.child.id();
    let image = std::fs::read(&exe).unwrap();
    let binary = Binary::open(&image).unwrap();
    let memory = ProcessMemoryReader::new(pid);
    let attached = binary.attach(&image, Bias(0), &memory).unwrap();
    let process = Process::new(&binary, &attached, &image, &memory).unwrap();
    // Until the first cycles are published, all counts are shown as published.
    while process.runtime_memory().gc_cycles.unwrap() < 4 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let mut before = Counters::new();
    let (mut repeated, mut published, mut unsettled) = (0, 0, 0);
    for walk in 0..WALKS {
        let found = process.heap_buckets().unwrap();
        assert!(!found.is_partial, "walk {walk}");
        // Where collections end faster than a walk does, on a busy machine, it says so.
        if !found.is_consistent {
            unsettled += 1;
            continue;
        }
        repeated += u32::from(found.attempts > 1);
        let mut now = Counters::new();
        for bucket in &found.buckets {
            let key = (bucket.stack.iter().map(|addr| addr.0).collect(), bucket.size);
            let c = bucket.published;
            assert_eq!(c.alloc_bytes, c.allocs * bucket.size, "walk {walk}");
            assert_eq!(c.free_bytes, c.frees * bucket.size, "walk {walk}");
            assert!(c.frees <= c.allocs, "walk {walk}: {c:?}");
            now.insert(key, [c.allocs, c.frees, c.alloc_bytes, c.free_bytes]);
        }
        // A torn walk would show as a counter that went back.
        for (key, old) in &before {
            let new = now[key];
            assert!(old.iter().zip(new).all(|(old, new)| *old <= new), "{walk}: {old:?} {new:?}");
        }
        published += u32::from(now != before);
        before = now;
    }
    println!("{WALKS} walks: {repeated} repeated, {published} saw news, {unsettled} unsettled");
    assert!(published > 10 && unsettled * 20 <= WALKS, "{published} {unsettled}");
}
