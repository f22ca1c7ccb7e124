//! Ending in order: every worker of every process stops after the same epoch.
//!
//! A signal reaches one process, at some moment of its own. If its workers simply stopped reading, the epochs that
//! others go on with would lack its share of the lines. So a worker that sees the signal picks the epoch after which all
//! stop, far enough ahead that nobody can be past it (credits bound how far any worker is ahead of the closed epochs,
//! and so of this worker's open one), tells all, and keeps its own epoch open until all have answered; then nobody can
//! get past it before they know.
//!
//! A worker whose input has ended has no epoch to keep open, so it cannot pick one: it only says that it was asked.
//! Whoever hears an announcement makes one of its own, and all stop after the least of them.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Exchange, Input, Inspect};
use timely::worker::Worker;

use super::Exit;
use super::fatal;

/// How many signals have arrived.
static SIGNALS: AtomicUsize = AtomicUsize::new(0);

/// Whether there is a run, which can be ended in order; before that, a process waits for peers and has nothing to lose.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// From now on, a signal asks workers to end in order.
pub(super) fn running() {
    RUNNING.store(true, Ordering::SeqCst);
}

/// Turns SIGINT and SIGTERM into a request to end in order, and a second one into an end at once.
///
/// Before the workers have started, the first one ends the process.
///
/// # Errors
///
/// When the system refuses the handlers.
pub fn end_in_order_on_signals() -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for _ in signals.forever() {
            if !RUNNING.load(Ordering::SeqCst) {
                fatal::end(Exit::Done, "ended by a signal before the run had begun");
            }
            if SIGNALS.fetch_add(1, Ordering::SeqCst) > 0 {
                fatal::end(Exit::Interrupted, "ended by a second signal; the last epochs may be missing");
            }
            log::info!("ending in order; a second signal ends at once");
        }
    })?;
    Ok(())
}

fn requested() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0
}

/// What a worker announces that has no epoch open.
const NO_EPOCH: u64 = u64::MAX;

/// A worker's part in the agreement on where to stop.
#[derive(Debug)]
pub(super) struct Stop {
    input: Option<InputHandle<u64, CapacityContainerBuilder<Vec<(u64, u64)>>>>,
    /// The least epoch that was announced, once one was.
    last: Rc<Cell<Option<u64>>>,
    /// Workers that have answered this worker's announcement.
    answers: Rc<Cell<usize>>,
    announced: bool,
    me: u64,
    peers: usize,
}

impl Stop {
    pub(super) fn install(worker: &mut Worker) -> Self {
        let last = Rc::new(Cell::new(None));
        let answers = Rc::new(Cell::new(0));
        let (last_known, answered) = (Rc::clone(&last), Rc::clone(&answers));
        let input = worker.dataflow_named::<u64, _, _>("Stop", move |scope| {
            let (input, announcements) = scope.new_input::<Vec<(u64, u64)>>();
            announcements
                .broadcast()
                .inspect(move |(_, epoch)| {
                    last_known.set(Some(last_known.get().map_or(*epoch, |known: u64| known.min(*epoch))))
                })
                .exchange(|(announcer, _)| *announcer)
                .inspect(move |_| answered.set(answered.get() + 1));
            input
        });
        let (me, peers) = (worker.index() as u64, worker.peers());
        Stop { input: Some(input), last, answers, announced: false, me, peers }
    }

    /// Announces a stop if one was requested. `open` is this worker's epoch, `ahead` how far another's may be ahead of it.
    ///
    /// Returns whether the open epoch must stay open for now.
    pub(super) fn hold(&mut self, open: u64, ahead: u64) -> bool {
        self.announce(open + ahead);
        self.announced && self.answers.get() < self.peers
    }

    /// As [`Stop::hold`], of a worker whose input has ended.
    pub(super) fn pass_on(&mut self) {
        self.announce(NO_EPOCH);
    }

    fn announce(&mut self, last: u64) {
        if self.announced || !requested() && self.last.get().is_none() {
            return;
        }
        self.announced = true;
        if let Some(input) = &mut self.input {
            input.send((self.me, last));
            input.flush();
        }
    }

    /// The epoch after which all workers stop, as far as that is known; while a worker holds its epoch, it may sink.
    pub(super) fn last(&self) -> Option<u64> {
        self.last.get().filter(|last| *last != NO_EPOCH)
    }

    /// This worker has nothing more to stop.
    pub(super) fn close(&mut self) {
        self.input = None;
    }
}
