//! How far the sources of a run have been read, and how far behind them it is: what people and programs that watch it are shown.
//!
//! It is no part of the ledger: how much a source has that was not read is no function of the records, and no answer depends on it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::record::Reached;
use crate::source::{OffsetUnit, Partition, PartitionId};
use crate::time::Time;

/// How far one partition has been read, as of the last epoch that was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its number in this run: names may be those of several, such as a log and the one that was rotated away.
    pub id: PartitionId,
    /// Its name.
    pub name: Arc<str>,
    /// At which offset this run began to read it, in the unit of its source.
    pub begin: u64,
    /// Up to which offset it has been read.
    pub offset: u64,
    /// Lines of it that have been read in this run.
    pub lines: u64,
    /// How much its source has beyond the offset, in the same unit; `None` where that cannot be known.
    pub behind: Option<u64>,
    /// Since when, from the start of the run, there has been something that was not read; `None` while there is nothing.
    pub behind_since: Option<Duration>,
    /// Whether it is at its end for good.
    pub ended: bool,
}

/// How far one source has been read, as of the last epoch that was sealed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceStatus {
    /// Its URI.
    pub uri: String,
    /// What its offsets count.
    pub unit: OffsetUnit,
    /// Lines that have been read in this run.
    pub lines: u64,
    /// Bytes that have been read.
    pub bytes: u64,
    /// Partitions that are not at their end.
    pub partitions: usize,
    /// How much it has that was not read: bytes of one that has an end, and otherwise in the unit of its offsets, as far as that is
    /// known. `None` where it is not known of any partition.
    pub behind: Option<u64>,
    /// Since when, from the start of the run, one of its partitions has had something that was not read; `None` while none has.
    pub behind_since: Option<Duration>,
    /// The newest event time of its records.
    pub newest: Option<Time>,
    /// How much of it had gone before it could be read in this run, or read again, in the unit of its offsets, as far as that is known.
    pub lost: u64,
}

/// When an epoch was opened and sealed, from the start of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochTimes {
    /// The epoch.
    pub epoch: u64,
    /// Lines read in it.
    pub lines: u64,
    /// When it was opened.
    pub opened: Duration,
    /// When it was sealed.
    pub sealed: Duration,
}

/// What is kept of one source.
#[derive(Clone, Debug)]
struct Kept {
    /// What adds up; what follows from the partitions is worked out for whoever asks.
    status: SourceStatus,
    /// Bytes of one that has an end.
    total: Option<u64>,
    partitions: BTreeMap<PartitionId, PartitionStatus>,
    /// Partitions that came to their end since they were last taken, the last of them.
    ended: VecDeque<PartitionStatus>,
    /// Partitions that have moved since they were last taken.
    moved: BTreeSet<PartitionId>,
}

/// What is shown of the sources.
#[derive(Clone, Debug, Default)]
pub struct Status {
    sources: Vec<Kept>,
    /// The source of each partition.
    of: HashMap<PartitionId, u32>,
    /// Epochs that were sealed, the last of them.
    epochs: VecDeque<EpochTimes>,
}

impl Status {
    /// So many partitions of a source that have ended, and epochs, are remembered for whoever looks.
    const REMEMBERED: usize = 1000;

    pub(super) fn add_source(&mut self, uri: &str, unit: OffsetUnit, bounded: bool) {
        self.sources.push(Kept {
            status: SourceStatus { uri: uri.to_owned(), unit, ..SourceStatus::default() },
            total: bounded.then_some(0),
            partitions: BTreeMap::new(),
            ended: VecDeque::new(),
            moved: BTreeSet::new(),
        });
    }

    /// Forgets the partitions: others are added in their place.
    pub(super) fn clear(&mut self) {
        self.of.clear();
        for source in &mut self.sources {
            source.partitions.clear();
            source.total = source.total.map(|_| 0);
        }
    }

    pub(super) fn add_partition(&mut self, partition: &Partition, offset: u64) {
        let Some(source) = self.sources.get_mut(partition.source as usize) else { return };
        // Of what is compressed, the offset is not in the bytes that there are.
        let plain = partition.found.length.is_some();
        let bytes = partition.found.bytes.saturating_sub(if plain { offset } else { 0 });
        source.total = source.total.map(|total| total.saturating_add(bytes));
        self.of.insert(partition.id, partition.source);
        let status = PartitionStatus {
            id: partition.id,
            name: Arc::clone(&partition.found.name),
            begin: offset,
            offset,
            lines: 0,
            behind: None,
            behind_since: None,
            ended: false,
        };
        source.partitions.insert(partition.id, status);
    }

    /// An epoch was sealed, in which that was `reached`.
    pub(super) fn seal(&mut self, mut times: EpochTimes, reached: &BTreeMap<PartitionId, Reached>) {
        for (id, one) in reached {
            let source = self.of.get(id).and_then(|of| self.sources.get_mut(*of as usize));
            let Some(source) = source else { continue };
            let Some(partition) = source.partitions.get_mut(id) else { continue };
            if partition.lines == 0 {
                partition.begin = partition.begin.max(one.begin);
            }
            if partition.offset < one.offset || one.lines > 0 {
                source.moved.insert(*id);
            }
            partition.offset = partition.offset.max(one.offset);
            partition.lines += one.lines;
            partition.behind = one.behind;
            let is_behind = !one.caught_up && !one.ended;
            partition.behind_since = is_behind.then(|| partition.behind_since.unwrap_or(times.opened));
            times.lines += one.lines;
            source.status.lines += one.lines;
            source.status.bytes += one.bytes;
            let newest = (!one.times.is_nothing()).then_some(Time(one.times.newest));
            source.status.newest = source.status.newest.max(newest);
            if one.ended
                && let Some(mut partition) = source.partitions.remove(id)
            {
                // Of what has gone, more may be missed.
                if !one.gone {
                    self.of.remove(id);
                }
                source.moved.remove(id);
                partition.ended = true;
                if source.ended.len() == Self::REMEMBERED {
                    source.ended.pop_front();
                }
                source.ended.push_back(partition);
            }
        }
        if self.epochs.len() == Self::REMEMBERED {
            self.epochs.pop_front();
        }
        self.epochs.push_back(times);
    }

