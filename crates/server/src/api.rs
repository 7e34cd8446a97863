//! The routes. `openapi.json` describes them; a test compares the two.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::{
    Server, access, events, figures, heap, listings, pages, probes, processes, profiles,
    prometheus, targets, trace, watch,
};

/// Path and handlers of every route of the API.
macro_rules! routes {
    ($($path:literal => $handler:expr),* $(,)?) => {
        /// Paths below `/api/v1`.
        #[cfg(test)]
        pub(crate) const PATHS: &[&str] = &[$($path),*];

        fn api() -> Router<Server> {
            Router::new()$(.route($path, $handler))*
        }
    };
}

routes! {
    "/status" => get(status),
    "/targets" => get(targets::list),
    "/targets/{id}" => get(targets::one),
    "/targets/{id}/series" => get(targets::series),
    "/targets/{id}/captures" => get(targets::captures),
    "/targets/{id}/diagnosis" => get(targets::diagnosis),
    "/targets/{id}/graph" => post(heap::take),
    "/captures/{id}/profile" => get(profiles::download),
    "/captures/{id}/meta" => get(profiles::meta),
    "/captures/{id}/flame" => get(profiles::flame),
    "/captures/{id}/table" => get(profiles::table),
    "/captures/{id}/sandwich" => get(profiles::sandwich),
    "/captures/{id}/tags" => get(listings::tags),
    "/captures/{id}/source" => get(listings::source),
    "/captures/{id}/disasm" => get(listings::disasm),
    "/captures/{id}/graph" => get(listings::graph),
    "/captures/{id}/heap/summary" => get(heap::summary),
    "/captures/{id}/heap/types" => get(heap::types),
    "/captures/{id}/heap/type" => get(heap::one_type),
    "/captures/{id}/heap/dominators" => get(heap::dominators),
    "/captures/{id}/heap/treemap" => get(heap::treemap),
    "/captures/{id}/heap/why" => get(heap::why),
    "/captures/{id}/heap/roots" => get(heap::roots),
    "/captures/{id}/heap/goroutines" => get(heap::goroutines),
    "/captures/{id}/heap/object" => get(heap::object),
    "/captures/{id}/heap/find" => get(heap::find),
    "/captures/{id}/heap/diff" => get(heap::diff),
    "/graphs" => get(heap::list).post(heap::upload),
    "/targets/{id}/trace" => post(trace::take),
    "/targets/{id}/rss" => get(figures::rss_series),
    "/targets/{id}/runtime" => get(figures::runtime_series),
    "/captures/{id}/rss" => get(figures::rss),
    "/captures/{id}/runtime" => get(figures::runtime),
    "/captures/{id}/trace/summary" => get(trace::summary),
    "/captures/{id}/trace/gc" => get(trace::collections),
    "/captures/{id}/trace/mmu" => get(trace::utilization),
    "/captures/{id}/trace/tasks" => get(trace::tasks),
    "/captures/{id}/trace/lifetimes" => get(trace::lifetimes),
    "/captures/{id}/trace/timeline" => get(trace::timeline),
    "/captures/{id}/trace/goroutines" => get(trace::goroutines),
    "/traces" => get(trace::list).post(trace::upload),
    "/probes" => get(probes::list),
    "/targets/{id}/probes/{kind}" => get(probes::so_far).post(probes::take),
    "/targets/{id}/probes/{kind}/flame" => get(probes::flame),
    "/processes/timeline" => get(processes::timeline),
    "/rules" => get(watch::prometheus_rules),
    "/alerts" => get(watch::prometheus_alerts),
    "/watch/rules" => get(watch::rules),
    "/watch/rules/{name}/call" => post(watch::call),
    "/watch/history" => get(watch::history),
    "/watch/replay" => get(watch::replay),
    "/watch/notifications" => get(watch::notifications),
    "/watch/destinations" => get(watch::destinations),
    "/events" => get(events::stream),
    "/events/log" => get(events::list),
    "/openapi.json" => get(openapi),
    "/query" => get(prometheus::instant).post(prometheus::instant),
    "/query_range" => get(prometheus::range).post(prometheus::range),
    "/labels" => get(prometheus::labels).post(prometheus::labels),
    "/label/{name}/values" => get(prometheus::label_values),
    "/series" => get(prometheus::list_series).post(prometheus::list_series),
    "/metadata" => get(prometheus::metadata),
    "/status/buildinfo" => get(prometheus::build_info),
}

pub(crate) fn router(server: Server) -> Router {
    Router::new()
        .nest("/api/v1", api().fallback(pages::no_such_path))
        .route("/metrics", get(prometheus::exposition))
        .route("/federate", get(prometheus::federate))
        .fallback(pages::serve)
        .layer(middleware::from_fn_with_state(server.clone(), access::check))
        // Who asks whether we live has no token, and may call us by any name.
        .route("/-/healthy", get(|| async { "memsight is healthy\n" }))
        .route("/-/ready", get(ready))
        .with_state(server)
}

/// 200 once the watch has looked for targets, 503 before.
async fn ready(State(server): State<Server>) -> (StatusCode, &'static str) {
    match server.ready.load(Ordering::Relaxed) {
        true => (StatusCode::OK, "memsight is ready\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "memsight starts\n"),
    }
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
            "snapshots": server.heaps.may_take(),
            "traces": server.traces.may_take(),
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
        routes.extend(["/metrics", "/federate"].map(str::to_owned));
        described.sort();
        routes.sort();
        assert_eq!(described, routes.iter().collect::<Vec<_>>());
    }
}
