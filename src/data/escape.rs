//! Data made safe to show.

use std::fmt::Write;

/// `bytes` as text, with each byte that is not UTF-8 as `\xNN`.
///
/// ```
/// assert_eq!(thalweg::data::escape_json("naïve".as_bytes()), "naïve");
/// assert_eq!(thalweg::data::escape_json(b"a\xff\xfeb"), r"a\xff\xfeb");
/// ```
pub fn escape_json(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// `bytes` as text that does nothing to a terminal: as [`escape_json`], and with control characters, line separators,
/// and characters that are invisible or turn the direction of text written as `\n`, `\x1b` or `\u{202e}`.
///
/// ```
/// use thalweg::data::escape_terminal;
/// assert_eq!(escape_terminal(b"\x1b[2J\n\xff"), r"\x1b[2J\n\xff");
/// assert_eq!(escape_terminal("evil\u{202e}txt".as_bytes()), r"evil\u{202e}txt");
/// ```
pub fn escape_terminal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|char| push_harmless(char, &mut text));
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
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
