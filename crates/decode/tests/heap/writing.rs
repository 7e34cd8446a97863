//! What is written is read by others as the same graph.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use decode::hprof::{Options, Statics, read, write};
use model::HeapGraph;
use model::heap::{ObjectId, TypeKind};

use crate::peers;

/// The graph of a Go program, written as a heap dump.
struct Exported {
    graph: HeapGraph<'static>,
    file: PathBuf,
}

/// The same for all tests: making it takes longer than reading it.
fn exported() -> Option<&'static Exported> {
    static EXPORTED: OnceLock<Option<Exported>> = OnceLock::new();
    EXPORTED.get_or_init(|| export("exported")).as_ref()
}

fn export(name: &str) -> Option<Exported> {
    let graph = crate::go::dump(name, Path::new("go"))?.graph;
    let file = peers::folder(name).join("heap.hprof");
    let mut bytes = Vec::new();
    let written = write(&graph, &mut bytes).expect("a vector takes all");
    assert_eq!((written.objects, written.bytes), (graph.len() as u64, bytes.len() as u64));
    assert_eq!(written.clipped, 0);
    assert!(written.companions > 10, "{written:?}");
    fs::write(&file, bytes).expect("a file");
    Some(Exported { graph, file })
}

fn address(graph: &HeapGraph<'_>, object: usize) -> u64 {
    graph.objects.address(ObjectId(object as u32)).expect("an object").0
}

/// What the module's documentation says of sizes: exact ones, and those of readers that add
/// up fields.
fn sizes(graph: &HeapGraph<'_>, does_add_up: bool) -> Vec<u64> {
    let mut slots: HashMap<(u32, u64), std::collections::BTreeSet<u32>> = HashMap::new();
    let key = |object: ObjectId| (graph.type_of(object).0, graph.objects.bytes(object));
    let objects = || (0..graph.len() as u32).map(ObjectId);
    for object in objects() {
        let used = slots.entry(key(object)).or_default();
        used.extend(graph.edges.of(object).map(|edge| edge.0));
    }
    let size = |object: ObjectId| {
        let bytes = graph.objects.bytes(object);
        if bytes <= 4096 {
            let fields = slots[&key(object)].len() as u64;
            let added = (16 + 8 * fields).max(bytes).next_multiple_of(8);
            return if does_add_up { added } else { bytes };
        }
        let elements = bytes / 8 - 3;
        let slots = || graph.edges.of(object).map(|edge| u64::from(edge.0));
        match slots().any(|slot| slot >= elements) {
            true => bytes + 24 + 8 * slots().filter(|slot| slot + 1 >= elements).count() as u64,
            false => bytes,
        }
    };
    objects().map(size).collect()
}

#[test]
fn reading_again_gives_the_same_graph() {
    let Some(Exported { graph, file }) = exported() else { return };
    let options = Options { statics: Statics::Classes, ..Options::default() };
    let again = read(&fs::read(file).expect("a dump"), &options).expect("a readable dump");
    again.check().expect("a sound graph");
    assert_eq!(again.warnings, Vec::<String>::new());
    let sizes = sizes(graph, false);
    let mut compared = 0;
    for (object, size) in sizes.iter().enumerate() {
        let at = address(graph, object);
        let (found, _) = again.objects.find(model::Addr(at)).expect("each object is there");
        assert_eq!(again.objects.address(found), Some(model::Addr(at)));
        let targets = |graph: &HeapGraph<'_>, object: ObjectId| {
            let targets = graph.edges.targets(object).iter();
            targets.map(|target| address(graph, *target as usize)).collect::<Vec<u64>>()
        };
        let mut theirs = targets(&again, found);
        // The class comes last; before it, a companion holds what had no room.
        theirs.pop();
        if again.objects.bytes(found) != *size {
            let companion = theirs.pop().expect("a companion");
            let (companion, _) = again.objects.find(model::Addr(companion)).expect("an object");
            let bytes = again.objects.bytes(found) + again.objects.bytes(companion);
            assert_eq!(bytes, *size, "{at:#x}");
            let rest = targets(&again, companion);
            theirs.extend(&rest[..rest.len() - 1]);
        }
        assert_eq!(theirs, targets(graph, ObjectId(object as u32)), "{at:#x}");
        compared += 1;
    }
    assert!(compared > 50_000);
    let has = |name: &str| again.strings.iter().any(|text| text.contains(name));
    assert!(has("goroutine 1 [") && has("thread goroutine"), "goroutines have names");
    let mut frames = again.stacks.iter().flatten();
    assert!(frames.any(|frame| frame.function == "go.main.hold"), "and stacks");
    let unknown = graph.types.iter().filter(|found| found.kind == TypeKind::Unknown).count();
    assert!(unknown > 10);
}

#[test]
fn hprof_slurp_counts_the_same_objects() {
    let Some(Exported { graph, file }) = exported() else { return };
    let Some(slurp) = peers::peer("hprof-slurp") else { return };
    let list = file.with_extension("slurp.json");
    let mut command = Command::new(slurp);
    command.arg(file).args(["--top", "100000", "--json", "--output"]).arg(&list);
    let output = command.output().expect("hprof-slurp");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list = fs::read(list).expect("its list");
    let list: serde_json::Value = serde_json::from_slice(&list).expect("JSON");
    let mut theirs = HashMap::new();
    for class in list["heap"]["top_allocated_classes"].as_array().expect("classes") {
        let name = class["class_name"].as_str().expect("a name").to_owned();
        theirs.insert(name, class["instance_count"].as_u64().expect("a count"));
    }
    let mut ours: HashMap<String, u64> = HashMap::new();
    for object in (0..graph.len() as u32).map(ObjectId) {
        let mut name = graph.type_name(graph.type_of(object)).to_owned();
        if graph.objects.bytes(object) > 4096 {
            name.push_str("[]");
        }
        *ours.entry(name).or_default() += 1;
    }
    for (name, count) in &ours {
        assert_eq!(theirs.get(name), Some(count), "{name}");
    }
    let threads = graph.goroutines.len() as u64;
    assert_eq!(theirs.get("java.lang.Thread"), Some(&threads));
}
