//! Which series are meant.

use model::Labels;
use regex::{Regex, RegexBuilder};

/// Bytes that a pattern may take when compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `=~`, the whole value.
    Matches,
    /// `!~`.
    NotMatches,
}

/// A condition on a label; a label that is not there is empty.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    pattern: Option<Regex>,
}

impl Matcher {
    /// A condition.
    ///
    /// # Errors
    /// Says what is wrong with a pattern.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Matcher, String> {
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Matches | MatchOp::NotMatches => {
                let pattern = format!("^(?s:{value})$");
                let built = RegexBuilder::new(&pattern).size_limit(PATTERN_BYTES_MAX).build();
                Some(built.map_err(|error| format!("{value:?} is no pattern: {error}"))?)
            }
        };
        Ok(Matcher { name: name.to_owned(), op, value: value.to_owned(), pattern })
    }

    /// The label.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value, when the label must have it: then few series need to be looked at.
    pub(super) fn exact(&self) -> Option<&str> {
        (self.op == MatchOp::Equal && !self.value.is_empty()).then_some(&self.value)
    }

    /// Reports whether a value passes.
    pub fn passes(&self, value: &str) -> bool {
        let matches = |pattern: &Option<Regex>| {
            pattern.as_ref().is_some_and(|pattern| pattern.is_match(value))
        };
        match self.op {
            MatchOp::Equal => value == self.value,
            MatchOp::NotEqual => value != self.value,
            MatchOp::Matches => matches(&self.pattern),
            MatchOp::NotMatches => !matches(&self.pattern),
        }
    }

    /// Reports whether a series passes.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.passes(labels.get(&self.name).unwrap_or_default())
    }
}
