//! The first rows of a sliding view, without the others.
//!
//! A ranking wants the first ten of some thousands of keys at every slide. Sending every changed row to an operator that orders
//! them costs several times what the window itself costs (measured on `top-urls`: two thirds of the time went into
//! cloning, sending and ordering rows that are nowhere near the top). So each worker picks its first rows where the totals
//! are, and sends only those.
//!
//! It keeps a *head*: all keys that do not rank behind a *bound*, which is some row of the past. A changed key is compared with
//! the bound, nearly always by its total alone, and enters the head, leaves it, or is none of its business. The first `k`
//! are selected from the head, a few hundred keys, when one of them may have changed. When the head has fewer than `k` keys,
//! a new bound is found by a selection among all; when it has become several times too large, by one among the head.
//!
//! A selection among `n` keys takes n steps, and happens after as many keys have left the head as it had beyond `k`. The head
//! is given `√n` keys and more for that: a change costs `√n` steps at worst and in the long run, and next to none where
//! keys come and go.

use std::cmp::{Ordering, Reverse};

use crate::operators::{Counted, differences};

/// Where a key is that is not in the head.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// What a ranking asks of the table that it ranks.
pub(crate) trait Rows {
    /// Something that a key ranks by.
    type Key: Ord + Clone;
    /// Its total; more ranks before less, and equals rank by key.
    type Total: Ord + Clone;

    /// How many slots there are, empty ones too.
    fn slots(&self) -> u32;
    /// The row in slot `at`, if it is one.
    fn row(&self, at: u32) -> Option<(&Self::Key, Self::Total)>;
    /// Where the slot is in the head, or [`NOWHERE`].
    fn place(&mut self, at: u32) -> &mut u32;
}

/// The first rows of a table that changes.
#[derive(Debug)]
pub(crate) struct Ranking<K, A> {
    k: usize,
    /// The slots of all rows that do not rank behind `bound`.
    head: Vec<u32>,
    /// `None` while the head holds all rows.
    bound: Option<(A, K)>,
    shown: Vec<Counted<K, A>>,
    /// Whether the first `k` may differ from those shown.
    stale: bool,
}

impl<K: Ord + Clone, A: Ord + Clone> Ranking<K, A> {
    pub(crate) fn new(k: usize) -> Self {
        Ranking { k, head: Vec::new(), bound: None, shown: Vec::new(), stale: false }
    }

    /// How many keys a head of `rows` rows is cut down to.
    fn room(&self, rows: usize) -> usize {
        self.k.saturating_mul(4).saturating_add(64).max(rows.isqrt())
    }

    /// Slots have moved, each to where `moved` says.
    pub(crate) fn renumber(&mut self, moved: &[u32]) {
        self.head.iter_mut().for_each(|at| *at = moved[*at as usize]);
    }

    /// The row in slot `at` has changed, come or gone.
    pub(crate) fn update<R: Rows<Key = K, Total = A>>(&mut self, rows: &mut R, at: u32) {
        let inside = rows.row(at).is_some_and(|(key, total)| match &self.bound {
            None => true,
            Some((least, last)) => order((&total, key), (least, last)) != Ordering::Greater,
        });
        let place = *rows.place(at);
        if inside {
            self.stale = true;
            if place == NOWHERE {
                *rows.place(at) = self.head.len() as u32;
                self.head.push(at);
            }
        } else if place != NOWHERE {
            self.stale = true;
            *rows.place(at) = NOWHERE;
            self.head.swap_remove(place as usize);
            if let Some(moved) = self.head.get(place as usize) {
                *rows.place(*moved) = place;
            }
        }
    }

    /// Shows how the first `k` rows differ from those shown before.
    pub(crate) fn changes<R: Rows<Key = K, Total = A>>(
        &mut self,
        rows: &mut R,
        mut show: impl FnMut(&K, &A, isize),
    ) {
        if !std::mem::take(&mut self.stale) || self.k == 0 {
            return;
        }
        if self.head.len() < self.k && self.bound.is_some() {
            self.gather(rows);
        } else if self.head.len() > self.room(self.head.len()).saturating_mul(4) {
            self.cut(rows);
        }
        let now = self.first(rows);
        differences(&self.shown, &now, |(key, total), diff| show(key, total, diff));
        self.shown = now;
    }

