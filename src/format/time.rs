//! Times as logs write them, to milliseconds UTC.
//!
//! A time that does not parse is an answer (`None`): the caller leaves the record out of windows and counts it
//! for everything else. Nothing here knows the present: whether a time is too late or too far ahead is judged
//! elsewhere.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, FixedOffset, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};

use super::decimal::scaled;
use crate::time::Time;

/// The common log format's time, as `strftime` writes it.
const CLF: &str = "%d/%b/%Y:%H:%M:%S %z";

const MILLIS: i64 = 1000;

/// Reads `17/May/2015:10:05:03 +0000` as the time that it is.
///
/// What is accepted is what chrono accepts for `%d/%b/%Y:%H:%M:%S %z`, byte for byte: also `7/may/2015:1:2:3`, an
/// offset of `+00:00`, years that need a sign, and a leap second (`:60`, the same instant as the second after it).
/// Only the form that servers write, with every digit there, is read by hand (some ten times faster); all else
/// goes to chrono, so that there is one language and not two.
///
/// ```
/// use thalweg::format::time::parse_clf;
/// use thalweg::time::Time;
/// assert_eq!(parse_clf(b"01/Jan/1970:00:00:01 +0000"), Some(Time(1_000)));
/// assert_eq!(parse_clf(b"22/Jan/2019:03:56:14 +0330"), Some(Time(1_548_116_774_000)));
/// assert_eq!(parse_clf(b"31/Dec/2016:23:59:60 +0000"), parse_clf(b"01/Jan/2017:00:00:00 +0000"));
/// assert_eq!(parse_clf(b"30/Feb/2015:10:05:03 +0000"), None);
/// ```
#[inline]
pub fn parse_clf(time: &[u8]) -> Option<Time> {
    canonical(time).or_else(|| by_chrono(time))
}

/// The slow way, for the forms that servers do not write.
#[cold]
fn by_chrono(time: &[u8]) -> Option<Time> {
    let time = std::str::from_utf8(time).ok()?;
    Some(DateTime::parse_from_str(time, CLF).ok()?.timestamp_millis().into())
}

/// The 26 bytes that servers write. `None` means no more than "not by me".
#[inline]
fn canonical(time: &[u8]) -> Option<Time> {
    #[rustfmt::skip]
    let &[
        d1, d2, b'/', b1, b2, b3, b'/', y1, y2, y3, y4, b':', h1, h2, b':', m1, m2, b':', s1, s2, b' ',
        sign, oh1, oh2, om1, om2,
    ] = time else { return None };

    let date = Date { year: number([y1, y2, y3, y4])?, month: month([b1, b2, b3])?, day: number([d1, d2])? };
    let time = [number([h1, h2])?, number([m1, m2])?, number([s1, s2])?];
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    Some(Time(instant(date, time, sign, [number([oh1, oh2])?, number([om1, om2])?])? * MILLIS))
}

/// Reads `2015-05-17T10:05:03.123Z` as the time that it is.
///
/// What is accepted is what chrono accepts as RFC 3339: any number of digits behind the point, of which those finer
/// than milliseconds are cut off; `Z` or an offset; small letters, a space or an underscore in place of the `T`, as far
/// as chrono goes; and a leap second (`:60`, the same instant as the second after it). As with [`parse_clf`], only the
/// form that everybody writes is read by hand.
///
/// ```
/// use thalweg::format::time::parse_rfc3339;
/// use thalweg::time::Time;
/// assert_eq!(parse_rfc3339(b"1970-01-01T00:00:01Z"), Some(Time(1_000)));
/// assert_eq!(parse_rfc3339(b"2019-01-22T03:56:14.0019+03:30"), Some(Time(1_548_116_774_001)));
/// assert_eq!(parse_rfc3339(b"2016-12-31T23:59:60Z"), parse_rfc3339(b"2017-01-01T00:00:00Z"));
/// assert_eq!(parse_rfc3339(b"2015-02-30T10:05:03Z"), None);
/// assert_eq!(parse_rfc3339(b"2015-02-20T10:05:03"), None);
/// ```
#[inline]
pub fn parse_rfc3339(time: &[u8]) -> Option<Time> {
    canonical_rfc3339(time).or_else(|| rfc3339_by_chrono(time))
}

