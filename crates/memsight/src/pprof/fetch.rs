//! Where profiles come from: files, URLs with pprof's rules, live processes.

use std::io::{BufRead, BufReader, Cursor, IsTerminal, Read};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use decode::pprof::PprofError;
use model::Profile;

use super::flags::{Call, Tls};
use super::source_files::go_error;
use crate::files;

/// Profiles fetched at once, as pprof does: with `seconds=` most of the time is waiting.
const AT_ONCE: usize = 128;

/// A fetched profile.
pub(super) struct Fetched {
    pub(super) profile: Profile,
    /// Where on the network it came from; such a profile is worth keeping.
    pub(super) url: Option<String>,
}

/// Fetches all sources; those that fail are named and left out.
///
/// # Errors
/// When none could be fetched.
pub(super) fn all(sources: &[String], call: &Call, what: &str) -> Result<Vec<Fetched>, String> {
    let results: Vec<Mutex<Option<Result<Fetched, String>>>> =
        sources.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    let done = AtomicUsize::new(0);
    let shows_progress = sources.len() > 1 && std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..sources.len().min(AT_ONCE) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some((source, slot)) = sources.get(index).zip(results.get(index)) else {
                        break;
                    };
                    let result = one(source, call);
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if shows_progress {
                        let verdict = if result.is_ok() { "fetched" } else { "failed" };
                        eprintln!("{verdict} {done} of {}: {source}", sources.len());
                    }
                    if let Ok(mut slot) = slot.lock() {
                        *slot = Some(result);
                    }
                }
            });
        }
    });
    let mut fetched = Vec::new();
    for (source, slot) in sources.iter().zip(results) {
        match slot.into_inner().ok().flatten() {
            Some(Ok(profile)) => fetched.push(profile),
            Some(Err(error)) => eprintln!("{source}: {error}"),
            None => eprintln!("{source}: was not fetched"),
        }
    }
    if fetched.is_empty() && !sources.is_empty() {
        return Err(format!("failed to fetch any {what} profiles"));
    }
    if fetched.len() != sources.len() {
        let (got, wanted) = (fetched.len(), sources.len());
        eprintln!("Fetched {got} {what} profiles out of {wanted}");
    }
    Ok(fetched)
}

fn one(source: &str, call: &Call) -> Result<Fetched, String> {
    if source == "-" {
        let profile = parsed(source, std::io::stdin().lock(), call)?;
        return Ok(Fetched { profile, url: None });
    }
    let path = source.strip_prefix("file://").filter(|path| Path::new(path).is_file());
    let path = path.unwrap_or(source);
    if Path::new(path).exists() {
        let failed = |error| format!("open {path}: {}", go_error(&error));
        let file = files::open(Path::new(path)).map_err(failed)?;
        return Ok(Fetched { profile: parsed(source, file, call)?, url: None });
    }
    if let Some((url, timeout)) = url_of(source, call) {
        eprintln!("Fetching profile over HTTP from {url}");
        if call.seconds > 0 {
            eprintln!("Please wait... ({}s)", call.seconds);
        }
        let failed = |error: capture::CaptureError| http_error(&url, &error.to_string());
        let body = capture::http::fetch(&url, timeout, &tls(&call.tls)?).map_err(failed)?;
        let profile = parsed(source, Cursor::new(body), call)?;
        return Ok(Fetched { profile, url: Some(url) });
    }
    let is_live = source.starts_with("name:") || source.parse::<u32>().is_ok();
    if is_live && let Ok(spec) = model::TargetSpec::parse(source) {
        let target = capture::LiveTarget::attach(&spec).map_err(|error| error.to_string())?;
        let heap = target.heap_profile().map_err(|error| error.to_string())?;
        return Ok(Fetched { profile: heap.profile, url: None });
    }
    Err(format!("stat {source}: no such file or directory"))
}

