//! What sync.Pools hold.
//!
//! A pool has an array with a part for each processor, and the one it had before the last
//! collection. Parts hold a value each and a chain of rings of further values. All of that
//! has types no program can name; what they point to else are the pooled objects.
//!
//! Costs two passes over all pointers, and 12 bytes a pooled object.

use ahash::AHashMap;
use model::heap::{HeapGraph, HolderId, ObjectId, TypeId};

use super::Offender;
use super::collect::Collector;
use crate::heap::names::holders_part_name;
use crate::heap::paths::{Style, field, field_of_object};
use crate::heap::retained::Bits;
use crate::heap::{Dominators, Node, Retained};

/// A part of a pool, by its object's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The array that the pool itself points to.
    Locals,
    /// A ring, its slots.
    Inner,
}

/// Tells `found` of every pooled object; returns what each pool comes to, by its name.
///
/// What something else holds as well would stay without the pool and does not count.
pub(super) fn find(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    found: &mut Collector<'_>,
) -> Vec<(String, Retained)> {
    let parts: Vec<Option<Part>> =
        (0..graph.types.len()).map(|id| part_of(graph, TypeId(id as u32))).collect();
    let part = |object: ObjectId| parts.get(graph.type_of(object).0 as usize).copied().flatten();
    if parts.iter().all(Option::is_none) {
        return Vec::new();
    }
    let mut pools: AHashMap<String, Vec<(u32, u64)>> = AHashMap::new();
    let mut seen = Bits::new(graph.len() as u32);
    for (locals, owner) in owners(graph, dominators, &part) {
        let held = pooled(graph, dominators, locals, &mut seen, &part);
        pools.entry(owner).or_default().extend(held);
    }
    let mut rows = Vec::new();
    for (name, mut objects) in pools {
        objects.sort_unstable_by_key(|(object, bytes)| (*bytes, *object));
        let middle = objects.get(objects.len() / 2).map_or(0, |(_, bytes)| *bytes);
        let mut sum = Retained::default();
        for (object, bytes) in &objects {
            found.add(*object, *bytes);
            sum += Retained { bytes: *bytes, objects: 1 };
            let (object, of) = (ObjectId(*object), objects.len() as u64);
            found.tell(Offender { object, wasted_bytes: *bytes, used: middle, of });
        }
        if sum.objects > 0 {
            rows.push((name, sum));
        }
    }
    rows
}

fn part_of(graph: &HeapGraph<'_>, id: TypeId) -> Option<Part> {
    let own = graph.heap_type(id)?;
    let value = own.element.and_then(|element| graph.heap_type(element)).unwrap_or(own);
    if graph.strings.get(value.package) != "sync" {
        return None;
    }
    match graph.strings.get(value.name) {
        "sync.poolLocal" => Some(Part::Locals),
        "sync.poolChainElt" | "sync.eface" => Some(Part::Inner),
        _ => None,
    }
}

/// The arrays of all pools that are alive, and the names of the pools.
fn owners(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    part: &impl Fn(ObjectId) -> Option<Part>,
) -> Vec<(ObjectId, String)> {
    let mut owners: AHashMap<u32, Pointer> = AHashMap::new();
    each_pointer(graph, dominators, |pointer, target| {
        let from_pool = matches!(pointer.from, Node::Object(from) if part(from).is_some());
        if part(target) != Some(Part::Locals) || from_pool {
            return;
        }
        // A goroutine may use the array at this moment; the pool's own pointer counts.
        let known = owners.get(&target.0);
        if known.is_none_or(|known| !known.is_pools(graph) && pointer.is_pools(graph)) {
            owners.insert(target.0, pointer);
        }
    });
    let outer = outer_names(graph, dominators, &owners);
    let mut named: Vec<(ObjectId, String)> = owners
        .into_iter()
        .map(|(locals, pointer)| {
            let outer = match pointer.from {
                Node::Object(pool) => outer.get(&pool.0).map(|outer| outer.name(graph)),
                _ => None,
            };
            (ObjectId(locals), outer.unwrap_or_else(|| pointer.name(graph)))
        })
        .collect();
    named.sort_unstable();
    named
}

