//! `thalweg bench updates`: how soon a change is in the output.
//!
//! N keys are loaded; then batches of lines, each one key, go in, and the time is taken until the rows that they change have
//! been handed to a sink: through the door, the exchange, the operators and the commit, as in a run. The same batches go,
//! in turn, through a plain loop with a hash table that collects the same changed rows. A second table is about windows
//! (the module `corrections`).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use differential_dataflow::operators::CountTotal;
use hashbrown::HashMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use timely::worker::Worker;

use crate::bench::{BenchError, Notes, corrections, median, table};
use crate::data::{Bytes, grouped};
use crate::dataflow::{Build, Flow};
use crate::door::{Lines, Next, Seen, Timeout, text};
use crate::format::Text;
use crate::ledger::{Conductor, LedgerOptions};
use crate::runtime::ingest::{Ingest, IngestSetup, Sealed};
use crate::runtime::messages::Messages;
use crate::runtime::now;
use crate::runtime::reading::Inputs;
use crate::source::{Memory, MemoryWriter, Progress, ReadOptions, Source};
use crate::time::Epoch;
use crate::time::{Time, TimeOptions};
use crate::view::{Contents, Deliveries, Delivery, Holding, Keep, Views};

/// The time from a batch of updates to closed output, with many keys loaded.
#[derive(Clone, Debug)]
pub struct Updates {
    /// Keys that are loaded first; for windows, records.
    pub keys: u64,
    /// Worker threads.
    pub workers: u16,
    /// How many updates a batch has, at each of which it is measured.
    pub batches: Vec<u32>,
}

/// What is measured: a dataflow over lines that are keys.
struct Subject {
    name: &'static str,
    build: Build,
}

fn subjects() -> Vec<Subject> {
    vec![
        Subject {
            name: "count",
            build: Build::new("updates", |flow| {
                flow.records(Text).by(text("key"), |line| Some(line.line())).count("keys").show("rows");
                Ok(())
            }),
        },
        Subject {
            name: "count, top(10)",
            build: Build::new("updates", |flow| {
                let counts = flow.records(Text).by(text("key"), |line| Some(line.line())).count("keys");
                counts.top(10).map(["key", "count"], |(_, key, count)| (key, count)).show("rows");
                Ok(())
            }),
        },
        Subject {
            name: "collect, count_total",
            build: Build::new("updates", |flow| {
                let keys = flow.records(Text).by(text("key"), |line| Some(line.line())).collect("keys");
                flow.table(["key", "count"], keys.rows().count_total()).show("rows");
                Ok(())
            }),
        },
        Subject {
            name: "state",
            build: Build::new("updates", |flow| {
                let states = flow.records(Text).by(text("key"), |line| Some(line.line())).state(
                    "keys",
                    Timeout::Never,
                    |_| Some(()),
                    |_, seen, count: Option<isize>, _: &mut Vec<()>| match seen {
                        Seen::Values(values) => Next::Keep(count.unwrap_or(0) + values.len() as isize),
                        Seen::TimedOut(_) => Next::Drop,
                    },
                );
                states.states.show("rows");
                Ok(())
            }),
        },
    ]
}

impl Updates {
    /// Measures.
    ///
    /// # Errors
    ///
    /// When the workers do not start, or one of them panics.
    pub fn run(&self, notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let Updates { keys, workers, ref batches } = *self;
        let plan: Vec<(u32, u32)> = batches.iter().map(|size| (*size, repeats(*size))).collect();
        let head = format!("{} keys loaded, {workers} worker(s); times in µs", grouped(keys as i64));
        let mut rows = Vec::new();
        for subject in subjects() {
            notes(&format!("measuring {}", subject.name));
            let measured = measure(&subject, keys, usize::from(workers), &plan)?;
            for ((size, _), Timed { dataflow, baseline }) in plan.iter().zip(measured) {
                rows.extend(compared(subject.name, *size, [dataflow, baseline]));
            }
        }
        let counts = table(&HEADS, &rows);

        let mut rows = Vec::new();
        let mut ratios = String::new();
        for door in corrections::DOORS {
            notes(&format!("measuring {}", door.name));
            let measured = corrections::measure(door, keys, usize::from(workers), &plan)?;
            for ((size, _), corrections::Timed { in_time, late }) in plan.iter().zip(measured) {
                let ratio = ratio(&late[0], &in_time[0]);
                ratios += &format!(
                    "{}, batches of {size}: late takes {ratio:.2} times as long as in time\n",
                    door.name
                );
                rows.extend(compared(&format!("{}: in time", door.name), *size, in_time));
                rows.extend(compared(&format!("{}: late", door.name), *size, late));
            }
        }
        Ok(format!("{head}\n{counts}\n{}{ratios}", table(&HEADS, &rows)))
    }
}

