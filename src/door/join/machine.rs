//! Pairs of events that belong together: [`Events::join_within`] and [`Events::left_join_within`].
//!
//! Notation: a left event happened at `l` and a right one at `r`; they are a pair if they have the same key and
//! `lower <= r - l <= upper`. The watermark is `W`; a record is taken if it is not before `W` as its epoch began.
//!
//! Each event is kept with those of its key, and asks those of the other side that are there already: so each pair is found
//! once, by the second of the two, whichever that is and in whichever epoch.
//!
//! - A left event is dropped when `W > l + upper`: a right one yet to come has `r >= W`, so it is too far off.
//! - A right event is dropped when `W > r - lower`, likewise.
//! - A left event that is dropped without ever having been in a pair will never be: then a left join says so.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::rc::Rc;

use differential_dataflow::consolidation::consolidate;
use differential_dataflow::{ExchangeData, VecCollection};
use foldhash::quality::RandomState;
use serde::{Deserialize, Serialize};
use timely::dataflow::Stream;

use crate::data::{Key, Stored, Time};
use crate::door::in_time::{in_time, is_older};
use crate::door::machine::{Closing, Emitted, Machine, Routes, operate};
use crate::door::opened::Doors;
use crate::door::{Parsed, Partials, Records};
use crate::format::Format;
use crate::operators::route;
use crate::state::{Identity, Keeper};
use crate::time::Epoch;
use crate::time::Within;
use crate::time::{EventTime, Millis, Watermark, length};

/// Events that can be joined: records by key and time, with a value. [`Records::events`] makes them.
#[derive(Clone)]
pub struct Events<'scope, K: ExchangeData, V: ExchangeData> {
    rows: VecCollection<'scope, Epoch, ((K, i64), V), isize>,
    doors: Rc<RefCell<Doors>>,
    event_times: Stream<'scope, Epoch, Vec<EventTime>>,
}

impl<K: ExchangeData, V: ExchangeData> std::fmt::Debug for Events<'_, K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

/// An event in a row: when it happened, in milliseconds UTC since 1970, and its value.
type At<V> = (i64, V);

impl<'scope, F: Format> Records<'scope, F> {
    /// Records as events that can be joined with others, each with the key and the value that `event` makes of it; records
    /// of which it makes `None` are left out. Stateless; what joins them keeps what it needs.
    ///
    /// Records that are older than the watermark was as their epoch began are refused and counted as
    /// [`InputCounts::late`](crate::data::InputCounts); [`Records::refused`] shows them.
    ///
    /// # Panics
    ///
    /// If another door has the same name, or the records tell no time.
    #[track_caller]
    pub fn events<K: Key, V: Key>(
        &mut self,
        name: &str,
        event: impl for<'a> Fn(&Parsed<'a, F>) -> Option<(K::Ref<'a>, V::Ref<'a>)> + 'static,
    ) -> Events<'scope, K, V> {
        let event_times = self.event_times();
        let late = self.late();
        let logic = move |record: &Parsed<'_, F>, sums: &mut Partials<((K, i64), V), isize>| {
            let Some((key, value)) = event(record) else { return };
            if let Some(time) = in_time(record, &late, is_older) {
                *sums.entry(((key, time), value)) += 1;
            }
        };
        Events { rows: self.sums_by(name, logic), doors: Rc::clone(self.doors()), event_times }
    }
}

