//! Times as Go prints them, in the local time zone.

use analyze::pprof::report::TimeTexts;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The texts for a time in nanoseconds since the Unix epoch.
pub(super) fn texts(nanos: i64) -> TimeTexts {
    let Ok(timestamp) = Timestamp::from_nanosecond(nanos.into()) else {
        return TimeTexts::default();
    };
    let time = timestamp.to_zoned(TimeZone::system());
    let fraction = format!("{:09}", nanos.rem_euclid(1_000_000_000));
    let fraction = fraction.trim_end_matches('0');
    let fraction = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    TimeTexts {
        short: time.strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
        long: format!(
            "{}{fraction} {}",
            time.strftime("%Y-%m-%d %H:%M:%S"),
            time.strftime("%z %Z")
        ),
    }
}
