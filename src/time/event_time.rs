//! When records happened: what a time may be, whose clock it is, and how far it has come.
//!
//! *Event time* is data: milliseconds UTC that a record tells of itself, or the time of its arrival, which whoever feeds the
//! dataflow writes on each chunk. It is never the timely timestamp, so a poisoned clock stalls nothing. The *watermark* is
//! an estimate made of nothing but times and arrivals, once an epoch and the same on every worker (the module `watermark`
//! works it out): a record that is older than the watermark was when its epoch began is late.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Time;

/// A [`Time`] as a number to reckon with: milliseconds UTC since 1970.
pub(crate) type Millis = i64;

/// The largest distance from 1970 that a time may have, in either direction: 285,000 years. Sums of a few of these cannot
/// overflow; what is further off is no time.
pub(crate) const MOST: Millis = 1 << 53;

/// Whose clock tells when a record happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// The record's own: what the function that was given to [`Records::event_time`](crate::door::Records::event_time) says.
    #[default]
    Event,
    /// The time at which it arrived: for files, when the run began; for what is live, when its epoch began.
    Arrival,
}

/// How times make a watermark.
///
/// ```
/// use thalweg::time::TimeOptions;
/// let options = TimeOptions::default();
/// assert_eq!(options.lateness.as_secs(), 10);
/// assert_eq!(options.max_ahead.as_secs(), 600);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOptions {
    /// Whose clock counts. Default: [`Clock::Event`].
    pub clock: Clock,
    /// How far behind the newest record of its partition a record may be and still be in time. Default: 10 s.
    pub lateness: Duration,
    /// A partition that has had no record for so long, by the arrival times of epochs, does not hold the watermark back.
    /// Default: 60 s.
    pub idle_timeout: Duration,
    /// A record dated further ahead of its arrival than this is quarantined: no window sees it, and it moves no watermark.
    /// Default: 10 minutes.
    pub max_ahead: Duration,
}

impl Default for TimeOptions {
    fn default() -> Self {
        TimeOptions {
            clock: Clock::Event,
            lateness: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            max_ahead: Duration::from_secs(600),
        }
    }
}

/// A length of time in milliseconds; what is longer than any time is the longest.
pub(crate) fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).map_or(MOST, |millis| millis.min(MOST))
}

/// A length of time as people write it.
pub(crate) fn length(millis: Millis) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    format!("{sign}{}", humantime::format_duration(Duration::from_millis(millis.unsigned_abs())))
}

/// Up to when all records are thought to have arrived.
///
/// It never falls. A window `[start, end)` is complete when the watermark has reached its end.
///
/// ```
/// use thalweg::time::Watermark;
/// assert!(Watermark::NONE < Watermark::at(0) && Watermark::at(0) < Watermark::END);
/// assert!(Watermark::at(30_000).reaches(30_000) && !Watermark::at(30_000).reaches(30_001));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Watermark(Millis);

impl Watermark {
    /// Before the first record.
    pub const NONE: Watermark = Watermark(Millis::MIN);
    /// The input has ended: everything is complete.
    pub const END: Watermark = Watermark(Millis::MAX);

    /// The watermark at `time`.
    pub fn at(time: impl Into<Time>) -> Self {
        Watermark(time.into().0.clamp(Millis::MIN + 1, Millis::MAX - 1))
    }

    /// Whether everything before `end` is thought to have arrived.
    #[inline]
    pub fn reaches(self, end: impl Into<Time>) -> bool {
        self.0 >= end.into().0
    }

    /// Its time, unless it is one of the two that have none.
    pub fn time(self) -> Option<Time> {
        self.millis().map(Time)
    }

    /// Its time to reckon with.
    pub(crate) fn millis(self) -> Option<Millis> {
        (self != Watermark::NONE && self != Watermark::END).then_some(self.0)
    }
}

/// What every windowed door is told at the end of an epoch in which it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct EventTime {
    /// The watermark as the epoch ends.
    pub(crate) watermark: Watermark,
    /// The least time of any record up to then, if there was one: no window before it has ever held anything.
    pub(crate) oldest: Millis,
    /// The largest, likewise.
    pub(crate) newest: Millis,
}

impl EventTime {
    /// Before the first record.
    pub(crate) const NONE: EventTime =
        EventTime { watermark: Watermark::NONE, oldest: Millis::MAX, newest: Millis::MIN };
}

/// What a worker found in one partition in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct TimeRange {
    pub(crate) oldest: Millis,
    pub(crate) newest: Millis,
}

impl TimeRange {
    pub(crate) const NOTHING: TimeRange = TimeRange { oldest: Millis::MAX, newest: Millis::MIN };

    #[inline]
    pub(crate) fn include(&mut self, time: Millis) {
        self.oldest = self.oldest.min(time);
        self.newest = self.newest.max(time);
    }

    pub(crate) fn is_nothing(self) -> bool {
        self.oldest > self.newest
    }
}
