//! The sliding view: what the last complete window holds.
//!
//! Notation: the window ends at `end`, is `length` long and moves by `slide`; the watermark is `W`. Sums wait in their panes.
//!
//! - When `W` reaches `end + slide`, the window moves there: the panes that it now covers *enter* (their sums are added to
//!   their keys'), those that it leaves behind *leave* (are subtracted, or dropped from a merge). An epoch may bring `W`
//!   past many ends; each of them is a step of its own, and its number is counted from the first end of the epoch, which
//!   all workers agree on.
//! - What arrives for a pane that the window covers enters at once, at step 0: a late record corrects the window.
//! - What arrives for a pane further on waits there.
//!
//! So a record costs one entering and one leaving whatever the length of the window. Besides, each window that holds anything is
//! told, whether or not it differs from the one before; a stretch without records costs nothing.
//!
//! Why the sequence of windows does not depend on the epochs: a record that is within the lateness is not before `W` as
//! its epoch begins, so it is never for a pane that the window covers, and a window is shown when `W` has reached its end,
//! by when every record in it that is within the lateness has arrived, in this epoch or an earlier one.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::ExchangeData;
use foldhash::fast::FixedState;

use crate::data::{Overflow, Stored, Total};
use crate::door::last::ranking::Ranking;
use crate::door::last::slots::Slots;
use crate::door::last::two_stacks::TwoStacks;
use crate::door::machine::{Closing, Emitted, Machine};
use crate::door::window::Consumed;
use crate::state::Keeper;
use crate::time::Epoch;
use crate::time::Time;
use crate::time::Window;
use crate::time::{EventTime, Millis, Watermark};

/// What a window holds of one key.
pub(crate) trait Content<A>: Default + 'static {
    /// The window now covers a pane that has `sum`.
    fn enter(&mut self, pane: Millis, sum: &A) -> Result<(), Overflow>;
    /// The window no longer covers a pane that had `sum`.
    fn leave(&mut self, pane: Millis, sum: &A) -> Result<(), Overflow>;
    /// Of all panes that it covers.
    fn total(&self) -> Result<A, Overflow>;
}

/// Sums that can be undone.
#[derive(Debug, Default)]
pub(crate) struct Undoable<A>(A);

impl<A: Total> Content<A> for Undoable<A> {
    fn enter(&mut self, _: Millis, sum: &A) -> Result<(), Overflow> {
        self.0.try_add(sum)
    }

    fn leave(&mut self, _: Millis, sum: &A) -> Result<(), Overflow> {
        let mut negated = sum.clone();
        negated.invert();
        self.0.try_add(&negated)
    }

    fn total(&self) -> Result<A, Overflow> {
        Ok(self.0.clone())
    }
}

impl<A: Total> Content<A> for TwoStacks<A> {
    fn enter(&mut self, pane: Millis, sum: &A) -> Result<(), Overflow> {
        self.add(pane, sum)
    }

    fn leave(&mut self, pane: Millis, _: &A) -> Result<(), Overflow> {
        self.expire(pane + 1)
    }

    fn total(&self) -> Result<A, Overflow> {
        TwoStacks::total(self)
    }
}

/// What those behind a sliding view want to know of it; known when the dataflow has been built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Every row.
    pub(crate) rows: Consumed,
    /// Each window, and not only the last one of each epoch.
    pub(crate) each: Consumed,
    /// The first so many.
    pub(crate) first: Rc<Cell<Option<usize>>>,
}

/// What a sliding view says beside its rows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Note<K, A> {
    /// Where a window ends that holds something or that something is gone from, and whether that is
    /// durable: the end of the input brings windows that are not.
    End(Millis, bool),
    /// A row that is among the first of this worker.
    First(K, A),
}

/// One worker's keys in the sliding view.
#[derive(Debug)]
pub(crate) struct Sliding<K, A, C> {
    window: Window,
    wanted: Wanted,
    /// The first rows, if someone wants them.
    ranking: Option<Ranking<K, A>>,
    /// Where the shown window ends, once there is one.
    end: Option<Millis>,
    /// While an epoch is worked on: where its first window ended, and where its last one will.
    moving: Option<(Millis, Millis)>,
    /// The sums of each pane by slot; those before `end` have entered.
    panes: BTreeMap<Millis, Pane<A>>,
    slots: Slots<K, A, C>,
}

