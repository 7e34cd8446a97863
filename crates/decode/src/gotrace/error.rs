//! Why a trace cannot be read, or no further.

/// What is wrong with a trace, and where. Events before it are right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GoTraceError {
    /// The bytes begin otherwise.
    #[error("not a Go execution trace: expected \"go 1.N trace\" at the beginning")]
    NotTrace,
    /// A version whose format nobody reads any more, or not yet.
    #[error("an execution trace of Go 1.{0}; formats 1.11 to 1.26 are known")]
    Version(u32),
    /// The bytes end too early.
    #[error("the trace is cut off at offset {offset}: {what}")]
    Truncated {
        /// Where the bytes end, or what is incomplete begins.
        offset: u64,
        /// What is incomplete.
        what: &'static str,
    },
    /// The bytes are not what the format says.
    #[error("damaged trace at offset {offset}: {what}")]
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The events contradict each other.
    #[error("broken trace at offset {offset} (generation {generation}): {what}")]
    Order {
        /// The event that cannot follow those before it.
        offset: u64,
        /// The generation it is in.
        generation: u64,
        /// The contradiction.
        what: String,
    },
}

impl GoTraceError {
    pub(super) fn damaged(offset: u64, what: impl Into<String>) -> GoTraceError {
        GoTraceError::Damaged { offset, what: what.into() }
    }

    /// Where reading ended.
    pub fn offset(&self) -> u64 {
        match self {
            GoTraceError::NotTrace | GoTraceError::Version(_) => 0,
            GoTraceError::Truncated { offset, .. }
            | GoTraceError::Damaged { offset, .. }
            | GoTraceError::Order { offset, .. } => *offset,
        }
    }
}
