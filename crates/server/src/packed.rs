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
    etag: &str,
    make: impl FnOnce() -> Result<Vec<u8>, ApiError>,
) -> Result<Response, ApiError> {
    let has = |name: header::HeaderName, wanted: &str| {
        let value = request.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| value.split(',').any(|part| part.trim() == wanted))
    };
    let mut response = match has(header::IF_NONE_MATCH, etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let bytes = make()?;
            let mut response = match has(header::ACCEPT_ENCODING, "gzip") {
                true => {
                    let mut response = gzip(&bytes).into_response();
                    let encoding = HeaderValue::from_static("gzip");
                    response.headers_mut().insert(header::CONTENT_ENCODING, encoding);
                    response
                }
                false => bytes.into_response(),
            };
            let kind = HeaderValue::from_static("application/octet-stream");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
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
    Ok(response)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(4));
    // Writing to memory does not fail.
    let _ = encoder.write_all(bytes);
    encoder.finish().unwrap_or_default()
}
