//! The doors: records to collections.
//!
//! [`Records`] is where the two worlds meet. On one side are records that borrow from their chunk and are gone when it
//! is; on the other are collections. All doors that are opened on the same `Records` share one timely operator with
//! an output for each, so a chunk is read and parsed once however many doors there are. Records are handed to the
//! doors in blocks: one dynamic call a block rather than a record, and each door runs over its own table while it is
//! in the cache.
//!
//! Each door adds up within its worker and epoch ([`Partials`]) and emits what it has when the *worker's own part* of
//! the epoch ends, which its input says with [`Event::End`]. Waiting for the frontier instead would hold the sums of
//! every epoch that is open anywhere, because a frontier passes only when all workers have.
//!
//! What a door hands on is a collection whose differences are the sums ([`Records::sums_by`]: a multiset of keys, for joins and
//! iteration); running totals of those are the rows that most dataflows want ([`Records::count_by`] and its kin).
//! Windows, sessions, state by key, deduplication and joins of events are doors too (`timed`), behind which a machine
//! that knows the watermark takes the place of the totals.
//!
//! # State
//!
//! A door is a table, and its rows are durable: running totals, the rows of open windows, the sums
//! of panes, sessions, states. As it closes an epoch it says what changed of them
//! ([`Lines::keeping`]; the module [`state`](crate::state) makes snapshots of that), and a run can
//! go on from a snapshot at any number of workers ([`Lines::restoring`]). What follows from a
//! door's rows (a first ten, a count of distinct rows) is not durable: it is worked out again.
//!
//! # Time
//!
//! *Event time* is asked of each record ([`Records::event_time`]), and what was seen of it goes back to whoever feeds the
//! dataflow ([`Feed`]). The *watermark* is worked out by the ledger, once an epoch, and is the same for all workers. A record is
//! judged by the watermark as its epoch began, while its line is at hand: no epoch is read before the one before it is sealed.
//!
//! The first design lets a window be final when the watermark has passed its end *plus* the lateness. But the watermark is the
//! newest time *less* the lateness, so that would wait twice; here a window is final when the watermark reaches its end.
//!
//! Doors know records, keys, times and epochs; they know no log format and no clock.
//!
//! # Sketches
//!
//! [`Distinct`](crate::data::Distinct) and [`Quantiles`](crate::data::Quantiles) are totals that stay small by being approximate. What they hold is a function of the
//! set or multiset of values they have seen, and of nothing else: not of the order, nor of how the values were shared
//! out among workers and merged. So output with sketches in it is the same, byte for byte, at any number of workers.

mod deadlines;
mod dedup;
mod fault;
mod feed;
mod in_time;
mod join;
mod keyed;
mod last;
mod machine;
mod opened;
mod partials;
mod reader;
mod records;
mod running;
mod session;
mod summing;
mod window;

use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;

pub use fault::{FatalLine, FaultProbe};
pub use feed::{Feed, Observed};
pub use join::machine::Events;
pub use keyed::doors::KeyedState;
pub use keyed::machine::Seen;
pub use last::doors::{Last, OverLast};
pub use opened::Durable;
pub use partials::Partials;
pub use reader::Parsed;
pub use records::Records;
pub use session::doors::{BySession, SessionSums};
pub use window::doors::ByWindow;
pub use window::panes::WindowSums;
pub use window::windowed::Windowed;

use self::feed::Observations;
use self::opened::Doors;
use self::running::durable_totals;
use crate::data::{Stored, Total};
use crate::format::Format;
use crate::source::{Chunk, Progress};
use crate::state::{Keep, Snapshot};
use crate::time::{Epoch, EventTime, TimeOptions};

/// What travels from a worker's sources to its doors.
#[derive(Clone, Debug)]
pub enum Event {
    /// Lines of the message's epoch.
    Chunk(Rc<Chunk>),
    /// This worker has no more lines of the message's epoch.
    End,
}

