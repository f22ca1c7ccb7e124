//! `tcp://`: a run connects, and connects again.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use crate::Counting;
use crate::support::{free_ports, run};

/// The real netcat, listening at `port`, with what it is to send.
fn nc(flags: &str, port: u16, input: impl Into<Stdio>) -> Child {
    let mut nc = Command::new("nc");
    nc.args([flags, "127.0.0.1", &port.to_string()]).stdin(input).stdout(Stdio::null());
    nc.spawn().unwrap_or_else(|error| panic!("nc: {error}\n  hint: it is Debian's netcat-openbsd"))
}

/// Ends `child`, which would go on for ever.
fn end(mut child: Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// As the lessons have it: a script sends a log in chunks, each by an `nc` of its own.
#[test]
fn a_new_nc_for_each_chunk_is_one_log() {
    let [port] = free_ports(1)[..] else { panic!("a port") };
    let counting = Counting::start(&format!("tcp://localhost:{port}"), &[]);
    for chunk in 1..=5 {
        let mut nc = nc("-lN", port, Stdio::piped());
        let mut stdin = nc.stdin.take().expect("a pipe");
        for line in 1..100 {
            writeln!(stdin, "chunk{chunk} line{line} every").expect("nc reads");
        }
        // No LF: the end of the connection ends the line.
        write!(stdin, "chunk{chunk} line100 every").expect("nc reads");
        drop(stdin);
        assert!(nc.wait().expect("nc ends").success());
        counting.until("every", chunk * 100);
    }
    let counted = counting.end();
    assert_eq!(counted.lines, 500);
    for (word, count) in [("every", 500), ("chunk1", 100), ("chunk5", 100), ("line1", 5), ("line100", 5)] {
        assert_eq!(counted.count(word), count, "{word}");
    }
}

/// One `nc -lk` for all, fed by a script whose lines come while the run goes on.
#[test]
fn lines_typed_into_nc_are_counted_as_they_come() {
    let [port] = free_ports(1)[..] else { panic!("a port") };
    let mut nc = nc("-lk", port, Stdio::piped());
    let mut stdin = nc.stdin.take().expect("a pipe");
    let counting = Counting::start(&format!("tcp://127.0.0.1:{port}"), &["-w", "2"]);
    for count in 1..=3 {
        writeln!(stdin, "hello world").expect("nc reads");
        counting.until("hello", count);
    }
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("world")), (3, 3));
    end(nc);
}

#[test]
fn a_file_that_grows_comes_through_tail_and_nc() {
    let [port] = free_ports(1)[..] else { panic!("a port") };
    let mut log = tempfile::NamedTempFile::new().expect("a file");
    writeln!(log, "one two").expect("written");
    let mut tail = Command::new("tail");
    let mut tail =
        tail.args(["-n", "+1", "-f"]).arg(log.path()).stdout(Stdio::piped()).spawn().expect("tail runs");
    let nc = nc("-lk", port, tail.stdout.take().expect("a pipe"));
    let counting = Counting::start(&format!("tcp://127.0.0.1:{port}"), &[]);
    counting.until("two", 1);
    writeln!(log, "two three").expect("written");
    counting.until("two", 2);
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("three")), (2, 1));
    end(tail);
    end(nc);
}

#[test]
fn a_server_that_goes_away_and_comes_back_is_found_again() {
    // Not one that the system gives to somebody else as soon as it is free.
    let [port] = free_ports(1)[..] else { panic!("a port") };
    let address = format!("127.0.0.1:{port}");
    let server = TcpListener::bind(&address).expect("a port");
    let counting = Counting::start(&format!("tcp://{address}"), &[]);
    let (mut client, _) = server.accept().expect("it connects");
    client.write_all(b"before\nhalf").expect("it reads");
    drop((client, server));
    let said = counting.said.until("cannot connect");
    assert!(said.contains("warn"), "{said}");
    let server = TcpListener::bind(&address).expect("the port is free again");
    let (mut client, _) = server.accept().expect("it connects again");
    counting.said.until("connected again");
    client.write_all(b"after\n").expect("it reads");
    counting.until("after", 1);
    let counted = counting.end();
    assert_eq!(counted.lines, 3);
    assert_eq!([counted.count("before"), counted.count("half"), counted.count("after")], [1, 1, 1]);
}

#[test]
fn a_signal_ends_in_order_with_what_has_come_and_while_nobody_is_there() {
    let [port] = free_ports(1)[..] else { panic!("a port") };
    let source = format!("tcp://127.0.0.1:{port}");
    let server = TcpListener::bind(("127.0.0.1", port)).expect("a port");
    let counting = Counting::start(&source, &["-w", "2"]);
    let (mut client, _) = server.accept().expect("it connects");
    client.write_all(b"first\n").expect("it reads");
    counting.until("first", 1);
    client.write_all(&b"more\n".repeat(1000)).expect("it reads");
    client.write_all(b"not a whole line").expect("it reads");
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("more")), (1001, 1000));

    drop(server);
    let counting = Counting::start(&source, &[]);
    counting.said.until("cannot connect");
    assert_eq!(counting.end().lines, 0);
}

#[test]
fn what_is_no_address_is_refused() {
    for (source, part) in [
        ("tcp:localhost:9999", "`//HOST:PORT`"),
        ("tcp://localhost", "has no port"),
        ("tcp://localhost:9999?retry=1s", "`retry` is none of"),
        ("tcp-listen://localhost:9999?clients=1", "`connections=N`"),
    ] {
        run(&["run", "word-count", "--source", source]).exits(2).says(&[source, part]);
    }
}
