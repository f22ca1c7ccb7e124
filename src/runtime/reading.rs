//! What one worker reads in an epoch: its readers, and how far they are to go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::Duration;

use crate::ledger::{Limit, Opened, Reached, Spool};
use crate::runtime::clock;
use crate::source::{
    Access, Chunk, OffsetUnit, OnDataLoss, Partition, PartitionId, Pool, ReadOptions, Reader, Share, Source,
    SourceError, Step, Throttle, Wake,
};
use crate::state::storage::StorageError;
use crate::time::Time;

/// So many damaged partitions are named, of what may be thousands.
const NAMED: u64 = 5;

/// What to do where something has gone that is to be read as it was before.
const AGAIN: &str = "it was read before, and no snapshot has it: restore it and start again; or --on-data-loss=continue goes on without it";

/// Bytes of a live partition that are read before their epoch is opened, at most.
const AHEAD: usize = 4 << 20;

/// Bytes of all live partitions together, about: where there are very many, each has its part, ...
const ALL_AHEAD: usize = 32 << 20;

/// ... and no less than this, so that there is something to go on with.
const LEAST_AHEAD: usize = 64 << 10;

/// The sources of a run, and which input of the dataflow each is for.
#[derive(Clone, Debug)]
pub(crate) struct Inputs {
    pub(crate) sources: Vec<Arc<dyn Source>>,
    /// By source.
    pub(crate) inputs: Vec<u32>,
    /// The part of the run's workers that this process has.
    pub(crate) part: f64,
    /// How often live sources are read at least.
    pub(crate) tick: Duration,
    /// Where what is read is kept that cannot be read again, if it is.
    pub(crate) spool: Option<Arc<Spool>>,
    /// Whether that is made durable as an epoch ends, and not by who seals it.
    pub(crate) syncs: bool,
}

impl Inputs {
    /// `sources` for the one input of a dataflow, in a process that is alone.
    pub(crate) fn of(sources: Vec<Arc<dyn Source>>) -> Self {
        let inputs = vec![0; sources.len()];
        Inputs { sources, inputs, part: 1.0, tick: Duration::ZERO, spool: None, syncs: false }
    }

    /// Whether the rate of any source is bounded.
    fn are_limited(&self) -> bool {
        self.sources.iter().any(|source| source.max_rate().is_some())
    }
}

/// One worker's readers.
pub(super) struct Reading {
    inputs: Inputs,
    share: Share,
    options: ReadOptions,
    wake: Wake,
    /// Whether a source has woken this worker since it was last looked for something to read ahead.
    woken: Arc<AtomicBool>,
    /// So many times nothing was looked for since nothing was found, and there was nothing to wait for either.
    quiet: u32,
    pool: Pool,
    /// What the conductor has found, until it has been read to its end.
    partitions: BTreeMap<PartitionId, Partition>,
    readers: BTreeMap<PartitionId, Open>,
    /// How often lanes were looked at.
    turn: usize,
    /// The epoch that is being read.
    epoch: Option<Epoch>,
    /// Whether nothing is to be read before its epoch is opened.
    exact: bool,
    /// How many partitions could not be read to their end.
    damaged: u64,
    /// Of how many something had gone.
    gone: u64,
}

/// A partition that is being read.
#[derive(Debug)]
struct Open {
    reader: Box<dyn Reader>,
    live: bool,
    /// The first bytes of the partition, as far as they can be had.
    head: Arc<[u8]>,
    /// Chunks that were read before their epoch was opened, or that the bound on its rate holds back.
    ahead: VecDeque<Chunk>,
    bytes: usize,
    ended: bool,
    /// Why it cannot be read on, as was found out while it was read ahead.
    failed: Option<SourceError>,
    throttle: Option<Throttle>,
    /// Whether there was something in the epoch that the bound on its rate did not let through.
    held_back: bool,
    unit: OffsetUnit,
    /// Where this run began to read it.
    begin: u64,
    /// How much of it had gone, as far as the conductor knows.
    lost: u64,
}

impl Open {
    /// How far the chunks that were handed out go.
    fn offset(&self) -> u64 {
        self.ahead.front().map_or(self.reader.offset(), |chunk| chunk.place.offset)
    }

    /// How much the source has beyond the chunks that were handed out, in the units of its offsets, as far as that is known.
    fn behind(&self) -> Option<u64> {
        match (self.reader.latest(), self.unit) {
            (Some(latest), _) => Some(latest.saturating_sub(self.offset())),
            (None, OffsetUnit::Bytes) => Some(self.bytes as u64).filter(|waiting| *waiting > 0),
            (None, OffsetUnit::Messages | OffsetUnit::Other) => None,
        }
    }

