//! The dominator tree as a profile: what pprof and flame graphs show of it. The stack of an
//! object is the chain of what dominates it, by type; a frame's cumulative value is what it
//! retains. Chains of one type (lists) are one frame. Costs four bytes a reachable node, and
//! the distinct chains.

use ahash::AHashMap;
use model::heap::{HeapGraph, Holder, HolderKind};
use model::profile::{Function, Line, Location};
use model::{FunctionId, LocationId, Profile};

use super::threads::start_function;
use super::{Dominators, Node};

/// Longer chains end here; what lies further down counts for the last frame.
const DEPTH_MAX: u32 = 100;
/// More distinct chains than this are cut where they part.
const CHAINS_MAX: usize = 1 << 20;

/// One frame below another.
struct Chain {
    parent: u32,
    label: LocationId,
    depth: u32,
    objects: i64,
    bytes: i64,
}

/// Makes a profile of what retains what, with the columns of a Go heap profile.
pub fn retained_profile(graph: &HeapGraph<'_>, dominators: &Dominators) -> Profile {
    let columns = [("inuse_objects", "count"), ("inuse_space", "bytes")];
    let mut profile = Profile::new(&columns);
    profile.time_nanos = graph.source.time.map_or(0, |time| time.0.saturating_mul(1_000_000));
    let chains = chains(graph, dominators, &mut Labels::new(graph, &mut profile));
    let mut stack = Vec::new();
    for chain in chains.iter().filter(|chain| chain.objects > 0) {
        stack.clear();
        let parent = |chain: &&Chain| chains.get(chain.parent as usize);
        // The first chain is the root's, which has no name.
        let up = std::iter::successors(Some(chain), parent).take_while(|chain| chain.depth > 0);
        stack.extend(up.map(|chain| chain.label));
        profile.push_sample(&stack, &[chain.objects, chain.bytes], &[]);
    }
    profile
}

fn chains(
    graph: &HeapGraph<'_>,
    dominators: &Dominators,
    labels: &mut Labels<'_, '_>,
) -> Vec<Chain> {
    let root = Chain { parent: 0, label: LocationId(u32::MAX), depth: 0, objects: 0, bytes: 0 };
    let mut chains = vec![root];
    let mut below: AHashMap<(u32, LocationId), u32> = AHashMap::new();
    let mut chain_of = vec![0_u32; dominators.len() as usize];
    for number in 1..dominators.len() {
        let above = chain_of.get(dominators.parent_at(number) as usize).copied().unwrap_or(0);
        let label = match dominators.node_at(number) {
            Node::Object(object) => labels.of_type(graph.type_of(object).0),
            Node::Holder(holder) => labels.of_holder(holder.0),
            Node::Root => continue,
        };
        let Some(parent) = chains.get(above as usize) else { continue };
        let (parent_label, depth) = (parent.label, parent.depth + 1);
        let is_folded = parent_label == label || depth > DEPTH_MAX;
        let chain = match below.get(&(above, label)) {
            _ if is_folded => above,
            Some(known) => *known,
            None if chains.len() >= CHAINS_MAX => above,
            None => {
                let id = chains.len() as u32;
                chains.push(Chain { parent: above, label, depth, objects: 0, bytes: 0 });
                below.insert((above, label), id);
                id
            }
        };
        if let Some(slot) = chain_of.get_mut(number as usize) {
            *slot = chain;
        }
        let object = dominators.object_at(number);
        if let Some((chain, object)) = chains.get_mut(chain as usize).zip(object) {
            chain.objects += 1;
            chain.bytes = chain.bytes.saturating_add_unsigned(graph.objects.bytes(object));
        }
    }
    chains
}

/// Frames by what they stand for.
struct Labels<'p, 'g> {
    graph: &'g HeapGraph<'g>,
    profile: &'p mut Profile,
    by_name: AHashMap<String, LocationId>,
    types: Vec<Option<LocationId>>,
}

impl<'p, 'g> Labels<'p, 'g> {
    fn new(graph: &'g HeapGraph<'g>, profile: &'p mut Profile) -> Labels<'p, 'g> {
        let types = vec![None; graph.types.len()];
        Labels { graph, profile, by_name: AHashMap::new(), types }
    }

    fn of_type(&mut self, id: u32) -> LocationId {
        if let Some(Some(known)) = self.types.get(id as usize) {
            return *known;
        }
        let name = self.graph.types.get(id as usize).map_or("", |t| self.graph.strings.get(t.name));
        let location = self.named(if name.is_empty() { "(no type)" } else { name }, "");
        if let Some(slot) = self.types.get_mut(id as usize) {
            *slot = Some(location);
        }
        location
    }

    fn of_holder(&mut self, id: u32) -> LocationId {
        let graph = self.graph;
        let Some(holder) = graph.holders.get(id as usize) else { return self.named("(root)", "") };
        let place = graph.strings.get(holder.place);
        self.named(&name_of(graph, holder), place)
    }

    fn named(&mut self, name: &str, file: &str) -> LocationId {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let profile = &mut *self.profile;
        let text = profile.strings.intern(name);
        let filename = profile.strings.intern(file);
        let function = FunctionId(profile.functions.len() as u32);
        let record = Function { name: text, system_name: text, filename, ..Function::default() };
        profile.functions.push(record);
        let location = LocationId(profile.locations.len() as u32);
        let lines = vec![Line { function, line: 0, column: 0 }];
        profile.locations.push(Location { lines, ..Location::default() });
        self.by_name.insert(name.to_owned(), location);
        location
    }
}

/// A holder's name in a profile. Goroutines of one function are one frame, whatever their number.
fn name_of(graph: &HeapGraph<'_>, holder: &Holder) -> String {
    let name = graph.strings.get(holder.name);
    if holder.kind != HolderKind::Goroutine {
        return format!("{name} ({})", holder.kind.as_str());
    }
    match start_function(graph, holder) {
        Some(function) => format!("goroutine {function}"),
        None => "goroutine".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use model::heap::HolderKind;

    use super::retained_profile;
    use crate::heap::Dominators;
    use crate::heap::tests::Drawing;

    #[test]
    fn chains_of_types_carry_what_they_retain() {
        let mut drawing = Drawing::new();
        let list = drawing.type_of("main.Node", 16, &[]);
        let text = drawing.type_of("string", 1, &[]);
        // A list of three nodes, each with a text.
        for _ in 0..3 {
            drawing.object(list, 16);
            drawing.object(text, 100);
        }
        drawing.point(0, 1).point(2, 3).point(4, 5).point(0, 2).point(2, 4);
        drawing.holder(HolderKind::Global, "main.list", &[0]);
        let graph = drawing.done();
        let profile = retained_profile(&graph, &Dominators::of(&graph));
        let name = |id: &model::LocationId| {
            let line = profile.locations[id.0 as usize].lines[0];
            profile.strings.get(profile.functions[line.function.0 as usize].name)
        };
        let mut rows: Vec<(Vec<&str>, Vec<i64>)> = profile
            .samples
            .ids()
            .map(|id| {
                let stack = profile.stacks.get(profile.samples.stacks[id.0 as usize]);
                (stack.iter().map(name).collect(), profile.samples.row(id).collect())
            })
            .collect();
        rows.sort();
        let expected = [
            (vec!["main.Node", "main.list (global)"], vec![3, 48]),
            (vec!["string", "main.Node", "main.list (global)"], vec![3, 300]),
        ];
        assert_eq!(rows, expected);
    }
}
