//! For tests of dataflows: lines in, rows out, in this process and without files.
//!
//! It runs the real doors, operators and view outputs under timely, but none of the runtime around them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::Mutex;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::operators::Input;
use timely::worker::Worker;

use crate::aggregate::{DoorRows, Event, Lines, Records};
use crate::dataflow::{Build, Dataflow, Flow, Options, View};
use crate::format::Format;
use crate::runtime::{Epoch, Progress};
use crate::sink::{At, Closed, Gather, History, Outputs, Sink, SinkError, Time, Value, escape_json};
use crate::source::Chunk;

/// What the views of a dataflow held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Rows by view, by epoch in which anything changed.
    views: BTreeMap<String, BTreeMap<u64, Vec<String>>>,
    /// Final rows by view, as they were shown.
    finals: BTreeMap<String, Vec<String>>,
}

impl Answer {
    /// The rows of view `name` in the end, in its order, cells separated by tabs.
    ///
    /// # Panics
    ///
    /// If there is no such view.
    pub fn view(&self, name: &str) -> Vec<&str> {
        self.view_at(name, u64::MAX)
    }

    /// The rows of view `name` as of `epoch`.
    ///
    /// # Panics
    ///
    /// If there is no such view.
    pub fn view_at(&self, name: &str, epoch: u64) -> Vec<&str> {
        let known: Vec<_> = self.views.keys().collect();
        let epochs =
            self.views.get(name).unwrap_or_else(|| panic!("no view is named `{name}`; there are {known:?}"));
        let then = epochs.range(..=epoch).next_back();
        then.into_iter().flat_map(|(_, rows)| rows).map(String::as_str).collect()
    }

    /// The rows of view `name` that have become final, by when they did, and at one time in the view's order.
    ///
    /// # Panics
    ///
    /// If there is no such view, or none of its rows ever become final.
    pub fn finals(&self, name: &str) -> Vec<&str> {
        let known: Vec<_> = self.finals.keys().collect();
        let rows = self.finals.get(name);
        let rows =
            rows.unwrap_or_else(|| panic!("no view `{name}` has final rows; those that have are {known:?}"));
        rows.iter().map(String::as_str).collect()
    }
}

/// Runs `dataflow` with `options` on one worker over `input` as one epoch.
///
/// # Panics
///
/// If an option has a bad value, or the dataflow does not give what it declares.
pub fn run(dataflow: &dyn Dataflow, options: &[(&str, &str)], input: &[u8]) -> Answer {
    run_epochs(dataflow, options, 1, &[input])
}

/// Runs `dataflow` with `options` on `workers` workers, with the lines of each epoch dealt out among them.
///
/// ```
/// use thalweg::prelude::*;
///
/// struct Lengths;
/// impl Dataflow for Lengths {
///     fn name(&self) -> &'static str { "lengths" }
///     fn about(&self) -> &'static str { "lines by their length" }
///     fn views(&self) -> &'static [View] {
///         &[View { name: "lengths", columns: &["bytes", "lines"], about: "how many lines have each length" }]
///     }
///     fn default_source(&self) -> &'static str { "stdin:" }
///     fn prepare(&self, _: &Options) -> Result<Build, OptionError> {
///         Ok(Build::new(|flow| {
///             let lengths = flow.records(Text).count_by::<u64>("lengths", |record| Some(record.line().len() as u64));
///             flow.view_by("lengths", lengths, by_count);
///         }))
///     }
/// }
///
/// let answer = thalweg::testing::run_epochs(&Lengths, &[], 2, &[b"a\nb\n", b"cd\nef\ngh\n"]);
/// assert_eq!(answer.view_at("lengths", 0), ["1\t2"]);
/// assert_eq!(answer.view("lengths"), ["2\t3", "1\t2"]);
/// ```
///
/// # Panics
///
/// If an option has a bad value, or the dataflow does not give what it declares.
pub fn run_epochs(
    dataflow: &dyn Dataflow,
    options: &[(&str, &str)],
    workers: usize,
    epochs: &[&[u8]],
) -> Answer {
    run_stages(dataflow, options, &[(workers, epochs)])
}

