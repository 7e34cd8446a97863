//! Any profile format: looks at the bytes and picks the reader.

use std::io::Read;

use crate::compress;
use crate::pprof::{self, Options, Parsed, PprofError};

/// Reads a profile in whatever format it is.
///
/// # Errors
/// When no reader knows the format, or the one that does finds it damaged.
pub fn read(input: impl Read) -> Result<Parsed, PprofError> {
    let reader = compress::reader(input).map_err(|error| PprofError::Gzip(error.to_string()))?;
    pprof::read_plain(Vec::new(), reader, Options::default())
}
