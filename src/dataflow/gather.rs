//! Views on their way from all workers to the first, where the sinks are.
//!
//! Where every sink wants only the last state ([`Gather::AtEnd`]), each worker adds up its own rows and sends them once, at
//! the end: a view that changes in every epoch then costs the first worker nothing.

use std::cmp::Ordering;
use std::rc::Rc;

use differential_dataflow::VecCollection;
use differential_dataflow::collection::AsCollection;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::operator::Operator;

use super::View;
use crate::runtime::Epoch;
use crate::sink::{Gather, Inbox, Multiset, Row, Store, ViewOutput, add};

/// Sends `rows` to worker 0; returns the receiving end, and a stream on which a probe tells what was received.
pub(super) fn gather<'scope, R: Row>(
    how: Gather,
    view: View,
    rows: VecCollection<'scope, Epoch, R, isize>,
    compare: fn(&R, &R) -> Ordering,
) -> (Box<dyn ViewOutput>, Stream<'scope, Epoch, Vec<()>>) {
    let rows = match how {
        Gather::AtEnd => accumulate(view.name, rows),
        Gather::Changes { .. } => rows,
    };
    let inbox: Inbox<R> = Rc::default();
    let receiving = Rc::clone(&inbox);
    let name = format!("View: {}", view.name);
    let pact = Exchange::new(|_: &(R, Epoch, isize)| 0);
    let stream = rows.inner.unary::<CapacityContainerBuilder<Vec<()>>, _, _, _>(pact, &name, move |_, _| {
        move |input, _output| {
            input.for_each(|_, updates| {
                let mut inbox = receiving.borrow_mut();
                for (row, time, diff) in updates.drain(..) {
                    inbox.entry(time).or_default().push((row, diff));
                }
            });
        }
    });
    let keep = how != Gather::Changes { keep: false };
    let store = Store::new(view, compare, inbox, keep);
    (Box::new(store), stream)
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
