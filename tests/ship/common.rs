//! Shippers, and what they ship.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Running, command};

/// A shipper of `sources` to `sink`.
pub fn ship(sources: &[&str], sink: &str, args: &[&str]) -> Command {
    let mut command = command();
    command.args(["ship", "--summary", "json", "--poll", "50ms"]).args(args).args(sources).arg(sink);
    // The default place of offsets is one that nobody else has.
    command.env_remove("STATE_DIRECTORY");
    command
}

/// Ships what there is of `sources`, and returns the summary.
#[track_caller]
pub fn ship_all(sources: &[&str], sink: &str, args: &[&str]) -> serde_json::Value {
    let mut command = ship(sources, sink, args);
    Running::start(command.arg("--until-caught-up")).wait().exits(0).summary()
}

/// Something that writes a log: lines of its name, the number of the file, and a number.
pub struct Logger {
    pub name: &'static str,
    pub path: PathBuf,
    pub file: File,
    /// How many lines there are in each file, of which the last is written to.
    pub files: Vec<usize>,
}

impl Logger {
    pub fn new(directory: &Path, name: &'static str) -> Self {
        let path = directory.join(format!("{name}.log"));
        Logger { name, file: Self::open(&path), path, files: vec![0] }
    }

    fn open(path: &Path) -> File {
        OpenOptions::new().append(true).create(true).open(path).unwrap()
    }

    /// Opens the log anew, as servers do after a rotation.
    pub fn reopen(&mut self) {
        self.file = Self::open(&self.path);
        self.files.push(0);
    }

    pub fn log(&mut self, lines: usize) {
        let (number, count) = (self.files.len(), self.files.last_mut().unwrap());
        let from = *count;
        *count += lines;
        let text: String = (from..*count).map(|line| format!("{}-{number} {line}\n", self.name)).collect();
        self.file.write_all(text.as_bytes()).unwrap();
    }

    /// How many lines there are in all files.
    pub fn count(&self) -> usize {
        self.files.iter().sum()
    }

    /// The files, and how many lines each has.
    pub fn counts(&self) -> Vec<(String, usize)> {
        (1..).zip(&self.files).map(|(number, count)| (format!("{}-{number}", self.name), *count)).collect()
    }

    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}
