//! A length of silence: what ends a session, and what times a key's state out.

use std::time::Duration;

use crate::time::{Millis, Watermark, length, millis};

/// How long a key must be silent for its session to end, or for its state to time out.
///
/// ```
/// use std::time::Duration;
/// use thalweg::time::Gap;
/// let gap = Gap::new(Duration::from_secs(30)).unwrap();
/// assert_eq!(gap.millis(), 30_000);
/// let error = Gap::new(Duration::ZERO).unwrap_err();
/// assert_eq!(error.to_string(), "a gap of 0s: it must be more than nothing");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap(Millis);

/// A duration that is no gap.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a gap of {}: {reason}", humantime::format_duration(*gap))]
#[non_exhaustive]
pub struct GapError {
    /// How long the gap was to be.
    pub gap: Duration,
    /// Why that cannot be.
    pub reason: &'static str,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&length(self.0))
    }
}

impl Gap {
    /// The longest gap, in milliseconds: a thousand years.
    const LONGEST: Millis = 1000 * 366 * 86_400_000;

    /// A silence of `gap`.
    ///
    /// # Errors
    ///
    /// When it is nothing, not whole milliseconds, or more than a thousand years.
    pub fn new(gap: impl Into<Duration>) -> Result<Self, GapError> {
        let gap = gap.into();
        let error = |reason| Err(GapError { gap, reason });
        if gap.is_zero() {
            return error("it must be more than nothing");
        }
        if !gap.subsec_nanos().is_multiple_of(1_000_000) {
            return error("it must be a multiple of a millisecond, the finest time that there is");
        }
        let millis = millis(gap);
        if millis > Self::LONGEST {
            return error("it can be at most a thousand years");
        }
        Ok(Gap(millis))
    }

    /// Its length in milliseconds.
    pub fn millis(&self) -> i64 {
        self.0
    }

    /// Whether it has passed at `watermark` since what happened at `time`.
    #[inline]
    pub(crate) fn is_over(&self, time: Millis, watermark: Watermark) -> bool {
        watermark.reaches(time + self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_that_are_no_gaps_are_named() {
        for gap in [Duration::ZERO, Duration::from_nanos(1_500_000), Duration::from_secs(u64::MAX)] {
            let error = Gap::new(gap).expect_err("no gap").to_string();
            assert!(error.contains(&humantime::format_duration(gap).to_string()), "{error}");
        }
        assert_eq!(Gap::new(Duration::from_millis(1)).map(|gap| gap.millis()), Ok(1));
    }
}
