//! What nodes are called.

use model::heap::{HeapGraph, Holder, HolderId, HolderKind, TypeId};

use super::Node;

/// What nodes are grouped by: the type of objects, the kind of holders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Label {
    /// Objects of this type.
    Type(TypeId),
    /// Holders of this kind.
    Holder(HolderKind),
    /// The root.
    Root,
}

impl Label {
    /// The label of a node.
    pub fn of(graph: &HeapGraph<'_>, node: Node) -> Label {
        match node {
            Node::Object(object) => Label::Type(graph.type_of(object)),
            Node::Holder(holder) => {
                let found = graph.holders.get(holder.0 as usize);
                found.map_or(Label::Root, |holder| Label::Holder(holder.kind))
            }
            Node::Root => Label::Root,
        }
    }

    /// The type's name, or the word for the kind of holder.
    pub fn name<'g>(self, graph: &'g HeapGraph<'_>) -> &'g str {
        match self {
            Label::Type(id) => graph.type_name(id),
            Label::Holder(kind) => kind.as_str(),
            Label::Root => "(several roots)",
        }
    }
}

/// A node in words: `*main.Order 0xc000123400`, `main.cache (global)`,
/// `goroutine 17 main.serve orders (server.go:42)`.
pub fn node_name(graph: &HeapGraph<'_>, node: Node) -> String {
    match node {
        Node::Object(object) => {
            let name = graph.type_name(graph.type_of(object));
            match graph.objects.address(object) {
                Some(address) => format!("{name} {address}"),
                None => name.to_owned(),
            }
        }
        Node::Holder(holder) => holder_name(graph, holder),
        Node::Root => Label::Root.name(graph).to_owned(),
    }
}

/// A holder in words; a local with its goroutine, function and line.
pub fn holder_name(graph: &HeapGraph<'_>, id: HolderId) -> String {
    holder_part_name(graph, id, "")
}

/// A part of a holder in words: `main.cache.byName (global)`.
pub(super) fn holder_part_name(graph: &HeapGraph<'_>, id: HolderId, part: &str) -> String {
    let Some(holder) = graph.holders.get(id.0 as usize) else { return String::new() };
    let name = format!("{}{part}", graph.strings.get(holder.name));
    let place = graph.strings.get(holder.place);
    let mut words: Vec<&str> = outer_names(graph, holder);
    if words.is_empty() && holder.kind != HolderKind::Goroutine {
        let guess = if holder.is_conservative { ", perhaps" } else { "" };
        let kind = holder.kind.as_str();
        let at = if place.is_empty() { String::new() } else { format!(", {place}") };
        return format!("{name} ({kind}{at}{guess})");
    }
    let (function, line) = function_and_line(place);
    let guess = if holder.is_conservative { "(perhaps)" } else { "" };
    words.extend([function, name.as_str(), &line, guess]);
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// `main.serve (server.go:42)`: the variable's name goes between the two.
fn function_and_line(place: &str) -> (&str, String) {
    match place.split_once(" (") {
        Some((function, line)) => (function, format!("({line}")),
        None => (place, String::new()),
    }
}

/// A part of several holders that differ in nothing but the frame they are in:
/// `main.serve orders (server.go:42) in 12 frames`.
pub(super) fn holders_part_name(
    graph: &HeapGraph<'_>,
    first: HolderId,
    part: &str,
    count: u64,
) -> String {
    let Some(holder) = graph.holders.get(first.0 as usize) else { return String::new() };
    let is_one = count < 2;
    let name = format!("{}{part}", graph.strings.get(holder.name));
    match (holder.kind, holder.parent) {
        (HolderKind::Goroutine, _) if is_one => return format!("goroutine{part}"),
        (HolderKind::Goroutine, _) => return format!("{count} goroutines{part}"),
        (kind, None) if is_one => return format!("{name} ({})", kind.as_str()),
        (kind, None) => return format!("{name} ({}, {count} times)", kind.as_str()),
        _ => {}
    }
    let (function, line) = function_and_line(graph.strings.get(holder.place));
    let count = if is_one { String::new() } else { format!("in {count} frames") };
    let mut words = vec![function, name.as_str(), line.as_str(), count.as_str()];
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

/// The names of the holders around one, outermost first.
fn outer_names<'g>(graph: &'g HeapGraph<'_>, holder: &Holder) -> Vec<&'g str> {
    let parent = |holder: &Holder| graph.holders.get(holder.parent?.0 as usize);
    let outer = std::iter::successors(parent(holder), |outer| parent(outer));
    let mut names: Vec<&str> = outer.map(|outer| graph.strings.get(outer.name)).collect();
    names.reverse();
    names
}
