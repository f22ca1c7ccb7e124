//! One worker of an embedded run, and what it shares with the program that embeds it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use timely::dataflow::operators::probe;
use timely::worker::Worker;

use crate::dataflow::{Build, Flow, Summary};
use crate::door::Lines;
use crate::errand::panic_message;
use crate::ledger::Conductor;
use crate::operators::Routing;
use crate::runtime::ingest::{Ingest, IngestSetup, LONGEST_WAIT, Sealed, Turn};
use crate::runtime::messages::Messages;
use crate::runtime::{RunError, assign};
use crate::source::{Progress, ReadOptions, Source};
use crate::time::{Epoch, TimeOptions};
use crate::view::{Changed, Deliveries, Schema, Views};

/// What the workers say to the program.
#[derive(Debug)]
pub(super) enum Event {
    /// The dataflow is built.
    Built(Vec<Arc<Schema>>),
    /// What changed at a time that is closed.
    Changed(Changed),
    /// All epochs before this one are closed, and what has come of their lines.
    Closed(u64, Summary),
    /// All epochs are closed: there are no more.
    Ended(Summary),
    /// A worker has failed: see [`Shared::take_error`].
    Failed,
}

/// What the program and the workers share.
#[derive(Debug)]
pub(super) struct Shared {
    /// How many epochs the program has asked for.
    requested: AtomicU64,
    /// Whether every worker is to leave at once.
    over: AtomicBool,
    /// Why, if it is because of an error: the first one.
    error: Mutex<Option<RunError>>,
    /// By worker, once it runs.
    threads: Vec<OnceLock<Thread>>,
    events: Sender<Event>,
}

impl Shared {
    pub(super) fn new(workers: usize, events: Sender<Event>) -> Self {
        Shared {
            requested: AtomicU64::new(0),
            over: AtomicBool::new(false),
            error: Mutex::new(None),
            threads: (0..workers).map(|_| OnceLock::new()).collect(),
            events,
        }
    }

    /// Asks for an epoch with all that has been pushed.
    pub(super) fn request(&self) {
        self.requested.fetch_add(1, Ordering::SeqCst);
        self.wake();
    }

    /// Has every worker leave at once.
    pub(super) fn give_up(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Why the run has failed, once.
    pub(super) fn take_error(&self) -> Option<RunError> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn fail(&self, error: RunError) {
        // What comes later is a consequence.
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.give_up();
        self.send(Event::Failed);
    }

    /// Nobody hears it if the program has let go of the run.
    fn send(&self, event: Event) {
        let _ = self.events.send(event);
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        self.threads.iter().filter_map(OnceLock::get).for_each(Thread::unpark);
    }
}

/// What every worker is given.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) build: Build,
    pub(super) time: TimeOptions,
    pub(super) read: ReadOptions,
    pub(super) deliveries: Deliveries,
    /// Each with the input that it is for.
    pub(super) sources: Vec<(Option<String>, Arc<dyn Source>)>,
    /// For the first worker.
    pub(super) conductor: Mutex<Option<Conductor>>,
    pub(super) shared: Arc<Shared>,
    /// How keys are dealt to workers.
    pub(super) routing: Routing,
}

/// Runs `job` on `worker`. Whatever ends it early ends all workers, who would wait for it for ever.
pub(super) fn work(worker: &mut Worker, job: &Job) {
    let index = worker.index();
    let _ = job.shared.threads[index].set(std::thread::current());
    // The worker is not used after a panic: the thread goes on unwinding, with all that it holds.
    match catch_unwind(AssertUnwindSafe(|| run(worker, job))) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => job.shared.fail(error),
        Err(payload) => {
            let message = panic_message(&*payload);
            job.shared.fail(RunError::Panicked { what: format!("worker {index}"), message });
            resume_unwind(payload);
        }
    }
    // Nothing is left of a run that came to its end. Of another, timely would wait for the rest.
    for dataflow in worker.installed_dataflows() {
        worker.drop_dataflow(dataflow);
    }
}

fn run(worker: &mut Worker, job: &Job) -> Result<(), RunError> {
    let index = worker.index();
    let shared = &job.shared;
    job.routing.install();
    let messages = Messages::install(worker);
    let (feed, installed) = worker.dataflow_named::<Epoch, _, _>(job.build.name(), |scope| {
        let (lines, feed) = Lines::fed(scope, Arc::new(Progress::default()), job.time);
        let flow = Flow::new(scope, lines, job.deliveries);
        job.build.install(flow).map(|installed| (feed, installed))
    })?;
    let setup = IngestSetup {
        inputs: assign(&job.sources, &installed.inputs).map_err(RunError::Differs)?,
        options: job.read,
        conductor: job.conductor.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| index == 0),
        event_time: installed.event_time,
        horizon: installed.horizon,
        checks: false,
        records: Sealed::Forgotten,
    };
    let mut ingest = Ingest::new(worker, messages, feed, setup);
    let (probe, summary) = (installed.probe, installed.summary);
    let mut outlet = (index == 0).then(|| {
        shared.send(Event::Built(installed.views.schemas().cloned().collect()));
        Outlet { views: installed.views, closed: 0 }
    });

    let mut asked = 0;
    while !probe.done() {
        if shared.is_over() {
            return Ok(());
        }
        let requested = shared.requested.load(Ordering::SeqCst);
        (asked..requested).for_each(|_| ingest.request());
        asked = requested;
        let closed = frontier(&probe).map_or(u64::MAX, |epoch| epoch.number());
        match ingest.turn(closed, true)? {
            Turn::Busy => worker.step(),
            Turn::Wait(longest) => worker.step_or_park(Some(longest)),
        };
        // Before what is closed is shown: all of it is the answer to what came before the line.
        if let Some(fault) = installed.faults.get() {
            return Err(fault.into());
        }
        if let Some(outlet) = outlet.as_mut().filter(|_| !probe.done()) {
            outlet.advance(ingest.sealed(frontier(&probe)), summary.get(), shared);
        }
    }
    if let Some(outlet) = &mut outlet {
        outlet.advance(None, summary.get(), shared);
    }
    while worker.has_dataflows() && !shared.is_over() {
        worker.step_or_park(Some(LONGEST_WAIT));
    }
    Ok(())
}

fn frontier(probe: &probe::Handle<Epoch>) -> Option<Epoch> {
    probe.with_frontier(|frontier| frontier.first().copied())
}

/// The way of the views to the program, on the first worker.
struct Outlet {
    views: Views,
    /// All epochs before this one are closed, and the program knows it.
    closed: u64,
}

impl Outlet {
    /// Everything before `upto` is closed and sealed; `None` is the end.
    fn advance(&mut self, upto: Option<Epoch>, summary: Summary, shared: &Shared) {
        while let Some(changed) = self.views.next_before(upto) {
            shared.send(Event::Changed(changed));
        }
        match upto.map(Epoch::number) {
            None => shared.send(Event::Ended(summary)),
            Some(closed) if closed > self.closed => {
                self.closed = closed;
                shared.send(Event::Closed(closed, summary));
            }
            Some(_) => {}
        }
    }
}
