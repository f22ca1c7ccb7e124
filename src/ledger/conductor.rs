//! The conductor: opens, paces and seals epochs.
//!
//! It is worker 0's, takes the workers' messages ([`Conductor::receive`]), and answers with messages for them all
//! ([`Conductor::turn`]). A *bounded* source is given out as it is cut ([`super::cut`]), as fast as epochs close. A *live*
//! source is read when it has something, once a tick: the epoch takes what is there, and is over when all have caught
//! up. One that has more than it can hold is read at once, and until the tick is over.
//!
//! Size: one state machine, of which no part can be understood without the others; what stands for itself is beside it ([`Mark`], `cut`,
//! `status`, `watermark`).

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::cut::{Cursor, SourceCut, cut};
use super::digest::digest_sum;
use super::mark::Mark;
use super::record::{Ended, EpochRecord, EventTimeState, Limit, Message, Opened, Reached, Read};
use super::spool::Spool;
use super::status::{EpochTimes, Status};
use super::watermark::Watermarks;
use crate::source::{Found, OnDataLoss, Partition, PartitionId, Source, SourceError};
use crate::time::{EventTime, Time, TimeOptions, TimeRange, Watermark, millis};

/// How epochs are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerOptions {
    /// How many workers there are.
    pub peers: usize,
    /// How times make a watermark.
    pub time: TimeOptions,
    /// How far apart epochs of live input begin at least, and how long one lasts at most.
    pub tick: Duration,
    /// Bytes that an epoch holds, in whole chunks.
    pub epoch_bytes: u64,
    /// Bytes of a chunk.
    pub chunk_bytes: u64,
    /// Epochs that may be open before the first of them must be closed everywhere.
    pub max_open_epochs: u64,
    /// Bytes of open epochs above which none is opened.
    pub max_open_bytes: u64,
    /// Whether the dataflow goes by event time: then no epoch is read before the one before it is sealed.
    pub event_time: bool,
    /// How long after the last record something may still come of it as event time goes on: so long a silence has epochs.
    pub horizon: Duration,
    /// Whether what is read is digested, so that a replay can be checked.
    pub digest: bool,
    /// What is done where what is read again is not what was read before.
    pub on_data_loss: OnDataLoss,
    /// Whether the run is over when all live sources have caught up once.
    pub once: bool,
    /// The number of the run among those that have gone on from one another; 0 for one that nothing is kept of.
    pub incarnation: u64,
}

impl LedgerOptions {
    /// One epoch at a time on `peers` workers, which is as long as whoever opens it wants and takes all that there is; with event
    /// time, and without digests.
    pub fn unpaced(peers: usize, time: TimeOptions) -> Self {
        LedgerOptions {
            peers,
            time,
            tick: Duration::ZERO,
            epoch_bytes: u64::MAX,
            chunk_bytes: 1,
            max_open_epochs: 1,
            max_open_bytes: u64::MAX,
            event_time: true,
            horizon: Duration::ZERO,
            digest: false,
            on_data_loss: OnDataLoss::Fail,
            once: false,
            incarnation: 0,
        }
    }
}

/// A reading of the clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The time of day.
    pub at: Time,
    /// How long the run has been going on.
    pub elapsed: Duration,
}

/// An epoch that is open.
#[derive(Debug)]
struct Open {
    record: EpochRecord,
    limits: BTreeMap<PartitionId, Limit>,
    /// How many workers have ended it.
    ended: usize,
    reached: BTreeMap<PartitionId, Reached>,
    since: Duration,
    /// Whether nothing more is to be read in it.
    closing: bool,
    /// Bytes read, or before that to be read.
    bytes: u64,
    /// It ends the input.
    last: bool,
    /// What it was when it was first read, where it is read again.
    before: Option<EpochRecord>,
}

/// What comes after a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// The run goes on with what its sources have.
    GoOn,
    /// It stops, as if it had been asked to.
    Stop,
    /// The input ends.
    End,
}

/// What the workers of live sources have reported since the last epoch was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Waiting {
    Nothing,
    Something,
    Much,
}

