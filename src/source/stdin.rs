//! Standard input, read by a thread of its own.
//!
//! A read from a pipe blocks, and a worker must not: the thread reads, and hands blocks over through a bounded queue.
//! When the worker falls behind, the thread waits, and with it whoever writes to the pipe.
//!
//! The thread asks whether there is something to read before it reads, a moment at a time. So it can be told to stop
//! without a read under way, and what it has taken from the pipe until then is all that it has taken.

use std::io::{self, BufReader, Chain, Cursor, ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use flate2::bufread::MultiGzDecoder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::blocks::{BlockReader, BlockWriter};
use super::compressed::{ZSTD_WINDOW_LOG_MAX, explain};
use super::file::FileKind;
use super::{Found, Pool, ReadOptions, Reader, Share, Source, SourceError, Step, Wake};

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;
/// How long the thread waits for something to read before it looks whether it is to stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Standard input as a source, with one partition that the first worker of the run reads.
///
/// It is plain, gzip or zstd, told by its first bytes.
#[derive(Debug, Default)]
pub struct Stdin {
    taken: Mutex<bool>,
}

impl Source for Stdin {
    fn uri(&self) -> &str {
        "stdin:"
    }

    fn is_bounded(&self) -> bool {
        false
    }

    fn is_replayable(&self) -> bool {
        false
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        Ok(vec![Found::pinned("stdin:", "stdin")])
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        _share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let name = partition.name.to_string();
        let again = std::mem::replace(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner), true);
        if again || from > 0 {
            return Err(SourceError::Gone { partition: name, offset: from });
        }
        // Not `Stdin` itself, which has a buffer of its own: what is in that, nobody can wait for.
        let input = io::stdin().as_fd().try_clone_to_owned();
        let input =
            input.map_err(|source| SourceError::Read { partition: name.clone(), offset: 0, source })?;
        Ok(Box::new(Pipe::new(&name, std::fs::File::from(input), options.max_line, wake)?))
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        vec!["/dev/stdin".into()]
    }
}

/// Lines from a pipe, a terminal, or anything else that is read front to back as it comes.
///
/// Whole lines are given as soon as they have arrived, however few; the unfinished rest is kept back until its LF or
/// the end of the input arrives.
///
/// ```
/// use std::io::Write;
/// use thalweg::source::{Pipe, Pool, Reader, Step};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (input, mut output) = std::io::pipe()?;
/// output.write_all(b"one\ntwo")?;
/// drop(output);
/// let worker = std::thread::current();
/// let mut pipe = Pipe::new("pipe:", input, 1024, std::sync::Arc::new(move || worker.unpark()))?;
/// let mut lines = Vec::new();
/// let pool = Pool::default();
/// loop {
///     match pipe.poll(u64::MAX, &pool)? {
///         Step::Chunk(chunk) => lines.extend(chunk.lines().map(|(offset, line)| (offset, line.to_vec()))),
///         Step::CaughtUp => std::thread::park(),
///         Step::Reached | Step::Ended => break,
///         Step::Damaged(fault) => return Err(fault.into()),
///     }
/// }
/// assert_eq!(lines, [(0, b"one".to_vec()), (4, b"two".to_vec())]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Pipe(BlockReader);

impl Pipe {
    /// Reads `input`, as the partition `name`, and calls `wake` whenever there is more.
    ///
    /// The thread ends when the input does, when it is told to stop, or soon after the pipe is dropped.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn new(
        name: &str,
        input: impl Read + AsFd + Send + 'static,
        max_line: usize,
        wake: Wake,
    ) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Read { partition: name.to_owned(), offset: 0, source };
        let (writer, reader) = BlockReader::new(Arc::from(name), max_line, wake);
        let waiting = Waiting { input, stop: reader.stop_flag() };
        Builder::new()
            .name("stdin".to_owned())
            .spawn(move || match decoded(waiting) {
                Ok(read) => hand_over(read, writer),
                Err(error) => writer.fail(error),
            })
            .map_err(failed)?;
        Ok(Pipe(reader))
    }
}

