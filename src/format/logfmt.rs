//! logfmt: lines of `key=value` pairs, as Heroku, Grafana and many Go programs write them.
//!
//! There is no standard. What is read here:
//!
//! - Pairs stand apart by white space (any byte up to the space). A line without a pair is malformed.
//! - A key is bytes without white space, `=` and `"`, and is not empty. A key without `=` is a flag: it is there, and
//!   has no value.
//! - A value in quotes ends at the next quote that no backslash escapes, behind which is white space or the end of the
//!   line; a quote that does not end makes the line malformed. Its escapes are those of JSON; a backslash before
//!   anything else stands for itself.
//! - Any other value ends at white space, and may hold `=` and `"`: `url=/a?b=c`. It may be empty: `user=`.
//! - Of keys that occur twice, the last one counts.
//!
//! Keys and values are bytes of the line. A value's escapes are undone only when somebody asks what it says.

use std::borrow::Cow;

use memchr::memchr2;

use crate::format::LineFormat;
use crate::format::decimal::scaled;
use crate::format::escapes::unescape_bytes;
use crate::format::time::parse_rfc3339;
use crate::time::Time;

/// Reads lines of `key=value key="quoted \" value" flag`.
///
/// ```
/// use thalweg::format::{LineFormat, Logfmt};
/// use thalweg::time::Time;
///
/// let line = br#"time=2021-09-23T09:54:56.787Z level=warn msg="disk \"a\" is full" used=91 retry"#;
/// let record = Logfmt.parse(line).unwrap();
/// assert_eq!(record.raw("level"), Some(&b"warn"[..]));
/// assert_eq!(record.text("msg").as_deref(), Some(&br#"disk "a" is full"#[..]));
/// assert_eq!(record.int("used"), Some(91));
/// assert_eq!(record.millis("time"), Some(Time(1_632_390_896_787)));
/// assert!(record.has("retry") && !record.has("attempt"));
/// assert_eq!(record.raw("retry"), None);
///
/// assert_eq!(Logfmt.parse(br#"msg="no end"#), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logfmt;

/// The pairs of a line, which were checked; they are searched for at every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogfmtRecord<'a> {
    line: &'a [u8],
}

/// What stands behind a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogfmtValue<'a> {
    /// Nothing, not even a `=`.
    Flag,
    /// A value without quotes.
    Plain(&'a [u8]),
    /// What stands between the quotes, with its escapes.
    Quoted(&'a [u8]),
}

impl<'a> LogfmtValue<'a> {
    /// The value as the line has it, without its quotes and with its escapes; `None` of a flag.
    #[inline]
    pub fn raw(self) -> Option<&'a [u8]> {
        match self {
            LogfmtValue::Flag => None,
            LogfmtValue::Plain(raw) | LogfmtValue::Quoted(raw) => Some(raw),
        }
    }

    /// What the value says, with its escapes undone; `None` of a flag. It is copied only if it has any.
    ///
    /// ```
    /// use thalweg::format::LogfmtValue;
    /// let text = |value: &'static str| LogfmtValue::Quoted(value.as_bytes()).text().unwrap();
    /// assert_eq!(*text(r"a\tb \u00e9 \ud83d\ude00"), *"a\tb é 😀".as_bytes());
    /// assert_eq!(*text(r"C:\dir\u12"), *r"C:\dir\u12".as_bytes());
    /// assert_eq!(*LogfmtValue::Plain(br"a\tb").text().unwrap(), *br"a\tb");
    /// ```
    pub fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            LogfmtValue::Flag => None,
            LogfmtValue::Plain(raw) => Some(Cow::Borrowed(raw)),
            LogfmtValue::Quoted(raw) => Some(unescape_bytes(raw)),
        }
    }
}

/// The pairs of a line, in order; see [`LogfmtRecord::pairs`].
#[derive(Clone, Debug)]
pub struct LogfmtPairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for LogfmtPairs<'a> {
    type Item = (&'a [u8], LogfmtValue<'a>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (key, value, rest) = pair(self.rest).ok().flatten()?;
        self.rest = rest;
        Some((key, value))
    }
}

impl std::iter::FusedIterator for LogfmtPairs<'_> {}

