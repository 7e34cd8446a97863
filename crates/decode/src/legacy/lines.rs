//! Lines of text profiles.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::Regex;

use super::{Refusal, malformed};

/// A compiled expression; those here are constants that compile.
pub(super) struct Pattern(LazyLock<Option<Regex>>);

impl Pattern {
    pub(super) const fn new(compile: fn() -> Option<Regex>) -> Pattern {
        Pattern(LazyLock::new(compile))
    }

    /// The groups of the first match, the whole match first.
    pub(super) fn groups<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        let found = self.0.as_ref()?.captures(text)?;
        Some(found.iter().map(|group| group.map_or("", |group| group.as_str())).collect())
    }

    pub(super) fn find<'t>(&self, text: &'t str) -> Option<regex::Match<'t>> {
        self.0.as_ref()?.find(text)
    }

    pub(super) fn all<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let regex = self.0.as_ref();
        regex.map_or_else(Vec::new, |regex| regex.find_iter(text).map(|m| m.as_str()).collect())
    }
}

/// Declares a [`Pattern`].
macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: $crate::legacy::lines::Pattern =
            $crate::legacy::lines::Pattern::new(|| regex::Regex::new($text).ok());
    };
}
pub(super) use pattern;

/// The bytes as text; stray bytes become replacement characters.
pub(super) fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Lines with the current one, as readers that look back at it need.
pub(super) struct Lines<'t> {
    rest: std::str::Lines<'t>,
    /// The current line; empty before the first and after the last.
    pub(super) line: &'t str,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t str) -> Lines<'t> {
        Lines { rest: text.lines(), line: "" }
    }

    /// Goes to the next line; false at the end.
    pub(super) fn advance(&mut self) -> bool {
        let next = self.rest.next();
        self.line = next.unwrap_or("");
        next.is_some()
    }

    /// Goes to the next line that is neither empty nor a comment.
    pub(super) fn skip_comments(&mut self) -> bool {
        while self.advance() {
            if !is_comment(self.line) {
                return true;
            }
        }
        false
    }

    /// What follows the current line.
    pub(super) fn rest(&self) -> std::str::Lines<'t> {
        self.rest.clone()
    }
}

/// Reports whether a line is empty or starts with `#`.
pub(super) fn is_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

pattern!(HEX, "0x[0-9a-f]+");

/// All hexadecimal numbers of a text.
pub(super) fn addresses(text: &str) -> Result<Vec<u64>, Refusal> {
    let parse = |word: &str| {
        let digits = word.get(2..).unwrap_or("");
        u64::from_str_radix(digits, 16)
            .map_err(|_| malformed(text, format!("failed to parse as hex 64-bit number: {word}")))
    };
    HEX.all(text).into_iter().map(parse).collect()
}

/// An integer as Go's strconv reads it with base 0.
pub(super) fn integer(text: &str) -> Option<i64> {
    match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => i64::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}
