//! `tcp-listen://`: clients connect to a run.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::Counting;
use crate::support::{Draws, free_ports, run};

/// A run that listens, and its port.
pub fn listening(options: &str, args: &[&str]) -> (Counting, u16) {
    let counting = Counting::start(&format!("tcp-listen://127.0.0.1:0{options}"), args);
    let port = port(&counting);
    (counting, port)
}

/// The port at which a run says that it listens.
fn port(counting: &Counting) -> u16 {
    let said = counting.said.until("listening on tcp-listen://127.0.0.1:");
    let port = said.rsplit(':').next().and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in `{said}`"))
}

pub fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).expect("it listens")
}

/// Whether the other side has closed the connection, once it has.
pub fn is_closed(mut client: TcpStream) -> bool {
    // It may have been closed with bytes unread.
    client.read(&mut [0]).map_or(true, |len| len == 0)
}

#[test]
fn each_line_of_many_clients_counts_once() {
    for workers in ["1", "2"] {
        let (counting, port) = listening("", &["-w", workers]);
        let clients = (0..4).map(|thread| {
            std::thread::spawn(move || {
                for client in 0..25 {
                    let mut stream = connect(port);
                    for line in 0..50 {
                        // In pieces, and the last line of every other client without its LF.
                        write!(stream, "thread{thread} client{client}").expect("it reads");
                        let end = if line == 49 && client % 2 == 0 { "" } else { "\n" };
                        write!(stream, " every{end}").expect("it reads");
                    }
                }
            })
        });
        clients.collect::<Vec<_>>().into_iter().for_each(|client| client.join().expect("it sends"));
        counting.until("every", 4 * 25 * 50);
        let counted = counting.end();
        assert_eq!(counted.lines, 4 * 25 * 50, "with {workers} workers");
        for name in 0..25 {
            assert_eq!(counted.count(&format!("client{name}")), 4 * 50, "with {workers} workers");
        }
    }
}

#[test]
fn a_signal_ends_in_order_with_what_has_come_of_clients_that_are_there() {
    let (counting, port) = listening("", &[]);
    let mut clients = [connect(port), connect(port), connect(port)];
    for (number, client) in clients.iter_mut().enumerate() {
        writeln!(client, "first{number}").expect("it reads");
        counting.until(&format!("first{number}"), 1);
    }
    for client in &mut clients {
        client.write_all(&b"more\n".repeat(1000)).expect("it reads");
    }
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("more")), (3003, 3000));
}

#[test]
fn more_clients_than_may_be_are_refused_until_one_leaves() {
    let (counting, port) = listening("?connections=2", &[]);
    let mut first = connect(port);
    first.write_all(b"first\n").expect("it reads");
    let silent = connect(port);
    counting.until("first", 1);
    assert!(is_closed(connect(port)));
    counting.said.until("1 connections were refused");
    // One leaves that has said something, and one that has not; there is room once that is noticed.
    drop((first, silent));
    loop {
        let mut next = connect(port);
        next.write_all(b"next\n").expect("it is sent");
        if next.shutdown(std::net::Shutdown::Write).is_ok() && next.read(&mut [0]).is_ok_and(|len| len == 0) {
            break;
        }
    }
    counting.until("next", 1);
    counting.end();
}

#[test]
fn a_client_that_falls_silent_is_closed_and_what_it_sent_counts() {
    let (counting, port) = listening("?idle=100ms", &[]);
    let mut half = connect(port);
    half.write_all(b"half a line").expect("it reads");
    let silent = connect(port);
    assert!(is_closed(half) && is_closed(silent));
    counting.until("half", 1);
    assert_eq!(counting.end().lines, 1);
}

#[test]
fn ten_thousand_junk_connections_leave_real_clients_served_and_memory_bounded() {
    let (counting, port) = listening("?connections=400", &["--max-line", "64KiB"]);
    let mut real = connect(port);
    let mut draws = Draws::new(7);
    let mut half_open = std::collections::VecDeque::new();
    for number in 0..10_000 {
        if number % 1000 == 0 {
            real.write_all(b"realword\n").expect("it reads");
            counting.until("realword", number / 1000 + 1);
        }
        // More at a time than the system lets wait are refused by it, which is no fault of the run.
        let Ok(mut junk) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        match number % 4 {
            0 => {}
            1 => half_open.push_back(junk),
            2 => {
                let bytes: Vec<u8> = (0..300).map(|_| draws.below(256) as u8).collect();
                let _ = junk.write_all(&bytes);
            }
            _ => {
                // A line that never ends, and is longer than any may be.
                let _ = junk.write_all(&[b'x'; 1 << 10].repeat(if number % 100 == 3 { 100 } else { 1 }));
                half_open.push_back(junk);
            }
        }
        while half_open.len() > 200 {
            half_open.pop_front();
        }
    }
    drop(half_open);
    let mut other = connect(port);
    other.write_all(b"otherword\n").expect("it reads");
    counting.until("otherword", 1);
    let counted = counting.end();
    assert_eq!(counted.count("realword"), 10);
    assert!(counted.peak_memory < 300 << 20, "{} bytes", counted.peak_memory);
}

#[test]
fn a_port_that_is_in_use_is_an_error_before_the_run_begins() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let source = format!("tcp-listen://{}", taken.local_addr().expect("bound"));
    let ended = run(&["run", "word-count", "--source", &source]).exits(3);
    assert!(ended.says(&[&source, "in use"]).stdout.is_empty());
}

/// What clients send goes to the first worker of the first process, and from there by key to all.
#[test]
fn a_cluster_listens_in_its_first_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let ports = free_ports(2);
    let hostfile = dir.path().join("hosts");
    std::fs::write(&hostfile, format!("127.0.0.1:{}\n127.0.0.1:{}\n", ports[0], ports[1])).expect("written");
    let hostfile = hostfile.to_str().expect("a plain name").to_owned();
    let source = "tcp-listen://127.0.0.1:0";
    let second = Counting::process(dir.path(), source, &["-n", "2", "-h", &hostfile, "-p", "1"]);
    let counting = Counting::start_in(dir, source, &["-n", "2", "-h", &hostfile, "-p", "0"]);
    let port = port(&counting);
    for client in 1..=3 {
        connect(port).write_all(b"one two three four\n").expect("it reads");
        counting.until("four", client);
    }
    let counted = counting.end();
    assert_eq!(counted.lines, 3);
    for word in ["one", "two", "three", "four"] {
        assert_eq!(counted.count(word), 3, "{word}");
    }
    second.wait().exits(0);
}