/// What one pane holds, by slot; a slot may occur more than once.
#[derive(Debug)]
struct Pane<A> {
    sums: Vec<(u32, A)>,
    /// How many sums there were when every slot last occurred once.
    tidy: usize,
    /// Where the sum of each slot is, where a keep has to be told what it has come to; then each
    /// slot occurs once.
    places: HashMap<u32, u32, FixedState>,
}

impl<A> Default for Pane<A> {
    fn default() -> Self {
        Pane { sums: Vec::new(), tidy: 0, places: HashMap::default() }
    }
}

impl<K, A, C> Sliding<K, A, C>
where
    K: ExchangeData + Hash + Stored,
    A: Total + Stored,
    C: Content<A>,
{
    pub(crate) fn new(name: &str, window: Window, wanted: Wanted) -> Self {
        let slots = Slots::new(name);
        Sliding { window, wanted, ranking: None, end: None, moving: None, panes: BTreeMap::new(), slots }
    }

    /// Where the window stands at `event_time`.
    fn target(&self, event_time: EventTime) -> Option<Millis> {
        match event_time.watermark {
            Watermark::END if event_time.newest >= event_time.oldest => {
                Some(self.window.first_end(event_time.newest + 1))
            }
            watermark => watermark.millis().map(|time| self.window.last_end(time)),
        }
    }

    fn put(&mut self, pane: Millis, key: K, sum: A, keeper: &Keeper<(Time, K), A>) {
        let slot = self.slots.refer(key);
        if self.end.is_some_and(|end| pane < end) {
            self.slots.enter(slot, pane, &sum);
        }
        let entry = self.panes.entry(pane).or_default();
        if keeper.is_on() {
            let place = *entry.places.entry(slot).or_insert(entry.sums.len() as u32) as usize;
            if let Some((_, total)) = entry.sums.get_mut(place) {
                let result = total.try_add(&sum);
                self.slots.check(slot, result);
                self.slots.release(slot);
            } else {
                entry.sums.push((slot, sum));
            }
            keeper.put((&Time(pane), self.slots.key(slot)), &entry.sums[place].1);
            return;
        }
        entry.sums.push((slot, sum));
        if entry.sums.len() >= 2 * entry.tidy + 1024 {
            let slots = &mut self.slots;
            entry.sums.sort_unstable_by_key(|(slot, _)| *slot);
            entry.sums.dedup_by(|(other, more), (slot, sum)| {
                let same = other == slot;
                if same {
                    slots.check(*slot, sum.try_add(more));
                    slots.release(*slot);
                }
                same
            });
            entry.tidy = entry.sums.len();
        }
    }

    /// The end of the next window after the one that ends at `end` that holds anything, or that this one's is gone from.
    fn next_end(&self, end: Millis) -> Option<Millis> {
        let (first, _) = self.panes.first_key_value()?;
        if *first < end {
            return Some(end + self.window.slide());
        }
        Some(self.window.first_end(*first + self.window.pane()).max(end + self.window.slide()))
    }

    /// The end of the last window up to `last` that holds anything, or that the one before is gone from, if the window moves
    /// there at all from `first`: where going from one [`next_end`](Self::next_end) to the next would come to.
    fn last_end(&self, first: Millis, last: Millis) -> Option<Millis> {
        let (newest, _) = self.panes.range(..last).next_back()?;
        let empty = self.window.last_end(newest + self.window.length()) + self.window.slide();
        Some(empty.min(last)).filter(|end| *end > self.end.unwrap_or(first))
    }

    /// Emits what has changed, at `time`; returns whether anything had.
    fn settle(&mut self, time: Epoch, emitted: &mut Emitted<(K, A), Note<K, A>>) -> bool {
        let rows = self.wanted.rows.get().then_some(&mut emitted.rows);
        let changed = self.slots.settle(time, rows, self.ranking.as_mut());
        if let Some(ranking) = &mut self.ranking {
            ranking.changes(&mut self.slots, |key, total, diff| {
                emitted.notes.push((Note::First(key.clone(), total.clone()), time, diff));
            });
        }
        changed
    }

    /// The window stands at `end`, if anywhere, and covers the panes that were restored.
    fn enter_restored(&mut self, end: Option<Millis>) {
        let Some(end) = end else { return };
        let start = end - self.window.length();
        // Left behind while the end of the input was no change of the state.
        while let Some(first) = self.panes.first_entry().filter(|first| *first.key() < start) {
            for (slot, _) in first.remove().sums {
                self.slots.touch(slot);
                self.slots.release(slot);
            }
        }
        for (pane, Pane { sums, .. }) in self.panes.range(start..end) {
            sums.iter().for_each(|(slot, sum)| self.slots.enter(*slot, *pane, sum));
        }
        self.end = Some(end);
    }

    /// Gives memory back after many keys have gone: those that are left move together, and all that refers to them is told.
    fn give_back(&mut self) {
        let Some(moved) = self.slots.give_back() else { return };
        for Pane { sums, places, .. } in self.panes.values_mut() {
            sums.iter_mut().for_each(|(slot, _)| *slot = moved[*slot as usize]);
            *places = places.drain().map(|(slot, place)| (moved[slot as usize], place)).collect();
        }
        if let Some(ranking) = &mut self.ranking {
            ranking.renumber(&moved);
        }
    }

    /// The window moves on to `end`.
    fn slide_to(&mut self, end: Millis) {
        let before = self.end.unwrap_or(end - self.window.slide());
        for (pane, Pane { sums, .. }) in self.panes.range(before..end) {
            for (slot, sum) in sums {
                self.slots.enter(*slot, *pane, sum);
            }
        }
        let start = end - self.window.length();
        while let Some(first) = self.panes.first_entry().filter(|first| *first.key() < start) {
            let (pane, Pane { sums, .. }) = first.remove_entry();
            for (slot, sum) in sums {
                self.slots.leave(slot, pane, &sum);
            }
        }
        self.end = Some(end);
    }
}