    /// Whether its source is at its end for now, and nothing of it waits here.
    fn is_at_end(&self) -> bool {
        self.ahead.is_empty() && !self.held_back && self.reader.is_at_end()
    }

    fn keep(&mut self, chunk: Chunk) {
        self.bytes += chunk.bytes().len();
        if !self.ahead.back_mut().is_some_and(|last| last.append(&chunk)) {
            self.ahead.push_back(chunk);
        }
    }

    /// The same as [`Open::poll`], no faster than the bound on its rate: of what that lets through, a part of one in `parts`. Where nothing is
    /// let through, more is read only if there is `room`.
    fn poll_slowly(&mut self, upto: u64, pool: &Pool, parts: u64, room: bool) -> Result<Step, SourceError> {
        let Some(throttle) = &mut self.throttle else { return self.poll(upto, pool) };
        let all = throttle.allowed(clock::now());
        let allowed = (all / parts.max(1)).max(all.min(1));
        self.held_back = false;
        if self.ahead.is_empty() && !self.ended && (allowed > 0 || room) {
            match self.reader.poll(upto, pool)? {
                Step::Chunk(chunk) => self.keep(chunk),
                other => return Ok(other),
            }
        }
        let Some(throttle) = &mut self.throttle else { return self.poll(upto, pool) };
        if allowed == 0 && !(self.ended && self.ahead.is_empty()) {
            self.held_back = true;
            return Ok(Step::CaughtUp);
        }
        let Some(first) = self.ahead.front_mut().filter(|chunk| chunk.place.offset < upto) else {
            return self.poll(upto, pool);
        };
        let chunk = match first.take_lines(allowed, pool) {
            Some(chunk) => {
                throttle.took(allowed);
                chunk
            }
            None => {
                throttle.took(first.lines().count() as u64);
                let Some(chunk) = self.ahead.pop_front() else { return Ok(Step::CaughtUp) };
                chunk
            }
        };
        self.bytes -= chunk.bytes().len();
        Ok(Step::Chunk(chunk))
    }

    fn poll(&mut self, upto: u64, pool: &Pool) -> Result<Step, SourceError> {
        if let Some(chunk) = self.ahead.pop_front_if(|chunk| chunk.place.offset < upto || upto == u64::MAX) {
            self.bytes -= chunk.bytes().len();
            return Ok(Step::Chunk(chunk));
        }
        match self.failed.take() {
            failed if !self.ahead.is_empty() => {
                self.failed = failed;
                Ok(Step::Reached)
            }
            Some(fault) => Err(fault),
            None if self.ended => Ok(Step::Ended),
            None => self.reader.poll(upto, pool),
        }
    }
}

/// The part of an epoch that this worker reads.
struct Epoch {
    arrived: Time,
    /// Whether what has caught up is read on.
    hold: bool,
    /// Whether sources are to take nothing more from outside.
    stop: bool,
    /// Limits that are not reached, side by side; those of a sequence one after the other.
    lanes: Vec<VecDeque<Limit>>,
    reached: BTreeMap<PartitionId, Reached>,
    /// Partitions that are at their end with it.
    ended: Vec<PartitionId>,
}

/// What a look at the sources came to.
#[derive(Debug)]
pub(super) enum Look {
    /// So many chunks, each at the place of its lane.
    Chunks(Vec<Chunk>),
    /// Nothing now, maybe more later.
    Nothing,
    /// The epoch has all that it is to have of this worker.
    Over,
}

impl Reading {
    pub(super) fn new(inputs: Inputs, share: Share, options: ReadOptions, wake: Wake) -> Self {
        let woken = Arc::new(AtomicBool::new(true));
        let wake: Wake = {
            let woken = Arc::clone(&woken);
            Arc::new(move || {
                woken.store(true, Release);
                wake();
            })
        };
        Reading {
            inputs,
            share,
            options,
            wake,
            woken,
            quiet: 0,
            pool: Pool::default(),
            partitions: BTreeMap::new(),
            readers: BTreeMap::new(),
            turn: 0,
            epoch: None,
            exact: false,
            damaged: 0,
            gone: 0,
        }
    }

    /// All that was read of `partition` has been shown.
    pub(super) fn done(&self, partition: &Partition) {
        self.inputs.sources[partition.source as usize].done(&partition.found);
    }

