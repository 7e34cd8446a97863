//! What dominators cost in resident memory. Alone in its process, so that nothing else
//! moves the high-water mark.

use analyze::heap::Dominators;
use model::heap::{
    Edges, HeapGraph, HeapType, Holder, HolderId, HolderKind, Listed, ObjectId, Objects,
    RootPointer,
};
use model::strings::StrId;

const OBJECTS: u32 = 2_000_000;

/// A table of records, each with a name and a parent that is a record before it: 1.25
/// pointers an object.
fn table() -> HeapGraph<'static> {
    let mut edges = Edges::empty();
    for object in 0..OBJECTS {
        if object % 2 == 0 {
            edges.push(0, ObjectId(object + 1));
            if object % 4 == 0 {
                edges.push(1, ObjectId(object / 2));
            }
        }
        edges.end_object();
    }
    let holder = Holder {
        kind: HolderKind::Global,
        name: StrId(0),
        place: StrId(0),
        parent: None,
        goroutine: None,
        of: None,
        is_conservative: false,
    };
    let pointer = |target| RootPointer { holder: HolderId(0), slot: 0, target: ObjectId(target) };
    let address: Vec<u64> = (0..u64::from(OBJECTS)).map(|object| object * 48).collect();
    let bytes = vec![48; OBJECTS as usize];
    HeapGraph {
        types: vec![HeapType::default()],
        objects: Objects::Listed(Listed { address: address.into(), bytes: bytes.into() }),
        type_of: vec![0; OBJECTS as usize].into(),
        edges,
        holders: vec![holder],
        root_pointers: (0..OBJECTS).step_by(2).map(pointer).collect(),
        ..HeapGraph::default()
    }
}

fn resident(key: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[test]
fn dominators_take_less_than_26_bytes_an_object() {
    let graph = table();
    assert_eq!(graph.check(), Ok(()));
    // Writing 5 resets the high-water mark.
    let reset = std::fs::write("/proc/self/clear_refs", "5");
    let (Ok(()), Some(before)) = (reset, resident("VmRSS:")) else {
        println!("skipped: /proc/self does not tell resident memory here");
        return;
    };
    let dominators = Dominators::of(&graph);
    let peak = resident("VmHWM:").expect("it was there before");
    assert_eq!(dominators.reachable().objects, u64::from(OBJECTS));
    // The root pointers cost 2 beside the 20 of the tree and what the allocator rounds up.
    let bytes = (peak - before) as f64 / f64::from(OBJECTS);
    assert!(bytes < 26.0, "{bytes:.1} bytes an object");
    assert!(bytes > 15.0, "{bytes:.1} bytes an object: the measure is broken");
}
