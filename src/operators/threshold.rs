//! Rows whose count is more than a bound.

use differential_dataflow::{Data, VecCollection};
use timely::progress::Timestamp;

/// Extension trait for the `more_than` method.
pub trait Threshold<'scope, T: Timestamp, K: Data>: Sized {
    /// Keeps the rows `(key, count)` whose count is strictly more than `bound`.
    ///
    /// Stateless: a row that rises above the bound was retracted as it was below, and that retraction is not shown; so
    /// the output has exactly the rows above the bound at every time.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use thalweg::operators::{Threshold, Totals};
    ///
    /// timely::execute_directly(|worker| {
    ///     worker.dataflow::<u64, _, _>(|scope| {
    ///         let seen = scope.new_collection_from_raw([(1u64, 0, 10isize), (2, 0, 11), (1, 1, 2), (2, 1, -1)]).1;
    ///         let often = scope.new_collection_from_raw([((2, 11), 0, 1), ((2, 11), 1, -1), ((1, 12), 1, 1)]).1;
    ///         seen.totals().more_than(10).assert_eq(often);
    ///     });
    /// });
    /// ```
    fn more_than(self, bound: isize) -> Self;
}

impl<'scope, T: Timestamp, K: Data> Threshold<'scope, T, K> for VecCollection<'scope, T, (K, isize), isize> {
    fn more_than(self, bound: isize) -> Self {
        self.filter(move |(_, count)| *count > bound)
    }
}
