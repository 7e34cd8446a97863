//! Go-aware reading and the formats beyond pprof, on profiles of real Go programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{fails, stdout};

/// Builds and runs a Go program that writes a heap profile to its first argument.
fn heap_of(dir: &Path, source: &str, settings: &str) -> String {
    std::fs::write(dir.join("go.mod"), "module profiled\n\ngo 1.21\n").unwrap();
    std::fs::write(dir.join("main.go"), source).unwrap();
    let program = dir.join("profiled");
    let mut go = Command::new("go");
    let built = go.current_dir(dir).args(["build", "-o"]).arg(&program).arg(".").output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let profile = dir.join(format!("{settings}.pb.gz"));
    let mut run = Command::new(&program);
    assert!(run.arg(&profile).env("GODEBUG", settings).status().unwrap().success());
    profile.display().to_string()
}

const END: &str = "
    runtime.GC()
    f, _ := os.Create(os.Args[1])
    pprof.Lookup(\"heap\").WriteTo(f, 0)
    f.Close()
    runtime.KeepAlive(sink)
}
";
const START: &str = "package main
import (\"os\"; \"runtime\"; \"runtime/pprof\")
var sink []any
";

/// 150 functions that call each other in turn, a recursion, and a generic type.
fn deep() -> String {
    let mut go = START.to_owned();
    for index in 0..150 {
        let next = if index < 149 { format!("f{}(stop)", index + 1) } else { String::new() };
        let keep = "sink = append(sink, make([]byte, 64<<10))";
        let body = format!("if stop == {index} {{ {keep}; return }}; {next}");
        writeln!(go, "//go:noinline\nfunc f{index}(stop int) {{ {body} }}").unwrap();
    }
    go += "
//go:noinline
func walk(n int) { if n == 0 { sink = append(sink, make([]byte, 64<<10)); return }; walk(n - 1) }
type box[T any] struct { all []*T }
//go:noinline
func (b *box[T]) put() { b.all = append(b.all, new(T)) }
func main() {
    runtime.MemProfileRate = 512
    for i := 0; i < 20; i++ { f0(60); f0(149); walk(40); walk(400) }
    a, b := &box[[100]int]{}, &box[[200]string]{}
    sink = append(sink, a, b)
    for i := 0; i < 2000; i++ { a.put(); b.put() }
";
    go + END
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&stdout(arguments)).unwrap()
}

fn row<'a>(value: &'a Value, function: &str) -> &'a Value {
    let rows = value["rows"].as_array().unwrap();
    rows.iter().find(|row| row["function"] == function).unwrap_or_else(|| panic!("{value:#}"))
}

#[test]
fn cut_stacks_generics_and_errors_of_a_real_program() {
    let dir = tempfile::tempdir().unwrap();
    let heap = heap_of(dir.path(), &deep(), "profstackdepth=128");
    let top = json(&["top", &heap, "-n", "0", "--json"]);
    // The chain of 150 functions is whole again: f0 leads to both of its allocations.
    let [f0, f60, f149] = ["main.f0", "main.f60", "main.f149"].map(|name| row(&top, name));
    let bytes = |row: &Value, key: &str| row[key].as_i64().unwrap();
    assert!(bytes(f60, "flat") > 1 << 20 && bytes(f149, "flat") > 1 << 20);
    assert_eq!(bytes(f0, "cum"), bytes(f60, "flat") + bytes(f149, "flat"));
    // The recursion is not: how deep it was is not known.
    let count = |key: &str| top["stacks"][key].as_u64().unwrap();
    assert!(count("rerooted") >= 1 && count("truncated") > count("rerooted"), "{top:#}");
    assert!(bytes(row(&top, "(truncated)"), "cum") > 1 << 20);
    let text = stdout(&["top", &heap]);
    assert!(text.contains("were cut off at 128 frames"), "{text}");
    assert!(text.contains("sampled every 512 B") && text.contains('±'), "{text}");

    let boxes = bytes(row(&top, "main.(*box[...]).put"), "flat");
    let full = json(&["top", &heap, "-n", "0", "--json", "--full-names", "--runtime-frames"]);
    let rows = full["rows"].as_array().unwrap();
    let is_box = |row: &&Value| row["function"].as_str().unwrap().starts_with("main.(*box[go.");
    let each: Vec<i64> = rows.iter().filter(is_box).map(|row| bytes(row, "flat")).collect();
    assert_eq!((each.len(), each.iter().sum::<i64>()), (2, boxes));

    // With a limit that is no usual one, the user says it; 0 leaves everything as it is.
    let heap = heap_of(dir.path(), &deep(), "profstackdepth=50");
    let truncated = |depth: &[&str]| {
        let arguments = [&["top", &heap, "--json"], depth].concat();
        json(&arguments)["stacks"]["truncated"].as_i64().unwrap()
    };
    assert_eq!(truncated(&[]), 0);
    assert!(truncated(&["--stack-depth", "50"]) >= 3);
    assert_eq!(truncated(&["--stack-depth", "0"]), 0);
}

