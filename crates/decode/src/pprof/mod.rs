//! profile.proto: Go's profile format, read and written by hand.
//!
//! Reads gzip, zstd and plain as a stream; the inflated size is capped, every count is bounded by
//! the bytes that are left, and foreign ids are errors. A gzip stream that ends
//! early gives what can be read, with a warning. Format: proto/profile.proto of
//! github.com/google/pprof.

pub mod goroutines;
mod read;
mod stream;
mod wire;
mod write;

pub(crate) use read::read_plain;
pub use read::{Options, Parsed, read, read_with};
pub use write::{write, write_plain, write_to};

/// Why a profile cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PprofError {
    /// Neither gzip nor profile.proto.
    #[error("not a profile: expected profile.proto, plain, gzip or zstd")]
    NotAProfile,
    /// Two profiles end to end.
    #[error("two profiles one after the other; give each its own file")]
    Concatenated,
    /// A text format is damaged.
    #[error("{0}")]
    Malformed(String),
    /// The compressed stream is damaged.
    #[error("damaged compressed stream: {0}")]
    Gzip(String),
    /// The input cannot be read.
    #[error("{0}")]
    Unreadable(String),
    /// The inflated profile exceeds the limit.
    #[error("the profile is larger than {0} bytes when inflated")]
    TooLarge(u64),
    /// A field is damaged.
    #[error("damaged profile: {what} at byte {offset}")]
    Damaged {
        /// What was expected there.
        what: &'static str,
        /// Offset in the inflated bytes.
        offset: usize,
    },
    /// A reference to something that is not in the profile.
    #[error("damaged profile: unknown {what} {id}")]
    UnknownId {
        /// What it should be.
        what: &'static str,
        /// The id.
        id: u64,
    },
    /// A sample has too many or too few values.
    #[error("damaged profile: a sample has {found} values for {expected} sample types")]
    ValueCount {
        /// Number of sample types.
        expected: usize,
        /// Number of values.
        found: usize,
    },
}

impl From<std::io::Error> for PprofError {
    fn from(error: std::io::Error) -> PprofError {
        use std::io::ErrorKind;
        match error.kind() {
            // What decompressors say; sources of bytes have their own kinds.
            ErrorKind::InvalidData
            | ErrorKind::InvalidInput
            | ErrorKind::UnexpectedEof
            | ErrorKind::Other => PprofError::Gzip(error.to_string()),
            _ => PprofError::Unreadable(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
