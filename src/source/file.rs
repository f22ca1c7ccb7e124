//! The shared lane: plain files, read by all workers in interleaved chunks.
//!
//! A chunk `lo..hi` of a file stands for the lines that start in it. It is read with one `pread` into a recycled
//! buffer, from the byte before `lo`, which tells whether a line starts at `lo`, to a little behind `hi`, where the
//! last line most likely ends; only around those two places are the bytes looked at. Not mapped: a file that
//! shrinks under a mapping kills the process, and page faults cost more than the copy.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::source::assemble::Assembler;
use crate::source::plan::{ChunkRange, PlannedFile, SharedLane};
use crate::source::{Chunk, Pool, Reader, SourceError, Step};

/// Read behind a chunk at once, for the end of its last line: more than most lines have.
const TAIL: u64 = 4 << 10;
/// Read at a time when that was too little.
const MORE: u64 = 64 << 10;

/// One worker's chunks of the shared lane.
#[derive(Debug)]
pub(super) struct SharedReader {
    /// All of the plan's; the lane knows which are its own.
    files: Vec<PlannedFile>,
    lane: SharedLane,
    peers: u64,
    /// The open epoch.
    epoch: u64,
    /// Number of the chunk being read, or of the next one.
    chunk: u64,
    /// What of that chunk is not yet given.
    range: Option<ChunkRange>,
    /// The file of the last chunk, and its index.
    file: Option<(usize, File)>,
    assembler: Assembler,
}

impl SharedReader {
    /// The chunks of `worker` of `peers`.
    pub(super) fn new(
        files: Vec<PlannedFile>,
        lane: SharedLane,
        max_line: usize,
        worker: u64,
        peers: u64,
    ) -> Self {
        let assembler = Assembler::new(Arc::from(""), max_line);
        SharedReader { files, lane, peers, epoch: 0, chunk: worker, range: None, file: None, assembler }
    }

    /// Reads a chunk and as much behind it as its last line most likely needs.
    fn begin(&mut self, range: ChunkRange, pool: &Pool) -> Result<(), SourceError> {
        if self.file.as_ref().is_none_or(|&(index, _)| index != range.file) {
            // Closed first: a reader has one file open at most.
            self.file = None;
            let planned = &self.files[range.file];
            let file = File::open(&planned.path)
                .map_err(|source| SourceError::Open { path: planned.path.clone(), source })?;
            self.file = Some((range.file, file));
            self.assembler.open(planned.partition());
        }
        self.assembler.seek(range.lo.saturating_sub(1), range.lo > 0);
        self.range = Some(range);
        self.fill(range.hi.saturating_add(TAIL), pool)
    }

    /// Reads on, to offset `upto` or the planned end of the file.
    fn fill(&mut self, upto: u64, pool: &Pool) -> Result<(), SourceError> {
        let (index, file) = self.file.as_ref().expect("a range is read from an open file");
        let planned = &self.files[*index];
        let from = self.assembler.filled_to();
        let upto = upto.min(planned.length);
        let space = self.assembler.space((upto - from) as usize, pool);
        let mut read = 0;
        while read < space.len() {
            let offset = from + read as u64;
            match file.read_at(&mut space[read..], offset) {
                Ok(0) => {
                    let path = planned.path.clone();
                    return Err(SourceError::Shrunk { path, offset, expected: planned.length });
                }
                Ok(len) => read += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(source) => {
                    let partition = self.assembler.partition().to_string();
                    return Err(SourceError::Read { partition, offset, source });
                }
            }
        }
        self.assembler.filled(read);
        if upto == planned.length {
            self.assembler.end();
        }
        Ok(())
    }

    /// The next run of lines of the range, or at its end whatever of it has no lines; `None` when it is all given.
    fn take(&mut self, pool: &Pool) -> Result<Option<Chunk>, SourceError> {
        while let Some(range) = &mut self.range {
            if let Some(mut chunk) = self.assembler.take(range.hi, pool) {
                let given = self.assembler.offset().min(range.hi);
                chunk.consumed = given - range.lo;
                range.lo = given;
                return Ok(Some(chunk));
            }
            if self.assembler.offset() < range.hi && !self.assembler.ended() {
                self.fill(self.assembler.filled_to().saturating_add(MORE), pool)?;
                continue;
            }
            let rest = range.hi - range.lo;
            self.range = None;
            self.chunk += self.peers;
            if rest > 0 {
                let mut chunk = self.assembler.nothing(pool);
                chunk.consumed = rest;
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

impl Reader for SharedReader {
    fn poll(&mut self, pool: &Pool) -> Result<Step, SourceError> {
        loop {
            if let Some(chunk) = self.take(pool)? {
                return Ok(Step::Chunk(chunk));
            }
            match self.lane.chunk(self.chunk) {
                Some(range) if range.epoch == self.epoch => self.begin(range, pool)?,
                _ if self.epoch < self.lane.epochs() => {
                    self.epoch += 1;
                    return Ok(Step::EndEpoch);
                }
                _ => {
                    self.file = None;
                    return Ok(Step::Done);
                }
            }
        }
    }

    fn position(&self) -> Vec<(Arc<str>, u64)> {
        let closed = self.epoch.checked_sub(1).and_then(|epoch| self.lane.end(epoch));
        closed.map(|(file, offset)| (self.files[file].partition(), offset)).into_iter().collect()
    }
}
