//! Goroutines with their stacks, their variables, and what they retain.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use analyze::heap::Node;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::heap::{HeapGoroutine, HolderId, HolderKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Analysed, Page, answer, node, pattern};
use crate::Server;
use crate::error::ApiError;

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Wanted {
    q: Option<String>,
    group: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// Variables of one goroutine that are shown.
const LOCALS: usize = 100;
/// What one variable points to that is shown.
const TARGETS: usize = 4;
/// More goroutines with their variables are a slow page.
const PAGE_MAX: usize = 500;

/// Goroutines, largest retained size first; with `group=stack` those of one stack, state
/// and wait reason as one row.
pub(crate) async fn goroutines(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<Wanted>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let view = format!("goroutines {query:?}");
    answer(server, id, request, view, move |heap| {
        let wanted = pattern(query.q.as_deref())?;
        let is_wanted = |text: &str| wanted.as_ref().is_none_or(|wanted| wanted.is_match(text));
        let all = all(heap);
        let mut rows: Vec<Found<'_>> =
            all.iter().copied().filter(|found| matches(heap, found, &is_wanted)).collect();
        rows.sort_by_key(|found| (Reverse(found.retained_bytes), found.holder));
        let page =
            Page { limit: Some(query.limit.unwrap_or(50).min(PAGE_MAX)), offset: query.offset };
        let (matching, rows) = match query.group.as_deref() {
            Some("stack") => {
                let groups = by_stack(&rows);
                let shown = page.of(&groups).iter().map(|group| group_value(heap, group));
                (groups.len(), shown.collect())
            }
            None | Some("" | "none") => (rows.len(), with_locals(heap, page.of(&rows))),
            Some(other) => {
                return Err(ApiError::bad(format!("group: {other:?}"), "stack, or nothing"));
            }
        };
        Ok(json!({ "total": all.len(), "matching": matching, "rows": rows }))
    })
    .await
}

/// A goroutine's holder and what it retains.
#[derive(Clone, Copy)]
struct Found<'h> {
    holder: HolderId,
    goroutine: &'h HeapGoroutine,
    retained_bytes: u64,
}

fn all<'h>(heap: &'h Analysed<'_>) -> Vec<Found<'h>> {
    let holders = heap.graph.holders.iter().enumerate();
    holders
        .filter(|(_, holder)| holder.kind == HolderKind::Goroutine)
        .filter_map(|(index, holder)| {
            let holder_id = HolderId(index as u32);
            let goroutine = heap.graph.goroutines.get(holder.goroutine? as usize)?;
            let retained_bytes = heap.dominators.retained(Node::Holder(holder_id)).bytes;
            Some(Found { holder: holder_id, goroutine, retained_bytes })
        })
        .collect()
}

fn matches(heap: &Analysed<'_>, found: &Found<'_>, is_wanted: &dyn Fn(&str) -> bool) -> bool {
    let goroutine = found.goroutine;
    let frames = goroutine.stack.and_then(|at| heap.graph.stacks.get(at as usize));
    is_wanted(&goroutine.state)
        || is_wanted(&goroutine.wait_reason)
        || is_wanted(&node::name(heap, Node::Holder(found.holder)))
        || frames.into_iter().flatten().any(|frame| is_wanted(&frame.function))
}

fn stack(heap: &Analysed<'_>, goroutine: &HeapGoroutine) -> Value {
    let frames = goroutine.stack.and_then(|at| heap.graph.stacks.get(at as usize));
    frames.into_iter().flatten().map(render::json::frame).collect()
}

/// Goroutines that are alike; those that retain most come first.
struct Group<'h> {
    first: Found<'h>,
    count: u64,
    retained_bytes: u64,
    stack_bytes: u64,
}

fn by_stack<'h>(rows: &[Found<'h>]) -> Vec<Group<'h>> {
    let mut groups: BTreeMap<(Option<u32>, &str, &str), Group<'h>> = BTreeMap::new();
    for row in rows {
        let goroutine = row.goroutine;
        let key = (goroutine.stack, goroutine.state.as_str(), goroutine.wait_reason.as_str());
        let group = groups.entry(key).or_insert(Group {
            first: *row,
            count: 0,
            retained_bytes: 0,
            stack_bytes: 0,
        });
        group.count += 1;
        group.retained_bytes = group.retained_bytes.saturating_add(row.retained_bytes);
        group.stack_bytes = group.stack_bytes.saturating_add(goroutine.stack_bytes);
    }
    let mut groups: Vec<Group<'h>> = groups.into_values().collect();
    groups.sort_by_key(|group| (Reverse((group.retained_bytes, group.count)), group.first.holder));
    groups
}

fn group_value(heap: &Analysed<'_>, group: &Group<'_>) -> Value {
    let goroutine = group.first.goroutine;
    json!({
        "goroutines": group.count,
        "retained_bytes": group.retained_bytes,
        "stack_bytes": group.stack_bytes,
        "state": goroutine.state,
        "wait_reason": goroutine.wait_reason,
        "stack": stack(heap, goroutine),
        "largest": node::value(heap, Node::Holder(group.first.holder)),
    })
}

fn with_locals(heap: &Analysed<'_>, shown: &[Found<'_>]) -> Vec<Value> {
    let mut locals: BTreeMap<HolderId, Vec<HolderId>> =
        shown.iter().map(|found| (found.holder, Vec::new())).collect();
    for (index, holder) in heap.graph.holders.iter().enumerate() {
        if let Some(list) = holder.parent.and_then(|parent| locals.get_mut(&parent)) {
            list.push(HolderId(index as u32));
        }
    }
    let row = |found: &Found<'_>| {
        let goroutine = found.goroutine;
        let mut value = node::value(heap, Node::Holder(found.holder));
        value["id"] = goroutine.id.into();
        value["state"] = goroutine.state.as_str().into();
        value["wait_reason"] = goroutine.wait_reason.as_str().into();
        value["stack_bytes"] = goroutine.stack_bytes.into();
        value["stack"] = stack(heap, goroutine);
        let own = locals.get(&found.holder).map(Vec::as_slice).unwrap_or_default();
        let kept = own.get(..LOCALS).unwrap_or(own);
        value["locals"] = kept.iter().map(|local| local_value(heap, *local)).collect();
        value["locals_total"] = own.len().into();
        value
    };
    shown.iter().map(row).collect()
}

/// A variable of a frame, with what it points to.
fn local_value(heap: &Analysed<'_>, id: HolderId) -> Value {
    let mut value = node::value(heap, Node::Holder(id));
    let pointers = heap.graph.pointers_of(id);
    if let Some(holder) = heap.graph.holders.get(id.0 as usize) {
        value["variable"] = heap.graph.strings.get(holder.name).into();
        value["place"] = heap.graph.strings.get(holder.place).into();
        value["type_name"] = holder.of.map(|of| node::type_name(heap, of)).into();
        value["guessed"] = holder.is_conservative.into();
    }
    let targets = pointers.iter().take(TARGETS);
    value["targets"] =
        targets.map(|pointer| node::value(heap, Node::Object(pointer.target))).collect();
    value["targets_total"] = pointers.len().into();
    value
}
