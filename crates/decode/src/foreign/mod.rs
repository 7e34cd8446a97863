//! Profiles of other tools: folded stacks, `perf script`, jemalloc, speedscope.

mod folded;
mod jemalloc;
mod named;
mod perfscript;
mod speedscope;

use model::Profile;

/// Reads a text of another tool; `None` when it is none of theirs.
pub(crate) fn read(text: &str) -> Option<Result<(Profile, Vec<String>), String>> {
    let start = text.trim_start();
    if start.starts_with('{') {
        return Some(speedscope::read(start));
    }
    if start.starts_with("heap_v2/") {
        return Some(jemalloc::read(start));
    }
    if start.starts_with("goroutine ") && start.lines().next()?.ends_with("]:") {
        return Some(Ok(goroutines(start)));
    }
    if perfscript::is_header(start.lines().find(|line| !line.starts_with('#'))?) {
        return Some(Ok(perfscript::read(start)));
    }
    folded::read(text).map(Ok)
}

/// A goroutine dump (`goroutine?debug=2`, a panic).
fn goroutines(text: &str) -> (Profile, Vec<String>) {
    let snapshot = crate::gotext::goroutines(text);
    let profile = crate::pprof::goroutines::to_profile(&snapshot, model::Timestamp(0));
    (profile, snapshot.warnings)
}

#[cfg(test)]
mod tests;
