//! `memsight trace lifetimes` against what the runtime itself counts, on objects whose
//! lifetimes are planted, by every toolchain that records them (Go 1.23 and later).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use analyze::trace::Analysis;
use analyze::trace::lifetimes::{Options, Totals, Tracker};
use decode::gotrace::{Reader, Whole};
use model::trace::{Range, What};
use serde_json::Value;

use crate::support::{fails, stdout};
use crate::toolchains;

/// What tests/lifetimes was built with, and where it is.
pub(crate) struct Built {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// It is of Go 1.21 or 1.22.
    pub(crate) is_old: bool,
}

fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// The program, built once by each toolchain, and once more without symbols.
pub(crate) fn programs() -> &'static [Built] {
    static PROGRAMS: OnceLock<Vec<Built>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        if Command::new("go").arg("version").output().is_err() {
            println!("skipped: there is no Go toolchain in PATH");
            return Vec::new();
        }
        let toolchains = toolchains::toolchains();
        let plain = toolchains.iter().map(|(name, go)| build(name, go, &[]));
        let stripped = [("stripped".to_owned(), PathBuf::from("go"))];
        let flags = ["-s -w", "-buildmode=pie"];
        plain.chain(stripped.iter().map(|(name, go)| build(name, go, &flags))).collect()
    })
}

/// Builds with these flags of the linker, first, and others.
fn build(name: &str, go: &Path, flags: &[&str]) -> Built {
    let program = scratch(&format!("lifetimes-{name}"));
    let is_old = ["1.21", "1.22"].iter().any(|old| name.starts_with(old));
    // From Go 1.23 on the linker has to be asked for what the program looks at of the runtime.
    let linker = if is_old { "" } else { "-checklinkname=0 " };
    let linker = format!("-ldflags={linker}{}", flags.first().unwrap_or(&""));
    let mut build = Command::new(go);
    build.args(["build", "-o"]).arg(&program).arg(linker).args(flags.iter().skip(1)).arg(".");
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lifetimes"));
    build.env("GOFLAGS", "").env("GOTOOLCHAIN", "local");
    let output = build.output().unwrap();
    assert!(output.status.success(), "Go {name}: {}", String::from_utf8_lossy(&output.stderr));
    Built { name: name.to_owned(), program, is_old }
}

/// Parts of a trace of 5 ms, each with types of its own.
const SHORT_GENERATIONS: &str = ",traceadvanceperiod=5000000";

/// Records a trace; what the program printed.
fn record(built: &Built, trace: &Path, debug: &str) -> String {
    let mut run = Command::new(&built.program);
    let debug = format!("traceallocfree=1,gcshrinkstackoff=1{debug}");
    let output = run.arg(trace).env("GODEBUG", debug).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A goroutine that ends parts allocates, too, and the world goes on a moment before its event says
/// so. On a busy machine the program takes longer than the second that a part lasts.
fn record_in_one_part(built: &Built, trace: &Path) -> String {
    for _ in 0..10 {
        let text = record(built, trace, "");
        let mut whole = Whole::default();
        whole.push(&std::fs::read(trace).unwrap());
        if whole.generations() <= 1 {
            return text;
        }
    }
    panic!("every recording took longer than a second");
}

/// The numbers that the program printed behind a word.
fn said(text: &str, word: &str) -> Vec<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
    line.unwrap().split(' ').map(|number| number.parse().unwrap()).collect()
}

/// The counts at the two moments when the program read its own; or what does not fit together.
fn totals(trace: &Path) -> Result<Vec<Totals>, String> {
    let bytes = std::fs::read(trace).unwrap();
    let mut reader = Reader::new(&bytes).unwrap();
    let mut tracker = Tracker::new(Options::default(), None);
    let mut totals = Vec::new();
    while let Some(event) = reader.next().unwrap() {
        tracker.event(&event, reader.tables());
        if let What::RangeEnd(Range::StopTheWorld { reason }) = event.what
            && reader.tables().text(reason) == "read mem stats"
        {
            totals.push(tracker.totals());
        }
    }
    let unmatched = tracker.finish().unmatched;
    let missing = [unmatched.frees, unmatched.without_span, unmatched.early_unresolved];
    match missing == [0; 3] && unmatched.lost_with_span == 0 {
        true => Ok(totals),
        false => Err(format!("{unmatched:?}")),
    }
}

/// Whether the release records tiny objects that find room in the slot of another.
fn has_tiny(built: &Built) -> bool {
    !built.name.starts_with("1.23")
}

#[test]
fn objects_are_those_that_the_runtime_counts() {
    for built in programs().iter().filter(|built| !built.is_old) {
        let trace = scratch(&format!("counted-{}.trace", built.name));
        let name = &built.name;
        // Some recordings lack events of a few objects in ten thousand (docs/lifetimes.md): one must
        // have all.
        let mut differences = Vec::new();
        let is_exact = (0..8).any(|_| {
            let text = record_in_one_part(built, &trace);
            let difference = totals(&trace).and_then(|totals| difference(built, &text, &totals));
            difference
                .inspect_err(|text| println!("Go {name}: {text}"))
                .map_err(|text| differences.push(text))
                .is_ok()
        });
        assert!(is_exact, "Go {name}: {differences:#?}");
    }
}

