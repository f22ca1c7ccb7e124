//! A sink on a thread of its own, behind a queue.
//!
//! The queue is bounded by what the worker learns that fills it ([`Queue::has_room`]); it never blocks. What is in
//! it when it is full is what the epochs hold that are open then.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;
use std::time::Duration;

use crate::errand::{Errand, Task};
use crate::sink::{
    At, Attached, Closed, Ending, Mode, Opening, Pause, Shows, Sink, SinkError, SinkStatus, Start,
};
use crate::time::{Epoch, Time};
use crate::view::{Batch, Changed, Contents, Finality, Holding, Keep, Schema, Views};

/// What a message takes besides its rows, so that many small ones are not for nothing.
const MESSAGE_BYTES: u64 = 128;

/// After so long without a message a sink is asked to complete all that it has put off.
const LULL: Duration = Duration::from_millis(250);

/// What the worker has to say to a sink.
#[derive(Debug)]
enum Message {
    /// Something changed.
    Step(Changed),
    /// All epochs before this one are closed.
    Commit { before: u64 },
    /// What time it is.
    Clock(Time),
    /// The input has ended; its last epoch was this one.
    End { epoch: u64 },
}

impl Message {
    fn bytes(&self) -> u64 {
        let Message::Step(Changed { rows, finals, .. }) = self else { return MESSAGE_BYTES };
        rows.iter().chain(finals).map(|batch| batch.bytes).sum::<u64>() + MESSAGE_BYTES
    }
}

/// What the worker and the sink's thread both see.
#[derive(Debug)]
struct Queue {
    /// Bytes that wait, and are being written.
    waiting: AtomicU64,
    /// How many may, before there is no room.
    bound: u64,
    /// How many epochs the sink has committed, counted from 0.
    committed: AtomicU64,
    /// Whether it has ended because whoever read it has gone away.
    left: AtomicBool,
    /// Whether the run is to end.
    ending: Ending,
    worker: Thread,
}

impl Queue {
    fn has_room(&self) -> bool {
        self.waiting.load(Ordering::Acquire) < self.bound
    }

    fn release(&self, bytes: u64) {
        let before = self.waiting.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.bound && before - bytes < self.bound {
            self.worker.unpark();
        }
    }
}

/// The worker's end.
#[derive(Debug)]
pub(super) struct SinkThread {
    name: String,
    /// Changes of rows that it was given.
    rows: Cell<u64>,
    /// By view, whether its rows are shown or counted, and whether what is final.
    interest: Vec<(bool, bool)>,
    queue: Arc<Queue>,
    errand: Errand<Message, SinkError>,
}

impl SinkThread {
    /// Starts the thread of `attached`, which opens the sink at once: see [`SinkThread::wait_until_open`].
    pub(super) fn start(attached: Attached, views: &Views, start: Start) -> Result<Self, SinkError> {
        let Attached { name, sink, shows, queue: bound } = attached;
        let appends = shows.mode == Mode::Append;
        let bounded = shows.whole() && shows.keep != Keep::ALL;
        let interest = views.schemas().map(|schema| match (schema.finality, appends) {
            (Finality::Never, true) => (false, false),
            (Finality::InTime, true) => (false, true),
            (Finality::Never | Finality::AtOnce, _) => (true, false),
            (Finality::InTime, false) => (true, bounded),
        });
        let interest: Vec<_> = interest.collect();
        let holding = Holding {
            changes: shows.at == At::EveryEpoch,
            rows: shows.whole(),
            finals: appends,
            keep: shows.keep,
        };
        let mut contents = Vec::new();
        let places = interest.iter().enumerate().map(|(view, interest)| {
            (*interest != (false, false)).then(|| {
                contents.push(views.contents(view, holding));
                contents.len() - 1
            })
        });
        let places = places.collect();
        let schemas: Vec<_> =
            views.schemas().zip(&places).filter(|(_, place): &(_, &Option<usize>)| place.is_some()).collect();
        let schemas: Vec<Arc<Schema>> = schemas.into_iter().map(|(schema, _)| Arc::clone(schema)).collect();

        let queue = Arc::new(Queue {
            waiting: AtomicU64::new(0),
            bound: bound.max(1),
            committed: AtomicU64::new(start.first),
            left: AtomicBool::new(false),
            ending: Ending::default(),
            worker: std::thread::current(),
        });
        let consumer = Consumer {
            name: name.clone(),
            start,
            schemas,
            sink,
            shows,
            contents,
            places,
            next: start.first,
            done: start.first,
            begun: false,
            finished: false,
            queue: Arc::clone(&queue),
        };
        // What waits is counted in bytes.
        let errand = Errand::start(&format!("sink {name}"), usize::MAX, consumer)
            .map_err(|source| SinkError::Thread { sink: name.clone(), source })?;
        Ok(SinkThread { name, rows: Cell::new(0), interest, queue, errand })
    }

