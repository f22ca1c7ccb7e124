//! One partition whose lines are pushed by the program that embeds the run, and dealt out among all
//! workers.
//!
//! ```text
//! pushed    one⏎two⏎three⏎four⏎fi      ve⏎six⏎
//! worker 0  one⏎two⏎            fi     ve⏎
//! worker 1           three⏎four⏎          six⏎
//! ```
//!
//! It is one partition however many workers there are, so the watermark does not depend on how many
//! that is. A line that is pushed in pieces goes to one worker: the piece that goes on with it is
//! the next that any worker is given.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use memchr::{memchr, memrchr};

use super::assemble::Assembler;
use super::{Access, Found, Pool, ReadOptions, Reader, Share, Source, SourceError, Step, Wake};

/// The partition, as a source.
#[derive(Debug)]
pub(crate) struct Dealt {
    name: Arc<str>,
    /// By worker.
    queues: Vec<Arc<Mutex<Queue>>>,
}

/// Pushes lines into it.
#[derive(Debug)]
pub(crate) struct Dealer {
    queues: Vec<Arc<Mutex<Queue>>>,
    /// Bytes of a piece, about, at most.
    piece_bytes: usize,
    /// Offset of the byte that is pushed next.
    offset: u64,
    /// The worker that is given lines next, or the rest of the line that is open.
    next: usize,
    /// Whether the last byte that was pushed is inside a line.
    open: bool,
}

/// What a worker was given and has not read.
#[derive(Default)]
struct Queue {
    /// Each with the offset at which it begins.
    pieces: VecDeque<(u64, Vec<u8>)>,
    ended: bool,
    wake: Option<Wake>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("pieces", &self.pieces.len()).finish_non_exhaustive()
    }
}

impl Dealt {
    /// The partition `name` for so many workers, given to them in pieces of about so many bytes at
    /// most, and its writing end.
    pub(crate) fn new(name: &str, workers: usize, piece_bytes: u64) -> (Self, Dealer) {
        let queues: Vec<Arc<Mutex<Queue>>> = (0..workers.max(1)).map(|_| Arc::default()).collect();
        let piece_bytes = usize::try_from(piece_bytes).unwrap_or(usize::MAX).max(1);
        let dealer = Dealer { queues: queues.clone(), piece_bytes, offset: 0, next: 0, open: false };
        (Dealt { name: name.into(), queues }, dealer)
    }
}

impl Dealer {
    /// Pushes bytes: any number of lines, and pieces of them.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if self.open {
            // What goes on with a line goes where it began.
            let end = memchr(b'\n', rest).map_or(rest.len(), |lf| lf + 1);
            rest = self.give(rest, end);
        }
        let whole = memrchr(b'\n', rest).map_or(0, |lf| lf + 1);
        let share = whole.div_ceil(self.queues.len()).clamp(1, self.piece_bytes);
        let mut left = whole;
        while left > 0 {
            // At least so much, and up to the end of that line.
            let from = share.min(left) - 1;
            let end = memchr(b'\n', &rest[from..left]).map_or(left, |lf| from + lf + 1);
            rest = self.give(rest, end);
            left -= end;
        }
        if !rest.is_empty() {
            self.give(rest, rest.len());
        }
    }

    /// Gives the first `len` of `bytes` to the worker whose turn it is, and returns the others.
    fn give<'a>(&mut self, bytes: &'a [u8], len: usize) -> &'a [u8] {
        let (piece, rest) = bytes.split_at(len);
        let Some(last) = piece.last() else { return rest };
        self.open = *last != b'\n';
        let offset = self.offset;
        change(&self.queues[self.next], |queue| queue.pieces.push_back((offset, piece.to_vec())));
        self.offset += len as u64;
        if !self.open {
            self.next = (self.next + 1) % self.queues.len();
        }
        rest
    }

    /// Ends the partition; what follows the last LF is a line.
    pub(crate) fn end(&self) {
        self.queues.iter().for_each(|queue| change(queue, |queue| queue.ended = true));
    }
}

fn change(queue: &Mutex<Queue>, change: impl FnOnce(&mut Queue)) {
    let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
    change(&mut queue);
    if let Some(wake) = &queue.wake {
        wake();
    }
}

impl Source for Dealt {
    fn uri(&self) -> &str {
        &self.name
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        Ok(vec![Found {
            name: Arc::clone(&self.name),
            identity: self.name.to_string(),
            access: Access::Shared,
            length: None,
            bytes: 0,
            detail: String::new(),
        }])
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let name = Arc::clone(&partition.name);
        let Some(queue) = self.queues.get(share.worker).filter(|_| from == 0) else {
            return Err(SourceError::Gone { partition: name.to_string(), offset: from });
        };
        change(queue, |queue| queue.wake = Some(wake));
        let assembler = Assembler::new(name, options.max_line);
        Ok(Box::new(DealtReader { queue: Arc::clone(queue), assembler }))
    }
}

