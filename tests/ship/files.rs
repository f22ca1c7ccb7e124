//! Files that are followed: killed shippers, rotations, and the file of offsets.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::cluster_support::{LONG, poll};
use crate::common::{Logger, ship, ship_all};
use crate::receiver::{Receiver, all_there};
use crate::support::{Draws, Running, free_ports};

#[test]
fn what_is_there_arrives_and_then_only_what_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, receiver) = (Logger::new(dir.path(), "a"), Receiver::new());
    let offsets = dir.path().join("offsets").display().to_string();
    a.log(5_000);
    let summary = ship_all(&[a.path()], &receiver.uri(), &["--offsets", &offsets]);
    assert_eq!((summary["lines"].as_u64(), summary["lag"].as_u64()), (Some(5_000), Some(0)));
    assert_eq!(summary["bytes"].as_u64(), Some(std::fs::metadata(&a.path).unwrap().len()));
    a.log(10);
    let summary =
        ship_all(&[&format!("file:{}?follow", a.path())], &receiver.uri(), &["--offsets", &offsets]);
    assert_eq!(summary["lines"].as_u64(), Some(10));
    assert_eq!(all_there(&receiver.lines(), &a.counts()), 0);
}

/// As the lessons receive: `nc`.
#[test]
fn the_real_nc_receives() {
    struct Nc(Child);
    impl Drop for Nc {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let mut a = Logger::new(dir.path(), "a");
    a.log(20_000);
    let received = dir.path().join("received");
    let port = free_ports(1)[0].to_string();
    let mut nc = Command::new("nc");
    nc.args(["-lk", "127.0.0.1", &port]).stdin(Stdio::null());
    let _nc = Nc(nc
        .stdout(std::fs::File::create(&received).unwrap())
        .spawn()
        .expect("netcat-openbsd is installed"));
    let offsets = dir.path().join("offsets").display().to_string();
    ship_all(&[a.path()], &format!("tcp://127.0.0.1:{port}"), &["--offsets", &offsets]);
    let (sent, received) = (std::fs::read(&a.path).unwrap(), || std::fs::read(&received).unwrap());
    poll(LONG, "what was sent", || (received() == sent).then_some(()));
}

/// Kills shippers at many moments, while two files grow and are rotated, before, during and
/// between.
fn killed(pattern: &str, breaking: bool, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut draws = Draws::new(seed);
    let receiver = if breaking { Receiver::breaking(Draws::new(seed + 1)) } else { Receiver::new() };
    let (mut loggers, offsets) =
        ([Logger::new(dir.path(), "a"), Logger::new(dir.path(), "b")], dir.path().join("offsets"));
    let sources = dir.path().join(pattern).display().to_string();
    let args = ["--offsets", offsets.to_str().unwrap(), "--buffer", "64KiB"];
    let all = |loggers: &[Logger; 2]| loggers.iter().map(|it| it.count()).sum::<usize>();
    let rotate = |logger: &mut Logger, round: usize, late: usize| {
        std::fs::rename(&logger.path, dir.path().join(format!("{}.log.{round}", logger.name))).unwrap();
        // Whoever had it open goes on writing to it for a while.
        logger.log(late);
        logger.reopen();
    };
    for round in 0..30 {
        let before = receiver.distinct();
        loggers.iter_mut().for_each(|logger| logger.log(draws.below(1500)));
        let shipper = Running::start(&mut ship(&[&sources], &receiver.uri(), &args));
        let left = all(&loggers) - before;
        // Sometimes at once, before it has done anything.
        let rotated = draws.below(2 * loggers.len());
        if draws.below(4) > 0 && left > 0 {
            receiver.until(before + 1 + draws.below(left));
            if let Some(logger) = loggers.get_mut(rotated) {
                rotate(logger, round, 3);
            }
            let more = draws.below(500);
            loggers.iter_mut().for_each(|logger| logger.log(more));
            receiver.until(before + 1 + draws.below(all(&loggers) - before));
            drop(shipper);
            // Those that were not rotated meanwhile.
            if let Some(logger) = rotated.checked_sub(2).and_then(|at| loggers.get_mut(at)) {
                rotate(logger, round, 0);
            }
        } else {
            drop(shipper);
        }
    }
    ship_all(&[&sources], &receiver.uri(), &args);
    receiver.until(all(&loggers));
    all_there(&receiver.lines(), &loggers.each_ref().map(Logger::counts).concat());
}

#[test]
fn shippers_that_are_killed_lose_nothing() {
    killed("*.log", false, 1);
}

#[test]
fn nor_where_rotated_files_match_too_and_the_receiver_breaks_off() {
    killed("*.log*", true, 2);
}

fn logrotate(dir: &Path, rules: &str) {
    let (path, state) = (dir.join("rules"), dir.join("state"));
    std::fs::write(&path, format!("{} {{\n{rules}\n}}\n", dir.join("a.log").display())).unwrap();
    let output = Command::new("/usr/sbin/logrotate").arg("-f").arg("-s").arg(state).arg(&path).output();
    let output = output.expect("logrotate is installed: `apt-get install logrotate`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What was rotated while nobody followed is found, whatever was done to it, and nothing is sent
/// twice.
#[test]
fn logs_that_were_rotated_between_two_shippers_are_read_on() {
    for (rules, pattern) in [
        ("rotate 5\ncreate\nnocompress", "a.log"),
        ("rotate 5\ncreate\nnocompress", "a.log*"),
        ("rotate 5\ncopytruncate\nnocompress", "a.log"),
        ("rotate 5\ncopytruncate\nnocompress", "a.log*"),
        ("rotate 5\ncreate\ncompress", "a.log"),
        ("rotate 5\ncreate\ncompress", "a.log*"),
        ("rotate 5\ncopytruncate\ncompress", "a.log"),
        ("rotate 5\ncopytruncate\ncompress", "a.log*"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let (mut a, receiver) = (Logger::new(dir.path(), "a"), Receiver::new());
        let offsets = dir.path().join("offsets").display().to_string();
        let source = dir.path().join(pattern).display().to_string();
        for round in 0..6 {
            a.log(100 + round);
            ship_all(&[&source], &receiver.uri(), &["--offsets", &offsets]);
            a.log(50);
            logrotate(dir.path(), rules);
            a.reopen();
            a.log(20);
        }
        ship_all(&[&source], &receiver.uri(), &["--offsets", &offsets]);
        assert_eq!(all_there(&receiver.lines(), &a.counts()), 0, "{pattern}: {rules}");
    }
}

/// A file is not read because it once was.
#[test]
fn what_is_not_named_any_more_is_not_sent() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, mut b) = (Logger::new(dir.path(), "a"), Logger::new(dir.path(), "b"));
    let (receiver, offsets) = (Receiver::new(), dir.path().join("offsets").display().to_string());
    for (source, lines) in [("a", 10), ("b", 20), ("a", 20)] {
        a.log(10);
        b.log(10);
        let path = if source == "a" { a.path() } else { b.path() };
        let summary = ship_all(&[path], &receiver.uri(), &["--offsets", &offsets]);
        assert_eq!(summary["lines"].as_u64(), Some(lines));
    }
    assert_eq!(all_there(&receiver.lines(), &[("a-1".to_owned(), 30), ("b-1".to_owned(), 20)]), 0);
}

#[test]
fn what_was_there_can_be_left_out_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, receiver) = (Logger::new(dir.path(), "a"), Receiver::new());
    let offsets = dir.path().join("offsets").display().to_string();
    let args = ["--offsets", &offsets, "--start", "end"];
    a.log(100);
    assert_eq!(ship_all(&[a.path()], &receiver.uri(), &args)["lines"], 0);
    // Between two shippers.
    a.log(10);
    assert_eq!(ship_all(&[a.path()], &receiver.uri(), &args)["lines"], 10);
    assert_eq!(receiver.lines(), (100..110).map(|number| format!("a-1 {number}")).collect::<Vec<_>>());
}

