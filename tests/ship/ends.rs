//! Standard input, signals, rates, and receivers that are away.

use std::io::Write;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use thalweg::runtime::now;

use crate::cluster_support::{LONG, poll};
use crate::common::{Logger, ship, ship_all};
use crate::receiver::{Receiver, all_there};
use crate::support::{Draws, Running, free_ports, run_on};

/// Lines of the logger `a`.
fn lines(from: usize, to: usize) -> Vec<u8> {
    (from..to).flat_map(|number| format!("a-1 {number}\n").into_bytes()).collect()
}

#[test]
fn standard_input_is_sent_to_its_end() {
    let receiver = Receiver::new();
    let args = ["ship", "--summary", "json", "--until-caught-up", "-", &receiver.uri()];
    let ended = run_on(&args, &lines(0, 50_000));
    assert_eq!(ended.exits(0).summary()["lines"].as_u64(), Some(50_000));
    assert_eq!(all_there(&receiver.lines(), &[("a-1".to_owned(), 50_000)]), 0);
}

#[test]
fn connections_that_break_lose_nothing() {
    let receiver = Receiver::breaking(Draws::new(3));
    let ended = run_on(&["ship", "--summary", "json", "-", &receiver.uri()], &lines(0, 20_000));
    let summary = ended.exits(0).summary();
    assert!(summary["again"].as_u64() > Some(0), "{summary}");
    assert!(all_there(&receiver.lines(), &[("a-1".to_owned(), 20_000)]) > 0);
}

/// Web servers tell all that they have started to end, several times, and log what they have under
/// way until they have ended.
#[test]
fn standard_input_is_read_to_its_end_after_signals() {
    let receiver = Receiver::new();
    let mut shipper = Running::start(ship(&["-"], &receiver.uri(), &["--log", "info"]).stdin(Stdio::piped()));
    let (mut stdin, said) = (shipper.stdin(), shipper.stderr_lines());
    stdin.write_all(&lines(0, 10)).unwrap();
    receiver.until(10);
    shipper.signal("TERM");
    said.until("standard input is read to its end");
    said.until("a second signal ends at once");
    stdin.write_all(&lines(10, 20)).unwrap();
    receiver.until(20);
    shipper.signal("TERM");
    stdin.write_all(&lines(20, 30)).unwrap();
    receiver.until(30);
    drop(stdin);
    shipper.wait().exits(0);
    assert_eq!(all_there(&receiver.lines(), &[("a-1".to_owned(), 30)]), 0);
}

#[test]
fn standard_input_that_goes_on_is_left_after_a_while() {
    let receiver = Receiver::new();
    let args = ["--stop-timeout", "2s"];
    let mut shipper = Running::start(ship(&["-"], &receiver.uri(), &args).stdin(Stdio::piped()));
    let mut stdin = shipper.stdin();
    stdin.write_all(&lines(0, 10)).unwrap();
    receiver.until(10);
    shipper.signal("INT");
    let summary = shipper.wait().exits(0).summary();
    assert_eq!((summary["lines"].as_u64(), summary["undelivered"].as_u64()), (Some(10), Some(0)));
    drop(stdin);
    // With nobody there, what was read is lost, and that is said.
    let sink = format!("tcp://127.0.0.1:{}", free_ports(1)[0]);
    let args = ["--stop-timeout", "200ms"];
    let mut shipper = Running::start(ship(&["-"], &sink, &args).stdin(Stdio::piped()));
    let (mut stdin, said) = (shipper.stdin(), shipper.stderr_lines());
    stdin.write_all(&lines(0, 10)).unwrap();
    said.until("cannot connect");
    shipper.signal("TERM");
    said.until("10 lines of standard input were not delivered");
    shipper.wait().exits(4);
}

/// While nobody receives, no more is read than there is room for, and whoever writes waits.
#[test]
fn whoever_writes_waits_while_the_receiver_is_away() {
    let port = free_ports(1)[0];
    let sink = format!("tcp://127.0.0.1:{port}");
    let mut shipper =
        Running::start(ship(&["-"], &sink, &["--buffer", "1MiB", "--log", "info"]).stdin(Stdio::piped()));
    let (mut stdin, said) = (shipper.stdin(), shipper.stderr_lines());
    let (wrote, written) = channel();
    thread::spawn(move || {
        for block in 0..200 {
            stdin.write_all(&lines(block * 10_000, (block + 1) * 10_000)).unwrap();
            wrote.send(block).unwrap();
        }
    });
    said.until("cannot connect");
    // 20 MB do not fit: it comes to a stand.
    let mut blocks = 0;
    while written.recv_timeout(Duration::from_millis(500)).is_ok() {
        blocks += 1;
    }
    assert!(blocks < 100, "{blocks} of 200 blocks were taken");
    let receiver = Receiver::at(&format!("127.0.0.1:{port}"), None);
    said.until("connected");
    // The figures come after what has been delivered.
    said.until("\"lines\":2000000");
    shipper.wait().exits(0);
    all_there(&receiver.lines(), &[("a-1".to_owned(), 2_000_000)]);
}

