//! The largest rows of each window, exact while it is open.
//!
//! ```text
//! rows ── by key ──▶ Ordered: each worker's first k of each window ── by window ──▶ Ranked: the first k of all
//! ```
//!
//! Both levels keep what they have by window, and drop it when the watermark reaches the window's end: by then the rows of
//! the window are final, so nothing will ask for it again. Windows are found by their end first, because sessions
//! have no common length. Nothing here is durable: what the windows' own door restores brings it back.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use differential_dataflow::ExchangeData;

use crate::door::machine::{Closing, Emitted, Machine, Routes, operate};
use crate::door::opened::Opened;
use crate::door::table::Windowed;
use crate::door::window::Consumed;
use crate::operators::{Ordered, Ranked, route};
use crate::state::Keeper;
use crate::time::{Epoch, EventTime, Span, Time};

/// Something for each open window.
#[derive(Debug)]
struct OpenWindows<S> {
    /// By end, then start.
    open: BTreeMap<(Time, Time), S>,
}

impl<S> OpenWindows<S> {
    fn new() -> Self {
        OpenWindows { open: BTreeMap::new() }
    }

    /// What there is for the window `span`, which is opened if it is not.
    fn of(&mut self, span: Span, open: impl FnOnce() -> S) -> &mut S {
        self.open.entry((span.end, span.start)).or_insert_with(open)
    }

    fn remove(&mut self, span: Span) {
        self.open.remove(&(span.end, span.start));
    }

    /// Drops what there is for the windows that are complete at `event_time`, and shows it.
    fn retire(&mut self, event_time: EventTime, mut show: impl FnMut(Span, S)) {
        while let Some(first) =
            self.open.first_entry().filter(|first| event_time.watermark.reaches(first.key().0))
        {
            let ((end, start), state) = first.remove_entry();
            show(Span::new(start, end), state);
        }
    }
}

/// Each worker's own first `k` rows of each window.
#[derive(Debug)]
struct LocalTop<K, V> {
    k: usize,
    windows: OpenWindows<Ordered<K, V>>,
}

impl<K: ExchangeData, V: ExchangeData> Machine for LocalTop<K, V> {
    type Datum = (Span, K, V);
    type Diff = isize;
    type Row = (Span, K, V);
    type Note = ();
    type Key = ();
    type Value = ();

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<((Span, K, V), isize)>,
        emitted: &mut Emitted<(Span, K, V), ()>,
        _: &Keeper<(), ()>,
    ) -> Option<Epoch> {
        let LocalTop { k, windows } = self;
        let mut touched = BTreeSet::new();
        for ((span, key, value), diff) in updates.drain(..) {
            touched.insert(span);
            windows.of(span, || Ordered::new(*k)).update((key, value), diff);
        }
        for span in touched {
            let ordered = windows.of(span, || Ordered::new(*k));
            ordered.changes(|(key, value), diff| {
                emitted.rows.push(((span, key.clone(), value.clone()), closing.epoch, diff));
            });
            if ordered.is_empty() {
                windows.remove(span);
            }
        }
        windows.retire(closing.now, |_, _| ());
        None
    }

    fn held(&self) -> usize {
        self.windows.open.len()
    }

    fn restore(&mut self, _: &mut Vec<((), ())>, _: &mut Emitted<(Span, K, V), ()>) {}
}

/// The first `k` rows of the windows that this worker merges.
#[derive(Debug)]
struct MergedTop<K, V> {
    k: usize,
    windows: OpenWindows<Ranked<K, V>>,
    finals_consumed: Consumed,
}

