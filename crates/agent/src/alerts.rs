//! Alerts of rules, as those who are told want them: what PromQL rules make, and what capture rules
//! ask to be told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Labels, TargetId, Timestamp};
use notify::{Alert, Notifier};
use promql::rules::Alert as QueryAlert;
use promql::template::{Context, Dialect, Templates, Value};

use crate::runner::Notice;

/// The label that names whom a capture rule wants told; a route of its own goes by it.
pub(crate) const NOTIFY: &str = "notify";
/// An alert that nothing more is heard of ends by itself.
const UNHEARD: i64 = 4 * 60_000;
/// A resolved alert is told of so long.
const RESOLVED: i64 = 15 * 60_000;
/// Texts of a template.
const TEXT_MAX: usize = 16 << 10;

/// Where the pages are, for links; it changes with the configuration.
#[derive(Clone)]
pub(crate) struct PagesUrl(Arc<Mutex<String>>);

impl PagesUrl {
    pub(crate) fn new(url: String) -> PagesUrl {
        PagesUrl(Arc::new(Mutex::new(url)))
    }

    pub(crate) fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, url: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = url;
    }
}

/// Tells of what capture rules found. Keeps what is active, as whoever delivers wants all of it
/// each time.
pub(crate) struct RuleAlerts {
    notifier: Arc<Notifier>,
    external_url: PagesUrl,
    active: Mutex<BTreeMap<(String, TargetId, String), Alert>>,
}

impl RuleAlerts {
    /// To this notifier; links start at the URL.
    pub(crate) fn new(notifier: Arc<Notifier>, external_url: PagesUrl) -> RuleAlerts {
        RuleAlerts { notifier, external_url, active: Mutex::default() }
    }

    /// Somebody is to be told.
    ///
    /// # Errors
    /// When a template of the rule cannot be used; it is told all the same, without it.
    pub(crate) fn tell(&self, notice: &Notice) -> Result<(), String> {
        let key = (notice.rule.name.clone(), notice.target.id, notice.receiver.clone());
        let (alert, fault) = self.alert(notice);
        let now = capture::now();
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        active.insert(key, alert);
        self.send(now, &mut active);
        fault.map_or(Ok(()), Err)
    }

    /// Says again what still holds; to be called every minute or so.
    pub(crate) fn repeat(&self, now: Timestamp) {
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        if !active.is_empty() {
            self.send(now, &mut active);
        }
    }

    fn send(&self, now: Timestamp, active: &mut BTreeMap<(String, TargetId, String), Alert>) {
        // What has ended has ended, also where the clock was set back since.
        active.values_mut().for_each(|it| it.ends_at = it.ends_at.map(|end| end.min(now)));
        active.retain(|_, alert| alert.ends_at.is_none_or(|end| end.0 > now.0 - RESOLVED));
        self.notifier.update(now, "rules", active.values().cloned().collect());
    }

    fn alert(&self, notice: &Notice) -> (Alert, Option<String>) {
        let Notice { rule, target, receiver, reason, captures, .. } = notice;
        let pid = target.target.pid.map(|pid| pid.to_string()).unwrap_or_default();
        let own = [
            ("alertname", rule.name.as_str()),
            ("service", target.target.name.as_str()),
            ("pid", pid.as_str()),
            ("severity", rule.severity.as_str()),
            (NOTIFY, receiver.as_str()),
        ];
        let labels =
            Labels::new(rule.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).chain(own));
        let url = self.external_url.get();
        let link = match captures.first() {
            Some(capture) => format!("{url}/capture/{}", capture.0),
            None => format!("{url}/target/{}", target.id.0),
        };
        let next =
            format!("memsight diagnose {pid} says what grows; the page has what was captured");
        let mut fault = None;
        let mut filled = |text: &str| match expand(text, &labels, notice, &url) {
            Ok(text) => text,
            Err(why) => {
                fault = Some(why);
                text.to_owned()
            }
        };
        let summary = match notice.summary.as_str() {
            "" => format!("{}: {reason}", rule.name),
            text => filled(text),
        };
        let description = filled(&notice.description);
        let more: Vec<(String, String)> =
            rule.annotations.iter().map(|(name, text)| (name.clone(), filled(text))).collect();
        let own = [
            ("summary", summary.as_str()),
            ("description", description.as_str()),
            ("verdict", reason.as_str()),
            ("link", link.as_str()),
            ("next", next.as_str()),
        ];
        let given = more.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let annotations = Labels::new(own.into_iter().chain(given));
        let generator_url = format!("{url}/watch");
        let (starts_at, ends_at) = (notice.since, notice.resolved);
        (Alert { labels, annotations, starts_at, ends_at, generator_url }, fault)
    }
}

/// Checks a template of a rule.
///
/// # Errors
/// What is wrong, with its place in the template.
pub(crate) fn check_template(text: &str) -> Result<(), String> {
    let parsed = Templates::new(Dialect::Prometheus).parse(text);
    parsed.map(drop).map_err(|error| format!("the template, {}: {}", error.place, error.message))
}

/// Fills a template of a rule: `$labels`, `$value`, `.Reason`.
fn expand(text: &str, labels: &Labels, notice: &Notice, url: &str) -> Result<String, String> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let templates = Templates::new(Dialect::Prometheus);
    let template = templates.parse(text).map_err(|error| error.message)?;
    let map: BTreeMap<String, Value> =
        labels.iter().map(|(name, value)| (name.to_owned(), Value::Str(value.into()))).collect();
    let data = BTreeMap::from([
        ("Labels".to_owned(), Value::Map(Arc::new(map))),
        ("Value".to_owned(), Value::Float(notice.value.unwrap_or(f64::NAN))),
        ("Reason".to_owned(), Value::Str(notice.reason.as_str().into())),
    ]);
    let context = Context {
        now: capture::now(),
        external_url: url,
        max_bytes: TEXT_MAX,
        escapes_html: false,
        query: &|_| Err("queries are for rules of Prometheus".to_owned()),
    };
    let rendered = template.render(&templates, &Value::Object(Arc::new(data)), &context);
    rendered.map_err(|error| error.to_string())
}

/// Alerts of PromQL rules that are not pending, as they are sent at a time.
pub(crate) fn of_queries(now: Timestamp, alerts: &[QueryAlert], external_url: &str) -> Vec<Alert> {
    let sent = |alert: &QueryAlert| Alert {
        labels: alert.labels.with([(notify::ALERT_NAME, alert.rule.as_str())]),
        annotations: Labels::new(&alert.annotations),
        starts_at: alert.fired_at.unwrap_or(alert.active_at),
        ends_at: Some(alert.resolved_at.unwrap_or(Timestamp(now.0 + UNHEARD))),
        generator_url: format!("{external_url}/watch"),
    };
    alerts.iter().map(sent).collect()
}
