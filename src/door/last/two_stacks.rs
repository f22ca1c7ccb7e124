//! The running total of a window that slides.
//!
//! A window's total is the merge of the panes in it. Where sums can be taken back, an expired pane is subtracted; the
//! smallest value, or a sketch, has no inverse, and merging all panes at each slide costs the window rather than the
//! change. This is the *two-stacks* algorithm, which merges each pane about twice in its life however long the window
//! is: Tangwongsan, Hirzel, Schneider, Wu, "General incremental sliding-window aggregation", VLDB 2015, and
//! Tangwongsan, Hirzel, Schneider, "Low-latency sliding-window aggregation", DEBS 2017.
//!
//! ```text
//!   panes    3    4    5    6  |  7    8    9        ascending; the raw sums, which are what is durable
//!            front             |  back
//!   merged  3456  456  56   6  |  789
//! ```
//!
//! The oldest panes are the *front*, and each keeps the merge of itself and what follows it in the front, so the one
//! that expires takes its part with it. The newest are the *back*, with one merge of them all, which a newer pane is
//! merged into. The total is the merge of the two. When the front has expired, the back becomes the front.
//!
//! *Why not finger trees* (FiBA, "Optimal and general out-of-order sliding-window aggregation", VLDB 2019), which take
//! a late value in logarithmic time: panes are few (length over slide, tens to hundreds), records that are late are
//! few and come added up by pane, and a tree costs pointers and code for each key. DEBS 2017 also shows how to spread
//! the turn of the back over time; it bounds a delay of microseconds, at twice the merges, so it is not done either.
//!
//! This knows panes as numbers, and no keys, clock or dataflow. It leans on merging being commutative.

use std::collections::VecDeque;

use crate::data::{Overflow, Total};

/// The sums of one key by pane, and their total as panes come and go.
///
/// Merges: a new pane that is the newest costs one, and one more when the back becomes the front; the total costs one.
/// A sum for a pane that is there, or late, costs at most two if the pane is newer than the front, else at most one for
/// each pane of the front that is not newer than it, and one more.
///
/// State: n panes hold at most 2 n sums. None is allocated while it is empty, and one pane holds one sum.
///
/// Any of its merges, also of only some of the panes, may overflow. Then the state is unspecified.
#[derive(Clone, Debug)]
pub(crate) struct TwoStacks<A> {
    /// All panes, ascending, each with its sum.
    panes: VecDeque<(i64, A)>,
    /// How many of them, from the oldest on, are the front.
    front: usize,
    /// For each pane of the front, youngest first, the merge of it and the younger ones of the front; without the
    /// youngest, whose sum is its own.
    merged: Vec<A>,
    /// The merge of the back, if that is two panes or more.
    back: Option<Box<A>>,
}

impl<A> Default for TwoStacks<A> {
    fn default() -> Self {
        TwoStacks { panes: VecDeque::new(), front: 0, merged: Vec::new(), back: None }
    }
}

impl<A: Total> TwoStacks<A> {
    /// Adds `sum` to that of `pane`, which may be new, and anywhere.
    ///
    /// # Errors
    ///
    /// When a merge of panes does not fit.
    pub(crate) fn add(&mut self, pane: i64, sum: &A) -> Result<(), Overflow> {
        // The newest pane is by far the likeliest.
        let place = match self.panes.back() {
            Some((newest, _)) if *newest == pane => Ok(self.panes.len() - 1),
            Some((newest, _)) if *newest > pane => {
                self.panes.binary_search_by_key(&pane, |(other, _)| *other)
            }
            _ => Err(self.panes.len()),
        };
        match place {
            Ok(place) => {
                self.panes[place].1.try_add(sum)?;
                if place < self.front { self.add_to_front(place, sum) } else { self.add_to_back(sum) }
            }
            Err(place) if place < self.front => self.insert_in_front(place, pane, sum),
            Err(place) => self.insert_in_back(place, pane, sum),
        }
    }

    /// Adds `sum`, which the pane at `place` has now, to all that was merged of it.
    fn add_to_front(&mut self, place: usize, sum: &A) -> Result<(), Overflow> {
        let youngest = self.front - 1;
        // The youngest has no merge of its own, only those that are older.
        let first = (youngest - place).saturating_sub(1);
        self.merged[first..].iter_mut().try_for_each(|merged| merged.try_add(sum))
    }

    fn add_to_back(&mut self, sum: &A) -> Result<(), Overflow> {
        self.back.as_mut().map_or(Ok(()), |back| back.try_add(sum))
    }

