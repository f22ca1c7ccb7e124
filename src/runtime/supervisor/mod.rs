//! Several processes of this program on one machine, as one: started together, restarted together, ended together.
//!
//! ```text
//! supervise ── starts process 0 … n−1, with ports and a secret drawn anew ── a thread each: its end; its standard error
//!     ▲                                                                            │
//!     └── events: a process has ended, a signal has come ◀─────────────────────────┘
//! ```
//!
//! When one process dies, the others have lost a peer and end; those that do not are killed. Then all of them are started again: with
//! durable state they go on from the last snapshot. It is not tried again where that is no use: a configuration that is wrong; a
//! failure that repeats itself at the same place; too many within a time.
//!
//! Processes learn what they need by their environment, where no other user can read it: where they listen, the secret, and
//! who supervises them. They end at once when that process is gone.

mod child;
mod verdict;

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use signal_hook::consts::{SIGINT, SIGTERM};

use self::child::{Child, Ended};
use self::verdict::{Failure, History, Next};
use super::clock::now;
use crate::runtime::{Exit, environment};
use crate::source::Backoff;

/// The variable that holds the cluster's secret.
pub(crate) const SECRET: &str = "THALWEG_CLUSTER_SECRET";
/// The variable that holds where the processes listen, with commas between.
pub(crate) const ADDRESSES: &str = "THALWEG_CLUSTER_ADDRESSES";
/// The variable that holds the id of the process that supervises.
const SUPERVISOR: &str = "THALWEG_SUPERVISOR";

/// How long the others have to end by themselves when one has failed: they lose it at once, and may have a last epoch to write.
const GRACE: Duration = Duration::from_secs(5);

/// What is supervised, and how often it is tried.
#[derive(Clone, Debug)]
pub struct Supervision {
    /// The program; it is told by its environment that it is one of a cluster.
    pub program: PathBuf,
    /// What it is told to do: `run DATAFLOW …`.
    pub arguments: Vec<OsString>,
    /// How many processes, at least 1.
    pub processes: usize,
    /// How often all are started again within [`Supervision::within`], before it is given up.
    pub restarts: usize,
    /// The time in which that number counts.
    pub within: Duration,
}

/// Why processes cannot be supervised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SuperviseError {
    /// The system refuses something.
    #[error("cannot {what}: {source}")]
    System {
        /// What was to be done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

/// Something that the supervisor hears.
#[derive(Debug)]
enum Event {
    /// Process `process` of the `round`-th start has ended, and waits to be looked at.
    Ended { round: u64, process: usize },
    /// This process was sent a signal.
    Signal(i32),
}

/// Starts the processes of `supervision` and keeps them running until they end in order, or it is no use. `tell` is given each line
/// that they write to standard error, and what is to be said of them, as lines without their end.
///
/// Returns the exit code: that of the first failure, if it ended with one, and 128 and the number of the signal, if a signal
/// ended that process.
///
/// SIGINT and SIGTERM are handed on to the processes, which end in order; a second one is handed on, too.
///
/// # Errors
///
/// When the system refuses processes, threads or ports.
pub fn supervise(
    supervision: &Supervision,
    tell: impl Fn(&str) + Clone + Send + 'static,
) -> Result<u8, SuperviseError> {
    let (events, received) = channel();
    listen_to_signals(events.clone())?;
    let mut history = History::new(supervision.restarts, supervision.within);
    let mut backoff = Backoff::new();
    for round in 0.. {
        let begun = now();
        let children = start(supervision, round, &events, &tell)?;
        let (failure, stopped) = watch(children, round, &received, &tell);
        let Some(failure) = failure else { return Ok(Exit::Done as u8) };
        if stopped {
            return Ok(failure.code);
        }
        tell(&format!("thalweg: {failure}"));
        match history.next(&failure, now()) {
            Next::GiveUp(why) => {
                tell(&format!("thalweg: gave up: {why}"));
                return Ok(failure.code);
            }
            Next::Restart => {}
        }
        if begun.elapsed() > supervision.within {
            backoff = Backoff::new();
        }
        let wait = backoff.next();
        tell(&format!("thalweg: all processes are started again in {:.1} s", wait.as_secs_f64()));
        if has_signal_within(&received, wait) {
            return Ok(Exit::Done as u8);
        }
    }
    unreachable!("there is always another round")
}

fn system(what: &'static str) -> impl FnOnce(io::Error) -> SuperviseError {
    move |source| SuperviseError::System { what, source }
}

fn listen_to_signals(events: Sender<Event>) -> Result<(), SuperviseError> {
    let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]);
    let mut signals = signals.map_err(system("listen to signals"))?;
    let listen = move || {
        let _ = signals.forever().try_for_each(|signal| events.send(Event::Signal(signal)));
    };
    let started = Builder::new().name("signals".to_owned()).spawn(listen);
    started.map(drop).map_err(system("start a thread"))
}

