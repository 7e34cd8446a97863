//! Dumps of a real virtual machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use decode::hprof::{Options, Statics, read};
use model::HeapGraph;
use model::heap::{FillKind, HolderKind};

use crate::peers::{self, JavaDump};

/// A dump with references of 32 bits, the same for all tests.
fn narrow() -> Option<&'static JavaDump> {
    static DUMP: OnceLock<Option<JavaDump>> = OnceLock::new();
    let options = ["-XX:+UseSerialGC", "-XX:+UseCompressedOops"];
    DUMP.get_or_init(|| peers::java_dump("narrow", &options)).as_ref()
}

fn load(file: &Path, statics: Statics) -> HeapGraph<'static> {
    let bytes = fs::read(file).expect("dump");
    let options = Options { statics, ..Options::default() };
    let graph = read(&bytes, &options).expect("a dump");
    graph.check().expect("a sound graph");
    assert_eq!(graph.warnings, Vec::<String>::new());
    graph
}

/// The histogram of a graph equals one of the virtual machine's two, class by class.
fn check_histogram(name: &str, dump: &JavaDump) {
    let graph = load(&dump.file, Statics::Globals);
    let mut ours: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    graph.objects.each_size(|object, bytes| {
        let entry = ours.entry(graph.type_name(graph.type_of(object))).or_default();
        *entry = (entry.0 + 1, entry.1 + bytes);
    });
    let [before, after] = &dump.histograms;
    let mut differing = Vec::new();
    for (class, found) in &ours {
        let expected = (before.get(*class), after.get(*class));
        if expected.0 == Some(found) || expected.1 == Some(found) {
            continue;
        }
        // The virtual machine has mirrors of its own that it does not dump.
        assert!(!class.starts_with("Make"), "{class} {found:?} {expected:?}");
        differing.push(format!("{class} {found:?} {expected:?}"));
    }
    assert!(ours.len() > 200, "{}", ours.len());
    // Calling for the histogram makes and drops a few objects itself.
    assert!(differing.len() * 20 < ours.len(), "{name}: {differing:#?}");
    for class in ["Make$Node", "Make$Sub", "Make$Narrow", "java.lang.Thread"] {
        assert!(ours.contains_key(class), "{class}");
    }
}

#[test]
fn histogram_with_narrow_references() {
    let Some(dump) = narrow() else { return };
    check_histogram("narrow", dump);
}

#[test]
fn histogram_with_wide_references() {
    let options = ["-XX:+UseSerialGC", "-XX:-UseCompressedOops"];
    let Some(dump) = peers::java_dump("wide", &options) else { return };
    check_histogram("wide", &dump);
}

#[test]
fn histogram_with_wide_headers() {
    let options = ["-XX:+UseSerialGC", "-XX:-UseCompressedClassPointers"];
    let Some(dump) = peers::java_dump("headers", &options) else { return };
    check_histogram("headers", &dump);
}

#[test]
fn histogram_with_wide_alignment() {
    let options = ["-XX:+UseSerialGC", "-XX:ObjectAlignmentInBytes=16"];
    let Some(dump) = peers::java_dump("alignment", &options) else { return };
    check_histogram("alignment", &dump);
}

#[test]
fn holders_and_facts_are_named() {
    let Some(dump) = narrow() else { return };
    let graph = load(&dump.file, Statics::Globals);
    let holder = |kind, name: &str| {
        let is_it = |holder: &&model::heap::Holder| {
            holder.kind == kind && graph.strings.get(holder.name) == name
        };
        graph.holders.iter().find(is_it).cloned()
    };
    assert!(holder(HolderKind::Global, "Make.MAP").is_some());
    assert!(holder(HolderKind::Global, "Make.ring").is_some());
    let keeper = holder(HolderKind::Goroutine, "thread keeper").expect("the thread");
    let goroutine = &graph.goroutines[keeper.goroutine.expect("its number") as usize];
    assert_eq!(
        (goroutine.state.as_str(), goroutine.wait_reason.as_str()),
        ("waiting", "Object.wait")
    );
    let stack = &graph.stacks[goroutine.stack.expect("a stack") as usize];
    assert!(stack.iter().any(|frame| frame.function == "Make.keep" && frame.line > 0));
    let local = graph.holders.iter().find(|holder| {
        holder.kind == HolderKind::Local
            && graph.strings.get(holder.place).starts_with("Make.keep (Make.java:")
    });
    let parent = local.expect("locals of keep").parent.expect("its thread");
    assert_eq!(graph.strings.get(graph.holders[parent.0 as usize].name), "thread keeper");
    // 200 lists of 45 elements, one of 10 in 1,000.
    let list = graph.fills.iter().find(|fill| fill.kind == FillKind::List && fill.capacity == 1000);
    assert_eq!(list.map(|fill| fill.used), Some(10));
    let map = graph.fills.iter().filter(|fill| fill.kind == FillKind::Map);
    assert!(map.clone().any(|fill| (fill.used, fill.capacity) == (200, 512)));
    // "text0" to "text45" were made 36 times each, most of them stay.
    let mut counts = BTreeMap::new();
    for hash in graph.texts.hash.iter() {
        *counts.entry(*hash).or_insert(0) += 1;
    }
    assert!(counts.values().filter(|count| **count >= 100).count() >= 10);
    // The referents of weak and soft references are not pointed to.
    let referents = graph.weak.iter().map(|weak| graph.objects.bytes(weak.2));
    assert_eq!(referents.filter(|bytes| *bytes == 12_361 + 7).count(), 1);
}
