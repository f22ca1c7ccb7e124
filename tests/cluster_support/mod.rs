//! Processes under test: started in a directory of their own, watched with deadlines, and never left behind.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Nothing here takes this long unless it hangs.
pub const LONG: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(5);

/// The command under test.
pub fn thalweg() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_thalweg"))
}

/// The command with dataflows that fail (`tests/faulty`), an example: `cargo test` builds those, but
/// `cargo test --test cluster` does not.
pub fn faulty() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let tests = std::env::current_exe().unwrap();
        let target = tests.parent().unwrap().parent().unwrap();
        let path = target.join("examples/faulty");
        let age = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
        if age(&path) < age(&thalweg()) {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--quiet", "--example", "faulty"]).current_dir(env!("CARGO_MANIFEST_DIR"));
            if target.ends_with("release") {
                cargo.arg("--release");
            }
            // As these tests were built, or it is all built once more.
            if cfg!(feature = "kafka-tls") {
                cargo.args(["--features", "kafka-tls"]);
            } else if cfg!(feature = "kafka") {
                cargo.args(["--features", "kafka"]);
            }
            assert!(cargo.status().unwrap().success(), "{cargo:?}");
        }
        assert!(path.exists(), "{} is missing; `cargo build --example faulty` makes it", path.display());
        path
    };
    PATH.get_or_init(build).clone()
}

/// Repeats `look` until it gives something, or until `within` is over.
pub fn poll<T>(within: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < within, "{what} did not come about within {within:?}");
        sleep(LOOK);
    }
}

/// A directory with a secret and a host file, and the processes that are started in it.
pub struct Cluster {
    pub dir: tempfile::TempDir,
    pub addresses: Vec<SocketAddr>,
    program: PathBuf,
    started: AtomicUsize,
}

impl Cluster {
    /// Addresses for `processes` runs of `program`.
    ///
    /// They are on a loopback address of this cluster's own (Linux answers all of 127/8), so that nothing else, and
    /// no other test, can have taken the ports.
    pub fn new(program: PathBuf, processes: usize) -> Self {
        static CLUSTERS: AtomicUsize = AtomicUsize::new(0);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let own = CLUSTERS.fetch_add(1, Ordering::Relaxed) as u8;
        let host = Ipv4Addr::new(127, 1 + high % 250, low, 1 + own);
        let addresses: Vec<_> = (0..processes).map(|i| SocketAddr::from((host, 2101 + i as u16))).collect();
        let dir = tempfile::tempdir().unwrap();
        let hosts: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        fs::write(dir.path().join("hosts"), hosts).unwrap();
        let secret = dir.path().join("secret");
        fs::write(&secret, "correct horse battery staple\n").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        Cluster { dir, addresses, program, started: AtomicUsize::new(0) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    /// What is in file `name` so far.
    pub fn read(&self, name: &str) -> String {
        fs::read(self.path(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    /// Waits until file `name` contains `text`.
    pub fn await_text(&self, name: &str, text: &str) {
        poll(LONG, &format!("`{text}` in {name}"), || self.read(name).contains(text).then_some(()));
    }

    /// Runs the program with `args`, separated by white space, alone.
    pub fn alone(&self, args: &str) -> Process {
        self.spawn(args.split_whitespace().map(str::to_owned).collect(), self.dir.path())
    }

    /// Runs process `index` with `args`, separated by white space, and the flags of the cluster.
    pub fn process(&self, index: usize, args: &str) -> Process {
        self.process_in(self.dir.path(), index, args)
    }

    /// As [`Cluster::process`], in another directory.
    pub fn process_in(&self, dir: &Path, index: usize, args: &str) -> Process {
        let mut all: Vec<String> = args.split_whitespace().map(str::to_owned).collect();
        let count = self.addresses.len();
        all.extend(["-n".to_owned(), count.to_string(), "-p".to_owned(), index.to_string()]);
        let mut default = |flag: &str, file: &str| {
            if !all.iter().any(|arg| arg == flag) {
                all.extend([flag.to_owned(), self.path(file).display().to_string()]);
            }
        };
        default("-h", "hosts");
        default("--cluster-secret-file", "secret");
        self.spawn(all, dir)
    }

    fn spawn(&self, args: Vec<String>, dir: &Path) -> Process {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let stderr = self.path(&format!("stderr-{number}"));
        let mut child = Command::new(&self.program)
            .args(&args)
            .current_dir(dir)
            .env_remove("THALWEG_CLUSTER_SECRET")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take();
        Process { child, stdin, stderr, what: args.join(" ") }
    }
}

/// A running process; killed when it is dropped, stopped or not.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stderr: PathBuf,
    what: String,
}

impl Process {
    /// Writes to its standard input, which stays open.
    pub fn say(&mut self, text: &str) {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Writes to its standard input; whether anybody reads it.
    #[allow(dead_code, reason = "not all who write expect that nobody may be there")]
    pub fn try_say(&mut self, text: &str) -> bool {
        self.stdin.as_mut().unwrap().write_all(text.as_bytes()).is_ok()
    }

    /// Closes its standard input.
    pub fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// Sends it a signal: `TERM`, `STOP`.
    pub fn signal(&self, signal: &str) {
        // The shell's own: a bare system may have no `kill` command.
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
    }

    /// The number that the system knows it by.
    #[allow(dead_code, reason = "not all who have processes ask for it")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said on standard error so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end; its exit code.
    pub fn code_within(&mut self, within: Duration) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or(-1);
            }
            assert!(
                begun.elapsed() < within,
                "`{}` still runs after {within:?}\n{}",
                self.what,
                self.stderr()
            );
            sleep(LOOK);
        }
    }

    /// Asserts that it ends with `code` and has said all of `words`.
    #[track_caller]
    pub fn ends_with(&mut self, code: i32, words: &[&str]) {
        self.ends_within(LONG, code, words);
    }

    /// As [`Process::ends_with`], within a time.
    #[track_caller]
    pub fn ends_within(&mut self, within: Duration, code: i32, words: &[&str]) {
        let found = self.code_within(within);
        let stderr = self.stderr();
        assert_eq!(found, code, "exit code of `{}`\n{stderr}", self.what);
        for word in words {
            assert!(stderr.contains(word), "`{word}` is missing in what `{}` says:\n{stderr}", self.what);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
