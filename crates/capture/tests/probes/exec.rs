//! Every process is seen, with what it was and how it ended.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use capture::bpf::ExecProbe;
use model::probe::{ProcessChange, ProcessEnd, ProcessEvent};

use crate::permitted;

/// Reads until this many of these processes have ended.
fn until_ended(probe: &mut ExecProbe, pids: &[u32]) -> Vec<ProcessEvent> {
    let (mut events, begun) = (Vec::new(), Instant::now());
    let ended = |events: &[ProcessEvent], pid: &u32| {
        events.iter().any(|it| it.pid == *pid && matches!(it.change, ProcessChange::Exited { .. }))
    };
    while !pids.iter().all(|pid| ended(&events, pid)) {
        assert!(begun.elapsed() < Duration::from_secs(30), "not all ends were told");
        probe.read(Duration::from_millis(100), |event| events.push(event));
    }
    events
}

#[test]
fn hundred_of_hundred_processes_are_seen() {
    let Some(mut probe) = permitted(ExecProbe::open()) else { return };
    let mut expected: BTreeMap<u32, (u8, String)> = BTreeMap::new();
    for index in 0..100u8 {
        let mark = format!("number {index}");
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("exit {}", index % 7), &mark]);
        let mut child = shell.stdout(Stdio::null()).spawn().unwrap();
        expected.insert(child.id(), (index % 7, mark));
        child.wait().unwrap();
    }
    let pids: Vec<u32> = expected.keys().copied().collect();
    let events = until_ended(&mut probe, &pids);
    for (pid, (code, mark)) in &expected {
        let of: Vec<&ProcessEvent> = events.iter().filter(|event| event.pid == *pid).collect();
        // The pid may have been another's before, but not after.
        let executed = of.iter().any(|event| {
            matches!(&event.change, ProcessChange::Executed { arguments, parent, path }
                if arguments.last() == Some(mark) && *parent == std::process::id()
                    && path.ends_with("/sh"))
        });
        assert!(executed, "{of:#?}");
        let ProcessChange::Exited { end, peak_rss, .. } = &of.last().unwrap().change else {
            panic!("{of:#?}")
        };
        assert_eq!(*end, ProcessEnd::Code(*code));
        // The kernel counts what is resident in batches; a shell has some 1.5 MiB.
        assert!((256 << 10..64 << 20).contains(&peak_rss.0), "{of:#?}");
    }
    assert_eq!(probe.counts().dropped, 0);
}

#[test]
fn the_peak_is_that_of_the_largest_moment() {
    let Some(mut probe) = permitted(ExecProbe::open()) else { return };
    // Holds 200 MB for a moment, then nothing, and is killed.
    let script = "x = bytearray(200_000_000); del x; import os, signal; \
                  t = __import__('threading').Thread(target=lambda: None); t.start(); t.join(); \
                  os.kill(os.getpid(), signal.SIGTERM)";
    let Ok(mut child) = Command::new("python3").args(["-c", script]).spawn() else {
        println!("skipped: there is no python3");
        return;
    };
    let pid = child.id();
    child.wait().unwrap();
    let events = until_ended(&mut probe, &[pid]);
    let ends: Vec<_> = events.iter().filter(|event| event.pid == pid).collect();
    let exits = ends.iter().filter(|it| matches!(it.change, ProcessChange::Exited { .. }));
    assert_eq!(exits.count(), 1, "a thread that ends is no process that ends: {ends:#?}");
    let ProcessChange::Exited { end, peak_rss, lived } = &ends.last().unwrap().change else {
        panic!("{ends:#?}")
    };
    assert_eq!(*end, ProcessEnd::Signal(15));
    assert!((200_000_000..300_000_000).contains(&peak_rss.0), "{peak_rss}");
    assert!(!lived.is_zero());
}
