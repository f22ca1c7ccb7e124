//! `tcp://HOST:PORT`: each line with its LF, over one connection at a time.
//!
//! Nobody acknowledges a line here. What the system has taken may still be lost with the
//! connection, from its buffer or from the receiver's, so a line counts as delivered only when as
//! much as both hold has been written behind it, or when the connection has stood for a while
//! since. When a connection ends, everything else is sent again over the next one.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::{Fate, Offer, Outlet, Waker};
use crate::source::Backoff;

/// How long an attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How long what was written may stay unacknowledged by the other system before the connection
/// counts as broken.
const UNHEARD: Duration = Duration::from_secs(120);
/// Bytes that are written at once, about.
const BLOCK: usize = 64 << 10;
/// Bytes that wait to be written, at most, and one line.
const QUEUE: usize = 1 << 20;
/// What this system's buffer of a connection and the other's hold, generously: by default, they
/// grow to 4 and to 6 MiB.
const BUFFERS: u64 = 16 << 20;
/// How long a connection has to stand for what was written to count as delivered.
const STANDS: Duration = Duration::from_secs(1);

/// `HOST:PORT`, a name or an address; one of version 6 stands in brackets.
pub(super) type Address = String;

/// Reads what follows `tcp:`.
pub(super) fn parse(rest: &str) -> Result<Address, String> {
    let form = "it is written `tcp://HOST:PORT`";
    let address = rest.strip_prefix("//").ok_or(form)?;
    if address.contains('?') {
        return Err("`tcp://HOST:PORT` has no options".to_owned());
    }
    let (host, port) = address.rsplit_once(':').ok_or(form)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    if host.is_empty() || host.contains('/') || (host.contains(':') && !bracketed) {
        return Err(form.to_owned());
    }
    match port.parse::<u16>() {
        Ok(0) => Err("nobody listens at port 0".to_owned()),
        Ok(_) => Ok(address.to_owned()),
        Err(_) => Err(format!("`{port}` is no port, which is a number from 1 to 65535")),
    }
}

/// What both threads share.
struct Shared {
    name: String,
    address: Address,
    link: Mutex<Link>,
    more: Condvar,
    wake: Waker,
}

#[derive(Default)]
struct Link {
    /// The connection, once there is one.
    stream: Option<Arc<TcpStream>>,
    /// Blocks of lines that wait to be written, each with the number of its last line.
    queue: VecDeque<(Vec<u8>, u64)>,
    queued: usize,
    /// Blocks that were written: the number of the last line, and the bytes.
    written: Vec<(u64, u64)>,
    /// Why the connection has ended, until that was taken notice of.
    ended: Option<String>,
    /// Why there is none.
    away: Option<String>,
    /// The receiver has closed it after everything was written.
    closed: bool,
    /// Nothing more is to be written.
    finish: bool,
    finished: bool,
    over: bool,
}

impl Shared {
    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection has ended, unless that was said.
    fn ended(&self, stream: &Arc<TcpStream>, reason: String) {
        let mut link = self.link();
        if !link.stream.as_ref().is_some_and(|it| Arc::ptr_eq(it, stream)) {
            return;
        }
        let _ = stream.shutdown(Shutdown::Both);
        link.stream = None;
        link.queue.clear();
        link.queued = 0;
        // What is sent again may take another connection.
        (link.finish, link.finished, link.closed) = (false, false, false);
        link.away = Some(reason.clone());
        link.ended = Some(reason);
        drop(link);
        self.more.notify_all();
        (self.wake)();
    }

    /// Connects, and writes, until it is over.
    fn keep(self: &Arc<Self>) {
        let mut backoff = Backoff::new();
        loop {
            match self.connect() {
                Ok(stream) => {
                    let mut link = self.link();
                    let level = if link.away.take().is_some() { log::Level::Warn } else { log::Level::Debug };
                    log::log!(level, "{}: connected", self.name);
                    link.stream = Some(Arc::clone(&stream));
                    drop(link);
                    (self.wake)();
                    if self.serve(&stream) {
                        backoff = Backoff::new();
                    }
                }
                Err(error) => {
                    let mut link = self.link();
                    let level = if link.away.is_some() { log::Level::Debug } else { log::Level::Warn };
                    log::log!(
                        level,
                        "{}: cannot connect: {error}\n  hint: it is tried until it can",
                        self.name
                    );
                    link.away = Some(format!("cannot connect: {error}"));
                    drop(link);
                    (self.wake)();
                }
            }
            let link = self.link();
            let waited = self.more.wait_timeout_while(link, backoff.next(), |link| !link.over);
            let link = waited.unwrap_or_else(PoisonError::into_inner).0;
            // What had been written is offered again only when it is known that the connection has
            // ended.
            let waited = self.more.wait_while(link, |link| link.ended.is_some() && !link.over);
            if waited.unwrap_or_else(PoisonError::into_inner).over {
                return;
            }
        }
    }

