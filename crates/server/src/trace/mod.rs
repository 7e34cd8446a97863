//! Execution traces: what a program did in a few seconds.
//!
//! The answers are about one capture, which never changes: all have ETags. Times are
//! nanoseconds since the begin of the trace. Figures are what the commands of `memsight trace`
//! print as JSON.

mod captures;
mod timeline;
mod traces;

use analyze::trace::lifetimes::{self, Tracker, TypeLifetimes};
use analyze::trace::tasks::Tasker;
use analyze::trace::utilization::{Counted, Report, Steps, Utilizer};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use model::CaptureId;
use serde::Deserialize;
use serde_json::Value;

pub(crate) use captures::{list, take, upload};
pub(crate) use timeline::timeline;
pub use traces::Traces;
use traces::{Figures, unreadable};

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::packed;

/// Rows of a list that is asked for without a number.
const ROWS: usize = 200;
/// Windows with the least mutator utilisation that are listed.
const WORST: usize = 20;
/// Of this length, nanoseconds.
const WORST_NANOS: u64 = 10_000_000;

/// Answers a question about a capture's trace.
async fn answer(
    server: Server,
    id: i64,
    request: HeaderMap,
    view: String,
    make: impl FnOnce(&Server) -> Result<Value, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    blocking(move || {
        let etag = packed::etag(&[server.store.capture(CaptureId(id))?.checksum], &view);
        packed::answer(&request, "application/json", &etag, || {
            Ok(make(&server)?.to_string().into_bytes())
        })
    })
    .await
}

/// Answers with something about a trace's collections or goroutines.
async fn figures(
    server: Server,
    id: i64,
    request: HeaderMap,
    view: String,
    make: impl FnOnce(&Figures) -> Value + Send + 'static,
) -> Result<Response, ApiError> {
    answer(server, id, request, view, move |server| {
        Ok(make(&*server.traces.figures(&server.store, id)?))
    })
    .await
}

pub(crate) async fn summary(
    State(server): State<Server>,
    Path(id): Path<i64>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    answer(server, id, request, "trace summary".to_owned(), move |server| {
        let trace = server.traces.overview(&server.store, id)?;
        let warning = trace.done.warning.as_deref();
        Ok(render::trace::summary::value(&trace.summary, trace.done.version, warning))
    })
    .await
}

pub(crate) async fn collections(
    State(server): State<Server>,
    Path(id): Path<i64>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    figures(server, id, request, "trace gc".to_owned(), |trace| {
        render::trace::collections::value(&trace.collections, trace.done.warning.as_deref())
    })
    .await
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Rows {
    limit: Option<usize>,
}

pub(crate) async fn goroutines(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(rows): Query<Rows>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let limit = rows.limit.unwrap_or(ROWS);
    figures(server, id, request, format!("trace goroutines {limit}"), move |trace| {
        render::trace::goroutines::value(&trace.groups, limit, trace.done.warning.as_deref())
    })
    .await
}

/// Mutator utilisation, with all that takes Ps from the program.
pub(crate) async fn utilization(
    State(server): State<Server>,
    Path(id): Path<i64>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    answer(server, id, request, "trace mmu".to_owned(), move |server| {
        let Server { traces, store, .. } = server;
        let value = traces.utilization.get(id, || {
            let counted = Counted {
                stops: true,
                background: true,
                assists: true,
                sweeps: true,
                per_proc: false,
            };
            let mut utilizer = Utilizer::new(counted);
            let done = traces.read(store, id, &mut utilizer)?;
            let report = Report::new(utilizer.finish(), Steps::Three, WORST_NANOS, WORST);
            Ok(render::trace::utilization::value(&report, counted, done.warning.as_deref()))
        })?;
        Ok(Value::clone(&value))
    })
    .await
}

/// The program's tasks and regions by type.
pub(crate) async fn tasks(
    State(server): State<Server>,
    Path(id): Path<i64>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    answer(server, id, request, "trace tasks".to_owned(), move |server| {
        let Server { traces, store, .. } = server;
        let value = traces.tasks.get(id, || {
            let mut tasker = Tasker::default();
            let done = traces.read(store, id, &mut tasker)?;
            let tasks = tasker.finish();
            Ok(render::trace::tasks::value(&tasks, ROWS, done.warning.as_deref()))
        })?;
        Ok(Value::clone(&value))
    })
    .await
}

/// How long objects live, by type.
pub(crate) async fn lifetimes(
    State(server): State<Server>,
    Path(id): Path<i64>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    answer(server, id, request, "trace lifetimes".to_owned(), move |server| {
        let Server { traces, store, .. } = server;
        let value = traces.lifetimes.get(id, || {
            let options = lifetimes::Options::default();
            let mut tracker = Tracker::new(options, None);
            let done = traces.read(store, id, &mut tracker)?;
            let all = tracker.finish();
            if !all.has_objects() {
                let next = "take it with `memsight trace record --allocfree`, or with \
                            GODEBUG=traceallocfree=1";
                let error = "the trace has no events about objects";
                return Err(unreadable(error.to_owned(), next.to_owned()));
            }
            let types: Vec<&TypeLifetimes> = all.types.iter().collect();
            let view = render::trace::lifetimes::View {
                types: &types,
                limit: ROWS,
                is_detailed: true,
                options,
                has_snapshot: false,
                warning: done.warning.as_deref(),
            };
            Ok(render::trace::lifetimes::value(&all, &view))
        })?;
        Ok(Value::clone(&value))
    })
    .await
}