/// What the program says of itself against what the trace has between the two readings.
fn difference(built: &Built, text: &str, totals: &[Totals]) -> Result<(), String> {
    let [first, last] = totals else { return Err(format!("{totals:?}")) };
    let packed = last.packed - first.packed;
    let allocated = last.allocated.objects - first.allocated.objects;
    let freed = last.freed.objects - first.freed.objects;
    println!("Go {}: {allocated} + {packed} allocated, {freed} freed", built.name);
    let tiny = said(text, "tiny")[0];
    assert!(tiny > 500, "{tiny}");
    let living = [first.living, last.living];
    let bytes = last.allocated.bytes - first.allocated.bytes;
    let pairs = [
        // Go 1.23 returns from the allocator before it has an event of those.
        ("packed", vec![packed], vec![if has_tiny(built) { tiny } else { 0 }]),
        ("mallocs", vec![allocated + tiny], said(text, "mallocs")),
        ("frees", vec![freed + tiny], said(text, "frees")),
        ("bytes", vec![bytes], said(text, "bytes")),
        ("objects", living.map(|it| it.objects).to_vec(), said(text, "objects")),
        ("heap", living.map(|it| it.bytes).to_vec(), said(text, "heap")),
    ];
    match pairs.iter().find(|(_, ours, theirs)| ours != theirs) {
        Some((what, ours, theirs)) => Err(format!("{what}: {ours:?}, the program: {theirs:?}")),
        None => Ok(()),
    }
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

/// The only type of this name.
fn of_type<'v>(all: &'v Value, name: &str) -> &'v Value {
    let types = all["types"].as_array().unwrap();
    let found: Vec<&Value> = types.iter().filter(|it| it["type"] == name).collect();
    assert_eq!(found.len(), 1, "{name} in {all:#}");
    found[0]
}

#[test]
fn planted_lifetimes_are_found() {
    for built in programs().iter().filter(|built| !built.is_old) {
        let trace = scratch(&format!("planted-{}.trace", built.name));
        record(built, &trace, SHORT_GENERATIONS);
        let file = trace.to_str().unwrap();
        let all = json(&["trace", "lifetimes", file, "--json", "-n", "0", "--gcs", "2"]);
        assert_eq!(all["collections"], 5, "Go {}", built.name);
        for survived in 0..4 {
            let kept = of_type(&all, &format!("main.kept{survived}"));
            let mut expected = vec![0; survived];
            expected.push(1000);
            assert_eq!(kept["by_collections"]["freed"], serde_json::json!(expected), "{kept}");
            assert_eq!(kept["survivors"], if survived < 2 { 0 } else { 1000 }, "{kept}");
            assert_eq!(kept["survival"], if survived < 2 { 0.0 } else { 1.0 }, "{kept}");
            assert_eq!(kept["young"]["objects"], if survived == 0 { 1000 } else { 0 }, "{kept}");
            assert_eq!(kept["freed"]["bytes"], 1000 * 48, "{kept}");
            assert_eq!(kept["living"]["objects"], 0, "{kept}");
        }
        let forever = of_type(&all, "main.keptForever");
        assert_eq!(forever["living"]["objects"], 1000, "{forever}");
        // Of five collections the last may not have swept all.
        assert_eq!(forever["by_collections"]["living"], serde_json::json!([0, 0, 0, 0, 1000]));
        // Of garbage the last object of each round may be held by a register or a variable.
        for (name, count, bytes) in
            [("main.small", 5000, 48), ("main.headered", 5000, 1024), ("main.large", 50, 98_304)]
        {
            let garbage = of_type(&all, name);
            assert_eq!(garbage["allocated"]["objects"], count, "{garbage}");
            assert_eq!(garbage["allocated"]["bytes"], count * bytes, "{garbage}");
            let young = garbage["young"]["objects"].as_u64().unwrap();
            assert!(young >= count - 5 && young <= count, "Go {}: {garbage}", built.name);
        }
        assert_eq!(of_type(&all, "[]*main.small")["allocated"]["objects"], 5000);
        let tiny = of_type(&all, "main.tiny");
        let number = |of: &Value| of.as_u64().unwrap();
        let tinies = number(&tiny["allocated"]["objects"]) + number(&tiny["packed_objects"]);
        assert!(tinies == 5000 || !has_tiny(built), "{tiny}");
        let main = all["functions"].as_array().unwrap();
        let main = main.iter().find(|it| it["function"] == "main.main").unwrap();
        assert!(number(&main["allocated"]["objects"]) > 30_000, "{main}");
        let text = stdout(&["trace", "lifetimes", file, "--type", "^main.kept3$"]);
        let rows: Vec<&str> = text.lines().map(str::trim).collect();
        assert!(rows.iter().any(|row| row.starts_with("3  1,000       0     0.0%")), "{text}");
    }
}

#[test]
fn cut_traces_say_so() {
    let Some(built) = programs().iter().find(|built| built.name == "system") else { return };
    let (whole, cut) = (scratch("whole-objects.trace"), scratch("cut-objects.trace"));
    record(built, &whole, SHORT_GENERATIONS);
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let text = stdout(&["trace", "lifetimes", cut.to_str().unwrap()]);
    assert!(text.contains("warning: the trace is cut off at offset "), "{text}");
    let count = |file: &Path| {
        let all = json(&["trace", "lifetimes", file.to_str().unwrap(), "--json"]);
        all["allocated"]["objects"].as_u64().unwrap()
    };
    let (some, all) = (count(&cut), count(&whole));
    assert!(some > 1000 && some < all, "{some} of {all}");
}

#[test]
fn traces_without_objects_say_what_to_do() {
    for built in programs() {
        let trace = scratch(&format!("none-{}.trace", built.name));
        let mut run = Command::new(&built.program);
        assert!(run.arg(&trace).env_remove("GODEBUG").output().unwrap().status.success());
        let error = fails(&["trace", "lifetimes", trace.to_str().unwrap()], 2);
        assert!(error.contains("the trace has no events about objects"), "{error}");
        let next = if built.is_old { "from Go 1.23 on" } else { "GODEBUG=traceallocfree=1" };
        assert!(error.contains(next), "Go {}: {error}", built.name);
    }
}