/// An input that is read only when there is something to read, and that ends when it is told to stop.
struct Waiting<R> {
    input: R,
    stop: Arc<AtomicBool>,
}

impl<R: Read + AsFd> Read for Waiting<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Ok(0);
            }
            let mut readable = [PollFd::new(&self.input, PollFlags::IN)];
            match poll(&mut readable, Some(&LOOK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            if !self.stop.load(Ordering::SeqCst) {
                return self.input.read(bytes);
            }
        }
    }
}

/// The bytes of an input as they are, or decompressed, as its first bytes say.
enum Decoded<R: Read> {
    Plain(Chain<Cursor<Vec<u8>>, R>),
    Gzip(Box<MultiGzDecoder<BufReader<Chain<Cursor<Vec<u8>>, R>>>>),
    Zstd(zstd::Decoder<'static, BufReader<Chain<Cursor<Vec<u8>>, R>>>),
}

/// Looks at the first bytes of `input`.
fn decoded<R: Read>(mut input: R) -> io::Result<Decoded<R>> {
    let (mut head, mut len) = (vec![0; BLOCK], 0);
    // No more than there is, unless that might be a magic number: the first line of a log may be shorter than one, and
    // is due at once.
    while len < FileKind::MAGIC && may_be_compressed(&head[..len]) {
        match input.read(&mut head[len..]) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    head.truncate(len);
    let kind = FileKind::of(&head);
    let input = Cursor::new(head).chain(input);
    Ok(match kind {
        FileKind::Plain => Decoded::Plain(input),
        FileKind::Gzip => {
            Decoded::Gzip(Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, input))))
        }
        FileKind::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(BLOCK, input))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Decoded::Zstd(decoder)
        }
    })
}

/// Whether these first bytes may turn out to be those of something compressed.
fn may_be_compressed(head: &[u8]) -> bool {
    let gzip = [0x1f, 0x8b, 0x08];
    let frame = [0x28, 0xb5, 0x2f, 0xfd];
    let skippable = head.first().is_none_or(|first| (0x50..=0x5f).contains(first))
        && [0x2a, 0x4d, 0x18].starts_with(head.get(1..).unwrap_or_default());
    gzip.starts_with(head) || frame.starts_with(head) || skippable
}

impl<R: Read> Decoded<R> {
    fn kind(&self) -> FileKind {
        match self {
            Decoded::Plain(_) => FileKind::Plain,
            Decoded::Gzip(_) => FileKind::Gzip,
            Decoded::Zstd(_) => FileKind::Zstd,
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Decoded::Plain(input) => input.read(bytes),
            Decoded::Gzip(input) => input.read(bytes),
            Decoded::Zstd(input) => input.read(bytes),
        }
    }
}

/// Reads to the end, to the first error, or until it is told to stop.
fn hand_over<R: Read>(mut read: Decoded<R>, writer: BlockWriter) {
    loop {
        let mut bytes = writer.take();
        bytes.resize(BLOCK, 0);
        let len = loop {
            match read.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let last = !matches!(len, Ok(1..));
        if last && writer.is_stopped() {
            // Not the end of the input, nor a stream that breaks off: nobody wants to know more.
            return;
        }
        match len {
            Ok(0) => return writer.end(),
            Ok(len) if writer.send(bytes, len) => {}
            Ok(_) => return,
            Err(error) => {
                return writer.fail(match read.kind() {
                    FileKind::Plain => error,
                    kind => explain(error, kind),
                });
            }
        }
    }
}

impl Reader for Pipe {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        self.0.poll(upto, pool)
    }

    fn offset(&self) -> u64 {
        self.0.offset()
    }

    fn stop(&mut self) {
        self.0.stop();
    }

    fn has_stopped(&self) -> bool {
        self.0.has_stopped()
    }
}
