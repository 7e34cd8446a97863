//! The runtime's metrics read from outside, against `metrics.Read` in the program itself.
//!
//! The program reads itself, rests, is read from outside, and reads itself again. What it read
//! alike before and after must be equal outside, to the bit and bucket by bucket; what moved
//! meanwhile is listed and must lie between. Every metric that Go lists is compared, so that
//! one that is missing outside fails.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test beside the
//! system's.

#[path = "../../../fixtures/toolchains.rs"]
mod toolchains;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use capture::LiveTarget;
use decode::elf::Elf;
use decode::goruntime::{Bias, Binary, Memory, MemoryError, Process, Variables, static_table};
use model::metrics::{Histogram, METRICS, MetricKind, MetricValue};
use model::{Addr, RuntimeMetrics, TargetSpec};
use toolchains::toolchains;

/// Metrics that the runtime moves by itself in a program that rests: its scavenger gives
/// memory back, and wakes up for it.
const RESTLESS: [&str; 8] = [
    "/memory/classes/heap/free:bytes",
    "/memory/classes/heap/released:bytes",
    "/sched/latencies:seconds",
    "/sched/goroutines/runnable:goroutines",
    "/sched/goroutines/running:goroutines",
    "/sched/goroutines/waiting:goroutines",
    "/sched/goroutines/not-in-go:goroutines",
    "/sync/mutex/wait/total:seconds",
];

/// Rests after which nothing else may have moved: now and then the runtime starts a thread.
const RESTS: usize = 5;

/// A running program that says its metrics when it is asked to.
struct Metered {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    /// Name, Go's number of its kind, and whether it is cumulative.
    listed: Vec<(String, u8, bool)>,
}

/// What the program said of itself.
#[derive(Default)]
struct Own {
    values: BTreeMap<String, MetricValue>,
    /// `goroutines`, `pauses`, `pause_total`, `last_gc`.
    other: BTreeMap<String, Vec<u64>>,
}

impl Drop for Metered {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Metered {
    fn start(program: &Path, settings: &[(&str, &str)]) -> (Metered, Own) {
        let mut child = Command::new(program)
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut metered = Metered { child, stdin, stdout, listed: Vec::new() };
        let own = metered.answer();
        (metered, own)
    }

    fn ask(&mut self) -> Own {
        self.stdin.write_all(b"\n").unwrap();
        self.answer()
    }

    fn answer(&mut self) -> Own {
        let mut own = Own::default();
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.stdout.read_line(&mut line).unwrap() > 0, "the program ended");
            let words: Vec<&str> = line.split_whitespace().collect();
            match *words.as_slice() {
                ["end"] => return own,
                ["metric", name, kind, cumulative] => {
                    let kind = kind.parse().unwrap();
                    self.listed.push((name.to_owned(), kind, cumulative == "true"));
                }
                ["value", name, kind, ref rest @ ..] => {
                    own.values.insert(name.to_owned(), value(kind, rest));
                }
                [name, ref rest @ ..] => {
                    let numbers = rest.iter().map(|word| word.parse().unwrap()).collect();
                    own.other.insert(name.to_owned(), numbers);
                }
                [] => {}
            }
        }
    }

    fn read_from_outside(&self) -> RuntimeMetrics {
        let live = LiveTarget::attach(&TargetSpec::Pid(self.child.id())).unwrap();
        live.runtime_metrics().unwrap()
    }
}

fn value(kind: &str, rest: &[&str]) -> MetricValue {
    let number = |word: &&str| word.parse::<u64>().unwrap();
    match kind {
        "unsigned" => MetricValue::Unsigned(number(&rest[0])),
        "float" => MetricValue::Float(f64::from_bits(number(&rest[0]))),
        "histogram" => MetricValue::Histogram(Histogram {
            bounds: rest.iter().step_by(2).map(|word| f64::from_bits(number(word))).collect(),
            counts: rest.iter().skip(1).step_by(2).map(number).collect(),
        }),
        _ => panic!("{kind}"),
    }
}

fn build(go: &Path, dir: &Path, flags: &[&str], has_c: bool) -> PathBuf {
    let out = dir.join("metered");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/metered");
    let status = Command::new(go)
        .args(["build", "-o"])
        .arg(&out)
        .args(flags)
        .arg(".")
        .current_dir(source)
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "")
        .env("CGO_ENABLED", if has_c { "1" } else { "0" })
        .status()
        .expect("the Go toolchain runs");
    assert!(status.success(), "go build {flags:?}");
    out
}

