//! What failed since the start, by part: `memsight_errors_total`.
//!
//! Events are no measure of it, as what fails again and again is told once. The counters are the
//! process's: failures happen deep down, and a counter that is handed there would be in every
//! signature.

use std::sync::atomic::{AtomicU64, Ordering};

use capture::CaptureError;
use decode::goruntime::RuntimeError;

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Reading a target.
    Capture,
    /// Keeping captures, observations, events and states.
    Store,
    /// Keeping series.
    Series,
    /// Evaluating Prometheus's rules.
    Rules,
    /// Doing what a capture rule asks for.
    Action,
    /// Reading pages of others.
    Scrape,
    /// Finding targets, and hearing the kernel.
    Watch,
    /// Taking over a configuration.
    Config,
}

const PARTS: [(Part, &str); 8] = [
    (Part::Capture, "capture"),
    (Part::Store, "store"),
    (Part::Series, "series"),
    (Part::Rules, "rules"),
    (Part::Action, "action"),
    (Part::Scrape, "scrape"),
    (Part::Watch, "watch"),
    (Part::Config, "config"),
];

static COUNTS: [AtomicU64; PARTS.len()] = [const { AtomicU64::new(0) }; PARTS.len()];

impl Part {
    /// Counts a failure, whether somebody is told of it or not.
    pub fn failed(self) {
        self.failed_times(1);
    }

    /// Counts several.
    pub(crate) fn failed_times(self, count: usize) {
        if let Some(counter) = COUNTS.get(self as usize) {
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
    }
}

/// All counts, also those that are 0: a counter that appears with 1 has no increase.
pub(crate) fn counts() -> Vec<(&'static str, u64)> {
    let read = |(part, name): (Part, &'static str)| {
        (name, COUNTS.get(part as usize).map_or(0, |count| count.load(Ordering::Relaxed)))
    };
    PARTS.map(read).to_vec()
}

/// Counts that a target could not be read, unless that is what it is like: that will be so each time.
pub(crate) fn note_capture(error: &CaptureError) {
    let is_its_nature = matches!(
        error,
        CaptureError::Unsupported(_)
            | CaptureError::Refused { .. }
            | CaptureError::Runtime {
                cause: RuntimeError::ProfilingDisabled
                    | RuntimeError::NotGo
                    | RuntimeError::UnsupportedVersion(_),
                ..
            }
    );
    if !is_its_nature {
        Part::Capture.failed();
    }
}
