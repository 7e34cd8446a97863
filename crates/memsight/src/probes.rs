//! How the server probes running programs.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use agent::captures;
use agent::probes::Run;
use capture::{CaptureError, LiveTarget};
use model::TargetSpec;
use server::{FilesError, ProbeRuns};

/// The programs of this machine.
pub(crate) struct ProbeAccess;

impl ProbeRuns for ProbeAccess {
    fn run(&self, run: &Run, target: &TargetSpec) -> Result<(Vec<u8>, Duration), FilesError> {
        let told = |error: CaptureError| FilesError {
            message: error.to_string(),
            next: error.next_step().unwrap_or_default(),
        };
        let live = LiveTarget::attach(target).map_err(told)?;
        let stop = AtomicBool::new(false);
        let taken = captures::probe(&live, run, &stop).map_err(told)?;
        Ok((taken.bytes, taken.cost))
    }
}
