//! Who is told, and how: the `*_configs` of a receiver. The keys are Alertmanager's; `log_configs`
//! and `exec_configs` are ours.

use std::collections::BTreeMap;
use std::path::PathBuf;

use httpclient::{Options, Secret, TlsOptions, Url};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::fields::{HostPort, Span};

/// A name with ways to reach it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// Name, for routes.
    pub name: Spanned<String>,
    /// Accepted as Alertmanager has it; nothing depends on it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// At most so many messages a while from each of the ways below.
    #[serde(default)]
    pub rate_limit: RateLimit,
    /// Alertmanager's webhook, version 4.
    #[serde(default)]
    pub webhook_configs: Vec<Webhook>,
    /// Slack, by incoming webhook or `chat.postMessage`.
    #[serde(default)]
    pub slack_configs: Vec<Slack>,
    /// PagerDuty, Events API version 2.
    #[serde(default)]
    pub pagerduty_configs: Vec<PagerDuty>,
    /// Mail.
    #[serde(default)]
    pub email_configs: Vec<Email>,
    /// A file with a JSON object a line.
    #[serde(default)]
    pub log_configs: Vec<Log>,
    /// A program that is started.
    #[serde(default)]
    pub exec_configs: Vec<Exec>,
}

/// A backstop against storms.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimit {
    /// So many.
    pub messages: u32,
    /// In this long.
    pub per: Span,
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit { messages: 60, per: Span::seconds(600) }
    }
}

/// A webhook.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Tell of the end, too.
    #[serde(default = "httpclient::yes")]
    pub send_resolved: bool,
    /// Where; a template.
    #[serde(default)]
    pub url: Option<Secret>,
    /// Holds where.
    #[serde(default)]
    pub url_file: Option<PathBuf>,
    /// No more alerts in one message; 0 is any number.
    #[serde(default)]
    pub max_alerts: usize,
    /// For the request.
    #[serde(default = "request_timeout")]
    pub timeout: Span,
    /// Sent instead of Alertmanager's payload; each text in it is a template.
    #[serde(default)]
    pub payload: Option<serde_json::Value>,
    /// How to ask.
    #[serde(default)]
    pub http_config: Option<Options>,
}

fn request_timeout() -> Span {
    Span::seconds(10)
}

/// Slack. All texts are templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Slack {
    /// Tell of the end, too.
    pub send_resolved: bool,
    /// Incoming webhook, or `https://slack.com/api/chat.postMessage`.
    pub api_url: Option<Secret>,
    /// Holds it.
    pub api_url_file: Option<PathBuf>,
    /// Token of an app, for `chat.postMessage`.
    pub app_token: Option<Secret>,
    /// Holds it.
    pub app_token_file: Option<PathBuf>,
    /// Where apps post.
    pub app_url: Option<Url>,
    /// `#channel` or `@user`.
    pub channel: String,
    /// Who it comes from.
    pub username: String,
    /// Bar beside the message.
    pub color: String,
    /// Heading.
    pub title: String,
    /// What the heading links to.
    pub title_link: String,
    /// Above the attachment.
    pub pretext: String,
    /// The message.
    pub text: String,
    /// Text outside the attachment.
    pub message_text: String,
    /// Small table.
    pub fields: Vec<SlackField>,
    /// Fields lie side by side unless they say otherwise.
    pub short_fields: bool,
    /// Below.
    pub footer: String,
    /// For notifications that show no attachment.
    pub fallback: String,
    /// For actions.
    pub callback_id: String,
    /// Emoji as icon.
    pub icon_emoji: String,
    /// Picture as icon.
    pub icon_url: String,
    /// A picture.
    pub image_url: String,
    /// A small one.
    pub thumb_url: String,
    /// Make names links.
    pub link_names: bool,
    /// Where markdown is read.
    pub mrkdwn_in: Vec<String>,
    /// Buttons.
    pub actions: Vec<SlackAction>,
    /// Refused when true: messages are not edited.
    pub update_message: bool,
    /// For the request.
    pub timeout: Span,
    /// How to ask.
    pub http_config: Option<Options>,
}

/// The name of a default template, as a use of it.
fn named(name: &str) -> String {
    format!("{{{{ template \"{name}\" . }}}}")
}

