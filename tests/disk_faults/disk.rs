//! A disk that fails as it is told, under the real binary: a library that is preloaded into it (`faults.c`) has system calls on the
//! files of a test fail, whichever thread makes them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::support::{Ended, Running};

/// Why a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Broken = 5,
    Full = 28,
    ReadOnly = 30,
    /// The file system has no locks.
    NoLocks = 37,
    Quota = 122,
}

impl Reason {
    /// Those for which something cannot be written.
    pub const ALL: [Reason; 4] = [Reason::Broken, Reason::Full, Reason::ReadOnly, Reason::Quota];

    /// As the system says it.
    pub fn text(self) -> String {
        std::io::Error::from_raw_os_error(self as i32).to_string()
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is not done, and says so.
    Fails(Reason),
    /// It is done, and says that it is not.
    Late(Reason),
    /// If it writes, it writes half.
    Short,
    /// The process is killed before it, ...
    Killed,
    /// ... or after it.
    Dead,
}

/// Which calls suffer, and what. They are counted where `below` is in their path.
#[derive(Clone, Debug)]
pub struct Fault {
    pub below: String,
    /// Some of `write read fsync fdatasync truncate lock list open create mkdir unlink rename link`, with commas between.
    pub calls: &'static str,
    /// Which one of them, from 1; 0 is none.
    pub at: usize,
    /// Whether all suffer that follow.
    pub lasts: bool,
    pub fate: Fate,
}

/// Calls that change something.
pub const CHANGES: &str = "write,fsync,fdatasync,truncate,create,mkdir,unlink,rename,link";

/// A call that was counted.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    pub name: String,
    pub path: String,
    pub hit: bool,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.path)
    }
}

fn library() -> &'static Path {
    static LIBRARY: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = LIBRARY.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("faults.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/disk_faults/faults.c");
        let mut cc = Command::new("cc");
        cc.args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"]).arg(&path).arg(source);
        let output = cc.output().unwrap_or_else(|error| panic!("{error}: {cc:?}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (dir, path)
    });
    path
}

/// Has `command` suffer `fault`, and put down in `log` which calls there were.
pub fn suffering(command: &mut Command, fault: &Fault, log: &Path) {
    let (what, error) = match fault.fate {
        Fate::Fails(reason) => ("error", reason as i32),
        Fate::Late(reason) => ("late", reason as i32),
        Fate::Short => ("short", 0),
        Fate::Killed => ("kill", 0),
        Fate::Dead => ("dead", 0),
    };
    command.env("LD_PRELOAD", library()).env("FAULTS_LOG", log).env("FAULTS_WHAT", what);
    command.env("FAULTS_BELOW", &fault.below).env("FAULTS_CALLS", fault.calls);
    command.env("FAULTS_AT", fault.at.to_string()).env("FAULTS_ERROR", error.to_string());
    command.env("FAULTS_LASTS", if fault.lasts { "1" } else { "" });
}

/// The calls that are put down in `log`.
pub fn calls(log: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let call = |line: &str| {
        let [_, name, hit, path] = line.splitn(4, ' ').collect::<Vec<_>>()[..] else {
            panic!("not a call: {line}")
        };
        Call { name: name.to_owned(), path: path.to_owned(), hit: hit == "1" }
    };
    text.lines().map(call).collect()
}

/// Runs `command` on a disk that suffers `fault`; says what came of it, and which calls there were.
#[track_caller]
pub fn run_suffering(command: &mut Command, fault: &Fault) -> (Ended, Vec<Call>) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("calls");
    suffering(command, fault, &log);
    (Running::start(command).wait(), calls(&log))
}
