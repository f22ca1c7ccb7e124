//! How many lines are due.

use std::time::Duration;

/// A rate that rises linearly from zero over `ramp_up`, and is constant from then on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) lines_per_second: f64,
    pub(super) ramp_up: Duration,
}

impl Pace {
    /// How many lines are due after so much time.
    pub(super) fn due(self, elapsed: Duration) -> u64 {
        let (time, ramp) = (elapsed.as_secs_f64(), self.ramp_up.as_secs_f64());
        let full = if time < ramp { time * time / ramp / 2.0 } else { time - ramp / 2.0 };
        (full * self.lines_per_second) as u64
    }

    /// After how much time the line `number`, from 1, is due.
    pub(super) fn when(self, number: u64) -> Duration {
        let (full, ramp) = (number as f64 / self.lines_per_second, self.ramp_up.as_secs_f64());
        let time = if full < ramp / 2.0 { (2.0 * ramp * full).sqrt() } else { full + ramp / 2.0 };
        Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_due_at_the_pace_that_is_arrived_at() {
        let steady = Pace { lines_per_second: 10.0, ramp_up: Duration::ZERO };
        let ramp = Pace { ramp_up: Duration::from_secs(10), ..steady };
        let due = |pace: Pace, seconds| pace.due(Duration::from_secs(seconds));
        assert_eq!([0, 1, 10, 100].map(|seconds| due(steady, seconds)), [0, 10, 100, 1000]);
        assert_eq!([0, 1, 5, 10, 20].map(|seconds| due(ramp, seconds)), [0, 0, 12, 50, 150]);
        assert_eq!(steady.when(20), Duration::from_secs(2));
        assert_eq!([50, 150].map(|number| ramp.when(number)), [10, 20].map(Duration::from_secs));
    }

    #[test]
    fn nothing_overflows() {
        for lines_per_second in [f64::MIN_POSITIVE, 1e9] {
            for ramp_up in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
                let pace = Pace { lines_per_second, ramp_up };
                pace.due(Duration::MAX);
                assert!(pace.when(u64::MAX) > Duration::ZERO);
            }
        }
    }
}
