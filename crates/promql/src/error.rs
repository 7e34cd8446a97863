//! What can go wrong with a query.

use std::fmt;

/// A place in a text, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column, in characters.
    pub column: u32,
}

impl Place {
    /// The place of a byte.
    pub fn of(text: &str, at: usize) -> Place {
        let before = text.get(..at).unwrap_or(text);
        let line = before.matches('\n').count();
        let last = before.rsplit('\n').next().unwrap_or_default();
        let small = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
        Place { line: small(line), column: small(last.chars().count()) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a query gives no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no query.
    #[error("{place}: {message}")]
    Parse {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// Prometheus could evaluate it; this cannot.
    #[error("{place}: {what} is not supported here")]
    Unsupported {
        /// Where.
        place: Place,
        /// What.
        what: String,
    },
    /// The series do not allow the operation.
    #[error("{0}")]
    Evaluation(String),
    /// It would take more than it may.
    #[error("{0}")]
    TooMuch(String),
    /// It was stopped.
    #[error("the query was stopped before it was done")]
    Stopped,
    /// The storage failed.
    #[error("cannot read series: {0}")]
    Storage(String),
}
