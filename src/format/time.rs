//! Times as logs write them, to milliseconds UTC.
//!
//! A time that does not parse is an answer (`None`): the caller leaves the record out of windows and counts it
//! for everything else. Nothing here knows the present: whether a time is too late or too far ahead is judged
//! elsewhere.

use chrono::DateTime;

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