const HEADS: [&str; 7] = ["operators", "batch", "p50", "p99", "max", "updates/s", "ratio"];

/// A row for the dataflow, and one for its baseline.
fn compared(name: &str, size: u32, [mut dataflow, mut baseline]: [Vec<Duration>; 2]) -> [Vec<String>; 2] {
    let ratio = format!("{:.3}", ratio(&baseline, &dataflow));
    [row(name, size, &mut dataflow, ratio), row("  baseline", size, &mut baseline, "1".to_owned())]
}

/// How much longer `times` are than `others`: the median of the ratios.
fn ratio(times: &[Duration], others: &[Duration]) -> f64 {
    median(times.iter().zip(others).map(|(time, other)| time.as_secs_f64() / other.as_secs_f64()))
}

/// Batches of a size that are measured: enough for a 99th percentile where they are quick.
fn repeats(size: u32) -> u32 {
    (1_000_000 / size).clamp(20, 2000)
}

fn row(name: &str, size: u32, times: &mut [Duration], ratio: String) -> Vec<String> {
    times.sort();
    let micros = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1e6);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let rate = f64::from(size) * times.len() as f64 / times.iter().sum::<Duration>().as_secs_f64();
    let rate = grouped(rate as i64);
    vec![
        name.to_owned(),
        grouped(i64::from(size)),
        micros(at(0.5)),
        micros(at(0.99)),
        micros(at(1.0)),
        rate,
        ratio,
    ]
}

/// The times of all batches of one size.
#[derive(Clone, Debug, Default)]
struct Timed {
    dataflow: Vec<Duration>,
    baseline: Vec<Duration>,
}

fn measure(
    subject: &Subject,
    keys: u64,
    workers: usize,
    plan: &[(u32, u32)],
) -> Result<Vec<Timed>, BenchError> {
    let (build, plan) = (subject.build.clone(), plan.to_vec());
    on_workers(workers, move |worker| {
        let mut bench = Bench::install(worker, &build, TimeOptions::default(), None);
        let mut baseline = Baseline::default();
        // All workers draw the same keys, and each takes its share.
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for first in (0..keys).step_by(LOADED_AT_ONCE as usize) {
            let bytes = lines(worker, first..keys.min(first + LOADED_AT_ONCE));
            bench.run(worker, &bytes);
            baseline.run(&bytes);
        }
        let mut measured = Vec::new();
        for (size, repeats) in &plan {
            let mut times = Timed::default();
            for _ in 0..*repeats {
                let batch: Vec<u64> = (0..*size).map(|_| random.next_u64() % keys).collect();
                let bytes = lines(worker, batch.into_iter());
                times.dataflow.push(bench.run(worker, &bytes));
                times.baseline.push(baseline.run(&bytes));
            }
            measured.push(times);
        }
        measured
    })
}

