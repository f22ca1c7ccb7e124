//! How a process ends early: with a reason, and at once.
//!
//! A worker that stops alone leaves the others waiting for its part of the frontier for ever: timely has no way to tell
//! them. So whatever a worker cannot go on with ends the whole process, and the other processes of a cluster see the
//! connection close and end too. A panic is the same: it is printed, and then it is the end of the process, in
//! whichever thread it happened.

use std::fmt::Display;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::data::escape_text;
use crate::door::lines_at;
use crate::errand::is_catching;
use crate::runtime::cluster::Peer;
use crate::runtime::{DurableError, RunError};

/// Exit codes of the command; [`Exit::HELP`] says the same in the command's own help.
///
/// There is no 1: what is wrong with the command line is 2, as for most commands.
///
/// | code | meaning |
/// |---|---|
/// | 0 | done, or ended in order by SIGINT or SIGTERM |
/// | 2 | the command line or the configuration is bad: an option, a value, a file, a host file, a secret, a state that another run uses |
/// | 3 | an input cannot be read, or not to its end, or has a key of which a join makes too many pairs |
/// | 4 | an output or the state cannot be written, or the state not be read |
/// | 5 | the processes of the cluster did not come together |
/// | 6 | another process of the cluster was lost: its connection is gone, or it gave no sign of life for `--stall-timeout` |
/// | 7 | nothing moved for `--stall-timeout` while there was work: the watchdog ended the process |
/// | 8 | nothing came of the input: no line of the form that is read, no record with a time that counts |
/// | 70 | a bug: a thread panicked |
/// | 130 | a second SIGINT or SIGTERM, while ending in order |
///
/// ```
/// use std::process::ExitCode;
/// use thalweg::runtime::Exit;
/// assert_eq!(ExitCode::from(Exit::Done), ExitCode::SUCCESS);
/// assert_eq!(Exit::PeerLost as u8, 6);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// The command line or the configuration is bad.
    Configuration = 2,
    /// An input cannot be read.
    Input = 3,
    /// An output cannot be written.
    Output = 4,
    /// The cluster did not come together.
    Join = 5,
    /// Another process was lost.
    PeerLost = 6,
    /// Nothing moved for too long.
    Stalled = 7,
    /// Nothing came of the input.
    Nothing = 8,
    /// A thread panicked.
    Panic = 70,
    /// Ended at once, by a second signal.
    Interrupted = 130,
}

impl Exit {
    /// What the codes mean, as `--help` lists them.
    pub const HELP: &str = "\
Exit codes: 0 done, or ended by a signal in order; 2 bad command line or configuration; 3 input cannot be read; \
4 output or state cannot be written; 5 cluster not joined; 6 peer lost; 7 stalled (watchdog); 8 nothing came of the input; \
70 bug (panic); 130 second signal.";
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

/// How long a process stays that has lost a peer.
const LINGER: Duration = Duration::from_millis(200);

/// Set by the first thread that ends the process, so that one reason is given and not also its consequences.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Why a worker cannot go on, which is the end of its process.
pub(super) struct Fatal {
    /// The exit code that says so.
    pub(super) exit: Exit,
    /// The reason.
    pub(super) reason: Box<dyn Display + Send>,
}

impl Fatal {
    /// For `reason`.
    pub(super) fn new(exit: Exit, reason: impl Display + Send + 'static) -> Self {
        Fatal { exit, reason: Box::new(reason) }
    }
}

impl std::fmt::Debug for Fatal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fatal").field("exit", &self.exit).field("reason", &self.reason.to_string()).finish()
    }
}

impl From<RunError> for Fatal {
    fn from(error: RunError) -> Self {
        Fatal::new(error.exit(), error)
    }
}

impl From<DurableError> for Fatal {
    fn from(error: DurableError) -> Self {
        Fatal::new(error.exit(), error)
    }
}

/// Ends the process with `exit` after printing `reason`; only the first caller's reason is printed.
pub fn end(exit: Exit, reason: impl Display) -> ! {
    if ENDING.swap(true, Ordering::SeqCst) {
        // Another thread is about to end the process.
        loop {
            std::thread::sleep(Duration::from_secs(1));
        }
    }
    let reason = escape_text(&reason.to_string());
    let _ = writeln!(std::io::stderr().lock(), "thalweg: {reason}");
    if exit == Exit::PeerLost {
        // All peers of the lost process find out in the same moment; if the quickest left at once, the slower ones
        // would name it, and not the one that was lost.
        std::thread::sleep(LINGER);
    }
    std::process::exit(exit as i32)
}

/// The other processes of this cluster, for naming one that was lost.
static PEERS: OnceLock<Vec<Peer>> = OnceLock::new();

/// Tells the panic hook who the peers of process `ours` are.
pub(super) fn name_peers(ours: usize, addresses: &[String]) {
    let peer = |(process, address): (usize, &String)| Peer { process, address: address.clone() };
    let others = addresses.iter().enumerate().filter(|(process, _)| *process != ours);
    let _ = PEERS.set(others.map(peer).collect());
}

/// Makes a panic in any thread the end of the process.
pub fn end_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        if is_catching() {
            return;
        }
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or("unnamed").to_owned();
        match lost_peer(&thread, info) {
            Some((peer, cause)) => end(Exit::PeerLost, format_args!("lost {peer}: {cause}")),
            None => {
                let backtrace = std::backtrace::Backtrace::capture();
                // What is wrong may be the line, for a function that a user has written: then a supervisor can stop instead of
                // starting the run again and again.
                let at = lines_at().map_or(String::new(), |at| format!("\n  it worked on {at}"));
                let bug = format!("thread `{thread}` panicked: {info}{at}\n{backtrace}");
                end(Exit::Panic, bug.trim_end().trim_end_matches("disabled backtrace").trim_end())
            }
        }
    }));
}

/// Whether this panic is how timely says that another process is not to be counted on; which one, and why.
///
/// Its network threads say that a connection is gone, or brought what is no message of the cluster: they are named after
/// the process at its other end, and their message begins with words that timely promises to keep. A worker says that
/// what a message holds cannot be read; it is not told who sent it.
fn lost_peer(thread: &str, info: &PanicHookInfo<'_>) -> Option<(String, String)> {
    let (peers, message) = (PEERS.get()?, info.payload_as_str()?);
    if let Some(cause) = message.strip_prefix("timely communication error: ") {
        let peer = thread.strip_prefix("timely:recv-").or(thread.strip_prefix("timely:send-"))?;
        let peer = peers.iter().find(|one| one.process.to_string() == peer)?;
        return Some((peer.to_string(), cause.to_owned()));
    }
    let cause = message.strip_prefix("bincode::deserialize() failed: ")?;
    let names: Vec<_> = peers.iter().map(Peer::to_string).collect();
    let who = if names.len() == 1 { names.concat() } else { format!("one of {}", names.join(", ")) };
    Some((who, format!("a message of it holds what cannot be read ({cause})\n  hint: {INSECURE}")))
}

/// How such a process can be one of the cluster at all.
const INSECURE: &str = "without --cluster-secret-file, whoever reaches the address can join";
