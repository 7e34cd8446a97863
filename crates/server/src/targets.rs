//! Targets, their series, captures and diagnoses.

use axum::Json;
use axum::extract::{Path, Query, State};
use model::{Capture, CaptureKind, TargetId, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::{Store, StoredTarget};

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;

pub(crate) async fn list(State(server): State<Server>) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let targets = server.store.targets()?;
        let values = targets.iter().map(|target| value(&server.store, target));
        Ok(Json(values.collect::<Result<Vec<_>, _>>()?.into()))
    })
    .await
}

pub(crate) async fn one(
    State(server): State<Server>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let target = server.store.target(TargetId(id))?;
        value(&server.store, &target).map(Json)
    })
    .await
}

fn value(store: &Store, stored: &StoredTarget) -> Result<Value, ApiError> {
    let latest = store.latest(stored.id)?;
    let diagnosis = store.diagnosis(stored.id)?;
    let finding = diagnosis.as_ref().and_then(|diagnosis| diagnosis.findings.first());
    let figures: Map<String, Value> = latest
        .iter()
        .flat_map(render::observation::figures)
        .map(|figure| (figure.name.to_owned(), figure.value.into()))
        .collect();
    let mut value = render::json::target(&stored.target);
    value["id"] = stored.id.0.into();
    value["alive"] = stored.is_alive.into();
    value["first_seen_ms"] = stored.first_seen.0.into();
    value["last_seen_ms"] = stored.last_seen.0.into();
    value["latest"] = figures.into();
    value["verdict"] = finding.map(|finding| finding.kind.as_str()).into();
    value["leak"] = finding.is_some_and(|finding| finding.kind.is_leak()).into();
    value["confidence"] = finding.map(|finding| finding.confidence.0).into();
    value["summary"] = finding.map(|finding| finding.summary.as_str()).into();
    let time = finding.and_then(|finding| finding.time_to_limit_seconds);
    value["time_to_limit_seconds"] = time.map(render::json::interval).into();
    Ok(value)
}

#[derive(Deserialize)]
pub(crate) struct SeriesQuery {
    from: Option<i64>,
    to: Option<i64>,
    points: Option<usize>,
}

const POINTS: usize = 600;
const POINTS_MAX: usize = 10_000;

pub(crate) async fn series(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<SeriesQuery>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let target = server.store.target(TargetId(id))?;
        let from = query.from.map_or(Timestamp(0), Timestamp);
        let to = query.to.map_or(Timestamp(i64::MAX), Timestamp);
        let points = query.points.unwrap_or(POINTS).clamp(2, POINTS_MAX);
        let found = server.store.series(target.id, from, to, points)?;
        let times: Vec<i64> = found.times.iter().map(|time| time.0).collect();
        let series: Map<String, Value> = found
            .series
            .into_iter()
            .map(|(name, values)| (name.to_owned(), values.into()))
            .collect();
        Ok(Json(json!({ "times": times, "series": series })))
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct CapturesQuery {
    kind: Option<String>,
    limit: Option<usize>,
}

const CAPTURES: usize = 500;

pub(crate) async fn captures(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(query): Query<CapturesQuery>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let target = server.store.target(TargetId(id))?;
        let kind = query.kind.as_deref().map(|word| {
            CaptureKind::parse(word).ok_or_else(|| {
                let words = CaptureKind::ALL.map(CaptureKind::as_str).join(", ");
                ApiError::bad(format!("unknown kind {word:?}"), format!("one of {words}"))
            })
        });
        let limit = query.limit.unwrap_or(CAPTURES);
        let found = server.store.captures(target.id, kind.transpose()?, limit)?;
        let captures: Vec<Value> = found.iter().map(capture_value).collect();
        Ok(Json(captures.into()))
    })
    .await
}

/// What is known about a capture.
pub(crate) fn capture_value(capture: &Capture) -> Value {
    json!({
        "id": capture.id.0,
        "kind": capture.kind.as_str(),
        "time_ms": capture.time.0,
        "reason": capture.reason,
        "bytes": capture.bytes,
        "cost_micros": capture.cost_micros,
    })
}

pub(crate) async fn diagnosis(
    State(server): State<Server>,
    Path(id): Path<i64>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let found = server.store.diagnosis(TargetId(id))?;
        Ok(Json(found.as_ref().map_or(Value::Null, render::diagnosis::value)))
    })
    .await
}
