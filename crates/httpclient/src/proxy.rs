//! Which proxy a request goes through.

use ureq::{Proxy, ProxyProtocol};

use crate::error::HttpError;
use crate::options::ProxyOptions;
use crate::url::{redacted, split_user};

/// The proxy's address, or none.
pub(crate) fn choose(options: &ProxyOptions<'_>, url: &str) -> Option<String> {
    if !options.from_environment {
        let excluded = is_excluded(options.no_proxy.unwrap_or_default(), url);
        return options.url.filter(|_| !excluded).map(|proxy| proxy.as_str().to_owned());
    }
    let variable = |names: [&str; 2]| {
        let mut values = names.iter().filter_map(|name| std::env::var(name).ok());
        values.find(|value| !value.is_empty())
    };
    let is_excluded = is_excluded(&variable(["NO_PROXY", "no_proxy"]).unwrap_or_default(), url);
    let proxy = match url.starts_with("https://") {
        true => variable(["HTTPS_PROXY", "https_proxy"]),
        false => variable(["HTTP_PROXY", "http_proxy"]),
    };
    proxy.filter(|_| !is_excluded)
}

/// Whether the host is listed: `*`, an address, a domain with all below it (`.a.b`: only below).
fn is_excluded(list: &str, url: &str) -> bool {
    let (plain, _) = split_user(url);
    let uri = plain.parse::<ureq::http::Uri>().unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_lowercase();
    // As Go does, what is local never goes through a proxy.
    let is_loopback = host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback());
    if host == "localhost" || is_loopback {
        return !list.is_empty();
    }
    list.split(',').map(|entry| entry.trim().to_lowercase()).any(|entry| {
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (name, port.parse().ok()),
            _ => (entry.as_str(), None),
        };
        let below = name.trim_start_matches('*');
        let is_below = |domain: &str| !domain.is_empty() && host.ends_with(domain);
        let is_host = match below.starts_with('.') {
            true => is_below(below),
            false => host == name || is_below(&format!(".{name}")),
        };
        name == "*" || (!name.is_empty() && is_host && (port.is_none() || port == uri.port_u16()))
    })
}

/// What ureq wants to know.
pub(crate) fn build(address: &str) -> Result<Proxy, HttpError> {
    let text =
        if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let proxy = Proxy::new(&text)
        .map_err(|error| HttpError::Options(format!("proxy {}: {error}", redacted(&text))))?;
    match proxy.protocol() {
        ProxyProtocol::Http | ProxyProtocol::Https => Ok(proxy),
        other => Err(HttpError::Options(format!("proxies of kind {other} are not supported"))),
    }
}

#[cfg(test)]
mod tests {
    use super::is_excluded;

    #[test]
    fn hosts_without_proxy_are_listed() {
        let check = |list: &str, url: &str, expected: bool| {
            assert_eq!(is_excluded(list, url), expected, "{list} {url}");
        };
        check("", "http://a.b/", false);
        check("a.b", "http://a.b:80/", true);
        check("a.b", "http://x.a.b/", true);
        check("a.b", "http://xa.b/", false);
        check(".a.b", "http://a.b/", false);
        check("c, *.a.b", "http://me:pass@x.A.b/", true);
        check("a.b:81", "http://a.b:80/", false);
        check("a.b:81", "http://a.b:81/", true);
        check("*", "http://a.b/", true);
        check("10.0.0.1", "http://10.0.0.1:9090/", true);
    }
}
