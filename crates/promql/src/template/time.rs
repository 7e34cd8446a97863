//! Times and durations as Go writes them, in UTC.

use model::units::Timestamp;

use crate::eval::{Date, date};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// The first instant of the year 1: Go's zero time.
pub(super) const ZERO: Timestamp = Timestamp(-62_135_596_800_000);

/// As `%v` prints a time.
pub(super) fn default_text(time: Timestamp) -> String {
    format(time, "2006-01-02 15:04:05.999999999 -0700 MST")
}

/// As JSON has it.
pub(super) fn rfc3339(time: Timestamp) -> String {
    format(time, "2006-01-02T15:04:05.999999999Z07:00")
}

/// Parts of layouts, longer ones first where one starts another.
const PARTS: [&str; 30] = [
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "2006",
    "-07:00",
    "-0700",
    "Z07:00",
    "Z0700",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "_2",
    "PM",
    "pm",
    "-07",
    "1",
    "2",
    "3",
    "4",
    "5",
    ".000000000",
    ".000000",
    ".000",
];

/// A time in a layout of Go.
pub(super) fn format(time: Timestamp, layout: &str) -> String {
    let date = date(time.0.div_euclid(1000));
    let millis = time.0.rem_euclid(1000);
    let mut output = String::new();
    let mut rest = layout;
    while let Some(first) = rest.chars().next() {
        // `.999` leaves trailing zeros out.
        if let Some(nines) = rest.strip_prefix(".9").filter(|_| first == '.') {
            let digits = 1 + nines.chars().take_while(|c| *c == '9').count();
            let fraction = format!("{:09}", millis * 1_000_000);
            let fraction = fraction.get(..digits.min(9)).unwrap_or_default().trim_end_matches('0');
            if !fraction.is_empty() {
                output.push('.');
                output.push_str(fraction);
            }
            rest = rest.get(1 + digits..).unwrap_or_default();
            continue;
        }
        match PARTS.iter().find(|part| rest.starts_with(**part)) {
            Some(part) => {
                output.push_str(&self::part(&date, millis, part));
                rest = rest.get(part.len()..).unwrap_or_default();
            }
            None => {
                output.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    output
}

fn part(date: &Date, millis: i64, part: &str) -> String {
    let name = |names: &[&str], index: i64| {
        let index = usize::try_from(index).unwrap_or(0);
        names.get(index).copied().unwrap_or_default().to_owned()
    };
    let short = |name: String| name.chars().take(3).collect::<String>();
    let hour12 = if date.hour % 12 == 0 { 12 } else { date.hour % 12 };
    match part {
        "January" => name(&MONTHS, date.month - 1),
        "Jan" => short(name(&MONTHS, date.month - 1)),
        "Monday" => name(&WEEKDAYS, date.weekday),
        "Mon" => short(name(&WEEKDAYS, date.weekday)),
        "MST" => "UTC".to_owned(),
        "2006" => format!("{:04}", date.year),
        "06" => format!("{:02}", date.year.rem_euclid(100)),
        "01" => format!("{:02}", date.month),
        "1" => date.month.to_string(),
        "02" => format!("{:02}", date.day),
        "2" => date.day.to_string(),
        "_2" => format!("{:2}", date.day),
        "002" => format!("{:03}", date.year_day),
        "15" => format!("{:02}", date.hour),
        "03" => format!("{hour12:02}"),
        "3" => hour12.to_string(),
        "04" => format!("{:02}", date.minute),
        "4" => date.minute.to_string(),
        "05" => format!("{:02}", date.second),
        "5" => date.second.to_string(),
        "PM" => if date.hour < 12 { "AM" } else { "PM" }.to_owned(),
        "pm" => if date.hour < 12 { "am" } else { "pm" }.to_owned(),
        "-07:00" => "+00:00".to_owned(),
        "-0700" => "+0000".to_owned(),
        "-07" => "+00".to_owned(),
        "Z07:00" | "Z0700" => "Z".to_owned(),
        ".000" => format!(".{millis:03}"),
        ".000000" => format!(".{millis:03}000"),
        ".000000000" => format!(".{millis:03}000000"),
        _ => String::new(),
    }
}

/// As `%v` prints a duration: `1h2m3.5s`.
pub(super) fn duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let (sign, magnitude) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let decimal = |whole: u64, part: u64, digits: usize, unit: &str| {
        let fraction = format!("{part:0digits$}");
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{whole}{point}{fraction}{unit}")
    };
    let text = match magnitude {
        0..1000 => format!("{magnitude}ns"),
        1000..1_000_000 => decimal(magnitude / 1000, magnitude % 1000, 3, "µs"),
        1_000_000..1_000_000_000 => decimal(magnitude / 1_000_000, magnitude % 1_000_000, 6, "ms"),
        _ => {
            let total = magnitude / 1_000_000_000;
            let seconds = decimal(total % 60, magnitude % 1_000_000_000, 9, "s");
            match (total / 3600, total / 60 % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use model::units::Timestamp;

    use super::{default_text, duration, format, rfc3339};

    #[test]
    fn times_are_those_of_go() {
        let time = Timestamp(1_136_239_445_120);
        assert_eq!(default_text(time), "2006-01-02 22:04:05.12 +0000 UTC");
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00Z");
        assert_eq!(format(time, "Mon, 2 Jan 06 3:04pm -07:00"), "Mon, 2 Jan 06 10:04pm +00:00");
        assert_eq!(format(time, "15:04:05.000"), "22:04:05.120");
    }

    #[test]
    fn durations_are_those_of_go() {
        let check = |nanos: i64, expected: &str| assert_eq!(duration(nanos), expected);
        check(0, "0s");
        check(1, "1ns");
        check(1_500, "1.5µs");
        check(-2_500_000, "-2.5ms");
        check(3_723_500_000_000, "1h2m3.5s");
        check(60_000_000_000, "1m0s");
    }
}
