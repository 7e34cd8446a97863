//! Object graphs of real Go processes, checked against what the runtime says of them.
//!
//! `MEMSIGHT_GO_VERSIONS` lists toolchains under `~/.cache/memsight/go` to test beside
//! the system's.

#[path = "graph/marks.rs"]
mod marks;
#[path = "../../../fixtures/toolchains.rs"]
mod toolchains;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use capture::snapshot::{Frozen, Method, Options};
use capture::{ProcessTarget, ScratchColumns};
use decode::elf::Elf;
use decode::goheap::{Input, Keep};
use decode::goruntime::{MemoryImage, Variables};
use model::heap::{Holder, HolderKind, ObjectId, RootPointer, TypeId, TypeKind};
use model::{Addr, HeapGraph};
use toolchains::toolchains;

use marks::{MarkedSpan, Marks};

/// A program that says how large its heap is; it ends when its standard input closes.
struct Planted {
    child: Child,
    _stdin: ChildStdin,
    heap_alloc: u64,
    heap_in_use: u64,
    /// What the program says of itself.
    line: String,
}

impl Drop for Planted {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a program may be built, as flags.
const VARIANTS: [(&str, &[&str]); 3] = [
    ("plain", &[]),
    ("stripped", &["-ldflags=-s -w"]),
    ("PIE, stripped", &["-buildmode=pie", "-ldflags=-s -w"]),
];

const PLANTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../memsight/tests/planted");
const PREEMPTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/preempted");
const QUEUED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/queued");

fn build(go: &Path, dir: &Path, flags: &[&str], experiment: &str) -> PathBuf {
    build_of(PLANTED, go, dir, flags, experiment)
}

fn build_of(source: &str, go: &Path, dir: &Path, flags: &[&str], experiment: &str) -> PathBuf {
    let out = dir.join("planted");
    let mut command = Command::new(go);
    command.args(["build", "-o"]).arg(&out).args(flags).arg(".");
    command.current_dir(source);
    command.env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("GOEXPERIMENT", experiment);
    assert!(command.status().expect("the Go toolchain runs").success(), "go build {flags:?}");
    out
}

/// A program with C and a plugin; `None` where there is no C compiler.
fn build_foreign(dir: &Path, out: &str, flags: &[&str], package: &str) -> Option<PathBuf> {
    let cc = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    if Command::new(&cc).arg("--version").stdout(Stdio::null()).status().is_err() {
        println!("skipped: no C compiler ({cc}), which cgo and plugins need");
        return None;
    }
    let out = dir.join(out);
    let mut command = Command::new("go");
    command.args(["build", "-o"]).arg(&out).args(flags).arg(package);
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../memsight/tests/foreign"));
    command.env("CGO_ENABLED", "1").env("GOFLAGS", "");
    assert!(command.status().unwrap().success(), "go build {flags:?} {package}");
    Some(out)
}

fn start(program: &Path, arguments: &[&str]) -> Planted {
    let mut command = Command::new(program);
    command.args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let line = stdout.lines().nth(1).unwrap().unwrap();
    let (heap_alloc, heap_in_use) = (number(&line, "heap_alloc"), number(&line, "heap_in_use"));
    Planted { child, _stdin: stdin, heap_alloc, heap_in_use, line }
}

/// A number of a line of JSON.
fn number(line: &str, key: &str) -> u64 {
    let start = line.find(&format!("\"{key}\":")).unwrap() + key.len() + 3;
    let rest = &line[start..];
    rest[..rest.find([',', '}']).unwrap()].parse().unwrap()
}

/// `None` when this machine does not let us trace.
fn graph_of(planted: &Planted, method: Method) -> Option<HeapGraph<'static>> {
    let target = ProcessTarget::attach(planted.child.id()).unwrap();
    let options = Options { method, ..Options::default() };
    // The graphs of a test live as long as it does.
    match target.object_graph(&options, Keep::Nothing, columns(), &mut |_, _| {}) {
        Ok(graph) => Some(graph),
        Err(error)
            if error.to_string().contains("CAP_SYS_PTRACE")
                || error.to_string().contains("seccomp") =>
        {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Where columns lie, until the test ends.
fn columns() -> &'static ScratchColumns {
    Box::leak(Box::new(ScratchColumns::new(std::env::temp_dir())))
}

/// A bit for each object that the roots reach.
fn reachable(graph: &HeapGraph<'_>) -> Vec<bool> {
    reachable_from(graph, |_| true)
}

/// The same of some of the roots.
fn reachable_from(graph: &HeapGraph<'_>, is_root: impl Fn(&Holder) -> bool) -> Vec<bool> {
    let mut seen = vec![false; graph.len()];
    let is_from = |found: &&RootPointer| is_root(&graph.holders[found.holder.0 as usize]);
    let mut stack: Vec<u32> =
        graph.root_pointers.iter().filter(is_from).map(|found| found.target.0).collect();
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
    let planted = start(program, &[]);
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
    // Held by an interface: known in any binary. sync.Map is a trie since 1.24.
    let entries = if minor >= 24 { 50 } else { 0 };
    let always = [
        ("main.sizable", 10),
        ("main.middling", 10),
        ("main.vast", vast),
        ("main.square", 100),
        ("[]main.order", 1),
        ("main.item", 1000),
        ("sync.entry[interface {},interface {}]", entries),
        ("sync.indirect[interface {},interface {}]", entries / 50),
        ("[]sync.poolLocal", 1),
    ];
    // These are known from the types of variables.
    let with_debug = [
        ("list.Element", 100),
        ("main.tree", 127),
        ("main.counter", 1),
        ("map[string]*main.order", 1),
        ("chan *main.item", 1),
        ("sync.entry[interface {},interface {}]", entries * 3),
        ("[]sync.poolLocal", 4),
        ("sync.poolChainElt", 4),
        ("[]sync.eface", 4),
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
        for (variant, flags) in VARIANTS {
            let program = build(&go, dir.path(), flags, "");
            check(&program, &format!("Go {version}, {variant}"));
        }
    }
}

/// What waits for a finalizer or a cleanup that does not return is alive only by the
/// runtime's queues, which a stripped program names nowhere.
#[test]
fn what_waits_in_the_queues_is_alive() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        for (variant, flags) in VARIANTS {
            let planted = start(&build_of(QUEUED, &go, dir.path(), flags, ""), &[]);
            let Some(graph) = graph_of(&planted, Method::Fork) else { return };
            let (_, all, rest) = totals(&graph);
            let waiting = number(&planted.line, "waiting_bytes");
            let what = format!("Go {version}, {variant}");
            println!("{what}: {all} of {}, {waiting} wait, {rest} garbage", planted.heap_alloc);
            // Each thread that the runtime starts meanwhile is 5 KiB.
            assert!(all.abs_diff(planted.heap_alloc) < 32 << 10, "{what}");
            assert!(rest < 64, "{what}: {rest}");
            let is_queue = [HolderKind::Finalizer, HolderKind::Cleanup];
            let seen = reachable_from(&graph, |holder| !is_queue.contains(&holder.kind));
            let mut without = 0;
            graph
                .objects
                .each_size(|object, size| without += size * u64::from(seen[object.index()]));
            assert!(all - without >= waiting, "{what}: {without} of {all} without the queues");
        }
    }
}

