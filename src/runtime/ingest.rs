//! One worker's input: what the ledger says is read, and fed into the dataflow.
//!
//! ```text
//! Opened(e) ─▶ read and feed chunks ─▶ end ─▶ observed ─▶ Ended(e) ─▶ … ─▶ Sealed(e) ─▶ the next epoch
//! ```
//!
//! Where the dataflow goes by event time, the input stays at an epoch until it is sealed, because only then is it known
//! what the watermark is as it ends; elsewhere it goes on at once. Meanwhile live sources are read ahead.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use timely::worker::Worker;

use super::clock;
use super::discovery::Discovery;
use super::messages::Messages;
use super::reading::{Inputs, Look, Reading};
use crate::door::{Feed, Observed};
use crate::ledger::{Conductor, Ended, EpochRecord, Message, Moment, Opened, Reached};
use crate::source::{PartitionId, ReadOptions, Share, SourceError, Wake};
use crate::time::Epoch;

/// What a turn of [`Ingest`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There may be more to do at once.
    Busy,
    /// Nothing to do until the dataflow moves, a source wakes the worker, or so much time has passed.
    Wait(Duration),
}

/// Where this worker is in its open epoch.
#[derive(Debug)]
enum Phase {
    /// There is none.
    Between,
    /// It is being read.
    Reading(u64),
    /// All of it has been fed, and the formats have not come to its end.
    Observing(u64, BTreeMap<PartitionId, Reached>),
    /// It waits to be sealed.
    Sealing(u64),
}

/// The longest wait: something else may have been asked for in the meantime, and the watchdog wants signs of life.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Bytes that are fed at once at least, where there are so many: the formats and doors run between.
const ENOUGH: usize = 64 << 10;

/// One worker's input.
pub(crate) struct Ingest {
    messages: Messages,
    /// On the first worker of the run.
    conductor: Option<Conductor>,
    /// What looks for further partitions, beside the conductor.
    discovery: Option<Discovery>,
    begun: Instant,
    feed: Feed,
    reading: Reading,
    opened: VecDeque<Opened>,
    phase: Phase,
    event_time: bool,
    /// Whether this worker looks if its process has what another process found.
    checks: bool,
    /// What was reported of live sources since the last epoch was opened.
    announced: (bool, bool),
    stop_sent: bool,
    /// The last epoch that was opened, if there was one.
    last: Option<u64>,
    /// Snapshots that were asked for.
    cuts: VecDeque<Epoch>,
    /// What processes have written of snapshots.
    written: Vec<Vec<u8>>,
    /// What becomes of records of epochs that are sealed.
    records: Sealed,
    sealed: Vec<EpochRecord>,
    /// Whether everything is durable that is to be.
    over: bool,
    /// What was closed, and whether there was room, when the conductor last had nothing more to send. Until one of them changes,
    /// a message comes or something is due, it has nothing: an epoch of one line should not ask it ten times.
    nothing_at: Option<(u64, bool)>,
}

/// What becomes of the records of epochs that are sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sealed {
    /// Nobody wants them.
    #[default]
    Forgotten,
    /// The conductor has them.
    Left,
    /// They are taken out as they come ([`Ingest::take_sealed`]), and workers send each other messages until they are [told that it is
    /// over](Message::Over).
    Taken,
}

/// What [`Ingest::new`] wants to know.
pub(crate) struct IngestSetup {
    pub(crate) inputs: Inputs,
    pub(crate) options: ReadOptions,
    /// On the first worker.
    pub(crate) conductor: Option<Conductor>,
    /// Whether the dataflow goes by event time.
    pub(crate) event_time: bool,
    /// How long after the last record something may still come of it.
    pub(crate) horizon: Duration,
    /// Whether this worker looks if its process has what another process found.
    pub(crate) checks: bool,
    /// What becomes of records of epochs that are sealed.
    pub(crate) records: Sealed,
}

