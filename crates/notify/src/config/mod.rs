//! The configuration: Alertmanager's `route`, `receivers`, `inhibit_rules` and `time_intervals`,
//! Prometheus's `alerting`, and a few of our own. What is wrong is told with line and column.

mod fields;
mod files;
mod intervals;
mod receivers;

use std::collections::BTreeSet;
use std::path::PathBuf;

use httpclient::{Options, Secret, TlsOptions, Url};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_saphyr::Spanned;

pub use fields::{HostPort, Matcher, Matchers, Pairs, RegexPairs, Span};
pub use intervals::{Interval, NamedIntervals};
pub use receivers::{
    Alertmanagers, Email, Exec, Log, PagerDuty, PagerDutyImage, PagerDutyLink, RateLimit, Receiver,
    Slack, SlackAction, SlackConfirmation, SlackField, StaticConfig, ThreadBy, Threading, Webhook,
};

/// Deepest nesting of routes.
const ROUTE_DEPTH_MAX: usize = 32;

/// Who is told of what, and how.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Defaults of receivers.
    pub global: Global,
    /// Which alerts go where; without one, all go to the first receiver.
    pub route: Option<Route>,
    /// Who may be told.
    pub receivers: Vec<Receiver>,
    /// Which alerts silence others.
    pub inhibit_rules: Vec<InhibitRule>,
    /// Names for times of the day, week, year.
    pub time_intervals: Vec<NamedIntervals>,
    /// The older word for them.
    pub mute_time_intervals: Vec<NamedIntervals>,
    /// Files with templates; `*` and `?` in the name of the file.
    pub templates: Vec<PathBuf>,
    /// Alertmanagers that get all alerts.
    pub alerting: Alerting,
    /// Bounds of what waits to be delivered.
    pub queue: Queue,
}

/// `alerting:`, as in prometheus.yml.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Alerting {
    /// Alertmanagers.
    pub alertmanagers: Vec<Alertmanagers>,
    /// How often they are told again of what still fires.
    pub resend_delay: Option<Span>,
}

/// Bounds of what waits to be delivered.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// So many notifications.
    pub messages_max: usize,
    /// So many bytes of them.
    pub bytes_max: u64,
    /// What waits longer is given up.
    pub age_max: Span,
    /// So many alerts are known at a time.
    pub alerts_max: usize,
}

impl Default for Queue {
    fn default() -> Queue {
        let age_max = Span::seconds(3 * 86_400);
        Queue { messages_max: 10_000, bytes_max: 64 << 20, age_max, alerts_max: 10_000 }
    }
}

/// Defaults of receivers, as in Alertmanager.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Global {
    /// After a restart, how long a source may take to say that its alerts still fire.
    pub resolve_timeout: Option<Span>,
    /// How to ask.
    pub http_config: Option<Options>,
    /// `from` of mails.
    pub smtp_from: Option<String>,
    /// `hello` of mails.
    pub smtp_hello: Option<String>,
    /// `smarthost` of mails.
    pub smtp_smarthost: Option<HostPort>,
    /// `auth_username` of mails.
    pub smtp_auth_username: Option<String>,
    /// `auth_password` of mails.
    pub smtp_auth_password: Option<Secret>,
    /// `auth_password_file` of mails.
    pub smtp_auth_password_file: Option<PathBuf>,
    /// `auth_identity` of mails.
    pub smtp_auth_identity: Option<String>,
    /// `require_tls` of mails.
    pub smtp_require_tls: Option<bool>,
    /// `force_implicit_tls` of mails.
    pub smtp_force_implicit_tls: Option<bool>,
    /// `tls_config` of mails.
    #[serde(deserialize_with = "httpclient::checked")]
    pub smtp_tls_config: Option<TlsOptions>,
    /// `api_url` of Slack.
    pub slack_api_url: Option<Secret>,
    /// `api_url_file` of Slack.
    pub slack_api_url_file: Option<PathBuf>,
    /// `app_token` of Slack.
    pub slack_app_token: Option<Secret>,
    /// `app_token_file` of Slack.
    pub slack_app_token_file: Option<PathBuf>,
    /// `app_url` of Slack.
    pub slack_app_url: Option<Url>,
    /// `url` of PagerDuty.
    pub pagerduty_url: Option<Url>,
}