/// Where no symbols tell it, code tells the same.
#[test]
fn queues_are_where_the_symbols_say() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        for flags in [&[][..], &["-buildmode=pie"][..]] {
            let program = build_of(QUEUED, &go, dir.path(), flags, "");
            let bytes = std::fs::read(&program).unwrap();
            let elf = Elf::parse(&bytes).unwrap();
            let table = decode::goruntime::static_table(&elf, &bytes).unwrap();
            let known = Variables::by_symbols(&elf);
            let release = decode::goruntime::Binary::open(&bytes).unwrap().version;
            let found = Variables::default().or_by_code(&elf, &table, release);
            assert!(known.all_finalizers.is_some(), "Go {version}");
            assert_eq!(found.all_finalizers, known.all_finalizers, "Go {version} {flags:?}");
            assert_eq!(found.cleanups, known.cleanups, "Go {version} {flags:?}");
            let has_cleanups =
                ["21", "22", "23", "24"].iter().all(|old| !version.contains(&format!("1.{old}.")));
            assert_eq!(known.cleanups.is_some(), has_cleanups, "Go {version}");
        }
    }
}

/// What only a vector register of a preempted goroutine points to is alive, as it is to the
/// collector since Go 1.27.
#[test]
fn saved_vector_registers_hold_objects() {
    let dir = tempfile::tempdir().unwrap();
    let is_new = |version: &str| version.starts_with("1.27.");
    let Some((_, go)) = toolchains().into_iter().find(|(version, _)| is_new(version)) else {
        println!("skipped: no Go 1.27 in MEMSIGHT_GO_VERSIONS");
        return;
    };
    for flags in [&[][..], &["-ldflags=-s -w"][..]] {
        let planted = start(&build_of(PREEMPTED, &go, dir.path(), flags, ""), &[]);
        for _ in 0..4 {
            let Some(graph) = graph_of(&planted, Method::Fork) else { return };
            let seen = reachable(&graph);
            let is_hidden = |index: &usize| graph.objects.bytes(ObjectId(*index as u32)) > 64 << 10;
            let hidden: Vec<usize> = (0..graph.len()).filter(is_hidden).collect();
            // The collector kept them all.
            assert_eq!(hidden.len(), 3);
            // One of them runs, and its vector registers are not read.
            let held = hidden.iter().filter(|index| seen[**index]).count();
            assert!(held >= 2, "{held} of {hidden:?}: {:#?}", graph.stacks);
            let is_register = |holder: &Holder| holder.kind == HolderKind::Register;
            let by_register = reachable_from(&graph, is_register);
            let by_others = reachable_from(&graph, |holder| !is_register(holder));
            assert!(hidden.iter().filter(|index| by_register[**index]).count() >= 2);
            assert!(hidden.iter().all(|index| !by_others[*index]));
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
    let planted = start(&build(Path::new("go"), dir.path(), &[], ""), &[]);
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

/// Every pointer of some objects: where it lies, and the object it leads to; and the objects
/// with their sizes.
struct Words {
    objects: BTreeMap<u64, u64>,
    pointers: BTreeMap<u64, u64>,
}

/// `header` is what lies before the value of an object of this size that has pointers.
fn words(graph: &HeapGraph<'_>, seen: &[bool], header: impl Fn(u64) -> u64) -> Words {
    let mut words = Words { objects: BTreeMap::new(), pointers: BTreeMap::new() };
    let address = |object: ObjectId| graph.objects.address(object).unwrap().0;
    let objects = (0..graph.len()).filter(|index| seen[*index]);
    for object in objects.map(|index| ObjectId(index as u32)) {
        let bytes = graph.objects.bytes(object);
        words.objects.insert(address(object), bytes);
        for (slot, target) in graph.edges.of(object) {
            let at = address(object) + header(bytes) + u64::from(slot) * 8;
            words.pointers.insert(at, address(target));
        }
    }
    words
}

/// How many entries of a map another has not, or has otherwise.
fn missing(of: &BTreeMap<u64, u64>, other: &BTreeMap<u64, u64>) -> usize {
    of.iter().filter(|(key, value)| other.get(key) != Some(value)).count()
}

#[test]
fn objects_and_pointers_are_those_of_a_heap_dump() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        let file = dir.path().join("heapdump");
        let program = build(&go, dir.path(), &[], "");
        let planted = start(&program, &["-dump", file.to_str().unwrap()]);
        let Some(graph) = graph_of(&planted, Method::Fork) else { return };
        let dump = decode::heapdump::read(&std::fs::read(&file).unwrap()).unwrap().graph;
        let has_headers = !graph.source.runtime.starts_with("go1.21");
        let header = |bytes: u64| 8 * u64::from(has_headers && bytes > 512 && bytes <= 32768);
        // A dump knows nothing of what cleanups, handles of weak pointers, variables that lie
        // on the stack and are used by their address (closures to be deferred are), and
        // interrupted frames hold.
        let is_dumped = |holder: &Holder| {
            !matches!(holder.kind, HolderKind::Cleanup | HolderKind::WeakHandle)
                && graph.strings.get(holder.name) != "object"
                && !graph.strings.get(holder.place).starts_with("main.heldByDefer")
                && !holder.is_conservative
        };
        let all = words(&graph, &reachable(&graph), header);
        let sure = words(&graph, &reachable_from(&graph, is_dumped), header);
        let dumped = words(&dump, &reachable(&dump), |_| 0);
        let found = [
            missing(&dumped.objects, &all.objects),
            missing(&dumped.pointers, &all.pointers),
            missing(&sure.objects, &dumped.objects),
            missing(&sure.pointers, &dumped.pointers),
        ];
        println!("Go {version}: {} objects dumped, not the same: {found:?}", dumped.objects.len());
        // The program goes on after its dump: what it waits and prints with.
        assert!(dumped.objects.len() > 70_000 && dumped.pointers.len() > 70_000);
        assert!(found.iter().all(|count| *count < 80), "Go {version}: {found:?}");
    }
}

/// Marking, sweeping and allocation are under way: spans are unswept or half swept, and marks
/// are incomplete.
#[test]
fn a_collection_that_runs_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        let planted = start(&build(&go, dir.path(), &[], ""), &["-churn"]);
        let mut marking = 0;
        for _ in 0..10 {
            let Some(graph) = graph_of(&planted, Method::Fork) else { return };
            graph.check().unwrap();
            let (_, bytes, _) = totals(&graph);
            let difference = bytes.abs_diff(planted.heap_alloc);
            let is_right = difference < planted.heap_alloc / 500;
            assert!(is_right, "Go {version}: {bytes} of {}", planted.heap_alloc);
            marking += u32::from(graph.source.is_marking);
        }
        println!("Go {version}: {marking} of 10 snapshots while the collector marked");
        assert!(marking > 0, "Go {version}");
    }
}

