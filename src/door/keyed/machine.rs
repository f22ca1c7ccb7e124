//! Keyed state, what is known of one worker's keys: an arbitrary function of a key's state and its new values.
//!
//! The values of an epoch are put in the order in which they arrived, and each key with values is updated once an epoch; so
//! what the function sees is the same at any number of workers.
//!
//! # Timeouts
//!
//! A key is idle when nothing has come of it for as long as its timeout, by the dataflow's time and never by a clock. With
//! *last* for the greatest time of its values since it last timed out, and *T* for the timeout, the key times out
//!
//! 1. before a value whose time is at or after `last + T`, and
//! 2. when the watermark at the end of an epoch reaches `last + T`.
//!
//! The sequence of values and timeouts of a key is the same for every cut into epochs of a partition whose values are in
//! time. Take two cuts, and suppose that one of them times the key out by rule 2 behind some value. All that comes after
//! this is in time, so not before the watermark, so not before `last + T`: if another value of the key comes, rule 1 times
//! the key out before it in the other cut, where rule 2 has not already; if none comes, the watermark in the end is the
//! same in both, and rule 2 does. Rule 1 itself looks at nothing but the order of arrival. So only how the values are
//! grouped into calls depends on the cut, and a function that folds over them gives the same states. A key whose state is
//! removed by the function is remembered until it times out, without a call, because its *last* must not depend on where
//! the call with the removal ended.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::{IsZero, Semigroup};
use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};

use crate::data::{Overflow, Stored, Time, Total};
use crate::door::deadlines::Deadlines;
use crate::door::machine::{Closing, Emitted, Machine};
use crate::door::reader::Arrival;
use crate::state::Keeper;
use crate::time::Epoch;
use crate::time::Gap;
use crate::time::{EventTime, Millis, Watermark};

/// Why a key's state is to be updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a, V> {
    /// It has new values, in the order in which they arrived. There is at least one.
    Values(&'a [V]),
    /// It had none for as long as its timeout.
    TimedOut,
}

/// One value; they are ordered as they arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Value<V> {
    arrival: Arrival,
    time: Millis,
    value: V,
}

/// What a machine hears of a key: the values of one worker and epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct News<V> {
    values: Vec<Value<V>>,
}

impl<V> Default for News<V> {
    fn default() -> Self {
        News { values: Vec::new() }
    }
}

impl<V> News<V> {
    /// Takes in a value that arrived at `arrival` and is of `time`.
    #[inline]
    pub(crate) fn push(&mut self, arrival: Arrival, time: Millis, value: V) {
        self.values.push(Value { arrival, time, value });
    }

    fn append(&mut self, mut other: Self) {
        self.values.append(&mut other.values);
    }
}

impl<V: ExchangeData> Total for News<V> {
    fn try_add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.plus_equals(other);
        Ok(())
    }
}

impl<V: ExchangeData> Semigroup for News<V> {
    fn plus_equals(&mut self, other: &Self) {
        self.append(other.clone());
        self.values.sort_unstable();
    }
}

impl<V> IsZero for News<V> {
    fn is_zero(&self) -> bool {
        self.values.is_empty()
    }
}

/// What is known of one key.
#[derive(Debug)]
struct Slot<S> {
    /// `None` if it was removed, and while the key is worked on.
    state: Option<S>,
    /// The greatest time of a value since the key last timed out.
    last: Millis,
    /// Whether the key has an entry in the queue: always, once it has been worked on, if keys time out.
    queued: bool,
}

/// One worker's keys.
#[derive(Debug)]
pub(crate) struct States<K, V, S, U> {
    timeout: Option<Gap>,
    update: U,
    keys: HashMap<K, Slot<S>, RandomState>,
    deadlines: Deadlines<K>,
    /// The values of one call; empty between calls.
    buffer: Vec<V>,
}

