//! Functions of templates: Go's own, Prometheus's and Alertmanager's.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use model::units::Timestamp;
use regex::Regex;

use super::value::Value;
use super::{Context, Dialect, format, time};

/// Functions of Go's text/template.
const GO: [&str; 18] = [
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or",
    "print", "printf", "println", "slice",
];

/// Functions both have.
const BOTH: [&str; 9] = [
    "humanizeDuration",
    "match",
    "now",
    "reReplaceAll",
    "safeHtml",
    "title",
    "toLower",
    "toUpper",
    "urlquery",
];

const PROMETHEUS: [&str; 22] = [
    "args",
    "externalURL",
    "first",
    "graphLink",
    "humanize",
    "humanize1024",
    "humanizePercentage",
    "humanizeTimestamp",
    "label",
    "parseDuration",
    "pathPrefix",
    "query",
    "sortByLabel",
    "stripDomain",
    "stripPort",
    "strvalue",
    "tableLink",
    "toDuration",
    "toTime",
    "urlQueryEscape",
    "value",
    "args",
];

const ALERTMANAGER: [&str; 14] = [
    "append",
    "base64decode",
    "base64encode",
    "date",
    "dict",
    "join",
    "list",
    "safeUrl",
    "since",
    "stringSlice",
    "toJson",
    "trimSpace",
    "tz",
    "urlUnescape",
];

/// Most elements of a list that a function makes.
const MAX_ELEMENTS: usize = 100_000;

/// What functions may use.
pub(super) struct Call<'a> {
    pub context: &'a Context<'a>,
    pub dialect: Dialect,
}

type Outcome = Result<Value, String>;

/// Reports whether a dialect has a function.
pub(super) fn exists(name: &str, dialect: Dialect) -> bool {
    let own: &[&str] = match dialect {
        Dialect::Prometheus => &PROMETHEUS,
        Dialect::Alertmanager => &ALERTMANAGER,
    };
    GO.contains(&name) || BOTH.contains(&name) || own.contains(&name)
}

/// Calls a function.
pub(super) fn call(name: &str, args: &[Value], call: &Call<'_>) -> Outcome {
    match name {
        "print" => Ok(Value::Str(format::sprint(args))),
        "println" => {
            let words: Vec<String> = args.iter().map(format::text).collect();
            Ok(Value::Str(words.join(" ") + "\n"))
        }
        "html" => Ok(Value::Str(format::html(&format::sprint(args)))),
        "urlquery" => Ok(Value::Str(format::query_escape(&format::sprint(args)))),
        "js" => Ok(Value::Str(js(&format::sprint(args)))),
        "printf" => match args {
            [Value::Str(layout), args @ ..] => Ok(Value::Str(format::sprintf(layout, args))),
            _ => Err("printf wants a format".to_owned()),
        },
        "eq" => equal(args),
        "index" => index(args),
        "slice" => slice(args),
        "call" => Err("there are no functions among the values".to_owned()),
        "list" | "stringSlice" => Ok(Value::list(args.iter().cloned())),
        "append" => append(args),
        "dict" => dict(args),
        "args" => {
            let named = |(index, value): (usize, &Value)| (format!("arg{index}"), value.clone());
            Ok(Value::map(args.iter().enumerate().map(named)))
        }
        _ => match args {
            [] => none(name, call),
            [one] => of_one(name, one, call),
            [first, second] => of_two(name, first, second, call),
            [Value::Str(pattern), Value::Str(replacement), Value::Str(text)]
                if name == "reReplaceAll" =>
            {
                replaced(&regex(pattern)?, replacement, text, call.context.max_bytes)
            }
            _ => Err(wrong_arguments(args)),
        },
    }
}

fn wrong_arguments(args: &[Value]) -> String {
    let types: Vec<&str> = args.iter().map(Value::type_name).collect();
    format!("wrong number or type of arguments: ({})", types.join(", "))
}