/// How the runtime's marks and what we say is reachable differ, by size of the objects.
#[derive(Debug, Default)]
struct Differences {
    /// Marked, and not reachable.
    marked: BTreeMap<u64, u64>,
    /// Reachable, and not marked.
    reached: BTreeMap<u64, u64>,
    compared: u64,
}

fn differences(graph: &HeapGraph<'_>, spans: &[&MarkedSpan]) -> Differences {
    let seen = reachable(graph);
    let mut differences = Differences::default();
    let reached = (0..graph.len()).filter(|index| seen[*index]);
    let address = |index: usize| graph.objects.address(ObjectId(index as u32)).unwrap().0;
    let reached: BTreeSet<u64> = reached.map(address).collect();
    for span in spans {
        for (slot, is_marked) in span.marked.iter().enumerate() {
            let is_reached = reached.contains(&(span.base + slot as u64 * span.elem));
            differences.compared += u64::from(*is_marked);
            match (is_marked, is_reached) {
                (true, false) => *differences.marked.entry(span.elem).or_default() += 1,
                (false, true) => *differences.reached.entry(span.elem).or_default() += 1,
                _ => {}
            }
        }
    }
    differences
}

/// Takes the memory of a program, and its mark bits.
fn frozen_marks(target: &ProcessTarget) -> Option<(Frozen, Marks)> {
    let Ok(frozen) = target.freeze(&Options::default(), &mut |_, _| {}) else {
        println!("skipped: this machine does not let us take a process's memory");
        return None;
    };
    let program = target.program(&frozen);
    let marks = marks::read(program.exe, &program.image);
    Some((frozen, marks))
}

