//! What is merged and deleted while others publish.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use super::Limits;
use super::manifest::{Door, Run};
use super::merge::merge;
use super::part::{Builder, Naming};
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

/// What the thread and its owner share.
#[derive(Debug, Default)]
struct Shared {
    /// Names that nothing refers to any more, in the order in which they are to go.
    delete: VecDeque<String>,
    jobs: Vec<Job>,
    busy: bool,
    /// Whether it is busy with a merge.
    merging: bool,
    merged: Vec<Merged>,
    trouble: Option<StateError>,
    closing: bool,
    ended: bool,
}

#[derive(Debug, Default)]
struct Desk {
    shared: Mutex<Shared>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Whoever panicked did so between two steps of which each leaves it whole.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, shared: MutexGuard<'a, Shared>) -> MutexGuard<'a, Shared> {
        self.changed.wait(shared).unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that merges and deletes.
#[derive(Debug)]
pub(super) struct Background {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// For start `incarnation`.
    pub(super) fn start(
        storage: Arc<dyn Storage>,
        incarnation: u64,
        limits: Limits,
    ) -> Result<Self, StateError> {
        let desk = Arc::<Desk>::default();
        let mut worker = Worker { desk: Arc::clone(&desk), storage, incarnation, limits, number: 0 };
        let thread = std::thread::Builder::new()
            .name("merging".to_owned())
            .spawn(move || {
                let _end = End(Arc::clone(&worker.desk));
                worker.run();
            })
            .map_err(|error| StateError::Store { doing: "start a thread", source: error.into() })?;
        Ok(Background { desk, thread: Some(thread) })
    }

    /// Has these names deleted.
    pub(super) fn delete(&self, names: Vec<String>) {
        self.desk.lock().delete.extend(names);
        self.desk.changed.notify_all();
    }

    /// Has this merged, unless it is still merging what it was given before.
    pub(super) fn merge(&self, jobs: impl FnOnce() -> Vec<Job>) {
        let mut shared = self.desk.lock();
        if shared.jobs.is_empty() && !shared.merging && shared.merged.is_empty() {
            shared.jobs = jobs();
            self.desk.changed.notify_all();
        }
    }

    /// What has been merged since it was last asked, and what could not be done.
    pub(super) fn take(&self) -> (Vec<Merged>, Option<StateError>) {
        let mut shared = self.desk.lock();
        (std::mem::take(&mut shared.merged), shared.trouble.take())
    }

    /// Waits until it has nothing to do.
    pub(super) fn settle(&self) {
        let mut shared = self.desk.lock();
        while !shared.ended && (shared.busy || !shared.jobs.is_empty() || !shared.delete.is_empty()) {
            shared = self.desk.wait(shared);
        }
    }
}

impl Drop for Background {
    /// Stops at the next rows; what is merged by half is left for the next start to sweep.
    fn drop(&mut self) {
        self.desk.lock().closing = true;
        self.desk.stop.store(true, Ordering::Relaxed);
        self.desk.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its hook.
            let _ = thread.join();
        }
    }
}

/// Says that the thread has ended, even if it panicked: nobody waits for it then.
struct End(Arc<Desk>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

struct Worker {
    desk: Arc<Desk>,
    storage: Arc<dyn Storage>,
    incarnation: u64,
    limits: Limits,
    number: u64,
}

impl Worker {
    fn run(&mut self) {
        let desk = Arc::clone(&self.desk);
        let mut shared = desk.lock();
        while !shared.closing {
            if let Some(name) = shared.delete.pop_front() {
                shared.busy = true;
                drop(shared);
                let deleted = self.storage.delete(&name);
                shared = desk.lock();
                if let Err(error) = deleted {
                    // It is swept by a later start.
                    shared.trouble = Some(error.into());
                }
            } else if let Some(job) = shared.jobs.pop() {
                (shared.busy, shared.merging) = (true, true);
                drop(shared);
                let merged = self.merge(&job);
                shared = desk.lock();
                match merged {
                    Ok(Some(run)) => shared.merged.push(Merged { job, run }),
                    Ok(None) => {}
                    Err(error) => shared.trouble = Some(error),
                }
            } else {
                shared = desk.wait(shared);
                continue;
            }
            (shared.busy, shared.merging) = (false, false);
            desk.changed.notify_all();
        }
    }

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
