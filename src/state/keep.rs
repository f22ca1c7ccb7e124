//! The keep of one worker: buffers into which its doors write what changed.
//!
//! A machine says what changed of its durable rows while it closes an epoch, through a [`Keeper`].
//! That appends to column buffers and does nothing else: no row is looked up, hashed or allocated,
//! and nothing that the machine holds is scanned or cloned. A buffer that has grown to
//! [`Keep::PARTIAL`] is handed over to the writer's thread as it is; [`Keep::cut`] hands over what
//! is left, and says up to which epoch the changes make a snapshot. Which of several changes of a
//! key counts, is found out by the writer.
//!
//! The queue to the writer is bounded. What does not fit waits with the worker ([`Keep::pending`]),
//! because an epoch must not wait for a disk; whoever paces the epochs has to slow down when that
//! grows.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

use crate::data::{RowWriter, Stored, put_option};
use crate::state::changes::{Batch, Changes, Segment};
use crate::state::writer::{Message, Queue};
use crate::state::{Identity, StateError};
use crate::time::{Epoch, Millis};

/// What the doors of one worker say that changed of their durable rows.
#[derive(Clone, Debug)]
pub struct Keep(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    worker: usize,
    queue: Queue,
    doors: Vec<Rc<RefCell<Buffer>>>,
    /// What did not fit into the queue yet, in order.
    waiting: VecDeque<Message>,
}

/// The changes of one door that are not handed over yet.
#[derive(Debug)]
struct Buffer {
    door: Arc<Identity>,
    epoch: u64,
    /// The first epoch that the door has not closed; `None` if it has closed all there are.
    open: Option<Epoch>,
    segments: Vec<Segment>,
    changes: Changes,
}

impl Buffer {
    /// The segment of the epoch that is being closed.
    #[inline]
    fn segment(&mut self) -> &mut Segment {
        if self.segments.last().is_none_or(|last| last.epoch != self.epoch) {
            let end = self.changes.len();
            self.segments.push(Segment { epoch: self.epoch, end, gone_before: None });
        }
        self.segments.last_mut().expect("it was pushed where there was none")
    }

    fn take(&mut self, worker: usize) -> Option<Batch> {
        if self.segments.is_empty() {
            return None;
        }
        let fresh = self.changes.fresh(&self.door);
        let changes = std::mem::replace(&mut self.changes, fresh);
        let segments = std::mem::take(&mut self.segments);
        Some(Batch { door: Arc::clone(&self.door), worker, segments, changes })
    }
}

impl Keep {
    /// A buffer of so many bytes is handed over before its snapshot is due.
    pub const PARTIAL: usize = 8 << 20;

    /// The keep of worker `worker`, which hands over to the writer behind `queue`.
    pub fn new(worker: usize, queue: Queue) -> Self {
        Keep(Rc::new(RefCell::new(Inner { worker, queue, doors: Vec::new(), waiting: VecDeque::new() })))
    }

    /// A place for the changes of a door's rows.
    pub(crate) fn open<K: Stored, V: Stored>(&self, identity: Identity) -> Keeper<K, V> {
        let door = Arc::new(identity);
        let changes = Changes::new(&door);
        let door_of = Arc::clone(&door);
        let buffer = Buffer { door: door_of, epoch: 0, open: None, segments: Vec::new(), changes };
        let buffer = Rc::new(RefCell::new(buffer));
        let mut inner = self.0.borrow_mut();
        inner.doors.push(Rc::clone(&buffer));
        inner.send(Message::Door(door));
        drop(inner);
        Keeper { open: Some((buffer, self.clone())), rows: PhantomData }
    }

    /// All changes of epochs before `frontier` are in the keep: hands them over as this worker's
    /// part of the snapshot at `frontier`. It does not wait.
    ///
    /// The doors must have closed those epochs ([`Keep::frontier`]); they may have closed later
    /// ones, too. All workers have to cut at the same frontiers, in ascending order.
    pub fn cut(&self, frontier: Epoch) {
        let mut inner = self.0.borrow_mut();
        let worker = inner.worker;
        let batches: Vec<_> = inner.doors.iter().filter_map(|door| door.borrow_mut().take(worker)).collect();
        batches.into_iter().for_each(|batch| inner.send(Message::Batch(batch)));
        inner.send(Message::Cut(frontier));
    }

    /// The first epoch that a door of this worker has not closed yet; `None` if all doors have
    /// closed all epochs that there will be.
    ///
    /// This may be behind what the sinks have been shown, where a door is followed by no view.
    pub fn frontier(&self) -> Option<Epoch> {
        self.0.borrow().doors.iter().filter_map(|door| door.borrow().open).min()
    }

    /// Moves what waits into the queue, as far as there is room, and returns how many messages
    /// still wait.
    ///
    /// To be called now and then, and at the latest where [`Keep::pending`] is asked.
    pub fn flush(&self) -> usize {
        let mut inner = self.0.borrow_mut();
        inner.flush();
        inner.waiting.len()
    }

