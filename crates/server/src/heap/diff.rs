//! What changed from one graph of a program to a later one.

use analyze::heap::diff::{
    Diff, PathChange, RootChange, Side, TypeChange, diff as compare, path_changes,
};
use analyze::heap::{Dominators, Node};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::{CaptureId, HeapGraph};
use serde::Deserialize;
use serde_json::{Value, json};

use super::worker::graph_path;
use super::{Analysed, ROWS_MAX, node};
use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::packed;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Compared {
    base: i64,
    limit: Option<usize>,
}

/// Types whose ways to roots are compared, ways of each, and objects that grew.
const TYPES: usize = 8;
const PATHS: usize = 20;
const GROWN: usize = 100;

/// The difference to another capture: types, roots, ways in which objects are held, and
/// single objects that grew.
pub(crate) async fn diff(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<Compared>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    blocking(move || {
        let checksum = |id| server.store.capture(CaptureId(id)).map(|capture| capture.checksum);
        let checksums = [checksum(id)?, checksum(query.base)?];
        let base = graph_path(&server.store, query.base)?;
        let etag = packed::etag(&checksums, &format!("diff {query:?}"));
        let files = std::sync::Arc::clone(&server.heaps.files);
        packed::answer(&request, "application/json", &etag, || {
            // Both graphs are needed at once, so the base is opened by the other's thread.
            let value = server.heaps.ask(&server.store, id, move |heap| {
                let mut value = Value::Null;
                let limit = query.limit.unwrap_or(500).min(ROWS_MAX);
                files
                    .with_file(&base, &mut |base| value = difference(base, heap, limit))
                    .map_err(|error| ApiError::bad(error.message, error.next))?;
                Ok(value)
            })?;
            Ok(value.to_string().into_bytes())
        })
    })
    .await
}

fn difference(base: &HeapGraph<'_>, heap: &Analysed<'_>, limit: usize) -> Value {
    let dominators = Dominators::of(base);
    let before = Side { graph: base, dominators: &dominators };
    let after = Side { graph: heap.graph, dominators: &heap.dominators };
    let found = compare(before, after, GROWN);
    let paths = path_changes(base, heap.graph, &found, TYPES, PATHS);
    let Diff { live, mut types, mut roots, grown, is_matched } = found;
    types.retain(|change| change.live.0 != change.live.1 || change.retained.0 != change.retained.1);
    roots.retain(|change| {
        change.holders.0 != change.holders.1 || change.retained.0 != change.retained.1
    });
    let rows = grown.iter().map(|grown| {
        let mut value = node::value(heap, Node::Object(grown.object));
        value["retained_bytes_before"] = grown.retained.0.bytes.into();
        value
    });
    json!({
        "matched_by_address": is_matched,
        "live": { "before": node::retained(live.0), "after": node::retained(live.1) },
        "types_total": types.len(),
        "types": ends(&types, limit).map(|change| type_value(heap, change)).collect::<Vec<_>>(),
        "roots_total": roots.len(),
        "roots": ends(&roots, limit).map(root_value).collect::<Vec<_>>(),
        "paths": paths.iter().take(limit).map(|change| path_value(heap, change)).collect::<Vec<_>>(),
        "grown": rows.collect::<Vec<_>>(),
    })
}

/// At most so many rows of a list in the order of growth: those that grew most, and those
/// that shrank most.
fn ends<T>(rows: &[T], limit: usize) -> impl Iterator<Item = &T> {
    let shrunk = if rows.len() > limit { limit / 4 } else { 0 };
    let grown = limit.saturating_sub(shrunk).min(rows.len());
    let (head, tail) = rows.split_at(grown);
    head.iter().chain(tail.iter().skip(tail.len().saturating_sub(shrunk)))
}

fn type_value(heap: &Analysed<'_>, change: &TypeChange) -> Value {
    let row = heap.types().iter().find(|row| row.name == change.name);
    json!({
        "type": change.name,
        "id": row.and_then(|row| row.of).map(|of| of.0),
        "before": node::retained(change.live.0),
        "after": node::retained(change.live.1),
        "retained_bytes_before": change.retained.0.bytes,
        "retained_bytes": change.retained.1.bytes,
        "new": change.new.map(node::retained),
        "freed": change.freed.map(node::retained),
    })
}

fn root_value(change: &RootChange) -> Value {
    json!({
        "root": change.name,
        "kind": change.kind.as_str(),
        "holders_before": change.holders.0,
        "holders": change.holders.1,
        "retained_bytes_before": change.retained.0.bytes,
        "retained_bytes": change.retained.1.bytes,
    })
}

/// A way: its steps are of the later graph only where it is there.
fn path_value(heap: &Analysed<'_>, change: &PathChange) -> Value {
    let is_there = change.objects.1.objects > 0;
    let steps = change.steps.iter().filter(|_| is_there);
    json!({
        "type": change.name,
        "path": change.steps.iter().map(|step| step.text()).collect::<Vec<_>>(),
        "steps": steps.map(|step| node::step(heap, step)).collect::<Vec<_>>(),
        "before": node::retained(change.objects.0),
        "after": node::retained(change.objects.1),
    })
}
