//! `top`, `diff` and `convert` against `go tool pprof` on the same profiles.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::{fails, leaking_shop, stdout};

/// Function to (flat, cum).
type Rows = BTreeMap<String, (i64, i64)>;

/// Two heap profiles of a running shop, as its own pprof endpoint gives them, and one
/// that memsight took from outside.
fn profiles(dir: &Path) -> [PathBuf; 3] {
    let (shop, address) = leaking_shop();
    let fetch = |name: &str| {
        let path = dir.join(name);
        let url = format!("http://{address}/debug/pprof/heap?gc=1");
        let mut response = ureq::get(&url).call().unwrap();
        std::fs::write(&path, response.body_mut().read_to_vec().unwrap()).unwrap();
        path
    };
    let first = fetch("first.pb.gz");
    std::thread::sleep(Duration::from_secs(2));
    let second = fetch("second.pb.gz");
    let outside = dir.join("outside.pb.gz");
    stdout(&["convert", &shop.pid(), "--to", "pprof", "-o", outside.to_str().unwrap()]);
    [first, second, outside]
}

fn go_tool_pprof(arguments: &[&str]) -> String {
    let output = Command::new("go").args(["tool", "pprof"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// As ours are: `slices.Grow[...]`, whatever it was compiled for.
fn without_types(name: &str) -> String {
    match name.split_once('[').zip(name.rsplit_once(']')) {
        Some(((before, _), (_, after))) => format!("{before}[...]{after}"),
        None => name.to_owned(),
    }
}

/// Every row of `go tool pprof -top`, in bytes or objects.
fn expected(column: &str, arguments: &[&str]) -> Rows {
    let sample_index = format!("-sample_index={column}");
    let all = ["-top", "-nodefraction=0", "-nodecount=1000000", "-unit=B", &sample_index];
    let text = go_tool_pprof(&[&all, arguments].concat());
    let rows = text.lines().skip_while(|line| !line.contains("flat%")).skip(1);
    let number = |text: &str| text.trim_end_matches('B').parse::<i64>().unwrap();
    let mut found = Rows::new();
    for line in rows {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words[5..].join(" ");
        let name = name.trim_end_matches(" (inline)").trim_end_matches(" (partial-inline)");
        let row = found.entry(without_types(name)).or_default();
        *row = (row.0 + number(words[0]), row.1 + number(words[3]));
    }
    assert!(found.len() > 5, "{text}");
    found
}

/// Every row of a JSON table of ours.
fn ours(arguments: &[&str]) -> Rows {
    let value: serde_json::Value = serde_json::from_str(&stdout(arguments)).unwrap();
    let rows = value["rows"].as_array().unwrap();
    let number = |row: &serde_json::Value, key: &str| row[key].as_i64().unwrap();
    let change = |row, now, before| number(row, now) - number(row, before);
    rows.iter()
        .map(|row| {
            let name = row["function"].as_str().unwrap().to_owned();
            (name, (change(row, "flat", "flat_base"), change(row, "cum", "cum_base")))
        })
        .collect()
}

#[test]
fn the_figures_are_those_of_go_tool_pprof() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second, outside] = profiles(dir.path()).map(|p| p.display().to_string());
    for file in [&first, &second, &outside] {
        for column in ["inuse_space", "inuse_objects", "alloc_space", "alloc_objects"] {
            let top = ["top", file, "-n", "0", "--json", "--sample", column];
            assert_eq!(ours(&top), expected(column, &[file]), "{file} {column}");
        }
    }
    let diff = ["diff", &first, &second, "-n", "0", "--json", "--sample", "inuse_space"];
    let mut expected = expected("inuse_space", &["-diff_base", &first, &second]);
    let mut ours = ours(&diff);
    // pprof merges equal samples before it makes nodes: what did not change is absent.
    ours.retain(|_, (flat, cum)| *flat != 0 || *cum != 0);
    expected.retain(|_, (flat, cum)| *flat != 0 || *cum != 0);
    assert_eq!(ours, expected);
}

#[test]
fn a_converted_profile_is_the_same_to_go_tool_pprof() {
    let dir = tempfile::tempdir().unwrap();
    let [first, _, _] = profiles(dir.path()).map(|p| p.display().to_string());
    let copy = dir.path().join("copy.pb.gz").display().to_string();
    stdout(&["convert", &first, "--to", "pprof", "-o", &copy]);
    assert_eq!(go_tool_pprof(&["-raw", &copy]), go_tool_pprof(&["-raw", &first]));
    let folded = stdout(&["convert", &first, "--to", "folded"]);
    let sum = |text: &str| -> i64 {
        let value = |line: &str| line.rsplit(' ').next()?.parse::<i64>().ok();
        text.lines().filter_map(value).sum()
    };
    let total: i64 = expected("inuse_space", &[&first]).values().map(|(flat, _)| flat).sum();
    assert_eq!(sum(&folded), total);
    for format in ["speedscope", "json"] {
        let text = stdout(&["convert", &first, "--to", format]);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{format}");
    }
}

#[test]
fn flame_graphs_are_whole_files() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second, _] = profiles(dir.path()).map(|p| p.display().to_string());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (svg, html) = (path("a.svg"), path("a.html"));
    stdout(&["flame", &first, "-o", &svg]);
    stdout(&["flame", &second, "--base", &first, "-o", &html]);
    let svg = std::fs::read_to_string(svg).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("(*Registry).Track"), "the leaking site is wide enough to see");
    let html = std::fs::read_to_string(html).unwrap();
    assert!(html.ends_with("</script></body></html>\n"));
    assert!(!html.contains("src=") && !html.contains("href="), "it fetches nothing");
    assert!(fails(&["flame", &first, "-o", &path("a.bmp")], 2).contains(".svg or .html"));
}

#[test]
fn damaged_profiles_are_errors_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let [first, _, _] = profiles(dir.path());
    let bytes = std::fs::read(&first).unwrap();
    let file = dir.path().join("damaged.pb.gz");
    let name = file.display().to_string();
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 0x10;
    for damaged in [&bytes[..20], b"hello", b"", &flipped] {
        std::fs::write(&file, damaged).unwrap();
        let errors = fails(&["top", &name], 2);
        assert!(errors.contains(&name), "{errors}");
    }
    assert!(fails(&["top", "/nowhere/heap.pb.gz"], 2).contains("no such file"));
    let known = fails(&["top", &first.display().to_string(), "--sample", "cpu"], 2);
    assert!(known.contains("inuse_space"), "{known}");
}
