//! The ways to reach a receiver. Each sends one notification and says what became of it; when it
//! is tried again is decided elsewhere.

mod alertmanager;
mod email;
mod exec;
mod log;
mod pagerduty;
mod slack;
mod webhook;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use httpclient::{Answer, Client, HttpError, Options, Secret};
use serde_json::Value;

use crate::config::{Config, RateLimit, Receiver, Span};
use crate::data::Message;
use crate::dispatch::{Integration, Notice, Outcome};
use crate::template::Templates;

pub(crate) use alertmanager::{Batch, Outbox, Peer};

/// Longest text that is kept of an error.
const ERROR_CHARS_MAX: usize = 500;

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    /// One of few words, for counting.
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Failure {
    /// It is tried again; the receiver did not get it.
    pub(crate) fn retry(reason: &'static str, message: impl Into<String>) -> Failure {
        let outcome = Outcome::Retry { after: None, maybe_delivered: false };
        Failure { outcome, reason, message: bounded(&message.into()) }
    }

    /// It is tried again, though the receiver may have got it.
    pub(crate) fn unsure(reason: &'static str, message: impl Into<String>) -> Failure {
        let outcome = Outcome::Retry { after: None, maybe_delivered: true };
        Failure { outcome, reason, message: bounded(&message.into()) }
    }

    /// It is not tried again.
    pub(crate) fn refused(reason: &'static str, message: impl Into<String>) -> Failure {
        Failure { outcome: Outcome::Refused, reason, message: bounded(&message.into()) }
    }
}

/// One way, ready to be used.
pub(crate) struct Sender {
    pub(crate) integration: Integration,
    way: Way,
    templates: Arc<Templates>,
    external_url: String,
}

enum Way {
    Webhook(Box<webhook::Webhook>),
    Slack(Box<slack::Slack>),
    PagerDuty(Box<pagerduty::PagerDuty>),
    Email(Box<email::Email>),
    Log(log::Log),
    Exec(exec::Exec),
}

impl Sender {
    /// Sends; takes as long as its timeout.
    pub(crate) fn send(&self, notice: &Notice) -> Result<(), Failure> {
        let alerts_max =
            if let Way::Webhook(webhook) = &self.way { webhook.alerts_max() } else { 0 };
        let message = Message::new(notice, &self.external_url, alerts_max);
        let words = Words { templates: &self.templates, message: &message };
        match &self.way {
            Way::Webhook(webhook) => webhook.send(&words),
            Way::Slack(slack) => slack.send(&words),
            Way::PagerDuty(pagerduty) => pagerduty.send(&words),
            Way::Email(email) => email.send(&words),
            Way::Log(log) => log.send(&message),
            Way::Exec(exec) => exec.send(&words),
        }
    }
}

/// All ways of all receivers.
///
/// # Errors
/// Says which cannot be used, and why.
pub(crate) fn senders(
    config: &Config,
    templates: &Arc<Templates>,
    external_url: &str,
) -> Result<Vec<Sender>, String> {
    let mut all = Vec::new();
    for receiver in &config.receivers {
        let ways = ways(config, receiver, templates)
            .map_err(|message| format!("receiver {:?}: {message}", receiver.name.value))?;
        for (kind, index, send_resolved, way) in ways {
            let name = &receiver.name.value;
            let is_local = matches!(way, Way::Log(_));
            let rate = if is_local {
                RateLimit { messages: 0, ..receiver.rate_limit }
            } else {
                receiver.rate_limit
            };
            let id = format!("{name}/{kind}[{index}]");
            let integration = Integration { id, receiver: name.clone(), send_resolved, rate };
            let (templates, external_url) = (Arc::clone(templates), external_url.to_owned());
            all.push(Sender { integration, way, templates, external_url });
        }
    }
    Ok(all)
}

/// Kind, place in the list of its kind, whether ends are told, and the way itself.
type Listed = (&'static str, usize, bool, Way);

fn ways(
    config: &Config,
    receiver: &Receiver,
    templates: &Templates,
) -> Result<Vec<Listed>, String> {
    let mut all = Vec::new();
    for (index, webhook) in receiver.webhook_configs.iter().enumerate() {
        let way =
            Way::Webhook(Box::new(webhook::Webhook::new(webhook, &config.global, templates)?));
        all.push(("webhook", index, webhook.send_resolved, way));
    }
    for (index, slack) in receiver.slack_configs.iter().enumerate() {
        let way = Way::Slack(Box::new(slack::Slack::new(slack, &config.global, templates)?));
        all.push(("slack", index, slack.send_resolved, way));
    }
    for (index, pagerduty) in receiver.pagerduty_configs.iter().enumerate() {
        let way = pagerduty::PagerDuty::new(pagerduty, &config.global, templates)?;
        all.push(("pagerduty", index, pagerduty.send_resolved, Way::PagerDuty(Box::new(way))));
    }
    for (index, email) in receiver.email_configs.iter().enumerate() {
        let way = Way::Email(Box::new(email::Email::new(email, &config.global, templates)?));
        all.push(("email", index, email.send_resolved, way));
    }
    for (index, log) in receiver.log_configs.iter().enumerate() {
        all.push(("log", index, log.send_resolved, Way::Log(log::Log::new(log))));
    }
    for (index, exec) in receiver.exec_configs.iter().enumerate() {
        let way = Way::Exec(exec::Exec::new(exec, templates)?);
        all.push(("exec", index, exec.send_resolved, way));
    }
    Ok(all)
}

/// Templates and what they tell of.
pub(crate) struct Words<'a> {
    templates: &'a Templates,
    message: &'a Message,
}

