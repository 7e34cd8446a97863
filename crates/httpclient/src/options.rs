//! The options of Prometheus's `HTTPClientConfig`, with its checks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::error::HttpError;
use crate::secret::{Secret, value_or_file};
use crate::url::Url;

/// Declares a struct with Prometheus's HTTP client options beside its own fields.
///
/// The struct derives `Deserialize` itself; unknown keys are errors. It gets `http_options`,
/// `set_http_options` and `set_directory`.
#[macro_export]
macro_rules! with_http_options {
    ($(#[$attribute:meta])* $visible:vis struct $name:ident {
        $($(#[$field_attribute:meta])* $field_visible:vis $field:ident : $kind:ty),* $(,)?
    }) => {
        $(#[$attribute])*
        #[serde(deny_unknown_fields)]
        $visible struct $name {
            $($(#[$field_attribute])* $field_visible $field: $kind,)*
            /// User and password.
            #[serde(default, deserialize_with = "httpclient::checked")]
            pub basic_auth: Option<$crate::BasicAuth>,
            /// Any other kind of `Authorization`.
            #[serde(default, deserialize_with = "httpclient::checked")]
            pub authorization: Option<$crate::Authorization>,
            /// The old word for `authorization.credentials`.
            #[serde(default)]
            pub bearer_token: Option<$crate::Secret>,
            /// The old word for `authorization.credentials_file`.
            #[serde(default)]
            pub bearer_token_file: Option<::std::path::PathBuf>,
            /// Client credentials of OAuth 2.
            #[serde(default, deserialize_with = "httpclient::checked")]
            pub oauth2: Option<$crate::OAuth2>,
            /// What TLS connections trust and present.
            #[serde(default, deserialize_with = "httpclient::checked")]
            pub tls_config: Option<$crate::TlsOptions>,
            /// A proxy for all requests.
            #[serde(default)]
            pub proxy_url: Option<$crate::Url>,
            /// Hosts that are asked without the proxy, separated by commas.
            #[serde(default)]
            pub no_proxy: Option<String>,
            /// Take the proxy from HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
            #[serde(default)]
            pub proxy_from_environment: bool,
            /// Headers for the proxy itself; refused, as they cannot be sent.
            #[serde(default, deserialize_with = "httpclient::or_default")]
            pub proxy_connect_header: ::std::collections::BTreeMap<String, Vec<$crate::Secret>>,
            /// Go where the server sends us.
            #[serde(default = "httpclient::yes")]
            pub follow_redirects: bool,
            /// Accepted and ignored: HTTP 1.1 is spoken.
            #[serde(default = "httpclient::yes")]
            pub enable_http2: bool,
            /// Headers of all requests.
            #[serde(default, deserialize_with = "httpclient::or_default")]
            pub http_headers: ::std::collections::BTreeMap<String, $crate::HttpHeader>,
        }

        impl $name {
            /// The HTTP options alone.
            pub fn http_options(&self) -> $crate::Options {
                $crate::Options {
                    basic_auth: self.basic_auth.clone(),
                    authorization: self.authorization.clone(),
                    bearer_token: self.bearer_token.clone(),
                    bearer_token_file: self.bearer_token_file.clone(),
                    oauth2: self.oauth2.clone(),
                    tls_config: self.tls_config.clone(),
                    proxy_url: self.proxy_url.clone(),
                    no_proxy: self.no_proxy.clone(),
                    proxy_from_environment: self.proxy_from_environment,
                    proxy_connect_header: self.proxy_connect_header.clone(),
                    follow_redirects: self.follow_redirects,
                    enable_http2: self.enable_http2,
                    http_headers: self.http_headers.clone(),
                }
            }

            /// Replaces the HTTP options.
            pub fn set_http_options(&mut self, options: $crate::Options) {
                self.basic_auth = options.basic_auth;
                self.authorization = options.authorization;
                self.bearer_token = options.bearer_token;
                self.bearer_token_file = options.bearer_token_file;
                self.oauth2 = options.oauth2;
                self.tls_config = options.tls_config;
                self.proxy_url = options.proxy_url;
                self.no_proxy = options.no_proxy;
                self.proxy_from_environment = options.proxy_from_environment;
                self.proxy_connect_header = options.proxy_connect_header;
                self.follow_redirects = options.follow_redirects;
                self.enable_http2 = options.enable_http2;
                self.http_headers = options.http_headers;
            }

            /// Makes relative names of files relative to the folder of the configuration.
            pub fn set_directory(&mut self, folder: &::std::path::Path) {
                let mut options = self.http_options();
                options.resolve_files(folder);
                self.set_http_options(options);
            }
        }
    };
}

with_http_options! {
    /// All options, as a block of its own (`http_config`).
    #[derive(Clone, Debug, PartialEq, Deserialize)]
    pub struct Options {}
}

/// What a part of the options has to fulfil; checked while it is read, so that the error has a
/// place.
pub trait Check {
    /// Says what is wrong.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    fn check(&self) -> Result<(), String>;
}

/// Reads an optional part and checks it.
///
/// # Errors
/// When it is malformed or its check fails.
pub fn checked<'de, D: Deserializer<'de>, T: Deserialize<'de> + Check>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let part = Option::<T>::deserialize(deserializer)?;
    if let Some(part) = &part {
        part.check().map_err(D::Error::custom)?;
    }
    Ok(part)
}

/// Reads a list or map that may be left empty, as Go does: `headers:` with nothing behind it.
///
/// # Errors
/// When it is malformed.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The default of options that are on unless said otherwise.
pub fn yes() -> bool {
    true
}

/// User and password.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BasicAuth {
    /// User.
    pub username: Option<Secret>,
    /// Holds the user.
    pub username_file: Option<PathBuf>,
    /// Password.
    pub password: Option<Secret>,
    /// Holds the password.
    pub password_file: Option<PathBuf>,
}

/// `Authorization: TYPE CREDENTIALS`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Authorization {
    /// `Bearer` unless said otherwise.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// What follows the type.
    pub credentials: Option<Secret>,
    /// Holds it.
    pub credentials_file: Option<PathBuf>,
}

/// Client credentials of OAuth 2: a token is fetched, used until it expires, fetched again.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OAuth2 {
    /// Who we are.
    pub client_id: String,
    /// Our secret.
    #[serde(default)]
    pub client_secret: Option<Secret>,
    /// Holds our secret.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// Asked for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Where tokens are.
    pub token_url: Url,
    /// More parameters of the request.
    #[serde(default)]
    pub endpoint_params: BTreeMap<String, String>,
    /// For the connection to `token_url`.
    #[serde(default, deserialize_with = "checked")]
    pub tls_config: Option<TlsOptions>,
    /// For the connection to `token_url`.
    #[serde(default)]
    pub proxy_url: Option<Url>,
    /// For the connection to `token_url`.
    #[serde(default)]
    pub no_proxy: Option<String>,
    /// For the connection to `token_url`.
    #[serde(default)]
    pub proxy_from_environment: bool,
    /// Refused, as they cannot be sent.
    #[serde(default)]
    pub proxy_connect_header: BTreeMap<String, Vec<Secret>>,
}

/// What TLS connections trust and present.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsOptions {
    /// PEM text of the authorities to trust instead of the machine's.
    pub ca: Option<String>,
    /// Our certificate.
    pub cert: Option<String>,
    /// Its key.
    pub key: Option<Secret>,
    /// Holds the authorities.
    pub ca_file: Option<PathBuf>,
    /// Holds our certificate.
    pub cert_file: Option<PathBuf>,
    /// Holds its key.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have.
    pub server_name: Option<String>,
    /// Do not check who answers.
    pub insecure_skip_verify: bool,
    /// TLS 1.2 and 1.3 are spoken; asking for more than 1.2 is refused.
    pub min_version: Option<TlsVersion>,
    /// TLS 1.2 and 1.3 are spoken; asking for less than 1.3 is refused.
    pub max_version: Option<TlsVersion>,
}

