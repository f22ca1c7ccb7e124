//! One connection's TLS: what comes by it is read as if there were none.

use std::io::{self, BufRead, ErrorKind, Read};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::Connection;

use super::verify::Refused;
use super::words::{Side, describe};
use crate::source::socket::stream::Opening;
use crate::source::socket::tally::Tally;

/// How many reads of a socket may bring nothing to read before others have their turn: records may be empty.
const AT_ONCE: usize = 16;

/// What the connections of a source have in common.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) uri: String,
    pub(super) side: Side,
    pub(super) refused: Refused,
    /// Connections that ended without the word that says that nothing was cut off.
    pub(super) cuts: Tally,
}

/// The TLS of one connection.
///
/// Nothing is read of the socket that is not wanted yet, but for what a record has more: it is decrypted whole.
#[derive(Debug)]
pub struct Session {
    state: Mutex<State>,
    /// Who the other side is.
    peer: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct State {
    tls: Connection,
    /// What has gone wrong, for when everything before it was read.
    failed: Option<io::Error>,
    /// How many bytes are still read of the socket.
    left: u64,
    /// Whether anything has come.
    begun: bool,
    /// Whether this side has said that it is at its end.
    closed: bool,
}

impl State {
    /// Whether there is something to read.
    fn has_bytes(&mut self) -> bool {
        self.tls.reader().fill_buf().is_ok_and(|bytes| !bytes.is_empty())
    }

    /// Takes in what the socket has; returns how many bytes that were, of which none is the end.
    fn pull(&mut self, mut socket: &TcpStream) -> io::Result<usize> {
        if self.left == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = self.tls.read_tls(&mut Read::by_ref(&mut socket).take(self.left))?;
        self.left -= len as u64;
        self.begun |= len > 0;
        let done = self.tls.process_new_packets();
        // Where it went wrong, the other side is told.
        self.push(socket);
        done.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(len)
    }

    /// Writes what there is to be written. What the socket does not take now it is given later.
    fn push(&mut self, mut socket: &TcpStream) {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut socket) {
                Ok(1..) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A broken connection is seen where it is read.
                Ok(0) | Err(_) => return,
            }
        }
    }
}

impl Session {
    pub(super) fn new(tls: Connection, peer: String, shared: &Arc<Shared>) -> Self {
        let state = State { tls, failed: None, left: u64::MAX, begun: false, closed: false };
        Session { state: Mutex::new(state), peer, shared: Arc::clone(shared) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the two sides have not agreed yet.
    pub fn is_greeting(&self) -> bool {
        self.state().tls.is_handshaking()
    }

    /// Goes on until there is something to read.
    pub fn open(&self, socket: &TcpStream) -> Opening {
        let mut state = self.state();
        state.push(socket);
        for _ in 0..AT_ONCE {
            if state.has_bytes() {
                return Opening::Bytes;
            }
            match state.pull(socket) {
                Ok(0) if !state.begun => return Opening::Gone,
                Ok(0) if state.tls.is_handshaking() => {
                    return Opening::Failed("it ended before TLS was agreed on".to_owned());
                }
                Ok(0) => {
                    self.ended(&mut state);
                    return Opening::Gone;
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Opening::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if state.has_bytes() => {
                    state.failed = Some(error);
                    return Opening::Bytes;
                }
                Err(error) => return Opening::Failed(self.describe(&error)),
            }
        }
        Opening::More
    }

    /// Reads what was sent by TLS. `Ok(0)` is the end that the other side has said.
    pub fn read(&self, socket: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.state();
        for _ in 0..AT_ONCE {
            match state.tls.reader().read(into) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // Whoever is shown out need not say goodbye.
                Err(_) if state.closed => return Ok(0),
                Err(error) => return Err(self.cut(error)),
                read => return read,
            }
            if let Some(error) = state.failed.take() {
                return Err(self.cut(error));
            }
            match state.pull(socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => state.failed = Some(error),
            }
        }
        Err(ErrorKind::Interrupted.into())
    }

    /// Reads `bytes` more of the socket, and then nothing.
    pub fn read_no_more_than(&self, bytes: u64) {
        self.state().left = bytes;
    }

    /// Says that this side is at its end.
    pub fn close(&self, socket: &TcpStream) {
        let mut state = self.state();
        state.closed = true;
        state.tls.send_close_notify();
        state.push(socket);
    }

    /// The socket is at its end, and nothing came by it: in order or not.
    fn ended(&self, state: &mut State) {
        if let Err(error) = state.tls.reader().read(&mut [0]) {
            self.cut(error);
        }
    }

    /// `error`, which cut the connection off.
    fn cut(&self, error: io::Error) -> io::Error {
        let Session { peer, shared, .. } = self;
        let reason = self.describe(&error);
        shared.cuts.warn(|count| {
            format!(
                "{}: {count} connections ended without TLS being closed, so their last lines may be missing or be cut off; \
                 the last was that of {peer}: {reason}",
                shared.uri
            )
        });
        error
    }

    fn describe(&self, error: &io::Error) -> String {
        describe(error, &self.shared.refused, self.shared.side)
    }
}
