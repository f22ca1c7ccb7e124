//! Ending in order: every worker of every process stops after the same epoch.
//!
//! A signal reaches one process, at some moment of its own. If its workers simply stopped reading, the epochs that
//! others go on with would lack its share of the lines. So a worker that sees the signal tells all others how many epochs
//! it has begun, and goes no further; a worker that hears of it does the same. When a worker has heard from all, the
//! most that anyone has begun is how many all of them finish: nobody has gone past it, because nobody went on
//! after telling, and all work it out from the same announcements.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use timely::container::CapacityContainerBuilder;
use timely::dataflow::InputHandle;
use timely::dataflow::operators::vec::Broadcast;
use timely::dataflow::operators::{Input, Inspect};
use timely::worker::Worker;

use crate::runtime::Exit;
use crate::runtime::fatal;

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
            log::warn!("ending in order, after the open epochs; a second signal ends at once");
        }
    })?;
    Ok(())
}

/// Whether a signal has asked for the end.
pub(super) fn requested() -> bool {
    SIGNALS.load(Ordering::Relaxed) > 0
}

/// A worker's part in the agreement on where to stop.
#[derive(Debug)]
pub(super) struct Stop {
    /// Takes how many epochs this worker has begun, once.
    input: Option<InputHandle<u64, CapacityContainerBuilder<Vec<u64>>>>,
    heard: Rc<Cell<Heard>>,
    announced: bool,
    peers: usize,
}

/// What has been announced so far.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    workers: usize,
    most: u64,
}

impl Stop {
    pub(super) fn install(worker: &mut Worker) -> Self {
        let heard = Rc::new(Cell::new(Heard::default()));
        let hears = Rc::clone(&heard);
        let input = worker.dataflow_named::<u64, _, _>("Stop", move |scope| {
            let (input, announcements) = scope.new_input::<Vec<u64>>();
            announcements.broadcast().inspect(move |begun| {
                let Heard { workers, most } = hears.get();
                hears.set(Heard { workers: workers + 1, most: most.max(*begun) });
            });
            input
        });
        Stop { input: Some(input), heard, announced: false, peers: worker.peers() }
    }

    /// How things stand with a worker that has begun `begun` epochs; it announces that if it is time to.
    pub(super) fn look(&mut self, begun: u64) -> Stopping {
        if !self.announced && (requested() || self.heard.get().workers > 0) {
            self.announced = true;
            if let Some(input) = &mut self.input {
                input.send(begun);
                input.flush();
            }
        }
        match self.heard.get() {
            _ if !self.announced => Stopping::No,
            Heard { workers, .. } if workers < self.peers => Stopping::Agreeing,
            Heard { most, .. } => Stopping::After(most),
        }
    }

    /// This worker has nothing more to stop.
    pub(super) fn close(&mut self) {
        self.input = None;
    }
}

/// Whether the run is to end in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopping {
    /// It goes on.
    No,
    /// Not all workers have said how far they are; until then, none goes on.
    Agreeing,
    /// So many epochs are finished, and no more are begun.
    After(u64),
}
