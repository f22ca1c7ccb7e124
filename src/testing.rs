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
use timely::worker::Worker;

use crate::data::InputCounts;
use crate::data::{Time, Value, escape_json};
use crate::dataflow::{Build, Flow};
use crate::door::{Lines, Records};
use crate::format::Format;
use crate::ledger::{Afterwards, Conductor, EpochRecord, LedgerOptions, Mark, Read};
use crate::runtime::assign;
use crate::runtime::ingest::{Ingest, IngestSetup, Turn};
use crate::runtime::post::Post;
use crate::runtime::reading::Inputs;
use crate::sink::{At, Attached, Closed, Mode, Opening, Outputs, Shows, Sink, SinkError, Start};
use crate::source::{Memory, PartitionId, Progress, ReadOptions, Source};
use crate::state::{Keep, Memory as Stored, Queue, Snapshot, Store, Writer};
use crate::time::Epoch;
use crate::time::TimeOptions;
use crate::view::{Deliveries, Keep as Retention};

/// What the views of a dataflow held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// By view, and by epoch and step at which it changed.
    views: BTreeMap<String, BTreeMap<(u64, u32), Shown>>,
    /// Final rows by view, as they were shown.
    finals: BTreeMap<String, Vec<String>>,
    counts: InputCounts,
    records: Vec<EpochRecord>,
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

    /// The records of the ledger, one an epoch.
    pub fn records(&self) -> &[EpochRecord] {
        &self.records
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
    /// Whether what is read is digested.
    digest: bool,
    /// Epochs as they were, in place of those of the script.
    replay: Option<Vec<EpochRecord>>,
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

/// Into about so many pieces is each partition cut, which are dealt out among the workers.
const PIECES: u64 = 4096;

impl Script {
    /// An empty script for `dataflow`, on one worker. The dataflow's options are its fields;
    /// [`Dataflow::with_options`](crate::dataflow::Dataflow::with_options) gives them their defaults.
    pub fn new(dataflow: impl Into<Build>) -> Self {
        let (build, time) = (dataflow.into(), TimeOptions::default());
        let stages = vec![(1, Vec::new())];
        Script { build, time, arriving: FAR_AHEAD, digest: false, replay: None, stages }
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

    /// With digests of what is read in the records of the ledger.
    pub fn digested(mut self) -> Self {
        self.digest = true;
        self
    }

    /// As this, in epochs as `records` of an earlier run say, and on as many workers as the script ends with.
    ///
    /// ```
    /// use thalweg::ledger::{decode_records, encode_record};
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// const VIEWS: &[View] = &[View { name: "bytes", columns: &["byte", "count"], about: "" }];
    /// let build = Build::new("bytes", VIEWS, |flow| {
    ///     let bytes = flow.records(Text).count_by::<u8>("bytes", |line| line.first().copied());
    ///     flow.view("bytes", bytes);
    ///     Ok(())
    /// });
    /// let script = |lines: &str| Script::new(build.clone()).digested().epoch(lines).epoch("c\n");
    /// let first = script("a\nb\na\n").run();
    /// let ledger: Vec<u8> = first.records().iter().flat_map(encode_record).collect();
    /// let again = script("a\nb\na\n").workers(3).replaying(decode_records(&ledger)?).run();
    /// assert_eq!(first, again);
    /// // Other bytes are not what was read.
    /// let other = script("a\nb\nX\n").replaying(decode_records(&ledger)?);
    /// let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| other.run()));
    /// assert!(refused.is_err());
    /// # Ok::<(), thalweg::ledger::RecordError>(())
    /// ```
    pub fn replaying(mut self, records: Vec<EpochRecord>) -> Self {
        self.replay = Some(records);
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
        let mut partitions = Partitions::default();
        let mut stages = Vec::new();
        for (workers, epochs) in self.stages {
            let end = epochs.last().is_some_and(|epoch| epoch.finished);
            let epochs = epochs.into_iter().filter(|epoch| !epoch.finished);
            let told: Vec<_> = epochs.map(|epoch| (epoch.arrived, partitions.append(epoch.lines))).collect();
            stages.push((workers, told, if end { Afterwards::End } else { Afterwards::Stop }));
        }
        let sources = partitions.sources();
        let mut replay = self.replay;
        if replay.is_some() {
            // In one go: what stood between the stages is not what is looked at.
            let workers = stages.last().map_or(1, |(workers, ..)| *workers);
            stages = vec![(workers, Vec::new(), Afterwards::Stop)];
        }
        let (mut handed, mut mark, mut first) = (None::<Vec<u8>>, None::<Mark>, 0);
        for (workers, epochs, afterwards) in stages {
            // What is handed over is bytes, as if it had been on a disk.
            let snapshot =
                handed.map(|bytes| Snapshot::from_bytes(&bytes).unwrap_or_else(|error| panic!("{error}")));
            let memory = snapshot.as_ref().map_or_else(|| Ok(Stored::new()), Stored::of);
            let memory = memory.unwrap_or_else(|error| panic!("{error}"));
            let snapshot = snapshot.map(Arc::new);
            let writer = Writer::start(memory.clone(), workers, Writer::QUEUE);
            let writer = writer.unwrap_or_else(|error| panic!("{error}"));
            let pace = pace(workers, self.time, self.digest);
            let of: Vec<_> = sources.iter().map(|(_, source)| Arc::clone(source)).collect();
            let mut conductor = Conductor::new(pace, &of).unwrap_or_else(|error| panic!("{error}"));
            if let Some(mark) = mark.take() {
                conductor.resume(mark);
            }
            let records = epochs.into_iter().zip(first..).map(|((arrived, ends), epoch)| EpochRecord {
                epoch,
                arrived,
                reads: partitions.reads(&ends),
                ..EpochRecord::default()
            });
            let records = replay.take().unwrap_or_else(|| records.collect());
            conductor.replay(records, afterwards);
            let stage = Stage {
                build: build.clone(),
                time: self.time,
                first,
                sources: sources.clone(),
                conductor: Mutex::new(Some(conductor)),
                handed: snapshot,
                queue: Mutex::new(writer.queue()),
                answer: Arc::clone(&answer),
                failed: AtomicBool::new(false),
            };
            let guards = timely::execute(timely::Config::process(workers), move |worker| stage.run(worker));
            let results = guards.unwrap_or_else(|error| panic!("{error}")).join();
            mark = None;
            for result in results {
                mark = mark.or(result.unwrap_or_else(|error| panic!("{error}")));
            }
            writer.finish().unwrap_or_else(|error| panic!("{error}"));
            let snapshot = memory.load().unwrap_or_else(|error| panic!("{error}"));
            handed = snapshot.map(|snapshot| snapshot.to_bytes().unwrap_or_else(|error| panic!("{error}")));
            first = mark.as_ref().map_or(0, Mark::next_epoch);
        }
        std::mem::take(&mut answer.lock().expect("no worker panicked"))
    }
}

/// One epoch at a time, which is as long as it is told to be.
fn pace(peers: usize, time: TimeOptions, digest: bool) -> LedgerOptions {
    LedgerOptions {
        peers,
        time,
        tick: std::time::Duration::ZERO,
        epoch_bytes: u64::MAX,
        chunk_bytes: 1,
        max_open_epochs: 1,
        max_open_bytes: u64::MAX,
        event_time: true,
        digest,
    }
}

/// What a script tells of each partition, in all of its epochs.
#[derive(Debug, Default)]
struct Partitions {
    /// By input, and by name.
    inputs: Vec<(Option<String>, Vec<(Arc<str>, Vec<u8>)>)>,
}

impl Partitions {
    /// Adds the lines of an epoch; returns where each partition ends then, by name.
    fn append(&mut self, lines: Vec<(String, Vec<u8>)>) -> BTreeMap<String, u64> {
        for (name, mut lines) in lines {
            let (input, partition) = match name.split_once('=') {
                Some((input, partition)) => (Some(input.to_owned()), partition),
                None => (None, name.as_str()),
            };
            if !lines.is_empty() && !lines.ends_with(b"\n") {
                lines.push(b'\n');
            }
            let at = self.inputs.iter().position(|(known, _)| *known == input).unwrap_or_else(|| {
                self.inputs.push((input, Vec::new()));
                self.inputs.len() - 1
            });
            let parts = &mut self.inputs[at].1;
            match parts.iter_mut().find(|(known, _)| **known == *partition) {
                Some((_, all)) => all.extend(lines),
                None => parts.push((partition.into(), lines)),
            }
        }
        let parts = self.inputs.iter().flat_map(|(_, parts)| parts);
        parts.map(|(name, bytes)| (name.to_string(), bytes.len() as u64)).collect()
    }

    /// The sources that hold it all.
    fn sources(&self) -> Vec<(Option<String>, Arc<dyn Source>)> {
        let source = |(input, parts): &(Option<String>, Vec<(Arc<str>, Vec<u8>)>)| {
            let longest = parts.iter().map(|(_, bytes)| bytes.len() as u64).max().unwrap_or(0);
            let parts = parts.iter().map(|(name, bytes)| (Arc::clone(name), Arc::from(bytes.as_slice())));
            let memory = Memory::fixed(parts.collect()).in_chunks_of((longest / PIECES).max(16)).open_ended();
            (input.clone(), Arc::new(memory) as Arc<dyn Source>)
        };
        self.inputs.iter().map(source).collect()
    }

    /// What an epoch reads after which each partition ends there.
    fn reads(&self, ends: &BTreeMap<String, u64>) -> Vec<Read> {
        let names = self.inputs.iter().flat_map(|(_, parts)| parts).map(|(name, _)| name);
        let upto = |name: &Arc<str>| ends.get(&**name).copied().unwrap_or(0);
        (0..).zip(names).map(|(at, name)| Read::planned(PartitionId(at), upto(name))).collect()
    }
}

/// Some epochs on some workers.
struct Stage {
    build: Build,
    time: TimeOptions,
    /// The number of the first epoch.
    first: u64,
    sources: Vec<(Option<String>, Arc<dyn Source>)>,
    /// For the first worker.
    conductor: Mutex<Option<Conductor>>,
    /// What it goes on from.
    handed: Option<Arc<Snapshot>>,
    /// Where it hands over what changes, after each epoch.
    queue: Mutex<Queue>,
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
    /// One worker's part; the first tells how far the run has come.
    fn run(&self, worker: &mut Worker) -> Option<Mark> {
        let _alarm = Alarm(&self.failed);
        let index = worker.index();
        let keep = Keep::new(index, self.queue.lock().expect("no worker panicked").clone());
        let post = Post::install(worker);
        let (feed, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, feed) = Lines::fed(scope, Arc::new(Progress::default()), self.time);
            let mut lines = lines.keeping(keep.clone());
            if let Some(snapshot) = &self.handed {
                lines = lines.restoring(Arc::clone(snapshot));
            }
            let mut flow = Flow::new(scope, lines, self.build.views(), Deliveries::ALL);
            self.build.run(&mut flow).unwrap_or_else(|error| panic!("{error}"));
            (feed, flow.finish())
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
        let start = Start { incarnation: 0, first: self.first };
        let outputs = Outputs::open(installed.views, recorders.collect(), start);
        let mut outputs = outputs.unwrap_or_else(|error| panic!("{error}"));
        let conductor = self.conductor.lock().expect("no worker panicked").take_if(|_| index == 0);
        let setup = IngestSetup {
            inputs: assign(&self.sources, &installed.inputs).unwrap_or_else(|error| panic!("{error}")),
            options: ReadOptions::default(),
            conductor,
            event_time: installed.event_time,
            checks: false,
        };
        let mut ingest = Ingest::new(worker, post, feed, setup);
        let mut cut = self.first;
        // A door may be followed by no view.
        let behind = |next: Option<u64>| {
            keep.frontier().zip(next).is_some_and(|(frontier, next)| frontier < Epoch::new(next))
        };
        while !installed.probe.done() || behind(ingest.next_epoch()) {
            let failed = self.failed.load(Ordering::SeqCst);
            assert!(!failed, "another worker panicked; its message stands above");
            if let Some(line) = installed.faults.get() {
                panic!("{line}");
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
    let bytes: Arc<[u8]> = Arc::from(lines);
    timely::execute_directly(move |worker| {
        let held = Rc::new(RefCell::new(Vec::new()));
        let receiver = Rc::clone(&held);
        let post = Post::install(worker);
        let (feed, lines, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (lines, feed) = Lines::fed(scope, Arc::new(Progress::default()), TimeOptions::default());
            let mut records = lines.records(format);
            let updates = build(&mut records).inspect(move |(datum, _, diff)| {
                receiver.borrow_mut().push((datum.clone(), diff.clone()));
            });
            drop(records);
            (feed, (lines.faults(), lines.goes_by_event_time()), updates.probe().0)
        });
        let (faults, event_time) = lines;
        let length = bytes.len() as u64;
        let memory = Memory::fixed(vec![("test:".into(), bytes)]).open_ended();
        let sources: Vec<Arc<dyn Source>> = vec![Arc::new(memory)];
        let conductor = Conductor::new(pace(1, TimeOptions::default(), false), &sources);
        let mut conductor = conductor.unwrap_or_else(|error| panic!("{error}"));
        let reads = vec![Read::planned(PartitionId(0), length)];
        let epoch = EpochRecord { arrived: FAR_AHEAD, reads, ..EpochRecord::default() };
        conductor.replay([epoch], Afterwards::Stop);
        let inputs = Inputs { sources, inputs: vec![0] };
        let (options, conductor) = (ReadOptions::default(), Some(conductor));
        let setup = IngestSetup { inputs, options, conductor, event_time, checks: false };
        let mut ingest = Ingest::new(worker, post, feed, setup);
        while !probe.done() {
            let closed =
                probe.with_frontier(|frontier| frontier.first().map_or(u64::MAX, |epoch| epoch.number()));
            ingest.turn(closed, true).unwrap_or_else(|error| panic!("{error}"));
            worker.step();
            if let Some(line) = faults.get() {
                panic!("{line}");
            }
        }
        let mut held = held.take();
        consolidate(&mut held);
        held
    })
}

/// A sink that writes whole views, or the rows that have become final, into an [`Answer`].
#[derive(Debug)]
struct Recorder {
    answer: Arc<Mutex<Answer>>,
    finals: bool,
}

impl Sink for Recorder {
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        if self.finals {
            let mut answer = self.answer.lock().expect("no worker panicked");
            for schema in opening.views {
                answer.finals.entry(schema.view.name.to_owned()).or_default();
            }
        }
        Ok(None)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        let mut answer = self.answer.lock().expect("no worker panicked");
        let line = |values: &[Value<'_>]| values.iter().map(text).collect::<Vec<_>>().join("\t");
        for view in closed.views.iter().filter(|view| view.has_changed()) {
            let name = view.schema().view.name.to_owned();
            if self.finals {
                let finals = answer.finals.entry(name).or_default();
                view.changes(&mut |diff, values| (0..diff).for_each(|_| finals.push(line(values))));
            } else {
                let mut shown = Shown::default();
                view.rows(usize::MAX, &mut |values| shown.rows.push(line(values)));
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
        Value::Bytes(bytes) => escape_json(bytes).into_owned(),
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
