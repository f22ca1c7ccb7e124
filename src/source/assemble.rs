//! Whole lines out of bytes that arrive in pieces.
//!
//! An [`Assembler`] holds the bytes of one partition that are not yet given, and gives them as [`Chunk`]s of whole
//! lines. All sources share it; it knows neither where bytes come from nor when an epoch ends. Each source fills it
//! ([`space`](Assembler::space), [`filled`](Assembler::filled), [`end`](Assembler::end)) and takes lines up to an
//! offset ([`take`](Assembler::take)).
//!
//! Three questions have the same answer here. *Where does the first line of a range begin?* A range that begins in
//! the middle of a file is read from the byte before it, as if in the middle of a line: what comes up to the next
//! LF belongs to someone else. *What of a line that is too long?* Once it is reported, the rest of it is just that:
//! the middle of a line that is not wanted, dropped at the speed of memchr. *Where does a range end?* With the last
//! line that starts before the limit, however far the line itself goes on.

use std::sync::Arc;

use memchr::{memchr, memrchr};

use crate::source::chunk::{Buffer, Chunk, Oversize, Place, Pool};

/// Where bytes begin in a buffer: half a page in.
///
/// Large buffers begin at a page and so do the pages of a file in the system's cache; a copy between two places of almost the
/// same offset in their pages goes a third slower, as each load seems to wait for the store just before it (measured:
/// 83 µs for 516 KiB without, 55 µs with; 6 % of `access-log -w 1`).
const LEAD: usize = 2048;

/// Fewer bytes than this have a buffer of their size, where one of the pool would be several times as large.
const LITTLE: usize = 64 << 10;

/// The bytes of one partition that have been read and not yet given.
///
/// Between calls it holds at most one unfinished line that may still be short enough, and what was filled since:
/// memory is bounded by `max_line` and one filling, whatever the input.
#[derive(Debug)]
pub(super) struct Assembler {
    partition: Arc<str>,
    max_line: usize,
    /// Holds the bytes at `start..end`; the rest is stale.
    buffer: Option<Buffer>,
    /// Holds them while there is no buffer: what was behind the lines that were given with theirs.
    tail: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset in the partition of the byte at `start`.
    offset: u64,
    /// The bytes at `start` are inside a line that is not to be given.
    skipping: bool,
    /// No byte comes after those held.
    ended: bool,
}

/// What lies at the front of the held bytes.
struct Cut {
    /// So many bytes are whole lines, short enough, that start before the limit.
    lines: usize,
    /// The line after those starts before the limit and is too long.
    oversize: bool,
}

impl Assembler {
    /// Stands at the beginning of `partition`, where a line begins.
    pub(super) fn new(partition: Arc<str>, max_line: usize) -> Self {
        Assembler {
            partition,
            max_line,
            buffer: None,
            tail: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            skipping: false,
            ended: false,
        }
    }

    /// Drops what is held and goes to `offset`, which is inside a line of someone else's or begins one of ours.
    pub(super) fn seek(&mut self, offset: u64, inside_line: bool) {
        (self.start, self.end) = (0, 0);
        self.offset = offset;
        self.skipping = inside_line;
        self.ended = false;
    }

    /// The partition that the bytes are from.
    pub(super) fn partition(&self) -> &Arc<str> {
        &self.partition
    }

    /// Offset up to which everything has been given or dropped.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Offset of the byte that is to be filled in next.
    pub(super) fn filled_to(&self) -> u64 {
        self.offset + (self.end - self.start) as u64
    }

    /// Room for `len` more bytes; what is put there counts from the call of [`filled`](Self::filled) on.
    pub(super) fn space(&mut self, len: usize, pool: &Pool) -> &mut [u8] {
        let held = self.end - self.start;
        let buffer = match &mut self.buffer {
            Some(buffer) => {
                if held > 0 && self.start != LEAD {
                    buffer.room(LEAD + held);
                    buffer.bytes.copy_within(self.start..self.end, LEAD);
                }
                buffer
            }
            empty => {
                let buffer = empty.insert(pool.take());
                buffer.room(LEAD + held)[LEAD..].copy_from_slice(&self.tail[self.start..self.end]);
                buffer
            }
        };
        (self.start, self.end) = (LEAD, LEAD + held);
        &mut buffer.room(LEAD + held + len)[LEAD + held..]
    }

