//! How bounded sources are cut into epochs.
//!
//! ```text
//! a source is a sequence           │ a.log.1 ··│ a.log ······················│
//! chunks, which never span files   │ 0 │ 1 │ 2 │ 3 │ 4 │ 5 │ 6 │ 7 │ 8 │ 9 │10│
//! epochs, so many chunks each      │       0       │       1       │    2     │
//! ```
//!
//! An epoch holds so many bytes, in whole chunks, at least one of each source; sources are side by side, and share
//! the bytes evenly while they last. The partitions of a sequence follow one another; those of another source are side by
//! side, too.
//!
//! Where a partition's end is not known beforehand (a compressed file), an epoch ends with it: what follows begins with
//! the next. Small ones are the exception, or a thousand of them were a thousand epochs: they are read to their end, and
//! count as [`EXPANSION`] times their size.
//!
//! The cut depends on the partitions and on the size of chunks and epochs. It knows no workers.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::record::Limit;
use crate::source::{Access, Partition, PerEpoch, ReadBefore};

/// So many times its size is a compressed file taken to be.
const EXPANSION: u64 = 16;

/// A partition, and how far it has been given out to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) partition: Partition,
    /// Where the next epoch begins to read it.
    pub(super) from: u64,
    /// The offset that the cut goes by: a line may reach beyond it.
    nominal: u64,
    /// Where its first epoch began: an earlier run may have read what stands before, as another partition.
    #[serde(default)]
    begin: u64,
}

impl Cursor {
    pub(super) fn new(partition: Partition, from: u64) -> Self {
        Cursor { partition, from, nominal: from, begin: from }
    }

    /// Whether nothing of it was read before an epoch that begins at `offset`.
    pub(super) fn begins_at(&self, offset: u64) -> bool {
        offset == self.begin
    }

    /// An epoch has been read up to `offset`; if it was `again`, as it had been before, then it was not cut now.
    pub(super) fn reach(&mut self, offset: u64, again: bool) {
        self.from = self.from.max(offset);
        if again {
            self.nominal = self.nominal.max(self.from);
        }
    }

    /// The next part of this partition, of `chunks` chunks at most; and how many of those are left.
    fn take(&mut self, chunks: u64, chunk_bytes: u64) -> (Limit, u64) {
        let begin = self.nominal - self.nominal % chunk_bytes;
        let end = begin.saturating_add(chunks.saturating_mul(chunk_bytes));
        let (upto, left) = match self.partition.found.length {
            Some(length) => {
                let rest = length.saturating_sub(begin).div_ceil(chunk_bytes);
                (end.min(length), chunks.saturating_sub(rest))
            }
            None if self.is_small(chunk_bytes) => {
                let size = (self.partition.found.bytes.saturating_mul(EXPANSION)).div_ceil(chunk_bytes);
                (u64::MAX, chunks.saturating_sub(size.max(1)))
            }
            None => (end, 0),
        };
        let limit = Limit { partition: self.partition.id, from: self.from, upto };
        self.nominal = upto;
        if self.partition.found.access == Access::Shared {
            self.from = upto;
        }
        (limit, left)
    }

    /// Whether it is read to an end that nobody knows yet, in one go.
    fn is_small(&self, chunk_bytes: u64) -> bool {
        self.partition.found.bytes <= chunk_bytes
    }

    /// Whether all of it has been given out.
    fn is_given(&self) -> bool {
        let end = self.partition.found.length.unwrap_or(u64::MAX);
        self.nominal >= end
    }
}

/// A source of the run, and how far it has been given out to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceCut {
    pub(super) sequence: bool,
    pub(super) bounded: bool,
    /// How much of it an epoch has at most.
    #[serde(default)]
    pub(super) per_epoch: PerEpoch,
    /// Whether a partition can be read again.
    #[serde(default)]
    pub(super) replayable: bool,
    /// Whether further partitions may come.
    #[serde(default)]
    pub(super) finds: bool,
    /// The partitions that are not at their end, in order.
    pub(super) cursors: VecDeque<Cursor>,
    /// The last of those that are.
    #[serde(default)]
    pub(super) past: VecDeque<ReadBefore>,
}

impl SourceCut {
    /// Of so many partitions at their end it is known that they have been read.
    const PAST: usize = 1 << 14;

    /// The partitions of which `ended` says so are at their end.
    pub(super) fn end(&mut self, ended: impl Fn(&Cursor) -> bool) {
        if !self.cursors.iter().any(&ended) {
            return;
        }
        for cursor in std::mem::take(&mut self.cursors) {
            if !ended(&cursor) {
                self.cursors.push_back(cursor);
                continue;
            }
            let (id, found) = (cursor.partition.id, cursor.partition.found);
            // The one that has its identity is the same one, before it grew.
            self.past.retain(|past| past.found.identity != found.identity);
            if self.past.len() == Self::PAST {
                self.past.pop_front();
            }
            self.past.push_back(ReadBefore { id, found, offset: cursor.from, ended: true, memory: None });
        }
    }

    /// Whether there is more of it to give out.
    pub(super) fn has_more(&self) -> bool {
        self.cursors.iter().any(|cursor| !cursor.is_given())
    }

    /// Whether where the next epoch begins depends on how far the one before comes.
    pub(super) fn is_open_ended(&self) -> bool {
        !self.bounded
            || self.cursors.iter().any(|cursor| cursor.nominal > 0 && cursor.partition.found.length.is_none())
    }

    /// What the next epoch reads of it.
    fn cut(&mut self, chunks: u64, chunk_bytes: u64, limits: &mut Vec<Limit>) {
        let mut left = chunks;
        let parts = if self.sequence { 1 } else { self.cursors.len().max(1) as u64 };
        let PerEpoch { partitions, bytes } = self.per_epoch;
        let mut taken = PerEpoch { partitions: 0, bytes: 0 };
        for cursor in &mut self.cursors {
            let size = cursor.partition.found.bytes;
            if taken.partitions > 0
                && (taken.partitions >= partitions || taken.bytes.saturating_add(size) > bytes)
            {
                return;
            }
            taken = PerEpoch { partitions: taken.partitions + 1, bytes: taken.bytes.saturating_add(size) };
            if !self.bounded {
                let bytes = chunks.saturating_mul(chunk_bytes);
                let upto = cursor.from.saturating_add(bytes);
                limits.push(Limit { partition: cursor.partition.id, from: cursor.from, upto });
            } else if cursor.is_given() {
                continue;
            } else if self.sequence {
                let (limit, rest) = cursor.take(left, chunk_bytes);
                limits.push(limit);
                left = rest;
                if left == 0 {
                    return;
                }
            } else {
                limits.push(cursor.take((chunks / parts).max(1), chunk_bytes).0);
            }
        }
    }
}

/// What the next epoch reads of `sources`.
pub(super) fn cut(sources: &mut [SourceCut], epoch_bytes: u64, chunk_bytes: u64) -> Vec<Limit> {
    let chunk_bytes = chunk_bytes.max(1);
    let going_on = sources.iter().filter(|source| source.has_more()).count().max(1) as u64;
    let chunks = (epoch_bytes / going_on / chunk_bytes).max(1);
    let mut limits = Vec::new();
    sources.iter_mut().for_each(|source| source.cut(chunks, chunk_bytes, &mut limits));
    limits
}
