//! What strings with JSON's escapes say.

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
        let (character, length) = match escape.chars().next() {
            Some('u') => {
                let (character, length) = code_point(&escape.as_bytes()[1..]);
                (character, 1 + length)
            }
            // What it stands for, or a quote, a backslash or a slash: the line was checked.
            Some(letter) => (control(letter).unwrap_or(letter), letter.len_utf8()),
            None => (REPLACEMENT_CHARACTER, 0),
        };
        text.push(character);
        rest = escape.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    Cow::Owned(text)
}

/// As [`unescape`], of bytes that were checked for nothing: a backslash that begins no escape stands for itself.
pub(super) fn unescape_bytes(inner: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'\\', inner).is_none() {
        return Cow::Borrowed(inner);
    }
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr(b'\\', rest) {
        text.extend_from_slice(&rest[..at]);
        let escape = &rest[at + 1..];
        let (character, length) = match escape.first() {
            Some(b'u') if hex(&escape[1..]).is_some() => {
                let (character, length) = code_point(&escape[1..]);
                (character, 1 + length)
            }
            Some(letter @ (b'"' | b'\\' | b'/')) => (char::from(*letter), 1),
            Some(letter) => control(char::from(*letter)).map_or(('\\', 0), |character| (character, 1)),
            None => ('\\', 0),
        };
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &escape[length..];
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

/// The control character that `letter` stands for behind a backslash.
fn control(letter: char) -> Option<char> {
    Some(match letter {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        _ => return None,
    })
}

/// The character of the four digits that `text` begins with, or of two surrogates, and how long they are. Half a pair
/// is U+FFFD, and what follows it is read by itself.
fn code_point(text: &[u8]) -> (char, usize) {
    let Some(unit) = hex(text) else { return (REPLACEMENT_CHARACTER, 0) };
    if let Some(character) = char::from_u32(unit) {
        return (character, 4);
    }
    let low = text[4..].strip_prefix(b"\\u").and_then(hex);
    match low {
        Some(low @ 0xdc00..0xe000) if unit < 0xdc00 => {
            let pair = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
            (char::from_u32(pair).unwrap_or(REPLACEMENT_CHARACTER), 10)
        }
        _ => (REPLACEMENT_CHARACTER, 4),
    }
}

/// The value of the four hexadecimal digits that `text` begins with.
fn hex(text: &[u8]) -> Option<u32> {
    text.get(..4)?.iter().try_fold(0, |value, digit| Some(16 * value + char::from(*digit).to_digit(16)?))
}
