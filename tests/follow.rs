//! Files that are followed, whatever becomes of them: nothing is lost, and nothing is read twice.
//!
//! Rotations are made by the real `logrotate`, under load.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod support;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use thalweg::runtime::now;
use thalweg::source::{
    Finder, FollowFrom, FollowSource, Found, Pool, ReadOptions, Reader, Share, Source, Step,
};

/// How long a wait may take before it counts as hanging.
const DEADLINE: Duration = Duration::from_secs(60);

/// A run's side of a source: it opens what is found, and reads what there is.
struct Follower {
    source: FollowSource,
    finder: Box<dyn Finder>,
    readers: Vec<(Found, Box<dyn Reader>)>,
    pool: Pool,
    lines: Vec<String>,
    /// How many partitions there have been.
    found: usize,
    woken: Arc<AtomicUsize>,
}

impl Follower {
    fn new(pattern: &str) -> Self {
        Self::from(pattern, FollowFrom::Beginning)
    }

    fn from(pattern: &str, from: FollowFrom) -> Self {
        let source = FollowSource::new(&[pattern], from).polling(Duration::from_millis(20));
        let found = source.find().unwrap();
        let finder = source.finder().unwrap();
        let mut follower = Follower {
            source,
            finder,
            readers: Vec::new(),
            pool: Pool::default(),
            lines: Vec::new(),
            found: 0,
            woken: Arc::default(),
        };
        follower.open(found);
        follower
    }

    fn open(&mut self, found: Vec<Found>) {
        for found in found {
            let woken = Arc::clone(&self.woken);
            let wake = Arc::new(move || {
                woken.fetch_add(1, Ordering::Relaxed);
            });
            let share = Share { worker: 0, peers: 1 };
            let options = ReadOptions { chunk_bytes: 4096, ..ReadOptions::default() };
            let reader = self.source.open(&found, 0, share, options, wake).unwrap();
            self.readers.push((found, reader));
            self.found += 1;
        }
    }

    /// Looks for files, and reads all that there is.
    fn turn(&mut self) {
        let found = self.finder.wait(Duration::from_millis(1)).unwrap();
        self.open(found);
        let Follower { readers, lines, pool, .. } = self;
        readers.retain_mut(|(found, reader)| {
            loop {
                match reader.poll(u64::MAX, pool).unwrap() {
                    Step::Chunk(chunk) => {
                        lines.extend(
                            chunk.lines().map(|(_, line)| String::from_utf8_lossy(line).into_owned()),
                        );
                    }
                    Step::CaughtUp => return true,
                    Step::Ended => return false,
                    other => panic!("{other:?} of {found:?}"),
                }
            }
        });
    }

    /// Turns until `done`.
    fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let begun = now();
        while !done(self) {
            assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}; {} lines", self.lines.len());
            self.turn();
        }
    }

    /// Turns until there are so many lines, and then until all that is followed has been looked at twice more.
    #[track_caller]
    fn reads(&mut self, lines: usize) {
        self.until("the lines", |follower| follower.lines.len() >= lines);
        let begun = now();
        while begun.elapsed() < Duration::from_millis(100) {
            self.turn();
        }
        let mut twice: BTreeMap<&str, usize> = BTreeMap::new();
        self.lines.iter().for_each(|line| *twice.entry(line).or_default() += 1);
        twice.retain(|_, times| *times > 1);
        assert_eq!(self.lines.len(), lines, "read more than once: {twice:?}");
    }

    /// Holds that there is each number once, up to `count`.
    #[track_caller]
    fn has_each_once(&self, count: usize) {
        let mut times: BTreeMap<usize, usize> = (0..count).map(|number| (number, 0)).collect();
        for line in &self.lines {
            let number =
                line.rsplit(' ').next().unwrap().parse().unwrap_or_else(|_| panic!("a line `{line}`"));
            *times.entry(number).or_default() += 1;
        }
        let wrong: Vec<_> = times.iter().filter(|(_, times)| **times != 1).take(10).collect();
        assert!(wrong.is_empty(), "numbers and how often they were read: {wrong:?}, of {count}");
    }
}

