//! The thread that makes sealed epochs durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::errand::{Errand, Task};
use crate::ledger::{EpochRecord, Journal, JournalError};
use crate::runtime::RunError;
#[cfg(test)]
use crate::runtime::simulation::{Bug, is_planted};
use crate::source::{ReadBefore, Source};
use crate::state::StateError;

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    /// Epochs, with partitions that were read for the first time, each by the number of its source.
    Seal(Box<EpochRecord>, Vec<(u32, ReadBefore)>),
    /// Nothing before this epoch is wanted any more.
    Cut(u64),
}

/// The journal beside the workers. Records that come while it syncs share the next sync.
#[derive(Debug)]
pub(in crate::runtime) struct JournalThread {
    errand: Errand<Order, JournalError>,
    /// All epochs before this one are durable.
    durable: Arc<AtomicU64>,
    /// The epoch after the last that it was given.
    given: u64,
}

/// What is to be remembered of a partition is asked for in so many epochs: a file may be renamed as it is looked for.
const ATTEMPTS: u32 = 3;

/// Epochs that may be sealed and not durable before no more are opened.
const BEHIND: u64 = 64;

impl JournalThread {
    /// Takes `journal`, whose next epoch is `first`. `before_sync` is called before records are appended: what belongs to
    /// their epochs has to be durable before them. `sources` are asked what they want to know later of partitions that have been read.
    pub(in crate::runtime) fn start(
        journal: Journal,
        first: u64,
        sources: Vec<Arc<dyn Source>>,
        before_sync: impl FnMut() -> Result<(), JournalError> + Send + 'static,
    ) -> Result<Self, RunError> {
        let durable = Arc::new(AtomicU64::new(first));
        let (theirs, worker) = (Arc::clone(&durable), std::thread::current());
        let told = move |upto| {
            theirs.store(upto, Ordering::Release);
            worker.unpark();
        };
        let begun = Vec::new();
        let writing = Writing { journal, sources, begun, before_sync, told, sealed: Vec::new(), cut: None };
        // How much may wait is for `has_room`.
        let errand = Errand::start("journal", usize::MAX, writing);
        let errand = errand.map_err(|source| RunError::System { what: "start a thread", source })?;
        Ok(JournalThread { errand, durable, given: first })
    }

    /// The epoch of `record` is sealed; `begun` are partitions that were read for the first time, each by the number of its source.
    pub(in crate::runtime) fn seal(&mut self, record: EpochRecord, begun: Vec<(u32, ReadBefore)>) {
        self.given = record.epoch + 1;
        self.errand.tell(Order::Seal(Box::new(record), begun));
    }

    /// No epoch before `before` is wanted any more.
    pub(in crate::runtime) fn cut(&self, before: u64) {
        self.errand.tell(Order::Cut(before));
    }

    /// The first epoch that is not durable.
    pub(in crate::runtime) fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// The first epoch that it was not given.
    pub(in crate::runtime) fn given(&self) -> u64 {
        self.given
    }

    /// Whether it is not so far behind that no more should be sealed.
    pub(in crate::runtime) fn has_room(&self) -> bool {
        self.given.saturating_sub(self.durable()) < BEHIND
    }

    /// Looks whether it goes on.
    pub(in crate::runtime) fn check(&self) -> Result<(), JournalError> {
        self.errand.check()
    }

    /// Waits until all that it was given is durable, and ends it.
    pub(in crate::runtime) fn finish(&mut self) -> Result<(), JournalError> {
        self.errand.finish()
    }
}

/// The journal, and what belongs to it.
struct Writing<B, T> {
    journal: Journal,
    sources: Vec<Arc<dyn Source>>,
    /// Partitions of which nothing is remembered yet, by source, and how often it is asked for that.
    begun: Vec<(u32, u32, ReadBefore)>,
    before_sync: B,
    told: T,
    /// Records that are to be appended.
    sealed: Vec<EpochRecord>,
    cut: Option<u64>,
}

impl<B, T> Task for Writing<B, T>
where
    B: FnMut() -> Result<(), JournalError> + Send + 'static,
    T: Fn(u64) + Send + 'static,
{
    type Order = Order;
    type Error = JournalError;

    fn perform(&mut self, order: Order) -> Result<(), JournalError> {
        match order {
            Order::Seal(mut record, begun) => {
                // Before the first snapshot that has it, a file may have been renamed, and compressed: the run that comes then has to find it.
                self.begun.extend(begun.into_iter().map(|(source, read)| (ATTEMPTS, source, read)));
                self.begun.retain_mut(|(left, source, read)| {
                    let source = self.sources.get(*source as usize);
                    let memory = source.and_then(|source| source.memory(read));
                    *left -= 1;
                    let again = memory.is_none() && *left > 0;
                    record.memories.extend(memory.map(|memory| (read.id, memory)));
                    again
                });
                self.sealed.push(*record);
            }
            Order::Cut(before) => self.cut = Some(before),
        }
        Ok(())
    }

    fn rest(&mut self) -> Result<Option<Duration>, JournalError> {
        if !self.sealed.is_empty() {
            // Before anything is appended: a record may outlast a crash although it was not synced.
            (self.before_sync)()?;
            #[cfg(test)]
            let next = self.sealed.last().map_or(0, |record| record.epoch + 1);
            for record in self.sealed.drain(..) {
                self.journal.append(&record)?;
            }
            #[cfg(test)]
            if is_planted(Bug::JournalIsNotSynced) {
                (self.told)(next);
                return Ok(None);
            }
            (self.told)(self.journal.sync()?);
        }
        self.cut.take().map_or(Ok(()), |before| self.journal.cut(before))?;
        Ok(None)
    }

    fn panicked(&self, message: String) -> JournalError {
        StateError::Writer(format!("the journal panicked: {message}")).into()
    }
}
