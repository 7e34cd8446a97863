//! What the agent shows of probes while they look.

use std::path::{Path, PathBuf};

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