    /// The first `len` bytes of the room have been filled.
    pub(super) fn filled(&mut self, len: usize) {
        self.end += len;
    }

    /// Gives the buffer back and keeps what it holds, which is no more than part of a line: nothing comes for a while, and there may
    /// be thousands of these.
    pub(super) fn give_back(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.tail.clear();
            self.tail.extend_from_slice(&buffer.bytes[self.start..self.end]);
            if self.tail.capacity() > LITTLE {
                self.tail.shrink_to_fit();
            }
            (self.start, self.end) = (0, self.tail.len());
        }
    }

    /// No byte comes after those filled in; what follows the last LF is a line.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Whether the partition has ended.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// The next run of lines that start before `limit`.
    ///
    /// `None` when there is nothing to give: every line that starts before `limit` has been given if
    /// [`offset`](Self::offset) has reached it or the partition has ended, and otherwise more bytes are needed.
    pub(super) fn take(&mut self, limit: u64, pool: &Pool) -> Option<Chunk> {
        let mut oversize = Vec::new();
        loop {
            if self.skipping {
                self.skip();
            }
            let cut = self.cut(limit);
            if cut.lines > 0 {
                let mut chunk = self.give(cut.lines, pool);
                chunk.oversize = oversize;
                return Some(chunk);
            }
            if !cut.oversize {
                break;
            }
            oversize.push(Oversize { place: self.place(), sample: sample(self.held(), self.max_line) });
            self.skipping = true;
        }
        (!oversize.is_empty()).then(|| {
            let mut chunk = self.nothing(pool);
            chunk.oversize = oversize;
            chunk
        })
    }

    /// A chunk without lines, for bytes that have none.
    pub(super) fn nothing(&self, pool: &Pool) -> Chunk {
        Chunk::new(self.place(), pool.take(), 0, 0)
    }

    fn place(&self) -> Place {
        Place { partition: self.partition.clone(), offset: self.offset }
    }

    fn held(&self) -> &[u8] {
        let bytes = self.buffer.as_ref().map_or(&self.tail, |buffer| &buffer.bytes);
        &bytes[self.start..self.end]
    }

    fn advance(&mut self, len: usize) {
        self.start += len;
        self.offset += len as u64;
    }

    /// Drops the rest of the line that is not wanted, as far as it is here.
    fn skip(&mut self) {
        match memchr(b'\n', self.held()) {
            Some(at) => {
                self.advance(at + 1);
                self.skipping = false;
            }
            None => self.advance(self.end - self.start),
        }
    }

    /// Finds how far whole lines go, looking only at the bytes around the limit and, where lines may be too long,
    /// around every `max_line`-th.
    fn cut(&self, limit: u64) -> Cut {
        let limit = usize::try_from(limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let held = if self.skipping { &[] } else { self.held() };
        // So many bytes without an LF tell that a line is too long even if a CR LF follows, and suffice for a sample.
        let enough = self.max_line.saturating_add(2).max(Oversize::SAMPLE);
        let mut at = 0;
        while at < limit.min(held.len()) {
            // An LF in this window ends a line that is short enough, as does every LF before it, so only the last
            // one matters; and the line after it starts before the limit.
            let window = at.saturating_add(self.max_line).saturating_add(1).min(limit - 1).min(held.len());
            if let Some(lf) = memrchr(b'\n', &held[at..window]) {
                at += lf + 1;
                continue;
            }
            let reach = at.saturating_add(enough).min(held.len());
            let (line, next) = match memchr(b'\n', &held[window..reach]) {
                Some(lf) => (&held[at..window + lf], window + lf + 1),
                None if self.ended || reach - at == enough => (&held[at..reach], reach),
                None => break,
            };
            if line.strip_suffix(b"\r").unwrap_or(line).len() > self.max_line {
                return Cut { lines: at, oversize: true };
            }
            at = next;
        }
        Cut { lines: at, oversize: false }
    }

    /// Gives the first `len` bytes held. Of them and the bytes behind them, the fewer are copied.
    ///
    /// A buffer that is given away leaves none behind: it is back in the pool when the next bytes are read, so that one
    /// buffer stays in the processor's cache instead of two taking turns.
    fn give(&mut self, len: usize, pool: &Pool) -> Chunk {
        let place = self.place();
        let (from, to) = (self.start, self.start + len);
        self.advance(len);
        let rest = self.end - self.start;
        // Few bytes do not take a large buffer with them: they may wait, as the first line of each of thousands of files does.
        let is_little = |buffer: &Buffer| len < LITTLE && buffer.bytes.len() / 8 > len;
        match self.buffer.take_if(|buffer| rest <= len && !is_little(buffer)) {
            Some(buffer) => {
                self.tail.clear();
                self.tail.extend_from_slice(&buffer.bytes[to..self.end]);
                (self.start, self.end) = (0, rest);
                Chunk::new(place, buffer, from, to)
            }
            None => {
                let bytes = self.buffer.as_ref().map_or(&self.tail, |buffer| &buffer.bytes);
                if len < LITTLE {
                    let chunk = Chunk::new(place, Buffer::of(&bytes[from..to]), 0, len);
                    if rest < LITTLE {
                        self.give_back();
                    }
                    return chunk;
                }
                let mut copy = pool.take();
                copy.room(len).copy_from_slice(&bytes[from..to]);
                Chunk::new(place, copy, 0, len)
            }
        }
    }
}

