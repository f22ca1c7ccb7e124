//! When a line of syslog was written.

use chrono::{Datelike, NaiveDate, NaiveDateTime};

use crate::format::time::{Zone, parse_time};
use crate::time::Time;

/// What a line says of its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp {
    /// Nothing.
    None,
    /// All.
    At(Time),
    /// All but the year, perhaps.
    Local(Local),
}

/// A time as clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Local {
    year: Option<i32>,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    millis: u16,
}

/// So far ahead of a time that is known may one be whose year is not, in milliseconds: a day, for zones and fast clocks.
const AHEAD: i64 = 86_400_000;

/// The last day of February in a leap year may have been eight years ago.
const YEARS: i32 = 8;

impl Stamp {
    pub(super) fn time(self, near: Time, zone: Zone, year: Option<i32>) -> Option<Time> {
        let local = match self {
            Stamp::None => return None,
            Stamp::At(time) => return Some(time),
            Stamp::Local(local) => local,
        };
        if let Some(year) = local.year.or(year) {
            return local.in_year(year, zone);
        }
        let latest = near.0.saturating_add(AHEAD);
        let newest = chrono::DateTime::from_timestamp_millis(latest)?.year().saturating_add(1);
        (0..=YEARS + 1)
            .filter_map(|back| local.in_year(newest.checked_sub(back)?, zone))
            .find(|time| time.0 <= latest)
    }
}

impl Local {
    fn in_year(self, year: i32, zone: Zone) -> Option<Time> {
        let date = NaiveDate::from_ymd_opt(year, self.month.into(), self.day.into())?;
        // A leap second is the second after it.
        let seconds = i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let local: NaiveDateTime = date.and_hms_opt(0, 0, 0)?;
        let time = local.checked_add_signed(chrono::TimeDelta::try_seconds(seconds)?)?;
        zone.time_of(time)?.0.checked_add(self.millis.into()).map(Time)
    }
}

/// The time that `line` begins with, and what follows it; `None` if there is none.
pub(super) fn read(line: &[u8], zone: Zone) -> Option<(Stamp, &[u8])> {
    iso(line, zone).or_else(|| named(line))
}

/// `2024-03-14T09:00:01.123456+00:00`, and the like with a space before the hour.
pub(super) fn iso(line: &[u8], zone: Zone) -> Option<(Stamp, &[u8])> {
    let [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'-', ..] = line else { return None };
    let end = |from: usize| {
        line.get(from..)?.iter().position(|byte| *byte == b' ').map_or(Some(line.len()), |it| Some(from + it))
    };
    let first = end(0)?;
    // A date alone is followed by the hour.
    let last = if first == 10 { end(11)? } else { first };
    let (time, rest) = line.split_at(last);
    Some((Stamp::At(parse_time(time.strip_suffix(b":").unwrap_or(time), zone)?), rest))
}

/// `Oct 11 22:14:15`, and what else there is of it.
fn named(line: &[u8]) -> Option<(Stamp, &[u8])> {
    // Clocks of network devices that are not set right are marked.
    let line = line.strip_prefix(b"*").or(line.strip_prefix(b".")).unwrap_or(line);
    let (before, rest) = match number(line, 4) {
        Some((year, rest)) if line.len() - rest.len() == 4 => (Some(year), rest.strip_prefix(b" ")?),
        _ => (None, line),
    };
    let [b1, b2, b3, b' ', rest @ ..] = rest else { return None };
    let month = month([*b1, *b2, *b3])?;
    let (day, rest) = number(rest.strip_prefix(b" ").unwrap_or(rest), 2)?;
    let rest = rest.strip_prefix(b" ")?;
    let (between, rest) = match number(rest, 4) {
        Some((year, behind)) if rest.len() - behind.len() == 4 => (Some(year), behind.strip_prefix(b" ")?),
        _ => (None, rest),
    };
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let (second, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let (millis, mut rest) = match rest {
        [b'.' | b',', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            let length = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let digit = |at: usize| digits[..length].get(at).map_or(0, |digit| u16::from(digit & 0xf));
            (100 * digit(0) + 10 * digit(1) + digit(2), &digits[length..])
        }
        rest => (0, rest),
    };
    let mut year = before.or(between);
    if year.is_none()
        && let Some((behind, after)) = rest.strip_prefix(b" ").and_then(|rest| number(rest, 4))
        && rest.len() - after.len() == 5
        && (1970..=2199).contains(&behind)
        && after.first().is_none_or(|byte| matches!(byte, b' ' | b':'))
    {
        (year, rest) = (Some(behind), after);
    }
    for zone in [&b" UTC:"[..], b" GMT:", b" UTC ", b" GMT "] {
        if rest.starts_with(zone) {
            rest = &rest[4..];
        }
    }
    let valid = (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    if !valid || rest.first().is_some_and(|byte| *byte != b' ') {
        return None;
    }
    let small = |number: i32| u8::try_from(number).unwrap_or(0);
    let local = Local {
        year,
        month,
        day: small(day),
        hour: small(hour),
        minute: small(minute),
        second: small(second),
        millis,
    };
    Some((Stamp::Local(local), rest))
}

/// The number of up to `most` digits that `bytes` begin with, and what follows.
fn number(bytes: &[u8], most: usize) -> Option<(i32, &[u8])> {
    let length = bytes.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = bytes.split_at(length);
    let value = digits.iter().fold(0, |value, digit| 10 * value + i32::from(digit & 0xf));
    (length > 0).then_some((value, rest))
}

/// 1 to 12.
fn month(name: [u8; 3]) -> Option<u8> {
    const NAMES: [&[u8; 3]; 12] =
        [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    NAMES.iter().zip(1..).find(|(known, _)| ***known == name).map(|(_, number)| number)
}
