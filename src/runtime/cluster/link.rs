//! A joined connection while the dataflow runs: timely's bytes in frames, and signs of life between them.
//!
//! A process that is stopped, or whose every thread hangs, keeps its connections: its system acknowledges what arrives
//! for it, and answers keepalive probes. So each process says by itself that it lives, every [`BEAT`], on the connection
//! on which its data goes, and whether something moves in it that the others cannot see. [`Link`] is what timely reads
//! and writes; it takes the signs out and passes the bytes on, if they are [`Messages`] of the process at the other end.
//!
//! | kind (1) | length (4, big-endian) | payload |
//! |---|---|---|
//! | 0 | 1 to 65,536 | bytes of timely's stream, cut anywhere |
//! | 1 | 0 | a sign of life |
//! | 2 | 0 | a sign of life of a process that reads its input, or waits for whoever reads its output |

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use timely::communication::allocator::zero_copy::stream::Stream;

use crate::runtime::cluster::Peer;
use crate::runtime::cluster::messages::Messages;

/// How often a process says that it lives.
pub(in crate::runtime) const BEAT: Duration = Duration::from_millis(50);

const HEAD_LENGTH: usize = 5;
/// The most that a frame holds. A read is buffered up to here, and timely writes so much at a time.
const FRAME: usize = 64 << 10;

const DATA: u8 = 0;
const ALIVE: u8 = 1;
const BUSY: u8 = 2;

/// The other processes of the cluster, while the dataflow runs.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Peers {
    lives: Vec<Arc<Life>>,
    /// Whether something moves in this process that the others cannot see.
    busy: Arc<AtomicBool>,
}

impl Peers {
    /// Tells the peers with the next sign of life whether something moves here that they cannot see.
    pub(in crate::runtime) fn tell(&self, busy: bool) {
        self.busy.store(busy, Relaxed);
    }

    /// What is known of each peer.
    pub(in crate::runtime) fn lives(&self) -> &[Arc<Life>] {
        &self.lives
    }
}

/// What is known of the process at the other end of a connection.
#[derive(Debug)]
pub(in crate::runtime) struct Life {
    /// Who that is.
    pub(in crate::runtime) peer: Peer,
    /// Grows with whatever is heard of it.
    heard: AtomicU64,
    busy: AtomicBool,
    /// Whether it has said that nothing more will come.
    over: AtomicBool,
}

impl Life {
    /// How often it has been heard; `None` once nothing more is to be heard of it.
    pub(in crate::runtime) fn heard(&self) -> Option<u64> {
        (!self.over.load(Relaxed)).then(|| self.heard.load(Relaxed))
    }

    /// Whether something moves in it that we cannot see.
    pub(in crate::runtime) fn is_busy(&self) -> bool {
        !self.over.load(Relaxed) && self.busy.load(Relaxed)
    }
}

/// Makes links of the connections of process `ours` to the other `peers`, each at its place, and begins to give signs of
/// life on them.
pub(in crate::runtime) fn link(
    sockets: Vec<Option<TcpStream>>,
    peers: &[Peer],
    ours: usize,
    workers: usize,
) -> io::Result<(Vec<Option<Link>>, Peers)> {
    let mut all = Peers::default();
    let mut links = Vec::with_capacity(sockets.len());
    for (socket, peer) in sockets.into_iter().zip(peers) {
        let Some(socket) = socket else {
            links.push(None);
            continue;
        };
        let (heard, busy, over) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let life = Arc::new(Life { peer: peer.clone(), heard, busy, over });
        let messages = Messages::new(peer.process, ours, workers);
        let link = Link::new(socket, messages, Arc::clone(&life))?;
        let (sender, busy) = (Arc::downgrade(&link.sender), Arc::clone(&all.busy));
        // One thread for each: a peer that takes nothing more must not keep us from telling the others.
        thread::Builder::new()
            .name(format!("cluster:beat-{}", peer.process))
            .spawn(move || beat(&sender, &busy))?;
        all.lives.push(life);
        links.push(Some(link));
    }
    Ok((links, all))
}

