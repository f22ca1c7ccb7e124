//! A server to connect to, again and again: one partition.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use super::address::{self, Address};
use super::incoming::{Incoming, Scratch};
use super::poller::{Poller, timer};
use super::reader::{Connection, Connections, SocketReader};
use super::stream::{Opening, Stream};
use super::tls;
use crate::source::{Found, ReadOptions, Reader, Share, Source, SourceError, Wake};
use crate::time::Backoff;

/// How long an attempt may take.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Tokens of what is watched.
const CONNECTION: u64 = 0;
const TIMER: u64 = 1;

/// `tcp://HOST:PORT`: lines from a server, such as `nc -lk 9999`, to which this program connects.
///
/// The connection is one partition, which the first worker of the run reads. When the server ends it, or cannot be reached,
/// another attempt follows, for ever: a new `nc` for each chunk of a log is one log. What a connection brought last is a line,
/// whether it has an LF or not.
///
/// After an end of stream the next attempt follows within 50 to 100 milliseconds. The wait doubles after each attempt that fails or
/// brings nothing, up to 10 seconds. A failure is logged as a warning, as `debug` for as long as it stays the same, and the next
/// success as a warning again.
///
/// A server that vanishes without a word (its machine lost its power) is noticed after about a minute.
///
/// # TLS
///
/// | option | | default |
/// |---|---|---|
/// | `tls=system` | by TLS; the server's certificate is signed by an authority that this system trusts | in clear |
/// | `tls=FILE` | by TLS; by one of the authorities in this file (PEM), where one that has signed itself may stand, too | in clear |
/// | `tls-name=NAME` | the name that the certificate is for | the host |
/// | `tls-cert=FILE` | this side's certificate (PEM), where the server wants one | none |
/// | `tls-key=FILE` | its private key (PEM, without a passphrase) | the same file |
///
/// What the system trusts is what its store holds (Debian: `ca-certificates`, with what a company has added to it), or what
/// the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name, as for other programs. TLS 1.2 and 1.3 are spoken, the server is always checked,
/// and nothing is ever read in clear instead: a server that cannot show who it is is tried again, like one that cannot be reached, and the
/// log says why. Whether its certificate was revoked is not looked up. Files that are wrong end the run as it begins.
///
/// A connection that ends without TLS being closed may have been cut off by anyone: its last line counts as it would in
/// clear, and the log says so.
///
/// ```text
/// thalweg run word-count --source 'tcp://logs.example:6514?tls=system'
/// ```
///
/// # Promise on restart
///
/// None: what was sent is gone with the connection. A run that would have to read it again is refused.
///
/// Nothing is taken from the connection before it is wanted: a run that lags behind makes the server wait. When a run is
/// asked to end, what has come by then is read.
#[derive(Debug)]
pub struct TcpSource {
    uri: String,
    address: Address,
    tls: Option<tls::Client>,
    /// What came of the files that `tls` names.
    connector: Mutex<Option<tls::Connector>>,
    taken: AtomicBool,
}

