//! What the pages ask of an object graph: one drawn by hand, whose figures are known, and
//! those of a running program.

use std::io::{BufRead, BufReader, BufWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use decode::heapfile;
use model::Frame;
use model::HeapGraph;
use model::heap::{
    Edges, Field, HeapGoroutine, HeapType, Holder, HolderId, HolderKind, Listed, ObjectId, Objects,
    RootPointer, TypeId, TypeKind,
};
use serde_json::{Value, json};

use crate::support::{Process, shop, stdout};

/// A cache of orders, one of which a goroutine holds too:
///
/// ```text
/// main.cache ── 0 main.Cache, 64 B ─┬─ 1 main.Order, 32 B ── 3 []byte, 100 B
///                                   └─ 2 main.Order, 32 B ── 4 []byte, 200 B
/// goroutine 17, orders ─────────────┘             nothing ── 5 []byte, 50 B
/// ```
///
/// The earlier heap lacks 2, 4 and 5.
fn graph(is_later: bool) -> HeapGraph<'static> {
    let mut graph = HeapGraph { slot_bytes: 8, ..HeapGraph::default() };
    graph.source.runtime = "go1.26.8".to_owned();
    let items = Field { offset: 8, name: graph.strings.intern("Items"), of: None };
    let orders = Field { offset: 16, name: graph.strings.intern("orders"), of: None };
    graph.fields = vec![orders, items];
    for (name, bytes, fields) in
        [("main.Cache", 64, 0..1), ("main.Order", 32, 1..2), ("[]byte", 1, 2..2)]
    {
        let (name, package) = (graph.strings.intern(name), graph.strings.intern("main"));
        let kind = TypeKind::Struct;
        graph.types.push(HeapType { name, package, kind, bytes, fields, element: None });
    }
    // Address, size, type, and the slot and number of what each points to.
    type Drawn = (u64, u64, u32, &'static [(u32, u32)]);
    let all: &[Drawn] = match is_later {
        true => &[
            (0x1000, 64, 0, &[(2, 1), (3, 2)]),
            (0x2000, 32, 1, &[(1, 3)]),
            (0x3000, 32, 1, &[(1, 4)]),
            (0x4000, 100, 2, &[]),
            (0x5000, 200, 2, &[]),
            (0x6000, 50, 2, &[]),
        ],
        false => &[(0x1000, 64, 0, &[(2, 1)]), (0x2000, 32, 1, &[(1, 2)]), (0x4000, 100, 2, &[])],
    };
    let mut edges = Edges::empty();
    for (_, _, _, pointers) in all {
        pointers.iter().for_each(|(slot, to)| edges.push(*slot, ObjectId(*to)));
        edges.end_object();
    }
    graph.edges = edges;
    graph.objects = Objects::Listed(Listed {
        address: all.iter().map(|object| object.0).collect(),
        bytes: all.iter().map(|object| object.1).collect(),
    });
    graph.type_of = all.iter().map(|object| object.2).collect();
    hold(&mut graph, is_later);
    assert_eq!(graph.check(), Ok(()));
    graph
}

fn hold(graph: &mut HeapGraph<'static>, is_later: bool) {
    let frame = |function: &str, line| Frame {
        function: function.to_owned(),
        file: "server.go".to_owned(),
        line,
    };
    graph.stacks = vec![vec![frame("main.serve", 42), frame("main.main", 7)]];
    graph.goroutines = vec![HeapGoroutine {
        id: 17,
        state: "waiting".to_owned(),
        wait_reason: "select".to_owned(),
        stack_bytes: 8192,
        stack: Some(0),
    }];
    let parts = [
        (HolderKind::Global, "main.cache", "", None, None),
        (HolderKind::Goroutine, "goroutine 17", "", None, Some(0)),
        (HolderKind::Local, "orders", "main.serve (server.go:42)", Some(HolderId(1)), Some(0)),
    ];
    for (kind, name, place, parent, goroutine) in parts {
        let (name, place) = (graph.strings.intern(name), graph.strings.intern(place));
        let (of, is_conservative) = (None::<TypeId>, false);
        graph.holders.push(Holder { kind, name, place, parent, goroutine, of, is_conservative });
    }
    let pointer = |holder, target| RootPointer {
        holder: HolderId(holder),
        slot: 0,
        target: ObjectId(target),
    };
    graph.root_pointers = vec![pointer(0, 0)];
    if is_later {
        graph.root_pointers.push(pointer(2, 2));
    }
}

fn written(dir: &Path, name: &str, is_later: bool) -> PathBuf {
    let path = dir.join(name);
    let mut out = BufWriter::new(std::fs::File::create(&path).unwrap());
    heapfile::write(&graph(is_later), &mut out).unwrap();
    path
}

/// The server of a command, and what it prints after `mark`.
fn serve(arguments: &[&str], mark: &str) -> (Process, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_memsight"))
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let rest = lines.find_map(|line| Some(line.ok()?.split_once(mark)?.1.to_owned())).unwrap();
    std::thread::spawn(move || lines.for_each(drop));
    (Process(child), rest)
}

/// The API of a page on the later heap, the number of its capture and of the earlier one.
struct Pages {
    _server: Process,
    api: String,
    id: String,
    base: String,
}

impl Pages {
    fn open(dir: &Path) -> Pages {
        let (later, earlier) = (written(dir, "later.heap", true), written(dir, "a.heap", false));
        let [later, earlier] = [later, earlier].map(|path| path.display().to_string());
        let (server, url) = serve(
            &["heap", "view", &later, "--base", &earlier, "--no-browser"],
            "Serving web UI on http://",
        );
        let (host, capture) = url.split_once("/heap/").unwrap();
        let (id, base) = capture.split_once("?base=").unwrap();
        let (id, base) = (id.to_owned(), base.to_owned());
        Pages { _server: server, api: format!("http://{host}/api/v1"), id, base }
    }

    fn ask(&self, path: &str) -> Value {
        let (status, value) = self.answer(path);
        assert_eq!(status, 200, "{path}: {value}");
        value
    }

    fn answer(&self, path: &str) -> (u16, Value) {
        get(&format!("{}/captures/{}/heap/{path}", self.api, self.id))
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(120)))
        .build()
        .new_agent()
}

