//! Parts of dates, in UTC.

/// Date and time of day of seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// 0 is Sunday.
    pub weekday: i64,
    /// 1 to 366.
    pub year_day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

/// The date of seconds since 1970.
pub(crate) fn date(seconds: i64) -> Date {
    let days = seconds.div_euclid(86_400);
    let of_day = seconds.rem_euclid(86_400);
    // Years that start in March have their leap day at the end; eras have 400 of them.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let before: i64 = (1..month).map(|month| days_in_month(year, month)).sum();
    Date {
        year,
        month,
        day,
        weekday: (days + 4).rem_euclid(7),
        year_day: before + day,
        hour: of_day / 3600,
        minute: of_day % 3600 / 60,
        second: of_day % 60,
    }
}

/// Days from 1970 to a date.
pub(crate) fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// How many days a month has.
pub(crate) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::{Date, date, days_in_month, days_since_1970};

    #[test]
    fn dates_are_those_of_the_calendar() {
        let check = |seconds: i64, expected: [i64; 8]| {
            let [year, month, day, weekday, year_day, hour, minute, second] = expected;
            let expected = Date { year, month, day, weekday, year_day, hour, minute, second };
            assert_eq!(date(seconds), expected);
            assert_eq!(days_since_1970(year, month, day), seconds.div_euclid(86_400));
        };
        check(0, [1970, 1, 1, 4, 1, 0, 0, 0]);
        check(-1, [1969, 12, 31, 3, 365, 23, 59, 59]);
        check(951_827_696, [2000, 2, 29, 2, 60, 12, 34, 56]);
        check(1_735_689_599, [2024, 12, 31, 2, 366, 23, 59, 59]);
        assert_eq!([days_in_month(1900, 2), days_in_month(2000, 2)], [28, 29]);
    }
}
