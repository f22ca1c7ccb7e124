//! The way of the views from worker 0 to the sinks.

use crate::sink::thread::SinkThread;
use crate::sink::{Shows, Sink, SinkError};
use crate::time::{Epoch, Time};
use crate::view::Views;

/// A sink, and what it is to show.
#[derive(Debug)]
pub struct Attached {
    /// What errors call it: its URI.
    pub name: String,
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// What it shows, and when.
    pub shows: Shows,
    /// Bytes that may wait for it before there is no room ([`Outputs::has_room`]).
    pub queue: u64,
}

impl Attached {
    /// Bytes that may wait for a sink by default: enough for it to work while the workers do.
    pub const QUEUE: u64 = 16 << 20;

    /// `sink`, with a queue of [`Attached::QUEUE`].
    pub fn new(name: &str, sink: Box<dyn Sink>, shows: Shows) -> Self {
        Attached { name: name.to_owned(), sink, shows, queue: Attached::QUEUE }
    }
}

/// How far a sink is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SinkStatus {
    /// Its URI.
    pub uri: String,
    /// Changes of rows that it has been given in this run.
    pub rows: u64,
    /// Bytes of rows, about, that wait for it.
    pub waiting: u64,
    /// How many epochs, from 0, it has committed.
    pub committed: u64,
}

/// Where a run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// The number of the run among all that have gone on from one another, from 0.
    pub incarnation: u64,
    /// Which durable state it goes on from, or begins: a number that was drawn at random as that was created. `None` if it
    /// keeps none.
    pub state: Option<u128>,
    /// The first epoch that is this run's own. What comes before is what it goes on from: views hold it, and no sink is shown
    /// it.
    pub first: u64,
}

/// The views of a dataflow on worker 0, and the sinks that they go to.
///
/// It moves what is closed to the sinks' threads, and never waits for them but in [`Outputs::open`] and
/// [`Outputs::finish`].
#[derive(Debug)]
pub struct Outputs {
    views: Views,
    sinks: Vec<SinkThread>,
    /// All epochs before this one are closed, and the sinks know it.
    closed: u64,
    /// The first epoch of which nothing has been seen.
    seen: u64,
    ended: bool,
    /// Whether any view has had a row.
    answered: bool,
    /// The time that the sinks were told last.
    told: Option<Time>,
}

impl Outputs {
    /// Starts a thread for each of `sinks`, and waits until all are open.
    ///
    /// # Errors
    ///
    /// When one of them cannot be opened; it is the first that cannot.
    pub fn open(views: Views, sinks: Vec<Attached>, start: Start) -> Result<Self, SinkError> {
        let sinks = sinks.into_iter().map(|sink| SinkThread::start(sink, &views, start));
        let mut sinks = sinks.collect::<Result<Vec<_>, _>>()?;
        sinks.iter_mut().try_for_each(SinkThread::wait_until_open)?;
        Ok(Outputs {
            views,
            sinks,
            closed: start.first,
            seen: start.first,
            ended: false,
            answered: false,
            told: None,
        })
    }

    /// Moves everything before `upto` to the sinks that they were not given; with `None` all, and the end.
    ///
    /// `upto` is how far epochs are *closed and sealed*: the caller's frontier, or less. The steps of an epoch are given one
    /// by one, in order, each when it is closed: an epoch may have a million of them, which nobody should have to hold. By
    /// then the sources' part of the epoch has ended. Sinks commit an epoch when all of it is before `upto`, each epoch once
    /// and in order, also those in which nothing changed.
    ///
    /// `epochs` is how many epochs there have been, which is looked at where `upto` does not say it: at the end. The last
    /// state is shown under the number of the last.
    ///
    /// # Errors
    ///
    /// When a sink has failed: now, or earlier and in the meantime. Nothing is moved then, and the run is to end.
    pub fn advance(&mut self, upto: Option<Epoch>, epochs: u64) -> Result<(), SinkError> {
        self.check()?;
        while let Some(changed) = self.views.next_before(upto) {
            if changed.time != Epoch::END {
                self.close(changed.time.number());
                self.seen = self.seen.max(changed.time.number() + 1);
            }
            self.answered |= !(changed.rows.is_empty() && changed.finals.is_empty());
            let parts: Vec<_> = self.sinks.iter().map(|sink| sink.part(&changed)).collect();
            // Before they are sent: the last who holds rows may keep them without copying.
            drop(changed);
            for (sink, part) in self.sinks.iter().zip(parts) {
                part.into_iter().for_each(|part| sink.step(part));
            }
        }
        match upto {
            Some(upto) if upto != Epoch::END => self.close(upto.number()),
            _ => self.close(epochs.max(self.seen)),
        }
        if upto.is_none() && !self.ended {
            self.ended = true;
            self.sinks.iter_mut().for_each(|sink| sink.end(epochs.saturating_sub(1)));
        }
        Ok(())
    }

