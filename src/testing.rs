//! For tests of dataflows: lines in, rows out, in this process and without files.
//!
//! It runs the real doors, operators and view outputs under timely, but none of the runtime around them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::operators::Input;
use timely::worker::Worker;

use crate::data::InputCounts;
use crate::data::{Time, Value, escape_json};
use crate::dataflow::{Build, Flow};
use crate::door::{DoorRows, End, Event, FaultProbe, Lines, Records};
use crate::format::Format;
use crate::sink::{At, Closed, Outputs, Sink, SinkError};
use crate::source::Chunk;
use crate::source::Progress;
use crate::time::Epoch;
use crate::time::TimeOptions;
use crate::view::{Gather, History};

/// What the views of a dataflow held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// By view, and by epoch and step at which it changed.
    views: BTreeMap<String, BTreeMap<(u64, u32), Shown>>,
    /// Final rows by view, as they were shown.
    finals: BTreeMap<String, Vec<String>>,
    counts: InputCounts,
}

/// A view at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Shown {
    rows: Vec<String>,
    changes: Vec<String>,
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
        let then = self.times(name).range(..=(epoch, u32::MAX)).next_back();
        then.into_iter().flat_map(|(_, shown)| &shown.rows).map(String::as_str).collect()
    }

    /// How view `name` changed in `epoch`: its rows with their differences in front, those of each step retractions first.
    ///
    /// # Panics
    ///
    /// If there is no such view.
    pub fn changes(&self, name: &str, epoch: u64) -> Vec<&str> {
        let steps = self.times(name).range((epoch, 0)..=(epoch, u32::MAX));
        steps.flat_map(|(_, shown)| &shown.changes).map(String::as_str).collect()
    }

    /// What view `name` held whenever it had changed, by epoch and step. Windows that slide do so at steps from 1 on; all else
    /// changes at step 0.
    ///
    /// # Panics
    ///
    /// If there is no such view.
    pub fn history(&self, name: &str) -> Vec<((u64, u32), Vec<&str>)> {
        let times = self.times(name).iter();
        times.map(|(time, shown)| (*time, shown.rows.iter().map(String::as_str).collect())).collect()
    }

    /// What became of the lines.
    pub fn counts(&self) -> InputCounts {
        self.counts
    }

    fn times(&self, name: &str) -> &BTreeMap<(u64, u32), Shown> {
        let known: Vec<_> = self.views.keys().collect();
        self.views.get(name).unwrap_or_else(|| panic!("no view is named `{name}`; there are {known:?}"))
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

/// Runs a dataflow, whose options are its fields, on one worker over `input` as one epoch.
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
/// #[derive(clap::Args)]
/// struct Lengths;
/// impl Dataflow for Lengths {
///     const NAME: &'static str = "lengths";
///     const ABOUT: &'static str = "lines by their length";
///     const VIEWS: &'static [View] = &[View { name: "lengths", columns: &["bytes", "lines"], about: "how many lines have each length" }];
///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
///         let lengths = flow.records(Text).count_by::<u64>("lengths", |record| Some(record.line().len() as u64));
///         flow.view_by("lengths", lengths, by_count);
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

/// A run of a dataflow as a test tells it: epoch by epoch, on any number of workers, at times of its own choosing.
///
/// Lines are dealt out among the workers, so a test that passes at one number of workers and not at another has found
/// something. Nothing reads a clock: each epoch arrives when the script says ([`Script::arriving`]), by default far in
/// the future, so that no record is dated too far ahead.
///
/// ```
/// use std::time::Duration;
/// use thalweg::prelude::*;
/// use thalweg::testing::Script;
///
/// /// Lines such as `12 north`, counted by word over the last ten seconds.
/// #[derive(clap::Args)]
/// struct Recent;
/// impl Dataflow for Recent {
///     const NAME: &'static str = "recent";
///     const ABOUT: &'static str = "words of the last ten seconds";
///     const VIEWS: &'static [View] = &[View { name: "words", columns: &["word", "count"], about: "by count" }];
///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
///         let window = Window::tumbling(Duration::from_secs(10)).expect("ten seconds are a window");
///         let mut lines = flow.records(Text);
///         lines.event_time(|line| {
///             let seconds = line.split(|byte| *byte == b' ').next()?;
///             std::str::from_utf8(seconds).ok()?.parse().ok().map(|seconds: i64| 1000 * seconds)
///         });
///         let words = lines.over_last(window).count_by::<Bytes>("words", |line| line.split(|byte| *byte == b' ').nth(1));
///         flow.view_by("words", words.rows(), by_count);
///         Ok(())
///     }
/// }
///
/// let answer = Script::new(Recent)
///     .workers(2)
///     .epoch("1 north\n3 north\n9 south\n11 east\n")
///     // With the lateness of ten seconds, this says that everything up to 12 s has arrived.
///     .epoch("22 west\n")
///     // Late, but the window that is shown takes it still.
///     .epoch("2 south\n")
///     .end()
///     .run();
/// assert_eq!(answer.view_at("words", 0), [""; 0]);
/// assert_eq!(answer.view_at("words", 1), ["north\t2", "south\t1"]);
/// assert_eq!(answer.changes("words", 2), ["-1\tsouth\t1", "+1\tsouth\t2"]);
/// // The end of the input brings the window of the newest record.
/// assert_eq!(answer.view("words"), ["west\t1"]);
/// assert_eq!(answer.counts().late, 0);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Script {
    build: Build,
    time: TimeOptions,
    arriving: i64,
    stages: Vec<(usize, Vec<Telling>)>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("dataflow", &self.build.name()).finish_non_exhaustive()
    }
}

