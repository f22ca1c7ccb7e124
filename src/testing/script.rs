//! Runs as tests tell them.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use crate::dataflow::{Build, Outline};
use crate::envelope::Envelope;
use crate::ledger::{Afterwards, Conductor, EpochRecord, LedgerOptions, Mark, Read};
use crate::source::{Enveloped, Memory, PartitionId, Source};
use crate::state::{Memory as Stored, Snapshot, Writer};
use crate::testing::answer::Answer;
use crate::testing::stage::Stage;
use crate::time::Time;
use crate::time::TimeOptions;
use crate::view::Finality;

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
/// /// words of the last ten seconds, from lines such as `12 north`
/// #[derive(clap::Args)]
/// struct Recent;
/// impl Dataflow for Recent {
///     const NAME: &'static str = "recent";
///     fn build(&self, flow: &mut Flow<'_>) -> Result<(), BuildError> {
///         let window = Window::tumbling(Duration::from_secs(10))?;
///         let lines = flow.records(Text).event_time(|line| {
///             let seconds = line.split(|byte| *byte == b' ').next()?;
///             std::str::from_utf8(seconds).ok()?.parse::<i64>().ok()?.checked_mul(1000)
///         });
///         let words = lines.by(text("word"), |line| line.split(|byte| *byte == b' ').nth(1));
///         words.over_last(window).count("words").sorted_by(by_count).show("words");
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
    arriving: Time,
    /// Whether what is read is digested.
    digest: bool,
    /// What is around the lines.
    envelope: Option<Envelope>,
    /// Epochs as they were, in place of those of the script.
    replay: Option<Vec<EpochRecord>>,
    stages: Vec<(usize, Vec<ScriptedEpoch>)>,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("dataflow", &self.build.name()).finish_non_exhaustive()
    }
}

/// What a script tells of one epoch.
#[derive(Clone, Debug, Default)]
struct ScriptedEpoch {
    arrived: Time,
    /// Lines by partition.
    lines: Vec<(String, Vec<u8>)>,
    /// Whether the input ends here.
    finished: bool,
}

/// The year 3000.
pub(super) const FAR_AHEAD: Time = Time(32_503_680_000_000);

/// Into about so many pieces is each partition cut, which are dealt out among the workers.
const PIECES: u64 = 4096;

