//! The embedded pages. Paths that are no file get index.html: the pages keep their
//! state in the address.

use axum::http::{StatusCode, Uri, header};
use axum::response::{Html, IntoResponse, Response};

use crate::error::ApiError;

mod embedded {
    include!(concat!(env!("OUT_DIR"), "/pages.rs"));
}

const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>memsight</title>\
<p>The pages are not in this build: <code>make ui</code> builds them, then build memsight again.\
<p>The API is at <a href=/api/v1/targets>/api/v1/targets</a>.";

pub(crate) async fn serve(uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let find = |name: &str| embedded::FILES.iter().find(|(file, _)| *file == name);
    // Names of files other than index.html carry a hash of what is in them.
    if let Some((name, bytes)) = find(path).filter(|(name, _)| *name != "index.html") {
        let cache = "public, max-age=31536000, immutable";
        let headers = [(header::CONTENT_TYPE, content_type(name)), (header::CACHE_CONTROL, cache)];
        return (headers, *bytes).into_response();
    }
    if path.starts_with("assets/") {
        return StatusCode::NOT_FOUND.into_response();
    }
    match find("index.html") {
        Some((_, bytes)) => {
            let headers = [
                (header::CONTENT_TYPE, "text/html; charset=utf-8"),
                (header::CACHE_CONTROL, "no-cache"),
            ];
            (headers, *bytes).into_response()
        }
        None => Html(NOT_BUILT).into_response(),
    }
}

pub(crate) async fn no_such_path(uri: Uri) -> ApiError {
    let next = "/api/v1/openapi.json lists what there is";
    ApiError::new(StatusCode::NOT_FOUND, format!("no such path: {}", uri.path()), next)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("html") => "text/html; charset=utf-8",
        _ => "application/octet-stream",
    }
}
