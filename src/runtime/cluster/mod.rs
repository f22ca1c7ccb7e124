//! How the processes of a cluster meet, before timely moves data between them.
//!
//! [`join`] makes one TCP connection between every two processes and returns them in the order in which timely's
//! `initialize_networking_from_sockets` takes them. Timely's own start-up is not used because it trusts its port: a
//! stray `GET /` ends it, a silent client stops it, and a process of another build exchanges garbage with it. What timely
//! sends then goes in frames, with signs of life between them (`link`).
//!
//! This module knows sockets, clocks and the secret. It knows nothing of timely but what it wants of a connection, of dataflows (a [`Fingerprint`]
//! stands for one) and of what process 0 offers the others (bytes).
//!
//! Process i listens for all j > i, and connects to all j < i, again and again until [`ClusterConfig::join_timeout`].
//! Only the thread in `join` decides who is seated; the threads that talk send it `Event`s, and end on their own
//! soon after it returns.
//!
//! # What is promised
//!
//! - Whoever does not know the secret takes no seat, learns nothing but that a thalweg process listens (and that only
//!   if it speaks our protocol), and delays nobody: each connection has one deadline for its whole handshake, and
//!   strangers compete only with each other. Each is logged, with its address.
//! - Processes that know the secret and differ in build, dataflow, options, `-w` or `-n` never exchange data. The one
//!   that connects fails at once, with both values; the one that listens logs both, and listens on, as the right process
//!   may still come. If none does, its own error says whom it refused, and why.
//! - A process is seated when it has confirmed that it accepts us. Until all are seated, a newer connection of the
//!   same index takes the place of an older one, so a process that died half-way can be started again.
//!
//! The secret protects the *start*: what timely sends afterwards is neither encrypted nor authenticated, so who can
//! change packets on the network between two hosts can change the data. Such networks want a tunnel (WireGuard). What is
//! no message of the cluster at all (`messages`), or holds what cannot be read, ends the run, and says of whom it came.
//!
//! # The bytes
//!
//! Numbers are big-endian. The connector speaks first, and each side waits for the other's message.
//!
//! | # | from | message | kind | payload |
//! |---|---|---|---|---|
//! | 1 | connector | hello | | magic `89 t h a l w e g` (8), version (4), nonce (32): 44 bytes in every version |
//! | 2 | acceptor | hello | | the same |
//! | 3 | connector | proof | 1 | none: the tag is the proof |
//! | 4 | acceptor | proof | 1 | none |
//! | 5 | connector | claim | 2 | index, processes, workers (8 each), fingerprint (32), run nonce (16) |
//! | 6 | acceptor | claim | 2 | the same |
//! | 7 | acceptor | offer | 3 | process 0: its offer, up to 16 MiB; others: none |
//! | 8 | connector | confirm | 4 | none: the connector has accepted the claim and the offer |
//! | 9 | acceptor | welcome | 5 | none: the connector is seated; frames follow, as `link` has them |
//!
//! A message after the hellos is kind (1), payload length (4), payload, tag (32). The tag is HMAC-SHA256, keyed with
//! the secret (nothing, where there is none), over one byte that says whether there is a secret, then every message
//! so far, this one included, without tags, each after one byte for its sender: `C` or `A`. Proofs come before claims,
//! so neither side tells its fingerprint to a stranger; there is no message for a refusal, because who has both claims
//! knows the reason.

mod address;
mod dial;
mod door;
mod error;
mod handshake;
mod link;
mod messages;
mod roster;
mod secret;
mod wire;

use std::fmt;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use crate::runtime::clock::now;
use crate::runtime::cluster::door::{Door, Visit};
use crate::runtime::cluster::handshake::{Claim, Local};
use crate::runtime::cluster::roster::Roster;
use crate::runtime::cluster::wire::{Fault, Wire, deadline_in};

pub use address::{localhost_addresses, parse_hostfile};
pub use error::{ClusterError, Mismatch, Missing, Peer, Refused};
pub(super) use link::{BEAT, Peers, link};
pub use secret::Secret;

/// The most that process 0 can hand to the others.
pub const MAX_OFFER: usize = 16 << 20;

