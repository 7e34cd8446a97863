//! Numbers as Go's strconv reads them.

/// Why a text is no number, in Go's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberError {
    /// It is something else.
    Syntax,
    /// It is a number that does not fit.
    Range,
}

impl std::fmt::Display for NumberError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            NumberError::Syntax => "invalid syntax",
            NumberError::Range => "value out of range",
        })
    }
}

/// A decimal integer (`strconv.Atoi`).
///
/// # Errors
/// When it is none, or larger than 64 bits.
pub fn integer(text: &str) -> Result<i64, NumberError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(NumberError::Syntax);
    }
    text.parse().map_err(|_| NumberError::Range)
}

/// An integer with the base that its prefix names (`strconv.ParseInt` with base 0).
///
/// # Errors
/// As [`integer`].
pub fn prefixed_integer(text: &str) -> Result<i64, NumberError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    let (digits, radix) = match unsigned.as_bytes() {
        [b'0', b'x', ..] => (unsigned.get(2..), 16),
        [b'0', b'b', ..] => (unsigned.get(2..), 2),
        [b'0', b'o', ..] => (unsigned.get(2..), 8),
        [b'0', _, ..] => (unsigned.get(1..), 8),
        _ => (Some(unsigned.as_str()), 10),
    };
    // An underscore may stand between two digits, a prefix counting as one.
    let is_doubled = unsigned.contains("__") || unsigned.ends_with('_');
    let digits =
        digits.filter(|digits| !is_doubled && !unsigned.starts_with('_') && !digits.is_empty());
    let digits = digits.ok_or(NumberError::Syntax)?.replace('_', "");
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return Err(NumberError::Syntax);
    }
    let sign = if text.starts_with('-') { "-" } else { "" };
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| NumberError::Range)
}

/// A number with a point, an exponent, or in hexadecimal (`strconv.ParseFloat`).
///
/// # Errors
/// When it is none, or too large.
pub fn float(text: &str) -> Result<f64, NumberError> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if let Some(digits) = unsigned.to_ascii_lowercase().strip_prefix("0x") {
        let value = hexadecimal(digits).ok_or(NumberError::Syntax)?;
        let value = if text.starts_with('-') { -value } else { value };
        return if value.is_finite() { Ok(value) } else { Err(NumberError::Range) };
    }
    let value: f64 = text.parse().map_err(|_| NumberError::Syntax)?;
    let is_spelt_out = !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    match value {
        _ if value.is_nan() && unsigned.len() < text.len() => Err(NumberError::Syntax),
        _ if value.is_infinite() && !is_spelt_out => Err(NumberError::Range),
        _ => Ok(value),
    }
}

/// `1.8p-3`: hexadecimal digits, and a power of two that must be there. More than 64 bits
/// of digits are rounded where they are added, not to the last bit.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once('p')?;
    let exponent = i32::try_from(integer(exponent).ok()?.clamp(-10_000, 10_000)).ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut digits = whole.chars().chain(fraction.chars()).map(|digit| digit.to_digit(16));
    let value = digits.try_fold(0.0, |sum, digit| Some(sum * 16.0 + f64::from(digit?)))?;
    let places = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    Some(value * f64::powi(2.0, exponent.saturating_sub(places)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_decimal_or_prefixed() {
        assert_eq!(integer("-12"), Ok(-12));
        assert_eq!(integer("1.5"), Err(NumberError::Syntax));
        assert_eq!(integer(""), Err(NumberError::Syntax));
        assert_eq!(integer("99999999999999999999"), Err(NumberError::Range));
        assert_eq!(prefixed_integer("0x1F"), Ok(31));
        assert_eq!(prefixed_integer("-010"), Ok(-8));
        assert_eq!(prefixed_integer("1_000"), Ok(1000));
        assert_eq!(prefixed_integer("1__0"), Err(NumberError::Syntax));
        assert_eq!(prefixed_integer("-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(prefixed_integer("0x"), Err(NumberError::Syntax));
    }

    #[test]
    fn floats_may_be_hexadecimal() {
        assert_eq!(float("0x1p-2"), Ok(0.25));
        assert_eq!(float("-0X1.8p1"), Ok(-3.0));
        assert_eq!(float("0x1"), Err(NumberError::Syntax));
        assert_eq!(float("1e400"), Err(NumberError::Range));
        assert_eq!(float("Inf"), Ok(f64::INFINITY));
        assert_eq!(float("+nan"), Err(NumberError::Syntax));
        assert_eq!(float("x"), Err(NumberError::Syntax));
    }
}
