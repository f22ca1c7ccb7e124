//! Running totals: a multiset of keys becomes one row for each key.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hash};
use std::rc::Rc;

use differential_dataflow::lattice::Lattice;
use differential_dataflow::{ExchangeData, VecCollection};
use foldhash::quality::RandomState;
use hashbrown::hash_table::{Entry, HashTable};
use timely::dataflow::channels::pact::Exchange;
use timely::order::TotalOrder;
use timely::progress::Timestamp;

use crate::data::Total;
use crate::operators::{per_closed_time, route};

/// Extension trait for the `totals` method.
pub trait Totals<'scope, T, K, A>: Sized
where
    T: Timestamp + Lattice + TotalOrder,
    K: ExchangeData + Hash,
    A: Total,
{
    /// Adds up the differences of each key: one row `(key, total)` for each key whose total is not zero.
    ///
    /// At each time, a row that changed is retracted as it was and inserted as it is, once, however many updates the
    /// key had. A key whose total reaches zero is gone, from the output and from memory. Retractions are negative
    /// differences, and totals may be negative.
    ///
    /// Each key is kept by one worker, which pays one table look-up an update and two emitted rows a changed key;
    /// differential's `count_total` gives the same rows from an arrangement, which others can share but which costs
    /// several times as much to maintain (`tests/operators.rs` holds the two equal, `bench updates` compares them).
    ///
    /// # Panics
    ///
    /// When a total does not fit its type; the message names the operator and the key.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use thalweg::operators::Totals;
    ///
    /// timely::execute_directly(|worker| {
    ///     worker.dataflow::<u64, _, _>(|scope| {
    ///         let words = scope.new_collection_from_raw([(1u64, 0, 2isize), (2, 0, 1), (1, 5, 3), (2, 5, -1)]).1;
    ///         let rows = scope.new_collection_from_raw([((1, 2), 0, 1), ((2, 1), 0, 1),
    ///             ((1, 2), 5, -1), ((1, 5), 5, 1), ((2, 1), 5, -1)]).1;
    ///         words.totals().assert_eq(rows);
    ///     });
    /// });
    /// ```
    fn totals(self) -> VecCollection<'scope, T, (K, A), isize> {
        self.totals_named("Totals")
    }

    /// As [`Totals::totals`], with a name.
    fn totals_named(self, name: &str) -> VecCollection<'scope, T, (K, A), isize> {
        self.totals_core(name, Vec::new()).0
    }

    /// As [`Totals::totals`], with a name, with rows for the keys `always` even while their total is zero, and with a
    /// handle on the state of this worker.
    ///
    /// A row of a key in `always` is shown from the first time on, by the worker that owns the key.
    ///
    /// ```
    /// use differential_dataflow::input::Input;
    /// use thalweg::operators::Totals;
    ///
    /// timely::execute_directly(|worker| {
    ///     let table = worker.dataflow::<u64, _, _>(|scope| {
    ///         let seen = scope.new_collection_from_raw([("a".to_owned(), 3, 2isize)]).1;
    ///         let rows = [(("a", 2), 3, 1), (("b", 0), 0, 1)];
    ///         let expected = scope.new_collection_from_raw(rows).1.map(|(key, n)| (key.to_owned(), n));
    ///         let (totals, table) = seen.totals_core("Seen", vec!["b".to_owned()]);
    ///         totals.assert_eq(expected);
    ///         table
    ///     });
    ///     while worker.step() {}
    ///     // What another dataflow could be fed to go on from here.
    ///     let table = table.borrow();
    ///     assert_eq!(table.rows().collect::<Vec<_>>(), [(&"a".to_owned(), &2)]);
    /// });
    /// ```
    fn totals_core(
        self,
        name: &str,
        always: Vec<K>,
    ) -> (VecCollection<'scope, T, (K, A), isize>, Rc<RefCell<KeyTotals<K, A>>>);
}

impl<'scope, T, K, A> Totals<'scope, T, K, A> for VecCollection<'scope, T, K, A>
where
    T: Timestamp + Lattice + TotalOrder,
    K: ExchangeData + Hash,
    A: Total,
{
    fn totals_core(
        self,
        name: &str,
        always: Vec<K>,
    ) -> (VecCollection<'scope, T, (K, A), isize>, Rc<RefCell<KeyTotals<K, A>>>) {
        let mut always = always;
        always.sort();
        always.dedup();
        let table = Rc::new(RefCell::new(KeyTotals::default()));
        let (worker, peers) = (self.scope().index() as u64, self.scope().peers() as u64);
        let mine = |key: &&K| route(*key) % peers == worker;
        let initial = always.iter().filter(mine).map(|key| ((key.clone(), A::default()), 1)).collect();

        let state = Rc::clone(&table);
        let label = name.to_owned();
        let pact = Exchange::new(|(key, _, _): &(K, T, A)| route(key));
        let rows = per_closed_time(self, pact, name, initial, move |time, updates, output| {
            let mut table = state.borrow_mut();
            for (key, diff) in updates.drain(..) {
                table.add(key, &diff, &label);
            }
            table.settle(|key, before, now| {
                let standing = always.contains(key);
                let row = |total: A, diff| ((key.clone(), total), time.clone(), diff);
                if before != *now {
                    output.extend((standing || !before.is_zero()).then(|| row(before, -1)));
                    output.extend((standing || !now.is_zero()).then(|| row(now.clone(), 1)));
                }
            });
        });
        (rows, table)
    }
}

