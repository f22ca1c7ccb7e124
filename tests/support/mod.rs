//! What tests of the command share: running the real binary with a deadline, talking to it while it runs, clusters on
//! free ports, and seeded randomness.
//!
//! Nothing here sleeps. A run has ended when its outputs have; a wait is a wait for a message, with [`DEADLINE`], which
//! is far beyond what anything takes, so that a test that meets it has found a hang and says so.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How long a run may take before it counts as hanging.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The command, in the package's directory, where the default sources are.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_thalweg"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("THALWEG_CLUSTER_SECRET");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A run that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ended {
    /// Itself, if the exit code is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code of a run that said:\n{}", self.stderr);
        self
    }

    /// Itself, if standard error contains all of `texts`.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not in what was said:\n{}", self.stderr);
        }
        self
    }

    /// Standard output, which is text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is UTF-8")
    }

    /// The last line on standard error, as `--summary json` writes it.
    #[track_caller]
    pub fn summary(&self) -> serde_json::Value {
        let last = self.stderr.lines().last().unwrap_or_default();
        serde_json::from_str(last).unwrap_or_else(|error| panic!("{error} in the summary:\n{}", self.stderr))
    }
}

/// Runs the command with `args` to its end.
#[track_caller]
pub fn run(args: &[&str]) -> Ended {
    Running::start(command().args(args)).wait()
}

/// As [`run`], with `input` on standard input.
#[track_caller]
pub fn run_on(args: &[&str], input: &[u8]) -> Ended {
    let mut running = Running::start(command().args(args).stdin(Stdio::piped()));
    let mut stdin = running.stdin();
    let input = input.to_vec();
    // A run that ends early closes the pipe; the test sees why by its exit code.
    thread::spawn(move || drop(stdin.write_all(&input)));
    running.wait()
}

/// A run that has not ended, as far as is known. It is killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
}

impl Running {
    #[track_caller]
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{error}: {command:?}"));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        Running { child, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child can be waited for").is_some()
    }

    /// Its standard input, which the command was given as a pipe.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("standard input is a pipe that nobody has taken")
    }

    /// Its standard output, for a test that reads it, or does not, on its own.
    pub fn stdout(&mut self) -> ChildStdout {
        self.stdout.take().expect("standard output is a pipe that nobody has taken")
    }

    /// The lines of its standard output, as they come.
    pub fn stdout_lines(&mut self) -> Lines {
        Lines::of("standard output", self.stdout())
    }

    /// The lines of its standard error, as they come.
    pub fn stderr_lines(&mut self) -> Lines {
        Lines::of(
            "standard error",
            self.stderr.take().expect("standard error is a pipe that nobody has taken"),
        )
    }

    /// Sends it the signal `name`, such as `INT`.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        // The shell's own `kill`: a bare system has no other.
        let kill = format!("kill -s {name} {}", self.id());
        let status = Command::new("sh").args(["-c", &kill]).status().expect("`sh` runs");
        assert!(status.success(), "{kill}");
    }

    /// Waits for the end: of the outputs that nobody has taken, and then of the process.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let stdout = self.stdout.take().map(read_to_end);
        let stderr = self.stderr.take().map(read_to_end);
        let mut receive =
            |output: Option<Receiver<Vec<u8>>>| match output.map(|output| output.recv_timeout(DEADLINE)) {
                None => Vec::new(),
                Some(Ok(bytes)) => bytes,
                Some(Err(_)) => {
                    let _ = self.child.kill();
                    panic!("the run has not ended after {DEADLINE:?}");
                }
            };
        let (stdout, stderr) = (receive(stdout), receive(stderr));
        let status = self.child.wait().expect("the child can be waited for");
        Ended { code: status.code(), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // A test has failed: what its processes said may tell why.
        if let Some(stderr) = self.stderr.take().filter(|_| thread::panicking())
            && let Ok(said) = read_to_end(stderr).recv_timeout(Duration::from_secs(1))
        {
            let said = String::from_utf8_lossy(&said);
            let _ = writeln!(std::io::stderr(), "process {} said:\n{said}", self.id());
        }
    }
}

fn read_to_end(mut read: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = read.read_to_end(&mut bytes);
        // The test may have given up.
        let _ = sender.send(bytes);
    });
    receiver
}

/// Lines as they come.
#[derive(Debug)]
pub struct Lines {
    name: &'static str,
    lines: Receiver<String>,
}

impl Lines {
    fn of(name: &'static str, read: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(read).lines() {
                // Nobody listens any more, or the pipe is broken.
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines { name, lines }
    }

