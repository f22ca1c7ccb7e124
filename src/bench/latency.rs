//! `thalweg bench latency`: how long a line takes from its arrival to its count at a sink.
//!
//! Lines are made at a steady rate ([`RateSource`]), each due at a time that is known beforehand, so that a run that
//! falls behind is not spared the lines which it keeps waiting. A line has its count when the sink commits the epoch in which it was
//! read; the ledger says which that is. Where an epoch's reading is told late it is taken for read later, never earlier.
//!
//! The first second is left out: what a run has to do once, as it begins, is not what holds a line up later.
//!
//! The baseline is a loop that takes the same lines from the same source, and does nothing with them but count them at each
//! tick: what waiting for the tick costs, and the machine.
//!
//! With a directory for state, each load is measured once more with durable epochs and snapshots: a sink is shown an epoch no
//! sooner than it is synced, and what a snapshot holds up is among the longest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::bench::{BenchError, Notes, table};
use crate::data::grouped;
use crate::dataflow::AnyDataflow;
use crate::rate::{RateClock, RateSource};
use crate::runtime::{self, DurableSettings, Reports, RunError, Settings};
use crate::sink::{Closed, Opening, Sink, SinkError, Sinks};
use crate::source::{Pool, Progress, ReadOptions, Reader, Share, Source, Step};

/// How long lines take from their arrival to their count at a sink.
#[derive(Clone, Debug)]
pub struct Latency {
    /// The dataflow to run, with its default options.
    pub dataflow: String,
    /// What it is given, one after the other.
    pub loads: Vec<Load>,
    /// Worker threads.
    pub workers: u16,
    /// Partitions among which the lines are shared.
    pub partitions: u16,
    /// How long each load lasts.
    pub seconds: u16,
    /// Among how many clients (or words, devices …) the lines are shared; as [`rate:`](crate::rate) has it when not given.
    pub keys: Option<u32>,
    /// Where state is kept for the second of two runs of each load, and how long after a snapshot the next is made. What is there
    /// is discarded. Without it there is one run.
    pub state: Option<(String, Duration)>,
}

/// Lines at a rate, in epochs of a length: `200000@10ms`.
///
/// ```
/// use thalweg::bench::Load;
/// let load: Load = "200000@10ms".parse().unwrap();
/// assert_eq!((load.rate, load.tick.as_millis(), load.to_string()), (200_000, 10, "200000@10ms".to_owned()));
/// assert!("200000".parse::<Load>().unwrap_err().contains("200000@10ms"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Lines a second.
    pub rate: u64,
    /// How long an epoch lasts.
    pub tick: Duration,
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.rate, humantime::format_duration(self.tick))
    }
}

impl std::str::FromStr for Load {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let load = text.split_once('@').and_then(|(rate, tick)| {
            let rate = rate.parse().ok().filter(|rate| (1..=1_000_000_000).contains(rate))?;
            Some(Load { rate, tick: humantime::parse_duration(tick).ok()? })
        });
        load.ok_or_else(|| format!("`{text}` is no rate and tick, such as 200000@10ms"))
    }
}

/// From the first commit on, lines are not counted for so long.
const BEGINNING: Duration = Duration::from_secs(1);

/// Latencies in microseconds, each to a thousandth of itself.
struct Latencies {
    counts: Histogram<u64>,
    /// Commits after this count.
    counted_from: Option<Instant>,
}

impl Latencies {
    fn new() -> Result<Self, BenchError> {
        let failed = |error: hdrhistogram::CreationError| BenchError::System {
            what: "count latencies",
            source: std::io::Error::other(error.to_string()),
        };
        Ok(Latencies { counts: Histogram::new(3).map_err(failed)?, counted_from: None })
    }

    /// The latency that `share` of the lines have, or less.
    fn quantile(&self, share: f64) -> Duration {
        Duration::from_micros(self.counts.value_at_quantile(share))
    }

    /// The lines of `partition` of `source` from the one after `before` up to `now` have their count at `at`.
    fn commit(&mut self, source: &RateSource, partition: usize, before: u64, now: u64, at: Instant) {
        if at < *self.counted_from.get_or_insert(at + BEGINNING) {
            return;
        }
        for line in before + 1..=now {
            if let Some(due) = source.due(partition, line) {
                let micros = at.saturating_duration_since(due).as_micros();
                // An hour and more are one; it grows as far as that by itself.
                let _ = self.counts.record(u64::try_from(micros).unwrap_or(u64::MAX).min(3_600_000_000));
            }
        }
    }
}

