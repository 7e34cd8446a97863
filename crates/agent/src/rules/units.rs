//! What people write in rules: sizes, shares, rates, durations and counts in a window.
//!
//! Each parser takes the text as it stands in the file and says in its error what would be
//! right. Sizes are binary whatever they are called (`MB` is `MiB`), as everywhere in memsight.

use std::time::Duration;

use model::Bytes;
use model::units::{format_duration, parse_duration};

/// What the values of a signal are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Sizes.
    Bytes,
    /// Things that are counted.
    Count,
    /// Hundredths of something.
    Percent,
}

impl Unit {
    /// A value for people.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Bytes if value < 0.0 => format!("-{}", Bytes(-value as u64)),
            Unit::Bytes => Bytes(value as u64).to_string(),
            Unit::Percent => format!("{} %", plain(value)),
            Unit::Count => plain(value),
        }
    }

    /// A change a second for people, a minute where that reads better.
    pub fn show_rate(self, per_second: f64) -> String {
        match self {
            Unit::Bytes if per_second.abs() >= 1024.0 * 1024.0 => {
                format!("{}/s", self.show(per_second))
            }
            _ => format!("{}/m", self.show(per_second * 60.0)),
        }
    }
}

/// At most three digits that say something, without zeros that do not.
fn plain(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    }
}

/// A duration for people, no finer than it needs to be.
pub(super) fn show_millis(millis: i64) -> String {
    let millis = u64::try_from(millis).unwrap_or(0);
    let coarse = match millis {
        0..10_000 => millis,
        10_000..600_000 => millis / 1000 * 1000,
        _ => millis / 60_000 * 60_000,
    };
    format_duration(Duration::from_millis(coarse))
}

/// An amount as written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Amount {
    /// `2GiB`, in bytes.
    Bytes(f64),
    /// `80%`.
    Percent(f64),
    /// `3000`: a count, or bytes.
    Plain(f64),
}

/// `1.5GiB`, `80%`, `3000`.
pub(super) fn parse_amount(text: &str) -> Result<Amount, String> {
    let expected = || format!("{text:?} is no amount: write 2GiB, 80% or 3000");
    let (number, unit) = split_number(text).ok_or_else(expected)?;
    match unit {
        "" => Ok(Amount::Plain(number)),
        "%" => Ok(Amount::Percent(number)),
        unit => {
            let scale = byte_scale(unit).ok_or_else(expected)?;
            Ok(Amount::Bytes(number * scale))
        }
    }
}

/// A size: `200MiB`, or a number of bytes.
pub(super) fn parse_bytes(text: &str) -> Result<f64, String> {
    match parse_amount(text) {
        Ok(Amount::Bytes(bytes) | Amount::Plain(bytes)) => Ok(bytes),
        _ => Err(format!("{text:?} is no size: write 200MiB or 2GiB")),
    }
}

/// A share: `5%`.
pub(super) fn parse_percent(text: &str) -> Result<f64, String> {
    match parse_amount(text) {
        Ok(Amount::Percent(percent)) => Ok(percent),
        _ => Err(format!("{text:?} is no share: write 5%")),
    }
}

/// An amount in the unit of a signal; shares only where they mean something.
pub(super) fn parse_in(unit: Unit, text: &str) -> Result<f64, String> {
    match (unit, parse_amount(text)?) {
        (_, Amount::Plain(value))
        | (Unit::Bytes, Amount::Bytes(value))
        | (Unit::Percent, Amount::Percent(value)) => Ok(value),
        (Unit::Bytes, Amount::Percent(_)) => Err(format!("{text:?}: a size is expected, as 2GiB")),
        (Unit::Count, _) => Err(format!("{text:?}: this signal is counted; write 3000")),
        (Unit::Percent, _) => Err(format!("{text:?}: this signal is a share; write 80%")),
    }
}

