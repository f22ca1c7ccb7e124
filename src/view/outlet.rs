//! Views on their way from all workers to the first, and out of it: the end of a dataflow.
//!
//! The changes of a collection arrive on worker 0, by time. What is closed is taken from there as owned batches, for sinks
//! or for whoever has embedded the dataflow; nothing is kept but what has not been taken.
//!
//! Where every sink wants only the last state ([`Delivery::LastState`]), each worker adds up its own rows and sends them
//! once, at the end: a view that changes in every epoch then costs the first worker nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use indexmap::IndexMap;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{Probe, probe};

use crate::data::Row;
use crate::time::Epoch;
use crate::view::contents::{Compare, Held};
use crate::view::{Batch, Contents, Finality, Holding, Keep, Schema};

/// How much of a collection leaves the workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Nothing: no sink shows it.
    #[default]
    Nothing,
    /// The last state only.
    LastState,
    /// The changes of each time.
    Changes,
}

impl Delivery {
    /// What serves both a sink that wants `self` and one that wants `other`.
    ///
    /// ```
    /// use thalweg::view::Delivery::{Changes, LastState, Nothing};
    /// assert_eq!(Nothing.and(LastState), LastState);
    /// assert_eq!(LastState.and(Changes), Changes);
    /// ```
    #[must_use]
    pub fn and(self, other: Delivery) -> Delivery {
        match (self, other) {
            (Delivery::Nothing, only) | (only, Delivery::Nothing) => only,
            (Delivery::LastState, Delivery::LastState) => Delivery::LastState,
            // The last state is the sum of the changes.
            _ => Delivery::Changes,
        }
    }
}

/// How much of its views a dataflow delivers. It changes no answer, only how much of it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Of the rows of each view.
    pub rows: Delivery,
    /// Whether it delivers the rows that have become final, as they do, of the views that have such.
    pub finals: bool,
    /// How much of what is final whole views keep; `None` if nobody shows whole views. Where that has a bound, views that have
    /// such rows are delivered as they change, and what is final, too: nobody may add up without a bound.
    pub whole: Option<Keep>,
}

impl Deliveries {
    /// Everything, as it changes.
    pub const ALL: Deliveries = Deliveries { rows: Delivery::Changes, finals: true, whole: Some(Keep::ALL) };

    /// So much of the rows, and nothing of what is final.
    pub const fn rows(rows: Delivery) -> Self {
        Deliveries { rows, finals: false, whole: None }
    }

    /// Whether what is final leaves whole views after a while.
    fn bounded(self) -> bool {
        self.whole.is_some_and(|keep| keep != Keep::ALL)
    }

    /// Whether anything of what is final is delivered.
    pub(crate) fn any_finals(self) -> bool {
        self.finals || self.bounded()
    }

    /// How much of the rows is delivered of a view whose rows are final as `finality` says.
    fn of(self, finality: Finality) -> Delivery {
        match finality {
            Finality::Never => self.rows,
            Finality::InTime if self.bounded() => self.rows.and(Delivery::Changes),
            Finality::InTime => self.rows,
            // What is only ever inserted has nothing to be added up, and is refused when it is retracted.
            Finality::AtOnce if self.rows != Delivery::Nothing || self.finals => Delivery::Changes,
            Finality::AtOnce => Delivery::Nothing,
        }
    }
}

/// Where a dataflow's views leave worker 0, in the order in which it declares them. On other workers nothing arrives.
#[derive(Debug, Default)]
pub struct Views(Vec<Outlets>);

/// Where one view leaves.
#[derive(Debug)]
pub struct Outlets {
    schema: Arc<Schema>,
    rows: Box<dyn Outlet>,
    /// None where nothing is final, where nobody asked, and where `rows` are final as they come.
    finals: Option<Box<dyn Outlet>>,
}

/// The changes of one time.
#[derive(Clone, Debug)]
pub struct Changed {
    /// The epoch and the step.
    pub time: Epoch,
    /// Of the rows of views.
    pub rows: Vec<Batch>,
    /// Of the rows that have become final. (Those of a view whose rows are all final as they come are in `rows`.)
    pub finals: Vec<Batch>,
}

