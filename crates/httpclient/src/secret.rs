//! Values that are never printed.

use std::fmt;
use std::path::Path;

use serde::Deserialize;

use crate::error::HttpError;

/// A secret from a configuration; it prints as `<secret>`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// For secrets that come from elsewhere.
    pub fn new(value: impl Into<String>) -> Secret {
        Secret(value.into())
    }

    /// The value itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// The value of an option that may also lie in a file, without the spaces around it.
///
/// # Errors
/// When the file cannot be read.
pub(crate) fn value_or_file(
    value: Option<&Secret>,
    file: Option<&Path>,
) -> Result<String, HttpError> {
    match (value, file) {
        (Some(value), _) => Ok(value.reveal().to_owned()),
        (None, Some(path)) => Ok(read_text(path)?.trim().to_owned()),
        (None, None) => Ok(String::new()),
    }
}

pub(crate) fn read_text(path: &Path) -> Result<String, HttpError> {
    let text = std::fs::read_to_string(path);
    text.map_err(|source| HttpError::File { path: path.to_owned(), source })
}
