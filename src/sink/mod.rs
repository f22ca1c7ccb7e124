//! Collections to the world.
//!
//! A sink is driven by the worker loop of worker 0, not by an operator: when the probe says that an epoch is closed,
//! [`Outputs::commit`] shows it to every sink, all views together, once, and in order. Sinks know rows and values; they
//! know no dataflow and no clock.

mod console;
mod escape;
mod jsonl;
mod row;
mod spec;
mod view;

use std::path::PathBuf;

pub use console::Console;
pub use escape::{escape_json, escape_terminal, escape_text};
pub use jsonl::Jsonl;
pub use row::{Cell, Real, Row, Value, by_count};
pub use spec::{At, Mode, SinkSpec, SinkSpecError};
pub use view::{Gather, ViewOutput};
pub(crate) use view::{Inbox, Multiset, Store, add};

use crate::runtime::Epoch;

/// Why a sink cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The file could not be created.
    #[error("cannot create {path}: {source}\n  hint: does its directory exist, and may you write there?")]
    Create {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A write failed.
    #[error("cannot write to `{sink}`: {source}")]
    Write {
        /// The sink as given.
        sink: String,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// What a sink is shown: a closed time, and the views as of it.
#[derive(Debug)]
pub struct Closed<'a> {
    /// The number of the epoch.
    pub epoch: u64,
    /// All views of the dataflow, in its order.
    pub views: &'a [Box<dyn ViewOutput>],
    /// Whether this is the last state of all views rather than one epoch's changes.
    pub last: bool,
}

/// Somewhere that views go.
pub trait Sink: std::fmt::Debug {
    /// When it wants to be shown what.
    fn at(&self) -> At;
    /// Writes what `closed` says.
    ///
    /// # Errors
    ///
    /// When it could not be written, or not wholly.
    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError>;
}

/// The views of a dataflow on worker 0, and the sinks that they go to.
#[derive(Debug)]
pub struct Outputs {
    views: Vec<Box<dyn ViewOutput>>,
    sinks: Vec<Box<dyn Sink>>,
    finished: bool,
}

impl Outputs {
    /// `views` go to `sinks`.
    pub fn new(views: Vec<Box<dyn ViewOutput>>, sinks: Vec<Box<dyn Sink>>) -> Self {
        Outputs { views, sinks, finished: false }
    }

    /// Shows the sinks every epoch before `frontier` that they have not been shown; with `None` all, and the end.
    ///
    /// An epoch that the frontier stands within, at a later step, is not shown in part: it waits until it is closed.
    ///
    /// `epochs` is how many epochs there have been: the last state is shown under the number of the last.
    ///
    /// # Errors
    ///
    /// When a sink cannot be written.
    pub fn commit(&mut self, frontier: Option<Epoch>, epochs: u64) -> Result<(), SinkError> {
        let frontier = frontier.map(|frontier| frontier.at_step(0));
        while let Some(time) = self.views.iter().filter_map(|view| view.pending(frontier)).min() {
            self.views.iter_mut().for_each(|view| view.advance(time));
            if time != Epoch::END {
                self.show(At::EveryEpoch, time.number())?;
            }
        }
        if frontier.is_none() && !self.finished {
            self.finished = true;
            self.show(At::End, epochs.saturating_sub(1))?;
        }
        Ok(())
    }

    fn show(&mut self, at: At, epoch: u64) -> Result<(), SinkError> {
        let closed = Closed { epoch, views: &self.views, last: at == At::End };
        self.sinks.iter_mut().filter(|sink| sink.at() == at).try_for_each(|sink| sink.write(&closed))
    }
}
