//! Object graphs: what a heap holds, what keeps it alive, how it changed.
//!
//! The answers are about one capture, which never changes: all have ETags. Nodes are named
//! `id:N` (an object; `0x...` is accepted too), `holder:N` (a variable, a goroutine ...) and
//! `root`; types by their number. Names may be asked for where numbers are: they are those
//! of the command line.

mod diff;
mod goroutines;
mod graphs;
mod node;
mod object;
mod tables;
mod tree;
mod worker;

use axum::http::HeaderMap;
use axum::response::Response;
use model::CaptureId;
use serde::Deserialize;
use serde_json::Value;

pub(crate) use diff::diff;
pub(crate) use goroutines::goroutines;
pub(crate) use graphs::{list, take, upload};
pub(crate) use object::{find, object, why};
pub(crate) use tables::{one_type, roots, summary, types};
pub(crate) use tree::{dominators, treemap};
use worker::Analysed;
pub use worker::Heaps;

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::packed;

/// Rows of a page that asks for no number.
const ROWS: usize = 100;
/// More rows than anybody reads; about 4 MB.
const ROWS_MAX: usize = 20_000;

/// Which rows of a list are wanted.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Page {
    limit: Option<usize>,
    offset: Option<usize>,
}

impl Page {
    fn limit(self) -> usize {
        self.limit.unwrap_or(ROWS).min(ROWS_MAX)
    }

    fn offset(self) -> usize {
        self.offset.unwrap_or(0)
    }

    /// The rows of a whole list.
    fn of<T>(self, rows: &[T]) -> &[T] {
        let tail = rows.get(self.offset()..).unwrap_or_default();
        tail.get(..self.limit()).unwrap_or(tail)
    }
}

/// Answers a question about a capture's graph.
async fn answer(
    server: Server,
    id: i64,
    request: HeaderMap,
    view: String,
    make: impl FnOnce(&Analysed<'_>) -> Result<Value, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    blocking(move || {
        let etag = packed::etag(&[server.store.capture(CaptureId(id))?.checksum], &view);
        packed::answer(&request, "application/json", &etag, || {
            let value = server.heaps.ask(&server.store, id, make)?;
            Ok(value.to_string().into_bytes())
        })
    })
    .await
}

/// An expression that was asked for.
fn pattern(text: Option<&str>) -> Result<Option<regex::Regex>, ApiError> {
    let text = text.filter(|text| !text.is_empty());
    let failed = |error: regex::Error| ApiError::bad(format!("q: {error}"), "correct it");
    text.map(regex::Regex::new).transpose().map_err(failed)
}
