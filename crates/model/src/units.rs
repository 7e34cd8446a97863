//! Newtypes for quantities that must not be mixed up.

use std::fmt;
use std::time::Duration;

/// An address in a target's address space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addr(pub u64);

impl Addr {
    /// Returns the address `offset` bytes further, or `None` past the end of
    /// the address space.
    pub fn checked_add(self, offset: u64) -> Option<Addr> {
        self.0.checked_add(offset).map(Addr)
    }

    /// Reports whether this is the nil pointer.
    pub fn is_nil(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A size in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    /// Writes binary units with three significant digits: `1.50 GiB`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
        if self.0 < 1024 {
            return write!(f, "{} B", self.0);
        }
        let mut value = self.0 as f64 / 1024.0;
        let mut unit = 0;
        // 1023.5 and more would print as "1024"; the next unit says it better.
        while value >= 1023.5 && unit + 1 < UNITS.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = if value < 9.995 {
            2
        } else if value < 99.95 {
            1
        } else {
            0
        };
        write!(f, "{value:.digits$} {}", UNITS[unit])
    }
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Seconds from `earlier` to `self`; negative when `self` came first.
    pub fn seconds_since(self, earlier: Timestamp) -> f64 {
        (self.0 - earlier.0) as f64 / 1000.0
    }
}

/// Parses a share of one core, which may be more than all of it: `3%`, `0.03`.
///
/// # Errors
/// When it is none.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let (number, scale) = match text.strip_suffix('%') {
        Some(number) => (number.trim(), 100.0),
        None => (text, 1.0),
    };
    let share = number.parse::<f64>().ok().map(|number| number / scale);
    let expected = || format!("{text:?} is no share of a core: write 3%");
    share.filter(|share| *share > 0.0 && share.is_finite()).ok_or_else(expected)
}

/// Units of durations as Prometheus writes them, largest first, in milliseconds.
const DURATION_UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// A number, its unit, and what follows: of `1h30m` 1, `h`, `30m`.
fn split_part(text: &str) -> (&str, &str, &str) {
    let is_digit = |c: char| c.is_ascii_digit() || c == '.';
    let (number, tail) = text.split_at(text.find(|c| !is_digit(c)).unwrap_or(text.len()));
    let (unit, rest) = tail.split_at(tail.find(is_digit).unwrap_or(tail.len()));
    (number, unit, rest)
}

/// Parses a duration as Prometheus writes it: `30s`, `1h30m`, `500ms`, `0`.
///
/// # Errors
/// Says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is no duration: write 30s, 5m, 1h30m, 15d");
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (mut rest, mut millis, mut least) = (text, 0_u64, 0);
    while !rest.is_empty() {
        let (number, unit, tail) = split_part(rest);
        let number: u64 = number.parse().map_err(|_| expected())?;
        // Each unit once, larger ones first.
        let mut units = DURATION_UNITS.iter().enumerate().skip(least);
        let (index, (_, each)) = units.find(|(_, known)| known.0 == unit).ok_or_else(expected)?;
        millis =
            number.checked_mul(*each).and_then(|n| millis.checked_add(n)).ok_or_else(expected)?;
        (rest, least) = (tail, index + 1);
    }
    if text.is_empty() {
        return Err(expected());
    }
    Ok(Duration::from_millis(millis))
}

/// Parses a duration as people type it: also fractions, units in any order, smaller ones (`us`,
/// `ns`), and bare numbers, which are seconds.
///
/// # Errors
/// Says what was expected.
pub fn parse_typed_duration(text: &str) -> Result<Duration, String> {
    const SHORT: [(&str, f64); 3] = [("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9)];
    let expected = || format!("{text:?} is no duration: write 60s, 1m30s, 1.5h, 250us");
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let (number, unit, tail) = split_part(rest);
        let long = DURATION_UNITS.iter().find(|known| known.0 == unit);
        let short = SHORT.iter().find(|known| known.0 == unit).map(|known| known.1);
        let each = long.map(|known| known.1 as f64 / 1e3).or(short);
        let each = each.or((unit.is_empty() && number == text).then_some(1.0));
        let number = number.parse::<f64>().map_err(|_| expected())?;
        seconds += number * each.ok_or_else(expected)?;
        rest = tail;
    }
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) if !text.is_empty() => Ok(duration),
        _ => Err(expected()),
    }
}

/// Writes a duration so that [`parse_duration`] reads it; below a millisecond is lost.
pub fn format_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, each) in DURATION_UNITS {
        // Weeks and years are written only where nothing is left, as Prometheus does.
        let count = millis / each;
        if count > 0 && (!matches!(unit, "y" | "w") || millis % each == 0) {
            text.push_str(&format!("{count}{unit}"));
            millis -= count * each;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Parses `500MB`, `2GiB`, `1.5G`, `1073741824`; k, M, G, T are binary either way.
///
/// # Errors
/// Says what was expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("{text:?} is no size: write 500MiB, 2GiB or a number of bytes");
    let digits = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_ascii_lowercase();
    let scale = match unit.strip_suffix("ib").or(unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1_u64 << 40,
        _ => return Err(expected()),
    };
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(scale).ok_or_else(expected);
    }
    let bytes = number.parse::<f64>().map_err(|_| expected())? * scale as f64;
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(expected()) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bytes, format_duration, parse_bytes, parse_duration};

    #[test]
    fn sizes_parse() {
        let check = |text: &str, bytes: u64| assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        check("2GiB", 2 << 30);
        check("500MB", 500 << 20);
        check("1.5k", 1536);
        check("12", 12);
        check("0 B", 0);
        for text in ["", "GiB", "-1", "1x", "1.2.3k", "99999999999G", "1e3"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_those_of_prometheus() {
        let check = |text: &str, millis: u64, written: &str| {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse_duration(text), Ok(duration));
            assert_eq!(format_duration(duration), written);
        };
        check("0", 0, "0s");
        check("30s", 30_000, "30s");
        check("90m", 5_400_000, "1h30m");
        check("1h30m", 5_400_000, "1h30m");
        check("1d2ms", 86_400_002, "1d2ms");
        check("2w", 14 * 86_400_000, "2w");
        check("15d", 15 * 86_400_000, "15d");
        for text in ["", "5", "m", "5x", "1m1h", "1m1m", "-1s", "1.5h", "99999999999y"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bytes_print_three_digits() {
        let check = |bytes: u64, expected: &str| assert_eq!(Bytes(bytes).to_string(), expected);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.00 KiB");
        check(1536, "1.50 KiB");
        check(10 << 20, "10.0 MiB");
        check((1 << 30) - 1, "1.00 GiB");
        check(123 << 20, "123 MiB");
        check(u64::MAX, "16384 PiB");
    }
}
