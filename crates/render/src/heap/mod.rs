//! Heap graphs and what was found in them, as text, JSON, CSV and pictures.

pub mod diff;
pub mod dot;
pub mod histogram;
pub mod leaks;
pub mod lines;
pub mod query;
pub mod roots;
pub mod spans;
pub mod summary;
#[cfg(test)]
mod tests;
pub mod tree;
pub mod waste;
pub mod why;

use analyze::heap::names::holder_name;
use analyze::heap::paths::{self, Style};
use analyze::heap::{Node, Retained};
use model::HeapGraph;
use model::heap::{ObjectId, TypeId};
use serde_json::{Value, json};

use crate::json;
use crate::quantity::count;

/// What a node is, in words: an object's type, or a root as `main.cache (global)`.
fn label(graph: &HeapGraph<'_>, node: Node) -> String {
    match node {
        Node::Object(object) => type_name(graph, graph.type_of(object)).to_owned(),
        Node::Root => "all roots".to_owned(),
        Node::Holder(id) => holder_name(graph, id),
    }
}

/// Where a heap is from.
fn source(graph: &HeapGraph<'_>) -> Value {
    let source = &graph.source;
    json!({
        "runtime": source.runtime,
        "target": source.target,
        "executable": source.executable,
        "time_seconds": source.time.map(|time| time.0 as f64 / 1000.0),
        "method": source.method,
        "pause_seconds": source.pause_nanos.map(|nanos| nanos as f64 / 1e9),
        "gc_count": source.gc_count,
        "gc_was_running": source.is_marking,
    })
}

/// Where in a node a pointer lies: `.Items`; for bytes without a type the offset.
fn field(graph: &HeapGraph<'_>, node: Node, slot: u32) -> String {
    let of = match node {
        Node::Object(object) => Some(graph.type_of(object)),
        Node::Holder(id) => graph.holders.get(id.0 as usize).and_then(|holder| holder.of),
        Node::Root => None,
    };
    of.map(|of| paths::field(graph, of, slot, Style::Exact)).unwrap_or_default()
}

/// A type's name; something for types without one.
fn type_name<'g>(graph: &'g HeapGraph<'_>, id: TypeId) -> &'g str {
    match graph.type_name(id) {
        "" => "(no type)",
        name => name,
    }
}

/// An object's address as in all our JSON.
fn address(graph: &HeapGraph<'_>, object: ObjectId) -> Value {
    graph.objects.address(object).map(|address| address.to_string()).into()
}

/// A set of objects as JSON.
fn sized(set: Retained) -> Value {
    json!({ "objects": set.objects, "bytes": json::unsigned(set.bytes) })
}

/// How many rows are wanted; 0 is all.
fn limit(rows: usize) -> usize {
    if rows == 0 { usize::MAX } else { rows }
}

/// `1 object`, `1,234 objects`.
fn objects(number: u64) -> String {
    let word = if number == 1 { "object" } else { "objects" };
    format!("{} {word}", count(number))
}

/// A share in percent.
fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole => format!("{:.1}%", part as f64 * 100.0 / whole as f64),
    }
}
