//! What is merged and deleted while others publish.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;
use super::manifest::{Door, Run};
use super::merge::merge;
use super::part::{Builder, Naming};
use crate::errand::{Errand, Task};
use crate::state::storage::Storage;
use crate::state::{Identity, StateError};
use crate::time::Epoch;

/// Runs of a door that are to become one.
#[derive(Debug)]
pub(super) struct Job {
    identity: Identity,
    gone_before: Option<i64>,
    /// One after the other.
    runs: Vec<Run>,
    /// Whether there are none before them, so that the result is a table.
    table: bool,
    frontier: Epoch,
}

/// What became of them.
#[derive(Debug)]
pub(super) struct Merged {
    job: Job,
    run: Run,
}

impl Job {
    /// What is to be merged of `door`, if anything is. With `spread` processes, so many runs come at a time.
    pub(super) fn of(door: &Door, frontier: Epoch, spread: usize, limits: Limits) -> Option<Self> {
        let range = chosen(door, spread, limits)?;
        Some(Job {
            identity: door.identity.clone(),
            gone_before: door.gone_before,
            table: range.start == 0,
            runs: door.runs[range].to_vec(),
            frontier,
        })
    }
}

/// Which runs of `door` are to be merged.
fn chosen(door: &Door, spread: usize, limits: Limits) -> Option<Range<usize>> {
    let most = limits.runs.max(2 * spread);
    let count = door.runs.len();
    let first = usize::from(door.runs.first().is_some_and(|run| run.table));
    let table = door.runs[..first].iter().map(Run::rows).sum::<u64>();
    let changes = door.runs[first..].iter().map(Run::rows).fold(0, u64::saturating_add);
    let many = count - first > most;
    // What is superseded and what was taken away stays within half of what there is.
    if changes >= table / 2 && (many || changes >= limits.few) {
        return Some(0..count);
    }
    if !many {
        return None;
    }
    // The newest, as long as none of them is much larger than all that are newer. So a change is written again as
    // often as the logarithm of how many there are.
    let (mut start, mut rows) = (count - 1, door.runs[count - 1].rows());
    while start > first {
        let next = door.runs[start - 1].rows();
        if next > rows.saturating_mul(2) && count - start > most / 2 {
            break;
        }
        (start, rows) = (start - 1, rows.saturating_add(next));
    }
    Some(start..count)
}

impl Merged {
    /// Replaces in `doors` what was merged.
    pub(super) fn apply(self, doors: &mut [Door]) {
        let Merged { job, run } = self;
        // A door of other rules has begun anew.
        let Some(door) = doors.iter_mut().find(|door| door.identity == job.identity) else { return };
        let merged: Vec<_> = job.runs.iter().flat_map(|run| &run.parts).map(|part| &part.name).collect();
        // Files of which all rows are gone may have left their run.
        let of_job = |run: &Run| run.parts.iter().any(|part| merged.contains(&&part.name));
        let Some(at) = door.runs.iter().position(&of_job) else { return };
        door.runs.retain(|run| !of_job(run));
        door.runs.insert(at, run);
        door.forget();
    }
}

/// What it and its owner share.
#[derive(Debug, Default)]
struct Desk {
    merged: Mutex<(Vec<Merged>, Option<StateError>)>,
    /// Jobs that are not done.
    jobs: AtomicUsize,
    /// Whether nothing more is to be done.
    stop: AtomicBool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, (Vec<Merged>, Option<StateError>)> {
        // Whoever panicked did so between two steps of which each leaves it whole.
        self.merged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be done.
#[derive(Debug)]
enum Order {
    /// Nothing refers to it any more.
    Delete(String),
    Merge(Job),
}

/// Who merges and deletes, beside the one who publishes.
#[derive(Debug)]
pub(super) struct Background {
    desk: Arc<Desk>,
    errand: Errand<Order, StateError>,
}

impl Background {
    /// For start `incarnation`.
    pub(super) fn start(
        storage: Arc<dyn Storage>,
        incarnation: u64,
        limits: Limits,
    ) -> Result<Self, StateError> {
        let desk = Arc::<Desk>::default();
        let worker = Worker { desk: Arc::clone(&desk), storage, incarnation, limits, number: 0 };
        let errand = Errand::start("merging", usize::MAX, worker)
            .map_err(|error| StateError::Store { doing: "start a thread", source: error.into() })?;
        Ok(Background { desk, errand })
    }

    /// Has these names deleted, in this order.
    pub(super) fn delete(&self, names: Vec<String>) {
        names.into_iter().for_each(|name| self.errand.tell(Order::Delete(name)));
    }

    /// Has this merged, unless it is still merging what it was given before.
    pub(super) fn merge(&self, jobs: impl FnOnce() -> Vec<Job>) {
        if self.desk.jobs.load(Ordering::Acquire) == 0 && self.desk.lock().0.is_empty() {
            for job in jobs() {
                self.desk.jobs.fetch_add(1, Ordering::AcqRel);
                self.errand.tell(Order::Merge(job));
            }
        }
    }

    /// What has been merged since it was last asked, and what could not be done.
    pub(super) fn take(&self) -> (Vec<Merged>, Option<StateError>) {
        let (merged, trouble) = std::mem::take(&mut *self.desk.lock());
        (merged, self.errand.check().err().or(trouble))
    }

    /// Waits until it has nothing to do.
    pub(super) fn settle(&self) {
        self.errand.wait_until_idle();
    }
}

impl Drop for Background {
    /// Stops at the next rows; what is merged by half is left for the next start to sweep.
    fn drop(&mut self) {
        self.desk.stop.store(true, Ordering::Relaxed);
        // What it could not do is nobody's business any more.
        drop(self.errand.finish());
    }
}

struct Worker {
    desk: Arc<Desk>,
    storage: Arc<dyn Storage>,
    incarnation: u64,
    limits: Limits,
    number: u64,
}

impl Task for Worker {
    type Order = Order;
    type Error = StateError;

    const BACKGROUND: bool = true;

    fn perform(&mut self, order: Order) -> Result<(), StateError> {
        if self.desk.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let trouble = match order {
            // What is left is swept by a later start.
            Order::Delete(name) => self.storage.delete(&name).err().map(StateError::from),
            Order::Merge(job) => {
                let merged = self.merge(&job);
                self.desk.jobs.fetch_sub(1, Ordering::AcqRel);
                let merged = merged.map(|run| run.map(|run| Merged { job, run }));
                merged.map(|merged| self.desk.lock().0.extend(merged)).err()
            }
        };
        if trouble.is_some() {
            self.desk.lock().1 = trouble;
        }
        Ok(())
    }

    fn panicked(&self, message: String) -> StateError {
        StateError::Writer(format!("merging panicked: {message}"))
    }
}

impl Worker {
    /// The runs of `job` as one; `None` if it was told to stop.
    fn merge(&mut self, job: &Job) -> Result<Option<Run>, StateError> {
        let Job { identity, gone_before, runs, table, frontier } = job;
        let naming = Naming { frontier: *frontier, incarnation: self.incarnation, by: "m".to_owned() };
        let storage = &*self.storage;
        let mut files = Builder::new(storage, identity, &naming, &mut self.number, *table, self.limits);
        let whole = merge(storage, identity, *gone_before, runs, &self.desk.stop, |from, row, value| {
            // Where there is nothing before, what was taken away is nothing.
            if from.puts[row] || !table { files.push(from, row, value) } else { Ok(()) }
        })?;
        if !whole {
            return Ok(None);
        }
        Ok(Some(Run { table: *table, parts: files.finish()? }))
    }
}
