//! For tests of dataflows: lines in, rows out, in this process and without files.
//!
//! It runs the real doors, operators and view outputs under timely, but none of the runtime around them.

mod answer;
mod script;
mod stage;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{ExchangeData, VecCollection};

pub use answer::Answer;
pub use script::Script;

use self::script::FAR_AHEAD;
use crate::dataflow::Build;
use crate::door::{Lines, Records};
use crate::format::Format;
use crate::ledger::{Afterwards, Conductor, EpochRecord, LedgerOptions, Read};
use crate::runtime::ingest::{Ingest, IngestSetup, Sealed};
use crate::runtime::messages::Messages;
use crate::runtime::reading::Inputs;
use crate::source::{Memory, PartitionId, Progress, ReadOptions, Source};
use crate::time::{Epoch, TimeOptions};

/// Runs a dataflow, whose options are its fields, on one worker over `input` as one epoch. The input does not end: what waits for
/// that, or for later records, such as the last windows, is not shown ([`Script::end`]).
///
/// # Panics
///
/// If the dataflow cannot be built, or does not give what it declares.
pub fn run(dataflow: impl Into<Build>, input: &[u8]) -> Answer {
    run_epochs(dataflow, 1, &[input])
}

/// Runs `dataflow` on `workers` workers, with the lines of each epoch dealt out among them.
///
/// ```
/// use thalweg::prelude::*;
///
/// /// lines by their length
/// #[derive(clap::Args)]
/// struct Lengths;
/// impl Dataflow for Lengths {
///     const NAME: &'static str = "lengths";
///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
///         let lengths = flow.records(Text).by(column::<u64>("bytes"), |line| Some(line.len() as u64));
///         lengths.count("lengths").sorted_by(by_count).show("lengths");
///         Ok(())
///     }
/// }
///
/// let answer = thalweg::testing::run_epochs(Lengths, 2, &[b"a\nb\n", b"cd\nef\ngh\n"]);
/// assert_eq!(answer.view_at("lengths", 0), ["1\t2"]);
/// assert_eq!(answer.view("lengths"), ["2\t3", "1\t2"]);
/// ```
///
/// # Panics
///
/// If the dataflow cannot be built, or does not give what it declares.
pub fn run_epochs(dataflow: impl Into<Build>, workers: usize, epochs: &[&[u8]]) -> Answer {
    run_stages(dataflow, &[(workers, epochs)])
}

/// Runs `dataflow` in stages, each on a number of workers and over some epochs, and hands what is durable
/// from each stage to the next. The views of doors that keep all of their rows are those of one run over all epochs; what a
/// door forgets on purpose (windows that are final, records that it let through) is not in the views of later stages.
///
/// [`Script`] can say more.
///
/// # Panics
///
/// If the dataflow cannot be built, or does not give what it declares.
pub fn run_stages(dataflow: impl Into<Build>, stages: &[(usize, &[&[u8]])]) -> Answer {
    let mut script = Script::new(dataflow);
    for (workers, epochs) in stages {
        script = epochs.iter().fold(script.workers(*workers), |script, epoch| script.epoch(epoch));
    }
    script.run()
}

/// Opens doors on `lines`, read as records of `format` in one epoch, and returns what the collection that `build` makes
/// of them holds: each datum once, in order, with its difference.
///
/// ```
/// use thalweg::prelude::*;
/// let lengths = thalweg::testing::collection(Text, b"one\nthree\ntwo\n", |records| {
///     records.by(column::<u64>("bytes"), |line| Some(line.len() as u64)).count("lengths").rows()
/// });
/// assert_eq!(lengths, [((3, 2), 1), ((5, 1), 1)]);
/// ```
pub fn collection<F, D, R>(
    format: F,
    lines: &[u8],
    build: impl for<'scope> Fn(Records<'scope, F>) -> VecCollection<'scope, Epoch, D, R> + Send + Sync + 'static,
) -> Vec<(D, R)>
where
    F: Format,
    D: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let bytes: Arc<[u8]> = Arc::from(lines);
    timely::execute_directly(move |worker| {
        let held = Rc::new(RefCell::new(Vec::new()));
        let receiver = Rc::clone(&held);
        let messages = Messages::install(worker);
        let (feed, lines, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, feed) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let updates = build(lines.records(format)).inspect(move |(datum, _, diff)| {
                receiver.borrow_mut().push((datum.clone(), diff.clone()));
            });
            let mistake = lines.register().borrow().first_mistake();
            assert!(mistake.is_none(), "{mistake:?}");
            (feed, (lines.faults(), lines.goes_by_event_time()), updates.probe().0)
        });
        let (faults, event_time) = lines;
        let length = bytes.len() as u64;
        let memory = Memory::fixed(vec![("test:".into(), bytes)]).open_ended();
        let sources: Vec<Arc<dyn Source>> = vec![Arc::new(memory)];
        let conductor = Conductor::new(LedgerOptions::unpaced(1, TimeOptions::default()), &sources);
        let mut conductor = conductor.unwrap_or_else(|error| panic!("{error}"));
        let reads = vec![Read::planned(PartitionId(0), length)];
        let epoch = EpochRecord { arrived: FAR_AHEAD, reads, ..EpochRecord::default() };
        conductor.replay([epoch], Afterwards::Stop);
        let inputs = Inputs::of(sources);
        let (options, conductor) = (ReadOptions::default(), Some(conductor));
        let horizon = Duration::ZERO;
        let records = Sealed::Forgotten;
        let setup = IngestSetup { inputs, options, conductor, event_time, horizon, checks: false, records };
        let mut ingest = Ingest::new(worker, messages, feed, setup);
        while !probe.done() {
            let closed =
                probe.with_frontier(|frontier| frontier.first().map_or(u64::MAX, |epoch| epoch.number()));
            ingest.turn(closed, true).unwrap_or_else(|error| panic!("{error}"));
            worker.step();
            if let Some(fault) = faults.get() {
                panic!("{fault}");
            }
        }
        let mut held = held.take();
        consolidate(&mut held);
        held
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::column;
    use crate::format::Text;

    #[test]
    #[should_panic(expected = "Any")]
    fn a_worker_that_panics_ends_the_others() {
        let fragile = Build::new("fragile", |flow| {
            let lengths = flow.records(Text).by(column::<u64>("bytes"), |line| {
                assert_ne!(line.line(), b"boom");
                Some(line.line().len() as u64)
            });
            lengths.count("lengths").show("lines");
            Ok(())
        });
        let _ = Script::new(fragile).workers(3).epoch("one\nboom\ntwo\n").run();
    }

    #[test]
    #[should_panic(expected = "no good today")]
    fn a_dataflow_that_cannot_be_built_is_not_run() {
        let _ = run(Build::new("moody", |_| Err(crate::dataflow::BuildError::new("no good today"))), b"");
    }

    #[test]
    #[should_panic(expected = "view `workers`, as written, 2 worker(s)")]
    fn a_dataflow_that_depends_on_the_number_of_workers_is_found() {
        let by_peers = Build::new("peers", |flow| {
            let peers = flow.scope().peers();
            let lines = flow.records(Text).by(column::<u64>("peers"), move |_| Some(peers as u64));
            lines.count("lines").show("workers");
            Ok(())
        });
        let _ = Script::new(by_peers).epoch("one\ntwo\n").everywhere();
    }
}
