//! Graphs as captures: listing, downloading, uploading, and taking them of a running
//! program.

use std::collections::BTreeMap;
use std::fs;
use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::{Arc, TryLockError};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use decode::heapfile;
use model::heap::Contents;
use model::{
    Bytes, Capture, CaptureId, CaptureKind, HeapGraph, Target, TargetId, TargetSpec, Timestamp,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio_stream::StreamExt;

use crate::api::blocking;
use crate::error::ApiError;
use crate::targets::capture_value;
use crate::{Notice, Server};

/// Graphs of one target that are listed.
const LISTED: usize = 500;

pub(crate) async fn list(State(server): State<Server>) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let mut rows = Vec::new();
        for target in server.store.targets()? {
            let graphs = server.store.captures(target.id, Some(CaptureKind::Graph), LISTED)?;
            for capture in &graphs {
                let mut row = capture_value(capture);
                row["target"] = target.id.0.into();
                row["name"] = target.target.name.as_str().into();
                rows.push((capture.time, row));
            }
        }
        rows.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        Ok(Json(rows.into_iter().map(|(_, row)| row).collect()))
    })
    .await
}

/// The snapshot file, in parts: it may be larger than memory.
pub(crate) async fn download(capture: Capture, path: PathBuf) -> Result<Response, ApiError> {
    let failed = |error: std::io::Error| ApiError::internal(&error);
    let mut file = tokio::fs::File::open(path).await.map_err(failed)?;
    let length = file.seek(SeekFrom::End(0)).await.map_err(failed)?;
    file.seek(SeekFrom::Start(0)).await.map_err(failed)?;
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (
            header::CONTENT_DISPOSITION,
            format!("attachment; filename=\"graph-{}.heap\"", capture.id.0),
        ),
    ];
    Ok((headers, Body::from_stream(parts(file))).into_response())
}

/// The bytes of a file, a mebibyte at a time.
fn parts(file: tokio::fs::File) -> impl tokio_stream::Stream<Item = std::io::Result<Vec<u8>>> {
    use tokio::io::AsyncReadExt;
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    tokio::spawn(async move {
        let mut file = file;
        loop {
            let mut part = Vec::with_capacity(1 << 20);
            let read = (&mut file).take(1 << 20).read_to_end(&mut part).await;
            let is_end = !matches!(read, Ok(count) if count > 0);
            if !part.is_empty() || read.is_err() {
                // The client may have gone.
                let sent = sender.send(read.map(|_| part)).await;
                if sent.is_err() {
                    return;
                }
            }
            if is_end {
                return;
            }
        }
    });
    tokio_stream::wrappers::ReceiverStream::new(receiver)
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Upload {
    name: Option<String>,
}

/// Stores the heap in the body: a snapshot of memsight, or a Java HPROF dump.
pub(crate) async fn upload(
    State(server): State<Server>,
    Query(query): Query<Upload>,
    body: Body,
) -> Result<Response, ApiError> {
    let store = Arc::clone(&server.store);
    let path = blocking(move || Ok(store.scratch_path()?)).await?;
    let received = Received::save(path, server.store.graph_bytes_max(), body).await?;
    blocking(move || {
        let mut stored = None;
        let work = &mut |graph: &HeapGraph<'_>| {
            let given = query.name.as_deref().filter(|name| !name.is_empty());
            let name = given.unwrap_or(match graph.source.target.as_str() {
                "" => "upload",
                name => name,
            });
            stored = Some(put_uploaded(&server, graph, name));
        };
        server.heaps.files.with_file(&received.0, work).map_err(|error| {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, error.message, error.next)
        })?;
        created(&server, stored)
    })
    .await
}

fn put_uploaded(server: &Server, graph: &HeapGraph<'_>, name: &str) -> Result<Capture, ApiError> {
    let target = Target {
        spec: TargetSpec::Name(name.to_owned()),
        name: name.to_owned(),
        pid: None,
        labels: BTreeMap::from([("uploaded".to_owned(), "true".to_owned())]),
    };
    let now = now();
    let id = server.store.put_target(&target, now)?;
    // Nothing by this name runs here.
    server.store.mark_ended(id)?;
    put(server, id, graph, "upload", now, || 0)
}

/// An upload on disk, until it is dropped.
struct Received(PathBuf);

impl Received {
    async fn save(path: PathBuf, bytes_max: u64, body: Body) -> Result<Received, ApiError> {
        let received = Received(path);
        let failed = |error: std::io::Error| ApiError::internal(&error);
        let mut options = tokio::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&received.0).await.map_err(failed)?;
        let (mut parts, mut bytes) = (body.into_data_stream(), 0);
        while let Some(part) = parts.next().await {
            let part = part.map_err(|error| ApiError::bad(error.to_string(), "send it again"))?;
            bytes += part.len() as u64;
            if bytes > bytes_max {
                let error =
                    format!("more than {}, half of what this store keeps", Bytes(bytes_max));
                let next = "start the server with a larger --keep-bytes, or open the file with \
                            `memsight heap view`";
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error, next));
            }
            file.write_all(&part).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(received)
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
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
        let _turn = server.heaps.taking.try_lock().or_else(|error| match error {
            TryLockError::Poisoned(poisoned) => Ok(poisoned.into_inner()),
            TryLockError::WouldBlock => {
                let error = "a snapshot is being taken";
                Err(ApiError::new(StatusCode::CONFLICT, error, "ask again when it is done"))
            }
        })?;
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
        created(&server, stored)
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
    let mut begun = server.store.begin_graph(target, time)?;
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
    Ok(server.store.put_graph(begun, reason, cpu_micros())?)
}

fn created(
    server: &Server,
    stored: Option<Result<Capture, ApiError>>,
) -> Result<Response, ApiError> {
    let capture = stored.unwrap_or_else(|| Err(ApiError::internal(&"there was no graph")))?;
    let data = json!({ "target": capture.target.0, "capture": capture.id.0 });
    // Nobody may be listening.
    let _ = server.notices.send(Notice { kind: "capture", data });
    let mut value = capture_value(&capture);
    value["target"] = capture.target.0.into();
    Ok((StatusCode::CREATED, Json(value)).into_response())
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}

/// A capture and its file, if it is a graph.
pub(crate) async fn file_of(
    server: &Server,
    id: i64,
) -> Result<Option<(Capture, PathBuf)>, ApiError> {
    let store = Arc::clone(&server.store);
    blocking(move || {
        let capture = store.capture(CaptureId(id))?;
        if capture.kind != CaptureKind::Graph {
            return Ok(None);
        }
        let path = store.capture_path(capture.id)?;
        Ok(Some((capture, path)))
    })
    .await
}
