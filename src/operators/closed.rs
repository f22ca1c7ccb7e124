//! The common body of stateful operators: stash updates by time, act when a time is closed.

use std::collections::BTreeMap;

use differential_dataflow::collection::AsCollection;
use differential_dataflow::{Data, VecCollection};
use timely::dataflow::channels::pact::ParallelizationContract;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::operator::Operator;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

/// Calls `logic` once for each time at which there are updates, in order of time, when the time is closed.
///
/// `logic` gets the time, all updates of this worker at that time (unordered, not consolidated), and a buffer for what
/// it emits at that time. Before the first of them, `initial` is emitted at the minimal time.
///
/// This is the place where the order of times is settled, so that operators built on it need not know that epochs
/// overlap, that messages arrive in any order, and that an update may be ahead of its message's time.
///
/// It keeps the updates of open times, and nothing else.
///
/// ```
/// use differential_dataflow::input::Input;
/// use thalweg::operators::per_closed_time;
/// use timely::dataflow::channels::pact::Pipeline;
///
/// timely::execute_directly(|worker| {
///     worker.dataflow::<u64, _, _>(|scope| {
///         let (_, numbers) = scope.new_collection_from_raw([(1, 5, 1), (2, 5, 1), (3, 9, 1)]);
///         let largest = per_closed_time(numbers, Pipeline, "Largest", vec![], |time, updates, output| {
///             output.extend(updates.drain(..).map(|(n, _)| n).max().map(|n| (n, *time, 1isize)));
///         });
///         let (_, expected) = scope.new_collection_from_raw([(2, 5, 1isize), (3, 9, 1)]);
///         largest.assert_eq(expected);
///     });
/// });
/// ```
pub fn per_closed_time<'scope, T, D, R, D2, R2, P, L>(
    input: VecCollection<'scope, T, D, R>,
    pact: P,
    name: &str,
    initial: Vec<(D2, R2)>,
    mut logic: L,
) -> VecCollection<'scope, T, D2, R2>
where
    T: Timestamp + TotalOrder,
    D: Data,
    R: Clone + 'static,
    D2: Data,
    R2: Clone + 'static,
    P: ParallelizationContract<T, Vec<(D, T, R)>>,
    L: FnMut(&T, &mut Vec<(D, R)>, &mut Vec<(D2, T, R2)>) + 'static,
{
    input
        .inner
        .unary_frontier(pact, name, |capability, _info| {
            let mut initial = Some((capability, initial));
            let mut open: BTreeMap<T, (Capability<T>, Vec<(D, R)>)> = BTreeMap::new();
            let mut emitted: Vec<(D2, T, R2)> = Vec::new();

            move |(input, frontier), output| {
                if let Some((capability, rows)) = initial.take() {
                    let rows = rows.into_iter().map(|(row, diff)| (row, T::minimum(), diff));
                    output.session(&capability).give_iterator(rows);
                }
                input.for_each(|capability, updates| {
                    let mut updates = updates.drain(..).peekable();
                    // Nearly always one time a message, so the map is asked once a message and not once an update.
                    while let Some((_, time, _)) = updates.peek() {
                        let time = time.clone();
                        let (_, stash) = open
                            .entry(time.clone())
                            .or_insert_with(|| (capability.delayed(&time, 0), Vec::new()));
                        while let Some((data, _, diff)) = updates.next_if(|update| update.1 == time) {
                            stash.push((data, diff));
                        }
                    }
                });
                while let Some(first) = open.first_entry() {
                    if frontier.less_equal(first.key()) {
                        break;
                    }
                    let (time, (capability, mut updates)) = first.remove_entry();
                    logic(&time, &mut updates, &mut emitted);
                    output.session(&capability).give_iterator(emitted.drain(..));
                }
            }
        })
        .as_collection()
}
