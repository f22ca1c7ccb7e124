//! Directories into which files are put, by runs of the command: both of the lessons' meanings.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]

mod support;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use support::{Lines, Running, command};
use tempfile::TempDir;

/// Puts a file into `directory` as it should be: whole, by a rename.
fn put(directory: &Path, name: &str, content: &str) {
    let aside = directory.join(format!(".{name}"));
    fs::write(&aside, content).unwrap();
    fs::rename(aside, directory.join(name)).unwrap();
}

/// Makes a file so many seconds older.
fn age(path: &Path, seconds: u64) {
    let file = File::options().write(true).open(path).unwrap();
    let modified = file.metadata().unwrap().modified().unwrap();
    file.set_modified(modified - Duration::from_secs(seconds)).unwrap();
}

struct Watched {
    directory: TempDir,
    options: String,
}

impl Watched {
    fn new(options: &str) -> Self {
        Watched { directory: tempfile::tempdir().unwrap(), options: options.to_owned() }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Counts words, each change as it comes.
    fn run(&self, args: &[&str]) -> (Running, Lines) {
        let uri = format!("dir:{}?poll=20ms{}", self.path().display(), self.options);
        let mut command = command();
        command.args([
            "run",
            "word-count",
            "--source",
            &uri,
            "--sink",
            "jsonl:-?mode=changes",
            "--tick",
            "10ms",
        ]);
        let mut running = Running::start(command.args(args).stdin(Stdio::piped()));
        let lines = running.stdout_lines();
        (running, lines)
    }
}

/// The next word that is counted, and the epoch.
fn next(lines: &Lines) -> (Value, Value, Value) {
    let mut line: Value = serde_json::from_str(&lines.until(r#""diff":1"#)).unwrap();
    (line["row"]["word"].take(), line["row"]["count"].take(), line["epoch"].take())
}

fn word(lines: &Lines) -> (String, u64) {
    let (word, count, _) = next(lines);
    (word.as_str().unwrap().to_owned(), count.as_u64().unwrap())
}

fn ends(running: Running) {
    running.signal("TERM");
    running.wait().exits(0);
}

#[test]
fn what_is_there_is_read_in_order_of_its_age_and_then_what_is_put_in() {
    let watched = Watched::new("&max-files=1");
    for (name, seconds) in [("c", 30), ("a", 10), ("b", 20)] {
        put(watched.path(), name, &format!("{name}\n"));
        age(&watched.path().join(name), seconds);
    }
    put(watched.path(), ".hidden", "hidden\n");
    for workers in ["1", "2"] {
        let (running, lines) = watched.run(&["-w", workers]);
        let shown: Vec<_> = (0..3).map(|_| next(&lines)).collect();
        let words: Vec<_> = shown.iter().map(|(word, _, _)| word.clone()).collect();
        assert_eq!(words, ["c", "b", "a"]);
        assert!(
            shown[0].2.as_u64() < shown[1].2.as_u64() && shown[1].2.as_u64() < shown[2].2.as_u64(),
            "{shown:?}"
        );
        put(watched.path(), "d", "d\n");
        assert_eq!(word(&lines), ("d".to_owned(), 1));
        ends(running);
        fs::remove_file(watched.path().join("d")).unwrap();
    }
}

#[test]
fn only_what_comes_later_is_read_if_that_is_asked_for() {
    let watched = Watched::new("&existing=ignore&remember=60s");
    put(watched.path(), "before", "before\n");
    // It has listed the directory once it reads what else there is.
    let (mut running, lines) = watched.run(&["--source", "stdin:"]);
    let mut stdin = running.stdin();
    stdin.write_all(b"begun\n").unwrap();
    assert_eq!(word(&lines), ("begun".to_owned(), 1));
    let aside = watched.path().join(".old");
    fs::write(&aside, "old\n").unwrap();
    age(&aside, 3600);
    fs::rename(aside, watched.path().join("old")).unwrap();
    put(watched.path(), "new", "new\n");
    assert_eq!(word(&lines), ("new".to_owned(), 1));
    ends(running);
    assert_eq!(lines.rest(), [""; 0]);
    drop(stdin);
}

#[test]
fn what_was_read_is_cleaned_away() {
    let archive = tempfile::tempdir().unwrap();
    let to = archive.path().join("done");
    let watched = Watched::new(&format!("&glob=day=*/*.log&clean=archive:{}", to.display()));
    let day = watched.path().join("day=1");
    fs::create_dir(&day).unwrap();
    put(&day, "a.log", "word\n");
    let (running, lines) = watched.run(&[]);
    assert_eq!(word(&lines), ("word".to_owned(), 1));
    put(&day, "b.log", "word\n");
    assert_eq!(word(&lines), ("word".to_owned(), 2));
    ends(running);
    assert_eq!(fs::read_dir(&day).unwrap().count(), 0);
    let archived = |name: &str| fs::read_to_string(to.join("day=1").join(name)).unwrap();
    assert_eq!([archived("a.log"), archived("b.log")], ["word\n", "word\n"]);
}

#[test]
fn a_directory_that_is_not_there_is_an_error_and_an_option_that_is_none_is_named() {
    let ended = support::run(&["run", "word-count", "--source", "dir:/nonexistent/logs"]).exits(3);
    ended.says(&["/nonexistent/logs"]);
    let ended = support::run(&["run", "word-count", "--source", "dir:logs?maxfiles=3"]).exits(2);
    ended.says(&["`maxfiles=3` is none of", "max-files=N"]);
}

#[test]
fn the_summary_is_of_all_files() {
    let watched = Watched::new("&clean=delete");
    for number in 0..50 {
        put(watched.path(), &format!("{number}.log"), "a b\nc\n");
    }
    let (running, lines) = watched.run(&["-w", "2", "--summary", "json"]);
    let mut counts = json!({});
    while counts["a"] != json!(50) || counts["b"] != json!(50) || counts["c"] != json!(50) {
        let (word, count, _) = next(&lines);
        counts[word.as_str().unwrap()] = count;
    }
    running.signal("TERM");
    let ended = running.wait().exits(0);
    assert_eq!(ended.summary()["lines"], json!(100));
    assert_eq!(fs::read_dir(watched.path()).unwrap().count(), 0);
}
