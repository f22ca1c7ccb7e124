//! The common body of doors that depend on the watermark: stash updates by epoch, and at the end of each epoch let a
//! [`Machine`] take them in, together with where the watermark has come to.
//!
//! A machine is one worker's share of a door's state: a plain struct that knows updates,
//! event_times and the rows that it emits, and nothing of timely. Its state is a table of durable
//! rows: as it closes an epoch it says what changed of them ([`Keeper`]), and an empty machine is
//! given rows to go on from ([`Machine::restore`]). They are another form than what crosses the
//! exchange, and find their owners through an exchange by key, at any number of workers.
//!
//! The end of the input ([`Closing::is_end`]) is an event of the run and not part of the state:
//! what a machine emits because of it changes no durable row.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use differential_dataflow::collection::AsCollection;
use differential_dataflow::difference::Semigroup;
use differential_dataflow::{Data, ExchangeData, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::progress::Timestamp;

use crate::data::Stored;
use crate::door::opened::Opened;
use crate::state::Keeper;
use crate::time::Epoch;
use crate::time::{EventTime, Watermark};

/// The end of an epoch, as a machine sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// The epoch, at its first step.
    pub(crate) epoch: Epoch,
    /// As the epoch began; what is late was late by this.
    pub(crate) before: EventTime,
    /// As it ends.
    pub(crate) now: EventTime,
    /// Whether this is the time at which rows were restored: then there are no updates.
    pub(crate) restoring: bool,
}

impl Closing {
    /// Whether the watermark is where it is because the input has ended. What is emitted because of
    /// that changes no durable row.
    pub(crate) fn is_end(&self) -> bool {
        #[cfg(test)]
        if crate::runtime::is_planted(crate::runtime::Bug::EndIsKept) {
            return false;
        }
        self.now.watermark == Watermark::END
    }
}

/// What a machine emits, at whatever steps of the epoch.
#[derive(Debug)]
pub(crate) struct Emitted<R, N> {
    /// Changes of the door's rows.
    pub(crate) rows: Vec<(R, Epoch, isize)>,
    /// What else the door has to say.
    pub(crate) notes: Vec<(N, Epoch, isize)>,
}

impl<R, N> Emitted<R, N> {
    /// Updates after which a machine with much to say stops and lets others work on them.
    const MUCH: usize = 1 << 16;
    /// A note weighs as much as so many rows: at the end of a window, a whole ranking is shown under its new bounds.
    const NOTE: usize = 16;

    pub(crate) fn is_much(&self) -> bool {
        self.rows.len() + Self::NOTE * self.notes.len() >= Self::MUCH
    }
}

/// One worker's share of a door that depends on the watermark.
pub(crate) trait Machine: 'static {
    /// What comes in ...
    type Datum: ExchangeData;
    /// ... with these differences.
    type Diff: Semigroup + ExchangeData;
    /// The rows that it keeps up to date.
    type Row: Data;
    /// What it says beside.
    type Note: Data;

    /// The key of its durable rows; it begins with a [`Time`](crate::time::Time) where rows go by
    /// time.
    type Key: Stored + ExchangeData;
    /// What stands in such a row besides.
    type Value: Stored + ExchangeData;

    /// Takes in the `updates` of an epoch, which it leaves empty, goes from one event_time to the
    /// next, and tells `keeper` what changed of its durable rows.
    ///
    /// It may stop before it is done, and returns the time at which it will go on emitting: then it is called again for
    /// the same epoch, without updates.
    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<(Self::Datum, Self::Diff)>,
        emitted: &mut Emitted<Self::Row, Self::Note>,
        keeper: &Keeper<Self::Key, Self::Value>,
    ) -> Option<Epoch>;

    /// How many rows it holds, or keys where one of these has several: what is shown to whoever watches the run.
    fn held(&self) -> usize;

    /// Takes in durable `rows` of an earlier run, which it leaves empty, and shows what can be
    /// shown of them at the first time.
    ///
    /// It is called any number of times, before anything else.
    fn restore(
        &mut self,
        rows: &mut Vec<(Self::Key, Self::Value)>,
        emitted: &mut Emitted<Self::Row, Self::Note>,
    );
}