/// Opens, paces and seals epochs.
#[derive(Debug)]
pub struct Conductor {
    options: LedgerOptions,
    sources: Vec<SourceCut>,
    watermarks: Watermarks,
    /// Partitions that no worker knows of.
    news: Vec<Partition>,
    partitions: u32,
    /// What is open and not sealed, in order.
    open: VecDeque<Open>,
    /// Bytes of the epochs that are sealed and not closed, by epoch.
    unclosed: VecDeque<(u64, u64)>,
    next: u64,
    first: u64,
    /// When everything arrived, where nothing is live.
    begun: Option<Time>,
    waiting: Waiting,
    /// When the last epoch was opened.
    opened_at: Option<Duration>,
    stopping: bool,
    /// The epoch in which live sources stop was opened.
    stopped: bool,
    /// The epoch that ends the input was opened.
    ended: bool,
    finished: bool,
    /// What is to be opened as it was before, and nothing else until that is done.
    replay: VecDeque<EpochRecord>,
    /// Partitions that are at their end now, and were not in the epochs that were read again.
    early: Vec<PartitionId>,
    afterwards: Afterwards,
    /// When every epoch arrives, whatever the clock says.
    arrives: Option<Time>,
    /// Whether epochs are opened only on request.
    by_hand: bool,
    /// How often a worker has asked for an epoch that was not opened.
    requested: usize,
    sealed: Vec<EpochRecord>,
    /// Partitions that are at their end, and the epoch in which they came to it.
    done: VecDeque<(u64, Partition)>,
    /// Whether workers know where the run begins.
    begin_sent: bool,
    /// What was read again, and was not what it had been.
    changed: Option<SourceError>,
    /// What was found while epochs were opened as they had been: it is taken in afterwards.
    found: Vec<(u32, Vec<Found>)>,
    /// Whether somebody wants to know how far the run is, which stands still for that.
    wants_mark: bool,
    marked: Option<Mark>,
    status: Status,
}

impl Conductor {
    /// Looks for the partitions of `sources`.
    ///
    /// A partition that several of them find is read once, for the first.
    ///
    /// # Errors
    ///
    /// When one of the sources cannot find its partitions.
    pub fn new(options: LedgerOptions, sources: &[Arc<dyn Source>]) -> Result<Self, SourceError> {
        let mut conductor = Conductor::without_partitions(options, sources);
        let found = Conductor::look(sources, false)?;
        found.into_iter().for_each(|(source, found)| conductor.discover(source, found));
        Ok(conductor)
    }

    /// Knows of no partitions of `sources`: they are those of an earlier run ([`Conductor::resume`]), and what is
    /// [discovered](Conductor::discover).
    pub fn without_partitions(options: LedgerOptions, sources: &[Arc<dyn Source>]) -> Self {
        let mut status = Status::default();
        let cut = |source: &Arc<dyn Source>| {
            let (sequence, bounded, per_epoch) =
                (source.is_sequence(), source.is_bounded(), source.per_epoch());
            status.add_source(source.uri(), source.offset_unit(), bounded);
            let (cursors, past) = (VecDeque::new(), VecDeque::new());
            let replayable = source.is_replayable();
            SourceCut { sequence, bounded, per_epoch, replayable, finds: false, cursors, past }
        };
        let sources = sources.iter().map(cut).collect();
        Conductor {
            options,
            sources,
            watermarks: Watermarks::new(options.time),
            news: Vec::new(),
            partitions: 0,
            open: VecDeque::new(),
            unclosed: VecDeque::new(),
            next: 0,
            first: 0,
            begun: None,
            waiting: Waiting::Nothing,
            opened_at: None,
            stopping: false,
            stopped: false,
            ended: false,
            finished: false,
            replay: VecDeque::new(),
            early: Vec::new(),
            afterwards: Afterwards::GoOn,
            by_hand: false,
            arrives: None,
            requested: 0,
            sealed: Vec::new(),
            done: VecDeque::new(),
            begin_sent: false,
            changed: None,
            found: Vec::new(),
            wants_mark: false,
            marked: None,
            status,
        }
    }

    /// Looks for what `sources` have, by the numbers of the sources; with `closely`, it is described so that other processes can tell
    /// whether they have the same.
    ///
    /// # Errors
    ///
    /// When one of the sources cannot find its partitions.
    pub fn look(sources: &[Arc<dyn Source>], closely: bool) -> Result<Vec<(u32, Vec<Found>)>, SourceError> {
        let look = |(number, source): (u32, &Arc<dyn Source>)| {
            let is_empty = |found: &Found| found.length == Some(0) && source.is_bounded();
            let found = source.find()?.into_iter().filter(|found| !is_empty(found));
            let found = found.map(|found| if closely { source.describe(found) } else { Ok(found) });
            Ok((number, found.collect::<Result<_, _>>()?))
        };
        (0..).zip(sources).map(look).collect()
    }

