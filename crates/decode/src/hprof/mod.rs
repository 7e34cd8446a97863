//! Java heap dumps (HPROF 1.0.1 to 1.0.3, of HotSpot and Android), read into the object
//! graph and written from it.
//!
//! Reading takes two passes over the bytes, which the caller maps: the first finds classes,
//! roots and where each object lies, the second follows pointers in address order. Beside
//! the columns of the graph it holds some 20 bytes an object. Sizes are those that HotSpot
//! gives objects, which the format does not say. A dump that ends early
//! gives what it holds, with a warning. Format: `hprof_b_spec.h` of the JDK, `heapDumper.cpp`
//! of HotSpot, `hprof.cc` of Android.

mod classes;
mod cursor;
mod facts;
mod graph;
mod layout;
mod names;
mod records;
mod roots;
mod subrecords;
#[cfg(test)]
mod tests;
mod write;

use std::io::Read;

use model::heap::HeapGraph;

use crate::compress;

pub use write::{Written, write};

/// Limits and choices of a read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Largest dump after decompression, which takes place in memory. Whoever has larger
    /// ones inflates them into a file and maps that.
    pub inflated_bytes_max: u64,
    /// What holds the values of static fields.
    pub statics: Statics,
}

impl Default for Options {
    fn default() -> Options {
        Options { inflated_bytes_max: 8 << 30, statics: Statics::Globals }
    }
}

/// What holds the values of static fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Statics {
    /// A holder for each static field of the classes that are never unloaded: those of the
    /// boot, platform and application loaders. It is named `Class.field`. Other class
    /// objects point to their values themselves, so that loaders that leak are seen.
    #[default]
    Globals,
    /// The class object, always, and every object points to its class, as Eclipse MAT sees
    /// it. For comparison with such tools.
    Classes,
}

/// Why a dump cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HprofError {
    /// The bytes begin otherwise.
    #[error("not a heap dump: expected \"JAVA PROFILE 1.0.\"")]
    NotHprof,
    /// The header says something no dump says.
    #[error("damaged heap dump: ids of {0} bytes, expected 4 or 8")]
    IdSize(u32),
    /// There is no object in it.
    #[error("the file holds no heap dump ({records} records, {bytes} bytes)")]
    NoHeap {
        /// Records that were read.
        records: u64,
        /// Size of the file.
        bytes: u64,
    },
    /// The graph has no numbers for so many.
    #[error("the dump has {0} objects, more than can be numbered")]
    TooManyObjects(u64),
    /// The compressed stream is damaged or too large.
    #[error("cannot inflate the heap dump: {0}")]
    Compressed(String),
}

/// Reads a dump: plain, gzip or zstd.
///
/// # Errors
/// When the bytes are no heap dump, or inflate to more than `options` allows. A dump that
/// is damaged further on gives the objects before the damage, and a warning.
pub fn read(bytes: &[u8], options: &Options) -> Result<HeapGraph<'static>, HprofError> {
    if compress::is_compressed(bytes) {
        let (inflated, warning) = inflate(bytes, options.inflated_bytes_max)?;
        let mut graph = graph::read(&inflated, options)?;
        graph.warnings.extend(warning);
        return Ok(graph);
    }
    graph::read(bytes, options)
}

/// The whole dump in memory, and what was wrong with the stream.
fn inflate(bytes: &[u8], bytes_max: u64) -> Result<(Vec<u8>, Option<String>), HprofError> {
    let failed = |error: std::io::Error| HprofError::Compressed(error.to_string());
    let mut inflated = Vec::new();
    let reader = compress::reader_with(bytes, bytes_max).map_err(failed)?;
    let mut reader = reader.take(bytes_max.saturating_add(1));
    let warning = match reader.read_to_end(&mut inflated) {
        Ok(_) => None,
        Err(error) if inflated.is_empty() => return Err(failed(error)),
        Err(error) => Some(format!("the compressed stream is damaged: {error}")),
    };
    if inflated.len() as u64 > bytes_max {
        let message = format!("it is larger than {bytes_max} bytes when inflated");
        return Err(HprofError::Compressed(message));
    }
    Ok((inflated, warning))
}