/// When epochs were committed.
type Commits = Arc<Mutex<Vec<(u64, Instant)>>>;

/// Notes when epochs are committed.
#[derive(Debug)]
struct Watch(Commits);

impl Sink for Watch {
    fn open(&mut self, _: &Opening<'_>) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }

    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
        // As any sink does, it looks at what has changed.
        closed.views.iter().for_each(|view| {
            view.changes(&mut |_, cells| {
                std::hint::black_box(cells);
            })
        });
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((epoch, runtime::now()));
        Ok(())
    }
}

impl Latency {
    /// Measures, with the dataflows that this program knows.
    ///
    /// # Errors
    ///
    /// When there is no such dataflow, or it cannot be run.
    pub fn run(&self, dataflows: &[AnyDataflow], notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let dataflow = dataflows.iter().find(|dataflow| dataflow.name() == self.dataflow);
        let Some(dataflow) = dataflow else {
            let known = dataflows.iter().map(|dataflow| dataflow.name()).collect();
            return Err(BenchError::NoSuchDataflow { name: self.dataflow.clone(), known });
        };
        let mut rows = Vec::new();
        for load in &self.loads {
            notes(&format!("{load}: a loop that only counts"));
            let (plain, _) = self.baseline(*load, self.seconds.min(10))?;
            for state in std::iter::once(None).chain(self.state.as_ref().map(Some)) {
                let called = if state.is_some() { format!("{load}, state") } else { load.to_string() };
                notes(&format!("{called}: {}, for {} s", self.dataflow, self.seconds));
                let (measured, epochs) = self.measure(dataflow, *load, state)?;
                let millis = |duration: Duration| format!("{:.1}", duration.as_secs_f64() * 1e3);
                let mut row = vec![called, grouped(measured.counts.len()), epochs.to_string()];
                row.extend([0.5, 0.9, 0.99].map(|share| millis(measured.quantile(share))));
                row.push(millis(measured.quantile(1.0)));
                row.extend([0.5, 0.99].map(|share| millis(plain.quantile(share))));
                row.push(format!(
                    "{:.2}",
                    measured.quantile(0.99).as_secs_f64() / plain.quantile(0.99).as_secs_f64()
                ));
                rows.push(row);
            }
        }
        let head = format!(
            "{} on {} workers, {} partitions{}, {} s each: milliseconds from a line's arrival to its count at the sink\n\
             loop: the same from the same source to a loop that only counts, each tick; ratio: p99 over that of the loop",
            self.dataflow,
            self.workers,
            self.partitions,
            self.keys.map(|keys| format!(", {} keys", grouped(u64::from(keys)))).unwrap_or_default(),
            self.seconds
        );
        let heads =
            ["load", "lines", "epochs", "p50", "p90", "p99", "longest", "loop p50", "loop p99", "ratio"];
        Ok(format!("{head}\n{}", table(&heads, &rows)))
    }

    fn source(&self, load: Load, seconds: u16) -> Result<Arc<RateSource>, BenchError> {
        let clock = RateClock { now: runtime::now, time: runtime::time };
        let lines = load.rate * u64::from(seconds);
        let uri = format!("{}?lines={lines}&partitions={}", load.rate, self.partitions);
        let uri = uri + &self.keys.map(|keys| format!("&keys={keys}")).unwrap_or_default();
        let failed = |reason: String| BenchError::System {
            what: "make lines up",
            source: std::io::Error::other(reason),
        };
        RateSource::parse(&uri, clock).map(Arc::new).map_err(failed)
    }

