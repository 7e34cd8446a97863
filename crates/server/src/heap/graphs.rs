//! Graphs as captures: listing, uploading, and taking them of a running program.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use decode::heapfile;
use model::heap::Contents;
use model::{Capture, CaptureKind, HeapGraph, TargetId, Timestamp};
use serde_json::Value;

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::large::{self, Received, Upload, created, now};

pub(crate) async fn list(State(server): State<Server>) -> Result<Json<Value>, ApiError> {
    large::list(server, CaptureKind::Graph).await
}

/// Stores the heap in the body: a snapshot of memsight, or a Java HPROF dump.
pub(crate) async fn upload(
    State(server): State<Server>,
    Query(query): Query<Upload>,
    body: Body,
) -> Result<Response, ApiError> {
    let received = Received::save(&server, body, "open the file with `memsight heap view`").await?;
    blocking(move || {
        let mut stored = None;
        let work = &mut |graph: &HeapGraph<'_>| {
            let name = query.name().unwrap_or(match graph.source.target.as_str() {
                "" => "upload",
                name => name,
            });
            let put = large::uploaded(&server, name)
                .and_then(|target| put(&server, target, graph, "upload", now(), || 0));
            stored = Some(put);
        };
        server.heaps.files.with_file(received.path(), work).map_err(|error| {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.message, error.next)
        })?;
        Ok(created(&server, &taken(stored)?))
    })
    .await
}

/// Takes the heap of a running target.
pub(crate) async fn take(
    State(server): State<Server>,
    Path(id): Path<i64>,
) -> Result<Response, ApiError> {
    if !server.heaps.may_take() {
        let next = "start it with --allow-snapshots: a snapshot stops the target for \
                    milliseconds and clones it";
        let error = "this server takes no snapshots";
        return Err(ApiError::new(StatusCode::FORBIDDEN, error, next));
    }
    blocking(move || {
        let _turn = large::turn(&server.heaps.taking, "snapshot")?;
        let target = server.store.target(TargetId(id))?;
        if !target.is_alive {
            return Err(ApiError::new(StatusCode::GONE, "the target has ended", ""));
        }
        let mut stored = None;
        let work = &mut |graph: &HeapGraph<'_>, cpu: &dyn Fn() -> u64| {
            stored = Some(put(&server, target.id, graph, "manual", now(), cpu));
        };
        server
            .heaps
            .files
            .with_target(&target.target.spec, work)
            .map_err(|error| ApiError::new(StatusCode::BAD_GATEWAY, error.message, error.next))?;
        Ok(created(&server, &taken(stored)?))
    })
    .await
}

fn put(
    server: &Server,
    target: TargetId,
    graph: &HeapGraph<'_>,
    reason: &str,
    time: Timestamp,
    cpu_micros: impl FnOnce() -> u64,
) -> Result<Capture, ApiError> {
    let mut begun = server.store.begin_file(target, CaptureKind::Graph, time)?;
    // What the memory held is no business of whoever may see the pages.
    let bare;
    let graph = match graph.contents.object.is_empty() {
        true => graph,
        false => {
            bare = HeapGraph { contents: Contents::default(), ..graph.clone() };
            &bare
        }
    };
    heapfile::write(graph, &mut begun).map_err(|error| {
        ApiError::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string(), "see --keep-bytes")
    })?;
    Ok(server.store.put_file(begun, reason, cpu_micros())?)
}

fn taken(stored: Option<Result<Capture, ApiError>>) -> Result<Capture, ApiError> {
    stored.unwrap_or_else(|| Err(ApiError::internal(&"there was no graph")))
}
