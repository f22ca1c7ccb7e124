//! Cuts lines that may be in pieces where none is.
//!
//! What a [`Joined`] gives begins and ends where no line of any stream is in pieces, so that whoever peels a chunk has all of each line,
//! and an offset lies inside none. Where that is depends on the bytes alone: behind such a place, nothing is remembered of what came
//! before it. The one exception is a line that was given up because it had become too long: its
//! rest is dropped by this run, and is a line of its own to one that begins just there.

use std::sync::Arc;

use memchr::memchr;

use crate::envelope::{Envelope, GivenUp, Pieces, Streams};
use crate::source::{Chunk, Oversize, Place, Pool, Reader, SourceError, Step};

/// Reads lines that may be in pieces.
#[derive(Debug)]
pub(super) struct Joined {
    reader: Box<dyn Reader>,
    name: Arc<str>,
    envelope: Envelope,
    pieces: Pieces,
    /// Raw lines that have been read and not given.
    held: Vec<u8>,
    /// The offset of the first of them, or of the next.
    start: u64,
    /// How many of their bytes have been looked at, ...
    looked: usize,
    /// ... and up to where no line is in pieces.
    whole: usize,
    /// Of which streams lines are given up there.
    whole_inside: Streams,
    /// The same where the held lines begin.
    inside: Streams,
    /// What was read and does not follow what is held.
    next: Option<Chunk>,
    oversize: Vec<Oversize>,
    consumed: u64,
    ended: bool,
    damage: Option<SourceError>,
    stopping: bool,
}

impl Joined {
    pub(super) fn new(reader: Box<dyn Reader>, name: Arc<str>, envelope: Envelope, from: u64) -> Self {
        Joined {
            reader,
            name,
            envelope,
            pieces: Pieces::new(envelope),
            held: Vec::new(),
            start: from,
            looked: 0,
            whole: 0,
            whole_inside: Streams::NONE,
            inside: Streams::NONE,
            next: None,
            oversize: Vec::new(),
            consumed: 0,
            ended: false,
            damage: None,
            stopping: false,
        }
    }

    /// How many bytes lines in pieces may take before they are given up.
    fn most(&self) -> usize {
        self.envelope.max_line.saturating_mul(2).saturating_add(64 << 10)
    }

    /// Takes in what was read; returns it if all of it can be given as it is.
    fn take_in(&mut self, mut chunk: Chunk) -> Option<Chunk> {
        if !self.held.is_empty() && chunk.place.offset != self.start + self.held.len() as u64 {
            // What stood between was too long: nothing can be joined across it.
            self.next = Some(chunk);
            return None;
        }
        self.oversize.append(&mut chunk.oversize);
        self.consumed += chunk.consumed;
        if self.held.is_empty() {
            self.start = chunk.place.offset;
            let length = chunk.bytes().len();
            if self.look(chunk.bytes(), usize::MAX) == length && self.whole == length {
                chunk.oversize = std::mem::take(&mut self.oversize);
                chunk.consumed = std::mem::take(&mut self.consumed);
                self.start += length as u64;
                self.finish(&mut chunk);
                return Some(chunk);
            }
        }
        self.held.extend_from_slice(chunk.bytes());
        None
    }

    /// Looks at `bytes`, which are those that are held or are about to be, until no line is in pieces at `upto` or behind it, or one
    /// has to be given up; returns how far it came.
    fn look(&mut self, bytes: &[u8], upto: usize) -> usize {
        while self.whole < upto
            && let Some(rest) = bytes.get(self.looked..).filter(|rest| !rest.is_empty())
        {
            let (line, length) = memchr(b'\n', rest).map_or((rest, rest.len()), |lf| (&rest[..lf], lf + 1));
            self.looked += length;
            if !self.pieces.pass(line) {
                if self.looked - self.whole <= self.most() {
                    continue;
                }
                self.pieces.give_up();
                (self.whole, self.whole_inside) = (self.looked, self.pieces.inside());
                break;
            }
            (self.whole, self.whole_inside) = (self.looked, self.pieces.inside());
        }
        self.looked
    }

