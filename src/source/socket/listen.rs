//! Clients that connect: a partition for each.

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use super::accept::{Clients, Limits, Reception};
use super::address::{self, Address};
use super::incoming::{Incoming, Scratch};
use super::reader::{Connection, Connections, SocketReader};
use super::tls;
use crate::source::{Finder, Found, ReadOptions, Reader, Share, Source, SourceError, Wake};

/// `tcp-listen://ADDRESS:PORT`: lines from whoever connects to this program.
///
/// Each connection is a partition, named `tcp-listen://ADDRESS:PORT from PEER#NUMBER`, which the first worker of the run reads
/// and which ends with it. What a connection brought last is a line, whether it has an LF or not. One that closes without a
/// word is none.
///
/// Without an address (`tcp-listen://9999`) only this machine can connect; `tcp-listen://0.0.0.0:9999` lets everybody in who can
/// reach it: lines are taken from anyone, and in clear, if no certificate is named. A port that is in use is an error before the run begins. With port 0
/// the system chooses one, and `listening on …` (logged as `info`) says which.
///
/// | option | | default |
/// |---|---|---|
/// | `connections=N` | how many at a time; further ones are closed at once, counted, and warned of: the 1st, the 2nd, the 4th, the 8th … | 1000 |
/// | `idle=TIME` | a connection that has sent nothing for this time (and up to an eighth longer) is closed | 1h |
/// | `tls-cert=FILE` | clients speak TLS, and are shown this certificate (PEM, with those that lead to its authority behind it) | in clear |
/// | `tls-key=FILE` | its private key (PEM, without a passphrase) | the same file |
/// | `tls-clients=FILE` | only clients are let in whose certificate an authority in this file has signed | all |
/// | `tls-handshake=TIME` | a client that has not agreed on TLS by then (and up to an eighth later) is closed | 10s |
///
/// # TLS
///
/// TLS 1.2 and 1.3, and nothing else: what is sent to such a port in clear is not read. Connections that do not come to TLS are counted and
/// warned of with the reason, the 1st, the 2nd, the 4th, the 8th …; a client that speaks TLS to a port without is told of likewise. A
/// connection that ends without TLS being closed may have been cut off by anyone: its last line counts as it would in
/// clear, and the log says so. The files are read once, as the run begins: after a certificate was renewed, the
/// run is started anew. Whether a client's certificate was revoked is not looked up.
///
/// ```text
/// thalweg run word-count --source 'tcp-listen://0.0.0.0:6514?tls-cert=logs.pem&tls-key=logs.key'
/// tail -F access.log | openssl s_client -connect logs.example:6514 -verify_return_error -quiet
/// ```
///
/// # Bounds
///
/// Of a connection nothing is read before it is wanted: what comes faster stays with the system, and its client waits. A line that
/// has not ended is kept in memory, up to the run's `--max-line`; so strangers can fill `connections` times that. One thread
/// watches all connections.
///
/// A client is read from the next epoch on (`--tick`), and counts as a connection until then even if it has gone away: of short
/// connections, `connections` are accepted in each tick.
///
/// # Promise on restart
///
/// None: what was sent is gone with its connection. When a run is asked to end, what has come by then on connections that are
/// being read is read; a client is not told how much that was.
#[derive(Debug)]
pub struct TcpListenSource {
    uri: String,
    address: Address,
    limits: Limits,
    tls: Option<tls::Server>,
    listening: Mutex<Option<Listening>>,
    scratch: Scratch,
}

/// The state of a source that listens.
#[derive(Debug)]
struct Listening {
    clients: Arc<Clients>,
    /// The clients that have sent something, until the finder takes this.
    found: Option<Receiver<Found>>,
}

impl TcpListenSource {
    /// Of what follows `tcp-listen:` in a URI: `//PORT` or `//ADDRESS:PORT`, with options.
    ///
    /// # Errors
    ///
    /// When it is not of that form.
    ///
    /// ```
    /// use thalweg::source::{Source, TcpListenSource};
    /// let source = TcpListenSource::parse("//9999?connections=10&idle=5m")?;
    /// assert_eq!(source.uri(), "tcp-listen://127.0.0.1:9999");
    /// assert!(TcpListenSource::parse("//9999?clients=10").unwrap_err().contains("`connections=N`"));
    /// # Ok::<(), String>(())
    /// ```
    pub fn parse(rest: &str) -> Result<Self, String> {
        let (address, options) = address::parse(rest, Some("127.0.0.1"))?;
        let mut limits = Limits { connections: 1000, idle: Duration::from_secs(3600) };
        let mut tls = tls::ServerOptions::default();
        for (name, value) in options {
            match name {
                "connections" => {
                    let number = value.parse().ok().filter(|number| *number > 0);
                    limits.connections =
                        number.ok_or_else(|| format!("`connections={value}` is no number above 0"))?;
                }
                "idle" => {
                    limits.idle = humantime::parse_duration(value)
                        .map_err(|error| format!("`idle={value}`: {error}"))?;
                }
                _ if tls.take(name, value)? => {}
                _ => {
                    return Err(format!(
                        "`{name}` is none of `connections=N`, `idle=TIME`, `tls-cert=FILE`, `tls-key=FILE`, `tls-clients=FILE`, \
                         `tls-handshake=TIME`"
                    ));
                }
            }
        }
        Ok(TcpListenSource {
            uri: format!("tcp-listen://{address}"),
            address,
            limits,
            tls: tls.server()?,
            listening: Mutex::new(None),
            scratch: Scratch::default(),
        })
    }

