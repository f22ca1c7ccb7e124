//! What the loop of a worker has to do where a run is durable.

use std::collections::{HashMap, VecDeque};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::DurableError;
use super::journal::JournalThread;
use super::publisher::Publisher;
use super::start::{RunProgress, SinkProgress, Start};
use crate::ledger::{Conductor, EpochRecord, Mark, Message, Read, Spool};
use crate::runtime::ingest::Ingest;
use crate::runtime::{RunError, clock};
use crate::sink::{self, Outputs, SinkStatus};
use crate::source::{Found, Partition, PartitionId, ReadBefore, Source};
use crate::state::disk::Written;
use crate::state::storage::Held;
use crate::state::{Keep, Queue, Snapshot, StateError, Writer};
use crate::time::Epoch;

/// Bytes of changes that may wait for the writer before the worker waits, too.
const WAITING: usize = 64 << 20;

/// What the workers of a process share.
#[derive(Debug)]
pub(in crate::runtime) struct DurableJob {
    /// The rows that the doors go on from.
    pub(in crate::runtime) snapshot: Option<Arc<Snapshot>>,
    /// `None` where nothing is kept: epochs are shown once more.
    queue: Option<Mutex<Queue>>,
    processes: usize,
    sources: Vec<Arc<dyn Source>>,
    /// Where all can be read again there is none.
    spool: Option<Arc<Spool>>,
    /// For the first worker of the process.
    writer: Mutex<Option<ProcessWriter>>,
    /// For the first worker of the run.
    start: Mutex<Option<(Start, Vec<(u32, Vec<Found>)>)>>,
    /// Where the run begins, for its sinks.
    pub(in crate::runtime) sinks: sink::Start,
    /// What keeps others away by mistake: as long as there is a worker.
    _held: Option<Held>,
}

/// A process's writer.
#[derive(Debug)]
struct ProcessWriter {
    writer: Writer,
    written: Receiver<Written>,
}

impl ProcessWriter {
    fn start(start: &Start, process: usize, workers: usize) -> Result<Self, RunError> {
        let (send, written) = channel();
        let parts = start.parts(process, move |part| {
            // Nobody wants it any more where the receiver is gone.
            let _ = send.send(part);
            Ok(())
        });
        let failed = |error: StateError| RunError::Durable(error.into());
        Ok(ProcessWriter { writer: Writer::start(parts, workers, Writer::QUEUE).map_err(failed)?, written })
    }
}

impl DurableJob {
    /// For `workers` workers of process `process`, which begins with `start` and has `found` what it may read.
    pub(in crate::runtime) fn new(
        mut start: Start,
        found: Vec<(u32, Vec<Found>)>,
        process: usize,
        processes: usize,
        workers: usize,
        sources: Vec<Arc<dyn Source>>,
    ) -> Result<Self, RunError> {
        let spool = || {
            Spool::start(Arc::clone(&start.storage), start.incarnation(), start.settings.spool)
                .map_err(|source| RunError::System { what: "start a thread", source })
        };
        let spools = sources.iter().any(|source| !source.is_replayable());
        let spool = spools.then(spool).transpose()?.map(Arc::new);
        let writer = match start.settings.again {
            Some(_) => None,
            None => Some(ProcessWriter::start(&start, process, workers)?),
        };
        Ok(DurableJob {
            snapshot: start.snapshot.clone(),
            queue: writer.as_ref().map(|it| Mutex::new(it.writer.queue())),
            processes,
            sources,
            spool,
            writer: Mutex::new(writer),
            sinks: sink::Start {
                incarnation: start.incarnation(),
                state: start.state(),
                first: start.first(),
            },
            _held: start.held.take(),
            start: Mutex::new((process == 0).then_some((start, found))),
        })
    }

    /// Where the doors of worker `index` keep what changes.
    pub(in crate::runtime) fn keep(&self, index: usize) -> Option<Keep> {
        let queue = self.queue.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Some(Keep::new(index, queue))
    }

    /// Where what is read is kept that cannot be read again.
    pub(in crate::runtime) fn spool(&self) -> Option<Arc<Spool>> {
        self.spool.clone()
    }

    /// The part of the first worker of the process, or another one's, whose doors keep their changes in `keep`.
    pub(in crate::runtime) fn run(&self, keep: Keep, is_first: bool) -> DurableRun {
        let take = || self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let process = if is_first { take() } else { None };
        DurableRun { keep, cuts: VecDeque::new(), process, lead: None }
    }

