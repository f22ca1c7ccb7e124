//! In a program that is built without TLS: its options say so, and there are no sessions.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::stream::Opening;
use crate::source::SourceError;

/// How long agreeing on TLS may take.
pub(super) const GREETING: Duration = Duration::from_secs(10);

/// Options, of which there are none.
#[derive(Clone, Debug, Default)]
pub(super) struct Options;

pub(super) type ClientOptions = Options;
pub(super) type ServerOptions = Options;

impl Options {
    pub(super) fn take(&mut self, name: &str, _: &str) -> Result<bool, String> {
        match name == "tls" || name.starts_with("tls-") {
            true => {
                Err(format!("`{name}`: this program was built without TLS: `cargo build --features tls`"))
            }
            false => Ok(false),
        }
    }

    pub(super) fn on(self, _: &str) -> Result<Option<Never>, String> {
        Ok(None)
    }

    pub(super) fn server(self) -> Result<Option<Never>, String> {
        Ok(None)
    }
}

/// What there is none of.
#[derive(Clone, Debug)]
pub(super) enum Never {}

pub(super) type Client = Never;
pub(super) type Connector = Never;
pub(super) type Server = Never;
pub(super) type Session = Never;

impl Never {
    pub(super) fn load<T>(&self, _: &str) -> Result<T, SourceError> {
        match *self {}
    }

    pub(super) fn session(&self) -> io::Result<Session> {
        match *self {}
    }

    pub(super) fn is_greeting(&self) -> bool {
        match *self {}
    }

    pub(super) fn open(&self, _: &TcpStream) -> Opening {
        match *self {}
    }

    pub(super) fn read(&self, _: &TcpStream, _: &mut [u8]) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn read_no_more_than(&self, _: u64) {
        match *self {}
    }

    pub(super) fn close(&self, _: &TcpStream) {
        match *self {}
    }
}

/// What would make sessions with clients.
#[derive(Clone, Debug)]
pub(super) struct Acceptor {
    pub(super) greeting: Duration,
    never: Never,
}

impl Acceptor {
    pub(super) fn session(&self, _: SocketAddr) -> io::Result<Session> {
        match self.never {}
    }
}
