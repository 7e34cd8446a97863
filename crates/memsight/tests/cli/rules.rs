//! `memsight rules`: files of rules and tests as people write them, replays of real stores.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use model::{CaptureKind, Observation, Target, TargetSpec, Timestamp};
use serde_json::Value;
use store::{NewCapture, Options, Store};

use crate::support::{fails, memsight, stdout};

/// A file in a folder; its path as text.
fn file(dir: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

const RULES: &str = "
rules:
  - name: full
    when: {signal: rss_bytes, above: 100MiB}
    for: 20s
    do: [{capture: [heap, goroutine]}]
    limits: {per_target: 2 in 1h}
  - name: many
    when: {signal: goroutines, above: 1000}
";

#[test]
fn every_fault_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let bad = file(
        dir.path(),
        "bad.yaml",
        "rules:\n  - name: a\n    when: {signal: rss, above: 5}\n    for: 5\n",
    );
    let good = file(dir.path(), "good.yaml", RULES);
    let errors = fails(&["rules", "check", &good, &bad], 2);
    let expected = format!(
        "{bad}:3:20: there is no signal \"rss\"; did you mean rss_bytes?\n\
         {bad}:4:10: \"5\" is no duration: write 30s, 5m, 1h30m, 15d\n"
    );
    assert_eq!(errors, expected);
    assert_eq!(stdout(&["rules", "check", &good]), format!("{good}: 2 rules\n"));
    let output = memsight(&["rules", "check", "--json", &bad, &good]);
    assert_eq!(output.status.code(), Some(2));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document[0]["faults"][0]["line"], 3);
    assert_eq!(document[1]["rules"], serde_json::json!(["full", "many"]));
    let unknown = file(dir.path(), "key.yaml", "rules: []\nrule: 5\n");
    assert!(fails(&["rules", "check", &unknown], 2).contains(":2:1: "));
    let groups = "groups:\n- name: x\n  rules:\n  - {alert: A, expr: \"up == 0\"}\n  - {alert: B, expr: up ==}\n";
    let groups = file(dir.path(), "prometheus.yaml", groups);
    let errors = fails(&["rules", "check", &groups], 2);
    assert!(errors.contains("prometheus.yaml:5:") && errors.contains("\"B\""), "{errors}");
    let config = format!("targets: {{all_go: true}}\n{}", RULES.trim_start());
    let config = file(dir.path(), "memsight.yaml", &config);
    assert_eq!(stdout(&["rules", "check", &config]), format!("{config}: 2 rules\n"));
    let config = file(dir.path(), "wrong.yaml", "targets: {all_go: yes please}\nrules: []\n");
    assert!(fails(&["rules", "check", &config], 2).contains("wrong.yaml:1:19: "));
    assert!(fails(&["rules", "check", "/nowhere.yaml"], 2).contains("No such file"));
}

#[test]
fn the_rules_that_come_with_it_are_shown_and_sound() {
    let dir = tempfile::tempdir().unwrap();
    let shown = file(dir.path(), "shown.yaml", &stdout(&["rules", "show"]));
    assert!(stdout(&["rules", "check", &shown]).ends_with(": 7 rules\n"));
    let signals: Value = serde_json::from_str(&stdout(&["rules", "signals", "--json"])).unwrap();
    let names: Vec<&str> =
        signals.as_array().unwrap().iter().map(|signal| signal["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"rss_bytes") && names.contains(&"limit_share"), "{names:?}");
    assert!(stdout(&["rules", "signals"]).contains("settled_share"));
}

#[test]
fn tests_of_rules_pass_and_fail() {
    let dir = tempfile::tempdir().unwrap();
    file(dir.path(), "rules.yaml", RULES);
    let tests = |second: &str| {
        format!(
            "rule_files: [rules.yaml]\ntests:\n  - name: fills up\n    series: {{rss_bytes: \
             50MiB+20MiBx6}}\n    expect: [{{at: 40s, rule: full, state: pending, reason: holds for 10s \
             of 20s}}]\n    firings: {{full: [{second}]}}\n  - name: \"<few>\"\n    series: {{goroutines: \
             5}}\n    firings: {{}}\n"
        )
    };
    let good = file(dir.path(), "good.yaml", &tests("50s"));
    let expected = format!("ok    {good}:3  fills up\nok    {good}:7  <few>\n2 tests, 0 failed\n");
    assert_eq!(stdout(&["rules", "test", &good]), expected);
    let bad = file(dir.path(), "bad.yaml", &tests("1m"));
    let junit = dir.path().join("junit.xml").display().to_string();
    let output = memsight(&["rules", "test", &good, &bad, "--junit", &junit]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("6:22: full acted at [50s], [1m] was expected"), "{text}");
    assert!(text.ends_with("4 tests, 1 failed\n"), "{text}");
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains("name=\"&lt;few&gt;\"") && xml.contains("<failure>6:22: full"), "{xml}");
    let output = memsight(&["rules", "test", "--json", &bad]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&document[0]["passed"], &document[1]["passed"]), (&false.into(), &true.into()));
    let typo = file(dir.path(), "typo.yaml", "defaults: true\ntests: [{name: x, serie: {}}]\n");
    assert!(fails(&["rules", "test", &typo], 2).contains(":2:19: "));
    let none = file(dir.path(), "none.yaml", "tests: [{name: x}]\n");
    assert!(fails(&["rules", "test", &none], 2).contains("no rules to test"));
}