/// Slot by slot: what the collector marked is what we reach.
#[test]
fn the_runtime_marked_what_is_reachable() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        let planted = start(&build(&go, dir.path(), &[], ""), &["-still"]);
        let target = ProcessTarget::attach(planted.child.id()).unwrap();
        let Some((frozen, marks)) = frozen_marks(&target) else { return };
        assert!(!marks.is_marking, "Go {version}");
        let graph = target.program(&frozen).object_graph(Keep::Nothing, columns()).unwrap();
        let spans: Vec<&MarkedSpan> = marks.spans.iter().collect();
        let found = differences(&graph, &spans);
        println!("Go {version}: {found:?}");
        assert!(found.compared > 70_000, "Go {version}: {}", found.compared);
        let count = |of: &BTreeMap<u64, u64>| of.values().sum::<u64>();
        assert!(count(&found.marked) <= 8, "Go {version}: {found:?}");
        // A thread that the runtime starts after the collection brings six: its g's, m and signal masks.
        assert!(count(&found.reached) <= 24, "Go {version}: {found:?}");
    }
}

/// The same of spans that are not swept yet, whose marks lie elsewhere.
#[test]
fn marks_of_unswept_spans_are_what_is_reachable() {
    let dir = tempfile::tempdir().unwrap();
    for (version, go) in toolchains() {
        let planted = start(&build(&go, dir.path(), &[], ""), &["-churn"]);
        let target = ProcessTarget::attach(planted.child.id()).unwrap();
        let (mut compared, mut tries) = (0, 0);
        while compared < 1000 && tries < 100 {
            tries += 1;
            let Some((frozen, marks)) = frozen_marks(&target) else { return };
            let spans: Vec<&MarkedSpan> =
                marks.spans.iter().filter(|span| span.is_unswept).collect();
            if marks.is_marking || spans.len() < 100 {
                continue;
            }
            let graph = target.program(&frozen).object_graph(Keep::Nothing, columns()).unwrap();
            let found = differences(&graph, &spans);
            let inline = spans.iter().filter(|span| span.has_inline_marks).count();
            println!("Go {version}: {} spans, {inline} with marks within: {found:?}", spans.len());
            // Nothing is allocated in a span that is not swept.
            assert_eq!(found.reached, BTreeMap::new(), "Go {version}");
            // Lists of two nodes were garbage since, and what a collection waits with.
            let is_garbage = |(elem, count): (&u64, &u64)| *elem == 16 || *count < 16;
            assert!(found.marked.iter().all(is_garbage), "Go {version}: {found:?}");
            compared += found.compared;
        }
        assert!(compared >= 1000, "Go {version}: never frozen before it swept, {tries} times");
    }
}

