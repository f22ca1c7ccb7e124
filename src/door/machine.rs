//! The common body of doors that depend on the watermark: stash updates by epoch, and at the end of each epoch let a
//! [`Machine`] take them in, together with where the watermark has come to.
//!
//! A machine is one worker's share of a door's state: a plain struct that knows updates, event_times and the rows that it emits,
//! and nothing of timely. What it keeps, it gives and takes back as updates of its own input ([`Keeps`]), so that they
//! find their owners through the door's exchange at any number of workers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

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

use crate::door::durable::Doors;
use crate::time::Epoch;
use crate::time::EventTime;

/// The end of an epoch, as a machine sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closing {
    /// The epoch, at its first step.
    pub(crate) epoch: Epoch,
    /// As the epoch began; what is late was late by this.
    pub(crate) before: EventTime,
    /// As it ends.
    pub(crate) now: EventTime,
    /// Whether the updates are what another run has kept: they are state, not news, and are never too late.
    pub(crate) restoring: bool,
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

    /// Takes in the `updates` of an epoch, which it leaves empty, and goes from one event_time to the next.
    ///
    /// It may stop before it is done, and returns the time at which it will go on emitting: then it is called again for
    /// the same epoch, without updates.
    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<(Self::Datum, Self::Diff)>,
        emitted: &mut Emitted<Self::Row, Self::Note>,
    ) -> Option<Epoch>;
}

/// A machine whose state is durable.
pub(crate) trait Keeps: Machine {
    /// Its state, as updates that bring an empty machine to it.
    fn kept(&self) -> Vec<(Self::Datum, Self::Diff)>;
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

/// As [`operate`], for a machine whose state is durable under the name of door `name`.
pub(crate) fn operate_durably<'scope, M: Keeps>(
    name: &str,
    doors: &RefCell<Doors>,
    updates: Input<'scope, M>,
    route: impl Fn(&M::Datum) -> u64 + 'static,
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
    machine: M,
) -> Outputs<'scope, M> {
    let mut doors = doors.borrow_mut();
    let updates = doors.restore(name, updates);
    let machine = Rc::new(RefCell::new(machine));
    let state = Rc::clone(&machine);
    doors.keep(name, move || state.borrow().kept());
    operate(name, updates, route, event_times, machine, doors.restoring)
}

/// Runs `machine` over `updates`, each sent to the worker that `route` says, and the `event_times`, which every worker has.
pub(crate) fn operate<'scope, M: Machine>(
    name: &str,
    updates: Input<'scope, M>,
    route: impl Fn(&M::Datum) -> u64 + 'static,
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
    machine: Rc<RefCell<M>>,
    restoring: bool,
) -> Outputs<'scope, M> {
    let mut builder = OperatorBuilder::new(name.to_owned(), updates.scope());
    let activator = updates.scope().activator_for(builder.operator_info().address);
    let pact = Exchange::new(move |(datum, _, _): &(M::Datum, Epoch, M::Diff)| route(datum));
    let mut updates = builder.new_input(updates.inner, pact);
    let mut event_times = builder.new_input(event_times, Pipeline);
    let (rows, rows_stream) = builder.new_output::<Vec<(M::Row, Epoch, isize)>>();
    let (notes, notes_stream) = builder.new_output::<Vec<(M::Note, Epoch, isize)>>();
    let mut rows = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(rows);
    let mut notes = OutputBuilder::<_, CapacityContainerBuilder<_>>::from(notes);

    builder.build(move |_initial_capabilities| {
        let mut open: BTreeMap<Epoch, Open<M>> = BTreeMap::new();
        // For both outputs, at the first time at which there may be something to say. One is enough for all open
        // times: they are in order, and an epoch may have thousands of steps.
        let mut held: Option<[Capability<Epoch>; 2]> = None;
        let mut before = EventTime::NONE;
        let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
        move |frontiers| {
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
            let closed = |time: &Epoch| !frontiers.iter().any(|frontier| frontier.less_equal(time));
            while let Some(mut first) = open.first_entry().filter(|first| closed(first.key())) {
                let epoch = *first.key();
                let (stash, event_time) = first.get_mut();
                let restoring = restoring && epoch == Epoch::minimum();
                let now = event_time.unwrap_or(before);
                let before_epoch = if restoring { now } else { before };
                let closing = Closing { epoch, before: before_epoch, now, restoring };
                let more = machine.borrow_mut().close(&closing, stash, &mut emitted);
                let held_now = held.as_mut().expect("something is held for what is open");
                rows.activate().session(&held_now[0]).give_iterator(emitted.rows.drain(..));
                notes.activate().session(&held_now[1]).give_iterator(emitted.notes.drain(..));
                if let Some(next) = more {
                    held_now.iter_mut().for_each(|capability| capability.downgrade(&next));
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
        }
    });
    (rows_stream.as_collection(), notes_stream.as_collection())
}
