//! `memsight rss` on programs whose memory is what it was planted to be, against /proc and
//! the runtime's own counts.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test beside the
//! system's.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Mutex;

use model::RssKind;
use serde_json::Value;

use crate::planted::{json, number};
use crate::support::{Process, fails, stdout};
use crate::toolchains::toolchains;

const MIB: u64 = 1 << 20;
/// What the planted memory is, where nothing else is said.
const SIZE: u64 = 64;

/// A program that waits with the memory it was told to have.
struct Subject {
    process: Process,
    _stdin: ChildStdin,
    /// What the runtime counted.
    stats: Value,
}

/// The subject, built once with each toolchain in each way; `None`, and says so, where C is
/// wanted and there is no compiler.
fn build(name: &str, go: &Path, has_cgo: bool, flags: &[&str]) -> Option<PathBuf> {
    static BUILT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if has_cgo && Command::new("gcc").arg("--version").output().is_err() {
        println!("skipped: C code in Go programs needs gcc");
        return None;
    }
    let name = format!("resident-{name}-{has_cgo}-{}", flags.len());
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut built = BUILT.lock().unwrap();
    if built.insert(program.clone()) {
        let mut command = Command::new(go);
        command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "");
        command.env("CGO_ENABLED", if has_cgo { "1" } else { "0" });
        command.args(["build", "-o"]).arg(&program).args(flags).arg(".");
        command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/resident"));
        assert!(command.status().expect("go is installed").success(), "resident does not build");
    }
    Some(program)
}

fn start(program: &Path, mode: &str, mib: u64, environment: &[(&str, &str)]) -> Subject {
    let mut command = Command::new(program);
    command.args([mode, &mib.to_string()]).envs(environment.iter().copied());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let stats = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{mode}: {line}"));
    Subject { process: Process(child), _stdin: stdin, stats }
}

/// A picture of a process, checked for what holds of every one.
struct Picture {
    what: String,
    value: Value,
}

impl Picture {
    /// `slack` is how much may come and go while it is taken.
    fn take(pid: &str, what: &str, slack: u64) -> Picture {
        // The test's own look: the second number of statm counts pages.
        let resident = || -> u64 {
            let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
            statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
        };
        // A machine with other work may take long, and a busy program changes meanwhile.
        let mut left = 20;
        let (value, theirs) = loop {
            let before = resident();
            let (value, after) = (json(&["rss", pid, "--json"]), resident());
            left -= 1;
            let rss = number(&value["rss_bytes"]);
            let has_rested = before.abs_diff(after) <= slack + after / 400;
            if has_rested && rss.abs_diff(after) <= 2 * slack + rss / 200 {
                break (value, after);
            }
            assert!(left > 0, "{what}: resident memory never rests");
        };
        let picture = Picture { what: what.to_owned(), value };
        let rss = picture.of("rss_bytes");
        let kinds = picture.value["kinds"].as_array().unwrap();
        assert_eq!(kinds.iter().map(|kind| number(&kind["bytes"])).sum::<u64>(), rss);
        let maps = picture.value["maps"].as_array().unwrap();
        assert_eq!(maps.iter().map(|map| number(&map["rss_bytes"])).sum::<u64>(), rss);
        let causes = picture.value["causes"].as_array().unwrap();
        assert_eq!(causes.iter().map(|cause| number(&cause["bytes"])).sum::<u64>(), rss);
        picture.near("resident", rss, theirs, 2 * slack + rss / 200);
        picture
    }

    fn of(&self, key: &str) -> u64 {
        number(&self.value[key])
    }

    fn kind(&self, kind: RssKind) -> u64 {
        let kinds = self.value["kinds"].as_array().unwrap();
        let found = kinds.iter().find(|row| row["kind"] == kind.as_str()).unwrap();
        number(&found["bytes"])
    }

    fn kinds(&self, kinds: &[RssKind]) -> u64 {
        kinds.iter().map(|kind| self.kind(*kind)).sum()
    }

    #[track_caller]
    fn near(&self, name: &str, ours: u64, theirs: u64, slack: u64) {
        let what = &self.what;
        assert!(ours.abs_diff(theirs) <= slack, "{what}: {name} {ours}, not {theirs}");
    }

    /// At most one percent is open, and this is the main cause with so much of it.
    #[track_caller]
    fn check_cause(&self, cause: &str, bytes: u64) {
        let open = self.of("unattributed_bytes");
        assert!(open * 100 <= self.of("rss_bytes"), "{}: {open} open", self.what);
        let main = &self.value["causes"][0];
        assert_eq!(main["cause"], cause, "{}: {:#}", self.what, self.value["causes"]);
        self.near(cause, number(&main["bytes"]), bytes, bytes / 20 + MIB);
    }

