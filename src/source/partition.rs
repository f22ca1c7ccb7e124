//! Partitions: what a source consists of, and how one is told from another.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::SourceError;

/// The number of a partition within a run, in the order in which partitions were found.
///
/// What comes first is older where nothing else tells: the files of a glob are numbered as they are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PartitionId(pub u32);

impl std::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "partition {}", self.0)
    }
}

/// How a partition can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// From any offset: all workers read it, in interleaved chunks. Its length is known.
    Shared,
    /// From front to back, by any one worker.
    Sequential,
    /// From front to back, by the first worker of the run: it exists there only.
    Pinned,
}

/// A partition as its source found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// What a person would call it, such as `file:data/access.log`.
    pub name: Arc<str>,
    /// What makes it the same partition after a restart, whatever it is called by then.
    pub identity: String,
    /// How it can be read.
    pub access: Access,
    /// Where it ends, as an offset, where that is known beforehand.
    pub length: Option<u64>,
    /// Bytes that reading it takes from its source, where that is known: what progress bars count.
    pub bytes: u64,
    /// What else its source has to know to open it; nobody else reads this.
    pub detail: String,
}

impl Found {
    /// The one partition of a source that is read once, by the worker that it is pinned to, and has no end that is known.
    pub(super) fn pinned(name: &str, identity: &str) -> Self {
        Found {
            name: name.into(),
            identity: identity.to_owned(),
            access: Access::Pinned,
            length: None,
            bytes: 0,
            detail: String::new(),
        }
    }

    /// What its source has to know, as it was put into `detail` by [`Found::write_detail`].
    pub(super) fn read_detail<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        serde_json::from_str(&self.detail).map_err(|error| SourceError::Detail {
            partition: self.name.to_string(),
            reason: error.to_string(),
        })
    }

    /// `detail` as text, for a partition called `name`.
    pub(super) fn write_detail<T: Serialize>(name: &str, detail: &T) -> Result<String, SourceError> {
        serde_json::to_string(detail)
            .map_err(|error| SourceError::Detail { partition: name.to_owned(), reason: error.to_string() })
    }
}

/// How far an earlier run has read a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadBefore {
    /// Its number.
    pub id: PartitionId,
    /// What its source had found.
    pub found: Found,
    /// Every line that starts before this offset has been read.
    pub offset: u64,
    /// Whether it was at its end.
    pub ended: bool,
    /// What its source remembers of it ([`Source::memory`](super::Source::memory)).
    #[serde(skip)]
    pub memory: Option<String>,
}

/// A partition of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its number.
    pub id: PartitionId,
    /// Which of the run's sources it is of.
    pub source: u32,
    /// What its source found.
    pub found: Found,
}

impl Partition {
    /// The one worker of `peers` that reads it; `None` if all do.
    pub fn reader(&self, peers: usize) -> Option<usize> {
        match self.found.access {
            Access::Shared => None,
            Access::Sequential => Some(self.id.0 as usize % peers),
            Access::Pinned => Some(0),
        }
    }
}
