//! The doors of sliding views: [`Records::over_last`].
//!
//! As in [`super::super::window::doors`], what is added up is keyed by (pane, key), and what is too
//! late is refused here. The machine behind the door is [`super::machine`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::difference::Abelian;
use differential_dataflow::{ExchangeData, VecCollection};
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::empty;

use crate::data::{Key, Stats, Stored, Time, Total};
use crate::door::in_time::refused;
use crate::door::last::machine::{Content, Note, Sliding, Undoable, Wanted};
use crate::door::last::two_stacks::TwoStacks;
use crate::door::machine::{Closing, Emitted, Machine, Routes, operate};
use crate::door::opened::Doors;
use crate::door::window::panes::{WindowSums, pane_sums, with_rules};
use crate::door::{Parsed, Records};
use crate::format::Format;
use crate::operators::{TopK, add, merge_first, per_closed_time, route};
use crate::state::{Identity, Keeper};
use crate::time::Epoch;
use crate::time::{Millis, Watermark};
use crate::time::{Span, Window};

/// A sliding view: the rows of the window that it stands at, and that window.
#[derive(Clone)]
pub struct Last<'scope, K: ExchangeData, A: ExchangeData> {
    name: String,
    rows: VecCollection<'scope, Epoch, (K, A), isize>,
    /// Those that are among the first of their worker.
    first: VecCollection<'scope, Epoch, (K, A), isize>,
    window: VecCollection<'scope, Epoch, Span, isize>,
    wanted: Rc<Wanted>,
}

impl<'scope, K: ExchangeData + Hash, A: ExchangeData> Last<'scope, K, A> {
    /// `(key, total)` for each key that the window holds.
    pub fn rows(&self) -> VecCollection<'scope, Epoch, (K, A), isize> {
        self.wanted.rows.set(true);
        self.rows.clone()
    }

    /// One row, once there is a window: where the last one stands that held anything, or that something was gone from.
    pub fn window(&self) -> VecCollection<'scope, Epoch, Span, isize> {
        self.window.clone()
    }

    /// The first `k` rows by total descending, then key ascending, as `(rank, key, total)` with ranks from 1.
    ///
    /// The same as [`TopK::top_k`] of [`Last::rows`], at a fraction of the cost where the rows are not asked for: each worker
    /// picks its first rows where it keeps the totals, and sends no others.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let window = Window::tumbling(Duration::from_secs(10)).unwrap();
    /// let first = thalweg::testing::collection(Text, b"1 a\n2 b\n3 b\n4 c\n20 a\n", move |records| {
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     records.event_time(move |record| seconds(record.line()).map(|seconds: i64| 1000 * seconds));
    ///     records.over_last(window).count_by::<u8>("last", |line| line.last().copied()).top_k(2)
    /// });
    /// assert_eq!(first, [((1, b'b', 2), 1), ((2, b'a', 1), 1)]);
    /// ```
    pub fn top_k(&self, k: usize) -> VecCollection<'scope, Epoch, (u64, K, A), isize> {
        let name = format!("{}: TopK", self.name);
        match self.wanted.first.get() {
            Some(other) if other != k => self.rows().top_k_named(&format!("{name}({k})"), k),
            _ => {
                self.wanted.first.set(Some(k));
                merge_first(self.first.clone(), &name, k)
            }
        }
    }

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
                add(&mut held, row, diff);
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

/// A sliding view's doors: what [`Records::over_last`] opens.
#[derive(Debug)]
pub struct OverLast<'a, 'scope, F: Format> {
    records: &'a mut Records<'scope, F>,
    window: Window,
}

/// A record is too late when the window has left its pane behind.
fn too_late(window: Window) -> impl Fn(Millis, Watermark) -> bool {
    move |time, watermark| {
        let shown = watermark.time().map(|time| window.last_end(time) - window.length());
        watermark == Watermark::END || shown.is_some_and(|start| window.pane_of(time) < start)
    }
}

