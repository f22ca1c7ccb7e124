//! Where snapshots go.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::state::consolidate::Consolidation;
use crate::state::encode::{Encoded, decode, encode};
use crate::state::{Changes, Identity, Snapshot, StateError, Table};
use crate::time::Epoch;

/// A place for snapshots: a base, and changes since.
///
/// The writer's thread calls [`Store::write`] for each door that changed, then [`Store::publish`].
/// What was written counts from then on, all at once, or never.
pub trait Store: Send + 'static {
    /// Takes in the changes of a door on the way to the snapshot at `frontier`; each key occurs
    /// once. Before `gone_before`, all rows of earlier snapshots are gone.
    ///
    /// # Errors
    ///
    /// When it cannot; then nothing of this snapshot is published.
    fn write(
        &mut self,
        door: &Identity,
        frontier: Epoch,
        gone_before: Option<i64>,
        changes: &Changes,
    ) -> Result<(), StateError>;

    /// Makes what was written since the last time the snapshot at `frontier`, of these `doors` and
    /// no others.
    ///
    /// # Errors
    ///
    /// When it cannot; then the snapshot before stands.
    fn publish(&mut self, frontier: Epoch, doors: &[Arc<Identity>]) -> Result<(), StateError>;
}

/// Snapshots in memory, as encoded bytes; clones are handles on the same one.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    frontier: Option<Epoch>,
    doors: Vec<Door>,
    written: Vec<(String, Part)>,
}

/// What there is of one door.
struct Door {
    identity: Identity,
    /// The oldest first; the first is the base, if it has been merged before.
    parts: Vec<Part>,
}

/// Encoded changes, and how many there are.
struct Part {
    bytes: Vec<u8>,
    changes: usize,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("frontier", &self.lock().frontier).finish_non_exhaustive()
    }
}

impl Memory {
    /// When the changes since are so many times the base, and at least [`Memory::FEW`], they are
    /// merged into a new one.
    const RATIO: usize = 2;
    /// Changes that are not worth a merge.
    const FEW: usize = 1 << 12;

    /// An empty one.
    pub fn new() -> Self {
        Memory::default()
    }

    /// One that has `snapshot`.
    ///
    /// # Errors
    ///
    /// When a value of it is too long.
    pub fn of(snapshot: &Snapshot) -> Result<Self, StateError> {
        let doors = snapshot.tables().iter().map(|table| {
            let bytes = encode(&table.identity, snapshot.frontier(), None, &table.rows)?;
            let part = Part { bytes, changes: table.len() };
            Ok(Door { identity: table.identity.clone(), parts: vec![part] })
        });
        let doors = doors.collect::<Result<_, StateError>>()?;
        let inner = Inner { frontier: Some(snapshot.frontier()), doors, written: Vec::new() };
        Ok(Memory(Arc::new(Mutex::new(inner))))
    }

    /// The bytes that it has.
    pub fn size(&self) -> usize {
        self.lock().doors.iter().flat_map(|door| &door.parts).map(|part| part.bytes.len()).sum()
    }

    /// The newest snapshot.
    ///
    /// # Errors
    ///
    /// When its bytes are damaged.
    pub fn load(&self) -> Result<Option<Snapshot>, StateError> {
        let inner = self.lock();
        let Some(frontier) = inner.frontier else { return Ok(None) };
        let table = |door: &Door| {
            let rows = door.merged()?.sorted_puts(&door.identity);
            Ok(Table { identity: door.identity.clone(), rows })
        };
        let tables = inner.doors.iter().map(table).collect::<Result<_, StateError>>()?;
        Ok(Some(Snapshot::new(frontier, tables)))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whoever panicked did so between two steps of which each leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// All parts as one list of puts.
    fn merged(&self) -> Result<Changes, StateError> {
        let parts: Vec<Encoded> =
            self.parts.iter().map(|part| decode(&part.bytes)).collect::<Result<_, _>>()?;
        // What is gone by a part is gone of that part and of all before.
        let gone = parts.iter().filter_map(|part| part.gone_before).max();
        let mut all = Consolidation::new();
        parts.iter().for_each(|part| all.add(&part.changes, 0, part.changes.len(), gone));
        Ok(all.changes(&self.identity))
    }

    /// Merges the parts if there is much more in the others than in the first.
    fn tidy(&mut self, frontier: Epoch) -> Result<(), StateError> {
        let base = self.parts.first().map_or(0, |part| part.changes);
        let since: usize = self.parts.iter().skip(1).map(|part| part.changes).sum();
        if since >= Memory::FEW.max(Memory::RATIO * base) {
            let merged = self.merged()?;
            // Where the base is all, what was taken away is nothing.
            let puts = merged.without_takes(&self.identity);
            let bytes = encode(&self.identity, frontier, None, &puts)?;
            self.parts = vec![Part { bytes, changes: puts.len() }];
        }
        Ok(())
    }
}

impl Changes {
    fn without_takes(&self, identity: &Identity) -> Changes {
        let mut puts = Changes::new(identity);
        let mut value = 0;
        for row in 0..self.len() {
            if self.puts[row] {
                puts.push_from(self, row, value);
                value += 1;
            }
        }
        puts
    }
}

impl Store for Memory {
    fn write(
        &mut self,
        door: &Identity,
        frontier: Epoch,
        gone_before: Option<i64>,
        changes: &Changes,
    ) -> Result<(), StateError> {
        let bytes = encode(door, frontier, gone_before, changes)?;
        self.lock().written.push((door.name().to_owned(), Part { bytes, changes: changes.len() }));
        Ok(())
    }

    fn publish(&mut self, frontier: Epoch, doors: &[Arc<Identity>]) -> Result<(), StateError> {
        let mut inner = self.lock();
        // A door that has other rules now begins anew; whoever restored has been refused before.
        inner.doors.retain(|door| doors.iter().any(|identity| **identity == door.identity));
        for identity in doors {
            if inner.doors.iter().all(|door| door.identity != **identity) {
                inner.doors.push(Door { identity: Identity::clone(identity), parts: Vec::new() });
            }
        }
        for (name, part) in std::mem::take(&mut inner.written) {
            if let Some(door) = inner.doors.iter_mut().find(|door| door.identity.name() == name) {
                door.parts.push(part);
            }
        }
        inner.doors.iter_mut().try_for_each(|door| door.tidy(frontier))?;
        inner.frontier = Some(frontier);
        Ok(())
    }
}
