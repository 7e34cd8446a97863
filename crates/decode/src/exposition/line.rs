//! One line of a page: a series with its value.

use std::borrow::Cow;

/// A line that is a sample.
#[derive(Clone, Debug)]
pub(crate) struct Line<'t> {
    pub(crate) name: Cow<'t, str>,
    /// In the page's order, each name once.
    pub(crate) labels: Pairs<'t>,
    pub(crate) value: f64,
    /// What follows the value: a time, an exemplar.
    pub(crate) tail: &'t str,
    /// The name and the labels as they are written.
    pub(crate) series: &'t str,
}

/// Labels of a series that are read: each is compared with all others.
const LABELS_MAX: usize = 1024;

pub(crate) type Pairs<'t> = Vec<(Cow<'t, str>, Cow<'t, str>)>;

/// Why a line is none.
pub(crate) type Fault = &'static str;

impl<'t> Line<'t> {
    /// The value of a label.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// Reads `name{labels} value` and leaves the rest.
    pub(crate) fn parse(line: &'t str) -> Result<Line<'t>, Fault> {
        let end = line.find(['{', ' ', '\t']).ok_or("a series without a value")?;
        let (bare, rest) = line.split_at_checked(end).ok_or("a series without a value")?;
        let mut name = Cow::Borrowed(bare);
        if !bare.is_empty() && !is_plain(bare, true) {
            return Err("a name with characters that need quotes");
        }
        let (mut series, mut rest) = (bare, rest.trim_start_matches([' ', '\t']));
        let mut labels = Vec::new();
        if let Some(inside) = rest.strip_prefix('{') {
            let quoted;
            (quoted, labels, rest) = braces(inside)?;
            match quoted {
                Some(quoted) if bare.is_empty() => name = quoted,
                Some(_) => return Err("a series with two names"),
                None => {}
            }
            series = line.strip_suffix(rest).unwrap_or(line);
        }
        if name.is_empty() {
            return Err("a series without a name");
        }
        let (value, tail) = value(rest)?;
        Ok(Line { name, labels, value, tail, series })
    }
}

/// What follows a series: its value, and the rest.
pub(super) fn value(text: &str) -> Result<(f64, &str), Fault> {
    let (value, tail) = token(text);
    Ok((number(value).ok_or("a value that is no number")?, tail))
}

/// Whether the series that the line begins with is written like this one, which was read before.
pub(super) fn begins_with(line: &str, series: &[u8]) -> bool {
    let Some(rest) = line.as_bytes().strip_prefix(series) else { return false };
    match series.last() {
        None => false,
        Some(b'}') => true,
        // After a name there may be labels, or more of the name.
        Some(_) => {
            let next = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
            matches!(rest.first(), Some(b' ' | b'\t')) && next != Some(&b'{')
        }
    }
}

/// How long the text of the series is that the line begins with; right where it can be read.
pub(super) fn series_length(line: &str) -> Option<usize> {
    let bytes = line.as_bytes();
    let name = bytes.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t'))?;
    let blanks = bytes.iter().skip(name).take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let open = name + blanks;
    if bytes.get(open) != Some(&b'{') {
        return Some(name);
    }
    let (mut is_quoted, mut is_escaped) = (false, false);
    let end = bytes.get(open..)?.iter().position(|byte| {
        if std::mem::take(&mut is_escaped) {
            return false;
        }
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\\' => is_escaped = is_quoted,
            b'}' => return !is_quoted,
            _ => {}
        }
        false
    });
    Some(open + end? + 1)
}

/// The next word, and what follows it.
pub(crate) fn token(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches([' ', '\t']);
    let end = text.find([' ', '\t']).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    (word, rest.trim_start_matches([' ', '\t']))
}

/// A number as Prometheus reads it: decimal, `Inf`, `NaN`.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Labels up to the closing brace, and a name among them that has no value: the metric's.
type Braces<'t> = (Option<Cow<'t, str>>, Pairs<'t>, &'t str);

pub(crate) fn braces(text: &str) -> Result<Braces<'_>, Fault> {
    let (mut name, mut labels) = (None, Pairs::new());
    let mut rest = text.trim_start_matches([' ', '\t']);
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Ok((name, labels, rest));
        }
        let is_quoted = rest.starts_with('"');
        let key;
        (key, rest) = match is_quoted {
            true => quoted(rest)?,
            false => bare(rest)?,
        };
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(value) = rest.strip_prefix('=') {
            let value = value.trim_start_matches([' ', '\t']);
            let text;
            (text, rest) = quoted(value)?;
            if labels.len() == LABELS_MAX {
                return Err("more labels than are read of a series");
            }
            if labels.iter().any(|(known, _)| *known == key) {
                return Err("a label that is there twice");
            }
            labels.push((key, text));
        } else if is_quoted && name.is_none() && labels.is_empty() {
            name = Some(key);
        } else {
            return Err("a label without a value");
        }
        rest = rest.trim_start_matches([' ', '\t']);
        if let Some(after) = rest.strip_prefix(',') {
            rest = after.trim_start_matches([' ', '\t']);
        } else if !rest.starts_with('}') {
            return Err("labels without an end");
        }
    }
}

fn bare(text: &str) -> Result<(Cow<'_, str>, &str), Fault> {
    let end = text.find(['=', ' ', '\t', '}', ',', '"']).ok_or("labels without an end")?;
    let (name, rest) = text.split_at_checked(end).ok_or("labels without an end")?;
    if !is_plain(name, false) {
        return Err("a label's name with characters that need quotes");
    }
    Ok((Cow::Borrowed(name), rest))
}

/// Text in quotes, with its escapes undone; an escape that is none stays as it is.
pub(crate) fn quoted(text: &str) -> Result<(Cow<'_, str>, &str), Fault> {
    let text = text.strip_prefix('"').ok_or("a value without quotes")?;
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    });
    let (inside, rest) =
        end.and_then(|end| text.split_at_checked(end)).ok_or("a value without closing quotes")?;
    Ok((unescaped(inside), rest.get(1..).unwrap_or_default()))
}

/// Undoes `\\`, `\"` and `\n`.
pub(crate) fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        match characters.next() {
            Some('n') => out.push('\n'),
            Some(next @ ('\\' | '"')) => out.push(next),
            Some(next) => out.extend(['\\', next]),
            None => out.push('\\'),
        }
    }
    Cow::Owned(out)
}

/// A name of the old alphabet, which needs no quotes.
pub(crate) fn is_plain(name: &str, is_metric: bool) -> bool {
    let is_letter = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (is_metric && b == b':');
    let mut bytes = name.bytes();
    bytes.next().is_some_and(is_letter) && bytes.all(|b| is_letter(b) || b.is_ascii_digit())
}
