//! The window table: one row for each window and key, exact while the window is open, final when it is complete.
//!
//! Each open window has a table of its own. What arrives for a pane changes every window that the pane is in and that
//! was open as the epoch began; each changed row is retracted as it was and inserted as it is. When the watermark reaches
//! a window's end, its rows are final: they are emitted once more as such, and the table is dropped. That is no retraction: the
//! rows stay in the collection, nothing will ever change them, and nobody has to keep them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;

use differential_dataflow::ExchangeData;

use crate::data::{Stored, Total};
use crate::door::machine::{Closing, Emitted, Machine};
use crate::door::window::Consumed;
use crate::operators::KeyTotals;
use crate::state::Keeper;
use crate::time::Epoch;
use crate::time::Millis;
use crate::time::Time;
use crate::time::{Span, Window};

/// How the first part of an update says which windows it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// It is the start of a pane.
    Panes,
    /// It is the start of a window.
    Windows,
}

/// One worker's rows of the open windows.
pub(crate) struct WindowTable<K, A> {
    name: String,
    window: Window,
    updates: For,
    /// By the start of their window.
    open: BTreeMap<Millis, KeyTotals<K, A>>,
    /// Whether it must say which rows are final.
    finals_consumed: Consumed,
    /// The rows of a complete window that are still to be said to be final.
    leaving: Option<(Span, Leaving<K, A>)>,
    /// The start of the last window that is complete as the epoch ends.
    complete: Option<Millis>,
}

/// Rows that leave their table.
type Leaving<K, A> = Box<dyn Iterator<Item = (K, A)>>;

impl<K, A> WindowTable<K, A> {
    pub(crate) fn new(name: &str, window: Window, updates: For, finals_consumed: Consumed) -> Self {
        let (name, open) = (name.to_owned(), BTreeMap::new());
        WindowTable { name, window, updates, open, finals_consumed, leaving: None, complete: None }
    }
}

impl<K, A> std::fmt::Debug for WindowTable<K, A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let WindowTable { name, window, .. } = self;
        let open = self.open.len();
        f.debug_struct("WindowTable")
            .field("name", name)
            .field("window", window)
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

impl<K, A> WindowTable<K, A>
where
    K: ExchangeData + Hash,
    A: Total,
{
    /// Emits what has changed of the windows that start at `touched`, and shows each key that has
    /// with its total.
    fn settle(
        &mut self,
        touched: BTreeSet<Millis>,
        epoch: Epoch,
        rows: &mut Vec<((Span, K, A), Epoch, isize)>,
        mut changed: impl FnMut(Millis, &K, &A),
    ) {
        for start in touched {
            let span = Span::new(start, start + self.window.length());
            let table = self.open.get_mut(&start).expect("what was touched is open");
            table.settle(|key, before, now| {
                if before != *now {
                    let row = |total: A, diff| ((span, key.clone(), total), epoch, diff);
                    rows.extend((!before.is_zero()).then(|| row(before, -1)));
                    rows.extend((!now.is_zero()).then(|| row(now.clone(), 1)));
                    changed(start, key, now);
                }
            });
            if table.is_empty() {
                self.open.remove(&start);
            }
        }
    }
}