    /// The first worker's part as that of the whole run: has `conductor` go on from what there is. The sinks are open, and `committed` says
    /// how far each is.
    pub(in crate::runtime) fn lead(
        &self,
        run: Option<&mut DurableRun>,
        conductor: &mut Conductor,
        committed: &[(String, u64)],
    ) -> Result<(), RunError> {
        let taken = self.start.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some((mut start, found)) = taken else { return Ok(()) };
        let Some(run) = run else { return Ok(start.begin_again(conductor, found)?) };
        let begun = start.begin(conductor, found, committed)?;
        let spool = self.spool();
        let sync = move || spool.as_ref().map_or(Ok(()), |spool| Ok(spool.sync()?));
        let journal = JournalThread::start(begun.journal, begun.next, self.sources.clone(), sync)?;
        let not_remembered = start.not_remembered();
        let publisher = Publisher::start(&start, self.sources.clone(), self.processes)?;
        let (every, marked) = (start.settings.every, start.first());
        run.lead = Some(Lead {
            journal,
            not_remembered,
            publisher,
            every,
            last: clock::now(),
            marked,
            asked: false,
            cut: 0,
            over: false,
        });
        Ok(())
    }
}

/// What the first worker of the run does for all.
#[derive(Debug)]
struct Lead {
    journal: JournalThread,
    /// Partitions of which nothing has been read, or nothing that sources remember.
    not_remembered: HashMap<PartitionId, Partition>,
    publisher: Publisher,
    /// How long after a snapshot the next is made.
    every: Duration,
    last: Instant,
    /// The frontier of the last snapshot that was begun.
    marked: u64,
    /// Whether the conductor has been asked for a mark.
    asked: bool,
    /// Before which epoch the journal was cut.
    cut: u64,
    /// Whether all workers know that everything is durable.
    over: bool,
}

/// One worker's part in making a run durable.
#[derive(Debug)]
pub(in crate::runtime) struct DurableRun {
    keep: Keep,
    /// Snapshots to which its doors have yet to come.
    cuts: VecDeque<Epoch>,
    /// On the first worker of a process.
    process: Option<ProcessWriter>,
    /// On the first worker of the run.
    lead: Option<Lead>,
}

impl DurableRun {
    /// Hands over what has changed, as far as the doors have come, and takes in what was sealed. `outputs` say how
    /// far the sinks are.
    ///
    /// # Errors
    ///
    /// When the journal or the snapshots cannot be written.
    pub(in crate::runtime) fn turn(
        &mut self,
        ingest: &mut Ingest,
        outputs: &Outputs,
    ) -> Result<(), DurableError> {
        self.hand_over(ingest)?;
        let (Some(lead), sealed) = (&mut self.lead, ingest.take_sealed()) else { return Ok(()) };
        lead.seal(sealed);
        lead.check()?;
        let Some(conductor) = ingest.conductor_quietly() else { return Ok(()) };
        if let Some(mark) = conductor.take_marked() {
            (lead.asked, lead.last) = (false, clock::now());
            lead.expect(mark);
        }
        let sealed = conductor.sealed_before();
        lead.publisher.publish(outputs.committed(), || progress(sealed, false, outputs));
        if lead.asked || lead.publisher.is_waiting() || conductor.has_finished() {
            return Ok(());
        }
        if conductor.sealed_before() > lead.marked && clock::now() - lead.last >= lead.every {
            lead.asked = true;
            // It is asked in the next turn, even if nothing else has happened.
            if let Some(conductor) = ingest.conductor() {
                conductor.want_mark();
            }
        }
        Ok(())
    }

    /// Hands over what has changed, as far as the doors have come.
    fn hand_over(&mut self, ingest: &mut Ingest) -> Result<(), DurableError> {
        while let Some(cut) = ingest.take_cut() {
            self.cuts.push_back(cut);
        }
        while let Some(frontier) = self.cuts.front().copied() {
            if self.keep.frontier().is_some_and(|at| at < frontier) {
                break;
            }
            self.keep.cut(frontier);
            self.cuts.pop_front();
        }
        self.keep.flush();
        if self.keep.pending() > WAITING {
            self.keep.finish()?;
        }
        let Some(process) = &self.process else { return Ok(()) };
        for written in process.written.try_iter() {
            let text = serde_json::to_vec(&written).expect("names, numbers and lists");
            ingest.tell_written(text);
        }
        if process.writer.has_failed()
            && let Some(process) = self.process.take()
        {
            process.writer.finish()?;
        }
        if let Some(lead) = &mut self.lead {
            for written in ingest.take_written() {
                let written = serde_json::from_slice(&written)
                    .map_err(|error| StateError::Unreadable { reason: error.to_string() })?;
                lead.publisher.written(written);
            }
        }
        Ok(())
    }

