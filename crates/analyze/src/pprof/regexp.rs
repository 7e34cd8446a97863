//! Go's regular expressions (RE2 syntax) on Rust's engine.
//!
//! A pattern is read as Go's regexp/syntax reads it, refused with Go's words, and written
//! in the syntax of the regex crate. Without this, what only one of the two knows
//! (`\Q..\E`, a lone brace, `&&` in a class, `(?x)`) would mean something else. Go's
//! `\d \w \s \b` are ASCII. The result is at most eight times as long as the pattern, and
//! the engine bounds what it compiles to.

use regex::Regex;

/// A compiled pattern and its text.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

/// Why a pattern is refused, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error parsing regexp: {}", self.0)
    }
}

impl Pattern {
    /// Compiles `text`.
    ///
    /// # Errors
    /// When it is no valid expression.
    pub fn new(text: &str) -> Result<Pattern, PatternError> {
        let regex =
            Regex::new(&translate(text)?).map_err(|error| PatternError(error.to_string()))?;
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

fn refused<T>(what: &str, near: &str) -> Result<T, PatternError> {
    Err(PatternError(format!("{what}: `{near}`")))
}

/// The start of `before` that `after` no longer has.
fn taken<'a>(before: &'a str, after: &str) -> &'a str {
    before.get(..before.len() - after.len()).unwrap_or(before)
}

fn translate(text: &str) -> Result<String, PatternError> {
    let mut translator = Translator { whole: text, rest: text, ..Translator::default() };
    let mut last_repeat = None;
    while let Some(letter) = translator.rest.chars().next() {
        let before = translator.rest;
        let length = match letter {
            '*' | '+' | '?' => Some(1),
            '{' => repetition(before)?,
            _ => None,
        };
        match length {
            Some(length) => {
                translator.repeat(length, last_repeat)?;
                last_repeat = Some(before);
            }
            None => {
                translator.item(letter)?;
                last_repeat = None;
            }
        }
    }
    match translator.depth {
        0 => Ok(translator.out),
        _ => refused("missing closing )", text),
    }
}

/// The length of `{3}`, `{3,}` or `{3,5}` at the start; anything else is no repetition.
fn repetition(text: &str) -> Result<Option<usize>, PatternError> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let inside = text.get(1..end).unwrap_or("");
    let (low, high) = inside.split_once(',').map_or((inside, None), |(l, h)| (l, Some(h)));
    let is_number = |text: &str| {
        let is_short = text.len() == 1 || !text.starts_with('0');
        !text.is_empty() && is_short && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_number(low) || !high.is_none_or(|high| high.is_empty() || is_number(high)) {
        return Ok(None);
    }
    let value = |text: &str| text.parse().unwrap_or(u32::MAX);
    let low = value(low);
    let high = high.filter(|high| !high.is_empty()).map_or(low, value);
    if low > 1000 || high > 1000 || low > high {
        return refused("invalid repeat count", text.get(..=end).unwrap_or(text));
    }
    Ok(Some(end + 1))
}

#[derive(Default)]
struct Translator<'a> {
    whole: &'a str,
    rest: &'a str,
    out: String,
    depth: usize,
    /// There is something that a repetition can apply to.
    has_operand: bool,
    /// `(?i)`, held back: a repetition after it applies to what is before it.
    flags: String,
}