    fn listen(&self) -> Result<Listening, SourceError> {
        let failed = |source| SourceError::Open { path: self.uri.clone().into(), source };
        let bind = || {
            let listener = TcpListener::bind(self.address.to_string())?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = bind().map_err(failed)?;
        let uri = format!("tcp-listen://{address}");
        let acceptor = self.tls.as_ref().map(|tls| tls.load(&uri)).transpose()?;
        self.attend(uri, listener, acceptor).map_err(failed)
    }

    fn attend(
        &self,
        uri: String,
        listener: TcpListener,
        acceptor: Option<tls::Acceptor>,
    ) -> std::io::Result<Listening> {
        let clients = Arc::new(Clients::new()?);
        let (send, found) = channel();
        let reception =
            Reception::new(uri.clone(), listener, self.limits, acceptor, Arc::clone(&clients), send)?;
        Builder::new().name("tcp-listen".to_owned()).spawn(move || reception.attend())?;
        log::info!("listening on {uri}");
        Ok(Listening { clients, found: Some(found) })
    }

    fn listening(&self) -> std::sync::MutexGuard<'_, Option<Listening>> {
        self.listening.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for TcpListenSource {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn is_bounded(&self) -> bool {
        false
    }

    /// Begins to listen. Nobody has connected yet.
    fn is_replayable(&self) -> bool {
        false
    }

    fn find(&self) -> Result<Vec<Found>, SourceError> {
        let mut listening = self.listening();
        if listening.is_none() {
            *listening = Some(self.listen()?);
        }
        Ok(Vec::new())
    }

    fn finder(&self) -> Option<Box<dyn Finder>> {
        let found = self.listening().as_mut().and_then(|listening| listening.found.take());
        found.map(|found| Box::new(ClientFinder(found)) as Box<dyn Finder>)
    }

    fn open(
        &self,
        partition: &Found,
        from: u64,
        _share: Share,
        options: ReadOptions,
        wake: Wake,
    ) -> Result<Box<dyn Reader>, SourceError> {
        let clients = self.listening().as_ref().map(|listening| Arc::clone(&listening.clients));
        let reading = clients.zip(partition.detail.parse().ok()).and_then(|(clients, number)| {
            let client = clients.all().get(&number).cloned()?;
            // Each is read once, from its first byte.
            let first = from == 0 && client.wake.set(wake).is_ok();
            first.then(|| Reading { number, connection: Some(Arc::clone(&client.connection)), clients })
        });
        let gone = || SourceError::Gone { partition: partition.name.to_string(), offset: from };
        let reading = reading.ok_or_else(gone)?;
        let lines = Incoming::new(Arc::clone(&partition.name), options.max_line, self.scratch.clone());
        Ok(Box::new(SocketReader::new(lines, reading)))
    }
}

impl Drop for TcpListenSource {
    fn drop(&mut self) {
        if let Some(listening) = self.listening().take() {
            listening.clients.over.store(true, Ordering::SeqCst);
            listening.clients.poller.ring();
        }
    }
}

/// Finds clients that have sent something.
struct ClientFinder(Receiver<Found>);

impl Finder for ClientFinder {
    fn wait(&mut self, patience: Duration) -> Result<Vec<Found>, SourceError> {
        match self.0.recv_timeout(patience) {
            Ok(first) => Ok(std::iter::once(first).chain(self.0.try_iter()).collect()),
            Err(RecvTimeoutError::Timeout) => Ok(Vec::new()),
            Err(RecvTimeoutError::Disconnected) => Err(SourceError::Open {
                path: "tcp-listen:".into(),
                source: std::io::Error::other("the thread that accepts connections has ended"),
            }),
        }
    }
}

/// A client that is being read.
#[derive(Debug)]
struct Reading {
    number: u64,
    /// `None` at its end: it is closed at once, however long the reader is kept.
    connection: Option<Arc<Connection>>,
    clients: Arc<Clients>,
}

impl Connections for Reading {
    fn current(&mut self) -> Option<Arc<Connection>> {
        self.connection.clone()
    }

    fn next(&mut self) -> bool {
        self.connection = None;
        self.clients.all().remove(&self.number);
        false
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.clients.all().remove(&self.number);
    }
}