    /// Further partitions of source `source` may be [discovered](Self::discover), until it is said that none will be.
    pub fn finds(&mut self, source: u32, finds: bool) {
        if let Some(source) = self.sources.get_mut(source as usize) {
            source.finds = finds;
        }
    }

    /// Source `source` has further partitions, the oldest first. One that is read already is read once; one that has been read to its
    /// end, by an earlier run too, is read on if it has become longer.
    pub fn discover(&mut self, source: u32, mut found: Vec<Found>) {
        let replayable = self.sources.get(source as usize).is_none_or(|source| source.replayable);
        if !replayable && self.options.incarnation > 0 {
            // Another run finds another one there, whatever its name.
            let suffix = Spool::suffix(self.options.incarnation);
            found.iter_mut().for_each(|found| found.identity += &suffix);
        }
        self.take_found(source, found);
    }

    /// What was kept of `partitions` of earlier runs, and is in none of their epochs.
    pub fn discover_kept(&mut self, partitions: Vec<Partition>) {
        for Partition { source, found, .. } in partitions {
            self.take_found(source, vec![found]);
        }
    }

    fn take_found(&mut self, source: u32, found: Vec<Found>) {
        // It may be somewhere else than it was when an earlier run found it.
        found.iter().for_each(|found| self.find_again(found));
        if !self.replay.is_empty() {
            // Their numbers follow those of what is read again.
            self.found.push((source, found));
            return;
        }
        let cursors = self.sources.iter().flat_map(|source| &source.cursors);
        let mut known: HashSet<String> =
            cursors.map(|cursor| cursor.partition.found.identity.clone()).collect();
        for found in found {
            if !known.insert(found.identity.clone()) {
                log::debug!("{} is being read already", found.name);
                continue;
            }
            let from = self.offset_of(source, &found.identity);
            if from > 0 && found.length.is_none_or(|length| length <= from) {
                log::debug!("{} has been read to its end", found.name);
                continue;
            }
            self.take_in(source, found, from);
            self.waiting = self.waiting.max(Waiting::Something);
        }
    }

    /// How far a partition of source `source` with this identity has been read that came to its end.
    fn offset_of(&self, source: u32, identity: &str) -> u64 {
        let past = self.sources.get(source as usize).into_iter().flat_map(|source| source.past.iter().rev());
        past.into_iter().find(|past| past.found.identity == identity).map_or(0, |past| past.offset)
    }

    /// Where a partition of an earlier run, of which workers do not know yet, is now.
    fn find_again(&mut self, found: &Found) {
        let cursors = self.sources.iter_mut().flat_map(|source| &mut source.cursors);
        let known = cursors.map(|cursor| &mut cursor.partition);
        let replayed = self.replay.iter_mut().flat_map(|record| &mut record.new);
        for partition in known.chain(&mut self.news).chain(replayed) {
            if partition.found.identity == found.identity {
                partition.found = found.clone();
            }
        }
    }

    /// Numbers what source `source` has found; it is to be read from offset `from`.
    fn take_in(&mut self, source: u32, found: Found, from: u64) {
        let partition = Partition { id: PartitionId(self.partitions), source, found };
        self.add(partition, from);
    }

    fn add(&mut self, partition: Partition, from: u64) {
        let Some(cut) = self.sources.get_mut(partition.source as usize) else { return };
        self.partitions = self.partitions.max(partition.id.0 + 1);
        self.news.push(partition.clone());
        self.status.add_partition(&partition, from);
        cut.cursors.push_back(Cursor::new(partition, from));
    }

    /// The same, for a dataflow of which it is known only now whether it goes by event time.
    pub fn by_event_time(&mut self, event_time: bool, horizon: Duration) {
        (self.options.event_time, self.options.horizon) = (event_time, horizon);
    }