#[test]
fn offsets_that_cannot_be_used_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut a, receiver) = (Logger::new(dir.path(), "a"), Receiver::new());
    a.log(10);
    let path = dir.path().join("offsets");
    let offsets = path.to_str().unwrap();
    ship_all(&[a.path()], &receiver.uri(), &["--offsets", offsets]);
    let good = std::fs::read(&path).unwrap();
    let refused = |sink: &str, expected: &str| {
        let ended = Running::start(&mut ship(&[a.path()], sink, &["--offsets", offsets])).wait();
        ended.exits(2).says(&[expected, "hint: "]);
    };
    let other = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|it| it == from).unwrap();
        [&good[..at], to, &good[at + from.len()..]].concat()
    };
    for (bytes, expected) in [
        (good[..good.len() / 2].to_vec(), "is damaged: it breaks off"),
        (other(b"\"offset\":", b"\"offset\":1"), "is damaged: its checksum is another"),
        (other(b"offsets 1", b"offsets 7"), "is of version 7"),
        (b"root:x:0:0:\n".to_vec(), "does not hold offsets"),
        (Vec::new(), "does not hold offsets: it is empty"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        refused(&receiver.uri(), expected);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    std::fs::write(&path, &good).unwrap();
    refused("tcp://127.0.0.1:9", "has the offsets of what was sent to tcp://");
    let same = format!("tcp://localhost:{}", receiver.address.port());
    assert_eq!(ship_all(&[a.path()], &same, &["--offsets", offsets, "--renamed"])["lines"], 0);

    let _first = Running::start(&mut ship(&[a.path()], &same, &["--offsets", offsets]));
    a.log(1);
    receiver.until(11);
    let second = Running::start(&mut ship(&[a.path()], &same, &["--offsets", offsets])).wait();
    second.exits(2).says(&["another process uses", "hint: "]);
}

#[test]
fn offsets_have_a_place_of_their_own_by_sources_and_sink() {
    let (dir, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut a, mut b) = (Logger::new(dir.path(), "a"), Logger::new(dir.path(), "b"));
    let (one, other) = (Receiver::new(), Receiver::new());
    a.log(5);
    b.log(7);
    for (source, sink, lines) in [(&a, &one, 5), (&a, &one, 0), (&a, &other, 5), (&b, &one, 7), (&b, &one, 0)]
    {
        let mut command = ship(&[source.path()], &sink.uri(), &["--until-caught-up"]);
        let summary = Running::start(command.env("XDG_STATE_HOME", state.path())).wait().exits(0).summary();
        assert_eq!(summary["lines"].as_u64(), Some(lines));
    }
}

#[test]
fn lines_that_are_too_long_are_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::new();
    let (log, rejects) = (dir.path().join("a.log"), dir.path().join("rejects"));
    std::fs::write(&log, format!("a-1 0\n{}\na-1 1\n", "x".repeat(5_000))).unwrap();
    let offsets = dir.path().join("offsets").display().to_string();
    let args = ["--offsets", &offsets, "--max-line", "1KiB", "--rejects", rejects.to_str().unwrap()];
    let summary = ship_all(&[log.to_str().unwrap()], &receiver.uri(), &args);
    assert_eq!((summary["lines"].as_u64(), summary["rejected"].as_u64()), (Some(2), Some(1)));
    assert_eq!(all_there(&receiver.lines(), &[("a-1".to_owned(), 2)]), 0);
    let aside = std::fs::read_to_string(&rejects).unwrap();
    assert!(aside.trim_end().len() >= 120 && aside.trim_end().bytes().all(|byte| byte == b'x'), "{aside}");
}

