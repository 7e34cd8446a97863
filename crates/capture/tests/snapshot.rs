//! Snapshots of a Go program that does all a snapshot could disturb, and checks its own
//! answers: see `frozen/main.go`. What memory holds is compared with what the program
//! says it holds; afterwards the program must be as it was before.

#[path = "frozen/cores.rs"]
mod cores;
#[path = "frozen/subject.rs"]
mod subject;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use capture::snapshot::{Frozen, Method, Options, take};
use capture::{CaptureError, ErrorKind, ProcessTarget, ScratchColumns};
use decode::goheap::Keep;
use decode::goruntime::{Memory, MemoryImage};
use model::Addr;

use subject::{
    Figures, MEGABYTES, Subject, alone, check_contents, check_graph, children, executable, words,
};

fn options(method: Method, dir: &Path) -> Options {
    // The machine that runs the tests may be a crowded one.
    let stop_max = Duration::from_secs(20);
    Options { method, scratch_dir: dir.to_owned(), stop_max, ..Options::default() }
}

fn snapshot(pid: u32, method: Method, dir: &Path) -> Frozen {
    take(pid, &options(method, dir), &mut |_, _| {})
        .unwrap_or_else(|error| panic!("{}: {error}", method.name()))
}

/// Reports whether what is written all the time is of one moment: generations are
/// written in order, so that memory holds one up to some place and the one before it
/// from there on.
fn is_of_one_moment(image: &MemoryImage<'_>, figures: &Figures) -> bool {
    let pairs = words(image, figures.number("pairs"), figures.number("pair_count") * 2);
    let steps = pairs.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let (first, last) = (pairs[0], pairs[pairs.len() - 1]);
    let is_ordered = pairs.is_sorted_by(|a, b| a >= b);
    let ahead = image.read_u64(Addr(figures.number("ahead"))).unwrap();
    let behind = image.read_u64(Addr(figures.number("behind"))).unwrap();
    steps <= 1 && is_ordered && first - last <= 1 && ahead.wrapping_sub(behind) <= 1
}

fn check_threads(frozen: &Frozen) {
    let ids: BTreeSet<u32> = frozen.threads.iter().map(|thread| thread.thread).collect();
    assert!(ids.len() >= 4 && ids.len() == frozen.threads.len(), "{ids:?}");
    assert!(ids.contains(&frozen.pid));
    for thread in &frozen.threads {
        let mapping = |addr: Addr| {
            let holds =
                |mapping: &&decode::procfs::Mapping| (mapping.start..mapping.end).contains(&addr.0);
            frozen.mappings.iter().find(holds).unwrap_or_else(|| panic!("{thread:?}"))
        };
        assert!(mapping(thread.pc).permissions.contains('x'), "{thread:?}");
        assert!(mapping(thread.sp).permissions.contains('w'), "{thread:?}");
        assert_eq!(thread.general.len(), 16);
    }
}

#[test]
fn a_snapshot_is_what_the_program_holds_at_one_moment() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::start(None);
    let figures = subject.report();
    for method in [Method::Fork, Method::Stop, Method::Fork, Method::Stop, Method::Fork] {
        let mut calls = Vec::new();
        let mut progress = |done, total| calls.push((done, total));
        let frozen = take(subject.pid(), &options(method, dir.path()), &mut progress).unwrap();
        let image = frozen.image();
        check_contents(&image, &figures);
        assert!(is_of_one_moment(&image, &figures), "{}", method.name());
        check_threads(&frozen);
        assert!(frozen.copied_bytes > MEGABYTES << 20 && frozen.is_consistent());
        assert!(calls.is_sorted() && calls.iter().all(|(done, total)| done <= total));
        assert_eq!(frozen.warnings, Vec::<String>::new());
        assert!(frozen.auxv.len() >= 16 * 10 && frozen.auxv.len().is_multiple_of(16));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "the scratch file has a name");
    }
    subject.check_undisturbed("five snapshots");
    // Reading without stopping must show that this test can fail.
    let torn = (0..200).any(|_| {
        let frozen = snapshot(subject.pid(), Method::ReadOnly, dir.path());
        assert!(!frozen.is_consistent() && frozen.threads.is_empty());
        !is_of_one_moment(&frozen.image(), &figures)
    });
    assert!(torn, "200 copies of a running program, and all are of one moment");
    assert_eq!(children(subject.pid()), []);
}