fn none(name: &str, call: &Call<'_>) -> Outcome {
    match (name, call.dialect) {
        ("now", Dialect::Prometheus) => Ok(Value::Float(call.context.now.0 as f64 / 1000.0)),
        ("now", Dialect::Alertmanager) => Ok(Value::Time(call.context.now)),
        ("externalURL", _) => Ok(Value::from(call.context.external_url)),
        ("pathPrefix", _) => {
            let url = call.context.external_url;
            let behind = url.split_once("://").map_or(url, |(_, rest)| rest);
            let path = behind.find('/').and_then(|at| behind.get(at..)).unwrap_or_default();
            Ok(Value::from(path.split(['?', '#']).next().unwrap_or_default()))
        }
        _ => Err(wrong_arguments(&[])),
    }
}

fn of_one(name: &str, arg: &Value, call: &Call<'_>) -> Outcome {
    match (name, arg) {
        ("not", _) => Ok(Value::Bool(!arg.is_true())),
        ("len", _) => length(arg),
        ("humanize", _) => number(arg).map(|x| Value::Str(humanize(x))),
        ("humanize1024", _) => number(arg).map(|x| Value::Str(humanize1024(x))),
        ("humanizeDuration", _) => number(arg).map(|x| Value::Str(humanize_duration(x))),
        ("humanizePercentage", _) => {
            let percent = Value::Float(number(arg)? * 100.0);
            Ok(Value::Str(format::sprintf("%.4g%%", &[percent])))
        }
        ("humanizeTimestamp", _) => {
            let seconds = number(arg)?;
            if !seconds.is_finite() {
                return Ok(Value::Str(short(seconds)));
            }
            Ok(Value::Str(time::default_text(to_time(seconds)?)))
        }
        ("toTime", _) => number(arg).and_then(to_time).map(Value::Time),
        ("toDuration", _) => Ok(Value::Duration((number(arg)? * 1e9) as i64)),
        ("toJson", _) => format::json(arg).map(Value::Str),
        ("since", Value::Time(time)) => {
            let millis = call.context.now.0.saturating_sub(time.0);
            Ok(Value::Duration(millis.saturating_mul(1_000_000)))
        }
        ("first", Value::List(list)) => list
            .first()
            .cloned()
            .ok_or_else(|| "first() called on vector with no elements".to_owned()),
        ("value", Value::Object(sample)) => Ok(sample.get("Value").cloned().unwrap_or_default()),
        ("strvalue", Value::Object(sample)) => Ok(label(sample, "__value__")),
        ("safeHtml", Value::Str(text)) => Ok(Value::Html(text.clone())),
        (_, Value::Str(text) | Value::Html(text)) => of_text(name, text, call),
        _ => Err(wrong_arguments(std::slice::from_ref(arg))),
    }
}

fn of_text(name: &str, text: &str, call: &Call<'_>) -> Outcome {
    let text = match name {
        "toUpper" => text.to_uppercase(),
        "toLower" => text.to_lowercase(),
        "title" => title(text, call.dialect == Dialect::Alertmanager),
        "trimSpace" => text.trim().to_owned(),
        "stripPort" => host_and_port(text).map_or(text, |(host, _)| host).to_owned(),
        "stripDomain" => strip_domain(text),
        "urlQueryEscape" => format::query_escape(text),
        "urlUnescape" => format::query_unescape(text)?,
        "safeHtml" | "safeUrl" => return Ok(Value::Html(text.to_owned())),
        "graphLink" => format!("/graph?g0.expr={}&g0.tab=0", format::query_escape(text)),
        "tableLink" => format!("/graph?g0.expr={}&g0.tab=1", format::query_escape(text)),
        "parseDuration" => {
            let (sign, plain) = match text.strip_prefix('-') {
                Some(plain) => (-1.0, plain),
                None => (1.0, text),
            };
            let duration = model::units::parse_duration(plain)?;
            return Ok(Value::Float(sign * duration.as_secs_f64()));
        }
        "query" => return (call.context.query)(text),
        "base64encode" => base64_encode(text.as_bytes()),
        "base64decode" => base64_decode(text)?,
        _ => return Err(wrong_arguments(&[Value::from(text)])),
    };
    Ok(Value::Str(text))
}

