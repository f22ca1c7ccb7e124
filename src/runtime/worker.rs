//! The loop of one worker.

use std::sync::Arc;

use timely::dataflow::operators::Input;
use timely::worker::Worker;

use crate::data::InputCounts;
use crate::dataflow::{Build, Flow};
use crate::door::{Event, Lines};
use crate::runtime::ingest::{Ingest, LONGEST_WAIT, Turn};
use crate::runtime::stop::Stop;
use crate::runtime::watchdog::{Doing, Vitals, WHOLE_RUN};
use crate::runtime::{Exit, Settings, fatal};
use crate::sink::{Outputs, SinkSpec};
use crate::source::Progress;
use crate::source::{Plan, Reader, Stdin};
use crate::time::Epoch;

/// What every worker of a process is given.
#[derive(Debug)]
pub(super) struct Job {
    pub build: Build,
    pub settings: Settings,
    pub plan: Plan,
    pub progress: Arc<Progress>,
    /// By the index of the worker within the process.
    pub vitals: Vec<Arc<Vitals>>,
    /// The first worker of this process.
    pub first: usize,
}

/// What a worker has to say in the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Of all workers, on worker 0; nothing elsewhere.
    pub counts: InputCounts,
    /// How many epochs there were, on worker 0.
    pub epochs: u64,
}

/// Runs `job` on `worker` until the input has ended and every sink has been shown everything.
pub(super) fn work(worker: &mut Worker, job: &Job) -> Outcome {
    let (index, peers) = (worker.index(), worker.peers());
    let bounded = job.settings.is_bounded();
    let vitals = &job.vitals[index - job.first];
    vitals.observe(worker);

    let mut stop = Stop::install(worker);
    let gather = SinkSpec::gather(&job.settings.sinks, bounded);
    let (input, installed) = worker.dataflow_named::<Epoch, _, _>(job.build.name(), |scope| {
        let (input, stream) = scope.new_input::<Vec<Event>>();
        let lines = Lines::timed(stream, Arc::clone(&job.progress), job.settings.times());
        let mut flow = Flow::new(scope, lines, job.build.views(), gather);
        // It could be built before, when it was checked.
        job.build.run(&mut flow).unwrap_or_else(|error| panic!("{error}"));
        (input, flow.finish())
    });
    let probe = installed.probe;

    // Before one of them is opened, which empties its file.
    let fit = job.settings.sinks.iter().try_for_each(|sink| sink.check(&installed.outputs));
    fit.unwrap_or_else(|error| fatal::end(Exit::Configuration, error));
    // Views arrive on worker 0, so the sinks are there; a sink that cannot be opened is found out before the first line.
    let sinks = job.settings.sinks.iter().filter(|_| index == 0).map(|sink| sink.open(bounded));
    let sinks = sinks.collect::<Result<_, _>>().unwrap_or_else(|error| fatal::end(Exit::Output, error));
    let mut outputs = Outputs::new(installed.outputs, sinks);

    let mut live: Vec<Box<dyn Reader>> = Vec::new();
    if job.settings.stdin && index == 0 {
        let stdin = Stdin::new(job.settings.plan.max_line, std::thread::current());
        live.push(Box::new(stdin.unwrap_or_else(|error| fatal::end(Exit::Input, error))));
    }
    let mut ingest = Ingest::new((index, peers), &job.plan, live, input, installed.watermark, &job.settings);

    while !probe.done() {
        let closed =
            probe.with_frontier(|frontier| frontier.first().map_or(u64::MAX, |epoch| epoch.number()));
        vitals.beat(Doing::Read);
        let turn = ingest.turn(closed, &mut stop).unwrap_or_else(|error| fatal::end(Exit::Input, error));
        // Before the step: an operator may never come back from the very first line.
        vitals.wait_for(ingest.waiting_for(closed));
        vitals.beat(Doing::Step);
        match turn {
            Turn::Busy => worker.step(),
            Turn::Wait(longest) => worker.step_or_park(Some(longest)),
        };
        // Before what is closed is shown: all of it is the answer to what came before the line.
        if let Some(line) = installed.faults.get() {
            fatal::end(Exit::Input, line);
        }
        if index == 0 {
            vitals.beat(Doing::Write);
            let frontier = probe.with_frontier(|frontier| frontier.first().copied());
            let epochs = installed.summary.get().epochs;
            outputs.commit(frontier, epochs).unwrap_or_else(|error| fatal::end(Exit::Output, error));
        }
    }
    stop.close();
    // Every view is complete, and what is left is for all workers to say so. A peer that hangs now, or an operator that
    // leads to no view and keeps a capability, would keep this process for ever.
    vitals.wait_for(Some(WHOLE_RUN));
    while worker.has_dataflows() {
        vitals.beat(Doing::Step);
        worker.step_or_park(Some(LONGEST_WAIT));
    }
    vitals.wait_for(None);
    let summary = installed.summary.get();
    Outcome { counts: summary.counts, epochs: summary.epochs }
}