impl Ingest {
    /// `worker` feeds `feed`; `messages` were installed on it before the dataflow was.
    pub(crate) fn new(worker: &Worker, messages: Messages, feed: Feed, setup: IngestSetup) -> Self {
        let share = Share { worker: worker.index(), peers: worker.peers() };
        let thread = std::thread::current();
        let wake: Wake = std::sync::Arc::new(move || thread.unpark());
        let mut conductor = setup.conductor;
        let mut discovery = None;
        if let Some(conductor) = &mut conductor {
            conductor.by_event_time(setup.event_time, setup.horizon);
            discovery = Discovery::start(&setup.inputs.sources, conductor, &wake);
        }
        Ingest {
            messages,
            conductor,
            discovery,
            begun: clock::now(),
            feed,
            reading: Reading::new(setup.inputs, share, setup.options, wake),
            opened: VecDeque::new(),
            phase: Phase::Between,
            event_time: setup.event_time,
            checks: setup.checks,
            announced: (false, false),
            stop_sent: false,
            last: None,
            cuts: VecDeque::new(),
            written: Vec::new(),
            records: setup.records,
            sealed: Vec::new(),
            over: false,
            nothing_at: None,
        }
    }

    /// The conductor, on the first worker.
    pub(crate) fn conductor(&mut self) -> Option<&mut Conductor> {
        self.nothing_at = None;
        self.conductor.as_mut()
    }

    /// The same, for whoever only looks.
    pub(super) fn conductor_quietly(&mut self) -> Option<&mut Conductor> {
        self.conductor.as_mut()
    }

    /// How long the run has been going on.
    pub(super) fn elapsed(&self) -> Duration {
        clock::now() - self.begun
    }

    /// Every sink has committed the epochs before `committed`: tells sources what of them has been read and shown.
    pub(crate) fn commit(&mut self, committed: u64) {
        if let Some(conductor) = &mut self.conductor {
            conductor.take_done(committed).for_each(|partition| self.reading.done(&partition));
        }
    }

    /// Whether a partition could not be read to its end.
    pub(crate) fn has_damage(&self) -> bool {
        self.reading.has_damage()
    }

    /// Nothing more is read: sums up what was only counted.
    pub(crate) fn finish(&self) {
        self.reading.finish();
    }

    /// The records of the epochs that were sealed since this was last asked, on the first worker of a run that is durable.
    pub(crate) fn take_sealed(&mut self) -> Vec<EpochRecord> {
        std::mem::take(&mut self.sealed)
    }

    /// The next snapshot that was asked for.
    pub(crate) fn take_cut(&mut self) -> Option<Epoch> {
        self.cuts.pop_front()
    }

