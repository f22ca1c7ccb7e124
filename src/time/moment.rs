//! A moment, as records, epochs and windows have it.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A moment in event time, in milliseconds since 1970 UTC.
///
/// Sinks show it in the form of RFC 3339, in UTC, and with milliseconds only if there are any. That form has four digits
/// for the year: what lies outside the years 1 to 9999 is shown as the bare number of milliseconds.
///
/// ```
/// use thalweg::time::Time;
/// assert_eq!(Time(1_431_857_100_000).to_string(), "2015-05-17T10:05:00Z");
/// assert_eq!(Time(-1).to_string(), "1969-12-31T23:59:59.999Z");
/// assert_eq!(Time(i64::MAX).to_string(), "9223372036854775807");
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

impl Time {
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
            None => fmt::Display::fmt(&self.0, f),
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
    fn times_have_an_end_on_both_sides_and_are_numbers_beyond() {
        for (millis, text) in [
            (FIRST, "0001-01-01T00:00:00Z"),
            (FIRST - 1, "-62135596800001"),
            (LAST, "9999-12-31T23:59:59.999Z"),
            (LAST + 1, "253402300800000"),
            (i64::MIN, "-9223372036854775808"),
            (i64::MAX, "9223372036854775807"),
            (1_456_704_000_120, "2016-02-29T00:00:00.120Z"),
        ] {
            assert_eq!(Time(millis).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn times_can_be_read_back(millis in prop_oneof![FIRST..=LAST, any::<i64>(), (FIRST / 1000..LAST / 1000).prop_map(|s| s * 1000)]) {
            let text = Time(millis).to_string();
            match DateTime::parse_from_rfc3339(&text) {
                Ok(read) => prop_assert_eq!(read.timestamp_millis(), millis),
                Err(_) => prop_assert_eq!(text.parse::<i64>(), Ok(millis)),
            }
            prop_assert_eq!(text.contains('T'), (FIRST..=LAST).contains(&millis));
            prop_assert_eq!(text.contains('.'), text.contains('T') && millis % 1000 != 0);
        }

        /// Text in the form of RFC 3339 sorts as the times do.
        #[test]
        fn times_are_in_the_order_of_their_text(a in FIRST / 1000..LAST / 1000, b in FIRST / 1000..LAST / 1000) {
            let text = |seconds: i64| Time(seconds * 1000).to_string();
            prop_assert_eq!(text(a).cmp(&text(b)), a.cmp(&b));
        }
    }
}
