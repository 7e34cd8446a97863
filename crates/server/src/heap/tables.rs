//! Lists: figures, types, roots.

use std::cmp::Reverse;

use analyze::heap::histogram::{Grouping, Row, histogram};
use analyze::heap::names::Label;
use analyze::heap::retained::dominators_by_label;
use analyze::heap::summary;
use analyze::heap::{Node, roots as heap_roots};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::CaptureId;
use model::heap::TypeId;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Analysed, Page, answer, node, pattern};
use crate::Server;
use crate::error::ApiError;

pub(crate) async fn summary(
    State(server): State<Server>,
    Path(id): Path<i64>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let store = std::sync::Arc::clone(&server.store);
    answer(server, id, request, "summary".to_owned(), move |heap| {
        let capture = store.capture(CaptureId(id))?;
        let found = summary::summary(heap.graph, &heap.dominators);
        let mut value = render::heap::summary::value(heap.graph, &found);
        value["id"] = capture.id.0.into();
        value["target"] = capture.target.0.into();
        value["time_ms"] = capture.time.0.into();
        value["reason"] = capture.reason.into();
        value["file_bytes"] = capture.bytes.into();
        Ok(value)
    })
    .await
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Types {
    by: Option<String>,
    q: Option<String>,
    sort: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// Objects and bytes by type, package or size.
pub(crate) async fn types(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<Types>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("types {query:?}");
    answer(server, id, request, view, move |heap| {
        let made;
        let all = match query.by.as_deref() {
            None | Some("" | "type") => heap.types(),
            Some("package") => {
                made = histogram(heap.graph, &heap.dominators, Grouping::Package);
                &made
            }
            Some("size") => {
                made = histogram(heap.graph, &heap.dominators, Grouping::Size);
                &made
            }
            Some(other) => {
                return Err(ApiError::bad(format!("by: {other:?}"), "type, package or size"));
            }
        };
        let wanted = pattern(query.q.as_deref())?;
        let is_wanted = |row: &&Row| wanted.as_ref().is_none_or(|found| found.is_match(&row.name));
        let mut rows: Vec<&Row> = all.iter().filter(is_wanted).collect();
        sort(&mut rows, query.sort.as_deref())?;
        let page = Page { limit: query.limit, offset: query.offset };
        let shown = page.of(&rows);
        Ok(json!({
            "total": all.len(),
            "matching": rows.len(),
            "rows": shown.iter().map(|row| type_row(heap, row)).collect::<Vec<_>>(),
        }))
    })
    .await
}

/// Rows come in descending retained size.
fn sort(rows: &mut [&Row], by: Option<&str>) -> Result<(), ApiError> {
    match by {
        None | Some("" | "retained") => {}
        Some("bytes") => rows.sort_by_key(|row| Reverse(row.live.bytes)),
        Some("objects") => rows.sort_by_key(|row| Reverse(row.live.objects)),
        Some("unreachable") => rows.sort_by_key(|row| Reverse(row.unreachable.bytes)),
        Some("name") => rows.sort_by_key(|row| (row.size_bytes, row.name.as_str())),
        Some(other) => {
            let next = "retained, bytes, objects, unreachable or name";
            return Err(ApiError::bad(format!("sort: {other:?}"), next));
        }
    }
    Ok(())
}

fn type_row(heap: &Analysed<'_>, row: &Row) -> Value {
    let package = row.of.and_then(|of| heap.graph.heap_type(of));
    let name = match row.name.as_str() {
        "" => "(none)",
        name => name,
    };
    json!({
        "id": row.of.map(|of| of.0),
        "type": name,
        "package": package.map(|found| heap.graph.strings.get(found.package)),
        "objects": row.live.objects,
        "bytes": row.live.bytes,
        "retained_bytes": row.retained.bytes,
        "retained_objects": row.retained.objects,
        "unreachable_objects": row.unreachable.objects,
        "unreachable_bytes": row.unreachable.bytes,
    })
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OneType {
    #[serde(rename = "type")]
    of: u32,
}

/// How many groups of dominators a type shows.
const DOMINATORS: usize = 50;

/// One type: its figures, its fields, and what immediately dominates its objects.
pub(crate) async fn one_type(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<OneType>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("type {query:?}");
    answer(server, id, request, view, move |heap| {
        let of = TypeId(query.of);
        let unknown =
            || node::missing(format!("there is no type {}", of.0), "heap/types lists them");
        let found = heap.graph.heap_type(of).ok_or_else(unknown)?;
        let row = heap.types().iter().find(|row| row.of == Some(of));
        let mut value = row.map_or_else(|| json!({ "id": of.0 }), |row| type_row(heap, row));
        value["value_bytes"] = found.bytes.into();
        value["fields"] = heap
            .graph
            .fields_of(found)
            .iter()
            .map(|field| {
                json!({
                    "offset": field.offset,
                    "name": heap.graph.strings.get(field.name),
                    "type": field.of.map(|of| node::type_name(heap, of)),
                })
            })
            .collect();
        let is_asked = |object| heap.graph.type_of(object) == of;
        let groups = dominators_by_label(heap.graph, &heap.dominators, &[], is_asked);
        value["dominators"] = groups
            .iter()
            .take(DOMINATORS)
            .map(|group| {
                json!({
                    "group": node::label_key(group.label),
                    "name": group.label.name(heap.graph),
                    "type": if let Label::Type(of) = group.label { Some(of.0) } else { None },
                    "dominators": group.dominators,
                    "objects": group.dominated.objects,
                    "bytes": group.dominated.bytes,
                })
            })
            .collect();
        Ok(value)
    })
    .await
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Roots {
    q: Option<String>,
    kind: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// What holds the heap: variables, goroutines, and what several of them hold together.
pub(crate) async fn roots(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<Roots>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("roots {query:?}");
    answer(server, id, request, view, move |heap| {
        let found = heap_roots::roots(heap.graph, &heap.dominators);
        let wanted = pattern(query.q.as_deref())?;
        let kind = query.kind.as_deref().filter(|kind| !kind.is_empty());
        let rows: Vec<_> = found
            .rows
            .iter()
            .filter(|row| kind.is_none_or(|kind| row.kind.as_str() == kind))
            .filter(|row| wanted.as_ref().is_none_or(|wanted| wanted.is_match(&row.name)))
            .collect();
        let page = Page { limit: query.limit, offset: query.offset };
        let row = |row: &&heap_roots::RootRow| {
            let mut value = node::value(heap, Node::Holder(row.holder));
            value["root"] = row.name.as_str().into();
            value
        };
        Ok(json!({
            "total": found.rows.len(),
            "matching": rows.len(),
            "rows": page.of(&rows).iter().map(row).collect::<Vec<_>>(),
            "shared": node::retained(found.shared),
        }))
    })
    .await
}
