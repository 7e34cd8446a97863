//! Named intervals of time, in which routes are muted or active, as Alertmanager has them.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use model::units::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error};

const WEEKDAYS: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// A name for intervals.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedIntervals {
    /// Name.
    pub name: serde_saphyr::Spanned<String>,
    /// Any of these.
    #[serde(default)]
    pub time_intervals: Vec<Interval>,
}

impl NamedIntervals {
    /// Reports whether the time lies in one of them.
    pub(crate) fn contains(&self, time: Timestamp) -> bool {
        self.time_intervals.iter().any(|interval| interval.contains(time))
    }
}

/// An interval: all that is given must hold; of each list, any.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interval {
    times: Vec<Times>,
    weekdays: Vec<Range<Weekdays>>,
    days_of_month: Vec<Range<Days>>,
    months: Vec<Range<Months>>,
    years: Vec<Range<Years>>,
    location: Option<Location>,
}

impl Interval {
    fn contains(&self, time: Timestamp) -> bool {
        let Ok(time) = jiff::Timestamp::from_millisecond(time.0) else { return false };
        let zone = self.location.as_ref().map_or(TimeZone::UTC, |location| location.0.clone());
        let time = time.to_zoned(zone);
        let minute = i32::from(time.hour()) * 60 + i32::from(time.minute());
        let is_among = |times: &[Times]| times.is_empty() || times.iter().any(|t| t.hold(minute));
        let (day, last) = (i32::from(time.day()), i32::from(time.days_in_month()));
        is_among(&self.times)
            && among(&self.days_of_month, |range| range.holds_day(day, last))
            && among(&self.months, |range| range.holds(i32::from(time.month())))
            && among(&self.weekdays, |range| range.holds(weekday(time.weekday())))
            && among(&self.years, |range| range.holds(i32::from(time.year())))
    }
}

/// No range is any.
fn among<R>(ranges: &[Range<R>], holds: impl Fn(&Range<R>) -> bool) -> bool {
    ranges.is_empty() || ranges.iter().any(holds)
}

fn weekday(day: Weekday) -> i32 {
    i32::from(day.to_sunday_zero_offset())
}

/// From a minute of the day to before another.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Times {
    start_time: Minute,
    end_time: Minute,
}

impl Times {
    fn hold(&self, minute: i32) -> bool {
        (self.start_time.0..self.end_time.0).contains(&minute)
    }
}

#[derive(Clone, Copy, Debug)]
struct Minute(i32);

impl<'de> Deserialize<'de> for Minute {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Minute, D::Error> {
        let text = String::deserialize(from)?;
        let expected =
            || D::Error::custom(format!("{text:?} is no time: write 09:00, up to 24:00"));
        let (hours, minutes) = text.split_once(':').ok_or_else(expected)?;
        let [hours, minutes] = [hours, minutes].map(|part| part.parse::<u8>().ok());
        match (hours, minutes) {
            (Some(24), Some(0)) => Ok(Minute(24 * 60)),
            (Some(hours @ 0..24), Some(minutes @ 0..60)) => {
                Ok(Minute(i32::from(hours) * 60 + i32::from(minutes)))
            }
            _ => Err(expected()),
        }
    }
}

/// A place whose clock counts.
#[derive(Clone, Debug)]
struct Location(TimeZone);

impl<'de> Deserialize<'de> for Location {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Location, D::Error> {
        let name = String::deserialize(from)?;
        if name == "Local" {
            return Ok(Location(TimeZone::system()));
        }
        TimeZone::get(&name).map(Location).map_err(D::Error::custom)
    }
}

/// First and last, both included, of something that knows its words.
#[derive(Clone, Debug)]
struct Range<R> {
    first: i32,
    last: i32,
    of: std::marker::PhantomData<R>,
}

impl<R> Range<R> {
    fn holds(&self, value: i32) -> bool {
        (self.first..=self.last).contains(&value)
    }

    /// Days below zero count from the month's end; a month that is shorter ends the range.
    fn holds_day(&self, day: i32, last: i32) -> bool {
        let from_end = |bound: i32| if bound < 0 { (last + bound + 1).max(1) } else { bound };
        let (first, end) = (from_end(self.first), from_end(self.last).min(last));
        first <= last && (first..=end).contains(&day)
    }
}

/// What a range is of.
trait Members {
    const WHAT: &str;
    fn parse(text: &str) -> Option<i32>;
}

