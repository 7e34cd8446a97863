//! Go's regular expressions (RE2 syntax) on Rust's engine.
//!
//! The two agree but for a few letters: Go takes a brace that opens no repetition and
//! a bracket inside a class as themselves, knows `\Q...\E`, and its `\d \w \s \b` are ASCII.

use regex::Regex;

/// A compiled pattern and its text.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// When it is no valid expression.
    pub fn new(text: &str) -> Result<Pattern, regex::Error> {
        let regex = Regex::new(&translate(text)).or_else(|_| Regex::new(text))?;
        Ok(Pattern { text: text.to_owned(), regex })
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Reports whether it matches anywhere in `haystack`.
    pub fn is_match(&self, haystack: &str) -> bool {
        self.regex.is_match(haystack)
    }
}

fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text;
    let mut in_class = false;
    while let Some(letter) = rest.chars().next() {
        let tail = rest.get(letter.len_utf8()..).unwrap_or("");
        let mut taken = letter.len_utf8();
        match letter {
            '\\' if tail.starts_with('Q') && !in_class => {
                let quoted = tail.get(1..).unwrap_or("");
                let end = quoted.find("\\E").unwrap_or(quoted.len());
                out.push_str(&regex::escape(quoted.get(..end).unwrap_or("")));
                taken = 2 + end + if end < quoted.len() { 2 } else { 0 };
            }
            '\\' => {
                let next = tail.chars().next();
                match next {
                    Some(class @ ('d' | 'D' | 'w' | 'W' | 's' | 'S')) => {
                        out.push_str(ascii_class(class, in_class));
                    }
                    Some(bound @ ('b' | 'B')) if !in_class => {
                        out.push_str(&format!("(?-u:\\{bound})"));
                    }
                    Some(next) => out.extend(['\\', next]),
                    None => out.push('\\'),
                }
                taken += next.map_or(0, char::len_utf8);
            }
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                // A bracket right after the opening one stands for itself.
                let negated = tail.strip_prefix('^');
                if negated.is_some() {
                    out.push('^');
                    taken += 1;
                }
                if negated.unwrap_or(tail).starts_with(']') {
                    out.push_str("\\]");
                    taken += 1;
                }
            }
            '[' if !tail.starts_with(':') => out.push_str("\\["),
            '[' => {
                let end = tail.find(":]").map_or(0, |end| end + 2);
                out.push('[');
                out.push_str(tail.get(..end).unwrap_or(""));
                taken += end;
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => out.extend(['\\', letter]),
            '{' if !in_class && !is_repetition(tail) => out.push_str("\\{"),
            other => out.push(other),
        }
        rest = rest.get(taken..).unwrap_or("");
    }
    out
}

/// The ASCII form of a letter class; negated ones cannot be spelt out inside a class.
fn ascii_class(letter: char, in_class: bool) -> &'static str {
    match (letter, in_class) {
        ('d', true) => "0-9",
        ('d', false) => "[0-9]",
        ('D', _) => "[^0-9]",
        ('w', true) => "0-9A-Za-z_",
        ('w', false) => "[0-9A-Za-z_]",
        ('W', _) => "[^0-9A-Za-z_]",
        ('s', true) => "\\t\\n\\x0C\\r ",
        ('s', false) => "[\\t\\n\\x0C\\r ]",
        _ => "[^\\t\\n\\x0C\\r ]",
    }
}

/// `3}`, `3,}` or `3,5}`.
fn is_repetition(tail: &str) -> bool {
    let Some((inside, _)) = tail.split_once('}') else { return false };
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && is_number(low) && is_number(high)
}
