//! What leaves the workers: the changes of one collection at one time, owned and `Send`.
//!
//! A worker only moves rows; they are sorted and consolidated by the first sink that looks at them, on that sink's thread,
//! and once for all sinks. The rows keep their own type, so nothing is converted: a batch is taken apart by a
//! [`Contents`](crate::view::Contents) of the same view, and shown cell by cell.

use std::any::Any;
use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::data::Row;
use crate::time::Epoch;
use crate::view::Compare;
use crate::view::contents::total;

/// The changes of one collection of a view at one time.
///
/// Copies of it share the rows.
#[derive(Clone)]
pub struct Batch {
    /// Where its view stands among those of the dataflow, from 0.
    pub view: usize,
    /// The epoch and the step at which the view changes so.
    pub time: Epoch,
    /// How many bytes the rows take, without what they own elsewhere.
    pub bytes: u64,
    /// How many changes of rows these are, before those of the same row are taken together.
    pub changed: u64,
    changes: Arc<dyn Any + Send + Sync>,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Batch { view, time, bytes, .. } = self;
        f.debug_struct("Batch")
            .field("view", view)
            .field("time", time)
            .field("bytes", bytes)
            .finish_non_exhaustive()
    }
}

impl Batch {
    /// The changes `rows` of view number `view`, which `compare` orders, at `time`.
    pub(crate) fn new<R: Row>(
        view: usize,
        time: Epoch,
        rows: Vec<(R, isize)>,
        compare: impl Compare<R>,
    ) -> Self {
        let bytes = (rows.len() * size_of::<(R, isize)>()) as u64;
        let changed = rows.len() as u64;
        Batch { view, time, bytes, changed, changes: Arc::new(Changes::new(rows, compare)) }
    }

    /// Its changes as values: each row once, in the order of the rows, with a difference that is not zero. None if they are
    /// rows of another type.
    ///
    /// This is for who embeds a dataflow, and takes its views as they come ([`Views`](crate::view::Views)).
    pub fn into_rows<R: Row>(self) -> Option<Vec<(R, isize)>> {
        let changes: Arc<Changes<R>> = self.changes.downcast().ok()?;
        Some(Arc::try_unwrap(changes).map_or_else(
            // In the view's order first: that is how whoever shares them wants to find them.
            |shared| consolidated(shared.sorted(&*shared.order).to_vec(), R::cmp),
            |own| consolidated(own.into_sorted(R::cmp), R::cmp),
        ))
    }

    /// Whether its rows are `R`, so that [`Batch::into_rows`] gives them.
    pub(crate) fn has_rows<R: Row>(&self) -> bool {
        self.changes.is::<Changes<R>>()
    }

    /// Its changes.
    ///
    /// # Panics
    ///
    /// If it is a batch of other rows.
    pub(crate) fn into_changes<R: Row>(self) -> Arc<Changes<R>> {
        let Ok(changes) = self.changes.downcast() else {
            panic!("a batch of view {} is not one of rows `{}`", self.view, std::any::type_name::<R>())
        };
        changes
    }
}

/// Rows with their differences: as they came until somebody asks, and then consolidated, in the view's order.
pub(crate) struct Changes<R> {
    raw: Mutex<Vec<(R, isize)>>,
    sorted: OnceLock<Vec<(R, isize)>>,
    order: Box<Order<R>>,
}

type Order<R> = dyn Fn(&R, &R) -> Ordering + Send + Sync;

impl<R: Row> Changes<R> {
    fn new(raw: Vec<(R, isize)>, compare: impl Compare<R>) -> Self {
        let order = Box::new(move |a: &R, b: &R| total(compare, a, b));
        Changes { raw: Mutex::new(raw), sorted: OnceLock::new(), order }
    }

    /// Each row once, with a difference that is not zero, in the total order `order`.
    pub(crate) fn sorted(&self, order: impl Fn(&R, &R) -> Ordering) -> &[(R, isize)] {
        self.sorted.get_or_init(|| {
            let mut raw = self.raw.lock().unwrap_or_else(PoisonError::into_inner);
            consolidated(std::mem::take(&mut raw), order)
        })
    }

    /// As [`Changes::sorted`], owned.
    pub(crate) fn into_sorted(self, order: impl Fn(&R, &R) -> Ordering) -> Vec<(R, isize)> {
        self.sorted.into_inner().unwrap_or_else(|| {
            consolidated(self.raw.into_inner().unwrap_or_else(PoisonError::into_inner), order)
        })
    }
}

/// `rows` in the total order `order`, those that are equal added up, and none with the difference zero.
fn consolidated<R: Row>(mut rows: Vec<(R, isize)>, order: impl Fn(&R, &R) -> Ordering) -> Vec<(R, isize)> {
    rows.sort_unstable_by(|(a, _), (b, _)| order(a, b));
    rows.dedup_by(|(row, diff), (kept, sum)| {
        let same = row == kept;
        if same {
            *sum += *diff;
        }
        same
    });
    rows.retain(|(_, diff)| *diff != 0);
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::by_count;

    #[test]
    fn equal_rows_are_added_up_and_what_cancels_is_gone() {
        let rows = vec![(("b", 1), 1), (("a", 1), -1), (("a", 2), 1), (("b", 1), 2), (("a", 1), 1)];
        let rows = rows.into_iter().map(|((key, n), diff)| ((crate::data::Bytes::from(key), n), diff));
        let rows: Vec<((crate::data::Bytes, i64), isize)> = rows.collect();
        let changes = Changes::new(rows, by_count);
        let order = |a: &_, b: &_| by_count(a, b);
        let shown: Vec<_> =
            changes.sorted(order).iter().map(|((key, n), d)| (key.to_vec(), *n, *d)).collect();
        assert_eq!(shown, [(b"a".to_vec(), 2, 1), (b"b".to_vec(), 1, 3)]);
        assert_eq!(changes.into_sorted(order).len(), 2);
    }

    #[test]
    fn a_batch_gives_its_rows_to_each_who_has_it() {
        let rows = vec![((2i64,), 1), ((1,), 1), ((2,), -1), ((3,), 2)];
        let backwards = |a: &(i64,), b: &(i64,)| b.cmp(a);
        let batch = Batch::new(0, Epoch::new(7), rows, backwards);
        let expected = Some(vec![((1i64,), 1), ((3,), 2)]);
        assert_eq!(batch.clone().into_rows(), expected);
        assert_eq!(batch.clone().into_rows::<(u64,)>(), None);
        let shared = batch.clone().into_changes::<(i64,)>();
        assert_eq!(shared.sorted(backwards), [((3,), 2), ((1,), 1)]);
        assert_eq!(batch.clone().into_rows(), expected, "also when a sink has looked");
        drop(shared);
        assert_eq!(batch.into_rows(), expected);
    }

    #[test]
    #[should_panic(expected = "a batch of view 3 is not one of rows")]
    fn a_batch_is_of_its_own_rows() {
        let _ = Batch::new(3, Epoch::new(0), vec![((1u64,), 1)], Ord::cmp).into_changes::<(i64,)>();
    }
}
