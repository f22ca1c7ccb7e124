//! Windows of event time: the rule, and the arithmetic of its panes.
//!
//! All windows are half-open, `[start, end)`, and start at the multiples of their slide, counted from 1970. They are cut into
//! *panes* as long as the greatest common divisor of length and slide, so that every window is a whole number of panes
//! and a record is added up once, in its pane, however many windows it belongs to.
//!
//! ```text
//! length 30 s, slide 20 s    panes  │ 0 │10 │20 │30 │40 │50 │60 │
//!                            0          [───────────)
//!                            20                 [───────────)
//! ```

use std::time::Duration;

use differential_dataflow::ExchangeData;
use serde::{Deserialize, Serialize};

use crate::time::{Length, LengthError, Millis, Time, Watermark};

/// A rule for windows of one length, one every slide.
///
/// ```
/// use std::time::Duration;
/// use thalweg::time::Window;
/// let window = Window::new(Duration::from_secs(30), Duration::from_secs(10)).unwrap();
/// assert_eq!((window.length(), window.slide(), window.pane()), (30_000, 10_000, 10_000));
/// let error = Window::new(Duration::from_secs(10), Duration::from_secs(30)).unwrap_err();
/// assert_eq!(error.to_string(), "windows of 10s every 30s: some times would be in no window; the slide can be at most the length");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    length: Millis,
    slide: Millis,
    pane: Millis,
    /// A moment at which a window starts, from 0 up to the slide.
    origin: Millis,
}

impl std::str::FromStr for Window {
    type Err = WindowReadError;

    /// Reads a length and a slide, `30s/10s`, or a length alone, which is also the slide. It is meant for options.
    ///
    /// ```
    /// use thalweg::time::Window;
    /// let window: Window = "30s/10s".parse().unwrap();
    /// assert_eq!((window.length(), window.slide()), (30_000, 10_000));
    /// assert_eq!("1m".parse::<Window>().unwrap().slide(), 60_000);
    /// assert!("10s/30s".parse::<Window>().is_err() && "10s/".parse::<Window>().is_err());
    /// ```
    fn from_str(text: &str) -> Result<Self, WindowReadError> {
        let (length, slide) = text.split_once('/').unwrap_or((text, text));
        Ok(Window::new(length.trim().parse::<Length>()?, slide.trim().parse::<Length>()?)?)
    }
}