    /// Whether a partition could not be read to its end.
    pub(super) fn has_damage(&self) -> bool {
        self.damaged > 0
    }

    /// Nothing more is read: says how many partitions were damaged, where not all of them were named.
    pub(super) fn finish(&self) {
        if self.damaged > NAMED {
            log::error!(
                "{} files in all could not be read to their end by worker {}; the first {NAMED} are named above",
                self.damaged,
                self.share.worker
            );
        }
        if self.gone > NAMED {
            log::warn!(
                "of {} partitions in all something had gone before worker {} could read it; the first {NAMED} are named above",
                self.gone,
                self.share.worker
            );
        }
    }

    /// What is to be read of `limit` has gone: without it, if that is how the run is to go on.
    fn miss(&mut self, fault: SourceError, limit: Limit, epoch: &mut Epoch) -> Result<(), SourceError> {
        let at = self.readers.get(&limit.partition).map_or(limit.from, |open| open.offset().max(limit.from));
        // Up to there it has been read, although not all of it has been given.
        let at = if let SourceError::Shrunk { offset, .. } = &fault { at.max(*offset) } else { at };
        if !fault.is_loss() {
            return Err(fault);
        }
        if self.options.on_data_loss == OnDataLoss::Fail {
            let name = self.partitions.get(&limit.partition).map(|it| it.found.name.to_string());
            let Some(partition) = name.filter(|_| self.exact) else { return Err(fault) };
            let reason = fault.to_string().lines().next().unwrap_or_default().to_owned();
            return Err(SourceError::Lost { partition, offset: at, reason, hint: AGAIN });
        }
        self.gone += 1;
        log::log!(
            if self.gone <= NAMED { log::Level::Warn } else { log::Level::Debug },
            "{fault}\n  the run goes on without what is missing, as --on-data-loss=continue says"
        );
        let reached = epoch.reached.get_mut(&limit.partition).expect("a limit has what was reached");
        let known = Some(limit.upto).filter(|upto| *upto < u64::MAX);
        (reached.ended, reached.gone) = (true, true);
        reached.lost = known.map_or(0, |upto| upto.saturating_sub(at));
        Ok(())
    }

    /// Takes in what the conductor has found; `check` says whether to look if this process has it, too.
    pub(super) fn learn(&mut self, new: &[Partition], check: bool) -> Result<(), SourceError> {
        for partition in new {
            if check {
                self.inputs.sources[partition.source as usize].check(&partition.found)?;
            }
            if partition.reader(self.share.peers).is_none_or(|reader| reader == self.share.worker) {
                self.partitions.insert(partition.id, partition.clone());
            }
        }
        Ok(())
    }

    /// Begins to read what `opened` says.
    pub(super) fn begin(&mut self, opened: &Opened) {
        let mut lanes: BTreeMap<(u32, PartitionId), VecDeque<Limit>> = BTreeMap::new();
        let mut reached = BTreeMap::new();
        for limit in &opened.limits {
            let Some(partition) = self.partitions.get(&limit.partition) else { continue };
            let source = &self.inputs.sources[partition.source as usize];
            let lane = if source.is_sequence() { PartitionId(0) } else { partition.id };
            lanes.entry((partition.source, lane)).or_default().push_back(*limit);
            let nothing = Reached { offset: limit.from, ..Reached::nothing(limit.partition) };
            reached.insert(limit.partition, nothing);
        }
        let lanes = lanes.into_values().collect();
        let Opened { arrived, hold, stop, exact, .. } = *opened;
        self.exact = exact;
        let ended = opened.ended.clone();
        self.epoch = Some(Epoch { arrived, hold, stop, lanes, reached, ended });
    }

    /// Live sources are read no further in this epoch. One in which they stop takes all that they have.
    pub(super) fn close(&mut self) {
        if let Some(epoch) = self.epoch.as_mut().filter(|epoch| !epoch.stop) {
            epoch.hold = false;
            // What could be read on without end is left where it is.
            for lane in &mut epoch.lanes {
                let live = |limit: &Limit| self.readers.get(&limit.partition).is_none_or(|open| open.live);
                lane.retain(|limit| !live(limit));
            }
        }
    }

    /// Reads at most a chunk of each lane.
    pub(super) fn look(&mut self) -> Result<Look, SourceError> {
        let Some(mut epoch) = self.epoch.take() else { return Ok(Look::Nothing) };
        let result = self.look_at(&mut epoch);
        self.epoch = Some(epoch);
        result
    }

