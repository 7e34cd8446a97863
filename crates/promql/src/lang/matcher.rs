//! What a label of a series must be.

use std::fmt;

use model::series::Labels;
use regex::Regex;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `=~`.
    Regex,
    /// `!~`.
    NotRegex,
}

impl MatchOp {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// A condition on one label. A label that a series lacks is the empty text.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// How.
    pub op: MatchOp,
    /// With what.
    pub value: String,
    /// The value as an expression of all of the text, where `op` is one of the regular ones.
    regex: Option<Regex>,
}

impl Matcher {
    /// Compiles what has to be compiled.
    ///
    /// # Errors
    /// The value is no regular expression.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Matcher, String> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored(value)?),
        };
        Ok(Matcher { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// Reports whether a value passes.
    pub fn matches(&self, value: &str) -> bool {
        let by_regex = || self.regex.as_ref().is_some_and(|regex| regex.is_match(value));
        match self.op {
            MatchOp::Equal => self.value == value,
            MatchOp::NotEqual => self.value != value,
            MatchOp::Regex => by_regex(),
            MatchOp::NotRegex => !by_regex(),
        }
    }

    /// Reports whether a series passes.
    pub fn matches_labels(&self, labels: &Labels) -> bool {
        self.matches(labels.get(&self.name).unwrap_or_default())
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

/// Compiles an expression that has to match all of a text, as Prometheus does.
pub(crate) fn anchored(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?s:{pattern})$")).map_err(|error| {
        let last = error.to_string();
        let last = last.lines().last().unwrap_or_default();
        format!("{pattern:?} is no regular expression: {}", last.trim_start_matches("error: "))
    })
}