    /// Tells the sinks that all epochs before `epoch` are closed.
    fn close(&mut self, epoch: u64) {
        if epoch > self.closed {
            self.closed = epoch;
            self.sinks.iter().for_each(|sink| sink.commit(epoch));
        }
    }

    /// Tells the sinks what time it is, once a second at most: call it as often as is handy.
    pub fn clock(&mut self, now: Time) {
        let told = self.told.is_some_and(|told| (told.0..told.0.saturating_add(1000)).contains(&now.0));
        if !told {
            self.told = Some(now);
            self.sinks.iter().for_each(|sink| sink.clock(now));
        }
    }

    /// Looks whether all sinks go on.
    ///
    /// # Errors
    ///
    /// When one of them has failed.
    pub fn check(&self) -> Result<(), SinkError> {
        self.sinks.iter().try_for_each(SinkThread::check)
    }

    /// Whether any view has had a row so far.
    pub fn has_answered(&self) -> bool {
        self.answered
    }

    /// Whether every sink has room for more. While it has not, no new epoch is to be opened; the thread that opened this is
    /// unparked when there is room again.
    pub fn has_room(&self) -> bool {
        self.sinks.iter().all(SinkThread::has_room)
    }

    /// Whether so much waits for a sink that even what is under way is too much for it.
    pub fn is_flooded(&self) -> bool {
        self.sinks.iter().any(SinkThread::is_flooded)
    }

    /// Bytes of rows, about, that were given to the sinks and that they have not written yet.
    pub fn waiting(&self) -> u64 {
        self.sinks.iter().map(SinkThread::waiting).sum()
    }

    /// How far each sink is, in the order in which they were given.
    pub fn status(&self) -> Vec<SinkStatus> {
        self.sinks.iter().map(SinkThread::status).collect()
    }

    /// The run is to end: sinks that wait for servers wait no longer than they do at the end.
    pub fn announce_end(&self) {
        self.sinks.iter().for_each(SinkThread::announce_end);
    }

    /// How many epochs, from 0, every sink has committed; without sinks, all that are closed.
    pub fn committed(&self) -> u64 {
        self.sinks.iter().map(SinkThread::committed).min().unwrap_or(self.closed)
    }

    /// Whether there are sinks, and whoever read them has gone away from each: nobody wants to know more.
    pub fn is_left(&self) -> bool {
        !self.sinks.is_empty() && self.sinks.iter().all(SinkThread::was_left)
    }

    /// Whether all sinks have ended, so that [`Outputs::finish`] does not wait. They end after the end of the input, or with
    /// an error.
    pub fn has_ended(&self) -> bool {
        self.sinks.iter().all(SinkThread::has_ended)
    }

    /// Waits until every sink has written all that it was given. After `advance(None, …)` they have written everything and
    /// been finished; before, they have not, and end where they are.
    ///
    /// # Errors
    ///
    /// When a sink has failed.
    pub fn finish(&mut self) -> Result<(), SinkError> {
        let results: Vec<_> = self.sinks.iter_mut().map(SinkThread::join).collect();
        results.into_iter().collect()
    }
}