/// Pools that are objects by themselves are called what points to them.
fn outer_names(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    owners: &AHashMap<u32, Pointer>,
) -> AHashMap<u32, Pointer> {
    let is_alone = |pointer: &Pointer| match pointer.from {
        Node::Object(pool) => {
            (graph.type_name(graph.type_of(pool)) == "sync.Pool").then_some((pool.0, None))
        }
        _ => None,
    };
    let mut outer: AHashMap<u32, Option<Pointer>> = owners.values().filter_map(is_alone).collect();
    if !outer.is_empty() {
        each_pointer(graph, dominators, |pointer, target| {
            // The package's own list of all pools tells nothing.
            if let Some(known @ None) = outer.get_mut(&target.0)
                && !pointer.is_list(graph)
            {
                *known = Some(pointer);
            }
        });
    }
    outer.into_iter().filter_map(|(pool, pointer)| Some((pool, pointer?))).collect()
}

/// Where something is pointed to from.
#[derive(Clone, Copy, Debug)]
struct Pointer {
    from: Node,
    slot: u32,
}

impl Pointer {
    fn field(self, graph: &HeapGraph<'_>) -> String {
        match self.from {
            Node::Object(from) => field_of_object(graph, from, self.slot, Style::Merged),
            Node::Holder(HolderId(id)) => {
                let of = graph.holders.get(id as usize).and_then(|holder| holder.of);
                of.map(|of| field(graph, of, self.slot, Style::Merged)).unwrap_or_default()
            }
            Node::Root => String::new(),
        }
    }

    fn is_pools(self, graph: &HeapGraph<'_>) -> bool {
        let field = self.field(graph);
        field.ends_with(".local") || field.ends_with(".victim")
    }

    fn is_list(self, graph: &HeapGraph<'_>) -> bool {
        matches!(self.from, Node::Object(from)
            if graph.type_name(graph.type_of(from)) == "[]*sync.Pool")
    }

    /// `main.buffers (global)`, `main.server.buffers`.
    fn name(self, graph: &HeapGraph<'_>) -> String {
        let field = self.field(graph);
        let own = field.strip_suffix(".local").or_else(|| field.strip_suffix(".victim"));
        let own = own.unwrap_or(&field);
        match self.from {
            Node::Object(from) => format!("{}{own}", graph.type_name(graph.type_of(from))),
            Node::Holder(holder) => holders_part_name(graph, holder, own, 1),
            Node::Root => String::new(),
        }
    }
}

/// All pointers that are alive, those of holders last.
fn each_pointer(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    mut visit: impl FnMut(Pointer, ObjectId),
) {
    for from in (0..graph.len() as u32).map(|id| Node::Object(ObjectId(id))) {
        let Node::Object(object) = from else { continue };
        if graph.edges.range(object.index()).is_empty() || !dominators.is_reachable(from) {
            continue;
        }
        graph.edges.of(object).for_each(|(slot, to)| visit(Pointer { from, slot }, to));
    }
    for pointer in &graph.root_pointers {
        let from = Node::Holder(pointer.holder);
        visit(Pointer { from, slot: pointer.slot }, pointer.target);
    }
}

/// What hangs from one array: objects that only the pool holds, and what each retains.
fn pooled(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    locals: ObjectId,
    seen: &mut Bits,
    part: &impl Fn(ObjectId) -> Option<Part>,
) -> Vec<(u32, u64)> {
    let mut objects = Vec::new();
    let mut open = vec![locals];
    while let Some(at) = open.pop() {
        for target in graph.edges.targets(at).iter().map(|target| ObjectId(*target)) {
            if !seen.insert(target.0) {
                continue;
            }
            let node = Node::Object(target);
            if part(target).is_some() {
                open.push(target);
            } else if dominators.dominates(Node::Object(locals), node) {
                objects.push((target.0, dominators.retained(node).bytes));
            }
        }
    }
    objects
}
