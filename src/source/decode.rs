//! Sequential lanes: compressed files, which cannot be entered in the middle.
//!
//! One worker reads a lane's files, one after the other, and each to its planned end, through all its members or
//! frames. A fault in a stream is told only when every whole line before it has been given.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Take};
use std::sync::Arc;

use flate2::bufread::MultiGzDecoder;

use crate::source::assemble::Assembler;
use crate::source::plan::{FileKind, PlannedFile};
use crate::source::{Chunk, Pool, Reader, SourceError, Step};

/// Compressed bytes are read from a file so many at a time.
const COMPRESSED: usize = 128 << 10;
/// Decompressed bytes of one poll.
const DECOMPRESSED: usize = 256 << 10;
/// A frame may ask for 2^27 bytes (128 MiB) of history and no more, as with the `zstd` command.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// One worker's sequential lane.
///
/// Places in a lane are counted in decompressed bytes of all its files, one after the other.
#[derive(Debug)]
pub(super) struct LaneReader {
    /// Those not read to their end; the first is the one being read.
    files: VecDeque<PlannedFile>,
    max_line: usize,
    /// Bytes of the lane in each epoch.
    quota: u64,
    /// Where in the lane the open epoch begins.
    epoch_begin: u64,
    /// Where in the lane the first of `files` begins.
    base: u64,
    open: Option<OpenFile>,
    /// The file before that, and its decompressed length.
    finished: Option<(Arc<str>, u64)>,
    /// Where the closed epochs end.
    position: Option<(Arc<str>, u64)>,
}

impl LaneReader {
    /// A lane of `files`, each epoch of which holds the lines that start in the next `quota` bytes.
    pub(super) fn new(files: VecDeque<PlannedFile>, quota: u64, max_line: usize) -> Self {
        LaneReader {
            files,
            max_line,
            quota,
            epoch_begin: 0,
            base: 0,
            open: None,
            finished: None,
            position: None,
        }
    }

    fn end_epoch(&mut self, position: Option<(Arc<str>, u64)>) -> Step {
        self.epoch_begin = self.epoch_begin.saturating_add(self.quota);
        self.position = position;
        Step::EndEpoch
    }
}

impl Reader for LaneReader {
    fn poll(&mut self, pool: &Pool) -> Result<Step, SourceError> {
        while let Some(planned) = self.files.front() {
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(OpenFile::open(planned, self.max_line)?),
            };
            let limit = self.epoch_begin.saturating_add(self.quota).saturating_sub(self.base);
            if let Some(chunk) = open.assembler.take(limit, pool) {
                return Ok(Step::Chunk(open.account(chunk)));
            }
            let place = (open.assembler.partition().clone(), open.assembler.offset());
            if place.1 >= limit {
                return Ok(self.end_epoch(Some(place)));
            }
            if let Some(fault) = open.fault.take() {
                return Err(fault);
            }
            if open.assembler.ended() {
                self.base += place.1;
                self.finished = Some(place);
                self.open = None;
                self.files.pop_front();
                continue;
            }
            open.fill(planned, pool);
            // Given even if no line has ended yet: a long one must not keep the worker here.
            let chunk = open.assembler.take(limit, pool).unwrap_or_else(|| open.assembler.nothing(pool));
            return Ok(Step::Chunk(open.account(chunk)));
        }
        if self.base > self.epoch_begin {
            return Ok(self.end_epoch(self.finished.clone()));
        }
        Ok(Step::Done)
    }

    fn position(&self) -> Vec<(Arc<str>, u64)> {
        self.position.iter().cloned().collect()
    }
}

/// The file being read.
#[derive(Debug)]
struct OpenFile {
    decoder: Decoder,
    /// Compressed bytes read that no chunk has accounted for.
    read: u64,
    assembler: Assembler,
    /// What stopped the decoder.
    fault: Option<SourceError>,
}

impl OpenFile {
    fn open(planned: &PlannedFile, max_line: usize) -> Result<Self, SourceError> {
        let decoder = Decoder::open(planned)
            .map_err(|source| SourceError::Open { path: planned.path.clone(), source })?;
        let assembler = Assembler::new(planned.partition(), max_line);
        // The gzip decoder has read the header already.
        let read = planned.length - decoder.unread();
        Ok(OpenFile { decoder, read, assembler, fault: None })
    }

    fn account(&mut self, mut chunk: Chunk) -> Chunk {
        chunk.consumed = std::mem::take(&mut self.read);
        chunk
    }

    /// Decompresses more, if there is more.
    fn fill(&mut self, planned: &PlannedFile, pool: &Pool) {
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
            _ if early && self.decoder.unread() > 0 => Some(SourceError::Shrunk {
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

/// Says of a decoder's error what is wrong with the file; leaves the system's errors as they are.
fn explain(error: io::Error, kind: FileKind) -> io::Error {
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
enum Decoder {
    Gzip(MultiGzDecoder<BufReader<Take<File>>>),
    Zstd(zstd::Decoder<'static, BufReader<Take<File>>>),
}

impl Decoder {
    fn open(planned: &PlannedFile) -> io::Result<Self> {
        let file = File::open(&planned.path)?.take(planned.length);
        let file = BufReader::with_capacity(COMPRESSED, file);
        Ok(match planned.kind {
            FileKind::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(file)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Decoder::Zstd(decoder)
            }
            _ => Decoder::Gzip(MultiGzDecoder::new(file)),
        })
    }

    /// Compressed bytes not yet read from the file.
    fn unread(&self) -> u64 {
        match self {
            Decoder::Gzip(decoder) => decoder.get_ref().get_ref().limit(),
            Decoder::Zstd(decoder) => decoder.get_ref().get_ref().limit(),
        }
    }
}

impl Read for Decoder {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoder::Gzip(decoder) => decoder.read(bytes),
            Decoder::Zstd(decoder) => decoder.read(bytes),
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Decoder::Gzip(_) => "Gzip",
            Decoder::Zstd(_) => "Zstd",
        };
        f.debug_struct(name).field("unread", &self.unread()).finish_non_exhaustive()
    }
}
