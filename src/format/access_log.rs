//! Web access logs: Apache common and combined, and nginx's default.
//!
//! The three differ only in what follows the size, and that is never looked at: one parser reads them all, and
//! any line with more fields of its own at the end. What a line may be is written down in
//! [`reference`](super::reference), as a regular expression; here the same language is read by hand, an order of
//! magnitude faster. The grammar is deterministic (every field ends at the first byte that may end it), so one pass
//! without backtracking decides it. This module knows the order of the fields and how each ends; calendars
//! belong to [`time`](super::time).
//!
//! Parsing splits, and no more. The request and the time are taken apart only when asked for, because most
//! statistics want one field of a line.

use memchr::{memchr, memchr2, memrchr};

use crate::format::LineFormat;
use crate::format::time::parse_clf;
use crate::time::Time;

/// Reads Apache common, Apache combined and nginx default access-log lines.
///
/// ```
/// use thalweg::format::{AccessLog, LineFormat, Size};
/// use thalweg::time::Time;
///
/// let line = br#"10.0.0.1 - eve [22/Jan/2019:03:56:14 +0330] "GET /a b HTTP/1.1" 200 512 "-" "curl""#;
/// let record = AccessLog.parse(line).unwrap();
/// assert_eq!(record.client, b"10.0.0.1");
/// assert_eq!(record.user, b"eve");
/// assert_eq!(record.endpoint(), Some(&b"/a b"[..]));
/// assert_eq!(record.status, 200);
/// assert_eq!(record.size, Size::Bytes(512));
/// assert_eq!(record.event_time(), Some(Time(1_548_116_774_000)));
///
/// assert_eq!(AccessLog.parse(b"10.0.0.1 - eve [22/Jan/2019:03:56"), None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccessLog;

/// One request as the log has it; every field borrows from the line, and none is unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRecord<'a> {
    /// Who asked: an address, or a name where the server looks names up.
    pub client: &'a [u8],
    /// The identd user, nearly always `-`.
    pub identity: &'a [u8],
    /// The authenticated user, or `-`.
    pub user: &'a [u8],
    /// The time between its brackets; it may be anything, see [`AccessRecord::event_time`].
    pub time: &'a [u8],
    /// The request line between its quotes, as the client sent it and the server escaped it.
    pub request: &'a [u8],
    /// The three digits of the status, 0 to 999.
    pub status: u16,
    /// The size of the response.
    pub size: Size,
    /// What follows the size: in the combined form the referer and the agent, in quotes.
    pub rest: &'a [u8],
}

/// The size of a response in bytes, as the log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// `-`: the server sent no body, or does not know.
    Missing,
    /// The number in the log.
    Bytes(u64),
    /// Digits beyond `u64::MAX`. The line is well formed, but no server sends that much: in statistics of sizes
    /// it counts as missing.
    TooLarge,
}

impl Size {
    /// The number, if the log has one that can be one.
    ///
    /// ```
    /// use thalweg::format::Size;
    /// assert_eq!(Size::Bytes(7).bytes(), Some(7));
    /// assert_eq!(Size::Missing.bytes(), None);
    /// assert_eq!(Size::TooLarge.bytes(), None);
    /// ```
    pub fn bytes(self) -> Option<u64> {
        match self {
            Size::Bytes(bytes) => Some(bytes),
            Size::Missing | Size::TooLarge => None,
        }
    }
}

