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
use std::hash::Hash;

use differential_dataflow::ExchangeData;
use differential_dataflow::difference::{IsZero, Semigroup};
use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};

use crate::data::{Overflow, Stored, Total};
use crate::door::deadlines::Deadlines;
use crate::door::machine::{Closing, Emitted, Machine, give_back};
use crate::door::reader::Arrival;
use crate::door::window::Consumed;
use crate::state::Keeper;
use crate::time::Epoch;
use crate::time::Gap;
use crate::time::Time;
use crate::time::{EventTime, Millis, Watermark};

/// Why a key's state is to be updated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen<'a, V> {
    /// It has new values, in the order in which they arrived. There is at least one.
    Values(&'a [V]),
    /// Its time is up: it had no value for as long as its timeout, or the deadline has come that it was kept until. This is
    /// when that was.
    TimedOut(Time),
}

/// What becomes of a key's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<S> {
    /// This is the state from now on. A deadline that there was is none any more.
    Keep(S),
    /// This is the state from now on, and at that time it is [`Seen::TimedOut`], unless it is updated before. For
    /// [`Timeout::Deadline`] alone.
    Until(S, Time),
    /// The key has no state.
    Drop,
}

/// When keyed state times out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// Never. Records need no times, and none is too late.
    Never,
    /// When a key has been idle for so long. A value is too late when its own timeout has passed as its epoch began.
    Idle(Gap),
    /// At the time that it is kept until ([`Next::Until`]). What is older than the watermark was as its epoch began is too late. Each value is
    /// a call of its own, because each may say another time.
    Deadline,
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
    /// With a timeout, the greatest time of a value since the key last timed out; with deadlines, that if there is one.
    time: Option<Millis>,
    /// The time of the key's live entry in the queue; the greatest if it has none.
    queued: Millis,
}

/// One worker's keys.
#[derive(Debug)]
pub(crate) struct States<K, V, S, E, U> {
    name: String,
    timeout: Timeout,
    update: U,
    keys: HashMap<K, Slot<S>, RandomState>,
    deadlines: Deadlines<K>,
    /// Whether it must show the states; where nobody looks at them, none is copied.
    states_consumed: Consumed,
    /// The values of one call; empty between calls.
    buffer: Vec<V>,
    /// What a call emits; empty between calls.
    facts: Vec<E>,
}

/// The durable row of a key: its state, if there is one, and its last time or its deadline.
type Row<S> = (Option<S>, Option<Time>);

