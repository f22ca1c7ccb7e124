//! The thread that makes snapshots of what the processes have written.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle, Thread};

use crate::ledger::Mark;
use crate::runtime::RunError;
use crate::runtime::durable::DurableError;
use crate::runtime::durable::start::{Payload, Start};
use crate::state::disk::{Manifests, Written};
use crate::state::storage::Storage;
use crate::state::{Line, StateError};
use crate::time::Epoch;

/// What is to become of one frontier.
#[derive(Debug)]
struct Expected {
    mark: Mark,
    parts: Vec<Written>,
}

/// Enough to publish a snapshot.
#[derive(Debug)]
struct Order {
    frontier: Epoch,
    payload: Vec<u8>,
    parts: Vec<Written>,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PublishedUpTo {
    /// The frontier of the newest snapshot.
    pub(super) frontier: u64,
    /// That of the oldest one that is kept: nothing before it is wanted any more.
    pub(super) oldest: u64,
}

#[derive(Debug)]
struct Shared {
    published: Mutex<Option<PublishedUpTo>>,
    failed: Mutex<Option<DurableError>>,
    worker: Thread,
}

/// Process 0's publisher.
#[derive(Debug)]
pub(super) struct Publisher {
    processes: usize,
    expected: BTreeMap<u64, Expected>,
    dataflow: String,
    sources: Vec<super::start::SourceName>,
    orders: Option<Sender<Order>>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Publishes what `processes` processes write of the run that began as `start` says.
    pub(super) fn start(start: &Start, processes: usize) -> Result<Self, RunError> {
        let manifests = start.manifests().map_err(|error| RunError::Durable(error.into()))?;
        let (orders, received) = channel();
        let shared = Arc::new(Shared {
            published: Mutex::default(),
            failed: Mutex::default(),
            worker: std::thread::current(),
        });
        let theirs = Arc::clone(&shared);
        let (storage, incarnation) = (Arc::clone(&start.storage), start.incarnation);
        let body = move || {
            if let Err(error) = publish(manifests, &*storage, incarnation, &received, &theirs) {
                *theirs.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            theirs.worker.unpark();
        };
        let thread = Builder::new().name("publisher".to_owned()).spawn(body);
        let thread = thread.map_err(|source| RunError::System { what: "start a thread", source })?;
        Ok(Publisher {
            processes,
            expected: BTreeMap::new(),
            dataflow: start.dataflow.clone(),
            sources: start.sources.clone(),
            orders: Some(orders),
            shared,
            thread: Some(thread),
        })
    }

    /// There is to be a snapshot of what the run was at `mark`.
    pub(super) fn expect(&mut self, mark: Mark) {
        self.expected.insert(mark.next_epoch(), Expected { mark, parts: Vec::new() });
    }

    /// Whether a snapshot is under way that all processes have yet to write, or that waits for sinks.
    pub(super) fn is_waiting(&self) -> bool {
        !self.expected.is_empty()
    }

    /// A process has written its part.
    pub(super) fn written(&mut self, written: Written) {
        if let Some(expected) = self.expected.get_mut(&written.frontier.number()) {
            expected.parts.push(written);
        }
    }

    /// Publishes what all processes have written, as far as every sink has committed the epochs in it: those before `committed`.
    pub(super) fn publish(&mut self, committed: u64) {
        while let Some(first) = self.expected.first_entry() {
            let frontier = *first.key();
            if frontier > committed || first.get().parts.len() < self.processes {
                return;
            }
            let Expected { mark, parts } = first.remove();
            let payload = Payload { dataflow: self.dataflow.clone(), sources: self.sources.clone(), mark };
            let payload = serde_json::to_vec(&payload).expect("text, numbers and names for keys");
            if let Some(orders) = &self.orders {
                // What it has failed of is said by `check`.
                let _ = orders.send(Order { frontier: Epoch::new(frontier), payload, parts });
            }
        }
    }

    /// How far it has come, if it has published anything.
    pub(super) fn published(&self) -> Option<PublishedUpTo> {
        *self.shared.published.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks whether it goes on.
    pub(super) fn check(&self) -> Result<(), DurableError> {
        self.shared.failed.lock().unwrap_or_else(PoisonError::into_inner).take().map_or(Ok(()), Err)
    }

    /// Waits until it has done what it was given, and ends it.
    pub(super) fn finish(&mut self) -> Result<(), DurableError> {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.check()
    }
}

fn publish(
    mut manifests: Manifests,
    storage: &dyn Storage,
    incarnation: u64,
    orders: &Receiver<Order>,
    shared: &Shared,
) -> Result<(), DurableError> {
    while let Ok(Order { frontier, payload, parts }) = orders.recv() {
        if Line::is_over(storage, incarnation)? {
            return Err(DurableError::Fenced { uri: storage.uri().to_owned() });
        }
        let oldest = manifests.publish(frontier, parts, payload).map_err(StateError::from)?;
        let published = PublishedUpTo { frontier: frontier.number(), oldest: oldest.number() };
        *shared.published.lock().unwrap_or_else(PoisonError::into_inner) = Some(published);
        shared.worker.unpark();
    }
    Ok(())
}