/// A change over time, as an amount a second: `10MiB/m`, `50/h`.
pub(super) fn parse_rate(unit: Unit, text: &str) -> Result<f64, String> {
    let expected = || format!("{text:?} is no rate: write 10MiB/m or 50/h");
    let (amount, per) = text.split_once('/').ok_or_else(expected)?;
    let seconds = match per.trim() {
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(expected()),
    };
    Ok(parse_in(unit, amount.trim())? / seconds)
}

/// A span of time above zero, in milliseconds.
pub(super) fn parse_millis(text: &str) -> Result<i64, String> {
    let duration = parse_duration(text)?;
    let millis = i64::try_from(duration.as_millis()).ok().filter(|millis| *millis <= SPAN_MAX);
    millis.ok_or_else(|| format!("{text:?} is too long: ten years are the most"))
}

/// Ten years: times stay far from the ends of what they are kept in.
const SPAN_MAX: i64 = 3650 * 86_400_000;

/// `3 in 1h`: an amount and the span it is for.
pub(super) fn split_window(text: &str) -> Result<(&str, i64), String> {
    let expected = || format!("{text:?}: write an amount and a span, as \"3 in 1h\"");
    let (amount, span) = text.split_once(" in ").ok_or_else(expected)?;
    match parse_millis(span.trim())? {
        0 => Err(expected()),
        millis => Ok((amount.trim(), millis)),
    }
}

/// A number without sign, and what follows it.
fn split_number(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, unit) = text.split_at_checked(end)?;
    let number: f64 = number.parse().ok()?;
    Some((number, unit.trim()))
}

fn byte_scale(unit: &str) -> Option<f64> {
    let lower = unit.to_ascii_lowercase();
    let power = match lower.strip_suffix("ib").or(lower.strip_suffix('b')).unwrap_or(&lower) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return None,
    };
    Some(1024_f64.powi(power))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_their_units() {
        let check = |text: &str, expected: Amount| assert_eq!(parse_amount(text), Ok(expected));
        check("2GiB", Amount::Bytes(2_147_483_648.0));
        check("1.5 MB", Amount::Bytes(1_572_864.0));
        check("10k", Amount::Bytes(10_240.0));
        check("12B", Amount::Bytes(12.0));
        check("80%", Amount::Percent(80.0));
        check("62.5 %", Amount::Percent(62.5));
        check("3000", Amount::Plain(3000.0));
        for bad in ["", "GiB", "-1", "1.2.3", "5x", "80%%", "1e9", "ü"] {
            assert!(parse_amount(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_in(Unit::Count, "3000"), Ok(3000.0));
        assert!(parse_in(Unit::Count, "3GiB").is_err());
        assert!(parse_in(Unit::Bytes, "80%").is_err());
    }

    #[test]
    fn rates_and_windows() {
        assert_eq!(parse_rate(Unit::Bytes, "10MiB/m"), Ok(10.0 * 1_048_576.0 / 60.0));
        assert_eq!(parse_rate(Unit::Count, "36/h"), Ok(0.01));
        for bad in ["10MiB", "10MiB/y", "/m", "80%/m"] {
            assert!(parse_rate(Unit::Bytes, bad).is_err(), "{bad}");
        }
        assert_eq!(split_window("3 in 1h"), Ok(("3", 3_600_000)));
        assert_eq!(split_window("200MiB in 1d"), Ok(("200MiB", 86_400_000)));
        for bad in ["3", "3 per 1h", "3 in 0", "3 in x", "3 in 99y"] {
            assert!(split_window(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_read_well() {
        assert_eq!(Unit::Percent.show(71.04), "71 %");
        assert_eq!(Unit::Percent.show(0.5), "0.5 %");
        assert_eq!(Unit::Count.show(3000.0), "3000");
        assert_eq!(Unit::Count.show(100.0), "100");
        assert_eq!(Unit::Bytes.show(-1024.0), "-1.00 KiB");
        assert_eq!(Unit::Bytes.show_rate(1024.0), "60.0 KiB/m");
        assert_eq!(show_millis(3_723_456), "1h2m");
        assert_eq!(show_millis(-5), "0s");
    }
}
