//! Waiting for any of many sockets, and for a bell that another thread rings.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::stream::Stream;

/// Events that are taken at once, at most.
const AT_ONCE: usize = 256;

/// The token of the bell.
const BELL: u64 = u64::MAX;

/// Sockets that are watched for bytes to read.
///
/// It says once that something has come (edge-triggered), and again when more has: whoever is told reads until nothing is left.
/// A socket that nobody reads costs nothing, however much waits in it.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    bell: OwnedFd,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let poller = Poller {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            bell: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        };
        poller.add(&poller.bell, BELL)?;
        Ok(poller)
    }

    /// Watches `source`, until it is closed; `token` tells it from others.
    pub(super) fn add(&self, source: impl AsFd, token: u64) -> io::Result<()> {
        self.watch(source, token, EventFlags::IN)
    }

    /// Watches `stream`, for room to write as well if it writes.
    pub(super) fn add_stream(&self, stream: &Stream, token: u64) -> io::Result<()> {
        let room = if stream.writes() { EventFlags::OUT } else { EventFlags::empty() };
        self.watch(stream.socket(), token, EventFlags::IN | room)
    }

    fn watch(&self, source: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        let flags = flags | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(token), flags)?)
    }

    /// Ends the wait of another thread, or its next one.
    pub(super) fn ring(&self) {
        // It fails only where it has been rung more often than a counter of 64 bits holds.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    /// Waits for events, as long as `timeout` if there is one; `tokens` are those of the sources that have something.
    pub(super) fn wait(&self, timeout: Option<Duration>, tokens: &mut Vec<u64>) -> io::Result<()> {
        tokens.clear();
        let timeout = timeout.map(timespec);
        let mut events: Vec<Event> = Vec::with_capacity(AT_ONCE);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            let data = event.data;
            match data.u64() {
                BELL => drop(rustix::io::read(&self.bell, &mut [0; 8])),
                token => tokens.push(token),
            }
        }
        Ok(())
    }
}

/// A timer of the system that ticks every `tick`, because sources have no clock.
pub(super) fn timer(tick: Duration) -> io::Result<OwnedFd> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let tick = timespec(tick.max(Duration::from_millis(1)));
    let ticks = Itimerspec { it_interval: tick, it_value: tick };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &ticks)?;
    Ok(timer)
}

/// `duration` as the system takes it.
fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn it_says_once_that_something_has_come_and_is_woken_by_its_bell() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut there = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (here, _) = listener.accept().expect("accepted");
        let poller = Poller::new().expect("the system has one");
        poller.add(&here, 7).expect("watched");
        let mut tokens = Vec::new();
        there.write_all(b"bytes").expect("written");
        poller.wait(None, &mut tokens).expect("waited");
        assert_eq!(tokens, [7]);
        poller.ring();
        poller.wait(None, &mut tokens).expect("waited");
        assert_eq!(tokens, [0; 0], "nothing new came, and the bell is no source");
        poller.wait(Some(Duration::ZERO), &mut tokens).expect("waited");
        drop(there);
        poller.wait(None, &mut tokens).expect("waited");
        assert_eq!(tokens, [7], "the end is news");
    }
}
