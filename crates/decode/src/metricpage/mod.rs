//! Pages on which Go programs show metrics: `/debug/vars` (expvar), `/debug/pprof/heap?debug=1`
//! and pages for Prometheus. What they have is given Go's name where it means exactly the same;
//! anything else on the page is passed over.

mod memstats;
mod prometheus;

use model::RuntimeMetrics;

/// The line after which the text form of a heap profile has MemStats.
const MEMSTATS_MARK: &str = "\n# runtime.MemStats\n";

/// Reads a page, whichever it is; `None` when no metric of the Go runtime is on it.
pub fn read(page: &[u8]) -> Option<RuntimeMetrics> {
    let first = page.iter().find(|byte| !byte.is_ascii_whitespace())?;
    let mut metrics = if *first == b'{' {
        memstats::expvar(page)?
    } else {
        let text = String::from_utf8_lossy(page);
        match text.rsplit_once(MEMSTATS_MARK) {
            Some((_, tail)) => memstats::heap_text(tail),
            None => prometheus::read(&text),
        }
    };
    metrics.sort();
    (!metrics.samples.is_empty()).then_some(metrics)
}

#[cfg(test)]
mod tests;