impl<'scope, F: Format> OverLast<'_, 'scope, F> {
    #[track_caller]
    fn contents<K: Key, A: Total + Stored, C: Content<A>>(
        &mut self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
    ) -> Last<'scope, K, A> {
        let event_times = self.records.event_times();
        let sums = pane_sums(self.records, name, self.window, too_late(self.window), logic);
        let wanted = Rc::new(Wanted::default());
        let machine = Sliding::<K, A, C>::new(name, self.window, Rc::clone(&wanted));
        let identity = with_rules(Identity::of::<(Time, K), A>(name, "sliding view"), self.window);
        let durable = self.records.doors().borrow_mut().open(identity, sums.scope());
        let routes = Routes { datum: |(_, key): &(Millis, K)| route(key), key: |(_, key)| route(key) };
        let (rows, notes) = operate(name, sums, routes, event_times, machine, durable, vec![]);
        let ends = notes.clone().flat_map(|note| match note {
            Note::End(end, durable) => Some((end, durable)),
            Note::First(..) => None,
        });
        let first = notes.flat_map(|note| match note {
            Note::First(key, total) => Some((key, total)),
            Note::End(..) => None,
        });
        let window = shown(name, self.window, self.records.doors(), ends);
        Last { name: name.to_owned(), rows, first, window, wanted }
    }

    /// The door under those whose sums can be undone: `logic` adds what each record says to the sums of whatever keys it
    /// likes. What enters the window is added and what leaves it is subtracted.
    ///
    /// # Panics
    ///
    /// If another door has the same name, or the records tell no time; while running, if a sum does not fit its type.
    #[track_caller]
    pub fn sums_by<K: Key, A: Total + Stored + Abelian>(
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
    pub fn merged_by<K: Key, A: Total + Stored>(
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
    ///     records.over_last(window).count_by::<u8>("last", |line| line.last().copied()).rows()
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
    pub fn sum_by<K: Key, V: Into<i128>>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
    ) -> Last<'scope, K, i128> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, i128>| {
            if let Some((key, value)) = value(record) {
                *sums.entry(key) += value.into();
            }
        })
    }

    /// Count, sum, smallest and largest of what `value` says for each key over the last window.
    ///
    /// # Panics
    ///
    /// As [`OverLast::sums_by`].
    #[track_caller]
    pub fn stats_by<K: Key, V: Into<i128>>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
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
        refused(self.records, name, too_late(self.window), datum)
    }
}

/// The last window that held anything, or that something was gone from, by what all workers tell. That does not follow from
/// what the window holds now, so it is durable by itself.
fn shown<'scope>(
    name: &str,
    window: Window,
    doors: &RefCell<Doors>,
    ends: VecCollection<'scope, Epoch, (Millis, bool), isize>,
) -> VecCollection<'scope, Epoch, Span, isize> {
    let name = format!("{name}: window");
    let mut doors = doors.borrow_mut();
    doors.claim(&name);
    let identity = with_rules(Identity::of::<(), Time>(&name, "window of a sliding view"), window);
    let durable = doors.open(identity, ends.scope());
    let machine = Shown { window, end: None };
    let event_times = empty(ends.scope());
    // One worker has it, whichever.
    let routes = Routes { datum: |_| 0, key: |()| 0 };
    operate(&name, ends, routes, event_times, machine, durable, vec![]).0
}

/// Where a sliding view stands, on the worker that has it.
#[derive(Debug)]
struct Shown {
    window: Window,
    end: Option<Millis>,
}

impl Machine for Shown {
    /// Where a window ends that was shown, and whether that is durable.
    type Datum = (Millis, bool);
    type Diff = isize;
    type Row = Span;
    type Note = ();
    type Key = ();
    /// Where the last one ends.
    type Value = Time;

    fn close(
        &mut self,
        closing: &Closing,
        ends: &mut Vec<((Millis, bool), isize)>,
        emitted: &mut Emitted<Span, ()>,
        keeper: &Keeper<(), Time>,
    ) -> Option<Epoch> {
        let last = ends.drain(..).map(|(end, _)| end).max();
        if let Some((end, durable)) = last.filter(|(end, _)| self.end != Some(*end)) {
            let span = |end: Millis| Span::new(end - self.window.length(), end);
            emitted.rows.extend(self.end.map(|end| (span(end), closing.epoch, -1)));
            emitted.rows.push((span(end), closing.epoch, 1));
            self.end = Some(end);
            if durable {
                keeper.put(&(), &Time(end));
            }
        }
        None
    }

    fn restore(&mut self, rows: &mut Vec<((), Time)>, emitted: &mut Emitted<Span, ()>) {
        for ((), Time(end)) in rows.drain(..) {
            self.end = Some(end);
            let span = Span::new(end.saturating_sub(self.window.length()), end);
            emitted.rows.push((span, Epoch::default(), 1));
        }
    }
}

impl<'scope, F: Format> Records<'scope, F> {
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
