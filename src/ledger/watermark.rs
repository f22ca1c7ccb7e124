//! The watermark: a function of the ledger.
//!
//! Notation: a partition's *newest* is the greatest event time that was read of it. Its watermark is the newest less the
//! lateness. The watermark of the dataflow is the least over partitions that are neither at their end nor idle, and it
//! never falls.
//!
//! - The partitions of a *sequence* (the files of a rotated log) count as one: what is read next is expected to be newer.
//! - A partition that was not heard of yet holds the watermark while it has something to say, that is, until it has caught
//!   up with its source.
//! - A partition is *idle* when it has caught up with its source and nothing was read of it for the idle timeout, by the
//!   arrival of epochs.
//! - Where every partition is idle, event time goes on without them, by the arrival of epochs: from where the watermark stood, at
//!   the pace of the clock. Records that came at about the time that they tell are of a source that keeps up with the clock: there
//!   the watermark goes on from the clock itself, less the lateness, so that a silence shows what it means as soon as it is one, and
//!   not as much later as the last record was old. (A source is taken for such if it lags by no more than a record may
//!   be ahead; the times of an old log in a pipe that pauses stay its own.)
//! - Where every partition is at its end, the one that came furthest counts.
//!
//! The end of input is an event of the run, and no part of this state: a run that ended can be given more.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::record::EpochRecord;
use crate::source::{Partition, PartitionId};
use crate::time::{Clock, EventTime, Millis, TimeOptions, Watermark, millis};

/// What is known of one partition, or of a sequence of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Lane {
    /// The greatest event time, if there was one.
    newest: Option<Millis>,
    /// When a record with a time last arrived, or else when its first epoch did.
    heard: Millis,
    caught_up: bool,
    ended: bool,
}

/// What counts as one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum LaneId {
    /// The partitions of a source that is a sequence.
    Sequence(u32),
    /// A partition.
    Partition(PartitionId),
}

/// What the watermark is worked out of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatermarkState {
    lanes: Vec<(LaneId, Lane)>,
    /// What each partition that is not at its end counts to.
    of: Vec<(PartitionId, LaneId)>,
    event_time: EventTime,
    arrived: Millis,
}

/// How far apart epochs are in a silence: so often event time goes on.
const PACE: Millis = 1000;

/// Works out the watermark.
#[derive(Clone, Debug)]
pub(super) struct Watermarks {
    options: TimeOptions,
    lanes: BTreeMap<LaneId, Lane>,
    of: BTreeMap<PartitionId, LaneId>,
    names: BTreeMap<PartitionId, std::sync::Arc<str>>,
    /// Partitions of which a time was read.
    heard: BTreeSet<PartitionId>,
    event_time: EventTime,
    /// The latest arrival so far.
    arrived: Millis,
    /// Partitions whose first records were all too late for windows.
    behind: u64,
}

/// So many partitions are named that begin too late; of ten thousand files that are read in the wrong order, most do.
const NAMED: u64 = 5;

impl Watermarks {
    pub(super) fn new(options: TimeOptions) -> Self {
        Watermarks {
            options,
            lanes: BTreeMap::new(),
            of: BTreeMap::new(),
            names: BTreeMap::new(),
            heard: BTreeSet::new(),
            event_time: EventTime::NONE,
            arrived: Millis::MIN,
            behind: 0,
        }
    }

    /// As of the end of the last epoch.
    pub(super) fn event_time(&self) -> EventTime {
        self.event_time
    }

    /// Partition `partition` is to be read, as part of a sequence or for itself.
    pub(super) fn add(&mut self, partition: &Partition, in_sequence: bool, arrived: Millis) {
        let lane = match in_sequence {
            true => LaneId::Sequence(partition.source),
            false => LaneId::Partition(partition.id),
        };
        self.of.insert(partition.id, lane);
        self.names.insert(partition.id, partition.found.name.clone());
        let lane = self.lanes.entry(lane).or_insert(Lane {
            newest: None,
            heard: arrived,
            caught_up: false,
            ended: false,
        });
        lane.ended = false;
    }

    /// Nothing more is read: says how many partitions began too late, where not all of them were named.
    pub(super) fn finish(&self) {
        if self.behind > NAMED {
            log::warn!(
                "{} files or other inputs in all began with records older than what was read before them, by more than \
                 --lateness; the first {NAMED} are named above",
                self.behind
            );
        }
    }

