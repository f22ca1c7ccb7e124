//! `thalweg bench snapshots`: what it costs to be durable.
//!
//! N keys are counted; then batches of lines with random keys go in, an epoch each, for some seconds: once without a keep, and
//! once with one that hands what has changed to a writer once a second, which makes snapshots of it in memory. Runs of the
//! two take turns. What is compared are the lines a second, and how long the longest epoch takes.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::bench::updates::{Bench, LOADED_AT_ONCE, lines, on_workers};
use crate::bench::{BenchError, Notes, median, table};
use crate::data::grouped;
use crate::dataflow::Build;
use crate::door::text;
use crate::format::Text;
use crate::runtime::now;
use crate::state::{Keep, Memory, Writer};
use crate::time::{Epoch, TimeOptions};

/// The cost of a snapshot each second.
#[derive(Clone, Debug)]
pub struct Snapshots {
    /// Keys that are counted.
    pub keys: u64,
    /// Worker threads.
    pub workers: u16,
    /// Lines of an epoch.
    pub batch: u32,
    /// How long each run is measured.
    pub seconds: u16,
    /// Runs of each kind.
    pub rounds: u16,
}

/// What came of one run.
#[derive(Clone, Debug, Default)]
struct Measured {
    lines: u64,
    epochs: Vec<Duration>,
    snapshots: u64,
}

impl Measured {
    fn rate(&self) -> f64 {
        self.lines as f64 / self.epochs.iter().sum::<Duration>().as_secs_f64()
    }

    fn longest(&self) -> Duration {
        self.epochs.iter().max().copied().unwrap_or_default()
    }
}

impl Snapshots {
    /// Measures.
    ///
    /// # Errors
    ///
    /// When the workers do not start, or one of them panics.
    pub fn run(&self, notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let mut runs = [Vec::new(), Vec::new()];
        for round in 1..=self.rounds {
            for (on, runs) in [false, true].into_iter().zip(&mut runs) {
                notes(&format!("round {round}, {} snapshots", if on { "with" } else { "without" }));
                runs.push(self.measure(on)?);
            }
        }
        let row = |name: &str, runs: &[Measured], ratio: f64| {
            let longest = runs.iter().map(Measured::longest).max().unwrap_or_default();
            vec![
                name.to_owned(),
                grouped(median(runs.iter().map(Measured::rate)) as i64),
                format!("{:.1}", longest.as_secs_f64() * 1e3),
                runs.iter().map(|run| run.snapshots).sum::<u64>().to_string(),
                format!("{ratio:.3}"),
            ]
        };
        let [off, on] = &runs;
        let ratio = median(on.iter().zip(off).map(|(on, off)| on.rate() / off.rate()));
        let rows = [row("without", off, 1.0), row("with", on, ratio)];
        let Snapshots { keys, workers, batch, .. } = self;
        let head = format!(
            "{} keys, {workers} worker(s), epochs of {} lines; a snapshot each second",
            grouped(*keys as i64),
            grouped(i64::from(*batch))
        );
        let heads = ["snapshots", "lines/s", "longest epoch, ms", "published", "ratio"];
        Ok(format!("{head}\n{}", table(&heads, &rows)))
    }

    fn measure(&self, on: bool) -> Result<Measured, BenchError> {
        let Snapshots { keys, batch, seconds, .. } = *self;
        let workers = usize::from(self.workers);
        let build = Build::new("snapshots", |flow| {
            flow.records(Text).by(text("key"), |line| Some(line.line())).count("keys").show("rows");
            Ok(())
        });
        let writer = Writer::start(Memory::new(), workers, Writer::QUEUE).map_err(BenchError::State)?;
        let queue = Mutex::new(writer.queue());
        let measured = on_workers(workers, move |worker| {
            let queue = queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let keep = on.then(|| Keep::new(worker.index(), queue));
            let mut bench = Bench::install(worker, &build, TimeOptions::default(), keep.clone());
            let mut random = ChaCha8Rng::seed_from_u64(1);
            let mut measured = Measured::default();
            for first in (0..keys).step_by(LOADED_AT_ONCE as usize) {
                bench.run(worker, &lines(worker, first..keys.min(first + LOADED_AT_ONCE)));
            }
            // The first snapshot has all keys; it is not what each second costs.
            if let Some(keep) = &keep {
                keep.cut(Epoch::new(bench.epochs()));
            }
            let (mut going, mut snapshot) = (Duration::ZERO, Duration::ZERO);
            while going < Duration::from_secs(u64::from(seconds)) {
                let batch: Vec<u64> = (0..batch).map(|_| random.next_u64() % keys).collect();
                measured.lines += batch.len() as u64;
                let bytes = lines(worker, batch.into_iter());
                let begun = now();
                if let Some(keep) = &keep {
                    if going >= snapshot + Duration::from_secs(1) {
                        snapshot = going;
                        keep.cut(Epoch::new(bench.epochs()));
                        measured.snapshots += 1;
                    }
                    keep.flush();
                }
                bench.run(worker, &bytes);
                let took = now() - begun;
                measured.epochs.push(took);
                going += took;
            }
            if let Some(keep) = &keep {
                keep.finish().unwrap_or_else(|error| panic!("{error}"));
            }
            measured
        })?;
        writer.finish().map_err(BenchError::State)?;
        Ok(measured)
    }
}
