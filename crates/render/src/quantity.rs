//! Sample values as people read them, by the unit of their column.

use model::Bytes;

/// A value with its unit: `1.50 GiB`, `1,234`, `2.50 s`.
pub fn text(value: i64, unit: &str) -> String {
    let sign = if value < 0 { "-" } else { "" };
    let size = value.unsigned_abs();
    match unit {
        "bytes" => format!("{sign}{}", Bytes(size)),
        "nanoseconds" => format!("{sign}{}", seconds(size as f64 / 1e9)),
        _ => format!("{sign}{}", grouped(size)),
    }
}

/// A number of things: `1,234`.
pub fn count(number: u64) -> String {
    grouped(number)
}

/// A change: as [`text`], with a plus sign where it grows.
pub fn change(value: i64, unit: &str) -> String {
    let plus = if value > 0 { "+" } else { "" };
    format!("{plus}{}", text(value, unit))
}

/// A share in percent; `-` when the whole is zero.
pub fn percent(part: i64, whole: i64) -> String {
    match whole {
        0 => "-".to_owned(),
        whole => format!("{:.1}%", part as f64 * 100.0 / whole.unsigned_abs() as f64),
    }
}

/// A relative standard error: `±18 %`; empty when there is none.
pub fn error(share: Option<f64>) -> String {
    match share.map(|share| share * 100.0) {
        None => String::new(),
        Some(percent) if percent >= 9.95 => format!("±{percent:.0} %"),
        Some(percent) => format!("±{percent:.1} %"),
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.2} us", s * 1e6),
    }
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{change, error, percent, text};

    #[test]
    fn values_read_well() {
        assert_eq!(text(1536, "bytes"), "1.50 KiB");
        assert_eq!(text(-1_234_567, "count"), "-1,234,567");
        assert_eq!(text(2_500_000_000, "nanoseconds"), "2.50 s");
        assert_eq!(change(10, "count"), "+10");
        assert_eq!(percent(1, 3), "33.3%");
        assert_eq!(percent(1, 0), "-");
        assert_eq!([Some(0.1777), Some(0.0234), None].map(error), ["±18 %", "±2.3 %", ""]);
    }
}
