//! Lines that end the run, because their format says so: handed up as values.

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

/// Tells whether a line of a worker's dataflow ends the run; to be asked after each step of the worker.
///
/// From such a line on, the worker's records take nothing in and hold the line's epoch open: no sink sees an answer
/// that lacks what came after it.
#[derive(Clone, Debug, Default)]
pub struct FaultProbe(Rc<RefCell<Option<FatalLine>>>);

impl FaultProbe {
    /// The first such line, if there is one.
    pub fn get(&self) -> Option<FatalLine> {
        self.0.borrow().clone()
    }

    /// Whether there is such a line.
    pub fn is_set(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Says that `line` ends the run.
    pub(super) fn set(&self, line: FatalLine) {
        self.0.borrow_mut().get_or_insert(line);
    }
}