/// The error column against what was really allocated: 60 functions keep 1 MiB each,
/// of which about 32 objects are sampled.
#[test]
fn the_stated_error_is_the_real_one() {
    let mut go = START.to_owned();
    for site in 0..60 {
        let body = "for i := 0; i < 16384; i++ { sink = append(sink, new([8]uint64)) }";
        writeln!(go, "//go:noinline\nfunc site{site}() {{ {body} }}").unwrap();
    }
    go += "func main() {\n runtime.MemProfileRate = 32 << 10\n sink = make([]any, 0, 1<<20)\n";
    (0..60).for_each(|site| writeln!(go, "site{site}()").unwrap());
    let dir = tempfile::tempdir().unwrap();
    let heap = heap_of(dir.path(), &(go + END), "");
    let top = json(&["top", &heap, "-n", "0", "--json", "--focus", "main.site"]);
    let within = |errors: f64| {
        let is_within = |row: &&Value| {
            let (flat, error) = (row["flat"].as_f64().unwrap(), row["flat_error"].as_f64());
            (flat - f64::from(1 << 20)).abs() <= errors * error.unwrap_or(0.0) * flat
        };
        let rows = top["rows"].as_array().unwrap();
        let sites = rows.iter().filter(|row| row["function"].as_str().unwrap().contains("site"));
        sites.filter(is_within).count()
    };
    // 95 and 68 of 100 are expected; the bounds are four standard deviations away.
    assert!(within(2.0) >= 48, "{} of 60 within two standard errors", within(2.0));
    assert!((26..=56).contains(&within(1.0)), "{} of 60 within one", within(1.0));
}