#[derive(Clone, Debug)]
struct Weekdays;
#[derive(Clone, Debug)]
struct Days;
#[derive(Clone, Debug)]
struct Months;
#[derive(Clone, Debug)]
struct Years;

fn word(words: &[&str], text: &str) -> Option<i32> {
    let index = words.iter().position(|word| *word == text)?;
    i32::try_from(index).ok()
}

impl Members for Weekdays {
    const WHAT: &str = "weekdays: write monday:friday";
    fn parse(text: &str) -> Option<i32> {
        word(&WEEKDAYS, text)
    }
}

impl Members for Days {
    const WHAT: &str = "days of a month: write 1:7 or -3:-1";
    fn parse(text: &str) -> Option<i32> {
        text.parse().ok().filter(|day| (-31..=31).contains(day) && *day != 0)
    }
}

impl Members for Months {
    const WHAT: &str = "months: write may:august or 5:8";
    fn parse(text: &str) -> Option<i32> {
        let number = text.parse().ok().filter(|month| (1..=12).contains(month));
        number.or_else(|| word(&MONTHS, text).map(|index| index + 1))
    }
}

impl Members for Years {
    const WHAT: &str = "years: write 2026:2027";
    fn parse(text: &str) -> Option<i32> {
        text.parse().ok().filter(|year| (1..=9999).contains(year))
    }
}

impl<'de, R: Members> Deserialize<'de> for Range<R> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Range<R>, D::Error> {
        let text = String::deserialize(from)?.to_lowercase();
        let expected = || D::Error::custom(format!("{text:?} are no {}", R::WHAT));
        let (first, last) = text.split_once(':').unwrap_or((&text, &text));
        let [first, last] = [first, last].map(|part| R::parse(part.trim()));
        let (first, last) = first.zip(last).ok_or_else(expected)?;
        // Days from the end are compared in the shortest month.
        let place = |bound: i32| if bound < 0 { bound + 29 } else { bound };
        let is_backward = place(first) > place(last) || (first < 0 && last > 0);
        if is_backward {
            return Err(D::Error::custom(format!("{text:?} ends before it starts")));
        }
        Ok(Range { first, last, of: std::marker::PhantomData })
    }
}

#[cfg(test)]
mod tests {
    use model::units::Timestamp;

    use super::NamedIntervals;

    fn check(yaml: &str, time: &str, expected: bool) {
        let yaml = format!("name: n\ntime_intervals:\n- {yaml}\n");
        let named: NamedIntervals = serde_saphyr::from_str(&yaml).unwrap();
        let time: jiff::Timestamp = time.parse().unwrap();
        let time = Timestamp(time.as_millisecond());
        assert_eq!(named.contains(time), expected, "{yaml} at {time:?}");
    }

    #[test]
    fn intervals_are_those_of_alertmanager() {
        let office =
            "{weekdays: ['monday:friday'], times: [{start_time: '09:00', end_time: '17:00'}]}";
        check(office, "2026-11-26T09:00:00Z", true);
        check(office, "2026-11-26T16:59:59Z", true);
        check(office, "2026-11-26T17:00:00Z", false);
        check(office, "2026-11-28T12:00:00Z", false);
        let last_days = "{days_of_month: ['-3:-1'], months: ['february', '11']}";
        check(last_days, "2026-02-26T00:00:00Z", true);
        check(last_days, "2026-11-27T00:00:00Z", false);
        check(last_days, "2026-11-28T00:00:00Z", true);
        check(last_days, "2026-12-31T00:00:00Z", false);
        check("{days_of_month: ['30:31']}", "2026-02-28T00:00:00Z", false);
        check("{years: ['2027']}", "2026-02-28T00:00:00Z", false);
        let berlin = "{location: Europe/Berlin, times: [{start_time: '01:00', end_time: '24:00'}]}";
        check(berlin, "2026-11-26T00:30:00Z", true);
        check(berlin, "2026-11-25T23:30:00Z", false);
    }

    #[test]
    fn nonsense_is_refused() {
        for yaml in [
            "{weekdays: ['friday:monday']}",
            "{weekdays: ['someday']}",
            "{times: [{start_time: '25:00', end_time: '26:00'}]}",
            "{days_of_month: ['0']}",
            "{days_of_month: ['-1:3']}",
            "{location: Nowhere/Atall}",
            "{hours: ['1']}",
        ] {
            let yaml = format!("name: n\ntime_intervals:\n- {yaml}\n");
            assert!(serde_saphyr::from_str::<NamedIntervals>(&yaml).is_err(), "{yaml}");
        }
    }
}