/// How many descriptors a subject keeps open that nobody disturbed.
fn files_of_a_fresh_one(dir: &Path) -> usize {
    let mut fresh = Subject::start(Some(&dir.join("lock.fresh")));
    fresh.wait_until_all_works();
    fresh.open_files()
}

#[test]
fn a_hundred_snapshots_leave_nothing() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let files = files_of_a_fresh_one(dir.path());
    let mut subject = Subject::start(Some(&dir.path().join("lock")));
    let mut pauses: Vec<Duration> = Vec::new();
    for round in 0..100 {
        let method = if round % 10 == 9 { Method::Stop } else { Method::Fork };
        let frozen = snapshot(subject.pid(), method, dir.path());
        assert_eq!(frozen.warnings, Vec::<String>::new());
        pauses.push(frozen.pause);
    }
    let gap = Duration::from_nanos(subject.report().number("gap"));
    let figures = subject.check_undisturbed("a hundred snapshots");
    assert!(figures.number("execs") > 0);
    assert_eq!(subject.open_files(), files);
    assert_eq!(children(subject.pid()), []);
    pauses.sort_unstable();
    println!("pauses: median {:?}, longest {:?}; longest gap {gap:?}", pauses[50], pauses[99]);
}

#[test]
fn signals_by_the_thousand_get_through() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::start(None);
    let pid = subject.pid().cast_signed();
    std::thread::scope(|scope| {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            // What Go itself sends to preempt goroutines; any thread may take it.
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                // SAFETY: a signal the subject handles.
                unsafe { libc::kill(pid, libc::SIGURG) };
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        for _ in 0..20 {
            snapshot(subject.pid(), Method::Fork, dir.path());
        }
        drop(stop);
    });
    subject.check_undisturbed("signals");
    assert_eq!(children(subject.pid()), []);
}

/// A stream of numbers that looks random and is the same each time.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// The example that takes snapshots; `cargo test` has built it.
fn example() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let path = deps.parent().unwrap().parent().unwrap().join("examples/snapshot");
    if !path.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "-p", "memsight-capture", "--example", "snapshot"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        assert!(cargo.status().unwrap().success(), "the example builds");
    }
    path
}

#[test]
fn kill_nine_at_any_moment_leaves_nothing() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let files = files_of_a_fresh_one(dir.path());
    let mut subject = Subject::start(Some(&dir.path().join("lock")));
    let pid = subject.pid();
    let mut state = 0x2545_f491_4f6c_dd1d;
    let example = example();
    for round in 0..50 {
        let method = if round % 5 == 4 { "stop" } else { "fork" };
        let mut memsight = Command::new(&example)
            .args([&pid.to_string(), method])
            .arg(dir.path())
            .arg("1000")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // From before the first ptrace call to some snapshots later.
        std::thread::sleep(Duration::from_micros(random(&mut state) % 700_000));
        memsight.kill().unwrap();
        memsight.wait().unwrap();
        wait_until_let_go(pid, round);
    }
    subject.check_undisturbed("fifty kills");
    assert_eq!(subject.open_files(), files);
    assert_eq!(children(pid), []);
}