impl<K, A> Machine for WindowTable<K, A>
where
    K: ExchangeData + Hash + Stored,
    A: Total + Stored,
{
    type Datum = (Millis, K);
    type Diff = A;
    type Row = (Span, K, A);
    /// A row that is final.
    type Note = (Span, K, A);
    /// By the start of the window.
    type Key = (Time, K);
    type Value = A;

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<((Millis, K), A)>,
        emitted: &mut Emitted<(Span, K, A), (Span, K, A)>,
        keeper: &Keeper<(Time, K), A>,
    ) -> Option<Epoch> {
        let length = self.window.length();
        let mut touched = BTreeSet::new();
        for ((start, key), sum) in updates.drain(..) {
            if self.updates == For::Windows {
                touched.insert(start);
                self.open.entry(start).or_default().add(key, &sum, &self.name);
                continue;
            }
            for span in self.window.of(start).filter(|span| !closing.before.watermark.reaches(span.end)) {
                touched.insert(span.start.0);
                self.open.entry(span.start.0).or_default().add(key.clone(), &sum, &self.name);
            }
        }
        self.settle(touched, closing.epoch, &mut emitted.rows, |start, key, total| {
            if total.is_zero() {
                keeper.take((&Time(start), key));
            } else {
                keeper.put((&Time(start), key), total);
            }
        });
        loop {
            if let Some((span, rows)) = &mut self.leaving {
                for (key, total) in rows {
                    emitted.notes.push(((*span, key, total), closing.epoch, 1));
                    if emitted.is_much() {
                        return Some(closing.epoch);
                    }
                }
                self.leaving = None;
            }
            let Some(first) = self.open.first_entry() else { break };
            let span = Span::new(*first.key(), first.key() + length);
            if !closing.now.watermark.reaches(span.end) {
                break;
            }
            self.complete = Some(span.start.0);
            let table = first.remove();
            if self.finals_consumed.get() {
                self.leaving = Some((span, Box::new(table.into_rows())));
            }
        }
        if let Some(last) = self.complete.take().filter(|_| !closing.is_end()) {
            keeper.forget_before(last + 1);
        }
        None
    }

    fn held(&self) -> usize {
        self.open.values().map(KeyTotals::len).sum()
    }

    fn restore(&mut self, rows: &mut Vec<((Time, K), A)>, emitted: &mut Emitted<(Span, K, A), (Span, K, A)>) {
        let mut touched = BTreeSet::new();
        for ((Time(start), key), total) in rows.drain(..) {
            touched.insert(start);
            self.open.entry(start).or_default().add(key, &total, &self.name);
        }
        self.settle(touched, Epoch::default(), &mut emitted.rows, |_, _, _| {});
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};
    use crate::time::{EventTime, Watermark};

    impl Scan for WindowTable<u8, i64> {
        fn scan(&self) -> Vec<((Time, u8), i64)> {
            let rows = self.open.iter().flat_map(|(start, table)| table.rows().map(move |row| (*start, row)));
            rows.map(|(start, (key, total))| ((Time(start), *key), *total)).collect()
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn changes_are_the_open_windows(epochs in epochs(), stop in 0..8usize, length in 2..4u64) {
            let window = Window::new(Duration::from_millis(10 * length), Duration::from_millis(20));
            let window = window.expect("they go together");
            let consumed = || {
                let consumed = Consumed::default();
                consumed.set();
                consumed
            };
            let make = || WindowTable::new("table", window, For::Panes, consumed());
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                let update = |(time, key, value)| ((window.pane_of(time), key), value);
                (Watermark::at(watermark), records.into_iter().map(update).collect())
            });
            changes_are_the_table(make, epochs.collect(), (0, 200), stop);
        }
    }

    /// Each epoch brings a record for each of three keys and a second more: once it is complete, a window is said to be
    /// final, once, and is kept no longer.
    #[test]
    fn a_window_is_final_once_and_then_forgotten() {
        let window = Window::new(Duration::from_secs(30), Duration::from_secs(20)).expect("they go together");
        let consumed = Consumed::default();
        consumed.set();
        let mut table = WindowTable::<u8, i64>::new("table", window, For::Panes, consumed);
        let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
        let mut before = EventTime::NONE;
        let mut finals = BTreeMap::new();
        let mut rows: BTreeMap<(Span, u8, i64), isize> = BTreeMap::new();
        let seconds = 1000;
        for second in 0..=seconds {
            let watermark = if second == seconds { Watermark::END } else { Watermark::at(1000 * second) };
            let now = EventTime { watermark, oldest: 0, newest: 1000 * second };
            let closing = Closing { epoch: Epoch::new(second as u64), before, now, restoring: false };
            let news = if second == seconds { 0..0 } else { b'a'..b'd' };
            let mut updates = news.map(|key| ((window.pane_of(1000 * second), key), 1)).collect();
            assert_eq!(table.close(&closing, &mut updates, &mut emitted, &Keeper::off()), None);
            assert!(updates.is_empty());
            for (row, time, diff) in emitted.rows.drain(..) {
                assert_eq!(time, closing.epoch);
                *rows.entry(row).or_default() += diff;
            }
            for ((span, key, count), _, diff) in emitted.notes.drain(..) {
                assert!(watermark.reaches(span.end) && !before.watermark.reaches(span.end));
                assert_eq!((finals.insert((span, key), count), diff), (None, 1));
            }
            // At most two windows are open, and as many more as have begun in this epoch.
            assert!(table.scan().len() <= 3 * 2, "{:?} after {second}", table.scan());
            before = now;
        }
        assert_eq!(table.scan(), []);
        rows.retain(|_, count| *count != 0);
        let finals: BTreeMap<_, _> =
            finals.into_iter().map(|((span, key), count)| ((span, key, count), 1)).collect();
        assert_eq!(rows, finals);
        // Each record in all windows that hold it.
        let held: usize = (0..seconds).map(|second| window.of(1000 * second).count()).sum();
        assert_eq!(finals.keys().map(|(_, _, count)| *count).sum::<i64>(), 3 * held as i64);
    }
}
