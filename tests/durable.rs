//! Runs with state: killed at any moment, started again at any number of workers and processes, they answer as if nothing had
//! happened.
//!
//! Kills are real (SIGKILL of the real binary) and come at moments that are drawn, a few milliseconds apart.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod support;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use support::{Draws, Ended, Running, command, counted_once, free_ports, rows, run, views, words};
use tempfile::TempDir;

/// The end of a name of a test, so that its seed is its own.
const ACCESS: &str = "data/access.log";

/// A directory with an access log, and state to be.
struct Place {
    dir: TempDir,
    lines: Vec<Vec<u8>>,
}

impl Place {
    fn new() -> Self {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(ACCESS)).unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        Place { dir: tempfile::tempdir().unwrap(), lines }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// All lines, in one file.
    fn whole(&self) -> String {
        std::fs::write(self.path("whole.log"), self.lines.concat()).unwrap();
        self.text("whole.log")
    }
}

/// Starts a run, and kills it `after` so long, unless it has ended before.
fn kill_after(args: &[String], after: Duration, stdin: Stdio) -> Option<Ended> {
    let mut running = Running::start(command().args(args).stdin(stdin).stdout(Stdio::null()));
    std::thread::sleep(after);
    if running.has_ended() {
        return Some(running.wait());
    }
    drop(running);
    None
}

fn strings(args: &[&str]) -> Vec<String> {
    args.iter().map(ToString::to_string).collect()
}

/// How long a run is let live: from not at all to about as long as one needs.
fn life(draws: &mut Draws) -> Duration {
    Duration::from_millis(draws.below(400) as u64)
}

