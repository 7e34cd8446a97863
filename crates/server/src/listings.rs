//! What a report says about a capture: labels, source, code, call graph.

use analyze::pprof::Format;
use analyze::pprof::report::Command;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use render::picture::{self, Scene};
use render::pprof::dot::Picture;
use render::pprof::{ReportError, json};
use serde_json::Value;

use crate::Server;
use crate::api::blocking;
use crate::error::ApiError;
use crate::packed;
use crate::view::{View, report};

const JSON: &str = "application/json";
const GRAPH_NODES: u16 = 80;
/// More is neither readable nor quick to lay out.
const GRAPH_NODES_MAX: u16 = 500;

fn command(name: &str, format: Format, argument: Option<&str>) -> Command {
    Command { name: name.to_owned(), format, argument: argument.map(str::to_owned) }
}

fn refused(error: &ReportError) -> ApiError {
    ApiError::bad(error.to_string(), "")
}

pub(crate) async fn tags(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(view): Query<View>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    blocking(move || {
        let etag = view.etag(&server.store, id, "tags")?;
        packed::answer(&request, JSON, &etag, || {
            let report = report(&server, id, &view, &command("tags", Format::Tags, None))?;
            Ok(json::tags(&report).to_string().into_bytes())
        })
    })
    .await
}

pub(crate) async fn source(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(view): Query<View>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    blocking(move || {
        let argument = Some(view.wanted()?);
        let mut sources = (server.sources)();
        let value = match view.wants_code()? {
            false => {
                let command = command("list", Format::List, argument);
                let mut report = report(&server, id, &view, &command)?;
                json::source(&mut report, &mut *sources)
            }
            true => {
                let command = command("weblist", Format::WebList, argument);
                let mut report = report(&server, id, &view, &command)?;
                json::source_with_code(&mut report, &mut *sources, &mut *(server.code)())
            }
        };
        Ok(packed_now(&request, &value.map_err(|error| refused(&error))?))
    })
    .await
}

pub(crate) async fn disasm(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(view): Query<View>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    blocking(move || {
        let command = command("disasm", Format::Disasm, Some(view.wanted()?));
        let mut report = report(&server, id, &view, &command)?;
        let value = json::disasm(&mut report, &mut *(server.code)());
        Ok(packed_now(&request, &value.map_err(|error| refused(&error))?))
    })
    .await
}

/// Sources and binaries may change while the capture does not: the answer names itself.
fn packed_now(request: &HeaderMap, value: &Value) -> Response {
    let text = value.to_string();
    let etag = packed::etag(&[], &text);
    packed::bytes(request, JSON, &etag, text.into_bytes())
}

pub(crate) async fn graph(
    State(server): State<Server>,
    Path(id): Path<i64>,
    Query(mut view): Query<View>,
    request: HeaderMap,
) -> Result<Response, ApiError> {
    blocking(move || {
        view.nodes = Some(view.nodes.unwrap_or(GRAPH_NODES).clamp(1, GRAPH_NODES_MAX));
        let etag = view.etag(&server.store, id, "graph")?;
        packed::answer(&request, "image/svg+xml", &etag, || {
            let mut report = report(&server, id, &view, &command("svg", Format::Dot, None))?;
            let scene = Scene::of(&Picture::of(&mut report));
            Ok(picture::svg_for_page(&scene).into_bytes())
        })
    })
    .await
}
