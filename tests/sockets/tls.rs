//! `tcp-listen://` by TLS: clients that other people wrote, and peers that mean no good.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::certificates::{Authority, Valid};
use crate::support::{Draws, Running, run};
use crate::{Counting, listen};

/// A process that is ended with the test.
pub struct Program(Child);

impl Program {
    pub fn start(line: &str) -> (Self, ChildStdin) {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().expect("a name"));
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{line}: {error}\n  hint: they are Debian's openssl, ncat and socat")
        });
        let stdin = child.stdin.take().expect("a pipe");
        (Program(child), stdin)
    }

    pub fn wait(mut self) -> bool {
        self.0.wait().expect("it ends").success()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An authority that has signed for `localhost`, and a run that listens by it.
fn listening(options: &str, args: &[&str]) -> (Authority, Counting, u16) {
    let authority = Authority::new();
    authority.sign("server", "localhost", Valid::Now);
    let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
    let options = options.replace("{clients}", &format!("tls-clients={}", authority.file("ca.pem")));
    let options = format!("?tls-cert={certificate}&tls-key={key}{options}");
    let (counting, port) = listen::listening(&options, args);
    (authority, counting, port)
}

/// Whether the other side closes the connection, whatever it says before.
fn ends(mut client: TcpStream) -> bool {
    let mut said = Vec::new();
    // It may have been closed with bytes unread.
    let _ = client.read_to_end(&mut said);
    said.len() < 100
}

/// `openssl s_client`, which says what is wrong with the server by its exit code.
fn s_client(authority: &Authority, port: u16, options: &str) -> (Program, ChildStdin) {
    let ca = authority.file("ca.pem");
    Program::start(&format!(
        "openssl s_client -connect 127.0.0.1:{port} -servername localhost -verify_hostname localhost -CAfile {ca} \
         -verify_return_error -quiet -no_ign_eof {options}"
    ))
}

#[test]
fn lines_of_clients_of_every_kind_are_counted_once() {
    let (authority, counting, port) = listening("", &["-w", "2"]);
    let ca = authority.file("ca.pem");
    let mut clients: Vec<_> =
        ["-tls1_3", "-tls1_2", "-tls1_2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305", "-tls1_3 -max_send_frag 600"]
            .map(|options| s_client(&authority, port, options))
            .into();
    clients.push(Program::start(&format!("ncat --ssl-verify --ssl-trustfile {ca} localhost {port}")));
    clients.push(Program::start(&format!("socat -u - OPENSSL:localhost:{port},cafile={ca}")));
    let all = clients.len() as u64;
    let sending = clients.into_iter().enumerate().map(|(number, (client, mut stdin))| {
        std::thread::spawn(move || {
            for line in 0..2000 {
                // The last line of every other client has no LF.
                let end = if line == 1999 && number % 2 == 0 { "" } else { "\n" };
                write!(stdin, "client{number} every{end}").expect("it reads");
            }
            drop(stdin);
            client.wait()
        })
    });
    let ended = sending.collect::<Vec<_>>().into_iter().map(|thread| thread.join().expect("it sends"));
    // An `ncat` ends as its peer closes, and says that this is none of its own doing.
    assert!(ended.enumerate().all(|(number, succeeded)| succeeded || number == 4));
    counting.until("every", all * 2000);
    let counted = counting.end();
    assert_eq!(counted.lines, all * 2000);
    for client in 0..all {
        assert_eq!(counted.count(&format!("client{client}")), 2000, "client {client}");
    }
}

#[test]
fn clients_that_trust_somebody_else_send_nothing() {
    let (authority, counting, port) = listening("", &[]);
    let other = Authority::new();
    let (client, mut stdin) = s_client(&other, port, "-tls1_3");
    let _ = stdin.write_all(b"secret\n");
    assert!(!client.wait(), "a server that is not trusted was sent something");
    counting.said.until("it does not trust this side's certificate");
    let (_client, mut stdin) = s_client(&authority, port, "");
    stdin.write_all(b"plain\n").expect("it reads");
    counting.until("plain", 1);
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("secret")), (1, 0));
}

