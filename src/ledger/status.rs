//! How far the sources of a run have been read, and how far behind them it is: what people and programs that watch it are shown.
//!
//! It is no part of the ledger: how much a source has that was not read is no function of the records, and no answer depends on it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::record::Reached;
use crate::source::{OffsetUnit, Partition, PartitionId};
use crate::time::Time;

/// How far one partition has been read, as of the last epoch that was sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Up to which offset, in the unit of its source.
    pub offset: u64,
    /// Lines of it that have been read in this run.
    pub lines: u64,
    /// How much its source has beyond the offset, in the same unit; `None` where that cannot be known.
    pub behind: Option<u64>,
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
    /// Since when, in the time of the run, there has been something that was not read; `None` while there is nothing.
    pub behind_since: Option<Duration>,
    /// The newest event time of its records.
    pub newest: Option<Time>,
}

/// When an epoch was opened and sealed, in the time of the run.
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

/// What is shown of the sources.
#[derive(Clone, Debug, Default)]
pub struct Status {
    sources: Vec<SourceStatus>,
    /// Bytes of those that have an end.
    totals: Vec<Option<u64>>,
    partitions: BTreeMap<PartitionId, (u32, PartitionStatus)>,
    /// Partitions that came to their end, the last of them.
    ended: VecDeque<(u32, PartitionStatus)>,
    /// Epochs that were sealed, the last of them.
    epochs: VecDeque<EpochTimes>,
}

impl Status {
    /// So many partitions that have ended, and epochs, are remembered for whoever looks.
    const REMEMBERED: usize = 1000;

    pub(super) fn add_source(&mut self, uri: &str, unit: OffsetUnit, bounded: bool) {
        self.sources.push(SourceStatus { uri: uri.to_owned(), unit, ..SourceStatus::default() });
        self.totals.push(bounded.then_some(0));
    }

    /// Forgets the partitions: others are added in their place.
    pub(super) fn clear(&mut self) {
        self.partitions.clear();
        self.sources.iter_mut().for_each(|source| source.partitions = 0);
        self.totals.iter_mut().flatten().for_each(|total| *total = 0);
    }

    pub(super) fn add_partition(&mut self, partition: &Partition, offset: u64) {
        let source = partition.source as usize;
        if let (Some(status), Some(total)) = (self.sources.get_mut(source), self.totals.get_mut(source)) {
            status.partitions += 1;
            let bytes = partition.found.bytes.saturating_sub(offset);
            *total = total.map(|total| total.saturating_add(bytes));
        }
        let name = Arc::clone(&partition.found.name);
        let status = PartitionStatus { name, offset, lines: 0, behind: None, ended: false };
        self.partitions.insert(partition.id, (partition.source, status));
    }

    /// An epoch was sealed, in which that was `reached`.
    pub(super) fn seal(&mut self, mut times: EpochTimes, reached: &BTreeMap<PartitionId, Reached>) {
        let mut touched = Vec::new();
        for (id, one) in reached {
            let Some((source, partition)) = self.partitions.get_mut(id) else { continue };
            let source = *source;
            partition.offset = partition.offset.max(one.offset);
            partition.lines += one.lines;
            partition.behind = one.behind;
            times.lines += one.lines;
            if !touched.contains(&source) {
                touched.push(source);
            }
            if let Some(status) = self.sources.get_mut(source as usize) {
                status.lines += one.lines;
                status.bytes += one.bytes;
                let newest = (!one.times.is_nothing()).then_some(Time(one.times.newest));
                status.newest = status.newest.max(newest);
                status.partitions -= usize::from(one.ended);
            }
            if one.ended
                && let Some((source, mut partition)) = self.partitions.remove(id)
            {
                partition.ended = true;
                self.ended.push_back((source, partition));
            }
        }
        let caught_up = |source: u32| {
            if self.totals.get(source as usize).is_some_and(Option::is_some) {
                return false;
            }
            // One of which nothing was to be read in this epoch is where it was.
            let of_it = self.partitions.iter().filter(|(_, (of, _))| *of == source);
            of_it.map(|(id, _)| reached.get(id)).all(|one| one.is_some_and(|one| one.caught_up))
        };
        let caught_up: Vec<_> = touched.iter().map(|source| (*source, caught_up(*source))).collect();
        for (source, caught_up) in caught_up {
            let behind = match self.totals.get(source as usize).copied().flatten() {
                Some(total) => {
                    let read = self.sources.get(source as usize).map_or(0, |status| status.bytes);
                    Some(total.saturating_sub(read))
                }
                None => {
                    let of_it = self.partitions.values().filter(|(of, _)| *of == source);
                    let (mut known, mut sum) = (caught_up, 0u64);
                    for (_, partition) in of_it {
                        known |= partition.behind.is_some();
                        sum = sum.saturating_add(partition.behind.unwrap_or(0));
                    }
                    known.then_some(sum)
                }
            };
            if let Some(status) = self.sources.get_mut(source as usize) {
                status.behind = behind;
                status.behind_since = match caught_up || status.partitions == 0 {
                    true => None,
                    false => status.behind_since.or(Some(times.opened)),
                };
            }
        }
        self.epochs.push_back(times);
        self.epochs.drain(..self.epochs.len().saturating_sub(Self::REMEMBERED));
        self.ended.drain(..self.ended.len().saturating_sub(Self::REMEMBERED));
    }

    /// The sources, in the order in which they were given.
    pub fn sources(&self) -> &[SourceStatus] {
        &self.sources
    }

    /// The partitions of source `source` that are not at their end, and the last of those that are.
    pub fn partitions(&self, source: usize) -> impl Iterator<Item = &PartitionStatus> {
        let all = self.ended.iter().chain(self.partitions.values());
        all.filter(move |(of, _)| *of as usize == source).map(|(_, status)| status)
    }

    /// The epochs before `committed` that were sealed, each once: the last thousand, if nobody has looked for long.
    pub(crate) fn take_epochs(&mut self, committed: u64) -> Vec<EpochTimes> {
        let over = self.epochs.partition_point(|times| times.epoch < committed);
        self.epochs.drain(..over).collect()
    }

    /// Forgets the partitions that are at their end, which have been shown.
    pub(crate) fn forget_ended(&mut self) {
        self.ended.clear();
    }
}