    fn settings(&self) -> Vec<&str> {
        let advice = self.value["advice"].as_array().unwrap();
        advice.iter().map(|one| one["setting"].as_str().unwrap()).collect()
    }

    fn is_advised(&self, part: &str) -> bool {
        self.settings().iter().any(|setting| setting.contains(part))
    }
}

/// Runs a mode and takes its picture.
fn run(program: &Path, mode: &str, mib: u64, environment: &[(&str, &str)]) -> (Subject, Picture) {
    let subject = start(program, mode, mib, environment);
    let what = format!("{} {mode}", subject.stats["version"]);
    let picture = Picture::take(&subject.process.pid(), &what, MIB / 2);
    (subject, picture)
}

const OBJECTS: [RssKind; 5] = [
    RssKind::HeapMarked,
    RssKind::HeapNew,
    RssKind::HeapDead,
    RssKind::HeapFree,
    RssKind::HeapTail,
];

#[test]
fn planted_causes_are_named() {
    for (name, go) in toolchains() {
        let program = build(&name, &go, false, &[]).unwrap();
        let plant = |mode: &str| run(&program, mode, SIZE, &[]).1;
        plant("live").check_cause("live-heap", SIZE * MIB);
        let subject = start(&program, "idle", SIZE, &[]);
        let pid = subject.process.pid();
        // The runtime gives it back in time, unless it stands still.
        assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
        let idle = Picture::take(&pid, "idle", 0);
        let left = number(&idle.value["causes"][0]["bytes"]);
        idle.check_cause("idle-heap", left);
        assert!(left > SIZE * MIB / 2 && idle.is_advised("FreeOSMemory"), "{left}");
        let fragmented = plant("fragmented");
        fragmented.check_cause("fragmentation", SIZE * MIB * 31 / 32);
        assert!(fragmented.is_advised("memsight heap waste"), "{:?}", fragmented.settings());
        plant("anonymous").check_cause("anonymous", SIZE * MIB);
        plant("shared").check_cause("shared", SIZE * MIB);
        let file = plant("file");
        file.check_cause("files", SIZE * MIB);
        assert!(file.value["causes"][0]["detail"].as_str().unwrap().contains("/resident"));
        let stacks = run(&program, "stacks", 200, &[]).1;
        let bytes = stacks.kind(RssKind::StackInUse);
        stacks.check_cause("stacks", bytes);
        assert!((150..=201).contains(&(bytes / MIB)) && stacks.is_advised("memsight goroutines"));
        let (_, small) = run(&program, "nothing", 0, &[]);
        assert_eq!(small.settings(), [""; 0], "nothing is to gain");
        assert_eq!(small.value["causes"][0]["cause"], "code");
        let (_, headroom) = run(&program, "headroom", SIZE * 3, &[("GOGC", "400")]);
        assert!(headroom.kind(RssKind::HeapNew) > SIZE * MIB / 2, "{:#}", headroom.value["kinds"]);
        assert!(headroom.is_advised("GOGC=200 instead of 400"), "{:?}", headroom.settings());
    }
}

#[test]
fn figures_are_those_of_the_runtime() {
    for (name, go) in toolchains() {
        let program = build(&name, &go, false, &[]).unwrap();
        for mode in ["live", "fragmented", "huge"] {
            let (subject, picture) = run(&program, mode, SIZE, &[]);
            let stats = &subject.stats;
            let of = |key: &str| number(&stats[key]);
            // Every page of these heaps was written to.
            let (in_use, alloc) = (of("heap_in_use"), of("heap_alloc"));
            picture.near("in use", picture.kinds(&OBJECTS), in_use, 256 << 10);
            picture.near("objects", picture.kinds(&OBJECTS[..3]), alloc, 128 << 10);
            picture.near("free", picture.kinds(&OBJECTS[3..]), in_use - alloc, 256 << 10);
            let classes = picture.value["size_classes"].as_array().unwrap();
            let spans: u64 = classes.iter().map(|class| number(&class["span_bytes"])).sum();
            assert_eq!(spans, picture.kinds(&OBJECTS));
            // The structures in use, those kept for later, and the list of all.
            let structures = picture.kind(RssKind::Spans);
            let most = of("mspan_sys") + of("mspan_sys") / 10 + 65536;
            // Of few, one page that nobody looked at is many.
            let least = (of("mspan_in_use") * 9 / 10).saturating_sub(4096);
            assert!((least..=most).contains(&structures), "{structures} of {least}..{most}");
        }
        let (subject, picture) = run(&program, "stacks", SIZE, &[]);
        let of = |key: &str| number(&subject.stats[key]);
        let goroutines = &picture.value["goroutines"];
        let extra = number(&goroutines["count"]) - of("goroutines");
        assert!(extra < 20, "{extra} of the runtime's own");
        let (stacks, in_use) = (number(&goroutines["stack_bytes"]), of("stack_in_use"));
        assert!(stacks <= in_use && stacks > in_use - MIB, "{stacks} of {in_use}");
        let resident = picture.kinds(&[RssKind::StackInUse, RssKind::StackOther]);
        assert!(resident <= in_use && resident > in_use * 3 / 4, "{resident} of {in_use}");
        let (subject, picture) = run(&program, "released", SIZE, &[]);
        let released = number(&subject.stats["heap_released"]);
        assert!(picture.of("released_bytes") <= released, "{released}");
        assert!(picture.of("released_bytes") > SIZE * MIB * 9 / 10);
        assert!(picture.of("rss_bytes") < 8 * MIB, "{}", picture.of("rss_bytes"));
    }
}

