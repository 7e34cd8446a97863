//! Reading real Go processes from outside, checked against what each program says
//! of itself.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test
//! beside the system's.

#[path = "../../../fixtures/toolchains.rs"]
mod toolchains;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use capture::{CaptureError, ErrorKind, LiveTarget};
use model::{Profile, TargetSpec};
use toolchains::toolchains;

/// A running test subject; it ends when its standard input closes.
struct Subject {
    child: Child,
    _stdin: ChildStdin,
    own_profile: Profile,
    stats: serde_free::Object,
}

impl Drop for Subject {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Just enough JSON to read flat numbers out of one line.
mod serde_free {
    pub(crate) struct Object(pub(crate) String);

    impl Object {
        pub(crate) fn number(&self, key: &str) -> u64 {
            let start = self.0.find(&format!("\"{key}\":")).unwrap() + key.len() + 3;
            let rest = &self.0[start..];
            let end = rest.find([',', '}']).unwrap();
            rest[..end].parse().unwrap()
        }
    }
}

fn build(go: &Path, dir: &Path, name: &str, flags: &[&str]) -> PathBuf {
    let out = dir.join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let status = Command::new(go)
        .args(["build", "-o"])
        .arg(&out)
        .args(flags)
        .arg(".")
        .current_dir(source)
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "")
        .status()
        .expect("the Go toolchain runs");
    assert!(status.success(), "go build {flags:?}");
    out
}

fn start(exe: &Path, dir: &Path) -> Subject {
    let profile = dir.join("own.pb.gz");
    let mut child = Command::new(exe)
        .arg(&profile)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let own_profile = decode::pprof::read(&std::fs::read(&profile).unwrap()).unwrap().profile;
    let stdin = child.stdin.take().unwrap();
    Subject { child, _stdin: stdin, own_profile, stats: serde_free::Object(line) }
}

/// Stacks as text with the four values every Go heap profile has.
fn rows(profile: &Profile) -> BTreeMap<String, [i64; 4]> {
    let mut rows = BTreeMap::new();
    for sample in profile.samples.ids() {
        let mut key = String::new();
        for line in profile.lines(sample) {
            let function = &profile.functions[line.function.0 as usize];
            let name = without_type_arguments(profile.str(function.name));
            key += &format!("{name} {}:{}\n", profile.str(function.filename), line.line);
        }
        key += &format!("bytes={:?}", profile.num_label(sample, "bytes"));
        let value = |column: usize| profile.samples.values[column][sample.0 as usize];
        let values: &mut [i64; 4] = rows.entry(key).or_default();
        for (column, sum) in values.iter_mut().enumerate() {
            *sum += value(column);
        }
    }
    rows.retain(|_, values| *values != [0; 4]);
    rows
}

/// Releases before Go 1.25 print the type arguments of inlined generic functions.
fn without_type_arguments(name: &str) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(start), Some(end)) => format!("{}[...]{}", &name[..start], &name[end + 1..]),
        _ => name.to_owned(),
    }
}

fn check_heap(subject: &Subject, what: &str) {
    let spec = TargetSpec::Pid(subject.child.id());
    let live = LiveTarget::attach(&spec).unwrap_or_else(|error| panic!("{what}: {error}"));
    let heap = live.heap_profile().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(heap.is_consistent, "{what}");
    let (outside, own) = (rows(&heap.profile), rows(&subject.own_profile));
    // The program allocates a little while it writes its profile; those buckets
    // are new since. Everything it reported must be there with the same values.
    for (stack, values) in &own {
        assert_eq!(outside.get(stack), Some(values), "{what}: {stack}\nof {outside:#?}");
    }
    assert!(own.len() >= 4, "{what}: {} stacks", own.len());
    assert_eq!(heap.profile.period, 4096, "{what}");
    println!("{what}: {} stacks equal", own.len());
}

