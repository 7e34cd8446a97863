//! Nodes of a graph in addresses of pages and in answers.

use analyze::heap::names::{Label, holder_name};
use analyze::heap::paths::Step;
use analyze::heap::select::{self, SelectError};
use analyze::heap::{Node, Retained};
use axum::http::StatusCode;
use model::heap::{HolderId, HolderKind, TypeId};
use serde_json::{Value, json};

use super::Analysed;
use crate::error::ApiError;

/// The node that a text names.
pub(super) fn parse(heap: &Analysed<'_>, text: &str) -> Result<Node, ApiError> {
    if text == "root" {
        return Ok(Node::Root);
    }
    if let Some(number) = text.strip_prefix("holder:") {
        let id = number.parse().ok().filter(|id| (*id as usize) < heap.graph.holders.len());
        let error = || missing(format!("there is no {text}"), "heap/roots lists them");
        return id.map(|id| Node::Holder(HolderId(id))).ok_or_else(error);
    }
    select::node(heap.graph, text).map_err(|error| not_found(&error))
}

/// The name by which a node can be asked for again.
fn key(node: Node) -> String {
    match node {
        Node::Object(object) => format!("id:{}", object.0),
        Node::Holder(holder) => format!("holder:{}", holder.0),
        Node::Root => "root".to_owned(),
    }
}

/// A node with its figures.
pub(super) fn value(heap: &Analysed<'_>, node: Node) -> Value {
    let retained = heap.dominators.retained(node);
    let mut value = json!({
        "node": key(node),
        "kind": kind(heap, node),
        "name": name(heap, node),
        "retained_bytes": retained.bytes,
        "retained_objects": retained.objects,
        "reachable": heap.dominators.is_reachable(node),
        "has_children": heap.dominators.children(node).next().is_some(),
    });
    if let Node::Object(object) = node {
        let address = heap.graph.objects.address(object);
        value["address"] = address.map(|address| address.to_string()).into();
        value["bytes"] = heap.graph.objects.bytes(object).into();
        value["type"] = heap.graph.type_of(object).0.into();
    }
    value
}

fn kind(heap: &Analysed<'_>, node: Node) -> &'static str {
    match node {
        Node::Object(_) => "object",
        Node::Root => "root",
        Node::Holder(id) => {
            let holder = heap.graph.holders.get(id.0 as usize);
            holder.map_or("", |holder| holder.kind.as_str())
        }
    }
}

/// What a node is called: an object by its type.
pub(super) fn name(heap: &Analysed<'_>, node: Node) -> String {
    match node {
        Node::Object(object) => type_name(heap, heap.graph.type_of(object)).to_owned(),
        Node::Holder(holder) => holder_name(heap.graph, holder),
        Node::Root => "all roots".to_owned(),
    }
}

/// A type's name; something for types without one.
pub(super) fn type_name<'h>(heap: &'h Analysed<'_>, of: TypeId) -> &'h str {
    match heap.graph.type_name(of) {
        "" => "(no type)",
        name => name,
    }
}

/// A step of a path.
pub(super) fn step(heap: &Analysed<'_>, step: &Step) -> Value {
    let mut value = value(heap, step.node);
    value["text"] = step.text().into();
    value["name"] = step.name.as_str().into();
    value["via"] = step.via.as_str().into();
    value["repeats"] = step.repeats.into();
    value
}

/// A set's figures.
pub(super) fn retained(set: Retained) -> Value {
    json!({ "bytes": set.bytes, "objects": set.objects })
}

/// A label as `t12` (objects of type 12) or `kglobal` (holders of that kind).
pub(super) fn label_key(label: Label) -> String {
    match label {
        Label::Type(of) => format!("t{}", of.0),
        Label::Holder(kind) => format!("k{}", kind.as_str()),
        Label::Root => "root".to_owned(),
    }
}

/// The labels of a path through groups, `kglobal,t12`.
pub(super) fn labels(heap: &Analysed<'_>, text: &str) -> Result<Vec<Label>, ApiError> {
    let label = |part: &str| {
        let number = part.strip_prefix('t').and_then(|number| number.parse().ok());
        let of = number.filter(|id| (*id as usize) < heap.graph.types.len());
        let kind = part.strip_prefix('k');
        let kind = kind.and_then(|k| HolderKind::ALL.into_iter().find(|kind| kind.as_str() == k));
        let label = of.map(|id| Label::Type(TypeId(id))).or(kind.map(Label::Holder));
        label.ok_or_else(|| ApiError::bad(format!("path: no group {part:?}"), "t12 or kglobal"))
    };
    text.split(',').filter(|part| !part.is_empty()).map(label).collect()
}

pub(super) fn missing(error: impl Into<String>, next: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, error, next)
}

/// What was not found, with names like it.
pub(super) fn not_found(error: &SelectError) -> ApiError {
    let next = match error {
        SelectError::Unknown { near, .. } | SelectError::UnknownRoot { near, .. }
            if !near.is_empty() =>
        {
            format!("similar names: {}", near.join(", "))
        }
        SelectError::UnknownRoot { .. } => "heap/roots lists the roots".to_owned(),
        SelectError::Pattern(_) => return ApiError::bad(error.to_string(), "correct it"),
        _ => "heap/types lists the types".to_owned(),
    };
    missing(error.to_string(), next)
}