#[test]
fn memory_of_c_is_told_apart() {
    for (name, go) in toolchains() {
        let Some(program) = build(&name, &go, true, &[]) else { return };
        let (_, arenas) = run(&program, "arenas", SIZE, &[]);
        arenas.check_cause("native", SIZE * MIB);
        assert!(arenas.kind(RssKind::MallocArena) > SIZE * MIB * 9 / 10);
        assert!(arenas.of("malloc_arenas") >= 2);
        let (_, large) = run(&program, "large", SIZE, &[]);
        large.check_cause("native", SIZE * MIB);
        large.near("large", large.kind(RssKind::MallocLarge), SIZE * MIB, 2 * MIB);
        let (subject, threads) = run(&program, "threads", SIZE, &[]);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", subject.process.pid())).unwrap();
        assert!(threads.of("threads").abs_diff(tasks.count() as u64) <= 2);
        // Each has touched at least one page of its own.
        assert!(threads.kind(RssKind::ThreadStack) >= 50 * 4096);
        let maps = threads.value["maps"].as_array().unwrap();
        let stacks = maps.iter().filter(|map| map["kinds"]["thread-stack"].is_number());
        assert!(stacks.count() > 50, "a stack for each thread");
        let (_, live) = run(&program, "live", SIZE, &[]);
        live.check_cause("live-heap", SIZE * MIB);
    }
}