fn of_two(name: &str, first: &Value, second: &Value, call: &Call<'_>) -> Outcome {
    match (name, first, second) {
        ("ne", ..) => equal(&[first.clone(), second.clone()]).map(|v| Value::Bool(!v.is_true())),
        ("lt", ..) => Ok(Value::Bool(compare(first, second)?.is_some_and(Ordering::is_lt))),
        ("le", ..) => Ok(Value::Bool(compare(first, second)?.is_some_and(Ordering::is_le))),
        ("gt", ..) => Ok(Value::Bool(compare(first, second)?.is_some_and(Ordering::is_gt))),
        ("ge", ..) => Ok(Value::Bool(compare(first, second)?.is_some_and(Ordering::is_ge))),
        ("match", Value::Str(pattern), Value::Str(text)) => {
            Ok(Value::Bool(regex(pattern)?.is_match(text)))
        }
        ("join", Value::Str(separator), Value::List(list)) => {
            let most = call.context.max_bytes;
            if separator.len().saturating_mul(list.len()) > most {
                return Err(format!("the text takes more than {most} bytes"));
            }
            let words: Vec<String> = list.iter().map(format::text).collect();
            Ok(Value::Str(words.join(separator)))
        }
        ("label", Value::Str(name), Value::Object(sample)) => Ok(label(sample, name)),
        ("sortByLabel", Value::Str(name), Value::List(list)) => {
            let mut list = list.as_ref().clone();
            let key = |value: &Value| match value {
                Value::Object(sample) => format::text(&label(sample, name)),
                _ => String::new(),
            };
            list.sort_by_cached_key(key);
            Ok(Value::list(list))
        }
        ("date", Value::Str(layout), Value::Time(time)) => {
            Ok(Value::Str(time::format(*time, layout)))
        }
        ("tz", Value::Str(zone), Value::Time(time)) => match zone.as_str() {
            "" | "UTC" => Ok(Value::Time(*time)),
            _ => Err(format!("time zone {zone:?} is not supported here; times are in UTC")),
        },
        _ => Err(wrong_arguments(&[first.clone(), second.clone()])),
    }
}

fn label(sample: &BTreeMap<String, Value>, name: &str) -> Value {
    match sample.get("Labels") {
        Some(Value::Map(labels)) => labels.get(name).cloned().unwrap_or(Value::from("")),
        _ => Value::from(""),
    }
}

/// `ReplaceAllString`, as far as the result may grow.
fn replaced(regex: &Regex, replacement: &str, text: &str, most: usize) -> Outcome {
    let (mut output, mut behind) = (String::new(), 0);
    for found in regex.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        output.push_str(text.get(behind..whole.start()).unwrap_or_default());
        found.expand(replacement, &mut output);
        behind = whole.end();
        if output.len() > most {
            return Err(format!("the text takes more than {most} bytes"));
        }
    }
    output.push_str(text.get(behind..).unwrap_or_default());
    Ok(Value::Str(output))
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|_| format!("error parsing regexp {pattern:?}"))
}

/// As Prometheus converts what it humanizes.
fn number(value: &Value) -> Result<f64, String> {
    match value {
        Value::Float(number) => Ok(*number),
        Value::Int(number) => Ok(*number as f64),
        Value::Duration(nanos) => Ok(*nanos as f64 / 1e9),
        Value::Str(text) => {
            let plain = crate::lang::number(text).filter(|_| !text.is_empty());
            plain.ok_or_else(|| format!("strconv.ParseFloat: parsing {text:?}: invalid syntax"))
        }
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

fn short(x: f64) -> String {
    format::sprintf("%.4g", &[Value::Float(x)])
}

const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// `1.234k`.
fn humanize(x: f64) -> String {
    if x == 0.0 || !x.is_finite() {
        return short(x);
    }
    if x.abs() >= 1.0 {
        let (x, prefix) = scaled(x, 1000.0, &["k", "M", "G", "T", "P", "E", "Z", "Y"]);
        return short(x) + prefix;
    }
    let (x, prefix) = enlarged(x);
    short(x) + prefix
}

/// `1.206ki`.
fn humanize1024(x: f64) -> String {
    if x.abs() <= 1.0 || !x.is_finite() {
        return short(x);
    }
    let (x, prefix) = scaled(x, 1024.0, &["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"]);
    short(x) + prefix
}

fn scaled(mut x: f64, by: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if x.abs() < by {
            break;
        }
        (x, prefix) = (x / by, next);
    }
    (x, prefix)
}

fn enlarged(mut x: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if x.abs() >= 1.0 {
            break;
        }
        (x, prefix) = (x * 1000.0, next);
    }
    (x, prefix)
}

