//! Compressed files, which cannot be entered in the middle, and files that tell no length.
//!
//! One worker reads a file to its planned end, through all its members or frames. Offsets count decompressed bytes. A
//! fault in a stream is told only when every whole line before it has been given.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Take};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use super::assemble::Assembler;
use super::file::{FileKind, FoundFile};
use super::{Chunk, Pool, Reader, SourceError, Step};

/// Compressed bytes are read from a file so many at a time.
const COMPRESSED: usize = 128 << 10;
/// Decompressed bytes of one poll.
const DECOMPRESSED: usize = 256 << 10;
/// A frame may ask for 2^27 bytes (128 MiB) of history and no more, as with the `zstd` command.
pub(super) const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// A compressed file.
#[derive(Debug)]
pub(super) struct CompressedReader {
    found: FoundFile,
    decoder: Decoder,
    /// Compressed bytes read that no chunk has accounted for.
    read: u64,
    assembler: Assembler,
    /// What stopped the decoder.
    fault: Option<SourceError>,
    /// Lines that start before are not given: an earlier run has.
    from: u64,
}

impl CompressedReader {
    /// The lines of the file `found` that start at decompressed offset `from` or later.
    pub(super) fn new(found: FoundFile, from: u64, max_line: usize) -> Result<Self, SourceError> {
        let name = found.name();
        Self::named(found, name, from, max_line)
    }

    /// The same, as those of the partition `name`.
    pub(super) fn named(
        found: FoundFile,
        name: Arc<str>,
        from: u64,
        max_line: usize,
    ) -> Result<Self, SourceError> {
        let decoder = Decoder::new(found.open()?, &found)
            .map_err(|source| SourceError::Open { path: found.path.clone(), source })?;
        let assembler = Assembler::new(name, max_line);
        // The gzip decoder has read the header already.
        let read = found.limit() - decoder.unread();
        Ok(CompressedReader { found, decoder, read, assembler, fault: None, from })
    }

    fn account(&mut self, mut chunk: Chunk) -> Chunk {
        chunk.consumed = std::mem::take(&mut self.read);
        chunk
    }

    /// Decompresses more, if there is more.
    fn fill(&mut self, pool: &Pool) {
        let planned = &self.found;
        let unread = self.decoder.unread();
        let space = self.assembler.space(DECOMPRESSED, pool);
        let mut filled = 0;
        let outcome = loop {
            if filled == space.len() {
                break Ok(());
            }
            match self.decoder.read(&mut space[filled..]) {
                Ok(0) => break Err(None),
                Ok(len) => filled += len,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(Some(error)),
            }
        };
        self.assembler.filled(filled);
        self.read += unread - self.decoder.unread();
        let Err(stopped) = outcome else { return };
        let early = stopped.as_ref().is_none_or(|error| error.kind() == ErrorKind::UnexpectedEof);
        self.fault = match stopped {
            // It ran out of bytes, and that before the planned end.
            _ if early && self.decoder.unread() > 0 && !planned.unmeasured => Some(SourceError::Shrunk {
                path: planned.path.clone(),
                offset: planned.length - self.decoder.unread(),
                expected: planned.length,
            }),
            Some(error) => Some(SourceError::Read {
                partition: self.assembler.partition().to_string(),
                offset: self.assembler.filled_to(),
                source: explain(error, planned.kind),
            }),
            None => {
                self.assembler.end();
                None
            }
        };
    }
}

impl Reader for CompressedReader {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        loop {
            // What an earlier run has given is passed over.
            let limit = if self.assembler.offset() < self.from { self.from } else { upto };
            if let Some(chunk) = self.assembler.take(limit, pool) {
                if chunk.place.offset < self.from {
                    continue;
                }
                return Ok(Step::Chunk(self.account(chunk)));
            }
            if self.assembler.offset() >= limit && limit == upto {
                return Ok(Step::Reached);
            }
            if let Some(fault) = self.fault.take() {
                // The system's errors may pass; a file is as damaged the next time.
                let SourceError::Read { source, .. } = &fault else { return Err(fault) };
                return if source.raw_os_error().is_none() { Ok(Step::Damaged(fault)) } else { Err(fault) };
            }
            if self.assembler.ended() {
                return Ok(Step::Ended);
            }
            self.fill(pool);
            // Given even if no line has ended yet: neither a long one nor a long way to `from` keeps the worker here.
            let passed = self.assembler.offset() >= self.from;
            let chunk = if passed { self.assembler.take(upto, pool) } else { None };
            let chunk = chunk.unwrap_or_else(|| self.assembler.nothing(pool));
            return Ok(Step::Chunk(self.account(chunk)));
        }
    }

    fn offset(&self) -> u64 {
        self.assembler.offset()
    }
}

/// Says of a decoder's error what is wrong with the file; leaves the system's errors as they are.
pub(super) fn explain(error: io::Error, kind: FileKind) -> io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let (name, more) = match kind {
        FileKind::Zstd => ("zstd", ", or needs more than 128 MiB of memory"),
        _ => ("gzip", ""),
    };
    let text = if error.kind() == ErrorKind::UnexpectedEof {
        format!(
            "the {name} data is truncated: the file ends in the middle of it\n  \
             hint: if the file is still being written, run again when it is complete"
        )
    } else {
        format!(
            "{error}: the {name} data is corrupt, or followed by bytes that are not {name}{more}\n  \
             hint: `{name} -t` tests the file"
        )
    };
    io::Error::new(error.kind(), text)
}

/// A file up to its planned length, decompressed.
pub(super) enum Decoder {
    Plain(BufReader<Take<File>>),
    Gzip(MultiGzDecoder<BufReader<Take<File>>>),
    Zstd(zstd::Decoder<'static, BufReader<Take<File>>>),
}

impl Decoder {
    /// What `file`, which was planned so, has decompressed.
    pub(super) fn new(file: File, planned: &FoundFile) -> io::Result<Self> {
        Self::limited(file, planned.kind, planned.limit())
    }

    /// What `file` has decompressed.
    pub(super) fn of(file: File, kind: FileKind) -> io::Result<Self> {
        Self::limited(file, kind, u64::MAX)
    }

    fn limited(file: File, kind: FileKind, limit: u64) -> io::Result<Self> {
        let file = BufReader::with_capacity(COMPRESSED, file.take(limit));
        Ok(match kind {
            FileKind::Plain => Decoder::Plain(file),
            FileKind::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(file)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Decoder::Zstd(decoder)
            }
            FileKind::Gzip => Decoder::Gzip(MultiGzDecoder::new(file)),
        })
    }

    /// Compressed bytes not yet read from the file.
    fn unread(&self) -> u64 {
        match self {
            Decoder::Plain(file) => file.get_ref().limit(),
            Decoder::Gzip(decoder) => decoder.get_ref().get_ref().limit(),
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref().limit(),
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Plain(file) => file.read(bytes),
            Decoder::Gzip(decoder) => decoder.read(bytes),
            Decoder::Zstd(decoder) => decoder.read(bytes),
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Decoder::Plain(_) => "Plain",
            Decoder::Gzip(_) => "Gzip",
            Decoder::Zstd(_) => "Zstd",
        };
        f.debug_struct(name).field("unread", &self.unread()).finish_non_exhaustive()
    }
}
