//! A line to a server: it can be slow, be down, and lose answers.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::Draws;

#[derive(Debug, Default)]
struct State {
    down: AtomicBool,
    /// Milliseconds that an answer is under way.
    delay: AtomicU64,
    /// So many answers in a thousand are lost: the request is done.
    losing: AtomicU64,
    lost: AtomicU64,
    /// Requests by what they are.
    puts: AtomicU64,
    lists: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub port: u16,
    state: Arc<State>,
}

impl Line {
    /// To the server on `port`; which answers are lost is drawn from `seed`.
    pub fn new(port: u16, seed: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let line = Line { port: listener.local_addr().unwrap().port(), state: Arc::default() };
        let passing = line.clone();
        let draws = Arc::new(Mutex::new(Draws::new(seed)));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                if passing.state.down.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                passing
                    .state
                    .open
                    .lock()
                    .unwrap()
                    .extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let there = passing.clone();
                std::thread::spawn(move || pass(from, to, |piece| there.ask(piece)));
                let (back, draws) = (passing.clone(), Arc::clone(&draws));
                std::thread::spawn(move || pass(server, client, |_| back.answer(&draws)));
            }
        });
        line
    }

    pub fn delay(&self, delay: Duration) {
        self.state.delay.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    pub fn lose(&self, per_mille: u64) {
        self.state.losing.store(per_mille, Ordering::SeqCst);
    }

    /// How many answers were lost.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// How often something was put, and listed.
    pub fn requests(&self) -> (u64, u64) {
        (self.state.puts.load(Ordering::SeqCst), self.state.lists.load(Ordering::SeqCst))
    }

    /// Cuts it, or mends it.
    pub fn cut(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn ask(&self, piece: &[u8]) -> bool {
        if piece.starts_with(b"PUT /") {
            self.state.puts.fetch_add(1, Ordering::SeqCst);
        }
        let head = &piece[..piece.len().min(400)];
        if piece.starts_with(b"GET /") && head.windows(9).any(|text| text == b"list-type") {
            self.state.lists.fetch_add(1, Ordering::SeqCst);
        }
        true
    }

    fn answer(&self, draws: &Mutex<Draws>) -> bool {
        std::thread::sleep(Duration::from_millis(self.state.delay.load(Ordering::SeqCst)));
        let lost = (draws.lock().unwrap().below(1000) as u64) < self.state.losing.load(Ordering::SeqCst);
        self.state.lost.fetch_add(u64::from(lost), Ordering::SeqCst);
        !lost
    }
}

/// Passes on what comes, for as long as `goes_on` says so of a piece.
fn pass(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(&[u8]) -> bool) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if !goes_on(&piece[..read]) || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
