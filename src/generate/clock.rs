//! Event times: rising steadily, with some lines behind.

use crate::generate::Options;
use crate::generate::draws::Draws;

/// Which line it is, and its event time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The line's number, from 0.
    pub number: u64,
    /// Milliseconds UTC; from eleven days before 1970 to the end of the year 9999.
    pub millis: i64,
}

impl Moment {
    /// Whole seconds since 1970, rounded down.
    pub(super) fn seconds(self) -> i64 {
        self.millis.div_euclid(1000)
    }
}

/// Gives each line its event time.
#[derive(Debug)]
pub(super) struct Clock {
    start: i64,
    rate: f64,
    disorder: u64,
    number: u64,
}

impl Clock {
    pub(super) fn new(options: &Options) -> Self {
        let disorder = (options.disorder * 1000.0) as u64;
        Clock { start: options.start, rate: options.rate, disorder, number: 0 }
    }

    /// The time of the next line: due by its number, less a lag.
    ///
    /// The lag is the disorder times the fourth power of an even draw: most lines are nearly on time and a few
    /// are very late, as in a server's log, where a line has the time at which its request came and the
    /// place at which it was answered.
    pub(super) fn next(&mut self, draws: &mut Draws) -> Moment {
        let number = self.number;
        self.number += 1;
        // Worked out afresh from the number, so that rounding does not add up.
        let elapsed = (number as f64 * 1000.0 / self.rate) as i64;
        let due = self.start.saturating_add(elapsed).min(Options::MAX_TIME);
        let even = draws.draw().below(1 << 32);
        let square = (even * even) >> 32;
        let fourth = (square * square) >> 32;
        // Fits: at most 10⁹ ms (`MAX_DISORDER`) times less than 2³².
        let lag = (self.disorder * fourth) >> 32;
        Moment { number, millis: due - lag as i64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::Kind;

    fn times(options: &Options, lines: usize) -> Vec<i64> {
        let mut clock = Clock::new(options);
        let mut draws = Draws::new(options.seed, "test", 0);
        (0..lines).map(|_| clock.next(&mut draws).millis).collect()
    }

    #[test]
    fn without_disorder_times_are_exact() {
        let base = Options { disorder: 0.0, start: 5, ..Options::default_for(Kind::AccessLog) };
        assert_eq!(times(&Options { rate: 4.0, ..base.clone() }, 4), [5, 255, 505, 755]);
        assert_eq!(times(&Options { rate: 3000.0, ..base.clone() }, 7), [5, 5, 5, 6, 6, 6, 7]);
        assert_eq!(times(&Options { rate: 0.001, ..base }, 3), [5, 1_000_005, 2_000_005]);
    }

    #[test]
    fn lag_has_the_stated_bound_and_median() {
        let options = Options { disorder: 3.0, ..Options::default_for(Kind::AccessLog) };
        let times = times(&options, 100_000);
        let due = |n: usize| options.start + n as i64 * 2;
        let lags: Vec<i64> = times.iter().enumerate().map(|(n, time)| due(n) - time).collect();
        assert!(lags.iter().all(|lag| (0..=3000).contains(lag)));
        assert!(lags.iter().any(|lag| *lag > 2900));
        let short = lags.iter().filter(|lag| **lag * 16 < 3000).count();
        assert!(short.abs_diff(50_000) < 1000, "{short}");
    }

    #[test]
    fn the_end_of_time_is_not_passed() {
        let rate = f64::MIN_POSITIVE;
        let options = Options { rate, disorder: 0.0, ..Options::default_for(Kind::AccessLog) };
        assert_eq!(times(&options, 3)[1..], [Options::MAX_TIME; 2]);
    }
}
