//! What the server cannot do itself: mapping files and reading running programs. Whoever
//! starts it provides both.

use std::path::Path;

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
    ) -> Result<(), HeapFilesError>;

    /// Calls `work` once with the heap of a running program, which goes on meanwhile, and
    /// with a clock: the CPU time that all of it has cost so far, in microseconds.
    ///
    /// # Errors
    /// When it cannot be taken.
    fn with_target(
        &self,
        target: &TargetSpec,
        work: &mut dyn FnMut(&HeapGraph<'_>, &dyn Fn() -> u64),
    ) -> Result<(), HeapFilesError>;
}

/// Why there is no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HeapFilesError {
    /// What happened.
    pub message: String,
    /// What to do about it; may be empty.
    pub next: String,
}
