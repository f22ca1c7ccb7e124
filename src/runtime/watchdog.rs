//! The watchdog: a process in which nothing moves ends, and says where it is stuck.
//!
//! Timely waits for ever for a capability that nobody drops. Each worker therefore writes down, outside itself, whether
//! it has epochs that are not closed, the least of them, what it is doing, and which places in the dataflow hold it back
//! (timely's reachability log: outstanding capabilities and messages by operator). One thread for the whole process
//! looks at that. Reading is moving, and so is each step of an epoch: an epoch may be as long as one likes, and have as many steps.
//!
//! Of the other processes of a cluster it knows what they say of themselves all the time ([`Peers`]): that they live, and
//! whether they read, or wait for whoever reads their output. One that says nothing for the limit is lost: it is stopped,
//! or all of it hangs, or the way to it is cut.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use timely::logging::{TimelyEvent, TimelyEventBuilder};
use timely::progress::reachability::logging::{TrackerEvent, TrackerEventBuilder};
use timely::worker::Worker;

use crate::runtime::cluster::{BEAT, Peers};
use crate::runtime::{Exit, fatal};
use crate::source::Progress;
use crate::time::Epoch;

/// What a worker waits for when every view is complete.
pub(super) const WHOLE_RUN: u64 = u64::MAX - 1;
/// A worker waits for nothing.
const NOTHING: u64 = u64::MAX;

/// What a worker is at: what it has not come back from when it gives no sign of life.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub(super) enum Doing {
    /// Reading its sources.
    Read,
    /// Running operators, or waiting for a reason to.
    Step,
    /// Writing to sinks.
    Write,
}

/// What a worker tells of itself.
#[derive(Debug)]
pub(super) struct Vitals {
    /// Grows for as long as the worker is not kept by anything.
    beats: AtomicU64,
    /// A [`Doing`].
    doing: AtomicU8,
    /// The first epoch that is open here but not closed everywhere, or [`NOTHING`].
    waiting_for: AtomicU64,
    /// How far the dataflow has come, epochs and their steps.
    reached: AtomicU64,
    /// Whether a sink has enough to do, so that no epoch is begun.
    held: AtomicBool,
    places: Mutex<Places>,
}

impl Default for Vitals {
    fn default() -> Self {
        Vitals {
            beats: AtomicU64::new(0),
            doing: AtomicU8::new(Doing::Step as u8),
            waiting_for: AtomicU64::new(NOTHING),
            reached: AtomicU64::new(0),
            held: AtomicBool::new(false),
            places: Mutex::default(),
        }
    }
}

/// Where outstanding capabilities and messages are.
#[derive(Debug, Default)]
struct Places {
    /// Operators by their address in the dataflow graph.
    names: BTreeMap<Vec<usize>, String>,
    /// Addresses of scopes by their identifier in the reachability log.
    scopes: BTreeMap<usize, Vec<usize>>,
    /// Outstanding times by (scope, operator, whether it is a message, time).
    outstanding: BTreeMap<(usize, usize, bool, Epoch), i64>,
}

impl Vitals {
    /// Has `worker` write down what holds its frontiers back; before its dataflow is built.
    pub(super) fn observe(self: &Arc<Self>, worker: &Worker) {
        let Some(mut register) = worker.log_register() else { return };
        let vitals = Arc::clone(self);
        register.insert::<TimelyEventBuilder, _>("timely", move |_, events| {
            for (_, event) in events.iter().flatten() {
                if let TimelyEvent::Operates(operates) = event {
                    let mut places = vitals.places.lock().unwrap_or_else(PoisonError::into_inner);
                    places.names.insert(operates.addr.clone(), operates.name.clone());
                    places.scopes.insert(operates.id, operates.addr.clone());
                }
            }
        });
        let vitals = Arc::clone(self);
        let name = format!("timely/reachability/{}", std::any::type_name::<Epoch>());
        register.insert::<TrackerEventBuilder<Epoch>, _>(&name, move |_, events| {
            let mut places = vitals.places.lock().unwrap_or_else(PoisonError::into_inner);
            for (_, event) in events.iter().flatten() {
                let (scope, message, updates) = match event {
                    TrackerEvent::SourceUpdate(update) => (update.tracker_id, false, &update.updates),
                    TrackerEvent::TargetUpdate(update) => (update.tracker_id, true, &update.updates),
                };
                for (operator, _port, time, diff) in updates {
                    let key = (scope, *operator, message, *time);
                    let count = places.outstanding.entry(key).or_default();
                    *count += diff;
                    if *count == 0 {
                        places.outstanding.remove(&key);
                    }
                }
            }
        });
    }

