//! The windowed doors of [`Records`]: [`Records::over_last`] and [`Records::by_window`].
//!
//! What a door adds up within a worker and epoch is keyed by (pane, key). A record that is too late is refused here, where
//! its line is still at hand, by the watermark as its epoch began; the machines behind the doors
//! ([`super::sliding`], [`super::table`]) see only sums.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::collection::AsCollection;
use differential_dataflow::difference::Abelian;
use differential_dataflow::{ExchangeData, VecCollection};
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::ToStream;
use timely::progress::Timestamp;

use super::durable::Doors;
use super::event_time::{Millis, Tide};
use super::machine::{operate, operate_durably};
use super::sliding::{Content, Sliding, Undoable};
use super::table::{For, WindowTable};
use super::two_stacks::TwoStacks;
use super::window::{InWindow, Span, Window};
use super::{Key, Parsed, Partials, Records, Stats, Total};
use crate::format::Format;
use crate::operators::{per_closed_time, route};
use crate::runtime::Epoch;

/// The sums of one pane, to which a record adds.
#[derive(Debug)]
pub struct WindowSums<'a, K, A> {
    pane: Millis,
    sums: &'a mut Partials<(i64, K), A>,
}

impl<K: Key, A: Total> WindowSums<'_, K, A> {
    /// The sum of `key`, to be added to; zero if this is the first time.
    #[inline]
    pub fn entry(&mut self, key: K::Ref<'_>) -> &mut A {
        self.sums.entry((self.pane, key))
    }
}

/// A sliding view: the rows of the window that it stands at, and that window.
#[derive(Clone)]
pub struct Last<'scope, K: ExchangeData, A: ExchangeData> {
    /// `(key, total)` for each key that the window holds.
    pub rows: VecCollection<'scope, Epoch, (K, A), isize>,
    /// One row, once there is a window: where the last one that differed from the one before stands.
    pub window: VecCollection<'scope, Epoch, Span, isize>,
}

impl<'scope, K: ExchangeData, A: ExchangeData> Last<'scope, K, A> {
    /// `rows`, which follow from this view's, each with the window that it is of: `(window, row)`.
    ///
    /// All of them change as the window moves on, so they had better be few: a first ten, not a table. State: the rows, on
    /// one worker.
    pub fn with_window<R: ExchangeData>(
        &self,
        name: &str,
        rows: VecCollection<'scope, Epoch, R, isize>,
    ) -> VecCollection<'scope, Epoch, (Span, R), isize> {
        let one = route(name);
        let to_one = Exchange::new(move |_: &(Part<R>, Epoch, isize)| one);
        let parts = self.window.clone().map(Part::Window).concat(rows.map(Part::Row));
        let (mut window, mut held) = (None, BTreeMap::<R, isize>::new());
        per_closed_time(parts, to_one, name, vec![], move |time, parts, output| {
            let mut moved = None;
            let mut changes = Vec::new();
            for (part, diff) in parts.drain(..) {
                match part {
                    Part::Window(span) if diff > 0 => moved = Some(span),
                    Part::Window(_) => {}
                    Part::Row(row) => changes.push((row, diff)),
                }
            }
            if moved.is_some() {
                output.extend(stamped(window, held.iter().map(|(row, n)| (row, -n)), *time));
            } else {
                output.extend(stamped(window, changes.iter().map(|(row, n)| (row, *n)), *time));
            }
            for (row, diff) in changes {
                use std::collections::btree_map::Entry;
                match held.entry(row) {
                    Entry::Vacant(entry) => {
                        entry.insert(diff);
                    }
                    Entry::Occupied(mut entry) => {
                        *entry.get_mut() += diff;
                        if *entry.get() == 0 {
                            entry.remove();
                        }
                    }
                }
            }
            if moved.is_some() {
                window = moved;
                output.extend(stamped(window, held.iter().map(|(row, n)| (row, *n)), *time));
            }
        })
    }
}

/// What arrives where rows get their window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Part<R> {
    Window(Span),
    Row(R),
}

