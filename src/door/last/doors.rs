//! The doors of sliding views: [`Grouped::over_last`].
//!
//! As in [`super::super::window::doors`], what is added up is keyed by (pane, key), and what is too
//! late is refused there. The machine behind the door is [`super::machine`].

use std::collections::BTreeMap;

use differential_dataflow::{ExchangeData, VecCollection};
use serde::{Deserialize, Serialize};
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::operator::empty;

use crate::data::{Key, Stored, Total};
use crate::door::Records;
use crate::door::grouped::{Adds, Grouped};
use crate::door::last::machine::{Content, Note, Sliding as Machinery, Undoable, Wanted};
use crate::door::last::two_stacks::TwoStacks;
use crate::door::machine::{Closing, Emitted, Machine, Routes, operate};
use crate::door::site::Site;
use crate::door::table::{First, Last, Rows, Standing, Table};
use crate::door::when::{Opening, When};
use crate::door::window::panes::{pane_sums, with_rules};
use crate::format::Format;
use crate::operators::{Totals, add, per_closed_time, route};
use crate::state::{Identity, Keeper};
use crate::time::Time;
use crate::time::{Epoch, Millis, Span, Watermark, Window};

/// Over the last window: what the last complete window holds.
#[derive(Clone, Copy, Debug)]
pub struct Sliding {
    window: Window,
}

/// A record is too late when the window has left its pane behind.
fn too_late(window: Window) -> impl Fn(Millis, Watermark) -> bool + Copy {
    move |time, watermark| {
        let shown = watermark.millis().map(|time| window.last_end(time) - window.length());
        watermark == Watermark::END || shown.is_some_and(|start| window.pane_of(time) < start)
    }
}

impl Sliding {
    fn open_with<'scope, F: Format, K: Key, A: Total + Stored, C: Content<A>>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, K, A>,
    ) -> Last<'scope, (K, A)> {
        let Sliding { window } = self;
        let site = records.site();
        let event_times = records.event_times(&opening.name, opening.place, window.length());
        let sums = pane_sums(records, &opening, window, too_late(window), adds);
        let names = opening.names(&[]);
        let name = opening.name.clone();
        let wanted = Wanted::default();
        let machine = Machinery::<K, A, C>::new(&name, window, wanted.clone());
        let identity = with_rules(Identity::of::<(Time, K), A>(&name, "sliding view"), window);
        let durable = site.open(identity);
        let routes = Routes { datum: |(_, key): &(Millis, K)| route(key), key: |(_, key)| route(key) };
        let (rows, notes) = operate(&name, sums, routes, event_times, machine, durable, vec![]);
        let ends = notes.clone().flat_map(|note| match note {
            Note::End(end, durable) => Some((end, durable)),
            Note::First(..) => None,
        });
        let first = notes.flat_map(|note| match note {
            Note::First(key, total) => Some((key, total)),
            Note::End(..) => None,
        });
        let stands = shown(&opening, window, site, ends);
        let Wanted { rows: consumed, each, first: most } = wanted;
        let first = First { name, wanted: most, rows: first };
        Rows::new(rows, names, site.clone()).standing(stands, consumed, each, first)
    }
}

impl When for Sliding {
    type Row<K: Key, A: ExchangeData> = (K, A);
    type Kind = Standing;

    /// Sums that can be undone are: what enters the window is added and what leaves it is taken away. Of others (smallest,
    /// largest, sketches), panes are merged by a sliding-window algorithm, two merges a pane and key in the long run, however
    /// many panes the window has.
    fn open<'scope, F: Format, K: Key, A: Total + Stored>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, K, A>,
    ) -> Last<'scope, (K, A)> {
        if A::INVERTIBLE {
            self.open_with::<F, K, A, Undoable<A>>(records, opening, adds)
        } else {
            self.open_with::<F, K, A, TwoStacks<A>>(records, opening, adds)
        }
    }

    fn distinct<'scope, F: Format, K: Key, M: Key>(
        self,
        records: &Records<'scope, F>,
        opening: Opening<K>,
        adds: impl Adds<F, (K, M), isize>,
    ) -> Last<'scope, (K, isize)> {
        let names = opening.names(&[]);
        let (members, label) = opening.of_members::<M>();
        let members = self.open(records, members, adds);
        // Follows from the members, which are durable.
        let rows = members.states().map(|((key, _), _)| key).totals_named(&label);
        members.at_window(rows, names)
    }
}