    /// The worker goes on, with what it does next.
    pub(super) fn beat(&self, doing: Doing) {
        self.doing.store(doing as u8, Relaxed);
        self.beats.fetch_add(1, Relaxed);
    }

    /// What the worker waits for: the first epoch that it has open and that is not closed.
    pub(super) fn wait_for(&self, epoch: Option<u64>) {
        self.waiting_for.store(epoch.unwrap_or(NOTHING), Relaxed);
    }

    /// How far the dataflow has come: an epoch with a million steps is not stuck while they are done.
    pub(super) fn reach(&self, frontier: Option<Epoch>) {
        self.reached.store(frontier.unwrap_or(Epoch::END).to_bits(), Relaxed);
    }

    /// Whether the worker is held back by a sink that lags behind.
    pub(super) fn hold(&self, held: bool) {
        self.held.store(held, Relaxed);
    }

    /// What holds back the least outstanding time, in words.
    fn stuck(&self) -> String {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(least) = places.outstanding.keys().map(|(.., time)| *time).min() else {
            return "\n  no operator of this dataflow holds anything".to_owned();
        };
        let mut text = String::new();
        for (scope, operator, message, time) in places.outstanding.keys() {
            if *time != least {
                continue;
            }
            let mut address = places.scopes.get(scope).cloned().unwrap_or_default();
            address.push(*operator);
            let name = places.names.get(&address).map_or("the scope's own input", String::as_str);
            let what = if *message { "has messages that it has not read" } else { "holds a capability" };
            let _ = write!(text, "\n  operator `{name}` {address:?} {what} at epoch {time}");
        }
        text
    }
}

/// What the watchdog remembers of a worker.
#[derive(Debug, Default)]
struct Seen {
    beats: u64,
    waiting_for: u64,
    reached: u64,
    /// For how long the worker has given no sign of life.
    silent: Duration,
    /// For how long it has waited for the same epoch, while nothing was read either.
    waiting: Duration,
}

impl Seen {
    /// Looks at the worker again, `passed` after the last time.
    fn look(&mut self, vitals: &Vitals, passed: Duration, moved: bool) {
        let (beats, waiting_for) = (vitals.beats.load(Relaxed), vitals.waiting_for.load(Relaxed));
        self.silent = if self.beats == beats { self.silent + passed } else { Duration::ZERO };
        let reached = vitals.reached.load(Relaxed);
        let same = self.waiting_for == waiting_for && waiting_for != NOTHING && self.reached == reached;
        self.waiting = if same && !moved { self.waiting + passed } else { Duration::ZERO };
        (self.beats, self.waiting_for, self.reached) = (beats, waiting_for, reached);
    }
}

/// What the watchdog remembers of another process.
#[derive(Debug, Default)]
struct Heard {
    signs: u64,
    /// For how long nothing has been heard of it.
    silent: Duration,
}

/// So many signs of life in a row are not missed by a process that lives, however short the limit.
const MISSED: u32 = 10;

/// Looks at all peers again, `passed` after the last time; returns the one that has been silent for the longest time.
fn listen(peers: &Peers, heard: &mut [Heard], passed: Duration) -> Option<(usize, Duration)> {
    let mut longest = None;
    for (at, (life, heard)) in peers.lives().iter().zip(heard).enumerate() {
        // What has ended in order says nothing more, and what has ended otherwise is told by its connection.
        let Some(signs) = life.heard() else { continue };
        heard.silent = if heard.signs == signs { heard.silent + passed } else { Duration::ZERO };
        heard.signs = signs;
        longest = longest.max(Some((heard.silent, at)));
    }
    longest.map(|(silent, at)| (at, silent))
}

