//! memsight's snapshot file: a heap graph as named columns that are used where they lie.
//!
//! ```text
//! "memsight heap\n", two zero bytes, version u32, zero u32
//! columns, each 8-aligned
//! directory: 64 bytes a column (name, type, CRC-32, offset, length)
//! trailer: directory offset u64, columns u64, CRC-32 u32, zero u32, "heap end"
//! ```
//!
//! Everything is little-endian. The directory comes last, so that a graph is written in one
//! pass and nothing is held twice. Columns that have one value an object or a pointer are
//! borrowed from the file's bytes: opening a file costs its checksums, one pass of
//! [`HeapGraph::check`], and memory for the types and roots only. Columns this version does
//! not know are ignored, so newer files of the same version stay readable.

mod container;
mod error;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::io;

use model::HeapGraph;

pub use container::Verify;
pub use error::HeapFileError;

use container::MAGIC;

/// Whether bytes begin as a snapshot file does.
pub fn is_heap_file(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Writes a graph; returns how many bytes that took.
///
/// # Errors
/// When writing fails, or the graph is inconsistent and could not be read again.
pub fn write(graph: &HeapGraph<'_>, out: &mut impl io::Write) -> io::Result<u64> {
    write::graph(graph, out)
}

/// Reads a graph, which borrows its large columns where `bytes` are 8-aligned (as mapped
/// files are) and copies them where they are not.
///
/// # Errors
/// When it is no snapshot file, one of a newer version, truncated or damaged; the error
/// names the column.
pub fn read(bytes: &[u8], verify: Verify) -> Result<HeapGraph<'_>, HeapFileError> {
    read::graph(bytes, verify)
}
