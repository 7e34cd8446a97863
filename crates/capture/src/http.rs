//! Targets that are known by the URL of their net/http/pprof endpoint.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use decode::pprof;
use model::{
    GoroutineSnapshot, Observation, Profile, RuntimeMetrics, Target, TargetSpec, Timestamp,
};
use ureq::Body;
use ureq::http::Response;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};

use crate::error::CaptureError;
use crate::live::now;

/// A pprof endpoint.
#[derive(Debug)]
pub struct HttpTarget {
    base: String,
    target: Target,
    agent: ureq::Agent,
    profile_time: Mutex<Option<Timestamp>>,
    /// Which of the pages had metrics last time.
    metrics_page: AtomicUsize,
}

/// Where programs show metrics, in the order of what it costs them.
const METRICS_PAGES: [&str; 3] = ["/metrics", "/debug/vars", "/debug/pprof/heap?debug=1"];
const NO_METRICS: &str = "no metrics of the Go runtime there";

/// A heap profile of a million stacks is about 80 MB.
const BODY_MAX: u64 = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What TLS connections present and trust; PEM texts.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Client certificate.
    pub cert: Option<Vec<u8>>,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// The authority to trust instead of the machine's.
    pub ca: Option<Vec<u8>>,
}

/// Fetches a profile; `https+insecure://` does not check who answers.
///
/// # Errors
/// When nobody answers in time, or with an error.
pub fn fetch(url: &str, timeout: Duration, tls: &Tls) -> Result<Vec<u8>, CaptureError> {
    ask(url, None, timeout, tls)
}

/// Posts `question` and returns the answer, under the rules of [`fetch`].
///
/// # Errors
/// When nobody answers in time, or with an error.
pub fn post(
    url: &str,
    question: &str,
    timeout: Duration,
    tls: &Tls,
) -> Result<Vec<u8>, CaptureError> {
    ask(url, Some(question), timeout, tls)
}

fn ask(
    url: &str,
    question: Option<&str>,
    timeout: Duration,
    tls: &Tls,
) -> Result<Vec<u8>, CaptureError> {
    let plain_url = url.replacen("https+insecure://", "https://", 1);
    let config = tls_config(tls, plain_url != url);
    let config = config.map_err(|error| failure(url, error.to_string(), false))?;
    let agent = agent(timeout + CONNECT_TIMEOUT, config);
    let answer = match question {
        Some(question) => {
            let request = agent.post(&plain_url).content_type("application/octet-stream");
            request.send(question)
        }
        None => agent.get(&plain_url).call(),
    };
    let mut response = answer.map_err(|error| failure(url, error.to_string(), true))?;
    let status = response.status();
    let is_from_pprof = response.headers().contains_key("X-Go-Pprof");
    let body = body(url, &mut response)?;
    if status.as_u16() != 200 {
        let detail = match is_from_pprof {
            true => format!(" - {}", String::from_utf8_lossy(&body).trim()),
            false => String::new(),
        };
        return Err(failure(url, format!("server response: {status}{detail}"), false));
    }
    Ok(body)
}

fn tls_config(tls: &Tls, is_insecure: bool) -> Result<TlsConfig, ureq::Error> {
    let mut config = TlsConfig::builder().disable_verification(is_insecure);
    if let Some(ca) = &tls.ca {
        let authority = Certificate::from_pem(ca)?;
        config = config.root_certs(RootCerts::new_with_certs(&[authority]));
    }
    if let Some((cert, key)) = tls.cert.as_ref().zip(tls.key.as_ref()) {
        let cert = Certificate::from_pem(cert)?;
        let key = PrivateKey::from_pem(key)?;
        config = config.client_cert(Some(ClientCert::new_with_certs(&[cert], key)));
    }
    Ok(config.build())
}

fn agent(timeout: Duration, tls: TlsConfig) -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_global(Some(timeout))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .http_status_as_error(false)
        .tls_config(tls)
        .build()
        .new_agent()
}

fn body(url: &str, response: &mut Response<Body>) -> Result<Vec<u8>, CaptureError> {
    let mut body = Vec::new();
    let mut reader = response.body_mut().as_reader().take(BODY_MAX + 1);
    reader.read_to_end(&mut body).map_err(|error| failure(url, error.to_string(), true))?;
    if body.len() as u64 > BODY_MAX {
        let message = format!("the answer is larger than {} MiB", BODY_MAX >> 20);
        return Err(failure(url, message, false));
    }
    Ok(body)
}

fn failure(url: &str, message: String, is_unreachable: bool) -> CaptureError {
    CaptureError::Http { url: url.to_owned(), message, is_unreachable }
}

impl HttpTarget {
    /// A target at `url`, which may also be a page with metrics; nothing is asked yet.
    pub fn new(url: &str) -> HttpTarget {
        let base = url.trim_end_matches('/').trim_end_matches("/debug/pprof").to_owned();
        let agent = agent(TIMEOUT, TlsConfig::default());
        let name = base.split("://").nth(1).unwrap_or(&base).to_owned();
        let mut labels = BTreeMap::new();
        labels.insert("instance".to_owned(), name.clone());
        let target = Target { name, spec: TargetSpec::Url(base.clone()), pid: None, labels };
        HttpTarget {
            base,
            target,
            agent,
            profile_time: Mutex::new(None),
            metrics_page: AtomicUsize::new(0),
        }
    }

