//! The k largest rows of each group, exactly, as the rows change.

use std::collections::HashMap;
use std::hash::Hash;

use differential_dataflow::lattice::Lattice;
use differential_dataflow::{ExchangeData, VecCollection};
use foldhash::quality::RandomState;
use timely::dataflow::channels::pact::Exchange;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use crate::operators::top_k::{Ordered, Ranked};
use crate::operators::{per_closed_time, route};

/// Extension trait for the `top_k_by_group` method.
pub trait TopKByGroup<'scope, T, G, K, V>: Sized
where
    T: Timestamp + Lattice + TotalOrder,
    G: ExchangeData + Hash,
    K: ExchangeData + Hash,
    V: ExchangeData,
{
    /// The first `k` rows of each group by value descending, then key ascending, as `(group, rank, key, value)` with
    /// ranks from 1.
    ///
    /// Each worker orders the rows whose group and key it owns, and hands its own first `k` of each group to the one worker
    /// that merges that group: a large group is ordered by all workers, and many groups are merged by all. An update
    /// costs a search in its group's ordered rows, and an epoch costs `k` more for each group that it touches and nothing
    /// for the others. A row of multiplicity m takes m ranks.
    ///
    /// State: the rows, and the ranks of each group as last shown. A group that becomes empty is forgotten.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use thalweg::operators::TopKByGroup;
    ///
    /// timely::execute_directly(|worker| {
    ///     worker.dataflow::<u64, _, _>(|scope| {
    ///         let errors = [((500, 1, 7), 0, 1), ((500, 2, 9), 0, 1), ((404, 1, 3), 0, 1), ((500, 2, 9), 1, -1)];
    ///         let largest = [((404, 1, 1, 3), 0, 1), ((500, 1, 2, 9), 0, 1),
    ///             // One row less, and the next takes its rank.
    ///             ((500, 1, 2, 9), 1, -1), ((500, 1, 1, 7), 1, 1)];
    ///         let (_, errors) = scope.new_collection_from_raw(errors);
    ///         let (_, largest) = scope.new_collection_from_raw(largest);
    ///         errors.top_k_by_group(1).assert_eq(largest);
    ///     });
    /// });
    /// ```
    fn top_k_by_group(self, k: usize) -> VecCollection<'scope, T, (G, u64, K, V), isize> {
        self.top_k_by_group_named("TopKByGroup", k)
    }

    /// As [`TopKByGroup::top_k_by_group`], with a name.
    fn top_k_by_group_named(self, name: &str, k: usize) -> VecCollection<'scope, T, (G, u64, K, V), isize>;
}

impl<'scope, T, G, K, V> TopKByGroup<'scope, T, G, K, V> for VecCollection<'scope, T, (G, K, V), isize>
where
    T: Timestamp + Lattice + TotalOrder,
    G: ExchangeData + Hash,
    K: ExchangeData + Hash,
    V: ExchangeData,
{
    fn top_k_by_group_named(self, name: &str, k: usize) -> VecCollection<'scope, T, (G, u64, K, V), isize> {
        let by_key = Exchange::new(|((group, key, _), _, _): &((G, K, V), T, isize)| route(&(group, key)));
        let mut groups: HashMap<G, Ordered<K, V>, RandomState> = HashMap::default();
        let local =
            per_closed_time(self, by_key, &format!("{name}: local"), vec![], move |time, updates, output| {
                for_each_group(updates, |group, rows| {
                    let ordered = groups.entry(group.clone()).or_insert_with(|| Ordered::new(k));
                    rows.drain(..).for_each(|(row, diff)| ordered.update(row, diff));
                    ordered.changes(|(key, value), diff| {
                        output.push(((group.clone(), key.clone(), value.clone()), time.clone(), diff));
                    });
                    if ordered.is_empty() {
                        groups.remove(&group);
                    }
                });
            });

        let by_group = Exchange::new(|((group, _, _), _, _): &((G, K, V), T, isize)| route(group));
        let mut groups: HashMap<G, Ranked<K, V>, RandomState> = HashMap::default();
        per_closed_time(local, by_group, &format!("{name}: merge"), vec![], move |time, updates, output| {
            for_each_group(updates, |group, rows| {
                let ranked = groups.entry(group.clone()).or_insert_with(|| Ranked::new(k));
                rows.drain(..).for_each(|(row, diff)| ranked.update(row, diff));
                ranked.changes(|rank, (key, value), diff| {
                    output.push(((group.clone(), rank, key.clone(), value.clone()), time.clone(), diff));
                });
                if ranked.is_empty() {
                    groups.remove(&group);
                }
            });
        })
    }
}

/// A row without its group, and how often it is inserted or retracted.
type Change<K, V> = ((K, V), isize);

/// Calls `logic` with each group that occurs in `updates` and its rows, and leaves `updates` empty.
fn for_each_group<G: Ord, K, V>(
    updates: &mut Vec<((G, K, V), isize)>,
    mut logic: impl FnMut(G, &mut Vec<Change<K, V>>),
) {
    updates.sort_unstable_by(|((a, _, _), _), ((b, _, _), _)| a.cmp(b));
    let mut rows = Vec::new();
    let mut updates = updates.drain(..).peekable();
    while let Some(((group, key, value), diff)) = updates.next() {
        rows.push(((key, value), diff));
        while let Some(((_, key, value), diff)) = updates.next_if(|((next, _, _), _)| *next == group) {
            rows.push(((key, value), diff));
        }
        logic(group, &mut rows);
    }
}