    fn look_at(&mut self, epoch: &mut Epoch) -> Result<Look, SourceError> {
        let mut chunks = Vec::new();
        // Where a rate is bounded, those that come first take first: each time others do.
        let lanes = epoch.lanes.len();
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn.checked_rem(lanes).unwrap_or(0);
        let room = !self.inputs.are_limited()
            || self.readers.values().map(|open| open.bytes).sum::<usize>() < ALL_AHEAD;
        for at in (first..lanes).chain(0..first) {
            while let Some(limit) = epoch.lanes[at].front().copied() {
                let with = (self.share, self.options, &self.wake);
                let (readers, woken) = (&mut self.readers, &self.woken);
                let opened = Self::open(readers, &self.partitions, &self.inputs, with, woken, limit);
                let polled = opened.and_then(|open| {
                    if epoch.stop {
                        open.reader.stop();
                    }
                    // What was taken from outside has to go, and what is read again goes as fast as it can.
                    let slowly = open.throttle.is_some() && !epoch.stop && !self.exact;
                    let step = match slowly {
                        true => open.poll_slowly(limit.upto, &self.pool, lanes as u64, room),
                        false => open.poll(limit.upto, &self.pool),
                    };
                    Ok((step?, open))
                });
                let (step, open) = match polled {
                    Ok(polled) => polled,
                    Err(fault) => {
                        self.miss(fault, limit, epoch)?;
                        epoch.lanes[at].pop_front();
                        continue;
                    }
                };
                let lane = &mut epoch.lanes[at];
                let reached = epoch.reached.get_mut(&limit.partition).expect("a limit has what was reached");
                match step {
                    Step::Chunk(mut chunk) => {
                        let partition = &self.partitions[&limit.partition];
                        chunk.arrived = epoch.arrived;
                        chunk.partition = limit.partition;
                        chunk.head = Arc::clone(&open.head);
                        chunk.input = self.inputs.inputs[partition.source as usize];
                        reached.bytes += chunk.consumed;
                        reached.caught_up = false;
                        chunks.push(chunk);
                        break;
                    }
                    Step::Reached => {
                        // Of a live source the rest is in the next epoch, and what comes behind it after that.
                        if open.live {
                            lane.clear();
                            break;
                        }
                    }
                    Step::CaughtUp => {
                        reached.caught_up = open.is_at_end();
                        reached.held_back = open.held_back;
                        // What is read as it was before is under way, where it is not there.
                        let hold = epoch.hold || self.exact && !reached.caught_up;
                        let waiting = if epoch.stop { !open.reader.has_stopped() } else { hold };
                        if waiting {
                            break;
                        }
                        if open.live {
                            lane.clear();
                            break;
                        }
                    }
                    Step::Ended => reached.ended = true,
                    Step::Damaged(fault) => {
                        self.damaged += 1;
                        log::log!(
                            if self.damaged <= NAMED { log::Level::Error } else { log::Level::Debug },
                            "{fault}\n  what stands before it counts, and what comes after is lost"
                        );
                        reached.ended = true;
                    }
                }
                lane.pop_front();
            }
        }
        epoch.lanes.retain(|lane| !lane.is_empty());
        Ok(match (chunks.is_empty(), epoch.lanes.is_empty()) {
            (false, _) => Look::Chunks(chunks),
            (true, true) => Look::Over,
            (true, false) => Look::Nothing,
        })
    }