impl Script {
    /// An empty script for `dataflow`, on one worker. The dataflow's options are its fields;
    /// [`Dataflow::with_options`](crate::dataflow::Dataflow::with_options) gives them their defaults.
    pub fn new(dataflow: impl Into<Build>) -> Self {
        let (build, time) = (dataflow.into(), TimeOptions::default());
        let stages = vec![(1, Vec::new())];
        Script { build, time, arriving: FAR_AHEAD, digest: false, envelope: None, replay: None, stages }
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

    /// From here on, epochs arrive at `time`.
    pub fn arriving(mut self, time: impl Into<Time>) -> Self {
        self.arriving = time.into();
        self
    }

    /// With digests of what is read in the records of the ledger.
    pub fn digested(mut self) -> Self {
        self.digest = true;
        self
    }

    /// With lines in envelopes, which are peeled off.
    pub fn in_envelope(mut self, envelope: Envelope) -> Self {
        self.envelope = Some(envelope);
        self
    }

    /// As this, in epochs as `records` of an earlier run say, and on as many workers as the script ends with.
    ///
    /// ```
    /// use thalweg::ledger::{decode_records, encode_record};
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("bytes", |flow| {
    ///     flow.records(Text).by(column::<u8>("byte"), |line| line.first().copied()).count("bytes").show("bytes");
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
        self.add(ScriptedEpoch { arrived, lines, finished: false })
    }

    /// The input ends. Without this, it is as if the run had been stopped.
    pub fn end(self) -> Self {
        let arrived = self.arriving;
        self.add(ScriptedEpoch { arrived, finished: true, ..ScriptedEpoch::default() })
    }

    fn add(mut self, epoch: ScriptedEpoch) -> Self {
        if let Some((_, epochs)) = self.stages.last_mut() {
            epochs.push(epoch);
        }
        self
    }

    /// Runs it, and in many other ways: on one to four workers, in one epoch, in epochs cut in half, and in epochs of few
    /// lines, in one go and stopped in between, where what is durable is handed to a run with other workers. What the views
    /// hold in the end, and which rows have become final, must be the same in all; the answer is that of the script itself.
    ///
    /// That is what a dataflow promises of records that are within the lateness. Those that are not, and views that count
    /// what was late, depend on how the input is cut.
    ///
    /// ```
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("words", |flow| {
    ///     flow.records(Text).by(text("word"), |line| Some(line.line())).count("words").top(2).show("first");
    ///     Ok(())
    /// });
    /// let answer = Script::new(build).epoch("b\nc\na\n").epoch("c\nb\nc\n").everywhere();
    /// assert_eq!(answer.view("first"), ["1\tc\t3", "2\tb\t2"]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Script::run`], and if an answer is another one; the message says how that run was.
    #[track_caller]
    pub fn everywhere(self) -> Answer {
        let answer = self.clone().run();
        let Outline { views, .. } = self.build.check().unwrap_or_else(|error| panic!("{error}"));
        let epochs: Vec<ScriptedEpoch> = self.stages.iter().flat_map(|(_, epochs)| epochs.clone()).collect();
        for (cut, epochs) in [
            ("as written", epochs.clone()),
            ("whole", whole(&epochs)),
            ("halved", cut(&epochs, 2)),
            ("in pieces", cut(&epochs, 9)),
        ] {
            for workers in 1..=4 {
                for stopped in [false, true] {
                    let at = epochs.len() / 2;
                    let stages = if stopped && at > 0 {
                        vec![(workers, epochs[..at].to_vec()), (workers % 4 + 1, epochs[at..].to_vec())]
                    } else {
                        vec![(workers, epochs.clone())]
                    };
                    let other = Script { stages, ..self.clone() }.run();
                    for view in &views {
                        let how =
                            format!("view `{}`, {cut}, {workers} worker(s), stopped: {stopped}", view.name);
                        // What was said once is not said again after a stop.
                        if view.finality != Finality::AtOnce {
                            assert_eq!(other.view(&view.name), answer.view(&view.name), "{how}");
                        }
                        if view.finality.have_finals() {
                            let sorted = |answer: &Answer| {
                                let mut rows: Vec<_> =
                                    answer.finals(&view.name).into_iter().map(str::to_owned).collect();
                                rows.sort();
                                rows
                            };
                            assert_eq!(sorted(&other), sorted(&answer), "final rows of {how}");
                        }
                    }
                }
            }
        }
        answer
    }

    /// Runs it.
    ///
    /// # Panics
    ///
    /// If the dataflow cannot be built, or does not give what it declares.
    pub fn run(self) -> Answer {
        let build = self.build;
        let Outline { views, .. } = build.check().unwrap_or_else(|error| panic!("{error}"));
        let known = views.iter().map(|view| (view.name.clone(), BTreeMap::new())).collect();
        let answer = Arc::new(Mutex::new(Answer::of(known)));
        let mut partitions = Partitions::default();
        let mut stages = Vec::new();
        for (workers, epochs) in self.stages {
            let end = epochs.last().is_some_and(|epoch| epoch.finished);
            let epochs = epochs.into_iter().filter(|epoch| !epoch.finished);
            let cuts: Vec<_> = epochs.map(|epoch| (epoch.arrived, partitions.append(epoch.lines))).collect();
            stages.push((workers, cuts, if end { Afterwards::End } else { Afterwards::Stop }));
        }
        let sources = partitions.sources(self.envelope);
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
            let pace = LedgerOptions { digest: self.digest, ..LedgerOptions::unpaced(workers, self.time) };
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

/// All of `epochs` as one, and the end if they have one.
fn whole(epochs: &[ScriptedEpoch]) -> Vec<ScriptedEpoch> {
    let mut all = ScriptedEpoch::default();
    for epoch in epochs.iter().filter(|epoch| !epoch.finished) {
        all.arrived = all.arrived.max(epoch.arrived);
        for (partition, lines) in &epoch.lines {
            let lines = lines_of(lines);
            match all.lines.iter_mut().find(|(known, _)| known == partition) {
                Some((_, all)) => all.extend(lines.concat()),
                None => all.lines.push((partition.clone(), lines.concat())),
            }
        }
    }
    let end = epochs.last().filter(|epoch| epoch.finished).cloned();
    std::iter::once(all).chain(end).collect()
}

/// Each of `epochs` as up to `pieces`.
fn cut(epochs: &[ScriptedEpoch], pieces: usize) -> Vec<ScriptedEpoch> {
    let piece = |epoch: &ScriptedEpoch, piece: usize| {
        let part = |(partition, lines): &(String, Vec<u8>)| {
            let lines = lines_of(lines);
            let at = |piece: usize| lines.len() * piece / pieces;
            (partition.clone(), lines[at(piece)..at(piece + 1)].concat())
        };
        ScriptedEpoch { lines: epoch.lines.iter().map(part).collect(), ..*epoch }
    };
    let each = |epoch: &ScriptedEpoch| match epoch.finished {
        true => vec![epoch.clone()],
        false => (0..pieces).map(|at| piece(epoch, at)).collect(),
    };
    epochs.iter().flat_map(each).collect()
}

/// The lines of `bytes`, each with its LF.
fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    lines.map(|line| if line.ends_with(b"\n") { line.to_vec() } else { [line, b"\n"].concat() }).collect()
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
            // A directory may be called `day=1`.
            let named = name.split_once('=').filter(|(input, _)| !input.contains('/'));
            let (input, partition) = match named {
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
    fn sources(&self, envelope: Option<Envelope>) -> Vec<(Option<String>, Arc<dyn Source>)> {
        let source = |(input, parts): &(Option<String>, Vec<(Arc<str>, Vec<u8>)>)| {
            let longest = parts.iter().map(|(_, bytes)| bytes.len() as u64).max().unwrap_or(0);
            let parts = parts.iter().map(|(name, bytes)| (Arc::clone(name), Arc::from(bytes.as_slice())));
            let memory = Memory::fixed(parts.collect()).in_chunks_of((longest / PIECES).max(16)).open_ended();
            let memory: Arc<dyn Source> = Arc::new(memory);
            let source = match envelope {
                None => memory,
                Some(envelope) => Arc::new(Enveloped::new(envelope, memory)),
            };
            (input.clone(), source)
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
