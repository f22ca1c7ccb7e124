//! The rules for access logs, in the plainest form.
//!
//! This is the specification: [`AccessLog`](super::AccessLog) is to give the same answer for every sequence of
//! bytes, and the property tests and the fuzz target hold it to that. Nothing here is tuned, and nothing here
//! shares code with what it checks; change the rules here first.

use chrono::DateTime;
use regex::bytes::Regex;

use crate::format::{AccessRecord, LineFormat, Size};
use crate::time::Time;

/// A well-formed line.
///
/// Over bytes: `-u` makes `\s`, `\S` and `\d` the ASCII classes. `s` lets `.` match an LF; a line has none, but
/// this gives the parsers one language over all byte strings.
pub const LINE: &str =
    r#"(?s-u)^(\S+) (\S+) (\S+) \[([^\]]*)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)(?:\s.*)?$"#;

/// [`AccessLog`](super::AccessLog) by regular expression: the same records, more than ten times slower.
///
/// ```
/// use thalweg::format::{AccessLog, LineFormat, reference::Reference};
/// let line = br#"10.0.0.1 - - [17/May/2015:10:05:03 +0000] "GET / HTTP/1.1" 200 -"#;
/// assert!(AccessLog.parse(line).is_some());
/// assert_eq!(AccessLog.parse(line), Reference::new().parse(line));
/// ```
#[derive(Clone, Debug)]
pub struct Reference {
    line: Regex,
}

impl Reference {
    /// Compiles [`LINE`].
    pub fn new() -> Self {
        Reference { line: Regex::new(LINE).expect("LINE is a constant, and well formed") }
    }
}

impl Default for Reference {
    fn default() -> Self {
        Reference::new()
    }
}

impl LineFormat for Reference {
    type Record<'a> = AccessRecord<'a>;

    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<AccessRecord<'a>> {
        let fields = self.line.captures(line)?;
        let rest = &line[fields.get(7).expect("a group that takes part in every match").end()..];
        let (_, [client, identity, user, time, request, status, size]) = fields.extract();
        let status = std::str::from_utf8(status).expect("\\d is ASCII").parse().expect("\\d{3} fits in u16");
        let size = match std::str::from_utf8(size).expect("\\d and - are ASCII") {
            "-" => Size::Missing,
            digits => digits.parse().map_or(Size::TooLarge, Size::Bytes),
        };
        Some(AccessRecord { client, identity, user, time, request, status, size, rest })
    }
}

/// A request taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The first token.
    pub method: Vec<u8>,
    /// What stands between the method and the protocol.
    pub endpoint: Vec<u8>,
    /// The last token, if it begins with `HTTP/` and there are at least three.
    pub protocol: Option<Vec<u8>>,
}

/// Splits a request on single spaces; `None` if there are fewer than two tokens.
///
/// ```
/// use thalweg::format::reference::split_request;
/// let request = split_request(b"GET /a b HTTP/1.1").unwrap();
/// assert_eq!((&request.method[..], &request.endpoint[..]), (&b"GET"[..], &b"/a b"[..]));
/// assert_eq!(request.protocol, Some(b"HTTP/1.1".to_vec()));
/// assert_eq!(split_request(b"-"), None);
/// ```
pub fn split_request(request: &[u8]) -> Option<Request> {
    let tokens: Vec<&[u8]> = request.split(|&byte| byte == b' ').collect();
    match tokens.as_slice() {
        [method, middle @ .., protocol] if !middle.is_empty() && protocol.starts_with(b"HTTP/") => {
            let protocol = Some(protocol.to_vec());
            Some(Request { method: method.to_vec(), endpoint: middle.join(&b' '), protocol })
        }
        [method, rest @ ..] if !rest.is_empty() => {
            Some(Request { method: method.to_vec(), endpoint: rest.join(&b' '), protocol: None })
        }
        _ => None,
    }
}

/// The time of a record, by chrono.
///
/// ```
/// use thalweg::format::reference::event_time;
/// use thalweg::time::Time;
/// assert_eq!(event_time(b"01/Jan/1970:00:00:01 +0000"), Some(Time(1_000)));
/// assert_eq!(event_time(b"yesterday"), None);
/// ```
pub fn event_time(time: &[u8]) -> Option<Time> {
    let time = std::str::from_utf8(time).ok()?;
    Some(Time(DateTime::parse_from_str(time, "%d/%b/%Y:%H:%M:%S %z").ok()?.timestamp_millis()))
}