/// What was read are no windows.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WindowReadError {
    /// A part is no length of time.
    #[error("{0}; windows are a length and a slide: 30s/10s")]
    Length(#[from] LengthError),
    /// The two do not go together.
    #[error(transparent)]
    Window(#[from] WindowError),
}

/// A length and a slide that make no windows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("windows of {} every {}: {reason}", humantime::format_duration(*length), humantime::format_duration(*slide))]
#[non_exhaustive]
pub struct WindowError {
    /// How long windows were to be.
    pub length: Duration,
    /// How far apart they were to start.
    pub slide: Duration,
    /// Why that cannot be.
    pub reason: String,
}

impl Window {
    /// The most panes that a window may have: each costs memory, and a step when it enters and when it leaves.
    pub const MAX_PANES: i64 = 100_000;
    /// The most windows of a table that a record may be in: it changes a row in each.
    pub const MAX_OVERLAP: i64 = 1000;
    /// The longest window, in milliseconds: a thousand years.
    const LONGEST: Millis = 1000 * 366 * 86_400_000;

    /// Windows that are `length` long and start every `slide`.
    ///
    /// # Errors
    ///
    /// When either is nothing or not whole milliseconds, the slide is longer than the length, or the two have so small a
    /// common divisor that a window would have more than [`Window::MAX_PANES`] panes.
    pub fn new(length: impl Into<Duration>, slide: impl Into<Duration>) -> Result<Self, WindowError> {
        let (length, slide) = (length.into(), slide.into());
        let error = |reason: &str| Err(WindowError { length, slide, reason: reason.to_owned() });
        let whole = |time: Duration| time.subsec_nanos().is_multiple_of(1_000_000);
        if !whole(length) || !whole(slide) {
            return error("both must be multiples of a millisecond, the finest time that there is");
        }
        if length.is_zero() || slide.is_zero() {
            return error("both must be more than nothing");
        }
        if slide > length {
            return error("some times would be in no window; the slide can be at most the length");
        }
        let (length_ms, slide_ms) = (super::event_time::millis(length), super::event_time::millis(slide));
        if length_ms > Self::LONGEST {
            return error("the length can be at most a thousand years");
        }
        let pane = gcd(length_ms, slide_ms);
        if length_ms / pane > Self::MAX_PANES {
            return error(
                "their greatest common divisor is too small; a window can have at most 100,000 panes",
            );
        }
        Ok(Window { length: length_ms, slide: slide_ms, pane, origin: 0 })
    }

    /// Windows that are `length` long and start where the one before ends.
    ///
    /// # Errors
    ///
    /// As for [`Window::new`].
    pub fn tumbling(length: impl Into<Duration>) -> Result<Self, WindowError> {
        let length = length.into();
        Window::new(length, length)
    }

    /// These windows, moved so that one of them starts at `origin`: days begin at a place's midnight, and not at that of UTC.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::{Span, Time, Window};
    /// const HOUR: i64 = 3_600_000;
    /// let days = Window::tumbling(Duration::from_secs(86_400)).unwrap().starting_at(Time(-9 * HOUR));
    /// assert_eq!(days.of(0).collect::<Vec<_>>(), [Span::new(-9 * HOUR, 15 * HOUR)]);
    /// ```
    #[must_use]
    pub fn starting_at(self, origin: impl Into<Time>) -> Self {
        Window { origin: origin.into().0.rem_euclid(self.slide), ..self }
    }

    /// These windows, for a table, in which each record changes a row of every window that it belongs to.
    ///
    /// # Errors
    ///
    /// When those are more than [`Window::MAX_OVERLAP`].
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Window;
    /// let window = Window::new(Duration::from_secs(86_400), Duration::from_secs(1)).unwrap();
    /// let error = window.for_table().unwrap_err().to_string();
    /// assert!(error.starts_with("windows of 1day every 1s: a record would be in 86400 of them"), "{error}");
    /// ```
    pub fn for_table(self) -> Result<Self, WindowError> {
        let overlap = (self.length + self.slide - 1) / self.slide;
        if overlap > Self::MAX_OVERLAP {
            let length = Duration::from_millis(self.length as u64);
            let slide = Duration::from_millis(self.slide as u64);
            let reason =
                format!("a record would be in {overlap} of them, and a table takes {}", Self::MAX_OVERLAP);
            return Err(WindowError { length, slide, reason });
        }
        Ok(self)
    }

    /// How long a window is, in milliseconds.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// How far apart windows start, in milliseconds.
    pub fn slide(&self) -> i64 {
        self.slide
    }

    /// How long a pane is, in milliseconds.
    pub fn pane(&self) -> i64 {
        self.pane
    }

    /// The windows to which `time` belongs, the first first.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::{Span, Window};
    /// let window = Window::new(Duration::from_secs(30), Duration::from_secs(20)).unwrap();
    /// assert_eq!(window.of(25_000).collect::<Vec<_>>(), [Span::new(0, 30_000), Span::new(20_000, 50_000)]);
    /// assert_eq!(window.of(-1).collect::<Vec<_>>(), [Span::new(-20_000, 10_000)]);
    /// ```
    pub fn of(&self, time: i64) -> impl Iterator<Item = Span> + use<> {
        let Window { length, slide, .. } = *self;
        let last = self.floor(time, slide);
        let first = self.floor(time - length, slide) + slide;
        (first..=last).step_by(slide as usize).map(move |start| Span::new(start, start + length))
    }

    /// The start of the pane of `time`.
    #[inline]
    pub(crate) fn pane_of(&self, time: Millis) -> Millis {
        self.floor(time, self.pane)
    }

    /// Whether all windows that `time` belongs to are complete at `watermark`.
    #[inline]
    pub(crate) fn is_over(&self, time: Millis, watermark: Watermark) -> bool {
        watermark.reaches(self.floor(time, self.slide) + self.length)
    }

    /// The last end of a window that is not after `time`.
    pub(crate) fn last_end(&self, time: Millis) -> Millis {
        self.floor(time - self.length, self.slide) + self.length
    }

    /// How long after the beginning of 1970 UTC, and its multiples of the slide, windows start, in milliseconds.
    pub(crate) fn origin(&self) -> Millis {
        self.origin
    }

    /// The last moment that is not after `time` and is whole multiples of `grain` from the origin.
    #[inline]
    fn floor(&self, time: Millis, grain: Millis) -> Millis {
        time - (time - self.origin).rem_euclid(grain)
    }

    /// The first end of a window that is not before `time`.
    pub(crate) fn first_end(&self, time: Millis) -> Millis {
        let last = self.last_end(time);
        if last < time { last + self.slide } else { last }
    }
}

fn gcd(a: Millis, b: Millis) -> Millis {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One window, or one session: the times from its start up to, and not with, its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Span {
    /// The first time in it.
    pub start: Time,
    /// The first time behind it.
    pub end: Time,
}

impl Span {
    /// From `start` up to `end`.
    pub fn new(start: impl Into<Time>, end: impl Into<Time>) -> Self {
        Span { start: start.into(), end: end.into() }
    }
}

/// A datum that belongs to a window: a tuple of two to four that begins with its [`Span`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no row of a window",
    label = "has no window in front",
    note = "rows of windows are `(Span, …)` with one to three parts behind the window; `map` keeps the window in front"
)]
pub trait InWindow: ExchangeData {
    /// The window.
    fn span(&self) -> Span;
}

