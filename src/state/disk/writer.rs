//! The changes of one process, as files.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Limits;
use super::part::{Builder, Naming, Part};
use crate::state::storage::Storage;
use crate::state::{Changes, Identity, StateError, Store};
use crate::time::Epoch;

/// What one process has written of a snapshot: it goes to the process that publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The first epoch that is not in the snapshot.
    pub frontier: Epoch,
    /// Which process it is.
    pub process: usize,
    /// All doors of the dataflow, whether or not they changed.
    pub doors: Vec<WrittenDoor>,
}

/// What one process has written of a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenDoor {
    /// Which door it is.
    pub identity: Identity,
    /// All rows whose key begins with an earlier time are gone.
    pub gone_before: Option<i64>,
    /// The files with its changes, in the order of the keys.
    pub parts: Vec<Part>,
}

/// A [`Store`] that writes what changed into files, and hands over what it has written, for a snapshot of which this
/// is one process's part.
pub struct PartWriter<F> {
    storage: Arc<dyn Storage>,
    incarnation: u64,
    process: usize,
    limits: Limits,
    /// The number of the next file.
    number: u64,
    written: Vec<WrittenDoor>,
    hand_over: F,
}

impl<F> fmt::Debug for PartWriter<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PartWriter { storage, incarnation, process, .. } = self;
        f.debug_struct("PartWriter")
            .field("storage", &storage.uri())
            .field("incarnation", incarnation)
            .field("process", process)
            .finish_non_exhaustive()
    }
}

impl<F: FnMut(Written) -> Result<(), StateError> + Send + 'static> PartWriter<F> {
    /// For process `process` of the start `incarnation`, which it alone writes for. `hand_over` is called with each
    /// snapshot's part, once all of it is durable.
    pub fn new(storage: Arc<dyn Storage>, incarnation: u64, process: usize, hand_over: F) -> Self {
        let limits = Limits::default();
        PartWriter { storage, incarnation, process, limits, number: 0, written: Vec::new(), hand_over }
    }

    /// This, with files of another size.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }
}

impl<F: FnMut(Written) -> Result<(), StateError> + Send + 'static> Store for PartWriter<F> {
    fn write(
        &mut self,
        door: &Identity,
        frontier: Epoch,
        gone_before: Option<i64>,
        changes: &Changes,
    ) -> Result<(), StateError> {
        let by = self.process.to_string();
        let naming = Naming { frontier, incarnation: self.incarnation, by };
        let mut files = Builder::new(&*self.storage, door, &naming, &mut self.number, false, self.limits);
        for (row, value) in changes.sorted() {
            files.push(changes, row as usize, value as usize)?;
        }
        let parts = files.finish()?;
        self.written.push(WrittenDoor { identity: door.clone(), gone_before, parts });
        Ok(())
    }

    fn publish(&mut self, frontier: Epoch, doors: &[Arc<Identity>]) -> Result<(), StateError> {
        let mut written = std::mem::take(&mut self.written);
        #[cfg(test)]
        if crate::runtime::is_planted(crate::runtime::Bug::HalfASnapshot) {
            written.pop();
        }
        let all = doors.iter().map(|door| {
            let changed = written.iter().position(|written| written.identity == **door);
            changed.map(|at| written.swap_remove(at)).unwrap_or_else(|| WrittenDoor {
                identity: Identity::clone(door),
                gone_before: None,
                parts: Vec::new(),
            })
        });
        let doors = all.collect();
        (self.hand_over)(Written { frontier, process: self.process, doors })
    }
}