/// Updates of `rows` with their `window`; none before there is one.
fn stamped<'a, R: ExchangeData>(
    window: Option<Span>,
    rows: impl Iterator<Item = (&'a R, isize)> + 'a,
    time: Epoch,
) -> impl Iterator<Item = ((Span, R), Epoch, isize)> + 'a {
    window
        .into_iter()
        .zip(std::iter::once(rows))
        .flat_map(move |(window, rows)| rows.map(move |(row, diff)| ((window, row.clone()), time, diff)))
}

impl<K: ExchangeData, A: ExchangeData> std::fmt::Debug for Last<'_, K, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Last").finish_non_exhaustive()
    }
}

/// Rows that belong to windows, and are final when these are complete.
#[derive(Clone)]
pub struct Windowed<'scope, D: ExchangeData> {
    rows: VecCollection<'scope, Epoch, D, isize>,
    finals: VecCollection<'scope, Epoch, D, isize>,
    context: Context<'scope>,
}

/// What everything behind a windowed door needs.
#[derive(Clone)]
pub(super) struct Context<'scope> {
    tides: Stream<'scope, Epoch, Vec<Tide>>,
    finals_wanted: Rc<Cell<bool>>,
    window: Option<Window>,
}

impl<D: ExchangeData> std::fmt::Debug for Windowed<'_, D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Windowed").field("window", &self.context.window).finish_non_exhaustive()
    }
}

impl<'scope, D: ExchangeData> Windowed<'scope, D> {
    /// The rows of sessions, which have no common length.
    pub(super) fn of_sessions(
        rows: VecCollection<'scope, Epoch, D, isize>,
        finals: VecCollection<'scope, Epoch, D, isize>,
        tides: Stream<'scope, Epoch, Vec<Tide>>,
        finals_wanted: Rc<Cell<bool>>,
    ) -> Self {
        Windowed { rows, finals, context: Context { tides, finals_wanted, window: None } }
    }

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
    pub(super) fn tides(&self) -> Stream<'scope, Epoch, Vec<Tide>> {
        self.tides.clone()
    }

    pub(super) fn finals_wanted(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.finals_wanted)
    }
}

impl<'scope, D: ExchangeData> Windowed<'scope, D> {
    /// Rows behind windows.
    pub(super) fn of(
        rows: VecCollection<'scope, Epoch, D, isize>,
        finals: VecCollection<'scope, Epoch, D, isize>,
        context: Context<'scope>,
    ) -> Self {
        Windowed { rows, finals, context }
    }

    /// What operators behind windows are built on.
    pub(super) fn into_rows(self) -> (VecCollection<'scope, Epoch, D, isize>, Context<'scope>) {
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
        let tides = self.context.tides.clone();
        let (rows, finals) = operate(name, keys, |(_, key)| route(key), tides, machine, false);
        Windowed { rows, finals, context: self.context }
    }
}

/// Which records a door takes, by the watermark as their epoch began.
type TooLate = fn(&Window, Millis, super::Watermark) -> bool;

/// The sums of each pane and key over the records that are not `too_late`.
#[track_caller]
fn pane_sums<'scope, F: Format, K: Key, A: Total>(
    records: &mut Records<'scope, F>,
    name: &str,
    window: Window,
    too_late: TooLate,
    mut logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
) -> VecCollection<'scope, Epoch, (Millis, K), A> {
    let late = records.late();
    records.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut Partials<(i64, K), A>| {
        let Some(time) = record.time() else { return };
        if too_late(&window, time, record.watermark()) {
            late.set(late.get() + 1);
        } else {
            logic(record, &mut WindowSums { pane: window.pane_of(time), sums });
        }
    })
}

/// What `datum` makes of the records that are `too_late`.
#[track_caller]
fn refused<'scope, F: Format, D: Key>(
    records: &mut Records<'scope, F>,
    name: &str,
    window: Window,
    too_late: TooLate,
    datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
) -> VecCollection<'scope, Epoch, D, isize> {
    records.collect(name, move |record| {
        let time = record.time()?;
        too_late(&window, time, record.watermark()).then(|| datum(record)).flatten()
    })
}

/// A window table's doors: what [`Records::by_window`] opens.
#[derive(Debug)]
pub struct ByWindow<'a, 'scope, F: Format> {
    records: &'a mut Records<'scope, F>,
    window: Window,
}

