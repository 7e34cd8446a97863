//! Values in the configuration that check themselves while they are read.

use std::fmt;
use std::time::Duration;

use regex::Regex;
use serde::de::{Deserialize, Deserializer, Error};

/// Longest regular expression in a matcher, compiled.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A duration as Prometheus writes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl Span {
    /// Of seconds.
    pub const fn seconds(seconds: u64) -> Span {
        Span(Duration::from_secs(seconds))
    }

    /// Milliseconds, for adding to times.
    pub(crate) fn millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        let text = String::deserialize(from)?;
        model::units::parse_duration(&text).map(Span).map_err(D::Error::custom)
    }
}

/// `host:port` of a mail server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPort {
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<HostPort, D::Error> {
        let text = String::deserialize(from)?;
        let expected = || D::Error::custom(format!("{text:?} is no address: write host:port"));
        let (host, port) = text.rsplit_once(':').ok_or_else(expected)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = port.parse().map_err(|_| expected())?;
        if host.is_empty() { Err(expected()) } else { Ok(HostPort { host, port }) }
    }
}

/// How a matcher compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Comparison {
    Equal,
    NotEqual,
    Regex,
    NotRegex,
}

impl Comparison {
    fn as_str(self) -> &'static str {
        match self {
            Comparison::Equal => "=",
            Comparison::NotEqual => "!=",
            Comparison::Regex => "=~",
            Comparison::NotRegex => "!~",
        }
    }
}

/// `name="value"` and the like.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: String,
    comparison: Comparison,
    value: String,
    regex: Option<Regex>,
}

impl Matcher {
    fn new(name: String, comparison: Comparison, value: String) -> Result<Matcher, String> {
        let is_regex = matches!(comparison, Comparison::Regex | Comparison::NotRegex);
        let compiled = || {
            let anchored = format!("^(?:{value})$");
            let built = regex::RegexBuilder::new(&anchored).size_limit(REGEX_BYTES_MAX).build();
            built.map_err(|error| format!("regular expression {value:?}: {error}"))
        };
        let regex = is_regex.then(compiled).transpose()?;
        Ok(Matcher { name, comparison, value, regex })
    }

    /// A label that has exactly this value.
    pub(crate) fn equal(name: &str, value: &str) -> Matcher {
        let (name, value) = (name.to_owned(), value.to_owned());
        Matcher { name, comparison: Comparison::Equal, value, regex: None }
    }

    /// Reports whether labels match; a label that is missing is as one that is empty.
    pub(crate) fn matches(&self, labels: &model::series::Labels) -> bool {
        let value = labels.get(&self.name).unwrap_or_default();
        let is_alike = match &self.regex {
            Some(regex) => regex.is_match(value),
            None => value == self.value,
        };
        is_alike == matches!(self.comparison, Comparison::Equal | Comparison::Regex)
    }

    fn order(&self) -> (&str, &str, Comparison) {
        (&self.name, &self.value, self.comparison)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_reserved = |c: char| c.is_whitespace() || "{}!=~,\\\"'`".contains(c);
        let sign = self.comparison.as_str();
        if self.name.contains(is_reserved) {
            let [name, value] =
                [&self.name, &self.value].map(|text| promql::template::quoted(text));
            return write!(f, "{name}{sign}{value}");
        }
        let value = self.value.replace('\\', "\\\\").replace('\n', "\\n").replace('"', "\\\"");
        write!(f, "{}{sign}\"{value}\"", self.name)
    }
}

/// All must match.
#[derive(Clone, Debug, Default)]
pub struct Matchers(pub(crate) Vec<Matcher>);

impl Matchers {
    /// Reports whether all match.
    pub(crate) fn match_all(&self, labels: &model::series::Labels) -> bool {
        self.0.iter().all(|matcher| matcher.matches(labels))
    }

    /// With `match` and `match_re`, the older way to write them, and in the order of a group's key.
    pub(crate) fn joined(&self, equal: &Pairs, regex: &RegexPairs) -> Matchers {
        let mut all = self.0.clone();
        all.extend(equal.0.iter().cloned());
        all.extend(regex.0.iter().cloned());
        all.sort_by(|a, b| a.order().cmp(&b.order()));
        Matchers(all)
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each: Vec<String> = self.0.iter().map(Matcher::to_string).collect();
        write!(f, "{{{}}}", each.join(","))
    }
}

impl<'de> Deserialize<'de> for Matchers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Matchers, D::Error> {
        let mut all = Vec::new();
        for line in Vec::<Line>::deserialize(from)? {
            all.extend(line.0);
        }
        Ok(Matchers(all))
    }
}

/// One line of `matchers:`; it may hold several. Read by itself so that errors have its place.
struct Line(Vec<Matcher>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Line, D::Error> {
        parse_matchers(&String::deserialize(from)?).map(Line).map_err(D::Error::custom)
    }
}

