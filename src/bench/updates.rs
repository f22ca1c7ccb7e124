//! `thalweg bench updates`: how soon a change is in the output.
//!
//! N keys are loaded; then batches of lines, each one key, go in, and the time is taken until the rows that they change have
//! been handed to a sink: through the door, the exchange, the operators and the commit, as in a run. The same batches go,
//! in turn, through a plain loop with a hash table that collects the same changed rows.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::{ArgMatches, Command};
use differential_dataflow::operators::CountTotal;
use hashbrown::HashMap;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use timely::dataflow::operators::Input;
use timely::worker::Worker;

use super::{arg, median, table};
use crate::aggregate::{Bytes, End, Event, Lines};
use crate::cli::{Failure, grouped, print};
use crate::dataflow::{Build, Flow, View};
use crate::format::Text;
use crate::operators::TopK;
use crate::runtime::{Epoch, Exit, Progress, now};
use crate::sink::{At, Closed, Gather, History, Outputs, Sink, SinkError};
use crate::source::Chunk;

pub(super) fn command() -> Command {
    Command::new("updates")
        .about("The time from a batch of updates to closed output, with many keys loaded")
        .arg(
            arg("keys", "N", "1000000", "Keys that are loaded first")
                .value_parser(clap::value_parser!(u64).range(1..=100_000_000)),
        )
        .arg(
            arg("workers", "N", "1", "Worker threads")
                .short('w')
                .value_parser(clap::value_parser!(u16).range(1..=256)),
        )
        .arg(
            arg("batches", "LIST", "1,10,100,1000,100000", "Updates in a batch")
                .value_delimiter(',')
                .value_parser(clap::value_parser!(u32).range(1..=10_000_000)),
        )
}

/// What is measured: a dataflow over lines that are keys.
struct Subject {
    name: &'static str,
    build: Build,
}

const VIEWS: &[View] = &[View { name: "rows", columns: &["key", "count"], about: "what changed" }];

fn subjects() -> Vec<Subject> {
    vec![
        Subject {
            name: "count_by",
            build: Build::new(|flow| {
                let counts = flow.records(Text).count_by::<Bytes>("keys", |line| Some(line.line()));
                flow.view("rows", counts);
            }),
        },
        Subject {
            name: "count_by, top_k(10)",
            build: Build::new(|flow| {
                let counts = flow.records(Text).count_by::<Bytes>("keys", |line| Some(line.line()));
                flow.view("rows", counts.top_k(10).map(|(_, key, count)| (key, count)));
            }),
        },
        Subject {
            name: "collect, count_total",
            build: Build::new(|flow| {
                let keys = flow.records(Text).collect::<Bytes>("keys", |line| Some(line.line()));
                flow.view("rows", keys.count_total());
            }),
        },
    ]
}

