//! Rows that belong to windows, wherever they come from.

use std::cell::{Cell, RefCell};
use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;

use crate::door::machine::operate;
use crate::door::window::machine::{For, WindowTable};
use crate::operators::route;
use crate::time::Epoch;
use crate::time::EventTime;
use crate::time::{InWindow, Span, Window};

/// Rows that belong to windows, and are final when these are complete.
#[derive(Clone)]
pub struct Windowed<'scope, D: ExchangeData> {
    rows: VecCollection<'scope, Epoch, D, isize>,
    finals: VecCollection<'scope, Epoch, D, isize>,
    context: Context<'scope>,
}

/// What everything behind a windowed door needs.
#[derive(Clone)]
pub(crate) struct Context<'scope> {
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
    finals_wanted: Rc<Cell<bool>>,
    window: Option<Window>,
}

impl<D: ExchangeData> std::fmt::Debug for Windowed<'_, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windowed").field("window", &self.context.window).finish_non_exhaustive()
    }
}

impl<'scope, D: ExchangeData> Windowed<'scope, D> {
    /// The rows of all windows or sessions, open and complete: they change while theirs is open, and are never retracted
    /// after. A run that goes on from another begins with the rows of those that are open.
    pub fn rows(&self) -> VecCollection<'scope, Epoch, D, isize> {
        self.rows.clone()
    }

    /// The rows of the complete windows, each inserted once, when it has become final. Empty in a run none of whose sinks
    /// shows rows when they are final (`mode=append`).
    pub fn finals(&self) -> VecCollection<'scope, Epoch, D, isize> {
        self.finals.clone()
    }

    /// These and `others`, of the same dataflow.
    #[must_use]
    pub fn concat(self, others: Self) -> Self {
        let Windowed { rows, finals, mut context } = self;
        context.window = context.window.filter(|window| others.context.window == Some(*window));
        Windowed { rows: rows.concat(others.rows), finals: finals.concat(others.finals), context }
    }

    /// As these, each row as `logic` makes it.
    #[must_use]
    pub fn map<D2: ExchangeData>(self, logic: impl Fn(D) -> D2 + Clone + 'static) -> Windowed<'scope, D2> {
        let Windowed { rows, finals, context } = self;
        Windowed { rows: rows.map(logic.clone()), finals: finals.map(logic), context }
    }

    /// Those that `logic` keeps.
    #[must_use]
    pub fn filter(self, logic: impl Fn(&D) -> bool + Clone + 'static) -> Self {
        let Windowed { rows, finals, context } = self;
        Windowed { rows: rows.filter(logic.clone()), finals: finals.filter(logic), context }
    }
}

impl<'scope> Context<'scope> {
    /// Of windows of one kind, if `window` says of which.
    pub(crate) fn new(
        event_times: Stream<'scope, Epoch, Vec<EventTime>>,
        finals_wanted: Rc<Cell<bool>>,
        window: Option<Window>,
    ) -> Self {
        Context { event_times, finals_wanted, window }
    }

    pub(crate) fn event_times(&self) -> Stream<'scope, Epoch, Vec<EventTime>> {
        self.event_times.clone()
    }

    pub(crate) fn finals_wanted(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.finals_wanted)
    }
}

impl<'scope, D: ExchangeData> Windowed<'scope, D> {
    /// Rows behind windows.
    pub(crate) fn of(
        rows: VecCollection<'scope, Epoch, D, isize>,
        finals: VecCollection<'scope, Epoch, D, isize>,
        context: Context<'scope>,
    ) -> Self {
        Windowed { rows, finals, context }
    }

    /// What operators behind windows are built on.
    pub(crate) fn into_rows(self) -> (VecCollection<'scope, Epoch, D, isize>, Context<'scope>) {
        (self.rows, self.context)
    }
}

impl<'scope, D: InWindow> Windowed<'scope, D> {
    /// How many rows each window has of each key that `key` makes of them; the windows' own rows must be as many as they
    /// are long, so not sessions.
    ///
    /// State: a row for each open window and key, on the worker that the key is routed to. It follows from that of the door.
    ///
    /// # Panics
    ///
    /// If these are the rows of sessions, or of windows of several lengths.
    #[must_use]
    #[track_caller]
    pub fn count_rows_by<K: ExchangeData + Hash>(
        self,
        name: &str,
        key: impl Fn(&D) -> K + 'static,
    ) -> Windowed<'scope, (Span, K, isize)> {
        let window =
            self.context.window.expect("sessions, and windows of several kinds, have no common length");
        let keys = self.rows.map(move |row| (row.span().start, key(&row)));
        let table = WindowTable::new(name, window, For::Windows, Rc::clone(&self.context.finals_wanted));
        let machine = Rc::new(RefCell::new(table));
        let event_times = self.context.event_times.clone();
        let (rows, finals) = operate(name, keys, |(_, key)| route(key), event_times, machine, false);
        Windowed { rows, finals, context: self.context }
    }
}
