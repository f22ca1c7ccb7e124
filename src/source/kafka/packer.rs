//! Messages to lines, many in a chunk.
//!
//! A line's offset is that of its message, so that it is the same however messages came to be in chunks. Where a message has several
//! lines it is [`LINES`] times that, and the line's number within the message more: these are in order, too, and no two are alike.

use std::sync::Arc;

use memchr::memchr;

use super::options::Framing;
use crate::source::{Buffer, Chunk, Oversize, Place, Pool};

/// So many lines of a message have offsets of their own; those that follow share the last.
const LINES: u64 = 1 << 20;
/// Messages without a line that are looked at without a pause.
const PAUSE: u64 = 1 << 16;

/// How messages become lines.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) partition: Arc<str>,
    pub(super) framing: Framing,
    pub(super) max_line: usize,
    /// Bytes of a chunk, about.
    pub(super) chunk_bytes: usize,
}

/// A chunk under way.
pub(super) struct Packer<'a> {
    rules: &'a Rules,
    buffer: Buffer,
    end: usize,
    /// The offset of the first message.
    first: Option<u64>,
    messages: u64,
    consumed: u64,
    oversize: Vec<Oversize>,
}

impl<'a> Packer<'a> {
    pub(super) fn new(rules: &'a Rules, pool: &Pool) -> Self {
        // No room beforehand: of a thousand partitions that have a message each, none takes a whole chunk.
        Packer {
            rules,
            buffer: pool.take(),
            end: 0,
            first: None,
            messages: 0,
            consumed: 0,
            oversize: Vec::new(),
        }
    }

    /// Whether it is time to hand it on.
    pub(super) fn is_full(&self) -> bool {
        self.consumed >= self.rules.chunk_bytes as u64 || self.messages >= PAUSE
    }

    /// Adds a message; one without a payload has no line.
    pub(super) fn add(&mut self, offset: u64, payload: Option<&[u8]>) {
        self.first.get_or_insert(offset);
        self.messages += 1;
        let Some(payload) = payload else { return };
        self.consumed += payload.len() as u64 + 1;
        // Whoever sends lines may leave their ends on them.
        let payload = payload.strip_suffix(b"\n").unwrap_or(payload);
        match self.rules.framing {
            Framing::Message => {
                let begin = self.end;
                if self.line(offset, payload) {
                    one_line(&mut self.buffer.bytes[begin..begin + payload.len()]);
                }
            }
            Framing::Lines => {
                for (number, line) in (0..).zip(payload.split(|byte| *byte == b'\n')) {
                    self.line(offset.saturating_mul(LINES).saturating_add(LINES.min(number + 1) - 1), line);
                }
            }
        }
    }

    /// Adds a line, if it is not too long.
    fn line(&mut self, offset: u64, line: &[u8]) -> bool {
        let Rules { partition, max_line, .. } = self.rules;
        if line.strip_suffix(b"\r").unwrap_or(line).len() > *max_line {
            let place = Place { partition: Arc::clone(partition), offset };
            let sample = line[..line.len().min(Oversize::kept(*max_line))].to_vec();
            self.oversize.push(Oversize { place, sample });
            return false;
        }
        let next = self.end + line.len() + 1;
        // Twice, so that it is not moved for each message where one chunk has to be larger than others.
        if self.buffer.bytes.len() < next {
            self.buffer.room(next.saturating_mul(2));
        }
        self.buffer.number(self.end, offset);
        self.buffer.bytes[self.end..next - 1].copy_from_slice(line);
        self.buffer.bytes[next - 1] = b'\n';
        self.end = next;
        true
    }

    /// The chunk, if anything was added.
    pub(super) fn finish(self) -> Option<Chunk> {
        let place = Place { partition: Arc::clone(&self.rules.partition), offset: self.first? };
        let mut chunk = Chunk::new(place, self.buffer, 0, self.end);
        chunk.consumed = self.consumed;
        chunk.oversize = self.oversize;
        // Lines have numbers within their messages, and only these are offsets.
        chunk.whole = self.rules.framing == Framing::Lines;
        Some(chunk)
    }
}

/// Makes a line of a message that has several, such as JSON that is laid out: what ends one becomes a space.
fn one_line(message: &mut [u8]) {
    let mut at = 0;
    while let Some(lf) = memchr(b'\n', &message[at..]) {
        at += lf;
        message[at] = b' ';
        if let Some(cr) =
            at.checked_sub(1).map(|before| &mut message[before]).filter(|before| **before == b'\r')
        {
            *cr = b' ';
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(framing: Framing, messages: &[(u64, Option<&[u8]>)]) -> Option<Chunk> {
        let rules = Rules { partition: "kafka:t/0".into(), framing, max_line: 8, chunk_bytes: 16 };
        let mut packer = Packer::new(&rules, &Pool::default());
        messages.iter().for_each(|(offset, payload)| packer.add(*offset, *payload));
        packer.finish()
    }

    fn lines(chunk: &Chunk) -> Vec<(u64, &str)> {
        chunk.lines().map(|(offset, line)| (offset, std::str::from_utf8(line).unwrap_or("?"))).collect()
    }

    #[test]
    fn each_message_is_a_line_with_its_offset() {
        let messages: [(u64, Option<&[u8]>); 7] = [
            (7, Some(b"one")),
            (8, None),
            (9, Some(b"two\n")),
            (12, Some(b"{\r\n \n}\r\n")),
            (13, Some(b"")),
            (14, Some(b"too long a line")),
            (15, Some(b"last")),
        ];
        let chunk = pack(Framing::Message, &messages).expect("a chunk");
        assert_eq!(lines(&chunk), [(7, "one"), (9, "two"), (12, "{    }"), (13, ""), (15, "last")]);
        assert_eq!((chunk.place.offset, chunk.oversize.len()), (7, 1));
        assert_eq!(
            (chunk.oversize[0].place.offset, &chunk.oversize[0].sample[..]),
            (14, &b"too long a line"[..])
        );
    }

    #[test]
    fn a_message_of_lines_gives_each_its_place() {
        let messages: [(u64, Option<&[u8]>); 2] = [(3, Some(b"one\ntwo\r\n\nthree")), (4, Some(b"four\n"))];
        let chunk = pack(Framing::Lines, &messages).expect("a chunk");
        let three = 3 * LINES;
        let expected =
            [(three, "one"), (three + 1, "two"), (three + 2, ""), (three + 3, "three"), (4 * LINES, "four")];
        assert_eq!(lines(&chunk), expected);
        assert_eq!(chunk.place.offset, 3);
    }

    #[test]
    fn nothing_is_no_chunk_and_a_message_without_payload_is_an_empty_one() {
        assert!(pack(Framing::Message, &[]).is_none());
        let chunk = pack(Framing::Message, &[(5, None)]).expect("a chunk");
        assert_eq!((chunk.place.offset, chunk.bytes()), (5, &b""[..]));
    }
}
