//! The thread that accepts connections and watches them.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::poller::{Poller, timer};
use super::reader::Connection;
use super::stream::{Opening, Stream};
use super::tally::Tally;
use super::tls;
use crate::source::{Access, Found, Wake};

/// Tokens beside the numbers of clients, which count from 0.
const LISTENER: u64 = u64::MAX - 1;
const TIMER: u64 = u64::MAX - 2;

/// How many connections are accepted before events of the others are handled.
const AT_ONCE: usize = 64;

/// How long to wait after the system had no descriptor or memory for a connection.
const SCARCE: Duration = Duration::from_millis(100);

/// Ticks of the timer in the shortest time that it measures.
const PARTS: u32 = 8;

/// What bounds connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connections: usize,
    pub(super) idle: Duration,
}

/// A connection that was accepted.
pub(super) struct Client {
    pub(super) connection: Arc<Connection>,
    peer: SocketAddr,
    /// Whether it has sent something and is a partition.
    found: AtomicBool,
    /// The tick in which it was accepted.
    came: u64,
    /// The tick in which something last came from it.
    heard: AtomicU64,
    /// Wakes the worker that reads it, once one does.
    pub(super) wake: OnceLock<Wake>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The connections of a source, which its thread watches and workers read.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) poller: Poller,
    /// The source was dropped.
    pub(super) over: AtomicBool,
    /// By their numbers, in the order in which they came.
    all: Mutex<HashMap<u64, Arc<Client>>>,
}

impl Clients {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Clients { poller: Poller::new()?, over: AtomicBool::new(false), all: Mutex::default() })
    }

    /// Those that are not at their end.
    pub(super) fn all(&self) -> MutexGuard<'_, HashMap<u64, Arc<Client>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts connections, and announces those that have sent something.
pub(super) struct Reception {
    uri: String,
    listener: TcpListener,
    timer: OwnedFd,
    limits: Limits,
    acceptor: Option<tls::Acceptor>,
    clients: Arc<Clients>,
    found: Sender<Found>,
    next: u64,
    /// How often the timer has ticked.
    ticks: u64,
    /// How many ticks a client may be idle.
    idle: u64,
    /// How many it may take to agree on TLS.
    greeting: u64,
    /// Clients that are to be looked at again, without an event.
    unseen: Vec<u64>,
    refused: Tally,
    /// Connections that were not what they should have been.
    failed: Tally,
    /// Whether the last attempt to accept failed, which is logged once.
    scarce: bool,
}

impl Reception {
    pub(super) fn new(
        uri: String,
        listener: TcpListener,
        limits: Limits,
        acceptor: Option<tls::Acceptor>,
        clients: Arc<Clients>,
        found: Sender<Found>,
    ) -> io::Result<Self> {
        let greeting = acceptor.as_ref().map_or(limits.idle, |acceptor| acceptor.greeting);
        let tick = (limits.idle.min(greeting) / PARTS).max(Duration::from_millis(1));
        let ticks =
            |time: Duration| u64::try_from(time.div_duration_f64(tick).ceil() as u128).unwrap_or(u64::MAX);
        let (idle, greeting) = (ticks(limits.idle), ticks(greeting));
        let timer = timer(tick)?;
        clients.poller.add(&listener, LISTENER)?;
        clients.poller.add(&timer, TIMER)?;
        Ok(Reception {
            uri,
            listener,
            timer,
            limits,
            acceptor,
            clients,
            found,
            next: 0,
            ticks: 0,
            idle,
            greeting,
            unseen: Vec::new(),
            refused: Tally::default(),
            failed: Tally::default(),
            scarce: false,
        })
    }

    /// Accepts and watches until the source is dropped.
    pub(super) fn attend(mut self) {
        let (mut events, mut again) = (Vec::new(), None);
        while !self.clients.over.load(Ordering::SeqCst) {
            let wait = if self.unseen.is_empty() { again } else { Some(Duration::ZERO) };
            if let Err(error) = self.clients.poller.wait(wait, &mut events) {
                log::error!("{}: no more connections are accepted: {error}", self.uri);
                return;
            }
            let accept = again.is_some() || events.contains(&LISTENER);
            std::mem::take(&mut self.unseen).into_iter().for_each(|number| self.heard(number));
            for event in &events {
                match *event {
                    LISTENER => {}
                    TIMER => self.tick(),
                    number => self.heard(number),
                }
            }
            if accept {
                again = self.accept();
            }
        }
    }

