//! The rules that come with memsight.

use super::rule::Rule;

/// Their text, which `memsight rules show` prints: a start for one's own.
pub const DEFAULTS: &str = include_str!("defaults.yaml");

/// The rules that come with memsight.
pub fn defaults() -> Vec<Rule> {
    // They are part of the program; a test reads them.
    super::parse(DEFAULTS).unwrap_or_default()
}