fn parsed(source: &str, input: impl Read, call: &Call) -> Result<Profile, String> {
    let mut input = BufReader::new(input);
    let head = input.fill_buf().map_err(|error| format!("read {source}: {}", go_error(&error)))?;
    if head.is_empty() {
        return Err("parsing profile: empty input file".to_owned());
    }
    let any = decode::profile::read_with_names(input).map_err(|error| as_pprof(&error))?;
    for warning in &any.warnings {
        eprintln!("{source}: {warning}");
    }
    let mut profile = any.profile;
    let is_raw = matches!(call.symbolize.as_str(), "none" | "no");
    if !any.names.is_empty() && !is_raw {
        any.names.label(&mut profile);
        // A program on the command line knows more than the text.
        if call.exec_name.is_none() {
            any.names.name(&mut profile);
        }
    }
    Ok(profile)
}

/// The caller names the source; pprof names the URL only when there was no answer.
fn http_error(url: &str, error: &str) -> String {
    let what = error.strip_prefix(&format!("{url}: ")).unwrap_or(error);
    match what.starts_with("server response") {
        true => what.to_owned(),
        false => format!("Get {url:?}: {what}"),
    }
}

/// An error in the words of pprof, where it has any.
fn as_pprof(error: &PprofError) -> String {
    match error {
        PprofError::Concatenated => "parsing profile: concatenated profiles detected".to_owned(),
        PprofError::NotAProfile => "parsing profile: unrecognized profile format".to_owned(),
        PprofError::Gzip(what) if what == "unexpected end of file" => {
            "decompressing profile: unexpected EOF".to_owned()
        }
        PprofError::Gzip(what) => format!("decompressing profile: {what}"),
        PprofError::ValueCount { expected, found } => {
            format!("malformed profile: mismatch: sample has {found} values vs. {expected} types")
        }
        error => format!("parsing profile: {error}"),
    }
}

/// The files named for TLS.
pub(super) fn tls(files: &Tls) -> Result<capture::http::Tls, String> {
    let read = |path: &str| -> Result<Option<Vec<u8>>, String> {
        let failed = |error| format!("could not read {path}: {error}");
        (!path.is_empty()).then(|| std::fs::read(path).map_err(failed)).transpose()
    };
    Ok(capture::http::Tls {
        cert: read(&files.cert)?,
        key: read(&files.key)?,
        ca: read(&files.ca)?,
    })
}

/// The URL a source stands for and how long to wait for the answer.
fn url_of(source: &str, call: &Call) -> Option<(String, Duration)> {
    let has_scheme = source.contains("://");
    let looks_like_host = || {
        let host = source.split('/').next().unwrap_or("");
        let port = host.rsplit_once(':').map(|(_, port)| port);
        port.is_some_and(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
    };
    if !has_scheme && !looks_like_host() {
        return None;
    }
    let url = if has_scheme { source.to_owned() } else { format!("http://{source}") };
    let (scheme, rest) = url.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    if !matches!(scheme.as_str(), "http" | "https" | "https+insecure") {
        return None;
    }
    let (address, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (host, path) = match address.find('/') {
        Some(at) => address.split_at(at),
        None => (address, ""),
    };
    let path = if matches!(path, "" | "/") { "/debug/pprof/profile" } else { path };
    let mut parameters: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
    let in_url = parameters.iter().find_map(|part| part.strip_prefix("seconds="));
    let mut seconds = in_url.and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    let wanted = format!("seconds={}", call.seconds);
    if call.seconds > 0 {
        seconds = call.seconds;
        parameters.retain(|part| !part.starts_with("seconds="));
        parameters.push(&wanted);
    }
    let timeout = match (call.timeout, seconds) {
        (timeout @ 1.., _) => Duration::from_secs(timeout.unsigned_abs()),
        (_, seconds @ 1..) => Duration::from_millis(seconds.unsigned_abs() * 1500),
        _ => Duration::from_secs(60),
    };
    // Go's url.Values: by key, and every key with a value.
    let mut parameters: Vec<(&str, &str)> =
        parameters.iter().map(|part| part.split_once('=').unwrap_or((part, ""))).collect();
    parameters.sort_by_key(|(key, _)| *key);
    let parameters: Vec<String> = parameters
        .iter()
        .map(|(key, value)| format!("{key}={}", value.replace("%20", "+")))
        .collect();
    let query = match parameters.is_empty() {
        true => String::new(),
        false => format!("?{}", parameters.join("&")),
    };
    Some((format!("{scheme}://{host}{path}{query}"), timeout))
}
