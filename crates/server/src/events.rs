//! Server-sent events: what the watch reports, as it happens.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde_json::Value;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use crate::Server;

/// One event: its kind (`target`, `capture`, `finding`, `observation`, `warning`) and
/// a JSON object.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Kind.
    pub kind: &'static str,
    /// Object.
    pub data: Value,
}

pub(crate) async fn stream(
    State(server): State<Server>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    // A slow reader misses events; it sees the next ones and reads the rest by GET.
    let notices = BroadcastStream::new(server.notices.subscribe()).filter_map(Result::ok);
    let events =
        notices.map(|notice| Ok(Event::default().event(notice.kind).data(notice.data.to_string())));
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15)))
}
