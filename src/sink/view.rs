//! Views on the first worker: what the sinks are shown of them.
//!
//! The changes of a view arrive in its [`Inbox`], by time. When a time is shown, a [`Store`] takes them in, and keeps as
//! much of the view as the sinks need.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use differential_dataflow::consolidation::consolidate;

use super::{Row, Value};
use crate::dataflow::View;
use crate::runtime::Epoch;

/// How much of the views' history reaches the sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gather {
    /// The last state only.
    AtEnd,
    /// The changes of each epoch, from which the current state is kept if `keep` is set.
    Changes {
        /// Whether a sink wants whole views, rather than changes only.
        keep: bool,
    },
}

/// The receiving end of a view, on worker 0.
pub trait ViewOutput: fmt::Debug {
    /// What the view is called.
    fn view(&self) -> View;
    /// The earliest time before `frontier` (`None`: of all) for which there are changes that were not taken in.
    fn pending(&self, frontier: Option<Epoch>) -> Option<Epoch>;
    /// Takes in the changes at `time`, which become [`ViewOutput::changes`].
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

/// A view on worker 0.
pub(crate) struct Store<R> {
    view: View,
    compare: fn(&R, &R) -> Ordering,
    inbox: Inbox<R>,
    keep: bool,
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
    /// A view whose changes arrive in `inbox`; it keeps whole rows if `keep` is set.
    pub(crate) fn new(view: View, compare: fn(&R, &R) -> Ordering, inbox: Inbox<R>, keep: bool) -> Self {
        Store { view, compare, inbox, keep, rows: Multiset::default(), changes: Vec::new() }
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
        if self.keep {
            changes.iter().for_each(|(row, diff)| add(&mut self.rows, row.clone(), *diff));
        }
        self.changes = changes;
    }

    fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>])) {
        self.changes.iter().for_each(|(row, diff)| show(*diff, &row.values()));
    }

    fn has_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    fn rows(&self, show: &mut dyn FnMut(&[Value<'_>])) {
        assert!(self.keep, "view `{}` keeps no rows: its sinks asked for changes", self.view.name);
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by(|(a, _), (b, _)| self.order(a, b));
        for (row, count) in rows {
            (0..*count).for_each(|_| show(&row.values()));
        }
    }

    fn len(&self) -> usize {
        self.rows.values().map(|count| (*count).max(0) as usize).sum()
    }
}
