//! The only place that reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// Now, for measuring how long things take.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban sends everybody to")]
pub fn now() -> Instant {
    #[cfg(test)]
    if let Some((_, now)) = simulated::now() {
        return now;
    }
    Instant::now()
}

/// The time of day, for saying when something arrived.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban sends everybody to")]
pub(crate) fn time() -> Time {
    #[cfg(test)]
    if let Some((time, _)) = simulated::now() {
        return time;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A clock that stands still until it is told to go on, for this thread.
#[cfg(test)]
pub(super) mod simulated {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    use crate::time::Time;

    thread_local! {
        static CLOCK: Cell<Option<(Instant, Duration)>> = const { Cell::new(None) };
    }

    /// When it begins: 2026-01-01.
    const EPOCH: i64 = 1_767_225_600_000;

    pub(super) fn now() -> Option<(Time, Instant)> {
        CLOCK.get().map(|(begun, since)| (Time(EPOCH + since.as_millis() as i64), begun + since))
    }

    /// It is so long since the beginning.
    pub(in crate::runtime) fn set(since: Duration) {
        let begun = CLOCK.replace(None).map(|(begun, _)| begun);
        CLOCK.set(Some((begun.unwrap_or_else(super::now), since)));
    }
}
