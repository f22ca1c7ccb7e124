//! Runs with state in an object store: killed at any moment, cut off from it, left without answers, they answer as if nothing had
//! happened.
//!
//! The store is moto's, a server of its own; kills are real (SIGKILL of the real binary).

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[path = "object_store/line.rs"]
mod line;
#[allow(dead_code, reason = "not all servers are used here")]
mod services;
mod support;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use line::Line;
use services::moto::Moto;
use support::{Draws, Ended, Running, command, counted_once, free_ports, rows, views, words};
use tempfile::TempDir;

const BUCKET: &str = Moto::BUCKET;

/// A server with a bucket, and a directory with an access log.
struct Place {
    moto: &'static Moto,
    dir: TempDir,
    whole: String,
}

impl Place {
    fn new() -> Option<Self> {
        let moto = Moto::shared()?;
        let dir = tempfile::tempdir().unwrap();
        let whole = dir.path().join("whole.log");
        std::fs::copy(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/access.log"), &whole).unwrap();
        let whole = whole.to_str().unwrap().to_owned();
        Some(Place { moto, dir, whole })
    }

    /// The state behind `prefix`, by way of `port`.
    fn state(&self, prefix: &str, port: u16) -> String {
        format!("s3://{BUCKET}/{prefix}?region=eu-central-1&endpoint=http://127.0.0.1:{port}&timeout=60s")
    }

    /// A run over the log with `state`, in small epochs.
    fn args(&self, dataflow: &str, state: &str, workers: usize) -> Vec<String> {
        let mut args = strings(&["run", dataflow, &self.whole, "--state", state, "--sink", "jsonl:-?at=end"]);
        args.extend(strings(&["--epoch-bytes", "8KiB", "--chunk-bytes", "1KiB", "--max-open-epochs", "4"]));
        args.extend(strings(&["-w", &workers.to_string(), "--snapshot-every", "50ms"]));
        args
    }

    /// What a run without state says.
    fn oracle(&self, dataflow: &str) -> Vec<serde_json::Value> {
        views(run(&strings(&["run", dataflow, &self.whole, "--sink", "jsonl:-?at=end"])).exits(0).text())
    }
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(ToString::to_string).collect()
}

/// The command, with credentials.
fn keyed() -> Command {
    let mut command = command();
    bare(&mut command);
    command.envs(Moto::KEYS);
    command
}

/// Without whatever this process may know of Amazon.
fn bare(command: &mut Command) {
    let known: Vec<_> = std::env::vars_os().map(|(name, _)| name).collect();
    for name in known.iter().filter(|name| name.to_string_lossy().starts_with("AWS_")) {
        command.env_remove(name);
    }
    command.env("HOME", "/nowhere");
}

fn run(args: &[String]) -> Ended {
    Running::start(keyed().args(args)).wait()
}

/// Starts a run, and kills it `after` so long, unless it has ended before.
fn kill_after(args: &[String], after: Duration) -> Option<Ended> {
    let mut running = Running::start(keyed().args(args).stdout(Stdio::null()));
    std::thread::sleep(after);
    if running.has_ended() {
        return Some(running.wait());
    }
    drop(running);
    None
}

/// How long a run is let live: from not at all to about as long as one needs.
fn life(draws: &mut Draws) -> Duration {
    Duration::from_millis(draws.below(1500) as u64)
}

/// Runs that are killed, on lines that lose answers or do not.
#[test]
fn a_file_is_counted_as_if_nothing_had_been_killed() {
    let Some(place) = Place::new() else { return };
    for (seed, dataflow, losing) in [(1, "access-log", 0), (2, "top-urls", 30), (3, "visitors", 30)] {
        let mut draws = Draws::new(seed);
        let line = Line::new(place.moto.port, seed);
        line.lose(losing);
        let state = place.state(&format!("killed/{dataflow}"), line.port);
        let mut kills = 0;
        for _ in 0..8 {
            let workers = 1 + draws.below(3);
            match kill_after(&place.args(dataflow, &state, workers), life(&mut draws)) {
                None => kills += 1,
                Some(ended) => drop(ended.exits(0)),
            }
        }
        let answer = run(&place.args(dataflow, &state, 2)).exits(0);
        let what = format!("{dataflow}, after {kills} kills, and {} lost answers", line.lost());
        assert_eq!(views(answer.text()), place.oracle(dataflow), "{what}");
        assert!(kills > 0 && (losing == 0 || line.lost() > 0), "{what}");
    }
}

#[test]
fn what_came_by_a_pipe_is_counted_once_and_what_was_shown_is_not_lost() {
    let Some(place) = Place::new() else { return };
    let mut draws = Draws::new(4);
    let line = Line::new(place.moto.port, 4);
    line.lose(10);
    let state = place.state("pipe", line.port);
    let args = |out: &str, workers: usize| {
        let mut args = strings(&["run", "word-count", "-", "--state", &state, "--tick", "3ms"]);
        args.extend(strings(&["--sink", out, "--snapshot-every", "100ms", "-w", &workers.to_string()]));
        args
    };
    let mut shown = BTreeSet::new();
    for round in 0..6 {
        let out = place.dir.path().join(format!("out{round}"));
        let sink = format!("jsonl:{}?mode=update", out.display());
        let quiet = |command: &mut Command| {
            Running::start(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()))
        };
        let mut running = quiet(keyed().args(args(&sink, 1 + draws.below(3))));
        let mut stdin = running.stdin();
        for batch in 0..10 + draws.below(60) {
            let lines: String = (0..50).map(|line| format!("r{round}b{batch}l{line}\n")).collect();
            if stdin.write_all(lines.as_bytes()).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(draws.below(20) as u64));
        }
        // Some are killed when something has been shown, however slow everything is.
        while round % 2 == 0 && std::fs::read(&out).unwrap_or_default().is_empty() {
            assert!(!running.has_ended(), "round {round}: it has ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(running);
        let mut written = std::fs::read(&out).unwrap_or_default();
        // The last line may be cut off.
        written.truncate(written.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        shown.extend(words(&written).into_iter().map(|(word, _)| word));
    }
    let answer = run(&args("jsonl:-?mode=complete&at=end", 2)).exits(0);
    counted_once(&answer.stdout, &shown);
}

#[test]
fn two_processes_and_one_take_turns() {
    let Some(place) = Place::new() else { return };
    let mut draws = Draws::new(5);
    let state = place.state("processes", place.moto.port);
    for round in 0..4 {
        if round == 1 {
            kill_after(&place.args("access-log", &state, 2), life(&mut draws));
            continue;
        }
        let ports = free_ports(2);
        let hosts = place.dir.path().join("hosts");
        std::fs::write(&hosts, format!("127.0.0.1:{}\n127.0.0.1:{}\n", ports[0], ports[1])).unwrap();
        let process = |process: &str| {
            let mut args = place.args("access-log", &state, 2);
            args.extend(strings(&["-n", "2", "-p", process, "-h", hosts.to_str().unwrap()]));
            Running::start(keyed().args(args).stdout(Stdio::null()).stderr(Stdio::null()))
        };
        let both = [process("0"), process("1")];
        std::thread::sleep(Duration::from_millis(300) + life(&mut draws));
        drop(both);
    }
    let answer = run(&place.args("access-log", &state, 2)).exits(0);
    assert_eq!(views(answer.text()), place.oracle("access-log"));
}

#[test]
fn of_starts_at_once_some_are_fenced_and_say_so() {
    let Some(place) = Place::new() else { return };
    let state = place.state("fenced", place.moto.port);
    let mut fenced = 0;
    for _ in 0..4 {
        let all: Vec<_> = (1..4)
            .map(|workers| {
                Running::start(keyed().args(place.args("access-log", &state, workers)).stdout(Stdio::null()))
            })
            .collect();
        for ended in all.into_iter().map(Running::wait) {
            if ended.code == Some(0) {
                continue;
            }
            fenced += 1;
            let says = ["another run has been started with the state in s3://", "has been replaced by start"];
            assert!(says.iter().any(|text| ended.stderr.contains(text)), "{}", ended.stderr);
            ended.exits(4);
        }
    }
    assert!(fenced > 0, "no two of twelve met");
    let answer = run(&place.args("access-log", &state, 2)).exits(0);
    assert_eq!(views(answer.text()), place.oracle("access-log"), "{fenced} were fenced");
}

/// One that was cut off, and given up for dead, spoils nothing when it comes back.
#[test]
fn a_run_that_was_cut_off_is_left_out() {
    let Some(place) = Place::new() else { return };
    let line = Line::new(place.moto.port, 6);
    let args = |port: u16, more: &[&str]| {
        let source = format!("file:{}?follow", place.whole);
        let state = place.state("zombie", port);
        let mut args =
            strings(&["run", "access-log", "--source", &source, "--state", &state, "--tick", "20ms"]);
        args.extend(strings(&["--sink", "jsonl:-?at=end", "--snapshot-every", "100ms"]));
        args.extend(strings(more));
        args
    };
    let mut zombie = Running::start(keyed().args(args(line.port, &["--log", "info"])).stdout(Stdio::null()));
    let said = zombie.stderr_lines();
    said.until("incarnation 1");
    // It has read something when there is a snapshot.
    let ls = || Running::start(keyed().args(["state", "ls", &place.state("zombie", place.moto.port)])).wait();
    cluster_support::poll(cluster_support::LONG, "a snapshot", || {
        ls().text().contains("manifests/").then_some(())
    });
    line.cut(true);
    let once = run(&args(place.moto.port, &["--trigger", "once"])).exits(0);
    assert_eq!(views(once.text()), place.oracle("access-log"));
    let mut log = std::fs::OpenOptions::new().append(true).open(&place.whole).unwrap();
    let bytes = std::fs::read(&place.whole).unwrap();
    let first = bytes.split_inclusive(|byte| *byte == b'\n').next().unwrap();
    log.write_all(first).unwrap();
    line.cut(false);
    said.until("has been replaced by start 2");
    zombie.wait().exits(4);
    let once = run(&args(place.moto.port, &["--trigger", "once"])).exits(0);
    assert_eq!(views(once.text()), place.oracle("access-log"));
}

#[test]
fn a_store_that_is_away_for_some_seconds_is_waited_for() {
    let Some(place) = Place::new() else { return };
    let line = Line::new(place.moto.port, 7);
    let state = place.state("away", line.port);
    let mut args = strings(&["run", "word-count", "-", "--state", &state, "--tick", "5ms", "--log", "error"]);
    args.extend(strings(&["--sink", "jsonl:-?mode=complete&at=end", "--snapshot-every", "100ms"]));
    let mut running = Running::start(keyed().args(args).stdin(Stdio::piped()));
    let mut stdin = running.stdin();
    for batch in 0..100 {
        match batch {
            20 | 60 => line.cut(true),
            50 | 90 => line.cut(false),
            _ => {}
        }
        let lines: String = (0..20).map(|line| format!("b{batch}l{line}\n")).collect();
        stdin.write_all(lines.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(80));
    }
    drop(stdin);
    let ended = running.wait().exits(0);
    let counts: Vec<_> =
        rows(&ended.stdout, "words").iter().map(|row| row["count"].as_i64().unwrap()).collect();
    assert_eq!(counts, vec![1; 2000]);
}

/// Records of epochs that are sealed while others are written share the next request, and nothing is listed by epoch.
#[test]
fn a_store_that_is_slow_holds_up_no_epoch_for_itself() {
    let Some(place) = Place::new() else { return };
    let line = Line::new(place.moto.port, 8);
    line.delay(Duration::from_millis(150));
    let state = place.state("slow", line.port);
    let mut args = strings(&["run", "access-log", &place.whole, "--state", &state, "--summary", "json"]);
    args.extend(strings(&["--sink", "jsonl:-?at=end", "--epoch-bytes", "1KiB", "--chunk-bytes", "1KiB"]));
    let ended = run(&args).exits(0);
    let epochs = ended.summary()["epochs"].as_u64().unwrap();
    let (puts, lists) = line.requests();
    assert!(epochs > 200 && puts < epochs / 2 && lists < 20, "{epochs} epochs, {puts} puts, {lists} lists");
    assert_eq!(views(ended.text()), place.oracle("access-log"));
}

#[test]
fn what_a_state_has_can_be_looked_at() {
    let Some(place) = Place::new() else { return };
    let state = place.state("looked/at", place.moto.port);
    let answer = run(&place.args("access-log", &state, 2)).exits(0);
    let look = |args: &[&str]| run(&strings(args));
    let ls = look(&["state", "ls", &state]).exits(0);
    for text in ["access-log, started 1 times", "manifests/00000001-0000", "status_counts", "rows"] {
        assert!(ls.text().contains(text), "{text} in\n{}", ls.text());
    }
    let shown = look(&["state", "show", &state, "status_counts"]).exits(0);
    assert_eq!(shown.text().lines().count(), rows(&answer.stdout, "status_counts").len());
    look(&["state", "verify", &state]).exits(0);
    let query = look(&["state", "duckdb", &state, "status_counts"]).exits(0);
    for text in ["CREATE OR REPLACE SECRET", "USE_SSL false", "read_parquet(['s3://thalweg/looked/at/tables/"]
    {
        assert!(query.text().contains(text), "{text} in\n{}", query.text());
    }
    assert!(!query.text().contains("hush-hush"));

    // A file of rows that is not what was written.
    let table = query.text().split('\'').find(|text| text.contains("/tables/")).unwrap();
    let table = table.strip_prefix("s3:/").unwrap();
    let put = place.moto.request("PUT", table, b"no rows").unwrap();
    assert!(put.contains(" 200 "), "{put}");
    let verified = look(&["state", "verify", &state]).exits(3);
    assert!(verified.text().contains("damaged"), "{}", verified.text());
}

#[test]
fn epochs_are_shown_once_more_and_state_is_discarded() {
    let Some(place) = Place::new() else { return };
    let state = place.state("again", place.moto.port);
    let out = place.dir.path().join("out");
    let sink = format!("jsonl:{}?mode=changes", out.display());
    let mut args =
        strings(&["run", "log-stats", &place.whole, "--state", &state, "--length", "60s", "--sink", &sink]);
    args.extend(strings(&[
        "--epoch-bytes",
        "32KiB",
        "--chunk-bytes",
        "4KiB",
        "--snapshot-every",
        "1h",
        "-w",
        "2",
    ]));
    run(&args).exits(0);
    let written = std::fs::read_to_string(&out).unwrap();
    let of_epoch = |line: &&str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        (3..=6).contains(&value["epoch"].as_u64().unwrap())
    };
    let expected: Vec<_> = written.lines().filter(of_epoch).collect();
    let replay = ["replay", "--state", &state, "--from", "3", "--to", "6", "--sink", "jsonl:-?mode=changes"];
    let again = run(&strings(&replay)).exits(0);
    assert!(!expected.is_empty());
    assert_eq!(again.text().lines().collect::<Vec<_>>(), expected);

    // Other rules want other state; the numbers of starts go on.
    let at = args.iter().position(|arg| arg == "60s").unwrap();
    args[at] = "30s".to_owned();
    run(&args).exits(2).says(&["length was 1m, is 30s"]);
    args.push("--reset".to_owned());
    run(&args).exits(0);
    let ls = run(&strings(&["state", "ls", &state])).exits(0);
    assert!(ls.text().contains("log-stats, started 2 times"), "{}", ls.text());
}

#[test]
fn what_is_wrong_is_said_without_secrets() {
    let Some(place) = Place::new() else { return };
    let says = |command: &dyn Fn() -> Command, state: &str, code: i32, texts: &[&str]| {
        let run = ["run", "access-log", &place.whole, "--state", state];
        let look = ["state", "ls", state];
        // What cannot be had is an output of the one, and an input of the other.
        for (args, code) in [(&run[..], code), (&look, if code == 4 { 3 } else { code })] {
            let ended = Running::start(command().args(args).stdout(Stdio::null())).wait();
            let ended = ended.exits(code).says(texts);
            assert!(!ended.stderr.contains("hush-hush"), "{}", ended.stderr);
        }
    };
    let port = place.moto.port;
    let endpoint = format!("endpoint=http://127.0.0.1:{port}&region=us-east-1");
    says(
        &keyed,
        &format!("s3://nobody/a?{endpoint}"),
        2,
        &["s3://nobody/a", "NoSuchBucket", "create the bucket"],
    );
    let known = format!("s3://{BUCKET}/a?{endpoint}");
    says(
        &keyed,
        &format!("{known}&regoin=x"),
        2,
        &["`regoin` is not one of its parameters", "region, endpoint"],
    );
    says(
        &keyed,
        &format!("s3://me:hush-hush@{BUCKET}/a?{endpoint}"),
        2,
        &["credentials are in the environment"],
    );
    let without = || {
        let mut command = command();
        bare(&mut command);
        command
    };
    says(&without, &known, 2, &["there are no credentials", "AWS_ACCESS_KEY_ID", "credentials-file="]);
    let nobody = free_ports(1)[0];
    let away = format!("s3://{BUCKET}/a?endpoint=http://127.0.0.1:{nobody}&timeout=1s");
    says(&keyed, &away, 4, &["cannot list `incarnations/` in s3://thalweg/a", "refused"]);

    // The bucket is the only thing that it lets others do.
    let strict = Moto::start("1").unwrap();
    strict.bucket(BUCKET);
    let wrong = format!("s3://{BUCKET}/a?endpoint=http://127.0.0.1:{}&timeout=20s", strict.port);
    says(&keyed, &wrong, 2, &["s3://thalweg/a", "InvalidAccessKeyId", "AWS_SECRET_ACCESS_KEY"]);
}