    fn measure(
        &self,
        dataflow: &AnyDataflow,
        load: Load,
        state: Option<&(String, Duration)>,
    ) -> Result<(Latencies, usize), BenchError> {
        let failed = |error: &dyn std::fmt::Display| BenchError::System {
            what: "run the dataflow",
            source: std::io::Error::other(error.to_string()),
        };
        let build = dataflow.prepare([]).map_err(|error| failed(&error))?;
        let source = self.source(load, self.seconds)?;
        let commits = Commits::default();
        let watched = Arc::clone(&commits);
        let sinks = Sinks::builtin().with("watch", move |_| Ok(Box::new(Watch(Arc::clone(&watched)))));
        // By partition, how many lines were read in the epochs before.
        let reached: Arc<Mutex<Vec<(u64, Vec<u64>)>>> = Arc::default();
        let told = Arc::clone(&reached);
        let partitions = usize::from(self.partitions);
        let reports = Reports::new(Duration::ZERO, move |report| {
            let Some(source) = report.sources.first() else { return };
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            let mut lines = told.last().map_or_else(|| vec![0; partitions], |(_, lines)| lines.clone());
            for partition in &source.partitions {
                let number = partition.name.rsplit_once('#').and_then(|(_, number)| number.parse().ok());
                if let Some(of_it) = number.and_then(|number: usize| lines.get_mut(number)) {
                    *of_it = partition.lines;
                }
            }
            told.push((report.sealed, lines));
        });
        let settings = Settings {
            sources: vec![(None, Arc::clone(&source) as Arc<dyn Source>)],
            sinks: vec![sinks.parse("watch:?mode=changes").map_err(|error| failed(&error))?],
            workers: usize::from(self.workers),
            tick: load.tick,
            reports: Some(reports),
            durable: state.map(|(uri, every)| DurableSettings {
                reset: true,
                every: *every,
                ..DurableSettings::of(uri)
            }),
            ..Settings::default()
        };
        let ran = runtime::run(&build, &settings, Arc::new(Progress::default()));
        ran.map_err(|error: RunError| failed(&error))?;

        let commits = commits.lock().unwrap_or_else(PoisonError::into_inner);
        let reached = reached.lock().unwrap_or_else(PoisonError::into_inner);
        let mut latencies = Latencies::new()?;
        let mut before = vec![0; usize::from(self.partitions)];
        for (epoch, at) in &*commits {
            let known = reached.partition_point(|(sealed, _)| *sealed <= epoch + 1);
            let Some((_, lines)) = known.checked_sub(1).and_then(|last| reached.get(last)) else { continue };
            for (partition, (before, now)) in before.iter_mut().zip(lines).enumerate() {
                latencies.commit(&source, partition, *before, *now, *at);
                *before = (*before).max(*now);
            }
        }
        Ok((latencies, commits.len()))
    }

    /// The same from the source to a loop that counts lines, each tick.
    fn baseline(&self, load: Load, seconds: u16) -> Result<(Latencies, usize), BenchError> {
        let failed = |error: crate::source::SourceError| BenchError::System {
            what: "read the lines",
            source: std::io::Error::other(error.to_string()),
        };
        let source = self.source(load, seconds)?;
        let (thread, woken) = (std::thread::current(), Arc::new(AtomicBool::new(false)));
        let wake = {
            let woken = Arc::clone(&woken);
            Arc::new(move || {
                woken.store(true, Ordering::Release);
                thread.unpark();
            })
        };
        let found = source.find().map_err(failed)?;
        let open = |found| {
            source.open(
                found,
                0,
                Share { worker: 0, peers: 1 },
                ReadOptions::default(),
                Arc::clone(&wake) as _,
            )
        };
        let readers: Result<Vec<Box<dyn Reader>>, _> = found.iter().map(open).collect();
        let mut readers = readers.map_err(failed)?;
        let (mut lines, mut before) = (vec![0; readers.len()], vec![0; readers.len()]);
        let mut ended = vec![false; readers.len()];
        let (pool, mut latencies, mut ticks) = (Pool::default(), Latencies::new()?, 0);
        let mut next = runtime::now() + load.tick;
        while !ended.iter().all(|ended| *ended) || lines != before {
            let mut any = false;
            for (number, reader) in readers.iter_mut().enumerate() {
                if ended[number] {
                    continue;
                }
                match reader.poll(u64::MAX, &pool).map_err(failed)? {
                    Step::Chunk(chunk) => {
                        lines[number] += chunk.lines().count() as u64;
                        any = true;
                    }
                    Step::Ended => ended[number] = true,
                    _ => {}
                }
            }
            let now = runtime::now();
            if now >= next {
                for (partition, (before, lines)) in before.iter_mut().zip(&lines).enumerate() {
                    latencies.commit(&source, partition, *before, *lines, now);
                    *before = *lines;
                }
                (next, ticks) = (now + load.tick, ticks + 1);
            } else if !any && !woken.swap(false, Ordering::Acquire) {
                std::thread::park_timeout(next - now);
            }
        }
        Ok((latencies, ticks))
    }
}
