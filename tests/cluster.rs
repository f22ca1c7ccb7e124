//! Clusters of real processes, and the ends of runs: a peer that is lost, a panic, a stall, a signal, a stranger.
//!
//! What the processes say to each other before they run is tested in `cluster_handshake.rs`; here it is what the
//! *command* does: exit codes, messages, output. `tests/faulty` has the dataflows that misbehave.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![expect(clippy::disallowed_methods, reason = "deadlines are what is tested")]

mod cluster_support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use cluster_support::{Cluster, LONG, Process, faulty, thalweg};
use thalweg::runtime::cluster::{ClusterConfig, ClusterError, Fingerprint, Mismatch, join};

/// How soon the others must be gone when a process is.
const SOON: Duration = Duration::from_secs(2);
const LOST: i32 = 6;
const STALLED: i32 = 7;

// ---- helpers -------------------------------------------------------------------------------------------------------

/// An access log in file `name` of the cluster's directory.
fn generate(cluster: &Cluster, name: &str, lines: usize) {
    let out = cluster.path(name);
    let status = Command::new(thalweg())
        .args(["generate", "access-log", "--lines", &lines.to_string(), "--malformed", "0.01", "--output"])
        .arg(out)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

/// `count` lines of `length` bytes each, that begin with `a` to `z` in turn.
fn letters(count: usize, length: usize) -> String {
    let line = |at: usize| format!("{}{}\n", (b'a' + (at % 26) as u8) as char, "-".repeat(length - 2));
    (0..count).map(line).collect()
}

/// All processes of `cluster`, with the same arguments.
fn all(cluster: &Cluster, args: &str) -> Vec<Process> {
    (0..cluster.addresses.len()).map(|index| cluster.process(index, args)).collect()
}

/// A `faulty slow` run on standard input of process 0 that is well under way.
fn live(cluster: &Cluster) -> Vec<Process> {
    let mut processes = all(
        cluster,
        "run slow --pause 0 --source stdin: --sink jsonl:out?mode=changes --tick 20ms --summary none",
    );
    processes[0].say("one\n");
    cluster.await_text("out", r#"{"lines":1}"#);
    processes
}

/// A view after the last change in file `name`: rows as JSON text with their multiplicity, and the last epoch.
fn state(cluster: &Cluster, name: &str, view: &str) -> (BTreeMap<String, i64>, u64) {
    let (mut rows, mut last) = (BTreeMap::new(), 0);
    for line in cluster.read(name).lines() {
        let change: serde_json::Value = serde_json::from_str(line).unwrap();
        last = last.max(change["epoch"].as_u64().unwrap());
        if change["view"] == view {
            *rows.entry(change["row"].to_string()).or_insert(0) += change["diff"].as_i64().unwrap();
        }
    }
    rows.retain(|_, diff| *diff != 0);
    assert!(rows.values().all(|diff| *diff == 1), "{view} is not a set: {rows:?}");
    (rows, last)
}

// ---- the right answer ----------------------------------------------------------------------------------------------

#[test]
fn clusters_give_the_answer_of_one_process() {
    let cluster = Cluster::new(thalweg(), 3);
    generate(&cluster, "log", 5_000);
    let args = "run access-log --source file:log --summary none --chunk-bytes 16KiB --epoch-bytes 128KiB";
    cluster.alone(&format!("{args} --sink jsonl:expected?mode=changes")).ends_with(0, &[]);
    let expected = cluster.read("expected");
    assert!(expected.lines().count() > 100, "{expected}");

    for mut process in all(&cluster, &format!("{args} --sink jsonl:out?mode=changes -w 2")) {
        process.ends_with(0, &[]);
    }
    assert_eq!(cluster.read("out"), expected, "-n 3 -w 2");

    let pair = Cluster::new(thalweg(), 2);
    std::fs::copy(cluster.path("log"), pair.path("log")).unwrap();
    for mut process in all(&pair, &format!("{args} --sink jsonl:out?mode=changes")) {
        process.ends_with(0, &[]);
    }
    assert_eq!(pair.read("out"), expected, "-n 2");
}

// ---- lost peers ----------------------------------------------------------------------------------------------------

#[test]
fn a_killed_process_takes_all_others_with_it_and_is_named() {
    for (count, victim) in [(2, 0), (2, 1), (3, 1)] {
        let cluster = Cluster::new(faulty(), count);
        let mut processes = live(&cluster);
        processes[victim].signal("KILL");
        let name = format!("lost process {victim} at {}", cluster.addresses[victim]);
        for (index, process) in processes.iter_mut().enumerate().filter(|(index, _)| *index != victim) {
            process.ends_within(SOON, LOST, &[&name]);
            assert_eq!(process.stderr().matches("thalweg:").count(), 1, "one reason is enough for {index}");
        }
    }
}

#[test]
fn a_panic_ends_its_process_and_its_peers() {
    let cluster = Cluster::new(faulty(), 2);
    // The first chunk is process 0's, the second is process 1's, and it has the line.
    cluster.write("log", "a----\nb----\n!----\nc----\n");
    let args = "run panics --source file:log --sink jsonl:out --chunk-bytes 12B --epoch-bytes 12B";
    let mut processes = all(&cluster, args);
    processes[1].ends_with(70, &["panicked", "the dataflow's own bug", "tests/faulty/faulty.rs"]);
    assert_eq!(
        processes[1].stderr().matches("the dataflow's own bug").count(),
        1,
        "{}",
        processes[1].stderr()
    );
    processes[0].ends_within(SOON, LOST, &[&format!("lost process 1 at {}", cluster.addresses[1])]);
}

#[test]
fn a_panic_in_one_of_two_workers_ends_the_process() {
    let cluster = Cluster::new(faulty(), 1);
    let mut live = cluster.alone("run panics -w 2 --sink jsonl:out?mode=changes --tick 20ms");
    live.say("a\n");
    cluster.await_text("out", r#""byte":97"#);
    live.say("!\n");
    live.ends_within(SOON, 70, &["the dataflow's own bug"]);

    // On the worker that does not write the output.
    cluster.write("log", "a----\nb----\n!----\nc----\n");
    let args = "run panics -w 2 --source file:log --sink jsonl:out --chunk-bytes 12B --epoch-bytes 12B";
    let place = "it worked on the lines from byte 12 to byte 18 of file:";
    cluster.alone(args).ends_with(70, &["the dataflow's own bug", place]);
}

// ---- joining -------------------------------------------------------------------------------------------------------

/// Knocks at `address` in every way that strangers do, until `over`; returns how many connections were made.
fn strays(address: std::net::SocketAddr, over: &AtomicBool) -> usize {
    let mut silent = Vec::new();
    let mut made = 0;
    while !over.load(Ordering::Relaxed) {
        for way in 0..4 {
            let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) else {
                continue;
            };
            made += 1;
            let _ = match way {
                0 => stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                1 => stream.write_all(&[0; 4096]),
                2 => Ok(()),
                _ => {
                    silent.push(stream);
                    silent.drain(..silent.len().saturating_sub(20));
                    continue;
                }
            };
        }
        thread::sleep(Duration::from_millis(2));
    }
    made
}

#[test]
fn strangers_and_wrong_processes_keep_nobody_out() {
    let cluster = Cluster::new(faulty(), 2);
    cluster.write("log", letters(100, 20));
    cluster.write("other-secret", "something else");
    let args = "run slow --pause 0 --source file:log --sink jsonl:out --summary none";

    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Whatever fails, the strays end.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let end = End(&over);
        let mut first = cluster.process(0, args);
        let stray = scope.spawn(|| strays(cluster.addresses[0], &over));

        cluster
            .process(1, &format!("{args} --cluster-secret-file other-secret"))
            .ends_with(5, &["process 0 at", "hint: is the cluster secret the same", "--cluster-secret-file"]);
        for (wrong, words) in [
            ("--pause 1", &["fingerprint", "same options"][..]),
            ("--max-line 7KiB", &["fingerprint", "same options"]),
            ("-w 2", &["`-w 1`, we with `-w 2`", "same -w"]),
        ] {
            let args =
                if wrong.starts_with("--pause") { args.replace("--pause 0", "") } else { args.to_owned() };
            let mut process = cluster.process(1, &format!("{args} {wrong}"));
            process.ends_with(5, &[&format!("process 0 at {}", cluster.addresses[0])]);
            process.ends_with(5, words);
        }
        assert!(first.is_running(), "{}", first.stderr());

        cluster.process(1, args).ends_with(0, &[]);
        first.ends_with(0, &["refused", "GET / HTTP/1.1", "does not know the cluster secret", "fingerprint"]);
        drop(end);
        assert!(stray.join().unwrap() > 0);
    });
    assert!(cluster.read("out").contains(r#"{"lines":100}"#), "{}", cluster.read("out"));
}

#[test]
fn others_can_reach_it_only_with_a_secret() {
    let cluster = Cluster::new(thalweg(), 2);
    cluster.write("open", "0.0.0.0:2101\n127.0.0.1:2102\n");
    let hosts = cluster.path("open").display().to_string();
    cluster.alone(&format!("run access-log --source file:hosts -n 2 -p 0 -h {hosts}")).ends_within(
        SOON,
        2,
        &["process 0 at 0.0.0.0:2101", "--cluster-secret-file", "--insecure-cluster"],
    );
    cluster.process(0, "run access-log --source file:hosts --cluster-secret-file none").ends_within(
        SOON,
        2,
        &["cannot read the cluster secret", "none"],
    );
    cluster.write("empty", "\n");
    let mut empty = cluster.process(0, "run access-log --source file:hosts --cluster-secret-file empty");
    empty.ends_within(SOON, 2, &["the cluster secret has 0 bytes"]);
}

#[test]
fn who_is_missing_is_named() {
    let cluster = Cluster::new(faulty(), 3);
    cluster.write("log", "a\n");
    let args = "run slow --source file:log --join-timeout 1s";
    let mut first = cluster.process(0, args);
    let mut second = cluster.process(1, args);
    let address = cluster.addresses[2];
    let words = format!("missing process 2 at {address} (it has not connected to us)");
    // Whoever's second ends first tells the other by leaving.
    let codes = [first.code_within(LONG), second.code_within(LONG)];
    assert!(matches!(codes, [5, 5 | LOST] | [LOST, 5]), "{codes:?}\n{}\n{}", first.stderr(), second.stderr());
    assert!(first.stderr().contains(&words) || second.stderr().contains(&words), "{}", first.stderr());

    let others: Vec<_> =
        (0..2).map(|other| format!("process {other} at {}", cluster.addresses[other])).collect();
    let mut third = cluster.process(2, "run slow --source file:log --join-timeout 300ms");
    third.ends_with(5, &["missing", &others[0], &others[1], "refused"]);
}

#[test]
fn both_sides_of_a_refusal_say_why_whatever_is_logged() {
    for (wrong, connector, listener) in [
        (
            "-w 2",
            "it runs with `-w 1`, we with `-w 2`",
            "refused process 1 at {}: it runs with `-w 2`, we with `-w 1`",
        ),
        (
            "--max-line 7KiB",
            "its fingerprint is",
            "refused process 1 at {}: it runs another build, another dataflow or",
        ),
        (
            "-n 3",
            "it runs with `-n 2`, we with `-n 3`",
            "refused process 1 at {}: it runs with `-n 3`, we with `-n 2`",
        ),
        (
            "--cluster-secret-file other",
            "refused us before",
            "refused a process at {}: it does not know the cluster secret",
        ),
    ] {
        let cluster = Cluster::new(faulty(), 2);
        cluster.write("log", "a\n");
        cluster.write("other", "something else");
        let own = cluster.addresses[0].ip();
        let three: String = (0..3).map(|at| format!("{own}:{}\n", 2101 + at)).collect();
        cluster.write("hosts", three);
        let args = "run slow --source file:log --sink jsonl:out --log off";
        let mut first = cluster.process(0, &format!("{args} --join-timeout 1500ms"));
        // The number of processes that the harness adds would count.
        let mut second = match wrong.starts_with("-n") {
            true => cluster.alone(&format!("{args} {wrong} -p 1 -h hosts --cluster-secret-file secret")),
            false => cluster.process(1, &format!("{args} {wrong}")),
        };
        second.ends_with(5, &[connector]);
        // The system gives the connector an address of its own.
        first.ends_with(5, &["missing process 1", &listener.replace("{}", "127.0.0.1")]);
    }
}

#[test]
fn input_that_one_process_cannot_read_ends_all() {
    let cluster = Cluster::new(faulty(), 2);
    cluster.write("log", letters(100, 20));
    let elsewhere = tempfile::tempdir().unwrap();
    let args = "run slow --pause 0 --source file:log --sink jsonl:out --chunk-bytes 100B --epoch-bytes 200B";
    let mut first = cluster.process(0, args);
    let mut second = cluster.process_in(elsewhere.path(), 1, args);
    second.ends_with(3, &["cannot open log", "No such file"]);
    first.ends_within(SOON, LOST, &[&format!("lost process 1 at {}", cluster.addresses[1])]);
}

#[test]
fn a_file_that_only_begins_alike_is_another_one() {
    let cluster = Cluster::new(faulty(), 2);
    let log = letters(50_000, 20);
    cluster.write("log", &log);
    let middle = log.len() / 2;
    let changed = |at: usize, bytes: usize| {
        let mut other = log.clone().into_bytes();
        other[at..at + bytes].fill(b'?');
        other
    };
    let cases = [
        ("a tenth of its middle", changed(middle, log.len() / 10), 3),
        ("its end", changed(log.len() - 10, 9), 3),
        ("it is shorter", log.as_bytes()[..log.len() - 20].to_vec(), 3),
        ("it has grown", [log.as_bytes(), b"more\n"].concat(), 0),
    ];
    let args = "run slow --pause 0 --source file:log --sink jsonl:out";
    for (what, other, code) in cases {
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::write(elsewhere.path().join("log"), other).unwrap();
        let mut first = cluster.process(0, args);
        let mut second = cluster.process_in(elsewhere.path(), 1, args);
        assert_eq!(second.code_within(LONG), code, "{what}: {}", second.stderr());
        if code == 3 {
            second.ends_with(3, &["log is not the file that was found", "read the same files"]);
        }
        first.ends_with(if code == 0 { 0 } else { LOST }, &[]);
    }
}

// ---- forged messages -----------------------------------------------------------------------------------------------

/// Joins the cluster of process 0 as its process 1, as anyone can where there is no secret: who claims another
/// fingerprint than process 0 is told what the right one is.
fn intrude(cluster: &Cluster) -> TcpStream {
    let addresses: Vec<_> = cluster.addresses.iter().map(ToString::to_string).collect();
    let mut config = ClusterConfig::new(1, addresses, 1, Fingerprint([0; 32]));
    let Err(ClusterError::Mismatch { mismatch: Mismatch::Fingerprint { theirs, .. }, .. }) =
        join(&config, b"")
    else {
        panic!("process 0 has no such fingerprint");
    };
    config.fingerprint = theirs;
    join(&config, b"").unwrap().sockets.remove(0).unwrap()
}

/// A message on `channel` in the name of worker `source` to worker 0 that holds `held`, in its frame.
fn message(channel: u64, source: u64, held: &[u8]) -> Vec<u8> {
    let head = [channel, source, 0, 1, held.len() as u64, 0].map(u64::to_be_bytes).concat();
    let length = (head.len() + held.len()) as u32;
    [&[0][..], &length.to_be_bytes(), &head, held].concat()
}

#[test]
fn forged_messages_end_the_run_and_say_of_whom_they_came() {
    let forged: [(Vec<u8>, &str); 3] = [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "it sent a frame of kind 71"),
        (message(0, 0, b"in our name"), "it sent a message in the name of worker 0, and its own are 1 to 1"),
        // Whatever it is that goes by one of these channels.
        (
            (0..32).flat_map(|channel| message(channel, 1, &[0xff; 64])).collect(),
            "a message of it holds what cannot be read",
        ),
    ];
    for (bytes, reason) in forged {
        let cluster = Cluster::new(faulty(), 2);
        cluster.write("log", letters(100, 20));
        let mut hosts = vec!["-h".to_owned(), cluster.path("hosts").display().to_string()];
        hosts.extend(["-n", "2", "-p", "0", "--insecure-cluster", "--log", "off"].map(str::to_owned));
        let args = format!("run slow --pause 0 --source file:log --sink jsonl:out {}", hosts.join(" "));
        let mut process = cluster.alone(&args);
        let mut intruder = intrude(&cluster);
        intruder.write_all(&bytes).unwrap();
        let name = format!("lost process 1 at {}", cluster.addresses[1]);
        process.ends_with(LOST, &[&name, reason]);
        let said = process.stderr();
        assert!(
            !said.contains("panicked") && !said.contains("backtrace") && said.lines().count() <= 2,
            "{said}"
        );
    }
}

// ---- the watchdog --------------------------------------------------------------------------------------------------

#[test]
fn an_operator_that_keeps_a_capability_is_named() {
    let cluster = Cluster::new(faulty(), 1);
    cluster.write("log", "a\nb\n");
    let bounds = "--source file:log --stall-timeout 1s";
    let mut miser = cluster.alone(&format!("run holds-capability -w 2 {bounds} --sink jsonl:none"));
    let mut straggler = cluster.alone(&format!("run dangles -w 2 {bounds} --sink jsonl:out"));
    let begun = Instant::now();
    miser.ends_within(LONG, STALLED, &["nothing has moved", "epoch 0", "`Miser`", "holds a capability"]);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    straggler.ends_with(STALLED, &["every view is complete", "`Straggler`", "holds a capability"]);
    assert!(cluster.read("out").contains(r#""byte":97"#), "what was complete was written");
}

#[test]
fn a_worker_that_does_not_come_back_is_named() {
    let cluster = Cluster::new(faulty(), 1);
    // In the very first step, before any epoch was closed; and not on the worker that reads.
    cluster.write("log", "z\n");
    let bounds = "--sink jsonl:out --stall-timeout 600ms";
    let mut first = cluster.alone(&format!("run sleeps --source file:log {bounds}"));
    let mut second = cluster.alone(&format!("run sleeps -w 2 --worker 1 --source file:log {bounds}"));
    // Before the line has even left the door.
    let mut door = cluster.alone(&format!("run slow --pause 3600000 --source file:log {bounds}"));
    let mut live = cluster.alone(&format!("run sleeps --tick 20ms {bounds}"));
    live.say("z\n");
    first.ends_with(STALLED, &["worker 0 has not come back from an operator"]);
    second.ends_with(STALLED, &["worker 1 has not come back from an operator", "`Sleeper`"]);
    door.ends_with(STALLED, &["worker 0 has not come back from an operator"]);
    live.ends_with(STALLED, &["worker 0 has not come back from an operator"]);
}

#[test]
fn a_process_that_is_stopped_ends_the_others_and_is_named() {
    // While it holds up an epoch, and while there is nothing to do at all.
    for at_work in [true, false] {
        let cluster = Cluster::new(faulty(), 3);
        let args = "run slow --pause 0 --sink jsonl:out?mode=changes --tick 20ms --stall-timeout 1s";
        let mut processes = all(&cluster, args);
        processes[0].say("one\n");
        cluster.await_text("out", r#"{"lines":1}"#);
        processes[1].signal("STOP");
        if at_work {
            // Some of the letters are its.
            processes[0].say(&letters(26, 2));
        }
        let name = format!("lost process 1 at {}", cluster.addresses[1]);
        for other in [0, 2] {
            let words = [&name[..], "it has given no sign of life for", "--stall-timeout"];
            processes[other].ends_within(SOON, LOST, &words);
        }
        // It finds out as soon as it can.
        processes[1].signal("CONT");
        processes[1].ends_within(SOON, LOST, &["lost process"]);
    }
}

#[test]
fn a_process_in_which_a_worker_hangs_says_so_before_the_others_end() {
    for hung in [0, 1] {
        let cluster = Cluster::new(faulty(), 2);
        cluster.write("log", "z\n");
        // The others wait a quarter longer; they may have begun to wait earlier by a tenth of a second or two.
        let args =
            format!("run sleeps --worker {hung} --source file:log --sink jsonl:out --stall-timeout 2s");
        let mut processes = all(&cluster, &args);
        let words = format!("worker {hung} has not come back from an operator");
        processes[hung].ends_with(STALLED, &[&words]);
        processes[1 - hung].ends_within(SOON, LOST, &[&format!("lost process {hung} at")]);
    }
}

#[test]
fn waiting_is_not_a_stall() {
    let cluster = Cluster::new(faulty(), 2);
    // Idle, with an epoch that was begun and that the tick ends long after the time-out.
    let args = "run slow --pause 0 --sink jsonl:idle?mode=changes --tick 1s --stall-timeout 300ms";
    let mut idle = all(&cluster, args);
    // One epoch that takes four times as long to read as nothing may move.
    let alone = Cluster::new(faulty(), 1);
    alone.write("log", letters(120, 20));
    let args = "run slow --pause 20 --source file:log --chunk-bytes 60B --stall-timeout 600ms";
    let mut slow = alone.alone(&format!("{args} --sink jsonl:slow"));
    // The same, suspended for longer than that, as by Ctrl-Z.
    let mut suspended = alone.alone(&format!("{args} --sink jsonl:suspended --log info"));
    idle[0].say("one\n");

    let begun = Instant::now();
    cluster.await_text("idle", r#"{"lines":1}"#);
    suspended.signal("STOP");
    while begun.elapsed() < Duration::from_millis(1800) {
        for process in &mut idle {
            assert!(process.is_running(), "{}", process.stderr());
        }
        thread::sleep(Duration::from_millis(20));
    }
    suspended.signal("CONT");
    idle[0].say("two\n");
    cluster.await_text("idle", r#"{"lines":2}"#);
    idle[0].hang_up();
    idle.iter_mut().for_each(|process| process.ends_with(0, &[]));
    slow.ends_with(0, &["120 lines"]);
    suspended.ends_with(0, &["120 lines"]);
}

#[test]
fn a_process_that_waits_for_another_to_read_is_not_stalled() {
    let cluster = Cluster::new(faulty(), 2);
    // One epoch: the chunks of process 0 take no time, and those of process 1 take much longer than nothing may move.
    let chunk = |first: &str| format!("{first}{}\n", "-".repeat(18)).repeat(5);
    cluster.write("log", (0..40).map(|at| chunk(if at % 2 == 0 { "A" } else { "a" })).collect::<String>());
    let args =
        "run slow --pause 20 --source file:log --chunk-bytes 100B --stall-timeout 500ms --sink jsonl:out";
    for mut process in all(&cluster, args) {
        process.ends_with(0, &[]);
    }
    assert!(cluster.read("out").contains(r#"{"lines":200}"#), "{}", cluster.read("out"));
}

// ---- ending in order -----------------------------------------------------------------------------------------------

/// A run in small epochs that would take minutes; `signals` go to its processes once it is under way.
///
/// All lines of the last worker are slow and all others are not, so the others are ahead of it by as many epochs as
/// they may be.
fn ends_after_whole_epochs(processes: usize, workers: usize, signals: &[(usize, &str)]) {
    const LENGTH: usize = 25;
    const LINES: usize = 200_000;
    const CHUNK: usize = 40;
    const EPOCH: usize = 400;
    let cluster = Cluster::new(faulty(), processes);
    let peers = processes * workers;
    let first = |line: usize| {
        let slow = line * LENGTH / CHUNK % peers == peers - 1;
        (if slow { b'a' } else { b'A' }) + (line % 26) as u8
    };
    let tail = format!("{}\n", "-".repeat(LENGTH - 2));
    let log: String = (0..LINES).flat_map(|line| [(first(line) as char).to_string(), tail.clone()]).collect();
    cluster.write("log", &log);
    // Chunks and epochs end within lines.
    let args = format!(
        "run slow --pause 1 --source file:log --sink jsonl:out?mode=changes -w {workers} \
         --chunk-bytes {CHUNK}B --epoch-bytes {EPOCH}B --summary none"
    );
    let mut running = all(&cluster, &args);
    cluster.await_text("out", r#""epoch":9,"#);
    signals.iter().for_each(|(process, signal)| running[*process].signal(signal));
    running.iter_mut().for_each(|process| process.ends_with(0, &[]));

    let (lines, last) = state(&cluster, "out", "input");
    let end = (last as usize + 1) * EPOCH;
    assert!(end < log.len() / 2, "it went on to epoch {last}");
    let started = (0..LINES).take_while(|line| line * LENGTH < end);
    let expected = format!(r#"{{"lines":{}}}"#, started.clone().count());
    assert_eq!(lines.into_keys().collect::<Vec<_>>(), [expected], "after epoch {last}");
    let mut counts = BTreeMap::new();
    started.for_each(|line| *counts.entry(first(line)).or_insert(0) += 1);
    let expected = counts.iter().map(|(byte, lines)| format!(r#"{{"byte":{byte},"lines":{lines}}}"#));
    let initials = state(&cluster, "out", "initials").0;
    assert_eq!(BTreeSet::from_iter(initials.into_keys()), expected.collect(), "after epoch {last}");
}

#[test]
fn a_signal_to_one_process_ends_all_after_the_same_whole_epoch() {
    ends_after_whole_epochs(2, 1, &[(1, "TERM")]);
    ends_after_whole_epochs(2, 1, &[(0, "TERM")]);
    ends_after_whole_epochs(2, 2, &[(1, "INT")]);
}

#[test]
fn signals_to_several_processes_end_all_after_the_same_whole_epoch() {
    ends_after_whole_epochs(3, 1, &[(2, "TERM"), (0, "TERM"), (1, "INT")]);
}

#[test]
fn the_views_of_a_run_that_was_ended_agree() {
    let cluster = Cluster::new(thalweg(), 2);
    generate(&cluster, "log", 40_000);
    let args = "run access-log --source file:log --sink jsonl:out?mode=changes --summary none \
                --chunk-bytes 4KiB --epoch-bytes 8KiB";
    let mut running = all(&cluster, args);
    cluster.await_text("out", r#""epoch":5,"#);
    running[1].signal("TERM");
    running.iter_mut().for_each(|process| process.ends_with(0, &[]));

    let (input, last) = state(&cluster, "out", "input");
    let log = std::fs::read(cluster.path("log")).unwrap();
    let end = ((last as usize + 1) * (8 << 10)).min(log.len());
    let starts = 1 + log[..end - 1].iter().filter(|byte| **byte == b'\n').count();
    let input: serde_json::Value = serde_json::from_str(input.keys().next().unwrap()).unwrap();
    assert_eq!(input["lines"], starts, "after epoch {last}");
    let (statuses, _) = state(&cluster, "out", "status_counts");
    let count =
        |row: &String| serde_json::from_str::<serde_json::Value>(row).unwrap()["count"].as_i64().unwrap();
    assert_eq!(statuses.keys().map(count).sum::<i64>(), input["parsed"]);
}

#[test]
fn live_input_that_is_ended_is_committed_whichever_process_is_asked() {
    for asked in [0, 1] {
        let cluster = Cluster::new(faulty(), 2);
        let mut processes = live(&cluster);
        processes[0].say("two\n");
        cluster.await_text("out", r#"{"lines":2}"#);
        // Process 1 has no input of its own, and nothing of an epoch open.
        processes[asked].signal("TERM");
        processes.iter_mut().for_each(|process| process.ends_within(SOON, 0, &[]));
        assert_eq!(state(&cluster, "out", "input").0.into_keys().collect::<Vec<_>>(), [r#"{"lines":2}"#]);
    }
}

#[test]
fn a_process_that_waits_for_others_ends_at_once() {
    let cluster = Cluster::new(thalweg(), 2);
    cluster.write("log", "a\n");
    let mut waiting = cluster.process(0, "run word-count --source file:log --log info");
    // It listens: the signal handlers have been there since before.
    let door = || TcpStream::connect(cluster.addresses[0]).ok().map(drop);
    cluster_support::poll(LONG, "an open port", door);
    waiting.signal("INT");
    waiting.ends_within(SOON, 0, &["ended by a signal before the run had begun"]);
}

#[test]
fn a_second_signal_ends_at_once() {
    let cluster = Cluster::new(faulty(), 1);
    cluster.write("log", letters(1200, 10));
    // The open epoch would take a minute.
    let args = "run slow --pause 50 --source file:log --sink jsonl:out --chunk-bytes 10B --log info";
    let mut process = cluster.alone(args);
    cluster_support::poll(LONG, "a sink", || cluster.path("out").exists().then_some(()));
    process.signal("TERM");
    let said = || process.stderr().contains("a second signal ends at once").then_some(());
    cluster_support::poll(LONG, "the first signal's effect", said);
    process.signal("TERM");
    process.ends_within(SOON, 130, &["second signal"]);
}
