//! The ways in which many objects are held, merged.
//!
//! Each object counts on its shortest path. Paths whose steps have the same types and
//! fields are one, elements of arrays are alike, and steps that repeat, as in a list, are
//! one step. Takes one pass over the search and 8 bytes a node.

use ahash::AHashMap;
use model::heap::{HeapGraph, HolderId, HolderKind, ObjectId};
use model::strings::StrId;

use super::fields::{Style, field_of_object, holds_several};
use super::{Paths, Step, holder_part};
use crate::heap::dominators::NONE;
use crate::heap::names::{Label, holder_part_name, holders_part_name};
use crate::heap::retained::Bits;
use crate::heap::{Node, Retained};

/// A way in which objects are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergedPath {
    /// From the root to the objects.
    pub steps: Vec<Step>,
    /// The objects at its end.
    pub objects: Retained,
    /// The same text for the same way in another graph of the program: goroutines have no
    /// numbers in it.
    pub key: String,
}

/// The ways in which a set of objects is held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MergedPaths {
    /// The ways that hold most objects, most first.
    pub paths: Vec<MergedPath>,
    /// How many more ways there are.
    pub other_paths: u64,
    /// What those hold.
    pub other_objects: Retained,
    /// Objects of the set that nothing holds.
    pub unreachable: Retained,
}

/// Ways longer than this end in their last step.
const DEPTH_MAX: u32 = 128;

/// More ways than these are counted with the way they branch off.
const GROUPS_MAX: usize = 200_000;

/// Slots up to which a field's text is kept.
const SLOTS_KEPT: u32 = 4096;

/// Nodes that are reached in the same way.
struct Group {
    parent: u32,
    depth: u32,
    label: Label,
    /// The first node of the group.
    node: Node,
    /// How many nodes are in the group.
    nodes: u64,
    /// The field of the parent that points here.
    via: u32,
    is_repeated: bool,
    ends: Retained,
}

impl Paths<'_> {
    /// Merges the shortest paths to the objects; at most `limit` of them.
    pub fn merged(&self, objects: impl IntoIterator<Item = ObjectId>, limit: usize) -> MergedPaths {
        let mut counts = vec![0_u32; self.order.len()];
        let mut ends = Bits::new(self.order.len() as u32);
        let mut merged = MergedPaths::default();
        for object in objects {
            let at = self.position.get(object.index()).copied().unwrap_or(NONE);
            if let Some(count) = counts.get_mut(at as usize) {
                *count += u32::from(ends.insert(at));
            } else {
                let bytes = self.graph.objects.bytes(object);
                merged.unreachable += Retained { bytes, objects: 1 };
            }
        }
        for at in (1..self.order.len()).rev() {
            let count = counts.get(at).copied().unwrap_or(0);
            let parent = self.parent.get(at).copied().unwrap_or(0);
            if let Some(sum) = counts.get_mut(parent as usize) {
                *sum += count;
            }
        }
        let groups = Grouping::run(self, &counts, &ends);
        groups.finish(limit, merged)
    }
}

struct Grouping<'p> {
    paths: &'p Paths<'p>,
    groups: Vec<Group>,
    known: AHashMap<(u32, u32, Label, HolderKey), u32>,
    texts: Vec<String>,
    text_ids: AHashMap<String, u32>,
    /// Texts of fields by type, slot, and whether the object holds several values.
    fields: AHashMap<(u32, u32, bool), u32>,
}

