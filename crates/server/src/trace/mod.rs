//! Execution traces: what a program did in a few seconds.
//!
//! A trace is read once, for all its answers, when it is first asked about. The answers
//! are about one capture, which never changes: all have ETags.

mod captures;
mod traces;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::CaptureId;
use serde::Deserialize;
use serde_json::Value;

pub(crate) use captures::{list, take, upload};
use traces::Analysed;
pub use traces::Traces;

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::packed;

/// Functions of a page that asks for no number.
const ROWS: usize = 200;

/// Answers a question about a capture's trace.
async fn answer(
    server: Server,
    id: i64,
    request: HeaderMap,
    view: String,
    make: impl FnOnce(&Analysed) -> Result<Value, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    blocking(move || {
        let etag = packed::etag(&[server.store.capture(CaptureId(id))?.checksum], &view);
        packed::answer(&request, "application/json", &etag, || {
            let analysed = server.traces.analysed(&server.store, id)?;
            Ok(make(&analysed)?.to_string().into_bytes())
        })
    })
    .await
}

/// What `memsight trace summary --json` prints.
pub(crate) async fn summary(
    State(server): State<Server>,
    Path(id): Path<i64>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    answer(server, id, request, "trace summary".to_owned(), |trace| {
        let Analysed { summary, version, warning, .. } = trace;
        Ok(render::trace::summary::value(summary, *version, warning.as_deref()))
    })
    .await
}

/// What `memsight trace gc --json` prints.
pub(crate) async fn collections(
    State(server): State<Server>,
    Path(id): Path<i64>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    answer(server, id, request, "trace gc".to_owned(), |trace| {
        Ok(render::trace::collections::value(&trace.collections, trace.warning.as_deref()))
    })
    .await
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Rows {
    limit: Option<usize>,
}

/// What `memsight trace goroutines --json` prints.
pub(crate) async fn goroutines(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(rows): Query<Rows>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let limit = rows.limit.unwrap_or(ROWS);
    answer(server, id, request, format!("trace goroutines {limit}"), move |trace| {
        Ok(render::trace::goroutines::value(&trace.groups, limit, trace.warning.as_deref()))
    })
    .await
}