pub(super) fn main(matches: &ArgMatches) -> Result<(), Failure> {
    let keys: u64 = *matches.get_one("keys").expect("it has a default");
    let workers: u16 = *matches.get_one("workers").expect("it has a default");
    let sizes: Vec<u32> = matches.get_many("batches").into_iter().flatten().copied().collect();
    let plan: Vec<(u32, u32)> = sizes.iter().map(|size| (*size, repeats(*size))).collect();

    print(&format!("{} keys loaded, {workers} worker(s); times in µs\n", grouped(keys as i64)))?;
    let mut rows = Vec::new();
    for subject in subjects() {
        let measured = measure(&subject, keys, usize::from(workers), &plan)
            .map_err(|error| Failure::new(Exit::Panic, error))?;
        for ((size, _), Timed { mut dataflow, mut baseline }) in plan.iter().zip(measured) {
            let ratio = median(
                baseline.iter().zip(&dataflow).map(|(base, flow)| base.as_secs_f64() / flow.as_secs_f64()),
            );
            rows.push(row(subject.name, *size, &mut dataflow, format!("{ratio:.3}")));
            rows.push(row("  baseline", *size, &mut baseline, "1".to_owned()));
        }
    }
    print(&table(&["operators", "batch", "p50", "p99", "max", "updates/s", "ratio"], &rows))
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

fn measure(subject: &Subject, keys: u64, workers: usize, plan: &[(u32, u32)]) -> anyhow::Result<Vec<Timed>> {
    let result = Arc::new(Mutex::new(Vec::new()));
    let (build, plan, recorded) = (subject.build.clone(), plan.to_vec(), Arc::clone(&result));
    let guards = timely::execute(timely::Config::process(workers), move |worker| {
        let mut bench = Bench::install(worker, &build);
        let mut baseline = Baseline::default();
        // All workers draw the same keys, and each takes its share.
        let mut random = ChaCha8Rng::seed_from_u64(1);
        const LOADED_AT_ONCE: u64 = 100_000;
        for first in (0..keys).step_by(LOADED_AT_ONCE as usize) {
            let batch: Vec<u64> = (first..keys.min(first + LOADED_AT_ONCE)).collect();
            bench.run(worker, &batch);
            baseline.run(worker, &batch);
        }
        let mut measured = Vec::new();
        for (size, repeats) in &plan {
            let mut times = Timed::default();
            for _ in 0..*repeats {
                let batch: Vec<u64> = (0..*size).map(|_| random.next_u64() % keys).collect();
                times.dataflow.push(bench.run(worker, &batch));
                times.baseline.push(baseline.run(worker, &batch));
            }
            measured.push(times);
        }
        if worker.index() == 0 {
            *recorded.lock().unwrap_or_else(PoisonError::into_inner) = measured;
        }
    });
    for worker in guards.map_err(anyhow::Error::msg)?.join() {
        worker.map_err(anyhow::Error::msg)?;
    }
    Ok(std::mem::take(&mut *result.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Lines of `keys`, those of this worker.
fn lines(keys: &[u64], worker: &Worker) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(keys.len() * 12);
    for key in keys.iter().skip(worker.index()).step_by(worker.peers()) {
        bytes.extend_from_slice(format!("key-{key:07}\n").as_bytes());
    }
    bytes
}

/// One worker's dataflow.
struct Bench {
    input: timely::dataflow::InputHandle<Epoch, timely::container::CapacityContainerBuilder<Vec<Event>>>,
    probe: timely::dataflow::ProbeHandle<Epoch>,
    outputs: Outputs,
    epoch: u64,
}

impl Bench {
    fn install(worker: &mut Worker, build: &Build) -> Self {
        let (input, installed) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<Event>>();
            let lines = Lines::new(stream, Arc::new(Progress::default()));
            let mut flow = Flow::new(scope, lines, VIEWS, Gather::rows(History::Changes));
            build.run(&mut flow);
            (input, flow.finish())
        });
        let sink: Box<dyn Sink> = Box::new(Counting::default());
        Bench {
            input,
            probe: installed.probe,
            outputs: Outputs::new(installed.outputs, vec![sink]),
            epoch: 0,
        }
    }

    fn run(&mut self, worker: &mut Worker, keys: &[u64]) -> Duration {
        let chunk = Chunk::from_bytes("bench:", 0, &lines(keys, worker));
        let begun = now();
        self.input.send(Event::Chunk(Rc::new(chunk)));
        self.input.send(Event::End(End::default()));
        self.epoch += 1;
        let next = Epoch::new(self.epoch);
        self.input.advance_to(next);
        self.input.flush();
        worker.step_while(|| self.probe.less_than(&next));
        // The sink does not fail.
        let _ = self.outputs.commit(Some(next), self.epoch);
        now() - begun
    }
}

/// A sink that looks at every changed row.
#[derive(Debug, Default)]
struct Counting(Cell<usize>);

impl Sink for Counting {
    fn at(&self) -> At {
        At::EveryEpoch
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        for view in closed.views {
            view.changes(&mut |_, values| self.0.set(self.0.get() + values.len()));
        }
        Ok(())
    }
}

/// The plain loop: a hash table, and the rows that a batch changes.
#[derive(Default)]
struct Baseline {
    counts: HashMap<Bytes, isize, foldhash::fast::RandomState>,
    changed: HashMap<Bytes, isize, foldhash::fast::RandomState>,
}

impl Baseline {
    fn run(&mut self, worker: &Worker, keys: &[u64]) -> Duration {
        let bytes = lines(keys, worker);
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