    /// The bytes of changes that wait because the writer's queue is full: whoever paces the epochs
    /// should slow down as this grows.
    pub fn pending(&self) -> usize {
        self.0.borrow().waiting.iter().map(Message::size).sum()
    }

    /// Waits until everything is in the queue: at the end of a run.
    ///
    /// # Errors
    ///
    /// When the writer has ended.
    pub fn finish(&self) -> Result<(), StateError> {
        let mut inner = self.0.borrow_mut();
        while let Some(message) = inner.waiting.pop_front() {
            inner.queue.send(message)?;
        }
        Ok(())
    }
}

impl Inner {
    fn send(&mut self, message: Message) {
        self.waiting.push_back(message);
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(message) = self.waiting.pop_front() {
            if let Some(message) = self.queue.try_send(message) {
                self.waiting.push_front(message);
                return;
            }
        }
    }
}

/// Where a machine says what changed of its durable rows.
///
/// Without a keep it does nothing, and a machine that would have to work for what it says asks
/// [`Keeper::is_on`] first.
pub(crate) struct Keeper<K, V> {
    open: Option<(Rc<RefCell<Buffer>>, Keep)>,
    rows: PhantomData<fn(K, V)>,
}

impl<K, V> fmt::Debug for Keeper<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").field("is_on", &self.open.is_some()).finish_non_exhaustive()
    }
}

impl<K: Stored, V: Stored> Keeper<K, V> {
    /// The size of a buffer is looked at once in so many changes.
    const LOOK: usize = 1 << 12;

    /// For a door that keeps nothing.
    pub(crate) fn off() -> Self {
        Keeper { open: None, rows: PhantomData }
    }

    /// Whether anyone wants to know.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.open.is_some()
    }

    /// What changes from now on is of `epoch`.
    pub(crate) fn begin(&self, epoch: Epoch) {
        if let Some((buffer, _)) = &self.open {
            buffer.borrow_mut().epoch = epoch.number();
        }
    }

    /// The door has closed all epochs before `frontier`, or all there will be.
    pub(crate) fn closed(&self, frontier: Option<Epoch>) {
        if let Some((buffer, _)) = &self.open {
            buffer.borrow_mut().open = frontier;
        }
    }

    /// The row of `key` is now `value`.
    #[inline]
    pub(crate) fn put(&self, key: impl StoredAs<K>, value: impl StoredAs<V>) {
        let Some((buffer, keep)) = &self.open else { return };
        let mut buffer = buffer.borrow_mut();
        buffer.segment();
        key.put_as(&mut RowWriter::new(&mut buffer.changes.key));
        value.put_as(&mut RowWriter::new(&mut buffer.changes.value));
        Self::added(&mut buffer, keep, true);
    }

    /// The row of `key` is gone.
    #[inline]
    pub(crate) fn take(&self, key: impl StoredAs<K>) {
        let Some((buffer, keep)) = &self.open else { return };
        let mut buffer = buffer.borrow_mut();
        buffer.segment();
        key.put_as(&mut RowWriter::new(&mut buffer.changes.key));
        Self::added(&mut buffer, keep, false);
    }

    #[inline]
    fn added(buffer: &mut Buffer, keep: &Keep, put: bool) {
        buffer.changes.puts.push(put);
        let len = buffer.changes.len();
        if let Some(last) = buffer.segments.last_mut() {
            last.end = len;
        }
        if len.is_multiple_of(Self::LOOK) && buffer.changes.size() >= Keep::PARTIAL {
            let mut inner = keep.0.borrow_mut();
            let worker = inner.worker;
            if let Some(batch) = buffer.take(worker) {
                inner.send(Message::Batch(batch));
            }
        }
    }

    /// All rows of which the key begins with a time before `time` are gone, whether put before or
    /// in this epoch.
    pub(crate) fn forget_before(&self, time: Millis) {
        let Some((buffer, _)) = &self.open else { return };
        let mut buffer = buffer.borrow_mut();
        let segment = buffer.segment();
        segment.gone_before = segment.gone_before.max(Some(time));
    }
}

/// Something that is written as a `T` is: a reference to one, or a tuple of what its parts are
/// written as. So a machine need not put a key together, by cloning, to say that it changed.
pub(crate) trait StoredAs<T> {
    fn put_as(self, row: &mut RowWriter<'_>);
}

impl<T: Stored> StoredAs<T> for &T {
    #[inline]
    fn put_as(self, row: &mut RowWriter<'_>) {
        self.put(row);
    }
}

impl<T: Stored> StoredAs<Option<T>> for Option<&T> {
    #[inline]
    fn put_as(self, row: &mut RowWriter<'_>) {
        put_option(self, row);
    }
}

macro_rules! stored_as {
    ($($t:ident $u:ident $i:tt),+) => {
        impl<$($t, $u: StoredAs<$t>),+> StoredAs<($($t,)+)> for ($($u,)+) {
            #[inline]
            fn put_as(self, row: &mut RowWriter<'_>) {
                $(self.$i.put_as(row);)+
            }
        }
    };
}
stored_as!(A P 0, B Q 1);
stored_as!(A P 0, B Q 1, C R 2);
stored_as!(A P 0, B Q 1, C R 2, D S 3);
