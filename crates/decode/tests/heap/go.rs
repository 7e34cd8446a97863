//! debug.WriteHeapDump of real Go programs, of each Go version that is there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use decode::heapdump::{HeapDump, read};
use model::heap::{HolderKind, ObjectId};

use crate::peers;
use crate::reach::reachable;

/// The Go toolchains at hand: their names and their `go`.
fn toolchains() -> Vec<(String, PathBuf)> {
    let mut found = vec![("current".to_owned(), PathBuf::from("go"))];
    let cache = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache/memsight/go"));
    let folders = cache.and_then(|cache| fs::read_dir(cache).ok());
    for folder in folders.into_iter().flatten().flatten() {
        let go = folder.path().join("go/bin/go");
        if go.is_file() {
            found.push((folder.file_name().to_string_lossy().into_owned(), go));
        }
    }
    found.sort();
    found
}

/// The dump of the test program built with a toolchain.
pub(crate) fn dump(name: &str, go: &Path) -> Option<HeapDump> {
    let folder = peers::folder(&format!("go-{name}"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/heap/dump.go");
    let (program, file) = (folder.join("dump"), folder.join("heap"));
    let mut build = Command::new(go);
    build.env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env_remove("GOROOT");
    let output = build.arg("build").arg("-o").arg(&program).arg(source).output();
    let Ok(output) = output else {
        println!("skipped: go is missing");
        return None;
    };
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new(&program).arg(&file).output().expect("the program");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let dump = read(&fs::read(file).expect("a dump")).expect("a readable dump");
    dump.graph.check().expect("a sound graph");
    Some(dump)
}

#[test]
fn all_objects_are_those_the_runtime_counts() {
    for (name, go) in toolchains() {
        let Some(dump) = dump(&name, &go) else { continue };
        let (graph, figures) = (&dump.graph, &dump.figures);
        assert_eq!(graph.warnings, Vec::<String>::new(), "{name}");
        let mut bytes = 0;
        graph.objects.each_size(|_, size| bytes += size);
        let reachable = reachable(graph);
        let reachable = (0..graph.len() as u32).filter(|object| reachable[*object as usize]);
        let live: u64 = reachable.map(|object| graph.objects.bytes(ObjectId(object))).sum();
        let version = &graph.source.runtime;
        let alloc = figures.heap_alloc_bytes;
        println!("{version}: {} objects, {bytes} bytes, {live} live, {alloc} counted", graph.len());
        // To the byte: not one object that does not exist, none lost.
        assert_eq!(bytes, alloc, "{version}");
        // What only cleanups, weak handles and the like hold is not reachable in the dump.
        assert!(alloc - live < 4096, "{version}: {live} of {alloc}");
        assert_eq!(graph.source.heap_in_use_bytes, Some(figures.heap_in_use_bytes));
        assert!(figures.heap_in_use_bytes > alloc && figures.gc_count >= 2, "{figures:?}");
    }
}

#[test]
fn holders_are_named() {
    let Some(dump) = dump("holders", Path::new("go")) else { return };
    let graph = &dump.graph;
    let is_hold = |frame: &model::Frame| frame.function == "main.hold";
    let goroutine = graph.goroutines.iter().position(|goroutine| {
        goroutine.stack.is_some_and(|stack| graph.stacks[stack as usize].iter().any(is_hold))
    });
    let goroutine = goroutine.expect("the goroutine that waits in main.hold");
    // What a function is given lies in its caller's frame.
    let local = graph.holders.iter().find(|holder| {
        holder.kind == HolderKind::Local && holder.goroutine == Some(goroutine as u32)
    });
    let parent = &graph.holders[local.expect("a frame").parent.expect("a goroutine").0 as usize];
    let goroutine = &graph.goroutines[goroutine];
    assert_eq!(graph.strings.get(parent.name), format!("goroutine {}", goroutine.id));
    let words = (goroutine.state.as_str(), goroutine.wait_reason.as_str());
    assert_eq!(words, ("waiting", "chan receive"));
    assert!(goroutine.stack_bytes > 0);
    let kinds = |kind| graph.holders.iter().filter(|holder| holder.kind == kind).count();
    assert!(kinds(HolderKind::Finalizer) >= 1 && kinds(HolderKind::Global) > 10);
    // Arrays of pointers lie at their slots.
    let user = (0..graph.len() as u32).find(|object| {
        graph.objects.bytes(ObjectId(*object)) == 80
            && graph.edges.of(ObjectId(*object)).map(|edge| edge.0).eq([1, 3, 6, 8, 9])
    });
    assert!(user.is_some(), "the first main.User: name, tags, meta and function, no next one");
    assert!(!graph.allocated_at.is_empty(), "sampled objects have their stacks");
}