impl<A: ExchangeData> InWindow for (Span, A) {
    fn span(&self) -> Span {
        self.0
    }
}

impl<A: ExchangeData, B: ExchangeData> InWindow for (Span, A, B) {
    fn span(&self) -> Span {
        self.0
    }
}

impl<A: ExchangeData, B: ExchangeData, C: ExchangeData> InWindow for (Span, A, B, C) {
    fn span(&self) -> Span {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(length: u64, slide: u64) -> Window {
        Window::new(Duration::from_secs(length), Duration::from_secs(slide)).expect("they go together")
    }

    #[test]
    fn pairs_that_make_no_windows_are_named() {
        for (length, slide) in [(0, 1), (1, 0), (1000, 2000), (u64::MAX, 1000), (200_003, 1)] {
            let (length, slide) = (Duration::from_millis(length), Duration::from_millis(slide));
            let error = Window::new(length, slide).expect_err("no windows").to_string();
            assert!(error.contains(&humantime::format_duration(length).to_string()), "{error}");
            assert!(error.contains(&humantime::format_duration(slide).to_string()), "{error}");
        }
        assert!(Window::new(Duration::from_nanos(1_500_000), Duration::from_millis(1)).is_err());
    }

    proptest! {
        #[test]
        fn windows_are_those_that_hold_the_time(time in -100_000i64..100_000, length in 1..50u64, slide in 1..50u64) {
            prop_assume!(slide <= length);
            let window = seconds(length, slide);
            let spans: Vec<_> = window.of(time).collect();
            let all = (-200..200).map(|n| n * window.slide()).map(|at| Span::new(at, at + window.length()));
            let holding: Vec<_> = all.filter(|span| (span.start..span.end).contains(&Time(time))).collect();
            prop_assert_eq!(&spans, &holding);
            let pane = window.pane_of(time);
            prop_assert!((pane..pane + window.pane()).contains(&time));
            prop_assert!(spans.iter().all(|span| span.start.0 <= pane && pane + window.pane() <= span.end.0));
            let end = spans.last().map_or(0, |span| span.end.0);
            prop_assert!(window.is_over(time, Watermark::at(end)) && !window.is_over(time, Watermark::at(end - 1)));
            prop_assert!((0..window.slide()).contains(&(time - window.last_end(time))));
            prop_assert!((0..window.slide()).contains(&(window.first_end(time) - time)));
            prop_assert!(window.of(window.last_end(time) - 1).any(|span| span.end.0 == window.last_end(time)));
        }
    }
}
