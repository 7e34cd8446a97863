//! The routes. `openapi.json` describes them; a test compares the two.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::{Server, access, events, listings, pages, profiles, targets};

/// Path and handler of every route of the API.
macro_rules! routes {
    ($($path:literal => $handler:expr),* $(,)?) => {
        /// Paths below `/api/v1`.
        #[cfg(test)]
        pub(crate) const PATHS: &[&str] = &[$($path),*];

        fn api() -> Router<Server> {
            Router::new()$(.route($path, get($handler)))*
        }
    };
}

routes! {
    "/status" => status,
    "/targets" => targets::list,
    "/targets/{id}" => targets::one,
    "/targets/{id}/series" => targets::series,
    "/targets/{id}/captures" => targets::captures,
    "/targets/{id}/diagnosis" => targets::diagnosis,
    "/captures/{id}/profile" => profiles::download,
    "/captures/{id}/meta" => profiles::meta,
    "/captures/{id}/flame" => profiles::flame,
    "/captures/{id}/table" => profiles::table,
    "/captures/{id}/sandwich" => profiles::sandwich,
    "/captures/{id}/tags" => listings::tags,
    "/captures/{id}/source" => listings::source,
    "/captures/{id}/disasm" => listings::disasm,
    "/captures/{id}/graph" => listings::graph,
    "/events" => events::stream,
    "/openapi.json" => openapi,
}

pub(crate) fn router(server: Server) -> Router {
    Router::new()
        .nest("/api/v1", api().fallback(pages::no_such_path))
        .fallback(pages::serve)
        .layer(middleware::from_fn_with_state(server.clone(), access::check))
        .with_state(server)
}

/// Runs work that reads files or computes off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiError::internal(&error))?
}

async fn status(State(server): State<Server>) -> Result<Json<Value>, ApiError> {
    blocking(move || {
        let stats = server.store.stats()?;
        let (rss_bytes, cpu_seconds) = (server.usage)();
        Ok(Json(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "started_ms": server.started.0,
            "targets": stats.targets,
            "captures": stats.captures,
            "store_bytes": stats.bytes,
            "self": { "rss_bytes": rss_bytes, "cpu_seconds": cpu_seconds },
        })))
    })
    .await
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], include_str!("openapi.json"))
}

#[cfg(test)]
mod tests {
    use super::PATHS;

    #[test]
    fn the_openapi_document_names_every_route_and_no_other() {
        let document: serde_json::Value =
            serde_json::from_str(include_str!("openapi.json")).unwrap();
        let mut described: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
        let mut routes: Vec<String> = PATHS.iter().map(|path| format!("/api/v1{path}")).collect();
        described.sort();
        routes.sort();
        assert_eq!(described, routes.iter().collect::<Vec<_>>());
    }
}
