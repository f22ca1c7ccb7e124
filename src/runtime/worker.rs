//! The loop of one worker.

use std::sync::{Arc, Mutex, PoisonError};

use timely::worker::Worker;

use super::durable::{DurableJob, DurableRun};
use super::ingest::{Ingest, IngestSetup, LONGEST_WAIT, Sealed, Turn};
use super::messages::Messages;
use super::reading::Inputs;
use super::report::Reporter;
use super::verdict;
use super::watchdog::{Doing, Vitals, WHOLE_RUN};
use super::{DurableError, Exit, RunError, Settings, clock, fatal, stop};
use crate::data::InputCounts;
use crate::dataflow::{Build, Flow};
use crate::door::{Lines, Rejects, UNNAMED};
use crate::ledger::{Conductor, SourceStatus};
use crate::operators::Routing;
use crate::sink::{Outputs, Shows, SinkError};
use crate::source::{Progress, Source};
use crate::time::Epoch;

/// What every worker of a process is given.
#[derive(Debug)]
pub(super) struct Job {
    pub build: Build,
    pub settings: Settings,
    /// For the first worker of the run.
    pub conductor: Mutex<Option<Conductor>>,
    pub progress: Arc<Progress>,
    /// Where lines go of which no records come.
    pub rejects: Option<Rejects>,
    /// By the index of the worker within the process.
    pub vitals: Vec<Arc<Vitals>>,
    /// The first worker of this process.
    pub first: usize,
    /// How keys are dealt to workers.
    pub routing: Routing,
    /// What makes it durable, if it is.
    pub durable: Option<DurableJob>,
}

/// What a worker has to say in the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    /// Of all workers, on worker 0; nothing elsewhere.
    pub counts: InputCounts,
    /// How many epochs there were, on worker 0.
    pub epochs: u64,
    /// Whether this worker could not read a partition to its end.
    pub damaged: bool,
    /// On worker 0, whether windows or other doors go by event time.
    pub event_time: bool,
    /// On worker 0, whether any row of any view was shown that is not about the input itself.
    pub answered: bool,
    /// On worker 0, how far the sources were read.
    pub sources: Vec<SourceStatus>,
}

/// Which of the `inputs` that a dataflow reads each of the sources is for.
pub(crate) fn assign(
    given: &[(Option<String>, Arc<dyn Source>)],
    inputs: &[String],
) -> Result<Inputs, String> {
    let named: Vec<_> =
        inputs.iter().filter(|name| *name != UNNAMED).map(|name| format!("`{name}`")).collect();
    let number = |(name, source): &(Option<String>, Arc<dyn Source>)| {
        let of = match name {
            Some(name) => inputs.iter().position(|input| input == name),
            None if inputs.len() == 1 => Some(0),
            None => inputs.iter().position(|input| input == UNNAMED),
        };
        let uri = source.uri();
        of.map(|at| at as u32).ok_or_else(|| match (name, named.as_slice()) {
            (Some(name), []) => format!(
                "source `{name}={uri}`: the dataflow has one input, which has no name\n  hint: leave out `{name}=`"
            ),
            (Some(name), _) => format!("source `{name}={uri}`: the inputs are {}", named.join(", ")),
            (None, _) => {
                format!("source `{uri}`: say which input it is for, as in `NAME={uri}`: {}", named.join(", "))
            }
        })
    };
    let numbers = given.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    let sources = given.iter().map(|(_, source)| Arc::clone(source)).collect();
    Ok(Inputs { inputs: numbers, ..Inputs::of(sources) })
}

/// Refuses a run in which one of the `inputs` that the dataflow names has no source.
fn complete(given: Inputs, inputs: &[String]) -> Result<Inputs, String> {
    let missing = inputs.iter().enumerate().find(|(at, _)| !given.inputs.contains(&(*at as u32)));
    match missing.filter(|(_, name)| *name != UNNAMED) {
        Some((_, name)) => {
            Err(format!("input `{name}` has no source\n  hint: give it one: `--source {name}=file:PATH`"))
        }
        None => Ok(given),
    }
}

