//! What a server answered.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An answer, whatever its status.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, as far as it was read.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How long the server asks to wait (`Retry-After`, seconds or a date).
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let text = self.header("Retry-After")?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let until = UNIX_EPOCH.checked_add(Duration::from_secs(http_date(text)?))?;
        Some(until.duration_since(now).unwrap_or_default())
    }

    /// The first line of the body, for messages; bounded.
    pub fn first_line(&self) -> String {
        let start = self.body.get(..512).unwrap_or(&self.body);
        let text = String::from_utf8_lossy(start);
        text.trim().lines().next().unwrap_or_default().to_owned()
    }
}

/// Seconds since the epoch of `Sun, 06 Nov 1994 08:49:37 GMT`, the form that RFC 9110 wants sent.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|known| *known == month)? as u64 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    if words.next() != Some("GMT") || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    const EPOCH_DAYS: u64 = 719_468;
    Some((days - EPOCH_DAYS) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::{Answer, http_date};

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let check = |text: &str, seconds: Option<u64>| {
            let headers = vec![("retry-after".to_owned(), text.to_owned())];
            let answer = Answer { headers, ..Answer::default() };
            let now = UNIX_EPOCH + Duration::from_secs(784_111_777 - 90);
            assert_eq!(answer.retry_after(now), seconds.map(Duration::from_secs), "{text}");
        };
        check("120", Some(120));
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(90));
        check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
        for text in ["", "-1", "soon", "Sun, 06 Nov 1994", "Sun, 99 Foo 1994 08:49:37 GMT"] {
            check(text, None);
        }
        assert_eq!(http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(http_date("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
    }
}