    /// What is known of event time as the epoch of `record` ends; `more` says of a sequence whether it goes on.
    pub(super) fn seal(&mut self, record: &EpochRecord, more: impl Fn(u32) -> bool) -> EventTime {
        self.arrived = self.arrived.max(record.arrived.0);
        for read in record.reads.iter().filter(|read| !read.times.is_nothing()) {
            if self.heard.insert(read.partition)
                && self.options.clock == Clock::Event
                && self.event_time.watermark.reaches(read.times.newest)
            {
                self.behind += 1;
                let name = self.names.get(&read.partition).map_or("?", |name| name);
                log::log!(
                    if self.behind <= NAMED { log::Level::Warn } else { log::Level::Debug },
                    "all that has been read of {name} so far is older than what was read before it, by more than \
                     --lateness: windows refuse it as too late\n  hint: read older files first, or raise --lateness"
                );
            }
            if let Some(lane) = self.of.get(&read.partition).and_then(|id| self.lanes.get_mut(id)) {
                lane.newest = lane.newest.max(Some(read.times.newest));
                lane.heard = self.arrived;
            }
            self.event_time.oldest = self.event_time.oldest.min(read.times.oldest);
            self.event_time.newest = self.event_time.newest.max(read.times.newest);
        }
        for (partition, lane) in &self.of {
            if let Some(lane) = self.lanes.get_mut(lane) {
                // There may be ten thousand that are all quiet.
                lane.caught_up = record.caught_up.binary_search(partition).is_ok();
            }
        }
        for partition in &record.ended {
            let Some(id) = self.of.remove(partition) else { continue };
            let goes_on = matches!(id, LaneId::Sequence(source) if more(source));
            let waits = goes_on && self.of.values().all(|other| *other != id);
            if let Some(lane) = self.lanes.get_mut(&id) {
                lane.ended = !goes_on;
                // Of a sequence that may go on, nothing is there now.
                lane.caught_up |= waits;
            }
            self.heard.remove(partition);
            self.names.remove(partition);
        }
        let watermark = self.estimate().map_or(Watermark::NONE, Watermark::at);
        self.event_time.watermark = self.event_time.watermark.max(watermark);
        // One that has ended counts only where there is no other, and then only the furthest.
        if self.lanes.values().any(|lane| !lane.ended) {
            self.lanes.retain(|_, lane| !lane.ended);
        }
        self.event_time
    }

    /// The same as [`Watermarks::seal`] of an epoch that was sealed before, `record`, and is read again: `known` is what was known
    /// of event time as it ended.
    pub(super) fn seal_again(
        &mut self,
        record: &EpochRecord,
        known: EventTime,
        more: impl Fn(u32) -> bool,
    ) -> EventTime {
        self.seal(record, more);
        self.event_time = known;
        known
    }

    /// Nothing more comes of `partitions`.
    pub(super) fn end(&mut self, partitions: Vec<PartitionId>) {
        for partition in partitions {
            if let Some(lane) = self.of.remove(&partition).and_then(|id| self.lanes.get_mut(&id)) {
                lane.ended = true;
            }
            self.heard.remove(&partition);
            self.names.remove(&partition);
        }
    }

    fn estimate(&self) -> Option<Millis> {
        if self.options.clock == Clock::Arrival {
            // What arrives later has a later time.
            return (self.arrived > Millis::MIN).then_some(self.arrived);
        }
        // Whoever was heard just now is not idle, even if no time at all is allowed.
        let idle = millis(self.options.idle_timeout).max(1);
        let is_idle = |lane: &Lane| lane.caught_up && self.arrived.saturating_sub(lane.heard) >= idle;
        let over = self.going_on().next().is_none();
        if !over && self.going_on().all(is_idle) {
            return self.in_silence(idle);
        }
        let newest = if over {
            self.lanes.values().filter_map(|lane| lane.newest).max()
        } else {
            let mut least = None;
            for lane in self.going_on().filter(|lane| !is_idle(lane)) {
                match lane.newest {
                    Some(newest) => least = Some(least.map_or(newest, |least: Millis| least.min(newest))),
                    None if lane.caught_up => {}
                    None => return None,
                }
            }
            least
        };
        newest.map(|newest| newest.saturating_sub(millis(self.options.lateness)))
    }

    /// What is not at its end.
    fn going_on(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.values().filter(|lane| !lane.ended)
    }