#[test]
fn dead_objects_are_told_from_free_slots_until_they_are_swept() {
    for (name, go) in toolchains() {
        let program = build(&name, &go, false, &[]).unwrap();
        let mut command = Command::new(&program);
        command.args(["dead", &SIZE.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let subject = Process(command.spawn().unwrap());
        let pid = subject.pid();
        let is_stopped = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            stat.rsplit(") ").next().unwrap().starts_with('T')
        };
        let pause = std::time::Duration::from_millis(10);
        let waited = (0..1000).find(|_| is_stopped() || (std::thread::sleep(pause), false).1);
        assert!(waited.is_some(), "{name}: it does not stop itself");
        let picture = Picture::take(&pid, &name, 0);
        let dead = picture.kind(RssKind::HeapDead);
        // Half of the objects, and the list of all.
        assert!((SIZE / 4..=SIZE / 2 + 5).contains(&(dead / MIB)), "{name}: {dead} dead");
        // The rest of them was swept.
        let rest = [RssKind::HeapFree, RssKind::HeapIdle];
        assert!(dead + picture.kinds(&rest) > SIZE * MIB * 9 / 20, "{name}");
        // The other half, its list, and the large one.
        let marked = SIZE * MIB * 3 / 2 + SIZE * MIB / 32;
        picture.near("marked", picture.kind(RssKind::HeapMarked), marked, 2 * MIB);
    }
}

/// Whether programs may have huge pages here.
fn has_huge_pages() -> bool {
    let path = "/sys/kernel/mm/transparent_hugepage/enabled";
    let enabled = std::fs::read_to_string(path).unwrap_or_default();
    let has = enabled.contains("[always]") || enabled.contains("[madvise]");
    if !has {
        println!("skipped: no transparent huge pages ({})", enabled.trim());
    }
    has
}

#[test]
fn huge_pages_are_seen_and_what_they_bring_back() {
    if !has_huge_pages() {
        return;
    }
    for (name, go) in toolchains() {
        let program = build(&name, &go, false, &[]).unwrap();
        let (subject, huge) = run(&program, "huge", SIZE, &[]);
        let smaps = format!("/proc/{}/smaps", subject.process.pid());
        let smaps = std::fs::read_to_string(smaps).unwrap();
        let kib = smaps.lines().filter_map(|line| line.strip_prefix("AnonHugePages:"));
        let kib = kib.map(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().unwrap());
        let theirs = kib.sum::<u64>() * 1024;
        if theirs == 0 {
            println!("skipped: the kernel gave no huge pages");
            return;
        }
        huge.near("huge", huge.of("huge_bytes"), theirs, 4096);
        huge.check_cause("live-heap", SIZE * MIB);
        assert!(!huge.is_advised("disablethp"), "what is used may be huge");
        let (_, returned) = run(&program, "returned", SIZE, &[]);
        if returned.of("huge_bytes") == 0 {
            println!("skipped: the kernel makes no huge pages on demand (MADV_COLLAPSE)");
            return;
        }
        returned.check_cause("returned-heap", SIZE * MIB * 15 / 16);
        assert!(returned.is_advised("disablethp=1"), "{:?}", returned.settings());
    }
}

#[test]
fn programs_under_load_and_without_symbols() {
    for (name, go) in toolchains() {
        let program = build(&name, &go, false, &["-ldflags=-s -w"]).unwrap();
        let check = |picture: &Picture| {
            let open = picture.of("unattributed_bytes");
            assert!(open * 100 <= picture.of("rss_bytes"), "{}: {open} open", picture.what);
            let none = serde_json::json!([]);
            let what = "collections ended while";
            let warnings = picture.value["warnings"].as_array().unwrap();
            let others = warnings.iter().filter(|text| !text.as_str().unwrap().contains(what));
            assert_eq!(others.count(), 0, "{}: {:#}", picture.what, picture.value["warnings"]);
            assert_ne!(picture.value["size_classes"], none);
        };
        let (_, load) = run(&program, "load", SIZE, &[]);
        check(&load);
        assert!(load.kind(RssKind::GcBits) > 0 && load.kind(RssKind::RuntimeOther) > 0);
        run(&program, "live", SIZE, &[]).1.check_cause("live-heap", SIZE * MIB);
        let busy = start(&program, "busy", SIZE, &[]);
        for _ in 0..5 {
            let what = format!("{} busy", busy.stats["version"]);
            check(&Picture::take(&busy.process.pid(), &what, 32 * MIB));
        }
    }
}

#[test]
fn without_the_runtime_what_is_anonymous_stays_open() {
    let program = build("system", Path::new("go"), false, &[]).unwrap();
    let subject = start(&program, "live", SIZE, &[]);
    let rss = capture::resident::of_process(subject.process.0.id()).unwrap();
    let of = |kind: RssKind| rss.tally.of(kind).bytes;
    assert!(!rss.has_runtime && of(RssKind::Unattributed) > SIZE * MIB);
    assert_eq!(of(RssKind::HeapMarked) + of(RssKind::Anonymous), 0);
    assert!(of(RssKind::ExeText) > 0 && of(RssKind::ExeRodata) > 0);
    // Programs of another kind have no runtime to be read.
    let sleeper = Command::new("sleep").arg("60").spawn().unwrap();
    let sleeper = Process(sleeper);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let sleep = Picture::take(&sleeper.pid(), "sleep", 0);
    assert_eq!(sleep.of("unattributed_bytes"), 0);
    assert_eq!(sleep.value["causes"][0]["cause"], "code");
    assert_eq!(
        (&sleep.value["has_runtime"], &sleep.value["target"]["name"]),
        (&false.into(), &"sleep".into())
    );
}

#[test]
fn text_has_the_same_and_wrong_targets_are_refused() {
    let program = build("system", Path::new("go"), false, &[]).unwrap();
    let subject = start(&program, "fragmented", SIZE, &[]);
    let pid = subject.process.pid();
    let text = stdout(&["rss", &pid, "--sizes", "--maps"]);
    for part in [
        "\nGo heap ",
        "\n  free slots ",
        "\n    of 128 bytes ",
        "\nunattributed ",
        "by /proc/PID/status",
        "main cause: fragmentation",
        "-> ",
        "RETURNABLE",
        "exe-text",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains('\x1b') && !stdout(&["rss", &pid]).contains("RETURNABLE"));
    let colours = stdout(&["rss", &pid, "--color", "always"]);
    assert!(colours.contains("\x1b[1mGo heap"), "{colours}");
    for target in ["http://127.0.0.1:1", "core:/tmp/core"] {
        assert!(fails(&["rss", target], 2).contains("process on this machine"));
    }
    assert!(fails(&["rss", "4000000"], 2).contains("there is no process"));
}
