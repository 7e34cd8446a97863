//! Values as Go prints them: `printf`, `print`, numbers, JSON, HTML.

use super::time;
use super::value::Value;

/// Widest field and finest precision.
const MAX_WIDTH: usize = 1000;

/// A value as `%v` prints it.
pub(crate) fn text(value: &Value) -> String {
    verb(value, 'v', &Flags::default())
}

/// A number as `%v` and `%g` print it: the shortest that reads the same.
pub(crate) fn format_g(x: f64) -> String {
    float_g(x, None)
}

/// A number without an exponent, as short as it can be.
pub(crate) fn format_f(x: f64) -> String {
    special(x).unwrap_or_else(|| format!("{x}"))
}

fn special(x: f64) -> Option<String> {
    if x.is_nan() {
        return Some("NaN".to_owned());
    }
    x.is_infinite().then(|| if x > 0.0 { "+Inf" } else { "-Inf" }.to_owned())
}

/// `d.ddde+XX`, with at least two digits of exponent.
fn float_e(x: f64, precision: Option<usize>) -> String {
    if let Some(special) = special(x) {
        return special;
    }
    let written = match precision {
        Some(precision) => format!("{x:.precision$e}"),
        None => format!("{x:e}"),
    };
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

fn float_f(x: f64, precision: usize) -> String {
    special(x).unwrap_or_else(|| format!("{x:.precision$}"))
}

fn float_g(x: f64, precision: Option<usize>) -> String {
    if let Some(special) = special(x) {
        return special;
    }
    let digits = precision.map(|precision| precision.max(1));
    let written = match digits {
        Some(digits) => format!("{x:.0$e}", digits - 1),
        None => format!("{x:e}"),
    };
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mantissa = if mantissa.contains('.') {
        mantissa.trim_end_matches('0').trim_end_matches('.')
    } else {
        mantissa
    };
    let count = mantissa.chars().filter(char::is_ascii_digit).count();
    let integer_digits = exponent + 1;
    let count_i32 = i32::try_from(count).unwrap_or(i32::MAX);
    let limit = match digits {
        None => 6,
        Some(digits) if digits > count && count_i32 >= integer_digits => count_i32,
        Some(digits) => i32::try_from(digits).unwrap_or(i32::MAX),
    };
    if exponent < -4 || exponent >= limit {
        return float_e(x, Some(count.saturating_sub(1)));
    }
    let decimals = usize::try_from(count_i32.saturating_sub(integer_digits)).unwrap_or(0);
    // The digits were rounded already; more of them must not come back.
    let rounded: f64 = written.parse().unwrap_or(x);
    format!("{rounded:.decimals$}")
}

/// Flags, width and precision of a verb.
#[derive(Clone, Default)]
struct Flags {
    minus: bool,
    plus: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Go's `Sprintf`.
pub(super) fn sprintf(format: &str, args: &[Value]) -> String {
    let mut output = String::new();
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    let mut taken = true;
    while let Some(c) = chars.next() {
        if c != '%' {
            output.push(c);
            continue;
        }
        let mut flags = Flags::default();
        while let Some(flag) = chars.next_if(|c| "-+# 0".contains(*c)) {
            match flag {
                '-' => flags.minus = true,
                '+' => flags.plus = true,
                '#' => flags.sharp = true,
                ' ' => flags.space = true,
                _ => flags.zero = true,
            }
        }
        flags.width = count(&mut chars, &mut args).unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            flags.precision = Some(count(&mut chars, &mut args).unwrap_or(0));
        }
        match chars.next() {
            None => output.push_str("%!(NOVERB)"),
            Some('%') => output.push('%'),
            Some(letter) => match args.next() {
                None => output.push_str(&format!("%!{letter}(MISSING)")),
                Some(value) => output.push_str(&verb(value, letter, &flags)),
            },
        }
    }
    for (index, extra) in args.enumerate() {
        output.push_str(if index == 0 { "%!(EXTRA " } else { ", " });
        output.push_str(&format!("{}={}", extra.type_name(), text(extra)));
        taken = false;
    }
    if !taken {
        output.push(')');
    }
    output
}

/// A width or a precision: digits, or `*` for the next argument.
fn count(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    args: &mut std::slice::Iter<'_, Value>,
) -> Option<usize> {
    if chars.next_if_eq(&'*').is_some() {
        return match args.next() {
            Some(Value::Int(count)) => usize::try_from(*count).ok().map(|n| n.min(MAX_WIDTH)),
            _ => None,
        };
    }
    let mut number = None;
    while let Some(digit) = chars.next_if(char::is_ascii_digit) {
        let digit = digit.to_digit(10).unwrap_or(0) as usize;
        number = Some((number.unwrap_or(0) * 10 + digit).min(MAX_WIDTH));
    }
    number
}

fn verb(value: &Value, letter: char, flags: &Flags) -> String {
    // The plus of `%+v` asks for names of fields.
    let plain = Flags { plus: flags.plus && letter != 'v', ..flags.clone() };
    let flags = &plain;
    let bad = || format!("%!{letter}({}={})", value.type_name(), bad_value(value, flags));
    let written = match (value, letter) {
        (Value::Null, 'v') => return padded("<nil>", flags),
        (Value::Null, _) => return format!("%!{letter}(<nil>)"),
        (_, 'T') => return padded(value.type_name(), flags),
        (Value::Bool(truth), 'v' | 't') => truth.to_string(),
        (Value::Duration(nanos), 'v' | 's') => time::duration(*nanos),
        (Value::Int(number) | Value::Duration(number), _) => {
            match integer(*number, letter, flags) {
                Some(number) if matches!(letter, 'c' | 'q') => number,
                Some(number) => return int_field(&number, flags),
                None => bad(),
            }
        }
        (Value::Float(number), _) => match float(*number, letter, flags) {
            Some(number) => return numeric(&number, flags),
            None => bad(),
        },
        (Value::Str(text) | Value::Html(text), _) => match string(text, letter, flags) {
            Some(text) => text,
            None => bad(),
        },
        (Value::Time(time), 'v' | 's') => time::default_text(*time),
        (Value::List(list), _) => {
            let parts: Vec<String> = list.iter().map(|value| verb(value, letter, flags)).collect();
            return format!("[{}]", parts.join(" "));
        }
        (Value::Map(map), _) => {
            let part =
                |(key, value): (&String, &Value)| format!("{}:{}", key, verb(value, letter, flags));
            return format!("map[{}]", map.iter().map(part).collect::<Vec<_>>().join(" "));
        }
        (Value::Object(fields), _) => {
            let parts: Vec<String> =
                fields.values().map(|value| verb(value, letter, flags)).collect();
            return format!("{{{}}}", parts.join(" "));
        }
        _ => bad(),
    };
    padded(&written, flags)
}

/// The value of a verb it does not go with: as `%v`, but for the plus.
fn bad_value(value: &Value, flags: &Flags) -> String {
    match value {
        Value::Int(number) => integer(*number, 'd', flags).map(|text| int_field(&text, flags)),
        Value::Float(number) => float(*number, 'g', flags).map(|text| numeric(&text, flags)),
        _ => None,
    }
    .unwrap_or_else(|| verb(value, 'v', flags))
}

/// An integer in its field; with a precision, zeros do not fill it.
fn int_field(text: &str, flags: &Flags) -> String {
    numeric(text, &Flags { zero: flags.zero && flags.precision.is_none(), ..flags.clone() })
}

fn integer(number: i64, letter: char, flags: &Flags) -> Option<String> {
    let magnitude = number.unsigned_abs();
    let digits = match letter {
        'd' | 'v' => magnitude.to_string(),
        'b' => format!("{magnitude:b}"),
        'o' => format!("{}{magnitude:o}", if flags.sharp { "0" } else { "" }),
        'x' => format!("{}{magnitude:x}", if flags.sharp { "0x" } else { "" }),
        'X' => format!("{}{magnitude:X}", if flags.sharp { "0X" } else { "" }),
        'U' => return Some(format!("U+{magnitude:04X}")),
        'c' | 'q' => {
            let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            let escaped = quoted(&c.to_string()).replace("\\\"", "\"").replace('\'', "\\'");
            let inner = escaped.get(1..escaped.len() - 1).unwrap_or_default();
            return Some(if letter == 'c' { c.to_string() } else { format!("'{inner}'") });
        }
        _ => return None,
    };
    let digits = match flags.precision {
        Some(precision) if digits.len() < precision => format!("{digits:0>precision$}"),
        _ => digits,
    };
    Some(signed(number < 0, &digits, flags))
}

fn float(number: f64, letter: char, flags: &Flags) -> Option<String> {
    let precision = flags.precision;
    let magnitude = number.abs();
    let written = match letter {
        'v' | 'g' => float_g(magnitude, precision),
        'G' => float_g(magnitude, precision).to_uppercase(),
        'f' | 'F' => float_f(magnitude, precision.unwrap_or(6)),
        'e' => float_e(magnitude, Some(precision.unwrap_or(6))),
        'E' => float_e(magnitude, Some(precision.unwrap_or(6))).to_uppercase(),
        _ => return None,
    };
    if number.is_nan() {
        return Some(if flags.plus { "+NaN" } else { "NaN" }.to_owned());
    }
    if number.is_infinite() {
        // The sign of infinity is always there.
        return Some(if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned());
    }
    Some(signed(number.is_sign_negative(), &written, flags))
}

fn signed(negative: bool, digits: &str, flags: &Flags) -> String {
    let sign = match (negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    format!("{sign}{digits}")
}

fn string(text: &str, letter: char, flags: &Flags) -> Option<String> {
    let cut: String = text.chars().take(flags.precision.unwrap_or(usize::MAX)).collect();
    let hex = |upper: bool| {
        let byte = |byte: u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
        let bytes = text.bytes().take(flags.precision.unwrap_or(usize::MAX)).map(byte);
        bytes.collect::<Vec<_>>().join(if flags.space { " " } else { "" })
    };
    match letter {
        'v' | 's' => Some(cut),
        'q' => Some(quoted(&cut)),
        'x' => Some(hex(false)),
        'X' => Some(hex(true)),
        _ => None,
    }
}

/// A text in quotes, with the escapes of Go's `strconv.Quote`.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            c if c < ' ' || c == '\u{7f}' => {
                quoted.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A number in its field; zeros go behind the sign.
fn numeric(number: &str, flags: &Flags) -> String {
    let length = number.chars().count();
    if !flags.zero
        || flags.minus
        || length >= flags.width
        || number.ends_with("Inf")
        || number.ends_with("NaN")
    {
        return padded(number, flags);
    }
    let (sign, digits) = number.split_at(usize::from(number.starts_with(['+', '-', ' '])));
    format!("{sign}{}{digits}", "0".repeat(flags.width - length))
}

fn padded(text: &str, flags: &Flags) -> String {
    let missing = flags.width.saturating_sub(text.chars().count());
    if flags.zero && !flags.minus {
        return format!("{}{text}", "0".repeat(missing));
    }
    let blanks = " ".repeat(missing);
    if flags.minus { format!("{text}{blanks}") } else { format!("{blanks}{text}") }
}

/// Go's `Sprint`: blanks between values that are no texts.
pub(super) fn sprint(args: &[Value]) -> String {
    let mut output = String::new();
    let mut previous: Option<&Value> = None;
    for value in args {
        let is_text = |value: &Value| matches!(value, Value::Str(_));
        if previous.is_some_and(|previous| !is_text(previous)) && !is_text(value) {
            output.push(' ');
        }
        output.push_str(&text(value));
        previous = Some(value);
    }
    output
}

/// Go's `html.EscapeString` as templates have it.
pub(super) fn html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\0' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Go's `url.QueryEscape`.
pub(crate) fn query_escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            b' ' => escaped.push('+'),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

/// Go's `url.QueryUnescape`.
pub(super) fn query_unescape(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next(), rest.next()].map(|digit| digit.unwrap_or(b'!'));
                let digits = std::str::from_utf8(&digits).unwrap_or("!");
                let byte = u8::from_str_radix(digits, 16);
                bytes.push(byte.map_err(|_| format!("invalid URL escape \"%{digits}\""))?);
            }
            byte => bytes.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Go's `json.Marshal`.
pub(super) fn json(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) | Value::Duration(number) => number.to_string(),
        Value::Float(number) if !number.is_finite() => {
            return Err(format!("json: unsupported value: {}", format_g(*number)));
        }
        Value::Float(number) if number.abs() < 1e21 && (number.abs() >= 1e-6 || *number == 0.0) => {
            format!("{number}")
        }
        Value::Float(number) => float_e(*number, None).replace("e-0", "e-"),
        Value::Str(text) | Value::Html(text) => json_text(text),
        Value::Time(time) => json_text(&time::rfc3339(*time)),
        Value::List(list) => {
            let parts: Result<Vec<String>, String> = list.iter().map(json).collect();
            format!("[{}]", parts?.join(","))
        }
        Value::Map(map) | Value::Object(map) => {
            let mut parts = Vec::with_capacity(map.len());
            for (key, value) in map.iter() {
                parts.push(format!("{}:{}", json_text(key), json(value)?));
            }
            format!("{{{}}}", parts.join(","))
        }
    })
}

fn json_text(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c if u32::from(c) < 0x20 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
