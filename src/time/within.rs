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
        Ok(Within { lower, upper })
    }

    /// The right event happens with the left one, or up to `longest` after it. Anything finer than milliseconds is cut
    /// off.
    pub fn after(longest: Duration) -> Self {
        Within { lower: 0, upper: millis(longest) }
    }

    /// The right event happens from `before` before the left one to `after` after it. Anything finer than milliseconds is
    /// cut off.
    pub fn around(before: Duration, after: Duration) -> Self {
        Within { lower: -millis(before), upper: millis(after) }
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
