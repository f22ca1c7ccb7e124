//! What JSON strings say.

use std::borrow::Cow;
use std::char::REPLACEMENT_CHARACTER;

use memchr::memchr;

/// What stands between the quotes of a string that is known to be JSON, with its escapes undone.
pub(super) fn unescape(inner: &str) -> Cow<'_, str> {
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut text = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let mut chars = escape.chars();
        let character = match chars.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let (character, after) = code_point(chars.as_str());
                chars = after.chars();
                character
            }
            // A quote, a backslash or a slash: the line was checked.
            Some(itself) => itself,
            None => REPLACEMENT_CHARACTER,
        };
        text.push(character);
        rest = chars.as_str();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// The character of the four digits that `text` begins with, or of two surrogates, and what follows. Half a pair is
/// U+FFFD, and what follows it is read by itself.
fn code_point(text: &str) -> (char, &str) {
    let Some((unit, rest)) = hex(text) else { return (REPLACEMENT_CHARACTER, text) };
    if let Some(character) = char::from_u32(unit) {
        return (character, rest);
    }
    let low = rest.strip_prefix("\\u").and_then(hex);
    match low {
        Some((low @ 0xdc00..0xe000, after)) if unit < 0xdc00 => {
            let pair = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(pair).unwrap_or(REPLACEMENT_CHARACTER), after)
        }
        _ => (REPLACEMENT_CHARACTER, rest),
    }
}

/// The value of four hexadecimal digits, and what follows.
fn hex(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}
