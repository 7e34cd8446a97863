//! Captures that may be larger than memory: listed, downloaded and received in parts.

use std::collections::BTreeMap;
use std::fs;
use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use agent::Event;
use axum::Json;
use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Bytes, Capture, CaptureId, CaptureKind, Target, TargetId, TargetSpec, Timestamp};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncSeekExt, AsyncWriteExt};
use tokio_stream::StreamExt;

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::targets::capture_value;

/// Captures of one target that are listed.
const LISTED: usize = 500;
/// Bytes that are sent at once.
const PART: usize = 1 << 20;

/// What is said of a file that is sent.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Upload {
    name: Option<String>,
}

impl Upload {
    /// The name that was given.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref().filter(|name| !name.is_empty())
    }
}

/// For how long something is to be taken.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Taking {
    seconds: Option<u64>,
}

impl Taking {
    /// What was asked for, or what is usual.
    pub(crate) fn seconds(self, usual: u64, most: u64) -> Result<u64, ApiError> {
        let seconds = self.seconds.unwrap_or(usual);
        if (1..=most).contains(&seconds) {
            return Ok(seconds);
        }
        Err(ApiError::bad(format!("seconds={seconds} is out of range"), format!("1 to {most}")))
    }
}

/// Captures of a kind of all targets, newest first.
pub(crate) async fn list(server: Server, kind: CaptureKind) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let rows = listed(&server, &[kind])?;
        Ok(Json(rows.into_iter().map(|(_, row)| row).collect()))
    })
    .await
}

/// Captures of these kinds of all targets, newest first, each with what is said of it.
pub(crate) fn listed(
    server: &Server,
    kinds: &[CaptureKind],
) -> Result<Vec<(Capture, Value)>, ApiError> {
    let mut rows = Vec::new();
    for target in server.store.targets()? {
        for kind in kinds {
            for capture in server.store.captures(target.id, Some(*kind), LISTED)? {
                let mut row = capture_value(&capture);
                row["target"] = target.id.0.into();
                row["name"] = target.target.name.as_str().into();
                rows.push((capture, row));
            }
        }
    }
    rows.sort_by_key(|(capture, _)| std::cmp::Reverse(capture.time));
    Ok(rows)
}

/// A capture and its file, if it is a large one.
pub(crate) async fn file_of(
    server: &Server,
    id: i64,
) -> Result<Option<(Capture, PathBuf)>, ApiError> {
    let store = Arc::clone(&server.store);
    blocking(move || {
        let capture = store.capture(CaptureId(id))?;
        if !capture.kind.is_large() {
            return Ok(None);
        }
        let path = store.capture_path(capture.id)?;
        Ok(Some((capture, path)))
    })
    .await
}

/// The file of a capture.
pub(crate) async fn download(capture: Capture, path: PathBuf) -> Result<Response, ApiError> {
    let failed = |error: std::io::Error| ApiError::internal(&error);
    let mut file = tokio::fs::File::open(&path).await.map_err(failed)?;
    let length = file.seek(SeekFrom::End(0)).await.map_err(failed)?;
    file.seek(SeekFrom::Start(0)).await.map_err(failed)?;
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let name = format!("{}-{}.{extension}", capture.kind.as_str(), capture.id.0);
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    Ok((headers, Body::from_stream(parts(file))).into_response())
}

/// The bytes of a file, a part at a time.
fn parts(file: tokio::fs::File) -> impl tokio_stream::Stream<Item = std::io::Result<Vec<u8>>> {
    use tokio::io::AsyncReadExt;
    let (sender, receiver) = tokio::sync::mpsc::channel(2);
    tokio::spawn(async move {
        let mut file = file;
        loop {
            let mut part = Vec::with_capacity(PART);
            let read = (&mut file).take(PART as u64).read_to_end(&mut part).await;
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

/// An upload on disk, until it is dropped.
pub(crate) struct Received(PathBuf);

impl Received {
    /// Writes what is sent to a file; `instead` says how to do without the server.
    pub(crate) async fn save(
        server: &Server,
        body: Body,
        instead: &str,
    ) -> Result<Received, ApiError> {
        let bytes_max = server.store.file_bytes_max();
        let store = Arc::clone(&server.store);
        let received = Received(blocking(move || Ok(store.scratch_path()?)).await?);
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
                let next = format!("start the server with a larger --keep-bytes, or {instead}");
                return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, error, next));
            }
            file.write_all(&part).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        Ok(received)
    }

    /// Where it lies.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A target of this name that does not run here, for what is sent.
pub(crate) fn uploaded(server: &Server, name: &str) -> Result<TargetId, ApiError> {
    let target = Target {
        spec: TargetSpec::Name(name.to_owned()),
        name: name.to_owned(),
        pid: None,
        labels: BTreeMap::from([("uploaded".to_owned(), "true".to_owned())]),
    };
    let id = server.store.put_target(&target, now())?;
    server.store.mark_ended(id)?;
    Ok(id)
}

/// Tells of a new capture.
pub(crate) fn created(server: &Server, capture: &Capture) -> Response {
    server.bus.publish(Event::Captured { target: capture.target, capture: capture.id });
    let mut value = capture_value(capture);
    value["target"] = capture.target.0.into();
    (StatusCode::CREATED, Json(value)).into_response()
}

/// Waits for nobody: only one snapshot or trace, which `what` names, is taken at a time.
pub(crate) fn turn<'a>(taking: &'a Mutex<()>, what: &str) -> Result<MutexGuard<'a, ()>, ApiError> {
    taking.try_lock().or_else(|error| match error {
        TryLockError::Poisoned(poisoned) => Ok(poisoned.into_inner()),
        TryLockError::WouldBlock => {
            let error = format!("a {what} is being taken");
            Err(ApiError::new(StatusCode::CONFLICT, error, "ask again when it is done"))
        }
    })
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp(since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
}
