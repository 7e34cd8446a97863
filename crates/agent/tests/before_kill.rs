//! Programs that climb to the limit of their cgroup: what holds the memory is on disk before
//! the kernel kills them.
//!
//! `MEMSIGHT_OOM_RUNS` says how often at each speed; twice without it.

#[path = "../../../fixtures/climber.rs"]
mod climber;

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use agent::actions::{Outcome, Request, run};
use agent::captures::Captures;
use agent::config::ProbeUse;
use agent::rules::{Action, Take};
use agent::{Config, Event, Watch, Watched};
use capture::LiveTarget;
use capture::events::{EventKind, KernelEvent, Signals};
use capture::signals::{self, CgroupDirs};
use climber::{Cgroup, build, start};
use model::{Capture, CaptureKind, Profile, TargetSpec};
use store::{Options, Store};

const PERCENTS: [u8; 3] = [50, 75, 90];

/// The cgroup as the watch sees it.
fn dirs(cgroup: &Cgroup) -> CgroupDirs {
    let own = signals::cgroup_dirs(std::process::id()).unwrap();
    CgroupDirs { own: cgroup.0.clone(), limit: cgroup.0.clone(), pressure: None, ..own }
}

/// The share of the memory in use that the innermost frame `function` has.
fn share_of(profile: &Profile, function: &str) -> f64 {
    let names = profile.sample_types.iter().map(|known| profile.str(known.kind));
    let column = names.into_iter().position(|name| name == "inuse_space").unwrap();
    let values = &profile.samples.values[column];
    let (mut of_function, mut all) = (0, 0);
    for sample in profile.samples.ids() {
        let value = values[sample.0 as usize];
        all += value;
        let line = profile.lines(sample).next();
        let name = line.map(|line| profile.functions[line.function.0 as usize].name);
        if name.is_some_and(|name| profile.str(name) == function) {
            of_function += value;
        }
    }
    of_function as f64 / all as f64
}

/// How one climb went.
struct Climb {
    /// From the first threshold to the last capture on disk.
    took: Duration,
    /// From then to the end of the program.
    to_spare: Duration,
    share: f64,
}

fn climb(exe: &Path, dir: &Path, run_name: &str, command: &str) -> Climb {
    let cgroup = Cgroup::new(run_name).unwrap();
    let (mut child, mut stdin, _out) = start(exe, &cgroup);
    let store = Arc::new(Store::open(&dir.join(run_name), Options::default()).unwrap());
    let captures = Captures::new(Arc::clone(&store), Arc::new(|_| {}), 0.03);
    let live = LiveTarget::attach(&TargetSpec::Pid(child.id())).unwrap();
    let target = store.put_target(live.target(), capture::now()).unwrap();
    let (signals, events) = Signals::start().unwrap();
    signals.watch(&dirs(&cgroup), &PERCENTS);
    let (ended, end) = channel();
    writeln!(stdin, "{command}").unwrap();
    let waiter = std::thread::spawn(move || {
        let status = child.wait().unwrap();
        ended.send(Instant::now()).unwrap();
        status
    });
    let event = loop {
        let event = events.recv_timeout(Duration::from_secs(100)).unwrap();
        if matches!(event.kind, EventKind::Threshold { .. }) {
            break event;
        }
    };
    let noticed = Instant::now();
    let stop = AtomicBool::new(false);
    let request = Request {
        rule: "before-kill",
        target,
        live: &live,
        value: None,
        reason: "climbs",
        is_urgent: true,
        stop: &stop,
        glimpse: None,
    };
    let kinds = vec![Take::Kind(CaptureKind::Heap), Take::Kind(CaptureKind::Goroutine)];
    let actions = [Action::Capture { kinds, name: None }];
    let (outcomes, outputs) = run(&captures, &request, &actions, &mut |_, _| Ok(()));
    let stored = Instant::now();
    let end = end.recv_timeout(Duration::from_secs(100)).unwrap();
    let status = waiter.join().unwrap();
    assert!(!status.success(), "{run_name}: it was killed");
    assert!(matches!(outcomes[0], Outcome::Done(_)), "{run_name}: {event:?} {outcomes:?}");
    assert!(stored < end, "{run_name}: killed {:?} before that", stored - end);
    drop((captures, store));
    // As whoever looks at it later sees it.
    let store = Store::open(&dir.join(run_name), Options::default()).unwrap();
    let of_kind = |kind| -> Capture {
        let output = outputs.iter().find(|output| output.capture.kind == kind).unwrap();
        store.capture(output.capture.id).unwrap()
    };
    let heap = of_kind(CaptureKind::Heap);
    assert_eq!(heap.reason, "before-kill");
    let profile = decode::pprof::read(&store.read_capture(heap.id).unwrap()).unwrap().profile;
    let goroutines = store.read_capture(of_kind(CaptureKind::Goroutine).id).unwrap();
    assert!(!decode::pprof::read(&goroutines).unwrap().profile.samples.is_empty());
    let share = share_of(&profile, "main.hoard");
    Climb { took: stored - noticed, to_spare: end - stored, share }
}

