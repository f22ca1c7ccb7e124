//! Which records a door takes: those that are not too late for it, by the watermark as their epoch began.
//!
//! What is too late differs from door to door; that it is counted, and can be had in one place, does not.

use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::Rc;

use crate::data::{Bytes, Key};
use crate::door::columns::{Columns, names_of};
use crate::door::table::{Facts, Rows};
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::time::{Millis, Watermark};
use crate::view::Names;

crate::key_enum! {
    /// Why a record is not in a table that goes by time.
    pub enum Refusal {
        /// It tells no time.
        Untimed = "untimed",
        /// It is quarantined: dated further ahead of its arrival than the run allows.
        Ahead = "ahead",
        /// It came when what it belongs to was complete.
        Late = "late",
    }
}

type TooLate = dyn Fn(Millis, Watermark) -> bool;

/// What the doors of some records refuse.
#[derive(Clone, Default)]
pub(super) struct Refusals {
    /// How often since this was last taken.
    late: Rc<Cell<i64>>,
    /// Which records of the block that the doors are given were refused by any of them, by their place.
    marks: Marks,
    /// What is too late for each door that goes by time.
    doors: Rc<RefCell<Vec<(Bytes, Rc<TooLate>)>>>,
}

impl std::fmt::Debug for Refusals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Refusals").field("late", &self.late).finish_non_exhaustive()
    }
}

impl Refusals {
    pub(super) fn count(&self) -> Rc<Cell<i64>> {
        Rc::clone(&self.late)
    }

    /// For a door named `door`: when a record happened, unless it is `too_late`, which is counted.
    pub(super) fn gate<P>(&self, door: &str, too_late: P) -> Gate<P>
    where
        P: Fn(Millis, Watermark) -> bool + Copy + 'static,
    {
        self.doors.borrow_mut().push((Bytes::from(door), Rc::new(too_late)));
        Gate { late: self.count(), marks: Rc::clone(&self.marks), too_late }
    }

    pub(super) fn marks(&self) -> Marks {
        Rc::clone(&self.marks)
    }
}

/// Records of a block, by their place: a bit each.
pub(super) type Marks = Rc<Cell<u128>>;

/// Lets the records through that are in time for a door.
#[derive(Debug)]
pub(crate) struct Gate<P> {
    late: Rc<Cell<i64>>,
    marks: Marks,
    too_late: P,
}

impl<P: Fn(Millis, Watermark) -> bool> Gate<P> {
    /// When `record` happened, if it is in time.
    #[inline]
    pub(crate) fn time<F: Format>(&self, record: &Parsed<'_, F>) -> Option<Millis> {
        let time = record.millis()?;
        if (self.too_late)(time, record.watermark()) {
            self.late.set(self.late.get() + 1);
            self.marks.set(self.marks.get() | 1 << record.place());
            return None;
        }
        Some(time)
    }
}

/// Whether what happened at `time` is older than `watermark`; for doors that follow single records.
pub(crate) fn is_older(time: Millis, watermark: Watermark) -> bool {
    watermark.reaches(time.saturating_add(1))
}

impl<'scope, F: Format> Records<'scope, F> {
    /// What is late, quarantined or untimed, in one place: facts of the reason ([`Refusal`]), the door that refuses the record
    /// (empty, where all do), and what `datum` makes of it in `columns`. A record that two doors refuse is two facts.
    ///
    /// A record is *late* for a table of windows when all windows that it belongs to were complete as its epoch began; for a
    /// sliding view, when that had left it behind; for a session, when its own would have been complete; for keyed state with an
    /// idle timeout, when that would have passed; and for what follows single records (first records, joins, other keyed
    /// state), when it is older than the watermark. All doors of these records count, also those that are opened later.
    /// Stateless.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// use thalweg::testing::Script;
    /// let build = Build::new("late", |flow| {
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line).ok()?.parse().ok().map(|seconds: i64| 1000 * seconds);
    ///     let lines = flow.records(Text).event_time(move |line| seconds(line.line()));
    ///     lines.all().by_window(Window::tumbling(Duration::from_secs(10))?).count("tens").show("tens");
    ///     lines.all().by_window(Window::tumbling(Duration::from_secs(20))?).count("twenties").show("twenties");
    ///     lines.refused("refused", text("line"), |line| Some(line.line())).show("refused");
    ///     Ok(())
    /// });
    /// // With a lateness of ten seconds, the watermark is 80 s as the second epoch begins.
    /// let answer = Script::new(build).epoch("90\nnoon\n").epoch("79\n80\n99999999999\n").run();
    /// assert_eq!(answer.view("refused"), ["untimed\t\tnoon", "ahead\t\t99999999999", "late\ttens\t79", "late\ttwenties\t79"]);
    /// assert_eq!((answer.counts().late, answer.counts().late_records), (2, 1));
    /// ```
    #[track_caller]
    pub fn refused<C: Columns, L>(
        &self,
        name: &str,
        columns: C,
        datum: L,
    ) -> Facts<'scope, (Refusal, Bytes, C::Key)>
    where
        L: for<'a> Fn(&Parsed<'a, F>) -> Option<<C::Key as Key>::Ref<'a>> + 'static,
    {
        // Without times, every record would be one that tells none.
        let _ = self.event_times(name, Location::caller(), 0);
        let all = ["reason".to_owned(), "door".to_owned()].into_iter().chain(names_of(columns)).collect();
        let doors = Rc::clone(&self.refusals().doors);
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<(Refusal, Bytes, C::Key), isize>| {
            let Some(time) = record.millis() else {
                let reason = if record.is_ahead() { Refusal::Ahead } else { Refusal::Untimed };
                if let Some(datum) = datum(record) {
                    *sums.entry((reason, b"", datum)) += 1;
                }
                return;
            };
            for (door, too_late) in doors.borrow().iter() {
                if too_late(time, record.watermark())
                    && let Some(datum) = datum(record)
                {
                    *sums.entry((Refusal::Late, door, C::Key::shorten(datum))) += 1;
                }
            }
        };
        let rows = self.sums(name, Location::caller(), logic);
        Rows::new(rows, Names { all: Some(all), key: Vec::new() }, self.site().clone())
    }
}