fn check_runtime(subject: &Subject, what: &str) {
    let live = LiveTarget::attach(&TargetSpec::Pid(subject.child.id())).unwrap();
    let memory = live.observe().unwrap().runtime;
    let near = |name: &str, found: Option<u64>, own: u64| {
        let found = found.unwrap_or_else(|| panic!("{what}: {name} unknown"));
        // Encoding the answer allocates some kilobytes after the figures were taken.
        assert!(found.abs_diff(own) <= 256 << 10, "{what}: {name} {found} against {own}");
    };
    near("heap in use", memory.heap_in_use_bytes, subject.stats.number("HeapInuse"));
    near("heap idle", memory.heap_idle_bytes, subject.stats.number("HeapIdle"));
    near("released", memory.heap_released_bytes, subject.stats.number("HeapReleased"));
    near("alloc", memory.heap_alloc_bytes, subject.stats.number("HeapAlloc"));
    near("total alloc", memory.total_alloc_bytes, subject.stats.number("TotalAlloc"));
    near("stacks", memory.stacks_bytes, subject.stats.number("StackInuse"));
    near("sys", memory.sys_bytes, subject.stats.number("Sys"));
    let cycles = subject.stats.number("NumGC");
    assert_eq!(memory.gc_cycles, Some(cycles), "{what}");
    assert_eq!(memory.gc_forced_cycles, Some(subject.stats.number("NumForcedGC")), "{what}");
    assert_eq!(memory.gogc_percent, Some(-1), "{what}");
    assert_eq!(memory.gomemlimit_bytes, Some(i64::MAX), "{what}");
    assert_eq!(memory.heap_live_bytes, Some(subject.stats.number("live")), "{what}");
}

fn check_goroutines(subject: &Subject, what: &str) {
    let live = LiveTarget::attach(&TargetSpec::Pid(subject.child.id())).unwrap();
    let snapshot = live.goroutines().unwrap();
    let own = subject.stats.number("goroutines");
    assert_eq!(snapshot.user_count(), own, "{what}: {:#?}", snapshot.groups);
    let group = snapshot.groups.iter().max_by_key(|group| group.count).unwrap();
    assert_eq!((group.count, group.state), (25, "waiting"), "{what}");
    assert_eq!(group.wait_reason, "chan receive", "{what}");
    let names: Vec<_> = snapshot.stacks[group.stack].iter().map(|f| f.function.as_str()).collect();
    let expected = ["runtime.gopark", "runtime.chanrecv", "runtime.chanrecv1", "main.blocked"];
    assert!(names.starts_with(&expected), "{what}: {names:?}");
    let creator = group.created_by.as_ref().unwrap();
    assert_eq!(creator.function, "main.main", "{what}");
}

#[test]
fn outside_reading_equals_the_programs_own() {
    let dir = tempfile::tempdir().unwrap();
    for (_, go) in toolchains() {
        let forms: [(&str, &[&str]); 4] = [
            ("plain", &[]),
            ("pie", &["-buildmode=pie"]),
            ("stripped", &["-ldflags=-s -w"]),
            ("stripped pie", &["-buildmode=pie", "-ldflags=-s -w"]),
        ];
        for (form, flags) in forms {
            let exe = build(&go, dir.path(), "subject", flags);
            let subject = start(&exe, dir.path());
            let what = format!("{} {form}", go.display());
            check_heap(&subject, &what);
            check_goroutines(&subject, &what);
            check_runtime(&subject, &what);
        }
    }
}

/// A program that fills memory when it is told to.
struct Climber {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Drop for Climber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Climber {
    fn start(exe: &Path) -> Climber {
        let (stdin, stdout) = (Stdio::piped(), Stdio::piped());
        // Collections happen only when they are asked for.
        let command = Command::new(exe).env("GOGC", "off").stdin(stdin).stdout(stdout).spawn();
        let mut child = command.unwrap();
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut climber = Climber { child, stdin, stdout };
        climber.expect("ready\n");
        climber
    }

