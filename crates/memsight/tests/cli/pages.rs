//! What the pages ask of a profile: labels, source, code, call graph, all filtered alike.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use model::profile::{Location, Mapping};
use model::{Addr, Function, FunctionId, Label, LabelValue, Line, LocationId, MappingId, Profile};
use serde_json::Value;

use crate::support::{Process, leaking_shop, stdout};

/// The pages on a profile, and the address of the capture's API.
fn pages(profile: &Path) -> (Process, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_memsight"))
        .args(["pprof", "-http=127.0.0.1:0", "-no_browser", "-symbolize=none"])
        .arg(profile)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let url = lines.find_map(|line| Some(line.ok()?.split_once("http://")?.1.to_owned())).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    let (host, capture) = url.split_once("/capture/").unwrap();
    (Process(child), format!("http://{host}/api/v1/captures/{capture}"))
}

/// Status, kind of content, and text of an answer.
fn get(base: &str, path: &str) -> (u16, String, String) {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut answer = agent.get(format!("{base}/{path}")).call().unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (answer.status().as_u16(), kind, answer.body_mut().read_to_string().unwrap())
}

fn json(base: &str, path: &str) -> Value {
    let (status, kind, text) = get(base, path);
    assert_eq!((status, kind.as_str()), (200, "application/json"), "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a Vec<Value> {
    value[key].as_array().unwrap_or_else(|| panic!("no list {key} in {value}"))
}

#[test]
fn a_profile_shows_labels_source_code_and_graph() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("heap.pb.gz");
    let (_shop, address) = leaking_shop();
    let heap = format!("http://{address}/debug/pprof/heap?gc=1");
    let bytes = ureq::get(&heap).call().unwrap().body_mut().read_to_vec().unwrap();
    std::fs::write(&path, bytes).unwrap();
    let (_pages, base) = pages(&path);

    let tags = json(&base, "tags");
    let bytes = list(&tags, "keys").iter().find(|key| key["key"] == "bytes").unwrap();
    assert_eq!((&bytes["numeric"], &bytes["unit"]), (&true.into(), &"bytes".into()));
    let sums = list(bytes, "values").iter().map(|value| value["total"].as_i64().unwrap());
    assert_eq!(Some(sums.sum::<i64>()), bytes["total"].as_i64());

    let track = "function=Registry.*Track";
    let source = json(&base, &format!("source?{track}"));
    let function = &list(&source, "functions")[0];
    assert_eq!(function["error"], Value::Null);
    let line = list(function, "lines").iter().find(|line| line["flat"].as_i64() > Some(0));
    let listing = stdout(&["pprof", "-list=Registry.*Track", "-unit=B", path.to_str().unwrap()]);
    let line = line.unwrap();
    let shown = format!("{}B", line["flat"]);
    let text = line["text"].as_str().unwrap();
    assert!(listing.lines().any(|l| l.contains(&shown) && l.ends_with(text)), "{line} {listing}");
    assert!(line.get("instructions").is_none());

    let source = json(&base, &format!("source?{track}&asm=1"));
    let lines = list(&list(&source, "functions")[0], "lines");
    let with_code = lines.iter().find(|with| with["line"] == line["line"]).unwrap();
    assert_eq!(with_code["flat"], line["flat"], "code does not change values");
    let code = list(with_code, "instructions");
    assert!(code.iter().any(|i| i["flat"].as_i64() > Some(0)), "{with_code}");
    assert!(code.iter().all(|i| i["address"].as_str().unwrap().starts_with("0x")));

    let disasm = json(&base, &format!("disasm?{track}"));
    assert_eq!(disasm["error"], Value::Null);
    let symbol = &list(&disasm, "symbols")[0];
    let sum: i64 = list(symbol, "instructions").iter().map(|i| i["flat"].as_i64().unwrap()).sum();
    assert_eq!(Some(sum), symbol["flat"].as_i64());
    assert!(json(&base, "disasm?function=nothing.like.it")["error"].is_string());

    let (status, kind, svg) = get(&base, "graph?nodes=10");
    assert_eq!((status, kind.as_str()), (200, "image/svg+xml"));
    let dot = stdout(&["pprof", "-dot", "-nodecount=10", path.to_str().unwrap()]);
    let nodes = svg.matches("class=\"node\" data-function=\"").count();
    assert_eq!(nodes, dot.matches("id=\"node").count());
    assert!(nodes > 3, "{svg}");
    assert!(svg.contains("class=\"edge\"") && !svg.contains("<script"), "{svg}");
}

/// A profile with one sample for each of `files`, labelled with the file's name.
fn made_of(files: &[&str], mapping: (&str, &str)) -> Vec<u8> {
    let mut profile = Profile::new(&[("space", "bytes")]);
    let filename = profile.strings.intern(mapping.0);
    let build_id = profile.strings.intern(mapping.1);
    let limit = Addr(1 << 30);
    profile.mappings.push(Mapping { limit, filename, build_id, ..Mapping::default() });
    let key = profile.strings.intern("tenant");
    for (index, file) in (0_u32..).zip(files) {
        let name = profile.strings.intern(&format!("main.f{index}"));
        let filename = profile.strings.intern(file);
        profile.functions.push(Function { name, filename, ..Function::default() });
        let lines = vec![Line { function: FunctionId(index), line: 1, column: 0 }];
        let (address, mapping) = (Addr(0x401000 + u64::from(index)), Some(MappingId(0)));
        profile.locations.push(Location { address, mapping, lines, ..Location::default() });
        let value = LabelValue::Str(profile.strings.intern(&format!("t{index}")));
        profile.push_sample(&[LocationId(index)], &[100], &[Label { key, value }]);
    }
    decode::pprof::write(&profile)
}

