//! Memory that a Go program leaks in C: a rule has a probe look when it grows, and the verdict names
//! the C function and the Go function that calls it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::agent::{Agent, wait_for, wait_within};
use crate::support::{Process, memsight};

/// Rounds of captures are the further apart the more they cost: a minute without optimisation.
const VERDICT: Duration = Duration::from_secs(600);

/// `examples/leaks/cgomalloc`, which plants the leak: 32 KiB of malloc by `keep`, which `main` calls.
/// `None`, and says so, where there is no C compiler.
fn build(dir: &Path) -> Option<PathBuf> {
    if Command::new("gcc").arg("--version").output().is_err() {
        println!("skipped: no gcc, which cgo needs");
        return None;
    }
    let program = dir.join("cgomalloc");
    let mut go = Command::new("go");
    go.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/leaks"));
    go.args(["build", "-o"]).arg(&program).arg("./cgomalloc").env("CGO_ENABLED", "1");
    assert!(go.status().expect("go is installed").success(), "cgomalloc does not build");
    Some(program)
}

fn start(program: &Path) -> Process {
    Process(Command::new(program).stdout(Stdio::null()).spawn().unwrap())
}

fn native_growth(diagnosis: &Value) -> Option<&Value> {
    diagnosis["findings"].as_array()?.iter().find(|finding| finding["kind"] == "native-growth")
}

/// The finding names who leaks: in C, and in Go.
fn check_site(finding: &Value) {
    let site = &finding["sites"][0];
    assert_eq!(site["function"], "keep", "{finding:#}");
    assert!(site["file"].as_str().unwrap().ends_with("cgomalloc/main.go"), "{site:#}");
    assert!((10..=12).contains(&site["line"].as_u64().unwrap()), "{site:#}");
    assert!(site["share"].as_f64().unwrap() > 0.9, "{site:#}");
    let calls = site["stack"].as_array().unwrap();
    assert!(calls.iter().any(|call| call["function"] == "main.main.func1"), "{site:#}");
    let summary = finding["summary"].as_str().unwrap();
    assert!(summary.starts_with("keep (main.go:"), "{summary}");
    assert!(
        summary.contains("which main.main.func1 (main.go:21) calls, does not free"),
        "{summary}"
    );
    // 32 KiB fifty times a second; what a busy machine misses is made up for.
    let rate = &site["rate_bytes_per_second"];
    let (low, high) = (rate["low"].as_f64().unwrap(), rate["high"].as_f64().unwrap());
    let planted = 50.0 * 32.0 * 1024.0;
    assert!(low < 2.0 * planted && high > planted / 2.0, "{rate}");
}

#[test]
fn growth_has_malloc_looked_at_and_the_verdict_names_the_leak() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = build(dir.path()) else { return };
    let leak = start(&program);
    let path = dir.path().join("memsight.yaml");
    let config = format!(
        "web: {{listen: '127.0.0.1:0'}}\nlog: {{format: json}}\ndefault_rules: false\n\
         global: {{scrape_interval: 1s, profile_interval: 2s}}\nstore: {{path: store}}\n\
         targets: {{watch: [{}]}}\n\
         rules:\n\
         - name: who-leaks\n\
         \x20 when: {{finding: {{kind: native-growth, confidence: 0.5}}}}\n\
         \x20 repeat: 5s\n\
         \x20 do: [{{capture: native, for: 8s}}]\n\
         \x20 limits: {{per_target: 2 in 1h}}\n\
         - name: outside-go-grows\n\
         \x20 when: {{signal: outside_go_bytes, rate_above: 2MiB/m, over: 20s}}\n\
         \x20 do: [{{capture: [faults, mmap], for: 2s}}]\n\
         \x20 limits: {{per_target: 1 in 1h}}\n",
        leak.pid()
    );
    std::fs::write(&path, config).unwrap();
    let mut agent = Agent::start(&path, &[]);
    let target = agent.target(leak.0.id());
    let verdict = format!("/api/v1/targets/{target}/diagnosis");
    let action: Value = serde_json::from_str(&agent.line("\"event\":\"action\"")).unwrap();
    let fault = action["fault"].as_str().unwrap();
    if fault.contains("not permitted") {
        return println!("skipped: {fault}");
    }
    assert_eq!(fault, "");
    let found = wait_within(VERDICT, "two looks in the verdict", || {
        let diagnosis = agent.json(&verdict);
        let finding = native_growth(&diagnosis)?;
        (finding["captures"].as_array()?.len() == 2).then(|| finding.clone())
    });
    check_site(&found);
    let evidence = found["evidence"].to_string();
    assert!(evidence.contains("in the 2 looks: it goes on"), "{evidence}");
    for id in found["captures"].as_array().unwrap() {
        // It opens as any profile does.
        let table = agent.get(&format!("/api/v1/captures/{id}/table"));
        assert!(table.contains("\"keep\""), "{table}");
    }

    // What the number outside Go alone says is a condition too, and faults and mappings are captures.
    let kinds = wait_for("captures of faults and mappings", || {
        let probes = agent.json("/api/v1/probes");
        let captures = probes["captures"].as_array()?.iter();
        let of_rule = captures.filter(|capture| capture["reason"] == "outside-go-grows");
        let kinds: Vec<String> = of_rule.map(|it| it["kind"].as_str().unwrap().into()).collect();
        (kinds.len() == 2).then_some(kinds)
    });
    assert_eq!(kinds, ["mmap", "faults"]);
    agent.end();

    let store = dir.path().join("store");
    let output = memsight(&["diagnose", "cgomalloc", "--json", "--store", store.to_str().unwrap()]);
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    check_site(native_growth(&diagnosis).unwrap());
}

#[test]
fn diagnose_looks_at_malloc_when_it_is_asked_to() {
    let dir = tempfile::tempdir().unwrap();
    let Some(program) = build(dir.path()) else { return };
    let leak = start(&program);
    let output = memsight(&["diagnose", &leak.pid(), "--for", "24s", "--native", "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let diagnosis: Value = serde_json::from_slice(&output.stdout).unwrap();
    let finding = native_growth(&diagnosis).unwrap_or_else(|| panic!("{diagnosis:#}"));
    let warnings = diagnosis["warnings"].to_string();
    if warnings.contains("not permitted") {
        assert!(finding["next"].as_str().unwrap().contains("memsight probe native"), "{finding:#}");
        return println!("skipped: {warnings}");
    }
    check_site(finding);
}
