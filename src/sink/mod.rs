//! Views to the world.
//!
//! ```text
//! Views ── Outputs (worker 0: moves batches) ── a queue each ──▶ a thread each: Contents, then the Sink
//! ```
//!
//! Worker 0 only moves what is closed into the sinks' queues ([`Outputs`]); each sink runs on a thread of its own, where
//! whatever it needs of its views is kept, too. So a slow sink holds up no worker: its queue fills up, [`Outputs::has_room`]
//! says so, and whoever opens epochs opens none until there is room again. An error comes back as a value.
//!
//! A sink is shown an epoch once, whole, after it is closed, and in order: one step after the other, all views together, and
//! then it completes the epoch ([`Sink::commit`]). Sinks know rows and values; they know no dataflow and no clock.
//!
//! A view is up to two collections: its rows as they are, and, where it is a table of windows or sessions, each of
//! those rows once, when it is final. A sink that appends shows the latter, all others the former ([`Mode`]).
//!
//! Sinks are found by the scheme of their URI ([`Sinks`]): one of your own is an `impl` of [`Sink`] and a registration.

mod console;
mod csv;
mod error;
pub mod files;
mod foreach;
mod jsonl;
#[cfg(feature = "kafka")]
pub mod kafka;
mod outputs;
#[cfg(any(feature = "kafka", feature = "sqlite", feature = "postgres", feature = "mysql"))]
mod patience;
mod registry;
mod rows;
mod shows;
mod spec;
pub mod sql;
mod stdout;
mod thread;
mod uri;

pub use console::Console;
pub use csv::Csv;
pub use error::SinkError;
pub use files::{Files, FilesError};
pub use foreach::{EpochRow, EpochRows, Foreach, Iter as EpochRowsIter};
pub use jsonl::Jsonl;
#[cfg(feature = "kafka")]
pub use kafka::Kafka;
pub use outputs::{Attached, Outputs, SinkStatus, Start};
pub use registry::Sinks;
pub use shows::{At, Mode, Shows};
pub use spec::SinkSpec;
pub use stdout::{Stdout, reader_is_gone};
pub use uri::{SinkSpecError, SinkUri};

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::time::Time;
use crate::view::{Contents, Schema};

/// What a sink learns as it is opened.
#[derive(Debug)]
pub struct Opening<'a> {
    /// The number of this run among all that have gone on from one another, from 0. A sink that stores it refuses what a
    /// run with a smaller number writes afterwards, which has been given up for dead.
    pub incarnation: u64,
    /// Which durable state the run goes on from, or begins: a number that was drawn at random as that was created. `None`
    /// for a run that keeps none, which begins anew each time.
    pub state: Option<u128>,
    /// The first epoch of the run that is its own: those before are in the views, and are not shown ([`Sink::begin`]).
    pub first: u64,
    /// What it is to show, and when.
    pub shows: Shows,
    /// The views that it will be shown, in that order.
    pub views: &'a [Arc<Schema>],
    /// Whether the run is to end, for sinks that wait for somebody.
    pub ending: Ending,
}

/// Whether a run is to end: a signal has asked for that, or its input is at its end. A sink that waits for a server without end should
/// then wait no longer than it does at the end of a run.
///
/// ```
/// let ending = thalweg::sink::Ending::default();
/// let theirs = ending.clone();
/// assert!(!theirs.is_near());
/// ending.announce();
/// assert!(theirs.is_near());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Whether it has been announced.
    pub fn is_near(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Says so to all who have this one.
    pub fn announce(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Why a sink is asked to complete what it has put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nothing waits for it at the moment.
    Empty,
    /// Nothing has come for a quarter of a second.
    Lull,
    /// Nothing will come any more, because the run has ended with an error.
    Over,
}

/// What a sink is shown: a closed time, and the views as of it.
#[derive(Debug)]
pub struct Closed<'a> {
    /// The number of the epoch.
    pub epoch: u64,
    /// The step within the epoch, from 0; steps at which nothing changed are left out.
    pub step: u32,
    /// What the sink shows, in the order of the dataflow's views: the rows of all of them, or the final rows of those
    /// that have such.
    pub views: &'a [Box<dyn Contents>],
    /// Whether this is the last state of all views rather than one step's changes.
    pub last: bool,
}

