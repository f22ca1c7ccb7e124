//! Running totals that are durable: the machine behind
//! [`Grouped::count`](super::Grouped::count) and its kin over all time.

use std::cell::Cell;
use std::hash::Hash;
use std::panic::Location;
use std::rc::Rc;

use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::operators::generic::operator::empty;

use crate::data::{Stored, Total};
use crate::door::machine::{Closing, Emitted, Machine, Routes, operate};
use crate::door::site::Site;
use crate::operators::{KeyTotals, route};
use crate::state::{Identity, Keeper};
use crate::time::Epoch;
use crate::time::{EventTime, Watermark};

/// One worker's totals.
#[derive(Debug)]
struct Running<K, A> {
    name: String,
    table: KeyTotals<K, A>,
    /// Keys that have a row even while their total is zero, in order.
    always: Vec<K>,
    /// How far time has come, where what is added up may be there only because the input has ended.
    event_time: Option<Rc<Cell<EventTime>>>,
}

impl<K: ExchangeData + Hash, A: Total> Running<K, A> {
    /// Emits what has changed at `time`, and shows each key that has with its total.
    fn settle(&mut self, time: Epoch, emitted: &mut Emitted<(K, A), ()>, mut changed: impl FnMut(&K, &A)) {
        let Running { table, always, .. } = self;
        table.settle(|key, before, now| {
            if before != *now {
                let standing = !always.is_empty() && always.binary_search(key).is_ok();
                let row = |total: A, diff| ((key.clone(), total), time, diff);
                emitted.rows.extend((standing || !before.is_zero()).then(|| row(before, -1)));
                emitted.rows.extend((standing || !now.is_zero()).then(|| row(now.clone(), 1)));
                changed(key, now);
            }
        });
    }
}

impl<K, A> Machine for Running<K, A>
where
    K: ExchangeData + Hash + Stored,
    A: Total + Stored,
{
    type Datum = K;
    type Diff = A;
    type Row = (K, A);
    type Note = ();
    type Key = K;
    type Value = A;

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<(K, A)>,
        emitted: &mut Emitted<(K, A), ()>,
        keeper: &Keeper<K, A>,
    ) -> Option<Epoch> {
        for (key, diff) in updates.drain(..) {
            self.table.add(key, &diff, &self.name);
        }
        let ended = self.event_time.as_ref().is_some_and(|now| now.get().watermark == Watermark::END);
        self.settle(closing.epoch, emitted, |key, total| match () {
            () if ended => {}
            () if total.is_zero() => keeper.take(key),
            () => keeper.put(key, total),
        });
        None
    }

    fn held(&self) -> usize {
        self.table.len()
    }

    fn restore(&mut self, rows: &mut Vec<(K, A)>, emitted: &mut Emitted<(K, A), ()>) {
        for (key, total) in rows.drain(..) {
            self.table.add(key, &total, &self.name);
        }
        self.settle(Epoch::default(), emitted, |_, _| {});
    }
}

/// The running totals of `sums`, which are durable under `name`.
///
/// Where they add up what may be there only because the input has ended, `event_time` says when it
/// has.
pub(super) fn durable_totals<'scope, K: ExchangeData + Hash + Stored, A: Total + Stored>(
    site: &Site<'scope>,
    name: &str,
    sums: VecCollection<'scope, Epoch, K, A>,
    always: Vec<K>,
    event_time: Option<Rc<Cell<EventTime>>>,
) -> VecCollection<'scope, Epoch, (K, A), isize> {
    let scope = sums.scope();
    let mut always = always;
    always.sort();
    always.dedup();
    let (worker, peers) = (scope.index() as u64, scope.peers() as u64);
    let mine = always.iter().filter(|key| route(*key) % peers == worker);
    let initial = mine.map(|key| (key.clone(), A::default())).collect();
    let durable = site.open(Identity::of::<K, A>(name, "totals"));
    let machine = Running { name: name.to_owned(), table: KeyTotals::default(), always, event_time };
    // Nothing here depends on the watermark.
    let event_times = empty(scope);
    operate(name, sums, Routes { datum: route, key: route }, event_times, machine, durable, initial).0
}

/// The running totals of what comes of facts, as a door named `name` that is opened at `place`. What there is of them because the
/// input has ended, is not durable.
pub(super) fn totals_of_facts<'scope, K: ExchangeData + Hash + Stored, A: Total + Stored>(
    site: &Site<'scope>,
    name: &str,
    place: &'static Location<'static>,
    sums: VecCollection<'scope, Epoch, K, A>,
) -> VecCollection<'scope, Epoch, (K, A), isize> {
    site.claim(name, place);
    durable_totals(site, name, sums, Vec::new(), Some(Rc::clone(&site.shared.now)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};

    impl Scan for Running<u8, i64> {
        fn scan(&self) -> Vec<(u8, i64)> {
            self.table.rows().map(|(key, total)| (*key, *total)).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn changes_are_the_totals(epochs in epochs(), stop in 0..8usize) {
            let make = || Running {
                name: "totals".to_owned(),
                table: KeyTotals::default(),
                always: vec![1],
                event_time: None,
            };
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                (Watermark::at(watermark), records.into_iter().map(|(_, key, value)| (key, value)).collect())
            });
            changes_are_the_table(make, epochs.collect(), (0, 0), stop);
        }
    }
}