impl<'scope, F: Format> ByWindow<'_, 'scope, F> {
    fn too_late(window: &Window, time: Millis, watermark: super::Watermark) -> bool {
        window.is_over(time, watermark)
    }

    /// The door under the others: `logic` adds what each record says to the sums of whatever keys it likes, in the record's
    /// pane.
    ///
    /// # Panics
    ///
    /// If another door has the same name, or the records tell no time; while running, if a sum does not fit its type.
    #[track_caller]
    pub fn sums_by<K: Key, A: Total>(
        &mut self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
    ) -> Windowed<'scope, (Span, K, A)> {
        let tides = self.records.tides();
        let sums = pane_sums(self.records, name, self.window, Self::too_late, logic);
        let context =
            Context { tides, finals_wanted: self.records.finals_wanted(), window: Some(self.window) };
        let finals_wanted = Rc::clone(&context.finals_wanted);
        let machine = WindowTable::new(name, self.window, For::Panes, finals_wanted);
        let route = |(_, key): &(Millis, K)| route(key);
        let (rows, finals) =
            operate_durably(name, self.records.doors(), sums, route, context.tides.clone(), machine);
        Windowed { rows, finals, context }
    }

    /// How often each key occurs in each window, as rows `(window, key, count)`; records without a key are left out.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let minutes = Window::tumbling(Duration::from_secs(60)).unwrap();
    /// let counts = thalweg::testing::collection(Text, b"1 a\n59 a\n60 a\n", move |records| {
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     records.event_time(move |record| seconds(record.line()).map(|seconds: i64| 1000 * seconds));
    ///     records.by_window(minutes).count_by::<u8>("minutes", |line| line.last().copied()).rows()
    /// });
    /// assert_eq!(counts, [((Span::new(0, 60_000), b'a', 2), 1), ((Span::new(60_000, 120_000), b'a', 1), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`ByWindow::sums_by`].
    #[track_caller]
    pub fn count_by<K: Key>(
        &mut self,
        name: &str,
        key: impl for<'a> Fn(&Parsed<'a, F>) -> Option<K::Ref<'a>> + 'static,
    ) -> Windowed<'scope, (Span, K, isize)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, isize>| {
            if let Some(key) = key(record) {
                *sums.entry(key) += 1;
            }
        })
    }

    /// As [`ByWindow::count_by`], for records that are any number of keys each.
    ///
    /// # Panics
    ///
    /// As [`ByWindow::sums_by`].
    #[track_caller]
    pub fn count_each<K: Key>(
        &mut self,
        name: &str,
        each: impl for<'a> Fn(&Parsed<'a, F>, &mut dyn FnMut(K::Ref<'_>)) + 'static,
    ) -> Windowed<'scope, (Span, K, isize)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, isize>| {
            each(record, &mut |key| *sums.entry(key) += 1);
        })
    }

    /// What `value` says, added up for each window and key.
    ///
    /// # Panics
    ///
    /// As [`ByWindow::sums_by`].
    #[track_caller]
    pub fn sum_by<K: Key>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, i64)> + 'static,
    ) -> Windowed<'scope, (Span, K, i128)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, i128>| {
            if let Some((key, value)) = value(record) {
                *sums.entry(key) += i128::from(value);
            }
        })
    }

    /// Count, sum, smallest and largest of what `value` says for each window and key.
    ///
    /// # Panics
    ///
    /// As [`ByWindow::sums_by`].
    #[track_caller]
    pub fn stats_by<K: Key>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, i128)> + 'static,
    ) -> Windowed<'scope, (Span, K, Stats)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, Stats>| {
            if let Some((key, value)) = value(record) {
                sums.entry(key).record(value);
            }
        })
    }

    /// How many different members each key has in each window, exactly; `member` says the key and the member.
    ///
    /// State: a row for each open window, key and member. [`super::Distinct`] counts approximately in bounded space.
    ///
    /// # Panics
    ///
    /// As [`ByWindow::sums_by`].
    #[track_caller]
    pub fn distinct_by<K: Key, M: Key>(
        &mut self,
        name: &str,
        member: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, M::Ref<'a>)> + 'static,
    ) -> Windowed<'scope, (Span, K, isize)> {
        let members = self.count_by::<(K, M)>(name, member);
        members.count_rows_by(&format!("{name}: distinct"), |(_, (key, _), _)| key.clone())
    }

    /// What `datum` makes of the records that these windows refuse because they are too late: all windows that they belong
    /// to were complete as their epoch began. Stateless.
    ///
    /// # Panics
    ///
    /// If another door has the same name.
    #[track_caller]
    pub fn refused<D: Key>(
        &mut self,
        name: &str,
        datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
    ) -> VecCollection<'scope, Epoch, D, isize> {
        refused(self.records, name, self.window, Self::too_late, datum)
    }
}

