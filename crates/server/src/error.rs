//! Errors as clients and callers see them.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use model::{Capture, CaptureKind};
use serde_json::json;
use store::StoreError;

/// The server cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be bound.
    #[error("cannot listen on {listen}: {source}")]
    Bind {
        /// The address.
        listen: String,
        /// Why.
        source: std::io::Error,
    },
    /// Not loopback, and no token.
    #[error("{listen} is reachable from other machines, so a token is required")]
    TokenNeeded {
        /// The address.
        listen: String,
    },
}

impl ServeError {
    /// What the person at the terminal can do.
    pub fn next_step(&self) -> &'static str {
        match self {
            ServeError::Bind { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                "another program has this port: stop it, or choose one with --listen 127.0.0.1:PORT"
            }
            ServeError::Bind { .. } => {
                "name an address of this machine, as in --listen 127.0.0.1:7171"
            }
            ServeError::TokenNeeded { .. } => {
                "set MEMSIGHT_TOKEN (or --token), or listen on 127.0.0.1"
            }
        }
    }
}

/// An answer that is an error: `{"error", "next"}`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    error: String,
    next: String,
}

impl ApiError {
    /// A capture holds something else than was asked for.
    pub(crate) fn other_kind(capture: &Capture) -> ApiError {
        let id = capture.id.0;
        let next = match capture.kind {
            CaptureKind::Heap
            | CaptureKind::Goroutine
            | CaptureKind::GoroutineLeak
            | CaptureKind::Alloc
            | CaptureKind::Native
            | CaptureKind::Faults
            | CaptureKind::Mmap => "its page is /capture/ID",
            CaptureKind::Graph => "its answers are below heap/, its page is /heap/ID",
            CaptureKind::Trace => "its answers are below trace/, its page is /trace/ID",
            CaptureKind::Runtime => "its answer is /captures/ID/runtime",
            CaptureKind::Rss => "its answer is /captures/ID/rss",
        };
        let error = format!("capture {id} is of another kind: {}", capture.kind.as_str());
        ApiError::bad(error, next)
    }

    pub(crate) fn new(
        status: StatusCode,
        error: impl Into<String>,
        next: impl Into<String>,
    ) -> ApiError {
        ApiError { status, error: error.into(), next: next.into() }
    }

    pub(crate) fn bad(error: impl Into<String>, next: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, error, next)
    }

    pub(crate) fn internal(error: &dyn std::fmt::Display) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string(), "")
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let status = match error {
            StoreError::Missing { .. } => StatusCode::NOT_FOUND,
            StoreError::DamagedCapture { .. } => StatusCode::GONE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let next = error.next_step().unwrap_or_default();
        ApiError::new(status, error.to_string(), next)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.error, "next": self.next }))).into_response()
    }
}
