//! `tcp://` by TLS: a run connects to servers that other people wrote, and to those that it should not trust.

use std::io::Write;
use std::net::TcpListener;
use std::process::ChildStdin;

use crate::Counting;
use crate::certificates::{Authority, Valid};
use crate::support::{Running, free_ports};
use crate::tls::Program;

/// The real `openssl s_server`, at a port of `localhost`, with a certificate of `authority`. It sends what it is given;
/// some capitals, and `c`, are commands where what it reads begins with them.
fn s_server(authority: &Authority, name: &str, port: u16, options: &str) -> (Program, ChildStdin) {
    let (certificate, key) = (authority.file(&format!("{name}.pem")), authority.file(&format!("{name}.key")));
    // Nobody waits until it listens: a connection that is refused is tried again.
    Program::start(&format!(
        "openssl s_server -accept 127.0.0.1:{port} -cert {certificate} -key {key} {options}"
    ))
}

fn port() -> u16 {
    free_ports(1)[0]
}

/// A source at `port`, with the authority of `authority`.
fn source(authority: &Authority, port: u16, options: &str) -> String {
    format!("tcp://localhost:{port}?tls={}{options}", authority.file("ca.pem"))
}

#[test]
fn a_new_server_for_each_chunk_is_one_log() {
    let authority = Authority::new();
    authority.sign("server", "localhost", Valid::Now);
    let port = port();
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Counting::command(dir.path(), &source(&authority, port, ""), &[]);
    let counting = Counting::of(dir, Running::start(command.args(["--log", "debug"])));
    for (chunk, version) in (1..).zip(["-tls1_3", "-tls1_2", "-tls1_3"]) {
        let (server, mut stdin) = s_server(&authority, "server", port, &format!("-naccept 1 {version}"));
        // What it is given before, it sends before the two have agreed, and then it reads nothing more.
        counting.said.until(": connected");
        for line in 1..=100 {
            writeln!(stdin, "every chunk{chunk} line{line}").expect("it reads");
        }
        counting.until("every", chunk * 100);
        // Alone in what is read, it is the command to close the connection and to end.
        stdin.write_all(b"Q\n").expect("it reads");
        server.wait();
    }
    // And `ncat`, as `nc` is used in clear.
    let (certificate, key) = (authority.file("server.pem"), authority.file("server.key"));
    let (_ncat, mut stdin) =
        Program::start(&format!("ncat --ssl --ssl-cert {certificate} --ssl-key {key} -lk 127.0.0.1 {port}"));
    stdin.write_all(b"ncat every\n").expect("it reads");
    counting.until("ncat", 1);
    let counted = counting.end();
    assert_eq!((counted.count("every"), counted.count("line100")), (301, 3));
}

/// What a run says of a server that it does not read, until it is told to end.
#[track_caller]
fn refused(source: &str, parts: &[&str]) {
    let counting = Counting::start(source, &[]);
    for part in parts {
        counting.said.until(part);
    }
    let counted = counting.end();
    assert_eq!((counted.lines, counted.words.len()), (0, 0), "{source}");
}

#[test]
fn a_server_that_does_not_show_who_it_is_is_not_read() {
    let authority = Authority::new();
    let other = Authority::new();
    for (name, host, valid) in [
        ("server", "localhost", Valid::Now),
        ("named", "logs.example", Valid::Now),
        ("old", "localhost", Valid::Expired),
        ("early", "localhost", Valid::Later),
    ] {
        authority.sign(name, host, valid);
    }
    for (trusted, name, options, parts) in [
        (&other, "server", "", ["(`CN=server`) is refused: nobody whom this side trusts", "`tls=FILE`"]),
        (&authority, "named", "", ["only valid for DnsName(\"logs.example\")", "`tls-name=NAME`"]),
        (
            &authority,
            "server",
            "&tls-name=logs.example",
            ["not valid for name \"logs.example\"", "`tls-name=NAME`"],
        ),
        (&authority, "old", "", ["(`CN=old`) is refused: it expired at 2024-02-01T00:00:00Z", "renewed"]),
        (&authority, "early", "", ["(`CN=early`) is refused: it is valid from 2048-01-01", "clock"]),
    ] {
        let port = port();
        let (_server, mut stdin) = s_server(&authority, name, port, "");
        stdin.write_all(b"not to be read\n").expect("it reads");
        refused(&source(trusted, port, options), &parts);
    }
    // That of an authority is no server's, and two authorities of one name are two.
    let [one, two] = [(); 2].map(|()| Authority::named("logs.example"));
    let port = port();
    let (_server, _stdin) = s_server(&one, "ca", port, "");
    refused(&source(&one, port, "&tls-name=logs.example"), &["that of an authority", "CA:FALSE"]);
    refused(&source(&two, port, "&tls-name=logs.example"), &["is refused: "]);
}