/// Flat values by function, from `go tool pprof`.
fn flat_of_go(arguments: &[&str]) -> BTreeMap<String, i64> {
    let all = ["tool", "pprof", "-top", "-nodefraction=0", "-nodecount=1000000", "-unit=B"];
    let output = Command::new("go").args(all).args(arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let rows = text.lines().skip_while(|line| !line.contains("flat%")).skip(1);
    let cells = rows.map(|line| line.split_whitespace().collect::<Vec<_>>());
    let flat = |cells: Vec<&str>| {
        // Names of instances may have spaces: `newEntryNode[go.shape.interface {}]`.
        let name = cells[5..].join(" ").trim_end_matches(" (inline)").to_owned();
        (name, cells[0].trim_end_matches('B').parse::<i64>().unwrap())
    };
    cells.map(flat).filter(|(_, flat)| *flat != 0).collect()
}

#[test]
fn every_format_tells_the_same_figures() {
    let dir = tempfile::tempdir().unwrap();
    let heap = heap_of(dir.path(), &deep(), "profstackdepth=128");
    let names = ["--full-names", "--runtime-frames", "--stack-depth", "0"];
    let convert = |to: &str| stdout(&[&["convert", &heap, "--to", to], &names[..]].concat());
    let expected = flat_of_go(&["-sample_index=inuse_space", &heap]);
    let total: i64 = expected.values().sum();

    let mut folded: BTreeMap<String, i64> = BTreeMap::new();
    for line in convert("folded").lines() {
        let (path, value) = line.rsplit_once(' ').unwrap();
        let leaf = path.rsplit(';').next().unwrap();
        *folded.entry(leaf.to_owned()).or_default() += value.parse::<i64>().unwrap();
    }
    assert_eq!(folded, expected);
    // What we write, we read.
    let file = dir.path().join("heap.folded").display().to_string();
    std::fs::write(&file, convert("folded")).unwrap();
    let again = json(&[&["top", &file, "--json", "-n", "0"], &names[..]].concat());
    assert_eq!(again["total"], total);
    assert_eq!(
        stdout(&[&["convert", &file, "--to", "folded"], &names[..]].concat()),
        convert("folded")
    );

    let speedscope: Value = serde_json::from_str(&convert("speedscope")).unwrap();
    let profiles = speedscope["profiles"].as_array().unwrap();
    assert_eq!(profiles.len(), 4, "one for every sample type");
    let shown = &profiles[speedscope["activeProfileIndex"].as_u64().unwrap() as usize];
    assert_eq!((&shown["name"], &shown["endValue"]), (&"inuse_space".into(), &total.into()));

    let firefox: Value = serde_json::from_str(&convert("firefox")).unwrap();
    let shown = firefox["meta"]["initialSelectedThreads"][0].as_u64().unwrap() as usize;
    assert_eq!(firefox["threads"][shown]["name"], "inuse_space");
    assert_eq!(leaves_of_firefox(&firefox["threads"][shown]), expected);

    let csv = convert("csv");
    let flat = |line: &str| line.split(',').next().unwrap().parse::<i64>().unwrap();
    assert_eq!(csv.lines().skip(1).map(flat).sum::<i64>(), total);
    let markdown = convert("markdown");
    assert_eq!(markdown.lines().filter(|l| l.starts_with('|')).count(), csv.lines().count() + 1);
}

/// Weights by innermost function, along the format's own references.
fn leaves_of_firefox(thread: &Value) -> BTreeMap<String, i64> {
    let at = |table: &str, column: &str, index: &Value| {
        thread[table][column][index.as_u64().unwrap() as usize].clone()
    };
    let mut leaves = BTreeMap::new();
    let samples = &thread["samples"];
    let stacks = samples["stack"].as_array().unwrap();
    for (stack, weight) in stacks.iter().zip(samples["weight"].as_array().unwrap()) {
        let function = at("frameTable", "func", &at("stackTable", "frame", stack));
        let name = at("funcTable", "name", &function).as_u64().unwrap() as usize;
        let name = thread["stringArray"][name].as_str().unwrap().to_owned();
        *leaves.entry(name).or_default() += weight.as_i64().unwrap();
    }
    leaves
}

#[test]
fn several_sources_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let first = heap_of(dir.path(), &deep(), "profstackdepth=128");
    let second = heap_of(dir.path(), &deep(), "profstackdepth=64");
    let expected: i64 = flat_of_go(&["-sample_index=inuse_space", &first, &second]).values().sum();
    assert_eq!(json(&["top", &first, &second, "--json"])["total"], expected);
    let peek = stdout(&["peek", r"walk$", &first, &second]);
    assert!(peek.contains("cum ") && peek.contains("-> main.walk"), "{peek}");
    let peek = json(&["peek", r"^main\.f60$", &first, "--json"]);
    assert_eq!(peek["functions"][0]["callers"][0]["function"], "main.f59");
    assert!(fails(&["peek", "nothing-like-it", &first], 2).contains("no function matches"));
    assert!(fails(&["peek", "(", &first], 2).contains("regex"));
    let svg: PathBuf = dir.path().join("f.svg");
    let output = svg.to_str().unwrap();
    stdout(&["flame", &first, &second, "--base", &first, "--reverse", "--inverted", "-o", output]);
    let svg = std::fs::read_to_string(&svg).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("against"));
    // Times and bytes do not add up.
    let cpu = dir.path().join("cpu.folded").display().to_string();
    std::fs::write(&cpu, "main;a 3\n").unwrap();
    fails(&["top", &first, &cpu], 2);
}
