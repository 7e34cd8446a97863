//! `-http`: memsight's own pages on the profile, from a store that lives as long as the
//! server.

use std::sync::Arc;

use model::{CaptureKind, Profile, TargetId};
use store::NewCapture;

use super::flags::Call;
use super::prepare;
use crate::failure::Failure;
use crate::service::Service;
use crate::viewer::Viewer;

/// Serves until Ctrl-C.
pub(super) fn serve(call: &Call) -> Result<(), String> {
    let told = |failure: Failure| match failure.next {
        Some(next) => format!("{:#}\n{next}", failure.error),
        None => format!("{:#}", failure.error),
    };
    let (profile, base) = prepare::apart(call)?;
    let viewer = Viewer::start(&address(&call.http)?).map_err(told)?;
    let target = viewer.target(&call.sources.join(" ")).map_err(told)?;
    let service = &viewer.service;
    let base = base.map(|base| put(service, target, &base, "base")).transpose()?;
    let shown = put(service, target, &profile, "profile")?;
    let query = base.map(|base| format!("?base={base}")).unwrap_or_default();
    // While the browser starts.
    let (recent, store) = (Arc::clone(&service.recent), Arc::clone(&service.store));
    std::thread::spawn(move || recent.warm(&store, shown));
    viewer.serve(&format!("/capture/{shown}{query}"), call.no_browser).map_err(told)?;
    Ok(())
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

fn put(service: &Service, target: TargetId, profile: &Profile, what: &str) -> Result<i64, String> {
    let kinds = profile.sample_types.iter().map(|t| profile.str(t.kind));
    let is_goroutines = kinds.into_iter().eq(["goroutine"]);
    let kind = if is_goroutines { CaptureKind::Goroutine } else { CaptureKind::Heap };
    let (time, bytes) = (capture::now(), decode::pprof::write(profile));
    let new = NewCapture { target, kind, time, reason: what, cost_micros: 0, bytes: &bytes };
    let capture = service.store.put_capture(&new).map_err(|error| error.to_string())?;
    Ok(capture.id.0)
}