    /// Waits until the sink is open.
    pub(super) fn wait_until_open(&mut self) -> Result<(), SinkError> {
        self.errand.wait_until_begun();
        self.check()
    }

    /// The part of `changed` that the sink is shown, if it is any.
    pub(super) fn part(&self, changed: &Changed) -> Option<Changed> {
        let part = |batches: &[Batch], of: fn(&(bool, bool)) -> bool| -> Vec<Batch> {
            batches.iter().filter(|batch| of(&self.interest[batch.view])).cloned().collect()
        };
        let rows = part(&changed.rows, |(rows, _)| *rows);
        let finals = part(&changed.finals, |(_, finals)| *finals);
        let any = !rows.is_empty() || !finals.is_empty();
        any.then_some(Changed { time: changed.time, rows, finals })
    }

    pub(super) fn step(&self, part: Changed) {
        let rows: u64 = part.rows.iter().chain(&part.finals).map(|batch| batch.changed).sum();
        self.rows.set(self.rows.get() + rows);
        self.send(Message::Step(part));
    }

    pub(super) fn commit(&self, before: u64) {
        self.send(Message::Commit { before });
    }

    pub(super) fn clock(&self, now: Time) {
        self.send(Message::Clock(now));
    }

    /// The run is to end.
    pub(super) fn announce_end(&self) {
        self.queue.ending.announce();
    }

    pub(super) fn end(&mut self, epoch: u64) {
        self.announce_end();
        self.send(Message::End { epoch });
        self.errand.close();
    }

    fn send(&self, message: Message) {
        self.queue.waiting.fetch_add(message.bytes(), Ordering::AcqRel);
        // A sink that has failed says so in `check`.
        self.errand.tell(message);
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.has_room() || self.has_ended()
    }

    /// Whether several times as much waits as there is room for.
    pub(super) fn is_flooded(&self) -> bool {
        !self.has_ended() && self.queue.waiting.load(Ordering::Acquire) >= self.queue.bound.saturating_mul(4)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.errand.has_ended()
    }

    /// Whether whoever read it has gone away.
    pub(super) fn was_left(&self) -> bool {
        self.queue.left.load(Ordering::Acquire)
    }

    pub(super) fn waiting(&self) -> u64 {
        if self.has_ended() { 0 } else { self.queue.waiting.load(Ordering::Acquire) }
    }

    pub(super) fn status(&self) -> SinkStatus {
        let (uri, rows) = (self.name.clone(), self.rows.get());
        SinkStatus { uri, rows, waiting: self.waiting(), committed: self.committed() }
    }

    pub(super) fn committed(&self) -> u64 {
        self.queue.committed.load(Ordering::Acquire)
    }

    /// The sink's error, if it has failed; once.
    pub(super) fn check(&self) -> Result<(), SinkError> {
        self.errand.check()
    }

    /// Waits until the thread has ended.
    pub(super) fn join(&mut self) -> Result<(), SinkError> {
        self.errand.finish()
    }
}

/// The sink's end.
struct Consumer {
    name: String,
    start: Start,
    schemas: Vec<Arc<Schema>>,
    sink: Box<dyn Sink>,
    shows: Shows,
    /// The views that it shows, in order ...
    contents: Vec<Box<dyn Contents>>,
    /// ... and by the number of each view, which of them it is.
    places: Vec<Option<usize>>,
    /// The next epoch to be committed.
    next: u64,
    /// The first epoch that is not committed yet, in this run or an earlier one: those before are not shown again.
    done: u64,
    /// Whether the sink knows what it begins with.
    begun: bool,
    /// Whether it will be called no more: it was finished, or whoever read it has gone away.
    finished: bool,
    queue: Arc<Queue>,
}

impl Task for Consumer {
    type Order = Message;
    type Error = SinkError;

    fn begin(&mut self) -> Result<(), SinkError> {
        let opened = self.open();
        self.unless_left(opened)
    }

    fn perform(&mut self, message: Message) -> Result<(), SinkError> {
        let bytes = message.bytes();
        let done = if self.finished { Ok(()) } else { self.show(message) };
        self.queue.release(bytes);
        self.unless_left(done)
    }