    /// Goes on from where an earlier run was at `mark`: what it had not read is still to be read, by as many workers as
    /// there are now. The sources are the same, in the same order; their partitions are those that it knew, and what is
    /// [discovered](Self::discover).
    pub fn resume(&mut self, mark: Mark) {
        (self.next, self.first) = (mark.next, mark.next);
        self.partitions = mark.partitions;
        self.news.clear();
        self.status.clear();
        for (cut, before) in self.sources.iter_mut().zip(mark.sources) {
            (cut.cursors, cut.past) = (before.cursors, before.past);
        }
        for cursor in self.sources.iter().flat_map(|source| &source.cursors) {
            self.news.push(cursor.partition.clone());
            self.status.add_partition(&cursor.partition, cursor.from);
        }
        self.watermarks.restore(mark.watermark);
    }

    /// Opens epochs as `records` say, with the partitions that there are, and goes on as `afterwards` says.
    pub fn replay(&mut self, records: impl IntoIterator<Item = EpochRecord>, afterwards: Afterwards) {
        self.replay.extend(records);
        self.afterwards = afterwards;
    }

    /// From now on, opens an epoch only when every worker asks for it ([`Message::Request`]); with `arrived`, all of them arrive then.
    pub fn by_hand(&mut self, arrived: Option<Time>) {
        self.by_hand = true;
        self.begun = arrived;
        self.arrives = arrived;
    }

    /// Somebody wants to know how far the run is: no epoch is opened until all that are open are sealed, and then there is a
    /// [mark](Self::take_marked), and the workers are told ([`Message::Cut`]).
    pub fn want_mark(&mut self) {
        self.wants_mark = true;
    }

    /// How far the run was when it stood still, if that was wanted and has come since this was last asked.
    pub fn take_marked(&mut self) -> Option<Mark> {
        self.marked.take()
    }

    /// How far the run has come with the epochs that are sealed. That the input has ended is no part of it, but the epoch
    /// in which it did has its number: sinks have committed it.
    ///
    /// # Panics
    ///
    /// If an epoch is open.
    pub fn mark(&self) -> Mark {
        assert!(self.open.is_empty(), "an epoch is open");
        let mut watermarks = self.watermarks.clone();
        watermarks.end(self.early.clone());
        Mark {
            next: self.next,
            partitions: self.partitions,
            sources: self.sources.clone(),
            watermark: watermarks.state(),
        }
    }

    /// Bytes that bounded sources hold.
    pub fn total_bytes(&self) -> u64 {
        let cursors = self.sources.iter().flat_map(|source| &source.cursors);
        cursors.map(|cursor| cursor.partition.found.bytes).fold(0, u64::saturating_add)
    }

    /// How many partitions there are that are not at their end.
    pub fn partitions(&self) -> usize {
        self.sources.iter().map(|source| source.cursors.len()).sum()
    }

    /// Whether no source is live.
    pub fn is_bounded(&self) -> bool {
        self.sources.iter().all(|source| source.bounded)
    }

    /// How far the sources have been read.
    pub fn status(&self) -> &Status {
        &self.status
    }

    pub(crate) fn status_mut(&mut self) -> &mut Status {
        &mut self.status
    }

    /// What is known of event time as of the last epoch that was sealed.
    pub(crate) fn event_time(&self) -> EventTime {
        self.watermarks.event_time()
    }

    /// Why the run cannot go on: what is read again is not what it was.
    pub fn take_changed(&mut self) -> Option<SourceError> {
        self.changed.take()
    }

    /// The records of the epochs that were sealed since this was last asked.
    pub fn take_sealed(&mut self) -> Vec<EpochRecord> {
        std::mem::take(&mut self.sealed)
    }

    /// The partitions that came to their end in an epoch before `committed`, since this was last asked.
    pub fn take_done(&mut self, committed: u64) -> impl Iterator<Item = Partition> {
        std::iter::from_fn(move || self.done.pop_front_if(|(epoch, _)| *epoch < committed).map(|(_, it)| it))
    }

    /// The first epoch that is not sealed.
    pub fn sealed_before(&self) -> u64 {
        self.open.front().map_or(self.next, |open| open.record.epoch)
    }

    /// Whether there was an epoch that ends the input.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Whether the input is at its end, or the run was asked to stop, and all is sealed.
    pub fn has_finished(&self) -> bool {
        self.finished
    }

    /// The run is to end in order: what has been taken from outside is the last.
    pub fn stop(&mut self) {
        self.stopping = true;
    }