/// A sliding view's doors: what [`Records::over_last`] opens.
#[derive(Debug)]
pub struct OverLast<'a, 'scope, F: Format> {
    records: &'a mut Records<'scope, F>,
    window: Window,
}

impl<'scope, F: Format> OverLast<'_, 'scope, F> {
    fn too_late(window: &Window, time: Millis, watermark: super::Watermark) -> bool {
        let shown = watermark.time().map(|time| window.last_end(time) - window.length());
        shown.is_some_and(|start| window.pane_of(time) < start)
    }

    #[track_caller]
    fn contents<K: Key, A: Total, C: Content<A>>(
        &mut self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
    ) -> Last<'scope, K, A> {
        let tides = self.records.tides();
        let sums = pane_sums(self.records, name, self.window, Self::too_late, logic);
        let machine = Sliding::<K, A, C>::new(name, self.window);
        let route = |(_, key): &(Millis, K)| route(key);
        let (rows, ends) = operate_durably(name, self.records.doors(), sums, route, tides, machine);
        Last { rows, window: shown(name, self.window, self.records.doors(), ends) }
    }

    /// The door under those whose sums can be undone: `logic` adds what each record says to the sums of whatever keys it
    /// likes. What enters the window is added and what leaves it is subtracted.
    ///
    /// # Panics
    ///
    /// If another door has the same name, or the records tell no time; while running, if a sum does not fit its type.
    #[track_caller]
    pub fn sums_by<K: Key, A: Total + Abelian>(
        &mut self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
    ) -> Last<'scope, K, A> {
        self.contents::<K, A, Undoable<A>>(name, logic)
    }

    /// As [`OverLast::sums_by`], for what cannot be undone (smallest, largest, sketches): panes are merged by a
    /// sliding-window algorithm, two merges a pane and key in the long run, however many panes the window has.
    ///
    /// # Panics
    ///
    /// As [`OverLast::sums_by`].
    #[track_caller]
    pub fn merged_by<K: Key, A: Total>(
        &mut self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
    ) -> Last<'scope, K, A> {
        self.contents::<K, A, TwoStacks<A>>(name, logic)
    }

    /// How often each key occurs in the last window; keys that do not are gone.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let window = Window::new(Duration::from_secs(30), Duration::from_secs(10)).unwrap();
    /// let counts = thalweg::testing::collection(Text, b"1 a\n19 b\n20 b\n41 c\n", move |records| {
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     records.event_time(move |record| seconds(record.line()).map(|seconds: i64| 1000 * seconds));
    ///     records.over_last(window).count_by::<u8>("last", |line| line.last().copied()).rows
    /// });
    /// // With a lateness of ten seconds, everything up to 31 s has arrived, and the last complete window ends at 30 s.
    /// assert_eq!(counts, [((b'a', 1), 1), ((b'b', 2), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`OverLast::sums_by`].
    #[track_caller]
    pub fn count_by<K: Key>(
        &mut self,
        name: &str,
        key: impl for<'a> Fn(&Parsed<'a, F>) -> Option<K::Ref<'a>> + 'static,
    ) -> Last<'scope, K, isize> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, isize>| {
            if let Some(key) = key(record) {
                *sums.entry(key) += 1;
            }
        })
    }

    /// As [`OverLast::count_by`], for records that are any number of keys each.
    ///
    /// # Panics
    ///
    /// As [`OverLast::sums_by`].
    #[track_caller]
    pub fn count_each<K: Key>(
        &mut self,
        name: &str,
        each: impl for<'a> Fn(&Parsed<'a, F>, &mut dyn FnMut(K::Ref<'_>)) + 'static,
    ) -> Last<'scope, K, isize> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, isize>| {
            each(record, &mut |key| *sums.entry(key) += 1);
        })
    }

    /// What `value` says, added up for each key over the last window; keys whose sum is zero are gone.
    ///
    /// # Panics
    ///
    /// As [`OverLast::sums_by`].
    #[track_caller]
    pub fn sum_by<K: Key>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, i64)> + 'static,
    ) -> Last<'scope, K, i128> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, i128>| {
            if let Some((key, value)) = value(record) {
                *sums.entry(key) += i128::from(value);
            }
        })
    }

    /// Count, sum, smallest and largest of what `value` says for each key over the last window.
    ///
    /// # Panics
    ///
    /// As [`OverLast::sums_by`].
    #[track_caller]
    pub fn stats_by<K: Key>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, i128)> + 'static,
    ) -> Last<'scope, K, Stats> {
        self.merged_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, Stats>| {
            if let Some((key, value)) = value(record) {
                sums.entry(key).record(value);
            }
        })
    }

    /// What `datum` makes of the records that this view refuses because they are too late: the window had left them behind
    /// as their epoch began. Stateless.
    ///
    /// # Panics
    ///
    /// If another door has the same name.
    #[track_caller]
    pub fn refused<D: Key>(
        &mut self,
        name: &str,
        datum: impl for<'a> Fn(&Parsed<'a, F>) -> Option<D::Ref<'a>> + 'static,
    ) -> VecCollection<'scope, Epoch, D, isize> {
        refused(self.records, name, self.window, Self::too_late, datum)
    }
}

