//! Some epochs of a script on some workers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use differential_dataflow::difference::Semigroup;
use timely::worker::Worker;

use crate::dataflow::{Build, Flow};
use crate::door::Lines;
use crate::ledger::{Conductor, Mark};
use crate::runtime::assign;
use crate::runtime::ingest::{Ingest, IngestSetup, Turn};
use crate::runtime::messages::Messages;
use crate::sink::{At, Attached, Mode, Outputs, Shows, Start};
use crate::source::{Progress, ReadOptions, Source};
use crate::state::{Keep, Queue, Snapshot};
use crate::testing::answer::{Answer, Recorder};
use crate::time::{Epoch, TimeOptions};
use crate::view::{Deliveries, Keep as Retention};

/// How long a worker that waits sleeps at most: another one may have the core.
const PARK: std::time::Duration = std::time::Duration::from_millis(1);

/// Some epochs on some workers.
pub(super) struct Stage {
    pub(super) build: Build,
    pub(super) time: TimeOptions,
    /// The number of the first epoch.
    pub(super) first: u64,
    pub(super) sources: Vec<(Option<String>, Arc<dyn Source>)>,
    /// For the first worker.
    pub(super) conductor: Mutex<Option<Conductor>>,
    /// What it goes on from.
    pub(super) handed: Option<Arc<Snapshot>>,
    /// Where it hands over what changes, after each epoch.
    pub(super) queue: Mutex<Queue>,
    pub(super) answer: Arc<Mutex<Answer>>,
    /// Whether a worker has panicked: the others would wait for it for ever.
    pub(super) failed: AtomicBool,
}

/// Tells the other workers if this one panics.
struct Alarm<'a>(&'a AtomicBool);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

impl Stage {
    /// One worker's part; the first tells how far the run has come.
    pub(super) fn run(&self, worker: &mut Worker) -> Option<Mark> {
        let _alarm = Alarm(&self.failed);
        let index = worker.index();
        let keep = Keep::new(index, self.queue.lock().expect("no worker panicked").clone());
        let messages = Messages::install(worker);
        let (feed, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, feed) = Lines::fed(scope, Arc::new(Progress::default()), self.time);
            let mut lines = lines.keeping(keep.clone());
            if let Some(snapshot) = &self.handed {
                lines = lines.restoring(Arc::clone(snapshot));
            }
            let installed = self.build.install(Flow::new(scope, lines, Deliveries::ALL));
            (feed, installed.unwrap_or_else(|error| panic!("{error}")))
        });
        let check = || installed.durable.restored().unwrap_or_else(|error| panic!("{error}"));
        check();
        let recorder = |mode| {
            let sink = Recorder { answer: Arc::clone(&self.answer), finals: mode == Mode::Append };
            Attached::new(
                "recorder",
                Box::new(sink),
                Shows { mode, at: At::EveryEpoch, keep: Retention::ALL },
            )
        };
        let recorders = [Mode::Complete, Mode::Append].into_iter().filter(|_| index == 0).map(recorder);
        let start = Start { first: self.first, ..Start::default() };
        let outputs = Outputs::open(installed.views, recorders.collect(), start);
        let mut outputs = outputs.unwrap_or_else(|error| panic!("{error}"));
        let conductor = self.conductor.lock().expect("no worker panicked").take_if(|_| index == 0);
        let setup = IngestSetup {
            inputs: assign(&self.sources, &installed.inputs).unwrap_or_else(|error| panic!("{error}")),
            options: ReadOptions::default(),
            conductor,
            event_time: installed.event_time,
            horizon: installed.horizon,
            checks: false,
        };
        let mut ingest = Ingest::new(worker, messages, feed, setup);
        let mut cut = self.first;
        // A door may be followed by no view.
        let behind = |next: Option<u64>| {
            keep.frontier().zip(next).is_some_and(|(frontier, next)| frontier < Epoch::new(next))
        };
        while !installed.probe.done() || behind(ingest.next_epoch()) {
            let failed = self.failed.load(Ordering::SeqCst);
            assert!(!failed, "another worker panicked; its message stands above");
            if let Some(fault) = installed.faults.get() {
                panic!("{fault}");
            }
            let frontier = installed.probe.with_frontier(|frontier| frontier.first().copied());
            let closed = frontier.map_or(u64::MAX, |epoch| epoch.number());
            let turn = ingest.turn(closed, outputs.has_room()).unwrap_or_else(|error| panic!("{error}"));
            let upto = ingest.next_epoch().map_or(cut, |next| next.min(closed));
            if upto > cut && !behind(Some(upto)) {
                check();
                keep.cut(Epoch::new(upto));
                cut = upto;
            }
            match turn {
                Turn::Busy => worker.step(),
                Turn::Wait(_) => worker.step_or_park(Some(PARK)),
            };
            if index == 0 {
                let frontier = installed.probe.with_frontier(|frontier| frontier.first().copied());
                outputs.advance(ingest.sealed(frontier), 0).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        if let Some(next) = ingest.next_epoch().filter(|next| *next > cut) {
            check();
            keep.cut(Epoch::new(next));
        }
        keep.finish().unwrap_or_else(|error| panic!("{error}"));
        outputs.finish().unwrap_or_else(|error| panic!("{error}"));
        if index == 0 {
            let mut answer = self.answer.lock().expect("no worker panicked");
            answer.counts.plus_equals(&installed.summary.get().counts);
        }
        ingest.conductor().map(|conductor| {
            let mut answer = self.answer.lock().expect("no worker panicked");
            answer.records.extend(conductor.take_sealed());
            conductor.mark()
        })
    }
}