impl Words<'_> {
    /// A template's text.
    fn text(&self, template: &str) -> Result<String, Failure> {
        let text = self.templates.text(template, self.message);
        text.map_err(|error| Failure::refused("template", error))
    }

    /// The same for HTML: what comes from alerts is escaped.
    fn html(&self, template: &str) -> Result<String, Failure> {
        let text = self.templates.html(template, self.message);
        text.map_err(|error| Failure::refused("template", error))
    }

    /// All texts in a value are templates; one that gives JSON other than text becomes that.
    fn value(&self, value: &Value) -> Result<Value, Failure> {
        match value {
            Value::String(template) => {
                let text = self.text(template)?;
                let read = serde_json::from_str::<Value>(&text).ok();
                Ok(read.filter(|read| !read.is_string()).unwrap_or(Value::String(text)))
            }
            Value::Array(all) => all.iter().map(|each| self.value(each)).collect(),
            Value::Object(all) => {
                let each = all.iter().map(|(key, each)| Ok((self.text(key)?, self.value(each)?)));
                each.collect::<Result<_, _>>().map(Value::Object)
            }
            other => Ok(other.clone()),
        }
    }
}

/// Checks the templates in a value.
fn check_value(templates: &Templates, value: &Value) -> Result<(), String> {
    match value {
        Value::String(template) => templates.check(template),
        Value::Array(all) => all.iter().try_for_each(|each| check_value(templates, each)),
        Value::Object(all) => all.values().try_for_each(|each| check_value(templates, each)),
        _ => Ok(()),
    }
}

/// A client for a block, or for the global one where it has none.
fn client(
    own: Option<&Options>,
    global: Option<&Options>,
    timeout: Span,
) -> Result<Client, String> {
    let options = own.or(global).cloned().unwrap_or_default();
    let timeout = if timeout.0.is_zero() { Duration::from_secs(60) } else { timeout.0 };
    Client::new(&options, timeout).map_err(|error| error.to_string())
}

/// Sends JSON; `retried` are statuses below 500 that are worth another attempt.
fn post_json(client: &Client, url: &str, body: &str, retried: &[u16]) -> Result<Answer, Failure> {
    post_json_with(client, url, body, retried, &[])
}

/// The same with more headers.
fn post_json_with(
    client: &Client,
    url: &str,
    body: &str,
    retried: &[u16],
    more: &[(&str, &str)],
) -> Result<Answer, Failure> {
    let mut headers = vec![("Content-Type", "application/json")];
    headers.extend(more);
    let answer = client.send("POST", url, &headers, body.as_bytes()).map_err(failed_exchange)?;
    if (200..300).contains(&answer.status) {
        return Ok(answer);
    }
    let message = format!("status {}: {}", answer.status, answer.first_line());
    let after = answer.retry_after(SystemTime::now());
    let reason = match answer.status {
        401 | 403 => "auth",
        429 => "rate_limited",
        400..500 => "client_error",
        500..600 => "server_error",
        _ => "other",
    };
    let is_retried = answer.status >= 500 || retried.contains(&answer.status);
    let outcome = if is_retried {
        Outcome::Retry { after, maybe_delivered: false }
    } else {
        Outcome::Refused
    };
    Err(Failure { outcome, reason, message: bounded(&message) })
}

/// Statuses below 500 that say "later": 408, 425 and 429.
const LATER: [u16; 3] = [408, 425, 429];

/// There was no answer. Addresses may be secrets, so they are left out.
fn failed_exchange(error: HttpError) -> Failure {
    match error {
        HttpError::Exchange { message, is_timeout: true, .. } => {
            Failure::unsure("timeout", message)
        }
        HttpError::Exchange { message, .. } => {
            // These say that no connection was made; after others the request may have arrived.
            let is_unmade = ["refused", "lookup", "resolve", "unreachable", "No route", "dns"];
            if is_unmade.iter().any(|words| message.contains(words)) {
                Failure::retry("connection", message)
            } else {
                Failure::unsure("connection", message)
            }
        }
        HttpError::Token { message, .. } => {
            Failure::retry("auth", format!("no OAuth 2 token: {message}"))
        }
        // The file may be there again in a moment, as when a secret is rotated.
        other => Failure::retry("config", other.to_string()),
    }
}

/// A secret that may lie in a file; files are read at each use.
fn secret(value: Option<&Secret>, file: Option<&Path>) -> Result<Option<String>, Failure> {
    if let Some(value) = value {
        return Ok(Some(value.reveal().to_owned()));
    }
    let Some(path) = file else { return Ok(None) };
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) => {
            Err(Failure::retry("config", format!("cannot read {}: {error}", path.display())))
        }
    }
}

/// Cuts a text after so many letters.
fn truncated(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

fn bounded(text: &str) -> String {
    truncated(text, ERROR_CHARS_MAX)
}