    /// Checks that something answers at `url`: the base of the program's address,
    /// with or without `/debug/pprof`.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn attach(url: &str) -> Result<HttpTarget, CaptureError> {
        let http = HttpTarget::new(url);
        http.get("cmdline")?;
        Ok(http)
    }

    /// What the target is.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Fetches `/debug/pprof/{path}`.
    ///
    /// # Errors
    /// When nobody answers, the answer is an error, or it is too large.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, CaptureError> {
        let url = format!("{}/debug/pprof/{path}", self.base);
        let fail = |message: String| failure(&url, message, false);
        let answer = self.agent.get(&url).call();
        let mut response = answer.map_err(|error| failure(&url, error.to_string(), true))?;
        match response.status().as_u16() {
            200 => body(&url, &mut response),
            404 => {
                let hint = "not found: does the program import net/http/pprof?";
                Err(fail(hint.to_owned()))
            }
            status => Err(fail(format!("the program answered {status}"))),
        }
    }

    /// Where the target is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Fetches `/debug/pprof/{path}`, which may take as long as `timeout`, piece by piece.
    ///
    /// # Errors
    /// When nobody answers, or the answer is an error.
    pub fn stream(
        &self,
        path: &str,
        timeout: Duration,
    ) -> Result<impl Read + Send + use<>, CaptureError> {
        let url = format!("{}/debug/pprof/{path}", self.base);
        let agent = agent(timeout, TlsConfig::default());
        let answer = agent.get(&url).call();
        let mut response = answer.map_err(|error| failure(&url, error.to_string(), true))?;
        let status = response.status();
        if status.as_u16() != 200 {
            let body = body(&url, &mut response).unwrap_or_default();
            let said = String::from_utf8_lossy(&body);
            let said = said.lines().next().unwrap_or_default().trim().to_owned();
            return Err(failure(&url, format!("the program answered {status}: {said}"), false));
        }
        Ok(response.into_body().into_reader())
    }

    pub(crate) fn observe(&self) -> Result<Observation, CaptureError> {
        let text = self.get("heap?debug=1")?;
        let runtime = decode::gotext::memstats(&String::from_utf8_lossy(&text));
        if let Ok(mut time) = self.profile_time.lock() {
            *time = runtime.heap_profile_time;
        }
        Ok(Observation { time: now(), runtime, ..Observation::default() })
    }

    /// As of the last [`observe`](Self::observe): asking again would make the target
    /// print its whole profile once more.
    pub(crate) fn heap_profile_time(&self) -> Option<Timestamp> {
        self.profile_time.lock().ok().and_then(|time| *time)
    }

    pub(crate) fn heap_profile(&self) -> Result<Profile, CaptureError> {
        let body = self.get("heap")?;
        let url = format!("{}/debug/pprof/heap", self.base);
        let parsed = pprof::read(&body).map_err(|error| failure(&url, error.to_string(), false))?;
        Ok(parsed.profile)
    }

    /// The runtime's metrics from the first page that has them.
    pub(crate) fn runtime_metrics(&self) -> Result<RuntimeMetrics, CaptureError> {
        let pages = self.metrics_pages();
        let known = self.metrics_page.load(Ordering::Relaxed);
        let mut last = None;
        // The one that had them last time comes first.
        for (index, url) in pages.iter().enumerate().cycle().skip(known).take(pages.len()) {
            match self.metrics_at(url) {
                Ok(metrics) => {
                    self.metrics_page.store(index, Ordering::Relaxed);
                    return Ok(metrics);
                }
                // Nobody there: the other pages are not there either.
                Err(error @ CaptureError::Http { is_unreachable: true, .. }) => return Err(error),
                Err(error) => last = Some(error),
            }
        }
        let none = || failure(&self.base, format!("{NO_METRICS}; tried {pages:?}"), false);
        Err(last.filter(|_| pages.len() == 1).unwrap_or_else(none))
    }

    /// Where metrics may be: the address itself when it names a page, else the usual ones. The
    /// first does not stop the world, the last prints a whole heap profile.
    fn metrics_pages(&self) -> Vec<String> {
        let host = self.base.split_once("://").map_or(self.base.as_str(), |(_, rest)| rest);
        if host.contains('/') {
            return vec![self.base.clone()];
        }
        METRICS_PAGES.iter().map(|page| format!("{}{page}", self.base)).collect()
    }

    fn metrics_at(&self, url: &str) -> Result<RuntimeMetrics, CaptureError> {
        let answer = self.agent.get(url).call();
        let mut response = answer.map_err(|error| failure(url, error.to_string(), true))?;
        match response.status().as_u16() {
            200 => {
                let found = decode::metricpage::read(&body(url, &mut response)?);
                found.ok_or_else(|| failure(url, NO_METRICS.to_owned(), false))
            }
            status => Err(failure(url, format!("the program answered {status}"), false)),
        }
    }

    pub(crate) fn goroutines(&self) -> Result<GoroutineSnapshot, CaptureError> {
        let text = self.get("goroutine?debug=2")?;
        Ok(decode::gotext::goroutines(&String::from_utf8_lossy(&text)))
    }
}
