//! The loop of one worker.

use std::cell::Cell;
use std::fmt::Display;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use timely::dataflow::operators::probe;
use timely::worker::Worker;

use super::durable::{DurableJob, DurableRun};
use super::fatal::Fatal;
use super::ingest::{Ingest, IngestSetup, LONGEST_WAIT, Sealed, Turn};
use super::messages::Messages;
use super::reading::Inputs;
use super::report::Reporter;
use super::verdict;
use super::watchdog::{Doing, Vitals, WHOLE_RUN};
use super::{DurableError, Exit, RunError, Settings, clock, fatal, stop};
use crate::data::InputCounts;
use crate::dataflow::{Build, Flow, Summary};
use crate::door::{Durable, FaultProbe, Lines, Rejects, UNNAMED};
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

/// Runs `job` on `worker` until the input has ended and every sink has been shown everything. What it cannot go on with ends the
/// process.
pub(super) fn work(worker: &mut Worker, job: &Job) -> Outcome {
    let run = |worker: &mut Worker| {
        let mut work = Work::begin(worker, job)?;
        while !work.turn(worker, job, Patience::Parks)? {}
        work.end()
    };
    run(worker).unwrap_or_else(|Fatal { exit, reason }| fatal::end(exit, reason))
}

/// Whether a worker that has nothing to do waits for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It does.
    Parks,
    /// It is stepped by somebody who has more to do.
    #[cfg(test)]
    None,
}

impl Patience {
    fn step(self, worker: &mut Worker, longest: Duration) {
        match self {
            Patience::Parks => worker.step_or_park(Some(longest)),
            #[cfg(test)]
            Patience::None => worker.step(),
        };
    }
}

/// How far a worker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It reads, and shows what comes of that.
    Running,
    /// All is shown, and not yet durable.
    Keeping,
    /// Others may be at work.
    Leaving,
}

/// One worker at work.
pub(super) struct Work {
    phase: Phase,
    index: usize,
    bounded: bool,
    vitals: Arc<Vitals>,
    probe: probe::Handle<Epoch>,
    faults: FaultProbe,
    summary: Rc<Cell<Summary>>,
    restoring: Durable,
    event_time: bool,
    ingest: Ingest,
    outputs: Outputs,
    durable: Option<DurableRun>,
    reporter: Reporter,
    /// The first epoch that is this run's own.
    first: u64,
    /// Lines that were rejected before this epoch have been handed over.
    handed_over: u64,
    /// Whether somebody was told that nothing has come of the input so far.
    told: bool,
    restored: bool,
    /// Whether there was nothing to read in the last turn.
    #[cfg(test)]
    pub(super) rests: bool,
}

fn failed(error: SinkError) -> Fatal {
    Fatal::new(Exit::Output, error)
}