#[test]
fn signals_end_it_in_order_and_nothing_is_sent_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, receiver) = (Logger::new(dir.path(), "a"), Receiver::new());
    let offsets = dir.path().join("offsets").display().to_string();
    let args = ["--offsets", &offsets];
    for signal in ["TERM", "INT", "TERM"] {
        a.log(1_000);
        let shipper = Running::start(&mut ship(&[a.path()], &receiver.uri(), &args));
        receiver.until(a.count());
        shipper.signal(signal);
        let summary = shipper.wait().exits(0).summary();
        assert_eq!(
            (summary["interrupted"].as_bool(), summary["undelivered"].as_u64()),
            (Some(true), Some(0))
        );
    }
    ship_all(&[a.path()], &receiver.uri(), &args);
    assert_eq!(all_there(&receiver.lines(), &a.counts()), 0);
}

#[test]
fn the_end_is_bounded_in_time_and_a_second_signal_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut a = Logger::new(dir.path(), "a");
    a.log(10);
    let offsets = dir.path().join("offsets").display().to_string();
    // It takes the connection, and never a line.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = format!("tcp://{}", silent.local_addr().unwrap());
    let away = format!("tcp://127.0.0.1:{}", free_ports(1)[0]);
    let args = ["--offsets", &offsets, "--stop-timeout", "1m"];
    let mut shipper = Running::start(&mut ship(&[a.path()], &away, &args));
    let said = shipper.stderr_lines();
    said.until("cannot connect");
    // Nothing has been sent, so there is nothing to wait for.
    shipper.signal("TERM");
    shipper.wait().exits(0);

    a.log(1_000_000);
    let offsets = dir.path().join("others").display().to_string();
    let args = ["--offsets", &offsets, "--stop-timeout", "200ms"];
    let mut shipper = Running::start(&mut ship(&[a.path()], &sink, &args));
    let (mut stream, _) = silent.accept().unwrap();
    std::io::Read::read_exact(&mut stream, &mut [0; 4]).unwrap();
    shipper.signal("TERM");
    let said = shipper.stderr_lines();
    said.until("\"interrupted\":true");
    shipper.wait().exits(0);

    let args = ["--offsets", &offsets, "--stop-timeout", "1m"];
    let mut shipper = Running::start(&mut ship(&[a.path()], &sink, &args));
    let (mut stream, _) = silent.accept().unwrap();
    std::io::Read::read_exact(&mut stream, &mut [0; 4]).unwrap();
    let said = shipper.stderr_lines();
    shipper.signal("TERM");
    said.until("a second signal ends at once");
    shipper.signal("TERM");
    said.until("ended by a second signal");
    shipper.wait().exits(130);
}

#[test]
fn a_rate_is_kept() {
    let receiver = Receiver::new();
    let begun = now();
    let ended =
        run_on(&["ship", "--rate", "1000", "--summary", "json", "-", &receiver.uri()], &lines(0, 1_500));
    let elapsed = begun.elapsed();
    assert_eq!(ended.exits(0).summary()["lines"].as_u64(), Some(1_500));
    // A tenth of a second's worth may come at once.
    assert!(elapsed >= Duration::from_millis(1_350), "{elapsed:?}");
    assert_eq!(all_there(&receiver.lines(), &[("a-1".to_owned(), 1_500)]), 0);
}

/// Many quiet files cost next to nothing.
#[test]
fn quiet_files_are_not_polled() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..1_000 {
        std::fs::write(dir.path().join(format!("{number}.log")), format!("{number} 0\n")).unwrap();
    }
    let (receiver, offsets) = (Receiver::new(), dir.path().join("offsets").display().to_string());
    let source = dir.path().join("*.log").display().to_string();
    let mut command = ship(&[&source], &receiver.uri(), &["--offsets", &offsets, "--poll", "1s"]);
    let shipper = Running::start(&mut command);
    receiver.until(1_000);
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", shipper.id())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // Once what came is remembered.
    poll(LONG, "offsets", || {
        std::fs::read_to_string(&offsets)
            .is_ok_and(|it| it.matches("\"offset\":0").count() == 0 && it.lines().count() > 1_000)
            .then_some(())
    });
    let (begun, before) = (now(), ticks());
    poll(LONG, "two seconds", || (begun.elapsed() > Duration::from_secs(2)).then_some(()));
    let spent = ticks() - before;
    // A hundredth of a second each.
    assert!(spent < 40, "{spent} of 200 hundredths of a second");
    shipper.signal("TERM");
    shipper.wait().exits(0);
}