    fn insert_in_front(&mut self, place: usize, pane: i64, sum: &A) -> Result<(), Overflow> {
        // Between the merge of what is younger and the merges of what is older.
        let at = self.front - 1 - place;
        let mut merged = if at == 0 { self.panes[place].1.clone() } else { self.merged[at - 1].clone() };
        merged.try_add(sum)?;
        self.merged[at..].iter_mut().try_for_each(|older| older.try_add(sum))?;
        self.merged.insert(at, merged);
        self.panes.insert(place, (pane, sum.clone()));
        self.front += 1;
        Ok(())
    }

    fn insert_in_back(&mut self, place: usize, pane: i64, sum: &A) -> Result<(), Overflow> {
        match (&mut self.back, self.panes.get(self.front)) {
            (Some(back), _) => back.try_add(sum)?,
            (None, Some((_, only))) => {
                let mut back = Box::new(only.clone());
                back.try_add(sum)?;
                self.back = Some(back);
            }
            (None, None) => {}
        }
        if self.panes.is_empty() {
            // Most keys have one pane, so it gets no more room than that.
            self.panes.reserve_exact(1);
        }
        self.panes.insert(place, (pane, sum.clone()));
        Ok(())
    }

    /// Drops all panes that are older than `before`.
    ///
    /// # Errors
    ///
    /// When a merge of panes does not fit: those of the back are merged anew if one of them expires.
    pub(crate) fn expire(&mut self, before: i64) -> Result<(), Overflow> {
        let expired = self.panes.partition_point(|(pane, _)| *pane < before);
        self.panes.drain(..expired);
        if expired < self.front {
            self.front -= expired;
            self.merged.truncate(self.front - 1);
            return Ok(());
        }
        let into_back = expired > self.front;
        self.front = 0;
        self.merged = Vec::new();
        if into_back { self.turn() } else { Ok(()) }
    }

    /// The back becomes the front.
    fn turn(&mut self) -> Result<(), Overflow> {
        self.back = None;
        self.front = self.panes.len();
        self.merged.reserve_exact(self.front.saturating_sub(1));
        let mut younger_first = self.panes.iter().rev().map(|(_, sum)| sum);
        let Some(mut last) = younger_first.next() else { return Ok(()) };
        for sum in younger_first {
            let mut merged = sum.clone();
            merged.try_add(last)?;
            last = self.merged.push_mut(merged);
        }
        Ok(())
    }

    /// The merge of all panes; zero if there is none.
    ///
    /// # Errors
    ///
    /// When it does not fit.
    pub(crate) fn total(&self) -> Result<A, Overflow> {
        let front =
            self.merged.last().or_else(|| self.panes.front().filter(|_| self.front == 1).map(|(_, sum)| sum));
        let back = self.back.as_deref().or_else(|| self.panes.get(self.front).map(|(_, sum)| sum));
        let mut total = front.or(back).cloned().unwrap_or_default();
        if let (Some(_), Some(back)) = (front, back) {
            total.try_add(back)?;
        }
        Ok(total)
    }

    /// Whether there is no pane, so that this can be dropped.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    /// The panes and their own sums, ascending. Adding these to another `TwoStacks` gives the same totals.
    #[cfg(test)]
    pub(crate) fn panes(&self) -> impl Iterator<Item = (i64, &A)> {
        self.panes.iter().map(|(pane, sum)| (*pane, sum))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;

    use differential_dataflow::difference::{IsZero, Semigroup};
    use proptest::prelude::*;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::data::Stats;

    thread_local! {
        static MERGES: Cell<usize> = const { Cell::new(0) };
    }

    /// As [`Stats`], and counts its merges.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
    struct Counted(Stats);

    impl Total for Counted {
        fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
            MERGES.set(MERGES.get() + 1);
            self.0.try_add(&other.0)
        }
    }

    impl IsZero for Counted {
        fn is_zero(&self) -> bool {
            self.0.is_zero()
        }
    }

    impl Semigroup for Counted {
        fn plus_equals(&mut self, other: &Self) {
            self.try_add(other).unwrap();
        }
    }

    fn one(value: i16) -> Counted {
        Counted([i128::from(value)].into_iter().collect())
    }

    /// What `call` returns, and how many merges it took.
    fn merges<T>(call: impl FnOnce() -> T) -> (T, usize) {
        let before = MERGES.get();
        let result = call();
        (result, MERGES.get() - before)
    }

    /// What the panes are, recomputed from scratch.
    #[derive(Default)]
    struct Naive(BTreeMap<i64, Stats>);

    impl Naive {
        fn add(&mut self, pane: i64, sum: Counted) {
            self.0.entry(pane).or_default().try_add(&sum.0).unwrap();
        }

