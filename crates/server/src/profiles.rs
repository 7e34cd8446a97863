//! Captures as profiles: the file, flame graphs, tables, sandwiches, differences.

use analyze::report::{self, CallTree, PathId, Stacks};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::CaptureId;
use render::profile::{msf, report as tables};
use serde_json::{Map, Value, json};

use crate::api::blocking;
use crate::error::ApiError;
use crate::packed;
use crate::view::{View, profile, stacks};
use crate::{Server, large};

/// More than a screen has room for, about 0.7 MB compressed. What is cut is a page of its
/// own, `root=`.
const FLAME_NODES: usize = 50_000;
const FLAME_NODES_MAX: usize = 2_000_000;
const TABLE_ROWS: usize = 500;
const SANDWICH_NODES: usize = 2_000;

pub(crate) async fn download(
    State(server): State<Server>,
    Path(id): Path<i64>,
) -> Result<Response, ApiError> {
    if let Some((capture, path)) = large::file_of(&server, id).await? {
        return large::download(capture, path).await;
    }
    blocking(move || {
        let capture = server.store.capture(CaptureId(id))?;
        let bytes = server.store.read_capture(capture.id)?;
        let kind = capture.kind;
        let ends = if kind.is_profile() { "pb.gz" } else { "json.gz" };
        let name = format!("attachment; filename=\"{}-{id}.{ends}\"", kind.as_str());
        let headers = [
            (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
            (header::CONTENT_DISPOSITION, name),
        ];
        Ok((headers, bytes).into_response())
    })
    .await
}

pub(crate) async fn meta(
    State(server): State<Server>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let capture = server.store.capture(CaptureId(id))?;
        let profile = profile(&server, id)?;
        let types: Vec<Value> = profile
            .sample_types
            .iter()
            .map(|t| json!({ "kind": profile.str(t.kind), "unit": profile.str(t.unit) }))
            .collect();
        let totals: Map<String, Value> = profile
            .sample_types
            .iter()
            .zip(&profile.samples.values)
            .map(|(kind, column)| {
                let total = column.iter().fold(0_i64, |sum, value| sum.saturating_add(*value));
                (profile.str(kind.kind).to_owned(), total.into())
            })
            .collect();
        let default = profile.default_column().and_then(|at| profile.sample_types.get(at));
        Ok(Json(json!({
            "id": id,
            "target": capture.target.0,
            "kind": capture.kind.as_str(),
            "time_ms": capture.time.0,
            "shows_ms": profile.time_nanos / 1_000_000,
            "reason": capture.reason,
            "sample_types": types,
            "default_sample_type": default.map(|t| profile.str(t.kind)),
            "totals": totals,
            "period": profile.period,
            "samples": profile.samples.len(),
        })))
    })
    .await
}

pub(crate) async fn flame(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(view): Query<View>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    blocking(move || {
        let etag = view.etag(&server.store, id, "flame")?;
        packed::answer(&request, "application/octet-stream", &etag, || {
            tree_bytes(stacks(&server, id, &view)?, &view)
        })
    })
    .await
}

/// A call tree for drawing.
pub(crate) fn tree_bytes(mut stacks: Stacks, view: &View) -> Result<Vec<u8>, ApiError> {
    let limit = view.limit.unwrap_or(FLAME_NODES).clamp(1, FLAME_NODES_MAX);
    let tree = call_tree(&mut stacks, view, limit)?;
    Ok(msf::write(&stacks, &tree))
}

fn call_tree(stacks: &mut Stacks, view: &View, limit: usize) -> Result<CallTree, ApiError> {
    if view.is_reversed()? {
        stacks.reverse();
    }
    let Some(root) = &view.root else { return Ok(CallTree::build(stacks, limit)) };
    let root = PathId::parse(root).ok_or_else(|| {
        let next =
            "root= takes the 16 hexadecimal digits of a path; docs/api.md says how they are made";
        ApiError::bad(format!("no path: {root}"), next)
    })?;
    CallTree::below(stacks, root, view.skip.unwrap_or(0), limit).ok_or_else(|| {
        let next = "the path may belong to another sample type or filter; leave root= out";
        ApiError::new(StatusCode::NOT_FOUND, format!("no stack passes {root}"), next)
    })
}

pub(crate) async fn table(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(view): Query<View>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    blocking(move || {
        let etag = view.etag(&server.store, id, "table")?;
        packed::answer(&request, "application/json", &etag, || {
            let stacks = stacks(&server, id, &view)?;
            let rows = view.limit.unwrap_or(TABLE_ROWS);
            let options = tables::Options { rows, by_cumulative: false };
            Ok(tables::top_json(&stacks, options).to_string().into_bytes())
        })
    })
    .await
}

pub(crate) async fn sandwich(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(view): Query<View>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let mut stacks = stacks(&server, id, &view)?;
        let function = view.function.as_deref().ok_or_else(|| {
            ApiError::bad("function= is missing", "name the function in the middle")
        })?;
        let limit = view.limit.unwrap_or(SANDWICH_NODES);
        let both = report::sandwich(&mut stacks, function, limit).ok_or_else(|| {
            let error = format!("no stack contains {function}");
            ApiError::new(StatusCode::NOT_FOUND, error, "the table lists the functions there are")
        })?;
        Ok(Json(json!({
            "unit": stacks.unit,
            "callers": nested(&stacks, &both.callers),
            "callees": nested(&stacks, &both.callees),
        })))
    })
    .await
}

/// A tree as nested objects. Children come after their parents, so going backwards
/// every node is complete before it is moved into its parent.
fn nested(stacks: &Stacks, tree: &CallTree) -> Value {
    let mut values: Vec<Option<Value>> = tree
        .nodes
        .iter()
        .map(|node| {
            Some(json!({
                "name": stacks.strings.get(node.frame.function),
                "file": stacks.strings.get(node.frame.file),
                "line": node.frame.line,
                "value": node.total.value,
                "base": node.total.base,
                "self": node.own.value,
                "children": [],
            }))
        })
        .collect();
    for index in (1..tree.nodes.len()).rev() {
        let child = values.get_mut(index).and_then(Option::take);
        let parent = tree.nodes.get(index).and_then(|node| node.parent);
        let parent = parent.and_then(|parent| values.get_mut(parent as usize)?.as_mut());
        if let (Some(child), Some(parent)) = (child, parent)
            && let Some(children) = parent["children"].as_array_mut()
        {
            children.insert(0, child);
        }
    }
    values.first_mut().and_then(Option::take).unwrap_or(Value::Null)
}
