//! OOM kills of a cgroup: who, why, and which code filled its heap.

use std::io::Write;
use std::time::{Duration, Instant};

use capture::ProcessTarget;
use capture::bpf::{OomEvent, OomProbe, VictimProfile};
use model::Profile;
use model::probe::OomVictim;

use crate::climber::{self, Cgroup};
use crate::permitted;

/// How often a program is killed; `MEMSIGHT_OOM_RUNS` for more.
const RUNS: usize = 3;

/// Bytes in use by the function that is innermost in the program.
fn in_use(profile: &Profile, function: &str) -> (i64, i64) {
    let column = profile.column("inuse_space").unwrap();
    let (mut of_function, mut all) = (0, 0);
    for sample in profile.samples.ids() {
        let bytes = profile.samples.row(sample).nth(column).unwrap();
        let name = |line: model::Line| {
            profile.str(profile.functions[line.function.0 as usize].name).to_owned()
        };
        all += bytes;
        if profile.lines(sample).map(name).any(|name| name == function) {
            of_function += bytes;
        }
    }
    (of_function, all)
}

#[test]
fn each_kill_is_told_with_the_heap_of_the_moment() {
    let Some(mut probe) = permitted(OomProbe::open()) else { return };
    let Some(cgroup) = Cgroup::new("oom-probe") else {
        println!("skipped: no cgroup of version 1 can be made here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let exe = climber::build(dir.path());
    let runs = std::env::var("MEMSIGHT_OOM_RUNS").ok().and_then(|runs| runs.parse().ok());
    for run in 0..runs.unwrap_or(RUNS) {
        let (mut child, mut stdin, _stdout) = climber::start(&exe, &cgroup);
        let target = ProcessTarget::attach(child.id()).unwrap();
        probe.watch(&target).unwrap();
        // As fast as it can: nobody reads a profile before that from outside.
        writeln!(stdin, "climb 400 0").unwrap();
        let (victim, copy) = wait(&mut probe, child.id());
        child.wait().unwrap();
        check_victim(&victim, &cgroup);
        assert_eq!(copy.unread, 0, "run {run}");
        let profile = target.heap_profile_in(&copy).unwrap();
        let (grown, all) = in_use(&profile, "main.hoard");
        // What the cgroup allows is full of what it allocated; half of it may not be sampled.
        assert!(grown > 100 << 20 && grown > all * 9 / 10, "run {run}: {grown} of {all}");
        probe.forget(target.pid());
    }
    assert_eq!(probe.counts().dropped, 0);
}

fn wait(probe: &mut OomProbe, pid: u32) -> (OomVictim, VictimProfile) {
    let (mut victims, mut copies, begun) = (Vec::new(), Vec::new(), Instant::now());
    while victims.is_empty() || copies.is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{victims:?}, {} copies", copies.len());
        probe.read(Duration::from_millis(100), |event| match event {
            OomEvent::Killed(victim) if victim.pid == pid => victims.push(victim),
            OomEvent::Profile(copy) if copy.pid == pid => copies.push(copy),
            OomEvent::Killed(_) | OomEvent::Profile(_) => {}
        });
    }
    assert_eq!((victims.len(), copies.len()), (1, 1), "{victims:?}");
    (victims.remove(0), copies.remove(0))
}

fn check_victim(victim: &OomVictim, cgroup: &Cgroup) {
    assert_eq!(victim.name, "climb");
    let name = cgroup.0.file_name().unwrap().to_str().unwrap();
    assert!(victim.cgroup.ends_with(&format!("/{name}")), "{victim:?}");
    let limit = victim.limit.as_ref().unwrap_or_else(|| panic!("{victim:?}"));
    assert_eq!((&limit.cgroup, limit.limit.0), (&victim.cgroup, 256 << 20), "{victim:?}");
    assert!(limit.usage.0 > 255 << 20, "{victim:?}");
    // Nearly all of it is the program's own; processors may hold back some pages of the count.
    assert!((200 << 20..260 << 20).contains(&victim.anonymous.0), "{victim:?}");
}
