//! Why a cluster does not come about.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::runtime::cluster::Fingerprint;

/// Another process of the cluster, as messages name it.
///
/// ```
/// use thalweg::runtime::cluster::Peer;
/// let peer = Peer { process: 1, address: "localhost:2102".into() };
/// assert_eq!(peer.to_string(), "process 1 at localhost:2102");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its index (`-p`).
    pub process: usize,
    /// Its address in the host file.
    pub address: String,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} at {}", self.process, self.address)
    }
}

/// A peer that had not joined when the time was up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Who.
    pub peer: Peer,
    /// What was last seen of it: `Connection refused`, `it has not connected to us`.
    pub last: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.peer, self.last)
    }
}

/// A process that wanted to join, and was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// From where it called.
    pub host: IpAddr,
    /// Which process it says it is, if it proved that it knows the secret.
    pub process: Option<usize>,
    /// Why, said of it: `it does not know the cluster secret`.
    pub reason: String,
}

/// One line, without the hint that its reason may have.
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.lines().next().unwrap_or_default();
        match self.process {
            Some(process) => write!(f, "refused process {process} at {}: {reason}", self.host),
            None => write!(f, "refused a process at {}: {reason}", self.host),
        }
    }
}

/// What two processes that know the same secret do not agree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// They count different numbers of processes.
    #[error(
        "it runs with `-n {theirs}`, we with `-n {ours}`\n  \
         hint: start every process with the same -n and the same host file"
    )]
    Processes {
        /// Our number.
        ours: usize,
        /// Its number.
        theirs: usize,
    },
    /// They run different numbers of workers.
    #[error("it runs with `-w {theirs}`, we with `-w {ours}`\n  hint: start every process with the same -w")]
    Workers {
        /// Our number.
        ours: usize,
        /// Its number.
        theirs: usize,
    },
    /// They run different code, another dataflow, or one with other options.
    #[error(
        "it runs another build, another dataflow or other options: its fingerprint is {theirs}, ours {ours}\n  \
         hint: start every process from the same binary, with the same dataflow and the same options"
    )]
    Fingerprint {
        /// Our fingerprint.
        ours: Fingerprint,
        /// Its fingerprint.
        theirs: Fingerprint,
    },
    /// The address of one process is answered by another.
    #[error(
        "it says that it is process {theirs}, where process {expected} should be\n  \
         hint: is the host file the same, line for line, on every host?"
    )]
    Misplaced {
        /// The process that has this address in our host file.
        expected: usize,
        /// The process that it says it is.
        theirs: usize,
    },
    /// A process connected that should not connect to this one: only higher indexes connect to lower ones.
    #[error(
        "it says that it is process {theirs}, which does not connect to process {ours} of {processes}\n  \
         hint: give every process a -p of its own, and the same host file"
    )]
    Uncalled {
        /// Our index.
        ours: usize,
        /// How many processes there are.
        processes: usize,
        /// The index that it claims.
        theirs: usize,
    },
}

