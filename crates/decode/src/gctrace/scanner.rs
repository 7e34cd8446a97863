//! Reads a line from left to right and remembers what was missing.

use std::str::FromStr;

/// The rest of a line.
pub(super) struct Scanner<'t> {
    text: &'t str,
    at: usize,
    expected: &'static str,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Scanner<'t> {
        Scanner { text, at: 0, expected: "" }
    }

    /// How far the line was read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// What was not there.
    pub(super) fn expected(&self) -> &'static str {
        self.expected
    }

    /// Stops because something is missing.
    pub(super) fn miss<T>(&mut self, expected: &'static str) -> Option<T> {
        self.expected = expected;
        None
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Passes a text that must be there.
    pub(super) fn after(&mut self, text: &'static str) -> Option<&mut Scanner<'t>> {
        if self.try_after(text) { Some(self) } else { self.miss(text) }
    }

    /// Passes a text if it is there.
    pub(super) fn try_after(&mut self, text: &str) -> bool {
        let is_there = self.rest().starts_with(text);
        self.at += if is_there { text.len() } else { 0 };
        is_there
    }

    /// The longest run of the signs that `is_part` accepts.
    fn run(&mut self, is_part: impl Fn(u8) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.bytes().take_while(|byte| is_part(*byte)).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// A whole number.
    pub(super) fn number<T: FromStr>(&mut self) -> Option<T> {
        let start = self.at;
        self.try_after("-");
        self.run(|byte| byte.is_ascii_digit());
        self.text.get(start..self.at).and_then(|digits| digits.parse().ok()).or_else(|| {
            self.at = start;
            self.miss("a number")
        })
    }

    /// A whole number if one is there.
    pub(super) fn maybe_number(&mut self) -> Option<u64> {
        self.rest().bytes().next().filter(u8::is_ascii_digit)?;
        self.number()
    }

    /// A number: `0.018`, `+2.364655e+000`, `+Inf`.
    pub(super) fn float(&mut self) -> Option<f64> {
        let start = self.at;
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+');
        let run = self.run(is_part);
        // What follows may also begin with a sign or a letter: `0.018+1.3`, `0.01s`.
        let value = (1..=run.len()).rev().find_map(|length| {
            let value: f64 = run.get(..length)?.parse().ok()?;
            Some((length, value))
        });
        let Some((length, value)) = value else {
            self.at = start;
            return self.miss("a number");
        };
        self.at = start + length;
        Some(value)
    }

    /// Numbers with one of the signs between them.
    pub(super) fn floats(&mut self, between: &[char]) -> Option<Vec<f64>> {
        let mut values = vec![self.float()?];
        while values.len() < 16 && self.rest().starts_with(between) {
            self.at += 1;
            values.push(self.float()?);
        }
        Some(values)
    }

    /// `a+b+c=N`, of which N counts, or a number alone.
    pub(super) fn sum(&mut self) -> Option<u64> {
        let mut last = self.number()?;
        while self.try_after("+") || self.try_after("=") {
            last = self.number()?;
        }
        Some(last)
    }

    /// Up to the next space.
    pub(super) fn word(&mut self) -> Option<&'t str> {
        let word = self.run(|byte| byte != b' ');
        if word.is_empty() { self.miss("a word") } else { Some(word) }
    }

    /// `key=number`.
    pub(super) fn pair(&mut self) -> Option<(&'t str, u64)> {
        let start = self.at;
        let key = self.run(|byte| byte.is_ascii_lowercase());
        if !key.is_empty()
            && self.try_after("=")
            && let Some(value) = self.maybe_number()
        {
            return Some((key, value));
        }
        self.at = start;
        None
    }
}