/// The window in which something last changed, from the ends that all workers tell. That does not follow from what the
/// window holds, so it is durable by itself.
fn shown<'scope>(
    name: &str,
    window: Window,
    doors: &RefCell<Doors>,
    ends: VecCollection<'scope, Epoch, Millis, isize>,
) -> VecCollection<'scope, Epoch, Span, isize> {
    let name = format!("{name}: window");
    let one = route(name.as_str());
    let pact = Exchange::new(move |_: &(Millis, Epoch, isize)| one);
    let shown = Rc::new(Cell::new(None));
    let mut doors = doors.borrow_mut();
    let ends = if doors.restoring {
        let rows = doors.take::<Millis>(&name).into_iter();
        let rows: Vec<_> = rows.map(|end| (end, Epoch::minimum(), 1)).collect();
        let scope = ends.scope();
        ends.concat(rows.to_stream(scope).as_collection())
    } else {
        ends
    };
    let state = Rc::clone(&shown);
    doors.keep(&name, move || state.get().into_iter().collect());
    per_closed_time(ends, pact, &name, vec![], move |time, ends, output| {
        let end = ends.drain(..).map(|(end, _)| end).max();
        let before = shown.replace(end);
        if end != before {
            let span = |end: Millis| Span::new(end - window.length(), end);
            output.extend(before.map(|end| (span(end), *time, -1)));
            output.extend(end.map(|end| (span(end), *time, 1)));
        }
    })
}

impl<'scope, F: Format> Records<'scope, F> {
    /// A window table: rows by window and key that are exact while their window is open, and final when the watermark has
    /// reached its end.
    ///
    /// Each epoch retracts the rows that changed and inserts them as they are now; a record that is late, but not too late for
    /// a window, corrects it in the same way. State: the rows of the open windows, each on the worker that its key is
    /// routed to; they are freed when they are final, which retracts nothing.
    pub fn by_window(&mut self, window: Window) -> ByWindow<'_, 'scope, F> {
        ByWindow { records: self, window }
    }

    /// A sliding view: what the last complete window holds.
    ///
    /// It moves as the watermark passes the end of the next window; an epoch that passes many shows each in a step of its own.
    /// A late record that still belongs to the window corrects it at once. When the input ends, it moves on to the window
    /// that holds the newest record.
    ///
    /// What it costs is the change: a record enters once and leaves once, however long the window is. State: the sums of the
    /// panes that the window covers and of those to come, and the keys in them.
    pub fn over_last(&mut self, window: Window) -> OverLast<'_, 'scope, F> {
        OverLast { records: self, window }
    }
}