impl<'scope, K: ExchangeData + Hash + Stored, V: ExchangeData + Stored> Events<'scope, K, V> {
    /// Pairs of these events and those on the right that have the same key and happened `within` a distance of each other,
    /// as rows `(key, (time, value), (time, value))` with times in milliseconds UTC since 1970.
    ///
    /// Both sides are events of the same records, told apart by what [`Records::events`] is asked of each: a dataflow has one
    /// kind of records that tells the time, and all of its sources are read in that form.
    ///
    /// A pair is inserted once, as soon as both of its events are there, and never retracted. Each event is one of its
    /// own, also where several are equal: two equal ones on each side make four equal pairs. However the input is cut into
    /// epochs, the pairs of records within the lateness are the same.
    ///
    /// State, which is durable: the events of both sides that may yet be in a pair, on the worker that their key is routed
    /// to. A left event is freed when the watermark has passed its time and the upper bound, a right one when it has passed
    /// its time less the lower bound. A run that goes on from another is not given
    /// pairs again: what adds them up has to be durable itself ([`Flow::totals`](crate::dataflow::Flow::totals)).
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Within;
    /// use thalweg::prelude::*;
    /// // A second, `?` or `!`, and what is asked or answered.
    /// let lines = b"1 ? a\n3 ! a\n4 ! a\n2 ! b\n3 ? b\n";
    /// let answered = thalweg::testing::collection(Text, lines, |records| {
    ///     let key = |line: &[u8], kind: u8| (line.len() == 5 && line[2] == kind).then(|| (line[4], ()));
    ///     records.event_time(|line| Some(1000 * i64::from(line.first()?.checked_sub(b'0')?)));
    ///     let asked = records.events::<u8, ()>("asked", move |line| key(line.line(), b'?'));
    ///     let answers = records.events::<u8, ()>("answers", move |line| key(line.line(), b'!'));
    ///     asked.join_within("answered", answers, Within::after(Duration::from_secs(2)))
    /// });
    /// assert_eq!(answered, [((b'a', (1000, ()), (3000, ())), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// If another door has the same name; while running, if there are more than 2^63 equal pairs.
    #[track_caller]
    pub fn join_within<W: ExchangeData + Stored>(
        self,
        name: &str,
        right: Events<'scope, K, W>,
        within: Within,
    ) -> VecCollection<'scope, Epoch, (K, At<V>, At<W>), isize> {
        let pairs = self.joined(name, right, within, false);
        pairs.flat_map(|(key, left, right)| right.map(|right| (key, left, right)))
    }

    /// As [`Events::join_within`], and with a row `(key, (time, value), None)` for each event on the left that is in no pair.
    ///
    /// That row is inserted, once, when the watermark has passed the event's time and the upper bound: no pair can come any
    /// more. So it is never retracted either. Which events have been in a pair is durable, too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use thalweg::time::Within;
    /// use thalweg::prelude::*;
    /// // With a lateness of ten seconds, the last line says that all of the first two have arrived.
    /// let lines = b"1 ? a\n2 ! a\n2 ? b\n9 ! b\n> ? c\n";
    /// let asked = thalweg::testing::collection(Text, lines, |records| {
    ///     let key = |line: &[u8], kind: u8| (line.len() == 5 && line[2] == kind).then(|| (line[4], ()));
    ///     records.event_time(|line| Some(1000 * i64::from(line.first()?.checked_sub(b'0')?)));
    ///     let asked = records.events::<u8, ()>("asked", move |line| key(line.line(), b'?'));
    ///     let answers = records.events::<u8, ()>("answers", move |line| key(line.line(), b'!'));
    ///     asked.left_join_within("answered", answers, Within::after(Duration::from_secs(1)))
    /// });
    /// // The watermark is at four seconds: too late to answer `b`, and nobody knows yet of `c`.
    /// assert_eq!(asked, [((b'a', (1000, ()), Some((2000, ()))), 1), ((b'b', (2000, ()), None), 1)]);
    /// ```
    ///
    /// # Panics
    ///
    /// As [`Events::join_within`].
    #[track_caller]
    pub fn left_join_within<W: ExchangeData + Stored>(
        self,
        name: &str,
        right: Events<'scope, K, W>,
        within: Within,
    ) -> VecCollection<'scope, Epoch, (K, At<V>, Option<At<W>>), isize> {
        self.joined(name, right, within, true)
    }

    #[track_caller]
    fn joined<W: ExchangeData + Stored>(
        self,
        name: &str,
        right: Events<'scope, K, W>,
        within: Within,
        unmatched: bool,
    ) -> VecCollection<'scope, Epoch, (K, At<V>, Option<At<W>>), isize> {
        self.doors.borrow_mut().claim(name);
        let left = self.rows.map(|((key, time), value)| (key, time, Side::Left(value)));
        let right = right.rows.map(|((key, time), value)| (key, time, Side::Right(value)));
        let identity = Identity::of::<DurableKey<K, V, W>, (isize, bool)>(name, "join")
            .rule("lower", length(within.lower()))
            .rule("upper", length(within.upper()));
        let updates = left.concat(right);
        let durable = self.doors.borrow_mut().open(identity, updates.scope());
        let routes = Routes {
            datum: |(key, _, _): &(K, Millis, Side<V, W>)| route(key),
            key: |(_, key, _, _): &DurableKey<K, V, W>| route(key),
        };
        let machine = Join::new(name, within, unmatched);
        operate(name, updates, routes, self.event_times, machine, durable, vec![]).0
    }
}

