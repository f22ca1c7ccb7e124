//! S3, as moto has it: in memory, so that it has what was put there for as long as it runs.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::cluster_support::{LONG, poll};

pub struct Moto {
    child: Child,
    pub port: u16,
}

impl Moto {
    const PACKAGE: &str = "moto[server,s3]==5.2.5";

    /// What stands in for credentials.
    pub const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "me"), ("AWS_SECRET_ACCESS_KEY", "hush-hush")];

    /// A bucket of the one that all tests share.
    pub const BUCKET: &str = "thalweg";

    /// One that takes any credentials, unless it is to be gone without: it takes a while to start, and all tests of a process share it.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Moto>> = OnceLock::new();
        let start = || {
            let moto = Self::start("inf")?;
            moto.bucket(Self::BUCKET);
            Some(moto)
        };
        SHARED.get_or_init(start).as_ref()
    }

    /// Starts one that takes any credentials for so many requests, and then only those that it knows: none.
    pub fn start(open: &str) -> Option<Self> {
        /// It ends with its input, since nobody ends what a process's tests share.
        const PROGRAM: &str = "
import os, sys, threading
def watch():
    sys.stdin.read()
    os._exit(0)
threading.Thread(target=watch, daemon=True).start()
from moto.server import main
main(sys.argv[1:])
";
        let python = super::python("s3", Self::PACKAGE)?;
        let port = super::free_port();
        let mut command = Command::new(python);
        command.args(["-c", PROGRAM, "-H", "127.0.0.1", "-p", &port.to_string()]);
        command.env("INITIAL_NO_AUTH_ACTION_COUNT", open);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let moto = Moto { child: command.spawn().unwrap(), port };
        // It imports for seconds where others want the processors, too.
        poll(4 * LONG, "moto", || {
            moto.request("GET", "/moto-api/", b"").filter(|answer| answer.contains(" 200 "))
        });
        Some(moto)
    }

    /// Makes a request and gives the answer as it came.
    pub fn request(&self, method: &str, path: &str, body: &[u8]) -> Option<String> {
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\nConnection: close\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=me/20200101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0\r\n\r\n",
            self.port,
            body.len()
        );
        server.write_all(&[head.as_bytes(), body].concat()).ok()?;
        let mut answer = Vec::new();
        server.read_to_end(&mut answer).ok()?;
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// Creates a bucket.
    pub fn bucket(&self, name: &str) {
        let answer = self.request("PUT", &format!("/{name}"), b"").unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