    /// Takes in what a worker has sent.
    ///
    /// # Panics
    ///
    /// If it is a message for workers.
    pub fn receive(&mut self, message: Message) {
        match message {
            Message::Ended(ended) => self.receive_ended(ended),
            Message::Ready { full } => {
                self.waiting = self.waiting.max(if full { Waiting::Much } else { Waiting::Something });
            }
            Message::Stop => self.stop(),
            Message::Request => self.requested += 1,
            other => panic!("a message for workers reached the conductor: {other:?}"),
        }
    }

    fn receive_ended(&mut self, ended: Ended) {
        let open = self.open.iter_mut().find(|open| open.record.epoch == ended.epoch);
        let open = open.unwrap_or_else(|| panic!("a worker ended epoch {}, which is not open", ended.epoch));
        open.ended += 1;
        for one in ended.reached {
            let reached = open.reached.entry(one.partition).or_insert(Reached {
                lines: 0,
                bytes: 0,
                digest: 0,
                times: TimeRange::NOTHING,
                ..one
            });
            reached.offset = reached.offset.max(one.offset);
            reached.lines += one.lines;
            reached.bytes += one.bytes;
            reached.digest = digest_sum(reached.digest, one.digest);
            if !one.times.is_nothing() {
                reached.times.include(one.times.oldest);
                reached.times.include(one.times.newest);
            }
            reached.ended &= one.ended;
            reached.caught_up &= one.caught_up;
            reached.gone |= one.gone;
            // Who shares a partition misses all that there is no more of it.
            reached.lost = reached.lost.max(one.lost);
        }
    }

    /// The messages for all workers now.
    ///
    /// `closed` is the first epoch that is not closed everywhere, and `room` says whether the sinks can take more.
    pub fn turn(&mut self, now: Moment, closed: u64, room: bool) -> Vec<Message> {
        let mut messages = Vec::new();
        if !std::mem::replace(&mut self.begin_sent, true) {
            messages.push(Message::Begin(self.first, EventTimeState(self.watermarks.event_time())));
        }
        while self.unclosed.front().is_some_and(|(epoch, _)| *epoch < closed) {
            self.unclosed.pop_front();
        }
        while self.open.front().is_some_and(|open| open.ended == self.options.peers) {
            if let Some(open) = self.open.pop_front() {
                messages.push(self.seal(open, now));
            }
        }
        let tick = self.options.tick;
        let lasting = self.open.back_mut().filter(|open| !open.closing);
        if let Some(open) = lasting.filter(|open| self.stopping || now.elapsed >= open.since + tick) {
            open.closing = true;
            messages.push(Message::Close(open.record.epoch));
        }
        if self.wants_mark && self.open.is_empty() {
            self.wants_mark = false;
            self.marked = Some(self.mark());
            messages.push(Message::Cut(self.next));
        }
        while !self.finished && room && !self.wants_mark && self.has_credit(closed) {
            let Some(opened) = self.open_next(now) else { break };
            messages.push(Message::Opened(opened));
        }
        if !self.finished && self.open.is_empty() && self.is_over() {
            self.finished = true;
            self.watermarks.finish();
            messages.push(Message::Finished);
        }
        messages
    }

    /// When [`Conductor::turn`] may have messages although none was received; `None` if not.
    pub fn due(&self) -> Option<Duration> {
        let tick = self.options.tick;
        if let Some(open) = self.open.back() {
            return (!open.closing).then(|| open.since + tick);
        }
        let next = self.opened_at.filter(|_| !self.by_hand)?;
        if self.waiting > Waiting::Nothing {
            return Some(next + tick);
        }
        let silence =
            self.watermarks.moves_at(millis(self.options.horizon)).filter(|_| self.options.event_time)?;
        let away = silence.saturating_sub(self.watermarks.arrived());
        Some(next + tick.max(Duration::from_millis(away.unsigned_abs())))
    }

    /// Whether event time goes on by itself now, because nothing is read.
    fn is_silence_due(&self, now: Moment) -> bool {
        let horizon = millis(self.options.horizon);
        self.options.event_time
            && self.open.is_empty()
            && self.watermarks.moves_at(horizon).is_some_and(|at| now.at.0 >= at)
    }

