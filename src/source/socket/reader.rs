//! What a worker reads of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::incoming::{Came, Incoming};
use super::stream::Stream;
use crate::source::{Pool, Reader, SourceError, Step};

/// A connection: a thread that watches many sees that there is something to read, and a worker reads it.
///
/// Nothing is read before the worker wants it: what it does not want yet stays with the system, and the peer waits.
#[derive(Debug)]
pub(super) struct Connection {
    stream: Stream,
    /// Whether something has come since it was last read.
    readable: AtomicBool,
    /// Whether anything was read.
    brought: AtomicBool,
}

impl Connection {
    pub(super) fn new(stream: Stream) -> Self {
        Connection { stream, readable: AtomicBool::new(true), brought: AtomicBool::new(false) }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// There is something to read, or the end.
    pub(super) fn mark_readable(&self) {
        self.readable.store(true, Ordering::SeqCst);
    }

    /// Whether there may be something that has not been read.
    pub(super) fn is_readable(&self) -> bool {
        self.readable.load(Ordering::SeqCst)
    }

    /// How many bytes have come and not been read. The next read tries them, even if the watching thread has not seen them yet.
    fn waiting(&self) -> u64 {
        self.mark_readable();
        self.stream.waiting()
    }

    /// Reads `most` bytes at most, if there may be any.
    fn read(&self, lines: &mut Incoming, most: u64, pool: &Pool) -> Came {
        // Before the read: what comes during it is seen by the next.
        if !self.readable.swap(false, Ordering::SeqCst) {
            return Came::Nothing;
        }
        let came = lines.read(&self.stream, most, pool);
        if let Came::Bytes(len) = came {
            self.mark_readable();
            self.brought.fetch_or(len > 0, Ordering::Relaxed);
        }
        came
    }

    /// Whether anything was read of it.
    pub(super) fn has_brought(&self) -> bool {
        self.brought.load(Ordering::Relaxed)
    }
}

/// The connections of one partition, one after the other.
pub(super) trait Connections: std::fmt::Debug {
    /// The current one, if there is one.
    fn current(&mut self) -> Option<Arc<Connection>>;

    /// The current one has ended. Returns whether another may follow.
    fn next(&mut self) -> bool;
}

/// Reads the lines of connections.
#[derive(Debug)]
pub(super) struct SocketReader<C> {
    lines: Incoming,
    connections: C,
    /// Bytes that had come when it was told to stop, and are still to be read.
    left: Option<u64>,
    stopped: bool,
}

impl<C: Connections> SocketReader<C> {
    pub(super) fn new(lines: Incoming, connections: C) -> Self {
        SocketReader { lines, connections, left: None, stopped: false }
    }

    /// The connection is at its end; what it sent last is a line.
    fn end(&mut self, pool: &Pool) {
        match self.connections.next() {
            true => self.lines.end_line(pool),
            false => self.lines.end(pool),
        }
    }

    /// Stops for good, and warns of a line that is not whole.
    fn finish(&mut self) {
        let unfinished = self.lines.unfinished();
        if !std::mem::replace(&mut self.stopped, true) && unfinished > 0 {
            let partition = self.lines.partition();
            log::warn!("{partition}: the last {unfinished} bytes are no whole line and were not counted");
        }
    }
}

impl<C: Connections> Reader for SocketReader<C> {
    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        loop {
            if let Some(chunk) = self.lines.take(upto, pool) {
                return Ok(Step::Chunk(chunk));
            }
            if self.lines.ended() {
                return Ok(Step::Ended);
            }
            if self.lines.offset() >= upto {
                return Ok(Step::Reached);
            }
            let current = self.connections.current();
            if self.left == Some(0) {
                // What a peer that has gone away sent last is a line.
                if !self.stopped && current.is_some_and(|connection| connection.stream.is_at_end()) {
                    self.end(pool);
                    continue;
                }
                self.finish();
                return Ok(Step::CaughtUp);
            }
            let most = self.left.unwrap_or(u64::MAX);
            match current.map_or(Came::Nothing, |it| it.read(&mut self.lines, most, pool)) {
                Came::Bytes(len) => {
                    self.left = self.left.map(|left| left.saturating_sub(len as u64));
                    // Given even if no line has ended: a long one must not keep the worker here.
                    let chunk = self.lines.take(upto, pool);
                    return Ok(Step::Chunk(chunk.unwrap_or_else(|| self.lines.nothing(pool))));
                }
                Came::Nothing => {
                    // Everything that had come was read.
                    self.left = self.left.map(|_| 0);
                    if self.left.is_none() {
                        return Ok(Step::CaughtUp);
                    }
                }
                Came::End => {
                    self.end(pool);
                    self.left = self.left.map(|_| 0);
                }
            }
        }
    }

    fn offset(&self) -> u64 {
        self.lines.offset()
    }

    fn stop(&mut self) {
        if self.left.is_none() {
            let current = self.connections.current();
            self.left = Some(current.map_or(0, |connection| connection.waiting()));
        }
    }

    fn has_stopped(&self) -> bool {
        self.stopped
    }
}