#[test]
fn a_server_may_go_by_another_name_and_have_signed_for_itself() {
    let authority = Authority::new();
    authority.sign("named", "logs.example", Valid::Now);
    authority.itself("itself", "logs.example");
    for (trusted, name) in [("ca.pem", "named"), ("itself.pem", "itself")] {
        let port = port();
        let (_server, mut stdin) = s_server(&authority, name, port, "");
        stdin.write_all(b"line\n").expect("it reads");
        let trusted = authority.file(trusted);
        let source = format!("tcp://localhost:{port}?tls={trusted}&tls-name=logs.example");
        let counting = Counting::start(&source, &[]);
        counting.until("line", 1);
        counting.end();
    }
}

#[test]
fn what_the_system_trusts_is_trusted_where_it_is_said() {
    let authority = Authority::new();
    authority.sign("server", "localhost", Valid::Now);
    let port = port();
    let (_server, mut stdin) = s_server(&authority, "server", port, "");
    stdin.write_all(b"line\n").expect("it reads");
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Counting::command(dir.path(), &format!("tcp://localhost:{port}?tls=system"), &[]);
    command.env("SSL_CERT_FILE", authority.path("ca.pem")).env_remove("SSL_CERT_DIR");
    let counting = Counting::of(dir, Running::start(&mut command));
    counting.until("line", 1);
    counting.end();
    // A store that is not there is no reason to trust anybody.
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Counting::command(dir.path(), &format!("tcp://localhost:{port}?tls=system"), &[]);
    command.env("SSL_CERT_FILE", authority.path("none.pem")).env_remove("SSL_CERT_DIR");
    let ended = Running::start(&mut command);
    ended.wait().exits(3).says(&["the system's store of certificates", "`tls=FILE`"]);
}

#[test]
fn a_server_that_wants_a_certificate_is_shown_one() {
    let authority = Authority::new();
    authority.sign("server", "localhost", Valid::Now);
    authority.sign("reader", "reader.example", Valid::Now);
    let options = format!("-Verify 1 -verify_return_error -CAfile {}", authority.file("ca.pem"));
    for version in ["-tls1_2", "-tls1_3"] {
        let port = port();
        let (_server, mut stdin) = s_server(&authority, "server", port, &format!("{options} {version}"));
        let counting = Counting::start(&source(&authority, port, ""), &[]);
        counting.said.until("the server refuses: ");
        assert!(counting.said.until("hint").contains("`tls-cert=FILE&tls-key=FILE`"));
        assert_eq!(counting.end().lines, 0);
        let own = ["cert", "key"].map(|kind| {
            let file = authority.file(&format!("reader.{}", if kind == "cert" { "pem" } else { kind }));
            format!("&tls-{kind}={file}")
        });
        let counting = Counting::start(&source(&authority, port, &own.concat()), &[]);
        stdin.write_all(b"line\n").expect("it reads");
        counting.until("line", 1);
        counting.end();
    }
}

#[test]
fn a_server_in_clear_is_not_read_by_tls() {
    let authority = Authority::new();
    // One that speaks, and one that waits for a first word.
    let port = port();
    let (_nc, mut stdin) = Program::start(&format!("nc -lk 127.0.0.1 {port}"));
    stdin.write_all(b"in clear\n").expect("it reads");
    refused(&source(&authority, port, ""), &["the server does not speak TLS", "is it the right port?"]);
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    refused(
        &source(&authority, port, ""),
        &["the server has not answered in TLS for 10s", "is it the right port?"],
    );
}
