//! Listening for the processes with higher indexes, among whatever else finds the port.
//!
//! Each connection has a thread and a deadline, so that none waits for another. At most [`STRANGERS`] connections that
//! have proved nothing are open at a time, and one more closes the *oldest* of them. Were the newest refused instead,
//! as many silent connections, opened anew whenever they time out, would keep every peer out for good; as it is,
//! whoever wants to push a peer out must open that many within the few milliseconds in which a peer proves the secret.
//! A connection that has proved it is no longer a stranger. (Where there is no secret, every one stays a stranger
//! until it is seated.)

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use crate::runtime::cluster::handshake;
use crate::runtime::cluster::handshake::Local;
use crate::runtime::cluster::wire::{Fault, Role};
use crate::runtime::cluster::{ClusterError, Event, Peer, address};

/// How many connections may be open that have proved nothing.
const STRANGERS: usize = 64;

/// How many connections the system may hold until they are let in. The 128 of std overflow in a port scan, and a peer
/// whose packet is dropped then waits a second before it sends it again.
const BACKLOG: i32 = 1024;

/// How many to let in at a time: few, so that in a flood the strangers that have gone by themselves are forgotten before
/// any are pushed out.
const BATCH: usize = 8;

/// How long to leave the port alone when the system cannot accept a connection, for want of descriptors or memory.
const RELIEF: Duration = Duration::from_millis(100);

/// Which connection, in the order of their coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit(u64);

/// The port that we listen on. It closes when this is dropped.
#[derive(Debug)]
pub(super) struct Door {
    listener: TcpListener,
    local: Arc<Local>,
    events: Sender<Event>,
    /// Oldest first; each with its own handle of the socket, to close it under its thread.
    strangers: VecDeque<(Visit, SocketAddr, TcpStream)>,
    visits: u64,
}

impl Door {
    pub(super) fn open(
        ours: &Peer,
        local: Arc<Local>,
        loopback_only: bool,
        events: Sender<Event>,
    ) -> Result<Self, ClusterError> {
        let addresses = address::resolve(ours, loopback_only)?;
        let listener = TcpListener::bind(&addresses[..])
            .and_then(|listener| {
                SockRef::from(&listener).listen(BACKLOG)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            })
            .map_err(|source| ClusterError::Bind { peer: ours.clone(), source })?;
        Ok(Self { listener, local, events, strangers: VecDeque::new(), visits: 0 })
    }

    /// Starts a handshake with those who wait at the port; returns whether more may be waiting.
    pub(super) fn admit(&mut self) -> bool {
        for _ in 0..BATCH {
            match self.listener.accept() {
                Ok((stream, remote)) => {
                    if let Err(error) = self.greet(stream, remote) {
                        log::warn!("cluster: dropped a connection from {remote}: {error}");
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {
                    log::warn!("cluster: a connection was closed before it was accepted");
                }
                Err(error) => {
                    log::warn!("cluster: cannot accept connections at the moment: {error}");
                    thread::sleep(RELIEF);
                    return false;
                }
            }
        }
        true
    }

    /// `visit` is over, or is no stranger any more.
    pub(super) fn forget(&mut self, visit: Visit) {
        self.strangers.retain(|(stranger, ..)| *stranger != visit);
    }

    fn greet(&mut self, stream: TcpStream, remote: SocketAddr) -> io::Result<()> {
        if self.strangers.len() == STRANGERS
            && let Some((_, oldest, socket)) = self.strangers.pop_front()
        {
            log::warn!(
                "cluster: dropped {oldest}: {STRANGERS} connections have proved nothing, and it is the oldest"
            );
            // Fails when it is closed already, which is what we want.
            let _ = socket.shutdown(Shutdown::Both);
        }
        let visit = Visit(self.visits);
        self.visits += 1;
        let handle = stream.try_clone()?;
        let (local, events) = (Arc::clone(&self.local), self.events.clone());
        thread::Builder::new()
            .name("cluster:accept".to_owned())
            .spawn(move || attend(visit, stream, remote, &local, &events))?;
        self.strangers.push_back((visit, remote, handle));
        Ok(())
    }
}

fn attend(visit: Visit, stream: TcpStream, remote: SocketAddr, local: &Local, events: &Sender<Event>) {
    let proved = || {
        if local.secret.is_some() {
            // Fails when `join` has returned, and no longer cares.
            let _ = events.send(Event::Proved(visit));
        }
    };
    let outcome = local.wire(stream, Role::Acceptor).map_err(Fault::from).and_then(|mut wire| {
        let claim = handshake::accept(&mut wire, local, proved)?;
        Ok((wire, claim))
    });
    let event = match outcome {
        Ok((wire, claim)) => Event::Confirmed { visit, remote, wire, claim },
        Err(fault) => {
            log::warn!("cluster: refused {remote}: {fault}");
            Event::Refused { visit, remote, fault }
        }
    };
    let _ = events.send(event);
}
