//! Kernel signals of real cgroups where they can be made, and of folders that look like them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use capture::events::{self, EventKind, KernelEvent, PsiTrigger, Signals, Source};
use capture::signals::{self, CgroupDirs};
use model::CgroupVersion;

const MIB: u64 = 1 << 20;

/// A cgroup of version 1 with a limit, removed at the end.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(name: &str, limit: u64) -> Option<Cgroup> {
        let own = signals::cgroup_dirs(std::process::id())?;
        if own.version != CgroupVersion::V1 {
            return None;
        }
        let dir = own.own.join(format!("memsight-{name}-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let cgroup = Cgroup(dir);
        cgroup.set_limit(limit);
        Some(cgroup)
    }

    fn set_limit(&self, limit: u64) {
        fs::write(self.0.join("memory.limit_in_bytes"), limit.to_string()).unwrap();
    }

    fn dirs(&self) -> CgroupDirs {
        let own = signals::cgroup_dirs(std::process::id()).unwrap();
        CgroupDirs { own: self.0.clone(), limit: self.0.clone(), pressure: None, ..own }
    }

    /// Runs a program in it that touches so many MiB and ends.
    fn touch(&self, mib: u64) {
        let script = format!(
            "echo $$ > {}/cgroup.procs; exec dd if=/dev/zero of=/dev/null bs={mib}M count=1",
            self.0.display()
        );
        let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status().unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The next event that `wanted` takes; others are let pass.
fn next(
    events: &Receiver<KernelEvent>,
    what: &str,
    wanted: impl Fn(&KernelEvent) -> bool,
) -> KernelEvent {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        match events.recv_timeout(Duration::from_secs(1)) {
            Ok(event) if wanted(&event) => return event,
            Ok(_) | Err(_) => {}
        }
    }
    panic!("no {what}");
}

fn percent(event: &KernelEvent) -> Option<u8> {
    match event.kind {
        EventKind::Threshold { percent, .. } => Some(percent),
        _ => None,
    }
}

#[test]
fn a_cgroup_of_version_1_tells_its_climb_and_its_kill() {
    let Some(cgroup) = Cgroup::new("climb", 64 * MIB) else {
        println!("skipped: no cgroup of version 1 can be made here");
        return;
    };
    let (signals, events) = Signals::start().unwrap();
    let (_, states) = signals.watch(&cgroup.dirs(), &[50, 90]);
    for source in [Source::UsageThreshold, Source::OomControl, Source::PressureLevel] {
        let state = states.iter().find(|state| state.source == source).unwrap();
        assert_eq!(state.works, Ok(()), "{source:?}");
    }
    cgroup.touch(40);
    let event = next(&events, "threshold", |event| percent(event).is_some());
    assert_eq!((percent(&event), event.source), (Some(50), Source::UsageThreshold));
    assert_eq!(event.cgroup.as_deref(), Some(cgroup.0.as_path()));
    cgroup.touch(200);
    next(&events, "90 percent", |event| percent(event) == Some(90));
    let kill = next(&events, "kill", |event| matches!(event.kind, EventKind::OomKill { .. }));
    assert_eq!(kill.kind, EventKind::OomKill { count: 1 });
    // Whatever wakes us up first.
    assert_ne!(kill.source, Source::Polled);
    // Another limit: other thresholds, once it was noticed.
    cgroup.set_limit(256 * MIB);
    std::thread::sleep(Duration::from_secs(6));
    cgroup.touch(150);
    let event = next(&events, "threshold of the new limit", |event| percent(event).is_some());
    match event.kind {
        EventKind::Threshold { percent: 50, limit_bytes, .. } => {
            assert_eq!(limit_bytes, 256 * MIB);
        }
        other => panic!("{other:?}"),
    }
    // Removed, and made anew under the same name.
    fs::remove_dir(&cgroup.0).unwrap();
    next(&events, "removal", |event| event.kind == EventKind::Removed);
    fs::create_dir(&cgroup.0).unwrap();
    cgroup.set_limit(64 * MIB);
    std::thread::sleep(Duration::from_secs(6));
    cgroup.touch(40);
    next(&events, "threshold of the new cgroup", |event| percent(event) == Some(50));
    assert_eq!(signals.dropped(), 0);
}

/// A folder with the files of version 2.
fn version_2(dir: &Path, usage: u64, kills: u64) -> CgroupDirs {
    fs::write(dir.join("memory.max"), "1000\n").unwrap();
    fs::write(dir.join("memory.current"), format!("{usage}\n")).unwrap();
    let events = format!("low 0\nhigh 3\nmax 0\noom 0\noom_kill {kills}\noom_group_kill 0\n");
    fs::write(dir.join("memory.events"), events).unwrap();
    let (mount, own, limit) = (dir.to_owned(), dir.to_owned(), dir.to_owned());
    CgroupDirs { version: CgroupVersion::V2, mount, own, limit, pressure: None }
}

#[test]
fn version_2_is_polled_for_what_has_no_event() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = version_2(dir.path(), 100, 0);
    let (signals, events) = Signals::start().unwrap();
    let (id, _) = signals.watch(&dirs, &[80]);
    std::thread::sleep(Duration::from_millis(200));
    version_2(dir.path(), 850, 0);
    let event = next(&events, "threshold", |event| percent(event) == Some(80));
    assert_eq!(event.source, Source::Polled);
    version_2(dir.path(), 850, 2);
    let kill = next(&events, "kill", |event| matches!(event.kind, EventKind::OomKill { .. }));
    assert_eq!(kill.kind, EventKind::OomKill { count: 2 });
    signals.unwatch(id);
    version_2(dir.path(), 850, 3);
    assert!(events.recv_timeout(Duration::from_secs(2)).is_err(), "it is no longer watched");
}

#[test]
fn what_does_not_work_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let dirs = CgroupDirs { version: CgroupVersion::V1, ..version_2(dir.path(), 1, 0) };
    let (signals, _events) = Signals::start().unwrap();
    let (_, states) = signals.watch(&dirs, &[80]);
    let state = |source| states.iter().find(|state| state.source == source).unwrap();
    let why = state(Source::OomControl).works.clone().unwrap_err();
    assert!(why.contains("cgroup.event_control"), "{why}");
    assert!(state(Source::Polled).works.is_err(), "memory.limit_in_bytes is not there");
    // The windows of whoever has no privilege; the kernel may have no pressure at all.
    let half = Duration::from_millis(500);
    let wanted = PsiTrigger { full: false, stall: half / 5, window: half };
    match signals.watch_pressure(&wanted) {
        Ok(taken) => assert!(taken.window == half || taken.window.as_secs() == 2, "{taken:?}"),
        Err(why) => println!("skipped: {why}"),
    }
    assert!(signals.watch_pressure(&PsiTrigger { window: half * 100, ..wanted }).is_err());
    for state in events::probe() {
        println!("{:?}", state);
    }
}