/// A plugin's file may be another one by now, or none: no variable gets a wrong name.
#[test]
fn a_file_that_is_not_the_one_that_was_loaded_names_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let plugin = |out, flag| build_foreign(dir.path(), out, &["-buildmode=plugin", flag], "./plug");
    let Some(program) = build_foreign(dir.path(), "foreign", &[], ".") else { return };
    let (loaded, other) = (plugin("plug.so", "-v").unwrap(), plugin("new.so", "-gcflags=-l"));
    let planted = start(&program, &[loaded.to_str().unwrap()]);
    let target = ProcessTarget::attach(planted.child.id()).unwrap();
    let Ok(frozen) = target.freeze(&Options::default(), &mut |_, _| {}) else {
        println!("skipped: this machine does not let us take a process's memory");
        return;
    };
    let mut program = target.program(&frozen);
    let (own, other) = (std::fs::read(&loaded).unwrap(), std::fs::read(other.unwrap()).unwrap());
    let cut = &own[..own.len() / 2];
    for (file, is_right) in
        [(Some(&own[..]), true), (Some(&other), false), (Some(cut), false), (None, false)]
    {
        for library in &mut program.libraries {
            library.file = file.filter(|_| library.path.ends_with("/plug.so"));
        }
        let graph = program.object_graph(Keep::Nothing, columns()).unwrap();
        graph.check().unwrap();
        let (_, bytes, _) = totals(&graph);
        assert!(bytes.abs_diff(planted.heap_alloc) < 24 << 10, "{bytes} {}", planted.heap_alloc);
        let is_named = names(&graph, HolderKind::Global).contains(&"foreign/plug.cache");
        assert_eq!(is_named, is_right, "{:?}", graph.warnings);
        let is_refused =
            graph.warnings.iter().any(|text| text.starts_with("plug.so was not found"));
        assert_eq!(is_refused, !is_right, "{:?}", graph.warnings);
        let of_plugin = |holder: &&Holder| graph.strings.get(holder.place) == "plug.so";
        let unnamed = graph.holders.iter().filter(of_plugin).count();
        assert_eq!(unnamed > 5, !is_right, "{unnamed}");
    }
}

/// Memory as it may be found in a damaged core: the runtime's own tables say anything.
#[test]
fn damaged_memory_gives_a_partial_answer_or_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let planted = start(&build(Path::new("go"), dir.path(), &[], ""), &[]);
    let target = ProcessTarget::attach(planted.child.id()).unwrap();
    let Ok(frozen) = target.freeze(&Options::default(), &mut |_, _| {}) else {
        println!("skipped: this machine does not let us take a process's memory");
        return;
    };
    let program = target.program(&frozen);
    let whole: Vec<(Addr, Vec<u8>)> =
        program.image.ranges().iter().map(|(start, bytes)| (*start, bytes.to_vec())).collect();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut answers = 0;
    for round in 0..24 {
        let mut damaged = whole.clone();
        for _ in 0..400 * (round + 1) {
            let range = (next() as usize) % damaged.len();
            let bytes = &mut damaged[range].1;
            let at = (next() as usize % (bytes.len() / 8)) * 8;
            let old = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
            let value = match next() % 5 {
                0 => 0,
                1 => u64::MAX,
                2 => next(),
                3 => old.wrapping_add(next() % 64).wrapping_sub(32),
                _ => old ^ 1 << (next() % 64),
            };
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let ranges = damaged.iter().map(|(start, bytes)| (*start, &bytes[..])).collect();
        let image = MemoryImage::new(ranges);
        let read = decode::goheap::read(&Input {
            binary: program.binary,
            attached: program.attached,
            file: program.exe,
            debug_file: None,
            libraries: &program.libraries,
            image: &image,
            threads: program.threads,
            contents: Keep::All,
        });
        if let Ok(graph) = read {
            graph.check().unwrap();
            answers += 1;
        }
    }
    assert!(answers > 4, "{answers}");
}
