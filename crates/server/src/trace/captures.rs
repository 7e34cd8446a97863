//! Traces as captures: listing, uploading, and taking them of a running program.

use std::fs::File;
use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use decode::gotrace::Reader;
use model::{CaptureKind, TargetId};
use serde_json::Value;

use super::traces::unreadable;
use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::large::{self, Received, Taking, Upload, created, now};

const SECONDS: u64 = 5;
/// A busy program writes some 20 MB a second.
const SECONDS_MAX: u64 = 60;

pub(crate) async fn list(State(server): State<Server>) -> Result<Json<Value>, ApiError> {
    large::list(server, CaptureKind::Trace).await
}

/// Stores the trace in the body.
pub(crate) async fn upload(
    State(server): State<Server>,
    Query(query): Query<Upload>,
    body: Body,
) -> Result<Response, ApiError> {
    let received =
        Received::save(&server, body, "open the file with `memsight trace view`").await?;
    blocking(move || {
        let mut checked = Ok(());
        let check = &mut |bytes: &[u8]| checked = Reader::new(bytes).map(|_| ());
        let opened = server.traces.files.with_file(received.path(), check);
        opened.map_err(|error| unreadable(error.message, error.next))?;
        checked.map_err(|error| {
            let next = "send what /debug/pprof/trace or runtime/trace wrote";
            unreadable(error.to_string(), next.to_owned())
        })?;
        let target = large::uploaded(&server, query.name().unwrap_or("upload"))?;
        let failed = |error: io::Error| {
            let status = StatusCode::INSUFFICIENT_STORAGE;
            ApiError::new(status, error.to_string(), "see --keep-bytes")
        };
        let mut begun = server.store.begin_file(target, CaptureKind::Trace, now())?;
        let mut file = File::open(received.path()).map_err(failed)?;
        io::copy(&mut file, &mut begun).map_err(failed)?;
        Ok(created(&server, &server.store.put_file(begun, "upload", 0)?))
    })
    .await
}

/// Has a running target write a trace.
pub(crate) async fn take(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(taking): Query<Taking>,
) -> Result<Response, ApiError> {
    if !server.traces.may_take() {
        let next = "start it with --allow-traces: a trace costs the target some of its speed";
        let error = "this server takes no traces";
        return Err(ApiError::new(StatusCode::FORBIDDEN, error, next));
    }
    let seconds = taking.seconds(SECONDS, SECONDS_MAX)?;
    blocking(move || {
        let _turn = large::turn(&server.traces.taking, "trace")?;
        let target = server.store.target(TargetId(id))?;
        if !target.is_alive {
            return Err(ApiError::new(StatusCode::GONE, "the target has ended", ""));
        }
        let mut begun = server.store.begin_file(target.id, CaptureKind::Trace, now())?;
        let (spec, duration) = (&target.target.spec, Duration::from_secs(seconds));
        server
            .traces
            .files
            .record(spec, duration, &mut begun)
            .map_err(|error| ApiError::new(StatusCode::BAD_GATEWAY, error.message, error.next))?;
        Ok(created(&server, &server.store.put_file(begun, "manual", 0)?))
    })
    .await
}
