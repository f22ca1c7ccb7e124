//! The journal of systemd, by the real `journalctl`, of journals that the real `systemd-journal-remote` writes.
//!
//! Journals are in directories of the tests' own, and no systemd has to run.

#![allow(clippy::unwrap_used, reason = "these are tests, their helpers too")]
#![allow(clippy::disallowed_methods, reason = "the environment says which tests go without their servers")]

mod support;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use support::{Running, command, rows, run, run_on};
use tempfile::TempDir;
use thalweg::envelope::{EnvelopeFields, Peeled, Peeler};
use thalweg::format::WholeLines;
use thalweg::runtime::now;
use thalweg::source::{JournaldSource, Pool, ReadOptions, Reader, Share, Source, SourceError, Step};
use thalweg::time::Time;

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";

/// When the first entry is dated, in microseconds.
const FIRST: u64 = 1_710_406_800_000_000;

/// A journal on its own.
struct Journal {
    dir: TempDir,
}

/// An entry: its number, microseconds behind [`FIRST`], its unit, and its message as bytes.
type Entry = (usize, u64, &'static str, Vec<u8>);

impl Journal {
    /// None, if tests are to go without.
    fn new() -> Option<Self> {
        let skipped = std::env::var("THALWEG_SKIP_SERVICES").unwrap_or_default();
        if skipped.split(',').any(|name| name.trim() == "journald") {
            return None;
        }
        let hint = "systemd and systemd-journal-remote are installed: tests/run does that; or THALWEG_SKIP_SERVICES=journald";
        assert!(Path::new(REMOTE).exists(), "{hint}");
        Some(Journal { dir: tempfile::tempdir().unwrap() })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("test.journal")
    }

    /// Adds entries, in the format in which journals are exported.
    fn add(&self, entries: &[Entry]) {
        let mut export = Vec::new();
        for (number, micros, unit, message) in entries {
            let time = FIRST + micros;
            write!(
                export,
                "__REALTIME_TIMESTAMP={time}\n__MONOTONIC_TIMESTAMP={time}\n_BOOT_ID={:032x}\nPRIORITY={}\n_SYSTEMD_UNIT={unit}\n\
                 SYSLOG_IDENTIFIER=web\n_PID={number}\n_HOSTNAME=host\nMESSAGE\n",
                // Every hundred entries, the machine was started anew.
                number / 100 + 1,
                number % 8
            )
            .unwrap();
            export.extend_from_slice(&(message.len() as u64).to_le_bytes());
            export.extend_from_slice(message);
            export.extend_from_slice(b"\n\n");
        }
        let mut command = Command::new(REMOTE);
        command.arg("-o").arg(self.file()).arg("-").stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&export).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn query(&self, more: &str) -> String {
        format!("?directory={}{more}", self.dir.path().display())
    }

    fn uri(&self, more: &str) -> String {
        format!("journald:{}", self.query(more))
    }

    /// What the real command says of it.
    fn journalctl(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("journalctl");
        let output = command.arg("--directory").arg(self.dir.path()).args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

fn entries(numbers: std::ops::Range<usize>) -> Vec<Entry> {
    let unit = |number: usize| if number.is_multiple_of(3) { "db.service" } else { "web.service" };
    // Some at the same time.
    numbers.map(|at| (at, at as u64 / 2 * 10, unit(at), format!("message {at}").into_bytes())).collect()
}

/// Reads a journal as a run does.
struct Follower {
    reader: Box<dyn Reader>,
    pool: Pool,
    peeler: Peeler,
    lines: Vec<String>,
    /// Of each message.
    offsets: Vec<u64>,
    malformed: usize,
    oversize: usize,
    said: Vec<String>,
}

impl Follower {
    fn new(query: &str, from: u64) -> Self {
        let source = JournaldSource::parse(query).unwrap();
        let found = source.find().unwrap();
        let share = Share { worker: 0, peers: 1 };
        let reader = source.open(&found[0], from, share, ReadOptions::default(), Arc::new(|| ())).unwrap();
        Follower {
            reader,
            pool: Pool::default(),
            peeler: Peeler::default(),
            lines: Vec::new(),
            offsets: Vec::new(),
            malformed: 0,
            oversize: 0,
            said: Vec::new(),
        }
    }

    /// Takes a step; returns whether nothing follows at once, or why it cannot be read.
    fn step(&mut self, upto: u64) -> Result<Option<Step>, SourceError> {
        match self.reader.poll(upto, &self.pool)? {
            Step::Chunk(chunk) => {
                let (envelope, mut peeled) = (chunk.envelope.unwrap(), Peeled::default());
                self.peeler.peel(envelope, WholeLines::new(chunk.bytes()), chunk.given_up, &mut peeled);
                let fields = EnvelopeFields::default();
                for line in &peeled.lines {
                    let raw = &chunk.bytes()[line.parts[0].clone()];
                    self.offsets.push(chunk.offset_of(line.raw()));
                    assert!(self.offsets[self.offsets.len() - 1] < upto);
                    let of = ["unit", "identifier", "priority", "host", "pid"];
                    let of = of.map(|name| {
                        String::from_utf8(fields.get(envelope, raw, name).unwrap().into_owned()).unwrap()
                    });
                    let time = fields.time(envelope, raw, Time(0)).unwrap();
                    self.said.push(format!("{} {}", of.join(" "), time.0));
                }
                let text = String::from_utf8_lossy(&peeled.bytes).into_owned();
                self.lines.extend(text.lines().map(str::to_owned));
                self.malformed += peeled.malformed.len();
                self.oversize += chunk.oversize.len();
                Ok(None)
            }
            other => Ok(Some(other)),
        }
    }

    #[track_caller]
    fn until(&mut self, what: &str, upto: u64, done: impl Fn(&Self, Option<&Step>) -> bool) {
        let begun = now();
        loop {
            let step = self.step(upto).unwrap();
            if done(self, step.as_ref()) {
                return;
            }
            assert!(
                begun.elapsed() < support::DEADLINE,
                "waited in vain for {what}: {} lines",
                self.lines.len()
            );
            if step.is_some() {
                std::thread::park_timeout(std::time::Duration::from_millis(2));
            }
        }
    }

    #[track_caller]
    fn reads(&mut self, lines: usize) {
        self.until("the lines", u64::MAX, |it, _| it.lines.len() >= lines);
    }
}

fn messages(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|at| format!("message {at}")).collect()
}

#[test]
fn a_journal_is_read_and_followed_and_gone_on_with_from_any_offset() {
    let Some(journal) = Journal::new() else { return };
    journal.add(&entries(0..250));
    let query = journal.query("");
    let mut follower = Follower::new(&query, 0);
    follower.reads(250);
    assert_eq!(follower.said[5], "web.service web 5 host 5 1710406800000");
    journal.add(&entries(250..300));
    follower.reads(300);
    assert_eq!(follower.lines, messages(0..300));
    assert!(follower.offsets.is_sorted() && follower.reader.is_at_end());
    let offsets = follower.offsets.clone();
    drop(follower);
    for from in [1, 2, 99, 100, 101, 299, 300] {
        let mut again = Follower::new(&query, offsets[from - 1] + 1);
        again.reads(300 - from);
        again.until("the end", u64::MAX, |it, step| {
            matches!(step, Some(Step::CaughtUp)) && it.reader.is_at_end()
        });
        assert_eq!(
            (&again.lines, &again.offsets),
            (&messages(from..300), &offsets[from..].to_vec()),
            "{from}"
        );
    }
    // As a run that is replayed reads it: so far and no further.
    let mut replayed = Follower::new(&query, 0);
    for upto in [7, 8, 120] {
        replayed.until("the offset", offsets[upto], |_, step| matches!(step, Some(Step::Reached)));
        assert_eq!((replayed.lines.len(), replayed.reader.offset()), (upto, offsets[upto - 1] + 1));
    }
}

#[test]
fn options_say_what_is_read() {
    let Some(journal) = Journal::new() else { return };
    journal.add(&entries(0..30));
    for (more, expected) in [
        ("&unit=db.service", (0..30_usize).filter(|at| at.is_multiple_of(3)).collect::<Vec<_>>()),
        ("&unit=db.service&unit=web.service", (0..30).collect()),
        ("&identifier=web&priority=1", (0..30).filter(|at| at % 8 < 2).collect()),
        ("&since=@1710406800.000100", (20..30).collect()),
    ] {
        let mut follower = Follower::new(&journal.query(&format!("{more}&follow=false")), 0);
        follower.until("the end", u64::MAX, |_, step| matches!(step, Some(Step::Ended)));
        let expected: Vec<_> = expected.into_iter().map(|at| format!("message {at}")).collect();
        assert_eq!(follower.lines, expected, "{more}");
    }
    let ended = run(&["run", "word-count", "--source", &journal.uri("&since=garbage")]);
    assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.stderr);
    ended.says(&["Failed to parse timestamp: garbage"]);
    // Only what comes.
    let mut follower = Follower::new(&journal.query("&start=end"), 0);
    follower
        .until("the end", u64::MAX, |it, step| matches!(step, Some(Step::CaughtUp)) && it.reader.is_at_end());
    journal.add(&entries(30..33));
    follower.reads(3);
    assert_eq!(follower.lines, messages(30..33));
}

#[test]
fn messages_may_be_bytes_or_long_or_have_several_lines() {
    let Some(journal) = Journal::new() else { return };
    let with = |at: usize, message: Vec<u8>| (at, at as u64, "web.service", message);
    journal.add(&[
        with(0, b"\xff\x00 bytes".to_vec()),
        with(1, b"two\nlines\n".to_vec()),
        with(2, b"x".repeat(100_000)),
        with(3, b"y".repeat(2 << 20)),
        with(4, "café \u{1f600}".into()),
    ]);
    let mut follower = Follower::new(&journal.query("&follow=false"), 0);
    follower.until("the end", u64::MAX, |_, step| matches!(step, Some(Step::Ended)));
    let expected = ["\u{fffd}\0 bytes", "two", "lines", &"x".repeat(100_000), "café \u{1f600}"];
    assert_eq!(follower.lines, expected);
    assert_eq!((follower.malformed, follower.oversize), (0, 1));
    let show = ["--sink", "jsonl:-?mode=complete&at=end", "--summary", "json"];
    let uri = journal.uri("&follow=false");
    let ended = run(&[&["run", "word-count", "--source", &uri][..], &show].concat()).exits(0);
    let summary = ended.summary();
    assert_eq!((&summary["parsed"], &summary["oversize"]), (&5.into(), &1.into()), "{summary}");
    // By a pipe, without `--all`: what is long is null, and malformed.
    let piped = journal.journalctl(&["-o", "json"]);
    let ended =
        run_on(&[&["run", "word-count", "--source", "journald+-"][..], &show].concat(), &piped).exits(0);
    let summary = ended.summary();
    assert_eq!((&summary["parsed"], &summary["malformed"]), (&4.into(), &2.into()), "{summary}");
    assert!(rows(&ended.stdout, "words").iter().any(|row| row["word"] == "lines"), "{}", ended.text());
}

/// An executable file of this text.
fn script(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.path().join("journalctl");
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A script that runs the real command, and writes its process to the file at `pid` where it follows.
fn watched(dir: &TempDir, pid: &Path) -> PathBuf {
    let pid = pid.display();
    script(
        dir,
        &format!(
            "case \"$*\" in *--follow*) echo $$ > {pid}.new && mv {pid}.new {pid} ;; esac\nexec journalctl \"$@\""
        ),
    )
}

/// A command that is killed again and again is started again, and nothing is lost or there twice.
#[test]
fn a_command_that_ends_is_started_again_and_goes_on() {
    let Some(journal) = Journal::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let command = watched(&dir, &pid);
    journal.add(&entries(0..20));
    let mut follower = Follower::new(&journal.query(&format!("&journalctl={}", command.display())), 0);
    follower.reads(20);
    for round in 1..6 {
        let killed = std::fs::read_to_string(&pid).unwrap();
        let status = Command::new("sh").args(["-c", &format!("kill -s KILL {killed}")]).status().unwrap();
        assert!(status.success());
        // While it is away, and while it is there.
        journal.add(&entries(20 * round..20 * round + 15));
        follower.until("another one", u64::MAX, |_, _| std::fs::read_to_string(&pid).unwrap() != killed);
        journal.add(&entries(20 * round + 15..20 * round + 20));
        follower.reads(20 * round + 20);
    }
    assert_eq!(follower.lines, messages(0..120));
}

#[test]
fn a_command_that_is_missing_or_fails_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let fails =
        script(&dir, "[ \"$1\" = --version ] || { echo 'Failed to open: no \x1b journal' >&2; exit 1; }");
    for (query, says) in [
        (
            "?journalctl=/nowhere/journalctl".to_owned(),
            &["cannot start /nowhere/journalctl", "journald+-"][..],
        ),
        (format!("?journalctl={}", fails.display()), &["exit status: 1", r"Failed to open: no \x1b journal"]),
    ] {
        let ended = run(&["run", "word-count", "--source", &format!("journald:{query}")]);
        assert!(ended.code.is_some_and(|code| code != 0), "{}", ended.stderr);
        ended.says(says);
    }
}

/// What the run shows goes on as the journal grows, and the command ends with the run, however that ends.
#[test]
fn a_run_follows_a_journal_and_takes_the_command_with_it() {
    let Some(journal) = Journal::new() else { return };
    journal.add(&entries(0..4));
    let dir = tempfile::tempdir().unwrap();
    for (number, signal) in [(4, "INT"), (6, "KILL")] {
        let pid = dir.path().join(signal);
        let wrapped = watched(&dir, &pid);
        let uri = journal.uri(&format!("&journalctl={}", wrapped.display()));
        let sink = ["--sink", "jsonl:-?mode=update", "--tick", "10ms"];
        let mut running = Running::start(command().args(["run", "word-count", "--source", &uri]).args(sink));
        let shown = running.stdout_lines();
        shown.until(&format!("\"{}\"", number - 1));
        journal.add(&entries(number..number + 2));
        shown.until(&format!("\"{}\"", number + 1));
        let child = std::fs::read_to_string(&pid).unwrap();
        // One that has ended may wait for somebody to ask how.
        let stat = format!("/proc/{}/stat", child.trim());
        let alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        assert!(alive());
        running.signal(signal);
        let ended = running.wait();
        assert_eq!(ended.code, (signal == "INT").then_some(0), "{}", ended.stderr);
        let begun = now();
        while alive() {
            assert!(begun.elapsed() < support::DEADLINE, "the command outlives the run that {signal} ended");
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }
}