fn get(url: &str) -> (u16, Value) {
    let mut answer = agent().get(url).call().unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

fn post(url: &str, headers: &[(&str, &str)], body: &[u8]) -> (u16, Value) {
    let request = headers
        .iter()
        .fold(agent().post(url), |request, (name, value)| request.header(*name, *value));
    let mut answer = request.send(body).unwrap();
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The values of some keys of each row.
fn rows(value: &Value, keys: &[&str]) -> Vec<Value> {
    let list = value.as_array().unwrap_or_else(|| panic!("no list: {value}"));
    list.iter().map(|row| keys.iter().map(|key| row[*key].clone()).collect()).collect()
}

#[test]
fn figures_types_and_roots_of_a_drawn_heap() {
    let dir = tempfile::tempdir().unwrap();
    let pages = Pages::open(dir.path());
    let summary = pages.ask("summary");
    let figures = ["live_bytes", "live_objects", "unreachable_bytes", "unreachable_objects"];
    assert_eq!(figures.map(|name| summary[name].clone()), [428, 5, 50, 1].map(Value::from));
    let types = pages.ask("types");
    let keys = ["type", "objects", "bytes", "retained_bytes", "retained_objects"];
    let expected = [
        json!(["main.Order", 2, 64, 364, 4]),
        json!(["[]byte", 2, 300, 300, 2]),
        json!(["main.Cache", 1, 64, 196, 3]),
    ];
    assert_eq!(rows(&types["rows"], &keys), expected);
    // The command reads the same file by another way.
    let later = dir.path().join("later.heap").display().to_string();
    let command = stdout(&["heap", "histogram", &later, "--json", "--sort", "retained"]);
    assert_eq!(rows(&serde_json::from_str(&command).unwrap(), &keys), expected);
    let sorted = pages.ask("types?sort=bytes&limit=1&offset=1&q=main");
    assert_eq!((sorted["matching"].clone(), sorted["total"].clone()), (json!(2), json!(3)));
    assert_eq!(rows(&sorted["rows"], &["type"]), [json!(["main.Cache"])]);
    let packages = pages.ask("types?by=package");
    assert_eq!(rows(&packages["rows"], &["type", "objects"]), [json!(["main", 5])]);
    let one = pages.ask("type?type=1");
    let dominators = rows(&one["dominators"], &["name", "dominators", "objects"]);
    assert_eq!(dominators, [json!(["main.Cache", 1, 1]), json!(["(several roots)", 1, 1])]);
    assert_eq!(rows(&one["fields"], &["name", "offset"]), [json!(["Items", 8])]);
    let roots = pages.ask("roots");
    let keys = ["root", "kind", "retained_bytes", "retained_objects"];
    let expected =
        [json!(["main.cache", "global", 196, 3]), json!(["goroutine 17", "goroutine", 0, 0])];
    assert_eq!(rows(&roots["rows"], &keys), expected);
    assert_eq!(roots["shared"], json!({ "bytes": 232, "objects": 2 }));
    assert_eq!(pages.ask("roots?kind=goroutine")["matching"], 1);
}

#[test]
fn the_dominator_tree_of_a_drawn_heap() {
    let dir = tempfile::tempdir().unwrap();
    let pages = Pages::open(dir.path());
    let keys = ["node", "retained_bytes", "has_children"];
    let top = pages.ask("dominators");
    let expected =
        [json!(["id:2", 232, true]), json!(["holder:0", 196, true]), json!(["holder:1", 0, true])];
    assert_eq!(rows(&top["rows"], &keys), expected);
    let second = pages.ask("dominators?limit=1&offset=1");
    assert_eq!(rows(&second["rows"], &keys), expected[1..2]);
    assert_eq!(second["rest"], json!({ "count": 1, "retained_bytes": 0 }));
    let below = pages.ask("dominators?node=main.cache");
    assert_eq!(rows(&below["rows"], &keys), [json!(["id:0", 196, true])]);
    let keys = ["group", "nodes", "bytes", "retained_bytes"];
    let groups = pages.ask("dominators?group=type");
    let expected =
        [json!(["t1", 1, 32, 232]), json!(["kglobal", 1, 0, 196]), json!(["kgoroutine", 1, 0, 0])];
    assert_eq!(rows(&groups["rows"], &keys), expected);
    let groups = pages.ask("dominators?group=type&path=kglobal,t0");
    assert_eq!(rows(&groups["rows"], &keys), [json!(["t1", 1, 32, 132])]);
    let members = pages.ask("dominators?path=kglobal,t0,t1");
    assert_eq!(rows(&members["rows"], &["node", "address"]), [json!(["id:1", "0x2000"])]);
    let map = pages.ask("treemap?depth=3");
    assert_eq!(rows(&map["below"], &["node", "retained_bytes"])[0], json!(["id:2", 232]));
    let order = &map["below"][1]["below"][0]["below"][0];
    assert_eq!(
        (order["node"].clone(), order["retained_bytes"].clone()),
        ("id:1".into(), 132.into())
    );
    // Areas that nobody could see are left out, and counted.
    let map = pages.ask("treemap?depth=1&nodes=2");
    assert_eq!(rows(&map["below"], &["node"]), [json!(["id:2"])]);
    assert_eq!(map["rest"], json!({ "count": 2, "retained_bytes": 196 }));
}

#[test]
fn why_an_object_of_a_drawn_heap_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    let pages = Pages::open(dir.path());
    let why = pages.ask("why?object=0x3008");
    let paths: Vec<&Value> = why["paths"].as_array().unwrap().iter().map(|p| &p["path"]).collect();
    assert_eq!(
        paths,
        [
            &json!(["goroutine 17 main.serve orders (server.go:42)", "main.Order"]),
            &json!(["main.cache (global)", "main.Cache.orders", "main.Order"]),
        ]
    );
    let many = pages.ask("why?type=[]byte");
    assert_eq!(many["objects"], json!({ "bytes": 350, "objects": 3 }));
    assert_eq!(many["unreachable"], json!({ "bytes": 50, "objects": 1 }));
    let object = pages.ask("object?node=id:2");
    let incoming = rows(&object["incoming"], &["node", "kind"]);
    assert_eq!(incoming, [json!(["id:0", "object"]), json!(["holder:2", "local"])]);
    assert_eq!(rows(&object["outgoing"], &["node", "via"]), [json!(["id:4", ".Items"])]);
    assert_eq!(rows(&object["dominators"], &["node"]), [json!(["root"])]);
    let cache = pages.ask("object?address=0x1000");
    assert_eq!(rows(&cache["incoming"], &["node"]), [json!(["holder:0"])]);
    let goroutines = pages.ask("goroutines?q=serve");
    let goroutine = &goroutines["rows"][0];
    assert_eq!(
        (goroutine["id"].clone(), goroutine["stack"][0]["line"].clone()),
        (17.into(), 42.into())
    );
    assert_eq!(rows(&goroutine["locals"], &["variable"]), [json!(["orders"])]);
    assert_eq!(goroutine["locals"][0]["targets"][0]["node"], "id:2");
    assert_eq!(pages.ask("goroutines?q=nothing")["matching"], 0);
    assert_eq!(pages.ask("goroutines?group=stack")["rows"][0]["goroutines"], 1);
    let found = pages.ask("find?q=byte&bytes_min=100&sort=bytes&limit=1");
    assert_eq!((found["total"].clone(), found["bytes"].clone()), (2.into(), 300.into()));
    assert_eq!(rows(&found["rows"], &["node"]), [json!(["id:4"])]);
    assert_eq!(rows(&pages.ask("find?q=main.cache")["roots"], &["node"]), [json!(["holder:0"])]);
}

#[test]
fn what_changed_since_an_earlier_heap() {
    let dir = tempfile::tempdir().unwrap();
    let pages = Pages::open(dir.path());
    let diff = pages.ask(&format!("diff?base={}", pages.base));
    assert_eq!(diff["live"]["before"], json!({ "bytes": 196, "objects": 3 }));
    assert_eq!(diff["live"]["after"], json!({ "bytes": 428, "objects": 5 }));
    let types = rows(&diff["types"], &["type", "before", "after", "new"]);
    let set = |objects: u64, bytes: u64| json!({ "objects": objects, "bytes": bytes });
    let expected = [
        json!(["[]byte", set(1, 100), set(2, 300), set(1, 200)]),
        json!(["main.Order", set(1, 32), set(2, 64), set(1, 32)]),
    ];
    assert_eq!(types, expected);
    let paths = rows(&diff["paths"], &["type", "before", "after"]);
    assert_eq!(paths[0], json!(["[]byte", set(1, 100), set(2, 300)]));
    assert_eq!(diff["paths"][0]["path"][0], "main.cache (global)");
    assert_eq!(diff["paths"][0]["steps"][0]["node"], "holder:0");
}

#[test]
fn wrong_questions_are_answered_with_what_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let pages = Pages::open(dir.path());
    for (path, status, text) in [
        ("object?node=main.cash", 404, "main.cache"),
        ("object?node=0x99", 404, "no object lies at"),
        ("object", 400, "node= is missing"),
        ("why", 400, "object= or type="),
        ("why?object=main.Ordr", 404, "main.Order"),
        ("type?type=99", 404, "heap/types"),
        ("types?q=(", 400, "q:"),
        ("types?sort=color", 400, "retained"),
        ("dominators?path=t99", 400, "no group"),
        ("dominators?node=holder:99", 404, "heap/roots"),
        ("find?sort=x", 400, "address"),
        ("diff?base=99", 404, "99"),
    ] {
        let (found, value) = pages.answer(path);
        assert_eq!(found, status, "{path}: {value}");
        assert!(value.to_string().contains(text), "{path}: {value}");
    }
    // Profiles are other captures, and graphs no profiles.
    let capture = format!("{}/captures/{}", pages.api, pages.id);
    assert_eq!(get(&format!("{capture}/meta")).0, 400);
    // Who has an answer is not sent it again.
    let url = format!("{capture}/heap/types");
    let etag = agent().get(&url).call().unwrap().headers()["etag"].to_str().unwrap().to_owned();
    let again = agent().get(&url).header("If-None-Match", &etag).call().unwrap();
    assert_eq!(again.status().as_u16(), 304);
}