    /// The watermark where all partitions are idle, which each is after so long without a record.
    fn in_silence(&self, idle: Millis) -> Option<Millis> {
        let lateness = millis(self.options.lateness);
        let newest = self.lanes.values().filter_map(|lane| lane.newest).max()?;
        let heard = self.going_on().map(|lane| lane.heard).max()?;
        let since = self.arrived.saturating_sub(heard.saturating_add(idle));
        let gone_on = newest.saturating_sub(lateness).saturating_add(since.max(0));
        let keeps_up =
            heard.saturating_sub(newest).unsigned_abs() <= millis(self.options.max_ahead).unsigned_abs();
        let by_clock = keeps_up.then(|| self.arrived.saturating_sub(lateness));
        by_clock.max(Some(gone_on))
    }

    /// The next arrival of an epoch at which the watermark may move although nothing is read; `None` if never, or if nothing
    /// can come of it, which is so from `behind` the last record on.
    pub(super) fn moves_at(&self, behind: Millis) -> Option<Millis> {
        let newest = Some(self.event_time.newest).filter(|newest| *newest > Millis::MIN)?;
        if self.event_time.watermark.reaches(newest.saturating_add(behind)) {
            return None;
        }
        if self.options.clock == Clock::Arrival {
            return Some(self.arrived.saturating_add(PACE));
        }
        let idle = millis(self.options.idle_timeout).max(1);
        let mut idle_at = None;
        for lane in self.going_on() {
            if !lane.caught_up {
                return None;
            }
            let at = lane.heard.saturating_add(idle);
            let at = if at <= self.arrived { self.arrived.saturating_add(PACE) } else { at };
            idle_at = Some(idle_at.map_or(at, |least: Millis| least.min(at)));
        }
        idle_at
    }

    /// The latest arrival of an epoch.
    pub(super) fn arrived(&self) -> Millis {
        self.arrived
    }

    pub(super) fn state(&self) -> WatermarkState {
        WatermarkState {
            lanes: self.lanes.iter().map(|(id, lane)| (*id, lane.clone())).collect(),
            of: self.of.iter().map(|(partition, lane)| (*partition, *lane)).collect(),
            event_time: self.event_time,
            arrived: self.arrived,
        }
    }