impl Default for Slack {
    fn default() -> Slack {
        let slack = |part: &str| named(&format!("slack.default.{part}"));
        Slack {
            send_resolved: false,
            api_url: None,
            api_url_file: None,
            app_token: None,
            app_token_file: None,
            app_url: None,
            channel: String::new(),
            username: slack("username"),
            color: slack("color"),
            title: slack("title"),
            title_link: slack("titlelink"),
            pretext: slack("pretext"),
            text: slack("text"),
            message_text: String::new(),
            fields: Vec::new(),
            short_fields: false,
            footer: slack("footer"),
            fallback: slack("fallback"),
            callback_id: slack("callbackid"),
            icon_emoji: slack("iconemoji"),
            icon_url: slack("iconurl"),
            image_url: String::new(),
            thumb_url: String::new(),
            link_names: false,
            mrkdwn_in: Vec::new(),
            actions: Vec::new(),
            update_message: false,
            timeout: request_timeout(),
            http_config: None,
        }
    }
}

/// A line of Slack's table.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlackField {
    /// Heading.
    pub title: String,
    /// Text.
    pub value: String,
    /// Fits beside another.
    #[serde(default)]
    pub short: Option<bool>,
}

/// A button.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlackAction {
    /// `button`.
    #[serde(rename = "type")]
    pub kind: String,
    /// On it.
    pub text: String,
    /// Opens this.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// `primary` or `danger`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub style: String,
    /// For a program that hears of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it hears.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// Asks first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<SlackConfirmation>,
}

/// The question before an action.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SlackConfirmation {
    /// The question.
    pub text: String,
    /// Above it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// On the button that goes on.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub ok_text: String,
    /// On the other.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dismiss_text: String,
}

/// PagerDuty. All texts are templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerDuty {
    /// Close the incident at the end.
    pub send_resolved: bool,
    /// Integration key.
    pub routing_key: Option<Secret>,
    /// Holds it.
    pub routing_key_file: Option<PathBuf>,
    /// Where.
    pub url: Option<Url>,
    /// Who says so.
    pub client: String,
    /// Link to who says so.
    pub client_url: String,
    /// One line.
    pub description: String,
    /// More.
    pub details: BTreeMap<String, serde_json::Value>,
    /// Pictures.
    pub images: Vec<PagerDutyImage>,
    /// Links.
    pub links: Vec<PagerDutyLink>,
    /// What is affected; the client unless said.
    pub source: String,
    /// `critical`, `error`, `warning` or `info`.
    pub severity: String,
    /// Kind of event.
    pub class: String,
    /// Part that is affected.
    pub component: String,
    /// Group of parts.
    pub group: String,
    /// For the request.
    pub timeout: Span,
    /// How to ask.
    pub http_config: Option<Options>,
}

impl Default for PagerDuty {
    fn default() -> PagerDuty {
        let pagerduty = |part: &str| named(&format!("pagerduty.default.{part}"));
        PagerDuty {
            send_resolved: true,
            routing_key: None,
            routing_key_file: None,
            url: None,
            client: pagerduty("client"),
            client_url: pagerduty("clientURL"),
            description: pagerduty("description"),
            details: BTreeMap::new(),
            images: Vec::new(),
            links: Vec::new(),
            source: String::new(),
            severity: pagerduty("severity"),
            class: String::new(),
            component: String::new(),
            group: String::new(),
            timeout: request_timeout(),
            http_config: None,
        }
    }
}

impl PagerDuty {
    /// Details that are there unless replaced, as in Alertmanager.
    pub(crate) const DETAILS: [(&str, &str); 4] = [
        ("firing", "{{ template \"pagerduty.default.instances\" .Alerts.Firing }}"),
        ("resolved", "{{ template \"pagerduty.default.instances\" .Alerts.Resolved }}"),
        ("num_firing", "{{ .Alerts.Firing | len }}"),
        ("num_resolved", "{{ .Alerts.Resolved | len }}"),
    ];
}

/// A picture in an incident.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerDutyImage {
    /// Its address.
    pub src: String,
    /// Instead of it.
    pub alt: String,
    /// What it links to.
    pub href: String,
}

/// A link in an incident.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerDutyLink {
    /// Where to.
    pub href: String,
    /// Words.
    pub text: String,
}