impl TcpSource {
    /// Of what follows `tcp:` in a URI: `//HOST:PORT`, with options.
    ///
    /// # Errors
    ///
    /// When it is not of that form.
    ///
    /// ```
    /// use std::io::Write;
    /// use thalweg::source::{Pool, ReadOptions, Share, Source, Step, TcpSource};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let source = TcpSource::parse(&format!("//{}", server.local_addr()?))?;
    /// let (found, share) = (source.find()?, Share { worker: 0, peers: 1 });
    /// let worker = std::thread::current();
    /// let wake = std::sync::Arc::new(move || worker.unpark());
    /// let mut reader = source.open(&found[0], 0, share, ReadOptions::default(), wake)?;
    /// std::thread::spawn(move || {
    ///     // A connection for each chunk; the first has no last LF.
    ///     for chunk in ["one\ntwo", "three\n"] {
    ///         server.accept()?.0.write_all(chunk.as_bytes())?;
    ///     }
    ///     std::io::Result::Ok(())
    /// });
    /// let (mut lines, pool) = (Vec::new(), Pool::default());
    /// while lines.len() < 3 {
    ///     match reader.poll(u64::MAX, &pool)? {
    ///         Step::Chunk(chunk) => lines.extend(chunk.lines().map(|(_, line)| line.to_vec())),
    ///         Step::CaughtUp => std::thread::park(),
    ///         other => panic!("{other:?}: it goes on for ever"),
    ///     }
    /// }
    /// assert_eq!(lines, ["one", "two", "three"].map(|line| line.as_bytes().to_vec()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn parse(rest: &str) -> Result<Self, String> {
        let (address, options) = address::parse(rest, None)?;
        let mut tls = tls::ClientOptions::default();
        for (name, value) in options {
            if !tls.take(name, value)? {
                return Err(format!(
                    "`{name}` is none of `tls=system`, `tls=FILE`, `tls-name=NAME`, `tls-cert=FILE`, `tls-key=FILE`"
                ));
            }
        }
        if address.port == 0 {
            return Err("nobody listens at port 0".to_owned());
        }
        Ok(TcpSource {
            uri: format!("tcp://{address}"),
            tls: tls.on(&address.host)?,
            address,
            connector: Mutex::new(None),
            taken: AtomicBool::new(false),
        })
    }

    /// What makes sessions, of files that are read once.
    fn connector(&self) -> Result<Option<tls::Connector>, SourceError> {
        let Some(tls) = &self.tls else { return Ok(None) };
        let mut connector = self.connector.lock().unwrap_or_else(PoisonError::into_inner);
        if connector.is_none() {
            *connector = Some(tls.load(&self.uri)?);
        }
        Ok(connector.clone())
    }
}

impl Source for TcpSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        false
    }

    /// Reads the files that are named for TLS. Nothing is connected yet.
    fn is_replayable(&self) -> bool {
        false
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        self.connector()?;
        Ok(vec![Found::pinned(&self.uri, &self.uri)])
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        _share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let name = &partition.name;
        if self.taken.swap(true, Ordering::SeqCst) || from > 0 {
            return Err(SourceError::Gone { partition: name.to_string(), offset: from });
        }
        let connector = self.connector()?;
        let failed = |source| SourceError::Open { path: self.uri.clone().into(), source };
        let dialled = Dialled(Arc::new(Dial {
            uri: self.uri.clone(),
            address: self.address.clone(),
            connector,
            poller: Poller::new().map_err(failed)?,
            now: Mutex::new(None),
            over: AtomicBool::new(false),
        }));
        let dial = Arc::clone(&dialled.0);
        Builder::new().name("tcp".to_owned()).spawn(move || dial.keep(&wake)).map_err(failed)?;
        let lines = Incoming::new(Arc::clone(name), options.max_line, Scratch::default());
        Ok(Box::new(SocketReader::new(lines, dialled)))
    }
}

/// What the connecting thread and the reader share.
#[derive(Debug)]
struct Dial {
    uri: String,
    address: Address,
    connector: Option<tls::Connector>,
    poller: Poller,
    /// The connection that there is; the reader takes it away when it is at its end, and rings the bell.
    now: Mutex<Option<Arc<Connection>>>,
    /// The reader was dropped.
    over: AtomicBool,
}

impl Dial {
    fn now(&self) -> std::sync::MutexGuard<'_, Option<Arc<Connection>>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connects, again and again, until the reader is dropped.
    fn keep(&self, wake: &Wake) {
        let mut backoff = Backoff::new();
        // Why there is no connection, as it was said last.
        let mut away = None;
        while !self.over.load(Ordering::SeqCst) {
            match self.connect().and_then(|connection| self.greet(connection)) {
                Ok(connection) => {
                    let level = if away.is_some() { log::Level::Warn } else { log::Level::Debug };
                    let again = if away.take().is_some() { " again" } else { "" };
                    log::log!(level, "{}: connected{again}", self.uri);
                    if self.watch(&connection, wake) {
                        backoff = Backoff::new();
                    }
                }
                Err(_) if self.over.load(Ordering::SeqCst) => {}
                Err(error) => {
                    let reason = Some(error.to_string());
                    let level = if away == reason { log::Level::Debug } else { log::Level::Warn };
                    let uri = &self.uri;
                    log::log!(level, "{uri}: cannot connect: {error}\n  hint: it is tried again, for ever");
                    away = reason;
                }
            }
            self.pause(backoff.next());
        }
    }

