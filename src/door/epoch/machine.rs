//! One worker's sums of the epoch that is being closed.

use std::hash::Hash;

use differential_dataflow::ExchangeData;

use crate::data::{Stored, Total};
use crate::door::machine::{Closing, Emitted, Machine};
use crate::operators::KeyTotals;
use crate::state::Keeper;
use crate::time::{Epoch, Millis, Time};

/// Sums by key of one epoch, which are said once, as it closes. Nothing is held between epochs, and nothing is durable.
#[derive(Debug)]
pub(super) struct Epochs<K, A> {
    name: String,
    sums: KeyTotals<(Millis, K), A>,
}

impl<K: ExchangeData + Hash, A: Total> Epochs<K, A> {
    pub(super) fn new(name: &str) -> Self {
        Epochs { name: name.to_owned(), sums: KeyTotals::default() }
    }
}

impl<K: ExchangeData + Hash, A: Total + Stored> Machine for Epochs<K, A> {
    /// When the epoch arrived, and the key.
    type Datum = (Millis, K);
    type Diff = A;
    type Row = (Time, K, A);
    type Note = ();
    type Key = ();
    type Value = ();

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<((Millis, K), A)>,
        emitted: &mut Emitted<(Time, K, A), ()>,
        _: &Keeper<(), ()>,
    ) -> Option<Epoch> {
        for (key, sum) in updates.drain(..) {
            self.sums.add(key, &sum, &self.name);
        }
        let sums = std::mem::take(&mut self.sums).into_rows().filter(|(_, sum)| !sum.is_zero());
        emitted.rows.extend(sums.map(|((arrived, key), sum)| ((Time(arrived), key, sum), closing.epoch, 1)));
        None
    }

    fn held(&self) -> usize {
        0
    }

    fn restore(&mut self, _: &mut Vec<((), ())>, _: &mut Emitted<(Time, K, A), ()>) {}
}