        fn check(&self, window: &TwoStacks<Counted>) {
            let mut total = Stats::default();
            self.0.values().for_each(|sum| total.try_add(sum).unwrap());
            let (sum, merges) = merges(|| window.total());
            assert_eq!(sum, Ok(Counted(total)));
            assert!(merges <= 1, "{merges} merges for a total");
            assert_eq!(window.is_empty(), self.0.is_empty());
            assert!(
                window
                    .panes()
                    .map(|(pane, sum)| (pane, sum.0))
                    .eq(self.0.iter().map(|(pane, sum)| (*pane, *sum)))
            );
            // What the documentation says of the state.
            let held = window.panes.len() + window.merged.len() + usize::from(window.back.is_some());
            assert!(held <= 2 * window.panes.len());
            assert!(window.panes.len() != 1 || held == 1);
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Goes on by so many panes, and adds.
        New(i64, i16),
        /// Adds to a pane so many before the newest.
        Late(i64, i16),
        /// Expires all but so many before the newest.
        Expire(i64),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (0..3i64, any::<i16>()).prop_map(|(on, value)| Step::New(on, value)),
            2 => (0..25i64, any::<i16>()).prop_map(|(back, value)| Step::Late(back, value)),
            2 => (-1..25i64).prop_map(Step::Expire),
        ];
        prop::collection::vec(step, 0..120)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn like_recomputing(steps in steps(), start in prop_oneof![Just(0), Just(i64::MIN + 25)]) {
            let (mut window, mut naive) = (TwoStacks::default(), Naive::default());
            let mut newest = start;
            for step in steps {
                match step {
                    Step::New(on, value) => {
                        newest += on;
                        naive.add(newest, one(value));
                        prop_assert_eq!(window.add(newest, &one(value)), Ok(()));
                    }
                    Step::Late(back, value) => {
                        let (pane, value) = (newest - back, one(value));
                        let front = window.panes.iter().take(window.front);
                        let older = front.filter(|(other, _)| *other <= pane).count();
                        let in_front = window.front > 0 && pane <= window.panes[window.front - 1].0;
                        naive.add(pane, value);
                        let (added, cost) = merges(|| window.add(pane, &value));
                        prop_assert_eq!(added, Ok(()));
                        prop_assert!(cost <= 1 + if in_front { older } else { 1 }, "{} merges", cost);
                    }
                    Step::Expire(kept) => {
                        naive.0.retain(|pane, _| *pane >= newest - kept);
                        prop_assert_eq!(window.expire(newest - kept), Ok(()));
                    }
                }
                naive.check(&window);
            }
            let mut other = TwoStacks::default();
            for (pane, sum) in window.panes() {
                prop_assert_eq!(other.add(pane, sum), Ok(()));
            }
            naive.check(&other);
            prop_assert_eq!(window.expire(i64::MAX), Ok(()));
            Naive::default().check(&window);
        }
    }

    /// Each slide adds a pane and expires one: about two merges, however long the window is.
    #[test]
    fn a_slide_costs_the_same_for_any_length() {
        for length in [1, 2, 10, 300] {
            let mut window = TwoStacks::default();
            let slides = 10 * length + 7;
            let ((), cost) = merges(|| {
                for pane in 0..slides {
                    window.add(pane, &one(pane as i16)).unwrap();
                    window.expire(pane + 1 - length).unwrap();
                }
            });
            assert!(cost <= 2 * slides as usize, "{cost} merges for {slides} slides of {length} panes");
            let total = window.total().unwrap().0;
            assert_eq!((total.count, total.min), (length, Some((slides - length).into())));
        }
    }

    #[test]
    fn sums_do_not_wrap() {
        let mut window = TwoStacks::default();
        window.add(1, &i64::MAX).unwrap();
        assert_eq!(window.clone().add(1, &1), Err(Overflow));
        assert_eq!(window.clone().add(0, &1), Err(Overflow));
        assert_eq!(window.clone().add(2, &1), Err(Overflow));
        window.add(2, &-5).unwrap();
        assert_eq!(window.total(), Ok(i64::MAX - 5));
        window.expire(2).unwrap();
        window.add(3, &7).unwrap();
        assert_eq!(window.total(), Ok(2));
        // Front and back fit, and their merge does not.
        let mut apart = TwoStacks::default();
        [(1, 0), (2, i64::MAX), (3, 0)].iter().for_each(|(pane, sum)| apart.add(*pane, sum).unwrap());
        apart.expire(2).unwrap();
        apart.add(4, &1).unwrap();
        assert_eq!(apart.total(), Err(Overflow));
    }

    #[test]
    fn small_where_there_is_little() {
        assert!(size_of::<TwoStacks<Stats>>() <= 72);
        let mut window = TwoStacks::default();
        window.add(5, &one(1)).unwrap();
        assert_eq!((window.panes.capacity(), window.merged.capacity(), window.back.is_none()), (1, 0, true));
    }
}