    /// So much of a partition has gone that was to be read.
    pub(super) fn lose(&mut self, partition: PartitionId, lost: u64) {
        let source = self.of.get(&partition).and_then(|of| self.sources.get_mut(*of as usize));
        source.into_iter().for_each(|source| source.status.lost += lost);
    }

    /// The sources, in the order in which they were given.
    pub fn sources(&self) -> impl Iterator<Item = SourceStatus> {
        self.sources.iter().map(|source| {
            let all = source.partitions.values();
            let known = all.clone().filter_map(|partition| partition.behind);
            let behind = match source.total {
                Some(total) => Some(total.saturating_sub(source.status.bytes)),
                None if all.len() == 0 => Some(0),
                None => known.clone().next().map(|_| known.fold(0, u64::saturating_add)),
            };
            // One that has an end is read as fast as it can be, and behind until then.
            let bounded = source.total.is_some();
            let since = all.clone().filter_map(|partition| partition.behind_since).min();
            SourceStatus {
                partitions: all.len(),
                behind,
                behind_since: since.filter(|_| !bounded),
                ..source.status.clone()
            }
        })
    }

    /// The partitions of source `source` that have moved since this was last asked, and those that came to their end: the last of
    /// them, if nobody has asked for long.
    pub(crate) fn take_moved(&mut self, source: usize) -> Vec<PartitionStatus> {
        let Some(source) = self.sources.get_mut(source) else { return Vec::new() };
        let moved = std::mem::take(&mut source.moved);
        let moved = moved.iter().filter_map(|id| source.partitions.get(id)).cloned();
        source.ended.drain(..).chain(moved).collect()
    }

    /// The epochs before `committed` that were sealed, each once: the last thousand, if nobody has looked for long.
    pub(crate) fn take_epochs(&mut self, committed: u64) -> Vec<EpochTimes> {
        let over = self.epochs.partition_point(|times| times.epoch < committed);
        self.epochs.drain(..over).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Access, Found};

    fn partition(id: u32, bytes: u64) -> Partition {
        let found = Found {
            name: format!("test:{id}").into(),
            identity: id.to_string(),
            access: Access::Sequential,
            length: Some(bytes),
            bytes,
            detail: String::new(),
        };
        Partition { id: PartitionId(id), source: 0, found }
    }

    fn reached(id: u32, offset: u64, lines: u64, behind: u64) -> (PartitionId, Reached) {
        let id = PartitionId(id);
        let nothing = Reached::nothing(id);
        let caught_up = behind == 0;
        (id, Reached { offset, lines, bytes: offset, caught_up, behind: Some(behind), begin: 3, ..nothing })
    }

    fn times(epoch: u64) -> EpochTimes {
        let opened = Duration::from_secs(epoch);
        EpochTimes { epoch, lines: 0, opened, sealed: opened }
    }

    /// Two that are behind in turns are never behind for longer than each of them.
    #[test]
    fn lag_is_that_of_the_partition_that_is_behind_longest() {
        let mut status = Status::default();
        status.add_source("test:", OffsetUnit::Bytes, false);
        [0, 1].iter().for_each(|id| status.add_partition(&partition(*id, 0), 0));
        for epoch in 0..10 {
            let (first, second) = if epoch % 2 == 0 { (7, 0) } else { (0, 5) };
            let offset = 10 + epoch;
            let reached = [reached(0, offset, 1, first), reached(1, offset, 1, second)];
            status.seal(times(epoch), &reached.into_iter().collect());
            let source = status.sources().next().expect("there is one");
            assert_eq!(source.behind, Some(first + second));
            assert_eq!(source.behind_since, Some(Duration::from_secs(epoch)));
            let moved = status.take_moved(0);
            assert_eq!(moved.iter().map(|it| (it.begin, it.offset)).collect::<Vec<_>>(), [(3, offset); 2]);
        }
        assert_eq!(status.take_moved(0), []);
        assert_eq!(status.take_epochs(4).len(), 4);
        assert_eq!(status.take_epochs(u64::MAX).iter().map(|it| it.lines).sum::<u64>(), 12);
    }

    /// Who has ended is told once; and what has an end is behind by its bytes.
    #[test]
    fn what_has_an_end_is_behind_by_what_is_left_of_it() {
        let mut status = Status::default();
        status.add_source("test:", OffsetUnit::Bytes, true);
        [0, 1].iter().for_each(|id| status.add_partition(&partition(*id, 100), 0));
        let (id, one) = reached(0, 100, 4, 0);
        status.seal(times(0), &[(id, Reached { ended: true, ..one })].into_iter().collect());
        let source = status.sources().next().expect("there is one");
        assert_eq!((source.behind, source.partitions, source.lines), (Some(100), 1, 4));
        let ended: Vec<_> = status.take_moved(0).iter().map(|it| (it.id, it.ended)).collect();
        assert_eq!(ended, [(PartitionId(0), true)]);
        assert_eq!(status.take_moved(0), []);
    }
}
