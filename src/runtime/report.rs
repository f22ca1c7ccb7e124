//! How far a run is, while it goes on.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::clock;
use super::ingest::Ingest;
use crate::data::InputCounts;
use crate::ledger::{PartitionStatus, SourceStatus};
use crate::sink::{Outputs, SinkStatus};
use crate::source::Progress;
use crate::time::Time;

/// How far a run is, as of the last epochs that were sealed and committed.
///
/// Everything adds up from the beginning of the run, but for [`latest`](Self::latest): whoever wants to know how fast it goes takes the difference of
/// two reports.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProgressReport {
    /// When this was so.
    pub at: Option<Time>,
    /// How long the run has been going on.
    pub elapsed: Duration,
    /// How many epochs are sealed, those of earlier runs too.
    pub sealed: u64,
    /// How many of them every sink has committed.
    pub committed: u64,
    /// What became of the lines of the epochs that are closed.
    pub counts: InputCounts,
    /// The watermark, where the dataflow goes by event time and there has been a record.
    pub watermark: Option<Time>,
    /// The least and the largest event time of any record, likewise.
    pub event_times: Option<(Time, Time)>,
    /// The sources, in the order in which they were given.
    pub sources: Vec<SourceReport>,
    /// The doors by name, with the rows (or keys) that they hold in this process.
    pub doors: Vec<(String, u64)>,
    /// The sinks, in the order in which they were given.
    pub sinks: Vec<SinkStatus>,
    /// The epochs that every sink has committed since the report before.
    pub latest: LatestEpochs,
}

/// How far a source has been read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SourceReport {
    /// All of it together.
    pub status: SourceStatus,
    /// Those of its partitions that have moved since the report before, or come to their end.
    pub partitions: Vec<PartitionStatus>,
}

/// Some epochs that came one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LatestEpochs {
    /// How many there were.
    pub epochs: u64,
    /// Lines read in them.
    pub lines: u64,
    /// From being opened to being sealed, summed up.
    pub reading: Duration,
    /// From being sealed until every sink had committed, summed up.
    pub committing: Duration,
}

/// Who is told how far a run is, and how often.
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
/// use thalweg::dataflow::Build;
/// use thalweg::prelude::*;
/// use thalweg::runtime::{Reports, Settings};
/// use thalweg::source::{Memory, Progress, Source};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let lines: Arc<dyn Source> = Arc::new(Memory::fixed(vec![("lines:".into(), Arc::from(&b"a\nb\n"[..]))]));
/// let last = Arc::new(Mutex::new(None));
/// let told = Arc::clone(&last);
/// let reports = Reports::new(Duration::ZERO, move |report| *told.lock().unwrap() = Some(report.clone()));
/// let settings = Settings { sources: vec![(None, lines)], reports: Some(reports), ..Settings::default() };
/// let build = Build::new("count", |flow| {
///     flow.records(Text).by(text("line"), |line| Some(line)).count("lines").show("lines");
///     Ok(())
/// });
/// thalweg::runtime::run(&build, &settings, Arc::new(Progress::default()))?;
/// let report = last.lock().unwrap().take().ok_or("there is a last report, at the end")?;
/// assert_eq!((report.sources[0].status.lines, report.sources[0].status.behind), (2, Some(0)));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Reports {
    every: Duration,
    to: Arc<Mutex<dyn FnMut(&ProgressReport) + Send>>,
}

impl fmt::Debug for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reports").field("every", &self.every).finish_non_exhaustive()
    }
}

impl Reports {
    /// `to` is called on the first worker, which waits for it, and all others with it: when an epoch has been sealed or committed, no more often than
    /// `every`, and every ten seconds while nothing happens; and at the end.
    pub fn new(every: Duration, to: impl FnMut(&ProgressReport) + Send + 'static) -> Self {
        Reports { every, to: Arc::new(Mutex::new(to)) }
    }
}

/// After so long a report comes although there is nothing new, but for the time that has gone by.
const SILENCE: Duration = Duration::from_secs(10);

/// Reports how far a run is, on the first worker.
pub(super) struct Reporter {
    reports: Option<Reports>,
    progress: Arc<Progress>,
    /// When the last one was, and how many epochs were sealed and committed then.
    last: (Duration, (u64, u64)),
    latest: LatestEpochs,
}

impl Reporter {
    pub(super) fn new(reports: Option<Reports>, progress: Arc<Progress>) -> Self {
        Reporter { reports, progress, last: Default::default(), latest: LatestEpochs::default() }
    }

    /// Reports, if it is time to; `over` says that nothing will follow.
    pub(super) fn look(&mut self, ingest: &mut Ingest, outputs: &Outputs, counts: InputCounts, over: bool) {
        let Some(reports) = &self.reports else { return };
        let elapsed = ingest.elapsed();
        let committed = if over { u64::MAX } else { outputs.committed() };
        let sealed = ingest.epochs();
        let Some(conductor) = ingest.conductor_quietly() else { return };
        for times in conductor.status_mut().take_epochs(committed) {
            self.latest.epochs += 1;
            self.latest.lines += times.lines;
            self.latest.reading += times.sealed.saturating_sub(times.opened);
            self.latest.committing += elapsed.saturating_sub(times.sealed);
        }
        let state = (sealed, committed.min(sealed));
        let (then, before) = self.last;
        let every = if before == state { SILENCE } else { reports.every };
        let due = elapsed >= then + every;
        if !due && !over {
            return;
        }
        self.last = (elapsed, state);
        let all: Vec<_> = conductor.status().sources().collect();
        let sources = all.into_iter().enumerate().map(|(number, status)| SourceReport {
            status,
            partitions: conductor.status_mut().take_moved(number),
        });
        let sources = sources.collect();
        let event_time = conductor.event_time();
        let report = ProgressReport {
            at: Some(clock::time()),
            elapsed,
            sealed: state.0,
            committed: state.1,
            counts,
            watermark: event_time.watermark.time(),
            event_times: (event_time.oldest <= event_time.newest)
                .then_some((Time(event_time.oldest), Time(event_time.newest))),
            sources,
            doors: self.progress.held(),
            sinks: outputs.status(),
            latest: std::mem::take(&mut self.latest),
        };
        (reports.to.lock().unwrap_or_else(PoisonError::into_inner))(&report);
    }
}
