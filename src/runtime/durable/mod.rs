//! What makes a run durable (`--state`): seal, publish, restore.
//!
//! ```text
//! conductor ── sealed records ──▶ journal thread: append, sync ──▶ the sinks may be shown their epochs
//!     │
//!     └── wants a mark: stands still, Cut(F) ──▶ every worker: keep.cut(F) ──▶ a writer thread a process: parts
//!                                                        parts of all processes ──▶ publisher thread: manifest at F
//! ```
//!
//! - `start`: how a run begins: who it is ([`Starts`](crate::state::Starts)), and what it goes on from.
//! - `journal`: the [errand](crate::errand) that makes sealed epochs durable. A sink is shown an epoch when that has been done.
//! - `publisher`: the one that makes snapshots of what the processes have written, once every sink has committed the
//!   epochs in it.
//! - `run`: what the loop of a worker has to do with all that.
//!
//! The conductor, the journal and the publisher are process 0's. Every process writes the rows of its own workers.

mod journal;
mod publisher;
mod run;
mod start;

pub(super) use run::{DurableJob, DurableRun};
pub(super) use start::Start;
pub use start::{DurableError, RunProgress, SinkProgress, Stored, stored};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::state::StateError;
use crate::state::storage::{self, Storage};

/// Opens the storage that `uri` names.
fn open(uri: &str) -> Result<Arc<dyn Storage>, DurableError> {
    #[cfg(test)]
    if let Some(storage) = super::simulation::storage(uri) {
        return Ok(storage);
    }
    Ok(storage::open(uri, super::environment).map_err(StateError::from)?)
}

/// Epochs that are to be shown once more, as they were; both are among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Again {
    /// The first.
    pub from: u64,
    /// The last.
    pub upto: u64,
}

/// What of a run is to outlast it, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableSettings {
    /// A directory, or an object store. All processes see the same.
    pub uri: String,
    /// Whether what is there is left behind, and the run begins with nothing.
    pub reset: bool,
    /// Whether another run that uses the state is passed over: it is fenced, and ends. Without this, a run is refused a directory that
    /// another one uses.
    pub take_over: bool,
    /// How long after a snapshot the next is made, if anything has been sealed since. The command has [`DurableSettings::EVERY`].
    pub every: Duration,
    /// Bytes that are kept at most of what sources do not give twice (pipes, sockets), until it is in a snapshot. When there are as many, no
    /// more is read. The command has [`DurableSettings::SPOOL`].
    pub spool: u64,
    /// Nothing new is read, and nothing kept: the journal's epochs are read again, and these of them shown.
    pub again: Option<Again>,
    /// How the run was asked for, in the words of whoever asks ([`stored`]): by name, the values.
    pub arguments: BTreeMap<String, Vec<String>>,
}

impl DurableSettings {
    /// How long after a snapshot the command makes the next.
    pub const EVERY: Duration = Duration::from_secs(10);

    /// How much the command keeps of what sources do not give twice.
    pub const SPOOL: u64 = 1 << 30;

    /// State at `uri`, as the command keeps it unless it is told otherwise.
    ///
    /// ```
    /// use thalweg::runtime::DurableSettings;
    /// assert!(!DurableSettings::of("state/").reset);
    /// ```
    pub fn of(uri: &str) -> Self {
        DurableSettings {
            uri: uri.to_owned(),
            reset: false,
            take_over: false,
            every: Self::EVERY,
            spool: Self::SPOOL,
            again: None,
            arguments: BTreeMap::new(),
        }
    }
}
