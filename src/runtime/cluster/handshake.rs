//! What two processes say to each other before they exchange data, as a straight-line conversation for each side.
//!
//! Knows nothing of listening, retrying and seats. The bytes are laid out in the [module docs](super).

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use crate::runtime::cluster::wire::{Fault, Kind, Role, VERSION, Wire, random};
use crate::runtime::cluster::{ClusterConfig, Fingerprint, MAX_OFFER, Mismatch, Secret};

const RUN_LENGTH: usize = 16;

/// What a process says of itself. Both sides say it, both compare: the difference is the reason of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) process: usize,
    pub(super) processes: usize,
    pub(super) workers: usize,
    pub(super) fingerprint: Fingerprint,
    /// Drawn once by each call of `join`: tells a process that tries again from another one with its index.
    pub(super) run: [u8; RUN_LENGTH],
}

impl Claim {
    const LENGTH: usize = 3 * size_of::<u64>() + size_of::<Fingerprint>() + RUN_LENGTH;

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LENGTH);
        for number in [self.process, self.processes, self.workers] {
            bytes.extend_from_slice(&(number as u64).to_be_bytes());
        }
        bytes.extend_from_slice(&self.fingerprint.0);
        bytes.extend_from_slice(&self.run);
        bytes
    }

    /// `None` when the length is wrong, or a number is more than this machine can count.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let claim = Self {
            process: number(&mut rest)?,
            processes: number(&mut rest)?,
            workers: number(&mut rest)?,
            fingerprint: Fingerprint(take(&mut rest)?),
            run: take(&mut rest)?,
        };
        rest.is_empty().then_some(claim)
    }

    fn receive(wire: &mut Wire) -> Result<Self, Fault> {
        let bytes = wire.receive(Kind::Claim, Self::LENGTH)?;
        Self::decode(&bytes).ok_or(Fault::Unexpected {
            awaiting: Kind::Claim,
            limit: Self::LENGTH,
            kind: Kind::Claim as u8,
            bytes: bytes.len(),
        })
    }

    /// Whether both are of one run. Numbers first: they also enter most fingerprints, and say more than it does.
    fn agree(&self, theirs: &Self) -> Result<(), Fault> {
        let mismatch = match () {
            () if self.processes != theirs.processes => {
                Mismatch::Processes { ours: self.processes, theirs: theirs.processes }
            }
            () if self.workers != theirs.workers => {
                Mismatch::Workers { ours: self.workers, theirs: theirs.workers }
            }
            () if self.fingerprint != theirs.fingerprint => {
                Mismatch::Fingerprint { ours: self.fingerprint, theirs: theirs.fingerprint }
            }
            () => return Ok(()),
        };
        Err(theirs.refuse(mismatch))
    }

    /// Why who says this is refused.
    fn refuse(&self, mismatch: Mismatch) -> Fault {
        Fault::Mismatch { process: self.process, mismatch }
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

fn number(bytes: &mut &[u8]) -> Option<usize> {
    usize::try_from(u64::from_be_bytes(take(bytes)?)).ok()
}

/// What this process brings to each of its handshakes.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) claim: Claim,
    pub(super) secret: Option<Secret>,
    /// What is handed to those who connect to us: nothing, but from process 0.
    offer: Vec<u8>,
    pub(super) handshake_timeout: Duration,
}

impl Local {
    pub(super) fn new(config: &ClusterConfig, offer: &[u8]) -> io::Result<Self> {
        Ok(Self {
            claim: Claim {
                process: config.process,
                processes: config.addresses.len(),
                workers: config.workers,
                fingerprint: config.fingerprint,
                run: random()?,
            },
            secret: config.secret.clone(),
            offer: if config.process == 0 { offer.to_vec() } else { Vec::new() },
            handshake_timeout: config.handshake_timeout,
        })
    }

    pub(super) fn wire(&self, stream: TcpStream, role: Role) -> io::Result<Wire> {
        Wire::new(stream, role, self.secret.as_ref(), self.handshake_timeout)
    }
}

/// The connector's side: introduces us to process `peer`. Returns its offer; we are seated when this returns.
pub(super) fn connect(wire: &mut Wire, local: &Local, peer: usize) -> Result<Vec<u8>, Fault> {
    wire.send_hello()?;
    check_version(wire.receive_hello()?)?;
    wire.send(Kind::Proof, &[])?;
    wire.receive(Kind::Proof, 0)?;
    wire.send(Kind::Claim, &local.claim.encode())?;
    let theirs = Claim::receive(wire)?;
    local.claim.agree(&theirs)?;
    if theirs.process != peer {
        return Err(theirs.refuse(Mismatch::Misplaced { expected: peer, theirs: theirs.process }));
    }
    let offer = wire.receive(Kind::Offer, if peer == 0 { MAX_OFFER } else { 0 })?;
    wire.send(Kind::Confirm, &[])?;
    wire.receive(Kind::Welcome, 0)?;
    Ok(offer)
}

