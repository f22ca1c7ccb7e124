//! The thread that makes sealed epochs durable.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Thread};

use crate::ledger::{EpochRecord, Journal, JournalError};
use crate::runtime::RunError;

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    Seal(EpochRecord),
    /// Nothing before this epoch is wanted any more.
    Cut(u64),
}

/// What both sides see.
#[derive(Debug)]
struct Shared {
    /// All epochs before this one are durable.
    durable: AtomicU64,
    failed: Mutex<Option<JournalError>>,
    worker: Thread,
}

/// The journal on a thread of its own. Records that come while it syncs share the next sync.
#[derive(Debug)]
pub(in crate::runtime) struct JournalThread {
    orders: Option<Sender<Order>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
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
        let (orders, received) = channel();
        let shared = Arc::new(Shared {
            durable: AtomicU64::new(first),
            failed: Mutex::default(),
            worker: std::thread::current(),
        });
        let theirs = Arc::clone(&shared);
        let body = move || {
            if let Err(error) = write(journal, &received, before_sync, &theirs) {
                *theirs.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            theirs.worker.unpark();
        };
        let thread = Builder::new().name("journal".to_owned()).spawn(body);
        let thread = thread.map_err(|source| RunError::System { what: "start a thread", source })?;
        Ok(JournalThread { orders: Some(orders), shared, thread: Some(thread), given: first })
    }

    /// The epoch of `record` is sealed.
    pub(in crate::runtime) fn seal(&mut self, record: EpochRecord) {
        self.given = record.epoch + 1;
        self.order(Order::Seal(record));
    }

    /// No epoch before `before` is wanted any more.
    pub(in crate::runtime) fn cut(&self, before: u64) {
        self.order(Order::Cut(before));
    }

    fn order(&self, order: Order) {
        if let Some(orders) = &self.orders {
            // What it has failed of is said by `check`.
            let _ = orders.send(order);
        }
    }

    /// The first epoch that is not durable.
    pub(in crate::runtime) fn durable(&self) -> u64 {
        self.shared.durable.load(Ordering::Acquire)
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
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// Waits until all that it was given is durable, and ends it.
    pub(in crate::runtime) fn finish(&mut self) -> Result<(), JournalError> {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.check()
    }
}

fn write(
    mut journal: Journal,
    orders: &Receiver<Order>,
    mut before_sync: impl FnMut() -> Result<(), JournalError>,
    shared: &Shared,
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
        shared.durable.store(journal.sync()?, Ordering::Release);
        shared.worker.unpark();
        if let Some(before) = cut.take() {
            journal.cut(before)?;
        }
    }
    Ok(())
}
