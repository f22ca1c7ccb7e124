//! What a worker reads of the journal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread::Builder;

use super::Settings;
use super::child::{Message, Runner, Shared};
use super::entries::{Batch, Entries};
use crate::envelope::Envelope;
use crate::source::{Chunk, Found, Place, Pool, Reader, SourceError, Step, Wake};

/// Batches that wait for the worker at most.
const QUEUE: usize = 4;

/// Reads entries as the command writes them.
#[derive(Debug)]
pub(super) struct JournaldReader {
    name: Arc<str>,
    envelope: Envelope,
    messages: Receiver<Message>,
    shared: Arc<Shared>,
    batch: Batch,
    /// How many lines of the batch have been given.
    given: usize,
    /// Behind the last line that was given.
    offset: u64,
    ended: bool,
    stopping: bool,
    stopped: bool,
}

impl JournaldReader {
    pub(super) fn start(
        settings: Settings,
        partition: &Found,
        from: u64,
        envelope: Envelope,
        wake: Wake,
    ) -> io::Result<Self> {
        let (sender, messages) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::new());
        let name = Arc::clone(&partition.name);
        let runner = Runner {
            settings,
            entries: Entries::new(Arc::clone(&name), envelope.max_line, from),
            shared: Arc::clone(&shared),
            messages: sender,
            wake,
        };
        Builder::new().name("journald".to_owned()).spawn(move || runner.run())?;
        Ok(JournaldReader {
            name,
            envelope,
            messages,
            shared,
            batch: Batch::default(),
            given: 0,
            offset: from,
            ended: false,
            stopping: false,
            stopped: false,
        })
    }

    /// The next lines of the batch that have offsets before `upto`.
    fn take(&mut self, upto: u64, pool: &Pool) -> Option<Chunk> {
        let rest = self.batch.lines.get(self.given..).unwrap_or_default();
        let count = rest.partition_point(|(_, offset)| *offset < upto);
        let ours = self.batch.oversize.iter().take_while(|it| it.place.offset < upto).count();
        let oversize: Vec<_> = self.batch.oversize.drain(..ours).collect();
        let last = rest[..count].last().map(|(_, offset)| *offset);
        let last = last.max(oversize.last().map(|it| it.place.offset))?;
        let first = rest.first().filter(|_| count > 0);
        let begin = first.map_or(0, |(begin, _)| *begin);
        let end = match count {
            0 => begin,
            _ => rest.get(count).map_or(self.batch.bytes.len(), |(begin, _)| *begin),
        };
        let mut buffer = pool.take();
        buffer.room(end - begin).copy_from_slice(&self.batch.bytes[begin..end]);
        rest[..count].iter().for_each(|(at, offset)| buffer.number(at - begin, *offset));
        let first =
            first.map(|(_, offset)| *offset).into_iter().chain(oversize.first().map(|it| it.place.offset));
        let place = Place { partition: Arc::clone(&self.name), offset: first.min().unwrap_or(self.offset) };
        let mut chunk = Chunk::new(place, buffer, 0, end - begin);
        chunk.oversize = oversize;
        chunk.envelope = Some(self.envelope);
        self.given += count;
        self.offset = last + 1;
        Some(chunk)
    }
}

impl Reader for JournaldReader {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        loop {
            if let Some(chunk) = self.take(upto, pool) {
                return Ok(Step::Chunk(chunk));
            }
            if self.given < self.batch.lines.len() || !self.batch.oversize.is_empty() {
                return Ok(Step::Reached);
            }
            if self.ended {
                return Ok(Step::Ended);
            }
            if self.offset >= upto {
                return Ok(Step::Reached);
            }
            match self.messages.try_recv() {
                Ok(Message::Entries(batch)) => (self.batch, self.given) = (batch, 0),
                Ok(Message::End) => self.ended = true,
                Ok(Message::Failed(reason)) => {
                    return Err(SourceError::Service { service: "journald".to_owned(), reason });
                }
                Err(TryRecvError::Empty) => {
                    // What is under way stays in the journal, and the command may be slow to end.
                    self.stopped = self.stopping;
                    return Ok(Step::CaughtUp);
                }
                Err(TryRecvError::Disconnected) => {
                    self.stopped = true;
                    return Ok(Step::CaughtUp);
                }
            }
        }
    }

    fn offset(&self) -> u64 {
        self.offset
    }

    fn is_at_end(&self) -> bool {
        self.offset >= self.shared.newest.load(Ordering::SeqCst)
    }

    fn stop(&mut self) {
        self.stopping = true;
        self.shared.stop();
    }

    fn has_stopped(&self) -> bool {
        self.stopped
    }
}

impl Drop for JournaldReader {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