/// Runs `dataflow` with `options` in stages, each on a number of workers and over some epochs, and hands what is durable
/// from each stage to the next: whatever is cut where, the views are those of one run over all epochs.
///
/// # Panics
///
/// If an option has a bad value, or the dataflow does not give what it declares.
///
/// ```
/// # use thalweg::prelude::*;
/// # struct Lengths;
/// # impl Dataflow for Lengths {
/// #     fn name(&self) -> &'static str { "lengths" }
/// #     fn about(&self) -> &'static str { "lines by their length" }
/// #     fn views(&self) -> &'static [View] { &[View { name: "lengths", columns: &["bytes", "lines"], about: "" }] }
/// #     fn default_source(&self) -> &'static str { "stdin:" }
/// #     fn prepare(&self, _: &Options) -> Result<Build, OptionError> {
/// #         Ok(Build::new(|flow| {
/// #             let lengths = flow.records(Text).count_by::<u64>("lengths", |record| Some(record.line().len() as u64));
/// #             flow.view_by("lengths", lengths, by_count);
/// #         }))
/// #     }
/// # }
/// let (first, second): (&[u8], &[u8]) = (b"a\nb\n", b"cd\nef\ngh\n");
/// let handed = thalweg::testing::run_stages(&Lengths, &[], &[(1, &[first]), (2, &[second])]);
/// assert_eq!(handed.view("lengths"), ["2\t3", "1\t2"]);
/// ```
pub fn run_stages(dataflow: &dyn Dataflow, options: &[(&str, &str)], stages: &[(usize, &[&[u8]])]) -> Answer {
    let given = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = Options::new(dataflow.options(), given);
    let build = dataflow.prepare(&options).unwrap_or_else(|error| panic!("{error}"));
    let views = dataflow.views();
    let answer = Answer {
        views: views.iter().map(|view| (view.name.to_owned(), BTreeMap::new())).collect(),
        finals: BTreeMap::new(),
    };
    let answer = Arc::new(Mutex::new(answer));
    let (mut handed, mut first) = (None, 0);
    for (workers, epochs) in stages {
        let stage = Stage {
            build: build.clone(),
            views,
            epochs: epochs.iter().map(|epoch| epoch.to_vec()).collect(),
            first,
            handed: handed.map(|rows: Vec<DoorRows>| {
                // Dealt out anyhow: the doors bring each row to its owner.
                let mut shares: Vec<_> = (0..*workers).map(|_| Vec::new()).collect();
                rows.into_iter().enumerate().for_each(|(at, row)| shares[at % workers].push(row));
                Mutex::new(shares)
            }),
            answer: Arc::clone(&answer),
        };
        let guards = timely::execute(timely::Config::process(*workers), move |worker| stage.run(worker));
        let results = guards.unwrap_or_else(|error| panic!("{error}")).join();
        handed = Some(
            results.into_iter().flat_map(|rows| rows.unwrap_or_else(|error| panic!("{error}"))).collect(),
        );
        first += epochs.len() as u64;
    }
    std::mem::take(&mut answer.lock().expect("no worker panicked"))
}

/// Some epochs on some workers.
struct Stage {
    build: Build,
    views: &'static [View],
    epochs: Vec<Vec<u8>>,
    /// The number of the first epoch.
    first: u64,
    /// What each worker goes on from.
    handed: Option<Mutex<Vec<Vec<DoorRows>>>>,
    answer: Arc<Mutex<Answer>>,
}