impl<'a> Translator<'a> {
    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or("");
    }

    fn letter(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.skip(letter.len_utf8());
        Some(letter)
    }

    fn literal(&mut self, letter: char) {
        self.out.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
        self.has_operand = true;
    }

    fn operand(&mut self, text: &str, bytes: usize) {
        self.out.push_str(text);
        self.skip(bytes);
        self.has_operand = true;
    }

    fn repeat(&mut self, length: usize, last: Option<&str>) -> Result<(), PatternError> {
        let before = self.rest;
        self.skip(length);
        self.rest = self.rest.strip_prefix('?').unwrap_or(self.rest);
        if let Some(last) = last {
            return refused("invalid nested repetition operator", taken(last, self.rest));
        }
        if !self.has_operand {
            let near = taken(before, self.rest);
            return refused("missing argument to repetition operator", near);
        }
        self.out.push_str(taken(before, self.rest));
        Ok(())
    }

    /// Whatever is no repetition.
    fn item(&mut self, letter: char) -> Result<(), PatternError> {
        let flags = std::mem::take(&mut self.flags);
        self.out.push_str(&flags);
        match letter {
            '(' if self.rest.starts_with("(?") => self.flags_or_group(),
            '(' => {
                self.open("(?:");
                self.skip(1);
                Ok(())
            }
            '|' => {
                self.operand("|", 1);
                self.has_operand = false;
                Ok(())
            }
            ')' => {
                if self.depth == 0 {
                    return refused("unexpected )", self.whole);
                }
                self.depth -= 1;
                self.operand(")", 1);
                Ok(())
            }
            '^' | '$' | '.' => {
                self.operand(letter.encode_utf8(&mut [0; 4]), 1);
                Ok(())
            }
            '[' => self.class(),
            '\\' => self.backslash(),
            letter => {
                self.skip(letter.len_utf8());
                self.literal(letter);
                Ok(())
            }
        }
    }

    fn open(&mut self, text: &str) {
        self.out.push_str(text);
        self.depth += 1;
        self.has_operand = false;
    }

    /// `(?i)`, `(?i-s:` and named groups, which only matter as groups here.
    fn flags_or_group(&mut self) -> Result<(), PatternError> {
        let before = self.rest;
        let named = ["(?P<", "(?<"].into_iter().find_map(|start| before.strip_prefix(start));
        if let Some(named) = named.filter(|named| !named.is_empty()) {
            let Some((name, after)) = named.split_once('>') else {
                return refused("invalid named capture", before);
            };
            let is_word = |letter: char| letter == '_' || letter.is_ascii_alphanumeric();
            if name.is_empty() || !name.chars().all(is_word) {
                return refused("invalid named capture", taken(before, after));
            }
            self.open("(?:");
            self.rest = after;
            return Ok(());
        }
        self.skip(2);
        let (mut on, mut off, mut is_off) = (String::new(), String::new(), false);
        while let Some(letter) = self.letter() {
            match letter {
                'i' | 'm' | 's' | 'U' => {
                    // The last mention of a flag counts.
                    on.retain(|known| known != letter);
                    off.retain(|known| known != letter);
                    if is_off { off.push(letter) } else { on.push(letter) }
                }
                '-' if !is_off => is_off = true,
                ':' | ')' if !is_off || !off.is_empty() => {
                    let sign = if off.is_empty() { "" } else { "-" };
                    let flags = format!("(?{on}{sign}{off}");
                    match letter {
                        ':' => self.open(&format!("{flags}:")),
                        _ if flags.len() > 2 => self.flags = format!("{flags})"),
                        _ => {}
                    }
                    return Ok(());
                }
                _ => break,
            }
        }
        refused("invalid or unsupported Perl syntax", taken(before, self.rest))
    }

    fn backslash(&mut self) -> Result<(), PatternError> {
        match self.rest.get(1..2) {
            Some("A") => self.operand("\\A", 2),
            Some("z") => self.operand("\\z", 2),
            Some("b") => self.operand("(?-u:\\b)", 2),
            Some("B") => self.operand("(?-u:\\B)", 2),
            Some("Q") => {
                let quoted = self.rest.get(2..).unwrap_or("");
                let (quoted, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                quoted.chars().for_each(|letter| self.literal(letter));
                self.rest = after;
            }
            _ => match self.group(false)? {
                Some(group) => self.operand(&group, 0),
                None => {
                    let letter = self.escape()?;
                    self.literal(letter);
                }
            },
        }
        Ok(())
    }

    /// `\d` and its like, and `\p{Greek}`, in the regex crate's words.
    fn group(&mut self, in_class: bool) -> Result<Option<String>, PatternError> {
        let second = self.rest.strip_prefix('\\').and_then(|rest| rest.chars().next());
        let (members, is_negated) = match second {
            Some(letter @ ('d' | 'D')) => ("0-9", letter == 'D'),
            Some(letter @ ('w' | 'W')) => ("0-9A-Za-z_", letter == 'W'),
            Some(letter @ ('s' | 'S')) => ("\\t\\n\\x0C\\r ", letter == 'S'),
            Some('p' | 'P') => return self.unicode_group().map(Some),
            _ => return Ok(None),
        };
        self.skip(2);
        Ok(Some(match (is_negated, in_class) {
            (true, _) => format!("[^{members}]"),
            (false, false) => format!("[{members}]"),
            (false, true) => members.to_owned(),
        }))
    }

    fn unicode_group(&mut self) -> Result<String, PatternError> {
        let before = self.rest;
        let mut is_negated = before.starts_with("\\P");
        self.skip(2);
        let name = match self.letter() {
            Some('{') => {
                let Some((name, after)) = self.rest.split_once('}') else {
                    return refused("invalid character class range", before);
                };
                self.rest = after;
                name.to_owned()
            }
            letter => letter.map(String::from).unwrap_or_default(),
        };
        let plain = name.strip_prefix('^').unwrap_or(&name);
        is_negated ^= plain.len() < name.len();
        let class = format!("\\{}{{{plain}}}", if is_negated { 'P' } else { 'p' });
        match regex::Regex::new(&class) {
            Ok(_) if !plain.contains(['=', ':', '!']) => Ok(class),
            _ => refused("invalid character class range", taken(before, self.rest)),
        }
    }

    /// The letter that an escape stands for.
    fn escape(&mut self) -> Result<char, PatternError> {
        let before = self.rest;
        self.skip(1);
        let Some(letter) = self.letter() else {
            return refused("trailing backslash at end of expression", "");
        };
        let is_octal = |digit: char| digit.is_digit(8);
        let value = match letter {
            'a' => Some('\x07'),
            'f' => Some('\x0C'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0B'),
            'x' => self.hexadecimal(),
            '0'..='7' if letter == '0' || self.rest.starts_with(is_octal) => {
                let more = self.rest.chars().take(2).take_while(|digit| is_octal(*digit)).count();
                let digits = format!("{letter}{}", self.rest.get(..more).unwrap_or(""));
                self.skip(more);
                u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32)
            }
            letter if letter.is_ascii() && !letter.is_ascii_alphanumeric() => Some(letter),
            _ => None,
        };
        match value {
            Some(value) => Ok(value),
            None => refused("invalid escape sequence", taken(before, self.rest)),
        }
    }

    /// `41` or `{1F600}`, after `\x`.
    fn hexadecimal(&mut self) -> Option<char> {
        let digit = |letter: Option<char>| letter.and_then(|letter| letter.to_digit(16));
        let first = self.letter()?;
        if first != '{' {
            let second = self.letter();
            return char::from_u32(digit(Some(first))? * 16 + digit(second)?);
        }
        let mut value = None;
        loop {
            match self.letter()? {
                '}' => return value.and_then(char::from_u32),
                letter => {
                    let sum = value.unwrap_or(0) * 16 + letter.to_digit(16)?;
                    value = Some(sum).filter(|sum| *sum <= u32::from(char::MAX));
                    value?;
                }
            }
        }
    }

    fn class(&mut self) -> Result<(), PatternError> {
        let whole = self.rest;
        self.out.push('[');
        self.skip(1);
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.out.push('^');
            self.rest = rest;
        }
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            if let Some(name) = self.rest.strip_prefix("[:").and_then(|rest| rest.find(":]")) {
                let name = self.rest.get(..name + 4).unwrap_or(self.rest);
                let plain = name.trim_matches(['[', ':', ']']).trim_start_matches('^');
                if !POSIX.contains(&plain) {
                    return refused("invalid character class range", name);
                }
                self.operand(name, name.len());
                continue;
            }
            if let Some(group) = self.group(true)? {
                self.out.push_str(&group);
                continue;
            }
            let before = self.rest;
            let low = self.member(whole)?;
            let mut high = low;
            if self.rest.len() > 1 && self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.skip(1);
                high = self.member(whole)?;
                if high < low {
                    let near = taken(before, self.rest);
                    return refused("invalid character class range", near);
                }
            }
            let code = |letter| format!("\\x{{{:X}}}", u32::from(letter));
            self.out.push_str(&code(low));
            if low != high {
                self.out.push_str(&format!("-{}", code(high)));
            }
        }
        self.operand("]", 1);
        Ok(())
    }

    fn member(&mut self, whole: &str) -> Result<char, PatternError> {
        if self.rest.starts_with('\\') {
            return self.escape();
        }
        match self.letter() {
            Some(letter) => Ok(letter),
            None => refused("missing closing ]", whole),
        }
    }
}

