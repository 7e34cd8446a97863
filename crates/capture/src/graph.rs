//! The object graph of a running Go process: its memory is taken, then read.

use decode::goheap::{self, Input, Keep};
use model::HeapGraph;

use crate::error::CaptureError;
use crate::live::ProcessTarget;
use crate::snapshot::{self, Options, Progress};

/// Since this minor release the collector marks within pages (Green Tea), so that a
/// collection copies many of the pages a clone shares.
const MARKS_IN_PAGES_SINCE: u16 = 26;

impl ProcessTarget {
    /// Takes the process's memory and reads its object graph. The process stands still
    /// as `options` say, and runs on while the graph is read.
    ///
    /// # Errors
    /// When the memory cannot be taken or holds no heap that can be read.
    pub fn object_graph(
        &self,
        options: &Options,
        contents: Keep,
        progress: &mut Progress<'_>,
    ) -> Result<HeapGraph<'static>, CaptureError> {
        let marks_in_pages = self.binary().version.minor >= MARKS_IN_PAGES_SINCE;
        let options = Options { marks_in_pages, ..options.clone() };
        let frozen = snapshot::take(self.pid(), &options, progress)?;
        let image = frozen.image();
        let input = Input {
            binary: self.binary(),
            attached: self.attached(),
            file: self.executable(),
            debug_file: None,
            image: &image,
            threads: &frozen.threads,
            contents,
        };
        let read = goheap::read(&input);
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
