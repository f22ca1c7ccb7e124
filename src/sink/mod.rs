//! Collections to the world.
//!
//! A sink is driven by the worker loop of worker 0, not by an operator: when the probe says that an epoch is closed,
//! [`Outputs::commit`] shows it to every sink, all views together, once, and in order: one step of the epoch after the
//! other, and then the sink completes the epoch. Sinks know rows and values; they know no dataflow and no clock.
//!
//! A view is up to two collections: its rows as they are, and, where it is a table of windows or sessions, each of
//! those rows once, when it is final. A sink shows the one or the other ([`Sink::finals`]).

mod console;
mod jsonl;
mod spec;

use std::path::PathBuf;

pub use console::Console;
pub use jsonl::Jsonl;
pub use spec::{At, Mode, SinkSpec, SinkSpecError};

use crate::time::Epoch;
use crate::view::{ViewOutput, Views};

/// Why a sink cannot be written, or has nothing to write.
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
    /// It appends final rows, and no view of the dataflow has such.
    #[error(
        "sink `{sink}`: none of the views ({}) has rows that become final: tables of windows and of sessions have, and what is only ever appended\n  \
         hint: use mode=complete, mode=update or mode=changes",
        views.join(", ")
    )]
    NoFinals {
        /// The sink as given.
        sink: String,
        /// The views that there are.
        views: Vec<&'static str>,
    },
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
    pub views: &'a [Box<dyn ViewOutput>],
    /// Whether this is the last state of all views rather than one step's changes.
    pub last: bool,
}

/// Somewhere that views go.
pub trait Sink: std::fmt::Debug {
    /// When it wants to be shown what.
    fn at(&self) -> At;

    /// Whether it is shown each row once, when it is final, instead of the rows as they are.
    fn finals(&self) -> bool {
        false
    }

    /// Writes what `closed` says.
    ///
    /// # Errors
    ///
    /// When it could not be written, or not wholly.
    fn write(&mut self, closed: &Closed<'_>) -> Result<(), SinkError>;

    /// Completes `epoch`: all its steps have been written, and must now get where they go.
    ///
    /// Called once for each epoch of which anything was written, before anything of the next. An epoch may have
    /// thousands of small steps: what costs a system call is done here and not in [`Sink::write`].
    ///
    /// # Errors
    ///
    /// When it could not be written, or not wholly.
    fn commit(&mut self, epoch: u64) -> Result<(), SinkError> {
        let _ = epoch;
        Ok(())
    }
}

/// The views of a dataflow on worker 0, and the sinks that they go to.
#[derive(Debug)]
pub struct Outputs {
    views: Views,
    sinks: Vec<Attached>,
    /// The epoch of which steps were shown, and which is not complete.
    open: Option<u64>,
    finished: bool,
}

/// A sink, and whether it was shown anything of the epoch that is being shown.
#[derive(Debug)]
struct Attached {
    sink: Box<dyn Sink>,
    written: bool,
}

impl Outputs {
    /// `views` go to `sinks`.
    pub fn new(views: Views, sinks: Vec<Box<dyn Sink>>) -> Self {
        let sinks = sinks.into_iter().map(|sink| Attached { sink, written: false }).collect();
        Outputs { views, sinks, open: None, finished: false }
    }

    /// Shows the sinks every epoch before `frontier` that they have not been shown; with `None` all, and the end.
    ///
    /// The steps of an epoch are shown one by one, in order, each when it is closed: an epoch may have a million of them,
    /// which nobody should have to hold. By then the sources' part of the epoch has ended. The epoch is complete
    /// ([`Sink::commit`]) when all of it is closed. A time at which nothing has changed in the end is not shown.
    ///
    /// `epochs` is how many epochs there have been: the last state is shown under the number of the last.
    ///
    /// # Errors
    ///
    /// When a sink cannot be written.
    pub fn commit(&mut self, frontier: Option<Epoch>, epochs: u64) -> Result<(), SinkError> {
        while let Some(time) = self.pending(frontier) {
            self.complete_before(Some(time))?;
            self.stores().for_each(|view| view.advance(time));
            if time != Epoch::END {
                self.open = Some(time.number());
                self.show(At::EveryEpoch, time.number(), time.step())?;
            }
        }
        self.complete_before(frontier)?;
        if frontier.is_none() && !self.finished {
            self.finished = true;
            let epoch = epochs.saturating_sub(1);
            self.show(At::End, epoch, 0)?;
            self.complete(epoch)?;
        }
        Ok(())
    }

    fn stores(&mut self) -> impl Iterator<Item = &mut Box<dyn ViewOutput>> {
        self.views.rows.iter_mut().chain(&mut self.views.finals)
    }

    fn pending(&self, frontier: Option<Epoch>) -> Option<Epoch> {
        let stores = self.views.rows.iter().chain(&self.views.finals);
        stores.filter_map(|view| view.pending(frontier)).min()
    }

    fn show(&mut self, at: At, epoch: u64, step: u32) -> Result<(), SinkError> {
        let last = at == At::End;
        for Attached { sink, written } in self.sinks.iter_mut().filter(|attached| attached.sink.at() == at) {
            let views = if sink.finals() { &self.views.finals } else { &self.views.rows };
            if last || views.iter().any(|view| view.has_changed()) {
                *written = true;
                sink.write(&Closed { epoch, step, views, last })?;
            }
        }
        Ok(())
    }

    /// Completes the epoch that is being shown, if `time` is in a later one.
    fn complete_before(&mut self, time: Option<Epoch>) -> Result<(), SinkError> {
        match self.open.take_if(|open| time.is_none_or(|time| *open < time.number())) {
            Some(epoch) => self.complete(epoch),
            None => Ok(()),
        }
    }

    fn complete(&mut self, epoch: u64) -> Result<(), SinkError> {
        let shown = self
            .sinks
            .iter_mut()
            .filter_map(|attached| std::mem::take(&mut attached.written).then_some(&mut attached.sink));
        for sink in shown {
            sink.commit(epoch)?;
        }
        Ok(())
    }
}
