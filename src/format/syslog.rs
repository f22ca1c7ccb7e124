//! Syslog: lines as RFC 3164 and RFC 5424 have them, and as programs write them.
//!
//! | form | example |
//! |---|---|
//! | RFC 5424 | `<165>1 2003-10-11T22:14:15.003Z host app 812 ID47 [a@1 k="v"] message` |
//! | RFC 3164 | `<34>Oct 11 22:14:15 host su[42]: message` |
//! | a file of rsyslog, traditional | `Oct 11 22:14:15 host su[42]: message` |
//! | a file of rsyslog, Debian 12 and later | `2024-03-14T09:00:01.123456+00:00 host su[42]: message` |
//! | a socket of this machine, without a host | `<34>Oct 11 22:14:15 su[42]: message` |
//! | with a year, a fraction, a zone, a number or a mark, as network devices have them | `<187>29: *Oct 11 2003 22:14:15.003 UTC: message` |
//! | nothing but a priority | `<13>message` |
//!
//! A line with neither a priority nor a time is malformed, and so is one of RFC 5424 whose structured data does not end. The
//! structured data may be left out, as Heroku does. What has no tag, such as `last message repeated 2 times`, is all message.
//! A host is what stands before the tag and is no tag itself: a tag ends with `:`, or with a process in brackets.
//!
//! # The year
//!
//! Times of RFC 3164 have none. It is the latest year in which the time is no more than a day after another that is known:
//! that of the line's arrival ([`Parsed::arrived`](crate::door::Parsed::arrived)), which the ledger has, so that a run which is
//! replayed finds the same; or else it is given ([`Syslog::of_year`]). So lines of December that arrive in January are of the
//! year before, a clock that is some hours ahead changes nothing, and a log that is years old wants its year to be given.
//! The zone is that of the format ([`Syslog::in_zone`]), UTC unless said otherwise.

mod header;
mod stamp;

use std::borrow::Cow;

use memchr::memchr;

use self::stamp::Stamp;
use crate::format::LineFormat;
use crate::format::time::Zone;
use crate::time::Time;

/// Reads lines of syslog, of whatever dialect; see [the module](self).
///
/// ```
/// use thalweg::format::{LineFormat, Syslog};
/// use thalweg::time::Time;
///
/// let mut syslog = Syslog::default();
/// let line = br#"<165>1 2003-10-11T22:14:15.003Z host app 812 ID47 [a@1 k="1 \] 2"] disk full"#;
/// let record = syslog.parse(line).unwrap();
/// assert_eq!((record.facility_name(), record.severity_name()), (Some("local4"), Some("notice")));
/// assert_eq!((record.host(), record.app()), (Some(&b"host"[..]), Some(&b"app"[..])));
/// assert_eq!(record.data("a@1", "k").as_deref(), Some(&b"1 ] 2"[..]));
/// assert_eq!(record.message(), b"disk full");
/// assert_eq!(record.time(Time(0)), Some(Time(1_065_910_455_003)));
///
/// // Without a year: that of a time which is known.
/// let record = syslog.parse(b"Dec 31 23:59:59 host su[42]: failed").unwrap();
/// assert_eq!((record.app(), record.procid()), (Some(&b"su"[..]), Some(&b"42"[..])));
/// let january_2024 = Time(1_704_067_200_000);
/// assert_eq!(record.time(january_2024), Some(Time(1_704_067_199_000)));
///
/// assert!(syslog.parse(b"neither a priority nor a time").is_none());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Syslog {
    zone: Zone,
    year: Option<i32>,
}

/// One line of syslog, which borrows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyslogRecord<'a> {
    priority: Option<u8>,
    stamp: Stamp,
    host: Option<&'a [u8]>,
    app: Option<&'a [u8]>,
    procid: Option<&'a [u8]>,
    msgid: Option<&'a [u8]>,
    /// The structured data, with its brackets.
    data: &'a [u8],
    message: &'a [u8],
    rules: Syslog,
}

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

impl Syslog {
    /// Times without a zone are of `zone`. Default: UTC.
    #[must_use]
    pub fn in_zone(self, zone: Zone) -> Self {
        Syslog { zone, ..self }
    }

