//! How far a run has come.

use serde::{Deserialize, Serialize};

use super::cut::{Cursor, SourceCut};
use super::record::EpochRecord;
use super::watermark::WatermarkState;
use crate::source::{Partition, ReadBefore};

/// How far a run has come: what a later run goes on from. A function of the records so far.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub(super) next: u64,
    pub(super) partitions: u32,
    pub(super) sources: Vec<SourceCut>,
    pub(super) watermark: WatermarkState,
}

impl Mark {
    /// The epoch that follows.
    pub fn next_epoch(&self) -> u64 {
        self.next
    }

    /// How far the partitions of each source have been read: those that are under way, and the last of those at their end.
    pub fn read_before(&self) -> Vec<Vec<ReadBefore>> {
        let before = |cursor: &Cursor| {
            let (found, offset) = (cursor.partition.found.clone(), cursor.from);
            ReadBefore { id: cursor.partition.id, found, offset, ended: false, memory: None }
        };
        let of = |source: &SourceCut| {
            let ended = source.past.iter().cloned();
            ended.chain(source.cursors.iter().map(before)).collect()
        };
        self.sources.iter().map(of).collect()
    }
}

/// How far the partitions of `sources` sources have been read by a run that was at `mark` and has sealed `records` since.
pub fn read_before(mark: Option<&Mark>, records: &[EpochRecord], sources: usize) -> Vec<Vec<ReadBefore>> {
    let mut read = mark.map(Mark::read_before).unwrap_or_default();
    read.resize_with(sources, Vec::new);
    for record in records {
        for Partition { id, source, found } in &record.new {
            let known = read.iter().flatten().any(|before| before.id == *id);
            if let Some(of) = read.get_mut(*source as usize).filter(|_| !known) {
                // What has become longer is read on.
                let before = of.iter().rfind(|before| before.found.identity == found.identity);
                let offset = before.map_or(0, |before| before.offset);
                of.push(ReadBefore { id: *id, found: found.clone(), offset, ended: false, memory: None });
            }
        }
        for before in read.iter_mut().flatten() {
            if let Some(now) = record.reads.iter().find(|now| now.partition == before.id) {
                before.offset = now.upto;
            }
            before.ended |= record.ended.contains(&before.id);
            if let Some((_, memory)) = record.memories.iter().find(|(id, _)| *id == before.id) {
                before.memory = Some(memory.clone());
            }
        }
    }
    read
}
