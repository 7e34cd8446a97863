//! Waste with a planted truth: what pools hold, and how full spans are by the runtime's own
//! count.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test beside the
//! system's.

use serde_json::Value;

use crate::planted::{Planted, build_with, json, number, snapshot, start};
use crate::support::stdout;
use crate::toolchains::toolchains;

fn row<'v>(rows: &'v Value, key: &str, name: &str) -> &'v Value {
    let found = rows.as_array().unwrap().iter().find(|row| row[key] == name);
    found.unwrap_or_else(|| panic!("no {name}: {rows:#}"))
}

/// A page is a slice of three words and its bytes, both of the size of their class.
fn pages(count: u64, bytes: u64) -> u64 {
    count * (24 + bytes)
}

#[test]
fn pools_hold_and_spans_are_filled_as_planted() {
    for (_, go) in toolchains() {
        for flags in [&[][..], &["-ldflags=-s -w"]] {
            let dir = tempfile::tempdir().unwrap();
            let planted = start(&build_with(&go, dir.path(), flags), &[]);
            let Some(file) = snapshot(&planted, dir.path()) else { return };
            let has_names = flags.is_empty();
            println!("{} {flags:?}", planted.stats["version"]);
            let waste = json(&["heap", "waste", &file, "--json", "-n", "0"]);
            check_pools(&waste, has_names);
            check_spans(&waste["fragmentation"], &planted);
            if has_names {
                check_pins(&waste["fragmentation"], &planted);
                check_why(&file, &waste);
            }
            let summary = json(&["heap", "summary", &file, "--json"]);
            let spans = &waste["fragmentation"];
            assert_eq!(number(&spans["span_bytes"]), number(&summary["heap_in_use_bytes"]));
            assert_eq!(number(&spans["live_bytes"]), number(&summary["live_bytes"]));
            assert_eq!(number(&spans["dead_bytes"]), number(&summary["unreachable_bytes"]));
        }
    }
}

fn check_pools(waste: &Value, has_names: bool) {
    let pools = row(&waste["kinds"], "kind", "sync-pools");
    let check = |name: &str, objects: u64, bytes: u64| {
        let pool = row(&pools["fields"], "field", name);
        let found = (number(&pool["objects"]), number(&pool["wasted_bytes"]));
        assert_eq!(found, (objects, bytes), "{name}");
    };
    check("main.pooling.pages", 2, pages(2, 4096));
    if !has_names {
        // What no type leads to is not seen as a pool.
        return;
    }
    let all = pages(60, 4096) + pages(3, 1 << 20) + pages(20, 8192);
    check("main.pagePool (global)", 83, all);
    check("main.staticPool (global)", 1, pages(1, 4096));
    let worst = pools["offenders"].as_array().unwrap();
    for (rank, offender) in worst.iter().take(4).enumerate() {
        let bytes = if rank < 3 { 1 << 20 } else { 8192 };
        assert_eq!(number(&offender["wasted_bytes"]), pages(1, bytes), "{rank}");
        assert_eq!((number(&offender["used"]), number(&offender["of"])), (pages(1, 4096), 83));
        assert_eq!(offender["type"], "main.page");
    }
}

/// The runtime itself may have allocated something on the page of a chip, which is not sparse then.
const SHARED: u64 = 3;

/// What spans hold, against `runtime.MemStats`.
fn check_spans(spans: &Value, planted: &Planted) {
    let stats = &planted.stats;
    let (in_use, alloc) = (number(&stats["heap_in_use"]), number(&stats["heap_alloc"]));
    let of = |key: &str| number(&spans[key]);
    let parts = of("live_bytes") + of("dead_bytes") + of("free_bytes") + of("tail_bytes");
    assert_eq!(parts, of("span_bytes"));
    // The runtime counted before the program printed what it counted.
    let is_near = |ours: u64, theirs: u64, slack: u64| {
        assert!(ours.abs_diff(theirs) <= slack, "{ours}, by the runtime {theirs}");
    };
    is_near(of("span_bytes"), in_use, 256 << 10);
    is_near(of("live_bytes") + of("dead_bytes"), alloc, 64 << 10);
    is_near(of("free_bytes") + of("tail_bytes"), in_use - alloc, 256 << 10);
    let classes = spans["classes"].as_array().unwrap();
    let mut compared = 0;
    for class in stats["classes"].as_array().unwrap() {
        let (size, count) = (number(&class[0]), number(&class[1]));
        let ours = classes.iter().find(|class| class["slot_bytes"] == size);
        let ours =
            ours.map_or(0, |class| number(&class["live_objects"]) + number(&class["dead_objects"]));
        assert!(ours.abs_diff(count) <= 24 + count / 200, "{ours} of {size} B, not {count}");
        compared += count;
    }
    assert!(compared > 70_000, "{compared}");
    // Each chip is one of seven on its page, whatever its type is called.
    let chips = number(&stats["chips"]);
    let class = classes.iter().find(|class| class["slot_bytes"] == 1152).unwrap();
    let sparse = number(&class["sparse_spans"]);
    assert!(chips > 90 && sparse + SHARED >= chips, "{chips} chips, {class}");
    // Together they would need one page in seven.
    let back = number(&class["returnable_bytes"]) / 8192;
    assert!((chips - chips / 7 - 1 - SHARED..=chips).contains(&back), "{back} pages of {chips}");
}

fn check_pins(spans: &Value, planted: &Planted) {
    let chips = number(&planted.stats["chips"]);
    let pin = row(&spans["pins"], "type", "main.chip");
    let of = |key: &str| number(&pin[key]);
    let alone = of("spans");
    assert!((chips - SHARED..=chips).contains(&alone), "{alone} pages of {chips}");
    assert_eq!(of("live_objects"), alone);
    assert_eq!((of("span_bytes"), of("live_bytes")), (alone * 8192, alone * 1152));
}

/// The way through a pool has names.
fn check_why(file: &str, waste: &Value) {
    let pools = row(&waste["kinds"], "kind", "sync-pools");
    let worst = pools["offenders"][0]["address"].as_str().unwrap();
    let text = stdout(&["heap", "why", file, worst]);
    let steps = [
        "main.pagePool.local (global)",
        "[]sync.poolLocal[",
        "].shared.",
        "sync.poolChainElt.vals",
        "[]sync.eface[",
        "main.page",
    ];
    let mut rest = text.as_str();
    for step in steps {
        let at = rest.find(step).unwrap_or_else(|| panic!("no {step} in {text}"));
        rest = &rest[at..];
    }
}
