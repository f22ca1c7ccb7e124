//! What `top_k` costs, counted rather than timed: comparisons of an update, and rows that reach the merge.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use differential_dataflow::AsCollection;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use thalweg::operators::{TopK, route};
use thalweg::time::Epoch;
use timely::dataflow::operators::{Input, Probe};
use timely::logging::{TimelyEvent, TimelyEventBuilder};

use crate::oracle::{Script, cases, on_workers, script};

thread_local! {
    static COMPARISONS: Cell<u64> = const { Cell::new(0) };
}

/// A number that counts how often it is compared on this thread.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Counted(u64);

impl Ord for Counted {
    fn cmp(&self, other: &Self) -> Ordering {
        COMPARISONS.set(COMPARISONS.get() + 1);
        self.0.cmp(&other.0)
    }
}

impl PartialOrd for Counted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// Comparisons of each single update, when `n` keys are loaded: the largest of each kind.
fn costs(n: u64, k: usize) -> [u64; 4] {
    on_workers(1, move |worker, together| {
        let (mut input, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<((Counted, Counted), Epoch, isize)>>();
            (input, stream.as_collection().top_k(k).inner.probe().0)
        });
        let mut epoch = Epoch::new(0);
        // Many keys of each value, so that ties are decided by the key too; the largest value is n / 3.
        for key in 0..n {
            input.send(((Counted(key), Counted(key / 3)), epoch, 1));
        }
        let mut cost = |updates: &[(u64, u64, isize)]| {
            let start = COMPARISONS.get();
            for (key, value, diff) in updates {
                input.send(((Counted(*key), Counted(*value)), epoch, *diff));
            }
            epoch = epoch.next();
            input.advance_to(epoch);
            together.step_until(worker, |_| !probe.less_than(&epoch));
            COMPARISONS.get() - start
        };
        assert!(cost(&[]) >= n, "loading {n} keys is counted");

        let mut most = [0; 4];
        let mut note = |kind: usize, cost: u64| most[kind] = most[kind].max(cost);
        for i in 0..50u64 {
            // At the bottom, in the middle, on the very top; and the rows at the top, taken away one by one.
            note(0, cost(&[(n + i, 0, 1)]));
            note(1, cost(&[(i * 7, i * 7 / 3, -1), (i * 7, n / 6, 1)]) / 2);
            note(2, cost(&[(2 * n + i, n, 1)]));
        }
        for i in 0..50u64 {
            note(3, cost(&[(2 * n + i, n, -1)]));
        }
        for key in (n - 50..n).rev() {
            note(3, cost(&[(key, key / 3, -1)]));
        }
        input.close();
        most
    })[0]
}

#[test]
fn an_update_costs_the_logarithm_of_the_keys() {
    for k in [1, 10] {
        for n in [1_000u64, 10_000, 100_000] {
            let logarithm = u64::from(n.ilog2() + 1);
            let most = costs(n, k);
            // A node of the tree holds up to eleven rows, and a comparison of rows is at most two of numbers.
            let bound = 12 * logarithm + 12 * k as u64 + 30;
            assert!(most.iter().all(|cost| *cost <= bound), "n {n}, k {k}: {most:?}, more than {bound}");
            assert!(most.iter().all(|cost| *cost > 0), "something is compared");
        }
    }
}

type Row = (u16, u8);

/// Rows that arrive at the operators named `name`, as timely's own log has it, on all workers.
fn arrivals(workers: usize, k: usize, script: &Script<Row, isize>, name: &'static str) -> i64 {
    let script = script.clone();
    let received = on_workers(workers, move |worker, together| {
        #[derive(Default)]
        struct Log {
            operators: HashMap<Vec<usize>, String>,
            channels: HashMap<usize, Vec<usize>>,
            received: HashMap<usize, i64>,
        }
        let log: Rc<RefCell<Log>> = Rc::default();
        let writing = Rc::clone(&log);
        let register = move |_: &_, events: &mut Option<Vec<(_, TimelyEvent)>>| {
            let mut log = writing.borrow_mut();
            for (_, event) in events.iter_mut().flat_map(|events| events.drain(..)) {
                match event {
                    TimelyEvent::Operates(operator) => {
                        log.operators.insert(operator.addr, operator.name);
                    }
                    TimelyEvent::Channels(channel) => {
                        let mut address = channel.scope_addr;
                        address.push(channel.target.0);
                        log.channels.insert(channel.id, address);
                    }
                    TimelyEvent::Messages(message) if !message.is_send => {
                        *log.received.entry(message.channel).or_default() += message.record_count;
                    }
                    _ => {}
                }
            }
        };
        worker.log_register().unwrap().insert::<TimelyEventBuilder, _>("timely", register);
        let (index, peers) = (worker.index(), worker.peers());
        let (mut input, probe) = worker.dataflow::<Epoch, _, _>(|scope| {
            let (input, stream) = scope.new_input::<Vec<(Row, Epoch, isize)>>();
            (input, stream.as_collection().top_k_named("Under test", k).inner.probe().0)
        });
        for sent in script.sent.iter().filter(|sent| sent.worker % peers == index) {
            input.send((sent.data, sent.time, sent.diff));
        }
        input.close();
        together.step_until(worker, |_| probe.done());
        worker.log_register().unwrap().flush();
        let log = log.borrow();
        let wanted =
            log.channels.iter().filter(|(_, address)| log.operators.get(*address).is_some_and(|n| n == name));
        let channels: Vec<_> = wanted.map(|(channel, _)| *channel).collect();
        assert_eq!(channels.len(), 1, "one channel leads to `{name}`");
        log.received.get(&channels[0]).copied().unwrap_or_default()
    });
    received.into_iter().sum()
}

/// How many rows of a local top k change, over all workers and times.
fn local_changes(workers: usize, k: usize, script: &Script<Row, isize>) -> i64 {
    let mut changes = 0;
    let mut before = vec![BTreeMap::new(); workers];
    for time in script.times() {
        for (worker, before) in before.iter_mut().enumerate() {
            let mut rows: BTreeMap<_, isize> = BTreeMap::new();
            for sent in script.sent.iter().filter(|sent| sent.time <= time) {
                if route(&sent.data.0) as usize % workers == worker {
                    *rows.entry((std::cmp::Reverse(sent.data.1), sent.data.0)).or_default() += sent.diff;
                }
            }
            let each = rows.into_iter().flat_map(|(row, count)| vec![row; count as usize]);
            let mut top: BTreeMap<_, isize> = BTreeMap::new();
            each.take(k).for_each(|row| *top.entry(row).or_default() += 1);
            let all: BTreeSet<_> = before.keys().chain(top.keys()).copied().collect();
            changes += all.into_iter().filter(|row| before.get(row) != top.get(row)).count() as i64;
            *before = top;
        }
    }
    changes
}

proptest! {
    #![proptest_config(cases(24))]

    /// The merge is sent the changes of each worker's own first rows, and not one row more, whatever there is.
    #[test]
    fn rows_are_not_gathered(script in script((any::<u16>(), 0..200u8), 1..3isize, 400), k in 1..4usize) {
        for workers in [1, 4] {
            let merged = arrivals(workers, k, &script, "Under test: merge");
            prop_assert_eq!(merged, local_changes(workers, k, &script), "{} workers", workers);
            let loaded = arrivals(workers, k, &script, "Under test: local");
            prop_assert_eq!(loaded, script.sent.len() as i64);
        }
    }
}
