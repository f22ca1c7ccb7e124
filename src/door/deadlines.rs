//! Which keys are due: a queue with about one entry a key, so that closing an epoch costs what is due and not what is
//! open.
//!
//! A key's deadline mostly moves further away, and then its entry stays as it is: when that comes up, the machine looks at
//! the key, and queues it again if it is not due yet. So a key has one *live* entry, never later than its deadline; its
//! machine remembers at what time, and by that knows entries that are stale.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::time::{Millis, Watermark};

/// Keys by the time at which to look at them.
#[derive(Debug)]
pub(crate) struct Deadlines<K>(BinaryHeap<Reverse<(Millis, K)>>);

impl<K: Ord> Deadlines<K> {
    /// Stale entries that are not worth a clearing.
    const SLACK: usize = 1024;

    pub(crate) fn new() -> Self {
        Deadlines(BinaryHeap::new())
    }

    /// `key` is to be looked at when the watermark reaches `at`.
    pub(crate) fn push(&mut self, at: Millis, key: K) {
        self.0.push(Reverse((at, key)));
    }

    /// The next entry that `watermark` has reached, earliest first and then by key.
    pub(crate) fn pop(&mut self, watermark: Watermark) -> Option<(Millis, K)> {
        let due = self.0.peek().is_some_and(|Reverse((at, _))| watermark.reaches(*at));
        due.then(|| self.0.pop()).flatten().map(|Reverse(entry)| entry)
    }

    /// Drops what is not live, if that may be more than half; `keys` is how many keys there are.
    pub(crate) fn tidy(&mut self, keys: usize, is_live: impl Fn(Millis, &K) -> bool) {
        if self.0.len() < 2 * keys + Self::SLACK {
            return;
        }
        let mut entries = std::mem::take(&mut self.0).into_vec();
        entries.retain(|Reverse((at, key))| is_live(*at, key));
        entries.sort_unstable();
        // A key that came, went and came again at the same time.
        entries.dedup();
        entries.shrink_to_fit();
        self.0 = BinaryHeap::from(entries);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_when_they_are_due_and_stale_ones_do_not_pile_up() {
        let mut deadlines = Deadlines::new();
        for at in (0..100_000).rev() {
            deadlines.push(at, 'a');
            deadlines.tidy(1, |live, _| live == at);
            assert!(deadlines.len() <= 2 + Deadlines::<char>::SLACK);
        }
        let mut deadlines = Deadlines::new();
        [(5, 'b'), (3, 'c'), (5, 'a')].into_iter().for_each(|(at, key)| deadlines.push(at, key));
        assert_eq!(deadlines.pop(Watermark::NONE), None);
        assert_eq!(deadlines.pop(Watermark::at(4)), Some((3, 'c')));
        assert_eq!(deadlines.pop(Watermark::at(4)), None);
        assert_eq!(deadlines.pop(Watermark::END), Some((5, 'a')));
        assert_eq!(deadlines.pop(Watermark::at(5)), Some((5, 'b')));
    }
}
