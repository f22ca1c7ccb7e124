//! Views on the first worker: what the sinks are shown of them.
//!
//! The changes of a collection arrive in its [`Inbox`], by time. When a time is shown, a [`Store`] takes them in, and
//! keeps as much of the collection as the sinks need.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use differential_dataflow::consolidation::consolidate;

use crate::data::{Row, Value};
use crate::time::Epoch;
use crate::view::View;

/// How much of a collection's history reaches the sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum History {
    /// Nothing: no sink shows it.
    #[default]
    Nothing,
    /// The last state only.
    AtEnd,
    /// The changes of each time, and no state.
    Changes,
    /// The changes of each time, and the state as of it, which is kept for that.
    Whole,
}

impl History {
    /// What serves both a sink that wants `self` and one that wants `other`.
    ///
    /// ```
    /// use thalweg::view::History::{AtEnd, Changes, Nothing, Whole};
    /// assert_eq!(Nothing.and(AtEnd), AtEnd);
    /// assert_eq!(AtEnd.and(Changes), Whole);
    /// ```
    #[must_use]
    pub fn and(self, other: History) -> History {
        match (self, other) {
            (History::Nothing, other) => other,
            (own, other) if own == other || other == History::Nothing => own,
            // The last state beside changes is the sum of them.
            _ => History::Whole,
        }
    }
}

/// How much of its views a dataflow sends to the sinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gather {
    /// Of the rows of each view.
    pub rows: History,
    /// Of the rows that have become final, in the views that have such.
    pub finals: History,
}

impl Gather {
    /// So much of the rows, and nothing of what is final.
    pub const fn rows(rows: History) -> Self {
        Gather { rows, finals: History::Nothing }
    }
}

/// The receiving ends of a dataflow's views, on worker 0.
#[derive(Debug, Default)]
pub struct Views {
    /// The rows of every view, in the order in which the dataflow declares its views.
    pub rows: Vec<Box<dyn ViewOutput>>,
    /// The final rows of the views that have such, in the same order; none where no sink wants them.
    pub finals: Vec<Box<dyn ViewOutput>>,
}