impl<K: ExchangeData, V: ExchangeData> Machine for MergedTop<K, V> {
    type Datum = (Span, K, V);
    type Diff = isize;
    type Row = (Span, u64, K, V);
    /// A row that is final.
    type Note = (Span, u64, K, V);
    type Key = ();
    type Value = ();

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<((Span, K, V), isize)>,
        emitted: &mut Emitted<(Span, u64, K, V), (Span, u64, K, V)>,
        _: &Keeper<(), ()>,
    ) -> Option<Epoch> {
        let MergedTop { k, windows, finals_consumed } = self;
        let mut touched = BTreeSet::new();
        for ((span, key, value), diff) in updates.drain(..) {
            touched.insert(span);
            windows.of(span, || Ranked::new(*k)).update((key, value), diff);
        }
        for span in touched {
            let ranked = windows.of(span, || Ranked::new(*k));
            ranked.changes(|rank, (key, value), diff| {
                emitted.rows.push(((span, rank, key.clone(), value.clone()), closing.epoch, diff));
            });
            if ranked.is_empty() {
                windows.remove(span);
            }
        }
        windows.retire(closing.now, |span, ranked| {
            if finals_consumed.get() {
                let row = |(rank, (key, value)): (u64, &(K, V))| (span, rank, key.clone(), value.clone());
                emitted.notes.extend(ranked.ranks().map(|ranks| (row(ranks), closing.epoch, 1)));
            }
        });
        None
    }

    fn held(&self) -> usize {
        self.windows.open.len()
    }

    fn restore(&mut self, _: &mut Vec<((), ())>, _: &mut Emitted<(Span, u64, K, V), (Span, u64, K, V)>) {}
}

impl<'scope, K: ExchangeData + Hash, V: ExchangeData> Windowed<'scope, (Span, K, V)> {
    /// The first `k` rows of each window by value descending, then key ascending, as `(window, rank, key, value)` with
    /// ranks from 1. A row of multiplicity m takes m ranks.
    ///
    /// Each worker orders the rows whose keys it owns, and hands its own first `k` of each window to the one worker that
    /// merges that window. The ranks change as the rows do, also by late records; they are final when the rows are, and are
    /// never retracted after. State: the rows of the open windows once more, in order; it is freed with them, and it is
    /// not durable, because it follows from that of the windows' door.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::prelude::*;
    /// let build = Build::new("first", |flow| {
    ///     let minutes = Window::tumbling(Duration::from_secs(60))?;
    ///     let seconds = |line: &[u8]| std::str::from_utf8(line.split(|byte| *byte == b' ').next()?).ok()?.parse().ok();
    ///     let lines = flow.records(Text).event_time(move |line| seconds(line.line()).map(|seconds: i64| 1000 * seconds));
    ///     let keys = lines.by(text("key"), |line| line.rsplit(|byte| *byte == b' ').next());
    ///     keys.by_window(minutes).count("minutes").top(1).show("first");
    ///     Ok(())
    /// });
    /// let answer = thalweg::testing::run(build, b"1 a\n2 b\n3 b\n61 a\n");
    /// assert!(answer.view("first")[0].ends_with("\t1\tb\t2"));
    /// assert!(answer.view("first")[1].ends_with("\t1\ta\t1"));
    /// ```
    pub fn top(self, k: usize) -> Windowed<'scope, (Span, u64, K, V)> {
        let event_times = self.site().event_times.clone();
        let names = self.names_within_windows(&["rank"]);
        let local = LocalTop { k, windows: OpenWindows::new() };
        let by_key = Routes { datum: |(_, key, _): &(Span, K, V)| route(key), key: route };
        let name = "TopK by window: local";
        let durable = Opened::transient();
        let (local, _) = operate(name, self.rows(), by_key, event_times.clone(), local, durable, vec![]);
        let consumed = Consumed::default();
        let finals_consumed = consumed.clone();
        let merged = MergedTop { k, windows: OpenWindows::new(), finals_consumed };
        let by_window = Routes { datum: |(span, _, _): &(Span, K, V)| route(span), key: route };
        let name = "TopK by window: merge";
        let durable = Opened::transient();
        let (rows, finals) = operate(name, local, by_window, event_times, merged, durable, vec![]);
        self.behind(rows, finals, consumed, names)
    }
}