fn start(
    supervision: &Supervision,
    round: u64,
    events: &Sender<Event>,
    tell: &(impl Fn(&str) + Clone + Send + 'static),
) -> Result<Vec<Child>, SuperviseError> {
    // All at once, so that no two are the same. Somebody else may take one before its process does, and is found out.
    let listeners = (0..supervision.processes).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let listeners = listeners.collect::<io::Result<Vec<_>>>().map_err(system("find free ports"))?;
    let addresses = listeners.iter().map(|listener| Ok(listener.local_addr()?.to_string()));
    let addresses = addresses.collect::<io::Result<Vec<_>>>().map_err(system("find free ports"))?.join(",");
    drop(listeners);
    let mut secret = [0; 32];
    let drawn = getrandom::fill(&mut secret).map_err(|error| io::Error::other(error.to_string()));
    drawn.map_err(system("draw a secret"))?;
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let environment =
        [(SECRET, secret), (ADDRESSES, addresses), (SUPERVISOR, std::process::id().to_string())];
    let mut children = Vec::new();
    for process in 0..supervision.processes {
        match Child::start(supervision, process, &environment, (round, events.clone()), tell.clone()) {
            Ok(child) => children.push(child),
            Err(source) => {
                children.iter_mut().for_each(Child::kill);
                return Err(system("start the processes")(source));
            }
        }
    }
    Ok(children)
}

/// Waits until all have ended, and makes them, once one has failed. Returns the failure, if there was one, and whether a
/// signal had asked for the end.
fn watch(
    mut children: Vec<Child>,
    round: u64,
    events: &Receiver<Event>,
    tell: &impl Fn(&str),
) -> (Option<Failure>, bool) {
    let mut ended: Vec<Ended> = Vec::new();
    let (mut signals, mut deadline) = (0, None::<Instant>);
    while ended.len() < children.len() {
        let event = match deadline {
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => events.recv_timeout(at.saturating_duration_since(now())),
        };
        match event {
            Ok(Event::Ended { round: of, process }) if of == round => {
                let end = children[process].end(process);
                // Those that are left have lost a peer. After one that is done they may have much to write.
                if !end.is_done() {
                    deadline.get_or_insert_with(|| now() + GRACE);
                }
                ended.push(end);
            }
            Ok(Event::Ended { .. }) => {}
            Ok(Event::Signal(signal)) => {
                signals += 1;
                let signal = if signal == SIGINT { Signal::INT } else { Signal::TERM };
                // Who has not ended at the second is not asked a third time.
                let signal = if signals > 2 { Signal::KILL } else { signal };
                children.iter_mut().for_each(|child| child.signal(signal));
            }
            Err(RecvTimeoutError::Timeout) => {
                let left: Vec<_> = children.iter().filter(|child| child.is_running()).collect();
                if !left.is_empty() {
                    tell(&format!(
                        "thalweg: {} processes have not ended in time, and are killed",
                        left.len()
                    ));
                }
                children.iter_mut().for_each(Child::kill);
                deadline = None;
            }
            // This side has a sender.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    (verdict::first_failure(ended, signals > 0), signals > 0)
}

/// Whether a signal comes within `wait`.
fn has_signal_within(events: &Receiver<Event>, wait: Duration) -> bool {
    let until = now() + wait;
    loop {
        match events.recv_timeout(until.saturating_duration_since(now())) {
            Ok(Event::Signal(_)) => return true,
            Ok(Event::Ended { .. }) => {}
            Err(_) => return false,
        }
    }
}

/// Where the processes of a supervised cluster listen, for one of them.
pub(crate) fn addresses() -> Option<Vec<String>> {
    environment(SUPERVISOR)?;
    Some(environment(ADDRESSES)?.split(',').map(str::to_owned).collect())
}

/// Has this process end when the one that supervises it does, if there is one.
///
/// # Errors
///
/// When the system refuses.
pub fn end_with_supervisor() -> io::Result<()> {
    let Some(supervisor) = environment(SUPERVISOR).and_then(|id| id.parse::<i32>().ok()) else {
        return Ok(());
    };
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    // It may have gone before that was said.
    if rustix::process::getppid().map(rustix::process::Pid::as_raw_pid) != Some(supervisor) {
        super::fatal::end(Exit::PeerLost, "whoever supervised this process has gone");
    }
    Ok(())
}