/// Somewhere that views go.
///
/// Its methods are called on a thread of its own, in this order: [`open`](Sink::open), then for each epoch
/// [`write`](Sink::write) for each step at which something changed and [`commit`](Sink::commit) once, and in the end
/// [`finish`](Sink::finish). [`begin`](Sink::begin) comes before the first of these, and [`settle`](Sink::settle) between
/// them. After an error it is called no more, and the run ends with that error; unless it says that
/// whoever read standard output has gone away ([`reader_is_gone`]): then the sink has ended, and a run whose sinks all
/// have ends in order.
///
/// ```
/// use std::sync::mpsc;
/// use thalweg::sink::{Closed, Opening, Sink, SinkError, Sinks};
///
/// /// `count:`, which counts rows that come and go, and tells whoever holds the other end.
/// #[derive(Debug)]
/// struct Count { rows: usize, to: mpsc::Sender<(u64, usize)> }
///
/// impl Sink for Count {
///     fn open(&mut self, _: &Opening<'_>) -> Result<Option<u64>, SinkError> {
///         Ok(None) // It has committed nothing before.
///     }
///     fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError> {
///         closed.views.iter().for_each(|view| view.changes(&mut |_, _| self.rows += 1));
///         Ok(())
///     }
///     fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
///         self.to.send((epoch, self.rows)).map_err(|error| SinkError::own("count:", error))
///     }
/// }
///
/// let (to, _from) = mpsc::channel();
/// let sinks = Sinks::builtin().with("count", move |_| Ok(Box::new(Count { rows: 0, to: to.clone() })));
/// assert!(sinks.parse("count:?mode=changes").is_ok());
/// assert!(sinks.parse("counts:").unwrap_err().to_string().contains("`count:`"));
/// ```
pub trait Sink: std::fmt::Debug + Send {
    /// Whether it waits for the end of an input that has one, unless its URI says when it writes.
    fn waits(&self) -> bool {
        false
    }

    /// The file that it overwrites, if it does.
    fn file(&self) -> Option<&Path> {
        None
    }

    /// Opens it, before the first line is read. Returns the last epoch that it has committed in an earlier run, if any:
    /// it is not shown that epoch, nor those before it, again.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    fn open(&mut self, opening: &Opening<'_>) -> Result<Option<u64>, SinkError>;

    /// Shows it the views as they stand before the first epoch that it will be shown: without rows, unless the run goes on
    /// from an earlier one. Their rows are there if it shows whole views ([`Shows::whole`]).
    ///
    /// # Errors
    ///
    /// When it could not be written, or not wholly.
    fn begin(&mut self, views: &[Box<dyn Contents>]) -> Result<(), SinkError> {
        let _ = views;
        Ok(())
    }

    /// Writes what `closed` says.
    ///
    /// # Errors
    ///
    /// When it could not be written, or not wholly.
    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError>;

    /// Completes `epoch`: all its steps have been written, and must now get where they go.
    ///
    /// Called once for every closed epoch, in order, also for those in which nothing changed that the sink shows: one that
    /// stores how far it has come must store that. An epoch may have thousands of small steps: what costs a system call is
    /// done here and not in [`Sink::write`].
    ///
    /// # Errors
    ///
    /// When it could not be written, or not wholly.
    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        let _ = epoch;
        Ok(())
    }

    /// How many of the epochs that it was asked to complete last it has put off: a sink for which each commit is dear may
    /// complete several at once, as long as it says so. Nothing is taken for committed that is put off.
    fn behind(&self) -> u64 {
        0
    }

    /// Completes what it has put off, all of it or as much as the `pause` is worth. Called whenever nothing waits for it.
    ///
    /// # Errors
    ///
    /// When it could not be written, or not wholly.
    fn settle(&mut self, pause: Pause) -> Result<(), SinkError> {
        let _ = pause;
        Ok(())
    }

    /// Says what time it is, about once a second, also between the steps of an epoch: for what goes by the age of what was
    /// written. Nothing that is shown may depend on it.
    ///
    /// # Errors
    ///
    /// When what it does by the time could not be written, or not wholly.
    fn clock(&mut self, now: Time) -> Result<(), SinkError> {
        let _ = now;
        Ok(())
    }

    /// Ends it: nothing will be written any more, and what was since the last commit (the last state of all views, where
    /// it shows that) must get where it goes. Not called when the run ends with an error.
    ///
    /// # Errors
    ///
    /// When it could not be written, or not wholly.
    fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}
