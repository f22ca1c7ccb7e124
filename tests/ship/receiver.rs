//! Receivers over TCP, and what is to have arrived.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::cluster_support::{LONG, poll};
use crate::support::Draws;

/// Takes connections one after the other, each to its end, and keeps their lines.
pub struct Receiver {
    pub address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    pub fn new() -> Self {
        Self::at("127.0.0.1:0", None)
    }

    /// One that breaks each connection off after some lines, as `draws` say.
    pub fn breaking(draws: Draws) -> Self {
        Self::at("127.0.0.1:0", Some(draws))
    }

    pub fn at(address: &str, draws: Option<Draws>) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&lines);
        thread::spawn(move || {
            let mut draws = draws;
            for stream in listener.incoming() {
                let most = draws.as_mut().map_or(usize::MAX, |draws| draws.below(30_000));
                receive(stream.unwrap(), most, &all);
            }
        });
        Receiver { address, lines }
    }

    pub fn uri(&self) -> String {
        format!("tcp://{}", self.address)
    }

    /// What has arrived so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// How many different lines have arrived.
    pub fn distinct(&self) -> usize {
        self.lines.lock().unwrap().iter().collect::<BTreeSet<_>>().len()
    }

    /// Waits until so many different lines have arrived.
    pub fn until(&self, distinct: usize) {
        poll(2 * LONG, &format!("{distinct} different lines"), || {
            // It is not looked at more often than it changes much.
            thread::park_timeout(Duration::from_millis(2));
            (self.distinct() >= distinct).then_some(())
        });
    }
}

/// Keeps whole lines, `most` of them; then the connection is reset.
fn receive(stream: TcpStream, most: usize, all: &Mutex<Vec<String>>) {
    let reset = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    for _ in 0..most {
        let mut line = String::new();
        match reader.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => all.lock().unwrap().push(line.trim_end().to_owned()),
            // What has no end has not arrived.
            _ => return,
        }
    }
    socket2::SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Holds that the lines of each file have all arrived, in order but for what was sent again;
/// returns how many arrived more than once.
#[track_caller]
pub fn all_there(lines: &[String], counts: &[(String, usize)]) -> usize {
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    let mut again = 0;
    for line in lines {
        let (name, number) = line.split_once(' ').unwrap_or_else(|| panic!("a line `{line}`"));
        let number: usize = number.parse().unwrap_or_else(|_| panic!("a line `{line}`"));
        let next = next.entry(name).or_default();
        assert!(number <= *next, "{name}: {number} has arrived before {next}");
        if number == *next {
            *next += 1;
        } else {
            again += 1;
        }
    }
    let expected: BTreeMap<_, _> =
        counts.iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(next, expected, "lines that have arrived");
    again
}
