//! The dominator tree, level by level and as a map of rectangles.

use analyze::heap::names::Label;
use analyze::heap::retained::{children_by_label, largest_children, members};
use analyze::heap::tree::{Branch, Limits, Stem, by_node, by_type};
use analyze::heap::{Node, Retained};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Analysed, Page, answer, node};
use crate::Server;
use crate::error::ApiError;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Below {
    node: Option<String>,
    group: Option<String>,
    /// Groups to go through, each below the one before.
    path: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// What a node dominates, largest first: nodes, or with `group=type` groups of them. With
/// `path` the members of the group there, or the groups below it.
pub(crate) async fn dominators(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<Below>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("dominators {query:?}");
    answer(server, id, request, view, move |heap| {
        let top = node::parse(heap, query.node.as_deref().unwrap_or("root"))?;
        let labels = node::labels(heap, query.path.as_deref().unwrap_or_default())?;
        let page = Page { limit: query.limit, offset: query.offset };
        let mut value = match query.group.as_deref() {
            Some("type") => groups(heap, top, &labels, page),
            None | Some("" | "none") if labels.is_empty() => children(heap, top, page),
            None | Some("" | "none") => listed(heap, reached(heap, top, &labels), page),
            Some(other) => {
                return Err(ApiError::bad(format!("group: {other:?}"), "type, or nothing"));
            }
        };
        value["node"] = node::value(heap, top);
        Ok(value)
    })
    .await
}

/// The nodes that a path of groups leads to.
fn reached(heap: &Analysed<'_>, top: Node, labels: &[Label]) -> Vec<Node> {
    let below = |nodes: Vec<Node>, label| members(heap.graph, &heap.dominators, &nodes, label);
    labels.iter().fold(vec![top], |nodes, label| below(nodes, *label))
}

fn children(heap: &Analysed<'_>, top: Node, page: Page) -> Value {
    let end = page.offset().saturating_add(page.limit());
    let (found, rest_count, rest) = largest_children(&heap.dominators, top, end);
    let nodes: Vec<Node> = found.iter().map(|(child, _)| *child).collect();
    let shown = nodes.get(page.offset()..).unwrap_or_default();
    json!({
        "total": nodes.len() as u64 + rest_count,
        "rows": shown.iter().map(|child| node::value(heap, *child)).collect::<Vec<_>>(),
        "rest": { "count": rest_count, "retained_bytes": rest.bytes },
    })
}

fn listed(heap: &Analysed<'_>, mut nodes: Vec<Node>, page: Page) -> Value {
    nodes.sort_by_cached_key(|found| std::cmp::Reverse(heap.dominators.retained(*found)));
    let end = page.offset().saturating_add(page.limit()).min(nodes.len());
    let mut rest = Retained::default();
    let left = nodes.get(end..).unwrap_or_default();
    left.iter().for_each(|found| rest += heap.dominators.retained(*found));
    json!({
        "total": nodes.len(),
        "rows": page.of(&nodes).iter().map(|found| node::value(heap, *found)).collect::<Vec<_>>(),
        "rest": { "count": left.len(), "retained_bytes": rest.bytes },
    })
}

fn groups(heap: &Analysed<'_>, top: Node, labels: &[Label], page: Page) -> Value {
    let parents = reached(heap, top, labels);
    let groups = children_by_label(heap.graph, &heap.dominators, &parents);
    let row = |group: &analyze::heap::retained::Group| {
        json!({
            "group": node::label_key(group.label),
            "name": group_name(heap, group.label),
            "nodes": group.nodes,
            "bytes": group.bytes,
            "retained_bytes": group.retained.bytes,
            "retained_objects": group.retained.objects,
            "has_children": has_children(group.label, group.nodes, group.retained),
        })
    };
    let end = page.offset().saturating_add(page.limit()).min(groups.len());
    let mut rest = Retained::default();
    let left = groups.get(end..).unwrap_or_default();
    left.iter().for_each(|group| rest += group.retained);
    json!({
        "total": groups.len(),
        "rows": page.of(&groups).iter().map(row).collect::<Vec<_>>(),
        "rest": { "count": left.len(), "retained_bytes": rest.bytes },
    })
}

/// Objects retain themselves; holders are no objects.
fn has_children(label: Label, nodes: u64, retained: Retained) -> bool {
    match label {
        Label::Type(_) => retained.objects > nodes,
        _ => retained.objects > 0,
    }
}

fn group_name(heap: &Analysed<'_>, label: Label) -> String {
    match label {
        Label::Type(of) => node::type_name(heap, of).to_owned(),
        Label::Holder(kind) => kind.as_str().to_owned(),
        Label::Root => "all roots".to_owned(),
    }
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Map {
    node: Option<String>,
    group: Option<String>,
    depth: Option<usize>,
    nodes: Option<u64>,
}

const MAP_DEPTH: usize = 4;
const MAP_DEPTH_MAX: usize = 12;
const MAP_NODES: u64 = 2_000;
const MAP_NODES_MAX: u64 = 20_000;

/// The largest of what a node dominates, some levels deep: at most about `nodes` nodes.
pub(crate) async fn treemap(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<Map>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("treemap {query:?}");
    answer(server, id, request, view, move |heap| {
        let top = node::parse(heap, query.node.as_deref().unwrap_or("root"))?;
        let depth = query.depth.unwrap_or(MAP_DEPTH).clamp(1, MAP_DEPTH_MAX);
        let nodes = query.nodes.unwrap_or(MAP_NODES).clamp(1, MAP_NODES_MAX);
        let whole = heap.dominators.retained(top).bytes;
        // What lies side by side shares the whole, so no level has more branches than this
        // many parts of it, and no area smaller than that can be seen.
        let rows = (nodes / depth as u64).max(1);
        let bytes_min = (whole / rows).max(1);
        let limits = Limits { depth, rows: rows as usize, bytes_min };
        let branch = match query.group.as_deref() {
            Some("type") => by_type(heap.graph, &heap.dominators, top, limits),
            _ => by_node(heap.graph, &heap.dominators, top, limits),
        };
        Ok(map_value(heap, &branch))
    })
    .await
}

fn map_value(heap: &Analysed<'_>, branch: &Branch) -> Value {
    let mut value = match branch.stem {
        Stem::Node(found) => node::value(heap, found),
        Stem::Type(of) => {
            json!({ "group": node::label_key(Label::Type(of)), "name": node::type_name(heap, of) })
        }
        Stem::Kind(kind) => {
            json!({ "group": node::label_key(Label::Holder(kind)), "name": kind.as_str() })
        }
    };
    value["count"] = branch.count.into();
    value["bytes"] = branch.bytes.into();
    value["retained_bytes"] = branch.retained.bytes.into();
    value["retained_objects"] = branch.retained.objects.into();
    value["below"] = branch.below.iter().map(|below| map_value(heap, below)).collect();
    value["rest"] = json!({ "count": branch.rest_count, "retained_bytes": branch.rest.bytes });
    value
}
