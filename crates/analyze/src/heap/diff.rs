//! What changed from one heap of a program to a later one.
//!
//! Types and roots are matched by their names. Objects are matched by address, type and
//! size where the runtime does not move them, as Go's does not; a slot that was freed and
//! used again for the same type then counts as the same object.

use std::collections::{BTreeMap, BTreeSet};

use model::heap::{HeapGraph, HolderKind, ObjectId, TypeId};

use super::histogram::{Grouping, histogram};
use super::paths::{Paths, Step};
use super::roots::roots;
use super::threads::start_function;
use super::{Dominators, Node, Retained};

/// One of the two heaps.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The graph.
    pub graph: &'a HeapGraph<'a>,
    /// Its dominators.
    pub dominators: &'a Dominators,
}

/// How a type changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TypeChange {
    /// Its name.
    pub name: String,
    /// Live objects of it before and after.
    pub live: (Retained, Retained),
    /// What they retain.
    pub retained: (Retained, Retained),
    /// Objects that were not there before; `None` where objects cannot be matched.
    pub new: Option<Retained>,
    /// Objects that are not there any more.
    pub freed: Option<Retained>,
}

impl TypeChange {
    /// Bytes of live objects, after less before.
    pub fn bytes_delta(&self) -> i64 {
        delta(self.live.0, self.live.1)
    }
}

/// How a root changed; goroutines count by where they were started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootChange {
    /// What it is.
    pub kind: HolderKind,
    /// Its name; of goroutines the outermost function.
    pub name: String,
    /// How many there are, before and after.
    pub holders: (u64, u64),
    /// What they retain.
    pub retained: (Retained, Retained),
}

/// An object that is in both heaps and retains more in the second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// The object in the second heap.
    pub object: ObjectId,
    /// What it retains, before and after.
    pub retained: (Retained, Retained),
}

/// How a way in which objects of a type are held changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathChange {
    /// The type at the end of the way.
    pub name: String,
    /// The way, from the later heap if it is there.
    pub steps: Vec<Step>,
    /// The objects it holds, before and after.
    pub objects: (Retained, Retained),
}

/// The difference of two heaps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// All live objects.
    pub live: (Retained, Retained),
    /// Types, those that grew most first.
    pub types: Vec<TypeChange>,
    /// Roots, those whose retained size grew most first.
    pub roots: Vec<RootChange>,
    /// Objects that grew most, without those that only hold one that did.
    pub grown: Vec<Grown>,
    /// Whether objects were matched by address.
    pub is_matched: bool,
}

/// Compares two heaps; tells at most `grown_max` objects that grew.
pub fn diff(before: Side<'_>, after: Side<'_>, grown_max: usize) -> Diff {
    let mut types: BTreeMap<&str, TypeChange> = BTreeMap::new();
    let rows = [before, after].map(|s| histogram(s.graph, s.dominators, Grouping::Type));
    let [rows_before, rows_after] = &rows;
    for row in rows_before {
        let change = types.entry(&row.name).or_default();
        change.live.0 += row.live;
        change.retained.0 += row.retained;
    }
    for row in rows_after {
        let change = types.entry(&row.name).or_default();
        change.live.1 += row.live;
        change.retained.1 += row.retained;
    }
    let is_matched = [before, after].iter().all(|side| is_unmoved(side.graph));
    let mut grown = Vec::new();
    if is_matched {
        for change in types.values_mut() {
            (change.new, change.freed) = (Some(Retained::default()), Some(Retained::default()));
        }
        grown = match_objects(before, after, &mut types, grown_max);
    }
    let mut types: Vec<TypeChange> = types
        .into_iter()
        .map(|(name, change)| TypeChange { name: name.to_owned(), ..change })
        .filter(|change| change.live.0.objects + change.live.1.objects > 0)
        .collect();
    types.sort_by_key(|change| std::cmp::Reverse(change.bytes_delta()));
    let live = (before.dominators.reachable(), after.dominators.reachable());
    Diff { live, types, roots: root_changes(before, after), grown, is_matched }
}

/// How the ways changed in which objects are held, for the types that grew most: at most
/// `types_max` of them, `paths_max` ways each. Those that grew most come first.
pub fn path_changes(
    before: &HeapGraph<'_>,
    after: &HeapGraph<'_>,
    diff: &Diff,
    types_max: usize,
    paths_max: usize,
) -> Vec<PathChange> {
    let grew = diff.types.iter().filter(|change| change.bytes_delta() > 0).take(types_max);
    let names: Vec<&str> = grew.map(|change| change.name.as_str()).collect();
    let mut changes: BTreeMap<(&str, String), PathChange> = BTreeMap::new();
    for (graph, is_after) in [(before, false), (after, true)] {
        if names.is_empty() {
            break;
        }
        let paths = Paths::of(graph);
        for name in &names {
            let merged = paths.merged(objects_named(graph, name), paths_max);
            for path in merged.paths {
                let change = changes.entry((*name, path.key)).or_insert_with(|| PathChange {
                    name: (*name).to_owned(),
                    steps: Vec::new(),
                    objects: Default::default(),
                });
                let side = if is_after { &mut change.objects.1 } else { &mut change.objects.0 };
                *side = path.objects;
                change.steps = path.steps;
            }
        }
    }
    let mut changes: Vec<PathChange> = changes.into_values().collect();
    changes.sort_by_key(|change| std::cmp::Reverse(delta(change.objects.0, change.objects.1)));
    changes
}