impl Views {
    pub(crate) fn new(outlets: Vec<Outlets>) -> Self {
        Views(outlets)
    }

    /// The views.
    pub fn schemas(&self) -> impl ExactSizeIterator<Item = &Arc<Schema>> {
        self.0.iter().map(|view| &view.schema)
    }

    /// The earliest changes before `upto` (`None`: all) that were not taken yet, and forgets them.
    ///
    /// `upto` must be closed: what arrives at an earlier time afterwards would be shown as another change of that time. The
    /// last state of a view of which only that is delivered comes at [`Epoch::END`].
    pub fn next_before(&mut self, upto: Option<Epoch>) -> Option<Changed> {
        let outlets = self.0.iter().flat_map(|view| std::iter::once(&view.rows).chain(&view.finals));
        let time = outlets.filter_map(|outlet| outlet.first()).min();
        let time = time.filter(|time| upto.is_none_or(|upto| *time < upto))?;
        let rows = self.0.iter_mut().enumerate();
        let rows = rows.filter_map(|(at, view)| view.rows.take(at, time)).collect();
        let finals = self.0.iter_mut().enumerate();
        let finals = finals.filter_map(|(at, view)| view.finals.as_mut()?.take(at, time)).collect();
        Some(Changed { time, rows, finals })
    }

    /// For a sink's side of view number `view`: an empty [`Contents`], which takes its batches.
    ///
    /// # Panics
    ///
    /// If there are not so many views.
    pub fn contents(&self, view: usize, holding: Holding) -> Box<dyn Contents> {
        self.0[view].rows.contents(Arc::clone(&self.0[view].schema), holding)
    }
}

impl Outlets {
    /// What the view is.
    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Delivers of a view with `schema` what `deliveries` say; tells `probe` what was delivered.
    pub(crate) fn new<'scope, R: Row>(
        schema: Schema,
        deliveries: Deliveries,
        rows: VecCollection<'scope, Epoch, R, isize>,
        finals: Option<VecCollection<'scope, Epoch, R, isize>>,
        compare: impl Compare<R>,
        probe: &probe::Handle<Epoch>,
    ) -> Self {
        let name = &schema.name;
        let rows = Box::new(deliver(name, deliveries.of(schema.finality), rows, compare, probe));
        let finals = finals.filter(|_| deliveries.any_finals());
        let finals = finals.map(|finals| -> Box<dyn Outlet> {
            Box::new(deliver(&format!("{name}: final"), Delivery::Changes, finals, compare, probe))
        });
        Outlets { schema: Arc::new(schema), rows, finals }
    }
}

/// Where one collection arrives on worker 0.
trait Outlet: fmt::Debug {
    /// The earliest time at which something has arrived.
    fn first(&self) -> Option<Epoch>;
    /// What has arrived at `time`, of view number `view`.
    fn take(&mut self, view: usize, time: Epoch) -> Option<Batch>;
    /// An empty view that takes such batches.
    fn contents(&self, schema: Arc<Schema>, holding: Holding) -> Box<dyn Contents>;
}

/// Where the changes of a collection arrive, by time.
type Inbox<R> = Rc<RefCell<BTreeMap<Epoch, Vec<(R, isize)>>>>;

struct TypedOutlet<R, C> {
    inbox: Inbox<R>,
    compare: C,
}

impl<R, C> fmt::Debug for TypedOutlet<R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("times", &self.inbox.borrow().len()).finish_non_exhaustive()
    }
}

impl<R: Row, C: Compare<R>> Outlet for TypedOutlet<R, C> {
    fn first(&self) -> Option<Epoch> {
        self.inbox.borrow().keys().next().copied()
    }

    fn take(&mut self, view: usize, time: Epoch) -> Option<Batch> {
        let rows = self.inbox.borrow_mut().remove(&time)?;
        Some(Batch::new(view, time, rows, self.compare))
    }

    fn contents(&self, schema: Arc<Schema>, holding: Holding) -> Box<dyn Contents> {
        Box::new(Held::new(schema, self.compare, holding))
    }
}