/// How long the port waits for a look while nothing else happens.
const TICK: Duration = Duration::from_millis(5);
/// How often joined peers are checked for having left.
const SWEEP: Duration = Duration::from_millis(100);
/// How often the log says who is missing.
const REPORT: Duration = Duration::from_secs(3);

/// What must be equal for two processes to understand each other's data: a hash of build, dataflow and options.
///
/// ```
/// use thalweg::runtime::cluster::Fingerprint;
/// assert_eq!(Fingerprint([0xab; 32]).to_string(), "abababababababab");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// The first sixteen hexadecimal digits: enough to tell two apart.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Which cluster to join, and as whom.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// This process's index among `addresses`.
    pub process: usize,
    /// `host:port` of every process, this one included. See [`parse_hostfile`] and [`localhost_addresses`].
    pub addresses: Vec<String>,
    /// Worker threads of each process.
    pub workers: usize,
    /// Of this process's build, dataflow and options.
    pub fingerprint: Fingerprint,
    /// What all processes know and nobody else does. Without one, every address must be a loopback address.
    pub secret: Option<Secret>,
    /// Allows other addresses without a secret.
    pub insecure: bool,
    /// How long to wait until all have joined.
    pub join_timeout: Duration,
    /// How long one connection may take to be made, and again to shake hands.
    pub handshake_timeout: Duration,
}

impl ClusterConfig {
    /// Process `process` among `addresses`, with no secret, a minute to join, and five seconds for each handshake.
    #[must_use]
    pub fn new(process: usize, addresses: Vec<String>, workers: usize, fingerprint: Fingerprint) -> Self {
        Self {
            process,
            addresses,
            workers,
            fingerprint,
            secret: None,
            insecure: false,
            join_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(5),
        }
    }

    fn loopback_only(&self) -> bool {
        self.secret.is_none() && !self.insecure
    }

    /// All processes, this one included.
    pub(super) fn peers(&self) -> Vec<Peer> {
        let peer = |(process, address): (usize, &String)| Peer { process, address: address.clone() };
        self.addresses.iter().enumerate().map(peer).collect()
    }

    /// Finds what is wrong before anything is opened, so that it is not told by a time-out.
    fn check(&self, peers: &[Peer], offer: &[u8]) -> Result<(), ClusterError> {
        let (process, processes) = (self.process, peers.len());
        if process >= processes {
            return Err(ClusterError::NoSuchProcess { process, processes });
        }
        if process == 0 && offer.len() > MAX_OFFER {
            return Err(ClusterError::OfferTooLarge { bytes: offer.len(), limit: MAX_OFFER });
        }
        for peer in peers {
            address::check_form(peer)?;
            if self.loopback_only() {
                address::resolve(peer, true)?;
            }
        }
        Ok(())
    }
}

/// The cluster, joined.
#[derive(Debug)]
pub struct Joined {
    /// A connection to each process, in their order, and `None` in our own place: what timely's
    /// `initialize_networking_from_sockets` takes. They block, and fail within seconds when the other host vanishes.
    pub sockets: Vec<Option<TcpStream>>,
    /// What process 0 offered.
    pub offer: Vec<u8>,
}

/// What the threads that talk report to the one that decides.
#[derive(Debug)]
enum Event {
    /// A process that we connected to has given us a seat.
    Connected { process: usize, socket: TcpStream, offer: Vec<u8> },
    /// A process that we connect to cannot be joined yet.
    Retrying { process: usize, reason: String },
    /// A process that we connect to can never be joined.
    Failed(ClusterError),
    /// A connection has proved the secret.
    Proved(Visit),
    /// A connection was refused, and closed.
    Refused { visit: Visit, remote: SocketAddr, fault: Fault },
    /// A connection waits for its seat.
    Confirmed { visit: Visit, remote: SocketAddr, wire: Wire, claim: Claim },
}