/// A store in which one target climbs and another goes up and down, with captures of both.
fn recorded(dir: &Path) {
    let store = Store::open(dir, Options::default()).unwrap();
    for (pid, name) in [(7, "climbs"), (8, "swings")] {
        let target = Target {
            name: name.to_owned(),
            spec: TargetSpec::Pid(pid),
            pid: Some(pid),
            labels: [("service".to_owned(), name.to_owned())].into(),
        };
        let start = 1_700_000_000_000;
        let id = store.put_target(&target, Timestamp(start)).unwrap();
        let observations: Vec<Observation> = (0..720)
            .map(|step| {
                let time = Timestamp(start + step * 10_000);
                let mut observation = Observation { time, ..Observation::default() };
                let mib = match name {
                    "climbs" => 10 + step.unsigned_abs() / 4,
                    _ => 50 + step.unsigned_abs() % 60,
                };
                observation.process.rss_bytes = Some(mib << 20);
                observation
            })
            .collect();
        store.put_observations(id, &observations).unwrap();
        for kind in [CaptureKind::Heap, CaptureKind::Heap] {
            let bytes: &[u8] = &[pid as u8; 1000];
            let (time, reason) = (Timestamp(start), "schedule");
            let new = NewCapture { target: id, kind, time, reason, cost_micros: 50_000, bytes };
            store.put_capture(&new).unwrap();
        }
    }
}

#[test]
fn a_replay_says_when_and_at_what_cost() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    recorded(&store);
    let store = store.display().to_string();
    let rules = file(dir.path(), "rules.yaml", RULES);
    let replay = ["rules", "replay", "--store", &store, "--rules", &rules];
    let json = |more: &[&str]| -> Value {
        let arguments = [&replay[..], &["--json"], more].concat();
        serde_json::from_str(&stdout(&arguments)).unwrap()
    };
    let all = json(&[]);
    assert_eq!(all["observations"], 1440);
    // It climbs past 100 MiB in the 364th step; the other one does so for 90 s in every ten minutes,
    // twice until its limit is used up, and again twice in the second hour.
    let fired = |document: &Value, target: &str| -> Vec<String> {
        let decisions = document["decisions"].as_array().unwrap().iter();
        let own = decisions.filter(|d| d["target_name"] == target && d["kind"] == "fired");
        own.map(|decision| decision["time"].as_str().unwrap()[11..19].to_owned()).collect()
    };
    assert_eq!(fired(&all, "climbs"), ["23:14:20"]);
    assert_eq!(fired(&all, "swings").len(), 4);
    let total = &all["rules"]["full"];
    assert_eq!((&total["fired"], &total["captures"]), (&5.into(), &10.into()));
    // A heap profile costs 50 ms and 1000 bytes here; goroutines were never taken.
    assert_eq!(total["cost"], serde_json::json!({ "cpu_micros": 250_000, "bytes": 5000 }));
    assert_eq!(total["captures_without_price"], 5);
    assert_eq!(all["rules"]["many"]["fired"], 0);
    let many =
        all["states"].as_array().unwrap().iter().find(|state| state["rule"] == "many").unwrap();
    assert_eq!(many["reason"], "cannot tell: goroutines is not known");
    // Parts of it.
    let one = json(&["--target", "climb.*", "--rule", "full"]);
    assert_eq!((&one["observations"], &one["rules"]["many"]), (&720.into(), &Value::Null));
    let early = json(&["--to", "2023-11-14T23:00:00Z", "--target", "climbs"]);
    assert_eq!(fired(&early, "climbs"), [""; 0]);
    let text = stdout(&replay);
    assert!(text.contains("2023-11-14T23:14:20Z  climbs  full  fired"), "{text}");
    assert!(text.contains("many (target 1): cannot tell: goroutines is not known"), "{text}");
    // The rules that come with memsight are quiet here; nothing is no answer.
    let quiet = stdout(&["rules", "replay", "--store", &store]);
    assert!(quiet.starts_with("RULE "), "{quiet}");
    fails(&[&replay[..], &["--from", "1s"]].concat(), 2);
    assert!(fails(&[&replay[..], &["--rule", "ful"]].concat(), 2).contains("there are full, many"));
    fails(&["rules", "replay", "--store", "/nowhere"], 2);
    fails(&["rules", "replay"], 2);
}

