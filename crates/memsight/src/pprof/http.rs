//! `-http`: memsight's own pages on the profile, from a store that lives as long as the
//! server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use model::{CaptureKind, Profile, Target, TargetSpec};
use store::NewCapture;

use super::browser;
use super::flags::Call;
use super::prepare;
use crate::service::{Options, Service};
use crate::temporary::TemporaryStore;

/// Longer than anybody looks at a profile.
const KEEP: Duration = Duration::from_secs(365 * 24 * 3600);

/// Serves until Ctrl-C.
pub(super) fn serve(call: &Call) -> Result<(), String> {
    let (profile, base) = prepare::apart(call)?;
    let dir = TemporaryStore::create().map_err(|error| error.to_string())?;
    let listen = address(&call.http)?;
    let service = Service::start(&Options {
        store: &dir.0,
        store_options: store::Options { repair: false, keep: KEEP, keep_bytes: u64::MAX >> 1 },
        listen: &listen,
        token: None,
        watch: agent::Config { targets: Vec::new(), all_go: false, every: KEEP, graphs: false },
        may_take_heaps: false,
    })
    .map_err(|failure| match failure.next {
        Some(next) => format!("{:#}\n{next}", failure.error),
        None => format!("{:#}", failure.error),
    })?;
    let base = base.map(|base| put(&service, &base, "base", call)).transpose()?;
    let shown = put(&service, &profile, "profile", call)?;
    let query = base.map(|base| format!("?base={base}")).unwrap_or_default();
    let url = format!("{}/capture/{shown}{query}", service.url);
    // While the browser starts.
    let (recent, store) = (Arc::clone(&service.recent), Arc::clone(&service.store));
    std::thread::spawn(move || recent.warm(&store, shown));
    eprintln!("Serving web UI on {url}");
    let is_wanted = !call.no_browser
        && ["BROWSER", "DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    // It runs on by itself; without a screen nothing is started.
    let _ = is_wanted.then(|| browser::start(&browser::names(), url.as_ref()));
    let signalled = service.signalled();
    while !signalled.load(Ordering::Relaxed) {
        let _ = service.events.recv_timeout(Duration::from_millis(250));
    }
    service.stop().map_err(|failure| format!("{:#}", failure.error))
}

/// `[host]:[port]`: localhost and a free port where they are left out.
fn address(text: &str) -> Result<String, String> {
    let (host, port) = text.rsplit_once(':').ok_or_else(|| {
        format!("-http={text}: expected [host]:[port], such as localhost:8080 or just :")
    })?;
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let port = if port.is_empty() { "0" } else { port };
    Ok(format!("{host}:{port}"))
}

fn put(service: &Service, profile: &Profile, what: &str, call: &Call) -> Result<i64, String> {
    let kinds = profile.sample_types.iter().map(|t| profile.str(t.kind));
    let is_goroutines = kinds.into_iter().eq(["goroutine"]);
    let kind = if is_goroutines { CaptureKind::Goroutine } else { CaptureKind::Heap };
    let name = call.sources.join(" ");
    let target =
        Target { spec: TargetSpec::Name(name.clone()), name, pid: None, labels: BTreeMap::new() };
    let now = capture::now();
    let failed = |error: store::StoreError| error.to_string();
    let target = service.store.put_target(&target, now).map_err(failed)?;
    let bytes = decode::pprof::write(profile);
    let new = NewCapture { target, kind, time: now, reason: what, cost_micros: 0, bytes: &bytes };
    let capture = service.store.put_capture(&new).map_err(failed)?;
    Ok(capture.id.0)
}