impl<K, V, S, U> States<K, V, S, U>
where
    K: ExchangeData + Hash + Stored,
    V: ExchangeData,
    S: ExchangeData + Stored,
    U: Fn(&K, Seen<'_, V>, Option<S>) -> Option<S>,
{
    pub(crate) fn new(timeout: Option<Gap>, update: U) -> Self {
        let keys = HashMap::with_hasher(RandomState::default());
        States { timeout, update, keys, deadlines: Deadlines::new(), buffer: Vec::new() }
    }

    /// Takes in what an epoch has of `key`.
    fn take_in(
        &mut self,
        key: K,
        news: News<V>,
        epoch: Epoch,
        emitted: &mut Emitted<(K, S), (K, S)>,
        keeper: &Keeper<K, (Option<S>, Time)>,
    ) {
        let States { timeout, update, keys, deadlines, buffer } = self;
        let mut entry = match keys.entry(key) {
            Entry::Occupied(entry) => entry,
            Entry::Vacant(entry) => {
                entry.insert_entry(Slot { state: None, last: Millis::MIN, queued: false })
            }
        };
        let before = entry.get().state.clone();
        let mut state = entry.get_mut().state.take();
        let mut last = entry.get().last;

        let mut values = news.values;
        values.sort_unstable_by_key(|value| value.arrival);
        let mut values = values.into_iter().peekable();
        while let Some(Value { time, value, .. }) = values.next() {
            // A new key has a last time before all times.
            if timeout.is_some_and(|timeout| time >= last + timeout.millis()) {
                let key = entry.key();
                let ended = state.take().and_then(|state| update(key, Seen::TimedOut, Some(state)));
                emitted.notes.extend(ended.map(|state| ((key.clone(), state), epoch, 1)));
                last = time;
            }
            last = last.max(time);
            buffer.push(value);
            // A call has all values up to the next timeout.
            while let Some(Value { time, value, .. }) =
                values.next_if(|next| timeout.is_none_or(|timeout| next.time < last + timeout.millis()))
            {
                last = last.max(time);
                buffer.push(value);
            }
            state = update(entry.key(), Seen::Values(buffer), state.take());
            buffer.clear();
        }

        let changed = state != before;
        if changed {
            let row = |state: S, diff| ((entry.key().clone(), state), epoch, diff);
            emitted.rows.extend(before.map(|state| row(state, -1)));
            emitted.rows.extend(state.clone().map(|state| row(state, 1)));
        }
        if timeout.is_none() && state.is_none() {
            keeper.take(entry.key());
        } else if changed || last != entry.get().last {
            keeper.put(entry.key(), (&state, &Time(last)));
        }
        let slot = entry.get_mut();
        slot.last = last;
        match timeout {
            Some(timeout) if !slot.queued => {
                let due = last + timeout.millis();
                (slot.state, slot.queued) = (state, true);
                deadlines.push(due, entry.key().clone());
            }
            None if state.is_none() => {
                entry.remove();
            }
            _ => slot.state = state,
        }
    }

    /// Times out the keys that have been idle for long enough as `closing` ends.
    fn time_out(
        &mut self,
        closing: &Closing,
        emitted: &mut Emitted<(K, S), (K, S)>,
        keeper: &Keeper<K, (Option<S>, Time)>,
    ) {
        let Some(timeout) = self.timeout else { return };
        let (watermark, epoch) = (time_at(closing.now), closing.epoch);
        while let Some((_, key)) = self.deadlines.pop(watermark) {
            let slot = self.keys.get(&key).expect("a key is known as long as it has an entry in the queue");
            let due = slot.last + timeout.millis();
            if !watermark.reaches(due) {
                self.deadlines.push(due, key);
                continue;
            }
            if !closing.is_end() {
                keeper.take(&key);
            }
            let state = self.keys.remove(&key).and_then(|slot| slot.state);
            if let Some(state) = state {
                emitted.rows.push(((key.clone(), state.clone()), epoch, -1));
                let ended = (self.update)(&key, Seen::TimedOut, Some(state));
                emitted.notes.extend(ended.map(|state| ((key, state), epoch, 1)));
            }
        }
    }

    /// Gives memory back after many keys have gone.
    fn shrink(&mut self) {
        if self.keys.len() < self.keys.capacity() / 8 {
            self.keys.shrink_to(2 * self.keys.len());
        }
    }
}

/// How far time has come at `event_time`. The end of the input is no time; then it is that of the newest record.
fn time_at(event_time: EventTime) -> Watermark {
    match event_time.watermark {
        Watermark::END => Watermark::at(event_time.newest),
        watermark => watermark,
    }
}

impl<K, V, S, U> Machine for States<K, V, S, U>
where
    K: ExchangeData + Hash + Stored,
    V: ExchangeData,
    S: ExchangeData + Stored,
    U: Fn(&K, Seen<'_, V>, Option<S>) -> Option<S> + 'static,
{
    type Datum = K;
    type Diff = News<V>;
    type Row = (K, S);
    /// What was returned when a key timed out.
    type Note = (K, S);
    type Key = K;
    /// The state, if there is one, and the last time.
    type Value = (Option<S>, Time);

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<(K, News<V>)>,
        emitted: &mut Emitted<(K, S), (K, S)>,
        keeper: &Keeper<K, (Option<S>, Time)>,
    ) -> Option<Epoch> {
        updates.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
        let mut updates = updates.drain(..).peekable();
        while let Some((key, mut news)) = updates.next() {
            while let Some((_, more)) = updates.next_if(|(other, _)| *other == key) {
                news.append(more);
            }
            self.take_in(key, news, closing.epoch, emitted, keeper);
        }
        self.time_out(closing, emitted, keeper);
        self.shrink();
        None
    }

    fn restore(&mut self, rows: &mut Vec<(K, (Option<S>, Time))>, emitted: &mut Emitted<(K, S), (K, S)>) {
        for (key, (state, Time(last))) in rows.drain(..) {
            let row = state.clone().map(|state| ((key.clone(), state), Epoch::default(), 1));
            emitted.rows.extend(row);
            if let Some(timeout) = self.timeout {
                self.deadlines.push(last.saturating_add(timeout.millis()), key.clone());
            }
            self.keys.insert(key, Slot { state, last, queued: self.timeout.is_some() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};

    impl<U> Scan for States<u32, i64, i64, U>
    where
        U: Fn(&u32, Seen<'_, i64>, Option<i64>) -> Option<i64> + 'static,
    {
        fn scan(&self) -> Vec<(u32, (Option<i64>, Time))> {
            self.keys.iter().map(|(key, slot)| (*key, (slot.state, Time(slot.last)))).collect()
        }
    }

    fn news(offset: u64, time: Millis, value: i64) -> News<i64> {
        let value = Value { arrival: Arrival::at(offset), time, value };
        News { values: vec![value] }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn changes_are_the_states(epochs in epochs(), stop in 0..8usize, timeout in prop::option::of(1..30u64)) {
            let timeout = timeout.map(|timeout| Gap::new(Duration::from_millis(timeout)).expect("a gap"));
            let make = || States::new(timeout, |_: &u32, seen: Seen<'_, i64>, state: Option<i64>| match seen {
                // Removed by some values, and now and then what it was.
                Seen::Values(values) => Some(state.unwrap_or(0) + values.iter().sum::<i64>()).filter(|sum| *sum != 1),
                Seen::TimedOut => state,
            });
            let (mut before, mut arrival) = (Watermark::NONE, 0);
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                let late = |time| timeout.is_some_and(|timeout| timeout.is_over(time, before));
                let records = records.into_iter().filter(|record| !late(record.0));
                let updates = records.map(|(time, key, value)| {
                    arrival += 1;
                    (u32::from(key), news(arrival, if timeout.is_some() { time } else { 0 }, value))
                });
                let updates = updates.collect();
                before = Watermark::at(watermark);
                (before, updates)
            });
            changes_are_the_table(make, epochs.collect(), (0, 200), stop);
        }
    }

    fn close<U>(
        machine: &mut States<u32, i64, i64, U>,
        updates: Vec<(u32, News<i64>)>,
        now: Millis,
    ) -> [usize; 2]
    where
        U: Fn(&u32, Seen<'_, i64>, Option<i64>) -> Option<i64> + 'static,
    {
        let mut updates = updates;
        let event_time = EventTime { watermark: Watermark::at(now), oldest: 0, newest: now };
        let closing =
            Closing { epoch: Epoch::new(0), before: EventTime::NONE, now: event_time, restoring: false };
        let mut emitted = Emitted { rows: Vec::new(), notes: Vec::new() };
        assert_eq!(machine.close(&closing, &mut updates, &mut emitted, &Keeper::off()), None);
        [emitted.rows.len(), emitted.notes.len()]
    }

    /// Every key is idle sooner or later, and some are removed again and again: what is kept is what is not idle.
    #[test]
    fn memory_is_that_of_the_keys_that_are_not_idle() {
        let timeout = Gap::new(Duration::from_millis(10)).expect("ten milliseconds are a gap");
        let mut machine =
            States::new(Some(timeout), |_: &u32, seen: Seen<'_, i64>, state: Option<i64>| match seen {
                Seen::Values(values) => values.last().copied().filter(|value| *value != 0),
                Seen::TimedOut => state,
            });
        let mut ended = 0;
        for now in 0..20_000 {
            let fresh = (0..3).map(|n| (100 + 3 * now as u32 + n, news(u64::from(n), now, 1)));
            let flicker = (0..2).map(|n| (7, news(3 + n, now, 1 - n as i64)));
            ended += close(&mut machine, fresh.chain(flicker).collect(), now)[1];
            assert!(machine.scan().len() <= 31 && machine.deadlines.len() <= 31, "at {now}");
        }
        assert!(machine.keys.capacity() < 1024);
        ended += close(&mut machine, vec![], 30_000)[1];
        assert_eq!((ended, machine.scan().len(), machine.deadlines.len()), (60_000, 0, 0));
    }

    /// An epoch is worked off without a look at the keys that it has nothing of.
    #[test]
    fn an_epoch_looks_at_its_own_keys_only() {
        let timeout = Gap::new(Duration::from_secs(3600)).expect("an hour is a gap");
        let calls = std::rc::Rc::new(std::cell::Cell::new(0));
        let counted = std::rc::Rc::clone(&calls);
        let update = move |_: &u32, seen: Seen<'_, i64>, state: Option<i64>| {
            counted.set(counted.get() + 1);
            matches!(seen, Seen::Values(_)).then(|| state.unwrap_or(0) + 1)
        };
        let mut machine = States::new(Some(timeout), update);
        close(&mut machine, (0..100_000).map(|key| (key, news(u64::from(key), 0, 1))).collect(), 0);
        calls.set(0);
        let rows =
            close(&mut machine, (0..1000).map(|key| (97 * key, news(u64::from(key), 1, 1))).collect(), 1);
        assert_eq!((rows, calls.get()), ([2000, 0], 1000));
        assert_eq!(machine.deadlines.len(), 100_000);
    }

    proptest! {
        #[test]
        fn values_add_up_in_any_order(cut in 0..6usize, order in Just((0..6u64).collect::<Vec<_>>()).prop_shuffle()) {
            let all = |offsets: &[u64]| offsets.iter().fold(News::default(), |mut all, at| {
                all.plus_equals(&news(*at, *at as i64 % 3, 1));
                all
            });
            let (mut one, mut other) = (all(&order[..cut]), all(&order[cut..]));
            let (left, right) = (one.clone(), other.clone());
            one.plus_equals(&right);
            other.plus_equals(&left);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(one, all(&(0..6).collect::<Vec<_>>()));
        }
    }
}
