//! Why a snapshot file cannot be read.

use model::heap::Inconsistent;

/// Why a snapshot file cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeapFileError {
    /// It begins as something else does.
    #[error("not a memsight heap snapshot")]
    NotHeapFile,
    /// Written by a newer memsight.
    #[error("a heap snapshot of format version {found}; this memsight reads version {expected}")]
    Version {
        /// The version this reader knows.
        expected: u32,
        /// The file's.
        found: u32,
    },
    /// The end is missing, or something was appended.
    #[error("a truncated heap snapshot: {bytes} bytes, and the last ones are not its end")]
    Truncated {
        /// How long the file is.
        bytes: u64,
    },
    /// The list of columns is damaged.
    #[error("damaged heap snapshot: {what} in the directory at offset {offset:#x}")]
    Directory {
        /// What is wrong.
        what: &'static str,
        /// Where.
        offset: u64,
    },
    /// A column's bytes are not those that were written.
    #[error(
        "damaged heap snapshot: column {column} at offset {offset:#x} has checksum {found:08x}, \
         written was {expected:08x}"
    )]
    Checksum {
        /// The column.
        column: String,
        /// Where it begins.
        offset: u64,
        /// From the directory.
        expected: u32,
        /// Of the bytes.
        found: u32,
    },
    /// A column without which there is no graph.
    #[error("damaged heap snapshot: it has no column {0}")]
    Missing(&'static str),
    /// A column that is not what it should be.
    #[error("damaged heap snapshot: column {column} has {found}, expected {expected}")]
    Column {
        /// The column.
        column: &'static str,
        /// What it should have.
        expected: String,
        /// What it has.
        found: String,
    },
    /// Columns that do not fit each other.
    #[error("damaged heap snapshot: its {0} do not fit together")]
    Inconsistent(&'static str),
}

impl From<Inconsistent> for HeapFileError {
    fn from(error: Inconsistent) -> HeapFileError {
        HeapFileError::Inconsistent(error.0)
    }
}
