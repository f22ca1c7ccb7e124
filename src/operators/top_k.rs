//! The k largest rows, exactly, as the rows change.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::Hash;

use differential_dataflow::lattice::Lattice;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::channels::pact::Exchange;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use crate::operators::{per_closed_time, route};

/// Extension trait for the `top_k` method.
pub trait TopK<'scope, T, K, V>: Sized
where
    T: Timestamp + Lattice + TotalOrder,
    K: ExchangeData + Hash,
    V: ExchangeData,
{
    /// The first `k` rows by value descending, then key ascending, as `(rank, key, value)` with ranks from 1.
    ///
    /// Each worker orders the rows whose keys it owns and hands its own first `k` to the one worker that merges them,
    /// so no worker sees all keys. An update costs a search in a worker's ordered rows, logarithmic in their number,
    /// and an epoch costs `k` more; nothing is ever rescanned, so a retraction at the top costs what any update does. A row of
    /// multiplicity m takes m ranks.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use thalweg::operators::TopK;
    ///
    /// timely::execute_directly(|worker| {
    ///     worker.dataflow::<u64, _, _>(|scope| {
    ///         let counts = scope.new_collection_from_raw([(("c", 1), 0, 1), (("a", 7), 0, 1), (("b", 7), 0, 1),
    ///             (("a", 7), 1, -1)]).1;
    ///         let top = scope.new_collection_from_raw([((1, "a", 7), 0, 1), ((2, "b", 7), 0, 1),
    ///             ((1, "a", 7), 1, -1), ((2, "b", 7), 1, -1), ((1, "b", 7), 1, 1), ((2, "c", 1), 1, 1)]).1;
    ///         let owned = counts.map(|(key, count): (&str, u64)| (key.to_owned(), count));
    ///         owned.top_k(2).assert_eq(top.map(|(rank, key, n): (u64, &str, u64)| (rank, key.to_owned(), n)));
    ///     });
    /// });
    /// ```
    fn top_k(self, k: usize) -> VecCollection<'scope, T, (u64, K, V), isize> {
        self.top_k_named("TopK", k)
    }

    /// As [`TopK::top_k`], with a name.
    fn top_k_named(self, name: &str, k: usize) -> VecCollection<'scope, T, (u64, K, V), isize>;
}

impl<'scope, T, K, V> TopK<'scope, T, K, V> for VecCollection<'scope, T, (K, V), isize>
where
    T: Timestamp + Lattice + TotalOrder,
    K: ExchangeData + Hash,
    V: ExchangeData,
{
    fn top_k_named(self, name: &str, k: usize) -> VecCollection<'scope, T, (u64, K, V), isize> {
        let by_key = Exchange::new(|((key, _), _, _): &((K, V), T, isize)| route(key));
        let mut ordered = Ordered::new(k);
        let local =
            per_closed_time(self, by_key, &format!("{name}: local"), vec![], move |time, updates, output| {
                updates.drain(..).for_each(|(row, diff)| ordered.update(row, diff));
                ordered.changes(|row, diff| output.push((row.clone(), time.clone(), diff)));
            });

        merge_first(local, name, k)
    }
}

/// The first `k` of rows of which each worker gives its own first `k`, with their ranks.
pub(crate) fn merge_first<'scope, T, K, V>(
    local: VecCollection<'scope, T, (K, V), isize>,
    name: &str,
    k: usize,
) -> VecCollection<'scope, T, (u64, K, V), isize>
where
    T: Timestamp + Lattice + TotalOrder,
    K: ExchangeData,
    V: ExchangeData,
{
    // Any one worker will do, and the same in every process; by name, so that several operators spread out.
    let merger = route(name);
    let to_one = Exchange::new(move |_: &((K, V), T, isize)| merger);
    let mut ranked = Ranked::new(k);
    per_closed_time(local, to_one, &format!("{name}: merge"), vec![], move |time, updates, output| {
        updates.drain(..).for_each(|(row, diff)| ranked.update(row, diff));
        ranked.changes(|rank, (key, value), diff| {
            output.push(((rank, key.clone(), value.clone()), time.clone(), diff));
        });
    })
}

/// Rows in order, and the ranks of the first `k` of them as last shown.
#[derive(Debug)]
pub(crate) struct Ranked<K, V> {
    ordered: Ordered<K, V>,
    shown: Vec<(K, V)>,
}

impl<K: Clone + Ord, V: Clone + Ord> Ranked<K, V> {
    pub(crate) fn new(k: usize) -> Self {
        Ranked { ordered: Ordered::new(k), shown: Vec::new() }
    }

    pub(crate) fn update(&mut self, row: (K, V), diff: isize) {
        self.ordered.update(row, diff);
    }

