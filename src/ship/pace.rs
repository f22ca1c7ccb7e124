//! No more than so many lines a second.

use std::time::{Duration, Instant};

/// So much time's worth of lines may be caught up on at once.
const BURST: Duration = Duration::from_millis(100);

/// A limit of lines in a second.
#[derive(Debug)]
pub(super) struct Pace {
    each: Option<Duration>,
    /// When the next line is due.
    due: Instant,
}

impl Pace {
    /// `rate` lines a second from `now` on; without one there is no limit.
    pub(super) fn new(rate: Option<f64>, now: Instant) -> Self {
        let each = rate.map(|rate| Duration::try_from_secs_f64(1.0 / rate).unwrap_or(Duration::MAX));
        Pace { each, due: now }
    }

    /// How long the next line has to wait.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// A line was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        let Some(each) = self.each else { return };
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let from = self.due.max(earliest);
        self.due = from.checked_add(each).unwrap_or(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_due_at_the_rate_and_little_is_caught_up_on() {
        let begun = crate::runtime::now();
        let mut pace = Pace::new(Some(1000.0), begun);
        let mut sent = |now: Instant| {
            let mut lines = 0;
            while pace.wait(now) == Duration::ZERO {
                pace.sent(now);
                lines += 1;
            }
            lines
        };
        assert_eq!(sent(begun), 1);
        assert_eq!(sent(begun + Duration::from_millis(10)), 10);
        assert_eq!(sent(begun + Duration::from_secs(10)), 101, "ten seconds without a line");
        assert_eq!(sent(begun + Duration::from_secs(10)), 0);
        let mut free = Pace::new(None, begun);
        free.sent(begun);
        assert_eq!(free.wait(begun), Duration::ZERO);
    }
}