impl<'a> AccessRecord<'a> {
    /// What was asked for: the request without its method and protocol.
    ///
    /// A request of fewer than two tokens (`-`, an empty one, garbage) has none. The protocol is the last of
    /// three or more tokens if it begins with `HTTP/`; where it does not, everything behind the method is
    /// endpoint. Tokens are split at *single* spaces, so an endpoint may hold spaces, and may be empty.
    ///
    /// ```
    /// use thalweg::format::{AccessLog, LineFormat};
    /// let endpoint = |request: &str| {
    ///     let line = format!(r#"h - - [] "{request}" 200 -"#);
    ///     AccessLog.parse(line.as_bytes()).unwrap().endpoint().map(<[u8]>::to_vec)
    /// };
    /// assert_eq!(endpoint("GET /a b HTTP/1.1"), Some(b"/a b".to_vec()));
    /// assert_eq!(endpoint("GET /a"), Some(b"/a".to_vec()));
    /// assert_eq!(endpoint("GET HTTP/1.1"), Some(b"HTTP/1.1".to_vec()));
    /// assert_eq!(endpoint("-"), None);
    /// ```
    #[inline]
    pub fn endpoint(&self) -> Option<&'a [u8]> {
        let (_, rest) = split_at_space(self.request, memchr)?;
        Some(split_protocol(rest).map_or(rest, |(endpoint, _)| endpoint))
    }

    /// The method, such as `GET`; whatever stands before the first space.
    ///
    /// A request without an [`endpoint`](Self::endpoint) has none.
    ///
    /// ```
    /// use thalweg::format::{AccessLog, LineFormat};
    /// let record = AccessLog.parse(br#"h - - [] "GET /a HTTP/1.1" 200 -"#).unwrap();
    /// assert_eq!(record.method(), Some(&b"GET"[..]));
    /// assert_eq!(record.protocol(), Some(&b"HTTP/1.1"[..]));
    /// ```
    #[inline]
    pub fn method(&self) -> Option<&'a [u8]> {
        split_at_space(self.request, memchr).map(|(method, _)| method)
    }

    /// The protocol, such as `HTTP/1.1`, if the request ends with one behind an endpoint.
    ///
    /// ```
    /// use thalweg::format::{AccessLog, LineFormat};
    /// let record = AccessLog.parse(br#"h - - [] "GET /a" 200 -"#).unwrap();
    /// assert_eq!(record.protocol(), None);
    /// ```
    #[inline]
    pub fn protocol(&self) -> Option<&'a [u8]> {
        let (_, rest) = split_at_space(self.request, memchr)?;
        split_protocol(rest).map(|(_, protocol)| protocol)
    }

    /// When the request came, in milliseconds since the Unix epoch (UTC), if the time is one.
    ///
    /// See [`parse_clf`] for what is accepted.
    ///
    /// ```
    /// use thalweg::format::{AccessLog, LineFormat};
    /// use thalweg::time::Time;
    /// let at = |time: &str| {
    ///     let line = format!(r#"h - - [{time}] "GET /a HTTP/1.1" 200 -"#);
    ///     AccessLog.parse(line.as_bytes()).unwrap().event_time()
    /// };
    /// assert_eq!(at("01/Jan/1970:01:00:01 +0100"), Some(Time(1_000)));
    /// assert_eq!(at("yesterday"), None);
    /// ```
    #[inline]
    pub fn event_time(&self) -> Option<Time> {
        parse_clf(self.time)
    }
}

impl LineFormat for AccessLog {
    type Record<'a> = AccessRecord<'a>;

    #[inline]
    fn parse<'a>(&mut self, line: &'a [u8]) -> Option<AccessRecord<'a>> {
        AccessLog::read(line)
    }
}

impl AccessLog {
    /// Reads `line`. It is to be part of the loop over lines, which is the hottest there is: a call costs a tenth of it.
    #[inline(always)]
    pub(super) fn read(line: &[u8]) -> Option<AccessRecord<'_>> {
        let (client, rest) = word(line)?;
        let (identity, rest) = word(rest)?;
        let (user, rest) = word(rest)?;
        let rest = rest.strip_prefix(b"[")?;
        let (time, rest) = rest.split_at_checked(memchr(b']', rest)?)?;
        let rest = rest.strip_prefix(b"] \"")?;
        let (request, rest) = rest.split_at_checked(closing_quote(rest)?)?;
        let rest = rest.strip_prefix(b"\" ")?;
        let (status, rest) = status(rest)?;
        let (size, rest) = size(rest)?;
        Some(AccessRecord { client, identity, user, time, request, status, size, rest })
    }
}

/// The bytes before and after the space that `search` finds.
#[inline]
fn split_at_space(bytes: &[u8], search: fn(u8, &[u8]) -> Option<usize>) -> Option<(&[u8], &[u8])> {
    let (before, after) = bytes.split_at_checked(search(b' ', bytes)?)?;
    Some((before, after.get(1..)?))
}

