//! Single objects: what they point to, what points to them, why they are alive; and
//! finding them.

use std::cmp::Reverse;

use analyze::heap::names::holder_name;
use analyze::heap::paths::{Step, Style, field, field_of_object, weak_referrers};
use analyze::heap::select::{Selection, select};
use analyze::heap::{Node, Retained};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::heap::{HolderId, ObjectId, TypeId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Analysed, Page, answer, node};
use crate::Server;
use crate::error::ApiError;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct One {
    node: Option<String>,
    /// The same: an object's address.
    address: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// Dominators of one object that are shown.
const CHAIN: usize = 64;

/// One node: its type, what it points to, what points to it, what dominates it.
pub(crate) async fn object(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<One>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("object {query:?}");
    answer(server, id, request, view, move |heap| {
        let text = query.node.as_deref().or(query.address.as_deref());
        let missing = || ApiError::bad("node= is missing", "an address, id:N, holder:N or root");
        let found = node::parse(heap, text.ok_or_else(missing)?)?;
        let page = Page { limit: query.limit, offset: query.offset };
        let mut value = node::value(heap, found);
        let outgoing = outgoing(heap, found);
        value["outgoing_total"] = outgoing.len().into();
        let out = page.of(&outgoing).iter().map(|(via, target)| pointer(heap, via, *target));
        value["outgoing"] = out.collect();
        let mut incoming = incoming(heap, found);
        incoming.sort_by_cached_key(|from| Reverse(heap.dominators.retained(*from)));
        value["incoming_total"] = incoming.len().into();
        let shown = page.of(&incoming).iter();
        value["incoming"] =
            shown.map(|from| pointer(heap, &via(heap, *from, found), *from)).collect();
        let above = heap.dominators.ancestors(found).take(CHAIN);
        value["dominators"] = above.map(|above| node::value(heap, above)).collect();
        if let Node::Object(object) = found {
            add_facts(heap, object, &mut value);
        }
        Ok(value)
    })
    .await
}

fn pointer(heap: &Analysed<'_>, via: &str, to: Node) -> Value {
    let mut value = node::value(heap, to);
    value["via"] = via.into();
    value
}

/// What a node points to, and by which of its fields.
fn outgoing(heap: &Analysed<'_>, from: Node) -> Vec<(String, Node)> {
    let graph = heap.graph;
    match from {
        Node::Object(object) => {
            let pointers = graph.edges.of(object);
            let via = |slot| field_of_object(graph, object, slot, Style::Exact);
            pointers.map(|(slot, to)| (via(slot), Node::Object(to))).collect()
        }
        Node::Holder(id) => {
            let parts = graph.holders.iter().enumerate();
            let parts = parts.filter(|(_, holder)| holder.parent == Some(id));
            let parts = parts.map(|(index, _)| Node::Holder(HolderId(index as u32)));
            let pointers = graph.pointers_of(id).iter();
            let of = graph.holders.get(id.0 as usize).and_then(|holder| holder.of);
            let via = |slot| of.map(|of| field(graph, of, slot, Style::Exact)).unwrap_or_default();
            let pointers = pointers.map(|p| (via(p.slot), Node::Object(p.target)));
            parts.map(|part| (String::new(), part)).chain(pointers).collect()
        }
        Node::Root => {
            let holders = graph.holders.iter().enumerate();
            let outer = holders.filter(|(_, holder)| holder.parent.is_none());
            outer.map(|(index, _)| (String::new(), Node::Holder(HolderId(index as u32)))).collect()
        }
    }
}

fn incoming(heap: &Analysed<'_>, to: Node) -> Vec<Node> {
    match to {
        Node::Object(object) => heap.referrers().to(object),
        Node::Holder(id) => {
            let parent = heap.graph.holders.get(id.0 as usize).and_then(|holder| holder.parent);
            vec![parent.map_or(Node::Root, Node::Holder)]
        }
        Node::Root => Vec::new(),
    }
}

/// The first field by which a node points to an object.
fn via(heap: &Analysed<'_>, from: Node, to: Node) -> String {
    let graph = heap.graph;
    let Node::Object(target) = to else { return String::new() };
    match from {
        Node::Object(object) => {
            let slot = graph.edges.of(object).find_map(|(slot, at)| (at == target).then_some(slot));
            slot.map(|slot| field_of_object(graph, object, slot, Style::Exact)).unwrap_or_default()
        }
        Node::Holder(id) => {
            let of = graph.holders.get(id.0 as usize).and_then(|holder| holder.of);
            let pointer = graph.pointers_of(id).iter().find(|pointer| pointer.target == target);
            let part = of.zip(pointer).map(|(of, p)| field(graph, of, p.slot, Style::Exact));
            part.unwrap_or_default()
        }
        Node::Root => String::new(),
    }
}

fn add_facts(heap: &Analysed<'_>, object: ObjectId, value: &mut Value) {
    let graph = heap.graph;
    let sample = graph.allocated_at.iter().find(|sample| sample.object == object);
    let frames = sample.and_then(|sample| graph.stacks.get(sample.stack as usize));
    value["allocated_at"] =
        frames.map(|frames| frames.iter().map(render::json::frame).collect::<Value>()).into();
    let fill = graph.fills.iter().find(|fill| fill.object == object);
    value["fill"] = fill
        .map(|fill| {
            json!({ "used": fill.used, "capacity": fill.capacity,
                    "element_bytes": fill.element_bytes })
        })
        .into();
    let weak = weak_referrers(graph, object);
    value["weak"] = weak.iter().map(|from| node::step(heap, from)).collect();
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Why {
    object: Option<String>,
    #[serde(rename = "type")]
    of: Option<String>,
    limit: Option<usize>,
}

const PATHS: usize = 10;
const PATHS_MAX: usize = 200;

/// What keeps an object alive, or all objects of a type: paths from roots.
pub(crate) async fn why(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<Why>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("why {query:?}");
    answer(server, id, request, view, move |heap| {
        let limit = query.limit.unwrap_or(PATHS).clamp(1, PATHS_MAX);
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let selection = match (filled(&query.object), filled(&query.of)) {
            (Some(text), _) => selected(heap, &text)?,
            (None, Some(text)) => of_type(heap, &text)?,
            (None, None) => {
                return Err(ApiError::bad("object= or type= is missing", "0x..., id:N, a type"));
            }
        };
        Ok(match selection.as_slice() {
            [one] => why_one(heap, *one, limit),
            many => why_many(heap, many, limit),
        })
    })
    .await
}

fn selected(heap: &Analysed<'_>, text: &str) -> Result<Vec<ObjectId>, ApiError> {
    let found = select(heap.graph, text).map_err(|error| node::not_found(&error))?;
    let Selection { objects, .. } = found;
    Ok(objects)
}

/// Objects of a type by its number, or else as they are selected by name.
fn of_type(heap: &Analysed<'_>, text: &str) -> Result<Vec<ObjectId>, ApiError> {
    let Ok(number) = text.parse::<u32>() else { return selected(heap, text) };
    if heap.graph.heap_type(TypeId(number)).is_none() {
        return Err(node::missing(format!("there is no type {number}"), "heap/types lists them"));
    }
    let objects = heap.graph.type_of.iter().enumerate().filter(|(_, of)| **of == number);
    Ok(objects.map(|(index, _)| ObjectId(index as u32)).collect())
}

fn why_one(heap: &Analysed<'_>, object: ObjectId, limit: usize) -> Value {
    let mut paths = heap.referrers().paths_to(object, limit);
    if paths.is_empty() {
        paths.push(heap.paths().shortest(object));
        paths.retain(|path| !path.is_empty());
    }
    let weak = weak_referrers(heap.graph, object);
    let own = Retained { bytes: heap.graph.objects.bytes(object), objects: 1 };
    json!({
        "object": node::value(heap, Node::Object(object)),
        "objects": node::retained(own),
        "paths": paths.iter().map(|path| path_value(heap, path, own)).collect::<Vec<_>>(),
        "weak": weak.iter().map(|from| node::step(heap, from)).collect::<Vec<_>>(),
    })
}

fn why_many(heap: &Analysed<'_>, objects: &[ObjectId], limit: usize) -> Value {
    let merged = heap.paths().merged(objects.iter().copied(), limit);
    let paths = merged.paths.iter().map(|path| path_value(heap, &path.steps, path.objects));
    let mut sum = Retained::default();
    for object in objects {
        sum += Retained { bytes: heap.graph.objects.bytes(*object), objects: 1 };
    }
    json!({
        "object": null,
        "objects": node::retained(sum),
        "paths": paths.collect::<Vec<_>>(),
        "other_paths": merged.other_paths,
        "other_objects": node::retained(merged.other_objects),
        "unreachable": node::retained(merged.unreachable),
        "weak": [],
    })
}

fn path_value(heap: &Analysed<'_>, steps: &[Step], objects: Retained) -> Value {
    json!({
        "path": steps.iter().map(Step::text).collect::<Vec<_>>(),
        "steps": steps.iter().map(|step| node::step(heap, step)).collect::<Vec<_>>(),
        "objects": node::retained(objects),
    })
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Find {
    q: Option<String>,
    #[serde(rename = "type")]
    of: Option<String>,
    bytes_min: Option<u64>,
    sort: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// Objects by address, type, allocating function and size; and roots whose name matches.
pub(crate) async fn find(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<Find>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("find {query:?}");
    answer(server, id, request, view, move |heap| {
        let text = query.q.as_deref().unwrap_or_default();
        let holders = holders_named(heap, text);
        let mut objects = match (query.of.as_deref(), text) {
            (Some(of), _) if !of.is_empty() => of_type(heap, of)?,
            (_, "") => (0..heap.graph.len() as u32).map(ObjectId).collect(),
            // `$` and `[` are parts of names more often than they are expressions.
            (_, text) => match selected(heap, text)
                .or_else(|error| selected(heap, &regex::escape(text)).map_err(|_| error))
            {
                // A name may be that of a root alone.
                Err(_) if !holders.is_empty() => Vec::new(),
                result => result?,
            },
        };
        let bytes = |object: &ObjectId| heap.graph.objects.bytes(*object);
        if let Some(bytes_min) = query.bytes_min {
            objects.retain(|object| bytes(object) >= bytes_min);
        }
        let total = objects.len();
        let sum: u64 = objects.iter().map(bytes).fold(0, u64::saturating_add);
        let page = Page { limit: query.limit, offset: query.offset };
        largest(heap, &mut objects, query.sort.as_deref(), page)?;
        let nodes = page.of(&objects).iter().map(|object| Node::Object(*object));
        Ok(json!({
            "total": total,
            "bytes": sum,
            "rows": nodes.map(|found| node::value(heap, found)).collect::<Vec<_>>(),
            "roots": holders.iter().map(|found| node::value(heap, *found)).collect::<Vec<_>>(),
        }))
    })
    .await
}

/// Roots that a search shows.
const HOLDERS: usize = 20;

/// Holders with this text in their names, largest first.
fn holders_named(heap: &Analysed<'_>, text: &str) -> Vec<Node> {
    if text.is_empty() {
        return Vec::new();
    }
    let ids = (0..heap.graph.holders.len() as u32).map(HolderId);
    let mut found: Vec<Node> =
        ids.filter(|id| holder_name(heap.graph, *id).contains(text)).map(Node::Holder).collect();
    found.sort_by_key(|found| (Reverse(heap.dominators.retained(*found)), *found));
    found.truncate(HOLDERS);
    found
}

/// Puts the objects of a page where a sorted list would have them.
fn largest(
    heap: &Analysed<'_>,
    objects: &mut [ObjectId],
    sort: Option<&str>,
    page: Page,
) -> Result<(), ApiError> {
    let size = |object: &ObjectId| match sort {
        Some("bytes") => heap.graph.objects.bytes(*object),
        _ => heap.dominators.retained(Node::Object(*object)).bytes,
    };
    let key = |object: &ObjectId| (Reverse(size(object)), *object);
    match sort {
        None | Some("" | "retained" | "bytes") => {}
        // That is how they come.
        Some("address") => return Ok(()),
        Some(other) => {
            return Err(ApiError::bad(format!("sort: {other:?}"), "retained, bytes or address"));
        }
    }
    let end = page.offset().saturating_add(page.limit());
    if end < objects.len() {
        objects.select_nth_unstable_by_key(end, key);
    }
    let end = end.min(objects.len());
    if let Some(head) = objects.get_mut(..end) {
        head.sort_by_cached_key(key);
    }
    Ok(())
}