/// `match:`, names with the values they must have.
#[derive(Clone, Debug, Default)]
pub struct Pairs(Vec<Matcher>);

/// `match_re:`, names with regular expressions.
#[derive(Clone, Debug, Default)]
pub struct RegexPairs(Vec<Matcher>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        read_pairs(from, Comparison::Equal).map(Pairs)
    }
}

impl<'de> Deserialize<'de> for RegexPairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<RegexPairs, D::Error> {
        read_pairs(from, Comparison::Regex).map(RegexPairs)
    }
}

fn read_pairs<'de, D: Deserializer<'de>>(
    from: D,
    comparison: Comparison,
) -> Result<Vec<Matcher>, D::Error> {
    let pairs = std::collections::BTreeMap::<String, String>::deserialize(from)?;
    let each = pairs.into_iter().map(|(name, value)| Matcher::new(name, comparison, value));
    each.collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// Parses `{a="b", c=~"d.*"}`, with or without braces and quotes.
pub(crate) fn parse_matchers(text: &str) -> Result<Vec<Matcher>, String> {
    let expected =
        || format!("{text:?} is no matcher: write severity=\"critical\" or team=~\"a|b\"");
    let inner = text.trim();
    let inner = match inner.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(expected)?,
        None => inner,
    };
    let (mut rest, mut all) = (inner.trim(), Vec::new());
    while !rest.is_empty() {
        let is_sign = |c: char| "=!~".contains(c);
        let (name, tail) = take_text(rest, is_sign).ok_or_else(expected)?;
        let tail = tail.trim_start();
        let signs =
            [Comparison::NotEqual, Comparison::Regex, Comparison::NotRegex, Comparison::Equal];
        let sign = signs.into_iter().find(|sign| tail.starts_with(sign.as_str()));
        let sign = sign.ok_or_else(expected)?;
        let tail = tail.get(sign.as_str().len()..).unwrap_or_default().trim_start();
        let (value, tail) = take_text(tail, |c| c == ',').ok_or_else(expected)?;
        if name.is_empty() {
            return Err(expected());
        }
        all.push(Matcher::new(name, sign, value)?);
        let tail = tail.trim_start();
        rest = match tail.strip_prefix(',') {
            Some(tail) => tail.trim_start(),
            None if tail.is_empty() => tail,
            None => return Err(expected()),
        };
    }
    Ok(all)
}

/// Takes quoted text, or what comes before `ends`, and gives the rest.
fn take_text(text: &str, ends: impl Fn(char) -> bool) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(ends).unwrap_or(text.len());
        let (taken, rest) = text.split_at(end);
        return (!taken.contains('"')).then(|| (unescaped(taken.trim()), rest));
    };
    let mut is_escaped = false;
    let end = quoted.find(|c| {
        let is_end = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        is_end
    })?;
    Some((unescaped(quoted.get(..end)?), quoted.get(end + 1..)?))
}

fn unescaped(text: &str) -> String {
    let (mut plain, mut letters) = (String::new(), text.chars());
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            plain.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => plain.push('\n'),
            Some(escaped @ ('"' | '\\')) => plain.push(escaped),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use model::series::Labels;

    use super::{Matchers, parse_matchers};

    #[test]
    fn matchers_read_and_written_as_alertmanager_does() {
        let check = |text: &str, written: &str| {
            assert_eq!(Matchers(parse_matchers(text).unwrap()).to_string(), written);
        };
        check(r#"a="b""#, r#"{a="b"}"#);
        check("a = b , c!=d,", r#"{a="b",c!="d"}"#);
        check(r#"{a=~"x|y", "odd name"!~"z"}"#, r#"{a=~"x|y","odd name"!~"z"}"#);
        check(r#"a="say \"hi, you\"\n""#, r#"{a="say \"hi, you\"\n"}"#);
        check("a=", r#"{a=""}"#);
        check("", "{}");
        for text in ["a", "=b", "{a=b", "a=\"b", "a=b\"c", "a==b\"", "a=~(", "a=\"b\"c"] {
            assert!(parse_matchers(text).is_err(), "{text}");
        }
    }

    #[test]
    fn matchers_compare_whole_values() {
        let labels = Labels::new([("a", "xy"), ("b", "1")]);
        let check = |text: &str, expected: bool| {
            let matchers = Matchers(parse_matchers(text).unwrap());
            assert_eq!(matchers.match_all(&labels), expected, "{text}");
        };
        check("a=xy", true);
        check("a=~x", false);
        check("a=~\"x.\",b!=2", true);
        check("missing=\"\"", true);
        check("missing!~\".+\"", true);
        check("a!~\"x|xy\"", false);
    }
}
