//! Probes of running programs, on request and as captures.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use model::{CaptureKind, TargetId};
use serde_json::{Value, json};
use store::NewCapture;

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::files::ProbeRuns;
use crate::large::{Taking, created, listed, now, turn};

const SECONDS: u64 = 10;
const SECONDS_MAX: u64 = 300;

/// How programs are probed, and whether clients may have it done.
pub struct Probes {
    runs: Arc<dyn ProbeRuns>,
    may_take: bool,
    /// Held while a probe looks: one at a time.
    taking: Mutex<()>,
}

impl std::fmt::Debug for Probes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probes").field("may_take", &self.may_take).finish_non_exhaustive()
    }
}

impl Probes {
    /// `may_take` allows clients to have running programs probed.
    pub fn new(runs: Arc<dyn ProbeRuns>, may_take: bool) -> Probes {
        Probes { runs, may_take, taking: Mutex::default() }
    }
}

/// What probes saw, newest first, and whether clients may have more.
pub(crate) async fn list(State(server): State<Server>) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let is_probe = |kind: CaptureKind, reason: &str| {
            kind.is_probe() || kind == CaptureKind::Heap && reason == agent::OOM_KILL
        };
        let kinds: Vec<CaptureKind> = CaptureKind::ALL
            .into_iter()
            .filter(|kind| kind.is_probe() || *kind == CaptureKind::Heap)
            .collect();
        let mut rows = listed(&server, &kinds)?;
        rows.retain(|(capture, _)| is_probe(capture.kind, &capture.reason));
        let captures: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
        Ok(Json(json!({ "may_take": server.probes.may_take, "captures": captures })))
    })
    .await
}

/// Probes a running target for some seconds.
pub(crate) async fn take(
    State(server): State<Server>,
    Path((id, kind)): Path<(i64, String)>,
    Query(taking): Query<Taking>,
) -> Result<Response, ApiError> {
    if !server.probes.may_take {
        let next = "start it with --allow-probes: a probe costs the target some of its speed";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "this server probes no programs", next));
    }
    let Some(kind) = CaptureKind::parse(&kind).filter(|kind| kind.is_probe()) else {
        return Err(ApiError::bad(format!("{kind:?} is no kind of probe"), "alloc or native"));
    };
    let seconds = taking.seconds(SECONDS, SECONDS_MAX)?;
    blocking(move || {
        let _turn = turn(&server.probes.taking, "probe")?;
        let target = server.store.target(TargetId(id))?;
        if !target.is_alive {
            return Err(ApiError::new(StatusCode::GONE, "the target has ended", ""));
        }
        let length = Duration::from_secs(seconds);
        let (bytes, cost) =
            server.probes.runs.run(kind, &target.target.spec, length).map_err(|error| {
                ApiError::new(StatusCode::BAD_GATEWAY, error.message, error.next)
            })?;
        let capture = server.store.put_capture(&NewCapture {
            target: target.id,
            kind,
            time: now(),
            reason: "manual",
            cost_micros: u64::try_from(cost.as_micros()).unwrap_or(u64::MAX),
            bytes: &bytes,
        })?;
        Ok(created(&server, &capture))
    })
    .await
}