    /// What is in pieces ends.
    fn end_pieces(&mut self) {
        self.pieces.end();
        (self.whole, self.whole_inside) = (self.looked, self.pieces.inside());
    }

    /// `chunk` has the lines up to the place where none is in pieces.
    fn finish(&mut self, chunk: &mut Chunk) {
        chunk.envelope = Some(self.envelope);
        chunk.given_up = GivenUp { before: self.inside, behind: self.whole_inside };
        self.inside = self.whole_inside;
        self.looked -= self.whole;
        self.whole = 0;
    }

    /// The held lines up to the place where none is in pieces.
    fn give(&mut self, pool: &Pool) -> Chunk {
        let mut buffer = pool.take();
        let whole = self.whole;
        buffer.room(whole).copy_from_slice(&self.held[..whole]);
        self.held.drain(..whole);
        if self.held.is_empty() && self.held.capacity() > 64 << 10 {
            // There may be thousands of these, and what is long is rare.
            self.held = Vec::new();
        }
        let place = Place { partition: Arc::clone(&self.name), offset: self.start };
        let mut chunk = Chunk::new(place, buffer, 0, whole);
        self.start += whole as u64;
        chunk.oversize = std::mem::take(&mut self.oversize);
        chunk.consumed = std::mem::take(&mut self.consumed);
        self.finish(&mut chunk);
        chunk
    }
}

impl Reader for Joined {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        // Of a line that begins before `upto` all is wanted: it is read on a little at a time.
        let (mut ask, mut more) = (upto, 1_u64);
        loop {
            let is_held = !self.held.is_empty() || self.next.is_some();
            if is_held && self.offset() >= upto {
                return Ok(Step::Reached);
            }
            if !self.held.is_empty() {
                let held = std::mem::take(&mut self.held);
                if self.whole == 0 {
                    self.look(&held, usize::try_from(upto - self.start).unwrap_or(usize::MAX));
                }
                let all = self.looked == held.len();
                self.held = held;
                if self.whole == 0 && all && (self.ended || self.next.is_some()) {
                    self.end_pieces();
                }
                if self.whole > 0 {
                    return Ok(Step::Chunk(self.give(pool)));
                }
            }
            if let Some(chunk) = self.next.take() {
                if let Some(chunk) = self.take_in(chunk) {
                    return Ok(Step::Chunk(chunk));
                }
                continue;
            }
            if self.ended {
                return Ok(self.damage.take().map_or(Step::Ended, Step::Damaged));
            }
            match self.reader.poll(ask, pool)? {
                Step::Chunk(chunk) => {
                    if let Some(chunk) = self.take_in(chunk) {
                        return Ok(Step::Chunk(chunk));
                    }
                }
                Step::Reached if self.held.is_empty() || ask == u64::MAX => return Ok(Step::Reached),
                Step::Reached => {
                    ask = ask.max(self.reader.offset()).saturating_add(more);
                    more = more.saturating_mul(2);
                }
                Step::CaughtUp => {
                    if self.stopping && !self.held.is_empty() && self.reader.has_stopped() {
                        self.stopping = false;
                        log::warn!(
                            "{}: the last {} bytes are pieces of a line that has not ended, and were not counted",
                            self.name,
                            self.held.len()
                        );
                    }
                    return Ok(Step::CaughtUp);
                }
                Step::Ended => self.ended = true,
                Step::Damaged(damage) => (self.ended, self.damage) = (true, Some(damage)),
            }
        }
    }

    fn offset(&self) -> u64 {
        match &self.next {
            _ if !self.held.is_empty() => self.start,
            Some(next) => next.place.offset,
            None => self.reader.offset(),
        }
    }

    fn latest(&self) -> Option<u64> {
        self.reader.latest()
    }

    fn is_at_end(&self) -> bool {
        self.reader.is_at_end()
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.reader.stop();
    }

    fn has_stopped(&self) -> bool {
        self.reader.has_stopped()
    }
}