#[test]
fn a_file_is_counted_as_if_nothing_had_been_killed() {
    for (seed, dataflow) in [(1, "access-log"), (2, "log-stats"), (3, "visitors"), (4, "top-urls")] {
        let (place, mut draws) = (Place::new(), Draws::new(seed));
        let (whole, state) = (place.whole(), place.text("state"));
        let args = |workers: usize| {
            let mut args = strings(&["run", dataflow, &whole, "--state", &state, "--sink", "jsonl:-?at=end"]);
            args.extend(strings(&[
                "--epoch-bytes",
                "8KiB",
                "--chunk-bytes",
                "1KiB",
                "--max-open-epochs",
                "2",
            ]));
            args.extend(strings(&["-w", &workers.to_string(), "--snapshot-every", "20ms"]));
            args
        };
        let mut kills = 0;
        for _ in 0..12 {
            let workers = 1 + draws.below(3);
            match kill_after(&args(workers), life(&mut draws), Stdio::null()) {
                None => kills += 1,
                Some(ended) => drop(ended.exits(0)),
            }
        }
        let last = args(2);
        let answer = run(&last.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
        let oracle = run(&["run", dataflow, &whole, "--sink", "jsonl:-?at=end"]).exits(0);
        assert_eq!(views(answer.text()), views(oracle.text()), "{dataflow}, after {kills} kills");
    }
}

#[test]
fn files_that_grow_and_are_rotated_are_counted_as_if_nothing_had_been_killed() {
    let (place, mut draws) = (Place::new(), Draws::new(5));
    let (log, state) = (place.path("a.log"), place.text("state"));
    let pattern = format!("file:{}?follow", place.text("a.log*"));
    let args = |workers: usize, more: &[&str]| {
        let mut args = strings(&["run", "access-log", "--source", &pattern, "--state", &state]);
        args.extend(strings(&["--sink", "jsonl:-?at=end", "--tick", "5ms", "--snapshot-every", "30ms"]));
        args.extend(strings(&["-w", &workers.to_string()]));
        args.extend(strings(more));
        args
    };
    let mut left = place.lines.iter();
    let mut rotations = 0;
    let append = |lines: &[&Vec<u8>]| {
        let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        lines.iter().for_each(|line| file.write_all(line).unwrap());
    };
    while left.len() > 0 {
        let running = Running::start(command().args(args(1 + draws.below(3), &[])).stdout(Stdio::null()));
        for _ in 0..1 + draws.below(6) {
            let some: Vec<_> = left.by_ref().take(draws.below(120)).collect();
            append(&some);
            std::thread::sleep(Duration::from_millis(draws.below(60) as u64));
            if draws.below(4) == 0 && log.exists() {
                rotations += 1;
                rotate(&log, rotations, false);
            }
        }
        drop(running);
        if draws.below(2) == 0 && log.exists() {
            // While nobody looks.
            rotations += 1;
            rotate(&log, rotations, false);
        }
    }
    let last = args(2, &["--trigger", "once"]);
    let answer = run(&last.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    let oracle = run(&["run", "access-log", &place.whole(), "--sink", "jsonl:-?at=end"]).exits(0);
    assert_eq!(views(answer.text()), views(oracle.text()), "after {rotations} rotations");
    assert!(rotations > 3, "{rotations}");
}

/// Puts `log` aside, and compresses it if `compress` says so, as logrotate does.
fn rotate(log: &Path, number: usize, compress: bool) {
    let aside = log.with_extension(format!("log.{number}"));
    std::fs::rename(log, &aside).unwrap();
    if compress && number > 1 {
        // The one before: `delaycompress`.
        let before = log.with_extension(format!("log.{}", number - 1));
        if before.exists() {
            let status = std::process::Command::new("gzip").arg(&before).status().unwrap();
            assert!(status.success(), "gzip {before:?}");
        }
    }
}

#[test]
fn what_came_by_a_pipe_is_counted_once_and_what_was_shown_is_not_lost() {
    let (place, mut draws) = (Place::new(), Draws::new(6));
    let state = place.text("state");
    let args = |out: &str, workers: usize, more: &[&str]| {
        let mut args = strings(&["run", "word-count", "-", "--state", &state, "--tick", "3ms"]);
        args.extend(strings(&["--sink", out, "--snapshot-every", "25ms", "-w", &workers.to_string()]));
        args.extend(strings(more));
        args
    };
    let mut shown = BTreeSet::new();
    let rounds = 15;
    for round in 0..rounds {
        let out = place.path(&format!("out{round}"));
        let sink = format!("jsonl:{}?mode=update", out.display());
        let mut running = Running::start(
            command()
                .args(args(&sink, 1 + draws.below(3), &[]))
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        let mut stdin = running.stdin();
        for batch in 0..1 + draws.below(40) {
            let lines: String = (0..50).map(|line| format!("r{round}b{batch}l{line}\n")).collect();
            if stdin.write_all(lines.as_bytes()).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(draws.below(8) as u64));
        }
        // Some are killed when something has been shown, however slow everything is.
        while round % 5 == 0 && std::fs::read(&out).unwrap_or_default().is_empty() {
            assert!(!running.has_ended(), "round {round}: it has ended by itself");
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(running);
        let mut written = std::fs::read(&out).unwrap_or_default();
        // The last line may be cut off.
        written.truncate(written.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        shown.extend(words(&written).into_iter().map(|(word, _)| word));
    }
    let last = args("jsonl:-?mode=complete&at=end", 2, &[]);
    let answer = run(&last.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    let counted = counted_once(&answer.stdout, &shown);
    // Of each run, what was counted is what was written first.
    for round in 0..rounds {
        let of: Vec<_> = counted.iter().filter(|word| word.starts_with(&format!("r{round}b"))).collect();
        let whole = of.len() / 50;
        let expected =
            (0..whole).flat_map(|batch| (0..50).map(move |line| format!("r{round}b{batch}l{line}")));
        let missing: Vec<_> = expected.filter(|word| !counted.contains(word)).collect();
        assert!(missing.is_empty(), "round {round}: {missing:?} of {}", of.len());
    }
}

/// What was read shortly before a kill is in no snapshot: it is found again by what the journal remembers of it.
#[test]
fn what_was_compressed_before_there_was_a_snapshot_is_found_again() {
    let place = Place::new();
    let (log, state, out) = (place.path("a.log"), place.text("state"), place.path("out"));
    let pattern = format!("file:{}?follow", place.text("a.log*"));
    let args = |sink: &str, more: &[&str]| {
        let args = ["run", "access-log", "--source", &pattern, "--state", &state, "--tick", "5ms"];
        let args = [&args[..], &["--snapshot-every", "1h", "--sink", sink], more].concat();
        strings(&args)
    };
    // It is empty as it is found: what it begins with says nothing.
    let mut file = File::create(&log).unwrap();
    let sink = format!("jsonl:{}?mode=update", out.display());
    let running = Running::start(command().args(args(&sink, &[])).stdout(Stdio::null()));
    let has_shown = |text: &str| {
        let begun = std::fs::read_to_string(&out).unwrap_or_default();
        begun.contains(text)
    };
    while !has_shown("\"lines\":0") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (some, others) = place.lines.split_at(700);
    file.write_all(&some.concat()).unwrap();
    while !has_shown("\"lines\":700") {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(running);
    let aside = place.path("a.log.1");
    std::fs::rename(&log, &aside).unwrap();
    std::fs::write(&log, others.concat()).unwrap();
    let status = std::process::Command::new("gzip").arg(&aside).status().unwrap();
    assert!(status.success() && !aside.exists());
    let last = args("jsonl:-?at=end", &["--trigger", "once", "-w", "2"]);
    let answer = run(&last.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    let oracle = run(&["run", "access-log", &place.whole(), "--sink", "jsonl:-?at=end"]).exits(0);
    assert_eq!(views(answer.text()), views(oracle.text()));
}

/// A compressed file is read to its end at once, and may have another name when it has to be read again.
#[test]
fn what_has_ended_before_there_was_a_snapshot_is_found_under_its_new_name() {
    let place = Place::new();
    let (log, state, out) = (place.path("a.log"), place.text("state"), place.path("out"));
    let pattern = format!("file:{}?follow", place.text("a.log*"));
    let (some, others) = place.lines.split_at(700);
    std::fs::write(place.path("a.log.1"), some.concat()).unwrap();
    let status = std::process::Command::new("gzip").arg(place.path("a.log.1")).status().unwrap();
    assert!(status.success());
    std::fs::write(&log, others.concat()).unwrap();
    let args = ["run", "access-log", "--source", &pattern, "--state", &state, "--tick", "5ms"];
    let args = [&args[..], &["--snapshot-every", "1h", "--sink"]].concat();
    let sink = format!("jsonl:{}?mode=update", out.display());
    let running = Running::start(command().args(&args).arg(&sink).stdout(Stdio::null()));
    while !std::fs::read_to_string(&out).unwrap_or_default().contains("\"lines\":2000") {
        std::thread::sleep(Duration::from_millis(5));
    }
    // It is at its end a moment later.
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(&place.lines[0]).unwrap();
    while !std::fs::read_to_string(&out).unwrap().contains("\"lines\":2001") {
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(running);
    std::fs::rename(place.path("a.log.1.gz"), place.path("a.log.2.gz")).unwrap();
    std::fs::rename(&log, place.path("a.log.1")).unwrap();
    let answer = run(&[&args[..], &["jsonl:-?at=end", "--trigger", "once"]].concat()).exits(0);
    std::fs::write(place.path("whole.log"), [&place.lines.concat()[..], &place.lines[0]].concat()).unwrap();
    let oracle = run(&["run", "access-log", &place.text("whole.log"), "--sink", "jsonl:-?at=end"]).exits(0);
    assert_eq!(views(answer.text()), views(oracle.text()));
}

#[test]
fn two_processes_and_one_take_turns() {
    let (place, mut draws) = (Place::new(), Draws::new(7));
    let (whole, state) = (place.whole(), place.text("state"));
    let base = |more: &[&str]| {
        let mut args = strings(&["run", "access-log", &whole, "--state", &state, "--sink", "jsonl:-?at=end"]);
        args.extend(strings(&["--epoch-bytes", "8KiB", "--chunk-bytes", "1KiB", "--snapshot-every", "20ms"]));
        args.extend(strings(more));
        args
    };
    for round in 0..8 {
        if round % 3 == 2 {
            let args = base(&["-w", &(1 + draws.below(3)).to_string()]);
            kill_after(&args, life(&mut draws), Stdio::null());
            continue;
        }
        let ports = free_ports(2);
        let hosts = place.path("hosts");
        std::fs::write(&hosts, format!("127.0.0.1:{}\n127.0.0.1:{}\n", ports[0], ports[1])).unwrap();
        let process = |process: &str| {
            let args = base(&["-n", "2", "-p", process, "-w", "2", "-h", hosts.to_str().unwrap()]);
            Running::start(command().args(args).stdout(Stdio::null()).stderr(Stdio::null()))
        };
        let both = [process("0"), process("1")];
        std::thread::sleep(Duration::from_millis(100) + life(&mut draws));
        drop(both);
    }
    let last = base(&["-w", "2"]);
    let answer = run(&last.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    let oracle = run(&["run", "access-log", &whole, "--sink", "jsonl:-?at=end"]).exits(0);
    assert_eq!(views(answer.text()), views(oracle.text()));
}

#[test]
fn each_night_counts_each_line_once() {
    let place = Place::new();
    let log = place.path("a.log");
    let (pattern, state) = (format!("{}*", log.display()), place.text("state"));
    let nightly = ["run", "access-log", "--follow", &pattern, "--trigger", "once", "--state", &state];
    let nightly = [&nightly[..], &["--sink", "jsonl:-?at=end"]].concat();
    let days = place.lines.chunks(place.lines.len().div_ceil(7));
    let mut so_far = Vec::new();
    for (day, lines) in days.enumerate() {
        let mut file = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let (before, after) = lines.split_at(lines.len() / 3);
        before.iter().for_each(|line| file.write_all(line).unwrap());
        if day > 0 {
            rotate(&log, day, true);
            file = File::create(&log).unwrap();
        }
        after.iter().for_each(|line| file.write_all(line).unwrap());
        so_far.extend(lines.concat());
        let answer = run(&nightly).exits(0);
        std::fs::write(place.path("so-far.log"), &so_far).unwrap();
        let oracle =
            run(&["run", "access-log", &place.text("so-far.log"), "--sink", "jsonl:-?at=end"]).exits(0);
        assert_eq!(views(answer.text()), views(oracle.text()), "day {day}");
        // Once more the same night: nothing is counted again.
        let again = run(&nightly).exits(0);
        assert_eq!(views(again.text()), views(oracle.text()), "day {day}, again");
    }
}

#[test]
fn state_of_something_else_is_refused() {
    let place = Place::new();
    let (whole, state) = (place.whole(), place.text("state"));
    run(&["run", "log-stats", &whole, "--state", &state, "--sink", "jsonl:-?at=end"]).exits(0);
    let other = run(&["run", "access-log", &whole, "--state", &state]).exits(2);
    other.says(&["is of dataflow `log-stats`, and this is `access-log`", "--reset"]);
    let rules = run(&["run", "log-stats", &whole, "--state", &state, "--length", "60s"]).exits(2);
    rules.says(&["length was 30s, is 1m"]);
    let source = ["run", "log-stats", "--source", "tcp://127.0.0.1:9", "--state", &state];
    run(&source).exits(2).says(&["came of other sources", "tcp://127.0.0.1:9"]);
    // What was refused has changed nothing.
    let same = run(&["run", "log-stats", &whole, "--state", &state, "--sink", "jsonl:-?at=end"]).exits(0);
    let oracle = run(&["run", "log-stats", &whole, "--sink", "jsonl:-?at=end"]).exits(0);
    assert_eq!(views(same.text()), views(oracle.text()));
    let reset = ["run", "log-stats", &whole, "--state", &state, "--length", "60s", "--reset"];
    run(&reset).exits(0);
}

/// A run that was killed when it had sealed epochs of a file and made no snapshot of them, and the command of it.
fn sealed(place: &Place, workers: &str, epoch: &str) -> (String, Vec<String>) {
    let (whole, state) = (place.whole(), place.text("state"));
    let args = ["run", "access-log", &whole, "--state", &state, "--epoch-bytes", epoch, "--chunk-bytes"];
    let args = strings(&[&args[..], &["1KiB", "--snapshot-every", "1h", "-w", workers]].concat());
    let mut running = Running::start(command().args(&args).args(["--log", "info"]).stdout(Stdio::null()));
    let journal = place.path("state/journal");
    let sealed = || {
        let logs = journal.read_dir().into_iter().flatten();
        logs.into_iter().any(|log| std::fs::read(log.unwrap().path()).unwrap().contains(&b'\n'))
    };
    while !sealed() {
        assert!(!running.has_ended(), "it ended before it could be killed");
        std::thread::yield_now();
    }
    drop(running);
    (whole, args)
}

/// What is missing of what was to be read again is an error, or is counted if that is wanted: then what is there is what counts.
#[test]
fn what_has_gone_is_an_error_or_is_counted() {
    for workers in ["1", "2"] {
        let cut = |whole: &str| {
            let bytes = std::fs::read(whole).unwrap();
            let lines = bytes.split_inclusive(|byte| *byte == b'\n');
            // Less than the first epoch holds.
            std::fs::write(whole, lines.take(20).collect::<Vec<_>>().concat()).unwrap();
        };
        let gone = |whole: &str| std::fs::remove_file(whole).unwrap();
        let ways: [(&dyn Fn(&str), usize); 2] = [(&cut, 20), (&gone, 0)];
        for (lose, left) in ways {
            let place = Place::new();
            let (whole, args) = sealed(&place, workers, "8KiB");
            lose(&whole);
            // Something that there is has to be named.
            let other = place.path("whole.log.1");
            std::fs::write(&other, place.lines[..7].concat()).unwrap();
            let args: Vec<_> = args
                .iter()
                .map(|arg| if *arg == whole { format!("{whole}*") } else { arg.clone() })
                .collect();
            let args: Vec<_> = args.iter().map(String::as_str).collect();
            let failed = run(&args);
            assert_eq!(failed.code, Some(3), "{}", failed.stderr);
            failed.says(&["whole.log", "--on-data-loss=continue"]);
            let more = ["--on-data-loss", "continue", "--sink", "jsonl:-?at=end", "--summary", "json"];
            let ended = run(&[&args[..], &more].concat()).exits(0).says(&["whole.log"]);
            let summary: serde_json::Value =
                serde_json::from_str(ended.stderr.lines().find(|line| line.starts_with('{')).unwrap())
                    .unwrap();
            let lost = summary["sources"][0]["lost"].as_u64().unwrap();
            assert!(lost > 0, "{summary}");
            let all = [&place.lines[..left], &place.lines[..7]].concat().concat();
            let left = place.path("left.log");
            std::fs::write(&left, all).unwrap();
            let oracle =
                run(&["run", "access-log", left.to_str().unwrap(), "--sink", "jsonl:-?at=end"]).exits(0);
            assert_eq!(views(ended.text()), views(oracle.text()), "{workers} workers, {}", ended.stderr);
        }
    }
}

#[test]
fn a_file_that_has_changed_is_not_read_again_in_silence() {
    let place = Place::new();
    let (whole, args) = sealed(&place, "1", "128KiB");
    let mut bytes = std::fs::read(&whole).unwrap();
    // The same length, and nothing within what tells the file from others: only the digest of its first epoch does.
    let line = 100_000 + bytes[100_000..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    bytes[line] = if bytes[line] == b'1' { b'2' } else { b'1' };
    std::fs::write(&whole, bytes).unwrap();
    let ended = run(&args.iter().map(String::as_str).collect::<Vec<_>>()).exits(3);
    ended.says(&["whole.log has changed", "--on-data-loss=continue"]);
    let taken = [&args[..], &strings(&["--on-data-loss", "continue", "--sink", "jsonl:-?at=end"])].concat();
    let ended = run(&taken.iter().map(String::as_str).collect::<Vec<_>>()).exits(0).says(&["has changed"]);
    let oracle = run(&["run", "access-log", &whole, "--sink", "jsonl:-?at=end"]).exits(0);
    assert_eq!(views(ended.text()), views(oracle.text()));
}

/// The lines of `jsonl` of these epochs, as they stand there.
fn of_epochs(jsonl: &[u8], epochs: std::ops::RangeInclusive<u64>) -> Vec<String> {
    let text = std::str::from_utf8(jsonl).unwrap();
    let of = |line: &&str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        epochs.contains(&value["epoch"].as_u64().unwrap())
    };
    text.lines().filter(of).map(str::to_owned).collect()
}

#[test]
fn epochs_are_shown_once_more_byte_for_byte() {
    let place = Place::new();
    let (whole, state, out) = (place.whole(), place.text("state"), place.path("out"));
    let sink = format!("jsonl:{}?mode=changes", out.display());
    let sizes = ["--epoch-bytes", "32KiB", "--chunk-bytes", "4KiB", "--snapshot-every", "1h"];
    let args = ["run", "log-stats", &whole, "--state", &state, "--length", "60s", "--sink", &sink, "-w", "2"];
    run(&[&args[..], &sizes[..]].concat()).exits(0);
    let written = std::fs::read(&out).unwrap();
    let again = |from: &str, to: &str, workers: &str| {
        let sink = "jsonl:-?mode=changes";
        run(&["replay", "--state", &state, "--from", from, "--to", to, "--sink", sink, "-w", workers])
    };
    let ended = again("3", "6", "1").exits(0);
    let lines: Vec<_> = ended.text().lines().map(str::to_owned).collect();
    assert!(!lines.is_empty());
    assert_eq!(lines, of_epochs(&written, 3..=6));
    assert_eq!(again("3", "6", "3").exits(0).stdout, ended.stdout, "at another number of workers");
    again("3", "100000", "1").exits(2).says(&["epochs 3 to 100000 were asked for"]);
    let none = place.text("none");
    run(&["replay", "--state", &none, "--from", "0", "--to", "1"]).exits(2).says(&["no snapshot"]);
}

#[test]
fn what_a_state_has_can_be_looked_at() {
    let place = Place::new();
    let (whole, state) = (place.whole(), place.text("state"));
    let rows_dir = format!("jsonl:{}/", place.text("rows"));
    let args =
        ["run", "access-log", &whole, "--state", &state, "--sink", "jsonl:-?at=end", "--sink", &rows_dir];
    let answer = run(&args).exits(0);
    let ls = run(&["state", "ls", &state]).exits(0);
    for text in [
        "access-log, started 1 times",
        "manifests/00000001-00000001",
        "status_counts",
        "rows",
        "sink jsonl:-?at=end: as the newest was made, it had committed all that was sealed",
        "rows/: as the newest was made, it had committed all that was sealed",
    ] {
        assert!(ls.text().contains(text), "{text} in\n{}", ls.text());
    }
    let shown = run(&["state", "show", &state, "status_counts"]).exits(0);
    assert_eq!(shown.text().lines().count(), rows(&answer.stdout, "status_counts").len());
    run(&["state", "show", &state, "nothing"]).exits(2).says(&["no door `nothing`", "status_counts"]);
    run(&["state", "verify", &state]).exits(0);
    let query = run(&["state", "duckdb", &state, "status_counts"]).exits(0);
    assert!(query.text().contains("read_parquet"), "{}", query.text());

    // A byte of a file of rows: whoever looks says so, and a run does not go on from it.
    let tables = place.path("state/tables");
    let table = tables.read_dir().unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let verified = run(&["state", "verify", &state]).exits(3);
    assert!(verified.text().contains("damaged"), "{}", verified.text());
    let ended = run(&args);
    assert!(ended.code != Some(0) && ended.stdout.is_empty(), "{}", ended.stderr);
    ended.says(&["tables/"]);
}

/// A run may end when its sinks know it, and nothing is sealed.
#[test]
fn a_run_that_has_sealed_nothing_is_gone_on_from() {
    let place = Place::new();
    let (whole, state) = (place.whole(), place.text("state"));
    let files = format!("jsonl:{}/?mode=changes", place.text("files"));
    std::fs::write(place.path("taken"), "no directory").unwrap();
    let bad = format!("csv:{}/", place.text("taken"));
    let args = ["run", "access-log", &whole, "--state", &state, "--sink", &files];
    run(&[&args[..], &["--sink", &bad]].concat()).exits(4).says(&["taken"]);
    assert!(place.path("files/_manifest").is_dir(), "the first sink was opened");
    run(&args).exits(0);
    // Another state is another run.
    run(&[&args[..], &["--reset"]].concat()).exits(4).says(&["of another run"]);
}

#[test]
fn sinks_have_each_epoch_once() {
    let (place, mut draws) = (Place::new(), Draws::new(8));
    let (whole, state) = (place.whole(), place.text("state"));
    let files = format!("jsonl:{}/?mode=changes&roll=8KiB,1h", place.text("files"));
    let args = |workers: usize| {
        let mut args = strings(&["run", "access-log", &whole, "--state", &state, "--sink", &files]);
        args.extend(strings(&["--epoch-bytes", "8KiB", "--chunk-bytes", "1KiB", "--max-open-epochs", "2"]));
        args.extend(strings(&["-w", &workers.to_string(), "--snapshot-every", "20ms"]));
        if cfg!(feature = "sqlite") {
            args.extend(["--sink".to_owned(), format!("sqlite:{}", place.text("rows.db"))]);
        }
        args
    };
    for _ in 0..12 {
        let workers = 1 + draws.below(3);
        if let Some(ended) = kill_after(&args(workers), life(&mut draws), Stdio::null()) {
            drop(ended.exits(0));
        }
    }
    let last = args(2);
    run(&last.iter().map(String::as_str).collect::<Vec<_>>()).exits(0);
    let oracle = run(&["run", "access-log", &whole, "--sink", "jsonl:-?at=end"]).exits(0);

    let mut sums = std::collections::BTreeMap::<String, i64>::new();
    let mut epochs = BTreeSet::new();
    let view = place.path("files/view=status_counts");
    for file in view.read_dir().unwrap() {
        for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let change: serde_json::Value = serde_json::from_str(line).unwrap();
            epochs.insert(change["epoch"].as_u64().unwrap());
            *sums.entry(change["row"].to_string()).or_default() += change["diff"].as_i64().unwrap();
        }
    }
    sums.retain(|_, sum| *sum != 0);
    let expected = rows(&oracle.stdout, "status_counts");
    let expected = expected.iter().map(|row| (row.to_string(), 1)).collect();
    assert_eq!(sums, expected);
    assert!(epochs.len() > 3, "{epochs:?}");

    #[cfg(feature = "sqlite")]
    {
        let connection = rusqlite::Connection::open(place.path("rows.db")).unwrap();
        let mut query =
            connection.prepare("SELECT status, count FROM status_counts ORDER BY status").unwrap();
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let mut stored: Vec<_> = query.query_map([], row).unwrap().map(Result::unwrap).collect();
        let expected = rows(&oracle.stdout, "status_counts");
        let pair =
            |row: &serde_json::Value| (row["status"].as_i64().unwrap(), row["count"].as_i64().unwrap());
        let mut expected: Vec<_> = expected.iter().map(pair).collect();
        stored.sort_unstable();
        expected.sort_unstable();
        assert_eq!(stored, expected);
    }
}

/// What sinks were shown of an end is not taken back: whoever goes on behind it is told.
#[test]
fn a_run_that_goes_on_behind_an_end_says_so() {
    let place = Place::new();
    let (whole, state, rows) = (place.whole(), place.text("state"), format!("jsonl:{}/", place.text("rows")));
    for (dataflow, sink, says) in [
        ("log-stats", rows.as_str(), true),
        ("log-stats", "jsonl:-", false),
        ("access-log", rows.as_str(), false),
    ] {
        let state = format!("{state}-{dataflow}-{}", sink.len());
        let sink = if dataflow == "access-log" {
            format!("{}2/", sink.trim_end_matches('/'))
        } else {
            sink.to_owned()
        };
        let args = ["run", dataflow, &whole, "--state", &state, "--sink", &sink];
        run(&args).exits(0);
        let again = run(&args).exits(0);
        let said = again.stderr.contains("the last run had come to the end of its input");
        assert_eq!(said, says, "{dataflow} into {sink}: {}", again.stderr);
    }
}