impl Stage {
    /// One worker's part; returns what it hands on.
    fn run(&self, worker: &mut Worker) -> Vec<DoorRows> {
        let (index, peers) = (worker.index(), worker.peers());
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<Event>>();
            let mut lines = Lines::new(stream, Arc::new(Progress::default()));
            if let Some(handed) = &self.handed {
                lines =
                    lines.restoring(std::mem::take(&mut handed.lock().expect("no worker panicked")[index]));
            }
            let gather = Gather { rows: History::Whole, finals: History::Changes };
            let mut flow = Flow::new(scope, lines, self.views, gather);
            self.build.run(&mut flow);
            (input, flow.finish())
        });
        let recorder = |finals| -> Box<dyn Sink> {
            Box::new(Recorder { answer: Arc::clone(&self.answer), first: self.first, finals })
        };
        if index == 0 {
            let mut answer = self.answer.lock().expect("no worker panicked");
            for view in &installed.outputs.finals {
                answer.finals.entry(view.view().name.to_owned()).or_default();
            }
        }
        let mut outputs = Outputs::new(installed.outputs, vec![recorder(false), recorder(true)]);
        for (number, epoch) in (self.first..).zip(&self.epochs) {
            input.advance_to(Epoch::new(number));
            let mine = epoch.split_inclusive(|byte| *byte == b'\n').skip(index).step_by(peers);
            let bytes: Vec<u8> = mine.flatten().copied().collect();
            input.send(Event::Chunk(Rc::new(Chunk::from_bytes("test:", 0, &bytes))));
            input.send(Event::End);
            let next = Epoch::new(number + 1);
            input.advance_to(next);
            input.flush();
            worker.step_while(|| installed.probe.less_than(&next));
            commit(&mut outputs, Some(next), index);
        }
        let rows = installed.durable.rows();
        input.close();
        worker.step_while(|| !installed.probe.done());
        commit(&mut outputs, None, index);
        rows
    }
}

/// Opens doors on `lines`, read as records of `format` in one epoch, and returns what the collection that `build` makes
/// of them holds: each datum once, in order, with its difference.
///
/// ```
/// use thalweg::prelude::*;
/// let lengths = thalweg::testing::collection(Text, b"one\nthree\ntwo\n", |records| {
///     records.count_by::<u64>("lengths", |record| Some(record.line().len() as u64))
/// });
/// assert_eq!(lengths, [((3, 2), 1), ((5, 1), 1)]);
/// ```
pub fn collection<F, D, R>(
    format: F,
    lines: &[u8],
    build: impl for<'scope> Fn(&mut Records<'scope, F>) -> VecCollection<'scope, Epoch, D, R>
    + Send
    + Sync
    + 'static,
) -> Vec<(D, R)>
where
    F: Format,
    D: ExchangeData,
    R: ExchangeData + Semigroup,
{
    let lines = lines.to_vec();
    timely::execute_directly(move |worker| {
        let held = Rc::new(RefCell::new(Vec::new()));
        let receiver = Rc::clone(&held);
        let (mut input, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<Event>>();
            let mut records = Lines::new(stream, Arc::new(Progress::default())).records(format);
            let updates = build(&mut records).inspect(move |(datum, _, diff)| {
                receiver.borrow_mut().push((datum.clone(), diff.clone()));
            });
            (input, updates.probe().0)
        });
        input.send(Event::Chunk(Rc::new(Chunk::from_bytes("test:", 0, &lines))));
        input.send(Event::End);
        input.close();
        worker.step_while(|| !probe.done());
        let mut held = held.take();
        consolidate(&mut held);
        held
    })
}

fn commit(outputs: &mut Outputs, frontier: Option<Epoch>, worker: usize) {
    if worker == 0 {
        outputs.commit(frontier, 0).expect("the recorder does not fail");
    }
}

/// A sink that writes whole views, or the rows that have become final, into an [`Answer`].
#[derive(Debug)]
struct Recorder {
    answer: Arc<Mutex<Answer>>,
    /// The first epoch that is news; what was handed over appears before it.
    first: u64,
    finals: bool,
}

impl Sink for Recorder {
    fn at(&self) -> At {
        At::EveryEpoch
    }

    fn finals(&self) -> bool {
        self.finals
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        let mut answer = self.answer.lock().expect("no worker panicked");
        let line = |values: &[Value<'_>]| values.iter().map(text).collect::<Vec<_>>().join("\t");
        if closed.epoch < self.first {
            return Ok(());
        }
        for view in closed.views.iter().filter(|view| view.has_changed()) {
            let name = view.view().name.to_owned();
            if self.finals {
                let finals = answer.finals.entry(name).or_default();
                view.changes(&mut |diff, values| (0..diff).for_each(|_| finals.push(line(values))));
            } else {
                let mut rows = Vec::new();
                view.rows(&mut |values| rows.push(line(values)));
                answer.views.entry(name).or_default().insert(closed.epoch, rows);
            }
        }
        Ok(())
    }
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Time(millis) => Time(*millis).to_string(),
        Value::Bytes(bytes) => escape_json(bytes),
    }
}
