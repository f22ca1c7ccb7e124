//! Chunks: whole lines on their way from a source to the formats.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::PartitionId;
use crate::envelope::{Envelope, GivenUp};
use crate::time::Time;

/// A place in a source: which partition, and how far into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition's name as a person would write it, such as `file:data/access.log`.
    pub partition: Arc<str>,
    /// Bytes from the partition's beginning; for compressed files, of the decompressed bytes. Sources of messages count these.
    pub offset: u64,
}

/// The first bytes of a line that was too long, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversize {
    /// Where the line begins.
    pub place: Place,
    /// Its beginning, as far as [`Oversize::kept`] says, without its LF.
    pub sample: Vec<u8>,
}

impl Oversize {
    /// How much of a line is kept at least, in bytes.
    pub const SAMPLE: usize = 120;
    /// How much of a line is kept at most.
    const MOST: usize = 64 << 10;

    /// How many bytes are kept of a line that is longer than `max_line`: as many as have been seen of it by then, within
    /// bounds.
    ///
    /// ```
    /// use thalweg::source::Oversize;
    /// assert_eq!([10, 1000, 1 << 20].map(Oversize::kept), [120, 1002, 64 << 10]);
    /// ```
    pub fn kept(max_line: usize) -> usize {
        max_line.saturating_add(2).clamp(Self::SAMPLE, Self::MOST)
    }
}

/// A run of whole lines, contiguous in their partition.
///
/// A chunk holds the lines that *start* in its range of the source, so that every line is in one chunk. Lines end
/// at LF; one CR before it is dropped; bytes after the last LF are a line if there are any.
///
/// ```
/// use thalweg::source::Chunk;
/// let chunk = Chunk::from_bytes("test:", 100, b"one\r\n\ntwo");
/// let lines: Vec<_> = chunk.lines().collect();
/// assert_eq!(lines, [(100, &b"one"[..]), (105, &b""[..]), (106, &b"two"[..])]);
/// ```
#[derive(Debug)]
pub struct Chunk {
    /// Where the first line begins.
    pub place: Place,
    /// Bytes of the source that this chunk stands for, with its oversize lines; what progress bars count.
    pub consumed: u64,
    /// Lines of this range that were too long and are not among its bytes.
    pub oversize: Vec<Oversize>,
    /// When it arrived: the runtime says so when it feeds the chunk to the dataflow.
    pub arrived: Time,
    /// The number of its partition; whoever feeds the chunk to the dataflow says so.
    pub partition: PartitionId,
    /// The first bytes of its partition, as [`Source::head`](super::Source::head) has them; likewise.
    pub head: Arc<[u8]>,
    /// Which input of the dataflow it is for; likewise.
    pub input: u32,
    /// What is around its lines, and peeled off before they are read.
    pub envelope: Option<Envelope>,
    /// The lines within it that were given up where it begins or ends.
    pub given_up: GivenUp,
    /// Whether its lines go together: the offset of none but the first says how far its source has been read.
    pub whole: bool,
    buffer: Buffer,
    start: usize,
    end: usize,
    /// Which of the buffer's numbers was looked up last: lines are asked for in order.
    last: Cell<usize>,
}

impl Chunk {
    /// So many bytes are few.
    const SMALL: usize = 64 << 10;

    /// A chunk of the lines in `buffer[start .. end]`, the first of which begins at `place`.
    ///
    /// Their offsets are counted in bytes, unless the buffer has [numbers](Buffer::number) for them.
    pub fn new(place: Place, buffer: Buffer, start: usize, end: usize) -> Self {
        assert!(start <= end && end <= buffer.bytes.len(), "chunk {start}..{end} of {}", buffer.bytes.len());
        Chunk {
            place,
            consumed: (end - start) as u64,
            oversize: Vec::new(),
            arrived: Time(0),
            partition: PartitionId::default(),
            head: Arc::default(),
            input: 0,
            envelope: None,
            given_up: GivenUp::default(),
            whole: false,
            buffer,
            start,
            end,
            last: Cell::new(0),
        }
    }