#[test]
fn heaps_are_uploaded_listed_and_downloaded() {
    let dir = tempfile::tempdir().unwrap();
    let pages = Pages::open(dir.path());
    let graphs = format!("{}/graphs", pages.api);
    let file = std::fs::read(dir.path().join("later.heap")).unwrap();
    let (status, stored) = post(&format!("{graphs}?name=mine"), &[], &file);
    assert_eq!(status, 201, "{stored}");
    let summary = get(&format!("{}/captures/{}/heap/summary", pages.api, stored["id"])).1;
    assert_eq!(summary["live_bytes"], 428);
    let list = rows(&get(&graphs).1, &["id", "name"]);
    assert!(list.contains(&json!([stored["id"], "mine"])), "{list:?}");
    assert_eq!(list.len(), 3);
    let url = format!("{}/captures/{}/profile", pages.api, stored["id"]);
    let back = agent().get(url).call().unwrap().body_mut().read_to_vec().unwrap();
    assert_eq!(back, file);
    // Contents are taken out: whoever sees the pages need not see them.
    let secret = b"a secret in the memory";
    let mut with_contents = graph(true);
    with_contents.contents.object = vec![3].into();
    with_contents.contents.start = vec![0, secret.len() as u64].into();
    with_contents.contents.bytes = secret.to_vec().into();
    let mut sent = Vec::new();
    heapfile::write(&with_contents, &mut sent).unwrap();
    assert!(sent.windows(secret.len()).any(|part| part == secret));
    let (status, stored) = post(&format!("{graphs}?name=mine"), &[], &sent);
    assert_eq!(status, 201, "{stored}");
    let url = format!("{}/captures/{}/profile", pages.api, stored["id"]);
    let back = agent().get(url).call().unwrap().body_mut().read_to_vec().unwrap();
    assert_eq!(back, file);
    let cut = &file[..file.len() / 2];
    for (body, text) in [(&b"nothing"[..], "not a heap file"), (cut, ""), (b"", "")] {
        let (status, value) = post(&graphs, &[], body);
        assert_eq!(status, 422, "{value}");
        let value = value.to_string();
        assert!(value.contains(text) && !value.contains("scratch"), "{value}");
    }
    assert_eq!(get(&graphs).1.as_array().unwrap().len(), 4, "nothing else is stored");
    // A page of another site cannot send anything; one of this server can.
    let own = pages.api.strip_suffix("/api/v1").unwrap();
    assert_eq!(post(&graphs, &[("Origin", "http://evil.example")], &file).0, 403);
    assert_eq!(post(&graphs, &[("Origin", "null")], &file).0, 403);
    assert_eq!(post(&graphs, &[("Origin", own)], &file).0, 201);
}