/// Gives memory back after many keys have gone.
pub(crate) fn give_back<K: Eq + Hash, V, S: BuildHasher>(table: &mut HashMap<K, V, S>) {
    if table.len() < table.capacity() / 8 {
        table.shrink_to(2 * table.len());
    }
}

/// What a machine takes in.
pub(crate) type Input<'scope, M> = VecCollection<'scope, Epoch, <M as Machine>::Datum, <M as Machine>::Diff>;

/// The rows and the notes of a door.
pub(crate) type Outputs<'scope, M> = (
    VecCollection<'scope, Epoch, <M as Machine>::Row, isize>,
    VecCollection<'scope, Epoch, <M as Machine>::Note, isize>,
);

/// What has come of an open time.
type Open<M> = (Vec<(<M as Machine>::Datum, <M as Machine>::Diff)>, Option<EventTime>);

/// The durable side of a machine's door.
pub(crate) type DurableSide<'scope, M> = Opened<'scope, <M as Machine>::Key, <M as Machine>::Value>;

/// How updates and durable rows find the worker that owns their key: both ways must agree.
pub(crate) struct Routes<D, K> {
    /// Of an update.
    pub(crate) datum: fn(&D) -> u64,
    /// Of a durable row's key.
    pub(crate) key: fn(&K) -> u64,
}

/// Runs `machine` over `updates`, each sent to the worker that `routes` say, and the `event_times`,
/// which every worker has; `initial` rows are there from the first time on.
pub(crate) fn operate<'scope, M: Machine>(
    name: &str,
    updates: Input<'scope, M>,
    routes: Routes<M::Datum, M::Key>,
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
    mut machine: M,
    durable: DurableSide<'scope, M>,
    initial: Vec<M::Row>,
) -> Outputs<'scope, M> {
    let mut builder = OperatorBuilder::new(name.to_owned(), updates.scope());
    let activator = updates.scope().activator_for(builder.operator_info().address);
    let Routes { datum: by_datum, key: by_key } = routes;
    let pact = Exchange::new(move |(datum, _, _): &(M::Datum, Epoch, M::Diff)| by_datum(datum));
    let mut updates = builder.new_input(updates.inner, pact);
    let mut event_times = builder.new_input(event_times, Pipeline);
    let Opened { keeper, restored, shown, mut gauge } = durable;
    keeper.closed(Some(Epoch::minimum()));
    let restoring = restored.is_some();
    let pact = Exchange::new(move |(key, _): &(M::Key, M::Value)| by_key(key));
    let mut restored = restored.map(|rows| builder.new_input(rows, pact));
    let (rows, rows_stream) = builder.new_output::<Vec<(M::Row, Epoch, isize)>>();
    let (notes, notes_stream) = builder.new_output::<Vec<(M::Note, Epoch, isize)>>();
    let mut rows = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(rows);
    let mut notes = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(notes);

    builder.build(move |mut initial_capabilities| {
        initial_capabilities.truncate(1);
        let mut initial =
            initial_capabilities.pop().filter(|_| !initial.is_empty()).map(|first| (first, initial));
        let mut open: BTreeMap<Epoch, Open<M>> = BTreeMap::new();
        // For both outputs, at the first time at which there may be something to say. One is enough for all open
        // times: they are in order, and an epoch may have thousands of steps.
        let mut held: Option<[Capability<Epoch>; 2]> = None;
        let mut before = EventTime::NONE;
        let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
        // Where an epoch has more steps than are emitted at once, no worker runs ahead of what is behind the door, on whichever
        // worker that is: it would have to hold all that it has not come to.
        let mut next_slice: Option<Epoch> = None;
        move |frontiers| {
            if let Some((capability, initial)) = initial.take() {
                let initial = initial.into_iter().map(|row| (row, Epoch::minimum(), 1));
                rows.activate().session(&capability).give_iterator(initial);
            }
            if let Some(restored) = &mut restored {
                restored.for_each(|capability, slice| {
                    machine.restore(slice, &mut emitted);
                    rows.activate().session(&capability.retain(0)).give_iterator(emitted.rows.drain(..));
                    notes.activate().session(&capability.retain(1)).give_iterator(emitted.notes.drain(..));
                });
            }
            updates.for_each(|capability, batch| {
                if held.as_ref().is_none_or(|held| held[0].time() > capability.time()) {
                    held = Some([capability.retain(0), capability.retain(1)]);
                }
                // Nearly always one time a message, so the map is asked once a message and not once an update.
                let mut batch = batch.drain(..).peekable();
                while let Some((_, time, _)) = batch.peek() {
                    let time = *time;
                    let (stash, _) = open.entry(time).or_default();
                    let rest = std::iter::from_fn(|| batch.next_if(|update| update.1 == time));
                    stash.extend(rest.map(|(datum, _, diff)| (datum, diff)));
                }
            });
            event_times.for_each(|capability, event_times| {
                if held.as_ref().is_none_or(|held| held[0].time() > capability.time()) {
                    held = Some([capability.retain(0), capability.retain(1)]);
                }
                open.entry(*capability.time()).or_default().1 = event_times.pop();
            });
            if next_slice.is_some_and(|next| shown.less_than(&next)) {
                return activator.activate();
            }
            next_slice = None;
            let closed = |time: &Epoch| !frontiers.iter().any(|frontier| frontier.less_equal(time));
            while let Some(mut first) = open.first_entry().filter(|first| closed(first.key())) {
                let epoch = *first.key();
                let (stash, event_time) = first.get_mut();
                let restoring = restoring && epoch == Epoch::minimum();
                let now = event_time.unwrap_or(before);
                let before_epoch = if restoring { now } else { before };
                let closing = Closing { epoch, before: before_epoch, now, restoring };
                keeper.begin(epoch);
                let more = machine.close(&closing, stash, &mut emitted, &keeper);
                let held_now = held.as_mut().expect("something is held for what is open");
                rows.activate().session(&held_now[0]).give_iterator(emitted.rows.drain(..));
                // Most doors have none, nor has this one in most epochs.
                if !emitted.notes.is_empty() {
                    notes.activate().session(&held_now[1]).give_iterator(emitted.notes.drain(..));
                }
                if let Some(next) = more {
                    held_now.iter_mut().for_each(|capability| capability.downgrade(&next));
                    next_slice = Some(next);
                    activator.activate();
                    return;
                }
                before = now;
                first.remove();
                match open.keys().next() {
                    Some(next) => held_now.iter_mut().for_each(|capability| capability.downgrade(next)),
                    None => held = None,
                }
            }
            gauge.set(machine.held());
            keeper.closed(frontiers.iter().filter_map(|frontier| frontier.frontier().first().copied()).min());
        }
    });
    (rows_stream.as_collection(), notes_stream.as_collection())
}

