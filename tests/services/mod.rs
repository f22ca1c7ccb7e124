//! Servers under test: on free ports of the loopback, in directories of their own, and ended with the test that started them.
//!
//! A server that cannot be had is a test that fails, unless `THALWEG_SKIP_SERVICES` (`kafka,…`) names it.

#![allow(
    clippy::disallowed_methods,
    reason = "the environment says where servers are, and which tests go without"
)]

pub mod databases;
pub mod moto;

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use crate::cluster_support::{LONG, poll};

/// Whether tests go without this server.
fn is_skipped(name: &str) -> bool {
    std::env::var("THALWEG_SKIP_SERVICES").is_ok_and(|names| names.split(',').any(|it| it.trim() == name))
}

/// Where what servers consist of is kept, from one run of the tests to the next.
fn tools() -> PathBuf {
    let home = || PathBuf::from(std::env::var("HOME").unwrap()).join(".cache/thalweg-tools");
    std::env::var("THALWEG_TOOLS").map_or_else(|_| home(), PathBuf::from)
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

fn answers(port: u16) {
    let connects = || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok();
    poll(2 * LONG, "a server", connects);
}

/// The Python that has `package`, a name of PyPI with its version, unless tests go without `name`.
pub fn python(name: &str, package: &str) -> Option<PathBuf> {
    if is_skipped(name) {
        return None;
    }
    let place = tools().join(package);
    if !place.exists() {
        fs::create_dir_all(tools()).unwrap();
        let fetched = tempfile::tempdir_in(tools()).unwrap();
        done(Command::new("python3").args(["-m", "venv"]).arg(fetched.path()));
        let python = fetched.path().join("bin/python");
        done(Command::new(python).args(["-m", "pip", "install", "--quiet", package]));
        // Someone else may have been faster. A Python that is moved finds its packages by its own place.
        let _ = fs::rename(fetched.path(), &place);
    }
    Some(place.join("bin/python"))
}

/// Apache Kafka 0.8.2.2, the newest that comes by package name: npm's `kafka-java-bridge` has its archives in it.
///
/// It has no groups, no message timestamps and no transactions. Its clients have to be told ([`Kafka::OPTIONS`]).
pub struct Kafka {
    children: Vec<Child>,
    _dir: tempfile::TempDir,
    zookeeper: u16,
    port: u16,
}

impl Kafka {
    /// What clients say, as options of librdkafka.
    pub const OPTIONS: [(&str, &str); 2] =
        [("api.version.request", "false"), ("broker.version.fallback", "0.8.2.2")];
    const PACKAGE: &str = "kafka-java-bridge@0.2.8";

    /// Starts one, unless it is to be gone without.
    pub fn start() -> Option<Self> {
        if is_skipped("kafka") {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let (zookeeper, port) = (free_port(), free_port());
        let path = |name: &str| dir.path().join(name);
        let logs = path("logs");
        fs::write(
            path("zookeeper"),
            format!(
                "dataDir={}\nclientPort={zookeeper}\nclientPortAddress=127.0.0.1\n",
                path("zk").display()
            ),
        )
        .unwrap();
        fs::write(
            path("kafka"),
            format!(
                "broker.id=0\nport={port}\nhost.name=127.0.0.1\nlog.dirs={}\n\
                 zookeeper.connect=127.0.0.1:{zookeeper}\nauto.create.topics.enable=false\n",
                logs.display()
            ),
        )
        .unwrap();
        let mut kafka = Kafka { children: Vec::new(), _dir: dir, zookeeper, port };
        for (class, name, port) in [
            ("org.apache.zookeeper.server.quorum.QuorumPeerMain", "zookeeper", zookeeper),
            ("kafka.Kafka", "kafka", port),
        ] {
            let settings = kafka._dir.path().join(name);
            let log = File::create(settings.with_extension("log")).unwrap();
            let mut command = Kafka::java();
            command.arg(class).arg(&settings).stdout(log.try_clone().unwrap()).stderr(log);
            kafka.children.push(command.spawn().unwrap());
            answers(port);
        }
        Some(kafka)
    }

    /// Java, with the archives, which are fetched if they are not here yet.
    fn java() -> Command {
        let place = tools().join(Self::PACKAGE);
        let archives = place.join("package/java/lib");
        if !archives.exists() {
            fs::create_dir_all(tools()).unwrap();
            let fetched = tempfile::tempdir_in(tools()).unwrap();
            let packed = done(Command::new("npm").args(["pack", Self::PACKAGE]).current_dir(fetched.path()));
            let archive = String::from_utf8_lossy(&packed.stdout).trim().to_owned();
            done(Command::new("tar").args(["xzf", &archive]).current_dir(fetched.path()));
            // Someone else may have been faster.
            let _ = fs::rename(fetched.path(), &place);
        }
        let mut java = Command::new("java");
        java.args(["-Xmx256m", "-cp"]).arg(Path::new(&archives).join("*"));
        java
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Creates and alters topics: what Kafka's own command is given.
    pub fn topics(&self, arguments: &str) {
        let zookeeper = format!("127.0.0.1:{}", self.zookeeper);
        let mut command = Kafka::java();
        command.args(["kafka.admin.TopicCommand", "--zookeeper", &zookeeper]);
        done(command.args(arguments.split_whitespace()));
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // The broker before what it holds on to.
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Apache's web server, which pipes its access log to a program, and writes it to a file as well: in this order, so that what is in
/// the file has been piped.
pub struct Apache {
    child: Child,
    dir: tempfile::TempDir,
    port: u16,
}

impl Apache {
    /// Starts one, unless it is to be gone without; it pipes to `program`, a command line.
    pub fn start(program: &str) -> Option<Self> {
        if is_skipped("apache") {
            return None;
        }
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let root = dir.path().display();
        fs::create_dir(dir.path().join("www")).unwrap();
        fs::write(dir.path().join("www/index.html"), "hello\n").unwrap();
        for public in ["", "www", "www/index.html"] {
            let path = dir.path().join(public);
            let mode = if path.is_dir() { 0o755 } else { 0o644 };
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        }
        let modules: String = [
            ("mpm_event", "mpm_event"),
            ("authz_core", "authz_core"),
            ("unique_id", "unique_id"),
            ("dir", "dir"),
        ]
        .map(|(name, file)| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{file}.so\n"))
        .concat();
        // As root it wants another user to serve as.
        let user = if rustix::process::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
        let settings = format!(
            "ServerRoot {root}\nServerName localhost\nPidFile {root}/pid\nDefaultRuntimeDir {root}\nMutex file:{root}\n\
             Listen 127.0.0.1:{port}\n{modules}{user}DocumentRoot {root}/www\nErrorLog {root}/error.log\n\
             LogFormat \"%h %{{UNIQUE_ID}}e %>s\" logged\n\
             CustomLog \"|{program}\" logged\nCustomLog {root}/access.log logged\n"
        );
        fs::write(dir.path().join("settings"), settings).unwrap();
        let out = File::create(dir.path().join("out")).unwrap();
        let mut command = Command::new("/usr/sbin/apache2");
        command.arg("-f").arg(dir.path().join("settings")).arg("-DFOREGROUND");
        // It signals its process group as it stops.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdout(out.try_clone().unwrap()).stderr(out);
        let child = command.spawn().expect("apache2 is installed: `apt-get install apache2`");
        let apache = Apache { child, dir, port };
        answers(port);
        Some(apache)
    }

    /// The lines of its own log file.
    pub fn logged(&self) -> Vec<String> {
        let bytes = fs::read(self.dir.path().join("access.log")).unwrap_or_default();
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        String::from_utf8_lossy(&bytes[..whole]).lines().map(str::to_owned).collect()
    }

    /// What it has said, and the programs that it has piped to.
    pub fn said(&self) -> String {
        ["out", "error.log"].map(|name| fs::read_to_string(self.dir.path().join(name)).unwrap()).concat()
    }

    /// Sends it a signal: `USR1` to reload, `HUP` to restart.
    pub fn signal(&self, signal: &str) {
        let kill = format!("kill -{signal} {}", self.child.id());
        done(Command::new("sh").args(["-c", &kill]));
    }

    /// Stops it, and waits until it has.
    pub fn stop(&mut self) {
        self.signal("TERM");
        poll(2 * LONG, "the end of apache2", || self.child.try_wait().unwrap());
    }
}

impl Drop for Apache {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.stop();
        }
    }
}

/// Requests, made by `ab`.
pub struct Load(Child);

impl Load {
    /// So many requests to `apache`, eight at a time; those that fail do not end it. Connections are kept: each has a port, and others
    /// want theirs back.
    pub fn start(apache: &Apache, requests: usize) -> Self {
        let mut command = Command::new("ab");
        command.args(["-q", "-r", "-k", "-c", "8", "-n", &requests.to_string()]);
        command.arg(format!("http://127.0.0.1:{}/", apache.port));
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        Load(command.spawn().expect("ab is installed: `apt-get install apache2-utils`"))
    }

    /// Waits for the end, if it has not ended by itself.
    pub fn end(mut self) {
        poll(2 * LONG, "the end of the requests", || self.0.try_wait().unwrap());
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
