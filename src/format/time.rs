//! Times as logs write them, to milliseconds UTC.
//!
//! A time that does not parse is an answer (`None`): the caller leaves the record out of windows and counts it
//! for everything else. Nothing here knows the present: whether a time is too late or too far ahead is judged
//! elsewhere.

use chrono::DateTime;

/// The common log format's time, as `strftime` writes it.
const CLF: &str = "%d/%b/%Y:%H:%M:%S %z";

const MILLIS: i64 = 1000;

/// Reads `17/May/2015:10:05:03 +0000` as milliseconds since the Unix epoch.
///
/// What is accepted is what chrono accepts for `%d/%b/%Y:%H:%M:%S %z`, byte for byte: also `7/may/2015:1:2:3`, an
/// offset of `+00:00`, years that need a sign, and a leap second (`:60`, the same instant as the second after it).
/// Only the form that servers write, with every digit there, is read by hand (some ten times faster); all else
/// goes to chrono, so that there is one language and not two.
///
/// ```
/// use thalweg::format::time::parse_clf;
/// assert_eq!(parse_clf(b"01/Jan/1970:00:00:01 +0000"), Some(1_000));
/// assert_eq!(parse_clf(b"22/Jan/2019:03:56:14 +0330"), Some(1_548_116_774_000));
/// assert_eq!(parse_clf(b"31/Dec/2016:23:59:60 +0000"), parse_clf(b"01/Jan/2017:00:00:00 +0000"));
/// assert_eq!(parse_clf(b"30/Feb/2015:10:05:03 +0000"), None);
/// ```
#[inline]
pub fn parse_clf(time: &[u8]) -> Option<i64> {
    canonical(time).or_else(|| by_chrono(time))
}

/// The slow way, for the forms that servers do not write.
#[cold]
fn by_chrono(time: &[u8]) -> Option<i64> {
    let time = std::str::from_utf8(time).ok()?;
    Some(DateTime::parse_from_str(time, CLF).ok()?.timestamp_millis())
}

/// The 26 bytes that servers write. `None` means no more than "not by me".
#[inline]
fn canonical(time: &[u8]) -> Option<i64> {
    #[rustfmt::skip]
    let &[
        d1, d2, b'/', b1, b2, b3, b'/', y1, y2, y3, y4, b':', h1, h2, b':', m1, m2, b':', s1, s2, b' ',
        sign, oh1, oh2, om1, om2,
    ] = time else { return None };

    let (year, month, day) = (number([y1, y2, y3, y4])?, month([b1, b2, b3])?, number([d1, d2])?);
    let (hour, minute, second) = (number([h1, h2])?, number([m1, m2])?, number([s1, s2])?);
    let (offset_hours, offset_minutes) = (number([oh1, oh2])?, number([om1, om2])?);
    let offset = offset_hours * 3600 + offset_minutes * 60;
    let offset = match sign {
        b'+' => offset,
        b'-' => -offset,
        _ => return None,
    };
    let valid = (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
        && offset_hours < 24
        && offset_minutes < 60;
    let seconds = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset;
    valid.then_some(seconds * MILLIS)
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