    fn seal(&mut self, open: Open, now: Moment) -> Message {
        let Open { mut record, reached, last, limits, before, since, .. } = open;
        let mut bytes = 0;
        for (partition, one) in &reached {
            let partition = *partition;
            let from = limits.get(&partition).map_or(0, |limit| limit.from);
            let Reached { offset: upto, lines, digest, times, .. } = *one;
            bytes += one.bytes;
            if upto > from || lines > 0 {
                record.reads.push(Read { partition, from, upto, lines, digest, times });
            }
            if one.ended {
                record.ended.push(partition);
            } else if one.caught_up {
                record.caught_up.push(partition);
            }
        }
        self.unclosed.push_back((record.epoch, bytes));
        let again = before.is_some();
        match &before {
            Some(before) => self.compare(before, &record, &reached),
            None => reached.values().for_each(|one| self.status.lose(one.partition, one.lost)),
        }
        let times = EpochTimes { epoch: record.epoch, lines: 0, opened: since, sealed: now.elapsed };
        self.status.seal(times, &reached);
        let known = before.and_then(|before| Some((before.after?.0, before)));
        if last {
            // An epoch like any other, in which nothing was read; its event time is forgotten.
            let ended = EventTime { watermark: Watermark::END, ..self.watermarks.event_time() };
            let epoch = record.epoch;
            self.sealed.push(record);
            return Message::Sealed(epoch, EventTimeState(ended));
        }
        for source in &mut self.sources {
            for cursor in &mut source.cursors {
                if let Some(one) = reached.get(&cursor.partition.id) {
                    cursor.reach(one.offset, again);
                }
            }
            let ended = |cursor: &Cursor| {
                let id = cursor.partition.id;
                let was = |(_, before): &(EventTime, EpochRecord)| before.ended.contains(&id);
                reached.get(&id).is_some_and(|one| one.ended) || known.as_ref().is_some_and(was)
            };
            let over = source.cursors.iter().filter(|cursor| ended(cursor));
            self.done.extend(over.map(|cursor| (record.epoch, cursor.partition.clone())));
            source.end(ended);
        }
        let sources = &self.sources;
        let more = |source: u32| {
            sources.get(source as usize).is_some_and(|source| !source.cursors.is_empty() || source.finds)
        };
        let event_time = match known {
            None => self.watermarks.seal(&record, more),
            Some((known, as_it_was)) => {
                // Who is at its end now, or has caught up, may not have been then.
                let early = record.ended.iter().filter(|ended| !as_it_was.ended.contains(ended));
                self.early.extend(early);
                self.watermarks.seal_again(&as_it_was, known, more)
            }
        };
        record.after = Some(EventTimeState(event_time));
        let epoch = record.epoch;
        let rests = |cursor: &&Cursor| {
            reached.get(&cursor.partition.id).is_some_and(|one| one.caught_up || one.held_back)
        };
        let caught_up = |cursor: &Cursor| reached.get(&cursor.partition.id).is_some_and(|one| one.caught_up);
        if self.options.once && !again && self.live().all(caught_up) {
            // What has come in the meantime is for the next run.
            self.stopping = true;
        }
        if !self.live().all(|cursor| rests(&cursor)) && !self.by_hand {
            // What was cut short goes on at the next tick; what is held back, when its worker says so.
            self.waiting = self.waiting.max(Waiting::Something);
        }
        self.sealed.push(record);
        Message::Sealed(epoch, EventTimeState(event_time))
    }

    /// Looks whether an epoch that was read again, and now as far as it was `reached`, has what it had `before`, as far as that was written down.
    fn compare(&mut self, before: &EpochRecord, now: &EpochRecord, reached: &BTreeMap<PartitionId, Reached>) {
        for was in before.reads.iter().filter(|read| read.digest != 0 || read.lines != 0) {
            let read = now.reads.iter().find(|read| read.partition == was.partition);
            let same = |read: &Read| (read.lines, read.times) == (was.lines, was.times);
            let digest = |read: &Read| !self.options.digest || was.digest == 0 || read.digest == was.digest;
            if read.is_some_and(|read| same(read) && digest(read)) {
                continue;
            }
            let cursors = self.sources.iter().flat_map(|source| &source.cursors);
            let mut named = cursors.filter(|cursor| cursor.partition.id == was.partition);
            let name = named
                .next()
                .map_or_else(|| was.partition.to_string(), |it| it.partition.found.name.to_string());
            let upto = read.map_or(was.from, |read| read.upto.clamp(was.from, was.upto));
            let changed = SourceError::Changed { partition: name, from: was.from, upto: was.upto };
            if self.options.on_data_loss == OnDataLoss::Fail {
                self.changed.get_or_insert(changed);
                continue;
            }
            self.status.lose(was.partition, was.upto - upto);
            // Who was to read it has said what has become of it.
            if reached.get(&was.partition).is_some_and(|one| !one.gone) {
                log::warn!("{changed}");
            }
        }
    }