    /// Times without a year are of `year`.
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Syslog};
    /// use thalweg::time::Time;
    /// let record = Syslog::default().of_year(1970).parse(b"Jan  1 00:00:01 host su: x").unwrap();
    /// assert_eq!(record.time(Time(1_704_067_200_000)), Some(Time(1_000)));
    /// ```
    #[must_use]
    pub fn of_year(self, year: i32) -> Self {
        Syslog { year: Some(year), ..self }
    }

    /// Reads `line`; `None` if it is none of syslog.
    pub fn read<'a>(&self, line: &'a [u8]) -> Option<SyslogRecord<'a>> {
        header::read(*self, line)
    }
}

impl LineFormat for Syslog {
    type Record<'a> = SyslogRecord<'a>;

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<SyslogRecord<'a>> {
        self.read(line)
    }
}

impl<'a> SyslogRecord<'a> {
    /// Facility and severity in one, as the line has them between angle brackets; files mostly leave it out.
    pub fn priority(&self) -> Option<u8> {
        self.priority
    }

    /// The number of the facility, 0 to 23.
    pub fn facility(&self) -> Option<u8> {
        Some(self.priority? >> 3)
    }

    /// What the facility is called, such as `daemon`.
    pub fn facility_name(&self) -> Option<&'static str> {
        FACILITIES.get(usize::from(self.facility()?)).copied()
    }

    /// The severity, from 0, which is the worst, to 7.
    pub fn severity(&self) -> Option<u8> {
        Some(self.priority? & 7)
    }

    /// What the severity is called, such as `err`.
    pub fn severity_name(&self) -> Option<&'static str> {
        SEVERITIES.get(usize::from(self.severity()?)).copied()
    }

    /// When it was written; where the line has no year, in that which goes with `near` (see [the module](self)), unless the
    /// format was given one.
    pub fn time(&self, near: Time) -> Option<Time> {
        self.stamp.time(near, self.rules.zone, self.rules.year)
    }

    /// The machine.
    pub fn host(&self) -> Option<&'a [u8]> {
        self.host
    }

    /// The program: what RFC 3164 calls the tag.
    pub fn app(&self) -> Option<&'a [u8]> {
        self.app
    }

    /// The process, mostly a number.
    pub fn procid(&self) -> Option<&'a [u8]> {
        self.procid
    }

    /// The kind of message.
    pub fn msgid(&self) -> Option<&'a [u8]> {
        self.msgid
    }

    /// What the element `id` of the structured data has for `name`, with its escapes undone; of several the last.
    pub fn data(&self, id: &str, name: &str) -> Option<Cow<'a, [u8]>> {
        let of =
            |(other, param, _): &(&[u8], &[u8], &[u8])| *other == id.as_bytes() && *param == name.as_bytes();
        self.params().filter(of).last().map(|(_, _, value)| unescape(value))
    }

    /// All parameters of the structured data: element, name and value, the value with its escapes.
    ///
    /// ```
    /// use thalweg::format::{LineFormat, Syslog};
    /// let record = Syslog::default().parse(br#"<1>1 - - - - - [a x="1" y="2"][b][c z="\\"]"#).unwrap();
    /// let params: Vec<_> = record.params().collect();
    /// let expected: [(&[u8], &[u8], &[u8]); 3] = [(b"a", b"x", b"1"), (b"a", b"y", b"2"), (b"c", b"z", br"\\")];
    /// assert_eq!(params, expected);
    /// ```
    pub fn params(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8], &'a [u8])> {
        let (mut id, mut rest): (&[u8], _) = (b"", self.data);
        std::iter::from_fn(move || {
            loop {
                match *rest {
                    [b'[', ref inner @ ..] => (id, rest) = header::word(inner)?,
                    [b']', ref behind @ ..] => rest = behind,
                    [b' ', ref behind @ ..] => {
                        let (name, value, behind) = header::param(behind)?;
                        rest = behind;
                        return Some((id, name, value));
                    }
                    _ => return None,
                }
            }
        })
    }

    /// The message, without what stands before it.
    pub fn message(&self) -> &'a [u8] {
        self.message
    }
}

/// A value of structured data without its escapes: `\"`, `\\` and `\]`. Any other backslash stands for itself.
fn unescape(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut text = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((byte, behind)) = rest.split_first() {
        rest = behind;
        match (byte, behind.first()) {
            (b'\\', Some(escaped @ (b'"' | b'\\' | b']'))) => {
                text.push(*escaped);
                rest = &behind[1..];
            }
            _ => text.push(*byte),
        }
    }
    Cow::Owned(text)
}
