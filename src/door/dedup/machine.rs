//! The first record of each key within a horizon.
//!
//! Notation: a record of a key happened at `t`; the accepted records of that key at `a`; the horizon is `h`; the watermark
//! is `W`.
//!
//! Records are judged in the order in which they arrived, and are accepted unless `|t - a| < h` for some `a`. So whether a
//! record is a duplicate depends on those before it alone, and not on where epochs end. What is refused is no reason to
//! refuse another: of records at 0, 6 and 12 with a horizon of 10, those at 0 and 12 are accepted.
//!
//! An `a` is forgotten when `W` reaches `a + h`: a record that is not late has `t >= W`, so it is no duplicate of that one.
//! Records that are late (`t < W` as their epoch began) are refused, because what they repeat may be forgotten.
//!
//! Within a worker and epoch, of records with the same key *and* time only the first is handed on: whatever becomes of that
//! one, the others are duplicates. No more can be decided there, as the key's other records are anywhere.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::{IsZero, Semigroup};
use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};

use crate::data::{Overflow, Stored, Total};
use crate::door::machine::{Closing, Emitted, Machine, give_back};
use crate::door::reader::Arrival;
use crate::state::Keeper;
use crate::time::Time;
use crate::time::{Epoch, MOST, Millis};

/// The datum that arrived first, and when that was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct First<D>(Option<(Arrival, D)>);

impl<D> Default for First<D> {
    fn default() -> Self {
        First(None)
    }
}

impl<D: Ord> First<D> {
    /// Takes the datum that arrived at `arrival`, if that was before the one that there is; of facts, which arrive
    /// together, the lesser one.
    #[inline]
    pub(crate) fn offer(&mut self, arrival: Arrival, datum: impl FnOnce() -> D) {
        match &self.0 {
            Some((first, _)) if arrival > *first => {}
            Some((first, least)) if arrival == *first => {
                let datum = datum();
                if datum < *least {
                    self.0 = Some((arrival, datum));
                }
            }
            _ => self.0 = Some((arrival, datum())),
        }
    }
}

impl<D> IsZero for First<D> {
    fn is_zero(&self) -> bool {
        self.0.is_none()
    }
}

impl<D: ExchangeData> Semigroup for First<D> {
    fn plus_equals(&mut self, other: &Self) {
        if let First(Some((arrival, datum))) = other {
            self.offer(*arrival, || datum.clone());
        }
    }
}

impl<D: ExchangeData> Total for First<D> {
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.plus_equals(other);
        Ok(())
    }
}

/// One worker's keys and their accepted records.
#[derive(Debug)]
pub(crate) struct Dedup<K, D> {
    pub(crate) horizon: Millis,
    /// The accepted records that are not forgotten, by time. Those of one key are at least a horizon apart.
    accepted: HashMap<K, VecDeque<(Millis, D)>, RandomState>,
    /// The keys that have an accepted record at each time, to find what is to be forgotten.
    times: BTreeMap<Millis, Vec<K>>,
}

impl<K: ExchangeData + Hash, D: ExchangeData> Dedup<K, D> {
    pub(crate) fn new(horizon: Duration) -> Self {
        // In whole milliseconds `|t - a| < h` is the same for an `h` that is rounded up.
        let horizon =
            Millis::try_from(horizon.as_nanos().div_ceil(1_000_000)).map_or(MOST, |h| h.clamp(1, MOST));
        Dedup { horizon, accepted: HashMap::default(), times: BTreeMap::new() }
    }

    /// Keeps the record of `key` at `time`, unless it is a duplicate; returns whether it was kept.
    fn accept(&mut self, key: &K, time: Millis, datum: &D) -> bool {
        let accepted = self.accepted.entry(key.clone()).or_default();
        let at = accepted.partition_point(|(other, _)| *other <= time - self.horizon);
        if accepted.get(at).is_some_and(|(other, _)| *other < time + self.horizon) {
            return false;
        }
        accepted.insert(at, (time, datum.clone()));
        self.times.entry(time).or_default().push(key.clone());
        true
    }
}

impl<K: ExchangeData + Hash + Stored, D: ExchangeData + Stored> Machine for Dedup<K, D> {
    type Datum = (K, Millis);
    type Diff = First<D>;
    type Row = (K, D);
    type Note = ();
    /// By the time of the accepted record.
    type Key = (Time, K);
    type Value = D;

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<((K, Millis), First<D>)>,
        emitted: &mut Emitted<(K, D), ()>,
        keeper: &Keeper<(Time, K), D>,
    ) -> Option<Epoch> {
        // No two records have the same arrival.
        let sightings = updates.drain(..).filter_map(|((key, time), First(first))| Some((first?, key, time)));
        let mut sightings: Vec<_> =
            sightings.map(|((arrival, datum), key, time)| (arrival, key, time, datum)).collect();
        sightings.sort_unstable();
        for (_, key, time, datum) in sightings {
            if self.accept(&key, time, &datum) {
                keeper.put((&Time(time), &key), &datum);
                emitted.rows.push(((key, datum), closing.epoch, 1));
            }
        }
        let mut forgotten = None;
        while let Some(first) = self.times.first_entry() {
            let time = *first.key();
            if !closing.now.watermark.reaches(time + self.horizon) {
                break;
            }
            forgotten = Some(time);
            for key in first.remove() {
                // The oldest time of all is the oldest of each key that has it.
                if let Some(accepted) = self.accepted.get_mut(&key) {
                    accepted.pop_front();
                    if accepted.is_empty() {
                        self.accepted.remove(&key);
                    }
                }
            }
        }
        give_back(&mut self.accepted);
        if let Some(last) = forgotten.filter(|_| !closing.is_end()) {
            keeper.forget_before(last + 1);
        }
        None
    }

    /// Shows nothing: what an earlier run let through has been let through.
    fn held(&self) -> usize {
        self.accepted.len()
    }

    fn restore(&mut self, rows: &mut Vec<((Time, K), D)>, _: &mut Emitted<(K, D), ()>) {
        for ((Time(time), key), datum) in rows.drain(..) {
            self.accept(&key, time, &datum);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};
    use crate::door::refusals::is_older;
    use crate::time::Watermark;

    impl Scan for Dedup<u8, i64> {
        fn scan(&self) -> Vec<((Time, u8), i64)> {
            let accepted = self
                .accepted
                .iter()
                .flat_map(|(key, records)| records.iter().map(move |record| (key, record)));
            accepted.map(|(key, (time, datum))| ((Time(*time), *key), *datum)).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn changes_are_the_accepted_records(epochs in epochs(), stop in 0..8usize, horizon in 0..20u64) {
            let make = || Dedup::<u8, i64>::new(Duration::from_millis(horizon));
            let (mut before, mut arrival) = (Watermark::NONE, 0);
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                let mut updates = BTreeMap::<_, First<i64>>::new();
                for (time, key, value) in records.into_iter().filter(|record| !is_older(record.0, before)) {
                    arrival += 1;
                    updates.entry((key, time)).or_default().offer(Arrival::at(arrival), || value);
                }
                before = Watermark::at(watermark);
                (before, updates.into_iter().collect())
            });
            changes_are_the_table(make, epochs.collect(), (0, 200), stop);
        }
    }
}
