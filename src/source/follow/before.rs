//! Files that an earlier run has read: which of those that are found are the same, or copies of them.
//!
//! What an earlier run remembers of a file are digests of its first bytes and of the last that were read ([`Mark`]). So it is found
//! again under another name, and a copy, plain or compressed, is told from a new file, even if nobody looked when it
//! was made.

use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Detail;
use super::known::head_of;
use super::mark::{Mark, Marks};
use crate::source::file::{FoundFile, digest};
use crate::source::{Found, ReadBefore};

/// The partitions of an earlier run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Before {
    /// Those that can be found again, in the order of the marks.
    read: Vec<ReadBefore>,
    marks: Marks,
    /// Those of which nothing is remembered, by device and inode: they had come shortly before the run was killed.
    others: HashMap<(u64, u64), ReadBefore>,
    /// Identities of files that have been found.
    found: HashSet<String>,
    /// The number of this run among those that have gone on from one another.
    run: u64,
}

/// What a file is with regard to an earlier run.
#[derive(Debug)]
pub(crate) enum Relation {
    /// Nothing: it is new.
    New,
    /// It is the one that was read as this partition, or has its content, and the other is not there.
    Same(Box<ReadBefore>),
    /// It has the content of one that is there.
    Copy,
}

impl Before {
    /// What was read of `partitions`.
    pub(crate) fn new(partitions: &[ReadBefore]) -> Self {
        let (mut read, mut marks, mut others) = (Vec::new(), Vec::new(), HashMap::new());
        let run = |partition: &ReadBefore| partition.found.identity.rsplit_once('.')?.1.parse().ok();
        let run = partitions.iter().filter_map(run).max().unwrap_or(0u64) + 1;
        for partition in partitions {
            let mark = partition.memory.as_deref().map(serde_json::from_str::<Mark>);
            match mark {
                Some(Ok(mark)) => {
                    marks.push(mark);
                    read.push(partition.clone());
                }
                _ => {
                    if let Some(file) = Self::file(&partition.found) {
                        others.insert(file, partition.clone());
                    }
                }
            }
        }
        Before { read, marks: Marks::new(marks), others, found: HashSet::new(), run }
    }

    /// Device and inode of a file, with which its identity begins.
    pub(crate) fn file(found: &Found) -> Option<(u64, u64)> {
        let mut parts = found.identity.split(':').map(str::parse);
        Some((parts.next()?.ok()?, parts.next()?.ok()?))
    }

    /// A number that no earlier run has had: files that are found now are not taken for what those have found.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// What the file at `path` is.
    pub(crate) fn relation(&mut self, path: &Path, it: &Metadata) -> io::Result<Relation> {
        let key = (it.dev(), it.ino());
        let read = match self.marks.take_file(path, key)? {
            Some((at, _)) => self.read[at].clone(),
            None => match self.others.remove(&key) {
                Some(other) if begins_as(path, &other)? => other,
                _ => return Ok(Relation::New),
            },
        };
        let first = self.found.insert(read.found.identity.clone());
        Ok(if first { Relation::Same(Box::new(read)) } else { Relation::Copy })
    }

    /// Files that were not read to their end, and have not been found: where they are now, or their copies.
    pub(crate) fn left(&mut self) -> Vec<Found> {
        let left = self.marks.left_by_mark().into_iter();
        let known = |(at, found): (usize, Found)| {
            let identity = self.read.get(at)?.found.identity.clone();
            Some(Found { identity, ..found })
        };
        left.filter_map(known).collect()
    }
}

/// Whether the file at `path` begins with what `read` was found to begin with.
fn begins_as(path: &Path, read: &ReadBefore) -> io::Result<bool> {
    match read.found.read_detail() {
        Ok(Detail::Growing(growing)) => {
            let head = head_of(path)?;
            Ok(head.get(..growing.head).is_some_and(|head| digest(head) == growing.digest))
        }
        Ok(Detail::Whole(file)) => file.begins_as(path),
        Err(_) => read.found.read_detail::<FoundFile>().map_or(Ok(false), |file| file.begins_as(path)),
    }
}
