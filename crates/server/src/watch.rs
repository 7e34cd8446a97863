//! What the watch does: rules with state and reason, what they did, who was told, where series go;
//! and Prometheus's `rules` and `alerts`.

use agent::View;
use agent::rules::Cost;
use agent::rules::replay::{self, Report};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use model::{TargetId, Timestamp};
use promql::rules::{Alert, AlertState, RuleKind};
use render::json::unsigned;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;

const HISTORY: usize = 200;
const HISTORY_MAX: usize = 5000;

fn view(server: &Server) -> Result<&View, ApiError> {
    let none = || ApiError::new(StatusCode::NOT_FOUND, "nothing is watched here", "memsight agent");
    server.watch.get().ok_or_else(none)
}

#[derive(Deserialize)]
pub(crate) struct RulesQuery {
    target: Option<i64>,
}

/// Capture rules, each with its state for every target, or for one.
pub(crate) async fn rules(
    State(server): State<Server>,
    Query(query): Query<RulesQuery>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let view = view(&server)?;
        let wanted = query.target.map(TargetId);
        let targets = view.registry.all();
        let targets = targets.iter().filter(|watched| wanted.is_none_or(|id| id == watched.id));
        let states: Vec<Value> = targets
            .flat_map(|watched| {
                let name = &watched.target.name;
                view.runner.view(watched.id).into_iter().map(move |state| {
                    json!({
                        "rule": state.rule, "target": state.target.0, "name": name,
                        "phase": state.phase.as_str(), "reason": state.reason,
                        "value": state.value, "since_ms": state.since.map(|time| time.0),
                        "blocked_until_ms": state.blocked_until.map(|time| time.0),
                    })
                })
            })
            .collect();
        let rules: Vec<Value> = view
            .runner
            .rules()
            .iter()
            .map(|rule| {
                json!({
                    "name": rule.name, "enabled": rule.is_enabled, "severity": rule.severity,
                    "for_ms": rule.hold, "annotations": rule.annotations, "labels": rule.labels,
                })
            })
            .collect();
        Ok(Json(json!({ "rules": rules, "states": states })))
    })
    .await
}

/// Calls a rule: those with `event: call` fire.
pub(crate) async fn call(
    State(server): State<Server>,
    Path(name): Path<String>,
    Query(query): Query<RulesQuery>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let view = view(&server)?;
        let called = view.runner.call(Some(&name), query.target.map(TargetId));
        let next = "GET /api/v1/watch/rules lists rules and targets";
        let count = called.map_err(|why| ApiError::new(StatusCode::NOT_FOUND, why, next))?;
        Ok(Json(json!({ "targets": count })))
    })
    .await
}

#[derive(Deserialize)]
pub(crate) struct HistoryQuery {
    rule: Option<String>,
    target: Option<i64>,
    limit: Option<usize>,
}

/// What capture rules did, newest first.
pub(crate) async fn history(
    State(server): State<Server>,
    Query(query): Query<HistoryQuery>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let view = view(&server)?;
        let limit = query.limit.unwrap_or(HISTORY).min(HISTORY_MAX);
        let target = query.target.map(TargetId);
        let events = view.runner.history(query.rule.as_deref(), target, limit)?;
        let values = events.iter().map(|event| {
            json!({
                "id": event.id, "time_ms": event.time.0, "rule": event.rule,
                "target": event.target.0, "kind": event.kind, "value": event.value,
                "reason": event.reason, "cpu_micros": event.cpu_micros, "bytes": event.bytes,
                "captures": event.captures.iter().map(|capture| capture.0).collect::<Vec<_>>(),
                "error": event.error,
            })
        });
        Ok(Json(values.collect::<Vec<_>>().into()))
    })
    .await
}

/// The last notifications, newest first.
pub(crate) async fn notifications(State(server): State<Server>) -> Result<Json<Value>, ApiError> {
    let view = view(&server)?;
    let values = view.notifier.recent().into_iter().map(|delivery| {
        json!({
            "time_ms": delivery.time.0, "receiver": delivery.receiver,
            "integration": delivery.integration, "group": delivery.group_key,
            "reason": delivery.reason, "firing": delivery.firing, "resolved": delivery.resolved,
            "alerts": delivery.alerts, "status": delivery.status.as_str(),
            "attempts": delivery.attempts, "error": delivery.error,
        })
    });
    Ok(Json(values.collect::<Vec<_>>().into()))
}

/// Where series are sent, and how that goes.
pub(crate) async fn destinations(State(server): State<Server>) -> Result<Json<Value>, ApiError> {
    let view = view(&server)?;
    let millis = |time: std::time::SystemTime| {
        let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    };
    let values = view.remote.status().into_iter().map(|status| {
        let dropped: serde_json::Map<String, Value> =
            status.dropped.iter().map(|(reason, n)| ((*reason).to_owned(), (*n).into())).collect();
        json!({
            "name": status.name, "url": status.url, "protocol": format!("{:?}", status.protocol),
            "shards": status.shards, "sent": status.sent, "pending": status.pending,
            "dropped": dropped, "delay_seconds": status.delay_seconds,
            "failing": status.is_failing,
            "error": status.last_error.map(|(_, text)| text),
            "last_sent_ms": status.last_sent.map(millis),
        })
    });
    Ok(Json(values.collect::<Vec<_>>().into()))
}

#[derive(Deserialize)]
pub(crate) struct ReplayQuery {
    target: i64,
    rule: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
}

