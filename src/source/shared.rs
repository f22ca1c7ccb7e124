//! Partitions that can be entered anywhere, read by all workers in interleaved chunks.
//!
//! ```text
//! offset     0    c   2c   3c   4c    5c   length
//! chunk      │ 0  │ 1  │ 2  │ 3  │ 4  │ 5 │
//! worker of 2  0    1    0    1    0    1
//! ```
//!
//! A chunk `lo..hi` stands for the lines that start in it. It is read with one `pread` into a recycled buffer, from the
//! byte before `lo`, which tells whether a line starts at `lo`, to a little behind `hi`, where the last line most likely
//! ends; only around those two places are the bytes looked at. Not mapped: a file that shrinks under a mapping kills
//! the process, and page faults cost more than the copy.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::assemble::Assembler;
use super::{Chunk, Pool, ReadOptions, Reader, Share, SourceError, Step};

/// Read behind a chunk at once, for the end of its last line: more than most lines have.
const TAIL: u64 = 4 << 10;
/// Read at a time when that was too little.
const MORE: u64 = 64 << 10;

/// Bytes that can be read at any offset.
pub(super) trait ReadAt: std::fmt::Debug {
    /// As [`FileExt::read_at`].
    fn read_at(&self, space: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, space: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, space, offset)
    }
}

impl ReadAt for Arc<[u8]> {
    fn read_at(&self, space: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        let len = rest.len().min(space.len());
        space[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// One worker's chunks of a partition.
#[derive(Debug)]
pub(super) struct SharedReader<B> {
    bytes: B,
    length: u64,
    chunk_bytes: u64,
    share: Share,
    /// All of this worker's chunks before are given.
    next: u64,
    /// What of the chunk being read is not yet given: `lo..hi`.
    range: Option<(u64, u64)>,
    /// The last offset up to which everything was given.
    reached: u64,
    /// Whether the partition is at its end where its length is.
    ends: bool,
    assembler: Assembler,
}

impl<B: ReadAt> SharedReader<B> {
    /// The chunks of `share` from offset `from` on, of `bytes` of which `length` count.
    pub(super) fn new(
        bytes: B,
        name: Arc<str>,
        length: u64,
        from: u64,
        share: Share,
        options: ReadOptions,
    ) -> Self {
        let assembler = Assembler::new(name, options.max_line);
        let chunk_bytes = options.chunk_bytes.max(1);
        let ends = true;
        SharedReader {
            bytes,
            length,
            chunk_bytes,
            share,
            next: from,
            range: None,
            reached: from,
            ends,
            assembler,
        }
    }

    /// As this, of a partition that is never at its end.
    pub(super) fn open_ended(self) -> Self {
        SharedReader { ends: false, ..self }
    }

    /// Where the next chunk of this worker begins, from `next` on.
    fn own(&self) -> u64 {
        let (worker, peers) = (self.share.worker as u64, self.share.peers as u64);
        let chunk = self.next / self.chunk_bytes;
        let ahead = (worker + peers - chunk % peers) % peers;
        if ahead == 0 { self.next } else { chunk.saturating_add(ahead).saturating_mul(self.chunk_bytes) }
    }

    /// Reads a chunk and as much behind it as its last line most likely needs.
    fn begin(&mut self, lo: u64, hi: u64, pool: &Pool) -> Result<(), SourceError> {
        self.assembler.seek(lo.saturating_sub(1), lo > 0);
        self.range = Some((lo, hi));
        self.fill(hi.saturating_add(TAIL), pool)
    }

    /// Reads on, to offset `upto` or the end.
    fn fill(&mut self, upto: u64, pool: &Pool) -> Result<(), SourceError> {
        let from = self.assembler.filled_to();
        let upto = upto.min(self.length);
        let space = self.assembler.space((upto - from) as usize, pool);
        let mut read = 0;
        while read < space.len() {
            let offset = from + read as u64;
            match self.bytes.read_at(&mut space[read..], offset) {
                Ok(0) => {
                    let name = self.assembler.partition();
                    let path = PathBuf::from(name.strip_prefix("file:").unwrap_or(name));
                    return Err(SourceError::Shrunk { path, offset, expected: self.length });
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
        if upto == self.length {
            self.assembler.end();
        }
        Ok(())
    }

    /// The next run of lines of the range, or at its end whatever of it has no lines; `None` when it is all given.
    fn take(&mut self, pool: &Pool) -> Result<Option<Chunk>, SourceError> {
        while let Some((lo, hi)) = self.range {
            if let Some(mut chunk) = self.assembler.take(hi, pool) {
                let given = self.assembler.offset().min(hi);
                chunk.consumed = given - lo;
                self.range = Some((given, hi));
                return Ok(Some(chunk));
            }
            if self.assembler.offset() < hi && !self.assembler.ended() {
                self.fill(self.assembler.filled_to().saturating_add(MORE), pool)?;
                continue;
            }
            (self.range, self.next) = (None, hi);
            if hi > lo {
                let mut chunk = self.assembler.nothing(pool);
                chunk.consumed = hi - lo;
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

impl<B: ReadAt> Reader for SharedReader<B> {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        let upto = upto.min(self.length);
        loop {
            if let Some(chunk) = self.take(pool)? {
                return Ok(Step::Chunk(chunk));
            }
            let lo = self.own();
            if lo >= upto {
                self.reached = self.reached.max(upto);
                return Ok(match self.ends {
                    true if upto == self.length => Step::Ended,
                    true => Step::Reached,
                    false => Step::CaughtUp,
                });
            }
            let end = (lo / self.chunk_bytes + 1).saturating_mul(self.chunk_bytes);
            self.begin(lo, end.min(upto), pool)?;
        }
    }

    fn offset(&self) -> u64 {
        self.reached
    }
}
