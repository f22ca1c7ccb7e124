//! Two tables of counts by their key.

use std::hash::Hash;

use differential_dataflow::collection::AsCollection;
use differential_dataflow::lattice::Lattice;
use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::operators::vec::Map;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use crate::operators::Totals;

/// Extension trait for the `beside` method.
pub trait FullJoin<'scope, T, K>: Sized
where
    T: Timestamp + Lattice + TotalOrder,
    K: ExchangeData + Hash,
{
    /// Rows `(key, (count here, count in other))` for every key that either has; a count that is not there is 0.
    ///
    /// A full outer join for tables that have one row a key. It adds up rather than joins: a row `(key, n)` is n for its key, so
    /// each changed row costs one table look-up, and neither side is arranged. State: one row a key.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use thalweg::operators::FullJoin;
    ///
    /// timely::execute_directly(|worker| {
    ///     worker.dataflow::<u64, _, _>(|scope| {
    ///         let ever = scope.new_collection_from_raw([((1u64, 5isize), 0, 1), ((2, 7), 0, 1)]).1;
    ///         let lately = scope.new_collection_from_raw([((1, 3), 0, 1), ((1, 3), 1, -1)]).1;
    ///         let both = scope.new_collection_from_raw([((1, (5, 3)), 0, 1), ((2, (7, 0)), 0, 1),
    ///             ((1, (5, 3)), 1, -1), ((1, (5, 0)), 1, 1)]).1;
    ///         ever.full_join("Both", lately).assert_eq(both);
    ///     });
    /// });
    /// ```
    ///
    /// # Panics
    ///
    /// When counts times multiplicities do not fit; the message names the operator and the key.
    fn full_join(self, name: &str, other: Self) -> VecCollection<'scope, T, (K, (isize, isize)), isize>;
}

impl<'scope, T, K> FullJoin<'scope, T, K> for VecCollection<'scope, T, (K, isize), isize>
where
    T: Timestamp + Lattice + TotalOrder,
    K: ExchangeData + Hash,
{
    fn full_join(self, name: &str, other: Self) -> VecCollection<'scope, T, (K, (isize, isize)), isize> {
        let label = name.to_owned();
        let times = move |key: &K, count: isize, diff: isize| {
            count.checked_mul(diff).unwrap_or_else(|| {
                panic!("in `{label}`, {diff} times the count {count} of key {key:?} overflows");
            })
        };
        let twin = times.clone();
        let here = self.inner.map(move |((key, count), time, diff)| {
            let count = times(&key, count, diff);
            (key, time, (count, 0))
        });
        let there = other.inner.map(move |((key, count), time, diff)| {
            let count = twin(&key, count, diff);
            (key, time, (0, count))
        });
        here.as_collection().concat(there.as_collection()).totals_named(name)
    }
}