/// A node of the tree of routes. What is left out is the parent's.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Route {
    /// Who is told.
    pub receiver: Option<Spanned<String>>,
    /// Alerts that agree in these labels are one message; `...` is all labels.
    pub group_by: Option<GroupBy>,
    /// Wait for others before a group's first message.
    pub group_wait: Option<Span>,
    /// Wait before a message about changes.
    #[serde(deserialize_with = "not_zero")]
    pub group_interval: Option<Span>,
    /// Tell again after this.
    #[serde(deserialize_with = "not_zero")]
    pub repeat_interval: Option<Span>,
    /// Which alerts.
    pub matchers: Matchers,
    /// Which alerts, the older way.
    #[serde(rename = "match")]
    pub equal: Pairs,
    /// Which alerts, the older way.
    pub match_re: RegexPairs,
    /// Siblings that follow get them, too.
    #[serde(rename = "continue")]
    pub goes_on: bool,
    /// Nobody is told in these.
    pub mute_time_intervals: Vec<Spanned<String>>,
    /// Nobody is told outside these.
    pub active_time_intervals: Vec<Spanned<String>>,
    /// Children; the first that matches is taken.
    pub routes: Vec<Route>,
}

fn not_zero<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Span>, D::Error> {
    match Option::<Span>::deserialize(from)? {
        Some(span) if span.0.is_zero() => Err(D::Error::custom("cannot be zero: write 5m")),
        span => Ok(span),
    }
}

/// What makes a group.
#[derive(Clone, Debug)]
pub enum GroupBy {
    /// All labels: each alert is a group.
    All,
    /// These.
    Labels(BTreeSet<String>),
}

impl<'de> Deserialize<'de> for GroupBy {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<GroupBy, D::Error> {
        let names = Vec::<String>::deserialize(from)?;
        if names == ["..."] {
            return Ok(GroupBy::All);
        }
        if names.iter().any(|name| name == "..." || name.is_empty()) {
            return Err(D::Error::custom("\"...\" is all labels and stands alone"));
        }
        let unique: BTreeSet<String> = names.iter().cloned().collect();
        if unique.len() < names.len() {
            return Err(D::Error::custom("a label is twice in group_by"));
        }
        Ok(GroupBy::Labels(unique))
    }
}

/// Alerts that match `target` are not told while one that matches `source` fires and agrees in
/// the labels `equal`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InhibitRule {
    /// For people.
    pub name: String,
    /// Which alerts silence.
    pub source_matchers: Matchers,
    /// The same, the older way.
    pub source_match: Pairs,
    /// The same, the older way.
    pub source_match_re: RegexPairs,
    /// Which alerts are silenced.
    pub target_matchers: Matchers,
    /// The same, the older way.
    pub target_match: Pairs,
    /// The same, the older way.
    pub target_match_re: RegexPairs,
    /// Where both agree.
    pub equal: Vec<String>,
}

/// What is wrong with a configuration, beyond what reading it says.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}{}", place(*line, *column))]
pub struct ConfigError {
    /// What.
    pub message: String,
    /// Where; 0 when it is nowhere in particular.
    pub line: u64,
    /// Where.
    pub column: u64,
}

fn place(line: u64, column: u64) -> String {
    if line == 0 { String::new() } else { format!(" (line {line}, column {column})") }
}

fn wrong(message: impl Into<String>) -> ConfigError {
    ConfigError { message: message.into(), line: 0, column: 0 }
}

fn wrong_at<T>(at: &Spanned<T>, message: impl Into<String>) -> ConfigError {
    let (line, column) = (at.referenced.line(), at.referenced.column());
    ConfigError { message: message.into(), line, column }
}

