//! What `journalctl -o json` writes: an object an entry. A field that is no text is an array of its bytes, one that occurs several times an
//! array of those, and one that is large is null unless `--all` was given.

use super::fields::json;
use crate::format::{Json, JsonMode, JsonValue, LineFormat};

/// Reads entries.
#[derive(Clone, Debug)]
pub(super) struct Journald(Option<Json>);

impl Journald {
    pub(super) fn new() -> Self {
        Journald(json([("message", "MESSAGE")]).map(|json| json.with_mode(JsonMode::DropMalformed)))
    }

    /// Adds the message of an entry to `bytes`, which may have several lines; returns whether there is one.
    pub(super) fn read(&mut self, line: &[u8], bytes: &mut Vec<u8>) -> bool {
        let Some(record) = self.0.as_mut().and_then(|json| json.parse(line)) else { return false };
        text_of(&record.get(0), bytes)
    }
}

/// Adds what a field says to `bytes`; of several values, each on a line of its own. Returns whether it says anything.
pub(super) fn text_of(value: &JsonValue<'_>, bytes: &mut Vec<u8>) -> bool {
    match value {
        JsonValue::Text(text) => bytes.extend_from_slice(text.as_bytes()),
        JsonValue::Array(_) => {
            let begin = bytes.len();
            for (number, element) in value.elements().enumerate() {
                match element {
                    JsonValue::Int(byte) => match u8::try_from(byte) {
                        Ok(byte) => bytes.push(byte),
                        Err(_) => return false,
                    },
                    // Of several values one may be bytes. There is no deeper.
                    JsonValue::Text(_) | JsonValue::Array(_) => {
                        if number > 0 {
                            bytes.push(b'\n');
                        }
                        let nested = element.elements().any(|it| matches!(it, JsonValue::Array(_)));
                        if nested || !text_of(&element, bytes) {
                            return false;
                        }
                    }
                    _ => return false,
                }
            }
            return bytes.len() > begin;
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_text_or_bytes_or_several() {
        let read = |line: &str| {
            let mut bytes = Vec::new();
            Journald::new().read(line.as_bytes(), &mut bytes).then_some(bytes)
        };
        for (line, message) in [
            (r#"{"MESSAGE":"one"}"#, Some(&b"one"[..])),
            (r#"{"MESSAGE":""}"#, Some(b"")),
            (r#"{"MESSAGE":"one\ntwo"}"#, Some(b"one\ntwo")),
            (r#"{"MESSAGE":[255,0,65]}"#, Some(b"\xff\x00A")),
            (r#"{"MESSAGE":["one",[116,255]]}"#, Some(b"one\nt\xff")),
            (r#"{"MESSAGE":null}"#, None),
            (r#"{"MESSAGE":[256]}"#, None),
            (r#"{"MESSAGE":[[[65]]]}"#, None),
            (r#"{"MESSAGE":{}}"#, None),
            (r#"{"PRIORITY":"6"}"#, None),
            ("one", None),
        ] {
            assert_eq!(read(line).as_deref(), message, "{line}");
        }
    }
}
