//! Slack: incoming webhooks and `chat.postMessage`.

use httpclient::Client;
use serde_json::{Value, json};

use super::{Failure, Words, client, post_json, secret, truncated};
use crate::config::{self, Global, SlackAction, SlackConfirmation};
use crate::template::Templates;

/// Slack cuts longer titles.
const TITLE_CHARS_MAX: usize = 1024;
const POST_MESSAGE: &str = "https://slack.com/api/chat.postMessage";
/// What Slack answers when it is worth trying again.
const PASSING_ERRORS: [&str; 5] =
    ["ratelimited", "rate_limited", "internal_error", "service_unavailable", "fatal_error"];

pub(super) struct Slack {
    client: Client,
    config: config::Slack,
}

impl Slack {
    pub(super) fn new(
        config: &config::Slack,
        global: &Global,
        templates: &Templates,
    ) -> Result<Slack, String> {
        let mut config = config.clone();
        let has_own = config.api_url.is_some() || config.api_url_file.is_some();
        let has_own_app = config.app_token.is_some() || config.app_token_file.is_some();
        if !has_own && !has_own_app {
            config.app_token.clone_from(&global.slack_app_token);
            config.app_token_file.clone_from(&global.slack_app_token_file);
            config.api_url.clone_from(&global.slack_api_url);
            config.api_url_file.clone_from(&global.slack_api_url_file);
        }
        config.app_url = config.app_url.or_else(|| global.slack_app_url.clone());
        config.texts().into_iter().try_for_each(|text| templates.check(text))?;
        if let Some(url) = &config.api_url
            && httpclient::Url::parse(url.reveal()).is_err()
        {
            return Err("api_url is no URL: write https://hooks.slack.com/services/...".to_owned());
        }
        let client =
            client(config.http_config.as_ref(), global.http_config.as_ref(), config.timeout)?;
        Ok(Slack { client, config })
    }

    pub(super) fn send(&self, words: &Words<'_>) -> Result<(), Failure> {
        let body = self.body(words)?.to_string();
        let config = &self.config;
        let token = secret(config.app_token.as_ref(), config.app_token_file.as_deref())?;
        let answer = match token {
            Some(token) => {
                let url = config.app_url.as_ref().map_or(POST_MESSAGE, |url| url.as_str());
                self.post_with_token(url, &token, &body)?
            }
            None => {
                let url = secret(config.api_url.as_ref(), config.api_url_file.as_deref())?;
                post_json(&self.client, &url.unwrap_or_default(), &body, &super::LATER)?
            }
        };
        understood(&answer, &config.channel)
    }

    fn post_with_token(
        &self,
        url: &str,
        token: &str,
        body: &str,
    ) -> Result<httpclient::Answer, Failure> {
        super::post_json_with(
            &self.client,
            url,
            body,
            &super::LATER,
            &[("Authorization", &format!("Bearer {token}"))],
        )
    }