/// Waits for the tracer, which needs a moment to undo what was begun.
fn wait_until_let_go(pid: u32, round: u32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    // One that was killed before its first call leaves a tracer that has yet to begin.
    let is_ours = |(child, state): (u32, char)| state == 'Z' || is_traced(child);
    while is_traced(pid) || children(pid).into_iter().any(is_ours) {
        assert!(Instant::now() < deadline, "round {round}: {:?}", children(pid));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn is_traced(pid: u32) -> bool {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    tasks.filter_map(Result::ok).any(|task| {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        status.contains("TracerPid:\t") && !status.contains("TracerPid:\t0\n")
    })
}

#[test]
fn kill_nine_of_the_tracer_is_undone_by_memsight() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(executable());
    // A clone that is let go in the wrong moment dies with a Go traceback.
    command.arg(MEGABYTES.to_string()).arg(dir.path().join("lock")).stderr(Stdio::null());
    let mut subject = Subject::spawn(&mut command);
    let pid = subject.pid().to_string();
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut lost = 0;
    for _ in 0..20 {
        let mut memsight = Command::new(example())
            .args([&pid, "fork"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let tracer = loop {
            match children(memsight.id()).first() {
                Some((tracer, _)) => break Some(*tracer),
                None if memsight.try_wait().unwrap().is_some() => break None,
                None => {}
            }
        };
        std::thread::sleep(Duration::from_micros(random(&mut state) % 60_000));
        // SAFETY: the tracer is a child of our child, which is its parent to the end.
        tracer.inspect(|tracer| unsafe {
            libc::kill(tracer.cast_signed(), libc::SIGKILL);
        });
        let output = memsight.wait_with_output().unwrap();
        lost += u32::from(String::from_utf8_lossy(&output.stderr).contains("was killed"));
    }
    println!("20 tracers, {lost} killed before they were done");
    assert!(lost > 0, "no tracer was killed while it worked");
    subject.check_undisturbed("killed tracers");
    assert_eq!(subject.ask("rest"), "resting\n");
    assert_eq!(children(subject.pid()), []);
}

#[test]
fn the_runtime_is_read_from_a_snapshot_as_from_the_process() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::start(None);
    let figures = subject.report();
    let target = ProcessTarget::attach(subject.pid()).unwrap();
    let frozen = target.freeze(&options(Method::Fork, dir.path()), &mut |_, _| {}).unwrap();
    let program = target.program(&frozen);
    let process = program.process().unwrap();
    // 2,000 goroutines wait, in the image as in the process.
    let goroutines = process.goroutines(0).unwrap();
    assert!(goroutines.user_count() >= 2000, "{}", goroutines.user_count());
    let heap = process.runtime_memory().heap_alloc_bytes.unwrap();
    assert!(heap > MEGABYTES << 20 && heap < (MEGABYTES << 20) * 4, "{heap}");
    let columns = ScratchColumns::new(dir.path());
    check_graph(&program.object_graph(Keep::Nothing, &columns).unwrap(), &figures, false);
}

#[test]
fn a_stopped_program_stays_stopped() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut subject = Subject::start(None);
    let figures = subject.report();
    let pid = subject.pid().cast_signed();
    // SAFETY: our own child process.
    unsafe { libc::kill(pid, libc::SIGSTOP) };
    let wait_for_stop = |what: &str| {
        let deadline = Instant::now() + Duration::from_secs(60);
        let stat = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        // A thread that was let go needs the processor once to stop again.
        while !stat().contains("State:\tT") {
            assert!(Instant::now() < deadline, "{what}: {}", stat());
            std::thread::sleep(Duration::from_millis(1));
        }
    };
    wait_for_stop("SIGSTOP");
    for method in [Method::Fork, Method::Stop] {
        let frozen = snapshot(subject.pid(), method, dir.path());
        assert!(is_of_one_moment(&frozen.image(), &figures));
        assert_eq!(frozen.warnings, Vec::<String>::new());
        wait_for_stop(method.name());
    }
    let ticks = stopped_ticks(subject.pid(), &figures, dir.path());
    assert_eq!(ticks, stopped_ticks(subject.pid(), &figures, dir.path()), "it ran on");
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGCONT) };
    subject.check_undisturbed("a stopped program");
    assert_eq!(children(subject.pid()), []);
}

/// A value the program changes all the time when it runs.
fn stopped_ticks(pid: u32, figures: &Figures, dir: &Path) -> u64 {
    let frozen = snapshot(pid, Method::ReadOnly, dir);
    frozen.image().read_u64(Addr(figures.number("ahead"))).unwrap()
}

fn refusal(pid: u32, options: &Options) -> CaptureError {
    take(pid, options, &mut |_, _| {}).expect_err("refused")
}

