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

use crate::aggregate::{Event, Lines, Records};
use crate::dataflow::{Dataflow, Flow, Options};
use crate::format::Format;
use crate::runtime::{Epoch, Progress};
use crate::sink::{At, Closed, Gather, Outputs, Sink, SinkError, Value, escape_json};
use crate::source::Chunk;

/// What the views of a dataflow held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Rows by view, by epoch in which anything changed.
    views: BTreeMap<String, BTreeMap<u64, Vec<String>>>,
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
    let given = options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let options = Options::new(dataflow.options(), given);
    let build = dataflow.prepare(&options).unwrap_or_else(|error| panic!("{error}"));
    let epochs: Vec<Vec<u8>> = epochs.iter().map(|epoch| epoch.to_vec()).collect();
    let views = dataflow.views();
    let answer = Answer { views: views.iter().map(|view| (view.name.to_owned(), BTreeMap::new())).collect() };
    let answer = Arc::new(Mutex::new(answer));
    let recorded = Arc::clone(&answer);

    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let (index, peers) = (worker.index(), worker.peers());
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<Event>>();
            let lines = Lines::new(stream, Arc::new(Progress::default()));
            let mut flow = Flow::new(scope, lines, views, Gather::Changes { keep: true });
            build.run(&mut flow);
            (input, flow.finish())
        });
        let recorder: Box<dyn Sink> = Box::new(Recorder(Arc::clone(&recorded)));
        let mut outputs = Outputs::new(installed.outputs, vec![recorder]);
        for (number, epoch) in epochs.iter().enumerate() {
            let mine = epoch.split_inclusive(|byte| *byte == b'\n').skip(index).step_by(peers);
            let bytes: Vec<u8> = mine.flatten().copied().collect();
            input.send(Event::Chunk(Rc::new(Chunk::from_bytes("test:", 0, &bytes))));
            input.send(Event::End);
            input.advance_to(Epoch::new(number as u64 + 1));
            input.flush();
            worker.step_while(|| installed.probe.less_than(&Epoch::new(number as u64 + 1)));
            commit(&mut outputs, Some(Epoch::new(number as u64 + 1)), index);
        }
        input.close();
        worker.step_while(|| !installed.probe.done());
        commit(&mut outputs, None, index);
    });
    for result in guards.unwrap_or_else(|error| panic!("{error}")).join() {
        result.unwrap_or_else(|error| panic!("{error}"));
    }
    std::mem::take(&mut answer.lock().expect("no worker panicked"))
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

/// A sink that writes whole views into an [`Answer`].
#[derive(Debug)]
struct Recorder(Arc<Mutex<Answer>>);

impl Sink for Recorder {
    fn at(&self) -> At {
        At::EveryEpoch
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        let mut answer = self.0.lock().expect("no worker panicked");
        for view in closed.views {
            let mut rows = Vec::new();
            view.rows(&mut |values| rows.push(values.iter().map(text).collect::<Vec<_>>().join("\t")));
            answer.views.entry(view.view().name.to_owned()).or_default().insert(closed.epoch, rows);
        }
        Ok(())
    }
}

fn text(value: &Value<'_>) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Bytes(bytes) => escape_json(bytes),
    }
}
