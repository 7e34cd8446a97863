//! OAuth 2 tokens by client credentials.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::client::{Client, basic};
use crate::error::HttpError;
use crate::options::{OAuth2, Options};
use crate::secret::value_or_file;
use crate::url::redacted;

/// A token is fetched anew this long before it expires.
const MARGIN: Duration = Duration::from_secs(10);

/// Fetches tokens and keeps the last one.
pub(crate) struct Tokens {
    options: OAuth2,
    client: Client,
    last: Mutex<Option<Token>>,
}

struct Token {
    header: String,
    secret: String,
    /// `None` when it was not said.
    expires: Option<Instant>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    token_type: String,
    /// Some servers write it as a string.
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl Tokens {
    pub(crate) fn new(options: &OAuth2, timeout: Duration) -> Result<Tokens, HttpError> {
        let http = Options {
            tls_config: options.tls_config.clone(),
            proxy_url: options.proxy_url.clone(),
            no_proxy: options.no_proxy.clone(),
            proxy_from_environment: options.proxy_from_environment,
            proxy_connect_header: options.proxy_connect_header.clone(),
            ..Options::default()
        };
        let client = Client::new(&http, timeout)?;
        Ok(Tokens { options: options.clone(), client, last: Mutex::new(None) })
    }

    /// `TYPE TOKEN`, fetched when the last one expired or our secret changed.
    pub(crate) fn header(&self) -> Result<String, HttpError> {
        let secret = value_or_file(
            self.options.client_secret.as_ref(),
            self.options.client_secret_file.as_deref(),
        )?;
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_good = |token: &&Token| {
            let lives = token.expires.is_none_or(|expires| Instant::now() + MARGIN < expires);
            lives && token.secret == secret
        };
        if let Some(token) = last.as_ref().filter(is_good) {
            return Ok(token.header.clone());
        }
        let token = self.fetch(secret)?;
        let header = token.header.clone();
        *last = Some(token);
        Ok(header)
    }

    /// The server refused the token: the next request needs another.
    pub(crate) fn forget(&self) {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
    }

    /// Servers want our id in the header or in the form; the header is tried first, as Go does.
    fn fetch(&self, secret: String) -> Result<Token, HttpError> {
        let url = self.options.token_url.as_str();
        let fail = |message: String| HttpError::Token { url: redacted(url), message };
        let mut form = vec![("grant_type", "client_credentials")];
        let scopes = self.options.scopes.join(" ");
        if !scopes.is_empty() {
            form.push(("scope", &scopes));
        }
        let more = self.options.endpoint_params.iter();
        form.extend(more.map(|(name, value)| (name.as_str(), value.as_str())));
        let identity = basic(&escape(&self.options.client_id), &escape(&secret));
        let content = ("Content-Type", "application/x-www-form-urlencoded");
        let headers = [content, ("Authorization", identity.as_str())];
        let mut answer = self.client.send("POST", url, &headers, encode(&form).as_bytes())?;
        if (400..500).contains(&answer.status) {
            form.extend([("client_id", self.options.client_id.as_str())]);
            form.extend([("client_secret", secret.as_str())]);
            answer = self.client.send("POST", url, &[content], encode(&form).as_bytes())?;
        }
        if !(200..300).contains(&answer.status) {
            return Err(fail(format!("it answered {}: {}", answer.status, answer.first_line())));
        }
        let token: TokenAnswer = serde_json::from_slice(&answer.body)
            .map_err(|error| fail(format!("its answer is no token: {error}")))?;
        let kind = match token.token_type.to_lowercase().as_str() {
            "" | "bearer" => "Bearer",
            _ => token.token_type.as_str(),
        };
        let header = format!("{kind} {}", token.access_token);
        let seconds = token.expires_in.and_then(|value| match value {
            serde_json::Value::String(text) => text.parse::<f64>().ok(),
            value => value.as_f64(),
        });
        let seconds = seconds.filter(|seconds| *seconds > 0.0);
        let lifetime = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let expires = lifetime.and_then(|lifetime| Instant::now().checked_add(lifetime));
        Ok(Token { header, secret, expires })
    }
}

fn encode(form: &[(&str, &str)]) -> String {
    let pairs: Vec<String> =
        form.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.join("&")
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}