/// Versions of TLS, as Prometheus writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum TlsVersion {
    TLS10,
    TLS11,
    TLS12,
    TLS13,
}

/// Values of a header, all of which are sent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpHeader {
    /// As they are.
    pub values: Vec<String>,
    /// The same, but not printed.
    pub secrets: Vec<Secret>,
    /// Files that hold one each.
    pub files: Vec<PathBuf>,
}

/// Headers that others set.
const RESERVED_HEADERS: [&str; 17] = [
    "authorization",
    "host",
    "content-encoding",
    "content-length",
    "content-type",
    "user-agent",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "www-authenticate",
    "accept-encoding",
    "x-prometheus-remote-write-version",
    "x-prometheus-remote-read-version",
    "x-prometheus-scrape-timeout-seconds",
    "accept",
    "transfer-encoding",
];

impl Default for Options {
    fn default() -> Options {
        Options {
            basic_auth: None,
            authorization: None,
            bearer_token: None,
            bearer_token_file: None,
            oauth2: None,
            tls_config: None,
            proxy_url: None,
            no_proxy: None,
            proxy_from_environment: false,
            proxy_connect_header: BTreeMap::new(),
            follow_redirects: true,
            enable_http2: true,
            http_headers: BTreeMap::new(),
        }
    }
}