/// The least and greatest of what a value may be between two others.
fn is_between(low: &MetricValue, value: &MetricValue, high: &MetricValue) -> bool {
    let within = |a: f64, value: f64, b: f64| a.min(b) <= value && value <= a.max(b);
    match (low, value, high) {
        (MetricValue::Unsigned(a), MetricValue::Unsigned(v), MetricValue::Unsigned(b)) => {
            within(*a as f64, *v as f64, *b as f64)
        }
        (MetricValue::Float(a), MetricValue::Float(v), MetricValue::Float(b)) => within(*a, *v, *b),
        (MetricValue::Histogram(a), MetricValue::Histogram(v), MetricValue::Histogram(b)) => {
            let counts = a.counts.iter().zip(&v.counts).zip(&b.counts);
            v.bounds == a.bounds && counts.into_iter().all(|((a, v), b)| a <= v && v <= b)
        }
        _ => false,
    }
}

fn short(value: &MetricValue) -> String {
    match value {
        MetricValue::Histogram(histogram) => {
            format!("{} values", histogram.counts.iter().sum::<u64>())
        }
        MetricValue::Unsigned(value) => value.to_string(),
        MetricValue::Float(value) => value.to_string(),
    }
}

/// Compares all metrics; returns how many were equal and how many moved.
fn check(metered: &mut Metered, before: Own, what: &str) -> (usize, usize) {
    let mut before = before;
    for _ in 0..RESTS {
        let outside = metered.read_from_outside();
        check_collector(&outside, &before, what);
        let after = metered.ask();
        let (moved, has_flickered) = compare(&metered.listed, [&before, &after], &outside, what);
        if !has_flickered && moved.iter().all(|name| RESTLESS.contains(&name.as_str())) {
            return (outside.samples.len() - moved.len(), moved.len());
        }
        before.values = after.values;
    }
    panic!("{what}: never rests")
}

/// Compares what did not move meanwhile; returns the names of what did, and whether something
/// that goes up and down by itself was neither what it was before nor what it was after: such a
/// reading proves nothing of it.
fn compare(
    listed: &[(String, u8, bool)],
    own: [&Own; 2],
    outside: &RuntimeMetrics,
    what: &str,
) -> (Vec<String>, bool) {
    assert_eq!(outside.warnings, [""; 0], "{what}");
    let names = outside.samples.iter().map(|sample| sample.metric.name);
    assert!(names.eq(listed.iter().map(|(name, ..)| name)), "{what}: {outside:?}");
    let (mut moved, mut has_flickered) = (Vec::new(), false);
    for (sample, (name, kind, is_cumulative)) in outside.samples.iter().zip(listed) {
        let known = match sample.metric.kind {
            MetricKind::Unsigned => 1,
            MetricKind::Float => 2,
            MetricKind::Histogram => 3,
        };
        assert_eq!((known, sample.metric.is_cumulative), (*kind, *is_cumulative), "{name}");
        let [before, after] = own.map(|own| &own.values[name]);
        let found = &sample.value;
        if before == after && found == before {
            continue;
        }
        let [a, b, c] = [before, found, after].map(short);
        println!("{what}: {name} moved: {a} before, {b} outside, {c} after");
        if before == after || !is_between(before, found, after) {
            let goes_up_and_down = RESTLESS.contains(&name.as_str()) && !is_cumulative;
            assert!(goes_up_and_down, "{what}: {name}: {before:?} {found:?} {after:?}");
            has_flickered = true;
        }
        moved.push(name.clone());
    }
    (moved, has_flickered)
}

/// What Prometheus's collector shows beside the metrics.
fn check_collector(outside: &RuntimeMetrics, own: &Own, what: &str) {
    let collector = &outside.collector;
    let one = |name: &str| own.other[name].first().copied();
    assert_eq!(collector.goroutines, one("goroutines"), "{what}");
    assert_eq!(collector.pause_total_nanos, one("pause_total"), "{what}");
    assert_eq!(collector.last_gc_nanos, one("last_gc"), "{what}");
    let quantiles = collector.pause_quantiles_nanos.unwrap();
    assert_eq!(quantiles.to_vec(), own.other["pauses"], "{what}");
}

#[test]
fn every_metric_is_what_the_program_reads_itself() {
    let dir = tempfile::tempdir().unwrap();
    let forms: [(&str, &[&str]); 3] = [
        ("plain", &[]),
        ("stripped", &["-ldflags=-s -w"]),
        ("stripped pie", &["-buildmode=pie", "-ldflags=-s -w"]),
    ];
    // The goal of the last two is set by the limit, of one below what GOGC alone would allow.
    let settings: [&[(&str, &str)]; 4] = [
        &[],
        &[("GOMAXPROCS", "5"), ("GOGC", "50")],
        &[("GOMEMLIMIT", "22MiB")],
        &[("GOGC", "off"), ("GOMEMLIMIT", "300MiB")],
    ];
    for (version, go) in toolchains() {
        for (form, flags) in forms {
            let program = build(&go, dir.path(), flags, false);
            for settings in settings {
                let what = format!("Go {version} {form} {settings:?}");
                let (mut metered, before) = Metered::start(&program, settings);
                let (equal, moved) = check(&mut metered, before, &what);
                println!("{what}: {equal} metrics equal, {moved} moved");
                assert!(equal >= 48, "{what}");
            }
        }
    }
}

