//! `per_closed_time`: each closed time once, in order, whole, and not before it is closed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use thalweg::operators::per_closed_time;
use thalweg::time::Epoch;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::{Input, Probe};

use crate::oracle::{ROUNDS, Script, WORKERS, cases, on_workers, script};

type Update = (u8, isize);

/// What one worker was called with, call by call.
type Calls = Vec<(Epoch, Vec<Update>)>;

/// Runs `script`, and checks at every call that no worker can still send anything at its time.
fn calls(workers: usize, script: &Script<u8, isize>) -> Vec<(Calls, Vec<(Update, Epoch)>)> {
    let script = script.clone();
    // Below these epochs each worker sends no more; set before the input is advanced, so never too low.
    let lower: Arc<Vec<AtomicU64>> = Arc::new((0..workers).map(|_| AtomicU64::new(0)).collect());
    on_workers(workers, move |worker, together| {
        let (index, peers) = (worker.index(), worker.peers());
        let calls: Rc<RefCell<Calls>> = Rc::default();
        let emitted: Rc<RefCell<Vec<(Update, Epoch)>>> = Rc::default();
        let (called, seen, lowers) = (Rc::clone(&calls), Rc::clone(&emitted), Arc::clone(&lower));
        let (mut input, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<(u8, Epoch, isize)>>();
            let by_data = Exchange::new(|(data, _, _): &(u8, Epoch, isize)| u64::from(*data));
            let initial = vec![((u8::MAX, index as isize), 1isize)];
            let logic =
                move |time: &Epoch, updates: &mut Vec<Update>, output: &mut Vec<(Update, Epoch, isize)>| {
                    for lower in lowers.iter() {
                        let lower = lower.load(SeqCst);
                        assert!(time.number() < lower, "{time} is shown while a worker is at {lower}");
                    }
                    called.borrow_mut().push((*time, updates.clone()));
                    output.extend(updates.drain(..).map(|update| (update, *time, 1)));
                };
            let output = per_closed_time(stream.as_collection(), by_data, "Under test", initial, logic);
            let output = output.inspect(move |(update, time, _)| seen.borrow_mut().push((*update, *time)));
            (input, output.inner.probe().0)
        });
        for round in 0..ROUNDS {
            for sent in script.sent.iter().filter(|sent| sent.worker % peers == index && sent.round == round)
            {
                input.send((sent.data, sent.time, sent.diff));
            }
            // The last lower bound is that of no bound: closing the input closes whatever is ahead.
            let next = if round + 1 == ROUNDS { u64::MAX } else { round + 1 };
            lower[index].store(next, SeqCst);
            if round + 1 < ROUNDS {
                input.advance_to(Epoch::new(round + 1));
            }
            for _ in 0..script.steps[round as usize % script.steps.len()] {
                worker.step();
            }
        }
        input.close();
        together.step_until(worker, |_| probe.done());
        (calls.take(), emitted.take())
    })
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn each_closed_time_once_in_order_and_whole(script in script(any::<u8>(), -3..3isize, 60)) {
        for workers in WORKERS {
            for (worker, (calls, emitted)) in calls(workers, &script).into_iter().enumerate() {
                let mut expected: BTreeMap<Epoch, Vec<Update>> = BTreeMap::new();
                for sent in script.sent.iter().filter(|sent| sent.data as usize % workers == worker) {
                    expected.entry(sent.time).or_default().push((sent.data, sent.diff));
                }
                expected.values_mut().for_each(|updates| updates.sort());

                // What is emitted comes in the order of the calls, after the initial rows.
                let called = calls.iter().flat_map(|(time, updates)| updates.iter().map(|update| (*update, *time)));
                let initial = ((u8::MAX, worker as isize), Epoch::new(0));
                prop_assert_eq!(emitted, [initial].into_iter().chain(called).collect::<Vec<_>>());

                let sorted = calls.into_iter().map(|(time, mut updates)| {
                    updates.sort();
                    (time, updates)
                });
                prop_assert_eq!(sorted.collect::<Vec<_>>(), expected.into_iter().collect::<Vec<_>>());
            }
        }
    }
}
