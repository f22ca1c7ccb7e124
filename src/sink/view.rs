//! Views on their way from the workers to the sinks.
//!
//! The rows of a view go to worker 0, which keeps what the sinks need of them ([`Store`]) and shows them when their
//! epoch is closed. Where every sink wants only the last state ([`Gather::AtEnd`]), each worker adds up its own rows
//! and sends them once, at the end: a view that changes in every epoch then costs the first worker nothing.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use differential_dataflow::consolidation::consolidate;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;

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
    /// The rows as of the last `advance`, in the view's order, each as often as it occurs.
    fn rows(&self, show: &mut dyn FnMut(&[Value<'_>]));
    /// How many rows there are as of the last `advance`.
    fn len(&self) -> usize;
    /// Whether there are no rows as of the last `advance`.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

type Inbox<R> = Rc<RefCell<BTreeMap<Epoch, Vec<(R, isize)>>>>;

impl Gather {
    /// Sends `rows` to worker 0; returns the receiving end, and a stream on which a probe tells what was received.
    pub(crate) fn gather<'scope, R: Row>(
        self,
        view: View,
        rows: VecCollection<'scope, Epoch, R, isize>,
        compare: fn(&R, &R) -> Ordering,
    ) -> (Box<dyn ViewOutput>, Stream<'scope, Epoch, Vec<()>>) {
        let rows = match self {
            Gather::AtEnd => accumulate(view.name, rows),
            Gather::Changes { .. } => rows,
        };
        let inbox: Inbox<R> = Rc::default();
        let receiving = Rc::clone(&inbox);
        let name = format!("View: {}", view.name);
        let pact = Exchange::new(|_: &(R, Epoch, isize)| 0);
        let stream =
            rows.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(pact, &name, move |_, _| {
                move |input, _output| {
                    input.for_each(|_, updates| {
                        let mut inbox = receiving.borrow_mut();
                        for (row, time, diff) in updates.drain(..) {
                            inbox.entry(time).or_default().push((row, diff));
                        }
                    });
                }
            });
        let keep = self != Gather::Changes { keep: false };
        let store = Store { view, compare, inbox, keep, rows: HashMap::default(), changes: Vec::new() };
        (Box::new(store), stream)
    }
}

/// Adds up the rows of this worker, and emits them at [`Epoch::END`] when the input has ended.
fn accumulate<'scope, R: Row>(
    view: &str,
    rows: VecCollection<'scope, Epoch, R, isize>,
) -> VecCollection<'scope, Epoch, R, isize> {
    let name = format!("View at end: {view}");
    rows.inner
        .unary_frontier(Pipeline, &name, |mut capability, _| {
            capability.downgrade(&Epoch::END);
            let mut capability = Some(capability);
            let mut sums: HashMap<R, isize, foldhash::fast::RandomState> = HashMap::default();
            move |(input, frontier), output| {
                input.for_each(|_, updates| {
                    for (row, _, diff) in updates.drain(..) {
                        add(&mut sums, row, diff);
                    }
                });
                if frontier.is_empty()
                    && let Some(capability) = capability.take()
                {
                    let rows = sums.drain().map(|(row, diff)| (row, Epoch::END, diff));
                    output.session(&capability).give_iterator(rows);
                }
            }
        })
        .as_collection()
}

fn add<R: Row>(sums: &mut HashMap<R, isize, foldhash::fast::RandomState>, row: R, diff: isize) {
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
struct Store<R> {
    view: View,
    compare: fn(&R, &R) -> Ordering,
    inbox: Inbox<R>,
    keep: bool,
    rows: HashMap<R, isize, foldhash::fast::RandomState>,
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