/// Mail. Addresses, headers and texts are templates.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Email {
    /// Tell of the end, too.
    pub send_resolved: bool,
    /// To whom; several with commas.
    pub to: String,
    /// From whom.
    pub from: Option<String>,
    /// Mail server.
    pub smarthost: Option<HostPort>,
    /// What we call ourselves.
    pub hello: Option<String>,
    /// User.
    pub auth_username: Option<String>,
    /// Password.
    pub auth_password: Option<Secret>,
    /// Holds it.
    pub auth_password_file: Option<PathBuf>,
    /// Refused: CRAM-MD5 is not spoken.
    pub auth_secret: Option<Secret>,
    /// Refused: CRAM-MD5 is not spoken.
    pub auth_secret_file: Option<PathBuf>,
    /// Refused when it differs from the user.
    pub auth_identity: Option<String>,
    /// More headers, or others.
    pub headers: BTreeMap<String, String>,
    /// The HTML part; empty for none.
    pub html: String,
    /// The text part; empty for none.
    pub text: String,
    /// Refuse servers without STARTTLS.
    pub require_tls: Option<bool>,
    /// TLS from the first byte; on port 465 unless said.
    pub force_implicit_tls: Option<bool>,
    /// What TLS trusts and presents.
    #[serde(deserialize_with = "httpclient::checked")]
    pub tls_config: Option<TlsOptions>,
    /// One thread a group.
    pub threading: Threading,
    /// For connecting and for each answer.
    pub timeout: Span,
}

impl Default for Email {
    fn default() -> Email {
        Email {
            send_resolved: false,
            to: String::new(),
            from: None,
            smarthost: None,
            hello: None,
            auth_username: None,
            auth_password: None,
            auth_password_file: None,
            auth_secret: None,
            auth_secret_file: None,
            auth_identity: None,
            headers: BTreeMap::new(),
            html: named("email.default.html"),
            text: named("email.default.text"),
            require_tls: None,
            force_implicit_tls: None,
            tls_config: None,
            threading: Threading::default(),
            timeout: Span::seconds(30),
        }
    }
}

/// How mails of a group belong together.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Threading {
    /// They do.
    pub enabled: bool,
    /// A new thread each day, or never.
    pub thread_by_date: ThreadBy,
}

/// When a new thread begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThreadBy {
    /// Each day.
    #[default]
    Daily,
    /// Never.
    None,
}

/// A file that gets one JSON object a line, the payload of the webhook.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// Tell of the end, too.
    #[serde(default = "httpclient::yes")]
    pub send_resolved: bool,
    /// Which.
    pub path: PathBuf,
    /// Renamed to `PATH.1` above this.
    #[serde(default = "log_bytes_max")]
    pub bytes_max: u64,
    /// So many old ones are kept.
    #[serde(default = "log_files_max")]
    pub files_max: u32,
}

fn log_bytes_max() -> u64 {
    10 << 20
}

fn log_files_max() -> u32 {
    3
}

/// A program, started without a shell; the webhook's payload is its input.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// Tell of the end, too.
    #[serde(default = "httpclient::yes")]
    pub send_resolved: bool,
    /// Program and arguments; arguments are templates, the program is not.
    #[serde(deserialize_with = "command")]
    pub command: Vec<String>,
    /// Beside the few variables it gets.
    #[serde(default)]
    pub env: BTreeMap<String, Secret>,
    /// Killed with all it started after this.
    #[serde(default = "exec_timeout")]
    pub timeout: Span,
}

fn exec_timeout() -> Span {
    Span::seconds(60)
}

fn command<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    let words = Vec::<String>::deserialize(from)?;
    match words.first() {
        Some(program) if program.contains("{{") => {
            Err(D::Error::custom("the program is no template: only arguments are"))
        }
        Some(program) if !program.is_empty() => Ok(words),
        _ => Err(D::Error::custom("command names no program: write [/usr/bin/program, argument]")),
    }
}

httpclient::with_http_options! {
    /// Alertmanagers, as in prometheus.yml.
    #[derive(Clone, Debug, Deserialize)]
    pub struct Alertmanagers {
        /// `http` or `https`.
        #[serde(default = "http")]
        pub scheme: String,
        /// Before `/api/v2/alerts`.
        #[serde(default)]
        pub path_prefix: String,
        /// Only `v2` is there.
        #[serde(default)]
        pub api_version: Option<Spanned<String>>,
        /// For the request.
        #[serde(default = "request_timeout")]
        pub timeout: Span,
        /// Which; each of them gets every alert.
        #[serde(default)]
        pub static_configs: Vec<StaticConfig>,
    }
}

fn http() -> String {
    "http".to_owned()
}

/// Addresses.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticConfig {
    /// `host:port`.
    pub targets: Vec<Spanned<String>>,
    /// Accepted as Prometheus has it; nothing depends on it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}
