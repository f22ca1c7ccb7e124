//! Connecting to one process with a lower index: try, say why not, back off, try again.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use crate::runtime::cluster::handshake;
use crate::runtime::cluster::handshake::Local;
use crate::runtime::cluster::wire::{Fault, Kind, Role, VERSION};
use crate::runtime::cluster::{ClusterError, Event, Peer, address};

/// The wait after the first failure; it doubles with each ...
const FIRST_WAIT: Duration = Duration::from_millis(25);
/// ... up to this.
const LONGEST_WAIT: Duration = Duration::from_millis(400);

/// So many closed connections in a row, where a proof should have come, mean another secret. A few may be bad luck: a
/// peer that is flooded with strays drops connections that have proved nothing yet. With the waits between them, these
/// take less than half a second.
const REFUSALS: u32 = 5;

/// Connects to `peer` in a thread of its own, which ends when it has succeeded, or cannot succeed, or when nobody
/// listens to its events any more.
pub(super) fn spawn(
    peer: Peer,
    local: Arc<Local>,
    loopback_only: bool,
    events: Sender<Event>,
) -> Result<(), ClusterError> {
    thread::Builder::new()
        .name(format!("cluster:dial-{}", peer.process))
        .spawn(move || dial(&peer, &local, loopback_only, &events))
        .map(drop)
        .map_err(ClusterError::System)
}

fn dial(peer: &Peer, local: &Local, loopback_only: bool, events: &Sender<Event>) {
    let mut wait = FIRST_WAIT;
    let mut refusals = 0;
    loop {
        let event = match attempt(peer, local, loopback_only) {
            Ok((socket, offer)) => Event::Connected { process: peer.process, socket, offer },
            Err(Failure::Final(error)) => Event::Failed(error),
            Err(Failure::Retry(fault)) => {
                refusals = match fault {
                    Fault::Closed { awaiting: Kind::Proof } => refusals + 1,
                    _ => 0,
                };
                if refusals == REFUSALS {
                    Event::Failed(ClusterError::SecretRefused { peer: peer.clone(), attempts: refusals })
                } else {
                    Event::Retrying { process: peer.process, reason: fault.to_string() }
                }
            }
        };
        let again = matches!(event, Event::Retrying { .. });
        if events.send(event).is_err() || !again {
            return;
        }
        thread::sleep(wait);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

enum Failure {
    /// It may be otherwise in a moment: the peer is still starting, or the network is.
    Retry(Fault),
    /// It will be the same in a minute.
    Final(ClusterError),
}

impl Failure {
    fn of(fault: Fault, peer: &Peer) -> Self {
        let peer = peer.clone();
        Self::Final(match fault {
            Fault::Stray { found } => {
                ClusterError::NotThalweg { peer, found: found.escape_ascii().to_string() }
            }
            Fault::Version { theirs } => ClusterError::Version { peer, ours: VERSION, theirs },
            Fault::Unproved => ClusterError::Unproved { peer },
            Fault::Mismatch { mismatch, .. } => ClusterError::Mismatch { peer, mismatch },
            other => return Self::Retry(other),
        })
    }
}

fn attempt(peer: &Peer, local: &Local, loopback_only: bool) -> Result<(TcpStream, Vec<u8>), Failure> {
    let addresses = address::resolve(peer, loopback_only).map_err(|error| match error {
        // The name of a host that is still starting.
        ClusterError::Resolve { source, .. } => Failure::Retry(source.into()),
        other => Failure::Final(other),
    })?;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "its name resolves to no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, local.handshake_timeout) {
            // Nobody listens, and the port is one that the system also gives to connectors: it may connect a socket
            // to itself, and would keep the peer from listening there.
            Ok(stream) if stream.local_addr().is_ok_and(|ours| ours == address) => {
                failure = io::ErrorKind::ConnectionRefused.into();
            }
            Ok(stream) => return introduce(stream, peer, local).map_err(|fault| Failure::of(fault, peer)),
            Err(error) => failure = error,
        }
    }
    Err(Failure::Retry(failure.into()))
}

fn introduce(stream: TcpStream, peer: &Peer, local: &Local) -> Result<(TcpStream, Vec<u8>), Fault> {
    let mut wire = local.wire(stream, Role::Connector)?;
    let offer = handshake::connect(&mut wire, local, peer.process)?;
    Ok((wire.into_socket()?, offer))
}