/// The acceptor's side, up to the connector's `Confirm`: what is left is [`welcome`], once its seat is free.
///
/// Calls `proved` as soon as the other side is known to know the secret. Until then it has been told our nonce and
/// nothing else, and could make us keep no more than a few dozen bytes.
pub(super) fn accept(wire: &mut Wire, local: &Local, proved: impl FnOnce()) -> Result<Claim, Fault> {
    let version = wire.receive_hello()?;
    // Answered before it is judged: a connector of another version shall be able to say so to its user.
    wire.send_hello()?;
    check_version(version)?;
    wire.receive(Kind::Proof, 0)?;
    proved();
    wire.send(Kind::Proof, &[])?;
    let theirs = Claim::receive(wire)?;
    wire.send(Kind::Claim, &local.claim.encode())?;
    let ours = &local.claim;
    ours.agree(&theirs)?;
    if theirs.process <= ours.process || theirs.process >= ours.processes {
        let (ours, processes) = (ours.process, ours.processes);
        return Err(theirs.refuse(Mismatch::Uncalled { ours, processes, theirs: theirs.process }));
    }
    wire.send(Kind::Offer, &local.offer)?;
    wire.receive(Kind::Confirm, 0)?;
    Ok(theirs)
}

/// The acceptor's last word: the connector has its seat.
pub(super) fn welcome(mut wire: Wire) -> Result<TcpStream, Fault> {
    wire.send(Kind::Welcome, &[])?;
    Ok(wire.into_socket()?)
}

fn check_version(theirs: u32) -> Result<(), Fault> {
    if theirs == VERSION { Ok(()) } else { Err(Fault::Version { theirs }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};
    use std::thread;

    fn local(process: usize) -> Local {
        let addresses = super::super::localhost_addresses(2);
        let config = ClusterConfig::new(process, addresses, 2, Fingerprint([7; 32]));
        Local::new(&config, b"offer").unwrap()
    }

    #[test]
    fn a_claim_survives_its_encoding_and_nothing_else_decodes() {
        let claim = local(1).claim;
        let bytes = claim.encode();
        assert_eq!((bytes.len(), Claim::decode(&bytes)), (Claim::LENGTH, Some(claim)));
        for length in 0..bytes.len() {
            assert_eq!(Claim::decode(&bytes[..length]), None);
        }
        assert_eq!(Claim::decode(&[&bytes[..], &[0]].concat()), None);
    }

    /// The outcome of the acceptor's side when bit 0 of byte `place` of what the connector says is flipped on its way.
    fn flipped(place: usize) -> Result<Claim, Fault> {
        let door = TcpListener::bind("127.0.0.1:0").unwrap();
        let between = TcpListener::bind("127.0.0.1:0").unwrap();
        let (target, address) = (door.local_addr().unwrap(), between.local_addr().unwrap());
        let connector = thread::spawn(move || {
            let local = local(1);
            let mut wire = local.wire(TcpStream::connect(address).unwrap(), Role::Connector).unwrap();
            connect(&mut wire, &local, 0)
        });
        let (near, far) = (between.accept().unwrap().0, TcpStream::connect(target).unwrap());
        far.set_nodelay(true).unwrap();
        let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
        thread::spawn(move || {
            let _ = std::io::copy(&mut &to, &mut &from);
            let _ = from.shutdown(Shutdown::Both);
        });
        thread::spawn(move || {
            let mut byte = [0];
            let mut index = 0;
            while (&near).read_exact(&mut byte).is_ok() {
                byte[0] ^= u8::from(index == place);
                index += 1;
                if (&far).write_all(&byte).is_err() {
                    break;
                }
            }
            let _ = far.shutdown(Shutdown::Both);
        });
        let local = local(0);
        let mut wire = local.wire(door.accept().unwrap().0, Role::Acceptor).unwrap();
        let outcome = accept(&mut wire, &local, || ());
        drop(wire);
        assert!(connector.join().unwrap().is_err(), "nobody said welcome");
        outcome
    }

    #[test]
    fn no_byte_of_the_connector_can_be_changed() {
        let sent = 44 + 37 + (37 + Claim::LENGTH) + 37;
        assert!(flipped(sent).is_ok());
        for place in 0..sent {
            assert!(flipped(place).is_err(), "byte {place}");
        }
    }
}
