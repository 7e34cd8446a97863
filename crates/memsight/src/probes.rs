//! How the server probes running programs.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent::captures;
use capture::{CaptureError, LiveTarget};
use model::{CaptureKind, TargetSpec};
use server::{FilesError, ProbeRuns};

/// The programs of this machine.
pub(crate) struct ProbeAccess;

impl ProbeRuns for ProbeAccess {
    fn run(
        &self,
        kind: CaptureKind,
        target: &TargetSpec,
        length: Duration,
    ) -> Result<(Vec<u8>, Duration), FilesError> {
        let told = |error: CaptureError| FilesError {
            message: error.to_string(),
            next: error.next_step().unwrap_or_default(),
        };
        let live = LiveTarget::attach(target).map_err(told)?;
        let stop = AtomicBool::new(false);
        let taken = captures::probe(kind, &live, length, &stop).map_err(told)?;
        Ok((taken.bytes, taken.cost))
    }
}