/// The whole way: a watch finds the program, hears from the kernel, and acts.
#[test]
fn a_watch_acts_on_what_the_kernel_tells() {
    let Some(cgroup) = Cgroup::new("watch") else {
        println!("skipped: no cgroup of version 1 with a limit can be made here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let (mut child, mut stdin, _out) = start(&build(dir.path()), &cgroup);
    let store = Arc::new(Store::open(&dir.path().join("store"), Options::default()).unwrap());
    let (publish, published) = channel();
    let config = Config {
        exclude: Vec::new(),
        observe: std::time::Duration::from_secs(1),
        targets: vec![TargetSpec::Pid(child.id())],
        all_go: false,
        every: Duration::from_secs(10),
        graphs: false,
        oom_probe: ProbeUse::Never,
        exec_probe: ProbeUse::Never,
        cpu_share: 0.02,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let publish = std::sync::Mutex::new(publish);
    let publish = Arc::new(move |event| drop(publish.lock().unwrap().send(event)));
    let watch = Watch::new(Arc::clone(&store), config, publish, Arc::clone(&stop));
    let (captures, heard) = (watch.captures(), channel());
    let sender = std::sync::Mutex::new(heard.0);
    let act = move |event: &KernelEvent, about: &[Arc<Watched>]| {
        if let (EventKind::Threshold { percent, .. }, [watched]) = (event.kind, about) {
            let kinds = vec![Take::Kind(CaptureKind::Heap)];
            let stop = AtomicBool::new(false);
            let request = Request {
                rule: "threshold",
                target: watched.id,
                live: &watched.live,
                value: Some(percent.into()),
                reason: "climbs",
                is_urgent: true,
                stop: &stop,
                glimpse: None,
            };
            let actions = [Action::Capture { kinds, name: None }];
            run(&captures, &request, &actions, &mut |_, _| Ok(()));
        }
        let _ = sender.lock().unwrap().send((event.kind, about.len()));
    };
    let watch = watch.on_kernel(PERCENTS.to_vec(), Arc::new(act));
    let registry = watch.registry();
    let thread = std::thread::spawn(move || watch.run());
    let is_found = |event: &Event| matches!(event, Event::TargetFound { .. });
    published.iter().find(is_found).unwrap();
    while registry.all().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    writeln!(stdin, "climb 400 1000").unwrap();
    assert!(!child.wait().unwrap().success());
    let next = || heard.1.recv_timeout(Duration::from_secs(30)).unwrap();
    while !matches!(next(), (EventKind::OomKill { count: 1 }, _)) {}
    published.iter().find(|event| matches!(event, Event::TargetEnded { .. })).unwrap();
    assert!(registry.all().is_empty());
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    let target = store.targets().unwrap()[0].id;
    let taken = store.captures(target, Some(CaptureKind::Heap), 100).unwrap();
    assert!(taken.iter().any(|capture| capture.reason == "threshold"), "{taken:?}");
    assert!(taken.iter().any(|capture| capture.reason == "schedule"), "{taken:?}");
}

#[test]
fn what_holds_the_memory_is_on_disk_before_the_kill() {
    if Cgroup::new("probe").is_none() {
        println!("skipped: no cgroup of version 1 with a limit can be made here");
        return;
    }
    let runs: usize =
        std::env::var("MEMSIGHT_OOM_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let dir = tempfile::tempdir().unwrap();
    let exe = build(dir.path());
    let speeds = [("step", "step 400"), ("seconds", "climb 400 3000"), ("slow", "climb 400 12000")];
    for (speed, command) in speeds {
        let mut climbs: Vec<Climb> = (0..runs)
            .map(|run| climb(&exe, dir.path(), &format!("{speed}-{run}"), command))
            .collect();
        let least = climbs.iter().map(|climb| climb.share).fold(1.0, f64::min);
        assert!(least > 0.9, "{speed}: main.hoard has {least}");
        climbs.sort_by_key(|climb| climb.took);
        let (median, longest) = (climbs[climbs.len() / 2].took, climbs[climbs.len() - 1].took);
        let spare = climbs.iter().map(|climb| climb.to_spare).min().unwrap();
        println!(
            "{speed}: {runs} of {runs} before the kill; heap and goroutines on disk {median:.1?} \
             after the threshold (at most {longest:.1?}), with {spare:.1?} or more to spare; \
             main.hoard has {:.0} % or more",
            least * 100.0
        );
    }
}
