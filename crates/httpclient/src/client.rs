//! Sends requests as the options say.

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use ureq::http::{Request, Response, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, AsSendBody, Body};

use crate::answer::Answer;
use crate::error::HttpError;
use crate::oauth::Tokens;
use crate::options::{Options, ProxyOptions};
use crate::proxy;
use crate::tls::Pems;
use crate::url::{Url, join, redacted, split_user};

const USER_AGENT: &str = concat!("memsight/", env!("CARGO_PKG_VERSION"));
/// A page of a million series is about this large.
const BODY_MAX: u64 = 256 << 20;
const REDIRECTS_MAX: usize = 10;
const IDLE_CONNECTIONS_MAX: usize = 64;

/// An HTTP client; threads may share it.
pub struct Client {
    options: Options,
    timeout: Duration,
    body_max: u64,
    tokens: Option<Box<Tokens>>,
    /// The connections of last time, and what they were made for.
    agent: Mutex<Option<(Wanted, Agent)>>,
}

/// What connections depend on besides their address.
#[derive(Clone, PartialEq)]
struct Wanted {
    proxy: Option<String>,
    pems: Pems,
    /// The real host, where the address has the name of its certificate instead.
    renamed: Option<(String, String)>,
}

impl Client {
    /// A client whose requests take at most `timeout`, redirects and body included.
    ///
    /// # Errors
    /// When the options contradict each other or cannot be fulfilled.
    pub fn new(options: &Options, timeout: Duration) -> Result<Client, HttpError> {
        options.check()?;
        if let Some(proxy) = &options.proxy_url {
            proxy::build(proxy.as_str())?;
        }
        let tokens = options.oauth2.as_ref().map(|oauth2| Tokens::new(oauth2, timeout));
        Ok(Client {
            options: options.clone(),
            timeout,
            body_max: BODY_MAX,
            tokens: tokens.transpose()?.map(Box::new),
            agent: Mutex::new(None),
        })
    }

    /// The same, but an answer larger than this is an error.
    pub fn with_body_max(self, body_max: u64) -> Client {
        Client { body_max, ..self }
    }

    /// Sends a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// When nobody answers in time, or a secret cannot be read.
    pub fn send(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, HttpError> {
        let (mut url, user) = split_user(url);
        let first_host = host_of(&url);
        let authorization = self.authorization(user.as_ref())?;
        let (mut method, mut body) = (method, body);
        for _ in 0..=REDIRECTS_MAX {
            // Secrets are for the host they were meant for.
            let authorization = authorization.as_deref().filter(|_| host_of(&url) == first_host);
            let answer = self.once(method, &url, headers, authorization, body)?;
            let is_redirect = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            let location = answer.header("Location").filter(|_| is_redirect);
            let Some(location) = location.filter(|_| self.options.follow_redirects) else {
                if answer.status == 401 {
                    self.tokens.iter().for_each(|tokens| tokens.forget());
                }
                return Ok(answer);
            };
            // Only 303 asks for GET. Browsers use it after 301 and 302, too; what is posted
            // would be lost.
            if answer.status == 303 {
                (method, body) = ("GET", &[]);
            }
            (url, _) = split_user(&join(&url, location));
        }
        Err(exchange(&url, format!("more than {REDIRECTS_MAX} redirects"), false))
    }

    fn authorization(&self, user: Option<&(String, String)>) -> Result<Option<String>, HttpError> {
        let options = &self.options;
        if let Some(basic_auth) = &options.basic_auth {
            return basic_auth.header().map(Some);
        }
        if let Some(authorization) = &options.authorization {
            return authorization.header().map(Some);
        }
        if let Some(tokens) = &self.tokens {
            return tokens.header().map(Some);
        }
        if options.bearer_token.is_some() || options.bearer_token_file.is_some() {
            let file = options.bearer_token_file.as_deref();
            let token = crate::secret::value_or_file(options.bearer_token.as_ref(), file)?;
            return Ok(Some(format!("Bearer {token}")));
        }
        Ok(user.map(|(user, password)| basic(user, password)))
    }

    fn once(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        authorization: Option<&str>,
        body: &[u8],
    ) -> Result<Answer, HttpError> {
        let wanted = self.wanted(url)?;
        let agent = self.agent(&wanted)?;
        let mut request = Request::builder().method(method).uri(url);
        if let Some((real, name)) = &wanted.renamed {
            let host = Url::parse(url).map(|url| url.authority().to_owned()).unwrap_or_default();
            request = request.uri(replace_host(url, real, name)).header("Host", host);
        }
        for (name, header) in &self.options.http_headers {
            for value in header.values.iter() {
                request = request.header(name, value);
            }
            for value in header.secrets.iter() {
                request = request.header(name, value.reveal());
            }
            for file in header.files.iter() {
                request = request.header(name, crate::secret::read_text(file)?.trim());
            }
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(authorization) = authorization {
            request = request.header("Authorization", authorization);
        }
        let answer = match body.is_empty() && matches!(method, "GET" | "HEAD" | "DELETE") {
            true => self.run(&agent, url, request.body(())),
            false => self.run(&agent, url, request.body(body)),
        }?;
        self.read(url, answer)
    }

    fn run<B: AsSendBody>(
        &self,
        agent: &Agent,
        url: &str,
        request: Result<Request<B>, ureq::http::Error>,
    ) -> Result<Response<Body>, HttpError> {
        let request = request.map_err(|error| exchange(url, error.to_string(), false))?;
        agent.run(request).map_err(|error| {
            let is_timeout = matches!(error, ureq::Error::Timeout(_));
            exchange(url, error.to_string(), is_timeout)
        })
    }

    fn read(&self, url: &str, mut answer: Response<Body>) -> Result<Answer, HttpError> {
        let text = |value: &ureq::http::HeaderValue| {
            String::from_utf8_lossy(value.as_bytes()).into_owned()
        };
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.as_str().to_owned(), text(value)));
        let headers = headers.collect();
        let mut body = Vec::new();
        let mut reader = answer.body_mut().as_reader().take(self.body_max + 1);
        reader.read_to_end(&mut body).map_err(|error| exchange(url, error.to_string(), true))?;
        if body.len() as u64 > self.body_max {
            let message = format!("the answer is larger than {} bytes", self.body_max);
            return Err(exchange(url, message, false));
        }
        Ok(Answer { status: answer.status().as_u16(), headers, body })
    }

