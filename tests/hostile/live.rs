//! Runs that are watched, signalled, blocked and cut off while they go on.
//!
//! A run is held still without a clock: it writes changes to standard output, nobody reads them, and when the pipe is
//! full it waits. What is to happen in the middle of a run happens then.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use thalweg::runtime::now;

use crate::support::{Running, command, rows, run, uri};

/// What "at once" may take at most, on a machine that has other things to do.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Starts `dataflow` on a pipe that stays open.
fn live(dataflow: &str, args: &[&str]) -> Running {
    let mut command = command();
    command.args(["run", dataflow, "--source", "stdin:"]).args(args).stdin(Stdio::piped());
    Running::start(&mut command)
}

fn row(line: &str) -> Value {
    serde_json::from_str::<Value>(line).expect("jsonl")["row"].take()
}

#[test]
fn lines_show_while_the_pipe_is_open() {
    let mut running = live("word-count", &["--sink", "jsonl:-?mode=changes", "--tick", "50ms"]);
    let (mut stdin, shown) = (running.stdin(), running.stdout_lines());
    for count in 1..=3 {
        // What has not ended is no line yet, or `li` would be a word.
        stdin.write_all(b"li").expect("it reads");
        stdin.write_all(b"ve\n").expect("it reads");
        assert_eq!(row(&shown.until(r#""diff":1"#)), word("live", count));
    }
    stdin.write_all(b"tail").expect("it reads");
    drop(stdin);
    assert_eq!(row(&shown.until(r#""diff":1"#)), word("tail", 1), "at the end, it is a line");
    running.wait().exits(0);
    assert_eq!(shown.rest(), [""; 0]);
}

#[test]
fn a_console_on_a_live_input_shows_each_change() {
    let mut running = live("word-count", &["--tick", "20ms"]);
    let (mut stdin, shown) = (running.stdin(), running.stdout_lines());
    for word in ["first", "second"] {
        writeln!(stdin, "{word}").expect("it reads");
        shown.until(word);
    }
    drop(stdin);
    running.wait().exits(0);
}

#[test]
fn a_signal_ends_a_live_run_in_order() {
    for (signal, workers) in [("INT", "1"), ("TERM", "2")] {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("last.jsonl");
        let last = uri("jsonl", &path, "?mode=complete&at=end");
        let sinks = ["--sink", "jsonl:-?mode=changes", "--sink", &last];
        let mut running = live(
            "word-count",
            &[&["--tick", "20ms", "-w", workers, "--summary", "json"], &sinks[..]].concat(),
        );
        let (mut stdin, shown) = (running.stdin(), running.stdout_lines());
        stdin.write_all(b"one two\ntwo\nnot a whole line").expect("it reads");
        shown.until(r#""two""#);

        let asked = now();
        running.signal(signal);
        let ended = running.wait().exits(0);
        assert!(now() - asked < AT_ONCE, "SIG{signal} is heard at once");
        assert_eq!(ended.summary()["lines"], 2, "whole lines were read");
        let words = fs::read(&path).expect("the last state is written");
        assert_eq!(rows(&words, "words"), [word("two", 2), word("one", 1)]);
        drop(stdin);
    }
}

#[test]
fn a_signal_loses_no_line_that_was_taken_from_the_pipe() {
    for workers in ["1", "2"] {
        let (input, mut output) = std::io::pipe().expect("a pipe");
        let mut rest = input.try_clone().expect("another end of it");
        let mut command = command();
        let args =
            ["--source", "stdin:", "--sink", "jsonl:-?mode=changes", "--tick", "20ms", "--summary", "json"];
        command.args(["run", "word-count"]).args(args).args(["-w", workers]).stdin(input);
        let mut running = Running::start(&mut command);
        drop(command);
        let shown = running.stdout_lines();
        // Somebody writes all the while, as fast as the pipe takes it.
        let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let case = std::sync::Arc::clone(&over);
        let writing = std::thread::spawn(move || {
            let mut written = 0;
            while !case.load(std::sync::atomic::Ordering::SeqCst) {
                output.write_all(&b"w\n".repeat(1000)).expect("somebody holds the other end");
                written += 2000;
            }
            written
        });
        shown.until(r#""diff":1"#);
        running.signal("TERM");
        let lines = running.wait().exits(0).summary()["lines"].as_u64().expect("a number");
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        // What was not taken is in the pipe still, or not yet in it.
        let mut left = Vec::new();
        rest.read_to_end(&mut left).expect("the writer ends");
        let taken = writing.join().expect("it wrote") - left.len() as u64;
        assert_eq!(lines, taken / 2, "of {taken} bytes that were taken, with {workers} workers");
    }
}

#[test]
fn a_signal_before_the_first_line_ends_a_live_run_in_order() {
    let sink = ["--sink", "jsonl:-?mode=changes", "--tick", "20ms", "--summary", "json"];
    let mut running = live("access-log", &sink);
    let (stdin, shown) = (running.stdin(), running.stdout_lines());
    // Epochs end without a line, and the first shows the rows that are always there.
    shown.until(r#"{"lines":0,"#);
    running.signal("TERM");
    assert_eq!(running.wait().exits(0).summary()["lines"], 0);
    drop(stdin);
}

fn word(word: &str, count: u64) -> Value {
    serde_json::json!({ "word": word, "count": count })
}

/// A file with so many lines that their changes are far more than fit in a pipe.
fn large(dir: &Path) -> (std::path::PathBuf, u64) {
    let path = dir.join("large.log");
    let lines: String = (0..40_000).map(|n| format!("error number {n} of a great many\n")).collect();
    fs::write(&path, &lines).expect("written");
    (path, lines.len() as u64)
}

/// Starts to write the lines of `source` to standard output, and returns when the first byte has come.
///
/// The run is under way then, and cannot get past its first epoch: what it writes of one is more than the pipe and its
/// own buffer hold (64 KiB each).
fn blocked(source: &Path, workers: &str) -> (Running, Vec<u8>, std::process::ChildStdout) {
    let mut command = command();
    let source = uri("file", source, "");
    command.args([
        "run",
        "error-lines",
        "--source",
        &source,
        "--sink",
        "jsonl:-?mode=changes",
        "-w",
        workers,
    ]);
    command.args(["--epoch-bytes", "64KiB", "--chunk-bytes", "16KiB", "--log", "info"]);
    let mut running = Running::start(&mut command);
    let mut stdout = running.stdout();
    let mut first = vec![0];
    stdout.read_exact(&mut first).expect("a first byte comes");
    (running, first, stdout)
}

#[test]
fn a_signal_ends_a_bounded_run_after_a_whole_epoch() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, _) = large(dir.path());
    for workers in ["1", "2"] {
        let (mut running, mut shown, mut stdout) = blocked(&path, workers);
        let said = running.stderr_lines();
        running.signal("INT");
        said.until("ending in order");
        stdout.read_to_end(&mut shown).expect("the rest can be read");
        running.wait().exits(0);

        let args = ["--epoch-bytes", "64KiB", "--chunk-bytes", "16KiB", "--sink", "jsonl:-?mode=changes"];
        let whole =
            run(&[&["run", "error-lines", "--source", &uri("file", &path, "")], &args[..]].concat()).stdout;
        assert!(shown.len() < whole.len(), "it ended early");
        assert!(whole.starts_with(&shown), "what it showed is the beginning of what it would have shown");
        let epoch = |line: &[u8]| serde_json::from_slice::<Value>(line).expect("jsonl")["epoch"].clone();
        let next = whole[shown.len()..].split(|byte| *byte == b'\n').next().expect("a line");
        let last = shown.split(|byte| *byte == b'\n').rev().nth(1).expect("a line");
        assert_ne!(epoch(next), epoch(last), "the last epoch is whole");
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, _) = large(dir.path());
    let (mut running, _, stdout) = blocked(&path, "1");
    let said = running.stderr_lines();
    running.signal("INT");
    // Signals that come together are one: the time for that must have passed.
    said.until("a second signal ends at once");
    running.signal("INT");
    said.until("ended by a second signal");
    running.wait().exits(130);
    drop(stdout);
}

#[test]
fn a_file_that_shrinks_ends_the_run_with_3_and_says_where() {
    let dir = tempfile::tempdir().expect("a directory");
    let (path, length) = large(dir.path());
    for workers in ["1", "2"] {
        fs::copy(&path, dir.path().join("shrinking.log")).expect("copied");
        let path = dir.path().join("shrinking.log");
        let (running, _, mut stdout) = blocked(&path, workers);
        let file = fs::File::options().write(true).open(&path).expect("opened");
        file.set_len(0).expect("truncated");
        stdout.read_to_end(&mut Vec::new()).expect("the rest can be read");
        let expected = format!("had {length} bytes");
        running.wait().exits(3).says(&["shrinking.log has shrunk", "ended at byte ", &expected, "hint: "]);
    }
}
