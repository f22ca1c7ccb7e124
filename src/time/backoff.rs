//! How long to wait before another attempt.

use std::time::Duration;

/// The wait after the first failure.
const FIRST: Duration = Duration::from_millis(100);
/// The longest.
const LONGEST: Duration = Duration::from_secs(10);

/// Waits that double with each failure, up to [`LONGEST`]. Each is cut by up to a half at random: when a server comes back,
/// those that lost it do not all come at once.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff(FIRST)
    }

    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let whole = self.0;
        self.0 = whole.saturating_mul(2).min(LONGEST);
        let mut random = [0; 4];
        // Without randomness the wait is whole.
        let _ = getrandom::fill(&mut random);
        whole.mul_f64(1.0 - f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_cap_and_differ() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..200).map(|_| backoff.next()).collect();
        for (number, wait) in (0..).zip(&waits) {
            let whole = FIRST.saturating_mul(1 << std::cmp::min(number, 20)).min(LONGEST);
            assert!((whole / 2..=whole).contains(wait), "{number}: {wait:?}");
        }
        assert!(waits[100..].windows(2).any(|pair| pair[0] != pair[1]), "nothing is random");
    }
}