impl<K, V, S, E, U> States<K, V, S, E, U>
where
    K: ExchangeData + Hash + Stored,
    V: ExchangeData,
    S: ExchangeData + Stored,
    E: ExchangeData,
    U: Fn(&K, Seen<'_, V>, Option<S>, &mut Vec<E>) -> Next<S>,
{
    pub(crate) fn new(name: &str, timeout: Timeout, states_consumed: Consumed, update: U) -> Self {
        States {
            name: name.to_owned(),
            timeout,
            update,
            keys: HashMap::with_hasher(RandomState::default()),
            deadlines: Deadlines::new(),
            states_consumed,
            buffer: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// When a key times out of which `time` is known.
    fn due(&self, time: Option<Millis>) -> Option<Millis> {
        match self.timeout {
            Timeout::Never => None,
            Timeout::Idle(gap) => time.map(|last| last.saturating_add(gap.millis())),
            Timeout::Deadline => time,
        }
    }

    /// Updates `state` for `seen`; returns the deadline that it is kept until.
    fn call(
        &mut self,
        key: &K,
        seen: Seen<'_, V>,
        state: &mut Option<S>,
        epoch: Epoch,
        emitted: &mut Emitted<(K, S), (K, E)>,
    ) -> Option<Millis> {
        let after = if let Seen::TimedOut(Time(at)) = seen { at } else { Millis::MIN };
        let next = (self.update)(key, seen, state.take(), &mut self.facts);
        emitted.notes.extend(self.facts.drain(..).map(|fact| ((key.clone(), fact), epoch, 1)));
        let (kept, until) = match next {
            Next::Keep(kept) => (Some(kept), None),
            Next::Until(kept, Time(until)) => (Some(kept), Some(until)),
            Next::Drop => (None, None),
        };
        *state = kept;
        if let Some(until) = until {
            assert!(
                self.timeout == Timeout::Deadline,
                "in `{}`, key {key:?} is kept until a time, but the state was opened with {:?}",
                self.name,
                self.timeout
            );
            assert!(
                until > after,
                "in `{}`, key {key:?} timed out at {} and is kept until {}, which is not later",
                self.name,
                Time(after),
                Time(until)
            );
        }
        until
    }

    /// Times `key` out while it is due at a time that has come, `is_past` says: a key may be kept until one deadline after another.
    /// Returns the time that is known of it then.
    fn time_out(
        &mut self,
        key: &K,
        state: &mut Option<S>,
        time: Option<Millis>,
        is_past: impl Fn(Millis) -> bool,
        epoch: Epoch,
        emitted: &mut Emitted<(K, S), (K, E)>,
    ) -> Option<Millis> {
        let mut time = time;
        while let Some(due) = self.due(time).filter(|due| is_past(*due)) {
            time = None;
            if state.is_some() {
                time = self.call(key, Seen::TimedOut(Time(due)), state, epoch, emitted);
            }
            // Who is idle is gone, whatever is returned.
            state.take_if(|_| matches!(self.timeout, Timeout::Idle(_)));
        }
        time
    }

    /// Takes in what an epoch has of `key`.
    fn take_in(
        &mut self,
        key: &K,
        news: News<V>,
        epoch: Epoch,
        emitted: &mut Emitted<(K, S), (K, E)>,
        keeper: &Keeper<K, Row<S>>,
    ) {
        let slot = self.keys.remove(key);
        let Slot { mut state, time: time_before, mut queued } =
            slot.unwrap_or(Slot { state: None, time: None, queued: Millis::MAX });
        let before = self.as_shown(&state);
        let mut time = time_before;
        let idle = matches!(self.timeout, Timeout::Idle(_));

        let mut values = news.values;
        values.sort_unstable();
        let mut values = values.into_iter().peekable();
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(next) = values.peek() {
            time = self.time_out(key, &mut state, time, |due| due <= next.time, epoch, emitted);
            // A call has all values up to the next timeout; where it is the call that says when that is, one.
            while let Some(Value { time: at, value, .. }) = values.next_if(|next| {
                let more = buffer.is_empty() || self.timeout != Timeout::Deadline;
                more && self.due(time).is_none_or(|due| next.time < due)
            }) {
                if idle {
                    time = Some(time.map_or(at, |last| last.max(at)));
                }
                buffer.push(value);
            }
            let until = self.call(key, Seen::Values(&buffer), &mut state, epoch, emitted);
            time = if idle { time } else { until };
            buffer.clear();
        }
        self.buffer = buffer;

        let changed = before.is_none_or(|before| emit_change(key, before, &state, epoch, emitted));
        // Of a key that times out when it is idle, its last time is remembered even while it has no state.
        if state.is_none() && !idle {
            keeper.take(key);
            return;
        }
        if changed || time != time_before {
            keeper.put(key, (&state, &time.map(Time)));
        }
        if let Some(due) = self.due(time).filter(|due| *due < queued) {
            self.deadlines.push(due, key.clone());
            queued = due;
        }
        self.keys.insert(key.clone(), Slot { state, time, queued });
    }

    /// Times out the keys whose time is up as `closing` ends.
    fn time_out_due(
        &mut self,
        closing: &Closing,
        emitted: &mut Emitted<(K, S), (K, E)>,
        keeper: &Keeper<K, Row<S>>,
    ) {
        let (watermark, epoch) = (time_at(closing.now), closing.epoch);
        while let Some((at, key)) = self.deadlines.pop(watermark) {
            let Some(slot) = self.keys.get(&key).filter(|slot| slot.queued == at) else { continue };
            let mut time = slot.time;
            let mut state = None;
            if self.due(time).is_some_and(|due| watermark.reaches(due)) {
                state = self.keys.get_mut(&key).and_then(|slot| slot.state.take());
                let before = self.as_shown(&state);
                time = self.time_out(&key, &mut state, time, |due| watermark.reaches(due), epoch, emitted);
                if let Some(before) = before {
                    emit_change(&key, before, &state, epoch, emitted);
                }
                if state.is_none() {
                    self.keys.remove(&key);
                    if !closing.is_end() {
                        keeper.take(&key);
                    }
                    continue;
                }
                if !closing.is_end() {
                    keeper.put(&key, (&state, &time.map(Time)));
                }
            }
            let due = self.due(time);
            if let Some(slot) = self.keys.get_mut(&key) {
                slot.state = slot.state.take().or(state);
                (slot.time, slot.queued) = (time, due.unwrap_or(Millis::MAX));
            }
            if let Some(due) = due {
                self.deadlines.push(due, key);
            }
        }
        let keys = &self.keys;
        self.deadlines.tidy(keys.len(), |at, key| keys.get(key).is_some_and(|slot| slot.queued == at));
    }

    /// `state` as it is shown, if it is.
    fn as_shown(&self, state: &Option<S>) -> Option<Option<S>> {
        self.states_consumed.get().then(|| state.clone())
    }

    /// Gives memory back after many keys have gone.
    fn shrink(&mut self) {
        give_back(&mut self.keys);
    }
}

/// Emits the state of `key` as it was `before` and as it is `now`, if they differ; returns whether they do.
fn emit_change<K: Clone, S: Clone + PartialEq, E>(
    key: &K,
    before: Option<S>,
    now: &Option<S>,
    epoch: Epoch,
    emitted: &mut Emitted<(K, S), E>,
) -> bool {
    let changed = before != *now;
    if changed {
        let row = |state: S, diff| ((key.clone(), state), epoch, diff);
        emitted.rows.extend(before.map(|state| row(state, -1)));
        emitted.rows.extend(now.clone().map(|state| row(state, 1)));
    }
    changed
}

/// How far time has come at `event_time`. The end of the input is no time; then it is that of the newest record.
fn time_at(event_time: EventTime) -> Watermark {
    match event_time.watermark {
        Watermark::END => Watermark::at(event_time.newest),
        watermark => watermark,
    }
}

impl<K, V, S, E, U> Machine for States<K, V, S, E, U>
where
    K: ExchangeData + Hash + Stored,
    V: ExchangeData,
    S: ExchangeData + Stored,
    E: ExchangeData,
    U: Fn(&K, Seen<'_, V>, Option<S>, &mut Vec<E>) -> Next<S> + 'static,
{
    type Datum = K;
    type Diff = News<V>;
    type Row = (K, S);
    /// What an update has emitted.
    type Note = (K, E);
    type Key = K;
    type Value = Row<S>;

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<(K, News<V>)>,
        emitted: &mut Emitted<(K, S), (K, E)>,
        keeper: &Keeper<K, Row<S>>,
    ) -> Option<Epoch> {
        updates.sort_unstable_by(|(key, _), (other, _)| key.cmp(other));
        let mut updates = updates.drain(..).peekable();
        while let Some((key, mut news)) = updates.next() {
            while let Some((_, more)) = updates.next_if(|(other, _)| *other == key) {
                news.append(more);
            }
            self.take_in(&key, news, closing.epoch, emitted, keeper);
        }
        self.time_out_due(closing, emitted, keeper);
        self.shrink();
        None
    }

    fn held(&self) -> usize {
        self.keys.len()
    }

    fn restore(&mut self, rows: &mut Vec<(K, Row<S>)>, emitted: &mut Emitted<(K, S), (K, E)>) {
        for (key, (state, time)) in rows.drain(..) {
            let row =
                self.as_shown(&state).flatten().map(|state| ((key.clone(), state), Epoch::default(), 1));
            emitted.rows.extend(row);
            let time = time.map(|Time(time)| time);
            let due = self.due(time);
            if let Some(due) = due {
                self.deadlines.push(due, key.clone());
            }
            self.keys.insert(key, Slot { state, time, queued: due.unwrap_or(Millis::MAX) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};

    impl<U> Scan for States<u32, i64, i64, i64, U>
    where
        U: Fn(&u32, Seen<'_, i64>, Option<i64>, &mut Vec<i64>) -> Next<i64> + 'static,
    {
        fn scan(&self) -> Vec<(u32, Row<i64>)> {
            self.keys.iter().map(|(key, slot)| (*key, (slot.state, slot.time.map(Time)))).collect()
        }
    }

    /// Keeps what there is, if there is.
    fn keep(state: Option<i64>) -> Next<i64> {
        state.map_or(Next::Drop, Next::Keep)
    }

    fn news(offset: u64, time: Millis, value: i64) -> News<i64> {
        let value = Value { arrival: Arrival::at(offset), time, value };
        News { values: vec![value] }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn changes_are_the_states(epochs in epochs(), stop in 0..8usize, timeout in prop::option::of(0..30i64)) {
            let timeout = match timeout {
                None => Timeout::Never,
                Some(0..10) => Timeout::Deadline,
                Some(idle) => Timeout::Idle(Gap::new(Duration::from_millis(idle as u64)).expect("a gap")),
            };
            let make = || States::new("states", timeout, consumed(), move |_: &u32, seen: Seen<'_, i64>, state: Option<i64>, out: &mut Vec<i64>| {
                let sum = match seen {
                    // Removed by some values, and now and then what it was.
                    Seen::Values(values) => Some(state.unwrap_or(0) + values.iter().sum::<i64>()).filter(|sum| *sum != 1),
                    Seen::TimedOut(_) => state.map(|sum| sum + 1).filter(|sum| sum % 4 != 0),
                };
                out.extend(sum.filter(|sum| sum % 2 == 0));
                match (timeout, sum, seen) {
                    // The values are the times here, so that deadlines lie about them.
                    (Timeout::Deadline, Some(sum), Seen::TimedOut(Time(at))) => Next::Until(sum, Time(at + 7)),
                    (Timeout::Deadline, Some(sum), Seen::Values(_)) if sum % 3 != 0 => Next::Until(sum, Time(10 * sum)),
                    _ => keep(sum),
                }
            });
            let (mut before, mut arrival) = (Watermark::NONE, 0);
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                let late = |time| match timeout {
                    Timeout::Never => false,
                    Timeout::Idle(gap) => gap.is_over(time, before),
                    Timeout::Deadline => before.reaches(time + 1),
                };
                let records = records.into_iter().filter(|record| !late(record.0));
                let updates = records.map(|(time, key, value)| {
                    arrival += 1;
                    (u32::from(key), news(arrival, if timeout == Timeout::Never { 0 } else { time }, value))
                });
                let updates = updates.collect();
                before = Watermark::at(watermark);
                (before, updates)
            });
            changes_are_the_table(make, epochs.collect(), (0, 200), stop);
        }
    }

    fn consumed() -> Consumed {
        let consumed = Consumed::default();
        consumed.set();
        consumed
    }

    fn close<U>(
        machine: &mut States<u32, i64, i64, i64, U>,
        updates: Vec<(u32, News<i64>)>,
        now: Millis,
    ) -> [usize; 2]
    where
        U: Fn(&u32, Seen<'_, i64>, Option<i64>, &mut Vec<i64>) -> Next<i64> + 'static,
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
        let mut machine = States::new(
            "states",
            Timeout::Idle(timeout),
            consumed(),
            |_: &u32, seen: Seen<'_, i64>, state, out: &mut Vec<i64>| match seen {
                Seen::Values(values) => keep(values.last().copied().filter(|value| *value != 0)),
                Seen::TimedOut(_) => {
                    out.extend(state);
                    Next::Drop
                }
            },
        );
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
        let update = move |_: &u32, seen: Seen<'_, i64>, state: Option<i64>, _: &mut Vec<i64>| {
            counted.set(counted.get() + 1);
            keep(matches!(seen, Seen::Values(_)).then(|| state.unwrap_or(0) + 1))
        };
        let mut machine = States::new("states", Timeout::Idle(timeout), consumed(), update);
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
