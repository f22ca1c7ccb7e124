//! The only place that reads the clock.

use std::time::Instant;

/// Now, for measuring how long things take.
#[expect(clippy::disallowed_methods, reason = "this is the function that the ban sends everybody to")]
pub fn now() -> Instant {
    Instant::now()
}
