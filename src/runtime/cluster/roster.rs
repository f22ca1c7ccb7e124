//! Who has joined, who is missing, and who has gone again.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpStream};

use crate::runtime::cluster::handshake::Claim;
use crate::runtime::cluster::wire::Fault;
use crate::runtime::cluster::{ClusterError, Missing, Peer, Refused};

#[derive(Debug)]
struct Seat {
    socket: TcpStream,
    /// The run that an accepted connection belongs to; `None` for one that we opened.
    run: Option<[u8; 16]>,
}

/// A seat for every other process.
#[derive(Debug)]
pub(super) struct Roster {
    ours: usize,
    peers: Vec<Peer>,
    seats: Vec<Option<Seat>>,
    /// What was last seen of each process.
    last: Vec<String>,
    /// Whom we refused, and may have meant; the last few that differ.
    refused: VecDeque<Refused>,
}

/// How many refusals the error of a run tells.
const REFUSALS: usize = 5;

impl Roster {
    pub(super) fn new(ours: usize, peers: Vec<Peer>) -> Self {
        let first = |peer: &Peer| {
            let seen = if peer.process < ours { "not reached yet" } else { "it has not connected to us" };
            seen.to_owned()
        };
        Self {
            ours,
            seats: peers.iter().map(|_| None).collect(),
            last: peers.iter().map(first).collect(),
            refused: VecDeque::new(),
            peers,
        }
    }

    /// Seats a process that we connected to.
    pub(super) fn connected(&mut self, process: usize, socket: TcpStream) {
        log::info!("cluster: joined {}", self.peers[process]);
        self.seats[process] = Some(Seat { socket, run: None });
    }

    /// Seats a process that connected to us, in the place of an older connection of the same index if there is one.
    ///
    /// The newer one is right: either the same process tries again, having missed our last word, or its process died
    /// and was started anew. (Or two processes were started with one index: then the older finds its connection closed
    /// and gives up.) A seated process never connects again, so two cannot take turns.
    pub(super) fn accepted(&mut self, claim: &Claim, socket: TcpStream, remote: SocketAddr) {
        let peer = &self.peers[claim.process];
        let older = self.seats[claim.process].replace(Seat { socket, run: Some(claim.run) });
        match older {
            None => log::info!("cluster: {peer} joined from {remote}"),
            Some(older) if older.run == Some(claim.run) => {
                log::info!("cluster: {peer} joined again from {remote}");
            }
            Some(_) => log::warn!(
                "cluster: another run of {peer} joined from {remote}, and takes the place of the one before\n  \
                 hint: if it was not restarted, two processes were given the same -p"
            ),
        }
    }

    /// Notes why `process` could not be joined, for now.
    pub(super) fn note(&mut self, process: usize, reason: String) {
        log::debug!("cluster: {}: {reason}", self.peers[process]);
        self.last[process] = reason;
    }

    /// Notes that whoever called from `remote` was refused, if it may be a process that was meant to join.
    pub(super) fn refused(&mut self, remote: SocketAddr, fault: &Fault) {
        if !fault.is_of_a_kin() {
            return;
        }
        let process = fault.claimed();
        if let Some(last) =
            process.filter(|process| *process > self.ours).and_then(|at| self.last.get_mut(at))
        {
            *last = "it was refused".to_owned();
        }
        let refused = Refused { host: remote.ip(), process, reason: fault.to_string() };
        // Who is refused calls again.
        self.refused.retain(|before| *before != refused);
        self.refused.push_back(refused);
        if self.refused.len() > REFUSALS {
            self.refused.pop_front();
        }
    }

    /// Whom we refused, and may have meant.
    pub(super) fn refusals(&self) -> Vec<Refused> {
        self.refused.iter().cloned().collect()
    }

    /// Looks for connections that were closed after they were made.
    ///
    /// Who connected to us may do so again, and its seat is freed. Who closed a connection of ours has failed or has
    /// replaced us, and we give up: connecting again would push out who replaced us.
    pub(super) fn sweep(&mut self) -> Result<(), ClusterError> {
        for (peer, place) in self.peers.iter().zip(&mut self.seats) {
            if place.as_ref().is_none_or(|seat| is_open(&seat.socket)) {
                continue;
            }
            if peer.process < self.ours {
                return Err(ClusterError::Lost { peer: peer.clone(), ours: self.ours });
            }
            log::warn!("cluster: {peer} left before all had joined; its place is free again");
            self.last[peer.process] = "it joined, and left again".to_owned();
            *place = None;
        }
        Ok(())
    }

    pub(super) fn missing(&self) -> Vec<Missing> {
        let absent = |peer: &&Peer| peer.process != self.ours && self.seats[peer.process].is_none();
        let missing = |peer: &Peer| Missing { peer: peer.clone(), last: self.last[peer.process].clone() };
        self.peers.iter().filter(absent).map(missing).collect()
    }

    pub(super) fn is_full(&self) -> bool {
        self.seats.iter().filter(|seat| seat.is_some()).count() + 1 == self.seats.len()
    }

    pub(super) fn into_sockets(self) -> Vec<Option<TcpStream>> {
        self.seats.into_iter().map(|seat| seat.map(|seat| seat.socket)).collect()
    }
}

/// Whether the other end still holds the connection, as far as this end has heard. A peer that has all its
/// connections may already be sending data, which stays where it is.
fn is_open(socket: &TcpStream) -> bool {
    let peek = || {
        socket.set_nonblocking(true)?;
        let peeked = socket.peek(&mut [0]);
        socket.set_nonblocking(false)?;
        peeked
    };
    match peek() {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