/// The lines of a dataflow's sources, on their way to the formats.
#[derive(Clone)]
pub struct Lines<'scope> {
    stream: Stream<'scope, Epoch, Vec<Event>>,
    /// What is known of event time, as it changes; the same on every worker.
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
    doors: Rc<RefCell<Doors>>,
    progress: Arc<Progress>,
    shared: Rc<Shared>,
    faults: FaultProbe,
}

/// What everything that is built on the same lines shares.
pub(crate) struct Shared {
    options: TimeOptions,
    /// What was known of event time as the open epoch began.
    now: Rc<Cell<EventTime>>,
    observations: Rc<RefCell<Observations>>,
    /// Whether any records tell the time.
    timed: Cell<bool>,
    /// The inputs by name, in the order in which they were first read.
    inputs: RefCell<Vec<String>>,
}

impl std::fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("doors", &self.doors).finish_non_exhaustive()
    }
}

/// The name of the input of a dataflow that names none.
pub const UNNAMED: &str = "";

impl<'scope> Lines<'scope> {
    fn new(
        stream: Stream<'scope, Epoch, Vec<Event>>,
        event_times: Stream<'scope, Epoch, Vec<EventTime>>,
        progress: Arc<Progress>,
        options: TimeOptions,
    ) -> Self {
        let shared = Shared {
            options,
            now: Rc::new(Cell::new(EventTime::NONE)),
            observations: Rc::default(),
            timed: Cell::new(false),
            inputs: RefCell::default(),
        };
        let (doors, faults) = (Rc::default(), FaultProbe::default());
        Lines { stream, event_times, doors, progress, shared: Rc::new(shared), faults }
    }

    /// As these, for doors that go on from the rows of `snapshot`, at any number of workers.
    ///
    /// All workers are given the same; each takes its share. Rows whose doors have other rules are
    /// left aside, which [`Durable::restored`] tells. The rows come at the first of all times, so
    /// the epochs of this run must begin after [`Epoch::new`]`(0)`.
    #[must_use]
    pub fn restoring(self, snapshot: Arc<Snapshot>) -> Self {
        self.doors.borrow_mut().snapshot = Some(snapshot);
        self
    }

    /// As these, for doors that tell `keep` what changes of their durable rows.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        self.doors.borrow_mut().keep = Some(keep);
        self
    }

    /// What is durable of the doors that are opened on these lines.
    pub fn durable(&self) -> Durable {
        Durable(Rc::clone(&self.doors))
    }

    /// Whether any of the records that are read tell their times.
    pub fn goes_by_event_time(&self) -> bool {
        self.shared.timed.get()
    }

    /// The inputs that are read, by name; one without a name is [`UNNAMED`].
    pub fn inputs(&self) -> Vec<String> {
        self.shared.inputs.borrow().clone()
    }

    /// Tells whether a line ends the run.
    pub fn faults(&self) -> FaultProbe {
        self.faults.clone()
    }

    /// The running totals of `sums`, as a door named `name`. What `sums` has because the input has
    /// ended, is not durable.
    #[track_caller]
    pub(crate) fn totals<K: ExchangeData + Hash + Stored, A: Total + Stored>(
        &self,
        name: &str,
        sums: VecCollection<'scope, Epoch, K, A>,
    ) -> VecCollection<'scope, Epoch, (K, A), isize> {
        let mut doors = self.doors.borrow_mut();
        doors.claim(name);
        durable_totals(&mut doors, name, sums, Vec::new(), Some(Rc::clone(&self.shared.now)))
    }

    /// Reads each line of the input without a name with `format`.
    pub fn records<F: Format>(&self, format: F) -> Records<'scope, F> {
        self.read(UNNAMED, format)
    }

    /// Reads each line of `input` with `format`.
    pub fn read<F: Format>(&self, input: &str, format: F) -> Records<'scope, F> {
        let mut inputs = self.shared.inputs.borrow_mut();
        let known = inputs.iter().position(|known| known == input);
        let number = known.unwrap_or_else(|| {
            inputs.push(input.to_owned());
            inputs.len() - 1
        });
        self.shared.observations.borrow_mut().readers += 1;
        Records::new(self, number as u32, known.is_none(), format)
    }
}
