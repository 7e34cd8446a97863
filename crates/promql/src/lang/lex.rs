//! Text to tokens.

use super::parse::Fault;

/// A token and where it starts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    pub at: usize,
    /// Byte behind it.
    pub end: usize,
}

/// Kinds of tokens. Keywords are words: what they mean depends on where they stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// A name; may have colons.
    Word(String),
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    Text(String),
    /// Operators and brackets.
    Sign(&'static str),
    End,
}

/// Longer signs first.
const SIGNS: [&str; 28] = [
    "==", "!=", "<=", ">=", "=~", "!~", "</", ">/", "+", "-", "*", "/", "%", "^", "<", ">", "=",
    ",", "(", ")", "{", "}", "[", "]", ":", "@", "!", ";",
];

/// Splits a text into tokens, `End` last.
///
/// # Errors
/// What is wrong, and at which byte.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let (mut at, mut in_brackets) = (0, false);
    loop {
        at = skip_blanks(text, at);
        let rest = text.get(at..).unwrap_or_default();
        let Some(first) = rest.chars().next() else { break };
        let (kind, length) = match first {
            '"' | '\'' | '`' => quoted(rest, at)?,
            '0'..='9' => numeric(rest).map_err(|error| Fault::Wrong(at, error))?,
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                numeric(rest).map_err(|error| Fault::Wrong(at, error))?
            }
            // In brackets a colon starts the step of a subquery, elsewhere it is part of a name.
            ':' if in_brackets => (TokenKind::Sign(":"), 1),
            'a'..='z' | 'A'..='Z' | '_' | ':' => word(rest),
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let sign = sign
                    .ok_or_else(|| Fault::Wrong(at, format!("unexpected character: {first:?}")))?;
                (TokenKind::Sign(sign), sign.len())
            }
        };
        match kind {
            TokenKind::Sign("[") => in_brackets = true,
            TokenKind::Sign("]") => in_brackets = false,
            _ => {}
        }
        tokens.push(Token { kind, at, end: at + length });
        at += length;
    }
    tokens.push(Token { kind: TokenKind::End, at: text.len(), end: text.len() });
    Ok(tokens)
}

fn skip_blanks(text: &str, mut at: usize) -> usize {
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        at += rest.len() - trimmed.len();
        if !trimmed.starts_with('#') {
            return at;
        }
        at += trimmed.find('\n').unwrap_or(trimmed.len());
    }
}