    fn wanted(&self, url: &str) -> Result<Wanted, HttpError> {
        let options = &self.options;
        let proxy = ProxyOptions {
            url: options.proxy_url.as_ref(),
            no_proxy: options.no_proxy.as_deref(),
            from_environment: options.proxy_from_environment,
        };
        let tls = options.tls_config.as_ref().filter(|_| url.starts_with("https://"));
        let server_name = tls.and_then(|tls| tls.server_name.clone());
        let renamed = server_name.map(|name| (host_of(url), name));
        Ok(Wanted {
            proxy: proxy::choose(&proxy, url),
            pems: Pems::read(tls)?,
            renamed: renamed.filter(|(host, name)| host != name),
        })
    }

    /// The connections of last time, unless something that they depend on changed.
    fn agent(&self, wanted: &Wanted) -> Result<Agent, HttpError> {
        let mut last = self.agent.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((_, agent)) = last.as_ref().filter(|(known, _)| known == wanted) {
            return Ok(agent.clone());
        }
        let config = Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(USER_AGENT)
            .max_idle_connections(IDLE_CONNECTIONS_MAX)
            .max_idle_connections_per_host(IDLE_CONNECTIONS_MAX)
            .proxy(wanted.proxy.as_deref().map(proxy::build).transpose()?)
            .tls_config(wanted.pems.config()?)
            .build();
        let resolver = Renaming(wanted.renamed.clone());
        let agent = Agent::with_parts(config, DefaultConnector::new(), resolver);
        *last = Some((wanted.clone(), agent.clone()));
        Ok(agent)
    }
}

/// Finds the real host where the address has the name of its certificate, so that this is the
/// name that TLS checks.
#[derive(Debug)]
struct Renaming(Option<(String, String)>);

impl Resolver for Renaming {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let resolver = DefaultResolver::default();
        let real = self.0.as_ref().filter(|(_, name)| uri.host() == Some(name.as_str()));
        let Some((real, name)) = real else { return resolver.resolve(uri, config, timeout) };
        let text = replace_host(&uri.to_string(), name, real);
        let uri = text.parse().map_err(|_| ureq::Error::BadUri(text))?;
        resolver.resolve(&uri, config, timeout)
    }
}

fn replace_host(url: &str, old: &str, new: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    format!("{scheme}://{}", rest.replacen(old, new, 1))
}

fn host_of(url: &str) -> String {
    let uri = url.parse::<Uri>().unwrap_or_default();
    uri.host().unwrap_or_default().to_owned()
}

fn exchange(url: &str, message: String, is_timeout: bool) -> HttpError {
    HttpError::Exchange { url: redacted(url), message, is_timeout }
}

/// `Basic ...` of a user and password.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", base64(format!("{user}:{password}").as_bytes()))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let part = |index: usize| u32::from(chunk.get(index).copied().unwrap_or_default());
        let word = part(0) << 16 | part(1) << 8 | part(2);
        for index in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * index)) as usize & 63];
            text.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base64, basic};

    #[test]
    fn basic_auth_is_that_of_the_rfc() {
        assert_eq!(basic("Aladdin", "open sesame"), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v")] {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
