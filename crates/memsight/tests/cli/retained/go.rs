//! The heap of a running Go program, exported.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::sync::OnceLock;

use analyze::heap::{Dominators, Node};
use decode::heapfile::{self, Verify};
use model::HeapGraph;
use model::heap::{Holder, HolderId, HolderKind, ObjectId, Objects, RootPointer};
use tempfile::TempDir;

use super::{address, analyzer, objects, visualvm};
use crate::planted::{build, snapshot, start};
use crate::support::stdout;

/// A snapshot of the planted program, and the same as a Java heap dump.
struct Exported {
    _dir: TempDir,
    snapshot: Vec<u8>,
    dump: PathBuf,
}

/// The same for all tests; `None` when this machine does not let us trace.
fn exported() -> Option<&'static Exported> {
    static EXPORTED: OnceLock<Option<Exported>> = OnceLock::new();
    EXPORTED.get_or_init(export).as_ref()
}

fn export() -> Option<Exported> {
    let dir = tempfile::tempdir().unwrap();
    let file = snapshot(&start(&build(dir.path(), &[]), &[]), dir.path())?;
    let dump = dir.path().join("planted.hprof");
    stdout(&["heap", "export", &file, "--to", "hprof", "-o", dump.to_str().unwrap()]);
    Some(Exported { snapshot: fs::read(file).unwrap(), dump, _dir: dir })
}

/// What objects take in the dump beyond their own size, as `decode::hprof::write` documents
/// it: in readers that take sizes as they are given, and in those that add up fields.
fn added(graph: &HeapGraph<'_>, does_add_up: bool) -> HashMap<ObjectId, u64> {
    let mut slots: HashMap<(u32, u64), BTreeSet<u32>> = HashMap::new();
    let key = |object: ObjectId| (graph.type_of(object).0, graph.objects.bytes(object));
    for object in objects(graph) {
        let used = slots.entry(key(object)).or_default();
        used.extend(graph.edges.of(object).map(|edge| edge.0));
    }
    let added = |object: ObjectId| {
        let bytes = graph.objects.bytes(object);
        if bytes <= 4096 {
            let fields = slots[&key(object)].len() as u64;
            return if does_add_up {
                (16 + 8 * fields).max(bytes).next_multiple_of(8) - bytes
            } else {
                0
            };
        }
        let elements = bytes / 8 - 3;
        let slots = || graph.edges.of(object).map(|edge| u64::from(edge.0));
        match slots().any(|slot| slot >= elements) {
            true => 24 + 8 * slots().filter(|slot| slot + 1 >= elements).count() as u64,
            false => 0,
        }
    };
    objects(graph).map(|object| (object, added(object))).filter(|(_, bytes)| *bytes > 0).collect()
}

/// Retained sizes of all reachable objects as a reader of the dump must find them.
fn expected(graph: &HeapGraph<'_>, does_add_up: bool) -> HashMap<ObjectId, u64> {
    let dominators = Dominators::of(graph);
    let is_reachable = |object: &ObjectId| dominators.is_reachable(Node::Object(*object));
    let mut expected: HashMap<ObjectId, u64> = objects(graph)
        .filter(is_reachable)
        .map(|object| (object, dominators.retained(Node::Object(object)).bytes))
        .collect();
    for (object, bytes) in added(graph, does_add_up) {
        let above = dominators.ancestors(Node::Object(object));
        for node in std::iter::once(Node::Object(object)).chain(above) {
            if let Node::Object(object) = node
                && let Some(retained) = expected.get_mut(&object)
            {
                *retained += bytes;
            }
        }
    }
    expected
}

/// References of objects that nothing reaches count in VisualVM's dominators of what is
/// reachable.
fn with_unreachable_as_root(mut graph: HeapGraph<'_>) -> HeapGraph<'_> {
    let dominators = Dominators::of(&graph);
    let is_reachable = |object: ObjectId| dominators.is_reachable(Node::Object(object));
    let holder = HolderId(graph.holders.len() as u32);
    let mut pointers = Vec::new();
    for object in objects(&graph).filter(|object| !is_reachable(*object)) {
        let targets = graph.edges.of(object).map(|edge| edge.1).filter(|to| is_reachable(*to));
        pointers.extend(targets.map(|target| RootPointer { holder, slot: 0, target }));
    }
    let named_like = graph.holders.first().cloned().expect("a variable");
    graph.holders.push(Holder { kind: HolderKind::Global, parent: None, ..named_like });
    graph.root_pointers.extend(pointers);
    graph.check().expect("a sound graph");
    graph
}

#[test]
fn visualvm_finds_the_same_retained_sizes_in_a_go_heap() {
    let Some(Exported { snapshot, dump, .. }) = exported() else { return };
    let graph = heapfile::read(snapshot, Verify::All).unwrap();
    assert!(matches!(graph.objects, Objects::Spans(_)) && graph.types.len() > 50);
    let Some(seen) = visualvm::objects(dump) else { return };
    let graph = with_unreachable_as_root(graph);
    // This version may add up fields or take the size it is given.
    let pair = objects(&graph).find(|object| {
        graph.objects.bytes(*object) == 16 && graph.edges.targets(*object).len() == 2
    });
    let does_add_up = seen[&address(&graph, pair.expect("a pair of pointers"))].bytes != 16;
    let expected = expected(&graph, does_add_up);
    let differing: Vec<String> = expected
        .iter()
        .map(|(object, retained)| (&seen[&address(&graph, *object)], object, retained))
        .filter(|(theirs, _, retained)| theirs.retained != **retained)
        .map(|(theirs, object, retained)| format!("{object:?} {retained} {theirs:?}"))
        .collect();
    let few = &differing[..differing.len().min(10)];
    assert!(differing.is_empty(), "{} of {}: {few:#?}", differing.len(), expected.len());
    let large = expected.values().filter(|bytes| **bytes > 100_000).count();
    println!("{} retained sizes are equal, {large} of them above 100 kB", expected.len());
    assert!(expected.len() > 50_000 && large > 10);
}

/// Java's tools take brackets for dimensions, so the export does not begin or end with them.
fn class_name(type_name: &str) -> String {
    let is_bracketed = type_name.starts_with('[') || type_name.ends_with("[]");
    if is_bracketed { format!("array {type_name}") } else { type_name.to_owned() }
}

#[test]
fn hprof_analyzer_finds_the_same_retained_sizes_in_a_go_heap() {
    let Some(Exported { snapshot, dump, .. }) = exported() else { return };
    let Some(theirs) = analyzer::retained_by_class(dump) else { return };
    let graph = heapfile::read(snapshot, Verify::All).unwrap();
    let mut ours = analyzer::ByClass::new();
    // It lists no arrays, which larger objects are.
    for (object, retained) in expected(&graph, true) {
        if graph.objects.bytes(object) <= 4096 {
            let class = class_name(graph.type_name(graph.type_of(object)));
            ours.entry(class).or_default().push(retained);
        }
    }
    analyzer::compare(&ours, theirs, graph.len());
}