/// What an event is, beside its key and time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Side<V, W> {
    Left(V),
    Right(W),
}

/// The key of a durable row, which stands for equal events: up to when one of the other side may
/// come to make a pair, the key, and the value, of whichever side it is.
///
/// A row is gone as the watermark passes the first of these, on both sides alike.
type DurableKey<K, V, W> = (Time, K, Option<V>, Option<W>);

/// Where a join says what changed of its durable rows.
type DurableEvents<K, V, W> = Keeper<DurableKey<K, V, W>, (isize, bool)>;

/// Equal events.
#[derive(Debug)]
struct Held<V> {
    time: Millis,
    value: V,
    /// How many there are.
    count: isize,
    /// Whether they have been in a pair.
    matched: bool,
}

/// The events of one side and key, by time and value.
type Queue<V> = VecDeque<Held<V>>;

/// The events of one key.
#[derive(Debug)]
struct Sides<V, W> {
    left: Queue<V>,
    right: Queue<W>,
}

impl<V, W> Default for Sides<V, W> {
    fn default() -> Self {
        Sides { left: Queue::new(), right: Queue::new() }
    }
}

/// Adds `count` events to `queue`; returns what it has of them now, and whether there were none
/// like them.
fn put<V: Ord>(
    queue: &mut Queue<V>,
    time: Millis,
    value: V,
    count: isize,
    matched: bool,
) -> (&Held<V>, bool) {
    match queue.binary_search_by(|held| (held.time, &held.value).cmp(&(time, &value))) {
        Ok(at) => {
            queue[at].count += count;
            queue[at].matched |= matched;
            (&queue[at], false)
        }
        Err(at) => {
            queue.insert(at, Held { time, value, count, matched });
            (&queue[at], true)
        }
    }
}

/// Calls `logic` with the events from `first` to `last`.
fn for_each_of<V>(queue: &mut Queue<V>, first: Millis, last: Millis, mut logic: impl FnMut(&mut Held<V>)) {
    let start = queue.partition_point(|held| held.time < first);
    queue.range_mut(start..).take_while(|held| held.time <= last).for_each(&mut logic);
}

/// An update of a join: an event, and how many there are of it.
type Update<K, V, W> = ((K, Millis, Side<V, W>), isize);

/// One worker's keys, and their events of both sides that may yet be in a pair.
#[derive(Debug)]
struct Join<K, V, W> {
    name: String,
    within: Within,
    /// Whether left events without a partner are rows, too.
    unmatched: bool,
    keys: HashMap<K, Sides<V, W>, RandomState>,
    /// The keys that have a left event at each time, to find what is to be dropped.
    left_times: BTreeMap<Millis, Vec<K>>,
    /// Likewise of the right.
    right_times: BTreeMap<Millis, Vec<K>>,
    /// What is still to be taken in of the epoch that is being closed.
    waiting: std::vec::IntoIter<Update<K, V, W>>,
}

