//! Large answers that do not change: compressed, and served from the browser's cache
//! when it has them.

use std::io::Write;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// Names a version of an answer. Captures never change, so their checksums and the view
/// say it all.
pub(crate) fn etag(parts: &[u32], view: &str) -> String {
    // FNV-1a: the views of one capture are few.
    let hash = view.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let parts: String = parts.iter().map(|part| format!("{part:x}-")).collect();
    format!("\"{parts}{hash:x}-{}\"", env!("CARGO_PKG_VERSION"))
}

/// Answers with what `make` makes, unless the client has it.
pub(crate) fn answer(
    request: &HeaderMap,
    kind: &'static str,
    etag: &str,
    make: impl FnOnce() -> Result<Vec<u8>, ApiError>,
) -> Result<Response, ApiError> {
    // What the client has needs not be made.
    let made = if is_known(request, etag) { Vec::new() } else { make()? };
    Ok(bytes(request, kind, etag, made))
}

/// Answers with bytes, unless the client has them.
pub(crate) fn bytes(
    request: &HeaderMap,
    kind: &'static str,
    etag: &str,
    bytes: Vec<u8>,
) -> Response {
    let mut response = match is_known(request, etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let is_packed = has(request, header::ACCEPT_ENCODING, "gzip");
            let mut response = if is_packed { gzip(&bytes) } else { bytes }.into_response();
            if is_packed {
                let encoding = HeaderValue::from_static("gzip");
                response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
            }
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
            response
        }
    };
    let headers = response.headers_mut();
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
    }
    // The store may be another one next time at the same address, so ask each time.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

fn is_known(request: &HeaderMap, etag: &str) -> bool {
    has(request, header::IF_NONE_MATCH, etag)
}

fn has(request: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    let value = request.get(name).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.split(',').any(|part| part.trim() == wanted))
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(4));
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