    /// A chunk of `bytes`, for tests and for sources that have no buffers to recycle.
    pub fn from_bytes(partition: &str, offset: u64, bytes: &[u8]) -> Self {
        let place = Place { partition: partition.into(), offset };
        let buffer = Buffer::of(bytes);
        Chunk::new(place, buffer, 0, bytes.len())
    }

    /// The bytes of all lines, with their line ends.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer.bytes[self.start..self.end]
    }

    /// The bytes of all lines, and those that the buffer holds behind them, which mean nothing: a parser may read a
    /// little beyond the last line.
    pub fn readable(&self) -> &[u8] {
        &self.buffer.bytes[self.start..]
    }

    /// Takes in `next` if it follows at once and is small; returns whether it did.
    ///
    /// What waits may have come a line at a time, and each has a buffer that may be thousands of times as large.
    pub(crate) fn append(&mut self, next: &Chunk) -> bool {
        let (here, more) = (self.bytes().len(), next.bytes().len());
        let follows = next.place.offset == self.place.offset + here as u64 || more == 0;
        // Lines with numbers are messages, of which many have come together anyhow.
        let plain = self.buffer.numbers.is_empty() && next.buffer.numbers.is_empty();
        let whole = plain && self.oversize.is_empty() && next.oversize.is_empty();
        let given_up = [self.given_up, next.given_up];
        let alike = self.envelope == next.envelope && given_up == [GivenUp::default(); 2];
        // What was taken off it is still there before its lines.
        if !(follows && whole && alike && self.end + more <= Self::SMALL) {
            return false;
        }
        self.consumed += next.consumed;
        let end = self.end + more;
        self.buffer.room(end)[self.end..].copy_from_slice(next.bytes());
        self.end = end;
        true
    }

    /// Whether its lines have [numbers](Buffer::number), and the offset of none is that of its bytes.
    pub(crate) fn is_numbered(&self) -> bool {
        !self.buffer.numbers.is_empty()
    }

    /// Where lines begin in [`bytes`](Self::bytes) that are not counted in bytes, and their offsets.
    pub(crate) fn numbers(&self) -> Vec<(usize, u64)> {
        let of_these = self.buffer.numbers.iter().filter(|(begin, _)| (self.start..self.end).contains(begin));
        of_these.map(|(begin, number)| (begin - self.start, *number)).collect()
    }

    /// Takes the first `lines` lines off it, and what is [oversize](Self::oversize) before the next; `None`, and it stays as it is,
    /// if it has no more than these, or its lines go together.
    pub(crate) fn take_lines(&mut self, lines: u64, pool: &Pool) -> Option<Chunk> {
        // What is in pieces was cut where no line is.
        let has_pieces = self.envelope.is_some_and(|envelope| envelope.kind.has_pieces());
        if self.whole || has_pieces || self.given_up != GivenUp::default() {
            return None;
        }
        let ends = memchr::memchr_iter(b'\n', self.bytes());
        let len = match lines.checked_sub(1) {
            Some(before) => ends.skip(usize::try_from(before).ok()?).map(|end| end + 1).next()?,
            None => 0,
        };
        if len == self.bytes().len() {
            return None;
        }
        let next = self.offset_of(len);
        let mut buffer = pool.take();
        buffer.room(len).copy_from_slice(&self.bytes()[..len]);
        let of_these =
            self.buffer.numbers.iter().filter(|(begin, _)| (self.start..self.start + len).contains(begin));
        buffer.numbers.extend(of_these.map(|(begin, number)| (begin - self.start, *number)));
        let mut taken = Chunk { envelope: self.envelope, ..Chunk::new(self.place.clone(), buffer, 0, len) };
        let (before, behind) =
            std::mem::take(&mut self.oversize).into_iter().partition(|it| it.place.offset < next);
        (taken.oversize, self.oversize) = (before, behind);
        // With what is left goes what its own lines have, and with the first all else.
        let left = self.consumed.min((self.bytes().len() - len) as u64);
        taken.consumed = std::mem::replace(&mut self.consumed, left) - left;
        self.place.offset = next;
        self.start += len;
        Some(taken)
    }

    /// Each line with the offset at which it begins, without its LF or CR LF.
    pub fn lines(&self) -> Lines<'_> {
        Lines { chunk: self, position: 0 }
    }

    /// The offset of the line in which the byte at `position` of [`bytes`](Self::bytes) is: that of the byte itself, unless the buffer
    /// has [numbers](Buffer::number).
    ///
    /// ```
    /// use thalweg::source::{Chunk, Place, Pool};
    /// let place = |offset| Place { partition: "test:".into(), offset };
    /// assert_eq!(Chunk::from_bytes("test:", 100, b"one\ntwo\n").offset_of(4), 104);
    /// // Messages, each of which is a line.
    /// let mut buffer = Pool::default().take();
    /// buffer.room(8).copy_from_slice(b"one\ntwo\n");
    /// buffer.number(0, 17);
    /// buffer.number(4, 19);
    /// let chunk = Chunk::new(place(17), buffer, 0, 8);
    /// assert_eq!([0, 3, 4, 7].map(|position| chunk.offset_of(position)), [17, 17, 19, 19]);
    /// assert_eq!(chunk.lines().collect::<Vec<_>>(), [(17, &b"one"[..]), (19, b"two")]);
    /// ```
    #[inline]
    pub fn offset_of(&self, position: usize) -> u64 {
        if self.buffer.numbers.is_empty() {
            return self.place.offset + position as u64;
        }
        self.number_of(position)
    }

    fn number_of(&self, position: usize) -> u64 {
        let (numbers, at) = (&self.buffer.numbers, self.start + position);
        let is_it = |it: usize| {
            numbers.get(it).is_some_and(|(begin, _)| *begin <= at)
                && numbers.get(it + 1).is_none_or(|(next, _)| *next > at)
        };
        let last = self.last.get();
        let found = [last, last + 1].into_iter().find(|it| is_it(*it));
        let found =
            found.unwrap_or_else(|| numbers.partition_point(|(begin, _)| *begin <= at).saturating_sub(1));
        self.last.set(found);
        numbers.get(found).map_or(self.place.offset, |(_, offset)| *offset)
    }
}