/// Runs `job` on `worker` until the input has ended and every sink has been shown everything.
pub(super) fn work(worker: &mut Worker, job: &Job) -> Outcome {
    let index = worker.index();
    let bounded = job.settings.is_bounded();
    let processes = job.settings.cluster.as_ref().map_or(1, |cluster| cluster.addresses.len());
    let vitals = &job.vitals[index - job.first];
    vitals.observe(worker);
    job.routing.install();

    let messages = Messages::install(worker);
    let keep = job.durable.as_ref().and_then(|durable| durable.keep(index));
    let snapshot = job.durable.as_ref().and_then(|durable| durable.snapshot.clone());
    let deliveries = Shows::deliveries(job.settings.sinks.iter().map(|sink| sink.shows(bounded)));
    let (feed, installed) = worker.dataflow_named::<Epoch, _, _>(job.build.name(), |scope| {
        let (lines, feed) = Lines::fed(scope, Arc::clone(&job.progress), job.settings.times());
        let mut lines = lines.rejecting(job.rejects.clone());
        if let Some(keep) = &keep {
            lines = lines.keeping(keep.clone());
        }
        if let Some(snapshot) = snapshot {
            lines = lines.restoring(snapshot);
        }
        // It could be built before, when it was checked.
        let installed = job.build.install(Flow::new(scope, lines, deliveries));
        (feed, installed.unwrap_or_else(|error| panic!("{error}")))
    });
    let probe = installed.probe;

    // Before one of them is opened, which empties its file.
    let fit = job.settings.sinks.iter().try_for_each(|sink| sink.check(&installed.views));
    fit.unwrap_or_else(|error| fatal::end(Exit::Configuration, error));
    // Views arrive on worker 0, so the sinks are there; a sink that cannot be opened is found out before the first line.
    let sinks = job.settings.sinks.iter().filter(|_| index == 0).map(|sink| sink.attach(bounded));
    let sinks =
        sinks.collect::<Result<_, _>>().unwrap_or_else(|error| fatal::end(Exit::Configuration, error));
    let failed = |error: SinkError| -> ! { fatal::end(Exit::Output, error) };
    let start = job.durable.as_ref().map(|durable| durable.sinks).unwrap_or_default();
    let mut outputs = Outputs::open(installed.views, sinks, start).unwrap_or_else(|error| failed(error));

    let inputs = assign(&job.settings.sources, &installed.inputs);
    let inputs = inputs.and_then(|inputs| complete(inputs, &installed.inputs));
    let inputs = inputs.map(|inputs| Inputs {
        part: 1.0 / processes as f64,
        tick: job.settings.tick,
        spool: job.durable.as_ref().and_then(DurableJob::spool),
        syncs: job.first > 0,
        ..inputs
    });
    let mut conductor = job.conductor.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| index == 0);
    let undurable = |error: RunError| -> ! { fatal::end(error.exit(), error) };
    let mut durable =
        job.durable.as_ref().zip(keep).map(|(durable, keep)| durable.run(keep, index == job.first));
    if let (Some(job), Some(conductor)) = (&job.durable, &mut conductor) {
        let committed: Vec<_> = outputs.status().into_iter().map(|sink| (sink.uri, sink.committed)).collect();
        job.lead(durable.as_mut(), conductor, &committed).unwrap_or_else(|error| undurable(error));
    }
    let undurable = |error: DurableError| -> ! { fatal::end(error.exit(), error) };
    let setup = IngestSetup {
        inputs: inputs.unwrap_or_else(|error| fatal::end(Exit::Configuration, error)),
        options: job.settings.read,
        conductor,
        event_time: installed.event_time,
        horizon: installed.horizon,
        checks: index == job.first && index > 0,
        records: if durable.is_some() { Sealed::Taken } else { Sealed::Forgotten },
    };
    let mut ingest = Ingest::new(worker, messages, feed, setup);

    let reached =
        || probe.with_frontier(|frontier| frontier.first().map_or(u64::MAX, |epoch| epoch.number()));
    // One worker of the process hands over the lines that all have rejected: those of the epochs before this one.
    let hand_over_rejects = || job.rejects.iter().try_for_each(Rejects::flush);
    let mut handed_over = 0;

    let (mut told, mut restored) = (false, false);
    let mut reporter = {
        let reports = job.settings.reports.clone().filter(|_| index == 0);
        Reporter::new(reports, Arc::clone(&job.progress))
    };
    while !probe.done() {
        let closed = reached();
        vitals.reach(probe.with_frontier(|frontier| frontier.first().copied()));
        // A sink that lags behind holds back new epochs, and nothing else, ...
        let has_room = outputs.has_room() && durable.as_ref().is_none_or(DurableRun::has_room);
        vitals.hold(!has_room);
        // ... unless an open epoch has so many steps that they would fill the memory: they leave by this worker.
        if outputs.is_flooded() && !stop::requested() {
            std::thread::park_timeout(LONGEST_WAIT);
            outputs.check().unwrap_or_else(|error| failed(error));
            continue;
        }
        vitals.beat(Doing::Read);
        if stop::requested() {
            ingest.stop();
        }
        let turn = match ingest.turn(closed, has_room) {
            Ok(turn) => turn,
            Err(error) => {
                // The epochs that are closed get where they go; what else goes wrong is not the reason.
                vitals.beat(Doing::Write);
                let _ = outputs.finish();
                let _ = hand_over_rejects();
                fatal::end(Exit::Input, error)
            }
        };
        // Before the step: an operator may never come back from the very first line.
        vitals.wait_for(ingest.waiting_for(closed));
        vitals.beat(Doing::Step);
        match turn {
            Turn::Busy => worker.step(),
            Turn::Wait(longest) => worker.step_or_park(Some(longest)),
        };
        // Before what is closed is shown: all of it is the answer to what came before the line.
        if let Some(fault) = installed.faults.get() {
            let _ = hand_over_rejects();
            fatal::end(Exit::Input, fault);
        }
        // Before sinks show the epoch: what one of them shows to be malformed can be looked at.
        if index == job.first && reached() > handed_over {
            handed_over = reached();
            hand_over_rejects().unwrap_or_else(|error| fatal::end(Exit::Output, error));
        }
        if let Some(durable) = &mut durable {
            let committed = outputs.committed();
            durable.turn(&mut ingest, committed).unwrap_or_else(|error| undurable(error));
            // Before what has come of restored rows is shown: all of them have been read.
            if !restored && reached() > start.first {
                restored = true;
                installed.durable.restored().unwrap_or_else(|error| undurable(error.into()));
            }
        }
        if index == 0 {
            vitals.beat(Doing::Write);
            let frontier = probe.with_frontier(|frontier| frontier.first().copied());
            let mut frontier = ingest.sealed(frontier);
            if let Some(upto) = durable.as_ref().and_then(DurableRun::durable).map(Epoch::new) {
                frontier = Some(frontier.map_or(upto, |frontier| frontier.min(upto)));
            }
            let epochs = ingest.epochs();
            outputs.clock(clock::time());
            outputs.advance(frontier, epochs).unwrap_or_else(|error| failed(error));
            ingest.commit(durable.as_ref().map_or_else(|| outputs.committed(), DurableRun::published));
            let counts = installed.summary.get().counts;
            reporter.look(&mut ingest, &outputs, counts, false);
            if !told && !bounded && counts.lines >= verdict::SO_FAR {
                told = true;
                let nothing = verdict::nothing(counts, installed.event_time, outputs.has_answered());
                nothing.into_iter().for_each(|why| log::warn!("so far, {why}"));
            }
            if outputs.is_left() {
                stop::nobody_reads();
            }
        }
    }
    vitals.hold(false);
    if let Some(durable) = &mut durable {
        // What the sinks have not been shown waits for the journal.
        durable.finish_journal(&mut ingest).unwrap_or_else(|error| undurable(error));
        installed.durable.restored().unwrap_or_else(|error| undurable(error.into()));
        if index == 0 {
            vitals.beat(Doing::Write);
            outputs.advance(None, ingest.epochs()).unwrap_or_else(|error| failed(error));
            outputs.finish().unwrap_or_else(|error| failed(error));
            durable.last_snapshot(&mut ingest);
        }
        vitals.wait_for(None);
        while !durable.is_over(&mut ingest).unwrap_or_else(|error| undurable(error)) {
            vitals.beat(Doing::Step);
            worker.step_or_park(Some(LONGEST_WAIT));
        }
    }
    // Every view is complete, and what is left is for all workers to say so. A peer that hangs now, or an operator that
    // leads to no view and keeps a capability, would keep this process for ever.
    vitals.wait_for(Some(WHOLE_RUN));
    while worker.has_dataflows() {
        vitals.beat(Doing::Step);
        worker.step_or_park(Some(LONGEST_WAIT));
    }
    vitals.beat(Doing::Write);
    let answered = outputs.has_answered();
    outputs.finish().unwrap_or_else(|error| failed(error));
    // All that has come to its end is in a snapshot, where there are such.
    ingest.commit(u64::MAX);
    if outputs.is_left() {
        stop::nobody_reads();
    }
    vitals.wait_for(None);
    ingest.finish();
    let summary = installed.summary.get();
    reporter.look(&mut ingest, &outputs, summary.counts, true);
    Outcome {
        counts: summary.counts,
        epochs: ingest.epochs(),
        damaged: ingest.has_damage(),
        event_time: installed.event_time,
        answered,
        sources: ingest.conductor().map(|it| it.status().sources().collect()).unwrap_or_default(),
    }
}