    fn body(&self, words: &Words<'_>) -> Result<Value, Failure> {
        let config = &self.config;
        let markdown: Vec<String> = if config.mrkdwn_in.is_empty() {
            ["fallback", "pretext", "text"].map(str::to_owned).to_vec()
        } else {
            config.mrkdwn_in.clone()
        };
        let mut attachment = json!({
            "title": truncated(&words.text(&config.title)?, TITLE_CHARS_MAX),
            "title_link": words.text(&config.title_link)?,
            "pretext": words.text(&config.pretext)?,
            "text": words.text(&config.text)?,
            "fallback": words.text(&config.fallback)?,
            "callback_id": words.text(&config.callback_id)?,
            "footer": words.text(&config.footer)?,
            "color": words.text(&config.color)?,
            "mrkdwn_in": markdown,
        });
        let pictures = [("image_url", &config.image_url), ("thumb_url", &config.thumb_url)];
        for (name, template) in pictures.into_iter().filter(|(_, template)| !template.is_empty()) {
            attachment[name] = Value::String(words.text(template)?);
        }
        let fields = config.fields.iter().map(|field| {
            let short = field.short.unwrap_or(config.short_fields);
            let [title, value] = [words.text(&field.title)?, words.text(&field.value)?];
            Ok(json!({"title": title, "value": value, "short": short}))
        });
        let fields = fields.collect::<Result<Vec<Value>, Failure>>()?;
        if !fields.is_empty() {
            attachment["fields"] = Value::Array(fields);
        }
        let actions = config.actions.iter().map(|action| self.action(words, action));
        let actions = actions.collect::<Result<Vec<Value>, Failure>>()?;
        if !actions.is_empty() {
            attachment["actions"] = Value::Array(actions);
        }
        let mut body = json!({"attachments": [attachment]});
        let texts = [
            ("channel", &config.channel),
            ("username", &config.username),
            ("icon_emoji", &config.icon_emoji),
            ("icon_url", &config.icon_url),
            ("text", &config.message_text),
        ];
        for (name, template) in texts {
            let text = words.text(template)?;
            if !text.is_empty() {
                body[name] = Value::String(text);
            }
        }
        if config.link_names {
            body["link_names"] = Value::Bool(true);
        }
        Ok(body)
    }

    fn action(&self, words: &Words<'_>, action: &SlackAction) -> Result<Value, Failure> {
        let text = |template: &String| words.text(template);
        let is_link = !action.url.is_empty();
        let confirm = action.confirm.as_ref().filter(|_| !is_link).map(|confirm| {
            Ok(SlackConfirmation {
                text: text(&confirm.text)?,
                title: text(&confirm.title)?,
                ok_text: text(&confirm.ok_text)?,
                dismiss_text: text(&confirm.dismiss_text)?,
            })
        });
        let action = SlackAction {
            kind: text(&action.kind)?,
            text: text(&action.text)?,
            url: text(&action.url)?,
            style: text(&action.style)?,
            name: if is_link { String::new() } else { text(&action.name)? },
            value: if is_link { String::new() } else { text(&action.value)? },
            confirm: confirm.transpose()?,
        };
        Ok(serde_json::to_value(action).unwrap_or_default())
    }
}

impl config::Slack {
    /// All that are templates.
    fn texts(&self) -> Vec<&str> {
        let mut all = vec![
            &self.channel,
            &self.username,
            &self.color,
            &self.title,
            &self.title_link,
            &self.pretext,
            &self.text,
            &self.message_text,
            &self.footer,
            &self.fallback,
            &self.callback_id,
            &self.icon_emoji,
            &self.icon_url,
            &self.image_url,
            &self.thumb_url,
        ];
        all.extend(self.fields.iter().flat_map(|field| [&field.title, &field.value]));
        all.extend(self.actions.iter().flat_map(|action| {
            [&action.kind, &action.text, &action.url, &action.style, &action.name, &action.value]
        }));
        all.into_iter().map(String::as_str).collect()
    }
}

/// Slack says with status 200 that it did not take a message.
fn understood(answer: &httpclient::Answer, channel: &str) -> Result<(), Failure> {
    let is_json =
        answer.header("Content-Type").is_some_and(|kind| kind.starts_with("application/json"));
    let error = if is_json {
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            return Err(Failure::unsure("other", format!("no JSON: {}", answer.first_line())));
        };
        if body["ok"] == Value::Bool(true) {
            return Ok(());
        }
        body["error"].as_str().unwrap_or("no error named").to_owned()
    } else if answer.body == b"ok" {
        return Ok(());
    } else {
        answer.first_line()
    };
    let message = format!("channel {channel:?}: Slack answers {error}");
    if PASSING_ERRORS.contains(&error.as_str()) {
        Err(Failure::retry("rate_limited", message))
    } else {
        Err(Failure::refused("client_error", message))
    }
}