/// What a script tells of one epoch.
#[derive(Clone, Debug, Default)]
struct Telling {
    arrived: i64,
    /// Lines by partition.
    lines: Vec<(String, Vec<u8>)>,
    /// Whether the input ends here.
    finished: bool,
}

/// The year 3000.
const FAR_AHEAD: i64 = 32_503_680_000_000;

/// How long a worker that waits sleeps at most: another one may have the core.
const PARK: std::time::Duration = std::time::Duration::from_millis(1);

/// Dealt out singly up to so many lines an epoch, and in larger pieces beyond.
const PIECES: usize = 4096;

impl Script {
    /// An empty script for `dataflow`, on one worker. The dataflow's options are its fields;
    /// [`Dataflow::with_options`](crate::dataflow::Dataflow::with_options) gives them their defaults.
    pub fn new(dataflow: impl Into<Build>) -> Self {
        let (build, time) = (dataflow.into(), TimeOptions::default());
        Script { build, time, arriving: FAR_AHEAD, stages: vec![(1, Vec::new())] }
    }

    /// With times as `options` say, in the whole run.
    pub fn time(mut self, options: TimeOptions) -> Self {
        self.time = options;
        self
    }

    /// From here on, on so many workers. If there was an epoch before, the run is stopped there, and what is durable is handed
    /// to a new one.
    pub fn workers(mut self, workers: usize) -> Self {
        match self.stages.last_mut() {
            Some((last, epochs)) if epochs.is_empty() => *last = workers,
            _ => self.stages.push((workers, Vec::new())),
        }
        self
    }

    /// From here on, epochs arrive at `millis` UTC since 1970.
    pub fn arriving(mut self, millis: i64) -> Self {
        self.arriving = millis;
        self
    }

    /// An epoch with these lines.
    pub fn epoch(self, lines: impl AsRef<[u8]>) -> Self {
        self.epoch_of(&[("test:", lines.as_ref())])
    }

    /// An epoch with lines of several partitions, the older ones first.
    pub fn epoch_of(self, lines: &[(&str, &[u8])]) -> Self {
        let lines = lines.iter().map(|(name, lines)| ((*name).to_owned(), lines.to_vec())).collect();
        let arrived = self.arriving;
        self.tell(Telling { arrived, lines, finished: false })
    }

    /// The input ends. Without this, it is as if the run had been stopped.
    pub fn end(self) -> Self {
        let arrived = self.arriving;
        self.tell(Telling { arrived, finished: true, ..Telling::default() })
    }

    fn tell(mut self, telling: Telling) -> Self {
        if let Some((_, epochs)) = self.stages.last_mut() {
            epochs.push(telling);
        }
        self
    }