#[test]
fn every_view_of_a_profile_takes_the_same_filters() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("made.pb.gz");
    std::fs::write(&path, made_of(&["a.go", "b.go", "c.go"], ("", ""))).unwrap();
    let (_pages, base) = pages(&path);
    let rows = |filter: &str| list(&json(&base, &format!("table?{filter}")), "rows").len();
    assert_eq!(rows(""), 3);
    for (filter, left) in [
        ("f=f0|f1", 2),
        ("i=f0", 2),
        ("h=a.go", 2),
        ("s=f2", 1),
        ("sf=f1", 1),
        ("tf=tenant=t1", 1),
        ("ti=t1", 2),
        ("tagroot=tenant", 6),
        ("tagleaf=tenant&f=f0", 2),
        ("noinlines=1", 3),
    ] {
        assert_eq!(rows(filter), left, "{filter}");
    }
    let keys = |filter: &str| list(&json(&base, &format!("tags?{filter}")), "keys").len();
    assert_eq!((keys(""), keys("th=ten"), keys("ts=other")), (1, 0, 0));
    let focused = json(&base, "tags?f=f0");
    assert_eq!(list(&focused["keys"][0], "values").len(), 1);
    let views = ["flame", "table", "sandwich?function=main.f0", "tags", "graph"];
    for view in views.into_iter().chain(["source?function=f", "disasm?function=f"]) {
        let and = if view.contains('?') { '&' } else { '?' };
        for wrong in ["f=(", "i=(", "h=(", "s=(", "sf=(", "tf=k=(", "ti=(", "ts=(", "th=("] {
            let (status, _, text) = get(&base, &format!("{view}{and}{wrong}"));
            assert_eq!(status, 400, "{view} {wrong}: {text}");
            assert!(text.contains("regexp"), "{text}");
        }
        assert_eq!(get(&base, &format!("{view}{and}sample=nothing")).0, 400, "{view}");
    }
    assert_eq!(get(&base, "source").0, 400);
    assert_eq!(get(&base, "disasm?function=(").0, 400);
}

#[test]
fn a_profile_cannot_name_files_that_are_no_source() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret.txt");
    std::fs::write(&secret, "the secret\n").unwrap();
    let link = dir.path().join("link.go");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    let folder = dir.path().join("folder.go");
    std::fs::create_dir(&folder).unwrap();
    let pipe = dir.path().join("pipe.go");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let plain = dir.path().join("plain.go");
    std::fs::write(&plain, "package plain\n").unwrap();
    let names = [&secret, &link, &folder, &pipe, &plain].map(|path| path.to_str().unwrap());
    let path = dir.path().join("made.pb.gz");
    for (binary, id) in [
        (secret.to_str().unwrap(), "0123"),
        (env!("CARGO_BIN_EXE_memsight"), "0123"),
        (env!("CARGO_BIN_EXE_memsight"), ""),
        (pipe.to_str().unwrap(), "0123"),
    ] {
        std::fs::write(&path, made_of(&names, (binary, id))).unwrap();
        let (_pages, base) = pages(&path);
        let disasm = json(&base, "disasm?function=main");
        assert!(disasm["error"].is_string(), "{disasm}");
        let source = json(&base, "source?function=main&asm=1");
        let functions = list(&source, "functions");
        assert_eq!(functions.len(), names.len());
        for function in functions {
            let is_shown = !list(function, "lines").is_empty();
            assert_eq!(is_shown, function["file"] == names[4], "{function}");
            assert_eq!(function["error"].is_null(), is_shown, "{function}");
        }
        assert!(!source.to_string().contains("the secret"));
        assert!(!source.to_string().contains("instructions"));
    }
}

#[test]
fn flame_graphs_have_pages_and_a_reverse() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("folded.txt");
    std::fs::write(&path, "main;a;b 3\nmain;b 4\n").unwrap();
    let (_pages, base) = pages(&path);
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let flame = |query: &str| agent.get(format!("{base}/flame?{query}")).call().unwrap();
    let status = |query: &str| flame(query).status().as_u16();
    // The root's own id; docs/api.md says how ids are made.
    assert_eq!(status("root=811c9dc5050c5d1f"), 200);
    assert_eq!(status("root=0123456789abcdef"), 404);
    assert_eq!(status("root=main"), 400);
    assert_eq!(status("reverse=maybe"), 400);
    let nodes = |query: &str| {
        let bytes = flame(query).body_mut().read_to_vec().unwrap();
        u32::from_le_bytes(bytes[8..12].try_into().unwrap())
    };
    assert_eq!((nodes(""), nodes("reverse=1")), (5, 5), "root main a b b; root b main a main");
    assert_eq!(nodes("root=811c9dc5050c5d1f&skip=1"), 1, "main is the only child");
}
