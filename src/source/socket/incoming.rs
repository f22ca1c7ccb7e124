//! Lines out of what a connection brings.

use std::io::{ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memrchr;

use crate::source::assemble::Assembler;
use crate::source::{Chunk, Pool};

/// How many bytes are read at once, and how many of an unfinished line are held back from the assembler.
const BLOCK: usize = 64 << 10;

/// The buffer of an unfinished line is freed after the line if it is larger than this.
const SMALL: usize = 4 << 10;

/// The buffer that all connections of a source are read into, one at a time: each keeps only what was read.
#[derive(Clone, Debug)]
pub(super) struct Scratch(Arc<Mutex<Box<[u8]>>>);

impl Default for Scratch {
    fn default() -> Self {
        Scratch(Arc::new(Mutex::new(vec![0; BLOCK].into_boxed_slice())))
    }
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// So many bytes; none if there is more to look at, and it took long enough.
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The end of the connection, in order or not.
    End,
}

/// The lines of one partition, as bytes come.
///
/// Of a line that has not ended only its bytes are kept, and nobody looks at them again until it ends or there are many: thousands of
/// connections that each send a byte at a time cost little.
#[derive(Debug)]
pub(super) struct Incoming {
    assembler: Assembler,
    scratch: Scratch,
    /// The beginning of a line, as far as the assembler does not have it.
    rest: Vec<u8>,
    /// Whether a line has begun and not ended.
    in_line: bool,
    /// Bytes that have come and that no chunk has accounted for.
    arrived: u64,
}

impl Incoming {
    pub(super) fn new(partition: Arc<str>, max_line: usize, scratch: Scratch) -> Self {
        let assembler = Assembler::new(partition, max_line);
        Incoming { assembler, scratch, rest: Vec::new(), in_line: false, arrived: 0 }
    }

    /// Reads `most` bytes at most.
    pub(super) fn read(&mut self, mut input: impl Read, most: u64, pool: &Pool) -> Came {
        let scratch = self.scratch.clone();
        let mut scratch = scratch.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(scratch.len());
        match input.read(&mut scratch[..most]) {
            Ok(0) => Came::End,
            Ok(len) => {
                self.take_in(&scratch[..len], pool);
                Came::Bytes(len)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Came::Bytes(0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Came::Nothing,
            Err(error) => {
                log::debug!("{}: the connection broke: {error}", self.assembler.partition());
                Came::End
            }
        }
    }

    fn take_in(&mut self, bytes: &[u8], pool: &Pool) {
        self.arrived += bytes.len() as u64;
        self.in_line = bytes.last().is_some_and(|last| *last != b'\n');
        let whole = memrchr(b'\n', bytes).map_or(0, |lf| lf + 1);
        let (lines, rest) = bytes.split_at(whole);
        if whole > 0 {
            self.hand_over(lines, pool);
        }
        self.rest.extend_from_slice(rest);
        if self.rest.len() >= BLOCK {
            self.hand_over(&[], pool);
        }
    }

    /// Hands the rest over to the assembler, and `bytes` that follow it.
    fn hand_over(&mut self, bytes: &[u8], pool: &Pool) {
        let (rest, len) = (self.rest.len(), self.rest.len() + bytes.len());
        let space = self.assembler.space(len, pool);
        space[..rest].copy_from_slice(&self.rest);
        space[rest..len].copy_from_slice(bytes);
        self.assembler.filled(len);
        self.rest.clear();
        if self.rest.capacity() > SMALL {
            self.rest = Vec::new();
        }
    }

    /// The line that has begun ends here, as if by an LF.
    pub(super) fn end_line(&mut self, pool: &Pool) {
        if std::mem::take(&mut self.in_line) {
            self.hand_over(b"\n", pool);
        }
    }

    /// Nothing more comes; what has no LF is a line.
    pub(super) fn end(&mut self, pool: &Pool) {
        if !self.rest.is_empty() {
            self.hand_over(&[], pool);
        }
        self.in_line = false;
        self.assembler.end();
    }

    /// The next lines that start before `upto`.
    pub(super) fn take(&mut self, upto: u64, pool: &Pool) -> Option<Chunk> {
        let chunk = self.assembler.take(upto, pool)?;
        Some(self.account(chunk))
    }

    /// A chunk without lines, for bytes that have none.
    pub(super) fn nothing(&mut self, pool: &Pool) -> Chunk {
        let chunk = self.assembler.nothing(pool);
        self.account(chunk)
    }

    fn account(&mut self, mut chunk: Chunk) -> Chunk {
        chunk.consumed = std::mem::take(&mut self.arrived);
        chunk
    }

    pub(super) fn partition(&self) -> &Arc<str> {
        self.assembler.partition()
    }

    /// Whether nothing more comes.
    pub(super) fn ended(&self) -> bool {
        self.assembler.ended()
    }

    /// How far whole lines have been given.
    pub(super) fn offset(&self) -> u64 {
        self.assembler.offset()
    }

    /// Bytes of a line that has not ended.
    pub(super) fn unfinished(&self) -> u64 {
        self.assembler.filled_to() - self.assembler.offset() + self.rest.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines, and where they begin, of `pieces`, each of which one read brings; an empty piece ends a line.
    fn lines(max_line: usize, pieces: &[&[u8]]) -> (Vec<(u64, String)>, usize) {
        let pool = Pool::default();
        let mut lines = Incoming::new("test:".into(), max_line, Scratch::default());
        let (mut found, mut oversize) = (Vec::new(), 0);
        let mut drain = |lines: &mut Incoming| {
            while let Some(chunk) = lines.take(u64::MAX, &pool) {
                oversize += chunk.oversize.len();
                let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
                found.extend(chunk.lines().map(|(offset, line)| (offset, text(line))));
            }
        };
        for piece in pieces {
            match piece {
                [] => lines.end_line(&pool),
                piece => assert_eq!(lines.read(*piece, u64::MAX, &pool), Came::Bytes(piece.len())),
            }
            drain(&mut lines);
        }
        lines.end(&pool);
        drain(&mut lines);
        assert_eq!((lines.unfinished(), lines.ended()), (0, true));
        (found, oversize)
    }

    #[test]
    fn lines_are_whole_however_they_come_and_the_last_of_a_connection_is_one() {
        let expected = [(0, "one"), (4, "two"), (8, "three")].map(|(at, line)| (at, line.to_owned()));
        for pieces in [
            &[&b"one\ntwo\nthree"[..]][..],
            &[b"o", b"n", b"e\ntw", b"o", b"\n", b"three\n"],
            &[b"one", b"", b"two\n", b"", b"thr", b"ee"],
        ] {
            assert_eq!(lines(100, pieces), (expected.to_vec(), 0));
        }
    }

    #[test]
    fn a_long_line_is_reported_once_whatever_ends_it() {
        let long = vec![b'x'; 3 * BLOCK];
        let pieces: Vec<&[u8]> = long.chunks(BLOCK).chain([&b""[..], b"next\n"]).collect();
        let (found, oversize) = lines(100, &pieces);
        assert_eq!((found, oversize), (vec![(long.len() as u64 + 1, "next".to_owned())], 1));
        let (found, oversize) = lines(100, &[&long[..BLOCK], b"x\nnext"]);
        assert_eq!((found, oversize), (vec![(BLOCK as u64 + 2, "next".to_owned())], 1));
    }

    #[test]
    fn of_a_line_that_has_not_ended_only_its_bytes_are_kept() {
        let pool = Pool::default();
        let mut lines = Incoming::new("test:".into(), 1 << 20, Scratch::default());
        for _ in 0..100 {
            assert_eq!(lines.read(&b"x"[..], u64::MAX, &pool), Came::Bytes(1));
            assert!(lines.take(u64::MAX, &pool).is_none());
        }
        assert!(lines.rest.capacity() <= 256 && lines.unfinished() == 100);
        assert_eq!(lines.read(&b"y\nz"[..], 2, &pool), Came::Bytes(2), "no more than was asked for");
        assert_eq!(lines.take(u64::MAX, &pool).expect("a line").bytes().len(), 102);
        assert_eq!((lines.read(&b""[..], u64::MAX, &pool), lines.offset()), (Came::End, 102));
    }
}