    fn rest(&mut self) -> Result<Option<Duration>, SinkError> {
        self.settle(Pause::Empty)?;
        Ok((!self.finished && self.sink.behind() > 0).then_some(LULL))
    }

    fn lull(&mut self) -> Result<(), SinkError> {
        self.settle(Pause::Lull)
    }

    fn end(&mut self) -> Result<(), SinkError> {
        self.settle(Pause::Over)
    }

    fn panicked(&self, message: String) -> SinkError {
        SinkError::Panicked { sink: self.name.clone(), message }
    }
}

impl Consumer {
    fn open(&mut self) -> Result<(), SinkError> {
        let Start { incarnation, state, first } = self.start;
        let (shows, views, ending) = (self.shows, &self.schemas, self.queue.ending.clone());
        let opening = Opening { incarnation, state, first, shows, views, ending };
        let committed = self.sink.open(&opening)?;
        self.done = self.done.max(committed.map_or(0, |epoch| epoch.saturating_add(1)));
        self.queue.committed.store(self.done, Ordering::Release);
        Ok(())
    }

    fn show(&mut self, message: Message) -> Result<(), SinkError> {
        match message {
            Message::Step(changed) => self.step(changed),
            Message::Commit { before } => self.commit(before),
            Message::Clock(now) => {
                self.sink.clock(now)?;
                self.tell();
                Ok(())
            }
            Message::End { epoch } => {
                self.begin_views()?;
                if self.shows.at == At::End {
                    let views = &self.contents;
                    self.sink.write(&Closed { epoch, step: 0, views, last: true })?;
                }
                self.finished = true;
                self.sink.finish()
            }
        }
    }

    fn settle(&mut self, pause: Pause) -> Result<(), SinkError> {
        if self.finished {
            return Ok(());
        }
        let settled = self.sink.settle(pause);
        if settled.is_ok() {
            self.tell();
        }
        self.unless_left(settled)
    }

    /// What came of calling the sink. It is no error that whoever read it has gone away: that is the end of it.
    fn unless_left(&mut self, done: Result<(), SinkError>) -> Result<(), SinkError> {
        if done.as_ref().is_err_and(SinkError::is_readers_leave) {
            self.finished = true;
            self.queue.left.store(true, Ordering::Release);
            self.queue.worker.unpark();
            return Ok(());
        }
        done
    }

    /// Says how far the sink has committed.
    fn tell(&self) {
        self.queue.committed.store(self.done.saturating_sub(self.sink.behind()), Ordering::Release);
    }

    /// Shows the sink what it begins with, once.
    fn begin_views(&mut self) -> Result<(), SinkError> {
        if std::mem::replace(&mut self.begun, true) { Ok(()) } else { self.sink.begin(&self.contents) }
    }

    fn step(&mut self, changed: Changed) -> Result<(), SinkError> {
        let Changed { time, rows, finals } = changed;
        let appends = self.shows.mode == Mode::Append;
        let mut parts: Vec<(Option<Batch>, Option<Batch>)> =
            self.contents.iter().map(|_| (None, None)).collect();
        for batch in rows {
            if let Some(place) = self.places[batch.view] {
                parts[place].0 = Some(batch);
            }
        }
        for batch in finals {
            if let Some(place) = self.places[batch.view] {
                // What is final is all that a sink shows which appends.
                let part = &mut parts[place];
                *(if appends { &mut part.0 } else { &mut part.1 }) = Some(batch);
            }
        }
        // What is restored comes before what is shown, and all of it at earlier times.
        if time != Epoch::END && time.number() >= self.done {
            self.begin_views()?;
        }
        for (view, (rows, finals)) in self.contents.iter_mut().zip(parts) {
            view.apply(time, rows, finals)?;
        }
        let epoch = time.number();
        let shown = self.shows.at == At::EveryEpoch && time != Epoch::END && epoch >= self.done;
        #[cfg(test)]
        let shown = shown || crate::runtime::is_planted(crate::runtime::Bug::RestoredIsShown);
        if shown && self.contents.iter().any(|view| view.has_changed()) {
            self.sink.write(&Closed { epoch, step: time.step(), views: &self.contents, last: false })?;
        }
        Ok(())
    }

    fn commit(&mut self, before: u64) -> Result<(), SinkError> {
        for epoch in self.next..before {
            if epoch >= self.done {
                self.begin_views()?;
                self.sink.commit(epoch)?;
                self.done = epoch + 1;
                self.tell();
            }
        }
        self.next = self.next.max(before);
        Ok(())
    }
}