    /// The first epoch that is not durable, where that is known.
    pub(in crate::runtime) fn durable(&self) -> Option<u64> {
        self.lead.as_ref().map(|lead| lead.journal.durable())
    }

    /// Nothing before this epoch is read again, whichever snapshot a later run goes on from.
    pub(in crate::runtime) fn published(&self) -> u64 {
        self.lead.as_ref().and_then(|lead| lead.publisher.oldest()).unwrap_or(0)
    }

    /// Whether there is room for more epochs.
    pub(in crate::runtime) fn has_room(&self) -> bool {
        self.lead.as_ref().is_none_or(|lead| lead.journal.has_room())
    }

    /// Everything is sealed: waits until it is durable.
    ///
    /// # Errors
    ///
    /// When the journal cannot be written.
    pub(in crate::runtime) fn finish_journal(&mut self, ingest: &mut Ingest) -> Result<(), DurableError> {
        let Some(lead) = &mut self.lead else { return Ok(()) };
        lead.seal(ingest.take_sealed());
        Ok(lead.journal.finish()?)
    }

    /// Every sink has committed everything: has the last snapshot made, if there is anything that is in none.
    pub(in crate::runtime) fn last_snapshot(&mut self, ingest: &mut Ingest) {
        let (Some(lead), Some(conductor)) = (&mut self.lead, ingest.conductor_quietly()) else { return };
        // It was asked for, and the conductor had come to the end before it stood still.
        let mark = conductor.take_marked().unwrap_or_else(|| conductor.mark());
        let frontier = mark.next_epoch();
        if frontier > lead.marked {
            lead.expect(mark);
            ingest.tell_all(&Message::Cut(frontier));
        }
    }

    /// Whether all that is to be durable is, once [`DurableRun::last_snapshot`] has been asked for.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(in crate::runtime) fn is_over(
        &mut self,
        ingest: &mut Ingest,
        outputs: &Outputs,
    ) -> Result<bool, DurableError> {
        let over = ingest.listen();
        self.hand_over(ingest)?;
        if let Some(lead) = &mut self.lead {
            lead.publisher.check()?;
            let sealed = ingest.epochs();
            let ended = ingest.conductor_quietly().is_some_and(|conductor| conductor.has_ended());
            lead.publisher.publish(u64::MAX, || {
                let mut progress = progress(sealed, ended, outputs);
                // They have all been finished.
                progress.sinks.iter_mut().for_each(|sink| sink.committed = sealed);
                progress
            });
            if !lead.publisher.is_waiting() && !std::mem::replace(&mut lead.over, true) {
                lead.publisher.finish()?;
                ingest.tell_all(&Message::Over);
            }
        }
        Ok(over)
    }
}

/// How far a run is that has sealed the epochs before `sealed`, with its sinks; `ended` says whether its input has.
fn progress(sealed: u64, ended: bool, outputs: &Outputs) -> RunProgress {
    let sink = |SinkStatus { uri, committed, .. }| SinkProgress { uri, committed };
    RunProgress { sealed, ended, sinks: outputs.status().into_iter().map(sink).collect() }
}

impl Lead {
    /// Looks whether journal and snapshots go on, and cuts the journal where it is no longer wanted.
    fn check(&mut self) -> Result<(), DurableError> {
        self.journal.check()?;
        self.publisher.check()?;
        if let Some(oldest) = self.publisher.oldest().filter(|oldest| *oldest > self.cut) {
            self.cut = oldest;
            self.journal.cut(oldest);
        }
        Ok(())
    }

    fn seal(&mut self, sealed: Vec<EpochRecord>) {
        // What was read again is in the journal.
        let given = self.journal.given();
        for record in sealed.into_iter().filter(|record| record.epoch >= given) {
            let new = record.new.iter().map(|partition| (partition.id, partition.clone()));
            self.not_remembered.extend(new);
            let begun = |read: &Read| {
                let Partition { id, source, found } = self.not_remembered.remove(&read.partition)?;
                let ended = record.ended.contains(&id);
                Some((source, ReadBefore { id, found, offset: read.upto, ended, memory: None }))
            };
            let begun = record.reads.iter().filter_map(begun).collect();
            self.journal.seal(record, begun);
        }
    }

    fn expect(&mut self, mark: Mark) {
        self.marked = mark.next_epoch();
        self.publisher.expect(mark);
    }
}
