//! The machine's processes in time.

use agent::processes::Timeline;
use analyze::lives::{Life, Wanted};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use model::Timestamp;
use model::probe::ProcessEnd;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::large::now;

/// What is shown when nobody says since when.
const SPAN_MILLIS: i64 = 10 * 60 * 1000;
const LISTED: usize = 500;
const LISTED_MAX: usize = 5000;
/// Beginnings are counted in so many parts of the time.
const PARTS: usize = 120;

#[derive(Deserialize)]
pub(crate) struct TimelineQuery {
    from: Option<i64>,
    until: Option<i64>,
    /// How long before `until` it begins, unless `from` says.
    span: Option<i64>,
    /// An expression for names and command lines.
    name: Option<String>,
    limit: Option<usize>,
}

/// Lives within a time.
pub(crate) async fn timeline(
    State(server): State<Server>,
    Query(query): Query<TimelineQuery>,
) -> Result<Json<Value>, ApiError> {
    let until = query.until.unwrap_or(now().0);
    let from = query.from.unwrap_or(until.saturating_sub(query.span.unwrap_or(SPAN_MILLIS)));
    if from >= until {
        return Err(ApiError::bad(format!("from={from} is not before until={until}"), ""));
    }
    let name = query.name.filter(|name| !name.is_empty());
    let name = name.map(|name| Regex::new(&name)).transpose().map_err(|error| {
        ApiError::bad(format!("name: {error}"), "name= takes a regular expression")
    })?;
    let limit = query.limit.unwrap_or(LISTED).min(LISTED_MAX);
    blocking(move || {
        let Some(view) = server.watch.get() else {
            let error = "nothing is watched here";
            return Err(ApiError::new(StatusCode::NOT_FOUND, error, "memsight agent"));
        };
        let matches = |life: &Life| {
            let text = |name: &Regex| name.is_match(&life.name) || name.is_match(&life.command);
            name.as_ref().is_none_or(text)
        };
        let (from, until) = (Timestamp(from), Timestamp(until));
        let wanted = Wanted { from, until, matches: &matches, limit, parts: PARTS };
        let mut value = value(&view.processes.timeline(&wanted));
        (value["from_ms"], value["until_ms"]) = (from.0.into(), until.0.into());
        Ok(Json(value))
    })
    .await
}

fn value(timeline: &Timeline) -> Value {
    let chosen = timeline.chosen.as_ref();
    let off = match timeline.reason.as_str() {
        "" => "the watch has only begun",
        reason => reason,
    };
    let omitted = &timeline.omitted;
    json!({
        "since_ms": timeline.since.map(|since| since.0),
        "off": chosen.is_none().then_some(off),
        "matching": chosen.map_or(0, |chosen| chosen.matching),
        "beginnings": chosen.map_or(&[][..], |chosen| &chosen.beginnings),
        "processes": chosen.map_or_else(Vec::new, |chosen| chosen.lives.iter().map(life).collect()),
        "omitted": {
            "dropped": timeline.dropped,
            "forgotten": omitted.forgotten,
            "forgotten_until_ms": omitted.forgotten_until.map(|time| time.0),
            "not_entered": omitted.not_entered,
            "unseen_ends": omitted.unseen_ends,
        },
    })
}

fn life(life: &Life) -> Value {
    let (code, signal) = match life.end {
        Some(ProcessEnd::Code(code)) => (Some(code), None),
        Some(ProcessEnd::Signal(signal)) => (None, Some(signal)),
        None => (None, None),
    };
    json!({
        "id": life.id.0,
        "pid": life.pid,
        "parent": life.parent,
        "parent_id": life.parent_life.map(|id| id.0),
        "name": life.name,
        "command": life.command,
        "started_ms": life.started.0,
        "ended_ms": life.ended.map(|time| time.0),
        "exit_code": code,
        "signal": signal,
        "peak_rss_bytes": life.peak.map(|peak| peak.0),
        "programs": life.programs,
        "oom_kill": life.is_oom_kill,
        "target": life.target.map(|target| target.0),
    })
}
