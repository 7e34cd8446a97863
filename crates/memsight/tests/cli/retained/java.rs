//! The dump of a Java virtual machine.

use std::collections::{HashMap, HashSet};
use std::fs;

use analyze::heap::{Dominators, Node};
use decode::hprof::{Options, Statics, read};
use model::heap::{Edges, Holder, HolderId, HolderKind, Listed, ObjectId, Objects, RootPointer};
use model::strings::StrId;
use model::{Addr, HeapGraph};

use super::visualvm::{self, Seen};
use super::{address, objects, peers};

/// References that VisualVM does not follow from class objects.
const LEFT_OUT: [&str; 4] = ["<super>", "<signers>", "<protectionDomain>", "<class>"];

/// The graph as VisualVM builds it: without what classes point to beside their loaders and
/// static fields, with each class behind the first instance that was found of it, and with
/// its sizes. It does not count class objects.
fn as_visualvm_sees_it(graph: &HeapGraph<'_>, seen: &HashMap<u64, Seen>) -> HeapGraph<'static> {
    let theirs = |object: ObjectId| &seen[&address(graph, object)];
    let mut targets: Vec<Vec<ObjectId>> = objects(graph).map(|o| followed(graph, o)).collect();
    let mut roots: Vec<ObjectId> = graph.root_pointers.iter().map(|found| found.target).collect();
    for (from, _, to) in graph.weak.iter().filter(|weak| theirs(weak.0).is_class) {
        targets[from.index()].push(*to);
    }
    let find = |id: u64| graph.objects.find(Addr(id)).filter(|found| found.1 == 0);
    for class in objects(graph).filter(|object| theirs(*object).is_class) {
        if let Some((before, _)) = find(theirs(class).before)
            && class != before
        {
            targets[before.index()].push(class);
        }
    }
    // References that hold nothing, and those of objects that nothing reaches, count in its
    // dominators, though not for what is reachable.
    let reachable = reachable(&targets, &roots);
    for (from, _, to) in graph.weak.iter().filter(|weak| reachable[weak.2.index()]) {
        let is_held = reachable[from.index()];
        if is_held { &mut targets[from.index()] } else { &mut roots }.push(*to);
    }
    for object in objects(graph).filter(|object| !reachable[object.index()]) {
        roots.extend(targets[object.index()].iter().filter(|target| reachable[target.index()]));
    }
    let bytes = |object| if theirs(object).is_class { 0 } else { theirs(object).bytes };
    drawn(graph, &targets, &roots, bytes)
}

fn followed(graph: &HeapGraph<'_>, object: ObjectId) -> Vec<ObjectId> {
    let heap_type = graph.heap_type(graph.type_of(object)).expect("a type");
    let fields = graph.fields_of(heap_type);
    let is_followed = |slot: u32| {
        let at = fields.partition_point(|field| field.offset < u64::from(slot));
        let field = fields.get(at).filter(|field| field.offset == u64::from(slot));
        let name = field.map_or("", |field| graph.strings.get(field.name));
        !LEFT_OUT.contains(&name) && slot != u32::MAX
    };
    graph.edges.of(object).filter(|edge| is_followed(edge.0)).map(|edge| edge.1).collect()
}

fn reachable(targets: &[Vec<ObjectId>], roots: &[ObjectId]) -> Vec<bool> {
    let mut reachable = vec![false; targets.len()];
    let mut open = roots.to_vec();
    while let Some(object) = open.pop() {
        if !std::mem::replace(&mut reachable[object.index()], true) {
            open.extend(&targets[object.index()]);
        }
    }
    reachable
}

/// The same objects with other pointers, roots and sizes.
fn drawn(
    graph: &HeapGraph<'_>,
    targets: &[Vec<ObjectId>],
    roots: &[ObjectId],
    bytes: impl Fn(ObjectId) -> u64,
) -> HeapGraph<'static> {
    let listed = Listed {
        address: objects(graph).map(|object| address(graph, object)).collect::<Vec<_>>().into(),
        bytes: objects(graph).map(bytes).collect::<Vec<_>>().into(),
    };
    let mut edges = Edges::empty();
    for targets in targets {
        targets.iter().enumerate().for_each(|(slot, target)| edges.push(slot as u32, *target));
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
    let pointer = |(slot, target): (usize, &ObjectId)| RootPointer {
        holder: HolderId(0),
        slot: slot as u32,
        target: *target,
    };
    let drawn = HeapGraph {
        types: vec![model::heap::HeapType::default()],
        objects: Objects::Listed(listed),
        type_of: vec![0; graph.len()].into(),
        edges,
        slot_bytes: 1,
        holders: vec![holder],
        root_pointers: roots.iter().enumerate().map(pointer).collect(),
        ..HeapGraph::default()
    };
    drawn.check().expect("a sound graph");
    drawn
}

#[test]
fn visualvm_finds_the_same_retained_sizes_in_a_java_heap() {
    let options = ["-XX:+UseSerialGC", "-XX:+UseCompressedOops"];
    let Some(dump) = peers::java_dump("retained", &options) else { return };
    let Some(seen) = visualvm::objects(&dump.file) else { return };
    let options = Options { statics: Statics::Classes, ..Options::default() };
    let ours = read(&fs::read(&dump.file).unwrap(), &options).unwrap();
    let known: HashSet<u64> = objects(&ours).map(|object| address(&ours, object)).collect();
    assert_eq!(known, seen.keys().copied().collect());
    let graph = as_visualvm_sees_it(&ours, &seen);
    let dominators = Dominators::of(&graph);
    let theirs = |object: ObjectId| &seen[&address(&graph, object)];
    // It loses what class objects retain on the way up, so whoever dominates one is left out.
    let mut left_out = HashSet::new();
    for class in objects(&graph).filter(|object| theirs(*object).is_class) {
        left_out.insert(Node::Object(class));
        left_out.extend(dominators.ancestors(Node::Object(class)));
    }
    let retained = |object: ObjectId| dominators.retained(Node::Object(object)).bytes;
    let compared: Vec<ObjectId> =
        objects(&graph).filter(|object| !left_out.contains(&Node::Object(*object))).collect();
    let differing: Vec<String> = compared
        .iter()
        .filter(|object| retained(**object) != theirs(**object).retained)
        .map(|object| format!("{object:?} {} {:?}", retained(*object), theirs(*object)))
        .collect();
    let few = &differing[..differing.len().min(20)];
    assert!(differing.is_empty(), "{} of {}: {few:#?}", differing.len(), compared.len());
    let large = compared.iter().filter(|object| retained(**object) > 10_000).count();
    println!("{} retained sizes are equal, {large} of them above 10 kB", compared.len());
    assert!(compared.len() * 10 > ours.len() * 9 && large > 10, "{} {large}", compared.len());
}
