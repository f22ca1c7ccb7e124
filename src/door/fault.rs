//! What ends a run from within its dataflow: handed up as values.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// A malformed line that its format does not put up with, such as one that is no JSON where
/// [`JsonMode::FailFast`](crate::format::JsonMode::FailFast) was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed line in {partition} at byte {offset}: {reason}: \"{sample}\"")]
#[non_exhaustive]
pub struct FatalLine {
    /// The partition that it stands in.
    pub partition: Arc<str>,
    /// Where it begins, in bytes from the partition's beginning.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: String,
    /// Its beginning, with what is not printable escaped.
    pub sample: String,
}

/// A key of a join that makes more pairs in one epoch than [`Within::at_most`](crate::time::Within::at_most) allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "join `{door}` makes more than {most} pairs of key {key} in one epoch\n  \
     hint: is it a key that nearly all records have? `Within::at_most` says how many pairs are too many; \
     smaller epochs (--epoch-bytes) and a shorter distance make fewer"
)]
#[non_exhaustive]
pub struct TooManyPairs {
    /// The name of the join.
    pub door: String,
    /// The key, as it is printed for debugging; of a long one the beginning.
    pub key: String,
    /// How many pairs are not too many.
    pub most: usize,
}

/// What ends a run from within its dataflow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// A line that its format does not put up with.
    #[error(transparent)]
    Line(#[from] FatalLine),
    /// A key of a join that makes too many pairs.
    #[error(transparent)]
    Pairs(#[from] TooManyPairs),
}

/// Tells whether anything in a worker's dataflow ends the run; to be asked after each step of the worker.
///
/// From then on, whoever has found it takes nothing in and holds the epoch open: no sink sees an answer that lacks what
/// came after it.
#[derive(Clone, Debug, Default)]
pub struct FaultProbe(Rc<RefCell<Option<Fault>>>);

impl FaultProbe {
    /// The first that was found, if there is one.
    pub fn get(&self) -> Option<Fault> {
        self.0.borrow().clone()
    }

    /// Whether there is one.
    pub fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Says that `fault` ends the run.
    pub(super) fn set(&self, fault: impl Into<Fault>) {
        self.0.borrow_mut().get_or_insert(fault.into());
    }
}
