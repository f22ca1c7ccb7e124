//! Lines that container runtimes write for Kubernetes: `TIME STREAM TAGS CONTENT`, one space between each.

use memchr::memchr;

/// A record taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cri<'a> {
    pub(super) time: &'a [u8],
    pub(super) stream: &'a [u8],
    /// Whether the line goes on in the next record of its stream: the first of the tags, which colons separate, is `P`.
    pub(super) is_part: bool,
    pub(super) content: &'a [u8],
}

impl<'a> Cri<'a> {
    pub(super) fn read(line: &'a [u8]) -> Option<Self> {
        let (time, rest) = word(line)?;
        let (stream, rest) = word(rest)?;
        // A line that is empty may have lost its last space.
        let (tags, content) = word(rest).unwrap_or((rest, b""));
        let tag = tags.split(|byte| *byte == b':').next()?;
        let is_time = matches!(time, [b'0'..=b'9', ..]) && time.contains(&b'T');
        let is_stream = matches!(stream, b"stdout" | b"stderr");
        let is_part = tag == b"P";
        (is_time && is_stream && (is_part || tag == b"F")).then_some(Cri { time, stream, is_part, content })
    }
}

fn word(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr(b' ', bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_what_is_none() {
        let read = |line: &'static str| Cri::read(line.as_bytes());
        let whole = read("2016-10-06T00:17:09.669794202Z stdout P:x  a b ").expect("a record");
        assert_eq!((whole.stream, whole.is_part, whole.content), (&b"stdout"[..], true, &b" a b "[..]));
        for empty in ["2016-10-06T00:17:09Z stderr F", "2016-10-06T00:17:09Z stderr F "] {
            assert_eq!(read(empty).expect("a record").content, b"");
        }
        for none in [
            "",
            "now stdout F x",
            "2016-10-06T00:17:09Z stdin F x",
            "2016-10-06T00:17:09Z stdout X x",
            "a b c",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