impl Work {
    /// Builds the dataflow and opens what it is for.
    pub(super) fn begin(worker: &mut Worker, job: &Job) -> Result<Self, Fatal> {
        let index = worker.index();
        let bounded = job.settings.is_bounded();
        let processes = job.settings.cluster.as_ref().map_or(1, |cluster| cluster.addresses.len());
        let vitals = Arc::clone(&job.vitals[index - job.first]);
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

        let misfit = |error: &dyn Display| Fatal::new(Exit::Configuration, error.to_string());
        // Before one of them is opened, which empties its file.
        let fit = job.settings.sinks.iter().try_for_each(|sink| sink.check(&installed.views));
        fit.map_err(|error| misfit(&error))?;
        // Views arrive on worker 0, so the sinks are there; a sink that cannot be opened is found out before the first line.
        let sinks = job.settings.sinks.iter().filter(|_| index == 0).map(|sink| sink.attach(bounded));
        let sinks = sinks.collect::<Result<_, _>>().map_err(|error| misfit(&error))?;
        let start = job.durable.as_ref().map(|durable| durable.sinks).unwrap_or_default();
        let outputs = Outputs::open(installed.views, sinks, start).map_err(failed)?;

        let inputs = assign(&job.settings.sources, &installed.inputs);
        let inputs = inputs.and_then(|inputs| complete(inputs, &installed.inputs));
        let inputs = inputs.map(|inputs| Inputs {
            part: 1.0 / processes as f64,
            tick: job.settings.tick,
            spool: job.durable.as_ref().and_then(DurableJob::spool),
            syncs: job.first > 0,
            ..inputs
        });
        let mut conductor =
            job.conductor.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| index == 0);
        let mut durable =
            job.durable.as_ref().zip(keep).map(|(durable, keep)| durable.run(keep, index == job.first));
        if let (Some(job), Some(conductor)) = (&job.durable, &mut conductor) {
            let committed: Vec<_> =
                outputs.status().into_iter().map(|sink| (sink.uri, sink.committed)).collect();
            job.lead(durable.as_mut(), conductor, &committed)?;
        }
        let setup = IngestSetup {
            inputs: inputs.map_err(|error| misfit(&error))?,
            options: job.settings.read,
            conductor,
            event_time: installed.event_time,
            horizon: installed.horizon,
            checks: index == job.first && index > 0,
            records: if durable.is_some() { Sealed::Taken } else { Sealed::Forgotten },
        };
        let reports = job.settings.reports.clone().filter(|_| index == 0);
        Ok(Work {
            phase: Phase::Running,
            index,
            bounded,
            vitals,
            probe: installed.probe,
            faults: installed.faults,
            summary: installed.summary,
            restoring: installed.durable,
            event_time: installed.event_time,
            ingest: Ingest::new(worker, messages, feed, setup),
            outputs,
            durable,
            reporter: Reporter::new(reports, Arc::clone(&job.progress)),
            first: start.first,
            handed_over: 0,
            told: false,
            restored: false,
            #[cfg(test)]
            rests: false,
        })
    }

    /// Goes on, by about one step of the dataflow; returns whether all is done.
    pub(super) fn turn(&mut self, worker: &mut Worker, job: &Job, patience: Patience) -> Result<bool, Fatal> {
        match self.phase {
            Phase::Running if self.probe.done() => self.close(),
            Phase::Running => self.run(worker, job, patience),
            Phase::Keeping => {
                self.vitals.wait_for(None);
                let over = match &mut self.durable {
                    Some(durable) => durable.is_over(&mut self.ingest, &self.outputs)?,
                    None => true,
                };
                if over {
                    self.phase = Phase::Leaving;
                } else {
                    self.vitals.beat(Doing::Step);
                    patience.step(worker, LONGEST_WAIT);
                }
                Ok(false)
            }
            Phase::Leaving if !worker.has_dataflows() => Ok(true),
            Phase::Leaving => {
                // Every view is complete, and what is left is for all workers to say so. A peer that hangs now, or an operator that
                // leads to no view and keeps a capability, would keep this process for ever.
                self.vitals.wait_for(Some(WHOLE_RUN));
                self.vitals.beat(Doing::Step);
                patience.step(worker, LONGEST_WAIT);
                Ok(false)
            }
        }
    }

    fn reached(&self) -> u64 {
        self.probe.with_frontier(|frontier| frontier.first().map_or(u64::MAX, |epoch| epoch.number()))
    }

    fn run(&mut self, worker: &mut Worker, job: &Job, patience: Patience) -> Result<bool, Fatal> {
        // One worker of the process hands over the lines that all have rejected: those of the epochs before this one.
        let hand_over_rejects = || job.rejects.iter().try_for_each(Rejects::flush);
        let closed = self.reached();
        self.vitals.reach(self.probe.with_frontier(|frontier| frontier.first().copied()));
        // A sink that lags behind holds back new epochs, and nothing else, ...
        let has_room = self.outputs.has_room() && self.durable.as_ref().is_none_or(DurableRun::has_room);
        self.vitals.hold(!has_room);
        // ... unless an open epoch has so many steps that they would fill the memory: they leave by this worker.
        if self.outputs.is_flooded() && !stop::requested() {
            if patience == Patience::Parks {
                std::thread::park_timeout(LONGEST_WAIT);
            }
            self.outputs.check().map_err(failed)?;
            return Ok(false);
        }
        self.vitals.beat(Doing::Read);
        if stop::requested() {
            self.ingest.stop();
            self.outputs.announce_end();
        }
        let turn = match self.ingest.turn(closed, has_room) {
            Ok(turn) => turn,
            Err(error) => {
                // The epochs that are closed get where they go; what else goes wrong is not the reason.
                self.vitals.beat(Doing::Write);
                let _ = self.outputs.finish();
                let _ = hand_over_rejects();
                return Err(RunError::Source(error).into());
            }
        };
        #[cfg(test)]
        {
            self.rests = turn != Turn::Busy;
        }
        // Before the step: an operator may never come back from the very first line.
        self.vitals.wait_for(self.ingest.waiting_for(closed));
        self.vitals.beat(Doing::Step);
        match turn {
            Turn::Busy => drop(worker.step()),
            Turn::Wait(longest) => patience.step(worker, longest),
        }
        // Before what is closed is shown: all of it is the answer to what came before the line.
        if let Some(fault) = self.faults.get() {
            let _ = hand_over_rejects();
            return Err(Fatal::new(Exit::Input, fault));
        }
        // Before sinks show the epoch: what one of them shows to be malformed can be looked at.
        if self.index == job.first && self.reached() > self.handed_over {
            self.handed_over = self.reached();
            hand_over_rejects().map_err(|error| Fatal::new(Exit::Output, error))?;
        }
        let reached = self.reached();
        if let Some(durable) = &mut self.durable {
            durable.turn(&mut self.ingest, &self.outputs)?;
            // Before what has come of restored rows is shown: all of them have been read.
            if !self.restored && reached > self.first {
                self.restored = true;
                self.restoring.restored().map_err(DurableError::from)?;
            }
        }
        if self.index == 0 {
            self.show()?;
        }
        Ok(false)
    }

    /// Shows the sinks what is closed and sealed, on the first worker.
    fn show(&mut self) -> Result<(), Fatal> {
        self.vitals.beat(Doing::Write);
        let (ingest, outputs) = (&mut self.ingest, &mut self.outputs);
        let frontier = self.probe.with_frontier(|frontier| frontier.first().copied());
        let mut frontier = ingest.sealed(frontier);
        if let Some(upto) = self.durable.as_ref().and_then(DurableRun::durable).map(Epoch::new) {
            frontier = Some(frontier.map_or(upto, |frontier| frontier.min(upto)));
        }
        let epochs = ingest.epochs();
        outputs.clock(clock::time());
        outputs.advance(frontier, epochs).map_err(failed)?;
        ingest.commit(self.durable.as_ref().map_or_else(|| outputs.committed(), DurableRun::published));
        let counts = self.summary.get().counts;
        self.reporter.look(ingest, outputs, counts, false);
        if !self.told && !self.bounded && counts.lines >= verdict::SO_FAR {
            self.told = true;
            let nothing = verdict::nothing(counts, self.event_time, outputs.has_answered());
            nothing.into_iter().for_each(|why| log::warn!("so far, {why}"));
        }
        if outputs.is_left() {
            stop::nobody_reads();
        }
        Ok(())
    }

    /// All that there is to read has been, and has come to the views.
    fn close(&mut self) -> Result<bool, Fatal> {
        self.vitals.hold(false);
        self.phase = Phase::Leaving;
        if let Some(durable) = &mut self.durable {
            self.phase = Phase::Keeping;
            // What the sinks have not been shown waits for the journal.
            durable.finish_journal(&mut self.ingest)?;
            self.restoring.restored().map_err(DurableError::from)?;
            if self.index == 0 {
                self.vitals.beat(Doing::Write);
                self.outputs.advance(None, self.ingest.epochs()).map_err(failed)?;
                self.outputs.finish().map_err(failed)?;
                durable.last_snapshot(&mut self.ingest);
            }
        }
        Ok(false)
    }

    /// What there is to say of it, when all is done.
    pub(super) fn end(mut self) -> Result<Outcome, Fatal> {
        self.vitals.beat(Doing::Write);
        let answered = self.outputs.has_answered();
        self.outputs.finish().map_err(failed)?;
        // All that has come to its end is in a snapshot, where there are such.
        self.ingest.commit(u64::MAX);
        if self.outputs.is_left() {
            stop::nobody_reads();
        }
        self.vitals.wait_for(None);
        self.ingest.finish();
        let summary = self.summary.get();
        self.reporter.look(&mut self.ingest, &self.outputs, summary.counts, true);
        Ok(Outcome {
            counts: summary.counts,
            epochs: self.ingest.epochs(),
            damaged: self.ingest.has_damage(),
            event_time: self.event_time,
            answered,
            sources: self.ingest.conductor().map(|it| it.status().sources().collect()).unwrap_or_default(),
        })
    }
}
