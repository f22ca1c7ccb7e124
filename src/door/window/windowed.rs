//! Rows that belong to windows, wherever they come from.

use std::cell::Cell;
use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::{ExchangeData, VecCollection};
use timely::dataflow::Stream;

use crate::data::Stored;
use crate::door::machine::{Routes, operate};
use crate::door::opened::Opened;
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
    /// Of the operators that `finals` come from.
    consumed: Vec<Consumed>,
    context: Context<'scope>,
}

/// Whether anything in the dataflow consumes the final rows of an operator; where nothing does, it need not make them.
///
/// It is known when the dataflow has been built, and does not depend on what the sinks show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Consumed(Rc<Cell<bool>>);

impl Consumed {
    pub(crate) fn get(&self) -> bool {
        self.0.get()
    }

    pub(crate) fn set(&self) {
        self.0.set(true);
    }
}

/// What everything behind a windowed door needs.
#[derive(Clone)]
pub(crate) struct Context<'scope> {
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
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

    /// The rows of the complete windows, each inserted once, when it has become final.
    ///
    /// The door makes them because they are asked for here: a dataflow that does not ask pays nothing for them.
    pub fn finals(&self) -> VecCollection<'scope, Epoch, D, isize> {
        self.consumed.iter().for_each(Consumed::set);
        self.finals.clone()
    }

    /// These and `others`, of the same dataflow.
    #[must_use]
    pub fn concat(self, others: Self) -> Self {
        let Windowed { rows, finals, mut consumed, mut context } = self;
        consumed.extend(others.consumed);
        context.window = context.window.filter(|window| others.context.window == Some(*window));
        Windowed { rows: rows.concat(others.rows), finals: finals.concat(others.finals), consumed, context }
    }

    /// As these, each row as `logic` makes it.
    #[must_use]
    pub fn map<D2: ExchangeData>(self, logic: impl Fn(D) -> D2 + Clone + 'static) -> Windowed<'scope, D2> {
        let Windowed { rows, finals, consumed, context } = self;
        Windowed { rows: rows.map(logic.clone()), finals: finals.map(logic), consumed, context }
    }

    /// Those that `logic` keeps.
    #[must_use]
    pub fn filter(self, logic: impl Fn(&D) -> bool + Clone + 'static) -> Self {
        let Windowed { rows, finals, consumed, context } = self;
        Windowed { rows: rows.filter(logic.clone()), finals: finals.filter(logic), consumed, context }
    }
}

impl<'scope> Context<'scope> {
    /// Of windows of one kind, if `window` says of which.
    pub(crate) fn new(event_times: Stream<'scope, Epoch, Vec<EventTime>>, window: Option<Window>) -> Self {
        Context { event_times, window }
    }

    pub(crate) fn event_times(&self) -> Stream<'scope, Epoch, Vec<EventTime>> {
        self.event_times.clone()
    }
}

impl<'scope, D: ExchangeData> Windowed<'scope, D> {
    /// Rows behind windows; the operator makes `finals` only if they are `consumed`.
    pub(crate) fn of(
        rows: VecCollection<'scope, Epoch, D, isize>,
        finals: VecCollection<'scope, Epoch, D, isize>,
        consumed: Consumed,
        context: Context<'scope>,
    ) -> Self {
        Windowed { rows, finals, consumed: vec![consumed], context }
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
    pub fn count_rows_by<K: ExchangeData + Hash + Stored>(
        self,
        name: &str,
        key: impl Fn(&D) -> K + 'static,
    ) -> Windowed<'scope, (Span, K, isize)> {
        let window =
            self.context.window.expect("sessions, and windows of several kinds, have no common length");
        let keys = self.rows.map(move |row| (row.span().start, key(&row)));
        let consumed = Consumed::default();
        let table = WindowTable::new(name, window, For::Windows, consumed.clone());
        let event_times = self.context.event_times.clone();
        let routes = Routes { datum: |(_, key)| route(key), key: |(_, key)| route(key) };
        let durable = Opened::transient();
        let (rows, finals) = operate(name, keys, routes, event_times, table, durable, vec![]);
        Windowed::of(rows, finals, consumed, self.context)
    }
}
