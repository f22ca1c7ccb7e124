//! `thalweg ship` through the real binary: every line arrives, those of a file in order, whatever
//! becomes of the shipper, of the receiver and of the files.
//!
//! - `receiver`: what the tests receive with, and how they look at what has arrived.
//! - `files`: files that are followed, shippers that are killed, logrotate, the file of offsets.
//! - `ends`: standard input, signals, rates, receivers that are away.
//! - `apache`: the real Apache pipes its log, and is reloaded and restarted under load.
//! - `kafka`: the same to clusters, with the cargo feature.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

#[path = "ship/apache.rs"]
mod apache;
#[allow(dead_code, clippy::disallowed_methods, reason = "not all of it is used here, and deadlines are")]
mod cluster_support;
#[path = "ship/ends.rs"]
mod ends;
#[path = "ship/files.rs"]
mod files;
#[cfg(feature = "kafka")]
#[path = "ship/kafka.rs"]
mod kafka;
#[path = "ship/receiver.rs"]
mod receiver;
#[allow(dead_code, reason = "not all servers are used with every set of features")]
mod services;
mod support;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Running, command};

/// A shipper of `sources` to `sink`.
fn ship(sources: &[&str], sink: &str, args: &[&str]) -> Command {
    let mut command = command();
    command.args(["ship", "--summary", "json", "--poll", "50ms"]).args(args).args(sources).arg(sink);
    // The default place of offsets is one that nobody else has.
    command.env_remove("STATE_DIRECTORY");
    command
}

/// Ships what there is of `sources`, and returns the summary.
#[track_caller]
fn ship_all(sources: &[&str], sink: &str, args: &[&str]) -> serde_json::Value {
    let mut command = ship(sources, sink, args);
    Running::start(command.arg("--until-caught-up")).wait().exits(0).summary()
}

/// Something that writes a log: lines of its name, the number of the file, and a number.
struct Logger {
    name: &'static str,
    path: PathBuf,
    file: File,
    /// How many lines there are in each file, of which the last is written to.
    files: Vec<usize>,
}

impl Logger {
    fn new(directory: &Path, name: &'static str) -> Self {
        let path = directory.join(format!("{name}.log"));
        Logger { name, file: Self::open(&path), path, files: vec![0] }
    }

    fn open(path: &Path) -> File {
        OpenOptions::new().append(true).create(true).open(path).unwrap()
    }

    /// Opens the log anew, as servers do after a rotation.
    fn reopen(&mut self) {
        self.file = Self::open(&self.path);
        self.files.push(0);
    }

    fn log(&mut self, lines: usize) {
        let (number, count) = (self.files.len(), self.files.last_mut().unwrap());
        let from = *count;
        *count += lines;
        let text: String = (from..*count).map(|line| format!("{}-{number} {line}\n", self.name)).collect();
        self.file.write_all(text.as_bytes()).unwrap();
    }

    /// How many lines there are in all files.
    fn count(&self) -> usize {
        self.files.iter().sum()
    }

    /// The files, and how many lines each has.
    fn counts(&self) -> Vec<(String, usize)> {
        (1..).zip(&self.files).map(|(number, count)| (format!("{}-{number}", self.name), *count)).collect()
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}
