//! What stands around the lines of a chunk, while its records are handed to doors.

use std::borrow::Cow;
use std::cell::Cell;
use std::ops::Range;
use std::rc::Rc;

use crate::envelope::{Envelope, EnvelopeFields, GivenUp, Peeled, PeeledLine, Peeler};
use crate::format::{Scratch, WholeLines};
use crate::source::{Chunk, Oversize, Place, Pool};
use crate::time::Time;

/// Peels chunks for one reader.
#[derive(Debug, Default)]
pub(super) struct Unwrapping {
    peeler: Peeler,
    peeled: Peeled,
    fields: Rc<EnvelopeFields>,
    pool: Pool,
}

/// A chunk without its envelopes.
pub(super) struct Unwrapped {
    /// The lines; their offsets are those of the raw lines.
    pub(super) chunk: Chunk,
    /// Joined lines that are too long.
    pub(super) oversize: Vec<Oversize>,
    /// Raw lines in no such envelope.
    pub(super) malformed: Vec<Range<usize>>,
    pub(super) wrapping: Rc<Wrapping>,
}

/// The envelopes of a chunk's lines.
#[derive(Debug)]
pub(super) struct Wrapping {
    raw: Rc<Chunk>,
    envelope: Envelope,
    /// In order, with their offsets.
    lines: Vec<(u64, PeeledLine)>,
    fields: Rc<EnvelopeFields>,
    /// For fields with escapes.
    scratch: Scratch,
    /// The line that was looked up last: they are asked for in order.
    last: Cell<usize>,
    /// The line that was rejected last: a message of several lines is one.
    rejected: Cell<Option<u64>>,
}

impl Unwrapping {
    /// Peels `raw`.
    pub(super) fn peel(&mut self, envelope: Envelope, raw: &Rc<Chunk>) -> Unwrapped {
        let mut buffer = self.pool.take();
        let peeled = &mut self.peeled;
        peeled.bytes = std::mem::take(&mut buffer.bytes);
        let lines = WholeLines::with_readable(raw.readable(), raw.bytes().len());
        self.peeler.peel(envelope, lines.expect("a chunk's lines are readable"), raw.given_up, peeled);
        let length = peeled.bytes.len();
        buffer.bytes = std::mem::take(&mut peeled.bytes);
        let mut numbered = Vec::with_capacity(peeled.lines.len());
        for line in peeled.lines.drain(..) {
            let offset = raw.offset_of(line.raw());
            buffer.number(line.begin, offset);
            numbered.push((offset, line));
        }
        let place = |at| Place { partition: raw.place.partition.clone(), offset: raw.offset_of(at) };
        let oversize = peeled.oversize.drain(..).map(|(at, sample)| Oversize { place: place(at), sample });
        let oversize = oversize.collect();
        let wrapping = Wrapping {
            raw: Rc::clone(raw),
            envelope,
            lines: numbered,
            fields: Rc::clone(&self.fields),
            scratch: Scratch::default(),
            last: Cell::new(0),
            rejected: Cell::new(None),
        };
        Unwrapped {
            chunk: Chunk::new(raw.place.clone(), buffer, 0, length),
            oversize,
            malformed: std::mem::take(&mut peeled.malformed),
            wrapping: Rc::new(wrapping),
        }
    }

    /// The first lines of a partition without their envelopes.
    pub(super) fn head(&mut self, envelope: Envelope, head: &[u8]) -> Vec<u8> {
        self.peeler.peel(envelope, WholeLines::new(head), GivenUp::default(), &mut self.peeled);
        std::mem::take(&mut self.peeled.bytes)
    }
}

impl Wrapping {
    fn line(&self, offset: u64) -> Option<&PeeledLine> {
        let is_it = |at: usize| self.lines.get(at).is_some_and(|(it, _)| *it == offset);
        let last = self.last.get();
        let found = [last, last + 1].into_iter().find(|at| is_it(*at));
        let found = found.or_else(|| {
            let at = self.lines.partition_point(|(it, _)| *it < offset);
            is_it(at).then_some(at)
        })?;
        self.last.set(found);
        self.lines.get(found).map(|(_, line)| line)
    }

    /// The raw line around that at `offset`: of one in pieces, the first.
    fn raw(&self, offset: u64) -> Option<&[u8]> {
        let part = self.line(offset)?.parts.first()?.clone();
        self.raw.bytes().get(part)
    }

    /// What the envelope of the line at `offset` says of `name`.
    pub(super) fn get(&self, offset: u64, name: &str) -> Option<&[u8]> {
        match self.fields.get(self.envelope, self.raw(offset)?, name) {
            Some(Cow::Borrowed(value)) => Some(value),
            Some(Cow::Owned(value)) => Some(self.scratch.bytes(&[&value])),
            None => EnvelopeFields::of_path(self.envelope.kind, &self.raw.place.partition, name)
                .map(str::as_bytes),
        }
    }

    /// When the envelope of the line at `offset` says that it was written.
    #[cold]
    pub(super) fn time(&self, offset: u64) -> Option<Time> {
        self.fields.time(self.envelope, self.raw(offset)?, self.raw.arrived)
    }

    /// Adds the raw lines of the line at `offset` to `rejected`, once.
    pub(super) fn reject(&self, offset: u64, rejected: &mut Vec<u8>) {
        if self.rejected.replace(Some(offset)) == Some(offset) {
            return;
        }
        for part in self.line(offset).into_iter().flat_map(|line| line.parts.iter().cloned()) {
            rejected.extend_from_slice(self.raw.bytes().get(part).unwrap_or_default());
            rejected.push(b'\n');
        }
    }
}