/// The totals that one worker keeps, as of the last closed time.
///
/// Its rows are also updates: put into the multiset that the totals are taken of, at the first time and at any number
/// of workers, they bring every worker to the state that this one was part of. This is how state is handed over.
#[derive(Debug)]
pub struct KeyTotals<K, A> {
    /// Positions in `slots`, by hash of the key.
    index: HashTable<u32>,
    slots: Vec<Slot<K, A>>,
    /// Positions in `slots` whose total has changed since the last `settle`.
    touched: Vec<u32>,
    state: RandomState,
}

#[derive(Debug)]
struct Slot<K, A> {
    hash: u64,
    key: K,
    total: A,
    /// The total as it was at the last `settle`, if it has been touched since.
    before: Option<A>,
}

impl<K, A> Default for KeyTotals<K, A> {
    fn default() -> Self {
        KeyTotals {
            index: HashTable::new(),
            slots: Vec::new(),
            touched: Vec::new(),
            state: RandomState::default(),
        }
    }
}

impl<K: Hash + Eq + std::fmt::Debug, A: Total> KeyTotals<K, A> {
    /// How many keys have a total.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether no key has a total.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Each key with its total, in no particular order.
    pub fn rows(&self) -> impl Iterator<Item = (&K, &A)> {
        self.index.iter().map(|&at| &self.slots[at as usize]).map(|slot| (&slot.key, &slot.total))
    }

    /// Each key with its total, in no particular order, and one after the other.
    pub(crate) fn into_rows(self) -> impl Iterator<Item = (K, A)> {
        // A slot is in use until its key is forgotten, and then gone.
        self.slots.into_iter().map(|slot| (slot.key, slot.total))
    }

    pub(crate) fn add(&mut self, key: K, diff: &A, operator: &str) {
        let KeyTotals { index, slots, touched, state } = self;
        let hash = state.hash_one(&key);
        let same = |&at: &u32| slots[at as usize].hash == hash && slots[at as usize].key == key;
        let at = match index.entry(hash, same, |&at| slots[at as usize].hash) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                assert!(slots.len() < u32::MAX as usize, "more than 2^32 keys in `{operator}`");
                let at = slots.len() as u32;
                entry.insert(at);
                slots.push(Slot { hash, key, total: A::default(), before: None });
                at
            }
        };
        let slot = &mut slots[at as usize];
        if slot.before.is_none() {
            slot.before = Some(slot.total.clone());
            touched.push(at);
        }
        if slot.total.try_add(diff).is_err() {
            panic!(
                "in `{operator}`, the total {:?} of key {:?} overflows on adding {diff:?}",
                slot.total, slot.key
            );
        }
    }

    /// Hands over each touched key with its total before and now, and forgets those whose total is zero. (A total may be a
    /// sketch of some kilobytes: the one before is nobody else's.)
    pub(crate) fn settle(&mut self, mut show: impl FnMut(&K, A, &A)) {
        let mut touched = std::mem::take(&mut self.touched);
        touched.retain(|&at| {
            let slot = &mut self.slots[at as usize];
            let before = slot.before.take().expect("a touched slot remembers its total");
            show(&slot.key, before, &slot.total);
            slot.total.is_zero()
        });
        // From the last to the first, so that what is swapped into a gap is never itself to go.
        touched.sort_unstable();
        touched.drain(..).rev().for_each(|at| self.forget(at));
        self.touched = touched;
        if self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to(2 * self.slots.len());
            self.index.shrink_to(2 * self.slots.len(), |&at| self.slots[at as usize].hash);
        }
    }

    /// Takes the key at `at` out, and puts the last one in its place.
    fn forget(&mut self, at: u32) {
        let gone = self.slots.swap_remove(at as usize);
        if let Ok(entry) = self.index.find_entry(gone.hash, |&other| other == at) {
            entry.remove();
        }
        let last = self.slots.len() as u32;
        if let Some(moved) = self.slots.get(at as usize)
            && let Some(place) = self.index.find_mut(moved.hash, |&other| other == last)
        {
            *place = at;
        }
    }
}