impl<K, V, W> Join<K, V, W>
where
    K: ExchangeData + Hash + Stored,
    V: ExchangeData + Stored,
    W: ExchangeData + Stored,
{
    fn new(name: &str, within: Within, unmatched: bool) -> Self {
        Join {
            name: name.to_owned(),
            within,
            unmatched,
            keys: HashMap::default(),
            left_times: BTreeMap::new(),
            right_times: BTreeMap::new(),
            waiting: Vec::new().into_iter(),
        }
    }

    /// Takes `count` events in, and shows the pairs that they are in.
    fn take(
        &mut self,
        key: K,
        time: Millis,
        side: Side<V, W>,
        count: isize,
        keeper: &DurableEvents<K, V, W>,
        mut pair: impl FnMut((K, At<V>, Option<At<W>>), isize),
    ) {
        let Join { name, keys, within, left_times, right_times, .. } = self;
        let times = |here: isize, there: isize| {
            here.checked_mul(there)
                .unwrap_or_else(|| panic!("in `{name}`, the number of equal pairs of key {key:?} overflows"))
        };
        let keep_left = |held: &Held<V>| {
            let due = Time(held.time + within.upper());
            keeper.put((&due, &key, Some(&held.value), None), (&held.count, &held.matched));
        };
        let Sides { left, right } = keys.entry(key.clone()).or_default();
        match side {
            Side::Left(value) => {
                let mut matched = false;
                for_each_of(right, time + within.lower(), time + within.upper(), |other| {
                    matched = true;
                    let there = (other.time, other.value.clone());
                    pair((key.clone(), (time, value.clone()), Some(there)), times(count, other.count));
                });
                let (held, is_new) = put(left, time, value, count, matched);
                keep_left(held);
                if is_new {
                    left_times.entry(time).or_default().push(key);
                }
            }
            Side::Right(value) => {
                for_each_of(left, time - within.upper(), time - within.lower(), |other| {
                    if !other.matched {
                        other.matched = true;
                        keep_left(other);
                    }
                    let here = (other.time, other.value.clone());
                    pair((key.clone(), here, Some((time, value.clone()))), times(count, other.count));
                });
                let (held, is_new) = put(right, time, value, count, false);
                let due = Time(time - within.lower());
                keeper.put((&due, &key, None, Some(&held.value)), (&held.count, &false));
                if is_new {
                    right_times.entry(time).or_default().push(key);
                }
            }
        }
    }

    /// Drops the events that can be in no pair any more, and shows the left ones that have been in
    /// none; returns whether there were any.
    fn expire(
        &mut self,
        watermark: Watermark,
        mut lone: impl FnMut((K, At<V>, Option<At<W>>), isize),
    ) -> bool {
        let mut any = false;
        let Join { keys, within, left_times, right_times, unmatched, .. } = self;
        let over = |last_partner: Millis| watermark.reaches(last_partner + 1);
        while let Some(first) = left_times.first_entry().filter(|first| over(first.key() + within.upper())) {
            let (time, expired) = first.remove_entry();
            any = true;
            for key in expired {
                let Some(sides) = keys.get_mut(&key) else { continue };
                while let Some(held) = sides.left.pop_front_if(|held| held.time <= time) {
                    if *unmatched && !held.matched {
                        lone((key.clone(), (held.time, held.value), None), held.count);
                    }
                }
                if sides.left.is_empty() && sides.right.is_empty() {
                    keys.remove(&key);
                }
            }
        }
        while let Some(first) = right_times.first_entry().filter(|first| over(first.key() - within.lower())) {
            let (time, expired) = first.remove_entry();
            any = true;
            for key in expired {
                let Some(sides) = keys.get_mut(&key) else { continue };
                while sides.right.pop_front_if(|held| held.time <= time).is_some() {}
                if sides.left.is_empty() && sides.right.is_empty() {
                    keys.remove(&key);
                }
            }
        }
        any
    }
}