    fn open<'a>(
        readers: &'a mut BTreeMap<PartitionId, Open>,
        partitions: &BTreeMap<PartitionId, Partition>,
        inputs: &Inputs,
        (share, options, wake): (Share, ReadOptions, &Wake),
        woken: &AtomicBool,
        limit: Limit,
    ) -> Result<&'a mut Open, SourceError> {
        use std::collections::btree_map::Entry;
        match readers.entry(limit.partition) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                let partition = &partitions[&limit.partition];
                let source = &inputs.sources[partition.source as usize];
                woken.store(true, Release);
                // The first chunks of many small files are not all for the first worker.
                let turn = limit.partition.0 as usize % share.peers;
                let worker = (share.worker + share.peers - turn) % share.peers;
                let share =
                    if partition.found.access == Access::Shared { Share { worker, ..share } } else { share };
                let read = || source.open(&partition.found, limit.from, share, options, Arc::clone(wake));
                let reader = match inputs.spool.as_ref().filter(|_| !source.is_replayable()) {
                    None => read()?,
                    Some(spool) if spool.is_own(partition) => spool.keeping(partition.clone(), read()?),
                    Some(spool) => spool.reread(partition, limit.from, source.envelope(options))?,
                };
                let live = !source.is_bounded();
                let head = source.head(&partition.found)?.into();
                let (unit, ahead) = (source.offset_unit(), VecDeque::new());
                let throttle = Throttle::of(source, inputs.part, inputs.tick);
                let begin = reader.offset();
                Ok(entry.insert(Open {
                    reader,
                    live,
                    head,
                    ahead,
                    bytes: 0,
                    ended: false,
                    failed: None,
                    throttle,
                    held_back: false,
                    unit,
                    begin,
                    lost: 0,
                }))
            }
        }
    }

    /// Reads ahead of the next epoch, as far as there is room; returns whether anything waits that may be read, and whether there is no
    /// more room.
    pub(super) fn read_ahead(&mut self) -> Result<(bool, bool), SourceError> {
        // There may be ten thousand that are all quiet. Sources wake who reads them; and should one not do so, it is looked all the
        // same once in a while.
        let woken = self.woken.swap(false, Acquire);
        if !woken && (1..Self::QUIET).contains(&self.quiet) {
            self.quiet += 1;
            return Ok((false, false));
        }
        let (mut any, mut full, mut held_back) = (false, false, false);
        let live = self.readers.values().filter(|open| open.live).count();
        let room = (ALL_AHEAD / live.max(1)).clamp(LEAST_AHEAD, AHEAD);
        let mut all: usize = self.readers.values().map(|open| open.bytes).sum();
        let mut now = None;
        for open in self.readers.values_mut().filter(|open| open.live && !self.exact) {
            // A chunk may be larger than the part of one among very many.
            if !open.ended && open.failed.is_none() && open.bytes < room && all < ALL_AHEAD {
                let before = open.bytes;
                let step = match open.reader.poll(u64::MAX, &self.pool) {
                    // The epoch that has come to it says what is done about it.
                    Err(fault) if fault.is_loss() && self.options.on_data_loss == OnDataLoss::Continue => {
                        open.failed = Some(fault);
                        any = true;
                        continue;
                    }
                    step => step?,
                };
                match step {
                    Step::Chunk(chunk) => open.keep(chunk),
                    Step::Ended => {
                        open.ended = true;
                        any = true;
                    }
                    Step::Damaged(fault) => return Err(fault),
                    Step::Reached | Step::CaughtUp => {}
                }
                all += open.bytes - before;
            }
            match &mut open.throttle {
                // However much of it waits, an epoch that goes on would not have more of it.
                Some(throttle) if !open.ahead.is_empty() => {
                    held_back = true;
                    any = any || throttle.allowed(*now.get_or_insert_with(clock::now)) > 0;
                }
                _ => {
                    any |= !open.ahead.is_empty();
                    full |= open.bytes >= room || all >= ALL_AHEAD;
                }
            }
        }
        self.quiet = u32::from(!any && !full && !held_back);
        Ok((any, full))
    }

    /// Times that nothing is looked for before it is again: a second's worth.
    const QUIET: u32 = 20;

    /// How far the partitions of the epoch were read, which ends with this.
    ///
    /// # Errors
    ///
    /// When what was read cannot be kept.
    pub(super) fn end(&mut self) -> Result<BTreeMap<PartitionId, Reached>, SourceError> {
        if let Some(spool) = self.inputs.spool.as_ref().filter(|_| self.inputs.syncs) {
            let failed = |error: StorageError| SourceError::Spool {
                partition: "this process".to_owned(),
                reason: error.to_string(),
            };
            spool.sync().map_err(failed)?;
        }
        let (mut reached, ended) = match self.epoch.take() {
            Some(epoch) => (epoch.reached, epoch.ended),
            None => return Ok(BTreeMap::new()),
        };
        for partition in ended {
            match reached.get_mut(&partition) {
                Some(reached) => reached.ended = true,
                None => {
                    self.readers.remove(&partition);
                    self.partitions.remove(&partition);
                }
            }
        }
        for (partition, reached) in &mut reached {
            if let Some(open) = self.readers.get_mut(partition) {
                let lost = open.reader.lost();
                reached.lost += lost - std::mem::replace(&mut open.lost, lost);
                reached.offset = reached.offset.max(open.offset());
                reached.begin = open.begin;
                reached.behind = if reached.caught_up || reached.ended { Some(0) } else { open.behind() };
            }
            if reached.ended {
                self.readers.remove(partition);
                self.partitions.remove(partition);
            }
        }
        Ok(reached)
    }
}
