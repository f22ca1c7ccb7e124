//! The dataflow timestamp.

use std::fmt;

use differential_dataflow::lattice::{Lattice, Maximum};
use serde::{Deserialize, Serialize};
use timely::order::{PartialOrder, TotalOrder};
use timely::progress::Timestamp;
use timely::progress::timestamp::{PathSummary, Refines};

/// One atomic batch of input, and an order within it: timely's timestamp in every thalweg dataflow.
///
/// The number of the epoch and a *step* are packed into one `u64`, so that times are totally ordered and cost eight
/// bytes an update. Sources speak at step 0; an operator that wants to show the intermediate states of one large epoch
/// in order gives each its own step. Sinks commit whole epochs.
///
/// ```
/// use thalweg::time::Epoch;
/// let epoch = Epoch::new(7);
/// let later = epoch.at_step(3);
/// assert!(epoch < later && later < epoch.next());
/// assert_eq!((later.number(), later.step()), (7, 3));
/// assert_eq!(later.next(), Epoch::new(8));
/// ```
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Epoch(u64);

impl Epoch {
    const STEP_BITS: u32 = 28;
    /// The largest number of an epoch: at a thousand epochs a second, reached after two years.
    pub const MAX_NUMBER: u64 = (1 << (64 - Self::STEP_BITS)) - 2;
    /// The largest step within an epoch: a slide of a second passes so many in eight years.
    pub const MAX_STEP: u32 = (1 << Self::STEP_BITS) - 1;
    /// After every epoch that a source can speak at: when operators that wait for the end of input speak.
    pub const END: Epoch = Epoch(u64::MAX);

    /// The beginning of epoch `number`.
    ///
    /// # Panics
    ///
    /// If `number` is larger than [`Epoch::MAX_NUMBER`].
    pub const fn new(number: u64) -> Self {
        assert!(number <= Self::MAX_NUMBER, "epoch number out of range");
        Epoch(number << Self::STEP_BITS)
    }

    /// The same epoch at `step`.
    ///
    /// # Panics
    ///
    /// If `step` is larger than [`Epoch::MAX_STEP`].
    pub const fn at_step(self, step: u32) -> Self {
        assert!(step <= Self::MAX_STEP, "step out of range");
        Epoch((self.0 & !(Self::MAX_STEP as u64)) | step as u64)
    }

    /// The number of this epoch, counted from 0.
    pub const fn number(self) -> u64 {
        self.0 >> Self::STEP_BITS
    }

    /// The step within the epoch.
    pub const fn step(self) -> u32 {
        (self.0 & Self::MAX_STEP as u64) as u32
    }

    /// As a number, in the same order.
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    /// The beginning of the epoch after this one.
    pub const fn next(self) -> Self {
        Epoch::new(self.number() + 1)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (*self, self.step()) {
            (Epoch::END, _) => f.write_str("end"),
            (_, 0) => write!(f, "{}", self.number()),
            (_, step) => write!(f, "{}.{step}", self.number()),
        }
    }
}

impl PartialOrder for Epoch {
    #[inline]
    fn less_equal(&self, other: &Self) -> bool {
        self.0 <= other.0
    }
    #[inline]
    fn less_than(&self, other: &Self) -> bool {
        self.0 < other.0
    }
}

impl TotalOrder for Epoch {}

impl Timestamp for Epoch {
    type Summary = Delay;
    fn minimum() -> Self {
        Epoch(0)
    }
}

impl Refines<()> for Epoch {
    fn to_inner(_: ()) -> Self {
        Epoch(0)
    }
    fn to_outer(self) {}
    fn summarize(_: Delay) {}
}

impl Lattice for Epoch {
    #[inline]
    fn join(&self, other: &Self) -> Self {
        *self.max(other)
    }
    #[inline]
    fn meet(&self, other: &Self) -> Self {
        *self.min(other)
    }
}

impl Maximum for Epoch {
    fn maximum() -> Self {
        Epoch(u64::MAX)
    }
}

/// How a path through a dataflow delays an [`Epoch`]: by a number of steps.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
pub struct Delay(u64);

impl PartialOrder for Delay {
    fn less_equal(&self, other: &Self) -> bool {
        self.0 <= other.0
    }
}

impl PathSummary<Epoch> for Delay {
    fn results_in(&self, src: &Epoch) -> Option<Epoch> {
        src.0.checked_add(self.0).map(Epoch)
    }
    fn followed_by(&self, other: &Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Delay)
    }
}
