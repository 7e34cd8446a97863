//! Object graphs of real Go processes, checked against what the runtime says of them.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test beside
//! the system's.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use capture::ProcessTarget;
use capture::snapshot::{Method, Options};
use decode::goheap::Keep;
use model::HeapGraph;
use model::heap::{HolderKind, ObjectId, TypeId, TypeKind};

/// The program of planted structures; it ends when its standard input closes.
struct Planted {
    child: Child,
    _stdin: ChildStdin,
    heap_alloc: u64,
    heap_in_use: u64,
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn toolchains() -> Vec<(String, PathBuf)> {
    let mut found = vec![("system".to_owned(), PathBuf::from("go"))];
    let home = std::env::var("HOME").unwrap_or_default();
    for version in std::env::var("MEMSIGHT_GO_VERSIONS").unwrap_or_default().split_whitespace() {
        let go = Path::new(&home).join(format!(".cache/memsight/go/{version}/go/bin/go"));
        if go.exists() {
            found.push((version.to_owned(), go));
        } else {
            println!("skipped: Go {version} is not at {}", go.display());
        }
    }
    found
}

fn build(go: &Path, dir: &Path, flags: &[&str], experiment: &str) -> PathBuf {
    let out = dir.join("planted");
    let mut command = Command::new(go);
    command.args(["build", "-o"]).arg(&out).args(flags).arg(".");
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../memsight/tests/planted"));
    command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("GOEXPERIMENT", experiment);
    assert!(command.status().expect("the Go toolchain runs").success(), "go build {flags:?}");
    out
}

fn start(program: &Path) -> Planted {
    let mut command = Command::new(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let line = stdout.lines().nth(1).unwrap().unwrap();
    let number = |key: &str| -> u64 {
        let start = line.find(&format!("\"{key}\":")).unwrap() + key.len() + 3;
        let rest = &line[start..];
        rest[..rest.find([',', '}']).unwrap()].parse().unwrap()
    };
    let (heap_alloc, heap_in_use) = (number("heap_alloc"), number("heap_in_use"));
    Planted { child, _stdin: stdin, heap_alloc, heap_in_use }
}

/// `None` when this machine does not let us trace.
fn graph_of(planted: &Planted, method: Method) -> Option<HeapGraph<'static>> {
    let target = ProcessTarget::attach(planted.child.id()).unwrap();
    let options = Options { method, ..Options::default() };
    match target.object_graph(&options, Keep::Nothing, &mut |_, _| {}) {
        Ok(graph) => Some(graph),
        Err(error) if error.to_string().contains("CAP_SYS_PTRACE") => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A bit for each object that the roots reach.
fn reachable(graph: &HeapGraph<'_>) -> Vec<bool> {
    let mut seen = vec![false; graph.len()];
    let mut stack: Vec<u32> = graph.root_pointers.iter().map(|found| found.target.0).collect();
    while let Some(object) = stack.pop() {
        if !std::mem::replace(&mut seen[object as usize], true) {
            stack.extend(graph.edges.targets(ObjectId(object)));
        }
    }
    seen
}

/// Reachable objects and their bytes, and how many are not reachable.
fn totals(graph: &HeapGraph<'_>) -> (u64, u64, u64) {
    let seen = reachable(graph);
    let (mut objects, mut bytes, mut rest) = (0, 0, 0);
    graph.objects.each_size(|object, size| {
        if seen[object.index()] {
            objects += 1;
            bytes += size;
        } else {
            rest += 1;
        }
    });
    (objects, bytes, rest)
}

/// Objects by type.
fn by_type(graph: &HeapGraph<'_>) -> BTreeMap<String, u64> {
    let mut count = BTreeMap::new();
    for (index, seen) in reachable(graph).iter().enumerate() {
        if *seen {
            let id = graph.type_of(ObjectId(index as u32));
            *count.entry(graph.type_name(id).to_owned()).or_default() += 1;
        }
    }
    count
}

fn check(program: &Path, what: &str) {
    let planted = start(program);
    let Some(graph) = graph_of(&planted, Method::Fork) else { return };
    graph.check().unwrap();
    let (objects, bytes, rest) = totals(&graph);
    println!("{what}: {objects} objects, {bytes} bytes, MemStats {}", planted.heap_alloc);
    // The runtime counted before the program printed what it counted: a few allocations.
    let difference = bytes.abs_diff(planted.heap_alloc);
    assert!(difference < planted.heap_alloc / 1000, "{what}: {bytes}, {}", planted.heap_alloc);
    // The last collection left what it had marked; the collector's marks are our marks.
    assert!(rest < 64, "{what}: {rest} objects were marked by the runtime, not by us");
    let in_use = graph.source.heap_in_use_bytes.unwrap();
    assert!(in_use.abs_diff(planted.heap_in_use) < 512 << 10, "{what}: {in_use}");
    assert_eq!(graph.source.method, "fork");
    check_types(&graph, what);
}

fn check_types(graph: &HeapGraph<'_>, what: &str) {
    let types = by_type(graph);
    // Headers and interfaces name these in any binary. Go 1.21 has no headers; to 1.23
    // very large types have one without a name.
    let minor = graph.source.runtime.trim_start_matches("go1.");
    let minor: u32 = minor.split(['.', '-']).next().unwrap().parse().unwrap();
    let vast = u64::from(minor >= 24);
    let always = [
        ("main.sizable", 10),
        ("main.middling", 10),
        ("main.vast", vast),
        ("main.square", 100),
        ("[]main.order", 1),
        ("main.item", 1000),
    ];
    // These are known from the types of variables.
    let with_debug = [
        ("list.Element", 100),
        ("main.tree", 127),
        ("main.counter", 1),
        ("map[string]*main.order", 1),
        ("chan *main.item", 1),
    ];
    let has_debug = graph.warnings.iter().all(|warning| !warning.contains("debug information"));
    let has_headers = minor >= 22;
    let always = always.iter().filter(|_| has_headers);
    let expected = always.chain(with_debug.iter().filter(|_| has_debug));
    for (name, least) in expected {
        let found = types.get(*name).copied().unwrap_or(0);
        assert!(found >= *least, "{what}: {found} of {name}, not {least}: {types:#?}");
    }
    assert_eq!(has_debug, !what.contains("stripped"));
    let unknown = |id: TypeId| graph.heap_type(id).unwrap().kind == TypeKind::Unknown;
    let count = graph.type_of.iter().filter(|id| unknown(TypeId(**id))).count();
    let most = graph.len() / if has_debug { 50 } else { 2 };
    assert!(count < most || minor < 24, "{what}: {count} of {} are untyped", graph.len());
}

fn names<'a>(graph: &'a HeapGraph<'_>, kind: HolderKind) -> Vec<&'a str> {
    let of_kind = graph.holders.iter().filter(|holder| holder.kind == kind);
    of_kind.map(|holder| graph.strings.get(holder.name)).collect()
}

#[test]
fn what_is_alive_is_what_the_runtime_counts() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        let variants: [(&str, &[&str]); 3] = [
            ("plain", &[]),
            ("stripped", &["-ldflags=-s -w"]),
            ("PIE, stripped", &["-buildmode=pie", "-ldflags=-s -w"]),
        ];
        for (variant, flags) in variants {
            let program = build(&go, dir.path(), flags, "");
            check(&program, &format!("Go {version}, {variant}"));
        }
    }
}

#[test]
fn user_arenas_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let program = build(Path::new("go"), dir.path(), &[], "arenas");
    check(&program, "arenas");
}

#[test]
fn variables_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let planted = start(&build(Path::new("go"), dir.path(), &[], ""));
    let Some(graph) = graph_of(&planted, Method::Stop) else { return };
    let globals = names(&graph, HolderKind::Global);
    for name in ["main.bigMap", "main.linkedList", "main.syncMap", "runtime.allp"] {
        assert!(globals.contains(&name), "{name} of {globals:?}");
    }
    let local = |name: &str, function: &str| {
        graph.holders.iter().any(|holder| {
            holder.kind == HolderKind::Local
                && graph.strings.get(holder.name) == name
                && graph.strings.get(holder.place).starts_with(function)
        })
    };
    assert!(local("items", "main.heldByLocal"), "{:?}", names(&graph, HolderKind::Local));
    assert!(local("object", "main.heldByStackObject"));
    assert!(!graph.warnings.iter().any(|warning| warning.contains("debug")));
}