/// Why this process cannot join the cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// This process's index is not one of the cluster's.
    #[error("there is no process {process} among {processes}\n  hint: -p counts from 0, and is less than -n")]
    NoSuchProcess {
        /// The index as given.
        process: usize,
        /// The number of processes.
        processes: usize,
    },
    /// An address is not of the form `host:port`.
    #[error("the address of {0} is not of the form `host:port`\n  hint: for example `10.0.0.7:2101`")]
    BadAddress(Peer),
    /// A name cannot be resolved.
    #[error("cannot resolve the address of {peer}: {source}")]
    Resolve {
        /// Whose address.
        peer: Peer,
        /// The system's reason.
        source: io::Error,
    },
    /// Without a secret, an address can be reached from other machines.
    #[error(
        "{peer} can be reached from other machines, and the cluster has no secret\n  \
         hint: pass --cluster-secret-file FILE with the same content on every host; or --insecure-cluster, \
         if whoever reaches the address may read and change the data"
    )]
    Insecure {
        /// The first such process.
        peer: Peer,
    },
    /// Our own address cannot be listened on.
    #[error(
        "cannot listen as {peer}: {source}\n  \
         hint: line {line} of the host file must be an address of this machine, with a free port",
        line = peer.process + 1
    )]
    Bind {
        /// This process.
        peer: Peer,
        /// The system's reason.
        source: io::Error,
    },
    /// The host file cannot be read.
    #[error("cannot read the host file {path}: {source}")]
    Hostfile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The host file has fewer addresses than there are processes.
    #[error(
        "the host file {path} has {found} addresses for {processes} processes\n  \
         hint: one `host:port` on each line, process 0 first; or a smaller -n"
    )]
    HostfileShort {
        /// The file.
        path: PathBuf,
        /// How many addresses it has.
        found: usize,
        /// How many are needed (`-n`).
        processes: usize,
    },
    /// A line of the host file holds more than one address.
    #[error(
        "{path}:{line}: expected one `host:port`, but found `{text}`\n  \
         hint: several addresses on one line, as timely allows, are not supported here; \
         to listen on all interfaces, put 0.0.0.0 in the host file of this process alone"
    )]
    HostfileLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// The secret cannot be read.
    #[error("cannot read the cluster secret {path}: {source}")]
    SecretFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The secret is empty or unreasonably long.
    #[error(
        "the cluster secret has {bytes} bytes, and must have 1 to {limit}\n  \
         hint: `head -c 32 /dev/urandom | base64 > FILE` makes a good one"
    )]
    SecretLength {
        /// Its length; for a file, without the line end, and no more than was read.
        bytes: usize,
        /// The longest that is allowed.
        limit: usize,
    },
    /// Process 0 has more to say to the others than the handshake carries.
    #[error(
        "the offer of process 0 has {bytes} bytes, and may have {limit}\n  hint: plan fewer, larger input files"
    )]
    OfferTooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The operating system gave no random bytes or no thread.
    #[error("cannot start the handshake: {0}")]
    System(io::Error),
    /// The address is answered by something that is not thalweg.
    #[error(
        "{peer} is not a thalweg process: it began with \"{found}\"\n  \
         hint: does another service listen on this port?"
    )]
    NotThalweg {
        /// Whom we meant to reach.
        peer: Peer,
        /// Its first bytes, escaped.
        found: String,
    },
    /// The peer speaks another version of the handshake.
    #[error(
        "{peer} speaks version {theirs} of the cluster handshake, we speak version {ours}\n  \
         hint: start every process from the same binary"
    )]
    Version {
        /// Whom we reached.
        peer: Peer,
        /// Our version.
        ours: u32,
        /// Its version.
        theirs: u32,
    },
    /// The peer closed the connection instead of proving the secret, several times in a row.
    #[error(
        "{peer} refused us before the secret was proved (it closed the connection {attempts} times)\n  \
         hint: is the cluster secret the same in both processes (--cluster-secret-file)?"
    )]
    SecretRefused {
        /// Who refused us.
        peer: Peer,
        /// How often we tried.
        attempts: u32,
    },
    /// The peer did not prove that it knows the secret.
    #[error(
        "{peer} does not know our cluster secret\n  \
         hint: is the secret the same in both processes (--cluster-secret-file)? is it the right host?"
    )]
    Unproved {
        /// Who did not prove it.
        peer: Peer,
    },
    /// The peer knows the secret, and is not part of the same run.
    #[error("{peer} cannot be joined: {mismatch}")]
    Mismatch {
        /// Whom we reached.
        peer: Peer,
        /// What differs.
        mismatch: Mismatch,
    },
    /// A peer that we had joined went away before all had joined.
    #[error(
        "{peer} closed its connection before all processes had joined\n  \
         hint: see its own messages; or did another process join as process {ours}?"
    )]
    Lost {
        /// Who went away.
        peer: Peer,
        /// Our index.
        ours: usize,
    },
    /// Not all processes joined in time.
    #[error(
        "process {process} gave up after {after:?}, missing {}{}\n  \
         hint: start every process within this time, with the same arguments but for -p; the messages of the others say \
         whom they refused",
        missing.iter().map(Missing::to_string).collect::<Vec<_>>().join(", "),
        refused.iter().map(|refused| format!("\n  {refused}")).collect::<String>()
    )]
    Timeout {
        /// Our index.
        process: usize,
        /// How long we waited.
        after: Duration,
        /// Who did not join, and what was last seen of each.
        missing: Vec<Missing>,
        /// Whom we refused; of many, the last few.
        refused: Vec<Refused>,
    },
}
