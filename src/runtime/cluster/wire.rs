//! One connection while it is shaken hands on: messages, their tags, and one deadline for all of them.
//!
//! Knows the bytes of a message; does not know what the messages are for (see [`super::handshake`]).
//!
//! Every message but the first is authenticated by one rule: its tag is the HMAC of *everything that both sides have
//! said on this connection so far*, this message included, each message marked with the role of who sent it. As both
//! sides begin with a fresh nonce, a tag is worth nothing in another connection (replay), in the other direction
//! (reflection), or after any byte was changed.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use socket2::{SockRef, TcpKeepalive};

use crate::runtime::clock::now;
use crate::runtime::cluster::{Mismatch, Secret};

/// How a connection of ours begins. The first byte is not text, so no text protocol begins so.
const MAGIC: [u8; 8] = *b"\x89thalweg";
/// The version of the handshake. Magic, version and nonce keep their places in every version.
pub(super) const VERSION: u32 = 1;
const NONCE_LENGTH: usize = 32;
const HELLO_LENGTH: usize = MAGIC.len() + size_of::<u32>() + NONCE_LENGTH;
const HEAD_LENGTH: usize = 1 + size_of::<u32>();
const TAG_LENGTH: usize = 32;

/// An idle peer is asked for a sign of life after this time, and again after each such time ...
const KEEPALIVE: Duration = Duration::from_secs(1);
/// ... until it has missed this many.
const KEEPALIVE_TRIES: u32 = 3;
/// A peer that takes none of our bytes for this long is gone.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// The latest that a deadline can be; [`Instant`] cannot count to the end of every `Duration`.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The instant that is `wait` from now.
pub(super) fn deadline_in(wait: Duration) -> Instant {
    now() + wait.min(FOREVER)
}

/// Bytes that nobody has seen before.
pub(super) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(bytes)
}

/// The messages of the handshake, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Hello = 0,
    Proof = 1,
    Claim = 2,
    Offer = 3,
    Confirm = 4,
    Welcome = 5,
}

/// Which end of a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Role {
    Connector = b'C',
    Acceptor = b'A',
}

impl Role {
    fn other(self) -> Self {
        match self {
            Self::Connector => Self::Acceptor,
            Self::Acceptor => Self::Connector,
        }
    }
}

/// Why a handshake did not succeed, said of the other side.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it closed the connection where its {awaiting:?} should have come")]
    Closed { awaiting: Kind },
    #[error("it was too slow: the time for the handshake was over before its {awaiting:?} had come")]
    Slow { awaiting: Kind },
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("it does not speak our protocol: it began with \"{}\"", .found.escape_ascii())]
    Stray { found: Vec<u8> },
    #[error("it speaks version {theirs} of the handshake, we speak version {VERSION}")]
    Version { theirs: u32 },
    #[error(
        "it sent {bytes} bytes of message {kind}, where its {awaiting:?} of at most {limit} bytes should have come"
    )]
    Unexpected { awaiting: Kind, limit: usize, kind: u8, bytes: usize },
    #[error("it does not know the cluster secret")]
    Unproved,
    #[error("its {kind:?} was changed on the way")]
    Changed { kind: Kind },
    #[error("{mismatch}")]
    Mismatch { process: usize, mismatch: Mismatch },
}

impl Fault {
    /// Which process the other side says it is, where it came so far that this is known, and it is not ours.
    pub(super) fn claimed(&self) -> Option<usize> {
        match self {
            Self::Mismatch { process, .. } => Some(*process),
            _ => None,
        }
    }

    /// Whether the other side may well be a process that was meant to join.
    pub(super) fn is_of_a_kin(&self) -> bool {
        matches!(self, Self::Version { .. } | Self::Unproved | Self::Mismatch { .. })
    }
}

/// One connection in its handshake.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    role: Role,
    deadline: Instant,
    transcript: Hmac<Sha256>,
}

impl Wire {
    /// Takes `stream` for a handshake that must be over, as a whole, within `time`.
    pub(super) fn new(
        stream: TcpStream,
        role: Role,
        secret: Option<&Secret>,
        time: Duration,
    ) -> io::Result<Self> {
        // On some systems an accepted socket inherits this from its listener.
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        let mut transcript =
            Hmac::new_from_slice(secret.map_or(&[], Secret::bytes)).expect("HMAC takes keys of any length");
        // HMAC pads its key with zeros, so a secret of zeros would be as good as none without this.
        transcript.update(&[u8::from(secret.is_some())]);
        Ok(Self { stream, role, deadline: deadline_in(time), transcript })
    }