/// What is kept of the line that `bytes` begins with, and that is longer than `max_line`.
fn sample(bytes: &[u8], max_line: usize) -> Vec<u8> {
    let bytes = &bytes[..bytes.len().min(Oversize::kept(max_line))];
    bytes[..memchr(b'\n', bytes).unwrap_or(bytes.len())].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_gibibyte_is_one_report_in_bounded_memory() {
        const MAX_LINE: usize = 1 << 20;
        const BLOCK: usize = 256 << 10;
        let pool = Pool::default();
        let mut assembler = Assembler::new("test:".into(), MAX_LINE);
        let (mut lines, mut oversize, mut retained) = (Vec::new(), Vec::new(), 0);
        let mut feed = |assembler: &mut Assembler, bytes: &[u8]| {
            assembler.space(bytes.len(), &pool).copy_from_slice(bytes);
            assembler.filled(bytes.len());
            while let Some(chunk) = assembler.take(u64::MAX, &pool) {
                lines.extend(chunk.lines().map(|(offset, line)| (offset, line.to_vec())));
                oversize.extend(chunk.oversize.iter().map(|line| (line.place.offset, line.sample.len())));
            }
            retained = retained.max(assembler.buffer.as_ref().map_or(0, |buffer| buffer.bytes.capacity()));
        };
        feed(&mut assembler, b"before\n");
        let block = vec![b'x'; BLOCK];
        for _ in 0..(1 << 30) / BLOCK {
            feed(&mut assembler, &block);
        }
        feed(&mut assembler, b"\nafter");
        assembler.end();
        feed(&mut assembler, b"");
        assert_eq!(lines, [(0, b"before".to_vec()), (7 + (1 << 30) + 1, b"after".to_vec())]);
        assert_eq!(oversize, [(7, Oversize::kept(MAX_LINE))]);
        assert!(retained <= 2 * (MAX_LINE + BLOCK), "retained {retained} bytes");
    }

    #[test]
    fn a_line_is_too_long_by_its_content_and_not_by_its_line_end() {
        for (bytes, expected) in [
            (&b"abc\r\nabc\nabc"[..], (3, 0)),
            (b"abc\r\r\nabcd\nabc\r", (1, 2)),
            (b"abcd\r\nabc\r\n\r\n", (2, 1)),
            (b"abc\rabc", (0, 1)),
        ] {
            let mut found = (0, 0);
            let pool = Pool::default();
            let mut assembler = Assembler::new("test:".into(), 3);
            for byte in bytes {
                assembler.space(1, &pool)[0] = *byte;
                assembler.filled(1);
                if assembler.filled_to() == bytes.len() as u64 {
                    assembler.end();
                }
                while let Some(chunk) = assembler.take(u64::MAX, &pool) {
                    found.0 += chunk.lines().count();
                    found.1 += chunk.oversize.len();
                }
            }
            assert_eq!(found, expected, "{}", bytes.escape_ascii());
        }
    }
}
