//! What can go wrong with a request.

use std::path::PathBuf;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The options contradict each other, or ask for what we cannot do.
    #[error("{0}")]
    Options(String),
    /// A secret or certificate cannot be read now.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A certificate or key makes no sense.
    #[error("{what}: {message}")]
    Certificate {
        /// `ca`, `cert` or `key`.
        what: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The OAuth 2 server gave no token.
    #[error("no OAuth 2 token from {url}: {message}")]
    Token {
        /// The server.
        url: String,
        /// Why.
        message: String,
    },
    /// Nobody answered, or nothing that is HTTP.
    #[error("{url}: {message}")]
    Exchange {
        /// Who was asked.
        url: String,
        /// What happened.
        message: String,
        /// No answer came in time.
        is_timeout: bool,
    },
}