/// One worker's lines.
#[derive(Debug)]
struct DealtReader {
    queue: Arc<Mutex<Queue>>,
    assembler: Assembler,
}

impl Reader for DealtReader {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        loop {
            if let Some(chunk) = self.assembler.take(upto, pool) {
                return Ok(Step::Chunk(chunk));
            }
            if self.assembler.ended() {
                return Ok(Step::Ended);
            }
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            match queue.pieces.pop_front() {
                Some((offset, bytes)) => {
                    // Between the pieces of a line nothing else comes; other pieces begin with one.
                    if offset != self.assembler.filled_to() {
                        self.assembler.seek(offset, false);
                    }
                    self.assembler.space(bytes.len(), pool).copy_from_slice(&bytes);
                    self.assembler.filled(bytes.len());
                }
                None if queue.ended => self.assembler.end(),
                None => return Ok(Step::CaughtUp),
            }
        }
    }

    fn offset(&self) -> u64 {
        self.assembler.offset()
    }

    fn has_stopped(&self) -> bool {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pieces.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each worker reads, with the offsets of the lines; and whether all are at their end.
    fn read(dealt: &Dealt, readers: &mut [Box<dyn Reader>]) -> (Vec<Vec<(u64, String)>>, bool) {
        let pool = Pool::default();
        let mut ended = true;
        let mut lines = vec![Vec::new(); dealt.queues.len()];
        for (lines, reader) in lines.iter_mut().zip(readers) {
            loop {
                match reader.poll(u64::MAX, &pool).unwrap() {
                    Step::Chunk(chunk) => lines.extend(
                        chunk.lines().map(|(at, line)| (at, String::from_utf8_lossy(line).into_owned())),
                    ),
                    Step::Ended => break,
                    _ => {
                        ended = false;
                        break;
                    }
                }
            }
        }
        (lines, ended)
    }

    fn readers(dealt: &Dealt, workers: usize, max_line: usize) -> Vec<Box<dyn Reader>> {
        let options = ReadOptions { max_line, ..ReadOptions::default() };
        let found = dealt.find().unwrap();
        let open = |worker| {
            let share = Share { worker, peers: workers };
            dealt.open(&found[0], 0, share, options, Arc::new(|| ())).unwrap()
        };
        (0..workers).map(open).collect()
    }

    fn line(at: u64, text: &str) -> (u64, String) {
        (at, text.to_owned())
    }

    #[test]
    fn lines_are_dealt_out_whole_with_their_offsets() {
        let (dealt, mut dealer) = Dealt::new("push:", 2, 1 << 20);
        let mut readers = readers(&dealt, 2, 100);
        dealer.push(b"one\ntwo\nthree\nfour\nfi");
        let first = vec![line(0, "one"), line(4, "two"), line(8, "three")];
        let (lines, ended) = read(&dealt, &mut readers);
        assert_eq!((lines, ended), (vec![first, vec![line(14, "four")]], false));
        dealer.push(b"v");
        dealer.push(b"e\nsix\nse");
        let (lines, _) = read(&dealt, &mut readers);
        assert_eq!(lines, [vec![line(19, "five")], vec![line(24, "six")]]);
        dealer.push(b"ven");
        dealer.end();
        let (lines, ended) = read(&dealt, &mut readers);
        assert_eq!((lines, ended), (vec![vec![line(28, "seven")], vec![]], true));
        assert_eq!(readers.iter().map(|reader| reader.offset()).max(), Some(33));
    }

    #[test]
    fn single_lines_go_in_turn_and_large_pushes_in_pieces() {
        let (dealt, mut dealer) = Dealt::new("push:", 3, 4);
        let mut readers = readers(&dealt, 3, 100);
        for text in ["a\n", "b\n", "c\n", "d\n"] {
            dealer.push(text.as_bytes());
        }
        let (lines, _) = read(&dealt, &mut readers);
        assert_eq!(lines, [vec![line(0, "a"), line(6, "d")], vec![line(2, "b")], vec![line(4, "c")]]);
        dealer.push("x\n".repeat(300).as_bytes());
        assert!(dealer.queues.iter().all(|queue| queue.lock().unwrap().pieces.len() == 50));
        let (lines, _) = read(&dealt, &mut readers);
        assert_eq!(lines.iter().map(Vec::len).sum::<usize>(), 300);
    }

    /// However long a line is, and in how many pieces it comes.
    #[test]
    fn long_lines_are_not_held() {
        let (dealt, mut dealer) = Dealt::new("push:", 2, 1 << 20);
        let mut readers = readers(&dealt, 2, 200);
        for _ in 0..100 {
            dealer.push(&[b'x'; 10]);
        }
        dealer.push(b"\nshort\n");
        let (lines, _) = read(&dealt, &mut readers);
        assert_eq!(lines, [vec![], vec![line(1001, "short")]]);
    }
}
