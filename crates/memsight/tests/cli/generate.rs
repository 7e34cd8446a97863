//! `memsight rules generate`: Prometheus's own tool judges what is written.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{fails, peer, stdout};

/// promtool of Prometheus 3 and of Debian's, those that are there.
fn promtools() -> Vec<PathBuf> {
    ["bin/promtool", "debian/prometheus/usr/bin/promtool"].iter().filter_map(|p| peer(p)).collect()
}

fn judged(promtool: &Path, arguments: &[&str], file: &Path) {
    let output = Command::new(promtool).args(arguments).arg(file).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_what_is_generated() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().to_str().unwrap();
    let other = ["--near-limit", "0.8", "--horizon", "10m", "--label", "team=it's: 'us'"];
    for more in [&[][..], &other[..], &["--horizon", "2d"][..]] {
        stdout(&[&["rules", "generate", "-o", out][..], more].concat());
        for promtool in promtools() {
            let rules = dir.path().join("memsight.rules.yaml");
            judged(&promtool, &["check", "rules", "--lint=all", "--lint-fatal"], &rules);
            judged(&promtool, &["test", "rules"], &dir.path().join("memsight.tests.yaml"));
            let all = dir.path().join("all.yaml");
            std::fs::write(&all, as_rules(&expressions(dir.path()))).unwrap();
            judged(&promtool, &["check", "rules"], &all);
        }
    }
    fails(&["rules", "generate", "-o", out, "--near-limit", "2"], 2);
    fails(&["rules", "generate", "-o", out, "--label", "a b=c"], 2);
}

/// The expressions of the dashboards.
pub(crate) fn expressions(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for name in ["memsight-services", "memsight-agent"] {
        let text = std::fs::read_to_string(dir.join(format!("{name}.json"))).unwrap();
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(dashboard["uid"], name);
        let panels = dashboard["panels"].as_array().unwrap();
        for panel in panels.iter().filter(|panel| panel["type"] == "timeseries") {
            let place = &panel["gridPos"];
            assert!(place["x"].as_u64().unwrap() + place["w"].as_u64().unwrap() <= 24);
            for target in panel["targets"].as_array().unwrap() {
                let expr = target["expr"].as_str().unwrap();
                all.push(expr.replace("$service", ".*").replace("$pid", ".*"));
            }
        }
    }
    all
}

/// The same as rules, so that promtool reads them.
fn as_rules(expressions: &[String]) -> String {
    let mut file = String::from("groups:\n  - name: all\n    rules:\n");
    for (number, expr) in expressions.iter().enumerate() {
        file.push_str(&format!("      - record: a:b{number}:c\n        expr: '{expr}'\n"));
    }
    file
}