impl<'scope, F: Format, K: Key, G> Grouped<'scope, F, K, G> {
    /// A sliding view: what the last complete window holds; keys that it does not hold are gone.
    ///
    /// It moves as the watermark passes the end of the next window; an epoch that passes many shows each in a step of its own.
    /// A late record that still belongs to the window corrects it at once. When the input ends, it moves on to the window
    /// that holds the newest record.
    ///
    /// What it costs is the change: a record enters once and leaves once, however long the window is. State: the sums of the
    /// panes that the window covers and of those to come, and the keys in them.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let build = Build::new("last", |flow| {
    ///     let window = Window::new(Duration::from_secs(30), Duration::from_secs(10))?;
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     let lines = flow.records(Text).event_time(move |line| seconds(line.line()).map(|seconds: i64| 1000 * seconds));
    ///     let keys = lines.by(text("key"), |line| line.rsplit(|byte| *byte == b' ').next());
    ///     keys.over_last(window).count("last").show("last");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run_epochs(build, 1, &[b"1 a\n19 b\n20 b\n41 c\n", b""]);
    /// // With a lateness of ten seconds, everything up to 31 s has arrived, and the last complete window ends at 30 s.
    /// assert_eq!(answer.view_at("last", 0), ["a\t1", "b\t2"]);
    /// ```
    pub fn over_last(self, window: Window) -> Grouped<'scope, F, K, G, Sliding> {
        self.during(Sliding { window })
    }
}

/// A row that can be given its window in front.
pub trait BehindWindow: ExchangeData {
    /// The row with its window.
    type WithWindow: ExchangeData;
    /// Puts `window` in front.
    fn with_window(self, window: Span) -> Self::WithWindow;
}

impl BehindWindow for Span {
    type WithWindow = (Span, Span);
    fn with_window(self, window: Span) -> (Span, Span) {
        (window, self)
    }
}

macro_rules! behind_window {
    ($($t:ident $i:tt),*) => {
        impl<$($t: ExchangeData),*> BehindWindow for ($($t,)*) {
            type WithWindow = (Span, $($t),*);
            fn with_window(self, window: Span) -> Self::WithWindow {
                (window, $(self.$i),*)
            }
        }
    };
}
behind_window!(A 0);
behind_window!(A 0, B 1);
behind_window!(A 0, B 1, C 2);
behind_window!(A 0, B 1, C 2, D 3);
behind_window!(A 0, B 1, C 2, D 3, E 4);
behind_window!(A 0, B 1, C 2, D 3, E 4, F 5);
behind_window!(A 0, B 1, C 2, D 3, E 4, F 5, G 6);

impl<'scope, R: BehindWindow> Last<'scope, R> {
    /// These rows, each with the window that they are of in front: columns `start` and `end`.
    ///
    /// All of them change as the window moves on, so they had better be few: a first ten, not a table. State: the rows, on
    /// one worker.
    pub fn with_window(self) -> Table<'scope, R::WithWindow> {
        let names = self.names_behind(&["start", "end"], false);
        let name = "With window";
        let one = route(&self.names().all);
        let to_one = Exchange::new(move |_: &(Part<R>, Epoch, isize)| one);
        let window = self.window().states();
        let parts = window.map(Part::Window).concat(self.states().map(Part::Row));
        let (mut window, mut held) = (None, BTreeMap::<R, isize>::new());
        let rows = per_closed_time(parts, to_one, name, vec![], move |time, parts, output| {
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
        });
        Rows::new(rows, names, self.site().clone()).about(self.about_text()).looking(self.each())
    }
}

/// What arrives where rows get their window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Part<R> {
    Window(Span),
    Row(R),
}

/// Updates of `rows` with their `window`; none before there is one.
fn stamped<'a, R: BehindWindow>(
    window: Option<Span>,
    rows: impl Iterator<Item = (&'a R, isize)> + 'a,
    time: Epoch,
) -> impl Iterator<Item = (R::WithWindow, Epoch, isize)> + 'a {
    window.into_iter().zip(std::iter::once(rows)).flat_map(move |(window, rows)| {
        rows.map(move |(row, diff)| (row.clone().with_window(window), time, diff))
    })
}

/// The last window that held anything, or that something was gone from, by what all workers tell. That does not follow from
/// what the window holds now, so it is durable by itself.
fn shown<'scope>(
    opening: &Opening<impl Key>,
    window: Window,
    site: &Site<'scope>,
    ends: VecCollection<'scope, Epoch, (Millis, bool), isize>,
) -> VecCollection<'scope, Epoch, Span, isize> {
    let name = format!("{}: window", opening.name);
    site.claim(&name, opening.place);
    let identity = with_rules(Identity::of::<(), Time>(&name, "window of a sliding view"), window);
    let durable = site.open(identity);
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

    fn held(&self) -> usize {
        usize::from(self.end.is_some())
    }

    fn restore(&mut self, rows: &mut Vec<((), Time)>, emitted: &mut Emitted<Span, ()>) {
        for ((), Time(end)) in rows.drain(..) {
            self.end = Some(end);
            let span = Span::new(end.saturating_sub(self.window.length()), end);
            emitted.rows.push((span, Epoch::default(), 1));
        }
    }
}
