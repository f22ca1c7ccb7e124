//! Database servers, which can be killed and started again on the same files.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{done, free_port, is_skipped};
use crate::cluster_support::{LONG, poll};

/// Everybody may look into the directory: servers are run by users of their own.
fn directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// PostgreSQL, of Debian's package; the user `me` has the password `hush`.
pub struct Postgres {
    child: Option<Child>,
    dir: tempfile::TempDir,
    pub port: u16,
}

impl Postgres {
    /// Starts one, unless it is to be gone without. It shows the certificate `shows.pem`, whose key is `shows.key`.
    pub fn start(shows: &str) -> Option<Self> {
        if is_skipped("postgres") {
            return None;
        }
        let dir = directory();
        let data = dir.path().join("data");
        fs::create_dir(&data).unwrap();
        let password = dir.path().join("password");
        fs::write(&password, "hush\n").unwrap();
        for (from, to) in [("pem", "server.crt"), ("key", "server.key")] {
            fs::copy(format!("{shows}.{from}"), dir.path().join(to)).unwrap();
            fs::set_permissions(dir.path().join(to), fs::Permissions::from_mode(0o600)).unwrap();
        }
        if rustix::process::geteuid().is_root() {
            done(
                Command::new("chown")
                    .arg("postgres")
                    .args(["server.crt", "server.key"].map(|name| dir.path().join(name))),
            );
            done(Command::new("chown").arg("postgres").arg(&data).arg(dir.path()));
        }
        let mut init = Self::program("initdb");
        init.arg("-D").arg(&data).args(["-U", "me", "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]);
        done(init.arg("--pwfile").arg(&password));
        let mut server = Postgres { child: None, dir, port: free_port() };
        server.again();
        Some(server)
    }

    /// A program of the server, run by whom it wants to be run by.
    fn program(name: &str) -> Command {
        let versions = fs::read_dir("/usr/lib/postgresql").expect("`apt-get install postgresql`");
        let newest = versions.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).max();
        let path = format!("/usr/lib/postgresql/{}/bin/{name}", newest.unwrap_or_default());
        if !rustix::process::geteuid().is_root() {
            return Command::new(path);
        }
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--", &path]);
        command
    }

    /// Starts it on the files that there are, and waits until it answers.
    pub fn again(&mut self) {
        let data = self.dir.path().join("data");
        poll(2 * LONG, "PostgreSQL", || {
            if self.child.as_mut().is_none_or(|child| child.try_wait().unwrap().is_some()) {
                let log = File::create(self.dir.path().join("log")).unwrap();
                let mut command = Self::program("postgres");
                command.arg("-D").arg(&data).args(["-p", &self.port.to_string(), "-c", "fsync=off"]);
                command.args(["-c", "listen_addresses=127.0.0.1", "-k"]).arg(self.dir.path());
                for (setting, name) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key")] {
                    command.arg("-c").arg(format!("{setting}={}", self.dir.path().join(name).display()));
                }
                command.args(["-c", "ssl=on"]);
                self.child = Some(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
            }
            self.attempt("SELECT 1").ok()
        });
    }

    /// Kills it, so that it has no time for anything.
    pub fn kill(&mut self) {
        let pid = fs::read_to_string(self.dir.path().join("data/postmaster.pid")).unwrap();
        let kill = format!("kill -9 {}", pid.lines().next().unwrap());
        done(Command::new("sh").args(["-c", &kill]));
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }

    pub fn uri(&self, port: u16, parameters: &str) -> String {
        format!("postgres://me:hush@127.0.0.1:{port}/postgres?{parameters}")
    }

    /// As [`Postgres::query`], of a server that may be away and of tables that may not be there.
    #[allow(dead_code, reason = "not all who ask put up with that")]
    pub fn try_query(&self, sql: &str) -> Result<Vec<String>, String> {
        Ok(self.attempt(sql)?.lines().map(str::to_owned).collect())
    }

    fn attempt(&self, sql: &str) -> Result<String, String> {
        let mut psql = Command::new("psql");
        psql.args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "me",
            "-d",
            "postgres",
        ]);
        psql.args(["-p", &self.port.to_string(), "-c", sql]).env("PGPASSWORD", "hush");
        let output = psql.output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What `psql` says to a query: a line for each row, with `|` between columns.
    pub fn query(&self, sql: &str) -> Vec<String> {
        self.attempt(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
            .lines()
            .map(str::to_owned)
            .collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

/// MariaDB, of Debian's package; the user `me` has the password `hush`.
pub struct Mariadb {
    child: Option<Child>,
    dir: tempfile::TempDir,
    pub port: u16,
}

impl Mariadb {
    /// Starts one, unless it is to be gone without. It shows the certificate `shows.pem`, whose key is `shows.key`.
    pub fn start(shows: &str) -> Option<Self> {
        if is_skipped("mariadb") {
            return None;
        }
        let dir = directory();
        let mut install = Command::new("mariadb-install-db");
        install.args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]);
        install.arg(format!("--datadir={}", dir.path().join("data").display()));
        done(install.args(Self::user()));
        for name in ["pem", "key"] {
            fs::copy(format!("{shows}.{name}"), dir.path().join(name)).unwrap();
        }
        let mut server = Mariadb { child: None, dir, port: free_port() };
        server.again();
        let create = "CREATE DATABASE logs; CREATE USER me@'127.0.0.1' IDENTIFIED BY 'hush'; \
                      CREATE USER me@localhost IDENTIFIED BY 'hush'; GRANT ALL ON *.* TO me@'127.0.0.1'; \
                      GRANT ALL ON *.* TO me@localhost";
        server.attempt(create).unwrap();
        Some(server)
    }

    fn user() -> Option<&'static str> {
        rustix::process::geteuid().is_root().then_some("--user=root")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Starts it on the files that there are, and waits until it answers.
    pub fn again(&mut self) {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let log = File::create(self.dir.path().join("log")).unwrap();
        let server = if Path::new("/usr/sbin/mariadbd").exists() { "/usr/sbin/mariadbd" } else { "mariadbd" };
        let mut command = Command::new(server);
        command.arg("--no-defaults").args(Self::user());
        command.arg(format!("--datadir={}", path("data"))).arg(format!("--socket={}", path("socket")));
        command.arg(format!("--pid-file={}", path("pid"))).arg(format!("--port={}", self.port));
        command.args(["--bind-address=127.0.0.1", "--innodb-flush-log-at-trx-commit=2"]);
        command.arg(format!("--ssl-cert={}", path("pem"))).arg(format!("--ssl-key={}", path("key")));
        command.stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().expect("`apt-get install mariadb-server`"));
        poll(2 * LONG, "MariaDB", || self.attempt("SELECT 1").ok());
    }

    /// Kills it, so that it has no time for anything.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn uri(&self, port: u16, parameters: &str) -> String {
        format!("mysql://me:hush@127.0.0.1:{port}/logs?{parameters}")
    }

    fn attempt(&self, sql: &str) -> Result<String, String> {
        let mut client = Command::new("mariadb");
        client.args(["--no-defaults", "-N", "-B", "-u", "root", "--default-character-set=utf8mb4", "-S"]);
        let output = client.arg(self.socket()).args(["-e", sql]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// What `mariadb` says to a query: a line for each row, with `|` between columns.
    pub fn query(&self, sql: &str) -> Vec<String> {
        let text = self.attempt(&format!("USE logs; {sql}")).unwrap_or_else(|error| panic!("{sql}: {error}"));
        text.lines().map(|line| line.replace('\t', "|")).collect()
    }
}

impl Drop for Mariadb {
    fn drop(&mut self) {
        self.kill();
    }
}