#[test]
fn with_an_authority_of_clients_only_those_that_it_signed_are_let_in() {
    let (authority, counting, port) = listening("&{clients}", &[]);
    authority.sign("ann", "ann.example", Valid::Now);
    authority.sign("old", "old.example", Valid::Expired);
    let other = Authority::new();
    other.sign("eve", "eve.example", Valid::Now);
    let pair = |of: &Authority, name: &str| {
        format!("-cert {} -key {}", of.file(&format!("{name}.pem")), of.file(&format!("{name}.key")))
    };
    for (options, parts) in [
        (String::new(), ["1 connections", "the client shows no certificate"]),
        (
            pair(&authority, "old"),
            ["2 connections", "(`CN=old`) is refused: it expired at 2024-02-01T00:00:00Z"],
        ),
    ] {
        let (_client, mut stdin) = s_client(&authority, port, &options);
        let _ = stdin.write_all(b"stranger\n");
        let said = counting.said.until(parts[0]);
        assert!(said.contains(parts[1]), "{said}");
    }
    // Of what happens often only the 1st, 2nd, 4th … is said.
    for _ in 0..2 {
        let (client, mut stdin) = s_client(&authority, port, &pair(&other, "eve"));
        let _ = stdin.write_all(b"stranger\n");
        drop(stdin);
        client.wait();
    }
    let said = counting.said.until("4 connections");
    assert!(said.contains("(`CN=eve`) is refused: nobody whom this side trusts has signed it"), "{said}");
    assert!(counting.said.until("hint").contains("`tls-clients=FILE`"));
    for version in ["-tls1_2", "-tls1_3"] {
        let (client, mut stdin) =
            s_client(&authority, port, &format!("{} {version}", pair(&authority, "ann")));
        stdin.write_all(b"friend\n").expect("it reads");
        drop(stdin);
        assert!(client.wait());
    }
    counting.until("friend", 2);
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("stranger")), (2, 0));
}

#[test]
fn what_is_no_tls_is_not_read_and_who_does_not_go_on_is_closed() {
    let (authority, counting, port) = listening("&tls-handshake=200ms", &[]);
    let mut plain = listen::connect(port);
    plain.write_all(b"in clear\n").expect("it is sent");
    let said = counting.said.until("1 connections were none that lines are read of");
    assert!(said.contains("the client does not speak TLS"), "{said}");
    assert!(counting.said.until("hint").contains("a port without `tls-cert=`"));
    assert!(ends(plain));
    // One says nothing, and one no more than half of what it should.
    let (silent, mut half) = (listen::connect(port), listen::connect(port));
    half.write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]).expect("it is sent");
    assert!(ends(half) && ends(silent));
    assert!(counting.said.until("2 connections").contains("it took too long to agree on TLS"));
    let (_client, mut stdin) = s_client(&authority, port, "");
    stdin.write_all(b"real\n").expect("it reads");
    counting.until("real", 1);
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("clear")), (1, 0));
}

#[test]
fn tls_to_a_port_in_clear_is_no_line_and_is_told_of() {
    let authority = Authority::new();
    let (counting, port) = listen::listening("", &[]);
    let (client, stdin) = s_client(&authority, port, "");
    assert!(!client.wait(), "there is no TLS");
    drop(stdin);
    assert!(counting.said.until("1 connections").contains("it speaks TLS, and here lines come in clear"));
    assert!(counting.said.until("hint").contains("`?tls-cert=FILE&tls-key=FILE`"));
    listen::connect(port).write_all(b"plain\n").expect("it reads");
    counting.until("plain", 1);
    assert_eq!(counting.end().lines, 1);
}

/// New keys in between, as often as a client wants; to negotiate anew is not done.
#[test]
fn clients_may_renew_their_keys_and_negotiate_once() {
    let (authority, counting, port) = listening("", &[]);
    let ca = authority.file("ca.pem");
    let interactive = |version: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &format!("localhost:{port}"), "-CAfile", &ca, version]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut client = Running::start(&mut command);
        let (typed, said) = (client.stdin(), client.stderr_lines());
        (client, typed, said)
    };
    let mut clients: Vec<_> = (0..10).map(|_| interactive("-tls1_3")).collect();
    for round in 1..=5 {
        for (_, typed, said) in &mut clients {
            // A command is what stands alone in what is read: `K` renews the keys of both sides, `k` those of the client.
            for key in [b"K\n", b"k\n"] {
                typed.write_all(key).expect("it reads");
                said.until("KEYUPDATE");
            }
            typed.write_all(b"renewed\n").expect("it reads");
        }
        // By then each has been read.
        counting.until("renewed", round * 10);
    }
    let (_old, mut typed, said) = interactive("-tls1_2");
    typed.write_all(b"before\n").expect("it reads");
    counting.until("before", 1);
    typed.write_all(b"R\n").expect("it reads");
    said.until("RENEGOTIATING");
    counting.said.until("1 connections ended without TLS being closed");
    for (_, typed, _) in &mut clients {
        typed.write_all(b"after\n").expect("it reads");
    }
    counting.until("after", 10);
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("renewed")), (61, 50));
}

/// What goes from a client to `port`, until `cut` is set: of the next bytes a hundred still go, and it breaks.
fn passing(port: u16, cut: &'static AtomicBool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let here = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("it connects");
        let mut server = listen::connect(port);
        let (mut back, mut to) = (server.try_clone().expect("cloned"), client.try_clone().expect("cloned"));
        std::thread::spawn(move || std::io::copy(&mut back, &mut to));
        let mut bytes = [0; 4096];
        while let Ok(len @ 1..) = client.read(&mut bytes) {
            let len = if cut.load(Ordering::SeqCst) { 100 } else { len };
            server.write_all(&bytes[..len]).expect("it reads");
            if len == 100 {
                let _ = server.shutdown(Shutdown::Both);
                return;
            }
        }
    });
    here
}

