//! Views on their way from all workers to the first, where the sinks are.
//!
//! Where every sink wants only the last state ([`History::AtEnd`]), each worker adds up its own rows and sends them once, at
//! the end: a view that changes in every epoch then costs the first worker nothing.

use std::cmp::Ordering;
use std::rc::Rc;

use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;
use timely::dataflow::operators::{Probe, probe};

use crate::data::Row;
use crate::time::Epoch;
use crate::view::View;
use crate::view::{History, Inbox, Multiset, Store, ViewOutput, add};

/// Sends as much of `rows` to worker 0 as `history` says; returns the receiving end, and tells `probe` what was received.
pub(crate) fn gather<'scope, R: Row>(
    history: History,
    view: View,
    rows: VecCollection<'scope, Epoch, R, isize>,
    compare: fn(&R, &R) -> Ordering,
    probe: &probe::Handle<Epoch>,
) -> Box<dyn ViewOutput> {
    let inbox: Inbox<R> = Rc::default();
    let receiving = Rc::clone(&inbox);
    let store = Box::new(Store::new(view, compare, inbox, history));
    let rows = match history {
        History::Nothing => {
            // Nobody is shown these rows, but they are work, which an epoch that is closed has behind it.
            rows.inner.probe_with(probe);
            return store;
        }
        History::AtEnd => accumulate(view.name, rows),
        History::Changes | History::Whole => rows,
    };
    let name = format!("View: {}", view.name);
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
    store
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
            let mut sums = Multiset::default();
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