    fn connect(&self) -> io::Result<Arc<TcpStream>> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, ATTEMPT) {
                // Where nobody listens, the system may give this side the very port that it
                // connects to.
                Ok(stream) if stream.local_addr()? == address => {
                    last = io::ErrorKind::ConnectionRefused.into();
                }
                Ok(stream) => {
                    let socket = socket2::SockRef::from(&stream);
                    let probes = socket2::TcpKeepalive::new()
                        .with_time(Duration::from_secs(30))
                        .with_interval(Duration::from_secs(10))
                        .with_retries(3);
                    socket.set_tcp_keepalive(&probes)?;
                    socket.set_tcp_user_timeout(Some(UNHEARD))?;
                    return Ok(Arc::new(stream));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Writes what there is to `stream`, until it ends; returns whether anything was written.
    fn serve(self: &Arc<Self>, stream: &Arc<TcpStream>) -> bool {
        let (shared, watched) = (Arc::clone(self), Arc::clone(stream));
        let watch = Builder::new().name("tcp-watch".to_owned()).spawn(move || shared.watch(&watched));
        if let Err(error) = watch {
            self.ended(stream, format!("the connection cannot be watched: {error}"));
            return false;
        }
        let mut any = false;
        loop {
            let link = self.link();
            let is_idle = |link: &mut Link| {
                link.stream.is_some()
                    && !link.over
                    && link.queue.is_empty()
                    && (!link.finish || link.finished)
            };
            let waited = self.more.wait_while(link, is_idle);
            let mut link = waited.unwrap_or_else(PoisonError::into_inner);
            if link.stream.is_none() || link.over {
                return any;
            }
            let Some((block, upto)) = link.queue.pop_front() else {
                link.finished = true;
                drop(link);
                let _ = stream.shutdown(Shutdown::Write);
                continue;
            };
            link.queued -= block.len();
            drop(link);
            if let Err(error) = (&mut &**stream).write_all(&block) {
                self.ended(stream, format!("the connection is broken: {error}"));
                return any;
            }
            any = true;
            let mut link = self.link();
            if link.stream.is_some() {
                link.written.push((upto, block.len() as u64));
            }
            drop(link);
            (self.wake)();
        }
    }

    /// Waits for the end of `stream`. What a receiver says is of no interest, and must not fill the
    /// buffers.
    fn watch(&self, stream: &Arc<TcpStream>) {
        let mut bytes = [0; 4096];
        let reason = loop {
            match (&mut &**stream).read(&mut bytes) {
                Ok(0) => break "the receiver has closed the connection".to_owned(),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.ended(stream, format!("the connection is broken: {error}"));
                    return;
                }
            }
        };
        let mut link = self.link();
        if link.finished {
            link.closed = true;
            drop(link);
            (self.wake)();
        } else {
            drop(link);
            self.ended(stream, reason);
        }
    }
}

/// A receiver of lines over TCP.
pub(super) struct TcpOutlet {
    shared: Arc<Shared>,
    /// Lines that are not queued yet, and the number of the last.
    block: Vec<u8>,
    last: u64,
    /// What was written and does not count as delivered: the last line, how many bytes had been
    /// written by then, and when.
    written: VecDeque<(u64, u64, Instant)>,
    bytes: u64,
}

impl TcpOutlet {
    pub(super) fn new(name: &str, address: &Address, wake: Waker) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            address: address.clone(),
            link: Mutex::default(),
            more: Condvar::new(),
            wake,
        });
        let keeps = Arc::clone(&shared);
        Builder::new().name("tcp".to_owned()).spawn(move || keeps.keep())?;
        Ok(TcpOutlet { shared, block: Vec::new(), last: 0, written: VecDeque::new(), bytes: 0 })
    }
}

impl Outlet for TcpOutlet {
    fn offer(&mut self, number: u64, _key: Option<&[u8]>, line: &[u8], _now: Instant) -> Offer {
        if self.block.len() >= BLOCK {
            self.flush();
        }
        // A block that could not be queued waits.
        let link = self.shared.link();
        if link.stream.is_none() || link.ended.is_some() || link.queued + self.block.len() >= QUEUE {
            return Offer::Full;
        }
        drop(link);
        self.block.extend_from_slice(line);
        self.block.push(b'\n');
        self.last = number;
        Offer::Sent
    }

    fn flush(&mut self) {
        let mut link = self.shared.link();
        if self.block.is_empty() || link.stream.is_none() || link.ended.is_some() {
            return;
        }
        link.queued += self.block.len();
        link.queue.push_back((std::mem::take(&mut self.block), self.last));
        drop(link);
        self.shared.more.notify_all();
    }

    fn poll(&mut self, now: Instant, fates: &mut Vec<Fate>) {
        let mut link = self.shared.link();
        for (upto, bytes) in link.written.drain(..) {
            self.bytes += bytes;
            self.written.push_back((upto, self.bytes, now));
        }
        let ended = link.ended.take();
        let closed = link.closed;
        drop(link);
        let stands = |(_, bytes, at): &(u64, u64, Instant)| {
            closed || self.bytes - bytes >= BUFFERS || (ended.is_none() && now.duration_since(*at) >= STANDS)
        };
        let count = self.written.iter().take_while(|it| stands(it)).count();
        if let Some((upto, ..)) = self.written.drain(..count).next_back() {
            fates.push(Fate::DeliveredUpTo(upto));
        }
        if let Some(reason) = ended {
            log::warn!("{}: {reason}; what may not have arrived is sent again", self.shared.name);
            self.written.clear();
            self.block.clear();
            self.shared.more.notify_all();
            fates.push(Fate::Lost);
        }
    }

    fn end(&mut self) {
        self.flush();
        if self.block.is_empty() {
            self.shared.link().finish = true;
            self.shared.more.notify_all();
        }
    }

    fn away(&self) -> Option<String> {
        let link = self.shared.link();
        match (&link.stream, &link.away) {
            (Some(_), _) => None,
            (None, Some(reason)) => Some(reason.clone()),
            (None, None) => Some("connecting".to_owned()),
        }
    }
}

impl Drop for TcpOutlet {
    fn drop(&mut self) {
        let mut link = self.shared.link();
        link.over = true;
        if let Some(stream) = &link.stream {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(link);
        self.shared.more.notify_all();
    }
}