    pub(super) fn restore(&mut self, state: WatermarkState) {
        self.lanes = state.lanes.into_iter().collect();
        self.of = state.of.into_iter().collect();
        self.heard = self.of.keys().copied().collect();
        (self.event_time, self.arrived) = (state.event_time, state.arrived);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Read;
    use crate::source::{Access, Found};
    use crate::time::{Time, TimeRange};

    const SECOND: Millis = 1000;

    /// An epoch: when it arrived, the times read, and the partitions that ended with it.
    type Epochs<'a> = (Millis, &'a [(u32, Millis)], &'a [u32]);

    fn partition(id: u32) -> Partition {
        let found = Found {
            name: id.to_string().into(),
            identity: id.to_string(),
            access: Access::Sequential,
            length: None,
            bytes: 0,
            detail: String::new(),
        };
        Partition { id: PartitionId(id), source: 0, found }
    }

    /// The watermark after each epoch, of partitions that are caught up with whenever an epoch ends.
    fn watermarks(
        options: TimeOptions,
        sequence: bool,
        partitions: u32,
        epochs: &[Epochs<'_>],
    ) -> Vec<Option<Millis>> {
        let mut watermarks = Watermarks::new(options);
        let mut left: Vec<u32> = (0..partitions).collect();
        let open = if sequence { 1 } else { left.len() };
        left.iter().take(open).for_each(|id| watermarks.add(&partition(*id), sequence, 0));
        let mut seen = Vec::new();
        for (epoch, (arrived, times, ended)) in (0..).zip(epochs) {
            let reads = times.iter().map(|(id, time)| {
                let mut times = TimeRange::NOTHING;
                times.include(*time);
                Read { times, ..Read::planned(PartitionId(*id), 1) }
            });
            let reads = reads.collect();
            left.retain(|id| !ended.contains(id));
            let caught_up = left.iter().map(|id| PartitionId(*id)).collect();
            let ended = ended.iter().map(|id| PartitionId(*id)).collect();
            let record = EpochRecord {
                epoch,
                arrived: Time(*arrived),
                reads,
                ended,
                caught_up,
                ..EpochRecord::default()
            };
            let event_time = watermarks.seal(&record, |_| !left.is_empty());
            seen.push(event_time.watermark.millis());
            left.iter().take(1).for_each(|id| watermarks.add(&partition(*id), sequence, *arrived));
        }
        seen
    }

    #[test]
    fn it_is_the_least_of_partitions_that_go_on_and_are_not_idle() {
        let epochs: &[Epochs<'_>] = &[
            (0, &[(0, 100 * SECOND), (1, 50 * SECOND)], &[]),
            // Never falls.
            (0, &[(1, 10 * SECOND)], &[]),
            (0, &[(1, 200 * SECOND)], &[]),
            // The first falls silent, and is idle a minute after its last record.
            (59 * SECOND, &[(1, 300 * SECOND)], &[]),
            (60 * SECOND, &[(1, 300 * SECOND)], &[]),
            // It comes back, behind: it holds, and nothing falls.
            (61 * SECOND, &[(0, 101 * SECOND), (1, 400 * SECOND)], &[]),
            // It ends.
            (61 * SECOND, &[], &[0]),
        ];
        let expected = [40, 40, 90, 90, 290, 290, 390].map(|seconds| Some(seconds * SECOND));
        assert_eq!(watermarks(TimeOptions::default(), false, 2, epochs), expected);
    }

    #[test]
    fn a_partition_with_something_to_say_holds_until_it_is_heard() {
        let mut watermarks = Watermarks::new(TimeOptions::default());
        [0, 1].iter().for_each(|id| watermarks.add(&partition(*id), false, 0));
        let mut seal = |read: u32, caught_up: &[u32]| {
            let mut times = TimeRange::NOTHING;
            times.include(100 * SECOND);
            let reads = vec![Read { times, ..Read::planned(PartitionId(read), 1) }];
            let caught_up = caught_up.iter().map(|id| PartitionId(*id)).collect();
            watermarks
                .seal(&EpochRecord { reads, caught_up, ..EpochRecord::default() }, |_| false)
                .watermark
                .millis()
        };
        assert_eq!(seal(0, &[0]), None);
        // It has caught up with its source, and had nothing to say.
        assert_eq!(seal(0, &[0, 1]), Some(90 * SECOND));
    }

    #[test]
    fn a_sequence_is_as_far_as_any_of_its_partitions_and_ends_with_the_last() {
        let epochs: &[Epochs<'_>] = &[
            (0, &[], &[]),
            (0, &[(0, 100 * SECOND)], &[0]),
            // It begins before the end of the one before it.
            (0, &[(1, 95 * SECOND)], &[]),
            (0, &[(1, 300 * SECOND)], &[1]),
            (0, &[(2, 250 * SECOND)], &[2]),
        ];
        let expected = [None, Some(90), Some(90), Some(290), Some(290)].map(|at| at.map(|at| at * SECOND));
        assert_eq!(watermarks(TimeOptions::default(), true, 3, epochs), expected);
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let options = TimeOptions { lateness: std::time::Duration::MAX, ..TimeOptions::default() };
        let most = crate::time::MOST;
        assert_eq!(watermarks(options, false, 1, &[(0, &[(0, -most)], &[])]), [Some(-2 * most)]);
    }

    #[test]
    fn by_arrival_it_is_the_epochs_own_time() {
        let options = TimeOptions { clock: Clock::Arrival, ..TimeOptions::default() };
        assert_eq!(watermarks(options, false, 1, &[(5, &[(0, 5)], &[]), (9, &[], &[])]), [Some(5), Some(9)]);
    }

    #[test]
    fn what_is_known_survives_the_wire() {
        let mut watermarks = Watermarks::new(TimeOptions::default());
        watermarks.add(&partition(0), false, 7);
        let mut times = TimeRange::NOTHING;
        times.include(SECOND);
        let reads = vec![Read { times, ..Read::planned(PartitionId(0), 1) }];
        watermarks.seal(&EpochRecord { arrived: Time(9), reads, ..EpochRecord::default() }, |_| false);
        let text = serde_json::to_string(&watermarks.state()).expect("it has text for keys");
        let mut other = Watermarks::new(TimeOptions::default());
        other.restore(serde_json::from_str(&text).expect("what was written"));
        assert_eq!(other.state(), watermarks.state());
        assert_eq!(other.event_time(), watermarks.event_time());
    }
}
