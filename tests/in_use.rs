//! A state that a run uses: another run is refused, and the one that is there goes on; or takes over, and the one that was there ends.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod support;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::{Ended, Lines, Running, command, rows, run};
use tempfile::TempDir;

/// A log that grows, and a state.
struct Place {
    dir: TempDir,
    lines: Vec<Vec<u8>>,
}

impl Place {
    fn new() -> Self {
        let bytes = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/access.log")).unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        Place { dir: tempfile::tempdir().unwrap(), lines }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// The log has so many lines more.
    fn grow(&mut self, lines: usize) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.path("a.log")).unwrap();
        self.lines.drain(..lines).for_each(|line| file.write_all(&line).unwrap());
    }

    fn args(&self, more: &[&str]) -> Vec<String> {
        let (log, state) = (self.text("a.log"), self.text("state"));
        let args = ["run", "access-log", "--follow", &log, "--state", &state, "--tick", "5ms"];
        let args = args.iter().chain(&["--snapshot-every", "20ms", "--sink", "jsonl:-?at=end"]);
        args.chain(more).map(ToString::to_string).collect()
    }

    /// A run that goes on, once it has the state, and what it says.
    fn start(&self, more: &[&str]) -> (Running, Lines) {
        let args = self.args(&[&["--log", "info"], more].concat());
        let mut running = Running::start(command().args(args).stdout(Stdio::null()));
        let said = running.stderr_lines();
        said.until("with the state in");
        (running, said)
    }

    /// Waits until there is a snapshot.
    fn has_snapshot(&self, running: &mut Running) {
        while self.path("state/manifests").read_dir().map_or(0, Iterator::count) == 0 {
            assert!(!running.has_ended());
            std::thread::yield_now();
        }
    }

    /// One that takes what there is, and ends.
    fn once(&self, more: &[&str]) -> Ended {
        let args = self.args(&[&["--trigger", "once"], more].concat());
        run(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// The answer is that to all lines.
    fn is_right(&self, ended: &Ended) {
        let oracle = run(&["run", "access-log", &self.text("a.log"), "--sink", "jsonl:-?at=end"]).exits(0);
        let [mut is, mut was] = [ended, &oracle].map(|ended| rows(&ended.stdout, "status_counts"));
        is.sort_by_key(ToString::to_string);
        was.sort_by_key(ToString::to_string);
        assert_eq!(is, was);
    }
}

#[test]
fn a_second_run_is_refused_and_the_first_goes_on() {
    let mut place = Place::new();
    place.grow(300);
    let (mut first, _said) = place.start(&[]);
    place.has_snapshot(&mut first);
    let process = format!("process {} on ", first.id());
    let says = ["is in use by another run", &process, ", since 20", "--take-over"];
    place.once(&[]).exits(2).says(&says);
    // Also one that would discard what is there.
    place.once(&["--reset"]).exits(2).says(&says);
    // Who only looks is not refused.
    let state = place.text("state");
    let ls = run(&["state", "ls", &state]).exits(0);
    assert!(ls.text().contains(&format!("in use: {process}")), "{}", ls.text());
    run(&["state", "verify", &state]).exits(0);
    place.grow(300);
    first.signal("TERM");
    first.wait().exits(0);
    let ls = run(&["state", "ls", &state]).exits(0);
    assert!(ls.text().contains("started 1 times") && !ls.text().contains("in use"), "{}", ls.text());
    place.is_right(&place.once(&[]).exits(0));
}

#[test]
fn what_a_killed_run_held_is_free() {
    let mut place = Place::new();
    for _ in 0..3 {
        place.grow(200);
        // When it is dropped it is killed.
        let (mut running, _said) = place.start(&[]);
        place.has_snapshot(&mut running);
    }
    place.is_right(&place.once(&[]).exits(0));
}

#[test]
fn a_run_that_takes_over_ends_the_one_that_was_there() {
    let mut place = Place::new();
    place.grow(200);
    let (mut first, said) = place.start(&[]);
    place.has_snapshot(&mut first);
    let (second, _said) = place.start(&["--take-over"]);
    let held = format!("process {} on ", second.id());
    // The one that is there now holds it, although the other is not gone.
    place.once(&[]).exits(2).says(&[&held]);
    place.grow(200);
    said.until("start 1 of this dataflow has been replaced by start 2");
    first.wait().exits(4);
    place.once(&[]).exits(2).says(&[&held]);
    place.grow(200);
    second.signal("TERM");
    second.wait().exits(0);
    // There is nobody any more.
    place.is_right(&place.once(&["--take-over"]).exits(0));
}