/// What the rules would have done over what is stored of a target.
pub(crate) async fn replay(
    State(server): State<Server>,
    Query(query): Query<ReplayQuery>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let rules = view(&server)?.runner.rules().into_iter();
        let is_wanted = |name: &str| query.rule.as_deref().is_none_or(|rule| rule == name);
        let rules = rules.filter(|rule| is_wanted(&rule.name)).map(|rule| (*rule).clone());
        let target = server.store.target(TargetId(query.target))?;
        let span = (query.from.unwrap_or(0), query.to.unwrap_or(i64::MAX));
        let span = (Timestamp(span.0), Timestamp(span.1));
        let report = replay::stored(&server.store, &[target], rules.collect(), span, &mut |_| {})?;
        Ok(Json(replay_document(&report)))
    })
    .await
}

/// A replay's report: the API's and the command line's.
pub fn replay_document(report: &Report) -> Value {
    let cost = |cost: Cost| json!({ "cpu_micros": unsigned(cost.cpu_micros), "bytes": unsigned(cost.bytes) });
    let rows = report.rows.iter().map(|row| {
        json!({
            "time": rfc3339(row.time),
            "rule": row.rule,
            "target": row.target.0,
            "target_name": row.target_name,
            "kind": row.kind,
            "reason": row.reason,
            "captures": row.captures.iter().map(|kind| kind.as_str()).collect::<Vec<_>>(),
            "cost": cost(row.cost),
        })
    });
    let totals = report.totals.iter().map(|(rule, total)| {
        let value = json!({
            "fired": total.fired,
            "refused": total.refused,
            "resolved": total.resolved,
            "captures": total.captures,
            "captures_without_price": total.unpriced,
            "cost": cost(total.cost),
        });
        (rule.clone(), value)
    });
    let states = report.states.iter().map(|view| {
        json!({
            "rule": view.rule,
            "target": view.target.0,
            "state": view.phase.as_str(),
            "since": view.since.map(rfc3339),
            "reason": view.reason,
        })
    });
    json!({
        "observations": report.observations,
        "decisions": rows.collect::<Vec<_>>(),
        "rules": totals.collect::<serde_json::Map<_, _>>(),
        "states": states.collect::<Vec<_>>(),
    })
}

/// Prometheus's `/api/v1/rules`.
pub(crate) async fn prometheus_rules(
    State(server): State<Server>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let groups = view(&server)?
            .evaluator
            .look(|groups| groups.iter().map(group).collect::<Vec<Value>>());
        Ok(Json(json!({ "status": "success", "data": { "groups": groups } })))
    })
    .await
}

fn group(group: &agent::evaluation::Group) -> Value {
    let health: Vec<_> = group.state.health().collect();
    let rules: Vec<Value> = group
        .rules
        .rules
        .iter()
        .enumerate()
        .map(|(index, rule)| {
            let health = health.get(index);
            let error = health.and_then(|health| health.error.clone());
            let at = health.and_then(|health| health.evaluated_at);
            let state = if error.is_some() {
                "err"
            } else if at.is_some() {
                "ok"
            } else {
                "unknown"
            };
            let mut value = json!({
                "name": rule.name, "query": rule.query.text(), "health": state,
                "evaluationTime": 0.0, "lastEvaluation": at.map(rfc3339), "labels": rule.labels,
            });
            if let Some(error) = error {
                value["lastError"] = error.into();
            }
            if rule.kind == RuleKind::Record {
                value["type"] = "recording".into();
                return value;
            }
            let alerts: Vec<&Alert> = group.state.alerts(index).collect();
            let active = alerts.iter().filter(|alert| alert.state != AlertState::Inactive);
            let worst = alerts.iter().map(|alert| rank(alert.state)).max().unwrap_or(0);
            value["type"] = "alerting".into();
            value["state"] = ["inactive", "pending", "firing"][worst].into();
            value["duration"] = rule.hold.as_secs_f64().into();
            value["keepFiringFor"] = rule.keep_firing_for.as_secs_f64().into();
            value["annotations"] = json!(rule.annotations);
            value["alerts"] = active.map(|alert| alert_value(alert)).collect::<Vec<_>>().into();
            value
        })
        .collect();
    json!({
        "name": group.rules.name, "file": group.file, "interval": group.interval.as_secs_f64(),
        "limit": group.rules.limit, "rules": rules,
        "evaluationTime": group.last.map_or(0.0, |(_, took)| took.as_secs_f64()),
        "lastEvaluation": group.last.map(|(at, _)| rfc3339(at)),
    })
}

fn rank(state: AlertState) -> usize {
    match state {
        AlertState::Inactive => 0,
        AlertState::Pending => 1,
        AlertState::Firing => 2,
    }
}

fn alert_value(alert: &Alert) -> Value {
    let mut labels: serde_json::Map<String, Value> =
        alert.labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    labels.insert("alertname".to_owned(), alert.rule.as_str().into());
    json!({
        "labels": labels, "annotations": alert.annotations, "state": alert.state.as_str(),
        "activeAt": rfc3339(alert.active_at), "value": format!("{:e}", alert.value),
    })
}

/// Prometheus's `/api/v1/alerts`.
pub(crate) async fn prometheus_alerts(
    State(server): State<Server>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let alerts = view(&server)?.evaluator.look(|groups| {
            let all = groups.iter().flat_map(agent::evaluation::Group::alerts);
            let active = all.filter(|alert| alert.state != AlertState::Inactive);
            active.map(alert_value).collect::<Vec<Value>>()
        });
        Ok(Json(json!({ "status": "success", "data": { "alerts": alerts } })))
    })
    .await
}

/// A time as RFC 3339; one that no calendar has, as its milliseconds.
pub fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0)
        .map_or_else(|_| time.0.to_string(), |time| time.to_string())
}