impl<'p> Grouping<'p> {
    fn run(paths: &'p Paths<'p>, counts: &[u32], ends: &Bits) -> Grouping<'p> {
        let mut grouping = Grouping {
            paths,
            groups: Vec::new(),
            known: AHashMap::new(),
            texts: Vec::new(),
            text_ids: AHashMap::new(),
            fields: AHashMap::new(),
        };
        let none = grouping.text(String::new());
        grouping.groups.push(Group {
            parent: 0,
            depth: 0,
            label: Label::Root,
            node: Node::Root,
            nodes: 1,
            via: none,
            is_repeated: false,
            ends: Retained::default(),
        });
        let mut group_of = vec![0_u32; paths.order.len()];
        let mut child = 1_usize;
        for at in 0..paths.order.len() {
            let has = |child: usize| paths.parent.get(child) == Some(&(at as u32));
            if counts.get(at) == Some(&0) {
                while has(child) {
                    child += 1;
                }
                continue;
            }
            let own = group_of.get(at).copied().unwrap_or(0);
            // Children were found in the order of the pointers.
            grouping.each_pointer(paths.node(at as u32), |grouping, via, target| {
                if !has(child) || paths.order.get(child) != Some(&target) {
                    return;
                }
                if counts.get(child).is_some_and(|count| *count > 0) {
                    let group = grouping.enter(own, via, child as u32);
                    if let Some(slot) = group_of.get_mut(child) {
                        *slot = group;
                    }
                    if ends.contains(child as u32) {
                        grouping.count(group, child as u32);
                    }
                }
                child += 1;
            });
        }
        grouping
    }

    /// Calls `visit` with each pointer of a node: slot in words, and target.
    fn each_pointer(&mut self, node: Node, mut visit: impl FnMut(&mut Self, Via, u32)) {
        let graph = self.paths.graph;
        let id = match node {
            Node::Object(object) => {
                for (slot, target) in graph.edges.of(object) {
                    visit(self, Via::Object(object, slot), target.0);
                }
                return;
            }
            Node::Holder(holder) => graph.len() as u32 + holder.0,
            Node::Root => self.paths.links.root(),
        };
        let paths = self.paths;
        let targets = paths.links.of(id);
        let parts = targets.partition_point(|target| *target as usize >= graph.len());
        let (parts, objects) = targets.split_at(parts);
        parts.iter().for_each(|part| visit(self, Via::Nothing, *part));
        if let Node::Holder(holder) = node {
            for (pointer, target) in graph.pointers_of(holder).iter().zip(objects) {
                visit(self, Via::Holder(holder, pointer.slot), *target);
            }
        }
    }

    /// The group of a child of `parent`.
    fn enter(&mut self, parent: u32, via: Via, child: u32) -> u32 {
        let graph = self.paths.graph;
        let via = self.via_text(graph, via);
        let node = self.paths.node(child);
        let label = Label::of(graph, node);
        let Some(above) = self.groups.get_mut(parent as usize) else { return parent };
        if above.label == label && above.via == via && matches!(node, Node::Object(_)) {
            above.is_repeated = true;
            return parent;
        }
        let depth = above.depth + 1;
        let key = (parent, via, label, holder_key(graph, node));
        if let Some(known) = self.known.get(&key) {
            if let Some(group) = self.groups.get_mut(*known as usize) {
                group.nodes += 1;
            }
            return *known;
        }
        if depth > DEPTH_MAX || self.groups.len() >= GROUPS_MAX {
            return parent;
        }
        let id = self.groups.len() as u32;
        let ends = Retained::default();
        self.groups.push(Group {
            parent,
            depth,
            label,
            node,
            nodes: 1,
            via,
            is_repeated: false,
            ends,
        });
        self.known.insert(key, id);
        id
    }

    fn count(&mut self, group: u32, position: u32) {
        if let Node::Object(object) = self.paths.node(position)
            && let Some(group) = self.groups.get_mut(group as usize)
        {
            let bytes = self.paths.graph.objects.bytes(object);
            group.ends += Retained { bytes, objects: 1 };
        }
    }

    fn via_text(&mut self, graph: &HeapGraph<'_>, via: Via) -> u32 {
        match via {
            Via::Nothing => 0,
            Via::Holder(holder, slot) => {
                let text = holder_part(graph, holder, slot, Style::Merged);
                self.text(text)
            }
            Via::Object(object, slot) => {
                let key = (graph.type_of(object).0, slot, holds_several(graph, object));
                if let Some(known) = self.fields.get(&key) {
                    return *known;
                }
                let text = self.text(field_of_object(graph, object, slot, Style::Merged));
                if slot < SLOTS_KEPT {
                    self.fields.insert(key, text);
                }
                text
            }
        }
    }

    fn text(&mut self, text: String) -> u32 {
        if let Some(known) = self.text_ids.get(&text) {
            return *known;
        }
        let id = self.texts.len() as u32;
        self.texts.push(text.clone());
        self.text_ids.insert(text, id);
        id
    }

    fn finish(self, limit: usize, mut merged: MergedPaths) -> MergedPaths {
        let mut ending: Vec<(Retained, u32)> = (0..)
            .zip(&self.groups)
            .filter(|(_, group)| group.ends.objects > 0)
            .map(|(id, group)| (group.ends, id))
            .collect();
        ending.sort_by(|(a, first), (b, second)| {
            (b.objects, b.bytes).cmp(&(a.objects, a.bytes)).then(first.cmp(second))
        });
        for (objects, id) in ending {
            if merged.paths.len() < limit {
                let (steps, key) = (self.steps(id), self.key(id));
                merged.paths.push(MergedPath { steps, objects, key });
            } else {
                merged.other_paths += 1;
                merged.other_objects += objects;
            }
        }
        merged
    }

    fn key(&self, last: u32) -> String {
        let graph = self.paths.graph;
        let mut words = Vec::new();
        let mut next = self.groups.get(last as usize);
        while let Some(group) = next.filter(|group| group.node != Node::Root) {
            let via = self.texts.get(group.via as usize).map_or("", String::as_str);
            match group.node {
                Node::Holder(holder) => {
                    words.push(holders_part_name(graph, holder, "", 1));
                    break;
                }
                _ => words.push(format!("{via} {}", group.label.name(graph))),
            }
            next = self.groups.get(group.parent as usize);
        }
        words.reverse();
        words.join(" > ")
    }

    fn steps(&self, last: u32) -> Vec<Step> {
        let graph = self.paths.graph;
        let mut steps = Vec::new();
        let mut via = "";
        let mut next = self.groups.get(last as usize);
        while let Some(group) = next.filter(|group| group.node != Node::Root) {
            let repeats = if group.is_repeated { 0 } else { 1 };
            let (name, own) = match group.node {
                Node::Holder(holder) if group.nodes > 1 => {
                    (holders_part_name(graph, holder, via, group.nodes), "")
                }
                Node::Holder(holder) => (holder_part_name(graph, holder, via), ""),
                _ => (group.label.name(graph).to_owned(), via),
            };
            steps.push(Step { node: group.node, name, via: own.to_owned(), repeats });
            via = self.texts.get(group.via as usize).map_or("", String::as_str);
            // The innermost holder's text names those around it.
            next = match group.node {
                Node::Holder(_) => None,
                _ => self.groups.get(group.parent as usize),
            };
        }
        steps.reverse();
        steps
    }
}

/// What makes holders alike: their name and place, in whatever goroutine they are.
type HolderKey = Option<(StrId, StrId)>;

fn holder_key(graph: &HeapGraph<'_>, node: Node) -> HolderKey {
    let Node::Holder(holder) = node else { return None };
    let holder = graph.holders.get(holder.0 as usize)?;
    let is_goroutine = holder.kind == HolderKind::Goroutine;
    Some(if is_goroutine { Default::default() } else { (holder.name, holder.place) })
}

/// Where a pointer lies.
#[derive(Clone, Copy)]
enum Via {
    Nothing,
    Holder(HolderId, u32),
    Object(ObjectId, u32),
}
