//! What the watch tells its subscribers.

use std::sync::Arc;

use model::{CaptureId, FindingKind, TargetId};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A target was found.
    TargetFound {
        /// Which.
        target: TargetId,
        /// Its name.
        name: String,
        /// Its process.
        pid: Option<u32>,
    },
    /// A target ended.
    TargetEnded {
        /// Which.
        target: TargetId,
    },
    /// New level signals are in the store.
    Observed {
        /// Whose.
        target: TargetId,
    },
    /// A capture is in the store.
    Captured {
        /// Whose.
        target: TargetId,
        /// The capture.
        capture: CaptureId,
    },
    /// The verdict was renewed.
    Diagnosed {
        /// About whom.
        target: TargetId,
        /// The verdict.
        verdict: FindingKind,
        /// How sure.
        confidence: f64,
        /// It is not the verdict of last time.
        is_new: bool,
        /// One line for people.
        summary: String,
    },
    /// Something did not work.
    Warning {
        /// About whom, if about one.
        target: Option<TargetId>,
        /// What, and what to do.
        text: String,
    },
}

/// Takes events; called from the watch's threads, so it must be quick.
pub type Publish = Arc<dyn Fn(Event) + Send + Sync>;