#[test]
fn snapshots_of_a_running_program_are_taken_where_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let (shop, _) = shop();
    let start = |name: &str, more: &[&str]| {
        let store = dir.path().join(name).display().to_string();
        let pid = shop.pid();
        let common =
            ["serve", "--listen", "127.0.0.1:0", "--store", &store, "--pid", &pid, "--every", "1h"];
        let (server, url) = serve(&[&common[..], more].concat(), "pages on ");
        let api = format!("{}/api/v1", url.split(',').next().unwrap());
        let target = (0..100).find_map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            get(&format!("{api}/targets")).1[0]["id"].as_i64()
        });
        (server, api, target.expect("the shop is watched"))
    };
    let (server, api, target) = start("closed", &[]);
    let (status, value) = post(&format!("{api}/targets/{target}/graph"), &[], b"");
    assert_eq!(status, 403, "{value}");
    assert!(value["next"].as_str().unwrap().contains("--allow-snapshots"), "{value}");
    drop(server);
    let (_server, api, target) = start("open", &["--allow-snapshots"]);
    let take = || post(&format!("{api}/targets/{target}/graph"), &[], b"");
    let (status, first) = take();
    if status == 502 && first.to_string().contains("CAP_SYS_PTRACE") {
        println!("skipped: no permission to take a snapshot");
        return;
    }
    assert_eq!((status, first["kind"].clone()), (201, json!("graph")), "{first}");
    // The shop leaks sessions.
    std::thread::sleep(Duration::from_secs(8));
    let second = take().1;
    let heap = |id: &Value, path: &str| get(&format!("{api}/captures/{id}/heap/{path}")).1;
    let summary = heap(&second["id"], "summary");
    assert!(summary["source"]["runtime"].as_str().unwrap().contains("go1."), "{summary}");
    assert!(summary["source"]["pause_seconds"].as_f64().unwrap() > 0.0, "{summary}");
    let diff = heap(&second["id"], &format!("diff?base={}", first["id"]));
    let grown = diff["types"].as_array().unwrap().iter();
    let session = grown.clone().find(|row| row["type"] == "session.Event");
    let session = session.unwrap_or_else(|| panic!("{:?}", rows(&diff["types"], &["type"])));
    let count = |side: &str| session[side]["objects"].as_u64().unwrap();
    assert!(count("after") > count("before"), "{session}");
    let why = heap(&second["id"], "why?type=session.Event&limit=3");
    let path = why["paths"][0]["path"].as_array().unwrap_or_else(|| panic!("{why}"));
    let end = ["session.Registry.trail", "[]*session.Event[...]", "session.Event"];
    assert!(path.ends_with(&end.map(Value::from)), "{why}");
    assert!(shop_is_well(&shop), "the shop runs on");
}