impl<'a> LogfmtRecord<'a> {
    /// The pairs, in order.
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Logfmt, LogfmtValue};
    /// let record = Logfmt.parse(br#"a=1 b c="" a=2"#).unwrap();
    /// let pairs: Vec<_> = record.pairs().collect();
    /// let one = (&b"a"[..], LogfmtValue::Plain(b"1"));
    /// let two = (&b"a"[..], LogfmtValue::Plain(b"2"));
    /// assert_eq!(pairs, [one, (b"b", LogfmtValue::Flag), (b"c", LogfmtValue::Quoted(b"")), two]);
    /// ```
    pub fn pairs(&self) -> LogfmtPairs<'a> {
        LogfmtPairs { rest: self.line }
    }

    /// What stands behind `key`; `None` if there is no such key.
    pub fn get(&self, key: &str) -> Option<LogfmtValue<'a>> {
        self.pairs().filter(|(other, _)| *other == key.as_bytes()).map(|(_, value)| value).last()
    }

    /// Whether there is such a key, with a value or without.
    pub fn has(&self, key: &str) -> bool {
        self.pairs().any(|(other, _)| other == key.as_bytes())
    }

    /// The value of `key` as the line has it, see [`LogfmtValue::raw`]. This is what a door can borrow as its key.
    pub fn raw(&self, key: &str) -> Option<&'a [u8]> {
        self.get(key)?.raw()
    }

    /// What the value of `key` says, see [`LogfmtValue::text`].
    pub fn text(&self, key: &str) -> Option<Cow<'a, [u8]>> {
        self.get(key)?.text()
    }

    /// The number, if the value of `key` is an integer and fits.
    pub fn int(&self, key: &str) -> Option<i64> {
        std::str::from_utf8(self.raw(key)?).ok()?.parse().ok()
    }

    /// The number nearest to the value of `key`, if that is a number and not beyond all finite ones.
    pub fn real(&self, key: &str) -> Option<f64> {
        let number: f64 = std::str::from_utf8(self.raw(key)?).ok()?.parse().ok()?;
        number.is_finite().then_some(number)
    }

    /// The time in milliseconds since the Unix epoch, if the value of `key` is a number of milliseconds, or a time as
    /// [`parse_rfc3339`] reads it.
    pub fn millis(&self, key: &str) -> Option<Time> {
        self.time(key, 0)
    }

    /// The time in milliseconds since the Unix epoch, if the value of `key` is a number of *seconds*, which may have a
    /// fraction, or a time as [`parse_rfc3339`] reads it.
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Logfmt};
    /// use thalweg::time::Time;
    /// let seconds = |line: &'static str| Logfmt.parse(line.as_bytes()).unwrap().seconds("ts");
    /// assert_eq!(seconds("ts=1632390896.787"), Some(Time(1_632_390_896_787)));
    /// assert_eq!(seconds(r#"ts="2021-09-23 09:54:56.787Z""#), Some(Time(1_632_390_896_787)));
    /// assert_eq!(seconds("ts=yesterday"), None);
    /// assert_eq!(seconds("ts=1632390896x"), None);
    /// ```
    pub fn seconds(&self, key: &str) -> Option<Time> {
        self.time(key, 3)
    }

    fn time(&self, key: &str, power: i32) -> Option<Time> {
        let raw = self.raw(key)?;
        parse_rfc3339(raw).or_else(|| scaled(std::str::from_utf8(raw).ok()?, power).map(Time))
    }
}

impl LineFormat for Logfmt {
    type Record<'a> = LogfmtRecord<'a>;

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<LogfmtRecord<'a>> {
        let (mut rest, mut pairs) = (line, 0);
        while let Some((_, _, behind)) = pair(rest).ok()? {
            rest = behind;
            pairs += 1;
        }
        (pairs > 0).then_some(LogfmtRecord { line })
    }
}

/// What is not logfmt.
struct Malformed;

type Pair<'a> = (&'a [u8], LogfmtValue<'a>, &'a [u8]);

/// The first pair, and what follows it; nothing if there is only white space.
#[inline]
fn pair(line: &[u8]) -> Result<Option<Pair<'_>>, Malformed> {
    let Some(begin) = line.iter().position(|byte| !is_space(byte)) else { return Ok(None) };
    let line = &line[begin..];
    let end =
        line.iter().position(|byte| is_space(byte) || matches!(byte, b'=' | b'"')).unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    match rest {
        _ if key.is_empty() => Err(Malformed),
        [b'"', ..] => Err(Malformed),
        [b'=', b'"', rest @ ..] => {
            let (value, rest) = rest.split_at(closing_quote(rest).ok_or(Malformed)?);
            match rest {
                [_] => Ok(Some((key, LogfmtValue::Quoted(value), &[]))),
                [_, next, ..] if is_space(next) => Ok(Some((key, LogfmtValue::Quoted(value), &rest[1..]))),
                _ => Err(Malformed),
            }
        }
        [b'=', rest @ ..] => {
            let (value, rest) = rest.split_at(rest.iter().position(is_space).unwrap_or(rest.len()));
            Ok(Some((key, LogfmtValue::Plain(value), rest)))
        }
        rest => Ok(Some((key, LogfmtValue::Flag, rest))),
    }
}

/// Where the quote is that no backslash escapes.
#[inline]
fn closing_quote(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', bytes.get(from..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
    }
}

#[inline]
fn is_space(byte: &u8) -> bool {
    *byte <= b' '
}
