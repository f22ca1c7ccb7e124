//! For how long a server that is away is waited for.

use std::time::Duration;

use crate::sink::Ending;

/// How long a sink tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as the run lasts, and when that is to end as [`Patience::Wait`].
    Endless,
    /// As long as it is told.
    Wait,
}

impl Patience {
    /// It, for a sink that waits `most` as a run begins and ends.
    pub(super) fn waiting(self, most: Duration, ending: &Ending) -> Waiting {
        Waiting { patience: self, most, ending: ending.clone(), waited: Duration::ZERO }
    }
}

/// What has been waited.
#[derive(Debug)]
pub(super) struct Waiting {
    patience: Patience,
    most: Duration,
    ending: Ending,
    /// Of what counts: nothing does while there is no end to it.
    waited: Duration,
}

impl Waiting {
    fn has_end(&self) -> bool {
        self.patience == Patience::Wait || self.ending.is_near()
    }

    /// How much it is at the end.
    #[cfg(feature = "kafka")]
    pub(super) fn most(&self) -> Duration {
        self.most
    }

    /// So much more has been waited.
    pub(super) fn add(&mut self, wait: Duration) {
        if self.has_end() {
            self.waited += wait;
        }
    }

    /// Whether that is enough.
    pub(super) fn is_over(&self) -> bool {
        self.has_end() && self.waited >= self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_counts_from_the_end_on() {
        let (ending, second) = (Ending::default(), Duration::from_secs(1));
        assert!(Patience::Wait.waiting(Duration::ZERO, &ending).is_over());
        let mut none = Patience::Endless.waiting(Duration::ZERO, &ending);
        let mut some = Patience::Endless.waiting(second, &ending);
        for waiting in [&mut none, &mut some] {
            waiting.add(10 * second);
            assert!(!waiting.is_over());
        }
        ending.announce();
        assert!(none.is_over() && !some.is_over());
        some.add(second);
        assert!(some.is_over());
    }
}
