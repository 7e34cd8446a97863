//! PagerDuty, Events API version 2.

use httpclient::Client;
use serde_json::{Map, Value, json};

use super::{Failure, Words, check_value, client, post_json, secret, truncated};
use crate::config::{self, Global};
use crate::data::RESOLVED;
use crate::template::Templates;

const ENQUEUE: &str = "https://events.pagerduty.com/v2/enqueue";
/// Longer summaries are refused.
const SUMMARY_CHARS_MAX: usize = 1024;
/// Larger events are refused.
const EVENT_BYTES_MAX: usize = 512_000;
const SEVERITIES: [&str; 4] = ["critical", "error", "warning", "info"];

pub(super) struct PagerDuty {
    client: Client,
    config: config::PagerDuty,
}

impl PagerDuty {
    pub(super) fn new(
        config: &config::PagerDuty,
        global: &Global,
        templates: &Templates,
    ) -> Result<PagerDuty, String> {
        let mut config = config.clone();
        config.url = config.url.or_else(|| global.pagerduty_url.clone());
        if config.source.is_empty() {
            config.source.clone_from(&config.client);
        }
        for (name, template) in config::PagerDuty::DETAILS {
            let template = || Value::String(template.to_owned());
            config.details.entry(name.to_owned()).or_insert_with(template);
        }
        let links = config.links.iter().flat_map(|link| [&link.href, &link.text]);
        let images = config.images.iter().flat_map(|image| [&image.src, &image.alt, &image.href]);
        let texts = [
            &config.client,
            &config.client_url,
            &config.description,
            &config.source,
            &config.severity,
            &config.class,
            &config.component,
            &config.group,
        ];
        texts.into_iter().chain(links).chain(images).try_for_each(|text| templates.check(text))?;
        config.details.values().try_for_each(|value| check_value(templates, value))?;
        let client =
            client(config.http_config.as_ref(), global.http_config.as_ref(), config.timeout)?;
        Ok(PagerDuty { client, config })
    }

    pub(super) fn send(&self, words: &Words<'_>) -> Result<(), Failure> {
        let config = &self.config;
        let key = secret(config.routing_key.as_ref(), config.routing_key_file.as_deref())?;
        let key = words.text(&key.unwrap_or_default())?;
        if key.is_empty() {
            return Err(Failure::refused("config", "the routing key is empty"));
        }
        let mut event = self.event(words)?;
        event["routing_key"] = Value::String(key);
        let mut body = event.to_string();
        if body.len() > EVENT_BYTES_MAX {
            let words = "left out: the event was larger than PagerDuty takes";
            event["payload"]["custom_details"] = json!({ "error": words });
            body = event.to_string();
        }
        let url = config.url.as_ref().map_or(ENQUEUE, |url| url.as_str());
        post_json(&self.client, url, &body, &[429]).map(|_| ())
    }

    fn event(&self, words: &Words<'_>) -> Result<Value, Failure> {
        let config = &self.config;
        let is_over = words.message.status == RESOLVED;
        let severity = words.text(&config.severity)?;
        // One that PagerDuty does not know would have it refuse the event.
        let severity =
            if SEVERITIES.contains(&severity.as_str()) { severity } else { "error".into() };
        let mut payload = json!({
            "summary": truncated(&words.text(&config.description)?, SUMMARY_CHARS_MAX),
            "source": words.text(&config.source)?,
            "severity": severity,
            "custom_details": self.details(words)?,
        });
        let since = words.message.alerts.iter().filter_map(|alert| alert.starts_at).min();
        if let Some(since) = since {
            payload["timestamp"] = Value::String(crate::alert::rfc3339(since));
        }
        let more =
            [("class", &config.class), ("component", &config.component), ("group", &config.group)];
        for (name, template) in more {
            let text = words.text(template)?;
            if !text.is_empty() {
                payload[name] = Value::String(text);
            }
        }
        Ok(json!({
            "event_action": if is_over { "resolve" } else { "trigger" },
            "dedup_key": dedup_key(&words.message.group_key),
            "client": words.text(&config.client)?,
            "client_url": words.text(&config.client_url)?,
            "links": self.links(words)?,
            "images": self.images(words)?,
            "payload": payload,
        }))
    }

    fn details(&self, words: &Words<'_>) -> Result<Value, Failure> {
        let each = self.config.details.iter();
        let each = each.map(|(name, value)| Ok((name.clone(), words.value(value)?)));
        each.collect::<Result<Map<String, Value>, Failure>>().map(Value::Object)
    }

    /// Those of the configuration, and the pages of the alerts.
    fn links(&self, words: &Words<'_>) -> Result<Vec<Value>, Failure> {
        let mut links = Vec::new();
        for link in &self.config.links {
            let [href, text] = [words.text(&link.href)?, words.text(&link.text)?];
            if !href.is_empty() {
                links.push(json!({"href": href, "text": text}));
            }
        }
        for alert in &words.message.alerts {
            let link = alert.annotations.get("link").filter(|link| link.starts_with("http"));
            let name = alert.labels.get(crate::alert::ALERT_NAME).unwrap_or("page");
            let entry = link.map(|link| json!({"href": link, "text": name}));
            links.extend(entry.filter(|entry| !links.contains(entry)));
        }
        links.truncate(20);
        Ok(links)
    }

    fn images(&self, words: &Words<'_>) -> Result<Vec<Value>, Failure> {
        let mut images = Vec::new();
        for image in &self.config.images {
            let src = words.text(&image.src)?;
            if !src.is_empty() {
                let [alt, href] = [words.text(&image.alt)?, words.text(&image.href)?];
                images.push(json!({"src": src, "alt": alt, "href": href}));
            }
        }
        Ok(images)
    }
}

/// The same incident for the same group, as Alertmanager names it: the hash of the group's key.
fn dedup_key(group_key: &str) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, group_key.as_bytes());
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn incidents_are_named_by_sha_256() {
        // printf '{}:{alertname="x"}' | sha256sum
        let expected = "4531b49edda6b5770e158b8375c72fdfa0dba5677b75ed0ba99dc37f85411244";
        assert_eq!(super::dedup_key("{}:{alertname=\"x\"}"), expected);
    }
}