/// `1d 2h 3m 4s`.
fn humanize_duration(x: f64) -> String {
    if !x.is_finite() {
        return short(x);
    }
    if x == 0.0 {
        return short(x) + "s";
    }
    if x.abs() < 1.0 {
        let (x, prefix) = enlarged(x);
        return format!("{}{prefix}s", short(x));
    }
    let sign = if x < 0.0 { "-" } else { "" };
    let total = x.abs() as i64;
    let (days, hours, minutes) = (total / 86_400, total / 3600 % 24, total / 60 % 60);
    let seconds = total % 60;
    if days != 0 {
        return format!("{sign}{days}d {hours}h {minutes}m {seconds}s");
    }
    if hours != 0 {
        return format!("{sign}{hours}h {minutes}m {seconds}s");
    }
    if minutes != 0 {
        return format!("{sign}{minutes}m {seconds}s");
    }
    format!("{sign}{}s", short(x.abs()))
}

fn to_time(seconds: f64) -> Result<Timestamp, String> {
    if !seconds.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    let nanos = seconds * 1e9;
    if nanos.abs() > i64::MAX as f64 {
        let seconds = format::format_g(seconds);
        return Err(format!(
            "{seconds} cannot be represented as a nanoseconds timestamp since it overflows int64"
        ));
    }
    Ok(Timestamp((nanos as i64).div_euclid(1_000_000)))
}

fn length(value: &Value) -> Outcome {
    let length = match value {
        Value::Str(text) | Value::Html(text) => text.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(i64::try_from(length).unwrap_or(i64::MAX)))
}

