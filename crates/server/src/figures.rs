//! Captures of figures over time: the runtime's metrics, and what the resident memory
//! consists of.

use analyze::readings::{Quantiles, Readings, readings};
use analyze::rss::{advice, causes};
use axum::Json;
use axum::extract::{Path, Query, State};
use decode::records::{read_metrics, read_rss};
use model::rss::RssKind;
use model::{Capture, CaptureId, CaptureKind, Rss, RuntimeMetrics, TargetId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;

const POINTS: usize = 400;
const POINTS_MAX: usize = 2_000;

#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Points {
    points: Option<usize>,
}

/// Resident memory by kind over time.
pub(crate) async fn rss_series(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(points): Query<Points>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let captures = captures(&server, id, CaptureKind::Rss, points)?;
        // One that is damaged leaves a gap, not an error.
        let accounts: Vec<(i64, Rss)> = captures
            .iter()
            .filter_map(|capture| {
                let bytes = server.store.read_capture(capture.id).ok()?;
                Some((capture.id.0, read_rss(&bytes).ok()?))
            })
            .collect();
        let kinds: Vec<RssKind> = RssKind::all()
            .filter(|kind| accounts.iter().any(|(_, rss)| rss.tally.of(*kind).bytes > 0))
            .collect();
        let column = |kind: RssKind| -> Vec<Value> {
            accounts.iter().map(|(_, rss)| rss.tally.of(kind).bytes.into()).collect()
        };
        let values: Map<String, Value> =
            kinds.iter().map(|kind| (kind.as_str().to_owned(), column(*kind).into())).collect();
        let kinds: Vec<Value> = kinds
            .iter()
            .map(|kind| {
                json!({ "kind": kind.as_str(), "label": kind.label(),
                        "group": kind.group().as_str() })
            })
            .collect();
        Ok(Json(json!({
            "times": accounts.iter().map(|(_, rss)| rss.time.0).collect::<Vec<_>>(),
            "captures": accounts.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            "kinds": kinds,
            "values": values,
        })))
    })
    .await
}

/// The runtime's metrics over time.
pub(crate) async fn runtime_series(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(points): Query<Points>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let captures = captures(&server, id, CaptureKind::Runtime, points)?;
        let (ids, all): (Vec<i64>, Vec<(Timestamp, RuntimeMetrics)>) = captures
            .iter()
            .filter_map(|capture| {
                let bytes = server.store.read_capture(capture.id).ok()?;
                Some((capture.id.0, read_metrics(&bytes).ok()?))
            })
            .unzip();
        let Readings { times, gauges, rates, quantiles } = readings(&all);
        let quantiles: Map<String, Value> = quantiles
            .into_iter()
            .map(|(name, Quantiles { p50, p99, max })| {
                (name.to_owned(), json!({ "p50": p50, "p99": p99, "max": max }))
            })
            .collect();
        Ok(Json(json!({
            "times": times.iter().map(|time| time.0).collect::<Vec<_>>(),
            "captures": ids,
            "gauges": gauges,
            "rates": rates,
            "quantiles": quantiles,
        })))
    })
    .await
}

/// Captures of a kind, oldest first; of many only so many, evenly.
fn captures(
    server: &Server,
    id: i64,
    kind: CaptureKind,
    points: Points,
) -> Result<Vec<Capture>, ApiError> {
    let target = server.store.target(TargetId(id))?;
    // The newest comes first and stays: it is what is shown as now.
    let newest_first = server.store.captures(target.id, Some(kind), usize::MAX)?;
    let wanted = points.points.unwrap_or(POINTS).clamp(2, POINTS_MAX);
    let step = newest_first.len().div_ceil(wanted).max(1);
    let mut captures: Vec<Capture> = newest_first.into_iter().step_by(step).collect();
    captures.reverse();
    Ok(captures)
}

/// What `memsight rss --json` prints, but for the mappings.
pub(crate) async fn rss(
    State(server): State<Server>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let capture = capture(&server, id, CaptureKind::Rss)?;
        let rss = read_rss(&server.store.read_capture(capture.id)?)
            .map_err(|error| ApiError::internal(&error))?;
        let target = server.store.target(capture.target)?.target;
        let (causes, advice) = (causes(&rss), advice(&rss));
        Ok(Json(render::rss::value(&target, &rss, &causes, &advice)))
    })
    .await
}

/// What `memsight metrics --json` prints.
pub(crate) async fn runtime(
    State(server): State<Server>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let capture = capture(&server, id, CaptureKind::Runtime)?;
        let (time, metrics) = read_metrics(&server.store.read_capture(capture.id)?)
            .map_err(|error| ApiError::internal(&error))?;
        let target = server.store.target(capture.target)?.target;
        Ok(Json(render::metrics::value(&metrics, &target, time)))
    })
    .await
}

/// A capture of this kind.
fn capture(server: &Server, id: i64, kind: CaptureKind) -> Result<Capture, ApiError> {
    let capture = server.store.capture(CaptureId(id))?;
    if capture.kind != kind {
        return Err(ApiError::other_kind(&capture));
    }
    Ok(capture)
}
