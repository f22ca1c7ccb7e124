//! A moment, as records, epochs and windows have it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A moment in event time, in milliseconds since 1970 UTC.
///
/// Sinks show it in the form of RFC 3339, in UTC, and with milliseconds only if there are any. That form has four digits
/// for the year, and so have the years 1 to 9999: any other is shown with a sign and as many digits as it takes, four at
/// least, as the expanded form of ISO 8601 has it. So every time is text of one shape, and no two times look alike.
///
/// ```
/// use thalweg::time::Time;
/// assert_eq!(Time(1_431_857_100_000).to_string(), "2015-05-17T10:05:00Z");
/// assert_eq!(Time(-1).to_string(), "1969-12-31T23:59:59.999Z");
/// assert_eq!(Time(253_402_300_800_000).to_string(), "+10000-01-01T00:00:00Z");
/// assert_eq!(Time(i64::MIN).to_string(), "-292275055-05-16T16:47:04.192Z");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Time(pub i64);

impl Time {
    /// The form of RFC 3339, if its year has four digits.
    ///
    /// ```
    /// use thalweg::time::Time;
    /// assert_eq!(Time(0).rfc3339().as_deref(), Some("1970-01-01T00:00:00Z"));
    /// assert_eq!(Time(i64::MIN).rfc3339(), None);
    /// ```
    pub fn rfc3339(self) -> Option<String> {
        let moment = DateTime::<Utc>::from_timestamp_millis(self.0)?;
        (1..=9999).contains(&moment.year()).then(|| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// The calendar begins anew after so many years ...
const CYCLE_YEARS: i64 = 400;
/// ... which have so many milliseconds.
const CYCLE: i64 = 146_097 * 86_400_000;

impl Time {
    /// The form of RFC 3339, but for its year, which has a sign.
    fn expanded(self) -> String {
        // chrono counts a quarter of a million years and no more; this is the same day 400 years on from 1970, and so on.
        let within = DateTime::<Utc>::from_timestamp_millis(self.0.rem_euclid(CYCLE)).unwrap_or_default();
        let year = i64::from(within.year()) + self.0.div_euclid(CYCLE) * CYCLE_YEARS;
        let text = within.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        let (_, rest) = text.split_once('-').unwrap_or_default();
        format!("{year:+05}-{rest}")
    }

    /// Its whole seconds since 1970, rounded down.
    ///
    /// ```
    /// use thalweg::time::Time;
    /// assert_eq!((Time(1_999).seconds(), Time(-1).seconds()), (1, -1));
    /// ```
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// How many milliseconds after `earlier` it is; fewer than none if it is before. What does not fit is the most.
    ///
    /// ```
    /// use thalweg::time::Time;
    /// assert_eq!(Time(1_000).millis_since(Time(250)), 750);
    /// assert_eq!(Time(i64::MIN).millis_since(Time(1)), i64::MIN);
    /// ```
    pub fn millis_since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    /// So much later, to the millisecond; at the latest, the last time that there is.
    fn add(self, length: Duration) -> Time {
        Time(self.0.saturating_add(whole(length)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    /// So much earlier, to the millisecond; at the earliest, the first time that there is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Time;
    /// assert_eq!(Time(1_000) - Duration::from_millis(1), Time(999));
    /// assert_eq!(Time(-1) - Duration::MAX, Time(i64::MIN));
    /// ```
    fn sub(self, length: Duration) -> Time {
        Time(self.0.saturating_sub(whole(length)))
    }
}

/// Its milliseconds, as many as fit.
fn whole(length: Duration) -> i64 {
    i64::try_from(length.as_millis()).unwrap_or(i64::MAX)
}

impl From<i64> for Time {
    /// The moment that is `millis` milliseconds after the beginning of 1970 UTC.
    fn from(millis: i64) -> Self {
        Time(millis)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rfc3339() {
            Some(text) => f.pad(&text),
            None => f.pad(&self.expanded()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first and the last millisecond that have four digits for their year.
    const FIRST: i64 = -62_135_596_800_000;
    const LAST: i64 = 253_402_300_799_999;

    #[test]
    fn times_are_text_of_one_shape_in_any_year() {
        for (millis, text) in [
            (FIRST, "0001-01-01T00:00:00Z"),
            (FIRST - 1, "+0000-12-31T23:59:59.999Z"),
            (FIRST - 366 * 86_400_000 - 1, "-0001-12-31T23:59:59.999Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
            (LAST + 1, "+10000-01-01T00:00:00Z"),
            (i64::MIN, "-292275055-05-16T16:47:04.192Z"),
            (i64::MAX, "+292278994-08-17T07:12:55.807Z"),
            (1_456_704_000_120, "2016-02-29T00:00:00.120Z"),
        ] {
            assert_eq!(Time(millis).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn times_can_be_read_back(millis in prop_oneof![FIRST..=LAST, any::<i64>(), (FIRST / 1000..LAST / 1000).prop_map(|s| s * 1000)]) {
            let text = Time(millis).to_string();
            let (year, rest) = text[1..].split_once('-').unwrap();
            let year: i64 = format!("{}{year}", &text[..1]).parse().unwrap();
            // The same day in a year that chrono knows.
            let known = format!("{:04}-{rest}", year.rem_euclid(CYCLE_YEARS) + 2000);
            let known = DateTime::parse_from_rfc3339(&known).unwrap().timestamp_millis();
            let cycles = i128::from((year - year.rem_euclid(CYCLE_YEARS) - 2000) / CYCLE_YEARS);
            prop_assert_eq!(i128::from(known) + cycles * i128::from(CYCLE), i128::from(millis));
            prop_assert_eq!(text.starts_with(['+', '-']), !(FIRST..=LAST).contains(&millis));
            prop_assert_eq!(text.contains('.'), millis % 1000 != 0);
        }

        /// Text in the form of RFC 3339 sorts as the times do.
        #[test]
        fn times_are_in_the_order_of_their_text(a in FIRST / 1000..LAST / 1000, b in FIRST / 1000..LAST / 1000) {
            let text = |seconds: i64| Time(seconds * 1000).to_string();
            prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
        }
    }
}