/// Gives signs of life until the link is gone or closed. Who loses the connection is told by timely's own threads.
fn beat(sender: &Weak<Mutex<Sender>>, busy: &AtomicBool) {
    while let Some(sender) = sender.upgrade() {
        let kind = if busy.load(Relaxed) { BUSY } else { ALIVE };
        if !lock(&sender).send(kind, &[]).is_ok_and(|open| open) {
            return;
        }
        drop(sender);
        thread::sleep(BEAT);
    }
}

/// A connection as timely uses it.
#[derive(Debug)]
pub(in crate::runtime) struct Link {
    reader: BufReader<TcpStream>,
    /// Bytes of timely's that are still to come of the frame being read.
    left: usize,
    messages: Messages,
    sender: Arc<Mutex<Sender>>,
    life: Arc<Life>,
}

/// The half of a connection that whole frames are written to, by timely and by whoever gives signs of life.
#[derive(Debug)]
struct Sender {
    stream: TcpStream,
    frame: Vec<u8>,
    closed: bool,
}

fn lock(sender: &Mutex<Sender>) -> std::sync::MutexGuard<'_, Sender> {
    sender.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    /// Writes a frame, whole; returns whether the connection is still open for more.
    fn send(&mut self, kind: u8, payload: &[u8]) -> io::Result<bool> {
        if self.closed {
            return Ok(false);
        }
        let length = u32::try_from(payload.len()).expect("a frame is short");
        self.frame.clear();
        self.frame.push(kind);
        self.frame.extend_from_slice(&length.to_be_bytes());
        self.frame.extend_from_slice(payload);
        self.stream.write_all(&self.frame)?;
        Ok(true)
    }
}

