//! How far apart two events may be to be a pair.

use std::time::Duration;

use crate::time::{MOST, Millis, millis};

/// Bounds on the distance from a left event to a right one, in milliseconds: both belong to it.
///
/// ```
/// use std::time::Duration;
/// use thalweg::time::Within;
/// let five = Duration::from_secs(5);
/// assert_eq!(Within::after(five), Within::new(0, 5000).unwrap());
/// assert_eq!(Within::around(five, Duration::ZERO), Within::new(-5000, 0).unwrap());
/// let error = Within::new(1, -1).unwrap_err();
/// assert_eq!(error.to_string(), "pairs from 1 ms to -1 ms apart: there are none; the lower bound can be at most the upper");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Within {
    lower: Millis,
    upper: Millis,
    /// Whether only the next match counts.
    next_only: bool,
    /// How many pairs of one key an epoch may have.
    most: usize,
}

/// Bounds that no pair is within, or that are no times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("pairs from {lower} ms to {upper} ms apart: {reason}")]
#[non_exhaustive]
pub struct WithinError {
    /// The lower bound, in milliseconds.
    pub lower: i64,
    /// The upper bound, in milliseconds.
    pub upper: i64,
    /// Why they cannot be bounds.
    pub reason: &'static str,
}

impl Within {
    /// So many pairs one key may make in one epoch, unless [`Within::at_most`] says otherwise. They take a gigabyte or two.
    pub const PAIRS: usize = 10_000_000;

    /// The right event happens `lower` to `upper` milliseconds after the left one; before it, where these are negative.
    ///
    /// # Errors
    ///
    /// When `lower` is more than `upper`, or either is longer than 2^53 milliseconds (285,000 years).
    pub fn new(lower: i64, upper: i64) -> Result<Self, WithinError> {
        let error = |reason| Err(WithinError { lower, upper, reason });
        if lower > upper {
            return error("there are none; the lower bound can be at most the upper");
        }
        if lower < -MOST || upper > MOST || lower > MOST || upper < -MOST {
            return error("no two times are further than 2^53 ms apart");
        }
        Ok(Within { lower, upper, next_only: false, most: Self::PAIRS })
    }

    /// The right event happens with the left one, or up to `longest` after it. Anything finer than milliseconds is cut
    /// off.
    pub fn after(longest: Duration) -> Self {
        Within { lower: 0, upper: millis(longest), next_only: false, most: Self::PAIRS }
    }

    /// The right event happens from `before` before the left one to `after` after it. Anything finer than milliseconds is
    /// cut off.
    pub fn around(before: Duration, after: Duration) -> Self {
        Within { lower: -millis(before), upper: millis(after), next_only: false, most: Self::PAIRS }
    }

    /// These bounds, where only the next match counts: of all on the right that are within them, a left event is in a pair
    /// with the one of the least time, and of these with the one of the least value. One on the right may be the next of
    /// several on the left.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("next", |flow| {
    ///     let lines = flow.records(Text).event_time(|line| Some(1000 * i64::from(line.first()?.checked_sub(b'0')?)));
    ///     let of = |kind: u8| move |line: &Parsed<'_, Text>| (line.get(2) == Some(&kind)).then_some(());
    ///     let asked = lines.all().events("asked", (), of(b'?'));
    ///     let answers = lines.all().events("answers", (), of(b'!'));
    ///     let next = Within::after(Duration::from_secs(5)).next_only();
    ///     let pairs = asked.join("answered", answers, next);
    ///     pairs.map(["asked", "answered"], |((), (asked, ()), (answered, ()))| (asked.0 / 1000, answered.0 / 1000)).show("pairs");
    ///     Ok(())
    /// });
    /// // Only at the end of the input is it known that no earlier answer comes.
    /// let answer = Script::new(build).epoch("1 ?\n2 ?\n4 !\n3 !\n").end().run();
    /// assert_eq!(answer.view("pairs"), ["1\t3", "2\t3"]);
    /// ```
    #[must_use]
    pub fn next_only(self) -> Self {
        Within { next_only: true, ..self }
    }

    /// These bounds, for keys of which an epoch makes `pairs` pairs at most; by default that is [`Within::PAIRS`].
    ///
    /// A thousand events on each side that are near enough make a million pairs, which are all held until their epoch has
    /// closed. A key that makes more than this ends the run with an error that names it, rather than fill the memory. Where
    /// only the next match counts, a left event makes one pair at most, and none are too many.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Within;
    /// let within = Within::after(Duration::from_secs(5)).at_most(1000);
    /// assert_eq!(within.most(), 1000);
    /// ```
    #[must_use]
    pub fn at_most(self, pairs: usize) -> Self {
        Within { most: pairs, ..self }
    }

    /// How many pairs of one key an epoch may have.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Whether only the next match counts.
    pub fn is_next_only(&self) -> bool {
        self.next_only
    }

    /// How long before the watermark a right event may be and still be needed: the lower bound, and where only the next
    /// match counts, until the watermark has passed it.
    pub(crate) fn needed_right(&self) -> Millis {
        if self.next_only { self.lower.min(0) } else { self.lower }
    }

    /// The least distance, in milliseconds.
    pub fn lower(&self) -> i64 {
        self.lower
    }

    /// The largest distance, in milliseconds.
    pub fn upper(&self) -> i64 {
        self.upper
    }
}