/// Waits until this process has a connection to every other one, and has proved the secret to it.
///
/// Process 0's `offer` is returned on every process; what other processes give here is not looked at.
///
/// # Errors
///
/// At once when the configuration is unsafe or cannot be right, when our address cannot be listened on, and when a
/// process with a lower index has another secret, build, dataflow, `-w` or `-n`; a higher one is refused and logged,
/// as it may be a stranger and the right one may still come. [`ClusterError::Timeout`] names who is missing in the end,
/// and who was refused.
///
/// ```
/// use std::thread;
/// use thalweg::runtime::cluster::{ClusterConfig, Fingerprint, join};
///
/// # let port = || std::net::TcpListener::bind("127.0.0.1:0")?.local_addr();
/// # let addresses = vec![port()?.to_string(), port()?.to_string()];
/// let config = |process| ClusterConfig::new(process, addresses.clone(), 1, Fingerprint([7; 32]));
/// let (first, second) = (config(0), config(1));
/// let first = thread::spawn(move || join(&first, b"the plan"));
/// let second = join(&second, b"").unwrap();
/// assert_eq!(second.offer, b"the plan");
/// assert!(second.sockets[0].is_some() && second.sockets[1].is_none());
/// assert!(first.join().unwrap().is_ok());
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn join(config: &ClusterConfig, offer: &[u8]) -> Result<Joined, ClusterError> {
    let peers = config.peers();
    config.check(&peers, offer)?;
    let deadline = deadline_in(config.join_timeout);
    let loopback_only = config.loopback_only();
    let local = Arc::new(Local::new(config, offer).map_err(ClusterError::System)?);
    let (events, inbox) = mpsc::channel();

    let (lower, higher) = peers.split_at(config.process);
    let door = match higher {
        [ours, _, ..] => Some(Door::open(ours, Arc::clone(&local), loopback_only, events.clone())?),
        _ => None,
    };
    for peer in lower {
        dial::spawn(peer.clone(), Arc::clone(&local), loopback_only, events.clone())?;
    }

    let offer = if config.process == 0 { offer.to_vec() } else { Vec::new() };
    let mut meeting = Meeting { door, roster: Roster::new(config.process, peers), offer };
    let mut next_sweep = deadline_in(SWEEP);
    let mut next_report = deadline_in(REPORT);
    loop {
        if meeting.roster.is_full() || now() >= next_sweep {
            meeting.roster.sweep()?;
            next_sweep = deadline_in(SWEEP);
        }
        if meeting.roster.is_full() {
            return Ok(Joined { sockets: meeting.roster.into_sockets(), offer: meeting.offer });
        }
        if now() >= deadline {
            let (process, after, missing) = (config.process, config.join_timeout, meeting.roster.missing());
            let refused = meeting.roster.refusals();
            return Err(ClusterError::Timeout { process, after, missing, refused });
        }
        if now() >= next_report {
            meeting.roster.missing().iter().for_each(|missing| log::warn!("cluster: waiting for {missing}"));
            next_report = deadline_in(REPORT);
        }
        let more = meeting.door.as_mut().is_some_and(Door::admit);
        // Never disconnected: `events` lives as long as this function.
        let mut next = inbox.recv_timeout(if more { Duration::ZERO } else { TICK }).ok();
        while let Some(event) = next {
            meeting.take(event)?;
            next = inbox.try_recv().ok();
        }
    }
}

/// What the thread in [`join`] decides on.
#[derive(Debug)]
struct Meeting {
    /// `None` in the last process, to which nobody connects.
    door: Option<Door>,
    roster: Roster,
    offer: Vec<u8>,
}

impl Meeting {
    fn take(&mut self, event: Event) -> Result<(), ClusterError> {
        match event {
            Event::Connected { process, socket, offer } => {
                if process == 0 {
                    self.offer = offer;
                }
                self.roster.connected(process, socket);
            }
            Event::Retrying { process, reason } => self.roster.note(process, reason),
            Event::Failed(error) => return Err(error),
            Event::Proved(visit) => self.forget(visit),
            Event::Refused { visit, remote, fault } => {
                self.forget(visit);
                self.roster.refused(remote, &fault);
            }
            Event::Confirmed { visit, remote, wire, claim } => {
                self.forget(visit);
                match handshake::welcome(wire) {
                    Ok(socket) => self.roster.accepted(&claim, socket, remote),
                    Err(fault) => self.roster.note(claim.process, fault.to_string()),
                }
            }
        }
        Ok(())
    }

    fn forget(&mut self, visit: Visit) {
        if let Some(door) = &mut self.door {
            door.forget(visit);
        }
    }
}
