//! Data made safe to show, and still distinct.
//!
//! Keys are bytes, and what shows them is text. Bytes that cannot stand in the text are written as escapes that begin with
//! a backslash, as people know them (`caf\xe9`), and all other text stays as it is. A key may hold such an escape as text,
//! which servers do write into their logs; so that it is not taken for the byte, *backslashes are doubled where an escape
//! follows, or text that looks like one, and nowhere else*:
//!
//! | key | shown |
//! |---|---|
//! | `caf`, byte E9 | `caf\xe9` |
//! | the text `caf\xe9` | `caf\\xe9` |
//! | the text `\`, byte E9 | `\\\xe9` |
//! | the texts `C:\dir`, `\\`, `\xE9` and (in JSON) `a\nb` | the same |
//!
//! Whoever reads it back looks at the backslashes before an escape: after an odd number of them it is an escape, after an
//! even number it is text, and half of them, rounded down, are the key's own. So no two keys look alike. The whole
//! doubling of backslashes would be simpler, but would change every path of Windows and every pattern that is a key. A
//! form that is no text at all (an object with the bytes in base 64) would leave all text alone, but a column would then
//! hold two types, and people could not read it. Lone surrogates, as Python escapes such bytes, are refused by most readers
//! of JSON.

use std::borrow::Cow;
use std::fmt::Write;

/// `bytes` as text: itself where it is UTF-8, with each byte that is not as `\xNN`, and as the module says with backslashes
/// before what looks like such a byte.
///
/// No two byte strings give the same text.
///
/// ```
/// use thalweg::data::escape_json;
/// assert_eq!(escape_json("naïve".as_bytes()), "naïve");
/// assert_eq!(escape_json(b"a\xff\xfeb"), r"a\xff\xfeb");
/// assert_eq!(escape_json(br"a\xff"), r"a\\xff");
/// assert_eq!(escape_json(br"C:\dir\new \x41"), r"C:\dir\new \x41");
/// ```
pub fn escape_json(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.contains(&b'\\') => Cow::Borrowed(text),
        _ => Cow::Owned(escape(bytes, looks_like_a_byte, |char, text| text.push(char))),
    }
}

/// `bytes` as text that databases take: as [`escape_json`], and with NUL as `\x00`, which some of them cannot hold.
///
/// No two byte strings give the same text.
///
/// ```
/// use thalweg::data::escape_sql;
/// assert_eq!(escape_sql(b"a\0b\xff"), r"a\x00b\xff");
/// assert_eq!(escape_sql(br"a\x00 and C:\x01"), r"a\\x00 and C:\x01");
/// ```
pub fn escape_sql(bytes: &[u8]) -> Cow<'_, str> {
    let alike = |rest: &[u8]| rest.starts_with(b"x00") || looks_like_a_byte(rest);
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.iter().any(|byte| matches!(byte, b'\\' | 0)) => Cow::Borrowed(text),
        _ => Cow::Owned(escape(bytes, alike, |char, text| match char {
            '\0' => text.push_str(r"\x00"),
            char => text.push(char),
        })),
    }
}

/// `bytes` as text that does nothing to a terminal: as [`escape_json`], and with control characters, line separators,
/// and characters that are invisible or turn the direction of text written as `\n`, `\x1b` or `\u{202e}`.
///
/// No two byte strings give the same text.
///
/// ```
/// use thalweg::data::escape_terminal;
/// assert_eq!(escape_terminal(b"\x1b[2J\n\xff"), r"\x1b[2J\n\xff");
/// assert_eq!(escape_terminal("evil\u{202e}txt".as_bytes()), r"evil\u{202e}txt");
/// assert_eq!(escape_terminal(br"\x1b[2J in text"), r"\\x1b[2J in text");
/// ```
pub fn escape_terminal(bytes: &[u8]) -> String {
    escape(bytes, looks_like_an_escape, push_harmless)
}

/// As [`escape_terminal`] for text of our own that quotes names of others: it keeps its line ends.
///
/// ```
/// assert_eq!(thalweg::data::escape_text("cannot read a\x1b[2Jb\n  hint: …"), "cannot read a\\x1b[2Jb\n  hint: …");
/// ```
pub fn escape_text(ours: &str) -> String {
    let mut text = String::with_capacity(ours.len());
    for char in ours.chars() {
        if char == '\n' { text.push(char) } else { push_harmless(char, &mut text) }
    }
    text
}