/// The first equals any of the others.
fn equal(args: &[Value]) -> Outcome {
    let Some((first, others)) = args.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err("missing argument for comparison".to_owned());
    };
    for other in others {
        let same = match (first, other) {
            (Value::Null, other) | (other, Value::Null) => *other == Value::Null,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => {
                return Err("non-comparable type".to_owned());
            }
            (Value::Object(a), Value::Object(b)) => a == b,
            _ => compare(first, other)? == Some(Ordering::Equal),
        };
        if same {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

/// Order of values of the same kind; `None` with NaN. Go refuses to compare 5 with 5.0.
fn compare(a: &Value, b: &Value) -> Result<Option<Ordering>, String> {
    Ok(match (a, b) {
        (Value::Int(a) | Value::Duration(a), Value::Int(b) | Value::Duration(b)) => Some(a.cmp(b)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Str(a) | Value::Html(a), Value::Str(b) | Value::Html(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
        _ => {
            let (a, b) = (a.type_name(), b.type_name());
            return Err(format!("incompatible types for comparison: {a} and {b}"));
        }
    })
}

fn index(args: &[Value]) -> Outcome {
    let Some((base, keys)) = args.split_first() else { return Err(wrong_arguments(args)) };
    let mut value = base.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::Map(map), Value::Str(key)) => map.get(key).cloned().unwrap_or(Value::from("")),
            (Value::List(list), Value::Int(at)) => {
                let place = usize::try_from(*at).ok().and_then(|at| list.get(at));
                place.cloned().ok_or_else(|| format!("index out of range: {at}"))?
            }
            (Value::Str(text), Value::Int(at)) => {
                let byte = usize::try_from(*at).ok().and_then(|at| text.as_bytes().get(at));
                let byte = byte.ok_or_else(|| format!("index out of range: {at}"))?;
                Value::Int(i64::from(*byte))
            }
            (Value::Null, _) => return Err("index of untyped nil".to_owned()),
            (value, key) => {
                let (value, key) = (value.type_name(), key.type_name());
                return Err(format!("can't index {value} with {key}"));
            }
        };
    }
    Ok(value)
}

fn slice(args: &[Value]) -> Outcome {
    let Some((base, ends)) = args.split_first() else { return Err(wrong_arguments(args)) };
    let mut places = Vec::new();
    for end in ends {
        match end {
            Value::Int(at) => places.push(usize::try_from(*at).unwrap_or(usize::MAX)),
            _ => return Err(wrong_arguments(args)),
        }
    }
    let first = places.first().copied().unwrap_or(0);
    let behind = |length: usize| places.get(1).copied().unwrap_or(length);
    let out_of_range = || format!("slice index out of range: {first}");
    match base {
        Value::Str(text) => {
            let part = text.get(first..behind(text.len())).ok_or_else(out_of_range)?;
            Ok(Value::from(part))
        }
        Value::List(list) => {
            let part = list.get(first..behind(list.len())).ok_or_else(out_of_range)?;
            Ok(Value::list(part.iter().cloned()))
        }
        _ => Err(wrong_arguments(args)),
    }
}

fn append(args: &[Value]) -> Outcome {
    match args {
        [Value::List(list), more @ ..] if list.len() + more.len() <= MAX_ELEMENTS => {
            Ok(Value::list(list.iter().chain(more).cloned()))
        }
        [Value::List(_), ..] => Err(format!("a list has at most {MAX_ELEMENTS} elements")),
        _ => Err(wrong_arguments(args)),
    }
}

fn dict(args: &[Value]) -> Outcome {
    if !args.len().is_multiple_of(2) {
        return Err("dict requires an even number of arguments".to_owned());
    }
    let mut entries = Vec::with_capacity(args.len() / 2);
    for pair in args.chunks_exact(2) {
        match pair {
            [Value::Str(key), value] => entries.push((key.clone(), value.clone())),
            _ => return Err("dict keys must be strings".to_owned()),
        }
    }
    Ok(Value::map(entries))
}

/// Methods of maps of labels.
pub(super) fn of_map(map: &BTreeMap<String, Value>, name: &str, args: &[Value]) -> Outcome {
    // As Alertmanager: the alert's name first.
    let mut pairs: Vec<(&String, &Value)> = map.iter().collect();
    pairs.sort_by_key(|(key, _)| key.as_str() != "alertname");
    match (name, args) {
        ("Names", []) => Ok(Value::list(pairs.iter().map(|(key, _)| Value::Str((*key).clone())))),
        ("Values", []) => Ok(Value::list(pairs.iter().map(|(_, value)| (*value).clone()))),
        ("Remove", [Value::List(names)]) => {
            let removed = |key: &String| names.iter().any(|name| format::text(name) == *key);
            let kept = map.iter().filter(|(key, _)| !removed(key));
            Ok(Value::map(kept.map(|(key, value)| (key.clone(), value.clone()))))
        }
        ("SortedPairs", []) => {
            let pair = |(key, value): &(&String, &Value)| {
                Value::object([("Name", Value::Str((*key).clone())), ("Value", (*value).clone())])
            };
            Ok(Value::list(pairs.iter().map(pair)))
        }
        _ => Err(wrong_arguments(args)),
    }
}

/// Methods of lists: of alerts and of pairs.
pub(super) fn of_list(list: &[Value], name: &str) -> Option<Value> {
    let field = |value: &Value, name: &str| match value {
        Value::Object(fields) => fields.get(name).cloned(),
        _ => None,
    };
    match name {
        "Firing" | "Resolved" => {
            let wanted = Value::Str(name.to_lowercase());
            let passes = |value: &&Value| field(value, "Status").as_ref() == Some(&wanted);
            Some(Value::list(list.iter().filter(passes).cloned()))
        }
        "Names" => Some(Value::list(list.iter().filter_map(|value| field(value, "Name")))),
        "Values" => Some(Value::list(list.iter().filter_map(|value| field(value, "Value")))),
        _ => None,
    }
}

/// Methods of times.
pub(super) fn of_time(at: Timestamp, name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    let date = crate::eval::date(at.0.div_euclid(1000));
    Ok(Some(match (name, args) {
        ("UTC" | "Local", []) => Value::Time(at),
        ("Unix", []) => Value::Int(at.0.div_euclid(1000)),
        ("UnixMilli", []) => Value::Int(at.0),
        ("UnixNano", []) => Value::Int(at.0.saturating_mul(1_000_000)),
        ("IsZero", []) => Value::Bool(at == time::ZERO),
        ("String", []) => Value::Str(time::default_text(at)),
        ("Year", []) => Value::Int(date.year),
        ("Day", []) => Value::Int(date.day),
        ("Hour", []) => Value::Int(date.hour),
        ("Minute", []) => Value::Int(date.minute),
        ("Second", []) => Value::Int(date.second),
        ("Weekday", []) => Value::Str(time::format(at, "Monday")),
        ("Month", []) => Value::Str(time::format(at, "January")),
        ("Format", [Value::Str(layout)]) => Value::Str(time::format(at, layout)),
        ("Sub", [Value::Time(other)]) => {
            Value::Duration(at.0.saturating_sub(other.0).saturating_mul(1_000_000))
        }
        ("Add", [Value::Duration(nanos)]) => {
            Value::Time(Timestamp(at.0.saturating_add(nanos / 1_000_000)))
        }
        ("Before", [Value::Time(other)]) => Value::Bool(at < *other),
        ("After", [Value::Time(other)]) => Value::Bool(at > *other),
        ("Equal", [Value::Time(other)]) => Value::Bool(at == *other),
        _ if args.is_empty() => return Ok(None),
        _ => return Err(wrong_arguments(args)),
    }))
}

fn title(text: &str, lowers: bool) -> String {
    let mut starts = true;
    let mut output = String::with_capacity(text.len());
    for c in text.chars() {
        if starts && c.is_alphanumeric() {
            output.extend(c.to_uppercase());
        } else if lowers {
            output.extend(c.to_lowercase());
        } else {
            output.push(c);
        }
        // An apostrophe does not end a word.
        starts = !(c.is_alphanumeric() || c == '_' || c == '\'' || c == '’');
    }
    output
}

/// Go's `net.SplitHostPort`.
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']')?;
        return Some((host, port.strip_prefix(':')?));
    }
    let (host, port) = text.rsplit_once(':')?;
    (!host.contains([':', '[', ']'])).then_some((host, port))
}

