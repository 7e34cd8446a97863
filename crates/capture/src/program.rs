//! A Go program whose memory is at hand: what the heap decoder needs, from a snapshot or
//! from a core file.

use decode::goheap::Library;
use decode::goruntime::{Attached, Binary, MemoryImage, Process, RuntimeError, ThreadRegisters};
use decode::procfs::Mapping;

/// A Go program whose memory is at hand.
#[derive(Debug)]
pub struct Program<'a> {
    /// What the executable tells.
    pub binary: &'a Binary,
    /// Where it was loaded.
    pub attached: &'a Attached,
    /// The executable's bytes.
    pub exe: &'a [u8],
    /// Shared objects it has mapped, its plugins among them.
    pub libraries: Vec<Library<'a>>,
    /// The memory.
    pub image: MemoryImage<'a>,
    /// The registers of every thread, where they are known.
    pub threads: &'a [ThreadRegisters],
    /// What was mapped.
    pub mappings: &'a [Mapping],
}

impl Program<'_> {
    /// The runtime's structures in this memory.
    ///
    /// # Errors
    /// When the executable is damaged.
    pub fn process(&self) -> Result<Process<'_, MemoryImage<'_>>, RuntimeError> {
        Process::new(self.binary, self.attached, self.exe, &self.image)
    }
}