/// Ends the process when a worker has waited for the same epoch for `limit`, and nothing was read meanwhile; or when one
/// of the `peers` has given no sign of life for so long.
///
/// Time is counted in looks rather than by the clock: while the process is suspended (Ctrl-Z, a debugger), and while
/// the machine is too busy to run it, no time passes. Nor does it while a sink of any process is being written, by
/// however slow a reader: that is back-pressure.
pub(super) fn watch(
    workers: Vec<Arc<Vitals>>,
    first_worker: usize,
    limit: Duration,
    peers: Peers,
    progress: Arc<Progress>,
) -> std::io::Result<()> {
    let look = (limit / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
    std::thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        let mut seen: Vec<Seen> = workers.iter().map(|_| Seen::default()).collect();
        let mut heard: Vec<Heard> = peers.lives().iter().map(|_| Heard::default()).collect();
        let mut read = 0;
        loop {
            std::thread::sleep(look);
            let read_before = std::mem::replace(&mut read, progress.bytes.load(Relaxed));
            let writing = workers.iter().zip(&seen).any(|(vitals, seen)| {
                let writes = vitals.doing.load(Relaxed) == Doing::Write as u8;
                vitals.held.load(Relaxed) || writes && vitals.beats.load(Relaxed) == seen.beats
            });
            let busy = writing || read != read_before;
            peers.tell(busy);
            let moved = busy || peers.lives().iter().any(|life| life.is_busy());
            for (vitals, seen) in workers.iter().zip(&mut seen) {
                seen.look(vitals, look, moved);
            }
            // One that still steps knows best what it waits for: what a worker writes down arrives between steps.
            // Where something hangs, the process in which it does knows best: the others let it speak first.
            let hung = peers.lives().is_empty() || seen.iter().any(|seen| seen.silent >= limit);
            let patience = if hung { limit } else { limit + limit / 4 };
            let waiting = seen.iter().enumerate().filter(|(_, seen)| seen.waiting >= patience);
            let stalled = waiting.min_by_key(|(_, seen)| seen.silent).map(|(stalled, _)| stalled);
            // Who waits for an epoch waits for the silent one, which may have been heard a moment after the wait began.
            let long = if stalled.is_some() { limit / 2 } else { limit };
            let silent = listen(&peers, &mut heard, look);
            if let Some((peer, silent)) = silent.filter(|(_, silent)| *silent >= long.max(BEAT * MISSED)) {
                let peer = &peers.lives()[peer].peer;
                fatal::end(
                    Exit::PeerLost,
                    format_args!(
                        "lost {peer}: it has given no sign of life for {silent:?}\n  \
                         hint: is it stopped (SIGSTOP, a debugger), or its machine, or the network between? \
                         --stall-timeout sets how long to wait"
                    ),
                );
            }
            let Some(stalled) = stalled else { continue };
            let what = match seen[stalled].waiting_for {
                WHOLE_RUN => {
                    "the input has ended and every view is complete, but the dataflow does not end".to_owned()
                }
                epoch => format!("epoch {epoch} does not close"),
            };
            let stuck = workers[stalled].stuck();
            // The worker that waits is rarely the one that hangs; that one may have begun to a moment after the wait did.
            let reason = match seen.iter().position(|seen| seen.silent >= limit / 2) {
                Some(hung) => {
                    let reading = workers[hung].doing.load(Relaxed) == Doing::Read as u8;
                    let place = if reading { "reading its input" } else { "an operator" };
                    let worker = first_worker + hung;
                    format!(
                        "worker {worker} has not come back from {place} for {:?}: {what}{stuck}",
                        seen[hung].silent
                    )
                }
                None => format!("nothing has moved for {patience:?}: {what}{stuck}"),
            };
            let hint = "hint: an operator that keeps a capability, or a peer that hangs, stops all; \
                        --stall-timeout sets how long to wait";
            fatal::end(Exit::Stalled, format_args!("{reason}\n  {hint}"));
        }
    })?;
    Ok(())
}