#[cfg(test)]
pub(crate) mod tests {
    //! Two implementations of a machine's durable rows: those that come of what it says changed,
    //! through the keep, the writer and bytes; and its own tables, scanned whole.

    use std::fmt::Debug;

    use proptest::prelude::*;

    use super::*;
    use crate::state::{Identity, Keep, Memory, Snapshot, Writer};
    use crate::time::Millis;

    /// A machine whose tables can be scanned.
    pub(crate) trait Scan: Machine {
        /// All durable rows.
        fn scan(&self) -> Vec<(Self::Key, Self::Value)>;

        /// The same, sorted.
        fn sorted(&self) -> Vec<(Self::Key, Self::Value)> {
            let mut rows = self.scan();
            rows.sort();
            rows
        }
    }

    /// A record that is a time, a key and a value.
    pub(crate) type Record = (Millis, u8, i64);

    /// Epochs of records, and where the watermark has come to behind each. Records may be late.
    pub(crate) fn epochs() -> impl Strategy<Value = Vec<(Millis, Vec<Record>)>> {
        let record = (-20..40i64, 0..4u8, -2..3i64);
        let epoch = (0..15i64, prop::collection::vec(record, 0..8));
        prop::collection::vec(epoch, 1..8).prop_map(|epochs| {
            let mut watermark = 0;
            let mut all = Vec::new();
            for (step, records) in epochs {
                let at = |(time, key, value)| (watermark + time, key, value);
                let records = records.into_iter().map(at).collect();
                watermark += step;
                all.push((watermark, records));
            }
            all
        })
    }

    /// A machine's changes on their way through a keep.
    struct Kept<M: Machine> {
        keeper: Keeper<M::Key, M::Value>,
        keep: Keep,
        writer: Writer,
        memory: Memory,
    }

