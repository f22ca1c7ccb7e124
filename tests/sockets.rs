//! Live lines through the real binary: from servers that it connects to, from clients that connect to it, and made up.
//!
//! - `connect`: `tcp://`, against the real `nc` as the lessons use it, and servers that come and go.
//! - `listen`: `tcp-listen://`: many clients, idle ones, too many, and junk.
//! - `tls`, `tls_servers`: both by TLS, against the real `openssl`, `ncat` and `socat`, with authorities that `certificates` founds.
//! - `rate`: `rate:`.
//!
//! Nothing here sleeps: a test waits for what a run shows.

#[cfg(feature = "tls")]
#[path = "sockets/certificates.rs"]
mod certificates;
#[path = "sockets/connect.rs"]
mod connect;
#[path = "sockets/listen.rs"]
mod listen;
#[path = "sockets/rate.rs"]
mod rate;
mod support;
#[cfg(feature = "tls")]
#[path = "sockets/tls.rs"]
mod tls;
#[cfg(feature = "tls")]
#[path = "sockets/tls_servers.rs"]
mod tls_servers;

use std::path::Path;
use std::process::Command;

use support::{Lines, Running, command, rows, uri};

/// A `word-count` that goes on until it is told to end.
struct Counting {
    running: Running,
    shown: Lines,
    said: Lines,
    dir: tempfile::TempDir,
}

/// What a run has counted.
#[derive(Debug)]
struct Counted {
    lines: u64,
    peak_memory: u64,
    words: Vec<(String, u64)>,
}

impl Counting {
    fn start(source: &str, args: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), source, args)
    }

    /// The same, with the answer in `dir`.
    fn start_in(dir: tempfile::TempDir, source: &str, args: &[&str]) -> Self {
        let running = Self::process(dir.path(), source, args);
        Self::of(dir, running)
    }

    /// One that goes on, with its answer in `dir`.
    fn of(dir: tempfile::TempDir, mut running: Running) -> Self {
        let (shown, said) = (running.stdout_lines(), running.stderr_lines());
        Counting { running, shown, said, dir }
    }

    /// One process of it.
    fn process(dir: &Path, source: &str, args: &[&str]) -> Running {
        Running::start(&mut Self::command(dir, source, args))
    }

    fn command(dir: &Path, source: &str, args: &[&str]) -> Command {
        let last = uri("jsonl", &Self::answer(dir), "?mode=complete&at=end");
        let mut command = command();
        command.args(["run", "word-count", "--source", source, "--tick", "20ms"]).args(args);
        command.args([
            "--sink",
            "jsonl:-?mode=changes",
            "--sink",
            &last,
            "--summary",
            "json",
            "--log",
            "info",
        ]);
        command
    }

    fn answer(dir: &Path) -> std::path::PathBuf {
        dir.join("words.jsonl")
    }

    /// Waits until `word` was counted `count` times.
    #[track_caller]
    fn until(&self, word: &str, count: u64) {
        loop {
            let line = self.shown.until(&format!(r#""word":"{word}""#));
            let line: serde_json::Value = serde_json::from_str(&line).expect("jsonl");
            if line["diff"].as_i64() > Some(0) && line["row"]["count"].as_u64() == Some(count) {
                return;
            }
        }
    }

    /// Ends the run in order.
    #[track_caller]
    fn end(self) -> Counted {
        self.running.signal("TERM");
        let Counting { running, said, dir, shown } = self;
        // The rest is taken, or the run would wait for it to be.
        drop(shown.rest());
        let summary = said.until("\"peak_memory\"");
        running.wait().exits(0);
        let summary: serde_json::Value = serde_json::from_str(&summary).expect("a summary");
        let words = rows(&std::fs::read(Self::answer(dir.path())).expect("the answer"), "words");
        let words = words.iter().map(|row| {
            (row["word"].as_str().expect("a word").to_owned(), row["count"].as_u64().expect("a count"))
        });
        Counted {
            lines: summary["lines"].as_u64().expect("a number"),
            peak_memory: summary["peak_memory"].as_u64().expect("a number"),
            words: words.collect(),
        }
    }
}

impl Counted {
    /// How often `word` was counted.
    fn count(&self, word: &str) -> u64 {
        self.words.iter().find(|(other, _)| other == word).map_or(0, |(_, count)| *count)
    }
}