impl Config {
    /// Puts a route in front of all others for each receiver: alerts whose `label` names it go there,
    /// and nowhere else.
    pub fn route_by_label(&mut self, label: &str) {
        let Some(first) = self.receivers.first().map(|receiver| receiver.name.clone()) else {
            return;
        };
        let routes = self.receivers.iter().map(|receiver| Route {
            receiver: Some(receiver.name.clone()),
            matchers: Matchers(vec![fields::Matcher::equal(label, &receiver.name.value)]),
            ..Route::default()
        });
        let routes: Vec<Route> = routes.collect();
        let whole = || Route { receiver: Some(first), ..Route::default() };
        let root = self.route.get_or_insert_with(whole);
        root.routes.splice(0..0, routes);
    }

    /// Checks what concerns several parts. [`crate::Notifier::open`] does it, too, and reads the
    /// templates.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        for receiver in &self.receivers {
            if receiver.name.value.is_empty() {
                return Err(wrong_at(&receiver.name, "a receiver has no name"));
            }
            if !names.insert(receiver.name.value.as_str()) {
                let message = format!("receiver {:?} is there twice", receiver.name.value);
                return Err(wrong_at(&receiver.name, message));
            }
            self.check_receiver(receiver).map_err(|message| {
                wrong_at(&receiver.name, format!("receiver {:?}: {message}", receiver.name.value))
            })?;
        }
        let mut intervals = BTreeSet::new();
        for named in self.time_intervals.iter().chain(&self.mute_time_intervals) {
            if !intervals.insert(named.name.value.as_str()) {
                let message = format!("time interval {:?} is there twice", named.name.value);
                return Err(wrong_at(&named.name, message));
            }
        }
        if let Some(route) = &self.route {
            check_root(route)?;
            check_route(route, &names, &intervals, 0)?;
        }
        self.check_alertmanagers()
    }

    fn check_receiver(&self, receiver: &Receiver) -> Result<(), String> {
        for webhook in &receiver.webhook_configs {
            exactly_one("url", webhook.url.is_some(), webhook.url_file.is_some())?;
            check_http(webhook.http_config.as_ref())?;
        }
        for slack in &receiver.slack_configs {
            self.check_slack(slack)?;
        }
        for pagerduty in &receiver.pagerduty_configs {
            let is_file = pagerduty.routing_key_file.is_some();
            exactly_one("routing_key", pagerduty.routing_key.is_some(), is_file)?;
            check_http(pagerduty.http_config.as_ref())?;
        }
        for email in &receiver.email_configs {
            self.check_email(email)?;
        }
        Ok(())
    }

    fn check_slack(&self, slack: &Slack) -> Result<(), String> {
        check_http(slack.http_config.as_ref())?;
        if slack.update_message {
            return Err("update_message: messages are not edited; leave it out".to_owned());
        }
        let global = &self.global;
        let own = slack.api_url.is_some() || slack.api_url_file.is_some();
        let own_app = slack.app_token.is_some() || slack.app_token_file.is_some();
        if own && own_app {
            return Err("api_url and app_token exclude each other: keep one".to_owned());
        }
        let has_global = global.slack_api_url.is_some()
            || global.slack_api_url_file.is_some()
            || global.slack_app_token.is_some()
            || global.slack_app_token_file.is_some();
        if !own && !own_app && !has_global {
            return Err("slack_configs needs api_url, or slack_api_url in global".to_owned());
        }
        for action in &slack.actions {
            if action.url.is_empty() && action.name.is_empty() {
                return Err("a Slack action needs url or name".to_owned());
            }
        }
        at_most_one("api_url", slack.api_url.is_some(), slack.api_url_file.is_some())?;
        at_most_one("app_token", slack.app_token.is_some(), slack.app_token_file.is_some())
    }

    fn check_email(&self, email: &Email) -> Result<(), String> {
        if email.to.is_empty() {
            return Err("email_configs needs to".to_owned());
        }
        if email.from.is_none() && self.global.smtp_from.is_none() {
            return Err("email_configs needs from, or smtp_from in global".to_owned());
        }
        if email.smarthost.is_none() && self.global.smtp_smarthost.is_none() {
            return Err("email_configs needs smarthost, or smtp_smarthost in global".to_owned());
        }
        if email.auth_secret.is_some() || email.auth_secret_file.is_some() {
            return Err(
                "auth_secret is for CRAM-MD5, which is not spoken: use auth_password".into()
            );
        }
        let identity = email.auth_identity.as_ref().or(self.global.smtp_auth_identity.as_ref());
        let user = email.auth_username.as_ref().or(self.global.smtp_auth_username.as_ref());
        if identity.is_some_and(|identity| !identity.is_empty() && Some(identity) != user) {
            return Err("auth_identity other than auth_username is not spoken: leave it out".into());
        }
        if email.html.is_empty() && email.text.is_empty() {
            return Err("email_configs needs text or html".to_owned());
        }
        let is_thread =
            |name: &String| ["references", "in-reply-to"].contains(&name.to_lowercase().as_str());
        if email.threading.enabled && email.headers.keys().any(is_thread) {
            return Err(
                "threading sets References and In-Reply-To: take them out of headers".into()
            );
        }
        let names: BTreeSet<String> =
            email.headers.keys().map(|name| name.to_lowercase()).collect();
        if names.len() < email.headers.len() {
            return Err("a header is there twice".to_owned());
        }
        at_most_one(
            "auth_password",
            email.auth_password.is_some(),
            email.auth_password_file.is_some(),
        )
    }

    fn check_alertmanagers(&self) -> Result<(), ConfigError> {
        for alertmanagers in &self.alerting.alertmanagers {
            if !["http", "https"].contains(&alertmanagers.scheme.as_str()) {
                return Err(wrong("alertmanagers: scheme is http or https"));
            }
            if let Some(version) = &alertmanagers.api_version
                && version.value != "v2"
            {
                return Err(wrong_at(version, "api_version: only v2 is there"));
            }
            for target in alertmanagers.static_configs.iter().flat_map(|config| &config.targets) {
                let url = format!("{}://{}", alertmanagers.scheme, target.value);
                Url::parse(&url).map_err(|_| {
                    let message = format!("{:?} is no target: write host:port", target.value);
                    wrong_at(target, message)
                })?;
            }
            check_http(Some(&alertmanagers.http_options())).map_err(wrong)?;
        }
        Ok(())
    }
}