    /// Runs it.
    ///
    /// # Panics
    ///
    /// If the dataflow cannot be built, or does not give what it declares.
    pub fn run(self) -> Answer {
        let build = self.build;
        build.check().unwrap_or_else(|error| panic!("{error}"));
        let views = build.views();
        let known = views.iter().map(|view| (view.name.to_owned(), BTreeMap::new())).collect();
        let answer = Arc::new(Mutex::new(Answer { views: known, ..Answer::default() }));
        let mut partitions: Vec<Arc<str>> = Vec::new();
        for (name, _) in self.stages.iter().flat_map(|(_, epochs)| epochs).flat_map(|epoch| &epoch.lines) {
            if partitions.iter().all(|known| **known != **name) {
                partitions.push(name.as_str().into());
            }
        }
        let (mut handed, mut first) = (None, 0);
        let mut offsets = vec![0; partitions.len()];
        for (workers, epochs) in self.stages {
            let count = epochs.len() as u64;
            let stage = Stage {
                build: build.clone(),
                time: self.time,
                first,
                epochs: epochs
                    .into_iter()
                    .map(|epoch| Dealt::new(epoch, &partitions, &mut offsets))
                    .collect(),
                partitions: partitions.clone(),
                handed: handed.map(|rows: Vec<DoorRows>| {
                    // Dealt out anyhow: the doors bring each row to its owner.
                    let mut shares: Vec<_> = (0..workers).map(|_| Vec::new()).collect();
                    rows.into_iter().enumerate().for_each(|(at, row)| shares[at % workers].push(row));
                    Mutex::new(shares)
                }),
                answer: Arc::clone(&answer),
                failed: AtomicBool::new(false),
            };
            let guards = timely::execute(timely::Config::process(workers), move |worker| stage.run(worker));
            let results = guards.unwrap_or_else(|error| panic!("{error}")).join();
            handed = Some(
                results.into_iter().flat_map(|rows| rows.unwrap_or_else(|error| panic!("{error}"))).collect(),
            );
            first += count;
        }
        std::mem::take(&mut answer.lock().expect("no worker panicked"))
    }
}

/// An epoch cut into pieces for the workers.
struct Dealt {
    arrived: i64,
    finished: bool,
    /// Which partition, at which offset, and the lines.
    pieces: Vec<(usize, u64, Vec<u8>)>,
}

impl Dealt {
    fn new(telling: Telling, partitions: &[Arc<str>], offsets: &mut [u64]) -> Self {
        let mut pieces = Vec::new();
        for (name, lines) in telling.lines {
            let partition =
                partitions.iter().position(|known| **known == *name).expect("all partitions were collected");
            let lines: Vec<_> = lines.split_inclusive(|byte| *byte == b'\n').collect();
            for piece in lines.chunks(lines.len().div_ceil(PIECES).max(1)) {
                let bytes = piece.concat();
                let length = bytes.len() as u64;
                pieces.push((partition, offsets[partition], bytes));
                offsets[partition] += length;
            }
        }
        Dealt { arrived: telling.arrived, finished: telling.finished, pieces }
    }
}

/// Some epochs on some workers.
struct Stage {
    build: Build,
    time: TimeOptions,
    epochs: Vec<Dealt>,
    partitions: Vec<Arc<str>>,
    /// The number of the first epoch.
    first: u64,
    /// What each worker goes on from.
    handed: Option<Mutex<Vec<Vec<DoorRows>>>>,
    answer: Arc<Mutex<Answer>>,
    /// Whether a worker has panicked: the others would wait for it for ever.
    failed: AtomicBool,
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
    /// Steps `worker` as long as it is `waiting`.
    ///
    /// # Panics
    ///
    /// If another worker has panicked, or a line ends the run.
    fn step_while(&self, worker: &mut Worker, faults: &FaultProbe, mut waiting: impl FnMut() -> bool) {
        let failed = || self.failed.load(Ordering::SeqCst);
        worker.step_or_park_while(Some(PARK), || waiting() && !failed() && !faults.is_set());
        if let Some(line) = faults.get() {
            panic!("{line}");
        }
        assert!(!failed(), "another worker panicked; its message stands above");
    }