/// The lines of a [`Chunk`].
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    chunk: &'a Chunk,
    position: usize,
}

impl<'a> Iterator for Lines<'a> {
    type Item = (u64, &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.chunk.bytes()[self.position..];
        if rest.is_empty() {
            return None;
        }
        let offset = self.chunk.offset_of(self.position);
        let (line, taken) = match memchr::memchr(b'\n', rest) {
            Some(at) => (&rest[..at], at + 1),
            None => (rest, rest.len()),
        };
        self.position += taken;
        Some((offset, line.strip_suffix(b"\r").unwrap_or(line)))
    }
}

/// Bytes that go back to their [`Pool`] when dropped.
pub struct Buffer {
    /// The bytes; a source fills them, and may let them grow.
    pub bytes: Vec<u8>,
    /// Where lines begin that are not counted in bytes, and their offsets.
    numbers: Vec<(usize, u64)>,
    pool: Option<Pool>,
}

impl Buffer {
    /// A copy of `bytes`, of no pool.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Buffer { bytes: bytes.to_vec(), numbers: Vec::new(), pool: None }
    }

    /// The line that begins at `position` has `offset`, of whatever its source counts; lines are numbered in order, all or none.
    ///
    /// See [`Chunk::offset_of`].
    pub fn number(&mut self, position: usize, offset: u64) {
        self.numbers.push((position, offset));
    }

    /// The first `len` bytes, to be written to: they hold whatever the last use of the buffer left in them.
    ///
    /// ```
    /// let mut buffer = thalweg::source::Pool::default().take();
    /// buffer.room(3).copy_from_slice(b"one");
    /// assert_eq!(buffer.bytes, b"one");
    /// ```
    pub fn room(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        &mut self.bytes[..len]
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the bytes: there may be a million, and they may be anyone's log lines.
        f.debug_struct("Buffer").field("len", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.put(std::mem::take(&mut self.bytes), std::mem::take(&mut self.numbers));
        }
    }
}

/// Recycled buffers of one worker, so that reading allocates nothing once it is under way.
///
/// Fresh large allocations come from the kernel page by page and cost as much as reading into them.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    free: Rc<RefCell<Vec<Recycled>>>,
}