    /// The partitions that have no end, or none that is known.
    fn live(&self) -> impl Iterator<Item = &Cursor> {
        self.sources.iter().filter(|source| !source.bounded).flat_map(|source| &source.cursors)
    }

    /// Whether anything may still come that is not there yet.
    fn is_live(&self) -> bool {
        self.live().next().is_some() || self.sources.iter().any(|source| source.finds)
    }

    /// Whether nothing is left to read.
    fn is_over(&self) -> bool {
        if !self.replay.is_empty() || !self.found.is_empty() {
            return false;
        }
        match self.afterwards {
            Afterwards::GoOn => {}
            Afterwards::Stop => return true,
            Afterwards::End => return self.ended || !self.options.event_time,
        }
        let read = self.sources.iter().all(|source| source.cursors.is_empty() && !source.finds);
        if self.stopping {
            return self.stopped || self.live().next().is_none();
        }
        read && self.next > self.first && (self.ended || !self.options.event_time)
    }

    fn has_credit(&self, closed: u64) -> bool {
        let open = self.next.saturating_sub(closed.max(self.first));
        let bytes =
            self.unclosed.iter().map(|(_, bytes)| *bytes).chain(self.open.iter().map(|open| open.bytes));
        let bytes = bytes.fold(0, u64::saturating_add);
        open < self.options.max_open_epochs.max(1) && (open == 0 || bytes < self.options.max_open_bytes)
    }

    /// Opens an epoch, if it is time to.
    fn open_next(&mut self, now: Moment) -> Option<Opened> {
        if let Some(record) = self.replay.pop_front() {
            return Some(self.reopen(record, now));
        }
        // What is found may be what comes to its end in an epoch that is read again, and has become longer since.
        if self.open.iter().any(|open| open.before.is_some()) {
            return None;
        }
        self.watermarks.end(std::mem::take(&mut self.early));
        for (source, found) in std::mem::take(&mut self.found) {
            self.take_found(source, found);
        }
        match self.afterwards {
            Afterwards::GoOn => {}
            Afterwards::Stop => return None,
            Afterwards::End => return self.open_end(now),
        }
        let open_ended = self.sources.iter().any(SourceCut::is_open_ended);
        if open_ended && !self.open.is_empty() {
            return None;
        }
        let live = self.is_live();
        let mut hold = false;
        if self.stopping {
            if self.live().next().is_none() || self.stopped || !self.open.is_empty() {
                return None;
            }
            self.stopped = true;
        } else if self.by_hand {
            if self.requested < self.options.peers {
                return self.open_end(now);
            }
            self.requested -= self.options.peers;
        } else if self.next > self.first
            && !self.sources.iter().any(|source| source.bounded && source.has_more())
        {
            if !live {
                return self.open_end(now);
            }
            let ticked = self.opened_at.is_none_or(|at| now.elapsed >= at + self.options.tick);
            match self.waiting {
                Waiting::Much if !ticked => hold = true,
                // Whether there is anything is seen by looking.
                Waiting::Nothing if self.options.once && ticked => {}
                Waiting::Nothing if !self.is_silence_due(now) => return None,
                _ if !ticked => return None,
                _ => {}
            }
        }
        self.waiting = Waiting::Nothing;
        let mut limits = cut(&mut self.sources, self.options.epoch_bytes, self.options.chunk_bytes);
        if self.stopping {
            // What has been taken from outside is read to its end; what can be read again later is not.
            let live: BTreeSet<_> = self.live().map(|cursor| cursor.partition.id).collect();
            limits.retain(|limit| live.contains(&limit.partition));
            limits.iter_mut().for_each(|limit| limit.upto = u64::MAX);
        }
        let clock = self.arrives.unwrap_or(now.at);
        let arrived = if live { clock } else { *self.begun.get_or_insert(now.at) };
        Some(self.open(arrived, limits, hold, now, false))
    }