    /// The next line that contains `text`, and drops those before it.
    #[track_caller]
    pub fn until(&self, text: &str) -> String {
        let mut passed = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => passed.push(line),
                Err(error) => panic!("no line with `{text}` on {}: {error}, after {passed:#?}", self.name),
            }
        }
    }

    /// All lines that are still to come.
    #[track_caller]
    pub fn rest(&self) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => rest.push(line),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return rest,
                Err(error) => panic!("{} does not end: {error}, after {rest:#?}", self.name),
            }
        }
    }
}

/// `count` ports that are free now, below the range from which the system takes those of connecting sockets.
pub fn free_ports(count: usize) -> Vec<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + (std::process::id() % 10_000) as u16;
    let ports = std::iter::repeat_with(|| base + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).take(count).collect()
}

/// Runs `processes` processes with `args`, in which `{p}` is the number of the process, and a host file in `dir`; returns
/// their ends, process 0 first.
///
/// A port that somebody else took between the look and the use is no fault of the command: then others are tried.
#[track_caller]
pub fn run_cluster(dir: &Path, processes: usize, args: &[&str]) -> Vec<Ended> {
    for _ in 0..5 {
        let ports = free_ports(processes);
        let hostfile = dir.join(format!("hosts-{}", ports[0]));
        let hosts: String = ports.iter().map(|port| format!("127.0.0.1:{port}\n")).collect();
        std::fs::write(&hostfile, hosts).expect("the host file can be written");
        let all: Vec<_> = (0..processes)
            .map(|process| {
                let (n, p) = (processes.to_string(), process.to_string());
                let mut command = command();
                command
                    .args(args.iter().map(|arg| arg.replace("{p}", &p)))
                    .args(["-n", &n, "-p", &p, "--join-timeout", "30s", "-h"])
                    .arg(&hostfile);
                Running::start(&mut command)
            })
            .collect();
        let ended: Vec<_> = all.into_iter().map(Running::wait).collect();
        if !ended.iter().any(|end| end.stderr.contains("Address already in use")) {
            return ended;
        }
    }
    panic!("found no free ports in five attempts");
}

/// The file `name` of the real logs that lie beside the repository; where they do not, says so.
pub fn shared_data(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    let there = path.is_file();
    if !there {
        // Not `eprintln`, which the test harness swallows when the test passes.
        let _ = writeln!(std::io::stderr(), "skipped: {} is not there", path.display());
    }
    there.then_some(path)
}

/// What may be in a URI, of a path in a test's directory.
pub fn uri(scheme: &str, path: &Path, query: &str) -> String {
    format!("{scheme}:{}{query}", path.to_str().expect("test directories have plain names"))
}

/// The rows of view `view` in jsonl `output`, in order.
#[track_caller]
pub fn rows(output: &[u8], view: &str) -> Vec<serde_json::Value> {
    let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let records = lines.map(|line| -> serde_json::Value {
        serde_json::from_slice(line)
            .unwrap_or_else(|error| panic!("{error} in jsonl line {}", String::from_utf8_lossy(line)))
    });
    records.filter(|record| record["view"] == view).map(|mut record| record["row"].take()).collect()
}

/// A small generator of pseudo-random numbers (xorshift64*), so that a failure is the same every time.
#[derive(Debug)]
pub struct Draws(u64);

impl Draws {
    pub fn new(seed: u64) -> Self {
        Draws(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((self.bits() >> 32) as usize) % end
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

/// What each line of `jsonl` output says, without the number of the epoch.
pub fn views(jsonl: &str) -> Vec<serde_json::Value> {
    let line = |line: &str| {
        let mut value: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        value.as_object_mut().expect("an object").remove("epoch");
        value
    };
    let mut all: Vec<_> = jsonl.lines().map(line).collect();
    // What was refused or read is that of a run, and not of the state; and rows that are alike stand in any order.
    all.retain(|value| value["view"] != "input");
    all.sort_by_key(ToString::to_string);
    all
}

/// The words that `jsonl` output of `word-count` shows, each as often as it does, with their counts.
pub fn words(output: &[u8]) -> Vec<(String, i64)> {
    let word = |row: &serde_json::Value| {
        let word = row["word"].as_str().expect("a word").to_owned();
        (word, row["count"].as_i64().expect("its count"))
    };
    rows(output, "words").iter().map(word).collect()
}

/// The words that `answer` has counted: each once, and among them all that had been `shown`, of which there are some.
#[track_caller]
pub fn counted_once(answer: &[u8], shown: &BTreeSet<String>) -> BTreeSet<String> {
    let all = words(answer);
    let twice: Vec<_> = all.iter().filter(|(_, count)| *count != 1).collect();
    assert!(twice.is_empty(), "counted more than once: {twice:?}");
    let counted: BTreeSet<_> = all.into_iter().map(|(word, _)| word).collect();
    let lost: Vec<_> = shown.difference(&counted).collect();
    assert!(lost.is_empty() && !shown.is_empty(), "shown, and then lost: {lost:?}");
    counted
}
