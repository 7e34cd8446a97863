//! `memsight trace tasks` against Go's summarizer.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{fails, stdout};
use crate::trace::{oracle, recordings, run};

/// Nanoseconds by nearest rank, as ours has them.
fn percentiles(nanos: &mut [u64]) -> Value {
    nanos.sort_unstable();
    let at = |rank: f64| {
        let rank = (rank * nanos.len() as f64).ceil() as usize;
        nanos.get(rank.saturating_sub(1)).copied().unwrap_or(0)
    };
    let total: u64 = nanos.iter().sum();
    json!({ "total": total, "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) })
}

fn sorted(values: &Value) -> Vec<i64> {
    let mut values: Vec<i64> =
        values.as_array().into_iter().flatten().map(|it| it.as_i64().unwrap()).collect();
    values.sort_unstable();
    values
}

#[test]
fn tasks_and_regions_are_those_of_gos_summarizer() {
    let Some(oracle) = oracle() else { return };
    for (name, file) in recordings() {
        let theirs = run(Command::new(oracle).arg("-tasks").arg(file)).stdout;
        let theirs: Value = serde_json::from_slice(&theirs).unwrap();
        let file = file.to_str().unwrap();
        let ours = stdout(&["trace", "tasks", file, "--type", "", "-n", "0", "--json"]);
        let ours: Value = serde_json::from_str(&ours).unwrap();
        assert_eq!(ours["warning"], Value::Null);
        check_types(&ours, &theirs);
        check_regions(&ours, &theirs);
        check_details(&ours, &theirs);
        let types = ours["types"].as_array().unwrap();
        let batch = types.iter().find(|it| it["name"] == "batch").unwrap();
        assert!(batch["count"].as_u64() > Some(5), "Go {name}: {batch}");
    }
}

fn check_types(ours: &Value, theirs: &Value) {
    let mut types: BTreeMap<&str, (u64, Vec<u64>)> = BTreeMap::new();
    for (id, task) in theirs["Tasks"].as_object().unwrap() {
        // What is in no task.
        if id == "0" {
            continue;
        }
        let (count, nanos) = types.entry(task["Name"].as_str().unwrap()).or_default();
        *count += 1;
        let ends = (task["Begin"].as_i64().unwrap(), task["End"].as_i64().unwrap());
        if ends.0 >= 0 && ends.1 >= 0 {
            nanos.push((ends.1 - ends.0) as u64);
        }
    }
    let found = ours["types"].as_array().unwrap();
    assert_eq!(found.len(), types.len());
    for (of, (name, (count, mut nanos))) in found.iter().zip(types) {
        assert_eq!((of["name"].as_str(), of["count"].as_u64()), (Some(name), Some(count)));
        assert_eq!(of["incomplete"].as_u64(), Some(count - nanos.len() as u64), "{name}");
        assert_eq!(of["nanos"], percentiles(&mut nanos), "{name}");
    }
}

fn check_regions(ours: &Value, theirs: &Value) {
    let theirs = theirs["Regions"].as_object().unwrap();
    let found = ours["regions"].as_array().unwrap();
    assert_eq!(found.len(), theirs.len(), "{found:?}");
    for of in found {
        let (name, function) = (of["name"].as_str().unwrap(), of["function"].as_str().unwrap());
        let their = theirs[&format!("{name}|{function}")].as_array().unwrap();
        assert_eq!(of["count"].as_u64(), Some(their.len() as u64), "{name}");
        let mut nanos: Vec<u64> = their.iter().filter_map(Value::as_u64).collect();
        assert_eq!(of["incomplete"].as_u64(), Some((their.len() - nanos.len()) as u64), "{name}");
        assert_eq!(of["nanos"], percentiles(&mut nanos), "{name}");
    }
}

fn check_details(ours: &Value, theirs: &Value) {
    let theirs = theirs["Tasks"].as_object().unwrap();
    let tasks = ours["tasks"].as_array().unwrap();
    let named = theirs.iter().filter(|(id, task)| *id != "0" && task["Begin"] != -1);
    assert_eq!(tasks.len(), named.count());
    for task in tasks {
        let their = &theirs[&task["id"].to_string()];
        assert_eq!(task["name"], their["Name"]);
        let same = |name: &str, their: &Value| {
            assert_eq!(task[name].as_i64().unwrap_or(-1), their.as_i64().unwrap(), "{task}");
        };
        same("begin_nanos", &their["Begin"]);
        same("end_nanos", &their["End"]);
        same("parent", &their["Parent"]);
        let ids = |of: &Value| -> Value {
            of.as_array().unwrap().iter().map(|child| child["id"].clone()).collect()
        };
        assert_eq!(sorted(&ids(&task["children"])), sorted(&their["Children"]));
        assert_eq!(sorted(&task["goroutines"]), sorted(&their["Goroutines"]), "{task}");
        assert_eq!(task["regions"].as_array().unwrap().len() as u64, their["Regions"]);
        let logs = task["logs"].as_array().unwrap().iter();
        let texts = logs.map(|log| {
            format!("{}: {}", log["category"].as_str().unwrap(), log["message"].as_str().unwrap())
        });
        let texts: Vec<String> = texts.collect();
        let their: Vec<&str> =
            their["Logs"].as_array().into_iter().flatten().map(|it| it.as_str().unwrap()).collect();
        assert_eq!(texts, their);
    }
}

#[test]
fn a_task_is_shown_with_all_that_is_in_it() {
    let Some((_, file)) = recordings().first() else { return };
    let file = file.to_str().unwrap();
    let text = stdout(&["trace", "tasks", file, "--type", "^batch$", "-n", "1"]);
    assert!(text.contains("region sleeping, ") && text.contains("item: "), "{text}");
    assert!(text.contains("more tasks; -n 0 shows all"), "{text}");
    let text = stdout(&["trace", "tasks", file, "--task", "1"]);
    assert!(text.contains("task 1 all, from ") && text.contains("region worker, "), "{text}");
    assert!(fails(&["trace", "tasks", file, "--task", "77777"], 2).contains("no task 77777"));
}