    impl<M: Machine> Kept<M> {
        fn new() -> Self {
            let memory = Memory::new();
            let writer = Writer::start(memory.clone(), 1, 2).expect("a thread can be started");
            let keep = Keep::new(0, writer.queue());
            let keeper = keep.open(Identity::of::<M::Key, M::Value>("door", "test"));
            Kept { keeper, keep, writer, memory }
        }

        /// The durable rows before `frontier`, from bytes.
        fn rows(&self, frontier: Epoch) -> Vec<(M::Key, M::Value)> {
            self.keep.cut(frontier);
            while self.writer.published().frontier() != Some(frontier) {
                assert!(!self.writer.has_failed());
                self.keep.flush();
                std::thread::yield_now();
            }
            let snapshot = self.memory.load().expect("what was written").expect("it was published");
            let bytes = snapshot.to_bytes().expect("short values");
            let snapshot = Snapshot::from_bytes(&bytes).expect("what was written");
            let table = snapshot.table("door").expect("it was opened");
            (0..table.len()).map(|row| table.row(row).expect("what was written")).collect()
        }
    }

    type Updates<M> = Vec<(<M as Machine>::Datum, <M as Machine>::Diff)>;

    /// All that `machine` emits as it closes an epoch, in order.
    fn close<M: Machine>(
        machine: &mut M,
        closing: &Closing,
        updates: &Updates<M>,
        keeper: &Keeper<M::Key, M::Value>,
    ) -> Emitted<M::Row, M::Note> {
        keeper.begin(closing.epoch);
        let mut updates = updates.clone();
        let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
        while machine.close(closing, &mut updates, &mut emitted, keeper).is_some() {}
        emitted.rows.sort();
        emitted.notes.sort();
        emitted
    }

    /// Holds that the snapshot after each epoch is the table; that a machine made of the one after
    /// `stop` epochs emits what this one does from then on; and that the end of the input is no
    /// change of the state.
    pub(crate) fn changes_are_the_table<M: Scan>(
        make: impl Fn() -> M,
        epochs: Vec<(Watermark, Updates<M>)>,
        span: (Millis, Millis),
        stop: usize,
    ) where
        M::Row: Debug,
        M::Note: Debug,
    {
        let kept = Kept::<M>::new();
        let (mut machine, mut twin) = (make(), None::<M>);
        let mut before = EventTime::NONE;
        let mut rows = Vec::new();
        for (number, (watermark, updates)) in (1..).zip(&epochs) {
            let now = EventTime { watermark: *watermark, oldest: span.0, newest: span.1 };
            if number as usize == stop + 1 {
                let mut restored = make();
                let mut shown = Emitted { rows: Vec::new(), notes: Vec::new() };
                let mut rest: Vec<_> = rows.clone();
                while !rest.is_empty() {
                    let mut slice = rest.drain(..rest.len().min(2)).collect();
                    restored.restore(&mut slice, &mut shown);
                    assert!(slice.is_empty());
                }
                let closing = Closing { epoch: Epoch::default(), before, now: before, restoring: true };
                close(&mut restored, &closing, &vec![], &Keeper::off());
                assert_eq!(restored.sorted(), rows, "restored after epoch {stop}");
                twin = Some(restored);
            }
            let closing = Closing { epoch: Epoch::new(number), before, now, restoring: false };
            let emitted = close(&mut machine, &closing, updates, &kept.keeper);
            rows = kept.rows(Epoch::new(number + 1));
            assert_eq!(rows, machine.sorted(), "after epoch {number}");
            if let Some(twin) = &mut twin {
                let other = close(twin, &closing, updates, &Keeper::off());
                assert_eq!(other.rows, emitted.rows, "rows of epoch {number}, restored after {stop}");
                assert_eq!(other.notes, emitted.notes, "notes of epoch {number}, restored after {stop}");
            }
            before = now;
        }
        let now = EventTime { watermark: Watermark::END, ..before };
        let epoch = Epoch::new(epochs.len() as u64 + 1);
        close(&mut machine, &Closing { epoch, before, now, restoring: false }, &vec![], &kept.keeper);
        assert_eq!(kept.rows(epoch.next()), rows, "the end of the input is no change");
        let Kept { keep, keeper, writer, .. } = kept;
        drop((keep, keeper));
        writer.finish().expect("memory does not fail");
    }
}