impl<K, A, C> Machine for Sliding<K, A, C>
where
    K: ExchangeData + Hash + Stored,
    A: Total + Stored,
    C: Content<A>,
{
    type Datum = (Millis, K);
    type Diff = A;
    type Row = (K, A);
    type Note = Note<K, A>;
    /// By the start of the pane.
    type Key = (Time, K);
    type Value = A;

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<((Millis, K), A)>,
        emitted: &mut Emitted<(K, A), Note<K, A>>,
        keeper: &Keeper<(Time, K), A>,
    ) -> Option<Epoch> {
        if self.ranking.is_none() {
            self.ranking = self.wanted.first.get().map(Ranking::new);
        }
        let (first, last) = match self.moving {
            Some(moving) => moving,
            None => {
                if closing.restoring {
                    self.enter_restored(self.target(closing.now));
                }
                for ((pane, key), sum) in updates.drain(..) {
                    self.put(pane, key, sum, keeper);
                }
                let changed = self.settle(closing.epoch, emitted);
                // What comes back is no change: the door remembers when there was one.
                if let Some(end) = self.end.filter(|_| changed && !closing.restoring) {
                    emitted.notes.push((Note::End(end, true), closing.epoch, 1));
                }
                let last = self.target(closing.now)?;
                // Before the first record, every window is empty.
                let first = self.end.unwrap_or_else(|| last.min(self.window.last_end(closing.now.oldest)));
                self.end = Some(first);
                (first, last.max(first))
            }
        };
        // Ends are numbered from the epoch's first; should there be more than numbers, the oldest share one.
        let slide = self.window.slide();
        let slides = (last - first) / slide;
        let surplus = (slides - i64::from(Epoch::MAX_STEP)).max(0);
        let step = |end: Millis| {
            let number = ((end - first) / slide - surplus).max(1);
            closing.epoch.at_step(number as u32)
        };
        if !self.wanted.each.get()
            && let Some(end) = self.last_end(first, last)
        {
            self.slide_to(end);
            self.settle(step(end), emitted);
            emitted.notes.push((Note::End(end, !closing.is_end()), step(end), 1));
        }
        while let Some(end) = self.next_end(self.end.unwrap_or(first)).filter(|end| *end <= last) {
            if emitted.is_much() {
                self.moving = Some((first, last));
                return Some(step(end));
            }
            self.slide_to(end);
            self.settle(step(end), emitted);
            emitted.notes.push((Note::End(end, !closing.is_end()), step(end), 1));
        }
        self.moving = None;
        self.end = Some(last);
        self.give_back();
        if keeper.is_on() && !closing.is_end() && last > first {
            keeper.forget_before(last - self.window.length());
        }
        None
    }

    /// Puts the sums into their panes; they enter the window when it is known where that stands.
    fn held(&self) -> usize {
        self.slots.len()
    }

    fn restore(&mut self, rows: &mut Vec<((Time, K), A)>, _: &mut Emitted<(K, A), Note<K, A>>) {
        for ((Time(pane), key), sum) in rows.drain(..) {
            let slot = self.slots.refer(key);
            let entry = self.panes.entry(pane).or_default();
            entry.places.insert(slot, entry.sums.len() as u32);
            entry.sums.push((slot, sum));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::data::Stats;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};

    impl<K, A, C> Scan for Sliding<K, A, C>
    where
        K: ExchangeData + Hash + Stored,
        A: Total + Stored,
        C: Content<A>,
    {
        fn scan(&self) -> Vec<((Time, K), A)> {
            let sums =
                self.panes.iter().flat_map(|(pane, sums)| sums.sums.iter().map(move |sum| (*pane, sum)));
            sums.map(|(pane, (slot, sum))| ((Time(pane), self.slots.key(*slot).clone()), sum.clone()))
                .collect()
        }
    }

    /// Holds it for sums of which a record adds what `sum` makes of its value.
    fn changes_are_the_panes<A: Total + Stored, C: Content<A>>(
        epochs: Vec<(Millis, Vec<(Millis, u8, i64)>)>,
        stop: usize,
        sum: impl Fn(i64) -> A,
    ) {
        let window =
            Window::new(Duration::from_millis(30), Duration::from_millis(20)).expect("they go together");
        let mut shown = Millis::MIN;
        let times = epochs.iter().flat_map(|(_, records)| records).map(|(time, _, _)| *time);
        let span = times.fold((0, 0), |(oldest, newest), time| (time.min(oldest), time.max(newest)));
        let epochs = epochs.into_iter().map(|(watermark, records)| {
            // What the window has left behind is refused by the door.
            let records = records.into_iter().filter(|record| window.pane_of(record.0) >= shown);
            let mut updates = BTreeMap::<_, A>::new();
            for (time, key, value) in records {
                let total = updates.entry((window.pane_of(time), key)).or_default();
                total.try_add(&sum(value)).expect("small numbers");
            }
            shown = window.last_end(watermark) - window.length();
            (Watermark::at(watermark), updates.into_iter().collect())
        });
        let make = || Sliding::<u8, A, C>::new("view", window, all());
        changes_are_the_table(make, epochs.collect(), span, stop);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn changes_are_the_panes_of_sums(epochs in epochs(), stop in 0..8usize) {
            changes_are_the_panes::<i64, Undoable<i64>>(epochs, stop, |value| value);
        }

        #[test]
        fn changes_are_the_panes_of_merges(epochs in epochs(), stop in 0..8usize) {
            let sum = |value| [i128::from(value)].into_iter().collect();
            changes_are_the_panes::<Stats, TwoStacks<Stats>>(epochs, stop, sum);
        }
    }

    proptest! {
        /// Whoever looks at the last window only sees what they see who look at each, at the same place.
        #[test]
        fn to_run_through_the_windows_is_to_come_to_the_last(epochs in epochs(), apart in prop_oneof![Just(1), Just(1000)]) {
            let apart = |(watermark, records): &(Millis, Vec<(Millis, u8, i64)>)| {
                let records = records.iter().map(|(time, key, value)| (time * apart, *key, *value));
                (watermark * apart, records.collect())
            };
            let epochs: Vec<_> = epochs.iter().map(apart).collect();
            prop_assert_eq!(standing(&epochs, false), standing(&epochs, true));
        }
    }

    const HOUR: Millis = 3_600_000;

    fn all() -> Wanted {
        let wanted = Wanted::default();
        wanted.rows.set();
        wanted.each.set();
        wanted.first.set(Some(3));
        wanted
    }

    /// After each epoch: the rows of the window, how often each is there, and where the window ends.
    type Standing = (BTreeMap<(u8, i64), isize>, Option<Millis>);

    /// Where a view comes to that shows each window, or only the last one of each epoch.
    fn standing(epochs: &[(Millis, Vec<(Millis, u8, i64)>)], each: bool) -> Vec<Standing> {
        let window =
            Window::new(Duration::from_millis(30), Duration::from_millis(20)).expect("they go together");
        let wanted = Wanted::default();
        wanted.rows.set();
        if each {
            wanted.each.set();
        }
        let mut view = Sliding::<u8, i64, Undoable<i64>>::new("view", window, wanted);
        let (mut before, mut rows, mut end) = (EventTime::NONE, BTreeMap::new(), None);
        let mut all = Vec::new();
        for (number, (watermark, records)) in (0..).zip(epochs) {
            let shown =
                before.watermark.millis().map_or(Millis::MIN, |time| window.last_end(time) - window.length());
            let times = records.iter().map(|(time, ..)| *time).filter(|time| window.pane_of(*time) >= shown);
            let (oldest, newest) =
                times.fold((before.oldest, before.newest), |(a, b), time| (a.min(time), b.max(time)));
            let now = EventTime { watermark: Watermark::at(*watermark), oldest, newest };
            let in_time = records.iter().filter(|(time, ..)| window.pane_of(*time) >= shown);
            let mut updates: Vec<_> =
                in_time.map(|(time, key, value)| ((window.pane_of(*time), *key), *value)).collect();
            let closing = Closing { epoch: Epoch::new(number), before, now, restoring: false };
            let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
            while view.close(&closing, &mut updates, &mut emitted, &Keeper::off()).is_some() {}
            for (row, _, diff) in emitted.rows {
                let count = rows.entry(row).or_insert(0);
                *count += diff;
                if *count == 0 {
                    rows.remove(&row);
                }
            }
            for (note, _, _) in emitted.notes {
                if let Note::End(at, _) = note {
                    end = end.max(Some(at));
                }
            }
            all.push((rows.clone(), end));
            before = now;
        }
        all
    }

    fn closing(number: u64, oldest: Millis, newest: Millis) -> Closing {
        let now = EventTime { watermark: Watermark::at(newest), oldest, newest };
        Closing { epoch: Epoch::new(number), before: EventTime::NONE, now, restoring: false }
    }

    /// Ten million records, by pane, in a week in which the keys change every hour: what is kept is the window, and so is
    /// what there is room for.
    fn week<A: Total + Stored, C: Content<A>>(sum: &A, records: i64) {
        let window =
            Window::new(Duration::from_secs(600), Duration::from_secs(60)).expect("they go together");
        let mut view = Sliding::<u64, A, C>::new("week", window, all());
        let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
        let (keys, panes) = (20, HOUR / window.pane());
        let mut fed = 0;
        for hour in 0..7 * 24 {
            let pane = |pane: i64| hour * HOUR + pane * window.pane();
            let key = |key: i64| (hour * keys + key) as u64;
            let mut updates: Vec<_> =
                (0..panes * keys).map(|at| ((pane(at / keys), key(at % keys)), sum.clone())).collect();
            fed += records * updates.len() as i64;
            let closing = closing(hour as u64, 0, (hour + 1) * HOUR);
            while view.close(&closing, &mut updates, &mut emitted, &Keeper::off()).is_some() {
                emitted.rows.clear();
            }
            // A row comes and goes in as many steps as the window has panes.
            assert!(emitted.rows.len() as i64 <= 2 * keys * (panes + 10));
            (emitted.rows, emitted.notes) = (Vec::new(), Vec::new());
            assert_eq!(view.scan().len() as i64, 10 * keys, "after hour {hour}");
            let slots = view.slots.slots.len() as i64;
            assert!(slots <= 2 * keys, "{slots} slots after hour {hour}");
        }
        assert!(fed >= 10_000_000, "{fed} records");
    }

    #[test]
    fn what_is_kept_is_the_window() {
        week::<isize, Undoable<isize>>(&50, 50);
        week::<Stats, TwoStacks<Stats>>(&(0..50).collect(), 50);
    }

    /// Many keys come and go, and a few stay: these have little room, and their totals and ranks are what they are.
    #[test]
    fn room_is_given_back_and_nothing_is_mistaken() {
        let window = Window::new(Duration::from_secs(3), Duration::from_secs(1)).expect("they go together");
        let mut view = Sliding::<u64, i64, Undoable<i64>>::new("view", window, all());
        let (mut rows, mut first) = (BTreeMap::new(), BTreeMap::new());
        let mut before = EventTime::NONE;
        for second in 0..20i64 {
            let many = if second == 2 { 0..5000 } else { 4000..4010 };
            let mut updates =
                many.rev().map(|key| ((1000 * second, key), (key % 7) as i64 + second)).collect();
            let now =
                EventTime { watermark: Watermark::at(1000 * (second + 1)), oldest: 0, newest: 1000 * second };
            let closing = Closing { epoch: Epoch::new(second as u64), before, now, restoring: false };
            let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
            while view.close(&closing, &mut updates, &mut emitted, &Keeper::off()).is_some() {}
            for (row, _, diff) in emitted.rows {
                *rows.entry(row).or_insert(0) += diff;
            }
            for (note, _, diff) in emitted.notes {
                if let Note::First(key, total) = note {
                    *first.entry((key, total)).or_insert(0) += diff;
                }
            }
            before = now;
        }
        rows.retain(|_, count| *count != 0);
        first.retain(|_, count| *count != 0);
        let expected: Vec<_> = (4000..4010).map(|key| (key, 3 * (key % 7) as i64 + 17 + 18 + 19)).collect();
        assert!(rows.into_iter().eq(expected.iter().map(|row| (*row, 1))));
        let mut ranked = expected;
        ranked.sort_by_key(|(key, total)| (std::cmp::Reverse(*total), *key));
        ranked.truncate(3);
        ranked.sort_unstable();
        assert!(first.into_iter().eq(ranked.into_iter().map(|row| (row, 1))));
        assert!(view.slots.slots.capacity() < 64, "{}", view.slots.slots.capacity());
    }

    /// More slides in an epoch than it has steps: the oldest share one, the newest have their own, and nothing is gone
    /// through slide by slide.
    #[test]
    fn more_slides_than_steps() {
        let window = Window::tumbling(Duration::from_secs(1)).expect("a second is a window");
        let mut view = Sliding::<u8, isize, Undoable<isize>>::new("years", window, all());
        let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
        let year = 365 * 86_400_000;
        let mut updates =
            vec![((0, b'a'), 1), ((year, b'b'), 1), ((60 * year, b'c'), 1), ((60 * year + 1000, b'd'), 1)];
        let end = 60 * year + 2000;
        assert_eq!(view.close(&closing(7, 0, end), &mut updates, &mut emitted, &Keeper::off()), None);
        let row = |((key, _), time, diff): &((u8, _), Epoch, isize)| (time.step(), *key, *diff);
        let mut steps: Vec<_> = emitted.rows.iter().map(row).collect();
        steps.sort_unstable();
        let last = Epoch::MAX_STEP;
        let share = [(1, b'a', -1), (1, b'a', 1), (1, b'b', -1), (1, b'b', 1)];
        assert_eq!(steps[..4], share);
        assert_eq!(steps[4..], [(last - 1, b'c', 1), (last, b'c', -1), (last, b'd', 1)]);
    }
}
