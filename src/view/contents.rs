//! A view on a sink's side: its last changes and, where the sink shows whole views, its rows.
//!
//! Rows stand in the view's order, so a time costs its changes, and what is shown of them; nothing is sorted anew. What has
//! become final leaves when it is older than [`Keep`] says.

use std::any::Any;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use crate::data::{Row, Value, time_column, time_of};
use crate::time::Epoch;
use crate::view::batch::Changes;
use crate::view::{Batch, Finality, Keep, Schema};

/// What a sink needs of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holding {
    /// Whether it is shown the changes of each time; otherwise they are not kept behind the rows.
    pub changes: bool,
    /// Whether it is shown the rows as they are; otherwise none are kept.
    pub rows: bool,
    /// Whether what the collection holds are the rows that have become final, of a view that has such.
    pub finals: bool,
    /// How many rows that are final are kept.
    pub keep: Keep,
}

/// A row was retracted that is final, or stood in a view that is only appended to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "view `{view}` is appended to, and its row {row} was retracted in epoch {time}\n  \
     hint: rows that can change belong in a table (`flow.table`), and only what is inserted once in `flow.facts`"
)]
pub struct Retracted {
    /// The view.
    pub view: String,
    /// The row, as Rust shows it.
    pub row: String,
    /// When that was.
    pub time: Epoch,
}