/// The slow way, for the forms that hardly anybody writes.
#[cold]
fn rfc3339_by_chrono(time: &[u8]) -> Option<Time> {
    let time = std::str::from_utf8(time).ok()?;
    Some(DateTime::parse_from_rfc3339(time).ok()?.timestamp_millis().into())
}

/// The form with a `T`, at most nine digits of a second's fraction, and `Z` or an offset. `None` means no more than
/// "not by me".
#[inline]
fn canonical_rfc3339(time: &[u8]) -> Option<Time> {
    #[rustfmt::skip]
    let &[
        y1, y2, y3, y4, b'-', b1, b2, b'-', d1, d2, b'T', h1, h2, b':', m1, m2, b':', s1, s2, ref rest @ ..
    ] = time else { return None };
    let (fraction, offset) = match rest {
        [b'.', rest @ ..] => {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            rest.split_at(digits)
        }
        rest => (&b"000"[..], rest),
    };
    let millis = match *fraction {
        [d1] => number([d1, b'0', b'0'])?,
        [d1, d2] => number([d1, d2, b'0'])?,
        [d1, d2, d3, ..] if fraction.len() <= 9 => number([d1, d2, d3])?,
        _ => return None,
    };
    let (sign, offset_hours, offset_minutes) = match *offset {
        [b'Z'] => (1, 0, 0),
        [b'+', h1, h2, b':', m1, m2] => (1, number([h1, h2])?, number([m1, m2])?),
        [b'-', h1, h2, b':', m1, m2] => (-1, number([h1, h2])?, number([m1, m2])?),
        _ => return None,
    };
    let date = Date { year: number([y1, y2, y3, y4])?, month: number([b1, b2])?, day: number([d1, d2])? };
    let (hour, minute, second) = (number([h1, h2])?, number([m1, m2])?, number([s1, s2])?);
    let seconds = instant(date, [hour, minute, second], sign, [offset_hours, offset_minutes])?;
    Some(Time(seconds * MILLIS + millis))
}

/// Where clocks show the time of a log that names no zone: an offset from UTC, or a place whose rules the tz database has.
///
/// ```
/// use thalweg::format::time::{Zone, parse_time};
/// use thalweg::time::Time;
/// let tokyo: Zone = "Asia/Tokyo".parse()?;
/// assert_eq!(parse_time(b"1970-01-01 09:00:01", tokyo), Some(Time(1_000)));
/// assert_eq!(parse_time(b"1970-01-01 09:00:01", "+09:00".parse()?), Some(Time(1_000)));
/// assert!("Asia/Tokio".parse::<Zone>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Rules);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    Fixed(FixedOffset),
    Named(chrono_tz::Tz),
}

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Zone = Zone(Rules::Named(chrono_tz::Tz::UTC));

    /// The first midnight of 1970 there, from which days and hours are counted.
    ///
    /// # Errors
    ///
    /// Where clocks are put forward and back, so that days are not all as long.
    ///
    /// ```
    /// use thalweg::format::time::Zone;
    /// use thalweg::time::Time;
    /// assert_eq!("Asia/Tokyo".parse::<Zone>()?.midnight(), Ok(Time(-9 * 3_600_000)));
    /// assert!("Europe/Berlin".parse::<Zone>()?.midnight().is_err());
    /// # Ok::<(), String>(())
    /// ```
    pub fn midnight(self) -> Result<Time, String> {
        let offset = |time: DateTime<Utc>| match self.0 {
            Rules::Fixed(offset) => offset.local_minus_utc(),
            Rules::Named(zone) => zone.offset_from_utc_datetime(&time.naive_utc()).fix().local_minus_utc(),
        };
        // What was before that is of no log.
        let months = (0..12 * 40).filter_map(|month| {
            Utc.with_ymd_and_hms(2000 + month / 12, 1 + (month % 12).unsigned_abs(), 15, 0, 0, 0).single()
        });
        let offsets: BTreeSet<i32> = months.map(offset).collect();
        match offsets.first().filter(|_| offsets.len() == 1) {
            Some(offset) => Ok(Time(-1000 * i64::from(*offset))),
            None => Err(format!(
                "clocks are put forward and back in {self}, so that days there are not all as long, and windows are\n  \
                 hint: name an offset, as `+01:00`"
            )),
        }
    }

    /// [`Zone::to_utc`], and at once where clocks show UTC.
    pub(super) fn time_of(self, local: NaiveDateTime) -> Option<Time> {
        match self {
            Zone::UTC => Some(Time(local.and_utc().timestamp_millis())),
            zone => zone.to_utc(local),
        }
    }

    /// When clocks there show `local`; the first time, if they do so twice, and if never (they were put forward), when they
    /// would have without.
    fn to_utc(self, local: NaiveDateTime) -> Option<Time> {
        fn of<Z: TimeZone>(zone: &Z, local: NaiveDateTime) -> Option<Time> {
            let found = zone.from_local_datetime(&local).earliest().map(|time| time.timestamp_millis());
            let found = found.or_else(|| {
                let hour = TimeDelta::hours(1);
                let before = zone.from_local_datetime(&local.checked_sub_signed(hour)?).latest()?;
                before.timestamp_millis().checked_add(hour.num_milliseconds())
            });
            found.map(Time)
        }
        match self.0 {
            Rules::Fixed(offset) => of(&offset, local),
            Rules::Named(zone) => of(&zone, local),
        }
    }
}