#[test]
fn a_connection_that_is_cut_within_a_record_is_told_of_and_its_last_line_counts() {
    static CUT: AtomicBool = AtomicBool::new(false);
    let (authority, counting, port) = listening("", &[]);
    let (_client, mut stdin) = s_client(&authority, passing(port, &CUT), "");
    stdin.write_all(b"first\nhalf").expect("it reads");
    counting.until("first", 1);
    CUT.store(true, Ordering::SeqCst);
    stdin.write_all(&b"lost ".repeat(1000)).expect("it reads");
    let said = counting.said.until("1 connections ended without TLS being closed");
    assert!(said.contains("it was cut off"), "{said}");
    counting.until("half", 1);
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("lost")), (2, 0));
}

#[test]
fn a_signal_ends_in_order_with_what_has_come() {
    let (authority, counting, port) = listening("", &["-w", "2"]);
    let mut clients: Vec<_> = (0..3).map(|_| s_client(&authority, port, "")).collect();
    for (_, stdin) in &mut clients {
        stdin.write_all(b"first\n").expect("it reads");
    }
    counting.until("first", 3);
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("first")), (3, 3));
    // They are told, and end by themselves.
    for (client, _stdin) in clients {
        client.wait();
    }
}

#[test]
fn two_thousand_junk_connections_leave_real_clients_served_and_memory_bounded() {
    let (authority, counting, port) =
        listening("&connections=400&tls-handshake=2s", &["--max-line", "64KiB"]);
    let (_real, mut real) = s_client(&authority, port, "");
    let mut draws = Draws::new(11);
    let mut half_open = std::collections::VecDeque::new();
    for number in 0..2000 {
        if number % 500 == 0 {
            real.write_all(b"realword\n").expect("it reads");
            counting.until("realword", number / 500 + 1);
        }
        let Ok(mut junk) = TcpStream::connect(("127.0.0.1", port)) else { continue };
        let bytes: Vec<u8> = (0..3000).map(|_| draws.below(256) as u8).collect();
        let _ = match number % 5 {
            0 => Ok(()),
            // A record of handshakes that is full of nothing, and one that never ends.
            1 => junk.write_all(&[&[0x16, 3, 1, 0x0b, 0xb8][..], &bytes].concat()),
            2 => junk.write_all(&[&[0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &bytes].concat()),
            3 => junk.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            _ => junk.write_all(&bytes),
        };
        half_open.push_back(junk);
        while half_open.len() > 200 {
            half_open.pop_front();
        }
    }
    counting.said.until("1024 connections were none that lines are read of");
    drop(half_open);
    let (_other, mut other) = s_client(&authority, port, "");
    other.write_all(b"otherword\n").expect("it reads");
    counting.until("otherword", 1);
    let counted = counting.end();
    assert_eq!((counted.lines, counted.count("realword")), (5, 4));
    assert!(counted.peak_memory < 300 << 20, "{} bytes", counted.peak_memory);
}

#[test]
fn files_that_are_wrong_end_the_run_as_it_begins_and_are_named() {
    let authority = Authority::new();
    for (name, valid) in
        [("server", Valid::Now), ("other", Valid::Now), ("old", Valid::Expired), ("early", Valid::Later)]
    {
        authority.sign(name, "localhost", valid);
    }
    authority.lock("server");
    std::fs::write(authority.path("junk"), [0xff; 100]).expect("written");
    let file = |name: &str| authority.file(name);
    let listen = |certificate: &str, key: &str| {
        format!("tcp-listen://127.0.0.1:0?tls-cert={}&tls-key={}", file(certificate), file(key))
    };
    let connect = |ca: &str| format!("tcp://localhost:9?tls={}", file(ca));
    for (source, of, parts) in [
        (listen("none.pem", "server.key"), "none.pem", ["No such file", ""]),
        (listen("junk", "server.key"), "junk", ["there is no certificate in it", "openssl x509"]),
        (
            listen("server.pem", "server.pem"),
            "server.pem",
            ["there is no private key in it", "`tls-key=FILE`"],
        ),
        (listen("server.pem", "server.locked"), "server.locked", ["is encrypted", "openssl pkey"]),
        (listen("server.pem", "other.key"), "other.key", ["not that of the certificate in", "server.pem"]),
        (listen("old.pem", "old.key"), "old.pem", ["`CN=old` expired at 2024-02-01T00:00:00Z", "renewed"]),
        (listen("early.pem", "early.key"), "early.pem", ["`CN=early` is valid from 2048-01-01", "clock"]),
        (connect("none.pem"), "none.pem", ["No such file", ""]),
        (connect("old.pem"), "old.pem", ["`CN=old` expired at", "the authority's new certificate"]),
        (connect("server.key"), "server.key", ["there is no certificate in it", ""]),
    ] {
        let ended = run(&["run", "word-count", "--source", &source]).exits(3);
        let ended = ended.says(&parts).says(&[&file(of)]);
        assert!(ended.stdout.is_empty() && !ended.stderr.contains("-----BEGIN PRIVATE"), "{}", ended.stderr);
    }
}
