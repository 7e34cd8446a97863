//! Alertmanager's webhook, version 4.

use std::path::PathBuf;

use httpclient::{Client, Secret};
use serde_json::Value;

use super::{Failure, LATER, Words, check_value, client, post_json, secret};
use crate::config::{self, Global};
use crate::template::Templates;

pub(super) struct Webhook {
    client: Client,
    url: Option<Secret>,
    url_file: Option<PathBuf>,
    alerts_max: usize,
    payload: Option<Value>,
}

impl Webhook {
    pub(super) fn new(
        config: &config::Webhook,
        global: &Global,
        templates: &Templates,
    ) -> Result<Webhook, String> {
        if let Some(url) = &config.url {
            templates.check(url.reveal()).map_err(|_| "url is no template".to_owned())?;
            let is_plain = !url.reveal().contains("{{");
            if is_plain && httpclient::Url::parse(url.reveal()).is_err() {
                return Err("url is no URL: write http://HOST:PORT/PATH".to_owned());
            }
        }
        config.payload.as_ref().map_or(Ok(()), |payload| check_value(templates, payload))?;
        let client =
            client(config.http_config.as_ref(), global.http_config.as_ref(), config.timeout)?;
        Ok(Webhook {
            client,
            url: config.url.clone(),
            url_file: config.url_file.clone(),
            alerts_max: config.max_alerts,
            payload: config.payload.clone(),
        })
    }

    pub(super) fn alerts_max(&self) -> usize {
        self.alerts_max
    }

    pub(super) fn send(&self, words: &Words<'_>) -> Result<(), Failure> {
        let url = secret(self.url.as_ref(), self.url_file.as_deref())?.unwrap_or_default();
        let url = words.text(&url)?;
        if url.is_empty() {
            return Err(Failure::refused("template", "the template of url gives nothing"));
        }
        let body = match &self.payload {
            Some(payload) => words.value(payload)?.to_string(),
            None => words.message.to_json(),
        };
        post_json(&self.client, &url, &body, &LATER).map(|_| ())
    }
}