/// A collection of a view on a sink's side: its rows, or those of them that are final.
pub trait Contents: fmt::Debug + Send {
    /// What the view is called, and its columns.
    fn schema(&self) -> &Schema;
    /// Takes in what changed at `time`: `rows` is what the collection holds, and `finals` the rows of its view that
    /// became final, where those are another collection.
    ///
    /// # Errors
    ///
    /// When a row is retracted that is final.
    fn apply(&mut self, time: Epoch, rows: Option<Batch>, finals: Option<Batch>) -> Result<(), Retracted>;
    /// The changes of the last `apply` in the view's order, retractions first; `show` gets the multiplicity too.
    fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>]));
    /// Its rows as of the last `apply`, in the view's order, each as often as it occurs: a `Vec` of their type.
    fn values(&self) -> Box<dyn Any + Send + Sync>;
    /// Whether the last `apply` changed anything.
    fn has_changed(&self) -> bool;
    /// The first `limit` rows as of the last `apply`, in the view's order, each as often as it occurs.
    ///
    /// It costs what is shown.
    ///
    /// # Panics
    ///
    /// If no rows are kept, because the sink shows changes.
    fn rows(&self, limit: usize, show: &mut dyn FnMut(&[Value<'_>]));
    /// How many rows there are as of the last `apply`.
    fn len(&self) -> usize;
    /// Whether there are no rows as of the last `apply`.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// How many rows have been left out so far, because they are final and older than is kept.
    fn left_out(&self) -> u64;
}

/// An order of rows; those that it calls equal are in their own.
pub(crate) trait Compare<R>: Fn(&R, &R) -> Ordering + Copy + Send + Sync + 'static {}
impl<R, C: Fn(&R, &R) -> Ordering + Copy + Send + Sync + 'static> Compare<R> for C {}

/// A row in the order of its view. The comparison takes no room unless it is a pointer.
struct Ordered<R, C> {
    row: R,
    compare: C,
}

impl<R: Row, C: Compare<R>> Ord for Ordered<R, C> {
    fn cmp(&self, other: &Self) -> Ordering {
        total(self.compare, &self.row, &other.row)
    }
}

impl<R: Row, C: Compare<R>> PartialOrd for Ordered<R, C> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Row, C: Compare<R>> PartialEq for Ordered<R, C> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<R: Row, C: Compare<R>> Eq for Ordered<R, C> {}

pub(crate) fn total<R: Row>(compare: impl Compare<R>, a: &R, b: &R) -> Ordering {
    compare(a, b).then_with(|| a.cmp(b))
}

/// Rows in the order of their view, with their multiplicities.
enum InOrder<R, C> {
    /// As they came all at once. Those of a run's last state are not changed any more.
    List(Vec<(R, isize)>),
    Tree(BTreeMap<Ordered<R, C>, isize>),
}

impl<R: Row, C: Compare<R>> InOrder<R, C> {
    fn is_empty(&self) -> bool {
        match self {
            InOrder::List(list) => list.is_empty(),
            InOrder::Tree(tree) => tree.is_empty(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&R, isize)> {
        let (list, tree) = match self {
            InOrder::List(list) => (Some(list), None),
            InOrder::Tree(tree) => (None, Some(tree)),
        };
        let list = list.into_iter().flatten().map(|(row, count)| (row, *count));
        list.chain(tree.into_iter().flatten().map(|(ordered, count)| (&ordered.row, *count)))
    }

    /// As it can be changed.
    fn tree(&mut self, compare: C) -> &mut BTreeMap<Ordered<R, C>, isize> {
        if let InOrder::List(list) = self {
            let rows = std::mem::take(list).into_iter();
            *self = InOrder::Tree(rows.map(|(row, count)| (Ordered { row, compare }, count)).collect());
        }
        match self {
            InOrder::Tree(tree) => tree,
            InOrder::List(_) => unreachable!("it has been made a tree"),
        }
    }
}

/// [`Contents`] of rows `R` in the order `C`.
pub(crate) struct Held<R, C> {
    schema: Arc<Schema>,
    compare: C,
    holding: Holding,
    rows: InOrder<R, C>,
    /// How many rows are shown.
    len: usize,
    /// Those of the last `apply`; none where the sink is not shown them.
    changes: Option<Arc<Changes<R>>>,
    changed: bool,
    /// The rows that are final and stay, oldest first; empty where all are kept.
    finals: VecDeque<R>,
    /// The first column that holds a time.
    time_column: Option<usize>,
    /// The newest time in that column among the rows that have become final.
    newest: i64,
    left_out: u64,
}

impl<R: Row, C> fmt::Debug for Held<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("view", &self.schema.name)
            .field("rows", &self.len)
            .finish_non_exhaustive()
    }
}

impl<R: Row, C: Compare<R>> Held<R, C> {
    pub(crate) fn new(schema: Arc<Schema>, compare: C, holding: Holding) -> Self {
        Held {
            schema,
            compare,
            holding,
            rows: InOrder::Tree(BTreeMap::new()),
            len: 0,
            changes: None,
            changed: false,
            finals: VecDeque::new(),
            time_column: time_column::<R>(),
            newest: i64::MIN,
            left_out: 0,
        }
    }

    /// Whether all rows of the collection are final as they come.
    fn is_appended(&self) -> bool {
        self.holding.finals || self.schema.finality == Finality::AtOnce
    }

    fn bounds(&self) -> bool {
        self.holding.rows && self.holding.keep != Keep::ALL
    }

    fn refuse_retractions(&self, time: Epoch, changes: &[(R, isize)]) -> Result<(), Retracted> {
        match changes.iter().find(|(_, diff)| *diff < 0) {
            None => Ok(()),
            Some((row, _)) => {
                let (view, row) = (self.schema.name.clone(), format!("{row:?}"));
                Err(Retracted { view, row, time })
            }
        }
    }

    /// Takes in one change of the rows.
    fn add(&mut self, row: R, diff: isize) {
        use std::collections::btree_map::Entry;
        let shown = |count: isize| usize::try_from(count).unwrap_or(0);
        match self.rows.tree(self.compare).entry(Ordered { row, compare: self.compare }) {
            Entry::Vacant(entry) => {
                self.len += shown(diff);
                entry.insert(diff);
            }
            Entry::Occupied(mut entry) => {
                let before = *entry.get();
                self.len = self.len - shown(before) + shown(before + diff);
                match before + diff {
                    0 => drop(entry.remove()),
                    count => drop(entry.insert(count)),
                }
            }
        }
    }

    /// Notes that `rows` have become final, the older ones first.
    fn finish(&mut self, rows: &[(R, isize)]) {
        let each = |(row, count): &(R, isize)| {
            std::iter::repeat_n(row.clone(), usize::try_from(*count).unwrap_or(0))
        };
        let mut finals: Vec<R> = rows.iter().flat_map(each).collect();
        finals.sort_by_key(|row| self.time_of(row));
        if let Some(time) = finals.last().and_then(|row| self.time_of(row)) {
            self.newest = self.newest.max(time);
        }
        self.finals.extend(finals);
    }

    fn time_of(&self, row: &R) -> Option<i64> {
        time_of(row, self.time_column)
    }

    /// Lets go of what is final and older than is kept.
    fn leave_out(&mut self) {
        let Keep { rows, time } = self.holding.keep;
        let oldest =
            time.map(|time| self.newest.saturating_sub(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)));
        while let Some(first) = self.finals.front() {
            let many = rows.is_some_and(|rows| self.finals.len() as u64 > rows);
            let old = || oldest.is_some_and(|oldest| self.time_of(first).is_some_and(|time| time < oldest));
            if !many && !old() {
                break;
            }
            let Some(row) = self.finals.pop_front() else { break };
            let key = Ordered { row, compare: self.compare };
            // What is called final and is no row of the view is not one that could be left out.
            if self.rows.tree(self.compare).get(&key).is_some_and(|count| *count > 0) {
                self.add(key.row, -1);
                self.left_out += 1;
            }
        }
    }
}

impl<R: Row, C: Compare<R>> Contents for Held<R, C> {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn apply(&mut self, time: Epoch, rows: Option<Batch>, finals: Option<Batch>) -> Result<(), Retracted> {
        let compare = self.compare;
        let order = |a: &R, b: &R| total(compare, a, b);
        let (appended, bounded) = (self.is_appended(), self.bounds());
        (self.changes, self.changed) = (None, false);
        if let Some(batch) = rows {
            let changes = batch.into_changes::<R>();
            let own = if self.holding.changes { Err(changes) } else { Arc::try_unwrap(changes) };
            // Rows that nobody else looks at are moved in.
            let (owned, shared) = match own {
                Ok(own) => (own.into_sorted(order), None),
                Err(shared) => (Vec::new(), Some(shared)),
            };
            let sorted = shared.as_ref().map_or(owned.as_slice(), |shared| shared.sorted(order));
            self.changed = !sorted.is_empty();
            if appended {
                self.refuse_retractions(time, sorted)?;
                if bounded {
                    self.finish(sorted);
                }
            }
            if self.holding.rows {
                match &shared {
                    Some(shared) => {
                        shared.sorted(order).iter().for_each(|(row, diff)| self.add(row.clone(), *diff));
                    }
                    // From a sorted list at once: it is how the last state of a run comes, all of it.
                    None if self.rows.is_empty() => {
                        self.len = owned.iter().map(|(_, count)| usize::try_from(*count).unwrap_or(0)).sum();
                        self.rows = InOrder::List(owned);
                    }
                    None => owned.into_iter().for_each(|(row, diff)| self.add(row, diff)),
                }
            }
            self.changes = shared.filter(|_| self.holding.changes);
        }
        if let Some(batch) = finals.filter(|_| !appended) {
            let changes = batch.into_changes::<R>();
            let sorted = changes.sorted(order);
            self.refuse_retractions(time, sorted)?;
            if bounded {
                self.finish(sorted);
            }
        }
        if bounded {
            self.leave_out();
        }
        Ok(())
    }

    fn changes(&self, show: &mut dyn FnMut(isize, &[Value<'_>])) {
        let Some(changes) = &self.changes else { return };
        let sorted = changes.sorted(|a, b| total(self.compare, a, b));
        let gone = sorted.iter().filter(|(_, diff)| *diff < 0);
        for (row, diff) in gone.chain(sorted.iter().filter(|(_, diff)| *diff > 0)) {
            row.show(&mut |values| show(*diff, values));
        }
    }

    fn values(&self) -> Box<dyn Any + Send + Sync> {
        let rows = self.rows.iter().filter(|(_, count)| *count > 0);
        let each = rows.flat_map(|(row, count)| std::iter::repeat_n(row.clone(), count as usize));
        Box::new(each.collect::<Vec<R>>())
    }

    fn has_changed(&self) -> bool {
        self.changed
    }

    fn rows(&self, limit: usize, show: &mut dyn FnMut(&[Value<'_>])) {
        assert!(
            self.holding.rows,
            "no rows are kept of view `{}`, whose sink shows changes",
            self.schema.name
        );
        let rows = self.rows.iter().filter(|(_, count)| *count > 0);
        let each = rows.flat_map(|(row, count)| std::iter::repeat_n(row, count as usize));
        each.take(limit).for_each(|row| row.show(show));
    }

    fn len(&self) -> usize {
        self.len
    }

    fn left_out(&self) -> u64 {
        self.left_out
    }
}