#[test]
fn what_cannot_be_cloned_safely_is_refused_with_the_reason() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let fork = options(Method::Fork, dir.path());
    let error = refusal(std::process::id(), &fork);
    assert!(error.to_string().contains("memsight itself"), "{error}");

    let mut command = Command::new(executable());
    command.arg("1");
    // SAFETY: only system calls between fork and exec.
    unsafe { command.pre_exec(allow_everything_by_seccomp) };
    let mut filtered = Subject::spawn(&mut command);
    let error = refusal(filtered.pid(), &fork);
    assert!(error.to_string().contains("seccomp"), "{error}");
    assert!(error.next_step().unwrap().contains("--stop"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::BadInput);
    let figures = filtered.report();
    let may_stop = Options { may_stop: true, ..fork.clone() };
    let frozen = take(filtered.pid(), &may_stop, &mut |_, _| {}).unwrap();
    assert_eq!(frozen.method, Method::Stop);
    check_contents(&frozen.image(), &figures);
    filtered.check_undisturbed("a seccomp filter");

    let mut traced = Subject::start(None);
    let pid = traced.pid().cast_signed();
    // SAFETY: traces our own child without stopping it.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0) };
    assert_eq!(seized, 0);
    let error = refusal(traced.pid(), &options(Method::Stop, dir.path()));
    assert!(error.to_string().contains("traces it"), "{error}");
    traced.child.kill().unwrap();

    let mut dead = Command::new("true").spawn().unwrap();
    let status = format!("/proc/{}/status", dead.id());
    while !fs::read_to_string(&status).unwrap().contains("State:\tZ") {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(refusal(dead.id(), &fork).kind(), ErrorKind::Gone);
    dead.wait().unwrap();
    assert!(matches!(refusal(dead.id(), &fork), CaptureError::NoProcess(_)));
}

/// A filter that allows every call; the kernel counts it as one all the same.
fn allow_everything_by_seccomp() -> std::io::Result<()> {
    let allow = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW };
    let program = libc::sock_fprog { len: 1, filter: std::ptr::from_ref(&allow).cast_mut() };
    // SAFETY: the program outlives the calls, which copy it.
    let result = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &program, 0, 0)
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

#[test]
fn a_tight_memory_limit_is_respected() {
    let _alone = alone();
    let Some(group) = Cgroup::with_limit(200 << 20) else {
        println!("skipped: a memory cgroup cannot be made here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(executable());
    command.arg("100").env("GOMEMLIMIT", "150MiB");
    let procs = group.0.join("cgroup.procs");
    // SAFETY: only system calls between fork and exec.
    unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
    let mut subject = Subject::spawn(&mut command);
    let error = refusal(subject.pid(), &options(Method::Fork, dir.path()));
    let text = error.to_string();
    assert!(text.contains("a clone may take") && text.contains("limit of 200 MiB"), "{text}");
    assert_eq!(children(subject.pid()), []);
    // Stopping needs no memory of the group's.
    let figures = subject.report();
    let frozen = snapshot(subject.pid(), Method::Stop, dir.path());
    check_contents(&frozen.image(), &figures);
    subject.check_undisturbed("a memory limit");
}

/// A memory cgroup of our own, below the one we are in.
struct Cgroup(PathBuf);

impl Cgroup {
    fn with_limit(bytes: u64) -> Option<Cgroup> {
        let text = fs::read_to_string("/proc/self/cgroup").ok()?;
        let paths = decode::procfs::cgroup(&text);
        let (root, path, limit) = match (paths.memory_v1, paths.unified) {
            (Some(path), _) => ("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes"),
            (None, Some(path)) => ("/sys/fs/cgroup", path, "memory.max"),
            _ => return None,
        };
        let dir = Path::new(root).join(path.trim_start_matches('/'));
        let dir = dir.join(format!("memsight-test-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let group = Cgroup(dir);
        fs::write(group.0.join(limit), bytes.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes are being buried.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn strangers_may_not_trace() {
    let _alone = alone();
    // SAFETY: asks for our own user id.
    if unsafe { libc::geteuid() } != 0 {
        println!("skipped: becoming another user needs root");
        return;
    }
    let mut subject = Subject::start(None);
    let dir = tempfile::tempdir().unwrap();
    // The other user may not look into our build directory.
    let copy = dir.path().join("snapshot");
    fs::copy(example(), &copy).unwrap();
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(dir.path(), everybody).unwrap();
    let output =
        Command::new(&copy).arg(subject.pid().to_string()).uid(65534).gid(65534).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(text.contains("not permitted") && text.contains("CAP_SYS_PTRACE"), "{text}");
    subject.check_undisturbed("a stranger");
}