    /// The first `k` rows of the head, in order.
    fn first<R: Rows<Key = K, Total = A>>(&self, rows: &R) -> Vec<Counted<K, A>> {
        let mut all: Vec<_> =
            self.head.iter().filter_map(|at| rows.row(*at)).map(|(key, total)| (total, key)).collect();
        if all.len() > self.k {
            all.select_nth_unstable_by(self.k - 1, |a, b| order((&a.0, a.1), (&b.0, b.1)));
            all.truncate(self.k);
        }
        all.sort_unstable_by(|a, b| order((&a.0, a.1), (&b.0, b.1)));
        all.into_iter().map(|(total, key)| ((key.clone(), total), 1)).collect()
    }

    /// Takes all rows into the head, and cuts it down.
    fn gather<R: Rows<Key = K, Total = A>>(&mut self, rows: &mut R) {
        self.bound = None;
        self.head.clear();
        for at in 0..rows.slots() {
            if rows.row(at).is_some() {
                *rows.place(at) = self.head.len() as u32;
                self.head.push(at);
            }
        }
        if self.head.len() > self.room(self.head.len()).saturating_mul(2) {
            self.cut(rows);
        }
    }

    /// Cuts the head down to the first rows, and sets the bound to the last of them.
    fn cut<R: Rows<Key = K, Total = A>>(&mut self, rows: &mut R) {
        let room = self.room(self.head.len());
        let mut all: Vec<_> =
            self.head.iter().filter_map(|at| rows.row(*at).map(|(key, total)| (total, key, *at))).collect();
        let (_, last, _) = all.select_nth_unstable_by(room - 1, |a, b| order((&a.0, a.1), (&b.0, b.1)));
        self.bound = Some((last.0.clone(), last.1.clone()));
        let (inside, outside): (Vec<_>, Vec<_>) = all
            .iter()
            .enumerate()
            .map(|(at, (_, _, slot))| (at < room, *slot))
            .partition(|(inside, _)| *inside);
        outside.iter().for_each(|(_, at)| *rows.place(*at) = NOWHERE);
        self.head.clear();
        for (_, at) in inside {
            *rows.place(at) = self.head.len() as u32;
            self.head.push(at);
        }
    }
}

/// More first, and among equals by key.
fn order<K: Ord, A: Ord>((a, key): (&A, &K), (b, other): (&A, &K)) -> Ordering {
    (Reverse(a), key).cmp(&(Reverse(b), other))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Table(Vec<(Option<(u32, i64)>, u32)>);

    impl Rows for Table {
        type Key = u32;
        type Total = i64;
        fn slots(&self) -> u32 {
            self.0.len() as u32
        }
        fn row(&self, at: u32) -> Option<(&u32, i64)> {
            self.0[at as usize].0.as_ref().map(|(key, total)| (key, *total))
        }
        fn place(&mut self, at: u32) -> &mut u32 {
            &mut self.0[at as usize].1
        }
    }

    proptest! {
        /// Rows that come, change and go, many at once, are ranked as a sort ranks them.
        #[test]
        fn it_ranks_as_a_sort_does(
            k in prop_oneof![0..6usize, Just(usize::MAX)],
            rounds in prop::collection::vec(prop::collection::vec((0..2000u32, prop::option::of(-3..40i64)), 0..900), 1..8),
        ) {
            let mut table = Table((0..2000).map(|_| (None, NOWHERE)).collect());
            let mut ranking = Ranking::new(k);
            let mut shown = std::collections::BTreeSet::new();
            for changes in rounds {
                for (at, total) in changes {
                    // Keys in another order than their slots.
                    table.0[at as usize].0 = total.map(|total| (at.reverse_bits(), total));
                    ranking.update(&mut table, at);
                }
                ranking.changes(&mut table, |key, total, diff| {
                    let row = (Reverse(*total), *key);
                    assert!(if diff == 1 { shown.insert(row) } else { shown.remove(&row) }, "{row:?} {diff}");
                });
                let mut all: Vec<_> =
                    table.0.iter().filter_map(|(row, _)| row.map(|(key, total)| (Reverse(total), key))).collect();
                all.sort_unstable();
                all.truncate(k);
                prop_assert_eq!(shown.iter().copied().collect::<Vec<_>>(), all);
            }
        }
    }
}
