//! Addresses of HTTP servers.

use std::fmt;

use serde::Deserialize;
use serde::de::Error;
use ureq::http::Uri;

/// An `http://` or `https://` address; a password in it is not printed.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Url(String);

impl Url {
    /// Checks the address.
    ///
    /// # Errors
    /// Says what was expected.
    pub fn parse(text: &str) -> Result<Url, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{text:?} is no URL: {error}"))?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if !is_http || uri.host().is_none_or(str::is_empty) {
            return Err(format!("{text:?} is no URL: write http://HOST:PORT/PATH"));
        }
        Ok(Url(text.to_owned()))
    }

    /// With everything that was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Host and port.
    pub fn authority(&self) -> &str {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }
}

impl<'de> Deserialize<'de> for Url {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Url, D::Error> {
        Url::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(&self.0))
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// User and password in front of the host, and the address without them.
pub(crate) fn split_user(url: &str) -> (String, Option<(String, String)>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (url.to_owned(), None) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else { return (url.to_owned(), None) };
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    (format!("{scheme}://{host}{path}"), Some((unescape(user), unescape(password))))
}

/// The address as it may be printed.
pub(crate) fn redacted(url: &str) -> String {
    let (plain, user) = split_user(url);
    match (user, plain.split_once("://")) {
        (Some((user, _)), Some((scheme, rest))) => format!("{scheme}://{user}:<secret>@{rest}"),
        _ => plain,
    }
}

/// Where a redirect from `base` leads.
pub(crate) fn join(base: &str, location: &str) -> String {
    if location.contains("://") {
        return location.to_owned();
    }
    let (scheme, rest) = base.split_once("://").unwrap_or(("http", base));
    if let Some(host) = location.strip_prefix("//") {
        return format!("{scheme}://{host}");
    }
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if location.starts_with('/') {
        return format!("{scheme}://{authority}{location}");
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    format!("{scheme}://{authority}{folder}/{location}")
}

/// Undoes percent-encoding; what is none stays.
fn unescape(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match (first, byte) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Url, join, split_user};

    #[test]
    fn addresses_are_checked_and_printed_without_password() {
        let url = Url::parse("http://me:p%40ss@host:9090/write?a=b").unwrap();
        assert_eq!(url.to_string(), "http://me:<secret>@host:9090/write?a=b");
        assert_eq!(url.authority(), "host:9090");
        let (plain, user) = split_user(url.as_str());
        assert_eq!(plain, "http://host:9090/write?a=b");
        assert_eq!(user, Some(("me".to_owned(), "p@ss".to_owned())));
        for text in ["", "host:9090", "ftp://host", "http://", "/path", "http://ho st"] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn redirects_may_be_relative() {
        let check = |location: &str, expected: &str| {
            assert_eq!(join("http://a:1/x/y?q=1", location), expected);
        };
        check("https://b/z", "https://b/z");
        check("//b/z", "http://b/z");
        check("/z", "http://a:1/z");
        check("z?w", "http://a:1/x/z?w");
    }
}