    /// The socket, ready for timely: it blocks, and finds out within seconds when the host at its other end vanishes.
    pub(super) fn into_socket(self) -> io::Result<TcpStream> {
        self.stream.set_read_timeout(None)?;
        self.stream.set_write_timeout(None)?;
        let socket = SockRef::from(&self.stream);
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
        socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_TRIES))?;
        #[cfg(target_os = "linux")]
        socket.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
        Ok(self.stream)
    }

    /// Says who we are and what we speak, with a fresh nonce.
    pub(super) fn send_hello(&mut self) -> Result<(), Fault> {
        let mut hello = Vec::with_capacity(HELLO_LENGTH);
        hello.extend_from_slice(&MAGIC);
        hello.extend_from_slice(&VERSION.to_be_bytes());
        hello.extend_from_slice(&random::<NONCE_LENGTH>()?);
        self.record(self.role, &hello);
        self.write(&hello, Kind::Hello)
    }

    /// Hears the other side's hello; returns its version. A stranger is known by its first wrong byte.
    pub(super) fn receive_hello(&mut self) -> Result<u32, Fault> {
        let mut hello = [0; HELLO_LENGTH];
        let mut filled = 0;
        while filled < HELLO_LENGTH {
            filled += self.read_some(&mut hello[filled..], Kind::Hello)?;
            let seen = filled.min(MAGIC.len());
            if hello[..seen] != MAGIC[..seen] {
                return Err(Fault::Stray { found: hello[..filled].to_vec() });
            }
        }
        self.record(self.role.other(), &hello);
        let [a, b, c, d] = [8, 9, 10, 11].map(|place| hello[place]);
        Ok(u32::from_be_bytes([a, b, c, d]))
    }

    /// Sends one message, tagged.
    pub(super) fn send(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(payload.len()).expect("all messages of ours are far below 4 GiB");
        let mut message = Vec::with_capacity(HEAD_LENGTH + payload.len() + TAG_LENGTH);
        message.push(kind as u8);
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(payload);
        self.record(self.role, &message);
        message.extend_from_slice(&self.transcript.clone().finalize().into_bytes());
        self.write(&message, kind)
    }

    /// Receives the one message that may come now, of at most `limit` bytes, and checks its tag.
    pub(super) fn receive(&mut self, awaiting: Kind, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut head = [0; HEAD_LENGTH];
        self.read(&mut head, awaiting)?;
        let [kind, a, b, c, d] = head;
        let bytes = u32::from_be_bytes([a, b, c, d]) as usize;
        if kind != awaiting as u8 || bytes > limit {
            return Err(Fault::Unexpected { awaiting, limit, kind, bytes });
        }
        let mut payload = vec![0; bytes];
        self.read(&mut payload, awaiting)?;
        let mut tag = [0; TAG_LENGTH];
        self.read(&mut tag, awaiting)?;
        let speaker = self.role.other();
        self.record(speaker, &head);
        self.transcript.update(&payload);
        match self.transcript.clone().verify_slice(&tag) {
            Ok(()) => Ok(payload),
            Err(_) if awaiting == Kind::Proof => Err(Fault::Unproved),
            Err(_) => Err(Fault::Changed { kind: awaiting }),
        }
    }

    fn record(&mut self, speaker: Role, bytes: &[u8]) {
        self.transcript.update(&[speaker as u8]);
        self.transcript.update(bytes);
    }

    /// What is left of the time for the whole handshake: a peer that sends a byte a second does not lengthen it.
    fn remaining(&self, awaiting: Kind) -> Result<Duration, Fault> {
        let remaining = self.deadline.saturating_duration_since(now());
        if remaining.is_zero() { Err(Fault::Slow { awaiting }) } else { Ok(remaining) }
    }

    fn read(&mut self, buffer: &mut [u8], awaiting: Kind) -> Result<(), Fault> {
        let mut filled = 0;
        while filled < buffer.len() {
            filled += self.read_some(&mut buffer[filled..], awaiting)?;
        }
        Ok(())
    }

    fn read_some(&mut self, buffer: &mut [u8], awaiting: Kind) -> Result<usize, Fault> {
        loop {
            self.stream.set_read_timeout(Some(self.remaining(awaiting)?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(Fault::Closed { awaiting }),
                Ok(bytes) => return Ok(bytes),
                Err(error) => transient(error, awaiting)?,
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8], kind: Kind) -> Result<(), Fault> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(self.remaining(kind)?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(Fault::Closed { awaiting: kind }),
                Ok(written) => bytes = &bytes[written..],
                Err(error) => transient(error, kind)?,
            }
        }
        Ok(())
    }
}

/// Whether to try again after `error`: the deadline is looked at before every try.
fn transient(error: io::Error, awaiting: Kind) -> Result<(), Fault> {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, Interrupted, TimedOut, WouldBlock};
    match error.kind() {
        Interrupted | WouldBlock | TimedOut => Ok(()),
        BrokenPipe | ConnectionAborted | ConnectionReset => Err(Fault::Closed { awaiting }),
        _ => Err(Fault::Io(error)),
    }
}