/// The named classes that Go knows.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_go_knows_means_what_it_means_in_go() {
        for (pattern, text, expected) in [
            ("\\Qa.b\\E", "a.b", true),
            ("\\Qa.b\\E", "axb", false),
            ("a{,2}", "a{,2}", true),
            ("x{", "x{", true),
            ("[a&&b]", "&", true),
            ("[[a]", "[", true),
            ("[]a]", "]", true),
            ("[^]a]b", "]b", false),
            ("\\<main", "<main", true),
            ("[\\w.]+$", "é", false),
            ("(?i)ABC", "abc", true),
            ("(?i-s:a).", "A\n", false),
            ("(?)a", "a", true),
            ("(?P<n>l)(?<m>o)", "lo", true),
            ("\\x41\\101", "AA", true),
            ("\\P{^Greek}", "λ", true),
            ("[[:^alpha:]]", "a", false),
            ("[\\D]", "7", false),
            ("A(?i)*B", "AAb", true),
            ("a|*b", "", false),
        ] {
            let found = Pattern::new(pattern).map(|compiled| compiled.is_match(text));
            assert_eq!(found.unwrap_or(false), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn refusals_are_in_gos_words() {
        for (pattern, expected) in [
            ("(", "missing closing ): `(`"),
            ("x)", "unexpected ): `x)`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("a|*b", "missing argument to repetition operator: `*`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2}??*", "invalid nested repetition operator: `{2}??`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(?x)a", "invalid or unsupported Perl syntax: `(?x`"),
            ("(?=x)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?P<n", "invalid named capture: `(?P<n`"),
            ("[b-a]", "invalid character class range: `b-a`"),
            ("[a", "missing closing ]: `[a`"),
            ("[[:none:]]", "invalid character class range: `[:none:]`"),
            ("\\8", "invalid escape sequence: `\\8`"),
            ("\\u0041", "invalid escape sequence: `\\u`"),
            ("\\", "trailing backslash at end of expression: ``"),
            ("\\pX", "invalid character class range: `\\pX`"),
        ] {
            let error = Pattern::new(pattern).map(|_| ()).map_err(|error| error.to_string());
            assert_eq!(error, Err(format!("error parsing regexp: {expected}")), "{pattern}");
        }
    }
}
