//! Something between a client and its server that cuts connections where a test says.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// Where connections are cut.
#[derive(Debug, Default)]
struct Cut {
    /// So many pieces from the client are left until one is cut; less than none: never.
    left: AtomicI64,
    /// Pieces that have come so far.
    seen: AtomicU64,
}

#[derive(Clone, Debug)]
pub struct Proxy {
    pub port: u16,
    cut: Arc<Cut>,
    /// Whether the piece at which it is cut still gets to the server, whose answer then does not come.
    delivers: bool,
}

impl Proxy {
    /// Passes on to the server on `port`.
    pub fn new(port: u16, delivers: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let cut = Arc::new(Cut { left: AtomicI64::new(-1), seen: AtomicU64::new(0) });
        let proxy = Proxy { port: listener.local_addr().unwrap().port(), cut, delivers };
        let passing = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { continue };
                // A server that is away is a connection that ends.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to, |_| true));
                let passing = passing.clone();
                std::thread::spawn(move || passing.pass(client, server));
            }
        });
        proxy
    }

    /// Cuts a connection at the piece after so many.
    pub fn cut_after(&self, pieces: i64) {
        self.cut.left.store(pieces, Ordering::SeqCst);
    }

    /// How many pieces have come from clients.
    pub fn seen(&self) -> u64 {
        self.cut.seen.load(Ordering::SeqCst)
    }

    /// Whether it has cut what it was told to.
    pub fn has_cut(&self) -> bool {
        self.cut.left.load(Ordering::SeqCst) < 0
    }

    fn pass(&self, client: TcpStream, server: TcpStream) {
        let back = server.try_clone().unwrap();
        let answers = client.try_clone().unwrap();
        pass(client, server, |to| {
            self.cut.seen.fetch_add(1, Ordering::SeqCst);
            let cut = self.cut.left.fetch_sub(1, Ordering::SeqCst) == 0;
            if cut && self.delivers {
                // No answer gets through, and the server has read all when it finds that nobody listens.
                let _ = answers.shutdown(Shutdown::Both);
                return true;
            }
            if cut {
                let _ = to.shutdown(Shutdown::Both);
            }
            !cut
        });
        let _ = back.shutdown(Shutdown::Write);
    }
}

/// Passes on what comes, for as long as `goes_on` says so of a piece.
fn pass(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(&TcpStream) -> bool) {
    let mut piece = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut piece) {
        if !goes_on(&to) || to.write_all(&piece[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
    let _ = from.shutdown(Shutdown::Both);
}