fn invalid(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl Link {
    fn new(stream: TcpStream, messages: Messages, life: Arc<Life>) -> io::Result<Self> {
        let sender = Sender { stream: stream.try_clone()?, frame: Vec::new(), closed: false };
        let reader = BufReader::with_capacity(HEAD_LENGTH + FRAME, stream);
        Ok(Link { reader, left: 0, messages, sender: Arc::new(Mutex::new(sender)), life })
    }

    /// Goes on to the next bytes of timely's, past signs of life; returns whether there are any.
    fn next_frame(&mut self) -> io::Result<bool> {
        while self.left == 0 {
            if self.reader.fill_buf()?.is_empty() {
                return Ok(false);
            }
            let mut head = [0; HEAD_LENGTH];
            self.reader.read_exact(&mut head)?;
            let [kind, a, b, c, d] = head;
            match (kind, u32::from_be_bytes([a, b, c, d]) as usize) {
                (DATA, length @ 1..=FRAME) => self.left = length,
                (ALIVE, 0) => self.life.busy.store(false, Relaxed),
                (BUSY, 0) => self.life.busy.store(true, Relaxed),
                (kind, length) => {
                    let what =
                        format!("it sent a frame of kind {kind} and {length} bytes, which there is not");
                    return Err(invalid(what));
                }
            }
            self.life.heard.fetch_add(1, Relaxed);
        }
        Ok(true)
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let next = self.next_frame();
        if !matches!(next, Ok(true)) {
            self.life.over.store(true, Relaxed);
        }
        if !next? {
            return Ok(0);
        }
        let most = buffer.len().min(self.left);
        let read = self.reader.read(&mut buffer[..most])?;
        if read == 0 && most > 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "socket closed within a frame"));
        }
        self.messages.follow(&buffer[..read]).map_err(invalid)?;
        self.left -= read;
        self.life.heard.fetch_add(1, Relaxed);
        Ok(read)
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = &bytes[..bytes.len().min(FRAME)];
        if part.is_empty() || lock(&self.sender).send(DATA, part)? {
            return Ok(part.len());
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Link {
    /// Timely has one handle that reads and one that writes. Both are made before anything is read, so nothing that has
    /// been read ahead is lost.
    fn try_clone(&self) -> io::Result<Self> {
        debug_assert!(self.left == 0 && self.reader.buffer().is_empty(), "cloned after it was read");
        let stream = self.reader.get_ref().try_clone()?;
        let reader = BufReader::with_capacity(self.reader.capacity(), stream);
        let (messages, sender) = (self.messages.clone(), Arc::clone(&self.sender));
        Ok(Link { reader, left: 0, messages, sender, life: Arc::clone(&self.life) })
    }

    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.reader.get_ref().set_nonblocking(nonblocking)
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let mut sender = lock(&self.sender);
        sender.closed |= how != Shutdown::Read;
        sender.stream.shutdown(how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// The two ends of a connection, as process 0 and process 1 have them.
    fn pair() -> (Link, Peers, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let near = listener.accept().unwrap().0;
        let peers = [0, 1].map(|process| Peer { process, address: format!("host:{process}") });
        let (links, peers) = link(vec![None, Some(near)], &peers, 0, 1).unwrap();
        (links.into_iter().flatten().next().unwrap(), peers, far)
    }

    /// A message of `length` bytes from the one worker of process `from` to that of process `to`, as timely sends it.
    fn message(from: u64, to: u64, length: u64) -> Vec<u8> {
        let head = [0, from, to, to + 1, length, 0].map(u64::to_be_bytes).concat();
        head.into_iter().chain((0..length).map(|at| at as u8)).collect()
    }

    #[test]
    fn signs_of_life_are_taken_out_wherever_the_bytes_are_cut() {
        let (mut near, peers, mut far) = pair();
        let life = &peers.lives()[0];
        assert_eq!((life.heard(), life.is_busy()), (Some(0), false));
        let sent = message(1, 0, 10);
        far.write_all(&[1, 0, 0, 0, 0]).unwrap();
        for part in sent.chunks(7) {
            far.write_all(&[0, 0, 0, 0, part.len() as u8]).unwrap();
            far.write_all(part).unwrap();
            far.write_all(&[2, 0, 0, 0, 0]).unwrap();
        }
        far.shutdown(Shutdown::Write).unwrap();
        let mut read = Vec::new();
        let mut buffer = [0; 2];
        while let bytes @ 1.. = near.read(&mut buffer).unwrap() {
            assert!(life.heard().is_some());
            read.extend_from_slice(&buffer[..bytes]);
        }
        assert_eq!(read, sent);
        assert_eq!((life.heard(), life.is_busy()), (None, false), "nothing more is to be heard");
    }

    #[test]
    fn what_is_written_arrives_between_signs_of_life() {
        let (mut near, peers, far) = pair();
        peers.tell(true);
        let sent = message(0, 1, 200_000);
        let expected = sent.clone();
        let writer = thread::spawn(move || {
            for part in sent.chunks(70_000) {
                thread::sleep(BEAT * 2);
                near.write_all(part).unwrap();
            }
            near.shutdown(Shutdown::Write).unwrap();
            assert!(near.write(b"more").is_err());
        });
        let peer = Peer { process: 0, address: "host:0".to_owned() };
        let (heard, busy, over) = (AtomicU64::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let life = Arc::new(Life { peer, heard, busy, over });
        let mut far = Link::new(far, Messages::new(0, 1, 1), life).unwrap();
        let mut read = Vec::new();
        far.read_to_end(&mut read).unwrap();
        writer.join().unwrap();
        assert!(read == expected);
        assert!(far.life.busy.load(Relaxed));
    }

    #[test]
    fn other_bytes_are_an_error() {
        let framed = |payload: &[u8]| [&[0, 0, 0, 0, payload.len() as u8], payload].concat();
        for wrong in [
            b"GET / HTTP/1.1".to_vec(),
            vec![0, 0, 0, 0, 0],
            vec![0, 0, 1, 0, 1],
            vec![1, 0, 0, 0, 1],
            vec![0, 0, 0, 0, 2, 1],
            framed(&[0xff; 48]),
            framed(&message(1, 7, 1)),
        ] {
            let (mut near, _, mut far) = pair();
            far.write_all(&wrong).unwrap();
            drop(far);
            assert!(near.read_to_end(&mut Vec::new()).is_err(), "{wrong:?}");
        }
    }
}