impl<K, V, W> Machine for Join<K, V, W>
where
    K: ExchangeData + Hash + Stored,
    V: ExchangeData + Stored,
    W: ExchangeData + Stored,
{
    type Datum = (K, Millis, Side<V, W>);
    type Diff = isize;
    type Row = (K, At<V>, Option<At<W>>);
    type Note = ();
    type Key = DurableKey<K, V, W>;
    /// How many equal events there are, and whether they have been in a pair; of the right, that is
    /// not known.
    type Value = (isize, bool);

    fn close(
        &mut self,
        closing: &Closing,
        updates: &mut Vec<Update<K, V, W>>,
        emitted: &mut Emitted<Self::Row, ()>,
        keeper: &DurableEvents<K, V, W>,
    ) -> Option<Epoch> {
        if self.waiting.len() == 0 {
            // In order of time, so that events are put at the end of their queues and not in the midst of them.
            consolidate(updates);
            self.waiting = std::mem::take(updates).into_iter();
        }
        while let Some(((key, time, side), count)) = self.waiting.next() {
            self.take(key, time, side, count, keeper, |row, diff| {
                emitted.rows.push((row, closing.epoch, diff));
            });
            if emitted.is_much() {
                return Some(closing.epoch);
            }
        }
        self.waiting = Vec::new().into_iter();
        let watermark = closing.now.watermark;
        let any = self.expire(watermark, |row, diff| emitted.rows.push((row, closing.epoch, diff)));
        if let Some(time) = watermark.time().filter(|_| any) {
            keeper.forget_before(time);
        }
        None
    }

    /// Shows nothing: an earlier run has shown the pairs of these events.
    fn restore(
        &mut self,
        rows: &mut Vec<(DurableKey<K, V, W>, (isize, bool))>,
        _: &mut Emitted<Self::Row, ()>,
    ) {
        let Join { within, keys, left_times, right_times, .. } = self;
        for ((Time(due), key, left_value, right_value), (count, matched)) in rows.drain(..) {
            let Sides { left, right } = keys.entry(key.clone()).or_default();
            if let Some(value) = left_value {
                let time = due.saturating_sub(within.upper());
                if put(left, time, value, count, matched).1 {
                    left_times.entry(time).or_default().push(key.clone());
                }
            }
            if let Some(value) = right_value {
                let time = due.saturating_add(within.lower());
                if put(right, time, value, count, false).1 {
                    right_times.entry(time).or_default().push(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::door::machine::tests::{Scan, changes_are_the_table, epochs};

    impl Scan for Join<u8, i64, bool> {
        fn scan(&self) -> Vec<(DurableKey<u8, i64, bool>, (isize, bool))> {
            let mut rows = Vec::new();
            for (key, Sides { left, right }) in &self.keys {
                rows.extend(left.iter().map(|held| {
                    let due = Time(held.time + self.within.upper());
                    ((due, *key, Some(held.value), None), (held.count, held.matched))
                }));
                rows.extend(right.iter().map(|held| {
                    let due = Time(held.time - self.within.lower());
                    ((due, *key, None, Some(held.value)), (held.count, false))
                }));
            }
            rows
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn changes_are_the_events(
            epochs in epochs(),
            stop in 0..8usize,
            lower in -20..20i64,
            width in 0..20i64,
        ) {
            let within = Within::new(lower, lower + width).expect("there are pairs");
            let make = || Join::<u8, i64, bool>::new("join", within, true);
            let mut before = Watermark::NONE;
            let epochs = epochs.into_iter().map(|(watermark, records)| {
                let records = records.into_iter().filter(|record| !is_older(record.0, before));
                let updates = records.map(|(time, key, value)| {
                    let side = if value % 2 == 0 { Side::Left(value) } else { Side::Right(value > 0) };
                    ((key, time, side), 1)
                });
                let updates = updates.collect();
                before = Watermark::at(watermark);
                (before, updates)
            });
            changes_are_the_table(make, epochs.collect(), (0, 200), stop);
        }
    }
}