#[test]
fn files_that_are_not_there_or_damaged_are_an_error_where_none_is_to_come() {
    let dir = tempfile::tempdir().unwrap();
    let (receiver, path) = (Receiver::new(), dir.path().join("a.log.gz"));
    let args = ["--offsets", "none", "--until-caught-up"];
    let ship = || Running::start(&mut ship(&[path.to_str().unwrap()], &receiver.uri(), &args)).wait();
    ship().exits(3).says(&["no file matches"]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(b"a-1 0\na-1 1\n").unwrap();
    let whole = gzip.finish().unwrap();
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(ship().exits(0).summary()["lines"], 2);
    std::fs::write(&path, &whole[..whole.len() - 6]).unwrap();
    ship().exits(3).says(&["a.log.gz"]);
}

#[test]
fn what_is_wrong_is_said_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let offsets = dir.path().join("offsets").display().to_string();
    let args = |more: &[&str]| -> Vec<String> {
        ["ship", "--offsets", &offsets].iter().chain(more).map(|it| (*it).to_owned()).collect()
    };
    for (more, expected) in [
        (&["a.log", "udp://127.0.0.1:1"][..], "lines are sent to `kafka://"),
        (&["a.log", "tcp://127.0.0.1"], "it is written `tcp://HOST:PORT`"),
        (&["a.log", "tcp://127.0.0.1:0"], "nobody listens at port 0"),
        (&["a.log", "tcp://127.0.0.1:1?x=1"], "has no options"),
        (&["kafka://a:1/t", "tcp://127.0.0.1:1"], "the sink stands last"),
        (&["-", "tcp://127.0.0.1:1"], "standard input has none"),
        (&["-", "a.log", "tcp://127.0.0.1:1"], "`-` stands alone"),
        (&["file:a.log?follow&start=end", "tcp://127.0.0.1:1"], "a source has no options here"),
        (&["--key", "field:0", "a.log", "tcp://127.0.0.1:1"], "none, file, field:N"),
        (&["--rate", "0", "a.log", "tcp://127.0.0.1:1"], "above 0"),
        #[cfg(not(feature = "kafka"))]
        (&["a.log", "kafka://a:1/t?kafka.sasl.password=hush"], "--features kafka"),
        #[cfg(feature = "kafka")]
        (&["a.log", "kafka://a:1/t?kafka.sasl.pasword=hush"], "no option `sasl.pasword`"),
    ] {
        let all = args(more);
        let ended = crate::support::run(&all.iter().map(String::as_str).collect::<Vec<_>>());
        let ended = ended.exits(2).says(&[expected]);
        assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    }
}
