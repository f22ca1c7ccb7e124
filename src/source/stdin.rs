//! Standard input, read by a thread of its own.
//!
//! A read from a pipe blocks, and a worker must not: the thread reads, and hands blocks over through a bounded
//! queue. When the worker falls behind, the thread waits, and with it whoever writes to the pipe.

use std::io::{self, ErrorKind, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread::{Builder, Thread};

use crate::source::assemble::Assembler;
use crate::source::{Chunk, Pool, Reader, SourceError, Step};

/// Bytes read at a time.
const BLOCK: usize = 256 << 10;
/// Blocks that wait for the worker at most.
const QUEUE: usize = 4;

/// What one read gave; nothing at the end of the input.
#[derive(Debug)]
struct Block {
    bytes: Box<[u8]>,
    len: usize,
}

/// Lines from a pipe, a terminal, or anything else that is read front to back.
///
/// Whole lines are given as soon as they have arrived, however few; the unfinished rest is kept back until its LF
/// or the end of the input arrives. It ends no epochs.
///
/// ```
/// use thalweg::source::{Pool, Reader, Stdin, Step};
/// # fn main() -> Result<(), thalweg::source::SourceError> {
/// let input: &[u8] = b"one\ntwo";
/// let mut source = Stdin::from_read("pipe:", input, 1024, std::thread::current())?;
/// let mut lines = Vec::new();
/// let pool = Pool::default();
/// loop {
///     match source.poll(&pool)? {
///         Step::Chunk(chunk) => lines.extend(chunk.lines().map(|(offset, line)| (offset, line.to_vec()))),
///         Step::Idle => std::thread::park(),
///         Step::EndEpoch => unreachable!("a live source ends no epochs"),
///         Step::Done => break,
///     }
/// }
/// assert_eq!(lines, [(0, b"one".to_vec()), (4, b"two".to_vec())]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stdin {
    assembler: Assembler,
    blocks: Receiver<io::Result<Block>>,
    /// Takes blocks back to the thread.
    empty: Sender<Box<[u8]>>,
    /// Bytes that have arrived and that no chunk has accounted for.
    arrived: u64,
}

impl Stdin {
    /// Reads standard input, and unparks `worker` whenever there is more.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn new(max_line: usize, worker: Thread) -> Result<Self, SourceError> {
        Stdin::from_read("stdin:", io::stdin(), max_line, worker)
    }

    /// Reads `read` in the same way, as the partition `name`.
    ///
    /// The thread ends when the input does, or when it next has something to hand over after the source is dropped.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn from_read(
        name: &str,
        read: impl Read + Send + 'static,
        max_line: usize,
        worker: Thread,
    ) -> Result<Self, SourceError> {
        let (full, blocks) = sync_channel(QUEUE);
        let (empty, recycled) = channel();
        let failed = |source| SourceError::Read { partition: name.to_owned(), offset: 0, source };
        Builder::new()
            .name("stdin".to_owned())
            .spawn(move || hand_over(read, &full, &recycled, &worker))
            .map_err(failed)?;
        Ok(Stdin { assembler: Assembler::new(Arc::from(name), max_line), blocks, empty, arrived: 0 })
    }

    fn account(&mut self, mut chunk: Chunk) -> Chunk {
        chunk.consumed = std::mem::take(&mut self.arrived);
        chunk
    }
}

/// Reads to the end, to the first error, or until nobody listens.
fn hand_over(
    mut read: impl Read,
    full: &SyncSender<io::Result<Block>>,
    recycled: &Receiver<Box<[u8]>>,
    worker: &Thread,
) {
    loop {
        let mut bytes = recycled.try_recv().unwrap_or_else(|_| vec![0; BLOCK].into_boxed_slice());
        let block = loop {
            match read.read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other.map(|len| Block { bytes, len }),
            }
        };
        let last = !matches!(&block, Ok(block) if block.len > 0);
        let heard = full.send(block).is_ok();
        worker.unpark();
        if last || !heard {
            return;
        }
    }
}

impl Reader for Stdin {
    fn poll(&mut self, pool: &Pool) -> Result<Step, SourceError> {
        if let Some(chunk) = self.assembler.take(u64::MAX, pool) {
            return Ok(Step::Chunk(self.account(chunk)));
        }
        if self.assembler.ended() {
            return Ok(Step::Done);
        }
        let block = match self.blocks.try_recv() {
            Ok(block) => block,
            Err(TryRecvError::Empty) => return Ok(Step::Idle),
            Err(TryRecvError::Disconnected) => Err(io::Error::other("its thread has ended")),
        };
        let Block { bytes, len } = block.map_err(|source| SourceError::Read {
            partition: self.assembler.partition().to_string(),
            offset: self.assembler.filled_to(),
            source,
        })?;
        if len == 0 {
            self.assembler.end();
        }
        self.assembler.space(len, pool).copy_from_slice(&bytes[..len]);
        self.assembler.filled(len);
        self.arrived += len as u64;
        // If the thread has ended it needs no more blocks.
        let _ = self.empty.send(bytes);
        // Given even if no line has ended: a long one must not keep the worker here.
        let chunk = self.assembler.take(u64::MAX, pool).unwrap_or_else(|| self.assembler.nothing(pool));
        Ok(Step::Chunk(self.account(chunk)))
    }

    fn position(&self) -> Vec<(Arc<str>, u64)> {
        vec![(self.assembler.partition().clone(), self.assembler.offset())]
    }
}