/// Pushes each character as `push` does it and each bad byte as an escape; doubles the backslashes before escapes, and
/// before text which `alike` takes for one.
fn escape(bytes: &[u8], alike: fn(&[u8]) -> bool, push: fn(char, &mut String)) -> String {
    let mut text = String::with_capacity(bytes.len());
    // Backslashes that stand at the end of `text` and are the key's own.
    let mut backslashes = 0;
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        for (at, char) in valid.char_indices() {
            if char == '\\' {
                backslashes += 1;
                text.push(char);
                continue;
            }
            let before = text.len();
            push(char, &mut text);
            if backslashes > 0 {
                let escaped = text.len() > before && text.as_bytes()[before] == b'\\';
                if escaped || alike(&valid.as_bytes()[at..]) {
                    text.insert_str(before, &"\\".repeat(backslashes));
                }
                backslashes = 0;
            }
        }
        if !chunk.invalid().is_empty() {
            text.extend(std::iter::repeat_n('\\', std::mem::take(&mut backslashes)));
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Whether `rest`, behind a backslash, could be read as a byte that is not UTF-8: those are 80 to ff, in lower case.
fn looks_like_a_byte(rest: &[u8]) -> bool {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    match rest {
        [b'x', high, low, ..] => hex(high) && hex(low) && *high >= b'8',
        _ => false,
    }
}

/// Whether `rest`, behind a backslash, could be read as anything that [`push_harmless`] writes.
fn looks_like_an_escape(rest: &[u8]) -> bool {
    matches!(rest, [b'n' | b'r' | b't' | b'x', ..] | [b'u', b'{', ..])
}

fn push_harmless(char: char, text: &mut String) {
    match char {
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        '\0'..='\x1f' | '\x7f'..='\u{9f}' if (char as u32) < 0x80 => {
            let _ = write!(text, "\\x{:02x}", char as u32);
        }
        '\u{80}'..='\u{9f}'
        | '\u{ad}'
        | '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => text.extend(char.escape_unicode()),
        _ => text.push(char),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads back what [`escape_json`] has written, by the rule of the module's documentation.
    fn read_back(text: &str) -> Vec<u8> {
        let bytes = text.as_bytes();
        let mut read = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let run = bytes[at..].iter().take_while(|byte| **byte == b'\\').count();
            let rest = &bytes[at + run..];
            if run > 0 && looks_like_a_byte(rest) {
                read.extend(std::iter::repeat_n(b'\\', run / 2));
                at += run;
                if run % 2 == 1 {
                    let digits = &text[at + 1..at + 3];
                    read.push(u8::from_str_radix(digits, 16).expect("two digits"));
                    at += 3;
                }
            } else {
                let length = run.max(1);
                read.extend_from_slice(&bytes[at..at + length]);
                at += length;
            }
        }
        read
    }

    /// Bytes that are mostly backslashes, digits and bad bytes.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            4 => Just(b'\\'),
            3 => prop::sample::select(&b"xeE98afnu{"[..]),
            2 => prop::sample::select(&b"\xe9\xff\x80\xc3\xa9\x1b\n"[..]),
            1 => any::<u8>(),
        ];
        prop::collection::vec(byte, 0..12)
    }

    #[test]
    fn a_byte_and_the_text_of_its_escape_differ() {
        for (key, json, terminal) in [
            (&b"/caf\xe9"[..], r"/caf\xe9", r"/caf\xe9"),
            (br"/caf\xe9", r"/caf\\xe9", r"/caf\\xe9"),
            (br"/caf\\xe9", r"/caf\\\\xe9", r"/caf\\\\xe9"),
            (b"\\\xe9", r"\\\xe9", r"\\\xe9"),
            (br"\xE9", r"\xE9", r"\\xE9"),
            (br"a\nb", r"a\nb", r"a\\nb"),
            (b"a\nb", "a\nb", r"a\nb"),
            (br"C:\dir\", r"C:\dir\", r"C:\dir\"),
            (br"^\d+\.\w$", r"^\d+\.\w$", r"^\d+\.\w$"),
        ] {
            assert_eq!((&*escape_json(key), &*escape_terminal(key)), (json, terminal), "{key:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_read_back(key in keys()) {
            prop_assert_eq!(read_back(&escape_json(&key)), key);
        }

        #[test]
        fn no_two_keys_look_alike(one in keys(), other in keys()) {
            prop_assert_eq!(escape_json(&one) == escape_json(&other), one == other);
            prop_assert_eq!(escape_terminal(&one) == escape_terminal(&other), one == other);
        }

        #[test]
        fn text_without_a_backslash_is_left_alone(text in "[^\\\\]*") {
            prop_assert_eq!(&*escape_json(text.as_bytes()), &*text);
        }
    }
}