    /// Opens the epoch that ends the input, if that is news to anyone.
    fn open_end(&mut self, now: Moment) -> Option<Opened> {
        let read =
            self.sources.iter().all(|source| source.cursors.is_empty() && (!source.finds || self.stopping));
        let read = read || self.afterwards == Afterwards::End;
        if self.ended || !read || !self.open.is_empty() || !self.options.event_time {
            return None;
        }
        self.ended = true;
        let arrived = *self.begun.get_or_insert(now.at);
        Some(self.open(arrived, Vec::new(), false, now, true))
    }

    /// Opens an epoch as it was.
    fn reopen(&mut self, record: EpochRecord, now: Moment) -> Opened {
        let known = self.partitions;
        for partition in record.new.iter().filter(|partition| partition.id.0 >= known) {
            // It may be that nothing was read of it at first; and what has grown was read before, under another number.
            let reads = std::iter::once(&record).chain(&self.replay).flat_map(|record| &record.reads);
            let from = reads.clone().find(|read| read.partition == partition.id).map(|read| read.from);
            let from = from.unwrap_or_else(|| self.offset_of(partition.source, &partition.found.identity));
            self.add(partition.clone(), from);
        }
        let cursors: Vec<_> = self.sources.iter().flat_map(|source| &source.cursors).collect();
        let limit = |read: &Read| {
            // What is known of the partition goes before what is written: they differ where its lines were taken over.
            let cursor = cursors.iter().find(|cursor| cursor.partition.id == read.partition);
            let from = cursor.map_or(read.from, |cursor| cursor.from);
            Limit { partition: read.partition, from, upto: read.upto }
        };
        let limits = record.reads.iter().map(limit).collect();
        // There may be ten thousand that are all quiet.
        let caught_up: BTreeSet<_> = record.caught_up.iter().collect();
        for cursor in &cursors {
            // Of these nothing was there.
            if cursor.begins_at(cursor.from) && caught_up.contains(&cursor.partition.id) {
                let source = &self.sources[cursor.partition.source as usize];
                self.watermarks.add(&cursor.partition, source.sequence, record.arrived.0);
            }
        }
        self.next = record.epoch;
        // An end is an event of the run that came to it. Where more follows, it is an epoch in which nothing was read: what the end made of
        // windows and keys is not what the next epoch goes on from.
        let last = record.end && self.replay.is_empty() && self.afterwards != Afterwards::GoOn;
        self.ended |= last;
        let mut opened = self.open(record.arrived, limits, false, now, last);
        opened.exact = true;
        opened.ended.clone_from(&record.ended);
        if let Some(open) = self.open.back_mut() {
            // It is over when it has what it had, however long that takes: also the last one, behind which live sources go on.
            open.closing = true;
            open.before = Some(record);
        }
        opened
    }

    fn open(&mut self, arrived: Time, limits: Vec<Limit>, hold: bool, now: Moment, last: bool) -> Opened {
        let epoch = self.next;
        let new = std::mem::take(&mut self.news);
        let by_partition: BTreeMap<_, _> = limits.iter().map(|limit| (limit.partition, *limit)).collect();
        for source in &self.sources {
            for cursor in &source.cursors {
                let limit = by_partition.get(&cursor.partition.id);
                if limit.is_some_and(|limit| cursor.begins_at(limit.from)) {
                    self.watermarks.add(&cursor.partition, source.sequence, arrived.0);
                }
            }
        }
        let bytes =
            limits.iter().map(|limit| limit.upto.saturating_sub(limit.from)).fold(0, u64::saturating_add);
        let live = self.is_live();
        let record = EpochRecord {
            epoch,
            arrived,
            before: Some(EventTimeState(self.watermarks.event_time())),
            new: new.clone(),
            end: last,
            ..EpochRecord::default()
        };
        self.open.push_back(Open {
            record,
            limits: by_partition,
            ended: 0,
            reached: BTreeMap::new(),
            since: now.elapsed,
            closing: !live || !self.replay.is_empty() || self.afterwards != Afterwards::GoOn || self.by_hand,
            bytes: if live { 0 } else { bytes },
            last,
            before: None,
        });
        self.next += 1;
        self.opened_at = Some(now.elapsed);
        let stop = self.stopped && self.stopping;
        Opened {
            epoch,
            arrived,
            new,
            limits,
            hold,
            stop,
            exact: false,
            ended: Vec::new(),
            digest: self.options.digest,
        }
    }
}
