//! What a door does with the records of one worker.

use timely::container::CapacityContainerBuilder;
use timely::dataflow::operators::InputCapability;
use timely::dataflow::operators::generic::OutputBuilder;

use crate::data::{Key, Total};
use crate::door::{Parsed, Partials};
use crate::format::Format;
use crate::time::Epoch;

/// The updates of a collection of keys whose differences are sums.
pub(super) type Updates<K, A> = Vec<(K, Epoch, A)>;

/// Where a door puts its updates.
pub(super) type UpdatesOutput<K, A> = OutputBuilder<Epoch, CapacityContainerBuilder<Updates<K, A>>>;

/// One door of a [`super::Records`]: what takes records in and hands sums on.
pub(super) trait Door<F: Format> {
    /// Takes records in.
    fn absorb(&mut self, records: &[Parsed<'_, F>]);
    /// Hands on what there is if it is much.
    fn relieve(&mut self, capability: &InputCapability<Epoch>);
    /// Hands on what there is: this worker has no more of the epoch.
    fn close(&mut self, capability: &InputCapability<Epoch>);
}

/// The door under [`super::Records::sums_by`], and so under all others.
pub(super) struct Summing<K: Key, A: Total, L> {
    logic: L,
    partials: Partials<K, A>,
    output: UpdatesOutput<K, A>,
}

impl<K: Key, A: Total, L> Summing<K, A, L> {
    pub(super) fn new(logic: L, output: UpdatesOutput<K, A>) -> Self {
        Summing { logic, partials: Partials::new(), output }
    }
}

impl<F, K, A, L> Door<F> for Summing<K, A, L>
where
    F: Format,
    K: Key,
    A: Total,
    L: for<'a> FnMut(&Parsed<'a, F>, &mut Partials<K, A>),
{
    fn absorb(&mut self, records: &[Parsed<'_, F>]) {
        for record in records {
            (self.logic)(record, &mut self.partials);
        }
    }

    fn relieve(&mut self, capability: &InputCapability<Epoch>) {
        if self.partials.is_full() {
            Door::<F>::close(self, capability);
        }
    }

    fn close(&mut self, capability: &InputCapability<Epoch>) {
        let epoch = *capability.time();
        let updates = self.partials.drain().map(|(key, sum)| (key, epoch, sum));
        self.output.activate().session(capability).give_iterator(updates);
    }
}
