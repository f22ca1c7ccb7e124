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
//! Doors are built on two axes ([`Grouped`]): *what* is added up of the records of a key (`what`), and *when*, over which of
//! them (`when`): all time, by window, over the last, by session. Any goes with any, and there is one implementation of each.
//! Behind a door stands a machine, which combines the sums of all workers and knows the watermark. Keyed state, first
//! records and joins of events are doors with machines of their own.
//!
//! What comes of a door is a [`Table`] or [`Facts`] (`table`): a collection whose columns have names, to be shown or handed to
//! operators of differential.
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
//! Doors know records, keys, times, epochs, and views as what tables are shown as; they know no log format and no clock.
//!
//! # Sketches
//!
//! [`Distinct`](crate::data::Distinct) and [`Quantiles`](crate::data::Quantiles) are totals that stay small by being approximate. What they hold is a function of the
//! set or multiset of values they have seen, and of nothing else: not of the order, nor of how the values were shared
//! out among workers and merged. So output with sketches in it is the same, byte for byte, at any number of workers.

mod columns;
mod deadlines;
mod dedup;
mod epoch;
mod facts;
mod fault;
mod feed;
mod grouped;
mod join;
mod keyed;
mod last;
mod machine;
mod opened;
mod partials;
mod place;
mod reader;
mod records;
mod refusals;
mod rejects;
mod retained;
mod running;
mod session;
mod site;
mod summing;
mod table;
mod what;
mod when;
mod window;
mod wrapping;

use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;

pub use columns::{ColumnNames, Columns, NamedColumn, column, flag, number, string, text, time};
pub use epoch::doors::ByEpoch;
pub use facts::AsRecords;
pub use fault::{FatalLine, Fault, FaultProbe, TooManyPairs};
pub use feed::{Feed, Observed};
pub use grouped::{Grouped, Keys, Many, One, Whole};
pub use join::Events;
pub use keyed::doors::KeyedState;
pub use keyed::machine::{Next, Seen, Timeout};
pub use last::doors::{BehindWindow, Sliding};
pub use opened::Durable;
pub use partials::Partials;
pub(crate) use place::lines_at;
pub use reader::Parsed;
pub use records::Records;
pub use refusals::Refusal;
pub use rejects::{Rejects, RejectsError};
pub use session::doors::BySession;
pub use table::{Changing, Closing, Facts, Final, Kind, Last, Rows, Standing, Table, Windowed};
pub use what::{Aggregates, Before, Count, CountIf, Fold, Number, Sketched, What};
pub use when::{AllTime, When};
pub(crate) use window::Consumed;
pub use window::doors::Tables;

use self::opened::Doors;
use self::running::totals_of_facts;
use self::site::{Shared, Site};
use crate::data::{Stored, Total};
use crate::format::Format;
use crate::source::{Chunk, Progress};
use crate::state::{Keep, Snapshot};
use crate::time::{Epoch, EventTime, TimeOptions};
use crate::view::{Names, Register};

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
    site: Site<'scope>,
    progress: Arc<Progress>,
    rejects: Option<Rejects>,
}

impl std::fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines").field("site", &self.site).finish_non_exhaustive()
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
            horizon: Cell::new(0),
            faults: FaultProbe::default(),
            inputs: RefCell::default(),
        };
        let scope = stream.scope();
        let doors = Doors::new(Arc::clone(&progress));
        let (doors, register) = (Rc::new(RefCell::new(doors)), Rc::default());
        let site = Site { scope, event_times, doors, register, shared: Rc::new(shared) };
        Lines { stream, site, progress, rejects: None }
    }

    /// As these, for a dataflow whose views go to `register`.
    #[must_use]
    pub fn registering(mut self, register: Register) -> Self {
        self.site.register = Rc::new(RefCell::new(register));
        self
    }

    /// What the dataflow shows so far, and what is wrong with it.
    pub fn register(&self) -> &Rc<RefCell<Register>> {
        &self.site.register
    }

    /// As these, for doors that go on from the rows of `snapshot`, at any number of workers.
    ///
    /// All workers are given the same; each takes its share. Rows whose doors have other rules are
    /// left aside, which [`Durable::restored`] tells. The rows come at the first of all times, so
    /// the epochs of this run must begin after [`Epoch::new`]`(0)`.
    #[must_use]
    pub fn restoring(self, snapshot: Arc<Snapshot>) -> Self {
        self.site.doors.borrow_mut().snapshot = Some(snapshot);
        self
    }

    /// As these, for doors that tell `keep` what changes of their durable rows.
    #[must_use]
    pub fn keeping(self, keep: Keep) -> Self {
        self.site.doors.borrow_mut().keep = Some(keep);
        self
    }

    /// As these, where the lines of which no records come are given to `rejects`, too, if there is one.
    ///
    /// A line that several formats read is given by the first of them.
    #[must_use]
    pub fn rejecting(self, rejects: Option<Rejects>) -> Self {
        Lines { rejects, ..self }
    }

    /// What is durable of the doors that are opened on these lines.
    pub fn durable(&self) -> Durable {
        Durable(Rc::clone(&self.site.doors))
    }

    /// Whether any of the records that are read tell their times.
    pub fn goes_by_event_time(&self) -> bool {
        self.site.shared.timed.get()
    }

    /// How long after the last record something may still come of it, as event time goes on: the longest window, gap
    /// or whatever a door waits for.
    pub fn horizon(&self) -> Duration {
        Duration::from_millis(self.site.shared.horizon.get().unsigned_abs())
    }

    /// The inputs that are read, by name; one without a name is [`UNNAMED`].
    pub fn inputs(&self) -> Vec<String> {
        self.site.shared.inputs.borrow().clone()
    }

    /// Tells whether a line, or what was made of lines, ends the run.
    pub fn faults(&self) -> FaultProbe {
        self.site.shared.faults.clone()
    }

    /// The running totals of `sums`, as a door named `name`. What `sums` has because the input has
    /// ended, is not durable.
    #[track_caller]
    pub(crate) fn totals<K: ExchangeData + Hash + Stored, A: Total + Stored>(
        &self,
        name: &str,
        sums: VecCollection<'scope, Epoch, K, A>,
    ) -> Table<'scope, (K, A)> {
        let rows = totals_of_facts(&self.site, name, Location::caller(), sums);
        Rows::new(rows, Names::default(), self.site.clone())
    }

    /// A table, or facts, of `collection` with columns of these names.
    pub(crate) fn rows<R: ExchangeData, T: Kind>(
        &self,
        columns: impl ColumnNames,
        collection: VecCollection<'scope, Epoch, R, isize>,
    ) -> Rows<'scope, R, T> {
        let names = Names { all: columns.names(), key: Vec::new() };
        Rows::new(collection, names, self.site.clone())
    }

    /// Reads each line of the input without a name with `format`.
    pub fn records<F: Format>(&self, format: F) -> Records<'scope, F> {
        self.read(UNNAMED, format)
    }

    /// Reads each line of `input` with `format`.
    pub fn read<F: Format>(&self, input: &str, format: F) -> Records<'scope, F> {
        let mut inputs = self.site.shared.inputs.borrow_mut();
        let known = inputs.iter().position(|known| known == input);
        let number = known.unwrap_or_else(|| {
            inputs.push(input.to_owned());
            inputs.len() - 1
        });
        self.site.shared.observations.borrow_mut().readers += 1;
        Records::of_lines(self, number as u32, known.is_none(), format)
    }
}