/// Something that writes a log: numbered lines.
struct Logger {
    path: PathBuf,
    file: File,
    count: usize,
}

impl Logger {
    fn new(path: &Path) -> Self {
        Logger { path: path.to_owned(), file: Self::open(path), count: 0 }
    }

    fn open(path: &Path) -> File {
        OpenOptions::new().append(true).create(true).open(path).unwrap()
    }

    /// Opens the log anew, as servers do after a rotation.
    fn reopen(&mut self) {
        self.file = Self::open(&self.path);
    }

    fn log(&mut self, lines: usize) {
        let mut text = String::new();
        for _ in 0..lines {
            text += &format!("something was logged, and this is number {}\n", self.count);
            self.count += 1;
        }
        self.file.write_all(text.as_bytes()).unwrap();
    }
}

/// The real logrotate, with rules of its own.
struct Logrotate {
    directory: TempDir,
    rules: PathBuf,
}

impl Logrotate {
    fn new(rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules");
        let log = directory.path().join("app.log");
        std::fs::write(&path, format!("{} {{\n{rules}\n}}\n", log.display())).unwrap();
        Logrotate { rules: path, directory }
    }

    fn log(&self) -> PathBuf {
        self.directory.path().join("app.log")
    }

    fn rotate(&self) {
        let state = self.directory.path().join("state");
        let output =
            Command::new("/usr/sbin/logrotate").arg("-f").arg("-s").arg(state).arg(&self.rules).output();
        let output = output.expect("logrotate is installed: `apt-get install logrotate`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The command follows, too, and says in the end what it has read.
#[test]
fn a_run_that_follows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    let mut logger = Logger::new(&path);
    logger.log(100);
    let mut command = support::command();
    command.args(["run", "word-count", "--follow", path.to_str().unwrap(), "--summary", "json"]);
    command.args(["--sink", "jsonl:-?mode=changes", "--tick", "10ms", "-w", "2"]);
    let mut running = support::Running::start(&mut command);
    let lines = running.stdout_lines();
    lines.until(r#""word":"99""#);
    for round in 1..=5 {
        logger.log(100);
        std::fs::rename(&path, directory.path().join(format!("app.log.{round}"))).unwrap();
        logger.log(10);
        logger.reopen();
        logger.log(10);
        lines.until(&format!(r#""word":"{}""#, logger.count - 1));
    }
    running.signal("TERM");
    assert_eq!(running.wait().exits(0).summary()["lines"], logger.count);
}

/// So many rotations of each kind: four make a thousand.
const ROTATIONS: usize = 250;

/// Rotates under load. Each time a little is written to the old file after it was put aside, where that is possible, and what is
/// there is sometimes read at once and sometimes not.
fn rotations(rules: &str, pattern: &str, renames: bool) {
    let logrotate = Logrotate::new(rules);
    let mut logger = Logger::new(&logrotate.log());
    logger.log(10);
    let mut follower = Follower::new(&logrotate.directory.path().join(pattern).display().to_string());
    let mut files = follower.found;
    for round in 0..ROTATIONS {
        logger.log(1 + round % 7 * 40);
        if round % 3 != 0 {
            follower.turn();
        }
        if round % 5 == 0 {
            logger.log(3);
        }
        logrotate.rotate();
        if renames {
            // Whoever had it open goes on writing to it for a while.
            logger.log(round % 4);
            logger.reopen();
        }
        // What has no line cannot be told from what it was before.
        logger.log(if renames { round % 3 } else { 1 + round % 3 });
        // There is a look between two rotations.
        let count = logger.count;
        let is_known = |it: &Follower| it.lines.len() >= count && it.found > files;
        follower.until("the lines of a rotation", is_known);
        files = follower.found;
    }
    follower.reads(logger.count);
    follower.has_each_once(logger.count);
    // What is put aside does not stay open for ever.
    follower.until("the end of what was put aside", |follower| follower.readers.len() <= 8);
}

#[test]
fn a_log_that_is_renamed_and_created_anew() {
    rotations("rotate 3\ncreate\nnocompress", "app.log", true);
}

#[test]
fn a_log_whose_rotations_match_the_pattern_too() {
    rotations("rotate 3\ncreate\nnocompress", "app.log*", true);
}

#[test]
fn a_log_that_is_copied_and_emptied() {
    rotations("rotate 3\ncopytruncate\nnocompress", "app.log", false);
}

#[test]
fn a_log_that_is_copied_emptied_and_compressed_under_a_pattern_that_matches_all() {
    rotations("rotate 3\ncopytruncate\ncompress", "app.log*", false);
}

#[test]
fn a_log_that_is_deleted_and_created_again_often_with_the_same_inode() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    let mut logger = Logger::new(&path);
    let mut follower = Follower::new(&path.display().to_string());
    for round in 0..100 {
        logger.log(1 + round % 5);
        let count = logger.count;
        follower.until("the lines", |follower| follower.lines.len() >= count);
        std::fs::remove_file(&path).unwrap();
        if round % 2 == 0 {
            // To the file that has no name any more.
            logger.log(2);
        }
        logger.reopen();
    }
    logger.log(1);
    follower.reads(logger.count);
    follower.has_each_once(logger.count);
}

#[test]
fn a_line_waits_for_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    std::fs::write(&path, "one\ntw").unwrap();
    let mut follower = Follower::new(&path.display().to_string());
    follower.reads(1);
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(b"o\nthree").unwrap();
    follower.reads(2);
    // With the end of the file, it is one.
    drop(file);
    std::fs::remove_file(&path).unwrap();
    follower.reads(3);
    assert_eq!(follower.lines, ["one", "two", "three"]);
    assert!(follower.readers.is_empty());
}

#[test]
fn files_that_come_are_taken_in_and_what_was_there_may_be_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("a.log"), "before\nand bef").unwrap();
    let pattern = directory.path().join("*.log").display().to_string();
    let mut follower = Follower::from(&pattern, FollowFrom::End);
    follower.turn();
    std::fs::write(path("b.log"), "of b\n").unwrap();
    std::fs::write(path("c.txt"), "of none\n").unwrap();
    // The rest of a line that was begun before is none.
    OpenOptions::new().append(true).open(path("a.log")).unwrap().write_all(b"ore\nafter\n").unwrap();
    follower.reads(2);
    follower.lines.sort();
    assert_eq!(follower.lines, ["after", "of b"]);
}

#[test]
fn files_that_only_begin_alike_are_read_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let header = "level,time,text\n".repeat(100);
    std::fs::write(path("a.log"), format!("{header}of a\n")).unwrap();
    let mut follower = Follower::new(&directory.path().join("*.log").display().to_string());
    follower.reads(101);
    std::fs::write(path("b.log"), &header).unwrap();
    follower.turn();
    OpenOptions::new().append(true).open(path("b.log")).unwrap().write_all(b"of b\n").unwrap();
    follower.reads(202);
    assert_eq!(follower.found, 2);
}

/// Quiet files are not polled: their readers say that there is nothing without asking the system.
#[test]
fn a_wait_ends_when_something_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("app.log");
    let mut logger = Logger::new(&path);
    logger.log(1);
    let mut follower = Follower::new(&path.display().to_string());
    follower.reads(1);
    let woken = follower.woken.load(Ordering::Relaxed);
    logger.log(1);
    let begun = now();
    while follower.woken.load(Ordering::Relaxed) == woken {
        assert!(begun.elapsed() < DEADLINE, "nobody says that there is more");
        std::thread::yield_now();
    }
    follower.reads(2);
}