/// Neither stopped nor gone.
fn shop_is_well(shop: &Process) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", shop.pid())).unwrap();
    let state = status.lines().find_map(|line| line.strip_prefix("State:\t")).unwrap().to_owned();
    let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:\t")).unwrap();
    !state.starts_with(['t', 'T', 'Z']) && tracer == "0"
}

#[test]
fn a_verdict_names_the_path_that_grew() {
    let (shop, _) = shop();
    let arguments = ["diagnose", &shop.pid(), "--for", "60s", "--json", "--graph"];
    // What is sampled is chance: a minute is enough in nearly every case, two always were.
    let leak = (0..2).find_map(|_| {
        let value: Value = serde_json::from_str(&stdout(&arguments)).unwrap();
        if value["warnings"].to_string().contains("CAP_SYS_PTRACE") {
            println!("skipped: no permission to take a snapshot");
            return Some(Value::Null);
        }
        let is_leak = |finding: &&Value| {
            finding["kind"] == "heap-leak" && finding["retainers"][0]["path"].is_array()
        };
        value["findings"].as_array().unwrap().iter().find(is_leak).cloned()
    });
    let leak = leak.expect("two minutes without a verdict");
    if leak.is_null() {
        return;
    }
    let path = leak["retainers"][0]["path"].as_array().unwrap_or_else(|| panic!("{leak}"));
    let end = ["session.Registry.trail", "[]*session.Event[...]", "session.Event"];
    assert!(path.ends_with(&end.map(Value::from)), "{leak}");
    let evidence = leak["evidence"].to_string();
    assert!(evidence.contains("session.Event grew by"), "{evidence}");
    assert!(shop_is_well(&shop), "the shop runs on");
}