/// Sends as much of `rows` to worker 0 as `delivery` says.
fn deliver<'scope, R: Row, C: Compare<R>>(
    name: &str,
    delivery: Delivery,
    rows: VecCollection<'scope, Epoch, R, isize>,
    compare: C,
    probe: &probe::Handle<Epoch>,
) -> TypedOutlet<R, C> {
    let inbox: Inbox<R> = Rc::default();
    let receiving = Rc::clone(&inbox);
    let outlet = TypedOutlet { inbox, compare };
    let rows = match delivery {
        Delivery::Nothing => {
            // Nobody is shown these rows, but they are work, which an epoch that is closed has behind it.
            rows.inner.probe_with(probe);
            return outlet;
        }
        Delivery::LastState => add_up(name, rows),
        Delivery::Changes => rows,
    };
    let name = format!("View: {name}");
    let pact = Exchange::new(|_: &(R, Epoch, isize)| 0);
    let stream = rows.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(pact, &name, move |_, _| {
        move |input, _output| {
            input.for_each(|_, updates| {
                let mut inbox = receiving.borrow_mut();
                let mut updates = updates.drain(..).peekable();
                // Updates of one time mostly stand together, so the map is not asked for each.
                while let Some((row, time, diff)) = updates.next() {
                    let changes = inbox.entry(time).or_default();
                    changes.push((row, diff));
                    while let Some((row, _, diff)) = updates.next_if(|update| update.1 == time) {
                        changes.push((row, diff));
                    }
                }
            });
        }
    });
    stream.probe_with(probe);
    outlet
}

/// Rows with their multiplicities, none of them zero: as a list with an index, which has no empty places of the size of a row.
type Multiset<R> = IndexMap<R, isize, foldhash::fast::RandomState>;

/// Adds up the rows of this worker, and emits them at [`Epoch::END`] when the input has ended.
///
/// They may be millions, so they leave in pieces, and their room is given back as they go: what receives them has to have it.
fn add_up<'scope, R: Row>(
    view: &str,
    rows: VecCollection<'scope, Epoch, R, isize>,
) -> VecCollection<'scope, Epoch, R, isize> {
    /// Rows of a piece.
    const PIECE: usize = 1 << 14;
    let name = format!("View at end: {view}");
    let scope = rows.inner.scope();
    rows.inner
        .unary_frontier(Pipeline, &name, |mut capability, info| {
            capability.downgrade(&Epoch::END);
            let mut capability = Some(capability);
            let mut sums = Multiset::default();
            let activator = scope.activator_for(info.address);
            move |(input, frontier), output| {
                input.for_each(|_, updates| {
                    for (row, _, diff) in updates.drain(..) {
                        add(&mut sums, row, diff);
                    }
                });
                if let Some(at) = capability.as_ref().filter(|_| frontier.is_empty()) {
                    let rest = sums.len().saturating_sub(PIECE);
                    let piece = sums.drain(rest..).map(|(row, diff)| (row, Epoch::END, diff));
                    output.session(at).give_iterator(piece);
                    if rest == 0 {
                        capability = None;
                    } else {
                        activator.activate();
                    }
                    if rest <= sums.capacity() / 2 {
                        sums.shrink_to(rest);
                    }
                }
            }
        })
        .as_collection()
}

/// Changes the multiplicity of `row`.
fn add<R: Row>(sums: &mut Multiset<R>, row: R, diff: isize) {
    use indexmap::map::Entry;
    match sums.entry(row) {
        Entry::Vacant(entry) => {
            entry.insert(diff);
        }
        Entry::Occupied(mut entry) => {
            *entry.get_mut() += diff;
            if *entry.get() == 0 {
                entry.swap_remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Delivery::{Changes, LastState, Nothing};

    #[test]
    fn what_serves_two_sinks_serves_each() {
        for (a, b, both) in [
            (Nothing, Nothing, Nothing),
            (LastState, LastState, LastState),
            (Changes, Changes, Changes),
            (Nothing, Changes, Changes),
            (Nothing, LastState, LastState),
            (LastState, Changes, Changes),
        ] {
            assert_eq!((a.and(b), b.and(a)), (both, both), "{a:?} and {b:?}");
        }
    }
}
