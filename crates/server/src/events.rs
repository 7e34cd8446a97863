//! Events: as they happen (server-sent events), and those that were.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use model::TargetId;
use serde::Deserialize;
use serde_json::{Value, json};
use store::{EventFilter, StoredEvent};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;

/// What a stream that resumes is sent of what it missed, at most.
const MISSED_MAX: usize = 1000;
const LISTED: usize = 200;
const LISTED_MAX: usize = 5000;

#[derive(Default, Deserialize)]
pub(crate) struct EventsQuery {
    /// Kinds, with commas between.
    kinds: Option<String>,
    target: Option<i64>,
    after: Option<i64>,
    before: Option<i64>,
    limit: Option<usize>,
}

impl EventsQuery {
    fn filter(&self) -> EventFilter {
        let kinds = self.kinds.iter().flat_map(|kinds| kinds.split(','));
        EventFilter {
            after: self.after,
            before: self.before,
            kinds: kinds.filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
            target: self.target.map(TargetId),
        }
    }
}

/// Events as they happen. A client that comes back with Last-Event-ID gets what it missed first.
pub(crate) async fn stream(
    State(server): State<Server>,
    Query(mut query): Query<EventsQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    query.after = query.after.or(last);
    let filter = query.filter();
    // Listening begins before the store is read: nothing falls between the two.
    let live = BroadcastStream::new(server.notices.subscribe()).filter_map(Result::ok);
    let missed = match filter.after {
        Some(_) => {
            let filter = filter.clone();
            blocking(move || Ok(server.store.events(&filter, MISSED_MAX)?)).await?
        }
        None => Vec::new(),
    };
    let last = missed.last().map_or(0, |event| event.id);
    // A slow reader misses events; it sees the next ones and reads the rest by GET.
    let live = live.filter(move |event| {
        let is_new = event.id == 0 || event.id > last;
        is_new && passes(&filter, event)
    });
    let events = tokio_stream::iter(missed).map(Arc::new).chain(live);
    let events = events.map(|event| Ok(sent(&event)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

fn passes(filter: &EventFilter, event: &StoredEvent) -> bool {
    (filter.kinds.is_empty() || filter.kinds.contains(&event.kind))
        && (filter.target.is_none() || filter.target == event.target)
}

fn sent(event: &StoredEvent) -> Event {
    let sent = Event::default().event(&event.kind).data(&event.fields);
    if event.id > 0 { sent.id(event.id.to_string()) } else { sent }
}

/// Events that were, newest first; with `after`, the ones that follow it, oldest first.
pub(crate) async fn list(
    State(server): State<Server>,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let limit = query.limit.unwrap_or(LISTED).min(LISTED_MAX);
        let events = server.store.events(&query.filter(), limit)?;
        let values: Result<Vec<Value>, ApiError> = events.iter().map(value).collect();
        Ok(Json(values?.into()))
    })
    .await
}

fn value(event: &StoredEvent) -> Result<Value, ApiError> {
    let fields: Value =
        serde_json::from_str(&event.fields).map_err(|error| ApiError::internal(&error))?;
    Ok(json!({
        "id": event.id,
        "time_ms": event.time.0,
        "kind": event.kind,
        "level": event.level,
        "target": event.target.map(|target| target.0),
        "message": event.message,
        "fields": fields,
    }))
}
