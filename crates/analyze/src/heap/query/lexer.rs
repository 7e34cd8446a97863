//! Words of a query, with where they stand.

use super::QueryError;

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name or a keyword, as written.
    Word(String),
    /// A name in backquotes: never a keyword.
    Quoted(String),
    Int(i128),
    Real(f64),
    Text(String),
    /// A field, without its dot.
    Field(String),
    /// `( ) , * / % + - = != < <= > >= ~ !~`
    Sign(&'static str),
    End,
}

/// Longer signs before those they begin with.
const SIGNS: [&str; 19] = [
    "!=", "<>", "<=", ">=", "!~", "==", "(", ")", ",", "*", "/", "%", "+", "-", "=", "<", ">", "~",
    ";",
];

/// Queries longer than this are refused.
const BYTES_MAX: usize = 64 << 10;

/// Splits a query into words, each with the byte it begins at.
pub(super) fn lex(text: &str) -> Result<Vec<(Token, usize)>, QueryError> {
    if text.len() > BYTES_MAX {
        return Err(QueryError::new(0, "the query is longer than 64 KiB"));
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let at = text.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            tokens.push((Token::End, at));
            return Ok(tokens);
        };
        let (token, after) = match first {
            '\'' | '"' | '`' => quoted(rest, at, first)?,
            '.' => {
                let (word, after) = word(skip(rest, 1));
                if word.is_empty() {
                    return Err(QueryError::new(at, "a field's name must follow the dot"));
                }
                (Token::Field(word.to_owned()), after)
            }
            _ if first.is_ascii_digit() => number(rest, at)?,
            _ if is_word(first) => {
                let (word, after) = word(rest);
                (Token::Word(word.to_owned()), after)
            }
            _ => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                let Some(sign) = sign else {
                    return Err(QueryError::new(at, format!("unexpected character `{first}`")));
                };
                (Token::Sign(sign), skip(rest, sign.len()))
            }
        };
        tokens.push((token, at));
        rest = after;
    }
}

fn skip(text: &str, bytes: usize) -> &str {
    text.get(bytes..).unwrap_or("")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    text.split_at(end)
}

/// A text in quotes; two in a row stand for one, a backslash before one is dropped.
fn quoted(text: &str, at: usize, quote: char) -> Result<(Token, &str), QueryError> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((index, c)) = chars.next() {
        let next = chars.peek().map(|next| next.1);
        if c == quote && next == Some(quote) || c == '\\' && next == Some(quote) {
            value.push(quote);
            chars.next();
        } else if c == quote {
            let token = if quote == '`' { Token::Quoted(value) } else { Token::Text(value) };
            return Ok((token, skip(text, index + 1)));
        } else {
            value.push(c);
        }
    }
    Err(QueryError::new(at, "the text has no closing quote"))
}

/// `1024`, `0xc000`, `1.5`, `64k`, `64KB`, `1MiB`: sizes count in powers of 1024.
fn number(text: &str, at: usize) -> Result<(Token, &str), QueryError> {
    let refused = |what: &str| QueryError::new(at, format!("`{what}` is no number"));
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let (whole, mut after) = text.split_at(end);
    if let Some(hex) = whole.strip_prefix("0x").or(whole.strip_prefix("0X")) {
        let value = u64::from_str_radix(hex, 16).map_err(|_| refused(whole))?;
        return Ok((Token::Int(i128::from(value)), after));
    }
    let mut written = whole.to_owned();
    if let Some(fraction) = after.strip_prefix('.')
        && fraction.starts_with(|c: char| c.is_ascii_digit())
    {
        let (digits, rest) = word(fraction);
        written = format!("{whole}.{digits}");
        after = rest;
    }
    let digits_end = written.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (digits, unit) = written.split_at(digits_end.unwrap_or(written.len()));
    let power = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 1,
        "m" | "mb" | "mib" => 2,
        "g" | "gb" | "gib" => 3,
        "t" | "tb" | "tib" => 4,
        _ => return Err(refused(&written)),
    };
    let factor = 1_u64 << (10 * power);
    if let Ok(value) = digits.parse::<u64>() {
        return Ok((Token::Int(i128::from(value) * i128::from(factor)), after));
    }
    let value: f64 = digits.parse().map_err(|_| refused(&written))?;
    Ok((Token::Real(value * factor as f64), after))
}