    fn connect(&self) -> io::Result<Arc<Connection>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in self.address.to_string().to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, ATTEMPT) {
                // Where nobody listens, the system may give this side the very port that it connects to.
                Ok(stream) if stream.local_addr()? == address => {
                    last = io::ErrorKind::ConnectionRefused.into();
                }
                Ok(stream) => {
                    let probes = socket2::TcpKeepalive::new()
                        .with_time(Duration::from_secs(30))
                        .with_interval(Duration::from_secs(10))
                        .with_retries(3);
                    socket2::SockRef::from(&stream).set_tcp_keepalive(&probes)?;
                    let session = self.connector.as_ref().map(tls::Connector::session).transpose()?;
                    return Ok(Arc::new(Connection::new(Stream::new(stream, session)?)));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Watches `connection` from now on, and agrees on TLS with the server, if it is to be.
    fn greet(&self, connection: Arc<Connection>) -> io::Result<Arc<Connection>> {
        self.poller.add_stream(connection.stream(), CONNECTION)?;
        if !connection.stream().is_greeting() {
            return Ok(connection);
        }
        let clock = timer(tls::GREETING)?;
        self.poller.add(&clock, TIMER)?;
        let mut events = Vec::new();
        loop {
            let opening = connection.stream().open();
            match opening {
                Opening::Failed(reason) => return Err(io::Error::other(reason)),
                Opening::Gone => {
                    return Err(io::Error::other("the server ended the connection before TLS was agreed on"));
                }
                _ if !connection.stream().is_greeting() => return Ok(connection),
                Opening::More => continue,
                Opening::Waiting | Opening::Bytes => {}
            }
            self.poller.wait(None, &mut events)?;
            if self.over.load(Ordering::SeqCst) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            if events.contains(&TIMER) {
                let limit = humantime::format_duration(tls::GREETING);
                return Err(io::Error::other(format!(
                    "the server has not answered in TLS for {limit}\n  \
                     hint: is it the right port? Without `tls=` lines are read in clear"
                )));
            }
        }
    }

    /// Hands `connection` to the reader, and wakes the worker when there is something to read, until it ends; returns whether it
    /// brought anything.
    fn watch(&self, connection: &Arc<Connection>, wake: &Wake) -> bool {
        *self.now() = Some(Arc::clone(connection));
        wake();
        let mut events = Vec::new();
        while !self.over.load(Ordering::SeqCst) && self.now().is_some() {
            if let Err(error) = self.poller.wait(None, &mut events) {
                // The reader would never be woken: connect anew.
                log::warn!("{}: the connection is no longer watched: {error}", self.uri);
                *self.now() = None;
            }
            if !events.is_empty() {
                connection.mark_readable();
                wake();
            }
        }
        connection.has_brought()
    }

    /// Waits, or until the reader is dropped.
    fn pause(&self, wait: Duration) {
        let _ = self.poller.wait(Some(wait), &mut Vec::new());
    }
}

/// The reader's end of it.
#[derive(Debug)]
struct Dialled(Arc<Dial>);

impl Connections for Dialled {
    fn current(&mut self) -> Option<Arc<Connection>> {
        self.0.now().clone()
    }

    fn next(&mut self) -> bool {
        *self.0.now() = None;
        self.0.poller.ring();
        true
    }
}

impl Drop for Dialled {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
        self.0.poller.ring();
    }
}
