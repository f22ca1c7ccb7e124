//! Docker's `json-file`: an object a record, of which `log` is a line or a piece of one.

use std::borrow::Cow;

use memchr::memchr2;

use super::Streams;
use super::fields::json;
use crate::format::{Json, JsonMode, LineFormat};

const LOG: usize = 0;
const STREAM: usize = 1;

/// Reads records.
#[derive(Clone, Debug)]
pub(super) struct Docker(Option<Json>);

/// A record taken apart.
#[derive(Debug)]
pub(super) struct Record<'a> {
    pub(super) stream: Streams,
    /// Whether the line goes on in the next record of its stream.
    pub(super) is_part: bool,
    /// Without the LF that ends a line.
    pub(super) content: Cow<'a, str>,
}

impl Docker {
    pub(super) fn new() -> Self {
        Docker(
            json([("log", "log"), ("stream", "stream")]).map(|json| json.with_mode(JsonMode::DropMalformed)),
        )
    }

    pub(super) fn read<'a>(&mut self, line: &'a [u8]) -> Option<Record<'a>> {
        let record = self.0.as_mut()?.parse(line)?;
        let mut content = record.text(LOG)?;
        let stream = record.text(STREAM).map_or(Streams::STDOUT, |stream| Streams::named(stream.as_bytes()));
        let is_part = !content.ends_with('\n');
        if !is_part {
            content = match content {
                Cow::Borrowed(text) => Cow::Borrowed(&text[..text.len() - 1]),
                Cow::Owned(mut text) => {
                    text.pop();
                    Cow::Owned(text)
                }
            };
        }
        Some(Record { stream, is_part, content })
    }

    /// The stream of a record, and whether its line goes on: what [`read`](Self::read) says, without a look at all of it if it is
    /// laid out as Docker does.
    pub(super) fn piece(&mut self, line: &[u8]) -> Option<(Streams, bool)> {
        quick(line).or_else(|| self.read(line).map(|record| (record.stream, record.is_part)))
    }
}

/// `{"log":"…","stream":"…"`.
fn quick(line: &[u8]) -> Option<(Streams, bool)> {
    let text = line.strip_prefix(br#"{"log":""#)?;
    let (mut from, mut last) = (0, None);
    let end = loop {
        let at = from + memchr2(b'"', b'\\', text.get(from..)?)?;
        if text.get(at) == Some(&b'"') {
            break at;
        }
        last = Some(at);
        from = at + 2;
    };
    let ends = last.is_some_and(|at| at + 2 == end && text.get(at + 1) == Some(&b'n'));
    let stream = text.get(end..)?.strip_prefix(br#"","stream":""#)?;
    let stream = stream.split(|byte| *byte == b'"').next()?;
    matches!(stream, b"stdout" | b"stderr").then(|| (Streams::named(stream), !ends))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// A quick look finds what a whole one does.
        #[test]
        fn a_quick_look_is_right(text in r#"[a\\"n\n]{0,8}"#, stream in "stdout|stderr|other") {
            let line = format!(
                r#"{{"log":{},"stream":"{stream}","time":"2024-03-14T09:00:00Z"}}"#,
                serde_json::to_string(&text).expect("text")
            );
            let record = Docker::new().read(line.as_bytes()).map(|it| (it.stream, it.is_part));
            prop_assert!(record.is_some());
            let looked = quick(line.as_bytes());
            prop_assert!(looked.is_none() || looked == record, "{} {:?}", line, looked);
            prop_assert_eq!(looked.is_some(), stream != "other");
        }
    }

    #[test]
    fn what_is_no_record_is_none() {
        for line in ["", "{}", r#"{"log":7}"#, r#"{"log":"x\n""#, "text"] {
            assert!(Docker::new().read(line.as_bytes()).is_none(), "{line}");
        }
    }
}