/// Runs `logic` on so many workers, and returns what the first of them does.
pub(super) fn on_workers<T: Default + Send + 'static>(
    workers: usize,
    logic: impl Fn(&mut Worker) -> T + Send + Sync + 'static,
) -> Result<T, BenchError> {
    let result = Arc::new(Mutex::new(T::default()));
    let recorded = Arc::clone(&result);
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let measured = logic(worker);
        if worker.index() == 0 {
            *recorded.lock().unwrap_or_else(PoisonError::into_inner) = measured;
        }
    });
    for worker in guards.map_err(BenchError::Timely)?.join() {
        worker.map_err(BenchError::Timely)?;
    }
    Ok(std::mem::take(&mut *result.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Lines of `keys`, those of this worker.
pub(super) fn lines(worker: &Worker, keys: impl Iterator<Item = u64>) -> Vec<u8> {
    share(worker, keys.map(|key| format!("key-{key:07}\n")))
}

/// The lines of this worker.
pub(super) fn share(worker: &Worker, lines: impl Iterator<Item = String>) -> Vec<u8> {
    let own = lines.skip(worker.index()).step_by(worker.peers());
    own.fold(Vec::new(), |mut bytes, line| {
        bytes.extend_from_slice(line.as_bytes());
        bytes
    })
}

/// How many lines an epoch has while a dataflow is loaded.
pub(super) const LOADED_AT_ONCE: u64 = 100_000;

/// When they arrive: in the year 3000, so that none is dated too far ahead.
const ARRIVED: Time = Time(32_503_680_000_000);

/// One worker's dataflow.
pub(super) struct Bench {
    ingest: Ingest,
    writer: MemoryWriter,
    probe: timely::dataflow::ProbeHandle<Epoch>,
    views: Views,
    /// By view, what a sink would be shown.
    contents: Vec<Box<dyn Contents>>,
    epoch: u64,
}

/// The changes of each epoch, and nothing kept behind them.
const HOLDING: Holding = Holding { changes: true, rows: false, finals: false, keep: Keep::ALL };

impl Bench {
    pub(super) fn install(
        worker: &mut Worker,
        build: &Build,
        time: TimeOptions,
        keep: Option<crate::state::Keep>,
    ) -> Self {
        let messages = Messages::install(worker);
        let (feed, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (mut lines, feed) = Lines::fed(scope, Arc::new(Progress::default()), time);
            if let Some(keep) = keep {
                lines = lines.keeping(keep);
            }
            let installed = build.install(Flow::new(scope, lines, Deliveries::rows(Delivery::Changes)));
            (feed, installed.unwrap_or_else(|error| panic!("{error}")))
        });
        let contents = (0..installed.views.schemas().len())
            .map(|view| installed.views.contents(view, HOLDING))
            .collect();
        // A partition a worker, which only that worker writes to.
        let names = (0..worker.peers()).map(|worker| format!("bench:{worker}").into()).collect();
        let (memory, mut writers) = Memory::pushed(names);
        let sources: Vec<Arc<dyn Source>> = vec![Arc::new(memory)];
        let event_time = installed.event_time;
        let pace = LedgerOptions { event_time, ..LedgerOptions::unpaced(worker.peers(), time) };
        let conductor = (worker.index() == 0).then(|| {
            let mut conductor = Conductor::new(pace, &sources).expect("memory is found");
            conductor.by_hand(Some(ARRIVED));
            conductor
        });
        let setup = IngestSetup {
            inputs: Inputs::of(sources),
            options: ReadOptions::default(),
            conductor,
            event_time: installed.event_time,
            horizon: installed.horizon,
            checks: false,
            records: Sealed::Forgotten,
        };
        Bench {
            ingest: Ingest::new(worker, messages, feed, setup),
            writer: writers.swap_remove(worker.index()),
            probe: installed.probe,
            views: installed.views,
            contents,
            epoch: 0,
        }
    }

    /// How many epochs there were.
    pub(super) fn epochs(&self) -> u64 {
        self.epoch
    }

    /// The time that an epoch with the lines `bytes` takes, from the push until every changed row has been looked at, as a
    /// sink would do on its own thread.
    pub(super) fn run(&mut self, worker: &mut Worker, bytes: &[u8]) -> Duration {
        let bytes = bytes.to_vec();
        let begun = now();
        self.writer.push(bytes);
        self.ingest.request();
        let closed = self.epoch;
        self.epoch += 1;
        let next = Epoch::new(self.epoch);
        while self.probe.less_than(&next) {
            // Memory can be read.
            let _ = self.ingest.turn(closed, true);
            worker.step();
        }
        let mut cells = 0;
        while let Some(changed) = self.views.next_before(Some(next)) {
            for batch in changed.rows {
                let view = &mut self.contents[batch.view];
                // Nothing is final here that could be retracted.
                let _ = view.apply(changed.time, Some(batch), None);
                view.changes(&mut |_, values| cells += values.len());
            }
        }
        std::hint::black_box(cells);
        now() - begun
    }
}

/// The plain loop: a hash table, and the rows that a batch changes.
#[derive(Default)]
struct Baseline {
    counts: HashMap<Bytes, isize, foldhash::fast::RandomState>,
    changed: HashMap<Bytes, isize, foldhash::fast::RandomState>,
}

impl Baseline {
    fn run(&mut self, bytes: &[u8]) -> Duration {
        let begun = now();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let key = || Bytes::from(line);
            let before = match self.counts.get_mut(line) {
                Some(count) => std::mem::replace(count, *count + 1),
                None => self.counts.insert(key(), 1).unwrap_or(0),
            };
            if !self.changed.contains_key(line) {
                self.changed.insert(key(), before);
            }
        }
        let mut rows: Vec<_> = self.changed.drain().map(|(key, old)| (self.counts[&key], key, old)).collect();
        rows.sort_unstable();
        std::hint::black_box(&rows);
        now() - begun
    }
}