impl Options {
    /// Checks what concerns several options. [`crate::Client::new`] does it, too.
    ///
    /// # Errors
    /// What contradicts, or cannot be done.
    pub fn check(&self) -> Result<(), HttpError> {
        self.conflict().map_or(Ok(()), |message| Err(HttpError::Options(message)))
    }

    fn conflict(&self) -> Option<String> {
        let has_bearer = self.bearer_token.is_some() || self.bearer_token_file.is_some();
        if self.bearer_token.is_some() && self.bearer_token_file.is_some() {
            return Some(one_of("bearer_token"));
        }
        let authorizations = [
            self.basic_auth.is_some(),
            self.authorization.is_some(),
            self.oauth2.is_some(),
            has_bearer,
        ];
        if authorizations.iter().filter(|is_set| **is_set).count() > 1 {
            let words = "basic_auth, authorization, oauth2 and bearer_token exclude each other";
            return Some(format!("{words}: keep one"));
        }
        let is_reserved = |name: &&String| RESERVED_HEADERS.contains(&name.to_lowercase().as_str());
        if let Some(name) = self.http_headers.keys().find(is_reserved) {
            return Some(format!(
                "http_headers: {name} is set by other options or by the protocol"
            ));
        }
        let proxy = ProxyOptions {
            url: self.proxy_url.as_ref(),
            no_proxy: self.no_proxy.as_deref(),
            from_environment: self.proxy_from_environment,
        };
        let has_server_name = self.tls_config.as_ref().is_some_and(|tls| tls.server_name.is_some());
        if has_server_name && (proxy.url.is_some() || proxy.from_environment) {
            return Some("tls_config.server_name cannot be combined with a proxy".to_owned());
        }
        proxy.conflict(&self.proxy_connect_header)
    }

    /// Makes relative names of files relative to `folder`.
    pub fn resolve_files(&mut self, folder: &Path) {
        let mut files: Vec<&mut PathBuf> = self.bearer_token_file.iter_mut().collect();
        if let Some(basic) = &mut self.basic_auth {
            files.extend(basic.username_file.iter_mut().chain(&mut basic.password_file));
        }
        files.extend(self.authorization.iter_mut().flat_map(|auth| &mut auth.credentials_file));
        if let Some(oauth2) = &mut self.oauth2 {
            files.extend(&mut oauth2.client_secret_file);
            oauth2.tls_config.iter_mut().for_each(|tls| tls.resolve_files(folder));
        }
        self.tls_config.iter_mut().for_each(|tls| tls.resolve_files(folder));
        files.extend(self.http_headers.values_mut().flat_map(|header| &mut header.files));
        for file in files {
            *file = folder.join(&*file);
        }
    }
}

/// The options on proxies.
pub(crate) struct ProxyOptions<'a> {
    pub(crate) url: Option<&'a Url>,
    pub(crate) no_proxy: Option<&'a str>,
    pub(crate) from_environment: bool,
}

