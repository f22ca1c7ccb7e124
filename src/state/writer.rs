//! Who makes snapshots of what the keeps hand over, beside the workers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::errand::{Errand, Orders, Task};
use crate::state::changes::Batch;
use crate::state::consolidate::Consolidation;
use crate::state::{Identity, StateError, Store};
use crate::time::Epoch;

/// What a keep hands over.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// There is such a door. Every worker says so of every door, before it changes.
    Door(Arc<Identity>),
    /// What changed.
    Batch(Batch),
    /// That was all of a worker's changes before a frontier.
    Cut(Epoch),
}

impl Message {
    /// The memory that its changes take, in bytes.
    pub(super) fn size(&self) -> usize {
        if let Message::Batch(batch) = self { batch.changes.size() } else { 0 }
    }
}

/// The way to a writer, bounded.
#[derive(Clone, Debug)]
pub struct Queue(Orders<Message, StateError>);

impl Queue {
    /// Puts `message` into the queue, or gives it back if that is full. A writer that has ended
    /// takes everything: what it ended of is said by [`Writer::finish`].
    pub(super) fn try_send(&self, message: Message) -> Option<Message> {
        self.0.try_tell(message).err()
    }

    /// Puts `message` into the queue as soon as there is room.
    pub(super) fn send(&self, message: Message) -> Result<(), StateError> {
        match self.0.tell(message) {
            true => Ok(()),
            false => Err(StateError::Writer("its queue is closed".to_owned())),
        }
    }
}

/// How far a writer has come.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<Mutex<Option<Epoch>>>);

impl Published {
    /// The frontier of the newest snapshot that has been published.
    pub fn frontier(&self) -> Option<Epoch> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, frontier: Epoch) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(frontier);
    }
}

/// Puts together what the keeps of all workers of a process hand over, and publishes it: on a thread of its own.
///
/// It ends when all keeps and queues are dropped, and at the first thing that the store cannot do.
pub struct Writer {
    errand: Errand<Message, StateError>,
    published: Published,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("published", &self.published.frontier()).finish_non_exhaustive()
    }
}

impl Writer {
    /// Messages that fit into the queue by default: a few snapshots of some doors and workers each,
    /// or partial batches of [`Keep::PARTIAL`](super::Keep::PARTIAL) bytes.
    pub const QUEUE: usize = 64;

    /// A writer to `store` for so many `workers`, with room for `queue` messages.
    ///
    /// # Errors
    ///
    /// When no thread can be started.
    pub fn start(store: impl Store, workers: usize, queue: usize) -> Result<Self, StateError> {
        let published = Published::default();
        let (doors, cuts) = (Vec::new(), BTreeMap::new());
        let snapshots = Snapshots { store, workers, published: published.clone(), doors, cuts };
        let errand = Errand::start("snapshots", queue, snapshots)
            .map_err(|error| StateError::Store { doing: "start a thread", source: error.into() })?;
        Ok(Writer { errand, published })
    }

    /// The way to it.
    pub fn queue(&self) -> Queue {
        Queue(self.errand.orders())
    }

    /// How far it has come, to be asked while it works.
    pub fn published(&self) -> Published {
        self.published.clone()
    }

    /// Whether it has ended early, so that no more snapshots come.
    pub fn has_failed(&self) -> bool {
        self.errand.has_ended()
    }

    /// Waits until all that was handed over is published. All keeps must have been dropped.
    ///
    /// # Errors
    ///
    /// The first thing that the store could not do.
    pub fn finish(mut self) -> Result<(), StateError> {
        self.errand.finish()
    }
}

/// What it knows.
struct Snapshots<S> {
    store: S,
    workers: usize,
    published: Published,
    doors: Vec<Door>,
    /// How many workers have cut at a frontier.
    cuts: BTreeMap<Epoch, usize>,
}

struct Door {
    identity: Arc<Identity>,
    /// In the order in which they came, each from its first change that is not published.
    pending: Vec<(Batch, usize)>,
}

impl<S: Store> Task for Snapshots<S> {
    type Order = Message;
    type Error = StateError;

    const BACKGROUND: bool = true;

    fn perform(&mut self, message: Message) -> Result<(), StateError> {
        match message {
            Message::Door(identity) => {
                self.door(&identity);
            }
            Message::Batch(batch) => self.door(&Arc::clone(&batch.door)).pending.push((batch, 0)),
            Message::Cut(frontier) => {
                let cuts = self.cuts.entry(frontier).or_default();
                *cuts += 1;
                if *cuts == self.workers {
                    self.cuts.remove(&frontier);
                    self.publish(frontier)?;
                }
            }
        }
        Ok(())
    }

    fn panicked(&self, message: String) -> StateError {
        StateError::Writer(format!("it panicked: {message}"))
    }
}

impl<S: Store> Snapshots<S> {
    fn door(&mut self, identity: &Arc<Identity>) -> &mut Door {
        let at = self.doors.iter().position(|door| door.identity.name() == identity.name());
        let at = at.unwrap_or_else(|| {
            self.doors.push(Door { identity: Arc::clone(identity), pending: Vec::new() });
            self.doors.len() - 1
        });
        &mut self.doors[at]
    }

    fn publish(&mut self, frontier: Epoch) -> Result<(), StateError> {
        for door in &mut self.doors {
            door.write(frontier, &mut self.store)?;
        }
        let doors: Vec<_> = self.doors.iter().map(|door| Arc::clone(&door.identity)).collect();
        self.store.publish(frontier, &doors)?;
        self.published.set(frontier);
        Ok(())
    }
}

impl Door {
    /// Writes what changed before `frontier`, the last change of each key, and leaves the rest
    /// pending.
    fn write(&mut self, frontier: Epoch, store: &mut impl Store) -> Result<(), StateError> {
        let before = |batch: &Batch| {
            let segments = batch.segments.iter().take_while(|segment| segment.epoch < frontier.number());
            let gone = segments.clone().filter_map(|segment| segment.gone_before).max();
            (segments.last().map(|last| last.end), gone)
        };
        // Rows that are gone by one epoch are not put by a later one.
        let gone = self.pending.iter().filter_map(|(batch, _)| before(batch).1).max();
        let mut last = Consolidation::new();
        let mut any = gone.is_some();
        for (batch, from) in &self.pending {
            if let (Some(upto), _) = before(batch) {
                last.add(&batch.changes, *from, upto, gone);
                any |= upto > *from;
            }
        }
        if any {
            store.write(&self.identity, frontier, gone, &last.changes(&self.identity))?;
        }
        self.pending.retain_mut(|(batch, from)| {
            *from = before(batch).0.unwrap_or(*from);
            batch.segments.retain(|segment| segment.epoch >= frontier.number());
            !batch.segments.is_empty()
        });
        Ok(())
    }
}