fn strip_domain(text: &str) -> String {
    let (host, port) = host_and_port(text).unwrap_or((text, ""));
    if host.parse::<std::net::IpAddr>().is_ok() {
        return text.to_owned();
    }
    let host = host.split('.').next().unwrap_or_default();
    if port.is_empty() { host.to_owned() } else { format!("{host}:{port}") }
}

fn js(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => escaped.push_str("\\\\"),
            '\'' => escaped.push_str("\\'"),
            '"' => escaped.push_str("\\\""),
            '<' | '>' | '&' | '=' => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c if u32::from(c) < 0x20 => escaped.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    escaped
}

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn base64_encode(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let at = |index: usize| chunk.get(index).map_or(0, |byte| u32::from(*byte));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for index in 0..4 {
            let digit = (bits >> (18 - 6 * index) & 63) as usize;
            let digit = BASE64.get(digit).copied().unwrap_or(b'=');
            text.push(if index <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

fn base64_decode(text: &str) -> Result<String, String> {
    let bad = || "illegal base64 data".to_owned();
    let mut bytes = Vec::new();
    let digits: Vec<u8> = text.bytes().collect();
    if !digits.len().is_multiple_of(4) {
        return Err(bad());
    }
    for chunk in digits.chunks(4) {
        let known: Vec<u8> = chunk.iter().copied().filter(|digit| *digit != b'=').collect();
        let mut bits = 0;
        for digit in &known {
            let value = BASE64.iter().position(|known| known == digit).ok_or_else(bad)?;
            bits = bits << 6 | u32::try_from(value).unwrap_or(0);
        }
        bits <<= 6 * (4 - known.len());
        let count = known.len().saturating_sub(1);
        bytes.extend(bits.to_be_bytes().iter().skip(1).take(count));
    }
    String::from_utf8(bytes).map_err(|_| bad())
}
