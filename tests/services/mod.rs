//! Servers under test: on free ports of the loopback, in directories of their own, and ended with the test that started them.
//!
//! A server that cannot be had is a test that fails, unless `THALWEG_SKIP_SERVICES` (`kafka,…`) names it.

#![allow(
    clippy::disallowed_methods,
    reason = "the environment says where servers are, and which tests go without"
)]

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