/// All objects of the types with this name.
pub fn objects_named<'g>(
    graph: &'g HeapGraph<'_>,
    name: &str,
) -> impl Iterator<Item = ObjectId> + 'g {
    let types = 0..graph.types.len() as u32;
    let chosen: BTreeSet<u32> = types.filter(|id| graph.type_name(TypeId(*id)) == name).collect();
    let objects = (0..graph.len() as u32).map(ObjectId);
    objects.filter(move |object| chosen.contains(&graph.type_of(*object).0))
}

/// Bytes after less bytes before.
fn delta(before: Retained, after: Retained) -> i64 {
    let delta = i128::from(after.bytes) - i128::from(before.bytes);
    i64::try_from(delta).unwrap_or(if delta < 0 { i64::MIN } else { i64::MAX })
}

/// More objects that grew are not told.
const GROWN_MAX: usize = 1000;

/// An object gives way to one it holds with at least this share of its growth.
const HELD_SHARE: f64 = 0.7;

/// Whether an object stays at its address.
fn is_unmoved(graph: &HeapGraph<'_>) -> bool {
    graph.source.runtime.contains("go1.")
}

/// Walks both heaps by address: they are sorted by it.
fn match_objects(
    before: Side<'_>,
    after: Side<'_>,
    types: &mut BTreeMap<&str, TypeChange>,
    grown_max: usize,
) -> Vec<Grown> {
    let mut growth: Vec<(i64, ObjectId, ObjectId)> = Vec::new();
    let mut old = live_objects(before).peekable();
    let mut add = |side: Side<'_>, object: ObjectId, is_new: bool| {
        let name = side.graph.type_name(side.graph.type_of(object));
        let Some(change) = types.get_mut(name) else { return };
        let sum = if is_new { &mut change.new } else { &mut change.freed };
        if let Some(sum) = sum {
            *sum += Retained { bytes: side.graph.objects.bytes(object), objects: 1 };
        }
    };
    for (address, object) in live_objects(after) {
        while let Some((_, freed)) = old.next_if(|(old, _)| *old < address) {
            add(before, freed, false);
        }
        let Some((_, same)) = old.next_if(|(old, _)| *old == address) else {
            add(after, object, true);
            continue;
        };
        if identity(before, same) != identity(after, object) {
            add(before, same, false);
            add(after, object, true);
            continue;
        }
        let retained = |side: Side<'_>, object| side.dominators.retained(Node::Object(object));
        let delta = delta(retained(before, same), retained(after, object));
        if delta > 0 {
            growth.push((delta, same, object));
        }
    }
    old.for_each(|(_, freed)| add(before, freed, false));
    most_grown(before, after, growth, grown_max)
}

fn identity(side: Side<'_>, object: ObjectId) -> (&str, u64) {
    (side.graph.type_name(side.graph.type_of(object)), side.graph.objects.bytes(object))
}

fn live_objects(side: Side<'_>) -> impl Iterator<Item = (u64, ObjectId)> + '_ {
    let objects = (0..side.graph.len() as u32).map(ObjectId);
    let live = objects.filter(move |object| side.dominators.is_reachable(Node::Object(*object)));
    live.filter_map(move |object| Some((side.graph.objects.address(object)?.0, object)))
}

/// What grew most, without nodes that only hold one that grew as well.
fn most_grown(
    before: Side<'_>,
    after: Side<'_>,
    mut growth: Vec<(i64, ObjectId, ObjectId)>,
    limit: usize,
) -> Vec<Grown> {
    growth.sort_unstable_by_key(|(delta, _, object)| (std::cmp::Reverse(*delta), *object));
    let mut told: Vec<(i64, ObjectId, ObjectId)> = Vec::new();
    let limit = limit.min(GROWN_MAX);
    for (delta, same, object) in growth.into_iter().take(limit * 64) {
        // Whatever holds what grew grew with it, and gives way.
        let is_held = |inner: i64, outer: i64| inner as f64 >= outer as f64 * HELD_SHARE;
        let over =
            |above, below| after.dominators.dominates(Node::Object(above), Node::Object(below));
        if told.iter().any(|inner| over(object, inner.2) && is_held(inner.0, delta)) {
            continue;
        }
        told.retain(|outer| !(over(outer.2, object) && is_held(delta, outer.0)));
        told.push((delta, same, object));
    }
    told.truncate(limit);
    told.into_iter()
        .map(|(_, same, object)| Grown {
            object,
            retained: (
                before.dominators.retained(Node::Object(same)),
                after.dominators.retained(Node::Object(object)),
            ),
        })
        .collect()
}

fn root_changes(before: Side<'_>, after: Side<'_>) -> Vec<RootChange> {
    let mut changes: BTreeMap<(HolderKind, String), RootChange> = BTreeMap::new();
    for (side, is_after) in [(before, false), (after, true)] {
        for row in roots(side.graph, side.dominators).rows {
            let name = match row.kind {
                HolderKind::Goroutine => goroutines(side.graph, row.holder).unwrap_or(row.name),
                _ => row.name,
            };
            let change = changes.entry((row.kind, name.clone())).or_insert_with(|| RootChange {
                kind: row.kind,
                name,
                holders: (0, 0),
                retained: Default::default(),
            });
            let (holders, retained) = match is_after {
                true => (&mut change.holders.1, &mut change.retained.1),
                false => (&mut change.holders.0, &mut change.retained.0),
            };
            *holders += 1;
            *retained += row.retained;
        }
    }
    let mut changes: Vec<RootChange> = changes.into_values().collect();
    changes.sort_by_key(|change| std::cmp::Reverse(delta(change.retained.0, change.retained.1)));
    changes
}

/// One name for all goroutines that began in the same function.
fn goroutines(graph: &HeapGraph<'_>, holder: model::heap::HolderId) -> Option<String> {
    let function = start_function(graph, graph.holders.get(holder.0 as usize)?)?;
    Some(format!("goroutines of {function}"))
}