    /// Shows how the ranks, which count from 1, differ from those shown before.
    pub(crate) fn changes(&mut self, mut show: impl FnMut(u64, &(K, V), isize)) {
        let mut changed = false;
        self.ordered.changes(|_, _| changed = true);
        if !changed {
            return;
        }
        let now = self.ordered.first();
        for at in 0..self.shown.len().max(now.len()) {
            let (before, now) = (self.shown.get(at), now.get(at));
            if before != now {
                let rank = at as u64 + 1;
                before.into_iter().for_each(|row| show(rank, row, -1));
                now.into_iter().for_each(|row| show(rank, row, 1));
            }
        }
        self.shown = now;
    }

    /// The first `k` rows as last shown, the first first.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = (u64, &(K, V))> {
        (1..).zip(&self.shown)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ordered.is_empty()
    }
}

/// Rows in order, and the first `k` of them as last shown.
#[derive(Debug)]
pub(crate) struct Ordered<K, V> {
    k: usize,
    rows: BTreeMap<(Reverse<V>, K), isize>,
    shown: Vec<Counted<K, V>>,
    /// How many rows `shown` is, with multiplicities.
    ranks: usize,
    /// Whether an update since the last `changes` may have touched the first `k`.
    stale: bool,
}

impl<K: Clone + Ord, V: Clone + Ord> Ordered<K, V> {
    pub(crate) fn new(k: usize) -> Self {
        Ordered { k, rows: BTreeMap::new(), shown: Vec::new(), ranks: 0, stale: false }
    }

    pub(crate) fn update(&mut self, (key, value): (K, V), diff: isize) {
        // Only what sorts no later than the last row shown can change what is shown, unless fewer than k are.
        self.stale |= match self.shown.last() {
            Some(((last, least), _)) if self.ranks >= self.k => {
                (&value, Reverse(&key)) >= (least, Reverse(last))
            }
            _ => self.k > 0,
        };
        add(&mut self.rows, (Reverse(value), key), diff);
    }

    /// The first rows with their multiplicities, `k` in all or as many as there are.
    fn head(&self) -> Vec<Counted<K, V>> {
        let mut left = self.k;
        let present = self.rows.iter().filter(|(_, count)| **count > 0);
        present
            .map_while(|((Reverse(value), key), count)| {
                let count = left.min(*count as usize);
                left -= count;
                (count > 0).then(|| ((key.clone(), value.clone()), count as isize))
            })
            .collect()
    }

    /// Whether there are no rows, and none were shown.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.shown.is_empty()
    }

    /// Shows how the first `k` rows differ from those shown before.
    pub(crate) fn changes(&mut self, mut show: impl FnMut(&(K, V), isize)) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let head = self.head();
        differences(&self.shown, &head, &mut show);
        self.ranks = head.iter().map(|(_, count)| *count as usize).sum();
        self.shown = head;
    }

    /// The first `k` rows as last shown, each as often as it occurs.
    fn first(&self) -> Vec<(K, V)> {
        let repeat = |(row, count): &((K, V), isize)| std::iter::repeat_n(row.clone(), *count as usize);
        self.shown.iter().flat_map(repeat).collect()
    }
}

/// A row, and how often it occurs.
pub(crate) type Counted<K, V> = ((K, V), isize);

/// Shows how `now` differs from `before`; both are in order, so rows that are in both are found by merging.
pub(crate) fn differences<K: Ord, V: Ord>(
    before: &[Counted<K, V>],
    now: &[Counted<K, V>],
    mut show: impl FnMut(&(K, V), isize),
) {
    use std::cmp::Ordering::{Greater, Less};
    let (mut old, mut new) = (before.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => break,
            (Some(_), None) => Less,
            (None, Some(_)) => Greater,
            (Some((old, _)), Some((new, _))) => rank(old).cmp(&rank(new)),
        };
        let before = if order != Greater { old.next() } else { None };
        let now = if order != Less { new.next() } else { None };
        let diff = now.map_or(0, |(_, n)| *n) - before.map_or(0, |(_, n)| *n);
        if let (Some((row, _)), true) = (before.or(now), diff != 0) {
            show(row, diff);
        }
    }
}

/// Changes how often `row` is among `rows`; what is there no times is not there.
pub(crate) fn add<R: Ord>(rows: &mut BTreeMap<R, isize>, row: R, diff: isize) {
    use std::collections::btree_map::Entry;
    match rows.entry(row) {
        Entry::Vacant(entry) => {
            entry.insert(diff);
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += diff;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// What rows are in the order of: value descending, then key ascending.
pub(crate) fn rank<K, V>((key, value): &(K, V)) -> (Reverse<&V>, &K) {
    (Reverse(value), key)
}