#[test]
fn calls_of_c_and_threads_of_c_count() {
    let dir = tempfile::tempdir().unwrap();
    if Command::new("gcc").arg("--version").output().is_err() {
        println!("skipped: no gcc");
        return;
    }
    for flags in [&[][..], &["-ldflags=-s -w"][..]] {
        let program = build(Path::new("go"), dir.path(), flags, true);
        let (mut metered, before) = Metered::start(&program, &[]);
        let calls = before.values["/cgo/go-to-c-calls:calls"].clone();
        assert!(matches!(calls, MetricValue::Unsigned(600..)), "{calls:?}");
        check(&mut metered, before, "with C");
    }
}

/// Where no symbols tell it, code tells the same.
#[test]
fn variables_are_where_the_symbols_say() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        for flags in [&[][..], &["-buildmode=pie"][..]] {
            let bytes = std::fs::read(build(&go, dir.path(), flags, false)).unwrap();
            let elf = Elf::parse(&bytes).unwrap();
            let table = static_table(&elf, &bytes).unwrap();
            let release = Binary::open(&bytes).unwrap().version;
            let by_code = |variables: Variables| variables.or_by_code(&elf, &table, release);
            let known = by_code(Variables::by_symbols(&elf));
            assert!(known.cpu_stats.is_some() && known.m_next.is_some(), "Go {version}");
            // Code tells nothing of these.
            let known = Variables { profiling_disabled: None, work: None, ..known };
            let found = by_code(Variables::default());
            assert!(known.sched.is_some() && known.allp.is_some(), "Go {version}");
            assert_eq!(found, known, "Go {version} {flags:?}");
        }
    }
}

/// A program that reads itself all the time turns its ring of figures all the time.
#[test]
fn of_a_busy_program_nothing_is_counted_twice() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        let program = build(&go, dir.path(), &[], false);
        let (metered, _) = Metered::start(&program, &[("SPIN", "1")]);
        let live = LiveTarget::attach(&TargetSpec::Pid(metered.child.id())).unwrap();
        let names = ["/gc/heap/allocs:bytes", "/gc/heap/allocs:objects", "/gc/heap/frees:bytes"];
        let mut last = [0; 3];
        let (mut settled, mut moving, mut all) = (0, 0, 0);
        // On a busy machine the program may rest for long.
        while all < 40 || (moving == 0 && all < 2000) {
            all += 1;
            let found = live.runtime_metrics().unwrap();
            moving += usize::from(!found.moved.is_empty());
            if !found.warnings.is_empty() {
                assert!(found.warnings[0].contains("never rested"), "{:?}", found.warnings);
                continue;
            }
            let values = names.map(|name| found.unsigned(name).unwrap());
            let grows = last.iter().zip(&values).all(|(before, after)| before <= after);
            assert!(grows, "Go {version}: {last:?} {values:?}");
            last = values;
            settled += 1;
        }
        println!("Go {version}: {settled} of {all} readings are whole, {moving} moved");
        assert!(settled > 0 && moving > 0, "Go {version}");
    }
}

/// The executable's own data, and noise everywhere else.
struct Noise<'a> {
    elf: &'a Elf<'a>,
    seed: u64,
}

impl Memory for Noise<'_> {
    fn read(&self, addr: Addr, buffer: &mut [u8]) -> Result<(), MemoryError> {
        if let Some(bytes) = self.elf.bytes_at(addr).and_then(|bytes| bytes.get(..buffer.len())) {
            buffer.copy_from_slice(bytes);
            return Ok(());
        }
        for (index, byte) in buffer.iter_mut().enumerate() {
            let at = addr.0.wrapping_add(index as u64);
            // Seed 0 is memory of zeros; others have pointers that lead on and on.
            let noise = (at / 8).wrapping_mul(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            *byte = (noise >> (at % 8 * 8)) as u8;
        }
        Ok(())
    }
}

#[test]
fn damaged_memory_ends_the_reading() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(build(Path::new("go"), dir.path(), &[], false)).unwrap();
    let elf = Elf::parse(&bytes).unwrap();
    let binary = Binary::open(&bytes).unwrap();
    for seed in 0..4 {
        let memory = Noise { elf: &elf, seed };
        let attached = binary.attach(&bytes, Bias(0), &memory).unwrap();
        let process = Process::new(&binary, &attached, &bytes, &memory).unwrap();
        let found = process.runtime_metrics().unwrap();
        assert!(found.samples.len() <= METRICS.len(), "{seed}");
        // A list without an end is given up.
        assert!(seed == 0 || !found.warnings.is_empty(), "{seed}: {found:?}");
    }
}