/// The receiving end of one collection of a view, on worker 0: its rows, or those of them that are final.
pub trait ViewOutput: fmt::Debug {
    /// What the view is called.
    fn view(&self) -> View;
    /// The earliest time before `frontier` (`None`: of all) for which there are changes that were not taken in.
    fn pending(&self, frontier: Option<Epoch>) -> Option<Epoch>;
    /// Takes in the changes at `time`, which become [`ViewOutput::changes`]: none, if there are none at that time.
    ///
    /// It costs what changes at `time`, and does not depend on how many later times wait.
    fn advance(&mut self, time: Epoch);
    /// The changes of the last `advance` in the view's order, retractions first; `show` gets the multiplicity too.
    fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>]));
    /// Whether the last `advance` changed anything.
    fn has_changed(&self) -> bool;
    /// The rows as of the last `advance`, in the view's order, each as often as it occurs.
    fn rows(&self, show: &mut dyn FnMut(&[Value<'_>]));
    /// How many rows there are as of the last `advance`.
    fn len(&self) -> usize;
    /// Whether there are no rows as of the last `advance`.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where the changes of a view arrive, by time.
pub(crate) type Inbox<R> = Rc<RefCell<BTreeMap<Epoch, Vec<(R, isize)>>>>;

/// Rows with their multiplicities, none of them zero.
pub(crate) type Multiset<R> = HashMap<R, isize, foldhash::fast::RandomState>;

/// Changes the multiplicity of `row`.
pub(crate) fn add<R: Row>(sums: &mut Multiset<R>, row: R, diff: isize) {
    use std::collections::hash_map::Entry;
    match sums.entry(row) {
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

/// Gives room back where a view has become much smaller than it was: going through a hash table costs its room.
///
/// It halves at least, so all shrinking costs no more than the removals before it.
fn shrink<R: Row>(rows: &mut Multiset<R>) {
    const SMALL: usize = 64;
    let fitting = rows.len().max(SMALL).saturating_mul(2);
    if rows.capacity() / 2 > fitting {
        rows.shrink_to(fitting);
    }
}

/// A view on worker 0.
pub(crate) struct Store<R> {
    view: View,
    compare: fn(&R, &R) -> Ordering,
    inbox: Inbox<R>,
    history: History,
    rows: Multiset<R>,
    changes: Vec<(R, isize)>,
}

impl<R: Row> fmt::Debug for Store<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("view", &self.view)
            .field("rows", &self.rows.len())
            .finish_non_exhaustive()
    }
}

impl<R: Row> Store<R> {
    /// A view whose changes arrive in `inbox`; it keeps as much of them as `history` asks for.
    pub(crate) fn new(
        view: View,
        compare: fn(&R, &R) -> Ordering,
        inbox: Inbox<R>,
        history: History,
    ) -> Self {
        Store { view, compare, inbox, history, rows: Multiset::default(), changes: Vec::new() }
    }

    fn keeps_rows(&self) -> bool {
        matches!(self.history, History::AtEnd | History::Whole)
    }

    fn order(&self, a: &R, b: &R) -> Ordering {
        (self.compare)(a, b).then_with(|| a.cmp(b))
    }
}

impl<R: Row> ViewOutput for Store<R> {
    fn view(&self) -> View {
        self.view
    }

    fn pending(&self, frontier: Option<Epoch>) -> Option<Epoch> {
        let first = self.inbox.borrow().keys().next().copied()?;
        (frontier.is_none_or(|frontier| first < frontier)).then_some(first)
    }

    fn advance(&mut self, time: Epoch) {
        let mut changes = self.inbox.borrow_mut().remove(&time).unwrap_or_default();
        consolidate(&mut changes);
        changes.sort_by(|(a, m), (b, n)| (*m > 0).cmp(&(*n > 0)).then_with(|| self.order(a, b)));
        if self.keeps_rows() {
            changes.iter().for_each(|(row, diff)| add(&mut self.rows, row.clone(), *diff));
            shrink(&mut self.rows);
        }
        self.changes = changes;
    }

    fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>])) {
        self.changes.iter().for_each(|(row, diff)| row.show(&mut |values| show(*diff, values)));
    }

    fn has_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    fn rows(&self, show: &mut dyn FnMut(&[Value<'_>])) {
        assert!(
            self.keeps_rows(),
            "view `{}` keeps no rows: its sinks asked for {:?}",
            self.view.name,
            self.history
        );
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|(a, _), (b, _)| self.order(a, b));
        for (row, count) in rows {
            (0..*count).for_each(|_| row.show(show));
        }
    }

    fn len(&self) -> usize {
        self.rows.values().map(|count| (*count).max(0) as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_that_was_large_gives_its_room_back() {
        let mut rows = Multiset::default();
        (0..10_000u32).for_each(|n| add(&mut rows, (n,), 1));
        shrink(&mut rows);
        assert!(rows.capacity() >= 10_000 && rows.len() == 10_000);
        (10..10_000u32).for_each(|n| add(&mut rows, (n,), -1));
        shrink(&mut rows);
        let room = rows.capacity();
        assert!(room < 1000, "{room} places for ten rows");
        let mut left: Vec<_> = rows.iter().map(|((n,), count)| (*n, *count)).collect();
        left.sort_unstable();
        assert!(left.into_iter().eq((0..10).map(|n| (n, 1))));
        shrink(&mut rows);
        assert_eq!(rows.capacity(), room, "it rests once it is small");
    }

    #[test]
    fn what_serves_two_sinks_serves_each() {
        use History::{AtEnd, Changes, Nothing, Whole};
        for (a, b, both) in [
            (Nothing, Nothing, Nothing),
            (AtEnd, AtEnd, AtEnd),
            (Changes, Changes, Changes),
            (Nothing, Changes, Changes),
            (Nothing, AtEnd, AtEnd),
            (AtEnd, Changes, Whole),
            (AtEnd, Whole, Whole),
            (Changes, Whole, Whole),
            (Nothing, Whole, Whole),
        ] {
            assert_eq!((a.and(b), b.and(a)), (both, both), "{a:?} and {b:?}");
        }
    }
}
