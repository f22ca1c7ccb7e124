//! What all doors and tables of one dataflow share.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

use differential_dataflow::ExchangeData;
use timely::dataflow::{Scope, Stream};

use crate::data::Stored;
use crate::door::fault::FaultProbe;
use crate::door::feed::Observations;
use crate::door::opened::{Doors, Opened};
use crate::state::Identity;
use crate::time::{Epoch, EventTime, MOST, Millis, TimeOptions};
use crate::view::{Misbuilt, Register};

/// Where doors are opened and tables are shown: one dataflow on one worker.
#[derive(Clone)]
pub(crate) struct Site<'scope> {
    pub(crate) scope: Scope<'scope, Epoch>,
    /// What is known of event time, as it changes; the same on every worker.
    pub(crate) event_times: Stream<'scope, Epoch, Vec<EventTime>>,
    pub(crate) doors: Rc<RefCell<Doors>>,
    pub(crate) register: Rc<RefCell<Register>>,
    pub(crate) shared: Rc<Shared>,
}

/// What the readers of all lines share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: TimeOptions,
    /// What was known of event time as the open epoch began.
    pub(crate) now: Rc<Cell<EventTime>>,
    pub(crate) observations: Rc<RefCell<Observations>>,
    /// Whether any records tell the time.
    pub(crate) timed: Cell<bool>,
    /// How long after a record something may still come of it, at most, as event time goes on.
    pub(crate) horizon: Cell<Millis>,
    /// Where what ends the run is put.
    pub(crate) faults: FaultProbe,
    /// The inputs by name, in the order in which they were first read.
    pub(crate) inputs: RefCell<Vec<String>>,
}

impl<'scope> Site<'scope> {
    /// Takes `name` for a door that is opened at `place`.
    pub(crate) fn claim(&self, name: &str, place: &'static Location<'static>) {
        let other = self.doors.borrow_mut().claim(name, place);
        if let Some(other) = other {
            self.mistake(Misbuilt::DoorTwice { name: name.to_owned(), other }, place);
        }
    }

    /// Something may come of a record so long `behind` it.
    pub(crate) fn waits(&self, behind: Millis) {
        let horizon = &self.shared.horizon;
        horizon.set(horizon.get().max(behind.min(MOST)));
    }

    /// Notes a mistake in how the dataflow is built.
    pub(crate) fn mistake(&self, mistake: impl Into<Misbuilt>, place: &'static Location<'static>) {
        self.register.borrow_mut().mistake(mistake, place);
    }

    /// Whether anything is durable of this run, or of one before it.
    pub(crate) fn has_state(&self) -> bool {
        let doors = self.doors.borrow();
        doors.keep.is_some() || doors.snapshot.is_some()
    }

    /// The durable side of the door that `identity` says.
    pub(crate) fn open<K, V>(&self, identity: Identity) -> Opened<'scope, K, V>
    where
        K: Stored + ExchangeData,
        V: Stored + ExchangeData,
    {
        let shown = self.register.borrow().probe().clone();
        Opened { shown, ..self.doors.borrow_mut().open(identity, self.scope) }
    }
}

impl std::fmt::Debug for Site<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("doors", &self.doors).finish_non_exhaustive()
    }
}
