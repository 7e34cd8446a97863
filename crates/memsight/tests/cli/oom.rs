//! The agent as production runs it, and programs that climb to the limit of their cgroup: what
//! holds the memory is stored before the kernel kills, and named; a healthy saw-tooth is left alone.
//!
//! `MEMSIGHT_OOM_RUNS` says how often at each speed; once without it.

use std::fs;
use std::io::{BufRead, Write};
use std::time::Duration;

use serde_json::Value;

use crate::agent::Agent;
use crate::climber::{Cgroup, build, start};
use crate::probe::permitted;
use crate::support::Process;

/// The reason of captures that are of the moment of a kill.
const KILL: &str = "oom-kill";

/// A heap profile of the target that was taken for such a reason, once it is there.
fn heap(agent: &Agent, target: i64, is_it: impl Fn(&str) -> bool) -> i64 {
    for _ in 0..100 {
        let captures = agent.json(&format!("/api/v1/targets/{target}/captures?kind=heap"));
        let is_it = |capture: &&Value| is_it(capture["reason"].as_str().unwrap());
        if let Some(capture) = captures.as_array().unwrap().iter().find(is_it) {
            return capture["id"].as_i64().unwrap();
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let acts = agent.json(&format!("/api/v1/watch/history?target={target}"));
    panic!("nothing was captured before the kill: {acts:#}");
}

/// The kill stands among the events, once, with its cause.
fn check_event(agent: &Agent, target: i64, pid: u32, cgroup: &Cgroup) {
    let told = || -> Vec<Value> {
        let events = agent.json("/api/v1/events/log?kinds=oom-kill");
        let fields = events.as_array().unwrap().iter().map(|event| event["fields"].clone());
        fields.filter(|fields| fields["pid"] == pid).collect()
    };
    // What happens is written a few times a second.
    for _ in 0..50 {
        if !told().is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let (told, name) = (told(), cgroup.0.file_name().unwrap().to_str().unwrap());
    let [fields] = told.as_slice() else { panic!("{told:#?}") };
    assert_eq!((&fields["target"], &fields["cause"]), (&target.into(), &"cgroup".into()));
    assert!(fields["cgroup"].as_str().unwrap().ends_with(name), "{fields}");
    assert_eq!(fields["limit_bytes"], 256 << 20, "{fields}");
}

#[test]
fn what_kills_is_captured_before_and_named() {
    let Some(cgroup) = Cgroup::new("oom") else {
        println!("skipped: no cgroup of version 1 with a limit can be made here");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let exe = build(dir.path());
    let config = dir.path().join("memsight.yaml");
    let name = dir.path().file_name().unwrap().to_str().unwrap();
    let text = format!(
        "web: {{listen: '127.0.0.1:0'}}\ntargets: {{watch: ['name:{name}/climb']}}\n\
         global: {{scrape_interval: 2s}}\n"
    );
    // Limits of rules count by service, and this one is killed again and again.
    let rules = "rules:\n  - name: near-limit\n    when: {signal: limit_share, above: 75%}\n    \
                 do: [{capture: [heap, goroutine]}]\n  - name: oom-kill\n    \
                 when: {event: oom-kill}\n    do: [{capture: [heap, goroutine]}]\n";
    fs::write(&config, text + rules).unwrap();
    let agent = Agent::start(&config, &[]);
    let has_probe = permitted();
    let runs = std::env::var("MEMSIGHT_OOM_RUNS").ok().and_then(|text| text.parse().ok());
    for run in 0..runs.unwrap_or(1) {
        for command in ["step 400", "climb 400 3000", "climb 400 12000"] {
            let (child, mut stdin, _out) = start(&exe, &cgroup);
            let mut process = Process(child);
            let pid = process.0.id();
            let target = agent.target(pid);
            // The kernel knows it a moment after the watch does.
            std::thread::sleep(Duration::from_secs(1));
            writeln!(stdin, "{command}").unwrap();
            assert!(!process.0.wait().unwrap().success(), "it was killed");
            let of_rule = heap(&agent, target, |reason| !["schedule", KILL].contains(&reason));
            let of_kill = has_probe.then(|| heap(&agent, target, |reason| reason == KILL));
            for id in [of_rule].into_iter().chain(of_kill) {
                let table = agent.json(&format!("/api/v1/captures/{id}/table?limit=1"));
                assert_eq!(table["rows"][0]["function"], "main.hoard", "{run} {command}: {table}");
            }
            if has_probe {
                check_event(&agent, target, pid, &cgroup);
            }
        }
    }

    // Garbage up and down, well below and up to three quarters of the limit: nobody captures.
    let (child, mut stdin, mut out) = start(&exe, &cgroup);
    let process = Process(child);
    let target = agent.target(process.0.id());
    for _ in 0..4 {
        writeln!(stdin, "garbage 300").unwrap();
        out.read_line(&mut String::new()).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    let acts = agent.json(&format!("/api/v1/watch/history?target={target}"));
    assert_eq!(acts, Value::Array(Vec::new()));
}
