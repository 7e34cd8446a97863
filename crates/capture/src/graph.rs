//! The object graph of a Go program whose memory is taken or lies in a core file.

use decode::goheap::{self, Input, Keep};
use decode::goruntime::RuntimeError;
use model::HeapGraph;

use crate::columns::ScratchColumns;
use crate::core::Core;
use crate::error::CaptureError;
use crate::live::ProcessTarget;
use crate::program::Program;
use crate::snapshot::{Frozen, Options, Progress};

impl Program<'_> {
    /// Reads the object graph; its large columns lie in what `columns` lends.
    ///
    /// # Errors
    /// When the memory holds no heap that can be read.
    pub fn object_graph<'s>(
        &self,
        contents: Keep,
        columns: &'s ScratchColumns,
    ) -> Result<HeapGraph<'s>, RuntimeError> {
        let input = Input {
            binary: self.binary,
            attached: self.attached,
            file: self.exe,
            debug_file: None,
            libraries: &self.libraries,
            image: &self.image,
            threads: self.threads,
            contents,
        };
        goheap::read_into(&input, &columns)
    }
}

impl Core {
    /// Reads the object graph of the process the core is of; its large columns lie in what
    /// `columns` lends.
    ///
    /// # Errors
    /// When the core holds no heap that can be read.
    pub fn object_graph<'s>(
        &self,
        contents: Keep,
        columns: &'s ScratchColumns,
    ) -> Result<HeapGraph<'s>, CaptureError> {
        let read = self.program().object_graph(contents, columns);
        let mut graph = read.map_err(|error| self.unusable(error.to_string()))?;
        let name = self.exe_path.rsplit('/').next().unwrap_or_default();
        name.clone_into(&mut graph.source.target);
        self.exe_path.clone_into(&mut graph.source.executable);
        "core".clone_into(&mut graph.source.method);
        graph.warnings.extend(self.warnings.iter().cloned());
        Ok(graph)
    }
}

impl ProcessTarget {
    /// Takes the process's memory and reads its object graph. The process stands still
    /// as `options` say, and runs on while the graph is read. The graph's large columns lie
    /// in what `columns` lends.
    ///
    /// # Errors
    /// When the memory cannot be taken or holds no heap that can be read.
    pub fn object_graph<'s>(
        &self,
        options: &Options,
        contents: Keep,
        columns: &'s ScratchColumns,
        progress: &mut Progress<'_>,
    ) -> Result<HeapGraph<'s>, CaptureError> {
        let frozen = self.freeze(options, progress)?;
        self.graph_of(&frozen, contents, columns)
    }

    /// Reads the object graph of memory that was taken; see [`Self::object_graph`].
    ///
    /// # Errors
    /// When the memory holds no heap that can be read.
    pub fn graph_of<'s>(
        &self,
        frozen: &Frozen,
        contents: Keep,
        columns: &'s ScratchColumns,
    ) -> Result<HeapGraph<'s>, CaptureError> {
        let read = self.program(frozen).object_graph(contents, columns);
        let mut graph = read.map_err(|source| CaptureError::from_runtime(self.pid(), source))?;
        self.target().name.clone_into(&mut graph.source.target);
        graph.source.executable = self.target().labels.get("exe").cloned().unwrap_or_default();
        graph.source.time = Some(frozen.time);
        frozen.method.name().clone_into(&mut graph.source.method);
        // A process that was read while it ran did not stand still at all.
        let pause = u64::try_from(frozen.pause.as_nanos()).ok();
        graph.source.pause_nanos = pause.filter(|_| frozen.is_consistent());
        graph.warnings.extend(frozen.warnings.iter().cloned());
        if !frozen.is_consistent() {
            let warning =
                "the program ran while its memory was read: parts are of different moments";
            graph.warnings.push(warning.to_owned());
        }
        Ok(graph)
    }
}
