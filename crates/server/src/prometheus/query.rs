//! Prometheus's HTTP API: queries, labels, series, metadata.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent::query::StoredSeries;
use analyze::families::Histograms;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use model::{FamilyKind, Timestamp};
use promql::{Options, Query};
use serde_json::json;

use crate::large::now;

use super::{LOOKBACK, Metrics, Params, Refusal, blocking, json, kept};

/// `{"status":"success","data":...}`.
fn success(data: &str, warnings: &[String]) -> Response {
    let mut body = format!(r#"{{"status":"success","data":{data}"#);
    if !warnings.is_empty() {
        body.push_str(",\"warnings\":");
        body.push_str(&json!(warnings).to_string());
    }
    body.push('}');
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

fn refused(error: &promql::Error) -> Refusal {
    match error {
        promql::Error::Parse { .. } | promql::Error::Unsupported { .. } => {
            Refusal::bad(format!("invalid parameter \"query\": {error}"))
        }
        promql::Error::Stopped => Refusal {
            status: axum::http::StatusCode::SERVICE_UNAVAILABLE,
            kind: "timeout",
            message: "query timed out in expression evaluation".to_owned(),
        },
        error => Refusal::execution(error.to_string()),
    }
}

fn parsed(params: &Params) -> Result<Query, Refusal> {
    let text = params.get("query").unwrap_or_default();
    Query::parse(text).map_err(|error| refused(&error))
}

/// How long it may take, and how far it looks back.
fn limits(params: &Params, metrics: &Metrics) -> Result<(Instant, Duration), Refusal> {
    let timeout = params.duration("timeout")?.unwrap_or(metrics.query_timeout);
    let until = Instant::now() + timeout.min(metrics.query_timeout);
    Ok((until, params.duration("lookback_delta")?.unwrap_or(LOOKBACK)))
}

/// `/query`.
pub(crate) async fn instant(
    State(metrics): State<Arc<Metrics>>,
    params: Params,
) -> Result<Response, Refusal> {
    blocking(move || {
        let time = params.time("time")?.unwrap_or_else(now);
        let (until, lookback) = limits(&params, &metrics)?;
        let query = parsed(&params)?;
        let kept = StoredSeries::new(kept(&metrics)?);
        let stop = || Instant::now() >= until;
        let max_samples = metrics.query_samples;
        let options = Options { lookback, max_samples, stop: &stop, ..Options::default() };
        let answer = query.instant(&kept, time, &options).map_err(|error| refused(&error))?;
        Ok(success(&json::answer(&answer, time), &kept.warnings()))
    })
    .await
}

/// `/query_range`.
pub(crate) async fn range(
    State(metrics): State<Arc<Metrics>>,
    params: Params,
) -> Result<Response, Refusal> {
    blocking(move || {
        let needed =
            |name: &str| Refusal::bad(format!("invalid parameter {name:?}: it is missing"));
        let start = params.time("start")?.ok_or_else(|| needed("start"))?;
        let end = params.time("end")?.ok_or_else(|| needed("end"))?;
        let step = params.duration("step")?.ok_or_else(|| needed("step"))?;
        if end < start {
            let message = "invalid parameter \"end\": end timestamp must not be before start time";
            return Err(Refusal::bad(message));
        }
        if step.as_millis() == 0 {
            let message = "invalid parameter \"step\": zero or negative query resolution step \
                           widths are not accepted. Try a positive integer";
            return Err(Refusal::bad(message));
        }
        let (until, lookback) = limits(&params, &metrics)?;
        let query = parsed(&params)?;
        if !query.is_instant() {
            let message = "invalid parameter \"query\": a range query takes a number or series";
            return Err(Refusal::bad(message));
        }
        let kept = StoredSeries::new(kept(&metrics)?);
        let stop = || Instant::now() >= until;
        let max_samples = metrics.query_samples;
        let options = Options { lookback, max_samples, stop: &stop, ..Options::default() };
        let found = query.range(&kept, start, end, step, &options);
        let found = found.map_err(|error| match error {
            // Too many steps is a fault of the question.
            promql::Error::TooMuch(message) if message.contains("resolution") => {
                Refusal::bad(message)
            }
            error => refused(&error),
        })?;
        Ok(success(&json::matrix(&found), &kept.warnings()))
    })
    .await
}

/// The times of a listing; all by default.
fn times(params: &Params) -> Result<(Timestamp, Timestamp), Refusal> {
    let from = params.time("start")?.unwrap_or(Timestamp(i64::MIN));
    Ok((from, params.time("end")?.unwrap_or(Timestamp(i64::MAX))))
}

/// A listing, cut to the limit that was asked for.
fn listed(all: &[String], params: &Params) -> Result<Response, Refusal> {
    let limit = params.limit()?;
    let mut warnings = Vec::new();
    if all.len() > limit {
        warnings.push("results truncated due to limit".to_owned());
    }
    let shown: Vec<&String> = all.iter().take(limit).collect();
    Ok(success(&json!(shown).to_string(), &warnings))
}

/// `/labels`.
pub(crate) async fn labels(
    State(metrics): State<Arc<Metrics>>,
    params: Params,
) -> Result<Response, Refusal> {
    blocking(move || {
        let (from, to) = times(&params)?;
        let names = kept(&metrics)?.label_names(&params.sets()?, from, to);
        listed(&names, &params)
    })
    .await
}

/// `/label/NAME/values`.
pub(crate) async fn label_values(
    State(metrics): State<Arc<Metrics>>,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, Refusal> {
    blocking(move || {
        let (from, to) = times(&params)?;
        let values = kept(&metrics)?.label_values(&name, &params.sets()?, from, to);
        listed(&values, &params)
    })
    .await
}

/// `/series`.
pub(crate) async fn series(
    State(metrics): State<Arc<Metrics>>,
    params: Params,
) -> Result<Response, Refusal> {
    blocking(move || {
        let sets = params.sets()?;
        if sets.is_empty() {
            return Err(Refusal::bad("no match[] parameter provided"));
        }
        let (from, to) = times(&params)?;
        let (limit, found) = (params.limit()?, kept(&metrics)?.series(&sets, from, to));
        let mut data = "[".to_owned();
        for (index, labels) in found.iter().take(limit).enumerate() {
            if index > 0 {
                data.push(',');
            }
            json::labels(&mut data, labels);
        }
        data.push(']');
        let cut = ["results truncated due to limit".to_owned()];
        Ok(success(&data, if found.len() > limit { &cut } else { &[] }))
    })
    .await
}

/// `/metadata`: of what is known now.
pub(crate) async fn metadata(
    State(metrics): State<Arc<Metrics>>,
    params: Params,
) -> Result<Response, Refusal> {
    blocking(move || {
        let mut found = BTreeMap::new();
        for family in metrics.families(Histograms::Native) {
            // Prometheus knows counters by the name of their series.
            let counted = family.points.first().map(|point| point.labels.name().to_owned());
            let name = match family.kind {
                FamilyKind::Counter => counted.unwrap_or(family.name),
                _ => family.name,
            };
            if params.get("metric").is_none_or(|metric| metric == name) {
                let kind = family.kind.as_str();
                found.insert(
                    name,
                    json!([{ "type": kind, "help": family.help, "unit": family.unit }]),
                );
            }
        }
        let shown: BTreeMap<_, _> = found.into_iter().take(params.limit()?).collect();
        Ok(success(&json!(shown).to_string(), &[]))
    })
    .await
}

/// `/status/buildinfo`: clients take from the version what they may ask.
pub(crate) async fn build_info() -> Response {
    let version = format!("3.0.0+memsight.{}", env!("CARGO_PKG_VERSION"));
    success(&json!({ "version": version, "application": "memsight" }).to_string(), &[])
}