    /// Accepts the connections that wait; returns the time until the next attempt, where no event will announce it.
    fn accept(&mut self) -> Option<Duration> {
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok((stream, peer)) => {
                    self.scarce = false;
                    if let Err(error) = self.admit(stream, peer) {
                        log::debug!("{}: {peer} cannot be served: {error}", self.uri);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // It has gone away before it was accepted.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let level = if self.scarce { log::Level::Debug } else { log::Level::Warn };
                    self.scarce = true;
                    log::log!(level, "{}: a connection cannot be accepted yet: {error}", self.uri);
                    return Some(SCARCE);
                }
            }
        }
        Some(Duration::ZERO)
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) -> io::Result<()> {
        let mut all = self.clients.all();
        if all.len() >= self.limits.connections {
            drop(all);
            let (uri, limit) = (&self.uri, self.limits.connections);
            self.refused.warn(|count| {
                format!(
                    "{uri}: {count} connections were refused, the last of {peer}: there are {limit} already\n  \
                     hint: `?connections=N` lets more in"
                )
            });
            return Ok(());
        }
        let session = self.acceptor.as_ref().map(|acceptor| acceptor.session(peer)).transpose()?;
        let connection = Arc::new(Connection::new(Stream::new(stream, session)?));
        let client = Client {
            connection: Arc::clone(&connection),
            peer,
            found: AtomicBool::new(false),
            came: self.ticks,
            heard: AtomicU64::new(self.ticks),
            wake: OnceLock::new(),
        };
        let number = self.next;
        self.next += 1;
        all.insert(number, Arc::new(client));
        drop(all);
        // If something has come already, this says so.
        self.clients.poller.add_stream(connection.stream(), number).inspect_err(|_| {
            self.clients.all().remove(&number);
        })
    }

    /// Client `number` has sent something or has gone away.
    fn heard(&mut self, number: u64) {
        let client = self.clients.all().get(&number).cloned();
        let Some(client) = client else { return };
        client.heard.store(self.ticks, Ordering::Relaxed);
        if client.found.load(Ordering::Relaxed) {
            client.connection.mark_readable();
            client.wake.get().into_iter().for_each(|wake| wake());
            return;
        }
        match client.connection.stream().open() {
            Opening::Bytes => {
                client.found.store(true, Ordering::Relaxed);
                let name = format!("{} from {}#{number}", self.uri, client.peer);
                let found = Found {
                    identity: name.clone(),
                    name: name.into(),
                    access: Access::Pinned,
                    length: None,
                    bytes: 0,
                    detail: number.to_string(),
                };
                // The finder is dropped only as the run ends.
                let _ = self.found.send(found);
            }
            Opening::Waiting => {}
            Opening::More => self.unseen.push(number),
            // It went away without a byte.
            Opening::Gone => drop(self.clients.all().remove(&number)),
            Opening::Failed(reason) => {
                self.clients.all().remove(&number);
                self.fail(&client, &reason);
            }
        }
    }

    /// Counts a connection that was not what it should have been.
    fn fail(&self, client: &Client, reason: &str) {
        let (uri, peer) = (&self.uri, client.peer);
        self.failed.warn(|count| {
            format!("{uri}: {count} connections were none that lines are read of, the last that of {peer}: {reason}")
        });
    }

    /// Closes clients that have sent nothing for too long.
    fn tick(&mut self) {
        if rustix::io::read(&self.timer, &mut [0; 8]).is_err() {
            return;
        }
        self.ticks += 1;
        let (ticks, idle, greeting) = (self.ticks, self.idle, self.greeting);
        let (mut all, mut slow) = (self.clients.all(), Vec::new());
        all.retain(|number, client| {
            let found = client.found.load(Ordering::Relaxed);
            // Bytes that wait for this side are no silence of the client's.
            if found && client.connection.is_readable() {
                client.heard.store(ticks, Ordering::Relaxed);
            }
            if !found
                && ticks.saturating_sub(client.came) > greeting
                && client.connection.stream().is_greeting()
            {
                slow.push(Arc::clone(client));
                return false;
            }
            let silent = ticks.saturating_sub(client.heard.load(Ordering::Relaxed));
            if silent <= idle {
                return true;
            }
            log::info!("{}: {}#{number} has been idle for too long and is closed", self.uri, client.peer);
            // Its reader sees the end of the stream, and removes it.
            client.connection.stream().close();
            found
        });
        drop(all);
        for client in slow {
            self.fail(&client, "it took too long to agree on TLS");
        }
    }
}
