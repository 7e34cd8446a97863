//! Text to tokens: what is copied, and what stands in `{{ }}`.

use crate::lang::unquote;

/// A token of a template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub kind: TokenKind,
    /// Byte it starts at.
    pub at: usize,
    /// A blank is before it.
    pub spaced: bool,
}

/// Kinds of tokens.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    /// Copied as it is.
    Text(String),
    Open,
    Close,
    /// A keyword or a function.
    Word(String),
    /// `.name`.
    Field(String),
    /// `$name`, with the sign.
    Variable(String),
    Quoted(String),
    Int(i64),
    Float(f64),
    Dot,
    /// `|`, `(`, `)`, `,`, `=`, `:=`.
    Sign(&'static str),
}

type Fault = (usize, String);

/// Splits a template.
///
/// # Errors
/// What is wrong, and at which byte.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Fault> {
    let mut tokens = Vec::new();
    let (mut at, mut trims) = (0, false);
    while at < text.len() {
        let rest = text.get(at..).unwrap_or_default();
        let length = rest.find("{{").unwrap_or(rest.len());
        let (mut copied, action) = rest.split_at(length);
        if trims {
            copied = copied.trim_start_matches(BLANKS);
        }
        let trims_before = action.strip_prefix("{{-").is_some_and(|rest| rest.starts_with(BLANKS));
        if trims_before {
            copied = copied.trim_end_matches(BLANKS);
        }
        if !copied.is_empty() {
            tokens.push(Token { kind: TokenKind::Text(copied.to_owned()), at, spaced: false });
        }
        if action.is_empty() {
            break;
        }
        let inside = at + length + if trims_before { 3 } else { 2 };
        (at, trims) = self::action(text, at + length, inside, &mut tokens)?;
    }
    Ok(tokens)
}

const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// Reads to the end of an action; returns the byte behind, and whether blanks go there.
fn action(
    text: &str,
    open: usize,
    inside: usize,
    tokens: &mut Vec<Token>,
) -> Result<(usize, bool), Fault> {
    let rest = text.get(inside..).unwrap_or_default();
    // A comment stands right behind the braces, or behind one blank after a trim marker.
    let direct = if inside == open + 3 { rest.get(1..).unwrap_or_default() } else { rest };
    if let Some(comment) = direct.strip_prefix("/*") {
        let end = comment.find("*/").ok_or_else(|| (open, "unclosed comment".to_owned()))?;
        let behind = comment.get(end + 2..).unwrap_or_default();
        let from = text.len() - behind.len();
        if behind.starts_with("}}") {
            return Ok((from + 2, false));
        }
        let trims = behind.starts_with(BLANKS)
            && behind.get(1..).is_some_and(|rest| rest.starts_with("-}}"));
        if trims {
            return Ok((from + 4, true));
        }
        return Err((open, "comment ends before closing delimiter".to_owned()));
    }
    tokens.push(Token { kind: TokenKind::Open, at: open, spaced: false });
    let mut at = inside;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let trimmed = rest.trim_start_matches(BLANKS);
        let spaced = trimmed.len() < rest.len();
        at += rest.len() - trimmed.len();
        let trims = spaced && trimmed.starts_with("-}}");
        if trims || trimmed.starts_with("}}") {
            tokens.push(Token { kind: TokenKind::Close, at, spaced });
            return Ok((at + if trims { 3 } else { 2 }, trims));
        }
        if trimmed.is_empty() {
            return Err((open, "unclosed action".to_owned()));
        }
        let (kind, length) = token(trimmed).map_err(|message| (at, message))?;
        tokens.push(Token { kind, at, spaced });
        at += length;
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn token(rest: &str) -> Result<(TokenKind, usize), String> {
    let length = |text: &str| text.find(|c| !is_word(c)).unwrap_or(text.len());
    let first = rest.chars().next().unwrap_or(' ');
    let second = rest.chars().nth(1).unwrap_or(' ');
    for sign in [":=", "=", "|", "(", ")", ","] {
        if rest.starts_with(sign) {
            return Ok((TokenKind::Sign(sign), sign.len()));
        }
    }
    match first {
        '"' | '`' | '\'' => quoted(rest, first),
        '.' if second.is_ascii_digit() => numeric(rest),
        '.' => {
            let name = &rest[1..1 + length(&rest[1..])];
            if name.is_empty() {
                return Ok((TokenKind::Dot, 1));
            }
            Ok((TokenKind::Field(name.to_owned()), 1 + name.len()))
        }
        '$' => {
            let end = 1 + length(&rest[1..]);
            Ok((TokenKind::Variable(rest[..end].to_owned()), end))
        }
        '0'..='9' => numeric(rest),
        '+' | '-' if second.is_ascii_digit() || second == '.' => numeric(rest),
        _ if is_word(first) => {
            let end = length(rest);
            Ok((TokenKind::Word(rest[..end].to_owned()), end))
        }
        _ => Err(format!("unexpected {first:?} in command")),
    }
}

fn quoted(rest: &str, quote: char) -> Result<(TokenKind, usize), String> {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            '\n' if quote != '`' => break,
            _ if c == quote => {
                let text = unquote(&rest[..=index])?;
                let kind = match quote {
                    '\'' => {
                        let mut chars = text.chars();
                        let (Some(c), None) = (chars.next(), chars.next()) else {
                            return Err(format!("malformed character constant: '{text}'"));
                        };
                        TokenKind::Int(i64::from(u32::from(c)))
                    }
                    _ => TokenKind::Quoted(text),
                };
                return Ok((kind, index + 1));
            }
            _ => {}
        }
    }
    Err("unterminated quoted string".to_owned())
}

fn numeric(rest: &str) -> Result<(TokenKind, usize), String> {
    let mut previous = ' ';
    let end = rest.find(|c: char| {
        let sign = matches!(c, '+' | '-') && matches!(previous, ' ' | 'e' | 'E');
        previous = c;
        !(is_word(c) || c == '.' || sign)
    });
    let text = &rest[..end.unwrap_or(rest.len())];
    let is_hex = text.contains(['x', 'X']);
    let number = crate::lang::number(text).ok_or_else(|| format!("bad number syntax: {text:?}"))?;
    let is_int = !text.contains('.') && (is_hex || !text.contains(['e', 'E']));
    // Every integer that a float holds is one; larger ones Go would refuse as well.
    let kind = if is_int { TokenKind::Int(number as i64) } else { TokenKind::Float(number) };
    Ok((kind, text.len()))
}
