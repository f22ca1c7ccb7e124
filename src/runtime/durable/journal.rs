//! The thread that makes sealed epochs durable.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use crate::ledger::{EpochRecord, Journal, JournalError};
use crate::runtime::RunError;
use crate::runtime::durable::errand::Errand;

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    Seal(EpochRecord),
    /// Nothing before this epoch is wanted any more.
    Cut(u64),
}

/// The journal on a thread of its own. Records that come while it syncs share the next sync.
#[derive(Debug)]
pub(in crate::runtime) struct JournalThread {
    errand: Errand<Order, JournalError>,
    /// All epochs before this one are durable.
    durable: Arc<AtomicU64>,
    /// The epoch after the last that it was given.
    given: u64,
}

/// Epochs that may be sealed and not durable before no more are opened.
const BEHIND: u64 = 64;

impl JournalThread {
    /// Takes `journal`, whose next epoch is `first`. `before_sync` is called before each sync: what belongs to the epochs has to be durable
    /// no later than their records.
    pub(in crate::runtime) fn start(
        journal: Journal,
        first: u64,
        before_sync: impl FnMut() -> Result<(), JournalError> + Send + 'static,
    ) -> Result<Self, RunError> {
        let durable = Arc::new(AtomicU64::new(first));
        let (theirs, worker) = (Arc::clone(&durable), std::thread::current());
        let errand = Errand::start("journal", move |orders| {
            write(journal, orders, before_sync, |upto| {
                theirs.store(upto, Ordering::Release);
                worker.unpark();
            })
        })?;
        Ok(JournalThread { errand, durable, given: first })
    }

    /// The epoch of `record` is sealed.
    pub(in crate::runtime) fn seal(&mut self, record: EpochRecord) {
        self.given = record.epoch + 1;
        self.errand.tell(Order::Seal(record));
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

fn write(
    mut journal: Journal,
    orders: &Receiver<Order>,
    mut before_sync: impl FnMut() -> Result<(), JournalError>,
    told: impl Fn(u64),
) -> Result<(), JournalError> {
    let mut cut = None;
    while let Ok(first) = orders.recv() {
        for order in std::iter::once(first).chain(orders.try_iter()) {
            match order {
                Order::Seal(record) => journal.append(&record)?,
                Order::Cut(before) => cut = Some(before),
            }
        }
        before_sync()?;
        told(journal.sync()?);
        if let Some(before) = cut.take() {
            journal.cut(before)?;
        }
    }
    Ok(())
}
