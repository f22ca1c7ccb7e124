//! Lines that are in memory already: those of a script, and those that a program pushes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::assemble::Assembler;
use super::shared::SharedReader;
use super::{Access, Found, Pool, ReadOptions, Reader, Share, Source, SourceError, Step, Wake};

/// Lines in memory, as a source.
///
/// ```
/// use std::sync::Arc;
/// use thalweg::source::{Memory, Source};
/// let memory = Memory::fixed(vec![("script:".into(), Arc::from(&b"one\ntwo\n"[..]))]);
/// assert!(memory.is_bounded());
/// assert_eq!(memory.find().unwrap()[0].length, Some(8));
/// ```
#[derive(Debug)]
pub struct Memory {
    parts: Vec<(Arc<str>, Part)>,
    chunk_bytes: Option<u64>,
    ends: bool,
}

#[derive(Debug)]
enum Part {
    Fixed(Arc<[u8]>),
    Pushed(Arc<Mutex<Queue>>),
}

/// What was pushed and not read.
#[derive(Default)]
struct Queue {
    pieces: VecDeque<Vec<u8>>,
    ended: bool,
    wake: Option<Wake>,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("pieces", &self.pieces.len()).finish_non_exhaustive()
    }
}

impl Memory {
    /// Partitions whose lines are all there; all workers read them.
    pub fn fixed(parts: Vec<(Arc<str>, Arc<[u8]>)>) -> Self {
        let parts = parts.into_iter().map(|(name, bytes)| (name, Part::Fixed(bytes))).collect();
        Memory { parts, chunk_bytes: None, ends: true }
    }

    /// As this, dealt out among the workers in chunks of so many bytes, whatever the run says.
    #[must_use]
    pub fn in_chunks_of(self, bytes: u64) -> Self {
        Memory { chunk_bytes: Some(bytes), ..self }
    }

    /// As this, with partitions that are caught up with, and never at their end.
    #[must_use]
    pub fn open_ended(self) -> Self {
        Memory { ends: false, ..self }
    }

    /// Partitions into which lines are pushed, and their writers; partition number n is read by worker n.
    ///
    /// ```
    /// use thalweg::source::{Memory, Pool, ReadOptions, Share, Source, Step};
    /// # fn main() -> Result<(), thalweg::source::SourceError> {
    /// let (memory, writers) = Memory::pushed(vec!["pushed:".into()]);
    /// let found = memory.find()?;
    /// let share = Share { worker: 0, peers: 1 };
    /// let mut reader =
    ///     memory.open(&found[0], 0, share, ReadOptions::default(), std::sync::Arc::new(|| ()))?;
    /// writers[0].push(b"one\ntw".to_vec());
    /// let Step::Chunk(chunk) = reader.poll(u64::MAX, &Pool::default())? else { panic!("there is a line") };
    /// assert_eq!(chunk.bytes(), b"one\n");
    /// # Ok(())
    /// # }
    /// ```
    pub fn pushed(names: Vec<Arc<str>>) -> (Self, Vec<MemoryWriter>) {
        let queues: Vec<Arc<Mutex<Queue>>> = names.iter().map(|_| Arc::default()).collect();
        let writers = queues.iter().map(|queue| MemoryWriter(Arc::clone(queue))).collect();
        let parts = names.into_iter().zip(queues).map(|(name, queue)| (name, Part::Pushed(queue))).collect();
        (Memory { parts, chunk_bytes: None, ends: true }, writers)
    }
}

/// Pushes lines into a partition of [`Memory::pushed`].
#[derive(Clone, Debug)]
pub struct MemoryWriter(Arc<Mutex<Queue>>);

impl MemoryWriter {
    /// Pushes bytes: any number of lines, and pieces of them.
    pub fn push(&self, bytes: Vec<u8>) {
        self.change(|queue| queue.pieces.push_back(bytes));
    }

    /// Ends the partition; what follows the last LF is a line.
    pub fn end(&self) {
        self.change(|queue| queue.ended = true);
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut queue);
        if let Some(wake) = &queue.wake {
            wake();
        }
    }
}

impl Source for Memory {
    fn uri(&self) -> &str {
        "memory:"
    }

    fn is_bounded(&self) -> bool {
        self.ends && self.parts.iter().all(|(_, part)| matches!(part, Part::Fixed(_)))
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        let found = self.parts.iter().enumerate().map(|(at, (name, part))| {
            let length = match part {
                Part::Fixed(bytes) => Some(bytes.len() as u64),
                Part::Pushed(_) => None,
            };
            Found {
                name: Arc::clone(name),
                identity: name.to_string(),
                access: if length.is_some() { Access::Shared } else { Access::Sequential },
                length,
                bytes: length.unwrap_or(0),
                detail: at.to_string(),
            }
        });
        Ok(found.collect())
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let part = partition.detail.parse::<usize>().ok().and_then(|at| self.parts.get(at));
        let name = Arc::clone(&partition.name);
        Ok(match part {
            Some((_, Part::Fixed(bytes))) => {
                let chunk_bytes = self.chunk_bytes.unwrap_or(options.chunk_bytes);
                let options = ReadOptions { chunk_bytes, ..options };
                let length = bytes.len() as u64;
                let reader = SharedReader::new(Arc::clone(bytes), name, length, from, share, options);
                Box::new(if self.ends { reader } else { reader.open_ended() })
            }
            Some((_, Part::Pushed(queue))) if from == 0 => {
                let mut waiting = queue.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.wake = Some(wake);
                drop(waiting);
                let assembler = Assembler::new(name, options.max_line);
                Box::new(PushedReader { queue: Arc::clone(queue), assembler, stopped: false })
            }
            _ => return Err(SourceError::Gone { partition: name.to_string(), offset: from }),
        })
    }
}

/// Reads what is pushed.
#[derive(Debug)]
struct PushedReader {
    queue: Arc<Mutex<Queue>>,
    assembler: Assembler,
    stopped: bool,
}

impl Reader for PushedReader {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        loop {
            if let Some(chunk) = self.assembler.take(upto, pool) {
                return Ok(Step::Chunk(chunk));
            }
            if self.assembler.ended() {
                return Ok(Step::Ended);
            }
            if self.assembler.offset() >= upto {
                return Ok(Step::Reached);
            }
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            match queue.pieces.pop_front() {
                Some(bytes) => {
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

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn has_stopped(&self) -> bool {
        self.stopped && self.queue.lock().unwrap_or_else(PoisonError::into_inner).pieces.is_empty()
    }
}
