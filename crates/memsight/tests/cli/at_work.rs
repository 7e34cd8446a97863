//! What the agent shows of probes while they look, and of the machine's processes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::agent::{Agent, wait_for};
use crate::probe::permitted;
use crate::support::shop;

fn configured(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("memsight.yaml");
    let common = "web: {listen: '127.0.0.1:0', allow_probes: true}\n";
    std::fs::write(&path, format!("{common}{text}")).unwrap();
    path
}

/// What the lives of a process say that has this in its command line.
fn lives(agent: &Agent, mark: &str) -> Value {
    agent.json(&format!("/api/v1/processes/timeline?limit=5000&name={mark}"))
}

#[test]
fn a_probe_shows_what_it_has_found_and_finds_no_less_for_it() {
    if !permitted() {
        return;
    }
    let ((shop, _), dir) = (shop(), tempfile::tempdir().unwrap());
    let targets = format!("targets: {{watch: [{}]}}\n", shop.pid());
    let agent = Agent::start(&configured(dir.path(), &targets), &[]);
    let target = agent.target(shop.0.id());
    let path = format!("/api/v1/targets/{target}/probes/alloc");
    let (kept, last) = std::thread::scope(|scope| {
        let asked = scope.spawn(|| agent.post(&format!("{path}?seconds=6")));
        let (mut last, mut pictures) = (Value::Null, 0);
        wait_for("the probe to begin", || {
            let list = agent.json("/api/v1/probes");
            let run = list["at_work"].get(0)?;
            assert_eq!((&run["target"], &run["reason"]), (&target.into(), &"manual".into()));
            Some(())
        });
        while let Some(so_far) = agent.try_json(&path) {
            pictures += usize::from(so_far["picture"]["seconds"] != last["picture"]["seconds"]);
            last = so_far;
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        assert!(pictures >= 2, "{pictures} pictures: {last:#}");
        (asked.join().unwrap(), last)
    });
    let sites = last["picture"]["sites"].as_array().unwrap();
    let is_of_shop = |site: &&Value| {
        site["site"]["function"].as_str().is_some_and(|name| name.starts_with("shop/"))
    };
    assert!(sites.iter().any(|site| is_of_shop(&site)), "{last:#}");
    let allocated = last["figures"].as_array().unwrap().iter().map(|figures| {
        assert_eq!(figures["losses"]["dropped"], 0);
        figures["allocated"]["bytes"].as_f64().unwrap()
    });
    let allocated: Vec<f64> = allocated.collect();
    assert!(allocated.is_sorted(), "{allocated:?}");
    // All that was there before its end is in the capture.
    let meta = agent.json(&format!("/api/v1/captures/{}/meta", kept["id"]));
    let total = meta["totals"]["alloc_space"].as_f64().unwrap();
    assert!(total >= allocated.last().unwrap() * 0.999, "{total} {allocated:?}");
    let list = agent.json("/api/v1/probes");
    assert_eq!(list["at_work"], Value::Array(Vec::new()));
}

#[test]
fn every_process_has_its_life() {
    if !permitted() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&configured(dir.path(), ""), &[]);
    wait_for("the probe", || agent.json("/api/v1/processes/timeline")["since_ms"].as_i64());
    // Each lasts for some milliseconds.
    let mark = format!("mark-{}", std::process::id());
    let mut expected: BTreeMap<u32, Value> = BTreeMap::new();
    for index in 0..60 {
        let script =
            if index % 6 == 5 { "kill -9 $$".to_owned() } else { format!("exit {}", index % 6) };
        let mut child = Command::new("sh").args(["-c", &script, &mark]).spawn().unwrap();
        let end = if index % 6 == 5 { "signal 9".into() } else { (index % 6).into() };
        expected.insert(child.id(), end);
        child.wait().unwrap();
    }
    let found = wait_for("all lives", || {
        let found = lives(&agent, &mark);
        let all = found["processes"].as_array().unwrap().clone();
        let is_over = all.iter().all(|life| !life["ended_ms"].is_null());
        (found["matching"] == 60 && is_over).then_some(all)
    });
    let own = std::process::id();
    for life in &found {
        assert_eq!((&life["parent"], &life["oom_kill"]), (&own.into(), &false.into()), "{life}");
        let peak = life["peak_rss_bytes"].as_u64().unwrap();
        assert!((256 << 10..64 << 20).contains(&peak), "{life}");
        let lived = life["ended_ms"].as_i64().unwrap() - life["started_ms"].as_i64().unwrap();
        assert!(lived >= 0, "{life}");
    }
    let ends = found.iter().map(|life| {
        let end = match &life["signal"] {
            Value::Null => life["exit_code"].clone(),
            signal => format!("signal {signal}").into(),
        };
        (u32::try_from(life["pid"].as_u64().unwrap()).unwrap(), end)
    });
    assert_eq!(ends.collect::<BTreeMap<_, _>>(), expected);
    // This process was there before, and its children are below it.
    let parents: Vec<&Value> = found.iter().map(|life| &life["parent_id"]).collect();
    assert!(!parents[0].is_null() && parents.iter().all(|parent| *parent == parents[0]));
    // What was before is not among what is asked for.
    let until = found[0]["started_ms"].as_i64().unwrap() - 1;
    let before = format!("/api/v1/processes/timeline?until={until}&name={mark}");
    assert_eq!(agent.json(&before)["matching"], 0);
    let few = agent.json(&format!("/api/v1/processes/timeline?limit=7&name={mark}"));
    assert_eq!((few["processes"].as_array().unwrap().len(), &few["matching"]), (7, &60.into()));
}

#[test]
fn lives_are_not_kept_where_the_configuration_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::start(&configured(dir.path(), "probes: {exec: never}\n"), &[]);
    let off = wait_for("the reason", || {
        let off = agent.json("/api/v1/processes/timeline")["off"].as_str()?.to_owned();
        (!off.contains("only begun")).then_some(off)
    });
    assert!(off.contains("probes.exec"), "{off}");
    assert!(agent.try_json("/api/v1/processes/timeline?name=(").is_none(), "no expression");
}