/// The memory of a buffer, and of its numbers.
type Recycled = (Vec<u8>, Vec<(usize, u64)>);

impl Pool {
    /// Buffers kept at most; more are freed.
    const KEPT: usize = 8;
    /// A buffer that grew beyond this many bytes (a very long line) is freed rather than kept.
    const LARGEST: usize = 4 << 20;

    /// A buffer, recycled if there is one: its length and bytes are those of its last use.
    pub fn take(&self) -> Buffer {
        let (bytes, numbers) = self.free.borrow_mut().pop().unwrap_or_default();
        Buffer { bytes, numbers, pool: Some(self.clone()) }
    }

    fn put(&self, mut bytes: Vec<u8>, mut numbers: Vec<(usize, u64)>) {
        let mut free = self.free.borrow_mut();
        if free.len() < Self::KEPT && bytes.capacity() <= Self::LARGEST {
            // Length is kept: zeroing on every reuse would cost as much as the copy from the page cache.
            if bytes.len() > Self::LARGEST {
                bytes.truncate(Self::LARGEST);
            }
            numbers.clear();
            if numbers.capacity() * size_of::<(usize, u64)>() > Self::LARGEST {
                numbers = Vec::new();
            }
            free.push((bytes, numbers));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(chunk: &Chunk) -> Vec<(u64, String)> {
        chunk.lines().map(|(offset, line)| (offset, String::from_utf8_lossy(line).into_owned())).collect()
    }

    #[test]
    fn small_chunks_that_follow_one_another_become_one() {
        let mut chunk = Chunk::from_bytes("test:", 10, b"one\n");
        assert!(chunk.append(&Chunk::from_bytes("test:", 14, b"two\n")));
        assert!(chunk.append(&Chunk::from_bytes("test:", 18, b"")), "bytes without a line");
        assert_eq!(text(&chunk), [(10, "one".to_owned()), (14, "two".to_owned())]);
        assert_eq!(chunk.consumed, 8);

        let gap = Chunk::from_bytes("test:", 19, b"three\n");
        let large = Chunk::from_bytes("test:", 18, &[b'\n'; Chunk::SMALL]);
        let mut long = Chunk::from_bytes("test:", 18, b"");
        long.oversize.push(Oversize { place: long.place.clone(), sample: Vec::new() });
        for other in [gap, large, long] {
            assert!(!chunk.append(&other), "{other:?}");
        }
        assert_eq!((text(&chunk).len(), chunk.consumed), (2, 8));
    }
    #[test]
    fn lines_are_taken_off_one_after_the_other() {
        let pool = Pool::default();
        let mut chunk = Chunk::from_bytes("test:", 10, b"one\n\nthree\nfour");
        let long =
            |offset| Oversize { place: Place { partition: "test:".into(), offset }, sample: Vec::new() };
        (chunk.consumed, chunk.oversize) = (500, vec![long(14), long(400)]);
        let two = chunk.take_lines(2, &pool).expect("there are more");
        assert_eq!(text(&two), [(10, "one".to_owned()), (14, String::new())]);
        assert_eq!((two.oversize.len(), two.consumed, chunk.consumed), (1, 490, 10));
        assert_eq!(chunk.take_lines(0, &pool).map(|none| text(&none)), Some(Vec::new()));
        assert!(chunk.take_lines(2, &pool).is_none(), "all of it");
        assert_eq!(text(&chunk.take_lines(1, &pool).expect("one more")), [(15, "three".to_owned())]);
        assert_eq!(text(&chunk), [(21, "four".to_owned())]);
        assert_eq!(chunk.oversize.len(), 1);

        let mut buffer = Pool::default().take();
        buffer.room(10).copy_from_slice(b"--one\ntwo\n");
        [(2, 17), (6, 19)].into_iter().for_each(|(begin, number)| buffer.number(begin, number));
        let place = Place { partition: "test:".into(), offset: 17 };
        let mut chunk = Chunk::new(place, buffer, 2, 10);
        let one = chunk.take_lines(1, &pool).expect("there is another");
        assert_eq!(text(&one), [(17, "one".to_owned())]);
        assert_eq!((chunk.place.offset, text(&chunk)), (19, vec![(19, "two".to_owned())]));
    }
}
