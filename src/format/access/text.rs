//! Lines of text as servers are configured to write them, beyond the strict common form.
//!
//! What holds the line together is `[time] "request" status size`. The time's brackets are those before the first `"`
//! that stands behind a `]` and white space. The request ends at the first quote behind which a status and a size follow, escaped
//! or not: so a quote within the request that the server did not escape ends nothing. What stands before the time is words: a
//! virtual host perhaps, the client or a list of them, the identity, and a user who may have blanks.

use memchr::{memchr, memchr_iter, memrchr};

use super::client::address;
use super::record::AccessFields;
use crate::format::Size;
use crate::format::access_log::{digits, is_space};

/// A line taken apart; nothing in it is unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    pub(super) vhost: Option<&'a [u8]>,
    pub(super) client: &'a [u8],
    pub(super) user: &'a [u8],
    pub(super) time: &'a [u8],
    pub(super) request: &'a [u8],
    pub(super) status: Option<u16>,
    pub(super) size: Size,
    pub(super) rest: &'a [u8],
}

impl<'a> Text<'a> {
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let (time_end, request_start) = memchr_iter(b']', line).find_map(|end| {
            let rest = line.get(end + 1..)?;
            let blanks = rest.iter().take_while(|byte| is_space(**byte)).count();
            (blanks > 0 && rest.get(blanks) == Some(&b'"')).then_some((end, end + blanks + 2))
        })?;
        let time_start = memrchr(b'[', &line[..time_end])?;
        let behind = line.get(request_start..)?;
        let (request, (status, size, rest)) =
            memchr_iter(b'"', behind).find_map(|end| Some((&behind[..end], outcome(&behind[end + 1..])?)))?;
        let (vhost, client, user) = who(line[..time_start].trim_ascii())?;
        Some(Text { vhost, client, user, time: &line[time_start + 1..time_end], request, status, size, rest })
    }

    /// What a record shows of it, without its time.
    pub(super) fn fields(&self) -> AccessFields<'a> {
        let (referer, agent) = referer_and_agent(self.rest);
        AccessFields {
            client: Some(self.client),
            user: present(self.user),
            status: self.status,
            size: self.size,
            referer,
            agent,
            vhost: self.vhost,
            ..AccessFields::of_request(self.request)
        }
    }
}

/// What is neither empty nor `-`, the sign for nothing.
pub(super) fn present(field: &[u8]) -> Option<&[u8]> {
    Some(field).filter(|field| !matches!(*field, b"" | b"-" | b"\"\""))
}

/// The virtual host, the client and the user of the words before the time.
fn who(words: &[u8]) -> Option<(Option<&[u8]>, &[u8], &[u8])> {
    let (first, mut rest) = next_word(words)?;
    if let Some(client) = first.split(|byte| *byte == b',').next().filter(|client| client.len() < first.len())
    {
        // A list, with or without blanks behind its commas: the first of it is who asked, the others passed it on.
        let mut last = first;
        while last.ends_with(b",") {
            (last, rest) = next_word(rest)?;
        }
        return (!client.is_empty()).then(|| (None, client, user(rest)));
    }
    if address(first).is_none()
        && let Some((second, behind)) = next_word(rest)
        && address(second).is_some()
    {
        // Behind a host there may be a user alone.
        let user =
            if next_word(behind).is_some_and(|(_, rest)| !rest.is_empty()) { user(behind) } else { behind };
        return Some((Some(first), second, user));
    }
    Some((None, first, user(rest)))
}

/// What stands behind the identity.
fn user(words: &[u8]) -> &[u8] {
    next_word(words).map_or(b"", |(_, user)| user)
}

/// The first word, and what follows it without the white space between.
fn next_word(words: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = words.iter().position(|byte| is_space(*byte)).unwrap_or(words.len());
    let (word, rest) = words.split_at(end);
    (!word.is_empty()).then(|| (word, rest.trim_ascii_start()))
}

/// Status and size behind a request, and what follows them.
fn outcome(bytes: &[u8]) -> Option<(Option<u16>, Size, &[u8])> {
    let (status, rest) = match blank(bytes)? {
        [b'-', rest @ ..] => (None, rest),
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] => {
            let status = [a, b, c].iter().fold(0, |status, digit| 10 * status + u16::from(**digit & 0x0f));
            (Some(status), rest)
        }
        _ => return None,
    };
    let (size, rest) = match blank(rest)? {
        // A number below nothing is no size, but what stands there.
        [b'-', rest @ ..] => (Size::Missing, digits(rest).1),
        size @ [b'0'..=b'9', ..] => digits(size),
        _ => return None,
    };
    rest.first().is_none_or(|byte| is_space(*byte)).then_some((status, size, rest))
}

/// What follows white space, of which there is some.
fn blank(bytes: &[u8]) -> Option<&[u8]> {
    let rest = bytes.trim_ascii_start();
    (rest.len() < bytes.len()).then_some(rest)
}

/// The two quoted fields behind the size, where the combined form has them.
pub(super) fn referer_and_agent(rest: &[u8]) -> (Option<&[u8]>, Option<&[u8]>) {
    let Some((referer, rest)) = quoted(rest) else { return (None, None) };
    (present(referer), quoted(rest).and_then(|(agent, _)| present(agent)))
}

/// The field between quotes that comes first, and what follows it: its last quote is one with white space or nothing
/// behind it that no backslash escapes.
fn quoted(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = bytes.trim_ascii_start().strip_prefix(b"\"")?;
    let ends = |end: &usize| {
        let escapes = inner[..*end].iter().rev().take_while(|byte| **byte == b'\\').count();
        escapes % 2 == 0 && inner.get(end + 1).is_none_or(|byte| is_space(*byte))
    };
    let end = memchr_iter(b'"', inner).find(ends).or_else(|| memchr(b'"', inner))?;
    Some((&inner[..end], &inner[end + 1..]))
}