impl ProxyOptions<'_> {
    fn conflict(&self, connect_header: &BTreeMap<String, Vec<Secret>>) -> Option<String> {
        if self.from_environment && (self.url.is_some() || self.no_proxy.is_some()) {
            let words = "proxy_from_environment excludes proxy_url and no_proxy";
            return Some(format!("{words}: keep one"));
        }
        if self.no_proxy.is_some() && self.url.is_none() {
            return Some("no_proxy needs a proxy_url".to_owned());
        }
        if !connect_header.is_empty() {
            let words = "proxy_connect_header cannot be sent";
            return Some(format!("{words}: put user and password into proxy_url"));
        }
        None
    }
}

fn one_of(name: &str) -> String {
    format!("{name} and {name}_file exclude each other: keep one")
}

impl Check for BasicAuth {
    fn check(&self) -> Result<(), String> {
        if self.username.is_some() && self.username_file.is_some() {
            return Err(one_of("username"));
        }
        if self.password.is_some() && self.password_file.is_some() {
            return Err(one_of("password"));
        }
        Ok(())
    }
}

impl BasicAuth {
    /// `Basic ...`, from files as they are now.
    pub(crate) fn header(&self) -> Result<String, HttpError> {
        let user = value_or_file(self.username.as_ref(), self.username_file.as_deref())?;
        let password = value_or_file(self.password.as_ref(), self.password_file.as_deref())?;
        Ok(crate::client::basic(&user, &password))
    }
}

impl Check for Authorization {
    fn check(&self) -> Result<(), String> {
        if self.credentials.is_some() && self.credentials_file.is_some() {
            return Err(one_of("credentials"));
        }
        match self.kind.as_deref() {
            Some(kind) if kind.eq_ignore_ascii_case("basic") => {
                Err("authorization type cannot be \"basic\": use basic_auth".to_owned())
            }
            _ => Ok(()),
        }
    }
}

impl Authorization {
    pub(crate) fn header(&self) -> Result<String, HttpError> {
        let credentials =
            value_or_file(self.credentials.as_ref(), self.credentials_file.as_deref())?;
        let kind = self.kind.as_deref().map_or("Bearer", str::trim);
        let kind = if kind.is_empty() { "Bearer" } else { kind };
        Ok(format!("{kind} {credentials}").trim_end().to_owned())
    }
}

impl Check for OAuth2 {
    fn check(&self) -> Result<(), String> {
        if self.client_id.is_empty() {
            return Err("oauth2 needs a client_id".to_owned());
        }
        if self.client_secret.is_some() == self.client_secret_file.is_some() {
            return Err("oauth2 needs exactly one of client_secret and client_secret_file".into());
        }
        let proxy = ProxyOptions {
            url: self.proxy_url.as_ref(),
            no_proxy: self.no_proxy.as_deref(),
            from_environment: self.proxy_from_environment,
        };
        proxy.conflict(&self.proxy_connect_header).map_or(Ok(()), Err)
    }
}

impl Check for TlsOptions {
    fn check(&self) -> Result<(), String> {
        let both = [
            ("ca", self.ca.is_some() && self.ca_file.is_some()),
            ("cert", self.cert.is_some() && self.cert_file.is_some()),
            ("key", self.key.is_some() && self.key_file.is_some()),
        ];
        if let Some((name, _)) = both.iter().find(|(_, is_both)| *is_both) {
            return Err(one_of(name));
        }
        let has_cert = self.cert.is_some() || self.cert_file.is_some();
        let has_key = self.key.is_some() || self.key_file.is_some();
        if has_cert != has_key {
            return Err("a client certificate needs cert and key: give both or none".to_owned());
        }
        if self.min_version > Some(TlsVersion::TLS12) {
            return Err("min_version: TLS 1.2 cannot be switched off; leave it out".to_owned());
        }
        if self.max_version.is_some_and(|version| version < TlsVersion::TLS13) {
            return Err("max_version: TLS 1.3 cannot be switched off; leave it out".to_owned());
        }
        Ok(())
    }
}

impl TlsOptions {
    /// Makes relative names of files relative to `folder`.
    pub fn resolve_files(&mut self, folder: &Path) {
        for file in self.ca_file.iter_mut().chain(&mut self.cert_file).chain(&mut self.key_file) {
            *file = folder.join(&*file);
        }
    }
}
