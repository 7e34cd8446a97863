//! What Prometheus and Grafana ask: `/metrics`, `/federate`, and Prometheus's own API over the
//! series that are kept.

mod json;
mod query;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use analyze::families::{Families, Histograms};
use axum::Form;
use axum::extract::{FromRef, FromRequest, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::series::{Exposition, Sample, Value, is_stale};
use model::{Family, Labels, Point, Timestamp};
use render::exposition::{Style, page};
use store::{Matcher, SeriesStore};

use crate::Server;
use crate::large::now;

pub(crate) use query::{
    build_info, instant, label_values, labels, metadata, range, series as list_series,
};

/// How long a sample holds.
const LOOKBACK: Duration = Duration::from_secs(300);

/// Adds what is known now, with distributions in this form.
pub type Figures = Box<dyn Fn(&mut Families, Histograms) + Send + Sync>;

/// What is measured, now and so far.
pub struct Metrics {
    /// Adds all that is known now.
    pub figures: Figures,
    /// The series that are kept; `None` when none are.
    pub series: Option<Arc<SeriesStore>>,
    /// How long a query may take.
    pub query_timeout: Duration,
    /// Samples and steps of a query in all.
    pub query_samples: usize,
}

impl Metrics {
    /// Metrics that nothing is kept of, with the usual limits.
    pub fn new(figures: Figures) -> Metrics {
        let (query_timeout, query_samples) = (Duration::from_secs(120), 5_000_000);
        Metrics { figures, series: None, query_timeout, query_samples }
    }

    /// All that is known now.
    pub fn families(&self, form: Histograms) -> Vec<Family> {
        let mut families = Families::default();
        (self.figures)(&mut families, form);
        families.into_vec()
    }
}

impl FromRef<Server> for Arc<Metrics> {
    fn from_ref(server: &Server) -> Arc<Metrics> {
        Arc::clone(&server.metrics)
    }
}

/// An answer that is an error, as Prometheus words it.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    kind: &'static str,
    message: String,
}

impl Refusal {
    fn bad(message: impl Into<String>) -> Refusal {
        Refusal { status: StatusCode::BAD_REQUEST, kind: "bad_data", message: message.into() }
    }

    fn execution(message: impl Into<String>) -> Refusal {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Refusal { status, kind: "execution", message: message.into() }
    }

    fn internal(message: impl Into<String>) -> Refusal {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Refusal { status, kind: "internal", message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = self.kind;
        let body =
            serde_json::json!({ "status": "error", "errorType": kind, "error": self.message });
        (self.status, axum::Json(body)).into_response()
    }
}

/// Parameters, from the address or a form.
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Params, Refusal> {
        match Form::<Vec<(String, String)>>::from_request(request, state).await {
            Ok(Form(pairs)) => Ok(Params(pairs)),
            Err(error) => Err(Refusal::bad(format!("error parsing form values: {error}"))),
        }
    }
}

impl Params {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// `match[]`, each a set of matchers.
    fn sets(&self) -> Result<Vec<Vec<Matcher>>, Refusal> {
        let given = self.0.iter().filter(|(name, _)| name == "match[]");
        given.map(|(_, text)| matchers(text)).collect()
    }

    fn time(&self, name: &str) -> Result<Option<Timestamp>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let fault = || {
            Refusal::bad(format!(
                "invalid parameter {name:?}: cannot parse {text:?} to a valid timestamp"
            ))
        };
        if let Ok(seconds) = text.parse::<f64>() {
            // More than a hundred million years is no time that anybody means.
            return match seconds.abs() < 1e15 {
                true => Ok(Some(Timestamp((seconds * 1e3).round() as i64))),
                false => Err(fault()),
            };
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| fault())?;
        Ok(Some(Timestamp(time.as_millisecond())))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let parsed = match text.parse::<f64>() {
            Ok(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string()),
            Err(_) => model::units::parse_duration(text),
        };
        let fault = |why| Refusal::bad(format!("invalid parameter {name:?}: {why}"));
        parsed.map(Some).map_err(fault)
    }

    fn limit(&self) -> Result<usize, Refusal> {
        let Some(text) = self.get("limit") else { return Ok(usize::MAX) };
        let fault = || Refusal::bad(format!("invalid parameter \"limit\": {text:?} is no number"));
        // 0 is no limit.
        text.parse().map(|limit| if limit == 0 { usize::MAX } else { limit }).map_err(|_| fault())
    }
}

fn matchers(text: &str) -> Result<Vec<Matcher>, Refusal> {
    let fault = |why: String| Refusal::bad(format!("invalid parameter \"match[]\": {why}"));
    let parsed = promql::parse_matchers(text).map_err(|error| fault(error.to_string()))?;
    agent::query::stored(&parsed).map_err(fault)
}

/// Runs work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Refusal::internal(error.to_string()))?
}

/// The format that the client prefers, and the page in it.
fn exposed(headers: &HeaderMap, families: &[Family]) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let format = Exposition::negotiated(accept.unwrap_or_default());
    let text = page(families, Style { format, with_created: false });
    ([(header::CONTENT_TYPE, format.content_type())], text).into_response()
}

/// `/metrics`: all that is known now.
pub(crate) async fn exposition(
    State(metrics): State<Arc<Metrics>>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    blocking(move || Ok(exposed(&headers, &metrics.families(Histograms::Classic)))).await
}

/// `/federate`: the last sample of each selected series, unless it is older than a query would
/// look back, or the series has ended.
pub(crate) async fn federate(
    State(metrics): State<Arc<Metrics>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, Refusal> {
    let sets = params.sets()?;
    blocking(move || {
        let store = kept(&metrics)?;
        let (to, lookback) = (now(), LOOKBACK.as_millis() as i64);
        let from = Timestamp(to.0.saturating_sub(lookback) + 1);
        let mut points: BTreeMap<Labels, Sample> = BTreeMap::new();
        for set in &sets {
            let selected =
                store.select(set, from, to).map_err(|e| Refusal::execution(e.to_string()))?;
            for (labels, mut samples) in selected.series {
                if let Some(last) = samples.pop()
                    && !last.value.float().is_some_and(is_stale)
                {
                    points.insert(labels, last);
                }
            }
        }
        Ok(exposed(&headers, &by_name(points)))
    })
    .await
}

/// Families of single series' names; nothing is known of their kinds.
fn by_name(points: BTreeMap<Labels, Sample>) -> Vec<Family> {
    let mut families: BTreeMap<String, Vec<Point>> = BTreeMap::new();
    for (labels, Sample { time, value }) in points {
        let points = families.entry(labels.name().to_owned()).or_default();
        points.push(Point { value, time: Some(time), ..Point::new(labels, 0.0) });
    }
    let family = |(name, points): (String, Vec<Point>)| {
        let is_native = points.iter().any(|point| matches!(point.value, Value::Histogram(_)));
        let kind = match is_native {
            true => model::FamilyKind::Histogram,
            false => model::FamilyKind::Unknown,
        };
        Family { name, kind, points, ..Family::default() }
    };
    families.into_iter().map(family).collect()
}

fn kept(metrics: &Metrics) -> Result<&SeriesStore, Refusal> {
    let none = "no series are kept here: series: in the configuration switches it on";
    metrics.series.as_deref().ok_or_else(|| Refusal::execution(none))
}

#[cfg(test)]
mod tests;