#[test]
fn a_table_is_replayed_as_a_store_is() {
    let dir = tempfile::tempdir().unwrap();
    let rules = file(dir.path(), "rules.yaml", RULES);
    let mut table = "time,target,rss_bytes\n".to_owned();
    for step in 0..20_u64 {
        let _ = writeln!(table, "{},shop,{}", 1000 + step * 10, (60 + 5 * step) << 20);
        let _ = writeln!(table, "{},cart,", 1000 + step * 10);
    }
    let table = file(dir.path(), "table.csv", &table);
    let text = stdout(&["rules", "replay", "--csv", &table, "--rules", &rules]);
    assert!(
        text.contains("1970-01-01T00:18:30Z  shop    full  fired  heap goroutine  rss 115 MiB"),
        "{text}"
    );
    assert!(
        text.contains("full (target 2): cannot tell: rss is not known")
            || !text.contains("full (target 2)"),
        "{text}"
    );
    let disordered = file(dir.path(), "disordered.csv", "time,rss_bytes\n5,1\n4,1\n");
    let error = fails(&["rules", "replay", "--csv", &disordered, "--rules", &rules], 2);
    assert!(error.contains("not in the order of time"), "{error}");
}

#[test]
fn files_for_prometheus_are_checked_and_tested_too() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display().to_string();
    stdout(&["rules", "generate", "-o", &folder]);
    let rules = format!("{folder}/memsight.rules.yaml");
    let tests = format!("{folder}/memsight.tests.yaml");
    assert!(stdout(&["rules", "check", &rules]).ends_with(" rules\n"));
    assert!(stdout(&["rules", "test", &tests]).ends_with("1 tests, 0 failed\n"));
}

#[test]
fn the_examples_in_the_documentation_work() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
    let text = std::fs::read_to_string(docs).unwrap();
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let [rules, more, tests] = blocks.as_slice() else { panic!("{} blocks", blocks.len()) };
    let dir = tempfile::tempdir().unwrap();
    for (name, rules) in [("rules.yaml", rules), ("more.yaml", more)] {
        stdout(&["rules", "check", &file(dir.path(), name, rules)]);
    }
    let tests = file(dir.path(), "tests.yaml", tests);
    assert!(stdout(&["rules", "test", &tests]).ends_with("1 tests, 0 failed\n"));
}

/// Recorded programs: see the README beside the table.
#[test]
fn the_default_rules_act_for_programs_that_leak_and_for_no_other() {
    let shapes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/shapes/programs.csv");
    let text = stdout(&["rules", "replay", "--json", "--csv", &shapes.display().to_string()]);
    let document: Value = serde_json::from_str(&text).unwrap();
    let decisions = document["decisions"].as_array().unwrap().iter();
    let fired = decisions.filter(|decision| decision["kind"] == "fired");
    let acted: BTreeSet<(&str, &str)> = fired
        .map(|decision| {
            (decision["target_name"].as_str().unwrap(), decision["rule"].as_str().unwrap())
        })
        .collect();
    for leak in ["globalmap", "cgomalloc", "waitgroup"] {
        for rule in ["limit-soon", "near-limit"] {
            assert!(acted.contains(&(leak, rule)), "{leak} {rule}: {acted:?}");
        }
    }
    assert!(acted.contains(&("waitgroup", "goroutine-explosion")), "{acted:?}");
    assert!(!acted.iter().any(|(target, _)| target.starts_with("healthy")), "{acted:?}");
}