    fn expect(&mut self, wanted: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert_eq!(line, wanted);
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").unwrap();
        self.expect("done\n");
    }
}

/// MiB that the innermost frame `function` has in a column.
fn mib_of(profile: &Profile, function: &str, column: &str) -> i64 {
    let names = profile.sample_types.iter().map(|known| profile.str(known.kind));
    let column = names.into_iter().position(|name| name == column).unwrap();
    let is_at = |sample: &model::SampleId| {
        let name = profile.lines(*sample).next().map(|line| line.function.0 as usize);
        name.is_some_and(|index| profile.str(profile.functions[index].name) == function)
    };
    let values = &profile.samples.values[column];
    let sum: i64 =
        profile.samples.ids().filter(is_at).map(|sample| values[sample.0 as usize]).sum();
    sum >> 20
}

#[test]
fn what_no_collection_has_published_is_in_the_profile_of_now() {
    let dir = tempfile::tempdir().unwrap();
    for (name, go) in toolchains() {
        let mut climber = Climber::start(&build(&go, dir.path(), "climb", &[]));
        let live = LiveTarget::attach(&TargetSpec::Pid(climber.child.id())).unwrap();
        let held = |function| {
            let (published, now) = (live.heap_profile().unwrap(), live.heap_profile_now().unwrap());
            assert!(now.is_consistent, "{name}");
            let comment = now.profile.comments.first().map(|text| now.profile.str(*text));
            assert_eq!(comment, Some(decode::goruntime::NOW_COMMENT), "{name}");
            let [published, now] =
                [published, now].map(|heap| mib_of(&heap.profile, function, "inuse_space"));
            (published, now)
        };
        assert_eq!(held("main.hoard"), (16, 16), "{name}");
        climber.tell("step 64");
        climber.tell("climb 32 0");
        climber.tell("garbage 16");
        let (published, now) = held("main.hoard");
        assert_eq!(published, 16, "{name}: the program itself does not show it yet");
        // Blocks of 256 KiB are sampled: 128 of them are 32 MiB, give or take 3.5.
        assert!((94..=130).contains(&now), "{name}: {now}");
        let (published, garbage) = held("main.churn");
        assert!(published == 0 && (8..=19).contains(&garbage), "{name}: {garbage}, not swept yet");
        climber.tell("gc");
        let (published, now) = held("main.hoard");
        assert!((94..=130).contains(&now), "{name}: {now}");
        assert_eq!(published, now, "{name}");
        assert_eq!(held("main.churn"), (0, 0), "{name}");
        println!("{name}: {now} MiB in both");
    }
}

#[test]
fn a_deleted_binary_is_still_read() {
    let dir = tempfile::tempdir().unwrap();
    let exe = build(Path::new("go"), dir.path(), "subject", &[]);
    let subject = start(&exe, dir.path());
    std::fs::remove_file(&exe).unwrap();
    check_heap(&subject, "deleted");
}

#[test]
fn strangers_and_the_dead_are_told_apart() {
    let mut sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let error = LiveTarget::attach(&TargetSpec::Pid(sleeper.id())).unwrap_err();
    assert!(error.to_string().contains("not a Go program"), "{error}");
    assert_eq!(error.kind(), ErrorKind::BadInput);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();

    let error = LiveTarget::attach(&TargetSpec::Pid(u32::MAX >> 1)).unwrap_err();
    assert!(matches!(error, CaptureError::NoProcess(_)), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let exe = build(Path::new("go"), dir.path(), "subject", &[]);
    let mut subject = start(&exe, dir.path());
    let live = LiveTarget::attach(&TargetSpec::Pid(subject.child.id())).unwrap();
    subject.child.kill().unwrap();
    subject.child.wait().unwrap();
    let error = live.heap_profile().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone, "{error}");
    assert!(!live.is_alive());
}