fn check_http(options: Option<&Options>) -> Result<(), String> {
    options.map_or(Ok(()), |options| options.check().map_err(|error| error.to_string()))
}

fn at_most_one(name: &str, value: bool, file: bool) -> Result<(), String> {
    let message = || format!("{name} and {name}_file exclude each other: keep one");
    if value && file { Err(message()) } else { Ok(()) }
}

fn exactly_one(name: &str, value: bool, file: bool) -> Result<(), String> {
    if !value && !file {
        return Err(format!("needs {name} or {name}_file"));
    }
    at_most_one(name, value, file)
}

fn check_root(route: &Route) -> Result<(), ConfigError> {
    let has_matchers = !route.matchers.joined(&route.equal, &route.match_re).0.is_empty();
    if route.receiver.is_none() {
        return Err(wrong("the first route needs a receiver: it takes what no other does"));
    }
    if has_matchers || route.goes_on {
        return Err(wrong("the first route takes all alerts: no matchers, no continue"));
    }
    match route.mute_time_intervals.iter().chain(&route.active_time_intervals).next() {
        Some(name) => Err(wrong_at(name, "the first route cannot be muted")),
        None => Ok(()),
    }
}

fn check_route(
    route: &Route,
    receivers: &BTreeSet<&str>,
    intervals: &BTreeSet<&str>,
    depth: usize,
) -> Result<(), ConfigError> {
    if depth > ROUTE_DEPTH_MAX {
        return Err(wrong(format!("routes are nested more than {ROUTE_DEPTH_MAX} deep")));
    }
    if let Some(receiver) = &route.receiver
        && !receivers.contains(receiver.value.as_str())
    {
        let message = format!("there is no receiver {:?}", receiver.value);
        return Err(wrong_at(receiver, message));
    }
    for name in route.mute_time_intervals.iter().chain(&route.active_time_intervals) {
        if !intervals.contains(name.value.as_str()) {
            return Err(wrong_at(name, format!("there is no time interval {:?}", name.value)));
        }
    }
    route.routes.iter().try_for_each(|child| check_route(child, receivers, intervals, depth + 1))
}
