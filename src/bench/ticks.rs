//! `thalweg bench ticks`: what it costs to agree on the watermark.
//!
//! Two or more live partitions, one a worker, that always have more lines; epochs that last a short tick. With event time, no
//! epoch is read before all workers have said what times the one before had; so it is compared with the same dataflow
//! without times, over the same lines, whose workers wait for nobody. Runs of the two take turns.

use std::sync::Arc;
use std::time::Duration;

use timely::worker::Worker;

use crate::bench::updates::on_workers;
use crate::bench::{BenchError, Notes, median, table};
use crate::data::grouped;
use crate::dataflow::{Build, Flow};
use crate::door::{Lines, text};
use crate::format::Text;
use crate::ledger::{Conductor, LedgerOptions};
use crate::runtime::ingest::{Ingest, IngestSetup, Sealed, Turn};
use crate::runtime::messages::Messages;
use crate::runtime::now;
use crate::runtime::reading::Inputs;
use crate::source::{Memory, Progress, ReadOptions, Source};
use crate::time::{Clock, Epoch, TimeOptions, Window};
use crate::view::{Deliveries, Delivery};

/// Lines a second of live input at a short tick.
#[derive(Clone, Debug)]
pub struct Ticks {
    /// How long an epoch lasts.
    pub tick: Duration,
    /// Worker threads, each with a partition.
    pub workers: u16,
    /// How long each run is measured.
    pub seconds: u16,
    /// Runs of each kind.
    pub rounds: u16,
}

/// How a dataflow gets its times.
#[derive(Clone, Copy, Debug)]
enum Times {
    Event,
    Arrival,
    None,
}

/// Lines that are pushed at once; a partition has that many waiting, always.
const PUSHED: u64 = 20_000;

impl Ticks {
    /// Measures.
    ///
    /// # Errors
    ///
    /// When the workers do not start, or one of them panics.
    pub fn run(&self, notes: &mut Notes<'_>) -> Result<String, BenchError> {
        let kinds = [Times::None, Times::Arrival, Times::Event];
        let mut runs = kinds.map(|_| Vec::new());
        for round in 1..=self.rounds {
            for (times, runs) in kinds.into_iter().zip(&mut runs) {
                notes(&format!("round {round}, {times:?}"));
                runs.push(self.measure(times)?);
            }
        }
        let rows = kinds.iter().zip(&runs).map(|(times, measured)| {
            let ratio = |others: &[(f64, u64)]| {
                median(measured.iter().zip(others).map(|((rate, _), (other, _))| rate / other))
            };
            vec![
                format!("{times:?}"),
                grouped(median(measured.iter().map(|(rate, _)| *rate)) as i64),
                measured.iter().map(|(_, epochs)| epochs).sum::<u64>().to_string(),
                format!("{:.3}", ratio(&runs[0])),
                format!("{:.3}", ratio(&runs[1])),
            ]
        });
        let head = format!(
            "{} live partitions on {} workers, epochs of {}; lines counted by key and window",
            self.workers,
            self.workers,
            humantime::format_duration(self.tick)
        );
        let heads = ["times", "lines/s", "epochs", "of none", "of arrival"];
        Ok(format!("{head}\n{}", table(&heads, &rows.collect::<Vec<_>>())))
    }

    /// Lines a second, and how many epochs they were in.
    fn measure(&self, times: Times) -> Result<(f64, u64), BenchError> {
        let (tick, going) = (self.tick, Duration::from_secs(u64::from(self.seconds)));
        on_workers(usize::from(self.workers), move |worker| run(worker, times, tick, going))
    }
}

fn build(times: Times) -> Build {
    Build::new("ticks", move |flow| {
        let lines = flow.records(Text);
        if let Times::None = times {
            lines.by(text("key"), |line| line.get(14..)).count("keys").show("keys");
            return Ok(());
        }
        let lines = lines.event_time(|line| {
            line.get(..13)?.iter().try_fold(0i64, |time, digit| {
                digit.is_ascii_digit().then(|| 10 * time + i64::from(digit - b'0'))
            })
        });
        let minutes = Window::tumbling(Duration::from_secs(60))?;
        lines.by(text("key"), |line| line.get(14..)).by_window(minutes).count("keys").show("keys");
        Ok(())
    })
}

fn run(worker: &mut Worker, times: Times, tick: Duration, going: Duration) -> (f64, u64) {
    let messages = Messages::install(worker);
    let clock = if let Times::Arrival = times { Clock::Arrival } else { Clock::Event };
    let time = TimeOptions { clock, ..TimeOptions::default() };
    let progress = Arc::new(Progress::default());
    let (feed, mut installed) = worker.dataflow::<Epoch, _, _>(|scope| {
        let (lines, feed) = Lines::fed(scope, Arc::clone(&progress), time);
        let installed = build(times).install(Flow::new(scope, lines, Deliveries::rows(Delivery::Changes)));
        (feed, installed.unwrap_or_else(|error| panic!("{error}")))
    });
    let names = (0..worker.peers()).map(|worker| format!("ticks:{worker}").into()).collect();
    let (memory, mut writers) = Memory::pushed(names);
    let sources: Vec<Arc<dyn Source>> = vec![Arc::new(memory)];
    let event_time = installed.event_time;
    let unpaced = LedgerOptions::unpaced(worker.peers(), time);
    let pace = LedgerOptions { tick, max_open_epochs: 3, event_time, ..unpaced };
    let conductor = (worker.index() == 0).then(|| Conductor::new(pace, &sources).expect("memory is found"));
    let setup = IngestSetup {
        inputs: Inputs::of(sources),
        options: ReadOptions::default(),
        conductor,
        event_time: installed.event_time,
        horizon: installed.horizon,
        checks: false,
        records: Sealed::Forgotten,
    };
    let mut ingest = Ingest::new(worker, messages, feed, setup);
    let writer = writers.swap_remove(worker.index());
    let begun = now();
    let (mut pushed, mut stopped) = (0u64, false);
    let mut counted = (0.0, 0);
    let read = || progress.lines.load(std::sync::atomic::Ordering::Relaxed);
    while !installed.probe.done() {
        let elapsed = now() - begun;
        if elapsed < going {
            if pushed < read() + PUSHED {
                let first = 1_700_000_000_000 + pushed / 10;
                let lines = (0..PUSHED).map(|n| format!("{} key-{:04}\n", first + n / 10, n % 1000));
                writer.push(lines.fold(Vec::new(), |mut bytes, line| {
                    bytes.extend_from_slice(line.as_bytes());
                    bytes
                }));
                pushed += PUSHED;
            }
        } else if !stopped {
            stopped = true;
            counted = (read() as f64 / elapsed.as_secs_f64(), ingest.epochs());
            ingest.stop();
        }
        let closed =
            installed.probe.with_frontier(|frontier| frontier.first().map_or(u64::MAX, |at| at.number()));
        let turn = ingest.turn(closed, true).expect("memory can be read");
        match turn {
            Turn::Busy => worker.step(),
            Turn::Wait(longest) => worker.step_or_park(Some(longest.min(Duration::from_millis(1)))),
        };
        let upto = installed.probe.with_frontier(|frontier| frontier.first().copied());
        while installed.views.next_before(upto).is_some() {}
    }
    counted
}
