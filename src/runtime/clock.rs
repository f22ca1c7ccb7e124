//! The only place that reads the clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// Now, for measuring how long things take.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban sends everybody to")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time of day, for saying when something arrived.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban sends everybody to")]
pub(crate) fn time() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