impl Default for Zone {
    /// [`Zone::UTC`].
    fn default() -> Self {
        Zone::UTC
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = if text.eq_ignore_ascii_case("z") { "UTC" } else { text };
        let fixed = || text.starts_with(['+', '-']).then(|| text.parse::<FixedOffset>().ok())?;
        let rules = text.parse().ok().map(Rules::Named).or_else(|| fixed().map(Rules::Fixed));
        rules.map(Zone).ok_or_else(|| {
            format!("`{text}` is no zone: name a place of the tz database, as `Europe/Berlin`, or an offset, as `+09:00`")
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Rules::Fixed(offset) => fmt::Display::fmt(&offset, f),
            Rules::Named(zone) => f.pad(zone.name()),
        }
    }
}

/// Reads a time in any of the forms that logs have; where it names no zone, it is of `zone`.
///
/// | form | example |
/// |---|---|
/// | common log format, also with a fraction, with a space before the hour, or without zone | `14/Mar/2024:09:00:02.123 +0000` |
/// | RFC 3339 and ISO 8601, also with a comma, a space, or without zone | `2024-03-14T09:00:01+00:00`, `2024-03-14 09:00:01,5` |
/// | with slashes, as in nginx's error log | `2024/03/14 09:00:01` |
/// | RFC 2822 | `Thu, 14 Mar 2024 09:00:40 +0000` |
/// | `ctime`, also with a zone before the year, as tweets have it | `Thu Mar 14 09:00:40 +0000 2024` |
/// | a number since 1970, of seconds with or without a fraction, milliseconds, microseconds or nanoseconds, by its size | `1710406805.123` |
///
/// ```
/// use thalweg::format::time::{Zone, parse_time};
/// use thalweg::time::Time;
/// assert_eq!(parse_time(b"Thu Mar 14 09:00:40 +0000 2024", Zone::UTC), Some(Time(1_710_406_840_000)));
/// assert_eq!(parse_time(b"1710406805.123", Zone::UTC), Some(Time(1_710_406_805_123)));
/// assert_eq!(parse_time(b"yesterday", Zone::UTC), None);
/// ```
#[inline]
pub fn parse_time(time: &[u8], zone: Zone) -> Option<Time> {
    canonical(time).or_else(|| canonical_rfc3339(time)).or_else(|| by_forms(time, zone))
}

/// Forms with a zone, beyond those that [`parse_clf`] and [`parse_rfc3339`] read.
const WITH_ZONE: [&str; 5] = [
    "%d/%b/%Y:%H:%M:%S%.f %z",
    "%d/%b/%Y %H:%M:%S%.f %z",
    "%Y-%m-%dT%H:%M:%S%.f%z",
    "%Y-%m-%d %H:%M:%S%.f %z",
    "%a %b %d %H:%M:%S%.f %z %Y",
];

/// Forms without one.
const WITHOUT_ZONE: [&str; 6] = [
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f",
    "%d/%b/%Y:%H:%M:%S%.f",
    "%d/%b/%Y %H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S%.f",
    "%a %b %d %H:%M:%S%.f %Y",
];

#[cold]
fn by_forms(time: &[u8], zone: Zone) -> Option<Time> {
    let text = std::str::from_utf8(time).ok()?.trim_ascii();
    if let Some(time) = time_of_number(text) {
        return Some(time);
    }
    let known = by_chrono(text.as_bytes()).or_else(|| rfc3339_by_chrono(text.as_bytes()));
    if known.is_some() || text.len() > LONGEST {
        return known;
    }
    // A fraction may stand behind a comma.
    let pointed = text.replace(',', ".");
    let zoned = WITH_ZONE.iter().find_map(|form| DateTime::parse_from_str(&pointed, form).ok());
    if let Some(time) = zoned.or_else(|| DateTime::parse_from_rfc2822(text).ok()) {
        return Some(Time(time.timestamp_millis()));
    }
    let local = WITHOUT_ZONE.iter().find_map(|form| NaiveDateTime::parse_from_str(&pointed, form).ok());
    local.and_then(|local| zone.to_utc(local))
}

/// Bytes of the longest text that is worth a look at more than two forms.
const LONGEST: usize = 64;

/// [`time_of_number`] of a whole number.
#[inline]
pub(super) fn time_of_int(number: i64) -> Time {
    Time(match number.unsigned_abs() {
        0..100_000_000_000 => number * MILLIS,
        100_000_000_000..100_000_000_000_000 => number,
        100_000_000_000_000..100_000_000_000_000_000 => number.div_euclid(1000),
        _ => number.div_euclid(1_000_000),
    })
}

/// The time that a number is, whose size tells its unit: up to eleven digits are seconds (until the year 5138), and three more
/// each milliseconds, microseconds and nanoseconds.
pub(super) fn time_of_number(text: &str) -> Option<Time> {
    let digits = text.strip_prefix('-').unwrap_or(text).bytes().take_while(u8::is_ascii_digit).count();
    let power = match digits {
        0 => return None,
        1..=11 => 3,
        12..=14 => 0,
        15..=17 => -3,
        _ => -6,
    };
    scaled(text, power).map(Time)
}

/// A day of the calendar, as digits have it.
#[derive(Clone, Copy)]
struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// Seconds since the Unix epoch of a local time and its offset from UTC, each part from the largest down, if there is
/// such a time.
#[inline]
fn instant(date: Date, [hour, minute, second]: [i64; 3], sign: i64, offset: [i64; 2]) -> Option<i64> {
    let Date { year, month, day } = date;
    let [offset_hours, offset_minutes] = offset;
    let valid = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && offset_hours < 24
        && offset_minutes < 60;
    let offset = sign * (offset_hours * 3600 + offset_minutes * 60);
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    valid.then_some(seconds)
}

/// The value of decimal digits, if all are.
#[inline]
fn number<const N: usize>(digits: [u8; N]) -> Option<i64> {
    digits.into_iter().try_fold(0, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + i64::from(digit))
    })
}

/// 1 to 12, from the names that servers write.
#[inline]
fn month(name: [u8; 3]) -> Option<i64> {
    Some(match &name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// The length of a month in days.
#[inline]
fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, for years from 0 to 9999.
///
/// Howard Hinnant's `days_from_civil` (<https://howardhinnant.github.io/date_algorithms.html>): the year is taken to
/// begin in March, so that the leap day is its last, and 400-year eras all have the same length.
#[inline]
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    const ERA: i64 = 146_097;
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * ERA + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_whole_number_is_the_time_of_its_digits(number in any::<i64>(), fewer in 0..19u32) {
            let number = number / 10_i64.pow(fewer);
            prop_assert_eq!(Some(time_of_int(number)), time_of_number(&number.to_string()));
        }
    }
}
