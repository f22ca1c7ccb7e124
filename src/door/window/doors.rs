//! The doors of window tables: [`Records::by_window`].
//!
//! What a door adds up within a worker and epoch is keyed by (pane, key). A record that is too late
//! is refused here, where its line is still at hand, by the watermark as its epoch began; the
//! machine behind the door ([`super::machine`]) sees only sums.

use differential_dataflow::VecCollection;

use crate::data::{Key, Stats, Stored, Time, Total};
use crate::door::in_time::refused;
use crate::door::machine::{Routes, operate};
use crate::door::window::machine::{For, WindowTable};
use crate::door::window::panes::{WindowSums, pane_sums, with_rules};
use crate::door::window::windowed::{Consumed, Context, Windowed};
use crate::door::{Parsed, Records};
use crate::format::Format;
use crate::operators::route;
use crate::state::Identity;
use crate::time::Epoch;
use crate::time::{Millis, Watermark};
use crate::time::{Span, Window};

/// A window table's doors: what [`Records::by_window`] opens.
#[derive(Debug)]
pub struct ByWindow<'a, 'scope, F: Format> {
    records: &'a mut Records<'scope, F>,
    window: Window,
}

/// A record is too late when all windows that it belongs to are complete.
fn too_late(window: Window) -> impl Fn(Millis, Watermark) -> bool {
    move |time, watermark| window.is_over(time, watermark)
}

impl<'scope, F: Format> ByWindow<'_, 'scope, F> {
    /// The door under the others: `logic` adds what each record says to the sums of whatever keys it likes, in the record's
    /// pane.
    ///
    /// # Panics
    ///
    /// If another door has the same name, or the records tell no time; while running, if a sum does not fit its type.
    #[track_caller]
    pub fn sums_by<K: Key, A: Total + Stored>(
        &mut self,
        name: &str,
        logic: impl for<'a> FnMut(&Parsed<'a, F>, &mut WindowSums<'_, K, A>) + 'static,
    ) -> Windowed<'scope, (Span, K, A)> {
        let (event_times, consumed) = (self.records.event_times(), Consumed::default());
        let sums = pane_sums(self.records, name, self.window, too_late(self.window), logic);
        let machine = WindowTable::new(name, self.window, For::Panes, consumed.clone());
        let identity = with_rules(Identity::of::<(Time, K), A>(name, "window table"), self.window);
        let durable = self.records.doors().borrow_mut().open(identity, sums.scope());
        let routes = Routes { datum: |(_, key): &(Millis, K)| route(key), key: |(_, key)| route(key) };
        let (rows, finals) = operate(name, sums, routes, event_times.clone(), machine, durable, vec![]);
        Windowed::of(rows, finals, consumed, Context::new(event_times, Some(self.window)))
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
    pub fn sum_by<K: Key, V: Into<i128>>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
    ) -> Windowed<'scope, (Span, K, i128)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, i128>| {
            if let Some((key, value)) = value(record) {
                *sums.entry(key) += value.into();
            }
        })
    }

    /// Count, sum, smallest and largest of what `value` says for each window and key.
    ///
    /// # Panics
    ///
    /// As [`ByWindow::sums_by`].
    #[track_caller]
    pub fn stats_by<K: Key, V: Into<i128>>(
        &mut self,
        name: &str,
        value: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V)> + 'static,
    ) -> Windowed<'scope, (Span, K, Stats)> {
        self.sums_by(name, move |record: &Parsed<'_, F>, sums: &mut WindowSums<'_, K, Stats>| {
            if let Some((key, value)) = value(record) {
                sums.entry(key).record(value);
            }
        })
    }

    /// How many different members each key has in each window, exactly; `member` says the key and the member.
    ///
    /// State: a row for each open window, key and member. [`crate::data::Distinct`] counts approximately in bounded space.
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
        refused(self.records, name, too_late(self.window), datum)
    }
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
}