fn word(rest: &str) -> (TokenKind, usize) {
    let length = length_of(rest, |c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let word = &rest[..length];
    let kind = match word.to_ascii_lowercase().as_str() {
        "inf" => TokenKind::Number(f64::INFINITY),
        "nan" => TokenKind::Number(f64::NAN),
        _ => TokenKind::Word(word.to_owned()),
    };
    (kind, length)
}

fn length_of(text: &str, mut pass: impl FnMut(char) -> bool) -> usize {
    text.find(|c| !pass(c)).unwrap_or(text.len())
}

/// A number or a duration: both start with a digit.
fn numeric(rest: &str) -> Result<(TokenKind, usize), String> {
    let is_hex = rest.starts_with("0x") || rest.starts_with("0X");
    let mut previous = ' ';
    let length = length_of(rest, |c| {
        let sign = matches!(c, '+' | '-') && matches!(previous, 'e' | 'E') && !is_hex;
        previous = c;
        c.is_ascii_alphanumeric() || c == '.' || c == '_' || sign
    });
    let text = &rest[..length];
    if let Some(number) = number(text) {
        return Ok((TokenKind::Number(number), length));
    }
    match model::units::parse_duration(text) {
        Ok(duration) => {
            let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
            // A hundred million years: far more, and times would overflow.
            if millis > i64::MAX / 4 {
                return Err(format!("duration out of range: {text:?}"));
            }
            Ok((TokenKind::Duration(millis), length))
        }
        Err(_) => Err(format!("bad number or duration syntax: {text:?}")),
    }
}

/// Reads a number as Go's `strconv` does: decimal, hexadecimal, octal, `Inf`, `NaN`.
pub(crate) fn number(text: &str) -> Option<f64> {
    let (sign, plain) = match text.strip_prefix('-') {
        Some(plain) => (-1.0, plain),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match plain.to_ascii_lowercase().as_str() {
        "inf" => return Some(sign * f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    if !plain.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let plain = &plain.replace('_', "");
    let (digits, radix) = match plain.get(..2) {
        Some("0x" | "0X") => (&plain[2..], 16),
        // As ParseInt with base 0: a leading zero makes it octal, if it can be.
        _ if plain.starts_with('0') => (&plain[1..], 8),
        _ => ("", 10),
    };
    if !digits.is_empty()
        && let Ok(number) = i64::from_str_radix(digits, radix)
    {
        return Some(sign * number as f64);
    }
    plain.parse::<f64>().ok().map(|number| sign * number)
}

/// A text, which has to be UTF-8: labels and our own texts are.
fn quoted(rest: &str, at: usize) -> Result<(TokenKind, usize), Fault> {
    let (kind, length) = string(rest).map_err(|error| Fault::Wrong(at, error))?;
    let is_lost = |text: &str| text.contains('\u{fffd}');
    match &kind {
        TokenKind::Text(text) if is_lost(text) && !is_lost(&rest[..length]) => {
            Err(Fault::Unsupported(at, "a text that is not UTF-8".to_owned()))
        }
        _ => Ok((kind, length)),
    }
}

/// A text in any of the three quotes.
fn string(rest: &str) -> Result<(TokenKind, usize), String> {
    let quote = rest.chars().next().unwrap_or('"');
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            '\n' if quote != '`' => return Err("unterminated quoted string".to_owned()),
            _ if c == quote => {
                let text = unquote(&rest[..=index])?;
                return Ok((TokenKind::Text(text), index + 1));
            }
            _ => {}
        }
    }
    Err(if quote == '`' { "unterminated raw string" } else { "unterminated quoted string" }
        .to_owned())
}

/// What a quoted text says, with Go's escapes.
///
/// # Errors
/// It is not quoted, or has an escape that Go has not.
pub(crate) fn unquote(quoted: &str) -> Result<String, String> {
    let mut chars = quoted.chars();
    let (Some(quote), Some(last)) = (chars.next(), chars.next_back()) else {
        return Err(format!("{quoted:?} is not quoted"));
    };
    if quote != last || !matches!(quote, '"' | '\'' | '`') {
        return Err(format!("{quoted:?} is not quoted"));
    }
    if quote == '`' {
        return Ok(chars.as_str().replace('\r', ""));
    }
    let mut bytes = Vec::new();
    while let Some(c) = chars.next() {
        if c == '\\' {
            escape(&mut chars, quote, &mut bytes)?;
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn escape(chars: &mut std::str::Chars<'_>, quote: char, bytes: &mut Vec<u8>) -> Result<(), String> {
    let c = chars.next().ok_or("text ends in an escape")?;
    let mut digits = |first: Option<char>, count: usize, radix: u32| {
        let text: String = first.into_iter().chain(chars.by_ref().take(count)).collect();
        let complete = text.chars().count() == count + usize::from(first.is_some());
        let value = u32::from_str_radix(&text, radix).ok().filter(|_| complete);
        value.ok_or_else(|| format!("bad escape \\{c}{text}"))
    };
    let byte = match c {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        _ if c == quote => quote as u8,
        'x' => digits(None, 2, 16)? as u8,
        '0'..='7' => u8::try_from(digits(Some(c), 2, 8)?).map_err(|_| "octal escape above 255")?,
        'u' | 'U' => {
            let code = digits(None, if c == 'u' { 4 } else { 8 }, 16)?;
            let c = char::from_u32(code).ok_or_else(|| format!("bad code point {code:#x}"))?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Ok(());
        }
        _ => return Err(format!("unknown escape sequence \\{c}")),
    };
    bytes.push(byte);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{number, unquote};

    #[test]
    fn numbers_are_those_of_go() {
        let check =
            |text: &str, expected: Option<f64>| assert_eq!(number(text), expected, "{text}");
        check("12", Some(12.0));
        check("-1.5e3", Some(-1500.0));
        check("0x1F", Some(31.0));
        check("017", Some(15.0));
        check("08.5", Some(8.5));
        check(".5", Some(0.5));
        check("+Inf", Some(f64::INFINITY));
        check("infinity", None);
        check("5m", None);
        check("", None);
    }

    #[test]
    fn escapes_are_those_of_go() {
        let check =
            |quoted: &str, expected: &str| assert_eq!(unquote(quoted).as_deref(), Ok(expected));
        check(r#""a\n\"b\"""#, "a\n\"b\"");
        check(r"'\x41\u00e9\101'", "AéA");
        check("`a\\n`", "a\\n");
        for bad in [r#""\q""#, r#""\x4""#, "abc", "\"", r#""\u12""#, r"'\400'"] {
            assert!(unquote(bad).is_err(), "{bad}");
        }
    }
}
