//! What the server cannot do itself: mapping files and reading running programs. Whoever
//! starts it provides both.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use agent::probes::Run;
use model::{HeapGraph, TargetSpec};

/// Opens files of heaps and takes heaps of programs.
pub trait HeapFiles: Send + Sync {
    /// Calls `work` once with the graph that a file holds: a snapshot of memsight, or a
    /// dump of another kind. Nothing else on the machine may be read for it.
    ///
    /// # Errors
    /// When the file holds no heap that can be read.
    fn with_file(
        &self,
        path: &Path,
        work: &mut dyn FnMut(&HeapGraph<'_>),
    ) -> Result<(), FilesError>;

    /// Calls `work` once with the heap of a running program, which goes on meanwhile, and
    /// with a clock: the CPU time that all of it has cost so far, in microseconds.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn with_target(
        &self,
        target: &TargetSpec,
        work: &mut dyn FnMut(&HeapGraph<'_>, &dyn Fn() -> u64),
    ) -> Result<(), FilesError>;
}

/// Opens files of traces and has programs write them.
pub trait TraceFiles: Send + Sync {
    /// Calls `work` once with the bytes of a file.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn with_file(&self, path: &Path, work: &mut dyn FnMut(&[u8])) -> Result<(), FilesError>;

    /// Writes a trace of a running program to `out`.
    ///
    /// # Errors
    /// When it has no endpoint for traces, or it fails; what was written is no trace then.
    fn record(
        &self,
        target: &TargetSpec,
        duration: Duration,
        out: &mut dyn Write,
    ) -> Result<(), FilesError>;
}

/// Probes running programs.
pub trait ProbeRuns: Send + Sync {
    /// What a probe sees while the run lasts, as a profile, and the CPU time that it cost.
    ///
    /// # Errors
    /// When the program cannot be probed.
    fn run(&self, run: &Run, target: &TargetSpec) -> Result<(Vec<u8>, Duration), FilesError>;
}

/// Why there is no graph, no trace or no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FilesError {
    /// What happened.
    pub message: String,
    /// What to do about it; may be empty.
    pub next: String,
}
