//! Probes of running programs: on request, while they are at work, and as captures.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::probes::{Figures, Picture, PictureSite, Run, Runs};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use model::{CaptureKind, TargetId};
use render::json::{frame, number};
use render::probe::{estimate, losses};
use serde_json::{Value, json};
use store::NewCapture;

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::files::ProbeRuns;
use crate::large::{Taking, created, listed, now, turn};
use crate::packed;
use crate::profiles::tree_bytes;
use crate::view::{View, stacks_of};

const SECONDS: u64 = 10;
const SECONDS_MAX: u64 = 300;

/// How programs are probed, and whether clients may have it done.
pub struct Probes {
    access: Arc<dyn ProbeRuns>,
    /// Those at work, whoever has them look.
    runs: Arc<Runs>,
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
    pub fn new(access: Arc<dyn ProbeRuns>, runs: Arc<Runs>, may_take: bool) -> Probes {
        Probes { access, runs, may_take, taking: Mutex::default() }
    }
}

/// What probes saw, newest first, which are at work, and whether clients may have more.
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
        let runs = server.probes.runs.all();
        let at_work: Result<Vec<Value>, ApiError> =
            runs.iter().map(|run| run_value(&server, run)).collect();
        Ok(Json(json!({
            "may_take": server.probes.may_take, "at_work": at_work?, "captures": captures,
        })))
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
    let kind = probe_kind(&kind)?;
    let seconds = taking.seconds(SECONDS, SECONDS_MAX)?;
    blocking(move || {
        let _turn = turn(&server.probes.taking, "probe")?;
        let target = server.store.target(TargetId(id))?;
        if !target.is_alive {
            return Err(ApiError::new(StatusCode::GONE, "the target has ended", ""));
        }
        let length = Duration::from_secs(seconds);
        // Until the capture is there: who looks goes from the one to the other.
        let begun = server.probes.runs.begin(target.id, kind, "manual", length);
        let (bytes, cost) =
            server.probes.access.run(begun.run(), &target.target.spec).map_err(|error| {
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

/// What a probe at work has found so far.
pub(crate) async fn so_far(
    State(server): State<Server>,
    Path((id, kind)): Path<(i64, String)>,
) -> Result<Json<Value>, ApiError> {
    let kind = probe_kind(&kind)?;
    blocking(move || {
        let run = at_work(&server, id, kind)?;
        let (mut value, seen) = (run_value(&server, &run)?, run.look());
        value["figures"] = seen.figures.iter().map(figures_value).collect();
        value["picture"] = seen.picture.as_deref().map_or(Value::Null, picture_value);
        Ok(Json(value))
    })
    .await
}

/// The same as a call tree for drawing.
pub(crate) async fn flame(
    State(server): State<Server>,
    Path((id, kind)): Path<(i64, String)>,
    Query(view): Query<View>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    let kind = probe_kind(&kind)?;
    blocking(move || {
        let run = at_work(&server, id, kind)?;
        let picture = run.look().picture.ok_or_else(|| {
            let error = "the probe has only begun";
            ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error, "ask again in a second")
        })?;
        let made = format!("{} {:?} {view:?}", run.began.0, picture.elapsed);
        let etag = packed::etag(&[], &made);
        packed::answer(&request, "application/octet-stream", &etag, || {
            tree_bytes(stacks_of(Arc::clone(&picture.profile), None, &view)?, &view)
        })
    })
    .await
}

fn probe_kind(word: &str) -> Result<CaptureKind, ApiError> {
    let kind = CaptureKind::parse(word).filter(|kind| kind.is_probe());
    kind.ok_or_else(|| {
        let error = format!("{word:?} is no kind of probe");
        ApiError::bad(error, "alloc, native, faults or mmap")
    })
}

fn at_work(server: &Server, target: i64, kind: CaptureKind) -> Result<Arc<Run>, ApiError> {
    server.probes.runs.get(TargetId(target), kind).ok_or_else(|| {
        let error = format!("no probe {} looks at target {target}", kind.as_str());
        ApiError::new(StatusCode::NOT_FOUND, error, "what one found is among its captures")
    })
}

fn run_value(server: &Server, run: &Run) -> Result<Value, ApiError> {
    let target = server.store.target(run.target)?;
    Ok(json!({
        "target": run.target.0,
        "name": target.target.name,
        "kind": run.kind.as_str(),
        "reason": run.reason,
        "began_ms": run.began.0,
        "seconds": number(run.length.as_secs_f64()),
    }))
}

fn figures_value(figures: &Figures) -> Value {
    json!({
        "seconds": number(figures.elapsed.as_secs_f64()),
        "allocated": figures.allocated.as_ref().map(estimate),
        "deaths": figures.deaths,
        "live": figures.live.as_ref().map(estimate),
        "seen": figures.counts.seen,
        "losses": losses(&figures.counts),
        "cost_seconds": number(figures.cost.as_secs_f64()),
    })
}

fn picture_value(picture: &Picture) -> Value {
    let optional = |seconds: Option<f64>| seconds.map_or(Value::Null, number);
    let site = |site: &PictureSite| {
        json!({
            "site": site.site.as_ref().map(frame),
            "stack": site.stack.iter().map(frame).collect::<Vec<Value>>(),
            "live": estimate(&site.live),
            "allocated": estimate(&site.allocated),
            "freed_share": number(site.freed_share),
            "lifetime_median_seconds": optional(site.lifetime_seconds),
            "oldest_seconds": optional(site.oldest_seconds),
        })
    };
    json!({
        "seconds": number(picture.elapsed.as_secs_f64()),
        "sampling_bytes": picture.sampling_bytes,
        "live": estimate(&picture.live),
        "sites": picture.sites.iter().map(site).collect::<Vec<Value>>(),
        "omitted": picture.omitted,
    })
}
