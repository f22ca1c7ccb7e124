//! The bytes of a connection: in clear, or by TLS.

use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, TcpStream};

use super::tls::Session;

/// A connection, which never blocks.
///
/// Whoever reads it does not see whether there is TLS in between. There is, or there is not, from the first byte to the last: nothing
/// is ever tried without it.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    session: Option<Session>,
}

/// How far a connection has come that has not been read yet.
#[derive(Debug)]
pub(super) enum Opening {
    /// It has said nothing yet.
    Waiting,
    /// Nothing yet, and there is more to look at.
    #[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "in clear, one look is enough"))]
    More,
    /// There is something to read.
    Bytes,
    /// It is at its end, without a word.
    Gone,
    /// It is not of the kind that it should be: why, and what to do.
    Failed(String),
}

impl Stream {
    pub(super) fn new(socket: TcpStream, session: Option<Session>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Stream { socket, session })
    }

    /// For a poller to watch.
    pub(super) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether it has more to write than a socket may take at once.
    pub(super) fn writes(&self) -> bool {
        self.session.is_some()
    }

    /// Whether it is TLS and not ready.
    pub(super) fn is_greeting(&self) -> bool {
        self.session.as_ref().is_some_and(Session::is_greeting)
    }

    /// Looks how far it has come, and goes on with TLS; what there is to read is left there.
    pub(super) fn open(&self) -> Opening {
        if let Some(session) = &self.session {
            return session.open(&self.socket);
        }
        let mut first = [0; 3];
        match self.socket.peek(&mut first) {
            // The first record of TLS, and no line's beginning: who sends it waits for an answer, and what it sends is no text.
            Ok(3) if first[..2] == [0x16, 3] && first[2] <= 4 => Opening::Failed(
                "it speaks TLS, and here lines come in clear\n  \
                 hint: `?tls-cert=FILE&tls-key=FILE` takes them by TLS"
                    .to_owned(),
            ),
            Ok(1..) => Opening::Bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => Opening::Waiting,
            Ok(_) | Err(_) => Opening::Gone,
        }
    }

    /// How many bytes are still to be read of those that have come by now. By TLS nobody knows: what is read ends with them.
    pub(super) fn waiting(&self) -> u64 {
        let waiting = rustix::io::ioctl_fionread(&self.socket).unwrap_or(0);
        match &self.session {
            Some(session) => {
                session.read_no_more_than(waiting);
                u64::MAX
            }
            None => waiting,
        }
    }

    /// Whether the peer has closed it and everything was read.
    pub(super) fn is_at_end(&self) -> bool {
        self.socket.peek(&mut [0]).is_ok_and(|len| len == 0)
    }

    /// Closes it, in order.
    pub(super) fn close(&self) {
        if let Some(session) = &self.session {
            session.close(&self.socket);
        }
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

impl Read for &Stream {
    /// Beside what reading a socket comes to, [`ErrorKind::Interrupted`] says that there is more to look at.
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &self.session {
            Some(session) => session.read(&self.socket, into),
            None => (&self.socket).read(into),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(session) = &self.session {
            session.close(&self.socket);
        }
    }
}