/// Endpoint and protocol, from a request that has lost its method.
#[inline]
fn split_protocol(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    split_at_space(rest, memrchr).filter(|(_, last)| last.starts_with(b"HTTP/"))
}

/// `\s` over bytes. Not `u8::is_ascii_whitespace`, which leaves out the vertical tab.
#[inline]
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Method, endpoint and protocol of a request line, if it has an endpoint; see [`AccessRecord::endpoint`].
pub(super) fn split_request(request: &[u8]) -> Option<(&[u8], &[u8], Option<&[u8]>)> {
    let (method, rest) = split_at_space(request, memchr)?;
    let (endpoint, protocol) =
        split_protocol(rest).map_or((rest, None), |(endpoint, it)| (endpoint, Some(it)));
    Some((method, endpoint, protocol))
}

/// The size that a field is: digits and nothing else.
pub(super) fn whole_size(field: &[u8]) -> Size {
    match digits(field) {
        (size, []) if !field.is_empty() => size,
        _ => Size::Missing,
    }
}

/// `(\S+) `: a word, and what follows the space that ends it.
///
/// Words are short, so eight bytes at a time in a register beat both a call to `memchr` (by a fifth of the whole
/// parser's time) and a loop over bytes (by a twelfth with IPv4 clients, by a sixth with IPv6). The search is for
/// bytes up to the space, which takes in all white space; what else it takes in are control bytes, which no
/// server writes unescaped and which are left to the slow way.
#[inline]
fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let mut rest = bytes;
    while let Some((eight, next)) = rest.split_first_chunk() {
        let eight = u64::from_le_bytes(*eight);
        // The high bit of each byte below `!`. A borrow can spoil the bytes above the lowest hit, never that one.
        let hits = eight.wrapping_sub(ONES * b'!' as u64) & !eight & (ONES * 0x80);
        if hits != 0 {
            let end = bytes.len() - rest.len() + (hits.trailing_zeros() / 8) as usize;
            return match bytes.split_at_checked(end)? {
                (word @ [_, ..], [b' ', rest @ ..]) => Some((word, rest)),
                _ => word_by_bytes(bytes),
            };
        }
        rest = next;
    }
    word_by_bytes(bytes)
}

/// [`word`], a byte at a time: for control bytes, and for words that end near the end of the line.
#[cold]
fn word_by_bytes(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    match bytes.split_at_checked(bytes.iter().position(|&byte| is_space(byte))?)? {
        (word @ [_, ..], [b' ', rest @ ..]) => Some((word, rest)),
        _ => None,
    }
}

/// `((?:[^"\\]|\\.)*)"`: where the quote is that no backslash escapes.
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

/// `(\d{3}) `: the status, and what follows its space.
#[inline]
fn status(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let &[hundreds @ b'0'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9', b' ', ref rest @ ..] = bytes else {
        return None;
    };
    let digit = |byte| u16::from(byte & 0x0f);
    Some((digit(hundreds) * 100 + digit(tens) * 10 + digit(ones), rest))
}

/// `(\d+|-)(?:\s.*)?$`: the size, behind which is white space and anything, or nothing.
#[inline(always)]
fn size(bytes: &[u8]) -> Option<(Size, &[u8])> {
    let (size, rest) = match bytes {
        [b'-', rest @ ..] => (Size::Missing, rest),
        [b'0'..=b'9', ..] => digits(bytes),
        _ => return None,
    };
    match rest {
        [] => Some((size, rest)),
        [next, ..] => is_space(*next).then_some((size, rest)),
    }
}

/// `\d+`, of which the first is there.
#[inline]
pub(super) fn digits(mut rest: &[u8]) -> (Size, &[u8]) {
    let mut value = Some(0_u64);
    while let [digit @ b'0'..=b'9', next @ ..] = rest {
        value = value.and_then(|value| value.checked_mul(10)?.checked_add(u64::from(digit & 0x0f)));
        rest = next;
    }
    (value.map_or(Size::TooLarge, Size::Bytes), rest)
}
