//! Lines from blocks of bytes that a separate thread fills: what reading a pipe and generating lines have in common.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};

use super::assemble::Assembler;
use super::{Chunk, Pool, Reader, SourceError, Step, Wake};

/// Blocks that wait for the worker at most.
const QUEUE: usize = 4;

/// Bytes of a partition, and how many of them count; none at its end.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    len: usize,
}

/// Fills blocks, on a thread that may wait.
///
/// Blocks are recycled: once a few are under way, nothing is allocated.
pub struct BlockWriter {
    full: SyncSender<io::Result<Block>>,
    empty: Receiver<Vec<u8>>,
    wake: Wake,
    stop: Arc<AtomicBool>,
}

impl std::fmt::Debug for BlockWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockWriter").finish_non_exhaustive()
    }
}

impl BlockWriter {
    /// Bytes to be filled: those of a block that was read, as they were, or none.
    pub fn take(&self) -> Vec<u8> {
        self.empty.try_recv().unwrap_or_default()
    }

    /// Hands the first `len` of `bytes` over, and waits while too many blocks do; returns whether they are wanted.
    pub fn send(&self, bytes: Vec<u8>, len: usize) -> bool {
        len == 0 || self.put(Ok(Block { bytes, len }))
    }

    /// The partition is at its end; what follows the last LF is a line.
    pub fn end(self) {
        self.put(Ok(Block { bytes: Vec::new(), len: 0 }));
    }

    /// The partition cannot be read on.
    pub fn fail(self, error: io::Error) {
        self.put(Err(error));
    }

    /// Whether nothing more is to be handed over. A writer that is told so is dropped.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn put(&self, block: io::Result<Block>) -> bool {
        let wanted = self.full.send(block).is_ok();
        (self.wake)();
        wanted
    }
}

impl Drop for BlockWriter {
    fn drop(&mut self) {
        // Nothing is sent any more, and whoever waits for the writer to stop can see it now.
        self.full = sync_channel(0).0;
        (self.wake)();
    }
}

/// Reads the lines of blocks as they are filled.
///
/// Whole lines are given as soon as they have arrived, however few; the unfinished rest is kept back until its LF or the end
/// arrives. Of blocks a few wait at most: when the worker falls behind, whoever fills them waits.
///
/// ```
/// use thalweg::source::{BlockReader, Pool, Reader, Step};
/// # fn main() -> Result<(), thalweg::source::SourceError> {
/// let worker = std::thread::current();
/// let (writer, mut reader) =
///     BlockReader::new("made:".into(), 1024, std::sync::Arc::new(move || worker.unpark()));
/// std::thread::spawn(move || {
///     for number in 0..1000 {
///         let mut bytes = writer.take();
///         bytes.clear();
///         bytes.extend(format!("line {number}\n").bytes());
///         let len = bytes.len();
///         writer.send(bytes, len);
///     }
///     writer.end();
/// });
/// let (mut lines, pool) = (0, Pool::default());
/// loop {
///     match reader.poll(u64::MAX, &pool)? {
///         Step::Chunk(chunk) => lines += chunk.lines().count(),
///         Step::CaughtUp => std::thread::park(),
///         Step::Ended => break,
///         other => panic!("{other:?}"),
///     }
/// }
/// assert_eq!(lines, 1000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BlockReader {
    assembler: Assembler,
    blocks: Receiver<io::Result<Block>>,
    /// Takes blocks back to the writer.
    empty: Sender<Vec<u8>>,
    /// Bytes that have arrived and that no chunk has accounted for.
    arrived: u64,
    stop: Arc<AtomicBool>,
    stopped: bool,
}

impl BlockReader {
    /// A reader of the partition `name`, from its beginning, and what fills its blocks; `wake` is called whenever there is more.
    pub fn new(name: Arc<str>, max_line: usize, wake: Wake) -> (BlockWriter, BlockReader) {
        let (full, blocks) = sync_channel(QUEUE);
        let (empty, recycled) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let writer = BlockWriter { full, empty: recycled, wake, stop: Arc::clone(&stop) };
        let assembler = Assembler::new(name, max_line);
        (writer, BlockReader { assembler, blocks, empty, arrived: 0, stop, stopped: false })
    }

    /// What is to be set when nothing more is wanted.
    pub(super) fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    fn account(&mut self, mut chunk: Chunk) -> Chunk {
        chunk.consumed = std::mem::take(&mut self.arrived);
        chunk
    }
}

impl Drop for BlockReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

impl Reader for BlockReader {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        if let Some(chunk) = self.assembler.take(upto, pool) {
            return Ok(Step::Chunk(self.account(chunk)));
        }
        if self.assembler.ended() {
            return Ok(Step::Ended);
        }
        if self.assembler.offset() >= upto {
            return Ok(Step::Reached);
        }
        if self.stopped {
            return Ok(Step::CaughtUp);
        }
        let block = match self.blocks.try_recv() {
            Ok(block) => block,
            Err(TryRecvError::Empty) => return Ok(Step::CaughtUp),
            Err(TryRecvError::Disconnected) if self.stop.load(Ordering::SeqCst) => {
                self.stopped = true;
                let unfinished = self.assembler.filled_to() - self.assembler.offset();
                if unfinished > 0 {
                    log::warn!(
                        "{}: the last {unfinished} bytes are no whole line and were not counted",
                        self.assembler.partition()
                    );
                }
                return Ok(Step::CaughtUp);
            }
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
        // If the writer is gone it needs no more blocks.
        let _ = self.empty.send(bytes);
        // Given even if no line has ended: a long one must not keep the worker here.
        let chunk = self.assembler.take(upto, pool).unwrap_or_else(|| self.assembler.nothing(pool));
        Ok(Step::Chunk(self.account(chunk)))
    }

    fn offset(&self) -> u64 {
        self.assembler.offset()
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    fn has_stopped(&self) -> bool {
        self.stopped
    }
}