    /// One worker's part; returns what it hands on.
    fn run(&self, worker: &mut Worker) -> Vec<DoorRows> {
        let _alarm = Alarm(&self.failed);
        let (index, peers) = (worker.index(), worker.peers());
        let (mut input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<Event>>();
            let mut lines = Lines::timed(stream, Arc::new(Progress::default()), self.time);
            if let Some(handed) = &self.handed {
                lines =
                    lines.restoring(std::mem::take(&mut handed.lock().expect("no worker panicked")[index]));
            }
            let gather = Gather { rows: History::Whole, finals: History::Changes };
            let mut flow = Flow::new(scope, lines, self.build.views(), gather);
            self.build.run(&mut flow).unwrap_or_else(|error| panic!("{error}"));
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
            let now = Epoch::new(number);
            input.advance_to(now);
            self.step_while(worker, &installed.faults, || !installed.watermark.knows(now));
            for (partition, offset, bytes) in epoch.pieces.iter().skip(index).step_by(peers) {
                let mut chunk = Chunk::from_bytes(&self.partitions[*partition], *offset, bytes);
                (chunk.arrived, chunk.order) = (epoch.arrived, *partition as u32);
                input.send(Event::Chunk(Rc::new(chunk)));
            }
            let live = self.partitions.clone();
            input.send(Event::End(End { arrived: epoch.arrived, live, finished: epoch.finished }));
            let next = now.next();
            input.advance_to(next);
            input.flush();
            self.step_while(worker, &installed.faults, || installed.probe.less_than(&next));
            commit(&mut outputs, Some(next), index);
        }
        let rows = installed.durable.rows();
        input.close();
        self.step_while(worker, &installed.faults, || !installed.probe.done());
        commit(&mut outputs, None, index);
        if index == 0 {
            let mut answer = self.answer.lock().expect("no worker panicked");
            answer.counts.plus_equals(&installed.summary.get().counts);
        }
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
        let (mut input, faults, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<Event>>();
            let lines = Lines::new(stream, Arc::new(Progress::default()));
            let mut records = lines.records(format);
            let updates = build(&mut records).inspect(move |(datum, _, diff)| {
                receiver.borrow_mut().push((datum.clone(), diff.clone()));
            });
            (input, lines.faults(), updates.probe().0)
        });
        let mut chunk = Chunk::from_bytes("test:", 0, &lines);
        chunk.arrived = FAR_AHEAD;
        input.send(Event::Chunk(Rc::new(chunk)));
        let live = vec!["test:".into()];
        input.send(Event::End(End { arrived: FAR_AHEAD, live, finished: false }));
        input.close();
        worker.step_or_park_while(Some(PARK), || !probe.done() && !faults.is_set());
        if let Some(line) = faults.get() {
            panic!("{line}");
        }
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
                let mut shown = Shown::default();
                view.rows(&mut |values| shown.rows.push(line(values)));
                view.changes(&mut |diff, values| shown.changes.push(format!("{diff:+}\t{}", line(values))));
                answer.views.entry(name).or_default().insert((closed.epoch, closed.step), shown);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Text;
    use crate::view::View;

    #[test]
    #[should_panic(expected = "Any")]
    fn a_worker_that_panics_ends_the_others() {
        const VIEWS: &[View] = &[View { name: "lines", columns: &["bytes", "count"], about: "by length" }];
        let fragile = Build::new("fragile", VIEWS, |flow| {
            let mut lines = flow.records(Text);
            let lengths = lines.count_by::<u64>("lengths", |line| {
                assert_ne!(line.line(), b"boom");
                Some(line.line().len() as u64)
            });
            flow.view("lines", lengths);
            Ok(())
        });
        let _ = Script::new(fragile).workers(3).epoch("one\nboom\ntwo\n").run();
    }

    #[test]
    #[should_panic(expected = "no good today")]
    fn a_dataflow_that_cannot_be_built_is_not_run() {
        let _ =
            run(Build::new("moody", &[], |_| Err(crate::dataflow::BuildError::new("no good today"))), b"");
    }
}