    /// What processes have written of snapshots, on the first worker.
    pub(crate) fn take_written(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.written)
    }

    /// Tells the first worker what this process has written of a snapshot.
    pub(crate) fn tell_written(&mut self, part: Vec<u8>) {
        self.messages.send(0, Message::Written(part));
    }

    /// Tells all workers: on the first worker, when nothing is to be read any more.
    pub(crate) fn tell_all(&mut self, message: &Message) {
        self.messages.broadcast(message);
    }

    /// Takes in what was sent to this worker when nothing is to be read any more; returns whether it is over.
    pub(crate) fn listen(&mut self) -> bool {
        while let Some(message) = self.messages.receive() {
            match message {
                Message::Cut(epoch) => self.cuts.push_back(Epoch::new(epoch)),
                Message::Written(part) => self.written.push(part),
                Message::Over => {
                    self.over = true;
                    self.messages.close();
                }
                // Said before its worker knew that the input is at its end.
                _ => {}
            }
        }
        self.over
    }

    /// How many epochs have been sealed, those of earlier runs too; 0 on other workers than the first.
    pub(crate) fn epochs(&self) -> u64 {
        self.conductor.as_ref().map_or(0, Conductor::sealed_before)
    }

    /// The part of `frontier` that sinks may be shown, on the first worker: no epoch before it is sealed.
    pub(crate) fn sealed(&self, frontier: Option<Epoch>) -> Option<Epoch> {
        let Some(conductor) = self.conductor.as_ref().filter(|it| !it.has_finished()) else {
            return frontier;
        };
        let sealed = Epoch::new(conductor.sealed_before());
        Some(frontier.map_or(sealed, |frontier| frontier.min(sealed)))
    }

    /// The epoch after the last that this worker has begun, if it has begun any.
    pub(crate) fn next_epoch(&self) -> Option<u64> {
        self.last.map(|last| last + 1)
    }

    /// The first epoch that this worker has something of and that is not closed, with `closed` epochs closed.
    pub(crate) fn waiting_for(&self, closed: u64) -> Option<u64> {
        self.last.filter(|last| *last >= closed).map(|_| closed)
    }

    /// An epoch is to be opened for what this worker's sources have now; it is when all workers have asked.
    pub(crate) fn request(&mut self) {
        self.messages.send(0, Message::Request);
    }

    /// This process is to end in order.
    pub(crate) fn stop(&mut self) {
        if !std::mem::replace(&mut self.stop_sent, true) {
            self.messages.send(0, Message::Stop);
        }
    }

    /// Takes in what was sent, and reads at most a chunk of each source; `closed` is the first epoch that is not closed
    /// everywhere, and `room` says whether the sinks can take more.
    pub(crate) fn turn(&mut self, closed: u64, room: bool) -> Result<Turn, SourceError> {
        // In the order in which an epoch goes by, so that a small one is over in as few turns as can be.
        let mut busy = self.observe();
        busy |= self.exchange(closed, room)?;
        if matches!(self.phase, Phase::Between) {
            busy |= self.begin();
        }
        if let Phase::Reading(epoch) = self.phase {
            busy |= self.read(epoch)?;
        }
        if !busy && !self.feed.is_closed() && !matches!(self.phase, Phase::Reading(_)) {
            self.read_ahead()?;
        }
        if busy {
            return Ok(Turn::Busy);
        }
        let due = self.conductor.as_ref().and_then(Conductor::due);
        let due = due.map(|due| due.saturating_sub(clock::now() - self.begun));
        Ok(Turn::Wait(due.map_or(LONGEST_WAIT, |due| due.min(LONGEST_WAIT))))
    }

    /// Takes in all that was sent to this worker, and has the conductor answer.
    fn exchange(&mut self, closed: u64, room: bool) -> Result<bool, SourceError> {
        let mut busy = false;
        // Read once a turn, if at all: it is no small part of an epoch that is small.
        let mut now = None;
        loop {
            let mut received = false;
            while let Some(message) = self.messages.receive() {
                received = true;
                self.take(message)?;
            }
            busy |= received;
            let Some(conductor) = &mut self.conductor else { return Ok(busy) };
            if let Some(discovery) = &self.discovery {
                received |= discovery.tell(conductor)?;
            }
            if !received && self.nothing_at == Some((closed, room)) {
                let begun = self.begun;
                let is_due = conductor.due().is_some_and(|due| clock::now() - begun >= due);
                if !is_due {
                    return Ok(busy);
                }
            }
            let read = || Moment { at: clock::time(), elapsed: clock::now() - self.begun };
            let messages = conductor.turn(*now.get_or_insert_with(read), closed, room);
            if let Some(changed) = conductor.take_changed() {
                return Err(changed);
            }
            self.nothing_at = None;
            match self.records {
                Sealed::Forgotten => drop(conductor.take_sealed()),
                Sealed::Left => {}
                Sealed::Taken => self.sealed.append(&mut conductor.take_sealed()),
            }
            messages.iter().for_each(|message| self.messages.broadcast(message));
            if messages.is_empty() {
                self.nothing_at = Some((closed, room));
                return Ok(busy);
            }
        }
    }

    fn take(&mut self, message: Message) -> Result<(), SourceError> {
        match message {
            Message::Begin(epoch, event_time) => {
                if epoch > 0 {
                    self.feed.sealed(event_time.0);
                    self.feed.advance(Epoch::new(epoch));
                }
            }
            Message::Opened(opened) => {
                self.reading.learn(&opened.new, self.checks)?;
                self.opened.push_back(opened);
            }
            Message::Close(epoch) => {
                if matches!(self.phase, Phase::Reading(reading) if reading == epoch) {
                    self.reading.close();
                } else if let Some(opened) = self.opened.iter_mut().find(|opened| opened.epoch == epoch) {
                    opened.hold = false;
                }
            }
            Message::Sealed(epoch, event_time) => {
                if self.event_time {
                    let sealing = matches!(self.phase, Phase::Sealing(sealing) if sealing == epoch);
                    assert!(sealing, "epoch {epoch} is sealed, but this worker is at {:?}", self.phase);
                    self.feed.sealed(event_time.0);
                    self.feed.advance(Epoch::new(epoch).next());
                    self.phase = Phase::Between;
                }
            }
            Message::Cut(epoch) => self.cuts.push_back(Epoch::new(epoch)),
            Message::Written(part) => self.written.push(part),
            Message::Over => {
                self.over = true;
                self.messages.close();
            }
            Message::Finished => {
                self.feed.close();
                if self.records != Sealed::Taken {
                    self.messages.close();
                }
            }
            message @ (Message::Ended(_) | Message::Ready { .. } | Message::Request | Message::Stop) => {
                // Said to the first worker, where the conductor is.
                if let Some(conductor) = &mut self.conductor {
                    conductor.receive(message);
                }
            }
        }
        Ok(())
    }

    /// Begins the next epoch, if it has been opened.
    fn begin(&mut self) -> bool {
        let Some(opened) = self.opened.pop_front() else { return false };
        self.feed.digest(opened.digest);
        self.reading.begin(&opened);
        self.phase = Phase::Reading(opened.epoch);
        self.last = Some(opened.epoch);
        self.announced = (false, false);
        true
    }

    /// Reads until there is enough for the formats to work on.
    fn read(&mut self, epoch: u64) -> Result<bool, SourceError> {
        let mut fed = 0;
        loop {
            match self.reading.look()? {
                Look::Chunks(chunks) => {
                    for chunk in chunks {
                        // Even one without a line has been looked at.
                        fed += chunk.bytes().len() + 1;
                        self.feed.chunk(chunk);
                    }
                    if fed >= ENOUGH {
                        return Ok(true);
                    }
                }
                Look::Nothing => return Ok(fed > 0),
                Look::Over => {
                    let reached = self.reading.end()?;
                    self.feed.end();
                    // What is known of event time as the epoch ends goes with it; without, nothing has to be known, and the
                    // lines and the end of their epoch are one step of the worker.
                    if !self.event_time {
                        self.feed.advance(Epoch::new(epoch).next());
                    }
                    self.phase = Phase::Observing(epoch, reached);
                    return Ok(true);
                }
            }
        }
    }

    /// Says how far the epoch was read, once the formats have come to its end.
    fn observe(&mut self) -> bool {
        let Phase::Observing(epoch, reached) = &mut self.phase else { return false };
        let Some(observed) = self.feed.take_observed() else { return false };
        let epoch = *epoch;
        let reached = std::mem::take(reached).into_values().map(|reached| {
            let Observed { lines, digest, times } =
                observed.get(&reached.partition).copied().unwrap_or_default();
            Reached { lines, digest, times, ..reached }
        });
        let ended = Ended { epoch, reached: reached.collect() };
        self.messages.send(0, Message::Ended(ended));
        self.phase = if self.event_time { Phase::Sealing(epoch) } else { Phase::Between };
        true
    }

    /// Reads live sources ahead, and says so if something new waits.
    fn read_ahead(&mut self) -> Result<(), SourceError> {
        let (any, full) = self.reading.read_ahead()?;
        if (any, full) > self.announced {
            self.announced = (any, full);
            self.messages.send(0, Message::Ready { full });
        }
        Ok(())
    }
}
