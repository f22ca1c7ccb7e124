//! What stands before the message.

use memchr::{memchr, memchr2};

use super::stamp::{self, Stamp};
use super::{Syslog, SyslogRecord};

/// Bytes of the longest tag: what is longer is part of the message.
const LONGEST_TAG: usize = 128;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a line of either kind.
pub(super) fn read(rules: Syslog, line: &[u8]) -> Option<SyslogRecord<'_>> {
    let (priority, rest) = priority(line).map_or((None, line), |(priority, rest)| (Some(priority), rest));
    protocol(rules, priority, rest).unwrap_or_else(|| traditional(rules, priority, rest))
}

/// `<34>`, and what follows it.
fn priority(line: &[u8]) -> Option<(u8, &[u8])> {
    let inner = line.strip_prefix(b"<")?;
    let length = inner.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = inner.get(length..)?.strip_prefix(b">")?;
    let value = inner[..length]
        .iter()
        .try_fold(0_u8, |value, digit| value.checked_mul(10)?.checked_add(digit & 0xf))?;
    ((1..=3).contains(&length) && value < 192).then_some((value, rest))
}

/// A line of RFC 5424 behind its priority; `None` if it does not begin as one, and inside if it goes on as none.
fn protocol(rules: Syslog, priority: Option<u8>, line: &[u8]) -> Option<Option<SyslogRecord<'_>>> {
    let rest = line.strip_prefix(b"1 ")?;
    let (stamp, rest) = match rest.strip_prefix(b"- ") {
        Some(rest) if priority.is_some() => (Stamp::None, rest),
        _ => {
            let (stamp, rest) = stamp::iso(rest, rules.zone)?;
            (stamp, rest.strip_prefix(b" ")?)
        }
    };
    Some((|| {
        let (host, rest) = field(rest)?;
        let (app, rest) = field(rest)?;
        let (procid, rest) = field(rest)?;
        let (msgid, rest) = field(rest)?;
        let (data, rest): (&[u8], _) = match rest {
            [b'-'] | [b'-', b' ', ..] => (b"", &rest[1..]),
            [b'[', ..] => rest.split_at(data_end(rest)?),
            // Left out.
            rest => (b"", rest),
        };
        let message = rest.strip_prefix(b" ").unwrap_or(rest);
        let message = message.strip_prefix(BYTE_ORDER_MARK).unwrap_or(message);
        Some(SyslogRecord { priority, stamp, host, app, procid, msgid, data, message, rules })
    })())
}

/// A field of the header, `-` being none, and what follows the space behind it.
fn field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let end = memchr(b' ', bytes).unwrap_or(bytes.len());
    let (field, rest) = bytes.split_at(end);
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    (!field.is_empty()).then_some((Some(field).filter(|field| *field != b"-"), rest))
}

/// Where the structured data ends that `bytes` begin with.
fn data_end(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes;
    while let Some(inner) = rest.strip_prefix(b"[") {
        rest = word(inner)?.1;
        while let Some(inner) = rest.strip_prefix(b" ") {
            rest = param(inner)?.2;
        }
        rest = rest.strip_prefix(b"]")?;
    }
    // What comes behind is a message, with a space before it.
    rest.first().is_none_or(|byte| *byte == b' ').then_some(bytes.len() - rest.len())
}

/// A name within structured data, and what follows it.
pub(super) fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|byte| matches!(byte, b' ' | b'=' | b']' | b'"')).unwrap_or(bytes.len());
    (end > 0).then(|| bytes.split_at(end))
}

/// `name="value"`, and what follows it; the value has its escapes.
pub(super) fn param(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, rest) = word(bytes)?;
    let value = rest.strip_prefix(b"=\"")?;
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', value.get(from..)?)?;
        if value.get(at) == Some(&b'"') {
            return Some((name, &value[..at], &value[at + 1..]));
        }
        from = at + 2;
    }
}

/// A line of RFC 3164, or what programs make of it.
fn traditional(rules: Syslog, priority: Option<u8>, line: &[u8]) -> Option<SyslogRecord<'_>> {
    // Network devices number their messages.
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let behind = line[digits..].strip_prefix(b": ").filter(|_| digits > 0 && priority.is_some());
    let found = stamp::read(line, rules.zone).or_else(|| stamp::read(behind?, rules.zone));
    let (stamp, rest) = match found {
        Some(found) => found,
        None if priority.is_some() => (Stamp::None, line),
        None => return None,
    };
    let has_time = stamp != Stamp::None;
    let rest = rest.strip_prefix(b" ").unwrap_or(rest);
    let (host, rest, tagged) = match tag(rest) {
        Some(tagged) => (None, rest, Some(tagged)),
        // A host is there only where the time is.
        None if has_time => match memchr(b' ', rest) {
            Some(end) if end > 0 => (Some(&rest[..end]), &rest[end + 1..], tag(&rest[end + 1..])),
            _ => (None, rest, None),
        },
        None => (None, rest, None),
    };
    let (app, procid, message) =
        tagged.map_or((None, None, rest), |tag| (Some(tag.app), tag.procid, tag.rest));
    let host = host.filter(|host| *host != b"-");
    Some(SyslogRecord { priority, stamp, host, app, procid, msgid: None, data: b"", message, rules })
}

struct Tag<'a> {
    app: &'a [u8],
    procid: Option<&'a [u8]>,
    rest: &'a [u8],
}

/// `su:`, `su[42]:` or `su[42]` and a space, if that is what `bytes` begin with.
fn tag(bytes: &[u8]) -> Option<Tag<'_>> {
    let end = bytes.iter().take(LONGEST_TAG + 1).position(|byte| matches!(byte, b' ' | b':' | b'['))?;
    let (app, rest) = bytes.split_at(end);
    let (procid, rest) = match rest {
        [b'[', inner @ ..] => {
            let end = inner.iter().take(LONGEST_TAG).position(|byte| matches!(byte, b']' | b' '))?;
            let rest = inner[end..].strip_prefix(b"]")?;
            (Some(&inner[..end]), rest.strip_prefix(b":").unwrap_or(rest))
        }
        [b':', rest @ ..] => (None, rest),
        _ => return None,
    };
    let ends = rest.first().is_none_or(|byte| *byte == b' ');
    let procid = procid.filter(|procid| !procid.is_empty());
    (!app.is_empty() && ends).then(|| Tag { app, procid, rest: rest.strip_prefix(b" ").unwrap_or(rest) })
}
